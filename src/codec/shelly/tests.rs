use super::gen1::{self, Source as Gen1};
use super::rpc::{self, Source};
use super::*;
use crate::codec::sample::{Quantity as Q, Sample};

fn values(sample: &Sample, quantities: &[Q]) -> Vec<Option<f64>> {
    quantities.iter().map(|it| sample.get(*it)).collect()
}

#[test]
fn each_generation_says_who_it_is() {
    let gen1 = device(br#"{"type":"SHEM-3","mac":"AABBCCDDEEFF","auth":true,"fw":"v1.14.0","num_emeters":3}"#).unwrap();
    assert_eq!((gen1.generation, gen1.model.as_deref(), gen1.auth), (1, Some("SHEM-3"), true));
    let gen2 = device(
        br#"{"name":null,"id":"shellypro3em-aabbccddeeff","mac":"AABBCCDDEEFF","model":"SPEM-003CEBEU","gen":2,
            "ver":"1.7.1","app":"Pro3EM","auth_en":false,"auth_domain":null,"profile":"triphase"}"#,
    )
    .unwrap();
    assert_eq!((gen2.generation, gen2.firmware.as_deref(), gen2.triphase), (2, Some("1.7.1"), Some(true)));
    for bad in [&b"{}"[..], b"{\"mac\":5}", b"{\"mac\":\"a\",\"gen\":0}", b"[]", b"", b"{\"mac\":\"a\",\"gen\":1e9}"] {
        assert!(device(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

/// Values of facts about a Pro 3EM whose third clamp failed.
const EM: &[u8] = br#"{"id":0,"a_current":6.71,"a_voltage":231.4,"a_act_power":1510.2,"a_aprt_power":1556.0,"a_pf":0.97,
    "a_freq":50.0,"b_current":3.66,"b_voltage":232.0,"b_act_power":-842.0,"b_aprt_power":849.1,"b_pf":0.99,"b_freq":50.0,
    "c_current":0.0,"c_voltage":0.0,"c_act_power":0.0,"c_errors":["power_meter_failure"],
    "n_current":null,"total_current":10.37,"total_act_power":668.2,"total_aprt_power":2405.1,"user_calibrated_phase":[],
    "errors":["phase_sequence"]}"#;

#[test]
fn a_phase_whose_meter_failed_is_missing_and_not_zero_and_no_total_is_believed() {
    let sample = rpc::em(EM).unwrap();
    assert_eq!(values(&sample, &Q::PHASE_POWER), [Some(1510.2), Some(-842.0), None]);
    assert_eq!(values(&sample, &Q::CURRENT), [Some(6.71), Some(3.66), None]);
    assert_eq!(values(&sample, &Q::VOLTAGE), [Some(231.4), Some(232.0), None]);
    assert!(!sample.current_signed);
    assert_eq!(sample.signed_current(crate::quantity::Phase::L2), Some(-3.66));
    assert_eq!(values(&sample, &[Q::Power, Q::ApparentPower]), [None, None]);
    assert_eq!(sample.get(Q::Frequency), Some(50.0));
    assert_eq!(sample.notes.len(), 2, "{:?}", sample.notes);
}

#[test]
fn a_meter_that_failed_altogether_gives_no_reading() {
    let failed = br#"{"id":0,"a_act_power":0,"b_act_power":0,"c_act_power":0,"errors":["power_meter_failure"]}"#;
    let error = rpc::em(failed).unwrap_err().to_string();
    assert!(error.contains("power_meter_failure"), "{error}");
    let unset = br#"{"id":0,"act_power":1.0,"current":1.0,"errors":["ct_type_not_set"]}"#;
    assert!(rpc::em1(unset).is_err());
    let range = br#"{"id":0,"act_power":12.0,"current":99.0,"voltage":230.0,"errors":["out_of_range:current"]}"#;
    assert_eq!(values(&rpc::em1(range).unwrap(), &[Q::PowerL1, Q::CurrentL1]), [Some(12.0), None]);
    for empty in [&b"{}"[..], b"{\"id\":0,\"a_act_power\":null}", b"{\"a_voltage\":230}"] {
        assert!(rpc::em(empty).is_err(), "{}", String::from_utf8_lossy(empty));
    }
}

#[test]
fn counters_come_in_watt_hours() {
    let three =
        rpc::em_data(br#"{"id":0,"a_total_act_energy":1.0,"total_act":902568.9,"total_act_ret":55123.7}"#).unwrap();
    assert_eq!(values(&three, &[Q::EnergyImport, Q::EnergyExport]), [Some(902.5689), Some(55.1237)]);
    // The id was seen as a text.
    let one = rpc::em1_data(br#"{"id":"0","total_act_energy":1500.0,"total_act_ret_energy":0.0}"#).unwrap();
    assert_eq!(values(&one, &[Q::EnergyImport, Q::EnergyExport]), [Some(1.5), Some(0.0)]);
}

#[test]
fn what_flowed_back_is_taken_out_of_the_counter_of_a_switch() {
    let body = br#"{"id":0,"output":true,"apower":115.5,"voltage":231.0,"current":0.0,"aenergy":{"total":12345.0,
        "by_minute":[1,2,3],"minute_ts":1760000040},"ret_aenergy":{"total":345.0},"temperature":{"tC":41.5}}"#;
    let sample = rpc::switch(body).unwrap();
    assert_eq!(values(&sample, &[Q::EnergyImport, Q::EnergyExport]), [Some(12.0), Some(0.345)]);
    // 0 A with 115 W is no measurement.
    assert_eq!(values(&sample, &[Q::PowerL1, Q::Power, Q::CurrentL1]), [Some(115.5), Some(115.5), None]);
    assert_eq!(sample.stamp, Some(1_760_000_040));
    assert_eq!(rpc::output(body), Ok(Some(true)));
    let plain = rpc::switch(br#"{"apower":0.0,"current":0.0,"aenergy":{"total":5.0,"minute_ts":60}}"#).unwrap();
    assert_eq!(values(&plain, &[Q::EnergyImport, Q::EnergyExport, Q::CurrentL1]), [Some(0.005), None, Some(0.0)]);
    assert_eq!(plain.stamp, None, "its clock is not set");
    assert!(rpc::switch(br#"{"id":0,"output":false}"#).is_err(), "a switch without a meter");
}

#[test]
fn what_is_to_be_read_follows_from_what_the_device_has() {
    let source = |body: &str, channel| rpc::source(body.as_bytes(), channel);
    assert_eq!(source(r#"{"em:0":{},"emdata:0":{},"em1:0":{}}"#, None), Ok(Source::Em));
    assert_eq!(source(r#"{"em1:0":{},"em1:1":{},"em1:2":{}}"#, None), Ok(Source::Phases));
    assert_eq!(source(r#"{"em1:0":{},"em1:1":{},"em1:2":{}}"#, Some(2)), Ok(Source::Em1(2)));
    assert_eq!(source(r#"{"em1:0":{},"em1:1":{},"switch:0":{}}"#, None), Ok(Source::Em1(0)));
    assert_eq!(source(r#"{"pm1:0":{}}"#, None), Ok(Source::Pm1(0)));
    assert_eq!(source(r#"{"switch:0":{"apower":1},"switch:1":{"apower":0}}"#, Some(1)), Ok(Source::Switch(1)));
    for (body, channel) in [
        (r#"{"switch:0":{"output":true}}"#, None),
        (r#"{"em:0":{}}"#, Some(1)),
        (r#"{"em1:0":{}}"#, Some(4)),
        (r#"{"input:0":{}}"#, None),
    ] {
        assert!(source(body, channel).is_err(), "{body} {channel:?}");
    }
}

const STATUS: &[u8] = br#"{"relays":[{"ison":true,"timer_remaining":0}],
    "emeters":[{"power":1510.2,"pf":0.97,"current":6.71,"voltage":231.4,"is_valid":true,"total":812345.6,"total_returned":0.0},
    {"power":-842.0,"pf":-0.99,"current":3.66,"voltage":232.0,"is_valid":true,"total":90211.3,"total_returned":55120.7},
    {"power":0.0,"pf":0.0,"current":0.01,"voltage":230.1,"is_valid":false,"total":12.0,"total_returned":3.0}],
    "inputs":[{"input":0},{"input":1},{"input":7}],"total_power":668.2,"uptime":86400}"#;

#[test]
fn generation_1_has_three_clamps_or_one_of_them() {
    assert_eq!(gen1::source(STATUS, None), Ok(Gen1::Phases));
    assert_eq!(gen1::source(STATUS, Some(1)), Ok(Gen1::Clamp(1)));
    assert!(gen1::source(STATUS, Some(3)).is_err());
    let sample = gen1::status(STATUS, Gen1::Phases).unwrap();
    assert_eq!(values(&sample, &Q::PHASE_POWER), [Some(1510.2), Some(-842.0), None], "a clamp that is not valid");
    assert_eq!(sample.get(Q::Power), None, "a sum without the third clamp would be too small");
    assert_eq!(values(&sample, &[Q::EnergyImport, Q::EnergyExport]), [Some(902.5689), Some(55.1237)]);
    let one = gen1::status(STATUS, Gen1::Clamp(1)).unwrap();
    assert_eq!(values(&one, &[Q::PowerL1, Q::Power, Q::VoltageL1]), [Some(-842.0), Some(-842.0), Some(232.0)]);
    let error = gen1::status(STATUS, Gen1::Clamp(2));
    assert_eq!(error.map(|it| it.get(Q::Power)), Ok(None), "its counters stand, its power is not known");
    let short = br#"{"emeters":[{"power":1.0},{"power":1.0},{"power":1.0,"total":5}]}"#;
    let sample = gen1::status(short, Gen1::Phases).unwrap();
    assert_eq!(sample.get(Q::EnergyImport), None, "a sum without one of its parts would be too small");
}

#[test]
fn a_device_says_for_how_long_it_runs() {
    assert_eq!(uptime(STATUS), Ok(Some(86_400)));
    assert_eq!(uptime(br#"{"mac":"AABBCCDDEEFF","unixtime":1760000000,"uptime":12}"#), Ok(Some(12)));
    assert_eq!(uptime(b"{}"), Ok(None));
    assert!(uptime(br#"{"uptime":"long"}"#).is_err());
}

#[test]
fn relays_of_generation_1_count_in_watt_minutes() {
    let body = br#"{"meters":[{"power":60.0,"is_valid":true,"timestamp":1,"total":6000}],"voltage":231.0}"#;
    assert_eq!(gen1::source(body, None), Ok(Gen1::Relay(0)));
    let sample = gen1::status(body, Gen1::Relay(0)).unwrap();
    assert_eq!(values(&sample, &[Q::PowerL1, Q::VoltageL1, Q::EnergyImport]), [Some(60.0), Some(231.0), Some(0.1)]);
    let invalid = br#"{"meters":[{"power":0.0,"is_valid":false,"total":0}]}"#;
    assert!(gen1::status(invalid, Gen1::Relay(0)).is_err());
    assert!(gen1::source(br#"{"relays":[{"ison":true}]}"#, None).is_err());
}

#[test]
fn relays_and_inputs_say_what_they_are() {
    assert_eq!(gen1::relay(br#"{"ison":true,"has_timer":true}"#), Ok(true));
    assert!(gen1::relay(b"{}").is_err());
    assert_eq!(gen1::input(STATUS, 1), Ok(Some(true)));
    assert!(gen1::input(STATUS, 2).is_err() && gen1::input(STATUS, 3).is_err());
    assert_eq!(rpc::input(br#"{"id":0,"state":null}"#), Ok(None));
    assert!(rpc::input(br#"{"id":0,"state":"on"}"#).is_err());
}

#[test]
fn errors_that_stand_twice_are_not_overlooked() {
    let body = br#"{"id":0,"a_act_power":1500.0,"a_errors":["power_meter_failure"],"a_errors":["no_load"]}"#;
    let error = rpc::em(body).unwrap_err().to_string();
    assert_eq!(error, "`a_errors` is a list with a list in it, a list of texts is needed");
}

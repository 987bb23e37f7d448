use super::*;

fn values(sample: &Sample, quantities: &[Q]) -> Vec<Option<f64>> {
    quantities.iter().map(|it| sample.get(*it)).collect()
}

#[test]
fn a_p1_meter_of_version_1_is_read_with_its_gas_meter() {
    let body = br#"{"smr_version":50,"active_tariff":2,"total_power_import_kwh":13779.338,
        "total_power_import_t1_kwh":10830.511,"total_power_export_kwh":1234.111,"active_power_w":-543,
        "active_power_l1_w":-676,"active_power_l2_w":133,"active_power_l3_w":0,"active_voltage_l1_v":231.1,
        "active_current_l1_a":-4,"active_current_l2_a":2,"active_current_l3_a":0,"active_power_average_w":123.0,
        "montly_power_peak_w":1111.0,"total_gas_m3":2569.646,"gas_timestamp":210606140010,"gas_unique_id":"0001"}"#;
    let read = v1_data(body).unwrap();
    let sample = &read.sample;
    assert_eq!(values(sample, &[Q::Power, Q::PowerL1, Q::CurrentL1]), [Some(-543.0), Some(-676.0), Some(-4.0)]);
    assert!(sample.current_signed && sample.current_coarse);
    assert_eq!(values(sample, &[Q::EnergyImport, Q::EnergyExport]), [Some(13779.338), Some(1234.111)]);
    assert_eq!(values(sample, &[Q::Demand, Q::PeakMonth, Q::Tariff]), [Some(0.123), Some(1.111), Some(2.0)]);
    assert_eq!(sample.stamp, None);
    let time = MeterTime::parse(b"210606140010").map(|it| it.standard_seconds);
    let gas = External { kind: "gas", id: "0001".into(), value: 2569.646, unit: "m³", time };
    assert_eq!(read.external, [gas]);
}

#[test]
fn one_phase_is_what_the_whole_is() {
    let body = br#"{"total_power_import_kwh":2.705,"active_power_w":-1058.296,"active_power_l1_w":-1058.296,
        "active_voltage_v":228.472,"active_current_a":4.632,"active_frequency_hz":50,"active_power_l2_w":null}"#;
    let sample = v1_data(body).unwrap().sample;
    assert_eq!(
        values(&sample, &[Q::PowerL1, Q::CurrentL1, Q::VoltageL1]),
        [Some(-1058.296), Some(4.632), Some(228.472)]
    );
    assert!(!sample.current_signed && !sample.current_coarse);
    assert_eq!(sample.signed_current(crate::quantity::Phase::L1), Some(-4.632));
    let socket = v1_data(br#"{"active_power_w":12.0,"total_power_import_kwh":1.0}"#).unwrap().sample;
    assert_eq!(values(&socket, &[Q::PowerL1, Q::CurrentL1]), [Some(12.0), None]);
}

#[test]
fn a_battery_says_how_full_it_is() {
    let body = br#"{"energy_import_kwh":123.456,"energy_export_kwh":98.7,"power_w":-404,"voltage_v":230.5,
        "current_a":-1.8,"frequency_hz":50,"state_of_charge_pct":55,"cycles":12}"#;
    let sample = v2_measurement(body).unwrap().sample;
    assert_eq!(
        values(&sample, &[Q::Power, Q::EnergyImport, Q::EnergyExport, Q::StateOfCharge]),
        [Some(-404.0), Some(123.456), Some(98.7), Some(55.0)]
    );
    let full = v2_measurement(br#"{"power_w":0,"state_of_charge_pct":255}"#).unwrap().sample;
    assert_eq!((full.get(Q::StateOfCharge), full.notes.len()), (None, 1));
}

#[test]
fn version_2_has_a_time_of_its_own() {
    let body = br#"{"protocol_version":50,"timestamp":"2024-06-28T14:12:34","energy_import_kwh":13779.338,"power_w":-543,
        "power_l1_w":-676,"current_a":6,"current_l1_a":-4.2,"current_l2_a":2,"voltage_l1_v":231.1,
        "external":[{"unique_id":"G1","type":"gas_meter","timestamp":"2024-06-28T14:00:00","value":2569.646,"unit":"m3"},
        {"unique_id":"H1","type":"heat_meter","timestamp":"2024-06-28T14:00:00","value":5.5,"unit":"GJ"},
        {"unique_id":"X","type":"odd","value":1,"unit":"kWh"}]}"#;
    let read = v2_measurement(body).unwrap();
    let time = MeterTime::parse(b"240628141234").unwrap().standard_seconds;
    assert_eq!(read.sample.stamp, Some(time));
    assert!(!read.sample.current_coarse);
    assert_eq!(read.sample.get(Q::CurrentL1), Some(-4.2), "the sum of sizes is not the current of a phase");
    let kinds: Vec<_> = read.external.iter().map(|it| (it.kind, it.unit, it.time.is_some())).collect();
    assert_eq!(kinds, [("gas", "m³", true), ("heat", "GJ", true)]);
    for bad in ["yesterday", "1999-01-01T00:00:00", "2024-13-01T00:00:00", "2024-06-28 14:12:34"] {
        assert!(v2_measurement(format!("{{\"power_w\":1,\"timestamp\":\"{bad}\"}}").as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn what_is_no_measurement_is_refused() {
    for bad in [&b"{}"[..], b"{\"active_power_w\":\"5\"}", b"{\"external\":5,\"active_power_w\":5}", b"null"] {
        assert!(v1_data(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
    let odd = v1_data(br#"{"active_power_w":5,"active_voltage_v":-3,"total_power_import_kwh":1e300}"#).unwrap();
    assert_eq!(values(&odd.sample, &[Q::VoltageL1, Q::EnergyImport]), [None, None]);
    assert_eq!(odd.sample.notes.len(), 2);
    for gas in ["-5", "1e12"] {
        let body = format!("{{\"active_power_w\":5,\"total_gas_m3\":{gas}}}");
        assert_eq!(v1_data(body.as_bytes()).unwrap().external, [], "{gas} m³");
    }
}

#[test]
fn the_telegram_of_version_1_has_the_time_that_its_data_have_not() {
    let telegram = |time: &str| p1::encode("/GKT5TEST", [time, "1-0:1.7.0(01.000*kW)"]);
    let (summer, winter) = ("0-0:1.0.0(240702143015S)", "0-0:1.0.0(240702133015W)");
    let time = v1_telegram_time(&telegram(summer)).unwrap();
    assert_eq!(v1_telegram_time(&telegram(winter)), Ok(time), "the same moment");
    let whole = telegram(summer);
    assert_eq!(v1_telegram_time(whole.trim_ascii_end()), Ok(time), "without the last line end");
    let mut damaged = telegram(summer);
    damaged[20] ^= 1;
    for bad in [&b""[..], b"not found", &damaged, &telegram("0-0:1.0.0(yesterday)"), &telegram(summer)[..40]] {
        assert!(v1_telegram_time(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn errors_and_tokens_of_both_versions_are_read() {
    let disabled = error(br#"{"error":{"id":202,"description":"API not enabled"}}"#).unwrap();
    assert!(disabled.ends_with(DISABLED), "{disabled}");
    assert_eq!(error(br#"{"error":"user:creation-not-enabled"}"#).as_deref(), Some("user:creation-not-enabled"));
    assert_eq!(error(b"not found"), None);
    // Not a number: it is not repeated, because it may be anything and of any length.
    assert_eq!(error(br#"{"error":{"id":{"a":[1,2,3]},"description":"odd"}}"#).as_deref(), Some("odd"));
    assert_eq!(error(br#"{"error":{"id":"202"}}"#), None);
    let good = br#"{"name":"local/gridkeeper","token":"0123456789ABCDEF0123456789ABCDEF"}"#;
    assert_eq!(token(good).unwrap().len(), 32);
    for bad in [&b"{}"[..], b"{\"token\":\"short\"}", b"{\"token\":\"0123456789ABCDEF0123456789ABCDE!\"}"] {
        assert!(token(bad).is_err());
    }
}

#[test]
fn what_the_web_socket_says_is_sorted() {
    assert_eq!(push(br#"{"type":"authorization_requested","data":{}}"#), Ok(Push::AuthorizationRequested));
    assert_eq!(push(br#"{"type":"authorized"}"#), Ok(Push::Authorized));
    let refused = push(br#"{"type":"error","data":{"message":"user:unauthorized"}}"#);
    assert_eq!(refused, Ok(Push::Refused("user:unauthorized".into())));
    assert_eq!(push(br#"{"type":"system","data":{"uptime_s":5}}"#), Ok(Push::Other));
    let Ok(Push::Measurement(read)) = push(br#"{"type":"measurement","data":{"power_w":5}}"#) else { panic!() };
    assert_eq!(read.sample.get(Q::Power), Some(5.0));
    assert!(push(br#"{"type":"measurement"}"#).is_err());
}

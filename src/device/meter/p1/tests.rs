//! What telegrams mean, and the task over real links.

mod readers;

use std::path::Path;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::codec::p1::encode;
use crate::config::model::SerialLine;
use crate::device::meter::push_rig::{Running, accept, number, server};
use crate::quantity::{Milliamp, Millivolt, Phase, Phases, Watt, WattHour};
use crate::reading::MeterReading;
use crate::status::Value;

/// What the task would send for the telegrams of a fixture.
struct Meaning {
    reading: MeterReading,
    values: Arc<MeterValues>,
    sub_meters: Vec<(Arc<str>, Arc<MeterValues>)>,
    unusable: Vec<String>,
}

impl Meaning {
    fn number(&self, key: &str) -> f64 {
        number(&self.values, key)
    }
}

fn meaning_of(bytes: &[u8], mapping: Mapping) -> Meaning {
    let mut listener = Listener::new(mapping);
    let mut decoder = Decoder::new(None);
    let mut rest = bytes;
    let telegram = decoder.decode(&mut rest).unwrap().unwrap();
    telegram.check().unwrap();
    let mut unusable = Vec::new();
    match listener.understand(&telegram, 0, Mono(5), |register| unusable.push(register.to_string())) {
        ToControl::Meter { reading, values, sub_meters, .. } => {
            Meaning { reading, values, sub_meters: sub_meters.to_vec(), unusable }
        }
        other => panic!("{other:?}"),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/p1").join(name)).unwrap()
}

fn meaning(name: &str) -> Meaning {
    meaning_of(&fixture(name), Mapping::default())
}

fn lines(lines: &[&str]) -> Vec<u8> {
    encode("/GKT5TEST", lines)
}

fn all<T: Copy>(values: [T; 3]) -> Phases<Option<T>> {
    Phases(values.map(Some))
}

#[test]
fn a_dutch_meter() {
    let dutch = meaning("nl-dsmr50.p1");
    assert_eq!(
        dutch.reading,
        MeterReading {
            received_at: Mono(5),
            sampled_at: None,
            // 2024-07-02 14:30:15 summer time, from 2000 in standard time.
            stamp: Some(773_242_215),
            current: all([Milliamp(2000), Milliamp(2000), Milliamp(2000)]),
            current_signed: false,
            current_step: Milliamp(1000),
            power: all([Watt(400), Watt(393), Watt(400)]),
            power_total: Some(Watt(1193)),
            voltage: all([Millivolt(230_100), Millivolt(229_800), Millivolt(231_000)]),
            energy_import: Some(WattHour(3_580_245)),
            energy_export: Some(WattHour(358_000)),
            demand: None,
            shows_more: false,
        }
    );
    assert_eq!(dutch.number("power_w"), 1193.0);
    assert_eq!(dutch.number("energy_import_kwh"), 3580.245);
    assert_eq!(dutch.number("energy_import_t1_kwh"), 1234.567);
    assert_eq!(dutch.number("voltage_l3_v"), 231.0);
    assert_eq!(dutch.number("voltage_sags_l1"), 3.0);
    assert_eq!(dutch.values.values.get("tariff"), Some(&Value::Text("0002".into())));
    assert_eq!(dutch.values.values.get("message"), Some(&Value::Text(String::new())));
    assert_eq!(dutch.values.identity.serial.as_deref(), Some("GKTEST0000000050"));
    assert_eq!(dutch.values.identity.model.as_deref(), Some("TEST-5.0"));
    let [(suffix, gas)] = &dutch.sub_meters[..] else { panic!() };
    assert_eq!((&**suffix, number(gas, "volume_m3")), ("gas", 987.654));
    assert_eq!(gas.identity.serial.as_deref(), Some("GKGAS00000000050"));
    assert_eq!(dutch.unusable, Vec::<String>::new());
    // No key is there twice in two units, and every register has one.
    assert!(dutch.values.values.contains_key("obis_1_0_99_97_0"));
}

#[test]
fn export_is_negative_and_gives_the_currents_their_sign_for_the_views() {
    let sunny = meaning("nl-dsmr50-export.p1");
    assert_eq!(sunny.reading.power_total, Some(Watt(-2350)));
    assert_eq!(sunny.reading.power, all([Watt(-1200), Watt(50), Watt(-1200)]));
    assert_eq!(sunny.reading.current, all([Milliamp(5000), Milliamp(0), Milliamp(5000)]));
    assert!(!sunny.reading.current_signed);
    assert_eq!(sunny.number("current_l1_a"), -5.0);
    assert_eq!(sunny.number("power_w"), -2350.0);
}

#[test]
fn phases_and_direction_follow_the_configuration() {
    let mapping = Mapping { phases: [Phase::L2, Phase::L3, Phase::L1], invert: true };
    let turned = meaning_of(&fixture("nl-dsmr50.p1"), mapping);
    assert_eq!(turned.reading.power, all([Watt(-400), Watt(-400), Watt(-393)]));
    assert_eq!(turned.reading.voltage, all([Millivolt(231_000), Millivolt(230_100), Millivolt(229_800)]));
    assert_eq!(turned.reading.energy_import, Some(WattHour(358_000)));
    assert_eq!(turned.number("voltage_l2_v"), 230.1);
    assert_eq!(turned.number("power_l2_w"), -400.0);
    assert_eq!(turned.number("power_w"), -1193.0);
    assert_eq!(turned.number("power_export_w"), 1193.0);
    assert_eq!(turned.number("energy_export_t1_kwh"), 1234.567);
}

#[test]
fn what_is_signed_has_one_direction_for_control_and_for_the_views() {
    let sent = [
        "1-0:16.7.0(-00.700*kW)",
        "1-0:36.7.0(-00.700*kW)",
        "1-0:31.7.0(-003*A)",
        "1-0:5.7.0(00.100*kvar)",
        "1-0:6.7.0(00.000*kvar)",
        "1-0:7.7.0(00.000*kvar)",
        "1-0:8.7.0(00.000*kvar)",
        "1-0:1.6.0(240701120000S)(04.120*kW)",
    ];
    for (invert, sign) in [(false, 1), (true, -1)] {
        let meaning = meaning_of(&lines(&sent), Mapping { invert, ..Mapping::default() });
        let reading = meaning.reading;
        assert_eq!((reading.power_total, reading.power[Phase::L1]), (Some(Watt(-700 * sign)), Some(Watt(-700 * sign))));
        assert_eq!((reading.current[Phase::L1], reading.current_signed), (Some(Milliamp(-3000 * sign)), true));
        for key in ["power_w", "net_power_w", "power_l1_w", "net_power_l1_w"] {
            assert_eq!(meaning.number(key), f64::from(-700 * sign), "{key}");
        }
        assert_eq!(meaning.number("current_l1_a"), f64::from(-3 * sign));
        assert_eq!(meaning.number("reactive_power_var"), f64::from(100 * sign));
        assert_eq!(meaning.values.values.contains_key("peak_month_kw"), !invert, "a peak of export is none of import");
    }
}

#[test]
fn an_export_that_cannot_be_read_is_not_zero() {
    let power = |export: &str| {
        let meaning = meaning_of(&lines(&["1-0:1.7.0(00.000*kW)", export, "1-0:31.7.0(015*A)"]), Mapping::default());
        (meaning.reading.power_total, meaning.reading.power[Phase::L1])
    };
    assert_eq!(power("1-0:2.7.0(03.500*kW)"), (Some(Watt(-3500)), Some(Watt(-3500))));
    assert_eq!(power("1-0:2.7.0(03.5-0*kW)"), (None, None));
    assert_eq!(power("1-0:2.7.0()"), (Some(Watt(0)), Some(Watt(0))), "the meter has none");
    let phase = ["1-0:1.7.0(01.000*kW)", "1-0:21.7.0(00.000*kW)", "1-0:22.7.0(oops)", "1-0:41.7.0(01.000*kW)"];
    assert_eq!(meaning_of(&lines(&phase), Mapping::default()).reading.power, Phases([None, Some(Watt(1000)), None]));
}

#[test]
fn a_total_that_is_not_sent_is_the_sum_of_all_phases() {
    let total = |lines_: &[&str]| meaning_of(&lines(lines_), Mapping::default()).reading.power_total;
    let (l1, l2) = ("1-0:21.7.0(01.000*kW)", "1-0:42.7.0(00.250*kW)");
    assert_eq!(total(&[l1, "1-0:41.7.0(00.000*kW)", l2]), Some(Watt(750)));
    assert_eq!(total(&[l1, "1-0:41.7.0(?)", l2]), None);
    assert_eq!(total(&[l1, "1-0:51.7.0(001*A)"]), None, "L2 is there and has no power");
}

#[test]
fn of_repeated_lines_the_first_counts_for_everybody() {
    let twice = [
        "0-0:1.0.0(240702143015S)",
        "0-0:1.0.0(240702143059S)",
        "1-0:1.7.0(01.000*kW)",
        "1-0:1.7.0(02.000*kW)",
        "1-0:1.8.0(000010.000*kWh)",
        "1-0:1.8.0(000020.000*kWh)",
        "1-0:31.7.0(004*A)",
        "1-0:31.7.0(008*A)",
        "1-0:32.7.0(231.0*V)",
        "1-0:32.7.0(232.0*V)",
    ];
    let meaning = meaning_of(&lines(&twice), Mapping::default());
    let reading = meaning.reading;
    assert_eq!((reading.power_total, meaning.number("power_import_w")), (Some(Watt(1000)), 1000.0));
    assert_eq!((reading.energy_import, meaning.number("energy_import_kwh")), (Some(WattHour(10_000)), 10.0));
    assert_eq!((reading.current[Phase::L1], meaning.number("current_l1_a")), (Some(Milliamp(4000)), 4.0));
    assert_eq!((reading.voltage[Phase::L1], meaning.number("voltage_l1_v")), (Some(Millivolt(231_000)), 231.0));
    assert_eq!(reading.stamp, Some(773_242_215));
}

#[test]
fn a_counter_below_zero_is_none() {
    let odd = ["1-0:1.8.1(-00010.000*kWh)", "1-0:1.8.2(000020.000*kWh)", "1-0:1.7.0(01.000*kW)"];
    let meaning = meaning_of(&lines(&odd), Mapping::default());
    assert_eq!(meaning.reading.energy_import, None, "nor is a sum without it");
    assert!(!meaning.values.values.contains_key("energy_import_t1_kwh"), "{:?}", meaning.values);
    assert_eq!(meaning.number("energy_import_t2_kwh"), 20.0);
    assert!(meaning.unusable[0].contains("a counter below zero"), "{:?}", meaning.unusable);
}

#[test]
fn countries_differ() {
    let belgian = meaning("be-emucs171.p1");
    assert_eq!(belgian.reading.current_step, Milliamp(10));
    assert_eq!(belgian.reading.demand, Some(Watt(2351)));
    assert_eq!(belgian.number("peak_month_kw"), 4.12);
    let suffixes: Vec<_> = belgian.sub_meters.iter().map(|(suffix, _)| &**suffix).collect();
    assert_eq!(suffixes, ["gas", "water"]);

    let kaifa = meaning("nl-dsmr42-no-voltages.p1");
    assert_eq!(kaifa.reading.voltage, Phases([None; 3]));

    let swedish = meaning("se-h1.p1");
    assert_eq!(swedish.reading.current_step, Milliamp(100));
    assert_eq!(swedish.reading.energy_import, Some(WattHour(4_711_025)));
    assert_eq!(swedish.number("reactive_power_var"), -309.0);

    let hungarian = meaning("hu-eon-filler-text.p1");
    assert_eq!(hungarian.reading.power_total, Some(Watt(82)));
    assert_eq!(hungarian.number("reactive_power_var"), -297.0);
    assert_eq!(hungarian.number("power_factor"), 0.336);
    assert_eq!(hungarian.number("frequency_hz"), 50.02);
    assert_eq!(hungarian.values.values.get("message"), Some(&Value::Text(String::new())));

    let austrian = meaning("at-watt-hours.p1");
    assert_eq!(austrian.reading.energy_import, Some(WattHour(4_211_937)));
    assert_eq!(austrian.number("energy_import_kwh"), 4211.937);
    assert_eq!(austrian.reading.power_total, Some(Watt(286)));
    assert_eq!(austrian.reading.power, Phases([None; 3]));

    let lithuanian = meaning("lt-eso.p1");
    assert_eq!(lithuanian.reading.power_total, Some(Watt(-3127)));
    assert_eq!(lithuanian.number("obis_1_0_16_24_0"), -3.127);

    let luxembourgish = meaning("lu-smarty.p1");
    assert_eq!(luxembourgish.values.values.get("obis_1_1_31_4_0"), Some(&Value::Text("100*A -063*A".into())));
    assert_eq!(luxembourgish.number("apparent_power_va"), 67.0);

    let old = meaning("nl-dsmr22.p1");
    assert_eq!(old.reading.stamp, None);
    assert_eq!(old.reading.power_total, Some(Watt(1420)));
    assert_eq!(number(&old.sub_meters[0].1, "volume_m3"), 811.204);

    assert_eq!(meaning("lower-case.p1").reading, meaning("nl-dsmr50.p1").reading);
    assert_eq!(number(&meaning("latin1-unit.p1").sub_meters[0].1, "volume_m3"), 987.654);
    let heat = meaning("nl-heat-only-short-crc.p1");
    assert_eq!(&*heat.sub_meters[0].0, "heat");
    assert_eq!(heat.reading, MeterReading { received_at: Mono(5), ..MeterReading::default() });
}

#[test]
fn a_meter_of_one_phase_has_all_its_power_there() {
    let one = ["1-0:1.7.0(02.300*kW)", "1-0:2.7.0(00.000*kW)", "1-0:31.7.0(010*A)"];
    let meaning = meaning_of(&lines(&one), Mapping { phases: [Phase::L3, Phase::L1, Phase::L2], invert: false });
    assert_eq!(meaning.reading.power, Phases([None, None, Some(Watt(2300))]));
    assert_eq!(meaning.reading.current, Phases([None, None, Some(Milliamp(10_000))]));
    // With other phases unknown is unknown.
    let three = ["1-0:1.7.0(02.300*kW)", "1-0:31.7.0(010*A)", "1-0:51.7.0(001*A)", "1-0:71.7.0(001*A)"];
    assert_eq!(meaning_of(&lines(&three), Mapping::default()).reading.power, Phases([None; 3]));
}

#[test]
fn a_counter_is_never_half() {
    let counted = |lines_: &[&str]| {
        let meaning = meaning_of(&lines(lines_), Mapping::default());
        (meaning.reading.energy_import, meaning.values.values.contains_key("energy_import_kwh"), meaning.unusable.len())
    };
    let t1 = "1-0:1.8.1(000001.000*kWh)";
    assert_eq!(counted(&[t1, "1-0:1.8.2(000002.500*kWh)"]), (Some(WattHour(3500)), true, 0));
    assert_eq!(counted(&[t1, "1-0:1.8.2()"]), (None, false, 0));
    assert_eq!(counted(&[t1, "1-0:1.8.2(000002.5-0*kWh)"]), (None, false, 1));
    assert_eq!(counted(&[t1, "1-0:1.8.2(999999999999*kWh)"]), (None, false, 1));
    assert_eq!(counted(&[t1, "1-0:1.8.0(000009.000*kWh)"]), (Some(WattHour(9000)), true, 0));
    assert_eq!(counted(&["1-0:1.8.0*01(000009.000*kWh)"]), (None, false, 0));
    assert_eq!(counted(&["1-1:1.8.1(000001.000*kWh)", "1-1:1.8.2(000002.500*kWh)"]), (Some(WattHour(3500)), true, 0));
}

#[test]
fn absurd_values_are_named_and_left_out() {
    let meaning = meaning_of(
        &lines(&["1-0:1.7.0(9999999999.9*kW)", "1-0:31.7.0(005*kW)", "1-0:32.7.0(abc*V)", "1-0:21.7.0(1.0*furlong)"]),
        Mapping::default(),
    );
    assert_eq!(meaning.reading, MeterReading { received_at: Mono(5), ..MeterReading::default() });
    assert_eq!(meaning.unusable[0], "register 1-0:1.7.0 = `9999999999.9*kW` is not used: above 1000000000");
    assert_eq!(meaning.unusable.len(), 4);
    assert!(!meaning.values.values.contains_key("power_w"));
}

#[test]
fn slots_without_a_device_give_no_meter() {
    let meaning = meaning("nl-dsmr50-unbound-slot.p1");
    let found: Vec<_> =
        meaning.sub_meters.iter().map(|(suffix, values)| (&**suffix, values.values.keys().next())).collect();
    let expected = [("gas", "volume_m3"), ("water", "volume_m3"), ("heat", "energy_gj")];
    assert_eq!(found.len(), expected.len());
    for ((suffix, key), expected) in found.iter().zip(expected) {
        assert_eq!((*suffix, &**key.unwrap()), expected);
    }
    for absent in [
        "(632525252525S)(00000.000)",
        "(632525252525W)(00000.000)",
        "(700101010000W)(00000000)",
        "(000101000000W)(00000000.0000)",
        "()",
        "(240702143004S)()",
    ] {
        let nothing = meaning_of(&lines(&["0-1:24.1.0(003)", &format!("0-1:24.2.1{absent}")]), Mapping::default());
        assert!(nothing.sub_meters.is_empty() && nothing.unusable.is_empty(), "{absent}");
    }
}

#[test]
fn two_gas_meters_keep_their_names() {
    let telegram = |one: &str, two: &str| {
        lines(&[
            "0-0:1.0.0(240702143015S)",
            "0-1:24.1.0(003)",
            &format!("0-1:24.2.1({one}S)(00001.000*m3)"),
            "0-2:24.1.0(003)",
            &format!("0-2:24.2.1({two}S)(00002.000*m3)"),
        ])
    };
    let names = |bus: &mut Bus, bytes: &[u8]| -> Vec<(String, f64)> {
        let mut decoder = Decoder::new(None);
        let mut rest = bytes;
        let telegram = decoder.decode(&mut rest).unwrap().unwrap();
        let meters = bus.sub_meters(&telegram, None, Mono(0), 0, |register| panic!("{register}"));
        meters.iter().map(|(suffix, values)| (suffix.to_string(), number(values, "volume_m3"))).collect()
    };
    let by_slot = [("gas".to_owned(), 1.0), ("gas-2".to_owned(), 2.0)];
    let live = |bus: &mut Bus| names(bus, &telegram("240702140000", "240702143000"));
    assert_eq!(live(&mut Bus::default()), by_slot);
    // The first device was taken away long ago: the second is the gas meter, and stays it.
    let mut bus = Bus::default();
    let exchanged = [("gas-2".to_owned(), 1.0), ("gas".to_owned(), 2.0)];
    assert_eq!(names(&mut bus, &telegram("230101000000", "240702143000")), exchanged);
    assert_eq!(live(&mut bus), exchanged);
}

/// The names that the bus gives these gas meters (slot, own number, counter), with their counters.
fn gas_meters(bus: &mut Bus, devices: &[(u8, &str, f64)]) -> Vec<(String, f64)> {
    let mut sent = vec!["0-0:1.0.0(240702143015S)".to_owned()];
    for (slot, serial, counter) in devices {
        sent.push(format!("0-{slot}:24.1.0(003)"));
        if !serial.is_empty() {
            sent.push(format!("0-{slot}:96.1.0({serial})"));
        }
        sent.push(format!("0-{slot}:24.2.1(240702140000S)({counter:09.3}*m3)"));
    }
    let bytes = lines(&sent.iter().map(String::as_str).collect::<Vec<_>>());
    let mut decoder = Decoder::new(None);
    let telegram = decoder.decode(&mut &bytes[..]).unwrap().unwrap();
    let meters = bus.sub_meters(&telegram, None, Mono(0), 0, |register| panic!("{register}"));
    meters.iter().map(|(suffix, values)| (suffix.to_string(), number(values, "volume_m3"))).collect()
}

fn are(one: (&str, f64), two: (&str, f64)) -> [(String, f64); 2] {
    [(one.0.to_owned(), one.1), (two.0.to_owned(), two.1)]
}

#[test]
fn a_meter_on_the_bus_is_known_by_its_own_number() {
    let mut bus = Bus::default();
    let mut names = |devices: &[(u8, &str, f64)]| gas_meters(&mut bus, devices);
    assert_eq!(names(&[(1, "AA", 10.0), (2, "BB", 20.0)]), are(("gas", 10.0), ("gas-2", 20.0)));
    assert_eq!(names(&[(1, "BB", 20.5), (2, "AA", 10.5)]), are(("gas-2", 20.5), ("gas", 10.5)));
    assert_eq!(names(&[(1, "", 20.6), (2, "AA", 10.6)]), are(("gas-2", 20.6), ("gas", 10.6)), "by its slot");
    assert_eq!(names(&[(3, "AA", 11.0)]), [("gas".to_owned(), 11.0)], "in a third slot");
    let exchanged = names(&[(1, "BB", 21.0), (3, "CC", 0.1)]);
    assert_eq!(exchanged, are(("gas-2", 21.0), ("gas", 0.1)), "a new meter in the old one's place");
    assert_eq!(names(&[(3, "CC", 0.2), (4, "DD", 5.0)]), are(("gas", 0.2), ("gas-3", 5.0)));
}

#[test]
fn what_happens_to_the_bus_while_we_are_off_changes_no_names() {
    let names = Names::default();
    gas_meters(&mut Bus::new(names.clone()), &[(1, "AA", 10.0), (2, "BB", 20.0)]);
    let next_start = || Bus::new(Names::restored(&names.get()));
    let changed_places = gas_meters(&mut next_start(), &[(1, "BB", 20.5), (2, "AA", 10.5)]);
    assert_eq!(changed_places, are(("gas-2", 20.5), ("gas", 10.5)));
    assert_eq!(gas_meters(&mut next_start(), &[(2, "BB", 20.5)]), [("gas-2".to_owned(), 20.5)], "the first is gone");
    let exchanged = gas_meters(&mut next_start(), &[(1, "AA", 10.5), (2, "CC", 0.1)]);
    assert_eq!(exchanged, are(("gas", 10.5), ("gas-2", 0.1)));
    // Without the names of the last run they are given by slot.
    let anew = gas_meters(&mut Bus::default(), &[(1, "BB", 20.5), (2, "AA", 10.5)]);
    assert_eq!(anew, are(("gas", 20.5), ("gas-2", 10.5)));
}

#[test]
fn the_time_of_a_gas_reading_needs_no_time_zone() {
    let at = |wall_ms: i64| {
        let bytes = lines(&["0-0:1.0.0(240702143015S)", "0-1:24.1.0(003)", "0-1:24.2.1(240702140000S)(00001.000*m3)"]);
        let mut decoder = Decoder::new(None);
        let mut rest = &bytes[..];
        let telegram = decoder.decode(&mut rest).unwrap().unwrap();
        let time = reading::registers(&telegram, false, |_| {}).time;
        Bus::default().sub_meters(&telegram, time, Mono(0), wall_ms, |_| {})[0].1.wall_ms
    };
    // 12:30:15 UTC for summer time in Amsterdam, 11:30:15 in Vilnius.
    assert_eq!(at(1_719_923_415_000), Some(1_719_921_600_000));
    assert_eq!(at(1_719_923_415_000 + 100_000), Some(1_719_921_600_000));
    assert_eq!(at(1_719_919_815_000), Some(1_719_918_000_000));
    assert_eq!(at(0), None);
}

// The task over real links, with short times.

const HASTY: Patience = Patience {
    open: Duration::from_secs(5),
    pause: Duration::from_millis(150),
    offline: Duration::from_secs(25),
    silence: Duration::from_secs(20),
    first_retry: Duration::from_millis(10),
    last_retry: Duration::from_millis(40),
};

fn start(connection: Connection, patience: Patience) -> Running {
    start_with(connection, patience, None)
}

fn start_with(connection: Connection, patience: Patience, tap: Option<Tap>) -> Running {
    Running::start(|report, cancel| {
        let protocol = P1::new(Mapping::default(), None, tap, Names::default());
        push::run(report, connection, protocol, Clock::start(), cancel, patience)
    })
}

fn telegram(watts: u32) -> Vec<u8> {
    lines(&["0-0:1.0.0(240702143015S)", &format!("1-0:1.7.0({:02}.{:03}*kW)", watts / 1000, watts % 1000)])
}

#[tokio::test]
async fn telegrams_over_tcp_in_pieces_and_after_a_lost_connection() {
    let (listener, connection) = server().await;
    let mut running = start(connection, HASTY);
    let mut meter = accept(&listener).await;
    let bytes = telegram(1193);
    meter.write_all(&bytes[20..]).await.unwrap();
    meter.write_all(&bytes[..30]).await.unwrap();
    meter.flush().await.unwrap();
    meter.write_all(&bytes[30..]).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(1193)));
    let health = running.health(|health| health.good == 1).await;
    assert!(health.online && health.bad == 0 && health.discarded_bytes > 0);
    drop(meter);
    let mut meter = accept(&listener).await;
    meter.write_all(&telegram(250)).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(250)));
    let health = running.health(|health| health.good == 2).await;
    assert_eq!(health.reconnects, 1);
    let error = health.last_error.unwrap();
    assert!(error.starts_with("meter `main`: tcp://127.0.0.1:") && error.contains("closed the link"), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_crc_is_named_and_gives_no_reading() {
    let (listener, connection) = server().await;
    let mut running = start(connection, HASTY);
    let mut meter = accept(&listener).await;
    let mut wrong = telegram(1193);
    let length = wrong.len();
    let computed = String::from_utf8(wrong[length - 6..length - 2].to_vec()).unwrap();
    wrong[length - 6..length - 2].copy_from_slice(b"1234");
    meter.write_all(&wrong).await.unwrap();
    let health = running.health(|health| health.bad == 1).await;
    let bytes = length - 6;
    assert_eq!(
        health.last_error.as_deref(),
        Some(&*format!(
            "meter `main`: telegram with wrong CRC (given 1234, computed {computed}), {bytes} bytes discarded"
        ))
    );
    assert_eq!((health.good, health.discarded_bytes), (0, bytes as u64));
    // Nothing of it was taken: the next reading is the next telegram's.
    meter.write_all(&telegram(7)).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(7)));
    running.stop().await;
}

#[tokio::test]
async fn silence_closes_a_telegram_and_the_link_stays() {
    let (listener, connection) = server().await;
    let mut running = start(connection, HASTY);
    let mut meter = accept(&listener).await;
    let bytes = telegram(1193);
    meter.write_all(&bytes[..bytes.len() - 7]).await.unwrap();
    let health = running.health(|health| health.bad == 1).await;
    assert!(health.last_error.unwrap().contains("telegram without end mark"));
    // An old meter's telegram ends with `!` and nothing behind it.
    meter.write_all(b"/GKT5OLD\r\n\r\n1-0:1.7.0(0001.42*kW)\r\n!").await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(1420)));
    meter.write_all(&telegram(9)).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(9)));
    running.stop().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_and_found_again() {
    let (listener, connection) = server().await;
    let silence = Duration::from_millis(300);
    let mut running = start(connection, Patience { silence, ..HASTY });
    let first = accept(&listener).await;
    let mut second = accept(&listener).await;
    second.write_all(&telegram(9)).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(9)));
    let health = running.health(|health| health.reconnects >= 1).await;
    assert!(health.last_error.unwrap().contains("nothing received"));
    drop(first);
    running.stop().await;
}

#[tokio::test]
async fn an_absent_server_is_asked_again() {
    let (listener, connection) = server().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut running = start(connection, HASTY);
    let health = running.health(|health| health.last_error.is_some()).await;
    assert!(!health.online);
    assert!(health.last_error.unwrap().contains("cannot open tcp://127.0.0.1:"));
    let listener = TcpListener::bind(address).await.unwrap();
    accept(&listener).await.write_all(&telegram(9)).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(9)));
    running.stop().await;
}

#[tokio::test]
async fn rubbish_of_the_wrong_parity_is_explained() {
    let (listener, connection) = server().await;
    let mut running = start(connection, HASTY);
    let mut meter = accept(&listener).await;
    let even: Vec<u8> = telegram(9).repeat(6).iter().map(|byte| byte | ((byte.count_ones() as u8 & 1) << 7)).collect();
    meter.write_all(&even).await.unwrap();
    let health = running.health(|health| health.last_error.is_some()).await;
    assert!(health.last_error.unwrap().contains("parity=even"));
    running.stop().await;
}

#[tokio::test]
async fn telegrams_over_a_serial_port_that_is_pulled_and_plugged_in() {
    use nix::pty::openpty;
    use std::io::Write as _;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ttyP1");
    let plug = || {
        let pty = openpty(None, None).unwrap();
        let name = nix::unistd::ttyname(&pty.slave).unwrap();
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(name, &path).unwrap();
        (std::fs::File::from(pty.master), pty.slave)
    };
    let (mut meter, slave) = plug();
    let line = SerialLine { path: path.clone(), baud: None, parity: None, stop: None };
    let mut running = start(Connection::Serial(line), HASTY);
    let bytes = telegram(1193);
    // Bytes sent before the port is open may be lost, as on a real line: a meter goes on sending.
    let mut heard = None;
    while heard.is_none() {
        meter.write_all(&bytes).unwrap();
        heard = timeout(Duration::from_millis(300), running.reading()).await.ok();
    }
    assert_eq!(heard.unwrap().power_total, Some(Watt(1193)));
    drop((meter, slave));
    running.health(|health| !health.online && health.last_error.is_some()).await;
    let (mut meter, _slave) = plug();
    let mut heard = None;
    while heard.is_none() {
        meter.write_all(&telegram(9)).unwrap();
        heard = timeout(Duration::from_millis(300), running.reading()).await.ok();
    }
    assert_eq!(heard.unwrap().power_total, Some(Watt(9)));
    running.stop().await;
}

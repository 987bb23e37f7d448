//! What frames mean, and the task over TCP and a pseudo-terminal.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::*;
use crate::codec::obis::Obis;
use crate::codec::sml::{Field, encode, entry};
use crate::config::model::SerialLine;
use crate::device::ToControl;
use crate::device::meter::push_rig::{Running, accept, number, server};
use crate::quantity::{Milliamp, Millivolt, Phase, Phases, Watt, WattHour};
use crate::reading::MeterReading;
use crate::status::MeterValues;

const HASTY: Patience = Patience {
    open: Duration::from_secs(5),
    pause: Duration::from_millis(100),
    offline: Duration::from_secs(25),
    silence: Duration::from_secs(20),
    first_retry: Duration::from_millis(10),
    last_retry: Duration::from_millis(40),
};

/// What the task would send for the first frame of a fixture, and what it left out.
fn meaning(name: &str, mapping: Mapping) -> (MeterReading, Arc<MeterValues>, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sml").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let digits: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::chars)
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    meaning_of(&bytes, mapping)
}

fn meaning_of(mut bytes: &[u8], mapping: Mapping) -> (MeterReading, Arc<MeterValues>, Vec<String>) {
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&mut bytes).unwrap().unwrap();
    frame.check().unwrap();
    match reading::understand(&frame, &mapping, 3, Mono(5)) {
        (ToControl::Meter { reading, values, .. }, unusable) => {
            (reading, values, unusable.iter().map(ToString::to_string).collect())
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn a_three_phase_meter() {
    let (reading, values, unusable) = meaning("three-phases.hex", Mapping::default());
    assert_eq!(
        reading,
        MeterReading {
            received_at: Mono(5),
            current: Phases([Milliamp(30_440), Milliamp(1310), Milliamp(28_990)].map(Some)),
            current_step: Milliamp(10),
            power: Phases([Watt(-7000), Watt(300), Watt(6695)].map(Some)),
            power_total: Some(Watt(-5)),
            voltage: Phases([Millivolt(230_100), Millivolt(229_900), Millivolt(231_000)].map(Some)),
            energy_import: Some(WattHour(432_872)),
            energy_export: Some(WattHour(9000)),
            ..MeterReading::default()
        }
    );
    assert_eq!(number(&values, "power_w"), -5.0);
    assert_eq!(number(&values, "power_l1_w"), -7000.0);
    assert_eq!(number(&values, "current_l1_a"), -30.44);
    assert_eq!(number(&values, "frequency_hz"), 50.0);
    assert_eq!(number(&values, "energy_export_kwh"), 9.0);
    assert_eq!(values.identity.manufacturer.as_deref(), Some("GKT"));
    assert_eq!(values.identity.serial.as_deref(), Some("1GKT0000000001"));
    assert_eq!(unusable, Vec::<String>::new());
    // A signature and the maker's own words are no values.
    assert!(!values.values.keys().any(|key| key.contains("199") || key.contains("96_50")));

    let mapping = Mapping { phases: [Phase::L2, Phase::L3, Phase::L1], invert: true };
    let (turned, values, _) = meaning("three-phases.hex", mapping);
    assert_eq!(turned.power, Phases([Watt(-6695), Watt(7000), Watt(-300)].map(Some)));
    assert_eq!(turned.energy_import, Some(WattHour(9000)));
    for (key, watts) in [
        ("power_w", 5.0),
        ("net_power_w", 5.0),
        ("power_l2_w", 7000.0),
        ("net_power_l2_w", 7000.0),
        ("net_power_l1_w", -6695.0),
    ] {
        assert_eq!(number(&values, key), watts, "{key}");
    }
}

#[test]
fn the_sign_of_the_power_is_what_the_meter_means() {
    let power = |name: &str| meaning(name, Mapping::default()).0.power_total;
    assert_eq!(power("dzg-positive-as-negative.hex"), Some(Watt(356)));
    assert_eq!(power("dzg-negative-as-positive.hex"), Some(Watt(-47)));
    assert_eq!(power("dzg-genuine-negative.hex"), Some(Watt(-106)));
    assert_eq!(power("emh-export-by-status.hex"), Some(Watt(-127)));
    assert_eq!(power("holley-kermit.hex"), Some(Watt(-376)));
}

#[test]
fn phases_of_dzg_must_add_up() {
    let frame = |l1: i64| {
        let power = |c: u8, raw: i64| entry(Obis::new(1, 0, c, 7, 0), None, Some(27), -2, Field::Int(raw, 2));
        encode(
            b"\x0A\x01DZG\x00\x03\x93\x87\x01",
            &[
                entry(Obis::new(1, 0, 1, 8, 0), Some(0x001C_0104), Some(30), -1, Field::Uint(1, 4)),
                power(16, 32_000),
                power(36, l1),
                power(56, 1000),
            ],
        )
    };
    let (reading, _, unusable) = meaning_of(&frame(31_000), Mapping::default());
    assert_eq!(reading.power, Phases([Some(Watt(310)), Some(Watt(10)), None]));
    assert_eq!(unusable, Vec::<String>::new());
    let (reading, _, unusable) = meaning_of(&frame(-32_449), Mapping::default());
    assert_eq!((reading.power, reading.power_total), (Phases([None; 3]), Some(Watt(320))));
    assert_eq!(unusable.len(), 2, "{unusable:?}");
}

#[test]
fn phases_that_lost_their_sign_do_not_stand_beside_a_total_that_was_put_right() {
    let frame = |maker: &[u8; 3], status: u32, total: i64, phases: [i64; 3]| {
        let power = |c: u8, raw: i64| entry(Obis::new(1, 0, c, 7, 0), None, Some(27), 0, Field::Int(raw, 2));
        let server = [b"\x0A\x01", &maker[..], b"\x00\x03\x93\x87\x01"].concat();
        let energy = entry(Obis::new(1, 0, 1, 8, 0), Some(status), Some(30), -1, Field::Uint(1, 4));
        let [l1, l2, l3] = phases;
        encode(&server, &[energy, power(16, total), power(36, l1), power(56, l2), power(76, l3)])
    };
    let power = |maker, status, total, phases| {
        let (reading, ..) = meaning_of(&frame(maker, status, total, phases), Mapping::default());
        (reading.power_total.unwrap().0, reading.power.0.map(|it| it.map(|it| it.0)))
    };
    let (import, export) = (0x001C_0104, 0x001C_6904);
    for maker in [b"HLY", b"ELS"] {
        assert_eq!(power(maker, export, 2760, [920; 3]), (-2760, [None; 3]));
        assert_eq!(power(maker, export, 2760, [-920; 3]), (-2760, [Some(-920); 3]));
        assert_eq!(power(maker, import, 2760, [920; 3]), (2760, [Some(920); 3]));
    }
    assert_eq!(power(b"EFR", export, 0xC7, [0xEC, 0xED, 0xEE]), (-57, [None; 3]));
    assert_eq!(power(b"EFR", import, 600, [200; 3]), (600, [Some(200); 3]));
    assert_eq!(power(b"ISK", export, 600, [100; 3]), (600, [Some(100); 3]), "what nothing speaks against stays");
}

#[test]
fn a_power_without_any_direction_is_left_out() {
    let number = |c: u8, unit: u8| entry(Obis::new(1, 0, c, 8, 0), None, Some(unit), 0, Field::Uint(7, 4));
    let power = entry(Obis::new(1, 0, 15, 7, 0), None, Some(27), 0, Field::Uint(7, 4));
    let (reading, _, unusable) = meaning_of(&encode(b"x", &[number(1, 30), number(2, 30), power]), Mapping::default());
    assert_eq!(reading.power_total, None);
    assert!(unusable[0].contains("no status word"), "{unusable:?}");
    let wrong = encode(b"x", &[number(1, 27)]);
    let (reading, values, unusable) = meaning_of(&wrong, Mapping::default());
    assert_eq!((reading.energy_import, values.values.len(), unusable.len()), (None, 0, 1));
}

#[test]
fn a_locked_meter_says_what_to_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sml/whole-kwh-without-pin.hex");
    assert!(path.exists());
    let locked = encode(b"x", &[entry(Obis::new(1, 0, 1, 8, 0), None, Some(30), 3, Field::Uint(2043, 2))]);
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&mut &locked[..]).unwrap().unwrap();
    assert!(reading::note(&frame).unwrap().contains("PIN"));
    let (reading, ..) = meaning("whole-kwh-without-pin.hex", Mapping::default());
    assert_eq!((reading.energy_import, reading.power_total), (Some(WattHour(2_043_000)), None));
}

// The task over real links.

fn frame(watts: i64) -> Vec<u8> {
    encode(
        b"\x0A\x01GKT\x00\x00\x00\x00\x01",
        &[
            entry(Obis::new(1, 0, 1, 8, 0), Some(0x001C_0104), Some(30), -1, Field::Uint(10, 4)),
            entry(Obis::new(1, 0, 16, 7, 0), None, Some(27), 0, Field::Int(watts, 4)),
        ],
    )
}

fn start(connection: Connection) -> Running {
    Running::start(|report, cancel| {
        let connection = stream::with_defaults(connection, BAUD, Parity::None);
        push::run(report, connection, Sml::new(Mapping::default()), Clock::start(), cancel, HASTY)
    })
}

#[tokio::test]
async fn frames_over_tcp_in_pieces_damaged_and_after_a_lost_connection() {
    let (listener, connection) = server().await;
    let mut running = start(connection);
    let mut meter = accept(&listener).await;
    let bytes = frame(1193);
    meter.write_all(&bytes[30..]).await.unwrap();
    meter.write_all(&bytes[..70]).await.unwrap();
    meter.write_all(&bytes[70..]).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(1193)));
    let mut damaged = frame(5000);
    damaged[60] ^= 1;
    meter.write_all(&damaged).await.unwrap();
    let health = running.health(|health| health.bad == 1).await;
    assert!(health.last_error.unwrap().contains("wrong CRC"));
    assert_eq!(health.good, 1);
    meter.write_all(&bytes[..50]).await.unwrap();
    let health = running.health(|health| health.bad == 2).await;
    assert!(health.last_error.unwrap().contains("cut short by silence after 50 bytes"));
    assert_eq!(health.discarded_bytes, (bytes.len() - 30 + damaged.len() + 50) as u64);
    drop(meter);
    let mut meter = accept(&listener).await;
    meter.write_all(&frame(-250)).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(-250)));
    running.stop().await;
}

#[tokio::test]
async fn a_locked_meter_is_a_risk_until_it_is_unlocked() {
    let (listener, connection) = server().await;
    let mut running = start(connection);
    let mut meter = accept(&listener).await;
    let locked = encode(b"x", &[entry(Obis::new(1, 0, 1, 8, 0), None, Some(30), 3, Field::Uint(2043, 2))]);
    let risk = |message| if let ToControl::Risk(_, risk) = message { Some(risk) } else { None };
    meter.write_all(&locked).await.unwrap();
    let said = running.wait(risk).await.unwrap();
    assert!(said.starts_with("meter `main`: the meter sends whole kWh") && said.contains("PIN"), "{said}");
    meter.write_all(&locked).await.unwrap();
    meter.write_all(&frame(1193)).await.unwrap();
    assert_eq!(running.wait(risk).await, None, "taken back, and not told twice before");
    running.stop().await;
}

#[tokio::test]
async fn frames_over_a_serial_port() {
    let pty = nix::pty::openpty(None, None).unwrap();
    let path = nix::unistd::ttyname(&pty.slave).unwrap();
    let mut running = start(Connection::Serial(SerialLine { path, baud: None, parity: None, stop: None }));
    let mut meter = std::fs::File::from(pty.master);
    let mut heard = None;
    while heard.is_none() {
        meter.write_all(&frame(-47)).unwrap();
        heard = timeout(Duration::from_millis(300), running.reading()).await.ok();
    }
    assert_eq!(heard.unwrap().power_total, Some(Watt(-47)));
    running.stop().await;
}

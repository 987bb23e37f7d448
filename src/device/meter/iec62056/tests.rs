//! What readouts mean, and the task against optical heads over TCP and a pseudo-terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_serial::{SerialPort as _, SerialStream};

use super::*;
use crate::config::model::SerialLine;
use crate::device::ToControl;
use crate::device::meter::push_rig::{Running, accept, number, server};
use crate::quantity::{Milliamp, Millivolt, Phases, Watt, WattHour};
use crate::reading::MeterReading;
use crate::status::{MeterValues, Value};

const HASTY: Times = Times {
    push: Patience {
        open: Duration::from_secs(5),
        pause: Duration::from_millis(150),
        offline: Duration::from_secs(25),
        silence: Duration::from_secs(20),
        first_retry: Duration::from_millis(10),
        last_retry: Duration::from_millis(40),
    },
    probation: Duration::from_millis(300),
    ask: ask::Times {
        character: Duration::from_millis(400),
        session: Duration::from_secs(20),
        wake: Duration::from_millis(400),
        after_wake: Duration::from_millis(20),
        margin: Duration::from_millis(20),
    },
    period: Duration::from_millis(20),
};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/iec62056").join(name)).unwrap()
}

/// What the task would send for the first readout of a fixture, and what it left out.
fn meaning(name: &str) -> (MeterReading, Arc<MeterValues>, Vec<String>) {
    meaning_at(name, Mapping::default())
}

fn meaning_at(name: &str, mapping: Mapping) -> (MeterReading, Arc<MeterValues>, Vec<String>) {
    let bytes = fixture(name);
    let mut decoder = Decoder::new();
    let readout = decoder.decode(&mut &bytes[..]).unwrap().unwrap();
    readout.check().unwrap();
    match reading::understand(&readout, &mapping, 3, Mono(5)) {
        (ToControl::Meter { reading, values, .. }, unusable) => {
            (reading, values, unusable.iter().map(ToString::to_string).collect())
        }
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn one_register_for_both_directions_is_turned_with_the_clamps() {
    let inverted = Mapping { invert: true, ..Mapping::default() };
    let (reading, values, unusable) = meaning_at("push-negative-power.iec", inverted);
    assert_eq!(reading.power_total, Some(Watt(130)));
    assert_eq!(reading.power, Phases([Watt(74), Watt(-12), Watt(69)].map(Some)));
    assert_eq!((reading.energy_import, reading.energy_export), (Some(WattHour(99_000)), Some(WattHour(1_234_568))));
    assert_eq!((number(&values, "power_w"), number(&values, "power_l2_w")), (130.0, -12.0));
    assert_eq!(unusable, Vec::<String>::new());
}

#[test]
fn a_meter_of_mode_c_with_history() {
    for name in ["mode-c.iec", "mode-c-7e1-as-8n1.iec"] {
        let (reading, values, unusable) = meaning(name);
        assert_eq!(
            reading,
            MeterReading {
                received_at: Mono(5),
                current: Phases([Milliamp(1250), Milliamp(400), Milliamp(2000)].map(Some)),
                current_step: Milliamp(10),
                power_total: Some(Watt(817)),
                voltage: Phases([Millivolt(231_000), Millivolt(229_000), Millivolt(230_000)].map(Some)),
                energy_import: Some(WattHour(12_666_678)),
                energy_export: Some(WattHour(7125)),
                ..MeterReading::default()
            }
        );
        assert_eq!(number(&values, "energy_import_t2_kwh"), 321.0);
        assert_eq!(number(&values, "peak_month_kw"), 3.25);
        assert_eq!(values.identity.serial.as_deref(), Some("424242"));
        assert!(!values.values.keys().any(|key| key.ends_with("_1")), "history is not the present");
        assert_eq!(unusable, Vec::<String>::new());
    }
}

#[test]
fn push_meters_with_a_signed_import_and_without_units() {
    let (reading, values, _) = meaning("push-negative-power.iec");
    assert_eq!(reading.power_total, Some(Watt(-130)));
    assert_eq!(reading.power, Phases([Watt(-74), Watt(12), Watt(-69)].map(Some)));
    assert_eq!(number(&values, "energy_import_kwh"), 1234.568);
    assert_eq!(values.identity.serial.as_deref(), Some("1GKT1000000001"));

    let (reading, values, unusable) = meaning("push-without-units.iec");
    assert_eq!(reading.energy_import, Some(WattHour(1296)));
    assert_eq!(reading.power, Phases([None, Some(Watt(26)), None]));
    assert_eq!(number(&values, "voltage_l2_v"), 228.38);
    assert_eq!(unusable, Vec::<String>::new());
}

#[test]
fn a_heat_meter_counts_heat_and_no_electricity() {
    let (reading, values, unusable) = meaning("mode-b-heat.iec");
    assert_eq!(reading, MeterReading { received_at: Mono(5), ..MeterReading::default() });
    assert_eq!(number(&values, "energy_kwh"), 29_055.0);
    assert_eq!(number(&values, "volume_m3"), 1589.28);
    assert_eq!(values.values.get("obis_6_0_9_4_0"), Some(&Value::Text("088*C&082*C".into())));
    assert_eq!(unusable, Vec::<String>::new());
}

#[test]
fn what_a_logarex_of_the_older_kind_says() {
    let (_, values, _) = meaning("logarex-lk11bl-like.iec");
    assert_eq!(number(&values, "energy_absolute_kwh"), 4711.815);
    assert_eq!(values.identity.serial.as_deref(), Some("12345678"));
    assert_eq!(values.identity.firmware.as_deref(), Some("ver.01, 230101, 1A2B"));
}

// The task against heads. A head knows what it was sent, and at which speed.

/// What a head saw.
#[derive(Debug, PartialEq)]
enum Seen {
    /// NUL characters before a sign-on.
    Woken(usize),
    SignOn(u32),
    Select(Vec<u8>, u32),
    /// Speed at which the data went out.
    Sent(u32),
}

struct Head {
    line: SerialStream,
    seen: Sender<Seen>,
    woken: usize,
}

impl Head {
    /// Of the reader's side.
    fn speed(&self) -> u32 {
        self.line.baud_rate().unwrap()
    }

    /// Reads up to the end of a line; echoes it as a head does. `None` when the reader has gone.
    async fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            match self.line.read_u8().await.ok()? {
                0 => self.woken += 1,
                byte => line.push(byte),
            }
            if line.last() == Some(&b'\n') {
                self.line.write_all(&line).await.ok()?;
                return Some(line);
            }
        }
    }

    async fn sign_on(&mut self) -> Option<()> {
        loop {
            let line = self.line().await?;
            let woken = std::mem::take(&mut self.woken);
            if woken > 0 {
                self.seen.send(Seen::Woken(woken)).ok()?;
            }
            if line == b"/?!\r\n" {
                return self.seen.send(Seen::SignOn(self.speed())).ok();
            }
        }
    }

    async fn identify(&mut self, identification: &[u8]) -> Option<()> {
        self.line.write_all(identification).await.ok()
    }

    async fn select(&mut self) -> Option<Vec<u8>> {
        let line = self.line().await?;
        self.seen.send(Seen::Select(line.clone(), self.speed())).ok()?;
        Some(line)
    }

    /// Sends as soon as the reader is at this speed.
    async fn send_at(&mut self, speed: u32, bytes: &[u8]) -> Option<()> {
        let reached = async {
            while self.speed() != speed {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _: Result<(), _> = tokio::time::timeout(Duration::from_secs(2), reached).await;
        self.line.write_all(bytes).await.ok()?;
        self.seen.send(Seen::Sent(self.speed())).ok()
    }
}

/// A pseudo-terminal with a head on it: its path, the head, and what it sees. The other side is kept open, or the first
/// close of the reader would end the line.
fn pseudo_terminal() -> (PathBuf, Head, SerialStream, Receiver<Seen>) {
    let (line, other) = SerialStream::pair().unwrap();
    let path = other.name().unwrap().into();
    let (seen, events) = channel();
    (path, Head { line, seen, woken: 0 }, other, events)
}

/// Runs `$session` for every sign-on of a head until it gives `None`; gives the path and what the head saw.
macro_rules! meter {
    (|$head:ident| $session:block) => {{
        let (path, mut $head, other, events) = pseudo_terminal();
        tokio::spawn(async move {
            let _other = other;
            while $head.sign_on().await.is_some() {
                let went: Option<()> = $session;
                if went.is_none() {
                    break;
                }
            }
        });
        (path, events)
    }};
}

fn serial(path: PathBuf, baud: Option<u32>) -> Connection {
    Connection::Serial(SerialLine { path, baud, parity: None, stop: None })
}

fn start(connection: Connection, times: Times) -> Running {
    Running::start(|report, cancel| {
        let task = Task::new(report, connection, Mapping::default(), Clock::start(), times);
        async move {
            let _: Option<()> = cancel.run_until_cancelled(task.run()).await;
        }
    })
}

/// Identification and data of a fixture of mode C.
fn parts(name: &str) -> (Vec<u8>, Vec<u8>) {
    let bytes = fixture(name);
    let slash = bytes.iter().rposition(|&byte| byte == b'/').unwrap();
    let stx = bytes.iter().position(|&byte| byte == 2).unwrap();
    let end = slash + bytes[slash..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    (bytes[slash..end].to_vec(), bytes[stx..].to_vec())
}

#[tokio::test]
async fn a_meter_of_mode_c_is_asked_acknowledged_and_followed_to_its_speed() {
    let (identification, data) = parts("mode-c.iec");
    let (path, events) = meter!(|head| {
        head.identify(&identification).await;
        head.select().await;
        head.send_at(9600, &data).await
    });
    let mut running = start(serial(path, Some(300)), HASTY);
    for _ in 0..2 {
        assert_eq!(running.reading().await.power_total, Some(Watt(817)));
    }
    for _ in 0..2 {
        assert_eq!(events.recv().unwrap(), Seen::SignOn(300));
        assert_eq!(events.recv().unwrap(), Seen::Select(b"\x06050\r\n".to_vec(), 300));
        assert_eq!(events.recv().unwrap(), Seen::Sent(9600));
    }
    let health = running.health(|health| health.good >= 2).await;
    assert_eq!((health.bad, health.timeouts, health.discarded_bytes, health.reconnects), (0, 0, 0, 0));
    running.stop().await;
}

#[tokio::test]
async fn without_a_speed_it_listens_first_and_then_asks() {
    let (identification, data) = parts("mode-b-heat.iec");
    let (path, events) = meter!(|head| {
        head.identify(&identification).await;
        // Mode B changes its speed by itself.
        head.send_at(2400, &data).await
    });
    let mut running = start(serial(path, None), HASTY);
    assert_eq!(running.reading().await.power_total, None);
    assert_eq!(events.recv().unwrap(), Seen::SignOn(300));
    assert_eq!(events.recv().unwrap(), Seen::Sent(2400));
    running.stop().await;
}

#[tokio::test]
async fn a_meter_of_mode_a_stays_at_300_baud() {
    let (_, data) = parts("mode-b-heat.iec");
    let (path, events) = meter!(|head| {
        head.identify(b"/KAM MC\r\n").await;
        head.send_at(300, &data).await
    });
    let mut running = start(serial(path, Some(300)), HASTY);
    running.reading().await;
    assert_eq!(events.recv().unwrap(), Seen::SignOn(300));
    assert_eq!(events.recv().unwrap(), Seen::Sent(300));
    running.stop().await;
}

#[tokio::test]
async fn a_meter_that_sleeps_is_woken_and_one_that_does_not_follow_is_left_at_300_baud() {
    let (_, data) = parts("mode-c.iec");
    let mut signs = 0;
    let (path, events) = meter!(|head| {
        signs += 1;
        // The first sign-on finds it asleep.
        if signs > 1 {
            head.identify(b"/GKT5SLEEPY\r\n").await;
            let select = head.select().await;
            if select.as_deref() == Some(b"\x06000\r\n") {
                head.send_at(300, &data).await;
            }
        }
        Some(())
    });
    let mut running = start(serial(path, Some(300)), HASTY);
    running.reading().await;
    let health = running.health(|health| health.good >= 1).await;
    assert_eq!(health.timeouts, 2);
    let seen: Vec<Seen> = events.try_iter().take(7).collect();
    assert_eq!(seen[0], Seen::SignOn(300));
    assert_eq!(seen[1], Seen::Woken(12));
    assert_eq!(seen[3], Seen::Select(b"\x06050\r\n".to_vec(), 300));
    assert_eq!(seen[6], Seen::Select(b"\x06000\r\n".to_vec(), 300));
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_block_check_gives_no_reading() {
    let (identification, data) = parts("mode-c-wrong-bcc.iec");
    let (_, good) = parts("mode-c.iec");
    let mut sent = 0;
    let (path, _events) = meter!(|head| {
        head.identify(&identification).await;
        head.select().await;
        sent += 1;
        head.send_at(4800, if sent == 1 { &data } else { &good }).await
    });
    let mut running = start(serial(path, Some(300)), HASTY);
    let health = running.health(|health| health.bad == 1).await;
    assert!(health.last_error.unwrap().contains("wrong BCC") && health.good == 0);
    assert_eq!(running.reading().await.energy_import, Some(WattHour(12_666_678)));
    running.stop().await;
}

#[tokio::test]
async fn a_head_without_a_meter_is_named() {
    let (path, events) = meter!(|head| { Some(()) });
    let mut running = start(serial(path, Some(300)), HASTY);
    let health = running.health(|health| health.timeouts >= 2).await;
    assert!(!health.online && health.last_error.unwrap().contains("no answer to the sign-on at 300 baud"));
    assert_eq!(events.recv().unwrap(), Seen::SignOn(300));
    running.stop().await;
}

/// The bytes as a 7E1 line carries them.
fn with_parity(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| byte | u8::from(byte.count_ones() % 2 == 1) << 7).collect()
}

#[tokio::test]
async fn a_push_meter_over_tcp_is_never_asked() {
    let (listener, connection) = server().await;
    let mut running = start(connection, HASTY);
    let mut meter = accept(&listener).await;
    let one = with_parity(b"/ESY5TEST\r\n\r\n1-0:1.7.255*255(-000142.30*W)\r\n!\r\n");
    meter.write_all(&one[7..]).await.unwrap();
    meter.write_all(&one).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(-142)));
    // Its parity is checked although the gateway knows nothing of it.
    let mut damaged = one.clone();
    damaged[35] ^= 0x02;
    meter.write_all(&damaged).await.unwrap();
    let health = running.health(|health| health.bad == 1).await;
    assert!(health.last_error.unwrap().contains("wrong parity"));
    assert_eq!(health.good, 1);
    tokio::time::sleep(2 * HASTY.probation).await;
    meter.write_all(&one).await.unwrap();
    running.reading().await;
    running.stop().await;
    let mut asked = Vec::new();
    meter.read_to_end(&mut asked).await.unwrap();
    assert_eq!(asked, b"");
}

#[tokio::test]
async fn a_meter_of_mode_d_on_a_serial_port_is_listened_to_and_never_asked() {
    let (path, mut head, _other, _events) = pseudo_terminal();
    let mut running = start(serial(path, Some(9600)), HASTY);
    let pushed = b"/ESY5TEST\r\n\r\n1-0:1.7.255*255(-000142.30*W)\r\n!\r\n";
    // What is sent before the port is open may be lost: the meter sends again and again.
    let push = async {
        loop {
            head.send_at(9600, pushed).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = push => {}
        reading = running.reading() => assert_eq!(reading.power_total, Some(Watt(-142))),
    }
    running.stop().await;
    assert_eq!(head.line.bytes_to_read().unwrap(), 0, "it was asked");
}

#[tokio::test]
async fn a_meter_behind_a_gateway_is_asked_to_stay_at_its_speed() {
    let (identification, data) = parts("mode-c.iec");
    let (listener, connection) = server().await;
    let mut running = start(connection, HASTY);
    // It listens for a while, and then opens the line again to ask.
    drop(accept(&listener).await);
    let mut meter = accept(&listener).await;
    let mut request = [0; 5];
    meter.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"/?!\r\n");
    meter.write_all(&identification).await.unwrap();
    let mut select = [0; 6];
    meter.read_exact(&mut select).await.unwrap();
    assert_eq!(&select, b"\x06000\r\n");
    meter.write_all(&data).await.unwrap();
    assert_eq!(running.reading().await.power_total, Some(Watt(817)));
    running.stop().await;
}

#[test]
fn a_meter_that_is_read_rarely_is_tried_rarely() {
    assert_eq!(Times::new(Duration::from_secs(900)).last_retry(), Duration::from_secs(900));
    assert_eq!(Times::new(Duration::from_secs(1)).last_retry(), Duration::from_secs(30));
}

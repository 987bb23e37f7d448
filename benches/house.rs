//! A house full of meters: one P1 port, six SDM630 on one line at 9600 baud, two Shelly and a HomeWizard. How old the
//! values that a fuse depends on become, and what the program needs meanwhile.
//!
//! A pseudo-terminal has no baud rate: the stand-in line holds each answer for the time that request and answer take on
//! the wire at ten bits a byte, and for a meter's own turnaround. Rounds are timed at the line, from one answer of a
//! meter to its currents and powers to the next; requests of the devices with HTTP are counted at the devices.
//!
//! `GRIDKEEPER_BENCH_SECONDS` (60) makes it shorter; `GRIDKEEPER_BENCH_PROGRAM` is another program to measure.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints what it found")]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/mqtt/peer.rs"]
mod broker;
#[allow(dead_code, reason = "the bus's own tests use the rest")]
#[path = "../tests/modbus_bus/peer.rs"]
mod peer;
mod program;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gridkeeper::config::meter_models;
use gridkeeper::config::model::Connection;
use gridkeeper::simulator::http::{HomeWizard, Shelly};
use gridkeeper::simulator::{HousePlan, MeterPlan, Plan, Simulator};

use broker::Broker;
use peer::{Ask, Medium, Peer, Reaction, registers};
use program::{Program, Used};

const METERS: u8 = 6;
const MODEL: &str = "eastron-sdm630";
/// Eastron's meters answer within 20 to 40 ms.
const TURNAROUND: Duration = Duration::from_millis(30);
/// Time to start, and to read what is read once.
const WARM_UP: Duration = Duration::from_secs(15);

/// When each unit's fast values were last answered, and the times between two of those answers.
#[derive(Default)]
struct Rounds {
    last: BTreeMap<u8, Instant>,
    between: Vec<Duration>,
    requests: usize,
}

#[tokio::main]
async fn main() {
    let seconds: u64 = std::env::var("GRIDKEEPER_BENCH_SECONDS").map_or(60, |it| it.parse().unwrap());
    let house = Simulator::start(plan()).await.unwrap();
    let broker = Broker::start().await;
    let rounds = Arc::<Mutex<Rounds>>::default();
    let line = line(Arc::clone(&rounds)).await;
    let (em, plug, p1) =
        (Shelly::pro_3em().await.unwrap(), Shelly::plug().await.unwrap(), HomeWizard::p1_v1().await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gridkeeper.toml");
    let http = [("shelly", em.address()), ("shelly", plug.address()), ("homewizard", p1.address())];
    std::fs::write(&file, configuration(&house, &broker, &line, &http, folder.path())).unwrap();
    let program = Program::start(&file);
    tokio::time::sleep(WARM_UP).await;

    *rounds.lock().unwrap() = Rounds::default();
    let asked = || [em.requests().len(), plug.requests().len(), p1.requests().len()];
    let (before, used) = (asked(), Used::of(&program));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = used.lines(&program);
    let after = asked();

    let mut found = std::mem::take(&mut *rounds.lock().unwrap());
    found.between.sort();
    assert_eq!(found.last.len(), usize::from(METERS), "every meter has its turn");
    let at = |percent: usize| found.between[(found.between.len() - 1) * percent / 100].as_secs_f64();
    println!("one P1 (1 Hz), {METERS} {MODEL} at 9600 baud, two Shelly, one HomeWizard, MQTT, {seconds} s:");
    println!(
        "  currents and powers of one meter on the bus: every {:.3} s (median), {:.3} s (95 %), {:.3} s at most; {} requests",
        at(50),
        at(95),
        at(100),
        found.requests
    );
    for (name, (after, before)) in
        ["Shelly Pro 3EM", "Shelly plug", "HomeWizard P1"].iter().zip(after.iter().zip(before))
    {
        println!("  {name}: a request every {:.2} s", seconds as f64 / (after - before).max(1) as f64);
    }
    println!("{used}");
}

fn plan() -> Plan {
    let meter = Some(MeterPlan::default());
    Plan { seed: 7, speed: 1.0, house: HousePlan::busy_home(), meter, buses: Vec::new() }
}

/// The line with its meters: every register holds 1 A, 230 V and the like in the end, which is of no matter here.
async fn line(rounds: Arc<Mutex<Rounds>>) -> Peer {
    let models = meter_models::embedded();
    let model = models.iter().find(|it| it.id == MODEL).unwrap();
    let fast = model.fast().next().unwrap().first;
    Peer::start(Medium::Serial, move |ask: &Ask| {
        if !(1..=METERS).contains(&ask.unit) {
            return Reaction::Silence;
        }
        let bytes = 8 + 5 + 2 * u64::from(ask.second());
        std::thread::sleep(Duration::from_micros(bytes * 10_000_000 / 9600) + TURNAROUND);
        let mut rounds = rounds.lock().unwrap();
        rounds.requests += 1;
        if ask.address() == fast
            && let Some(before) = rounds.last.insert(ask.unit, Instant::now())
        {
            rounds.between.push(before.elapsed());
        }
        // 1.0 in every pair of words.
        Reaction::Answer(registers(ask.function(), (0..ask.second()).map(|at| [0x3F80, 0][usize::from(at % 2)])))
    })
    .await
}

fn configuration(
    house: &Simulator,
    broker: &Broker,
    line: &Peer,
    http: &[(&str, std::net::SocketAddr)],
    folder: &Path,
) -> String {
    let mut text = format!(
        "[grid]\nmeter = \"main\"\n[mqtt]\nurl = \"mqtt://{}\"\n[web]\nlisten = \"127.0.0.1:0\"\n\
         [storage]\ndata_dir = \"{}\"\n[[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"{}\"\n",
        broker.address,
        folder.join("data").display(),
        house.meter_connection().unwrap(),
    );
    let Connection::Serial(port) = &line.connection else { panic!("a serial line") };
    for unit in 1..=METERS {
        writeln!(
            text,
            "[[meter]]\nid = \"bus-{unit}\"\ndriver = \"modbus\"\nmodel = \"{MODEL}\"\nconnection = \"serial://{}?baud=9600\"\nunit = {unit}",
            port.path.display()
        )
        .unwrap();
    }
    for (number, (driver, address)) in http.iter().enumerate() {
        writeln!(text, "[[meter]]\nid = \"http-{number}\"\ndriver = \"{driver}\"\nconnection = \"http://{address}\"")
            .unwrap();
    }
    text
}

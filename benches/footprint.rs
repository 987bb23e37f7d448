//! What the program needs: resident memory and processor time over a minute, and the size of the binary.
//!
//! `run` in a simulated house: a P1 meter with a telegram a second, five TeltoCharge over Modbus TCP with charging cars,
//! a house whose load comes and goes, a broker. All but the program live in this process. Nothing is shortened: the
//! times are the contract's, readings go to the broker every 5 s.
//!
//! `GRIDKEEPER_BENCH_SECONDS` (60) makes it shorter. `GRIDKEEPER_BENCH_PROGRAM` is the program to measure, for example
//! `target/release/gridkeeper`; without it, it is the one built with the bench.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints what it found")]

#[expect(dead_code, reason = "the tests use the rest")]
#[path = "../tests/mqtt/peer.rs"]
mod peer;
#[path = "program/mod.rs"]
mod program;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::{BusLink, BusPlan, CarPlan, ChargerPlan, HousePlan, MeterPlan, Plan, Simulator};

use peer::{Broker, Peer};
use program::{Program, Used};

/// Chargers in the house.
const CHARGERS: usize = 5;
/// Time to start, charge and settle.
const WARM_UP: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let seconds = std::env::var("GRIDKEEPER_BENCH_SECONDS").map_or(60, |it| it.parse().unwrap());
    let house = Simulator::start(plan()).await.unwrap();
    let broker = Broker::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gridkeeper.toml");
    std::fs::write(&file, configuration(&house, &broker, folder.path())).unwrap();
    let program = Program::start(&file);
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    house
        .until("cars charge", 2 * WARM_UP, |it| it.chargers.iter().any(|it| it.highest_draw() > Milliamp(5_000)))
        .await
        .unwrap();
    tokio::time::sleep(WARM_UP).await;

    let (messages, used) = (peer.mark(), Used::of(&program));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = used.lines(&program);
    let view = house.view();
    let charging = view.chargers.iter().filter(|it| it.highest_draw() > Milliamp(5_000)).count();
    println!("1 Hz telegrams, {CHARGERS} TeltoCharge over Modbus TCP, {charging} cars charging, MQTT, {seconds} s:");
    println!("{used}");
    println!("  {} MQTT messages", peer.mark() - messages);
    println!("  binary {:.1} MB", std::fs::metadata(program::path()).unwrap().len() as f64 / 1e6);
}

fn plan() -> Plan {
    let charger = || BusPlan { link: BusLink::Tcp, chargers: vec![ChargerPlan::teltocharge(CarPlan::usual())] };
    Plan {
        seed: 7,
        speed: 1.0,
        house: HousePlan::busy_home(),
        meter: Some(MeterPlan::default()),
        buses: (0..CHARGERS).map(|_| charger()).collect(),
    }
}

fn configuration(house: &Simulator, broker: &Broker, folder: &Path) -> String {
    let mut text = format!(
        "[grid]\nfuse_a = 63\nmeter = \"main\"\n[mqtt]\nurl = \"mqtt://{}\"\n[web]\nlisten = \"127.0.0.1:0\"\n\
         [storage]\ndata_dir = \"{}\"\n[[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"{}\"\n",
        broker.address,
        folder.join("data").display(),
        house.meter_connection().unwrap(),
    );
    for charger in 0..CHARGERS {
        write!(
            text,
            "[[charger]]\nid = \"c{charger}\"\ndriver = \"teltocharge\"\nconnection = \"{}\"\nunit = {}\n\
             max_current_a = 16\nmode = \"fast\"\n",
            house.charger_connection(charger),
            house.charger_unit(charger)
        )
        .unwrap();
    }
    text
}

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

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::{BusLink, BusPlan, CarPlan, ChargerPlan, HousePlan, MeterPlan, Plan, Simulator};

use peer::{Broker, Peer};

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

    let (messages, begun) = (peer.mark(), Instant::now());
    let before = (program.processor_time(), program.ticks());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = (program.processor_time(), program.ticks());
    let elapsed = begun.elapsed();
    let share = |used: Duration| used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
    let (counted, ticks) = (share(after.0.saturating_sub(before.0)), share(after.1 - before.1));
    let view = house.view();
    let charging = view.chargers.iter().filter(|it| it.highest_draw() > Milliamp(5_000)).count();
    println!("1 Hz telegrams, {CHARGERS} TeltoCharge over Modbus TCP, {charging} cars charging, MQTT, {seconds} s:");
    println!("  resident memory {:.1} MB, at most {:.1} MB", program.status("VmRSS:"), program.status("VmHWM:"));
    println!("  processor time {counted:.3} % of one core by the scheduler's count, {ticks:.2} % by utime and stime");
    println!("  {} MQTT messages", peer.mark() - messages);
    println!("  binary {:.1} MB", std::fs::metadata(program_path()).unwrap().len() as f64 / 1e6);
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

fn program_path() -> String {
    std::env::var("GRIDKEEPER_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_gridkeeper").to_owned())
}

/// The program as a child process; killed when dropped.
struct Program(Child);

impl Program {
    fn start(file: &Path) -> Self {
        let mut command = Command::new(program_path());
        command.args(["run", "--strict", "-c"]).arg(file);
        command.env("GRIDKEEPER_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    /// MB of a line of `/proc/PID/status`.
    fn status(&self, line: &str) -> f64 {
        let status = self.proc("status");
        let figure = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
        figure.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
    }

    /// `utime` and `stime` of all its threads, in hundredths of a second.
    fn ticks(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The scheduler's own count, in ns: a third of a percent of a minute is but eighteen ticks.
    fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanoseconds = threads.filter_map(|it| {
            // A thread may end while its folder is read.
            let text = std::fs::read_to_string(it.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

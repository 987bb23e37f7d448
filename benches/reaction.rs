//! From the last byte of a meter frame to the last byte of the last set-point: the whole process, on loopback TCP.
//!
//! A meter and 1, 5 or 20 chargers are played by this process; the program is run as anybody runs it. The clock starts
//! before a telegram is handed to the system and stops when the last charger has read the last byte
//! of its new set-point, so that both ways through the system, the parsing and the reading here are in it.
//!
//! Every measured frame takes 0.01 A per charger more than the one before, which the chargers must give at once: each of
//! them up to three, beyond that as few as the controller's rule says. They are EVSE-DIN in steps of 0.01 A: 24 A are
//! 2400 such frames without a raise between them. The silence of
//! 150 ms that a real one wants after a telegram is switched off (`bus_pause_s`), so that a frame can come every few
//! milliseconds, and a cut counts as done after 5 ms (`cut_response_s`), or the next would be held back for it. They are
//! polled every 20 ms, because a cut counts as followed only when it was read back: the next frame waits for that.
//!
//! `GRIDKEEPER_BENCH_FRAMES` (2000, at most 2400) and `GRIDKEEPER_BENCH_RUNS` (5) make it shorter; all of it
//! takes some twenty minutes. `GRIDKEEPER_BENCH_PROGRAM` is the program to measure, for example
//! `target/release/gridkeeper`; without it, it is the one built with the bench.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints what it found")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gridkeeper::codec::p1::encode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Chargers per measurement.
const SIZES: [i32; 3] = [1, 5, 20];
/// `fuse_a` less `margin_a`, in mA.
const LIMIT: i32 = 1_999_500;
/// `max_current_a`, in mA.
const HIGHEST: i32 = 30_000;
/// Least of a car, in mA.
const LEAST: i32 = 6_000;
/// Resolution of the chargers, in mA.
const STEP: i32 = 10;
/// Between the last read-back and the next frame: longer than `cut_response_s`, before which a car's draw is a question.
const REST: Duration = Duration::from_millis(20);
/// A frame that changes nothing within this time is sent again; the clock goes on, so that none is booked as quick.
const AGAIN: Duration = Duration::from_millis(100);
/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let number = |name: &str, usual: usize| std::env::var(name).map_or(usual, |it| it.parse().unwrap());
    let frames = number("GRIDKEEPER_BENCH_FRAMES", 2000).clamp(10, 2400);
    let runs = number("GRIDKEEPER_BENCH_RUNS", 5).max(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("last meter byte in to last set-point byte out, whole process, loopback TCP, EVSE-DIN, every frame a cut");
    println!("{} {} frames a run, median of {runs} runs, times in ms", machine(), frames);
    println!("{:>8} {:>8} {:>8} {:>8} {:>8}", "chargers", "p50", "p99", "worst", "again");
    for size in SIZES {
        let mut found: Vec<[f64; 4]> = (0..runs).map(|_| runtime.block_on(run(size, frames))).collect();
        let mut median = |place: usize| {
            found.sort_by(|a, b| a[place].total_cmp(&b[place]));
            found[found.len() / 2][place]
        };
        println!("{size:>8} {:>8.2} {:>8.2} {:>8.2} {:>8}", median(0), median(1), median(2), median(3));
    }
}

fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores;", model.map_or("unknown processor", |(_, model)| model))
}

/// p50, p99 and the longest, in ms, and how many frames had to be sent again.
async fn run(size: i32, frames: usize) -> [f64; 4] {
    let folder = tempfile::tempdir().unwrap();
    let meter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (written, mut writes) = mpsc::unbounded_channel();
    let mut ports = Vec::new();
    for charger in 0..size {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        tokio::spawn(charge(usize::try_from(charger).unwrap(), listener, written.clone()));
    }
    let file = folder.path().join("gridkeeper.toml");
    std::fs::write(&file, configuration(meter.local_addr().unwrap().port(), &ports, folder.path())).unwrap();
    let _program = Program::start(&file);
    let (mut meter, _) = tokio::time::timeout(PATIENCE, meter.accept()).await.unwrap().unwrap();
    meter.set_nodelay(true).unwrap();

    // Not measured: up to the highest offer, in whatever steps the program takes.
    let mut offers = vec![LEAST; ports.len()];
    let begun = Instant::now();
    while offers.iter().any(|offer| *offer < HIGHEST) {
        assert!(begun.elapsed() < 2 * PATIENCE, "the chargers are not raised: {offers:?}");
        let drawn: i32 = offers.iter().sum();
        meter.write_all(&telegram(LIMIT - size * HIGHEST + drawn)).await.unwrap();
        let pause = tokio::time::sleep(Duration::from_millis(200));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(seen) = writes.recv() => if let What::SetPoint(offer) = seen.what { offers[seen.charger] = offer; }
            }
        }
    }

    let mut times = Vec::with_capacity(frames);
    let mut again = 0_u32;
    for _ in 0..frames {
        // What was written counts as followed when it was read back. Shares that came apart are made even meanwhile.
        let mut shown = vec![false; ports.len()];
        let mut rest = Instant::now() + REST;
        while shown.contains(&false) || Instant::now() < rest {
            let Ok(Some(seen)) = tokio::time::timeout(REST, writes.recv()).await else { continue };
            match seen.what {
                What::SetPoint(offer) => {
                    offers[seen.charger] = offer;
                    shown[seen.charger] = false;
                    rest = Instant::now() + REST;
                }
                What::Read => shown[seen.charger] = true,
            }
        }
        // At the limit with what the cars take now: what a car may still have been drawing is no question any more.
        meter.write_all(&telegram(LIMIT)).await.unwrap();
        tokio::time::sleep(REST).await;
        let drawn: i32 = offers.iter().sum();
        let allowed = drawn - size * STEP;
        let begun = Instant::now();
        let mut sent = begun;
        let mut last = begun;
        meter.write_all(&telegram(LIMIT - allowed + drawn)).await.unwrap();
        while offers.iter().sum::<i32>() > allowed {
            assert!(begun.elapsed() < PATIENCE, "no cut: {offers:?}");
            match tokio::time::timeout_at((sent + AGAIN).into(), writes.recv()).await {
                Ok(seen) => {
                    let seen = seen.unwrap();
                    if let What::SetPoint(offer) = seen.what {
                        offers[seen.charger] = offer;
                        last = seen.at;
                    }
                }
                Err(_) => {
                    again += 1;
                    sent = Instant::now();
                    let drawn: i32 = offers.iter().sum();
                    meter.write_all(&telegram(LIMIT - allowed + drawn)).await.unwrap();
                }
            }
        }
        times.push((last - begun).as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let quantile = |hundredths: usize| times[(times.len() * hundredths).div_ceil(100) - 1];
    [quantile(50), quantile(99), quantile(100), f64::from(again)]
}

/// The program as a child process; killed when dropped.
struct Program(Child);

impl Program {
    fn start(file: &Path) -> Self {
        let path = std::env::var("GRIDKEEPER_BENCH_PROGRAM");
        let mut command = Command::new(path.as_deref().unwrap_or(env!("CARGO_BIN_EXE_gridkeeper")));
        command.args(["run", "--strict", "-c"]).arg(file);
        // Warnings about the times that are not the contract's are known.
        command.env("GRIDKEEPER_LOG", "error").stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(meter: u16, chargers: &[u16], folder: &Path) -> String {
    let data = folder.join("data");
    let mut text = format!(
        "[grid]\nfuse_a = 2000\nmargin_a = 0.5\nmeter = \"main\"\n[mqtt]\nurl = \"\"\n[web]\nlisten = \"\"\n\
         [storage]\ndata_dir = \"{}\"\n[timing]\npoll_s = 0.02\ncut_response_s = 0.005\nbus_pause_s = 0\n\
         [[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"tcp://127.0.0.1:{meter}\"\n",
        data.display()
    );
    for (at, port) in chargers.iter().enumerate() {
        text.push_str(&format!(
            "[[charger]]\nid = \"c{at}\"\ndriver = \"evse-din\"\nconnection = \"tcp://127.0.0.1:{port}\"\nunit = 1\n\
             max_current_a = {}\nmode = \"fast\"\n",
            HIGHEST / 1000
        ));
    }
    text
}

/// So much on each phase, as a Belgian meter says it.
fn telegram(milliamps: i32) -> Vec<u8> {
    let amps = f64::from(milliamps) / 1000.0;
    let kilowatts = amps * 0.23;
    let mut lines = vec![
        "0-0:96.1.1(4530303031303030303030303030303136)".to_owned(),
        "1-0:1.8.1(001234.567*kWh)".to_owned(),
        "1-0:1.8.2(004567.890*kWh)".to_owned(),
        "1-0:2.8.1(000098.765*kWh)".to_owned(),
        "1-0:2.8.2(000012.345*kWh)".to_owned(),
        "0-0:96.14.0(0002)".to_owned(),
        format!("1-0:1.7.0({:06.3}*kW)", 3.0 * kilowatts),
        "1-0:2.7.0(00.000*kW)".to_owned(),
    ];
    for phase in ["2", "4", "6"] {
        lines.push(format!("1-0:{phase}1.7.0({kilowatts:06.3}*kW)"));
        lines.push(format!("1-0:{phase}2.7.0(00.000*kW)"));
    }
    for phase in ["3", "5", "7"] {
        lines.push(format!("1-0:{phase}2.7.0(230.0*V)"));
        lines.push(format!("1-0:{phase}1.7.0({amps:07.3}*A)"));
    }
    encode("/FLU5\\BENCH", lines)
}

/// What a charger was asked.
struct Seen {
    charger: usize,
    what: What,
    /// When its last byte was there.
    at: Instant,
}

enum What {
    /// In mA.
    SetPoint(i32),
    /// The set-point was read back.
    Read,
}

/// An EVSE-DIN whose car always charges.
async fn charge(charger: usize, listener: TcpListener, written: mpsc::UnboundedSender<Seen>) {
    let mut set_point = u16::try_from(LEAST / STEP).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        serve(charger, stream, &mut set_point, &written).await;
    }
}

async fn serve(charger: usize, mut stream: TcpStream, set_point: &mut u16, written: &mpsc::UnboundedSender<Seen>) {
    stream.set_nodelay(true).unwrap();
    let mut request = [0; 12];
    // Ends when the program goes.
    while stream.read_exact(&mut request).await.is_ok() {
        let at = Instant::now();
        let [t1, t2, _, _, _, 6, unit, function, a, b, c, d] = request else {
            panic!("not a request of 12 bytes: {request:?}")
        };
        let (address, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let mut answer = vec![t1, t2, 0, 0, 0, 0, unit, function];
        match function {
            3 | 4 => {
                answer.push(u8::try_from(2 * value).unwrap());
                let words = (address..address + value).map(|register| match register {
                    1000 | 1001 => *set_point,
                    // Charging.
                    1002 => 3,
                    // A cable of 32 A and a firmware that counts in 0.01 A, which is switched on.
                    1003 => 32,
                    1005 => 18,
                    2005 => 0x80,
                    _ => 0,
                });
                answer.extend(words.flat_map(u16::to_be_bytes));
                if (address..address + value).contains(&1000) {
                    // Nobody listens any more when the run is over.
                    let _ = written.send(Seen { charger, what: What::Read, at });
                }
            }
            6 => {
                answer.extend([a, b, c, d]);
                if address == 1000 {
                    *set_point = value;
                    let _ = written.send(Seen { charger, what: What::SetPoint(i32::from(value) * STEP), at });
                }
            }
            _ => panic!("function {function}"),
        }
        answer[5] = u8::try_from(answer.len() - 6).unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

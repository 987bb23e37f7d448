//! `gridkeeper demo`: a simulated house over the real protocols, and the appliance that keeps it inside its fuses.
//!
//! Everything that is shown comes from the appliance's own snapshot; what the house really draws is never asked for.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::appliance::{Appliance, Options};
use crate::commands::{DONE, FAILED, on_signal};
use crate::config::{self, Config, Purpose};
use crate::quantity::{Milliamp, Phase, Span, Watt};
use crate::simulator::{
    BoxKind, BusLink, BusPlan, CarPlan, ChargerPlan, HousePlan, MeterPlan, P1Link, Plan, Simulator, Sun,
};

mod line;
mod roof;

use line::line;
use roof::Roof;

/// Where people look for a broker.
const MQTT_PORT: u16 = 1883;
/// Where people look for the page.
const WEB_PORT: u16 = 8127;
/// Main fuse of the house.
const FUSE_A: u16 = 25;
/// Solar plant under a clear sky, on one phase.
const ROOF: Watt = Watt(3600);
/// Lines that may wait for a reader; further ones are dropped.
const LINES: usize = 64;
/// For broker and page to say where they are.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(5);

/// Runs until Ctrl-C, SIGTERM, the end of `seconds`, or until nobody reads the output any more. Gives the exit code.
///
/// `mqtt` and `web` are ports: 0 picks a free one, `None` takes the usual one, or a free one where that is taken.
#[must_use]
pub fn run(mqtt: Option<u16>, web: Option<u16>, seconds: Option<f64>) -> u8 {
    match Demo::start(mqtt, web) {
        Ok(demo) => demo.run(seconds),
        Err(error) => {
            complain(&error);
            FAILED
        }
    }
}

struct Demo {
    appliance: Appliance,
    house: House,
    names: Vec<String>,
    folder: Folder,
    lines: Lines,
    signals: mpsc::Receiver<()>,
}

impl Demo {
    fn start(mqtt: Option<u16>, web: Option<u16>) -> Result<Self, String> {
        let (tell, signals) = mpsc::channel();
        on_signal(move || _ = tell.send(())).map_err(|error| format!("signals cannot be listened for: {error}"))?;
        let mut lines = Lines::start().map_err(|error| format!("no thread for the output: {error}"))?;
        let mqtt = port(mqtt, MQTT_PORT, "MQTT", &mut lines)?;
        let web = port(web, WEB_PORT, "the page", &mut lines)?;
        let folder = Folder::new().map_err(|error| format!("no folder for the demo's data: {error}"))?;
        let house = House::start().map_err(|error| format!("the simulated house cannot be started: {error}"))?;
        let config = configuration(&house, mqtt, web, &folder.0)?;
        let names = config.chargers.iter().map(|it| it.common.name.clone()).collect();
        let appliance = Appliance::start(config, Options::default())
            .map_err(|error| format!("the appliance cannot be started: {error}"))?;
        Ok(Self { appliance, house, names, folder, lines, signals })
    }

    fn run(mut self, seconds: Option<f64>) -> u8 {
        let begun = Instant::now();
        // A time too long to be counted is one without end.
        let end =
            seconds.and_then(|it| Duration::try_from_secs_f64(it.max(0.0)).ok()).and_then(|it| begun.checked_add(it));
        let code = match self.announce() {
            Ok(()) => self.watch(begun, end),
            Err(Early::Signal) => DONE,
            Err(Early::Problem(problem)) => {
                complain(&problem);
                FAILED
            }
        };
        self.appliance.stop();
        self.house.stop();
        self.lines.say("Stopped.".to_owned());
        self.lines.finish();
        drop(self.folder);
        code
    }

    fn announce(&mut self) -> Result<(), Early> {
        let (meter, left, right) = self.house.places();
        let lines = &mut self.lines;
        lines.say("A simulated house of 3 x 25 A with two cars, over the real protocols:".to_owned());
        lines.say(format!("  P1 meter {meter}, TeltoCharge {left}, EVSE-DIN {right} (Modbus TCP)"));
        lines.say(format!("  roof of {} W, HomeWizard kWh meter {}", ROOF.0, self.house.roof.connection()));
        let (mqtt, web) = (self.appliance.mqtt_status(), self.appliance.web_address());
        let broker = wait(&self.signals, || mqtt.borrow().embedded)?.ok_or_else(|| {
            let problem = mqtt.borrow().problem.clone();
            Early::Problem(format!("the broker did not start: {}", problem.as_deref().unwrap_or("no reason given")))
        })?;
        let page = wait(&self.signals, || *web.borrow())?
            .ok_or_else(|| Early::Problem("the page could not be served".to_owned()))?;
        lines.say(format!("  MQTT     mqtt://{broker}  (mosquitto_sub -p {} -v -t 'gridkeeper/#')", broker.port()));
        lines.say(format!("  page     http://{page}/"));
        lines.say(
            "Ctrl-C ends it. Each second: phases against the main fuse, then each charger: drawn/offered, and why."
                .to_owned(),
        );
        lines.say("A ? is a current that nobody measures: an EVSE-DIN has no meter of its own.".to_owned());
        Ok(())
    }

    /// One line a second until the end.
    fn watch(&mut self, begun: Instant, end: Option<Instant>) -> u8 {
        let snapshots = self.appliance.snapshots();
        for second in 1_u32.. {
            let tick = begun + Duration::from_secs(u64::from(second));
            let until = end.map_or(tick, |end| end.min(tick));
            match self.signals.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return DONE,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return DONE;
            }
            if !self.appliance.is_alive() {
                complain("a vital thread of the appliance has ended");
                return FAILED;
            }
            let snapshot = snapshots.borrow().clone();
            let line = match &snapshot {
                Some(snapshot) => line(second, snapshot, &self.names),
                None => format!("{second:4} s starting"),
            };
            if !self.lines.say(line) {
                return DONE;
            }
        }
        DONE
    }
}

/// Why it ends before it has begun.
enum Early {
    /// Ctrl-C or SIGTERM.
    Signal,
    /// Something does not work.
    Problem(String),
}

/// Looks every few milliseconds until there is something; nothing when the time was over first.
fn wait<T>(signals: &mpsc::Receiver<()>, mut look: impl FnMut() -> Option<T>) -> Result<Option<T>, Early> {
    let deadline = Instant::now() + ANNOUNCE_WITHIN;
    loop {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        match signals.recv_timeout(Duration::from_millis(10)) {
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Err(Early::Signal),
        }
    }
}

/// The house with a runtime of its own, so that it shares nothing with the appliance but the wires.
struct House {
    simulator: Simulator,
    roof: Roof,
    runtime: tokio::runtime::Runtime,
}

impl House {
    fn start() -> std::io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("house").enable_all().build()?;
        let simulator = runtime.block_on(Simulator::start(plan()))?;
        let roof = runtime.block_on(Roof::start(simulator.watch()))?;
        Ok(Self { simulator, roof, runtime })
    }

    fn places(&self) -> (&str, &str, &str) {
        let meter = self.simulator.meter_connection().unwrap_or("none");
        (meter, self.simulator.charger_connection(0), self.simulator.charger_connection(1))
    }

    fn stop(self) {
        self.roof.stop();
        self.runtime.block_on(self.simulator.stop());
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// A day at home: two cars that would take 16 A each, a kettle, an oven and a hob, and a roof that clouds pass.
fn plan() -> Plan {
    // Cars that start sooner than most, so that there is something to see at once.
    let car = CarPlan { start: (Span(3000), Span(6000)), ..CarPlan::usual() };
    let teltocharge = ChargerPlan { response: Span(800), ..ChargerPlan::teltocharge(car.clone()) };
    let evse_din = ChargerPlan {
        kind: BoxKind::EvseDin { firmware: 18 },
        boot_current: Milliamp::from_amps(6),
        response: Span(300),
        ..ChargerPlan::evse_din(car)
    };
    let sun = Sun { peak: ROOF, phases: vec![Phase::L3], clouds: 0.6, cloud_period: Span::from_secs(25) };
    let bus = |charger| BusPlan { link: BusLink::Tcp, chargers: vec![charger] };
    Plan {
        seed: 20,
        speed: 1.0,
        house: HousePlan { sun: Some(sun), ..HousePlan::busy_home() },
        meter: Some(MeterPlan { link: P1Link::Tcp, ..MeterPlan::default() }),
        buses: vec![bus(teltocharge), bus(evse_din)],
    }
}

/// The configuration as a person would write it, read by the same reader. The times between turns are short, so that
/// a minute shows them.
fn configuration(house: &House, mqtt: u16, web: u16, folder: &Path) -> Result<Config, String> {
    let ((meter, garage, carport), roof) = (house.places(), house.roof.connection());
    // A path may hold what ends a TOML text: let its own writer quote it.
    let data_dir = toml::Value::String(folder.display().to_string());
    let text = format!(
        r#"[site]
name = "Demo house"
time_zone = "Europe/Amsterdam"

[grid]
fuse_a = {FUSE_A}
meter = "main"

[control]
min_on_s = 20
min_off_s = 20

[mqtt]
url = "embedded://127.0.0.1:{mqtt}"
interval_s = 1

[web]
listen = "127.0.0.1:{web}"

[storage]
data_dir = {data_dir}

[[meter]]
id = "main"
name = "House meter"
driver = "p1"
connection = "{meter}"

[[meter]]
id = "roof"
name = "Roof"
role = "solar"
driver = "homewizard"
connection = "{roof}"
# It counts what flows into the house's wires as export.
invert = true

[[charger]]
id = "garage"
name = "Garage"
driver = "teltocharge"
connection = "{garage}"
unit = 1
max_current_a = 16
fail_safe_current_a = 6

[[charger]]
id = "carport"
name = "Carport"
driver = "evse-din"
connection = "{carport}"
unit = 1
max_current_a = 16
fail_safe_current_a = 6
"#
    );
    let file = folder.join("gridkeeper.toml");
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let loaded = config::load(&[file], std::iter::empty(), None, Purpose::Run).map_err(|error| error.to_string())?;
    Ok(loaded.config)
}

/// The port to ask for; 0 leaves the choice to the system.
fn port(asked: Option<u16>, usual: u16, what: &str, lines: &mut Lines) -> Result<u16, String> {
    let wanted = asked.unwrap_or(usual);
    let free = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    match free(wanted) {
        Ok(_) => Ok(wanted),
        Err(error) if asked.is_some() => Err(format!("port {wanted} for {what}: {error}; 0 picks a free one")),
        Err(error) => {
            lines.say(format!("Port {wanted} for {what} cannot be used ({error}); taking a free one."));
            Ok(0)
        }
    }
}

/// Lines on their way to standard output, written by a thread of their own: when nobody reads them, lines are dropped
/// and the demo goes on.
struct Lines {
    sender: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Lines {
    fn start() -> std::io::Result<Self> {
        let (sender, lines) = mpsc::sync_channel::<String>(LINES);
        let thread = std::thread::Builder::new().name("output".into()).spawn(move || {
            let mut output = std::io::stdout();
            for line in lines {
                if writeln!(output, "{line}").and_then(|()| output.flush()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// `false` when the reader has gone for good.
    fn say(&mut self, line: String) -> bool {
        let Some(sender) = &self.sender else { return false };
        !matches!(sender.try_send(line), Err(TrySendError::Disconnected(_)))
    }

    /// Lets the last lines out, as far as somebody reads them.
    fn finish(&mut self) {
        self.sender = None;
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.thread.as_ref().is_some_and(|it| !it.is_finished()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The demo's data directory; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let base = std::env::temp_dir();
        let mut number = 0_u32;
        loop {
            let path = base.join(format!("gridkeeper-demo-{}-{number}", std::process::id()));
            // Only ever a folder of our own: one that exists already is somebody else's.
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's data directory is left behind");
        }
    }
}

fn complain(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

//! A simulated house and the real binary in it, as a child process over real sockets.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gridkeeper::quantity::{Milliamp, Phase};
use gridkeeper::simulator::{FaultHandle, Moment, NotReached, Overload, Plan, Request, Simulator, View};
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::Peer;

/// Times of the fail-safe table in fractions of a second; the contract's own are asserted in simulated time beside the
/// controller.
pub(crate) const QUICK_TIMING: &str = "\
[timing]
charger_silent_s = 0.6
quiet_extra_s = 0.5
cut_response_s = 0.6
cut_response_hard_s = 0.5
raise_after_cut_s = 0.6
not_obeying_s = 1.0
obedience_s = 2.0
second_master_s = 2.0
second_master_quiet_s = 4.0
second_master_rewrite_s = 1.0
lease_s = 0.6
poll_s = 0.1
";

/// How long anything may take in a test before it counts as missing: far longer than it does take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// What a scene's configuration says beyond what the plan itself knows.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) fuse_a: f64,
    /// Lines of `[grid]`.
    pub(crate) grid: String,
    /// Lines of `[control]`.
    pub(crate) control: String,
    /// Lines of each `[[charger]]`.
    pub(crate) charger: Vec<String>,
    /// Whole tables.
    pub(crate) tables: String,
    /// `[mqtt] url`; empty for none.
    pub(crate) mqtt: String,
    /// Environment of the process.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) timing: String,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            fuse_a: 25.0,
            grid: "meter_late_s = 0.5\nmeter_lost_s = 1.2\n".to_owned(),
            control: String::new(),
            charger: Vec::new(),
            tables: String::new(),
            mqtt: String::new(),
            environment: Vec::new(),
            timing: QUICK_TIMING.to_owned(),
        }
    }
}

/// House and appliance.
pub(crate) struct Scene {
    pub(crate) house: Simulator,
    pub(crate) app: Appliance,
    pub(crate) folder: TempDir,
    environment: Vec<(String, String)>,
    pub(crate) begun: Instant,
}

impl Scene {
    /// Starts both.
    pub(crate) async fn start(plan: Plan, setting: Setting) -> Self {
        Self::start_into(plan, setting, |_| ()).await
    }

    /// The same, with something done to the house before the appliance finds it.
    pub(crate) async fn start_into(plan: Plan, setting: Setting, before: impl FnOnce(&FaultHandle)) -> Self {
        Self::build(plan, setting, before, Appliance::run).await
    }

    /// The same with an appliance whose output nobody reads.
    pub(crate) async fn start_unread(plan: Plan, setting: Setting) -> Self {
        Self::build(plan, setting, |_| (), Appliance::run_unread).await
    }

    async fn build(
        plan: Plan,
        setting: Setting,
        before: impl FnOnce(&FaultHandle),
        run: impl FnOnce(&Path, &[(String, String)]) -> Appliance,
    ) -> Self {
        let begun = Instant::now();
        let house = Simulator::start(plan.clone()).await.expect("loopback sockets");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("gridkeeper.toml");
        std::fs::write(&file, configuration(&plan, &house, &setting, folder.path())).expect("a writable folder");
        before(&house.faults());
        let app = run(&file, &setting.environment);
        Self { house, app, folder, environment: setting.environment, begun }
    }

    /// The appliance once more, with the same configuration and data; the one before must have ended.
    pub(crate) fn start_again(&mut self) {
        assert!(!self.app.is_running(), "only one appliance at a time");
        self.app = Appliance::run(&self.folder.path().join("gridkeeper.toml"), &self.environment);
    }

    pub(crate) fn faults(&self) -> FaultHandle {
        self.house.faults()
    }

    /// Waits for something to hold; a miss shows how house and appliance stood.
    pub(crate) async fn until(&self, what: &str, reached: impl FnMut(&View) -> bool) -> Arc<View> {
        self.within(PATIENCE, what, reached).await
    }

    /// The same with a time of its own, where the time is what is tested.
    pub(crate) async fn within(&self, patience: Duration, what: &str, reached: impl FnMut(&View) -> bool) -> Arc<View> {
        match self.house.until(what, patience, reached).await {
            Ok(view) => view,
            Err(missed) => panic!("{missed}\n{}--- log of the appliance\n{}", self.writes(), self.app.log()),
        }
    }

    /// What was written to the chargers of late, for a person who looks for the reason of a failure.
    pub(crate) fn writes(&self) -> String {
        let mut text = String::new();
        let now = Instant::now();
        for charger in 0..self.house.view().chargers.len() {
            let requests = self.requests_since(charger, self.begun);
            let writes: Vec<&Request> = requests.iter().filter(|it| !it.is_read()).collect();
            write!(text, "writes to charger {charger} (seconds ago: register = value):").expect("writing to a string");
            for it in writes.iter().rev().take(40).rev() {
                let ago = now.duration_since(it.instant).as_secs_f64();
                write!(text, " {ago:.2}: {} = {:?};", it.register, it.words).expect("writing to a string");
            }
            text.push('\n');
        }
        text
    }

    /// Asserts that something keeps holding for a while.
    pub(crate) async fn holds(&self, what: &str, time: Duration, mut good: impl FnMut(&View) -> bool) {
        let broken: Result<Arc<View>, NotReached> = self.house.until(what, time, |view| !good(view)).await;
        if let Ok(view) = broken {
            panic!("no longer true: {what}\n{view:#?}\n--- log of the appliance\n{}", self.app.log());
        }
    }

    /// Waits until the log of the appliance satisfies `enough`.
    pub(crate) async fn until_log(&self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        self.app.until_log(what, enough).await
    }

    /// Waits until the appliance has told this event for the first time.
    pub(crate) async fn event(&self, event: &str, subject: &str) -> String {
        let words = [format!("event=\"{event}\""), format!("subject=\"{subject}\"")];
        let told = |log: &str| log.lines().any(|line| words.iter().all(|word| line.contains(word.as_str())));
        self.until_log(&format!("event {event} of {subject}"), told).await
    }

    /// How often the appliance has told this event.
    pub(crate) fn events(&self, event: &str, subject: &str) -> usize {
        let words = [format!("event=\"{event}\""), format!("subject=\"{subject}\"")];
        self.app.log().lines().filter(|line| words.iter().all(|word| line.contains(word.as_str()))).count()
    }

    /// `/api/status`.
    pub(crate) async fn status(&self) -> serde_json::Value {
        let body = self.app.get("/api/status").await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"))
    }

    /// A client of the built-in broker that hears everything below the base topic.
    pub(crate) async fn peer(&self) -> Peer {
        let listens = |status: &serde_json::Value| status["mqtt"]["embedded"].is_string();
        self.until_status("where the built-in broker listens", listens).await;
        let address = self.status().await["mqtt"]["embedded"].as_str().and_then(|it| it.parse().ok());
        Peer::connect(address.expect("an address"), "gridkeeper/#").await
    }

    /// Waits until `/api/status` satisfies `reached`.
    pub(crate) async fn until_status(&self, what: &str, reached: impl Fn(&serde_json::Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if reached(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "not shown: {what}\n{status:#}\n{}", self.app.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until this charger's car draws at least so much.
    pub(crate) async fn charging(&self, charger: usize, amps: i32) -> Arc<View> {
        self.until(&format!("charger {charger} draws {amps} A"), |view| {
            view.chargers[charger].highest_draw() >= Milliamp::from_amps(amps)
        })
        .await
    }

    /// Above `limit`, since then.
    pub(crate) fn overload_since(&self, since: Instant, limit: f64) -> Overload {
        Overload::of(&self.house.history_since(since), Milliamp::from_f64(limit))
    }

    pub(crate) fn history_since(&self, since: Instant) -> Vec<Moment> {
        self.house.history_since(since)
    }

    pub(crate) fn requests_since(&self, charger: usize, since: Instant) -> Vec<Request> {
        self.house.requests_since(charger, since)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// The configuration that an installer would write for this plan.
pub(crate) fn configuration(plan: &Plan, house: &Simulator, setting: &Setting, folder: &Path) -> String {
    let mut text = String::new();
    let data = folder.join("data");
    let mut line = |it: std::fmt::Arguments<'_>| writeln!(text, "{it}").expect("writing to a string");
    line(format_args!("[grid]\nfuse_a = {}\n{}", setting.fuse_a, setting.grid));
    if plan.meter.is_some() {
        line(format_args!("meter = \"main\""));
    }
    line(format_args!("[control]\nmin_off_s = 0\n{}", setting.control));
    if !setting.tables.contains("[storage]") {
        line(format_args!("[storage]\ndata_dir = \"{}\"", data.display()));
    }
    line(format_args!("[web]\nlisten = \"127.0.0.1:0\""));
    if !setting.mqtt.is_empty() {
        line(format_args!("[mqtt]\nurl = \"{}\"\ninterval_s = 0.2", setting.mqtt));
    }
    line(format_args!("{}\n{}", setting.timing, setting.tables));
    if let Some(connection) = house.meter_connection() {
        line(format_args!("[[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"{connection}\""));
    }
    let chargers = plan.buses.iter().flat_map(|bus| &bus.chargers);
    for (index, charger) in chargers.enumerate() {
        let driver = match charger.kind {
            gridkeeper::simulator::BoxKind::TeltoCharge { .. } => "teltocharge",
            gridkeeper::simulator::BoxKind::EvseDin { .. } => "evse-din",
        };
        let phases: Vec<String> = charger.phases.iter().map(|phase: &Phase| format!("\"{phase}\"")).collect();
        line(format_args!(
            "[[charger]]\nid = \"c{index}\"\ndriver = \"{driver}\"\nconnection = \"{}\"\nunit = {}\nphases = [{}]\nmax_current_a = 32\nmode = \"fast\"\n{}",
            house.charger_connection(index),
            house.charger_unit(index),
            phases.join(", "),
            setting.charger.get(index).map_or("", String::as_str),
        ));
    }
    text
}

/// The binary as a child process; killed when dropped.
pub(crate) struct Appliance {
    child: Child,
    log: PathBuf,
    /// Held open, never read.
    _unread: Option<std::io::PipeReader>,
}

impl Appliance {
    /// `gridkeeper run --strict -c FILE`, its log in a file beside it.
    pub(crate) fn run(file: &Path, environment: &[(String, String)]) -> Self {
        Self::launch(&["run", "--strict", "-c", &file.display().to_string()], file, environment, Stdio::null())
    }

    /// The same with a pipe for its output that is full already.
    pub(crate) fn run_unread(file: &Path, environment: &[(String, String)]) -> Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        fill(&writer);
        let stdout = writer.try_clone().expect("a second handle");
        let mut command = Self::command(&["run", "--strict", "-c", &file.display().to_string()], environment);
        let child = command.stdout(stdout).stderr(writer).spawn().expect("the binary was built for this test");
        Self { child, log: file.with_extension("unread"), _unread: Some(reader) }
    }

    /// Any subcommand.
    pub(crate) fn launch(arguments: &[&str], beside: &Path, environment: &[(String, String)], stdout: Stdio) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = beside.with_extension(format!("{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = std::fs::File::create(&log).expect("a writable folder");
        let mut command = Self::command(arguments, environment);
        let child = command.stdout(stdout).stderr(file).spawn().expect("the binary was built for this test");
        Self { child, log, _unread: None }
    }

    fn command(arguments: &[&str], environment: &[(String, String)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
        command.args(arguments).env("GRIDKEEPER_LOG", "debug").envs(environment.iter().cloned()).stdin(Stdio::null());
        command
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the child runs");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_else(|error| format!("no log: {error}"))
    }

    /// Waits until the log satisfies `enough`.
    pub(crate) async fn until_log(&self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if enough(&log) {
                return log;
            }
            assert!(Instant::now() < deadline, "not logged within {PATIENCE:?}: {what}\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the page has at this path.
    pub(crate) async fn get(&self, path: &str) -> String {
        let log = self.until_log("where the page is", |log| log.contains("the page is on http://")).await;
        let address = log.split_once("the page is on http://").and_then(|(_, rest)| rest.split_once('/'));
        let mut stream = TcpStream::connect(address.expect("an address").0).await.expect("a page");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a connection that takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer in text");
        answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child process").is_none()
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child process") {
                return status;
            }
            assert!(Instant::now() < deadline, "the process did not end within {patience:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes to a pipe until it takes no more. A handle of its own, opened anew, so that only this one does not block.
fn fill(pipe: &std::io::PipeWriter) {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let flags = OFlag::O_NONBLOCK.bits();
    let mut writer = OpenOptions::new().write(true).custom_flags(flags).open(path).expect("a handle of our own");
    let full = loop {
        if let Err(error) = writer.write(b"x") {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
}

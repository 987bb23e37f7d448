//! What each subcommand does; every one returns its exit code: 0 done, 1 failed at run time, 2 wrong usage or
//! configuration, 3 input found invalid, or a scenario that did not end as it says.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::appliance::{Appliance, Options};
use crate::codec::model::{Kind, Model, WordOrder};
use crate::codec::p1::Keys;
use crate::config::model::HttpAddress;
use crate::config::{self, Purpose, Severity};
use crate::decode::{self, Form, Outcome, parse_key};
use crate::logging::{LevelFilter, Logging};
use crate::mqtt::Restart;
use crate::quantity::Mono;
use crate::service_manager::ServiceManager;
use crate::simulate::scenario::Scenario;
use crate::supervisor::Supervisor;
use crate::tool::registers::{self, Consent, Reading, Target, ToolError};

mod backup;
mod scan;

pub use backup::{backup, restore};
pub use scan::{patience, scan_lan, scan_serial, scan_tcp};

/// Done.
pub const DONE: u8 = 0;
/// Failed at run time.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration.
pub const WRONG_USAGE: u8 = 2;
/// `decode` found its input invalid, or a scenario did not end as it says.
pub const INVALID_INPUT: u8 = 3;

/// `gridkeeper run`
#[must_use]
pub fn run(files: &[PathBuf], strict: bool) -> u8 {
    let logging = Logging::start(LevelFilter::INFO);
    let (config, diagnostics, inputs) = match config::load(files, config::environment(), add_on_options(), Purpose::Run)
    {
        Ok(loaded) => {
            if let Err(error) = config::save_last_good(&loaded.config.storage.data_dir, &loaded.inputs) {
                tracing::warn!("no copy of the valid configuration could be kept: {error}");
            }
            (Some(loaded.config), loaded.warnings, Some(loaded.inputs))
        }
        Err(refused) => {
            complain(&refused.to_string());
            if strict {
                return WRONG_USAGE;
            }
            (config::fallback(&refused), refused.list, None)
        }
    };
    let Some(config) = config else { return WRONG_USAGE };
    for warning in diagnostics.iter().filter(|it| it.severity == Severity::Warning) {
        tracing::warn!("{warning}");
    }
    let ingress =
        std::env::var("GRIDKEEPER_INGRESS").ok().filter(|it| !it.is_empty()).and_then(|it| match it.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                complain(&format!("GRIDKEEPER_INGRESS = {it:?} is no address and port"));
                None
            }
        });
    let supervisor = Supervisor::from_environment();
    let (tell, told) = channel();
    let asked = tell.clone();
    let options = Options {
        diagnostics,
        level: Some(logging.switch()),
        restart: Some(Restart {
            not_before: if std::env::var_os(RESTARTED).is_some() { BETWEEN_RESTARTS } else { Mono(0) },
            // Nobody listening any more means that it ends anyway.
            begin: Arc::new(move || _ = asked.send(Told::Restart)),
        }),
        inputs,
        supervisor,
        ingress,
    };
    let end = until_told(tell, &told, || Appliance::start(config, options));
    logging.finish();
    match end {
        Ended::With(code) => code,
        Ended::ToStartAnew => start_anew(),
    }
}

/// Set for a process that was started by a restart.
const RESTARTED: &str = "GRIDKEEPER_RESTARTED";
/// From one restart over MQTT to the next.
const BETWEEN_RESTARTS: Mono = Mono(60_000);

/// What the process is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// By a signal.
    Stop,
    /// By a person.
    Restart,
}

/// Why the appliance has ended.
enum Ended {
    With(u8),
    ToStartAnew,
}

/// The program of the next process, tried: one that may not be started, or no longer fits this machine, must not cost the
/// controller that is there.
fn successor() -> Result<PathBuf, String> {
    let program = match std::env::current_exe() {
        // The kernel marks a program that was replaced by an update; its successor has the same name.
        Ok(path) => match path.to_str().and_then(|it| it.strip_suffix(" (deleted)")) {
            Some(name) => PathBuf::from(name),
            None => path,
        },
        Err(error) => return Err(format!("the program cannot be found: {error}")),
    };
    let mut command = std::process::Command::new(&program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let fails = |error: std::io::Error| format!("{} cannot be started: {error}", program.display());
    let mut child = command.spawn().map_err(fails)?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match child.try_wait().map_err(fails)? {
            Some(status) if status.success() => return Ok(program),
            Some(status) => return Err(format!("{} --version ends with {status}", program.display())),
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => {
                // Neither failing matters: it is not used.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{} --version does not end", program.display()));
            }
        }
    }
}

/// Becomes a new process in place of this one, with the same arguments: a service manager, a container and a terminal
/// see the same process go on. Comes back only when that fails.
fn start_anew() -> u8 {
    use std::os::unix::process::CommandExt;
    let program = match successor() {
        Ok(program) => program,
        Err(why) => {
            complain(&why);
            return FAILED;
        }
    };
    let error = std::process::Command::new(&program).args(std::env::args_os().skip(1)).env(RESTARTED, "1").exec();
    complain(&format!("{} cannot be started anew: {error}", program.display()));
    FAILED
}

/// `gridkeeper demo`
#[must_use]
pub fn demo(mqtt: Option<u16>, web: Option<u16>, seconds: Option<f64>) -> u8 {
    let logging = Logging::start(LevelFilter::WARN);
    let code = crate::demo::run(mqtt, web, seconds);
    logging.finish();
    code
}

/// `gridkeeper check`
#[must_use]
pub fn check(files: &[PathBuf], json: bool) -> u8 {
    let mut out = std::io::stdout().lock();
    let colour = out.is_terminal();
    let code = config::command::check(files, config::environment(), add_on_options(), json, colour, &mut out);
    code.unwrap_or_else(|error| written(Err(error)))
}

/// `gridkeeper schema`
#[must_use]
pub fn schema() -> u8 {
    written(config::command::schema(&mut std::io::stdout().lock()))
}

/// Protocols of `gridkeeper decode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeKind {
    /// P1 telegrams.
    P1,
    /// IEC 62056-21 readouts.
    Iec62056,
    /// SML frames.
    Sml,
}

/// `gridkeeper decode`
#[must_use]
pub fn decode(kind: DecodeKind, file: Option<&Path>, json: bool, key: Option<&str>, auth_key: Option<&str>) -> u8 {
    let keys: Result<Option<Keys>, String> = match (key.map(parse_key).transpose(), auth_key.map(parse_key).transpose())
    {
        (Ok(Some(_)), _) | (_, Ok(Some(_))) if kind != DecodeKind::P1 => {
            Err("--key and --auth-key belong to p1: nothing else comes encrypted".to_owned())
        }
        (Ok(None), Ok(Some(_))) => Err("--auth-key goes with --key".to_owned()),
        (Ok(key), Ok(auth)) => Ok(key.map(|key| Keys { key, auth_key: auth })),
        (Err(error), _) => Err(format!("--key: {error}")),
        (_, Err(error)) => Err(format!("--auth-key: {error}")),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => {
            complain(&error);
            return WRONG_USAGE;
        }
    };
    let mut input: Box<dyn Read> = match file {
        Some(path) if path != Path::new("-") => match std::fs::File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                complain(&format!("{}: {error}", path.display()));
                return FAILED;
            }
        },
        _ => Box::new(std::io::stdin().lock()),
    };
    let form = if json { Form::Json } else { Form::Text };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut notes = std::io::stderr().lock();
    let outcome = match kind {
        DecodeKind::P1 => decode::p1(&mut input, keys, form, &mut out, &mut notes),
        DecodeKind::Iec62056 => decode::iec62056(&mut input, form, &mut out, &mut notes),
        DecodeKind::Sml => decode::sml(&mut input, form, &mut out, &mut notes),
    };
    match outcome {
        Ok(outcome) => match (written(out.flush()), outcome) {
            (DONE, Outcome::Valid) => DONE,
            (DONE, Outcome::Invalid) => INVALID_INPUT,
            (code, _) => code,
        },
        Err(error) => written(Err(error)),
    }
}

/// `gridkeeper pair homewizard`
#[must_use]
pub fn pair_homewizard(host: &str, id: &str, files: &[PathBuf]) -> u8 {
    // As the lines of the configuration have it.
    let host = host.strip_prefix("https://").unwrap_or(host);
    let address = match HttpAddress::parse(&format!("https://{host}")) {
        Ok(address) => address,
        Err((problem, help)) => {
            complain(&format!("{host}: {problem}; {help}"));
            return WRONG_USAGE;
        }
    };
    let letter = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_' || it == b'-';
    if !(1..=32).contains(&id.len()) || !id.bytes().all(letter) {
        complain("--id: 1 to 32 of a-z, 0-9, _ and -");
        return WRONG_USAGE;
    }
    let folder = data_dir(files);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return FAILED;
        }
    };
    let (mut out, mut progress) = (std::io::stdout(), std::io::stderr());
    match runtime.block_on(crate::pair::homewizard(&address, id, &folder, &mut out, &mut progress)) {
        Ok(()) => DONE,
        Err(problem) => {
            complain(&problem);
            FAILED
        }
    }
}

/// Where the data are; a file that is wrong elsewhere still says it.
fn data_dir(files: &[PathBuf]) -> PathBuf {
    match config::load(files, config::environment(), add_on_options(), Purpose::Run) {
        Ok(loaded) => loaded.config.storage.data_dir,
        Err(refused) => refused.usable.storage.data_dir.clone(),
    }
}

/// Models of meters that a scan looks for: the user's own and those of the binary.
fn models(files: &[PathBuf]) -> Vec<Model> {
    let (models, unusable) = config::meter_models::with_own(&data_dir(files));
    for error in unusable {
        note(&format!("not looked for: {error}"));
    }
    models
}

/// A register or its value on the command line: decimal, or hexadecimal with `0x`.
///
/// # Errors
/// The sentence for the user.
pub fn register(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "allowed: 0 to 65535, or 0x0 to 0xFFFF".to_owned())
}

/// `gridkeeper modbus read`
#[must_use]
pub fn modbus_read(
    connection: &str,
    unit: u8,
    register: u16,
    count: u16,
    input: bool,
    kind: &str,
    low_first: bool,
) -> u8 {
    let order = if low_first { WordOrder::LowFirst } else { WordOrder::HighFirst };
    let target = config::connection(connection).map(|connection| Target { connection, unit, register });
    let (target, kind) = match (target, Kind::from_word(kind)) {
        (Ok(target), Ok(kind)) => (target, kind),
        (Err(error), _) | (_, Err(error)) => {
            complain(&error);
            return WRONG_USAGE;
        }
    };
    let reading = Reading { count, input, kind, order };
    tool(async { registers::read(&target, reading, &mut std::io::stdout().lock()).await })
}

/// `gridkeeper modbus write`
#[must_use]
pub fn modbus_write(connection: &str, unit: u8, register: u16, values: &[u16], consent: Consent) -> u8 {
    let target = match config::connection(connection) {
        Ok(connection) => Target { connection, unit, register },
        Err(error) => {
            complain(&error);
            return WRONG_USAGE;
        }
    };
    let mut input = std::io::stdin().lock();
    tool(async { registers::write(&target, values, consent, &mut input, &mut std::io::stdout().lock()).await })
}

/// Runs one of the installer's tools to its end.
fn tool(work: impl Future<Output = Result<(), ToolError>>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return written(Err(error)),
    };
    let code = match runtime.block_on(work) {
        Ok(()) => DONE,
        Err(ToolError::Output(error)) => written(Err(error)),
        Err(error) => {
            complain(&error.to_string());
            if matches!(error, ToolError::Usage(_)) { WRONG_USAGE } else { FAILED }
        }
    };
    // A serial port that hangs in the kernel must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

/// `gridkeeper simulate --stdio`
#[must_use]
pub fn simulate(files: &[PathBuf]) -> u8 {
    let config = match config::load(files, std::iter::empty(), None, Purpose::Simulate) {
        Ok(loaded) => loaded.config,
        Err(diagnostics) => {
            complain(&diagnostics.to_string());
            return WRONG_USAGE;
        }
    };
    match crate::simulate::stdio(&config, &mut std::io::stdin().lock(), &mut std::io::stdout().lock()) {
        Ok(()) => DONE,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

/// `gridkeeper simulate FILE`
#[must_use]
pub fn play(file: &Path) -> u8 {
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{name}: {error}"));
            return FAILED;
        }
    };
    let outcome = Scenario::parse(&name, &text).and_then(|scenario| crate::simulate::play(&scenario));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            complain(&error);
            return WRONG_USAGE;
        }
    };
    let code = written(std::io::stdout().lock().write_all(outcome.timeline.as_bytes()));
    for unmet in &outcome.unmet {
        complain(&format!("not as expected: {unmet}"));
    }
    if outcome.unmet.is_empty() { code } else { INVALID_INPUT }
}

/// Starts an appliance, waits for SIGTERM, SIGINT or a restart, stops it in order. Ends with 1 when it died by itself.
fn until_told(tell: Sender<Told>, told: &Receiver<Told>, start: impl FnOnce() -> std::io::Result<Appliance>) -> Ended {
    if let Err(error) = on_signal(move || _ = tell.send(Told::Stop)) {
        complain(&format!("signals cannot be listened for: {error}"));
        return Ended::With(FAILED);
    }
    let appliance = match start() {
        Ok(appliance) => appliance,
        Err(error) => {
            complain(&format!("the appliance cannot be started: {error}"));
            return Ended::With(FAILED);
        }
    };
    let manager = ServiceManager::from_environment();
    manager.ready();
    loop {
        match told.recv_timeout(Duration::from_secs(1)) {
            Ok(Told::Restart) => {
                if let Err(why) = successor() {
                    tracing::error!("not stopped for a restart that would fail: {why}");
                    continue;
                }
                tracing::info!("stopping, to start anew");
                appliance.stop();
                return if told.try_iter().any(|it| it == Told::Stop) { Ended::With(DONE) } else { Ended::ToStartAnew };
            }
            Ok(Told::Stop) | Err(RecvTimeoutError::Disconnected) => {
                tracing::info!("stopping");
                manager.stopping();
                appliance.stop();
                return Ended::With(DONE);
            }
            Err(RecvTimeoutError::Timeout) if appliance.is_alive() => manager.alive(),
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!("a vital thread has ended or hangs; stopping so that the service manager starts anew");
                appliance.stop();
                return Ended::With(FAILED);
            }
        }
    }
}

/// Calls `tell` at every SIGTERM and SIGINT, from a thread of its own.
pub(crate) fn on_signal(tell: impl Fn() + Send + 'static) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => tell(),
                    _ = interrupt.recv() => tell(),
                }
            }
        });
    })?;
    Ok(())
}

/// The add-on's options, when we run as one.
fn add_on_options() -> Option<PathBuf> {
    std::env::var_os("SUPERVISOR_TOKEN").map(|_| PathBuf::from("/data/options.json")).filter(|path| path.exists())
}

fn written(result: std::io::Result<()>) -> u8 {
    match result {
        Ok(()) => DONE,
        // A reader that has seen enough (`| head`) is no fault.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => DONE,
        Err(error) => {
            complain(&error.to_string());
            FAILED
        }
    }
}

/// Something worth knowing that is no fault.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn complain(text: &str) {
    let mut output = std::io::stderr().lock();
    let prefix = if output.is_terminal() { "\u{1b}[31merror\u{1b}[0m" } else { "error" };
    let _ = writeln!(output, "{prefix}: {text}");
}

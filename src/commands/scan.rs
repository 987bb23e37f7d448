//! `gridkeeper scan`: what is on a serial port, behind a host, on the network.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{FAILED, WRONG_USAGE, complain, models, on_signal, tool};
use crate::config;
use crate::config::model::Connection;
use crate::tool::registers::ToolError;
use crate::tool::scan::{self, ScanError};

/// How long a scan waits for each answer: seconds on the command line.
///
/// # Errors
/// The sentence for the user.
pub fn patience(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|it| (0.05..=10.0).contains(it));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "allowed: 0.05 to 10 (s)".to_owned())
}

/// `gridkeeper scan serial`
#[must_use]
pub fn scan_serial(port: &str, from: usize, all: bool, patience: Option<Duration>, files: &[PathBuf]) -> u8 {
    let text = if port.starts_with('/') { format!("serial://{port}") } else { port.to_owned() };
    let line = match config::connection(&text) {
        Ok(Connection::Serial(line)) => line,
        Ok(_) => {
            complain("a serial port is needed: /dev/ttyUSB0, or serial:///dev/ttyUSB0?baud=9600");
            return WRONG_USAGE;
        }
        Err(error) => {
            complain(&error);
            return WRONG_USAGE;
        }
    };
    if !line.path.exists() {
        complain(&format!(
            "there is no port {}: `ls -l /dev/serial/by-id/` shows those that are there, `sudo dmesg | tail` what was \
             plugged in last",
            line.path.display()
        ));
        return FAILED;
    }
    let turn = patience.unwrap_or(scan::SERIAL_TURN);
    let course = scan::Course { from: from.saturating_sub(1), all, turn };
    let (models, asked) = (models(files), scan::Asked { place: port, all, patience, config: files });
    scan(
        async |stop, out, progress| scan::serial(&line, &models, course, stop, out, progress).await,
        |outcome| scan::serial_again(asked, &line, outcome),
    )
}

/// `gridkeeper scan tcp`
#[must_use]
pub fn scan_tcp(host: &str, from: usize, all: bool, patience: Option<Duration>, files: &[PathBuf]) -> u8 {
    let has_port = host.contains("]:") || host.matches(':').count() == 1;
    let address = match (host.contains("://"), has_port) {
        (true, _) => host.to_owned(),
        (false, true) => format!("tcp://{host}"),
        (false, false) => format!("tcp://{host}:502"),
    };
    let connection = match config::connection(&address) {
        Ok(Connection::Serial(_)) => {
            complain("a host is needed: HOST, HOST:PORT, or rtu+tcp://HOST:PORT for a converter that passes RTU on");
            return WRONG_USAGE;
        }
        Ok(connection) => connection,
        Err(error) => {
            complain(&error);
            return WRONG_USAGE;
        }
    };
    let turn = patience.unwrap_or(scan::NETWORK_TURN);
    let course = scan::Course { from: from.saturating_sub(1), all, turn };
    let (models, asked) = (models(files), scan::Asked { place: host, all, patience, config: files });
    scan(
        async |stop, out, progress| scan::tcp(&connection, &models, course, stop, out, progress).await,
        |outcome| scan::tcp_again(asked, outcome),
    )
}

/// `gridkeeper scan lan`
#[must_use]
pub fn scan_lan(from: std::net::Ipv4Addr) -> u8 {
    let network = scan::Network { from: from.into(), ..scan::Network::default() };
    scan(
        async |stop, out, progress| scan::lan(&network, stop, out, progress).await,
        |outcome| {
            let from = if from.is_unspecified() { String::new() } else { format!(" --from {from}") };
            outcome.stopped_at.map(|_| format!("gridkeeper scan lan{from}"))
        },
    )
}

/// Between two lines of progress where none is overwritten.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Runs a scan until its end or the first signal; says how to go on.
fn scan(
    work: impl AsyncFnOnce(&CancellationToken, &mut dyn Write, &mut dyn Write) -> Result<scan::Outcome, ScanError>,
    again: impl FnOnce(&scan::Outcome) -> Option<String>,
) -> u8 {
    let stop = CancellationToken::new();
    let told = stop.clone();
    if let Err(error) = on_signal(move || told.cancel()) {
        complain(&format!("signals cannot be listened for: {error}"));
        return FAILED;
    }
    tool(async {
        let mut progress: Box<dyn Write> = match std::io::stderr() {
            terminal if terminal.is_terminal() => Box::new(terminal),
            other => Box::new(scan::Lines::new(other, PROGRESS_EVERY)),
        };
        let outcome = work(&stop, &mut std::io::stdout(), &mut progress).await;
        let outcome = outcome.map_err(|error| match error {
            ScanError::Output(error) => ToolError::Output(error),
            ScanError::NoLink(why) => ToolError::NotTaken(why),
        })?;
        match (again(&outcome), outcome.instead) {
            (Some(command), _) => writeln!(std::io::stdout(), "# interrupted; go on with: {command}")?,
            (None, _) if outcome.found > 0 => {}
            (None, Some(instead)) => return Err(ToolError::NotTaken(format!("nothing was found: {instead}"))),
            (None, None) => return Err(ToolError::NotTaken("nothing was found: nobody answered".to_owned())),
        }
        Ok(())
    })
}

//! `gridkeeper scan`: what is on a wire, how sure that is, and the lines to paste. Only reads.

mod again;
mod lan;
mod plan;
mod probe;
mod progress;

use std::io::{self, Write};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::codec::model::Model;
use crate::config::model::{Connection, SerialLine};
use crate::link::modbus::{Bus, BusConfig, BusError};

pub use again::{Asked, serial_again, tcp_again};
pub use lan::{Network, lan};
pub use plan::{Setting, Step};
use plan::{behind_gateway, is_likely, network_units, serial_steps};
use probe::{Found, Kind, Presence, Probe, is_unreadable};
pub use progress::Lines;
use progress::Pace;

/// For one answer on the network, where a gateway may wait for its own line.
pub const NETWORK_TURN: Duration = Duration::from_millis(1000);
/// For one answer on a serial line beyond its time on the wire. Meters answer within 100 ms.
pub const SERIAL_TURN: Duration = Duration::from_millis(150);
/// The same for a unit whose answer was late.
const PATIENT: Duration = Duration::from_millis(1000);
/// More than any request and its answer are on the wire at 1200 baud; the bus knows how long they really are.
const WHOLE: Duration = Duration::from_secs(3);
/// For a port or a host to open.
const OPENING: Duration = Duration::from_secs(3);

/// How a scan ended.
#[derive(Debug)]
pub struct Outcome {
    /// Devices that answered.
    pub found: usize,
    /// What was there instead, where nobody answered and that is known.
    pub instead: Option<String>,
    /// The step at which it was interrupted, of those that are left: a serial port's are counted at the settled setting.
    pub stopped_at: Option<usize>,
    /// The setting of a serial line at which somebody answered, where the others are left out since.
    pub settled: Option<Setting>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// The step at which an earlier scan was interrupted.
    pub from: usize,
    /// Every address, on a serial port at every setting, not only at the one at which somebody answered.
    pub all: bool,
    /// For one answer, on a serial port beyond its time on the wire; [`SERIAL_TURN`] and [`NETWORK_TURN`] but for those
    /// who are slow to answer.
    pub turn: Duration,
}

/// Looks through a serial port.
///
/// # Errors
/// When the port cannot be opened, and as the terminal says it.
pub async fn serial(
    line: &SerialLine,
    models: &[Model],
    course: Course,
    stop: &CancellationToken,
    out: &mut dyn Write,
    progress: &mut dyn Write,
) -> Result<Outcome, ScanError> {
    let steps = serial_steps(line);
    let mut outcome = Outcome { found: 0, instead: None, stopped_at: None, settled: None };
    let (mut ids, mut unreadable) = (Ids::default(), Unreadable::default());
    let mut wire: Option<(Setting, Wire)> = None;
    let mut pace = Pace::default();
    for (index, step) in steps.iter().enumerate().skip(course.from) {
        // A line has one setting: once somebody answered, the others need no second look.
        if outcome.settled.is_some_and(|it| it != step.setting) {
            continue;
        }
        let left =
            steps[index..].iter().filter(|it| outcome.settled.is_none_or(|settled| settled == it.setting)).count();
        let left = pace.left(left);
        write!(progress, "\r{:>5}/{} {} unit {:<3} {left:<14} ", index + 1, steps.len(), step.setting, step.unit)?;
        progress.flush()?;
        if wire.as_ref().is_none_or(|it| it.0 != step.setting) {
            // The port is taken exclusively: the old bus must have let go of it.
            if let Some((_, old)) = wire.take() {
                old.close().await;
            }
            wire = Some((step.setting, Wire::open(&step.setting.connection(&line.path), course.turn)));
        }
        let Some((_, current)) = &wire else { continue };
        let probe = Probe {
            bus: &current.bus,
            unit: step.unit,
            limit: WHOLE + course.turn,
            models,
            likely: is_likely(step.unit),
        };
        let presence = match look(&probe, stop).await? {
            // An answer that comes after its time meets the next question: a slow device, and no noise.
            Some(Presence::Silent(error)) if is_unreadable(&error) && current.turn < PATIENT => {
                if let Some((_, hasty)) = wire.take() {
                    hasty.close().await;
                }
                let slow = Wire::open(&step.setting.connection(&line.path), PATIENT);
                let (unit, likely) = (step.unit, is_likely(step.unit));
                let probe = Probe { bus: &slow.bus, unit, limit: WHOLE + PATIENT, models, likely };
                let presence = look(&probe, stop).await?;
                // Whoever is slow here is slow at the next address too; otherwise the next step is quick again.
                match presence {
                    Some(Presence::Answers(_)) => wire = Some((step.setting, slow)),
                    _ => slow.close().await,
                }
                presence
            }
            presence => presence,
        };
        let Some(presence) = presence else {
            outcome.stopped_at = Some(step_of(&steps, index, outcome.settled));
            break;
        };
        match presence {
            Presence::Answers(found) => {
                if !course.all {
                    outcome.settled = Some(step.setting);
                }
                outcome.found += 1;
                writeln!(progress)?;
                let place = Place { connection: step.setting.connection_text(&line.path), host: None, unit: step.unit };
                report(&found, &place, &mut ids, out)?;
            }
            Presence::Silent(error) => {
                if unreadable.take(&error, step.unit) {
                    writeln!(progress)?;
                    writeln!(out, "# unit {} at {}: {UNREADABLE} ({error})", step.unit, step.setting)?;
                }
            }
        }
    }
    outcome.instead = unreadable.instead();
    writeln!(progress)?;
    if let Some((_, old)) = wire.take() {
        old.close().await;
    }
    Ok(outcome)
}

/// Looks through the units behind a host that speaks Modbus TCP, or passes RTU on.
///
/// # Errors
/// When the host cannot be reached, and as the terminal says it.
pub async fn tcp(
    connection: &Connection,
    models: &[Model],
    course: Course,
    stop: &CancellationToken,
    out: &mut dyn Write,
    progress: &mut dyn Write,
) -> Result<Outcome, ScanError> {
    let (host, port, raw) = match connection {
        Connection::Tcp { host, port } => (host, port, false),
        Connection::RtuOverTcp { host, port } => (host, port, true),
        Connection::Serial(_) => return Err(ScanError::NoLink("a serial port is no host".to_owned())),
    };
    let wire = Wire::open(connection, course.turn);
    let mut outcome = Outcome { found: 0, instead: None, stopped_at: None, settled: None };
    let (mut ids, mut unreadable, mut why) = (Ids::default(), Unreadable::default(), None);
    let shown = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let scheme = if raw { "rtu+tcp" } else { "tcp" };
    let mut units = network_units(raw, course.all);
    // It was interrupted among those that are asked behind a gateway.
    if course.from >= units.len() {
        units.extend(behind_gateway(&units));
    }
    let mut next = course.from;
    while let Some(&unit) = units.get(next) {
        let index = next;
        next += 1;
        write!(progress, "\runit {unit:<3} ")?;
        progress.flush()?;
        let probe = Probe { bus: &wire.bus, unit, limit: course.turn, models, likely: is_likely(unit) };
        let Some(presence) = look(&probe, stop).await? else {
            outcome.stopped_at = Some(index);
            break;
        };
        match presence {
            Presence::Answers(found) => {
                outcome.found += 1;
                writeln!(progress)?;
                let place = Place { connection: format!("{scheme}://{shown}:{port}"), host: Some(host), unit };
                report(&found, &place, &mut ids, out)?;
            }
            Presence::Silent(error) => {
                if raw && unreadable.take(&error, unit) {
                    writeln!(progress)?;
                    writeln!(out, "# unit {unit}: {UNREADABLE} ({error})")?;
                }
                // A gateway speaks: behind it there is a line.
                if error.is_of_gateway() {
                    units.extend(behind_gateway(&units));
                }
                // The first one says most: later ones may meet a server that has had enough of us.
                why = why.or(Some(error));
            }
        }
    }
    writeln!(progress)?;
    wire.close().await;
    let place = format!("{shown}:{port}");
    outcome.instead = unreadable.instead().or_else(|| why.as_ref().map(|it| instead(&place, raw, it)));
    Ok(outcome)
}

/// Why a scan cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// No port, no host.
    #[error("{0}")]
    NoLink(String),
    /// The terminal.
    #[error("{0}")]
    Output(#[from] io::Error),
}

/// A step's number among those of the settled setting, with which the scan that goes on begins.
fn step_of(steps: &[Step], index: usize, settled: Option<Setting>) -> usize {
    let left = |it: &&Step| settled.is_none_or(|settled| settled == it.setting);
    steps.iter().take(index).filter(left).count()
}

/// Asks one unit; waits for the link where it is not open yet. `None`: interrupted before all was known of it.
async fn look(probe: &Probe<'_>, stop: &CancellationToken) -> Result<Option<Presence>, ScanError> {
    stop.run_until_cancelled(presence(probe)).await.transpose()
}

async fn presence(probe: &Probe<'_>) -> Result<Presence, ScanError> {
    let begun = tokio::time::Instant::now();
    loop {
        match probe.run().await {
            Err(error @ BusError::NotConnected { .. }) if begun.elapsed() >= OPENING => {
                return Err(ScanError::NoLink(error.to_string()));
            }
            Err(BusError::NotConnected { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Ok(Presence::Silent(error)),
            Ok(presence) => return Ok(presence),
        }
    }
}

/// A bus with a scan's patience.
struct Wire {
    bus: Bus,
    /// For one answer beyond its time on the wire.
    turn: Duration,
    cancel: CancellationToken,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Wire {
    fn open(connection: &Connection, turn: Duration) -> Self {
        let cancel = CancellationToken::new();
        let config = BusConfig {
            shortest_turn: turn,
            longest_turn: turn,
            backoff_first: Duration::from_millis(1),
            backoff_max: Duration::from_millis(200),
            ..BusConfig::new(connection.clone())
        };
        Self { bus: Bus::spawn(config, cancel.clone()), turn, cancel }
    }

    /// Ends the bus and gives the port back.
    async fn close(self) {
        self.cancel.cancel();
        // The bus's task ends at its next turn; its port is closed with it.
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is at a host where no unit gave a good answer, by what came of the first question.
fn instead(place: &str, raw: bool, error: &BusError) -> String {
    if raw {
        return format!(
            "{place} takes the connection, and of these units none answers behind it: look at the line, and at its speed \
             and parity, which are set in the converter; --all asks every unit; without rtu+tcp:// Modbus TCP is spoken"
        );
    }
    let answers = match error {
        BusError::Garbled { .. } | BusError::WrongTransaction { .. } | BusError::WrongFunction { .. } => true,
        BusError::Broken { received, .. } | BusError::Timeout { received, .. } => !received.is_empty(),
        _ => false,
    };
    match error {
        _ if answers => {
            format!("{place} answers, but not in Modbus TCP ({error}): look for the port of Modbus, mostly 502")
        }
        BusError::Broken { .. } => format!(
            "{place} takes the connection and closes it when it is asked: it does not speak Modbus TCP there, Modbus is \
             switched off in it, or it already serves as many clients as it can"
        ),
        BusError::Exception { .. } => format!(
            "{place} is a Modbus gateway behind which none of these units answers: --all asks every unit; look at the \
             line behind it, its speed and its parity"
        ),
        _ => format!(
            "{place} takes the connection and does not answer Modbus TCP: look for the port, and whether Modbus is switched \
             on; a converter that passes RTU on is scanned with rtu+tcp://{place}; --all asks every unit"
        ),
    }
}

/// What may be where bytes come that make no answer.
const UNREADABLE: &str = "something answers that cannot be read: two devices with this address, another setting of the line, \
                          or noise";

/// Units at which bytes came that make no answer; each is told once.
#[derive(Debug, Default)]
struct Unreadable(Vec<u8>);

impl Unreadable {
    /// Whether this is one that was not told yet.
    fn take(&mut self, error: &BusError, unit: u8) -> bool {
        let new = is_unreadable(error) && !self.0.contains(&unit);
        if new {
            self.0.push(unit);
        }
        new
    }

    fn instead(&self) -> Option<String> {
        let units: Vec<String> = self.0.iter().map(u8::to_string).collect();
        (!units.is_empty()).then(|| format!("unit {}: {UNREADABLE}", units.join(", ")))
    }
}

/// Where something was found.
struct Place<'a> {
    connection: String,
    /// `None`: a serial port.
    host: Option<&'a str>,
    unit: u8,
}

/// Ids that were given in this scan.
#[derive(Debug, Default)]
struct Ids(Vec<String>);

impl Ids {
    /// Bytes of an id, and of the end that tells one from another.
    const LONGEST: usize = 32;
    const END: usize = 4;

    /// An id that nothing else of this scan has: the model and the unit on a line, the host and the unit on the network.
    /// Neither looks like the other, so that a scan of each does not give the same one.
    fn give(&mut self, found: &Found, place: &Place<'_>) -> String {
        let kind = match found.kind {
            Kind::Meter => "meter",
            Kind::Charger => "charger",
        };
        let base = match place.host {
            Some(host) => format!("{kind}-{host}"),
            None => found.id.clone(),
        };
        let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
        let letter = |it: char| if fits(it.to_ascii_lowercase()) { it.to_ascii_lowercase() } else { '-' };
        let most = Self::LONGEST - 2 * Self::END;
        let base: String = base.chars().map(letter).take(most).collect();
        let base = format!("{}-{}", base.trim_end_matches('-'), place.unit);
        let other = |number: &usize| if *number == 1 { base.clone() } else { format!("{base}-{number}") };
        let id = (1..).map(|it| other(&it)).find(|it| !self.0.contains(it)).unwrap_or(base.clone());
        self.0.push(id.clone());
        id
    }
}

/// What was found, and the lines to paste.
fn report(found: &[Found], place: &Place<'_>, ids: &mut Ids, out: &mut dyn Write) -> io::Result<()> {
    let unit = place.unit;
    if ids.0.is_empty() && !found.is_empty() {
        writeln!(out, "# ids are suggestions: rename them as you like, each once in the whole configuration")?;
    }
    match found {
        [] => {
            writeln!(
                out,
                "# unit {unit} answers, but nothing of it is known; `gridkeeper modbus read` shows its registers"
            )
        }
        [one] => {
            writeln!(out, "# unit {unit}: {}, {}", one.name, one.how_sure())?;
            paste(one, place, ids, out)
        }
        several => {
            writeln!(out, "# unit {unit} answers as any of these; compare with its label and keep one:")?;
            for one in several {
                writeln!(out, "#   {} ({}), {}", one.name, one.id, one.how_sure())?;
            }
            paste(&several[0], place, ids, out)
        }
    }
}

fn paste(found: &Found, place: &Place<'_>, ids: &mut Ids, out: &mut dyn Write) -> io::Result<()> {
    let (id, Place { connection, unit, .. }) = (ids.give(found, place), place);
    match found.kind {
        Kind::Meter => writeln!(
            out,
            "[[meter]]\nid = \"{id}\"\ndriver = \"modbus\"\nmodel = \"{}\"\nconnection = \"{connection}\"\nunit = {unit}\n",
            found.id
        ),
        Kind::Charger => writeln!(
            out,
            "[[charger]]\nid = \"{id}\"\ndriver = \"{}\"\nconnection = \"{connection}\"\nunit = {unit}\nmax_current_a = 16   # a guess: write what its cable and breaker are made for\n",
            found.id
        ),
    }
}

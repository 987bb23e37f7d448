//! The Modbus bus: one task owns the wire, every device on it asks through a handle.
//!
//! tokio-modbus does the framing. Around it stands what a load balancer needs and it does not give: a time limit for
//! each answer, the silence between frames, the check of length and echo, and above all that a late answer is never
//! taken for another request's. After any error but a proper refusal the link is dropped, drained and opened again;
//! what may still come from the unit is remembered in `stale`.

mod actor;
mod echo;
mod error;
mod operation;
mod queue;
mod rest;
mod slow;
mod stale;
mod stats;
mod supervise;
mod tap;
mod wire;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use error::{BusError, exception_name};
pub use operation::{MAX_READ_BITS, MAX_READ_REGISTERS, MAX_WRITE_REGISTERS, Operation, Priority, Reply};
pub use slow::SlowTurn;
pub use stats::Counters;

use crate::config::model::{Connection, Parity};
use queue::Waiting;
use slow::SlowTurns;
use stats::Stats;

/// Most requests that wait at the same time.
pub const QUEUE: usize = 64;

/// What a serial line has when the configuration does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialDefaults {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop: u8,
}

impl Default for SerialDefaults {
    /// 9600 8N1, what most chargers and meters ship with.
    fn default() -> Self {
        Self { baud: 9600, parity: Parity::None, stop: 1 }
    }
}

/// One bus.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// Where it is.
    pub connection: Connection,
    /// For what the connection leaves open.
    pub serial: SerialDefaults,
    /// Silence between two frames beyond what the standard asks for on a serial line (3.5 characters, 1.75 ms at
    /// least).
    pub gap: Duration,
    /// For opening the link.
    pub connect_timeout: Duration,
    /// First waiting time between two attempts to open the link.
    pub backoff_first: Duration,
    /// Longest one.
    pub backoff_max: Duration,
    /// What the answer to a read on a serial line is given beyond its time on the wire: twice the unit's slowest recent
    /// answer, but this at least …
    pub shortest_turn: Duration,
    /// … and this at most, and where the unit's habits are not known.
    pub longest_turn: Duration,
    /// A set-point may hurry the next attempt, but never more often than this.
    pub hurry: Duration,
    /// How long a request may wait for its turn, or two rounds of the bus where those take longer.
    pub patience: Duration,
    /// How long an answer that did not come in time is reckoned with.
    pub late_answers: Duration,
    /// A wire in memory, in place of the connection.
    #[cfg(test)]
    pub(crate) wire: Option<memory::Wire>,
}

impl BusConfig {
    /// The usual times for this connection.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        let gap = match &connection {
            // Transceivers that turn around slowly and boxes that miss a frame right behind their own are common.
            Connection::Serial(_) => Duration::from_millis(15),
            Connection::RtuOverTcp { .. } => Duration::from_millis(5),
            Connection::Tcp { .. } => Duration::ZERO,
        };
        Self {
            connection,
            serial: SerialDefaults::default(),
            gap,
            connect_timeout: Duration::from_secs(2),
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(30),
            shortest_turn: Duration::from_millis(100),
            longest_turn: Duration::from_millis(300),
            hurry: Duration::from_secs(1),
            patience: Duration::from_secs(3),
            late_answers: Duration::from_secs(10),
            #[cfg(test)]
            wire: None,
        }
    }
}

/// A handle on a bus; copies share it. The bus ends with its token, or when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Bus {
    requests: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    slow: SlowTurns,
    stats: SharedStats,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SharedStats(Arc<Mutex<Stats>>);

impl SharedStats {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Stats> {
        // Counters stay usable whatever happened to the thread that held them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Starts the task that owns the wire. It opens the link at once and keeps trying, and is started again if it fails.
    #[must_use]
    pub fn spawn(config: BusConfig, cancel: CancellationToken) -> Self {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let stats = SharedStats::default();
        tokio::spawn(supervise::run(config, receiver, stats.clone(), cancel));
        Self { requests, room: Arc::new(Semaphore::new(QUEUE)), slow: SlowTurns::default(), stats }
    }

    /// Asks a unit and waits for the checked answer.
    ///
    /// `limit` is the time from the first byte sent to the last byte of the answer. For reads on a serial line the bus
    /// shortens it to the time on the wire and the turn that `BusConfig` grants. A request whose turn does not come
    /// within the bus's patience is not sent. Dropping the future takes a request back that was not sent, and harms
    /// nothing when it was.
    pub async fn call(
        &self,
        unit: u8,
        operation: Operation,
        limit: Duration,
        priority: Priority,
    ) -> Result<Reply, BusError> {
        operation.validate(unit)?;
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.stats.lock().counters.refused += 1;
            return Err(BusError::QueueFull { asked: operation.of(unit), limit: QUEUE });
        };
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { unit, operation, limit, priority, queued: Instant::now(), reply, permit };
        self.requests.try_send(waiting).map_err(|_| BusError::Closed)?;
        answer.await.unwrap_or(Err(BusError::Closed))
    }

    /// The right of a unit to ask for something that nobody waits for; `None` where it is not its turn. Those who ask for
    /// it when their round is done, and again after the next, leave four fifths of the line to what control waits for.
    #[must_use]
    pub fn slow_turn(&self, unit: u8) -> Option<SlowTurn> {
        self.slow.ask(unit)
    }

    /// Silence that this unit needs after each of its telegrams; others may be asked meanwhile.
    pub fn set_pause(&self, unit: u8, pause: Duration) {
        self.stats.lock().set_pause(unit, pause);
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.stats.lock().counters
    }

    /// Estimate of one round: the last durations of every poll of every unit that was asked within the last minute.
    #[must_use]
    pub fn round_time(&self) -> Duration {
        self.stats.lock().round(Instant::now())
    }
}

/// What makes two connections the same wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Serial(PathBuf),
    Tcp(String, u16),
    RtuOverTcp(String, u16),
}

impl Key {
    fn of(connection: &Connection) -> Self {
        match connection {
            Connection::Serial(line) => Self::Serial(line.path.clone()),
            Connection::Tcp { host, port } => Self::Tcp(host.to_ascii_lowercase(), *port),
            Connection::RtuOverTcp { host, port } => Self::RtuOverTcp(host.to_ascii_lowercase(), *port),
        }
    }
}

/// All buses: whatever names the same port gets the same one.
#[derive(Debug)]
pub struct Buses {
    cancel: CancellationToken,
    buses: Mutex<HashMap<Key, Bus>>,
}

impl Buses {
    /// None yet. They all end with the token.
    #[must_use]
    pub fn new(cancel: CancellationToken) -> Self {
        Self { cancel, buses: Mutex::new(HashMap::new()) }
    }

    /// The bus of this connection, started when it is the first to ask. Parameters of a serial line are those of the
    /// first: that they agree is checked with the configuration, which also fills in what only one device says.
    pub fn get(&self, config: BusConfig) -> Bus {
        let mut buses = self.buses.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::of(&config.connection);
        buses.entry(key).or_insert_with(|| Bus::spawn(config, self.cancel.child_token())).clone()
    }
}

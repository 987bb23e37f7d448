//! What the charger task asks of a kind of charger, and what a driver asks of its line.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::command::ChargerAction;
use crate::device::charger::register::RegisterError;
use crate::link::modbus::{Bus, BusError, Operation, Priority, Reply};
use crate::quantity::Milliamp;
use crate::reading::{ChargerReport, Watchdog};
use crate::status::Identity;

/// Time for an answer. A serial bus shortens it to what its speed and the unit's habits call for.
const LIMIT: Duration = Duration::from_millis(500);

/// One kind of charger. Calls may be dropped at any await; a set-point may be written while another call is under way.
pub(super) trait ChargerDriver: Send + Sync {
    /// Set-point, state and what else changes, in one read. `first`: only what is needed to know the present offer.
    fn poll(&self, first: bool) -> impl Future<Output = Result<Seen, DriverError>> + Send;

    /// Writes the set-point: 0, or 6 A and up, a multiple of `step`.
    fn write_set_point(
        &self,
        offer: Milliamp,
        priority: Priority,
    ) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// The charger is silent and may hear us all the same: the next set-point is sent without asking it anything before,
    /// as what was known of it last has it.
    fn unheard(&self) {}

    /// Resolution of the set-point as far as it is known now.
    fn step(&self) -> Milliamp;

    /// Does the next due thing that is neither poll nor set-point, if there is any.
    fn chore(&self, wishes: Wishes) -> impl Future<Output = Chore> + Send;

    /// Does something once.
    fn act(&self, action: ChargerAction) -> impl Future<Output = Result<(), DriverError>> + Send;

    /// The charger may have restarted or been exchanged: nothing known of it holds any more.
    fn forget(&self);

    /// Estimated time of one round of its bus.
    fn round(&self) -> Duration;

    /// Times that the link was opened again, and bytes thrown away on it.
    fn link(&self) -> (u64, u64);
}

/// The answer to a poll; the times in the report are the task's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) report: ChargerReport,
    /// What is not told because of what it holds, or because it is refused.
    pub(super) complaints: Vec<Complaint>,
}

/// Why something is missing in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Complaint {
    /// A register holds what the manual does not allow.
    #[error(transparent)]
    Value(#[from] RegisterError),
    /// Registers that are refused.
    #[error("registers {first} to {last} are refused, so {what} cannot be told")]
    Refused {
        /// The first of them.
        first: u16,
        /// The last of the map.
        last: u16,
        /// What they hold, in the plural.
        what: &'static str,
    },
}

/// What is wanted of a charger beside its set-point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Its own fail-safe timer.
    pub(super) watchdog: Option<Watchdog>,
    /// Number of phases to use.
    pub(super) phases: Option<u8>,
    /// Which of its own when it is one, 0 for its first.
    pub(super) line: Option<u8>,
    /// Authorise a session that waits for it.
    pub(super) authorize: bool,
    /// Take the car off the supply.
    pub(super) open: bool,
}

/// What came of a chore.
#[derive(Debug)]
pub(super) struct Chore {
    pub(super) notices: Vec<Notice>,
    pub(super) result: Result<(), DriverError>,
}

/// What a chore found out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Notice {
    /// Who it says it is.
    Identity(Identity),
    /// A standing risk, or that it is none any more.
    Risk(Option<String>),
    /// The unit of the set-point register has changed: what was written there no longer means the same.
    RewriteSetPoint,
}

/// Why a charger did not give or take what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DriverError {
    /// No good answer.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// An answer that cannot be believed.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// This kind of charger cannot do it.
    #[error("{0}")]
    Impossible(&'static str),
    /// A set-point that no charger may be given.
    #[error("a set-point of {0} was not written, allowed is 0 or 6 A and up")]
    SetPoint(Milliamp),
}

impl DriverError {
    /// Whether the charger may have done what was asked although it did not confirm it.
    pub(super) fn may_have_been_obeyed(&self) -> bool {
        matches!(self, Self::Bus(error) if error.may_have_been_obeyed())
    }

    /// The charger is there and said no. What a gateway says of a unit that is not there (10, 11) is none.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Bus(error) if error.is_exception() && !error.is_of_gateway())
    }

    /// The charger has no such register or function, or not this value of it.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Bus(BusError::Exception { code: 1..=3, .. }))
    }

    /// It answered, though not as it should: that is no silence.
    pub(super) fn is_answer(&self) -> bool {
        self.is_refusal() || matches!(self, Self::Register(_))
    }

    /// The charger was not asked: its bus had no time, or something newer to send.
    pub(super) fn was_not_asked(&self) -> bool {
        matches!(self, Self::Bus(error) if error.is_crowding())
    }

    /// Nothing, or nothing complete, came back.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Bus(BusError::Timeout { .. }))
    }
}

/// A way to one charger.
pub(super) trait Line: Send + Sync {
    /// Asks and waits for the checked answer.
    fn call(
        &self,
        operation: Operation,
        limit: Duration,
        priority: Priority,
    ) -> impl Future<Output = Result<Reply, BusError>> + Send;

    /// Silence that the charger needs after each telegram.
    fn set_pause(&self, pause: Duration);

    /// As [`ChargerDriver::round`].
    fn round(&self) -> Duration;

    /// As [`ChargerDriver::link`].
    fn link(&self) -> (u64, u64);
}

/// A unit on a bus.
#[derive(Debug)]
pub(super) struct BusLine {
    pub(super) bus: Bus,
    pub(super) unit: u8,
}

impl Line for BusLine {
    async fn call(&self, operation: Operation, limit: Duration, priority: Priority) -> Result<Reply, BusError> {
        self.bus.call(self.unit, operation, limit, priority).await
    }

    fn set_pause(&self, pause: Duration) {
        self.bus.set_pause(self.unit, pause);
    }

    fn round(&self) -> Duration {
        self.bus.round_time()
    }

    fn link(&self) -> (u64, u64) {
        let counters = self.bus.counters();
        (counters.reconnects, counters.discarded_bytes)
    }
}

/// Registers of one charger whose manual does not say which functions it takes. Reads are tried as holding registers,
/// then as input registers, until one kind has answered; writes as function 6, then as 16. Function 6 comes first
/// because its echo repeats the value, so that a confirmation can never be that of another write.
#[derive(Debug)]
pub(super) struct Registers<L> {
    line: L,
    proven: AtomicBool,
    input: AtomicBool,
    multiple: AtomicBool,
}

impl<L: Line> Registers<L> {
    pub(super) fn new(line: L) -> Self {
        let no = || AtomicBool::new(false);
        Self { line, proven: no(), input: no(), multiple: no() }
    }

    pub(super) fn line(&self) -> &L {
        &self.line
    }

    /// As many words as were asked for.
    pub(super) async fn read(&self, address: u16, count: u16, priority: Priority) -> Result<Vec<u16>, BusError> {
        let input = self.input.load(Ordering::Relaxed);
        let answer = self.read_as(input, address, count, priority).await;
        let answer = match answer {
            Err(BusError::Exception { code: 1 | 2, .. }) if !self.proven.load(Ordering::Relaxed) => {
                match self.read_as(!input, address, count, priority).await {
                    Ok(words) => {
                        self.input.store(!input, Ordering::Relaxed);
                        Ok(words)
                    }
                    Err(_) => answer,
                }
            }
            answer => answer,
        };
        if answer.is_ok() {
            self.proven.store(true, Ordering::Relaxed);
        }
        answer
    }

    async fn read_as(&self, input: bool, address: u16, count: u16, priority: Priority) -> Result<Vec<u16>, BusError> {
        let operation =
            if input { Operation::ReadInput { address, count } } else { Operation::ReadHolding { address, count } };
        let expected = usize::from(count);
        match self.line.call(operation, LIMIT, priority).await? {
            Reply::Registers(words) if words.len() == expected => Ok(words),
            reply => {
                let got = if let Reply::Registers(words) = &reply { words.len() } else { 0 };
                let asked = format!("read of {count} registers from {address}");
                Err(BusError::WrongCount { asked, expected, got })
            }
        }
    }

    pub(super) async fn write(&self, address: u16, value: u16, priority: Priority) -> Result<(), BusError> {
        if !self.multiple.load(Ordering::Relaxed) {
            let single = self.line.call(Operation::WriteSingle { address, value }, LIMIT, priority).await;
            if !matches!(single, Err(BusError::Exception { code: 1, .. })) {
                return single.map(|_| ());
            }
        }
        self.line.call(Operation::WriteMultiple { address, values: vec![value] }, LIMIT, priority).await?;
        self.multiple.store(true, Ordering::Relaxed);
        Ok(())
    }
}

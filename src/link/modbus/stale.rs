//! Answers that may still come: the guard against taking a late one for another request's.
//!
//! Serial Modbus has no number that ties an answer to its request, and a gateway can mix up those of Modbus TCP's. What
//! holds is the order: a unit answers one request after the other. So every request that went unanswered is kept here
//! for a while, and the next request to that unit whose answer could not be told from one of theirs waits until another
//! read, whose answer *can* be told, has been answered: whatever was late has come before it. Only a set-point does not
//! wait: it goes out at once, its confirmation is not believed, and the read follows it.

use std::time::Duration;

use tokio::time::Instant;

use super::operation::{MAX_READ_BITS, MAX_READ_REGISTERS, Operation};

/// More than can time out within the life of an entry on the fastest bus that makes sense.
const MOST: usize = 128;

/// Unanswered requests of one unit, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    entries: Vec<(Operation, Instant)>,
}

/// What has to be done before a request may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: its answer is its own.
    Send,
    /// This read first.
    Ask(Operation),
    /// No read is left whose answer could be told from the late ones.
    Wait,
}

impl Stale {
    /// A request was sent and not answered as it should be.
    pub(crate) fn note(&mut self, operation: &Operation, now: Instant) {
        if self.entries.len() >= MOST {
            self.entries.remove(0);
        }
        self.entries.push((operation.clone(), now));
    }

    /// A request was answered that nothing late could have answered.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Forgets what is too old to come any more.
    pub(crate) fn expire(&mut self, now: Instant, life: Duration) {
        self.entries.retain(|(_, noted)| now.duration_since(*noted) < life);
    }

    /// Whether an exception to this function could be a late one.
    pub(crate) fn doubts_exception(&self, operation: &Operation) -> bool {
        self.entries.iter().any(|(late, _)| late.function() == operation.function())
    }

    /// Whether a good answer to this request could be a late one. A repeated write is doubted, too, and yet may be sent.
    pub(crate) fn doubts_answer(&self, operation: &Operation) -> bool {
        self.entries.iter().any(|(late, _)| late.mark() == operation.mark())
    }

    /// What to do before this request.
    pub(crate) fn before(&self, operation: &Operation) -> Before {
        if !self.doubts_answer(operation) || self.only_repeats(operation) {
            return Before::Send;
        }
        self.guards(operation).into_iter().find(|guard| !self.doubts_answer(guard)).map_or(Before::Wait, Before::Ask)
    }

    /// A repeated write needs no guard, whichever of its confirmations comes, as long as no other write to the unit was
    /// sent after the first of them: then the last thing the unit did is the same.
    fn only_repeats(&self, operation: &Operation) -> bool {
        if !operation.is_write() {
            return false;
        }
        let writes = || self.entries.iter().map(|(late, _)| late).filter(|late| late.is_write());
        let same_mark = || writes().filter(|late| late.mark() == operation.mark());
        same_mark().all(|late| late == operation)
            && writes().skip_while(|late| *late != operation).all(|late| late == operation)
    }

    /// Reads near the request itself, nearest first: a shorter one of the same block, a longer one, then the other kind
    /// of register, where even a refusal is an answer that can be told.
    fn guards(&self, operation: &Operation) -> Vec<Operation> {
        let address = operation.address();
        let (same, other): (Read, Read) = match operation {
            Operation::ReadCoils { .. } | Operation::WriteCoil { .. } | Operation::PulseCoil { .. } => {
                (coils, discrete)
            }
            Operation::ReadDiscrete { .. } => (discrete, coils),
            Operation::ReadInput { .. } => (input, holding),
            Operation::ReadHolding { .. } | Operation::WriteSingle { .. } | Operation::WriteMultiple { .. } => {
                (holding, input)
            }
        };
        let (step, most) = if operation.is_bits() { (8, MAX_READ_BITS) } else { (1, MAX_READ_REGISTERS) };
        let room = u32::from(most).min(0x1_0000 - u32::from(address));
        let count = if operation.is_write() { 0 } else { u32::try_from(operation.count()).unwrap_or(0) };
        let shorter = (1..=8).filter_map(|by| count.checked_sub(by * step)).filter(|count| *count > 0);
        let longer = (1..=8).map(|by| count + by * step).filter(|count| *count <= room);
        let near: Vec<u16> = shorter.chain(longer).filter_map(|count| u16::try_from(count).ok()).collect();
        // A refusal of the same function could be a late one, so these come before only while they are believable.
        let mut guards: Vec<Operation> = near.iter().map(|count| same(address, *count)).collect();
        let few =
            (1..=8).map(|by| by * step).filter(|count| *count <= room).filter_map(|count| u16::try_from(count).ok());
        let refused_here =
            self.entries.iter().filter(|(late, _)| late.function() == same(address, 1).function()).count();
        let others = few.map(|count| other(address, count));
        if refused_here > 2 {
            // The same function does not get through: try the other kind first.
            let mut turned: Vec<Operation> = others.collect();
            turned.append(&mut guards);
            return turned;
        }
        guards.extend(others);
        guards
    }
}

/// A read by first address and count.
type Read = fn(u16, u16) -> Operation;

fn coils(address: u16, count: u16) -> Operation {
    Operation::ReadCoils { address, count }
}

fn discrete(address: u16, count: u16) -> Operation {
    Operation::ReadDiscrete { address, count }
}

fn holding(address: u16, count: u16) -> Operation {
    Operation::ReadHolding { address, count }
}

fn input(address: u16, count: u16) -> Operation {
    Operation::ReadInput { address, count }
}

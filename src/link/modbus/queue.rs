//! Who is next: reductions before set-points before polls, older before newer, of polls the unit whose last one is longest
//! ago, and never two writes to the same registers in another order than they came.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::error::BusError;
use super::operation::{Operation, Priority, Reply};

pub(crate) type Answer = Result<Reply, BusError>;

/// A request with all that is needed to answer it.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) unit: u8,
    pub(crate) operation: Operation,
    pub(crate) limit: Duration,
    pub(crate) priority: Priority,
    pub(crate) queued: Instant,
    pub(crate) reply: oneshot::Sender<Answer>,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Waiting {
    pub(crate) fn answer(self, answer: Answer) {
        // Nobody may be waiting any more; what was learnt is in the counters.
        let _ = self.reply.send(answer);
        drop(self.permit);
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// What a unit's past says of its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// From when on the request may be sent.
    pub(crate) free_at: Instant,
    /// When its last poll was over.
    pub(crate) polled: Option<Instant>,
}

/// What the queue has to say.
#[derive(Debug)]
pub(crate) enum Next {
    /// This one, now.
    Now(Box<Waiting>),
    /// Nobody before then, unless something new comes.
    Later(Instant),
    /// Nobody.
    Empty,
}

/// Requests in the order in which they came. Its size is bounded by the permits they hold.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Vec<Waiting>,
}

impl Queue {
    /// Takes a request in. A set-point for exactly the registers of an older set-point that has not been sent takes
    /// its place; returns how many it replaced.
    pub(crate) fn push(&mut self, request: Waiting) -> u64 {
        let mut replaced = 0;
        if request.priority.is_safety() && request.operation.is_write() {
            let older = |old: &mut Waiting| {
                old.priority.is_safety()
                    && old.unit == request.unit
                    && old.priority >= request.priority
                    && old.operation.writes_same(&request.operation)
            };
            for old in self.waiting.extract_if(.., older) {
                let asked = old.operation.of(old.unit);
                old.answer(Err(BusError::Superseded { asked }));
                replaced += 1;
            }
        }
        self.waiting.push(request);
        replaced
    }

    /// Puts a request back at its place: it was the oldest of its kind.
    pub(crate) fn put_back(&mut self, request: Waiting) {
        self.waiting.insert(0, request);
    }

    /// Drops requests that nobody waits for and answers those that have waited for `patience`; returns how many of the
    /// latter.
    pub(crate) fn expire(&mut self, now: Instant, patience: Duration) -> u64 {
        self.waiting.retain(|request| !request.abandoned());
        let mut expired = 0;
        for request in self.waiting.extract_if(.., |request| request.queued + patience <= now) {
            let asked = request.operation.of(request.unit);
            let waited = now.duration_since(request.queued);
            request.answer(Err(BusError::Expired { asked, waited }));
            expired += 1;
        }
        expired
    }

    /// When the next request's time is over.
    pub(crate) fn next_expiry(&self, patience: Duration) -> Option<Instant> {
        self.waiting.iter().map(|request| request.queued + patience).min()
    }

    /// Answers all with the same error; returns how many.
    pub(crate) fn fail_all(&mut self, error: &BusError) -> u64 {
        let mut failed = 0;
        for request in self.waiting.drain(..) {
            request.answer(Err(error.clone()));
            failed += 1;
        }
        failed
    }

    /// The first by priority and age whose unit may be asked now. On a bus that is never idle a slow one would never have
    /// its turn: when it has waited for `ages` it counts as a poll.
    ///
    /// Of polls the one whose unit's last is longest ago: units whose rounds begin together would else change places
    /// after each slow request, and who falls from the first place to the last waits for nearly two rounds.
    pub(crate) fn next(&mut self, now: Instant, ages: Duration, turn: impl Fn(&Waiting) -> Turn) -> Next {
        let rank = |request: &Waiting, polled: Option<Instant>| match request.priority {
            Priority::Slow if request.queued + ages <= now => (Priority::Poll, polled),
            Priority::Poll => (Priority::Poll, polled),
            priority => (priority, None),
        };
        let mut soonest: Option<Instant> = None;
        let mut best: Option<((Priority, Option<Instant>), usize)> = None;
        for (index, request) in self.waiting.iter().enumerate() {
            let Turn { free_at, polled } = turn(request);
            let rank = rank(request, polled);
            if free_at > now {
                soonest = Some(soonest.map_or(free_at, |soonest| soonest.min(free_at)));
            } else if best.is_none_or(|(best, _)| rank < best) {
                best = Some((rank, index));
            }
        }
        match (best, soonest) {
            (Some((_, best)), _) => Next::Now(Box::new(self.waiting.remove(self.first_write(best)))),
            (None, Some(soonest)) => Next::Later(soonest),
            (None, None) => Next::Empty,
        }
    }

    /// An older write that shares a register goes first, whatever its priority.
    fn first_write(&self, chosen: usize) -> usize {
        let mut first = chosen;
        loop {
            let request = &self.waiting[first];
            let shares = |old: &Waiting| old.unit == request.unit && old.operation.writes_overlap(&request.operation);
            match self.waiting[..first].iter().position(shares) {
                Some(older) => first = older,
                None => return first,
            }
        }
    }
}

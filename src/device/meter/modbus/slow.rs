//! Whose turn it is among the requests that need not come in every round.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::model::Model;

/// Between two reads of the same counters.
const EVERY: Duration = Duration::from_secs(10);
/// A slow request that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// Between two looks at a register that decides about signs: somebody may be setting it.
const LOOK: Duration = Duration::from_secs(30);
/// Attempts to read what the device says about itself.
const ATTEMPTS: u32 = 3;

/// A slow request, by its place in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// A poll, again and again.
    Poll(usize),
    /// A detail, until it was read once.
    Detail(usize),
    /// A register that decides about signs and sizes, for as long as the meter is there.
    Mode(usize),
}

#[derive(Debug)]
struct Entry {
    job: Job,
    due: Instant,
    attempts: u32,
}

/// All slow requests of a meter.
#[derive(Debug)]
pub(super) struct Slow {
    entries: Vec<Entry>,
}

impl Slow {
    pub(super) fn new(model: &Model, now: Instant) -> Self {
        let polls = model.polls.iter().enumerate().filter(|(_, poll)| !poll.fast).map(|(index, _)| Job::Poll(index));
        let details = (0..model.details.len()).map(Job::Detail);
        let at_once = polls.chain(details).map(|job| Entry { job, due: now, attempts: 0 });
        // These were asked before anything else; one that was refused then is asked again soon.
        let modes = (0..model.modes.len()).map(|index| Entry { job: Job::Mode(index), due: now + AGAIN, attempts: 0 });
        Self { entries: at_once.chain(modes).collect() }
    }

    /// The one that has waited longest, as far as any is due.
    pub(super) fn next(&self, now: Instant) -> Option<Job> {
        self.entries.iter().filter(|it| it.due <= now).min_by_key(|it| it.due).map(|it| it.job)
    }

    /// What it said waits to be borne out: it is asked again as soon as the others have had their turn.
    pub(super) fn again(&mut self, job: Job, now: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|it| it.job == job) {
            entry.due = now;
        }
    }

    pub(super) fn done(&mut self, job: Job, good: bool, now: Instant) {
        let Some(place) = self.entries.iter().position(|it| it.job == job) else { return };
        let entry = &mut self.entries[place];
        entry.attempts += 1;
        entry.due = now
            + match job {
                _ if !good => AGAIN,
                Job::Mode(_) => LOOK,
                Job::Poll(_) | Job::Detail(_) => EVERY,
            };
        if matches!(job, Job::Detail(_)) && (good || entry.attempts >= ATTEMPTS) {
            self.entries.remove(place);
        }
    }
}

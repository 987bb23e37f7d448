//! Whose turn it is among the requests that need not come in every round.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::model::Model;

/// Between two reads of the same counters.
const EVERY: Duration = Duration::from_secs(10);
/// A slow request that failed is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);
/// Attempts to read what the device says about itself.
const ATTEMPTS: u32 = 3;

/// A slow request, by its place in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// A poll, again and again.
    Poll(usize),
    /// A detail, until it was read once.
    Detail(usize),
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
        Self { entries: polls.chain(details).map(|job| Entry { job, due: now, attempts: 0 }).collect() }
    }

    /// The one that has waited longest, as far as any is due.
    pub(super) fn next(&self, now: Instant) -> Option<Job> {
        self.entries.iter().filter(|it| it.due <= now).min_by_key(|it| it.due).map(|it| it.job)
    }

    pub(super) fn done(&mut self, job: Job, good: bool, now: Instant) {
        let Some(place) = self.entries.iter().position(|it| it.job == job) else { return };
        let entry = &mut self.entries[place];
        entry.attempts += 1;
        entry.due = now + if good { EVERY } else { AGAIN };
        if matches!(job, Job::Detail(_)) && (good || entry.attempts >= ATTEMPTS) {
            self.entries.remove(place);
        }
    }
}

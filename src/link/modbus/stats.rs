//! What a bus has done so far, for the page, for the state of devices and for the time-outs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::operation::{Operation, Priority};

/// Answers whose slowest counts as recent.
const RECENT: usize = 16;
/// Different reads of one unit that are remembered for the round.
const READS: usize = 16;
/// A unit that was not asked for so long is no part of a round any more.
const ACTIVE: Duration = Duration::from_secs(60);

/// Counted since the bus was opened, never reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent, the guard's own included.
    pub requests: u64,
    /// Good answers.
    pub answers: u64,
    /// Proper refusals.
    pub exceptions: u64,
    /// No complete answer in time.
    pub timeouts: u64,
    /// Wrong unit, function, length, echo or transaction; no Modbus frame; cut off; doubtful.
    pub bad_answers: u64,
    /// Reads sent only to be rid of a late answer.
    pub guard_reads: u64,
    /// Times that the link was opened again.
    pub reconnects: u64,
    /// Attempts to open it that failed.
    pub failed_opens: u64,
    /// Bytes thrown away: before, behind or instead of a frame.
    pub discarded_bytes: u64,
    /// Requests that were not sent because their time was over.
    pub expired: u64,
    /// Writes that were not sent because a newer one took their place.
    pub superseded: u64,
    /// Requests refused because the queue was full.
    pub refused: u64,
    /// Requests answered with "not connected".
    pub unconnected: u64,
}

#[derive(Debug, Default)]
struct Unit {
    /// It gave no good answer since the last one.
    failing: bool,
    /// Durations of the last answers: from the request's end to the answer's begin as far as the transfer time of a
    /// serial line is known, else from the first byte to the last.
    recent: VecDeque<Duration>,
    polls: Vec<(Mark, Duration)>,
    asked: Option<Instant>,
    polled: Option<Instant>,
    pause: Duration,
    free: Option<Instant>,
}

type Mark = (u8, u16, usize);

/// Everything that is shared between the bus task and the handles.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) counters: Counters,
    units: BTreeMap<u8, Unit>,
}

impl Stats {
    /// Sum of the last poll durations over the units that are asked at present.
    pub(crate) fn round(&self, now: Instant) -> Duration {
        let active = |unit: &&Unit| unit.asked.is_some_and(|asked| now.duration_since(asked) < ACTIVE);
        self.units.values().filter(active).flat_map(|unit| &unit.polls).map(|(_, took)| *took).sum()
    }

    pub(crate) fn set_pause(&mut self, unit: u8, pause: Duration) {
        self.units.entry(unit).or_default().pause = pause;
    }

    /// From when on the unit may be asked again.
    pub(crate) fn free_at(&self, unit: u8, now: Instant) -> Instant {
        self.units.get(&unit).and_then(|unit| unit.free).unwrap_or(now)
    }

    /// When the unit's last poll ended, in whatever way.
    pub(crate) fn polled(&self, unit: u8) -> Option<Instant> {
        self.units.get(&unit).and_then(|unit| unit.polled)
    }

    /// Slowest recent answer of a unit that answers at present.
    pub(crate) fn slowest_if_well(&self, unit: u8) -> Option<Duration> {
        let unit = self.units.get(&unit)?;
        if unit.failing { None } else { unit.recent.iter().max().copied() }
    }

    /// Units other than this one that were asked within this time.
    pub(crate) fn others_within(&self, unit: u8, time: Duration, now: Instant) -> impl Iterator<Item = u8> {
        let recent = move |state: &Unit| state.asked.is_some_and(|asked| now.duration_since(asked) < time);
        self.units.iter().filter(move |(other, state)| **other != unit && recent(state)).map(|(other, _)| *other)
    }

    /// An answer, good or a refusal: `turned` is its time without that on the wire.
    pub(crate) fn answered(&mut self, unit: u8, turned: Duration) {
        let state = self.units.entry(unit).or_default();
        if state.recent.len() == RECENT {
            state.recent.pop_front();
        }
        state.recent.push_back(turned);
        state.failing = false;
    }

    pub(crate) fn failed(&mut self, unit: u8) {
        self.units.entry(unit).or_default().failing = true;
    }

    /// The exchange is over, however it ended: `took` with all the waiting that it caused.
    pub(crate) fn finished(
        &mut self,
        unit: u8,
        operation: &Operation,
        priority: Priority,
        took: Duration,
        now: Instant,
    ) {
        let state = self.units.entry(unit).or_default();
        state.asked = Some(now);
        state.free = (!state.pause.is_zero()).then(|| now + state.pause);
        if priority == Priority::Poll {
            state.polled = Some(now);
            let mark = (operation.function(), operation.address(), operation.count());
            if let Some(known) = state.polls.iter_mut().find(|(known, _)| *known == mark) {
                known.1 = took;
            } else {
                if state.polls.len() == READS {
                    state.polls.remove(0);
                }
                state.polls.push((mark, took));
            }
        }
    }
}

//! Units that do not answer are asked once per round, and for no more than about a fifth of the wire's time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::operation::Priority;

/// From the second silence on, a rest lasts this many times what it has cost …
const SHARE: u32 = 4;
/// … but never longer than this.
const LONGEST_SHARE: Duration = Duration::from_millis(1500);
/// The others' turns are waited for no longer than one round, and never longer than this.
const LONGEST_ROUND: Duration = Duration::from_millis(2500);

#[derive(Debug)]
struct Rest {
    failures: u32,
    not_before: Instant,
    others: BTreeSet<u8>,
    at_last: Instant,
}

/// Who rests, and until when.
#[derive(Debug, Default)]
pub(crate) struct Rests {
    units: BTreeMap<u8, Rest>,
}

impl Rests {
    /// A unit did not answer; it cost the wire so much. `others` are the units that are asked at present, and `round` is
    /// how long that takes.
    pub(crate) fn timed_out(&mut self, unit: u8, cost: Duration, others: BTreeSet<u8>, round: Duration, now: Instant) {
        let failures = self.units.get(&unit).map_or(0, |rest| rest.failures).saturating_add(1);
        // Units that do not answer themselves are no reason to wait.
        let others: BTreeSet<u8> = others.into_iter().filter(|other| !self.units.contains_key(other)).collect();
        let share = (cost * SHARE).min(LONGEST_SHARE);
        let (not_before, at_last) = if others.is_empty() {
            (now, now)
        } else {
            let not_before = if failures > 1 { now + share } else { now };
            (not_before, now + share.max(round.min(LONGEST_ROUND)))
        };
        self.units.insert(unit, Rest { failures, not_before, others, at_last });
    }

    /// A unit was asked: the others' round goes on.
    pub(crate) fn asked(&mut self, unit: u8) {
        for rest in self.units.values_mut() {
            rest.others.remove(&unit);
        }
    }

    /// A unit answered.
    pub(crate) fn answered(&mut self, unit: u8) {
        self.units.remove(&unit);
    }

    /// From when on this unit may be asked. A set-point does not wait after a first failure, which may have been noise.
    pub(crate) fn free_at(&self, unit: u8, priority: Priority, now: Instant) -> Instant {
        match self.units.get(&unit) {
            None => now,
            Some(rest) if rest.failures < 2 && priority.is_safety() => now,
            Some(rest) if rest.others.is_empty() => rest.not_before,
            Some(rest) => rest.at_last,
        }
    }
}

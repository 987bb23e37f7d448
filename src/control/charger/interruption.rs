//! Cars give up after a handful of interruptions: what is charged in short runs is paid for with them.

use super::Charger;
use crate::quantity::{Milliamp, Mono, Span};

/// After a run that ended too soon for want of room the next start waits so long, twice as long after each further one,
/// and at most so long.
const SPARED: (Span, Span) = (Span::from_secs(20), Span::from_secs(180));
/// Interruptions that every car puts up with, and one more for each half hour that it is plugged in. From the next one on a
/// car that was stopped before its turn was over waits for the longest time above, then for twice as long after each …
const HANDFUL: i64 = 5;
const REGAINED: Span = Span::from_secs(1_800);
/// … and at most so long.
const LONGEST: Span = Span::from_secs(1_800);

impl Charger {
    /// It was stopped for want of room. A run that was over before `min_on` was not worth an interruption; one that
    /// lasted for a `turn` was.
    pub(in crate::control) fn displaced(&mut self, now: Mono, min_on: Span, turn: Span) {
        // A start that was taken back before the car drew has interrupted nothing.
        let Some(ran_for) = self.ran_for.take() else { return };
        let runs = &mut self.session.short_runs;
        *runs = if ran_for < min_on { runs.saturating_add(1) } else { *runs / 2 };
        let plugged_for = self.session.start.map_or(Span::ZERO, |start| now.since(start));
        let budget = HANDFUL + plugged_for.0 / REGAINED.0;
        let spent = u16::try_from(i64::from(self.session.interruptions) - budget).unwrap_or(0);
        let pause = pause(*runs, if ran_for < turn { spent } else { 0 });
        self.rests_until = (pause > Span::ZERO).then_some(now + pause);
    }

    /// The owner wants something else of it.
    pub(in crate::control) fn rest_is_over(&mut self) {
        self.rests_until = None;
    }

    /// How much longer its next start waits.
    pub(in crate::control) fn spared_for(&self, now: Mono) -> Option<Span> {
        let until = self.rests_until.filter(|until| self.order == Milliamp::ZERO && now < *until)?;
        Some(until.since(now))
    }
}

/// The wait after `short` runs that were not worth it, by a car that has `spent` its interruptions so many times over.
fn pause(short: u8, spent: u16) -> Span {
    let doubled = |first: Span, times: u16| Span(first.0 << times.min(8));
    let by_runs = u16::from(short).checked_sub(1).map_or(Span::ZERO, |times| doubled(SPARED.0, times).min(SPARED.1));
    let by_count = spent.checked_sub(1).map_or(Span::ZERO, |times| doubled(SPARED.1, times).min(LONGEST));
    by_runs.max(by_count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_and_a_handful_of_interruptions_make_the_next_start_later() {
        let waits = |short, spent| pause(short, spent).0 / 1_000;
        assert_eq!([0, 1, 2, 3, 4, 5, 200].map(|short| waits(short, 0)), [0, 20, 40, 80, 160, 180, 180]);
        assert_eq!([1, 2, 3, 4, 5, 6, u16::MAX].map(|spent| waits(1, spent)), [180, 360, 720, 1440, 1800, 1800, 1800]);
    }
}

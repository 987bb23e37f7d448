//! What a charger drew, and when: the house load at the meter's own sample time needs the cars' current at that time,
//! not at the time at which the frame arrived.

use crate::quantity::{Milliamp, Mono, Phase, Phases, Span};

/// Changes remembered; at one a second more than a minute, several times the age of the oldest frame that counts.
const DEPTH: usize = 64;

/// A current that lies somewhere between two figures, per grid phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Range {
    pub(super) least: Phases<Milliamp>,
    pub(super) most: Phases<Milliamp>,
}

impl Range {
    pub(super) fn exactly(current: Phases<Milliamp>) -> Self {
        Self { least: current, most: current }
    }

    /// All phases together, at least and at most.
    pub(super) fn together(&self) -> (Milliamp, Milliamp) {
        let sum = |phases: &Phases<Milliamp>| phases.iter().map(|(_, current)| *current).sum();
        (sum(&self.least), sum(&self.most))
    }

    pub(super) fn include(&mut self, other: &Self) {
        for phase in Phase::ALL {
            self.least[phase] = self.least[phase].min(other.least[phase]);
            self.most[phase] = self.most[phase].max(other.most[phase]);
        }
    }
}

/// What several chargers drew at one time. Pairs are the least and the most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drawn {
    pub(super) phases: Range,
    /// On a phase that may carry all of a total: one that nobody measures counts with one phase.
    pub(super) alone: (Milliamp, Milliamp),
    /// On all phases together.
    pub(super) together: (Milliamp, Milliamp),
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Mono,
    current: Range,
}

/// The last currents on the grid's phases, oldest forgotten first.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    ring: [Sample; DEPTH],
    next: usize,
    len: usize,
}

impl Default for Draws {
    fn default() -> Self {
        Self { ring: [Sample::default(); DEPTH], next: 0, len: 0 }
    }
}

impl Draws {
    /// Adds a current that holds from `at` on. Times must not run backwards.
    pub(super) fn push(&mut self, at: Mono, current: Phases<Milliamp>) {
        self.add(at, Range::exactly(current));
    }

    /// The same, unless it is what is known already.
    pub(super) fn push_changed(&mut self, at: Mono, current: Phases<Milliamp>) {
        if self.recent().next().is_none_or(|newest| newest.current != Range::exactly(current)) {
            self.push(at, current);
        }
    }

    /// From `at` on nobody knew: it may have gone at once, or gone on up to `figure`.
    pub(super) fn unknown(&mut self, at: Mono, figure: Milliamp) {
        let Some(newest) = self.recent().next() else { return };
        let most = newest.current.most.map(|current| current.min(figure));
        self.add(at.max(newest.at), Range { least: Phases::default(), most });
    }

    fn add(&mut self, at: Mono, current: Range) {
        self.ring[self.next] = Sample { at, current };
        self.next = (self.next + 1) % DEPTH;
        self.len = (self.len + 1).min(DEPTH);
    }

    /// Newest first.
    fn recent(&self) -> impl Iterator<Item = &Sample> {
        (1..=self.len).map(|back| &self.ring[(self.next + DEPTH - back) % DEPTH])
    }

    pub(super) fn latest(&self) -> Option<Phases<Milliamp>> {
        self.recent().next().map(|sample| sample.current.most)
    }

    pub(super) fn latest_at(&self) -> Option<Mono> {
        self.recent().next().map(|sample| sample.at)
    }

    /// All values that held at some time from `from` to `until`, both included: the newest at or before `from` holds
    /// there. `None` before the first.
    pub(super) fn within(&self, from: Mono, until: Mono) -> Option<Range> {
        let mut range: Option<Range> = None;
        for sample in self.recent() {
            if sample.at <= until {
                match &mut range {
                    Some(range) => range.include(&sample.current),
                    None => range = Some(sample.current),
                }
                if sample.at <= from {
                    break;
                }
            }
        }
        range.or_else(|| self.recent().last().map(|oldest| oldest.current))
    }

    /// The first value after `at`: it may have held at `at` already, when nobody looked in between.
    pub(super) fn next_after(&self, at: Mono) -> Option<Range> {
        self.recent().take_while(|sample| sample.at > at).last().map(|sample| sample.current)
    }

    /// The largest change of any phase within the last `span` before the newest value. A time of which nothing is known
    /// is no change: it gives nobody reason to think that the car is on its way to its offer.
    pub(super) fn movement(&self, span: Span) -> Milliamp {
        let Some(newest) = self.latest_at() else { return Milliamp::ZERO };
        let mut range: Option<Range> = None;
        for sample in self.recent() {
            let highest = Range::exactly(sample.current.most);
            match &mut range {
                Some(range) => range.include(&highest),
                None => range = Some(highest),
            }
            if sample.at <= newest - span {
                break;
            }
        }
        let range = range.unwrap_or_default();
        range.most.iter().map(|(phase, most)| *most - range.least[phase]).max().unwrap_or(Milliamp::ZERO)
    }

    pub(super) fn forget(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amps(value: i32) -> Phases<Milliamp> {
        Phases::all(Milliamp::from_amps(value))
    }

    #[test]
    fn the_value_that_held_at_the_time_is_found() {
        let mut draws = Draws::default();
        for second in 0..10 {
            draws.push(Mono(second * 1000), amps(second as i32));
        }
        let range = draws.within(Mono(3_500), Mono(4_700)).unwrap();
        assert_eq!((range.least, range.most), (amps(3), amps(4)));
        assert_eq!(draws.within(Mono(3_000), Mono(3_000)).unwrap(), Range::exactly(amps(3)));
        assert_eq!(draws.within(Mono(-5), Mono(-1)).unwrap(), Range::exactly(amps(0)), "older than all: the oldest");
        assert_eq!(Draws::default().within(Mono(0), Mono(1)), None);
    }

    #[test]
    fn a_time_of_which_nothing_is_known_is_a_range_and_no_movement() {
        let mut draws = Draws::default();
        draws.push(Mono(0), amps(9));
        draws.unknown(Mono(1_000), Milliamp::from_amps(32));
        draws.push(Mono(20_000), amps(9));
        let silent = draws.within(Mono(10_000), Mono(15_000)).unwrap();
        assert_eq!((silent.least, silent.most), (amps(0), amps(9)));
        assert_eq!(draws.movement(Span::from_secs(30)), Milliamp::ZERO);
        draws.unknown(Mono(21_000), Milliamp::from_amps(6));
        assert_eq!(draws.latest(), Some(amps(6)), "never more than it may be offering");
        assert_eq!(draws.next_after(Mono(500)).unwrap().least, amps(0));
        assert_eq!(draws.next_after(Mono(21_000)), None);
    }

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut draws = Draws::default();
        for second in 0..200 {
            draws.push(Mono(second * 1000), amps(second as i32));
        }
        assert_eq!(draws.latest(), Some(amps(199)));
        assert_eq!(draws.within(Mono(0), Mono(0)).unwrap().least, amps(200 - DEPTH as i32));
        assert_eq!(draws.movement(Span::from_secs(3)), Milliamp::from_amps(3));
    }
}

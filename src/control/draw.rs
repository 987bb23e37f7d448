//! What a charger drew, and when: the house load at the meter's own sample time needs the cars' current at that time,
//! not at the time at which the frame arrived.

use crate::quantity::{Milliamp, Mono, Phases, Span};

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

    fn include(&mut self, current: Phases<Milliamp>) {
        for (phase, value) in current.iter() {
            self.least[phase] = self.least[phase].min(*value);
            self.most[phase] = self.most[phase].max(*value);
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Mono,
    current: Phases<Milliamp>,
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
        self.ring[self.next] = Sample { at, current };
        self.next = (self.next + 1) % DEPTH;
        self.len = (self.len + 1).min(DEPTH);
    }

    /// Newest first.
    fn recent(&self) -> impl Iterator<Item = &Sample> {
        (1..=self.len).map(|back| &self.ring[(self.next + DEPTH - back) % DEPTH])
    }

    pub(super) fn latest(&self) -> Option<Phases<Milliamp>> {
        self.recent().next().map(|sample| sample.current)
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
                    Some(range) => range.include(sample.current),
                    None => range = Some(Range::exactly(sample.current)),
                }
                if sample.at <= from {
                    break;
                }
            }
        }
        range.or_else(|| self.recent().last().map(|oldest| Range::exactly(oldest.current)))
    }

    /// The largest change of any phase within the last `span` before the newest value.
    pub(super) fn movement(&self, span: Span) -> Milliamp {
        let Some(newest) = self.latest_at() else { return Milliamp::ZERO };
        let Some(range) = self.within(newest - span, newest) else { return Milliamp::ZERO };
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

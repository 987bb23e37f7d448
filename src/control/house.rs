//! The load behind a meter that is not cars: what the meter says less what the cars drew at the meter's own time.
//!
//! The cars' current at the sample time is known only as a range: a poll lags the pilot, a car ramps between two
//! polls. So the house load is a range too, and the estimate changes only as far as the evidence forces it. A car that
//! ramps is then no reason to cut, and a load that appears is one in the first frame that shows more than the ramp.

use crate::quantity::{Milliamp, Mono, Phase, Phases, Span};

use super::draw::Range;

/// Frames remembered for the raise rule.
const DEPTH: usize = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Past {
    sampled_at: Mono,
    load: Phases<Milliamp>,
}

/// The estimate of one circuit.
#[derive(Clone, Debug)]
pub(super) struct House {
    /// The frame that the estimate rests on: sample time and current per phase.
    frame: Option<(Mono, Phases<Milliamp>)>,
    /// The estimate before that frame.
    before: Option<Phases<Milliamp>>,
    load: Phases<Milliamp>,
    /// A doubtful frame since then says at least this.
    doubt: Phases<Milliamp>,
    past: [Past; DEPTH],
    next: usize,
    len: usize,
}

impl Default for House {
    fn default() -> Self {
        Self {
            frame: None,
            before: None,
            load: Phases::default(),
            doubt: Phases::all(Milliamp(i32::MIN)),
            past: [Past::default(); DEPTH],
            next: 0,
            len: 0,
        }
    }
}

impl House {
    /// A believed frame; follow with `estimate`.
    pub(super) fn frame(&mut self, sampled_at: Mono, current: Phases<Milliamp>) {
        self.before = self.frame.map(|_| self.load);
        self.frame = Some((sampled_at, current));
        self.doubt = Phases::all(Milliamp(i32::MIN));
        self.past[self.next] = Past { sampled_at, load: self.load };
        self.next = (self.next + 1) % DEPTH;
        self.len = (self.len + 1).min(DEPTH);
    }

    pub(super) fn sampled_at(&self) -> Option<Mono> {
        self.frame.map(|(at, _)| at)
    }

    /// The last believed current, cars included.
    pub(super) fn measured(&self) -> Option<Phases<Milliamp>> {
        self.frame.map(|(_, current)| current)
    }

    /// Takes the estimate anew from the last frame: the cars' draw at its time may have become known better since.
    pub(super) fn estimate(&mut self, cars: Range) {
        let Some((_, current)) = self.frame else { return };
        for phase in Phase::ALL {
            let least = current[phase] - cars.most[phase];
            let most = current[phase] - cars.least[phase];
            self.load[phase] = match self.before {
                Some(before) => before[phase].clamp(least, most),
                None => most,
            };
        }
        if self.len > 0 {
            self.past[(self.next + DEPTH - 1) % DEPTH].load = self.load;
        }
    }

    /// A doubtful frame: it may only raise the estimate, until the next believed one.
    pub(super) fn doubt(&mut self, current: Phases<Option<Milliamp>>, cars: Range) {
        for (phase, value) in current.iter() {
            if let Some(value) = value {
                self.doubt[phase] = self.doubt[phase].max(*value - cars.most[phase]);
            }
        }
    }

    /// Forgets the past: after a lost meter nothing of it counts.
    pub(super) fn forget(&mut self) {
        self.frame = None;
        self.before = None;
        self.len = 0;
        self.doubt = Phases::all(Milliamp(i32::MIN));
    }

    /// The load on which cuts rest; `None` before the first frame.
    pub(super) fn load(&self) -> Option<Phases<Milliamp>> {
        self.frame.map(|_| {
            let mut load = self.load;
            for phase in Phase::ALL {
                load[phase] = load[phase].max(self.doubt[phase]);
            }
            load
        })
    }

    /// The highest load of `phase` in the frames sampled within `span` before the newest, and in at least two; `None`
    /// while there are fewer.
    pub(super) fn peak(&self, phase: Phase, span: Span) -> Option<Milliamp> {
        if self.len < 2 {
            return None;
        }
        let newest = self.past[(self.next + DEPTH - 1) % DEPTH];
        let mut peak = newest.load[phase];
        for back in 2..=self.len {
            let past = &self.past[(self.next + DEPTH - back) % DEPTH];
            if back > 2 && newest.sampled_at.since(past.sampled_at) > span {
                break;
            }
            peak = peak.max(past.load[phase]);
        }
        Some(peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amps(value: i32) -> Phases<Milliamp> {
        Phases::all(Milliamp::from_amps(value))
    }

    fn range(least: i32, most: i32) -> Range {
        Range { least: amps(least), most: amps(most) }
    }

    #[test]
    fn a_ramping_car_does_not_look_like_load() {
        let mut house = House::default();
        house.frame(Mono(0), amps(3));
        house.estimate(range(0, 0));
        for second in 1..8 {
            let drawn = second as i32 * 2;
            house.frame(Mono(second * 1000), amps(3 + drawn));
            house.estimate(range(drawn - 2, drawn));
            assert_eq!(house.load(), Some(amps(3)));
        }
    }

    #[test]
    fn a_load_that_appears_while_a_car_ramps_is_seen_at_once() {
        let mut house = House::default();
        house.frame(Mono(0), amps(3));
        house.estimate(range(0, 0));
        house.frame(Mono(1000), amps(3 + 2 + 10));
        house.estimate(range(0, 2));
        assert_eq!(house.load(), Some(amps(13)));
        house.estimate(range(2, 2));
        assert_eq!(house.load(), Some(amps(13)), "refined by the poll that followed");
    }

    #[test]
    fn a_doubtful_frame_raises_the_estimate_and_is_forgotten_with_the_next_good_one() {
        let mut house = House::default();
        house.frame(Mono(0), amps(3));
        house.estimate(range(0, 0));
        house.doubt(amps(20).map(Some), range(0, 0));
        assert_eq!(house.load(), Some(amps(20)));
        house.doubt(amps(-20).map(Some), range(0, 0));
        assert_eq!(house.load(), Some(amps(20)));
        house.frame(Mono(1000), amps(4));
        house.estimate(range(0, 0));
        assert_eq!(house.load(), Some(amps(4)));
    }

    #[test]
    fn the_peak_covers_two_frames_at_least() {
        let mut house = House::default();
        for (second, load) in [(0, 9), (10, 7), (20, 3), (30, 5)] {
            house.frame(Mono(second * 1000), amps(load));
            house.estimate(range(0, 0));
        }
        let peak = |span| house.peak(Phase::L1, Span::from_secs(span)).map(|it| it.0 / 1000);
        assert_eq!(peak(0), Some(5));
        assert_eq!(peak(25), Some(7));
        assert_eq!(peak(100), Some(9));
        assert_eq!(House::default().peak(Phase::L1, Span::ZERO), None);
    }
}

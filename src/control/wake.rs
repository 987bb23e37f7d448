//! A car that has its offer and draws nothing: some begin only from 7 or 8 A (Renault Zoe, Twingo, Kangoo), some sleep
//! until the pilot was gone for a while (older Zoe, MG, Fiat 500e). Each is helped once in a session, then told.

use crate::quantity::{Milliamp, Mono, Span};

/// A car that does not draw at the least gets a little more after this time, and again after each such time. Cars need up
/// to half a minute to begin.
const MORE_AFTER: (Span, Span) = (Span::from_secs(40), Span::from_secs(25));
/// So much more each time, and at most so much.
const MORE: (Milliamp, Milliamp) = (Milliamp::from_amps(2), Milliamp::from_amps(4));
/// No draw so long after an offer: wake it, or tell that it does not start.
pub(super) const IDLE: Span = Span::from_secs(90);
/// The pilot is taken away for so long.
const AWAY: Span = Span::from_secs(20);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Asleep,
    /// The offer is 0 until then.
    Away { until: Mono },
    /// It was woken at that time.
    Woken { at: Mono },
    /// It was told that it does not start.
    Told,
}

/// What was done to wake the car of this session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WakeUp {
    stage: Stage,
}

impl WakeUp {
    /// Above the least after a while; `waited` is the time since the offer.
    pub(super) fn start_cap(least: Milliamp, waited: Span) -> Milliamp {
        let (first, then) = MORE_AFTER;
        let times = if waited < first { 0 } else { 1 + (waited.0 - first.0) / then.0 };
        let more = i32::try_from(times).unwrap_or(i32::MAX).saturating_mul(MORE.0.0);
        least + Milliamp(more).min(MORE.1)
    }

    /// Looks at a car that is plugged in. `idle_for`: it has had an offer for so long and draws nothing; `None`: it has
    /// none, it draws, or it ended by itself. `true` once, when it does not start although it was woken.
    pub(super) fn watch(&mut self, now: Mono, idle_for: Option<Span>) -> bool {
        match (self.stage, idle_for) {
            (Stage::Asleep, Some(idle)) if idle >= IDLE => self.press(now),
            (Stage::Away { until }, _) if now >= until => self.stage = Stage::Woken { at: now },
            (Stage::Woken { at }, Some(idle)) if idle >= IDLE && now.since(at) >= IDLE => {
                self.stage = Stage::Told;
                return true;
            }
            _ => {}
        }
        false
    }

    /// Takes the pilot away now, at a person's wish too.
    pub(super) fn press(&mut self, now: Mono) {
        self.stage = Stage::Away { until: now + AWAY };
    }

    /// It was told that it does not start.
    pub(super) fn is_told(&self) -> bool {
        self.stage == Stage::Told
    }

    /// Nothing may be offered now.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.stage, Stage::Away { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Mono {
        Mono(second * 1_000)
    }

    fn idle(seconds: i64) -> Option<Span> {
        Some(Span::from_secs(seconds))
    }

    #[test]
    fn a_car_that_needs_more_than_the_least_to_begin_gets_it() {
        let least = Milliamp::from_amps(6);
        let cap = |seconds| WakeUp::start_cap(least, Span::from_secs(seconds)).0 / 1000;
        assert_eq!([cap(0), cap(39), cap(40), cap(64), cap(65), cap(600)], [6, 6, 8, 8, 10, 10]);
    }

    #[test]
    fn woken_once_and_told_once() {
        let mut car = WakeUp::default();
        assert!(!car.watch(at(89), idle(89)));
        assert!(!car.is_away());
        assert!(!car.watch(at(90), idle(90)));
        assert!(car.is_away());
        assert!(!car.watch(at(109), None));
        assert!(car.is_away());
        assert!(!car.watch(at(110), None));
        assert!(!car.is_away());
        assert!(!car.watch(at(199), idle(89)));
        assert!(car.watch(at(200), idle(90)));
        assert!(!car.watch(at(300), idle(190)), "once");
        assert!(!car.is_away());
    }

    #[test]
    fn a_car_that_draws_is_left_alone() {
        let mut car = WakeUp::default();
        for second in 0..1_000 {
            assert!(!car.watch(at(second), None));
        }
        assert!(!car.is_away());
    }
}

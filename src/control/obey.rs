//! Does the charger keep what was written, and does the car keep to what is offered?

use crate::quantity::{Milliamp, Mono, Span};

use super::interface::Timing;

/// Tolerated above the offer before a car counts as not obeying: 1 A and 10 %, both.
pub(super) fn exceeds(drawn: Milliamp, offer: Milliamp) -> bool {
    drawn.0 > offer.0.saturating_add(1000) && i64::from(drawn.0) * 10 > i64::from(offer.0) * 11
}

/// Against an overload a second master is rewritten this often.
const CONTEST_EVERY: Span = Span::from_secs(5);

/// What a set-point read back above ours means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    /// The charger forgot its set-point: write again at once and verify its timer.
    Rebooted,
    /// Somebody else writes: told once. Ours was written less than a minute ago, so it waits like the next ones.
    SecondMaster,
    /// Still the second master; write again, a minute has passed.
    Again,
    /// Still the second master; wait.
    Wait,
}

/// Watches the set-point that is read back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReadBack {
    seen_at: Option<Mono>,
    rewritten_at: Option<Mono>,
    master: bool,
}

impl ReadBack {
    /// A set-point above ours, in a read begun after our write was confirmed.
    pub(super) fn above(&mut self, now: Mono, timing: &Timing) -> Foreign {
        let again = self.seen_at.is_some_and(|seen| now.since(seen) <= timing.second_master);
        self.seen_at = Some(now);
        if !again && !self.master {
            self.rewritten_at = Some(now);
            return Foreign::Rebooted;
        }
        if !std::mem::replace(&mut self.master, true) {
            return Foreign::SecondMaster;
        }
        if self.rewritten_at.is_none_or(|at| now.since(at) >= timing.second_master_rewrite) {
            self.rewritten_at = Some(now);
            return Foreign::Again;
        }
        Foreign::Wait
    }

    /// Whether ours may be written again now although the minute is not over: what it takes back is an overload.
    pub(super) fn contest(&mut self, now: Mono) -> bool {
        let due = self.master && self.rewritten_at.is_none_or(|at| now.since(at) >= CONTEST_EVERY);
        if due {
            self.rewritten_at = Some(now);
        }
        due
    }

    /// Somebody else writes set-points: ours only go down.
    pub(super) fn second_master(&self) -> bool {
        self.master
    }

    pub(super) fn tick(&mut self, now: Mono, timing: &Timing) {
        if self.master && self.seen_at.is_none_or(|seen| now.since(seen) >= timing.second_master_quiet) {
            self.master = false;
            self.seen_at = None;
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Trusted,
    /// Its offer was lowered by the excess.
    Lowered { at: Mono, cap: Milliamp },
    /// It is at 0 and opened.
    Stopped { at: Mono },
    /// At 0 until the car is unplugged or the owner releases it.
    Latched,
}

/// Watches the current that a car draws against its offer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Obedience {
    stage: Stage,
    above_since: Option<Mono>,
    obedient_since: Option<Mono>,
    offences: u8,
}

/// What is seen of a car at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Largest measured current of its phases.
    pub(super) drawn: Milliamp,
    /// Its offer.
    pub(super) offer: Milliamp,
    /// When that offer took effect; `None` while it has not.
    pub(super) effective_at: Option<Mono>,
    /// A circuit above it is over its limit.
    pub(super) overload: bool,
}

impl Obedience {
    /// Judges; `true` when the car has just been found not to obey.
    pub(super) fn watch(&mut self, now: Mono, sight: &Sight, timing: &Timing) -> bool {
        let above = exceeds(sight.drawn, sight.offer);
        if above {
            self.obedient_since = None;
            self.above_since.get_or_insert(now);
        } else {
            self.above_since = None;
            self.obedient_since.get_or_insert(now);
        }
        let above_for = match (self.above_since, sight.effective_at) {
            (Some(since), Some(effective)) => now.since(since.max(effective)),
            _ => Span::ZERO,
        };
        match self.stage {
            Stage::Trusted if above && above_for >= timing.not_obeying => {
                self.offences = self.offences.saturating_add(1);
                let lowered = sight.offer - (sight.drawn - sight.offer);
                self.stage = if self.offences > 1 {
                    Stage::Latched
                } else {
                    Stage::Lowered { at: now, cap: lowered.max(Milliamp::ZERO) }
                };
                return true;
            }
            Stage::Lowered { at, .. } => {
                let waited =
                    sight.effective_at.is_some_and(|effective| now.since(effective.max(at)) >= timing.not_obeying);
                if waited && (above || sight.overload) {
                    self.stage = Stage::Stopped { at: now };
                } else if self.obeys_for(now, timing.obedience) {
                    self.stage = Stage::Trusted;
                }
            }
            Stage::Stopped { at } if now.since(at) >= timing.obedience && self.obeys_for(now, timing.obedience) => {
                self.stage = Stage::Trusted;
            }
            _ => {}
        }
        false
    }

    fn obeys_for(&self, now: Mono, span: Span) -> bool {
        self.obedient_since.is_some_and(|since| now.since(since) >= span)
    }

    /// The ceiling that its disobedience leaves; `None` while it is trusted.
    pub(super) fn cap(&self) -> Option<Milliamp> {
        match self.stage {
            Stage::Trusted => None,
            Stage::Lowered { cap, .. } => Some(cap),
            Stage::Stopped { .. } | Stage::Latched => Some(Milliamp::ZERO),
        }
    }

    /// It is to be taken off the supply where the charger can.
    pub(super) fn open(&self) -> bool {
        matches!(self.stage, Stage::Stopped { .. } | Stage::Latched)
    }

    /// Unplugged: the next car is judged for itself.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    /// The owner's word: a car that stays at 0 until released may try again. What is being watched goes on, and so
    /// does the count: one that offends again is back at 0 at once.
    pub(super) fn pardon(&mut self) {
        if self.stage == Stage::Latched {
            self.stage = Stage::Trusted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: fn() -> Timing = Timing::default;

    fn at(second: i64) -> Mono {
        Mono(second * 1000)
    }

    fn sight(drawn: i32, offer: i32) -> Sight {
        Sight {
            drawn: Milliamp::from_amps(drawn),
            offer: Milliamp::from_amps(offer),
            effective_at: Some(Mono(0)),
            overload: false,
        }
    }

    #[test]
    fn once_is_a_reboot_twice_within_a_minute_a_second_master() {
        let mut back = ReadBack::default();
        assert_eq!(back.above(at(0), &TIMING()), Foreign::Rebooted);
        assert_eq!(back.above(at(61), &TIMING()), Foreign::Rebooted, "a minute later it is a reboot again");
        assert_eq!(back.above(at(100), &TIMING()), Foreign::SecondMaster);
        assert_eq!(back.above(at(101), &TIMING()), Foreign::Wait);
        assert_eq!(back.above(at(121), &TIMING()), Foreign::Again, "a minute after the last rewrite");
        assert_eq!(back.above(at(122), &TIMING()), Foreign::Wait);
        assert_eq!(back.above(at(181), &TIMING()), Foreign::Again);
        back.tick(at(780), &TIMING());
        assert!(back.second_master());
        back.tick(at(781), &TIMING());
        assert!(!back.second_master(), "forgotten after ten quiet minutes");
    }

    #[test]
    fn an_overload_does_not_wait_for_the_minute() {
        let mut back = ReadBack::default();
        assert!(!back.contest(at(0)), "nobody else writes");
        back.above(at(0), &TIMING());
        back.above(at(10), &TIMING());
        assert!(back.contest(at(11)));
        assert!(!back.contest(at(15)));
        assert!(back.contest(at(16)));
    }

    #[test]
    fn one_ampere_and_ten_percent_for_ten_seconds() {
        let mut car = Obedience::default();
        for second in 0..100 {
            assert!(!car.watch(at(second), &sight(11, 10), &TIMING()), "1 A above is tolerated");
            assert!(
                !car.watch(at(second), &Sight { drawn: Milliamp(33_500), ..sight(0, 32) }, &TIMING()),
                "under 10 %"
            );
        }
        for second in 100..110 {
            assert!(!car.watch(at(second), &sight(13, 10), &TIMING()));
            assert_eq!(car.cap(), None);
        }
        assert!(car.watch(at(110), &sight(13, 10), &TIMING()));
        assert_eq!(car.cap(), Some(Milliamp::from_amps(7)), "lowered by the excess");
        assert!(!car.open());
    }

    #[test]
    fn a_change_is_given_ten_seconds_from_when_it_took_effect() {
        let mut car = Obedience::default();
        for second in 0..25 {
            let effective_at = (second >= 10).then(|| at(10));
            let told = car.watch(at(second), &Sight { effective_at, ..sight(16, 6) }, &TIMING());
            assert_eq!(told, second == 20);
        }
    }

    fn caught() -> Obedience {
        let mut car = Obedience::default();
        for second in 0..=10 {
            car.watch(at(second), &sight(13, 10), &TIMING());
        }
        car
    }

    #[test]
    fn stopped_and_opened_when_it_does_not_follow_within_ten_seconds() {
        let mut car = caught();
        for second in 11..20 {
            car.watch(at(second), &Sight { effective_at: Some(at(11)), ..sight(13, 7) }, &TIMING());
            assert!(!car.open());
        }
        car.watch(at(21), &Sight { effective_at: Some(at(11)), ..sight(13, 7) }, &TIMING());
        assert!(car.open());
        assert_eq!(car.cap(), Some(Milliamp::ZERO));
    }

    #[test]
    fn stopped_when_an_overload_stands() {
        let mut car = caught();
        car.watch(at(21), &Sight { effective_at: Some(at(11)), overload: true, ..sight(7, 7) }, &TIMING());
        assert!(car.open());
    }

    #[test]
    fn sixty_seconds_of_obedience_and_the_second_time_it_stays_at_zero() {
        let mut car = caught();
        for second in 12..72 {
            car.watch(at(second), &Sight { effective_at: Some(at(11)), ..sight(7, 7) }, &TIMING());
            assert!(car.cap().is_some());
        }
        car.watch(at(72), &Sight { effective_at: Some(at(11)), ..sight(7, 7) }, &TIMING());
        assert_eq!(car.cap(), None);
        for second in 100..=110 {
            car.watch(at(second), &sight(13, 10), &TIMING());
        }
        assert!(car.open());
        for second in 111..4000 {
            car.watch(at(second), &sight(0, 0), &TIMING());
        }
        assert_eq!(car.cap(), Some(Milliamp::ZERO), "until unplugged or released");
        car.pardon();
        assert_eq!(car.cap(), None);
        for second in 4000..=4010 {
            car.watch(at(second), &sight(13, 10), &TIMING());
        }
        assert!(car.open(), "the count goes on");
        car.release();
        assert_eq!(car.cap(), None);
    }

    #[test]
    fn a_pardon_lifts_nothing_but_the_latch() {
        let mut car = Obedience::default();
        for second in 0..10 {
            car.watch(at(second), &sight(13, 10), &TIMING());
            car.pardon();
        }
        assert!(car.watch(at(10), &sight(13, 10), &TIMING()), "the time above its offer runs on");
        car.pardon();
        assert_eq!(car.cap(), Some(Milliamp::from_amps(7)));
        car.watch(at(21), &Sight { effective_at: Some(at(11)), ..sight(13, 7) }, &TIMING());
        car.pardon();
        assert!(car.open());
    }
}

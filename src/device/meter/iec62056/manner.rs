//! How a meter wants to be asked, learnt from what worked and what did not.
//!
//! One disturbed character looks like a meter that must be woken, or one that does not follow the change of speed. So what
//! has worked is tried twice before the other way, and from a slower way the plain one is tried again after a while: a
//! readout at 300 baud takes minutes instead of seconds.

use super::ask::Failure;

/// Good readouts in a slower way before the plain one is tried again, at first and at most; it doubles at each failure.
const FIRST_TRIAL: u32 = 4;
const LAST_TRIAL: u32 = 256;
/// After so many failures on end it may be another meter: what worked before says nothing.
const FORGET: u32 = 6;

/// One way of asking; the plain one is quickest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// It runs on a battery and must be woken.
    pub(super) wake: bool,
    /// It does not follow the change of speed, or the line cannot.
    pub(super) stay: bool,
}

/// The way that is tried next, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    way: Way,
    /// What worked last.
    proven: Option<Way>,
    /// On end.
    failures: u32,
    /// Good readouts in the proven way, as far as that is a slower one.
    good: u32,
    trial_after: u32,
}

impl Default for Manner {
    fn default() -> Self {
        Self { way: Way::default(), proven: None, failures: 0, good: 0, trial_after: FIRST_TRIAL }
    }
}

impl Manner {
    /// How to ask now.
    pub(super) fn way(&self) -> Way {
        self.way
    }

    /// A whole readout came.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        if self.proven != Some(self.way) {
            self.proven = Some(self.way);
            self.good = 0;
        }
        if self.way == Way::default() {
            self.trial_after = FIRST_TRIAL;
            return;
        }
        self.good += 1;
        if self.good >= self.trial_after {
            self.good = 0;
            self.way = Way::default();
        }
    }

    /// None came.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let other = match failure {
            Failure::NoAnswer => Way { wake: !self.way.wake, ..self.way },
            Failure::NoData { .. } => Way { stay: !self.way.stay, ..self.way },
            // Neither says anything about the way.
            Failure::Link(_) | Failure::Rejected => return,
        };
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FORGET {
            self.proven = None;
        }
        match self.proven {
            // An experiment failed: back to what works.
            Some(proven) if proven != self.way => {
                self.way = proven;
                self.trial_after = (self.trial_after * 2).min(LAST_TRIAL);
            }
            Some(_) if self.failures < 2 => {}
            Some(_) | None => self.way = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Way = Way { wake: false, stay: false };
    const STAY: Way = Way { wake: false, stay: true };
    const WAKE: Way = Way { wake: true, stay: false };
    const NO_DATA: Failure = Failure::NoData { baud: 9600 };

    fn readouts(manner: &mut Manner, count: u32) {
        (0..count).for_each(|_| manner.succeeded());
    }

    #[test]
    fn one_lost_character_does_not_make_a_meter_slow() {
        let mut manner = Manner::default();
        readouts(&mut manner, 1000);
        for failure in [NO_DATA, Failure::NoAnswer] {
            manner.failed(&failure);
            assert_eq!(manner.way(), PLAIN, "{failure}");
            manner.succeeded();
        }
        manner.failed(&NO_DATA);
        manner.failed(&NO_DATA);
        assert_eq!(manner.way(), STAY);
    }

    #[test]
    fn before_anything_worked_the_ways_take_turns() {
        let mut manner = Manner::default();
        for expected in [WAKE, PLAIN, WAKE] {
            manner.failed(&Failure::NoAnswer);
            assert_eq!(manner.way(), expected);
        }
        manner.failed(&Failure::Link("gone".into()));
        manner.failed(&Failure::Rejected);
        assert_eq!(manner.way(), WAKE);
        manner.failed(&NO_DATA);
        assert_eq!(manner.way(), Way { wake: true, stay: true });
    }

    #[test]
    fn the_full_speed_is_tried_again_and_less_and_less_where_it_never_works() {
        let mut manner = Manner::default();
        manner.failed(&NO_DATA);
        assert_eq!(manner.way(), STAY);
        for wait in [4, 8, 16, 32, 64, 128, 256, 256] {
            readouts(&mut manner, wait - 1);
            assert_eq!(manner.way(), STAY);
            manner.succeeded();
            assert_eq!(manner.way(), PLAIN, "after {wait} readouts");
            manner.failed(&NO_DATA);
            assert_eq!(manner.way(), STAY, "back to what works, at once");
        }
        readouts(&mut manner, 256);
        readouts(&mut manner, 1000);
        assert_eq!(manner.way(), PLAIN, "it works at full speed again");
    }

    #[test]
    fn another_meter_is_found_out_about_from_the_beginning() {
        let mut manner = Manner::default();
        readouts(&mut manner, 3);
        let needs = Way { wake: true, stay: true };
        let mut attempts = 0;
        while manner.way() != needs {
            let silent = !manner.way().wake;
            manner.failed(if silent { &Failure::NoAnswer } else { &NO_DATA });
            attempts += 1;
            assert!(attempts < 12, "{manner:?}");
        }
        manner.succeeded();
        assert_eq!(manner.way(), needs);
    }
}

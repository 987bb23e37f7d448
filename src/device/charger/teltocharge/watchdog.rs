//! When registers 19 and 20 are written: both are kept in EEPROM, and somebody else may set them, too.

use std::time::Duration;

use tokio::time::Instant;

use super::registers::MAX_TIMEOUT_S;
use crate::device::charger::register::settable;
use crate::quantity::Milliamp;
use crate::reading::Watchdog;

/// Attempts that fail before it is said aloud and the pace is slowed.
const ATTEMPTS: u32 = 3;
/// Pace of attempts after that, and of corrections of what somebody else keeps changing.
const SLOW: Duration = Duration::from_secs(60);
/// Between two attempts at first.
const FAST: Duration = Duration::from_secs(1);

/// The words of registers 19 and 20. The time-out is rounded up to whole seconds, since zero would switch it off.
pub(super) fn words(wanted: Watchdog) -> (u16, u16) {
    let seconds = (wanted.timeout.0.saturating_add(999) / 1000).clamp(1, MAX_TIMEOUT_S);
    let fail_safe = settable(wanted.fail_safe, Milliamp::from_amps(1), Milliamp::from_amps(32));
    (u16::try_from(seconds).unwrap_or(u16::MAX), u16::try_from(fail_safe.0 / 1000).unwrap_or(0))
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing now.
    Nothing,
    /// It stands as wanted, after it was said that it does not.
    Verified,
    /// Write these and read both back.
    Program {
        /// Register 19 differs.
        timeout: bool,
        /// Register 20 differs.
        fail_safe: bool,
    },
}

/// What happened to the two registers so far.
#[derive(Debug, Default)]
pub(super) struct WatchdogKeeper {
    wanted: Option<(u16, u16)>,
    failures: u32,
    said: bool,
    /// Corrections of one and the same wish.
    corrections: u32,
    not_before: Option<Instant>,
}

impl WatchdogKeeper {
    /// Compares what was read with what is wanted.
    pub(super) fn next(&mut self, wanted: (u16, u16), found: (Option<u16>, Option<u16>), now: Instant) -> Step {
        if self.wanted != Some(wanted) {
            self.wanted = Some(wanted);
            self.failures = 0;
            self.corrections = 0;
            self.not_before = None;
        }
        let (timeout, fail_safe) = (found.0 != Some(wanted.0), found.1 != Some(wanted.1));
        if !timeout && !fail_safe {
            self.failures = 0;
            return if std::mem::take(&mut self.said) { Step::Verified } else { Step::Nothing };
        }
        if found.0.is_none() || found.1.is_none() || self.not_before.is_some_and(|not_before| now < not_before) {
            return Step::Nothing;
        }
        Step::Program { timeout, fail_safe }
    }

    /// The registers were written and read back, with this outcome. `true`: it has to be said aloud.
    pub(super) fn programmed(&mut self, verified: bool, now: Instant) -> bool {
        if verified {
            self.failures = 0;
            self.corrections = self.corrections.saturating_add(1);
            self.not_before = Some(now + if self.corrections > ATTEMPTS { SLOW } else { FAST });
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + if self.failures < ATTEMPTS { FAST } else { SLOW });
        self.failures >= ATTEMPTS && !std::mem::replace(&mut self.said, true)
    }

    /// The charger was away: whatever stands there may be programmed at once.
    pub(super) fn after_contact(self) -> Self {
        Self { said: self.said, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Span;

    const WANTED: (u16, u16) = (30, 6);
    const GOOD: (Option<u16>, Option<u16>) = (Some(30), Some(6));
    const OTHER: (Option<u16>, Option<u16>) = (Some(30), Some(16));

    #[test]
    fn a_timer_is_never_rounded_to_off_and_a_current_never_up() {
        let words = |ms, ma| words(Watchdog { timeout: Span(ms), fail_safe: Milliamp(ma) });
        assert_eq!(words(30_000, 6000), (30, 6));
        assert_eq!(words(300, 6999), (1, 6));
        assert_eq!(words(0, 5999), (1, 0));
        assert_eq!(words(1_000_000, 40_000), (600, 32));
        assert_eq!(words(i64::MAX, -1), (600, 0));
    }

    #[test]
    fn only_what_differs_is_programmed() {
        let now = Instant::now();
        let next = |found| WatchdogKeeper::default().next(WANTED, found, now);
        assert_eq!(next(GOOD), Step::Nothing);
        assert_eq!(next(OTHER), Step::Program { timeout: false, fail_safe: true });
        assert_eq!(next((Some(0), Some(0))), Step::Program { timeout: true, fail_safe: true });
        assert_eq!(next((None, Some(6))), Step::Nothing, "not read yet");
    }

    #[test]
    fn a_failure_is_said_once_and_taken_back() {
        let mut now = Instant::now();
        let mut keeper = WatchdogKeeper::default();
        let mut said = Vec::new();
        for _ in 0..6 {
            assert_ne!(keeper.next(WANTED, OTHER, now), Step::Nothing);
            said.push(keeper.programmed(false, now));
            assert_eq!(keeper.next(WANTED, OTHER, now), Step::Nothing, "each attempt waits");
            now += SLOW;
        }
        assert_eq!(said, [false, false, true, false, false, false]);
        assert_eq!(keeper.next(WANTED, GOOD, now), Step::Verified);
        assert_eq!(keeper.next(WANTED, GOOD, now), Step::Nothing);
    }

    #[test]
    fn somebody_who_keeps_changing_it_does_not_wear_the_memory_out() {
        let start = Instant::now();
        let mut keeper = WatchdogKeeper::default();
        let mut writes = 0;
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            if keeper.next(WANTED, OTHER, now) != Step::Nothing {
                writes += 1;
                keeper.programmed(true, now);
            }
        }
        assert!((60..=64).contains(&writes), "{writes} writes in an hour");
        let now = start + Duration::from_secs(3600);
        assert_ne!(keeper.next((30, 0), OTHER, now), Step::Nothing, "a new wish does not wait");
    }
}

//! The time since the machine started, which a clock that is set wrongly or anew cannot move: it tells how long we were
//! off, as long as the machine was not.

use nix::time::{ClockId, clock_gettime};

use crate::clock::Clock;
use crate::quantity::Mono;

/// The age of the machine against our monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boot {
    /// In ms when our clock read zero.
    zero_ms: i64,
}

impl Boot {
    /// By the kernel's clock that never stops (`CLOCK_BOOTTIME`, clock_gettime(2)); `None` where it has none.
    pub(super) fn read(clock: Clock) -> Option<Self> {
        let age = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
        Some(Self { zero_ms: age.tv_sec() * 1000 + age.tv_nsec() / 1_000_000 - clock.now().0 })
    }

    /// The machine's age in ms at `at`.
    pub(super) fn age_ms(self, at: Mono) -> i64 {
        self.zero_ms.saturating_add(at.0)
    }

    /// When the machine had this age.
    pub(super) fn at(self, age_ms: i64) -> Mono {
        Mono(age_ms.saturating_sub(self.zero_ms))
    }

    #[cfg(test)]
    pub(super) fn of_test(zero_ms: i64) -> Self {
        Self { zero_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_machine_counts_on_over_a_start_of_the_process() {
        let before = Boot::read(Clock::start()).unwrap();
        let clock = Clock::start();
        let after = Boot::read(clock).unwrap();
        let age = after.age_ms(clock.now());
        assert!(age > 0 && age >= before.age_ms(Mono(0)), "{before:?} {after:?}");
        assert_eq!(after.at(age - 9_000).0, age - 9_000 - after.age_ms(Mono(0)));
    }
}

//! How long to wait before the next attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Waiting times that double from `first` to `max`, each shortened by up to a quarter at random so that many devices
/// that were lost together do not come back in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    current: Duration,
    random: u64,
}

impl Backoff {
    /// Starts at `first`, never passes `max`; seeded by the process.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self::seeded(first, max, RandomState::new().build_hasher().finish())
    }

    /// The same times for the same seed.
    #[must_use]
    pub fn seeded(first: Duration, max: Duration, seed: u64) -> Self {
        let first = first.min(max);
        Self { first, max, current: first, random: seed | 1 }
    }

    /// The next waiting time: between three quarters of the step and the step.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so an iterator would only add an Option")]
    pub fn next(&mut self) -> Duration {
        let step = self.current;
        self.current = step.saturating_mul(2).min(self.max);
        // xorshift64: spreads attempts, nothing more is asked of it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = (self.random >> 40) as u32 % 1024;
        step - step / 4 * share / 1024
    }

    /// The link works: the next wait is the first again.
    pub fn reset(&mut self) {
        self.current = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn doubles_up_to_the_maximum_within_the_jitter() {
        let mut backoff = Backoff::new(SECOND, 30 * SECOND);
        for step in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next();
            assert!(wait <= step * SECOND && wait >= step * SECOND * 3 / 4, "{wait:?} for a step of {step} s");
        }
        backoff.reset();
        assert!(backoff.next() <= SECOND);
    }

    #[test]
    fn the_seed_decides_and_the_jitter_varies() {
        let times = |seed| {
            let mut backoff = Backoff::seeded(SECOND, 30 * SECOND, seed);
            [(); 8].map(|()| backoff.next())
        };
        assert_eq!(times(7), times(7));
        assert_ne!(times(7), times(8));
        let settled = times(7);
        assert!(settled[5] != settled[6] || settled[6] != settled[7]);
    }

    #[test]
    fn a_first_wait_above_the_maximum_is_cut() {
        assert!(Backoff::new(60 * SECOND, SECOND).next() <= SECOND);
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).next(), Duration::ZERO);
    }
}

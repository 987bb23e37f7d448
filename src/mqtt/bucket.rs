//! A bound on how many commands are taken.

use crate::quantity::Mono;

/// A token bucket: `rate` per second, as many again at once.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: i64,
    /// In thousandths of a token.
    level: i64,
    at: Mono,
    refused: u64,
    told: bool,
}

/// What becomes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Take it.
    Taken,
    /// Drop it, and tell of the flood: the first since the bucket was full.
    Flooded,
    /// Drop it.
    Dropped,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: u32, now: Mono) -> Self {
        let rate = i64::from(rate.max(1));
        Self { rate, level: rate * 1000, at: now, refused: 0, told: false }
    }

    /// Asks for one token.
    pub(crate) fn admit(&mut self, now: Mono) -> Admission {
        let full = self.rate * 1000;
        // Thousandths of a token per ms are tokens per second.
        self.level = self.level.saturating_add(now.since(self.at).0.saturating_mul(self.rate)).min(full);
        self.at = now;
        if self.level == full {
            self.told = false;
        }
        if self.level >= 1000 {
            self.level -= 1000;
            return Admission::Taken;
        }
        self.refused += 1;
        if self.told {
            return Admission::Dropped;
        }
        self.told = true;
        Admission::Flooded
    }

    /// Commands dropped so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_and_then_only_the_rate_passes() {
        let mut bucket = Bucket::new(50, Mono(0));
        let mut taken = 0;
        let mut told = 0;
        for number in 0..10_000 {
            match bucket.admit(Mono(number / 10)) {
                Admission::Taken => taken += 1,
                Admission::Flooded => told += 1,
                Admission::Dropped => {}
            }
        }
        assert_eq!((taken, told), (50 + 49, 1));
        assert_eq!(bucket.refused(), 10_000 - 99);
        // Quiet for a second: full again, and a new flood is told again.
        assert_eq!(bucket.admit(Mono(3_000)), Admission::Taken);
        assert!((0..50).any(|_| bucket.admit(Mono(3_000)) == Admission::Flooded));
    }
}

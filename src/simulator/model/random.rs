//! Repeatable chance: the same seed gives the same house.

use crate::quantity::{Milliamp, Span};

/// A SplitMix64 generator (Steele, Lea, Flood 2014): small, and good enough for kettles and clouds.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Evenly between the two; the first when the second is not above it.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        if high > low { low + (high - low) * self.unit() } else { low }
    }

    /// A time out of a range.
    pub fn span(&mut self, range: (Span, Span)) -> Span {
        Span(self.between(range.0.0 as f64, range.1.0 as f64).round() as i64)
    }

    /// A current out of a range, in ampere.
    pub fn amps(&mut self, range: (Milliamp, Milliamp)) -> f64 {
        self.between(range.0.as_f64(), range.1.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_row_and_stays_in_range() {
        let (mut one, mut two, mut other) = (Random::new(7), Random::new(7), Random::new(8));
        let row: Vec<u64> = (0..100).map(|_| one.bits()).collect();
        assert_eq!(row, (0..100).map(|_| two.bits()).collect::<Vec<_>>());
        assert_ne!(row[0], other.bits());
        assert!((0..1000).map(|_| one.between(2.0, 5.0)).all(|it| (2.0..5.0).contains(&it)));
        assert_eq!(one.between(3.0, 1.0), 3.0);
    }
}

//! Physical quantities as integers, so that a computation is the same on every machine.
//!
//! The controller works in milliampere, millivolt, watt and watt-hour. All arithmetic saturates: an absurd reading
//! must end as an absurd number that plausibility rejects, never as a wrapped-around small one.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Index, IndexMut, Neg, Sub, SubAssign};

use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($int:ty), $unit:literal, $per_unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// Nothing of it.
            pub const ZERO: Self = Self(0);

            /// From the unit people use, rounded to the nearest step; saturates, and not-a-number becomes zero.
            #[must_use]
            pub fn from_f64(value: f64) -> Self {
                Self((value * $per_unit).round() as $int)
            }

            /// In the unit people use.
            #[must_use]
            pub fn as_f64(self) -> f64 {
                self.0 as f64 / $per_unit
            }

            /// Its size without the sign.
            #[must_use]
            pub fn abs(self) -> Self {
                Self(self.0.saturating_abs())
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl SubAssign for $name {
            fn sub_assign(&mut self, other: Self) {
                *self = *self - other;
            }
        }

        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(self.0.saturating_neg())
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $unit), self.as_f64())
            }
        }
    };
}

quantity!(
    /// Electric current in mA. At a grid meter: import positive, export negative; at a charger: consumption positive.
    Milliamp(i32), "A", 1000.0
);
quantity!(
    /// Voltage in mV, phase to neutral unless said otherwise.
    Millivolt(i32), "V", 1000.0
);
quantity!(
    /// Active power in W, import and consumption positive.
    Watt(i32), "W", 1.0
);
quantity!(
    /// Energy in Wh.
    WattHour(i64), "Wh", 1.0
);

impl Milliamp {
    /// From whole amperes.
    #[must_use]
    pub const fn from_amps(amps: i32) -> Self {
        Self(amps.saturating_mul(1000))
    }

    /// Rounded down to a multiple of `step`; a step of zero changes nothing.
    #[must_use]
    pub fn floor_to(self, step: Self) -> Self {
        if step.0 <= 0 { self } else { Self(self.0.div_euclid(step.0).saturating_mul(step.0)) }
    }

    /// Active power of this current at `voltage`, sign kept.
    #[must_use]
    pub fn at(self, voltage: Millivolt) -> Watt {
        let watts = i64::from(self.0) * i64::from(voltage.0) / 1_000_000;
        Watt(watts.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }
}

impl Watt {
    /// From kilowatts.
    #[must_use]
    pub fn from_kw(kw: f64) -> Self {
        Self((kw * 1000.0).round() as i32)
    }

    /// The current that carries this power at `voltage`; zero volts give zero.
    #[must_use]
    pub fn current_at(self, voltage: Millivolt) -> Milliamp {
        if voltage.0 == 0 {
            return Milliamp::ZERO;
        }
        let milliamps = i64::from(self.0) * 1_000_000 / i64::from(voltage.0);
        Milliamp(milliamps.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }
}

/// Monotonic time in ms since the process (or the simulation) began. Never wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub i64);

impl Mono {
    /// From seconds, rounded to the millisecond.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }

    /// In seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Span {
        Span((self.0.saturating_sub(earlier.0)).max(0))
    }
}

impl Add<Span> for Mono {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Mono {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// A length of time in ms, never negative by construction of its users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// From whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// From seconds, rounded to the millisecond.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }

    /// In seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// As the standard library has it; a negative span becomes zero.
    #[must_use]
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.max(0) as u64)
    }

    /// This span so many times.
    #[must_use]
    pub const fn times(self, factor: i64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// One of the grid's three phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Phase {
    /// First phase.
    L1,
    /// Second phase.
    L2,
    /// Third phase.
    L3,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::L1, Self::L2, Self::L3];

    /// 0, 1 or 2.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["L1", "L2", "L3"][self.index()])
    }
}

/// A value for each phase, L1 first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phases<T>(pub [T; 3]);

impl<T> Phases<T> {
    /// The same value on every phase.
    #[must_use]
    pub fn all(value: T) -> Self
    where
        T: Copy,
    {
        Self([value; 3])
    }

    /// Each value changed by `f`.
    #[must_use]
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Phases<U> {
        Phases(self.0.map(f))
    }

    /// Phase and value, L1 first.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, &T)> {
        Phase::ALL.into_iter().zip(self.0.iter())
    }
}

impl<T> Index<Phase> for Phases<T> {
    type Output = T;
    fn index(&self, phase: Phase) -> &T {
        &self.0[phase.index()]
    }
}

impl<T> IndexMut<Phase> for Phases<T> {
    fn index_mut(&mut self, phase: Phase) -> &mut T {
        &mut self.0[phase.index()]
    }
}

impl<T: Copy> Phases<Option<T>> {
    /// All three values, or nothing when one is missing.
    #[must_use]
    pub fn complete(self) -> Option<Phases<T>> {
        match self.0 {
            [Some(a), Some(b), Some(c)] => Some(Phases([a, b, c])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_values_saturate_instead_of_wrapping() {
        assert_eq!(Milliamp(i32::MAX) + Milliamp(1), Milliamp(i32::MAX));
        assert_eq!(Milliamp::from_f64(1e300), Milliamp(i32::MAX));
        assert_eq!(-Milliamp(i32::MIN), Milliamp(i32::MAX));
        assert_eq!(Milliamp::from_f64(f64::NAN), Milliamp::ZERO);
        assert_eq!(Milliamp(i32::MIN).floor_to(Milliamp(1000)), Milliamp(i32::MIN));
        assert_eq!(Milliamp(i32::MAX).floor_to(Milliamp(1000)), Milliamp(2_147_483_000));
        assert_eq!(Milliamp(i32::MAX).at(Millivolt(i32::MAX)), Watt(i32::MAX));
        assert_eq!(Milliamp(i32::MIN).at(Millivolt(i32::MAX)), Watt(i32::MIN));
    }

    #[test]
    fn a_set_point_is_rounded_down_to_the_step() {
        assert_eq!(Milliamp(9_999).floor_to(Milliamp(1000)), Milliamp(9000));
        assert_eq!(Milliamp(9_999).floor_to(Milliamp(10)), Milliamp(9990));
        assert_eq!(Milliamp(-1).floor_to(Milliamp(1000)), Milliamp(-1000));
        assert_eq!(Milliamp(9_999).floor_to(Milliamp::ZERO), Milliamp(9_999));
    }

    #[test]
    fn power_and_current_convert_both_ways() {
        let volts = Millivolt(230_000);
        assert_eq!(Milliamp(10_000).at(volts), Watt(2300));
        assert_eq!(Watt(-2300).current_at(volts), Milliamp(-10_000));
        assert_eq!(Watt(2300).current_at(Millivolt::ZERO), Milliamp::ZERO);
    }
}

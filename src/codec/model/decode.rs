//! From the words of an answer to values.

use std::fmt;

use super::{Kind, Poll, Quantity, Value};
use crate::quantity::Phase;

/// Powers of ten that a register may hold; more is no exponent.
const EXPONENTS: std::ops::RangeInclusive<i16> = -10..=10;

/// What a value is and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What is measured.
    pub quantity: Quantity,
    /// The meter's own phase; `None` is the total.
    pub phase: Option<Phase>,
    /// Register of one tariff; 0 for all together.
    pub tariff: u8,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.quantity.nature().word)?;
        if let Some(phase) = self.phase {
            write!(f, " {phase}")?;
        }
        if self.tariff > 0 {
            write!(f, " tariff {}", self.tariff)?;
        }
        Ok(())
    }
}

/// Why a register gives no value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// The meter says that it has none.
    Absent,
    /// Something that cannot be a measurement.
    Implausible {
        /// In the controller's unit; may be no number.
        value: f64,
    },
}

/// One value of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded {
    /// What and where.
    pub key: Key,
    /// In the controller's unit: V, A, W, var, VA, Hz, Wh, varh, s.
    pub value: Result<f64, Refusal>,
    /// Decimals worth showing; below zero for whole tens, hundreds, …
    pub decimals: i8,
}

impl Poll {
    /// The values of an answer; `words` are those of this request. A word that is missing gives no value. Where those that
    /// may be whole are all whole, none of them has decimals.
    pub fn decode(&self, words: &[u16]) -> impl Iterator<Item = Decoded> {
        let mut coarse = self.values.iter().filter(|it| it.may_be_whole);
        let whole = coarse.all(|it| it.decode(words).map_or(true, is_whole));
        self.values.iter().map(move |it| Decoded {
            key: it.key,
            value: it.decode(words),
            decimals: if it.may_be_whole && whole { it.decimals.min(0) } else { it.decimals },
        })
    }
}

/// Some meters fill the high byte of a negative one, others do not.
fn exponent(word: u16) -> Option<i16> {
    let short = u8::try_from(word).map(|low| i16::from(low as i8));
    [Ok(word as i16), short].into_iter().flatten().find(|it| EXPONENTS.contains(it))
}

/// But for what a scale such as 0.001 leaves behind.
fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

impl Value {
    fn decode(&self, words: &[u16]) -> Result<f64, Refusal> {
        let first = usize::from(self.offset);
        let own = words.get(first..first + usize::from(self.kind.words())).ok_or(Refusal::Absent)?;
        let bits = self.kind.pattern(own, self.order).ok_or(Refusal::Absent)?;
        if self.invalid.contains(&bits) {
            return Err(Refusal::Absent);
        }
        let mut value = self.kind.number(bits);
        if value.is_nan() {
            return Err(Refusal::Absent);
        }
        if let Some(place) = self.exponent {
            let exponent = words.get(usize::from(place)).and_then(|word| exponent(*word)).ok_or(Refusal::Absent)?;
            value *= 10_f64.powi(i32::from(exponent));
        }
        if let Some(place) = self.factor.map(usize::from) {
            let factor = words.get(place..place + 2).and_then(|own| Kind::U32.pattern(own, self.order));
            value *= factor.filter(|it| *it > 0).map(|it| Kind::U32.number(it)).ok_or(Refusal::Absent)?;
        }
        value *= self.scale;
        if self.magnitude {
            value = value.abs();
        }
        let (low, high) = self.plausible;
        if value.is_finite() && (low..=high).contains(&value) { Ok(value) } else { Err(Refusal::Implausible { value }) }
    }
}

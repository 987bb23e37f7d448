//! How words make a number.

use super::part::quoted;

/// Which word of a long value is sent first. Bytes inside a word are always high first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOrder {
    /// As the standard's examples.
    HighFirst,
    /// Carlo Gavazzi, Shelly.
    LowFirst,
}

/// How words make a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 16 bits.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// 64 bits.
    U64,
    /// 64 bits, two's complement.
    I64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
    /// Iskra T5: a signed power of ten in the first byte, 24 bits unsigned behind it.
    IskraT5,
    /// Iskra T6: as T5 with a signed 24-bit number.
    IskraT6,
    /// Iskra T7, power factor: first byte 0xFF for export, second 0xFF for capacitive, then ten-thousandths.
    IskraT7,
}

pub(super) const KINDS: [(&str, Kind); 11] = [
    ("u16", Kind::U16),
    ("i16", Kind::I16),
    ("u32", Kind::U32),
    ("i32", Kind::I32),
    ("u64", Kind::U64),
    ("i64", Kind::I64),
    ("f32", Kind::F32),
    ("f64", Kind::F64),
    ("iskra-t5", Kind::IskraT5),
    ("iskra-t6", Kind::IskraT6),
    ("iskra-t7", Kind::IskraT7),
];

impl Kind {
    /// As written in files.
    ///
    /// # Errors
    /// The sentence that names all words.
    pub fn from_word(word: &str) -> Result<Self, String> {
        KINDS
            .iter()
            .find(|it| it.0 == word)
            .map(|it| it.1)
            .ok_or_else(|| format!("`type` = {word:?} is not known; allowed: {}", quoted(KINDS.iter().map(|it| it.0))))
    }

    /// Registers that it takes.
    #[must_use]
    pub const fn words(self) -> u16 {
        match self {
            Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 | Self::IskraT5 | Self::IskraT6 | Self::IskraT7 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
        }
    }

    /// A number with a fraction of its own, so that the scale does not tell its decimals.
    #[must_use]
    pub const fn has_point(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::IskraT5 | Self::IskraT6 | Self::IskraT7)
    }

    /// The number that these words make; `None` for a wrong number of words, and for what is no finite number.
    #[must_use]
    pub fn read(self, words: &[u16], order: WordOrder) -> Option<f64> {
        self.pattern(words, order).map(|bits| self.number(bits)).filter(|it| it.is_finite())
    }

    /// The words as one pattern, the highest first; `None` for a wrong number of words.
    pub(super) fn pattern(self, words: &[u16], order: WordOrder) -> Option<u64> {
        if words.len() != usize::from(self.words()) {
            return None;
        }
        let join = |bits: u64, word: &u16| bits << 16 | u64::from(*word);
        Some(match order {
            WordOrder::HighFirst => words.iter().fold(0, join),
            WordOrder::LowFirst => words.iter().rev().fold(0, join),
        })
    }

    /// The number of a pattern; may be no finite one.
    pub(super) fn number(self, bits: u64) -> f64 {
        let tens = |exponent: u8| 10_f64.powi(i32::from(exponent as i8));
        match self {
            Self::U16 | Self::U32 | Self::U64 => bits as f64,
            Self::I16 => f64::from(bits as u16 as i16),
            Self::I32 => f64::from(bits as u32 as i32),
            Self::I64 => bits as i64 as f64,
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            Self::F64 => f64::from_bits(bits),
            Self::IskraT5 => (bits & 0x00FF_FFFF) as f64 * tens((bits >> 24) as u8),
            Self::IskraT6 => f64::from((bits << 8) as u32 as i32 >> 8) * tens((bits >> 24) as u8),
            Self::IskraT7 => {
                let size = (bits & 0xFFFF) as f64 / 10_000.0;
                if bits >> 24 & 0xFF == 0xFF { -size } else { size }
            }
        }
    }
}

//! The P1 port of Dutch, Belgian, Luxembourgish, Nordic, Hungarian, Lithuanian, Irish and Austrian meters: DSMR 2.2 to
//! 5.0.2, e-MUCS, Smarty, the Nordic H1 and their relatives.
//!
//! ```text
//! /XYZ5METER        header: three letters of the maker, baud letter, type
//!
//! 1-0:1.7.0(01.193*kW)
//! …
//! !A1B2             CRC-16/ARC over everything from `/` to `!`; DSMR 2.2 and 3 send none
//! ```
//!
//! [`Decoder`] is fed bytes in any pieces and gives [`Telegram`]s, which are views of its buffer. Nothing is copied or
//! allocated per register; [`Telegram::lines`] reads them on the way.

mod decoder;
mod encode;
mod noise;
pub mod object;
mod seal;
mod telegram;

#[cfg(test)]
mod tests;

pub use decoder::{Decoder, FrameError, MAX_TELEGRAM};
pub use encode::encode;
pub use noise::Hint;
pub use object::{Line, Lines, Object};
pub use seal::{DEFAULT_AUTH_KEY, Keys, Seal, TagCheck, seal};
pub use telegram::{Crc, Rejection, Repair, Telegram, Verdict};

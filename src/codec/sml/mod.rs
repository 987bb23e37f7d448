//! SML (Smart Message Language, BSI TR-03109-1 annex IV; SML 1.03 and 1.04) as German meters push it on the optical
//! port: a transport frame of three messages, of which the `GetList.Res` holds the values.
//!
//! ```text
//! 1B1B1B1B 01010101   start
//! 76 …                messages: Open.Res, GetList.Res, Close.Res
//! 00 00               padding to a multiple of four
//! 1B1B1B1B 1A 02 ab cd   end: bytes of padding, CRC-16/X-25 over everything before it, low byte first
//! ```
//!
//! [`Decoder`] is fed bytes in any pieces and gives [`Frame`]s, which are views of its buffer; [`Frame::entries`] reads
//! the values on the way. Nothing is copied unless a frame holds an escaped escape sequence.

mod encode;
mod message;
mod tlv;
mod transport;

#[cfg(test)]
mod tests;

pub use encode::{Field, encode, entry};
pub use message::{Defect, Entries, Entry, Value, unit, unit_symbol};
pub use transport::{Crc, Decoder, Frame, FrameError, MAX_FRAME, Rejection};

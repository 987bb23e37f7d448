//! IEC 62056-21 (formerly IEC 1107, "D0") readouts of the optical port: modes A, B, C and D, and the readout of mode E
//! meters that answer as mode C.
//!
//! ```text
//! /?!                   sign-on of the reader, 300 baud 7E1             modes A, B, C, E
//! /XXXZident            answer: maker, baud letter, type
//! <ACK>050              option select of the reader: readout at 9600     modes C, E
//! <STX>1.8.0(…*kWh)…!<ETX><BCC>
//!
//! /XXXZident            mode D and today's German meters send unasked, without STX, ETX and BCC
//!
//! 1-0:1.8.0*255(…*kWh)
//! !
//! ```
//!
//! [`Decoder`] is fed bytes in any pieces and gives [`Readout`]s, which are views of its buffer. Bytes that carry their
//! parity in bit 7 (a 7E1 line read as 8N1, as plain TCP gateways do) are recognised by their `/`, checked and masked.

mod address;
mod block;
mod decoder;
mod handshake;
mod readout;

#[cfg(test)]
mod tests;

pub use address::obis;
pub use block::{DataSet, Item, Items};
pub use decoder::{Decoder, FrameError, MAX_READOUT};
pub use handshake::{Identification, Mode, REQUEST, option_select};
pub use readout::{Bcc, Readout, Rejection};

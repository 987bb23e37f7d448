//! One readout and whether it may be believed.

use super::block::{Item, Items};
use super::handshake::Identification;
use crate::codec::p1::object::text;

/// The block check character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bcc {
    /// As sent, without its parity bit.
    pub given: u8,
    /// Exclusive or of all bytes behind STX up to and with ETX.
    pub computed: u8,
}

impl Bcc {
    /// Whether it fits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.given == self.computed
    }
}

/// A readout, valid or not, as views of the decoder's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Readout<'a> {
    pub(super) header: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) framed: bool,
    pub(super) complete: bool,
    pub(super) bcc: Option<Bcc>,
    pub(super) parity: bool,
    pub(super) parity_errors: u64,
    pub(super) discarded: u64,
}

/// Why a readout gives no reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The block check does not fit.
    #[error("readout with wrong BCC (given {given:02X}, computed {computed:02X})")]
    WrongBcc {
        /// As sent.
        given: u8,
        /// Over the bytes received.
        computed: u8,
    },
    /// Bytes did not have the parity of the others.
    #[error("readout with {0} bytes of wrong parity")]
    WrongParity(u64),
    /// The line fell silent before the end.
    #[error("readout without end mark `!`")]
    NoEndMark,
    /// It began with STX, so that an ETX and a BCC must follow.
    #[error("readout without the ETX and BCC that belong to its STX")]
    BccMissing,
    /// Without a BCC every line must be whole.
    #[error("readout with the unreadable line `{0}` and no BCC that proves the others")]
    UnreadableLine(String),
    /// There is nothing in it.
    #[error("readout without data sets")]
    Empty,
}

impl<'a> Readout<'a> {
    /// The identification line without its line end, `/` included.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        self.header
    }

    /// The identification line in its parts; the decoder takes no other for one.
    #[must_use]
    pub fn identification(&self) -> Option<Identification<'a>> {
        Identification::parse(self.header)
    }

    /// Its data sets in order, and whatever else stands between them.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        Items::new(self.body)
    }

    /// Bytes of identification and data.
    #[must_use]
    pub fn length(&self) -> usize {
        self.header.len() + self.body.len()
    }

    /// Whether it came between STX and ETX.
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.framed
    }

    /// Whether the end mark, or the ETX, was there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The block check, where one came.
    #[must_use]
    pub fn bcc(&self) -> Option<Bcc> {
        self.bcc
    }

    /// Bytes with odd parity, where the line carries even parity in bit 7; `None` where it carries none.
    #[must_use]
    pub fn parity_errors(&self) -> Option<u64> {
        self.parity.then_some(self.parity_errors)
    }

    /// Bytes between the readout before and this one that belong to none; line ends are not counted.
    #[must_use]
    pub fn discarded_bytes(&self) -> u64 {
        self.discarded
    }

    /// Whether it may be taken for a reading: with a BCC that fits; without one only where the meter sends none and
    /// every line can be read up to the end mark.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self) -> Result<(), Rejection> {
        const SHOWN: usize = 40;
        if self.parity_errors > 0 {
            return Err(Rejection::WrongParity(self.parity_errors));
        }
        if !self.complete {
            return Err(Rejection::NoEndMark);
        }
        if !self.items().any(|item| matches!(item, Item::DataSet(_))) {
            return Err(Rejection::Empty);
        }
        match self.bcc {
            Some(bcc) if bcc.is_valid() => return Ok(()),
            Some(Bcc { given, computed }) => return Err(Rejection::WrongBcc { given, computed }),
            None if self.framed => return Err(Rejection::BccMissing),
            None => {}
        }
        for item in self.items() {
            if let Item::Unparsed(line) = item {
                return Err(Rejection::UnreadableLine(text(&line[..line.len().min(SHOWN)])));
            }
        }
        Ok(())
    }
}

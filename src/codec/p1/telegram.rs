//! One telegram and whether it may be believed.

use std::fmt;

use super::object::{self, Line, Lines};
use super::seal::{Seal, TagCheck};
use crate::codec::crc;
use crate::codec::obis::Obis;

/// A telegram, valid or not, as views of the decoder's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Telegram<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) complete: bool,
    pub(super) crc: Crc,
    pub(super) seal: Option<Seal>,
    /// What it came in where it was sealed; else empty.
    pub(super) envelope: &'a [u8],
    pub(super) discarded: u64,
}

/// The check of a telegram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc {
    /// What it came to.
    pub verdict: Verdict,
    /// CRC-16/ARC over the bytes as received, `/` to `!`.
    pub computed: u16,
    given: [u8; 4],
    given_length: u8,
}

/// What the check of a telegram came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The meter sent none.
    Absent,
    /// It fits.
    Valid,
    /// It fits after undoing what is known to happen on the way or in the meter.
    ValidAfter(Repair),
    /// It does not fit.
    Invalid,
}

/// Known reasons why a good telegram's CRC does not fit the bytes as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Something on the way removed the carriage returns; it fits with them put back.
    CarriageReturns,
    /// Holley meters compute CRC-16/X-25.
    X25,
    /// A server in telnet mode put its own sequences into the stream; they were taken out.
    Telnet,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CarriageReturns => "it fits once the missing carriage returns are put back",
            Self::X25 => "it is a CRC-16/X-25 in place of CRC-16/ARC",
            Self::Telnet => "it fits once telnet sequences are taken out: set the serial server to raw mode",
        })
    }
}

impl Crc {
    /// No end mark, or no digits behind it.
    pub(super) fn absent(bytes: &[u8]) -> Self {
        Self { verdict: Verdict::Absent, computed: crc::ARC.of(bytes), given: [0; 4], given_length: 0 }
    }

    /// Compares what stands behind the `!` (at most four bytes) with the bytes from `/` to `!`.
    pub(super) fn check(bytes: &[u8], given: &[u8]) -> Self {
        let mut check = Self::absent(bytes);
        if given.is_empty() {
            return check;
        }
        for (to, from) in check.given.iter_mut().zip(given) {
            *to = *from;
            check.given_length += 1;
        }
        check.verdict = match hex(given) {
            Some(value) if value == check.computed => Verdict::Valid,
            Some(value) if bytes.starts_with(b"/HLY") && value == crc::X25.of(bytes) => {
                Verdict::ValidAfter(Repair::X25)
            }
            Some(value) if !bytes.contains(&b'\r') && value == with_carriage_returns(bytes) => {
                Verdict::ValidAfter(Repair::CarriageReturns)
            }
            _ => Verdict::Invalid,
        };
        check
    }

    /// What stood behind the `!`, as sent; empty where nothing did.
    #[must_use]
    pub fn given(&self) -> String {
        object::text(self.given_bytes())
    }

    fn given_bytes(&self) -> &[u8] {
        &self.given[..usize::from(self.given_length)]
    }

    /// Whether it fits, as received or after a known repair.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self.verdict, Verdict::Valid | Verdict::ValidAfter(_))
    }
}

/// Up to four hexadecimal digits; some meters leave out zeros in front.
fn hex(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | digit as u16)
    })
}

fn with_carriage_returns(bytes: &[u8]) -> u16 {
    let crc = &crc::ARC;
    let register =
        bytes.split_inclusive(|&byte| byte == b'\n').fold(crc.start(), |register, line| match line.split_last() {
            Some((b'\n', line)) => crc.update(crc.update(register, line), b"\r\n"),
            _ => crc.update(register, line),
        });
    crc.finish(register)
}

/// Why a telegram gives no reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The check does not fit.
    #[error("telegram with wrong CRC (given {given}, computed {computed:04X})")]
    WrongCrc {
        /// As sent.
        given: String,
        /// Over the bytes received.
        computed: u16,
    },
    /// The line fell silent before the end mark.
    #[error("telegram without end mark `!`")]
    NoEndMark,
    /// A telegram of DSMR 4 or newer (or a sealed one) must carry a CRC.
    #[error("telegram without CRC, although meters that send {because} send one")]
    CrcMissing {
        /// The register that gives the version away.
        because: Obis,
    },
    /// Neither registers nor a CRC.
    #[error("telegram without registers and without CRC")]
    Empty,
    /// Without a CRC every line must be whole.
    #[error("telegram with the unreadable line `{line}` and no CRC that proves the others")]
    UnreadableLine {
        /// Its beginning.
        line: String,
    },
    /// The tag of an encrypted telegram does not fit the configured authentication key.
    #[error("telegram whose authentication tag does not fit the authentication key")]
    WrongTag,
    /// An encrypted telegram whose tag does not fit the published authentication key must have a CRC that fits.
    #[error("decrypted telegram that neither its authentication tag nor its CRC proves")]
    Unproven,
}

/// Registers that exist only in versions that also have a CRC.
const SINCE_CRC: [Obis; 3] = [Obis::new(1, 3, 0, 2, 8), Obis::new(0, 0, 1, 0, 0), Obis::new(0, 0, 96, 1, 4)];

impl<'a> Telegram<'a> {
    /// From `/` to `!`, or as far as it came.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first line with its `/`.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        self.split().0
    }

    /// For another reader: as it came, from `/` to the CRC, with a line end like its own behind it. A sealed one is passed
    /// on sealed; the sequences of a telnet server are left out, because the CRC does not fit with them.
    #[must_use]
    pub fn to_pass_on(&self) -> Vec<u8> {
        if self.seal.is_some() {
            return self.envelope.to_vec();
        }
        let line_end: &[u8] = if self.bytes.contains(&b'\r') { b"\r\n" } else { b"\n" };
        [self.bytes, self.crc.given_bytes(), line_end].concat()
    }

    /// Whether the end mark was there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Its check.
    #[must_use]
    pub fn crc(&self) -> &Crc {
        &self.crc
    }

    /// Set when it came encrypted.
    #[must_use]
    pub fn seal(&self) -> Option<&Seal> {
        self.seal.as_ref()
    }

    /// Bytes between the telegram before and this one that belong to none; line ends are not counted.
    #[must_use]
    pub fn discarded_bytes(&self) -> u64 {
        self.discarded
    }

    /// Its registers in order, and whatever else stands between header and end mark.
    #[must_use]
    pub fn lines(&self) -> Lines<'a> {
        Lines::new(self.split().1)
    }

    /// Its registers in order.
    pub fn objects(&self) -> impl Iterator<Item = object::Object<'a>> + use<'a> {
        self.lines().filter_map(|line| match line {
            Line::Object(object) => Some(object),
            Line::Unparsed(_) => None,
        })
    }

    /// Whether it may be taken for a reading. With a CRC that fits it may; without one only where the version has none
    /// and every line can be read up to the end mark.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self) -> Result<(), Rejection> {
        if !self.complete {
            return Err(Rejection::NoEndMark);
        }
        match self.seal.map(|seal| seal.tag) {
            Some(TagCheck::Wrong) => return Err(Rejection::WrongTag),
            Some(TagCheck::NotVerified) if !self.crc.is_valid() => return Err(Rejection::Unproven),
            _ => {}
        }
        match self.crc.verdict {
            Verdict::Valid | Verdict::ValidAfter(_) => Ok(()),
            Verdict::Invalid => Err(Rejection::WrongCrc { given: self.crc.given(), computed: self.crc.computed }),
            Verdict::Absent => self.check_lines(),
        }
    }

    fn check_lines(&self) -> Result<(), Rejection> {
        const SHOWN: usize = 40;
        if self.objects().next().is_none() {
            return Err(Rejection::Empty);
        }
        for line in self.lines() {
            match line {
                Line::Object(object) => {
                    if let Some(&because) = SINCE_CRC.iter().find(|&&code| code == object.obis) {
                        return Err(Rejection::CrcMissing { because });
                    }
                }
                Line::Unparsed(line) => {
                    return Err(Rejection::UnreadableLine { line: object::text(&line[..line.len().min(SHOWN)]) });
                }
            }
        }
        Ok(())
    }

    /// Header and body without the end mark.
    fn split(&self) -> (&'a [u8], &'a [u8]) {
        let end = self.bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(self.bytes.len());
        let (header, body) = self.bytes.split_at(end);
        (header, if self.complete { &body[..body.len().saturating_sub(1)] } else { body })
    }
}

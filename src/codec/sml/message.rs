//! Messages of a frame and the values in them.

use super::tlv::{Broken, Reader, Token};
use crate::codec::crc;
use crate::codec::obis::Obis;
use crate::codec::value::{Decimal, Unit};

/// `GetList.Res`: the message that holds values.
const GET_LIST_RESPONSE: u64 = 0x0701;
const MESSAGE_FIELDS: usize = 6;
const LIST_FIELDS: usize = 7;
const ENTRY_FIELDS: usize = 7;

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Its check does not fit, neither as CRC-16/X-25 nor as CRC-16/KERMIT.
    #[error("message {number} has a wrong CRC (given {given:04X}, computed {computed:04X})")]
    WrongCrc {
        /// From 1.
        number: u16,
        /// As sent.
        given: u16,
        /// CRC-16/X-25 over the bytes received.
        computed: u16,
    },
    /// Its fields are not those of a message.
    #[error("message {number} {cause} (byte {at} of the frame's content)")]
    Shape {
        /// From 1.
        number: u16,
        /// Where.
        at: usize,
        /// What is wrong.
        cause: &'static str,
    },
}

/// What stands in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Left out.
    Absent,
    /// Bytes: an identification, a text, a signature.
    Octets(&'a [u8]),
    /// Yes or no.
    Bool(bool),
    /// Signed, with the number of bytes it came in.
    Int(i64, u8),
    /// Unsigned, with the number of bytes it came in.
    Uint(u64, u8),
    /// A list, which no register of a household's meter needs.
    List,
}

/// One value of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its code.
    pub obis: Obis,
    /// Status word of the meter, where this entry carries it.
    pub status: Option<u64>,
    /// Unit as DLMS numbers it (IEC 62056-6-2), see [`unit`].
    pub unit_code: Option<u8>,
    /// Power of ten.
    pub scaler: Option<i8>,
    /// As sent.
    pub value: Value<'a>,
}

impl Entry<'_> {
    /// The number times its power of ten; `None` where it is none, or larger than any meter counts.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        let raw = match self.value {
            Value::Int(raw, _) => raw,
            Value::Uint(raw, _) => i64::try_from(raw).ok()?,
            _ => return None,
        };
        scaled(raw, self.scaler.unwrap_or(0))
    }

    /// Its unit, where this program knows it.
    #[must_use]
    pub fn unit(&self) -> Option<Unit> {
        self.unit_code.and_then(unit)
    }
}

/// `raw` times 10^`scaler`.
pub(super) fn scaled(raw: i64, scaler: i8) -> Option<Decimal> {
    const MOST_DECIMALS: u8 = 12;
    if scaler <= 0 {
        let decimals = scaler.unsigned_abs();
        return (decimals <= MOST_DECIMALS).then_some(Decimal { mantissa: raw, decimals });
    }
    let factor = 10_i64.checked_pow(u32::from(scaler.unsigned_abs()))?;
    Some(Decimal { mantissa: raw.checked_mul(factor)?, decimals: 0 })
}

/// The unit of a number (DLMS, IEC 62056-6-2 table of physical units).
#[must_use]
pub fn unit(code: u8) -> Option<Unit> {
    Some(match code {
        7 => Unit::Second,
        13 => Unit::CubicMetre,
        27 => Unit::Watt(0),
        28 => Unit::VoltAmpere(0),
        29 => Unit::Var(0),
        30 => Unit::WattHour(0),
        32 => Unit::VarHour(0),
        33 => Unit::Ampere,
        35 => Unit::Volt,
        44 => Unit::Hertz,
        _ => return None,
    })
}

/// How the unit of a number is written, also of those that no register of this program has.
#[must_use]
pub fn unit_symbol(code: u8) -> Option<&'static str> {
    match code {
        8 => Some("deg"),
        9 => Some("°C"),
        31 => Some("VAh"),
        _ => unit(code).map(Unit::symbol),
    }
}

/// The values of a frame, see [`super::Frame::entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    payload: Reader<'a>,
    /// Entries of the present message still to come.
    list: Option<List<'a>>,
    /// Messages begun.
    number: u16,
    server: Option<&'a [u8]>,
    broken: bool,
}

#[derive(Clone, Debug)]
struct List<'a> {
    left: usize,
    reader: Reader<'a>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { payload: Reader::new(payload), list: None, number: 0, server: None, broken: false }
    }

    /// Messages read so far; all of the frame's after the last entry.
    #[must_use]
    pub fn messages(&self) -> u16 {
        self.number
    }

    /// Identification of the meter, as its `GetList.Res` carries it; known from the first entry on.
    #[must_use]
    pub fn server(&self) -> Option<&'a [u8]> {
        self.server
    }

    fn advance(&mut self) -> Result<Option<Entry<'a>>, Defect> {
        loop {
            if let Some(list) = &mut self.list {
                if list.left > 0 {
                    list.left -= 1;
                    let entry = entry(&mut list.reader);
                    let at = list.reader.position();
                    return entry.map(Some).map_err(|cause| self.shape(at, cause));
                }
                self.list = None;
            }
            // Some meters fill up with more zeros than they announce.
            if self.payload.rest().iter().all(|&byte| byte == 0) {
                return Ok(None);
            }
            self.number = self.number.saturating_add(1);
            let (whole, bounds) = (self.payload.rest(), self.payload.clone());
            let begin = bounds.position();
            let message = message(whole).map_err(|(at, cause)| self.shape(begin + at, cause))?;
            let body = &whole[..message.crc_at];
            let computed = crc::X25.of(body);
            // The two bytes stand low byte first in a field that is read high byte first.
            let given = message.crc.swap_bytes();
            if given != computed && given != crc::KERMIT.of(body) {
                return Err(Defect::WrongCrc { number: self.number, given, computed });
            }
            self.payload.skip_bytes(message.end);
            if let Some(ListAt { server, first: at, entries: left }) = message.list {
                self.server = server;
                let mut reader = bounds;
                reader.skip_bytes(at);
                self.list = Some(List { left, reader });
            }
        }
    }

    fn shape(&self, at: usize, cause: &'static str) -> Defect {
        Defect::Shape { number: self.number, at, cause }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Defect>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let item = self.advance();
        self.broken = item.is_err();
        item.transpose()
    }
}

/// Where things are in a message.
struct Message<'a> {
    list: Option<ListAt<'a>>,
    crc_at: usize,
    crc: u16,
    end: usize,
}

/// A list of values.
struct ListAt<'a> {
    server: Option<&'a [u8]>,
    /// Where its first entry is.
    first: usize,
    entries: usize,
}

const SHORT: &str = "ends inside a field";

fn cause(broken: Broken) -> &'static str {
    match broken {
        Broken::Short => SHORT,
        Broken::Unknown => "has a field of a type or length that SML does not know",
        Broken::Deep => "nests lists too deeply",
    }
}

/// The message at the front of `bytes`; an error with its place.
fn message(bytes: &[u8]) -> Result<Message<'_>, (usize, &'static str)> {
    let mut reader = Reader::new(bytes);
    message_at(&mut reader).map_err(|cause| (reader.position(), cause))
}

fn message_at<'a>(reader: &mut Reader<'a>) -> Result<Message<'a>, &'static str> {
    if reader.next().map_err(cause)? != Token::List(MESSAGE_FIELDS) {
        return Err("does not begin with a list of six");
    }
    for _transaction_group_abort in 0..3 {
        reader.skip().map_err(cause)?;
    }
    if reader.next().map_err(cause)? != Token::List(2) {
        return Err("has no body of a tag and a content");
    }
    let Token::Uint(tag, _) = reader.next().map_err(cause)? else { return Err("has a body without a tag") };
    let list = if tag == GET_LIST_RESPONSE { Some(list_at(reader)?) } else { None };
    if list.is_none() {
        reader.skip().map_err(cause)?;
    }
    let crc_at = reader.position();
    let crc = match reader.next().map_err(cause)? {
        // A meter that drops a leading zero sends one byte.
        Token::Uint(crc, _) => u16::try_from(crc).map_err(|_| "has a CRC of more than two bytes")?,
        Token::Int(crc, 1..=2) => crc as u16,
        _ => return Err("has no CRC"),
    };
    if reader.next().map_err(cause)? != Token::End {
        return Err("does not end where it should");
    }
    Ok(Message { list, crc_at, crc, end: reader.position() })
}

/// Reads over a `GetList.Res`.
fn list_at<'a>(reader: &mut Reader<'a>) -> Result<ListAt<'a>, &'static str> {
    if reader.next().map_err(cause)? != Token::List(LIST_FIELDS) {
        return Err("is a GetList.Res that is no list of seven");
    }
    reader.skip().map_err(cause)?;
    let server = match reader.next().map_err(cause)? {
        Token::Octets(server) => Some(server),
        token => {
            reader.skip_rest(token).map_err(cause)?;
            None
        }
    };
    for _name_time in 0..2 {
        reader.skip().map_err(cause)?;
    }
    let Token::List(entries) = reader.next().map_err(cause)? else {
        return Err("is a GetList.Res without a list of values");
    };
    let first = reader.position();
    for _ in 0..entries {
        reader.skip().map_err(cause)?;
    }
    for _signature_gateway_time in 0..2 {
        reader.skip().map_err(cause)?;
    }
    Ok(ListAt { server, first, entries })
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, &'static str> {
    if reader.next().map_err(cause)? != Token::List(ENTRY_FIELDS) {
        return Err("holds an entry that is no list of seven");
    }
    let obis = match reader.next().map_err(cause)? {
        Token::Octets(&[a, b, c, d, e, f]) => Obis { a, b, c, d, e, f },
        _ => return Err("holds an entry whose name is no code of six bytes"),
    };
    let status = number(reader, "holds an entry whose status is no number")?.map(|status| status as u64);
    // Some meters leave the wrapper of the time away; it counts seconds of an epoch of its own.
    reader.skip().map_err(cause)?;
    let unit = number(reader, "holds an entry whose unit is no number")?;
    let scaler = number(reader, "holds an entry whose scaler is no number")?;
    let value = match reader.next().map_err(cause)? {
        Token::Absent => Value::Absent,
        Token::Octets(bytes) => Value::Octets(bytes),
        Token::Bool(it) => Value::Bool(it),
        Token::Int(it, width) => Value::Int(it, width),
        Token::Uint(it, width) => Value::Uint(it, width),
        token @ Token::List(_) => {
            reader.skip_rest(token).map_err(cause)?;
            Value::List
        }
        Token::End => return Err("ends inside an entry"),
    };
    reader.skip().map_err(cause)?;
    Ok(Entry {
        obis,
        status,
        unit_code: unit.and_then(|unit| u8::try_from(unit).ok()),
        scaler: match scaler {
            None => None,
            Some(scaler) => Some(i8::try_from(scaler).map_err(|_| "holds an entry with an impossible scaler")?),
        },
        value,
    })
}

/// A number of either kind, or nothing. A status of eight bytes keeps its bits.
fn number(reader: &mut Reader<'_>, wrong: &'static str) -> Result<Option<i64>, &'static str> {
    match reader.next().map_err(cause)? {
        Token::Absent => Ok(None),
        Token::Int(value, _) => Ok(Some(value)),
        Token::Uint(value, _) => Ok(Some(value as i64)),
        _ => Err(wrong),
    }
}

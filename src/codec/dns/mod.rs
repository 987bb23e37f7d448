//! As much of DNS as asking a local network for its devices takes: multicast DNS (RFC 6762) and service discovery
//! (RFC 6763) in the message format of RFC 1035.
//!
//! We ask from a port of our own, so that devices answer us alone (RFC 6762 section 6.7), and only ever read answers.

mod encode;
#[cfg(test)]
mod tests;

use std::fmt;

pub use encode::answer;

/// Longest message (RFC 6762 section 17).
pub const MAX_MESSAGE: usize = 9000;
/// Records of one message that are looked at. Devices send under ten.
const MOST_RECORDS: usize = 128;
/// Bytes of a name (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;
/// Longest label; the two bits above it tell a pointer.
const LONGEST_LABEL: u8 = 63;
const HEADER: usize = 12;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_TXT: u16 = 16;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;
/// Asks for an answer to the asker alone; in an answer: what was known of this name before is no longer true.
const TOP_BIT: u16 = 0x8000;

/// A name by its labels. Two are the same without regard to upper and lower case.
#[derive(Clone, Debug, Default, Eq)]
pub struct Name(Vec<String>);

impl Name {
    /// `_http._tcp.local`, or another name without dots inside of its labels.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }

    /// Its first label: of an instance of a service, what people see.
    #[must_use]
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Without its first label: of an instance, the service.
    #[must_use]
    pub fn rest(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Kinds of record that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instances of a service.
    Pointer,
    /// Host and port of an instance.
    Service,
    /// What an instance says about itself.
    Text,
    /// IPv4 address of a host.
    Address,
}

impl Kind {
    const fn number(self) -> u16 {
        match self {
            Self::Pointer => TYPE_PTR,
            Self::Service => TYPE_SRV,
            Self::Text => TYPE_TXT,
            Self::Address => TYPE_A,
        }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An instance of the service that it is the record of.
    Pointer(Name),
    /// Where it is.
    Service {
        /// Host name.
        host: Name,
        /// Port.
        port: u16,
    },
    /// `key=value` pairs, keys in lower case.
    Text(Vec<(String, String)>),
    /// IPv4.
    Address([u8; 4]),
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of whom.
    pub name: Name,
    /// What.
    pub data: Data,
}

/// Why a message says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends inside of something.
    #[error("a DNS message that ends at byte {0}, inside of something")]
    Short(usize),
    /// A name that is too long, points forward, or has a label of a kind that does not exist.
    #[error("a DNS message with an impossible name at byte {0}")]
    Name(usize),
    /// Somebody else asks.
    #[error("a question of somebody else")]
    Question,
}

/// A message that asks for records, each name with its kind. Labels longer than 63 bytes are cut.
#[must_use]
pub fn question(id: u16, asked: &[(Name, Kind)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * (asked.len() + 1));
    let count = u16::try_from(asked.len()).unwrap_or(u16::MAX);
    for word in [id, 0, count, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    for (name, kind) in asked.iter().take(usize::from(count)) {
        put_name(&mut out, name);
        out.extend(kind.number().to_be_bytes());
        out.extend((CLASS_IN | TOP_BIT).to_be_bytes());
    }
    out
}

fn put_name(out: &mut Vec<u8>, name: &Name) {
    for label in &name.0 {
        let bytes = &label.as_bytes()[..label.len().min(usize::from(LONGEST_LABEL))];
        out.push(bytes.len() as u8);
        out.extend(bytes);
    }
    out.push(0);
}

/// The records of an answer that are of use here, from all of its sections.
///
/// # Errors
/// When it cannot be read to its end; devices send whole messages.
pub fn records(message: &[u8]) -> Result<Vec<Record>, Malformed> {
    const IS_ANSWER: u16 = 0x8000;
    let mut reader = Reader { message, at: 2 };
    let flags = reader.word()?;
    if flags & IS_ANSWER == 0 {
        return Err(Malformed::Question);
    }
    let counts = [reader.word()?, reader.word()?, reader.word()?, reader.word()?].map(usize::from);
    debug_assert_eq!(reader.at, HEADER);
    for _ in 0..counts[0].min(MOST_RECORDS) {
        reader.name()?;
        reader.take(4)?;
    }
    let mut found = Vec::new();
    for _ in 0..counts[1..].iter().sum::<usize>().min(MOST_RECORDS) {
        found.extend(reader.record()?);
    }
    Ok(found)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed::Short(self.at))?;
        let taken = self.message.get(self.at..end).ok_or(Malformed::Short(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn word(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A name, which may go on at an earlier place. Each jump goes further back than the one before, so it ends.
    fn name(&mut self) -> Result<Name, Malformed> {
        let begin = self.at;
        let (mut labels, mut length, mut behind, mut lowest) = (Vec::new(), 0, None, begin);
        loop {
            let first = self.byte()?;
            match first {
                0 => break,
                1..=LONGEST_LABEL => {
                    length += usize::from(first) + 1;
                    if length > LONGEST_NAME {
                        return Err(Malformed::Name(begin));
                    }
                    let label = self.take(first.into())?;
                    labels.push(String::from_utf8_lossy(label).into_owned());
                }
                0xC0.. => {
                    let place = usize::from(u16::from_be_bytes([first & 0x3F, self.byte()?]));
                    if place >= lowest {
                        return Err(Malformed::Name(begin));
                    }
                    behind.get_or_insert(self.at);
                    (lowest, self.at) = (place, place);
                }
                _ => return Err(Malformed::Name(begin)),
            }
        }
        self.at = behind.unwrap_or(self.at);
        Ok(Name(labels))
    }

    /// `None` for one of another kind or class.
    fn record(&mut self) -> Result<Option<Record>, Malformed> {
        let name = self.name()?;
        let (kind, class) = (self.word()?, self.word()?);
        let _time_to_live = self.take(4)?;
        let length = usize::from(self.word()?);
        let begin = self.at;
        let content = self.take(length)?;
        let end = self.at;
        if class & !TOP_BIT != CLASS_IN {
            return Ok(None);
        }
        // Names inside may point to anywhere before.
        let mut inside = Reader { message: &self.message[..end], at: begin };
        let data = match kind {
            TYPE_PTR => Data::Pointer(inside.name()?),
            TYPE_SRV => {
                let _priority_and_weight = inside.take(4)?;
                Data::Service { port: inside.word()?, host: inside.name()? }
            }
            TYPE_TXT => Data::Text(pairs(content)),
            TYPE_A => match content.first_chunk() {
                Some(address) if content.len() == 4 => Data::Address(*address),
                _ => return Err(Malformed::Short(begin)),
            },
            _ => return Ok(None),
        };
        Ok(Some(Record { name, data }))
    }
}

/// Texts of one length byte each (RFC 6763 section 6). What is cut ends the list; a key without a value has an empty one.
fn pairs(mut content: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((length, rest)) = content.split_first() {
        let Some((text, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
        content = rest;
        let text = String::from_utf8_lossy(text);
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        if !key.is_empty() {
            found.push((key.to_ascii_lowercase(), value.to_owned()));
        }
    }
    found
}

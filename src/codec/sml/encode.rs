//! Builds frames, for the simulator and for tests.

use crate::codec::crc;
use crate::codec::obis::Obis;

/// A field of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// 01
    Absent,
    /// Bytes.
    Octets(&'a [u8]),
    /// Signed, in so many bytes (1 to 8).
    Int(i64, u8),
    /// Unsigned, in so many bytes (1 to 8).
    Uint(u64, u8),
}

/// One entry of a list of values: code, status, unit, scaler, value.
#[must_use]
pub fn entry(obis: Obis, status: Option<u32>, unit: Option<u8>, scaler: i8, value: Field<'_>) -> Vec<u8> {
    let mut out = vec![0x77];
    field(&mut out, Field::Octets(&[obis.a, obis.b, obis.c, obis.d, obis.e, obis.f]));
    field(&mut out, status.map_or(Field::Absent, |status| Field::Uint(status.into(), 4)));
    field(&mut out, Field::Absent);
    field(&mut out, unit.map_or(Field::Absent, |unit| Field::Uint(unit.into(), 1)));
    field(&mut out, if unit.is_some() { Field::Int(scaler.into(), 1) } else { Field::Absent });
    field(&mut out, value);
    field(&mut out, Field::Absent);
    out
}

/// A frame of three messages as a meter pushes it, with these entries (see [`entry`]).
#[must_use]
pub fn encode(server: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    let mut open = vec![0x76];
    for it in
        [Field::Absent, Field::Absent, Field::Octets(&[0, 1]), Field::Octets(server), Field::Absent, Field::Absent]
    {
        field(&mut open, it);
    }
    let mut list = vec![0x77];
    for it in [Field::Absent, Field::Octets(server), Field::Absent, Field::Absent] {
        field(&mut list, it);
    }
    list_head(&mut list, entries.len());
    list.extend(entries.iter().flatten());
    field(&mut list, Field::Absent);
    field(&mut list, Field::Absent);
    let mut payload = Vec::new();
    message(&mut payload, 1, 0x0101, &open);
    message(&mut payload, 2, 0x0701, &list);
    message(&mut payload, 3, 0x0201, &[0x71, 0x01]);
    frame(&payload)
}

fn message(out: &mut Vec<u8>, number: u8, tag: u64, content: &[u8]) {
    let begin = out.len();
    out.push(0x76);
    field(out, Field::Octets(&[number]));
    field(out, Field::Uint(0, 1));
    field(out, Field::Uint(0, 1));
    out.push(0x72);
    field(out, Field::Uint(tag, 2));
    out.extend(content);
    let crc = crc::X25.of(&out[begin..]);
    field(out, Field::Uint(crc.swap_bytes().into(), 2));
    out.push(0);
}

fn list_head(out: &mut Vec<u8>, length: usize) {
    match length {
        0..16 => out.push(0x70 | length as u8),
        _ => out.extend([0xF0 | (length >> 4) as u8, (length & 0x0F) as u8]),
    }
}

fn field(out: &mut Vec<u8>, field: Field<'_>) {
    match field {
        Field::Absent => out.push(0x01),
        Field::Octets(bytes) if bytes.len() < 15 => {
            out.push(bytes.len() as u8 + 1);
            out.extend(bytes);
        }
        Field::Octets(bytes) => {
            let length = bytes.len() + 2;
            out.extend([0x80 | (length >> 4) as u8, (length & 0x0F) as u8]);
            out.extend(bytes);
        }
        Field::Int(value, width) => number(out, 0x50, value.to_be_bytes(), width),
        Field::Uint(value, width) => number(out, 0x60, value.to_be_bytes(), width),
    }
}

fn number(out: &mut Vec<u8>, kind: u8, bytes: [u8; 8], width: u8) {
    let width = usize::from(width.clamp(1, 8));
    out.push(kind | (width as u8 + 1));
    out.extend(&bytes[8 - width..]);
}

/// Start, escaped payload, padding, end.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    const ESCAPE: [u8; 4] = [0x1B; 4];
    let mut out = vec![0x1B, 0x1B, 0x1B, 0x1B, 1, 1, 1, 1];
    let mut rest = payload;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(&ESCAPE) {
            out.extend([ESCAPE, ESCAPE].concat());
            rest = tail;
        } else {
            out.push(first);
            rest = tail;
        }
    }
    let padding = (4 - out.len() % 4) % 4;
    out.resize(out.len() + padding, 0);
    out.extend(ESCAPE);
    out.extend([0x1A, padding as u8]);
    let crc = crc::X25.of(&out);
    out.extend(crc.to_le_bytes());
    out
}

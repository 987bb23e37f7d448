//! SML frames.

use std::io::{self, Read, Write};

use serde_json::{Map, Value, json};

use super::{Form, Message, Outcome, Report, name, pieces, shown};
use crate::codec::sml::{Decoder, Entry, Frame, FrameError, Value as Content, unit_symbol};
use crate::codec::value::Decimal;

/// Decodes SML frames from `input` until its end. Frames go to `out`; what belongs to none is named on `notes`.
///
/// A frame that fails its check is printed as far as it can be read and makes the outcome [`Outcome::Invalid`].
///
/// # Errors
/// When reading or writing fails.
pub fn sml(input: &mut impl Read, form: Form, out: &mut impl Write, notes: &mut impl Write) -> io::Result<Outcome> {
    let mut decoder = Decoder::new();
    let mut report = Report::new(form, out, notes);
    pieces(input, |mut bytes| {
        while let Some(item) = decoder.decode(&mut bytes) {
            match item {
                Ok(frame) => report.show(&frame)?,
                Err(error) => report.refuse(&error, matches!(error, FrameError::CutShort { .. }))?,
            }
        }
        Ok(())
    })?;
    if let Some(error) = decoder.finish() {
        report.refuse(&format_args!("the input ends inside a frame: {error}"), true)?;
    }
    report.end("SML frame", Frame::NOUN, decoder.discarded_total(), None::<&str>)
}

impl Message for Frame<'_> {
    const NOUN: &'static str = "frame";

    fn check(&self) -> Result<(), Option<String>> {
        Frame::check(self).map_err(|rejection| Some(rejection.to_string()))
    }

    fn json(&self) -> Value {
        frame_json(self)
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        frame_text(self, out)
    }
}

fn crc_word(frame: &Frame<'_>) -> &'static str {
    if frame.crc().is_valid() { "valid" } else { "invalid" }
}

/// One frame in the JSON form of `decode`.
#[must_use]
pub fn frame_json(frame: &Frame<'_>) -> Value {
    let mut json = Map::new();
    json.insert("kind".into(), "sml".into());
    json.insert("crc".into(), crc_word(frame).into());
    json.insert("crc_given".into(), format!("{:04X}", frame.crc().given).into());
    json.insert("crc_computed".into(), format!("{:04X}", frame.crc().computed).into());
    let mut entries = frame.entries();
    let mut objects = Vec::new();
    for entry in &mut entries {
        match entry {
            Ok(entry) => objects.push(entry_json(&entry)),
            Err(defect) => drop(json.insert("defect".into(), defect.to_string().into())),
        }
    }
    json.insert("messages".into(), entries.messages().into());
    json.insert("objects".into(), objects.into());
    json.insert("discarded_bytes".into(), frame.discarded_bytes().into());
    json.into()
}

fn code(entry: &Entry<'_>) -> String {
    if entry.obis.f == 255 { format!("{}*255", entry.obis) } else { entry.obis.to_string() }
}

fn entry_json(entry: &Entry<'_>) -> Value {
    let mut json = Map::new();
    json.insert("obis".into(), code(entry).into());
    match entry.value {
        Content::Absent => drop(json.insert("octets".into(), "".into())),
        Content::Octets(bytes) => {
            json.insert("octets".into(), hex(bytes).into());
            if let Some(text) = text(bytes) {
                json.insert("text".into(), text.into());
            }
        }
        Content::Bool(it) => drop(json.insert("value".into(), it.into())),
        Content::Int(raw, _) => drop(json.insert("raw".into(), raw.into())),
        Content::Uint(raw, _) => drop(json.insert("raw".into(), raw.into())),
        Content::List => drop(json.insert("value".into(), json!([]))),
    }
    if let Some(number) = entry.decimal() {
        json.insert("value".into(), written(number).into());
    }
    // Some meters send a unit and a scaler of zero with texts.
    let (scaler, unit) = match entry.value {
        Content::Int(..) | Content::Uint(..) => (entry.scaler, entry.unit_code),
        _ => (None, None),
    };
    for (key, number) in [
        ("scaler", scaler.map(Value::from)),
        ("unit_code", unit.map(Value::from)),
        ("unit", unit.and_then(unit_symbol).map(Value::from)),
        ("status", entry.status.map(Value::from)),
    ] {
        if let Some(number) = number {
            json.insert(key.into(), number);
        }
    }
    json.into()
}

/// With all its decimals.
fn written(number: Decimal) -> String {
    let decimals = usize::from(number.decimals);
    let digits = format!("{:0width$}", number.mantissa.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let sign = if number.mantissa < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Octets that are a text.
fn text(bytes: &[u8]) -> Option<&str> {
    let printable = !bytes.is_empty() && bytes.iter().all(|byte| (b' '..0x7F).contains(byte));
    std::str::from_utf8(bytes).ok().filter(|_| printable)
}

fn frame_text(frame: &Frame<'_>, out: &mut impl Write) -> io::Result<()> {
    let crc = frame.crc();
    writeln!(out, "SML frame of {} bytes", frame.length())?;
    match (crc.is_valid(), crc.kermit) {
        (true, false) => writeln!(out, "  CRC {:04X} fits", crc.given)?,
        (true, true) => writeln!(out, "  CRC {:04X} fits as CRC-16/KERMIT", crc.given)?,
        (false, _) => writeln!(out, "  WRONG CRC: given {:04X}, computed {:04X}", crc.given, crc.computed)?,
    }
    if frame.discarded_bytes() > 0 {
        writeln!(out, "  {} bytes before it belong to no frame", frame.discarded_bytes())?;
    }
    for entry in frame.entries() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(defect) => {
                writeln!(out, "  {defect}")?;
                break;
            }
        };
        let mut value = match (entry.decimal(), entry.value) {
            (Some(number), _) => written(number),
            (None, Content::Octets(bytes)) => text(bytes).map_or_else(|| hex(bytes), str::to_owned),
            (None, Content::Uint(raw, _)) => raw.to_string(),
            (None, Content::Int(raw, _)) => raw.to_string(),
            (None, Content::Bool(it)) => it.to_string(),
            (None, Content::Absent) => String::new(),
            (None, Content::List) => "a list".to_owned(),
        };
        if let Some(unit) = entry.unit_code.filter(|&unit| unit != 0) {
            value.push(' ');
            value.push_str(&unit_symbol(unit).map_or_else(|| format!("(unit {unit})"), str::to_owned));
        }
        if let Some(status) = entry.status {
            value.push_str(&format!(", status {status:X}"));
        }
        let name = if entry.obis.f == 255 { name(entry.obis) } else { String::new() };
        writeln!(out, "  {:<22} {:<32} {name}", code(&entry), shown(value))?;
    }
    writeln!(out)
}

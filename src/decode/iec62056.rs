//! Readouts of the optical port (IEC 62056-21).

use std::io::{self, Read, Write};

use serde_json::{Map, Value};

use super::{Form, Outcome, name, pieces, plain_number, printable, shown};
use crate::codec::iec62056::{Bcc, DataSet, Decoder, FrameError, Item, Readout, obis};
use crate::codec::p1::object::text;

/// Decodes readouts from `input` until its end. Readouts go to `out`; what belongs to none is named on `notes`.
///
/// A readout that fails its check is printed all the same and makes the outcome [`Outcome::Invalid`]. One without an
/// end mark is printed when it is the only one.
///
/// # Errors
/// When reading or writing fails.
pub fn iec62056(
    input: &mut impl Read,
    form: Form,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> io::Result<Outcome> {
    let mut decoder = Decoder::new();
    let mut sink = Sink { form, out, notes, printed: 0, failed: 0 };
    pieces(input, |mut bytes| {
        while let Some(item) = decoder.decode(&mut bytes) {
            sink.take(item)?;
        }
        Ok(())
    })?;
    if let Some(item) = decoder.finish() {
        sink.take(item)?;
    }
    let nothing = sink.printed == 0;
    if nothing {
        writeln!(sink.notes, "no readout found")?;
    }
    if decoder.discarded_total() > 0 {
        writeln!(sink.notes, "{} bytes belong to no readout", decoder.discarded_total())?;
    }
    sink.out.flush()?;
    Ok(if nothing || sink.failed > 0 { Outcome::Invalid } else { Outcome::Valid })
}

struct Sink<'a, O, N> {
    form: Form,
    out: &'a mut O,
    notes: &'a mut N,
    printed: usize,
    failed: usize,
}

impl<O: Write, N: Write> Sink<'_, O, N> {
    fn take(&mut self, item: Result<Readout<'_>, FrameError>) -> io::Result<()> {
        let readout = match item {
            Ok(readout) => readout,
            Err(error) => {
                self.failed += usize::from(!matches!(error, FrameError::CutShort { .. }));
                return writeln!(self.notes, "{error}");
            }
        };
        if !readout.is_complete() && self.printed > 0 {
            return writeln!(self.notes, "the last readout ends before its end mark and is not shown");
        }
        self.printed += 1;
        if bcc_word(&readout) == "invalid" || readout.parity_errors().is_some_and(|errors| errors > 0) {
            self.failed += 1;
        }
        match self.form {
            Form::Json => {
                serde_json::to_writer(&mut *self.out, &readout_json(&readout))?;
                writeln!(self.out)
            }
            Form::Text => readout_text(&readout, self.out),
        }
    }
}

fn bcc_word(readout: &Readout<'_>) -> &'static str {
    match readout.bcc() {
        None => "absent",
        Some(bcc) if bcc.is_valid() => "valid",
        Some(_) => "invalid",
    }
}

/// One readout in the JSON form of `decode`.
#[must_use]
pub fn readout_json(readout: &Readout<'_>) -> Value {
    let mut json = Map::new();
    json.insert("kind".into(), "iec62056".into());
    json.insert("ident".into(), text(readout.header()).into());
    json.insert("crc".into(), bcc_word(readout).into());
    json.insert("bcc".into(), bcc_word(readout).into());
    if let Some(Bcc { given, computed }) = readout.bcc() {
        json.insert("bcc_given".into(), format!("{given:02X}").into());
        json.insert("bcc_computed".into(), format!("{computed:02X}").into());
    }
    if let Some(errors) = readout.parity_errors() {
        json.insert("parity_errors".into(), errors.into());
    }
    json.insert("complete".into(), readout.is_complete().into());
    let (mut objects, mut unparsed) = (Vec::new(), Vec::new());
    for item in readout.items() {
        match item {
            Item::DataSet(set) => objects.push(data_set_json(&set)),
            Item::Unparsed(line) => unparsed.push(Value::from(text(line))),
        }
    }
    json.insert("objects".into(), objects.into());
    if !unparsed.is_empty() {
        json.insert("unparsed".into(), unparsed.into());
    }
    json.insert("discarded_bytes".into(), readout.discarded_bytes().into());
    json.into()
}

fn data_set_json(set: &DataSet<'_>) -> Value {
    let mut json = Map::new();
    json.insert("obis".into(), text(set.address).into());
    json.insert("args".into(), set.args().map(text).collect::<Vec<_>>().into());
    if let Some((number, unit)) = set.number() {
        json.insert("value".into(), plain_number(&text(number)).into());
        if let Some(unit) = unit {
            json.insert("unit".into(), text(unit).into());
        }
    }
    json.into()
}

fn readout_text(readout: &Readout<'_>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", printable(&text(readout.header())))?;
    match readout.bcc() {
        _ if !readout.is_complete() => writeln!(out, "  no end mark: cut off")?,
        None if readout.is_framed() => writeln!(out, "  no BCC: cut off behind the end mark")?,
        None => writeln!(out, "  no BCC: a meter that sends unasked has none")?,
        Some(bcc) if bcc.is_valid() => writeln!(out, "  BCC {:02X} fits", bcc.given)?,
        Some(Bcc { given, computed }) => {
            writeln!(out, "  WRONG BCC: given {given:02X}, computed {computed:02X}")?;
        }
    }
    match readout.parity_errors() {
        None => {}
        Some(0) => writeln!(out, "  7E1 recorded as 8N1: every byte has even parity")?,
        Some(errors) => writeln!(out, "  7E1 recorded as 8N1: {errors} bytes with WRONG PARITY")?,
    }
    if readout.discarded_bytes() > 0 {
        writeln!(out, "  {} bytes before it belong to no readout", readout.discarded_bytes())?;
    }
    for item in readout.items() {
        match item {
            Item::DataSet(set) => {
                let value = match set.number() {
                    Some((number, unit)) => {
                        format!("{} {}", plain_number(&text(number)), text(unit.unwrap_or_default()))
                    }
                    None => set.args().map(text).collect::<Vec<_>>().join("  "),
                };
                let name = obis(set.address).filter(|code| code.f == 255).map(name).unwrap_or_default();
                writeln!(out, "  {:<16} {:<28} {name}", printable(&text(set.address)), shown(value))?;
            }
            Item::Unparsed(line) => writeln!(out, "  not understood: {}", printable(&text(line)))?,
        }
    }
    writeln!(out)
}

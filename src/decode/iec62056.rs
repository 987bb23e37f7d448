//! Readouts of the optical port (IEC 62056-21).

use std::io::{self, Read, Write};

use serde_json::{Map, Value};

use super::{Form, Message, Outcome, Report, name, pieces, plain_number, printable, shown};
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
    let mut report = Report::new(form, out, notes);
    pieces(input, |mut bytes| {
        while let Some(item) = decoder.decode(&mut bytes) {
            take(&mut report, item)?;
        }
        Ok(())
    })?;
    if let Some(item) = decoder.finish() {
        take(&mut report, item)?;
    }
    report.end(Readout::NOUN, Readout::NOUN, decoder.discarded_total(), None::<&str>)
}

fn take(report: &mut Report<'_, impl Write, impl Write>, item: Result<Readout<'_>, FrameError>) -> io::Result<()> {
    match item {
        Ok(readout) => report.show(&readout),
        Err(error) => report.refuse(&error, matches!(error, FrameError::CutShort { .. })),
    }
}

impl Message for Readout<'_> {
    const NOUN: &'static str = "readout";

    fn is_complete(&self) -> bool {
        Readout::is_complete(self)
    }

    fn is_understood(&self) -> bool {
        self.items().any(|it| matches!(it, Item::DataSet(set) if obis(set.address).is_some()))
    }

    fn check(&self) -> Result<(), Option<String>> {
        let damaged = self.parity_errors().is_some_and(|errors| errors > 0);
        if bcc_word(self) == "invalid" || damaged { Err(None) } else { Ok(()) }
    }

    fn json(&self) -> Value {
        readout_json(self)
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        readout_text(self, out)
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

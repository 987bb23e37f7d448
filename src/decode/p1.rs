//! P1 telegrams.

use std::io::{self, Read, Write};

use serde_json::{Map, Value, json};

use super::{Form, Message, Outcome, Report, name, pieces, plain_number, printable, shown};
use crate::codec::p1::object::{self, Content};
use crate::codec::p1::{Decoder, FrameError, Keys, Line, Object, TagCheck, Telegram, Verdict};
use crate::codec::value;

/// Decodes P1 telegrams from `input` until its end. Telegrams go to `out`; what belongs to none is named on `notes`.
///
/// A telegram that fails its check is printed all the same and makes the outcome [`Outcome::Invalid`]. One without an
/// end mark is printed when it is the only one; one that the next header cut short is not.
///
/// # Errors
/// When reading or writing fails.
pub fn p1(
    input: &mut impl Read,
    keys: Option<Keys>,
    form: Form,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> io::Result<Outcome> {
    let mut decoder = Decoder::new(keys);
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
    report.end("P1 telegram", Telegram::NOUN, decoder.discarded_total(), decoder.hint())
}

fn take(report: &mut Report<'_, impl Write, impl Write>, item: Result<Telegram<'_>, FrameError>) -> io::Result<()> {
    match item {
        Ok(telegram) => report.show(&telegram),
        Err(error) => report.refuse(&error, matches!(error, FrameError::CutShort { .. })),
    }
}

impl Message for Telegram<'_> {
    const NOUN: &'static str = "telegram";

    fn is_complete(&self) -> bool {
        Telegram::is_complete(self)
    }

    fn is_understood(&self) -> bool {
        self.objects().next().is_some()
    }

    fn check(&self) -> Result<(), Option<String>> {
        let wrong_tag = self.seal().is_some_and(|seal| seal.tag == TagCheck::Wrong);
        if crc_word(self) == "invalid" || wrong_tag { Err(None) } else { Ok(()) }
    }

    fn json(&self) -> Value {
        telegram_json(self)
    }

    fn text(&self, out: &mut impl Write) -> io::Result<()> {
        telegram_text(self, out)
    }
}

/// As the JSON form has it. A CRC that another rule computed fits the bytes, and what a telnet server put between them is
/// none of them; but a text whose line ends were changed does not fit its CRC, even where it is known how.
fn crc_word(telegram: &Telegram<'_>) -> &'static str {
    use crate::codec::p1::Repair;
    match telegram.crc().verdict {
        Verdict::Absent => "absent",
        Verdict::Valid | Verdict::ValidAfter(Repair::X25 | Repair::Telnet) => "valid",
        Verdict::ValidAfter(Repair::CarriageReturns) | Verdict::Invalid => "invalid",
    }
}

/// One telegram in the JSON form of `decode`.
#[must_use]
pub fn telegram_json(telegram: &Telegram<'_>) -> Value {
    let mut json = Map::new();
    json.insert("kind".into(), "p1".into());
    json.insert("header".into(), object::text(telegram.header()).into());
    json.insert("crc".into(), crc_word(telegram).into());
    if telegram.is_complete() {
        let given = telegram.crc().given();
        json.insert("crc_given".into(), if given.is_empty() { Value::Null } else { given.into() });
        json.insert("crc_computed".into(), format!("{:04X}", telegram.crc().computed).into());
    }
    if let Verdict::ValidAfter(repair) = telegram.crc().verdict {
        json.insert("crc_note".into(), repair.to_string().into());
    }
    json.insert("complete".into(), telegram.is_complete().into());
    if let Some(seal) = telegram.seal() {
        let title: String = seal.system_title.iter().map(|byte| format!("{byte:02x}")).collect();
        json.insert(
            "encrypted".into(),
            json!({ "system_title": title, "frame_counter": seal.frame_counter, "tag": tag_word(seal.tag) }),
        );
    }
    let (mut objects, mut unparsed) = (Vec::new(), Vec::new());
    for line in telegram.lines() {
        match line {
            Line::Object(object) => objects.push(object_json(&object)),
            Line::Unparsed(line) => unparsed.push(Value::from(object::text(line))),
        }
    }
    json.insert("objects".into(), objects.into());
    if !unparsed.is_empty() {
        json.insert("unparsed".into(), unparsed.into());
    }
    json.insert("discarded_bytes".into(), telegram.discarded_bytes().into());
    json.into()
}

fn tag_word(tag: TagCheck) -> &'static str {
    match tag {
        TagCheck::Verified => "verified",
        TagCheck::NotVerified => "not_verified",
        TagCheck::Wrong => "wrong",
    }
}

fn object_json(object: &Object<'_>) -> Value {
    let args: Vec<String> = object.args().map(object::text).collect();
    let content = object.content();
    let mut json = Map::new();
    json.insert("obis".into(), object::text(object.code).into());
    json.insert("args".into(), args.clone().into());
    if let Some(timestamp) = content.timestamp {
        json.insert("timestamp".into(), object::text(timestamp).into());
    }
    if let Some(number) = content.number {
        json.insert("value".into(), plain_number(&object::text(number)).into());
    }
    if let Some(unit) = content.unit {
        json.insert("unit".into(), object::text(unit).into());
    }
    if let Some(register) = content.register {
        json.insert("register".into(), object::text(register).into());
    }
    if let Some(failures) = failures(object, &args) {
        json.insert("failures".into(), failures);
    }
    if let Some(history) = history(object, &args) {
        json.insert("history".into(), history);
    }
    json.into()
}

/// The log of long power failures: (n)(0-0:96.7.19) and pairs of (end)(duration*s).
fn failures(object: &Object<'_>, args: &[String]) -> Option<Value> {
    if object.code != b"1-0:99.97.0" || args.len() < 4 || !args.len().is_multiple_of(2) {
        return None;
    }
    let pairs = args[2..].chunks_exact(2).map(|pair| {
        let seconds: u64 = pair[1].strip_suffix("*s")?.parse().ok()?;
        value::is_timestamp(pair[0].as_bytes(), true).then(|| json!({ "end": pair[0], "seconds": seconds }))
    });
    pairs.collect::<Option<Vec<_>>>().map(Value::from)
}

/// Belgium's monthly peaks: (n)(1-0:1.6.0)(1-0:1.6.0) and triples of (month)(time of the peak)(value*unit). Hungary
/// sends one time and nineteen values under the same code.
fn history(object: &Object<'_>, args: &[String]) -> Option<Value> {
    let peaks = args.get(3..)?;
    if object.code != b"0-0:98.1.0" || peaks.is_empty() || !peaks.len().is_multiple_of(3) {
        return None;
    }
    let peaks = peaks.chunks_exact(3).map(|peak| {
        let (number, unit) = peak[2].split_once('*')?;
        value::Decimal::parse(number.as_bytes())?;
        let times = value::is_timestamp(peak[0].as_bytes(), true) && value::is_timestamp(peak[1].as_bytes(), true);
        times.then(|| json!({ "period": peak[0], "occurred": peak[1], "value": plain_number(number), "unit": unit }))
    });
    peaks.collect::<Option<Vec<_>>>().map(Value::from)
}

fn telegram_text(telegram: &Telegram<'_>, out: &mut impl Write) -> io::Result<()> {
    let crc = telegram.crc();
    writeln!(out, "{}", printable(&object::text(telegram.header())))?;
    match crc.verdict {
        _ if !telegram.is_complete() => writeln!(out, "  no end mark: cut off, or a meter that sends none")?,
        Verdict::Absent => writeln!(out, "  no CRC")?,
        Verdict::Valid => writeln!(out, "  CRC {} fits", printable(&crc.given()))?,
        Verdict::ValidAfter(repair) => {
            writeln!(
                out,
                "  CRC {} does not fit the bytes as they are (computed {:04X}): {repair}",
                printable(&crc.given()),
                crc.computed
            )?;
        }
        Verdict::Invalid => {
            writeln!(out, "  WRONG CRC: given {}, computed {:04X}", printable(&crc.given()), crc.computed)?;
        }
    }
    if let Some(seal) = telegram.seal() {
        let tag = match seal.tag {
            TagCheck::Verified => "the authentication tag fits",
            TagCheck::NotVerified => "the authentication tag does not fit the published authentication key",
            TagCheck::Wrong => "the authentication tag is WRONG for this authentication key",
        };
        writeln!(out, "  decrypted, frame {}: {tag}", seal.frame_counter)?;
    }
    if telegram.discarded_bytes() > 0 {
        writeln!(out, "  {} bytes before it belong to no telegram", telegram.discarded_bytes())?;
    }
    for line in telegram.lines() {
        match line {
            Line::Object(object) => {
                let code = object::text(object.code);
                let (value, name) = (shown_value(&object, &object.content()), name(object.obis));
                writeln!(out, "  {code:<14} {value:<28} {name}")?;
            }
            Line::Unparsed(line) => writeln!(out, "  not understood: {}", printable(&object::text(line)))?,
        }
    }
    writeln!(out)
}

fn shown_value(object: &Object<'_>, content: &Content<'_>) -> String {
    shown(match content.number {
        Some(number) => {
            let mut shown = plain_number(&object::text(number));
            if let Some(unit) = content.unit {
                shown.push(' ');
                shown.push_str(&object::text(unit));
            }
            if let Some(time) = content.timestamp {
                shown.push_str(" at ");
                shown.push_str(&object::text(time));
            }
            shown
        }
        None => object.args().map(object::text).collect::<Vec<_>>().join("  "),
    })
}

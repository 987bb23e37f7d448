//! Flat JSON, written key by key into one buffer.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use crate::quantity::{Milliamp, Millivolt, Watt, WattHour};

/// One value of a state topic. Numbers stay numbers, what is absent is `null`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    /// Absent.
    Null,
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Int(i64),
    /// Thousandths, written in the unit without trailing zeros.
    Milli(i64),
    /// As many decimals as the device sent.
    Decimal(f64, u8),
    /// A word of a closed list.
    Word(&'static str),
    /// Anything else.
    Text(String),
    /// JSON that stands as it is.
    Json(String),
}

impl Hash for Out {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Flag(flag) => flag.hash(state),
            Self::Int(number) | Self::Milli(number) => number.hash(state),
            Self::Decimal(number, decimals) => (number.to_bits(), decimals).hash(state),
            Self::Word(word) => word.hash(state),
            Self::Text(text) | Self::Json(text) => text.hash(state),
        }
    }
}

impl Out {
    /// `null` for `None`.
    pub(crate) fn or_null<T>(value: Option<T>, out: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, out)
    }

    /// In A.
    pub(crate) fn amps(value: Option<Milliamp>) -> Self {
        Self::or_null(value, |it| Self::Milli(i64::from(it.0)))
    }

    /// In V.
    pub(crate) fn volts(value: Option<Millivolt>) -> Self {
        Self::or_null(value, |it| Self::Milli(i64::from(it.0)))
    }

    /// In W.
    pub(crate) fn watts(value: Option<Watt>) -> Self {
        Self::or_null(value, |it| Self::Int(i64::from(it.0)))
    }

    /// In kW.
    pub(crate) fn kilowatts(value: Option<Watt>) -> Self {
        Self::or_null(value, |it| Self::Milli(i64::from(it.0)))
    }

    /// In kWh.
    pub(crate) fn kilowatt_hours(value: Option<WattHour>) -> Self {
        Self::or_null(value, |it| Self::Milli(it.0))
    }

    /// A text that may be missing or empty.
    pub(crate) fn text(value: impl Into<String>) -> Self {
        let text = value.into();
        if text.is_empty() { Self::Null } else { Self::Text(text) }
    }
}

/// An object under construction.
#[derive(Debug)]
pub(crate) struct Object {
    text: String,
}

impl Object {
    /// `{`
    pub(crate) fn new() -> Self {
        let mut text = String::with_capacity(1024);
        text.push('{');
        Self { text }
    }

    /// Adds a member. Keys come from our own tables or are checked by the codec; they are escaped all the same.
    pub(crate) fn put(&mut self, key: &str, value: &Out) -> &mut Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        push_string(&mut self.text, key);
        self.text.push(':');
        push_value(&mut self.text, value);
        self
    }

    /// The finished object.
    pub(crate) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

fn push_value(text: &mut String, value: &Out) {
    match value {
        Out::Null => text.push_str("null"),
        Out::Flag(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Out::Int(number) => push_int(text, *number),
        Out::Milli(number) => push_milli(text, *number),
        Out::Decimal(number, decimals) if number.is_finite() => {
            let begin = text.len();
            let written = write!(text, "{number:.*}", usize::from((*decimals).min(9)));
            debug_assert!(written.is_ok(), "a String takes everything");
            // A solar meter that is turned round measures -0 all night, and people would read it.
            if text[begin..].starts_with('-') && !text[begin..].contains(|it| matches!(it, '1'..='9')) {
                text.remove(begin);
            }
        }
        // JSON knows no infinity; the codec lets none through.
        Out::Decimal(..) => text.push_str("null"),
        Out::Word(word) => push_string(text, word),
        Out::Text(words) => push_string(text, words),
        Out::Json(json) => text.push_str(json),
    }
}

fn push_int(text: &mut String, number: i64) {
    let written = write!(text, "{number}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn push_milli(text: &mut String, number: i64) {
    if number < 0 {
        text.push('-');
    }
    let size = number.unsigned_abs();
    push_int(text, i64::try_from(size / 1000).unwrap_or(i64::MAX));
    let fraction = size % 1000;
    if fraction != 0 {
        let digits = format!(".{fraction:03}");
        text.push_str(digits.trim_end_matches('0'));
    }
}

fn push_string(text: &mut String, words: &str) {
    text.push('"');
    for c in words.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if u32::from(c) < 0x20 => {
                let written = write!(text, "\\u{:04x}", u32::from(c));
                debug_assert!(written.is_ok(), "a String takes everything");
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_back_as_json_of_its_kind() {
        let mut object = Object::new();
        object
            .put("a", &Out::amps(Some(Milliamp(-1_050))))
            .put("b", &Out::amps(None))
            .put("c", &Out::Decimal(34.0, 3))
            .put("d", &Out::Text("a \"b\"\\\n\u{1}é".into()))
            .put("e", &Out::Flag(true))
            .put("f", &Out::Milli(16_000))
            .put("g", &Out::Decimal(f64::NAN, 1))
            .put("h", &Out::Milli(-5))
            .put("i", &Out::Word("fast"))
            .put("j", &Out::Decimal(-0.0, 1))
            .put("k", &Out::Decimal(-0.004, 2))
            .put("l", &Out::Decimal(-0.006, 2));
        let text = object.finish();
        assert!(text.starts_with(r#"{"a":-1.05,"b":null,"c":34.000,"#), "{text}");
        assert!(text.ends_with(r#""j":0.0,"k":0.00,"l":-0.01}"#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["d"], "a \"b\"\\\n\u{1}é");
        assert_eq!(value["f"], 16);
        assert_eq!(value["g"], serde_json::Value::Null);
        assert_eq!(value["h"], -0.005);
        assert_eq!(value["i"], "fast");
    }
}

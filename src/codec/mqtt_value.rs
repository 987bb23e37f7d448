//! Values in MQTT messages of other software: a plain number, or one inside a JSON text.

use serde_json::Value;

use super::json::{self, Malformed, kind};

/// Longest text that is a number.
const LONGEST_NUMBER: usize = 40;

/// The number behind a JSON pointer (RFC 6901); the whole message for the empty pointer. A text that is a plain number
/// counts as one. `None` where nothing or null stands there.
///
/// # Errors
/// When the message is no JSON, or something else stands there.
pub fn number(message: &Value, pointer: &str) -> Result<Option<f64>, Malformed> {
    match message.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Number(number)) => {
            number.as_f64().filter(|it| it.is_finite()).map(Some).ok_or_else(|| wrong(pointer, value))
        }
        Some(value @ Value::String(text)) => match plain_number(text) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(pointer, value)),
        },
        Some(value) => Err(wrong(pointer, value)),
    }
}

fn wrong(pointer: &str, value: &Value) -> Malformed {
    Malformed::new(pointer, format!("is {}, a number is needed", kind(value)))
}

fn plain_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|it| it.is_ascii_digit() || it == b'.')
        && digits.starts_with(|it: char| it.is_ascii_digit());
    (plain && text.len() <= LONGEST_NUMBER).then(|| text.parse().ok()).flatten()
}

/// The time behind a JSON pointer, as it stands there: unix seconds or milliseconds, or a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Stamp {
    /// Unix seconds.
    Unix(i64),
    /// An ISO 8601 text, with a zone or without.
    Text(String),
}

/// Reads a [`Stamp`]. `None` where nothing stands there.
///
/// # Errors
/// When something else stands there.
pub fn stamp(message: &Value, pointer: &str) -> Result<Option<Stamp>, Malformed> {
    /// A larger number counts milliseconds: the year 5138 in seconds.
    const MILLISECONDS: f64 = 1e11;
    match message.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= LONGEST_NUMBER => Ok(Some(Stamp::Text(text.clone()))),
        Some(value @ Value::Number(number)) => match number.as_f64().filter(|it| (0.0..1e15).contains(it)) {
            Some(it) if it >= MILLISECONDS => Ok(Some(Stamp::Unix((it / 1000.0) as i64))),
            Some(it) => Ok(Some(Stamp::Unix(it as i64))),
            None => Err(wrong(pointer, value)),
        },
        Some(value) => Err(Malformed::new(pointer, format!("is {}, a time is needed", kind(value)))),
    }
}

/// The message as JSON.
///
/// # Errors
/// When it is none.
pub fn message(payload: &[u8]) -> Result<Value, Malformed> {
    json::value(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_pointer() {
        let it =
            message(br#"{"Time":"2024-06-28T14:12:34","EON":{"pwr_imp":1.234,"volts_l1":"231.5","x":null,"a/b":[7]}}"#)
                .unwrap();
        assert_eq!(number(&it, "/EON/pwr_imp"), Ok(Some(1.234)));
        assert_eq!(number(&it, "/EON/volts_l1"), Ok(Some(231.5)));
        assert_eq!(number(&it, "/EON/a~1b/0"), Ok(Some(7.0)));
        assert_eq!((number(&it, "/EON/x"), number(&it, "/EON/y")), (Ok(None), Ok(None)));
        assert_eq!(number(&it, "/EON").unwrap_err().to_string(), "`/EON` is an object, a number is needed");
        assert!(number(&it, "/Time").is_err());
        assert_eq!(number(&message(b"-12.5").unwrap(), ""), Ok(Some(-12.5)));
        let twice = message(br#"{"p":100,"p":-9000}"#).unwrap();
        assert!(number(&twice, "/p").is_err(), "which of them?");
        for bad in [&b""[..], b"12 W", b"{", b"NaN", b"1e400", b"-Infinity", b"0x10", b"1_0", b"\xFF"] {
            assert!(message(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "1,5", "1e3", "+1", "0x10", "12 W", "--1", "inf"] {
            assert!(number(&Value::String(bad.into()), "").is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_seconds_milliseconds_or_texts() {
        let it = message(br#"{"s":1760000000,"ms":1760000000123,"t":"2024-06-28T14:12:34","b":true}"#).unwrap();
        assert_eq!(stamp(&it, "/s"), Ok(Some(Stamp::Unix(1_760_000_000))));
        assert_eq!(stamp(&it, "/ms"), Ok(Some(Stamp::Unix(1_760_000_000))));
        assert_eq!(stamp(&it, "/t"), Ok(Some(Stamp::Text("2024-06-28T14:12:34".into()))));
        assert_eq!(stamp(&it, "/none"), Ok(None));
        assert!(stamp(&it, "/b").is_err());
    }
}

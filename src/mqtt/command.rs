//! Commands as they come in, and their results.

use serde_json::Value;

use super::json::{Object, Out};
use crate::backup::Shown;
use crate::codec::json;

/// Longest value that is passed on, in bytes: no setting needs more.
const MAX_VALUE: usize = 64;
/// Longest id that is echoed, in bytes.
const MAX_ID: usize = 128;

/// A readable command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Text for the controller, which checks it.
    pub(crate) value: String,
    /// JSON text to be echoed: a string or a number.
    pub(crate) id: Option<String>,
}

/// Reads a payload: the bare value, or `{"value":…,"id":…}`. `Ok(None)`: empty, to be ignored without a word.
///
/// # Errors
/// With the sentence for the result.
pub(crate) fn read(payload: &[u8]) -> Result<Option<Command>, String> {
    if payload.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(payload).map_err(|_| "the payload is not UTF-8 text".to_owned())?;
    let command = if text.trim_start().starts_with('{') {
        read_object(text)?
    } else {
        Command { value: text.to_owned(), id: None }
    };
    if command.value.len() > MAX_VALUE {
        return Err(format!("the value has {} bytes, allowed are {MAX_VALUE}", command.value.len()));
    }
    if command.value.chars().any(char::is_control) {
        return Err("the value contains control characters (a line end?)".to_owned());
    }
    Ok(Some(command))
}

fn read_object(text: &str) -> Result<Command, String> {
    const ALLOWED: &str = r#"allowed is the bare value, or {"value":…,"id":…}"#;
    let Ok(mut object) = json::object(text.as_bytes()) else {
        return Err(format!("the payload is no JSON object; {ALLOWED}"));
    };
    let id = match object.remove("id") {
        None | Some(Value::Null) => None,
        Some(id @ (Value::String(_) | Value::Number(_))) => {
            let number = id.is_number();
            let id = id.to_string();
            if number && !text.contains(&id) {
                return Err(format!("the id cannot be given back as it is written: send it as a text; {ALLOWED}"));
            }
            if id.len() > MAX_ID {
                return Err(format!("the id has {} bytes, allowed are {MAX_ID}", id.len()));
            }
            Some(id)
        }
        Some(_) => return Err(format!("the id must be a text or a number; {ALLOWED}")),
    };
    let value = match object.remove("value") {
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(_) => return Err(format!("the value must be a text, a number or a boolean; {ALLOWED}")),
        None => return Err(format!("the key `value` is missing; {ALLOWED}")),
    };
    match object.keys().next() {
        Some(key) => Err(format!("the key `{}` is not known; {ALLOWED}", shorten(key))),
        None => Ok(Command { value, id }),
    }
}

/// The answer to a command or a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandResult {
    /// Full topic of the command.
    pub(crate) topic: String,
    /// As received, where it was readable.
    pub(crate) value: Option<String>,
    /// The sentence of the refusal; `None`: accepted.
    pub(crate) error: Option<String>,
    /// As in the command.
    pub(crate) id: Option<String>,
    /// Whether an accepted setting is on disk.
    pub(crate) stored: Option<bool>,
    /// RFC 3339.
    pub(crate) time: Option<String>,
}

impl CommandResult {
    /// As published.
    pub(crate) fn to_json(&self) -> String {
        self.object().finish()
    }

    /// The answer to a request for a backup: the same keys, and what it asked for.
    pub(crate) fn with_backup(&self, shown: Shown) -> String {
        let text = |text: Option<String>| Out::or_null(text, Out::Text);
        let mut object = self.object();
        object
            .put("configuration", &text(shown.configuration))
            .put("options", &text(shown.options))
            .put("variables", &text(shown.variables))
            .put("settings", &text(shown.settings));
        object.finish()
    }

    fn object(&self) -> Object {
        let text = |text: &Option<String>| Out::or_null(text.clone(), Out::Text);
        let mut object = Object::new();
        object
            .put("topic", &Out::Text(self.topic.clone()))
            .put("value", &text(&self.value))
            .put("ok", &Out::Flag(self.error.is_none()))
            .put("error", &text(&self.error))
            // It is JSON already: checked to be a string or a number when it was read.
            .put("id", &Out::or_null(self.id.clone(), Out::Json))
            .put("stored", &Out::or_null(self.stored, Out::Flag))
            .put("time", &text(&self.time));
        object
    }
}

/// At most 64 characters of what somebody else wrote, on one line: a line end in a topic must not begin a line of the log.
pub(crate) fn shorten(text: &str) -> String {
    let plain = |it: char| if it.is_control() { '\u{fffd}' } else { it };
    let mut short: String = text.chars().take(64).map(plain).collect();
    if text.chars().nth(64).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(payload: &str) -> Result<Option<(String, Option<String>)>, String> {
        read(payload.as_bytes()).map(|it| it.map(|command| (command.value, command.id)))
    }

    #[test]
    fn bare_values_and_objects_are_read() {
        assert_eq!(value("fast"), Ok(Some(("fast".into(), None))));
        assert_eq!(value("10.5"), Ok(Some(("10.5".into(), None))));
        assert_eq!(value(r#"{"value":"fast","id":"a1"}"#), Ok(Some(("fast".into(), Some(r#""a1""#.into())))));
        assert_eq!(value(r#" {"value":10.5,"id":7}"#), Ok(Some(("10.5".into(), Some("7".into())))));
        assert_eq!(value(r#"{"value":true}"#), Ok(Some(("true".into(), None))));
        assert_eq!(value(""), Ok(None));
        // Left to the controller, which knows what is allowed.
        assert_eq!(value("[1]"), Ok(Some(("[1]".into(), None))));
        assert_eq!(value("10,5"), Ok(Some(("10,5".into(), None))));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_what_is_allowed() {
        for (payload, part) in [
            (r#"{"value":[1]}"#, "must be a text"),
            (r#"{"value":null}"#, "must be a text"),
            (r#"{"value":"off","value":"fast"}"#, "must be a text"),
            (r#"{"id":1}"#, "`value` is missing"),
            (r#"{"value":1,"unit":"A"}"#, "`unit` is not known"),
            (r#"{"value":1,"id":{}}"#, "id must be"),
            ("{", "no JSON object"),
            ("fast\n", "control characters"),
            (&"9".repeat(65), "65 bytes"),
            (&format!(r#"{{"value":1,"id":"{}"}}"#, "x".repeat(200)), "id has"),
        ] {
            let error = value(payload).unwrap_err();
            assert!(error.contains(part), "{payload}: {error}");
        }
        assert!(read(b"\xff\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn an_id_comes_back_as_it_was_written_or_is_refused() {
        for id in ["7", "-3", "1.123456789", "18446744073709551615", r#""a\nb""#] {
            let command = read(format!(r#"{{"value":1,"id":{id}}}"#).as_bytes()).unwrap().unwrap();
            assert_eq!(command.id.as_deref(), Some(id));
            let result =
                CommandResult { topic: "t".into(), value: None, error: None, id: command.id, stored: None, time: None };
            assert!(result.to_json().contains(&format!(r#""id":{id},"#)), "{}", result.to_json());
        }
        let long = read(br#"{"value":1,"id":123456789012345678901234567890}"#).unwrap_err();
        assert!(long.contains("send it as a text"), "{long}");
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        assert_eq!(shorten("a\nERROR b\u{1b}[31m"), "a\u{fffd}ERROR b\u{fffd}[31m");
        assert_eq!(shorten(&"x".repeat(65)).chars().count(), 65);
        assert_eq!(shorten(&"x".repeat(64)), "x".repeat(64));
    }

    #[test]
    fn a_result_always_has_the_same_keys() {
        let result = CommandResult {
            topic: "g/site/set/dim".into(),
            value: None,
            error: Some("no \"x\"".into()),
            id: Some("7".into()),
            stored: None,
            time: Some("2026-01-01T00:00:00.000+00:00".into()),
        };
        assert_eq!(
            result.to_json(),
            r#"{"topic":"g/site/set/dim","value":null,"ok":false,"error":"no \"x\"","id":7,"stored":null,"time":"2026-01-01T00:00:00.000+00:00"}"#
        );
    }
}

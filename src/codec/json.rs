//! JSON of devices: what is there is read strictly, what is absent or null is absent.

use std::fmt;

use serde_json::{Map, Value};

/// What is wrong with a JSON text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Key path, empty for the whole text.
    place: String,
    /// What is wrong with it.
    problem: String,
}

impl Malformed {
    /// For what cannot be said by its type alone.
    #[must_use]
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "the answer {}", self.problem),
            place => write!(f, "`{place}` {}", self.problem),
        }
    }
}

impl std::error::Error for Malformed {}

/// The object that a text holds. The caller bounds the text; nesting is bounded by serde_json (128 levels).
///
/// # Errors
/// When it is no JSON, or no object.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(Malformed::new("", format!("is {}, an object is needed", kind(&other)))),
        Err(error) => Err(Malformed::new("", format!("is no JSON: {error}"))),
    }
}

/// An object with its place, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    place: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// `place` is empty for the outermost object.
    #[must_use]
    pub fn new(place: &'a str, map: &'a Map<String, Value>) -> Self {
        Self { place, map }
    }

    /// Whether the key is there and not null.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|it| !it.is_null())
    }

    fn wrong(&self, key: &str, value: &Value, needed: &str) -> Malformed {
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        Malformed { place, problem: format!("is {}, {needed} is needed", kind(value)) }
    }

    /// A finite number.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn number(&self, key: &str) -> Result<Option<f64>, Malformed> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64().filter(|it| it.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, value, "a number")),
        }
    }

    /// true or false.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Malformed> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    /// A text.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Malformed> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, value, "a text"))
    }

    /// An object.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn object(&self, key: &'a str) -> Result<Option<Fields<'a>>, Malformed> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.wrong(key, value, "an object"))?;
        Ok(Some(Fields { place: key, map }))
    }

    /// A list; empty where there is none.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn list(&self, key: &str) -> Result<&'a [Value], Malformed> {
        let Some(value) = self.get(key) else { return Ok(&[]) };
        value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(key, value, "a list"))
    }

    /// The nth object of a list; `None` where the list is shorter.
    ///
    /// # Errors
    /// When something else stands there.
    pub fn element(&self, key: &'a str, at: usize) -> Result<Option<Fields<'a>>, Malformed> {
        let Some(value) = self.list(key)?.get(at) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| self.wrong(key, value, "a list of objects"))?;
        Ok(Some(Fields { place: key, map }))
    }
}

/// What a value is, in words.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_or_null_is_absent_and_what_is_wrong_is_named() {
        let map = object(br#"{"a":1.5,"b":null,"c":"1","d":{"e":true},"f":[{"g":2}]}"#).unwrap();
        let fields = Fields::new("", &map);
        assert_eq!(fields.number("a"), Ok(Some(1.5)));
        assert_eq!(fields.number("b"), Ok(None));
        assert_eq!(fields.number("z"), Ok(None));
        assert_eq!(fields.number("c").unwrap_err().to_string(), "`c` is a text, a number is needed");
        let inner = fields.object("d").unwrap().unwrap();
        assert_eq!(inner.flag("e"), Ok(Some(true)));
        assert_eq!(inner.number("e").unwrap_err().to_string(), "`d.e` is true or false, a number is needed");
        assert_eq!(fields.element("f", 0).unwrap().unwrap().number("g"), Ok(Some(2.0)));
        assert!(fields.element("f", 1).unwrap().is_none());
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [&b""[..], b"[]", b"null", b"{", b"\xFF\xFE", b"<html>", &[b'['; 100_000]] {
            assert!(object(bad).is_err());
        }
        assert!(object(br#"{"a":1e999}"#).is_err());
    }
}

//! JSON of devices: what is there is read strictly, what is absent or null is absent.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

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

/// A text as JSON. A key that stands several times with different values has all of them, in one list: which of them is
/// meant nobody knows, and who wants a number there finds that it is none. The caller bounds the text; nesting is bounded by
/// serde_json (128 levels, each of which may be wrapped in one such list).
///
/// # Errors
/// When it is no JSON.
pub fn value(bytes: &[u8]) -> Result<Value, Malformed> {
    let read: Result<Whole, _> = serde_json::from_slice(bytes);
    read.map(|it| it.0).map_err(|error| Malformed::new("", format!("is no JSON: {error}")))
}

/// JSON in which no key has gone lost.
struct Whole(Value);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::Number(it.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, it: f64) -> Result<Value, E> {
        Number::from_f64(it).map(Value::Number).ok_or_else(|| E::custom("a number without an end"))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::String(it.to_owned()))
    }

    fn visit_string<E>(self, it: String) -> Result<Value, E> {
        Ok(Value::String(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Whole(it)) = from.next_element()? {
            list.push(it);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let (mut map, mut doubled) = (Map::new(), BTreeSet::new());
        while let Some((key, Whole(it))) = from.next_entry::<String, Whole>()? {
            match map.get_mut(&key) {
                None => {
                    map.insert(key, it);
                }
                Some(Value::Array(all)) if doubled.contains(&key) => all.push(it),
                Some(before) if *before == it => {}
                Some(before) => {
                    *before = Value::Array(vec![before.take(), it]);
                    doubled.insert(key);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// The object that a text holds. The caller bounds the text; nesting is bounded by serde_json (128 levels).
///
/// # Errors
/// When it is no JSON, or no object.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    match value(bytes)? {
        Value::Object(map) => Ok(map),
        other => Err(Malformed::new("", format!("is {}, an object is needed", kind(&other)))),
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

    fn wrong_element(&self, key: &str, value: &Value, needed: &str) -> Malformed {
        let Malformed { place, .. } = self.wrong(key, value, needed);
        Malformed { place, problem: format!("is a list with {} in it, {needed} is needed", kind(value)) }
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

    /// A list of texts; empty where there is none.
    ///
    /// # Errors
    /// When something else stands there or in it.
    pub fn texts(&self, key: &str) -> Result<Vec<&'a str>, Malformed> {
        let text = |it: &'a Value| it.as_str().ok_or_else(|| self.wrong_element(key, it, "a list of texts"));
        self.list(key)?.iter().map(text).collect()
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
    fn a_key_that_stands_twice_is_no_number() {
        let map = object(br#"{"a":1,"b":{"c":2,"c":3},"d":4,"a":9000,"d":4,"d":4.0}"#).unwrap();
        let fields = Fields::new("", &map);
        assert_eq!(fields.number("a").unwrap_err().to_string(), "`a` is a list, a number is needed");
        let inner = fields.object("b").unwrap().unwrap();
        assert!(inner.number("c").is_err());
        assert!(fields.number("d").is_err(), "4 is not 4.0");
        let same = object(br#"{"a":1,"a":1}"#).unwrap();
        assert_eq!(Fields::new("", &same).number("a"), Ok(Some(1.0)));
        assert!(object(&[b"{\"a\":".repeat(200), b"1".to_vec(), b"}".repeat(200)].concat()).is_err(), "too deep");
    }

    #[test]
    fn a_key_that_stands_many_times_makes_one_list_however_often() {
        let map = object(br#"{"a":1,"a":2,"a":1,"a":[3],"b":[1],"b":[2]}"#).unwrap();
        assert_eq!(Value::Object(map), serde_json::json!({"a": [1, 2, 1, [3]], "b": [[1], [2]]}));
        let many: Vec<String> = (0..13_000).map(|it| format!("\"\":{}", it % 2)).collect();
        let map = object(format!("{{{}}}", many.join(",")).as_bytes()).unwrap();
        let all = map[""].as_array().unwrap();
        assert!(all.len() == 13_000 && all.iter().all(Value::is_number), "flat");
    }

    #[test]
    fn a_list_of_texts_holds_nothing_else() {
        let map = object(br#"{"a":["x","y"],"b":["x",1],"c":["x"],"c":["y"],"d":null}"#).unwrap();
        let fields = Fields::new("", &map);
        assert_eq!(fields.texts("a"), Ok(vec!["x", "y"]));
        assert_eq!((fields.texts("d"), fields.texts("e")), (Ok(Vec::new()), Ok(Vec::new())));
        let said = |key| fields.texts(key).unwrap_err().to_string();
        assert_eq!(said("b"), "`b` is a list with a number in it, a list of texts is needed");
        assert_eq!(said("c"), "`c` is a list with a list in it, a list of texts is needed");
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [&b""[..], b"[]", b"null", b"{", b"\xFF\xFE", b"<html>", &[b'['; 100_000]] {
            assert!(object(bad).is_err());
        }
        assert!(object(br#"{"a":1e999}"#).is_err());
    }
}

//! What a key may hold: one description from which checking, messages and the JSON Schema are made.

use std::fmt::Write as _;

use config::{Value, ValueKind};

use super::slip_value;
use super::source::At;
use crate::feature::{self, COMES, Feature, Purpose, Status, Worded};
use crate::quantity::Phase;

/// Longest text in a list, in bytes.
const LONGEST_ITEM: usize = 64;

/// A value as it came, before it is known to fit its key.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) kind: NodeKind,
}

/// Kinds of value that the sources can hold.
#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    /// Something that no key takes, by name.
    Other(&'static str),
}

impl Node {
    /// Keys with values.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, NodeKind::Table(_))
    }

    /// What it is, in words.
    pub(super) fn is(&self) -> &'static str {
        match &self.kind {
            NodeKind::Text(_) => "text",
            NodeKind::Whole(_) => "a whole number",
            NodeKind::Number(_) => "a number with decimals",
            NodeKind::Flag(_) => "true or false",
            NodeKind::List(_) => "a list",
            NodeKind::Table(_) => "a table",
            NodeKind::Other(name) => name,
        }
    }
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Text of at most so many bytes.
    Text { max: usize },
    /// A number with or without decimals.
    Number { min: f64, max: f64, unit: &'static str },
    /// 0, or a current from 6 A: nothing between exists on a charger's pilot.
    Current { max: f64 },
    /// A number without decimals.
    Whole { min: i64, max: i64, unit: &'static str },
    /// One of a few numbers without decimals.
    Choice(&'static [i64]),
    /// true or false.
    Flag,
    /// One of some words; `later` are known but not available yet, of `listed` the table of features says it.
    Word { now: &'static [&'static str], later: &'static [&'static str], listed: &'static [Worded] },
    /// One to three different phases.
    Lines,
    /// One to `most` texts of at most 64 bytes each.
    Texts { most: usize },
    /// At most so many different IP addresses.
    Addresses { most: usize },
    /// Some of these words, each once.
    Words(&'static [&'static str]),
    /// `"high"`, `"low"`, or a list of texts.
    Active,
    /// `"auto"`, `"never"`, or in a simulation true or false.
    PhaseSwitching,
    /// Of a later version: not looked at.
    Any,
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// As written.
    pub(super) name: &'static str,
    /// From the documentation of the raw table.
    pub(super) doc: &'static str,
    /// What it may be.
    pub(super) kind: Kind,
    /// Whether this version has it.
    pub(super) status: Status,
    /// Drivers that know it; empty: all.
    pub(super) drivers: &'static [&'static str],
    /// Its value must not be shown.
    pub(super) secret: bool,
}

impl Field {
    const fn new(kind: Kind) -> Self {
        Self { name: "", doc: "", kind, status: Status::Now, drivers: &[], secret: false }
    }

    /// There as far as this feature is.
    pub(super) const fn of(self, feature: Feature) -> Self {
        Self { status: feature.status(), ..self }
    }

    /// Only with these drivers.
    pub(super) const fn only(self, drivers: &'static [&'static str]) -> Self {
        Self { drivers, ..self }
    }

    /// Never shown.
    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// Text of at most `max` bytes.
pub(super) const fn text(max: usize) -> Field {
    Field::new(Kind::Text { max })
}
/// A number from `min` to `max`.
pub(super) const fn number(min: f64, max: f64, unit: &'static str) -> Field {
    Field::new(Kind::Number { min, max, unit })
}
/// 0, or 6 A to `max`.
pub(super) const fn current(max: f64) -> Field {
    Field::new(Kind::Current { max })
}
/// A number without decimals from `min` to `max`.
pub(super) const fn whole(min: i64, max: i64, unit: &'static str) -> Field {
    Field::new(Kind::Whole { min, max, unit })
}
/// One of these numbers.
pub(super) const fn choice(numbers: &'static [i64]) -> Field {
    Field::new(Kind::Choice(numbers))
}
/// true or false.
pub(super) const fn flag() -> Field {
    Field::new(Kind::Flag)
}
/// One of these words.
pub(super) const fn word(now: &'static [&'static str]) -> Field {
    Field::new(Kind::Word { now, later: &[], listed: &[] })
}
/// One of these words, or one that comes later, or one that the table of features knows.
pub(super) const fn words(
    now: &'static [&'static str],
    later: &'static [&'static str],
    listed: &'static [Worded],
) -> Field {
    Field::new(Kind::Word { now, later, listed })
}
/// One to three different phases.
pub(super) const fn lines() -> Field {
    Field::new(Kind::Lines)
}
/// A list of one to `most` texts.
pub(super) const fn texts(most: usize) -> Field {
    Field::new(Kind::Texts { most })
}
/// A list of up to `most` IP addresses.
pub(super) const fn addresses(most: usize) -> Field {
    Field::new(Kind::Addresses { most })
}
/// A list of some of these words.
pub(super) const fn several(words: &'static [&'static str]) -> Field {
    Field::new(Kind::Words(words))
}
/// `high`, `low`, or a list of texts.
pub(super) const fn active() -> Field {
    Field::new(Kind::Active)
}
/// `auto`, `never`, or a flag in a simulation.
pub(super) const fn phase_switching() -> Field {
    Field::new(Kind::PhaseSwitching)
}
/// Of a later version.
pub(super) const fn any() -> Field {
    Field { status: Status::Later, ..Field::new(Kind::Any) }
}

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Complaint {
    /// Without the key's name, which the caller puts in front.
    pub(super) message: String,
    /// What is allowed.
    pub(super) help: String,
}

impl Field {
    /// The value if it fits.
    pub(super) fn check(&self, node: &Node, purpose: Purpose) -> Result<ValueKind, Complaint> {
        let wrong = || {
            let message = format!("is {}, but {} is needed", node.is(), self.needs(purpose));
            let mut complaint = self.complain(message, purpose);
            if let Some(meant) = self.meant(node) {
                complaint.help = format!("{meant} {}", complaint.help);
            }
            complaint
        };
        let value = match (&self.kind, &node.kind) {
            (Kind::Any, _) => ValueKind::Nil,
            (Kind::Text { max }, NodeKind::Text(text)) => {
                if text.len() > *max {
                    return Err(self.complain(format!("is longer than {max} bytes"), purpose));
                }
                if let Some(bad) = text.chars().find(|it| it.is_control()) {
                    let message = format!("holds the control character {}", bad.escape_unicode());
                    let mut complaint = self.complain(message, purpose);
                    // `"C:\new"`
                    if matches!(bad, '\n' | '\t' | '\r' | '\u{8}' | '\u{c}' | '\u{1b}') {
                        complaint.help =
                            format!("a backslash in \"…\" makes one: write '…' instead; {}", complaint.help);
                    }
                    return Err(complaint);
                }
                ValueKind::String(text.clone())
            }
            (Kind::Number { min, max, .. }, NodeKind::Whole(_) | NodeKind::Number(_)) => {
                let value = as_number(node);
                if !(*min..=*max).contains(&value) {
                    return Err(self.complain(format!("= {value} is out of range"), purpose));
                }
                ValueKind::Float(value)
            }
            (Kind::Current { max }, NodeKind::Whole(_) | NodeKind::Number(_)) => {
                let value = as_number(node);
                if !(value == 0.0 || (6.0..=*max).contains(&value)) {
                    return Err(self.complain(format!("= {value} is out of range"), purpose));
                }
                ValueKind::Float(value)
            }
            (Kind::Whole { min, max, .. }, NodeKind::Whole(value)) => {
                if !(*min..=*max).contains(value) {
                    return Err(self.complain(format!("= {value} is out of range"), purpose));
                }
                ValueKind::I64(*value)
            }
            (Kind::Choice(numbers), NodeKind::Whole(value)) => {
                if !numbers.contains(value) {
                    return Err(self.complain(format!("= {value} is out of range"), purpose));
                }
                ValueKind::I64(*value)
            }
            (Kind::Flag, NodeKind::Flag(value)) => ValueKind::Boolean(*value),
            (Kind::PhaseSwitching, NodeKind::Flag(value)) if purpose == Purpose::Simulate => ValueKind::Boolean(*value),
            (Kind::PhaseSwitching, NodeKind::Text(text)) => match text.as_str() {
                "auto" => ValueKind::Boolean(true),
                "never" => ValueKind::Boolean(false),
                _ => return Err(self.complain(format!("= \"{}\" is not one of its words", short(text)), purpose)),
            },
            (Kind::Word { now, later, listed }, NodeKind::Text(text)) => {
                let text = text.as_str();
                if feature::words(now, listed, purpose).any(|it| it == text) {
                    ValueKind::String(text.to_owned())
                } else if known_words(later, listed).any(|it| it == text) {
                    let mut complaint = self.complain(feature::not_yet(&format!("= {text:?}")), purpose);
                    complaint.help = format!("{COMES}; {}", complaint.help);
                    return Err(complaint);
                } else {
                    let mut complaint =
                        self.complain(format!("= \"{}\" is not one of its words", short(text)), purpose);
                    if let Some(close) = closest(text, now.iter().copied().chain(known_words(later, listed))) {
                        complaint.help = format!("did you mean {close:?}? {}", complaint.help);
                    }
                    return Err(complaint);
                }
            }
            (Kind::Lines, NodeKind::List(items)) => {
                let mut seen: Vec<Value> = Vec::new();
                for item in items {
                    let NodeKind::Text(text) = &item.kind else {
                        return Err(self.complain(format!("holds {}", item.is()), purpose));
                    };
                    if phase(text).is_none() {
                        return Err(self.complain(format!("holds \"{}\", which is no phase", short(text)), purpose));
                    }
                    if seen.iter().any(|it| matches!(&it.kind, ValueKind::String(other) if other == text)) {
                        return Err(self.complain(format!("names {text} twice"), purpose));
                    }
                    seen.push(Value::new(None, text.as_str()));
                }
                if seen.is_empty() {
                    return Err(self.complain("names no phase".to_owned(), purpose));
                }
                ValueKind::Array(seen)
            }
            (Kind::Texts { most }, NodeKind::List(items)) => self.list(items, *most, purpose)?,
            (Kind::Addresses { .. }, NodeKind::List(items)) if items.is_empty() => ValueKind::Array(Vec::new()),
            (Kind::Addresses { most }, NodeKind::List(items)) => {
                let list = self.list(items, *most, purpose)?;
                let wrong = items.iter().find_map(|it| match &it.kind {
                    NodeKind::Text(text) if text.parse::<std::net::IpAddr>().is_err() => Some(text),
                    _ => None,
                });
                if let Some(text) = wrong {
                    let message = format!("holds \"{}\", which is no IP address", short(text));
                    return Err(self.complain(message, purpose));
                }
                list
            }
            (Kind::Words(words), NodeKind::List(items)) => {
                let list = self.list(items, words.len(), purpose)?;
                for item in items {
                    let NodeKind::Text(text) = &item.kind else { return Err(wrong()) };
                    if !words.contains(&text.as_str()) {
                        let mut complaint =
                            self.complain(format!("holds \"{}\", which is not one of its words", short(text)), purpose);
                        if let Some(close) = closest(text, words.iter().copied()) {
                            complaint.help = format!("did you mean {close:?}? {}", complaint.help);
                        }
                        return Err(complaint);
                    }
                }
                list
            }
            (Kind::Active, NodeKind::Text(text)) if matches!(text.as_str(), "high" | "low") => {
                ValueKind::Array(vec![Value::new(None, text.as_str())])
            }
            (Kind::Active, NodeKind::Text(text)) => {
                return Err(self.complain(format!("= \"{}\" is not one of its words", short(text)), purpose));
            }
            (Kind::Active, NodeKind::List(items)) => {
                let levels =
                    |it: &Node| matches!(&it.kind, NodeKind::Text(text) if matches!(text.as_str(), "high" | "low"));
                if items.iter().any(levels) {
                    return Err(self.complain("names a level in a list of words".to_owned(), purpose));
                }
                self.list(items, 16, purpose)?
            }
            _ => return Err(wrong()),
        };
        Ok(value)
    }

    /// A question about the number or flag that a text was meant for.
    fn meant(&self, node: &Node) -> Option<String> {
        let NodeKind::Text(text) = &node.kind else { return None };
        let right = match self.kind {
            Kind::Flag => slip_value::flag(text)?.to_string(),
            Kind::Number { .. } | Kind::Current { .. } => slip_value::number(text)?.0,
            Kind::Whole { .. } | Kind::Choice(_) => slip_value::number(text)?.0.parse::<i64>().ok()?.to_string(),
            _ => return None,
        };
        let quotes = if right == *text { " without quotes" } else { "" };
        Some(format!("did you mean {right}{quotes}?"))
    }

    /// One to `most` different texts.
    fn list(&self, items: &[Node], most: usize, purpose: Purpose) -> Result<ValueKind, Complaint> {
        let mut texts: Vec<Value> = Vec::new();
        for item in items {
            let NodeKind::Text(text) = &item.kind else {
                return Err(self.complain(format!("holds {}", item.is()), purpose));
            };
            if text.is_empty() || text.len() > LONGEST_ITEM || text.chars().any(char::is_control) {
                return Err(self.complain(format!("holds \"{}\"", short(text)), purpose));
            }
            if texts.iter().any(|it| matches!(&it.kind, ValueKind::String(other) if other == text)) {
                return Err(self.complain(format!("holds \"{}\" twice", short(text)), purpose));
            }
            texts.push(Value::new(None, text.as_str()));
        }
        match texts.len() {
            0 => Err(self.complain("is an empty list".to_owned(), purpose)),
            many if many > most => Err(self.complain(format!("holds {many} texts, more than {most}"), purpose)),
            _ => Ok(ValueKind::Array(texts)),
        }
    }

    /// The kind of value that this key takes, from the text of an environment variable. Strict: no blanks, no other
    /// spelling of a number, no other word for true and false.
    pub(super) fn node_from_text(&self, at: At, text: &str) -> Node {
        let plain = || NodeKind::Text(text.to_owned());
        let kind = match self.kind {
            Kind::Text { .. } | Kind::Word { .. } | Kind::Any => plain(),
            Kind::Number { .. } | Kind::Current { .. } => match decimal(text) {
                Some(value) => NodeKind::Number(value),
                None => plain(),
            },
            Kind::Whole { .. } | Kind::Choice(_) => match decimal(text).and_then(|_| text.parse().ok()) {
                Some(value) => NodeKind::Whole(value),
                None => plain(),
            },
            Kind::Flag | Kind::PhaseSwitching => match text {
                "true" => NodeKind::Flag(true),
                "false" => NodeKind::Flag(false),
                _ => plain(),
            },
            Kind::Active if matches!(text, "high" | "low") => plain(),
            Kind::Lines | Kind::Texts { .. } | Kind::Addresses { .. } | Kind::Words(_) | Kind::Active => {
                NodeKind::List(
                    text.split(',').map(|it| Node { at, kind: NodeKind::Text(it.trim().to_owned()) }).collect(),
                )
            }
        };
        Node { at, kind }
    }

    fn complain(&self, message: String, purpose: Purpose) -> Complaint {
        Complaint { message, help: format!("allowed: {}", self.allowed(purpose)) }
    }

    /// In a few words, what type.
    fn needs(&self, purpose: Purpose) -> &'static str {
        match self.kind {
            Kind::Text { .. } => "text in quotes",
            Kind::Number { .. } | Kind::Current { .. } => "a number",
            Kind::Whole { .. } | Kind::Choice(_) => "a whole number",
            Kind::Flag => "true or false",
            Kind::Word { .. } => "a word in quotes",
            Kind::Lines => "a list of phases",
            Kind::Texts { .. } => "a list of texts",
            Kind::Addresses { .. } => "a list of addresses",
            Kind::Words(_) => "a list of words",
            Kind::Active => "\"high\", \"low\" or a list of words",
            Kind::PhaseSwitching if purpose == Purpose::Simulate => "\"auto\", \"never\", true or false",
            Kind::PhaseSwitching => "a word in quotes",
            Kind::Any => "something else",
        }
    }

    /// What is allowed, with an example where it helps.
    pub(super) fn allowed(&self, purpose: Purpose) -> String {
        let range = |min: &dyn std::fmt::Display, max: &dyn std::fmt::Display, unit: &str| {
            format!("{min} to {max}{}{unit}", if unit.is_empty() { "" } else { " " })
        };
        match self.kind {
            Kind::Text { max } => format!("text of at most {max} bytes without control characters"),
            Kind::Number { min, max, unit } => range(&min, &max, unit),
            Kind::Whole { min, max, unit } => range(&min, &max, unit),
            Kind::Current { max } => format!("0, or 6 to {max} A; 1 to 5 A do not exist on a charger's pilot"),
            Kind::Choice(numbers) => numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
            Kind::Flag => "true or false".to_owned(),
            Kind::Word { now, listed, .. } => {
                let mut out = String::new();
                for it in feature::words(now, listed, purpose) {
                    let _ = write!(out, "{}{it:?}", if out.is_empty() { "" } else { ", " });
                }
                out
            }
            Kind::Lines => "one to three different phases, for example [\"L1\", \"L2\", \"L3\"]".to_owned(),
            Kind::Texts { most } => format!("a list of 1 to {most} different texts of at most {LONGEST_ITEM} bytes"),
            Kind::Addresses { most } => {
                format!("a list of at most {most} different IP addresses, for example [\"192.0.2.10\"]")
            }
            Kind::Words(words) => {
                let words: Vec<String> = words.iter().map(|it| format!("{it:?}")).collect();
                format!("a list of some of {}", words.join(", "))
            }
            Kind::Active => "\"high\", \"low\", or a list of words, for example [\"0001\"]".to_owned(),
            Kind::PhaseSwitching if purpose == Purpose::Simulate => "\"auto\", \"never\", true, false".to_owned(),
            Kind::PhaseSwitching => "\"auto\", \"never\"".to_owned(),
            Kind::Any => "nothing yet".to_owned(),
        }
    }
}

/// Words that some version has.
fn known_words(later: &'static [&'static str], listed: &'static [Worded]) -> impl Iterator<Item = &'static str> {
    later.iter().copied().chain(listed.iter().map(|it| it.0))
}

/// A foreign text for a message: escaped and not too long.
pub(super) fn short(text: &str) -> String {
    let mut out: String = text.chars().take(60).collect::<String>().escape_debug().to_string();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

fn as_number(node: &Node) -> f64 {
    match node.kind {
        NodeKind::Whole(value) => value as f64,
        NodeKind::Number(value) => value,
        _ => f64::NAN,
    }
}

/// A phase by its name.
pub(super) fn phase(text: &str) -> Option<Phase> {
    Phase::ALL.into_iter().find(|it| it.to_string() == text)
}

/// A plain decimal number: an optional minus, digits, optionally a point and digits.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    (plain(whole) && plain(fraction)).then(|| text.parse().ok()).flatten()
}

/// The candidate that was probably meant, if one is near enough.
pub(super) fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // `eco+` is what others call eco_plus.
    let text = text.chars().take(64).collect::<String>().replace("_+", "+").replace('+', "_plus");
    let text: Vec<char> =
        text.chars().map(|it| if matches!(it, '-' | ' ') { '_' } else { it.to_ascii_lowercase() }).collect();
    let (distance, best) = candidates
        .into_iter()
        .map(|it| {
            let other: Vec<char> = it.chars().map(|it| if it == '-' { '_' } else { it }).collect();
            // A name without its unit is the usual slip: `fuse` for `fuse_a`.
            let prefix = text.len() >= 3 && other.starts_with(&text) && other.get(text.len()) == Some(&'_');
            (if prefix { 1 } else { edits(&text, &other) }, it)
        })
        .min_by_key(|it| it.0)?;
    (distance <= (text.len() / 3).max(1)).then_some(best)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let keys = ["fuse_a", "max_import_a", "meter", "phases"];
        assert_eq!(closest("fuse", keys), Some("fuse_a"));
        assert_eq!(closest("fsue_a", keys), Some("fuse_a"));
        assert_eq!(closest("max-import-a", keys), Some("max_import_a"));
        assert_eq!(closest("phase", keys), Some("phases"));
        let modes = ["fast", "eco", "eco_plus", "solar"];
        for plus in ["eco+", "Eco+", "eco_+", "eco plus", "eco-plus", "ecoplus"] {
            assert_eq!(closest(plus, modes), Some("eco_plus"), "{plus}");
        }
        assert_eq!(closest("colour", keys), None);
        assert_eq!(closest("", keys), None);
    }

    #[test]
    fn only_plain_decimals_are_numbers() {
        for good in ["0", "25", "-1", "0.5", "230.0"] {
            assert!(decimal(good).is_some(), "{good}");
        }
        for bad in ["", " 25", "25 ", "25A", "1e3", "+1", ".5", "5.", "1,5", "inf", "NaN", "0x10", "--1", "1.2.3"] {
            assert!(decimal(bad).is_none(), "{bad}");
        }
    }
}

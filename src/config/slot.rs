//! One key of the merged configuration: absent, wrong, or a value with its place.

use std::collections::HashMap;

use config::{Value, ValueKind};

use super::key::phase;
use super::source::At;
use crate::quantity::Phase;

/// A key of the merged configuration.
#[derive(Clone, Debug)]
pub(super) enum Slot<T> {
    /// Not written anywhere.
    Absent,
    /// Written, but wrong, which was said already.
    Wrong,
    /// Written and fit for its key.
    Set(T, At),
}

impl<T> Slot<T> {
    /// The value.
    pub(super) fn get(&self) -> Option<&T> {
        match self {
            Self::Set(value, _) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Value and place.
    pub(super) fn set(&self) -> Option<(&T, At)> {
        match self {
            Self::Set(value, at) => Some((value, *at)),
            Self::Absent | Self::Wrong => None,
        }
    }

    /// Not written anywhere.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// What a slot can hold.
pub(super) trait FromValue: Sized {
    /// From a value that was checked against its key; `None` stands for one that was not.
    fn from_value(kind: &ValueKind) -> Option<Self>;
}

impl FromValue for String {
    fn from_value(kind: &ValueKind) -> Option<Self> {
        if let ValueKind::String(it) = kind { Some(it.clone()) } else { None }
    }
}

impl FromValue for f64 {
    fn from_value(kind: &ValueKind) -> Option<Self> {
        if let ValueKind::Float(it) = kind { Some(*it) } else { None }
    }
}

impl FromValue for i64 {
    fn from_value(kind: &ValueKind) -> Option<Self> {
        if let ValueKind::I64(it) = kind { Some(*it) } else { None }
    }
}

impl FromValue for bool {
    fn from_value(kind: &ValueKind) -> Option<Self> {
        if let ValueKind::Boolean(it) = kind { Some(*it) } else { None }
    }
}

impl FromValue for Vec<Phase> {
    fn from_value(kind: &ValueKind) -> Option<Self> {
        let ValueKind::Array(items) = kind else { return None };
        items.iter().map(|it| if let ValueKind::String(name) = &it.kind { phase(name) } else { None }).collect()
    }
}

impl FromValue for Vec<String> {
    fn from_value(kind: &ValueKind) -> Option<Self> {
        let ValueKind::Array(items) = kind else { return None };
        items.iter().map(|it| String::from_value(&it.kind)).collect()
    }
}

/// The slot of one key in a merged table.
pub(super) fn slot<T: FromValue>(table: &HashMap<String, Value>, key: &str) -> Slot<T> {
    match table.get(key) {
        None => Slot::Absent,
        Some(value) => match (T::from_value(&value.kind), At::from_origin(value.origin())) {
            (Some(it), Some(at)) => Slot::Set(it, at),
            _ => Slot::Wrong,
        },
    }
}

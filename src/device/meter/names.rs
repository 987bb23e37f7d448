//! Names of the gas, water and heat meters behind another meter, over a restart: a counter must not jump because two of
//! them changed places while we were off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// More names than a bus has places and kinds are made up.
const MOST: usize = 32;
/// Characters of a meter's own number (DSMR 5.0.2: at most 96); a longer one is not kept.
const LONGEST_SERIAL: usize = 96;

/// A meter and the name that it was given, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Name {
    /// What stands behind the id of the meter in front: `gas`, `gas-2`, …
    pub suffix: String,
    /// Its own number, a character for each byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Where it stood last; 0 where there are no places.
    #[serde(default)]
    pub slot: u8,
}

/// The names behind one meter: the meter's task gives them, who keeps them for the next start looks at them. They outlive
/// a task that has to be started again.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<Vec<Name>>>);

impl Names {
    /// Those of the last run; what cannot have been ours is left out.
    #[must_use]
    pub fn restored(kept: &[Name]) -> Self {
        let mut names: Vec<Name> = Vec::new();
        for name in kept.iter().take(MOST) {
            let taken = names.iter().any(|it| it.suffix == name.suffix);
            if !taken && kind(&name.suffix).is_some() {
                names.push(name.clone());
            }
        }
        Self(Arc::new(Mutex::new(names)))
    }

    /// As they are now.
    #[must_use]
    pub fn get(&self) -> Vec<Name> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Name>> {
        // What is in it is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `gas` of `gas-2`; `None` for what is no name of ours, because it becomes a part of topics.
fn kind(suffix: &str) -> Option<&str> {
    let (kind, number) = suffix.split_once('-').unwrap_or((suffix, "2"));
    let word = !kind.is_empty() && kind.len() <= 20 && kind.bytes().all(|it| it.is_ascii_lowercase());
    (word && number.parse::<u8>().is_ok_and(|it| it > 1)).then_some(kind)
}

/// A meter and its name.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) kind: String,
    pub(super) suffix: Arc<str>,
    pub(super) serial: Option<Box<[u8]>>,
    pub(super) slot: u8,
}

/// The names that one task gives.
#[derive(Debug, Default)]
pub(super) struct Book {
    named: Vec<Named>,
    names: Names,
}

impl Book {
    pub(super) fn new(names: Names) -> Self {
        // Other bytes than ASCII were kept as the characters of the same number.
        let bytes =
            |text: &String| text.chars().map(|it| u8::try_from(u32::from(it)).ok()).collect::<Option<Box<[u8]>>>();
        let known = |name: Name| {
            let kind = kind(&name.suffix)?.to_owned();
            Some(Named {
                kind,
                serial: name.serial.as_ref().and_then(bytes),
                slot: name.slot,
                suffix: name.suffix.into(),
            })
        };
        Self { named: names.get().into_iter().filter_map(known).collect(), names }
    }

    /// All names; their places never change.
    pub(super) fn named(&self) -> &[Named] {
        &self.named
    }

    /// A new name for a newcomer, or, where there are too many, one of its kind that is free.
    pub(super) fn add(&mut self, kind: &str, is_free: impl Fn(usize) -> bool) -> Option<usize> {
        if self.named.len() >= MOST {
            return (0..self.named.len()).find(|place| is_free(*place) && self.named[*place].kind == kind);
        }
        let numbered = |number: usize| if number == 1 { kind.to_owned() } else { format!("{kind}-{number}") };
        let suffix = (1..).map(numbered).find(|suffix| self.named.iter().all(|it| *it.suffix != **suffix))?;
        self.named.push(Named { kind: kind.to_owned(), suffix: suffix.into(), serial: None, slot: 0 });
        Some(self.named.len() - 1)
    }

    /// Who has the name now, where it stands and what number it says. Gives the name.
    pub(super) fn seen(&mut self, place: usize, slot: u8, serial: Option<&[u8]>) -> Arc<str> {
        let named = &mut self.named[place];
        if named.slot != slot || (serial.is_some() && named.serial.as_deref() != serial) {
            named.slot = slot;
            if let Some(serial) = serial {
                named.serial = Some(serial.into());
            }
            self.publish();
        }
        Arc::clone(&self.named[place].suffix)
    }

    fn publish(&self) {
        let text = |bytes: &[u8]| bytes.iter().map(|it| char::from(*it)).collect::<String>();
        let kept = |named: &Named| Name {
            suffix: named.suffix.to_string(),
            serial: named.serial.as_deref().filter(|it| it.len() <= LONGEST_SERIAL).map(text),
            slot: named.slot,
        };
        *self.names.lock() = self.named.iter().map(kept).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(suffix: &str, serial: &str, slot: u8) -> Name {
        Name { suffix: suffix.to_owned(), serial: Some(serial.to_owned()), slot }
    }

    #[test]
    fn what_one_run_named_the_next_one_knows() {
        let names = Names::default();
        let mut book = Book::new(names.clone());
        let gas = book.add("gas", |_| false).unwrap();
        assert_eq!(&*book.seen(gas, 1, Some(b"4730\xE4")), "gas");
        let second = book.add("gas", |_| false).unwrap();
        assert_eq!(&*book.seen(second, 2, Some(&[b'7'; 97])), "gas-2");
        let kept = names.get();
        assert_eq!(kept, [name("gas", "4730\u{E4}", 1), Name { serial: None, ..name("gas-2", "", 2) }]);
        let again: Vec<Name> = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        let mut book = Book::new(Names::restored(&again));
        let known = &book.named()[0];
        assert_eq!((&*known.kind, known.serial.as_deref(), known.slot), ("gas", Some(&b"4730\xE4"[..]), 1));
        let water = book.add("water", |_| false).unwrap();
        assert_eq!(&*book.named()[water].suffix, "water");
        let third = book.add("gas", |_| false).unwrap();
        assert_eq!(&*book.named()[third].suffix, "gas-3");
    }

    #[test]
    fn what_cannot_have_been_ours_is_left_out_and_a_free_number_is_used_again() {
        let odd = ["gas/+", "", "gas-0", "gas-1", "gas-999", "gas-x", "Gas", "gas-2-3", "gas-2", "gas-2"];
        let kept: Vec<Name> = odd.iter().map(|it| name(it, "A", 1)).collect();
        let names = Names::restored(&kept);
        assert_eq!(names.get(), [name("gas-2", "A", 1)]);
        let mut book = Book::new(names);
        let new = book.add("gas", |_| false).unwrap();
        assert_eq!(&*book.named()[new].suffix, "gas");
        // Another character than a byte is no serial number.
        let book = Book::new(Names::restored(&[name("gas", "\u{20AC}", 1)]));
        assert_eq!(book.named()[0].serial, None);
    }

    #[test]
    fn a_full_book_gives_a_name_that_nobody_has() {
        let mut book = Book::default();
        for _ in 0..MOST {
            book.add("gas", |_| false).unwrap();
        }
        assert_eq!(book.add("gas", |_| false), None);
        assert_eq!(book.add("gas", |place| place == 7), Some(7));
        assert_eq!(book.add("water", |_| true), None);
    }
}

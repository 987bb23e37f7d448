//! Settings changed at run time: `settings.json` in the data directory, on top of the configuration file.
//!
//! Each entry remembers what the file said when it was stored. A key whose value in the file has changed since wins over
//! the stored one. Ranges are not known here: whoever applies the entries puts them through the controller's own check,
//! which holds them under the ceilings of the file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable;
use super::source::read_bounded;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "settings.json";
/// Entries at most: 20 chargers with every setting are 260.
const MAX_ENTRIES: usize = 1000;
/// Bytes of a key, of a value.
const MAX_TEXT: usize = 256;
/// Larger than this is not ours.
const MAX_BYTES: u64 = 1024 * 1024;
const VERSION: u32 = 1;

/// One stored setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    value: String,
    /// What the configuration said at that time.
    file: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    settings: BTreeMap<String, Entry>,
}

/// Something to tell about the stored settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The file made no sense. It was moved aside, or could not even be (`None`); all settings are those of the
    /// configuration.
    Corrupt {
        /// Its new name.
        moved_to: Option<PathBuf>,
        /// What was wrong with it.
        why: String,
    },
    /// The file is there but cannot be read; all settings are those of the configuration.
    Unreadable {
        /// What the system said.
        why: String,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Corrupt { moved_to: Some(to), why } => {
                write!(
                    f,
                    "stored settings were not usable ({why}) and are now in {}; those of the file apply",
                    to.display()
                )
            }
            Self::Corrupt { moved_to: None, why } => {
                write!(f, "stored settings are not usable ({why}); those of the file apply")
            }
            Self::Unreadable { why } => write!(f, "stored settings cannot be read ({why}); those of the file apply"),
        }
    }
}

/// A stored setting that lost to a changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// `site/<setting>` or `charger/<id>/<setting>`.
    pub key: String,
    /// What was stored.
    pub stored: String,
    /// What the file says now.
    pub file: String,
}

/// The settings changed at run time.
#[derive(Debug)]
pub struct SettingsStore {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
}

impl SettingsStore {
    /// Reads what is stored in a data directory. Never fails: a file that is no use is moved aside and told of.
    #[must_use]
    pub fn open(data_dir: &Path) -> (Self, Vec<Note>) {
        let path = data_dir.join(FILE_NAME);
        let mut notes = Vec::new();
        let entries = match read_bounded(&path, MAX_BYTES) {
            Ok(bytes) => match parse(&bytes) {
                Ok(entries) => entries,
                Err(why) => {
                    notes.push(Note::Corrupt { moved_to: move_aside(&path), why });
                    BTreeMap::new()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                notes.push(Note::Corrupt { moved_to: move_aside(&path), why: error.to_string() });
                BTreeMap::new()
            }
            Err(error) => {
                notes.push(Note::Unreadable { why: error.to_string() });
                BTreeMap::new()
            }
        };
        (Self { path, entries }, notes)
    }

    /// Key and value of every setting, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(key, it)| (key.as_str(), it.value.as_str()))
    }

    /// Drops every setting whose value in the configuration is another one than when it was stored, or whose key the
    /// configuration does not have any more (a removed charger: dropped without a word). `file_value` says what the
    /// configuration holds now. The result is for the event `settings_overridden`.
    ///
    /// # Errors
    /// Those of the disk. What was dropped is dropped in memory all the same; on disk it loses again at the next start.
    pub fn reconcile(&mut self, file_value: impl Fn(&str) -> Option<String>) -> (Vec<Overridden>, io::Result<()>) {
        let before = self.entries.len();
        let mut lost = Vec::new();
        self.entries.retain(|key, entry| match file_value(key) {
            Some(now) if now == entry.file => true,
            Some(now) => {
                lost.push(Overridden { key: key.clone(), stored: entry.value.clone(), file: now });
                false
            }
            None => false,
        });
        let saved = if self.entries.len() == before { Ok(()) } else { self.save() };
        (lost, saved)
    }

    /// Stores a setting, or takes it back with `None`. `file_value` is what the configuration says of this key now.
    ///
    /// # Errors
    /// When it is not on disk afterwards (disk full, read-only, too many or too long texts). But for the last two it
    /// holds in memory all the same, and the next successful call writes it too.
    pub fn set(&mut self, key: &str, value: Option<&str>, file_value: &str) -> io::Result<()> {
        let changed = match value {
            Some(value) => {
                let entry = Entry { value: value.to_owned(), file: file_value.to_owned() };
                if [key, value, file_value].iter().any(|it| it.len() > MAX_TEXT) {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "a setting is too long to be stored"));
                }
                if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(key) {
                    return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many settings are stored"));
                }
                self.entries.insert(key.to_owned(), entry.clone()) != Some(entry)
            }
            None => self.entries.remove(key).is_some(),
        };
        // An SD card wears: what is on disk already is not written again. After a failed write nothing is on disk.
        if changed || !self.on_disk() { self.save() } else { Ok(()) }
    }

    /// Drops every setting.
    ///
    /// # Errors
    /// Those of the disk; in memory they are dropped all the same.
    pub fn clear(&mut self) -> io::Result<()> {
        self.entries.clear();
        self.save()
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let document = Document { version: VERSION, settings: self.entries.clone() };
        let mut bytes = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn on_disk(&self) -> bool {
        match (self.text(), read_bounded(&self.path, MAX_BYTES)) {
            (Ok(text), Ok(found)) => text == found,
            (Ok(_), Err(error)) => error.kind() == io::ErrorKind::NotFound && self.entries.is_empty(),
            (Err(_), _) => false,
        }
    }

    fn save(&self) -> io::Result<()> {
        durable::replace(&self.path, &self.text()?)
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|it| it.to_string())?;
    if document.version != VERSION {
        return Err(format!("its version is {}, not {VERSION}", document.version));
    }
    if document.settings.len() > MAX_ENTRIES {
        return Err(format!("it holds more than {MAX_ENTRIES} settings"));
    }
    let long = |it: &str| it.len() > MAX_TEXT;
    if document.settings.iter().any(|(key, it)| long(key) || long(&it.value) || long(&it.file)) {
        return Err(format!("it holds a text of more than {MAX_TEXT} bytes"));
    }
    Ok(document.settings)
}

/// The new name; `None` when the disk does not allow it.
fn move_aside(path: &Path) -> Option<PathBuf> {
    let to = path.with_extension("json.corrupt");
    fs::rename(path, &to).ok().map(|()| to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, notes) = SettingsStore::open(&dir.path().join("new"));
        assert_eq!(notes, []);
        store.set("charger/left/mode", Some("off"), "fast").unwrap();
        store.set("site/max_import_a", Some("16"), "none").unwrap();
        store.set("site/max_import_a", None, "none").unwrap();
        let (again, notes) = SettingsStore::open(&dir.path().join("new"));
        assert_eq!(notes, []);
        assert_eq!(again.entries().collect::<Vec<_>>(), [("charger/left/mode", "off")]);
        store.clear().unwrap();
        assert_eq!(SettingsStore::open(&dir.path().join("new")).0.entries().count(), 0);
    }

    #[test]
    fn a_changed_file_wins_and_an_unchanged_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = SettingsStore::open(dir.path());
        store.set("charger/left/mode", Some("off"), "fast").unwrap();
        store.set("charger/left/priority", Some("1"), "5").unwrap();
        store.set("charger/gone/priority", Some("1"), "5").unwrap();
        let now = |key: &str| match key {
            "charger/left/mode" => Some("fixed".to_owned()),
            "charger/left/priority" => Some("5".to_owned()),
            _ => None,
        };
        let (lost, saved) = store.reconcile(now);
        saved.unwrap();
        let expected = Overridden { key: "charger/left/mode".into(), stored: "off".into(), file: "fixed".into() };
        assert_eq!(lost, [expected]);
        let (mut again, _) = SettingsStore::open(dir.path());
        assert_eq!(again.entries().collect::<Vec<_>>(), [("charger/left/priority", "1")]);
        assert_eq!(again.reconcile(now).0, []);
    }

    #[test]
    fn a_corrupt_file_is_moved_aside_and_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for bad in [
            &b""[..],
            b"{",
            b"[]",
            b"\xff\xfe",
            br#"{"version":9,"settings":{}}"#,
            br#"{"version":1,"settings":{"a":1}}"#,
        ] {
            fs::write(&path, bad).unwrap();
            let (mut store, notes) = SettingsStore::open(dir.path());
            assert_eq!(store.entries().count(), 0);
            let [Note::Corrupt { moved_to: Some(to), why }] = &notes[..] else { panic!("{notes:?}") };
            assert!(!why.is_empty());
            assert_eq!(fs::read(to).unwrap(), bad);
            store.set("site/dim", Some("ON"), "OFF").unwrap();
        }
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_reported_and_made_good_later() {
        let dir = tempfile::tempdir().unwrap();
        // A file where the folder should be: nobody, not even root, can write below it.
        let blocked = dir.path().join("data");
        fs::write(&blocked, "").unwrap();
        let (mut store, notes) = SettingsStore::open(&blocked);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(store.set("site/dim", Some("ON"), "OFF").is_err());
        assert_eq!(store.entries().collect::<Vec<_>>(), [("site/dim", "ON")]);
        fs::remove_file(&blocked).unwrap();
        store.set("site/dim", Some("ON"), "OFF").unwrap();
        assert_eq!(SettingsStore::open(&blocked).0.entries().count(), 1);
    }

    #[test]
    fn size_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = SettingsStore::open(dir.path());
        assert!(store.set("site/dim", Some(&"x".repeat(MAX_TEXT + 1)), "").is_err());
        assert_eq!(store.entries().count(), 0);
        for index in 0..MAX_ENTRIES {
            store.entries.insert(format!("k{index}"), Entry { value: String::new(), file: String::new() });
        }
        assert!(store.set("one more", Some("1"), "").is_err());
        fs::write(dir.path().join(FILE_NAME), vec![b' '; MAX_BYTES as usize + 1]).unwrap();
        let (_, notes) = SettingsStore::open(dir.path());
        assert!(matches!(&notes[..], [Note::Corrupt { .. }]), "{notes:?}");
    }
}

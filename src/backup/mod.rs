//! Backups: configuration, the files that it names, settings, history and sessions in one tar file; and what of them may
//! be shown to everybody on a broker, which is what holds no secret.

mod archive;
mod collect;
mod restore;
mod shown;

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::codec::http_auth::hex;

pub use collect::{Backup, collect};
pub use restore::{Outcome, Plan, plan};
pub use shown::{Shown, shown};

/// Bytes of all files together: a house's history of ten years is far below.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Files of one backup.
const MAX_FILES: usize = 10_000;
/// Name of the table of contents in the tar file.
const MANIFEST: &str = "backup.json";
/// Of the table of contents.
const FORMAT: u32 = 1;

/// What a file is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A configuration file.
    Configuration,
    /// A file that a configuration file names: a password, a key, a certificate.
    Named,
    /// In the data directory.
    Data,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    /// Name in the tar file.
    entry: String,
    kind: Kind,
    /// Where it was and will be.
    path: PathBuf,
    /// Hexadecimal.
    sha256: String,
}

/// The table of contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    gridkeeper_backup: u32,
    /// Of the program.
    version: String,
    /// RFC 3339.
    time: String,
    data_dir: PathBuf,
    files: Vec<Item>,
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Absolute, and without a step upwards.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|it| matches!(it, Component::RootDir | Component::Normal(_)))
}

/// The files that a configuration file names, by its keys that end in `_file`; none when it is no TOML.
fn named_files(text: &str, base: &Path) -> Vec<PathBuf> {
    fn walk(value: &toml::Value, key: &str, base: &Path, found: &mut Vec<PathBuf>) {
        match value {
            toml::Value::String(path) if key.ends_with("_file") && !path.is_empty() => found.push(base.join(path)),
            toml::Value::Table(table) => table.iter().for_each(|(key, value)| walk(value, key, base, found)),
            toml::Value::Array(list) => list.iter().for_each(|value| walk(value, "", base, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        walk(&toml::Value::Table(table), "", base, &mut found);
    }
    found
}

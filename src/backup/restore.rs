//! Putting a backup back.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::archive;
use super::{FORMAT, Item, Kind, MANIFEST, Manifest, is_plain, named_files, sha256};
use crate::config::durable;

/// What a file is kept as before another takes its place.
const BEFORE: &str = "before-restore";

/// What a restore will do.
#[derive(Debug)]
pub struct Plan {
    /// Version of the program that made the backup.
    pub version: String,
    /// When it was made, RFC 3339.
    pub time: String,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    kind: Kind,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// What has become of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Made,
    /// It was there with the same content.
    Same,
    /// It was there with another one, which is kept beside it.
    Replaced,
}

/// Checks a backup as a whole: nothing is written where it is damaged, and nowhere else than where a backup of ours writes.
///
/// # Errors
/// What is wrong with it, as one sentence.
pub fn plan(bytes: &[u8]) -> Result<Plan, String> {
    if let Some(what) = something_else(bytes) {
        return Err(format!(
            "this is no backup: one is a tar file that `gridkeeper backup` has written, and this file {what}"
        ));
    }
    let mut entries = archive::read(bytes)?;
    let manifest = entries.iter().find(|it| it.name == MANIFEST).ok_or("no backup of ours: it has no backup.json")?;
    let manifest: Manifest =
        serde_json::from_slice(&manifest.bytes).map_err(|error| format!("its table of contents: {error}"))?;
    if manifest.gridkeeper_backup != FORMAT {
        return Err(format!(
            "it has format {}, this version knows {FORMAT}: use the version that made it, {}",
            manifest.gridkeeper_backup, manifest.version
        ));
    }
    let mut steps = Vec::new();
    for item in &manifest.files {
        let place = entries.iter().position(|it| it.name == item.entry);
        let bytes = entries.swap_remove(place.ok_or_else(|| format!("{} is missing in it", item.entry))?).bytes;
        if sha256(&bytes) != item.sha256 {
            return Err(format!("{} is damaged", item.entry));
        }
        steps.push(Step { kind: item.kind, path: item.path.clone(), bytes });
    }
    for item in &manifest.files {
        if !belongs(item, &manifest, &steps) {
            return Err(format!("{} is no place that a backup may write to", item.path.display()));
        }
    }
    Ok(Plan { version: manifest.version, time: manifest.time, steps })
}

/// What a file is that has not even the begin of a tar file (POSIX.1-2017: `ustar` at byte 257).
fn something_else(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(257..262) == Some(b"ustar") {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok().filter(|it| !it.contains('\0'));
    Some(match text {
        _ if bytes.is_empty() => "is empty",
        _ if bytes.starts_with(&[0x1F, 0x8B]) => "is compressed (gzip): unpack it first",
        Some(text) if text.parse::<toml::Table>().is_ok() => {
            "is TOML, as a configuration is: that is checked with `gridkeeper check` and used with -c"
        }
        Some(_) => "is a text",
        None => "is another one, or damaged at its begin",
    })
}

/// Whether a file may be written where it says.
fn belongs(item: &Item, manifest: &Manifest, steps: &[Step]) -> bool {
    let path = &item.path;
    is_plain(path)
        && match item.kind {
            Kind::Configuration => path.extension().is_some_and(|it| it == "toml"),
            Kind::Data => {
                is_plain(&manifest.data_dir) && path.starts_with(&manifest.data_dir) && path != &manifest.data_dir
            }
            Kind::Named => steps.iter().filter(|it| it.kind == Kind::Configuration).any(|it| {
                let text = std::str::from_utf8(&it.bytes).unwrap_or_default();
                let base = it.path.parent().unwrap_or(Path::new("/"));
                named_files(text, base).contains(path)
            }),
        }
}

impl Plan {
    /// Every file that will be there.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.steps.iter().map(|it| it.path.as_path())
    }

    /// The configuration files.
    pub fn configuration(&self) -> Vec<PathBuf> {
        self.steps.iter().filter(|it| it.kind == Kind::Configuration).map(|it| it.path.clone()).collect()
    }

    /// Writes file by file, each whole or not at all; gives what became of them up to the first that could not be written.
    ///
    /// # Errors
    /// With the file that could not be written.
    pub fn carry_out(&self) -> Result<Vec<(&Path, Outcome)>, String> {
        let put = |it: &Step| put(it).map_err(|error| format!("{}: {error}", it.path.display()));
        self.steps.iter().map(|it| Ok((it.path.as_path(), put(it)?))).collect()
    }
}

fn put(step: &Step) -> io::Result<Outcome> {
    let before = match fs::metadata(&step.path) {
        Ok(about) => Some(about),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if before.is_some() {
        let old = fs::read(&step.path)?;
        if old == step.bytes {
            return Ok(Outcome::Same);
        }
        let mut beside = step.path.clone().into_os_string();
        beside.push(".");
        beside.push(BEFORE);
        durable::replace(Path::new(&beside), &old)?;
        hand_over(Path::new(&beside), before.as_ref(), step.kind)?;
    }
    durable::replace(&step.path, &step.bytes)?;
    hand_over(&step.path, before.as_ref(), step.kind)?;
    Ok(if before.is_some() { Outcome::Replaced } else { Outcome::Made })
}

/// The service runs as somebody else than the person who restores: a file belongs to whom it belonged, a new one to whom
/// its folder belongs.
fn hand_over(path: &Path, before: Option<&Metadata>, kind: Kind) -> io::Result<()> {
    let folder = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    let owner = before.unwrap_or(&folder);
    let mode = match (before, kind) {
        (Some(before), _) => before.permissions().mode() & 0o777,
        (None, Kind::Data) => 0o600,
        (None, Kind::Configuration | Kind::Named) => 0o640,
    };
    let now = fs::metadata(path)?;
    if (now.uid(), now.gid()) != (owner.uid(), owner.gid()) {
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::archive::Entry;

    const CONFIG: &str = "[mqtt]\npassword_file = \"mqtt.password\"\n";

    /// A backup with the configuration and one file more.
    fn with(kind: Kind, path: &str) -> Result<Plan, String> {
        let item = |entry: &str, kind, path: &str, text: &str| {
            let about = Item { entry: entry.into(), kind, path: path.into(), sha256: sha256(text.as_bytes()) };
            (about, Entry { name: entry.into(), bytes: text.into() })
        };
        let parts = [item("a", Kind::Configuration, "/etc/g/g.toml", CONFIG), item("b", kind, path, "x")];
        let (files, mut entries): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let manifest = Manifest {
            gridkeeper_backup: FORMAT,
            version: "0".into(),
            time: "now".into(),
            data_dir: "/var/lib/g".into(),
            files,
        };
        entries.push(Entry { name: MANIFEST.into(), bytes: serde_json::to_vec(&manifest).unwrap() });
        plan(&archive::write(&entries, 0))
    }

    #[test]
    fn what_is_no_backup_at_all_is_called_what_it_is() {
        for (bytes, is) in [
            (&b""[..], "is empty"),
            (CONFIG.as_bytes(), "is TOML"),
            (b"- yaml: [\n", "is a text"),
            (&[0x1F, 0x8B, 8, 0], "gzip"),
            (&[0; 2000], "damaged"),
        ] {
            let why = plan(bytes).unwrap_err();
            assert!(why.starts_with("this is no backup: one is a tar file that `gridkeeper backup`"), "{why}");
            assert!(why.contains(is), "{why}");
        }
        let other = archive::write(&[Entry { name: "a".into(), bytes: b"x".into() }], 0);
        assert!(plan(&other).unwrap_err().contains("no backup.json"));
    }

    #[test]
    fn a_backup_writes_only_where_one_of_ours_would() {
        for (kind, path, well) in [
            (Kind::Data, "/var/lib/g/history/x", true),
            (Kind::Data, "/var/lib/g", false),
            (Kind::Data, "/var/lib/g/../../etc/passwd", false),
            (Kind::Data, "/etc/passwd", false),
            (Kind::Data, "var/lib/g/x", false),
            (Kind::Named, "/etc/g/mqtt.password", true),
            (Kind::Named, "/etc/g/other.password", false),
            (Kind::Named, "/etc/passwd", false),
            (Kind::Configuration, "/etc/g/more.toml", true),
            (Kind::Configuration, "/etc/cron.d/x", false),
            (Kind::Configuration, "/etc/g/../g.toml", false),
        ] {
            let plan = with(kind, path);
            assert_eq!(plan.is_ok(), well, "{kind:?} {path}: {:?}", plan.err());
        }
    }
}

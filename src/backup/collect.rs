//! What belongs into a backup.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::archive::{self, Entry};
use super::{FORMAT, Item, Kind, MANIFEST, MAX_BYTES, MAX_FILES, Manifest, named_files, sha256};
use crate::config::{Inputs, read_bounded};

/// Files of the data directory that are no use elsewhere: the copy of the configuration is made anew; two installations
/// with one name would not notice each other on a broker; the options are the Supervisor's.
const LEFT_OUT: [&str; 3] = ["last-good.json", "instance", "options.json"];

/// A backup, ready to be written. Holds secrets.
pub struct Backup {
    /// A tar file.
    pub bytes: Vec<u8>,
    /// What is in it, for people.
    pub files: Vec<PathBuf>,
    /// What is not in it and why, for people.
    pub left_out: Vec<String>,
}

/// Collects the configuration that `inputs` are, the files that it names, and everything in `data_dir`. `time`: now, in
/// unix ms.
///
/// # Errors
/// When something cannot be read, or is larger than a backup may be.
pub fn collect(inputs: &Inputs, data_dir: &Path, time: i64) -> Result<Backup, String> {
    let mut files: Vec<(Kind, PathBuf)> = Vec::new();
    let mut left_out = Vec::new();
    for file in &inputs.files {
        let path = absolute(Path::new(&file.name))?;
        let base = path.parent().unwrap_or(Path::new("/"));
        for named in named_files(&file.text, base) {
            if named.is_file() {
                files.push((Kind::Named, named));
            } else {
                left_out.push(format!("{}: there is no such file", named.display()));
            }
        }
        files.push((Kind::Configuration, path));
    }
    if !inputs.variables.is_empty() {
        let names: Vec<_> = inputs.variables.iter().map(|it| it.0.as_str()).collect();
        left_out.push(format!("variables of the environment: {}", names.join(", ")));
    }
    if inputs.options.is_some() {
        left_out.push("the options of the add-on: Home Assistant's own backup has them".to_owned());
    }
    let data_dir = absolute(data_dir)?;
    walk(&data_dir, &data_dir, &mut files, &mut left_out)?;
    files.sort_by(|a, b| a.1.cmp(&b.1));
    files.dedup_by(|a, b| a.1 == b.1);
    pack(&files, data_dir, left_out, time)
}

fn pack(files: &[(Kind, PathBuf)], data_dir: PathBuf, left_out: Vec<String>, time: i64) -> Result<Backup, String> {
    let (mut items, mut entries, mut room) = (Vec::new(), vec![], MAX_BYTES);
    for (number, (kind, path)) in files.iter().enumerate() {
        let bytes = read_bounded(path, room).map_err(|error| format!("{}: {error}", path.display()))?;
        room -= bytes.len() as u64;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name: String =
            name.chars().filter(|it| it.is_ascii_alphanumeric() || ".-_".contains(*it)).take(60).collect();
        let entry = format!("{number:04}-{name}");
        items.push(Item { entry: entry.clone(), kind: *kind, path: path.clone(), sha256: sha256(&bytes) });
        entries.push(Entry { name: entry, bytes });
    }
    let moment = jiff::Timestamp::from_millisecond(time).map_err(|error| error.to_string())?;
    let manifest = Manifest {
        gridkeeper_backup: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        time: moment.to_string(),
        data_dir,
        files: items,
    };
    let text = serde_json::to_vec_pretty(&manifest).map_err(|error| error.to_string())?;
    entries.insert(0, Entry { name: MANIFEST.to_owned(), bytes: text });
    let bytes = archive::write(&entries, u64::try_from(time / 1000).unwrap_or_default());
    Ok(Backup { bytes, files: files.iter().map(|it| it.1.clone()).collect(), left_out })
}

/// Every file below `folder`, without what is temporary. Links are not followed: they may lead anywhere.
fn walk(
    data_dir: &Path,
    folder: &Path,
    files: &mut Vec<(Kind, PathBuf)>,
    left_out: &mut Vec<String>,
) -> Result<(), String> {
    let cannot = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        // Nothing was ever stored.
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder == data_dir => return Ok(()),
        Err(error) => return Err(cannot(folder, error)),
    };
    for entry in found {
        let entry = entry.map_err(|error| cannot(folder, error))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type().map_err(|error| cannot(&path, error))?;
        if name.starts_with('.') || (folder == data_dir && LEFT_OUT.contains(&&*name)) {
            continue;
        }
        if kind.is_dir() {
            walk(data_dir, &path, files, left_out)?;
        } else if kind.is_file() {
            if files.len() >= MAX_FILES {
                return Err(format!("{}: more than {MAX_FILES} files", data_dir.display()));
            }
            files.push((Kind::Data, path));
        } else {
            left_out.push(format!("{}: no plain file", path.display()));
        }
    }
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // So that `..` in a path on the command line does not stand in the way of a restore.
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

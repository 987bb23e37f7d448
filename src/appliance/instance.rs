//! The installation's own name on the broker: random once, kept in the data directory.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;

use crate::config::durable;

/// File in the data directory.
const FILE: &str = "instance";

/// Reads the name, or makes one and keeps it. When it cannot be kept, it is good for this run only and the error says
/// why.
pub(super) fn name(data_dir: &Path) -> (String, Option<io::Error>) {
    let path = data_dir.join(FILE);
    if let Ok(text) = fs::read_to_string(&path) {
        let text = text.trim();
        if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return (text.to_owned(), None);
        }
    }
    // The standard library seeds its hashers from the operating system: enough to tell two installations apart.
    let fresh = format!("{:016x}", RandomState::new().build_hasher().finish());
    let kept = durable::replace(&path, fresh.as_bytes());
    (fresh, kept.err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_survives_a_restart_and_is_made_anew_when_it_is_damaged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (first, error) = name(&folder.path().join("data"));
        assert!(error.is_none());
        assert_eq!(name(&folder.path().join("data")).0, first);
        fs::write(folder.path().join("data/instance"), "damaged").expect("writable");
        assert_ne!(name(&folder.path().join("data")).0, first);
    }

    #[test]
    fn a_folder_that_cannot_be_written_gives_a_name_for_this_run() {
        let (fresh, error) = name(Path::new("/proc/nowhere"));
        assert_eq!(fresh.len(), 16);
        assert!(error.is_some());
    }
}

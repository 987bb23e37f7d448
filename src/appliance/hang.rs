//! Tests hang a thread by creating the file that a variable names; release builds have no such hook.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// One such variable.
#[derive(Debug)]
pub(super) struct Hang {
    variable: &'static str,
    file: OnceLock<Option<PathBuf>>,
}

impl Hang {
    pub(super) const fn new(variable: &'static str) -> Self {
        Self { variable, file: OnceLock::new() }
    }

    /// Stops the thread that calls while the file is there.
    pub(super) fn if_asked(&self) {
        if let Some(path) = self.file.get_or_init(|| std::env::var_os(self.variable).map(Into::into)) {
            while path.exists() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

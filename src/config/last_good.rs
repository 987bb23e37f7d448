//! The last configuration that was good, kept in the data directory: what `run` falls back on when the file is wrong,
//! so that the chargers it knew can still be lowered.

use std::io;
use std::path::Path;

use super::durable;
use super::model::Config;
use super::source::{Inputs, MAX_BYTES, read_bounded};
use super::{Diagnostic, Diagnostics, Loaded, Severity, load_inputs};
use crate::feature::Purpose;

/// Name of the file in the data directory. It holds what the configuration holds, secrets too; only its owner may read
/// it.
const FILE_NAME: &str = "last-good.json";
/// Several files and the options, escaped.
const MAX_COPY: u64 = 16 * MAX_BYTES;

/// Keeps a copy of what a good configuration was made from. Writes only when it differs from the kept one.
///
/// # Errors
/// Those of the disk; an older copy then still stands.
pub fn save_last_good(data_dir: &Path, inputs: &Inputs) -> io::Result<()> {
    let mut inputs = inputs.clone();
    for file in inputs.files.iter_mut().chain(&mut inputs.options) {
        // It may be loaded from another working directory.
        let base = if file.base.as_os_str().is_empty() { Path::new(".") } else { &file.base };
        file.base = std::path::absolute(base)?;
    }
    let path = data_dir.join(FILE_NAME);
    let bytes = serde_json::to_vec(&inputs).map_err(io::Error::other)?;
    if read_bounded(&path, MAX_COPY).is_ok_and(|kept| kept == bytes) {
        return Ok(());
    }
    durable::replace(&path, &bytes)
}

/// Loads the kept copy; `None` when there is none. Secrets that cannot be read any more are warnings here.
#[must_use]
pub fn load_last_good(data_dir: &Path) -> Option<Result<Loaded, Diagnostics>> {
    let path = data_dir.join(FILE_NAME);
    let failed = |why: String| {
        let diagnostic = Diagnostic::bare(Severity::Error, path.display().to_string(), why);
        load_inputs(Inputs::default(), Purpose::LastGood, vec![diagnostic])
    };
    let bytes = match read_bounded(&path, MAX_COPY) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(failed(format!("cannot be read: {error}"))),
    };
    Some(match serde_json::from_slice(&bytes) {
        Ok(inputs) => load_inputs(inputs, Purpose::LastGood, Vec::new()),
        Err(_) => failed("is not a kept configuration".to_owned()),
    })
}

/// What to run with when the configuration was refused: the devices of the last good one, and every table of the refused
/// one that is right in itself, so that its broker and its page can tell what is wrong. `None` only when not even an
/// empty configuration is accepted.
#[must_use]
pub fn fallback(refused: &Diagnostics) -> Option<Config> {
    let usable = &refused.usable;
    let inputs = Inputs { default_data_dir: usable.storage.data_dir.clone(), ..Inputs::default() };
    let mut config = match load_last_good(&usable.storage.data_dir) {
        Some(Ok(loaded)) => loaded.config,
        Some(Err(_)) | None => load_inputs(inputs, Purpose::LastGood, Vec::new()).ok()?.config,
    };
    config.storage = usable.storage.clone();
    if let Some(site) = &usable.site {
        config.site = site.clone();
    }
    if let Some(mqtt) = &usable.mqtt {
        config.mqtt = mqtt.clone();
    }
    if let Some(web) = &usable.web {
        config.web = web.clone();
    }
    Some(config)
}

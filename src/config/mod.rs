//! The configuration: read with positions, checked, layered, and the settings changed at run time.
//!
//! ```text
//! files ──┐ source: text and places
//! env   ──┼─▶ layer: keys of `raw` checked one by one, merged by crate `config`, each value with its place
//! options ┘        ──▶ check*: what is required, referred to, shared ──▶ model::Config
//!                              └▶ warn: allowed, but look at it          └▶ diagnostics on the way
//! ```

use std::path::{Path, PathBuf};

mod check;
mod check_buses;
mod check_chargers;
mod check_circuits;
mod check_devices;
mod check_http;
mod check_influx;
mod check_mqtt;
mod check_mqtt_meter;
mod check_pace;
mod check_relays;
mod check_serve;
mod check_signals;
pub mod command;
mod connection;
mod diagnostic;
pub(crate) mod durable;
mod form;
mod key;
mod last_good;
mod layer;
pub mod meter_models;
pub mod model;
mod naming;
pub(crate) mod paint;
mod raw;
mod schema;
mod secret;
pub mod settings_store;
mod setup;
mod slip;
mod slip_line;
mod slip_value;
mod slot;
mod source;
mod warn;
mod warn_fuses;
mod warn_meters;

pub use crate::feature::Purpose;
pub use diagnostic::{Diagnostic, Diagnostics, Severity, Usable};
pub use last_good::{fallback, load_last_good, save_last_good};
pub use model::Config;
pub use schema::schema;
pub use settings_store::{FILE_NAME as SETTINGS_FILE, SettingsStore};
pub use source::{ADD_ON_FILE, DEFAULT_FILES, Inputs, SourceFile};
pub use warn::BusBudget;

use source::Report;
pub(crate) use source::read_bounded;

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// What should be looked at, in the order of the files.
    pub warnings: Vec<Diagnostic>,
    /// Estimated round times of the shared buses.
    pub buses: Vec<BusBudget>,
    /// What it was made from, to be kept as the last good configuration. Holds secrets.
    pub inputs: Inputs,
}

/// Reads and checks a configuration: `paths` in order, then the variables that begin with `GRIDKEEPER__`, then the
/// add-on options. No path means the first of [`DEFAULT_FILES`] that exists; add-on options may stand alone.
///
/// # Errors
/// With everything that is wrong, not only the first.
pub fn load(
    paths: &[PathBuf],
    env: impl Iterator<Item = (String, String)>,
    options_json: Option<PathBuf>,
    purpose: Purpose,
) -> Result<Loaded, Diagnostics> {
    let variables: Vec<(String, String)> = env.collect();
    let mut failed = Vec::new();
    let mut read = |path: &Path| match SourceFile::read(path) {
        Ok(file) => Some(file),
        Err(diagnostic) => {
            failed.push(*diagnostic);
            None
        }
    };
    let options = options_json.as_deref().and_then(&mut read);
    let found: Vec<PathBuf> = if paths.is_empty() {
        let add_on = options_json.is_some().then_some(ADD_ON_FILE);
        add_on.into_iter().chain(DEFAULT_FILES).map(PathBuf::from).filter(|it| it.exists()).take(1).collect()
    } else {
        paths.to_vec()
    };
    let files: Vec<SourceFile> = found.iter().filter_map(|it| read(it)).collect();
    if found.is_empty() && options_json.is_none() {
        failed.push(
            Diagnostic::bare(
                Severity::Error,
                "configuration",
                format!("no file named with -c, and neither {} nor {} exists", DEFAULT_FILES[0], DEFAULT_FILES[1]),
            )
            .help("name one with -c FILE"),
        );
    }
    let default_data_dir = default_data_dir(&variables, options_json.as_deref(), &found);
    failed.extend(variables.iter().filter_map(|it| naming::near_miss(&it.0)));
    let mut variables: Vec<(String, String)> =
        variables.into_iter().filter(|it| it.0.starts_with(layer::PREFIX)).collect();
    variables.sort();
    let inputs = Inputs { files, variables, options, default_data_dir };
    load_inputs(inputs, purpose, failed)
}

/// Checks a configuration whose texts were read already; `failed` is what went wrong while reading.
pub(crate) fn load_inputs(inputs: Inputs, purpose: Purpose, failed: Vec<Diagnostic>) -> Result<Loaded, Diagnostics> {
    let mut report = Report::default();
    let (merged, well_formed) = layer::read(&inputs, purpose, &mut report);
    let complete = well_formed && failed.iter().all(|it| it.severity != Severity::Error);
    for it in failed {
        report.push(it);
    }
    let found = report.found();
    let built = check::build(&merged, &inputs, purpose, &mut report);
    if !complete {
        // What is lacking may stand in what could not be read.
        report.forget_since(found);
    }
    match built {
        (Some(config), _, buses) => Ok(Loaded { config, warnings: report.finish(), buses, inputs }),
        (None, usable, _) => Err(Diagnostics { list: report.finish(), usable: Box::new(usable) }),
    }
}

/// The address of a device, as in the key `connection`.
///
/// # Errors
/// What is wrong and what is allowed, as one sentence.
pub fn connection(text: &str) -> Result<model::Connection, String> {
    connection::parse(text).map_err(|(message, help)| format!("{message}; {help}"))
}

/// The environment of this process, for [`load`]. What is not UTF-8 comes with its bad bytes replaced, so that a key
/// that it belongs to refuses it by name.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |it: std::ffi::OsString| it.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// Where the data of the system's own file live: the state directory of the systemd unit and the Debian package.
const SYSTEM_DATA_DIR: &str = "/var/lib/gridkeeper";

/// Where the data live when the configuration does not say: the add-on's folder, the service manager's, the system's,
/// the user's. Whoever looks at the system's file must find what the service found, which alone is told of its folder.
fn default_data_dir(variables: &[(String, String)], options: Option<&Path>, files: &[PathBuf]) -> PathBuf {
    if let Some(folder) = options.and_then(Path::parent) {
        return folder.to_path_buf();
    }
    let of = |name: &str| variables.iter().find(|it| it.0 == name).map(|it| &it.1).filter(|it| !it.is_empty());
    if let Some(first) = of("STATE_DIRECTORY").and_then(|it| it.split(':').next()) {
        return PathBuf::from(first);
    }
    if files.iter().any(|it| it == Path::new(DEFAULT_FILES[0])) {
        return PathBuf::from(SYSTEM_DATA_DIR);
    }
    if let Some(state) = of("XDG_STATE_HOME") {
        return Path::new(state).join("gridkeeper");
    }
    match of("HOME") {
        Some(home) if home != "/root" && home != "/" => Path::new(home).join(".local/state/gridkeeper"),
        _ => PathBuf::from(SYSTEM_DATA_DIR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_the_systems_file_are_found_by_whoever_reads_it() {
        let system = [PathBuf::from(DEFAULT_FILES[0])];
        let own = [PathBuf::from("gridkeeper.toml")];
        let told = |variables: &[(&str, &str)], options: Option<&str>, files: &[PathBuf]| {
            let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            default_data_dir(&variables, options.map(Path::new), files).display().to_string()
        };
        let service = told(&[("STATE_DIRECTORY", "/var/lib/gridkeeper")], None, &system);
        for person in [
            &[("HOME", "/var/lib/gridkeeper")][..],
            &[("HOME", "/root")],
            &[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/home/ada/state")],
            &[],
        ] {
            assert_eq!(told(person, None, &system), service, "{person:?}");
        }
        assert_eq!(told(&[("STATE_DIRECTORY", "/data:/more")], None, &system), "/data");
        assert_eq!(told(&[("HOME", "/home/ada")], None, &own), "/home/ada/.local/state/gridkeeper");
        assert_eq!(told(&[("XDG_STATE_HOME", "/state")], None, &own), "/state/gridkeeper");
        assert_eq!(told(&[("HOME", "/root")], Some("/data/options.json"), &own), "/data");
    }
}

//! Names that people write: ids, and variables of the environment.

use super::diagnostic::{Diagnostic, Severity};
use super::key::short;
use super::layer::PREFIX;
use super::raw::SECTIONS;

/// Words that would be ambiguous in a topic or a reference.
const RESERVED: [&str; 3] = ["grid", "site", "set"];

/// A warning about a variable that looks like ours but is not read.
pub(super) fn near_miss(name: &str) -> Option<Diagnostic> {
    if name.starts_with(PREFIX) {
        return None;
    }
    let rest = name.to_ascii_uppercase().replace('-', "_");
    let rest = rest.strip_prefix("GRIDKEEPER_")?.trim_start_matches('_');
    let table = SECTIONS
        .iter()
        .map(|it| variable_form(it.name))
        .find(|it| rest.strip_prefix(it.as_str()).is_some_and(|it| it.starts_with('_')))?;
    let message = format!("variable {} is not read", short(name));
    let help = format!("names begin with {PREFIX}{table}__, in capitals and with two underscores between the parts");
    Some(Diagnostic::bare(Severity::Warning, "environment", message).help(help))
}

/// A name as it is written in a variable.
pub(super) fn variable_form(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// What is wrong with an id.
pub(super) fn wrong_id(id: &str) -> Option<String> {
    let letter = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_' || it == '-';
    if id.is_empty() {
        Some("the id is empty".to_owned())
    } else if let Some(bad) = id.chars().find(|it| !letter(*it)) {
        Some(format!("the id \"{}\" holds {bad:?}", short(id)))
    } else if id.len() > 32 {
        Some(format!("the id `{}` is longer than 32 characters", short(id)))
    } else if RESERVED.contains(&id) {
        Some(format!("the id `{id}` is reserved"))
    } else {
        None
    }
}

//! Where the form of the add-on and a file say different things.

use config::{Value, ValueKind};

use super::diagnostic::{Diagnostic, Severity};
use super::layer::Layer;
use super::source::Report;

impl Layer {
    fn value(&self, section: &str, key: &str) -> Option<&Value> {
        match &self.0.get(section)?.kind {
            ValueKind::Table(table) => table.get(key),
            _ => None,
        }
    }
}

/// The add-on's form goes before the file, save for two things that somebody who writes a file has not chosen there: the
/// broker that the form is filled in with, and a main fuse that contradicts his own. Which of two is true only he knows.
pub(super) fn agree(form: &mut Layer, files: &[Layer], name: &str, report: &mut Report) {
    let in_files = |section, key| files.iter().rev().find_map(|it| it.value(section, key));
    if let (Some(ours), Some(theirs)) = (form.value("grid", "fuse_a"), in_files("grid", "fuse_a")) {
        let (ours, theirs) = (ours.clone().into_float(), theirs.clone().into_float());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs)
            && (ours - theirs).abs() > f64::EPSILON
        {
            let message = format!("grid.fuse_a is {ours} in the form of the add-on and {theirs} in the file");
            let help = "write the rating of the main fuse in one of them, and leave it out of the other";
            report.push(Diagnostic::bare(Severity::Error, name, message).help(help));
        }
    }
    let is_preset = |it: &Value| matches!(&it.kind, ValueKind::String(url) if url == "supervisor");
    if form.value("mqtt", "url").is_some_and(is_preset)
        && in_files("mqtt", "url").is_some()
        && let Some(ValueKind::Table(mqtt)) = form.0.get_mut("mqtt").map(|it| &mut it.kind)
    {
        mqtt.remove("url");
    }
}

//! `gridkeeper check` and `gridkeeper schema`.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{BusBudget, Diagnostic, Purpose, Severity};

/// Exit code of a configuration that is accepted.
pub const ACCEPTED: u8 = 0;
/// Exit code of one that is not.
pub const REFUSED: u8 = 2;

/// `check --json` prints one of these.
#[derive(Serialize)]
struct Verdict<'a> {
    ok: bool,
    errors: usize,
    warnings: usize,
    diagnostics: &'a [Diagnostic],
    buses: &'a [BusBudget],
}

/// Checks a configuration and writes what there is to say: reports for people, with colour if asked for, or one JSON
/// object. The result is the exit code.
///
/// # Errors
/// Those of the writer.
pub fn check(
    paths: &[PathBuf],
    env: impl Iterator<Item = (String, String)>,
    options_json: Option<PathBuf>,
    json: bool,
    colour: bool,
    out: &mut impl Write,
) -> io::Result<u8> {
    let loaded = super::load(paths, env, options_json, Purpose::Run);
    let (diagnostics, buses) = match &loaded {
        Ok(it) => (&it.warnings[..], &it.buses[..]),
        Err(it) => (&it.list[..], &[][..]),
    };
    let errors = diagnostics.iter().filter(|it| it.severity == Severity::Error).count();
    let warnings = diagnostics.len() - errors;
    if json {
        let verdict = Verdict { ok: loaded.is_ok(), errors, warnings, diagnostics, buses };
        serde_json::to_writer_pretty(&mut *out, &verdict)?;
        writeln!(out)?;
    } else {
        for it in diagnostics {
            let mut text = String::new();
            it.render(&mut text, colour).map_err(io::Error::other)?;
            writeln!(out, "{text}")?;
        }
        for it in buses {
            writeln!(out, "{}: {}, one round takes about {} s", it.bus, counted(it.devices, "device"), it.round_s)?;
        }
        let warned = if warnings > 0 { format!(", {}", counted(warnings, "warning")) } else { String::new() };
        match &loaded {
            Ok(it) => {
                let meters = counted(it.config.meters.len(), "meter");
                let chargers = counted(it.config.chargers.len(), "charger");
                writeln!(out, "accepted: {meters}, {chargers}{warned}")?;
            }
            Err(_) => writeln!(out, "refused: {}{warned}", counted(errors, "error"))?,
        }
    }
    Ok(if loaded.is_ok() { ACCEPTED } else { REFUSED })
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Writes the JSON Schema of the configuration.
///
/// # Errors
/// Those of the writer.
pub fn schema(out: &mut impl Write) -> io::Result<()> {
    out.write_all(super::schema::schema().map_err(io::Error::other)?.as_bytes())
}

//! `gridkeeper backup` and `gridkeeper restore`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{FAILED, WRONG_USAGE, add_on_options, complain, note, written};
use crate::backup::{self, Outcome};
use crate::clock::wall_ms;
use crate::config::{self, Purpose, durable};
use crate::tool::registers::agrees;

/// `gridkeeper backup`
#[must_use]
pub fn backup(target: &Path, files: &[PathBuf]) -> u8 {
    // Before anything is read: a folder that is made here would hide that a disk is not mounted, or a slip of the pen.
    let folder = target.parent().filter(|it| !it.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|it| !it.is_dir()) {
        complain(&format!("{}: there is no such folder; make it, or mount what belongs there", folder.display()));
        return FAILED;
    }
    let loaded = match config::load(files, config::environment(), add_on_options(), Purpose::Run) {
        Ok(loaded) => loaded,
        Err(refused) => {
            complain(&refused.to_string());
            return WRONG_USAGE;
        }
    };
    let done = backup::collect(&loaded.inputs, &loaded.config.storage.data_dir, wall_ms()).and_then(|backup| {
        durable::replace(target, &backup.bytes)
            .map_err(|error| format!("{}: {error}", target.display()))
            .map(|()| backup)
    });
    match done {
        Ok(backup) => {
            for it in &backup.left_out {
                note(&format!("not in it: {it}"));
            }
            let (number, target) = (backup.files.len(), target.display());
            written(writeln!(
                std::io::stdout(),
                "{target}: {number} files, secrets among them: keep it where nobody else reads"
            ))
        }
        Err(problem) => {
            complain(&problem);
            FAILED
        }
    }
}

/// `gridkeeper restore`
#[must_use]
pub fn restore(source: &Path, yes: bool) -> u8 {
    let bytes = match config::read_bounded(source, 2 * backup::MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => {
            complain(&format!("{}: {error}", source.display()));
            return FAILED;
        }
    };
    let plan = match backup::plan(&bytes) {
        Ok(plan) => plan,
        Err(problem) => {
            complain(&format!("{}: {problem}", source.display()));
            return WRONG_USAGE;
        }
    };
    let mut out = std::io::stdout().lock();
    let mut begin = || -> std::io::Result<bool> {
        writeln!(out, "made {} by version {}:", plan.time, plan.version)?;
        plan.files().try_for_each(|it| writeln!(out, "  {}", it.display()))?;
        let question = "Is the appliance stopped, and shall these be written? [y/N] ";
        Ok(yes || agrees(question, &mut std::io::stdin().lock(), &mut out)?)
    };
    match begin() {
        Ok(true) => {}
        Ok(false) => {
            complain("nothing was written; answer y, or say --yes");
            return FAILED;
        }
        Err(error) => return written(Err(error)),
    }
    let outcomes = match plan.carry_out() {
        Ok(outcomes) => outcomes,
        Err(problem) => {
            complain(&problem);
            return FAILED;
        }
    };
    for (path, outcome) in outcomes {
        let what = match outcome {
            Outcome::Made => "written",
            Outcome::Same => "was the same",
            Outcome::Replaced => "written; the old one is beside it, with .before-restore at its name's end",
        };
        if let Err(error) = writeln!(out, "{}: {what}", path.display()) {
            return written(Err(error));
        }
    }
    // Whether it is right where it is now: devices and secrets may be elsewhere.
    let checked = config::command::check(&plan.configuration(), config::environment(), None, false, false, &mut out);
    checked.unwrap_or_else(|error| written(Err(error)))
}

//! Wrong and doubtful files against the exact text that is said of them.
//!
//! One file per case below `tests/fixtures/config`; the text beside it is what must come. After a wanted change of a
//! text: `UPDATE_SNAPSHOTS=1 cargo test --test config_diagnostics`, then read the difference.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gridkeeper::config::{self, Diagnostic, Purpose, Severity};

/// The cases of a folder, relative to the crate, so that messages name the same path on every machine.
fn cases(folder: &str) -> Vec<PathBuf> {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(Path::new("tests/fixtures/config").join(folder))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "toml"))
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn load(case: &Path) -> Result<config::Loaded, config::Diagnostics> {
    config::load(&[case.to_owned()], std::iter::empty(), None, Purpose::Run)
}

fn text(diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for it in diagnostics {
        writeln!(out, "{}", it.to_string().trim_end()).unwrap();
        writeln!(out, "  key: {}\n", it.key_path.as_deref().unwrap_or("none")).unwrap();
    }
    out
}

fn compare(case: &Path, found: &str) {
    let snapshot = case.with_extension("txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&snapshot, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&snapshot).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what is said now; UPDATE_SNAPSHOTS=1 writes it anew.\n--- expected\n{expected}\n--- found\n{found}",
        snapshot.display()
    );
}

#[test]
fn every_wrong_file_gets_its_exact_text() {
    for case in cases("bad") {
        let refused = load(&case).expect_err(&format!("{} is wrong", case.display()));
        assert!(refused.list.iter().any(|it| it.severity == Severity::Error), "{}", case.display());
        for it in &refused.list {
            let (Some(line), Some(column)) = (it.line, it.column) else { panic!("{it:?} names no place") };
            assert!(it.to_string().contains(&format!("{}:{line}:{column}", case.display())), "{it}");
            assert!(it.help.is_some(), "{it:?} does not say what is allowed");
        }
        compare(&case, &text(&refused.list));
    }
}

#[test]
fn every_doubtful_file_is_accepted_with_its_exact_warnings() {
    for case in cases("warned") {
        let accepted = load(&case).unwrap_or_else(|it| panic!("{it}"));
        assert!(accepted.warnings.iter().all(|it| it.severity == Severity::Warning));
        compare(&case, &text(&accepted.warnings));
    }
}

#[test]
fn no_secret_is_ever_shown() {
    for case in cases("bad") {
        let shown = format!("{:?}", load(&case).map_err(|it| (text(&it.list), it)));
        assert!(!shown.contains("hunter2") && !shown.contains("987654321"), "{}: {shown}", case.display());
    }
}

/// A model file of a meter, which two meters have: all that is wrong with it once, each with its own line of it.
#[test]
fn a_wrong_model_file_is_told_all_about_in_one_run() {
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let case = Path::new("tests/fixtures/config/own_model/gridkeeper.toml");
    let refused = load(case).unwrap_err();
    let (own, other): (Vec<_>, Vec<_>) = refused.list.iter().partition(|it| it.file.ends_with("models/own.toml"));
    assert_eq!((own.len(), other.len()), (6, 2), "{refused}");
    for it in own {
        assert!(it.line.is_some() && it.column.is_some() && it.help.is_some(), "{it:?}");
        assert!(it.key_path.as_deref() == Some("meter.main.model"), "the other tables can be used: {it:?}");
    }
    compare(case, &text(&refused.list));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let refused = load(Path::new(&cases("bad")[0])).unwrap_err();
    let mut coloured = String::new();
    refused.list[0].render(&mut coloured, true).unwrap();
    assert!(coloured.contains('\u{1b}'));
    assert!(!refused.list[0].to_string().contains('\u{1b}'));
}

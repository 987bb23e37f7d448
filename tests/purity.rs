//! The controller and the codecs must stay pure: no clock, no I/O, no async. A text check, because one crate cannot
//! forbid itself a dependency.

use std::fs;
use std::path::{Path, PathBuf};

const FORBIDDEN: &[&str] = &[
    "tokio",
    "async fn",
    "std::time",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::env",
    "std::process",
    "jiff",
    "rumqttc",
    "reqwest",
    "tracing",
    "crate::link",
    "crate::device",
    "crate::mqtt",
    "crate::web",
    "crate::clock",
    "crate::appliance",
    "crate::simulator",
    "Instant::now",
    "SystemTime",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source folder is readable") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            sources(&path, found);
        // Tests of a codec may read recorded bytes.
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Lines outside comments that name something forbidden.
fn offences(source: &str) -> Vec<String> {
    let code = source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter_map(|(number, line)| {
        FORBIDDEN.iter().find(|word| line.contains(**word)).map(|word| format!("line {}: `{word}`", number + 1))
    })
    .collect()
}

#[test]
fn control_and_codec_know_no_clock_no_file_and_no_socket() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for room in ["control", "codec"] {
        sources(&root.join(room), &mut files);
    }
    assert!(files.len() > 10, "the pure rooms were not found below {}", root.display());
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let source = fs::read_to_string(file).expect("the source is readable");
            offences(&source).into_iter().map(move |offence| format!("{}: {offence}", file.display()))
        })
        .collect();
    assert!(found.is_empty(), "impure code in a pure room:\n{}", found.join("\n"));
}

#[test]
fn the_check_finds_what_it_looks_for() {
    assert_eq!(offences("use std::time::Instant;\n// std::fs\nlet x = 1;"), ["line 1: `std::time`"]);
}

//! Every file of tests/scenarios, played by the controller in simulated time: it must end as it says, and its whole
//! timeline must be the stored one. `GRIDKEEPER_BLESS=1` writes the timelines anew; read the difference before it is
//! committed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gridkeeper::simulate::play;
use gridkeeper::simulate::scenario::Scenario;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Every scenario, in order of its name.
fn scenarios() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("the folder is readable");
    let paths = entries.map(|entry| entry.expect("a folder entry").path());
    let mut files: Vec<PathBuf> = paths.filter(|it| it.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    files
}

/// The first line that differs, with those around it.
fn difference(stored: &str, played: &str) -> Option<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (stored.lines().collect(), played.lines().collect());
    let at = (0..old.len().max(new.len())).find(|at| old.get(*at) != new.get(*at))?;
    let before = new[at.saturating_sub(2).min(new.len())..at.min(new.len())].join("\n    ");
    let line = |lines: &[&str]| lines.get(at).copied().unwrap_or("(the end)").to_owned();
    Some(format!("line {}:\n    {before}\n  - {}\n  + {}", at + 1, line(&old), line(&new)))
}

#[test]
fn every_scenario_ends_as_it_says_and_as_it_did_before() {
    let bless = std::env::var_os("GRIDKEEPER_BLESS").is_some();
    let only = std::env::var("GRIDKEEPER_SCENARIO").ok();
    let files = scenarios();
    assert!(files.len() >= 10, "only {} scenarios were found", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let scenario = Scenario::read(&file).unwrap_or_else(|error| panic!("{error}"));
        let begun = Instant::now();
        let outcome = play(&scenario).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {:.0} s in {:?}", scenario.script.lasts_s, begun.elapsed());
        wrong.extend(outcome.unmet.iter().map(|unmet| format!("{name}: {unmet}")));
        let stored = file.with_extension("trace");
        if bless {
            std::fs::write(&stored, &outcome.timeline).expect("a writable folder");
        } else {
            let text = std::fs::read_to_string(&stored).unwrap_or_default();
            wrong.extend(difference(&text, &outcome.timeline).map(|it| format!("{name}.trace: {it}")));
        }
    }
    assert!(wrong.is_empty(), "{}\n(GRIDKEEPER_BLESS=1 writes new timelines)", wrong.join("\n"));
}

/// Names in the second column of the tables in README.md.
fn named() -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("README.md")).expect("README.md");
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    let shown = rows.filter_map(|row| row.split('|').nth(2));
    shown.flat_map(|column| column.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_rule_has_a_scenario_and_every_scenario_a_rule() {
    let named = named();
    assert!(named.len() > 60, "only {} names were found in README.md", named.len());
    for name in &named {
        let exists = if name.contains('/') {
            Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists()
        } else {
            folder().join(name).with_extension("toml").exists()
        };
        assert!(exists, "tests/scenarios/README.md names `{name}`, which does not exist");
    }
    for file in scenarios() {
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(named.contains(&stem), "tests/scenarios/README.md does not say what {stem} shows");
    }
}

#[test]
fn no_timeline_is_left_over() {
    for entry in std::fs::read_dir(folder()).expect("the folder is readable") {
        let path = entry.expect("a folder entry").path();
        if path.extension().is_some_and(|it| it == "trace") {
            assert!(path.with_extension("toml").exists(), "{} has no scenario", path.display());
        }
    }
}

#[test]
fn a_scenario_plays_the_same_twice() {
    let short = |it: &Scenario| it.script.lasts_s <= 600.0;
    let read = |file: &PathBuf| Scenario::read(file).unwrap_or_else(|error| panic!("{error}"));
    for (file, scenario) in scenarios().iter().map(|file| (file, read(file))).filter(|it| short(&it.1)).take(3) {
        let texts = [(); 2].map(|()| play(&scenario).map(|it| it.timeline));
        assert_eq!(texts[0], texts[1], "{}", file.display());
    }
}

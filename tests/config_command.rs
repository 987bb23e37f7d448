//! `check` and `schema`, the schema that is checked in, and the example that people copy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gridkeeper::config::{self, Purpose, command};
use serde_json::Value;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn check(path: &Path, json: bool) -> (u8, String) {
    let mut out = Vec::new();
    let code = command::check(&[path.to_owned()], std::iter::empty(), None, json, false, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn schema() -> Value {
    let mut out = Vec::new();
    command::schema(&mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

/// Tables and keys that this version accepts, after its own schema.
fn accepted() -> Vec<(String, BTreeSet<String>)> {
    let schema = schema();
    let tables = schema["properties"].as_object().unwrap();
    tables
        .iter()
        .map(|(name, it)| {
            let reference = it["$ref"].as_str().or_else(|| it["items"]["$ref"].as_str()).unwrap();
            let keys = schema.pointer(reference.trim_start_matches('#')).unwrap()["properties"].as_object().unwrap();
            (name.clone(), keys.keys().cloned().collect())
        })
        .collect()
}

#[test]
fn the_checked_in_schema_is_the_one_that_the_program_makes() {
    let made = config::schema().unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(root("config/schema.json"), &made).unwrap();
    }
    let kept = std::fs::read_to_string(root("config/schema.json")).unwrap_or_default();
    assert!(made == kept, "config/schema.json is out of date: cargo run -- schema > config/schema.json");
}

#[test]
fn the_schema_describes_every_key() {
    for (table, keys) in accepted() {
        assert!(!keys.is_empty(), "{table}");
    }
    fn described(value: &Value, path: &str) {
        if let Some(keys) = value.get("properties").and_then(Value::as_object) {
            for (name, key) in keys {
                let ours = key.get("$ref").is_some() || key["items"].get("$ref").is_some();
                assert!(ours || key["description"].as_str().is_some_and(|it| it.len() > 5), "{path}.{name}");
            }
        }
    }
    let schema = schema();
    described(&schema, "");
    for (name, table) in schema["definitions"].as_object().unwrap() {
        described(table, name);
        assert_eq!(table["additionalProperties"], false, "{name}");
    }
}

#[test]
fn the_example_passes_its_own_check_without_a_warning() {
    let (code, text) = check(&root("config/gridkeeper.toml"), false);
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("accepted: 1 meter, 1 charger\n"), "{text}");
}

/// The example with its optional lines switched on, one at a time, must be read; and no key may be missing from it.
#[test]
fn the_example_shows_every_key_and_no_other() {
    let text = std::fs::read_to_string(root("config/gridkeeper.toml")).unwrap();
    let mut table = String::new();
    let mut shown: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in text.lines() {
        let optional = line.strip_prefix("# [").filter(|it| !it.starts_with('['));
        if let Some(name) = line.strip_prefix('[').or(optional) {
            table = name.trim_start_matches('[').split(']').next().unwrap().to_owned();
            shown.push((table.clone(), BTreeSet::new()));
        } else if let Some(keys) = line.strip_prefix("# # also: ") {
            shown.last_mut().unwrap().1.extend(keys.split(", ").map(str::to_owned));
        } else if let Some((key, _)) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")
            && !key.contains(' ')
            && !table.is_empty()
        {
            shown.last_mut().unwrap().1.insert(key.to_owned());
        }
    }
    let mut accepted = accepted();
    accepted.sort();
    shown.sort();
    assert_eq!(shown, accepted);
    assert!(text.lines().count() < 280, "short enough to read");
}

#[test]
fn the_optional_lines_of_the_example_hold_allowed_values() {
    let text = std::fs::read_to_string(root("config/gridkeeper.toml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gridkeeper.toml");
    let mut tried = 0;
    let mut device: Option<std::ops::Range<usize>> = None;
    for (number, line) in text.lines().enumerate() {
        let begins = line.starts_with("# [");
        if begins {
            // A whole device or table: its lines only make sense together.
            let length = text.lines().skip(number).take_while(|it| it.starts_with("# ")).count();
            device = Some(number..number + length);
        }
        let whole = device.clone().filter(|it| it.contains(&number));
        let lines = whole.unwrap_or(number..number + 1);
        if begins || lines.len() > 1 {
            if begins {
                let uncommented: Vec<&str> =
                    text.lines().enumerate().map(|(at, it)| if lines.contains(&at) { &it[2..] } else { it }).collect();
                std::fs::write(&path, uncommented.join("\n")).unwrap();
                tried += 1;
                let loaded = config::load(std::slice::from_ref(&path), std::iter::empty(), None, Purpose::Run);
                for it in loaded.err().iter().flat_map(|refused| &refused.list) {
                    assert!(it.message.contains("names no file"), "line {}: {it}", number + 1);
                }
            }
            continue;
        }
        let Some((key, _)) = line.strip_prefix("# ").and_then(|it| it.split_once(" = ")) else { continue };
        if key.contains(' ') || number < 8 {
            continue;
        }
        let one: Vec<&str> =
            text.lines().enumerate().map(|(at, it)| if at == number { &it[2..] } else { it }).collect();
        std::fs::write(&path, one.join("\n")).unwrap();
        tried += 1;
        let Err(refused) = config::load(std::slice::from_ref(&path), std::iter::empty(), None, Purpose::Run) else {
            continue;
        };
        // What such a line may lack is another line: a file that is not there, a second device, another driver.
        let expected = match key {
            "password_file" | "key_file" | "auth_key_file" | "ca_file" | "client_cert_file" | "client_key_file" => {
                &["names no file", "does nothing without", "does nothing with driver"][..]
            }
            "password" => &["without `username`"],
            "period_s" | "current_step_a" => &["does nothing with driver"],
            "connection" | "username" | "model" | "token_file" | "unit" | "channel" | "register" | "topic"
            | "times" | "pulse_s" | "line" => &["does nothing with driver"],
            "interlock" => &["there is no relay `heat-pump-block`"],
            "meter" => {
                &["there is no meter `left-meter`", "there is no meter `garage-meter`", "does nothing with driver"]
            }
            "meter_late_s" | "meter_lost_s" | "meter_lost_current_a" => {
                &["does nothing where the circuit has no meter"]
            }
            _ => panic!("line {}: {refused}", number + 1),
        };
        for it in &refused.list {
            let known =
                expected.iter().any(|text| it.message.contains(text)) || it.message.contains("without `username`");
            assert!(known, "line {}: {it}", number + 1);
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn check_tells_people_and_programs_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    std::fs::write(&path, "[grid]\nfuse = 25\n").unwrap();
    let (code, text) = check(&path, false);
    assert_eq!(code, 2);
    assert!(text.contains("a.toml:2:1]") && text.ends_with("refused: 1 error\n"), "{text}");
    let (code, text) = check(&path, true);
    assert_eq!(code, 2);
    let verdict: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&verdict["ok"], &verdict["errors"]), (&Value::Bool(false), &Value::from(1)));
    let one = &verdict["diagnostics"][0];
    assert_eq!(one["file"], path.display().to_string());
    assert_eq!((&one["line"], &one["column"]), (&Value::from(2), &Value::from(1)));
    assert_eq!((&one["severity"], &one["key_path"]), (&Value::from("error"), &Value::from("grid.fuse")));
    assert_eq!(one["message"], "unknown key `fuse` in [grid]");
    assert_eq!(one["help"], "did you mean `fuse_a`?");
    assert_eq!(one.as_object().unwrap().len(), 7);
}

#[test]
fn check_prints_the_round_time_of_a_bus() {
    let (code, text) = check(&root("tests/fixtures/config/warned/slow_bus.toml"), false);
    assert_eq!(code, 0);
    assert!(text.contains("rtu+tcp://192.0.2.1:4196: 9 devices, one round takes about 4.13 s\n"), "{text}");
    assert!(text.ends_with("accepted: 1 meter, 9 chargers, 11 warnings\n"), "{text}");
    let verdict: Value =
        serde_json::from_str(&check(&root("tests/fixtures/config/warned/slow_bus.toml"), true).1).unwrap();
    assert_eq!(verdict["buses"][0]["round_s"], 4.13);
}

#[test]
fn a_bus_on_the_network_has_rounds_and_its_chargers_watchdogs_too() {
    let (code, text) = check(&root("tests/fixtures/config/warned/tcp_watchdog.toml"), false);
    assert_eq!(code, 0);
    assert!(text.contains("tcp://192.0.2.1:502: 1 device, one round takes about 0.1 s\n"), "{text}");
    assert!(text.contains("the watchdog of charger `left`, 4 s, is under five rounds of its bus (1 s each)"), "{text}");
}

#[test]
fn the_program_checks_and_ends_with_the_right_code() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
        let done = command.args(arguments).current_dir(dir.path()).env_clear().output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap())
    };
    if Path::new(config::DEFAULT_FILES[0]).exists() {
        println!("skipped: {} exists on this machine", config::DEFAULT_FILES[0]);
    } else {
        let (code, text) = run(&["check"]);
        assert_eq!(code, Some(2));
        for it in config::DEFAULT_FILES {
            assert!(text.contains(it), "{text}");
        }
        std::fs::write(dir.path().join("gridkeeper.toml"), "[site]\nname = \"Here\"\n").unwrap();
        assert_eq!(run(&["check"]), (Some(0), "accepted: 0 meters, 0 chargers\n".to_owned()));
    }
    std::fs::write(dir.path().join("bad.toml"), "[site]\nnmae = 1\n").unwrap();
    let (code, text) = run(&["check", "-c", "bad.toml", "--json"]);
    assert_eq!(code, Some(2));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["diagnostics"][0]["line"], 2);
    assert_eq!(run(&["schema"]), (Some(0), config::schema().unwrap()));
}

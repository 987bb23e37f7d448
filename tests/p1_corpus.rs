//! Every expected value of the collected telegrams, where the collection is at hand, and of the project's own fixtures.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use gridkeeper::codec::p1::Keys;
use gridkeeper::decode::{self, Form, Outcome};
use serde_json::Value;

fn decode(bytes: &[u8], keys: Option<Keys>) -> (Vec<Value>, Outcome) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let outcome = decode::p1(&mut &bytes[..], keys, Form::Json, &mut out, &mut notes).unwrap();
    let lines = String::from_utf8(out).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), outcome)
}

fn files(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(suffix))
        .collect();
    files.sort();
    files
}

fn key(expected: &Value, member: &str) -> Option<[u8; 16]> {
    expected[member].as_str().map(|hex| decode::parse_key(hex).unwrap())
}

/// Telegrams that the contract wants printed: an incomplete one only when it is the only one.
fn printed(telegrams: &[Value]) -> Vec<&Value> {
    telegrams.iter().filter(|telegram| telegram["complete"] == true || telegrams.len() == 1).collect()
}

fn compare_telegram(name: &str, found: &Value, expected: &Value) {
    assert_eq!(found["kind"], "p1", "{name}");
    assert_eq!(found["header"], expected["header"], "{name}");
    assert_eq!(found["complete"], expected["complete"], "{name}");
    let crc = &expected["crc"];
    let word = match crc["valid"].as_bool() {
        Some(true) => "valid",
        Some(false) => "invalid",
        None => "absent",
    };
    assert_eq!(found["crc"], word, "{name}");
    if !crc.is_null() {
        assert_eq!(found["crc_given"], crc["given"], "{name}");
        assert_eq!(found["crc_computed"], crc["computed"], "{name}");
    }
    let (objects, wanted) = (found["objects"].as_array().unwrap(), expected["objects"].as_array().unwrap());
    for (object, wanted) in objects.iter().zip(wanted) {
        assert_eq!(object, wanted, "{name}");
    }
    assert_eq!(objects.len(), wanted.len(), "{name}");
    let joined =
        |lines: &Value| -> String { lines.as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    assert_eq!(joined(&found["unparsed"]), joined(&expected["lines_not_obis"]), "{name}");
}

#[test]
fn the_collected_telegrams_are_decoded_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/p1");
    if !directory.is_dir() {
        eprintln!(
            "SKIPPED: the collection of telegrams is not at {}; the fixtures below still run",
            directory.display()
        );
        return;
    }
    let mut telegrams = 0;
    let mut objects = 0;
    let expectations = files(&directory, ".expected.json");
    assert!(!expectations.is_empty());
    for path in &expectations {
        let expected: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let name = expected["file"].as_str().unwrap();
        let bytes = std::fs::read(directory.join(name)).unwrap();
        assert_eq!(bytes.len() as u64, expected["bytes"].as_u64().unwrap(), "{name}");
        let auth_key = key(&expected, "authentication_key_hex");
        let keys = key(&expected, "test_key_hex").map(|key| Keys { key, auth_key });
        let encrypted = keys.is_some();
        let (found, outcome) = decode(&bytes, keys);
        let wanted = printed(expected["telegrams"].as_array().unwrap());
        assert_eq!(found.len(), wanted.len(), "{name}");
        for (found, wanted) in found.iter().zip(&wanted) {
            compare_telegram(name, found, wanted);
            telegrams += 1;
            objects += wanted["objects"].as_array().unwrap().len();
            if encrypted {
                assert_eq!(found["encrypted"]["tag"], "verified", "{name}");
                assert_eq!(found["encrypted"]["system_title"], expected["system_title_hex"], "{name}");
                assert_eq!(found["encrypted"]["frame_counter"], expected["frame_counter"], "{name}");
            }
        }
        let invalid = wanted.iter().any(|telegram| telegram["crc"]["valid"] == false);
        assert_eq!(outcome, if invalid { Outcome::Invalid } else { Outcome::Valid }, "{name}");
    }
    eprintln!("{} files, {telegrams} telegrams, {objects} objects as expected", expectations.len());
}

/// The key of the sealed fixtures: 00 01 02 … 0F, with the published authentication key.
const FIXTURE_KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Telegrams made for this project, one per dialect and per kind of damage. With `P1_FIXTURES=write` in the environment
/// the expectations are written anew; read the difference before it is committed.
#[test]
fn the_fixtures_are_decoded_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/p1");
    let mut inputs = files(&directory, ".p1");
    inputs.extend(files(&directory, ".bin"));
    assert!(inputs.len() > 25);
    for path in inputs {
        let sealed = path.extension().is_some_and(|extension| extension == "bin");
        let keys = sealed.then_some(Keys { key: FIXTURE_KEY, auth_key: None });
        let (telegrams, outcome) = decode(&std::fs::read(&path).unwrap(), keys);
        let found = serde_json::json!({ "outcome": format!("{outcome:?}"), "telegrams": telegrams });
        let expectation = path.with_extension("expected.json");
        if std::env::var_os("P1_FIXTURES").is_some_and(|mode| mode == "write") {
            std::fs::write(&expectation, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
        }
        let expected: Value = serde_json::from_slice(&std::fs::read(&expectation).unwrap()).unwrap();
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// File, header, CRC as it stands behind the end mark, objects, and of them code, value and unit.
type Typed = (&'static str, &'static str, &'static str, usize, &'static [(&'static str, &'static str, &'static str)]);

/// Read off the telegrams by eye, one per dialect: the expectations beside the fixtures are the decoder's own word.
const TYPED: &[Typed] = &[
    (
        "nl-dsmr50",
        "/GKT5TEST-5.0",
        "5986",
        35,
        &[
            ("1-0:1.8.1", "1234.567", "kWh"),
            ("1-0:2.8.2", "345.999", "kWh"),
            ("1-0:1.7.0", "1.193", "kW"),
            ("1-0:2.7.0", "0.000", "kW"),
            ("1-0:52.7.0", "229.8", "V"),
            ("1-0:31.7.0", "2", "A"),
            ("1-0:41.7.0", "0.393", "kW"),
            ("0-1:24.2.1", "987.654", "m3"),
        ],
    ),
    (
        "be-emucs171",
        "/FLU5\\253000001_A",
        "E891",
        36,
        &[
            ("1-0:1.4.0", "2.351", "kW"),
            ("1-0:1.6.0", "4.120", "kW"),
            ("1-0:1.7.0", "2.901", "kW"),
            ("1-0:61.7.0", "0.901", "kW"),
            ("1-0:31.7.0", "8.61", "A"),
            ("1-0:51.7.0", "0.00", "A"),
            ("0-1:24.2.3", "219.007", "m3"),
            ("0-2:24.2.1", "964.118", "m3"),
        ],
    ),
    (
        "se-h1",
        "/GKT5\\253000001_A",
        "D8C6",
        27,
        &[
            ("1-0:1.8.0", "4711.025", "kWh"),
            ("1-0:4.8.0", "977.125", "kvarh"),
            ("1-0:4.7.0", "0.309", "kvar"),
            ("1-0:41.7.0", "0.350", "kW"),
            ("1-0:72.7.0", "241.3", "V"),
            ("1-0:31.7.0", "4.2", "A"),
        ],
    ),
    (
        "lt-eso",
        "/GKT5LT-TEST",
        "AC8F",
        19,
        &[
            ("1-0:2.7.0", "3.127", "kW"),
            ("1-0:16.24.0", "-3.127", "kW"),
            ("1-0:9.7.0", "0.100", "kVA"),
            ("1-0:14.7.0", "49.98", "Hz"),
        ],
    ),
    ("cn-holley-x25", "/HLY5/D545-METER", "30F3", 35, &[("1-0:1.7.0", "1.193", "kW")]),
    (
        "nl-dsmr22",
        "/GKT5TEST-2.2",
        "",
        16,
        &[("1-0:1.8.1", "412.337", "kWh"), ("1-0:1.7.0", "1.42", "kW"), ("0-1:24.3.0", "811.204", "m3")],
    ),
];

#[test]
fn telegrams_say_what_a_person_reads_in_them() {
    for (name, header, crc, objects, values) in TYPED {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/p1").join(format!("{name}.p1"));
        let (telegrams, outcome) = decode(&std::fs::read(file).unwrap(), None);
        assert_eq!((telegrams.len(), outcome), (1, Outcome::Valid), "{name}");
        let found = &telegrams[0];
        assert_eq!(found["header"], *header);
        assert_eq!(found["crc"], if crc.is_empty() { "absent" } else { "valid" }, "{name}");
        assert_eq!(found["crc_given"].as_str().unwrap_or_default(), *crc, "{name}");
        let all = found["objects"].as_array().unwrap();
        assert_eq!(all.len(), *objects, "{name}");
        for (code, value, unit) in *values {
            let object = all.iter().find(|it| it["obis"] == *code).unwrap_or_else(|| panic!("{name}: no {code}"));
            assert_eq!((&object["value"], &object["unit"]), (&(*value).into(), &(*unit).into()), "{name}: {code}");
        }
    }
}

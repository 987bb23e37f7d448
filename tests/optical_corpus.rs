//! Every expected value of the collected IEC 62056-21 readouts and SML dumps, where the collection is at hand, and of
//! the project's own fixtures.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and says when it skips")]

use std::path::{Path, PathBuf};

use gridkeeper::decode::{self, Form, Outcome};
use serde_json::{Value, json};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Iec,
    Sml,
}

fn decode(kind: Kind, bytes: &[u8]) -> (Vec<Value>, Outcome) {
    let (mut out, mut notes, mut text) = (Vec::new(), Vec::new(), Vec::new());
    let outcome = match kind {
        Kind::Iec => decode::iec62056(&mut &bytes[..], Form::Json, &mut out, &mut notes),
        Kind::Sml => decode::sml(&mut &bytes[..], Form::Json, &mut out, &mut notes),
    };
    let outcome = outcome.unwrap();
    // The text form must come to the same and never steer the terminal.
    let again = match kind {
        Kind::Iec => decode::iec62056(&mut &bytes[..], Form::Text, &mut text, &mut notes),
        Kind::Sml => decode::sml(&mut &bytes[..], Form::Text, &mut text, &mut notes),
    };
    assert_eq!(again.unwrap(), outcome);
    assert!(text.iter().all(|&byte| byte >= b' ' || byte == b'\n'));
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

/// The expectations of a folder with the bytes they are for; `None`, said aloud, where the collection is not there.
fn collection(folder: &str) -> Option<Vec<(String, Value, Vec<u8>)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus").join(folder);
    if !directory.is_dir() {
        eprintln!("SKIPPED: the collection is not at {}; the fixtures below still run", directory.display());
        return None;
    }
    let read = |path: PathBuf| {
        let expected: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let name = expected["file"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(directory.join(&name)).unwrap();
        assert_eq!(bytes.len() as u64, expected["bytes"].as_u64().unwrap(), "{name}");
        (name, expected, bytes)
    };
    let all: Vec<_> = files(&directory, ".expected.json").into_iter().map(read).collect();
    assert!(all.len() > 10);
    Some(all)
}

#[test]
fn the_collected_readouts_are_decoded_as_expected() {
    let Some(all) = collection("iec62056") else { return };
    let mut sets = 0;
    for (name, expected, bytes) in &all {
        let (found, outcome) = decode(Kind::Iec, bytes);
        assert_eq!(found.len(), 1, "{name}");
        let found = &found[0];
        assert_eq!(found["ident"], expected["ident"]["raw"], "{name}");
        let bcc = &expected["bcc"];
        let word = match bcc["valid"].as_bool() {
            Some(true) => "valid",
            Some(false) => "invalid",
            None => "absent",
        };
        assert_eq!((&found["bcc"], &found["crc"]), (&json!(word), &json!(word)), "{name}");
        assert_eq!(found["bcc_given"], bcc["given"], "{name}");
        assert_eq!(found["bcc_computed"], bcc["computed"], "{name}");
        assert_eq!(outcome, if word == "invalid" { Outcome::Invalid } else { Outcome::Valid }, "{name}");
        assert_eq!(found["parity_errors"].as_u64(), expected["note_7e1"].as_str().map(|_| 0), "{name}");
        let wanted = expected["datasets"].as_array().unwrap();
        let objects = found["objects"].as_array().unwrap();
        for (object, wanted) in objects.iter().zip(wanted) {
            let mut wanted = wanted.clone();
            let address = wanted.as_object_mut().unwrap().remove("address").unwrap();
            wanted["obis"] = address;
            assert_eq!(object, &wanted, "{name}");
            sets += 1;
        }
        assert_eq!(objects.len(), wanted.len(), "{name}");
    }
    eprintln!("{} files, {sets} data sets as expected", all.len());
}

#[test]
fn the_collected_identifications_are_read_as_expected() {
    use gridkeeper::codec::iec62056::{Identification, Mode};
    let Some(all) = collection("iec62056") else { return };
    for (name, expected, _) in &all {
        let wanted = &expected["ident"];
        let raw = wanted["raw"].as_str().unwrap();
        let found = Identification::parse(raw.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(found.maker), wanted["manufacturer"].as_str().unwrap(), "{name}");
        assert_eq!(text(&[found.letter]), wanted["baud_char"].as_str().unwrap(), "{name}");
        assert_eq!(text(found.escape), wanted["escape"].as_str().unwrap_or_default(), "{name}");
        assert_eq!(text(found.kind), wanted["identification"].as_str().unwrap(), "{name}");
        assert_eq!(found.reaction_ms(), wanted["reaction_time_ms"].as_u64().unwrap(), "{name}");
        assert_eq!(u64::from(found.mode().baud()), wanted["max_baud"].as_u64().unwrap(), "{name}");
        let letter = match found.mode() {
            Mode::A => "A",
            Mode::B(_) => "B",
            Mode::C(_) => "C or D",
        };
        assert!(wanted["mode_by_char"].as_str().unwrap().starts_with(letter), "{name}");
    }
}

#[test]
fn the_collected_sml_dumps_are_decoded_as_expected() {
    let Some(all) = collection("sml") else { return };
    let (mut frames, mut entries) = (0, 0);
    for (name, expected, bytes) in &all {
        let (found, outcome) = decode(Kind::Sml, bytes);
        let good: Vec<_> = found.iter().filter(|frame| frame["crc"] == "valid" && frame["defect"].is_null()).collect();
        assert_eq!(good.len() as u64, expected["good_frames"].as_u64().unwrap(), "{name}");
        let wrong = expected["crc_kind"]["wrong"].as_u64().unwrap_or(0);
        if wrong > 0 {
            assert_eq!(outcome, Outcome::Invalid, "{name}");
        }
        for (frame, wanted) in good.iter().zip(expected["frames"].as_array().unwrap()) {
            assert_eq!(frame["messages"], wanted["messages"], "{name}");
            let (objects, wanted) = (frame["objects"].as_array().unwrap(), wanted["entries"].as_array().unwrap());
            for (object, wanted) in objects.iter().zip(wanted) {
                assert_eq!(object, wanted, "{name}");
                entries += 1;
            }
            assert_eq!(objects.len(), wanted.len(), "{name}");
            frames += 1;
        }
    }
    eprintln!("{} files, {frames} frames, {entries} entries as expected", all.len());
}

/// Readouts and frames made for this project, one per kind of meter and of damage. With `OPTICAL_FIXTURES=write` in the
/// environment the expectations are written anew; read the difference before it is committed.
#[test]
fn the_fixtures_are_decoded_as_expected() {
    for (folder, kind, least) in [("iec62056", Kind::Iec, 6), ("sml", Kind::Sml, 5)] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        let inputs = files(&directory, if kind == Kind::Iec { ".iec" } else { ".hex" });
        assert!(inputs.len() >= least, "{}", directory.display());
        for path in inputs {
            let mut bytes = std::fs::read(&path).unwrap();
            if kind == Kind::Sml {
                bytes = unhex(&bytes);
            }
            let (frames, outcome) = decode(kind, &bytes);
            let found = json!({ "outcome": format!("{outcome:?}"), "frames": frames });
            let expectation = path.with_extension("expected.json");
            if std::env::var_os("OPTICAL_FIXTURES").is_some_and(|mode| mode == "write") {
                std::fs::write(&expectation, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            }
            let expected: Value = serde_json::from_slice(&std::fs::read(&expectation).unwrap()).unwrap();
            assert_eq!(found, expected, "{}", path.display());
        }
    }
}

/// Code, value and unit.
type Typed = &'static [(&'static str, &'static str, &'static str)];

/// Read off the readouts by eye, and off the bytes of the SML frame with the tables of the standard: the expectations
/// beside the fixtures are the decoder's own word.
const TYPED: &[(Kind, &str, &str, usize, Typed)] = &[
    (
        Kind::Iec,
        "iec62056/mode-c.iec",
        "23", // `#` behind the ETX
        16,
        &[
            ("1.8.1", "12345.678", "kWh"),
            ("1.8.0*01", "12000.000", "kWh"),
            ("2.8.0", "7.125", "kWh"),
            ("52.7", "229", "V"),
            ("71.7", "2.00", "A"),
        ],
    ),
    (
        Kind::Iec,
        "iec62056/mode-b-heat.iec",
        "42", // `B` behind the ETX
        12,
        &[("6.8", "29.055", "MWh"), ("6.26", "1589.28", "m3"), ("6.8*01", "28.086", "MWh"), ("6.31", "30710", "h")],
    ),
    (
        Kind::Sml,
        "sml/three-phases.hex",
        "8A5B",
        19,
        &[
            // 69 00 00 00 01 02 03 04 05 by FC: eight bytes, four decimals.
            ("1-0:1.8.0*255", "432871.9365", "Wh"),
            // 62 09 by 03: thousands.
            ("1-0:2.8.0*255", "9000", "Wh"),
            // 52 FB: one signed byte.
            ("1-0:16.7.0*255", "-5", "W"),
            // 54 FE EE 90 by FF: three signed bytes, one decimal.
            ("1-0:36.7.0*255", "-7000.0", "W"),
            // 53 01 2C: two.
            ("1-0:56.7.0*255", "300", "W"),
            // 63 08 FD by FF: two without a sign.
            ("1-0:32.7.0*255", "230.1", "V"),
            // 63 01 F4 by FF.
            ("1-0:14.7.0*255", "50.0", "Hz"),
        ],
    ),
];

#[test]
fn frames_say_what_a_person_reads_in_them() {
    for (kind, name, check, objects, values) in TYPED {
        let mut bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap();
        if *kind == Kind::Sml {
            bytes = unhex(&bytes);
        }
        let (frames, outcome) = decode(*kind, &bytes);
        assert_eq!((frames.len(), outcome), (1, Outcome::Valid), "{name}");
        let given = if *kind == Kind::Sml { &frames[0]["crc_given"] } else { &frames[0]["bcc_given"] };
        assert_eq!((given, &frames[0]["crc"]), (&json!(check), &json!("valid")), "{name}");
        let all = frames[0]["objects"].as_array().unwrap();
        assert_eq!(all.len(), *objects, "{name}");
        for (code, value, unit) in *values {
            let object = all.iter().find(|it| it["obis"] == *code).unwrap_or_else(|| panic!("{name}: no {code}"));
            assert_eq!((&object["value"], &object["unit"]), (&json!(value), &json!(unit)), "{name}: {code}");
        }
    }
}

/// Pairs of hexadecimal digits; `#` begins a remark.
fn unhex(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let digits: Vec<_> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap().chars())
        .filter_map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

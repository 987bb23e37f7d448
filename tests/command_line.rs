//! How every subcommand ends: 0 done, 1 failed at run time, 2 wrong usage or configuration, 3 `decode` found its input
//! invalid (or a scenario did not end as it says). What failed is said on standard error, results alone are on standard
//! output.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG_USAGE: i32 = 2;
const INVALID_INPUT: i32 = 3;

fn gridkeeper(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
    command.args(line.split_whitespace()).current_dir(folder).stdin(Stdio::null()).env_clear();
    command.output().unwrap()
}

fn ends_with(folder: &Path, line: &str, code: i32) {
    let done = gridkeeper(folder, line);
    let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(code), "{line}\n{out}\n{error}");
    // The report of `check` is its result; `decode` prints what it could read.
    let is_result = line.starts_with("check") || code == INVALID_INPUT;
    assert!(code == DONE || is_result || !error.trim().is_empty(), "{line} says nothing of its failure");
    assert!(code != DONE || !error.contains("error"), "{line}: {error}");
    assert!(code != WRONG_USAGE || is_result || out.is_empty(), "{line} mixes failure into its result: {out}");
}

#[test]
fn every_subcommand_ends_with_the_code_of_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("good.toml", "[site]\nname = \"Here\"\n[storage]\ndata_dir = \"data\"\n");
    write("bad.toml", "[site]\nnmae = 1\n");
    write("plant.toml", "[grid]\nfuse_a = 25\n");
    write("none.tar", "no backup");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let good = fixtures.join("fixtures/p1/at-watt-hours.p1");
    let wrong_crc = fixtures.join("fixtures/p1/bad-crc.p1");
    let prose = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let scenario = std::fs::read_to_string(fixtures.join("scenarios/static_without_meter.toml")).unwrap();
    write("scenario.toml", &scenario);
    // A port that was given back: nobody answers there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lines = [
        ("", WRONG_USAGE),
        ("--version", DONE),
        ("--help", DONE),
        ("fly", WRONG_USAGE),
        ("check -c good.toml", DONE),
        ("check -c good.toml --json", DONE),
        ("check -c bad.toml", WRONG_USAGE),
        ("check -c missing.toml", WRONG_USAGE),
        ("run --strict -c bad.toml", WRONG_USAGE),
        ("run --strict -c missing.toml", WRONG_USAGE),
        ("run --fast", WRONG_USAGE),
        ("demo --mqtt 0 --web 0 --for 0.2", DONE),
        ("demo --mqtt 70000", WRONG_USAGE),
        ("schema", DONE),
        (&format!("decode p1 {}", good.display()), DONE),
        (&format!("decode p1 --json {}", wrong_crc.display()), INVALID_INPUT),
        ("decode sml good.toml", INVALID_INPUT),
        (&format!("decode p1 {}", prose.display()), INVALID_INPUT),
        (&format!("decode iec62056 {}", prose.display()), INVALID_INPUT),
        ("decode p1 missing.p1", FAILED),
        ("decode p1 good.toml --key 00", WRONG_USAGE),
        ("decode dlms good.toml", WRONG_USAGE),
        ("simulate scenario.toml", DONE),
        ("simulate good.toml", WRONG_USAGE),
        ("simulate missing.toml", FAILED),
        ("simulate --stdio -c plant.toml", DONE),
        ("simulate --stdio -c bad.toml", WRONG_USAGE),
        ("simulate --stdio", WRONG_USAGE),
        ("backup house.tar -c good.toml", DONE),
        ("backup house.tar -c bad.toml", WRONG_USAGE),
        ("backup usb/house.tar -c good.toml", FAILED),
        ("restore --yes house.tar", DONE),
        ("restore missing.tar", FAILED),
        ("restore --yes none.tar", WRONG_USAGE),
        ("scan serial ttyUSB0", WRONG_USAGE),
        ("scan tcp 192.0.2.1:x", WRONG_USAGE),
        ("scan lan --from here", WRONG_USAGE),
        (&format!("modbus read tcp://{closed} 248 0"), WRONG_USAGE),
        (&format!("modbus read tcp://{closed} 1 0 --type u17"), WRONG_USAGE),
        ("modbus read 192.168.1.5:502 1 0", WRONG_USAGE),
        ("modbus write tcp://192.0.2.1 1 0 1", WRONG_USAGE),
        (&format!("pair homewizard {closed} -c good.toml"), FAILED),
        ("pair homewizard 192.0.2.1 --id UPPER", WRONG_USAGE),
        ("pair homewizard 192.0.2.1/x", WRONG_USAGE),
    ];
    // They ask for three seconds before they give up.
    let slow = [
        ("scan serial /dev/no-such-port", FAILED),
        (&format!("scan tcp {closed}"), FAILED),
        (&format!("modbus read tcp://{closed} 1 0"), FAILED),
        (&format!("modbus write tcp://{closed} 1 0 1 --yes"), FAILED),
    ];
    let folder = folder.path();
    std::thread::scope(|scope| {
        for (line, code) in slow {
            scope.spawn(move || ends_with(folder, line, code));
        }
        for (line, code) in lines {
            ends_with(folder, line, code);
        }
    });
    // Without a port or scheme the message leads to the right one.
    let said = gridkeeper(folder, "modbus read 192.168.1.5:502 1 0").stderr;
    assert!(String::from_utf8_lossy(&said).contains("did you mean tcp://192.168.1.5:502?"));
    // An expectation that is not met.
    let unmet = scenario.replace("overload_as = [0, 0]", "overload_as = [9000, 9001]");
    write("unmet.toml", &unmet);
    let done = gridkeeper(folder, "simulate unmet.toml");
    assert_eq!(done.status.code(), Some(INVALID_INPUT), "{done:?}");
}

//! Ten of the models against pymodbus as the server, which nobody here wrote. `tests/realworld/modbus-meters.sh` runs it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

const TEN: [&str; 10] = [
    "abb-ab",
    "carlo-gavazzi-em3xx",
    "chint-dtsu666",
    "eastron-sdm120",
    "eastron-sdm630",
    "inepro-pro",
    "iskra-wm3m4",
    "janitza-umg",
    "siemens-pac",
    "sunspec-meter",
];

/// Ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Registers behind a known one that the meter has as well, with 0.
const GAP: u16 = 60;

/// The case's registers as the server reads them, and their neighbours.
fn json(case: &Case) -> serde_json::Value {
    let words = map(case);
    let mut tables = serde_json::Map::new();
    for (function, name) in [(3, "holding"), (4, "input")] {
        let mut table = serde_json::Map::new();
        for ((_, address), word) in words.iter().filter(|((it, _), _)| *it == function) {
            for other in *address..address.saturating_add(GAP) {
                table.entry(other.to_string()).or_insert_with(|| 0.into());
            }
            table.insert(address.to_string(), (*word).into());
        }
        tables.insert(name.to_owned(), table.into());
    }
    serde_json::json!({ UNIT.to_string(): tables })
}

impl Server {
    /// pymodbus on a wire, and where it is: it says so itself as soon as it can be asked.
    fn start(wire: &str, map: &Path) -> (Self, String) {
        let python = std::env::var_os("GRIDKEEPER_PYMODBUS_PYTHON").expect("tests/realworld/modbus-meters.sh sets it");
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/realworld/modbus_server.py"))
            .arg(wire)
            .arg(map)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut place = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut place).unwrap();
        let server = Self(child);
        assert!(place.starts_with(&format!("{wire}://")), "pymodbus does not serve: {place:?}");
        (server, place.trim_end().to_owned())
    }
}

#[tokio::test]
#[ignore = "needs pymodbus: tests/realworld/modbus-meters.sh"]
async fn ten_models_are_read_from_pymodbus_over_every_wire() {
    let folder = tempfile::tempdir().unwrap();
    for id in TEN {
        let case = CASES.iter().find(|it| it.model == id).unwrap();
        let file = folder.path().join(id);
        std::fs::write(&file, json(case).to_string()).unwrap();
        for wire in ["tcp", "rtu+tcp", "serial"] {
            let (_server, place) = Server::start(wire, &file);
            let connection = gridkeeper::config::connection(&place).unwrap();
            let running = start(model(id), &connection);
            expect(&running, case, &format!("{id} from pymodbus at {place}")).await;
            drop(running);
            // Beside this thread, on which our own bus has yet to let go of the port.
            tokio::task::spawn_blocking(move || the_binary_reads(case, &place)).await.unwrap();
        }
    }
}

/// The program itself on the same wire: the first registers of the case, word for word.
fn the_binary_reads(case: &Case, place: &str) {
    let (function, first, words) = case.registers[0];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
    command.args(["modbus", "read", place, &UNIT.to_string(), &first.to_string()]);
    command.args(["--count", &words.len().to_string()]).args((function == 4).then_some("--input"));
    let begun = std::time::Instant::now();
    loop {
        let done = command.output().unwrap();
        let found: Vec<u16> = String::from_utf8_lossy(&done.stdout)
            .lines()
            .map(|line| u16::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap())
            .collect();
        if done.status.success() {
            return assert_eq!(found, words, "{} at {place}", case.model);
        }
        // A server that a busy machine holds up answers too late for a line of 9600 baud.
        let why = String::from_utf8_lossy(&done.stderr);
        assert!(begun.elapsed() < PATIENCE, "{} at {place}: {why}", case.model);
    }
}

//! Ten of the models against pymodbus as the server, which nobody here wrote. `tests/realworld/modbus-meters.sh` runs it.

use std::process::{Child, Command};

use tokio::net::{TcpListener, TcpStream};

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

#[tokio::test]
#[ignore = "needs pymodbus: tests/realworld/modbus-meters.sh"]
async fn ten_models_are_read_from_pymodbus() {
    let python = std::env::var_os("GRIDKEEPER_PYMODBUS_PYTHON").expect("tests/realworld/modbus-meters.sh sets it");
    let folder = tempfile::tempdir().unwrap();
    for id in TEN {
        let case = CASES.iter().find(|it| it.model == id).unwrap();
        let file = folder.path().join(id);
        std::fs::write(&file, json(case).to_string()).unwrap();
        for framing in ["tcp", "rtu"] {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let server = Command::new(&python)
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/realworld/modbus_server.py"))
                .args([framing, &port.to_string()])
                .arg(&file)
                .spawn()
                .unwrap();
            let _server = Server(server);
            let begun = tokio::time::Instant::now();
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                assert!(begun.elapsed() < PATIENCE, "pymodbus does not listen on port {port}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let host = "127.0.0.1".to_owned();
            let connection = match framing {
                "tcp" => Connection::Tcp { host, port },
                _ => Connection::RtuOverTcp { host, port },
            };
            let running = start(model(id), &connection);
            expect(&running, case, &format!("{id} from pymodbus over {framing}")).await;
        }
    }
}

//! The whole appliance with two gas meters behind a P1 port, over a restart.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::time::Duration;

use gridkeeper::appliance::{Appliance, Options};
use gridkeeper::codec::p1::encode;
use gridkeeper::config::{self, Purpose};
use gridkeeper::status::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// Nothing here takes as long; what does has failed.
const LIMIT: Duration = Duration::from_secs(60);

fn telegram(gas: [(&str, f64); 2]) -> Vec<u8> {
    let mut lines: Vec<String> =
        ["0-0:1.0.0(240702143015S)", "1-0:1.8.1(001234.567*kWh)", "1-0:1.7.0(00.345*kW)"].map(str::to_owned).into();
    for (slot, (serial, counter)) in (1..).zip(gas) {
        lines.push(format!("0-{slot}:24.1.0(003)"));
        lines.push(format!("0-{slot}:96.1.0({serial})"));
        lines.push(format!("0-{slot}:24.2.1(240702140000S)({counter:09.3}*m3)"));
    }
    encode("/GKT5TEST", lines)
}

/// Runs the appliance until it shows both gas meters, and stops it in order. Gives their counters by name.
async fn run(folder: &Path, gas: [(&'static str, f64); 2]) -> [f64; 2] {
    let meter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = folder.join("gridkeeper.toml");
    let text = format!(
        "[grid]\nfuse_a = 25\nmeter = \"main\"\n[mqtt]\nurl = \"embedded://127.0.0.1:0\"\n[web]\nlisten = \"\"\n[storage]\ndata_dir = {folder:?}\n\
         [[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"tcp://{}\"\n",
        meter.local_addr().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let loaded = config::load(&[file], std::iter::empty(), None, Purpose::Run).unwrap_or_else(|it| panic!("{it}"));
    let appliance = Appliance::start(loaded.config, Options::default()).unwrap();
    let sender = tokio::spawn(async move {
        let (mut stream, _) = meter.accept().await.unwrap();
        while stream.write_all(&telegram(gas)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut snapshots = appliance.snapshots();
    let both = snapshots.wait_for(|it| it.as_ref().is_some_and(|it| it.sub_meters.len() == 2));
    let shown = tokio::time::timeout(LIMIT, both).await.expect("two gas meters").unwrap().clone().unwrap();
    sender.abort();
    appliance.stop();
    ["main-gas", "main-gas-2"].map(|id| {
        let meter = shown.sub_meters.iter().find(|it| *it.id == *id).unwrap_or_else(|| panic!("no {id}: {shown:?}"));
        match meter.values.values["volume_m3"] {
            Value::Number { value, .. } => value,
            Value::Text(_) => panic!("a counter"),
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gas_meters_that_changed_places_while_we_were_off_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), [("AA", 10.0), ("BB", 200.0)]).await, [10.0, 200.0]);
    assert_eq!(run(folder.path(), [("BB", 200.5), ("AA", 10.5)]).await, [10.5, 200.5]);
}

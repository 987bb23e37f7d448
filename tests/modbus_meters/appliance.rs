//! From the configuration file to the broker: the whole appliance with a Modbus meter that shares its bus with a charger.

use std::sync::Mutex;

use gridkeeper::appliance::{Appliance, Options};
use gridkeeper::config::{self, Purpose};
use gridkeeper::simulator::http::HomeWizard;

use super::mqtt_peer::Peer as Listener;
use super::*;

const STATE: &str = "gridkeeper/meter/house/state";

/// The appliance stops in order when the test is over, however it ends.
struct House(Option<Appliance>);

impl Drop for House {
    fn drop(&mut self) {
        if let Some(appliance) = self.0.take() {
            appliance.stop();
        }
    }
}

impl House {
    fn start(folder: &std::path::Path, port: u16, tables: &str) -> Self {
        let file = folder.join("gridkeeper.toml");
        let text = format!(
            "[grid]\nfuse_a = 25\nmeter = \"house\"\n\n[mqtt]\nurl = \"embedded://127.0.0.1:0\"\ninterval_s = 1\n\n\
             [web]\nlisten = \"\"\n\n[storage]\ndata_dir = {folder:?}\n\n\
             [[meter]]\nid = \"house\"\ndriver = \"modbus\"\nmodel = \"eastron-sdm630\"\n\
             connection = \"tcp://127.0.0.1:{port}\"\nunit = {UNIT}\n\n{tables}"
        );
        std::fs::write(&file, text).unwrap();
        let loaded = config::load(&[file], std::iter::empty(), None, Purpose::Run).unwrap_or_else(|it| panic!("{it}"));
        Self(Some(Appliance::start(loaded.config, Options::default()).unwrap()))
    }

    /// Somebody who reads everything that is published.
    async fn listener(&self) -> Listener {
        let appliance = self.0.as_ref().unwrap();
        let mut status = appliance.mqtt_status();
        let up = status.wait_for(|it| it.embedded.is_some()).await.unwrap().embedded.unwrap();
        Listener::connect(up, "gridkeeper/#").await
    }
}

fn port(peer: &Peer) -> u16 {
    let Connection::Tcp { port, .. } = peer.connection else { panic!("{:?}", peer.connection) };
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_arrive_at_the_broker_and_counters_do_not_fall_on_the_way() {
    let case = CASES.iter().find(|it| it.model == "eastron-sdm630").unwrap();
    let registers = Arc::new(Mutex::new(map(case)));
    let served = Arc::clone(&registers);
    let peer = Peer::start(Medium::Tcp, move |ask| serve(&served.lock().unwrap(), ask)).await;
    let folder = tempfile::tempdir().unwrap();
    let house = House::start(folder.path(), port(&peer), "");
    let listener = house.listener().await;
    let whole = |it: &serde_json::Value| it["energy_import_kwh"] == 98_765.5 && it["quality"] == "good";
    let state = listener.json(STATE, whole).await;
    for (key, expected) in case.expected {
        let found = state[*key].as_f64().unwrap_or(f64::NAN);
        assert!((found - expected).abs() < 0.006, "{key} is {found}, expected {expected}");
    }
    // The counter reads 0 for a while, as one does whose meter starts up; its frequency shows that it was read.
    let mark = listener.mark();
    {
        let mut registers = registers.lock().unwrap();
        for address in [0x48, 0x49] {
            registers.insert((4, address), 0);
        }
        registers.insert((4, 0x46), 0x4247);
        registers.insert((4, 0x47), 0x0000);
    }
    let state = listener.json_after(mark, STATE, |it| it["frequency_hz"] == 49.75).await;
    assert_eq!(state["energy_import_kwh"], 98_765.5, "{state}");
    assert_eq!(state["energy_export_kwh"], 4321.25);
}

/// By a meter that counts it as export, as most do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sun_gives_arrives_at_the_broker_as_production() {
    let case = CASES.iter().find(|it| it.model == "eastron-sdm630").unwrap();
    let registers = map(case);
    let peer = Peer::start(Medium::Tcp, move |ask| serve(&registers, ask)).await;
    let roof = HomeWizard::kwh1_v1().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tables = format!(
        "[[meter]]\nid = \"roof\"\nrole = \"solar\"\ndriver = \"homewizard\"\nconnection = \"http://{}\"\ninvert = true\n",
        roof.address()
    );
    let house = House::start(folder.path(), port(&peer), &tables);
    let listener = house.listener().await;
    let state = listener.json("gridkeeper/meter/roof/state", |it| it["quality"] == "good").await;
    assert_eq!(state["energy_produced_kwh"], 255.551, "{state}");
    assert!((state["power_w"].as_f64().unwrap() - 1058.3).abs() < 0.06, "{state}");
    let other = state.as_object().unwrap().keys().filter(|key| key.contains("import_k") || key.contains("export_k"));
    assert_eq!(other.filter(|key| !key.starts_with("reactive")).count(), 0, "{state}");
    listener.json(STATE, |it| it["energy_import_kwh"] == 98_765.5).await;
}

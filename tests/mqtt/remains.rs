//! What an earlier run said of devices of which this one knows nothing (yet), and what somebody else writes over our words.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::house::options;
use super::peer::{Broker, Peer};
use super::rig::Rig;

#[tokio::test]
async fn a_gas_meter_of_the_last_run_is_offline_until_it_is_seen() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    peer.text_after(0, "gridkeeper/meter/main-gas/availability", "online").await;
    rig.stop().await;
    let mark = peer.mark();
    let mut rig = Rig::start(options(broker.address));
    // The cable of the P1 port is out.
    rig.show(|it| it.sub_meters.clear());
    rig.online().await;
    peer.text_after(mark, "gridkeeper/meter/main-gas/availability", "offline").await;
    let state = peer.json_after(mark, "gridkeeper/meter/main-gas/state", |_| true).await;
    let unknown = json!({"volume_m3": null, "energy_gj": null, "quality": "lost", "time": null, "age_s": null});
    assert_eq!(state, unknown);
    let mark = peer.mark();
    rig.show(|_| {});
    peer.json_after(mark, "gridkeeper/meter/main-gas/state", |it| it["volume_m3"] == 812.345).await;
    peer.text_after(mark, "gridkeeper/meter/main-gas/availability", "online").await;
    rig.stop().await;
    broker.kill().await;
}

fn keys(state: &Value) -> BTreeSet<String> {
    state.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn a_meter_that_is_not_there_at_the_start_has_the_keys_that_it_had() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let before = peer.json("gridkeeper/meter/main/state", |it| it.get("obis_0_0_96_7_21").is_some()).await;
    rig.stop().await;
    let mark = peer.mark();
    let mut rig = Rig::start(options(broker.address));
    rig.show(|it| {
        it.meters[0].values = Default::default();
        it.meters[0].health.online = false;
    });
    rig.online().await;
    let after = peer.json_after(mark, "gridkeeper/meter/main/state", |_| true).await;
    assert_eq!(keys(&after), keys(&before));
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn without_devices_what_the_last_run_said_of_them_is_no_present() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    for device in ["meter/main", "meter/main-gas", "charger/left", "charger/right", "relay/boiler", "input/tariff"] {
        peer.text_after(0, &format!("gridkeeper/{device}/availability"), "online").await;
    }
    let good_meter = peer.json("gridkeeper/meter/main/state", |_| true).await;
    let good_charger = peer.json("gridkeeper/charger/left/state", |_| true).await;
    rig.stop().await;
    // The file is wrong and there is no good one of before.
    let mut wrong = options(broker.address);
    wrong.config_errors = vec!["gridkeeper.toml:3:1".into()];
    wrong.meters.clear();
    wrong.chargers.clear();
    wrong.inputs.clear();
    wrong.relays.clear();
    let mark = peer.mark();
    let mut rig = Rig::start(wrong);
    rig.show(|it| {
        it.meters.clear();
        it.sub_meters.clear();
        it.chargers.clear();
        it.inputs.clear();
        it.relays.clear();
    });
    rig.online().await;
    for device in ["meter/main", "meter/main-gas", "charger/left", "charger/right", "relay/boiler", "input/tariff"] {
        peer.text_after(mark, &format!("gridkeeper/{device}/availability"), "offline").await;
    }
    let charger = peer.json_after(mark, "gridkeeper/charger/left/state", |_| true).await;
    assert_eq!(
        (&charger["status"], &charger["mode"], &charger["reason"]),
        (&json!("offline"), &Value::Null, &Value::Null)
    );
    let meter = peer.json_after(mark, "gridkeeper/meter/main/state", |_| true).await;
    assert_eq!((&meter["quality"], &meter["power_w"]), (&json!("lost"), &Value::Null));
    assert_eq!(keys(&meter), keys(&good_meter), "keys never come and go");
    assert_eq!(keys(&charger), keys(&good_charger));
    assert_eq!(meter.get("obis_0_0_96_7_21"), Some(&Value::Null), "a key that was announced is still there");
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn an_availability_that_somebody_wrote_over_is_written_again() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/charger/left/availability").await;
    peer.text_after(0, "gridkeeper/charger/left/availability", "online").await;
    for wrong in ["offline", ""] {
        let mark = peer.mark();
        peer.retain("gridkeeper/charger/left/availability", wrong);
        peer.text_after(mark, "gridkeeper/charger/left/availability", wrong).await;
        peer.text_after(mark, "gridkeeper/charger/left/availability", "online").await;
    }
    rig.stop().await;
    broker.kill().await;
}

//! Inputs that are told by MQTT, and what is published of inputs.

use gridkeeper::device::input::mqtt::InputValue;
use gridkeeper::mqtt::{InputPort, LinkState, Ports};
use serde_json::json;
use tokio::sync::watch;

use super::house::options;
use super::peer::{Broker, LIMIT, Peer};
use super::rig::Rig;

const RESULT: &str = "gridkeeper/result";

/// An input behind the broker, and the end where its task listens.
fn port(id: &str, topic: Option<&str>, takes_retained: bool) -> (InputPort, watch::Receiver<Option<InputValue>>) {
    let (value, told) = watch::channel(None);
    (InputPort { id: id.into(), topic: topic.map(str::to_owned), takes_retained, value }, told)
}

async fn until(told: &mut watch::Receiver<Option<InputValue>>, on: bool) {
    let heard = told.wait_for(|it| it.is_some_and(|it| it.on == on));
    tokio::time::timeout(LIMIT, heard).await.expect("told in time").expect("the service lives");
}

#[tokio::test]
async fn our_own_topic_tells_an_input_and_answers() {
    let broker = Broker::start().await;
    let (tariff, mut told) = port("tariff", None, true);
    let mut rig = Rig::with_ports(options(broker.address), Ports { inputs: vec![tariff], ..Ports::default() });
    rig.online().await;
    rig.until("listening", |it| it.listening).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let topic = "gridkeeper/input/tariff/set/value";
    let mark = peer.mark();
    peer.publish(topic, r#"{"value":"on","id":7}"#);
    let result = peer.json_after(mark, RESULT, |_| true).await;
    assert_eq!((&result["ok"], &result["id"], &result["stored"]), (&json!(true), &json!(7), &json!(null)));
    until(&mut told, true).await;
    for bad in ["maybe", "1,0"] {
        let mark = peer.mark();
        peer.publish(topic, bad);
        let result = peer.json_after(mark, RESULT, |_| true).await;
        assert!(result["error"].as_str().unwrap().contains("allowed: ON, OFF"), "{result}");
    }
    let mark = peer.mark();
    peer.publish("gridkeeper/input/dim/set/value", "ON");
    let result = peer.json_after(mark, RESULT, |_| true).await;
    assert!(result["error"].as_str().unwrap().contains("its driver is another one"), "{result}");
    assert!(told.borrow().is_some_and(|it| it.on), "refused values change nothing");
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_topic_of_somebody_else_is_read_and_retained_values_only_where_they_hold() {
    let broker = Broker::start().await;
    let (kept, mut kept_told) = port("tariff", Some("zigbee/tariff"), true);
    let (aged, mut aged_told) = port("dim", Some("zigbee/tariff"), false);
    let peer = Peer::connect(broker.address, "#").await;
    peer.retain("zigbee/tariff", "true");
    peer.text_after(0, "zigbee/tariff", "true").await;
    let mut rig = Rig::with_ports(options(broker.address), Ports { inputs: vec![kept, aged], ..Ports::default() });
    rig.online().await;
    until(&mut kept_told, true).await;
    assert_eq!(*aged_told.borrow(), None, "nobody knows how old it is");
    peer.publish("zigbee/tariff", "0");
    until(&mut kept_told, false).await;
    until(&mut aged_told, false).await;
    peer.publish("zigbee/tariff", "unavailable");
    peer.publish("zigbee/tariff", "1");
    until(&mut aged_told, true).await;
    let mark = peer.mark();
    peer.publish("gridkeeper/input/tariff/set/value", "ON");
    let result = peer.json_after(mark, RESULT, |_| true).await;
    assert!(result["error"].as_str().unwrap().contains("listens to `zigbee/tariff`"), "{result}");
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_value_passes_whatever_commands_come_before_it() {
    let broker = Broker::start().await;
    let (kept, mut kept_told) = port("tariff", Some("zigbee/tariff"), true);
    let (own, mut own_told) = port("dim", None, false);
    let peer = Peer::connect(broker.address, "gridkeeper/result").await;
    // Replayed at every connect, and more than are taken at once.
    for number in 0..60 {
        peer.retain(&format!("gridkeeper/site/set/x{number}"), "1");
    }
    peer.retain("zigbee/tariff", "ON");
    let mut rig = Rig::with_ports(options(broker.address), Ports { inputs: vec![kept, own], ..Ports::default() });
    rig.online().await;
    until(&mut kept_told, true).await;
    rig.until("listening", |it| it.listening).await;
    for _ in 0..600 {
        peer.publish("gridkeeper/site/set/sharing", "equal");
    }
    peer.publish("zigbee/tariff", "OFF");
    peer.publish("gridkeeper/input/dim/set/value", "ON");
    until(&mut kept_told, false).await;
    until(&mut own_told, true).await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_standby_hears_its_inputs() {
    let broker = Broker::start().await;
    let mut first = options(broker.address);
    (first.instance, first.client_id) = ("first".into(), "first".into());
    let mut first = Rig::start(first);
    first.online().await;
    let (foreign, mut foreign_told) = port("tariff", Some("zigbee/tariff"), false);
    let (own, mut own_told) = port("dim", None, false);
    let mut second = options(broker.address);
    (second.instance, second.client_id) = ("second".into(), "second".into());
    let mut standby = Rig::with_ports(second, Ports { inputs: vec![foreign, own], ..Ports::default() });
    standby.until("standing by", |it| it.state == LinkState::Standby && it.listening).await;
    let peer = Peer::connect(broker.address, "nothing").await;
    peer.publish("zigbee/tariff", "ON");
    peer.publish("gridkeeper/input/dim/set/value", "ON");
    until(&mut foreign_told, true).await;
    until(&mut own_told, true).await;
    assert_eq!(standby.status.borrow().published, 0, "it answers nothing");
    standby.stop().await;
    first.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn the_state_of_an_input_says_what_it_is_and_how_old() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let state = peer.json("gridkeeper/input/tariff/state", |_| true).await;
    let mut keys: Vec<&str> = state.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["active", "age_s", "time"]);
    assert_eq!(state["active"], true);
    let unknown = peer.json("gridkeeper/input/dim/state", |_| true).await;
    assert_eq!((&unknown["active"], &unknown["age_s"]), (&json!(null), &json!(null)));
    peer.text_after(0, "gridkeeper/input/tariff/availability", "online").await;
    peer.text_after(0, "gridkeeper/input/dim/availability", "offline").await;
    rig.stop().await;
    broker.kill().await;
}

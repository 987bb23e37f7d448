//! `<base>/influx`: the state topics as line protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::house::{WALL_MS, options};
use super::peer::{Broker, Peer, Seen};
use super::rig::Rig;

const TOPIC: &str = "gridkeeper/influx";

/// Fields and time of each line, by measurement and tags. Reads plain fields only: no text of the house has a comma.
fn lines(batch: &str) -> BTreeMap<String, (BTreeMap<String, Value>, i64)> {
    let parse = |line: &str| {
        let (head, rest) = line.split_once(' ').unwrap();
        let (fields, time) = rest.rsplit_once(' ').unwrap();
        let fields = fields.split(',').map(|field| {
            let (key, value) = field.split_once('=').unwrap();
            (key.to_owned(), serde_json::from_str(value).unwrap())
        });
        (head.to_owned(), (fields.collect(), time.parse().unwrap()))
    };
    batch.lines().map(parse).collect()
}

fn batch_of(seen: &Seen, part: &str) -> Option<String> {
    (seen.topic == TOPIC && seen.text().contains(part)).then(|| seen.text().to_owned())
}

#[tokio::test]
async fn every_state_is_there_as_a_line_with_the_same_keys_and_numbers() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "#").await;
    let mut options = options(broker.address);
    options.config.influx = true;
    let mut rig = Rig::start(options);
    rig.online().await;
    let first = peer.after(0, "the first lines", |seen| batch_of(seen, "gridkeeper_meter")).await;
    let all = lines(&first);
    let heads: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(
        heads,
        [
            "gridkeeper_charger,id=left,role=charger",
            "gridkeeper_charger,id=right,role=charger",
            "gridkeeper_meter,id=main,role=grid",
            "gridkeeper_meter,id=main-gas,role=gas",
            "gridkeeper_relay,id=boiler,role=relay",
            "gridkeeper_site,id=site,role=site",
        ]
    );
    for (head, topic) in [
        ("gridkeeper_meter,id=main,role=grid", "gridkeeper/meter/main/state"),
        ("gridkeeper_meter,id=main-gas,role=gas", "gridkeeper/meter/main-gas/state"),
        ("gridkeeper_charger,id=left,role=charger", "gridkeeper/charger/left/state"),
        ("gridkeeper_relay,id=boiler,role=relay", "gridkeeper/relay/boiler/state"),
        ("gridkeeper_site,id=site,role=site", "gridkeeper/site/state"),
    ] {
        let mut state = peer.json(topic, |_| true).await;
        let state = state.as_object_mut().unwrap();
        // The duration of a session goes on between the two.
        let elsewhere = |key: &str| matches!(key, "time" | "age_s" | "session_duration_s");
        state.retain(|key, value| !value.is_null() && !elsewhere(key));
        let as_float = |value: &Value| value.as_f64().map_or_else(|| value.clone(), |it| json!(it));
        let told: BTreeMap<_, _> = state.iter().map(|(key, value)| (key.clone(), as_float(value))).collect();
        let fields = all[head].0.iter().filter(|(key, _)| !elsewhere(key));
        let fields: BTreeMap<_, _> = fields.map(|(key, value)| (key.clone(), as_float(value))).collect();
        assert_eq!(fields, told, "{head}");
    }
    assert_eq!(all["gridkeeper_meter,id=main-gas,role=gas"].1, (WALL_MS - 600_000) * 1_000_000);
    assert!(!peer.seen().iter().any(|it| it.topic == TOPIC && it.retained));
    rig.stop().await;
}

#[tokio::test]
async fn the_same_reading_is_told_once() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, TOPIC).await;
    let mut options = options(broker.address);
    options.config.influx = true;
    let mut rig = Rig::start(options);
    rig.online().await;
    peer.after(0, "the first lines", |seen| batch_of(seen, "id=main-gas")).await;
    let mark = peer.mark();
    rig.show(|it| {
        let mut values = (*it.meters[0].values).clone();
        values.values.insert("power_w".into(), super::house::number(777.0, "W", 0));
        values.wall_ms = values.wall_ms.map(|at| at + 1000);
        it.meters[0].values = Arc::new(values);
    });
    let batch = peer.after(mark, "the next reading", |seen| batch_of(seen, "power_w=777")).await;
    assert!(batch.contains("energy_import_kwh=12345.678"), "{batch}");
    assert!(!batch.contains("id=main-gas"), "the gas meter said nothing new: {batch}");
    rig.stop().await;
}

#[tokio::test]
async fn nothing_is_told_unless_it_is_wanted_nor_while_the_clock_is_not_set() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let ticks = |seen: &Seen| (seen.topic == "gridkeeper/bridge/info").then_some(());
    let mark = peer.mark();
    rig.show(|it| it.wall_ms = 1_000);
    peer.after(mark, "an interval", ticks).await;
    rig.stop().await;
    assert!(!peer.seen().iter().any(|it| it.topic == TOPIC));

    let mut options = options(broker.address);
    options.config.influx = true;
    let mut rig = Rig::start(options);
    rig.show(|it| it.wall_ms = 1_000);
    let mark = peer.mark();
    rig.online().await;
    for _ in 0..3 {
        let mark = peer.mark().max(mark);
        peer.after(mark, "an interval", ticks).await;
    }
    assert!(!peer.seen().iter().any(|it| it.topic == TOPIC));
    rig.stop().await;
}

#[tokio::test]
async fn a_meter_that_is_lost_is_told_without_its_old_figures() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, TOPIC).await;
    let mut options = options(broker.address);
    options.config.influx = true;
    let mut rig = Rig::start(options);
    rig.online().await;
    peer.after(0, "the first lines", |seen| batch_of(seen, "id=main,role=grid")).await;
    let mark = peer.mark();
    rig.show(|it| {
        // No frame since.
        it.meters[0].values = Arc::new(super::house::meter_values(gridkeeper::quantity::Mono(0), 690.0));
        it.meters[0].status.as_mut().unwrap().quality = gridkeeper::control::Quality::Lost;
        it.chargers[0].status.heard_at = Some(gridkeeper::quantity::Mono(0));
        it.chargers[0].status.word = gridkeeper::control::ChargerStatusWord::Offline;
    });
    for line in [
        "gridkeeper_meter,id=main,role=grid quality=\"lost\" ",
        "gridkeeper_charger,id=left,role=charger status=\"offline\" ",
    ] {
        peer.after(mark, line, |seen| batch_of(seen, line)).await;
    }
    rig.stop().await;
}

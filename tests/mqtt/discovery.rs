//! Home Assistant's device messages.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gridkeeper::command::Actions;
use gridkeeper::control::*;
use gridkeeper::feature::Purpose;
use gridkeeper::quantity::*;
use gridkeeper::status::{MeterValues, Value as MeterValue};
use serde_json::{Value, json};

use super::house::{self, options};
use super::peer::{Broker, Peer};
use super::rig::Rig;
use super::schema;

/// The device messages of the house, by topic.
async fn messages(peer: &Peer) -> Vec<(String, Value)> {
    for device in ["site", "charger_left", "charger_right", "meter_main", "meter_main-gas", "relay_boiler"] {
        peer.json(&format!("homeassistant/device/gridkeeper_{device}/config"), |_| true).await;
    }
    let mut found: Vec<(String, Value)> = Vec::new();
    for it in peer.seen().iter().filter(|it| it.topic.ends_with("/config") && !it.payload.is_empty()) {
        found.retain(|(topic, _)| *topic != it.topic);
        found.push((it.topic.clone(), it.json()));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[tokio::test]
async fn every_device_message_is_what_home_assistant_accepts_and_what_is_on_file() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "homeassistant/#").await;
    let messages = messages(&peer).await;
    assert_eq!(messages.len(), 6);
    for (topic, message) in &messages {
        assert_eq!(schema::faults(topic, message), [""; 0], "{topic}");
        compare(topic.split('/').rev().nth(1).unwrap(), message);
    }
    rig.stop().await;
    broker.kill().await;
}

/// `GRIDKEEPER_BLESS=1` writes the files anew; read the difference before it is committed.
pub(crate) fn compare(name: &str, message: &Value) {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/mqtt/{name}.json"));
    let now = format!("{}\n", serde_json::to_string_pretty(message).unwrap());
    if std::env::var_os("GRIDKEEPER_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, now).unwrap();
        return;
    }
    let before = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(
        before == now,
        "{name} is announced differently than {}: renamed keys lose their history at the user's; now\n{now}",
        file.display()
    );
}

#[tokio::test]
async fn the_site_comes_first_and_every_other_device_is_behind_it() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "homeassistant/#").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    messages(&peer).await;
    let order: Vec<_> = peer.seen().into_iter().filter(|it| it.topic.ends_with("/config")).collect();
    assert!(order[0].topic.ends_with("gridkeeper_site/config"));
    for it in &order[1..] {
        assert_eq!(it.json()["device"]["via_device"], "gridkeeper_site", "{}", it.topic);
    }
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_device_message_above_ten_kilobytes_arrives() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "homeassistant/device/gridkeeper_meter_main/config").await;
    rig.show(|it| {
        let mut values = MeterValues::clone(&it.meters[0].values);
        for number in 0..100 {
            let key = format!("obis_1_0_{number}_8_0");
            values.values.insert(key.into(), house::number(f64::from(number), "kWh", 3));
        }
        it.meters[0].values = Arc::new(values);
    });
    let message = peer
        .json("homeassistant/device/gridkeeper_meter_main/config", |it| {
            it["components"].as_object().unwrap().contains_key("obis_1_0_99_8_0")
        })
        .await;
    let size = message.to_string().len();
    assert!(size > 12_000, "{size} bytes");
    assert_eq!(message["components"]["obis_1_0_99_8_0"]["enabled_by_default"], false);
    assert_eq!(schema::faults("h/device/x/config", &message), [""; 0]);
    assert_eq!(rig.status.borrow().connections, 1);
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn keys_of_a_meter_never_come_and_go() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    let state = "gridkeeper/meter/main/state";
    let full = peer.json(state, |_| true).await;
    let mark = peer.mark();
    rig.show(|it| {
        let mut values = MeterValues::clone(&it.meters[0].values);
        values.values.retain(|key, _| &**key == "power_w");
        // What cannot be a key of a template is not made one.
        values.values.insert("Not A Key".into(), MeterValue::Text("x".into()));
        values.values.insert("time".into(), MeterValue::Text("x".into()));
        it.meters[0].values = Arc::new(values);
    });
    let less = peer.json_after(mark, state, |it| it["tariff"].is_null()).await;
    let keys = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&full), keys(&less));
    assert!(less["energy_import_kwh"].is_null() && less["obis_0_0_96_7_21"].is_null());
    assert!(less["time"].as_str().unwrap().starts_with("2026"));
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn without_a_prefix_home_assistant_hears_nothing() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "#").await;
    let mut options = options(broker.address);
    options.config.discovery_prefix = String::new();
    let mut rig = Rig::start(options);
    rig.online().await;
    peer.json("gridkeeper/charger/right/state", |_| true).await;
    assert!(peer.seen().iter().all(|it| it.topic.starts_with("gridkeeper/")));
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn what_is_no_longer_configured_is_cleared_and_nobody_elses() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    messages(&peer).await;
    peer.json("gridkeeper/charger/right/state", |_| true).await;
    rig.stop().await;
    // Another appliance with a similar base, another program with a similar name, and a meter behind a meter.
    let mut foreign = peer.json("homeassistant/device/gridkeeper_charger_right/config", |_| true).await;
    foreign["availability"] = json!([{"topic": "gridkeeper_2/status"}]);
    let foreign_topic = "homeassistant/device/gridkeeper_2_charger_right/config";
    peer.retain(foreign_topic, foreign.to_string());
    peer.retain("homeassistant/device/gridkeeper_charger_toast/config", r#"{"origin":{"name":"Toaster"}}"#);
    let rubbish = "homeassistant/device/gridkeeper_charger_rubbish/config";
    peer.retain(rubbish, b"\xff{".to_vec());
    peer.after(0, "the rubbish", |it| (it.topic == rubbish).then_some(())).await;

    let mut less = options(broker.address);
    less.chargers.retain(|it| it.common.id == "left");
    // Nobody waits an hour for what he has taken out.
    less.config.interval = Span::from_secs(3600);
    let mark = peer.mark();
    let mut rig = Rig::start(less);
    rig.online().await;
    for topic in [
        "homeassistant/device/gridkeeper_charger_right/config",
        "gridkeeper/charger/right/state",
        "gridkeeper/charger/right/availability",
    ] {
        peer.text_after(mark, topic, "").await;
    }
    rig.stop().await;
    let late = Peer::connect(broker.address, "#").await;
    late.json("homeassistant/device/gridkeeper_site/config", |_| true).await;
    late.json(foreign_topic, |_| true).await;
    let topics: Vec<_> = late.seen().into_iter().map(|it| it.topic).collect();
    assert!(
        !topics.iter().any(|it| it.contains("charger/right") || it.contains("gridkeeper_charger_right")),
        "{topics:?}"
    );
    for kept in ["gridkeeper_charger_toast", "gridkeeper_charger_rubbish", "gridkeeper_meter_main-gas"] {
        assert!(topics.iter().any(|it| it.contains(kept)), "{kept}: {topics:?}");
    }
    broker.kill().await;
}

#[tokio::test]
async fn while_the_file_is_wrong_nothing_is_cleared() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    messages(&peer).await;
    rig.stop().await;
    let mut wrong = options(broker.address);
    wrong.chargers.clear();
    wrong.config_errors = vec!["gridkeeper.toml:3:1".into()];
    let mark = peer.mark();
    let mut rig = Rig::start(wrong);
    rig.online().await;
    // Time for several looks at what is left over, each of which would have cleared.
    for _ in 0..10 {
        let info = peer.mark();
        peer.json_after(info, "gridkeeper/bridge/info", |it| it["config_errors"] == "gridkeeper.toml:3:1").await;
        assert!(peer.seen()[mark..].iter().all(|it| !it.payload.is_empty()));
    }
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_renamed_component_is_removed_in_two_steps() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "homeassistant/#").await;
    let topic = "homeassistant/device/gridkeeper_charger_left/config";
    let now = peer.json(topic, |_| true).await;
    rig.stop().await;
    let mut old = now.clone();
    old["components"]["ampere"] = json!({"platform": "number", "unique_id": "x", "command_topic": "y"});
    peer.retain(topic, old.to_string());
    peer.json(topic, |it| it["components"].get("ampere").is_some()).await;
    let mark = peer.mark();
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let mut reduced = false;
    peer.after(mark, "the key reduced to its platform, then gone", |it| {
        let key = (it.topic == topic).then(|| it.json()["components"].get("ampere").cloned())?;
        reduced |= key == Some(json!({"platform": "number"}));
        (reduced && key.is_none()).then_some(())
    })
    .await;
    rig.stop().await;
    broker.kill().await;
}

fn controller() -> Controller {
    let charger = |id: &str, phases: &[Phase], step| ChargerSetup {
        id: id.into(),
        circuit: 0,
        phases: phases.to_vec(),
        max_current: Milliamp::from_amps(16),
        step: Milliamp(step),
        can_switch_phases: step == 1000,
        chooses_phase: false,
        measures: step == 1000,
        meter: None,
        watchdog: Some(Span::from_secs(30)),
        fail_safe: Milliamp::ZERO,
        write_latency: Span::ZERO,
        auto_authorize: true,
        actions: if step == 1000 { Actions::ALL } else { Actions::NONE },
        settings: house::charger_settings(),
    };
    let setup = Setup {
        grid_phases: 3,
        circuits: vec![CircuitSetup {
            id: "grid".into(),
            parent: None,
            fuse: Some(Milliamp::from_amps(25)),
            max_import: None,
            max_power: None,
            margin: Milliamp(500),
            meter: None,
            static_current: Some(Milliamp::from_amps(10)),
            reserve: Milliamp::ZERO,
            meter_lost_current: Milliamp::ZERO,
        }],
        meters: Vec::new(),
        chargers: vec![charger("left", &Phase::ALL, 1000), charger("right", &[Phase::L2], 10)],
        inputs: Vec::new(),
        relays: vec![RelaySetup {
            id: "boiler".into(),
            on_when: vec![RelayRule::Export],
            load: Watt(2_000),
            export_on: Watt(2_000),
            export_off: Watt(-200),
            priority: 5,
            shed: false,
            min_on: Span::ZERO,
            min_off: Span::ZERO,
            force_max: Span::from_secs(3_600),
            safe_state: false,
            interlock: None,
        }],
        surplus: SurplusSetup::default(),
        batteries: Vec::new(),
        solar: Vec::new(),
        min_on: Span::ZERO,
        min_off: Span::ZERO,
        phase_switch_min: Span::from_secs(300),
        max_imbalance: None,
        timing: Timing::default(),
        site: SiteSettings {
            charging_enabled: true,
            sharing: Sharing::Equal,
            max_import: None,
            max_import_power: None,
            peak_15min: None,
            max_charging: None,
            dim: false,
        },
        dim: None,
        purpose: Purpose::Run,
    };
    Controller::new(setup, Mono(0))
}

#[tokio::test]
async fn everything_that_home_assistant_offers_is_accepted_by_the_controller() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "homeassistant/#").await;
    let messages = messages(&peer).await;
    rig.stop().await;
    broker.kill().await;
    let mut controller = controller();
    let mut checked = 0;
    for component in messages.iter().flat_map(|(_, it)| it["components"].as_object().unwrap().values()) {
        let Some(path) = component["command_topic"].as_str().and_then(|it| it.strip_prefix("gridkeeper/")) else {
            continue;
        };
        let text = |key: &str| component[key].as_str().unwrap().to_owned();
        let values = match component["platform"].as_str().unwrap() {
            "number" => ["min", "max"].map(|it| component[it].to_string()).to_vec(),
            "select" => component["options"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().into()).collect(),
            "switch" => vec![text("payload_on"), text("payload_off")],
            "button" => vec![text("payload_press")],
            other => panic!("{other}"),
        };
        for value in values {
            checked += 1;
            if let Err(refusal) = controller.set(Mono(0), path, &value) {
                // Nobody has heard of the chargers yet; the word itself was understood.
                let away =
                    ["does not answer now", "no car that could be woken"].iter().any(|it| refusal.0.contains(it));
                assert!(away && component["platform"] != "number", "{path} = {value}: {refusal}");
            }
        }
        if component["platform"] == "number" {
            let above = component["max"].as_f64().unwrap() + component["step"].as_f64().unwrap();
            assert!(controller.set(Mono(0), path, &above.to_string()).is_err(), "{path} is shown too small");
        }
    }
    assert!(checked >= 15, "only {checked} values were checked");
}

#[tokio::test]
async fn entities_that_can_never_have_a_value_are_not_announced() {
    let broker = Broker::start().await;
    let mut one_phase = options(broker.address);
    one_phase.site.phases = 1;
    one_phase.site.max_import_power = Some(Watt(10_000));
    one_phase.chargers[0].meter = Some("main".into());
    let mut rig = Rig::start(one_phase);
    // Its meter tells the power and the current of one phase, and counts nothing yet.
    let before = |it: &mut gridkeeper::status::Snapshot, energy| {
        let status = &mut it.chargers[0].status;
        status.current = Phases([Some(Milliamp(9_500)), None, None]);
        status.voltage = Phases([None; 3]);
        (status.energy, status.session_energy) = (energy, None);
    };
    rig.show(|it| before(it, None));
    rig.online().await;
    let peer = Peer::connect(broker.address, "homeassistant/#").await;
    let has = |message: &Value, keys: &[&str]| -> Vec<bool> {
        keys.iter().map(|key| message["components"].get(*key).is_some()).collect()
    };
    let site = peer.json("homeassistant/device/gridkeeper_site/config", |_| true).await;
    let keys =
        ["available_l1_a", "available_l2_a", "limit_l1_a", "limit_l3_a", "max_import_kw_none", "peak_15min_kw_none"];
    assert_eq!(has(&site, &keys), [true, false, true, false, false, true], "the file's own limit is no limit less");
    let topic = "homeassistant/device/gridkeeper_charger_left/config";
    let left = peer.json(topic, |it| it["components"].get("power_w").is_some()).await;
    let keys =
        ["current_l1_a", "current_l2_a", "voltage_l1_v", "energy_kwh", "session_limit_kwh", "session_limit_kwh_none"];
    assert_eq!(has(&left, &keys), [true, false, false, false, false, false]);
    let mark = peer.mark();
    rig.show(|it| before(it, Some(WattHour(1_000))));
    let left = peer.json_after(mark, topic, |it| it["components"].get("energy_kwh").is_some()).await;
    assert_eq!(has(&left, &keys), [true, false, false, true, true, true]);
    let energy = &left["components"]["energy_kwh"];
    assert!(energy["availability"].to_string().contains("gridkeeper/meter/main/availability"), "{energy}");
    let button = &left["components"]["session_limit_kwh_none"];
    assert_eq!(button["command_topic"], "gridkeeper/charger/left/set/session_limit_kwh");
    assert_eq!(button["payload_press"], "none");
    // The next run has not seen the counter yet: it is not taken away meanwhile.
    rig.stop().await;
    let mut again = options(broker.address);
    again.site.phases = 1;
    again.chargers[0].meter = Some("main".into());
    let mark = peer.mark();
    let mut rig = Rig::start(again);
    rig.show(|it| before(it, None));
    rig.online().await;
    peer.json_after(mark, topic, |it| it["components"].get("current_l1_a").is_some()).await;
    let reduced = json!({"platform": "sensor"});
    assert!(
        peer.seen()[mark..]
            .iter()
            .filter(|it| it.topic == topic)
            .all(|it| it.json()["components"]["energy_kwh"] != reduced)
    );
    rig.stop().await;
    broker.kill().await;
}

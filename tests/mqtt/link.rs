//! Connecting, losing the broker, coming back.

use std::sync::Arc;

use gridkeeper::config::model::{MqttEndpoint, Secret};
use gridkeeper::control::{Detail, Mode, Reason};
use gridkeeper::event::{Event, EventType};
use gridkeeper::mqtt::LinkState;
use gridkeeper::quantity::{Milliamp, Span};
use gridkeeper::status::MeterValues;
use tokio::net::TcpListener;

use super::house::{self, options};
use super::peer::{Broker, Peer, Wire};
use super::rig::Rig;

#[tokio::test]
async fn states_are_retained_and_say_what_the_snapshot_says() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let early = Peer::connect(broker.address, "gridkeeper/#").await;
    early.json("gridkeeper/charger/right/state", |_| true).await;
    // Somebody who comes later finds the same.
    let late = Peer::connect(broker.address, "gridkeeper/#").await;
    late.text_after(0, "gridkeeper/status", "online").await;
    late.text_after(0, "gridkeeper/meter/main/availability", "online").await;
    late.text_after(0, "gridkeeper/charger/left/availability", "online").await;
    let meter = late.json("gridkeeper/meter/main/state", |_| true).await;
    assert_eq!(meter["power_w"], 690);
    assert_eq!(meter["energy_import_kwh"], 12_345.678);
    assert_eq!(meter["power_l2_w"], serde_json::Value::Null);
    assert_eq!(meter["quality"], "good");
    assert_eq!(meter["obis_0_0_96_13_0"], "hello \"there\"");
    let time = meter["time"].as_str().unwrap();
    assert!(time.starts_with("2026-11-20T12:00:") && time.ends_with("+01:00"), "{time}");
    assert!(meter["age_s"].as_f64().is_some_and(|age| (0.0..20.0).contains(&age)));
    let gas = late.json("gridkeeper/meter/main-gas/state", |_| true).await;
    assert_eq!(gas["volume_m3"], 812.345);
    assert_eq!(gas["time"], "2026-11-20T11:50:00.000+01:00", "the time of the reading, not of the telegram");
    let charger = late.json("gridkeeper/charger/left/state", |_| true).await;
    assert_eq!(charger["status"], "charging");
    assert_eq!(charger["offered_current_a"], 10);
    assert_eq!(charger["current_l2_a"], 9.4);
    assert_eq!(charger["energy_kwh"], 1234.56);
    assert_eq!(charger["fault"], serde_json::Value::Null);
    assert_eq!(charger["warning"], "hot");
    let site = late.json("gridkeeper/site/state", |_| true).await;
    assert_eq!(site["risks"], 1);
    assert_eq!(site["max_import_kw"], 17);
    assert!(late.seen().iter().filter(|it| it.topic.ends_with("/state")).all(|it| it.retained));
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_gas_meter_whose_radio_is_silent_for_a_day_is_not_available() {
    const DAY: i64 = 24 * 3600 * 1000;
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/meter/main-gas/availability").await;
    let mut mark = 0;
    for (age, word) in [(DAY, "online"), (DAY + DAY / 8, "offline"), (0, "online")] {
        rig.show(|it| {
            let mut values = MeterValues::clone(&it.sub_meters[0].values);
            values.wall_ms = Some(it.wall_ms - age);
            it.sub_meters[0].values = Arc::new(values);
        });
        peer.text_after(mark, "gridkeeper/meter/main-gas/availability", word).await;
        mark = peer.mark();
    }
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn readings_wait_for_the_interval_and_modes_do_not() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.config.interval = Span::from_secs(3600);
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/+/+/state").await;
    peer.json("gridkeeper/charger/left/state", |it| it["mode"] == "fast").await;
    let mark = peer.mark();
    rig.show(|it| it.meters[0].values = Arc::new(house::meter_values(it.at, 1234.0)));
    rig.show(|it| it.chargers[0].status.current.0[0] = Some(Milliamp(7_000)));
    rig.show(|it| it.chargers[0].status.settings.mode = Mode::Off);
    peer.json_after(mark, "gridkeeper/charger/left/state", |it| it["mode"] == "off").await;
    // A new sentence under the same word is told, its count-down is not.
    let because = |wait, detail| {
        rig.show(|it| {
            it.chargers[0].status.settings.mode = Mode::Off;
            let reason = it.chargers[0].status.reason;
            it.chargers[0].status.reason = Reason { wait, detail, ..reason };
        });
    };
    let told = peer.mark();
    because(Some(Span::from_secs(20)), Detail::SunProof);
    peer.json_after(told, "gridkeeper/charger/left/state", |it| it["reason"].as_str().unwrap().contains("20 s")).await;
    let told = peer.mark();
    because(Some(Span::from_secs(19)), Detail::SunProof);
    because(Some(Span::from_secs(18)), Detail::SunRest);
    let next = peer.after(told, "the next sentence", |it| it.topic.ends_with("left/state").then(|| it.json())).await;
    assert!(next["reason"].as_str().unwrap().contains("a short while ago"), "{next}");
    let meter = |it: &super::peer::Seen| it.topic == "gridkeeper/meter/main/state";
    assert!(!peer.seen()[mark..].iter().any(meter), "a reading is not due for an hour");
    rig.show(|it| it.meters[0].status.as_mut().unwrap().quality = gridkeeper::control::Quality::Late);
    peer.json_after(mark, "gridkeeper/meter/main/state", |it| it["quality"] == "late").await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn the_same_picture_again_costs_no_message() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.config.interval = Span::from_secs(3600);
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.json("gridkeeper/charger/right/state", |_| true).await;
    let mark = peer.mark();
    for _ in 0..200 {
        rig.show(|_| ());
        tokio::task::yield_now().await;
    }
    rig.show(|it| it.chargers[1].status.plugged = false);
    peer.json_after(mark, "gridkeeper/charger/right/state", |it| it["plugged"] == false).await;
    let topics: Vec<_> = peer.seen()[mark..].iter().filter(|it| !it.retained).map(|it| it.topic.clone()).collect();
    assert_eq!(topics, ["gridkeeper/charger/right/state"]);
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn with_an_interval_of_a_second_every_telegram_goes_out() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.config.interval = Span::from_secs(1);
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/meter/main/state").await;
    for power in [100, 200, 300, 400] {
        let mark = peer.mark();
        rig.show(|it| it.meters[0].values = Arc::new(house::meter_values(it.at, f64::from(power))));
        peer.json_after(mark, "gridkeeper/meter/main/state", |it| it["power_w"] == power).await;
    }
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_control_loop_that_hangs_is_seen_by_those_who_watch() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.hung_after = Span(500);
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let places = ["meter/main", "charger/left", "input/tariff", "relay/boiler"];
    for place in places {
        peer.text_after(0, &format!("gridkeeper/{place}/availability"), "offline").await;
    }
    peer.json("gridkeeper/site/state", |it| it["fail_safe"] == true).await;
    peer.json("gridkeeper/charger/left/state", |it| it["status"] == "offline").await;
    let mark = peer.mark();
    rig.show(|_| ());
    for place in places {
        peer.text_after(mark, &format!("gridkeeper/{place}/availability"), "online").await;
    }
    peer.json_after(mark, "gridkeeper/site/state", |it| it["fail_safe"] == false).await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn while_the_clock_is_not_set_nothing_has_a_time_and_the_start_follows_it() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.show(|it| it.wall_ms = 1_000);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let charger = peer.json("gridkeeper/charger/left/state", |_| true).await;
    let site = peer.json("gridkeeper/site/state", |_| true).await;
    assert_eq!((&charger["time"], &site["time"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    assert!(charger["age_s"].is_number(), "an age needs no clock on the wall");
    let mark = peer.mark();
    rig.show(|_| ());
    peer.json_after(mark, "gridkeeper/site/state", |it| it["time"].is_string()).await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_clean_end_says_offline_and_so_does_the_last_will() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/status").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    let mark = peer.mark();
    let status = rig.status.clone();
    rig.stop().await;
    peer.text_after(mark, "gridkeeper/status", "offline").await;
    assert_eq!(status.borrow().state, LinkState::Stopped);

    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    peer.text_after(mark, "gridkeeper/status", "online").await;
    let mark = peer.mark();
    rig.kill().await;
    peer.text_after(mark, "gridkeeper/status", "offline").await;
    broker.kill().await;
}

#[tokio::test]
async fn after_a_restart_of_the_broker_everything_is_there_again() {
    let broker = Broker::start().await;
    let address = broker.address;
    let mut rig = Rig::start(options(address));
    rig.online().await;
    broker.kill().await;
    let status = rig.until("retrying", |it| it.state == LinkState::Retrying && it.problem.is_some()).await;
    assert!(status.problem.unwrap().contains(&address.to_string()));
    // What happens meanwhile is told later, events in order, states only in their last form.
    for amps in [6, 8, 13] {
        rig.show(|it| it.chargers[0].status.offered = Milliamp::from_amps(amps));
    }
    rig.events.send(Event::new(EventType::MeterLate, "main", "no frame")).unwrap();
    let broker = Broker::on(address.port()).await;
    let peer = Peer::connect(address, "#").await;
    let offered = |it: &serde_json::Value| it["offered_current_a"].clone();
    let state = peer.json("gridkeeper/charger/left/state", |_| true).await;
    assert_eq!(offered(&state), 13, "no stale state comes first");
    peer.text_after(0, "gridkeeper/status", "online").await;
    peer.json("homeassistant/device/gridkeeper_charger_left/config", |_| true).await;
    peer.json("homeassistant/device/gridkeeper_meter_main-gas/config", |_| true).await;
    peer.json("gridkeeper/meter/main/state", |_| true).await;
    // Subscriptions are there again too.
    let mark = peer.mark();
    peer.publish("gridkeeper/charger/left/set/max_current_a", "12");
    peer.json_after(mark, "gridkeeper/result", |it| it["ok"] == true).await;
    let status = rig.status.borrow().clone();
    assert!(status.connections >= 2 && status.problem.is_none(), "{status:?}");
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn events_of_a_broken_time_come_in_order_and_the_oldest_are_dropped() {
    // Nothing listens on this port yet.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut options = options(port);
    options.tuning.queue = 8;
    options.tuning.retry_first = std::time::Duration::from_secs(1);
    options.tuning.retry_max = std::time::Duration::from_secs(1);
    let mut rig = Rig::start(options);
    let status = rig.until("retrying", |it| it.state == LinkState::Retrying).await;
    assert!(status.problem.unwrap().contains("nothing listens"));
    for number in 0..10 {
        let detail = format!("{number}");
        rig.events.send(Event::new(EventType::Risk, "site", detail)).unwrap();
    }
    rig.until("dropped", |it| it.dropped_outgoing >= 3).await;
    let broker = Broker::on(port.port()).await;
    let peer = Peer::connect(port, "gridkeeper/event").await;
    peer.json("gridkeeper/event", |it| it["event_type"] == "broker_back").await;
    let details: Vec<_> = peer
        .seen()
        .iter()
        .map(super::peer::Seen::json)
        .filter(|it| it["event_type"] == "risk")
        .map(|it| it["detail"].as_str().unwrap().to_owned())
        .collect();
    assert!(details.len() >= 7 && details.is_sorted() && details.last().is_some_and(|it| it == "9"), "{details:?}");
    assert!(peer.seen().iter().all(|it| !it.retained));
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_hung_broker_is_noticed_and_left() {
    let broker = Broker::start().await;
    let wire = Wire::to(broker.address).await;
    let mut options = options(wire.address);
    options.tuning.keep_alive_s = 1;
    let mut rig = Rig::start(options);
    rig.online().await;
    wire.hang();
    let status = rig.until("noticed", |it| it.state == LinkState::Retrying).await;
    let problem = status.problem.unwrap();
    assert!(problem.contains("hangs") || problem.contains("did not answer"), "{problem}");
    wire.flow();
    rig.online().await;
    // The broker's view: the will of the hung connection must not have the last word.
    let peer = Peer::connect(broker.address, "gridkeeper/status").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_hung_broker_does_not_hold_up_the_end() {
    let broker = Broker::start().await;
    let wire = Wire::to(broker.address).await;
    let mut options = options(wire.address);
    options.tuning.keep_alive_s = 60;
    options.tuning.goodbye = std::time::Duration::from_millis(300);
    let mut rig = Rig::start(options);
    rig.online().await;
    wire.hang();
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn somebody_elses_offline_is_put_right() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/status").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    let mark = peer.mark();
    peer.retain("gridkeeper/status", "offline");
    peer.text_after(mark, "gridkeeper/status", "offline").await;
    peer.text_after(mark, "gridkeeper/status", "online").await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_wrong_password_says_what_to_change() {
    let login = |options: &mut gridkeeper::mqtt::MqttOptions, user: &str, password: &str| {
        options.config.username = Some(user.into());
        options.config.password = Some(Secret::new(password.into()));
    };
    // The built-in broker wants the login that it was given.
    let mut right = options("127.0.0.1:1".parse().unwrap());
    right.config.endpoint = MqttEndpoint::Embedded("127.0.0.1:0".parse().unwrap());
    login(&mut right, "house", "right");
    let mut owner = Rig::start(right);
    owner.online().await;
    let mut other = options(owner.status.borrow().embedded.unwrap());
    (other.config.base_topic, other.client_id) = ("other".into(), "other".into());

    login(&mut other, "house", "geheim");
    let mut rig = Rig::start(other.clone());
    let problem = rig.until("refused", |it| it.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains("`house`") && problem.contains("[mqtt] username and password"), "{problem}");
    assert!(!problem.contains("geheim"), "no secret in an error: {problem}");
    rig.stop().await;

    (other.config.username, other.config.password) = (None, None);
    let mut rig = Rig::start(other.clone());
    let problem = rig.until("refused", |it| it.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains("wants a login"), "{problem}");
    rig.stop().await;

    login(&mut other, "house", "right");
    let mut rig = Rig::start(other);
    rig.online().await;
    rig.stop().await;
    owner.stop().await;
}

#[tokio::test]
async fn the_built_in_broker_tells_its_port_and_ends_with_us() {
    let mut options = options("127.0.0.1:1".parse().unwrap());
    options.config.endpoint = MqttEndpoint::Embedded("127.0.0.1:0".parse().unwrap());
    let mut rig = Rig::start(options.clone());
    rig.online().await;
    let address = rig.status.borrow().embedded.unwrap();
    assert_ne!(address.port(), 0);
    let peer = Peer::connect(address, "gridkeeper/#").await;
    peer.json("gridkeeper/site/state", |_| true).await;

    options.config.endpoint = MqttEndpoint::Embedded(address);
    options.instance = "second".into();
    let mut second = Rig::start(options);
    let problem = second.until("refused", |it| it.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains("taken"), "{problem}");
    rig.stop().await;
    // The port is free again, and the other takes it.
    second.online().await;
    second.stop().await;
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn home_assistant_is_told_everything_when_it_is_born() {
    let broker = Broker::start().await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    let config = "homeassistant/device/gridkeeper_site/config";
    peer.json(config, |_| true).await;
    let mark = peer.mark();
    peer.publish("homeassistant/status", "online");
    peer.json_after(mark, config, |_| true).await;
    peer.json_after(mark, "gridkeeper/charger/left/state", |_| true).await;
    peer.text_after(mark, "gridkeeper/meter/main/availability", "online").await;
    rig.stop().await;
    broker.kill().await;
}

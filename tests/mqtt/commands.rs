//! What comes in: commands, replays, rubbish, floods.

use std::time::Duration;

use gridkeeper::quantity::Span;
use serde_json::{Value, json};

use super::house::options;
use super::peer::{Broker, Peer};
use super::rig::Rig;

const SET: &str = "gridkeeper/charger/left/set/max_current_a";
const RESULT: &str = "gridkeeper/result";

/// Nothing goes out by itself: what comes is an answer.
async fn quiet() -> (Broker, Rig, Peer) {
    every(Span::from_secs(3600)).await
}

async fn every(interval: Span) -> (Broker, Rig, Peer) {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.config.interval = interval;
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.json("gridkeeper/charger/right/state", |_| true).await;
    (broker, rig, peer)
}

async fn end(broker: Broker, rig: Rig) {
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn an_accepted_command_is_answered_and_its_state_published() {
    let (broker, rig, peer) = quiet().await;
    let mark = peer.mark();
    peer.publish(SET, r#"{"value":12,"id":"a-1"}"#);
    let result = peer.json_after(mark, RESULT, |_| true).await;
    let mut keys: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["error", "id", "ok", "stored", "time", "topic", "value"]);
    assert_eq!(
        (&result["topic"], &result["value"], &result["ok"], &result["error"], &result["id"], &result["stored"]),
        (&json!(SET), &json!("12"), &json!(true), &Value::Null, &json!("a-1"), &json!(true))
    );
    peer.json_after(mark, "gridkeeper/charger/left/state", |it| it["max_current_a"] == 12).await;
    assert_eq!(rig.wishes(), [("charger/left/set/max_current_a".to_owned(), "12".to_owned())]);
    end(broker, rig).await;
}

#[tokio::test]
async fn a_refused_command_says_what_is_allowed_and_the_state_snaps_back() {
    let (broker, rig, peer) = quiet().await;
    let mark = peer.mark();
    peer.publish(SET, "40");
    let result = peer.json_after(mark, RESULT, |_| true).await;
    assert_eq!(result["ok"], false);
    assert_eq!(result["stored"], Value::Null);
    assert!(result["error"].as_str().unwrap().contains("allowed are 6 to 16"));
    peer.json_after(mark, "gridkeeper/charger/left/state", |it| it["max_current_a"] == 16).await;
    let event = peer.json_after(mark, "gridkeeper/charger/left/event", |_| true).await;
    assert_eq!(event["event_type"], "command_refused");
    assert_eq!(event["subject"], "left");
    assert!(event["time"].is_string() && event["detail"].as_str().unwrap().contains("40"));
    let everywhere = peer.json_after(mark, "gridkeeper/event", |_| true).await;
    assert_eq!(everywhere["detail"], event["detail"]);
    end(broker, rig).await;
}

#[tokio::test]
async fn rubbish_is_refused_each_with_its_reason_and_reaches_nobody() {
    let (broker, rig, peer) = quiet().await;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (SET, b"\xff\xfe\x00".to_vec(), "UTF-8"),
        (SET, b"{\"value\":[1]}".to_vec(), "must be a text"),
        (SET, b"{\"current\":10}".to_vec(), "`value` is missing"),
        (SET, b"{".to_vec(), "no JSON object"),
        (SET, vec![b'9'; 100], "100 bytes"),
        (SET, vec![b'9'; 300_000], "300000 bytes"),
        (SET, b"10\n".to_vec(), "control characters"),
        ("gridkeeper/input/toaster/set/value", b"on".to_vec(), "there is no input `toaster`; allowed: "),
        ("gridkeeper/input/tariff/set/mode", b"on".to_vec(), "allowed: value"),
        ("gridkeeper/input/tariff/set/value", b"on".to_vec(), "its driver is another one"),
        ("gridkeeper/meter/main/set/mode", b"on".to_vec(), "takes no commands"),
        ("gridkeeper/toaster/x/set/mode", b"on".to_vec(), "is not a setting"),
    ];
    for (topic, payload, part) in cases {
        let mark = peer.mark();
        peer.publish(topic, payload);
        let result = peer.json_after(mark, RESULT, |_| true).await;
        assert_eq!((&result["topic"], &result["ok"]), (&json!(topic), &json!(false)));
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(part), "{topic}: {error}");
    }
    assert!(rig.wishes().is_empty());
    end(broker, rig).await;
}

/// The answer to this; sent again until it comes, because nobody is told when a courtesy's subscription stands.
async fn answered(peer: &Peer, topic: &str, payload: &str) -> Value {
    let mark = peer.mark();
    let send = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(400));
        loop {
            ticks.tick().await;
            peer.publish(topic, payload);
        }
    };
    tokio::select! {
        () = send => Value::Null,
        result = peer.json_after(mark, RESULT, |it| it["topic"] == topic) => result,
    }
}

#[tokio::test]
async fn a_command_on_a_topic_that_is_nearly_right_is_told_the_right_one_and_nothing_else_happens() {
    let (broker, rig, peer) = quiet().await;
    // Whatever was said at the begin is through when the answer to this is.
    peer.publish(SET, "11");
    peer.json("gridkeeper/charger/left/state", |it| it["max_current_a"] == 11).await;
    let mark = peer.mark();
    for (topic, right) in [
        ("gridkeeper/charger/left/mode", "gridkeeper/charger/left/set/mode"),
        ("gridkeeper/charger/nobody/reboot", "gridkeeper/charger/nobody/set/reboot"),
        ("gridkeeper/charger/left/mode/set", "gridkeeper/charger/left/set/mode"),
        ("gridkeeper/charger/left/set", "gridkeeper/charger/left/set/<setting>"),
        ("gridkeeper/site/dim", "gridkeeper/site/set/dim"),
        ("gridkeeper/bridge/restart", "gridkeeper/bridge/request/restart"),
    ] {
        let result = answered(&peer, topic, r#"{"value":"ON","id":5}"#).await;
        assert_eq!((&result["ok"], &result["value"], &result["id"]), (&json!(false), &json!("ON"), &json!(5)));
        assert!(result["error"].as_str().unwrap().contains(&format!("`{right}`")), "{result}");
    }
    let told = peer.seen().into_iter().skip(mark).filter(|it| !it.retained).map(|it| it.topic);
    let others: Vec<_> = told.filter(|it| it.ends_with("/state") || it.ends_with("event")).collect();
    assert!(others.is_empty() && rig.wishes().len() == 1, "{others:?}");
    end(broker, rig).await;
}

#[tokio::test]
async fn answers_to_topics_that_are_nearly_right_are_few_and_take_no_place_of_a_command() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    // Somebody keeps parts of our states on topics of his own.
    peer.retain("gridkeeper/charger/right/mode", "fast");
    peer.after(0, "what he keeps", |it| it.topic.ends_with("/mode").then_some(())).await;
    let mut options = options(broker.address);
    options.config.interval = Span(200);
    let mut rig = Rig::start(options);
    rig.online().await;
    answered(&peer, "gridkeeper/charger/left/mode", "off").await;
    let mark = peer.mark();
    let begin = rig.clock.now();
    for _ in 0..500 {
        peer.publish("gridkeeper/charger/left/mode", "off");
    }
    peer.publish(SET, "11");
    peer.json_after(mark, RESULT, |it| it["topic"] == SET && it["ok"] == true).await;
    rig.until("all are counted", |it| it.dropped_incoming >= 400).await;
    let took = rig.clock.now().since(begin).as_secs_f64();
    let seen = peer.seen();
    let results = seen.iter().skip(mark).filter(|it| it.topic == RESULT).count();
    assert!(results as f64 <= 6.0 + 5.0 * (took + 1.0), "{results} answers in {took} s");
    let answered = |topic: &str| seen.iter().any(|it| it.topic == RESULT && it.json()["topic"] == topic);
    assert!(!answered("gridkeeper/charger/right/mode"), "what is kept is answered");
    assert!(!seen.iter().filter(|it| it.topic == RESULT).any(|it| it.text().contains("/state")), "we answer ourselves");
    end(broker, rig).await;
}

#[tokio::test]
async fn an_empty_payload_is_ignored_without_a_word() {
    let (broker, rig, peer) = quiet().await;
    let mark = peer.mark();
    peer.publish(SET, "");
    peer.publish("gridkeeper/bridge/request/restart", "");
    peer.publish(SET, "11");
    let result = peer.json_after(mark, RESULT, |_| true).await;
    assert_eq!(result["value"], "11");
    assert_eq!(rig.wishes().len(), 1);
    end(broker, rig).await;
}

#[tokio::test]
async fn replayed_commands_are_refused_and_told_once() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.retain(SET, "8");
    peer.retain("gridkeeper/charger/left/set/mode", "off");
    peer.retain("gridkeeper/site/set/charging_enabled", "off");
    peer.after(0, "the last retained command", |it| it.topic.ends_with("charging_enabled").then_some(())).await;
    let mut options = options(broker.address);
    options.config.interval = Span::from_secs(3600);
    let mut rig = Rig::start(options);
    rig.online().await;
    for topic in [SET, "gridkeeper/charger/left/set/mode", "gridkeeper/site/set/charging_enabled"] {
        let result = peer.json(RESULT, |it| it["topic"] == topic).await;
        assert!(result["error"].as_str().unwrap().contains("retain"), "{result}");
    }
    peer.publish(SET, "9");
    peer.json(RESULT, |it| it["value"] == "9" && it["ok"] == true).await;
    let refused = peer
        .seen()
        .iter()
        .filter(|it| it.topic == "gridkeeper/event")
        .filter(|it| it.text().contains("refused"))
        .count();
    assert_eq!(refused, 1, "once per connection");
    assert_eq!(rig.wishes().len(), 1, "only the live one was obeyed");
    end(broker, rig).await;
}

#[tokio::test]
async fn a_flood_is_bounded_told_once_and_over_when_it_ends() {
    let (broker, mut rig, peer) = every(Span(200)).await;
    let mark = peer.mark();
    let begin = rig.clock.now();
    for number in 0..5000 {
        peer.publish(SET, format!("{}", 6 + number % 10));
    }
    peer.json_after(mark, "gridkeeper/event", |it| it["detail"].as_str().unwrap().contains("50 commands a second"))
        .await;
    // Commands work again as soon as there is room.
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let accepted = async {
        loop {
            ticks.tick().await;
            peer.publish(SET, r#"{"value":7,"id":"after"}"#);
            if peer.seen().iter().any(|it| it.topic == RESULT && it.json()["id"] == "after") {
                return;
            }
        }
    };
    tokio::time::timeout(super::peer::LIMIT, accepted).await.expect("works again after the flood");
    let taken = rig.wishes().len() as i64;
    let allowed = 50 + 50 * (rig.clock.now().since(begin).0 / 1000 + 1);
    assert!(taken <= allowed, "{taken} commands were taken, allowed were {allowed}");
    let told = peer.seen().iter().filter(|it| it.topic == "gridkeeper/event").count();
    assert!(told <= 3, "{told} events");
    let status = rig.until("counted", |it| it.dropped_incoming > 0).await;
    assert!(status.dropped_incoming > 1000, "{status:?}");
    end(broker, rig).await;
}

#[tokio::test]
async fn a_controller_that_hangs_is_told_of_and_nothing_piles_up() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.tuning.answer_timeout = Duration::from_millis(50);
    let (snapshots, watched) = tokio::sync::watch::channel(None);
    let (_events, heard) = tokio::sync::broadcast::channel(4);
    // Nobody takes anything out of this channel.
    let (sender, _receiver) = std::sync::mpsc::sync_channel(1);
    let (status, _shown) = tokio::sync::watch::channel(Default::default());
    let cancel = tokio_util::sync::CancellationToken::new();
    let views = gridkeeper::mqtt::Views {
        snapshots: watched,
        events: heard,
        control: gridkeeper::device::ControlLink::new(sender),
        clock: gridkeeper::clock::Clock::start(),
        ports: gridkeeper::mqtt::Ports::default(),
        status,
    };
    let task = tokio::spawn(gridkeeper::mqtt::run(options, views, cancel.clone()));
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    peer.publish(SET, "7");
    peer.publish(SET, "8");
    peer.json(RESULT, |it| it["value"] == "7" && it["error"].as_str().unwrap().contains("did not answer")).await;
    peer.json(RESULT, |it| it["value"] == "8" && it["error"].as_str().unwrap().contains("no commands")).await;
    drop(snapshots);
    cancel.cancel();
    task.await.unwrap();
    broker.kill().await;
}

#[tokio::test]
async fn requests_are_answered_on_their_response_topic() {
    let broker = Broker::start().await;
    let (levels, mut set) = tokio::sync::mpsc::unbounded_channel();
    let mut options = options(broker.address);
    options.requests.level = "info".into();
    options.requests.log_level =
        Some(std::sync::Arc::new(move |level: &str| levels.send(level.to_owned()).map_err(|error| error.to_string())));
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/bridge/#").await;
    peer.json("gridkeeper/bridge/info", |it| it["log_level"] == "info").await;
    peer.publish("gridkeeper/bridge/request/log_level", r#"{"value":"debug","id":3}"#);
    let answer = peer.json("gridkeeper/bridge/response/log_level", |_| true).await;
    assert_eq!((&answer["ok"], &answer["id"]), (&json!(true), &json!(3)));
    assert_eq!(set.recv().await.unwrap(), "debug");
    peer.json("gridkeeper/bridge/info", |it| it["log_level"] == "debug").await;
    for (name, value, part) in [
        ("log_level", "loud", "allowed are error, warn, info, debug, trace"),
        ("restart", "1", "only `gridkeeper run` can"),
        ("backup", "1", "only `gridkeeper run` with a valid configuration can"),
        ("backup", "please", "allowed: PRESS, ON, true, 1"),
        ("dance", "1", "allowed are restart, log_level, backup"),
    ] {
        let mark = peer.mark();
        peer.publish(&format!("gridkeeper/bridge/request/{name}"), value);
        let answer = peer.json_after(mark, &format!("gridkeeper/bridge/response/{name}"), |_| true).await;
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
    end(broker, rig).await;
}

#[tokio::test]
async fn a_backup_is_answered_with_what_may_be_shown() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gridkeeper.toml");
    std::fs::write(&file, "[mqtt]\nurl = \"mqtt://127.0.0.1\"\nusername = \"me\"\npassword = \"hunter2\"\n").unwrap();
    let loaded = gridkeeper::config::load(&[file], std::iter::empty(), None, gridkeeper::config::Purpose::Run).unwrap();
    let data = folder.path().to_owned();
    std::fs::write(data.join("settings.json"), r#"{"version":1,"settings":{}}"#).unwrap();
    options.requests.backup = Some(std::sync::Arc::new(move || gridkeeper::backup::shown(&loaded.inputs, &data)));
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "gridkeeper/bridge/#").await;
    let keys = |answer: &serde_json::Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    peer.publish("gridkeeper/bridge/request/backup", r#"{"value":"ON","id":"b1"}"#);
    let answer = peer.json("gridkeeper/bridge/response/backup", |_| true).await;
    assert_eq!((&answer["ok"], &answer["id"]), (&json!(true), &json!("b1")));
    let configuration = answer["configuration"].as_str().unwrap();
    assert!(
        configuration.contains("username = \"me\"") && configuration.contains("password = \"***\""),
        "{configuration}"
    );
    assert_eq!(answer["settings"], r#"{"settings":{},"version":1}"#);
    assert!(!answer.to_string().contains("hunter2"));
    let mark = peer.mark();
    peer.publish("gridkeeper/bridge/request/backup", "please");
    let refused = peer.json_after(mark, "gridkeeper/bridge/response/backup", |_| true).await;
    assert_eq!(keys(&refused), keys(&answer), "keys never come and go");
    assert_eq!((&refused["ok"], &refused["configuration"]), (&json!(false), &json!(null)));
    end(broker, rig).await;
}

#[tokio::test]
async fn a_restart_is_answered_before_it_begins_and_not_asked_for_too_often() {
    let broker = Broker::start().await;
    let (begun, mut begin) = tokio::sync::mpsc::unbounded_channel();
    let mut options = options(broker.address);
    let restart = |not_before| {
        let begun = begun.clone();
        Some(gridkeeper::mqtt::Restart { not_before, begin: std::sync::Arc::new(move || begun.send(()).unwrap()) })
    };
    options.requests.restart = restart(gridkeeper::quantity::Mono(i64::MAX));
    let mut rig = Rig::start(options.clone());
    rig.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    let button = "homeassistant/device/gridkeeper_site/config";
    let site = peer.json(button, |_| true).await;
    assert_eq!(site["components"]["restart"]["command_topic"], "gridkeeper/bridge/request/restart");
    peer.publish("gridkeeper/bridge/request/restart", "ON");
    let answer = peer.json("gridkeeper/bridge/response/restart", |_| true).await;
    assert!(answer["error"].as_str().unwrap().contains("after the last time"), "{answer}");
    rig.stop().await;

    options.requests.restart = restart(gridkeeper::quantity::Mono(0));
    let mut rig = Rig::start(options);
    rig.online().await;
    for (value, ok) in [("yes", false), ("PRESS", true)] {
        let mark = peer.mark();
        peer.publish("gridkeeper/bridge/request/restart", value);
        let answer = peer.json_after(mark, "gridkeeper/bridge/response/restart", |_| true).await;
        assert_eq!(answer["ok"], ok, "{answer}");
        assert_eq!(answer["error"].is_null(), ok, "{answer}");
    }
    begin.recv().await.unwrap();
    end(broker, rig).await;
    assert!(begin.try_recv().is_err(), "once");
}

#[tokio::test]
async fn info_names_version_instance_warnings_and_risks() {
    let (broker, rig, peer) = quiet().await;
    let info = peer.json("gridkeeper/bridge/info", |_| true).await;
    assert_eq!(info["version"], "0.0.0-test");
    assert_eq!(info["instance"], "test");
    assert_eq!(info["config_warnings"], "one\ntwo");
    assert_eq!(info["config_errors"], Value::Null);
    assert_eq!(info["risks"], "right has no fail-safe timer");
    assert!(info["uptime_s"].is_number() && info["started"].is_string() && info["interval_s"] == 3600);
    end(broker, rig).await;
}

#[tokio::test]
async fn a_huge_packet_ends_neither_the_link_for_good_nor_anything_else() {
    let (broker, mut rig, peer) = quiet().await;
    // Above what the client takes at all: the connection is lost and made again.
    peer.publish(SET, vec![b'x'; 2 * 1024 * 1024]);
    rig.until("lost", |it| it.problem.as_ref().is_some_and(|it| it.contains("oversized"))).await;
    rig.online().await;
    let mark = peer.mark();
    peer.publish(SET, "9");
    peer.json_after(mark, RESULT, |it| it["ok"] == true).await;
    end(broker, rig).await;
}

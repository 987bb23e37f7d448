use std::io::BufReader;

use serde_json::{Value, json};

use super::*;
use crate::config::{Purpose, load};

const FILE: &str = r#"
[site]
name = "Plant"
time_zone = "UTC"

[grid]
phases = 3
fuse_a = 25
meter = "main"
dim_kw = 4.2

[[meter]]
id = "main"
driver = "simulated"
period_s = 1

[[charger]]
id = "c0"
driver = "simulated"
phases = ["L2", "L3", "L1"]
max_current_a = 16
current_step_a = 1
phase_switching = true
watchdog_s = 30
fail_safe_current_a = 6

[[charger]]
id = "c1"
driver = "simulated"
phases = ["L1"]
max_current_a = 16
current_step_a = 1
phase_switching = false
watchdog_s = 30
fail_safe_current_a = 6

[[input]]
id = "tariff"
meaning = "low-tariff"
driver = "simulated"

[[input]]
id = "dim"
meaning = "grid-dim"
driver = "simulated"
"#;

fn config() -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plant.toml");
    std::fs::write(&path, FILE).unwrap();
    load(&[path], std::iter::empty(), None, Purpose::Simulate).unwrap().config
}

struct Talk {
    seam: Seam,
    t: f64,
    offers: [f64; 2],
}

impl Talk {
    fn new() -> Self {
        Self { seam: Seam::new(config().setup()), t: 0.0, offers: [0.0; 2] }
    }

    fn say(&mut self, line: &Value) -> Value {
        let answer = self.seam.answer(line.to_string().as_bytes());
        assert!(!answer.contains('\n'));
        serde_json::from_str(&answer).unwrap()
    }

    /// A second in which everything is well, and `also` besides.
    fn second(&mut self, also: &Value) -> Value {
        let charger = |offer: f64, own: usize| {
            let current: Vec<f64> = (0..3).map(|phase| if phase < own { offer } else { 0.0 }).collect();
            let state = if offer > 0.0 { "C" } else { "B" };
            json!({"ok": true, "state": state, "current_a": current, "offered_a": offer, "phases": own, "energy_kwh": 1.0})
        };
        let [a, b] = self.offers;
        let current = [2.0 + a + b, 2.0 + a, 2.0 + a];
        let mut line = json!({
            "t": self.t,
            "meter": {"at": self.t - 0.3, "current_a": current, "power_w": current.map(|it| it * 230.0),
                      "voltage_v": [230, 230, 230]},
            "chargers": {"c0": charger(a, 3), "c1": charger(b, 1)},
        });
        for (key, value) in also.as_object().unwrap() {
            line[key] = value.clone();
        }
        self.t += 1.0;
        let answer = self.say(&line);
        self.offers = ["c0", "c1"].map(|id| answer["chargers"][id]["offer_a"].as_f64().unwrap());
        answer
    }

    fn run(&mut self, seconds: usize) -> Value {
        (0..seconds).map(|_| self.second(&json!({}))).last().unwrap()
    }
}

#[test]
fn answers_have_the_contracts_shape() {
    let mut talk = Talk::new();
    let answer = talk.run(40);
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["chargers", "events", "relays", "t", "wake_at"]);
    assert_eq!(answer["t"], json!(39.0));
    assert_eq!(answer["relays"], json!({}));
    assert_eq!(talk.offers, [11.0, 11.0]);
    let charger = &answer["chargers"]["c0"];
    assert_eq!((&charger["phases"], &charger["fail_safe_a"]), (&json!(3), &json!(6.0)));
    assert_eq!(charger["limit_reason"], json!("sharing"));
    assert_eq!(answer["chargers"]["c1"].get("phases"), None, "only where it can switch");
    let wake = answer["wake_at"].as_f64().unwrap();
    assert!(wake > 39.0 && wake <= 40.0);
}

#[test]
fn events_carry_type_and_subject() {
    let mut talk = Talk::new();
    talk.run(30);
    let mut seen = Vec::new();
    for _ in 0..12 {
        let answer = talk.second(&json!({"meter": null}));
        for event in answer["events"].as_array().unwrap() {
            seen.push((talk.t - 1.0, event["event_type"].clone(), event["subject"].clone()));
        }
    }
    assert_eq!(seen[0], (34.0, json!("meter_late"), json!("main")));
    assert_eq!(seen[1], (39.0, json!("meter_lost"), json!("main")));
    assert_eq!(talk.offers, [0.0, 0.0]);
}

#[test]
fn what_is_not_named_keeps_its_last_value() {
    let mut talk = Talk::new();
    talk.run(40);
    for _ in 0..4 {
        talk.second(&json!({"chargers": {}}));
    }
    assert_eq!(talk.offers, [11.0, 11.0], "still answering, still charging");
    for _ in 0..9 {
        let answer = talk.second(&json!({"chargers": {"c0": {"ok": false}}}));
        assert_ne!(answer["chargers"]["c1"]["limit_reason"], json!("offline"));
    }
    assert_eq!(talk.offers[0], 6.0);
    let answer = talk.second(&json!({"chargers": {}}));
    assert_eq!(answer["chargers"]["c0"]["limit_reason"], json!("offline"), "a silence lasts until it is taken back");
}

#[test]
fn everything_that_the_plant_sends_is_understood() {
    let mut talk = Talk::new();
    let set = |mode: &str| json!([["charger/c0/set/mode", mode], ["charger/c1/set/mode", mode]]);
    let first = json!({
        "set": [["charger/c0/set/mode", "fast"], ["charger/c0/set/low_tariff_only", "OFF"], ["site/set/peak_15min_kw", "none"]],
        "inputs": {"tariff": false, "dim": false},
    });
    assert_eq!(talk.second(&first).get("error"), None);
    talk.run(40);
    // No sun: the least, in `solar` until min_on_s is over.
    for (mode, offer) in [("solar", 6.0), ("eco", 6.0), ("off", 0.0)] {
        talk.second(&json!({"set": set(mode)}));
        assert_eq!(talk.offers, [offer, offer]);
    }
    talk.second(&json!({"set": set("fast")}));
    talk.run(40);
    assert!(talk.offers[0] > 0.0);
    let answer = talk.second(&json!({"inputs": {"dim": true}}));
    assert_eq!(talk.offers.iter().sum::<f64>(), 6.0, "4.2 kW are 6 A on three phases, for one of the two");
    assert!(
        answer["chargers"].as_object().is_some_and(|all| all.values().any(|it| it["limit_reason"] == "dim")),
        "{answer}"
    );
    talk.second(&json!({"inputs": {"dim": false}}));
    talk.run(40);
    let answer = talk.second(&json!({"set": [["site/set/peak_15min_kw", "0.1"]]}));
    assert_eq!(talk.offers, [0.0, 0.0], "the house alone takes more");
    assert_eq!(answer["chargers"]["c0"]["limit_reason"], json!("peak_15min"));
    talk.second(&json!({"set": [["site/set/peak_15min_kw", "none"], ["charger/c0/set/low_tariff_only", "ON"]]}));
    let answer = talk.run(2);
    assert_eq!(answer["chargers"]["c0"]["limit_reason"], json!("tariff"));
    talk.second(&json!({"inputs": {"tariff": true}}));
    talk.run(40);
    assert!(talk.offers[0] > 0.0);
}

#[test]
fn frames_come_as_one_or_several_with_phases_missing_or_in_total_only() {
    let mut talk = Talk::new();
    talk.run(40);
    let frame = |at: f64, l1: Value| json!({"at": at, "current_a": [l1, 13.0, 13.0], "power_w": [null, 2990, 2990], "voltage_v": [230, null, 230]});
    let t = talk.t;
    talk.second(&json!({"meter": [frame(t - 0.9, json!(24.0)), frame(t - 0.4, json!(null))]}));
    assert_eq!(talk.offers, [11.0, 11.0]);
    let t = talk.t;
    assert_eq!(talk.second(&json!({"meter": {"at": t, "power_w": 4000}})).get("error"), None);
    assert_eq!(talk.second(&json!({"meter": null, "meters": {"main": {"power_w": 4000}}})).get("error"), None);
}

#[test]
fn a_line_that_is_not_understood_changes_nothing() {
    let wrong = [
        "", // filled in by the stream only
        "nonsense",
        "[1,2]",
        "{}",
        r#"{"t":"soon"}"#,
        r#"{"t":1e300}"#,
        r#"{"t":41,"colour":"red"}"#,
        r#"{"t":3}"#,
        r#"{"t":41,"chargers":{"c9":{"ok":true}}}"#,
        r#"{"t":41,"chargers":{"c0":{"ok":"yes"}}}"#,
        r#"{"t":41,"chargers":{"c0":{"state":"C"}}}"#,
        r#"{"t":41,"chargers":{"c0":{"ok":true,"state":"Z"}}}"#,
        r#"{"t":41,"chargers":{"c0":{"ok":true,"phases":4}}}"#,
        r#"{"t":41,"chargers":{"c0":{"ok":true,"current_a":[1,2,3,4]}}}"#,
        r#"{"t":41,"chargers":{"c0":{"ok":false}},"inputs":{"nope":true}}"#,
        r#"{"t":41,"meters":{"nope":{"power_w":1}}}"#,
        r#"{"t":41,"meter":{"current_a":["1"]}}"#,
        r#"{"t":41,"set":[["charger/c0/set/mode","off"],["charger/c0/set/mode",null]]}"#,
    ];
    let mut clean = Talk::new();
    let mut disturbed = Talk::new();
    clean.run(41);
    disturbed.run(41);
    for line in &wrong[1..] {
        let answer: Value = serde_json::from_str(&disturbed.seam.answer(line.as_bytes())).unwrap();
        let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error"], "{line}");
    }
    for _ in 0..10 {
        assert_eq!(clean.second(&json!({})), disturbed.second(&json!({})));
    }
}

#[test]
fn a_wish_that_is_refused_is_an_event_and_the_rest_of_the_line_counts() {
    let mut talk = Talk::new();
    talk.run(40);
    let set = json!({"set": [["charger/c0/set/mode", "warp"], ["charger/c1/set/mode", "off"], ["site/set/max_import_a", 80]]});
    let answer = talk.second(&set);
    let refused: Vec<&Value> =
        answer["events"].as_array().unwrap().iter().filter(|it| it["event_type"] == "command_refused").collect();
    assert_eq!(refused.len(), 2);
    assert_eq!((&refused[0]["subject"], &refused[1]["subject"]), (&json!("c0"), &json!("site")));
    assert!(refused[0]["detail"].as_str().unwrap().contains("eco_plus"));
    assert_eq!(talk.offers[1], 0.0);
}

#[test]
fn the_stream_is_bounded_and_ends_with_its_input() {
    let config = config();
    let speak = |input: &[u8]| {
        let mut output = Vec::new();
        stdio(&config, BufReader::with_capacity(997, input), &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(speak(b"").is_empty());
    assert!(speak(b"\n  \n").is_empty());
    let mut long = vec![b' '; LONGEST_LINE + 1];
    long.extend_from_slice(b"\n{\"t\":1}\n{\"t\":2}");
    let answers = speak(&long);
    assert_eq!(answers.len(), 3);
    assert!(answers[0].contains("longer than 1048576 bytes"), "{}", answers[0]);
    assert!(answers[1].starts_with("{\"t\":1.0"));
    assert!(answers[2].starts_with("{\"t\":2.0"), "the last line needs no end");
    let answers = speak(b"\xff\xfe\n{\"t\":1}\n");
    assert!(answers[0].contains("error") && answers[1].starts_with("{\"t\":1.0"));
}

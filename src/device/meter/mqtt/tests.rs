use std::sync::mpsc::{Receiver, sync_channel};

use super::super::p1::Mapping;
use super::*;
use crate::clock::Clock;
use crate::config::model::{Common, MqttPlace, MqttSource};
use crate::device::ControlLink;
use crate::quantity::{Milliamp, Phase, Span, Watt, WattHour};
use crate::reading::MeterReading;

/// 2025-10-09T08:53:20Z.
const NOW_MS: i64 = 1_760_000_000_000;

fn source(quantity: Quantity, topic: &str, pointer: &str, factor: f64) -> MqttSource {
    MqttSource { quantity, place: MqttPlace { topic: topic.into(), pointer: pointer.into() }, factor }
}

fn task(sources: Vec<MqttSource>, time: Option<&str>) -> (Task, Receiver<ToControl>) {
    let time = time.map(|it| MqttPlace { topic: sources[0].place.topic.clone(), pointer: it.into() });
    let meter = MqttMeter { sources, time, max_age: Span::from_secs(30), time_zone: "Europe/Budapest".into() };
    let (sender, inbox) = sync_channel(64);
    let common = Common { id: "main".into(), name: "main".into(), area: None };
    let (mapping, control, clock) = (Mapping::default(), ControlLink::new(sender), Clock::start());
    (Task::new(meter, Destination { index: 0, common, mapping, control, clock }), inbox)
}

fn message(topic: &str, payload: &str, retained: bool) -> FeedMessage {
    FeedMessage { topic: topic.into(), payload: payload.as_bytes().into(), retained, at: Mono(0) }
}

fn readings(inbox: &Receiver<ToControl>) -> Vec<MeterReading> {
    let meters = inbox.try_iter().filter_map(|it| match it {
        ToControl::Meter { reading, .. } => Some(reading),
        _ => None,
    });
    meters.collect()
}

/// The meter that a Tasmota reads at a P1 port, as the example in `config/examples` has it.
fn tasmota() -> (Task, Receiver<ToControl>) {
    let topic = "home1/tele/myelectricmeter/SENSOR";
    let sources = vec![
        source(Quantity::PowerImport, topic, "/EON/pwr_imp", 1000.0),
        source(Quantity::PowerExport, topic, "/EON/pwr_exp", 1000.0),
        source(Quantity::CurrentL1, topic, "/EON/amps_l1", 1.0),
        source(Quantity::VoltageL1, topic, "/EON/volts_l1", 1.0),
        source(Quantity::EnergyImport, topic, "/EON/enrg_imp", 1.0),
    ];
    task(sources, Some("/Time"))
}

const SENSOR: &str = r#"{"Time":"2025-10-09T10:53:15","EON":{"volts_l1":231.4,"amps_l1":6,"pwr_imp":0.000,
    "pwr_exp":1.234,"enrg_imp":902.568,"enrg_imp_t1":800.1}}"#;

#[test]
fn a_message_of_a_tasmota_is_a_reading() {
    let (mut task, inbox) = tasmota();
    task.take(&message("home1/tele/myelectricmeter/SENSOR", SENSOR, false), NOW_MS);
    let reading = readings(&inbox)[0];
    assert_eq!((reading.power_total, reading.current[Phase::L1]), (Some(Watt(-1234)), Some(Milliamp(6000))));
    assert_eq!(reading.energy_import, Some(WattHour(902_568)));
    // Local time of the site, two hours ahead.
    assert_eq!((reading.stamp, reading.sampled_at), (Some(NOW_MS / 1000 - 5), None));
    assert!(task.trouble.health.online);
}

#[test]
fn a_replayed_message_is_used_only_with_a_time_of_its_own_that_is_young() {
    let topic = "home1/tele/myelectricmeter/SENSOR";
    let (mut task, inbox) = tasmota();
    task.take(&message(topic, SENSOR, true), NOW_MS + 3_600_000);
    task.take(&message(topic, SENSOR, true), NOW_MS - 3_600_000);
    task.take(&message(topic, &SENSOR.replace("\"Time\"", "\"Tim\""), true), NOW_MS);
    assert!(readings(&inbox).is_empty());
    assert_eq!(task.trouble.health.bad, 0, "a broker that replays is no fault of the sender");
    assert!(task.trouble.health.last_error.as_ref().is_some_and(|it| it.contains("replayed")));
    task.take(&message(topic, SENSOR, true), NOW_MS);
    assert_eq!(readings(&inbox).len(), 1);
}

#[test]
fn an_old_message_that_is_not_marked_as_replayed_is_no_reading() {
    let topic = "home1/tele/myelectricmeter/SENSOR";
    let (mut task, inbox) = tasmota();
    // SENSOR was made 5 s before NOW_MS; 30 s are allowed.
    for (wall_ms, used) in [(NOW_MS + 26_000, false), (NOW_MS + 25_000, true), (NOW_MS - 3_600_000, true)] {
        task.take(&message(topic, SENSOR, false), wall_ms);
        assert_eq!(readings(&inbox).len(), usize::from(used), "{} s later", (wall_ms - NOW_MS) / 1000);
    }
    assert_eq!(task.trouble.health.bad, 1);
    let error = task.trouble.health.last_error.as_ref().unwrap();
    assert!(error.contains("31 s old") && error.contains("allowed: 30"), "{error}");
    // 2025-10-26 in Budapest: 02:30 comes at 00:30 and at 01:30 UTC, and both are now.
    let night = SENSOR.replace("2025-10-09T10:53:15", "2025-10-26T02:30:00");
    for utc in ["2025-10-26T00:30:05Z", "2025-10-26T01:30:05Z"] {
        let at = utc.parse::<jiff::Timestamp>().unwrap();
        task.take(&message(topic, &night, false), at.as_millisecond());
        assert_eq!(readings(&inbox)[0].stamp, Some(at.as_second() - 5), "{utc}");
    }
}

#[test]
fn values_on_topics_of_their_own_are_a_reading_when_all_of_them_have_come() {
    let sources = vec![
        source(Quantity::PowerL1, "m/l1/power", "", 1.0),
        source(Quantity::PowerL2, "m/l2/power", "", 1.0),
        source(Quantity::EnergyImport, "m/energy", "", 0.001),
    ];
    let (mut task, inbox) = task(sources, None);
    task.take(&message("m/energy", "12345", false), NOW_MS);
    task.take(&message("m/l1/power", "100", false), NOW_MS);
    task.take(&message("m/l1/power", "110", false), NOW_MS);
    assert!(readings(&inbox).is_empty(), "L2 has said nothing");
    task.take(&message("m/l2/power", "\"-50.0\"", false), NOW_MS);
    let reading = readings(&inbox)[0];
    assert_eq!(reading.power.0, [Some(Watt(110)), Some(Watt(-50)), None]);
    assert_eq!((reading.power_total, reading.energy_import), (Some(Watt(60)), Some(WattHour(12_345))));
    assert!(reading.sampled_at.is_some_and(|it| it <= reading.received_at));
    task.take(&message("m/l2/power", "-60", false), NOW_MS);
    assert!(readings(&inbox).is_empty(), "a topic that falls silent stops the readings");
    task.take(&message("m/l1/power", "120", false), NOW_MS);
    assert_eq!(readings(&inbox).len(), 1);
}

#[test]
fn what_is_wrong_is_counted_and_never_a_reading() {
    let topic = "home1/tele/myelectricmeter/SENSOR";
    let (mut task, inbox) = tasmota();
    for (count, payload) in (1..).zip([
        "",
        "nonsense",
        "{\"EON\":{}}",
        "[1,2]",
        r#"{"EON":{"pwr_imp":"many"}}"#,
        r#"{"Time":"yesterday","EON":{"pwr_imp":1}}"#,
    ]) {
        task.take(&message(topic, payload, false), NOW_MS);
        assert_eq!(task.trouble.health.bad, count, "{payload}");
    }
    assert!(readings(&inbox).is_empty());
    // A number that is no measurement is left out, the rest stands.
    let odd = r#"{"EON":{"pwr_imp":1.0,"pwr_exp":0,"volts_l1":-5,"amps_l1":1e300}}"#;
    task.take(&message(topic, odd, false), NOW_MS);
    let reading = readings(&inbox)[0];
    assert_eq!(
        (reading.power_total, reading.voltage[Phase::L1], reading.current[Phase::L1]),
        (Some(Watt(1000)), None, None)
    );
    task.take(&message(topic, r#"{"EON":{"pwr_imp":1.0}}"#, false), NOW_MS);
    assert_eq!(readings(&inbox)[0].power_total, None, "an export that is configured and did not come is not zero");
}

#[tokio::test(start_paused = true)]
async fn silence_makes_it_offline_and_it_is_marked_from_the_start() {
    let (task, inbox) = tasmota();
    let feeds = Feeds::new(["home1/tele/myelectricmeter/SENSOR"]);
    let cancel = CancellationToken::new();
    let (meter, to, registry, token) = (task.meter, task.to, feeds.clone(), cancel.clone());
    let running = tokio::spawn(async move { run(meter, to, &registry, token).await });
    tokio::task::yield_now().await;
    let now = SENSOR.replace("\"2025-10-09T10:53:15\"", &(clock::wall_ms() / 1000).to_string());
    feeds.deliver("home1/tele/myelectricmeter/SENSOR", now.as_bytes(), false, Mono(0));
    tokio::time::sleep(Duration::from_secs(40)).await;
    let told: Vec<ToControl> = inbox.try_iter().collect();
    assert!(matches!(&told[0], ToControl::Risk(_, Some(risk)) if risk.contains("depends on the broker")));
    let online: Vec<bool> = told
        .iter()
        .filter_map(|it| if let ToControl::Health(_, health) = it { Some(health.online) } else { None })
        .collect();
    assert_eq!((online.contains(&true), online.last()), (true, Some(&false)), "{online:?}");
    cancel.cancel();
    running.await.unwrap();
}

#[test]
fn a_voltage_that_is_not_renewed_is_not_used_for_ever() {
    let sources = vec![
        source(Quantity::Power, "p", "", 1.0),
        source(Quantity::VoltageL1, "v", "", 1.0),
        source(Quantity::EnergyImport, "e", "", 1.0),
    ];
    let (mut task, inbox) = task(sources, None);
    let mut at = |second: i64, topic: &str, payload: &str| {
        task.take(&FeedMessage { at: Mono(second * 1000), ..message(topic, payload, false) }, NOW_MS + second * 1000);
        readings(&inbox).pop()
    };
    assert!(at(0, "v", "232").is_none() && at(0, "e", "17.5").is_none(), "no power yet");
    let reading = at(30, "p", "1000").unwrap();
    assert_eq!(reading.voltage[Phase::L1].map(|it| it.0), Some(232_000));
    let reading = at(31, "p", "1000").unwrap();
    assert_eq!((reading.voltage[Phase::L1], reading.energy_import), (None, Some(WattHour(17_500))));
    assert!(at(40, "v", "229").is_none());
    assert_eq!(at(41, "p", "1000").unwrap().voltage[Phase::L1].map(|it| it.0), Some(229_000));
}

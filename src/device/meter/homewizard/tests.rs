use std::time::Duration;

use serde_json::json;

use super::super::p1::Mapping;
use super::super::rig::{Rig, address, limits};
use super::*;
use crate::config::model::Secret;
use crate::link::http::Seen;
use crate::quantity::{Milliamp, Phase, Watt, WattHour};
use crate::simulator::http::{HomeWizard as StandIn, HttpFault, certificate};

const TOKEN: &str = "0123456789ABCDEF0123456789ABCDEF";

async fn pin_of(stand_in: &StandIn) -> Pin {
    let seen = Seen::default();
    let at = address(stand_in.address(), true);
    let mut client = Client::new(&at, Login::None, Trust::Anybody(seen.clone()), limits()).unwrap();
    client.get("/api").await.unwrap_err();
    seen.pin().unwrap()
}

fn meter(stand_in: &StandIn, paired: Option<Pairing>, clock: Clock) -> HomeWizardMeter {
    let at = address(stand_in.address(), paired.is_some());
    HomeWizardMeter::new(&at, paired, Names::default(), clock, limits()).unwrap()
}

fn start(stand_in: &StandIn, paired: Option<Pairing>) -> Rig {
    let clock = Clock::start();
    Rig::start(meter(stand_in, paired, clock), Mapping::default(), clock)
}

async fn paired(stand_in: &StandIn, token: &str) -> Option<Pairing> {
    Some(Pairing { token: Secret::new(token.to_owned()), key: pin_of(stand_in).await.hash() })
}

#[tokio::test]
async fn a_p1_meter_of_version_1_is_read_with_the_gas_meter_behind_it() {
    let stand_in = StandIn::p1_v1().await.unwrap();
    let mut rig = start(&stand_in, None);
    let told = rig.reading("a reading", |_| true).await;
    let reading = told.reading;
    assert_eq!((reading.power_total, reading.power[Phase::L1]), (Some(Watt(-543)), Some(Watt(-676))));
    assert_eq!((reading.current[Phase::L1], reading.current_signed), (Some(Milliamp(-4000)), true));
    assert_eq!(reading.current_step, Milliamp(1000));
    assert_eq!(reading.energy_import, Some(WattHour(13_779_338)));
    assert_eq!((reading.demand, reading.stamp), (Some(Watt(123)), None));
    assert_eq!(told.behind.len(), 1);
    assert_eq!(told.behind[0].0, "gas");
    assert_eq!(told.behind[0].1.values["volume_m3"], Value::Number { value: 2569.646, unit: "m³", decimals: 3 });
    assert_eq!(told.values.identity.model.as_deref(), Some("HWE-P1"));
    rig.stop().await;
}

#[test]
fn meters_behind_it_keep_their_names_over_a_restart() {
    let clock = Clock::start();
    let gas = |id: &str, value| External { kind: "gas", id: id.to_owned(), value, unit: "m³", time: None };
    let named = |book: &mut Book, external: &[External]| -> Vec<String> {
        behind(book, external, clock).iter().map(|(suffix, _)| suffix.to_string()).collect()
    };
    let names = Names::default();
    assert_eq!(named(&mut Book::new(names.clone()), &[gas("A", 1.0), gas("B", 2.0)]), ["gas", "gas-2"]);
    let names = Names::restored(&names.get());
    let mut next_start = Book::new(names.clone());
    assert_eq!(named(&mut next_start, &[gas("B", 2.0), gas("A", 1.0), gas("C", 3.0)]), ["gas-2", "gas", "gas-3"]);
    // One that makes up a number each time fills nothing and takes no name that somebody has.
    for number in 0..100 {
        let made_up = gas(&format!("X{number}"), 0.0);
        assert_eq!(named(&mut next_start, &[gas("A", 1.0), made_up])[0], "gas");
    }
    assert_eq!(names.get().len(), 32);
}

#[tokio::test]
async fn the_current_of_a_kwh_meter_has_the_direction_of_its_power() {
    let stand_in = StandIn::kwh1_v1().await.unwrap();
    let mut rig = start(&stand_in, None);
    let told = rig.reading("a reading", |_| true).await;
    assert_eq!((told.reading.power[Phase::L1], told.reading.current_signed), (Some(Watt(-1058)), false));
    assert_eq!(told.values.values["current_l1_a"], Value::Number { value: -4.632, unit: "A", decimals: 3 });
    rig.stop().await;
}

#[tokio::test]
async fn a_p1_meter_that_sends_no_new_telegram_gives_no_reading() {
    let stand_in = StandIn::p1_v1().await.unwrap();
    let at = |second: u8| stand_in.telegram(&[&format!("0-0:1.0.0(2407021430{second:02}S)"), "1-0:1.7.0(01.000*kW)"]);
    at(10);
    let clock = Clock::start();
    let mut meter = meter(&stand_in, None, clock);
    (meter.telegram.every, meter.telegram.stands) = (Duration::from_millis(20), Duration::from_millis(400));
    let mut rig = Rig::start(meter, Mapping::default(), clock);
    rig.reading("a reading", |_| true).await;
    let stands = |error: &str| error.contains("no new telegram");
    rig.health("its telegram stands", true, |it| !it.online && it.last_error.as_deref().is_some_and(stands)).await;
    rig.skip();
    at(11);
    rig.reading("it speaks again", |_| true).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_old_telegram_is_no_newer_because_the_network_was_away() {
    let stand_in = StandIn::p1_v1().await.unwrap();
    stand_in.telegram(&["0-0:1.0.0(240702143010S)", "1-0:1.7.0(01.000*kW)"]);
    let clock = Clock::start();
    let mut meter = meter(&stand_in, None, clock);
    (meter.telegram.every, meter.telegram.stands) = (Duration::from_millis(20), Duration::from_millis(400));
    let mut rig = Rig::start(meter, Mapping::default(), clock);
    rig.reading("a reading", |_| true).await;
    let stands = |it: &crate::status::Health| it.last_error.as_deref().is_some_and(|it| it.contains("no new telegram"));
    let bad = rig.health("its telegram stands", true, |it| !it.online && stands(it)).await.bad;
    rig.skip();
    stand_in.no_telegrams();
    let bad = rig.health("it passes none on", false, |it| it.bad > bad && stands(it)).await.bad;
    stand_in.fault(HttpFault::Silent);
    rig.health("the network is away", false, |it| it.timeouts > 0).await;
    stand_in.fault(HttpFault::None);
    rig.health("and back, with the old values", false, |it| it.bad > bad + 3 && stands(it)).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_device_without_telegrams_is_a_risk_and_not_believed_before_its_values_move() {
    let stand_in = StandIn::p1_v1().await.unwrap();
    stand_in.no_telegrams();
    let mut rig = start(&stand_in, None);
    let risk = rig.risk("what is not seen").await.unwrap();
    assert!(risk.starts_with("meter `main`: it passes no telegram") && risk.contains("pair homewizard"), "{risk}");
    let unproven = |error: &str| error.contains("its values stand as they were found");
    rig.health("frozen values", false, |it| it.bad > 3 && it.last_error.as_deref().is_some_and(unproven)).await;
    stand_in.set("wifi_strength", json!(81));
    let bad = rig.health("what the device says of itself", false, |_| true).await.bad;
    rig.health("is no value of the meter", false, |it| it.bad > bad + 2).await;
    stand_in.set("active_power_w", json!(-544.0));
    rig.reading("values that moved", |_| true).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_meter_that_has_no_telegrams_by_its_kind_is_believed_and_not_asked_for_one() {
    let stand_in = StandIn::kwh1_v1().await.unwrap();
    let mut rig = start(&stand_in, None);
    for _ in 0..5 {
        rig.reading("a reading", |_| true).await;
    }
    rig.stop().await;
    assert!(stand_in.requests().iter().all(|it| !it.contains("telegram")));
}

#[tokio::test]
async fn an_api_that_is_switched_off_is_said_so() {
    let stand_in = StandIn::p1_v1().await.unwrap();
    stand_in.disable();
    let mut rig = start(&stand_in, None);
    let health = rig.health("the refusal", false, |it| it.bad > 0).await;
    assert!(health.last_error.unwrap().contains("HomeWizard app"));
    rig.stop().await;
}

#[tokio::test]
async fn version_2_pushes_over_tls_that_is_pinned_to_the_device() {
    let stand_in = StandIn::p1_v2(certificate()).await.unwrap();
    let mut rig = start(&stand_in, paired(&stand_in, TOKEN).await);
    let first = rig.reading("the first push", |_| true).await.reading;
    assert_eq!((first.power_total, first.current[Phase::L1]), (Some(Watt(-543)), Some(Milliamp(-4000))));
    let stamp = first.stamp.expect("version 2 has a time of its own");
    stand_in.set("power_w", json!(1234));
    let same = rig.reading("the next push", |it| it.reading.power_total == Some(Watt(1234))).await.reading;
    assert_eq!(same.stamp, Some(stamp), "the controller sees that nothing new was measured");
    stand_in.set("timestamp", json!("2024-06-28T14:12:35"));
    rig.reading("a new time", |it| it.reading.stamp == Some(stamp + 1)).await;
    rig.stop().await;
    assert!(!stand_in.requests().iter().any(|it| it.contains("/api/measurement")), "{:?}", stand_in.requests());
}

#[tokio::test]
async fn without_a_web_socket_version_2_is_polled() {
    let stand_in = StandIn::p1_v2(certificate()).await.unwrap();
    stand_in.allow_sockets(false);
    let mut rig = start(&stand_in, paired(&stand_in, TOKEN).await);
    let stamp = rig.reading("a reading", |_| true).await.reading.stamp.unwrap();
    let asked = || stand_in.requests().iter().filter(|it| it.contains("/api/measurement")).count();
    let until = asked() + 4;
    while asked() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stand_in.set("power_w", json!(77));
    stand_in.set("timestamp", json!("2024-06-28T14:12:35"));
    let next = rig.reading("another", |_| true).await.reading;
    assert_eq!(next.stamp, Some(stamp + 1), "the sample that was known was not told again");
    rig.stop().await;
}

#[tokio::test]
async fn a_socket_that_falls_silent_is_left_for_polling() {
    let stand_in = StandIn::p1_v2(certificate()).await.unwrap();
    let clock = Clock::start();
    let mut meter = meter(&stand_in, paired(&stand_in, TOKEN).await, clock);
    meter.push_patience = Duration::from_millis(100);
    let mut rig = Rig::start(meter, Mapping::default(), clock);
    rig.reading("the first push", |_| true).await;
    while !stand_in.requests().iter().any(|it| it.contains("/api/measurement")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for second in 35..38 {
        stand_in.set("timestamp", json!(format!("2024-06-28T14:12:{second}")));
        rig.reading("readings go on", |_| true).await;
    }
    rig.stop().await;
}

#[test]
fn the_patience_with_a_web_socket_follows_the_meters_own_pace() {
    let (least, start) = (PUSH_PATIENCE, Instant::now());
    let after = |ms| start + Duration::from_millis(ms);
    let mut pace = Pace::default();
    assert_eq!(pace.patience(least), Duration::from_secs(3));
    pace.heard(Some(100), true, start);
    pace.heard(Some(101), true, after(1000));
    assert_eq!(pace.patience(least), Duration::from_secs(3), "a stalled socket must not cost a meter of one second");
    // A slow meter is known by its stamps, also where they are asked for.
    for (stamp, ms) in [(110, 9_000), (110, 10_000), (110, 11_000), (120, 19_000)] {
        pace.heard(Some(stamp), false, after(ms));
    }
    assert_eq!(pace.patience(least), Duration::from_secs(15));
    pace.heard(Some(5000), true, after(900_000));
    assert_eq!(pace.patience(least), Duration::from_secs(15), "a gap is no pace");
    pace.heard(Some(4000), true, after(901_000));
    pace.heard(Some(4001), true, after(902_000));
    assert_eq!(pace.patience(least), Duration::from_secs(3));
    let mut without = Pace::default();
    without.heard(None, false, start);
    without.heard(None, false, after(5000));
    assert_eq!(without.interval, None, "our own questions are no pace");
    without.heard(None, true, after(6000));
    without.heard(None, true, after(10_000));
    assert_eq!(without.patience(least), Duration::from_secs(6));
}

#[tokio::test]
async fn somebody_else_at_its_address_and_a_token_that_was_revoked_give_nothing() {
    let stand_in = StandIn::p1_v2(certificate()).await.unwrap();
    let other = Some(Pairing { token: Secret::new(TOKEN.to_owned()), key: [7; 32] });
    let mut rig = start(&stand_in, other);
    let health = rig.health("another key", false, |it| it.bad > 0).await;
    let error = health.last_error.unwrap();
    assert!(error.contains("gridkeeper pair homewizard") && !error.contains(TOKEN), "{error}");
    assert!(
        stand_in.requests().iter().all(|it| it == "GET /api"),
        "the token was not shown: {:?}",
        stand_in.requests()
    );
    rig.stop().await;
    let mut rig = start(&stand_in, paired(&stand_in, "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF").await);
    let health = rig.health("a revoked token", false, |it| it.bad > 0).await;
    assert!(health.last_error.unwrap().contains("pair again"));
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_and_then_a_vanished_device_goes_offline() {
    let stand_in = StandIn::p1_v1().await.unwrap();
    let mut rig = start(&stand_in, None);
    rig.reading("a reading", |_| true).await;
    stand_in.fault(HttpFault::Slow(Duration::from_secs(5)));
    rig.health("too slow", true, |it| !it.online && it.timeouts > 0).await;
    drop(stand_in);
    rig.health("gone", true, |it| it.last_error.as_ref().is_some_and(|it| it.contains("refused"))).await;
    rig.stop().await;
}

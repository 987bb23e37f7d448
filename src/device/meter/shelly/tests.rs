use std::time::Duration;

use serde_json::{Value, json};

use super::super::p1::Mapping;
use super::super::rig::{Rig, address, limits};
use super::*;
use crate::clock::Clock;
use crate::config::model::Secret;
use crate::quantity::{Milliamp, Millivolt, Phase, Watt, WattHour};
use crate::simulator::http::{HttpFault, Shelly as StandIn};
use crate::status::{Health, Value as Shown};

fn meter(stand_in: &StandIn, channel: Option<u8>, password: Option<&str>) -> ShellyMeter {
    let login = password.map(|it| ("admin".to_owned(), Secret::new(it.to_owned())));
    ShellyMeter::new(Shelly::new(&address(stand_in.address(), false), login, limits()).unwrap(), channel)
}

fn start(meter: ShellyMeter) -> Rig {
    Rig::start(meter, Mapping::default(), Clock::start())
}

fn number(values: &crate::status::MeterValues, key: &str) -> Option<f64> {
    match values.values.get(key)? {
        Shown::Number { value, .. } => Some(*value),
        Shown::Text(_) => None,
    }
}

#[tokio::test]
async fn three_phases_of_either_generation_become_the_same_reading() {
    for stand_in in [StandIn::pro_3em().await.unwrap(), StandIn::gen1_3em().await.unwrap()] {
        let mut rig = start(meter(&stand_in, None, None));
        let told = rig.reading("a reading", |_| true).await;
        let reading = told.reading;
        assert_eq!(reading.power.0, [Some(Watt(1510)), Some(Watt(-842)), Some(Watt(0))]);
        assert_eq!(reading.current.0, [Some(Milliamp(6710)), Some(Milliamp(3660)), Some(Milliamp(10))]);
        assert_eq!(reading.voltage[Phase::L2], Some(Millivolt(232_000)));
        assert_eq!((reading.power_total, reading.current_signed), (Some(Watt(668)), false));
        assert_eq!((reading.energy_import, reading.energy_export), (Some(WattHour(902_569)), Some(WattHour(55_124))));
        assert_eq!((reading.stamp, reading.sampled_at), (None, None), "it has no time of its own");
        assert_eq!(number(&told.values, "current_l2_a"), Some(-3.66));
        assert_eq!(told.values.identity.manufacturer.as_deref(), Some("Shelly"));
        assert_eq!(told.values.identity.serial.as_deref(), Some("AABBCCDDEEFF"));
        rig.stop().await;
    }
}

#[tokio::test]
async fn one_channel_of_several_stands_on_the_phase_that_was_configured() {
    let stand_in = StandIn::pro_em().await.unwrap();
    let mapping = Mapping { phases: [Phase::L3, Phase::L1, Phase::L2], invert: true };
    let mut rig = Rig::start(meter(&stand_in, Some(1), None), mapping, Clock::start());
    let reading = rig.reading("a reading", |_| true).await.reading;
    assert_eq!(reading.power.0, [None, None, Some(Watt(460))], "mounted backwards");
    assert_eq!((reading.energy_import, reading.energy_export), (Some(WattHour(7000)), Some(WattHour(20))));
    rig.stop().await;
}

#[tokio::test]
async fn fast_values_are_asked_for_often_and_counters_rarely_over_one_login() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    stand_in.require_password("secret");
    let mut rig = start(meter(&stand_in, None, Some("secret")));
    for _ in 0..5 {
        rig.reading("a reading", |_| true).await;
    }
    stand_in.renew_nonce();
    for _ in 0..3 {
        rig.reading("a reading under a new challenge", |_| true).await;
    }
    rig.stop().await;
    let count = |uri: &str| stand_in.requests().iter().filter(|it| *it == uri).count();
    assert_eq!((count("/shelly"), count("/rpc/EMData.GetStatus?id=0")), (1, 1));
    assert!(count("/rpc/EM.GetStatus?id=0") >= 8);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_gives_no_reading() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    stand_in.require_password("secret");
    for (password, hint) in [(Some("other"), "not accepted"), (None, "password_file")] {
        let mut rig = start(meter(&stand_in, None, password));
        let health = rig.health("the refusal", false, |it| it.bad > 0).await;
        let error = health.last_error.unwrap();
        assert!(error.contains(hint) && error.contains("meter `main`") && !error.contains("other"), "{error}");
        assert!(!health.online);
        rig.stop().await;
    }
}

#[tokio::test]
async fn every_wrong_answer_is_counted_and_none_becomes_a_reading() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    let mut rig = start(meter(&stand_in, None, None));
    rig.reading("a reading", |_| true).await;
    let mut seen = 0;
    for (fault, word) in [
        (HttpFault::Garbage, "no JSON"),
        (HttpFault::Endless, "longer than 65536 bytes"),
        (HttpFault::Status(503), "503"),
        (HttpFault::Slow(Duration::from_secs(5)), "no answer within"),
        (HttpFault::Silent, "no answer within"),
    ] {
        stand_in.fault(fault);
        // What was on the way when the fault began is a reading still.
        let silent = matches!(fault, HttpFault::Slow(_) | HttpFault::Silent);
        // News of the fault before may still be on the way.
        let told =
            |it: &Health| it.bad + it.timeouts > seen && it.last_error.as_ref().is_some_and(|it| it.contains(word));
        let health = rig.health(word, true, |it| !it.online && told(it)).await;
        let counted = if silent { health.timeouts } else { health.bad };
        assert!(counted > 0, "{fault:?}: {health:?}");
        seen = health.bad + health.timeouts;
        rig.skip();
        stand_in.fault(HttpFault::None);
        rig.reading("it comes back by itself", |_| true).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_device_that_vanishes_goes_offline_and_another_one_is_asked_who_it_is() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    let mut rig = start(meter(&stand_in, None, None));
    rig.reading("a reading", |_| true).await;
    drop(stand_in);
    let health = rig.health("it is gone", true, |it| !it.online && it.timeouts > 0).await;
    assert!(health.last_error.unwrap().starts_with("meter `main`: http://127.0.0.1:"));
    rig.stop().await;
}

#[tokio::test]
async fn a_phase_that_failed_is_missing_and_a_meter_that_failed_says_nothing() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    let mut rig = start(meter(&stand_in, None, None));
    stand_in.set("/em:0/c_errors", json!(["power_meter_failure"]));
    let told = rig.reading("a phase is missing", |it| it.reading.power[Phase::L3].is_none()).await;
    assert_eq!(told.reading.current.0, [Some(Milliamp(6710)), Some(Milliamp(3660)), None]);
    assert_eq!(told.reading.power_total, None, "a sum of those that are measured would be too small");
    stand_in.set("/em:0/errors", json!(["power_meter_failure"]));
    rig.health("the meter failed", true, |it| {
        it.bad > 0 && it.last_error.as_ref().is_some_and(|it| it.contains("power_meter_failure"))
    })
    .await;
    stand_in.set("/em:0/errors", Value::Null);
    stand_in.set("/em:0/c_errors", Value::Null);
    stand_in.set("/em:0/a_current", json!("6.71"));
    rig.health("a text", true, |it| it.last_error.as_ref().is_some_and(|it| it.contains("`a_current` is a text")))
        .await;
    rig.stop().await;
}

#[tokio::test]
async fn a_counter_that_cannot_be_read_does_not_cost_the_power() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    stand_in.set("/emdata:0/total_act", json!("lots"));
    let asked = || stand_in.requests().iter().filter(|it| *it == "/rpc/EMData.GetStatus?id=0").count();
    let mut rig = start(meter(&stand_in, None, None));
    for _ in 0..5 {
        let told = rig.reading("a reading", |_| true).await;
        assert_eq!((told.reading.power_total, told.reading.energy_import), (Some(Watt(668)), None));
    }
    assert_eq!(asked(), 1, "it is not asked for again with every reading");
    rig.stop().await;
    let mut patient = meter(&stand_in, None, None);
    patient.counters.every = Duration::from_millis(50);
    let mut rig = start(patient);
    rig.reading("a reading without it", |it| it.reading.energy_import.is_none()).await;
    stand_in.set("/emdata:0/total_act", json!(902_568.9));
    let told = rig.reading("the counter", |it| it.reading.energy_import.is_some()).await;
    assert_eq!(told.reading.energy_import, Some(WattHour(902_569)));
    rig.stop().await;
}

#[tokio::test]
async fn a_counter_that_is_not_read_again_does_not_stand_for_ever() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    let mut meter = meter(&stand_in, None, None);
    (meter.counters.every, meter.counters.stand) = (Duration::from_millis(50), Duration::from_millis(300));
    let mut rig = start(meter);
    rig.reading("the counter", |it| it.reading.energy_import.is_some()).await;
    stand_in.set("/emdata:0/total_act", json!("lots"));
    let told = rig.reading("no counter", |it| it.reading.energy_import.is_none()).await;
    assert_eq!(told.reading.power_total, Some(Watt(668)));
    rig.health("why", true, |it| it.last_error.as_ref().is_some_and(|it| it.contains("counters cannot be read"))).await;
    rig.stop().await;
}

#[tokio::test]
async fn a_device_that_answers_but_no_longer_measures_gives_no_reading() {
    let stand_in = StandIn::plug().await.unwrap();
    let mut plug = meter(&stand_in, None, None);
    plug.minute.stands = Duration::from_millis(200);
    let mut rig = start(plug);
    let told = rig.reading("a reading", |_| true).await;
    assert_eq!((told.reading.power_total, told.reading.stamp), (Some(Watt(116)), None));
    rig.health("its minute stands", true, |it| {
        !it.online && it.last_error.as_ref().is_some_and(|it| it.contains("measured nothing"))
    })
    .await;
    rig.skip();
    stand_in.set("/switch:0/aenergy/minute_ts", json!(1_760_000_100));
    rig.reading("it measures again", |_| true).await;
    rig.stop().await;
}

#[test]
fn what_is_asked_for_rarely_is_not_taken_to_stand_still_in_between() {
    let (start, mut sign) = (Instant::now(), Sign::new(UPTIME_STANDS));
    let after = |seconds| start + Duration::from_secs(seconds);
    sign.heard(100, start);
    sign.heard(110, after(10));
    assert!(sign.moves("it stands").is_ok());
    sign.heard(110, after(20));
    assert!(sign.moves("it stands").is_err());
    sign.heard(111, after(21));
    assert!(sign.moves("it stands").is_ok());
}

#[tokio::test]
async fn a_device_whose_answers_are_old_ones_gives_no_reading() {
    for stand_in in
        [StandIn::gen1_3em().await.unwrap(), StandIn::pro_3em().await.unwrap(), StandIn::pro_em().await.unwrap()]
    {
        let mut meter = meter(&stand_in, None, None);
        meter.counters.every = Duration::from_millis(50);
        meter.uptime.stands = Duration::from_millis(1500);
        let mut rig = start(meter);
        rig.reading("a reading", |_| true).await;
        stand_in.freeze(true);
        rig.health("its uptime stands", true, |it| {
            !it.online && it.last_error.as_ref().is_some_and(|it| it.contains("uptime has stood still"))
        })
        .await;
        rig.skip();
        stand_in.freeze(false);
        rig.reading("it runs again", |_| true).await;
        rig.stop().await;
    }
}

#[tokio::test]
async fn an_uptime_that_stood_still_does_not_move_because_it_cannot_be_asked_for_or_the_network_was_away() {
    let stand_in = StandIn::pro_3em().await.unwrap();
    let mut meter = meter(&stand_in, None, None);
    meter.counters.every = Duration::from_millis(50);
    meter.uptime.stands = Duration::from_millis(1500);
    let mut rig = start(meter);
    rig.reading("a reading", |_| true).await;
    stand_in.freeze(true);
    let stands = |it: &Health| it.last_error.as_ref().is_some_and(|it| it.contains("uptime has stood still"));
    let bad = rig.health("its uptime stands", true, |it| !it.online && stands(it)).await.bad;
    rig.skip();
    stand_in.refuse("/rpc/Sys.GetStatus");
    let bad = rig.health("it is not asked for its uptime", false, |it| it.bad > bad + 5 && stands(it)).await.bad;
    stand_in.fault(HttpFault::Silent);
    rig.health("the network is away", false, |it| it.timeouts > 0).await;
    stand_in.fault(HttpFault::None);
    rig.health("and back, with the old values", false, |it| it.bad > bad + 5 && stands(it)).await;
    rig.stop().await;
}

//! Answers of a charger that are wrong in form: each names device and cause, is counted, and ends as the row of the
//! silent charger says.

use std::time::{Duration, Instant};

use gridkeeper::quantity::{Milliamp, Span};
use gridkeeper::simulator::{BusLink, BusPlan, ChargerFault, ChargerPlan, Plan};

use crate::meters::{amps, one_car, settled, steady};
use crate::scene::{QUICK_TIMING, Scene, Setting};

const SET_POINT: u16 = 15;

fn one_car_on(link: BusLink) -> Plan {
    let mut plan = one_car();
    let chargers: Vec<ChargerPlan> = plan.buses.remove(0).chargers;
    plan.buses.push(BusPlan { link, chargers });
    plan
}

/// A box that answers like this is told of and counted; it goes down to its fail-safe current by our word, which
/// reaches it, or by its own timer, and comes back when it answers well.
async fn wrong_answers_end_in_the_fail_safe_current(link: BusLink, fault: ChargerFault, cause: &str) {
    let setting = Setting { charger: vec!["fail_safe_current_a = 6\nwatchdog_s = 2\n".to_owned()], ..steady() };
    let scene = Scene::start(one_car_on(link), setting).await;
    settled(&scene).await;
    let before = scene.status().await["chargers"][0]["health"]["bad"].as_u64().unwrap();
    let since = Instant::now();
    scene.faults().charger(0, fault);
    scene
        .until_status("device and cause are named, and it is counted", |status| {
            let health = &status["chargers"][0]["health"];
            let error = health["last_error"].as_str().unwrap_or_default();
            health["bad"].as_u64() > Some(before) && error.contains("c0") && error.contains(cause)
        })
        .await;
    scene.event("charger_lost", "c0").await;
    let lost = Instant::now();
    scene.until_status("it is offline", |status| status["chargers"][0]["status"] == "offline").await;
    scene.until("its fail-safe current", |view| view.chargers[0].offered == amps(6)).await;
    scene.holds("no more than that", Duration::from_secs(1), |view| view.chargers[0].offered <= amps(6)).await;
    let requests = scene.requests_since(0, lost);
    let set_points = requests.iter().filter(|it| !it.is_read() && it.register == SET_POINT);
    let highest = set_points.map(|it| it.words[0]).max();
    assert!(highest <= Some(6), "{highest:?} A were written to a charger that is not understood");
    scene.faults().charger(0, ChargerFault::None);
    scene.event("charger_back", "c0").await;
    scene.charging(0, 20).await;
    assert_eq!(scene.overload_since(since, 25.0).longest, Span::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_wrong_length_are_told_counted_and_end_as_a_silent_charger() {
    wrong_answers_end_in_the_fail_safe_current(BusLink::Tcp, ChargerFault::WrongLength, "expected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_another_unit_are_told_counted_and_end_as_a_silent_charger() {
    wrong_answers_end_in_the_fail_safe_current(BusLink::Tcp, ChargerFault::WrongUnit, "expected an answer of unit 1")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_another_unit_on_a_serial_line_are_told_counted_and_end_as_a_silent_charger() {
    wrong_answers_end_in_the_fail_safe_current(BusLink::Rtu, ChargerFault::WrongUnit, "expected an answer of unit 1")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_modbus_are_told_counted_and_end_as_a_silent_charger() {
    wrong_answers_end_in_the_fail_safe_current(BusLink::RtuOverTcp, ChargerFault::Rubbish, "unit 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_are_told_counted_and_end_as_a_silent_charger() {
    let cause = "refused with exception 4 (server device failure)";
    wrong_answers_end_in_the_fail_safe_current(BusLink::Tcp, ChargerFault::Exception(4), cause).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_wrong_answer_is_counted_and_charging_goes_on() {
    // A busy machine is not to be taken for a silent charger.
    let timing = QUICK_TIMING.replace("charger_silent_s = 0.6", "charger_silent_s = 4");
    let scene = Scene::start(one_car(), Setting { timing, ..steady() }).await;
    settled(&scene).await;
    let since = Instant::now();
    let asked = scene.house.view().chargers[0].requests;
    scene.faults().charger(0, ChargerFault::WrongLength);
    scene.until("one wrong answer", |view| view.chargers[0].requests > asked).await;
    scene.faults().charger(0, ChargerFault::None);
    scene
        .until_status("counted, and answering again", |status| {
            let health = &status["chargers"][0]["health"];
            health["bad"].as_u64() >= Some(1) && health["online"] == true
        })
        .await;
    assert!(scene.history_since(since).iter().all(|it| it.offered[0] >= amps(20)), "charging was disturbed");
    assert_eq!(scene.events("charger_lost", "c0"), 0);
    assert!(scene.house.view().chargers[0].highest_draw() > Milliamp::ZERO);
}

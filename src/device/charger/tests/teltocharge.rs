//! What only a TeltoCharge has.

use std::time::Duration;

use super::rig::{Rig, amps, normal, telto_words};
use crate::command::{ChargerAction, ChargerCommand, Lock};
use crate::link::modbus::Operation;
use crate::quantity::{Milliamp, Span, Watt, WattHour};
use crate::reading::{ChargerObservation, OwnLimit, PilotState, Watchdog};

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_programmed_where_it_differs_and_read_back() {
    let mut words = telto_words();
    words.extend([(19, 0), (20, 32)]);
    let rig = Rig::telto_with(words);
    rig.hold(ChargerCommand { offer: None, contact: crate::command::Contact::Open, ..normal(amps(0)) }, 0.5).await;
    rig.line.heard();
    rig.hold(normal(amps(10)), 4.0).await;
    let heard = rig.line.heard();
    let programmed: Vec<_> = heard.iter().filter_map(super::rig::Telegram::written).filter(|it| it.0 > 15).collect();
    assert_eq!(programmed, [(20, 6), (19, 30)], "the current before the time");
    assert!(heard.iter().any(|it| it.operation == Operation::ReadHolding { address: 19, count: 2 }));
    let told = rig.told();
    assert_eq!(told.last_report().watchdog, Some(Watchdog { timeout: Span::from_secs(30), fail_safe: amps(6) }));
    assert_eq!(told.risk, None);
}

#[tokio::test(start_paused = true)]
async fn the_fail_safe_current_follows_the_order_and_is_not_rewritten_needlessly() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.hold(ChargerCommand { fail_safe: Milliamp::ZERO, ..order }, 120.0).await;
    let writes = rig.line.writes();
    assert_eq!(writes, [(20, 0)]);
}

#[tokio::test(start_paused = true)]
async fn somebody_who_changes_the_watchdog_is_corrected() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.set(19, 0);
    rig.hold(order, 3.0).await;
    assert_eq!(rig.line.writes(), [(19, 30)]);
    assert_eq!(rig.line.word(19), 30);
}

#[tokio::test(start_paused = true)]
async fn a_watchdog_that_cannot_be_set_is_a_risk_until_it_can() {
    let rig = Rig::telto();
    rig.line.set(20, 32);
    rig.line.lock().deaf = vec![20];
    rig.hold(ChargerCommand { contact: crate::command::Contact::Open, ..normal(amps(10)) }, 20.0).await;
    let told = rig.told();
    let risk = told.risk.unwrap();
    assert_eq!(
        risk,
        "charger left: its fail-safe timer could not be set to 30 s and 6 A (registers 19 and 20): reads back 30 s and 32 A"
    );
    rig.line.lock().deaf.clear();
    rig.hold(normal(amps(10)), 90.0).await;
    assert_eq!(rig.line.word(20), 6);
    let told = rig.told();
    assert_eq!(told.risk, None);
    assert_eq!(told.last_report().watchdog.unwrap().fail_safe, amps(6));
}

#[tokio::test(start_paused = true)]
async fn on_a_full_bus_most_polls_are_short_and_a_new_state_is_looked_at_in_full() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.lock().round = Duration::from_millis(900);
    rig.hold(order, 12.0).await;
    let lengths =
        |heard: Vec<super::rig::Telegram>| -> Vec<usize> { heard.iter().map(|it| it.operation.count()).collect() };
    let counts = lengths(rig.line.heard());
    assert!(counts.iter().all(|count| [21, 45].contains(count)), "{counts:?}");
    let long = counts.iter().filter(|count| **count == 45).count();
    assert!((3..=5).contains(&long), "{counts:?}");
    // Energy is told in between, too.
    assert!(rig.told().last_report().energy.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_older_register_map_is_read_as_far_as_it_goes() {
    let mut words = telto_words();
    words.retain(|register, _| *register < 34);
    let rig = Rig::telto_with(words);
    rig.settle(amps(10)).await;
    rig.hold(normal(amps(10)), 5.0).await;
    rig.line.heard();
    rig.hold(normal(amps(10)), 5.0).await;
    let heard = rig.line.heard();
    assert!(heard.iter().all(|it| it.operation.count() == 34), "{heard:?}");
    let told = rig.told();
    assert_eq!(told.unconfirmed(), []);
    let report = told.last_report();
    assert_eq!((report.energy, report.own_limit), (None, Some(amps(32))));
    assert!(report.fault.is_unknown() && report.warning.is_unknown());
    let error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert_eq!(
        &*error,
        "charger left: registers 34 to 44 are refused, so errors, warnings, power and energy cannot be told"
    );
}

#[tokio::test(start_paused = true)]
async fn a_map_that_was_refused_for_a_moment_is_read_in_full_and_one_that_was_refused_for_long_is_tried_again() {
    let mut words = telto_words();
    words.extend([(35, 1), (38, 4100)]);
    let rig = Rig::telto_with(words.clone());
    let order = rig.settle(amps(10)).await;
    let known = |rig: &Rig| {
        let report = rig.told().last_report();
        (report.power, report.fault.to_string())
    };
    let all = (Some(Watt(4100)), "input voltage not in range".to_owned());
    // As a box answers that saves its settings.
    rig.line.lock().words.retain(|register, _| *register < 34);
    rig.hold(order, 1.9).await;
    rig.line.lock().words.clone_from(&words);
    rig.hold(order, 3.0).await;
    assert_eq!(known(&rig), all, "two refusals are no end of its map");
    rig.line.lock().words.retain(|register, _| *register < 34);
    rig.hold(order, 20.0).await;
    assert_eq!(known(&rig), (None, "unknown".to_owned()));
    rig.line.lock().words.clone_from(&words);
    rig.line.heard();
    rig.hold(order, 185.0).await;
    assert_eq!(known(&rig), all, "asked for in full again");
    let tries = rig.line.heard().iter().filter(|it| it.operation.count() == 45).count();
    assert!((1..=40).contains(&tries), "not before its time: {tries}");
}

#[tokio::test(start_paused = true)]
async fn a_map_that_stays_short_is_tried_in_full_every_few_minutes_and_found_longer_after_a_new_contact() {
    let mut words = telto_words();
    words.retain(|register, _| *register < 37);
    let rig = Rig::telto_with(words);
    let order = rig.settle(amps(10)).await;
    rig.line.heard();
    rig.told();
    rig.hold(order, 540.0).await;
    let tries = rig.line.heard().iter().filter(|it| it.operation.count() == 45).count();
    assert_eq!(tries, 3);
    let told = rig.told();
    assert!(!told.last_report().fault.is_unknown(), "what its map has is known all the time");
    assert_eq!(told.unconfirmed(), []);
    // Exchanged for one with the whole map.
    rig.line.lock().words = telto_words();
    rig.hold(ChargerCommand { verify_watchdog: 1, ..order }, 3.0).await;
    assert_eq!(rig.told().last_report().energy, Some(WattHour(5000)));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_session_is_authorised_and_only_then() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.set(6, 5);
    rig.hold(order, 8.0).await;
    assert_eq!(rig.line.writes(), [(17, 1)], "not more often than every ten seconds");
    assert!(rig.told().last_report().needs_authorization);
    rig.line.set(6, 1);
    rig.hold(order, 30.0).await;
    assert_eq!(rig.line.writes(), []);
}

#[tokio::test(start_paused = true)]
async fn phases_are_ordered_where_the_box_can() {
    let rig = Rig::telto();
    let order = rig.settle(Milliamp::ZERO).await;
    rig.hold(ChargerCommand { phases: Some(1), ..order }, 5.0).await;
    rig.hold(ChargerCommand { phases: Some(3), ..order }, 15.0).await;
    assert_eq!(rig.line.writes(), [(14, 0), (14, 6)]);
    rig.line.set(11, 0);
    rig.hold(ChargerCommand { phases: Some(1), ..order }, 30.0).await;
    assert_eq!(rig.line.writes(), [], "phase change not possible");
}

/// The order was right when it was given; since then the box restarted, and its car draws.
#[tokio::test(start_paused = true)]
async fn phases_are_not_switched_while_something_is_offered_or_flows() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.hold(ChargerCommand { phases: Some(1), ..order }, 20.0).await;
    assert_eq!(rig.line.writes(), [], "10 A are offered");
    rig.line.set(4, 10);
    let order = ChargerCommand { offer: Some(Milliamp::ZERO), phases: Some(1), ..order };
    rig.hold(order, 20.0).await;
    assert_eq!(rig.line.writes(), [(15, 0)], "1 A flows on one of them");
    rig.line.set(4, 9);
    rig.hold(order, 5.0).await;
    assert_eq!(rig.line.writes(), [(14, 0)]);
}

#[tokio::test(start_paused = true)]
async fn open_stops_the_session_and_lets_it_go_on() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.set(6, 0);
    rig.hold(ChargerCommand { open: true, offer: Some(Milliamp::ZERO), ..order }, 15.0).await;
    assert_eq!(rig.line.writes(), [(15, 0), (16, 1), (16, 1)], "asked again while it still charges");
    rig.line.set(6, 3);
    rig.hold(ChargerCommand { open: true, offer: Some(Milliamp::ZERO), ..order }, 60.0).await;
    assert_eq!(rig.line.writes(), []);
    rig.hold(order, 5.0).await;
    assert_eq!(rig.line.writes(), [(15, 10), (16, 2)]);
}

#[tokio::test(start_paused = true)]
async fn wishes_are_done_once() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    let wishes = [
        (ChargerAction::Authorize, (17, 1)),
        (ChargerAction::Lock(Lock::Locked), (18, 1)),
        (ChargerAction::Lock(Lock::Unlock), (18, 2)),
        (ChargerAction::Lock(Lock::Auto), (18, 0)),
        (ChargerAction::Reboot, (21, 1)),
    ];
    for (wish, write) in wishes {
        rig.actions.send(wish).await.unwrap();
        rig.hold(order, 3.0).await;
        assert_eq!(rig.line.writes(), [write]);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_and_causes_reach_the_controller() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.set(29, 13);
    rig.line.set(36, 7);
    rig.line.set(35, 1 << 5);
    rig.line.set(6, 8);
    rig.hold(order, 2.0).await;
    let report = rig.told().last_report();
    assert_eq!((report.own_limit, report.own_limit_cause), (Some(amps(13)), Some(OwnLimit::Temperature)));
    assert_eq!((report.state, report.fault.to_string().as_str()), (PilotState::F, "temperature error"));
}

#[tokio::test(start_paused = true)]
async fn what_a_firmware_stops_answering_is_not_told_as_it_was() {
    let mut words = telto_words();
    words.extend([(38, 4100), (41, 500), (42, 0), (43, 0), (44, 0), (35, 1)]);
    let rig = Rig::telto_with(words);
    let order = rig.settle(amps(10)).await;
    rig.hold(order, 3.0).await;
    let report = rig.told().last_report();
    assert_eq!((report.power, report.energy), (Some(Watt(4100)), Some(WattHour(5000))));
    assert!(!report.fault.is_empty());
    // Its map ends at 33 from now on, as after an older firmware was put on it.
    rig.line.lock().words.retain(|register, _| *register < 34);
    rig.hold(order, 12.0).await;
    let report = rig.told().last_report();
    assert_eq!((report.power, report.energy, report.fault.is_unknown()), (None, None, true));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_its_own_that_is_garbled_or_no_longer_read_is_kept() {
    let mut words = telto_words();
    words.extend([(12, 16), (29, 13)]);
    let rig = Rig::telto_with(words);
    let order = rig.settle(amps(10)).await;
    for (twelve, twenty_nine, limit) in
        [(16, 13, 13), (16, 3, 13), (3, 13, 13), (16, 0xFFFF, 16), (200, 0xFFFF, 16), (12, 13, 12), (16, 13, 13)]
    {
        rig.line.lock().words.extend([(12, twelve), (29, twenty_nine)]);
        rig.hold(order, 3.0).await;
        let found = rig.told().last_report().own_limit;
        assert_eq!(found, Some(amps(limit)), "registers 12 and 29 hold {twelve} and {twenty_nine}");
    }
    rig.line.lock().words.retain(|register, _| *register < 25);
    rig.hold(order, 15.0).await;
    rig.hold(ChargerCommand { verify_watchdog: 1, ..order }, 15.0).await;
    let told = rig.told();
    let limits = told.observations.iter().filter_map(|it| match it {
        ChargerObservation::Report(report) => Some(report.own_limit),
        _ => None,
    });
    assert_eq!(limits.filter(|it| *it != Some(amps(13))).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_before_our_restart_is_taken_back() {
    let mut words = telto_words();
    words.insert(16, 1);
    let rig = Rig::telto_with(words);
    rig.settle(amps(10)).await;
    rig.hold(normal(amps(10)), 15.0).await;
    assert_eq!(rig.line.word(16), 2, "or the car would never charge again");
}

#[tokio::test(start_paused = true)]
async fn a_refused_wish_is_said_and_is_no_silence() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.lock().refused = vec![18];
    rig.actions.send(ChargerAction::Lock(Lock::Locked)).await.unwrap();
    rig.hold(order, 3.0).await;
    let told = rig.told();
    assert_eq!(told.unconfirmed(), []);
    let error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert_eq!(&*error, "charger left: Lock(Locked): memory: refused with exception 2 (refused)");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_repeated_slowly_and_the_timer_is_kept_all_the_same() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.lock().refused = vec![16];
    rig.line.set(19, 0);
    rig.hold(ChargerCommand { open: true, ..order }, 35.0).await;
    assert_eq!(rig.line.word(19), 30);
    assert_eq!(rig.told().unconfirmed(), []);
    let stops = rig.line.writes().iter().filter(|it| it.0 == 16).count();
    assert!((3..=4).contains(&stops), "{stops}");
    rig.line.lock().refused.clear();
    rig.hold(ChargerCommand { open: true, ..order }, 11.0).await;
    assert_eq!(rig.line.word(16), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_refused_is_a_risk_and_no_silence() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.lock().refused = vec![20];
    rig.line.set(20, 16);
    rig.hold(order, 20.0).await;
    let told = rig.told();
    assert_eq!(told.unconfirmed(), []);
    let risk = told.risk.unwrap();
    assert!(risk.contains("refused with exception 2"), "{risk}");
}

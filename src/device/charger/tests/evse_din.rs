//! What only an EVSE-DIN has.

use std::time::Duration;

use super::rig::{Fault, Rig, amps, evse_words, normal};
use crate::command::{ChargerAction, ChargerCommand, Contact};
use crate::quantity::Milliamp;
use crate::reading::{ChargerObservation, OwnLimit, PilotState};

const FINE: u16 = 1 << 7;

#[tokio::test(start_paused = true)]
async fn new_firmware_is_switched_to_hundredths_and_old_is_not() {
    let rig = Rig::evse(17);
    rig.line.set(2005, 1 << 13);
    rig.settle(amps(10)).await;
    assert_eq!(rig.line.word(2005), FINE | 1 << 13, "the other bits are kept");
    assert_eq!(rig.line.word(1000), 1000, "written anew in the new unit");
    rig.hold(normal(Milliamp(9_759)), 2.0).await;
    assert_eq!(rig.line.writes(), [(1000, 975)]);
    let told = rig.told();
    assert_eq!(told.written(), [Milliamp(9_750)]);
    assert_eq!(told.last_report().set_point, Some(Milliamp(9_750)));

    let rig = Rig::evse(16);
    rig.settle(amps(10)).await;
    assert_eq!((rig.line.word(2005), rig.line.word(1000)), (0, 10));
    rig.hold(normal(Milliamp(9_750)), 2.0).await;
    assert_eq!(rig.line.writes(), [(1000, 9)]);
    assert_eq!(rig.told().written(), [amps(9)]);
}

#[tokio::test(start_paused = true)]
async fn whole_amperes_are_kept_where_the_bit_does_not_stay_or_is_not_wanted() {
    let rig = Rig::evse(17);
    rig.line.lock().deaf = vec![2005];
    rig.settle(amps(10)).await;
    rig.hold(normal(Milliamp(9_750)), 60.0).await;
    assert_eq!(rig.line.writes(), [(1000, 9)], "and it is not tried again and again");

    let rig = Rig::evse_with(evse_words(20), false);
    rig.settle(amps(10)).await;
    assert_eq!((rig.line.word(2005), rig.line.word(1000)), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn the_unit_is_not_changed_under_a_charging_car() {
    let rig = Rig::evse(17);
    rig.line.set(1002, 3);
    let order = rig.settle(amps(12)).await;
    assert_eq!((rig.line.word(2005), rig.line.word(1000)), (0, 12));
    rig.line.set(1002, 2);
    rig.hold(order, 5.0).await;
    assert_eq!((rig.line.word(2005), rig.line.word(1000)), (FINE, 1200));
}

#[tokio::test(start_paused = true)]
async fn a_box_that_counts_in_hundredths_already_is_understood_before_it_is_written() {
    let mut words = evse_words(17);
    words.extend([(2005, FINE), (1000, 1600), (1001, 1600), (1002, 3)]);
    let rig = Rig::evse_with(words, true);
    rig.hold(ChargerCommand { contact: Contact::Open, ..ChargerCommand::default() }, 0.5).await;
    assert_eq!(rig.told().last_report().set_point, Some(amps(16)));
    rig.hold(ChargerCommand { contact: Contact::Open, ..normal(amps(6)) }, 1.0).await;
    assert_eq!(rig.line.writes(), [(1000, 600)], "never 6, which would be 0.06 A");
}

#[tokio::test(start_paused = true)]
async fn zero_is_written_without_asking_for_the_unit() {
    let rig = Rig::evse(17);
    rig.hold(ChargerCommand { contact: Contact::Open, ..ChargerCommand::default() }, 0.1).await;
    rig.line.heard();
    rig.order(ChargerCommand { contact: Contact::Open, ..normal(Milliamp::ZERO) });
    rig.pass(0.03).await;
    assert_eq!(rig.line.heard()[0].written(), Some((1000, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_box_that_lost_its_unit_is_asked_again() {
    let rig = Rig::evse(17);
    let order = rig.settle(amps(10)).await;
    // Power cut, and the bit was not kept.
    rig.line.lock().words.extend([(2005, 0), (1000, 32)]);
    rig.line.lock().deaf = vec![2005];
    rig.hold(order, 2.0).await;
    assert_eq!(rig.told().last_report().set_point, Some(amps(32)));
    rig.hold(ChargerCommand { rewrite: 1, verify_watchdog: 1, ..order }, 3.0).await;
    let set_points: Vec<_> = rig.line.writes().into_iter().filter(|it| it.0 == 1000).collect();
    assert_eq!(set_points.first(), Some(&(1000, 10)), "never 1000 to a box that counts whole amperes");
}

#[tokio::test(start_paused = true)]
async fn a_current_after_boot_above_the_fail_safe_current_stands_as_a_risk() {
    let rig = Rig::evse(16);
    rig.line.set(2000, 32);
    rig.hold(ChargerCommand { contact: Contact::Open, ..normal(amps(10)) }, 8.0).await;
    let risk = rig.told().risk.unwrap();
    assert!(risk.starts_with("charger left: after a power cut it offers 32 A by itself (register 2000)"), "{risk}");
    assert!(risk.contains("Write 6 to register 2000 of unit 3"), "{risk}");
    rig.line.set(2000, 6);
    rig.hold(ChargerCommand { verify_watchdog: 1, ..normal(amps(10)) }, 8.0).await;
    assert_eq!(rig.told().risk, None);
    let rig = Rig::evse(16);
    rig.settle(amps(10)).await;
    assert_eq!(rig.told().risk, None);
}

#[tokio::test(start_paused = true)]
async fn states_offer_and_cable_reach_the_controller() {
    let rig = Rig::evse(16);
    let order = rig.settle(amps(10)).await;
    rig.line.lock().words.extend([(1001, 10), (1002, 3), (1003, 20)]);
    rig.hold(order, 5.0).await;
    let report = rig.told().last_report();
    assert_eq!((report.state, report.offered), (PilotState::C, Some(amps(10))));
    assert_eq!((report.own_limit, report.own_limit_cause), (Some(amps(16)), Some(OwnLimit::Cable)));
    assert_eq!(report.current.0, [None; 3], "it measures nothing");
    assert_eq!((report.energy, report.power, report.watchdog), (None, None, None));
    rig.line.set(1002, 5);
    rig.hold(order, 2.0).await;
    assert!(!rig.told().last_report().fault.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cable_that_cannot_be_raises_nothing() {
    let rig = Rig::evse(16);
    rig.line.set(1003, 13);
    let order = rig.settle(amps(10)).await;
    rig.line.heard();
    let mut bad = rig.told().health.last().map_or(0, |it| it.1.bad);
    for garbled in [3, 81, 0xFFFE] {
        rig.line.set(1003, garbled);
        rig.hold(order, 45.0).await;
        assert!(rig.line.heard().iter().any(|it| it.operation.address() == 1003), "it was read");
        let told = rig.told();
        let limits = told.observations.iter().filter_map(|it| match it {
            ChargerObservation::Report(report) => Some(report.own_limit),
            _ => None,
        });
        assert_eq!(limits.filter(|it| *it != Some(amps(13))).count(), 0, "register 1003 = {garbled}");
        let health = &told.health.last().unwrap().1;
        assert!(health.bad > bad && health.online, "counted: {health:?}");
        bad = health.bad;
    }
    for (word, limit) in [(16, Some(amps(16))), (0, None)] {
        rig.line.set(1003, word);
        rig.hold(order, 45.0).await;
        assert_eq!(rig.told().last_report().own_limit, limit, "register 1003 = {word}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_read_per_round_and_one_slow_register_at_most() {
    let rig = Rig::evse(16);
    rig.settle(amps(10)).await;
    assert_eq!(rig.line.lock().pause, Duration::from_millis(150));
    rig.hold(normal(amps(10)), 60.0).await;
    let heard = rig.line.heard();
    assert!(heard.len() <= 65, "{}", heard.len());
    assert!(heard.iter().filter(|it| it.operation.address() == 1000).count() >= 55);
}

#[tokio::test(start_paused = true)]
async fn what_it_cannot_do_is_said_and_sends_nothing() {
    let rig = Rig::evse(16);
    let order = rig.settle(amps(10)).await;
    rig.actions.send(ChargerAction::Reboot).await.unwrap();
    rig.hold(order, 3.0).await;
    assert_eq!(rig.line.writes(), []);
    let told = rig.told();
    assert_eq!(told.unconfirmed(), []);
    let error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert_eq!(&*error, "charger left: Reboot: an EVSE-DIN has no register for it");
}

#[tokio::test(start_paused = true)]
async fn a_box_without_the_registers_beside_the_poll_is_no_silent_one() {
    let rig = Rig::evse(17);
    rig.line.lock().refused = vec![1003, 1005, 2000, 2005];
    rig.hold(ChargerCommand { contact: Contact::Open, ..normal(amps(10)) }, 8.0).await;
    rig.hold(normal(amps(12)), 60.0).await;
    assert_eq!(rig.line.word(1000), 12, "in whole amperes");
    let told = rig.told();
    assert_eq!(told.unconfirmed(), []);
    assert!(told.written().contains(&amps(12)));
    let risk = told.risk.unwrap();
    assert!(risk.starts_with("charger left: boot current unknown: memory: refused with exception 2"), "{risk}");
    assert!(risk.contains("register 2000 of unit 3"), "{risk}");
    assert_eq!(told.identity.unwrap().firmware, None);
    let heard = rig.line.heard();
    for register in [1003, 1005, 2000] {
        let asked = heard.iter().filter(|it| it.operation.address() == register && it.operation.count() == 1).count();
        // As holding and as input register where nothing was proven yet.
        assert!((1..=2).contains(&asked), "register {register} was asked for {asked} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_current_after_boot_that_is_none_is_a_risk_and_no_silence() {
    let rig = Rig::evse(16);
    rig.line.set(2000, 0xFFFF);
    rig.line.set(1003, 500);
    rig.hold(ChargerCommand { contact: Contact::Open, ..normal(amps(10)) }, 8.0).await;
    let told = rig.told();
    assert_eq!(told.unconfirmed(), []);
    let risk = told.risk.unwrap();
    assert!(risk.contains("boot current unknown: register 2000 (current after boot) holds 65535"), "{risk}");
    assert!(told.identity.is_some(), "what comes later is done all the same");
}

#[tokio::test(start_paused = true)]
async fn a_box_that_was_away_for_a_moment_is_asked_for_its_unit_before_it_is_written() {
    let rig = Rig::evse(17);
    rig.settle(Milliamp(9_750)).await;
    assert_eq!(rig.line.word(1000), 975);
    rig.line.set(1002, 3);
    rig.hold(normal(Milliamp(9_750)), 2.0).await;
    // Without supply while the order changes; back before it is given up, with the current and the unit of its start.
    rig.line.fault(Fault::Dead);
    rig.hold(normal(Milliamp(9_250)), 1.5).await;
    rig.line.lock().words.extend([(2005, 0), (1000, 0), (1001, 0)]);
    rig.line.fault(Fault::None);
    rig.line.heard();
    rig.hold(normal(Milliamp(9_250)), 4.0).await;
    let writes: Vec<_> = rig.line.writes().into_iter().filter(|it| it.0 == 1000).collect();
    assert!(!writes.is_empty() && writes.iter().all(|it| it.1 == 9), "925 would be 925 A: {writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_box_is_sent_its_set_point_alone_and_asked_for_its_unit_when_it_answers_again() {
    let rig = Rig::evse(17);
    rig.settle(Milliamp(9_750)).await;
    rig.line.set(1002, 3);
    rig.hold(normal(Milliamp(9_750)), 2.0).await;
    rig.line.fault(Fault::ReturnDead);
    rig.hold(normal(Milliamp(9_750)), 3.0).await;
    rig.line.heard();
    rig.hold(ChargerCommand { contact: Contact::WriteFirst(1), ..normal(amps(6)) }, 3.0).await;
    let heard = rig.line.heard();
    assert!(!heard.is_empty() && heard.iter().all(|it| it.written() == Some((1000, 600))), "{heard:?}");
    rig.line.lock().words.extend([(2005, 0), (1000, 6), (1001, 6)]);
    rig.line.fault(Fault::None);
    rig.line.heard();
    rig.hold(normal(Milliamp(9_250)), 4.0).await;
    let writes: Vec<_> = rig.line.heard().iter().filter_map(|it| it.written()).filter(|it| it.0 == 1000).collect();
    assert!(!writes.is_empty() && writes.iter().all(|it| it.1 == 9), "925 would be 925 A: {writes:?}");
}

//! What a charger task does with orders and leases, whatever the charger.

use std::time::Duration;

use super::rig::{Fault, Rig, amps, evse_words, normal, telto_words};
use crate::command::{ChargerAction, ChargerCommand, Contact, Leased, Lock};
use crate::config::model::{ChargerDriver, Connection};
use crate::device::charger::actions;
use crate::event::EventType;
use crate::link::modbus::{Operation, Priority};
use crate::quantity::{Milliamp, Mono};
use crate::reading::{ChargerObservation, PilotState};

const SET_POINT: u16 = 15;

fn open() -> ChargerCommand {
    ChargerCommand { contact: Contact::Open, fail_safe: amps(6), ..ChargerCommand::default() }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_first_lease() {
    let rig = Rig::telto();
    rig.pass(4.9).await;
    assert_eq!(rig.line.heard(), []);
}

#[tokio::test(start_paused = true)]
async fn without_any_lease_a_charger_is_lowered_to_the_configured_fail_safe_current() {
    let rig = Rig::telto();
    rig.pass(10.0).await;
    let heard = rig.line.heard();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(matches!(heard[0].operation, Operation::ReadHolding { address: 0, count: 21 }));
    assert_eq!(heard[1].written(), Some((SET_POINT, 6)));
    assert!(heard[2].written().is_none(), "read back");
    assert!(heard[0].at >= Mono(5000));
    rig.pass(100.0).await;
    assert_eq!(rig.line.heard(), []);
}

#[tokio::test(start_paused = true)]
async fn without_any_lease_a_fail_safe_current_of_zero_is_written_and_read_back_as_well() {
    let rig = Rig::telto_that_falls_to(Milliamp::ZERO, telto_words());
    rig.line.lock().deaf = vec![SET_POINT];
    rig.pass(7.0).await;
    let heard = rig.line.heard();
    assert_eq!(heard[0].written(), Some((SET_POINT, 0)), "nothing is less, so it need not be read before: {heard:?}");
    assert!(heard[1].written().is_none() && heard[2].written() == Some((SET_POINT, 0)), "{heard:?}");
    rig.line.lock().deaf.clear();
    rig.pass(60.0).await;
    assert_eq!(rig.line.word(SET_POINT), 0);
    let heard = rig.line.heard();
    assert!(heard.last().unwrap().written().is_none(), "{heard:?}");
    rig.pass(600.0).await;
    assert_eq!(rig.line.heard(), []);
}

#[tokio::test(start_paused = true)]
async fn an_order_without_a_lease_orders_nothing() {
    let rig = Rig::telto();
    rig.orders.send_replace(Leased::never(ChargerCommand { fail_safe: amps(6), ..normal(amps(16)) }));
    rig.pass(10.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 6)]);
}

#[tokio::test(start_paused = true)]
async fn the_first_contact_reads_then_obeys_and_asks_for_the_identity_last() {
    let rig = Rig::telto();
    rig.line.set(20, 16);
    rig.hold(open(), 0.2).await;
    let heard = rig.line.heard();
    assert_eq!(heard.len(), 1, "one read, then the order: {heard:?}");
    assert_eq!(heard[0].operation, Operation::ReadHolding { address: 0, count: 21 });
    let report = rig.told().last_report();
    assert_eq!((report.state, report.set_point), (PilotState::B, Some(amps(10))));
    assert!(report.read_begun < report.received_at);

    rig.hold(ChargerCommand { offer: Some(amps(6)), ..open() }, 3.0).await;
    let telegrams = rig.line.heard();
    let writes: Vec<_> = telegrams.iter().filter_map(super::rig::Telegram::written).collect();
    assert_eq!(writes, [(SET_POINT, 6), (20, 6)], "set-point before watchdog");
    let told = rig.told();
    assert_eq!(told.written(), [amps(6)]);
    assert_eq!(told.identity.unwrap().model.as_deref(), Some("TeltoCharge EVC1210"));
    let long = telegrams.iter().position(|it| it.operation == Operation::ReadHolding { address: 0, count: 45 });
    let first_write = telegrams.iter().position(|it| it.written().is_some());
    assert!(first_write < long, "identity after the set-point");
}

#[tokio::test(start_paused = true)]
async fn an_offer_that_stands_already_is_not_written_again() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.hold(normal(amps(10)), 60.0).await;
    let heard = rig.line.heard();
    assert!(heard.iter().all(|it| it.written().is_none()), "{heard:?}");
    assert!((55..=65).contains(&heard.len()), "one read per second: {}", heard.len());
}

#[tokio::test(start_paused = true)]
async fn a_changed_order_is_written_at_once_and_reductions_overtake() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    for (offer, priority) in [(16, Priority::SetPoint), (8, Priority::Reduction), (0, Priority::Reduction)] {
        rig.pass(0.3).await;
        rig.line.heard();
        let before = rig.clock.now();
        rig.order(normal(amps(offer)));
        rig.pass(0.1).await;
        let write = rig.line.heard().into_iter().find(|it| it.written().is_some()).unwrap();
        assert_eq!(write.written(), Some((SET_POINT, offer as u16)));
        assert_eq!(write.priority, priority);
        assert_eq!(write.at.since(before).0, 20, "only the line's own time");
        assert_eq!(rig.told().written(), [amps(offer)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait_for_a_slow_poll() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.lock().answer_time = Duration::from_millis(900);
    rig.hold(normal(amps(10)), 3.0).await;
    rig.line.lock().answer_time = Duration::from_millis(20);
    // A poll is under way that was begun with the long time.
    rig.line.heard();
    rig.order(normal(amps(6)));
    rig.pass(0.05).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 6)]);
}

#[tokio::test(start_paused = true)]
async fn a_reduction_takes_the_place_of_a_raise_that_was_not_sent() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.lock().answer_time = Duration::from_millis(400);
    rig.order(normal(amps(16)));
    rig.pass(0.1).await;
    rig.order(normal(amps(6)));
    rig.pass(1.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 6)]);
}

#[tokio::test(start_paused = true)]
async fn rewrite_writes_the_same_offer_again() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.set(SET_POINT, 32);
    rig.hold(order, 3.0).await;
    assert_eq!(rig.line.writes(), [], "who fights, and how often, is the controller's decision");
    assert_eq!(rig.told().last_report().set_point, Some(amps(32)));
    rig.hold(ChargerCommand { rewrite: 1, ..order }, 3.0).await;
    let heard = rig.line.heard();
    let writes: Vec<_> = heard.iter().filter(|it| it.written().is_some()).collect();
    assert_eq!(writes.len(), 1);
    assert_eq!((writes[0].written(), writes[0].priority), (Some((SET_POINT, 10)), Priority::Reduction));
}

#[tokio::test(start_paused = true)]
async fn nothing_above_the_wired_maximum_and_nothing_below_six_is_written() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    for (offer, word) in [(Milliamp(99_000), 16), (Milliamp(5_999), 0), (Milliamp(9_999), 9), (Milliamp(-7000), 0)] {
        rig.hold(normal(offer), 1.5).await;
        assert_eq!(rig.line.writes(), [(SET_POINT, word)], "{offer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_says_what_may_stand_and_is_tried_once_per_period_without_polls() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.fault(Fault::ReturnDead);
    rig.hold(normal(amps(16)), 0.7).await;
    rig.hold(normal(amps(6)), 5.0).await;
    let heard = rig.line.heard();
    assert!(heard.len() <= 7, "one attempt per period: {heard:?}");
    let told = rig.told();
    assert_eq!(told.written(), []);
    assert!(told.unconfirmed().contains(&Some(amps(16))));
    assert_eq!(told.unconfirmed().last(), Some(&Some(amps(16))), "the raise may still stand: {told:?}");
    rig.line.fault(Fault::None);
    rig.hold(normal(amps(6)), 3.0).await;
    assert_eq!(rig.told().written(), [amps(6)]);
}

#[tokio::test(start_paused = true)]
async fn a_charger_that_refuses_writes_is_still_read() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.lock().unknown_functions = vec![6, 16];
    rig.hold(normal(amps(6)), 5.0).await;
    let told = rig.told();
    let reports = told.observations.iter().filter(|it| matches!(it, ChargerObservation::Report(_))).count();
    assert!(reports >= 4, "{told:?}");
    assert!(told.unconfirmed().len() >= 4 && told.unconfirmed().iter().all(Option::is_none));
    let last_error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert!(last_error.starts_with("charger left: set-point of 6 A: memory: refused with exception 1"), "{last_error}");
    assert!(told.health.last().unwrap().1.refused >= 4);
    assert!(told.health.iter().all(|(_, it)| it.online), "a refusal is an answer: {:?}", told.health);
    assert!(told.health.last().unwrap().1.unled);
    assert_eq!(told.events.len(), 1, "told once: {:?}", told.events);
    assert_eq!((told.events[0].event_type, &*told.events[0].subject), (EventType::NotObeying, "left"));
    let risk = told.risk.unwrap();
    assert!(risk.starts_with("charger left: it answers but takes no set-point, and keeps what it has"), "{risk}");

    rig.line.lock().unknown_functions.clear();
    rig.hold(normal(amps(6)), 3.0).await;
    let told = rig.told();
    assert_eq!(told.risk, None, "it takes them again");
    assert!(!told.health.last().unwrap().1.unled);
    assert!(told.risks_told > 0);
}

#[tokio::test(start_paused = true)]
async fn one_refused_set_point_is_no_disobedience() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    for _ in 0..3 {
        rig.line.lock().unknown_functions = vec![6, 16];
        rig.hold(normal(amps(6)), 0.5).await;
        rig.line.lock().unknown_functions.clear();
        rig.hold(normal(amps(10)), 3.0).await;
    }
    let told = rig.told();
    assert!(told.health.last().unwrap().1.refused >= 3);
    assert!(told.events.is_empty() && told.risks_told == 0, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn write_first_is_one_write_per_number_and_a_read_only_after_success() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.fault(Fault::ReturnDead);
    for number in 1..=3 {
        rig.hold(ChargerCommand { contact: Contact::WriteFirst(number), ..normal(amps(6)) }, 3.0).await;
        let heard = rig.line.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].written(), Some((SET_POINT, 6)));
        assert_eq!(rig.told().unconfirmed().last(), Some(&Some(amps(6))));
    }
    rig.line.fault(Fault::None);
    rig.hold(ChargerCommand { contact: Contact::WriteFirst(4), ..normal(amps(6)) }, 3.0).await;
    let heard = rig.line.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0].written(), Some((SET_POINT, 6)));
    assert!(matches!(heard[1].operation, Operation::ReadHolding { .. }));
    let told = rig.told();
    assert_eq!(told.written(), [amps(6)]);
    assert_eq!(told.last_report().set_point, Some(amps(6)));
}

#[tokio::test(start_paused = true)]
async fn each_kind_does_the_actions_that_it_is_said_to_have_and_no_other() {
    let connection = || Connection::Tcp { host: "box".to_owned(), port: 502 };
    let kinds = [
        (Rig::telto(), ChargerDriver::TeltoCharge { connection: connection(), unit: 1 }),
        (Rig::evse(16), ChargerDriver::EvseDin { connection: connection(), unit: 1 }),
    ];
    for (rig, kind) in kinds {
        let order = rig.settle(amps(10)).await;
        for action in [ChargerAction::Authorize, ChargerAction::Lock(Lock::Unlock), ChargerAction::Reboot] {
            rig.actions.send(action).await.unwrap();
            rig.hold(order, 2.0).await;
            assert_eq!(rig.line.writes().len(), usize::from(actions(&kind).include(action)), "{kind:?}: {action:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn quiet_sends_nothing_at_all() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    let quiet = ChargerCommand { contact: Contact::Quiet, ..normal(amps(6)) };
    rig.hold(quiet, 0.1).await;
    rig.line.heard();
    rig.hold(ChargerCommand { rewrite: 7, verify_watchdog: 7, fail_safe: amps(0), open: true, ..quiet }, 120.0).await;
    rig.actions.send(ChargerAction::Reboot).await.unwrap();
    rig.hold(quiet, 5.0).await;
    assert_eq!(rig.line.heard(), []);
    rig.hold(normal(amps(6)), 3.0).await;
    assert!(!rig.line.writes().iter().any(|it| it.0 == 21), "a wish is not kept for later");
}

#[tokio::test(start_paused = true)]
async fn silence_and_errors_are_told_with_the_bus_round_and_health_once_per_second() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.fault(Fault::Dead);
    rig.line.lock().round = Duration::from_millis(800);
    rig.hold(order, 10.0).await;
    let told = rig.told();
    let failed: Vec<_> =
        told.observations.iter().filter(|it| matches!(it, ChargerObservation::Failed { .. })).collect();
    assert!((6..=12).contains(&failed.len()), "{failed:?}");
    assert!(matches!(failed[1], ChargerObservation::Failed { unconfirmed: None, round, period, .. }
        if round.0 == 800 && *period == rig.timing.poll));
    assert!(told.health.len() <= 11);
    let (_, health) = told.health.last().unwrap();
    assert!(!health.online && health.timeouts >= 6 && health.good > 5);
    assert!(health.last_error.as_ref().unwrap().contains("charger left: memory: no complete answer"));
}

#[tokio::test(start_paused = true)]
async fn a_bus_without_time_says_nothing_about_the_charger_until_it_lasts() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.fault(Fault::Crowded);
    rig.hold(normal(amps(8)), 9.0).await;
    let told = rig.told();
    assert_eq!(told.unconfirmed(), [], "it was not asked, so it did not fail");
    let error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert!(error.contains("its turn did not come"), "{error}");
    rig.hold(normal(amps(8)), 10.0).await;
    assert!(rig.told().unconfirmed().len() >= 3, "nobody knows what it does any more");
    rig.line.fault(Fault::None);
    rig.hold(normal(amps(8)), 5.0).await;
    assert_eq!(rig.told().written(), [amps(8)]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_on_a_bus_without_time_is_carried_out_as_soon_as_there_is_some() {
    let rig = Rig::telto();
    rig.settle(amps(16)).await;
    rig.line.fault(Fault::Crowded);
    rig.pass(60.0).await;
    rig.line.fault(Fault::None);
    rig.pass(5.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 6)]);
}

#[tokio::test(start_paused = true)]
async fn rubbish_in_the_registers_is_an_error_that_says_where() {
    let rig = Rig::telto();
    let order = rig.settle(amps(10)).await;
    rig.line.set(9, 0);
    rig.hold(order, 3.0).await;
    let told = rig.told();
    assert!(!told.unconfirmed().is_empty());
    let error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert_eq!(&*error, "charger left: register 9 (EVSE ID) holds 0, allowed is 21571 (\"TC\")");
    rig.line.set(9, 21_571);
    rig.line.set(6, 77);
    rig.hold(order, 3.0).await;
    let told = rig.told();
    assert_eq!(told.last_report().state, PilotState::F);
    let error = told.health.last().unwrap().1.last_error.clone().unwrap();
    assert_eq!(&*error, "charger left: register 6 (EVSE status) holds 77, allowed is 0 to 9");
}

#[tokio::test(start_paused = true)]
async fn function_codes_that_the_charger_does_not_know_are_replaced() {
    let mut words = telto_words();
    words.insert(20, 16);
    let rig = Rig::telto_with(words);
    rig.line.lock().unknown_functions = vec![3, 6];
    rig.settle(amps(12)).await;
    assert_eq!((rig.line.word(15), rig.line.word(20)), (12, 6));
    rig.hold(normal(amps(8)), 2.0).await;
    let heard = rig.line.heard();
    assert!(heard.iter().all(|it| matches!(it.operation.function(), 4 | 16)), "learnt: {heard:?}");
    let rig = Rig::evse_with(evse_words(16), true);
    rig.line.lock().unknown_functions = vec![6];
    rig.settle(amps(12)).await;
    assert_eq!(rig.line.word(1000), 12);
}

#[tokio::test(start_paused = true)]
async fn a_bus_slower_than_the_period_leaves_room_for_everything_else() {
    let rig = Rig::telto();
    rig.line.lock().answer_time = Duration::from_millis(1500);
    rig.line.set(20, 16);
    rig.hold(ChargerCommand { offer: Some(amps(12)), ..open() }, 20.0).await;
    rig.line.set(19, 0);
    rig.hold(normal(amps(12)), 20.0).await;
    assert_eq!((rig.line.word(15), rig.line.word(19), rig.line.word(20)), (12, 30, 6));
    assert!(rig.told().identity.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_stands_at_the_first_contact_is_written_once_all_the_same() {
    let rig = Rig::telto();
    rig.hold(open(), 0.5).await;
    rig.hold(normal(amps(10)), 10.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 10)], "the register held 10 A already");
    assert_eq!(rig.told().written(), [amps(10)], "only an order that was confirmed can be compared with what is read");
    rig.hold(ChargerCommand { verify_watchdog: 1, ..normal(amps(10)) }, 10.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 10)]);
}

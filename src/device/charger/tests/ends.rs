//! How a charger task ends: leases that run out, orderly stops, cancelling.

use std::time::Duration;

use super::rig::{Fault, Rig, WATCHDOG, amps, normal};
use crate::command::{ChargerCommand, LastOffer, Leased};
use crate::quantity::{Milliamp, Mono};

const SET_POINT: u16 = 15;

#[tokio::test(start_paused = true)]
async fn when_the_lease_ends_the_charger_is_lowered_and_left_alone() {
    let rig = Rig::telto();
    rig.settle(amps(16)).await;
    let ends = rig.orders.borrow().valid_until.unwrap();
    rig.line.heard();
    rig.pass(600.0).await;
    let heard = rig.line.heard();
    let write = heard.iter().position(|it| it.written().is_some()).unwrap();
    assert_eq!(heard[write].written(), Some((SET_POINT, 6)));
    assert!(heard[write].at >= ends && heard[write].at.since(ends).0 <= 50, "{:?} for {ends:?}", heard[write].at);
    assert!(heard[write + 1].written().is_none(), "read back: {heard:?}");
    assert_eq!(heard.len(), write + 2, "a telegram after it would feed the watchdog: {heard:?}");
    rig.told();

    rig.hold(normal(amps(12)), 3.0).await;
    let writes = rig.line.writes();
    assert_eq!(writes, [(SET_POINT, 12)], "it obeys again");
    assert_eq!(rig.told().last_report().watchdog.unwrap().timeout, WATCHDOG);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lease_never_raises() {
    for (offer, order_fail_safe, left) in [(0, 6, 0), (6, 6, 6), (16, 0, 0), (10, 16, 10)] {
        let rig = Rig::telto();
        rig.settle(amps(offer)).await;
        rig.hold(ChargerCommand { fail_safe: amps(order_fail_safe), ..normal(amps(offer)) }, 3.0).await;
        rig.line.heard();
        rig.pass(20.0).await;
        let writes = rig.line.writes();
        assert_eq!(writes.last(), Some(&(SET_POINT, left)), "{offer} A with {order_fail_safe} A");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_during_a_raise_takes_it_back() {
    let rig = Rig::telto();
    rig.settle(amps(10)).await;
    rig.line.lock().answer_time = Duration::from_millis(300);
    rig.hold(normal(amps(10)), 2.0).await;
    let valid_until = rig.orders.borrow().valid_until.unwrap();
    tokio::time::sleep_until(tokio::time::Instant::from_std(rig.clock.instant(Mono(valid_until.0 - 100)))).await;
    rig.line.heard();
    rig.orders.send_modify(|leased| leased.order = normal(amps(16)));
    rig.pass(30.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 6)]);
}

#[tokio::test(start_paused = true)]
async fn a_deaf_line_at_the_end_of_a_lease_is_given_time_for_the_watchdog() {
    let rig = Rig::telto();
    rig.settle(amps(16)).await;
    let ends = rig.orders.borrow().valid_until.unwrap();
    rig.line.fault(Fault::ReturnDead);
    rig.pass(200.0).await;
    let heard = rig.line.heard();
    let after: Vec<i64> = heard.iter().filter(|it| it.at >= ends).map(|it| it.at.since(ends).0 / 1000).collect();
    assert!(heard.iter().filter(|it| it.at >= ends).all(|it| it.written() == Some((SET_POINT, 6))), "{heard:?}");
    assert_eq!(after.len(), 3 + 4, "three attempts, then one after each silence: {after:?}");
    assert!(after[3] - after[2] >= 40 && after[4] - after[3] >= 40, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_a_lease_an_echo_is_not_enough() {
    let rig = Rig::telto();
    rig.settle(amps(16)).await;
    rig.line.lock().deaf = vec![SET_POINT];
    rig.pass(150.0).await;
    let writes = rig.line.writes();
    assert!((3 + 2..=3 + 4).contains(&writes.len()), "three attempts, then one after each silence: {writes:?}");
    assert!(writes.iter().all(|it| *it == (SET_POINT, 6)), "{writes:?}");
    rig.line.lock().deaf.clear();
    rig.pass(60.0).await;
    assert_eq!(rig.line.word(SET_POINT), 6);
    rig.line.heard();
    rig.pass(600.0).await;
    assert_eq!(rig.line.heard(), []);
}

#[tokio::test(start_paused = true)]
async fn a_charger_without_a_timer_is_lowered_again_when_a_power_cut_has_raised_it() {
    let rig = Rig::evse(16);
    rig.settle(amps(16)).await;
    rig.pass(30.0).await;
    assert_eq!(rig.line.word(1000), 6);
    for boot in [32, 13] {
        rig.line.heard();
        rig.line.fault(Fault::Dead);
        rig.pass(10.0).await;
        rig.line.set(1000, boot);
        rig.line.fault(Fault::None);
        rig.pass(3.0).await;
        assert_eq!(rig.line.writes(), [(1000, 6)]);
        assert_eq!(rig.line.word(1000), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn an_evse_din_is_lowered_at_the_end_of_a_lease_and_read_on() {
    let rig = Rig::evse(16);
    rig.settle(amps(16)).await;
    rig.pass(30.0).await;
    let heard = rig.line.heard();
    assert_eq!(heard.iter().filter_map(super::rig::Telegram::written).collect::<Vec<_>>(), [(1000, 6)]);
    assert!(heard.last().unwrap().written().is_none(), "there is no watchdog to be fed");
    rig.line.fault(Fault::Dead);
    rig.hold(normal(amps(16)), 3.0).await;
    rig.pass(12.0).await;
    rig.line.fault(Fault::None);
    rig.pass(12.0).await;
    assert_eq!(rig.line.writes().last(), Some(&(1000, 6)), "tried until it was confirmed");
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_leaves_the_last_offer_behind_and_ends() {
    for mut rig in [Rig::telto(), Rig::evse(16)] {
        rig.settle(amps(16)).await;
        rig.last_offer.send_replace(Some(LastOffer::AtMost(amps(6))));
        tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await.unwrap().unwrap();
        let writes = rig.line.writes();
        assert_eq!(writes.iter().map(|it| it.1).collect::<Vec<_>>(), [6]);
        let told = rig.told();
        assert_eq!(told.written(), [amps(6)]);
        assert_eq!(told.last_report().set_point, Some(amps(6)), "read back");
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_never_raises() {
    // Held, ordered, to be left, what stands there in the end.
    let cases = [
        (0, 0, LastOffer::AtMost(amps(6)), 0),
        (8, 8, LastOffer::AtMost(amps(10)), 8),
        (16, 7, LastOffer::AtMost(amps(10)), 7),
        (16, 16, LastOffer::Lapse, 6),
        (0, 0, LastOffer::Lapse, 0),
        (16, 0, LastOffer::Lapse, 0),
    ];
    for (held, ordered, last, left) in cases {
        for mut rig in [Rig::telto(), Rig::evse(16)] {
            rig.settle(amps(held)).await;
            // Nobody has written it yet when the stop comes.
            rig.order(normal(amps(ordered)));
            rig.last_offer.send_replace(Some(last));
            tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await.unwrap().unwrap();
            let writes = rig.line.writes();
            assert_eq!(writes.iter().map(|it| i32::from(it.1)).collect::<Vec<_>>(), [left], "{held} A, {last:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_reads_a_charger_first_that_was_never_heard() {
    for (last, left) in [(LastOffer::AtMost(amps(16)), 10), (LastOffer::Lapse, 6)] {
        let mut rig = Rig::telto();
        rig.last_offer.send_replace(Some(last));
        tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await.unwrap().unwrap();
        let heard = rig.line.heard();
        assert!(heard[0].written().is_none(), "{heard:?}");
        assert_eq!(heard[1].written(), Some((SET_POINT, left)), "10 A stood there: {heard:?}");
    }
    // Nothing can be less than this: it is written unseen.
    let mut rig = Rig::telto();
    rig.last_offer.send_replace(Some(LastOffer::AtMost(Milliamp::ZERO)));
    tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await.unwrap().unwrap();
    assert_eq!(rig.line.heard()[0].written(), Some((SET_POINT, 0)));
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_goes_on_until_what_it_left_is_read_back() {
    let mut rig = Rig::telto();
    rig.settle(amps(16)).await;
    rig.line.lock().deaf = vec![SET_POINT];
    rig.last_offer.send_replace(Some(LastOffer::AtMost(amps(6))));
    rig.pass(1.0).await;
    rig.line.lock().deaf.clear();
    tokio::time::timeout(Duration::from_secs(1), &mut rig.task).await.unwrap().unwrap();
    assert_eq!(rig.line.word(SET_POINT), 6);
    let writes = rig.line.writes();
    assert!(writes.len() > 2 && writes.iter().all(|it| *it == (SET_POINT, 6)), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_is_tried_until_it_is_cancelled_whatever_the_charger_does() {
    for fault in [Fault::Dead, Fault::ReturnDead, Fault::Refuses] {
        let mut rig = Rig::telto();
        rig.settle(amps(16)).await;
        rig.line.fault(fault);
        rig.last_offer.send_replace(Some(LastOffer::AtMost(amps(6))));
        rig.pass(6.0).await;
        assert!(!rig.task.is_finished(), "it keeps trying: {fault:?}");
        rig.cancel.cancel();
        tokio::time::timeout(Duration::from_millis(1), &mut rig.task).await.unwrap().unwrap();
        let told = rig.told();
        assert!(told.unconfirmed().len() > 5);
        let error = told.health.last().unwrap().1.last_error.clone().unwrap();
        assert_eq!(&*error, "charger left: 6 A could not be left behind in time");
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_the_task_at_once() {
    let mut rig = Rig::telto();
    rig.settle(amps(16)).await;
    rig.cancel.cancel();
    tokio::time::timeout(Duration::from_millis(1), &mut rig.task).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_control_thread_that_is_gone_is_a_lease_that_ends() {
    let rig = Rig::telto();
    rig.settle(amps(16)).await;
    let (orders, _) = tokio::sync::watch::channel(Leased::never(ChargerCommand::default()));
    let mut rig = rig;
    drop(std::mem::replace(&mut rig.orders, orders));
    let (actions, _) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut rig.actions, actions));
    let (last_offer, _) = tokio::sync::watch::channel(None);
    drop(std::mem::replace(&mut rig.last_offer, last_offer));
    rig.pass(10.0).await;
    assert_eq!(rig.line.writes(), [(SET_POINT, 6)]);
    rig.pass(600.0).await;
    assert_eq!(rig.line.heard(), []);
    assert!(!rig.task.is_finished());
}

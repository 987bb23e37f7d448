//! What holds whatever is ordered and whatever stands in the registers.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::rig::{Fault, Rig, Telegram, amps, evse_words, normal, telto_words};
use crate::command::{ChargerCommand, Contact};
use crate::quantity::Milliamp;

/// Runs a future in stopped time.
fn in_stopped_time(test: impl Future<Output = TestCaseResult>) -> TestCaseResult {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

#[derive(Clone, Debug)]
enum Event {
    Order(ChargerCommand),
    Fault(Fault),
    /// Somebody writes the set-point register.
    Tamper(u16),
    /// Somebody writes any register.
    Poke(u16, u16),
    /// A power cut.
    Supply,
}

fn orders() -> impl Strategy<Value = ChargerCommand> {
    let contact = prop_oneof![
        6 => Just(Contact::Normal),
        1 => Just(Contact::Open),
        1 => (1..4_u32).prop_map(Contact::WriteFirst),
        1 => Just(Contact::Quiet),
    ];
    let offer = prop_oneof![Just(Milliamp::ZERO), (-2000..70_000_i32).prop_map(Milliamp)];
    (
        proptest::option::weighted(0.9, offer),
        contact,
        0..3_u32,
        0..3_u32,
        prop_oneof![Just(0), 6..=16_i32],
        any::<bool>(),
    )
        .prop_map(|(offer, contact, rewrite, verify_watchdog, fail_safe, open)| ChargerCommand {
            offer,
            contact,
            rewrite,
            verify_watchdog,
            fail_safe: amps(fail_safe),
            open,
            phases: None,
            line: None,
        })
}

fn events() -> impl Strategy<Value = Vec<(Event, i64)>> {
    let fault = prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::Dead),
        1 => Just(Fault::ReturnDead),
        1 => Just(Fault::Refuses),
    ];
    let event = prop_oneof![
        6 => orders().prop_map(Event::Order),
        2 => fault.prop_map(Event::Fault),
        1 => (0..40_u16).prop_map(Event::Tamper),
        1 => (0..45_u16, any::<u16>()).prop_map(|(register, word)| Event::Poke(register, word)),
        1 => Just(Event::Supply),
    ];
    proptest::collection::vec((event, 1..1500_i64), 1..25)
}

/// As on the wire.
fn set_points(heard: &[Telegram], register: u16) -> Vec<u16> {
    heard.iter().filter_map(Telegram::written).filter(|it| it.0 == register).map(|it| it.1).collect()
}

async fn play(rig: &Rig, base: u16, set_point: u16, events: Vec<(Event, i64)>) -> ChargerCommand {
    let mut order = ChargerCommand { contact: Contact::Open, ..ChargerCommand::default() };
    rig.hold(order, 0.2).await;
    for (event, ms) in events {
        match event {
            Event::Order(next) => order = next,
            Event::Fault(fault) => rig.line.fault(fault),
            Event::Tamper(word) => rig.line.set(set_point, word),
            Event::Poke(register, word) => rig.line.set(base + register, word),
            Event::Supply => {
                // Away for long enough to be missed, and back as it was delivered.
                rig.line.fault(Fault::Dead);
                rig.hold(order, 2.5).await;
                let mut memory = rig.line.lock();
                memory.fault = Fault::None;
                memory.words.insert(set_point, 0);
                memory.words.entry(2005).and_modify(|it| *it = 0);
            }
        }
        rig.hold(order, ms as f64 / 1000.0).await;
    }
    order
}

/// The charger is well again and holds what its maker ships.
fn repair(rig: &Rig, words: std::collections::BTreeMap<u16, u16>) {
    rig.line.fault(Fault::None);
    rig.line.lock().words.extend(words);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn teltocharge_ends_at_the_newest_order_and_never_outside_the_allowed(
        events in events(), last in prop_oneof![Just(0), 6..=40_i32],
    ) {
        in_stopped_time(async {
            let rig = Rig::telto();
            let order = play(&rig, 0, 15, events).await;
            repair(&rig, telto_words());
            // A new number, so that a set-point that was changed meanwhile is written.
            let order = ChargerCommand { rewrite: order.rewrite + 1, ..normal(amps(last)) };
            rig.hold(order, 30.0).await;
            prop_assert!(!rig.task.is_finished(), "the task died");
            prop_assert_eq!(i32::from(rig.line.word(15)), last.min(16));
            prop_assert_eq!((rig.line.word(19), rig.line.word(20)), (30, 6));
            let heard = rig.line.heard();
            let set_points = set_points(&heard, 15);
            prop_assert!(set_points.iter().all(|word| *word == 0 || (6..=16).contains(word)), "{:?}", set_points);
            prop_assert_eq!(set_points.last().copied().map(i32::from), Some(last.min(16)));
            let fail_safes: Vec<_> = heard.iter().filter_map(Telegram::written).filter(|it| it.0 == 20).collect();
            prop_assert!(fail_safes.iter().all(|it| it.1 == 0 || (6..=16).contains(&it.1)), "{:?}", fail_safes);
            Ok(())
        })?;
    }

    #[test]
    fn evse_din_ends_at_the_newest_order_and_never_outside_the_allowed(
        events in events(), last in prop_oneof![Just(0), 600..=4000_i32], firmware in 15..20_u16,
    ) {
        in_stopped_time(async {
            let rig = Rig::evse(firmware);
            let order = play(&rig, 1000, 1000, events).await;
            let mut words = evse_words(firmware);
            words.retain(|register, _| ![1000, 2005].contains(register));
            repair(&rig, words);
            let last = Milliamp(last * 10);
            let order = ChargerCommand { rewrite: order.rewrite + 1, verify_watchdog: order.verify_watchdog + 1, ..normal(last) };
            rig.hold(order, 40.0).await;
            prop_assert!(!rig.task.is_finished(), "the task died");
            let fine = rig.line.word(2005) & (1 << 7) != 0;
            prop_assert!(fine || firmware < 17);
            let unit = if fine { 10 } else { 1000 };
            let expected = last.min(amps(16)).0 / unit;
            prop_assert_eq!(i32::from(rig.line.word(1000)), expected);
            let heard = rig.line.heard();
            for telegram in &heard {
                let Some((1000, word)) = telegram.written() else { continue };
                let allowed = if telegram.fine { 600..=1600 } else { 6..=16 };
                prop_assert!(word == 0 || allowed.contains(&word), "{} where fine = {}", word, telegram.fine);
            }
            Ok(())
        })?;
    }

    #[test]
    fn after_a_lease_nothing_above_the_fail_safe_current_is_written_and_nothing_feeds_the_watchdog(
        events in events(),
    ) {
        in_stopped_time(async {
            let rig = Rig::telto();
            let order = play(&rig, 0, 15, events).await;
            let ends = rig.orders.borrow().valid_until.unwrap();
            repair(&rig, telto_words().into_iter().filter(|it| it.0 != 15).collect());
            rig.pass(5.1).await;
            rig.line.lock().heard.retain(|it| it.at >= ends);
            rig.pass(300.0).await;
            let heard = rig.line.heard();
            let ceiling = order.offer.map_or(order.fail_safe, |offer| order.fail_safe.min(offer.max(Milliamp::ZERO)));
            let writes: Vec<_> = heard.iter().filter_map(Telegram::written).collect();
            prop_assert!(writes.iter().all(|it| it.0 == 15 && amps(i32::from(it.1)) <= ceiling), "{:?}", heard);
            prop_assert!(heard.iter().filter(|it| it.written().is_none()).count() <= 2, "{:?}", heard);
            prop_assert!(heard.last().is_some_and(|it| it.written().is_none()), "nothing after it is read back: {:?}", heard);
            prop_assert_eq!(writes.len(), 1);
            Ok(())
        })?;
    }

    #[test]
    fn no_content_of_any_register_ends_a_task(
        words in proptest::collection::vec(any::<u16>(), 45), genuine in any::<bool>(), telto in any::<bool>(),
    ) {
        in_stopped_time(async {
            let rig = if telto { Rig::telto() } else { Rig::evse(17) };
            let base = if telto { 0 } else { 1000 };
            {
                let mut memory = rig.line.lock();
                for (register, word) in (base..).zip(&words) {
                    memory.words.insert(register, *word);
                }
                for (register, word) in (2000..2018).zip(&words) {
                    memory.words.insert(register, *word);
                }
                if telto && genuine {
                    memory.words.extend([(9, 21_571), (6, words[0] % 10), (15, words[1] % 33)]);
                } else if genuine {
                    memory.words.extend([(1000, words[0] % 40), (1002, words[1] % 6)]);
                }
            }
            rig.hold(ChargerCommand { contact: Contact::Open, ..normal(amps(8)) }, 5.0).await;
            rig.hold(normal(amps(9)), 5.0).await;
            prop_assert!(!rig.task.is_finished());
            let told = rig.told();
            prop_assert!(!told.observations.is_empty());
            Ok(())
        })?;
    }
}

//! Who gets what there is.

use gridkeeper::event::EventType;
use gridkeeper::quantity::Phases;
use gridkeeper::reading::PilotState;

use crate::site::{amps, setup};
use crate::world::World;

fn house(fuse: f64, count: usize) -> World {
    let mut setup = setup(count);
    setup.circuits[0].fuse = Some(amps(fuse));
    World::new(setup)
}

#[test]
fn by_priority_and_equal_among_equals() {
    let mut world = house(30.0, 3);
    world.set("site/set/sharing", "priority");
    world.set("charger/c2/set/priority", "1");
    world.run(120);
    // 29.5 A: 16 for the first, the rest for the one of the two that can have 6 A and more.
    assert_eq!(world.offers()[2], 16);
    assert_eq!(world.offers().iter().sum::<i32>(), 29);
    world.set("charger/c2/set/priority", "9");
    world.run(120);
    assert_eq!(world.offers(), [15, 14, 0], "those before it are served first");
}

#[test]
fn charging_before_waiting() {
    let mut world = house(25.0, 2);
    world.set("site/set/sharing", "state");
    world.sims[1].state = PilotState::A;
    world.run(60);
    assert_eq!(world.offers(), [16, 0]);
    world.sims[1].state = PilotState::B;
    // It waits for a state that it cannot reach without an offer: the one that charges keeps all it uses.
    world.sims[1].starts_at = amps(99.0);
    world.run(60);
    assert_eq!(world.offers()[0], 16);
    assert!(world.offers()[1] <= 8, "{:?}", world.offers());
}

#[test]
fn what_a_car_does_not_take_goes_to_the_others() {
    let mut world = house(25.0, 2);
    world.run(60);
    assert_eq!(world.offers(), [12, 12]);
    world.sims[0].car_max = amps(7.0);
    world.run(120);
    assert_eq!(world.offers(), [8, 16], "its draw and 1 A");
    world.sims[0].car_max = amps(32.0);
    world.run(120);
    assert_eq!(world.offers(), [12, 12], "it rises again when the car uses it");
}

#[test]
fn one_and_two_phase_cars_count_on_their_phases() {
    let mut world = house(25.0, 2);
    world.sims[0].uses = 1;
    world.loads[0] = Phases([amps(2.0), amps(2.0), amps(2.0)]);
    world.run(120);
    assert_eq!(world.offers().iter().sum::<i32>(), 22, "they share L1");
    (world.sims[0].uses, world.sims[1].uses) = (2, 2);
    world.run(60);
    assert!(world.current(0).0.iter().all(|it| *it <= amps(25.0)), "{:?}", world.current(0));
}

#[test]
fn with_less_than_six_ampere_each_turns_go_round() {
    let mut world = house(16.0, 5);
    world.loads[0] = Phases::all(amps(2.0));
    let mut charged = [0_u32; 5];
    for second in 0..6 * 3_600 {
        world.tick();
        let offers = world.offers();
        assert!(offers.iter().filter(|it| **it >= 6).count() <= 2, "13.5 A are enough for two: {offers:?}");
        for (seconds, sim) in charged.iter_mut().zip(&world.sims) {
            *seconds += u32::from(second > 60 && sim.drawn >= amps(5.0));
        }
    }
    let (least, most) = (charged.iter().min().expect("five"), charged.iter().max().expect("five"));
    assert!(*least * 10 >= *most * 6, "everybody has had its turns: {charged:?}");
    let interruptions: u16 = (0..5).map(|index| world.status(index).interruptions).sum();
    assert!(interruptions <= 5 * 6, "cars give up after a handful: {interruptions}");
    assert!(charged.iter().sum::<u32>() >= 6 * 3_600 * 2 * 9 / 10, "and the room is used: {charged:?}");
}

#[test]
fn twenty_chargers_share_a_fuse_with_few_orders() {
    let mut world = house(100.0, 20);
    world.run(300);
    assert_eq!(world.offers().iter().filter(|it| **it >= 6).count(), 16, "{:?}", world.offers());
    let before = world.orders;
    // A kettle now and then.
    for second in 0..600 {
        world.loads[0] = Phases([amps(if second % 120 < 60 { 9.0 } else { 0.0 }), amps(0.0), amps(0.0)]);
        world.tick();
    }
    assert!(world.current(0).0.iter().all(|it| *it <= amps(100.0)));
    assert!(world.orders - before <= 100, "{} orders for five kettles", world.orders - before);
}

#[test]
fn a_car_that_needs_eight_ampere_to_begin_gets_them_after_a_while() {
    let mut world = house(25.0, 1);
    world.sims[0].starts_at = amps(8.0);
    world.run(60);
    assert_eq!(world.sims[0].state, PilotState::C);
    world.run(30);
    assert_eq!(world.offers(), [16]);
    assert_eq!(world.count(EventType::CarNotStarting), 0);
}

#[test]
fn a_car_that_sleeps_is_woken_once_and_told_once() {
    let mut world = house(25.0, 1);
    world.sims[0].starts_at = amps(99.0);
    let mut zero = 0;
    for _ in 0..400 {
        world.tick();
        zero += u32::from(world.now.0 > 20_000 && world.offers() == [0]);
    }
    assert!((18..=25).contains(&zero), "0 A for 20 s, once: {zero}");
    assert_eq!(world.count(EventType::CarNotStarting), 1);
    assert_eq!(world.reason(0), "car");
}

#[test]
fn a_car_a_little_above_its_offer_is_counted_and_not_frozen() {
    let mut world = house(25.0, 1);
    world.sims[0].above = amps(0.6);
    world.loads[0] = Phases::all(amps(12.0));
    world.run(60);
    assert_eq!(world.offers(), [11], "24.5 - 12 leaves 12 A, of which it draws 0.6 A more than it is offered");
    world.loads[0] = Phases::all(amps(2.0));
    world.run(60);
    assert_eq!(world.offers(), [16], "and it is raised like any other");
}

/// `min_off_s`: the one that was stopped waited longer, but it is not the one to go on first.
#[test]
fn who_was_stopped_a_moment_ago_waits_behind_whoever_comes() {
    let mut world = house(25.0, 2);
    world.sims[1].state = PilotState::A;
    world.loads[0] = Phases::all(amps(15.0));
    world.run(60);
    assert_eq!(world.offers(), [9, 0]);
    world.loads[0] = Phases::all(amps(22.0));
    world.run(8);
    assert_eq!(world.offers(), [0, 0]);
    world.sims[1].state = PilotState::B;
    world.run(5);
    world.loads[0] = Phases::all(amps(15.0));
    world.run(120);
    assert_eq!(world.offers(), [0, 9]);
}

/// A load that comes for ten seconds in every twenty leaves room for one of two cars: it is not always the same.
#[test]
fn a_load_that_comes_and_goes_stops_two_cars_alike() {
    let mut world = World::new(setup(2));
    let mut charged = [0_i64; 2];
    for second in 0..10_800 {
        world.loads[0] = Phases([amps(if second % 20 < 10 { 16.0 } else { 2.0 }), amps(2.0), amps(2.0)]);
        world.tick();
        for (sum, sim) in charged.iter_mut().zip(&world.sims) {
            *sum += i64::from(sim.drawn.0);
        }
    }
    let (least, most) = (charged[0].min(charged[1]), charged[0].max(charged[1]));
    assert!(least * 2 > most, "{charged:?} mA s");
}

/// Who comes late has as much of the night as the others, however often they were interrupted before.
#[test]
fn turns_do_not_grow_with_the_night() {
    let mut setup = setup(3);
    setup.circuits[0].fuse = Some(amps(10.0));
    let mut world = World::new(setup);
    world.sims[2].state = PilotState::A;
    let mut charged = [0_i64; 3];
    for second in 0..43_200 {
        if second == 21_600 {
            world.sims[2].state = PilotState::B;
            charged = [0; 3];
        }
        world.tick();
        for (sum, sim) in charged.iter_mut().zip(&world.sims) {
            *sum += i64::from(sim.drawn.0);
        }
    }
    let (least, most) = (charged.iter().min(), charged.iter().max());
    assert!(least.zip(most).is_some_and(|(least, most)| least * 2 > *most), "{charged:?} mA s");
}

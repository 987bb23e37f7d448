//! Fuses below fuses.

use gridkeeper::event::EventType;
use gridkeeper::quantity::{Phases, Watt};

use crate::site::{amps, setup};
use crate::world::{World, circuit, meter};

/// 3 x 63 A, a garage with 3 x 32 A behind it, in it a row with 3 x 20 A; two chargers in the row, one in the garage, one
/// at the root.
fn garage(metered: bool) -> World {
    let mut setup = setup(4);
    setup.circuits[0].fuse = Some(amps(63.0));
    let mut garage = circuit("garage", 0, 32.0, metered.then_some(1));
    let mut row = circuit("row", 1, 20.0, metered.then_some(2));
    if metered {
        setup.meters.extend([meter("garage-meter"), meter("row-meter")]);
        garage.meter_lost_current = amps(12.0);
    } else {
        row.reserve = amps(4.0);
        garage.reserve = amps(1.0);
    }
    setup.circuits.extend([garage, row]);
    for (index, circuit) in [2, 2, 1, 0].into_iter().enumerate() {
        setup.chargers[index].circuit = circuit;
    }
    World::new(setup)
}

#[test]
fn every_fuse_on_the_way_is_kept_without_meters() {
    let mut world = garage(false);
    world.run(120);
    // 20 - 0.5 - 4 = 15.5 A for the row, 32 - 0.5 - 1 = 30.5 A for the garage.
    let offers = world.offers();
    assert_eq!((offers[0] + offers[1], &offers[2..]), (15, &[15, 16][..]), "{offers:?}");
    assert!((offers[0] - offers[1]).abs() <= 3, "{offers:?}");
    assert_eq!((world.reason(1), world.reason(2), world.reason(3)), ("sharing", "sharing", "none"));
    // What only one car may have is the fuse's word, and it is told apart from the main one.
    world.sims[1].state = gridkeeper::reading::PilotState::A;
    world.sims[1].drawn = amps(0.0);
    world.run(60);
    assert_eq!((world.offers()[0], world.reason(0)), (15, "circuit"));
}

#[test]
fn a_load_behind_a_deep_fuse_cuts_those_behind_it_only() {
    let mut world = garage(true);
    world.run(120);
    assert_eq!(world.offers(), [10, 9, 12, 16]);
    world.loads[2] = Phases([amps(6.0), amps(0.0), amps(0.0)]);
    world.run(3);
    let offers = world.offers();
    assert!(offers[0] + offers[1] <= 13, "{offers:?}");
    assert_eq!(offers[3], 16, "the root has room");
    world.run(200);
    assert!(world.current(2).0.iter().all(|it| *it <= amps(20.0)), "{:?}", world.current(2));
    assert_eq!(world.offers()[2], 12, "the garage carries the load of the row as well: 31.5 - 6 - 13");
}

#[test]
fn a_circuits_lost_meter_concerns_those_behind_it() {
    let mut world = garage(true);
    world.run(120);
    world.dead = vec![1];
    world.run(12);
    assert_eq!(world.count(EventType::MeterLost), 1);
    let offers = world.offers();
    assert_eq!(offers[..3], [6, 6, 0], "12 A in steps of 6 A, by priority and order");
    assert_eq!((offers[3], world.reason(2)), (16, "meter_lost"));
    world.dead.clear();
    world.run(120);
    assert_eq!(world.offers(), [10, 9, 12, 16]);
}

#[test]
fn a_finished_car_takes_no_step_of_a_lost_meter() {
    let mut world = garage(true);
    world.run(120);
    world.sims[0].state = gridkeeper::reading::PilotState::D;
    world.sims[0].drawn = amps(0.0);
    world.run(5);
    world.dead = vec![1];
    world.run(15);
    assert_eq!(world.offers()[..3], [0, 6, 6]);
}

#[test]
fn power_of_a_circuit_is_kept() {
    let mut setup = setup(2);
    setup.circuits[0].fuse = Some(amps(63.0));
    let mut garage = circuit("garage", 0, 40.0, None);
    garage.max_power = Some(Watt(11_000));
    setup.circuits.push(garage);
    setup.chargers.iter_mut().for_each(|it| it.circuit = 1);
    let mut world = World::new(setup);
    world.run(100);
    assert!(world.charging() <= Watt(11_000), "{:?}", world.charging());
    assert!(world.charging() > Watt(9_500), "{:?}", world.charging());
}

#[test]
fn an_owner_s_ceiling_above_the_fuse_is_none() {
    let mut setup = setup(2);
    setup.circuits[0].max_import = Some(amps(40.0));
    let mut world = World::new(setup);
    world.loads[0] = Phases::all(amps(2.0));
    world.run(60);
    assert_eq!(world.offers(), [11, 11], "25 - 0.5 - 2 A");
}

#[test]
fn what_is_reserved_in_a_circuit_counts_on_all_its_phases_against_its_power() {
    let mut setup = setup(1);
    setup.circuits[0].fuse = Some(amps(63.0));
    let mut garage = circuit("garage", 0, 40.0, None);
    garage.reserve = amps(4.0);
    garage.max_power = Some(Watt(11_000));
    setup.circuits.push(garage);
    setup.chargers[0].circuit = 1;
    let mut world = World::new(setup);
    world.run(60);
    // 11 000 W / 230 V less 3 x 4 A are 35.8 A for three phases.
    assert_eq!((world.offers(), world.reason(0)), (vec![11], "circuit"));
}

/// The first frame of a load may show half of it.
#[test]
fn an_overload_tells_its_first_figure_at_once_and_its_highest_when_it_is_over() {
    let mut world = World::new(setup(1));
    world.run(60);
    let steps = [(11.0, 1), (24.0, 2), (2.0, 4), (24.0, 1), (2.0, 30)];
    for (load, seconds) in steps {
        world.loads[0] = Phases([amps(2.0), amps(load), amps(2.0)]);
        world.run(seconds);
    }
    let told: Vec<_> = world.told(EventType::FuseOverload).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].figures.current, told[0].figures.current_limit), (Some(amps(27.0)), Some(amps(25.0))));
    assert_eq!(told[1].figures.current, Some(amps(40.0)), "{}", told[1].detail);
    assert!(told[1].detail.starts_with("over now: up to 40 A on L2 within "), "{}", told[1].detail);
    // One that never was more than what was told is over without a word.
    world.loads[0] = Phases([amps(2.0), amps(11.0), amps(2.0)]);
    world.run(60);
    assert_eq!(world.count(EventType::FuseOverload), 3);
}

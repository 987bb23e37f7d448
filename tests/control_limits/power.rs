//! Limits in kW: import, all charging, the quarter of an hour, the grid operator's order, and the balance of the phases.

use gridkeeper::control::InputMeaning;
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Millivolt, Phase, Phases, Watt};

use crate::site::{amps, input, setup};
use crate::world::{World, meter};

fn house(count: usize) -> World {
    let mut setup = setup(count);
    setup.circuits[0].fuse = Some(amps(63.0));
    World::new(setup)
}

fn dimmed(volts: i32, count: usize) -> World {
    let mut setup = setup(count);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.inputs = vec![input(InputMeaning::GridDim)];
    setup.dim = Some(Watt(4_200));
    let mut world = World::new(setup);
    world.voltage = Millivolt(volts * 1_000);
    world.input(false);
    world.run(60);
    assert!(world.offers().iter().all(|it| *it == 16), "{:?}", world.offers());
    world
}

#[test]
fn import_is_net_over_the_phases() {
    let mut world = house(1);
    world.loads[0] = Phases([amps(20.0), amps(10.0), amps(-10.0)]);
    world.set("site/set/max_import_kw", "10");
    world.run(60);
    // (10 000 W - 20 A x 230 V) / 690 V = 7.8 A
    assert_eq!((world.offers(), world.reason(0)), (vec![7], "max_import_kw"));
    world.loads[0] = Phases([amps(26.0), amps(10.0), amps(-10.0)]);
    world.run(2);
    assert_eq!(world.offers(), [0], "5.8 A would be left");
    world.set("site/set/max_import_kw", "none");
    world.run(120);
    assert_eq!(world.offers(), [16]);
}

#[test]
fn all_charging_together() {
    let mut world = house(3);
    world.set("site/set/max_charging_kw", "20");
    world.run(60);
    assert!(world.charging() <= Watt(20_000) && world.charging() > Watt(19_000), "{:?}", world.charging());
    world.set("site/set/max_charging_kw", "9");
    world.run(2);
    assert_eq!(world.offers().iter().sum::<i32>(), 13, "{:?}", world.offers());
    world.sims[0].uses = 1;
    world.run(60);
    assert!(world.charging() <= Watt(9_000), "{:?}", world.charging());
}

#[test]
fn a_meter_of_total_power_keeps_limits_in_kw() {
    let mut world = house(1);
    world.total_only = true;
    world.loads[0] = Phases::all(amps(5.0));
    world.set("site/set/max_import_kw", "12");
    world.run(90);
    // (12 000 - 3 450) / 690 = 12.4 A
    assert_eq!(world.offers(), [12]);
}

#[test]
fn a_meter_of_total_power_cannot_guard_a_fuse_before_production_that_nobody_measures() {
    let feeding = Phases([amps(20.0), amps(-15.0), amps(-10.0)]);
    for (figure, expected) in [(None, vec![0]), (Some(10.0), vec![10])] {
        let mut setup = setup(1);
        setup.circuits[0].static_current = figure.map(amps);
        let mut world = World::new(setup);
        world.total_only = true;
        world.loads[0] = Phases::all(amps(1.0));
        world.run(60);
        assert_eq!(world.offers(), [figure.map_or(16, |_| 10)], "the owner's figure says that there is production");
        // Nothing flows in, and yet L1 carries 20 A.
        world.loads[0] = feeding;
        world.sims[0].state = gridkeeper::reading::PilotState::B;
        world.set("charger/c0/set/mode", "off");
        world.run(60);
        world.set("charger/c0/set/mode", "fast");
        world.run(120);
        assert_eq!((world.offers(), world.reason(0)), (expected, "static"));
    }
}

#[test]
fn production_that_is_measured_is_added_back_before_a_meter_of_total_power() {
    let mut setup = setup(1);
    setup.meters.push(meter("sun"));
    setup.solar = vec![1];
    let mut world = World::new(setup);
    world.total_only = true;
    world.produces = Some((1, Watt(4_600)));
    // All that the sun gives is taken by the house: 20 A, perhaps all of them on one phase.
    world.loads[0] = Phases([amps(20.0), amps(-20.0), amps(0.4)]);
    world.run(120);
    assert_eq!(world.offers(), [0], "24.5 - 20.4 A leave no 6 A");
    world.produces = Some((1, Watt(2_300)));
    world.run(120);
    assert_eq!(world.offers(), [14], "24.5 - 10.4 A");
}

#[test]
fn a_dim_order_is_kept_within_seconds_and_six_ampere_on_three_phases_fit_it() {
    let mut world = dimmed(230, 1);
    world.input(true);
    world.run(3);
    assert_eq!((world.offers(), world.reason(0)), (vec![6], "dim"));
    assert!(world.charging() <= Watt(4_200));
    world.run(600);
    assert_eq!(world.offers(), [6]);
    world.input(false);
    world.run(60);
    assert_eq!(world.offers(), [16]);
    assert_eq!((world.count(EventType::DimStarted), world.count(EventType::DimEnded)), (1, 1));
}

/// With a second of meter, box and car each the order is kept in a few seconds; what is drawn then is in the event.
#[test]
fn begin_and_end_of_a_dim_order_tell_the_limit_and_what_was_drawn() {
    for measured in [true, false] {
        let mut world = dimmed(230, 1);
        world.sims[0].voltage = measured.then_some(world.voltage);
        world.run(2);
        world.input(true);
        world.run(300);
        world.input(false);
        world.run(2);
        let figures = |event| world.told(event).map(|it| it.figures).next().expect("told");
        let (begin, end) = (figures(EventType::DimStarted), figures(EventType::DimEnded));
        assert_eq!([begin.power_limit, end.power_limit], [Some(Watt(4_200)); 2]);
        assert_eq!(
            [begin.power, end.power],
            if measured { [Some(Watt(11_040)), Some(Watt(4_140))] } else { [None; 2] }
        );
        let sentence = &world.told(EventType::DimEnded).next().expect("told").detail;
        assert!(sentence.contains("4200 W was kept from") && sentence.contains("at most 41"), "{sentence}");
        assert_eq!(sentence.contains("was not measured"), !measured, "{sentence}");
    }
}

/// A car that goes on drawing while it is dimmed: nothing was held, and the event does not say so.
#[test]
fn a_dim_order_that_was_not_kept_says_so() {
    let mut world = dimmed(230, 1);
    world.sims[0].voltage = Some(world.voltage);
    world.sims[0].stubborn = Some(amps(16.0));
    world.input(true);
    world.run(60);
    world.input(false);
    world.run(2);
    let told = world.told(EventType::DimEnded).next().expect("told");
    assert!(told.detail.contains("was not reached") && told.figures.power.is_none(), "{told:?}");
}

#[test]
fn at_a_high_voltage_measured_power_decides_whether_six_ampere_stay() {
    // 3 x 6 A x 240 V = 4.32 kW: offered too much, but a car takes less than it is offered.
    let mut world = dimmed(240, 1);
    world.sims[0].above = amps(-0.5);
    world.input(true);
    world.run(300);
    assert_eq!(world.offers(), [6]);
    assert!(world.charging() <= Watt(4_200), "{:?}", world.charging());
    // One that takes all of it has to stop.
    let mut world = dimmed(240, 1);
    world.input(true);
    world.run(20);
    assert_eq!((world.offers(), world.reason(0)), (vec![0], "dim"));
    world.run(300);
    assert_eq!(world.offers(), [0], "and is not tried again and again");
}

#[test]
fn of_two_cars_one_charges_while_dimmed() {
    let mut world = dimmed(230, 2);
    world.input(true);
    world.run(10);
    assert_eq!(world.offers().iter().sum::<i32>(), 6);
    world.run(300);
    assert!(world.charging() <= Watt(4_200));
}

#[test]
fn without_a_figure_a_dim_order_stops_charging() {
    let mut setup = setup(1);
    setup.inputs = vec![input(InputMeaning::GridDim)];
    let mut world = World::new(setup);
    world.input(false);
    world.run(60);
    world.input(true);
    world.run(2);
    assert_eq!((world.offers(), world.reason(0)), (vec![0], "dim"));
}

#[test]
fn the_mean_of_each_quarter_of_an_hour_is_kept_and_used() {
    let mut world = house(1);
    world.set("site/set/peak_15min_kw", "5");
    for second in 0..7_200 {
        // An oven for ten minutes in every forty, a kettle for two in every eleven.
        let oven = if (second / 600) % 4 == 1 { 11.0 } else { 0.0 };
        let kettle = if (second / 60) % 11 < 2 { 9.0 } else { 0.0 };
        world.loads[0] = Phases([amps(1.0 + oven), amps(1.0 + kettle), amps(2.0)]);
        world.tick();
    }
    world.quarters.pop();
    assert_eq!(world.quarters.len(), 8);
    for wh in &world.quarters {
        assert!(*wh <= 1_250.0, "5 kW are 1250 Wh: {:?}", world.quarters);
    }
    // One quarter is half empty: the car has had more interruptions than it may be expected to put up with, and rests.
    let used = world.quarters.iter().sum::<f64>();
    assert!(used >= 9_000.0, "of 10 kWh: {:?}", world.quarters);
}

#[test]
fn every_fifteen_minutes_count_where_nobody_tells_a_quarter() {
    let mut setup = setup(1);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.site.peak_15min = Some(Watt(5_000));
    let mut world = World::new(setup);
    world.wall = false;
    let mut window = std::collections::VecDeque::new();
    let mut worst = 0.0_f64;
    for second in 0..5_400 {
        let load = if (1_800..2_250).contains(&second) { 13.6 } else { 0.4 };
        world.loads[0] = Phases::all(amps(load));
        world.tick();
        let import: Watt = world.current(0).iter().map(|(_, it)| it.at(world.voltage)).sum();
        window.push_back(f64::from(import.0));
        if window.len() > 900 {
            window.pop_front();
        }
        // What was charged before the oven came cannot be taken back.
        if second >= 2_700 {
            worst = worst.max(window.iter().sum::<f64>() / 900.0);
        }
    }
    assert!((4_900.0..5_050.0).contains(&worst), "{worst:.0} W");
}

#[test]
fn one_phase_current_stays_in_balance() {
    let mut setup = setup(3);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.max_imbalance = Some(amps(20.0));
    for (charger, phase) in setup.chargers.iter_mut().zip([Phase::L1, Phase::L1, Phase::L2]) {
        charger.phases = vec![phase];
    }
    let mut world = World::new(setup);
    world.run(90);
    // Nobody is on L3: 20 A on each of the others.
    assert_eq!(world.offers(), [10, 10, 16]);
    let text = world.status(0).reason.to_string();
    assert!(world.offers()[0] + world.offers()[1] <= 20, "{text}");
}

#[test]
fn the_least_loaded_phase_lifts_the_others() {
    let mut setup = setup(3);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.max_imbalance = Some(amps(10.0));
    for (charger, phase) in setup.chargers.iter_mut().zip(Phase::ALL) {
        charger.phases = vec![phase];
    }
    let mut world = World::new(setup);
    world.run(120);
    assert_eq!(world.offers(), [16, 16, 16]);
    world.sims[2].state = gridkeeper::reading::PilotState::A;
    world.sims[2].drawn = amps(0.0);
    world.run(5);
    assert_eq!(world.offers(), [10, 10, 0]);
    assert_eq!(world.reason(0), "limit_l1");
    assert!(world.status(0).reason.to_string().contains("than the others"), "{}", world.status(0).reason);
}

#[test]
fn a_car_that_is_full_balances_nobody() {
    let mut setup = setup(3);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.max_imbalance = Some(amps(12.0));
    for (charger, phase) in setup.chargers.iter_mut().zip(Phase::ALL) {
        charger.phases = vec![phase];
    }
    let mut world = World::new(setup);
    world.run(120);
    assert_eq!(world.offers(), [16, 16, 16]);
    for full in [1, 2] {
        world.sims[full].car_max = amps(0.0);
    }
    world.run(60);
    assert_eq!(world.sims.iter().map(|it| it.drawn.0 / 1_000).collect::<Vec<_>>(), [12, 0, 0], "{:?}", world.offers());
}

#[test]
fn a_dim_order_counts_with_the_voltage_at_the_box_where_the_meter_tells_none() {
    let mut setup = setup(1);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.inputs = vec![input(InputMeaning::GridDim)];
    setup.dim = Some(Watt(6_900));
    let mut world = World::new(setup);
    world.voltage = Millivolt(250_000);
    world.total_only = true;
    world.sims[0].voltage = Some(world.voltage);
    world.input(true);
    world.run(90);
    assert_eq!(world.offers(), [9], "10 A would be 7.5 kW");
}

/// Of a car that nobody measures it is not known that it takes less than its offer.
#[test]
fn an_unmeasured_car_is_stopped_where_three_times_six_ampere_are_too_much() {
    let mut setup = setup(1);
    setup.circuits[0].fuse = Some(amps(63.0));
    setup.chargers[0].measures = false;
    setup.inputs = vec![input(InputMeaning::GridDim)];
    setup.dim = Some(Watt(4_200));
    let mut world = World::new(setup);
    world.voltage = Millivolt(240_000);
    world.input(false);
    world.run(60);
    assert_eq!(world.offers(), [16]);
    world.input(true);
    world.tick();
    assert_eq!((world.offers(), world.reason(0)), (vec![0], "dim"));
}

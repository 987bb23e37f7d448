//! One phase or three.

use gridkeeper::event::EventType;
use gridkeeper::quantity::{Phase, Phases, Span};
use gridkeeper::reading::PilotState;

use crate::site::{amps, setup};
use crate::world::World;

fn house(chooses: bool) -> World {
    let mut setup = setup(1);
    setup.chargers[0].can_switch_phases = true;
    setup.chargers[0].chooses_phase = chooses;
    setup.chargers[0].phases = vec![Phase::L2, Phase::L3, Phase::L1];
    World::new(setup)
}

#[test]
fn where_one_phase_is_full_the_car_charges_on_another_and_goes_back_when_there_is_room() {
    let mut world = house(false);
    world.run(60);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 3));
    // Another phase than the one that it would use has 4 A left.
    world.loads[0] = Phases([amps(20.5), amps(2.0), amps(2.0)]);
    world.run(3);
    assert_eq!(world.offers(), [0], "a limit waits for nothing");
    world.run(60);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 1));
    assert_eq!(world.count(EventType::PhaseSwitched), 1);
    world.loads[0] = Phases::all(amps(2.0));
    world.run(120);
    assert_eq!(world.sims[0].lines, 1, "not within five minutes");
    world.run(300);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 3));
    assert_eq!(world.count(EventType::PhaseSwitched), 2);
    assert_eq!(world.count(EventType::PhaseSwitchFailed), 0);
}

/// With nothing else that holds it back.
#[test]
fn not_back_within_the_shortest_time_between_two_switchings() {
    let mut setup = setup(1);
    setup.chargers[0].can_switch_phases = true;
    setup.min_on = Span::ZERO;
    let mut world = World::new(setup);
    world.run(60);
    world.loads[0] = Phases([amps(2.0), amps(20.5), amps(2.0)]);
    world.run(63);
    assert_eq!(world.sims[0].lines, 1);
    world.loads[0] = Phases::all(amps(2.0));
    world.run(200);
    assert_eq!(world.sims[0].lines, 1);
    world.run(150);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 3));
}

#[test]
fn not_to_a_phase_that_has_just_the_minimum() {
    let mut world = house(false);
    world.run(60);
    // Its own first phase, L2, has 6.2 A left.
    world.loads[0] = Phases([amps(20.5), amps(18.3), amps(2.0)]);
    world.run(300);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![0], 3));
}

#[test]
fn not_where_the_one_phase_has_no_more() {
    let mut world = house(false);
    world.run(60);
    world.loads[0] = Phases([amps(2.0), amps(20.5), amps(2.0)]);
    world.run(600);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![0], 3));
}

#[test]
fn a_box_that_can_choose_takes_the_phase_with_most_room() {
    let mut world = house(true);
    world.run(60);
    world.loads[0] = Phases([amps(14.0), amps(20.5), amps(2.0)]);
    let mut told = None;
    for _ in 0..30 {
        world.tick();
        told = world.commands[0].phases.map(|phases| (phases, world.commands[0].line)).or(told);
    }
    assert_eq!(told, Some((1, Some(1))), "L3 is behind its own L2");
    assert_eq!((world.offers(), world.commands[0].phases), (vec![16], None), "what carries current is left alone");
}

#[test]
fn given_up_with_an_event_while_current_flows() {
    let mut world = house(false);
    world.run(60);
    world.set("charger/c0/set/phases", "1");
    world.sims[0].stubborn = Some(amps(8.0));
    world.run(20);
    assert_eq!(world.count(EventType::PhaseSwitchFailed), 1);
    assert_eq!(world.sims[0].lines, 3);
}

/// The fourth failure would have made the next try wait for eight minutes.
#[test]
fn tried_at_once_when_its_owner_asks_again() {
    for (said, lines) in [(None, 3), (Some("auto"), 3), (Some("1"), 1)] {
        let mut world = house(false);
        world.run(60);
        world.set("charger/c0/set/phases", "1");
        world.sims[0].stubborn = Some(amps(8.0));
        world.run(560);
        assert_eq!(world.count(EventType::PhaseSwitchFailed), 4);
        world.sims[0].stubborn = None;
        world.run(60);
        if let Some(said) = said {
            world.set("charger/c0/set/phases", said);
        }
        world.run(30);
        assert_eq!(world.sims[0].lines, lines, "{said:?}");
    }
}

#[test]
fn a_person_chooses() {
    let mut world = house(false);
    world.run(60);
    world.set("charger/c0/set/phases", "1");
    world.tick();
    assert_eq!(world.sims[0].lines, 3);
    world.run(2);
    assert_eq!((world.offers(), world.reason(0)), (vec![0], "phase_switch"));
    world.run(40);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 1));
    world.set("charger/c0/set/phases", "3");
    world.run(120);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 3));
}

#[test]
fn a_one_phase_car_is_left_where_it_is() {
    let mut world = house(false);
    world.sims[0].uses = 1;
    world.run(60);
    assert_eq!(world.offers(), [16]);
    world.loads[0] = Phases([amps(20.5), amps(2.0), amps(20.5)]);
    world.run(30);
    assert_eq!(world.offers(), [16], "it counts on its own phase only");
    world.loads[0] = Phases([amps(2.0), amps(20.5), amps(2.0)]);
    world.run(120);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![0], 3), "switching would not help it");
}

#[test]
fn a_car_that_starts_with_too_little_on_three_phases_starts_on_one() {
    let mut world = house(false);
    world.loads[0] = Phases([amps(20.5), amps(2.0), amps(2.0)]);
    world.run(90);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 1));
    assert_eq!(world.sims[0].state, PilotState::C);
}

#[test]
fn the_sun_that_pays_for_one_phase_is_used_on_one_and_on_three_when_it_pays_for_all() {
    let mut world = house(false);
    world.set("charger/c0/set/mode", "solar");
    world.loads[0] = Phases::all(amps(-3.1));
    world.run(400);
    assert_eq!(world.sims[0].lines, 1, "2.1 kW are not 4.1 kW");
    assert!((6..=10).contains(&world.offers()[0]), "{:?}", world.offers());
    world.run(900);
    assert_eq!(world.count(EventType::PhaseSwitched), 1, "and it stays there");
    world.loads[0] = Phases::all(amps(-9.3));
    world.run(900);
    assert_eq!(world.sims[0].lines, 3, "6.4 kW are");
    assert!((6..=10).contains(&world.offers()[0]), "{:?}", world.offers());
    assert_eq!(world.count(EventType::PhaseSwitched), 2);
}

/// What it was left on by somebody else is changed back when its car has stopped, not with the next offer.
#[test]
fn an_offer_carries_no_phases_for_a_contactor_that_is_closed_otherwise() {
    let mut world = house(false);
    world.run(60);
    world.sims[0].lines = 1;
    world.run(3);
    world.set("charger/c0/set/max_current_a", "10");
    world.run(30);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![10], 1));
    assert!(!world.sims[0].switched_under_load);
    world.set("charger/c0/set/mode", "off");
    world.run(10);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![0], 3));
    assert!(!world.sims[0].switched_under_load);
}

/// Its own timer has raised it while it was silent, on the phase that the given up switching left it on.
#[test]
fn a_box_that_charges_when_it_comes_back_is_not_switched() {
    for measures in [true, false] {
        let mut setup = setup(1);
        setup.chargers[0].can_switch_phases = true;
        setup.chargers[0].measures = measures;
        let mut world = World::new(setup);
        world.run(60);
        world.set("charger/c0/set/phases", "1");
        world.run(40);
        assert_eq!(world.sims[0].lines, 1);
        world.sims[0].answers = false;
        world.set("charger/c0/set/phases", "3");
        world.run(100);
        world.sims[0].ramp = Some(amps(1.0));
        world.sims[0].answers = true;
        for _ in 0..300 {
            world.tick();
            assert!(!world.sims[0].switched_under_load, "{:?}, measured: {measures}", world.now);
        }
        assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 3));
    }
}

/// One that was put on one phase restarts with all of them closed: from then on all its phases count.
#[test]
fn a_box_that_restarts_on_all_its_phases_counts_on_all_of_them() {
    let mut world = house(false);
    world.run(60);
    world.loads[0] = Phases([amps(20.5), amps(2.0), amps(2.0)]);
    world.run(63);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 1));
    (world.sims[0].lines, world.sims[0].set_point) = (3, amps(16.0));
    world.run(2);
    assert_eq!(world.offers(), [0], "L1 has 4 A left");
    world.run(60);
    assert!(!world.sims[0].switched_under_load);
    assert_eq!((world.offers(), world.sims[0].lines), (vec![16], 1), "and is put on one phase again");
}

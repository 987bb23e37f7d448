//! One phase or three.

use gridkeeper::event::EventType;
use gridkeeper::quantity::{Phase, Phases};
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
    world.run(30);
    assert_eq!((world.commands[0].phases, world.commands[0].line), (Some(1), Some(1)), "L3 is behind its own L2");
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

//! Rows: start-up, process killed (seen from the next start), orderly stop.

use gridkeeper::command::Contact;
use gridkeeper::quantity::{Milliamp, Phases, Span};
use gridkeeper::reading::PilotState;

use crate::site::{MeterFault, Site, amps, setup};

#[test]
fn the_present_offer_is_read_first_counted_and_written_down_to_six() {
    let mut site = Site::new(setup(1));
    site.sims[0].set_point = amps(16.0);
    site.sims[0].state = PilotState::C;
    site.sims[0].drawn = amps(16.0);
    site.step(&[]);
    assert_eq!(
        (site.contact(0), site.command(0).offer),
        (Contact::Open, None),
        "nothing is written before it was read"
    );
    site.tick();
    assert_eq!((site.counted(0), site.offer(0)), (16.0, 6.0));
    site.tick();
    assert_eq!(site.offer(0), 6.0);
    site.run(20);
    assert_eq!(site.offer(0), 16.0);
    assert!(site.sims[0].writes.iter().all(|(_, offer)| *offer >= amps(6.0)), "the car was never interrupted");
}

#[test]
fn nothing_is_raised_before_three_good_frames() {
    let mut site = Site::new(setup(1));
    for frames in 1..=2 {
        site.tick();
        assert_eq!((site.offer(0), site.reason(0)), (0.0, "start_up"), "after {frames} frames");
    }
    site.run(20);
    assert_eq!(site.offer(0), 16.0);
}

#[test]
fn by_priority_while_the_sum_fits_the_fuse_the_rest_to_zero() {
    let mut setup = setup(5);
    setup.chargers[4].settings.priority = 1;
    let mut site = Site::new(setup);
    site.fault = MeterFault::Silent;
    for sim in &mut site.sims {
        sim.set_point = amps(16.0);
        sim.state = PilotState::C;
        sim.drawn = amps(16.0);
    }
    site.sims[1].state = PilotState::B;
    site.sims[1].drawn = Milliamp::ZERO;
    site.tick();
    let offers: Vec<f64> = (0..5).map(|index| site.offer(index)).collect();
    assert_eq!(offers, [6.0, 0.0, 6.0, 6.0, 6.0], "24 A fit under 24.5 A; a car that does not charge gets nothing");
    let mut setup = setup_with_fuse(5, 16.0);
    setup.chargers[4].settings.priority = 1;
    let mut site = Site::new(setup);
    site.fault = MeterFault::Silent;
    for sim in &mut site.sims {
        sim.set_point = amps(16.0);
        sim.state = PilotState::C;
    }
    site.tick();
    let offers: Vec<f64> = (0..5).map(|index| site.offer(index)).collect();
    assert_eq!(offers, [6.0, 0.0, 0.0, 0.0, 6.0]);
}

fn setup_with_fuse(count: usize, fuse: f64) -> gridkeeper::control::Setup {
    let mut setup = setup(count);
    setup.circuits[0].fuse = Some(amps(fuse));
    setup
}

#[test]
fn after_the_lost_time_the_meter_rule_holds_at_start_too() {
    let mut site = Site::new(setup(1));
    site.fault = MeterFault::Silent;
    site.sims[0].set_point = amps(16.0);
    site.sims[0].state = PilotState::C;
    site.run(10);
    assert_eq!(site.offer(0), 6.0);
    site.run(1);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "meter_lost"));
}

#[test]
fn a_charger_that_never_answers_is_asked_with_a_read_for_five_seconds() {
    let mut site = Site::new(setup(2));
    site.sims[0].hears = false;
    for _ in 0..5 {
        site.tick();
        assert_eq!((site.contact(0), site.reason(0)), (Contact::Open, "start_up"));
        assert_eq!(site.counted(0), 16.0, "nobody knows what it offers");
        assert!(site.sims[0].writes.is_empty());
    }
    site.run(2);
    assert!(matches!(site.contact(0), Contact::WriteFirst(_)));
}

#[test]
fn nobody_is_stopped_for_a_charger_that_was_not_heard_yet() {
    let mut setup = setup_with_fuse(4, 25.0);
    setup.chargers[0].max_current = amps(32.0);
    let mut site = Site::new(setup);
    for sim in &mut site.sims {
        sim.set_point = amps(6.0);
        sim.state = PilotState::C;
        sim.drawn = amps(6.0);
    }
    site.sims[3].state = PilotState::A;
    site.sims[3].drawn = Milliamp::ZERO;
    site.sims[0].task_is_dead = true;
    site.run(3);
    assert_eq!([site.offer(1), site.offer(2)], [6.0, 6.0]);
    site.sims[0].task_is_dead = false;
    site.run(30);
    assert!((0..3).all(|index| site.offer(index) >= 6.0), "22.5 A hold three");
}

#[test]
fn no_meter_is_static_balancing() {
    let mut setup = setup(2);
    setup.circuits[0].meter = None;
    setup.circuits[0].static_current = Some(amps(20.0));
    setup.meters.clear();
    let mut site = Site::new(setup);
    site.fault = MeterFault::Silent;
    site.run(30);
    assert_eq!([site.offer(0), site.offer(1)], [10.0, 10.0]);
    assert_eq!(site.reason(0), "sharing");
    site.sims[1].state = PilotState::A;
    site.run(30);
    assert_eq!([site.offer(0), site.offer(1)], [16.0, 0.0]);
}

#[test]
fn no_charger_is_a_meter_bridge() {
    let mut site = Site::new(setup(0));
    site.run(30);
    let decision = site.controller.decision();
    assert!(decision.commands.is_empty());
    assert_eq!(decision.site.and_then(|it| it.surplus).map(|it| it.0), Some(-1380));
}

#[test]
fn an_orderly_stop_leaves_six_ampere_only_where_the_watchdog_is_verified() {
    let mut setup = setup(3);
    setup.chargers[1].watchdog = None;
    setup.chargers[1].fail_safe = Milliamp::ZERO;
    let mut site = Site::charging(setup);
    assert_eq!(site.controller.orderly_stop(), [amps(6.0), Milliamp::ZERO, amps(6.0)]);
    site.sims[2].hears = false;
    site.run(10);
    assert_eq!(site.controller.orderly_stop()[2], amps(6.0), "silent: min(offer, fail-safe current)");
    site.set("charger/c0/set/mode", "off");
    site.run(3);
    assert_eq!(site.controller.orderly_stop()[0], Milliamp::ZERO);
}

#[test]
fn after_a_blackout_chargers_are_raised_one_after_another() {
    let mut setup = setup(3);
    setup.circuits[0].fuse = Some(amps(63.0));
    let mut site = Site::new(setup);
    site.house = Phases::all(amps(2.0));
    let mut before = [0.0; 3];
    for _ in 0..60 {
        site.tick();
        let now = [0, 1, 2].map(|index| site.offer(index));
        let started = (0..3).filter(|index| before[*index] == 0.0 && now[*index] > 0.0).count();
        assert!(started <= 1, "{before:?} then {now:?}");
        assert!((0..3).all(|index| now[index] - before[index] <= 6.0), "{before:?} then {now:?}");
        before = now;
    }
    assert_eq!(before, [16.0; 3]);
    let _ = Span::ZERO;
}

#[test]
fn an_orderly_stop_leaves_no_1_to_5_ampere() {
    let mut setup = setup(1);
    setup.chargers[0].watchdog = None;
    setup.chargers[0].fail_safe = amps(3.0);
    let site = Site::charging(setup);
    assert_eq!(site.controller.orderly_stop(), [Milliamp::ZERO]);
}

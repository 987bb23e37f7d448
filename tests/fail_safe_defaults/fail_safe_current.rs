//! What is programmed into the chargers' own timers: 0 where a charger may not charge now, or has no place.

use gridkeeper::quantity::{Milliamp, Phases, Span};
use gridkeeper::reading::PilotState;

use crate::site::{MeterFault, Site, amps, setup};

fn programmed(site: &Site) -> Vec<f64> {
    site.sims.iter().map(|sim| sim.watchdog.fail_safe.as_f64()).collect()
}

/// Register writes of the fail-safe current over the next seconds, as the box sees them.
fn changes(site: &mut Site, index: usize, seconds: i64, mut each: impl FnMut(&mut Site, i64)) -> usize {
    let mut count = 0;
    let mut last = site.command(index).fail_safe;
    for second in 0..seconds {
        each(site, second);
        site.tick();
        count += usize::from(site.command(index).fail_safe != last);
        last = site.command(index).fail_safe;
    }
    count
}

#[test]
fn whoever_waits_for_its_turn_has_zero_programmed() {
    let mut setup = setup(3);
    setup.circuits[0].fuse = Some(amps(16.0));
    let mut site = Site::new(setup);
    site.run(120);
    let charging: Vec<usize> = (0..3).filter(|index| site.offer(*index) > 0.0).collect();
    assert_eq!(charging.len(), 2, "13.5 A hold two");
    for index in 0..3 {
        let due = if charging.contains(&index) { 6.0 } else { 0.0 };
        assert_eq!(site.command(index).fail_safe, amps(due), "charger {index}");
        assert_eq!(site.status(index).fail_safe, amps(due));
    }
}

#[test]
fn behind_a_lost_meter_without_room_and_without_a_car_zero_is_programmed() {
    let mut site = Site::charging(setup(2));
    assert_eq!([0, 1].map(|it| site.command(it).fail_safe), [amps(6.0); 2]);
    site.fault = MeterFault::Silent;
    site.run(60);
    assert_eq!([0, 1].map(|it| site.command(it).fail_safe), [Milliamp::ZERO; 2], "lost meter");
    site.fault = MeterFault::None;
    site.run(60);
    assert_eq!([0, 1].map(|it| site.command(it).fail_safe), [amps(6.0); 2], "back with the raise");
    site.house = Phases::all(amps(20.0));
    site.run(60);
    assert_eq!([0, 1].map(|it| site.command(it).fail_safe), [Milliamp::ZERO; 2], "no room");
    site.house = Phases::all(amps(2.0));
    site.run(120);
    site.sims[0].state = PilotState::A;
    site.run(60);
    assert_eq!([0, 1].map(|it| site.command(it).fail_safe), [Milliamp::ZERO, amps(6.0)], "no car");
}

#[test]
fn a_latched_car_leaves_zero_programmed() {
    let mut site = Site::charging(setup(1));
    site.sims[0].stubborn = Some(amps(24.0));
    site.run(120);
    assert_eq!(site.reason(0), "not_obeying");
    assert_eq!(site.command(0).fail_safe, Milliamp::ZERO);
}

#[test]
fn the_raise_and_its_fail_safe_current_come_together() {
    let mut site = Site::new(setup(1));
    site.sims[0].state = PilotState::A;
    site.run(60);
    assert_eq!(site.command(0).fail_safe, Milliamp::ZERO);
    site.sims[0].state = PilotState::B;
    while site.offer(0) == 0.0 {
        site.tick();
    }
    assert_eq!(site.command(0).fail_safe, amps(6.0));
}

#[test]
fn a_kettle_does_not_wear_the_register_out() {
    let mut site = Site::charging(setup(1));
    let kettle = |site: &mut Site, second: i64| {
        // Less often than `min_on_s`: after shorter runs a start waits longer than the register does.
        site.house = Phases::all(amps(if second % 400 < 10 { 20.0 } else { 2.0 }));
    };
    assert_eq!(changes(&mut site, 0, 2_000, kettle), 0, "stopped for less than half a minute at a time");
}

#[test]
fn two_cars_for_one_place_never_have_two_currents_programmed() {
    let mut setup = setup(2);
    setup.circuits[0].fuse = Some(amps(9.0));
    setup.min_on = Span::from_secs(20);
    let mut site = Site::new(setup);
    let mut turns = 0;
    let mut last = 0;
    for _ in 0..1200 {
        site.tick();
        let on: Vec<usize> = (0..2).filter(|index| site.offer(*index) > 0.0).collect();
        if let [one] = on[..]
            && one != last
        {
            (turns, last) = (turns + 1, one);
        }
        let sum: Milliamp = (0..2).map(|index| site.command(index).fail_safe).sum();
        let fits = site.now.0 < 60_000 || sum <= amps(6.0);
        assert!(fits, "{sum} programmed at {:?}: {:?}", site.now, programmed(&site));
    }
    assert!(turns > 2, "{turns} turns");
}

#[test]
fn a_wish_of_today_is_not_what_a_silent_box_has() {
    // It was programmed to 6 A and went silent; switching it off now changes nothing in the box.
    let mut site = Site::charging(setup(2));
    site.sims[0].hears = false;
    site.run(7);
    site.set("charger/c0/set/mode", "off");
    site.run(100);
    assert_eq!(site.counted(0), 6.0);
    assert_eq!(site.command(0).fail_safe, amps(6.0), "nothing is written while it is away");
    // The other way: 0 is programmed, and the owner wants it to charge while it is away.
    let mut site = Site::charging(setup(2));
    site.set("charger/c0/set/mode", "off");
    site.run(60);
    assert_eq!(programmed(&site)[0], 0.0);
    site.sims[0].hears = false;
    site.run(7);
    site.set("charger/c0/set/mode", "fast");
    site.run(100);
    assert_eq!((site.counted(0), site.offer(0)), (0.0, 0.0));
    assert_eq!(site.offer(1), 16.0);
}

#[test]
fn a_change_on_its_way_counts_at_the_higher_figure() {
    // 16 A are programmed by somebody else and read back: that is what it falls to, verified.
    let mut setup = setup(2);
    setup.circuits[0].fuse = Some(amps(40.0));
    let mut site = Site::charging(setup);
    site.sims[0].watchdog.fail_safe = amps(16.0);
    site.tick();
    site.sims[0].hears = false;
    site.run(100);
    assert_eq!(site.counted(0), 16.0);
}

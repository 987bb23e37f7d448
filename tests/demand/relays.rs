//! Relays among cars: one order of priority, shedding, commands, pairs.

use gridkeeper::control::{Accepted, Mode, RelayRule, RelaySetup, Setup};
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Milliamp, Phase, Phases, Span, Watt};
use gridkeeper::reading::{Observation, RelayObservation};

use crate::house;
use crate::site::{Site, amps};

const LOAD: i32 = 2_300;

fn relay(id: &str, rule: RelayRule) -> RelaySetup {
    RelaySetup {
        id: id.to_owned(),
        on_when: vec![rule],
        load: Watt(LOAD),
        export_on: Watt(LOAD),
        export_off: Watt(-LOAD / 10),
        priority: 5,
        shed: false,
        min_on: Span::from_secs(60),
        min_off: Span::from_secs(60),
        force_max: Span::from_secs(600),
        safe_state: false,
        interlock: None,
    }
}

/// Seconds with relays that obey at once; their loads are on L1.
fn run(site: &mut Site, seconds: usize) {
    let base = site.house;
    for _ in 0..seconds {
        let orders = site.controller.decision().relay_orders.clone();
        let load: Milliamp = orders.iter().filter(|it| it.on).map(|_| Milliamp::from_amps(10)).sum();
        site.house = base;
        site.house[Phase::L1] += load;
        let now = site.now;
        let answers: Vec<_> = orders
            .iter()
            .enumerate()
            .map(|(index, it)| Observation::Relay(index, RelayObservation::Written { on: it.on, at: now }))
            .collect();
        site.tick_with(&answers);
    }
    site.house = base;
}

fn on(site: &Site, index: usize) -> bool {
    site.controller.decision().relay_orders[index].on
}

fn with(export: f64, priority: u8) -> Site {
    house(&[Mode::Solar], export, |setup: &mut Setup| {
        setup.relays.push(RelaySetup { priority, ..relay("boiler", RelayRule::Export) });
    })
}

#[test]
fn a_relay_before_a_car_takes_its_load_first_and_one_behind_takes_what_is_left() {
    let mut site = with(9.0, 1);
    run(&mut site, 400);
    assert!(on(&site, 0));
    assert!((6.0..=7.0).contains(&site.offer(0)), "27 A less 10 A, on three phases: {}", site.offer(0));
    let mut site = with(9.0, 9);
    run(&mut site, 400);
    assert!(!on(&site, 0));
    assert!((8.0..=10.0).contains(&site.offer(0)), "{}", site.offer(0));
    site.house = Phases::all(amps(-20.0));
    run(&mut site, 400);
    assert!(on(&site, 0), "more than the car can use");
    assert_eq!(site.offer(0), 16.0);
}

#[test]
fn a_relay_is_shed_before_a_car_is_stopped() {
    let mut site = house(&[Mode::Fast], -8.0, |setup| {
        setup.relays.push(RelaySetup { shed: true, ..relay("boiler", RelayRule::Always) });
    });
    site.run(30);
    assert_eq!(site.offer(0), 16.0);
    let mut site = house(&[Mode::Fast], -5.0, |setup| {
        setup.relays.push(RelaySetup { shed: true, ..relay("boiler", RelayRule::Always) });
        setup.chargers[0].max_current = amps(8.0);
        setup.chargers[0].settings.max_current = amps(8.0);
    });
    run(&mut site, 60);
    assert!(on(&site, 0));
    assert_eq!(site.offer(0), 8.0);
    site.house = Phases::all(amps(12.0));
    run(&mut site, 5);
    assert!(!on(&site, 0), "opened at once, min_on_s or not");
    run(&mut site, 30);
    assert_eq!((site.offer(0), site.status(0).interruptions), (8.0, 0), "the car goes on");
    assert_eq!(site.controller.decision().relays[0].reason.to_string(), "open: a fuse has no room for it");
}

#[test]
fn a_person_forces_it_for_a_limited_time_and_nothing_is_stored() {
    let mut site = with(0.0, 5);
    run(&mut site, 10);
    assert_eq!(site.controller.set(site.now, "relay/boiler/set/command", "on"), Ok(Accepted::Passing));
    run(&mut site, 599);
    assert!(on(&site, 0));
    run(&mut site, 2);
    assert!(!on(&site, 0), "the order has ended by itself");
    let refused = site.controller.set(site.now, "relay/boiler/set/command", "maybe").unwrap_err().to_string();
    assert_eq!(refused, "`maybe` is no command for a relay; allowed: auto, on, off");
    assert!(site.controller.set(site.now, "relay/pump/set/command", "on").is_err());
}

#[test]
fn of_a_pair_one_opens_before_the_other_closes() {
    let mut site = house(&[], 0.0, |setup| {
        setup.relays.push(RelaySetup { interlock: Some(1), ..relay("boost", RelayRule::Export) });
        setup.relays.push(RelaySetup { interlock: Some(0), ..relay("block", RelayRule::LowTariff) });
    });
    run(&mut site, 5);
    site.set("relay/boost/set/command", "on");
    run(&mut site, 5);
    assert!(on(&site, 0));
    site.set("relay/block/set/command", "on");
    run(&mut site, 5);
    assert!(on(&site, 0) && !on(&site, 1), "never both");
    site.set("relay/boost/set/command", "off");
    let mut both_open = 0;
    for _ in 0..10 {
        run(&mut site, 1);
        assert!(!(on(&site, 0) && on(&site, 1)));
        both_open += usize::from(!on(&site, 0) && !on(&site, 1));
    }
    assert!(on(&site, 1));
    assert!(both_open >= 1, "break before make");
}

#[test]
fn a_relay_that_does_not_answer_is_told_and_counts_as_closed() {
    let mut site = with(0.0, 5);
    let fail = |site: &Site| Observation::Relay(0, RelayObservation::Failed { at: site.now, write: true });
    for _ in 0..3 {
        let failed = fail(&site);
        site.tick_with(&[failed]);
    }
    assert_eq!(site.count(EventType::RelayLost), 1);
    let status = site.controller.decision().relays[0];
    assert!(status.on && !status.available);
    run(&mut site, 1);
    assert_eq!(site.count(EventType::RelayBack), 1);
}

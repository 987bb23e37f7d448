//! Relays among cars: one order of priority, shedding, commands, pairs.

use gridkeeper::control::{Accepted, Mode, RelayRule, RelaySetup, RelayWord, Setup};
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

/// How the relays' board behaves.
#[derive(Clone, Copy, PartialEq)]
enum Board {
    Obeys,
    /// Confirms everything; what was closed stays closed.
    Lies,
    /// Answers nothing; what was closed stays closed.
    Silent,
}

/// Seconds with relays that obey at once; their loads are on L1.
fn run(site: &mut Site, seconds: usize) {
    run_with(site, seconds, Board::Obeys);
}

/// Seconds with relays that do what the board does; before it broke, all of them were closed.
fn run_with(site: &mut Site, seconds: usize, board: Board) {
    let base = site.house;
    for _ in 0..seconds {
        let orders = site.controller.decision().relay_orders.clone();
        let closed = orders.iter().filter(|it| it.on || board != Board::Obeys);
        site.house = base;
        site.house[Phase::L1] += closed.map(|_| Milliamp::from_amps(10)).sum();
        let at = site.now;
        let answers: Vec<_> = orders
            .iter()
            .enumerate()
            .map(|(index, it)| {
                let heard = match board {
                    Board::Obeys | Board::Lies => RelayObservation::Written { on: it.on, at },
                    Board::Silent => RelayObservation::Failed { at, write: true },
                };
                Observation::Relay(index, heard)
            })
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

/// A boiler that sheds on L1 beside a car of 8 A, on a fuse that leaves 24.5 A.
fn shedding(rule: RelayRule) -> Site {
    house(&[Mode::Fast], -5.0, |setup| {
        setup.relays.push(RelaySetup { shed: true, ..relay("boiler", rule) });
        setup.chargers[0].max_current = amps(8.0);
        setup.chargers[0].settings.max_current = amps(8.0);
    })
}

#[test]
fn a_relay_is_shed_before_a_car_is_stopped() {
    let mut site = shedding(RelayRule::Always);
    run(&mut site, 60);
    assert!(on(&site, 0));
    assert_eq!(site.offer(0), 8.0);
    site.house = Phases::all(amps(6.0));
    run(&mut site, 2);
    assert!(on(&site, 0), "2.5 A above its minimum is what a car that ramps up leaves for a moment, too");
    run(&mut site, 2);
    assert!(!on(&site, 0), "opened, min_on_s or not");
    site.house = Phases::all(amps(12.0));
    run(&mut site, 60);
    assert_eq!((site.offer(0), site.status(0).interruptions), (8.0, 0), "the car goes on");
    assert_eq!(site.controller.decision().relays[0].reason.to_string(), "open: a fuse has no room for it");
    // As much room as it needs and a little more, and it closes again.
    site.house = Phases::all(amps(2.0));
    run(&mut site, 120);
    assert!(on(&site, 0));
    assert_eq!((site.offer(0), site.status(0).interruptions), (8.0, 0));
}

/// What the offers may be at most after a frame with `house` on each phase and the boiler on L1.
fn allowed(house: f64) -> f64 {
    (24.5 - house - 10.0).max(0.0)
}

#[test]
fn a_phase_above_its_limit_opens_it_at_once_and_a_waiting_car_comes_before_it() {
    let mut site = shedding(RelayRule::Always);
    run(&mut site, 60);
    site.house = Phases::all(amps(8.0));
    run(&mut site, 1);
    assert!(!on(&site, 0), "26 A on L1");
    assert_eq!(site.offer(0), 6.0);
    // The car is stopped as well, and then there is room for one of the two.
    site.house = Phases::all(amps(24.0));
    run(&mut site, 2);
    assert_eq!(site.offer(0), 0.0);
    site.house = Phases::all(amps(10.0));
    run(&mut site, 300);
    assert_eq!((site.offer(0), on(&site, 0)), (8.0, false));
}

#[test]
fn what_a_shed_relay_gives_back_is_room_when_the_meter_shows_it() {
    for answers in [true, false] {
        let mut site = shedding(RelayRule::Always);
        run(&mut site, 60);
        // Seven amperes at once: the frame leaves less than the car's minimum as long as the boiler runs.
        let board = if answers { Board::Lies } else { Board::Silent };
        site.house = Phases::all(amps(12.0));
        for second in 0..30 {
            run_with(&mut site, 1, board);
            assert!(!on(&site, 0), "told to open in second {second}");
            assert!(site.offer(0) <= allowed(12.0), "{} A in second {second}", site.offer(0));
        }
        let told = site.controller.decision().relays[0];
        assert_eq!((told.on, told.available), (!answers, answers), "silent counts as closed");
        assert_eq!(site.count(EventType::RelayLost), usize::from(!answers));
        // It opens at last: now there is room.
        run(&mut site, 90);
        assert_eq!(site.offer(0), 8.0);
    }
}

#[test]
fn nobody_rises_into_the_room_of_a_relay_that_has_just_closed() {
    // Two boilers and a waiting car: 19.5 A are free, enough for any one of them and for no two.
    let mut site = house(&[Mode::Fast], -5.0, |setup| {
        for id in ["boiler", "floor"] {
            setup.relays.push(RelaySetup { shed: true, ..relay(id, RelayRule::Always) });
        }
    });
    let mut worst = 0.0_f64;
    for _ in 0..400 {
        run(&mut site, 1);
        let closed = (0..2).filter(|index| on(&site, *index)).count();
        worst = worst.max(5.0 + 10.0 * closed as f64 + site.offer(0));
    }
    assert!(worst <= 24.5, "{worst} A on L1");
    assert_eq!(site.count(EventType::FuseOverload), 0);
}

#[test]
fn a_forced_relay_that_a_fuse_opened_waits_its_time() {
    let mut site = house(&[], -12.0, |setup| {
        setup.relays.push(RelaySetup { shed: true, on_when: Vec::new(), ..relay("boiler", RelayRule::Always) });
    });
    run(&mut site, 30);
    site.set("relay/boiler/set/command", "on");
    run(&mut site, 30);
    assert!(on(&site, 0));
    site.house = Phases::all(amps(20.0));
    run(&mut site, 2);
    assert!(!on(&site, 0), "a fuse goes before a person");
    site.house = Phases::all(amps(5.0));
    run(&mut site, 40);
    assert!(!on(&site, 0), "min_off_s after the fuse opened it");
    assert_eq!(site.controller.decision().relays[0].reason.word, RelayWord::MinOff);
    run(&mut site, 30);
    assert!(on(&site, 0), "the command still stands");
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

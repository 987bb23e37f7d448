//! Row: charger draws above its offer. And chargers that measure nothing.

use gridkeeper::control::Detail;
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Phases, Span};
use gridkeeper::reading::{Observation, PilotState};

use crate::site::{Site, amps, setup};

#[test]
fn ten_seconds_above_its_offer_then_lowered_then_stopped_and_opened() {
    let mut site = Site::charging(setup(1));
    site.set("charger/c0/set/max_current_a", "10");
    site.run(5);
    site.sims[0].stubborn = Some(amps(13.0));
    let since = site.now;
    site.run(11);
    assert_eq!(site.count(EventType::NotObeying), 0);
    site.run(1);
    assert_eq!(site.told(EventType::NotObeying, since), Some(11.0), "seen with the poll after a second");
    assert_eq!((site.offer(0), site.reason(0)), (7.0, "not_obeying"));
    site.run(9);
    assert!(!site.command(0).open);
    site.run(4);
    assert!(site.command(0).open);
    assert_eq!(site.offer(0), 0.0);
}

#[test]
fn the_excess_of_a_disobedient_car_is_taken_from_the_others() {
    let mut site = Site::charging(setup(2));
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    site.sims[0].stubborn = Some(amps(16.0));
    site.run(3);
    assert!(site.offer(1) <= 6.0, "5 A too much are cut at once: {}", site.offer(1));
    site.run(60);
    assert_eq!(site.offer(0), 0.0);
    assert_eq!(site.offer(1), 6.0);
}

/// Its ceiling is lowered and raised again; there is room, but none for a car that has not even come down to what it has.
#[test]
fn a_car_above_its_offer_is_not_offered_more_before_it_comes_down() {
    let mut site = Site::charging(setup(1));
    site.sims[0].stubborn = Some(amps(16.0));
    site.set("charger/c0/set/max_current_a", "8");
    site.run(2);
    site.set("charger/c0/set/max_current_a", "14");
    for _ in 0..4 {
        site.tick();
        assert_eq!((site.offer(0), site.status(0).reason.detail), (8.0, Detail::NotDown));
    }
    site.sims[0].stubborn = None;
    site.run(20);
    assert_eq!(site.offer(0), 14.0);
    assert_eq!(site.count(EventType::NotObeying), 0);
}

#[test]
fn a_car_that_comes_down_late_gets_its_share_back() {
    let mut site = Site::charging(setup(2));
    site.house = Phases::all(amps(6.0));
    site.sims[0].stubborn = Some(amps(11.0));
    site.run(2);
    site.house = Phases::all(amps(2.0));
    site.run(2);
    site.sims[0].stubborn = None;
    site.run(40);
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
}

#[test]
fn sixty_seconds_of_obedience_then_the_second_time_it_stays_until_unplugged() {
    let mut site = Site::charging(setup(1));
    let disobey = |site: &mut Site| {
        site.set("charger/c0/set/max_current_a", "10");
        site.run(5);
        site.sims[0].stubborn = Some(amps(13.0));
        site.run(15);
        site.sims[0].stubborn = None;
    };
    disobey(&mut site);
    assert_eq!(site.count(EventType::NotObeying), 1);
    site.run(55);
    assert_eq!(site.reason(0), "not_obeying");
    site.run(15);
    assert_eq!(site.offer(0), 10.0);
    disobey(&mut site);
    assert_eq!(site.count(EventType::NotObeying), 2);
    site.run(1000);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "not_obeying"));
    site.sims[0].state = PilotState::A;
    site.run(5);
    site.sims[0].state = PilotState::B;
    site.run(30);
    assert_eq!(site.offer(0), 10.0);
}

#[test]
fn a_cut_that_does_not_come_is_made_again_after_six_seconds() {
    let mut site = Site::charging(setup(2));
    // The first car ignores everything; the house rises by 4 A.
    site.sims[0].stubborn = Some(amps(11.0));
    site.house = Phases::all(amps(6.0));
    let since = site.now;
    site.tick();
    assert_eq!([site.offer(0), site.offer(1)], [9.0, 9.0]);
    while site.offer(1) == 9.0 {
        site.tick();
        assert!(site.now.since(since) < Span::from_secs(12), "never made again");
    }
    let waited = site.now.since(since).as_secs_f64();
    assert!((7.0..=9.0).contains(&waited), "made again after {waited} s");
    assert!(site.offer(1) <= 7.0);
}

#[test]
fn a_charger_that_measures_nothing_counts_with_its_offer() {
    let mut setup = setup(2);
    setup.chargers[0].measures = false;
    setup.chargers[0].watchdog = None;
    let mut site = Site::charging(setup);
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    assert_eq!(site.status(0).current, Phases([None; 3]));
    assert_eq!(site.status(0).session_energy, None, "not measured is not zero");
    // One cut, not two, while the cut is on its way.
    site.house = Phases::all(amps(6.0));
    site.tick();
    assert_eq!([site.offer(0), site.offer(1)], [9.0, 9.0]);
    for _ in 0..20 {
        site.tick();
        assert_eq!([site.offer(0), site.offer(1)], [9.0, 9.0]);
    }
}

#[test]
fn an_unmeasured_cut_that_the_meter_does_not_show_is_doubled() {
    let mut setup = setup(1);
    setup.chargers[0].measures = false;
    setup.chargers[0].watchdog = None;
    let mut site = Site::charging(setup);
    assert_eq!(site.offer(0), 16.0);
    site.sims[0].stubborn = Some(amps(16.0));
    site.house = Phases::all(amps(12.0));
    site.tick();
    assert_eq!(site.offer(0), 12.0);
    site.run(5);
    assert_eq!(site.offer(0), 12.0, "it has six seconds");
    site.run(3);
    assert_eq!(site.offer(0), 8.0);
}

#[test]
fn a_flow_that_repeats_or_alternates_the_mode_does_not_keep_an_overload() {
    for modes in [["fast", "fast"], ["fast", "fixed"]] {
        let mut site = Site::charging(setup(1));
        site.set("charger/c0/set/max_current_a", "10");
        site.run(5);
        site.sims[0].stubborn = Some(amps(20.0));
        site.house = Phases::all(amps(15.0));
        for round in 0..12 {
            site.set("charger/c0/set/mode", modes[round % 2]);
            site.run(5);
        }
        assert_eq!(site.count(EventType::NotObeying), 1, "{modes:?}");
        assert!(site.command(0).open, "{modes:?}: taken off the supply");
        assert_eq!(site.offer(0), 0.0, "{modes:?}");
    }
}

#[test]
fn a_car_that_stays_at_zero_is_released_by_another_mode_only() {
    let mut site = Site::charging(setup(1));
    for _ in 0..2 {
        site.set("charger/c0/set/max_current_a", "10");
        site.run(5);
        site.sims[0].stubborn = Some(amps(13.0));
        site.run(15);
        site.sims[0].stubborn = None;
        site.run(70);
    }
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "not_obeying"));
    site.set("charger/c0/set/mode", "fast");
    site.run(30);
    assert_eq!(site.offer(0), 0.0, "the same mode again");
    site.set("charger/c0/set/mode", "fixed");
    site.run(30);
    assert_eq!(site.offer(0), 10.0);
}

#[test]
fn a_charger_that_measures_nothing_may_name_a_meter() {
    let mut setup = setup(1);
    setup.chargers[0].measures = false;
    setup.chargers[0].meter = Some(1);
    let mut own = setup.meters[0].clone();
    own.id = "left-meter".to_owned();
    setup.meters.push(own);
    let mut site = Site::new(setup);
    site.sims[0].car_max = amps(9.0);
    let second = |site: &mut Site, answers: bool| {
        let mut frame = site.frame();
        frame.current = Phases::all(Some(site.sims[0].drawn));
        frame.power = Phases([None; 3]);
        let heard = [Observation::Meter(1, frame)];
        site.tick_with(if answers { &heard } else { &[] });
    };
    for _ in 0..60 {
        second(&mut site, true);
    }
    assert_eq!(site.status(0).current.0, [Some(amps(9.0)); 3]);
    assert_eq!((site.offer(0), site.reason(0)), (10.0, "car"), "what it does not take is given back");
    assert_eq!(site.count(EventType::MeterLate), 0, "a car that does not charge is no doubtful zero");
    for _ in 0..30 {
        second(&mut site, false);
    }
    assert_eq!(site.status(0).current.0, [None; 3], "its meter is lost: assumed again");
    assert_eq!(site.count(EventType::MeterLost), 1);
}

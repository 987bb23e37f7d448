//! The six modes, and the two ways to wait for the sun.

use gridkeeper::control::{Mode, SolarPatience, SurplusKind};
use gridkeeper::quantity::{Milliamp, Phases, Span, Watt};

use crate::site::amps;
use crate::{house, sentence, sun};

#[test]
fn solar_follows_the_surplus_and_takes_nothing_from_the_grid() {
    let mut site = house(&[Mode::Solar], 10.0, |_| {});
    site.run(120);
    assert!((9.0..=11.0).contains(&site.offer(0)), "{}", site.offer(0));
    sun(&mut site, 14.0);
    site.run(30);
    assert!((13.0..=15.0).contains(&site.offer(0)), "{}", site.offer(0));
    assert_eq!((site.reason(0), sentence(&site, 0).as_str()), ("surplus", "14 A: the sun leaves no more"));
    sun(&mut site, 30.0);
    site.run(30);
    assert_eq!((site.offer(0), site.reason(0)), (16.0, "none"));
}

#[test]
fn mean_runs_through_clouds_and_stops_when_the_sun_has_gone() {
    let mut site = house(&[Mode::Solar], 12.0, |_| {});
    site.run(400);
    let stops = |site: &crate::site::Site| site.status(0).interruptions;
    for _ in 0..10 {
        sun(&mut site, 2.0);
        site.run(60);
        assert_eq!(site.offer(0), 6.0);
        assert_eq!(sentence(&site, 0), "6 A: too little sun for the minimum: goes on for now, a stop would cost more");
        sun(&mut site, 12.0);
        site.run(60);
    }
    assert_eq!(stops(&site), 0, "ten clouds of a minute");
    sun(&mut site, 0.0);
    site.run(200);
    assert_eq!((site.offer(0), site.reason(0), stops(&site)), (0.0, "surplus", 1));
    assert_eq!(site.command(0).fail_safe, Milliamp::ZERO, "no sun: nothing to fall to");
    sun(&mut site, 12.0);
    site.run(60);
    assert_eq!(site.offer(0), 0.0, "min_off_s");
    assert!(sentence(&site, 0).contains("stopped a short while ago; for another"), "{}", sentence(&site, 0));
    site.run(300);
    assert!(site.offer(0) >= 11.0);
}

#[test]
fn strict_holds_the_minimum_for_its_grace_and_starts_after_its_proof() {
    let mut site = house(&[Mode::Solar], 12.0, |setup| setup.surplus.patience = SolarPatience::Strict);
    site.run(115);
    assert_eq!(site.offer(0), 0.0);
    assert!(sentence(&site, 0).starts_with("0 A: there is enough sun: waits whether it lasts; for another"));
    site.run(30);
    assert!(site.offer(0) >= 6.0);
    site.run(30);
    sun(&mut site, 1.0);
    site.run(10);
    assert_eq!(site.offer(0), 6.0, "held");
    assert!(sentence(&site, 0).starts_with("6 A: not enough sun: held at the minimum; for another"));
    site.run(30);
    assert_eq!(site.offer(0), 0.0, "min_on_s does not bind it");
    sun(&mut site, 12.0);
    site.run(115);
    assert_eq!(site.offer(0), 0.0);
    site.run(15);
    assert!(site.offer(0) >= 6.0, "nor does min_off_s");
}

#[test]
fn eco_never_goes_below_its_minimum() {
    let mut site = house(&[Mode::Eco], 0.0, |setup| setup.chargers[0].settings.eco_min = amps(8.0));
    site.run(60);
    assert_eq!((site.offer(0), site.reason(0)), (8.0, "surplus"));
    assert_eq!(sentence(&site, 0), "8 A: the least of its mode; the sun leaves no more");
    sun(&mut site, 12.0);
    site.run(30);
    assert!((11.0..=13.0).contains(&site.offer(0)), "{}", site.offer(0));
    sun(&mut site, -5.0);
    site.run(30);
    assert_eq!(site.offer(0), 8.0);
}

#[test]
fn eco_plus_starts_on_a_little_sun_and_the_grid_adds_the_rest() {
    let mut site = house(&[Mode::EcoPlus], 0.5, |_| {});
    site.run(300);
    assert_eq!(site.offer(0), 0.0, "less than eco_plus_min_surplus_a");
    sun(&mut site, 2.0);
    site.run(120);
    assert_eq!(site.offer(0), 6.0);
    sun(&mut site, 9.0);
    site.run(30);
    assert!((8.0..=10.0).contains(&site.offer(0)), "{}", site.offer(0));
    sun(&mut site, 0.0);
    site.run(900);
    assert_eq!(site.offer(0), 0.0, "and stops when the little has gone");
}

#[test]
fn a_limit_stays_above_the_sun() {
    let mut site = house(&[Mode::Solar], 12.0, |_| {});
    site.run(120);
    site.set("charger/c0/set/max_current_a", "8");
    site.run(10);
    assert_eq!((site.offer(0), site.reason(0)), (8.0, "max_current"));
    site.set("charger/c0/set/max_current_a", "none");
    // Two phases export what the third may not import.
    site.house = Phases([amps(-30.0), amps(-30.0), amps(20.0)]);
    site.run(10);
    assert!(site.offer(0) <= 4.5 || site.offer(0) == 0.0, "the fuse of L3: {}", site.offer(0));
}

#[test]
fn per_phase_wants_sun_on_every_phase_and_net_lets_one_pay_for_the_other() {
    for (kind, runs) in [(SurplusKind::Net, true), (SurplusKind::PerPhase, false)] {
        let mut site = house(&[Mode::Solar], 0.0, |setup| setup.surplus.kind = kind);
        site.house = Phases([amps(-30.0), amps(-2.0), amps(4.0)]);
        site.run(300);
        assert_eq!(site.offer(0) > 0.0, runs, "{kind}");
    }
}

#[test]
fn the_grid_reading_is_held_at_the_target() {
    let mut site = house(&[Mode::Solar], 8.0, |setup| setup.surplus.target = Watt(3 * 3 * 230));
    site.run(120);
    assert!((10.0..=12.0).contains(&site.offer(0)), "8 A of sun and 3 A of assistance: {}", site.offer(0));
}

#[test]
fn a_mode_that_changes_in_mid_session_interrupts_nothing_that_the_sun_pays_for() {
    let mut site = house(&[Mode::Fast], 10.0, |setup| setup.min_on = Span::ZERO);
    site.run(60);
    assert_eq!(site.offer(0), 16.0);
    site.set("charger/c0/set/mode", "pv");
    site.run(60);
    assert!((9.0..=11.0).contains(&site.offer(0)), "{}", site.offer(0));
    assert_eq!(site.status(0).interruptions, 0);
    site.set("charger/c0/set/mode", "now");
    site.run(30);
    assert_eq!(site.offer(0), 16.0);
    assert_eq!(site.status(0).interruptions, 0);
}

#[test]
fn without_a_meter_that_tells_the_surplus_only_eco_goes_on() {
    let mut site = house(&[Mode::Solar, Mode::Eco], 0.0, |setup| {
        setup.circuits[0].meter = None;
        setup.circuits[0].static_current = Some(amps(12.0));
    });
    site.run(60);
    assert_eq!((site.offer(0), site.offer(1)), (0.0, 6.0));
    assert_eq!(sentence(&site, 0), "0 A: the grid meter does not tell the surplus");
}

//! One surplus for several cars and a home battery, and cars that draw reactive current.

use gridkeeper::control::{BatteryRank, MeterSetup, Mode};
use gridkeeper::quantity::{Phase, Watt};
use gridkeeper::reading::{MeterReading, Observation};

use crate::site::Site;
use crate::{house, sun};

#[test]
fn who_comes_first_takes_what_it_can_use() {
    let mut site = house(&[Mode::Solar, Mode::Solar], 14.0, |setup| {
        setup.circuits[0].fuse = Some(crate::amps(63.0));
        setup.chargers[1].settings.priority = 1;
    });
    site.run(300);
    assert_eq!(site.offer(0), 0.0, "nothing left for the second");
    assert!(site.offer(1) >= 13.0);
    sun(&mut site, 24.0);
    site.run(400);
    assert!(site.offer(1) >= 15.0, "{}", site.offer(1));
    assert!((7.0..=9.0).contains(&site.offer(0)), "{}", site.offer(0));
}

#[test]
fn equals_run_together_when_both_minima_are_paid_and_one_runs_alone_when_not() {
    let mut site = house(&[Mode::Solar, Mode::Solar], 20.0, |setup| {
        setup.circuits[0].fuse = Some(crate::amps(63.0));
    });
    site.run(600);
    for index in 0..2 {
        assert!((9.0..=11.0).contains(&site.offer(index)), "{index}: {}", site.offer(index));
    }
    sun(&mut site, 7.0);
    site.run(900);
    let offers = [site.offer(0), site.offer(1)];
    assert!(offers.contains(&0.0) && offers.iter().any(|it| *it >= 6.0), "{offers:?}");
}

#[test]
fn a_car_that_does_not_begin_keeps_no_sun_from_the_other_one() {
    let mut site = house(&[Mode::Solar, Mode::Solar], 14.0, |setup| {
        setup.circuits[0].fuse = Some(crate::amps(63.0));
    });
    site.sims[1].starts_at = crate::amps(32.0);
    site.run(600);
    assert!(site.offer(0) >= 13.0, "{} of 14 A", site.offer(0));
}

/// The first one stands in a circuit that has nothing left.
#[test]
fn a_car_that_a_limit_holds_at_nothing_keeps_no_sun_from_the_other_one() {
    let mut site = house(&[Mode::Solar, Mode::Solar], 14.0, |setup| {
        setup.circuits[0].fuse = Some(crate::amps(63.0));
        setup.chargers[0].settings.priority = 1;
        let mut full = setup.circuits[0].clone();
        (full.parent, full.meter, full.reserve) = (Some(0), None, crate::amps(58.0));
        setup.circuits.push(full);
        setup.chargers[0].circuit = 1;
    });
    site.run(900);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "circuit"), "{}", crate::sentence(&site, 0));
    assert!(site.offer(1) >= 13.0, "{} A: {}", site.offer(1), crate::sentence(&site, 1));
}

/// A house whose battery meter reads so much; discharge positive.
fn with_battery(rank: BatteryRank, battery: i32, export: f64) -> Site {
    let mut site = house(&[Mode::Solar], export, |setup| {
        setup.surplus.battery = rank;
        setup.batteries = vec![1];
        setup.meters.push(MeterSetup {
            id: "battery".to_owned(),
            phases: Phase::ALL,
            late: None,
            lost: None,
            lost_default: None,
            presumed_period: None,
            period: None,
        });
    });
    for _ in 0..300 {
        tell(&mut site, battery);
    }
    site
}

fn tell(site: &mut Site, battery: i32) {
    let reading = MeterReading {
        received_at: site.now,
        sampled_at: Some(site.now),
        power_total: Some(Watt(battery)),
        ..MeterReading::default()
    };
    site.tick_with(&[Observation::Meter(1, reading)]);
}

#[test]
fn what_charges_the_home_battery_is_surplus_by_its_rank() {
    // 4 A of export on each phase and 6 A more into the battery.
    let charging = -6 * 3 * 230;
    assert_eq!(with_battery(BatteryRank::First, charging, 4.0).offer(0), 0.0);
    assert!((6.0..=8.0).contains(&with_battery(BatteryRank::Share, charging, 4.0).offer(0)));
    assert!((9.0..=11.0).contains(&with_battery(BatteryRank::Last, charging, 4.0).offer(0)));
}

#[test]
fn what_the_home_battery_gives_is_never_surplus() {
    for rank in [BatteryRank::First, BatteryRank::Share, BatteryRank::Last] {
        assert_eq!(with_battery(rank, 8 * 3 * 230, 8.0).offer(0), 0.0, "{rank}");
    }
}

#[test]
fn a_lost_battery_meter_leaves_the_grid_meter_alone() {
    let mut site = with_battery(BatteryRank::First, 8 * 3 * 230, 8.0);
    site.run(120);
    assert!(site.offer(0) >= 7.0, "its last word has no effect any more: {}", site.offer(0));
}

//! A meter's own clock is set, runs wrong or stands still; a slow meter starts.

use gridkeeper::control::Quality;
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Phases, Span};
use gridkeeper::reading::Observation;

use crate::site::{MeterFault, Site, amps, setup};

/// `seconds` with a meter whose clock is off by `offset`.
fn run(site: &mut Site, seconds: i64, offset: i64) {
    for _ in 0..seconds {
        let due = (site.now.0 / 1000) % site.period == 0;
        let mut reading = site.frame();
        reading.stamp = reading.stamp.map(|it| it + offset);
        site.fault = MeterFault::Silent;
        if due {
            site.tick_with(&[Observation::Meter(0, reading)]);
        } else {
            site.tick();
        }
    }
}

fn quality(site: &Site) -> Quality {
    site.controller.decision().meters[0].quality
}

#[test]
fn a_meters_clock_that_is_set_does_not_stop_charging() {
    for jump in [-3_600, -75, -60, -59, -30, -8, -5, 5, 59, 3_600] {
        for period in [1, 10] {
            let mut site = Site::new(setup(1));
            site.period = period;
            run(&mut site, 120, 0);
            assert_eq!(site.offer(0), 16.0);
            site.events.clear();
            // Five frames, three for the proof, then the start and the raises.
            run(&mut site, 75 + 10 * period, jump);
            assert_eq!((quality(&site), site.offer(0)), (Quality::Good, 16.0), "{jump} s, period {period} s");
            let lost = site.count(EventType::MeterLost);
            assert!(lost == 0 || period == 10 && jump <= -15, "{jump} s, period {period} s: lost {lost} times");
            // And set right again.
            run(&mut site, 75 + 10 * period, 0);
            assert_eq!((quality(&site), site.offer(0)), (Quality::Good, 16.0), "{jump} s and back, period {period} s");
        }
    }
}

#[test]
fn a_frozen_gateway_stays_frozen_whatever_its_clock_did_before() {
    for jump in [-30, 30] {
        let mut site = Site::charging(setup(1));
        run(&mut site, 30, 0);
        run(&mut site, 3, jump);
        let mut frozen = site.frame();
        frozen.stamp = frozen.stamp.map(|it| it + jump);
        for _ in 0..600 {
            frozen.received_at = site.now;
            site.tick_with(&[Observation::Meter(0, frozen)]);
        }
        assert_eq!((quality(&site), site.offer(0)), (Quality::Lost, 0.0));
    }
}

#[test]
fn a_ten_second_p1_meter_is_not_lost_at_its_start() {
    let mut setup = setup(1);
    // As the configuration presumes of a P1 port.
    setup.meters[0].presumed_period = Some(Span::from_secs(10));
    let mut site = Site::new(setup);
    site.period = 10;
    site.house = Phases::all(amps(2.0));
    site.jitter = Span::from_secs(9);
    site.run(40);
    assert_eq!(site.count(EventType::MeterLost) + site.count(EventType::MeterLate), 0);
    site.run(60);
    assert_eq!(site.offer(0), 16.0);
    assert_eq!(site.count(EventType::MeterLost) + site.count(EventType::MeterLate), 0);
}

#[test]
fn what_is_presumed_of_a_meter_ends_with_the_third_sample_and_yields_to_the_file() {
    let lost = |frames: i64, file: Option<i64>| {
        let mut setup = setup(1);
        setup.meters[0].presumed_period = Some(Span::from_secs(10));
        setup.meters[0].lost = file.map(Span::from_secs);
        let mut site = Site::new(setup);
        site.run(frames);
        let last = site.now - Span::from_secs(i64::from(frames > 0));
        assert_eq!(site.controller.decision().meters.first().and_then(|it| it.period).is_some(), frames >= 3);
        site.fault = MeterFault::Silent;
        site.run(60);
        site.told(EventType::MeterLost, last)
    };
    assert_eq!(lost(0, None), Some(22.0), "two periods and two seconds from the start");
    assert_eq!(lost(2, None), Some(22.0));
    assert_eq!(lost(3, None), Some(10.0));
    assert_eq!(lost(0, Some(8)), Some(8.0));
    assert_eq!(lost(2, Some(8)), Some(8.0));
}

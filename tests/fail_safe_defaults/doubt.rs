//! Plausibility: what a doubtful frame alone may do, meters that guard nothing, meters that know the total only.

use gridkeeper::control::{MeterSetup, Quality};
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Milliamp, Mono, Phase, Phases, Span, Watt, WattHour};
use gridkeeper::reading::{MeterReading, Observation, PilotState};

use crate::site::{MeterFault, Site, amps, setup};

/// A charger that was left at 10 A and charges on.
fn restarted() -> Site {
    let mut site = Site::new(setup(1));
    site.sims[0].set_point = amps(10.0);
    site.sims[0].state = PilotState::C;
    site.sims[0].drawn = amps(10.0);
    site
}

/// Name, what is wrong with the frame, currents of the phases.
type Case = (&'static str, fn(&mut MeterReading), [Option<f64>; 3]);

#[test]
fn an_overload_in_doubtful_frames_alone_is_cut_at_the_start() {
    let mut site = restarted();
    site.fault = MeterFault::Missing(Phase::L3);
    site.run(3);
    assert_eq!(site.offer(0), 6.0, "what it had, as far as it fits");
    site.house[Phase::L1] = amps(34.0);
    site.run(1);
    assert_eq!(site.offer(0), 0.0, "40 A on L1");
    site.fault = MeterFault::None;
    site.house[Phase::L1] = amps(2.0);
    site.run(60);
    assert_eq!(site.offer(0), 16.0);
}

#[test]
fn an_overload_in_doubtful_frames_lowers_the_owners_figure_for_a_lost_meter() {
    let mut setup = setup(1);
    setup.circuits[0].meter_lost_current = amps(12.0);
    let mut site = Site::charging(setup);
    site.fault = MeterFault::Missing(Phase::L3);
    site.run(30);
    assert_eq!((site.offer(0), site.reason(0)), (12.0, "meter_lost"));
    site.house[Phase::L1] = amps(22.0);
    site.run(2);
    assert_eq!(site.offer(0), 0.0, "34 A on L1");
    site.house[Phase::L1] = amps(2.0);
    site.run(20);
    assert_eq!(site.offer(0), 0.0, "the next doubtful frame raises nothing");
    site.run(60);
    assert_eq!(site.offer(0), 12.0, "a doubt that nothing bears out is forgotten after a minute");
}

fn another_meter(site: &mut gridkeeper::control::Setup) {
    let meter = MeterSetup { id: "other".to_owned(), ..site.meters[0].clone() };
    site.meters.push(meter);
}

fn quality(site: &Site, meter: usize) -> Quality {
    site.controller.decision().meters[meter].quality
}

fn shows(site: &Site, current: [Option<f64>; 3]) -> MeterReading {
    MeterReading {
        received_at: site.now,
        stamp: Some(site.now.0 / 1000),
        current: Phases(current.map(|it| it.map(amps))),
        current_signed: true,
        current_step: Milliamp(100),
        ..MeterReading::default()
    }
}

#[test]
fn a_chargers_own_meter_is_good_and_measures_its_car() {
    let mut setup = setup(1);
    another_meter(&mut setup);
    setup.chargers[0].meter = Some(1);
    setup.chargers[0].measures = false;
    let mut site = Site::new(setup);
    for _ in 0..60 {
        let drawn = site.sims[0].drawn.as_f64();
        let reading = shows(&site, [Some(drawn); 3]);
        site.tick_with(&[Observation::Meter(1, reading)]);
    }
    assert_eq!(quality(&site, 1), Quality::Good);
    assert_eq!(site.status(0).current, Phases::all(Some(amps(16.0))));
    // The car ends: a zero is as good as any other figure there.
    site.sims[0].state = PilotState::D;
    for _ in 0..60 {
        let reading = shows(&site, [Some(0.0); 3]);
        site.tick_with(&[Observation::Meter(1, reading)]);
        assert_eq!(quality(&site, 1), Quality::Good);
    }
    assert_eq!(site.status(0).current, Phases::all(Some(amps(0.0))));
    // Without one of its phases it does not measure this car.
    site.sims[0].state = PilotState::C;
    for _ in 0..30 {
        let drawn = site.sims[0].drawn.as_f64();
        let reading = shows(&site, [Some(drawn), None, Some(drawn)]);
        site.tick_with(&[Observation::Meter(1, reading)]);
        assert_ne!(quality(&site, 1), Quality::Good);
    }
    assert_eq!(site.status(0).current, Phases([None; 3]), "assumed from the offer again");
}

/// A frame that shows heat, or anything else that control has no use for.
fn heat(site: &Site) -> Observation {
    Observation::Meter(1, MeterReading { received_at: site.now, shows_more: true, ..MeterReading::default() })
}

#[test]
fn a_meter_that_informs_only_is_there_with_whatever_it_shows_at_its_own_pace() {
    let mut setup = setup(1);
    another_meter(&mut setup);
    (setup.meters[1].lost_default, setup.meters[1].presumed_period) = (None, Some(Span::from_secs(100)));
    let mut site = Site::new(setup);
    let mut worst = 0;
    for second in 0..1000 {
        if second % 90 == 0 {
            let frame = heat(&site);
            site.tick_with(&[frame]);
        } else {
            site.tick();
        }
        worst = worst.max(usize::from(quality(&site, 1) != Quality::Good));
    }
    assert_eq!(worst, 0, "a readout each minute and a half");
    site.run(250);
    assert_eq!(quality(&site, 1), Quality::Lost, "more than two periods of silence");
    let frame = heat(&site);
    site.tick_with(&[frame]);
    assert_eq!(quality(&site, 1), Quality::Good, "nothing is decided by it, so that its first readout is enough");
    let empty = MeterReading { received_at: site.now, ..MeterReading::default() };
    site.tick_with(&[Observation::Meter(1, empty)]);
    assert_eq!(quality(&site, 1), Quality::Doubtful, "a frame without anything");
}

#[test]
fn what_control_goes_by_must_show_it() {
    let mut setup = setup(1);
    another_meter(&mut setup);
    setup.solar = vec![1];
    let mut site = Site::new(setup);
    for _ in 0..30 {
        let frame = heat(&site);
        site.tick_with(&[frame]);
    }
    assert_eq!(quality(&site, 1), Quality::Lost);
}

#[test]
fn the_powers_of_some_phases_are_no_total() {
    let mut site = Site::new(setup(1));
    site.fault = MeterFault::Silent;
    let mut told = |power: [Option<Watt>; 3]| {
        let frame = site.frame();
        let reading = MeterReading { power: Phases(power), power_total: None, ..frame };
        site.tick_with(&[Observation::Meter(0, reading)]);
        site.controller.decision().meters[0].power_total
    };
    assert_eq!(told([Some(Watt(1500)), Some(Watt(-800)), None]), None);
    assert_eq!(told([Some(Watt(1500)), Some(Watt(-800)), Some(Watt(300))]), Some(Watt(1000)));
}

#[test]
fn a_bridge_without_a_grid_meter_shows_what_it_hears() {
    let nothing = [None; 3];
    let cases: [Case; 4] = [
        ("three phases", |_| {}, [Some(1.0), Some(2.0), Some(0.0)]),
        ("one phase, later all zero", |_| {}, [Some(0.0), None, None]),
        ("total", |it| it.power_total = Some(Watt(300)), nothing),
        ("counters", |it| it.energy_import = Some(WattHour(5)), nothing),
    ];
    for (name, add, current) in cases {
        let mut setup = setup(0);
        setup.circuits[0].meter = None;
        setup.circuits[0].fuse = None;
        let mut site = Site::new(setup);
        site.fault = MeterFault::Silent;
        for second in 0..40 {
            let first = if name.starts_with("one") && second == 0 { [Some(5.0), None, None] } else { current };
            let mut reading = shows(&site, first);
            add(&mut reading);
            site.tick_with(&[Observation::Meter(0, reading)]);
            assert_eq!(quality(&site, 0), Quality::Good, "{name}, second {second}");
        }
        assert_eq!(site.count(EventType::MeterLost), 0, "{name}");
    }
}

#[test]
fn a_bridge_that_says_nothing_or_loses_a_phase_is_doubtful() {
    let mut setup = setup(0);
    setup.circuits[0].meter = None;
    let mut site = Site::new(setup);
    site.fault = MeterFault::Silent;
    let hear = |site: &mut Site, current: [Option<f64>; 3]| {
        let reading = shows(site, current);
        site.tick_with(&[Observation::Meter(0, reading)]);
        quality(site, 0)
    };
    assert_eq!(hear(&mut site, [None; 3]), Quality::Doubtful);
    assert_eq!(hear(&mut site, [Some(1.0); 3]), Quality::Good);
    assert_eq!(hear(&mut site, [Some(1.0), None, Some(1.0)]), Quality::Doubtful);
    for _ in 0..30 {
        hear(&mut site, [Some(1.0), None, Some(1.0)]);
    }
    assert_eq!(site.count(EventType::MeterLost), 1);
    assert_eq!(quality(&site, 0), Quality::Good, "it has two phases now");
}

/// One second with a grid meter that knows the total only.
fn total_only(site: &mut Site) {
    let full = site.frame();
    let reading = MeterReading {
        received_at: full.received_at,
        stamp: full.stamp,
        power_total: full.power_total,
        ..MeterReading::default()
    };
    site.fault = MeterFault::Silent;
    site.tick_with(&[Observation::Meter(0, reading)]);
}

#[test]
fn a_lost_poll_behind_a_total_only_meter_changes_nothing() {
    let mut site = Site::new(setup(1));
    site.house = Phases::all(amps(2.0));
    for _ in 0..60 {
        total_only(&mut site);
    }
    assert_eq!(site.offer(0), 16.0, "6 A of the house assumed on each phase");
    site.sims[0].answers = false;
    total_only(&mut site);
    assert_eq!(site.offer(0), 16.0);
    site.sims[0].answers = true;
    for _ in 0..20 {
        total_only(&mut site);
        assert_eq!(site.offer(0), 16.0);
    }
    // What the house takes is still seen, at once.
    site.house = Phases([amps(18.0), amps(1.0), amps(1.0)]);
    total_only(&mut site);
    assert_eq!(site.offer(0), 0.0, "20 A may be on one phase: 4.5 A are left");
    assert_eq!(site.count(EventType::ChargerLost), 0);
}

#[test]
fn a_doubtful_total_lowers_too() {
    let mut site = Site::new(setup(1));
    for _ in 0..60 {
        total_only(&mut site);
    }
    assert_eq!(site.offer(0), 16.0);
    let full = site.frame();
    let reading = MeterReading {
        received_at: site.now,
        // The last frame's own time again.
        stamp: full.stamp.map(|it| it - 1),
        power_total: full.power_total.map(|it| it + Watt(3_000)),
        ..MeterReading::default()
    };
    site.tick_with(&[Observation::Meter(0, reading)]);
    assert_eq!(quality(&site, 0), Quality::Doubtful);
    assert!(site.offer(0) < 6.1, "13 A more: {}", site.offer(0));
}

#[test]
fn a_very_short_lost_time_bounds_the_late_time() {
    let mut setup = setup(1);
    setup.meters[0].lost = Some(Span::from_secs(2));
    let mut site = Site::new(setup);
    site.tick();
    assert_eq!(site.controller.decision().wake_at, Mono(1_000));
    site.now = Mono(1_500);
    site.step(&[]);
    assert_eq!(site.controller.decision().wake_at, Mono(2_000));
    site.now = Mono(2_000);
    site.step(&[]);
    assert_eq!(quality(&site, 0), Quality::Lost);
}

/// Half a minute of frames that this changes; the meter's own are not heard.
fn half_a_minute(site: &mut Site, change: impl Fn(&mut MeterReading, i32)) {
    site.fault = MeterFault::Silent;
    for second in 0..30 {
        let mut frame = site.frame();
        change(&mut frame, second);
        site.tick_with(&[Observation::Meter(0, frame)]);
    }
}

#[test]
fn zeros_are_doubted_while_a_car_draws_though_a_counter_moves() {
    let mut site = Site::charging(setup(1));
    half_a_minute(&mut site, |frame, second| {
        frame.energy_import = Some(WattHour(1_000 + i64::from(second)));
        if second >= 5 {
            frame.current = Phases::all(Some(Milliamp::ZERO));
            frame.power = Phases::all(Some(Watt::ZERO));
            frame.power_total = Some(Watt::ZERO);
        }
    });
    assert!(site.count(EventType::MeterLost) > 0);
}

#[test]
fn frames_that_are_older_than_the_late_time_are_no_news() {
    for (age, lost) in [(4, 0), (6, 1)] {
        let mut site = Site::charging(setup(1));
        half_a_minute(&mut site, |frame, _| {
            frame.stamp = None;
            frame.sampled_at = Some(frame.received_at - Span::from_secs(age));
        });
        assert_eq!(site.count(EventType::MeterLost), lost, "{age} s old");
    }
}

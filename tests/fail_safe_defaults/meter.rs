//! Rows: grid meter late, lost, back; plausibility.

use gridkeeper::control::Quality;
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Milliamp, Mono, Phase, Phases, Span, WattHour};
use gridkeeper::reading::Observation;

use crate::site::{MeterFault, Site, amps, setup};

fn quality(site: &Site) -> Quality {
    site.controller.decision().meters[0].quality
}

#[test]
fn late_after_five_seconds_nothing_is_raised_until_the_next_good_frame() {
    let mut site = Site::new(setup(1));
    site.house = Phases::all(amps(12.0));
    site.run(60);
    assert_eq!(site.offer(0), 12.0);
    let last = site.now - Span::from_secs(1);
    site.house = Phases::all(amps(2.0));
    site.fault = MeterFault::Silent;
    site.now = last + Span(4_999);
    site.step_without_meter();
    assert_eq!(quality(&site), Quality::Good);
    site.now = last + Span(5_000);
    site.step_without_meter();
    assert_eq!(quality(&site), Quality::Late);
    assert_eq!(site.told(EventType::MeterLate, last), Some(5.0));
    assert_eq!(site.offer(0), 12.0, "late lowers nothing");
    site.now = last + Span(6_000);
    site.fault = MeterFault::None;
    site.run(10);
    assert_eq!(quality(&site), Quality::Good);
    assert_eq!(site.offer(0), 16.0);
}

#[test]
fn lost_after_ten_seconds_and_back_after_three_good_frames() {
    let mut site = Site::charging(setup(1));
    assert_eq!(site.offer(0), 16.0);
    let last = site.now - Span::from_secs(1);
    site.fault = MeterFault::Silent;
    site.now = last + Span(9_999);
    site.step_without_meter();
    assert_eq!(site.offer(0), 16.0);
    site.now = last + Span(10_000);
    site.step_without_meter();
    assert_eq!(site.offer(0), 0.0);
    assert_eq!(site.reason(0), "meter_lost");
    assert_eq!(site.told(EventType::MeterLost, last), Some(10.0));
    assert_eq!(site.told(EventType::FailSafeEntered, last), Some(10.0));
    site.run(30);
    site.fault = MeterFault::None;
    site.tick();
    site.tick();
    assert_eq!(quality(&site), Quality::Lost);
    assert_eq!(site.offer(0), 0.0);
    site.tick();
    assert_eq!(quality(&site), Quality::Good);
    assert_eq!(site.count(EventType::MeterBack), 1);
    site.run(30);
    assert_eq!(site.offer(0), 16.0, "not held up by min_off");
}

#[test]
fn the_controller_asks_to_be_woken_when_a_meter_turns_late_or_lost() {
    let mut setup = setup(1);
    setup.meters[0].late = Some(Span(300));
    setup.meters[0].lost = Some(Span(700));
    let mut site = Site::new(setup);
    site.tick();
    let last = site.now - Span::from_secs(1);
    assert_eq!(site.controller.decision().wake_at, last + Span(300));
    site.now = last + Span(300);
    site.step(&[]);
    assert_eq!(site.controller.decision().wake_at, last + Span(700));
}

#[test]
fn the_owners_figure_for_a_lost_meter_is_given_out_in_steps_of_six_by_priority() {
    let lost = |figure: f64| {
        let mut setup = setup(3);
        setup.circuits[0].meter_lost_current = amps(figure);
        setup.chargers[2].settings.priority = 1;
        let mut site = Site::new(setup);
        site.run(60);
        site.fault = MeterFault::Silent;
        site.run(60);
        [0, 1, 2].map(|index| site.offer(index))
    };
    assert_eq!(lost(0.0), [0.0, 0.0, 0.0]);
    assert_eq!(lost(10.0), [0.0, 0.0, 6.0]);
    assert_eq!(lost(12.0), [6.0, 0.0, 6.0]);
    assert_eq!(lost(24.0), [6.0, 6.0, 12.0]);
    assert_eq!(lost(100.0), [6.0, 6.0, 12.0], "capped by the fuse");
}

#[test]
fn a_frozen_meter_is_lost_after_ten_seconds() {
    let mut site = Site::charging(setup(1));
    let since = site.now - Span::from_secs(1);
    site.fault = MeterFault::Frozen;
    site.run(9);
    assert_eq!(site.offer(0), 16.0);
    site.run(2);
    assert_eq!(site.told(EventType::MeterLost, since), Some(10.0));
    assert_eq!(site.offer(0), 0.0);
}

#[test]
fn zeros_after_real_load_never_raise_and_end_as_a_lost_meter() {
    let mut site = Site::charging(setup(2));
    let before = site.offer(0) + site.offer(1);
    site.fault = MeterFault::Zero;
    for _ in 0..9 {
        site.tick();
        assert_eq!(quality(&site), Quality::Doubtful);
        assert!(site.offer(0) + site.offer(1) <= before);
    }
    site.run(3);
    assert_eq!(quality(&site), Quality::Lost);
    assert_eq!(site.offer(0), 0.0);
    site.run(100);
    assert_eq!(site.offer(0), 0.0, "idle cars alone do not make zeros true");
}

#[test]
fn zeros_that_a_moving_counter_bears_out_are_believed() {
    let mut site = Site::new(setup(1));
    site.sims[0].state = gridkeeper::reading::PilotState::A;
    let mut energy = 1_000;
    for second in 0..40 {
        if second == 20 {
            site.house = Phases::default();
        }
        // What a battery lets through that holds the connection at zero.
        energy += i64::from(second % 20 == 0);
        let mut reading = site.frame();
        reading.energy_import = Some(WattHour(energy));
        site.fault = MeterFault::Silent;
        site.tick_with(&[Observation::Meter(0, reading)]);
        assert_ne!(quality(&site), Quality::Doubtful, "second {second}");
    }
}

#[test]
fn zeros_under_which_the_counter_moves_as_before_are_none() {
    let mut site = Site::charging(setup(1));
    for second in 0..60 {
        site.fault = MeterFault::Zero;
        let mut reading = site.frame();
        reading.energy_import = Some(WattHour(1_000 + second));
        site.fault = MeterFault::Silent;
        site.tick_with(&[Observation::Meter(0, reading)]);
        assert!(second < 15 || site.offer(0) == 0.0, "second {second}: {}", site.offer(0));
    }
    assert_eq!(quality(&site), Quality::Lost, "idle cars and a counter that moves do not make zeros true");
}

#[test]
fn a_missing_phase_lowers_but_never_raises_and_ends_as_a_lost_meter() {
    let mut site = Site::charging(setup(1));
    site.fault = MeterFault::Missing(Phase::L2);
    site.house[Phase::L1] = amps(15.0);
    site.tick();
    assert_eq!(quality(&site), Quality::Doubtful);
    assert_eq!(site.offer(0), 9.0, "what it says still lowers");
    site.house[Phase::L1] = amps(2.0);
    site.run(8);
    assert_eq!(site.offer(0), 9.0, "but does not raise");
    site.run(3);
    assert_eq!(site.offer(0), 0.0);
}

#[test]
fn a_sign_flipped_for_one_frame_changes_nothing() {
    let mut site = Site::charging(setup(2));
    let before = [site.offer(0), site.offer(1)];
    site.fault = MeterFault::Flipped(Phase::L2);
    site.tick();
    assert_eq!(quality(&site), Quality::Doubtful);
    assert_eq!([site.offer(0), site.offer(1)], before);
    site.fault = MeterFault::None;
    site.tick();
    assert_eq!(quality(&site), Quality::Good);
    assert_eq!([site.offer(0), site.offer(1)], before);
    site.run(20);
    assert_eq!([site.offer(0), site.offer(1)], before);
}

#[test]
fn an_absurd_value_has_no_effect_until_a_second_frame() {
    let mut site = Site::charging(setup(1));
    site.fault = MeterFault::Shows(101.0);
    site.tick();
    assert_eq!(site.offer(0), 16.0);
    site.tick();
    assert_eq!(site.offer(0), 0.0, "a jump is never a reason to ignore an overload");
    let mut site = Site::charging(setup(1));
    site.fault = MeterFault::Shows(99.0);
    site.tick();
    assert_eq!(site.offer(0), 0.0, "up to four times the fuse at once");
}

#[test]
fn three_late_telegrams_at_once_are_taken_at_their_own_times() {
    let mut site = Site::charging(setup(1));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(site.frame());
        site.fault = MeterFault::Silent;
        site.tick();
        site.fault = MeterFault::None;
    }
    // A kettle in the last of them.
    site.house[Phase::L1] = amps(14.0);
    held.push(site.frame());
    let together: Vec<Observation> = held
        .into_iter()
        .map(|mut reading| {
            reading.received_at = site.now;
            Observation::Meter(0, reading)
        })
        .collect();
    site.fault = MeterFault::Silent;
    site.tick_with(&together);
    assert_eq!(quality(&site), Quality::Good);
    assert_eq!(site.offer(0), 10.0);
    assert_eq!(site.controller.decision().meters[0].period, Some(Span::from_secs(1)));
}

#[test]
fn a_ten_second_meter_with_jitter_is_neither_late_nor_lost() {
    let mut site = Site::new(setup(1));
    site.period = 10;
    let jitters = [0, 2, 1, 3, 0, 1, 3, 2];
    for round in 0..40 {
        site.jitter = Span::from_secs(jitters[round % jitters.len()]);
        site.run(10);
    }
    assert_eq!(site.offer(0), 16.0);
    let settled = Mono(60_000);
    assert_eq!(site.told(EventType::MeterLate, settled), None);
    assert_eq!(site.told(EventType::MeterLost, settled), None);
    // 2 periods + 2 s.
    let last = site.now - Span::from_secs(10) + site.jitter;
    site.fault = MeterFault::Silent;
    site.run(30);
    let lost = site.told(EventType::MeterLost, last).expect("lost in the end");
    assert!((20.0..=26.0).contains(&lost), "lost after {lost} s");
}

#[test]
fn no_meter_at_all_is_the_meter_rule_after_the_lost_time() {
    let mut site = Site::new(setup(1));
    site.fault = MeterFault::Silent;
    site.run(10);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "start_up"));
    site.run(2);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "meter_lost"));
}

#[test]
fn whole_amperes_and_unsigned_currents_are_estimated_from_power() {
    let mut site = Site::new(setup(1));
    let mut reading = site.frame();
    reading.current_signed = false;
    reading.current_step = amps(1.0);
    let shown = |site: &mut Site, reading| {
        site.step(&[Observation::Meter(0, reading)]);
        site.now = site.now + Span::from_secs(1);
        site.controller.decision().meters[0].current.0.map(|it| it.map_or(0, |it: Milliamp| it.0))
    };
    reading.current = Phases([Some(amps(3.0)), Some(amps(2.0)), Some(amps(4.0))]);
    reading.power = Phases([Some(gridkeeper::quantity::Watt(690)), Some(gridkeeper::quantity::Watt(-460)), None]);
    assert_eq!(shown(&mut site, reading), [3_000, -2_000, 3_500]);
    reading.stamp = Some(1);
    reading.received_at = site.now;
    reading.power = Phases([Some(gridkeeper::quantity::Watt(23)), Some(gridkeeper::quantity::Watt(-23)), None]);
    assert_eq!(shown(&mut site, reading), [2_500, -1_500, 3_500], "I - 0.5 A where power says less");
}

#[test]
fn a_meter_with_total_power_only_lends_the_house_import_to_every_phase() {
    let mut site = Site::new(setup(1));
    // 1.5 kW of house, wherever it is.
    site.house = Phases([amps(6.5), Milliamp::ZERO, Milliamp::ZERO]);
    for _ in 0..60 {
        let mut reading = site.frame();
        reading.current = Phases([None; 3]);
        reading.power = Phases([None; 3]);
        site.fault = MeterFault::Silent;
        site.tick_with(&[Observation::Meter(0, reading)]);
    }
    assert_eq!(quality(&site), Quality::Good);
    assert_eq!(site.controller.decision().meters[0].current, Phases([None; 3]));
    assert_eq!(site.offer(0), 16.0);
    site.house = Phases([amps(6.5), amps(5.0), Milliamp::ZERO]);
    let mut reading = site.frame();
    reading.current = Phases([None; 3]);
    reading.power = Phases([None; 3]);
    site.tick_with(&[Observation::Meter(0, reading)]);
    // 24.5 A less 11.5 A of house on the same phase.
    assert_eq!(site.offer(0), 13.0);
}

#[test]
fn a_circuit_below_the_main_fuse_limits_with_its_own_meter() {
    let mut setup = setup(2);
    let mut garage = setup.circuits[0].clone();
    garage.id = "garage".to_owned();
    garage.parent = Some(0);
    garage.fuse = Some(amps(16.0));
    garage.meter = Some(1);
    setup.circuits.push(garage);
    let mut meter = setup.meters[0].clone();
    meter.id = "garage-meter".to_owned();
    setup.meters.push(meter);
    setup.chargers[1].circuit = 1;
    let mut site = Site::new(setup);
    let mut freezer = amps(1.0);
    let second = |site: &mut Site, freezer: Milliamp, answers: bool| {
        let mut frame = site.frame();
        frame.current = Phases::all(Some(freezer + site.sims[1].drawn));
        site.house = Phases::all(amps(2.0) + freezer);
        let heard = [Observation::Meter(1, frame)];
        site.tick_with(if answers { &heard } else { &[] });
    };
    for _ in 0..60 {
        second(&mut site, freezer, true);
    }
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 10.0]);
    freezer = amps(8.0);
    second(&mut site, freezer, true);
    second(&mut site, freezer, true);
    assert_eq!((site.offer(1), site.reason(1)), (7.0, "circuit"));
    for _ in 0..12 {
        second(&mut site, freezer, false);
    }
    assert_eq!((site.offer(1), site.reason(1)), (0.0, "meter_lost"), "only what is behind the lost meter");
    assert!(site.offer(0) >= 11.0);
}

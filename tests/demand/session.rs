//! Tariff and session.

use gridkeeper::control::{Accepted, InputMeaning, InputSetup, MeterSetup, Mode, ModeAfter, SessionMemory, Setup};
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Mono, Phases, Span, WattHour};
use gridkeeper::reading::{InputReading, MeterReading, Observation, PilotState};

use crate::site::{Site, amps};
use crate::{house, sentence};

fn low(site: &mut Site, seconds: usize, active: bool) {
    for _ in 0..seconds {
        let reading = InputReading { received_at: site.now, active: Some(active) };
        site.tick_with(&[Observation::Input(0, reading)]);
    }
}

fn with_tariff(mode: Mode, export: f64) -> Site {
    house(&[mode], export, |setup| {
        let id = "tariff".to_owned();
        setup.inputs.push(InputSetup { id, meaning: InputMeaning::LowTariff, max_age: None, debounce: Span::ZERO });
        setup.chargers[0].settings.low_tariff_max = amps(12.0);
    })
}

#[test]
fn low_tariff_fast_is_fast_in_cheap_hours_and_the_mode_in_others() {
    let mut site = with_tariff(Mode::Solar, 0.0);
    site.set("charger/c0/set/low_tariff_fast", "ON");
    low(&mut site, 60, false);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "surplus"));
    low(&mut site, 60, true);
    assert_eq!((site.offer(0), site.reason(0)), (12.0, "tariff"));
    assert_eq!(sentence(&site, 0), "12 A: the highest current that was chosen for the low tariff");
    site.set("charger/c0/set/low_tariff_max_a", "16");
    low(&mut site, 30, true);
    assert_eq!((site.offer(0), site.reason(0)), (16.0, "none"));
    site.set("charger/c0/set/mode", "off");
    low(&mut site, 30, true);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "off"), "in any mode but off");
}

#[test]
fn low_tariff_only_stops_at_once_whatever_the_shortest_times() {
    let mut site = with_tariff(Mode::Fast, 0.0);
    site.set("charger/c0/set/low_tariff_only", "ON");
    low(&mut site, 40, true);
    assert_eq!(site.offer(0), 12.0);
    low(&mut site, 1, false);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "tariff"));
}

/// A second with this energy counter and this state.
fn charged(site: &mut Site, energy: i64, state: PilotState) {
    site.sims[0].state = state;
    site.sims[0].energy = Some(WattHour(energy));
    site.tick();
}

#[test]
fn a_session_ends_with_its_energy_and_the_next_knows_nothing_of_it() {
    for (after, offer, word) in [("keep", 0.0, "session_limit"), ("fixed", 8.0, "fixed")] {
        let mut site = house(&[Mode::Fast], 0.0, |setup| setup.chargers[0].settings.fixed_current = amps(8.0));
        site.run(30);
        charged(&mut site, 100_000, PilotState::C);
        let set = site.controller.set(site.now, "charger/c0/set/session_limit_kwh", "5");
        assert_eq!(set, Ok(Accepted::Passing), "for this car only");
        site.set("charger/c0/set/mode_after_session", after);
        charged(&mut site, 104_999, PilotState::C);
        assert_eq!(site.offer(0), 16.0);
        charged(&mut site, 105_000, PilotState::C);
        assert_eq!((site.offer(0), site.reason(0)), (offer, word), "{after}");
        charged(&mut site, 105_000, PilotState::A);
        charged(&mut site, 105_000, PilotState::B);
        site.run(30);
        assert_eq!(site.offer(0), 16.0, "{after}, the next car: {}", sentence(&site, 0));
    }
}

#[test]
fn what_a_session_has_had_stays_had_when_its_counter_falls() {
    let mut site = house(&[Mode::Fast], 0.0, |_| {});
    site.run(30);
    charged(&mut site, 100_000, PilotState::C);
    site.set("charger/c0/set/session_limit_kwh", "5");
    for _ in 0..2 {
        charged(&mut site, 105_100, PilotState::C);
        assert_eq!((site.offer(0), site.reason(0)), (0.0, "session_limit"));
    }
    for energy in [0, 90_000, 101_000] {
        charged(&mut site, energy, PilotState::B);
        site.run(60);
        assert_eq!((site.offer(0), site.reason(0)), (0.0, "session_limit"), "at {energy}");
    }
    site.set("charger/c0/set/session_limit_kwh", "8");
    site.run(60);
    assert_eq!(site.offer(0), 16.0, "its owner gives it more");
    charged(&mut site, 101_000, PilotState::A);
    charged(&mut site, 101_000, PilotState::B);
    site.run(30);
    charged(&mut site, 102_000, PilotState::C);
    assert_eq!(site.offer(0), 16.0, "the next car counts anew");
}

#[test]
fn a_box_without_a_counter_cannot_end_a_session_by_energy() {
    let mut site = house(&[Mode::Fast], 0.0, |setup| setup.chargers[0].measures = false);
    let refused = site.controller.set(site.now, "charger/c0/set/session_limit_kwh", "5").unwrap_err().to_string();
    assert_eq!(refused, "charger `c0` counts no energy, so a session cannot end by it");
}

/// What a run that was ended with a car in mid-session has kept: 4 kWh of 5, and then off.
fn kept() -> SessionMemory {
    let mut site = house(&[Mode::Fast], 0.0, |_| {});
    charged(&mut site, 90_000, PilotState::A);
    site.run(10);
    charged(&mut site, 100_000, PilotState::B);
    assert_eq!(site.count(EventType::SessionStarted), 1);
    site.run(30);
    site.set("charger/c0/set/session_limit_kwh", "5");
    site.set("charger/c0/set/mode_after_session", "off");
    charged(&mut site, 104_000, PilotState::C);
    let kept = site.controller.sessions().next().flatten().expect("a session");
    let back = |at: Option<Mono>| at.map(|it| Mono(it.0 - site.now.0 - 60_000));
    SessionMemory { start: back(kept.start), heard_at: back(kept.heard_at), ..kept }
}

/// A run that begins with this memory and finds this.
fn resumed(memory: SessionMemory, energy: i64, state: PilotState) -> Site {
    let mut site = house(&[Mode::Fast], 0.0, |_| {});
    site.controller.remember(0, memory);
    assert_eq!(site.controller.sessions().next().flatten(), Some(memory), "not forgotten before the first contact");
    charged(&mut site, energy, state);
    site.run(30);
    site
}

#[test]
fn a_session_goes_on_over_a_restart_of_ours() {
    let mut site = resumed(kept(), 104_000, PilotState::C);
    let status = *site.status(0);
    assert_eq!(status.session_start.map(|it| it.0 / 1000), kept().start.map(|it| it.0 / 1000), "before this run");
    assert_eq!(status.session_energy, Some(WattHour(4_000)));
    assert_eq!(
        (status.settings.session_limit, status.settings.mode_after_session),
        (Some(WattHour(5_000)), Some(Mode::Off))
    );
    assert_eq!(site.count(EventType::SessionStarted) + site.count(EventType::SettingsOverridden), 0);
    charged(&mut site, 105_000, PilotState::C);
    site.run(5);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "off"), "what was set for this car holds");
    charged(&mut site, 105_000, PilotState::A);
    assert_eq!(site.count(EventType::SessionEnded), 1);
    assert_eq!(site.status(0).settings.session_limit, None);
}

#[test]
fn what_was_set_for_a_car_outlasts_a_restart_where_the_file_says_something_else() {
    let file = |setup: &mut Setup| {
        setup.chargers[0].settings.mode_after_session = Some(Mode::Off);
        setup.chargers[0].settings.session_limit = Some(WattHour(20_000));
    };
    for (word, given) in [("solar", ModeAfter::Goes(Mode::Solar)), ("keep", ModeAfter::Keep)] {
        let mut site = house(&[Mode::Fast], 0.0, file);
        charged(&mut site, 100_000, PilotState::C);
        site.run(30);
        site.set("charger/c0/set/mode_after_session", word);
        site.set("charger/c0/set/session_limit_kwh", "5");
        let memory = site.controller.sessions().next().flatten().expect("a session");
        assert_eq!((memory.mode_after, memory.limit), (Some(given), Some(WattHour(5_000))), "{word}");
        let memory = SessionMemory { heard_at: Some(Mono(-60_000)), start: None, ..memory };
        let after = |since: Option<&str>| {
            let mut site = house(&[Mode::Fast], 0.0, file);
            site.controller.remember(0, memory);
            if let Some(word) = since {
                site.set("charger/c0/set/mode_after_session", word);
            }
            charged(&mut site, 100_000, PilotState::C);
            site.run(30);
            let settings = site.status(0).settings;
            (settings.mode_after_session, settings.session_limit)
        };
        assert_eq!(after(None), (given.setting(), Some(WattHour(5_000))), "{word}");
        assert_eq!(after(Some("off")).0, Some(Mode::Off), "{word}: what was said since the start is newer");
        assert_eq!(after(Some("eco")).0, Some(Mode::Eco), "{word}: what was said since the start is newer");
    }
}

#[test]
fn what_was_set_for_a_car_is_dropped_aloud_where_it_may_have_left() {
    for heard_at in [None, Some(Mono(-3_600_000))] {
        let mut site = resumed(SessionMemory { heard_at, ..kept() }, 104_000, PilotState::C);
        let status = *site.status(0);
        assert_eq!((status.settings.session_limit, status.settings.mode_after_session), (None, None));
        assert_eq!((status.session_start, status.session_energy), (None, None), "nobody saw its begin");
        assert_eq!((site.count(EventType::SettingsOverridden), site.count(EventType::SessionStarted)), (1, 0));
        charged(&mut site, 119_000, PilotState::C);
        assert_eq!(site.offer(0), 16.0);
    }
    let site = resumed(kept(), 104_000, PilotState::A);
    assert_eq!((site.count(EventType::SessionEnded), site.count(EventType::SettingsOverridden)), (1, 0));
    assert_eq!(site.status(0).settings.session_limit, None);
}

#[test]
fn a_box_that_counts_sessions_is_asked_for_its_counter_before_anything_is_settled() {
    // The machine was restarted, so nobody knows for how long we were off.
    let memory = SessionMemory { box_energy: Some(WattHour(4_000)), heard_at: None, ..kept() };
    let soon = SessionMemory { heard_at: kept().heard_at, ..memory };
    // Its first answers come without it.
    for (memory, energy, of_session, goes_on) in
        [(memory, 104_500, 4_500, true), (memory, 104_500, 300, false), (soon, 104_500, 300, false)]
    {
        let mut site = house(&[Mode::Fast], 0.0, |_| {});
        site.controller.remember(0, memory);
        charged(&mut site, energy, PilotState::C);
        site.run(3);
        assert_eq!(site.controller.sessions().next().flatten(), Some(memory), "not settled");
        site.sims[0].session_energy = Some(WattHour(of_session));
        site.run(30);
        let limit = goes_on.then_some(WattHour(5_000));
        assert_eq!(site.status(0).settings.session_limit, limit, "{of_session}");
        let told = (site.count(EventType::SettingsOverridden), site.count(EventType::SessionStarted));
        assert_eq!(told, (usize::from(!goes_on), 0), "{of_session}");
    }
    // One that has ceased to tell it is judged by the time alone.
    let site = resumed(soon, 104_500, PilotState::C);
    assert_eq!(site.status(0).settings.session_limit, Some(WattHour(5_000)));
}

#[test]
fn a_car_that_was_swapped_while_its_box_was_silent_is_another_one() {
    for (of_session, same) in [(4_100, true), (200, false)] {
        let mut site = house(&[Mode::Fast], 0.0, |_| {});
        charged(&mut site, 90_000, PilotState::A);
        site.run(10);
        site.sims[0].session_energy = Some(WattHour(4_000));
        charged(&mut site, 100_000, PilotState::C);
        site.run(30);
        site.set("charger/c0/set/session_limit_kwh", "5");
        site.sims[0].hears = false;
        site.run(30);
        assert_eq!(site.count(EventType::ChargerLost), 1);
        (site.sims[0].hears, site.sims[0].session_energy) = (true, Some(WattHour(of_session)));
        charged(&mut site, 100_200, PilotState::C);
        site.run(30);
        assert_eq!(site.status(0).settings.session_limit, same.then_some(WattHour(5_000)), "{of_session}");
        let told = [EventType::SettingsOverridden, EventType::SessionStarted, EventType::SessionEnded];
        assert_eq!(told.map(|it| site.count(it)), [usize::from(!same), 1, 0], "{of_session}");
    }
}

#[test]
fn a_car_that_was_there_before_us_is_no_new_one() {
    let mut site = house(&[Mode::Fast], 0.0, |_| {});
    charged(&mut site, 100_000, PilotState::C);
    site.run(30);
    let status = site.status(0);
    assert!(status.plugged);
    assert_eq!((status.session_start, status.session_energy), (None, None));
    assert_eq!(site.count(EventType::SessionStarted), 0);
    charged(&mut site, 100_000, PilotState::A);
    charged(&mut site, 100_000, PilotState::B);
    assert_eq!((site.count(EventType::SessionEnded), site.count(EventType::SessionStarted)), (1, 1));
    assert_eq!(site.status(0).session_energy, Some(WattHour(0)));
}

#[test]
fn a_box_that_counts_nothing_has_the_counter_of_the_meter_at_it() {
    let mut site = house(&[Mode::Fast], 0.0, |setup| {
        setup.meters.push(MeterSetup { id: "box".into(), ..setup.meters[0].clone() });
        (setup.chargers[0].meter, setup.chargers[0].measures) = (Some(1), false);
    });
    site.sims[0].measures = false;
    let limit = "charger/c0/set/session_limit_kwh";
    assert!(site.controller.set(site.now, limit, "5").is_err(), "nobody counts yet");
    let count = |site: &mut Site, energy: i64, state: PilotState| {
        site.sims[0].state = state;
        for _ in 0..10 {
            let drawn = Phases::all(Some(site.sims[0].drawn));
            let frame = MeterReading { energy_import: Some(WattHour(energy)), current: drawn, ..site.frame() };
            site.tick_with(&[Observation::Meter(1, frame)]);
        }
    };
    count(&mut site, 50_000, PilotState::A);
    count(&mut site, 50_000, PilotState::B);
    site.set(limit, "5");
    count(&mut site, 52_000, PilotState::C);
    let status = site.status(0);
    assert_eq!((status.energy, status.session_energy), (Some(WattHour(52_000)), Some(WattHour(2_000))));
    count(&mut site, 55_000, PilotState::C);
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "session_limit"));
}

#[test]
fn a_wake_up_is_done_and_nothing_of_it_is_stored() {
    let mut site = house(&[Mode::Fast], 0.0, |_| {});
    site.run(30);
    let done = site.controller.set(site.now, "charger/c0/set/wake", "PRESS").expect("a car is there");
    assert!(!done.is_stored());
    let set = site.controller.set(site.now, "charger/c0/set/priority", "3").expect("accepted");
    assert!(set.is_stored());
}

#[test]
fn a_charger_on_one_phase_cannot_be_put_on_three() {
    let mut site = house(&[Mode::Fast], 0.0, |setup| {
        setup.chargers[0].phases.truncate(1);
        setup.chargers[0].can_switch_phases = true;
    });
    let refused = site.controller.set(site.now, "charger/c0/set/phases", "3").expect_err("it has one");
    assert!(refused.0.contains("wired to 1 phase"), "{refused}");
    site.set("charger/c0/set/phases", "1");
}

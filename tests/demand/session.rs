//! Tariff and session.

use gridkeeper::control::{Accepted, InputMeaning, InputSetup, Mode};
use gridkeeper::quantity::{Span, WattHour};
use gridkeeper::reading::{InputReading, Observation, PilotState};

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

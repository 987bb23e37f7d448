//! A garage of chargers, one second at a time, with as little work of its own as possible.

use gridkeeper::command::Actions;
use gridkeeper::control::{
    ChargerSettings, ChargerSetup, CircuitSetup, Controller, MeterSetup, Mode, RelayRule, RelaySetup, Setup, Sharing,
    SiteSettings, SurplusSetup, Timing,
};
use gridkeeper::feature::Purpose;
use gridkeeper::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt};
use gridkeeper::reading::{ChargerObservation, ChargerReport, MeterReading, Observation, PilotState, Watchdog};

const FAIL_SAFE: Milliamp = Milliamp::from_amps(6);
const WATCHDOG: Span = Span::from_secs(30);

/// `count` three-phase chargers of 32 A with rotated phases on 3 x 100 A.
pub(crate) fn setup(count: usize) -> Setup {
    let settings = ChargerSettings {
        mode: Mode::Fast,
        max_current: Milliamp::from_amps(32),
        fixed_current: Milliamp::from_amps(32),
        eco_min: FAIL_SAFE,
        eco_plus_min_surplus: Milliamp::from_amps(1),
        low_tariff_only: false,
        low_tariff_fast: false,
        low_tariff_max: Milliamp::from_amps(32),
        priority: 5,
        phases: None,
        session_limit: None,
        mode_after_session: None,
    };
    // Every mode has its share of the work.
    let modes = [Mode::Fast, Mode::Eco, Mode::Fast, Mode::Solar, Mode::EcoPlus];
    let charger = |index: usize| ChargerSetup {
        id: format!("c{index}"),
        circuit: 0,
        phases: (0..3).map(|own| Phase::ALL[(own + index) % 3]).collect(),
        max_current: Milliamp::from_amps(32),
        step: Milliamp::from_amps(1),
        can_switch_phases: false,
        chooses_phase: false,
        measures: true,
        meter: None,
        watchdog: Some(WATCHDOG),
        fail_safe: FAIL_SAFE,
        write_latency: Span::ZERO,
        auto_authorize: true,
        actions: Actions::ALL,
        settings: ChargerSettings { mode: modes[index % modes.len()], ..settings },
    };
    Setup {
        grid_phases: 3,
        circuits: vec![CircuitSetup {
            id: "grid".to_owned(),
            parent: None,
            fuse: Some(Milliamp::from_amps(100)),
            max_import: None,
            max_power: None,
            margin: Milliamp(500),
            meter: Some(0),
            static_current: None,
            reserve: Milliamp::ZERO,
            meter_lost_current: Milliamp::ZERO,
        }],
        meters: vec![MeterSetup {
            id: "main".to_owned(),
            phases: Phase::ALL,
            late: None,
            lost: None,
            lost_default: None,
            presumed_period: None,
            period: None,
        }],
        chargers: (0..count).map(charger).collect(),
        inputs: Vec::new(),
        relays: vec![RelaySetup {
            id: "boiler".to_owned(),
            on_when: vec![RelayRule::LowTariff, RelayRule::Export],
            load: Watt(2_000),
            export_on: Watt(2_000),
            export_off: Watt(-200),
            priority: 5,
            shed: true,
            min_on: Span::from_secs(300),
            min_off: Span::from_secs(300),
            force_max: Span::from_secs(3_600),
            safe_state: false,
            interlock: None,
        }],
        surplus: SurplusSetup::default(),
        batteries: Vec::new(),
        solar: Vec::new(),
        min_on: Span::from_secs(300),
        min_off: Span::from_secs(300),
        phase_switch_min: Span::from_secs(300),
        max_imbalance: None,
        timing: Timing::default(),
        site: SiteSettings {
            charging_enabled: true,
            sharing: Sharing::Equal,
            max_import: None,
            max_import_power: None,
            peak_15min: None,
            max_charging: None,
            dim: false,
        },
        dim: None,
        purpose: Purpose::Run,
    }
}

/// Cars that follow their offers at once, behind a meter that tells everything.
#[derive(Debug)]
pub(crate) struct Garage {
    now: Mono,
    busy: bool,
    noise: u32,
    offers: Vec<Milliamp>,
    observations: Vec<Observation>,
}

impl Garage {
    pub(crate) fn start() -> Mono {
        Mono(0)
    }

    pub(crate) fn new(count: usize, busy: bool) -> Self {
        Self {
            now: Self::start(),
            busy,
            noise: 1,
            offers: vec![Milliamp::ZERO; count],
            observations: Vec::with_capacity(2 * count + 1),
        }
    }

    fn house(&mut self) -> Milliamp {
        // A small linear congruence: the same loads on every run.
        self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = if self.busy { self.noise % 40_000 } else { 0 };
        Milliamp(5_000 + i32::try_from(size).unwrap_or(0))
    }

    /// One second; how many chargers are offered current.
    pub(crate) fn second(&mut self, controller: &mut Controller) -> usize {
        self.now = self.now + Span::from_secs(1);
        self.observations.clear();
        let mut current = Phases([self.house(), self.house(), self.house()]);
        for (index, offer) in self.offers.iter().enumerate() {
            let charging = *offer > Milliamp::ZERO;
            current = current.map(|it| it + *offer);
            // The box keeps what it is told to fall to.
            let fail_safe = controller.decision().commands.get(index).map_or(FAIL_SAFE, |it| it.fail_safe);
            let written = ChargerObservation::Written { offer: *offer, sent_at: self.now, at: self.now };
            self.observations.push(Observation::Charger(index, written));
            let report = ChargerReport {
                read_begun: self.now,
                received_at: self.now,
                state: if charging { PilotState::C } else { PilotState::B },
                set_point: Some(*offer),
                current: Phases::all(Some(*offer)),
                watchdog: Some(Watchdog { timeout: WATCHDOG, fail_safe }),
                ..ChargerReport::default()
            };
            self.observations.push(Observation::Charger(index, ChargerObservation::Report(report)));
        }
        self.observations.push(Observation::Meter(
            0,
            MeterReading {
                received_at: self.now,
                sampled_at: Some(self.now),
                current: current.map(Some),
                current_signed: true,
                current_step: Milliamp(10),
                voltage: Phases::all(Some(Millivolt(230_000))),
                ..MeterReading::default()
            },
        ));
        let decision = controller.step(self.now, None, &self.observations);
        for (offer, status) in self.offers.iter_mut().zip(&decision.chargers) {
            *offer = status.offered;
        }
        self.offers.iter().filter(|it| **it > Milliamp::ZERO).count()
    }
}

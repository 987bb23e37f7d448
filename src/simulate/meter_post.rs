//! A meter that sees a part of the house.

use std::collections::VecDeque;

use crate::config::Config;
use crate::control::{ChargerSetup, Setup};
use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt, WattHour};
use crate::reading::MeterReading;

use super::load::Load;
use super::scenario::{Knows, Meter, MeterTurn, Script};

/// What L1 carries in a frame that nobody can believe.
const SPIKE_A: f64 = 400.0;

/// Length of a quarter of an hour.
const QUARTER: Span = Span::from_secs(900);

#[derive(Debug)]
pub(super) struct MeterPost {
    plan: Meter,
    /// Index of the circuits and chargers behind it.
    pub(super) circuits: Vec<String>,
    pub(super) chargers: Vec<usize>,
    pub(super) turn: MeterTurn,
    period: Span,
    next: Mono,
    import_wh: f64,
    export_wh: f64,
    /// Import when its running quarter of an hour began.
    quarter_wh: f64,
    last: Option<MeterReading>,
    late: VecDeque<Load>,
}

impl MeterPost {
    /// `grid`, `sun`, `battery`, `circuit:<id>` or `charger:<id>`.
    pub(super) fn sees(&self) -> &str {
        &self.plan.sees
    }

    /// What flows now is remembered; the frame that arrives now, if one does.
    pub(super) fn sample(&mut self, now: Mono, truth: Load, volts: f64) -> Option<MeterReading> {
        if self.turn != MeterTurn::Zeros {
            self.count(truth.active.iter().sum::<f64>() * volts);
        }
        let began = Span::from_secs(self.plan.quarter_began_s.unwrap_or(0).into());
        if (now + began).0.rem_euclid(QUARTER.0) == 0 {
            self.quarter_wh = self.import_wh;
        }
        let delay = Span::from_secs_f64(self.plan.delay_s);
        self.late.push_back(truth);
        let seconds = usize::try_from(delay.0 / 1000).unwrap_or(0);
        while self.late.len() > seconds + 1 {
            self.late.pop_front();
        }
        if now < self.next {
            return None;
        }
        self.next = now + self.period;
        let mut seen = self.late.front().copied().unwrap_or(truth);
        match self.turn {
            MeterTurn::Silent => return None,
            MeterTurn::Frozen => {
                let mut last = self.last?;
                last.received_at = now;
                return Some(last);
            }
            MeterTurn::Zeros | MeterTurn::ZeroPower => seen = Load::default(),
            MeterTurn::Spike => seen.active[0] = SPIKE_A,
            MeterTurn::FlipsL1 => seen.active[0] = -seen.active[0],
            MeterTurn::Good | MeterTurn::LacksL1 => {}
        }
        let mut reading = self.frame(now, now - delay, &seen, volts);
        if self.turn == MeterTurn::LacksL1 {
            reading.current[Phase::L1] = None;
            reading.power[Phase::L1] = None;
        }
        self.last = Some(reading);
        Some(reading)
    }

    /// A second of this power.
    fn count(&mut self, watts: f64) {
        if watts > 0.0 {
            self.import_wh += watts / 3600.0;
        } else {
            self.export_wh -= watts / 3600.0;
        }
    }

    fn frame(&self, now: Mono, sampled_at: Mono, seen: &Load, volts: f64) -> MeterReading {
        let (amps, active) = (seen.flows(), seen.active);
        let total = Watt::from_f64(active.iter().sum::<f64>() * volts);
        let counters = |wh: f64| Some(WattHour::from_f64(wh));
        let bare = MeterReading {
            received_at: now,
            stamp: self.plan.quarter_began_s.is_none().then(|| sampled_at.0.div_euclid(1000)),
            // Energy since the quarter began, divided by the whole of it.
            demand: self.plan.quarter_began_s.map(|_| Watt::from_f64((self.import_wh - self.quarter_wh) * 4.0)),
            power_total: Some(total),
            energy_import: counters(self.import_wh),
            energy_export: counters(self.export_wh),
            ..MeterReading::default()
        };
        match self.plan.knows {
            Knows::Total => bare,
            Knows::Everything => MeterReading {
                current: Phases(amps.map(|it| Some(Milliamp::from_f64(it)))),
                current_signed: true,
                current_step: Milliamp(1),
                power: Phases(active.map(|it| Some(Watt::from_f64(it * volts)))),
                voltage: Phases::all(Some(Millivolt::from_f64(volts))),
                ..bare
            },
            Knows::WholeAmps => MeterReading {
                current: Phases(amps.map(|it| Some(Milliamp::from_f64(it.abs().round())))),
                current_signed: false,
                current_step: Milliamp::from_amps(1),
                power: Phases(active.map(|it| Some(Watt::from_f64(it * volts)))),
                ..bare
            },
        }
    }
}

/// Every meter of the configuration.
pub(super) fn all(config: &Config, setup: &Setup, script: &Script) -> Vec<MeterPost> {
    let below = |circuit: &str| -> Vec<String> {
        let is_below = |mut index: usize| loop {
            if setup.circuits[index].id == circuit {
                return true;
            }
            match setup.circuits[index].parent {
                Some(parent) => index = parent,
                None => return false,
            }
        };
        (0..setup.circuits.len()).filter(|it| is_below(*it)).map(|it| setup.circuits[it].id.clone()).collect()
    };
    config
        .meters
        .iter()
        .zip(&setup.meters)
        .map(|(meter, known)| {
            let plan = script.meters.get(&meter.common.id).cloned().unwrap_or_default();
            let (circuits, chargers) = match plan.sees.split_once(':') {
                Some(("circuit", id)) => {
                    let circuits = below(id);
                    let behind = |it: &ChargerSetup| circuits.contains(&setup.circuits[it.circuit].id);
                    let chargers = (0..setup.chargers.len()).filter(|it| behind(&setup.chargers[*it])).collect();
                    (circuits, chargers)
                }
                Some(("charger", id)) => {
                    (Vec::new(), (0..setup.chargers.len()).filter(|it| setup.chargers[*it].id == id).collect())
                }
                _ => (Vec::new(), Vec::new()),
            };
            MeterPost {
                plan,
                circuits,
                chargers,
                turn: MeterTurn::Good,
                period: known.period.unwrap_or(Span::from_secs(1)),
                next: Mono(0),
                import_wh: 4_567_000.0,
                export_wh: 123_000.0,
                quarter_wh: 4_567_000.0,
                last: None,
                late: VecDeque::new(),
            }
        })
        .collect()
}

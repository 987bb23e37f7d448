//! A house in simulated time with circuits, meters of their own, and cars that use some of their phases.

use gridkeeper::command::ChargerCommand;
use gridkeeper::control::{ChargerStatus, CircuitSetup, Controller, MeterSetup, Setup};
use gridkeeper::event::{Event, EventType};
use gridkeeper::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt};
use gridkeeper::reading::{InputReading, MeterReading, Observation};

use crate::site::{SECOND, Sim, amps};

/// Everything together, one step a second.
pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) now: Mono,
    /// Load beside the cars behind each circuit itself, deeper ones not included.
    pub(crate) loads: Vec<Phases<Milliamp>>,
    pub(crate) sims: Vec<Sim>,
    /// Meters that say nothing.
    pub(crate) dead: Vec<usize>,
    pub(crate) voltage: Millivolt,
    /// Meters that say only the power of all phases together.
    pub(crate) total_only: bool,
    /// The wall clock is set.
    pub(crate) wall: bool,
    /// A meter that shows so much production.
    pub(crate) produces: Option<(usize, Watt)>,
    pub(crate) events: Vec<(Mono, Event)>,
    /// Of the last step.
    pub(crate) commands: Vec<ChargerCommand>,
    /// Import since the start, in Wh per quarter of an hour.
    pub(crate) quarters: Vec<f64>,
    pub(crate) orders: u32,
    setup: Setup,
    input: Option<bool>,
}

/// A circuit below the grid connection.
pub(crate) fn circuit(id: &str, parent: usize, fuse: f64, meter: Option<usize>) -> CircuitSetup {
    CircuitSetup {
        id: id.to_owned(),
        parent: Some(parent),
        fuse: Some(amps(fuse)),
        max_import: None,
        max_power: None,
        margin: amps(0.5),
        meter,
        static_current: None,
        reserve: Milliamp::ZERO,
        meter_lost_current: Milliamp::ZERO,
    }
}

/// A meter with the default times.
pub(crate) fn meter(id: &str) -> MeterSetup {
    MeterSetup {
        id: id.to_owned(),
        phases: Phase::ALL,
        late: None,
        lost: None,
        lost_default: Some(Span::from_secs(10)),
        period: None,
        presumed_period: None,
    }
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut loads = vec![Phases::default(); setup.circuits.len()];
        // A house that takes nothing at all would show zeros, which are doubted.
        loads[0] = Phases::all(amps(0.4));
        let sims: Vec<Sim> = setup.chargers.iter().map(|it| Sim::new(it.measures)).collect();
        Self {
            controller: Controller::new(setup.clone(), Mono(0)),
            now: Mono(0),
            loads,
            dead: Vec::new(),
            voltage: Millivolt(230_000),
            total_only: false,
            wall: true,
            produces: None,
            events: Vec::new(),
            commands: vec![ChargerCommand::default(); sims.len()],
            sims,
            quarters: vec![0.0],
            orders: 0,
            setup,
            input: None,
        }
    }

    pub(crate) fn set(&mut self, path: &str, value: &str) {
        self.controller.set(self.now, path, value).expect("an accepted wish");
    }

    /// The level of the only input.
    pub(crate) fn input(&mut self, level: bool) {
        self.input = Some(level);
    }

    fn is_behind(&self, mut circuit: usize, above: usize) -> bool {
        loop {
            if circuit == above {
                return true;
            }
            let Some(parent) = self.setup.circuits[circuit].parent else { return false };
            circuit = parent;
        }
    }

    /// What flows through a circuit's fuse.
    pub(crate) fn current(&self, circuit: usize) -> Phases<Milliamp> {
        let mut current = Phases::<Milliamp>::default();
        for (_, load) in self.loads.iter().enumerate().filter(|(index, _)| self.is_behind(*index, circuit)) {
            for phase in Phase::ALL {
                current[phase] += load[phase];
            }
        }
        for (index, charger) in self.setup.chargers.iter().enumerate() {
            if self.is_behind(charger.circuit, circuit) {
                for phase in charger.phases.iter().take(self.sims[index].lines.min(self.sims[index].uses)) {
                    current[*phase] += self.sims[index].drawn;
                }
            }
        }
        current
    }

    /// Power of all charging.
    pub(crate) fn charging(&self) -> Watt {
        let sum = |index: usize| {
            let phases = self.setup.chargers[index].phases.len().min(self.sims[index].lines).min(self.sims[index].uses);
            Watt(self.sims[index].drawn.at(self.voltage).0 * i32::try_from(phases).expect("at most 3"))
        };
        (0..self.sims.len()).map(sum).sum()
    }

    fn total(&self, power: Watt) -> MeterReading {
        MeterReading {
            received_at: self.now,
            sampled_at: Some(self.now),
            current_signed: true,
            current_step: Milliamp(100),
            power_total: Some(power),
            ..MeterReading::default()
        }
    }

    fn frame(&self, circuit: usize) -> MeterReading {
        let current = self.current(circuit);
        let power = current.map(|it| it.at(self.voltage));
        let total: Watt = power.iter().map(|(_, it)| *it).sum();
        let mut reading = self.total(total);
        if !self.total_only {
            reading.current = current.map(Some);
            reading.power = power.map(Some);
            reading.voltage = Phases::all(Some(self.voltage));
        }
        reading
    }

    pub(crate) fn tick(&mut self) {
        let mut observations = Vec::new();
        let mut tell = Vec::new();
        for (index, sim) in self.sims.iter_mut().enumerate() {
            sim.task(self.now, &self.commands[index], &mut tell);
            observations.extend(tell.drain(..).map(|it| Observation::Charger(index, it)));
        }
        for (circuit, setup) in self.setup.circuits.iter().enumerate() {
            if let Some(meter) = setup.meter.filter(|meter| !self.dead.contains(meter)) {
                observations.push(Observation::Meter(meter, self.frame(circuit)));
            }
        }
        if let Some((meter, power)) = self.produces {
            observations.push(Observation::Meter(meter, self.total(power)));
        }
        if let Some(level) = self.input {
            observations.push(Observation::Input(0, InputReading { received_at: self.now, active: Some(level) }));
        }
        let wall = self.wall.then_some(self.now.0 / 1_000);
        let decision = self.controller.step(self.now, wall, &observations);
        let pairs = self.commands.iter().zip(&decision.commands);
        self.orders += u32::try_from(pairs.filter(|(old, new)| old.offer != new.offer).count()).expect("few");
        self.commands.clone_from(&decision.commands);
        self.events.extend(decision.events.iter().map(|it| (self.now, it.clone())));
        for sim in &mut self.sims {
            sim.live(self.now);
            assert!(!sim.switched_under_load, "phases switched under load at {:?}", self.now);
        }
        let import: Watt = self.current(0).iter().map(|(_, it)| it.at(self.voltage)).sum();
        *self.quarters.last_mut().expect("one") += f64::from(import.0.max(0)) / 3600.0;
        self.now = self.now + SECOND;
        if self.now.0 % 900_000 == 0 {
            self.quarters.push(0.0);
        }
    }

    pub(crate) fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.tick();
        }
    }

    pub(crate) fn status(&self, index: usize) -> &ChargerStatus {
        &self.controller.decision().chargers[index]
    }

    pub(crate) fn offers(&self) -> Vec<i32> {
        self.controller.decision().chargers.iter().map(|it| it.offered.0 / 1_000).collect()
    }

    pub(crate) fn reason(&self, index: usize) -> &'static str {
        self.status(index).reason.word.word()
    }

    pub(crate) fn count(&self, event: EventType) -> usize {
        self.told(event).count()
    }

    /// Events of this kind so far.
    pub(crate) fn told(&self, event: EventType) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|(_, it)| it).filter(move |it| it.event_type == event)
    }
}

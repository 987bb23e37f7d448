//! A house in simulated time around the bare controller: one step a second, chargers that behave as their device tasks
//! and boxes do, faults by switch.

use gridkeeper::command::{Actions, ChargerCommand, Contact};
use gridkeeper::control::{
    ChargerSettings, ChargerSetup, ChargerStatus, CircuitSetup, Controller, InputMeaning, InputSetup, MeterSetup, Mode,
    Setup, Sharing, SiteSettings, SurplusSetup, Timing,
};
use gridkeeper::event::EventType;
use gridkeeper::feature::Purpose;
use gridkeeper::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt, WattHour};
use gridkeeper::reading::{ChargerObservation, ChargerReport, MeterReading, Observation, PilotState, Watchdog};

pub(crate) const SECOND: Span = Span::from_secs(1);

pub(crate) fn amps(value: f64) -> Milliamp {
    Milliamp::from_f64(value)
}

/// A house with one grid meter and `count` three-phase chargers of 16 A on 3 x 25 A, everything else by default.
pub(crate) fn setup(count: usize) -> Setup {
    Setup {
        grid_phases: 3,
        circuits: vec![CircuitSetup {
            id: "grid".to_owned(),
            parent: None,
            fuse: Some(amps(25.0)),
            max_import: None,
            max_power: None,
            margin: amps(0.5),
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
            lost_default: Some(Span::from_secs(10)),
            period: None,
            presumed_period: None,
        }],
        chargers: (0..count).map(charger).collect(),
        inputs: Vec::new(),
        relays: Vec::new(),
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
        purpose: Purpose::Simulate,
    }
}

fn charger(index: usize) -> ChargerSetup {
    ChargerSetup {
        id: format!("c{index}"),
        circuit: 0,
        phases: Phase::ALL.to_vec(),
        max_current: amps(16.0),
        step: amps(1.0),
        can_switch_phases: false,
        chooses_phase: false,
        measures: true,
        meter: None,
        watchdog: Some(Span::from_secs(30)),
        fail_safe: amps(6.0),
        write_latency: Span::ZERO,
        auto_authorize: true,
        actions: Actions::ALL,
        settings: ChargerSettings {
            mode: Mode::Fast,
            max_current: amps(16.0),
            fixed_current: amps(16.0),
            eco_min: amps(6.0),
            eco_plus_min_surplus: amps(1.0),
            low_tariff_only: false,
            low_tariff_fast: false,
            low_tariff_max: amps(16.0),
            priority: 5,
            phases: None,
            session_limit: None,
            mode_after_session: None,
        },
    }
}

pub(crate) fn input(meaning: InputMeaning) -> InputSetup {
    InputSetup { id: "signal".to_owned(), meaning, max_age: None, debounce: Span::ZERO }
}

/// A box with a car, and the task that speaks to it.
#[derive(Clone, Debug)]
pub(crate) struct Sim {
    pub(crate) set_point: Milliamp,
    pub(crate) state: PilotState,
    /// What the car takes at most.
    pub(crate) car_max: Milliamp,
    /// The car takes this whatever it is offered.
    pub(crate) stubborn: Option<Milliamp>,
    /// Its pilot is read back as well, and offers this.
    pub(crate) shows: Option<Milliamp>,
    /// Somebody else writes this before every poll.
    pub(crate) other_master: Option<Milliamp>,
    pub(crate) measures: bool,
    /// Our telegrams reach it.
    pub(crate) hears: bool,
    /// Its answers reach us.
    pub(crate) answers: bool,
    /// It refuses every set-point and answers polls.
    pub(crate) refuses: bool,
    /// Its device task says nothing at all, and does nothing.
    pub(crate) task_is_dead: bool,
    /// The car takes so much more than it is offered.
    pub(crate) above: Milliamp,
    /// The car begins from here only.
    pub(crate) starts_at: Milliamp,
    pub(crate) drawn: Milliamp,
    /// How many of its phases are switched through; the first ones.
    pub(crate) lines: usize,
    /// How many of its phases the car uses at most.
    pub(crate) uses: usize,
    /// Its contactor was switched while current flowed.
    pub(crate) switched_under_load: bool,
    /// The car moves by so much a second towards what it may draw; nothing: at once.
    pub(crate) ramp: Option<Milliamp>,
    pub(crate) watchdog: Watchdog,
    /// What stands in the registers of its timer is no setting that it can have.
    pub(crate) timer_is_unreadable: bool,
    /// It measures this on every phase.
    pub(crate) voltage: Option<Millivolt>,
    /// Its lifetime counter, where it has one.
    pub(crate) energy: Option<WattHour>,
    /// Its counter of the session, where it has one.
    pub(crate) session_energy: Option<WattHour>,
    fed_at: Mono,
    confirmed: Option<Milliamp>,
    told: Option<u8>,
    rewrite: u32,
    attempt: Option<u32>,
    /// Telegrams sent to it since the start.
    pub(crate) sent: u32,
    pub(crate) writes: Vec<(Mono, Milliamp)>,
}

impl Sim {
    pub(crate) fn new(measures: bool) -> Self {
        Self {
            set_point: Milliamp::ZERO,
            state: PilotState::B,
            car_max: amps(32.0),
            stubborn: None,
            shows: None,
            other_master: None,
            measures,
            hears: true,
            answers: true,
            refuses: false,
            task_is_dead: false,
            above: Milliamp::ZERO,
            starts_at: amps(6.0),
            drawn: Milliamp::ZERO,
            lines: 3,
            uses: 3,
            switched_under_load: false,
            ramp: None,
            watchdog: Watchdog { timeout: Span::from_secs(30), fail_safe: Milliamp::ZERO },
            timer_is_unreadable: false,
            voltage: None,
            energy: None,
            session_energy: None,
            fed_at: Mono(0),
            confirmed: None,
            told: None,
            rewrite: 0,
            attempt: None,
            sent: 0,
            writes: Vec::new(),
        }
    }

    fn write(&mut self, now: Mono, command: &ChargerCommand, tell: &mut Vec<ChargerObservation>) -> bool {
        let Some(offer) = command.offer else { return true };
        self.sent += 1;
        self.writes.push((now, offer));
        self.rewrite = command.rewrite;
        if self.refuses && self.hears {
            self.fed_at = now;
            self.confirmed = None;
            tell.push(failed(now, if self.answers { None } else { Some(offer) }));
            return self.answers;
        }
        if self.hears {
            self.set_point = offer;
            let lines = command.phases.map_or(self.lines, usize::from);
            self.switched_under_load |= lines != self.lines && self.drawn >= amps(1.0);
            self.lines = lines;
            if !self.timer_is_unreadable {
                self.watchdog.fail_safe = command.fail_safe;
            }
            self.fed_at = now;
        }
        if self.hears && self.answers {
            self.confirmed = Some(offer);
            tell.push(ChargerObservation::Written { offer, sent_at: now, at: now });
            return true;
        }
        self.confirmed = None;
        tell.push(failed(now, Some(offer)));
        false
    }

    fn read(&mut self, now: Mono, tell: &mut Vec<ChargerObservation>) {
        self.sent += 1;
        if self.hears {
            self.fed_at = now;
        }
        if !(self.hears && self.answers) {
            tell.push(failed(now, None));
            return;
        }
        let mut current = Phases([None; 3]);
        for own in current.0.iter_mut().take(if self.measures { 3 } else { 0 }).enumerate() {
            *own.1 = Some(if own.0 < self.lines.min(self.uses) { self.drawn } else { Milliamp::ZERO });
        }
        tell.push(ChargerObservation::Report(ChargerReport {
            read_begun: now,
            received_at: now,
            state: self.state,
            set_point: Some(self.set_point),
            offered: self.shows,
            current,
            voltage: Phases::all(self.voltage),
            power: self.voltage.map(|volts| {
                let phases = i32::try_from(self.lines.min(self.uses)).expect("at most 3");
                Watt(self.drawn.at(volts).0 * phases)
            }),
            phases_connected: u8::try_from(self.lines).ok(),
            watchdog: (!self.timer_is_unreadable).then_some(self.watchdog),
            energy: self.energy,
            session_energy: self.session_energy,
            ..ChargerReport::default()
        }));
    }

    /// One second of its device task.
    pub(crate) fn task(&mut self, now: Mono, command: &ChargerCommand, tell: &mut Vec<ChargerObservation>) {
        match command.contact {
            _ if self.task_is_dead => {}
            Contact::Quiet => {}
            Contact::WriteFirst(number) => {
                if self.attempt != Some(number) {
                    self.attempt = Some(number);
                    if self.write(now, command, tell) {
                        self.read(now, tell);
                    }
                }
            }
            Contact::Open => self.read(now, tell),
            Contact::Normal => {
                let phases = std::mem::replace(&mut self.told, command.phases) != command.phases;
                let differs = phases || command.offer != self.confirmed || command.rewrite != self.rewrite;
                if !differs || self.write(now, command, tell) {
                    self.read(now, tell);
                }
            }
        }
    }

    /// What its pilot offers.
    pub(crate) fn pilot(&self, now: Mono) -> Milliamp {
        let starved = self.watchdog.timeout > Span::ZERO && now.since(self.fed_at) > self.watchdog.timeout;
        if starved { self.watchdog.fail_safe } else { self.set_point }
    }

    /// One second of the box and the car.
    pub(crate) fn live(&mut self, now: Mono) {
        if let Some(other) = self.other_master {
            self.set_point = other;
        }
        let offer = self.pilot(now);
        if self.state == PilotState::B && offer >= self.starts_at {
            self.state = PilotState::C;
        }
        let wanted = match (self.state, self.stubborn) {
            (_, Some(stubborn)) => stubborn,
            (PilotState::C, None) if offer >= amps(6.0) => offer.min(self.car_max) + self.above,
            _ => Milliamp::ZERO,
        };
        self.drawn = match self.ramp {
            // Only in state C the contactor is closed: in any other nothing flows, however slowly the car would ramp.
            Some(ramp) if self.state == PilotState::C => wanted.max(self.drawn - ramp).min(self.drawn + ramp),
            _ => wanted,
        };
        // A car that is offered nothing ramps down first and leaves state C then (IEC 61851-1: within 5 s).
        let stops = offer < amps(6.0) && self.stubborn.is_none() && self.drawn == Milliamp::ZERO;
        if self.state == PilotState::C && stops {
            self.state = PilotState::B;
        }
    }
}

fn failed(at: Mono, unconfirmed: Option<Milliamp>) -> ChargerObservation {
    ChargerObservation::Failed { at, unconfirmed, round: Span(200), period: SECOND }
}

/// What the meter does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum MeterFault {
    None,
    Silent,
    /// The last telegram again and again, its time included.
    Frozen,
    /// New telegrams, all zero.
    Zero,
    /// This phase is missing.
    Missing(Phase),
    /// This phase has the wrong sign.
    Flipped(Phase),
    /// This much on every phase.
    Shows(f64),
}

/// The house.
pub(crate) struct Site {
    pub(crate) controller: Controller,
    pub(crate) now: Mono,
    pub(crate) house: Phases<Milliamp>,
    pub(crate) sims: Vec<Sim>,
    pub(crate) fault: MeterFault,
    /// Seconds between two frames.
    pub(crate) period: i64,
    /// The next frame comes so much later than it should.
    pub(crate) jitter: Span,
    pub(crate) events: Vec<(Mono, EventType, String)>,
    commands: Vec<ChargerCommand>,
    last: Option<MeterReading>,
    wall: Option<i64>,
}

impl Site {
    pub(crate) fn new(setup: Setup) -> Self {
        let sims = setup.chargers.iter().map(|it| Sim::new(it.measures)).collect::<Vec<_>>();
        let commands = vec![ChargerCommand::default(); sims.len()];
        Self {
            controller: Controller::new(setup, Mono(0)),
            now: Mono(0),
            house: Phases::all(amps(2.0)),
            sims,
            fault: MeterFault::None,
            period: 1,
            jitter: Span::ZERO,
            events: Vec::new(),
            commands,
            last: None,
            wall: None,
        }
    }

    pub(crate) fn set_wall(&mut self, wall: Option<i64>) {
        self.wall = wall;
    }

    /// A steady house: every car at 16 A or at what the fuse leaves.
    pub(crate) fn charging(setup: Setup) -> Self {
        let mut site = Self::new(setup);
        site.run(60);
        for (index, sim) in site.sims.iter().enumerate() {
            assert_eq!(sim.state, PilotState::C, "charger {index} charges before the test begins");
        }
        site.events.clear();
        site
    }

    pub(crate) fn set(&mut self, path: &str, value: &str) {
        self.controller.set(self.now, path, value).expect("an accepted wish");
    }

    /// The frame that the meter would send now.
    pub(crate) fn frame(&self) -> MeterReading {
        let mut current = self.house;
        for sim in &self.sims {
            current = current.map(|it| it + sim.drawn);
        }
        match self.fault {
            MeterFault::Zero => current = Phases::default(),
            MeterFault::Shows(value) => current = Phases::all(amps(value)),
            MeterFault::Flipped(phase) => current[phase] = -current[phase],
            _ => {}
        }
        let missing = |phase| self.fault == MeterFault::Missing(phase);
        let voltage = Millivolt(230_000);
        let mut reading = MeterReading {
            received_at: self.now,
            stamp: Some(self.now.0 / 1000 + 1_000_000),
            current_signed: true,
            current_step: Milliamp(100),
            voltage: Phases::all(Some(voltage)),
            ..MeterReading::default()
        };
        for phase in Phase::ALL.into_iter().filter(|it| !missing(*it)) {
            reading.current[phase] = Some(current[phase]);
            reading.power[phase] = Some(current[phase].at(voltage));
        }
        reading.power_total = Some(reading.power.0.iter().flatten().copied().sum::<Watt>());
        reading
    }

    /// One second with whatever comes.
    pub(crate) fn tick(&mut self) {
        self.tick_with(&[]);
    }

    /// One second, and these observations besides.
    pub(crate) fn tick_with(&mut self, also: &[Observation]) {
        let mut observations = Vec::new();
        let mut tell = Vec::new();
        for (index, sim) in self.sims.iter_mut().enumerate() {
            sim.task(self.now, &self.commands[index], &mut tell);
            observations.extend(tell.drain(..).map(|it| Observation::Charger(index, it)));
        }
        let due = (self.now.0 / 1000) % self.period == self.jitter.0 / 1000;
        match self.fault {
            MeterFault::Silent => {}
            _ if !due => {}
            MeterFault::Frozen => {
                if let Some(mut reading) = self.last {
                    reading.received_at = self.now;
                    observations.push(Observation::Meter(0, reading));
                }
            }
            _ => {
                let reading = self.frame();
                self.last = Some(reading);
                observations.push(Observation::Meter(0, reading));
            }
        }
        observations.extend_from_slice(also);
        self.step(&observations);
        for sim in &mut self.sims {
            sim.live(self.now);
        }
        self.now = self.now + SECOND;
    }

    /// Only the controller, at any time.
    pub(crate) fn step(&mut self, observations: &[Observation]) {
        let now = self.now;
        let decision = self.controller.step(now, self.wall, observations);
        self.commands.clone_from(&decision.commands);
        self.events.extend(decision.events.iter().map(|it| (now, it.event_type, it.subject.clone())));
        for status in &decision.chargers {
            assert!(status.offered == Milliamp::ZERO || status.offered >= amps(6.0), "1 to 5 A at {now:?}: {status:?}");
        }
    }

    /// The chargers answer, the meter does not.
    pub(crate) fn step_without_meter(&mut self) {
        let mut observations = Vec::new();
        let mut tell = Vec::new();
        for (index, sim) in self.sims.iter_mut().enumerate() {
            sim.task(self.now, &self.commands[index], &mut tell);
            observations.extend(tell.drain(..).map(|it| Observation::Charger(index, it)));
        }
        self.step(&observations);
    }

    pub(crate) fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.tick();
        }
    }

    pub(crate) fn status(&self, index: usize) -> &ChargerStatus {
        &self.controller.decision().chargers[index]
    }

    pub(crate) fn offer(&self, index: usize) -> f64 {
        self.status(index).offered.as_f64()
    }

    pub(crate) fn counted(&self, index: usize) -> f64 {
        self.status(index).counted.as_f64()
    }

    pub(crate) fn reason(&self, index: usize) -> &'static str {
        self.status(index).reason.word.word()
    }

    pub(crate) fn contact(&self, index: usize) -> Contact {
        self.commands[index].contact
    }

    pub(crate) fn command(&self, index: usize) -> ChargerCommand {
        self.commands[index]
    }

    /// Seconds after `since` at which this was told, first time.
    pub(crate) fn told(&self, event: EventType, since: Mono) -> Option<f64> {
        let at = self.events.iter().find(|(at, it, _)| *it == event && *at >= since)?.0;
        Some(at.since(since).as_secs_f64())
    }

    pub(crate) fn count(&self, event: EventType) -> usize {
        self.events.iter().filter(|(_, it, _)| *it == event).count()
    }
}

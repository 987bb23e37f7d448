//! A random installation and what happens to it.

use gridkeeper::command::ChargerCommand;
use gridkeeper::control::{Controller, MeterSetup, Setup};
use gridkeeper::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt};
use gridkeeper::reading::{MeterReading, Observation, PilotState};
use proptest::prelude::*;

use crate::knowledge::Knowledge;
use crate::site::{Sim, amps, setup};

/// What an installer chose.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    fuse: i32,
    lost: i32,
    /// What the cars that follow the sun may take from the grid, in W: as good as a sun, and the frames stay imports.
    sun: i32,
    chargers: Vec<Box>,
    /// A circuit below the root: its fuse, and what is reserved in it where it has no meter.
    below: Option<(i32, Option<i32>)>,
    max_import_kw: Option<i32>,
    max_charging_kw: Option<i32>,
}

/// One charger and its car.
#[derive(Clone, Debug)]
struct Box {
    phases: usize,
    rotation: usize,
    measures: bool,
    watchdog: bool,
    fail_safe: i32,
    present: i32,
    charging: bool,
    car_max: i32,
    ramp: Option<i32>,
    /// In the circuit below the root, where there is one.
    below: bool,
    /// Three phases or one.
    switches: bool,
}

/// How a frame comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FrameKind {
    Good,
    None,
    Repeated,
    Missing(usize),
    Flipped(usize),
    Absurd,
    Zero,
}

/// One step of the history.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    wait: i64,
    house: Option<[i32; 3]>,
    frame: FrameKind,
    /// Charger, and what becomes of its link: 0 well, 1 dead, 2 return line dead, 3 the box restarts at 32 A,
    /// 4 the car is unplugged, 5 plugged in, 6 ignores its offer, 7 obeys, 8 the box restarts at 32 A on all its phases,
    /// 9 its timer cannot be read, takes nothing and falls to 32 A, 10 its timer runs for 600 s, 11 for 14 s, 12 it
    /// answers polls and refuses every set-point.
    fault: Option<(usize, u8)>,
    wish: Option<(usize, u8)>,
}

pub(crate) fn installation() -> impl Strategy<Value = Installation> {
    let charger = (
        (1..=3usize, 0..3usize, prop::bool::weighted(0.8), prop::bool::weighted(0.8)),
        (prop::sample::select(vec![0, 6]), prop::sample::select(vec![0, 6, 10, 16]), any::<bool>()),
        (prop::sample::select(vec![6, 10, 16, 32]), prop::option::of(1..6i32)),
    );
    let charger = (charger, any::<bool>(), any::<bool>());
    let charger = charger.prop_map(|(charger, below, switches)| {
        let ((phases, rotation, measures, watchdog), (fail_safe, present, charging), (car_max, ramp)) = charger;
        let switches = switches && phases == 3;
        Box { phases, rotation, measures, watchdog, fail_safe, present, charging, car_max, ramp, below, switches }
    });
    let fuse = prop::sample::select(vec![16, 20, 25, 35, 63]);
    let lost = prop::sample::select(vec![0, 0, 6, 10, 16, 100]);
    let below = (prop::sample::select(vec![10, 16, 25, 40]), prop::option::of(0..8i32));
    let limits = (
        prop::option::weighted(0.5, below),
        prop::option::weighted(0.3, prop::sample::select(vec![4, 8, 14, 25])),
        prop::option::weighted(0.3, prop::sample::select(vec![3, 5, 11, 20])),
    );
    let sun = prop::sample::select(vec![0, 9_000, 25_000]);
    let all = (fuse, lost, sun, prop::collection::vec(charger, 1..=5), limits);
    all.prop_map(|(fuse, lost, sun, chargers, (below, max_import_kw, max_charging_kw))| Installation {
        fuse,
        lost,
        sun,
        chargers,
        below,
        max_import_kw,
        max_charging_kw,
    })
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let wait = prop_oneof![16 => 300..1_200i64, 2 => 1_200..4_500i64, 1 => 4_500..13_000i64];
    let frame = prop_oneof![
        20 => Just(FrameKind::Good),
        3 => Just(FrameKind::None),
        1 => Just(FrameKind::Repeated),
        1 => (0..3usize).prop_map(FrameKind::Missing),
        1 => (0..3usize).prop_map(FrameKind::Flipped),
        1 => Just(FrameKind::Absurd),
        1 => Just(FrameKind::Zero),
    ];
    let house = prop::option::weighted(0.15, prop::array::uniform3(1..40i32));
    let fault = prop::option::weighted(
        0.15,
        (0..5usize, prop_oneof![3 => Just(0u8), 4 => 1..=2u8, 2 => 3..=8u8, 2 => 9..=12u8]),
    );
    let wish = prop::option::weighted(0.06, (0..5usize, 0..11u8));
    (wait, house, frame, fault, wish).prop_map(|(wait, house, frame, fault, wish)| Op {
        wait,
        house,
        frame,
        fault,
        wish,
    })
}

/// Everything together.
pub(crate) struct World {
    setup: Setup,
    controller: Controller,
    sims: Vec<Sim>,
    commands: Vec<ChargerCommand>,
    house: Phases<Milliamp>,
    now: Mono,
    last_frame: Option<MeterReading>,
    last_kind: FrameKind,
    knowledge: Knowledge,
}

impl World {
    pub(crate) fn new(installation: &Installation) -> Self {
        let mut setup = setup(installation.chargers.len());
        setup.circuits[0].fuse = Some(amps(f64::from(installation.fuse)));
        setup.circuits[0].meter_lost_current = amps(f64::from(installation.lost));
        setup.surplus.target = Watt(installation.sun);
        setup.meters[0].late = Some(Span::from_secs(5));
        setup.meters[0].lost = Some(Span::from_secs(10));
        setup.site.max_import_power = installation.max_import_kw.map(|it| Watt(it * 1_000));
        setup.site.max_charging = installation.max_charging_kw.map(|it| Watt(it * 1_000));
        if let Some((fuse, reserve)) = installation.below {
            let mut below = setup.circuits[0].clone();
            below.id = "below".to_owned();
            below.parent = Some(0);
            below.fuse = Some(amps(f64::from(fuse)));
            below.reserve = amps(f64::from(reserve.unwrap_or(0)));
            below.meter = reserve.is_none().then_some(1);
            if below.meter.is_some() {
                setup.meters.push(MeterSetup { id: "below".to_owned(), ..setup.meters[0].clone() });
            }
            setup.circuits.push(below);
        }
        let mut sims = Vec::new();
        for (it, charger) in setup.chargers.iter_mut().zip(&installation.chargers) {
            it.circuit = usize::from(charger.below && installation.below.is_some());
            it.can_switch_phases = charger.switches;
            it.phases = (0..charger.phases).map(|own| Phase::ALL[(own + charger.rotation) % 3]).collect();
            it.max_current = amps(32.0);
            it.settings.max_current = amps(32.0);
            it.measures = charger.measures;
            it.fail_safe = amps(f64::from(charger.fail_safe));
            let mut sim = Sim::new(charger.measures);
            sim.lines = charger.phases;
            sim.uses = charger.phases;
            sim.set_point = amps(f64::from(charger.present));
            sim.car_max = amps(f64::from(charger.car_max));
            sim.ramp = charger.ramp.map(|ramp| amps(f64::from(ramp)));
            if !charger.watchdog {
                it.watchdog = None;
                sim.watchdog.timeout = Span::ZERO;
            }
            if charger.charging && charger.present > 0 {
                sim.state = PilotState::C;
                sim.drawn = sim.set_point.min(sim.car_max);
            }
            sims.push(sim);
        }
        Self {
            controller: Controller::new(setup.clone(), Mono(0)),
            commands: vec![ChargerCommand::default(); sims.len()],
            knowledge: Knowledge::new(&setup),
            sims,
            house: Phases::all(amps(2.0)),
            now: Mono(0),
            last_frame: None,
            last_kind: FrameKind::None,
            setup,
        }
    }

    /// One step; a sentence when a rule is broken.
    pub(crate) fn live(&mut self, op: &Op) -> Result<(), String> {
        self.now = self.now + Span(op.wait);
        if let Some(house) = op.house {
            self.house = Phases(house.map(|it| amps(f64::from(it))));
        }
        self.happen(op);
        for sim in &mut self.sims {
            sim.live(self.now);
            if sim.switched_under_load {
                return Err(format!("{:?}: phases were switched under load", self.now));
            }
        }
        let mut observations = Vec::new();
        let mut heard = Vec::new();
        for (index, sim) in self.sims.iter_mut().enumerate() {
            let mut tell = Vec::new();
            sim.task(self.now, &self.commands[index], &mut tell);
            for observation in tell {
                heard.push((index, observation));
                observations.push(Observation::Charger(index, observation));
            }
        }
        if let Some((reading, good)) = self.frame(op.frame) {
            observations.push(Observation::Meter(0, reading));
            let mut shown = vec![reading.current.map(Option::unwrap_or_default)];
            if self.setup.circuits.len() > 1 {
                let below = self.below(&reading);
                shown.push(below.current.map(Option::unwrap_or_default));
                if self.setup.circuits[1].meter.is_some() {
                    observations.push(Observation::Meter(1, below));
                }
            }
            self.knowledge.frame(self.now, shown, good);
        }
        self.knowledge.chargers(self.now, &heard);
        if let Some((index, 3 | 8)) = op.fault {
            // Box and order met in this very step: that it restarts by itself is known with its next answer only.
            let count = self.sims.len();
            self.sims[index % count].switched_under_load = false;
        }
        let decision = self.controller.step(self.now, None, &observations);
        self.commands.clone_from(&decision.commands);
        self.knowledge.judge(self.now, decision, &self.sims)
    }

    fn happen(&mut self, op: &Op) {
        let count = self.sims.len();
        if let Some((index, fault)) = op.fault {
            let sim = &mut self.sims[index % count];
            let has_timer = self.setup.chargers[index % count].watchdog.is_some();
            match fault {
                0 => {
                    (sim.hears, sim.answers, sim.refuses, sim.timer_is_unreadable) = (true, true, false, false);
                    if has_timer {
                        sim.watchdog.timeout = Span::from_secs(30);
                        self.knowledge.restarted(index % count);
                    }
                }
                9..=11 if has_timer => {
                    if fault == 9 {
                        (sim.timer_is_unreadable, sim.watchdog.fail_safe) = (true, amps(32.0));
                    } else {
                        // Longer than our pauses: what outlives one ends with its lease, which is the driver's.
                        sim.watchdog.timeout = Span::from_secs(if fault == 10 { 600 } else { 14 });
                    }
                    // What stands in its timer is known with its next answer only.
                    self.knowledge.restarted(index % count);
                }
                // Whether a box takes what it is told cannot be known of one whose answers are lost.
                12 if sim.hears && sim.answers => sim.refuses = true,
                1 => (sim.hears, sim.refuses) = (false, false),
                2 => (sim.hears, sim.answers, sim.refuses) = (true, false, false),
                3 | 8 => {
                    sim.set_point = amps(32.0);
                    if fault == 8 {
                        sim.lines = self.setup.chargers[index % count].phases.len();
                    }
                    self.knowledge.restarted(index % count);
                }
                4 => {
                    sim.state = PilotState::A;
                    sim.stubborn = None;
                }
                5 if sim.state == PilotState::A => sim.state = PilotState::B,
                6 if sim.state == PilotState::C => sim.stubborn = Some(sim.drawn + amps(4.0)),
                7 => sim.stubborn = None,
                _ => {}
            }
        }
        if let Some((index, wish)) = op.wish {
            let id = index % count;
            let (path, value) = match wish {
                0 => (format!("charger/c{id}/set/mode"), "off"),
                1 | 2 => (format!("charger/c{id}/set/mode"), "fast"),
                8 => (format!("charger/c{id}/set/mode"), "eco"),
                9 => (format!("charger/c{id}/set/mode"), "eco_plus"),
                10 => (format!("charger/c{id}/set/mode"), "solar"),
                3 => (format!("charger/c{id}/set/max_current_a"), "10"),
                4 => (format!("charger/c{id}/set/max_current_a"), "none"),
                5 => ("site/set/max_import_a".to_owned(), "12"),
                6 => ("site/set/max_import_a".to_owned(), "none"),
                _ => ("site/set/sharing".to_owned(), ["equal", "priority", "state"][index % 3]),
            };
            if self.controller.set(self.now, &path, value).is_ok() {
                self.knowledge.wish(&path, value);
            }
        }
    }

    /// The frame of this step and whether it is a good one. Nothing that the rules would believe the second time is
    /// sent twice in a row.
    fn frame(&mut self, kind: FrameKind) -> Option<(MeterReading, bool)> {
        let mut reading = self.truth();
        let mut metered = self.setup.circuits.iter().enumerate().filter(|(_, it)| it.meter.is_some());
        let absurd = metered.any(|(index, circuit)| {
            let fuse = circuit.fuse.expect("a fuse");
            self.current(index).iter().any(|(_, shown)| shown.0 > fuse.0 * 4)
        });
        if absurd {
            // True, but doubted all the same, at whichever meter: told apart in the tests of plausibility.
            return None;
        }
        match kind {
            FrameKind::None => return None,
            FrameKind::Repeated => {
                let mut last = self.last_frame?;
                last.received_at = self.now;
                return Some((last, false));
            }
            FrameKind::Flipped(_) | FrameKind::Absurd | FrameKind::Zero if self.last_kind != FrameKind::Good => {
                return None;
            }
            FrameKind::Good => {}
            FrameKind::Missing(phase) => {
                reading.current.0[phase] = None;
                reading.power.0[phase] = None;
            }
            FrameKind::Flipped(phase) => reading.current.0[phase] = reading.current.0[phase].map(|it| -it),
            FrameKind::Absurd => reading.current.0[0] = Some(amps(900.0)),
            FrameKind::Zero => reading.current = Phases::all(Some(Milliamp::ZERO)),
        }
        self.last_kind = kind;
        self.last_frame = Some(reading);
        Some((reading, kind == FrameKind::Good))
    }

    /// What the meter of the circuit below shows when the main meter shows this: damaged in the same way.
    fn below(&self, main: &MeterReading) -> MeterReading {
        let current = self.current(1);
        let truth = self.truth();
        let mut reading = *main;
        for phase in Phase::ALL {
            reading.current[phase] = match (main.current[phase], truth.current[phase]) {
                (None, _) => None,
                (Some(shown), Some(true_one)) if shown == true_one => Some(current[phase]),
                (Some(shown), Some(true_one)) if shown == -true_one => Some(-current[phase]),
                (Some(shown), _) => Some(shown),
            };
        }
        reading
    }

    fn add_cars(&self, current: &mut Phases<Milliamp>, circuit: usize) {
        for (sim, setup) in self.sims.iter().zip(&self.setup.chargers) {
            if circuit == 0 || setup.circuit == circuit {
                for phase in setup.phases.iter().take(sim.lines) {
                    current[*phase] += sim.drawn;
                }
            }
        }
    }

    /// What truly flows into a circuit; a quarter of the house is below the root.
    fn current(&self, circuit: usize) -> Phases<Milliamp> {
        let mut current = if circuit == 0 { self.house } else { self.house.map(|house| Milliamp(house.0 / 4)) };
        self.add_cars(&mut current, circuit);
        current
    }

    fn truth(&self) -> MeterReading {
        let current = self.current(0);
        MeterReading {
            received_at: self.now,
            sampled_at: Some(self.now),
            current: current.map(Some),
            current_signed: true,
            current_step: Milliamp(100),
            voltage: Phases::all(Some(Millivolt(230_000))),
            ..MeterReading::default()
        }
    }
}

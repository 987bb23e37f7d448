//! A house in steps of a second, plain enough to be worked out by hand. The house of `simulator` moves in steps of 10 ms
//! behind real protocols; a day of that is no matter of a second.

use std::collections::BTreeMap;

use crate::command::{ChargerCommand, Contact};
use crate::config::Config;
use crate::control::{ChargerSetup, Setup};
use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt, WattHour};
use crate::reading::{ChargerReport, MeterReading, PilotState};

use super::scenario::{Battery, Car, CarTurn, ChargerTurn, Happening, Knows, Meter, MeterTurn, Scenario, Script};

/// Lowest offer at which a car draws.
const LEAST_A: f64 = 6.0;
/// A car that charges is taken for one from here.
const DRAWS_A: f64 = 0.1;
/// What a box offers after a restart.
const BOOT_A: f64 = 32.0;
/// What somebody else writes.
const FOREIGN_A: f64 = 16.0;
/// Above its offer, of a car that does not obey.
const EXCESS_A: f64 = 4.0;
/// Share of the way to zero at the grid that a battery goes in a second.
const BATTERY_GAIN: f64 = 0.5;

/// Everything that is not the appliance.
#[derive(Debug)]
pub(super) struct World {
    script: Script,
    load: [f64; 3],
    circuit_load: BTreeMap<String, [f64; 3]>,
    cloud: f64,
    battery: Option<Store>,
    pub(super) boxes: Vec<ChargerBox>,
    meters: Vec<MeterPost>,
    relays: Vec<RelayPost>,
    /// Of the whole house, import positive.
    pub(super) grid: [f64; 3],
    pub(super) sun_w: f64,
}

/// A home battery.
#[derive(Debug)]
struct Store {
    plan: Battery,
    /// Charging positive.
    power: f64,
    kwh: f64,
}

#[derive(Debug)]
struct RelayPost {
    load_w: f64,
    phases: Vec<Phase>,
    on: bool,
}

/// A meter with its past.
#[derive(Debug)]
struct MeterPost {
    plan: Meter,
    /// Index of the circuits and chargers behind it.
    circuits: Vec<String>,
    chargers: Vec<usize>,
    turn: MeterTurn,
    period: Span,
    next: Mono,
    import_wh: f64,
    export_wh: f64,
    last: Option<MeterReading>,
    late: std::collections::VecDeque<[f64; 3]>,
}

/// A charger with its car.
#[derive(Debug)]
pub(super) struct ChargerBox {
    setup: ChargerSetup,
    car: Option<Car>,
    turn: ChargerTurn,
    obeys: bool,
    stopped: bool,
    set_point: f64,
    written: Option<(Option<Milliamp>, u32, Contact)>,
    fed_at: Mono,
    phases: usize,
    plugged: bool,
    heard: f64,
    change_due: Option<f64>,
    ready_at: Option<f64>,
    /// Per phase.
    pub(super) draw: f64,
    session_wh: f64,
    pub(super) total_wh: f64,
    pub(super) starts: u32,
}

impl ChargerBox {
    fn new(setup: &ChargerSetup, car: Option<&Car>) -> Self {
        let present = car.map_or(0.0, |it| it.charging_at_a);
        Self {
            setup: setup.clone(),
            car: car.cloned(),
            turn: ChargerTurn::Good,
            obeys: true,
            stopped: false,
            set_point: present,
            written: None,
            fed_at: Mono(0),
            phases: setup.phases.len(),
            plugged: car.is_some_and(|it| it.plugged || present > 0.0),
            heard: present,
            change_due: None,
            ready_at: (present > 0.0).then_some(0.0),
            draw: car.map_or(0.0, |it| present.min(it.max_a)),
            session_wh: 0.0,
            total_wh: 0.0,
            starts: 0,
        }
    }

    /// Whether its answers arrive.
    pub(super) fn answers(&self) -> bool {
        !matches!(self.turn, ChargerTurn::Silent | ChargerTurn::Mute)
    }

    /// Takes its order, as far as the wire brings it.
    fn obey(&mut self, now: Mono, command: &ChargerCommand) {
        if self.turn == ChargerTurn::Silent || command.contact == Contact::Quiet {
            return;
        }
        self.fed_at = now;
        // As a device task does: written when it changed, and when it is to be written again.
        let order = (command.offer, command.rewrite, command.contact);
        if self.written.replace(order) != Some(order)
            && let Some(offer) = command.offer
        {
            self.set_point = offer.as_f64();
        }
        if let Some(phases) = command.phases.map(usize::from).filter(|_| self.draw < 1.0) {
            self.phases = phases.min(self.setup.phases.len());
        }
    }

    /// What its pilot says.
    pub(super) fn offer(&self, now: Mono) -> f64 {
        match self.setup.watchdog {
            Some(time) if now.since(self.fed_at) > time => self.set_point.min(self.setup.fail_safe.as_f64()),
            _ => self.set_point,
        }
    }

    fn finished(&self) -> bool {
        let full = |car: &Car| car.wants_kwh.is_some_and(|wants| self.session_wh >= wants * 1000.0);
        self.stopped || self.car.as_ref().is_some_and(full)
    }

    fn drive(&mut self, now: Mono, volts: f64) {
        let offer = self.offer(now);
        let Some(car) = self.car.as_ref().filter(|_| self.plugged) else { return };
        let time = now.as_secs_f64();
        if offer == self.heard {
            self.change_due = None;
        } else if self.heard == 0.0 || self.change_due.is_some_and(|due| time >= due) {
            self.heard = offer;
            self.change_due = None;
        } else if self.change_due.is_none() {
            self.change_due = Some(time + car.reaction_s);
        }
        let was_drawing = self.draw > DRAWS_A;
        if self.heard < LEAST_A || self.finished() {
            self.ready_at = None;
        } else if self.ready_at.is_none() {
            self.ready_at = Some(time + car.start_s);
        }
        let mut goal = 0.0;
        if self.ready_at.is_some_and(|at| time >= at) {
            goal = (self.heard - car.shortfall_a).min(car.max_a);
            if let Some(wants) = car.wants_kwh {
                // Over its last twentieth it takes less and less, down to an ampere.
                let left = (1.0 - self.session_wh / (wants * 1000.0)) * 20.0;
                goal = goal.min((car.max_a * left).max(1.0));
            }
            if !self.obeys {
                goal = self.heard + EXCESS_A;
            }
        }
        self.draw = if goal > self.draw { (self.draw + car.ramp_a_per_s).min(goal) } else { goal };
        if self.draw > DRAWS_A && !was_drawing {
            self.starts += 1;
        }
        let watt_hours = self.draw * volts * self.used_phases() as f64 / 3600.0;
        self.session_wh += watt_hours;
        self.total_wh += watt_hours;
    }

    fn used_phases(&self) -> usize {
        self.car.as_ref().map_or(0, |it| it.phases.min(self.phases))
    }

    /// In A per grid phase.
    fn on_grid(&self) -> [f64; 3] {
        let mut amps = [0.0; 3];
        for phase in self.setup.phases.iter().take(self.used_phases()) {
            amps[phase.index()] += self.draw;
        }
        amps
    }

    /// What it says when it is asked.
    pub(super) fn report(&self, now: Mono) -> ChargerReport {
        let mut current = Phases([None; 3]);
        if self.setup.measures {
            for (own, place) in current.0.iter_mut().enumerate().take(self.setup.phases.len()) {
                let amps = if own < self.used_phases() { self.draw } else { 0.0 };
                *place = Some(Milliamp::from_f64(amps));
            }
        }
        ChargerReport {
            state: match (&self.car, self.plugged) {
                (Some(_), true) if self.draw > DRAWS_A => PilotState::C,
                (Some(_), true) if self.finished() => PilotState::D,
                (Some(_), true) => PilotState::B,
                _ => PilotState::A,
            },
            set_point: Some(Milliamp::from_f64(self.set_point)),
            offered: Some(Milliamp::from_f64(self.offer(now))),
            current,
            phases_connected: u8::try_from(self.phases).ok(),
            energy: self.setup.measures.then(|| WattHour::from_f64(self.total_wh)),
            ..ChargerReport::default()
        }
    }

    fn plug(&mut self, there: bool) {
        self.plugged = there;
        self.heard = 0.0;
        self.change_due = None;
        self.ready_at = None;
        self.draw = 0.0;
        if there {
            self.session_wh = 0.0;
            self.stopped = false;
        }
    }
}

impl World {
    pub(super) fn new(scenario: &Scenario, setup: &Setup) -> Self {
        let script = scenario.script.clone();
        let boxes: Vec<ChargerBox> =
            setup.chargers.iter().map(|it| ChargerBox::new(it, script.cars.get(&it.id))).collect();
        let meters = meters(&scenario.config, setup, &script);
        let relays = scenario.config.relays.iter().map(|it| RelayPost {
            load_w: it.load.as_f64(),
            phases: script.relays.get(&it.common.id).cloned().unwrap_or_else(|| vec![Phase::L1]),
            on: it.safe_state,
        });
        let battery = script.battery.clone().map(|plan| Store { kwh: plan.charge * plan.kwh, plan, power: 0.0 });
        let mut it = Self {
            load: script.house.load_a,
            circuit_load: script.house.circuit_load_a.clone(),
            cloud: 1.0,
            relays: relays.collect(),
            boxes,
            meters,
            battery,
            grid: [0.0; 3],
            sun_w: 0.0,
            script,
        };
        it.balance(Mono(0));
        it
    }

    pub(super) fn happen(&mut self, event: &Happening, setup: &Setup) {
        self.load = event.load_a.unwrap_or(self.load);
        self.circuit_load.extend(event.circuit_load_a.clone());
        self.cloud = event.sun.unwrap_or(self.cloud);
        for (index, charger) in setup.chargers.iter().enumerate() {
            let it = &mut self.boxes[index];
            if event.plug.contains(&charger.id) {
                it.plug(true);
            }
            if event.unplug.contains(&charger.id) {
                it.plug(false);
            }
            match event.car.get(&charger.id) {
                Some(CarTurn::Obeys) => it.obeys = true,
                Some(CarTurn::DrawsMore) => it.obeys = false,
                Some(CarTurn::Stops) => it.stopped = true,
                Some(CarTurn::GoesOn) => it.stopped = false,
                None => {}
            }
            match event.charger.get(&charger.id) {
                Some(ChargerTurn::Reboot) => (it.set_point, it.turn) = (BOOT_A, ChargerTurn::Good),
                Some(ChargerTurn::ForeignWrite) => it.set_point = FOREIGN_A,
                Some(turn) => it.turn = *turn,
                None => {}
            }
        }
        for (meter, post) in setup.meters.iter().zip(&mut self.meters) {
            if let Some(turn) = event.meter.get(&meter.id) {
                post.turn = *turn;
            }
        }
    }

    /// Moves on to `now`, a second after the last time, under the orders of the last decision.
    pub(super) fn advance(&mut self, now: Mono, commands: &[ChargerCommand]) {
        for (it, command) in self.boxes.iter_mut().zip(commands) {
            it.obey(now, command);
        }
        let volts = self.script.house.voltage_v;
        for it in &mut self.boxes {
            it.drive(now, volts);
        }
        self.balance(now);
    }

    /// What relays are; they switch at once.
    pub(super) fn switch(&mut self, relay: usize, on: bool) {
        if let Some(it) = self.relays.get_mut(relay) {
            it.on = on;
        }
    }

    fn balance(&mut self, now: Mono) {
        let volts = self.script.house.voltage_v;
        self.sun_w = shine(&self.script.house.sun_w, now.as_secs_f64()) * self.cloud;
        let mut grid = self.load;
        let mut add = |amps: [f64; 3]| {
            for (sum, part) in grid.iter_mut().zip(amps) {
                *sum += part;
            }
        };
        self.circuit_load.values().for_each(|it| add(*it));
        self.boxes.iter().for_each(|it| add(it.on_grid()));
        add(spread(-self.sun_w / volts, &self.script.house.sun_phases));
        for relay in self.relays.iter().filter(|it| it.on) {
            add(spread(relay.load_w / volts, &relay.phases));
        }
        if let Some(store) = &mut self.battery {
            let without: f64 = grid.iter().sum::<f64>() * volts;
            store.follow(without);
            let amps = store.power / volts / 3.0;
            grid.iter_mut().for_each(|it| *it += amps);
        }
        self.grid = grid;
    }

    /// Frames that arrive now.
    pub(super) fn frames(&mut self, now: Mono, mut tell: impl FnMut(usize, MeterReading)) {
        let volts = self.script.house.voltage_v;
        let battery = self.battery.as_ref().map_or(0.0, |it| it.power);
        for index in 0..self.meters.len() {
            let sees = self.meters[index].plan.sees.as_str();
            let truth = match sees {
                "grid" => self.grid,
                "sun" => spread(-self.sun_w / volts, &self.script.house.sun_phases),
                "battery" => [battery / volts / 3.0; 3],
                _ => {
                    let post = &self.meters[index];
                    let cars = post.chargers.iter().map(|it| self.boxes[*it].on_grid());
                    let loads = post.circuits.iter().filter_map(|it| self.circuit_load.get(it).copied());
                    cars.chain(loads).fold([0.0; 3], plus)
                }
            };
            if let Some(reading) = self.meters[index].sample(now, truth, volts) {
                tell(index, reading);
            }
        }
    }

    /// Charge of the battery, 0 to 1.
    pub(super) fn charge(&self) -> Option<f64> {
        self.battery.as_ref().map(|it| it.kwh / it.plan.kwh)
    }
}

impl Store {
    fn follow(&mut self, without: f64) {
        let wanted = (-without).clamp(-self.plan.max_w, self.plan.max_w);
        self.power += (wanted - self.power) * BATTERY_GAIN;
        if self.power > 0.0 && self.kwh >= self.plan.kwh || self.power < 0.0 && self.kwh <= 0.0 {
            self.power = 0.0;
        }
        self.kwh = (self.kwh + self.power / 3_600_000.0).clamp(0.0, self.plan.kwh);
    }
}

impl MeterPost {
    fn sample(&mut self, now: Mono, truth: [f64; 3], volts: f64) -> Option<MeterReading> {
        let watts: f64 = truth.iter().sum::<f64>() * volts;
        if watts > 0.0 {
            self.import_wh += watts / 3600.0;
        } else {
            self.export_wh -= watts / 3600.0;
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
        match self.turn {
            MeterTurn::Silent => return None,
            MeterTurn::Frozen => {
                let mut last = self.last?;
                last.received_at = now;
                return Some(last);
            }
            MeterTurn::Good | MeterTurn::Zeros | MeterTurn::LacksL1 => {}
        }
        let seen = self.late.front().copied().unwrap_or(truth);
        let seen = if self.turn == MeterTurn::Zeros { [0.0; 3] } else { seen };
        let mut reading = self.frame(now, now - delay, seen, volts);
        if self.turn == MeterTurn::LacksL1 {
            reading.current[Phase::L1] = None;
            reading.power[Phase::L1] = None;
        }
        self.last = Some(reading);
        Some(reading)
    }

    fn frame(&self, now: Mono, sampled_at: Mono, amps: [f64; 3], volts: f64) -> MeterReading {
        let total = Watt::from_f64(amps.iter().sum::<f64>() * volts);
        let counters = |wh: f64| Some(WattHour::from_f64(wh));
        let bare = MeterReading {
            received_at: now,
            stamp: Some(sampled_at.0.div_euclid(1000)),
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
                power: Phases(amps.map(|it| Some(Watt::from_f64(it * volts)))),
                voltage: Phases::all(Some(Millivolt::from_f64(volts))),
                ..bare
            },
            Knows::WholeAmps => MeterReading {
                current: Phases(amps.map(|it| Some(Milliamp::from_f64(it.abs().round())))),
                current_signed: false,
                current_step: Milliamp::from_amps(1),
                power: Phases(amps.map(|it| Some(Watt::from_f64(it * volts)))),
                ..bare
            },
        }
    }
}

fn meters(config: &Config, setup: &Setup, script: &Script) -> Vec<MeterPost> {
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
                last: None,
                late: std::collections::VecDeque::new(),
            }
        })
        .collect()
}

fn plus(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// A current over some phases.
fn spread(amps: f64, phases: &[Phase]) -> [f64; 3] {
    let mut spread = [0.0; 3];
    for phase in phases {
        spread[phase.index()] += amps / phases.len() as f64;
    }
    spread
}

/// On the line through the points.
fn shine(points: &[[f64; 2]], time: f64) -> f64 {
    let after = points.partition_point(|[at, _]| *at <= time);
    match (after.checked_sub(1).and_then(|it| points.get(it)), points.get(after)) {
        (None, None) => 0.0,
        (None, Some([_, power])) | (Some([_, power]), None) => *power,
        (Some([from, a]), Some([to, b])) => a + (b - a) * (time - from) / (to - from),
    }
}

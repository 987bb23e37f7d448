//! A charger with its car.

use crate::command::{ChargerCommand, Contact};
use crate::control::ChargerSetup;
use crate::quantity::{Milliamp, Mono, Phases, WattHour};
use crate::reading::{ChargerReport, PilotState};

use super::load::Load;
use super::scenario::{Car, CarTurn, ChargerTurn};

/// Lowest offer at which a car draws.
const LEAST_A: f64 = 6.0;
/// A car that charges is taken for one from here.
const DRAWS_A: f64 = 0.1;
/// What a box offers after a restart.
const BOOT_A: f64 = 32.0;
/// What somebody else writes.
const FOREIGN_A: f64 = 16.0;
/// The setting of a box that limits itself.
const OWN_LIMIT_A: f64 = 10.0;
/// Above its offer, of a car that does not obey.
const EXCESS_A: f64 = 4.0;
/// A sleeping car is woken by a pilot that was away for so long.
const WAKES_S: f64 = 10.0;

#[derive(Debug)]
pub(super) struct ChargerBox {
    setup: ChargerSetup,
    car: Option<Car>,
    turn: ChargerTurn,
    own_limit: f64,
    obeys: bool,
    clings: bool,
    stopped: bool,
    asleep: bool,
    /// Since when the pilot of a sleeping car is away again.
    away_since: Option<f64>,
    was_offered: bool,
    set_point: f64,
    /// What its timer falls to, as it was programmed last.
    programmed: f64,
    written: Option<(Option<Milliamp>, u32, Contact)>,
    fed_at: Mono,
    phases: usize,
    /// Which of its own phases it uses when it uses one.
    line: usize,
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
    pub(super) fn new(setup: &ChargerSetup, car: Option<&Car>) -> Self {
        let present = car.map_or(0.0, |it| it.charging_at_a);
        Self {
            setup: setup.clone(),
            car: car.cloned(),
            turn: ChargerTurn::Good,
            own_limit: f64::INFINITY,
            obeys: true,
            clings: false,
            stopped: false,
            asleep: car.is_some_and(|it| it.asleep),
            away_since: None,
            was_offered: false,
            set_point: present,
            programmed: setup.fail_safe.as_f64(),
            written: None,
            fed_at: Mono(0),
            phases: setup.phases.len(),
            line: 0,
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
    pub(super) fn obey(&mut self, now: Mono, command: &ChargerCommand) {
        if self.turn == ChargerTurn::Silent || command.contact == Contact::Quiet {
            return;
        }
        self.fed_at = now;
        if command.contact == Contact::Normal {
            self.programmed = command.fail_safe.as_f64();
        }
        // As a device task does: written when it changed, and when it is to be written again.
        let order = (command.offer, command.rewrite, command.contact);
        if self.written.replace(order) != Some(order)
            && let Some(offer) = command.offer
        {
            self.set_point = offer.as_f64().min(self.own_limit);
        }
        if let Some(phases) = command.phases.map(usize::from).filter(|_| self.draw < 1.0) {
            self.phases = phases.min(self.setup.phases.len());
            self.line = command.line.map_or(0, usize::from).min(self.setup.phases.len() - 1);
        }
    }

    /// The device task that wrote to it is gone; the next one writes all anew.
    pub(super) fn forget_task(&mut self) {
        self.written = None;
    }

    /// What its pilot says.
    pub(super) fn offer(&self, now: Mono) -> f64 {
        match self.setup.watchdog {
            Some(time) if now.since(self.fed_at) > time => self.programmed,
            _ => self.set_point,
        }
    }

    fn finished(&self) -> bool {
        let full = |car: &Car| car.wants_kwh.is_some_and(|wants| self.session_wh >= wants * 1000.0);
        self.stopped || self.car.as_ref().is_some_and(full)
    }

    /// Lets a second pass, in which the offer is what the pilot says now.
    pub(super) fn drive(&mut self, now: Mono, volts: f64) {
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
        if self.heard >= LEAST_A {
            self.asleep &= self.away_since.take().is_none_or(|since| time - since < WAKES_S);
            self.was_offered = true;
        } else if self.was_offered {
            self.away_since.get_or_insert(time);
        }
        let was_drawing = self.draw > DRAWS_A;
        if self.heard < LEAST_A || self.finished() || self.asleep {
            self.ready_at = None;
        } else if self.ready_at.is_none() && self.heard >= car.begins_at_a {
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
        if self.clings {
            goal = goal.max(self.draw);
        }
        self.draw = if goal > self.draw { (self.draw + car.ramp_a_per_s).min(goal) } else { goal };
        if self.draw > DRAWS_A && !was_drawing {
            self.starts += 1;
        }
        let watt_hours = self.draw * self.factor() * volts * self.used_phases() as f64 / 3600.0;
        self.session_wh += watt_hours;
        self.total_wh += watt_hours;
    }

    fn used_phases(&self) -> usize {
        self.car.as_ref().map_or(0, |it| it.phases.min(self.phases))
    }

    /// Its car draws on this one of its own phases.
    fn uses(&self, own: usize) -> bool {
        let first = if self.phases == 1 { self.line } else { 0 };
        (first..first + self.used_phases()).contains(&own)
    }

    /// Power factor of what it draws now.
    fn factor(&self) -> f64 {
        let mut points = self.car.iter().flat_map(|car| &car.power_factor);
        points.rfind(|[from, _]| self.heard >= *from).map_or(1.0, |[_, factor]| *factor)
    }

    /// On the grid's phases.
    pub(super) fn on_grid(&self) -> Load {
        let mut load = Load::default();
        let factor = self.factor();
        for (_, phase) in self.setup.phases.iter().enumerate().filter(|(own, _)| self.uses(*own)) {
            load.active[phase.index()] += self.draw * factor;
            load.reactive[phase.index()] += self.draw * (1.0 - factor * factor).sqrt();
        }
        load
    }

    /// What it says when it is asked.
    pub(super) fn report(&self, now: Mono) -> ChargerReport {
        let mut current = Phases([None; 3]);
        if self.setup.measures {
            for (own, place) in current.0.iter_mut().enumerate().take(self.setup.phases.len()) {
                let amps = if self.uses(own) { self.draw } else { 0.0 };
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

    pub(super) fn plug(&mut self, there: bool) {
        self.plugged = there;
        self.heard = 0.0;
        self.change_due = None;
        self.ready_at = None;
        self.draw = 0.0;
        if there {
            self.session_wh = 0.0;
            self.stopped = false;
            self.asleep = self.car.as_ref().is_some_and(|it| it.asleep);
            self.was_offered = false;
            self.away_since = None;
        }
    }

    pub(super) fn turn_car(&mut self, turn: CarTurn) {
        match turn {
            CarTurn::Obeys => (self.obeys, self.clings) = (true, false),
            CarTurn::DrawsMore => self.obeys = false,
            CarTurn::Clings => self.clings = true,
            CarTurn::Stops => self.stopped = true,
            CarTurn::GoesOn => self.stopped = false,
        }
    }

    pub(super) fn turn(&mut self, turn: ChargerTurn) {
        match turn {
            ChargerTurn::Reboot => (self.set_point, self.turn) = (BOOT_A, ChargerTurn::Good),
            ChargerTurn::ForeignWrite => self.set_point = FOREIGN_A,
            ChargerTurn::LimitsItself => {
                self.own_limit = OWN_LIMIT_A;
                self.set_point = self.set_point.min(OWN_LIMIT_A);
            }
            ChargerTurn::Good => (self.turn, self.own_limit) = (turn, f64::INFINITY),
            ChargerTurn::Silent | ChargerTurn::Mute => self.turn = turn,
        }
    }
}

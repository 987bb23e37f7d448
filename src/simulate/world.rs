//! A house in steps of a second, plain enough to be worked out by hand. The house of `simulator` moves in steps of 10 ms
//! behind real protocols; a day of that is no matter of a second.

use std::collections::BTreeMap;

use crate::command::ChargerCommand;
use crate::control::Setup;
use crate::quantity::{Mono, Phase};
use crate::reading::MeterReading;

use super::charger_box::ChargerBox;
use super::load::Load;
use super::meter_post::{self, MeterPost};
use super::scenario::{Battery, Happening, RelayTurn, Scenario, Script};

/// Share of the way to zero at the grid that a battery goes in a second.
const BATTERY_GAIN: f64 = 0.5;

/// What a battery leaves to the grid, so that it never exports.
const KEPT_W: f64 = 15.0;

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
    /// Of the whole house.
    grid: Load,
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
    /// It hears nothing and answers nothing.
    silent: bool,
}

impl World {
    pub(super) fn new(scenario: &Scenario, setup: &Setup) -> Self {
        let script = scenario.script.clone();
        let boxes: Vec<ChargerBox> =
            setup.chargers.iter().map(|it| ChargerBox::new(it, script.cars.get(&it.id))).collect();
        let meters = meter_post::all(&scenario.config, setup, &script);
        let relays = scenario.config.relays.iter().map(|it| RelayPost {
            load_w: it.setup.load.as_f64(),
            phases: script.relays.get(&it.common.id).cloned().unwrap_or_else(|| vec![Phase::L1]),
            on: it.setup.safe_state,
            silent: false,
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
            grid: Load::default(),
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
            if let Some(turn) = event.car.get(&charger.id) {
                it.turn_car(*turn);
            }
            if let Some(turn) = event.charger.get(&charger.id) {
                it.turn(*turn);
            }
        }
        for (meter, post) in setup.meters.iter().zip(&mut self.meters) {
            if let Some(turn) = event.meter.get(&meter.id) {
                post.turn = *turn;
            }
        }
        for (relay, post) in setup.relays.iter().zip(&mut self.relays) {
            if let Some(turn) = event.relay.get(&relay.id) {
                post.silent = *turn == RelayTurn::Silent;
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

    /// An order for a relay; it switches at once where it hears it.
    pub(super) fn switch(&mut self, relay: usize, on: bool) {
        if let Some(it) = self.relays.get_mut(relay).filter(|it| !it.silent) {
            it.on = on;
        }
    }

    /// It is closed, whatever was ordered.
    pub(super) fn is_closed(&self, relay: usize) -> bool {
        self.relays.get(relay).is_some_and(|it| it.on)
    }

    /// Whether a relay takes orders.
    pub(super) fn relay_answers(&self, relay: usize) -> bool {
        self.relays.get(relay).is_some_and(|it| !it.silent)
    }

    /// What flows at the grid connection, import positive.
    pub(super) fn grid(&self) -> [f64; 3] {
        self.grid.flows()
    }

    /// Power from the grid, export negative.
    pub(super) fn grid_power(&self) -> f64 {
        self.grid.active.iter().sum::<f64>() * self.script.house.voltage_v
    }

    fn balance(&mut self, now: Mono) {
        let volts = self.script.house.voltage_v;
        self.sun_w = shine(&self.script.house.sun_w, now.as_secs_f64()) * self.cloud;
        let mut grid = Load::of(self.load);
        self.circuit_load.values().for_each(|it| grid.add(&Load::of(*it)));
        self.boxes.iter().for_each(|it| grid.add(&it.on_grid()));
        grid.add(&Load::of(spread(-self.sun_w / volts, &self.script.house.sun_phases)));
        for relay in self.relays.iter().filter(|it| it.on) {
            grid.add(&Load::of(spread(relay.load_w / volts, &relay.phases)));
        }
        if let Some(store) = &mut self.battery {
            let without: f64 = grid.active.iter().sum::<f64>() * volts;
            store.follow(without);
            grid.add(&Load::of([store.power / volts / 3.0; 3]));
        }
        self.grid = grid;
    }

    /// Frames that arrive now.
    pub(super) fn frames(&mut self, now: Mono, mut tell: impl FnMut(usize, MeterReading)) {
        let volts = self.script.house.voltage_v;
        let battery = self.battery.as_ref().map_or(0.0, |it| it.power);
        for (index, post) in self.meters.iter_mut().enumerate() {
            let truth = match post.sees() {
                "grid" => self.grid,
                "sun" => Load::of(spread(self.sun_w / volts, &self.script.house.sun_phases)),
                // Discharge positive, as every battery's meter is taken.
                "battery" => Load::of([-battery / volts / 3.0; 3]),
                _ => {
                    let mut sum = Load::default();
                    post.circuits
                        .iter()
                        .filter_map(|it| self.circuit_load.get(it))
                        .for_each(|it| sum.add(&Load::of(*it)));
                    post.chargers.iter().for_each(|it| sum.add(&self.boxes[*it].on_grid()));
                    sum
                }
            };
            if let Some(reading) = post.sample(now, truth, volts) {
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
        let wanted = (KEPT_W - without).clamp(-self.plan.max_w, self.plan.max_w);
        self.power += (wanted - self.power) * BATTERY_GAIN;
        if self.power > 0.0 && self.kwh >= self.plan.kwh || self.power < 0.0 && self.kwh <= 0.0 {
            self.power = 0.0;
        }
        self.kwh = (self.kwh + self.power / 3_600_000.0).clamp(0.0, self.plan.kwh);
    }
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

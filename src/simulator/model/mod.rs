//! The physics, pure: a house, its chargers and cars, moved on to a given time. No clock, no socket.

mod car;
mod charger;
mod evse_din;
mod load;
mod random;
mod teltocharge;
#[cfg(test)]
mod tests;

pub use car::Obedience;
pub use charger::{Charger, Exception};
pub use random::Random;

use load::Load;

use super::plan::Plan;
use crate::quantity::{Milliamp, Mono, Phases, Span};

/// Length of one step of the physics.
pub const STEP: Span = Span(10);

/// Voltage falls by this much per ampere on its phase: a supply of ordinary stiffness.
const SUPPLY_OHM: f64 = 0.15;

/// A house at a moment.
#[derive(Clone, Debug)]
pub struct House {
    now: Mono,
    random: Random,
    load: Load,
    no_load_voltage: f64,
    fixed_load: Option<Phases<Milliamp>>,
    chargers: Vec<Charger>,
    grid: Phases<f64>,
    house: Phases<f64>,
    voltage: Phases<f64>,
    import_wh: f64,
    export_wh: f64,
    sun: f64,
    sun_wh: f64,
}

impl House {
    /// The house at time 0.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let load = Load::new(&plan.house, &mut random);
        let chargers = plan.buses.iter().flat_map(|bus| &bus.chargers).zip(240_001_u32..);
        let chargers = chargers.map(|(charger, serial)| Charger::new(charger.clone(), serial, &mut random)).collect();
        let mut house = Self {
            now: Mono(0),
            random,
            load,
            no_load_voltage: plan.house.voltage,
            fixed_load: plan.house.fixed_load,
            chargers,
            grid: Phases([0.0; 3]),
            house: Phases([0.0; 3]),
            voltage: Phases([plan.house.voltage; 3]),
            import_wh: 4_567_890.0,
            export_wh: 12_345.0,
            sun: 0.0,
            sun_wh: 8_765_432.0,
        };
        house.balance(Span::ZERO);
        house
    }

    /// Moves everything on to `to`, in steps of `STEP`; the rest of a step is left for the next call, an earlier time
    /// changes nothing.
    pub fn advance(&mut self, to: Mono) {
        while self.now + STEP <= to {
            self.now = self.now + STEP;
            for charger in &mut self.chargers {
                let voltage = charger.own_order(self.voltage);
                charger.step(self.now, STEP, voltage, &mut self.random);
            }
            self.balance(STEP);
        }
    }

    fn balance(&mut self, step: Span) {
        let alone = self.load.current(self.now, step, self.no_load_voltage, &mut self.random);
        self.house = self.fixed_load.map_or(alone, |fixed| fixed.map(Milliamp::as_f64));
        self.sun = if self.fixed_load.is_some() { 0.0 } else { self.load.sun() };
        self.sun_wh += self.sun * step.as_secs_f64() / 3600.0;
        self.grid = self.house;
        for charger in &self.chargers {
            let draw = charger.grid_draw();
            for (total, part) in self.grid.0.iter_mut().zip(draw.0) {
                *total += part;
            }
        }
        self.voltage = self.grid.map(|amps| self.no_load_voltage - SUPPLY_OHM * amps);
        // Counters of a three-phase meter sum the phases before they choose a direction.
        let watt_hours = self.power().0.iter().sum::<f64>() * step.as_secs_f64() / 3600.0;
        if watt_hours > 0.0 {
            self.import_wh += watt_hours;
        } else {
            self.export_wh -= watt_hours;
        }
    }

    /// The time it has reached.
    #[must_use]
    pub fn now(&self) -> Mono {
        self.now
    }

    /// At the main fuse in A, import positive.
    #[must_use]
    pub fn grid(&self) -> Phases<f64> {
        self.grid
    }

    /// Without the chargers, in A.
    #[must_use]
    pub fn house(&self) -> Phases<f64> {
        self.house
    }

    /// Phase to neutral in V.
    #[must_use]
    pub fn voltage(&self) -> Phases<f64> {
        self.voltage
    }

    /// At the main fuse in W, import positive.
    #[must_use]
    pub fn power(&self) -> Phases<f64> {
        let mut power = self.grid;
        for (watts, volts) in power.0.iter_mut().zip(self.voltage.0) {
            *watts *= volts;
        }
        power
    }

    /// Import and export counters in Wh.
    #[must_use]
    pub fn counters(&self) -> (f64, f64) {
        (self.import_wh, self.export_wh)
    }

    /// What the roof gives in W, and has given in Wh.
    #[must_use]
    pub fn sun(&self) -> (f64, f64) {
        (self.sun, self.sun_wh)
    }

    /// Exact load instead of appliances and sun; `None` gives them back.
    pub fn fix_load(&mut self, load: Option<Phases<Milliamp>>) {
        self.fixed_load = load;
        self.balance(Span::ZERO);
    }

    /// All chargers, in the order of the plan.
    #[must_use]
    pub fn chargers(&self) -> &[Charger] {
        &self.chargers
    }

    /// One charger, to act on.
    pub fn charger_mut(&mut self, index: usize) -> Option<&mut Charger> {
        self.chargers.get_mut(index)
    }
}

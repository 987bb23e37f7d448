//! What every limit leaves: each circuit's fuse and power, and at the root the site's limits in kW, the quarter of an hour,
//! the grid operator's order and the balance of the phases.

use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Watt};

use super::charger::Charger;
use super::circuit::Budget;
use super::controller::{Controller, Scratch};
use super::flow::UNLIMITED;
use super::interface::LimitReason;
use super::meter::NOMINAL;
use super::session::largest;

/// Cars draw up to so much less than they are offered.
const UNDER: Milliamp = Milliamp::from_amps(1);

impl Controller {
    /// One row for each circuit, root first, and a last one for one-phase current where that is limited.
    pub(super) fn budgets(&self, now: Mono, scratch: &mut Scratch) {
        scratch.budgets.clear();
        for (index, circuit) in self.circuits.iter().enumerate() {
            let meter = circuit.setup.meter.map(|index| &self.meters[index]);
            let mut budget = circuit.budget(meter, self.site.max_import, now);
            let (power, word) = if index == 0 {
                (self.site.max_import_power, LimitReason::MaxImportKw)
            } else {
                (circuit.setup.max_power, LimitReason::Circuit)
            };
            if let Some(power) = power {
                circuit.bound_power(&mut budget, meter, power, word, now);
            }
            if index == 0 {
                if let Some(limit) = self.site.peak_15min {
                    let allowed = self.quarter.allowed(now, limit, self.running_now(now));
                    circuit.bound_power(&mut budget, meter, allowed, LimitReason::Peak15min, now);
                }
                scratch.for_relays = Some(budget);
                circuit.bound_masked(&mut budget);
                self.bound_charging(now, &mut budget);
            }
            scratch.budgets.push(budget);
        }
        if let Some(most) = self.max_imbalance {
            scratch.budgets.push(self.balance(most));
        }
    }

    /// The highest voltage that the grid meter or a charger measures: offers count with it as power.
    fn charging_voltage(&self) -> Millivolt {
        let meter = self.circuits[0].setup.meter.and_then(|meter| self.meters[meter].frame()?.known_voltage());
        let boxes = self.chargers.iter().filter_map(Charger::voltage);
        boxes.chain(meter).max().unwrap_or(NOMINAL)
    }

    /// What all cars draw at most, at that voltage: by measured currents, else by what they are offered.
    pub(super) fn drawn_at_most(&self) -> Watt {
        let drawn = |charger: &Charger| {
            if charger.is_measured() && charger.link.is_up() {
                charger.current().iter().map(|(_, current)| *current).sum()
            } else {
                times(charger.counted(&self.timing), charger.phases().len())
            }
        };
        self.chargers.iter().map(drawn).sum::<Milliamp>().at(self.charging_voltage())
    }

    /// All charging together: the owner's ceiling, and the grid operator's.
    fn bound_charging(&self, now: Mono, budget: &mut Budget) {
        let voltage = self.charging_voltage();
        let dim = self.dim.filter(|_| self.signals.dim).map(|limit| (limit, LimitReason::Dim));
        let owner = self.site.max_charging.map(|limit| (limit, LimitReason::MaxChargingKw));
        for (limit, word) in [owner, dim].into_iter().flatten() {
            let room = limit.current_at(voltage);
            let kept = word == LimitReason::Dim && self.least_is_under(now, room);
            let room = if kept { room.max(self.running_least()) } else { room };
            budget.together(room, room, room, word);
        }
    }

    /// What a mean that is held quarter after quarter leaves on each of three phases, whatever this one has saved.
    pub(super) fn steady(&self, now: Mono) -> Milliamp {
        let root = &self.circuits[0];
        let (Some(limit), Some(load)) = (self.site.peak_15min, root.house.load(now)) else { return UNLIMITED };
        let voltage = root.setup.meter.map_or(NOMINAL, |meter| self.meters[meter].voltage());
        Milliamp((limit.current_at(voltage) - load.sum).0 / 3)
    }

    /// What the house takes now and what the running chargers take at their least, both as power; `None` while that is
    /// not known.
    fn running_now(&self, now: Mono) -> Option<(Watt, Watt)> {
        let root = self.circuits.first()?;
        let voltage = root.setup.meter.map_or(NOMINAL, |meter| self.meters[meter].voltage());
        let house = root.house.load(now)?.sum.at(voltage);
        let least = self.running_least();
        (least > Milliamp::ZERO).then(|| (house, least.at(voltage)))
    }

    /// The least of all that run now, on all their phases.
    fn running_least(&self) -> Milliamp {
        let running = self.chargers.iter().filter(|it| it.link.is_up() && it.order() >= it.least());
        running.map(|it| times(it.least(), it.phases().len())).sum()
    }

    /// What runs stays under `room` when it is offered the least, as far as it is measured: a car takes less than it is
    /// offered. One that has not come down to its least yet is taken to; then its measured current decides. One that can go
    /// to one phase is not kept on three.
    fn least_is_under(&self, now: Mono, room: Milliamp) -> bool {
        let running = || self.chargers.iter().filter(|it| it.order() >= it.least());
        let mut sum = Milliamp::ZERO;
        for charger in running() {
            let switches = charger.can_switch() && charger.settings.phases.is_none() && charger.phases().len() > 1;
            if !charger.is_measured() || !charger.link.is_up() || switches {
                return false;
            }
            let settled = charger.order() == charger.least()
                && charger.effective_at().is_some_and(|at| now.since(at) >= self.timing.cut_response);
            let drawn = charger.current();
            sum += if settled {
                drawn.iter().map(|(_, current)| *current).sum()
            } else {
                times(largest(&drawn).min(charger.least() - UNDER), charger.phases().len())
            };
        }
        running().next().is_some() && sum <= room
    }

    /// One-phase current may exceed that of the least loaded phase by `most`. What is ordered may flow; what balances it
    /// does flow.
    fn balance(&self, most: Milliamp) -> Budget {
        let mut flows = Phases::<Milliamp>::default();
        for charger in self.chargers.iter().filter(|it| it.is_measured() && it.phases().is_uneven()) {
            let drawn = charger.current();
            for phase in charger.phases().iter() {
                flows[phase] += drawn[phase].min(charger.order());
            }
        }
        let least = Phase::ALL.into_iter().map(|phase| flows[phase]).min().unwrap_or(Milliamp::ZERO);
        Budget::flat(most + least, None, None, false)
    }

    /// A load of this connection can be uneven, and that is limited.
    pub(super) fn limits_imbalance(&self) -> bool {
        self.max_imbalance.is_some()
    }
}

fn times(current: Milliamp, phases: u32) -> Milliamp {
    Milliamp(current.0.saturating_mul(i32::try_from(phases).unwrap_or(3))).min(UNLIMITED)
}

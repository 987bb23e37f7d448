//! A relay that sheds and cars in one order of priority: those that come after it come down to their minimum for it, and
//! are not started where it would fall for them. It falls before a car is stopped, whoever comes first.

use crate::control::charger::Charger;
use crate::control::controller::{Controller, Scratch};
use crate::control::flow::{Flow, UNLIMITED};
use crate::control::interface::{Detail, LimitReason, RelaySetup};
use crate::control::meter::NOMINAL;
use crate::quantity::{Milliamp, Watt};

use super::room::AHEAD;

impl Controller {
    /// It runs, can be told to take less, and its place is behind the relay's.
    pub(super) fn comes_after(&self, charger: &Charger, relay: &RelaySetup) -> bool {
        charger.settings.priority > relay.priority && charger.link.is_up() && charger.fixed(&self.timing).is_none()
    }

    /// What a charger that counts at so much keeps when it makes room for a relay.
    pub(super) fn kept_beside(&self, charger: &Charger, relay: &RelaySetup, counted: Milliamp) -> Milliamp {
        if self.comes_after(charger, relay) { counted.min(charger.least()) } else { counted }
    }

    /// Lowers the cars that come after a relay to what it leaves them, first served first. None is started meanwhile:
    /// that would take the room again.
    pub(super) fn come_down_for(&self, relay: usize, scratch: &mut Scratch) {
        let setup = &self.relays[relay].setup;
        let Some(budget) = &scratch.for_relays else { return };
        let mut left = self.beside_load(budget.start, setup.load);
        for phase in self.grid_phases.iter() {
            left.phases[phase] -= AHEAD;
        }
        left.sum -= AHEAD;
        for charger in &self.chargers {
            let counted = charger.counted(&self.timing);
            left.take(charger.phases(), self.kept_beside(charger, setup, counted));
        }
        scratch.order.clear();
        scratch.order.extend(0..self.chargers.len());
        scratch.order.sort_unstable_by_key(|index| (self.chargers[*index].settings.priority, *index));
        for place in 0..scratch.order.len() {
            let index = scratch.order[place];
            let charger = &self.chargers[index];
            if !self.comes_after(charger, setup) {
                continue;
            }
            let runs = charger.order() >= charger.least();
            let cap = if runs {
                let more =
                    (charger.order() - charger.least()).min(left.least_for(charger.phases())).max(Milliamp::ZERO);
                left.take(charger.phases(), more);
                charger.least() + more
            } else {
                Milliamp::ZERO
            };
            scratch.wants[index].lower_with(cap, LimitReason::Sharing, Detail::ForRelay, None);
        }
    }

    /// What a load takes of a phase that it is on. Nobody says on which phases it is: on one, unless the main fuse of one
    /// could not carry it; then on all alike.
    pub(super) fn load_of_phase(&self, load: Watt) -> Watt {
        let fuse = self.circuits[0].setup.fuse.unwrap_or(UNLIMITED);
        let phases = if load.current_at(NOMINAL) > fuse { self.grid_phases.len().max(1) } else { 1 };
        Watt(load.0 / i32::try_from(phases).unwrap_or(1))
    }

    /// What is left beside a load, on whichever phase it is.
    pub(super) fn beside_load(&self, mut left: Flow, load: Watt) -> Flow {
        let each = self.load_of_phase(load).current_at(NOMINAL);
        for phase in self.grid_phases.iter() {
            left.phases[phase] -= each;
        }
        left.sum -= load.current_at(NOMINAL);
        left
    }

    /// What a car must leave besides its minimum when it starts, so that no closed relay that comes before it falls for
    /// it; `None` where there is no such relay.
    pub(in crate::control) fn kept_for_relays(&self, charger: &Charger) -> Option<Milliamp> {
        let before = |relay: &super::Relay| {
            relay.setup.shed && relay.order() && relay.setup.priority < charger.settings.priority
        };
        self.relays.iter().any(before).then_some(AHEAD)
    }
}

//! What the fuses leave for the load of a relay.

use crate::control::controller::{Controller, Scratch};
use crate::quantity::{Milliamp, Watt};

use super::relay::{Relay, Room};

/// A relay that sheds opens while running cars still have so much beyond their minimum: less than that is what a house
/// switches on without anybody noticing.
pub(super) const AHEAD: Milliamp = Milliamp::from_amps(3);

impl Controller {
    /// What the fuses leave for a relay: a load of one phase may be on any. It is to open while running cars still
    /// have [`AHEAD`] beyond their minimum: what it gives back is room for nobody before the meter shows it, and a car that
    /// has to be stopped in the same step was not spared.
    pub(super) fn room_for_relay(&self, index: usize, scratch: &Scratch) -> Room {
        let setup = &self.relays[index].setup;
        if !setup.shed {
            return Room::Free;
        }
        // A limit on charging alone is none that a relay could keep or pass.
        let Some(budget) = &scratch.for_relays else { return Room::Free };
        let (mut keep, mut close, mut claim) = (budget.cut, budget.start, budget.start);
        let mut runs = false;
        for (charger, want) in self.chargers.iter().zip(&scratch.wants) {
            let counted = charger.counted(&self.timing);
            keep.take(charger.phases(), counted.min(charger.least()));
            // A car that waits for room and is served before it has it first.
            let waits = !want.forbidden && want.cap >= charger.least() && charger.settings.priority <= setup.priority;
            let counted = counted.max(if waits { charger.least() } else { Milliamp::ZERO });
            runs |= counted > Milliamp::ZERO;
            close.take(charger.phases(), counted);
            claim.take(charger.phases(), self.kept_beside(charger, setup, counted));
        }
        let overload = self.grid_phases.iter().any(|phase| self.circuits[0].overload[phase]);
        let ahead = if runs { AHEAD } else { Milliamp::ZERO };
        let keep = keep.least(self.grid_phases);
        if overload || keep < Milliamp::ZERO {
            Room::Shed
        } else if keep < ahead {
            Room::Squeezed
        } else if self.beside_load(close, setup.load).least(self.grid_phases) >= ahead {
            Room::Free
        } else if self.beside_load(claim, setup.load).least(self.grid_phases) >= ahead {
            Room::Claim
        } else {
            Room::Tight
        }
    }

    /// Nothing rises into the room of a relay that was closed and whose load no sample of the meter can hold yet.
    pub(in crate::control) fn reserve_closed(&self, scratch: &mut Scratch) {
        let Some(sampled_at) = self.circuits[0].house.sampled_at() else { return };
        for relay in &self.relays {
            self.reserve_load(relay.unseen(sampled_at), scratch);
        }
    }

    /// Takes a load out of what raises and starts may use, on whichever phase it is.
    pub(super) fn reserve_load(&self, load: Watt, scratch: &mut Scratch) {
        if load <= Watt::ZERO {
            return;
        }
        for budget in scratch.budgets.first_mut().into_iter().chain(&mut scratch.for_relays) {
            for flow in [&mut budget.raise, &mut budget.start] {
                *flow = self.beside_load(*flow, load);
            }
        }
    }

    pub(super) fn paired_is_open(&self, index: usize) -> bool {
        let paired = self.relays[index].setup.interlock.and_then(|other| self.relays.get(other));
        paired.is_none_or(Relay::is_open)
    }
}

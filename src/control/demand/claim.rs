//! How much of the surplus a charger may keep from whoever comes next: no more than the limits let it take. One that a
//! fuse, a circuit, a limit in kW or an order to dim holds at 0 A keeps nothing; its own wish is left as it is, so that
//! it starts or rises as soon as they do.

use crate::control::allocate;
use crate::control::controller::{Controller, Scratch};
use crate::control::interface::LimitReason;
use crate::quantity::{Milliamp, Mono};

impl Controller {
    /// The most that it can have by the limits, whatever the sun leaves; less than its least where it cannot run.
    pub(super) fn can_have(&self, now: Mono, index: usize, scratch: &mut Scratch) -> Milliamp {
        let charger = &self.chargers[index];
        if charger.switch.is_busy() || charger.wake.is_away() {
            // It stands for its own sake and holds its place.
            return charger.setup.max_current;
        }
        if charger.order() >= charger.least() {
            return self.could_rise_to(index, scratch);
        }
        let waits = self.raise_blocked(now, index, &scratch.budgets);
        if matches!(waits, Some(LimitReason::Car | LimitReason::SecondMaster)) {
            return Milliamp::ZERO;
        }
        self.could_start_at(index, scratch)
    }

    /// What the last shares gave to one that runs, and what they left over.
    pub(super) fn could_rise_to(&self, index: usize, scratch: &Scratch) -> Milliamp {
        let charger = &self.chargers[index];
        if !self.was_shared(scratch) {
            return charger.setup.max_current;
        }
        let left = allocate::room_for(&scratch.asks[index], &self.chains, &scratch.left);
        charger.order().max(scratch.target[index] + left)
    }

    /// What whoever is served before it leaves to one that waits.
    fn could_start_at(&self, index: usize, scratch: &mut Scratch) -> Milliamp {
        scratch.spare.clear();
        scratch.spare.extend(scratch.budgets.iter().map(|budget| budget.cut));
        self.reserve(&mut scratch.spare, &scratch.asks);
        let shared = self.was_shared(scratch);
        let place = |it: usize| (scratch.wants[it].rank, it);
        for (other, charger) in self.chargers.iter().enumerate() {
            if place(other) >= place(index) || !charger.link.is_up() || charger.fixed(&self.timing).is_some() {
                continue;
            }
            let ask = &scratch.asks[other];
            let runs = charger.order() >= ask.least;
            let kept = if shared && ask.tier < scratch.asks[index].tier {
                // A better tier is served to its ceilings.
                scratch.target[other]
            } else if runs || scratch.wants[other].claims {
                ask.least
            } else {
                Milliamp::ZERO
            };
            allocate::take(ask, kept, &self.chains, &mut scratch.spare);
        }
        allocate::room_for(&scratch.asks[index], &self.chains, &scratch.spare)
    }

    /// What a running charger keeps beyond its last share, or leaves of it, is out of the room for those after it.
    pub(super) fn keep(&self, index: usize, offer: Milliamp, scratch: &mut Scratch) {
        if self.was_shared(scratch) {
            let Scratch { asks, target, left, .. } = scratch;
            allocate::take(&asks[index], offer - target[index], &self.chains, left);
        }
    }

    /// There are shares of the step before.
    fn was_shared(&self, scratch: &Scratch) -> bool {
        scratch.target.len() == self.chargers.len() && scratch.left.len() == scratch.budgets.len()
    }
}

//! Behind a lost meter the owner's figure is given out in steps of 6 A, by priority.

use crate::command::LEAST_OFFER;
use crate::quantity::Milliamp;
use crate::reading::PilotState;

use super::controller::{Controller, Scratch};
use super::interface::{Detail, LimitReason};

/// Given out at a time.
const STEP: Milliamp = LEAST_OFFER;

impl Controller {
    /// Lowers what may be asked for to what the figures of lost meters give.
    pub(super) fn lost_meters(&self, scratch: &mut Scratch) {
        for circuit in 0..self.circuits.len() {
            if scratch.budgets[circuit].lost {
                self.lost_meter(circuit, scratch);
            }
        }
    }

    fn lost_meter(&self, circuit: usize, scratch: &mut Scratch) {
        let mut left = scratch.room[circuit];
        scratch.order.clear();
        scratch.order.extend(&self.circuits[circuit].chargers);
        scratch.order.sort_unstable_by_key(|index| {
            let charger = &self.chargers[*index];
            // A car that has ended would keep its step from one that wants it.
            (charger.state() == Some(PilotState::D), charger.settings.priority, *index)
        });
        let mut granted = true;
        let mut given = Milliamp::ZERO;
        while granted {
            granted = false;
            for place in 0..scratch.order.len() {
                let index = scratch.order[place];
                let ask = &mut scratch.asks[index];
                let ended = self.chargers[index].state() == Some(PilotState::D);
                if !ended && ask.cap >= given + STEP && left.least_for(ask.phases) >= STEP {
                    left.take(ask.phases, STEP);
                    granted = true;
                } else {
                    scratch.wants[index].lower_with(given, LimitReason::MeterLost, Detail::None, None);
                    ask.cap = ask.cap.min(given);
                }
            }
            given += STEP;
        }
    }
}

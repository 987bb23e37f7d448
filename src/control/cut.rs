//! Reductions: at once and in full, with as few orders as possible.
//!
//! A few chargers come down to their shares at once. Of many, what is too much is taken from the one that is furthest
//! above its share, a little below it if need be, rather than an ampere from each: twenty orders for one kettle help
//! nobody. Shares that have come apart so are made even later, in quiet.

use crate::quantity::{Milliamp, Mono, Span};

use super::allocate;
use super::circuit::Budget;
use super::controller::{Controller, Scratch};

/// So many share evenly at once: an order each is not too many.
const FEW: usize = 3;
/// How far below its share one charger is lowered so that others need not be.
const BELOW: Milliamp = Milliamp::from_amps(3);
/// Above its share by this for so long: lowered although nothing is too much.
const UNFAIR: Milliamp = Milliamp::from_amps(2);
const UNFAIR_FOR: Span = Span::from_secs(30);

impl Controller {
    /// Those that do not answer come last: what they are told may never arrive, so it is no room for anybody who answers.
    pub(super) fn apply_cuts(&mut self, now: Mono, scratch: &mut Scratch) {
        self.lower(now, scratch);
        for place in (0..scratch.sequence.len()).rev() {
            let index = scratch.sequence[place];
            if self.chargers[index].link.is_up() && self.chargers[index].fixed(&self.timing).is_some() {
                self.lower_fixed(now, index, scratch);
            }
        }
        for place in (0..scratch.sequence.len()).rev() {
            let index = scratch.sequence[place];
            if !self.chargers[index].link.is_up() {
                self.lower_fixed(now, index, scratch);
            }
        }
    }

    /// Whoever follows its orders.
    fn lower(&mut self, now: Mono, scratch: &mut Scratch) {
        // What is left when everybody keeps what it has.
        scratch.spare.clear();
        scratch.spare.extend(scratch.budgets.iter().map(Budget::shared));
        self.reserve(&mut scratch.spare, &scratch.asks);
        scratch.order.clear();
        for index in 0..self.chargers.len() {
            let charger = &mut self.chargers[index];
            if charger.fixed(&self.timing).is_some() {
                continue;
            }
            let (ask, target) = (&scratch.asks[index], scratch.target[index]);
            if charger.order() < ask.least && target >= ask.least {
                // Its start needs this much of what the others have.
                allocate::take(ask, ask.least - charger.order(), &self.chains, &mut scratch.spare);
            }
            let above = charger.order() > ask.cap;
            let unfair = charger.order() >= target + UNFAIR && now.since(charger.ordered_at()) >= UNFAIR_FOR;
            if charger.order() > target && (above || unfair) {
                charger.set_order(now, target);
            }
            allocate::take(ask, charger.order(), &self.chains, &mut scratch.spare);
            if charger.order() > Milliamp::ZERO {
                scratch.order.push(index);
            }
        }
        // The furthest above its share first, of equals the one that is served last.
        let place = |index: usize| scratch.sequence.iter().position(|it| *it == index);
        let (chargers, target) = (&self.chargers, &scratch.target);
        scratch.order.sort_unstable_by_key(|index| {
            (std::cmp::Reverse(chargers[*index].order() - target[*index]), std::cmp::Reverse(place(*index)))
        });
        let mut short = false;
        let few = scratch.order.len() <= FEW;
        for all in [few, true] {
            for place in 0..scratch.order.len() {
                let index = scratch.order[place];
                let (ask, target) = (&scratch.asks[index], scratch.target[index]);
                let order = self.chargers[index].order();
                let lack = Milliamp::ZERO - allocate::room_for(ask, &self.chains, &scratch.spare);
                let lowest = if target < ask.least { Milliamp::ZERO } else { (target - BELOW).max(ask.least) };
                let lowered = if all {
                    order.min(target)
                } else if lack > Milliamp::ZERO {
                    order.min((order - lack).floor_to(ask.step).max(lowest))
                } else {
                    order
                };
                let lowered = if lowered < ask.least { Milliamp::ZERO } else { lowered };
                if lowered < order {
                    self.chargers[index].set_order(now, lowered);
                    allocate::take(ask, lowered - order, &self.chains, &mut scratch.spare);
                }
            }
            short = scratch.order.iter().any(|index| {
                self.chargers[*index].order() > Milliamp::ZERO
                    && allocate::room_for(&scratch.asks[*index], &self.chains, &scratch.spare) < Milliamp::ZERO
            });
            if !short {
                break;
            }
        }
        debug_assert!(
            !short || scratch.order.iter().all(|index| self.chargers[*index].order() <= scratch.target[*index])
        );
    }

    /// A charger whose figure no order changes now is told to come down as far as it is too much; what one is told to
    /// give back is no excess of the next.
    fn lower_fixed(&mut self, now: Mono, index: usize, scratch: &mut Scratch) {
        let charger = &mut self.chargers[index];
        let Some(figure) = charger.fixed(&self.timing) else { return };
        let ask = &scratch.asks[index];
        let room = allocate::room_for(ask, &self.chains, &scratch.room).min(Milliamp::ZERO);
        let cap = scratch.wants[index].cap;
        let offer = charger.order().min(cap).min(figure + room).max(Milliamp::ZERO).floor_to(charger.step());
        let offer = if offer < charger.least() { Milliamp::ZERO } else { offer };
        charger.set_order(now, offer);
        if !charger.link.is_unknown() {
            allocate::take(ask, offer - figure, &self.chains, &mut scratch.room);
        }
    }

    /// Phases on which the offers have become too much learn that their load comes back.
    pub(super) fn learn_cuts(&mut self, now: Mono, scratch: &mut Scratch) {
        scratch.room.clear();
        scratch.room.extend(scratch.budgets.iter().map(|budget| budget.cut));
        self.reserve(&mut scratch.room, &scratch.asks);
        for (charger, ask) in self.chargers.iter().zip(&scratch.asks) {
            if charger.fixed(&self.timing).is_none() {
                allocate::take(ask, charger.order(), &self.chains, &mut scratch.room);
            }
        }
        for index in 0..self.circuits.len() {
            let response = self.response(index);
            for (phase, left) in scratch.room[index].phases.iter() {
                if *left < Milliamp::ZERO {
                    self.circuits[index].patience[phase].cut(now, response);
                }
            }
            if scratch.room[index].sum < Milliamp::ZERO {
                self.circuits[index].patience_sum.cut(now, response);
            }
        }
    }

    /// How long an overload of this circuit lasts: until its meter shows it and the slowest car has followed.
    fn response(&self, circuit: usize) -> Span {
        let circuit = &self.circuits[circuit];
        let period = circuit.setup.meter.and_then(|meter| self.meters[meter].period()).unwrap_or(Span::ZERO);
        let running = circuit.chargers.iter().map(|index| &self.chargers[*index]).filter(|it| it.draws_current());
        let slowest = running.map(super::charger::Charger::response).max().unwrap_or(Span::ZERO);
        period + slowest
    }
}

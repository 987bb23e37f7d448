//! One decision for all chargers: ceilings, shares, cuts, then the raises that are already safe.

use crate::quantity::{Milliamp, Mono, Phase, Span};

use super::allocate::{self, Ask};
use super::circuit::Budget;
use super::controller::Controller;
use super::interface::{Detail, LimitReason, Reason};
use super::meter::Meter;

/// A running car is raised by at most so much at a time; at least one step.
const RAISE_STEP: Milliamp = Milliamp::from_amps(4);
/// And not more often than this.
const RAISE_EVERY: Span = Span(900);
/// So little is raised only when the order has stood for a while.
const LITTLE: Milliamp = Milliamp::from_amps(1);
const LITTLE_EVERY: Span = Span::from_secs(20);
/// Cars are started one after another.
const START_EVERY: Span = Span(900);
/// Good frames of every meter above it before a charger that appeared may be raised.
const FRAMES: u32 = 3;

impl Controller {
    pub(super) fn decide(&mut self, now: Mono) {
        let mut scratch = std::mem::take(&mut self.scratch);
        self.budgets(now, &mut scratch);
        scratch.wants.clear();
        scratch.asks.clear();
        for index in 0..self.chargers.len() {
            let mut want = self.want(now, index);
            self.hold_at_zero(index, &mut want);
            scratch.wants.push(want);
        }
        for (charger, want) in self.chargers.iter().zip(&scratch.wants) {
            scratch.asks.push(Ask {
                cap: want.cap,
                least: charger.least(),
                step: charger.step(),
                phases: charger.phases(),
                circuit: charger.setup.circuit,
                uneven: self.limits_imbalance() && charger.phases().is_uneven(),
                tier: want.rank.tier,
                keeps: false,
            });
        }
        self.reserve_closed(&mut scratch);
        self.share_surplus(now, &mut scratch);
        for (ask, want) in scratch.asks.iter_mut().zip(&scratch.wants) {
            ask.cap = want.cap;
        }
        for (charger, want) in self.chargers.iter_mut().zip(&scratch.wants) {
            // Before room is given out: what a forbidden charger falls to is room for nobody until it is 0.
            if want.forbidden {
                charger.program(now, true, true);
            }
        }
        scratch.sequence.clear();
        scratch.sequence.extend(0..self.chargers.len());
        scratch.sequence.sort_unstable_by_key(|index| (scratch.wants[*index].rank, *index));

        self.start_up_rule(now, &mut scratch);
        self.learn_cuts(now, &mut scratch);
        self.target(now, &mut scratch);
        self.apply_cuts(now, &mut scratch);
        self.count_short_runs(now, &scratch);
        self.apply_raises(now, &mut scratch);
        self.choose_phases(now, &mut scratch);
        for (charger, want) in self.chargers.iter_mut().zip(&scratch.wants) {
            let replaced = charger.off_since.is_some_and(|stopped| self.started_at.is_some_and(|at| at >= stopped));
            charger.program(now, want.forbidden, replaced);
        }
        self.scratch = scratch;
    }

    /// Nothing may be raised for this charger now, and why.
    pub(super) fn raise_blocked(
        &self,
        now: Mono,
        index: usize,
        budgets: &[super::circuit::Budget],
    ) -> Option<LimitReason> {
        let charger = &self.chargers[index];
        if !charger.link.is_up() {
            return Some(LimitReason::Offline);
        }
        if charger.master_forbids(now, &self.timing) {
            return Some(LimitReason::SecondMaster);
        }
        if charger.spared_for(now).is_some() {
            return Some(LimitReason::Car);
        }
        for circuit in &self.chains[charger.setup.circuit] {
            if let Some(word) = budgets[*circuit].blocked {
                return Some(word);
            }
            let waits = self.circuits[*circuit].setup.meter.is_some_and(|meter| {
                !self.meters[meter].is_lost()
                    && self.meters[meter].good_count() < charger.appeared_at_frames[meter].saturating_add(FRAMES)
            });
            if waits {
                return Some(LimitReason::StartUp);
            }
        }
        None
    }

    /// Whoever was stopped in this step although it may charge had too little room.
    fn count_short_runs(&mut self, now: Mono, scratch: &super::controller::Scratch) {
        let turn = self.turn();
        for (charger, want) in self.chargers.iter_mut().zip(&scratch.wants) {
            if charger.off_since == Some(now) && charger.link.is_up() && want.cap >= charger.least() {
                charger.displaced(now, self.min_on, turn);
            }
        }
    }

    /// A charger that appeared keeps min(offer, 6 A) where a car charges, the rest gets 0; the cut that follows keeps
    /// those that fit, by priority.
    fn start_up_rule(&mut self, now: Mono, scratch: &mut super::controller::Scratch) {
        let mut any = false;
        for index in 0..self.chargers.len() {
            let charger = &mut self.chargers[index];
            let keeps = charger.is_found_charging(&self.timing);
            if !std::mem::take(&mut charger.appeared) {
                continue;
            }
            any = true;
            let offer =
                if keeps && scratch.wants[index].cap >= charger.least() { charger.least() } else { Milliamp::ZERO };
            charger.set_order(now, offer);
            charger.raised_at = None;
        }
        if any {
            scratch.sequence.sort_unstable_by_key(|index| (self.chargers[*index].settings.priority, *index));
        }
    }

    /// What each charger is to get in the end: the shares of what the circuits leave now.
    fn target(&mut self, now: Mono, scratch: &mut super::controller::Scratch) {
        for index in 0..self.chargers.len() {
            let charger = &self.chargers[index];
            let ask = &mut scratch.asks[index];
            ask.keeps = charger.order() >= ask.least;
            if charger.fixed(&self.timing).is_some() {
                ask.cap = Milliamp::ZERO;
            } else if self.raise_blocked(now, index, &scratch.budgets).is_some() {
                ask.cap = ask.cap.min(charger.order());
            }
        }
        self.admit(now, scratch);
        scratch.room.clear();
        scratch.room.extend(scratch.budgets.iter().map(Budget::shared));
        self.reserve(&mut scratch.room, &scratch.asks);
        self.lost_meters(scratch);
        scratch.target.clear();
        scratch.target.resize(self.chargers.len(), Milliamp::ZERO);
        scratch.allocator.fill(&scratch.asks, &scratch.sequence, &self.chains, &mut scratch.room, &mut scratch.target);
    }

    /// Takes out of the room what no order changes now.
    pub(super) fn reserve(&self, room: &mut allocate::Room, asks: &[Ask]) {
        for (charger, ask) in self.chargers.iter().zip(asks) {
            // Of a charger that was not heard yet the meter shows what it draws; nobody is stopped for what it might.
            // Nobody is raised either: there it counts in full.
            if let Some(figure) = charger.fixed(&self.timing).filter(|_| !charger.link.is_unknown()) {
                allocate::take(ask, figure, &self.chains, room);
            } else if charger.above() > Milliamp::ZERO {
                allocate::take(ask, charger.above(), &self.chains, room);
            }
        }
    }

    /// Above 1.45 times its limit.
    pub(super) fn is_hard(&self, circuit: usize) -> bool {
        let ceiling = self.circuits[circuit].ceiling(self.site.max_import);
        let measured = self.circuits[circuit].house.measured();
        measured.is_some_and(|current| {
            current.iter().any(|(_, value)| i64::from(value.0) * 100 > i64::from(ceiling.0) * 145)
        })
    }

    /// Raises: as far as the sum of everything that may still be offered leaves room in all recent frames.
    fn apply_raises(&mut self, now: Mono, scratch: &mut super::controller::Scratch) {
        std::mem::swap(&mut scratch.left, &mut scratch.room);
        scratch.room.clear();
        scratch.room.extend(scratch.budgets.iter().map(|budget| budget.raise));
        scratch.start_room.clear();
        scratch.start_room.extend(scratch.budgets.iter().map(|budget| budget.start));
        for room in [&mut scratch.room, &mut scratch.start_room] {
            self.reserve(room, &scratch.asks);
            for (charger, ask) in self.chargers.iter().zip(&scratch.asks) {
                if charger.fixed(&self.timing).is_none() {
                    allocate::take(ask, charger.holding(), &self.chains, room);
                } else if charger.link.is_unknown() {
                    allocate::take(ask, charger.counted(&self.timing), &self.chains, room);
                }
            }
        }
        let mut starting = self.started_at.is_some_and(|at| now.since(at) < START_EVERY);
        for place in 0..scratch.sequence.len() {
            let index = scratch.sequence[place];
            let blocked = self.raise_blocked(now, index, &scratch.budgets);
            let charger = &mut self.chargers[index];
            let (order, target) = (charger.order(), scratch.target[index]);
            let ask = &scratch.asks[index];
            let starts = order < ask.least;
            let recently = charger.raised_at.is_some_and(|at| now.since(at) < RAISE_EVERY);
            let down = !charger.draws_above_order();
            if target > order && blocked.is_none() && down && !recently && !(starts && starting) {
                let counted = charger.holding();
                // A little more is not worth a write that the next flicker takes back.
                let single = !starts && target - order <= ask.step.max(LITTLE);
                let flickers = single && now.since(charger.ordered_at()) < LITTLE_EVERY;
                let room = if starts || single { &scratch.start_room } else { &scratch.room };
                let room = allocate::room_for(ask, &self.chains, room);
                let most = if starts { ask.least } else { order + RAISE_STEP.max(ask.step) };
                let offer = target.min(most).min(counted + room).floor_to(ask.step);
                if room >= Milliamp::ZERO && offer > order && offer >= ask.least && !flickers {
                    let more = (offer - counted).max(Milliamp::ZERO);
                    allocate::take(ask, more, &self.chains, &mut scratch.room);
                    allocate::take(ask, more, &self.chains, &mut scratch.start_room);
                    charger.set_order(now, offer);
                    if starts {
                        starting = true;
                        self.started_at = Some(now);
                    }
                    for circuit in &self.chains[ask.circuit] {
                        for phase in ask.phases.iter() {
                            self.circuits[*circuit].patience[phase].raised(now);
                        }
                        self.circuits[*circuit].patience_sum.raised(now);
                    }
                }
            }
            self.reasons[index] = self.reason(now, index, blocked, scratch);
        }
    }

    /// The word and the sentence for what was decided.
    fn reason(
        &self,
        now: Mono,
        index: usize,
        blocked: Option<LimitReason>,
        scratch: &super::controller::Scratch,
    ) -> Reason {
        let charger = &self.chargers[index];
        let want = &scratch.wants[index];
        let offer = charger.order();
        let with = |word, detail, figure| Reason { word, offer, figure, wait: None, detail };
        if charger.link.is_unknown() {
            return with(LimitReason::StartUp, Detail::NotHeard, None);
        }
        if charger.link.is_silent() {
            let never = if charger.link.was_never_heard() { Detail::NotHeard } else { Detail::None };
            return with(LimitReason::Offline, never, Some(charger.counted(&self.timing)));
        }
        let cap = want.cap.floor_to(charger.step());
        if offer >= cap || cap < charger.least() {
            return Reason { wait: want.wait, ..with(want.word, want.detail, want.figure) };
        }
        let ask = &scratch.asks[index];
        let free = |rows: &allocate::Room| allocate::room_for(ask, &self.chains, rows);
        let spared = charger.spared_for(now).filter(|_| blocked == Some(LimitReason::Car));
        if spared.is_some() && free(&scratch.start_room) >= ask.least {
            return Reason { wait: spared, ..with(LimitReason::Car, Detail::Spared, None) };
        }
        if let Some(word) = blocked.filter(|_| spared.is_none()) {
            let late = self.meters_above(index).any(Meter::is_late);
            let doubted = word == LimitReason::MeterLate && !late;
            return with(word, if doubted { Detail::Doubted } else { Detail::None }, None);
        }
        if charger.is_overdue() {
            return with(LimitReason::Car, Detail::NotDown, None);
        }
        let target = scratch.target[index];
        if target <= offer {
            return self.tightest(index, scratch, &scratch.left, with);
        }
        if charger.draws_above_order() {
            return with(LimitReason::Car, Detail::NotDown, None);
        }
        if offer < ask.least {
            if free(&scratch.start_room) >= ask.least {
                return with(LimitReason::Turn, Detail::Queued, None);
            }
        } else if free(&scratch.room).max(free(&scratch.start_room)) >= ask.step {
            let held = if target >= cap {
                with(want.word, Detail::None, None)
            } else {
                self.tightest(index, scratch, &scratch.left, with)
            };
            return Reason { detail: Detail::Rising, figure: Some(target), ..held };
        }
        // Its share is there now; for a raise it must have been there for a while.
        let short = self.tightest(index, scratch, &scratch.start_room, with);
        let lost = self.meters_above(index).any(Meter::is_lost);
        let word = match (short.word, short.detail) {
            (LimitReason::Turn | LimitReason::Sharing, Detail::Phase(_)) if lost => LimitReason::MeterLost,
            (LimitReason::Turn | LimitReason::Sharing, Detail::Phase(phase)) => LimitReason::of_phase(phase),
            (word, _) => word,
        };
        Reason { word, detail: Detail::MustLast, ..short }
    }

    /// The meters of all circuits that a charger is behind.
    fn meters_above(&self, index: usize) -> impl Iterator<Item = &Meter> {
        let circuits = self.chains[self.chargers[index].setup.circuit].iter();
        circuits.filter_map(|circuit| self.circuits[*circuit].setup.meter).map(|meter| &self.meters[meter])
    }

    /// What leaves the least.
    fn tightest(
        &self,
        index: usize,
        scratch: &super::controller::Scratch,
        room: &allocate::Room,
        with: impl Fn(LimitReason, Detail, Option<Milliamp>) -> Reason,
    ) -> Reason {
        let ask = &scratch.asks[index];
        let together = i32::try_from(ask.phases.len()).unwrap_or(3).max(1);
        // Row, phase (none: all together), and what is left there.
        let mut tightest: Option<(usize, Option<Phase>, Milliamp)> = None;
        for row in ask.rows(&self.chains, room.len()) {
            let by_sum = (None, Milliamp(room[row].sum.0 / together));
            let by_phase = ask.phases.iter().map(|phase| (Some(phase), room[row].phases[phase]));
            for (phase, left) in by_phase.chain([by_sum]) {
                if tightest.is_none_or(|(_, _, least)| left < least) {
                    tightest = Some((row, phase, left));
                }
            }
        }
        let Some((row, phase, left)) = tightest else {
            return with(LimitReason::None, Detail::None, None);
        };
        let Some(circuit) = self.circuits.get(row) else {
            let word = phase.map_or(LimitReason::Sharing, LimitReason::of_phase);
            return with(word, Detail::Imbalance, None);
        };
        // Where it could not run alone, others are not the reason.
        let alone = match phase {
            Some(phase) => scratch.budgets[row].cut.phases[phase],
            None => Milliamp(scratch.budgets[row].cut.sum.0 / together),
        };
        let others = circuit.chargers.iter().any(|other| {
            *other != index
                && alone >= ask.least
                && phase.is_none_or(|phase| self.chargers[*other].phases().has(phase))
                && self.chargers[*other].order() > Milliamp::ZERO
        });
        if others {
            let offer = self.chargers[index].order();
            let word = if offer == Milliamp::ZERO { LimitReason::Turn } else { LimitReason::Sharing };
            return with(word, phase.map_or(Detail::None, Detail::Phase), None);
        }
        let Some(phase) = phase else {
            return with(scratch.budgets[row].sum_word, Detail::None, None);
        };
        if let Some(word) = scratch.budgets[row].word {
            let masked = word == LimitReason::Static && circuit.setup.meter.is_some();
            let figure = circuit.setup.static_current.filter(|_| masked);
            return with(word, if masked { Detail::Masked } else { Detail::None }, figure);
        }
        let word = if row > 0 { LimitReason::Circuit } else { LimitReason::of_phase(phase) };
        with(word, Detail::None, Some(left.max(Milliamp::ZERO)))
    }
}

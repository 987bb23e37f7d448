//! One phase or three: where a phase has less than 6 A left one phase may still have enough, and the other way round.

use crate::event::EventType;
use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::PilotState;

use super::allocate::{self, Ask};
use super::controller::{Controller, Scratch, Subject};
use super::demand::mode;
use super::flow::UNLIMITED;
use super::interface::{Detail, LimitReason, Mode, Sharing};
use super::phase_switch::Switched;
use super::phases::PhaseSet;

/// What one phase must have beyond the least, and three phases each.
const MARGIN: Milliamp = Milliamp(500);
/// Less than the least on three phases for so long before one is used: the car stands meanwhile.
const TO_ONE: Span = Span::from_secs(10);
/// The sun pays for one phase only, and for so long, before it is used.
const TO_ONE_BY_SUN: Span = Span::from_secs(60);
/// Enough on three phases for so long before they are used: the car is interrupted for it.
const TO_THREE: Span = Span::from_secs(60);

impl Controller {
    /// What has to stand at 0 A now for its own sake: phases are being switched, a car is being woken.
    pub(super) fn hold_at_zero(&self, index: usize, want: &mut super::want::Want) {
        let charger = &self.chargers[index];
        if charger.switch.is_busy() {
            want.lower(Milliamp::ZERO, LimitReason::PhaseSwitch);
        }
        if charger.wake.is_away() {
            want.lower_with(Milliamp::ZERO, LimitReason::Car, Detail::WakingUp, None);
        }
    }

    /// Moves switching and waking on with the time.
    pub(super) fn tick_chargers(&mut self, now: Mono) {
        for index in 0..self.chargers.len() {
            let charger = &mut self.chargers[index];
            let ended = charger.tick_switch(now);
            let idle = charger.idle_for(now).filter(|_| !charger.switch.is_busy());
            let sleeps = charger.wake.watch(now, idle);
            let phases = charger.active().len();
            match ended {
                Some(Switched::Done) => {
                    let detail = format!("charges on {phases} {}", if phases == 1 { "phase" } else { "phases" });
                    self.tell(EventType::PhaseSwitched, Subject::Charger(index), detail);
                }
                Some(Switched::Failed(why)) => {
                    self.tell(EventType::PhaseSwitchFailed, Subject::Charger(index), why.to_owned());
                }
                None => {}
            }
            if sleeps {
                let detail = "the car has an offer and draws nothing, although it was woken".to_owned();
                self.tell(EventType::CarNotStarting, Subject::Charger(index), detail);
            }
        }
    }

    /// Begins to switch whoever is better off, one at a time.
    pub(super) fn choose_phases(&mut self, now: Mono, scratch: &mut Scratch) {
        for index in 0..self.chargers.len() {
            let charger = &self.chargers[index];
            let switch = &charger.switch;
            if switch.is_busy() || switch.recovers(now) || !charger.can_switch() || !charger.link.is_up() {
                continue;
            }
            let other = |phases: u32| charger.active().len() != phases || switch.is_unsure();
            let rested = switch.rested(now).is_none_or(|rested| rested >= TO_THREE);
            let choice = match charger.settings.phases {
                Some(1) if other(1) => rested.then(|| self.best_phase(index, scratch).0),
                Some(1) => self.better_phase(now, index, scratch),
                Some(_) => Some(charger.wired).filter(|phases| rested && other(phases.len())),
                None => self.better_phases(now, index, scratch),
            };
            if let Some(phases) = choice {
                self.chargers[index].switch.begin(now, phases);
            }
        }
    }

    fn better_phases(&mut self, now: Mono, index: usize, scratch: &mut Scratch) -> Option<PhaseSet> {
        let charger = &self.chargers[index];
        let want = scratch.wants[index];
        let (active, wired, least) = (charger.active(), charger.wired, charger.least());
        if !self.may_start(now, index, scratch) {
            return None;
        }
        let by_sun = mode(charger, self.signals) == Some(Mode::Solar);
        if by_sun && active.len() > 1 && want.sun_phases == Some(1) {
            return self.one_by_sun(now, index, scratch);
        }
        if want.forbidden || want.cap < least {
            self.chargers[index].switch.content();
            return None;
        }
        if charger.switch.is_unsure() && charger.order() == Milliamp::ZERO {
            return Some(wired);
        }
        let on_three = self.available(index, wired, scratch).min(self.left_while_stopped(index, wired, scratch));
        let steady = self.steady(now);
        let (best, on_one) = self.best_phase(index, scratch);
        let rested = charger.switch.rested(now);
        let may_again = rested.is_none_or(|rested| rested >= self.phase_switch_min);
        let on_for = charger.on_since.map_or(self.min_on, |since| now.since(since));
        let one_phase_car = charger.session.is_one_phase_car();
        let charger = &mut self.chargers[index];
        if active.len() > 1 {
            if charger.order() >= least || one_phase_car {
                charger.switch.content();
                return None;
            }
            if on_three >= least || on_one < least + MARGIN {
                charger.switch.content();
                return None;
            }
            let lasts = charger.switch.prefer(now, 1) >= TO_ONE;
            return lasts.then_some(best);
        }
        // In steps, as they would be offered.
        let lasting = on_three.min(steady);
        let three = lasting.min(want.cap).floor_to(charger.step());
        let one = on_one.min(want.cap).max(charger.order());
        let worth = i64::from(three.0) * 3 * 4 >= i64::from(one.0) * 5;
        let paid = !by_sun || want.sun_phases == Some(3);
        if lasting < least + MARGIN || !worth || !paid || one_phase_car {
            return self.better_phase(now, index, scratch);
        }
        let lasts = charger.switch.prefer(now, wired.len()) >= TO_THREE;
        let stands = charger.order() == Milliamp::ZERO;
        (lasts && may_again && (stands || on_for >= self.min_on)).then_some(wired)
    }

    /// A car is there, and nothing speaks against a start but what its phases leave.
    fn may_start(&self, now: Mono, index: usize, scratch: &Scratch) -> bool {
        let blocked = self.raise_blocked(now, index, &scratch.budgets).is_some_and(|it| it != LimitReason::Car);
        !blocked && self.chargers[index].state().is_some_and(PilotState::plugged)
    }

    /// Another phase for a car that stands because the one that it has is full. This is no lowering: it waits for
    /// `phase_switch_min`.
    fn better_phase(&mut self, now: Mono, index: usize, scratch: &Scratch) -> Option<PhaseSet> {
        let charger = &self.chargers[index];
        let (want, active, least) = (&scratch.wants[index], charger.active(), charger.least());
        let stands = charger.order() == Milliamp::ZERO && !want.forbidden && want.cap >= least;
        let chooses = charger.setup.chooses_phase && active.len() == 1 && !charger.session.is_one_phase_car();
        let (best, room) = self.best_phase(index, scratch);
        let full = stands && self.available(index, active, scratch) < least;
        let better = chooses && full && room >= least + MARGIN && self.may_start(now, index, scratch);
        let charger = &mut self.chargers[index];
        if !better {
            charger.switch.content();
            return None;
        }
        let may_again = charger.switch.rested(now).is_none_or(|rested| rested >= self.phase_switch_min);
        (charger.switch.prefer(now, 1) >= TO_ONE && may_again).then_some(best)
    }

    /// A car that waits for the sun charges on one phase where it pays for one: that is a third of what three
    /// need, and more than nothing.
    fn one_by_sun(&mut self, now: Mono, index: usize, scratch: &Scratch) -> Option<PhaseSet> {
        let (best, room) = self.best_phase(index, scratch);
        let charger = &mut self.chargers[index];
        let rested = charger.switch.rested(now).is_none_or(|rested| rested >= self.phase_switch_min);
        let stands = charger.order() == Milliamp::ZERO && !charger.session.is_one_phase_car();
        if !stands || room < charger.least() + MARGIN {
            charger.switch.content();
            return None;
        }
        let lasts = charger.switch.prefer(now, 1) >= TO_ONE_BY_SUN;
        (lasts && rested).then_some(best)
    }

    /// What it could have on these phases: what the shares leave, and what it has itself.
    fn available(&self, index: usize, phases: PhaseSet, scratch: &Scratch) -> Milliamp {
        let ask = &scratch.asks[index];
        let mut least = UNLIMITED;
        for row in &self.chains[ask.circuit] {
            let mut room = scratch.left[*row];
            room.take(ask.phases, -scratch.target[index]);
            least = least.min(room.least_for(phases));
        }
        if self.limits_imbalance() && phases.is_uneven() {
            let mut room = scratch.left[self.circuits.len()];
            if ask.uneven {
                room.take(ask.phases, -scratch.target[index]);
            }
            least = least.min(room.least_for(phases));
        }
        least
    }

    /// With `sharing = "state"` a car that is stopped to be switched has its place behind all that charge, and behind
    /// whoever waits: what they leave it then, when they are served to their ceilings.
    fn left_while_stopped(&self, index: usize, phases: PhaseSet, scratch: &mut Scratch) -> Milliamp {
        if self.site.sharing != Sharing::State {
            return UNLIMITED;
        }
        scratch.spare.clear();
        scratch.spare.extend(scratch.budgets.iter().map(|budget| budget.cut));
        self.reserve(&mut scratch.spare, &scratch.asks);
        for other in &scratch.sequence {
            let (ask, want) = (&scratch.asks[*other], &scratch.wants[*other]);
            let fixed = self.chargers[*other].fixed(&self.timing).is_some();
            if *other == index || fixed || want.rank.lets_pass() {
                continue;
            }
            let most = allocate::room_for(ask, &self.chains, &scratch.spare).min(want.cap);
            if most >= ask.least {
                allocate::take(ask, most, &self.chains, &mut scratch.spare);
            }
        }
        let ask = Ask { phases, uneven: self.limits_imbalance() && phases.is_uneven(), ..scratch.asks[index] };
        allocate::room_for(&ask, &self.chains, &scratch.spare)
    }

    /// The phase with most room that it can use alone, and that room.
    fn best_phase(&self, index: usize, scratch: &Scratch) -> (PhaseSet, Milliamp) {
        let charger = &self.chargers[index];
        let own = if charger.setup.chooses_phase { charger.setup.phases.len() } else { 1 };
        let candidates = charger.setup.phases.iter().take(own).map(|phase| PhaseSet::of([*phase]));
        let rated = candidates.map(|phases| (phases, self.available(index, phases, scratch)));
        // Of equals the first.
        let best = rated.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.unwrap_or((charger.wired, Milliamp::ZERO))
    }
}

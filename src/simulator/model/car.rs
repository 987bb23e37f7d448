//! A car: what it makes of the pilot, and when.

use super::random::Random;
use crate::quantity::{Milliamp, Mono, Span};
use crate::simulator::plan::{CarAtStart, CarPlan};

/// Lowest offer of IEC 61851-1 at which a car may draw.
const LOWEST_OFFER_A: f64 = 6.0;

/// How a car treats what it is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Obedience {
    /// Stays under the offer.
    #[default]
    Obeys,
    /// Draws this much above every offer that is not 0.
    DrawsMore(Milliamp),
    /// Draws this much whatever is offered, even at 0, until the charger opens its contactor or it is unplugged.
    Stuck(Milliamp),
}

/// The car at one charger.
#[derive(Clone, Debug)]
pub(super) struct Car {
    plan: CarPlan,
    shortfall: f64,
    pub(super) plugged: bool,
    pub(super) obedience: Obedience,
    /// The owner ended charging in the car; it stays plugged.
    pub(super) stopped_by_itself: bool,
    /// What it believes to be offered, in A.
    heard: f64,
    change_due: Option<Mono>,
    /// Since when it is ready to draw; in the future while it starts.
    ready: Option<Mono>,
    /// Per used phase, in A.
    pub(super) draw: f64,
    /// Taken in this session.
    pub(super) session_wh: f64,
}

impl Car {
    pub(super) fn new(plan: CarPlan, random: &mut Random) -> Self {
        let mut car = Self {
            shortfall: random.amps(plan.shortfall),
            plugged: plan.at_start != CarAtStart::Away,
            obedience: Obedience::Obeys,
            stopped_by_itself: false,
            heard: 0.0,
            change_due: None,
            ready: None,
            draw: 0.0,
            session_wh: 0.0,
            plan,
        };
        if let CarAtStart::Charging(offer) = car.plan.at_start {
            car.heard = offer.as_f64();
            car.ready = Some(Mono(0));
            car.draw = car.goal(Mono(0));
        }
        car
    }

    /// Phases of the box that it uses.
    pub(super) fn phases(&self) -> usize {
        usize::from(self.plan.phases.clamp(1, 3))
    }

    pub(super) fn plug(&mut self) {
        if !self.plugged {
            self.plugged = true;
            self.stopped_by_itself = false;
            self.session_wh = 0.0;
        }
    }

    pub(super) fn unplug(&mut self) {
        self.plugged = false;
        self.heard = 0.0;
        self.change_due = None;
        self.ready = None;
        self.draw = 0.0;
    }

    /// It has what it wants.
    pub(super) fn finished(&self) -> bool {
        self.stopped_by_itself || self.plan.wants.is_some_and(|wants| self.session_wh >= wants.0 as f64)
    }

    /// It asks for current: S2 closed, state C.
    pub(super) fn closed(&self, now: Mono) -> bool {
        self.plugged && (self.draw > 0.05 || (self.ready.is_some_and(|at| now >= at) && !self.finished()))
    }

    /// One step under an offer of `offer` A; 0 is a pilot without PWM.
    pub(super) fn step(&mut self, now: Mono, step: Span, offer: f64, random: &mut Random) {
        if !self.plugged {
            return;
        }
        if offer == self.heard {
            self.change_due = None;
        } else if let Some(due) = self.change_due {
            if now >= due {
                self.heard = offer;
                self.change_due = None;
            }
        } else if self.heard == 0.0 {
            // Nothing flows yet: the start-up time below is the whole delay.
            self.heard = offer;
        } else {
            self.change_due = Some(now + random.span(self.plan.reaction));
        }
        if self.heard < LOWEST_OFFER_A || self.finished() {
            self.ready = None;
        } else if self.ready.is_none() {
            self.ready = Some(now + random.span(self.plan.start));
        }
        let goal = self.goal(now);
        let (up, down) = (self.plan.ramp_up.as_f64(), self.plan.ramp_down.as_f64());
        let seconds = step.as_secs_f64();
        self.draw = if goal > self.draw {
            (self.draw + up * seconds).min(goal)
        } else {
            (self.draw - down * seconds).max(goal)
        };
    }

    /// Counts what it took.
    pub(super) fn take(&mut self, watt_hours: f64) {
        self.session_wh += watt_hours;
    }

    fn goal(&self, now: Mono) -> f64 {
        if let Obedience::Stuck(amps) = self.obedience {
            return amps.as_f64();
        }
        if self.ready.is_none_or(|at| now < at) || self.finished() {
            return 0.0;
        }
        let mut goal = (self.heard - self.shortfall).min(self.plan.max_current.as_f64());
        if let Some(wants) = self.plan.wants {
            // Constant voltage phase: over its last twentieth it takes less and less, down to an ampere.
            let wants = wants.0 as f64;
            let left = ((wants - self.session_wh) / (wants / 20.0).max(1.0)).clamp(0.0, 1.0);
            goal = goal.min((self.plan.max_current.as_f64() * left).max(1.0));
        }
        if let Obedience::DrawsMore(excess) = self.obedience {
            goal = self.heard + excess.as_f64();
        }
        goal.max(0.0)
    }
}

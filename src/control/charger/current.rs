//! What the car draws: measured by the box or by a meter of its own, else assumed from the offer.

use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span};
use crate::reading::{ChargerReport, PilotState};

use super::{Charger, ORDER_MEMORY};
use crate::control::draw::Range;
use crate::control::interface::Timing;
use crate::control::meter::mean_voltage;
use crate::control::session::{DRAWS, largest};

/// A poll that ends so long after a sample may still show the current of that sample.
const POLL_LAG: Span = Span(1_200);
/// Fastest ramps of on-board chargers, used only to bound what happened since the last poll.
const RAMP_UP: i64 = 4;
const RAMP_DOWN: i64 = 10;
/// A current that changed by less in this time is steady.
const STEADY: (Milliamp, Span) = (Milliamp(300), Span::from_secs(3));

impl Charger {
    /// The voltage that the box measures while it answers.
    pub(in crate::control) fn voltage(&self) -> Option<Millivolt> {
        self.report.filter(|_| self.link.is_up()).and_then(|report| mean_voltage(&report.voltage))
    }

    pub(super) fn measure(&mut self, report: &ChargerReport) {
        if self.setup.meter.is_some() {
            self.assume_unless_measured(report.received_at);
            return;
        }
        let idle = !matches!(report.state, PilotState::C);
        let mut current = Phases::<Milliamp>::default();
        let mut complete = self.setup.measures;
        for (own, phase) in self.setup.phases.iter().enumerate() {
            match report.current.0[own] {
                Some(value) => current[*phase] += value.max(Milliamp::ZERO),
                None => complete &= idle,
            }
        }
        if complete {
            self.record(report.received_at, current);
        } else {
            self.measured = false;
            self.assume(report.received_at);
        }
    }

    /// A believed frame of the charger's own meter.
    pub(in crate::control) fn own_meter(&mut self, sampled_at: Mono, current: &Phases<Option<Milliamp>>) {
        let mut mine = Phases::<Milliamp>::default();
        for phase in self.wired.iter() {
            let Some(value) = current[phase] else { return };
            mine[phase] = value.max(Milliamp::ZERO);
        }
        self.record(sampled_at, mine);
    }

    /// The charger's own meter is lost: its draw is assumed from now on.
    pub(in crate::control) fn own_meter_lost(&mut self, now: Mono) {
        if self.measured {
            self.measured = false;
            self.draws.forget();
            self.assume(now);
        }
    }

    fn assume_unless_measured(&mut self, at: Mono) {
        if !self.measured {
            self.assume(at);
        }
    }

    fn record(&mut self, at: Mono, current: Phases<Milliamp>) {
        if !self.measured {
            self.measured = true;
            self.draws.forget();
        }
        if self.draws.latest_at().is_none_or(|last| at >= last) {
            self.draws.push(at, current);
        }
        self.session.observe(at, &current, self.active());
    }

    /// Without a measurement a car in state C draws its offer on all its phases. A raise may be followed at once; a cut
    /// is only when the box shows it. What is written to a box that does not answer may never arrive.
    pub(super) fn assume(&mut self, at: Mono) {
        if self.measured || !self.link.is_up() {
            return;
        }
        let charging = self.state() == Some(PilotState::C);
        if charging {
            self.session.has_drawn = true;
            self.session.passed = 0;
        }
        let followed = self.effective_at().is_some_and(|effective| effective <= at);
        let offer = match (charging, followed) {
            (false, _) => Milliamp::ZERO,
            (true, true) => self.order,
            (true, false) => self.holding(),
        };
        let mut current = Phases::default();
        for phase in self.active().iter() {
            current[phase] = offer;
        }
        self.draws.push_changed(at, current);
    }

    /// The last measured or assumed current on the grid's phases.
    pub(in crate::control) fn current(&self) -> Phases<Milliamp> {
        self.draws.latest().unwrap_or_default()
    }

    pub(in crate::control) fn is_measured(&self) -> bool {
        self.measured
    }

    /// The car draws now.
    pub(in crate::control) fn draws_current(&self) -> bool {
        largest(&self.current()) >= DRAWS
    }

    /// It is offered current and drew none when it was last asked.
    fn is_about_to_draw(&self) -> bool {
        self.order >= self.least() && matches!(self.state(), Some(PilotState::B | PilotState::C))
    }

    /// What the car drew when the meter took its sample.
    pub(in crate::control) fn drawn_at(&self, sampled_at: Mono, timing: &Timing) -> Range {
        if let Some(figure) = self.link.counted(&self.facts(timing)).filter(|_| !self.link.is_unknown()) {
            // It may have fallen since it was heard. Taking the house's share from the meter's word alone would give
            // its room to others while it may still come back.
            let most = self.current().map(|current| current.min(figure));
            return Range { least: Phases::default(), most };
        }
        if !self.measured {
            // A cut may show any time until the response time is over; the meter decides when it has.
            let from = sampled_at - timing.cut_response - self.setup.write_latency;
            let mut range = self.draws.within(from, sampled_at).unwrap_or_default();
            // A car that was found to have stopped did so any time since it was last asked. Taken as drawing until then
            // it would leave a hole in the house that others are raised into.
            if let Some(next) = self.draws.next_after(sampled_at) {
                for phase in Phase::ALL {
                    range.least[phase] = range.least[phase].min(next.least[phase]);
                }
            }
            return range;
        }
        let mut range = self.draws.within(sampled_at, sampled_at + POLL_LAG).unwrap_or_default();
        let Some(last) = self.draws.latest_at().filter(|last| *last <= sampled_at) else { return range };
        // Before the start-up rule has given an order there is none to follow.
        let follows = !self.appeared && (self.draws_current() || self.is_about_to_draw());
        let unsettled =
            || sampled_at.since(self.order_since) < ORDER_MEMORY || self.draws.movement(STEADY.1) > STEADY.0;
        if follows && unsettled() {
            // No poll since the sample: the car may have moved towards its offer, no faster than cars ramp. One that has
            // just begun would else be taken for load, and stopped for it where there is little room.
            let elapsed = sampled_at.since(last).0 + POLL_LAG.0;
            for phase in self.phases().iter() {
                let distance = self.order - range.most[phase];
                let up = Milliamp(i32::try_from(elapsed * RAMP_UP).unwrap_or(i32::MAX));
                let down = Milliamp(i32::try_from(elapsed * RAMP_DOWN).unwrap_or(i32::MAX));
                range.most[phase] += distance.clamp(Milliamp::ZERO, up);
                let fall = range.least[phase] - self.order;
                range.least[phase] -= fall.clamp(Milliamp::ZERO, down);
            }
        }
        range
    }

    /// The same for the sun, where a guess endangers nobody: what it was found at next it may have drawn already.
    pub(in crate::control) fn drawn_around(&self, sampled_at: Mono, timing: &Timing) -> Range {
        let mut range = self.drawn_at(sampled_at, timing);
        if let Some(next) = self.draws.next_after(sampled_at) {
            range.include(&next);
        }
        range
    }

    /// Measured current, or `None` where the charger does not measure.
    pub(in crate::control) fn shown_current(&self) -> Phases<Option<Milliamp>> {
        let current = self.current();
        let mut shown = Phases([None; 3]);
        if self.measured && self.report.is_some() {
            for phase in Phase::ALL.into_iter().filter(|phase| self.wired.has(*phase)) {
                shown[phase] = Some(current[phase]);
            }
        }
        shown
    }
}

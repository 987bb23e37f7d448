//! What is heard of a charger: reports, acknowledged writes, failed attempts.

use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::{ChargerObservation, ChargerReport, PilotState};

use super::box_limit::BoxLimit;
use super::{Charger, News, ORDER_MEMORY, Written};
use crate::control::demand::Solar;
use crate::control::interface::Timing;
use crate::control::link::Change;
use crate::control::obey::Foreign;
use crate::control::phases::PhaseSet;
use crate::control::session::{Turn, largest};
use crate::control::taper::Taper;
use crate::control::wake::WakeUp;

/// The fail-safe registers may differ from what was ordered for so long before it is told.
const WATCHDOG_PATIENCE: Span = Span::from_secs(15);

impl Charger {
    pub(in crate::control) fn observe(
        &mut self,
        observation: &ChargerObservation,
        timing: &Timing,
        mut tell: impl FnMut(News),
    ) {
        match observation {
            ChargerObservation::Report(report) => self.take_report(report, timing, &mut tell),
            ChargerObservation::Written { offer, at, .. } => {
                self.written = Some(Written { offer: *offer, at: *at });
                if *offer <= self.order {
                    self.rewriting = None;
                }
                self.link.written(*at);
            }
            ChargerObservation::Failed { at, unconfirmed, round, period } => {
                let facts = self.facts(timing);
                if let Some(change) = self.link.failed(*at, *unconfirmed, *round, *period, &facts) {
                    self.written = None;
                    tell(News::Link(change));
                }
            }
        }
    }

    fn take_report(&mut self, report: &ChargerReport, timing: &Timing, tell: &mut impl FnMut(News)) {
        let at = report.received_at;
        let facts = self.facts(timing);
        let read_back = report.set_point.or(report.offered);
        let away = self.link.counted(&facts).filter(|_| self.setup.meter.is_none());
        if let (Some(figure), Some(heard)) = (away, self.link.heard_at()) {
            // What it drew when it was last heard is no knowledge of the time since.
            self.draws.unknown(heard, figure);
        }
        let unseen = self.link.is_silent().then(|| self.memory()).flatten();
        let change = self.link.report(at, read_back, &facts);
        self.meeting.begin_again(unseen);
        self.check_watchdog(report, tell);
        let energy = report.energy.or(self.meter_energy);
        self.meet(report, energy, tell);
        if let Some(turn) = self.session.report(at, report.state, energy) {
            if turn == Turn::Ended {
                self.next_car();
            } else {
                self.new_turn();
            }
            tell(News::Session(turn));
        }
        // Its box says that it wants again, and not only that it was stopped.
        let wants_again = self.state() == Some(PilotState::D) && report.state != PilotState::D;
        if wants_again && self.order == Milliamp::ZERO && at.since(self.order_since) >= ORDER_MEMORY {
            self.session.passed = 0;
        }
        self.report = Some(*report);
        if self.setup.can_switch_phases {
            let first = (!self.setup.chooses_phase).then(|| PhaseSet::of(self.setup.phases.first().copied()));
            self.switch.adopt(report.phases_connected, first);
            if self.switch.widen(report.phases_connected) {
                self.session.relearn_phases();
            }
        }
        self.measure(report);
        if let Some(change) = change {
            match (change, read_back) {
                (Change::Resumed, Some(figure)) => self.set_order(at, figure),
                _ => self.start_up(at, read_back),
            }
            self.verify_watchdog = self.verify_watchdog.wrapping_add(1);
            tell(News::Link(change));
            return;
        }
        self.compare(report, timing, tell);
        self.see(report);
    }

    /// What was known of the car before, and asked for it, is not of the next one.
    pub(super) fn next_car(&mut self) {
        self.new_turn();
        self.settings.session_limit = None;
        self.settings.mode_after_session = self.setup.settings.mode_after_session;
    }

    fn new_turn(&mut self) {
        self.obedience.release();
        self.rests_until = None;
        self.box_limit = None;
        self.taper = Taper::default();
        self.wake = WakeUp::default();
        self.switch.forgive();
        self.solar = Solar::default();
    }

    /// The start-up rule, first half: the present offer counts; the order follows with the next decision.
    fn start_up(&mut self, at: Mono, read_back: Option<Milliamp>) {
        let present = read_back.unwrap_or(self.setup.max_current);
        self.shown_at = None;
        self.held = None;
        self.timer_verified = false;
        self.order = Milliamp::ZERO;
        self.order_since = at;
        self.hold(at, present.max(largest(&self.draws.latest().unwrap_or_default())));
        self.assume(at);
        self.appeared = true;
    }

    fn check_watchdog(&mut self, report: &ChargerReport, tell: &mut impl FnMut(News)) {
        let Some(timeout) = self.setup.watchdog else { return };
        // What cannot be read, or is no setting that a box can have, may be anything.
        let (runs, falls_to) = match report.watchdog {
            Some(found) => (found.timeout == timeout, found.fail_safe),
            None => (false, self.setup.max_current),
        };
        let fits = runs && falls_to == self.fail_safe && report.watchdog.is_some();
        self.watchdog_fits = Some(fits);
        self.timer_verified = runs;
        self.timer_found = match report.watchdog {
            // One that is switched off does not act.
            Some(found) => Some(found.timeout).filter(|timeout| *timeout > Span::ZERO),
            None => Some(Span::ZERO),
        };
        self.fail_safe_most = falls_to.max(self.fail_safe);
        if fits {
            self.watchdog_wrong_since = None;
            self.watchdog_told = false;
            return;
        }
        let since = *self.watchdog_wrong_since.get_or_insert(report.received_at);
        if report.received_at.since(since) >= WATCHDOG_PATIENCE && !std::mem::replace(&mut self.watchdog_told, true) {
            self.verify_watchdog = self.verify_watchdog.wrapping_add(1);
            tell(News::WatchdogFailed);
        }
    }

    /// The set-point that is read back, against ours.
    fn compare(&mut self, report: &ChargerReport, timing: &Timing, tell: &mut impl FnMut(News)) {
        let written = self.written.map_or(self.order, |written| written.offer);
        // Without a write that was confirmed since it was last away, only what has stood for a while can be told apart.
        let settled = self.written.map_or(self.order_since + ORDER_MEMORY, |written| written.at);
        let ours = self.order.max(written);
        let recent = self.recent_orders(report.received_at).max(ours);
        // The pilot may lag: any order of the last seconds is still ours. What it offers beyond them counts, whatever the
        // register says: that may be in another unit, or not be what the box goes by.
        let beyond = report.offered.filter(|offered| *offered > recent);
        let Some(found) = report.set_point.max(beyond) else { return };
        // What nobody ordered and it was not found with is not ours, confirmed or not.
        let foreign = self.written.is_none() && found > recent.max(self.holding());
        if report.read_begun < settled && !foreign {
            return;
        }
        if found > ours {
            self.hold(report.received_at, found);
            // Whatever was shown before: it counts until ours is read back again.
            self.shown_at = None;
            if self.rewriting.is_some() {
                // Ours is on its way: that it does not stand there yet is no news of anybody else.
                return;
            }
            let foreign = self.read_back.above(report.received_at, timing);
            if matches!(foreign, Foreign::Rebooted | Foreign::Again) {
                self.write_again(report.received_at);
            }
            if foreign == Foreign::Rebooted {
                self.timer_verified = false;
                self.verify_watchdog = self.verify_watchdog.wrapping_add(1);
            }
            tell(News::Foreign { foreign, read_back: found });
        } else if found < self.order && written == self.order {
            let limit = BoxLimit::found(found, report.received_at, self.box_limit);
            (self.box_limit, self.box_limits) = (Some(limit), true);
        } else if self.box_limit.is_some_and(|it| found > it.figure) {
            // It takes more now.
            self.box_limit = None;
        }
    }

    fn recent_orders(&self, now: Mono) -> Milliamp {
        let memory = ORDER_MEMORY + self.setup.write_latency;
        let past = self.past_orders.iter().filter(|(until, _)| now.since(*until) <= memory);
        past.map(|(_, offer)| *offer).fold(self.order, Milliamp::max)
    }

    /// Whether the order has reached the pilot.
    fn see(&mut self, report: &ChargerReport) {
        if self.shown_at.is_some() || self.written.is_none_or(|written| report.read_begun < written.at) {
            return;
        }
        if report.offered.or(report.set_point).is_some_and(|shown| shown <= self.order) {
            self.shown_at = Some(report.received_at);
            self.assume(report.received_at);
        }
    }
}

//! One charger: its order, what it may still hold of older ones, what its car draws, what it has been told.

use crate::command::{ChargerCommand, Contact};
use crate::quantity::{Milliamp, Mono, Phase, Phases, Span};
use crate::reading::{ChargerObservation, ChargerReport, PilotState};

use super::draw::{Draws, Range};
use super::interface::{ChargerSettings, ChargerSetup, Timing};
use super::link::{Change, Facts, Link};
use super::obey::{Foreign, Obedience, ReadBack, Sight};
use super::phases::PhaseSet;
use super::session::{self, DRAWS, Session, largest};
use super::taper::Taper;

/// The least current that a car can be offered (IEC 61851-1).
pub(super) const LEAST: Milliamp = Milliamp::from_amps(6);
/// A draw counts as following its offer up to this much above.
const FOLLOWS: Milliamp = Milliamp(500);
/// A poll that ends so long after a sample may still show the current of that sample.
const POLL_LAG: Span = Span(1_200);
/// Fastest ramps of on-board chargers, used only to bound what happened since the last poll.
const RAMP_UP: i64 = 4;
const RAMP_DOWN: i64 = 10;
/// A current that changed by less in this time is steady.
const STEADY: (Milliamp, Span) = (Milliamp(300), Span::from_secs(3));
/// Orders of the past that a slow box may still show.
const ORDERS: usize = 16;
const ORDER_MEMORY: Span = Span::from_secs(10);
/// Response of a car that was not seen yet.
const RESPONSE: Span = Span::from_secs(5);
/// A lower figure of the box is asked about again after this time.
const BOX_LIMIT: Span = Span::from_secs(60);
/// The fail-safe registers may differ from what was ordered for so long before it is told.
const WATCHDOG_PATIENCE: Span = Span::from_secs(15);

/// What happened, for the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Link(Change),
    Session(session::Turn),
    Foreign { foreign: Foreign, read_back: Milliamp },
    WatchdogFailed,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    figure: Milliamp,
    since: Mono,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    offer: Milliamp,
    at: Mono,
}

/// The state of one charger.
#[derive(Clone, Debug)]
pub(super) struct Charger {
    pub(super) setup: ChargerSetup,
    pub(super) settings: ChargerSettings,
    pub(super) wired: PhaseSet,
    pub(super) link: Link,
    pub(super) report: Option<ChargerReport>,
    pub(super) session: Session,
    pub(super) obedience: Obedience,
    pub(super) read_back: ReadBack,
    pub(super) taper: Taper,
    draws: Draws,
    /// The currents in `draws` are measured, not assumed from the offer.
    measured: bool,
    order: Milliamp,
    ordered: bool,
    order_since: Mono,
    written: Option<Written>,
    shown_at: Option<Mono>,
    held: Option<Held>,
    past_orders: [(Mono, Milliamp); ORDERS],
    rewrite: u32,
    verify_watchdog: u32,
    rewriting: bool,
    watchdog_fits: Option<bool>,
    watchdog_wrong_since: Option<Mono>,
    watchdog_told: bool,
    box_limit: Option<(Milliamp, Mono)>,
    /// Programmed fail-safe current in force.
    fail_safe: Milliamp,
    /// The start-up rule waits for the next decision.
    pub(super) appeared: bool,
    /// Good frames that each meter had when it appeared; raises wait for three more.
    pub(super) appeared_at_frames: Vec<u32>,
    /// When it last began or ceased to be offered current.
    pub(super) on_since: Option<Mono>,
    pub(super) off_since: Option<Mono>,
    pub(super) raised_at: Option<Mono>,
    /// From an order to the current that follows it, as this car was seen to take.
    response: Span,
}

impl Charger {
    pub(super) fn new(setup: ChargerSetup, meters: usize) -> Self {
        let settings = setup.settings;
        let wired = PhaseSet::of(setup.phases.iter().copied());
        let fail_safe = setup.fail_safe;
        let watchdog_fits = setup.watchdog.map(|_| false);
        Self {
            setup,
            settings,
            wired,
            link: Link::default(),
            report: None,
            session: Session::default(),
            obedience: Obedience::default(),
            read_back: ReadBack::default(),
            taper: Taper::default(),
            draws: Draws::default(),
            measured: false,
            order: Milliamp::ZERO,
            ordered: false,
            order_since: Mono(0),
            written: None,
            shown_at: None,
            held: None,
            past_orders: [(Mono(i64::MIN), Milliamp::ZERO); ORDERS],
            rewrite: 0,
            verify_watchdog: 0,
            rewriting: false,
            watchdog_fits,
            watchdog_wrong_since: None,
            watchdog_told: false,
            box_limit: None,
            fail_safe,
            appeared: false,
            appeared_at_frames: vec![0; meters],
            on_since: None,
            off_since: None,
            raised_at: None,
            response: RESPONSE,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.setup.id
    }

    pub(super) fn order(&self) -> Milliamp {
        self.order
    }

    /// The least that is worth offering: 6 A in whole steps.
    pub(super) fn least(&self) -> Milliamp {
        let step = self.setup.step.0.max(1);
        Milliamp((LEAST.0 + step - 1) / step * step)
    }

    pub(super) fn step(&self) -> Milliamp {
        Milliamp(self.setup.step.0.max(1))
    }

    pub(super) fn state(&self) -> Option<PilotState> {
        self.report.map(|report| report.state)
    }

    pub(super) fn fail_safe(&self) -> Milliamp {
        self.fail_safe
    }

    pub(super) fn watchdog_verified(&self) -> Option<bool> {
        self.watchdog_fits
    }

    fn facts(&self, timing: &Timing) -> Facts {
        Facts {
            holds: self.holds(),
            watchdog: self.setup.watchdog,
            verified: self.watchdog_fits == Some(true),
            programmed: self.fail_safe,
            silent_after: timing.charger_silent,
            quiet_extra: timing.quiet_extra,
        }
    }

    /// The most that it may offer while it answers: the order, and older ones until they are known to be gone.
    fn holds(&self) -> Milliamp {
        let held = self.held.map_or(Milliamp::ZERO, |held| held.figure);
        self.order.max(held).max(self.written.map_or(Milliamp::ZERO, |written| written.offer))
    }

    /// What stands in the sum of offers for it.
    pub(super) fn counted(&self, timing: &Timing) -> Milliamp {
        let answering = self.order.max(self.held.map_or(Milliamp::ZERO, |held| held.figure));
        self.link.counted(&self.facts(timing)).map_or(answering, |figure| figure.max(self.order))
    }

    /// A figure that we cannot change now.
    pub(super) fn fixed(&self, timing: &Timing) -> Option<Milliamp> {
        self.link.counted(&self.facts(timing)).map(|figure| figure.max(self.order))
    }

    /// Phases on which it counts.
    pub(super) fn phases(&self) -> PhaseSet {
        self.session.phases(self.wired)
    }

    /// Changes the order; what it held before counts until it is known to be gone.
    pub(super) fn set_order(&mut self, now: Mono, offer: Milliamp) {
        self.ordered = true;
        if offer == self.order {
            return;
        }
        let before = self.order;
        self.past_orders.rotate_right(1);
        self.past_orders[0] = (now, before);
        if offer < before {
            let figure = self.held.map_or(before, |held| held.figure.max(before));
            self.held = Some(Held { figure, since: now });
        } else if self.held.is_some_and(|held| held.figure <= offer) {
            self.held = None;
        }
        if offer > before {
            self.raised_at = Some(now);
        }
        if before == Milliamp::ZERO {
            self.on_since = Some(now);
        }
        if offer == Milliamp::ZERO {
            self.on_since = None;
            self.off_since = Some(now);
            if self.draws_current() {
                self.session.interruptions = self.session.interruptions.saturating_add(1);
            }
        }
        self.order = offer;
        self.order_since = now;
        self.shown_at = None;
        self.assume(now);
    }

    /// What its timer is to fall to; the register is rewritten only when this differs.
    pub(super) fn set_fail_safe(&mut self, fail_safe: Milliamp) {
        self.fail_safe = fail_safe;
    }

    /// Counts it at `figure` until it has come down to its order.
    pub(super) fn hold(&mut self, now: Mono, figure: Milliamp) {
        let figure = self.held.map_or(figure, |held| held.figure.max(figure));
        if figure > self.order {
            self.held = Some(Held { figure, since: now });
        }
    }

    pub(super) fn observe(&mut self, observation: &ChargerObservation, timing: &Timing, mut tell: impl FnMut(News)) {
        match observation {
            ChargerObservation::Report(report) => self.take_report(report, timing, &mut tell),
            ChargerObservation::Written { offer, at, .. } => {
                self.written = Some(Written { offer: *offer, at: *at });
                if *offer <= self.order {
                    self.rewriting = false;
                }
                self.link.written(*at);
            }
            ChargerObservation::Failed { at, unconfirmed, round, period } => {
                let facts = self.facts(timing);
                if let Some(change) = self.link.failed(*at, *unconfirmed, *round, *period, &facts) {
                    tell(News::Link(change));
                }
            }
        }
    }

    fn take_report(&mut self, report: &ChargerReport, timing: &Timing, tell: &mut impl FnMut(News)) {
        let at = report.received_at;
        let facts = self.facts(timing);
        let read_back = report.set_point.or(report.offered);
        let change = self.link.report(at, read_back, &facts);
        self.check_watchdog(report, tell);
        let energy = report.energy;
        if let Some(turn) = self.session.report(at, report.state, energy) {
            self.obedience.release();
            self.taper = Taper::default();
            tell(News::Session(turn));
        }
        self.report = Some(*report);
        self.measure(report);
        if let Some(change) = change {
            if change != Change::Resumed {
                self.start_up(at, read_back);
            }
            self.verify_watchdog = self.verify_watchdog.wrapping_add(1);
            tell(News::Link(change));
            return;
        }
        self.compare(report, timing, tell);
        self.see(report);
    }

    /// The start-up rule, first half: the present offer counts; the order follows with the next decision.
    fn start_up(&mut self, at: Mono, read_back: Option<Milliamp>) {
        let present = read_back.unwrap_or(self.setup.max_current);
        self.written = None;
        self.shown_at = None;
        self.held = None;
        self.order = Milliamp::ZERO;
        self.order_since = at;
        self.hold(at, present.max(largest(&self.draws.latest().unwrap_or_default())));
        self.appeared = true;
    }

    fn check_watchdog(&mut self, report: &ChargerReport, tell: &mut impl FnMut(News)) {
        let (Some(timeout), Some(found)) = (self.setup.watchdog, report.watchdog) else { return };
        let fits = found.timeout == timeout && found.fail_safe == self.fail_safe;
        self.watchdog_fits = Some(fits);
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

    fn measure(&mut self, report: &ChargerReport) {
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
    pub(super) fn own_meter(&mut self, sampled_at: Mono, current: &Phases<Option<Milliamp>>) {
        let mut mine = Phases::<Milliamp>::default();
        for phase in self.wired.iter() {
            let Some(value) = current[phase] else { return };
            mine[phase] = value.max(Milliamp::ZERO);
        }
        self.record(sampled_at, mine);
    }

    /// The charger's own meter is lost: its draw is assumed from now on.
    pub(super) fn own_meter_lost(&mut self, now: Mono) {
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
        self.session.observe(at, &current, self.wired);
    }

    /// Without a measurement a car in state C draws its offer on all its phases.
    fn assume(&mut self, at: Mono) {
        if self.measured {
            return;
        }
        let charging = self.state() == Some(PilotState::C);
        let offer = if charging { self.order } else { Milliamp::ZERO };
        let mut current = Phases::default();
        for phase in self.wired.iter() {
            current[phase] = offer;
        }
        if self.draws.latest() != Some(current) {
            self.draws.push(at, current);
        }
    }

    /// The set-point that is read back, against ours.
    fn compare(&mut self, report: &ChargerReport, timing: &Timing, tell: &mut impl FnMut(News)) {
        let Some(written) = self.written else { return };
        if report.read_begun < written.at || self.rewriting {
            return;
        }
        let ours = self.order.max(written.offer);
        let found = match report.set_point {
            Some(found) => found,
            // A box that shows its pilot only may lag: any order of the last seconds is still ours.
            None => match report.offered {
                Some(offered) if offered > self.recent_orders(report.received_at) => offered,
                _ => return,
            },
        };
        if found > ours {
            self.hold(report.received_at, found);
            let foreign = self.read_back.above(report.received_at, timing);
            if foreign != Foreign::Wait {
                self.rewrite = self.rewrite.wrapping_add(1);
                self.rewriting = true;
            }
            if foreign == Foreign::Rebooted {
                self.verify_watchdog = self.verify_watchdog.wrapping_add(1);
            }
            tell(News::Foreign { foreign, read_back: found });
        } else if found < self.order && written.offer == self.order {
            self.box_limit = Some((found, report.received_at));
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
        }
    }

    /// When the present order took effect at the pilot, as far as it can be known.
    pub(super) fn effective_at(&self) -> Option<Mono> {
        let shows = self.report.is_some_and(|report| report.offered.is_some() || report.set_point.is_some());
        if shows {
            return self.shown_at;
        }
        let written = self.written.filter(|written| written.offer == self.order)?;
        Some(written.at.max(self.order_since) + self.setup.write_latency)
    }

    /// When the last order was acknowledged.
    pub(super) fn written_at(&self) -> Option<Mono> {
        self.written.filter(|written| written.offer <= self.order).map(|written| written.at.max(self.order_since))
    }

    /// The last measured or assumed current on the grid's phases.
    pub(super) fn current(&self) -> Phases<Milliamp> {
        self.draws.latest().unwrap_or_default()
    }

    pub(super) fn is_measured(&self) -> bool {
        self.measured
    }

    /// The car draws now.
    pub(super) fn draws_current(&self) -> bool {
        largest(&self.current()) >= DRAWS
    }

    /// What the car drew when the meter took its sample.
    pub(super) fn drawn_at(&self, sampled_at: Mono, timing: &Timing) -> Range {
        if let Some(figure) = self.link.counted(&self.facts(timing)).filter(|_| !self.link.is_unknown()) {
            return Range::exactly(self.current().map(|current| current.min(figure)));
        }
        if !self.measured {
            // A cut may show any time until the response time is over; the meter decides when it has.
            let from = sampled_at - timing.cut_response - self.setup.write_latency;
            return self.draws.within(from, sampled_at).unwrap_or_default();
        }
        let mut range = self.draws.within(sampled_at, sampled_at + POLL_LAG).unwrap_or_default();
        let Some(last) = self.draws.latest_at().filter(|last| *last <= sampled_at) else { return range };
        let unsettled = self.draws.movement(STEADY.1) > STEADY.0 || sampled_at.since(self.order_since) < ORDER_MEMORY;
        if unsettled && self.draws_current() {
            // No poll since the sample: the car may have moved towards its offer, no faster than cars ramp.
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

    /// Current above the offer that should have gone by now: it counts like load.
    pub(super) fn overdue(&self, now: Mono, hard: bool, timing: &Timing) -> Phases<Milliamp> {
        if !self.measured || !self.link.is_up() || !self.response_is_over(now, hard, timing) {
            return Phases::default();
        }
        self.current().map(|current| {
            let excess = current - self.counted(timing);
            if excess > FOLLOWS { excess } else { Milliamp::ZERO }
        })
    }

    fn response_is_over(&self, now: Mono, hard: bool, timing: &Timing) -> bool {
        let by_pilot = self.effective_at().is_some_and(|at| now.since(at) >= timing.cut_response);
        let by_write = self.written_at().is_some_and(|at| now.since(at) >= timing.cut_response_hard);
        by_pilot || (hard && by_write)
    }

    /// Releases what it held once the reduction was read back and the draw has followed, or 6 s have gone since.
    pub(super) fn settle(&mut self, now: Mono, timing: &Timing) {
        self.read_back.tick(now, timing);
        let facts = self.facts(timing);
        self.link.tick(now, &facts);
        if self.box_limit.is_some_and(|(_, since)| now.since(since) >= BOX_LIMIT) {
            self.box_limit = None;
        }
        let Some(held) = self.held else { return };
        let Some(effective) = self.effective_at().filter(|_| !self.rewriting) else { return };
        let since = effective.max(held.since);
        let followed = self.measured && largest(&self.current()) <= self.order + FOLLOWS;
        if followed || now.since(since) >= timing.raise_after_cut {
            if followed {
                let took = now.since(held.since).0;
                self.response = Span((self.response.0 * 3 + took) / 4);
            }
            self.held = None;
        }
    }

    /// How long this car takes to follow a cut.
    pub(super) fn response(&self) -> Span {
        self.response
    }

    /// Judges the car's obedience; `true` when it has just been found not to obey.
    pub(super) fn watch(&mut self, now: Mono, overload: bool, timing: &Timing) -> bool {
        if !self.measured || !self.link.is_up() {
            return false;
        }
        let sight =
            Sight { drawn: largest(&self.current()), offer: self.order, effective_at: self.effective_at(), overload };
        self.obedience.watch(now, &sight, timing)
    }

    /// The box's own ceiling: what it reports, or a set-point that it did not take.
    pub(super) fn box_limit(&self) -> Option<Milliamp> {
        let own = self.report.and_then(|report| report.own_limit);
        let found = self.box_limit.map(|(figure, _)| figure);
        match (own, found) {
            (Some(own), Some(found)) => Some(own.min(found)),
            (own, found) => own.or(found),
        }
    }

    /// While it is silent only min(last offer, fail-safe current) is written.
    pub(super) fn fall_back(&mut self, now: Mono) {
        let offer = self.order.min(self.fail_safe);
        self.set_order(now, offer);
    }

    pub(super) fn command(&self) -> ChargerCommand {
        let contact = self.link.contact();
        ChargerCommand {
            offer: (self.ordered && contact != Contact::Open).then_some(self.order),
            phases: None,
            fail_safe: self.fail_safe,
            contact,
            rewrite: self.rewrite,
            verify_watchdog: self.verify_watchdog,
            open: self.obedience.open(),
        }
    }

    /// The offer to be left behind at an orderly stop.
    pub(super) fn last_offer(&self) -> Milliamp {
        let charging = self.state() == Some(PilotState::C) && self.link.is_up();
        let safe = charging && self.watchdog_fits == Some(true);
        let offer = self.order.min(if safe { LEAST } else { self.fail_safe });
        if offer < LEAST { Milliamp::ZERO } else { offer }
    }

    /// When time alone will change something here.
    pub(super) fn next_turn(&self, timing: &Timing) -> Option<Mono> {
        let held = self
            .held
            .and_then(|held| self.effective_at().map(|effective| effective.max(held.since) + timing.raise_after_cut));
        match (self.link.next_turn(), held) {
            (Some(link), Some(held)) => Some(link.min(held)),
            (link, held) => link.or(held),
        }
    }

    /// Measured current, or `None` where the charger does not measure.
    pub(super) fn shown_current(&self) -> Phases<Option<Milliamp>> {
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

//! One charger: its order, what it may still hold of older ones, what its car draws, what it has been told.

mod box_limit;
mod current;
mod hear;
mod interruption;
mod meet;
mod tally;

use crate::command::{ChargerCommand, Contact, LEAST_OFFER};
use crate::quantity::{Milliamp, Mono, Span, WattHour};
use crate::reading::{ChargerReport, PilotState};

use crate::control::demand::Solar;
use crate::control::draw::Draws;
use crate::control::interface::{ChargerSettings, ChargerSetup, Timing};
use crate::control::link::{Change, Facts, Link};
use crate::control::obey::{self, Foreign, Obedience, ReadBack, Sight};
use crate::control::phase_switch::{self, PhaseSwitch, Switched};
use crate::control::phases::PhaseSet;
use crate::control::session::{self, Session, largest};
use crate::control::taper::Taper;
use crate::control::turn::IDLE_AFTER;
use crate::control::wake::WakeUp;
use box_limit::BoxLimit;
use meet::Meeting;

/// A draw counts as following its offer up to this much above.
const FOLLOWS: Milliamp = Milliamp(500);
/// Orders of the past that a slow box may still show.
const ORDERS: usize = 16;
const ORDER_MEMORY: Span = Span::from_secs(10);
/// Response of a car that was not seen yet.
const RESPONSE: Span = Span::from_secs(5);
/// A charger that was stopped keeps its fail-safe current for so long: the register lies in an EEPROM, and a kettle must
/// not wear it out. It is as long as the shortest watchdog that is usual.
const EEPROM_REST: Span = Span::from_secs(30);
/// What happened, for the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum News {
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
pub(in crate::control) struct Charger {
    pub(in crate::control) setup: ChargerSetup,
    pub(in crate::control) settings: ChargerSettings,
    pub(in crate::control) wired: PhaseSet,
    pub(in crate::control) link: Link,
    pub(in crate::control) report: Option<ChargerReport>,
    pub(in crate::control) session: Session,
    pub(in crate::control) meeting: Meeting,
    /// Counter of its own meter, where the box has none.
    pub(in crate::control) meter_energy: Option<WattHour>,
    pub(in crate::control) obedience: Obedience,
    pub(in crate::control) read_back: ReadBack,
    pub(in crate::control) taper: Taper,
    pub(in crate::control) switch: PhaseSwitch,
    pub(in crate::control) wake: WakeUp,
    pub(in crate::control) solar: Solar,
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
    /// Since when its set-point is to be written again, until a write is confirmed.
    rewriting: Option<Mono>,
    watchdog_fits: Option<bool>,
    /// Its timer was read back since it last appeared and runs with our time-out, whatever it falls to.
    timer_verified: bool,
    /// The time-out that was read back last.
    timer_found: Option<Span>,
    watchdog_wrong_since: Option<Mono>,
    watchdog_told: bool,
    /// Kept after its time, so that the same figure is known when it is found again.
    box_limit: Option<BoxLimit>,
    /// It holds now.
    box_limits: bool,
    /// Programmed fail-safe current in force.
    fail_safe: Milliamp,
    /// The most that may be programmed: read back last, or ordered since.
    fail_safe_most: Milliamp,
    /// The start-up rule waits for the next decision.
    pub(in crate::control) appeared: bool,
    /// Good frames that each meter had when it appeared; raises wait for three more.
    pub(in crate::control) appeared_at_frames: Vec<u32>,
    /// When it last began or ceased to be offered current.
    pub(in crate::control) on_since: Option<Mono>,
    pub(in crate::control) off_since: Option<Mono>,
    /// How long it was offered current without a break before it was last stopped; `None` where its car drew nothing.
    ran_for: Option<Span>,
    /// Its next start waits until then, because it was interrupted.
    rests_until: Option<Mono>,
    pub(in crate::control) raised_at: Option<Mono>,
    /// From an order to the current that follows it, as this car was seen to take.
    response: Span,
    /// Its draw is above what it holds by more than is tolerated although the response time is over.
    overdue: bool,
    /// Its draw was so much above what it held when the response time was last over.
    above: Milliamp,
}

impl Charger {
    pub(in crate::control) fn new(setup: ChargerSetup, meters: usize) -> Self {
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
            meeting: Meeting::default(),
            meter_energy: None,
            obedience: Obedience::default(),
            read_back: ReadBack::default(),
            taper: Taper::default(),
            switch: PhaseSwitch::new(wired),
            wake: WakeUp::default(),
            solar: Solar::default(),
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
            rewriting: None,
            watchdog_fits,
            timer_verified: false,
            timer_found: None,
            watchdog_wrong_since: None,
            watchdog_told: false,
            box_limit: None,
            box_limits: false,
            fail_safe,
            fail_safe_most: fail_safe,
            appeared: false,
            appeared_at_frames: vec![0; meters],
            on_since: None,
            off_since: None,
            ran_for: None,
            rests_until: None,
            raised_at: None,
            response: RESPONSE,
            overdue: false,
            above: Milliamp::ZERO,
        }
    }

    pub(in crate::control) fn id(&self) -> &str {
        &self.setup.id
    }

    pub(in crate::control) fn order(&self) -> Milliamp {
        self.order
    }

    /// Since when the order has stood.
    pub(in crate::control) fn ordered_at(&self) -> Mono {
        self.order_since
    }

    /// The least that is worth offering: 6 A in whole steps.
    pub(in crate::control) fn least(&self) -> Milliamp {
        let step = self.step();
        Milliamp(LEAST_OFFER.0.saturating_add(step.0 - 1)).floor_to(step)
    }

    pub(in crate::control) fn step(&self) -> Milliamp {
        Milliamp(self.setup.step.0.max(1))
    }

    pub(in crate::control) fn state(&self) -> Option<PilotState> {
        self.report.map(|report| report.state)
    }

    pub(in crate::control) fn fail_safe(&self) -> Milliamp {
        self.fail_safe
    }

    pub(in crate::control) fn watchdog_verified(&self) -> Option<bool> {
        self.watchdog_fits
    }

    fn facts(&self, timing: &Timing) -> Facts {
        Facts {
            holds: self.holds(),
            most: self.setup.max_current,
            watchdog: self.setup.watchdog,
            acts_after: self.setup.watchdog.map(|ours| self.timer_found.map_or(ours, |found| ours.min(found))),
            verified: self.timer_verified,
            programmed: self.fail_safe_most,
            poll: timing.poll,
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
    pub(in crate::control) fn counted(&self, timing: &Timing) -> Milliamp {
        self.fixed(timing).unwrap_or_else(|| self.holding() + self.above)
    }

    /// A car that draws a little more than it is offered counts with what it draws, and is shared with like any other.
    pub(in crate::control) fn above(&self) -> Milliamp {
        if self.overdue { Milliamp::ZERO } else { self.above }
    }

    /// The most that it is offered now: the order, or an older one that may still hold.
    pub(in crate::control) fn holding(&self) -> Milliamp {
        self.order.max(self.held.map_or(Milliamp::ZERO, |held| held.figure))
    }

    /// A figure that no order of ours changes now: it is silent, somebody else writes its set-point, or its car does
    /// not follow.
    pub(in crate::control) fn fixed(&self, timing: &Timing) -> Option<Milliamp> {
        if let Some(figure) = self.link.counted(&self.facts(timing)) {
            return Some(figure.max(self.order));
        }
        let foreign = self.read_back.second_master() && self.held.is_some();
        if self.overdue {
            return Some(self.holding().max(largest(&self.current())));
        }
        foreign.then(|| self.holding())
    }

    /// Somebody else writes its set-point: ours goes up at most once a minute, and not against his.
    pub(in crate::control) fn master_forbids(&self, now: Mono, timing: &Timing) -> bool {
        let waits = now.since(self.order_since) < timing.second_master_rewrite;
        self.read_back.second_master() && (waits || self.held.is_some())
    }

    /// It has just appeared, and a car charges at it: the start-up rule leaves that car its least.
    pub(in crate::control) fn is_found_charging(&self, timing: &Timing) -> bool {
        self.appeared && self.state() == Some(PilotState::C) && self.counted(timing) >= self.least()
    }

    /// The same, and it never had an order: the appliance has just started.
    pub(in crate::control) fn is_found_at_start(&self, timing: &Timing) -> bool {
        !self.ordered && self.is_found_charging(timing)
    }

    /// Phases on which it counts.
    pub(in crate::control) fn phases(&self) -> PhaseSet {
        self.session.phases(self.active())
    }

    /// Its car has not shown yet which of three phases it uses.
    pub(in crate::control) fn phases_are_unknown(&self) -> bool {
        self.measured && self.active().len() > 1 && !self.session.knows_phases()
    }

    /// Phases that it may have switched through.
    pub(in crate::control) fn active(&self) -> PhaseSet {
        self.switch.active()
    }

    /// It can be told to use one phase or three.
    pub(in crate::control) fn can_switch(&self) -> bool {
        let says = self.report.and_then(|report| report.can_switch_phases);
        self.setup.can_switch_phases && self.wired.len() == 3 && says != Some(false)
    }

    /// Nothing is offered and nothing flows: its contactor may be switched.
    fn is_empty(&self) -> bool {
        let drained = if self.measured { !self.draws_current() } else { self.state() != Some(PilotState::C) };
        self.order == Milliamp::ZERO && self.link.is_up() && drained
    }

    /// Moves the switching of phases on; how it ended, if it did.
    pub(in crate::control) fn tick_switch(&mut self, now: Mono) -> Option<Switched> {
        let empty = self.is_empty();
        let shown = self.report.and_then(|report| report.phases_connected);
        let zero_since = self.effective_at().filter(|_| self.order == Milliamp::ZERO);
        let ended = self.switch.tick(now, phase_switch::Sight { empty, zero_since, shown });
        if ended.is_some() {
            self.session.relearn_phases();
            self.taper = Taper::default();
        }
        ended
    }

    /// How long its car has had an offer without a draw; `None` where there is none, it draws, or it ended by itself.
    pub(in crate::control) fn idle_for(&self, now: Mono) -> Option<Span> {
        let waits = matches!(self.state(), Some(PilotState::B | PilotState::C)) && self.link.is_up();
        let draws = if self.measured { self.draws_current() } else { self.state() == Some(PilotState::C) };
        let since = self.on_since.filter(|_| waits && !draws && !self.session.has_drawn)?;
        Some(now.since(since))
    }

    /// What a car is offered that has not begun to draw: the least, or it would jump to what it was raised to.
    pub(in crate::control) fn start_cap(&self, now: Mono) -> Milliamp {
        // One that has charged and ended by itself needs no more to begin, and one that nothing wakes keeps no more.
        let since = self.on_since.filter(|_| !self.session.has_drawn && !self.wake.is_told());
        WakeUp::start_cap(self.least(), since.map_or(Span::ZERO, |since| now.since(since)))
    }

    /// Changes the order; what it held before counts until it is known to be gone.
    pub(in crate::control) fn set_order(&mut self, now: Mono, offer: Milliamp) {
        self.ordered = true;
        if offer == self.order {
            return;
        }
        let before = self.order;
        let still = if self.overdue { before.max(largest(&self.current())) } else { before };
        self.past_orders.rotate_right(1);
        self.past_orders[0] = (now, before);
        if offer < before {
            let figure = self.held.map_or(still, |held| held.figure.max(still));
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
            let ran_for = self.on_since.take().map(|since| now.since(since));
            let ended = self.state() == Some(PilotState::D) || ran_for.is_some_and(|it| it >= IDLE_AFTER);
            // An offer that is taken away to wake the car comes again at once.
            if ended && !self.draws_current() && !self.wake.is_away() {
                self.session.passed = self.session.passed.saturating_add(1);
            }
            self.ran_for = ran_for.filter(|_| self.draws_current());
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

    /// What its timer is to fall to: its figure where it is offered current, else 0. The register is rewritten only when
    /// this differs. `forbidden`: it may not charge now. `replaced`: its place was given to another one meanwhile.
    ///
    /// A charger that is away keeps what it has: nothing can be written, and today's wish says nothing about the box.
    pub(in crate::control) fn program(&mut self, now: Mono, forbidden: bool, replaced: bool) {
        if self.setup.watchdog.is_none() || !self.link.is_up() {
            return;
        }
        let stopped_for = self.off_since.map_or(EEPROM_REST, |since| now.since(since));
        let offered = self.order >= self.least();
        let lingers = self.fail_safe > Milliamp::ZERO && !replaced && stopped_for < EEPROM_REST;
        let figure = if !forbidden && (offered || lingers) { self.setup.fail_safe } else { Milliamp::ZERO };
        self.fail_safe = figure;
        self.fail_safe_most = self.fail_safe_most.max(figure);
    }

    /// Counts it at `figure` until it has come down to its order.
    pub(in crate::control) fn hold(&mut self, now: Mono, figure: Milliamp) {
        let figure = self.held.map_or(figure, |held| held.figure.max(figure));
        if figure > self.order {
            self.held = Some(Held { figure, since: now });
        }
    }

    /// When the present order took effect at the pilot, as far as it can be known.
    pub(in crate::control) fn effective_at(&self) -> Option<Mono> {
        let shows = self.report.is_some_and(|report| report.offered.is_some() || report.set_point.is_some());
        if shows {
            return self.shown_at;
        }
        let written = self.written.filter(|written| written.offer == self.order)?;
        Some(written.at.max(self.order_since) + self.setup.write_latency)
    }

    /// When the last order was acknowledged.
    pub(in crate::control) fn written_at(&self) -> Option<Mono> {
        self.written.filter(|written| written.offer <= self.order).map(|written| written.at.max(self.order_since))
    }

    /// Finds out whether the car draws more than it holds although it should have followed by now. `hard`: the limit
    /// is passed by so much that less time is given.
    pub(in crate::control) fn check_response(&mut self, now: Mono, hard: bool, timing: &Timing) {
        let drawn = largest(&self.current());
        let excess = drawn - self.holding();
        let judged = self.measured && self.link.is_up() && self.response_is_over(now, hard, timing);
        self.overdue = judged && excess > FOLLOWS && obey::exceeds(drawn, self.holding());
        // A car that takes a little more than it is offered does so at the next offer as well.
        if judged || self.order == Milliamp::ZERO {
            self.above = if judged && excess > FOLLOWS { excess } else { Milliamp::ZERO };
        }
    }

    /// The car still draws more than it is ordered: it has not followed yet, or does not obey. It is not offered more
    /// before it does.
    pub(in crate::control) fn draws_above_order(&self) -> bool {
        self.measured && obey::exceeds(largest(&self.current()), self.order)
    }

    /// It does so although it should have come down by now.
    pub(in crate::control) fn is_overdue(&self) -> bool {
        self.overdue
    }

    fn response_is_over(&self, now: Mono, hard: bool, timing: &Timing) -> bool {
        let by_pilot = self.effective_at().is_some_and(|at| now.since(at) >= timing.cut_response);
        let by_write = self.written_at().is_some_and(|at| now.since(at) >= timing.cut_response_hard);
        by_pilot || (hard && by_write)
    }

    /// Releases what it held once the reduction was read back and the draw has followed, or 6 s have gone since.
    ///
    /// `shown` is the newest sample that every meter above it has given; `None` where there is no such meter.
    ///
    /// `Some` when the time alone has changed its link.
    pub(in crate::control) fn settle(&mut self, now: Mono, shown: Option<Mono>, timing: &Timing) -> Option<Change> {
        self.read_back.tick(now, timing);
        let facts = self.facts(timing);
        let change = self.link.tick(now, &facts);
        if change.is_some() {
            self.written = None;
        }
        self.release(now, shown, timing);
        self.assume(now);
        change
    }

    fn release(&mut self, now: Mono, shown: Option<Mono>, timing: &Timing) {
        self.box_limits &= self.box_limit.is_some_and(|it| now < it.until);
        let Some(held) = self.held else { return };
        let Some(effective) = self.effective_at().filter(|_| self.rewriting.is_none()) else { return };
        let since = effective.max(held.since);
        // A second master may come again with his next telegram.
        let alone = !self.read_back.second_master();
        let followed = self.measured && alone && largest(&self.current()) <= self.order + FOLLOWS;
        // What nobody measures at the charger must have gone from the meter.
        let until = since + timing.raise_after_cut;
        let visible = self.measured || shown.is_none_or(|sampled_at| sampled_at >= until);
        if followed || (now >= until && visible) {
            if followed {
                let took = now.since(held.since).0;
                self.response = Span((self.response.0 * 3 + took) / 4);
            }
            self.held = None;
        }
    }

    /// How long this car takes to follow a cut.
    pub(in crate::control) fn response(&self) -> Span {
        self.response
    }

    /// A second master's figure is above ours and a fuse above it is passed: a reduction waits for no minute.
    pub(in crate::control) fn contest(&mut self, now: Mono, overload: bool) {
        let above = self.held.is_some_and(|held| held.figure > self.order);
        if overload && above && self.rewriting.is_none() && self.link.is_up() && self.read_back.contest(now) {
            self.write_again(now);
        }
    }

    fn write_again(&mut self, now: Mono) {
        self.rewrite = self.rewrite.wrapping_add(1);
        self.rewriting = Some(now);
    }

    /// It answers, and takes no order.
    pub(in crate::control) fn takes_no_order(&self, now: Mono, timing: &Timing) -> bool {
        self.ignored_since(timing).is_some_and(|since| now >= since)
    }

    /// When it should have taken the order at the latest, although it confirms no write of it.
    fn ignored_since(&self, timing: &Timing) -> Option<Mono> {
        // What its task has written since, without a lease, is not ours.
        let unconfirmed =
            self.written.is_none_or(|written| written.offer > self.order && written.at < self.order_since);
        let since = self.rewriting.or(unconfirmed.then_some(self.order_since))?;
        Some(since + timing.cut_response + self.setup.write_latency)
    }

    /// Judges the car's obedience; `true` when it has just been found not to obey.
    pub(in crate::control) fn watch(&mut self, now: Mono, overload: bool, timing: &Timing) -> bool {
        if !self.measured || !self.link.is_up() {
            return false;
        }
        // Against what the box holds: a foreign set-point is not the car's fault. A box that does not take ours is no
        // better than a car that does not follow it.
        let ignored = self.ignored_since(timing).filter(|since| now >= *since);
        let sight = Sight {
            drawn: largest(&self.current()),
            offer: if ignored.is_some() { self.order } else { self.holding() },
            effective_at: self.effective_at().or(ignored),
            overload,
        };
        self.obedience.watch(now, &sight, timing)
    }

    /// While it is silent only min(last offer, fail-safe current) is written.
    pub(in crate::control) fn fall_back(&mut self, now: Mono) {
        let offer = if self.link.was_never_heard() { self.fail_safe } else { self.order.min(self.fail_safe) };
        self.set_order(now, offer);
    }

    pub(in crate::control) fn command(&self) -> ChargerCommand {
        let contact = self.link.contact();
        ChargerCommand {
            offer: (self.ordered && contact != Contact::Open).then_some(self.order),
            phases: self.ordered_phases(),
            line: self.ordered_line(),
            fail_safe: self.fail_safe,
            contact,
            rewrite: self.rewrite,
            verify_watchdog: self.verify_watchdog,
            open: self.obedience.open(),
        }
    }

    /// Phases that the box is told, as a number; `None` leaves it as it is.
    ///
    /// What carries current is switched by nobody. A box that restarted, or that its own timer raised, may be charging
    /// on other phases than it was told; only what it shows to be so already may be said again meanwhile. Which one of
    /// three it uses no box shows.
    fn ordered_phases(&self) -> Option<u8> {
        let ordered = self.switch.ordered().filter(|_| self.can_switch() && self.link.is_up())?;
        let shown = self.report.and_then(|report| report.phases_connected).map(u32::from);
        let is_so = shown == Some(ordered.len()) && !self.switch.is_told() && !self.setup.chooses_phase;
        u8::try_from(ordered.len()).ok().filter(|_| is_so || self.is_empty())
    }

    fn ordered_line(&self) -> Option<u8> {
        let ordered = self.switch.ordered().filter(|ordered| self.setup.chooses_phase && ordered.len() == 1)?;
        let own = self.setup.phases.iter().position(|phase| ordered.has(*phase))?;
        u8::try_from(own).ok()
    }

    /// The offer to be left behind at an orderly stop.
    pub(in crate::control) fn last_offer(&self) -> Milliamp {
        let charging = self.state() == Some(PilotState::C) && self.link.is_up();
        let safe = charging && self.watchdog_fits == Some(true);
        let offer = self.order.min(if safe { LEAST_OFFER } else { self.fail_safe });
        if offer < LEAST_OFFER { Milliamp::ZERO } else { offer }
    }

    /// When time alone will change something here.
    pub(in crate::control) fn next_turn(&self, timing: &Timing) -> Option<Mono> {
        let held = self
            .held
            .and_then(|held| self.effective_at().map(|effective| effective.max(held.since) + timing.raise_after_cut));
        match (self.link.next_turn(&self.facts(timing)), held) {
            (Some(link), Some(held)) => Some(link.min(held)),
            (link, held) => link.or(held),
        }
    }
}

//! What a charger task does next: decided here without a wire and without a clock, done in `task`.
//!
//! Two things may be under way at the same time, one write of the set-point and one other job, so that an order never
//! waits for a poll that waits for its turn on a slow bus.

use crate::command::{ChargerCommand, Contact, LastOffer, Leased};
use crate::control::Timing;
use crate::device::charger::driver::Wishes;
use crate::device::charger::register::settable;
use crate::link::modbus::Priority;
use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::Watchdog;

/// Writes to a charger that does not answer before it is left alone until its fail-safe timer must have acted.
const LAPSE_ATTEMPTS: u32 = 3;

/// Silence reckoned with where a charger is fed by any telegram and no time-out is configured: its factory setting.
const FACTORY_WATCHDOG: Span = Span::from_secs(30);

/// What a charger task must know of its charger.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Wired maximum; nothing above it is ever written.
    pub(super) max: Milliamp,
    /// Fail-safe current of the configuration, until the first order names one.
    pub(super) fail_safe: Milliamp,
    /// Time-out to be programmed; `None` where there is no such timer.
    pub(super) watchdog: Option<Span>,
    /// Authorise by ourselves.
    pub(super) auto_authorize: bool,
    /// The number of phases may be ordered.
    pub(super) phase_switching: bool,
    /// Any telegram feeds its fail-safe timer.
    pub(super) fed_by_any_telegram: bool,
}

/// A job beside the set-point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// A poll; `first`: only what is needed to know the present offer.
    Poll { first: bool },
    /// Whatever the driver has to do.
    Chore,
    /// A person's wish.
    Act,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Take back the write that is under way, if it was not sent yet.
    pub(super) drop_write: bool,
    /// Take back the job that is under way.
    pub(super) drop_job: bool,
    /// Tell the driver that nothing known of the charger holds any more.
    pub(super) forget: bool,
    /// Write this set-point.
    pub(super) write: Option<(Milliamp, Priority)>,
    /// Begin this job.
    pub(super) job: Option<Job>,
    /// Plan again at this time although nothing happened.
    pub(super) wake: Mono,
}

/// What is known of the charger's set-point.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Last acknowledged write, or what was read at the first contact.
    confirmed: Option<Milliamp>,
    /// Highest of those written since then that may or may not have arrived.
    doubt: Option<Milliamp>,
    /// Last read back.
    seen: Option<Milliamp>,
}

impl Held {
    fn doubt(&mut self, offer: Milliamp) {
        self.doubt = self.doubt.max(Some(offer));
    }

    fn highest(&self) -> Option<Milliamp> {
        self.confirmed.max(self.doubt).max(self.seen)
    }

    fn lowest(&self) -> Option<Milliamp> {
        [self.confirmed, self.doubt, self.seen].into_iter().flatten().min()
    }
}

/// The time after a lease's end.
#[derive(Clone, Copy, Debug)]
struct Lapse {
    /// Confirmed since the last doubt.
    written: Option<Milliamp>,
    /// … and read back, or less.
    done: bool,
    attempts: u32,
    next: Mono,
}

/// How a write of the set-point ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteEnd {
    /// Acknowledged.
    Confirmed,
    /// The charger is there and said no.
    Refused {
        /// It may have done it all the same.
        maybe: bool,
    },
    /// No good answer.
    Failed {
        /// It may have arrived.
        maybe: bool,
    },
    /// It was not sent.
    NotAsked,
}

/// The state between two plans.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    timing: Timing,
    order: Leased<ChargerCommand>,
    /// A lease was granted since the start: there is a control loop, and the order says something.
    granted: bool,
    /// Until then it is waited for.
    grace_until: Mono,
    lapse: Option<Lapse>,
    /// The present offer was read since the contact began.
    opened: bool,
    /// Last number of `Contact::WriteFirst` that was served.
    attempt: Option<u32>,
    read_after_write: bool,
    held: Held,
    /// A write is due although the set-point is the same.
    pending: bool,
    /// The last write got no answer: polls wait for it.
    write_failed: bool,
    forget: bool,
    writing: Option<Milliamp>,
    job: Option<Job>,
    next_poll: Mono,
    retry_at: Mono,
    chore_due: bool,
}

impl Machine {
    pub(super) fn new(settings: Settings, timing: Timing, now: Mono) -> Self {
        Self {
            settings,
            timing,
            order: Leased::default(),
            granted: false,
            grace_until: now + timing.lease,
            lapse: None,
            opened: false,
            attempt: None,
            read_after_write: false,
            held: Held::default(),
            pending: false,
            write_failed: false,
            forget: false,
            writing: None,
            job: None,
            next_poll: now,
            retry_at: now,
            chore_due: false,
        }
    }

    /// The newest order, new or only renewed.
    pub(super) fn order(&mut self, order: Leased<ChargerCommand>, now: Mono) {
        let before = std::mem::replace(&mut self.order, order).order;
        let after = order.order;
        let first = !self.granted;
        self.granted |= order.valid_until.is_some();
        let silent = |contact| matches!(contact, Contact::WriteFirst(_) | Contact::Quiet);
        match after.contact {
            Contact::Open if before.contact != Contact::Open => self.begin_contact(now),
            Contact::Normal if silent(before.contact) => {
                self.forget = true;
                self.next_poll = now;
            }
            _ => {}
        }
        if !silent(after.contact) {
            self.attempt = None;
        }
        if !first {
            if after.verify_watchdog != before.verify_watchdog {
                self.forget = true;
                self.next_poll = now;
            }
            // A charger whose timer must be looked at anew may have lost its set-point as well.
            if after.rewrite != before.rewrite || self.forget {
                self.pending = true;
                self.retry_at = now;
            }
        }
        if after.offer < before.offer {
            self.retry_at = now;
        }
    }

    fn begin_contact(&mut self, now: Mono) {
        self.opened = false;
        self.forget = true;
        self.next_poll = now;
        self.chore_due = false;
    }

    /// A person's wish may be served now.
    pub(super) fn may_act(&self, now: Mono) -> bool {
        self.leased(now) && self.in_contact() && self.job.is_none()
    }

    /// Somebody who is asked for a wish now must say no.
    pub(super) fn must_refuse(&self, now: Mono) -> bool {
        !self.leased(now) || !self.in_contact()
    }

    /// What is wanted beside the set-point.
    pub(super) fn wishes(&self) -> Wishes {
        let order = &self.order.order;
        Wishes {
            watchdog: self.settings.watchdog.map(|timeout| Watchdog { timeout, fail_safe: order.fail_safe }),
            phases: order.phases.filter(|_| self.settings.phase_switching),
            line: order.line.filter(|_| self.settings.phase_switching),
            authorize: self.settings.auto_authorize,
            open: order.open,
        }
    }

    /// Whether nothing should be sent but what an orderly stop must try.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.order.order.contact, Contact::WriteFirst(_) | Contact::Quiet)
    }

    fn leased(&self, now: Mono) -> bool {
        self.order.valid_until.is_some_and(|end| now < end)
    }

    fn in_contact(&self) -> bool {
        match self.order.order.contact {
            Contact::Open => self.opened,
            Contact::Normal => true,
            Contact::WriteFirst(_) | Contact::Quiet => false,
        }
    }

    fn target(&self, step: Milliamp) -> Option<Milliamp> {
        self.order.order.offer.map(|offer| settable(offer, step, self.settings.max))
    }

    /// What to do now. `step` is the set-point's resolution at present. The caller does all that the plan says.
    pub(super) fn plan(&mut self, now: Mono, step: Milliamp) -> Plan {
        let mut plan = Plan { wake: Mono(i64::MAX), ..Plan::default() };
        if self.leased(now) {
            if self.lapse.take().is_some() {
                self.forget = true;
                self.next_poll = now;
                self.retry_at = now;
            }
            plan.wake = self.order.valid_until.unwrap_or(plan.wake);
            match self.order.order.contact {
                Contact::Quiet => self.drop_all(&mut plan),
                Contact::WriteFirst(number) => self.plan_attempt(now, number, step, &mut plan),
                Contact::Open if !self.opened => self.plan_opening(now, &mut plan),
                Contact::Open | Contact::Normal => self.plan_normal(now, step, &mut plan),
            }
        } else if !self.granted && now < self.grace_until {
            plan.wake = self.grace_until;
        } else {
            self.plan_lapse(now, step, &mut plan);
        }
        plan.forget = std::mem::take(&mut self.forget);
        plan.wake = plan.wake.max(now + Span(1));
        plan
    }

    fn plan_attempt(&mut self, now: Mono, number: u32, step: Milliamp, plan: &mut Plan) {
        if self.attempt != Some(number) {
            self.attempt = Some(number);
            self.drop_all(plan);
            self.read_after_write = false;
            if let Some(target) = self.target(step) {
                self.begin_write(now, target, Priority::Reduction, plan);
            }
        } else if self.read_after_write && self.writing.is_none() && self.job.is_none() {
            self.read_after_write = false;
            self.begin_job(Job::Poll { first: true }, plan);
        }
    }

    fn plan_opening(&mut self, now: Mono, plan: &mut Plan) {
        self.drop_write(plan);
        self.plan_poll(now, true, plan);
    }

    fn plan_normal(&mut self, now: Mono, step: Milliamp, plan: &mut Plan) {
        let target = self.target(step);
        let unlike = self.pending || self.held.doubt.is_some() || self.held.confirmed != target;
        let mut due = false;
        match (target, self.writing) {
            (Some(target), Some(writing)) if target < writing => {
                self.drop_write(plan);
                self.begin_write(now, target, Priority::Reduction, plan);
            }
            (Some(target), None) if unlike => {
                due = true;
                if now >= self.retry_at {
                    let lower = self.held.highest().is_some_and(|highest| target < highest);
                    let priority = if lower { Priority::Reduction } else { Priority::SetPoint };
                    self.begin_write(now, target, priority, plan);
                } else {
                    plan.wake = plan.wake.min(self.retry_at);
                }
            }
            _ => {}
        }
        // Before the next poll: on a bus whose round is longer than the period a poll is always due.
        if self.chore_due && self.job.is_none() && self.writing.is_none() && !due && target.is_some() {
            self.chore_due = false;
            self.begin_job(Job::Chore, plan);
        }
        if !(self.write_failed && (due || self.writing.is_some())) {
            self.plan_poll(now, false, plan);
        }
    }

    fn plan_poll(&mut self, now: Mono, first: bool, plan: &mut Plan) {
        if self.job.is_some() {
            return;
        }
        if now >= self.next_poll {
            self.next_poll = now + self.timing.poll;
            self.begin_job(Job::Poll { first }, plan);
        } else {
            plan.wake = plan.wake.min(self.next_poll);
        }
    }

    /// The control loop is gone: min(present offer, programmed fail-safe current) until it is read back, then nothing
    /// that feeds the charger's own timer. A charger without one is watched: a moment without supply may have raised it.
    fn plan_lapse(&mut self, now: Mono, step: Milliamp, plan: &mut Plan) {
        let silent = self.is_silent() && self.settings.fed_by_any_telegram;
        if self.lapse.is_none() {
            self.drop_job(plan);
            self.read_after_write = false;
            let rest = if silent { self.rest() } else { Span::ZERO };
            let attempts = if silent { LAPSE_ATTEMPTS } else { 0 };
            self.lapse = Some(Lapse { written: None, done: false, attempts, next: now + rest });
        }
        let Some(Lapse { written, done, next, .. }) = self.lapse else { return };
        if done {
            if !self.settings.fed_by_any_telegram {
                self.plan_poll(now, false, plan);
            }
            return;
        }
        let target = self.lapse_target(step);
        if let Some(writing) = self.writing {
            if target.is_some_and(|target| writing <= target) {
                return;
            }
            self.drop_write(plan);
        }
        if self.job.is_some() {
            return;
        }
        if now < next {
            plan.wake = plan.wake.min(next);
            return;
        }
        match target {
            Some(target) if written.is_none() => self.begin_write(now, target, Priority::Reduction, plan),
            Some(_) | None => self.begin_job(Job::Poll { first: true }, plan),
        }
    }

    /// An orderly stop begins: nothing that is under way is waited for.
    pub(super) fn stop(&mut self) {
        self.drop_all(&mut Plan::default());
    }

    /// What an orderly stop writes; `None` while the present offer is not known and must be read first.
    pub(super) fn left_behind(&self, last: LastOffer, step: Milliamp) -> Option<Milliamp> {
        match last {
            LastOffer::AtMost(offer) => self.lowered_to(offer, step),
            LastOffer::Lapse => self.lapse_target(step),
        }
    }

    /// `None` while the present offer is not known at all.
    fn lapse_target(&self, step: Milliamp) -> Option<Milliamp> {
        let fail_safe = if self.granted { self.order.order.fail_safe } else { self.settings.fail_safe };
        self.lowered_to(fail_safe, step)
    }

    /// `ceiling`, or less where the charger may hold less or was ordered less; nobody may raise it any more.
    fn lowered_to(&self, ceiling: Milliamp, step: Milliamp) -> Option<Milliamp> {
        let present = self.held.lowest().or(Some(Milliamp::ZERO).filter(|zero| ceiling <= *zero))?;
        let ordered = self.order.order.offer.unwrap_or(present);
        Some(settable(present.min(ceiling).min(ordered), step, self.settings.max))
    }

    /// Until the fail-safe timer of a charger that may hear us must have acted.
    fn rest(&self) -> Span {
        self.settings.watchdog.unwrap_or(FACTORY_WATCHDOG) + self.timing.quiet_extra
    }

    /// The bus had no time: that is no attempt.
    fn lapse_waits(&mut self, now: Mono) {
        if let Some(lapse) = &mut self.lapse {
            lapse.next = now + self.timing.poll;
        }
    }

    fn lapse_failed(&mut self, now: Mono) {
        let rest = self.rest();
        let Some(lapse) = &mut self.lapse else { return };
        lapse.written = None;
        lapse.attempts = lapse.attempts.saturating_add(1);
        lapse.next = now
            + if lapse.attempts < LAPSE_ATTEMPTS {
                self.timing.poll
            } else if self.settings.fed_by_any_telegram {
                rest
            } else {
                self.timing.charger_silent
            };
    }

    fn drop_all(&mut self, plan: &mut Plan) {
        self.drop_write(plan);
        self.drop_job(plan);
    }

    fn drop_write(&mut self, plan: &mut Plan) {
        if let Some(offer) = self.writing.take() {
            plan.drop_write = true;
            self.held.doubt(offer);
            self.pending = true;
        }
    }

    fn drop_job(&mut self, plan: &mut Plan) {
        plan.drop_job |= self.job.take().is_some();
    }

    fn begin_write(&mut self, now: Mono, offer: Milliamp, priority: Priority, plan: &mut Plan) {
        self.pending = false;
        self.retry_at = now + self.timing.poll;
        self.writing = Some(offer);
        plan.write = Some((offer, priority));
    }

    fn begin_job(&mut self, job: Job, plan: &mut Plan) {
        self.job = Some(job);
        plan.job = Some(job);
    }

    /// A person's wish is being served.
    pub(super) fn acting(&mut self) {
        self.job = Some(Job::Act);
    }

    /// A write of `offer` ended. Returns the highest set-point that may now be in force without having been confirmed.
    pub(super) fn wrote(&mut self, offer: Milliamp, end: WriteEnd, now: Mono) -> Option<Milliamp> {
        self.writing = None;
        self.write_failed = matches!(end, WriteEnd::Failed { .. });
        match end {
            WriteEnd::Confirmed => {
                self.held = Held { confirmed: Some(offer), doubt: None, seen: None };
                self.read_after_write = matches!(self.order.order.contact, Contact::WriteFirst(_));
                if let Some(lapse) = &mut self.lapse {
                    lapse.written = Some(offer);
                    lapse.next = now;
                }
                None
            }
            WriteEnd::Refused { maybe } | WriteEnd::Failed { maybe } => {
                self.pending = true;
                self.lapse_failed(now);
                if maybe {
                    self.held.doubt(offer);
                    return self.held.doubt;
                }
                None
            }
            WriteEnd::NotAsked => {
                self.pending = true;
                self.retry_at = now + self.timing.poll;
                self.lapse_waits(now);
                None
            }
        }
    }

    /// What stands there after a lease's end.
    fn lapse_read(&mut self, set_point: Option<Milliamp>, now: Mono) {
        let Some(lapse) = &mut self.lapse else { return };
        let Some(written) = lapse.written else { return };
        let holds = set_point.is_some_and(|set_point| set_point <= written);
        let was_done = std::mem::replace(&mut lapse.done, holds);
        if !holds && was_done {
            // Not a failed attempt: it obeyed, and something has raised it since.
            (lapse.written, lapse.next) = (None, now);
        } else if !holds {
            self.lapse_failed(now);
        }
    }

    /// A poll was answered.
    pub(super) fn polled(&mut self, set_point: Option<Milliamp>, now: Mono) {
        self.job = None;
        self.lapse_read(set_point, now);
        if self.writing.is_none() {
            self.held.seen = set_point;
        }
        let opening = self.order.order.contact == Contact::Open && !self.opened;
        if opening || (self.held.confirmed.is_none() && self.lapse.is_some()) {
            self.opened = true;
            self.held = Held { confirmed: set_point, doubt: None, seen: set_point };
            // Whatever stands there, it becomes ours with the first order.
            self.pending = true;
            self.write_failed = false;
        }
        self.chore_due = true;
    }

    /// A poll got no good answer; `asked`: it was sent.
    pub(super) fn poll_failed(&mut self, asked: bool, now: Mono) {
        self.job = None;
        if !asked {
            self.lapse_waits(now);
        } else if self.lapse.is_some_and(|lapse| !lapse.done) {
            self.lapse_failed(now);
        }
    }

    /// A chore or a wish ended; `rewrite`: the set-point must be written anew.
    pub(super) fn job_done(&mut self, rewrite: bool) {
        self.job = None;
        self.pending |= rewrite;
    }
}

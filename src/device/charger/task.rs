//! The task of one charger: does what `machine` plans and tells the control thread what came of it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::{ChargerAction, LastOffer};
use crate::control::Timing;
use crate::device::charger::driver::{ChargerDriver, Chore, Complaint, DriverError, Notice, Seen};
use crate::device::charger::machine::{Job, Machine, Plan, Settings, WriteEnd};
use crate::device::{ChargerChannels, ControlLink, DeviceRef, ToControl};
use crate::event::{Event, EventType};
use crate::link::modbus::Priority;
use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::ChargerObservation;
use crate::status::{Health, Identity};

/// Between two attempts of an orderly stop.
const STOP_RETRY: Duration = Duration::from_millis(250);
/// Attempts of an orderly stop with a charger that was silent before, or that confirms and cannot be read. Others are
/// tried until the task is cancelled: the time for the stop is the appliance's.
const STOP_ATTEMPTS: u32 = 3;
/// A charger that was not asked for so many times that after which a silent one is called so is reported as failing.
const NOT_ASKED: i64 = 2;
/// Set-points refused one after the other that make a charger one that cannot be led.
const REFUSALS: u32 = 3;
/// Refusals that are remembered, so that each is said once although another comes between.
const SAID: usize = 8;
/// Health, identity and risks are told at most this often.
const HEALTH_PERIOD: Span = Span::from_secs(1);

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

enum Done {
    Poll(Result<Seen, DriverError>),
    Chore(Chore),
    Act(ChargerAction, Result<(), DriverError>),
}

struct Write<'a> {
    offer: Milliamp,
    sent_at: Mono,
    running: Running<'a, Result<(), DriverError>>,
}

struct Work<'a> {
    begun: Mono,
    running: Running<'a, Done>,
}

/// Keeps one charger at its newest order until it is cancelled or told to stop. `id` is the configuration's.
pub(super) async fn run<D: ChargerDriver>(
    driver: D,
    id: &str,
    settings: Settings,
    channels: ChargerChannels,
    timing: Timing,
    clock: Clock,
    cancel: CancellationToken,
) {
    let machine = Machine::new(settings, timing, clock.now());
    let voice = Voice::new(id, &channels);
    let mut task = Task { driver: &driver, machine, voice, timing, clock, answered_at: clock.now(), leaving: None };
    if cancel.run_until_cancelled(task.serve(channels)).await.is_none()
        && let Some(last) = task.leaving
    {
        task.voice.note(match last {
            LastOffer::AtMost(offer) => format!("{offer} could not be left behind in time"),
            LastOffer::Lapse => "its fail-safe current could not be left behind in time".to_owned(),
        });
    }
    task.voice.tell(Mono(i64::MAX), driver.link());
}

struct Task<'a, D> {
    driver: &'a D,
    machine: Machine,
    voice: Voice,
    timing: Timing,
    clock: Clock,
    /// Its last good answer, or the start.
    answered_at: Mono,
    /// What an orderly stop is leaving behind.
    leaving: Option<LastOffer>,
}

impl<'a, D: ChargerDriver> Task<'a, D> {
    async fn serve(&mut self, mut channels: ChargerChannels) {
        let mut write: Option<Write<'a>> = None;
        let mut work: Option<Work<'a>> = None;
        let (mut orders_open, mut actions_open, mut last_offer_open) = (true, true, true);
        let order = *channels.orders.borrow_and_update();
        self.machine.order(order, self.clock.now());
        loop {
            let last_offer = *channels.last_offer.borrow_and_update();
            if let Some(last) = last_offer {
                drop((write, work));
                let order = *channels.orders.borrow();
                self.machine.order(order, self.clock.now());
                return self.stop(last).await;
            }
            let now = self.clock.now();
            let plan = self.machine.plan(now, self.driver.step());
            let wake = self.begin(plan, now, &mut write, &mut work).min(self.voice.tell(now, self.driver.link()));
            let wake = Instant::from_std(self.clock.instant(wake.min(now + Span::from_secs(3600))));
            let takes_actions = actions_open && (self.machine.may_act(now) || self.machine.must_refuse(now));
            tokio::select! {
                biased;
                changed = channels.last_offer.changed(), if last_offer_open => last_offer_open = changed.is_ok(),
                end = finished(write.as_mut().map(|write| &mut write.running)) => {
                    if let Some(write) = write.take() {
                        self.wrote(&write, end);
                    }
                }
                changed = channels.orders.changed(), if orders_open => {
                    orders_open = changed.is_ok();
                    let order = *channels.orders.borrow_and_update();
                    self.machine.order(order, self.clock.now());
                }
                done = finished(work.as_mut().map(|work| &mut work.running)) => {
                    if let Some(work) = work.take() {
                        self.done(work.begun, done);
                    }
                }
                action = channels.actions.recv(), if takes_actions => match action {
                    Some(action) if self.machine.may_act(self.clock.now()) => {
                        self.machine.acting();
                        let driver = self.driver;
                        let running = Box::pin(async move { Done::Act(action, driver.act(action).await) });
                        work = Some(Work { begun: self.clock.now(), running });
                    }
                    Some(action) => self.voice.note(format!("{action:?} was not done: the charger cannot be reached")),
                    None => actions_open = false,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Starts and drops what the plan says; returns when to plan again.
    fn begin(&self, plan: Plan, now: Mono, write: &mut Option<Write<'a>>, work: &mut Option<Work<'a>>) -> Mono {
        let driver = self.driver;
        if plan.drop_write {
            *write = None;
        }
        if plan.drop_job {
            *work = None;
        }
        if plan.forget {
            driver.forget();
        }
        if let Some((offer, priority)) = plan.write {
            if self.machine.is_silent() {
                driver.unheard();
            }
            let running = Box::pin(async move { driver.write_set_point(offer, priority).await });
            *write = Some(Write { offer, sent_at: now, running });
        }
        let running: Option<Running<'a, Done>> = match plan.job {
            None => None,
            Some(Job::Poll { first }) => Some(Box::pin(async move { Done::Poll(driver.poll(first).await) })),
            Some(Job::Chore) => {
                let wishes = self.machine.wishes();
                Some(Box::pin(async move { Done::Chore(driver.chore(wishes).await) }))
            }
            Some(Job::Act) => None,
        };
        if let Some(running) = running {
            *work = Some(Work { begun: now, running });
        }
        plan.wake
    }

    fn wrote(&mut self, write: &Write<'a>, result: Result<(), DriverError>) {
        let at = self.clock.now();
        let end = match &result {
            Ok(()) => WriteEnd::Confirmed,
            Err(error) if error.was_not_asked() => WriteEnd::NotAsked,
            Err(error) if error.is_refusal() => WriteEnd::Refused { maybe: error.may_have_been_obeyed() },
            Err(error) => WriteEnd::Failed { maybe: error.may_have_been_obeyed() },
        };
        let unconfirmed = self.machine.wrote(write.offer, end, at);
        match (&result, end) {
            (Ok(()), _) => self.voice.takes_set_points(),
            (Err(error), WriteEnd::Refused { .. }) => self.voice.refuses_set_point(write.offer, error),
            (Err(_), _) => {}
        }
        match result {
            Ok(()) => {
                self.answered(at);
                self.voice.observe(ChargerObservation::Written { offer: write.offer, sent_at: write.sent_at, at });
            }
            // It is there: only what it offers is in doubt.
            Err(_) if matches!(end, WriteEnd::Refused { .. }) => {
                self.answered_at = at;
                self.observe_failure(unconfirmed, at);
            }
            Err(error) => self.failed(&format!("set-point of {}: {error}", write.offer), &error, unconfirmed, at),
        }
    }

    fn done(&mut self, begun: Mono, done: Done) {
        let at = self.clock.now();
        match done {
            Done::Poll(Ok(mut seen)) => {
                seen.report.read_begun = begun;
                seen.report.received_at = at;
                self.machine.polled(seen.report.set_point, at);
                self.answered(at);
                self.voice.complain(seen.complaints);
                self.voice.observe(ChargerObservation::Report(seen.report));
            }
            Done::Poll(Err(error)) => {
                self.machine.poll_failed(!error.was_not_asked(), at);
                self.failed(&error.to_string(), &error, None, at);
            }
            Done::Chore(Chore { notices, result }) => {
                self.machine.job_done(notices.contains(&Notice::RewriteSetPoint));
                notices.into_iter().for_each(|notice| self.voice.notice(notice));
                match result {
                    Ok(()) => {}
                    Err(error) if error.is_answer() => self.refused(error.to_string(), at),
                    Err(error) => self.failed(&error.to_string(), &error, None, at),
                }
            }
            Done::Act(action, result) => {
                self.machine.job_done(false);
                match result {
                    Ok(()) => self.answered(at),
                    Err(error @ DriverError::Impossible(_)) => self.voice.note(format!("{action:?}: {error}")),
                    Err(error) if error.is_answer() => self.refused(format!("{action:?}: {error}"), at),
                    Err(error) => self.failed(&format!("{action:?}: {error}"), &error, None, at),
                }
            }
        }
    }

    fn answered(&mut self, at: Mono) {
        self.answered_at = at;
        self.voice.good();
    }

    /// Something beside set-point and poll was refused: the charger is there, and its silence is not counted.
    fn refused(&mut self, text: String, at: Mono) {
        self.answered_at = at;
        self.voice.refused(text);
    }

    fn failed(&mut self, text: &str, error: &DriverError, unconfirmed: Option<Milliamp>, at: Mono) {
        let round = self.round();
        if error.was_not_asked() {
            self.voice.murmur(text);
            // Nothing is known to be wrong with the charger. But a bus that has no time for it for so long is no better.
            let silent = self.timing.charger_silent.0.max(round.0.max(self.timing.poll.0).saturating_mul(3));
            if at.since(self.answered_at).0 < silent.saturating_mul(NOT_ASKED) {
                return;
            }
        } else {
            self.voice.bad(text, error.is_timeout());
        }
        self.observe_failure(unconfirmed, at);
    }

    fn observe_failure(&self, unconfirmed: Option<Milliamp>, at: Mono) {
        let (round, period) = (self.round(), self.timing.poll);
        self.voice.observe(ChargerObservation::Failed { at, unconfirmed, round, period });
    }

    fn round(&self) -> Span {
        Span(i64::try_from(self.driver.round().as_millis()).unwrap_or(i64::MAX))
    }

    /// Leaves behind what `last` says: writes it until it is read back, and ends.
    async fn stop(&mut self, last: LastOffer) {
        self.leaving = Some(last);
        self.machine.stop();
        let silent = self.machine.is_silent();
        let (mut attempts, mut unread) = (0, 0);
        loop {
            match self.leave(last).await {
                Leaving::Done => break,
                Leaving::Unread => unread += 1,
                Leaving::Failed => {}
            }
            attempts += 1;
            if unread == STOP_ATTEMPTS || silent && attempts == STOP_ATTEMPTS {
                break;
            }
            sleep(STOP_RETRY).await;
        }
        self.leaving = None;
    }

    /// One attempt: the present offer where it is not known, the write, and what stands there then.
    async fn leave(&mut self, last: LastOffer) -> Leaving {
        if self.machine.left_behind(last, self.driver.step()).is_none() {
            self.read_now().await;
        }
        let Some(offer) = self.machine.left_behind(last, self.driver.step()) else { return Leaving::Failed };
        if self.machine.is_silent() {
            self.driver.unheard();
        }
        let sent_at = self.clock.now();
        let running = Box::pin(self.driver.write_set_point(offer, Priority::Reduction));
        let mut write = Write { offer, sent_at, running };
        let result = (&mut write.running).await;
        let confirmed = result.is_ok();
        self.wrote(&write, result);
        if !confirmed {
            return Leaving::Failed;
        }
        match self.read_now().await {
            Some(set_point) if set_point <= offer => Leaving::Done,
            Some(_) => Leaving::Failed,
            None => Leaving::Unread,
        }
    }

    /// The set-point that stands there.
    async fn read_now(&mut self) -> Option<Milliamp> {
        let begun = self.clock.now();
        let seen = self.driver.poll(true).await;
        let set_point = seen.as_ref().ok().and_then(|seen| seen.report.set_point);
        self.done(begun, Done::Poll(seen));
        set_point
    }
}

/// How an attempt of an orderly stop ended.
enum Leaving {
    /// It stands there, or less.
    Done,
    /// It was confirmed, but cannot be read.
    Unread,
    /// Not confirmed, or more was read back.
    Failed,
}

async fn finished<F: Future + Unpin>(running: Option<F>) -> F::Output {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

/// What is told to the control thread and to the log.
struct Voice {
    name: String,
    id: String,
    index: usize,
    control: ControlLink,
    health: Health,
    told: Health,
    told_at: Option<Mono>,
    complaints: Vec<Complaint>,
    /// Refusals that were said.
    said: VecDeque<String>,
    identity: Owed<Option<Identity>>,
    risk: Owed<Option<String>>,
    /// What the driver found.
    found: Option<String>,
    /// Set-points refused since it last took one.
    refusals: u32,
    /// It takes no set-point: the sentence for it.
    refusing: Option<String>,
}

/// Something that the control thread must hear of in the end, even when it could not take it at first.
#[derive(Default)]
struct Owed<T> {
    now: T,
    told: T,
}

impl Voice {
    fn new(id: &str, channels: &ChargerChannels) -> Self {
        Self {
            name: format!("charger {id}"),
            id: id.to_owned(),
            index: channels.index,
            control: channels.control.clone(),
            health: Health::default(),
            told: Health::default(),
            told_at: None,
            complaints: Vec::new(),
            said: VecDeque::new(),
            identity: Owed::default(),
            risk: Owed::default(),
            found: None,
            refusals: 0,
            refusing: None,
        }
    }

    fn observe(&self, observation: ChargerObservation) {
        self.control.tell(ToControl::Charger(self.index, observation));
    }

    fn good(&mut self) {
        if !self.health.online {
            tracing::info!(charger = %self.id, "answers");
        }
        self.health.online = true;
        self.health.good += 1;
    }

    fn bad(&mut self, text: &str, timed_out: bool) {
        if timed_out {
            self.health.timeouts += 1;
        } else {
            self.health.bad += 1;
        }
        if std::mem::take(&mut self.health.online) || self.health.good == 0 && self.health.last_error.is_none() {
            tracing::warn!(charger = %self.id, "{text}");
        } else {
            tracing::debug!(charger = %self.id, "{text}");
        }
        self.health.last_error = Some(format!("{}: {text}", self.name).into());
    }

    /// Each said once; what was refused long ago may be said again.
    fn refused(&mut self, text: String) {
        self.health.bad += 1;
        if self.said.contains(&text) {
            tracing::debug!(charger = %self.id, "{text}");
            return;
        }
        if self.said.len() == SAID {
            self.said.pop_front();
        }
        self.note(text.clone());
        self.said.push_back(text);
    }

    /// For the page, and for who looks closely.
    fn murmur(&mut self, text: &str) {
        tracing::debug!(charger = %self.id, "{text}");
        self.health.last_error = Some(format!("{}: {text}", self.name).into());
    }

    fn note(&mut self, text: String) {
        tracing::warn!(charger = %self.id, "{text}");
        self.health.last_error = Some(format!("{}: {text}", self.name).into());
    }

    /// Registers that are not as documented, or refused: said once per change.
    fn complain(&mut self, complaints: Vec<Complaint>) {
        if complaints == self.complaints {
            return;
        }
        if !complaints.is_empty() {
            let texts: Vec<String> = complaints.iter().map(Complaint::to_string).collect();
            self.note(texts.join("; "));
        }
        self.complaints = complaints;
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Identity(identity) => self.identity.now = Some(identity),
            Notice::Risk(risk) => {
                if let Some(risk) = &risk {
                    tracing::warn!(charger = %self.id, "{risk}");
                }
                self.found = risk;
                self.name_risk();
            }
            Notice::RewriteSetPoint => {}
        }
    }

    fn name_risk(&mut self) {
        let risks: Vec<&str> = [&self.refusing, &self.found].into_iter().flatten().map(String::as_str).collect();
        self.risk.now = (!risks.is_empty()).then(|| format!("{}: {}", self.name, risks.join("; ")));
    }

    /// It answers polls, so nobody would take it for silent, and yet no limit reaches it.
    fn refuses_set_point(&mut self, offer: Milliamp, error: &DriverError) {
        self.health.bad += 1;
        self.health.refused += 1;
        self.refusals = self.refusals.saturating_add(1);
        let text = format!("set-point of {offer}: {error}");
        // It is written again and again, and one sentence is enough.
        if self.refusals == 1 {
            self.note(text);
        } else {
            self.murmur(&text);
        }
        if self.refusals != REFUSALS {
            return;
        }
        let detail = format!("it answers but takes no set-point, and keeps what it has: {offer} is refused, {error}");
        tracing::error!(charger = %self.id, "{detail}");
        let event = Event::new(EventType::NotObeying, self.id.clone(), detail.clone());
        self.control.tell(ToControl::Event(event));
        self.health.unled = true;
        self.refusing = Some(format!("{detail}; look for a lock, another master or a mode of its own in its menu"));
        self.name_risk();
    }

    fn takes_set_points(&mut self) {
        self.refusals = 0;
        self.health.unled = false;
        if self.refusing.take().is_some() {
            tracing::info!(charger = %self.id, "takes set-points again");
            self.name_risk();
        }
    }

    /// Says what was not said yet, and how the link does when that has changed and was not said just now; returns
    /// when to ask again.
    fn tell(&mut self, now: Mono, (reconnects, discarded_bytes): (u64, u64)) -> Mono {
        self.health.reconnects = reconnects;
        self.health.discarded_bytes = discarded_bytes;
        let due = self.told_at.map_or(now, |told| told + HEALTH_PERIOD);
        let device = DeviceRef::Charger(self.index);
        let pending =
            self.health != self.told || self.identity.now != self.identity.told || self.risk.now != self.risk.told;
        if !pending {
            return Mono(i64::MAX);
        }
        if now < due {
            return due;
        }
        self.told_at = Some(now);
        if self.identity.now != self.identity.told
            && let Some(identity) = &self.identity.now
            && self.control.tell(ToControl::ChargerIdentity(self.index, Arc::new(identity.clone())))
        {
            self.identity.told = Some(identity.clone());
        }
        if self.risk.now != self.risk.told && self.control.tell(ToControl::Risk(device, self.risk.now.clone())) {
            self.risk.told = self.risk.now.clone();
        }
        if self.health != self.told && self.control.tell(ToControl::Health(device, self.health.clone())) {
            self.told = self.health.clone();
        }
        now + HEALTH_PERIOD
    }
}

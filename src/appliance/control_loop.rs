//! The one thread that owns the controller. It waits for the next thing heard or the next time the controller asked
//! for, decides, hands out the orders, and only then draws the picture for everybody who looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};

use tokio::sync::{broadcast, oneshot, watch};

use super::counter_store::AllKept;
use super::keeper::Keeper;
use super::picture::Picture;
use super::session_store::{Now, Sessions};
use super::signals::Tariffs;
use super::store::StoreRequest;
use crate::clock::{self, Clock, wall_ms};
use crate::command::{ChargerAction, ChargerCommand, LastOffer, Leased, RelayOrder};
use crate::control::{Accepted, Controller, LimitReason, Problem, Reason};
use crate::device::{Answer, ToControl, Wish};
use crate::event::{Event, EventType, Gravity};
use crate::quantity::{Mono, Span};
use crate::reading::Observation;
use crate::status::Snapshot;

/// A picture is drawn at most this often; orders never wait for one.
const PICTURE_EVERY: Span = Span(100);
/// With a meter's frame in it: whoever watches a house sees it as it comes, not a tenth of a second later.
const FRAME_EVERY: Span = Span(10);
/// The controller is asked at least this often, so that leases are renewed without any frame; more often where leases
/// are shorter than usual.
const LONGEST_WAIT: Span = Span(500);
/// Counters are kept for the next start this often: 144 small writes a day are nothing to a memory card.
const KEEP_EVERY: Span = Span::from_secs(600);
/// The wall clock moved against the monotonic one by more than this: it was set.
const CLOCK_JUMP_MS: i64 = 5_000;
/// Messages taken in before the controller decides, so that a flood cannot hold a decision back.
const BATCH: usize = 256;

/// The control thread's ends of all channels.
pub(super) struct ControlLoop {
    pub(super) controller: Controller,
    pub(super) clock: Clock,
    pub(super) lease: Span,
    pub(super) inbox: Receiver<ToControl>,
    pub(super) orders: Vec<watch::Sender<Leased<ChargerCommand>>>,
    pub(super) relay_orders: Vec<watch::Sender<Leased<RelayOrder>>>,
    pub(super) tariffs: Tariffs,
    pub(super) last_offers: Vec<watch::Sender<Option<LastOffer>>>,
    pub(super) actions: Vec<broadcast::Sender<ChargerAction>>,
    pub(super) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) store: SyncSender<StoreRequest>,
    pub(super) picture: Picture,
    /// Happened before this thread ran.
    pub(super) early: Vec<Event>,
    /// The configuration is wrong: show what is heard, order nothing.
    pub(super) safe_only: bool,
    /// As the configuration has it, whatever `safe_only` makes of it.
    pub(super) charging_enabled: bool,
    /// Set at an orderly stop; a queue full of news cannot keep it from being seen.
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) wall: WallClock,
    pub(super) memory: Memory,
    pub(super) sessions: Sessions,
}

/// The counters that are kept for the next start.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) keeper: Keeper<AllKept>,
    /// On the disk, as far as we know.
    pub(super) kept: AllKept,
    /// When they were handed to it.
    pub(super) at: Mono,
}

impl Memory {
    fn keep(&mut self, all: AllKept, now: Mono) {
        self.at = now;
        if all != self.kept && self.keeper.keep(all.clone()) {
            self.kept = all;
        }
    }
}

/// Notices a wall clock that is not set or jumps. Control itself knows monotonic time only.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    told_unset: bool,
    /// Unix time at which the monotonic clock read zero, in ms.
    epoch_ms: Option<i64>,
}

impl WallClock {
    fn look(&mut self, now: Mono, wall_ms: i64) -> Option<String> {
        if !clock::is_set(wall_ms) {
            let told = std::mem::replace(&mut self.told_unset, true);
            return (!told).then(|| "the wall clock is not set; time stamps are wrong until it is".to_owned());
        }
        let epoch_ms = wall_ms - now.0;
        let before = self.epoch_ms.replace(epoch_ms)?;
        let jump = epoch_ms - before;
        (jump.abs() > CLOCK_JUMP_MS).then(|| {
            format!("the wall clock was set by {} s; charging goes on by the monotonic clock", jump as f64 / 1000.0)
        })
    }
}

impl ControlLoop {
    /// Runs until `Shutdown`, then hands out what is to be left behind.
    pub(super) fn run(mut self) {
        let mut observations = Vec::with_capacity(BATCH);
        let mut drawn_at = Mono(i64::MIN / 2);
        let mut stale = true;
        let mut pause = PICTURE_EVERY;
        let mut wake_at = self.clock.now();
        let longest_wait = Span(LONGEST_WAIT.0.min(self.lease.0 / 5));
        for event in std::mem::take(&mut self.early) {
            self.publish(event);
        }
        loop {
            let wait = if stale { pause } else { longest_wait }.0.min(wake_at.since(self.clock.now()).0);
            let first = match self.inbox.recv_timeout(Span(wait).to_std()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            #[cfg(debug_assertions)]
            HANG.if_asked();
            if self.stopping.load(Ordering::Relaxed) {
                return self.stop();
            }
            observations.clear();
            let mut urgent = false;
            let mut next = first;
            for _ in 0..BATCH {
                let Some(message) = next.or_else(|| self.inbox.try_recv().ok()) else { break };
                next = None;
                match message {
                    ToControl::Shutdown => return self.stop(),
                    ToControl::Meter { meter, mut reading, values, sub_meters } => {
                        pause = FRAME_EVERY;
                        reading.shows_more = !values.values.is_empty();
                        self.tariffs.frame(meter, &values, reading.received_at, &mut observations);
                        for event in self.picture.meter(meter, &mut reading, values, sub_meters, wall_ms()) {
                            self.publish(event);
                        }
                        observations.push(Observation::Meter(meter, reading));
                    }
                    ToControl::Charger(charger, mut what) => {
                        self.picture.charger(charger, &mut what);
                        observations.push(Observation::Charger(charger, what));
                    }
                    ToControl::Input(input, reading) => observations.push(Observation::Input(input, reading)),
                    ToControl::Relay(relay, what) => observations.push(Observation::Relay(relay, what)),
                    ToControl::ChargerIdentity(charger, identity) => self.picture.charger_identity(charger, identity),
                    ToControl::Health(device, health) => self.picture.health(device, health),
                    ToControl::Risk(device, risk) => {
                        if let Some(event) = self.picture.risk(device, risk) {
                            self.publish(event);
                        }
                        urgent = true;
                    }
                    ToControl::Event(event) => self.publish(event),
                    ToControl::Wish(wish) => {
                        self.wish(wish);
                        urgent = true;
                    }
                }
            }
            let now = self.clock.now();
            let wall_ms = wall_ms();
            let wall = clock::is_set(wall_ms).then_some(wall_ms / 1000);
            if let Some(detail) = self.wall.look(now, wall_ms) {
                self.publish(Event::new(EventType::ClockError, "bridge", detail));
            }
            self.tariffs.judge(self.controller.decision(), now, &mut observations);
            let decision = self.controller.step(now, wall, &observations);
            wake_at = decision.wake_at;
            if !self.safe_only {
                for (order, sender) in decision.commands.iter().zip(&self.orders) {
                    renew(sender, *order, now, self.lease);
                }
                for (order, sender) in decision.relay_orders.iter().zip(&self.relay_orders) {
                    renew(sender, *order, now, self.lease);
                }
            }
            urgent |= !decision.events.is_empty();
            for event in &decision.events {
                log(event);
                // Nobody listening is no fault: the views may all be off.
                let _ = self.events.send(event.clone());
            }
            if urgent || now.since(drawn_at) >= pause {
                let drawn = self.picture.draw(now, wall_ms, wall.is_some(), self.controller.decision());
                if let Some(mut snapshot) = drawn {
                    if self.safe_only {
                        mark_invalid(&mut snapshot, self.charging_enabled);
                    }
                    self.snapshots.send_replace(Some(Arc::new(snapshot)));
                }
                drawn_at = now;
                stale = false;
                pause = PICTURE_EVERY;
            } else {
                stale = true;
            }
            let all = now.since(self.memory.at) >= KEEP_EVERY;
            if all {
                self.memory.keep(self.picture.counters(), now);
            }
            if all || !stale {
                self.sessions.keep(&self.controller, Now { mono: now, wall_ms }, all);
            }
        }
    }

    fn publish(&self, event: Event) {
        log(&event);
        let _ = self.events.send(event);
    }

    fn wish(&mut self, wish: Wish) {
        if wish.reply.is_closed() {
            // It was answered as refused while we did not listen; obeying it now would make that answer a lie.
            return tracing::info!(path = wish.path, origin = wish.origin, "wish came too late and is dropped");
        }
        if self.safe_only {
            return answer(
                wish.reply,
                Err("the configuration is wrong: no command is taken until it is right".to_owned()),
                None,
            );
        }
        let outcome = self.controller.set(self.clock.now(), &wish.path, &wish.value);
        match outcome {
            Err(refused) => {
                tracing::info!(path = wish.path, value = wish.value, origin = wish.origin, "wish refused: {refused}");
                answer(wish.reply, Err(refused.to_string()), None);
            }
            Ok(accepted) => {
                tracing::info!(path = wish.path, value = wish.value, origin = wish.origin, "wish accepted");
                if let Accepted::Action(charger, action) = &accepted {
                    let taken = self.actions.get(*charger).is_some_and(|tx| tx.send(*action).is_ok());
                    let outcome = if taken {
                        Ok(accepted)
                    } else {
                        Err("the charger's task does not run; see the log".to_owned())
                    };
                    return answer(wish.reply, outcome, None);
                }
                if !accepted.is_stored() {
                    return answer(wish.reply, Ok(accepted), None);
                }
                let request = StoreRequest { accepted, reply: wish.reply };
                if let Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) =
                    self.store.try_send(request)
                {
                    // The disk hangs: the setting is in force all the same, and the answer says that it is not kept.
                    answer(request.reply, Ok(request.accepted), Some(false));
                }
            }
        }
    }

    fn stop(mut self) {
        let offers = self.controller.orderly_stop();
        for (offer, sender) in offers.into_iter().zip(&self.last_offers) {
            sender.send_replace(Some(LastOffer::AtMost(offer)));
        }
        self.memory.keep(self.picture.counters(), self.clock.now());
        self.sessions.keep(&self.controller, Now { mono: self.clock.now(), wall_ms: wall_ms() }, true);
    }
}

/// Nobody decides while the configuration is wrong, and the views must say so.
fn mark_invalid(snapshot: &mut Snapshot, charging_enabled: bool) {
    snapshot.site.problem = Problem::Setup;
    snapshot.site.fail_safe = true;
    snapshot.site.settings.charging_enabled = charging_enabled;
    for charger in &mut snapshot.chargers {
        // Nothing is ordered: what it was found at is what it may still offer.
        charger.status.offered = charger.status.counted;
        charger.status.reason = Reason::of(LimitReason::ConfigInvalid, charger.status.counted);
    }
}

/// Answers a wish; nobody waiting for it any more is no fault.
pub(super) fn answer(reply: oneshot::Sender<Answer>, outcome: Result<Accepted, String>, stored: Option<bool>) {
    let _ = reply.send(Answer { outcome, stored });
}

/// Hands out an order when it changed, or when a tenth of its lease is gone: a device's task is not woken for nothing.
fn renew<T: Copy + PartialEq>(sender: &watch::Sender<Leased<T>>, order: T, now: Mono, lease: Span) {
    sender.send_if_modified(|held| {
        let worn = held.valid_until.is_none_or(|end| end.since(now).0 <= lease.0 * 9 / 10);
        let changed = held.order != order;
        if worn || changed {
            *held = Leased::until(order, now + lease);
        }
        worn || changed
    });
}

fn log(event: &Event) {
    let (word, Event { subject, detail, .. }) = (event.event_type.word(), event);
    // The level of a line is fixed where it stands.
    match event.event_type.gravity() {
        Gravity::Notice => tracing::info!(event = word, subject, "{detail}"),
        Gravity::Warning => tracing::warn!(event = word, subject, "{detail}"),
        Gravity::Error => tracing::error!(event = word, subject, "{detail}"),
    }
}

/// For tests of the lease.
#[cfg(debug_assertions)]
static HANG: super::hang::Hang = super::hang::Hang::new("GRIDKEEPER_TEST_HANG_CONTROL");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EARLIEST_WALL_MS;
    use crate::quantity::Milliamp;

    #[test]
    fn a_clock_that_is_not_set_is_told_once_and_a_jump_each_time() {
        let mut wall = WallClock::default();
        assert!(wall.look(Mono(0), 1_000).is_some_and(|it| it.contains("not set")));
        assert_eq!(wall.look(Mono(1000), 2_000), None);
        assert_eq!(wall.look(Mono(2000), EARLIEST_WALL_MS), None, "set for the first time is no jump");
        assert_eq!(wall.look(Mono(3000), EARLIEST_WALL_MS + 5_000), None, "drift");
        let jump = wall.look(Mono(4000), EARLIEST_WALL_MS + 3_606_000);
        assert!(jump.is_some_and(|it| it.contains("3600 s")));
    }

    #[test]
    fn an_unchanged_order_is_renewed_when_a_tenth_of_its_lease_is_gone() {
        let lease = Span::from_secs(5);
        let order = ChargerCommand { offer: Some(Milliamp(6000)), ..ChargerCommand::default() };
        let (sender, mut receiver) = watch::channel(Leased::until(order, Mono(5000)));
        receiver.mark_unchanged();
        renew(&sender, order, Mono(400), lease);
        assert!(!receiver.has_changed().expect("the sender lives"));
        renew(&sender, order, Mono(500), lease);
        assert_eq!(receiver.borrow_and_update().valid_until, Some(Mono(5500)));
        renew(&sender, ChargerCommand { offer: Some(Milliamp(0)), ..order }, Mono(501), lease);
        assert_eq!(receiver.borrow_and_update().order.offer, Some(Milliamp(0)));
    }
}

//! Who gets what: sessions, retained messages, last wills. Without sockets and clocks; never waits for anybody.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mqtt5_protocol::packet::suback::SubAckReasonCode;
use mqtt5_protocol::packet::subscribe_options::{RetainHandling, SubscriptionOptions};
use mqtt5_protocol::packet::unsuback::UnsubAckReasonCode;
use mqtt5_protocol::{QoS, ReasonCode, is_valid_topic_filter, topic_matches_filter};

use super::message::Message;
use super::session::{Delivery, Line, Link, Retained, Session, Subscription, Will, lower};
use super::wire::End;
use super::{
    LONGEST_SESSION, MAX_AWAY, MAX_CLIENTS, MAX_HELD_BYTES, MAX_RETAINED, MAX_RETAINED_BYTES, MAX_RETAINED_SIZE,
    MAX_SUBSCRIPTIONS, MAX_TOPIC,
};

/// What went wrong since it was last told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Connections refused: too many, or a wrong login.
    pub(super) refused: u64,
    /// Connections ended for what their client sent, or did not send.
    pub(super) faults: u64,
    /// Messages of quality of service 0 that a slow client did not get.
    pub(super) dropped: u64,
    /// Others that did not fit: their client was disconnected, or is away.
    pub(super) lost: u64,
    /// Messages larger than their client takes.
    pub(super) too_large: u64,
    /// Retained messages refused for want of room.
    pub(super) not_kept: u64,
    /// Sessions of absent clients that made room for others.
    pub(super) forgotten: u64,
    /// The newest of them in words.
    pub(super) newest: String,
}

impl Counters {
    /// A connection has ended; clients that come and go are none of ours to tell.
    pub(super) fn note(&mut self, end: &End, newest: String) {
        match end.reason {
            ReasonCode::Success
            | ReasonCode::SessionTakenOver
            | ReasonCode::ServerShuttingDown
            | ReasonCode::UnspecifiedError => return,
            ReasonCode::BadUsernameOrPassword | ReasonCode::ServerBusy => self.refused += 1,
            _ => self.faults += 1,
        }
        self.newest = newest;
    }
}

/// A client that wants in.
pub(super) struct Hello {
    /// Empty: it is given one.
    pub(super) client: String,
    pub(super) clean: bool,
    pub(super) expiry: Duration,
    pub(super) will: Option<Will>,
    pub(super) version: u8,
    pub(super) window: usize,
    pub(super) largest: usize,
}

/// It is in.
pub(super) struct Welcome {
    pub(super) seat: Seat,
    pub(super) line: Arc<Line>,
    /// Its session was still there.
    pub(super) present: bool,
}

/// Which connection of which client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) client: String,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Router {
    sessions: HashMap<String, Session>,
    retained: Retained,
    retained_bytes: usize,
    /// Bytes of every message that is kept, waits, or is under way.
    held: Arc<AtomicUsize>,
    links: u64,
    pub(super) counters: Counters,
}

impl Router {
    /// Seats a client. Another connection of the same client ends (MQTT 5.0, 3.1.4).
    pub(super) fn connect(&mut self, mut hello: Hello, now: Instant) -> Result<Welcome, End> {
        while hello.client.is_empty() {
            let chosen = format!("auto-{:016x}", RandomState::new().hash_one(self.links));
            if !self.sessions.contains_key(&chosen) {
                hello.client = chosen;
            }
        }
        self.sweep(now);
        let old = self.sessions.get(&hello.client).and_then(|it| it.link.as_ref());
        match old {
            Some(link) => {
                let why = "another connection of the same client took over";
                link.line.close(End::new(ReasonCode::SessionTakenOver, why));
            }
            None if self.sessions.values().filter(|it| it.link.is_some()).count() >= MAX_CLIENTS => {
                return Err(End::new(ReasonCode::ServerBusy, format!("{MAX_CLIENTS} clients are connected already")));
            }
            None => {}
        }
        let (connected, mut will) = (old.is_some(), None);
        let kept = self.sessions.remove(&hello.client).and_then(|mut it| {
            let ends = hello.clean || it.expiry.is_zero();
            // A connection that ends publishes its will; one with a delay only if its session ends too (3.1.3.2.2).
            will = it.will.take_if(|will| ends || connected && will.delay.is_zero());
            Some(it).filter(|_| !ends)
        });
        let present = kept.is_some();
        let mut session = kept.unwrap_or_default();
        self.links += 1;
        let line = Arc::new(Line::default());
        (session.expiry, session.will) = (hello.expiry.min(LONGEST_SESSION), hello.will);
        session.resume(Link {
            number: self.links,
            version: hello.version,
            window: hello.window,
            largest: hello.largest,
            line: Arc::clone(&line),
        });
        let seat = Seat { client: hello.client.clone(), number: self.links };
        self.sessions.insert(hello.client, session);
        if let Some(will) = will {
            self.publish_will(&seat.client, will, now);
        }
        Ok(Welcome { seat, line, present })
    }

    /// The session of a connection; `None`: another connection has it now.
    pub(super) fn session(&mut self, seat: &Seat) -> Option<&mut Session> {
        self.sessions.get_mut(&seat.client).filter(|it| it.link.as_ref().is_some_and(|it| it.number == seat.number))
    }

    /// A connection has ended; `orderly`: its client said so, and the will is void.
    pub(super) fn leave(&mut self, seat: &Seat, orderly: bool, now: Instant) {
        let Some(session) = self.session(seat) else { return };
        session.link = None;
        if orderly {
            session.will = None;
        }
        let delay = session.will.as_ref().map_or(Duration::ZERO, |it| it.delay);
        session.ends = Some(now + session.expiry);
        session.will_due = session.will.as_ref().map(|_| now + delay.min(session.expiry));
        self.sweep(now);
        while self.sessions.values().filter(|it| it.link.is_none()).count() > MAX_AWAY {
            let away = self.sessions.iter().filter_map(|(client, it)| Some((it.ends?, client)));
            let Some((_, client)) = away.min() else { break };
            let client = client.clone();
            self.counters.forgotten += 1;
            self.counters.newest = format!("the session of {client:?} was forgotten");
            self.end(&client, now);
        }
    }

    /// What time brings: wills, the end of sessions and of retained messages.
    pub(super) fn sweep(&mut self, now: Instant) {
        let due = |it: &Option<Instant>| it.is_some_and(|it| it <= now);
        let ended: Vec<_> = self.sessions.iter().filter(|(_, it)| due(&it.ends)).map(|it| it.0.clone()).collect();
        for client in ended {
            self.end(&client, now);
        }
        let mut wills = Vec::new();
        for (client, session) in &mut self.sessions {
            if due(&session.will_due) {
                session.will_due = None;
                wills.extend(session.will.take().map(|it| (client.clone(), it)));
            }
        }
        for (client, will) in wills {
            self.publish_will(&client, will, now);
        }
        self.retained.retain(|_, it| {
            let expired = it.is_expired(now);
            self.retained_bytes -= if expired { it.size() } else { 0 };
            !expired
        });
    }

    fn end(&mut self, client: &str, now: Instant) {
        if let Some(will) = self.sessions.remove(client).and_then(|it| it.will) {
            self.publish_will(client, will, now);
        }
    }

    fn publish_will(&mut self, client: &str, will: Will, now: Instant) {
        // Without room to retain it only those who are there get it: counted there.
        let _ = self.publish(client, will.message.at(now), now);
    }

    /// Hands out a message and keeps it if it is to be retained; says how many clients get it.
    ///
    /// # Errors
    /// There is no room to retain it: who is there gets it all the same, who subscribes later does not.
    pub(super) fn publish(&mut self, from: &str, mut message: Message, now: Instant) -> Result<usize, End> {
        if message.is_expired(now) {
            return Ok(0);
        }
        message.weigh(&self.held);
        let message = Arc::new(message);
        let kept = if message.retain { self.keep(&message) } else { Ok(()) };
        let mut reached = 0;
        for (client, session) in &mut self.sessions {
            let mut granted = None;
            let (mut identifiers, mut as_published) = (Vec::new(), false);
            for it in &session.subscriptions {
                if (it.options.no_local && client == from) || !topic_matches_filter(&message.topic, &it.filter) {
                    continue;
                }
                let best = granted.unwrap_or(QoS::AtMostOnce);
                granted = Some(if (best as u8) < it.options.qos as u8 { it.options.qos } else { best });
                identifiers.extend(it.identifier);
                as_published |= it.options.retain_as_published;
            }
            if let Some(granted) = granted {
                let (qos, retain) = (lower(granted, message.qos), as_published && message.retain);
                let delivery = Delivery { message: Arc::clone(&message), qos, retain, identifiers };
                session.push(delivery, now, &mut self.counters);
                reached += 1;
            }
        }
        drop(message);
        self.relieve();
        kept.map(|()| reached)
    }

    /// While all together is too much, takes everything from whoever has most waiting.
    fn relieve(&mut self) {
        while self.held.load(Ordering::Relaxed) > MAX_HELD_BYTES {
            let most = self.sessions.iter_mut().max_by_key(|(_, it)| it.held());
            let Some((client, session)) = most.filter(|(_, it)| it.held() > 0) else { return };
            self.counters.newest = format!("{client:?} had most of all that waits");
            session.forget(&mut self.counters);
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Replaces what was retained for the topic. Also where there is no room for the new one: an outdated state would
    /// be taken for the present one.
    fn keep(&mut self, message: &Arc<Message>) -> Result<(), End> {
        let old = self.retained.remove(&message.topic);
        self.retained_bytes -= old.map_or(0, |it| it.size());
        if message.payload.is_empty() {
            return Ok(());
        }
        let (size, all) = (message.size(), self.retained_bytes + message.size());
        if self.retained.len() >= MAX_RETAINED || size > MAX_RETAINED_SIZE || all > MAX_RETAINED_BYTES {
            let why = format!("no room to retain {size} bytes of {:?}", message.topic);
            self.counters.not_kept += 1;
            self.counters.newest.clone_from(&why);
            return Err(End::new(ReasonCode::QuotaExceeded, why));
        }
        self.retained_bytes = all;
        self.retained.insert(message.topic.clone(), Arc::clone(message));
        Ok(())
    }

    /// Adds or changes a subscription.
    pub(super) fn subscribe(
        &mut self,
        seat: &Seat,
        filter: String,
        options: SubscriptionOptions,
        identifier: Option<u32>,
    ) -> SubAckReasonCode {
        let Some(session) = self.session(seat) else { return SubAckReasonCode::UnspecifiedError };
        if filter.starts_with("$share/") {
            return SubAckReasonCode::SharedSubscriptionsNotSupported;
        }
        if !is_valid_topic_filter(&filter) {
            return SubAckReasonCode::TopicFilterInvalid;
        }
        let known = session.subscriptions.iter().position(|it| it.filter == filter);
        if filter.len() > MAX_TOPIC || known.is_none() && session.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            return SubAckReasonCode::QuotaExceeded;
        }
        let wanted = match options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendAtSubscribeIfNew => known.is_none(),
            RetainHandling::DoNotSend => false,
        };
        let subscription = Subscription { filter, options, identifier };
        if wanted {
            session.replay(&subscription.filter);
        }
        match known {
            Some(at) => session.subscriptions[at] = subscription,
            None => session.subscriptions.push(subscription),
        }
        SubAckReasonCode::from_qos(options.qos)
    }

    pub(super) fn unsubscribe(&mut self, seat: &Seat, filter: &str) -> UnsubAckReasonCode {
        let Some(session) = self.session(seat) else { return UnsubAckReasonCode::UnspecifiedError };
        let before = session.subscriptions.len();
        session.subscriptions.retain(|it| it.filter != filter);
        session.forget_replay(filter);
        if session.subscriptions.len() < before {
            UnsubAckReasonCode::Success
        } else {
            UnsubAckReasonCode::NoSubscriptionExisted
        }
    }

    /// Whether somebody else than `from` should be given a moment. Its own acknowledgements are behind what it says.
    pub(super) fn is_crowded(&self, from: &Seat, now: Instant) -> bool {
        self.sessions.iter().any(|(client, it)| *client != from.client && it.is_crowded(now))
    }

    /// Appends what a client may be sent now; see [`Session::fill`].
    pub(super) fn fill(&mut self, seat: &Seat, now: Instant, out: &mut Vec<u8>) -> Result<(), End> {
        let Some(session) = self.sessions.get_mut(&seat.client) else { return Ok(()) };
        if session.link.as_ref().is_none_or(|it| it.number != seat.number) {
            return Ok(());
        }
        session.fill(&self.retained, now, &mut self.counters, out)
    }

    /// A sentence about what went wrong since the last one, if anything did.
    pub(super) fn report(&mut self) -> Option<String> {
        let counters = std::mem::take(&mut self.counters);
        if counters == Counters::default() {
            return None;
        }
        let Counters { refused, faults, dropped, lost, too_large, not_kept, forgotten, newest } = counters;
        let told: Vec<_> = [
            (refused, "connections refused"),
            (faults, "connections ended for what they sent or did not send"),
            (dropped, "messages of QoS 0 dropped for slow clients"),
            (lost, "other messages lost to slow or absent clients"),
            (too_large, "messages larger than their client takes"),
            (not_kept, "retained messages without room"),
            (forgotten, "sessions of absent clients forgotten"),
        ]
        .into_iter()
        .filter(|it| it.0 > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        let newest = if newest.is_empty() { newest } else { format!("; the newest: {newest}") };
        Some(format!("{}{newest}", told.join(", ")))
    }
}

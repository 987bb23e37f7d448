//! What the broker keeps of one client: subscriptions, what waits for it, what it has not acknowledged.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mqtt5_protocol::packet::pubrel::PubRelPacket;
use mqtt5_protocol::packet::subscribe_options::SubscriptionOptions;
use mqtt5_protocol::{QoS, ReasonCode, topic_matches_filter};
use tokio::sync::Notify;

use super::message::{Message, Sending};
use super::router::Counters;
use super::wire::{End, encode};
use super::{CROWD_PATIENCE, MAX_IN_FLIGHT, MAX_QUEUED, MAX_QUEUED_BYTES, RECEIVE_MAXIMUM};

/// So much is handed to a connection at a time.
const BATCH: usize = 16 * 1024;

pub(super) type Retained = BTreeMap<String, Arc<Message>>;

/// Between a connection and its session: wakes the one that writes, and says once why it has to end.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) wake: Notify,
    end: OnceLock<End>,
}

impl Line {
    /// The first reason is told, later ones are its consequences.
    pub(super) fn close(&self, end: End) {
        let _ = self.end.set(end);
        self.wake.notify_one();
    }

    pub(super) fn end(&self) -> Option<&End> {
        self.end.get()
    }
}

/// The connection that a session has now.
#[derive(Debug)]
pub(super) struct Link {
    /// Tells it from an earlier one of the same client.
    pub(super) number: u64,
    pub(super) version: u8,
    /// Messages that the client takes without having acknowledged them.
    pub(super) window: usize,
    /// Bytes of the largest packet that it takes.
    pub(super) largest: usize,
    pub(super) line: Arc<Line>,
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) filter: String,
    pub(super) options: SubscriptionOptions,
    pub(super) identifier: Option<u32>,
}

/// A message for one client.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<u32>,
}

#[derive(Debug)]
struct InFlight {
    id: u16,
    delivery: Delivery,
    /// Of quality of service 2: received, and PUBREL sent.
    released: bool,
    /// Over the connection of now.
    sent: bool,
    /// Over an earlier one.
    again: bool,
}

/// Retained messages that a subscription is still to get. Only a place in the store is kept, so that ten subscriptions
/// to everything take no more memory than one.
#[derive(Debug)]
struct Replay {
    filter: String,
    after: Option<String>,
}

#[derive(Debug)]
pub(super) struct Will {
    pub(super) message: Message,
    pub(super) delay: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) link: Option<Link>,
    pub(super) subscriptions: Vec<Subscription>,
    /// How long it is kept without a connection.
    pub(super) expiry: Duration,
    /// Without a connection: when it ends.
    pub(super) ends: Option<Instant>,
    pub(super) will: Option<Will>,
    /// Without a connection: when the will is published.
    pub(super) will_due: Option<Instant>,
    /// Packet identifiers of quality of service 2 that were received and are not released.
    pub(super) received: HashSet<u16>,
    replays: VecDeque<Replay>,
    queue: VecDeque<Delivery>,
    queued_bytes: usize,
    /// More than half of what may wait does: when the client last took something of it, or when that began.
    crowded: Option<Instant>,
    in_flight: VecDeque<InFlight>,
    last_id: u16,
}

impl Session {
    /// A connection begins: whatever was not acknowledged is sent again over it.
    pub(super) fn resume(&mut self, link: Link) {
        for it in &mut self.in_flight {
            it.again |= it.sent;
            it.sent = false;
        }
        link.line.wake.notify_one();
        (self.link, self.ends, self.will_due, self.crowded) = (Some(link), None, None, None);
    }

    /// Queues a message. What does not fit: quality of service 0 goes first, then the client.
    pub(super) fn push(&mut self, delivery: Delivery, now: Instant, counters: &mut Counters) {
        let slow = delivery.qos == QoS::AtMostOnce;
        if slow && self.link.is_none() {
            return;
        }
        let size = delivery.message.size();
        while self.is_full(size) {
            let Some(at) = self.queue.iter().position(|it| it.qos == QoS::AtMostOnce) else { break };
            self.unqueue(at);
            counters.dropped += 1;
        }
        if self.is_full(size) && slow {
            counters.dropped += 1;
        } else if self.is_full(size) {
            counters.lost += 1;
            if let Some(link) = &self.link {
                let why = format!("it does not keep up: {} messages wait for it", self.queue.len());
                link.line.close(End::new(ReasonCode::QuotaExceeded, why));
            }
        } else {
            self.queued_bytes += size;
            self.queue.push_back(delivery);
            if self.queue.len() > MAX_QUEUED / 2 || self.queued_bytes > MAX_QUEUED_BYTES / 2 {
                self.crowded.get_or_insert(now);
            }
            if let Some(link) = &self.link {
                link.line.wake.notify_one();
            }
        }
    }

    /// Bytes that wait or are under way; some of them wait for others, too.
    pub(super) fn held(&self) -> usize {
        self.queued_bytes + self.in_flight.iter().map(|it| it.delivery.message.size()).sum::<usize>()
    }

    /// All that waits or is under way is lost, and so is the connection: its client must know that something is.
    pub(super) fn forget(&mut self, counters: &mut Counters) {
        let gone = self.queue.iter().chain(self.in_flight.iter().map(|it| &it.delivery));
        for it in gone {
            *(if it.qos == QoS::AtMostOnce { &mut counters.dropped } else { &mut counters.lost }) += 1;
        }
        self.queue.clear();
        self.in_flight.clear();
        (self.queued_bytes, self.crowded) = (0, None);
        if let Some(link) = &self.link {
            link.line.close(End::new(ReasonCode::QuotaExceeded, "too much waits for it and others together"));
        }
    }

    fn is_full(&self, more: usize) -> bool {
        self.queue.len() >= MAX_QUEUED || self.queued_bytes + more > MAX_QUEUED_BYTES
    }

    /// Whether whoever publishes should wait for this client: much waits for it, and it does take it.
    pub(super) fn is_crowded(&self, now: Instant) -> bool {
        self.link.is_some() && self.crowded.is_some_and(|it| now.duration_since(it) < CROWD_PATIENCE)
    }

    fn unqueue(&mut self, at: usize) -> Option<Delivery> {
        let delivery = self.queue.remove(at)?;
        self.queued_bytes -= delivery.message.size();
        if self.queue.len() <= MAX_QUEUED / 4 && self.queued_bytes <= MAX_QUEUED_BYTES / 4 {
            self.crowded = None;
        }
        Some(delivery)
    }

    /// Hands retained messages to a subscription, from the first on.
    pub(super) fn replay(&mut self, filter: &str) {
        self.forget_replay(filter);
        self.replays.push_back(Replay { filter: filter.to_owned(), after: None });
        if let Some(link) = &self.link {
            link.line.wake.notify_one();
        }
    }

    pub(super) fn forget_replay(&mut self, filter: &str) {
        self.replays.retain(|it| it.filter != filter);
    }

    /// Appends what the client may be sent now; nothing: it has everything, or must acknowledge first.
    pub(super) fn fill(
        &mut self,
        retained: &Retained,
        now: Instant,
        counters: &mut Counters,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        let Some((version, window, largest)) = self.link.as_ref().map(|it| (it.version, it.window, it.largest)) else {
            return Ok(());
        };
        while out.len() < BATCH {
            let room = self.has_room(window);
            // First what an earlier connection left open, in its order.
            if let Some(at) = self.in_flight.iter().position(|it| !it.sent) {
                let flight = &mut self.in_flight[at];
                if flight.released {
                    flight.sent = true;
                    encode(&PubRelPacket::new(flight.id), out)?;
                } else if !room {
                    break;
                } else {
                    flight.sent = true;
                    let (id, again) = (Some(flight.id), flight.again);
                    if !write(&flight.delivery, version, id, again, largest, now, out)? {
                        self.in_flight.remove(at);
                        counters.too_large += 1;
                    }
                }
                continue;
            }
            let next = match self.next_retained(retained, now, room) {
                Some(Some(delivery)) => delivery,
                Some(None) => break,
                None => match self.queue.front() {
                    Some(first) if first.qos != QoS::AtMostOnce && !room => break,
                    _ => match self.unqueue(0) {
                        Some(delivery) => delivery,
                        None => break,
                    },
                },
            };
            self.crowded = self.crowded.map(|_| now);
            if next.message.is_expired(now) {
                continue;
            }
            if next.qos == QoS::AtMostOnce {
                counters.too_large += u64::from(!write(&next, version, None, false, largest, now, out)?);
            } else {
                let id = self.free_id();
                let flight = InFlight { id, delivery: next, released: false, sent: false, again: false };
                self.in_flight.push_back(flight);
            }
        }
        Ok(())
    }

    /// Whether one more may be under way: by the client's word, by count and by bytes.
    fn has_room(&self, window: usize) -> bool {
        let sent = self.in_flight.iter().filter(|it| it.sent);
        let (count, bytes) = sent.fold((0, 0), |(count, bytes), it| (count + 1, bytes + it.delivery.message.size()));
        count < window.min(MAX_IN_FLIGHT) && bytes < MAX_QUEUED_BYTES
    }

    /// The next retained message. `Some(None)`: there is one, and no room for it. `None`: there is none.
    fn next_retained(&mut self, retained: &Retained, now: Instant, room: bool) -> Option<Option<Delivery>> {
        while let Some(replay) = self.replays.front_mut() {
            let from = replay.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let found = retained
                .range::<str, _>((from, Bound::Unbounded))
                .find(|(topic, message)| !message.is_expired(now) && topic_matches_filter(topic, &replay.filter));
            let subscription = self.subscriptions.iter().find(|it| it.filter == replay.filter);
            if let (Some((topic, message)), Some(subscription)) = (found, subscription) {
                // It waits as published, too: then all of its topic up to it goes now, in its order, and that was it.
                if let Some(newest) = self.queue.iter().rposition(|it| Arc::ptr_eq(&it.message, message)) {
                    let first = self.queue.iter().position(|it| it.message.topic == *topic).unwrap_or(newest);
                    let delivery = &mut self.queue[first];
                    if delivery.qos != QoS::AtMostOnce && !room {
                        return Some(None);
                    }
                    if first == newest {
                        replay.after = Some(topic.clone());
                        let missing = subscription.identifier.filter(|it| !delivery.identifiers.contains(it));
                        delivery.identifiers.extend(missing);
                    }
                    return self.unqueue(first).map(Some);
                }
                let qos = lower(subscription.options.qos, message.qos);
                if qos != QoS::AtMostOnce && !room {
                    return Some(None);
                }
                replay.after = Some(topic.clone());
                let identifiers = subscription.identifier.into_iter().collect();
                return Some(Some(Delivery { message: Arc::clone(message), qos, retain: true, identifiers }));
            }
            self.replays.pop_front();
        }
        None
    }

    /// At most [`MAX_IN_FLIGHT`] of 65535 are taken.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.in_flight.iter().all(|it| it.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// PUBACK, and PUBCOMP (`of` 2). One for what is not under way is late, and harmless.
    pub(super) fn acknowledged(&mut self, id: u16, of: QoS) -> Result<(), End> {
        if let Some(at) = self.in_flight.iter().position(|it| it.id == id) {
            if self.in_flight[at].delivery.qos != of {
                return Err(End::protocol("an acknowledgement of another quality of service"));
            }
            self.in_flight.remove(at);
        }
        Ok(())
    }

    /// PUBREC; `false`: of nothing that is under way, or refused, and so ended.
    pub(super) fn released(&mut self, id: u16, refused: bool) -> Result<bool, End> {
        let Some(at) = self.in_flight.iter().position(|it| it.id == id) else { return Ok(false) };
        let flight = &mut self.in_flight[at];
        if flight.delivery.qos != QoS::ExactlyOnce {
            return Err(End::protocol("a PUBREC for another quality of service"));
        }
        flight.released = true;
        if refused {
            self.in_flight.remove(at);
        }
        Ok(!refused)
    }

    /// Whether a publication of quality of service 2 was received before, and is not to be passed on twice. A client
    /// with version 5 was told how many may be open; for others there are 65535 numbers.
    pub(super) fn knows(&self, id: u16, version: u8) -> Result<bool, End> {
        let known = self.received.contains(&id);
        if !known && version == 5 && self.received.len() >= usize::from(RECEIVE_MAXIMUM) {
            let why = format!("more than {RECEIVE_MAXIMUM} publications of QoS 2 are open");
            return Err(End::new(ReasonCode::ReceiveMaximumExceeded, why));
        }
        Ok(known)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize, usize) {
        (self.queue.len(), self.queued_bytes, self.in_flight.len())
    }
}

fn write(
    it: &Delivery,
    version: u8,
    id: Option<u16>,
    again: bool,
    largest: usize,
    now: Instant,
    out: &mut Vec<u8>,
) -> Result<bool, End> {
    let copy = Sending { version, id, qos: it.qos, retain: it.retain, again, identifiers: &it.identifiers };
    Ok(it.message.encode(&copy, largest, now, out)?)
}

pub(super) fn lower(left: QoS, right: QoS) -> QoS {
    if (left as u8) < right as u8 { left } else { right }
}

//! What is to be sent: for each retained topic its latest payload only, for the rest a short queue.
//!
//! A slow or absent broker therefore costs a fixed amount of memory, and what it gets when it is back is the present,
//! never a backlog.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// In which order retained topics go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// `<base>/status`
    Status,
    /// Home Assistant's device messages: before states, so that entities exist when their first value comes.
    Discovery,
    /// States, availability, `bridge/info`.
    State,
}

/// One message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Full topic.
    pub(crate) topic: String,
    /// Text.
    pub(crate) payload: String,
    /// Kept by the broker.
    pub(crate) retain: bool,
}

#[derive(Debug)]
struct Slot {
    topic: String,
    payload: String,
    rank: Rank,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    slots: Vec<Slot>,
    places: HashMap<String, usize>,
    dirty: BTreeSet<(Rank, usize)>,
    once: VecDeque<Outgoing>,
    queue: VecDeque<Outgoing>,
    bound: usize,
    dropped: u64,
    closing: bool,
}

/// Removals and clean-ups waiting at one time; more than any installation has devices.
const MAX_ONCE: usize = 1024;

impl Outbox {
    /// `bound`: length of the queue of what is not retained.
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            slots: Vec::new(),
            places: HashMap::new(),
            dirty: BTreeSet::new(),
            once: VecDeque::new(),
            queue: VecDeque::new(),
            bound: bound.max(1),
            dropped: 0,
            closing: false,
        }
    }

    /// The latest payload of a retained topic. Sent only when it differs from the one before.
    pub(crate) fn set(&mut self, rank: Rank, topic: &str, payload: String) {
        match self.places.get(topic) {
            Some(&place) => {
                let slot = &mut self.slots[place];
                if slot.payload != payload {
                    slot.payload = payload;
                    self.dirty.insert((slot.rank, place));
                }
            }
            None => {
                let place = self.slots.len();
                self.places.insert(topic.to_owned(), place);
                self.slots.push(Slot { topic: topic.to_owned(), payload, rank });
                self.dirty.insert((rank, place));
            }
        }
    }

    /// Sends the latest payload of `topic` again.
    pub(crate) fn again(&mut self, topic: &str) {
        if let Some(&place) = self.places.get(topic) {
            self.dirty.insert((self.slots[place].rank, place));
        }
    }

    /// Sends the latest payload of `topic` again when the broker has another one.
    pub(crate) fn insist(&mut self, topic: &str, found: &[u8]) {
        if self.places.get(topic).is_some_and(|&place| self.slots[place].payload.as_bytes() != found) {
            self.again(topic);
        }
    }

    /// Sends everything again: a new connection knows nothing of what was sent before.
    pub(crate) fn all_again(&mut self) {
        self.dirty.extend(self.slots.iter().enumerate().map(|(place, slot)| (slot.rank, place)));
    }

    /// A retained message that goes out once, before the state of its topic: a step of a removal, or an empty payload.
    pub(crate) fn once(&mut self, topic: String, payload: String) {
        if self.once.len() < MAX_ONCE {
            self.once.push_back(Outgoing { topic, payload, retain: true });
        }
    }

    /// A message that is not retained. When too many wait, the oldest is dropped.
    pub(crate) fn push(&mut self, topic: String, payload: String) {
        if self.queue.len() >= self.bound {
            self.queue.pop_front();
            self.dropped += 1;
        }
        self.queue.push_back(Outgoing { topic, payload, retain: false });
    }

    /// A message that is not retained and whose newer one takes its place while it waits.
    pub(crate) fn push_newest(&mut self, topic: String, payload: String) {
        let before = self.queue.len();
        self.queue.retain(|it| it.topic != topic);
        self.dropped += (before - self.queue.len()) as u64;
        self.push(topic, payload);
    }

    /// Forgets what is not retained.
    pub(crate) fn drop_queue(&mut self) {
        self.dropped += self.queue.len() as u64;
        self.queue.clear();
        self.once.clear();
    }

    /// Messages dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// From now on only the status goes out.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// The status has been handed over.
    pub(crate) fn status_sent(&self) -> bool {
        self.dirty.first().is_none_or(|(rank, _)| *rank != Rank::Status)
    }

    /// Hands messages to `send` in order until there are none or it refuses one. Returns how many were taken.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(&Outgoing) -> bool) -> u64 {
        let mut sent = 0;
        while let Some(next) = self.next_source() {
            let taken = match next {
                Source::Slot(key) => {
                    let slot = &self.slots[key.1];
                    let message = Outgoing { topic: slot.topic.clone(), payload: slot.payload.clone(), retain: true };
                    send(&message) && self.dirty.remove(&key)
                }
                Source::Once => self.once.front().is_some_and(&mut send) && self.once.pop_front().is_some(),
                Source::Queue => self.queue.front().is_some_and(&mut send) && self.queue.pop_front().is_some(),
            };
            if !taken {
                break;
            }
            sent += 1;
        }
        sent
    }

    fn next_source(&self) -> Option<Source> {
        let first = self.dirty.first().copied();
        if let Some(key @ (Rank::Status, _)) = first {
            return Some(Source::Slot(key));
        }
        if self.closing {
            return None;
        }
        if !self.once.is_empty() {
            return Some(Source::Once);
        }
        match first {
            Some(key @ (Rank::Discovery, _)) => Some(Source::Slot(key)),
            _ if !self.queue.is_empty() => Some(Source::Queue),
            Some(key) => Some(Source::Slot(key)),
            None => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Slot((Rank, usize)),
    Once,
    Queue,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(outbox: &mut Outbox) -> Vec<String> {
        let mut out = Vec::new();
        outbox.drain(|message| {
            out.push(format!("{}={}{}", message.topic, message.payload, if message.retain { "" } else { " live" }));
            true
        });
        out
    }

    #[test]
    fn only_the_latest_state_goes_out_and_in_order_of_rank() {
        let mut outbox = Outbox::new(4);
        outbox.set(Rank::State, "s", "1".into());
        outbox.set(Rank::Discovery, "d", "d".into());
        outbox.push("event".into(), "e".into());
        outbox.set(Rank::State, "s", "2".into());
        outbox.once("old".into(), String::new());
        outbox.set(Rank::Status, "status", "online".into());
        assert_eq!(drained(&mut outbox), ["status=online", "old=", "d=d", "event=e live", "s=2"]);
        outbox.set(Rank::State, "s", "2".into());
        assert!(drained(&mut outbox).is_empty(), "nothing changed");
        outbox.all_again();
        assert_eq!(drained(&mut outbox), ["status=online", "d=d", "s=2"]);
    }

    #[test]
    fn what_somebody_else_wrote_over_it_is_written_again_and_our_own_echo_is_not() {
        let mut outbox = Outbox::new(4);
        outbox.set(Rank::State, "a", "online".into());
        drained(&mut outbox);
        for (topic, found, again) in [("a", "online", 0), ("a", "offline", 1), ("a", "", 1), ("b", "offline", 0)] {
            outbox.insist(topic, found.as_bytes());
            assert_eq!(drained(&mut outbox).len(), again, "{topic} {found}");
        }
    }

    #[test]
    fn what_was_refused_is_kept() {
        let mut outbox = Outbox::new(4);
        outbox.set(Rank::State, "a", "1".into());
        outbox.set(Rank::State, "b", "1".into());
        outbox.push("event".into(), "e".into());
        assert_eq!(outbox.drain(|_| false), 0);
        outbox.set(Rank::State, "a", "2".into());
        assert_eq!(drained(&mut outbox), ["event=e live", "a=2", "b=1"]);
    }

    #[test]
    fn the_oldest_event_is_dropped_and_counted() {
        let mut outbox = Outbox::new(2);
        for number in 0..5 {
            outbox.push("event".into(), number.to_string());
        }
        assert_eq!(outbox.dropped(), 3);
        assert_eq!(drained(&mut outbox), ["event=3 live", "event=4 live"]);
    }

    #[test]
    fn nothing_grows_while_nobody_takes_anything() {
        let mut outbox = Outbox::new(16);
        for round in 0..10_000 {
            for topic in ["a", "b"] {
                outbox.set(Rank::State, topic, round.to_string());
            }
            outbox.again("a");
            outbox.push("event".into(), round.to_string());
            outbox.push_newest("influx".into(), round.to_string());
            outbox.once("gone".into(), String::new());
            assert_eq!(outbox.drain(|_| false), 0);
        }
        assert_eq!((outbox.slots.len(), outbox.dirty.len(), outbox.places.len()), (2, 2, 2));
        assert_eq!((outbox.queue.len(), outbox.once.len()), (16, MAX_ONCE));
        assert!(outbox.dropped() > 19_000, "{}", outbox.dropped());
    }

    #[test]
    fn a_newer_batch_of_readings_pushes_no_event_out() {
        let mut outbox = Outbox::new(3);
        outbox.push("event".into(), "e".into());
        outbox.push("event".into(), "f".into());
        for number in 0..5 {
            outbox.push_newest("influx".into(), number.to_string());
        }
        assert_eq!(outbox.dropped(), 4);
        assert_eq!(drained(&mut outbox), ["event=e live", "event=f live", "influx=4 live"]);
    }

    #[test]
    fn the_last_word_overtakes_everything() {
        let mut outbox = Outbox::new(2);
        outbox.set(Rank::State, "s", "1".into());
        outbox.push("event".into(), "e".into());
        outbox.set(Rank::Status, "status", "offline".into());
        outbox.close();
        assert!(!outbox.status_sent());
        assert_eq!(drained(&mut outbox), ["status=offline"]);
        assert!(outbox.status_sent());
    }
}

//! Topics of other software that devices listen to. The one owner of the broker link delivers; devices only receive, and
//! none of them can hold the link up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::quantity::Mono;

/// Messages that wait for one device; a device that is slower loses the oldest.
const WAITING: usize = 32;
/// No meter's message is longer; a longer one is not looked at.
pub(crate) const LONGEST: usize = 16 * 1024;

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedMessage {
    /// On which topic.
    pub topic: Arc<str>,
    /// At most 16 KiB.
    pub payload: Arc<[u8]>,
    /// Replayed by the broker: nobody knows how old it is.
    pub retained: bool,
    /// When it came, however long it waited since.
    pub at: Mono,
}

/// What waits for one device.
#[derive(Debug, Default)]
struct Mailbox {
    waiting: Mutex<VecDeque<FeedMessage>>,
    news: Notify,
}

impl Mailbox {
    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<FeedMessage>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there was room. Where not, an older one of the same topic gives way, or the oldest of all.
    fn put(&self, message: FeedMessage) -> bool {
        let mut waiting = self.waiting();
        let room = waiting.len() < WAITING;
        if !room {
            let place = waiting.iter().position(|it| it.topic == message.topic).unwrap_or(0);
            waiting.remove(place);
        }
        waiting.push_back(message);
        drop(waiting);
        self.news.notify_one();
        room
    }
}

/// A device's end.
#[derive(Debug)]
pub struct Inbox(Arc<Mailbox>);

impl Inbox {
    /// The oldest message that waits, or the next that comes. Loses nothing when it is cancelled.
    pub async fn recv(&mut self) -> FeedMessage {
        loop {
            if let Some(message) = self.0.waiting().pop_front() {
                return message;
            }
            self.0.news.notified().await;
        }
    }
}

/// Who listens to one topic.
type Listeners = Mutex<Vec<Weak<Mailbox>>>;

/// Who listens to what. Copies are the same registry.
#[derive(Clone, Debug, Default)]
pub struct Feeds {
    by_topic: Arc<BTreeMap<Arc<str>, Listeners>>,
}

impl Feeds {
    /// For all topics that any device is configured to listen to. They are subscribed to on a connection of their own,
    /// also while another instance serves the base topic: what a meter says is needed all the same.
    #[must_use]
    pub fn new<'a>(topics: impl IntoIterator<Item = &'a str>) -> Self {
        let by_topic = topics.into_iter().map(|it| (Arc::from(it), Mutex::default())).collect();
        Self { by_topic: Arc::new(by_topic) }
    }

    /// From now on, messages of these topics. A topic that was not given to [`Feeds::new`] never brings any.
    #[must_use]
    pub fn listen<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Inbox {
        let mailbox = Arc::new(Mailbox::default());
        for topic in topics {
            if let Some(listeners) = self.by_topic.get(topic) {
                listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&mailbox));
            }
        }
        Inbox(mailbox)
    }

    /// What is to be subscribed to.
    pub(crate) fn topics(&self) -> impl Iterator<Item = String> {
        self.by_topic.keys().map(ToString::to_string)
    }

    /// Hands a message to everybody who listens. `None`: nobody may listen to this topic; else how many messages were
    /// lost for it.
    pub(crate) fn deliver(&self, topic: &str, payload: &[u8], retained: bool, at: Mono) -> Option<u64> {
        let (topic, listeners) = self.by_topic.get_key_value(topic)?;
        if payload.len() > LONGEST {
            return Some(1);
        }
        let message = FeedMessage { topic: Arc::clone(topic), payload: payload.into(), retained, at };
        let mut lost = 0;
        // A task that has ended or was started again has left its mailbox.
        listeners.lock().unwrap_or_else(PoisonError::into_inner).retain(|listener| {
            let Some(mailbox) = listener.upgrade() else { return false };
            lost += u64::from(!mailbox.put(message.clone()));
            true
        });
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_reaches_those_who_listen_and_nobody_can_hold_it_up() {
        let feeds = Feeds::new(["tele/a", "tele/b"]);
        assert_eq!(feeds.topics().collect::<Vec<_>>(), ["tele/a", "tele/b"]);
        assert_eq!(feeds.deliver("tele/c", b"1", false, Mono(0)), None);
        assert_eq!(feeds.deliver("tele/a", b"1", false, Mono(0)), Some(0), "nobody listens yet");
        let mut one = feeds.listen(["tele/a", "tele/b", "tele/c"]);
        assert_eq!(feeds.deliver("tele/b", b"2", true, Mono(7)), Some(0));
        let message = one.recv().await;
        let FeedMessage { topic, payload, retained, at } = message;
        assert_eq!((&*topic, &*payload, retained, at), ("tele/b", &b"2"[..], true, Mono(7)));
        assert!(one.0.waiting().is_empty());
        assert_eq!(feeds.deliver("tele/a", &vec![b' '; LONGEST + 1], false, Mono(0)), Some(1));
    }

    #[tokio::test]
    async fn a_device_that_is_too_slow_keeps_the_newest_of_each_topic() {
        let feeds = Feeds::new(["quick", "slow"]);
        let mut inbox = feeds.listen(["quick", "slow"]);
        let gone = feeds.listen(["quick"]);
        drop(gone);
        feeds.deliver("slow", b"s", false, Mono(0));
        let number = |it: usize| u8::try_from(it).unwrap();
        let lost: u64 = (0..100).filter_map(|it| feeds.deliver("quick", &[number(it)], false, Mono(0))).sum();
        assert_eq!(lost, 69);
        assert_eq!(&*inbox.recv().await.payload, b"s", "a topic that floods does not push out another");
        for expected in 69..100 {
            assert_eq!(*inbox.recv().await.payload, [number(expected)]);
        }
        assert!(inbox.0.waiting().is_empty());
    }
}

//! Topics of other software that devices listen to. The one owner of the broker link delivers; devices only receive, and
//! none of them can hold the link up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

/// Messages that wait for one device; a device that is slower loses the newest.
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
}

/// Who listens to one topic.
type Listeners = Mutex<Vec<mpsc::Sender<FeedMessage>>>;

/// Who listens to what. Copies are the same registry.
#[derive(Clone, Debug, Default)]
pub struct Feeds {
    by_topic: Arc<BTreeMap<Arc<str>, Listeners>>,
}

impl Feeds {
    /// For all topics that any device is configured to listen to. They are subscribed to on every connection, also
    /// while another instance serves the base topic: what a meter says is needed all the same.
    #[must_use]
    pub fn new<'a>(topics: impl IntoIterator<Item = &'a str>) -> Self {
        let by_topic = topics.into_iter().map(|it| (Arc::from(it), Mutex::default())).collect();
        Self { by_topic: Arc::new(by_topic) }
    }

    /// From now on, messages of these topics. A topic that was not given to [`Feeds::new`] never brings any.
    #[must_use]
    pub fn listen<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> mpsc::Receiver<FeedMessage> {
        let (sender, receiver) = mpsc::channel(WAITING);
        for topic in topics {
            if let Some(listeners) = self.by_topic.get(topic) {
                listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender.clone());
            }
        }
        receiver
    }

    /// What is to be subscribed to.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.by_topic.keys().map(ToString::to_string).collect()
    }

    /// Hands a message to everybody who listens. `None`: nobody may listen to this topic; else how many could not take
    /// it.
    pub(crate) fn deliver(&self, topic: &str, payload: &[u8], retained: bool) -> Option<usize> {
        let (topic, listeners) = self.by_topic.get_key_value(topic)?;
        if payload.len() > LONGEST {
            return Some(1);
        }
        let message = FeedMessage { topic: Arc::clone(topic), payload: payload.into(), retained };
        let mut lost = 0;
        listeners.lock().unwrap_or_else(PoisonError::into_inner).retain(|listener| {
            match listener.try_send(message.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    lost += 1;
                    true
                }
                // Its task has ended or was started again.
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
        Some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_those_who_listen_and_nobody_can_hold_it_up() {
        let feeds = Feeds::new(["tele/a", "tele/b"]);
        assert_eq!(feeds.topics(), ["tele/a", "tele/b"]);
        assert_eq!(feeds.deliver("tele/c", b"1", false), None);
        assert_eq!(feeds.deliver("tele/a", b"1", false), Some(0), "nobody listens yet");
        let mut one = feeds.listen(["tele/a", "tele/b", "tele/c"]);
        let two = feeds.listen(["tele/b"]);
        assert_eq!(feeds.deliver("tele/b", b"2", true), Some(0));
        let message = one.try_recv().unwrap();
        assert_eq!((&*message.topic, &*message.payload, message.retained), ("tele/b", &b"2"[..], true));
        assert!(one.try_recv().is_err());
        let lost: usize = (0..WAITING).filter_map(|_| feeds.deliver("tele/b", b"3", false)).sum();
        assert_eq!(lost, 1, "the second has not looked at its first message");
        drop(two);
        assert_eq!(feeds.deliver("tele/a", &vec![b' '; LONGEST + 1], false), Some(1));
    }
}

//! What devices hear: topics of meters and the values of inputs, on a connection of their own.
//!
//! On the connection that serves our base topic a flood of commands would keep the next message of a meter, or a grid
//! operator's order, waiting at the broker; here only these topics come in, nothing is read more slowly than it comes,
//! and of each input the newest value wins. The connection is there whoever serves the base topic: the controller of a
//! standby needs its meters and inputs all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::attempts::Attempts;
use super::client::{self, Address, Client, Events, Heard, Received};
use super::command;
use super::feed::Feeds;
use super::ports::InputPort;
use super::topics::{Place, Topics};
use crate::clock::Clock;
use crate::control::boolean;
use crate::device::input::mqtt::InputValue;

/// No input's value is longer, in bytes; a longer one is not looked at.
const LONGEST_VALUE: usize = 1024;
/// Ends its client id.
const SUFFIX: &str = "devices";

/// How it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listening {
    /// Connected, and the topics are subscribed to.
    pub(crate) online: bool,
    /// What is wrong, and what to change.
    pub(crate) problem: Option<String>,
}

/// Counted since start.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Messages for devices.
    pub(crate) received: AtomicU64,
    /// Of them thrown away: too large, or more than a device takes.
    pub(crate) dropped: AtomicU64,
}

/// The service's end.
#[derive(Clone, Debug)]
pub(crate) struct Ear {
    /// How it does.
    pub(crate) listening: watch::Receiver<Listening>,
    /// Counted since start.
    pub(crate) counters: Arc<Counted>,
}

/// An input and where its values come.
#[derive(Debug)]
struct Listened {
    topic: String,
    port: InputPort,
    /// The last value was none: said once, until one is.
    complained: bool,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Address,
    feeds: Feeds,
    inputs: Vec<Listened>,
    clock: Clock,
    tell: watch::Sender<Listening>,
    counters: Arc<Counted>,
}

impl Listener {
    /// `None` for the task where no device listens to anything: the ear then is always well.
    pub(crate) fn new(
        address: &Address,
        topics: &Topics,
        feeds: Feeds,
        inputs: &[InputPort],
        clock: Clock,
    ) -> (Ear, Option<Self>) {
        let nothing = inputs.is_empty() && feeds.topics().next().is_none();
        let (tell, listening) = watch::channel(Listening { online: nothing, problem: None });
        let counters = Arc::<Counted>::default();
        let ear = Ear { listening, counters: Arc::clone(&counters) };
        if nothing {
            return (ear, None);
        }
        let of = |port: &InputPort| Listened {
            topic: port.topic.clone().unwrap_or_else(|| topics.set(&Place::input(&port.id), "value")),
            port: port.clone(),
            complained: false,
        };
        let inputs = inputs.iter().map(of).collect();
        let address = Address { client_id: format!("{}-{SUFFIX}", address.client_id), ..address.clone() };
        (ear, Some(Self { address, feeds, inputs, clock, tell, counters }))
    }

    /// Listens until `cancel`, then disconnects in good order.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut attempts = Attempts::new(&self.address.tuning, &self.address.client_id);
        loop {
            let problem = match client::build(&self.address, &self.address.client_id, None) {
                Ok((client, mut events)) => {
                    let heard = self.hear(&client, &mut events, &mut attempts);
                    match cancel.run_until_cancelled(heard).await {
                        Some(problem) => problem,
                        None => return self.leave(&client, &mut events).await,
                    }
                }
                Err(problem) => problem,
            };
            let problem = format!("the topics of devices are not heard: {}", attempts.lost(problem));
            // The service says it where it is news.
            self.tell.send_replace(Listening { online: false, problem: Some(problem) });
            if cancel.run_until_cancelled(sleep(attempts.wait())).await.is_none() {
                return;
            }
        }
    }

    /// Until the connection ends; why it did.
    async fn hear(&mut self, client: &Client, events: &mut Events, attempts: &mut Attempts) -> String {
        if let Err(problem) = events.accepted().await {
            return problem;
        }
        attempts.connected();
        let mut filters: Vec<String> = self.feeds.topics().collect();
        filters.extend(self.inputs.iter().map(|it| it.topic.clone()));
        filters.sort_unstable();
        filters.dedup();
        if !client.subscribe(&filters) {
            return "the MQTT client has no room for a subscription".to_owned();
        }
        let mut heard_at = Instant::now();
        loop {
            let event = match timeout_at(heard_at + self.address.patience(), events.next()).await {
                Ok(Ok(event)) => event,
                Ok(Err(problem)) => return problem,
                Err(_) => return self.address.hangs(),
            };
            if event.is_life() {
                heard_at = Instant::now();
            }
            match event {
                Heard::Message(message) => self.deliver(&message),
                Heard::Subscribed(granted) => {
                    let refused = filters.iter().zip(granted).filter(|(_, it)| !it).map(|(it, _)| it.as_str());
                    let problem = super::topics::unreadable(refused);
                    if let Some(problem) = &problem {
                        tracing::warn!("MQTT: {problem}");
                    }
                    // With one topic refused the others are heard; what is missing shows at its device.
                    self.tell.send_replace(Listening { online: true, problem });
                }
                Heard::Accepted | Heard::Written | Heard::Alive | Heard::Other => {}
            }
        }
    }

    async fn leave(&self, client: &Client, events: &mut Events) {
        let patience = self.address.tuning.goodbye;
        if client.leave(patience) {
            let end = Instant::now() + patience;
            while timeout_at(end, events.next()).await.is_ok_and(|it| it.is_ok()) {}
        }
    }

    fn deliver(&mut self, message: &Received) {
        let Some(topic) = message.topic() else { return };
        let now = self.clock.now();
        let (payload, retained) = (message.payload(), message.retained());
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        let lost = self.feeds.deliver(topic, payload, retained, now).unwrap_or(0);
        self.counters.dropped.fetch_add(lost, Ordering::Relaxed);
        if payload.is_empty() {
            return;
        }
        for input in self.inputs.iter_mut().filter(|it| it.topic == topic) {
            match value(&input.port, payload, retained) {
                Ok(on) => {
                    input.complained = false;
                    input.port.value.send_replace(Some(InputValue { on, at: now }));
                }
                // On our own topic the answer to the command says it.
                Err(_) if input.port.topic.is_none() => {}
                Err(why) => {
                    if !std::mem::replace(&mut input.complained, true) {
                        tracing::warn!(input = input.port.id, "a value on {topic} is not taken: {why}");
                    }
                }
            }
        }
    }
}

/// What a message says to an input.
fn value(port: &InputPort, payload: &[u8], retained: bool) -> Result<bool, String> {
    if payload.len() > LONGEST_VALUE {
        return Err(format!("it has {} bytes, allowed are {LONGEST_VALUE}", payload.len()));
    }
    let text = if port.topic.is_some() {
        if retained && !port.takes_retained {
            return Err("it is replayed (retained) and its age is not known".to_owned());
        }
        std::str::from_utf8(payload).map_err(|_| "it is no UTF-8 text".to_owned())?.trim().to_owned()
    } else {
        if retained {
            return Err("a replayed (retained) command is not obeyed".to_owned());
        }
        command::read(payload)?.ok_or("it is empty")?.value
    };
    boolean(&text).map_err(|refused| refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_its_topic_has_it() {
        let port = |topic: Option<&str>, takes_retained| InputPort {
            id: "dim".into(),
            topic: topic.map(str::to_owned),
            takes_retained,
            value: watch::channel(None).0,
        };
        let (own, aged, kept) = (port(None, true), port(Some("a/b"), false), port(Some("a/b"), true));
        for (port, payload, retained, expected) in [
            (&own, "ON", false, Some(true)),
            (&own, r#"{"value":false,"id":7}"#, false, Some(false)),
            (&own, "ON", true, None),
            (&own, "perhaps", false, None),
            (&aged, " off\n", false, Some(false)),
            (&aged, "1", true, None),
            (&kept, "1", true, Some(true)),
            (&kept, r#"{"value":true}"#, false, None),
        ] {
            assert_eq!(value(port, payload.as_bytes(), retained).ok(), expected, "{port:?} {payload} {retained}");
        }
        assert!(value(&kept, &[b' '; LONGEST_VALUE + 1], false).unwrap_err().contains("1025 bytes"));
        assert!(value(&kept, b"\xff", false).unwrap_err().contains("UTF-8"));
    }
}

//! The link to the broker: connecting, waiting between attempts, handing over what is to be sent.
//!
//! One task polls; nobody waits for it. Each attempt to connect gets a client of its own, so that nothing of an old
//! connection can reach a new one: the crate would send queued stale states in order and lose unacknowledged ones,
//! and it neither restores subscriptions nor waits between attempts. Outgoing states lie in the [`Outbox`] and are
//! handed over with `try_publish` whenever the client has room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::attempts::Attempts;
use super::client::{self, Address, Client, Events, Heard, Received};
use super::outbox::Outbox;
use super::topics::{Inbound, Topics};

/// Incoming messages waiting to be looked at.
const INCOMING: usize = 256;
/// Their payloads together, in bytes.
const INCOMING_BYTES: usize = 2 * 1024 * 1024;
/// At most `FLOOD_MESSAGES` are read in `FLOOD_WINDOW`; the rest waits at the broker.
const FLOOD_WINDOW: Duration = Duration::from_millis(100);
const FLOOD_MESSAGES: u32 = 100;

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Publishing: with the last will.
    Serve,
    /// Only looking whether the one that publishes is still there: without a will, which would speak for the other.
    Look,
    /// End in good order.
    Stop,
}

/// What the service hears of the link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The broker accepted us. Nothing is subscribed, nothing published.
    Connected,
    /// The answer to the oldest open [`Link::subscribe`]: the filters that were refused.
    Subscribed(Vec<String>),
    /// A message for us.
    Message(Incoming),
    /// The connection or the attempt failed: what is wrong and what to change.
    Lost {
        /// The sentence.
        problem: String,
        /// It had been accepted.
        was_connected: bool,
    },
}

/// A message for us.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Sorted by topic.
    pub(crate) inbound: Inbound,
    /// As received.
    pub(crate) topic: String,
    /// `Err`: its size, too large to be looked at.
    pub(crate) payload: Result<Vec<u8>, usize>,
    /// Replayed by the broker, not sent now.
    pub(crate) retained: bool,
}

/// Counted since start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections.
    pub(crate) connections: AtomicU64,
    /// Messages handed over.
    pub(crate) published: AtomicU64,
    /// Messages for us.
    pub(crate) received: AtomicU64,
    /// Of them thrown away because too many waited.
    pub(crate) overrun: AtomicU64,
    waiting_bytes: AtomicUsize,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    counters: Counters,
}

struct Inner {
    outbox: Outbox,
    client: Option<Client>,
    /// The service has allowed publishing on this connection.
    open: bool,
    /// The good-bye has been asked of the client.
    leaving: bool,
    handed_over: u64,
    written: u64,
    subscriptions: VecDeque<Vec<String>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("outbox", &self.outbox).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it; if something did, the maps inside are still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over what the client has room for.
    fn pump(&self) {
        let Inner { outbox, client, open, handed_over, .. } = &mut *self.lock();
        let (Some(client), true) = (client, *open) else { return };
        let sent = outbox.drain(|message| client.publish(message));
        *handed_over += sent;
        self.counters.published.fetch_add(sent, Ordering::Relaxed);
    }

    /// Asks for the disconnect once the last word is on the wire.
    fn leave(&self, patience: Duration) {
        let inner = &mut *self.lock();
        let Some(client) = &inner.client else { return };
        let said = !inner.open || (inner.outbox.status_sent() && inner.written >= inner.handed_over);
        if said && !inner.leaving {
            inner.leaving = client.leave(patience);
        }
    }
}

/// The service's end.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    role: watch::Sender<Role>,
    events: mpsc::Receiver<LinkEvent>,
    patience: Duration,
}

impl Link {
    /// A link that is not started; the second part is to be spawned.
    pub(crate) fn new(address: Address, topics: Topics) -> (Self, impl Future<Output = ()> + Send) {
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                outbox: Outbox::new(address.tuning.queue),
                client: None,
                open: false,
                leaving: false,
                handed_over: 0,
                written: 0,
                subscriptions: VecDeque::new(),
            }),
            counters: Counters::default(),
        });
        let (role, wanted) = watch::channel(Role::Serve);
        let (tell, events) = mpsc::channel(INCOMING);
        let patience = address.tuning.goodbye;
        let task = Task { address, topics, shared: Arc::clone(&shared), wanted, tell }.run();
        (Self { shared, role, events, patience }, task)
    }

    /// The next event; `None` when the task has ended.
    pub(crate) async fn next(&mut self) -> Option<LinkEvent> {
        let event = self.events.recv().await;
        if let Some(LinkEvent::Message(Incoming { payload: Ok(payload), .. })) = &event {
            self.shared.counters.waiting_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        }
        event
    }

    /// Changes what is to be sent, then hands over what the client has room for.
    pub(crate) fn send<T>(&self, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let result = change(&mut self.shared.lock().outbox);
        self.shared.pump();
        result
    }

    /// Allows publishing on the present connection.
    pub(crate) fn open(&self) {
        self.shared.lock().open = true;
        self.shared.pump();
    }

    /// Stops publishing; what changes meanwhile is kept.
    pub(crate) fn close(&self) {
        self.shared.lock().open = false;
    }

    /// Subscribes; answered by [`LinkEvent::Subscribed`]. Lost with the connection.
    pub(crate) fn subscribe(&self, filters: Vec<String>) {
        let inner = &mut *self.shared.lock();
        let Some(client) = &inner.client else { return };
        // Asked for on a fresh connection, before anything else is in the queue.
        if client.subscribe(&filters) {
            inner.subscriptions.push_back(filters);
        } else {
            tracing::warn!("the MQTT client has no room for a subscription");
        }
    }

    /// Ends the present connection in good order and connects again for `role`, or ends for good.
    pub(crate) fn become_role(&self, role: Role) {
        self.role.send_replace(role);
        self.shared.pump();
        self.shared.leave(self.patience);
    }

    /// Counted since start.
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

struct Task {
    address: Address,
    topics: Topics,
    shared: Arc<Shared>,
    wanted: watch::Receiver<Role>,
    tell: mpsc::Sender<LinkEvent>,
}

enum End {
    /// Asked for.
    Left,
    /// What is wrong, and whether it had been connected.
    Lost(String, bool),
}

impl Task {
    async fn run(mut self) {
        let mut attempts = Attempts::new(&self.address.tuning, &self.address.client_id);
        loop {
            let role = *self.wanted.borrow_and_update();
            if role == Role::Stop {
                return;
            }
            let end = self.attempt(role, &mut attempts).await;
            {
                let inner = &mut *self.shared.lock();
                inner.client = None;
                inner.open = false;
                inner.leaving = false;
                inner.subscriptions.clear();
            }
            if let End::Lost(problem, was_connected) = end {
                let problem = attempts.lost(problem);
                if self.tell.send(LinkEvent::Lost { problem, was_connected }).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = sleep(attempts.wait()) => {}
                    changed = self.wanted.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    async fn attempt(&mut self, role: Role, attempts: &mut Attempts) -> End {
        let (id, will) = match role {
            Role::Look => (format!("{}-standby", self.address.client_id), None),
            Role::Serve | Role::Stop => (self.address.client_id.clone(), Some(self.topics.status())),
        };
        let mut events = match client::build(&self.address, &id, will) {
            Ok((client, events)) => {
                let inner = &mut *self.shared.lock();
                inner.client = Some(client);
                (inner.handed_over, inner.written) = (0, 0);
                events
            }
            Err(problem) => return End::Lost(problem, false),
        };
        let accepted = tokio::select! {
            accepted = events.accepted() => accepted,
            _ = self.wanted.changed() => return End::Left,
        };
        if let Err(problem) = accepted {
            return End::Lost(problem, false);
        }
        attempts.connected();
        self.shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        if self.tell.send(LinkEvent::Connected).await.is_err() {
            return End::Left;
        }
        self.converse(role, &mut events).await
    }

    /// Polls until the connection ends.
    async fn converse(&mut self, role: Role, events: &mut Events) -> End {
        let tuning = self.address.tuning;
        let mut window = (Instant::now(), 0_u32);
        let patience = self.address.patience();
        let mut heard_at = Instant::now();
        loop {
            let leaving = *self.wanted.borrow() != role;
            if leaving {
                self.shared.leave(tuning.goodbye);
            }
            let until = if leaving { Instant::now() + tuning.goodbye } else { heard_at + patience };
            let event = timeout_at(until, events.next()).await;
            // It may have been asked for while we waited.
            let leaving = *self.wanted.borrow() != role;
            if event.as_ref().is_ok_and(|it| it.as_ref().is_ok_and(Heard::is_life)) {
                heard_at = Instant::now();
            }
            match event {
                Ok(Err(_)) | Err(_) if leaving => return End::Left,
                Ok(Err(problem)) => return End::Lost(problem, true),
                Err(_) => return End::Lost(self.address.hangs(), true),
                Ok(Ok(Heard::Message(message))) => {
                    self.hear(&message);
                    window.1 += 1;
                }
                Ok(Ok(Heard::Subscribed(granted))) => {
                    let filters = self.shared.lock().subscriptions.pop_front().unwrap_or_default();
                    let refused = filters.into_iter().zip(granted).filter(|(_, it)| !it).map(|(it, _)| it).collect();
                    if self.tell.send(LinkEvent::Subscribed(refused)).await.is_err() {
                        return End::Left;
                    }
                }
                Ok(Ok(Heard::Written)) => self.shared.lock().written += 1,
                Ok(Ok(Heard::Accepted | Heard::Alive | Heard::Other)) => {}
            }
            self.shared.pump();
            let elapsed = window.0.elapsed();
            if elapsed >= FLOOD_WINDOW {
                window = (Instant::now(), 0);
            } else if window.1 >= FLOOD_MESSAGES {
                sleep(FLOOD_WINDOW - elapsed).await;
                window = (Instant::now(), 0);
            }
        }
    }

    /// Passes a message on if it is for us and there is room for it.
    fn hear(&self, message: &Received) {
        let Some(topic) = message.topic() else { return };
        let counters = &self.shared.counters;
        let Some(inbound) = self.topics.sort(topic) else { return };
        counters.received.fetch_add(1, Ordering::Relaxed);
        let size = message.payload().len();
        let payload = if size > inbound.limit() { Err(size) } else { Ok(message.payload().to_vec()) };
        let kept = payload.as_ref().map_or(0, Vec::len);
        let incoming = Incoming { inbound, topic: topic.to_owned(), payload, retained: message.retained() };
        let room = counters.waiting_bytes.fetch_add(kept, Ordering::Relaxed) + kept <= INCOMING_BYTES;
        if !room || self.tell.try_send(LinkEvent::Message(incoming)).is_err() {
            counters.waiting_bytes.fetch_sub(kept, Ordering::Relaxed);
            counters.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }
}

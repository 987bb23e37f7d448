//! The conversation: who may speak, what is said when, what comes in.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Views;
use super::astray;
use super::bucket::Bucket;
use super::client::Address;
use super::inbox::{Answered, BackedUp};
use super::json::{Object, Out};
use super::leftover::Leftovers;
use super::link::{Incoming, Link, LinkEvent, Role};
use super::listener::Ear;
use super::options::MqttOptions;
use super::outbox::Rank;
use super::peers::Peers;
use super::publisher::{Publisher, Told};
use super::stamp::rfc3339;
use super::status::{LinkState, MqttStatus};
use super::topics::{Inbound, Place, Topics, unreadable};
use crate::clock::{is_set, wall_ms};
use crate::device::ToControl;
use crate::event::{Event, EventType};
use crate::influx::Collector;
use crate::link::reminder::Reminder;
use crate::quantity::{Mono, Span};

/// Home Assistant is told everything anew at most this often, however often it says that it was born.
const BIRTH_PAUSE: Span = Span::from_secs(5);
/// Retained messages that keep coming are not waited for any longer than this many settling times.
const MAX_SETTLE: u32 = 20;
/// So many commands on topics that are only nearly right are answered in a second.
const ASTRAY_PER_SECOND: u32 = 5;
/// How often leftovers are looked at while there are any, however long the interval of the states is.
const SWEEP: Duration = Duration::from_millis(250);
/// Where an answer to a subscription that never comes is no longer waited for.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_secs(5);

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected.
    Down,
    /// Connected; what the broker remembers of this base is coming in.
    Settling {
        /// It ends then, unless more comes.
        until: Instant,
        /// It ends then in any case.
        latest: Instant,
    },
    /// Somebody's traces were found: whether he lives will be known at the time given.
    Doubting(Instant),
    /// Nobody else is here, and commands are subscribed to. We are online when that is granted, or at the time given:
    /// the client sends subscriptions and publications in no fixed order, and a command given to somebody who is
    /// online must not be lost.
    Arriving(Instant),
    /// Publishing and obeying.
    Serving,
    /// Another instance lives; its next sign of life is due by then.
    Standby(Instant),
}

pub(super) struct Service {
    pub(super) options: Arc<MqttOptions>,
    pub(super) topics: Topics,
    pub(super) views: Views,
    pub(super) link: Link,
    /// What devices hear comes in elsewhere; here only how that does.
    pub(super) ear: Ear,
    pub(super) publisher: Publisher,
    lines: Option<Collector>,
    pub(super) peers: Peers,
    leftovers: Leftovers,
    pub(super) bucket: Bucket,
    /// The same for answers to what is nearly a command: it must not take the place of one.
    pub(super) astray: Bucket,
    pub(super) waiting: JoinSet<Answered>,
    pub(super) backups: JoinSet<BackedUp>,
    pub(super) phase: Phase,
    /// Another instance serves this base: the connection is only there to see whether it still does.
    pub(super) looking: bool,
    pub(super) status: MqttStatus,
    /// What is wrong with the link itself.
    problem: Option<String>,
    pub(super) log_level: String,
    /// The loss of the broker has been told.
    pub(super) lost_told: bool,
    /// Of a broker that is not reached, and of topics of devices that are not heard.
    pub(super) reminder: Reminder,
    pub(super) ear_reminder: Reminder,
    /// Topics that the broker refuses to let us read, in a sentence.
    unreadable: Option<String>,
    /// A replayed command has been told on this connection.
    pub(super) replay_told: bool,
    born_at: Option<Mono>,
    overrun_told: u64,
    events_missed: u64,
}

impl Service {
    pub(super) fn new(
        options: Arc<MqttOptions>,
        views: Views,
        address: Address,
        ear: Ear,
        status: MqttStatus,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let config = &options.config;
        let topics = Topics::new(&config.base_topic, &config.discovery_prefix, &config.birth_topic);
        let (link, task) = Link::new(address, topics.clone());
        // Seeded by the operating system: enough to tell two processes apart.
        let run = format!("{:016x}", RandomState::new().build_hasher().finish());
        let publisher = link.send(|outbox| Publisher::new(Arc::clone(&options), run.clone(), topics.clone(), outbox));
        let now = views.clock.now();
        let service = Self {
            lines: config.influx.then(|| {
                let roles = options.meters.iter().map(|it| (it.common.id.clone(), it.role));
                Collector::new(options.site.time_zone.clone(), roles)
            }),
            peers: Peers::new(&options.instance, &run, config.interval),
            bucket: Bucket::new(options.tuning.commands_per_second, now),
            astray: Bucket::new(ASTRAY_PER_SECOND, now),
            log_level: options.requests.level.clone(),
            publisher,
            link,
            ear,
            problem: None,
            topics,
            views,
            options,
            status,
            leftovers: Leftovers::default(),
            waiting: JoinSet::new(),
            backups: JoinSet::new(),
            phase: Phase::Down,
            looking: false,
            lost_told: false,
            reminder: Reminder::default(),
            ear_reminder: Reminder::default(),
            unreadable: None,
            replay_told: false,
            born_at: None,
            overrun_told: 0,
            events_missed: 0,
        };
        (service, task)
    }

    /// Speaks until `cancel`, then says good-bye.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut ticks = interval(self.options.config.interval.to_std().max(Duration::from_millis(50)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut snapshots_end, mut events_end) = (false, false);
        let mut orders = self.views.ports.clone();
        let mut listening = self.ear.listening.clone();
        let mut listening_ends = false;
        self.report(LinkState::Connecting, None);
        loop {
            let deadline = match self.phase {
                Phase::Settling { until, .. } => Some(until),
                Phase::Doubting(until) | Phase::Standby(until) | Phase::Arriving(until) => Some(until),
                Phase::Down | Phase::Serving => None,
            };
            tokio::select! {
                () = cancel.cancelled() => break,
                event = self.link.next() => match event {
                    Some(event) => self.hear(event),
                    // Only a panic ends the link's task; without it there is nothing left to do but wait for the end.
                    None => {
                        self.report(LinkState::Retrying, Some("the MQTT link ended: restart the program".to_owned()));
                        cancel.cancelled().await;
                        break;
                    }
                },
                changed = self.views.snapshots.changed(), if !snapshots_end => {
                    snapshots_end = changed.is_err();
                    self.look(false);
                }
                event = self.views.events.recv(), if !events_end => match event {
                    Ok(event) => self.tell(&event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => self.events_missed += missed,
                    Err(broadcast::error::RecvError::Closed) => events_end = true,
                },
                changed = listening.changed(), if !listening_ends => {
                    listening_ends = changed.is_err();
                    self.say_of_listening();
                    self.refresh();
                }
                () = orders.ordered() => self.order_relays(),
                Some(answered) = self.waiting.join_next() => {
                    if let Ok(answered) = answered {
                        self.answered(answered);
                    }
                }
                Some(done) = self.backups.join_next() => {
                    if let Ok(done) = done {
                        self.backed_up(done);
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.decide(),
                _ = ticks.tick() => self.tick(),
                _ = sweeps.tick(), if !self.leftovers.is_empty() => self.sweep(),
            }
        }
        self.goodbye().await;
    }

    pub(super) fn now(&self) -> Mono {
        self.views.clock.now()
    }

    fn hear(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                let now = Instant::now();
                let until = now + SUBSCRIBE_PATIENCE;
                self.phase = Phase::Settling { until, latest: until };
                self.replay_told = false;
                self.unreadable = None;
                self.peers.connected(self.now());
                self.link.subscribe(self.topics.watched());
                if self.looking {
                    self.report(LinkState::Standby, Some(self.taken()));
                } else {
                    self.report(LinkState::Connecting, None);
                }
            }
            LinkEvent::Subscribed(mut refused) => {
                // A courtesy; without it everything works.
                refused.retain(|it| !self.topics.nearly().contains(it));
                if let Phase::Settling { .. } = self.phase {
                    let settle = self.options.tuning.settle;
                    let now = Instant::now();
                    self.phase = Phase::Settling { until: now + settle, latest: now + settle * MAX_SETTLE };
                }
                let arrived = matches!(self.phase, Phase::Arriving(_));
                if let Some(problem) = unreadable(refused.iter().map(String::as_str)) {
                    tracing::warn!("{problem}");
                    self.unreadable = Some(problem.clone());
                    self.report(self.status.state, Some(problem));
                }
                if arrived {
                    self.serve();
                }
            }
            LinkEvent::Message(message) => self.message(message),
            LinkEvent::Lost { problem, was_connected } => self.lost(problem, was_connected),
        }
    }

    pub(super) fn arrive(&mut self) {
        self.phase = Phase::Arriving(Instant::now() + SUBSCRIBE_PATIENCE);
        self.link.subscribe(self.topics.obeyed());
        for filters in self.topics.nearly().chunks(astray::AT_ONCE) {
            self.link.subscribe(filters.to_vec());
        }
    }

    pub(super) fn serve(&mut self) {
        self.phase = Phase::Serving;
        self.peers.serves(self.now());
        let status = self.topics.status();
        self.link.send(|outbox| {
            outbox.set(Rank::Status, &status, "online".to_owned());
            outbox.all_again();
        });
        let unreadable = self.unreadable.clone();
        self.report(LinkState::Online, unreadable);
        self.look(true);
        self.order_relays();
        self.renew();
        self.link.open();
        tracing::info!("MQTT: connected to {}", self.status.broker);
        self.reminder.well();
        if std::mem::take(&mut self.lost_told) {
            self.raise(EventType::BrokerBack, "bridge", "connected again; all states are published anew".to_owned());
        }
    }

    fn message(&mut self, message: Incoming) {
        let Incoming { inbound, topic, payload, retained } = message;
        if let Phase::Settling { latest, .. } = self.phase {
            self.phase = Phase::Settling { until: (Instant::now() + self.options.tuning.settle).min(latest), latest };
        }
        match (inbound, payload) {
            (Inbound::Command { place, path }, payload) => {
                if self.obeys() {
                    self.command(place, path, topic, payload, retained);
                }
            }
            (Inbound::Request(name), payload) => {
                if self.obeys() {
                    self.request(&name, topic, payload, retained);
                }
            }
            (Inbound::Astray(meant), payload) => {
                // A retained one is somebody's state as well as it may be a command, and would be answered for ever.
                if self.obeys() && !retained {
                    self.astray(&meant, topic, payload);
                }
            }
            (Inbound::Status, Ok(payload)) => {
                self.peers.status(&payload, self.now());
                if self.phase == Phase::Serving && !retained && payload == b"offline" {
                    // The will of an older connection of ours, or somebody's mistake.
                    self.link.send(|outbox| outbox.again(&topic));
                }
                self.reconsider();
            }
            (Inbound::Info, Ok(payload)) => {
                self.peers.info(&payload, retained, self.now());
                self.reconsider();
            }
            (Inbound::Birth, Ok(payload)) => {
                // A retained one is older than this connection, at whose begin everything was said.
                if self.phase == Phase::Serving && !retained && payload == b"online" {
                    self.born();
                }
            }
            (Inbound::Discovery, Ok(payload)) => {
                if retained && !payload.is_empty() {
                    let place = self.leftovers.device(&topic, &payload, &self.topics);
                    if let Some(place) = place {
                        self.publisher.recall(&place, self.leftovers.keys(&place));
                    }
                }
            }
            (Inbound::Availability(place), Ok(payload)) => {
                if retained && !payload.is_empty() {
                    self.leftovers.availability(place);
                } else if !retained && self.phase == Phase::Serving {
                    // Somebody's mistake. Our own words come back as well, and an older one than the last is sent once more.
                    self.link.send(|outbox| outbox.insist(&topic, &payload));
                }
            }
            // Too large to be any of these.
            (_, Err(size)) => tracing::debug!("{size} bytes on {topic} are not looked at"),
        }
    }

    /// Commands are taken: ours is the only instance here.
    fn obeys(&self) -> bool {
        matches!(self.phase, Phase::Serving | Phase::Arriving(_))
    }

    fn reconsider(&mut self) {
        if !matches!(self.phase, Phase::Settling { .. } | Phase::Down) {
            self.decide();
        }
    }

    /// Home Assistant has started: it knows nothing of us but what is retained.
    fn born(&mut self) {
        let now = self.now();
        if self.born_at.is_none_or(|it| now.since(it) >= BIRTH_PAUSE) {
            self.born_at = Some(now);
            self.link.send(super::outbox::Outbox::all_again);
        }
    }

    pub(super) fn stamp(&self) -> Option<String> {
        let now = wall_ms();
        rfc3339(now, &self.options.site.time_zone).filter(|_| is_set(now))
    }

    /// Tells of something that happened here. It goes through the control thread like everybody's events, so that
    /// page and MQTT show one list; it comes back as an event to publish.
    pub(super) fn raise(&mut self, event_type: EventType, subject: &str, detail: String) {
        let event = Event::new(event_type, subject, detail);
        if !self.views.control.tell(ToControl::Event(event.clone())) {
            self.tell(&event);
        }
    }

    /// Publishes an event, or keeps it until the broker is back.
    fn tell(&mut self, event: &Event) {
        if self.looking {
            return;
        }
        let (mut object, figures) = (Object::new(), event.figures);
        object
            .put("event_type", &Out::Word(event.event_type.word()))
            .put("subject", &Out::Text(event.subject.clone()))
            .put("detail", &Out::Text(event.detail.clone()))
            .put("current_a", &Out::amps(figures.current))
            .put("limit_a", &Out::amps(figures.current_limit))
            .put("power_w", &Out::watts(figures.power))
            .put("limit_w", &Out::watts(figures.power_limit))
            .put("time", &Out::or_null(self.stamp(), Out::Text));
        let payload = object.finish();
        let own = match self.publisher.place_of(&event.subject) {
            Some(place @ Place::Device(..)) => Some(self.topics.event_of(&place)),
            _ => None,
        };
        let all = self.topics.event();
        self.link.send(|outbox| {
            if let Some(own) = own {
                outbox.push(own, payload.clone());
            }
            outbox.push(all, payload);
        });
    }

    pub(super) fn look(&mut self, tick: bool) {
        if self.phase != Phase::Serving {
            return;
        }
        let Some(snapshot) = self.views.snapshots.borrow_and_update().clone() else { return };
        let now = self.now();
        self.link.send(|outbox| self.publisher.look(&snapshot, now, tick, outbox));
    }

    /// Line protocol, where it is wanted: everything new in one message.
    fn tell_lines(&mut self) {
        let (Phase::Serving, Some(lines)) = (self.phase, &mut self.lines) else { return };
        let Some(snapshot) = self.views.snapshots.borrow().clone() else { return };
        let batch = lines.collect(&snapshot, self.views.clock.now()).concat();
        if !batch.is_empty() {
            let topic = self.topics.influx();
            self.link.send(|outbox| outbox.push_newest(topic, batch));
        }
    }

    /// `bridge/info`: the sign of life for other instances.
    pub(super) fn renew(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        let snapshot = self.views.snapshots.borrow().clone();
        let now = self.now();
        self.link.send(|outbox| {
            let told = Told { log_level: &self.log_level, predecessor: self.peers.predecessor(now) };
            self.publisher.info(snapshot.as_deref(), wall_ms(), now, told, outbox);
        });
    }

    fn tick(&mut self) {
        self.look(true);
        self.renew();
        self.tell_lines();
        let overrun =
            self.link.counters().overrun.load(Ordering::Relaxed) + self.ear.counters.dropped.load(Ordering::Relaxed);
        if overrun > self.overrun_told {
            if self.overrun_told == 0 {
                let detail = "messages come in faster than they are looked at: the rest is dropped".to_owned();
                self.raise(EventType::CommandRefused, "bridge", detail);
            }
            self.overrun_told = overrun;
        }
        self.refresh();
    }

    /// While the file is wrong nobody knows what is left over, and another instance's devices are not ours to clear.
    fn sweep(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        let now = self.now();
        self.link.send(|outbox| {
            self.leftovers.silence(&self.publisher, &self.topics, outbox);
            if self.options.config_errors.is_empty() && self.peers.predecessor(now).is_none() {
                self.leftovers.settle(&self.publisher, &self.topics, now, outbox);
            }
        });
    }

    pub(super) fn report(&mut self, state: LinkState, problem: Option<String>) {
        self.problem = problem;
        self.enter(state);
    }

    /// The same state, with what has changed around it.
    fn refresh(&mut self) {
        self.enter(self.status.state);
    }

    fn enter(&mut self, state: LinkState) {
        let now = self.now();
        let counters = self.link.counters();
        let status = &mut self.status;
        if status.state != state {
            status.state = state;
            status.since = now;
        }
        {
            let listening = self.ear.listening.borrow();
            status.listening = listening.online && state != LinkState::Stopped;
            // One sentence: where both connections fail, it is the same broker.
            status.problem = self.problem.clone().or_else(|| listening.problem.clone());
        }
        status.connections = counters.connections.load(Ordering::Relaxed);
        status.published = counters.published.load(Ordering::Relaxed);
        let heard = &self.ear.counters;
        status.received = counters.received.load(Ordering::Relaxed) + heard.received.load(Ordering::Relaxed);
        status.dropped_incoming = counters.overrun.load(Ordering::Relaxed)
            + heard.dropped.load(Ordering::Relaxed)
            + self.bucket.refused()
            + self.astray.refused();
        status.dropped_outgoing = self.link.send(|outbox| outbox.dropped()) + self.events_missed;
        self.views.status.send_if_modified(|shown| {
            let changed = shown != status;
            if changed {
                shown.clone_from(status);
            }
            changed
        });
    }

    async fn goodbye(mut self) {
        let status = self.topics.status();
        if self.phase == Phase::Serving {
            self.link.send(|outbox| {
                outbox.close();
                outbox.set(Rank::Status, &status, "offline".to_owned());
            });
        } else {
            self.link.close();
        }
        self.link.become_role(Role::Stop);
        let rest = async { while self.link.next().await.is_some() {} };
        if timeout(self.options.tuning.goodbye, rest).await.is_err() {
            tracing::warn!("MQTT: the broker did not take our good-bye in time; its last will speaks for us");
        }
        self.report(LinkState::Stopped, None);
    }
}

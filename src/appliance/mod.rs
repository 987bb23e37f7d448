//! Wiring, supervision and the orderly stop.
//!
//! Three threads, so that trouble in one does not reach the next: `control` decides, `devices` speaks to meters and
//! chargers and enforces the leases, `services` serves MQTT and the page. A fourth writes settings to disk.

mod boot;
mod broker;
mod control_loop;
mod counter_store;
mod counters;
mod devices;
#[cfg(debug_assertions)]
mod hang;
mod instance;
mod keeper;
mod peak;
mod picture;
mod services;
mod session_store;
mod signals;
mod store;
mod supervise;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Heartbeat, wall_ms};
use crate::command::{ChargerCommand, LastOffer, Leased};
use crate::config::{Config, Diagnostic, Inputs, SettingsStore, Severity};
use crate::control::Controller;
use crate::device::meter::Names;
use crate::device::meter::p1::Tap;
use crate::device::{ControlLink, ToControl};
use crate::event::{Event, EventType};
use crate::logging::LevelSwitch;
use crate::mqtt::{Feeds, MqttStatus, Restart};
use crate::quantity::{Mono, Span};
use crate::status::Snapshot;
use crate::supervisor::Supervisor;

/// Messages on their way to the control thread; a full queue drops news and lets the leases act.
const INBOX: usize = 1024;
/// Events kept for a view that is slow to read them.
const EVENTS: usize = 256;
/// A thread of control or devices that has shown no sign of life for so long will not come back.
const HUNG: Span = Span::from_secs(30);
/// Everything that an orderly stop does must fit into this.
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// What the caller adds to the configuration.
#[derive(Default)]
pub struct Options {
    /// What the check of the configuration had to say. With an error among it, the devices of the configuration given
    /// are only brought to min(present offer, fail-safe current) and left alone.
    pub diagnostics: Vec<Diagnostic>,
    /// Changes the log level at run time.
    pub level: Option<LevelSwitch>,
    /// Has the caller stop the appliance and start it anew.
    pub restart: Option<Restart>,
    /// What the configuration was made from, for backups by request; `None` while it is wrong.
    pub inputs: Option<Inputs>,
    /// Who knows the broker when `[mqtt] url` is `supervisor`.
    pub supervisor: Option<Supervisor>,
    /// Where Home Assistant's ingress finds the page; only the Supervisor is let in there.
    pub ingress: Option<SocketAddr>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("diagnostics", &self.diagnostics)
            .field("level", &self.level)
            .field("restart", &self.restart.is_some())
            .field("inputs", &self.inputs)
            .field("supervisor", &self.supervisor)
            .field("ingress", &self.ingress)
            .finish()
    }
}

/// A running appliance.
#[derive(Debug)]
pub struct Appliance {
    control: Option<JoinHandle<()>>,
    devices: Option<JoinHandle<()>>,
    services: Option<JoinHandle<()>>,
    disk: Option<JoinHandle<()>>,
    memory: Option<JoinHandle<()>>,
    sessions: Option<JoinHandle<()>>,
    heartbeat: Heartbeat,
    clock: Clock,
    stopping: Arc<AtomicBool>,
    inbox: SyncSender<ToControl>,
    last_offers: Vec<watch::Sender<Option<LastOffer>>>,
    /// Ends every relay's task in its safe state.
    leave: CancellationToken,
    has_relays: bool,
    cancel: CancellationToken,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    faces: services::Faces,
}

impl Appliance {
    /// Starts every thread. Devices, broker, disk and page may all be absent: each is waited for by itself.
    ///
    /// # Errors
    /// Only when the operating system gives no thread.
    pub fn start(config: Config, options: Options) -> std::io::Result<Self> {
        let clock = Clock::start();
        let config = Arc::new(config);
        let mut setup = config.setup();
        let (inbox, outbox) = sync_channel(INBOX);
        let link = ControlLink::new(inbox.clone());
        let (events, _) = broadcast::channel(EVENTS);
        let (snapshots, snapshots_seen) = watch::channel(None);
        let cancel = CancellationToken::new();
        let errors = sentences(&options.diagnostics, Severity::Error);
        let safe_only = !errors.is_empty();
        let charging_enabled = setup.site.charging_enabled;
        setup.site.charging_enabled &= !safe_only;

        let (mut store, notes) = SettingsStore::open(&config.storage.data_dir);
        let (instance, unkept) = instance::name(&config.storage.data_dir);
        let mut controller = Controller::new(setup.clone(), clock.now());
        let mut early = early_events(&errors);
        early.extend(notes.iter().map(|note| disk_error(note.to_string())));
        early.extend(unkept.map(|error| {
            disk_error(format!("the data directory {} cannot be written: {error}", config.storage.data_dir.display()))
        }));
        if !safe_only {
            // A fallback that lacks a charger must not cost it its settings.
            early.extend(restore(&mut controller, &mut store, &config, clock));
        }

        let mut orders = Vec::new();
        let mut last_offers = Vec::new();
        let mut actions = Vec::new();
        let mut chargers = Vec::new();
        for charger in &setup.chargers {
            // In safe-only mode nobody ever grants a lease, and the device task brings the charger to min(present offer,
            // fail-safe current). Else it may ask at once what the charger offers.
            let order = ChargerCommand { fail_safe: charger.fail_safe, ..ChargerCommand::default() };
            let held =
                if safe_only { Leased::never(order) } else { Leased::until(order, clock.now() + setup.timing.lease) };
            let (order, order_seen) = watch::channel(held);
            let (last_offer, last_offer_seen) = watch::channel(None);
            let (action, _) = broadcast::channel(8);
            chargers.push(devices::ChargerEnds {
                orders: order_seen,
                last_offer: last_offer_seen,
                actions: action.clone(),
            });
            orders.push(order);
            last_offers.push(last_offer);
            actions.push(action);
        }

        let (kept, unread) = counter_store::read(&config.storage.data_dir);
        early.extend(unread.map(disk_error));
        let (keeper, memory) = counter_store::start(&config.storage.data_dir, link.clone())?;

        let (sessions, sessions_thread, unread) = session_store::Sessions::start(
            &config.storage.data_dir,
            boot::Boot::read(clock),
            config.chargers.iter().map(|it| it.common.id.clone()).collect(),
            &mut controller,
            session_store::Now { mono: clock.now(), wall_ms: wall_ms() },
            link.clone(),
        )?;
        early.extend(unread.map(disk_error));

        let names: Arc<[Names]> = config
            .meters
            .iter()
            .map(|it| kept.get(&it.common.id).map_or_else(Names::default, |it| Names::restored(&it.names)))
            .collect();

        let signals = signals::Signals::new(&config);

        let (store_queue, disk) = store::start(store, Arc::clone(&config), link.clone())?;

        let heartbeat = Heartbeat::new(clock.now());
        let taps: Arc<[Option<Tap>]> = (0..config.meters.len())
            .map(|meter| config.serves.iter().any(|it| it.source == meter).then(Tap::default))
            .collect();
        let feeds = Feeds::new(config.meters.iter().flat_map(|it| it.driver.topics()));
        let (services, faces) = services::start(services::Parts {
            config: Arc::clone(&config),
            instance,
            clock,
            control: link.clone(),
            snapshots: snapshots_seen.clone(),
            events: events.clone(),
            ports: signals.ports.clone(),
            lease: setup.timing.lease,
            leave: signals.leave.clone(),
            cancel: cancel.clone(),
            feeds: feeds.clone(),
            taps: Arc::clone(&taps),
            heartbeat: heartbeat.clone(),
            warnings: sentences(&options.diagnostics, Severity::Warning),
            errors,
            diagnostics: options.diagnostics,
            level: options.level,
            restart: options.restart,
            inputs: options.inputs,
            supervisor: options.supervisor,
            ingress: options.ingress,
        })?;
        let devices = devices::start(devices::Parts {
            config: Arc::clone(&config),
            timing: setup.timing,
            clock,
            control: link,
            chargers,
            inputs: signals.inputs,
            relays: signals.relays,
            leave: signals.leave.clone(),
            mqtt: faces.mqtt.clone(),
            cancel: cancel.clone(),
            feeds,
            taps,
            names: Arc::clone(&names),
            heartbeat: heartbeat.clone(),
        })?;

        let stopping = Arc::new(AtomicBool::new(false));
        let control = control_loop::ControlLoop {
            controller,
            clock,
            lease: setup.timing.lease,
            inbox: outbox,
            orders,
            relay_orders: signals.orders,
            tariffs: signals::Tariffs::new(&config),
            last_offers: last_offers.clone(),
            actions,
            snapshots,
            events,
            store: store_queue,
            picture: picture::Picture::new(&config, faces.clone(), &kept, &names, clock.now()),
            memory: control_loop::Memory { keeper, kept, at: clock.now() },
            sessions,
            early,
            safe_only,
            charging_enabled,
            stopping: Arc::clone(&stopping),
            wall: control_loop::WallClock::default(),
        };
        let control = std::thread::Builder::new().name("control".into()).spawn(move || control.run())?;
        Ok(Self {
            control: Some(control),
            devices: Some(devices),
            services: Some(services),
            disk: Some(disk),
            memory: Some(memory),
            sessions: Some(sessions_thread),
            heartbeat,
            clock,
            stopping,
            inbox,
            last_offers,
            leave: signals.leave,
            has_relays: !config.relays.is_empty(),
            cancel,
            snapshots: snapshots_seen,
            faces,
        })
    }

    /// The newest picture of everything.
    #[must_use]
    pub fn snapshots(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.snapshots.clone()
    }

    /// How the MQTT link does, and where the built-in broker listens.
    #[must_use]
    pub fn mqtt_status(&self) -> watch::Receiver<MqttStatus> {
        self.faces.mqtt.clone()
    }

    /// Where the page is served; `None` until it is, and when it is switched off.
    #[must_use]
    pub fn web_address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.faces.web.clone()
    }

    /// Whether the control thread and the devices' thread still work. When the first does not, the leases have put every
    /// charger at its fail-safe current; when the second does not, the chargers' own timers have, where there are any. The
    /// process is to be ended and started anew.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let drawn = self.snapshots.borrow().as_ref().map_or(Mono::default(), |it| it.at);
        let works = |thread: &Option<JoinHandle<()>>, seen: Mono| {
            thread.as_ref().is_some_and(|thread| !thread.is_finished()) && self.clock.now().since(seen) < HUNG
        };
        works(&self.control, drawn) && works(&self.devices, self.heartbeat.last())
    }

    /// The orderly stop: every charger at what may be left behind, relays safe, `offline` on MQTT. Takes at most eight
    /// seconds, whatever hangs.
    pub fn stop(mut self) {
        let deadline = Instant::now() + STOP_WITHIN;
        self.stopping.store(true, Ordering::Relaxed);
        self.leave.cancel();
        // Only to wake it: a full queue wakes it as well.
        let _ = self.inbox.try_send(ToControl::Shutdown);
        if !ends_by(&mut self.control, Instant::now() + Duration::from_secs(1)) {
            tracing::error!("the control thread does not answer; its chargers go to their fail-safe currents");
            for sender in &self.last_offers {
                sender.send_if_modified(|offer| {
                    let missing = offer.is_none();
                    if missing {
                        *offer = Some(LastOffer::Lapse);
                    }
                    missing
                });
            }
        }
        if self.last_offers.is_empty() && !self.has_relays {
            self.cancel.cancel();
        }
        // Charger and relay tasks end by themselves once what they leave behind is confirmed.
        ends_by(&mut self.devices, deadline - Duration::from_secs(2));
        self.cancel.cancel();
        ends_by(&mut self.devices, deadline - Duration::from_secs(1));
        ends_by(&mut self.services, deadline);
        ends_by(&mut self.disk, deadline);
        ends_by(&mut self.memory, deadline);
        ends_by(&mut self.sessions, deadline);
    }
}

/// Waits for a thread to end; `false` when it did not.
fn ends_by(thread: &mut Option<JoinHandle<()>>, deadline: Instant) -> bool {
    while thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if let Some(thread) = thread.take()
        && thread.join().is_err()
    {
        tracing::error!("a thread ended by a panic");
    }
    true
}

fn disk_error(detail: String) -> Event {
    Event::new(EventType::DiskError, "bridge", detail)
}

fn early_events(errors: &[String]) -> Vec<Event> {
    let runs = format!("Gridkeeper {} runs", env!("CARGO_PKG_VERSION"));
    let mut events = vec![Event::new(EventType::Started, "bridge", runs)];
    if !errors.is_empty() {
        let detail = format!("{} error(s) in the configuration: {}", errors.len(), errors.join("; "));
        events.push(Event::new(EventType::ConfigInvalid, "bridge", detail));
    }
    events
}

/// Each diagnostic of this severity in one line.
fn sentences(diagnostics: &[Diagnostic], severity: Severity) -> Vec<String> {
    let of_severity = diagnostics.iter().filter(|it| it.severity == severity);
    of_severity
        .map(|it| match (it.line, it.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}: {}", it.file, it.message),
            _ => format!("{}: {}", it.file, it.message),
        })
        .collect()
}

/// Puts the stored run-time settings on top of the file's.
fn restore(controller: &mut Controller, store: &mut SettingsStore, config: &Config, clock: Clock) -> Vec<Event> {
    let event = |event_type, key: &str, detail: String| {
        let subject = key.split('/').nth(1).filter(|_| key.starts_with("charger/")).unwrap_or("site");
        Event::new(event_type, subject, detail)
    };
    let (lost, saved) = store.reconcile(|key| config.setting(key));
    let mut events: Vec<Event> = lost
        .into_iter()
        .map(|it| {
            let detail = format!(
                "the file was changed: {} is {} again, as it says; the setting {} that was made at run time is dropped",
                it.key, it.file, it.stored
            );
            event(EventType::SettingsOverridden, &it.key, detail)
        })
        .collect();
    events.extend(saved.err().map(|error| disk_error(format!("settings cannot be stored: {error}"))));
    for (key, value) in store.entries() {
        let Some((device, setting)) = key.rsplit_once('/') else { continue };
        if let Err(refused) = controller.set(clock.now(), &format!("{device}/set/{setting}"), value) {
            let detail = format!("the stored setting {key} = {value} is not in force: {refused}");
            events.push(event(EventType::SettingsOverridden, key, detail));
        }
    }
    events
}

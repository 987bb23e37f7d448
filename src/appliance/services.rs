//! The services' thread: MQTT and the page, on a runtime of their own. Both are views; neither can hold the others up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker;
use super::supervise::supervise;
use crate::backup;
use crate::clock::{Clock, Heartbeat};
use crate::config::{Config, Diagnostic, Inputs};
use crate::device::meter::p1::Tap;
use crate::device::{ControlLink, ToControl};
use crate::event::{Event, EventType};
use crate::influx::{self, Collector, InfluxStatus};
use crate::link::backoff::Backoff;
use crate::logging::LevelSwitch;
use crate::mqtt::{self, Feeds, MqttOptions, MqttStatus, Ports, Requests, Restart, Views};
use crate::quantity::{Mono, Span};
use crate::serve::{self, ServeStatus};
use crate::status::Snapshot;
use crate::supervisor::Supervisor;
use crate::web::{self, WebInfo, WebState};

/// All that the thread needs.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) instance: String,
    pub(super) clock: Clock,
    pub(super) control: ControlLink,
    pub(super) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) ports: Ports,
    pub(super) lease: Span,
    /// Set when an orderly stop begins: from then on nobody decides, and that is right.
    pub(super) leave: CancellationToken,
    pub(super) cancel: CancellationToken,
    pub(super) feeds: Feeds,
    /// By meter, where others read along.
    pub(super) taps: Arc<[Option<Tap>]>,
    /// Of the devices' thread.
    pub(super) heartbeat: Heartbeat,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<String>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) level: Option<LevelSwitch>,
    pub(super) restart: Option<Restart>,
    pub(super) inputs: Option<Inputs>,
    pub(super) supervisor: Option<Supervisor>,
    pub(super) ingress: Option<SocketAddr>,
}

/// What the services tell about themselves.
#[derive(Clone, Debug)]
pub(super) struct Faces {
    pub(super) mqtt: watch::Receiver<MqttStatus>,
    pub(super) web: watch::Receiver<Option<SocketAddr>>,
    /// How many of the page's addresses cannot be had.
    pub(super) web_failed: watch::Receiver<u8>,
}

/// The services' ends of the same.
struct Mirrors {
    mqtt: watch::Sender<MqttStatus>,
    web: watch::Sender<Option<SocketAddr>>,
    web_failed: watch::Sender<u8>,
}

/// Starts the thread; it ends when cancelled.
pub(super) fn start(parts: Parts) -> std::io::Result<(JoinHandle<()>, Faces)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("services").build()?;
    let (mqtt_status, mqtt) = watch::channel(MqttStatus::default());
    let (web_address, web) = watch::channel(None);
    let (web_failure, web_failed) = watch::channel(0);
    let faces = Faces { mqtt, web, web_failed };
    let mirrors = Mirrors { mqtt: mqtt_status, web: web_address, web_failed: web_failure };
    let shown = faces.clone();
    // Before the control thread runs: its first events must not be missed, however slowly this thread starts.
    let heard = parts.events.subscribe();
    let thread = std::thread::Builder::new().name("services".into()).spawn(move || {
        runtime.block_on(run(parts, heard, Arc::new(mirrors), &shown));
        runtime.shutdown_timeout(Duration::from_millis(200));
    })?;
    Ok((thread, faces))
}

async fn run(parts: Parts, heard: broadcast::Receiver<Event>, mirrors: Arc<Mirrors>, faces: &Faces) {
    let (control, cancel) = (parts.control.clone(), parts.cancel.clone());
    let mqtt = {
        let (options, mirrors, cancel) = (options(&parts), Arc::clone(&mirrors), cancel.clone());
        let supervisor = parts.supervisor.clone();
        let (snapshots, events) = (parts.snapshots.clone(), parts.events.clone());
        let (control, clock, ports) = (parts.control.clone(), parts.clock, parts.ports.clone());
        // A restarted task misses what happened meanwhile.
        let mut first = Some(heard);
        move || {
            let views = Views {
                snapshots: snapshots.clone(),
                events: first.take().unwrap_or_else(|| events.subscribe()),
                control: control.clone(),
                clock,
                ports: ports.clone(),
                status: mirrors.mqtt.clone(),
            };
            speak_mqtt(options.clone(), supervisor.clone(), views, cancel.clone())
        }
    };
    let (influx_status, influx_seen) = watch::channel(InfluxStatus::default());
    let database = {
        let (config, snapshots, clock) = (Arc::clone(&parts.config), parts.snapshots.clone(), parts.clock);
        let cancel = cancel.clone();
        move || write_influx(Arc::clone(&config), snapshots.clone(), clock, influx_status.clone(), cancel.clone())
    };
    let (serving, serves) = serve_others(&parts);
    let state = WebState {
        snapshots: parts.snapshots.clone(),
        mqtt: faces.mqtt.clone(),
        influx: influx_seen,
        serves: serves.into(),
        info: Arc::new(WebInfo::of(&parts.config)),
        diagnostics: Arc::new(parts.diagnostics.clone()),
        password: parts.config.web.password.clone(),
        only_from: None,
        clock: parts.clock,
        devices: parts.heartbeat.clone(),
    };
    let ingress = {
        // Home Assistant has asked for the login already.
        let state = WebState { password: None, only_from: Some(web::SUPERVISOR), ..state.clone() };
        let (listen, cancel) = (parts.ingress, cancel.clone());
        let (control, mirrors) = (control.clone(), Arc::clone(&mirrors));
        move || serve_ingress(listen, state.clone(), control.clone(), Arc::clone(&mirrors), cancel.clone())
    };
    let page = {
        let (listen, cancel) = (parts.config.web.listen, cancel.clone());
        let control = control.clone();
        move || serve_page(listen, state.clone(), control.clone(), Arc::clone(&mirrors), cancel.clone())
    };
    tokio::join!(
        supervise("mqtt".to_owned(), control.clone(), cancel.clone(), mqtt),
        supervise("influx".to_owned(), control.clone(), cancel.clone(), database),
        supervise("ingress".to_owned(), control.clone(), cancel.clone(), ingress),
        supervise("page".to_owned(), control, cancel.clone(), page),
        serving.wait(),
        watch_threads(parts.snapshots, parts.heartbeat, parts.events, parts.clock, parts.lease, parts.leave),
    );
}

/// Tells when the control loop or the devices' thread hangs, until `leave`: they cannot do so themselves.
async fn watch_threads(
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    heartbeat: Heartbeat,
    events: broadcast::Sender<Event>,
    clock: Clock,
    lease: Span,
    leave: CancellationToken,
) {
    let (mut control, mut devices) = (Pulse::new(clock.now()), Pulse::new(clock.now()));
    let tell = |(event_type, detail): (EventType, &str)| {
        tracing::error!("{detail}");
        let event = Event::new(event_type, "bridge", detail);
        // Nobody listening is no fault: the views may all be off.
        let _ = events.send(event);
    };
    while leave.run_until_cancelled(tokio::time::sleep(lease.to_std() / 4)).await.is_some() {
        let drawn = snapshots.borrow().as_ref().map(|it| it.at);
        match control.look(clock.now(), drawn, lease) {
            Some(true) => tell((
                EventType::FailSafeEntered,
                "the control loop hangs: every charger is being lowered to its fail-safe current",
            )),
            Some(false) => tell((EventType::FailSafeLeft, "the control loop decides again")),
            None => {}
        }
        match devices.look(clock.now(), Some(heartbeat.last()), lease.max(DEVICES_HANG)) {
            Some(true) => tell((
                EventType::FailSafeEntered,
                "the thread that speaks to the devices hangs: nothing reaches a charger, and each falls to what its own \
                 timer was programmed with",
            )),
            Some(false) => tell((EventType::FailSafeLeft, "the thread that speaks to the devices works again")),
            None => {}
        }
    }
}

/// It shows a sign of life each second.
const DEVICES_HANG: Span = Span::from_secs(5);

/// Whether the control loop lives, as seen by somebody who is looked after by the same machine.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    born: Mono,
    looked: Mono,
    hangs: bool,
}

impl Pulse {
    fn new(now: Mono) -> Self {
        Self { born: now, looked: now, hangs: false }
    }

    /// `drawn`: when the loop last drew its picture. `Some` when what is thought of it has changed.
    ///
    /// Who could not look for half a lease stood still together with the loop, because the machine was starved or the
    /// process was stopped: what it sees then is old, and the next look decides.
    fn look(&mut self, now: Mono, drawn: Option<Mono>, lease: Span) -> Option<bool> {
        let slept = now.since(std::mem::replace(&mut self.looked, now));
        let hangs = now.since(drawn.unwrap_or(self.born)) > lease;
        let blind = hangs && slept.0 > lease.0 / 2;
        (!blind && hangs != std::mem::replace(&mut self.hangs, hangs)).then_some(hangs)
    }
}

fn options(parts: &Parts) -> Option<MqttOptions> {
    match MqttOptions::from_config(&parts.config, &parts.instance, env!("CARGO_PKG_VERSION")) {
        Ok(options) => options.map(|options| MqttOptions {
            config_errors: parts.errors.clone(),
            config_warnings: parts.warnings.clone(),
            feeds: parts.feeds.clone(),
            hung_after: parts.lease,
            requests: Requests {
                restart: parts.restart.clone(),
                backup: parts.inputs.clone().map(|inputs| -> mqtt::BackUp {
                    let folder = parts.config.storage.data_dir.clone();
                    Arc::new(move || backup::shown(&inputs, &folder))
                }),
                level: parts.level.as_ref().map_or_else(String::new, LevelSwitch::level),
                log_level: parts
                    .level
                    .clone()
                    .map(|switch| -> mqtt::SetLogLevel { Arc::new(move |level| switch.set(level)) }),
            },
            ..options
        }),
        Err(error) => {
            tracing::error!("MQTT is off: time zone `{}`: {error}", parts.config.site.time_zone);
            None
        }
    }
}

async fn speak_mqtt(
    options: Option<MqttOptions>,
    supervisor: Option<Supervisor>,
    views: Views,
    cancel: CancellationToken,
) {
    match options {
        Some(options) => broker::speak(options, supervisor, views, cancel).await,
        None => cancel.cancelled().await,
    }
}

/// Writes to InfluxDB where that is configured.
async fn write_influx(
    config: Arc<Config>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    clock: Clock,
    status: watch::Sender<InfluxStatus>,
    cancel: CancellationToken,
) {
    let Some(influx) = &config.influx else { return };
    match Collector::of(&config) {
        Ok(collector) => influx::run(influx, collector, snapshots, clock, &status, cancel).await,
        Err(error) => tracing::error!("InfluxDB is off: time zone `{}`: {error}", config.site.time_zone),
    }
}

/// Starts what is served to others, each by itself; gives what the page shows of it.
fn serve_others(parts: &Parts) -> (TaskTracker, Vec<watch::Receiver<ServeStatus>>) {
    let tasks = TaskTracker::new();
    let mut shown = Vec::new();
    for it in &parts.config.serves {
        let (Some(tap), Some(meter)) =
            (parts.taps.get(it.source).cloned().flatten(), parts.config.meters.get(it.source))
        else {
            continue;
        };
        let (status, seen) = watch::channel(ServeStatus::new(it.kind, &meter.common.id));
        shown.push(seen);
        let (it, control, cancel) = (it.clone(), parts.control.clone(), parts.cancel.clone());
        let name = format!("serve {} of {}", it.kind.word(), meter.common.id);
        let task = move || serve::p1::run(it.clone(), tap.clone(), status.clone(), control.clone(), cancel.clone());
        tasks.spawn(supervise(name, parts.control.clone(), parts.cancel.clone(), task));
    }
    tasks.close();
    (tasks, shown)
}

/// Serves the page to Home Assistant's ingress.
async fn serve_ingress(
    listen: Option<SocketAddr>,
    state: WebState,
    control: ControlLink,
    mirrors: Arc<Mirrors>,
    cancel: CancellationToken,
) {
    let Some(wanted) = listen else { return };
    let what = format!("the page for Home Assistant cannot be served on {wanted}");
    if let Some(listener) = have(wanted, &what, "", &control, &mirrors, &cancel).await {
        web::run(listener, state, cancel).await;
    }
}

/// Serves the page as soon as its address can be had.
async fn serve_page(
    listen: Option<SocketAddr>,
    state: WebState,
    control: ControlLink,
    mirrors: Arc<Mirrors>,
    cancel: CancellationToken,
) {
    let Some(wanted) = listen else { return };
    let what = format!("the status page cannot be served on {wanted}");
    let advice = "; set [web] listen to a free address";
    let Some(listener) = have(wanted, &what, advice, &control, &mirrors, &cancel).await else { return };
    mirrors.web.send_replace(listener.local_addr().ok());
    tracing::info!("the page is on http://{}/", listener.local_addr().unwrap_or(wanted));
    web::run(listener, state, cancel).await;
}

/// Tries until the address can be had, and tells once that it cannot; `None`: cancelled before.
async fn have(
    wanted: SocketAddr,
    what: &str,
    advice: &str,
    control: &ControlLink,
    mirrors: &Mirrors,
    cancel: &CancellationToken,
) -> Option<TcpListener> {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut told = false;
    loop {
        match TcpListener::bind(wanted).await {
            Ok(listener) => {
                if told {
                    mirrors.web_failed.send_modify(|failed| *failed -= 1);
                }
                return Some(listener);
            }
            Err(error) if !told => {
                told = true;
                mirrors.web_failed.send_modify(|failed| *failed += 1);
                tracing::error!("{what}: {error}; trying again");
                let detail = format!("{what}: {error}{advice}");
                control.tell(ToControl::Event(Event::new(EventType::Risk, "bridge", detail)));
            }
            Err(_) => {}
        }
        cancel.run_until_cancelled(tokio::time::sleep(backoff.next())).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_that_cannot_be_had_is_told_once_and_shown_until_it_can() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let wanted = taken.local_addr().expect("bound");
        let (sender, inbox) = std::sync::mpsc::sync_channel(8);
        let control = ControlLink::new(sender);
        let mirrors = Mirrors {
            mqtt: watch::channel(MqttStatus::default()).0,
            web: watch::channel(None).0,
            web_failed: watch::channel(0).0,
        };
        let cancel = CancellationToken::new();
        let had = have(wanted, "no page", "; free it", &control, &mirrors, &cancel);
        let freed = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            assert_eq!(*mirrors.web_failed.borrow(), 1);
            drop(taken);
        };
        let (listener, ()) = tokio::join!(had, freed);
        assert_eq!(listener.and_then(|it| it.local_addr().ok()), Some(wanted));
        assert_eq!(*mirrors.web_failed.borrow(), 0);
        let told: Vec<_> = inbox.try_iter().collect();
        let [ToControl::Event(event)] = &told[..] else { panic!("{told:?}") };
        assert!(event.detail.starts_with("no page: ") && event.detail.ends_with("; free it"), "{}", event.detail);
    }

    const LEASE: Span = Span::from_secs(5);

    /// Looks every 1.25 s from `from` on, as the watch does; what it says.
    fn looks(pulse: &mut Pulse, from: i64, count: i64, drawn: Option<i64>) -> Vec<bool> {
        let look = |it| pulse.look(Mono(from + it * 1_250), drawn.map(Mono), LEASE);
        (0..count).filter_map(look).collect()
    }

    #[test]
    fn a_loop_that_draws_nothing_for_a_lease_hangs_and_is_told_once() {
        let mut pulse = Pulse::new(Mono(0));
        assert_eq!(looks(&mut pulse, 1_250, 4, Some(1_000)), [false; 0], "up to 5 s");
        assert_eq!(looks(&mut pulse, 6_250, 5, Some(1_000)), [true]);
        assert_eq!(looks(&mut pulse, 12_500, 3, Some(12_400)), [false]);
        let mut pulse = Pulse::new(Mono(60_000));
        assert_eq!(looks(&mut pulse, 61_250, 4, None), [false; 0], "a start may take its time");
        assert_eq!(looks(&mut pulse, 66_250, 2, None), [true]);
    }

    #[test]
    fn whoever_stood_still_itself_looks_again() {
        let mut pulse = Pulse::new(Mono(0));
        assert_eq!(looks(&mut pulse, 1_250, 1, Some(1_000)), [false; 0]);
        assert_eq!(looks(&mut pulse, 60_000, 1, Some(1_000)), [false; 0], "the whole process was stopped for a minute");
        assert_eq!(looks(&mut pulse, 61_250, 1, Some(61_000)), [false; 0]);
        assert_eq!(looks(&mut pulse, 120_000, 1, Some(61_000)), [false; 0]);
        assert_eq!(looks(&mut pulse, 121_250, 1, Some(61_000)), [true], "only the loop has not come back");
        assert_eq!(looks(&mut pulse, 180_000, 1, Some(179_900)), [false], "good news need no second look");
    }
}

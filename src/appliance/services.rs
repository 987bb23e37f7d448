//! The services' thread: MQTT and the page, on a runtime of their own. Both are views; neither can hold the others up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Config, Diagnostic};
use crate::device::{ControlLink, ToControl};
use crate::event::{Event, EventType};
use crate::link::backoff::Backoff;
use crate::logging::LevelSwitch;
use crate::mqtt::{self, MqttOptions, MqttStatus, Requests, Views};
use crate::status::Snapshot;
use crate::web::{self, WebInfo, WebState};

/// All that the thread needs.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) instance: String,
    pub(super) clock: Clock,
    pub(super) control: ControlLink,
    pub(super) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(super) events: broadcast::Receiver<Event>,
    pub(super) cancel: CancellationToken,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<String>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) level: Option<LevelSwitch>,
}

/// What the services tell about themselves.
#[derive(Clone, Debug)]
pub(super) struct Faces {
    pub(super) mqtt: watch::Receiver<MqttStatus>,
    pub(super) web: watch::Receiver<Option<SocketAddr>>,
}

/// Starts the thread; it ends when cancelled.
pub(super) fn start(parts: Parts) -> std::io::Result<(JoinHandle<()>, Faces)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("services").build()?;
    let (mqtt_status, mqtt) = watch::channel(MqttStatus::default());
    let (web_address, web) = watch::channel(None);
    let faces = Faces { mqtt, web };
    let shown = faces.clone();
    let thread = std::thread::Builder::new().name("services".into()).spawn(move || {
        runtime.block_on(run(parts, mqtt_status, web_address, &shown));
        runtime.shutdown_timeout(Duration::from_millis(200));
    })?;
    Ok((thread, faces))
}

async fn run(
    parts: Parts,
    mqtt_status: watch::Sender<MqttStatus>,
    web_address: watch::Sender<Option<SocketAddr>>,
    faces: &Faces,
) {
    let options = options(&parts);
    let mqtt = tokio::spawn(speak_mqtt(
        options,
        Views {
            snapshots: parts.snapshots.clone(),
            events: parts.events,
            control: parts.control.clone(),
            clock: parts.clock,
            status: mqtt_status,
        },
        parts.cancel.clone(),
    ));
    let state = WebState {
        snapshots: parts.snapshots.clone(),
        mqtt: faces.mqtt.clone(),
        info: Arc::new(WebInfo::of(&parts.config)),
        diagnostics: Arc::new(parts.diagnostics),
        password: parts.config.web.password.clone(),
        clock: parts.clock,
    };
    let page = tokio::spawn(serve_page(parts.config.web.listen, state, parts.control, web_address, parts.cancel));
    for (name, task) in [("mqtt", mqtt), ("page", page)] {
        if let Err(error) = task.await {
            tracing::error!("the {name} service failed: {error}");
        }
    }
}

fn options(parts: &Parts) -> Option<MqttOptions> {
    match MqttOptions::from_config(&parts.config, &parts.instance, env!("CARGO_PKG_VERSION")) {
        Ok(options) => options.map(|options| MqttOptions {
            config_errors: parts.errors.clone(),
            config_warnings: parts.warnings.clone(),
            requests: Requests {
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

async fn speak_mqtt(options: Option<MqttOptions>, views: Views, cancel: CancellationToken) {
    match options {
        Some(options) => mqtt::run(options, views, cancel).await,
        None => cancel.cancelled().await,
    }
}

/// Serves the page as soon as its address can be had.
async fn serve_page(
    listen: Option<SocketAddr>,
    state: WebState,
    control: ControlLink,
    address: watch::Sender<Option<SocketAddr>>,
    cancel: CancellationToken,
) {
    let Some(wanted) = listen else { return };
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut told = false;
    loop {
        match TcpListener::bind(wanted).await {
            Ok(listener) => {
                address.send_replace(listener.local_addr().ok());
                tracing::info!("the page is on http://{}/", listener.local_addr().unwrap_or(wanted));
                return web::run(listener, state, cancel).await;
            }
            Err(error) if !told => {
                told = true;
                tracing::error!("the page cannot be served on {wanted}: {error}; trying again");
                control.tell(ToControl::Event(Event {
                    event_type: EventType::Risk,
                    subject: "bridge".to_owned(),
                    detail: format!(
                        "the status page cannot be served on {wanted}: {error}; set [web] listen to a free address"
                    ),
                }));
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = cancel.cancelled() => return,
        }
    }
}

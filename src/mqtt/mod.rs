//! MQTT and Home Assistant: a view that shows what the controller does and hands people's wishes to it.
//!
//! Nothing here is part of the safety path. The broker may be absent, slow, hung or hostile: this module then waits,
//! counts and says so, and the controller does not notice.

mod astray;
mod attempts;
mod bucket;
mod client;
mod command;
mod discovery;
mod embedded;
pub mod feed;
mod inbox;
mod json;
mod leftover;
mod link;
mod listener;
mod lost;
mod options;
mod outbox;
mod peers;
mod ports;
mod publisher;
mod service;
mod stamp;
mod standby;
mod status;
mod topics;
mod track;

// What the lines for InfluxDB share with the state topics.
pub(crate) use discovery::meter::QUALITY;
pub(crate) use discovery::{Moment, charger, meter, relay, site};
pub(crate) use json::Out;
pub(crate) use stamp::{Clocks, Steady};

pub use feed::Feeds;
pub use options::{
    BackUp, ChargerInfo, InputInfo, MeterInfo, MqttOptions, RelayInfo, Requests, Restart, SetLogLevel, SiteInfo, Tuning,
};
pub use ports::{InputPort, Ports, RelayPort};
pub use status::{LinkState, MqttStatus};

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::client::{Address, Material};
use self::embedded::Embedded;
use self::listener::Listener;
use self::service::Service;
use self::topics::Topics;
use crate::clock::Clock;
use crate::config::model::{MqttEndpoint, Secret};
use crate::device::ControlLink;
use crate::event::Event;
use crate::link::backoff::Backoff;
use crate::status::Snapshot;

/// What the module is given to look at and to speak to.
#[derive(Debug)]
pub struct Views {
    /// The newest picture; `None` before the first.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Every event, ours among them: they are told to the control thread and come back here, so that page and MQTT
    /// show the same list.
    pub events: broadcast::Receiver<Event>,
    /// Where wishes go.
    pub control: ControlLink,
    /// The process's clock.
    pub clock: Clock,
    /// Inputs and relays that are reached through the broker.
    pub ports: Ports,
    /// What the page shows of us.
    pub status: watch::Sender<MqttStatus>,
}

/// Speaks MQTT until `cancel`, then says `offline`, disconnects and returns within about [`Tuning::goodbye`].
///
/// Never ends by itself: whatever is wrong with the broker is shown in [`MqttStatus`] and tried again. With
/// `embedded://` the built-in broker runs as long as this does; where it listens stands in [`MqttStatus::embedded`].
pub async fn run(options: MqttOptions, views: Views, cancel: CancellationToken) {
    let login = options.config.username.clone().map(|user| (user, options.config.password.clone()));
    let mut status = MqttStatus { base_topic: options.config.base_topic.clone(), ..MqttStatus::default() };
    let (broker, host, port, tls) = match &options.config.endpoint {
        MqttEndpoint::Plain { host, port } => (None, host.clone(), *port, None),
        MqttEndpoint::Tls { host, port } => (None, host.clone(), *port, Some(material(&options.config))),
        MqttEndpoint::Embedded(address) => {
            status.broker = format!("embedded://{address}");
            let Some(broker) = embedded(*address, login.clone(), &options.tuning, &views, &mut status, &cancel).await
            else {
                return;
            };
            let address = broker.address;
            (Some(broker), address.ip().to_string(), address.port(), None)
        }
        MqttEndpoint::Supervisor => {
            // Whoever runs us has asked it before.
            tracing::error!("MQTT is off: the Supervisor's broker is not resolved");
            return cancel.cancelled().await;
        }
    };
    if broker.is_none() {
        let scheme = if tls.is_some() { "mqtts" } else { "mqtt" };
        status.broker = format!("{scheme}://{host}:{port}");
    }
    let address = Address { host, port, tls, login, client_id: options.client_id.clone(), tuning: options.tuning };
    let goodbye = options.tuning.goodbye;
    let topics = Topics::new(&options.config.base_topic, "", "");
    let (ear, listener) = Listener::new(&address, &topics, options.feeds.clone(), &views.ports.inputs, views.clock);
    let (service, link) = Service::new(Arc::new(options), views, address, ear, status);
    // However this ends, neither connection outlives it.
    let link = AbortOnDropHandle::new(tokio::spawn(link));
    let listener = listener.map(|it| AbortOnDropHandle::new(tokio::spawn(it.run(cancel.clone()))));
    service.run(cancel).await;
    drop(link);
    if let Some(listener) = listener {
        // It has been leaving for as long as the service has.
        let _ = tokio::time::timeout(goodbye, listener).await;
    }
    if let Some(broker) = broker {
        broker.stop().await;
    }
}

fn material(config: &crate::config::model::Mqtt) -> Material {
    Material {
        ca_pem: config.ca_pem.clone(),
        client: config.client_cert_pem.clone().zip(config.client_key_pem.clone()),
    }
}

/// Starts the built-in broker, again and again until it runs; `None`: cancelled before.
async fn embedded(
    address: SocketAddr,
    login: Option<(String, Option<Secret>)>,
    tuning: &Tuning,
    views: &Views,
    status: &mut MqttStatus,
    cancel: &CancellationToken,
) -> Option<Embedded> {
    let mut backoff = Backoff::new(tuning.retry_first, tuning.retry_max);
    loop {
        match Embedded::start(address, login.clone()).await {
            Ok(broker) => {
                status.embedded = Some(broker.address);
                status.problem = None;
                return Some(broker);
            }
            Err(problem) => {
                tracing::error!("MQTT: {problem}");
                status.state = LinkState::Retrying;
                status.problem = Some(problem);
                status.since = views.clock.now();
                views.status.send_replace(status.clone());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => {}
            () = cancel.cancelled() => return None,
        }
    }
}

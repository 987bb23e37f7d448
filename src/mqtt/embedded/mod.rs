//! The built-in broker of `embedded://`: for the demo and for a house without one. In memory, nothing on disk.
//!
//! MQTT 3.1.1 and 5.0 with every quality of service, retained messages, last wills, sessions that outlive a connection;
//! without shared subscriptions, topic aliases and enhanced authentication, which version 5 lets a broker say. One lock
//! guards the [`router`], which never waits; each connection has a task of its own that writes what the router has for
//! it, so that a slow client holds up nobody but itself: others wait for it a moment, as long as it takes something.

mod connection;
mod listener;
mod message;
mod peer;
mod router;
mod session;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mqtt5_protocol::packet::connect::ConnectPacket;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::router::Router;
use crate::config::model::Secret;

/// Clients at one time: a house has a handful.
const MAX_CLIENTS: usize = 32;
/// Connections that have not said yet who they are, beside those: after a power cut all clients come at once.
const MAX_STRANGERS: usize = MAX_CLIENTS;
/// All together, with those that are being told why they have to go.
const MAX_CONNECTIONS: usize = MAX_CLIENTS + MAX_STRANGERS + 16;
/// Clients that are away and may come back to their session …
const MAX_AWAY: usize = 16;
/// … for so long, whatever they asked for.
const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);
/// Subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 200;
/// Length of a topic or a filter: 65535 levels to compare would hold up everybody.
const MAX_TOPIC: usize = 1024;
const MAX_CLIENT_ID: usize = 256;
/// Retained messages: twenty chargers and ten meters with all that belongs to them have some 150 …
const MAX_RETAINED: usize = 500;
/// … and the size of one: the device message of a meter with every key that it may have takes 60 KiB.
const MAX_RETAINED_SIZE: usize = 128 * 1024;
/// Of all together.
const MAX_RETAINED_BYTES: usize = 8 * 1024 * 1024;
/// Size of any packet.
const MAX_PACKET: usize = 256 * 1024;
/// Messages that wait for a slow client.
const MAX_QUEUED: usize = 500;
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// Of all clients together, with what is retained; a message that many wait for counts once. Then whoever has most
/// waiting loses it, and its connection.
const MAX_HELD_BYTES: usize = 2 * MAX_RETAINED_BYTES;
/// Messages that a client has to acknowledge; in bytes as many as may wait.
const MAX_IN_FLIGHT: usize = 64;
/// Publications of quality of service 2 that a client with version 5 may have open.
const RECEIVE_MAXIMUM: u16 = 100;
/// From the connection to the end of CONNECT.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// From the first byte of a packet to its last.
const PACKET_PATIENCE: Duration = Duration::from_secs(30);
/// For a client to take something of what is written to it.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// So long a burst waits for a subscriber that has much in its queue and takes none of it.
const CROWD_PATIENCE: Duration = Duration::from_millis(50);
/// At the end, for the connections to say so …
const GOODBYE: Duration = Duration::from_secs(1);
/// … and for all of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all connections have in common.
struct Shared {
    router: Mutex<Router>,
    /// Some client was handed what waited for it.
    relief: Notify,
    login: Option<OneLogin>,
    cancel: CancellationToken,
}

impl Shared {
    fn new(login: Option<OneLogin>) -> Self {
        Self { router: Mutex::default(), relief: Notify::new(), login, cancel: CancellationToken::new() }
    }

    /// A connection that unwound with the lock held leaves at worst a message half handed out.
    fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running broker; it ends with [`stop`](Self::stop), or when this is dropped.
pub(crate) struct Embedded {
    /// Where it listens: the real port where 0 was asked for.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Embedded {
    /// Starts a broker. With a login everybody needs it; without one the address must be a loopback one.
    ///
    /// # Errors
    /// One sentence that names what to change.
    pub(crate) async fn start(address: SocketAddr, login: Option<(String, Option<Secret>)>) -> Result<Self, String> {
        let guarded = login.as_ref().is_some_and(|it| it.1.is_some());
        if !guarded && !address.ip().is_loopback() {
            return Err(format!(
                "the built-in broker may listen at {address}, off this machine, only with a login: set [mqtt] username \
                 and password_file, or use embedded://127.0.0.1:{}",
                address.port()
            ));
        }
        let listener = TcpListener::bind(address).await.map_err(|error| explain(&error, address))?;
        let address = listener.local_addr().map_err(|error| explain(&error, address))?;
        let login = login.map(|(user, password)| OneLogin { user, password });
        let shared = Arc::new(Shared::new(login));
        let task = tokio::spawn(listener::run(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, task })
    }

    /// Ends it and waits until the port is free.
    pub(crate) async fn stop(mut self) {
        self.shared.cancel.cancel();
        if timeout(PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
    }
}

fn explain(error: &std::io::Error, address: SocketAddr) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "the port is taken, perhaps by another broker: choose another in [mqtt] url, or use that one with mqtt://"
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: change it in [mqtt] url",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need rights: choose another in [mqtt] url",
        _ => return format!("the built-in broker cannot listen at {address}: {error}"),
    };
    format!("the built-in broker cannot listen at {address}: {why}")
}

/// Everybody has the login of the configuration.
struct OneLogin {
    user: String,
    password: Option<Secret>,
}

impl OneLogin {
    fn admits(&self, connect: &ConnectPacket) -> bool {
        let given = connect.password.as_deref().unwrap_or_default();
        let right = self.password.as_ref().map_or(given.is_empty(), |it| it.is(given));
        connect.username.as_deref() == Some(self.user.as_str()) && right
    }
}

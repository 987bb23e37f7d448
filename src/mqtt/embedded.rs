//! The built-in broker of `embedded://`: for the demo and for a house without one. In memory, nothing on disk.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::config::{StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::model::Secret;

/// Clients at one time: a house has a handful.
const MAX_CLIENTS: usize = 32;
/// Subscriptions of one client.
const MAX_SUBSCRIPTIONS: usize = 200;
/// Retained messages: twenty chargers and ten meters with all that belongs to them have some 150 …
const MAX_RETAINED: usize = 500;
/// … and the size of one: the device message of a meter with every key that it may have takes 60 KiB.
const MAX_RETAINED_SIZE: usize = 128 * 1024;
/// Size of any message.
const MAX_PACKET: usize = 256 * 1024;
/// Messages that wait for a slow client.
const MAX_QUEUED: usize = 500;
const MAX_QUEUED_BYTES: usize = 1024 * 1024;
/// How long the end may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running broker; it ends with [`stop`](Self::stop), or when this is dropped.
pub(crate) struct Embedded {
    /// Where it listens: the real port where 0 was asked for.
    pub(crate) address: SocketAddr,
    handle: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Embedded {
    /// Starts a broker. With a login everybody needs it; without one the address must be a loopback one.
    ///
    /// # Errors
    /// One sentence that names what to change.
    pub(crate) async fn start(address: SocketAddr, login: Option<(String, Option<Secret>)>) -> Result<Self, String> {
        if login.is_none() && !address.ip().is_loopback() {
            return Err(format!(
                "the built-in broker may listen at {address}, off this machine, only with a login: set [mqtt] username \
                 and password_file, or use embedded://127.0.0.1:{}",
                address.port()
            ));
        }
        // Asked first on our own: the crate's error does not tell a busy port from a wrong address.
        TcpListener::bind(address).await.map_err(|error| explain(&error, address))?;
        let storage = StorageConfig::new()
            .with_backend(StorageBackend::Memory)
            .with_max_queued_messages_per_client(MAX_QUEUED)
            .with_max_queued_bytes_per_client(MAX_QUEUED_BYTES);
        let config = BrokerConfig::new()
            .with_bind_address(address)
            .with_max_clients(MAX_CLIENTS)
            .with_max_packet_size(MAX_PACKET)
            .with_max_retained_messages(MAX_RETAINED)
            .with_max_retained_message_size(MAX_RETAINED_SIZE)
            .with_max_subscriptions_per_client(MAX_SUBSCRIPTIONS)
            .with_sys_topics_enabled(false)
            .with_storage(storage);
        let cannot = |error: &dyn std::fmt::Display| format!("the built-in broker cannot start at {address}: {error}");
        let mut broker = MqttBroker::with_config(config).await.map_err(|error| cannot(&error))?;
        if let Some((user, password)) = login {
            broker = broker.with_auth_provider(Arc::new(OneLogin { user, password }));
        }
        let address = broker.local_addr().ok_or_else(|| cannot(&"it does not listen"))?;
        let handle = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!("the built-in broker ended: {error}");
            }
        });
        let embedded = Self { address, handle, task };
        match timeout(PATIENCE, ready.wait_for(|it| *it)).await {
            Ok(Ok(_)) => Ok(embedded),
            _ => Err(cannot(&"it did not become ready")),
        }
    }

    /// Ends it and waits until the port is free.
    pub(crate) async fn stop(mut self) {
        self.handle.shutdown();
        if timeout(PATIENCE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.handle.shutdown();
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

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for OneLogin {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _client: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        let result = if self.admits(connect) {
            AuthResult::success_with_user(self.user.clone())
        } else {
            AuthResult::fail(ReasonCode::BadUsernameOrPassword)
        };
        Box::pin(std::future::ready(Ok(result)))
    }

    fn authorize_publish<'a>(&'a self, _: &str, _: Option<&'a str>, _: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(true))
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, _: Option<&'a str>, _: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn port_0_is_a_free_one_and_a_taken_one_says_so() {
        let first = Embedded::start(loopback(0), None).await.unwrap();
        assert_ne!(first.address.port(), 0);
        let error = Embedded::start(first.address, None).await.err().unwrap();
        assert!(error.contains("taken") && error.contains("[mqtt] url"), "{error}");
        let address = first.address;
        first.stop().await;
        Embedded::start(address, None).await.unwrap().stop().await;
    }

    /// A connection that has said who it is.
    async fn client(broker: SocketAddr, id: u8) -> (TcpStream, bool) {
        let mut stream = TcpStream::connect(broker).await.unwrap();
        let hello = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, id];
        let mut answer = [0; 4];
        let sent = stream.write_all(&hello).await.is_ok();
        let taken = sent && stream.read_exact(&mut answer).await.is_ok() && answer == [0x20, 2, 0, 0];
        (stream, taken)
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_ends_its_connection_before_it_was_read() {
        let broker = Embedded::start(loopback(0), None).await.unwrap();
        let (mut stream, taken) = client(broker.address, b'a').await;
        assert!(taken);
        // The fixed header of a publication of four times the size; its body never comes.
        stream.write_all(&[0x30, 0x80, 0x80, 0x40]).await.unwrap();
        let end = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("the broker waits for the rest of it");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        broker.stop().await;
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_clients_and_no_more() {
        let broker = Embedded::start(loopback(0), None).await.unwrap();
        let mut held = Vec::new();
        for id in 0..u8::try_from(MAX_CLIENTS).unwrap() {
            let (stream, taken) = client(broker.address, b'0' + id).await;
            assert!(taken, "client {id}");
            held.push(stream);
        }
        assert!(!client(broker.address, b'z').await.1);
        broker.stop().await;
    }

    #[tokio::test]
    async fn off_the_machine_it_wants_a_login() {
        let error = Embedded::start(SocketAddr::from(([0, 0, 0, 0], 0)), None).await.err().unwrap();
        assert!(error.contains("username"), "{error}");
    }
}

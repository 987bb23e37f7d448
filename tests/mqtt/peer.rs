//! The other side: a broker that can be killed, a client that sees everything, a wire that can be cut.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt5::broker::config::{StorageBackend, StorageConfig, TlsConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, PublishOptions, QoS};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

/// Nothing here takes as long; what does has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Certificates for a broker with TLS.
pub(crate) struct Certificates {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Clients must show one that this authority signed.
    pub(crate) clients: Option<PathBuf>,
}

pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) tls_address: Option<SocketAddr>,
    handle: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::on(0).await
    }

    pub(crate) async fn on(port: u16) -> Self {
        Self::with(port, None).await
    }

    pub(crate) async fn with(port: u16, tls: Option<Certificates>) -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut config = BrokerConfig::new()
            .with_bind_address(loopback(port))
            .with_max_packet_size(4 * 1024 * 1024)
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory));
        if let Some(Certificates { chain, key, clients }) = tls {
            let mut tls = TlsConfig::new(chain, key).with_bind_address(loopback(0));
            if let Some(clients) = clients {
                tls = tls.with_ca_file(clients).with_require_client_cert(true);
            }
            config = config.with_tls(tls);
        }
        let mut broker = MqttBroker::with_config(config).await.unwrap();
        let (address, tls_address) = (broker.local_addr().unwrap(), broker.tls_local_addr());
        let handle = broker.shutdown_handle();
        let mut ready = broker.ready_receiver();
        let task = tokio::spawn(async move { broker.run().await.unwrap() });
        ready.wait_for(|it| *it).await.unwrap();
        Self { address, tls_address, handle, task }
    }

    /// Everything it knew is gone, as after a restart of one without persistence.
    pub(crate) async fn kill(self) {
        self.handle.shutdown();
        self.task.await.unwrap();
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retained: bool,
}

impl Seen {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{}: {error}", self.topic))
    }
}

/// A client that keeps all it hears.
pub(crate) struct Peer {
    client: AsyncClient,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr, filter: &str) -> Self {
        Self::login(address, filter, None).await
    }

    pub(crate) async fn login(address: SocketAddr, filter: &str, login: Option<(&str, &str)>) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let id = format!("peer-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(id, (address.ip().to_string(), address.port()));
        options.set_max_packet_size(4 * 1024 * 1024, 4 * 1024 * 1024);
        options.set_keep_alive(60);
        if let Some((user, password)) = login {
            options.set_credentials(user, password.to_owned().into_bytes());
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(10_000).build();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (tell, count) = watch::channel(0);
        let (subscribed, ready) = tokio::sync::oneshot::channel();
        client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        let heard = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut subscribed = Some(subscribed);
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        subscribed.take().map(|it| it.send(()));
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        let mut heard = heard.lock().unwrap();
                        heard.push(Seen {
                            topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
                            payload: publish.payload.to_vec(),
                            retained: publish.retain,
                        });
                        tell.send_replace(heard.len());
                    }
                    _ => {}
                }
            }
        });
        tokio::time::timeout(LIMIT, ready).await.expect("subscribed in time").unwrap();
        Self { client, seen, count, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn publish(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.try_publish(topic, payload.into(), PublishOptions::new(QoS::AtLeastOnce)).unwrap();
    }

    pub(crate) fn retain(&self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.try_publish(topic, payload.into(), PublishOptions::new(QoS::AtLeastOnce).retained()).unwrap();
    }

    /// Everything so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How much was seen: a mark for `after`.
    pub(crate) fn mark(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until `find` finds something in what was seen from `mark` on.
    pub(crate) async fn after<T>(&self, mark: usize, what: &str, mut find: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut count = self.count.clone();
        let search = async {
            let mut from = mark;
            loop {
                count.borrow_and_update();
                {
                    let seen = self.seen.lock().unwrap();
                    for it in &seen[from.min(seen.len())..] {
                        if let Some(found) = find(it) {
                            return found;
                        }
                    }
                    from = seen.len();
                }
                count.changed().await.expect("the peer is connected");
            }
        };
        match tokio::time::timeout(LIMIT, search).await {
            Ok(found) => found,
            Err(_) => {
                let topics: Vec<_> = self.seen().into_iter().skip(mark).map(|it| it.topic).collect();
                panic!("never saw {what}; since then came {topics:?}");
            }
        }
    }

    /// The first JSON on `topic` from `mark` on that `holds`.
    pub(crate) async fn json_after(&self, mark: usize, topic: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.after(mark, topic, |it| {
            let json = (it.topic == topic && !it.payload.is_empty()).then(|| it.json())?;
            holds(&json).then_some(json)
        })
        .await
    }

    pub(crate) async fn json(&self, topic: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.json_after(0, topic, holds).await
    }

    /// Waits for a plain payload.
    pub(crate) async fn text_after(&self, mark: usize, topic: &str, payload: &str) {
        self.after(mark, &format!("{topic} = {payload}"), |it| {
            (it.topic == topic && it.payload == payload.as_bytes()).then_some(())
        })
        .await;
    }
}

/// A wire between two sockets that can hang without breaking, and break without giving up its port.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    flows: watch::Sender<bool>,
    whole: watch::Sender<bool>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    pub(crate) async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (flows, watched) = watch::channel(true);
        let (whole, mut state) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut pipes = Vec::new();
            loop {
                let near = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    changed = state.changed() => match changed {
                        Ok(()) => {
                            pipes.clear();
                            continue;
                        }
                        Err(_) => return,
                    },
                };
                if !*state.borrow() {
                    continue;
                }
                let Ok(far) = TcpStream::connect(broker).await else { continue };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                for (from, to) in [(near_read, far_write), (far_read, near_write)] {
                    pipes.push(AbortOnDropHandle::new(tokio::spawn(carry(from, to, watched.clone()))));
                }
            }
        });
        Self { address, flows, whole, _task: AbortOnDropHandle::new(task) }
    }

    /// Takes and delivers nothing any more; connections stay open, new ones are accepted and stay silent.
    pub(crate) fn hang(&self) {
        self.flows.send_replace(false);
    }

    pub(crate) fn flow(&self) {
        self.flows.send_replace(true);
    }

    /// Ends all connections, and new ones at once.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut flows: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 4096];
    loop {
        if flows.wait_for(|it| *it).await.is_err() {
            return;
        }
        let n = from.read(&mut buffer).await.unwrap_or(0);
        // While it hangs not even an end passes.
        let gone = flows.wait_for(|it| *it).await.is_err();
        if gone || n == 0 || to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

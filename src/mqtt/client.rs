//! The one file that names the MQTT client crate: building a client, and what its errors mean to a person.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::tokio_rustls::rustls::client::ClientConfig;
use rumqttc::tokio_rustls::rustls::crypto::CryptoProvider;
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject;
use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rumqttc::tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use rumqttc::tokio_rustls::rustls::{self, CertificateError};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions,
    Outgoing as Sent, Packet, Publish, PublishOptions, QoS, StateError, SubscribeFilterInput, SubscribeReasonCode,
    TlsConfiguration, TlsError, Transport,
};
use tokio::time::timeout;

use super::options::Tuning;
use super::outbox::Outgoing;
use crate::config::model::Secret;

/// Discovery messages pass the crate's default of 10 KiB, and a packet that does tears the connection down.
const MAX_OUTGOING: usize = 512 * 1024;
/// A larger packet ends the connection. Retained rubbish of that size would do so at every attempt, which is why this
/// is far above what is then looked at.
const MAX_INCOMING: usize = 1024 * 1024;
/// Requests between us and the client; few, because what waits there can no longer be replaced by newer states.
const REQUESTS: usize = 16;

/// Where and how to connect.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// Name or address.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// `mqtts://`
    pub(crate) tls: Option<Material>,
    /// User and password.
    pub(crate) login: Option<(String, Option<Secret>)>,
    /// MQTT client id.
    pub(crate) client_id: String,
    /// Times.
    pub(crate) tuning: Tuning,
}

impl Address {
    /// As sentences name it.
    pub(crate) fn broker(&self) -> String {
        format!("the broker at {}:{}", self.host, self.port)
    }

    /// The client counts its own writes as life and pings only when it is idle: a broker that takes everything and
    /// answers nothing would be noticed after a hundred messages. Something must come within this, the answer to a ping
    /// or an acknowledgement.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.tuning.keep_alive_s)) * 3 / 2
    }

    /// Nothing came within that.
    pub(crate) fn hangs(&self) -> String {
        format!("{} hangs: it answered nothing for {} s", self.broker(), self.patience().as_secs_f64())
    }
}

/// What TLS needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Material {
    /// The only authority that is believed; without it those of the operating system.
    pub(crate) ca_pem: Option<Vec<u8>>,
    /// Certificate chain and key to show to the broker.
    pub(crate) client: Option<(Vec<u8>, Secret)>,
}

/// Hands requests to the client's event loop; never waits.
pub(crate) struct Client(AsyncClient);

impl Client {
    /// `false`: no room now.
    pub(crate) fn publish(&self, message: &Outgoing) -> bool {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(message.retain);
        self.0.try_publish(message.topic.as_str(), message.payload.clone().into_bytes(), options).is_ok()
    }

    /// `false`: no room now.
    pub(crate) fn subscribe(&self, filters: &[String]) -> bool {
        let inputs: Vec<_> =
            filters.iter().map(|it| SubscribeFilterInput::new(it.as_str(), QoS::AtLeastOnce)).collect();
        self.0.try_subscribe_many(inputs).is_ok()
    }

    /// Disconnects in good order once what was taken over is acknowledged. `false`: no room now.
    pub(crate) fn leave(&self, patience: Duration) -> bool {
        self.0.try_disconnect_with_timeout(patience).is_ok()
    }
}

/// What happened on the connection.
pub(crate) enum Heard {
    /// The broker accepted the login.
    Accepted,
    /// A message arrived.
    Message(Received),
    /// The oldest open subscription was answered: for each filter whether it was granted.
    Subscribed(Vec<bool>),
    /// A publication is on the wire.
    Written,
    /// Anything else from the broker.
    Alive,
    /// Anything else from us.
    Other,
}

impl Heard {
    /// The broker said it.
    pub(crate) fn is_life(&self) -> bool {
        !matches!(self, Self::Written | Self::Other)
    }
}

/// A message as it came.
pub(crate) struct Received(Publish);

impl Received {
    /// `None` when it is not text.
    pub(crate) fn topic(&self) -> Option<&str> {
        std::str::from_utf8(&self.0.topic).ok()
    }

    /// Bytes.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.0.payload
    }

    /// Replayed by the broker.
    pub(crate) fn retained(&self) -> bool {
        self.0.retain
    }
}

/// The connection. The first [`next`](Self::next) connects.
pub(crate) struct Events {
    events: EventLoop,
    address: Address,
}

impl Events {
    /// Connects and waits for the broker's word.
    ///
    /// # Errors
    /// As [`next`](Self::next), and when the broker says nothing or something else.
    pub(crate) async fn accepted(&mut self) -> Result<(), String> {
        let within = self.address.tuning.connect_timeout;
        match timeout(within, self.next()).await {
            Ok(Ok(Heard::Accepted)) => Ok(()),
            Ok(Ok(_)) => Err(format!("{} did not answer the login", self.address.broker())),
            Ok(Err(problem)) => Err(problem),
            Err(_) => {
                let (broker, seconds) = (self.address.broker(), within.as_secs_f64());
                Err(format!("{broker} did not answer within {seconds} s: check that it runs, and [mqtt] url"))
            }
        }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// What is wrong and what to change, in one sentence. The connection is then of no more use.
    pub(crate) async fn next(&mut self) -> Result<Heard, String> {
        match self.events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Ok(Heard::Accepted),
            Ok(Event::Incoming(Packet::Publish(publish))) => Ok(Heard::Message(Received(publish))),
            Ok(Event::Incoming(Packet::SubAck(ack))) => Ok(Heard::Subscribed(
                ack.return_codes.iter().map(|code| !matches!(code, SubscribeReasonCode::Failure)).collect(),
            )),
            Ok(Event::Outgoing(Sent::Publish(_))) => Ok(Heard::Written),
            Ok(Event::Incoming(_)) => Ok(Heard::Alive),
            Ok(Event::Outgoing(_)) => Ok(Heard::Other),
            Err(error) => Err(explain(&error, &self.address)),
        }
    }
}

/// A client for one connection. `will`: the topic that says `offline` when we are gone without a word.
///
/// # Errors
/// When certificates or key cannot be used: one sentence with the key of the configuration.
pub(crate) fn build(address: &Address, client_id: &str, will: Option<String>) -> Result<(Client, Events), String> {
    let mut mqtt = MqttOptions::new(client_id, (address.host.clone(), address.port));
    mqtt.set_keep_alive(address.tuning.keep_alive_s);
    mqtt.set_max_packet_size(MAX_INCOMING, MAX_OUTGOING);
    mqtt.set_clean_session(true);
    if let Some(topic) = will {
        mqtt.set_last_will(LastWill::new(topic, "offline", QoS::AtLeastOnce, true));
    }
    match &address.login {
        Some((user, Some(password))) => {
            mqtt.set_credentials(user.clone(), password.reveal().to_owned().into_bytes());
        }
        Some((user, None)) => {
            mqtt.set_username(user.clone());
        }
        None => {}
    }
    if let Some(material) = &address.tls {
        mqtt.set_transport(Transport::tls_with_config(tls(material)?));
    }
    let (client, mut events) = AsyncClient::builder(mqtt)
        .capacity(REQUESTS)
        .try_build()
        .map_err(|error| format!("[mqtt] cannot be used: {error}"))?;
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(address.tuning.connect_timeout.as_secs().max(1));
    events.set_network_options(network);
    Ok((Client(client), Events { events, address: address.clone() }))
}

fn tls(material: &Material) -> Result<TlsConfiguration, String> {
    if let Some(ca) = &material.ca_pem {
        return Ok(TlsConfiguration::Simple {
            ca: ca.clone(),
            alpn: None,
            client_auth: material
                .client
                .as_ref()
                .map(|(certificate, key)| (certificate.clone(), key.reveal().as_bytes().to_vec())),
        });
    }
    let system = TlsConfiguration::try_default_rustls().map_err(|error| {
        format!("the operating system's certificate authorities cannot be read ({error}): set [mqtt] ca_file")
    })?;
    let (TlsConfiguration::Rustls(config), Some((certificate, key))) = (&system, &material.client) else {
        return Ok(system);
    };
    let mut config = ClientConfig::clone(config);
    let shown = certified(certificate, key, config.crypto_provider())?;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}

fn certified(certificate: &[u8], key: &Secret, provider: &Arc<CryptoProvider>) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("[mqtt] client_cert_file is no PEM certificate: {error}"))?;
    if chain.is_empty() {
        return Err("[mqtt] client_cert_file holds no certificate (expected -----BEGIN CERTIFICATE-----)".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|error| format!("[mqtt] client_key_file is no PEM private key: {error}"))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("[mqtt] client_key_file and client_cert_file do not fit together: {error}"))
}

/// One sentence: what is wrong, and which key of the configuration to look at.
fn explain(error: &ConnectionError, address: &Address) -> String {
    let broker = address.broker();
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => match &address.login {
            Some((user, _)) => format!(
                "{broker} refuses the login of `{user}`: check [mqtt] username and password (or password_file), \
                 and the user's rights at the broker"
            ),
            None => format!("{broker} wants a login: set [mqtt] username and password (or password_file)"),
        },
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadClientId) => {
            format!("{broker} refuses the client id `{}`: change [mqtt] client_id", address.client_id)
        }
        ConnectionError::ConnectionRefused(code) => format!("{broker} refuses the connection: {code:?}"),
        ConnectionError::Tls(error) => explain_tls(error, &broker, address),
        ConnectionError::Io(error)
        | ConnectionError::MqttState(StateError::Io(error) | StateError::Deserialization(rumqttc::Error::Io(error))) => {
            explain_io(error, &broker, address)
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            format!("{broker} does not answer in time: check that it runs, and [mqtt] url")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            format!("{broker} hangs: it did not answer a ping within {} s", address.tuning.keep_alive_s)
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => format!("{broker} closed the connection"),
        ConnectionError::MqttState(StateError::Deserialization(error)) => format!(
            "{broker} sent what is no MQTT 3.1.1 packet of at most {} KiB ({error}): look for an oversized retained \
             message on our topics, and check the port in [mqtt] url",
            MAX_INCOMING / 1024
        ),
        other => format!("{broker}: {other}"),
    }
}

fn explain_io(error: &io::Error, broker: &str, address: &Address) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return explain_rustls(error, broker, address);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {}:{}: check that the broker runs, and [mqtt] url", address.host, address.port)
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => {
            let hint = if address.tls.is_some() { "" } else { " (a TLS port wants mqtts:// in [mqtt] url)" };
            format!("{broker} closed the connection{hint}")
        }
        _ => format!("{broker} cannot be reached: {error}; check the host name in [mqtt] url and the network"),
    }
}

fn explain_tls(error: &TlsError, broker: &str, address: &Address) -> String {
    match error {
        TlsError::TLS(error) => explain_rustls(error, broker, address),
        TlsError::Io(error) => explain_io(error, broker, address),
        TlsError::NoValidCertInChain => {
            "[mqtt] ca_file holds no certificate (expected -----BEGIN CERTIFICATE-----)".to_owned()
        }
        TlsError::NoValidClientCertInChain => "[mqtt] client_cert_file holds no certificate".to_owned(),
        TlsError::NoValidKeyInChain => "[mqtt] client_key_file holds no private key".to_owned(),
        TlsError::Pem(error) => {
            format!("[mqtt] ca_file, client_cert_file or client_key_file is no PEM file: {error}")
        }
        TlsError::DNSName(_) => format!("`{}` in [mqtt] url is no host name that TLS can check", address.host),
        other => format!("{broker}: TLS failed: {other}"),
    }
}

fn explain_rustls(error: &rustls::Error, broker: &str, address: &Address) -> String {
    match error {
        // A bad signature: another authority of the same name.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            match &address.tls {
                Some(Material { ca_pem: Some(_), .. }) => {
                    format!("the certificate of {broker} was not signed by the authority in [mqtt] ca_file")
                }
                _ => format!(
                    "the certificate of {broker} was not signed by an authority that this system knows: set [mqtt] ca_file"
                ),
            }
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate of {broker} is not made out to `{}`: use the name in it in [mqtt] url",
            address.host
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => format!("the certificate of {broker} is not valid now: renew it, or set this machine's clock"),
        rustls::Error::InvalidCertificate(reason) => format!("the certificate of {broker} is not accepted: {reason}"),
        rustls::Error::InvalidMessage(_) => {
            format!("{broker} does not speak TLS on this port: check the port, or use mqtt:// in [mqtt] url")
        }
        rustls::Error::AlertReceived(alert) => format!(
            "{broker} ended the TLS handshake ({alert:?}): it may want [mqtt] client_cert_file and client_key_file"
        ),
        other => format!("{broker}: TLS failed: {other}"),
    }
}

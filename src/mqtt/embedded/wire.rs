//! Packets off the wire: bounded before they are read, and checked where the codec is lenient.
//!
//! The codec (mqtt5-protocol) takes any property in any packet, and some of version 5 in packets of 3.1.1; what the
//! standards call malformed or a protocol error beyond that is found here (MQTT 3.1.1 and 5.0, chapters 2 and 3).

use std::fmt;
use std::time::Duration;

use mqtt5_protocol::encoding::decode_variable_int;
use mqtt5_protocol::packet::MqttPacket;
use mqtt5_protocol::{
    FixedHeader, MqttError, Packet, PacketType, Properties, PropertyId, PropertyValue, ReasonCode, is_valid_topic_name,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::{MAX_PACKET, PACKET_PATIENCE};

/// CONNECT: identifier, login and a last will of 64 KiB, the largest that it can hold.
const MAX_CONNECT: usize = 80 * 1024;
/// SUBSCRIBE and UNSUBSCRIBE.
const MAX_FILTERS: usize = 64 * 1024;
/// All others but PUBLISH: a number, a reason, a few properties.
const MAX_ANSWER: usize = 4 * 1024;
/// The properties of a publication: decoded they take up to ten times the memory.
const MAX_PROPERTIES: usize = 16 * 1024;

/// Why a connection ends before its client has said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// What a client with version 5 is told.
    pub(super) reason: ReasonCode,
    pub(super) why: String,
}

impl End {
    pub(super) fn new(reason: ReasonCode, why: impl Into<String>) -> Self {
        Self { reason, why: why.into() }
    }

    fn malformed(why: impl Into<String>) -> Self {
        Self::new(ReasonCode::MalformedPacket, why)
    }

    pub(super) fn protocol(why: impl Into<String>) -> Self {
        Self::new(ReasonCode::ProtocolError, why)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<MqttError> for End {
    fn from(error: MqttError) -> Self {
        let reason = match error {
            MqttError::ProtocolError(_) | MqttError::DuplicatePropertyId(_) => ReasonCode::ProtocolError,
            MqttError::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            _ => ReasonCode::MalformedPacket,
        };
        // It may quote what came.
        let why: String = error.to_string().chars().take(120).flat_map(char::escape_debug).collect();
        Self::new(reason, why)
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::new(ReasonCode::UnspecifiedError, format!("the connection broke: {error}"))
    }
}

pub(super) fn seconds(count: u32) -> Duration {
    Duration::from_secs(u64::from(count))
}

/// A packet that was not looked into yet.
#[derive(Debug)]
pub(super) struct Frame {
    header: FixedHeader,
    body: Vec<u8>,
}

impl Frame {
    /// Reads one. `idle`: how long it may be in coming; once begun it has [`PACKET_PATIENCE`]. Memory is taken as bytes
    /// arrive, and none for a packet that is too large.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), idle: Option<Duration>) -> Result<Self, End> {
        let first = match idle {
            Some(idle) => timeout(idle, stream.read_u8())
                .await
                .map_err(|_| End::new(ReasonCode::KeepAliveTimeout, format!("silent for {} s", idle.as_secs())))?,
            None => stream.read_u8().await,
        }?;
        timeout(PACKET_PATIENCE, Self::rest(kind(first)?, first, stream)).await.map_err(|_| {
            End::new(ReasonCode::KeepAliveTimeout, format!("a packet took over {} s", PACKET_PATIENCE.as_secs()))
        })?
    }

    /// Reads the first of a connection: of any other than CONNECT no more than a byte.
    pub(super) async fn read_connect(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, End> {
        let first = stream.read_u8().await?;
        match kind(first)? {
            PacketType::Connect => Self::rest(PacketType::Connect, first, stream).await,
            other => Err(End::protocol(format!("a {other:?} before CONNECT"))),
        }
    }

    async fn rest(kind: PacketType, first: u8, stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, End> {
        let mut length = [0; 4];
        let mut bytes = 0;
        loop {
            length[bytes] = stream.read_u8().await?;
            bytes += 1;
            if length[bytes - 1] < 0x80 {
                break;
            }
            if bytes == length.len() {
                return Err(End::malformed("a length of over four bytes"));
            }
        }
        let length = decode_variable_int(&mut &length[..bytes])?;
        let most = match kind {
            PacketType::Publish => MAX_PACKET,
            PacketType::Connect => MAX_CONNECT,
            PacketType::Subscribe | PacketType::Unsubscribe => MAX_FILTERS,
            _ => MAX_ANSWER,
        };
        if length as usize + bytes + 1 > most {
            let why = format!("a {kind:?} of {length} bytes, more than the {most} allowed");
            return Err(End::new(ReasonCode::PacketTooLarge, why));
        }
        let mut body = Vec::new();
        stream.take(u64::from(length)).read_to_end(&mut body).await?;
        if body.len() < length as usize {
            return Err(End::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
        }
        Ok(Self { header: FixedHeader::new(kind, first & 0x0F, length), body })
    }

    /// Bytes after the fixed header.
    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    /// What a CONNECT says of its version, whatever else is wrong with it; `None`: it is none.
    pub(super) fn version(&self) -> Option<u8> {
        let body = self.body.as_slice();
        let level = match self.header.packet_type {
            PacketType::Connect if body.starts_with(b"\0\x04MQTT") => body.get(6),
            PacketType::Connect if body.starts_with(b"\0\x06MQIsdp") => body.get(8),
            _ => None,
        };
        level.copied()
    }

    /// The packet, of a client that connected with `version`.
    pub(super) fn decode(&self, version: u8) -> Result<Packet, End> {
        let mut rest = self.body.as_slice();
        let kind = self.header.packet_type;
        if version == 5 && kind == PacketType::Publish {
            self.check_properties_size()?;
        }
        let packet = Packet::decode_from_body_with_version(kind, &self.header, &mut rest, version)?;
        if !rest.is_empty() {
            return Err(End::malformed(format!("a {kind:?} with {} bytes too many", rest.len())));
        }
        if version < 5 {
            self.check_old(kind)?;
        }
        check(&packet)?;
        Ok(packet)
    }

    fn check_properties_size(&self) -> Result<(), End> {
        let topic = match self.body.as_slice() {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        let at = 2 + topic + if self.header.flags & 0b0110 == 0 { 0 } else { 2 };
        // Where this cannot be read the codec says why.
        match self.body.get(at..).map(|mut it| decode_variable_int(&mut it)) {
            Some(Ok(size)) if size as usize > MAX_PROPERTIES => {
                let why =
                    format!("a publication with {size} bytes of properties, more than the {MAX_PROPERTIES} allowed");
                Err(End::new(ReasonCode::PacketTooLarge, why))
            }
            _ => Ok(()),
        }
    }

    /// What the codec would take from a client with 3.1.1.
    fn check_old(&self, kind: PacketType) -> Result<(), End> {
        let wrong = match kind {
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => self.body.len() != 2,
            PacketType::Disconnect => !self.body.is_empty(),
            PacketType::Auth => true,
            PacketType::Subscribe => {
                // The codec has walked here before: lengths are right.
                let mut rest = self.body.get(2..).unwrap_or_default();
                let mut wrong = false;
                while let [high, low, filters @ ..] = rest {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    wrong |= filters.get(length).is_none_or(|qos| *qos > 2);
                    rest = filters.get(length + 1..).unwrap_or_default();
                }
                wrong
            }
            _ => false,
        };
        if wrong { Err(End::malformed(format!("a {kind:?} that MQTT 3.1.1 does not have"))) } else { Ok(()) }
    }
}

/// What a first byte announces. At once: of those who speak something else the rest would never come.
fn kind(first: u8) -> Result<PacketType, End> {
    let kind = PacketType::from_u8(first >> 4).ok_or_else(|| End::malformed("a packet of type 0"))?;
    if FixedHeader::new(kind, first & 0x0F, 0).validate_flags() {
        Ok(kind)
    } else {
        Err(End::malformed(format!("a {kind:?} with flags that it does not have")))
    }
}

const ANSWER: &[PropertyId] = &[PropertyId::ReasonString, PropertyId::UserProperty];
const CONNECT: &[PropertyId] = &[
    PropertyId::SessionExpiryInterval,
    PropertyId::ReceiveMaximum,
    PropertyId::MaximumPacketSize,
    PropertyId::TopicAliasMaximum,
    PropertyId::RequestResponseInformation,
    PropertyId::RequestProblemInformation,
    PropertyId::UserProperty,
    PropertyId::AuthenticationMethod,
    PropertyId::AuthenticationData,
];
/// Of a publication; a last will has the delay in place of the alias.
const PUBLISH: &[PropertyId] = &[
    PropertyId::PayloadFormatIndicator,
    PropertyId::MessageExpiryInterval,
    PropertyId::TopicAlias,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
    PropertyId::UserProperty,
    PropertyId::ContentType,
];
const WILL: &[PropertyId] = &[
    PropertyId::WillDelayInterval,
    PropertyId::PayloadFormatIndicator,
    PropertyId::MessageExpiryInterval,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
    PropertyId::UserProperty,
    PropertyId::ContentType,
];

/// What a client may send, and with which properties.
fn check(packet: &Packet) -> Result<(), End> {
    let (id, properties, allowed) = match packet {
        Packet::Connect(it) => {
            check_properties(&it.will_properties, WILL)?;
            (None, &it.properties, CONNECT)
        }
        Packet::Publish(it) => (it.packet_id, &it.properties, PUBLISH),
        Packet::PubAck(it) => (Some(it.packet_id), &it.properties, ANSWER),
        Packet::PubRec(it) => (Some(it.packet_id), &it.properties, ANSWER),
        Packet::PubRel(it) => (Some(it.packet_id), &it.properties, ANSWER),
        Packet::PubComp(it) => (Some(it.packet_id), &it.properties, ANSWER),
        Packet::Subscribe(it) => {
            if it.properties.subscription_identifiers().len() > 1 {
                return Err(End::protocol("a SUBSCRIBE with two identifiers"));
            }
            let allowed: &[PropertyId] = &[PropertyId::SubscriptionIdentifier, PropertyId::UserProperty];
            (Some(it.packet_id), &it.properties, allowed)
        }
        Packet::Unsubscribe(it) => (Some(it.packet_id), &it.properties, &ANSWER[1..]),
        Packet::Disconnect(it) => {
            let allowed: &[PropertyId] =
                &[PropertyId::SessionExpiryInterval, PropertyId::ReasonString, PropertyId::UserProperty];
            (None, &it.properties, allowed)
        }
        Packet::PingReq => return Ok(()),
        Packet::Auth(_) => return Err(End::protocol("an AUTH without an authentication method")),
        other => return Err(End::protocol(format!("a {} from a client", other.packet_type_name()))),
    };
    if id == Some(0) {
        return Err(End::protocol(format!("a {} with the number 0", packet.packet_type_name())));
    }
    check_properties(properties, allowed)
}

fn check_properties(properties: &Properties, allowed: &[PropertyId]) -> Result<(), End> {
    for (id, value) in properties.iter() {
        if !allowed.contains(&id) {
            return Err(End::protocol(format!("the property {id:?} does not belong there")));
        }
        let right = match (id, value) {
            (PropertyId::ResponseTopic, PropertyValue::Utf8String(topic)) => is_valid_topic_name(topic),
            (_, PropertyValue::Byte(it)) => *it <= 1,
            (PropertyId::ReceiveMaximum, PropertyValue::TwoByteInteger(it)) => *it != 0,
            (PropertyId::MaximumPacketSize, PropertyValue::FourByteInteger(it))
            | (PropertyId::SubscriptionIdentifier, PropertyValue::VariableByteInteger(it)) => *it != 0,
            _ => true,
        };
        if !right {
            return Err(End::protocol(format!("the property {id:?} has a value that it must not have")));
        }
    }
    Ok(())
}

/// Appends a packet.
///
/// # Errors
/// The codec's: a text of over 64 KiB, which nothing here has.
pub(super) fn encode(packet: &impl MqttPacket, out: &mut Vec<u8>) -> Result<(), End> {
    Ok(packet.encode(out)?)
}

/// Whether a name is one to publish at: none with a wild card, none of over `most` bytes.
pub(super) fn is_topic(name: &str, most: usize) -> bool {
    name.len() <= most && is_valid_topic_name(name)
}

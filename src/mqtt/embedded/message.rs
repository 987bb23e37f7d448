//! A publication as the broker keeps it: whole, immutable, shared by everybody who gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mqtt5_protocol::encoding::{decode_variable_int, encode_string, encode_variable_int, encoded_variable_int_len};
use mqtt5_protocol::packet::{FixedHeader, PacketType};
use mqtt5_protocol::{MqttError, Properties, PropertyId, QoS};

use super::wire::seconds;

/// What a publisher says of its message that subscribers with version 5 hear as well (MQTT 5.0, 3.3.2.3). The expiry is
/// rewritten for each, topic aliases belong to one connection, subscription identifiers are ours to add.
const PASSED_ON: [PropertyId; 5] = [
    PropertyId::PayloadFormatIndicator,
    PropertyId::ContentType,
    PropertyId::ResponseTopic,
    PropertyId::CorrelationData,
    PropertyId::UserProperty,
];

/// A publication.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// [`PASSED_ON`] as they stand in a packet, without their length: nothing here takes more memory than it took on
    /// the wire.
    properties: Vec<u8>,
    lives: Option<Duration>,
    expires: Option<Instant>,
    weight: Option<Weight>,
}

/// The bytes of a message in the account of all; taken out when nobody needs the message any more.
#[derive(Debug)]
struct Weight {
    bytes: usize,
    account: Arc<AtomicUsize>,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.account.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How one copy is handed to one client.
pub(super) struct Sending<'a> {
    pub(super) version: u8,
    /// Asked for with every quality of service above 0.
    pub(super) id: Option<u16>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) again: bool,
    pub(super) identifiers: &'a [u32],
}

impl Message {
    /// A message as its publisher has it; its time does not run yet.
    pub(super) fn new(
        topic: String,
        payload: Vec<u8>,
        (qos, retain): (QoS, bool),
        said: &Properties,
    ) -> Result<Self, MqttError> {
        let mut passed = Properties::new();
        for id in PASSED_ON {
            for value in said.get_all(id).unwrap_or_default() {
                passed.add(id, value.clone())?;
            }
        }
        let mut properties = Vec::new();
        passed.encode(&mut properties)?;
        let mut rest = properties.as_slice();
        decode_variable_int(&mut rest)?;
        let properties = rest.to_vec();
        let lives = said.get_message_expiry_interval().map(seconds);
        Ok(Self { topic, payload, qos, retain, properties, lives, expires: None, weight: None })
    }

    /// It is published now: a will long after its client has written it.
    pub(super) fn at(mut self, now: Instant) -> Self {
        self.expires = self.lives.and_then(|it| now.checked_add(it));
        self
    }

    /// From now on it counts in the account of all that is kept.
    pub(super) fn weigh(&mut self, account: &Arc<AtomicUsize>) {
        let bytes = self.size();
        account.fetch_add(bytes, Ordering::Relaxed);
        self.weight = Some(Weight { bytes, account: Arc::clone(account) });
    }

    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|it| it <= now)
    }

    /// Appends the packet, or nothing where the packet would be larger than `largest`; `false` then.
    pub(super) fn encode(
        &self,
        copy: &Sending,
        largest: usize,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<bool, MqttError> {
        let mut head = Vec::with_capacity(self.topic.len() + 32);
        encode_string(&mut head, &self.topic)?;
        if let Some(id) = copy.id {
            head.extend(id.to_be_bytes());
        }
        let mut passed: &[u8] = &[];
        if copy.version == 5 {
            let mut own = Vec::new();
            if let Some(expires) = self.expires {
                // What is left of it; 0 would be no expiry at all for some clients.
                let left = expires.saturating_duration_since(now).as_secs().max(1);
                own.push(PropertyId::MessageExpiryInterval as u8);
                own.extend(u32::try_from(left).unwrap_or(u32::MAX).to_be_bytes());
            }
            for identifier in copy.identifiers {
                own.push(PropertyId::SubscriptionIdentifier as u8);
                encode_variable_int(&mut own, *identifier)?;
            }
            passed = &self.properties;
            encode_variable_int(&mut head, length(own.len() + passed.len())?)?;
            head.append(&mut own);
        }
        let body = length(head.len() + passed.len() + self.payload.len())?;
        if 1 + encoded_variable_int_len(body) + body as usize > largest {
            return Ok(false);
        }
        let flags = u8::from(copy.again) << 3 | (copy.qos as u8) << 1 | u8::from(copy.retain);
        out.reserve(body as usize + 5);
        FixedHeader::new(PacketType::Publish, flags, body).encode(out)?;
        out.append(&mut head);
        out.extend_from_slice(passed);
        out.extend_from_slice(&self.payload);
        Ok(true)
    }
}

fn length(bytes: usize) -> Result<u32, MqttError> {
    u32::try_from(bytes).map_err(|_| MqttError::PacketTooLarge { size: bytes, max: u32::MAX as usize })
}

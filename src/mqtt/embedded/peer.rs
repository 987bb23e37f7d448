//! What each packet of a connected client does, and what it is answered.

use std::time::Instant;

use mqtt5_protocol::packet::puback::PubAckPacket;
use mqtt5_protocol::packet::pubcomp::PubCompPacket;
use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::packet::pubrec::PubRecPacket;
use mqtt5_protocol::packet::pubrel::PubRelPacket;
use mqtt5_protocol::packet::suback::SubAckPacket;
use mqtt5_protocol::packet::subscribe::SubscribePacket;
use mqtt5_protocol::packet::unsuback::UnsubAckPacket;
use mqtt5_protocol::packet::unsubscribe::UnsubscribePacket;
use mqtt5_protocol::{Packet, QoS, ReasonCode};

use super::message::Message;
use super::router::Seat;
use super::session::Session;
use super::wire::{End, encode, is_topic, seconds};
use super::{LONGEST_SESSION, MAX_TOPIC, Shared};

const PINGRESP: [u8; 2] = [0xD0, 0];

/// A connected client.
pub(super) struct Peer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) seat: Seat,
    pub(super) version: u8,
    /// Its session was asked to outlive the connection.
    pub(super) kept: bool,
}

impl Peer<'_> {
    /// Takes a packet, appends the answer; `Some`: the client disconnects, and whether that voids its will.
    pub(super) fn take(&self, packet: Packet, now: Instant, out: &mut Vec<u8>) -> Result<Option<bool>, End> {
        match packet {
            Packet::Publish(it) => self.publish(it, now, out)?,
            Packet::PubAck(it) => self.acknowledged(|session| session.acknowledged(it.packet_id, QoS::AtLeastOnce))?,
            Packet::PubComp(it) => self.acknowledged(|session| session.acknowledged(it.packet_id, QoS::ExactlyOnce))?,
            Packet::PubRec(it) => {
                let refused = it.reason_code.is_error();
                let known = self.session(|session| session.released(it.packet_id, refused))?;
                if refused {
                    self.acknowledged(|_| Ok(()))?;
                } else {
                    let reason = self.reason(known, ReasonCode::PacketIdentifierNotFound);
                    encode(&PubRelPacket::new_with_reason(it.packet_id, reason), out)?;
                }
            }
            Packet::PubRel(it) => {
                let known = self.session(|session| Ok(session.received.remove(&it.packet_id)))?;
                let reason = self.reason(known, ReasonCode::PacketIdentifierNotFound);
                encode(&PubCompPacket::new_with_reason(it.packet_id, reason), out)?;
            }
            Packet::Subscribe(it) => self.subscribe(it, out)?,
            Packet::Unsubscribe(it) => self.unsubscribe(&it, out)?,
            Packet::PingReq => out.extend(PINGRESP),
            Packet::Disconnect(it) => {
                if let Some(expiry) = it.properties.get_session_expiry_interval() {
                    if !self.kept && expiry > 0 {
                        return Err(End::protocol("a session that ends with its connection cannot be prolonged"));
                    }
                    self.session(|session| {
                        session.expiry = seconds(expiry).min(LONGEST_SESSION);
                        Ok(())
                    })?;
                }
                return Ok(Some(it.reason_code == ReasonCode::Success));
            }
            other => return Err(End::protocol(format!("a {} after CONNECT", other.packet_type_name()))),
        }
        Ok(None)
    }

    /// Only version 5 knows reasons, and asks for them.
    fn reason(&self, well: bool, otherwise: ReasonCode) -> ReasonCode {
        if well || self.version < 5 { ReasonCode::Success } else { otherwise }
    }

    fn session<T>(&self, ask: impl FnOnce(&mut Session) -> Result<T, End>) -> Result<T, End> {
        let mut router = self.shared.router();
        let session = router.session(&self.seat);
        session.map_or_else(|| Err(End::new(ReasonCode::SessionTakenOver, "it was taken over")), ask)
    }

    /// There may be room now for the next message.
    fn acknowledged(&self, note: impl FnOnce(&mut Session) -> Result<(), End>) -> Result<(), End> {
        self.session(|session| {
            note(session)?;
            if let Some(link) = &session.link {
                link.line.wake.notify_one();
            }
            Ok(())
        })
    }

    fn publish(&self, packet: PublishPacket, now: Instant, out: &mut Vec<u8>) -> Result<(), End> {
        if packet.properties.get_topic_alias().is_some() {
            return Err(End::new(ReasonCode::TopicAliasInvalid, "a topic alias, and none was offered"));
        }
        if !is_topic(&packet.topic_name, MAX_TOPIC) {
            return Err(End::new(
                ReasonCode::TopicNameInvalid,
                format!("a topic that is none, or over {MAX_TOPIC} bytes"),
            ));
        }
        let (qos, id) = (packet.qos, packet.packet_id.unwrap_or_default());
        let twice = qos == QoS::ExactlyOnce && self.session(|session| session.knows(id, self.version))?;
        let reason = if twice {
            ReasonCode::Success
        } else {
            let way = (qos, packet.retain);
            let payload = packet.payload.into();
            let message = Message::new(packet.topic_name, payload, way, &packet.properties)?.at(now);
            match self.shared.router().publish(&self.seat.client, message, now) {
                Ok(0) => self.reason(false, ReasonCode::NoMatchingSubscribers),
                Ok(_) => ReasonCode::Success,
                Err(end) => self.reason(false, end.reason),
            }
        };
        if qos == QoS::ExactlyOnce && reason.is_success() {
            self.session(|session| Ok(session.received.insert(id)))?;
        }
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => encode(&PubAckPacket::new_with_reason(id, reason), out),
            QoS::ExactlyOnce => encode(&PubRecPacket::new_with_reason(id, reason), out),
        }
    }

    fn subscribe(&self, packet: SubscribePacket, out: &mut Vec<u8>) -> Result<(), End> {
        let mut answer = SubAckPacket::new(packet.packet_id);
        answer.protocol_version = self.version;
        let identifier = packet.properties.get_subscription_identifier();
        let mut router = self.shared.router();
        for it in packet.filters {
            if it.options.no_local && it.filter.starts_with("$share/") {
                return Err(End::protocol("a shared subscription without local messages"));
            }
            answer.reason_codes.push(router.subscribe(&self.seat, it.filter, it.options, identifier));
        }
        encode(&answer, out)
    }

    fn unsubscribe(&self, packet: &UnsubscribePacket, out: &mut Vec<u8>) -> Result<(), End> {
        let mut answer = UnsubAckPacket::new(packet.packet_id);
        answer.protocol_version = self.version;
        let mut router = self.shared.router();
        answer.reason_codes = packet.filters.iter().map(|it| router.unsubscribe(&self.seat, it)).collect();
        encode(&answer, out)
    }
}

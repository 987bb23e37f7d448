//! Bytes of strangers: whatever comes ends in a packet or a reason, without a panic and within bounds of memory.

use std::sync::Arc;
use std::time::Instant;

use mqtt5_protocol::packet::MqttPacket;
use mqtt5_protocol::packet::connect::ConnectPacket;
use mqtt5_protocol::packet::disconnect::DisconnectPacket;
use mqtt5_protocol::packet::puback::PubAckPacket;
use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::packet::pubrel::PubRelPacket;
use mqtt5_protocol::packet::subscribe::SubscribePacket;
use mqtt5_protocol::packet::unsubscribe::UnsubscribePacket;
use mqtt5_protocol::{ConnectOptions, Packet, Properties, QoS, ReasonCode, WillMessage};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::oneshot;

use super::super::connection::serve;
use super::super::message::Message;
use super::super::wire::{End, Frame};
use super::super::*;

const SECOND: Duration = Duration::from_secs(1);

fn bytes(packet: &impl MqttPacket) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out).unwrap();
    out
}

fn connect(version: u8) -> Vec<u8> {
    let mut will = WillMessage::new("will", "w").with_qos(QoS::AtLeastOnce);
    will.properties.will_delay_interval = Some(3);
    will.properties.user_properties.push(("a".into(), "b".into()));
    let mut options = ConnectOptions::new("client").with_credentials("u", "p").with_will(will);
    options.properties.session_expiry_interval = Some(60);
    bytes(&if version == 5 { ConnectPacket::new(options) } else { ConnectPacket::new_v311(options) })
}

/// What clients send, one of each.
fn samples(version: u8) -> Vec<Vec<u8>> {
    let mut publish = PublishPacket::new("a/b", b"payload".to_vec(), QoS::ExactlyOnce)
        .with_packet_id(7)
        .with_user_property("k".into(), "v".into())
        .with_response_topic("r".into())
        .with_message_expiry_interval(9);
    publish.protocol_version = version;
    let mut subscribe = SubscribePacket::new(1).add_filter("a/#", QoS::AtLeastOnce).add_filter("+", QoS::ExactlyOnce);
    subscribe.protocol_version = version;
    let mut unsubscribe = UnsubscribePacket::new(2).add_filter("a/#");
    unsubscribe.protocol_version = version;
    let mut all = vec![
        connect(version),
        bytes(&publish),
        bytes(&subscribe),
        bytes(&unsubscribe),
        bytes(&PubAckPacket::new(3)),
        bytes(&PubRelPacket::new(7)),
        vec![0xC0, 0],
    ];
    if version == 5 {
        all.push(bytes(&PubAckPacket::new_with_reason(3, ReasonCode::QuotaExceeded).with_reason_string("x".into())));
        all.push(bytes(&DisconnectPacket::new(ReasonCode::DisconnectWithWillMessage)));
    } else {
        all.push(vec![0xE0, 0]);
    }
    all
}

/// All packets in some bytes, until the first that is none.
fn read(mut from: &[u8], version: u8) -> (Vec<Packet>, End) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut packets = Vec::new();
        loop {
            match Frame::read(&mut from, None).await.and_then(|it| it.decode(version)) {
                Ok(packet) => packets.push(packet),
                Err(end) => return (packets, end),
            }
        }
    })
}

fn reason(packet: &[u8], version: u8) -> ReasonCode {
    let (packets, end) = read(packet, version);
    assert!(packets.is_empty(), "{packets:?}");
    end.reason
}

#[test]
fn what_clients_send_is_read_to_its_end() {
    for version in [4, 5] {
        let all = samples(version);
        let (packets, end) = read(&all.concat(), version);
        assert_eq!(packets.len(), all.len(), "{end}");
        assert_eq!(end.reason, ReasonCode::UnspecifiedError, "the connection's end: {end}");
    }
}

#[test]
fn what_the_standards_forbid_is_told_from_what_is_damaged() {
    use ReasonCode::{MalformedPacket, PacketTooLarge, ProtocolError};
    let cases: [(&[u8], u8, ReasonCode); 22] = [
        (&[0x00, 0], 5, MalformedPacket),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], 5, MalformedPacket),
        (&[0x30, 0x80, 0x80, 0x40], 5, PacketTooLarge),
        (&[0x10, 0xFF, 0xFF, 0x07], 5, PacketTooLarge),
        (&[0x40, 0x80, 0x40], 5, PacketTooLarge),
        (&[0xC1, 0], 5, MalformedPacket),
        (&[0xC0, 1, 0], 5, MalformedPacket),
        (&[0xD0, 0], 5, ProtocolError),
        (&[0xF0, 0], 5, ProtocolError),
        (&[0xF0, 0], 4, MalformedPacket),
        // QoS 3, DUP with QoS 0, packet number 0.
        (&[0x36, 5, 0, 1, b'a', 0, 1], 4, MalformedPacket),
        (&[0x38, 3, 0, 1, b'a'], 4, MalformedPacket),
        (&[0x32, 5, 0, 1, b'a', 0, 0], 4, ProtocolError),
        (&[0x62, 2, 0, 0], 5, ProtocolError),
        // A SUBSCRIBE without filters, for QoS 3, with bits of version 5.
        (&[0x82, 2, 0, 1], 4, MalformedPacket),
        (&[0x82, 6, 0, 1, 0, 1, b'a', 3], 4, MalformedPacket),
        (&[0x82, 6, 0, 1, 0, 1, b'a', 4], 4, MalformedPacket),
        (&[0x82, 7, 0, 1, 0, 0, 1, b'a', 0xC0], 5, MalformedPacket),
        // Reasons are of version 5; so are properties, each at its place and once.
        (&[0x40, 3, 0, 1, 0], 4, MalformedPacket),
        (&[0x30, 8, 0, 1, b'a', 4, 0x21, 0, 9, 0], 5, MalformedPacket),
        (&[0x30, 7, 0, 1, b'a', 3, 0x21, 0, 9], 5, ProtocolError),
        (&[0x30, 8, 0, 1, b'a', 4, 0x01, 1, 0x01, 1], 5, ProtocolError),
    ];
    for (packet, version, expected) in cases {
        assert_eq!(reason(packet, version), expected, "{packet:02X?} in version {version}");
    }
}

#[tokio::test]
async fn of_a_stranger_nothing_but_connect_is_read() {
    for (first, reason) in [
        (0x30, ReasonCode::ProtocolError),
        (0x82, ReasonCode::ProtocolError),
        (b'G', ReasonCode::MalformedPacket),
        (0x11, ReasonCode::MalformedPacket),
        // And that no more than its bound.
        (0x10, ReasonCode::PacketTooLarge),
    ] {
        let mut bytes = [&[first, 0xFF, 0xFF, 0x07][..], &[0; 100]].concat();
        let mut stream = bytes.as_mut_slice() as &[u8];
        assert_eq!(Frame::read_connect(&mut stream).await.unwrap_err().reason, reason, "{first:02X}");
        assert_eq!(stream.len(), if first == 0x10 { 100 } else { 103 }, "{first:02X}");
    }
}

/// Time is the runtime's own here: half an hour of it takes no time.
#[tokio::test(start_paused = true)]
async fn a_slow_client_has_time_and_one_that_takes_nothing_has_not() {
    let shared = Arc::new(Shared::new(None));
    let (mut here, there) = duplex(1024);
    let (_stranger, stay) = oneshot::channel();
    let serving = tokio::spawn(serve(there, Arc::clone(&shared), stay));
    here.write_all(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01s\x82\x06\0\x01\0\x01t\0").await.unwrap();
    here.read_exact(&mut [0; 9]).await.unwrap();
    let publish = || {
        let packet = ("t".to_owned(), vec![7; 200_000], (QoS::AtMostOnce, false));
        let message = Message::new(packet.0, packet.1, packet.2, &Properties::default()).unwrap();
        shared.router().publish("x", message, Instant::now()).unwrap();
    };
    publish();
    let (mut taken, mut piece) = (0, [0; 1024]);
    while taken < 200_000 + 7 {
        tokio::time::sleep(WRITE_PATIENCE - SECOND).await;
        taken += here.read(&mut piece).await.unwrap();
        assert!(!serving.is_finished(), "after {taken} bytes");
    }
    publish();
    tokio::time::sleep(WRITE_PATIENCE + SECOND).await;
    let mut rest = Vec::new();
    here.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 2048, "{} bytes", rest.len());
    assert!(shared.router().counters.newest.contains("took nothing for 10 s"));
    drop(here);
    serving.await.unwrap();
}

#[test]
fn decoding_takes_bounded_memory() {
    // User properties and filters without a letter: what grows most by being decoded.
    let properties = |count: usize| [0x26, 0, 0, 0, 0].repeat(count);
    let packet = |first: u8, body: Vec<u8>| {
        let mut out = vec![first];
        mqtt5_protocol::encoding::encode_variable_int(&mut out, u32::try_from(body.len()).unwrap()).unwrap();
        [out, body].concat()
    };
    let with = |head: &[u8], properties: Vec<u8>, tail: &[u8]| {
        let mut out = head.to_vec();
        mqtt5_protocol::encoding::encode_variable_int(&mut out, u32::try_from(properties.len()).unwrap()).unwrap();
        [out, properties, tail.to_vec()].concat()
    };
    let worst = [
        packet(0x30, with(&[0, 1, b'a'], properties(3_270), &[0; 200_000])),
        packet(0x10, with(b"\0\x04MQTT\x05\x02\0\0", properties(16_000), &[0, 0])),
        packet(0x82, [vec![0, 1, 0], [0, 0, 0].repeat(21_000)].concat()),
    ];
    for packet in worst {
        let (mut packets, mut why) = (0, None);
        let taken = allocation_counter::measure(|| {
            let (read, end) = read(&packet, 5);
            (packets, why) = (read.len(), Some(end));
        });
        assert_eq!(packets, 1, "{why:?}");
        assert!(taken.bytes_max < 3 * 1024 * 1024, "{} bytes for {}", taken.bytes_max, packet.len());
    }
    let more = packet(0x30, with(&[0, 1, b'a'], properties(3_300), &[]));
    assert_eq!(reason(&more, 5), ReasonCode::PacketTooLarge);
}

/// Samples with bytes changed, cut, put in and left out, or nothing but noise.
fn damaged() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..6);
    let picks = prop::collection::vec(any::<prop::sample::Index>(), 1..6);
    (prop_oneof![Just(4_u8), Just(5_u8)], picks, edits, noise, 0..8_u8).prop_map(
        |(version, picks, edits, noise, whole)| {
            if whole == 0 {
                return (version, noise);
            }
            let all = samples(version);
            let mut stream: Vec<u8> = picks.iter().flat_map(|it| it.get(&all).clone()).collect();
            for (at, byte, kind) in edits {
                let at = at.index(stream.len().max(1));
                match kind {
                    _ if stream.is_empty() => {}
                    0 => stream[at] = byte,
                    1 => stream.insert(at, byte),
                    2 => _ = stream.remove(at),
                    _ => stream[at] ^= 1 << (byte % 8),
                }
            }
            (version, stream)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packets_end_in_a_reason((version, stream) in damaged()) {
        read(&stream, version);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A whole connection: its task ends in order, its seat is free again, and the next client finds a broker.
    #[test]
    fn damaged_connections_end_and_leave_the_broker_whole((version, stream) in damaged()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let shared = Arc::new(Shared::new(None));
            for stream in [[connect(version), stream].concat(), connect(version)] {
                let (here, there) = duplex(64 * 1024);
                let (_stranger, stay) = oneshot::channel();
                let serving = tokio::spawn(serve(there, Arc::clone(&shared), stay));
                let (mut hear, mut say) = tokio::io::split(here);
                say.write_all(&stream).await.unwrap();
                say.shutdown().await.unwrap();
                let mut heard = Vec::new();
                hear.read_to_end(&mut heard).await.unwrap();
                prop_assert!(heard.starts_with(&[0x20]), "accepted, whatever came later: {:02X?}", heard);
                serving.await.expect("no panic");
            }
            Ok(())
        })?;
    }
}

//! Over loopback with other people's clients (rumqttc for 3.1.1, mqtt5 for 5) and with bare bytes.

use std::sync::atomic::{AtomicBool, Ordering};

use mqtt5::{ConnectOptions, Message as Heard, MqttClient, MqttError, PublishOptions, SubscribeOptions};
use mqtt5_protocol::{QoS, ReasonCode};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::super::*;
use super::loopback;

/// Nothing here takes as long; what does has failed.
const LIMIT: Duration = Duration::from_secs(20);

/// A client with version 5 that listens.
async fn modern(broker: &Embedded, options: ConnectOptions, filter: &str) -> (MqttClient, UnboundedReceiver<Heard>) {
    let client = MqttClient::new(&*options.protocol_options.client_id);
    let address = format!("mqtt://{}", broker.address);
    client.connect_with_options(&address, options).await.unwrap();
    let (tell, heard) = unbounded_channel();
    let subscribe =
        SubscribeOptions { qos: QoS::ExactlyOnce, subscription_identifier: Some(9), ..SubscribeOptions::default() };
    client.subscribe_with_options(filter, subscribe, move |it| _ = tell.send(it)).await.unwrap();
    (client, heard)
}

async fn next(heard: &mut UnboundedReceiver<Heard>) -> Heard {
    timeout(LIMIT, heard.recv()).await.expect("a message in time").unwrap()
}

/// A client with 3.1.1 that listens.
async fn old(broker: &Embedded, id: &str, filter: &str) -> (AsyncClient, UnboundedReceiver<rumqttc::Publish>) {
    let mut options = MqttOptions::new(id, (broker.address.ip().to_string(), broker.address.port()));
    options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
    let (client, mut events) = AsyncClient::builder(options).capacity(1000).build();
    client.try_subscribe(filter, rumqttc::QoS::ExactlyOnce).unwrap();
    let (tell, heard) = unbounded_channel();
    let (subscribed, ready) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut subscribed = Some(subscribed);
        while let (Ok(event), false) = (events.poll().await, tell.is_closed()) {
            match event {
                Event::Incoming(Packet::SubAck(_)) => _ = subscribed.take().map(|it| it.send(())),
                Event::Incoming(Packet::Publish(it)) => _ = tell.send(it),
                _ => {}
            }
        }
    });
    timeout(LIMIT, ready).await.expect("subscribed in time").unwrap();
    (client, heard)
}

#[tokio::test]
async fn both_versions_hear_each_other_with_every_quality_in_order_and_once() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (modern, mut heard_by_modern) = modern(&broker, ConnectOptions::new("modern"), "t/#").await;
    let (old, mut heard_by_old) = old(&broker, "old", "t/#").await;
    for number in 0..150_u8 {
        let qos = [rumqttc::QoS::ExactlyOnce, rumqttc::QoS::AtLeastOnce][usize::from(number % 2)];
        old.publish("t/old", vec![number; 1000], rumqttc::PublishOptions::new(qos)).await.unwrap();
    }
    for number in 0..150_u8 {
        let heard = next(&mut heard_by_modern).await;
        assert_eq!(heard.payload, vec![number; 1000]);
        assert_eq!(heard.properties.subscription_identifiers, [9]);
        assert_eq!(timeout(LIMIT, heard_by_old.recv()).await.unwrap().unwrap().payload[..], vec![number; 1000]);
    }
    let large = vec![7; 200 * 1024];
    let mut how = PublishOptions { qos: QoS::ExactlyOnce, retain: true, ..PublishOptions::default() };
    how.properties.content_type = Some("text/plain".into());
    how.properties.user_properties = vec![("b".into(), "1".into()), ("a".into(), "2".into())];
    modern.publish_with_options("t/modern", "hello", how.clone()).await.unwrap();
    how.retain = false;
    modern.publish_with_options("t/large", large.clone(), how.clone()).await.unwrap();
    let heard = next(&mut heard_by_modern).await;
    assert_eq!((heard.payload, heard.retain), (b"hello".to_vec(), false));
    assert_eq!(heard.properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(heard.properties.user_properties, how.properties.user_properties);
    assert_eq!(next(&mut heard_by_modern).await.payload, large);
    let hello = timeout(LIMIT, heard_by_old.recv()).await.unwrap().unwrap();
    assert!(!hello.retain);
    assert_eq!(timeout(LIMIT, heard_by_old.recv()).await.unwrap().unwrap().payload[..], large);
    // What it retained waits for who comes later, without what 3.1.1 does not know.
    let (_late, mut heard_by_late) = self::old(&broker, "late", "t/+").await;
    let hello = timeout(LIMIT, heard_by_late.recv()).await.unwrap().unwrap();
    assert!(hello.retain);
    assert_eq!(hello.payload[..], *b"hello");
    broker.stop().await;
}

#[tokio::test]
async fn version_5_is_told_what_is_not_taken() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (client, _heard) = modern(&broker, ConnectOptions::new("a"), "t").await;
    let at_least = PublishOptions { qos: QoS::AtLeastOnce, retain: true, ..PublishOptions::default() };
    let told = client.publish_with_options("r", vec![0; MAX_RETAINED_SIZE], at_least).await;
    assert!(matches!(told, Err(MqttError::PublishFailed(ReasonCode::QuotaExceeded))), "{told:?}");
    let shared = client.subscribe("$share/g/t", |_| ()).await;
    assert!(shared.is_err(), "{shared:?}");
    broker.stop().await;
}

fn hello(version: u8, id: u8, keep_alive: u8) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let head = [b"\0\x04MQTT".as_slice(), &[version, 2, 0, keep_alive], properties, &[0, 1, id]].concat();
    [vec![0x10, u8::try_from(head.len()).unwrap()], head].concat()
}

/// All that the broker says to some bytes, until it closes.
async fn said(broker: &Embedded, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut heard)).await.expect("it closes").unwrap();
    heard
}

#[tokio::test]
async fn each_version_is_refused_as_its_standard_says() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let level = |it| hello(it, b'a', 60);
    assert_eq!(said(&broker, b"\x10\x0c\0\x06MQIsdp\x03\x02\0\x3c").await, [0x20, 2, 0, 1]);
    assert_eq!(said(&broker, &level(3)).await, [0x20, 2, 0, 1]);
    assert!(said(&broker, &level(6)).await.starts_with(&[0x20]), "in the form of version 5");
    assert_eq!(said(&broker, &level(6)).await[3], 0x84);
    assert_eq!(said(&broker, b"\xC0\0").await, [0_u8; 0], "what does not begin with CONNECT gets no answer");
    assert_eq!(said(&broker, b"GET / HTTP/1.1\r\n\r\n").await, [0_u8; 0]);
    // A session for nobody.
    assert_eq!(said(&broker, b"\x10\x0c\0\x04MQTT\x04\x00\0\x3c\0\0").await, [0x20, 2, 0, 2]);
    for (after, reason) in [
        (&hello(5, b'a', 60)[..], 0x82_u8),
        (&[0x36, 6, 0, 1, b'a', 0, 1, 0], 0x81),
        (&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1], 0x94),
        (&[0x30, 4, 0, 1, b'#', 0], 0x90),
        (&[0x30, 0x80, 0x80, 0x40], 0x95),
    ] {
        let heard = said(&broker, &[level(5), after.to_vec()].concat()).await;
        assert!(heard.ends_with(&[0xE0, 1, reason]), "{after:02X?}: {heard:02X?}");
        let heard = said(&broker, &[level(4), after.to_vec(), vec![0xE0, 0]].concat()).await;
        assert_eq!(heard, [0x20, 2, 0, 0], "3.1.1 knows no farewell of the broker");
    }
    // One and a half seconds of silence.
    assert!(said(&broker, &hello(5, b'k', 1)).await.ends_with(&[0xE0, 1, 0x8D]));
    assert_eq!(said(&broker, &hello(4, b'k', 1)).await, [0x20, 2, 0, 0]);
    broker.stop().await;
}

#[tokio::test]
async fn who_has_not_the_login_stays_outside() {
    let login = Some(("house".to_owned(), Some(Secret::new("right".to_owned()))));
    let broker = Embedded::start(loopback(0), login).await.unwrap();
    let login = |version: u8, password: &str| {
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let head = [b"\0\x04MQTT".as_slice(), &[version, 0xC2, 0, 60], properties, b"\0\x01a\0\x05house"].concat();
        let head = [head, vec![0, u8::try_from(password.len()).unwrap()], password.as_bytes().to_vec()].concat();
        [vec![0x10, u8::try_from(head.len()).unwrap()], head, vec![0xE0, 0]].concat()
    };
    assert_eq!(said(&broker, &login(4, "right")).await, [0x20, 2, 0, 0]);
    assert_eq!(said(&broker, &login(4, "wrong")).await, [0x20, 2, 0, 4]);
    assert_eq!(said(&broker, &login(5, "right")).await[3], 0);
    assert_eq!(said(&broker, &login(5, "wrong")).await[3], 0x86);
    assert_eq!(said(&broker, &hello(4, b'a', 60)).await, [0x20, 2, 0, 4], "nor who says none");
    broker.stop().await;
}

#[tokio::test]
async fn what_comes_twice_with_quality_2_is_passed_on_once() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (_watch, mut heard) = old(&broker, "watch", "t").await;
    let twice = [0x34, 6, 0, 1, b't', 0, 9, b'1', 0x3C, 6, 0, 1, b't', 0, 9, b'1'];
    let then = [0x62, 2, 0, 9, 0x62, 2, 0, 9, 0x34, 6, 0, 1, b't', 0, 9, b'2', 0xE0, 0];
    let answers = said(&broker, &[hello(4, b'a', 60), twice.to_vec(), then.to_vec()].concat()).await;
    let expected = [[0x50, 2, 0, 9], [0x50, 2, 0, 9], [0x70, 2, 0, 9], [0x70, 2, 0, 9]].concat();
    assert!(answers[4..].starts_with(&expected), "{answers:02X?}");
    for payload in [b"1", b"2"] {
        assert_eq!(timeout(LIMIT, heard.recv()).await.unwrap().unwrap().payload[..], *payload);
    }
    broker.stop().await;
}

#[tokio::test]
async fn one_that_does_not_read_holds_up_nobody() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let mut stuck = TcpStream::connect(broker.address).await.unwrap();
    stuck.write_all(&[hello(4, b's', 0), vec![0x82, 6, 0, 1, 0, 1, b'#', 1]].concat()).await.unwrap();
    let mut answers = [0; 9];
    stuck.read_exact(&mut answers).await.unwrap();
    assert_eq!(answers[4..], [0x90, 3, 0, 1, 1]);
    let (client, mut heard) = old(&broker, "quick", "t").await;
    for number in 0..200_u8 {
        let how = rumqttc::PublishOptions::new(rumqttc::QoS::AtLeastOnce);
        client.publish("t", vec![number; 100_000], how).await.unwrap();
        assert_eq!(timeout(LIMIT, heard.recv()).await.unwrap().unwrap().payload[0], number);
    }
    // Twenty megabytes do not fit into what the system and we hold for it: it was sent away.
    let (mut got, mut piece) = (0, vec![0; 1 << 16]);
    while let Ok(read @ 1..) = timeout(LIMIT, stuck.read(&mut piece)).await.expect("an end") {
        got += read;
    }
    assert!(got < 200 * 100_000, "{got} bytes");
    broker.stop().await;
}

#[tokio::test]
async fn a_burst_reaches_who_reads() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (_watch, mut heard) = old(&broker, "watch", "t").await;
    for qos in 0..=1_u8 {
        let mut burst = hello(4, b'a', 60);
        // Four times what may wait for a client, there before anybody reads.
        let count = u16::try_from(4 * MAX_QUEUED).unwrap();
        for number in 1..=count {
            let [high, low] = number.to_be_bytes();
            match qos {
                0 => burst.extend([0x30, 5, 0, 1, b't', high, low]),
                _ => burst.extend([0x32, 7, 0, 1, b't', high, low, high, low]),
            }
        }
        burst.extend([0xE0, 0]);
        said(&broker, &burst).await;
        for number in 1..=count {
            let heard = timeout(LIMIT, heard.recv()).await.expect("all of it").unwrap();
            assert_eq!(heard.payload[..], number.to_be_bytes(), "quality {qos}");
        }
    }
    // Four times as many bytes as may wait.
    let mut burst = hello(4, b'a', 60);
    for number in 1..=64_u8 {
        // Of 65536 bytes with what stands before the payload.
        burst.extend([0x32, 0x80, 0x80, 0x04, 0, 1, b't', 0, number]);
        burst.extend(vec![number; 65_536 - 5]);
    }
    burst.extend([0xE0, 0]);
    said(&broker, &burst).await;
    for number in 1..=64_u8 {
        assert_eq!(timeout(LIMIT, heard.recv()).await.expect("all of it").unwrap().payload[..], vec![number; 65_531]);
    }
    let told = broker.shared.router().report();
    assert_eq!(told, None);
    broker.stop().await;
}

#[tokio::test]
async fn a_connection_that_unwinds_ends_alone() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (client, mut heard) = old(&broker, "a", "t").await;
    let shared = Arc::clone(&broker.shared);
    let held = Arc::new(AtomicBool::new(false));
    let held_there = Arc::clone(&held);
    let unwound = tokio::spawn(async move {
        let _router = shared.router.lock();
        held_there.store(true, Ordering::Relaxed);
        std::panic::resume_unwind(Box::new("one connection"));
    });
    assert!(unwound.await.unwrap_err().is_panic());
    assert!(held.load(Ordering::Relaxed) && broker.shared.router.is_poisoned());
    client.publish("t", b"1".to_vec(), rumqttc::PublishOptions::new(rumqttc::QoS::ExactlyOnce)).await.unwrap();
    assert_eq!(timeout(LIMIT, heard.recv()).await.unwrap().unwrap().payload[..], *b"1");
    broker.stop().await;
}

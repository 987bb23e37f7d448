//! Who gets what, without a socket and with a clock of our own.

use std::time::{Duration, Instant};

use mqtt5_protocol::packet::publish::PublishPacket;
use mqtt5_protocol::packet::suback::SubAckReasonCode as Code;
use mqtt5_protocol::packet::subscribe_options::{RetainHandling, SubscriptionOptions};
use mqtt5_protocol::{FixedHeader, Packet, Properties, PropertyId, PropertyValue, QoS, ReasonCode};

use super::super::message::Message;
use super::super::router::{Hello, Router, Seat, Welcome};
use super::super::session::Will;
use super::super::*;

const SECOND: Duration = Duration::from_secs(1);

fn message(topic: &str, payload: impl Into<Vec<u8>>, qos: QoS, retain: bool) -> Message {
    Message::new(topic.into(), payload.into(), (qos, retain), &Properties::new()).unwrap()
}

/// A message with an expiry in seconds.
fn mortal(topic: &str, lives: u32, retain: bool, now: Instant) -> Message {
    let mut properties = Properties::new();
    properties.set_message_expiry_interval(lives);
    Message::new(topic.into(), b"x".to_vec(), (QoS::AtLeastOnce, retain), &properties).unwrap().at(now)
}

fn hello(client: &str) -> Hello {
    Hello {
        client: client.into(),
        clean: true,
        expiry: Duration::ZERO,
        will: None,
        version: 5,
        window: 10,
        largest: usize::MAX,
    }
}

struct House {
    router: Router,
    now: Instant,
}

impl House {
    fn new() -> Self {
        Self { router: Router::default(), now: Instant::now() }
    }

    fn enter(&mut self, hello: Hello) -> Welcome {
        self.router.connect(hello, self.now).unwrap()
    }

    fn subscribe(&mut self, seat: &Seat, filter: &str, qos: QoS) -> Code {
        self.router.subscribe(seat, filter.into(), SubscriptionOptions::new(qos), None)
    }

    fn publish(&mut self, topic: &str, qos: QoS, retain: bool) -> Result<usize, ReasonCode> {
        self.say("somebody", message(topic, topic, qos, retain))
    }

    fn say(&mut self, from: &str, message: Message) -> Result<usize, ReasonCode> {
        self.router.publish(from, message.at(self.now), self.now).map_err(|it| it.reason)
    }

    /// What a client is sent now.
    fn packets(&mut self, seat: &Seat) -> Vec<Packet> {
        let mut packets = Vec::new();
        loop {
            let mut out = Vec::new();
            self.router.fill(seat, self.now, &mut out).unwrap();
            if out.is_empty() {
                return packets;
            }
            let mut rest = out.as_slice();
            while !rest.is_empty() {
                let header = FixedHeader::decode(&mut rest).unwrap();
                let (mut body, after) = rest.split_at(header.remaining_length as usize);
                packets.push(Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, 5).unwrap());
                rest = after;
            }
        }
    }

    fn publications(&mut self, seat: &Seat) -> Vec<PublishPacket> {
        let packets = self.packets(seat).into_iter();
        packets.filter_map(|it| if let Packet::Publish(it) = it { Some(it) } else { None }).collect()
    }

    fn topics(&mut self, seat: &Seat) -> Vec<String> {
        self.publications(seat).into_iter().map(|it| it.topic_name).collect()
    }
}

#[test]
fn filters_and_the_lower_quality_decide() {
    let mut house = House::new();
    let seat = house.enter(hello("a")).seat;
    assert_eq!(house.subscribe(&seat, "home/+/power", QoS::AtLeastOnce), Code::GrantedQoS1);
    assert_eq!(house.subscribe(&seat, "#", QoS::AtMostOnce), Code::GrantedQoS0);
    assert_eq!(house.subscribe(&seat, "a/#/b", QoS::AtMostOnce), Code::TopicFilterInvalid);
    assert_eq!(house.subscribe(&seat, "$share/us/a", QoS::AtMostOnce), Code::SharedSubscriptionsNotSupported);
    assert_eq!(house.subscribe(&seat, &"x".repeat(MAX_TOPIC + 1), QoS::AtMostOnce), Code::QuotaExceeded);
    for (topic, reached) in [("home/a/power", 1), ("other", 1), ("$SYS/x", 0)] {
        assert_eq!(house.publish(topic, QoS::ExactlyOnce, false), Ok(reached), "{topic}");
    }
    // One copy each, whatever the number of subscriptions that match.
    let got: Vec<_> = house.publications(&seat).into_iter().map(|it| (it.topic_name, it.qos)).collect();
    assert_eq!(got, [("home/a/power".to_owned(), QoS::AtLeastOnce), ("other".to_owned(), QoS::AtMostOnce)]);
}

#[test]
fn retained_ones_come_with_the_flag_until_cleared_and_only_when_asked_for() {
    let mut house = House::new();
    house.publish("r/1", QoS::AtLeastOnce, true).unwrap();
    house.publish("r/2", QoS::AtLeastOnce, true).unwrap();
    house.say("x", message("r/1", "", QoS::AtMostOnce, true)).unwrap();
    let seat = house.enter(hello("a")).seat;
    let options =
        |retain_handling| SubscriptionOptions { retain_handling, ..SubscriptionOptions::new(QoS::AtMostOnce) };
    let wants = [
        (RetainHandling::DoNotSend, 0),
        (RetainHandling::SendAtSubscribeIfNew, 0),
        (RetainHandling::SendAtSubscribe, 1),
        (RetainHandling::SendAtSubscribe, 1),
    ];
    for (handling, count) in wants {
        house.router.subscribe(&seat, "r/#".into(), options(handling), None);
        let got = house.publications(&seat);
        assert_eq!(got.len(), count, "{handling:?}");
        assert!(got.iter().all(|it| it.retain && it.topic_name == "r/2"));
    }
    house.router.subscribe(&seat, "r/+".into(), options(RetainHandling::SendAtSubscribeIfNew), None);
    assert_eq!(house.topics(&seat), ["r/2"]);
    // Live ones have it only for who asked for it as it was published.
    house.publish("r/3", QoS::AtMostOnce, true).unwrap();
    assert!(house.publications(&seat).iter().all(|it| !it.retain));
    let as_published = SubscriptionOptions { retain_as_published: true, ..options(RetainHandling::DoNotSend) };
    house.router.subscribe(&seat, "r/#".into(), as_published, Some(7));
    house.publish("r/3", QoS::AtMostOnce, true).unwrap();
    let got = house.publications(&seat);
    assert!(got[0].retain);
    assert_eq!(got[0].properties.subscription_identifiers(), [7]);
}

#[test]
fn what_is_retained_has_bounds_and_says_so() {
    let mut house = House::new();
    let large = message("r/large", vec![0; MAX_RETAINED_SIZE], QoS::AtLeastOnce, true);
    assert_eq!(house.say("x", large), Err(ReasonCode::QuotaExceeded));
    for number in 0..MAX_RETAINED {
        house.publish(&format!("r/{number}"), QoS::AtMostOnce, true).unwrap();
    }
    let present = house.enter(hello("present")).seat;
    house.subscribe(&present, "r/#", QoS::AtMostOnce);
    assert_eq!(house.topics(&present).len(), MAX_RETAINED);
    assert_eq!(house.publish("r/more", QoS::AtMostOnce, true), Err(ReasonCode::QuotaExceeded));
    assert_eq!(house.topics(&present), ["r/more"], "who is there gets it all the same");
    house.publish("r/7", QoS::AtMostOnce, true).expect("a topic that is there may change");
    assert!(
        house
            .router
            .report()
            .unwrap()
            .starts_with("2 retained messages without room; the newest: no room to retain 12 bytes")
    );
    assert_eq!(house.router.report(), None);
    // What is outdated is not kept for want of room for the new.
    let large = message("r/7", vec![0; MAX_RETAINED_SIZE], QoS::AtMostOnce, true);
    assert_eq!(house.say("x", large), Err(ReasonCode::QuotaExceeded));
    let late = house.enter(hello("late")).seat;
    house.subscribe(&late, "r/7", QoS::AtMostOnce);
    assert_eq!(house.topics(&late), [""; 0]);
    house.publish("r/more", QoS::AtMostOnce, true).expect("there is room again");

    let mut house = House::new();
    let each = 100 * 1024;
    let kept = (0..).take_while(|it| {
        let kept = message(&format!("{it:03}"), vec![0; each - 3], QoS::AtMostOnce, true);
        house.say("x", kept).is_ok()
    });
    assert_eq!(kept.count(), MAX_RETAINED_BYTES / each);
    house.say("x", message("000", "", QoS::AtMostOnce, true)).unwrap();
    house.say("x", message("new", vec![0; each - 3], QoS::AtMostOnce, true)).expect("there is room again");
}

#[test]
fn each_topic_comes_in_its_order_and_once_while_retained_ones_are_on_their_way() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut house = House::new();
        let say = |house: &mut House, topic: &str, value: &str, retain| {
            house.say("x", message(topic, value, qos, retain)).unwrap();
        };
        // As of a subscription that was there before.
        let seat = house.enter(hello("a")).seat;
        house.subscribe(&seat, "b", qos);
        assert!(house.packets(&seat).is_empty());
        for (topic, value) in [("a", "a0"), ("b", "b0"), ("c", "c0"), ("d", "d0")] {
            say(&mut house, topic, value, true);
        }
        house.router.subscribe(&seat, "+".into(), SubscriptionOptions::new(qos), Some(7));
        say(&mut house, "d", "d1", false);
        say(&mut house, "c", "c1", true);
        say(&mut house, "c", "c2", true);
        say(&mut house, "c", "c3", false);
        let got = house.publications(&seat);
        assert!(got.iter().all(|it| it.properties.subscription_identifiers() == [7]));
        let got: Vec<_> = got.iter().map(|it| (str::from_utf8(&it.payload).unwrap(), it.retain)).collect();
        let replayed = [("a0", true), ("b0", false), ("c1", false), ("c2", false), ("d0", true)];
        assert_eq!(got, [&replayed[..], &[("d1", false), ("c3", false)]].concat(), "{qos:?}");
        assert_eq!(house.router.session(&seat).unwrap().waiting().0, 0);
    }
}

#[test]
fn a_client_with_a_long_queue_is_waited_for_as_long_as_it_takes_something() {
    let mut house = House::new();
    let seats = ["busy", "other"].map(|it| house.enter(hello(it)).seat);
    house.subscribe(&seats[0], "#", QoS::AtLeastOnce);
    let crowded = |house: &House| seats.each_ref().map(|it| house.router.is_crowded(it, house.now));
    for number in 0..=MAX_QUEUED / 2 {
        assert_eq!(crowded(&house), [false; 2], "{number}");
        house.publish("t", QoS::AtLeastOnce, false).unwrap();
    }
    assert_eq!(crowded(&house), [false, true], "not by itself: its acknowledgements would not be read");
    house.now += CROWD_PATIENCE;
    house.publish("t", QoS::AtLeastOnce, false).unwrap();
    assert_eq!(crowded(&house), [false; 2], "it takes nothing");
    let mut left = MAX_QUEUED / 2 + 2;
    while left > MAX_QUEUED / 4 {
        let taken = house.publications(&seats[0]);
        left -= taken.len();
        assert_eq!(crowded(&house), [false, left > MAX_QUEUED / 4], "{left} left");
        for it in taken {
            let session = house.router.session(&seats[0]).unwrap();
            session.acknowledged(it.packet_id.unwrap(), QoS::AtLeastOnce).unwrap();
        }
    }
    house.say("x", message("b", vec![0; MAX_QUEUED_BYTES / 2], QoS::AtLeastOnce, false)).unwrap();
    assert_eq!(crowded(&house), [false, true], "by its bytes as well");
}

#[test]
fn everything_retained_reaches_a_client_that_may_have_one_open() {
    let mut house = House::new();
    for number in 0..300 {
        let kept = message(&format!("r/{number:03}"), vec![0; 10_000], QoS::ExactlyOnce, true);
        house.say("x", kept).unwrap();
    }
    let seat = house.enter(Hello { window: 1, ..hello("a") }).seat;
    house.subscribe(&seat, "r/#", QoS::AtLeastOnce);
    let mut seen = Vec::new();
    loop {
        let got = house.publications(&seat);
        assert!(got.len() <= 1, "{} at once", got.len());
        let Some(one) = got.first() else { break };
        seen.push(one.topic_name.clone());
        let id = one.packet_id.unwrap();
        house.router.session(&seat).unwrap().acknowledged(id, QoS::AtLeastOnce).unwrap();
    }
    assert_eq!(seen.len(), 300);
    assert!(seen.is_sorted());
}

#[test]
fn all_together_hold_no_more_than_they_may() {
    const LARGE: usize = 200 * 1024;
    let mut house = House::new();
    let names = (0..MAX_CLIENTS).map(|it| format!("t/{it}"));
    let clients: Vec<_> = names.map(|it| (house.enter(hello(&it)), it)).collect();
    for (client, own) in &clients {
        house.subscribe(&client.seat, own, QoS::AtLeastOnce);
        house.subscribe(&client.seat, "all", QoS::AtLeastOnce);
    }
    // What everybody waits for is there once.
    house.say("x", message("all", vec![0; LARGE], QoS::AtLeastOnce, false)).unwrap();
    assert_eq!(house.router.held(), LARGE + 3);
    let mut most = 0;
    for (_, own) in clients.iter().cycle().take(4 * MAX_CLIENTS) {
        house.say("x", message(own, vec![0; LARGE], QoS::AtLeastOnce, false)).unwrap();
        most = most.max(house.router.held());
    }
    assert!(most <= MAX_HELD_BYTES && most > MAX_HELD_BYTES - LARGE - 10, "{most}");
    let ended = clients.iter().filter_map(|it| it.0.line.end()).inspect(|it| {
        assert_eq!(it.reason, ReasonCode::QuotaExceeded);
    });
    assert!((1..MAX_CLIENTS).contains(&ended.count()), "some have to go, and not all");
    assert!(house.router.counters.lost > 0);
    assert!(house.router.counters.newest.contains("had most"));
    for (client, _) in &clients {
        house.router.leave(&client.seat, true, house.now);
    }
    assert_eq!(house.router.held(), 0);
    house.publish("kept", QoS::AtMostOnce, true).unwrap();
    assert_eq!(house.router.held(), 8);
    house.say("x", message("kept", "", QoS::AtMostOnce, true)).unwrap();
    assert_eq!(house.router.held(), 0);
}

#[test]
fn a_slow_client_loses_quality_0_first_then_its_connection_and_nobody_else_notices() {
    let mut house = House::new();
    let slow = house.enter(Hello { expiry: 100 * SECOND, ..hello("slow") });
    let quick = house.enter(hello("quick"));
    house.subscribe(&slow.seat, "#", QoS::AtLeastOnce);
    house.subscribe(&quick.seat, "#", QoS::AtLeastOnce);
    for _ in 0..MAX_QUEUED {
        house.publish("zero", QoS::AtMostOnce, false).unwrap();
        house.packets(&quick.seat);
    }
    for _ in 0..MAX_QUEUED {
        house.publish("one", QoS::AtLeastOnce, false).unwrap();
        for it in house.publications(&quick.seat) {
            let session = house.router.session(&quick.seat).unwrap();
            session.acknowledged(it.packet_id.unwrap(), QoS::AtLeastOnce).unwrap();
        }
    }
    assert_eq!(house.router.counters.dropped as usize, MAX_QUEUED);
    assert!(slow.line.end().is_none());
    house.publish("one", QoS::AtLeastOnce, false).unwrap();
    assert_eq!(slow.line.end().unwrap().reason, ReasonCode::QuotaExceeded);
    assert!(quick.line.end().is_none());
    assert_eq!(house.router.counters.lost, 1);
    assert_eq!(house.router.session(&slow.seat).unwrap().waiting(), (MAX_QUEUED, 6 * MAX_QUEUED, 0));

    // The same by bytes.
    let mut house = House::new();
    let slow = house.enter(hello("slow"));
    house.subscribe(&slow.seat, "#", QoS::AtLeastOnce);
    for _ in 0..10 {
        house.say("x", message("b", vec![0; 200 * 1024], QoS::AtLeastOnce, false)).unwrap();
    }
    assert_eq!(slow.line.end().unwrap().reason, ReasonCode::QuotaExceeded);
    let (_, bytes, _) = house.router.session(&slow.seat).unwrap().waiting();
    assert!(bytes <= MAX_QUEUED_BYTES, "{bytes}");
}

#[test]
fn what_was_not_acknowledged_comes_again_when_the_session_is_resumed_and_not_before() {
    let mut house = House::new();
    let keep = || Hello { clean: false, expiry: 100 * SECOND, ..hello("a") };
    let seat = house.enter(keep()).seat;
    house.subscribe(&seat, "#", QoS::ExactlyOnce);
    for topic in ["1", "2", "3"] {
        house.publish(topic, QoS::ExactlyOnce, false).unwrap();
    }
    let ids: Vec<_> = house.publications(&seat).iter().map(|it| it.packet_id.unwrap()).collect();
    assert!(house.packets(&seat).is_empty(), "nothing is sent twice over one connection");
    let session = house.router.session(&seat).unwrap();
    assert!(session.released(ids[0], false).unwrap());
    session.acknowledged(ids[0], QoS::ExactlyOnce).unwrap();
    assert!(session.released(ids[1], false).unwrap());
    assert!(session.acknowledged(ids[2], QoS::AtLeastOnce).is_err(), "of another quality");
    house.router.leave(&seat, false, house.now);
    house.publish("4", QoS::AtLeastOnce, false).unwrap();
    house.publish("lost", QoS::AtMostOnce, false).unwrap();

    let again = house.enter(keep());
    assert!(again.present);
    let packets = house.packets(&again.seat);
    let [Packet::PubRel(second), Packet::Publish(third), Packet::Publish(fourth)] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(second.packet_id, ids[1]);
    assert_eq!((third.packet_id, third.dup), (Some(ids[2]), true));
    assert_eq!((fourth.topic_name.as_str(), fourth.dup), ("4", false));
}

#[test]
fn sessions_end_are_bounded_and_those_of_clean_starts_begin_anew() {
    let mut house = House::new();
    let keep = |client: &str| Hello { clean: false, expiry: 10 * SECOND, ..hello(client) };
    let leave = |house: &mut House, client: &str| {
        let seat = house.enter(keep(client)).seat;
        house.router.leave(&seat, true, house.now);
    };
    leave(&mut house, "a");
    assert!(house.enter(keep("a")).present);
    leave(&mut house, "a");
    assert!(!house.enter(Hello { clean: true, ..keep("a") }).present);
    leave(&mut house, "a");
    house.now += 10 * SECOND;
    assert!(!house.enter(keep("a")).present, "it has ended");
    leave(&mut house, "a");
    for number in 0..MAX_AWAY {
        house.now += SECOND / 10;
        leave(&mut house, &number.to_string());
    }
    assert_eq!(house.router.counters.forgotten, 1);
    assert!(!house.enter(keep("a")).present, "the one away for longest made room");
    assert!(house.enter(keep("0")).present);
    for number in 0..MAX_CLIENTS - 2 {
        house.enter(hello(&format!("c{number}")));
    }
    assert_eq!(house.router.connect(hello("more"), house.now).err().unwrap().reason, ReasonCode::ServerBusy);
    assert!(house.router.connect(hello("c0"), house.now).is_ok(), "one that is there already");
}

#[test]
fn a_will_comes_when_a_client_is_lost_and_as_late_as_it_asked_for() {
    let will = |delay| Some(Will { message: message("will", "w", QoS::AtLeastOnce, false), delay });
    let mut house = House::new();
    let watch = house.enter(hello("watch")).seat;
    house.subscribe(&watch, "will", QoS::AtMostOnce);
    let expect = |house: &mut House, count: usize, when: &str| {
        assert_eq!(house.topics(&watch).len(), count, "{when}");
    };
    let keep = |delay| Hello { clean: false, expiry: 10 * SECOND, will: will(delay), ..hello("a") };
    for (orderly, count) in [(false, 1), (true, 0)] {
        let seat = house.enter(Hello { will: will(Duration::ZERO), ..hello("a") }).seat;
        house.router.leave(&seat, orderly, house.now);
        expect(&mut house, count, "at once");
    }
    // A delay does not outlive the session.
    let seat = house.enter(Hello { will: will(SECOND), ..hello("a") }).seat;
    house.router.leave(&seat, false, house.now);
    expect(&mut house, 1, "with the end of the session");
    let seat = house.enter(keep(3 * SECOND)).seat;
    house.router.leave(&seat, false, house.now);
    house.router.sweep(house.now + 2 * SECOND);
    expect(&mut house, 0, "before the delay");
    house.router.sweep(house.now + 3 * SECOND);
    house.router.sweep(house.now + 4 * SECOND);
    expect(&mut house, 1, "after the delay, once");
    // Whoever comes back in time voids it …
    let seat = house.enter(keep(3 * SECOND)).seat;
    house.router.leave(&seat, false, house.now);
    let seat = house.enter(keep(Duration::ZERO)).seat;
    house.router.sweep(house.now + 5 * SECOND);
    expect(&mut house, 0, "back in time");
    // … and one that is taken over publishes it, unless the delay saves it.
    for (count, when) in [(1, "taken over"), (0, "taken over, with a delay")] {
        house.enter(keep(3 * SECOND));
        expect(&mut house, count, when);
    }
    house.router.leave(&seat, false, house.now);
    house.enter(hello("a"));
    expect(&mut house, 1, "a clean start ends the session");
}

#[test]
fn another_connection_of_the_same_client_takes_over() {
    let mut house = House::new();
    let first = house.enter(hello("a"));
    let second = house.enter(hello("a"));
    assert_eq!(first.line.end().unwrap().reason, ReasonCode::SessionTakenOver);
    assert!(second.line.end().is_none());
    assert!(house.router.session(&first.seat).is_none());
    house.router.leave(&first.seat, false, house.now);
    assert!(house.router.session(&second.seat).is_some(), "the late end of the first is none of the second's");
}

#[test]
fn messages_expire_wherever_they_wait_and_say_what_is_left() {
    let mut house = House::new();
    let seat = house.enter(hello("a")).seat;
    house.subscribe(&seat, "e/#", QoS::AtLeastOnce);
    assert!(house.packets(&seat).is_empty());
    let start = house.now;
    for (topic, lives, retain) in [("e/1", 5, false), ("e/2", 20, true)] {
        house.router.publish("x", mortal(topic, lives, retain, start), start).unwrap();
    }
    house.now = start + 8 * SECOND;
    let got = house.publications(&seat);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].message_expiry_interval(), Some(12));
    house.subscribe(&seat, "e/+", QoS::AtLeastOnce);
    assert_eq!(house.topics(&seat), ["e/2"]);
    house.now = start + 20 * SECOND;
    house.subscribe(&seat, "+/2", QoS::AtLeastOnce);
    assert!(house.topics(&seat).is_empty());
}

#[test]
fn properties_are_passed_on_and_not_more_than_the_client_takes() {
    let mut house = House::new();
    let seat = house.enter(Hello { largest: 200, ..hello("a") }).seat;
    house.subscribe(&seat, "#", QoS::AtLeastOnce);
    let mut properties = Properties::new();
    properties.set_content_type("text/plain".into());
    properties.set_response_topic("answer".into());
    properties.set_correlation_data(vec![1, 2].into());
    properties.set_payload_format_indicator(true);
    for (key, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
        properties.add_user_property(key.into(), value.into());
    }
    let said = Message::new("p".into(), b"x".to_vec(), (QoS::AtLeastOnce, false), &properties).unwrap();
    house.say("x", said).unwrap();
    house.say("x", message("large", vec![0; 200], QoS::AtLeastOnce, false)).unwrap();
    house.say("x", message("last", "", QoS::AtLeastOnce, false)).unwrap();
    let got = house.publications(&seat);
    assert_eq!(got[0].properties, properties);
    assert_eq!(got[0].properties.get(PropertyId::ContentType), Some(&PropertyValue::Utf8String("text/plain".into())));
    assert_eq!(got[1].topic_name, "last");
    assert_eq!(house.router.counters.too_large, 1);
}

#[test]
fn subscriptions_are_bounded_and_own_messages_can_be_left_out() {
    let mut house = House::new();
    let seat = house.enter(hello("a")).seat;
    let alone = SubscriptionOptions { no_local: true, ..SubscriptionOptions::new(QoS::AtMostOnce) };
    house.router.subscribe(&seat, "n".into(), alone, None);
    assert_eq!(house.say("a", message("n", "", QoS::AtMostOnce, false)), Ok(0));
    assert_eq!(house.say("b", message("n", "", QoS::AtMostOnce, false)), Ok(1));
    for number in 1..MAX_SUBSCRIPTIONS {
        house.subscribe(&seat, &number.to_string(), QoS::AtMostOnce);
    }
    assert_eq!(house.subscribe(&seat, "more", QoS::AtMostOnce), Code::QuotaExceeded);
    assert_eq!(house.subscribe(&seat, "1", QoS::AtLeastOnce), Code::GrantedQoS1);
    house.router.unsubscribe(&seat, "1");
    assert_eq!(house.publish("1", QoS::AtMostOnce, false), Ok(0));
}

//! Topics of other software that devices listen to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gridkeeper::mqtt::Feeds;

use super::house::options;
use super::peer::{Broker, LIMIT, Peer};
use super::rig::Rig;

const TOPIC: &str = "tele/heatpump/SENSOR";

#[tokio::test]
async fn devices_hear_their_topics_also_of_a_standby_and_after_the_broker_was_away() {
    let broker = Broker::start().await;
    let address = broker.address;
    let peer = Peer::connect(address, "#").await;
    peer.retain(TOPIC, "{\"old\":1}");
    peer.json(TOPIC, |it| it["old"] == 1).await;

    let mut first = options(address);
    (first.instance, first.client_id) = ("first".into(), "first".into());
    let mut first = Rig::start(first);
    first.online().await;

    let mut second = options(address);
    (second.instance, second.client_id) = ("second".into(), "second".into());
    second.feeds = Feeds::new([TOPIC]);
    let feeds = second.feeds.clone();
    let mut inbox = feeds.listen([TOPIC]);
    let mut standby = Rig::start(second);
    let replayed = tokio::time::timeout(LIMIT, inbox.recv()).await.unwrap();
    assert_eq!((&*replayed.payload, replayed.retained), (&b"{\"old\":1}"[..], true));
    standby.until("standing by", |it| it.state == gridkeeper::mqtt::LinkState::Standby).await;
    peer.publish(TOPIC, "{\"new\":1}");
    let live = tokio::time::timeout(LIMIT, inbox.recv()).await.unwrap();
    assert_eq!((&*live.topic, &*live.payload, live.retained), (TOPIC, &b"{\"new\":1}"[..], false));

    first.stop().await;
    standby.online().await;
    broker.kill().await;
    standby.until("the broker is missed", |it| it.state == gridkeeper::mqtt::LinkState::Retrying).await;
    let broker = Broker::on(address.port()).await;
    standby.online().await;
    standby.until("listening", |it| it.listening).await;
    let peer = Peer::connect(address, "#").await;
    peer.publish(TOPIC, "{\"new\":2}");
    let back = loop {
        let message = tokio::time::timeout(LIMIT, inbox.recv()).await.unwrap();
        if message.payload.ends_with(b"2}") {
            break message;
        }
    };
    assert!(!back.retained);
    standby.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_message_for_a_device_overtakes_a_flood_of_commands() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.feeds = Feeds::new([TOPIC]);
    let mut inbox = options.feeds.clone().listen([TOPIC]);
    let mut rig = Rig::start(options);
    rig.online().await;
    rig.until("listening", |it| it.listening).await;
    let flooder = Peer::connect(broker.address, "nothing").await;
    let meter = Peer::connect(broker.address, "nothing").await;
    let flooded = AtomicU64::new(0);
    // Many more than are read in the time.
    let flood = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            for _ in 0..40 {
                flooder.publish("gridkeeper/site/set/sharing", "equal");
                flooded.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let judged = async {
        let mut status = rig.status.clone();
        let behind = |received: u64| flooded.load(Ordering::Relaxed).saturating_sub(received) > 3000;
        let wait = status.wait_for(|it| behind(it.received));
        tokio::time::timeout(LIMIT, wait).await.expect("a flood that is not kept up with").unwrap();
        let before = flooded.load(Ordering::Relaxed);
        meter.publish(TOPIC, "{}");
        tokio::time::timeout(LIMIT, inbox.recv()).await.expect("heard in time");
        // What is shown is as old as an interval: 200 messages at most.
        let received = rig.status.borrow().received;
        assert!(received + 1000 < before, "it came after {received} of {before}");
    };
    tokio::select! {
        () = flood => {}
        () = judged => {}
    }
    broker.kill().await;
}

//! Topics of other software that devices listen to.

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
    let replayed = tokio::time::timeout(LIMIT, inbox.recv()).await.unwrap().unwrap();
    assert_eq!((&*replayed.payload, replayed.retained), (&b"{\"old\":1}"[..], true));
    standby.until("standing by", |it| it.state == gridkeeper::mqtt::LinkState::Standby).await;
    // It is between two connections now and misses what is not retained; the one as a standby replays what is.
    let live = loop {
        peer.publish(TOPIC, "{\"new\":1}");
        let message = tokio::time::timeout(Duration::from_millis(200), inbox.recv()).await;
        if let Ok(Some(message)) = message
            && !message.retained
        {
            break message;
        }
    };
    assert_eq!((&*live.topic, &*live.payload), (TOPIC, &b"{\"new\":1}"[..]));

    first.stop().await;
    standby.online().await;
    broker.kill().await;
    standby.until("the broker is missed", |it| it.state == gridkeeper::mqtt::LinkState::Retrying).await;
    let broker = Broker::on(address.port()).await;
    standby.online().await;
    let peer = Peer::connect(address, "#").await;
    peer.publish(TOPIC, "{\"new\":2}");
    let back = loop {
        let message = tokio::time::timeout(LIMIT, inbox.recv()).await.unwrap().unwrap();
        if message.payload.ends_with(b"2}") {
            break message;
        }
    };
    assert!(!back.retained);
    standby.stop().await;
    broker.kill().await;
}

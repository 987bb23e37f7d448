//! Two appliances on one base topic.

use gridkeeper::mqtt::LinkState;
use gridkeeper::quantity::Span;
use serde_json::json;

use super::house::options;
use super::peer::{Broker, Peer};
use super::rig::Rig;

#[tokio::test]
async fn the_second_stands_by_and_takes_over_when_the_first_is_gone() {
    let broker = Broker::start().await;
    let mut first = options(broker.address);
    first.instance = "first".into();
    first.client_id = "first".into();
    let mut second = first.clone();
    second.instance = "second".into();
    second.client_id = "second".into();
    second.site.name = "Second home".into();

    let mut a = Rig::start(first);
    a.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    peer.json("gridkeeper/site/state", |_| true).await;
    let mut b = Rig::start(second);
    let status = b.until("standing by", |it| it.state == LinkState::Standby).await;
    let problem = status.problem.unwrap();
    assert!(problem.contains("`first`") && problem.contains("base_topic"), "{problem}");

    // It obeys nothing: only one answer, and the wish reaches the first only.
    peer.publish("gridkeeper/charger/left/set/max_current_a", "9");
    peer.json("gridkeeper/result", |it| it["value"] == "9").await;
    peer.publish("gridkeeper/charger/left/set/max_current_a", "8");
    peer.json("gridkeeper/result", |it| it["value"] == "8").await;
    assert_eq!(peer.seen().iter().filter(|it| it.topic == "gridkeeper/result").count(), 2);
    assert!(b.wishes().is_empty());
    // It publishes nothing, not even by its will.
    assert_eq!(b.status.borrow().published, 0);
    let site = "homeassistant/device/gridkeeper_site/config";
    assert!(peer.seen().iter().all(|it| it.topic != site || !it.text().contains("Second")));

    // The first says good-bye.
    a.stop().await;
    b.online().await;
    peer.json(site, |it| it["device"]["name"] == "Second home").await;
    let info = peer.json("gridkeeper/bridge/info", |it| it["instance"] == "second").await;
    assert_eq!(info["interval_s"], 0.2);
    peer.text_after(0, "gridkeeper/status", "online").await;
    b.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn a_restart_of_the_first_does_not_hand_its_base_over() {
    let broker = Broker::start().await;
    let mut first = options(broker.address);
    first.instance = "first".into();
    first.client_id = "first".into();
    let mut second = first.clone();
    second.instance = "second".into();
    second.client_id = "second".into();
    second.tuning.take_over = Span::from_secs(3600);
    let mut a = Rig::start(first.clone());
    a.online().await;
    let mut b = Rig::start(second);
    b.until("standing by", |it| it.state == LinkState::Standby).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let heard = b.status.borrow().received;
    a.stop().await;
    peer.text_after(0, "gridkeeper/status", "offline").await;
    // It has heard the good-bye.
    peer.retain("gridkeeper/status", "offline");
    b.until("heard", |it| it.received >= heard).await;
    let mark = peer.mark();
    let mut a = Rig::start(first);
    a.online().await;
    peer.json_after(mark, "gridkeeper/bridge/info", |it| it["instance"] == "first").await;
    assert_eq!((b.status.borrow().state, b.status.borrow().published), (LinkState::Standby, 0));
    a.stop().await;
    b.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn who_takes_over_silences_the_devices_of_the_other_and_clears_none() {
    let broker = Broker::start().await;
    let mut first = options(broker.address);
    first.instance = "first".into();
    first.client_id = "first".into();
    let mut second = first.clone();
    second.instance = "second".into();
    second.client_id = "second".into();
    second.chargers.retain(|it| it.common.id != "left");
    let shown = |it: &mut gridkeeper::status::Snapshot| it.chargers.retain(|it| &*it.id != "left");
    let mut a = Rig::start(first);
    a.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    peer.text_after(0, "gridkeeper/charger/left/availability", "online").await;
    let mut b = Rig::start(second.clone());
    b.show(shown);
    b.until("standing by", |it| it.state == LinkState::Standby).await;
    let mark = peer.mark();
    a.stop().await;
    b.online().await;
    peer.text_after(mark, "gridkeeper/charger/left/availability", "offline").await;
    let info = peer.json_after(mark, "gridkeeper/bridge/info", |it| it["instance"] == "second").await;
    assert_eq!(info["predecessor"], "first");
    b.stop().await;
    // Its own restart does not make them its own.
    let again = peer.mark();
    let mut b = Rig::start(second);
    b.show(shown);
    b.online().await;
    peer.text_after(again, "gridkeeper/charger/left/availability", "offline").await;
    b.stop().await;
    peer.text_after(again, "gridkeeper/status", "offline").await;
    let cleared = |it: &&super::peer::Seen| it.topic.contains("left") && it.text().is_empty();
    assert_eq!(peer.seen().iter().filter(cleared).count(), 0);
    broker.kill().await;
}

#[tokio::test]
async fn one_that_dies_without_a_word_is_followed_by_its_will() {
    let broker = Broker::start().await;
    let mut first = options(broker.address);
    first.instance = "first".into();
    first.client_id = "first".into();
    let mut second = first.clone();
    second.instance = "second".into();
    second.client_id = "second".into();
    let mut a = Rig::start(first);
    a.online().await;
    let mut b = Rig::start(second);
    b.until("standing by", |it| it.state == LinkState::Standby).await;
    a.kill().await;
    b.online().await;
    b.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn traces_of_a_dead_instance_are_waited_for_and_then_overwritten() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    // A broker that lost the will: online for ever, but nobody renews it.
    peer.retain("gridkeeper/status", "online");
    peer.retain("gridkeeper/bridge/info", json!({"instance": "ghost", "interval_s": 0.3}).to_string());
    peer.json("gridkeeper/bridge/info", |_| true).await;
    let mark = peer.mark();
    let mut rig = Rig::start(options(broker.address));
    rig.until("in doubt", |it| it.problem.as_ref().is_some_and(|it| it.contains("`ghost`"))).await;
    assert_eq!(peer.mark(), mark, "nothing is published meanwhile");
    rig.online().await;
    assert_eq!(rig.status.borrow().problem, None);
    peer.json("gridkeeper/bridge/info", |it| it["instance"] == "test").await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn our_own_traces_do_not_hold_us_up() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.retain("gridkeeper/status", "online");
    peer.retain("gridkeeper/bridge/info", json!({"instance": "test", "interval_s": 3600}).to_string());
    peer.json("gridkeeper/bridge/info", |_| true).await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    rig.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn of_two_with_a_copied_name_one_stands_by_and_says_what_to_do() {
    let broker = Broker::start().await;
    let first = options(broker.address);
    let mut second = first.clone();
    second.client_id = "another".into();
    let mut a = Rig::start(first);
    a.online().await;
    let mut b = Rig::start(second);
    // Who yields is drawn with the names of the runs.
    let standby = |it: &gridkeeper::mqtt::MqttStatus| it.state == LinkState::Standby;
    let problem = tokio::select! {
        it = a.until("standing by", standby) => it.problem,
        it = b.until("standing by", standby) => it.problem,
    };
    assert!(problem.as_ref().is_some_and(|it| it.contains("copied data directory")), "{problem:?}");
    a.stop().await;
    b.stop().await;
    broker.kill().await;
}

#[tokio::test]
async fn two_clients_with_one_id_are_told_what_it_looks_like() {
    let broker = Broker::start().await;
    let mut a = Rig::start(options(broker.address));
    a.online().await;
    let mut b = Rig::start(options(broker.address));
    let named = |it: &gridkeeper::mqtt::MqttStatus| {
        it.problem.as_ref().is_some_and(|it| it.contains("another client may use the id `gridkeeper-test`"))
    };
    tokio::select! {
        _ = a.until("told", named) => {}
        _ = b.until("told", named) => {}
    }
    a.stop().await;
    b.stop().await;
    broker.kill().await;
}

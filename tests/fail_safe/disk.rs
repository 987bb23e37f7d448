//! The disk: what it cannot keep is in force all the same, and what it keeps is in force again after a restart.

use std::time::Duration;

use gridkeeper::simulator::View;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::meters::{amps, one_car, steady};
use crate::peer::{Broker, Peer};
use crate::scene::{Scene, Setting};

const SET_MAX: &str = "gridkeeper/charger/c0/set/max_current_a";

fn embedded() -> Setting {
    Setting { mqtt: "embedded://127.0.0.1:0".to_owned(), ..steady() }
}

fn offers(current: i32) -> impl Fn(&View) -> bool {
    move |view| view.chargers[0].offered == amps(current)
}

/// The answer to a new maximum.
async fn set_max(peer: &Peer, current: i32) -> Value {
    let (mark, value) = (peer.mark(), json!(current.to_string()));
    peer.publish(SET_MAX, current.to_string());
    peer.json_after(mark, "gridkeeper/result", |it| it["value"] == value).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_cannot_be_written_changes_nothing_but_stored() {
    // Not even root can make a folder here.
    let tables = "[storage]\ndata_dir = \"/proc/gridkeeper\"\n".to_owned();
    let broker = Broker::start().await;
    // There before the appliance, which tells it at once.
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mqtt = format!("mqtt://{}", broker.address);
    let scene = Scene::start(one_car(), Setting { tables, mqtt, ..steady() }).await;
    let told = peer.json("gridkeeper/event", |it| it["event_type"] == "disk_error").await;
    assert!(told["detail"].as_str().unwrap().contains("/proc/gridkeeper"), "{told}");
    scene.charging(0, 20).await;
    let result = set_max(&peer, 10).await;
    assert_eq!((&result["ok"], &result["stored"]), (&json!(true), &json!(false)), "{result}");
    scene.until("it is in force", offers(10)).await;
    scene.faults().load(Some([18.0, 2.0, 2.0]));
    scene.until("an overload is cut", offers(6)).await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_in_force_again_after_a_restart_and_after_a_kill() {
    let mut scene = Scene::start(one_car(), embedded()).await;
    scene.charging(0, 20).await;
    let result = set_max(&scene.peer().await, 12).await;
    assert_eq!((&result["ok"], &result["stored"]), (&json!(true), &json!(true)), "{result}");
    scene.until("it is in force", offers(12)).await;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        scene.app.signal(signal);
        scene.app.ended(Duration::from_secs(9)).await;
        scene.start_again();
        scene.until_status("it is restored", |status| status["chargers"][0]["limit_reason"] == "max_current").await;
        scene.until("it is in force again", offers(12)).await;
        scene.holds("and stays", Duration::from_millis(500), |view| view.chargers[0].offered <= amps(12)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_on_the_way_is_told_and_one_that_works_again_keeps_again() {
    let scene = Scene::start(one_car(), embedded()).await;
    let peer = scene.peer().await;
    scene.charging(0, 20).await;
    assert_eq!(set_max(&peer, 14).await["stored"], true);
    let (data, aside) = (scene.data_dir(), scene.folder.path().join("aside"));
    std::fs::rename(&data, &aside).unwrap();
    // A file stands where the directory was.
    std::fs::write(&data, "").unwrap();
    let result = set_max(&peer, 11).await;
    assert_eq!((&result["ok"], &result["stored"]), (&json!(true), &json!(false)), "{result}");
    peer.json("gridkeeper/event", |it| it["event_type"] == "disk_error" && it["subject"] == "bridge").await;
    scene.until("it is in force", offers(11)).await;
    std::fs::remove_file(&data).unwrap();
    std::fs::rename(&aside, &data).unwrap();
    assert_eq!(set_max(&peer, 13).await["stored"], true);
    scene.until("it is in force", offers(13)).await;
}

/// The next file that replaces this one is written to a disk without a free byte (full(4)).
fn full_disk(scene: &Scene, file: &str) {
    std::os::unix::fs::symlink("/dev/full", scene.data_dir().join(format!(".{file}.new"))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_keeps_no_setting_and_changes_nothing_else() {
    let mut scene = Scene::start(one_car(), embedded()).await;
    let peer = scene.peer().await;
    scene.charging(0, 20).await;
    assert_eq!(set_max(&peer, 14).await["stored"], true);
    full_disk(&scene, "settings.json");
    let result = set_max(&peer, 11).await;
    assert_eq!((&result["ok"], &result["stored"]), (&json!(true), &json!(false)), "{result}");
    let told = peer.json("gridkeeper/event", |it| it["event_type"] == "disk_error").await;
    assert!(told["detail"].as_str().unwrap().contains("No space left on device"), "{told}");
    scene.until("it is in force", offers(11)).await;
    scene.faults().load(Some([18.0, 2.0, 2.0]));
    scene.until("an overload is cut", offers(6)).await;
    scene.faults().load(Some([2.0; 3]));
    scene.until("and the car raised again", offers(11)).await;
    // What is written at a stop finds no room either.
    full_disk(&scene, "counters.json");
    scene.app.signal(Signal::SIGTERM);
    assert_eq!(scene.app.ended(Duration::from_secs(9)).await.code(), Some(0), "{}", scene.app.log());
    scene.start_again();
    scene.until_status("the last that was kept", |status| status["chargers"][0]["limit_reason"] == "max_current").await;
    scene.until("14 A, whole", offers(14)).await;
}

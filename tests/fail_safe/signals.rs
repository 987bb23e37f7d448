//! Inputs that are lost.

use std::time::Duration;

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::http::{HttpFault, Shelly};
use gridkeeper::simulator::{CarPlan, ChargerPlan, MeterFault, Plan, RelayBoard};

use crate::scene::{Scene, Setting};

fn plan() -> Plan {
    let charger = ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(CarPlan::swift()) };
    Plan::quiet(vec![charger]).with_load([2.0, 2.0, 2.0])
}

/// An input at the board that blocks charging.
fn blocked_by(board: &RelayBoard) -> Setting {
    let tables = format!(
        "[[input]]\nid = \"gate\"\nmeaning = \"block\"\ndriver = \"modbus\"\nconnection = \"{}\"\nunit = 1\nchannel = 2\n\
         debounce_ms = 100\nmax_age_s = 1.5\n",
        board.connection()
    );
    Setting { tables, ..Setting::default() }
}

async fn stopped(scene: &Scene, what: &str) {
    scene.until(what, |view| view.chargers[0].set_point == Milliamp::ZERO).await;
}

#[tokio::test]
async fn a_blocking_input_that_is_lost_blocks_and_lets_go_with_its_first_reading() {
    let board = RelayBoard::start().await.unwrap();
    let scene = Scene::start(plan(), blocked_by(&board)).await;
    scene.charging(0, 15).await;
    board.drive(2, true);
    stopped(&scene, "the input stops charging").await;
    scene.until_status("why", |status| status["chargers"][0]["limit_reason"] == "block").await;
    board.drive(2, false);
    scene.charging(0, 15).await;
    assert_eq!(scene.events("input_lost", "gate"), 0);
    board.silence(true);
    stopped(&scene, "a lost input stops charging").await;
    scene.event("input_lost", "gate").await;
    scene.holds("it stays so", Duration::from_secs(2), |view| view.chargers[0].set_point == Milliamp::ZERO).await;
    board.silence(false);
    scene.event("input_back", "gate").await;
    scene.charging(0, 15).await;
}

#[tokio::test]
async fn an_input_by_mqtt_is_lost_when_it_grows_old() {
    let tables = "[[input]]\nid = \"gate\"\nmeaning = \"block\"\ndriver = \"mqtt\"\nmax_age_s = 1.5\n".to_owned();
    let mqtt = "embedded://127.0.0.1:0".to_owned();
    let scene = Scene::start(plan(), Setting { tables, mqtt, ..Setting::default() }).await;
    let peer = scene.peer().await;
    scene.event("input_lost", "gate").await;
    scene
        .holds("nobody told it yet", Duration::from_secs(1), |view| view.chargers[0].set_point == Milliamp::ZERO)
        .await;
    let told = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            peer.publish("gridkeeper/input/gate/set/value", "OFF");
        }
    };
    tokio::select! {
        () = told => {}
        _ = scene.charging(0, 15) => {}
    }
    scene.event("input_back", "gate").await;
    stopped(&scene, "an old value is no value").await;
    peer.json("gridkeeper/input/gate/state", |it| it["active"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_input_of_a_shelly_that_falls_silent_blocks_and_lets_go_with_its_first_reading() {
    let device = Shelly::plug().await.unwrap();
    let tables = format!(
        "[[input]]\nid = \"gate\"\nmeaning = \"block\"\ndriver = \"shelly\"\nconnection = \"http://{}\"\n\
         debounce_ms = 100\nmax_age_s = 5\n",
        device.address()
    );
    let scene = Scene::start(plan(), Setting { tables, ..Setting::default() }).await;
    scene.charging(0, 15).await;
    device.set("/input:0/state", true.into());
    stopped(&scene, "the input stops charging").await;
    device.set("/input:0/state", false.into());
    scene.charging(0, 15).await;
    let lost = scene.events("input_lost", "gate");
    device.fault(HttpFault::Silent);
    stopped(&scene, "a lost input stops charging").await;
    scene.until_status("it is unknown", |status| status["inputs"][0]["active"].is_null()).await;
    assert!(scene.events("input_lost", "gate") > lost);
    device.fault(HttpFault::None);
    scene.charging(0, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tariff_of_a_meter_is_lost_with_it_and_is_not_low_meanwhile() {
    let tables = "[[input]]\nid = \"tariff\"\nmeaning = \"low-tariff\"\ndriver = \"p1-tariff\"\nactive = [\"0002\"]\n"
        .to_owned();
    let grid = "meter_late_s = 2\nmeter_lost_s = 4\n".to_owned();
    let scene = Scene::start(plan(), Setting { tables, grid, ..Setting::default() }).await;
    scene.charging(0, 15).await;
    let shown = |active: serde_json::Value, low: bool| {
        move |status: &serde_json::Value| status["inputs"][0]["active"] == active && status["site"]["low_tariff"] == low
    };
    scene.until_status("low tariff", shown(true.into(), true)).await;
    scene.faults().meter(MeterFault::Silent);
    scene.event("input_lost", "tariff").await;
    scene.until_status("unknown counts as the dear one", shown(serde_json::Value::Null, false)).await;
    scene.faults().meter(MeterFault::None);
    scene.event("input_back", "tariff").await;
    scene.until_status("low tariff again", shown(true.into(), true)).await;
}

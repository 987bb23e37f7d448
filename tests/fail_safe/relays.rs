//! Relays of the real binary: what closes them, boards and plugs that fail, and what stays behind when it ends.

use std::time::{Duration, Instant};

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::http::Shelly;
use gridkeeper::simulator::{CarAtStart, CarPlan, ChargerPlan, MeterFault, Plan, RelayBoard};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::meters::steady;
use crate::peer::{Broker, Peer};
use crate::scene::{PATIENCE, Scene, Setting};

const COMMAND: &str = "gridkeeper/relay/boiler/set/command";
const STATE: &str = "gridkeeper/relay/boiler/state";
const RESULT: &str = "gridkeeper/result";

/// A house without a charger.
fn house() -> Plan {
    Plan::quiet(Vec::new()).with_load([2.0; 3])
}

/// A relay at a coil of the board.
fn coil(board: &RelayBoard, id: &str, coil: usize, lines: &str) -> String {
    let connection = board.connection();
    format!(
        "[[relay]]\nid = \"{id}\"\ndriver = \"modbus\"\nconnection = \"{connection}\"\nunit = 1\nchannel = {coil}\n\
         min_on_s = 0\nmin_off_s = 0\n{lines}\n"
    )
}

/// A relay of a Shelly.
fn plug(shelly: &Shelly, id: &str, lines: &str) -> String {
    let address = shelly.address();
    format!(
        "[[relay]]\nid = \"{id}\"\ndriver = \"shelly\"\nconnection = \"http://{address}\"\nmin_on_s = 0\nmin_off_s = 0\n\
         {lines}\n"
    )
}

fn with(tables: String) -> Setting {
    Setting { tables, ..steady() }
}

/// Waits until something outside of the simulated house holds.
async fn until(scene: &Scene, what: &str, patience: Duration, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}\n{}", scene.app.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn closed(scene: &Scene, board: &RelayBoard, coil: usize) {
    until(scene, &format!("coil {coil} closed"), PATIENCE, || board.coil(coil)).await;
}

async fn open(scene: &Scene, board: &RelayBoard, coil: usize) {
    until(scene, &format!("coil {coil} open"), PATIENCE, || !board.coil(coil)).await;
}

/// Keeps looking for a while.
async fn stays(what: &str, time: Duration, good: impl Fn() -> bool) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(good(), "no longer true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_on(shelly: &Shelly) -> bool {
    shelly.status("/switch:0/output") == json!(true)
}

/// The relay as the page's data show it.
fn shown(status: &serde_json::Value, key: &str) -> serde_json::Value {
    status["relays"][0][key].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_export_in_the_telegrams_closes_a_coil_and_a_plug_and_a_lost_meter_opens_both() {
    let (board, shelly) = (RelayBoard::start().await.unwrap(), Shelly::plug().await.unwrap());
    let rule = "on_when = [\"export\"]\nload_w = 2000";
    let tables = coil(&board, "boiler", 0, rule) + &plug(&shelly, "pump", rule);
    let scene = Scene::start(house().with_load([-12.0; 3]), with(tables)).await;
    scene.until_status("too early", |status| shown(status, "reason") == "open: not enough surplus").await;
    // The mean of a minute takes a minute.
    until(&scene, "both are closed", Duration::from_secs(180), || board.coil(0) && is_on(&shelly)).await;
    scene
        .until_status("why", |status| {
            let reason = shown(status, "reason");
            reason.as_str().is_some_and(|it| it.starts_with("closed: the surplus pays for it (mean 8"))
        })
        .await;
    scene.faults().meter(MeterFault::Silent);
    scene.event("meter_lost", "main").await;
    until(&scene, "both are open", PATIENCE, || !board.coil(0) && !is_on(&shelly)).await;
    scene.until_status("why", |status| shown(status, "reason") == "open: the surplus is not known").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_of_the_board_closes_its_coil_and_a_hand_at_the_board_is_overruled() {
    let board = RelayBoard::start().await.unwrap();
    let connection = board.connection();
    let tariff = format!(
        "[[input]]\nid = \"tariff\"\nmeaning = \"low-tariff\"\ndriver = \"modbus\"\nconnection = \"{connection}\"\n\
         unit = 1\nchannel = 2\ndebounce_ms = 0\n"
    );
    let setting = with(tariff + &coil(&board, "boiler", 0, "on_when = [\"low-tariff\"]"));
    let scene = Scene::start(house(), setting).await;
    scene.until_status("it answers", |status| shown(status, "available") == true).await;
    assert!(!board.coil(0));
    board.drive(2, true);
    closed(&scene, &board, 0).await;
    scene.until_status("why", |status| shown(status, "reason") == "closed: low tariff").await;
    board.switch(0, false);
    closed(&scene, &board, 0).await;
    board.drive(2, false);
    open(&scene, &board, 0).await;
    assert_eq!(scene.events("relay_lost", "boiler"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_board_counts_as_closed_is_told_and_written_again_when_it_is_back() {
    let board = RelayBoard::start().await.unwrap();
    let scene = Scene::start(house(), with(coil(&board, "boiler", 0, "on_when = [\"always\"]"))).await;
    closed(&scene, &board, 0).await;
    board.silence(true);
    scene.event("relay_lost", "boiler").await;
    scene
        .until_status("it counts as closed", |status| {
            shown(status, "available") == false
                && shown(status, "state") == "on"
                && shown(status, "reason") == "does not answer; it counts as closed"
        })
        .await;
    assert!(scene.app.get("/").await.contains("An input or a relay needs attention"));
    board.switch(0, false);
    board.silence(false);
    scene.event("relay_back", "boiler").await;
    closed(&scene, &board, 0).await;
    scene.until_status("all is well", |status| shown(status, "available") == true).await;
    assert_eq!((scene.events("relay_lost", "boiler"), scene.events("relay_back", "boiler")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_is_welded_is_told_although_the_board_confirms() {
    let board = RelayBoard::start().await.unwrap();
    let broker = Broker::start().await;
    let mqtt = format!("mqtt://{}", broker.address);
    let setting = Setting { mqtt, ..with(coil(&board, "boiler", 0, "on_when = [\"always\"]")) };
    let scene = Scene::start(house(), setting).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    closed(&scene, &board, 0).await;
    peer.json(STATE, |it| it["state"] == "on").await;
    board.weld(0, true);
    peer.publish(COMMAND, "off");
    scene.event("relay_lost", "boiler").await;
    scene.until_log("what is wrong", |log| log.contains("it confirmed off and reads on")).await;
    peer.text_after(0, "gridkeeper/relay/boiler/availability", "offline").await;
    assert!(board.coil(0));
    board.weld(0, false);
    open(&scene, &board, 0).await;
    scene.event("relay_back", "boiler").await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shed_relay_gives_no_room_while_its_board_is_silent_and_its_room_back_when_it_opened() {
    let board = RelayBoard::start().await.unwrap();
    let car = CarPlan::swift().at_start(CarAtStart::Away);
    let charger = ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(car) };
    let setting = with(coil(&board, "boiler", 0, "on_when = [\"always\"]\nload_w = 2300\nshed = true"));
    let scene = Scene::start(Plan::quiet(vec![charger]).with_load([2.0; 3]), setting).await;
    closed(&scene, &board, 0).await;
    // The boiler's 10 A appear, then a car comes: 12.5 A are left for it.
    scene.faults().load(Some([12.0, 2.0, 2.0]));
    scene.faults().plug(0);
    scene.charging(0, 11).await;
    assert!(board.coil(0), "no reason to open it\n{}", scene.app.log());
    board.silence(true);
    scene.faults().load(Some([21.0, 2.0, 2.0]));
    scene.until("the car is stopped: 3.5 A are left", |view| view.chargers[0].set_point == Milliamp::ZERO).await;
    scene.event("relay_lost", "boiler").await;
    scene.until_status("why", |status| shown(status, "reason") == "does not answer; it counts as closed").await;
    scene
        .holds("no room before it is open", Duration::from_secs(3), |view| view.chargers[0].set_point == Milliamp::ZERO)
        .await;
    board.silence(false);
    open(&scene, &board, 0).await;
    scene.faults().load(Some([11.0, 2.0, 2.0]));
    scene.charging(0, 12).await;
    assert!(!board.coil(0), "there is not enough room for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_pair_the_board_sees_one_open_before_the_other_closes_and_none_closes_beside_a_silent_one() {
    let (first, second) = (RelayBoard::start().await.unwrap(), RelayBoard::start().await.unwrap());
    let tables =
        coil(&first, "boost", 0, "interlock = \"block\"") + &coil(&second, "block", 1, "interlock = \"boost\"");
    let broker = Broker::start().await;
    let mqtt = format!("mqtt://{}", broker.address);
    let scene = Scene::start(house(), Setting { mqtt, ..with(tables) }).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    peer.publish("gridkeeper/relay/boost/set/command", "on");
    closed(&scene, &first, 0).await;
    // Back and forth: as wires see it, an off of one is always before the on of the other.
    for _ in 0..3 {
        peer.publish("gridkeeper/relay/block/set/command", "on");
        peer.publish("gridkeeper/relay/boost/set/command", "off");
        closed(&scene, &second, 1).await;
        peer.publish("gridkeeper/relay/boost/set/command", "on");
        peer.publish("gridkeeper/relay/block/set/command", "off");
        closed(&scene, &first, 0).await;
    }
    let mut seen: Vec<(Instant, usize, bool)> = first.writes().iter().map(|it| (it.2, 0, it.1 == 0xFF00)).collect();
    seen.extend(second.writes().iter().map(|it| (it.2, 1, it.1 == 0xFF00)));
    seen.sort_unstable();
    let mut on = [false; 2];
    for (_, relay, state) in &seen {
        on[*relay] = *state;
        assert_ne!(on, [true; 2], "{seen:?}");
    }
    assert!(seen.iter().filter(|it| it.2).count() >= 7, "{seen:?}");
    // The board of the closed one falls silent: nobody knows that it opened.
    first.silence(true);
    peer.publish("gridkeeper/relay/boost/set/command", "off");
    peer.publish("gridkeeper/relay/block/set/command", "on");
    scene.event("relay_lost", "boost").await;
    stays("the other stays open", Duration::from_secs(1), || !second.coil(1)).await;
    first.silence(false);
    closed(&scene, &second, 1).await;
    assert!(!first.coil(0));
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_ends_by_itself_without_the_broker_and_is_refused_when_it_is_replayed() {
    let board = RelayBoard::start().await.unwrap();
    let broker = Broker::start().await;
    let early = Peer::connect(broker.address, "gridkeeper/#").await;
    early.retain(COMMAND, "on");
    let mqtt = format!("mqtt://{}", broker.address);
    let lines = "on_when = [\"low-tariff\"]\nforce_max_s = 6";
    let connection = board.connection();
    let tariff = format!(
        "[[input]]\nid = \"tariff\"\nmeaning = \"low-tariff\"\ndriver = \"modbus\"\nconnection = \"{connection}\"\n\
         unit = 1\nchannel = 2\ndebounce_ms = 0\n"
    );
    let setting = Setting { mqtt, ..with(tariff + &coil(&board, "boiler", 0, lines)) };
    let scene = Scene::start(house(), setting).await;
    let refused = early.json(RESULT, |it| it["topic"] == COMMAND).await;
    assert!(refused["error"].as_str().is_some_and(|it| it.contains("replayed")), "{refused}");
    early.json(STATE, |it| it["state"] == "off" && it["command"] == "auto").await;
    early.retain(COMMAND, "");

    let mark = early.mark();
    early.publish(COMMAND, r#"{"value":"sometimes","id":1}"#);
    let refused = early.json_after(mark, RESULT, |it| it["id"] == 1).await;
    assert!(refused["error"].as_str().is_some_and(|it| it.contains("allowed: auto, on, off")), "{refused}");
    assert!(!board.coil(0));

    early.publish(COMMAND, r#"{"value":"on","id":2}"#);
    let taken = early.json_after(mark, RESULT, |it| it["id"] == 2).await;
    assert_eq!((&taken["ok"], &taken["stored"]), (&json!(true), &json!(null)), "{taken}");
    early.json_after(mark, STATE, |it| it["state"] == "on" && it["command"] == "on").await;
    closed(&scene, &board, 0).await;
    broker.kill().await;
    scene.event("broker_lost", "bridge").await;
    open(&scene, &board, 0).await;
    scene
        .until_status("its rules decide again", |status| {
            shown(status, "command") == "auto" && shown(status, "reason") == "none of its rules closes it"
        })
        .await;
    board.drive(2, true);
    closed(&scene, &board, 0).await;
    board.drive(2, false);
    open(&scene, &board, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_behind_the_broker_gets_its_order_retained_and_is_lost_with_the_broker() {
    let broker = Broker::start().await;
    let mqtt = format!("mqtt://{}", broker.address);
    let tables =
        "[[relay]]\nid = \"boiler\"\ndriver = \"mqtt\"\ntopic = \"zigbee/boiler/set\"\non_when = [\"always\"]\n";
    let scene = Scene::start(house(), Setting { mqtt, ..with(tables.to_owned()) }).await;
    let peer = Peer::connect(broker.address, "#").await;
    peer.text_after(0, "zigbee/boiler/set", "ON").await;
    let mark = peer.mark();
    peer.publish(COMMAND, "off");
    peer.text_after(mark, "zigbee/boiler/set", "OFF").await;
    let later = Peer::connect(broker.address, "zigbee/#").await;
    later.after(0, "a retained OFF", |it| (it.retained && it.payload == b"OFF").then_some(())).await;
    let discovery = "homeassistant/device/gridkeeper_relay_boiler/config";
    peer.after(0, discovery, |it| (it.topic == discovery && !it.payload.is_empty()).then_some(())).await;
    broker.kill().await;
    scene.event("relay_lost", "boiler").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_leaves_every_relay_in_its_safe_state() {
    let (board, shelly) = (RelayBoard::start().await.unwrap(), Shelly::plug().await.unwrap());
    let tables = coil(&board, "boiler", 0, "on_when = [\"always\"]")
        + &coil(&board, "freezer", 1, "safe_state = \"on\"")
        + &plug(&shelly, "pump", "on_when = [\"always\"]");
    let mut scene = Scene::start(house(), with(tables)).await;
    until(&scene, "as the rules say", PATIENCE, || board.coil(0) && is_on(&shelly)).await;
    open(&scene, &board, 1).await;
    scene.app.signal(Signal::SIGTERM);
    let status = scene.app.ended(Duration::from_secs(8)).await;
    assert_eq!(status.code(), Some(0), "{}", scene.app.log());
    assert!(!board.coil(0) && board.coil(1) && !is_on(&shelly));
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_of_a_killed_process_fall_by_their_own_timers_where_they_have_one() {
    let (board, shelly) = (RelayBoard::start().await.unwrap(), Shelly::plug().await.unwrap());
    let tables = coil(&board, "boiler", 0, "on_when = [\"always\"]\npulse_s = 3")
        + &coil(&board, "freezer", 1, "safe_state = \"on\"\npulse_s = 3")
        + &coil(&board, "floor", 2, "on_when = [\"always\"]")
        + &plug(&shelly, "pump", "on_when = [\"always\"]\npulse_s = 3");
    let mut scene = Scene::start(house(), with(tables)).await;
    let as_ruled = || board.coil(0) && !board.coil(1) && board.coil(2) && is_on(&shelly);
    until(&scene, "as the rules say", PATIENCE, as_ruled).await;
    let page = scene.app.get("/").await;
    assert!(page.contains("relay `floor` has no timer of its own"), "{page}");
    assert!(!page.contains("relay `boiler` has no timer") && !page.contains("relay `pump` has no timer"));
    // Longer than the timers: they are renewed. Renewals are a second apart, so a stall of two may let one act.
    until(&scene, "renewed for longer than its time", PATIENCE, || {
        let pulses: Vec<Instant> = board.writes().iter().filter(|it| it.0 == 0x0200).map(|it| it.2).collect();
        pulses.windows(5).any(|it| it[4] - it[0] >= Duration::from_secs(4))
    })
    .await;
    until(&scene, "as the rules say still", PATIENCE, as_ruled).await;
    scene.app.signal(Signal::SIGKILL);
    scene.app.ended(Duration::from_secs(5)).await;
    let writes = board.writes().len();
    until(&scene, "they fall", PATIENCE, || !board.coil(0) && board.coil(1) && !is_on(&shelly)).await;
    assert!(board.coil(2), "the one without a timer stays");
    assert_eq!(board.writes().len(), writes, "nobody speaks any more");

    scene.start_again();
    until(&scene, "as the rules say again", PATIENCE, as_ruled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_control_loop_leaves_relays_in_their_safe_state() {
    let board = RelayBoard::start().await.unwrap();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hang = folder.path().join("hang");
    let environment = vec![("GRIDKEEPER_TEST_HANG_CONTROL".to_owned(), hang.display().to_string())];
    let tables = coil(&board, "boiler", 0, "on_when = [\"always\"]");
    let scene = Scene::start(house(), Setting { environment, ..with(tables) }).await;
    closed(&scene, &board, 0).await;
    std::fs::write(&hang, "").expect("a writable folder");
    open(&scene, &board, 0).await;
    std::fs::remove_file(&hang).expect("the file is there");
    closed(&scene, &board, 0).await;
}

//! The process itself: hung, told to stop, killed, started again, and never read.

use std::time::{Duration, Instant};

use gridkeeper::quantity::{Milliamp, Span};
use gridkeeper::simulator::{CarAtStart, CarPlan, ChargerPlan, Plan, View};
use nix::sys::signal::Signal;

use crate::meters::{one_car, steady};
use crate::peer::{Broker, Peer};
use crate::scene::{PATIENCE, Scene, Setting};

fn amps(amps: i32) -> Milliamp {
    Milliamp::from_amps(amps)
}

/// Offers nothing until it is told to.
fn teltocharge() -> ChargerPlan {
    ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(CarPlan::swift()) }
}

/// The same of the other kind.
fn evse_din() -> ChargerPlan {
    ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::evse_din(CarPlan::swift()) }
}

/// A TeltoCharge that falls to 6 A after 1 s, and an EVSE-DIN that would stay where it is.
fn both_kinds() -> (Plan, Vec<String>) {
    let plan = Plan::quiet(vec![teltocharge(), evse_din()]).with_load([2.0; 3]);
    let lines = vec!["watchdog_s = 1\nfail_safe_current_a = 6\n".to_owned(), "fail_safe_current_a = 6\n".to_owned()];
    (plan, lines)
}

fn both_charge(view: &View) -> bool {
    view.chargers.iter().all(|it| it.highest_draw() > amps(10))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_control_loop_leaves_every_charger_at_its_fail_safe_current_and_feeds_no_timer() {
    let (plan, charger) = both_kinds();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hang = folder.path().join("hang");
    let environment = vec![("GRIDKEEPER_TEST_HANG_CONTROL".to_owned(), hang.display().to_string())];
    let scene = Scene::start(plan, Setting { charger, environment, ..Setting::default() }).await;
    scene.until("both charge", both_charge).await;
    std::fs::write(&hang, "").expect("a writable folder");
    let hung = Instant::now();
    scene.until("the leases end", |view| view.chargers.iter().all(|it| it.written_offer() == Some(amps(6)))).await;
    for charger in 0..2 {
        // Measured in its own polls, a tenth of a second apart: 0.6 s of lease, a round, and what is read beside them.
        let polls = scene.requests_since(charger, hung).iter().take_while(|it| it.is_read()).count();
        assert!(polls <= 15, "{polls} polls before the write");
    }
    scene.until("nothing feeds the timer", |view| view.chargers[0].fallen).await;
    let quiet = Instant::now();
    scene.until("the one without a timer is still looked after", |_| scene.requests_since(1, quiet).len() > 10).await;
    assert_eq!(scene.requests_since(0, quiet), [], "silence for the one with a timer");
    let healthy = scene.house.view().chargers.iter().all(|it| it.offered <= amps(6));
    assert!(healthy, "{:#?}", scene.house.view());

    std::fs::remove_file(&hang).expect("the file is there");
    scene.until("back to work", both_charge).await;
}

/// Waits for what `/livez` says.
async fn livez(scene: &Scene, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = scene.app.get("/livez").await;
        if answer.contains(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{answer} instead of {wanted}\n{}", scene.app.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_thread_of_the_devices_is_told_and_fails_the_watchdogs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hang = folder.path().join("hang");
    let scene = devices_that_hang(&hang).await;
    livez(&scene, "ok").await;
    std::fs::write(&hang, "").expect("a writable folder");
    livez(&scene, "the thread that speaks to the devices does not answer").await;
    scene.until_log("it is told", |log| log.contains("the thread that speaks to the devices hangs")).await;
    scene.until("its own timer has lowered one", |view| view.chargers[0].fallen).await;
    std::fs::remove_file(&hang).expect("the file is there");
    livez(&scene, "ok").await;
    scene.until_log("and over", |log| log.contains("the thread that speaks to the devices works again")).await;
    scene.until("back to work", both_charge).await;
}

/// A file with the name of `hang` hangs the thread of the devices.
async fn devices_that_hang(hang: &std::path::Path) -> Scene {
    let (plan, charger) = both_kinds();
    let environment = vec![("GRIDKEEPER_TEST_HANG_DEVICES".to_owned(), hang.display().to_string())];
    let scene = Scene::start(plan, Setting { charger, environment, ..Setting::default() }).await;
    scene.until("both charge", both_charge).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_the_devices_that_hangs_for_good_ends_the_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hang = folder.path().join("hang");
    let mut scene = devices_that_hang(&hang).await;
    std::fs::write(&hang, "").expect("a writable folder");
    let status = scene.app.ended(PATIENCE).await;
    assert_eq!(status.code(), Some(1), "{}", scene.app.log());
    assert!(scene.app.log().contains("a vital thread has ended or hangs"), "{}", scene.app.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_leaves_6_a_where_a_car_charges_behind_a_timer_and_the_fail_safe_current_elsewhere() {
    let mut away = teltocharge();
    away.car.at_start = CarAtStart::Away;
    let plan = Plan::quiet(vec![teltocharge(), evse_din(), away]).with_load([2.0; 3]);
    let charger = vec!["watchdog_s = 2\nfail_safe_current_a = 0\n".to_owned(); 3];
    let charger = charger
        .into_iter()
        .enumerate()
        .map(|(at, lines)| if at == 1 { "fail_safe_current_a = 0\n".to_owned() } else { lines })
        .collect();
    let broker = Broker::start().await;
    let mqtt = format!("mqtt://{}", broker.address);
    let mut scene = Scene::start(plan, Setting { charger, mqtt, ..Setting::default() }).await;
    let peer = Peer::connect(broker.address, "gridkeeper/status").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    scene.until("two charge", |view| view.chargers[..2].iter().all(|it| it.highest_draw() > amps(10))).await;
    scene.until_status("verified", |it| it["chargers"][0]["watchdog_verified"] == true).await;
    scene.app.signal(Signal::SIGTERM);
    let status = scene.app.ended(Duration::from_secs(8)).await;
    assert_eq!(status.code(), Some(0), "{}", scene.app.log());
    let left: Vec<Milliamp> = scene.house.view().chargers.iter().map(|it| it.set_point).collect();
    assert_eq!(left, [amps(6), Milliamp::ZERO, Milliamp::ZERO]);
    let later = Peer::connect(broker.address, "gridkeeper/status").await;
    later.text_after(0, "gridkeeper/status", "offline").await;
    scene.until("the timer falls to what was programmed", |view| view.chargers[0].offered == Milliamp::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_mqtt_is_an_orderly_stop_after_which_the_same_process_goes_on() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([2.0; 3]);
    let charger = vec!["watchdog_s = 2\nfail_safe_current_a = 0\n".to_owned()];
    let broker = Broker::start().await;
    let mqtt = format!("mqtt://{}", broker.address);
    let mut scene = Scene::start(plan, Setting { charger, mqtt, ..Setting::default() }).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    // With all that it gets: a raise under way would be taken for what the stop writes.
    scene.charging(0, 20).await;
    scene.until_status("verified", |it| it["chargers"][0]["watchdog_verified"] == true).await;
    peer.publish("gridkeeper/bridge/request/backup", "ON");
    let backup = peer.json_after(0, "gridkeeper/bridge/response/backup", |_| true).await;
    assert_eq!(backup["ok"], true, "{backup}");
    assert!(backup["configuration"].as_str().is_some_and(|it| it.contains("watchdog_s = 2")), "{backup}");
    let (mark, restarted) = (peer.mark(), Instant::now());
    peer.publish("gridkeeper/bridge/request/restart", r#"{"value":"ON","id":5}"#);
    let answer = peer.json_after(mark, "gridkeeper/bridge/response/restart", |_| true).await;
    assert_eq!((&answer["ok"], &answer["id"]), (&true.into(), &5.into()));
    peer.text_after(mark, "gridkeeper/status", "offline").await;
    let away = peer.mark();
    peer.text_after(away, "gridkeeper/status", "online").await;
    assert!(scene.app.is_running(), "{}", scene.app.log());
    let left = scene.requests_since(0, restarted);
    let left = left.iter().find(|it| !it.is_read() && it.register == 15).expect("a set-point");
    assert_eq!(left.words, [6], "left behind by the stop");
    scene.charging(0, 20).await;

    let mark = peer.mark();
    peer.publish("gridkeeper/bridge/request/restart", "ON");
    let answer = peer.json_after(mark, "gridkeeper/bridge/response/restart", |_| true).await;
    assert!(answer["error"].as_str().is_some_and(|it| it.contains("60 s after the last time")), "{answer}");
    scene.app.signal(Signal::SIGTERM);
    assert_eq!(scene.app.ended(Duration::from_secs(9)).await.code(), Some(0), "{}", scene.app.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_stop_does_not_wait_for_a_charger_that_does_not_answer() {
    let (plan, charger) = both_kinds();
    let mut scene = Scene::start(plan, Setting { charger, ..Setting::default() }).await;
    scene.until("both charge", both_charge).await;
    scene.faults().charger(0, gridkeeper::simulator::ChargerFault::BothDead);
    scene.event("charger_lost", "c0").await;
    scene.app.signal(Signal::SIGTERM);
    let status = scene.app.ended(Duration::from_secs(9)).await;
    assert_eq!(status.code(), Some(0), "{}", scene.app.log());
    scene
        .until("one at its fail-safe current by its timer, one by our last word", |view| {
            view.chargers.iter().all(|it| it.offered == amps(6))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_the_charger_to_its_own_timer_and_finds_it_again() {
    let (plan, charger) = both_kinds();
    let mut scene = Scene::start(plan, Setting { charger, ..Setting::default() }).await;
    scene.until("both charge", both_charge).await;
    scene.until_status("verified", |it| it["chargers"][0]["watchdog_verified"] == true).await;
    scene.app.signal(Signal::SIGKILL);
    scene.app.ended(Duration::from_secs(5)).await;
    let killed = Instant::now();
    let found = scene.house.view();
    let view =
        scene.until("the timer has acted", |view| view.chargers[0].fallen && view.chargers[0].offered == amps(6)).await;
    let heard = view.chargers[0].heard.expect("it was spoken to");
    // The second that was programmed: not before, and never seen waiting when it was long over.
    assert!(view.instant - heard >= Duration::from_secs(1));
    let waited =
        scene.history_since(killed).into_iter().filter(|it| it.offered[0] > amps(6)).map(|it| it.instant - heard).max();
    assert!(waited.is_none_or(|it| it < Duration::from_millis(1500)), "{waited:?}");
    assert_eq!(view.chargers[1].set_point, found.chargers[1].set_point, "the one without a timer stays");
    assert_eq!(scene.requests_since(0, killed), [], "nobody speaks any more");

    scene.start_again();
    scene.until("it is brought down", |view| view.chargers[0].set_point <= amps(6)).await;
    scene.charging(0, 9).await;
    let requests = scene.requests_since(0, killed);
    let first_write = requests.iter().find(|it| !it.is_read()).expect("a write");
    assert!(requests[0].is_read(), "the present offer is read first: {:?}", requests[0]);
    assert!(first_write.register == 15 && first_write.words == [6], "and written down to 6 A: {first_write:?}");
    let overload = scene.overload_since(killed, 25.0);
    assert_eq!(overload.longest, Span::ZERO, "{overload:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn control_goes_on_although_nobody_reads_what_the_process_says() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([2.0; 3]);
    let environment = vec![("GRIDKEEPER_LOG".to_owned(), "trace".to_owned())];
    let mut scene = Scene::start_unread(plan, Setting { environment, ..Setting::default() }).await;
    scene.charging(0, 20).await;
    scene.faults().load(Some([12.0; 3]));
    scene
        .until("it is cut", |view| {
            view.chargers[0].set_point == amps(12) && view.grid.0.iter().all(|it| *it <= amps(25))
        })
        .await;
    scene.app.signal(Signal::SIGTERM);
    let status = scene.app.ended(Duration::from_secs(9)).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_is_not_undercut_by_a_restart() {
    let mut scene = Scene::start(one_car(), steady()).await;
    let import = |status: &serde_json::Value| status["meters"][0]["values"]["energy_import_kwh"].as_f64();
    scene.until_status("a counter", |status| import(status).is_some()).await;
    let shown = import(&scene.status().await).unwrap();
    scene.app.signal(Signal::SIGTERM);
    scene.app.ended(PATIENCE).await;
    let file = scene.data_dir().join("counters.json");
    let mut kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let figure = &mut kept["main"]["own"]["energy_import_kwh"];
    assert!(figure.as_f64().unwrap() >= shown, "{kept:#}");
    // The meter was exchanged while we were off: its counter stands below what was shown last.
    let last = shown + 5000.0;
    *figure = last.into();
    std::fs::write(&file, kept.to_string()).unwrap();
    scene.start_again();
    scene.until_status("frames", |status| status["meters"][0]["health"]["good"].as_u64() > Some(20)).await;
    assert_eq!(import(&scene.status().await), Some(last), "held until it has stood for a minute");
}

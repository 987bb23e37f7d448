//! A wrong configuration: told where and what, and the chargers of the last right one are brought to a known current.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gridkeeper::simulator::Plan;
use nix::sys::signal::Signal;

use crate::meters::{amps, one_car, steady};
use crate::peer::{Broker, Peer};
use crate::scene::{Appliance, Scene, Setting};

/// The scene's file with a unit where a number belongs; the place of the mistake.
fn spoil(scene: &Scene) -> (PathBuf, String) {
    let file = scene.folder.path().join("gridkeeper.toml");
    let right = std::fs::read_to_string(&file).unwrap();
    let line = right.lines().position(|line| line.starts_with("fuse_a = ")).unwrap();
    let wrong: Vec<String> = right
        .lines()
        .enumerate()
        .map(|(at, it)| if at == line { "fuse_a = \"25 A\"".to_owned() } else { it.to_owned() })
        .collect();
    std::fs::write(&file, wrong.join("\n")).unwrap();
    let place = format!("{}:{}:10", file.display(), line + 1);
    (file, place)
}

async fn killed(scene: &mut Scene) {
    scene.app.signal(Signal::SIGKILL);
    scene.app.ended(Duration::from_secs(5)).await;
}

fn gridkeeper(arguments: &[&str], file: &PathBuf) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gridkeeper"))
        .args(arguments)
        .arg("-c")
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// With a wrong file, the charger of a scene that was killed in mid-charge goes to this.
async fn a_wrong_file_lowers_to(fail_safe: i32) {
    let broker = Broker::start().await;
    let plan: Plan = one_car();
    let setting = Setting {
        mqtt: format!("mqtt://{}", broker.address),
        charger: vec![format!("fail_safe_current_a = {fail_safe}\n")],
        ..steady()
    };
    let mut scene = Scene::start(plan, setting).await;
    scene.charging(0, 20).await;
    killed(&mut scene).await;
    let (file, place) = spoil(&scene);
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mark = peer.mark();
    scene.app = Appliance::launch(&["run", "-c", &file.display().to_string()], &file, &[], Stdio::null());
    scene
        .until("the charger of the last valid file is lowered", |view| view.chargers[0].offered == amps(fail_safe))
        .await;
    peer.text_after(mark, "gridkeeper/status", "online").await;
    let event = peer.json_after(mark, "gridkeeper/event", |it| it["event_type"] == "config_invalid").await;
    assert!(event["detail"].as_str().unwrap().contains(&place), "{event}");
    peer.json_after(mark, "gridkeeper/bridge/info", |it| {
        it["config_errors"].as_str().is_some_and(|errors| errors.contains(&place))
    })
    .await;
    peer.json_after(mark, "gridkeeper/charger/c0/state", |it| {
        let sentence = it["reason"].as_str().unwrap_or_default();
        it["limit_reason"] == "config_invalid" && sentence.ends_with(" A: the configuration is wrong")
    })
    .await;
    let site = peer.json_after(mark, "gridkeeper/site/state", |it| it["problem"] == "setup").await;
    assert_eq!(site["charging_enabled"], true, "the owner did not switch it off: {site}");
    scene.until_status("the page knows", |status| status["site"]["problem"] == "setup").await;
    let page = scene.app.get("/").await;
    for part in [place.as_str(), "fuse_a = &quot;25 A&quot;", "number"] {
        assert!(page.contains(part), "`{part}` is not on the page\n{page}");
    }
    scene.holds("it is left alone", Duration::from_secs(1), |view| view.chargers[0].offered == amps(fail_safe)).await;
    // Set right, the same file is in force again.
    scene.app.signal(Signal::SIGTERM);
    scene.app.ended(Duration::from_secs(9)).await;
    let right = std::fs::read_to_string(&file).unwrap().replace("\"25 A\"", "25");
    std::fs::write(&file, right).unwrap();
    scene.start_again();
    scene.charging(0, 20).await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_told_everywhere_and_stops_the_chargers_of_the_last_valid_one() {
    a_wrong_file_lowers_to(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_leaves_the_chargers_of_the_last_valid_one_their_fail_safe_current() {
    a_wrong_file_lowers_to(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_and_check_refuse_a_wrong_file_with_its_place() {
    let mut scene = Scene::start(one_car(), Setting::default()).await;
    scene.charging(0, 9).await;
    killed(&mut scene).await;
    let file = scene.folder.path().join("gridkeeper.toml");
    let right = gridkeeper(&["check"], &file);
    assert_eq!(right.status.code(), Some(0), "{right:?}");
    let (file, place) = spoil(&scene);
    let writes = scene.house.view().chargers[0].writes;
    let strict = gridkeeper(&["run", "--strict"], &file);
    assert_eq!(strict.status.code(), Some(2), "{strict:?}");
    assert!(String::from_utf8(strict.stderr).unwrap().contains(&place));
    let check = gridkeeper(&["check"], &file);
    assert_eq!(check.status.code(), Some(2), "{check:?}");
    let told = String::from_utf8(check.stdout).unwrap();
    assert!(told.contains(&place) && told.contains("fuse_a = \"25 A\""), "{told}");
    let json = gridkeeper(&["check", "--json"], &file);
    assert_eq!(json.status.code(), Some(2), "{json:?}");
    serde_json::from_slice::<serde_json::Value>(&json.stdout).unwrap();
    assert_eq!(scene.house.view().chargers[0].writes, writes, "neither speaks to a charger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_served_as_a_page_and_refused_by_strict() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("missing.toml");
    let strict = gridkeeper(&["run", "--strict"], &file);
    assert_eq!(strict.status.code(), Some(2), "{strict:?}");
    assert!(String::from_utf8(strict.stderr).unwrap().contains("missing.toml"));
    let environment = [
        ("GRIDKEEPER__WEB__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("GRIDKEEPER__STORAGE__DATA_DIR".to_owned(), folder.path().join("data").display().to_string()),
    ];
    let mut app = Appliance::launch(&["run", "-c", &file.display().to_string()], &file, &environment, Stdio::null());
    let page = app.get("/").await;
    assert!(page.contains("missing.toml"), "{page}");
    app.signal(Signal::SIGTERM);
    assert_eq!(app.ended(Duration::from_secs(9)).await.code(), Some(0));
}

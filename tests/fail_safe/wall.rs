//! The clock on the wall: control does without it, a schedule does not.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gridkeeper::simulator::View;
use tempfile::TempDir;

use crate::meters::{amps, one_car, settled, steady};
use crate::scene::{Scene, Setting};

/// Tuesday, 1 June 2027, noon UTC.
const TUESDAY: i64 = 1_811_851_200;
const DAY: i64 = 24 * 3_600;

/// The wall clock of the appliance alone.
struct Wall {
    folder: TempDir,
}

impl Wall {
    /// Shows this unix time in s, and goes on from there.
    fn showing(unix: i64) -> Self {
        let wall = Self { folder: tempfile::tempdir().unwrap() };
        wall.set(unix);
        wall
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("wall")
    }

    fn set(&self, unix: i64) {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.replace(unix * 1000 - i64::try_from(real.as_millis()).unwrap());
    }

    fn shift(&self, seconds: i64) {
        let by: i64 = std::fs::read_to_string(self.file()).unwrap().parse().unwrap();
        self.replace(by + seconds * 1000);
    }

    /// Never half written.
    fn replace(&self, by: i64) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, by.to_string()).unwrap();
        std::fs::rename(fresh, self.file()).unwrap();
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![("GRIDKEEPER_TEST_WALL_CLOCK".to_owned(), self.file().display().to_string())]
    }
}

/// The house is loaded, and the car is cut for it and raised again.
async fn an_overload_is_cut(scene: &Scene) {
    let at = |offer: i32| move |view: &View| view.chargers[0].offered == amps(offer);
    scene.faults().load(Some([16.0, 2.0, 2.0]));
    scene.until("the car is cut to what L1 leaves", at(8)).await;
    scene.faults().load(Some([2.0; 3]));
    scene.until("it is raised again", at(22)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_jumps_or_is_not_set_is_told_and_changes_nothing() {
    let wall = Wall::showing(TUESDAY);
    let scene = Scene::start(one_car(), Setting { environment: wall.environment(), ..steady() }).await;
    settled(&scene).await;
    scene.until("and all of it", |view| view.chargers[0].offered == amps(22)).await;
    let since = Instant::now();
    for (seconds, told) in [(18_150, "set by 181"), (-108_150, "set by -1081")] {
        wall.shift(seconds);
        scene.until_log("the jump", |log| log.lines().any(|it| it.contains("clock_error") && it.contains(told))).await;
    }
    scene.holds("the car goes on", Duration::from_secs(1), |view| view.chargers[0].offered == amps(22)).await;
    let lowest = scene.history_since(since).iter().map(|it| it.offered[0]).min();
    assert_eq!(lowest, Some(amps(22)), "{}", scene.writes());
    for meter in ["meter_late", "meter_lost"] {
        assert_eq!(scene.events(meter, "main"), 0, "{meter}: {}", scene.app.log());
    }
    an_overload_is_cut(&scene).await;

    wall.set(0);
    scene.until_status("it stands as a problem", |status| status["site"]["problem"] == "clock_error").await;
    scene.until_log("it is told", |log| log.contains("the wall clock is not set")).await;
    an_overload_is_cut(&scene).await;
    wall.set(TUESDAY);
    scene.until_status("it is over", |status| status["site"]["problem"] == "none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_a_lost_input_until_the_clock_is_set_and_follows_the_clock_from_then_on() {
    let wall = Wall::showing(0);
    let tables =
        "[[input]]\nid = \"gate\"\nmeaning = \"block\"\ndriver = \"schedule\"\ntimes = [\"fri-sun 00:00-24:00\"]\n";
    let setting = Setting { environment: wall.environment(), tables: tables.to_owned(), ..steady() };
    let scene = Scene::start(one_car(), setting).await;
    scene.event("input_lost", "gate").await;
    scene
        .until_status("what it would block is blocked", |status| {
            status["inputs"][0]["active"].is_null() && status["chargers"][0]["limit_reason"] == "block"
        })
        .await;
    assert_eq!(scene.house.view().chargers[0].set_point, amps(0));
    wall.set(TUESDAY);
    scene.event("input_back", "gate").await;
    scene.charging(0, 15).await;
    assert_eq!(scene.status().await["inputs"][0]["active"], false);
    wall.set(TUESDAY + 4 * DAY);
    scene.until("its window stops charging", |view| view.chargers[0].set_point == amps(0)).await;
    scene.until_status("by the schedule", |status| status["inputs"][0]["active"] == true).await;
    assert_eq!(scene.events("input_lost", "gate"), 1);
}

//! With the times that a file without `[timing]`, `meter_late_s` and `meter_lost_s` has, and so as slow as they are.

use std::time::{Duration, Instant};

use gridkeeper::quantity::{Milliamp, Span};

use crate::meters::{one_car, quality, slowly, with_grid};
use crate::scene::{Scene, Setting};

/// The first frame comes soon, so that the period is known after 20 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_meter_that_sends_each_10_s_with_jitter_is_not_lost_once_its_period_is_known() {
    let scene = Scene::start(slowly(one_car()), Setting { timing: String::new(), ..with_grid("") }).await;
    scene.until("the first telegram", |view| view.telegrams == 1).await;
    scene.faults().meter_period(Span::from_secs(10), Span::from_secs(2));
    let known = scene.within(Duration::from_secs(30), "three sample times", |view| view.telegrams == 3).await;
    // Three good frames without a lost time between them, or nothing is offered.
    let deadline = Instant::now() + Duration::from_secs(27);
    let mut oldest = 0.0_f64;
    let mut offered_at = None;
    while offered_at.is_none() || oldest <= 10.1 {
        let view = scene.house.view();
        if view.chargers[0].offered > Milliamp::ZERO {
            offered_at.get_or_insert(view.telegrams);
        } else {
            assert_eq!(offered_at, None, "a frame with jitter stopped the car\n{}", scene.app.log());
        }
        assert!(Instant::now() < deadline, "oldest frame {oldest} s, offered at {offered_at:?}\n{}", scene.app.log());
        let age = scene.status().await["meters"][0]["age_s"].as_f64().unwrap();
        if view.instant > known.instant + Duration::from_secs(3) {
            oldest = oldest.max(age);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(offered_at.is_some_and(|it| it <= 5), "the fifth frame is at least the third good one: {offered_at:?}");
    quality(&scene, "good").await;
}

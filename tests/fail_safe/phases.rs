//! From three phases to one over the real protocols.

use std::time::Instant;

use gridkeeper::quantity::{Milliamp, Phase, Phases};
use gridkeeper::simulator::{CarPlan, ChargerPlan, Plan};

use crate::scene::{Scene, Setting};

const PHASE_TO_USE: u16 = 14;

fn amps(amps: i32) -> Milliamp {
    Milliamp::from_amps(amps)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_phase_sends_the_car_to_the_phase_with_most_room_after_its_current_has_gone() {
    let plan = Plan::quiet(vec![ChargerPlan::teltocharge(CarPlan::swift())]).with_load([2.0; 3]);
    let setting = Setting { charger: vec!["watchdog_s = 2\n".to_owned()], ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    scene.until("it charges on three phases", |view| view.chargers[0].draw.0.iter().all(|it| *it > amps(12))).await;
    let full = Instant::now();
    scene.faults().load(Some([20.5, 12.0, 2.0]));
    scene.until("a limit waits for nothing", |view| view.chargers[0].offered == Milliamp::ZERO).await;
    let on_l3 = |draw: &Phases<Milliamp>| draw[Phase::L3] > amps(12) && draw[Phase::L1].max(draw[Phase::L2]) < amps(1);
    scene.until("it charges on L3 alone", |view| on_l3(&view.chargers[0].draw)).await;
    scene.event("phase_switched", "c0").await;
    let requests = scene.requests_since(0, full);
    let told: Vec<_> = requests.iter().filter(|it| it.register == PHASE_TO_USE && !it.is_read()).collect();
    assert!(told.iter().all(|it| it.words == [2]), "L3 and nothing else: {told:#?}");
    let first = told.first().expect("it was told").instant;
    let history = scene.house.history_since(full);
    let then = history.iter().rfind(|it| it.instant <= first).expect("a moment before it");
    assert!(
        then.grid[Phase::L3] < amps(3) && then.offered[0] == Milliamp::ZERO,
        "no current at the switching: {then:?}"
    );
}

//! What everything else builds on: the appliance finds its devices, charges, and keeps the fuse.

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::{CarPlan, ChargerPlan, Plan};

use crate::scene::{Scene, Setting};

fn one_car() -> Plan {
    Plan::quiet(vec![ChargerPlan::teltocharge(CarPlan::swift())]).with_load([2.0, 2.0, 2.0])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_of_any_phase_lowers_the_charger_that_is_on_it() {
    for phase in 0..3 {
        let scene = Scene::start(one_car(), Setting::default()).await;
        scene.charging(0, 15).await;
        let mut load = [2.0; 3];
        load[phase] = 16.0;
        scene.faults().load(Some(load));
        scene
            .until(&format!("phase {} is back under its fuse", phase + 1), |view| {
                view.grid.0[phase] > Milliamp::from_amps(16)
                    && view.grid.0.iter().all(|it| *it <= Milliamp::from_amps(25))
            })
            .await;
        scene
            .holds("the fuse is kept", std::time::Duration::from_secs(1), |view| {
                view.grid.0.iter().all(|it| *it <= Milliamp::from_amps(25))
            })
            .await;
    }
}

//! Meters beside the grid meter: of a circuit, which guards a fuse, and of a battery, which guards none.

use std::time::{Duration, Instant};

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::http::{HttpFault, Shelly};
use gridkeeper::simulator::{CarPlan, ChargerPlan, MeterFault, Plan, View};

use crate::meters::{amps, with_grid};
use crate::scene::{Scene, Setting};

/// The first charger is in the garage, the second beside the house. The stand-in that measures the garage is asked once
/// a second.
async fn garage(times: &str) -> (Scene, Shelly) {
    let meter = Shelly::pro_3em().await.unwrap();
    for letter in ["a", "b", "c"] {
        show(&meter, letter, 0.0);
    }
    let tables = format!(
        "[[meter]]\nid = \"garage-meter\"\ndriver = \"shelly\"\nconnection = \"http://{}\"\n\
         [[circuit]]\nid = \"garage\"\nfuse_a = 25\nmeter = \"garage-meter\"\n{times}",
        meter.address()
    );
    let charger = || ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(CarPlan::swift()) };
    let plan = Plan::quiet(vec![charger(), charger()]).with_load([20.0, 2.0, 2.0]);
    let setting = Setting {
        fuse_a: 40.0,
        charger: vec!["circuit = \"garage\"\n".to_owned(), String::new()],
        tables,
        ..with_grid("meter_late_s = 2\nmeter_lost_s = 4\n")
    };
    (Scene::start(plan, setting).await, meter)
}

fn show(meter: &Shelly, letter: &str, current: f64) {
    meter.set(&format!("/em:0/{letter}_current"), current.into());
    meter.set(&format!("/em:0/{letter}_act_power"), (current * 230.0).into());
    meter.set(&format!("/em:0/{letter}_voltage"), 230.0.into());
}

/// The stand-in shows what the car in the garage draws, and an ampere of light.
async fn measure(scene: &Scene, meter: &Shelly) {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    loop {
        ticks.tick().await;
        for (letter, draw) in ["a", "b", "c"].into_iter().zip(scene.house.view().chargers[0].draw.0) {
            show(meter, letter, 1.0 + draw.as_f64());
        }
    }
}

/// Runs `story` while the stand-in follows the car.
async fn told(scene: &Scene, meter: &Shelly, story: impl Future<Output = ()>) {
    tokio::select! {
        () = measure(scene, meter) => {}
        () = story => {}
    }
}

/// L1 is so busy that each of them has some 9 A.
async fn both_charge(scene: &Scene) {
    scene
        .until("both draw what L1 leaves them", |view| {
            view.chargers.iter().all(|it| it.highest_draw() > amps(8) && it.offered == it.set_point)
        })
        .await;
    scene.until_status("the garage is measured", |status| meter_of(status, "garage-meter")["quality"] == "good").await;
}

fn meter_of<'a>(status: &'a serde_json::Value, id: &str) -> &'a serde_json::Value {
    let meters = status["meters"].as_array().expect("a list of meters");
    meters.iter().find(|it| it["id"] == id).expect("a meter with this id")
}

fn garage_offers(view: &View) -> Milliamp {
    view.chargers[0].offered
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_late_circuit_meter_nothing_is_raised_and_beside_it_everything_is() {
    let (scene, meter) = garage("meter_late_s = 3\nmeter_lost_s = 80\n").await;
    told(&scene, &meter, async {
        both_charge(&scene).await;
        meter.fault(HttpFault::Silent);
        scene.event("meter_late", "garage-meter").await;
        let (before, since) = (garage_offers(&scene.house.view()), Instant::now());
        scene.faults().load(Some([2.0; 3]));
        scene.until("the one beside takes the room", |view| view.chargers[1].highest_draw() > amps(16)).await;
        let highest = scene.history_since(since).iter().map(|it| it.offered[0]).max();
        assert!(highest <= Some(before), "{highest:?} after {before}\n{}", scene.writes());
        assert_eq!(scene.events("meter_lost", "garage-meter"), 0, "late, not lost");
        meter.fault(HttpFault::None);
        scene.event("meter_back", "garage-meter").await;
        scene.until("raises go on", |view| garage_offers(view) > before + amps(2)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_lost_circuit_meter_chargers_keep_to_the_owners_figure_and_others_go_on() {
    let (scene, meter) = garage("meter_late_s = 3\nmeter_lost_s = 5\nmeter_lost_current_a = 6\n").await;
    told(&scene, &meter, async {
        both_charge(&scene).await;
        let since = Instant::now();
        meter.fault(HttpFault::Silent);
        scene.event("meter_lost", "garage-meter").await;
        scene.until("the garage keeps to 6 A", |view| garage_offers(view) == amps(6)).await;
        scene
            .until_status("why, and for whom", |status| {
                let reason = |at: usize| status["chargers"][at]["limit_reason"].as_str().unwrap_or_default();
                status["site"]["problem"] == "meter_error"
                    && meter_of(status, "garage-meter")["quality"] == "lost"
                    && reason(0) == "meter_lost"
                    && reason(1) != "meter_lost"
            })
            .await;
        scene.until("what it gave up is used beside it", |view| view.chargers[1].highest_draw() > amps(11)).await;
        scene.holds("the garage stays there", Duration::from_secs(1), |view| garage_offers(view) <= amps(6)).await;
        let lowest = scene.history_since(since).iter().map(|it| it.offered[1]).min();
        assert!(lowest >= Some(amps(6)), "the charger beside it was stopped: {lowest:?}");
        assert_eq!(scene.events("meter_lost", "main"), 0);
        meter.fault(HttpFault::None);
        scene.event("meter_back", "garage-meter").await;
        scene.until("the garage is raised again", |view| garage_offers(view) > amps(7)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_battery_meter_the_surplus_is_that_of_the_grid_meter_alone() {
    let meter = Shelly::pro_em().await.unwrap();
    // It discharges with 4.6 kW: of what is exported that is no surplus.
    meter.set("/em1:0/current", 20.0.into());
    meter.set("/em1:0/act_power", 4600.0.into());
    let tables = format!(
        "[[meter]]\nid = \"battery\"\nrole = \"battery\"\ndriver = \"shelly\"\nchannel = 0\nconnection = \"http://{}\"\n",
        meter.address()
    );
    let charger = ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(CarPlan::swift()) };
    let setting = Setting {
        tables,
        control: "solar_patience = \"strict\"\nsolar_proof_s = 2\nsolar_grace_s = 1\nmin_on_s = 0\n".to_owned(),
        charger: vec!["phase_switching = \"never\"\n".to_owned()],
        mqtt: "embedded://127.0.0.1:0".to_owned(),
        ..with_grid("meter_late_s = 2\nmeter_lost_s = 4\n")
    };
    // 6.9 kW are exported: 10 A on three phases, of which the battery gives more than leaves 6 A.
    let plan = Plan::quiet(vec![charger]).with_load([-10.0; 3]);
    let scene = Scene::start(plan, setting).await;
    let peer = scene.peer().await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    peer.publish("gridkeeper/charger/c0/set/mode", "solar");
    let waits = |status: &serde_json::Value| {
        let charger = &status["chargers"][0];
        charger["limit_reason"] == "surplus" && charger["offered_current_a"] == 0.0
    };
    scene.until_status("it waits for the sun", waits).await;
    scene.until_status("the battery is measured", |status| meter_of(status, "battery")["quality"] == "good").await;
    scene.until("nothing flows", |view| view.chargers[0].highest_draw() == Milliamp::ZERO).await;
    scene.holds("what it gives is no surplus", Duration::from_secs(4), |view| garage_offers(view) == amps(0)).await;
    meter.fault(HttpFault::Silent);
    scene.event("meter_lost", "battery").await;
    scene.charging(0, 8).await;
    let status = scene.status().await;
    assert_eq!(status["site"]["fail_safe"], false, "it guards no fuse: {status:#}");
    assert_eq!(status["site"]["problem"], "meter_error");
    meter.fault(HttpFault::None);
    scene.event("meter_back", "battery").await;
    scene.until("what it gives is no surplus again", |view| garage_offers(view) == amps(0)).await;
}

/// The grid meter tells totals only: 2 A of house on each phase behind 10 A of sun. What the roof's meter shows is added
/// back; without it nobody knows what flows on a phase, and the owner's `static_a` holds.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_meter_of_the_sun_a_meter_of_totals_guards_no_fuse() {
    let meter = Shelly::pro_3em().await.unwrap();
    for letter in ["a", "b", "c"] {
        show(&meter, letter, 10.0);
    }
    let tables = format!(
        "[[meter]]\nid = \"roof\"\nrole = \"solar\"\ndriver = \"shelly\"\nconnection = \"http://{}\"\n",
        meter.address()
    );
    let charger = ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(CarPlan::swift()) };
    let setting = Setting {
        tables,
        charger: vec!["phase_switching = \"never\"\n".to_owned()],
        ..with_grid("static_a = 8\nmeter_late_s = 2\nmeter_lost_s = 4\n")
    };
    let plan = Plan::quiet(vec![charger]).with_load([-8.0; 3]);
    let scene = Scene::start_into(plan, setting, |house| house.meter(MeterFault::TotalsOnly)).await;
    scene.until_status("the roof is measured", |status| meter_of(status, "roof")["quality"] == "good").await;
    // 25 - 0.5 A less 3 x 2 A, all of which may flow on one phase.
    scene.charging(0, 17).await;
    meter.fault(HttpFault::Silent);
    scene.event("meter_lost", "roof").await;
    let held = |status: &serde_json::Value| {
        let charger = &status["chargers"][0];
        charger["limit_reason"] == "static" && charger["offered_current_a"] == 8.0
    };
    scene.until_status("the owner's figure holds", held).await;
    scene.holds("no more than that", Duration::from_secs(1), |view| garage_offers(view) <= amps(8)).await;
    assert_eq!(scene.events("meter_lost", "main"), 0, "{}", scene.app.log());
    meter.fault(HttpFault::None);
    scene.event("meter_back", "roof").await;
    scene.charging(0, 17).await;
}

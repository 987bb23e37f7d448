//! What is found is taken over as it is, and brought down before anything else.

use std::time::{Duration, Instant};

use gridkeeper::quantity::{Milliamp, Span};
use gridkeeper::simulator::{CarAtStart, CarPlan, ChargerFault, ChargerPlan, MeterFault, Plan, Request, View};

use crate::scene::{Scene, Setting};

const SET_POINT: u16 = 15;
/// First register of those that say who the charger is.
const IDENTITY: u16 = 23;

fn amps(amps: i32) -> Milliamp {
    Milliamp::from_amps(amps)
}

/// A car in mid-charge, as somebody left it.
fn charging_at(offer: i32) -> ChargerPlan {
    ChargerPlan::teltocharge(CarPlan::swift().at_start(CarAtStart::Charging(amps(offer))))
}

fn reads(request: &Request, register: u16) -> bool {
    request.is_read() && (request.register..request.register + request.count).contains(&register)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charging_car_is_found_read_and_brought_down_before_the_charger_is_asked_who_it_is() {
    let mut plan = Plan::quiet(vec![charging_at(20)]).with_load([2.0; 3]);
    // Slow enough to tell one frame from the next.
    plan.meter.as_mut().expect("a meter").period = Span(700);
    let begun = Instant::now();
    let setting = Setting {
        grid: "meter_late_s = 5\nmeter_lost_s = 10\n".to_owned(),
        charger: vec!["watchdog_s = 2\nfail_safe_current_a = 6\n".to_owned()],
        ..Setting::default()
    };
    let scene = Scene::start(plan, setting).await;
    let mut unheard = None;
    scene
        .until("it is raised", |view| {
            if view.readers == 0 {
                unheard = Some(view.telegrams);
            }
            let raised = view.chargers[0].written_offer().is_some_and(|offer| offer > amps(6));
            if raised {
                let heard = view.telegrams - unheard.expect("nobody read at first");
                assert!(heard >= 3, "raised after {heard} frames");
            }
            raised
        })
        .await;
    let requests = scene.requests_since(0, begun);
    assert!(reads(&requests[0], SET_POINT), "the present offer first: {:?}", requests[0]);
    let written = requests.iter().position(|it| !it.is_read()).expect("a write");
    let write = &requests[written];
    assert!(write.register == SET_POINT && write.words == [6], "min(offer, 6 A) first: {write:?}");
    assert!(!requests[..written].iter().any(|it| reads(it, IDENTITY)), "set-points before identity: {requests:#?}");
    scene.charging(0, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_charging_cars_those_keep_6_a_that_fit_in_order_of_priority() {
    let plan = Plan::quiet(vec![charging_at(16), charging_at(16)]).with_load([1.0; 3]);
    let setting = Setting {
        fuse_a: 10.0,
        grid: "meter_late_s = 5\nmeter_lost_s = 10\n".to_owned(),
        charger: vec!["priority = 7\nwatchdog_s = 2\n".to_owned(), "priority = 2\nwatchdog_s = 2\n".to_owned()],
        ..Setting::default()
    };
    // No frame yet: what is known is the fuse and what the chargers offer.
    let scene = Scene::start_into(plan, setting, |faults| faults.meter(MeterFault::Silent)).await;
    let one_fits = |view: &View| {
        let [last, first] = [&view.chargers[0], &view.chargers[1]];
        last.offered == Milliamp::ZERO && first.offered == amps(6) && view.grid.0.iter().all(|it| *it <= amps(10))
    };
    scene.until("the one that goes first keeps its 6 A", one_fits).await;
    scene.holds("so it stays", Duration::from_secs(1), one_fits).await;
    let writes =
        scene.requests_since(1, scene.begun).into_iter().filter(|it| it.register == SET_POINT && !it.is_read());
    assert!(writes.map(|it| it.words).all(|words| words == [6]), "{}", scene.writes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charging_car_that_fits_is_not_stopped_at_start() {
    let plan = Plan::quiet(vec![charging_at(16)]).with_load([1.0; 3]);
    let setting = Setting {
        fuse_a: 10.0,
        charger: vec!["watchdog_s = 2\nfail_safe_current_a = 6\n".to_owned()],
        ..Setting::default()
    };
    let scene = Scene::start(plan, setting).await;
    scene.until("it is brought down", |view| view.chargers[0].set_point <= amps(6)).await;
    scene.holds("it charges on", Duration::from_secs(2), |view| view.chargers[0].offered >= amps(6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_car_that_charges_while_no_frame_comes_falls_to_the_figure_of_a_lost_meter() {
    let plan = Plan::quiet(vec![charging_at(20)]).with_load([2.0; 3]);
    let setting = Setting { charger: vec!["watchdog_s = 2\n".to_owned()], ..Setting::default() };
    let scene = Scene::start_into(plan, setting, |faults| {
        faults.meter(MeterFault::Silent);
    })
    .await;
    scene.until("6 A at first", |view| view.chargers[0].set_point == amps(6)).await;
    scene.until("0 after the lost time", |view| view.chargers[0].set_point == Milliamp::ZERO).await;
    scene.event("meter_lost", "main").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charging_car_behind_a_charger_that_measures_nothing_keeps_6_a_as_well() {
    let found = ChargerPlan::evse_din(CarPlan::swift().at_start(CarAtStart::Charging(amps(16))));
    let plan = Plan::quiet(vec![found]).with_load([2.0; 3]);
    let setting = Setting { charger: vec!["fail_safe_current_a = 6\n".to_owned()], ..Setting::default() };
    // The meter is heard first, and the car in what it shows is not known yet.
    let scene = Scene::start_into(plan, setting, |faults| faults.charger(0, ChargerFault::Unreachable)).await;
    scene.until("frames were heard", |view| view.readers > 0 && view.telegrams > 10).await;
    let found = Instant::now();
    scene.faults().charger(0, ChargerFault::None);
    scene.until("it is brought down", |view| view.chargers[0].set_point <= amps(6)).await;
    scene.until("it is raised again", |view| view.chargers[0].highest_draw() > amps(18)).await;
    let write = scene.requests_since(0, found).into_iter().find(|it| it.register == 1000 && !it.is_read());
    assert!(matches!(write.expect("a write").words[..], [6 | 600]), "{}", scene.writes());
}

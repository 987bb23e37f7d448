//! The grid meter: overloads of each phase, and every way of knowing less than before.

use std::time::{Duration, Instant};

use gridkeeper::codec::p1;
use gridkeeper::quantity::{Milliamp, Phase, Span};
use gridkeeper::simulator::{CarPlan, ChargerPlan, MeterFault, MeterPlan, P1Link, Plan, TelegramFault, View};

use crate::scene::{Scene, Setting};

pub(crate) fn amps(amps: i32) -> Milliamp {
    Milliamp::from_amps(amps)
}

/// Offers nothing until it is told to.
fn teltocharge() -> ChargerPlan {
    ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(CarPlan::swift()) }
}

/// One car on three phases in a house that draws 2 A: 22 A are left for it.
pub(crate) fn one_car() -> Plan {
    Plan::quiet(vec![teltocharge()]).with_load([2.0; 3])
}

/// The same where L1 is so busy that 8 A are left.
fn busy_house() -> Plan {
    one_car().with_load([16.0, 2.0, 2.0])
}

pub(crate) fn with_grid(lines: &str) -> Setting {
    Setting { grid: lines.to_owned(), ..Setting::default() }
}

/// For what has nothing to do with a lost meter: a machine that is busy for a second is not taken for one.
pub(crate) fn steady() -> Setting {
    with_grid("meter_late_s = 2\nmeter_lost_s = 4\n")
}

/// One car draws all of its 22 A, the appliance knows it, and the box's own timer is verified: a car in mid-ramp is
/// known less well, and judged with more care.
pub(crate) async fn settled(scene: &Scene) {
    scene
        .until_status("the car draws its 22 A", |status| {
            let charger = &status["chargers"][0];
            charger["current_l1_a"].as_f64() > Some(21.0) && charger["watchdog_verified"] == true
        })
        .await;
}

/// All three phases together.
fn within(view: &View, limit: i32) -> bool {
    view.grid.0.iter().all(|current| *current <= amps(limit))
}

/// The highest pilot of the first charger since then.
fn highest_offer_since(scene: &Scene, since: Instant) -> Milliamp {
    scene.history_since(since).iter().map(|it| it.offered[0]).max().unwrap_or(Milliamp::ZERO)
}

pub(crate) async fn quality(scene: &Scene, word: &str) {
    scene.until_status(&format!("the meter is {word}"), |status| status["meters"][0]["quality"] == word).await;
}

/// Waits until the car has what the busy house leaves.
async fn charging_at_8(scene: &Scene) {
    scene
        .until("the car draws its 8 A", |view| {
            view.chargers[0].offered == amps(8) && view.chargers[0].highest_draw() > amps(7)
        })
        .await;
}

async fn stopped(scene: &Scene) {
    scene
        .until("nothing is offered and nothing flows", |view| {
            view.chargers.iter().all(|it| it.set_point == Milliamp::ZERO && it.highest_draw() == Milliamp::ZERO)
        })
        .await;
}

async fn an_overload_is_cut(phase: Phase) {
    let scene = Scene::start(one_car(), steady()).await;
    settled(&scene).await;
    let mut load = [2.0; 3];
    load[phase.index()] = 16.0;
    scene.faults().load(Some(load));
    scene
        .until(&format!("{phase} is back under its fuse"), |view| {
            view.house[phase] == amps(16) && view.chargers[0].offered == amps(8) && within(view, 25)
        })
        .await;
    scene
        .holds("the fuse is kept and the car goes on", Duration::from_secs(1), |view| {
            within(view, 25) && view.chargers[0].offered == amps(8)
        })
        .await;
    let log = scene.event("fuse_overload", "site").await;
    let told = log.lines().find(|line| line.contains("fuse_overload")).unwrap();
    assert!(told.contains(&format!("on {phase}, the limit is 25")), "{told}");
    let word = format!("limit_l{}", phase.index() + 1);
    scene.until_status(&word, |status| status["chargers"][0]["limit_reason"] == *word).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_of_l1_is_cut_and_told() {
    an_overload_is_cut(Phase::L1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_of_l2_is_cut_and_told() {
    an_overload_is_cut(Phase::L2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_of_l3_is_cut_and_told() {
    an_overload_is_cut(Phase::L3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_lowers_only_the_chargers_of_its_phase_and_turned_wires_are_counted_where_they_are() {
    let one_phase = |phase| {
        let car = CarPlan::swift().on_phases(1);
        ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::teltocharge(car) }.on_phases(&[phase])
    };
    let plan = Plan::quiet(vec![one_phase(Phase::L2), one_phase(Phase::L3)]).with_load([2.0; 3]);
    let scene = Scene::start(plan, steady()).await;
    scene.charging(0, 20).await;
    scene.charging(1, 20).await;
    let since = Instant::now();
    scene.faults().load(Some([2.0, 2.0, 14.0]));
    scene.until("the charger of L3 is lowered", |view| view.chargers[1].offered == amps(10)).await;
    let untouched = scene.history_since(since).iter().all(|it| it.offered[0] >= amps(20));
    assert!(untouched, "the charger of L2 was lowered as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_meter_raises_nothing() {
    let setting = Setting { fuse_a: 40.0, ..with_grid("meter_late_s = 0.5\nmeter_lost_s = 4\n") };
    let scene = Scene::start(one_car(), setting).await;
    // It is raised by 4 A at a time; at the first of these steps the meter falls silent.
    scene.until("the first raise", |view| view.chargers[0].offered >= amps(10)).await;
    scene.faults().meter(MeterFault::Silent);
    scene.event("meter_late", "main").await;
    // What was decided before may still be on its way.
    let settled =
        scene.until("no write on its way", |view| view.chargers[0].offered == view.chargers[0].set_point).await;
    let offer = settled.chargers[0].offered;
    assert!(offer <= amps(26), "no room for a raise was left to be refused: {offer}");
    scene.holds("nothing is raised", Duration::from_secs(2), |view| view.chargers[0].offered <= offer).await;
    assert_eq!(scene.events("meter_lost", "main"), 0, "late, not lost");
    assert!(scene.house.view().chargers[0].offered == offer, "nor is anything lowered");
    scene.until_status("why", |status| status["chargers"][0]["limit_reason"] == "meter_late").await;
    scene.faults().meter(MeterFault::None);
    scene.event("meter_back", "main").await;
    scene.until("raises go on with the next good frame", |view| view.chargers[0].offered > offer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_meter_stops_every_charger_and_three_good_frames_bring_them_back() {
    let evse_din = ChargerPlan { boot_current: Milliamp::ZERO, ..ChargerPlan::evse_din(CarPlan::swift()) };
    let plan = Plan::quiet(vec![teltocharge(), evse_din]).with_load([2.0; 3]);
    let scene = Scene::start(plan, with_grid("meter_late_s = 2\nmeter_lost_s = 2.5\n")).await;
    scene.charging(0, 9).await;
    scene.charging(1, 9).await;
    scene.faults().meter(MeterFault::Silent);
    stopped(&scene).await;
    scene.event("meter_lost", "main").await;
    scene
        .until_status("why", |status| {
            status["site"]["fail_safe"] == true
                && status["site"]["problem"] == "meter_error"
                && status["chargers"].as_array().unwrap().iter().all(|it| it["limit_reason"] == "meter_lost")
        })
        .await;
    scene
        .holds("they stay at 0", Duration::from_millis(500), |view| {
            view.chargers.iter().all(|it| it.offered == Milliamp::ZERO)
        })
        .await;
    // Slow frames, so that their number tells.
    scene.faults().meter_period(Span(600), Span::ZERO);
    let silent = scene.house.view().telegrams;
    scene.faults().meter(MeterFault::None);
    let raised =
        scene.until("the first offer", |view| view.chargers.iter().any(|it| it.set_point > Milliamp::ZERO)).await;
    assert!(raised.telegrams >= silent + 3, "after {} frames", raised.telegrams - silent);
    scene.event("meter_back", "main").await;
    scene.charging(0, 5).await;
    scene.charging(1, 5).await;
}

/// What three chargers with these priorities are offered while the meter is lost.
async fn lost_shares(lost_a: u32, priorities: [u32; 3]) -> [i32; 3] {
    let plan = Plan::quiet(vec![teltocharge(), teltocharge(), teltocharge()]).with_load([2.0; 3]);
    let setting = Setting {
        fuse_a: 63.0,
        charger: priorities.iter().map(|it| format!("priority = {it}\n")).collect(),
        ..with_grid(&format!("meter_late_s = 0.5\nmeter_lost_s = 1.2\nmeter_lost_current_a = {lost_a}\n"))
    };
    let scene = Scene::start(plan, setting).await;
    for charger in 0..3 {
        scene.charging(charger, 15).await;
    }
    scene
        .until_status("the owner's figure is a risk", |status| {
            let mut risks = status["risks"].as_array().unwrap().iter();
            risks.any(|it| it.as_str().unwrap().contains("meter_lost_current_a"))
        })
        .await;
    scene.faults().meter(MeterFault::Silent);
    let sum = |view: &View| view.chargers.iter().map(|it| it.offered).sum::<Milliamp>();
    let figure = amps(i32::try_from(lost_a).unwrap());
    let view = scene
        .until("they keep to the owner's figure", |view| {
            sum(view) <= figure && view.chargers.iter().all(|it| it.offered == it.set_point)
        })
        .await;
    scene.event("meter_lost", "main").await;
    let same = |now: &View| now.chargers.iter().zip(&view.chargers).all(|(now, then)| now.offered == then.offered);
    scene.holds("and stay there", Duration::from_millis(700), same).await;
    [0, 1, 2].map(|charger| view.chargers[charger].offered.0 / 1000)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_figure_for_a_lost_meter_is_given_out_in_steps_of_6_a_by_priority() {
    assert_eq!(lost_shares(26, [2, 1, 3]).await, [6, 12, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_for_a_lost_meter_that_is_not_enough_for_all_goes_to_the_first() {
    assert_eq!(lost_shares(14, [2, 3, 1]).await, [6, 0, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_figure_for_a_lost_meter_is_capped_by_the_fuse() {
    let lines = "max_import_a = 10\nmeter_late_s = 0.5\nmeter_lost_s = 1.2\nmeter_lost_current_a = 20\n";
    let scene = Scene::start(one_car(), with_grid(lines)).await;
    // 10 A less the margin of 0.5 A less 2 A of house.
    scene.until("the car has what is left", |view| view.chargers[0].offered == amps(7)).await;
    scene.faults().meter(MeterFault::Silent);
    scene.event("meter_lost", "main").await;
    scene.holds("the limit is kept", Duration::from_secs(1), |view| view.chargers[0].offered <= amps(9)).await;
    let offer = scene.house.view().chargers[0].offered;
    assert!((amps(6)..=amps(9)).contains(&offer), "it goes on charging: {offer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_meter_is_a_lost_one() {
    let scene = Scene::start(busy_house(), Setting::default()).await;
    charging_at_8(&scene).await;
    let since = Instant::now();
    scene.faults().meter(MeterFault::Frozen);
    scene.faults().load(Some([2.0; 3]));
    stopped(&scene).await;
    scene.event("meter_lost", "main").await;
    assert!(highest_offer_since(&scene, since) <= amps(8));
    quality(&scene, "lost").await;
    scene.faults().meter(MeterFault::None);
    scene.event("meter_back", "main").await;
    scene.charging(0, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_after_load_raise_nothing_and_end_as_a_lost_meter() {
    let scene = Scene::start(busy_house(), with_grid("meter_late_s = 1.5\nmeter_lost_s = 3\n")).await;
    charging_at_8(&scene).await;
    let since = Instant::now();
    scene.faults().meter(MeterFault::Zeros);
    quality(&scene, "doubtful").await;
    stopped(&scene).await;
    scene.event("meter_lost", "main").await;
    assert!(highest_offer_since(&scene, since) <= amps(8));
    scene.faults().meter(MeterFault::None);
    charging_at_8(&scene).await;
}

/// A telegram in which nothing flows, voltages are there and this much was imported.
fn zeros(stamp: u32, watt_hours: u32) -> Vec<u8> {
    let mut lines = vec![
        "1-3:0.2.8(50)".to_owned(),
        format!("0-0:1.0.0(2701{:02}{:02}{:02}00W)", 1 + stamp / 1440, stamp / 60 % 24, stamp % 60),
        format!("1-0:1.8.1({:010.3}*kWh)", 1234.567),
        format!("1-0:1.8.2({:010.3}*kWh)", 4568.0 + f64::from(watt_hours) / 1000.0),
        "1-0:1.7.0(00.000*kW)".to_owned(),
        "1-0:2.7.0(00.000*kW)".to_owned(),
    ];
    for phase in [20, 40, 60] {
        lines.push(format!("1-0:{}.7.0(230.1*V)", phase + 12));
        lines.push(format!("1-0:{}.7.0(000.00*A)", phase + 11));
        lines.push(format!("1-0:{}.7.0(00.000*kW)", phase + 1));
        lines.push(format!("1-0:{}.7.0(00.000*kW)", phase + 2));
    }
    p1::encode("/GKP5SIMULATED-HOUSE", lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn zeros_that_a_moving_counter_and_idle_cars_bear_out_are_believed() {
    let scene = Scene::start(one_car(), with_grid("meter_late_s = 1.5\nmeter_lost_s = 3\n")).await;
    scene.charging(0, 9).await;
    // The car stops, and a battery holds the connection at zero from now on; its counter creeps on.
    scene.faults().stop_in_car(0, true);
    scene.until("nothing flows into the car", |view| view.chargers[0].highest_draw() == Milliamp::ZERO).await;
    for telegram in 0..60 {
        scene.faults().telegram(TelegramFault::Bytes(zeros(telegram, telegram)));
    }
    let begin = scene.house.view().telegrams;
    scene.until("zeros are in force", |view| view.telegrams > begin + 5).await;
    scene
        .until_status("zeros are believed", |status| {
            status["meters"][0]["quality"] == "good" && status["meters"][0]["values"]["power_w"] == 0.0
        })
        .await;
    // For longer than the lost time.
    scene.until("the last of the zeros", |view| view.telegrams >= begin + 45).await;
    assert_eq!(scene.events("meter_lost", "main"), 0, "{}", scene.app.log());
    quality(&scene, "good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_phase_raises_nothing_still_lowers_and_ends_as_a_lost_meter() {
    let scene = Scene::start(one_car(), with_grid("meter_late_s = 3\nmeter_lost_s = 5\n")).await;
    scene.until("the first raise", |view| view.chargers[0].offered >= amps(10)).await;
    scene.faults().meter(MeterFault::PhaseMissing(Phase::L3));
    quality(&scene, "doubtful").await;
    let before = scene.house.view().chargers[0].offered;
    assert!(before <= amps(18), "no room for a raise was left to be refused: {before}");
    scene.holds("nothing is raised", Duration::from_millis(1500), |view| view.chargers[0].offered <= before).await;
    // The phases that are still there are obeyed downwards.
    scene.faults().load(Some([18.0, 2.0, 2.0]));
    scene.until("L1 is back under its fuse", |view| view.chargers[0].offered == amps(6)).await;
    assert_eq!(scene.events("meter_lost", "main"), 0, "{}", scene.app.log());
    stopped(&scene).await;
    scene.event("meter_lost", "main").await;
    scene.faults().load(Some([2.0; 3]));
    scene.faults().meter(MeterFault::None);
    scene.charging(0, 9).await;
}

/// A meter that sends each second.
pub(crate) fn slowly(mut plan: Plan) -> Plan {
    plan.meter = Some(MeterPlan::default());
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_that_flips_for_one_frame_is_doubted_and_raises_nothing() {
    let scene = Scene::start(slowly(busy_house()), with_grid("meter_late_s = 3\nmeter_lost_s = 6\n")).await;
    charging_at_8(&scene).await;
    quality(&scene, "good").await;
    let since = Instant::now();
    scene.faults().telegram(TelegramFault::SignFlipped(Phase::L1));
    quality(&scene, "doubtful").await;
    quality(&scene, "good").await;
    let flipped = scene.house.view().telegrams;
    scene.until("two frames more", |view| view.telegrams >= flipped + 2).await;
    assert_eq!(highest_offer_since(&scene, since), amps(8));
    assert_eq!(scene.events("meter_lost", "main"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_late_telegrams_at_once_the_newest_decides() {
    let plan = slowly(one_car().with_load([12.0, 2.0, 2.0]));
    let scene = Scene::start(plan, with_grid("meter_late_s = 2.5\nmeter_lost_s = 8\n")).await;
    scene.until("the car draws its 12 A", |view| view.chargers[0].highest_draw() > amps(11)).await;
    let good = |status: &serde_json::Value| status["meters"][0]["health"]["good"].as_u64().unwrap();
    let (before, since) = (good(&scene.status().await), Instant::now());
    let begin = scene.house.view().telegrams;
    scene.faults().telegram(TelegramFault::HeldBack(3));
    // Two of them show room, the third shows that it has gone again and more.
    scene.faults().load(Some([2.0; 3]));
    scene.until("two are held back", |view| view.telegrams >= begin + 2).await;
    scene.faults().load(Some([17.0, 2.0, 2.0]));
    scene.until("L1 is back under its fuse", |view| view.chargers[0].offered == amps(7) && within(view, 25)).await;
    assert!(highest_offer_since(&scene, since) <= amps(12), "raised on the word of the past");
    scene.until_status("all three are read", |status| good(status) >= before + 3).await;
    let status = scene.status().await;
    assert_eq!(status["meters"][0]["health"]["bad"], 0);
    assert_eq!(status["meters"][0]["health"]["discarded_bytes"], 0);
    assert_eq!(scene.events("meter_lost", "main"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_gone_is_a_lost_meter_and_its_return_is_noticed() {
    let scene = Scene::start(one_car(), Setting::default()).await;
    scene.charging(0, 9).await;
    scene.faults().meter(MeterFault::Unreachable);
    stopped(&scene).await;
    scene.event("meter_lost", "main").await;
    let connection = scene.house.meter_connection().unwrap();
    scene
        .until_status("the page names meter and gateway", |status| {
            let health = &status["meters"][0]["health"];
            let error = health["last_error"].as_str().unwrap_or_default();
            health["online"] == false && error.contains("meter `main`") && error.contains(connection)
        })
        .await;
    scene.faults().meter(MeterFault::None);
    scene.until("a reader is back", |view| view.readers == 1).await;
    scene.charging(0, 9).await;
    scene
        .until_status("the page counts it", |status| {
            let health = &status["meters"][0]["health"];
            health["online"] == true && health["reconnects"].as_u64() >= Some(1)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_on_a_serial_line_is_kept_and_lost_like_any_other() {
    let mut plan = busy_house();
    plan.meter = Some(MeterPlan { link: P1Link::Pty, period: Span(100), ..MeterPlan::default() });
    let scene = Scene::start(plan, Setting::default()).await;
    charging_at_8(&scene).await;
    scene.faults().load(Some([18.0, 2.0, 2.0]));
    scene.until("an overload is cut", |view| view.chargers[0].offered == amps(6) && within(view, 25)).await;
    scene.faults().meter(MeterFault::Silent);
    stopped(&scene).await;
    scene.event("meter_lost", "main").await;
    scene.faults().meter(MeterFault::None);
    scene.charging(0, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telegrams_with_a_wrong_crc_are_counted_and_end_as_a_lost_meter() {
    let setting = Setting { mqtt: "embedded://127.0.0.1:0".to_owned(), ..Setting::default() };
    let scene = Scene::start(one_car(), setting).await;
    let peer = scene.peer().await;
    scene.charging(0, 9).await;
    scene.faults().meter(MeterFault::WrongCrc);
    stopped(&scene).await;
    let event = peer.json("gridkeeper/event", |it| it["event_type"] == "meter_lost").await;
    assert_eq!(event["subject"], "main");
    peer.json("gridkeeper/meter/main/state", |it| it["quality"] == "lost").await;
    scene
        .until_status("the page names meter and cause, and counts", |status| {
            let health = &status["meters"][0]["health"];
            let error = health["last_error"].as_str().unwrap_or_default();
            health["bad"].as_u64() > Some(5) && error.contains("meter `main`") && error.contains("wrong CRC")
        })
        .await;
    scene.faults().meter(MeterFault::None);
    scene.charging(0, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_telegrams_with_a_wrong_crc_change_nothing_but_a_counter() {
    let scene = Scene::start(busy_house(), with_grid("meter_late_s = 3\nmeter_lost_s = 6\n")).await;
    charging_at_8(&scene).await;
    let since = Instant::now();
    scene.faults().telegram(TelegramFault::WrongCrc);
    scene.until_status("it is counted", |status| status["meters"][0]["health"]["bad"] == 1).await;
    scene.holds("the car keeps its 8 A", Duration::from_millis(500), |view| view.chargers[0].offered == amps(8)).await;
    assert_eq!(highest_offer_since(&scene, since), amps(8));
    assert_eq!(scene.events("meter_late", "main"), 0);
}

/// The most memory that the process has held so far, in kB.
fn most_memory(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.app.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telegram_of_10_mb_is_dropped_and_costs_no_memory() {
    let scene = Scene::start(busy_house(), Setting::default()).await;
    charging_at_8(&scene).await;
    // Pages and states are allocated before it comes.
    quality(&scene, "good").await;
    let (before, since) = (most_memory(&scene), Instant::now());
    scene.faults().telegram(TelegramFault::Oversized(10_000_000));
    scene
        .until_status("it is thrown away and counted", |status| {
            let health = &status["meters"][0]["health"];
            let error = health["last_error"].as_str().unwrap_or_default();
            health["discarded_bytes"].as_u64() >= Some(10_000_000)
                && health["bad"].as_u64() >= Some(1)
                && error.contains("meter `main`: telegram longer than")
        })
        .await;
    // What its transfer takes is the meter's silence, and judged as such.
    let lost = scene.events("meter_lost", "main") > 0;
    let offers = scene.history_since(since);
    let stopped = offers.iter().any(|it| it.offered[0] == Milliamp::ZERO);
    assert!(lost || !stopped, "stopped without a lost meter");
    charging_at_8(&scene).await;
    assert_eq!(highest_offer_since(&scene, since), amps(8));
    let grown = most_memory(&scene) - before;
    assert!(grown < 3 * 1024, "{grown} kB more");
}

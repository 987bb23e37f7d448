//! Chargers that fall silent, forget, listen to others, or whose cars do as they please.

use std::time::{Duration, Instant};

use gridkeeper::quantity::{Milliamp, Span};
use gridkeeper::simulator::{
    BoxKind, BusLink, BusPlan, CarAtStart, CarPlan, ChargerFault, ChargerPlan, Obedience, Plan, Request, View,
};

use crate::peer::{Broker, Peer};
use crate::scene::{QUICK_TIMING, Scene, Setting};

const SET_POINT: u16 = 15;
const STOP_REQUEST: u16 = 16;
const TIMEOUT: u16 = 19;
const FAIL_SAFE: u16 = 20;
const EVSE_SET_POINT: u16 = 1000;
/// `quiet_extra_s` of the quick timing.
const QUIET_EXTRA: Duration = Duration::from_millis(500);

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

/// Lines of a charger with a timer.
fn watchdog(seconds: u32, fail_safe: u32) -> String {
    format!("watchdog_s = {seconds}\nfail_safe_current_a = {fail_safe}\n")
}

/// Two chargers, 2 A of house and a fuse of 25 A: 11 A for each.
fn two(first: ChargerPlan, second: ChargerPlan) -> Plan {
    Plan::quiet(vec![first, second]).with_load([2.0; 3])
}

async fn share_alike(scene: &Scene) {
    settled(scene, 0, 11).await;
    settled(scene, 1, 11).await;
}

/// It is offered so much, that flows, and the appliance knows it.
async fn settled(scene: &Scene, charger: usize, offer: i32) {
    let what = format!("charger {charger} draws its {offer} A");
    let draws = |drawn: Milliamp| drawn > amps(offer) - Milliamp(500);
    scene
        .until(&what, |view| {
            let it = &view.chargers[charger];
            (amps(offer)..amps(offer + 1)).contains(&it.set_point) && draws(it.highest_draw())
        })
        .await;
    scene
        .until_status(&what, |status| {
            let it = &status["chargers"][charger];
            it["current_l1_a"].as_f64().is_none_or(|drawn| draws(Milliamp::from_f64(drawn)))
        })
        .await;
}

fn within_fuse(view: &View) -> bool {
    view.grid.0.iter().all(|it| *it <= amps(25))
}

fn is_write_of(request: &Request, register: u16) -> bool {
    request.register == register && !request.is_read()
}

/// Writes of the set-point, with their time, in A.
fn set_points(requests: &[Request]) -> Vec<(Instant, u16)> {
    requests.iter().filter(|it| is_write_of(it, SET_POINT)).map(|it| (it.instant, it.words[0])).collect()
}

/// Place of the first request that comes after a pause of at least `pause`.
fn after_pause(requests: &[Request], pause: Duration) -> Option<usize> {
    requests.windows(2).position(|pair| pair[1].instant - pair[0].instant >= pause).map(|before| before + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_charger_is_left_alone_until_its_timer_has_acted_and_keeps_its_figure_until_then() {
    // When its timer brings it from 11 A to 6 A the meter shows 5 A less: what keeps the other one down is the figure alone.
    let setting = Setting { charger: vec![watchdog(2, 6); 2], ..Setting::default() };
    let scene = Scene::start(two(teltocharge(), teltocharge()), setting).await;
    let shared = |view: &View| view.chargers.iter().all(|it| it.set_point == amps(11) && it.highest_draw() > amps(4));
    scene.until("both have their share", shared).await;
    settled(&scene, 1, 11).await;
    let silent = Instant::now();
    scene.faults().charger(0, ChargerFault::BothDead);
    scene.event("charger_lost", "c0").await;
    scene
        .until_status("its figure stays counted", |status| {
            let it = &status["chargers"][0];
            it["status"] == "offline" && it["counted_current_a"] == 11.0 && it["limit_reason"] == "offline"
        })
        .await;

    let quiet = Duration::from_secs(2) + QUIET_EXTRA;
    let mut place = None;
    scene
        .until("it is asked again after the quiet time", |_| {
            place = after_pause(&scene.requests_since(0, silent), quiet);
            place.is_some()
        })
        .await;
    let requests = scene.requests_since(0, silent);
    let place = place.expect("found above");
    let (before, after) = requests.split_at(place);
    let is_safe_write = |it: &Request| is_write_of(it, SET_POINT) && it.words == [6];
    let writes = before.iter().rev().take_while(|it| is_safe_write(it)).count();
    // One more where the last order that it was sent in contact was the same.
    assert!((3..=4).contains(&writes), "three writes of min(last offer, fail-safe current), then nothing: {before:#?}");
    assert!(is_safe_write(&after[0]), "the next attempt begins with the same write: {:?}", after[0]);

    // 16 A, or one less: what the silent car draws is known within its figure only, and the rest counts as house.
    scene.until("the other one has the rest", |view| view.chargers[1].set_point >= amps(15)).await;
    let acted = before[place - 1].instant + quiet;
    let raised = set_points(&scene.requests_since(1, silent)).into_iter().find(|(_, offer)| *offer > 11);
    assert!(
        raised.expect("it was raised").0 >= acted,
        "the other one rose before the timer had certainly acted\n{}{}",
        scene.writes(),
        scene.app.log()
    );
    scene.until_status("it counts at its fail-safe current", |it| it["chargers"][0]["counted_current_a"] == 6.0).await;

    scene.faults().charger(0, ChargerFault::None);
    let log = scene.event("charger_back", "c0").await;
    assert!(log.contains("taken up by the start-up rule"), "{log}");
    scene.until("both have their share again", shared).await;
    assert_eq!(scene.house.view().chargers[0].watchdog, Some((Span::from_secs(2), amps(6))));
    assert!(scene.overload_since(silent, 25.0).highest <= amps(25), "{:?}", scene.overload_since(silent, 25.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_charger_without_a_timer_keeps_its_figure_and_is_written_to_now_and_then() {
    let setting =
        Setting { charger: vec!["fail_safe_current_a = 6\n".to_owned(), watchdog(1, 6)], ..Setting::default() };
    let scene = Scene::start(two(evse_din(), teltocharge()), setting).await;
    share_alike(&scene).await;
    let figure = scene.house.view().chargers[0].set_point;
    let silent = Instant::now();
    scene.faults().charger(0, ChargerFault::BothDead);
    scene.event("charger_lost", "c0").await;

    let is_safe_write = |it: &Request| is_write_of(it, EVSE_SET_POINT) && matches!(it.words[..], [6 | 600]);
    let mut attempts = Vec::new();
    scene
        .until("it was written to three times", |_| {
            attempts = scene.requests_since(0, silent);
            let first = attempts.iter().position(is_safe_write);
            attempts.drain(..first.unwrap_or(attempts.len()));
            attempts.len() >= 3
        })
        .await;
    assert!(attempts.iter().all(is_safe_write), "nothing but that write: {attempts:#?}");
    for pair in attempts.windows(2) {
        let pause = pair[1].instant - pair[0].instant;
        assert!((4400..31_000).contains(&pause.as_millis()), "once every 5 to 30 s, not {pause:?}");
    }
    let raised = set_points(&scene.requests_since(1, silent)).into_iter().find(|(_, offer)| *offer > 11);
    assert_eq!(raised, None, "nobody may have what it may still hold");
    let counted = scene.status().await["chargers"][0]["counted_current_a"].as_f64().map(Milliamp::from_f64);
    assert!(counted >= Some(figure), "{counted:?}");

    scene.faults().charger(0, ChargerFault::None);
    scene.event("charger_back", "c0").await;
    scene.until("it charges again as ordered", |view| view.chargers[0].highest_draw() > amps(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_charger_that_measures_nothing_costs_the_others_its_figure_and_no_more() {
    let setting =
        Setting { charger: vec!["fail_safe_current_a = 6\n".to_owned(), watchdog(1, 6)], ..Setting::default() };
    let scene = Scene::start(two(evse_din(), teltocharge()), setting).await;
    share_alike(&scene).await;
    scene.faults().charger(0, ChargerFault::BothDead);
    scene.event("charger_lost", "c0").await;
    // Its car still draws, and the meter shows it: that is no load of the house.
    scene.holds("the other one goes on", Duration::from_secs(2), |view| view.chargers[1].offered >= amps(10)).await;
    // What the house takes more is taken from the one that answers.
    scene.faults().load(Some([5.0; 3]));
    scene
        .until("the other one is cut", |view| {
            (amps(6)..=amps(8)).contains(&view.chargers[1].offered) && within_fuse(view)
        })
        .await;
    scene.holds("the fuse is kept", Duration::from_secs(1), within_fuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charger_that_hears_but_cannot_answer_is_not_kept_from_falling_to_its_programmed_current() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([10.0; 3]);
    let setting = Setting { charger: vec![watchdog(1, 8)], ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    settled(&scene, 0, 14).await;
    let silent = Instant::now();
    scene.faults().charger(0, ChargerFault::ReturnDead);
    let view = scene.until("its own timer has run out", |view| view.chargers[0].fallen).await;
    let heard = view.chargers[0].heard.expect("it was spoken to");
    let last = scene.requests_since(0, silent).into_iter().rfind(|it| it.instant <= heard).expect("the last request");
    assert!(is_write_of(&last, SET_POINT) && last.words == [8], "min(last offer, fail-safe current): {last:?}");
    scene.until("it offers what was programmed", |view| view.chargers[0].offered == amps(8)).await;
    scene.faults().charger(0, ChargerFault::None);
    scene.event("charger_back", "c0").await;
    settled(&scene, 0, 14).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_charger_is_lowered_by_what_is_too_much_and_no_further() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([10.0; 3]);
    let setting = Setting { charger: vec![watchdog(20, 14)], ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    settled(&scene, 0, 14).await;
    let silent = Instant::now();
    scene.faults().charger(0, ChargerFault::BothDead);
    scene.faults().load(Some([11.0; 3]));
    scene.event("charger_lost", "c0").await;
    scene
        .until("it was written to three times", |_| {
            let written = set_points(&scene.requests_since(0, silent));
            assert!(written.iter().all(|(_, offer)| *offer >= 12), "1 A too much: {}", scene.writes());
            written.len() >= 3
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charger_that_is_back_in_time_with_the_same_figure_goes_on_as_before() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([10.0; 3]);
    let setting = Setting { charger: vec![watchdog(20, 14)], ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    settled(&scene, 0, 14).await;
    let silent = Instant::now();
    scene.faults().charger(0, ChargerFault::BothDead);
    scene.event("charger_lost", "c0").await;
    scene.faults().charger(0, ChargerFault::None);
    let log = scene.event("charger_back", "c0").await;
    assert!(log.contains("answers again with the offer that it had"), "{log}");
    scene.holds("it is not disturbed", Duration::from_millis(500), |view| view.chargers[0].offered == amps(14)).await;
    let written = set_points(&scene.requests_since(0, silent));
    assert!(!written.is_empty() && written.iter().all(|(_, offer)| *offer == 14), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charger_that_restarts_at_32_a_is_written_to_at_once_and_its_timer_is_programmed_again() {
    let plan = Plan::quiet(vec![ChargerPlan { boot_current: amps(32), ..teltocharge() }]).with_load([10.0; 3]);
    // A restart that takes less than the silent time, on any machine.
    let timing = QUICK_TIMING.replace("charger_silent_s = 0.6", "charger_silent_s = 5");
    let setting = Setting { charger: vec![watchdog(2, 6)], timing, ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    settled(&scene, 0, 14).await;
    let programmed = Some((Span::from_secs(2), amps(6)));
    scene.until("its timer is programmed", |view| view.chargers[0].watchdog == programmed).await;
    let restarted = Instant::now();
    scene.faults().reboot(0);
    scene.event("charger_rebooted", "c0").await;
    scene
        .until("set-point and timer are as they should be", |view| {
            let it = &view.chargers[0];
            it.boots == 1 && it.set_point <= amps(14) && it.watchdog == programmed
        })
        .await;
    settled(&scene, 0, 14).await;
    scene.until_status("its timer is verified", |it| it["chargers"][0]["watchdog_verified"] == true).await;
    let overload = scene.overload_since(restarted, 25.0);
    assert!(overload.longest < Span::from_secs(2), "{overload:?}");
    assert_eq!(scene.events("second_master", "c0"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_master_is_told_apart_counted_and_not_fought_more_often_than_allowed() {
    let timing = QUICK_TIMING
        .replace("second_master_s = 2.0", "second_master_s = 10.0")
        .replace("second_master_rewrite_s = 1.0", "second_master_rewrite_s = 2.5");
    assert!(timing.contains("= 10.0") && timing.contains("= 2.5"), "{timing}");
    let setting = Setting { charger: vec![watchdog(2, 6); 2], timing, ..Setting::default() };
    let scene = Scene::start(two(teltocharge(), teltocharge()), setting).await;
    share_alike(&scene).await;
    settled(&scene, 0, 11).await;

    scene.faults().second_master(0, amps(14));
    scene.event("charger_rebooted", "c0").await;
    scene.until("it is rewritten at once", |view| view.chargers[0].set_point == amps(11)).await;
    // From here on somebody writes 14 A all the time.
    let house = scene.faults();
    let master = tokio::spawn(async move {
        loop {
            house.second_master(0, amps(14));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    scene.event("second_master", "c0").await;
    // The rewrite that goes with the event is on its way at once; the next ones are counted from here.
    let told = Instant::now();
    scene
        .until("the other one makes room for the 14 A", |view| {
            view.chargers[0].highest_draw() > amps(13) && view.chargers[1].highest_draw() < amps(9) && within_fuse(view)
        })
        .await;
    let mut writes = Vec::new();
    // Reductions are none: they are written whenever there is one.
    let rewrites = |writes: &[(Instant, u16)]| -> Vec<Instant> {
        writes.windows(2).filter(|pair| pair[1].1 >= pair[0].1).map(|pair| pair[1].0).collect()
    };
    scene
        .until("it was rewritten three times", |_| {
            writes = set_points(&scene.requests_since(0, told));
            rewrites(&writes).len() >= 3
        })
        .await;
    for pair in rewrites(&writes).windows(2) {
        assert!(pair[1] - pair[0] > Duration::from_millis(2200), "{writes:?}");
    }
    assert!(writes.iter().all(|(_, offer)| *offer <= 11), "{writes:?}");
    let before = *writes.last().expect("three");
    scene.faults().load(Some([16.0; 3]));
    let mut lowered = None;
    scene
        .until("a reduction is written", |_| {
            let writes = set_points(&scene.requests_since(0, before.0));
            lowered = writes.into_iter().find(|(_, offer)| *offer < before.1);
            lowered.is_some()
        })
        .await;
    let waited = lowered.expect("found above").0 - before.0;
    assert!(waited < Duration::from_millis(2200), "it waited for the next rewrite: {waited:?}");
    assert_eq!(scene.events("second_master", "c0"), 1, "told once");

    master.abort();
    scene.faults().load(Some([2.0; 3]));
    scene.until_status("it is forgotten", |it| it["chargers"][0]["limit_reason"] != "second_master").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_car_that_does_not_obey_is_counted_in_full_lowered_and_at_last_taken_off_the_supply() {
    let setting = Setting { charger: vec![watchdog(2, 6); 2], ..Setting::default() };
    let scene = Scene::start(two(teltocharge(), teltocharge()), setting).await;
    share_alike(&scene).await;
    let since = Instant::now();
    scene.faults().obey(0, Obedience::Stuck(amps(15)));
    scene
        .until("the other one makes room", |view| view.chargers[0].highest_draw() > amps(14) && within_fuse(view))
        .await;
    scene.event("not_obeying", "c0").await;
    scene.until("its offer is lowered by the excess", |view| view.chargers[0].set_point <= amps(7)).await;
    scene
        .until("it is taken off the supply", |view| {
            let stop = scene.faults().peek(0, STOP_REQUEST);
            view.chargers[0].set_point == Milliamp::ZERO
                && stop == Some(1)
                && view.chargers[0].highest_draw() == Milliamp::ZERO
        })
        .await;
    let offers: Vec<u16> = set_points(&scene.requests_since(0, since)).into_iter().map(|(_, offer)| offer).collect();
    let down = offers.is_sorted_by(|before, after| before >= after);
    assert!(down && offers.first() <= Some(&11), "never more than it had: {offers:?}");
    // From 10 A on the excess of 5 A leaves less than a car can use, which is 0.
    assert!(offers.iter().any(|offer| (6..=10).contains(offer)), "lowered before it is stopped: {offers:?}");
    let overload = scene.overload_since(since, 25.0);
    assert!(overload.longest < Span::from_secs(2), "{overload:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_car_that_does_not_obey_for_the_second_time_stays_at_0_until_it_is_unplugged() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([2.0; 3]);
    let setting = Setting { fuse_a: 20.0, charger: vec![watchdog(2, 6)], ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    settled(&scene, 0, 17).await;
    scene.faults().obey(0, Obedience::DrawsMore(amps(4)));
    let opened = |view: &View| {
        let it = &view.chargers[0];
        it.set_point == Milliamp::ZERO && it.highest_draw() == Milliamp::ZERO
    };
    scene.until("it is stopped", opened).await;
    scene.until("it is trusted once more", |view| view.chargers[0].highest_draw() > amps(6)).await;
    scene.until("it is stopped again", opened).await;
    assert_eq!(scene.events("not_obeying", "c0"), 2, "{}{}", scene.writes(), scene.app.log());
    scene.until_status("why", |it| it["chargers"][0]["limit_reason"] == "not_obeying").await;
    // Twice the obedience that was enough for the first time.
    scene.holds("it stays at 0", Duration::from_secs(4), opened).await;
    scene.faults().unplug(0);
    scene.faults().obey(0, Obedience::Obeys);
    scene.until_status("the car has gone", |it| it["chargers"][0]["status"] == "disconnected").await;
    scene.faults().plug(0);
    settled(&scene, 0, 17).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charger_s_own_limits_bound_what_it_is_offered() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([10.0; 3]);
    let scene = Scene::start(plan, Setting { charger: vec![watchdog(2, 6)], ..Setting::default() }).await;
    settled(&scene, 0, 14).await;
    for (register, limit) in [(12, 10), (29, 8)] {
        assert!(scene.faults().poke(0, register, limit));
        settled(&scene, 0, i32::from(limit)).await;
        scene
            .until_status("that it is the box's own limit", |status| {
                let it = &status["chargers"][0];
                it["limit_reason"] == "charger_limit" && it["offered_current_a"] == f64::from(limit)
            })
            .await;
    }
    assert!(scene.faults().poke(0, 12, 32) && scene.faults().poke(0, 29, 32));
    settled(&scene, 0, 14).await;
    assert_eq!(scene.events("second_master", "c0") + scene.events("charger_rebooted", "c0"), 0, "it is never fought");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charger_s_timer_is_programmed_at_start_and_whenever_it_is_found_otherwise() {
    let plan = Plan::quiet(vec![teltocharge()]).with_load([10.0; 3]);
    let scene = Scene::start(plan, Setting { charger: vec![watchdog(2, 7)], ..Setting::default() }).await;
    let programmed = |view: &View| view.chargers[0].watchdog == Some((Span::from_secs(2), amps(7)));
    let verified = |status: &serde_json::Value| status["chargers"][0]["watchdog_verified"] == true;
    scene.until("its timer is programmed", programmed).await;
    scene.until_status("it is verified", verified).await;

    // The maker's application sets it, one register after the other.
    assert!(scene.faults().poke(0, FAIL_SAFE, 32));
    scene.until("the current is corrected", programmed).await;
    assert!(scene.faults().poke(0, TIMEOUT, 0));
    scene.until("the time is corrected", programmed).await;
    scene.until_status("it is verified again", verified).await;

    // The charger loses its supply where nobody sees it.
    let lost = Instant::now();
    scene.faults().charger(0, ChargerFault::Unreachable);
    scene.event("charger_lost", "c0").await;
    scene.faults().reboot(0);
    scene.until("it has forgotten", |view| view.chargers[0].watchdog == Some((Span::from_secs(30), amps(6)))).await;
    scene.faults().charger(0, ChargerFault::None);
    scene.until("it is programmed after the reconnect", programmed).await;
    scene.until_status("it is verified after the reconnect", verified).await;
    let first = scene.requests_since(0, lost).into_iter().next().expect("it was spoken to");
    assert!(is_write_of(&first, SET_POINT), "the attempt begins with the set-point: {first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_box_on_a_shared_wire_does_not_slow_the_others() {
    let mut chargers: Vec<ChargerPlan> = (1..=3).map(|unit| teltocharge().at_unit(unit)).collect();
    // Nobody could stop it if it charged.
    chargers[1].car.at_start = CarAtStart::Away;
    let mut plan = Plan::quiet(Vec::new()).with_load([2.0; 3]);
    plan.buses = vec![BusPlan { link: BusLink::Rtu, chargers }];
    // The dead one was never heard and counts at all that it may offer: 32 A are not for the others.
    let setting = Setting { fuse_a: 64.0, charger: vec![watchdog(2, 6); 3], ..Setting::default() };
    let scene = Scene::start_into(plan, setting, |faults| faults.charger(1, ChargerFault::BothDead)).await;
    scene.until("the others charge", |view| [0, 2].iter().all(|it| view.chargers[*it].highest_draw() > amps(10))).await;
    let since = Instant::now();
    let asked = |charger| scene.requests_since(charger, since).len();
    scene.until("the living were asked often", |_| asked(0) >= 20 && asked(2) >= 20).await;
    assert!(asked(1) * 3 <= asked(0), "the dead one was asked {} times, a living one {} times", asked(1), asked(0));

    scene.faults().load(Some([17.0; 3]));
    scene
        .until("both are cut", |view| {
            [0, 2].iter().all(|it| (amps(6)..=amps(8)).contains(&view.chargers[*it].offered))
                && view.grid.0.iter().all(|it| *it <= amps(32))
        })
        .await;
    scene.faults().charger(1, ChargerFault::None);
    scene
        .until("it is taken up as well", |view| {
            // No car is there, so it is to fall to nothing.
            view.chargers[1].writes > 0 && view.chargers[1].watchdog == Some((Span::from_secs(2), amps(0)))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rtu_frames_over_tcp_serve_both_kinds_of_charger() {
    let mut plan = Plan::quiet(Vec::new()).with_load([2.0; 3]);
    plan.buses =
        vec![BusPlan { link: BusLink::RtuOverTcp, chargers: vec![teltocharge().at_unit(4), evse_din().at_unit(9)] }];
    let setting =
        Setting { charger: vec![watchdog(2, 6), "fail_safe_current_a = 6\n".to_owned()], ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    share_alike(&scene).await;
    scene.faults().load(Some([10.0; 3]));
    scene
        .until("both are cut", |view| {
            view.chargers.iter().all(|it| (amps(6)..amps(8)).contains(&it.offered)) && within_fuse(view)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_without_a_timer_that_starts_above_its_fail_safe_current_stands_as_a_risk() {
    let car = CarPlan::swift().at_start(CarAtStart::Away);
    let plan =
        Plan::quiet(vec![ChargerPlan { kind: BoxKind::EvseDin { firmware: 16 }, ..ChargerPlan::teltocharge(car) }]);
    let broker = Broker::start().await;
    let mqtt = format!("mqtt://{}", broker.address);
    let setting = Setting { charger: vec!["fail_safe_current_a = 6\n".to_owned()], mqtt, ..Setting::default() };
    let scene = Scene::start(plan, setting).await;
    let named = |status: &serde_json::Value| {
        let risks = status["risks"].as_array().cloned().unwrap_or_default();
        risks.iter().any(|it| it.as_str().is_some_and(|it| it.contains("c0") && it.contains("register 2000")))
    };
    scene.until_status("the risk", named).await;
    scene.event("risk", "c0").await;
    let peer = Peer::connect(broker.address, "gridkeeper/bridge/info").await;
    let in_info = |info: &serde_json::Value| info["risks"].as_str().is_some_and(|it| it.contains("register 2000"));
    peer.json("gridkeeper/bridge/info", in_info).await;
    assert!(scene.faults().poke(0, 2000, 6));
    scene.faults().charger(0, ChargerFault::Unreachable);
    scene.event("charger_lost", "c0").await;
    scene.faults().charger(0, ChargerFault::None);
    scene
        .until_status("no risk any more", |status| !named(status) && status["chargers"][0]["status"] != "offline")
        .await;
    let mark = peer.mark();
    peer.json_after(mark, "gridkeeper/bridge/info", |info| !in_info(info)).await;
}

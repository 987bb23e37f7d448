//! Rows: charger silent and back; what it counts at meanwhile.

use gridkeeper::command::Contact;
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Mono, Phases, Span};
use gridkeeper::reading::{ChargerObservation, ChargerReport, Observation, PilotState};

use crate::site::{SECOND, Site, amps, setup};

/// Two cars at 11 A each behind 24.5 A less 2 A of house; the first one's link goes.
fn two() -> Site {
    let site = Site::charging(setup(2));
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    site
}

#[test]
fn silent_after_five_seconds_counted_from_the_first_failure() {
    let mut site = two();
    let heard = site.now - Span::from_secs(1);
    site.sims[0].hears = false;
    site.run(4);
    assert_eq!(site.told(EventType::ChargerLost, heard), None);
    assert_eq!(site.counted(0), 11.0);
    site.run(2);
    assert_eq!(site.told(EventType::ChargerLost, heard), Some(5.0));
    assert_eq!(
        (site.counted(0), site.offer(0)),
        (11.0, 6.0),
        "told min(last offer, fail-safe), counted at what it had"
    );
    assert_eq!(site.reason(0), "offline");
    assert_eq!(site.offer(1), 11.0, "the other one does not get what the silent one may still draw");
}

/// A wrong address or a cable that was forgotten is no charger that was lost: it says so for as long as it lasts.
#[test]
fn one_that_never_answered_says_so_and_how_much_it_counts_at() {
    let mut site = Site::new(setup(2));
    site.sims[0].hears = false;
    site.run(2);
    let told = |site: &Site| (site.reason(0), site.status(0).reason.to_string());
    assert_eq!(told(&site), ("start_up", "0 A: the charger has not answered since the start".to_owned()));
    site.run(600);
    let (word, sentence) = told(&site);
    assert_eq!((word, site.counted(0)), ("offline", 16.0));
    assert!(sentence.ends_with("it counts as 16 A, all that it may offer, until it does"), "{sentence}");
    site.sims[0].hears = true;
    site.run(120);
    site.sims[0].hears = false;
    site.run(20);
    let (word, sentence) = told(&site);
    assert_eq!(word, "offline");
    assert!(sentence.contains("the charger does not answer; it counts as"), "{sentence}");
}

#[test]
fn three_writes_then_nothing_for_the_watchdog_and_ten_seconds_then_its_fail_safe_current() {
    let mut site = two();
    let before = site.sims[0].writes.len();
    site.sims[0].hears = false;
    site.run(9);
    assert_eq!(site.contact(0), Contact::Quiet);
    let writes: Vec<_> = site.sims[0].writes[before..].iter().map(|(_, offer)| *offer).collect();
    assert_eq!(writes, [amps(6.0); 3]);
    // The third write failed at the seventh second, so quiet lasts until the 47th.
    let quiet_since = site.now;
    let sent = site.sims[0].sent;
    site.run(38);
    assert_eq!(site.sims[0].sent, sent, "any telegram would feed the watchdog");
    assert_eq!((site.contact(0), site.counted(0)), (Contact::Quiet, 11.0));
    site.run(2);
    assert!(matches!(site.contact(0), Contact::WriteFirst(_)));
    assert_eq!(site.counted(0), 6.0);
    site.run(20);
    assert_eq!(site.offer(1), 16.0, "now the other one may have the rest");
    assert!(site.sims[0].sent > sent, "tried again");
    let attempts = site.sims[0].writes.iter().filter(|(at, _)| *at > quiet_since);
    assert!(attempts.clone().all(|(_, offer)| *offer == amps(6.0)));
    site.run(600);
    assert!(attempts_every(&site, quiet_since + Span::from_secs(120)).iter().all(|gap| (5..=31).contains(gap)));
}

fn attempts_every(site: &Site, since: Mono) -> Vec<i64> {
    let at: Vec<i64> = site.sims[0].writes.iter().filter(|(at, _)| *at > since).map(|(at, _)| at.0 / 1000).collect();
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_dead_return_line_ends_in_the_same_known_current() {
    let mut site = two();
    site.sims[0].answers = false;
    site.run(9);
    assert_eq!(site.sims[0].drawn, amps(6.0), "the writes reach it");
    site.run(45);
    assert_eq!(site.sims[0].drawn, amps(6.0), "its watchdog holds it there");
    assert_eq!(site.counted(0), 6.0);
}

#[test]
fn while_one_is_silent_the_others_take_the_whole_cut() {
    let mut site = two();
    site.sims[0].hears = false;
    site.run(3);
    site.house = Phases::all(amps(6.0));
    site.run(2);
    assert_eq!(site.counted(0), 11.0);
    assert_eq!(site.offer(1), 7.0);
}

#[test]
fn without_a_watchdog_it_counts_at_its_last_offer_for_ever() {
    let mut setup = setup(2);
    setup.chargers[0].watchdog = None;
    let mut site = Site::charging(setup);
    let before = site.sims[0].writes.len();
    site.sims[0].hears = false;
    site.run(900);
    assert_eq!(site.counted(0), 11.0);
    assert!(site.offer(1) <= 11.0);
    assert!(site.sims[0].writes[before..].iter().all(|(_, offer)| *offer == amps(6.0)));
    let gaps = attempts_every(&site, Mono(70_000));
    assert!(gaps.iter().all(|gap| (5..=30).contains(gap)), "one write every 5 to 30 s: {gaps:?}");
}

#[test]
fn an_unverified_watchdog_is_no_reason_to_believe_in_it() {
    let mut setup = setup(2);
    setup.chargers[0].watchdog = Some(Span::from_secs(20));
    let mut site = Site::charging(setup);
    assert_eq!(site.status(0).watchdog_verified, Some(false), "the box says 30 s");
    assert!(site.status(1).watchdog_verified == Some(true));
    site.sims[0].hears = false;
    site.run(300);
    assert_eq!(site.counted(0), 11.0);
}

#[test]
fn back_with_the_same_figure_within_the_watchdog_goes_on_as_before() {
    let mut setup = setup(2);
    setup.chargers[0].fail_safe = amps(16.0);
    let mut site = Site::charging(setup);
    site.sims[0].hears = false;
    site.run(7);
    assert_eq!(site.count(EventType::ChargerLost), 1);
    site.sims[0].hears = true;
    site.run(2);
    assert_eq!(site.count(EventType::ChargerBack), 1);
    assert_eq!(site.offer(0), 11.0);
}

#[test]
fn back_with_another_figure_is_the_start_up_rule() {
    let mut site = two();
    site.sims[0].hears = false;
    site.run(120);
    site.sims[0].hears = true;
    let since = site.now;
    let verify = site.command(0).verify_watchdog;
    while site.told(EventType::ChargerBack, since).is_none() {
        site.tick();
        assert!(site.now.since(since) < Span::from_secs(40), "asked again within 30 s");
    }
    assert!(site.offer(0) <= 6.0);
    assert_ne!(site.command(0).verify_watchdog, verify, "its timer is verified anew");
    let frames = site.now;
    while site.offer(0) <= 6.0 {
        site.tick();
    }
    assert!(site.now.since(frames) >= Span::from_secs(2), "three good frames first");
    site.run(60);
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
}

#[test]
fn one_lost_telegram_is_nothing() {
    let mut site = two();
    for _ in 0..20 {
        site.sims[0].hears = false;
        site.tick();
        site.sims[0].hears = true;
        site.run(3);
        assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    }
    assert_eq!(site.events, []);
}

#[test]
fn a_set_point_read_back_above_ours_is_counted_rewritten_and_told() {
    let mut site = two();
    let (rewrite, verify) = (site.command(0).rewrite, site.command(0).verify_watchdog);
    site.sims[0].set_point = amps(32.0);
    site.tick();
    assert_eq!(site.count(EventType::ChargerRebooted), 1);
    assert_eq!(site.counted(0), 32.0);
    assert_eq!(site.command(0).rewrite, rewrite + 1);
    assert_eq!(site.command(0).verify_watchdog, verify + 1);
    assert_eq!(site.offer(0), 11.0);
    site.run(10);
    assert_eq!(site.sims[0].set_point, amps(11.0));
    assert_eq!((site.counted(0), site.offer(1)), (11.0, 11.0));
}

#[test]
fn a_set_point_that_rises_while_ours_is_refused_counts_and_is_told() {
    let mut site = two();
    site.sims[0].refuses = true;
    for (foreign, seconds) in [(14.0, 5), (22.0, 3)] {
        site.sims[0].set_point = amps(foreign);
        site.run(seconds);
        assert_eq!((site.counted(0), site.offer(0)), (foreign, 11.0));
    }
    assert_eq!(site.count(EventType::ChargerRebooted), 1, "one and the same refusal");
    site.run(20);
    assert_eq!(site.count(EventType::NotObeying), 1, "it draws 22 A and takes no order");
    site.run(30);
    assert_eq!((site.offer(0), site.command(0).open), (0.0, true));
    assert!(site.counted(0) >= 22.0);
}

#[test]
fn a_timer_that_becomes_unreadable_is_not_relied_on() {
    let mut site = two();
    assert_eq!(site.status(0).watchdog_verified, Some(true));
    site.sims[0].timer_is_unreadable = true;
    site.run(2);
    assert_eq!(site.status(0).watchdog_verified, Some(false));
    site.run(20);
    assert_eq!(site.count(EventType::WatchdogFailed), 1);
    let held = site.counted(0);
    site.sims[0].answers = false;
    site.sims[0].hears = false;
    site.run(120);
    assert!(site.counted(0) >= held, "nothing says that it has fallen: {} A, {held} A before", site.counted(0));
}

#[test]
fn what_is_told_of_a_foreign_set_point_is_true_of_the_box() {
    for (watchdog, told) in [(Some(Span::from_secs(30)), "its timer is verified anew"), (None, "it has no timer")] {
        let mut setup = setup(1);
        setup.chargers[0].watchdog = watchdog;
        let mut site = Site::charging(setup);
        site.sims[0].set_point = amps(32.0);
        site.tick();
        let events = &site.controller.decision().events;
        let event = events.iter().find(|it| it.event_type == EventType::ChargerRebooted).expect("it is told");
        assert!(event.detail.contains("32 A") && event.detail.contains("or somebody else wrote it"), "{event:?}");
        assert_eq!((event.detail.contains(told), event.detail.contains("timer")), (true, true), "{event:?}");
    }
}

#[test]
fn a_pilot_that_offers_more_than_the_register_says_counts_and_is_rewritten() {
    let mut site = two();
    let rewrite = site.command(0).rewrite;
    site.sims[0].shows = Some(amps(32.0));
    site.run(2);
    assert_eq!(site.counted(0), 32.0);
    assert_eq!((site.command(0).rewrite, site.offer(0)), (rewrite + 1, 11.0));
    site.sims[0].shows = Some(amps(11.0));
    site.run(10);
    assert_eq!(site.counted(0), 11.0, "it is believed again");
}

#[test]
fn a_second_master_is_rewritten_once_a_minute_and_forgotten_after_ten_minutes() {
    let mut site = two();
    site.sims[0].other_master = Some(amps(16.0));
    site.run(2);
    assert_eq!(site.count(EventType::ChargerRebooted), 1);
    site.run(3);
    assert_eq!(site.count(EventType::SecondMaster), 1);
    assert_eq!(site.reason(0), "second_master");
    let before = site.sims[0].writes.len();
    site.run(300);
    let writes = site.sims[0].writes.len() - before;
    assert!((4..=6).contains(&writes), "{writes} writes in 5 minutes");
    assert_eq!(site.counted(0), 16.0);
    // A reduction does not wait for its minute.
    site.house = Phases::all(amps(15.0));
    site.run(2);
    assert!(
        site.sims[0]
            .writes
            .last()
            .is_some_and(|(at, offer)| *offer < amps(11.0) && *at >= site.now - Span::from_secs(2))
    );
    site.house = Phases::all(amps(2.0));
    site.sims[0].other_master = None;
    site.run(300);
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0], "raised again, once a minute");
    site.sims[0].set_point = amps(16.0);
    site.run(2);
    assert_eq!(site.count(EventType::ChargerRebooted), 1, "still the second master");
    site.run(601);
    site.sims[0].set_point = amps(16.0);
    site.run(2);
    assert_eq!(site.count(EventType::ChargerRebooted), 2, "forgotten after ten quiet minutes");
}

#[test]
fn a_charger_never_heard_counts_at_all_it_may_offer_is_told_once_and_not_fed_for_ever() {
    for watchdog in [None, Some(Span::from_secs(30))] {
        let mut setup = setup(2);
        setup.chargers[0].watchdog = watchdog;
        let mut site = Site::new(setup);
        // It offers 16 A to a car that sleeps; its answers do not come back.
        site.sims[0].set_point = amps(16.0);
        site.sims[0].answers = false;
        site.sims[0].watchdog = gridkeeper::reading::Watchdog { timeout: Span::ZERO, fail_safe: amps(0.0) };
        let mut highest: f64 = 0.0;
        for _ in 0..5 {
            site.tick();
            highest = highest.max(site.offer(1));
        }
        assert!(highest <= 6.5, "raised to {highest} A while nobody knows what the other one offers");
        site.run(10);
        assert_eq!(site.count(EventType::ChargerLost), 1);
        assert_eq!(site.reason(0), "offline");
        assert_eq!((site.counted(0), site.offer(0)), (16.0, 6.0));
        site.run(600);
        assert_eq!(site.count(EventType::ChargerLost), 1, "told once");
        assert_eq!(site.counted(0), 16.0, "no timer was verified");
        assert!(site.offer(1) <= 24.5 - 2.0 - 16.0, "{}", site.offer(1));
        assert!(site.sims[0].writes.iter().all(|(_, offer)| *offer == amps(6.0)));
        let gaps = attempts_every(&site, Mono(120_000));
        let rest = if watchdog.is_some() { 40..=41 } else { 5..=30 };
        assert!(!gaps.is_empty() && gaps.iter().all(|gap| rest.contains(gap)), "{watchdog:?}: {gaps:?}");
        // Once it is heard it is taken up by the start-up rule.
        site.sims[0].answers = true;
        site.run(120);
        assert_eq!(site.count(EventType::ChargerBack), 1);
        assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    }
}

#[test]
fn a_charger_that_may_not_charge_is_not_raised_by_the_write_that_looks_for_it() {
    let mut site = Site::new(setup(1));
    site.set("charger/c0/set/mode", "off");
    site.sims[0].answers = false;
    site.run(100);
    assert!(!site.sims[0].writes.is_empty());
    assert!(site.sims[0].writes.iter().all(|(_, offer)| *offer == amps(0.0)));
}

#[test]
fn a_device_task_that_says_nothing_at_all_is_a_silent_charger() {
    let mut site = two();
    let heard = site.now - Span::from_secs(1);
    site.sims[0].task_is_dead = true;
    site.run(4);
    assert_eq!(site.told(EventType::ChargerLost, heard), None);
    site.run(2);
    assert_eq!(site.told(EventType::ChargerLost, heard), Some(5.0));
    assert_eq!((site.counted(0), site.reason(0)), (11.0, "offline"));
    site.sims[0].task_is_dead = false;
    site.run(60);
    assert_eq!(site.count(EventType::ChargerBack), 1);
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    // One that never said a word.
    let mut site = Site::new(setup(2));
    site.sims[0].task_is_dead = true;
    site.run(60);
    assert_eq!((site.count(EventType::ChargerLost), site.counted(0)), (1, 16.0));
    assert!(site.offer(1) <= 6.5);
}

#[test]
fn a_slow_round_is_not_a_silence() {
    let mut site = two();
    for round in 0..60 {
        // The round grows to eight seconds, as on a bus where others time out.
        let gap = (round / 3).min(7);
        site.sims[0].task_is_dead = true;
        site.run(gap);
        site.sims[0].task_is_dead = false;
        site.tick();
    }
    assert_eq!(site.count(EventType::ChargerLost), 0);
}

#[test]
fn the_figure_of_a_second_master_counts_although_the_car_takes_less() {
    let mut site = two();
    site.sims[0].car_max = amps(9.0);
    site.run(30);
    assert!(site.offer(1) >= 12.0, "{}", site.offer(1));
    site.sims[0].other_master = Some(amps(16.0));
    site.run(5);
    for _ in 0..200 {
        site.tick();
        assert_eq!(site.counted(0), 16.0);
    }
    assert!(site.offer(1) <= 6.5, "{}", site.offer(1));
    site.sims[0].other_master = None;
    site.run(70);
    assert!(site.counted(0) <= 11.0, "released when it is read back as ordered");
}

#[test]
fn the_first_minute_of_a_second_master_sees_one_rewrite() {
    let mut site = two();
    let before = site.sims[0].writes.len();
    site.sims[0].other_master = Some(amps(16.0));
    site.run(58);
    assert_eq!(site.sims[0].writes.len() - before, 1, "{:?}", &site.sims[0].writes[before..]);
    site.run(5);
    assert_eq!(site.sims[0].writes.len() - before, 2);
}

#[test]
fn a_small_excess_of_two_silent_chargers_is_cut_once() {
    let mut setup = setup(2);
    setup.circuits[0].fuse = Some(amps(40.0));
    for charger in &mut setup.chargers {
        (charger.fail_safe, charger.max_current, charger.settings.max_current) = (amps(16.0), amps(16.0), amps(16.0));
    }
    let mut site = Site::charging(setup);
    assert_eq!([site.offer(0), site.offer(1)], [16.0, 16.0]);
    site.sims[0].answers = false;
    site.sims[1].answers = false;
    site.run(8);
    site.house = Phases::all(amps(7.6));
    site.run(60);
    assert_eq!(site.offer(0) + site.offer(1), 31.0, "0.1 A too much are one step: {} {}", site.offer(0), site.offer(1));
}

/// What an unmeasured car drew when it was last heard is no knowledge of the silence: taken for it, the load that came
/// meanwhile would look like the car until six seconds after its return, and its start would be given room twice.
#[test]
fn the_last_draw_of_an_unmeasured_car_makes_no_room_when_its_charger_comes_back() {
    let mut started = 0;
    for jump_at in 35..75 {
        let mut setup = setup(2);
        setup.chargers[0].measures = false;
        setup.chargers[0].fail_safe = amps(0.0);
        let mut site = Site::charging(setup);
        site.sims[0].hears = false;
        site.sims[0].state = PilotState::A;
        for second in 0..100 {
            if second == 34 {
                site.sims[0].hears = true;
                site.sims[0].state = PilotState::B;
            }
            if second == jump_at {
                site.house = Phases::all(amps(3.5));
            }
            site.tick();
            let sum = site.counted(0) + site.counted(1);
            let since = Mono(60_000 + jump_at * 1_000);
            let back_later = second > jump_at && site.told(EventType::ChargerBack, since).is_some();
            if back_later && site.offer(0) > 0.0 {
                started += 1;
                assert!(sum <= 24.5 - 3.5, "{sum} A after {second} s, 3.5 A of house since {jump_at} s");
            }
        }
    }
    assert!(started > 0, "the car was started in some of these histories");
}

#[test]
fn what_an_unmeasured_car_gives_back_is_free_when_the_meter_has_shown_it() {
    let mut setup = setup(2);
    setup.chargers[0].measures = false;
    let mut site = Site::new(setup);
    site.period = 10;
    site.run(301);
    assert_eq!([site.offer(0), site.offer(1)], [11.0, 11.0]);
    site.set("charger/c0/set/max_current_a", "6");
    while site.offer(1) == 11.0 {
        site.tick();
        assert!(site.now < Mono(400_000), "never raised");
    }
    // Shown at 302 s; the first frame six seconds after that is the one of 310 s.
    assert!(site.now - SECOND >= Mono(310_000), "raised at {:?}", site.now - SECOND);
}

#[test]
fn a_charger_that_comes_back_waits_for_three_frames() {
    let mut site = Site::new(setup(1));
    site.period = 10;
    site.run(201);
    assert_eq!(site.offer(0), 16.0);
    site.sims[0].hears = false;
    site.run(100);
    site.sims[0].hears = true;
    let since = site.now;
    while site.told(EventType::ChargerBack, since).is_none() {
        site.tick();
        assert!(site.now.since(since) < Span::from_secs(60), "never back");
    }
    let found = site.offer(0);
    assert!(found <= 6.0, "{found}");
    let mut frames = 0;
    while site.offer(0) <= found {
        frames += u32::from((site.now.0 / 1000) % site.period == 0);
        site.tick();
        assert!(site.now.since(since) < Span::from_secs(200), "never raised");
    }
    assert!(frames >= 3, "raised after {frames}");
}

/// It says what stood there before our write arrived.
#[test]
fn a_read_that_was_begun_before_our_write_was_confirmed_shows_no_other_master() {
    let mut site = Site::charging(setup(1));
    site.set("charger/c0/set/max_current_a", "8");
    site.tick();
    site.sims[0].task_is_dead = true;
    let sent = site.now;
    let report = |read_begun, received_at| {
        let report = ChargerReport {
            read_begun,
            received_at,
            state: PilotState::C,
            set_point: Some(amps(16.0)),
            current: Phases::all(Some(amps(16.0))),
            ..ChargerReport::default()
        };
        Observation::Charger(0, ChargerObservation::Report(report))
    };
    let written = ChargerObservation::Written { offer: amps(8.0), sent_at: sent, at: sent + Span(400) };
    site.now = sent + Span(500);
    site.step(&[Observation::Charger(0, written), report(sent, site.now)]);
    assert_eq!(site.count(EventType::ChargerRebooted), 0);
    site.now = sent + Span(900);
    site.step(&[report(sent + Span(400), site.now)]);
    assert_eq!(site.count(EventType::ChargerRebooted), 1);
}

#[test]
fn a_car_that_has_charged_and_ended_by_itself_is_not_woken() {
    let mut site = Site::charging(setup(1));
    site.sims[0].car_max = amps(0.0);
    for _ in 0..300 {
        site.tick();
        assert!(site.offer(0) >= 6.0, "its pilot was taken away at {:?}", site.now);
    }
    assert_eq!(site.count(EventType::CarNotStarting), 0);
}

//! What the box itself says bounds its offer, and is never fought.

use gridkeeper::event::EventType;
use gridkeeper::quantity::Phases;
use gridkeeper::reading::{ChargerObservation, ChargerReport, Observation, OwnLimit};

use crate::site::{Site, amps, setup};

/// Half a minute in which its reports say this as well; what it is offered then, and why.
fn says(site: &mut Site, change: impl Fn(&mut ChargerReport)) -> (f64, &'static str) {
    for _ in 0..30 {
        let sim = &site.sims[0];
        let mut report = ChargerReport {
            read_begun: site.now,
            received_at: site.now,
            state: sim.state,
            current: Phases::all(Some(sim.drawn)),
            ..ChargerReport::default()
        };
        change(&mut report);
        site.tick_with(&[Observation::Charger(0, ChargerObservation::Report(report))]);
    }
    (site.offer(0), site.reason(0))
}

#[test]
fn a_limit_of_its_own_bounds_the_offer_and_says_why() {
    let mut site = Site::charging(setup(1));
    for (cause, word) in [
        (Some(OwnLimit::Cable), "cable"),
        (Some(OwnLimit::Temperature), "temperature"),
        (Some(OwnLimit::Setting), "charger_limit"),
        (None, "charger_limit"),
    ] {
        let limited = says(&mut site, |report| (report.own_limit, report.own_limit_cause) = (Some(amps(10.0)), cause));
        assert_eq!(limited, (10.0, word));
        assert_eq!(says(&mut site, |_| {}), (16.0, "none"));
    }
    assert_eq!(site.count(EventType::SecondMaster) + site.count(EventType::ChargerRebooted), 0);
}

#[test]
fn a_session_that_nobody_authorised_is_offered_nothing() {
    let mut site = Site::new(setup(1));
    let waits = says(&mut site, |report| report.needs_authorization = true);
    assert_eq!(waits, (0.0, "authorization"));
    assert_eq!(says(&mut site, |_| {}), (16.0, "none"));
}

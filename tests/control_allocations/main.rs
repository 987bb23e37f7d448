//! A step of the controller allocates nothing once it is warm: no pause and no growth, however long it runs.

mod garage;

use gridkeeper::control::Controller;

use garage::{Garage, setup};

#[test]
fn a_warm_step_allocates_nothing() {
    for count in [0, 1, 5, 20] {
        let mut controller = Controller::new(setup(count), Garage::start());
        let mut garage = Garage::new(count, false);
        for _ in 0..600 {
            garage.second(&mut controller);
        }
        let mut charging = 0;
        let info = allocation_counter::measure(|| {
            for _ in 0..600 {
                charging = garage.second(&mut controller);
            }
        });
        assert_eq!(charging > 0, count > 0, "cars charge, so that the steps are not idle");
        assert_eq!(info.count_total, 0, "{count} chargers: {info:?}");
    }
}

#[test]
fn a_busy_house_allocates_for_its_events_only() {
    let mut controller = Controller::new(setup(20), Garage::start());
    let mut garage = Garage::new(20, true);
    for _ in 0..600 {
        garage.second(&mut controller);
    }
    let mut events = 0;
    let info = allocation_counter::measure(|| {
        for _ in 0..600 {
            garage.second(&mut controller);
            events += controller.decision().events.len() as u64;
        }
    });
    // Subject, sentence and what it grows by while it is written.
    assert!(info.count_total <= events * 12, "{events} events, {info:?}");
}

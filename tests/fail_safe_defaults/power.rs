//! A power that nobody measured is not told: current times a usual voltage is no reading.

use gridkeeper::control::{MeterSetup, SiteStatus};
use gridkeeper::quantity::{Millivolt, Phases, Watt};
use gridkeeper::reading::{MeterReading, Observation, PilotState};

use crate::site::{Site, amps, setup};

fn of(site: &Site) -> SiteStatus {
    site.controller.decision().site.expect("the site has a state")
}

#[test]
fn of_a_car_whose_power_is_not_measured_neither_its_power_nor_the_sites_surplus_is_told() {
    for measures in [true, false] {
        let mut setup = setup(2);
        setup.chargers.iter_mut().for_each(|it| it.measures = measures);
        let mut site = Site::charging(setup);
        assert!(site.offer(0) >= 6.0);
        assert_eq!((site.status(0).power, of(&site).charging, of(&site).surplus), (None, None, None));
        for sim in &mut site.sims {
            (sim.state, sim.drawn) = (PilotState::A, amps(0.0));
        }
        site.run(5);
        // 2 A of house on each phase.
        assert_eq!((of(&site).charging, of(&site).surplus), (Some(Watt(0)), Some(Watt(-1380))));
    }
}

#[test]
fn a_chargers_own_meter_tells_its_power_until_it_is_lost() {
    let mut setup = setup(1);
    setup.chargers[0].measures = false;
    setup.chargers[0].meter = Some(1);
    setup.meters.push(MeterSetup { id: "c0-meter".to_owned(), ..setup.meters[0].clone() });
    let mut site = Site::charging(setup);
    for _ in 0..10 {
        let drawn = site.sims[0].drawn;
        let reading = MeterReading {
            received_at: site.now,
            current: Phases::all(Some(drawn)),
            current_signed: true,
            voltage: Phases::all(Some(Millivolt(228_000))),
            power: Phases::all(Some(Watt(3_600))),
            power_total: Some(Watt(10_800)),
            ..MeterReading::default()
        };
        site.tick_with(&[Observation::Meter(1, reading)]);
    }
    assert_eq!(site.status(0).power, Some(Watt(10_800)));
    assert_eq!(of(&site).charging, Some(Watt(10_800)));
    assert!(of(&site).surplus.is_some());
    site.run(30);
    assert_eq!((site.status(0).power, of(&site).charging, of(&site).surplus), (None, None, None));
}

#[test]
fn a_lost_grid_meter_tells_no_surplus() {
    let mut site = Site::new(setup(0));
    site.run(5);
    assert!(of(&site).surplus.is_some());
    site.fault = crate::site::MeterFault::Silent;
    site.run(15);
    assert_eq!(of(&site).surplus, None);
}

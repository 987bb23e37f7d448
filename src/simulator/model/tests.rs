use super::*;
use crate::quantity::{Phase, WattHour};
use crate::reading::PilotState;
use crate::simulator::plan::{BusLink, BusPlan, CarAtStart, CarPlan, ChargerPlan, HousePlan, Plan};

fn house_with(chargers: Vec<ChargerPlan>) -> House {
    House::new(&Plan {
        seed: 3,
        speed: 1.0,
        house: HousePlan { fixed_load: Some(Phases::all(Milliamp(1500))), ..HousePlan::empty() },
        meter: None,
        buses: vec![BusPlan { link: BusLink::Tcp, chargers }],
    })
}

fn run(house: &mut House, seconds: i64) {
    let to = house.now() + Span::from_secs(seconds);
    house.advance(to);
}

#[test]
fn a_step_of_16_a_settles_under_the_offer_after_the_reaction_and_not_before() {
    let car = CarPlan { max_current: Milliamp::from_amps(32), ..CarPlan::usual() };
    let mut house =
        house_with(vec![ChargerPlan::teltocharge(car.at_start(CarAtStart::Charging(Milliamp::from_amps(32))))]);
    house.charger_mut(0).unwrap().write(19, &[0]).unwrap();
    run(&mut house, 10);
    let before = house.grid()[Phase::L2];
    assert!((1.5 + 31.0..=1.5 + 31.7).contains(&before), "{before}");

    house.charger_mut(0).unwrap().write(15, &[16]).unwrap();
    run(&mut house, 2);
    assert_eq!(house.grid()[Phase::L2], before, "no car reacts within 2 s");
    assert_eq!(house.chargers()[0].offered(), Milliamp::from_amps(16));
    run(&mut house, 9);
    let after = house.grid()[Phase::L2];
    assert!((1.5 + 15.0..=1.5 + 15.7).contains(&after), "{after}");
    assert_eq!(house.grid().0, [after; 3]);
}

#[test]
fn a_car_starts_after_its_time_and_the_counters_agree_with_what_flowed() {
    let mut house = house_with(vec![ChargerPlan::evse_din(CarPlan::usual())]);
    run(&mut house, 11);
    assert_eq!(house.chargers()[0].state(), PilotState::B);
    run(&mut house, 30);
    assert_eq!(house.chargers()[0].state(), PilotState::C);
    let (begin, _) = house.counters();
    let watts: f64 = house.power().0.iter().sum();
    run(&mut house, 360);
    let taken = house.counters().0 - begin;
    assert!((taken - watts / 10.0).abs() < 2.0, "{taken} Wh in a tenth of an hour at {watts} W");
}

#[test]
fn the_watchdog_falls_to_its_current_when_nothing_feeds_it_and_any_telegram_ends_that() {
    let car = CarPlan::swift().at_start(CarAtStart::Charging(Milliamp::from_amps(20)));
    let mut house = house_with(vec![ChargerPlan::teltocharge(car)]);
    house.charger_mut(0).unwrap().write(19, &[10, 8]).unwrap();
    run(&mut house, 9);
    assert_eq!(house.chargers()[0].offered(), Milliamp::from_amps(20));
    let now = house.now();
    house.charger_mut(0).unwrap().feed(now);
    run(&mut house, 10);
    assert!(!house.chargers()[0].fallen(house.now()));
    run(&mut house, 1);
    assert!(house.chargers()[0].fallen(house.now()));
    assert_eq!(house.chargers()[0].offered(), Milliamp::from_amps(8));
    assert_eq!(house.chargers()[0].set_point(), Milliamp::from_amps(20), "the register keeps what was written");
    let now = house.now();
    house.charger_mut(0).unwrap().feed(now);
    run(&mut house, 1);
    assert_eq!(house.chargers()[0].offered(), Milliamp::from_amps(20));
}

#[test]
fn an_evse_din_has_no_watchdog_and_forgets_its_set_point_at_a_restart() {
    let car = CarPlan::swift().at_start(CarAtStart::Charging(Milliamp::from_amps(10)));
    let mut house = house_with(vec![ChargerPlan::evse_din(car)]);
    run(&mut house, 3600);
    assert_eq!(house.chargers()[0].offered(), Milliamp::from_amps(10));
    assert_eq!(house.chargers()[0].watchdog(), None);
    let now = house.now();
    house.charger_mut(0).unwrap().power_cycle(now);
    assert!(!house.chargers()[0].awake());
    run(&mut house, 2);
    assert!(house.chargers()[0].awake());
    assert_eq!(house.chargers()[0].set_point(), Milliamp::from_amps(32));
    assert_eq!(house.chargers()[0].offered(), Milliamp::from_amps(32));
    assert_eq!(house.chargers()[0].boots(), 1);
}

#[test]
fn an_evse_din_speaks_hundredths_only_from_firmware_17_and_only_when_asked() {
    for (firmware, fine) in [(9_u16, false), (16, false), (17, true), (18, true)] {
        let mut plan = ChargerPlan::evse_din(CarPlan::swift());
        plan.kind = crate::simulator::plan::BoxKind::EvseDin { firmware };
        let mut house = house_with(vec![plan]);
        let now = house.now();
        assert_eq!(house.chargers()[0].read(now, 1000, 1), Ok(vec![32]));
        let charger = house.charger_mut(0).unwrap();
        charger.write(2005, &[1 << 7]).unwrap();
        assert_eq!(charger.read(now, 2005, 1), Ok(vec![if fine { 1 << 7 } else { 0 }]));
        assert_eq!(charger.read(now, 1000, 1), Ok(vec![if fine { 3200 } else { 32 }]));
        assert_eq!(charger.write(1000, &[650]), if fine { Ok(()) } else { Err(Exception::IllegalDataValue) });
        assert_eq!(charger.set_point(), if fine { Milliamp(6500) } else { Milliamp::from_amps(32) });
    }
}

#[test]
fn wrong_writes_are_refused_and_change_nothing() {
    let mut house = house_with(vec![
        ChargerPlan::teltocharge(CarPlan::swift()),
        ChargerPlan::evse_din(CarPlan::swift()).at_unit(2),
    ]);
    let now = house.now();
    let teltocharge = house.charger_mut(0).unwrap();
    for (register, words) in [(15, vec![5]), (15, vec![33]), (19, vec![601]), (14, vec![8]), (18, vec![1, 30, 5])] {
        assert_eq!(teltocharge.write(register, &words), Err(Exception::IllegalDataValue), "{register} {words:?}");
    }
    for register in [12, 22, 44, 45, 65_535] {
        assert_eq!(teltocharge.write(register, &[6]), Err(Exception::IllegalDataAddress), "{register}");
    }
    assert_eq!(teltocharge.read(now, 14, 7), Ok(vec![6, 32, 0, 0, 0, 30, 6]));
    assert_eq!(teltocharge.read(now, 44, 2), Err(Exception::IllegalDataAddress));
    assert_eq!(teltocharge.read(now, 65_535, 2), Err(Exception::IllegalDataAddress));

    let evse = house.charger_mut(1).unwrap();
    for word in [1, 5, 81] {
        assert_eq!(evse.write(1000, &[word]), Err(Exception::IllegalDataValue), "{word}");
    }
    assert_eq!(evse.write(1001, &[6]), Err(Exception::IllegalDataAddress));
    assert_eq!(evse.read(now, 1000, 3), Ok(vec![32, 32, 2]));
    assert_eq!(evse.read(now, 999, 2), Err(Exception::IllegalDataAddress));
}

#[test]
fn the_register_map_of_a_charging_teltocharge_says_what_flows() {
    let car = CarPlan::swift().at_start(CarAtStart::Charging(Milliamp::from_amps(16)));
    let mut house = house_with(vec![ChargerPlan::teltocharge(car)]);
    run(&mut house, 20);
    let registers = house.chargers()[0].read(house.now(), 0, 45).unwrap();
    assert_eq!(registers[0..3], [227; 3], "230 V at the source, 17 A cost 2.6 V of it");
    assert_eq!(registers[3..6], [156; 3]);
    assert_eq!((registers[6], registers[9], registers[13], registers[27], registers[33]), (0, 0x5443, 6, 3, 4));
    assert!((10_600..10_700).contains(&registers[38]), "{}", registers[38]);
    assert_eq!(registers[39], 5, "10.65 kW for 20 s are 59 Wh, in hundredths of a kWh");
    assert_eq!(u64::from(registers[41]) + (u64::from(registers[42]) << 16), 12_350);
}

#[test]
fn phases_are_those_of_the_wiring_and_of_register_14() {
    let car = CarPlan::swift().on_phases(1).at_start(CarAtStart::Charging(Milliamp::from_amps(10)));
    let mut house = house_with(vec![ChargerPlan::teltocharge(car).on_phases(&[Phase::L2, Phase::L3, Phase::L1])]);
    house.charger_mut(0).unwrap().write(19, &[0]).unwrap();
    run(&mut house, 2);
    assert_eq!(house.chargers()[0].grid_draw().0, [0.0, 9.6, 0.0]);
    house.charger_mut(0).unwrap().write(14, &[1]).unwrap();
    house.advance(house.now() + Span(100));
    assert_eq!(house.chargers()[0].grid_draw().0, [0.0; 3], "switched without current");
    run(&mut house, 3);
    assert_eq!(house.chargers()[0].grid_draw().0, [0.0, 0.0, 9.6]);
    assert_eq!(house.chargers()[0].read(house.now(), 13, 1), Ok(vec![1]));
}

#[test]
fn a_disobedient_car_draws_more_and_a_stuck_one_until_it_is_cut_off() {
    let car = CarPlan::swift().at_start(CarAtStart::Charging(Milliamp::from_amps(10)));
    let mut house = house_with(vec![ChargerPlan::teltocharge(car)]);
    house.charger_mut(0).unwrap().write(19, &[0]).unwrap();
    house.charger_mut(0).unwrap().obey(Obedience::DrawsMore(Milliamp(3000)));
    run(&mut house, 2);
    assert_eq!(house.chargers()[0].grid_draw()[Phase::L1], 13.0);
    house.charger_mut(0).unwrap().write(15, &[0]).unwrap();
    run(&mut house, 2);
    assert_eq!(house.chargers()[0].grid_draw()[Phase::L1], 0.0);
    house.charger_mut(0).unwrap().obey(Obedience::Stuck(Milliamp(12_000)));
    run(&mut house, 2);
    assert_eq!(house.chargers()[0].grid_draw()[Phase::L1], 12.0);
    assert_eq!(house.chargers()[0].state(), PilotState::C);
    house.charger_mut(0).unwrap().write(16, &[1]).unwrap();
    run(&mut house, 1);
    assert_eq!(house.chargers()[0].grid_draw()[Phase::L1], 0.0);
}

#[test]
fn a_car_that_is_full_takes_less_at_the_end_and_then_nothing() {
    let car = CarPlan { wants: Some(WattHour(1000)), ..CarPlan::swift() };
    let mut house = house_with(vec![ChargerPlan::evse_din(car)]);
    run(&mut house, 60);
    let early = house.chargers()[0].grid_draw()[Phase::L1];
    run(&mut house, 110);
    let late = house.chargers()[0].grid_draw()[Phase::L1];
    assert!(late > 0.0 && late < early, "{early} A, then {late} A");
    run(&mut house, 3600);
    assert_eq!(house.chargers()[0].grid_draw()[Phase::L1], 0.0);
    assert_eq!(house.chargers()[0].state(), PilotState::D);
}

#[test]
fn the_busy_home_crosses_a_25_a_fuse_within_a_minute_of_charging_and_the_same_seed_repeats_it() {
    let plan = Plan { house: HousePlan::busy_home(), seed: 11, ..Plan::quiet(Vec::new()) };
    let (mut one, mut two) = (House::new(&plan), House::new(&plan));
    let mut highest = [0.0_f64; 3];
    for second in 1..=60 {
        one.advance(Mono(second * 1000));
        for (top, amps) in highest.iter_mut().zip(one.grid().0) {
            *top = top.max(amps);
        }
    }
    two.advance(Mono(60_000));
    assert_eq!(one.grid(), two.grid());
    assert!(highest[0] > 9.5 && highest[1] > 11.0, "{highest:?}: two cars of 16 A must make room");
}

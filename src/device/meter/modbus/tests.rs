//! What is told of a meter's registers, and what is not.

use std::time::Duration;

use tokio::time::Instant;

use super::image::Image;
use super::reading::View;
use super::refused::Refused;
use crate::codec::model::{Decoded, Key, Model, Quantity as Q, Refusal};
use crate::config::meter_models;
use crate::device::meter::p1::Mapping;
use crate::quantity::{Milliamp, Mono, Phase, Phases, Watt, WattHour};
use crate::reading::MeterReading;
use crate::status::{Identity, Value};

/// Fast: currents, powers and an export of L1. Slow: the total, and counters of two tariffs.
const POLLS: &str = r#"
[[poll]]
every = "cycle"
from = 0
count = 7
values = [
  { is = "current", on = ["L1", "L2", "L3"], at = 0 },
  { is = "power-import", on = ["L1"], at = 3 },
  { is = "power-export", on = ["L1"], at = 4 },
  { is = "power", on = ["L2", "L3"], at = 5 },
]
[[poll]]
every = "slow"
from = 10
count = 1
values = [{ is = "power", at = 10 }]
[[poll]]
every = "slow"
from = 20
count = 3
values = [
  { is = "energy-import", tariff = 1, at = 20 },
  { is = "energy-import", tariff = 2, at = 21 },
  { is = "energy-export", at = 22 },
]
"#;

fn key(quantity: Q, phase: Option<Phase>, tariff: u8) -> Key {
    Key { quantity, phase, tariff }
}

/// Read twice: the first figure of a counter must be borne out.
fn put(image: &mut Image, key: Key, value: Result<f64, Refusal>, at: i64) {
    image.take(&Decoded { key, value, decimals: 1 }, Mono(at - 1));
    image.take(&Decoded { key, value, decimals: 1 }, Mono(at));
}

fn view(image: &Image, signs: bool, begun: i64) -> View {
    image.view(&Mapping::default(), signs, Mono(begun), Mono(begun + 50))
}

fn reading(image: &Image, begun: i64) -> MeterReading {
    view(image, true, begun).reading(Mono(begun + 50))
}

/// A whole round at `at`: 6 A on L1 that exports, 2 A and 1 A on the others.
fn round(image: &mut Image, at: i64) {
    for (n, (phase, amps)) in Phase::ALL.into_iter().zip([6.0, 2.0, 1.0]).enumerate() {
        put(image, key(Q::Current, Some(phase), 0), Ok(amps), at);
        if n > 0 {
            put(image, key(Q::Power, Some(phase), 0), Ok(amps * 230.0), at);
        }
    }
    put(image, key(Q::PowerImport, Some(Phase::L1), 0), Ok(0.0), at);
    put(image, key(Q::PowerExport, Some(Phase::L1), 0), Ok(1380.0), at);
}

fn image() -> Image {
    let mut image = Image::new(&Model::with_polls(POLLS));
    round(&mut image, 1000);
    image
}

#[test]
fn what_a_refused_poll_said_before_does_not_stand() {
    let model = meter_models::embedded().into_iter().find(|it| it.id == "smartstuff-p1").unwrap();
    let mut image = Image::new(&model);
    let ask = |image: &mut Image, index: usize, words: &[u16]| {
        model.polls[index].decode(words).for_each(|it| image.take(&it, Mono(1000)));
    };
    let mut first = [0; 30];
    first[0x19] = 6000; // mA of L1
    ask(&mut image, 0, &first);
    ask(&mut image, 1, &[0, 0, 0, 0, 0, 0, 0, 1380, 0, 0, 0, 0]);
    let exports = reading(&image, 1000);
    assert_eq!((exports.current[Phase::L1], exports.power[Phase::L1]), (Some(Milliamp(6000)), Some(Watt(-1380))));
    image.refused(1);
    let unknown = reading(&image, 1000);
    assert_eq!((unknown.current[Phase::L1], unknown.power), (Some(Milliamp(6000)), Phases([None; 3])));
    assert_eq!(unknown.power_total, Some(Watt(0)), "the other poll stands");
}

/// Dutch meters tell whole amperes, cut or rounded, and the converter multiplies them by 1000.
#[test]
fn whole_amperes_in_a_register_of_milliamperes_are_coarse() {
    for (id, poll, at) in [
        ("smartstuff-p1", 0, 0x18),
        ("smartstuff-p1-tcp", 0, 0x18),
        ("esp-p1-modbus", 0, 0x24),
        ("smartstuff-p1-float", 0, 0x1A),
    ] {
        let model = meter_models::embedded().into_iter().find(|it| it.id == id).unwrap();
        let poll = &model.polls[poll];
        let step = |amps: [f32; 3]| {
            let mut words = vec![0; usize::from(poll.count)];
            for (amps, place) in amps.into_iter().zip((usize::from(at - poll.first)..).step_by(2)) {
                let bits = if id.ends_with("float") { amps.to_bits() } else { (amps * 1000.0).round() as u32 };
                (words[place], words[place + 1]) = ((bits >> 16) as u16, bits as u16);
            }
            let mut image = Image::new(&model);
            poll.decode(&words).for_each(|it| image.take(&it, Mono(1000)));
            reading(&image, 1000).current_step
        };
        assert_eq!(step([15.0, 9.0, 0.0]), Milliamp(1000), "{id}");
        assert_eq!(step([15.0, 9.34, 0.0]), Milliamp(1), "{id}: a Belgian meter");
    }
}

#[test]
fn what_is_read_in_every_round_is_of_this_round() {
    let mut image = image();
    put(&mut image, key(Q::Power, None, 0), Ok(-690.0), 1000);
    assert_eq!(reading(&image, 1000).current[Phase::L1], Some(Milliamp(6000)));
    let later = reading(&image, 1001);
    assert_eq!((later.current, later.power), (Phases([None; 3]), Phases([None; 3])));
    assert_eq!(later.power_total, Some(Watt(-690)), "a slow one may be older");
    assert_eq!(reading(&image, 61_100).power_total, None);
}

#[test]
fn the_phases_of_one_answer_are_believed_before_a_total_of_another_moment() {
    let mut image = image();
    put(&mut image, key(Q::Power, None, 0), Ok(5000.0), 500);
    assert_eq!(reading(&image, 1000).power_total, Some(Watt(-690)));
}

#[test]
fn an_export_that_cannot_be_read_is_not_zero() {
    let export = key(Q::PowerExport, Some(Phase::L1), 0);
    let mut image = image();
    put(&mut image, export, Err(Refusal::Implausible { value: -4e9 }), 1000);
    let read = reading(&image, 1000);
    assert_eq!((read.power[Phase::L1], read.power_total), (None, None));
    put(&mut image, export, Err(Refusal::Absent), 1000);
    assert_eq!(reading(&image, 1000).power[Phase::L1], Some(Watt(0)), "a meter that says that it has no export");
}

#[test]
fn tariffs_are_added_only_when_all_of_the_model_are_there() {
    let (t1, t2) = (key(Q::EnergyImport, None, 1), key(Q::EnergyImport, None, 2));
    let mut image = image();
    put(&mut image, t1, Ok(1000.0), 1000);
    assert_eq!(reading(&image, 1000).energy_import, None, "the other one was not read yet");
    put(&mut image, t2, Ok(250.0), 1000);
    assert_eq!(reading(&image, 1000).energy_import, Some(WattHour(1250)));
    put(&mut image, t2, Err(Refusal::Implausible { value: 1e15 }), 1000);
    assert_eq!(reading(&image, 1000).energy_import, None, "a counter never falls by a tariff");
    put(&mut image, t2, Err(Refusal::Absent), 1000);
    assert_eq!(
        reading(&image, 1000).energy_import,
        Some(WattHour(1000)),
        "the meter says that it has no second tariff"
    );
}

#[test]
fn the_first_figure_of_a_counter_is_told_when_the_next_one_bears_it_out() {
    let export = key(Q::EnergyExport, None, 0);
    let mut image = image();
    let mut read = |value: f64, at: i64| {
        image.take(&Decoded { key: export, value: Ok(value), decimals: 1 }, Mono(at));
        (reading(&image, at).energy_export.map(|it| it.0), image.awaits(2))
    };
    assert_eq!(read(18_899_200.0, 1000), (None, true), "half of it is from before the carry");
    assert_eq!(read(12_345_600.0, 2000), (None, true));
    assert_eq!(read(12_345_600.0, 3000), (Some(12_345_600), false));
    // Later ones are guarded where counters are kept.
    assert_eq!(read(18_899_200.0, 13_000), (Some(18_899_200), false));
    image.refused(2);
    let mut again = |value: f64, at: i64| {
        image.take(&Decoded { key: export, value: Ok(value), decimals: 1 }, Mono(at));
        reading(&image, at).energy_export.map(|it| it.0)
    };
    assert_eq!(again(12_345_600.0, 20_000), None, "it may be another meter's");
    assert_eq!(again(12_352_000.0, 28_000), None, "6.4 kWh in 8 s");
    assert_eq!(again(12_352_300.0, 29_000), Some(12_352_300));
}

#[test]
fn without_signs_currents_are_sizes_and_nothing_has_a_direction() {
    let mut image = image();
    put(&mut image, key(Q::Current, Some(Phase::L2), 0), Ok(-10.5), 1000);
    for tariff in [1, 2] {
        put(&mut image, key(Q::EnergyImport, None, tariff), Ok(5.0), 1000);
    }
    put(&mut image, key(Q::EnergyExport, None, 0), Ok(7.0), 1000);
    assert!(reading(&image, 1000).current_signed);
    let view = view(&image, false, 1000);
    let read = view.reading(Mono(1050));
    assert_eq!((read.current[Phase::L2], read.current_signed), (Some(Milliamp(10_500)), false));
    assert_eq!((read.power, read.power_total), (Phases([None; 3]), None));
    assert_eq!((read.energy_import, read.energy_export), (None, None));
    let shown = view.values(Mono(1050), Identity::default()).values;
    let keys: Vec<&str> = shown.keys().map(|it| &**it).collect();
    assert_eq!(keys, ["current_l1_a", "current_l2_a", "current_l3_a"]);
}

#[test]
fn a_refused_poll_is_asked_again_after_longer_and_longer_pauses() {
    let mut refused = Refused::new(&Model::with_polls(POLLS));
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!(refused.may_ask(1, start));
    refused.refused(1, start);
    assert!(refused.may_ask(0, start) && !refused.may_ask(1, after(9)) && refused.may_ask(1, after(10)));
    refused.refused(1, after(10));
    assert!(!refused.may_ask(1, after(29)) && refused.may_ask(1, after(30)));
    for _ in 0..20 {
        refused.refused(1, after(30));
    }
    assert!(!refused.may_ask(1, after(329)) && refused.may_ask(1, after(330)), "every five minutes at last");
    refused.answered(1);
    refused.refused(1, start);
    assert!(refused.may_ask(1, after(10)));
}

#[test]
fn a_zero_has_no_direction() {
    let mut image = image();
    put(&mut image, key(Q::Power, Some(Phase::L2), 0), Ok(0.0), 1000);
    let backwards = Mapping { invert: true, ..Mapping::default() };
    let shown = image.view(&backwards, true, Mono(1000), Mono(1050)).values(Mono(1050), Identity::default()).values;
    let Value::Number { value, .. } = shown["power_l2_w"] else { panic!("{shown:?}") };
    assert!(value == 0.0 && value.is_sign_positive());
}

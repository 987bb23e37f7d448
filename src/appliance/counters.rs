//! Counters never fall, jump or start at zero by accident.
//!
//! A statistic that sees one frame with 0, or one whose words were read while the counter moved on, books the whole
//! counter as consumption of that moment. So every meter's counters pass here, whatever its driver: a figure that rose
//! more than a house draws, or that no meter can have reached since the last one, is held back, and believed once it has
//! stood for a while. If no meter can have reached it, it is another meter, and an event says so. A charger's counter
//! passes here as well; another one there is only logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counter_store::{Figures, Kept};
use crate::config::model::MeterRole;
use crate::event::{Event, EventType};
use crate::quantity::{Mono, Span, WattHour};
use crate::reading::{ChargerReport, MeterReading};
use crate::status::{MeterValues, Value, published_key};

/// A doubted figure must stand for so long, in so many frames, before it is believed: a counter is read every ten seconds,
/// and a value that was read once stands for up to a minute.
const PROOF: Span = Span::from_secs(60);
const FRAMES: u32 = 3;
/// A zero behind another figure stands for so long: gateways send it for as long as they do not reach their meter. A
/// meter that was exchanged counts on sooner, or another counter of it does.
const ZERO_PROOF: Span = Span::from_secs(24 * 3600);
/// What a counter may rise by between two frames without any doubt: at once, which is the step of a coarse one, and per
/// hour, three phases of 720 A. A counter whose words were read while it moved on is off by 65 536 of its steps, 6.5 kWh
/// for one of 0.1 Wh. In kWh, kvarh, kVAh, m³ or GJ.
const PLAIN: Rise = Rise { at_once: 1.0, per_hour: 500.0 };
/// What one meter can have counted at all: more than any house or plant behind these meters.
const MOST: Rise = Rise { at_once: 50.0, per_hour: 2000.0 };
/// Nobody knows how long we were off: a counter may have risen by whatever it can rise by in this time.
const OFF_AT_MOST: Span = Span::from_secs(365 * 24 * 3600);
/// Sums of tariffs differ by this from rounding alone.
const ROUNDING: f64 = 1e-6;

/// Bounds of what a counter rises by.
#[derive(Clone, Copy, Debug)]
struct Rise {
    at_once: f64,
    per_hour: f64,
}

impl Rise {
    /// Whether a counter can have gone from one figure to the other in this time.
    fn allows(self, from: f64, to: f64, time: Span) -> bool {
        let hours = time.as_secs_f64() / 3600.0;
        (from - ROUNDING..=from + self.at_once + self.per_hour * hours).contains(&to)
    }
}

/// A key whose value only ever rises.
pub(crate) fn is_counter(key: &str) -> bool {
    ["_kwh", "_kvarh", "_kvah", "_gj", "_m3"].iter().any(|unit| key.ends_with(unit))
        && (key.contains("energy") || key.starts_with("volume"))
        && !key.contains("power")
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Mono,
    figure: f64,
    frames: u32,
    heard: Mono,
}

/// The last figure that was let through.
#[derive(Clone, Copy, Debug)]
struct Good {
    figure: f64,
    heard: Mono,
    /// For how long nobody may have looked before `heard`.
    unseen: Span,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    good: Option<Good>,
    doubt: Option<Doubt>,
}

/// What becomes of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// It is shown.
    Pass,
    /// This one is shown instead, or none.
    Hold(Option<f64>),
    /// It is shown; it is another meter's.
    Replaced { before: f64, proof: Span },
}

impl Counter {
    /// `exchanged`: when another counter of the same meter was seen to be another meter's. A zero that was there then is
    /// that meter's.
    fn take(&mut self, figure: f64, heard: Mono, exchanged: Option<Mono>) -> Verdict {
        let passed = Self { good: Some(Good { figure, heard, unseen: Span::ZERO }), doubt: None };
        let believable = match self.good {
            Some(good) => PLAIN.allows(good.figure, figure, heard.since(good.heard)),
            // A meter that starts up sends zero before it has read its memory.
            None => figure > 0.0,
        };
        if believable {
            *self = passed;
            return Verdict::Pass;
        }
        let fresh = Doubt { since: heard, figure, frames: 0, heard };
        let doubt = match &mut self.doubt {
            Some(doubt) if MOST.allows(doubt.figure, figure, heard.since(doubt.heard)) => doubt,
            place => place.insert(fresh),
        };
        // The same frame looked at twice proves nothing.
        if doubt.frames == 0 || doubt.heard != heard {
            doubt.frames = doubt.frames.saturating_add(1);
        }
        (doubt.figure, doubt.heard) = (figure, heard);
        let before = self.good.map(|it| it.figure);
        let is_of_another = exchanged.is_some_and(|at| doubt.since <= at);
        let proof = if figure == 0.0 && before.is_some() && !is_of_another { ZERO_PROOF } else { PROOF };
        if doubt.frames < FRAMES || heard.since(doubt.since) < proof {
            return Verdict::Hold(before);
        }
        let same_meter = |good: Good| MOST.allows(good.figure, figure, Span(heard.since(good.heard).0 + good.unseen.0));
        let verdict = match self.good {
            Some(good) if !same_meter(good) => Verdict::Replaced { before: good.figure, proof },
            _ => Verdict::Pass,
        };
        *self = passed;
        verdict
    }
}

fn stood_for(proof: Span) -> &'static str {
    if proof == ZERO_PROOF { "a day" } else { "a minute" }
}

/// A charger's counter.
#[derive(Debug, Default)]
pub(super) struct ChargerCounter(Counter);

impl ChargerCounter {
    /// Puts the held figure in place of one that is doubted. `id` is the charger's.
    pub(super) fn pass(&mut self, id: &str, report: &mut ChargerReport) {
        let Some(energy) = report.energy else { return };
        let figure = energy.as_f64() / 1000.0;
        match self.0.take(figure, report.received_at, None) {
            Verdict::Pass => {}
            Verdict::Hold(shown) => report.energy = shown.map(|it| WattHour::from_f64(it * 1000.0)),
            Verdict::Replaced { before, proof } => {
                let time = stood_for(proof);
                tracing::warn!("charger {id}: its counter is {figure} kWh for {time} now; it was {before} before");
            }
        }
    }
}

/// The counters of one meter, and of those behind it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    serial: Option<String>,
    own: Registers,
    behind: BTreeMap<Arc<str>, Registers>,
}

/// The counters of one meter by their keys.
#[derive(Debug, Default)]
struct Registers {
    counters: BTreeMap<Arc<str>, Counter>,
    /// When one of them was last seen to be another meter's.
    exchanged: Option<Mono>,
}

impl Counters {
    /// As they were shown last before this start at `now`.
    pub(super) fn restored(kept: &Kept, now: Mono) -> Self {
        let counters = |figures: &Figures| -> Registers {
            let sane = figures.iter().filter(|it| is_counter(it.0) && it.1.is_finite());
            let good = |figure| Good { figure, heard: now, unseen: OFF_AT_MOST };
            let counter = |figure| Counter { good: Some(good(figure)), doubt: None };
            let counters = sane.map(|(key, figure)| (key.as_str().into(), counter(*figure))).collect();
            Registers { counters, exchanged: None }
        };
        Self {
            serial: kept.serial.clone(),
            own: counters(&kept.own),
            behind: kept.behind.iter().map(|(suffix, it)| (suffix.as_str().into(), counters(it))).collect(),
        }
    }

    /// What the next start must know of them.
    pub(super) fn kept(&self) -> Kept {
        let figures = |it: &Registers| -> Figures {
            it.counters.iter().filter_map(|(key, it)| Some((key.to_string(), it.good?.figure))).collect()
        };
        Kept {
            serial: self.serial.clone(),
            own: figures(&self.own),
            behind: self.behind.iter().map(|(suffix, it)| (suffix.to_string(), figures(it))).collect(),
            ..Kept::default()
        }
    }

    /// The meter itself says that it is another one than before, in this run or the last: the serial number of that one.
    pub(super) fn are_of_another(&self, values: &MeterValues) -> Option<&str> {
        let serial = values.identity.serial.as_ref()?;
        self.serial.as_deref().filter(|it| it != serial)
    }

    /// Puts held figures in place of those that are doubted; an event for each counter that is another meter's. The meter
    /// by its id and its role; the values still have the names of the wire.
    pub(super) fn pass(
        &mut self,
        (id, role): (&str, MeterRole),
        reading: &mut MeterReading,
        values: &mut Arc<MeterValues>,
        sub_meters: &mut Arc<Vec<(Arc<str>, Arc<MeterValues>)>>,
    ) -> Vec<Event> {
        if self.are_of_another(values).is_some() {
            // Which is an event of its own.
            self.own = Registers::default();
            self.behind.clear();
        }
        if let Some(serial) = &values.identity.serial {
            self.serial = Some(serial.clone());
        }
        let mut events = Vec::new();
        let held = judge(&mut self.own, (id, role), values, &mut events);
        for (key, figure) in held {
            let place = match &*key {
                "energy_import_kwh" => &mut reading.energy_import,
                "energy_export_kwh" => &mut reading.energy_export,
                _ => continue,
            };
            *place = figure.map(|it| WattHour::from_f64(it * 1000.0));
        }
        for place in 0..sub_meters.len() {
            let (suffix, mut values) = sub_meters[place].clone();
            let counters = self.behind.entry(Arc::clone(&suffix)).or_default();
            let behind = format!("{id}-{suffix}");
            if !judge(counters, (&behind, MeterRole::Other), &mut values, &mut events).is_empty() {
                Arc::make_mut(sub_meters)[place].1 = values;
            }
        }
        events
    }
}

/// Holds back what is doubted; gives the keys that were held with what is shown instead.
fn judge(
    registers: &mut Registers,
    (id, role): (&str, MeterRole),
    values: &mut Arc<MeterValues>,
    events: &mut Vec<Event>,
) -> Vec<(Arc<str>, Option<f64>)> {
    let heard = values.received_at.unwrap_or_default();
    let mut held = Vec::new();
    for (key, value) in &values.values {
        let Value::Number { value: figure, .. } = value else { continue };
        if !is_counter(key) {
            continue;
        }
        let counter = match registers.counters.get_mut(key) {
            Some(counter) => counter,
            None => registers.counters.entry(Arc::clone(key)).or_default(),
        };
        match counter.take(*figure, heard, registers.exchanged) {
            Verdict::Pass => {}
            Verdict::Hold(shown) => held.push((Arc::clone(key), shown)),
            Verdict::Replaced { before, proof } => {
                if *figure != 0.0 {
                    registers.exchanged = Some(heard);
                }
                let time = stood_for(proof);
                let key = published_key(role, key).unwrap_or_else(|| (&**key).into());
                let detail =
                    format!("{key} is {figure} for {time} now; it was {before} before: taken as another meter's");
                events.push(Event::new(EventType::MeterReplaced, id, detail));
            }
        }
    }
    if !held.is_empty() {
        let values = Arc::make_mut(values);
        for (key, shown) in &held {
            match (shown, values.values.get_mut(key)) {
                (Some(shown), Some(Value::Number { value, .. })) => *value = *shown,
                _ => {
                    values.values.remove(key);
                }
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Mono {
        Mono(second * 1000)
    }

    fn frame(import: f64, second: i64) -> Arc<MeterValues> {
        let number = |value| Value::Number { value, unit: "kWh", decimals: 3 };
        let values = [("energy_import_kwh", import), ("power_w", 5.0)];
        Arc::new(MeterValues {
            received_at: Some(at(second)),
            values: values.into_iter().map(|(key, value)| (key.into(), number(value))).collect(),
            ..MeterValues::default()
        })
    }

    /// What is shown and what control gets, after a frame with this import.
    fn show(counters: &mut Counters, import: f64, second: i64) -> (Option<f64>, Option<i64>, Vec<Event>) {
        let mut values = frame(import, second);
        let mut reading =
            MeterReading { energy_import: Some(WattHour::from_f64(import * 1000.0)), ..MeterReading::default() };
        let events = counters.pass(("main", MeterRole::Other), &mut reading, &mut values, &mut Arc::default());
        let shown = match values.values.get("energy_import_kwh") {
            Some(Value::Number { value, .. }) => Some(*value),
            _ => None,
        };
        (shown, reading.energy_import.map(|it| it.0), events)
    }

    #[test]
    fn one_frame_with_zero_or_half_a_counter_is_held() {
        let mut counters = Counters::default();
        assert_eq!(show(&mut counters, 655.0, 0).0, Some(655.0));
        assert_eq!(show(&mut counters, 0.0, 1), (Some(655.0), Some(655_000), Vec::new()));
        assert_eq!(show(&mut counters, 654.9, 2).0, Some(655.0), "a tenth less is less");
        // The high word of the next figure with the low word of this one: 65536 hundredths too much.
        assert_eq!(show(&mut counters, 655.0 + 655.36, 3).0, Some(655.0));
        assert_eq!(show(&mut counters, 655.1, 4), (Some(655.1), Some(655_100), Vec::new()));
    }

    #[test]
    fn another_meter_is_believed_after_a_minute_and_told_once() {
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        for second in 1..=60 {
            let (shown, _, events) = show(&mut counters, 3.0 + second as f64 / 1000.0, second);
            assert_eq!((shown, events.len()), (Some(500.0), 0), "{second}");
        }
        let (shown, control, events) = show(&mut counters, 3.1, 61);
        assert_eq!((shown, control), (Some(3.1), Some(3100)));
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].event_type, events[0].subject.as_str()), (EventType::MeterReplaced, "main"));
        assert!(events[0].detail.contains("it was 500 before"), "{}", events[0].detail);
        assert_eq!(show(&mut counters, 3.2, 62).2, []);
    }

    #[test]
    fn another_battery_is_told_of_under_the_name_that_people_see() {
        let mut counters = Counters::default();
        let mut told = Vec::new();
        for second in 0..=62 {
            let mut values = frame(if second == 0 { 500.0 } else { 3.0 }, second);
            let who = ("cellar", MeterRole::Battery);
            told.extend(counters.pass(who, &mut MeterReading::default(), &mut values, &mut Arc::default()));
        }
        assert_eq!(told.len(), 1);
        assert!(told[0].detail.starts_with("energy_discharged_kwh is 3 "), "{}", told[0].detail);
        assert!(counters.kept().own.contains_key("energy_import_kwh"), "kept as on the wire");
    }

    #[test]
    fn two_readings_however_far_apart_are_no_proof_and_a_wandering_figure_never_is() {
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        assert_eq!(show(&mut counters, 3.0, 1).0, Some(500.0));
        for _ in 0..50 {
            assert_eq!(show(&mut counters, 3.0, 1).0, Some(500.0), "the same frame again");
        }
        assert_eq!(show(&mut counters, 3.0, 90).0, Some(500.0), "two readings");
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        for second in 1..300 {
            let figure = if second % 2 == 0 { 0.0 } else { 400.0 };
            assert_eq!(show(&mut counters, figure, second).0, Some(500.0), "{second}");
        }
    }

    #[test]
    fn a_first_zero_waits_and_one_that_is_real_is_shown_without_an_event() {
        let mut counters = Counters::default();
        assert_eq!(show(&mut counters, 0.0, 0), (None, None, Vec::new()), "a meter that is starting up");
        assert_eq!(show(&mut counters, 12_345.0, 1).0, Some(12_345.0));
        let mut counters = Counters::default();
        for second in 0..60 {
            assert_eq!(show(&mut counters, 0.0, second).0, None, "{second}");
        }
        assert_eq!(show(&mut counters, 0.0, 60), (Some(0.0), Some(0), Vec::new()), "a meter that never exported");
        assert_eq!(show(&mut counters, 0.1, 61).0, Some(0.1));
    }

    #[test]
    fn a_long_silence_lets_a_counter_move_on() {
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        assert_eq!(show(&mut counters, 9000.0, 24 * 3600).0, Some(9000.0), "8.5 MWh in a day");
    }

    #[test]
    fn a_meter_that_says_it_is_another_is_believed_at_once() {
        let mut counters = Counters::default();
        let mut show = |serial: &str, import, second| {
            let mut values = frame(import, second);
            Arc::make_mut(&mut values).identity.serial = Some(serial.to_owned());
            let events = counters.pass(
                ("main", MeterRole::Other),
                &mut MeterReading::default(),
                &mut values,
                &mut Arc::default(),
            );
            (values.values["energy_import_kwh"].clone(), events.len())
        };
        let kwh = |value| Value::Number { value, unit: "kWh", decimals: 3 };
        assert_eq!(show("A", 500.0, 0), (kwh(500.0), 0));
        assert_eq!(show("A", 3.0, 1), (kwh(500.0), 0));
        assert_eq!(show("B", 3.0, 2), (kwh(3.0), 0));
    }

    #[test]
    fn what_was_shown_before_a_restart_is_not_undercut_after_it() {
        let mut before = Counters::default();
        show(&mut before, 500.0, 0);
        let kept = before.kept();
        let again = |kept: &Kept| Counters::restored(kept, at(0));
        // It went on while we were off, and it fell.
        let mut grew = again(&kept);
        for second in 1..61 {
            assert_eq!(show(&mut grew, 2500.0 + second as f64 / 100.0, second).0, Some(500.0), "{second}");
        }
        assert_eq!(show(&mut grew, 2500.7, 61), (Some(2500.7), Some(2_500_700), Vec::new()), "no other meter's");
        // A little more than before waits for nothing; half a counter as the first frame is never shown.
        let mut half = again(&kept);
        assert_eq!(show(&mut half, 500.0 + 6.5536, 1).0, Some(500.0));
        assert_eq!(show(&mut half, 500.4, 11).0, Some(500.4));
        let mut fell = again(&kept);
        assert_eq!(show(&mut fell, 499.0, 1), (Some(500.0), Some(500_000), Vec::new()));
        assert_eq!(show(&mut fell, 0.0, 2).0, Some(500.0), "nor by a zero");
        assert_eq!(show(&mut fell, 500.1, 3).0, Some(500.1));
        // A replaced meter is one after a minute, and one that says so is at once.
        let mut other = again(&kept);
        for second in 1..=61 {
            show(&mut other, 3.0, second);
        }
        assert_eq!(show(&mut other, 3.0, 62).0, Some(3.0));
        let mut values = frame(3.0, 1);
        Arc::make_mut(&mut values).identity.serial = Some("B".to_owned());
        let mut named = again(&Kept { serial: Some("A".to_owned()), ..kept.clone() });
        named.pass(("main", MeterRole::Other), &mut MeterReading::default(), &mut values, &mut Arc::default());
        assert_eq!(values.values["energy_import_kwh"], Value::Number { value: 3.0, unit: "kWh", decimals: 3 });
        // Rubbish in the file is no counter.
        let odd =
            Kept { own: [("power_w".to_owned(), 5.0), ("energy_gj".to_owned(), f64::NAN)].into(), ..Kept::default() };
        assert_eq!(again(&odd).kept(), Kept::default());
    }

    #[test]
    fn half_a_counter_of_small_steps_is_held_while_a_large_plant_goes_on() {
        // u64 of 0.1 Wh: the low word is worth 6.5536 kWh. It is read every ten seconds and told in every round.
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        for second in 1..=10 {
            assert_eq!(show(&mut counters, 500.0 + 6.5536, second).0, Some(500.0), "{second}");
        }
        assert_eq!(show(&mut counters, 500.01, 11), (Some(500.01), Some(500_010), Vec::new()));
        // 900 kW, counted in steps of ten seconds: late by a minute, and never another meter.
        let mut counters = Counters::default();
        let (mut shown, mut events) = (0.0, 0);
        for second in 0..600 {
            let (figure, _, told) = show(&mut counters, 500.0 + (second / 10) as f64 * 2.5, second);
            (shown, events) = (figure.unwrap(), events + told.len());
        }
        assert!(shown >= 500.0 + 2.5 * 52.0 && events == 0, "{shown}, {events} events");
    }

    #[test]
    fn a_gateway_that_sends_zeros_for_minutes_is_not_believed() {
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        for second in 1..3600 {
            assert_eq!(show(&mut counters, 0.0, second), (Some(500.0), Some(500_000), Vec::new()), "{second}");
        }
        assert_eq!(show(&mut counters, 500.5, 3600).0, Some(500.5));
        // A meter that starts at zero is one as soon as it counts …
        for second in 3601..3700 {
            assert_eq!(show(&mut counters, 0.0, second).0, Some(500.5), "{second}");
        }
        let (shown, _, events) = show(&mut counters, 0.001, 3700);
        assert_eq!((shown, events.len()), (Some(0.001), 1));
        // … and one that never counts is one after a day.
        let mut counters = Counters::default();
        show(&mut counters, 500.0, 0);
        for minute in 1..=24 * 60 {
            assert_eq!(show(&mut counters, 0.0, minute * 60).0, Some(500.0), "{minute}");
        }
        let (shown, _, events) = show(&mut counters, 0.0, (24 * 60 + 1) * 60);
        assert_eq!((shown, events.len()), (Some(0.0), 1));
        assert!(events[0].detail.contains("for a day"), "{}", events[0].detail);
    }

    #[test]
    fn the_export_of_another_meter_that_never_exported_follows_its_import() {
        let mut counters = Counters::default();
        let mut show = |import: f64, export: f64, second: i64| {
            let mut values = frame(import, second);
            let number = Value::Number { value: export, unit: "kWh", decimals: 3 };
            Arc::make_mut(&mut values).values.insert("energy_export_kwh".into(), number);
            let events = counters.pass(
                ("main", MeterRole::Other),
                &mut MeterReading::default(),
                &mut values,
                &mut Arc::default(),
            );
            let Some(Value::Number { value, .. }) = values.values.get("energy_export_kwh") else { panic!("{second}") };
            (*value, events.len())
        };
        assert_eq!(show(500.0, 70.0, 0), (70.0, 0));
        for second in 1..=60 {
            assert_eq!(show(3.0, 0.0, second), (70.0, 0), "{second}");
        }
        assert_eq!(show(3.0, 0.0, 61), (70.0, 1), "the import");
        assert_eq!(show(3.0, 0.0, 62), (0.0, 1), "the export");
        // Zeros that come later are those of a gateway again.
        assert_eq!(show(3.0, 5.0, 63).0, 0.0);
        for second in 64..=130 {
            show(3.0, 5.0, second);
        }
        for second in 131..300 {
            assert_eq!(show(3.0, 0.0, second).0, 5.0, "{second}");
        }
    }

    #[test]
    fn gas_behind_a_meter_is_guarded_too() {
        let mut counters = Counters::default();
        let mut show = |volume: f64, second: i64| {
            let mut values = MeterValues { received_at: Some(at(second)), ..MeterValues::default() };
            values.values.insert("volume_m3".into(), Value::Number { value: volume, unit: "m³", decimals: 3 });
            let mut behind = Arc::new(vec![("gas".into(), Arc::new(values))]);
            counters.pass(
                ("main", MeterRole::Other),
                &mut MeterReading::default(),
                &mut frame(1.0, second),
                &mut behind,
            );
            behind[0].1.values["volume_m3"].clone()
        };
        let volume = |value| Value::Number { value, unit: "m³", decimals: 3 };
        assert_eq!(show(3000.5, 0), volume(3000.5));
        assert_eq!(show(0.0, 1), volume(3000.5));
        assert_eq!(show(3000.6, 2), volume(3000.6));
    }

    #[test]
    fn a_charger_that_starts_up_or_was_exchanged_is_guarded_too() {
        let mut counter = ChargerCounter::default();
        let mut show = |energy: Option<i64>, second: i64| {
            let mut report =
                ChargerReport { energy: energy.map(WattHour), received_at: at(second), ..ChargerReport::default() };
            counter.pass("left", &mut report);
            report.energy.map(|it| it.0)
        };
        assert_eq!(show(Some(0), 0), None, "before it has read its memory");
        assert_eq!(show(Some(5_000_010), 1), Some(5_000_010));
        assert_eq!(show(None, 2), None, "absent is absent");
        assert_eq!(show(Some(0), 3), Some(5_000_010));
        assert_eq!(show(Some(5_000_020), 4), Some(5_000_020));
        for second in 5..=64 {
            assert_eq!(show(Some(30), second), Some(5_000_020), "{second}");
        }
        assert_eq!(show(Some(30), 65), Some(30), "another box");
    }

    #[test]
    fn counters_are_known_by_their_names() {
        for key in
            ["energy_import_kwh", "energy_export_t2_kwh", "volume_m3", "energy_gj", "reactive_energy_import_kvarh"]
        {
            assert!(is_counter(key), "{key}");
        }
        for key in ["power_w", "peak_month_kw", "tariff", "current_l1_a", "voltage_l1_v"] {
            assert!(!is_counter(key), "{key}");
        }
    }
}

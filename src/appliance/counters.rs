//! Counters never fall, jump or start at zero by accident.
//!
//! A statistic that sees one frame with 0, or one whose words were read while the counter moved on, books the whole
//! counter as consumption of that moment. So every meter's counters pass here, whatever its driver: a figure that no
//! meter can have reached since the last one is held back, and believed once it has stood for a while. Then it is
//! another meter, and an event says so. A charger's counter passes here as well; another one there is only logged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counter_store::{Figures, Kept};
use crate::config::model::MeterRole;
use crate::event::{Event, EventType};
use crate::quantity::{Mono, Span, WattHour};
use crate::reading::{ChargerReport, MeterReading};
use crate::status::{MeterValues, Value, published_key};

/// A doubted figure must stand for so long, in so many frames, before it is believed.
const PROOF: Span = Span::from_secs(60);
const FRAMES: u32 = 3;
/// What a counter may rise by between two frames at once, and per hour: more than any house or plant behind these
/// meters, and less than a half-read counter is off by. In kWh, kvarh, kVAh, m³ or GJ.
const LEAP: f64 = 50.0;
const PER_HOUR: f64 = 2000.0;
/// Nobody knows how long we were off: a counter may have risen by whatever it can rise by in this time.
const OFF_AT_MOST: Span = Span::from_secs(365 * 24 * 3600);
/// Sums of tariffs differ by this from rounding alone.
const ROUNDING: f64 = 1e-6;

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

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// The last figure that was let through, and when.
    good: Option<(f64, Mono)>,
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
    Replaced(f64),
}

/// Whether a meter can have counted from one figure to the other.
fn follows(from: f64, before: Mono, to: f64, now: Mono) -> bool {
    let hours = now.since(before).as_secs_f64() / 3600.0;
    (from - ROUNDING..=from + LEAP + PER_HOUR * hours).contains(&to)
}

impl Counter {
    fn take(&mut self, figure: f64, heard: Mono) -> Verdict {
        let believable = match self.good {
            Some((good, before)) => follows(good, before, figure, heard),
            // A meter that starts up sends zero before it has read its memory.
            None => figure > 0.0,
        };
        if believable {
            *self = Self { good: Some((figure, heard)), doubt: None };
            return Verdict::Pass;
        }
        let fresh = Doubt { since: heard, figure, frames: 0, heard };
        let doubt = match &mut self.doubt {
            Some(doubt) if follows(doubt.figure, doubt.heard, figure, heard) => doubt,
            place => place.insert(fresh),
        };
        // The same frame looked at twice proves nothing.
        if doubt.frames == 0 || doubt.heard != heard {
            doubt.frames = doubt.frames.saturating_add(1);
        }
        (doubt.figure, doubt.heard) = (figure, heard);
        let before = self.good.map(|it| it.0);
        if doubt.frames < FRAMES || heard.since(doubt.since) < PROOF {
            return Verdict::Hold(before);
        }
        *self = Self { good: Some((figure, heard)), doubt: None };
        before.map_or(Verdict::Pass, Verdict::Replaced)
    }
}

/// A charger's counter.
#[derive(Debug, Default)]
pub(super) struct ChargerCounter(Counter);

impl ChargerCounter {
    /// Puts the held figure in place of one that is doubted. `id` is the charger's.
    pub(super) fn pass(&mut self, id: &str, report: &mut ChargerReport) {
        let Some(energy) = report.energy else { return };
        let figure = energy.as_f64() / 1000.0;
        match self.0.take(figure, report.received_at) {
            Verdict::Pass => {}
            Verdict::Hold(shown) => report.energy = shown.map(|it| WattHour::from_f64(it * 1000.0)),
            Verdict::Replaced(before) => {
                tracing::warn!("charger {id}: its counter is {figure} kWh for a minute now; it was {before} before");
            }
        }
    }
}

/// The counters of one meter, and of those behind it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    serial: Option<String>,
    own: BTreeMap<Arc<str>, Counter>,
    behind: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Counter>>,
}

impl Counters {
    /// As they were shown last before this start at `now`.
    pub(super) fn restored(kept: &Kept, now: Mono) -> Self {
        let counters = |figures: &Figures| -> BTreeMap<Arc<str>, Counter> {
            let sane = figures.iter().filter(|it| is_counter(it.0) && it.1.is_finite());
            let good = |figure| Counter { good: Some((figure, Mono(now.0 - OFF_AT_MOST.0))), doubt: None };
            sane.map(|(key, figure)| (key.as_str().into(), good(*figure))).collect()
        };
        Self {
            serial: kept.serial.clone(),
            own: counters(&kept.own),
            behind: kept.behind.iter().map(|(suffix, it)| (suffix.as_str().into(), counters(it))).collect(),
        }
    }

    /// What the next start must know of them.
    pub(super) fn kept(&self) -> Kept {
        let figures = |counters: &BTreeMap<Arc<str>, Counter>| -> Figures {
            counters.iter().filter_map(|(key, it)| Some((key.to_string(), it.good?.0))).collect()
        };
        Kept {
            serial: self.serial.clone(),
            own: figures(&self.own),
            behind: self.behind.iter().map(|(suffix, it)| (suffix.to_string(), figures(it))).collect(),
            names: Vec::new(),
        }
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
        let serial = values.identity.serial.as_ref();
        if serial.is_some() && self.serial.is_some() && serial != self.serial.as_ref() {
            // The meter itself says that it is another one, which is an event of its own.
            self.own.clear();
            self.behind.clear();
        }
        if let Some(serial) = serial {
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
    counters: &mut BTreeMap<Arc<str>, Counter>,
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
        let counter = match counters.get_mut(key) {
            Some(counter) => counter,
            None => counters.entry(Arc::clone(key)).or_default(),
        };
        match counter.take(*figure, heard) {
            Verdict::Pass => {}
            Verdict::Hold(shown) => held.push((Arc::clone(key), shown)),
            Verdict::Replaced(before) => {
                let key = published_key(role, key).unwrap_or_else(|| (&**key).into());
                let detail =
                    format!("{key} is {figure} for a minute now; it was {before} before: taken as another meter's");
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
        assert_eq!(show(&mut again(&kept), 2500.0, 1), (Some(2500.0), Some(2_500_000), Vec::new()));
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

//! Counters of chargers never fall by accident; those of meters come guarded already.
//!
//! A statistic that sees one frame with 0 or a smaller figure books the whole counter as consumption of that moment.

use std::collections::HashMap;

use super::json::Out;
use crate::quantity::{Mono, Span};

/// A smaller figure must stand for this long, in this many readings, before it is believed to be another meter's.
const PROOF: Span = Span::from_secs(60);
const READINGS: u32 = 3;

#[derive(Clone, Debug)]
struct Counter {
    shown: Out,
    figure: f64,
    lower: Option<Lower>,
}

#[derive(Clone, Copy, Debug)]
struct Lower {
    since: Mono,
    least: f64,
    readings: u32,
    heard: Mono,
}

/// The last figures shown, by topic and key.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    counters: HashMap<(String, String), Counter>,
}

impl Guard {
    /// What may be shown of `value`, read at `heard`: itself, or the last good figure while it is smaller than that.
    pub(crate) fn pass(&mut self, topic: &str, key: &str, value: Out, heard: Option<Mono>) -> Out {
        let place = (topic.to_owned(), key.to_owned());
        let (figure, heard) = match (&value, heard) {
            (Out::Milli(thousandths), Some(heard)) => (*thousandths as f64 / 1000.0, heard),
            (Out::Int(number), Some(heard)) => (*number as f64, heard),
            (Out::Decimal(number, _), Some(heard)) => (*number, heard),
            // Absent is absent: null books nothing.
            _ => return value,
        };
        let Some(counter) = self.counters.get_mut(&place) else {
            self.counters.insert(place, Counter { shown: value.clone(), figure, lower: None });
            return value;
        };
        if figure < counter.figure {
            let lower = counter.lower.get_or_insert(Lower { since: heard, least: figure, readings: 0, heard });
            if figure < lower.least {
                // It fell once more: no counter does.
                *lower = Lower { since: heard, least: figure, readings: 0, heard };
            }
            if lower.readings == 0 || lower.heard != heard {
                lower.readings = lower.readings.saturating_add(1);
                lower.heard = heard;
            }
            if heard.since(lower.since) < PROOF || lower.readings < READINGS {
                return counter.shown.clone();
            }
        }
        *counter = Counter { shown: value.clone(), figure, lower: None };
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kwh(value: f64) -> Out {
        Out::Decimal(value, 3)
    }

    #[test]
    fn one_frame_with_zero_is_not_shown() {
        let mut guard = Guard::default();
        let mut show = |value, second: i64| guard.pass("t", "energy_import_kwh", kwh(value), Some(Mono(second * 1000)));
        assert_eq!(show(12_345.678, 0), kwh(12_345.678));
        assert_eq!(show(0.0, 1), kwh(12_345.678));
        assert_eq!(show(12_345.679, 2), kwh(12_345.679));
        assert_eq!(show(12_345.6, 3), kwh(12_345.679), "a tenth less is less");
    }

    #[test]
    fn a_swapped_meter_is_believed_after_a_minute() {
        let mut guard = Guard::default();
        let mut show = |value, second: i64| guard.pass("t", "e", kwh(value), Some(Mono(second * 1000)));
        show(500.0, 0);
        for second in 1..=60 {
            assert_eq!(show(3.0, second), kwh(500.0));
        }
        assert_eq!(show(3.1, 61), kwh(3.1));
    }

    #[test]
    fn the_same_frame_looked_at_often_proves_nothing() {
        let mut guard = Guard::default();
        guard.pass("t", "e", kwh(500.0), Some(Mono(0)));
        for _ in 0..100 {
            assert_eq!(guard.pass("t", "e", kwh(3.0), Some(Mono(1000))), kwh(500.0));
        }
        assert_eq!(guard.pass("t", "e", kwh(3.0), Some(Mono(90_000))), kwh(500.0), "two readings");
    }

    #[test]
    fn null_passes_and_is_not_remembered() {
        let mut guard = Guard::default();
        guard.pass("t", "e", kwh(5.0), Some(Mono(0)));
        assert_eq!(guard.pass("t", "e", Out::Null, Some(Mono(1))), Out::Null);
        assert_eq!(guard.pass("t", "e", kwh(4.0), Some(Mono(2))), kwh(5.0));
    }
}

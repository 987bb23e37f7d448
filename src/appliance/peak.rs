//! The highest quarter of an hour of the month by the counter of import, for meters that keep none themselves
//! (1-0:1.6.0): a fee on peaks is charged on it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::quantity::Milliamp;

const QUARTER_MS: i64 = 900_000;
/// A frame counts as taken at the begin of a quarter when it comes within this time after it: 0.3 % of fifteen minutes
/// for a meter of every second, and no more than 7 % of one quarter for the slowest.
const BEGIN_MS: i64 = 60_000;

/// Without a fuse's rating: what a counter is believed without any doubt.
const MOST_KW: f64 = 500.0;
/// IEC 60269-1, conventional fusing current of gG: a fuse opens within the hour (up to 63 A) at so many times its rating.
const FUSING: f64 = 1.6;
/// EN 50160: 230 V and a tenth, in kV.
const HIGHEST_KV: f64 = 0.253;

/// No quarter behind this connection can have a higher mean, in kW: what leaps further is another counter.
pub(super) fn most_kw(fuse: Option<Milliamp>, phases: u8) -> f64 {
    fuse.map_or(MOST_KW, |it| it.as_f64() * f64::from(phases) * FUSING * HIGHEST_KV)
}

/// What was seen of this month; kept over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Peak {
    /// Year and month that `kw` belongs to.
    month: Option<(i16, i8)>,
    /// `None` before the first whole quarter.
    kw: Option<f64>,
    /// The running quarter since 1970, and the counter in kWh at its begin where a frame came then.
    quarter: i64,
    begin: Option<f64>,
}

impl Peak {
    /// The counter is another meter's: the running quarter has no begin by it.
    pub(super) fn exchanged(&mut self) {
        self.begin = None;
    }

    /// Takes a counter in kWh at `wall_ms`; gives the highest mean import of a whole quarter of this month so far, in kW.
    /// Nothing above `most` is one, whoever kept it.
    pub(super) fn take(&mut self, wall_ms: i64, import: f64, most: f64, zone: &TimeZone) -> Option<f64> {
        if !clock::is_set(wall_ms) {
            return None;
        }
        let quarter = wall_ms.div_euclid(QUARTER_MS);
        if quarter != self.quarter {
            let at_begin = (wall_ms.rem_euclid(QUARTER_MS) < BEGIN_MS).then_some(import);
            let mean =
                self.begin.zip(at_begin).filter(|_| quarter == self.quarter + 1).map(|(from, to)| (to - from) * 4.0);
            if let Some(mean) = mean.filter(|it| (0.0..=most).contains(it)) {
                // To the month in which it began.
                self.count(month(self.quarter, zone), mean);
            }
            (self.quarter, self.begin) = (quarter, at_begin);
        }
        self.kw = self.kw.filter(|it| (0.0..=most).contains(it));
        let this = month(quarter, zone);
        self.kw.filter(|_| this.is_some() && self.month == this)
    }

    fn count(&mut self, month: Option<(i16, i8)>, mean: f64) {
        if self.month != month {
            (self.month, self.kw) = (month, None);
        }
        // Counters tell Wh.
        let mean = (mean * 1000.0).round() / 1000.0;
        self.kw = Some(self.kw.map_or(mean, |it| it.max(mean)));
    }
}

/// The month in which a quarter begins.
fn month(quarter: i64, zone: &TimeZone) -> Option<(i16, i8)> {
    let begin = Timestamp::from_millisecond(quarter.checked_mul(QUARTER_MS)?).ok()?.to_zoned(zone.clone());
    Some((begin.year(), begin.month()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-30 22:00 in Brussels.
    const EVENING: i64 = 1_796_072_400_000;

    /// Frames of a minute from `from` to `to`, in minutes after the evening, at this power.
    fn run(peak: &mut Peak, counter: &mut f64, minutes: std::ops::Range<i64>, kw: f64) -> Option<f64> {
        let zone = TimeZone::get("Europe/Brussels").unwrap();
        let mut shown = None;
        for minute in minutes {
            shown = peak.take(EVENING + minute * 60_000 + 1_000, *counter, 27.6, &zone);
            *counter += kw / 60.0;
        }
        shown
    }

    #[test]
    fn the_highest_whole_quarter_of_the_month_is_kept_and_a_new_month_begins_at_midnight_there() {
        let (mut peak, mut counter) = (Peak::default(), 100.0);
        assert_eq!(run(&mut peak, &mut counter, 5..30, 9.0), None, "the first quarter was not seen from its begin");
        assert_eq!(run(&mut peak, &mut counter, 30..46, 2.0), Some(9.0));
        assert_eq!(run(&mut peak, &mut counter, 46..61, 4.0), Some(9.0));
        // A restart in mid-quarter forgets nothing.
        let kept = serde_json::to_string(&peak).unwrap();
        let mut peak: Peak = serde_json::from_str(&kept).unwrap();
        assert_eq!(run(&mut peak, &mut counter, 61..120, 3.0), Some(9.0));
        assert_eq!(run(&mut peak, &mut counter, 120..121, 3.0), None, "December");
        assert_eq!(run(&mut peak, &mut counter, 121..136, 3.0), Some(3.0));
    }

    #[test]
    fn a_quarter_with_a_gap_at_its_end_or_a_counter_that_fell_is_none() {
        let (mut peak, mut counter) = (Peak::default(), 100.0);
        run(&mut peak, &mut counter, 0..15, 1.0);
        counter += 50.0;
        assert_eq!(run(&mut peak, &mut counter, 17..31, 1.0), None, "fifty kWh of nobody knows when");
        run(&mut peak, &mut counter, 31..46, 1.0);
        counter = 3.0;
        assert_eq!(run(&mut peak, &mut counter, 46..76, 1.0), Some(1.0));
        assert_eq!(Peak::default().take(5_000, 1.0, 27.6, &TimeZone::UTC), None, "a clock that is not set");
    }

    #[test]
    fn another_meter_makes_no_peak_and_none_that_was_kept_is_believed() {
        let (mut peak, mut counter) = (Peak::default(), 100.0);
        run(&mut peak, &mut counter, 0..31, 2.0);
        counter += 300.0;
        assert_eq!(run(&mut peak, &mut counter, 31..46, 2.0), Some(2.0), "1200 kW went through no fuse");
        // Another meter that stands a little higher only.
        counter += 4.0;
        peak.exchanged();
        assert_eq!(run(&mut peak, &mut counter, 46..61, 2.0), Some(2.0));
        peak.kw = Some(1203.992);
        assert_eq!(run(&mut peak, &mut counter, 61..62, 2.0), None);
        assert_eq!(run(&mut peak, &mut counter, 62..91, 3.0), Some(3.0));
    }

    #[test]
    fn the_most_is_what_a_fuse_carries_for_less_than_an_hour() {
        assert!((most_kw(Some(Milliamp(25_000)), 3) - 30.36).abs() < 1e-9);
        assert!((most_kw(None, 3) - 500.0).abs() < 1e-9);
    }
}

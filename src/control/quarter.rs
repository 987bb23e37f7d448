//! The mean import of the running quarter of an hour, on which a capacity tariff is charged.
//!
//! Where the quarters begin is the meter's word: its running mean (1-0:1.4.0) begins anew with each, else its telegram
//! time. Else it is the wall clock's, else nobody's: then every fifteen minutes count. A clock that jumps moves the end of
//! the quarter; the one that was running is kept to its own end beside it, so that both countings hold. The energy is
//! integrated here from the meter's power, and never less than what the meter's own running mean says.

use crate::quantity::{Mono, Span, Watt};

use super::running_mean::RunningMean;

/// Length of a quarter.
const QUARTER: Span = Span::from_secs(900);
/// Resolution of what is remembered.
const BUCKET: i64 = 5_000;
/// Two quarters.
const BUCKETS: usize = 360;
/// Stamps come in whole seconds and telegrams are late; more than this is a clock that was set.
const JITTER: i64 = 3_000;
/// What is left of the energy is spread over at least this time, the beginning of the next quarter included.
const SPREAD: Span = Span::from_secs(60);
/// What is lost where power is taken for current and back, in W.
const ROUNDING: i64 = 10;
/// And never over less than this: cars take seconds to follow.
const LEAST: Span = Span::from_secs(5);
/// Part of the limit by which the house may grow without that the quarter is lost, for a car to be kept running.
const RESERVE_PERMILLE: i64 = 450;
/// Part of the limit that is kept for what the house switches on when no charging is left to be cut.
const KEPT_PERMILLE: i64 = 15;

/// The running quarter.
#[derive(Clone, Debug)]
pub(super) struct Quarter {
    /// Imported energy of each bucket in W·ms, by bucket number modulo the length.
    energy: [i64; BUCKETS],
    /// Number of the newest bucket.
    newest: i64,
    born: Option<Mono>,
    /// Import at the last frame, and how far it was counted.
    power: Watt,
    counted: Option<Mono>,
    /// End of the running quarter, and of one that a clock had begun before it was set.
    end: Option<Mono>,
    other: Option<Mono>,
    by_meter: bool,
    mean: RunningMean,
}

impl Default for Quarter {
    fn default() -> Self {
        Self {
            energy: [0; BUCKETS],
            newest: 0,
            born: None,
            power: Watt::ZERO,
            counted: None,
            end: None,
            other: None,
            by_meter: false,
            mean: RunningMean::default(),
        }
    }
}

impl Quarter {
    /// A believed frame of the grid meter. `stamp` is the meter's own time in seconds, a multiple of 900 at the begin of
    /// a quarter.
    pub(super) fn frame(&mut self, sampled_at: Mono, import: Watt, stamp: Option<i64>, demand: Option<Watt>) {
        self.pass(sampled_at);
        let import = import.max(Watt::ZERO);
        self.mean.hear(sampled_at, demand, self.power, import);
        self.power = import;
        if let Some(begun) = self.mean.begun() {
            self.mean.compare(self.since(begun, Watt::ZERO));
        }
        let told = stamp.map(|stamp| Span(stamp.rem_euclid(900) * 1_000));
        if let Some(passed) = self.mean.passed(sampled_at).or(told) {
            self.by_meter = true;
            self.follow(sampled_at, passed);
        }
    }

    /// The wall clock in seconds where it is set.
    pub(super) fn clock(&mut self, now: Mono, wall: Option<i64>) {
        if let Some(wall) = wall.filter(|_| !self.by_meter) {
            self.follow(now, Span(wall.rem_euclid(900) * 1_000));
        }
        self.pass(now);
    }

    /// So much of the quarter has passed, by whoever tells it.
    fn follow(&mut self, at: Mono, passed: Span) {
        let end = at + Span(QUARTER.0 - passed.0);
        let differs = |other: Mono| (end.0 - other.0).abs() > JITTER;
        match self.end {
            // The telegram of the last second of a quarter comes in the next one.
            Some(old) if old > at && differs(old) => {
                self.other = Some(self.other.map_or(old, |other| other.max(old)));
                self.end = Some(end);
            }
            Some(old) if old > at => {}
            _ => self.end = Some(end),
        }
        self.other = self.other.filter(|other| *other > at);
    }

    /// Counts the import up to `until`.
    fn pass(&mut self, until: Mono) {
        self.born.get_or_insert(until);
        let mut from = *self.counted.get_or_insert(until);
        while from < until {
            let bucket = from.0.div_euclid(BUCKET);
            while self.newest < bucket {
                self.newest = (self.newest + 1).max(bucket - BUCKETS as i64);
                self.energy[place(self.newest)] = 0;
            }
            let next = until.min(Mono((bucket + 1) * BUCKET));
            self.energy[place(bucket)] += i64::from(self.power.0) * next.since(from).0;
            from = next;
        }
        self.counted = Some(from);
    }

    /// Imported since `from`, in W·ms; what was before the first frame counts with `unknown`.
    fn since(&self, from: Mono, unknown: Watt) -> i64 {
        let now = self.counted.unwrap_or(from);
        let first = from.0.div_euclid(BUCKET);
        let mut sum = 0;
        for bucket in first.max(self.newest - BUCKETS as i64 + 1)..=self.newest {
            sum += self.energy[place(bucket)];
        }
        let before = self.born.unwrap_or(now).min(now).since(from);
        sum + i64::from(unknown.0) * before.0
    }

    /// What may be imported from now on so that the mean of the quarter stays under `limit`. `running`: what the house
    /// takes now, and the least at which whoever charges goes on.
    ///
    /// A kettle is no reason to stop a car while the quarter has energy left: as long as the house alone, and
    /// nearly half of the limit more, can be paid for from what is left, the least goes on and what it costs is saved later.
    pub(super) fn allowed(&self, now: Mono, limit: Watt, running: Option<(Watt, Watt)>) -> Watt {
        let whole = i64::from(limit.0) * (2_000 - KEPT_PERMILLE) / 2_000 * QUARTER.0;
        let limit = Watt(clamp(i64::from(limit.0) * (1_000 - KEPT_PERMILLE) / 1_000));
        let until = |end: Mono| {
            let left = end.since(now).min(QUARTER);
            let begun = end - QUARTER;
            let used = self.since(begun, limit).max(self.mean.used(begun));
            let rest = i64::from(limit.0) * QUARTER.0 - used;
            let spread = rest / left.max(LEAST).0;
            // The next quarter begins with the limit, whatever this one has left.
            let beyond = (SPREAD.0 - left.0).max(0);
            let smooth = (rest + i64::from(limit.0) * beyond) / left.max(SPREAD).0;
            let even = spread.min(smooth);
            let kept = running.map_or(i64::MIN, |(house, least)| {
                // What the sun pays of the least is no import.
                let kept = (i64::from(house.0) + i64::from(least.0)).max(0) + ROUNDING;
                let house = i64::from(house.0.max(0));
                let reserve = i64::from(limit.0) * RESERVE_PERMILLE / 1_000;
                // Or it ends well anyway, with half of what is kept.
                let ends = whole - used >= kept * left.0;
                if spread >= house + reserve || ends { kept } else { i64::MIN }
            });
            Watt(clamp(even.max(kept)))
        };
        let Some(end) = self.end.filter(|end| *end > now) else {
            // Every fifteen minutes count: those that end soon, and what half of one has left is no credit.
            return until(now + Span(QUARTER.0 / 2)).min(until(now + SPREAD)).min(limit);
        };
        self.other.filter(|other| *other > now).map_or(until(end), |other| until(end).min(until(other)))
    }
}

fn place(bucket: i64) -> usize {
    usize::try_from(bucket.rem_euclid(BUCKETS as i64)).unwrap_or(0)
}

fn clamp(watts: i64) -> i32 {
    i32::try_from(watts.clamp(-1_000_000_000, 1_000_000_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Watt = Watt(5_000);
    const KEPT: i32 = 4_925;

    fn at(second: i64) -> Mono {
        Mono(second * 1_000)
    }

    /// One frame a second of the same power.
    fn run(quarter: &mut Quarter, seconds: std::ops::Range<i64>, watts: i32) {
        for second in seconds {
            quarter.frame(at(second), Watt(watts), None, None);
            quarter.clock(at(second), Some(second));
        }
    }

    fn near(found: Watt, expected: i32) {
        assert!((found.0 - expected).abs() <= 40, "{found:?}, expected about {expected}");
    }

    #[test]
    fn what_was_not_used_may_be_used_in_the_rest() {
        let mut quarter = Quarter::default();
        run(&mut quarter, 0..450, 2_000);
        near(quarter.allowed(at(450), LIMIT, None), 2 * KEPT - 2_000);
        run(&mut quarter, 450..891, 2_000);
        near(quarter.allowed(at(891), LIMIT, None), (KEPT - 2_000) * 15 + 2_000 * 9 / 60 + KEPT * 51 / 60);
        run(&mut quarter, 891..902, 2_000);
        near(quarter.allowed(at(902), LIMIT, None), KEPT + 6);
    }

    #[test]
    fn what_was_used_too_much_is_saved_in_the_rest() {
        let mut quarter = Quarter::default();
        run(&mut quarter, 0..300, 10_000);
        near(quarter.allowed(at(300), LIMIT, None), (KEPT * 900 - 10_000 * 300) / 600);
        run(&mut quarter, 300..500, 10_000);
        assert!(quarter.allowed(at(500), LIMIT, None) < Watt::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_keeps_both_countings() {
        let mut quarter = Quarter::default();
        run(&mut quarter, 0..600, 4_000);
        let before = quarter.allowed(at(600), LIMIT, None);
        // Ten minutes forward: by the new clock the quarter has just begun, by the old one it has 300 s to go.
        quarter.frame(at(601), Watt(8_000), None, None);
        quarter.clock(at(601), Some(601 + 600));
        assert!(quarter.allowed(at(601), LIMIT, None) <= before, "nothing is won by it");
        for second in 602..902 {
            quarter.frame(at(second), Watt(8_000), None, None);
            quarter.clock(at(second), Some(second + 600));
        }
        // The old quarter is over, the new one has had 300 s of 4 kW and 300 s of 8 kW.
        near(quarter.allowed(at(902), LIMIT, None), (KEPT * 900 - 4_000 * 300 - 8_000 * 300) / 300);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_new_quarter() {
        let mut quarter = Quarter::default();
        run(&mut quarter, 0..600, 8_000);
        assert!(quarter.allowed(at(600), LIMIT, None) < Watt::ZERO);
        // By the new clock nothing of this quarter has been used.
        quarter.clock(at(600), Some(0));
        assert!(quarter.allowed(at(600), LIMIT, None) < Watt::ZERO, "the old one is not over");
        quarter.clock(at(901), Some(301));
        near(quarter.allowed(at(901), LIMIT, None), (KEPT * 900 - 8_000 * 301) / 599);
    }

    #[test]
    fn the_meters_own_quarters_and_mean_come_first() {
        let mut quarter = Quarter::default();
        for second in 0..100 {
            // The meter's quarter has 600 s behind it, and it knows what was imported before we came.
            quarter.frame(at(second), Watt(1_000), Some(600 + second), Some(Watt(4_500)));
            quarter.clock(at(second), Some(second));
        }
        near(quarter.allowed(at(99), LIMIT, None), (KEPT * 900 - 4_500 * 900) / 201);
    }

    /// Seconds of the same power at a meter that tells no time, whose quarters end at 900 less `ahead`, and a wall clock.
    fn accrue(quarter: &mut Quarter, seconds: std::ops::Range<i64>, watts: i32, ahead: i64) {
        for second in seconds {
            let passed = (second + ahead).rem_euclid(900);
            let demand = i64::from(watts) * passed / 900;
            quarter.frame(at(second), Watt(watts), None, Some(Watt(demand as i32)));
            quarter.clock(at(second), Some(second));
        }
    }

    #[test]
    fn the_running_mean_tells_where_the_quarter_begins_whatever_our_clock_says() {
        // The meter is 400 s ahead of us: its quarters end at 500 s, 1400 s, …
        let mut quarter = Quarter::default();
        accrue(&mut quarter, 0..499, 4_000, 400);
        near(quarter.allowed(at(498), LIMIT, None), (KEPT * 900 - 4_000 * 898) / 402);
        accrue(&mut quarter, 499..502, 4_000, 400);
        // By our clock 400 s are left of the quarter that began with us. Both countings hold until it is over.
        let both = quarter.allowed(at(501), LIMIT, None);
        near(both, (KEPT * 900 - 4_000) / 899);
        assert!(both < Watt((KEPT * 900 - 4_000 * 501) / 399), "the lower of both");
        accrue(&mut quarter, 502..950, 4_000, 400);
        near(quarter.allowed(at(949), LIMIT, None), (KEPT * 900 - 4_000 * 449) / 451);
        // What is done from now on ends with the meter's quarter, not with ours.
        accrue(&mut quarter, 950..1_390, 4_000, 400);
        let late = quarter.allowed(at(1_389), LIMIT, None);
        assert!(late > Watt(9_000), "{late:?} for the last 11 s");
        accrue(&mut quarter, 1_390..1_404, 4_000, 400);
        near(quarter.allowed(at(1_403), LIMIT, None), (KEPT * 900 - 4_000 * 3) / 897);
    }

    #[test]
    fn a_wall_clock_that_comes_late_or_jumps_does_not_move_the_meters_quarter() {
        let mut quarter = Quarter::default();
        accrue(&mut quarter, 0..1_450, 3_000, 400);
        let before = quarter.allowed(at(1_449), LIMIT, None);
        quarter.clock(at(1_449), Some(1_449 + 700));
        assert_eq!(quarter.allowed(at(1_449), LIMIT, None), before);
    }

    #[test]
    fn without_any_clock_there_is_no_credit() {
        let mut quarter = Quarter::default();
        for second in 0..2_000 {
            quarter.frame(at(second), Watt(0), None, None);
        }
        near(quarter.allowed(at(2_000), LIMIT, None), KEPT);
        for second in 2_000..2_300 {
            quarter.frame(at(second), Watt(9_000), None, None);
        }
        assert!(quarter.allowed(at(2_300), LIMIT, None) <= Watt(KEPT));
    }

    #[test]
    fn a_kettle_does_not_stop_a_car_while_the_quarter_has_energy_left() {
        let mut quarter = Quarter::default();
        run(&mut quarter, 0..300, 4_500);
        let kettle = Some((Watt(2_500), Watt(4_140)));
        assert_eq!(quarter.allowed(at(300), LIMIT, kettle), Watt(2_500 + 4_140 + 10), "goes on");
        near(quarter.allowed(at(300), LIMIT, None), (KEPT * 900 - 4_500 * 300) / 600);
        run(&mut quarter, 300..600, 6_640);
        let left = (KEPT * 900 - 4_500 * 300 - 6_640 * 300) / 300;
        near(quarter.allowed(at(600), LIMIT, kettle), left.max(0));
        let little = Some((Watt(500), Watt(1_380)));
        assert_eq!(quarter.allowed(at(600), LIMIT, little), Watt(1_890).max(quarter.allowed(at(600), LIMIT, None)));
    }

    #[test]
    fn the_last_seconds_of_a_quarter_are_no_reason_to_stop_what_fits_into_it() {
        let mut quarter = Quarter::default();
        run(&mut quarter, 0..895, 4_936);
        let running = Some((Watt(700), Watt(4_140)));
        assert_eq!(quarter.allowed(at(895), LIMIT, running), Watt(4_850));
        assert!(quarter.allowed(at(895), LIMIT, None) < Watt(4_850));
    }
}

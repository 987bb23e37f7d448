//! What the meter's own running mean of the quarter of an hour (1-0:1.4.0) tells.
//!
//! Belgian meters tell the energy since the quarter began, divided by the whole quarter: it begins at zero, grows and
//! never falls before the next one begins. Published telegrams show it (56 s after a quarter hour, at 0.524 kW:
//! `1-0:1.4.0(00.032*kW)`; 356 s after one, at 0.182 kW: 0.078 kW), and it is how COSEM defines the current average value
//! of a demand register. A mean over the time since the quarter began, which other meters may have, is told from it by its
//! size: it is compared with what was integrated here. Either falls to nearly nothing or to the present power when a
//! quarter begins; only a fall to nearly nothing is taken for one.

use crate::quantity::{Mono, Span, Watt};

/// Length of a quarter.
const QUARTER: Span = Span::from_secs(900);
/// It has a resolution of a watt.
const STEP: i64 = 2;
/// A fall of less than this for each second between two frames is none: a mean of the *last* fifteen minutes may fall by
/// 50 W a second when a load of 45 kW leaves it.
const FALL: i64 = 50;
/// Between two frames that are further apart the begin is not known well enough.
const LONGEST: Span = Span::from_secs(60);
/// The meter's clock is set from time to time, and a house that exports for hours shows no begin.
const HOLDS: Span = Span::from_secs(6 * 3_600);
/// In a quarter whose begin was not seen in it, the first frames may still tell the one before.
const EARLY: Span = Span::from_secs(30);
/// So long after the begin both kinds of mean are told apart, and until then.
const TELLING: (Span, Span) = (Span::from_secs(60), Span::from_secs(450));
/// So much energy in W·ms must have come for it.
const ENOUGH: i64 = 45_000_000;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunningMean {
    told: Option<(Mono, Watt)>,
    /// When a quarter was last seen to begin.
    begun: Option<Mono>,
    /// It is a mean over the time since the quarter began, not over the whole quarter.
    over_elapsed: bool,
}

impl RunningMean {
    /// A frame's mean; the import before it and in it.
    pub(super) fn hear(&mut self, at: Mono, mean: Option<Watt>, before: Watt, import: Watt) {
        let last = self.told;
        self.told = mean.map(|mean| (at, mean));
        let (Some((last_at, last)), Some(mean)) = (last, mean) else { return };
        let gap = at.since(last_at).0;
        if !(1..=LONGEST.0).contains(&gap) {
            return;
        }
        let fall = i64::from(last.0) - i64::from(mean.0);
        let energy = i64::from(mean.0) * QUARTER.0;
        let most = i64::from(before.max(import).0) * gap * 3 / 2 + STEP * QUARTER.0;
        if fall * 1_000 >= FALL * gap.max(1_000) && energy <= most {
            let ago = energy.checked_div(i64::from(import.0)).unwrap_or(0);
            self.begun = Some(at + Span(-ago.clamp(0, gap)));
        }
    }

    /// When the running quarter was seen to begin, where it was.
    pub(super) fn begun(&self) -> Option<Mono> {
        let (at, _) = self.told?;
        self.begun.filter(|begun| at.since(*begun) < QUARTER)
    }

    /// How much of the meter's quarter has passed, once it was seen where they begin.
    pub(super) fn passed(&self, now: Mono) -> Option<Span> {
        let since = now.since(self.begun?);
        (since < HOLDS).then(|| Span(since.0.rem_euclid(QUARTER.0)))
    }

    /// Learns which kind of mean it is. `energy`: integrated here since the begin that was seen, in W·ms.
    pub(super) fn compare(&mut self, energy: i64) {
        let (Some((at, mean)), Some(begun)) = (self.told, self.begun()) else { return };
        let passed = at.since(begun);
        if passed >= TELLING.0 && passed <= TELLING.1 && energy >= ENOUGH {
            let off = |over: Span| (i64::from(mean.0) * over.0 - energy).abs();
            self.over_elapsed = off(passed) < off(QUARTER);
        }
    }

    /// What the meter says was imported in the quarter that began at `begun`, in W·ms; 0 where it says nothing of it.
    pub(super) fn used(&self, begun: Mono) -> i64 {
        let Some((at, mean)) = self.told else { return 0 };
        let seen = self.begun.is_some_and(|seen| seen.since(begun).0.abs() <= LONGEST.0);
        if at < begun || !(seen || at.since(begun) >= EARLY) {
            return 0;
        }
        let over = if self.over_elapsed { at.since(begun).min(QUARTER) } else { QUARTER };
        i64::from(mean.0.max(0)) * over.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Mono {
        Mono(second * 1_000)
    }

    /// Means of so many seconds at one frame in `period` seconds, at the same power.
    fn hear(it: &mut RunningMean, seconds: std::ops::Range<i64>, period: usize, watts: i32, mean: impl Fn(i64) -> i32) {
        for second in seconds.step_by(period) {
            it.hear(at(second), Some(Watt(mean(second))), Watt(watts), Watt(watts));
        }
    }

    /// The kind that Belgian meters have.
    fn accrued(second: i64, watts: i32) -> i32 {
        (i64::from(watts) * second.rem_euclid(900) / 900) as i32
    }

    #[test]
    fn a_quarter_is_seen_to_begin_at_one_frame_a_second_and_at_one_in_ten() {
        for period in [1, 10] {
            let mut it = RunningMean::default();
            hear(&mut it, 3..1_000, period, 4_000, |second| accrued(second, 4_000));
            let begun = it.begun().expect("it has begun");
            assert!((begun.0 - 900_000).abs() <= 1_000, "{begun:?}");
            let passed = it.passed(at(2_000)).expect("those after it are known");
            assert!((passed.0 - 200_000).abs() <= 1_000, "{passed:?}");
            assert_eq!(it.passed(at(902) + HOLDS), None);
        }
    }

    #[test]
    fn a_mean_of_the_last_fifteen_minutes_never_begins_anew() {
        let mut it = RunningMean::default();
        // 25 kW go, and leave the mean second by second.
        hear(&mut it, 0..900, 1, 0, |second| 25_000 - (25_000 * second / 900) as i32);
        assert_eq!(it.begun, None);
    }

    #[test]
    fn neither_a_long_gap_nor_small_falls_nor_a_missing_value_is_a_begin() {
        let mut it = RunningMean::default();
        let mut tell = |second, mean| it.hear(at(second), mean, Watt(100), Watt(100));
        tell(0, Some(Watt(3_000)));
        tell(61, Some(Watt(0)));
        tell(62, Some(Watt(40)));
        tell(63, Some(Watt(0)));
        tell(64, Some(Watt(3_000)));
        tell(65, None);
        tell(66, Some(Watt(0)));
        tell(67, Some(Watt(3_000)));
        tell(68, Some(Watt(2_000)));
        assert_eq!(it.begun, None);
    }

    #[test]
    fn a_mean_over_the_time_that_has_passed_is_told_from_one_over_the_whole_quarter() {
        for over_elapsed in [false, true] {
            let mut it = RunningMean::default();
            hear(&mut it, 880..900, 1, 3_000, |second| accrued(second, 3_000));
            // The house exports when the quarter begins, so that either kind begins at zero.
            it.hear(at(900), Some(Watt(0)), Watt(0), Watt(0));
            assert_eq!(it.begun(), Some(at(900)));
            for second in 901..1_100 {
                let energy = 3_000 * (second - 900) * 1_000;
                let mean = if over_elapsed { 3_000 } else { accrued(second, 3_000) };
                it.hear(at(second), Some(Watt(mean)), Watt(3_000), Watt(3_000));
                it.compare(energy);
            }
            let used = it.used(at(900));
            assert!((used - 3_000 * 199_000).abs() <= 2 * QUARTER.0, "{used} W·ms, {over_elapsed}");
        }
    }

    #[test]
    fn the_mean_of_the_quarter_before_is_not_counted_in_this_one() {
        let mut it = RunningMean::default();
        hear(&mut it, 0..905, 1, 4_900, |_| 4_900);
        assert_eq!(it.used(at(900)), 0, "nobody saw it begin, and it has just begun by the clock");
        hear(&mut it, 905..931, 1, 4_900, |_| 4_900);
        assert_eq!(it.used(at(900)), 4_900 * QUARTER.0, "still so: the clock is wrong, and the meter goes on");
    }
}

//! When a frame was sampled, by the monotonic clock.
//!
//! The receive time less what this frame came later than the quickest one. The meter's stamps only show that
//! difference; a meter's clock may be set at any time, forwards, backwards, by an hour in spring and autumn. A stamp
//! that is suddenly further off is a delay until a run of frames came as far apart as their stamps are: then the clock
//! was set. A delay that grows bit by bit is never taken for a clock, nor is a stamp that stands still.

use crate::quantity::{Mono, Span};
use crate::reading::MeterReading;

/// A step between two frames that their jitter and stamps in whole seconds do not explain; more for a slow meter.
const STEP: i64 = 1_500;
const STEP_OF_PERIOD: i64 = 4;
/// Frames that must follow a step at the distance of their stamps before the step counts as the clock's.
const STEADY: u32 = 4;
/// A meter's clock may run slow by one part in so many; it must not look like a growing delay.
const DRIFT: i64 = 1_000;

/// What is known of the meter's clock.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    stamp: i64,
    /// Receive time less stamp of the newest frame.
    newest: i64,
    /// The smallest seen: the clock's offset plus the shortest delay.
    smallest: i64,
    crept_at: Mono,
    /// Sum of the steps that are not attributed yet.
    stepped: i64,
    /// Frames since the last step that came as far apart as their stamps.
    steady: u32,
    drift: i64,
}

impl Anchor {
    fn new(received_at: Mono, stamp: i64, offset: i64) -> Self {
        Self { stamp, newest: offset, smallest: offset, crept_at: received_at, stepped: 0, steady: 0, drift: 0 }
    }

    /// A frame with a stamp of its own.
    fn advance(&mut self, stamp: i64, offset: i64, step: i64) {
        let moved = offset.saturating_sub(self.newest);
        self.stamp = stamp;
        self.newest = offset;
        self.drift = self.drift.saturating_add(moved);
        if moved.saturating_abs() > step {
            self.stepped = self.stepped.saturating_add(moved);
        }
        if self.drift.saturating_abs() > step {
            self.steady = 0;
            self.drift = 0;
            return;
        }
        self.steady = self.steady.saturating_add(1);
        if self.steady >= STEADY {
            self.smallest = self.smallest.saturating_add(self.stepped.max(0));
            self.stepped = 0;
        }
    }

    fn creep(&mut self, received_at: Mono) {
        let by = received_at.since(self.crept_at).0 / DRIFT;
        self.smallest = self.smallest.saturating_add(by);
        self.crept_at = self.crept_at + Span(by * DRIFT);
    }

    fn delay(&mut self, offset: i64) -> Span {
        if offset < self.smallest {
            self.smallest = offset;
            self.stepped = 0;
        }
        Span(offset.saturating_sub(self.smallest))
    }
}

/// The source of one meter's sample times.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sampling {
    anchor: Option<Anchor>,
    /// Newest sample time.
    newest: Option<Mono>,
}

impl Sampling {
    /// The frame says nothing about a moment that was not known already.
    pub(super) fn repeats(&self, reading: &MeterReading) -> bool {
        let same_stamp = reading.stamp.is_some() && reading.stamp == self.anchor.map(|it| it.stamp);
        let same_time = reading.sampled_at.is_some_and(|at| self.newest.is_some_and(|last| at <= last));
        same_stamp || same_time
    }

    /// The source's own statement, or the receive time less what this frame came later than the quickest one.
    pub(super) fn sample_time(&mut self, reading: &MeterReading, period: Option<Span>) -> Mono {
        let repeated = self.repeats(reading);
        let sampled_at = match (reading.sampled_at, reading.stamp) {
            (Some(sampled_at), _) => sampled_at.min(reading.received_at),
            (None, Some(stamp)) => self.by_stamp(reading.received_at, stamp, period),
            (None, None) => reading.received_at,
        };
        if !repeated {
            self.newest = Some(sampled_at);
        }
        sampled_at
    }

    fn by_stamp(&mut self, received_at: Mono, stamp: i64, period: Option<Span>) -> Mono {
        let offset = received_at.0.saturating_sub(stamp.saturating_mul(1_000));
        let anchor = self.anchor.get_or_insert_with(|| Anchor::new(received_at, stamp, offset));
        if stamp != anchor.stamp {
            let step = period.map_or(STEP, |period| STEP.max(period.0 / STEP_OF_PERIOD));
            anchor.advance(stamp, offset, step);
        }
        anchor.creep(received_at);
        received_at - anchor.delay(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Option<Span> = Some(Span(1_000));

    fn frame(received_ms: i64, stamp: i64) -> MeterReading {
        MeterReading { received_at: Mono(received_ms), stamp: Some(stamp), ..MeterReading::default() }
    }

    /// Feeds one frame a second from `seconds`, its stamp off by `offset`; the delay that the last is given.
    fn run(sampling: &mut Sampling, seconds: std::ops::Range<i64>, offset: i64, late_ms: i64) -> i64 {
        let mut delay = 0;
        for second in seconds {
            let reading = frame(second * 1_000 + late_ms, second + offset);
            delay = reading.received_at.since(sampling.sample_time(&reading, PERIOD)).0;
        }
        delay
    }

    #[test]
    fn a_late_frame_is_taken_at_its_own_time() {
        let mut sampling = Sampling::default();
        assert_eq!(run(&mut sampling, 0..60, 0, 200), 0);
        // Less what the anchor may have crept since the quickest frame.
        let delay = run(&mut sampling, 60..61, 0, 3_200);
        assert!((2_990..=3_000).contains(&delay), "{delay} ms");
        assert_eq!(run(&mut sampling, 61..70, 0, 200), 0);
    }

    #[test]
    fn a_clock_that_was_set_is_found_after_five_frames_whatever_the_jump() {
        for jump in [2, 5, 8, 30, 59, 61, 3_600, 86_400] {
            let mut sampling = Sampling::default();
            run(&mut sampling, 0..60, 0, 0);
            let delay = run(&mut sampling, 60..64, -jump, 0);
            assert!((delay - jump * 1_000).abs() < 100, "{jump} s back: {delay} ms");
            assert_eq!(run(&mut sampling, 64..65, -jump, 0), 0, "{jump} s back");
            assert_eq!(run(&mut sampling, 65..66, 0, 0), 0, "{jump} s forward at once");
            let delay = run(&mut sampling, 66..70, -jump, 0);
            assert!((delay - jump * 1_000).abs() < 100, "{jump} s back again: {delay} ms");
            assert_eq!(run(&mut sampling, 70..71, -jump, 0), 0);
        }
    }

    #[test]
    fn a_delay_that_grows_is_not_taken_for_a_clock() {
        let mut sampling = Sampling::default();
        run(&mut sampling, 0..60, 0, 0);
        for second in 60..160 {
            let late = (second - 60) * 100;
            let reading = frame(second * 1_000 + late, second);
            let delay = reading.received_at.since(sampling.sample_time(&reading, PERIOD)).0;
            assert!((delay - late).abs() < 200, "{delay} ms for {late} ms");
        }
    }

    #[test]
    fn a_burst_after_a_stall_is_taken_at_its_own_times() {
        let mut sampling = Sampling::default();
        run(&mut sampling, 0..60, 0, 0);
        for (place, stamp) in (60..80).enumerate() {
            let reading = frame(80_000 + place as i64 * 10, stamp);
            let sampled_at = sampling.sample_time(&reading, PERIOD);
            assert!((sampled_at.0 - stamp * 1_000).abs() < 200, "stamp {stamp}: {sampled_at:?}");
        }
        assert_eq!(run(&mut sampling, 81..90, 0, 0), 0);
    }

    #[test]
    fn a_stamp_that_stands_still_stays_where_it_was() {
        let mut sampling = Sampling::default();
        run(&mut sampling, 0..60, 0, 0);
        for second in 60..500 {
            let reading = frame(second * 1_000, 59);
            assert!(sampling.repeats(&reading));
            let sampled_at = sampling.sample_time(&reading, PERIOD);
            assert!((sampled_at.0 - 59_000).abs() < 1_000, "{sampled_at:?}");
        }
    }

    #[test]
    fn a_slow_clock_is_followed_by_time_not_by_frames() {
        for period in [1, 10] {
            let mut sampling = Sampling::default();
            for frames in 0..2_000 {
                let received = frames * period * 1_000;
                // Half a part in a thousand slow.
                let reading = frame(received, (received - received / 2_000) / 1_000);
                let delay = reading.received_at.since(sampling.sample_time(&reading, Some(Span(period * 1_000)))).0;
                assert!(delay <= 1_100, "{delay} ms after {frames} frames of {period} s");
            }
        }
    }
}

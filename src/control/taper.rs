//! A car that takes less than it is offered gives the rest back, and gets it again when it uses what it has.

use crate::quantity::{Milliamp, Mono, Span};

/// Left above the draw: cars draw 0.3 to 1 A less than offered.
const ABOVE: Milliamp = Milliamp::from_amps(1);
/// A draw must be steady under an offer in effect for this long.
const SETTLED: Span = Span::from_secs(12);
/// A draw that grows by this uses what it has.
const GROWS: Milliamp = Milliamp(300);
/// The car is asked after so long whether it would take more, and after twice as long each time that it did not, at most
/// after the second.
const RETRY: (Span, Span) = (Span::from_secs(180), Span::from_secs(1_440));
/// It is asked by so much more: what the others lose meanwhile.
const ASK: Milliamp = Milliamp::from_amps(2);

/// What one car was found to take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taper {
    /// The draw on which the ceiling rests, and since when.
    found: Option<(Milliamp, Mono)>,
    /// It is being asked.
    asking: bool,
    /// How often it was asked for nothing.
    refusals: u8,
    peak: Milliamp,
    steady_since: Option<Mono>,
}

impl Taper {
    /// Looks at a measured draw. `effective_at` is when the offer took effect.
    pub(super) fn watch(
        &mut self,
        now: Mono,
        drawn: Milliamp,
        offer: Milliamp,
        step: Milliamp,
        effective_at: Option<Mono>,
    ) {
        if let Some((found, since)) = self.found {
            let pause = Span(RETRY.0.0 << self.refusals.min(8)).min(RETRY.1);
            if drawn > found + GROWS {
                *self = Self::default();
                return;
            }
            if drawn + GROWS < found {
                // It falls further, as at the end of a charge.
                self.found = Some((drawn, since));
            }
            if !self.asking {
                self.asking = now.since(since) >= pause;
                self.steady_since = None;
                return;
            }
        }
        let idle = offer - drawn - ABOVE;
        let growing = drawn > self.peak + GROWS;
        let Some(effective) = effective_at.filter(|_| idle >= step && !growing) else {
            self.peak = drawn;
            self.steady_since = None;
            return;
        };
        let since = *self.steady_since.get_or_insert(now);
        if now.since(since.max(effective)) >= SETTLED {
            self.refusals = self.refusals.saturating_add(u8::from(self.asking));
            self.asking = false;
            self.found = Some((drawn, now));
        }
    }

    /// The ceiling that leaves the car 1 A more than it takes, in whole steps.
    pub(super) fn cap(&self, step: Milliamp) -> Option<Milliamp> {
        let above = if self.asking { ABOVE + ASK } else { ABOVE };
        self.found.map(|(drawn, _)| Milliamp((drawn + above).0.saturating_add(step.0 - 1)).floor_to(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Milliamp = Milliamp(1000);

    fn watch(taper: &mut Taper, seconds: std::ops::Range<i64>, drawn: i32, offer: i32) {
        for second in seconds {
            taper.watch(Mono(second * 1000), Milliamp(drawn), Milliamp(offer), STEP, Some(Mono(0)));
        }
    }

    #[test]
    fn the_rest_is_given_back_after_a_while_and_returns_with_use() {
        let mut taper = Taper::default();
        watch(&mut taper, 0..12, 9_400, 16_000);
        assert_eq!(taper.cap(STEP), None);
        watch(&mut taper, 12..14, 9_400, 16_000);
        assert_eq!(taper.cap(STEP), Some(Milliamp(11_000)));
        watch(&mut taper, 14..15, 10_400, 11_000);
        assert_eq!(taper.cap(STEP), None);
    }

    #[test]
    fn a_car_that_draws_its_ampere_less_keeps_its_offer() {
        let mut taper = Taper::default();
        watch(&mut taper, 0..1000, 15_000, 16_000);
        watch(&mut taper, 1000..2000, 14_200, 16_000);
        assert_eq!(taper.cap(STEP), None);
    }

    #[test]
    fn a_new_offer_is_judged_from_when_it_took_effect() {
        let mut taper = Taper::default();
        watch(&mut taper, 0..11, 6_000, 10_000);
        for second in 11..23 {
            taper.watch(Mono(second * 1000), Milliamp(6_000), Milliamp(16_000), STEP, Some(Mono(11_000)));
            assert_eq!(taper.cap(STEP), None, "{second} s");
        }
        taper.watch(Mono(23_000), Milliamp(6_000), Milliamp(16_000), STEP, Some(Mono(11_000)));
        assert_eq!(taper.cap(STEP), Some(Milliamp(7_000)));
    }

    #[test]
    fn a_ramp_is_not_a_taper() {
        let mut taper = Taper::default();
        for second in 0..60 {
            taper.watch(Mono(second * 1000), Milliamp(second as i32 * 500), Milliamp(32_000), STEP, Some(Mono(0)));
        }
        assert_eq!(taper.cap(STEP), None);
    }

    #[test]
    fn it_is_asked_again_by_a_little_and_less_and_less_often() {
        let mut taper = Taper::default();
        watch(&mut taper, 0..14, 8_000, 16_000);
        assert_eq!(taper.cap(STEP), Some(Milliamp(9_000)));
        let mut asked = Vec::new();
        for second in 14..4_000 {
            let offer = taper.cap(STEP).map_or(16_000, |cap| cap.0);
            taper.watch(Mono(second * 1000), Milliamp(8_000), Milliamp(offer), STEP, Some(Mono(0)));
            let now = taper.cap(STEP).map_or(0, |cap| cap.0);
            if now > offer {
                assert_eq!(now, 11_000);
                asked.push(second);
            }
        }
        assert_eq!(asked, [193, 566, 1_299, 2_752]);
        taper.watch(Mono(4_001_000), Milliamp(8_500), Milliamp(9_000), STEP, Some(Mono(0)));
        assert_eq!(taper.cap(STEP), None, "it uses what it has");
    }
}

//! A meter that tells all phases together only, in front of something that produces power: what flows in on one phase
//! and out on another cancels out, and the house may take any current unseen. Where production is measured it is added
//! back; where it is not, such a meter cannot guard the fuse.

use super::circuit::Produced;
use crate::quantity::{Milliamp, Mono, Span};

/// Less than this flowing out is the meters' error.
const NOISE: Milliamp = Milliamp(500);
/// Meters of inverters lag behind the sun by some seconds; what stays this long is real.
const PROOF: Span = Span::from_secs(30);
/// Where production is measured, what was not explained by it for once is not believed in for ever.
const REMEMBERED: Span = Span::from_secs(900);

/// What is known of the production behind a meter of totals.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Masked {
    /// The last frame told the total only, and nobody measures what is produced.
    unmeasured: bool,
    /// Since when more flows out than is measured to be produced.
    since: Option<Mono>,
    /// It did for long enough, the last time then: something produces that no meter shows.
    proven: Option<Mono>,
}

impl Masked {
    /// A believed frame of a total. `rest` is what it says of all phases, production that is measured added back and all
    /// that the cars may have drawn left out.
    pub(super) fn frame(&mut self, sampled_at: Mono, rest: Milliamp, produced: Produced) {
        self.unmeasured = !produced.measured;
        if rest < -NOISE {
            let since = *self.since.get_or_insert(sampled_at);
            if sampled_at.since(since) >= PROOF {
                self.proven = Some(sampled_at);
            }
            return;
        }
        self.since = None;
        self.proven = self.proven.filter(|last| !produced.has_meters || sampled_at.since(*last) < REMEMBERED);
    }

    /// A believed frame that tells the phases apart.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What holds for the chargers in place of the meter: nothing, where the meter may be trusted; else the owner's
    /// `figure` for that. One who gives it says that there is production, whether it can be seen at the moment or not.
    pub(super) fn figure(&self, figure: Option<Milliamp>) -> Option<Milliamp> {
        match self.proven {
            Some(_) => Some(figure.unwrap_or(Milliamp::ZERO)),
            None => figure.filter(|_| self.unmeasured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Produced = Produced { power: crate::quantity::Watt(0), has_meters: false, measured: false };
    const METERED: Produced = Produced { has_meters: true, measured: true, ..NOBODY };

    fn at(seconds: i64) -> Mono {
        Mono(0) + Span::from_secs(seconds)
    }

    #[test]
    fn production_is_proven_by_what_flows_out_for_long_enough() {
        let mut masked = Masked::default();
        for second in 0..30 {
            masked.frame(at(second), Milliamp(-2_000), NOBODY);
            assert_eq!(masked.figure(None), None, "after {second} s");
        }
        masked.frame(at(30), Milliamp(-2_000), NOBODY);
        assert_eq!(masked.figure(None), Some(Milliamp::ZERO));
        assert_eq!(masked.figure(Some(Milliamp(10_000))), Some(Milliamp(10_000)));
        masked.frame(at(31), Milliamp(9_000), NOBODY);
        assert_eq!(masked.figure(None), Some(Milliamp::ZERO), "a cloud does not take the panels away");
        masked.clear();
        assert_eq!(masked.figure(Some(Milliamp(10_000))), None);
    }

    #[test]
    fn what_comes_and_goes_is_the_lag_between_two_meters() {
        let mut masked = Masked::default();
        for second in 0..300 {
            masked.frame(at(second), Milliamp(if second % 20 < 19 { -2_000 } else { 0 }), METERED);
        }
        assert_eq!(masked.figure(None), None);
        assert_eq!(masked.figure(Some(Milliamp(10_000))), None, "it is measured");
    }

    #[test]
    fn the_owner_who_gives_a_figure_says_that_there_is_production() {
        let mut masked = Masked::default();
        masked.frame(at(0), Milliamp(4_000), NOBODY);
        assert_eq!(masked.figure(Some(Milliamp(10_000))), Some(Milliamp(10_000)), "at night as well");
    }

    #[test]
    fn what_a_slow_meter_of_an_inverter_did_not_explain_is_forgotten() {
        let mut masked = Masked::default();
        (0..60).for_each(|second| masked.frame(at(second), Milliamp(-2_000), METERED));
        assert_eq!(masked.figure(None), Some(Milliamp::ZERO));
        (60..950).for_each(|second| masked.frame(at(second), Milliamp(1_000), METERED));
        assert_eq!(masked.figure(None), Some(Milliamp::ZERO));
        (950..970).for_each(|second| masked.frame(at(second), Milliamp(1_000), METERED));
        assert_eq!(masked.figure(None), None);
    }
}

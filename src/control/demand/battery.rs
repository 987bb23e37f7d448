//! What a home battery would take, so that it comes first although a car runs.
//!
//! A battery goes by the grid meter and takes what is exported; whoever draws before there is any export leaves it
//! nothing. So what it was seen to take while there was more is kept for it, until it is seen to leave some.

use crate::quantity::{Mono, Span, Watt};

/// Less export than this is what a battery's own control leaves over.
const SPARE: Watt = Watt(150);
/// It leaves some when more than that is exported for so long.
const LEAVES: Span = Span::from_secs(30);

/// All home batteries together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Appetite {
    /// What they would take.
    takes: Watt,
    /// Since when more is exported while they take less than that.
    leaves_since: Option<Mono>,
}

impl Appetite {
    /// What they lack now, of a frame sampled at `at` with so much charging and export.
    pub(super) fn lacks(&mut self, at: Mono, charging: Watt, export: Watt) -> Watt {
        if charging >= self.takes {
            *self = Self { takes: charging, leaves_since: None };
        } else if export <= SPARE {
            self.leaves_since = None;
        } else if at.since(*self.leaves_since.get_or_insert(at)) >= LEAVES {
            *self = Self { takes: charging, leaves_since: None };
        }
        self.takes - charging
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_battery_took_while_there_was_more_is_kept_for_it() {
        let mut appetite = Appetite::default();
        let mut see = |second: i64, charging: i32, export: i32| {
            appetite.lacks(Mono(second * 1000), Watt(charging), Watt(export)).0
        };
        assert_eq!(see(0, 3_000, 2_000), 0);
        assert_eq!(see(1, 1_000, 0), 2_000, "a car has come before it");
        assert_eq!(see(2, 0, -500), 3_000);
        assert_eq!(see(3, 500, 4_000), 2_500, "the car has given way, and it follows");
        assert_eq!(see(10, 3_200, 100), 0);
        for second in 100..130 {
            assert_eq!(see(second, 1_200, 800), 2_000, "nearly full?");
        }
        assert_eq!(see(130, 1_200, 800), 0, "it leaves some: that is all it takes");
        assert_eq!(see(131, 1_200, 0), 0);
    }
}

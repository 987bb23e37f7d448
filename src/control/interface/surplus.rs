//! How surplus is found and who may use it.

use crate::event::words;
use crate::quantity::{Span, Watt};

words! {
    /// Whether phases may pay for each other.
    SurplusKind {
        /// The sum of all phases counts, as it does for the bill.
        Net = "net",
        /// Each phase must have its own.
        PerPhase = "per_phase",
    }
}

words! {
    /// What happens when a cloud comes.
    SolarPatience {
        /// Goes on while the mean surplus still pays for the minimum.
        Mean = "mean",
        /// Holds the minimum for `solar_grace_s`, stops, starts after `solar_proof_s`.
        Strict = "strict",
    }
}

words! {
    /// Rank of the home battery against the cars.
    BatteryRank {
        /// What charges it is no surplus.
        First = "first",
        /// Half of what charges it is.
        Share = "share",
        /// All of it is.
        Last = "last",
    }
}

/// The rules of surplus. Discharge of a home battery never counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurplusSetup {
    /// Whether phases may pay for each other.
    pub kind: SurplusKind,
    /// What happens when a cloud comes.
    pub patience: SolarPatience,
    /// `strict`: the minimum is held without sun for so long.
    pub grace: Span,
    /// `strict`: sun must last so long before a start.
    pub proof: Span,
    /// Where the grid reading is held in the modes that follow the sun; import positive.
    pub target: Watt,
    /// Rank of the home battery.
    pub battery: BatteryRank,
}

impl Default for SurplusSetup {
    fn default() -> Self {
        Self {
            kind: SurplusKind::Net,
            patience: SolarPatience::Mean,
            grace: Span::from_secs(30),
            proof: Span::from_secs(120),
            target: Watt::ZERO,
            battery: BatteryRank::First,
        }
    }
}

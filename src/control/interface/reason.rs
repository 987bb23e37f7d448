//! Why a charger is offered what it is offered.

use std::fmt;

use crate::quantity::{Milliamp, Phase, Span};

use super::LimitReason;

/// A sentence with its numbers; written out only when somebody reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// The word.
    pub word: LimitReason,
    /// The current it ended with.
    pub offer: Milliamp,
    /// A current that belongs to the sentence (the limit, the setting, what is left); meaning depends on the word.
    pub figure: Option<Milliamp>,
    /// A time that belongs to the sentence (until when), measured from now.
    pub wait: Option<Span>,
    /// What the word alone does not say.
    pub detail: Detail,
}

impl Reason {
    /// The word and the current alone.
    #[must_use]
    pub const fn of(word: LimitReason, offer: Milliamp) -> Self {
        Self { word, offer, figure: None, wait: None, detail: Detail::None }
    }

    /// Before anything was heard.
    #[must_use]
    pub const fn start_up() -> Self {
        Self { word: LimitReason::StartUp, offer: Milliamp::ZERO, figure: None, wait: None, detail: Detail::NotHeard }
    }
}

/// What a reason's word alone does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing more.
    #[default]
    None,
    /// `charging_enabled` is off.
    ChargingDisabled,
    /// The ceiling at low tariff.
    LowTariffMax,
    /// The minimum runs through a cloud.
    SunCloud,
    /// The minimum runs without sun for a while.
    SunGrace,
    /// Sun must last before a start.
    SunProof,
    /// It was stopped a short while ago.
    SunRest,
    /// At what the mode asks for without the sun.
    SunFloor,
    /// No meter tells the surplus.
    SunUnknown,
    /// No car is plugged in.
    NoCar,
    /// The car has its offer and does not draw yet.
    NotDrawing,
    /// The car has not shown yet which phases it uses.
    PhasesUnknown,
    /// The car takes less than it could have.
    TakesLess,
    /// The car still draws more than it is offered.
    NotDown,
    /// The car sleeps; its pilot is taken away for a moment.
    WakingUp,
    /// It was interrupted often, so its next start waits longer.
    Spared,
    /// The car has ended by itself.
    Ended,
    /// It is raised step by step; the reason's figure is where to.
    Rising,
    /// There is room now that has not been there for long enough.
    MustLast,
    /// Another car was started in this second.
    Queued,
    /// Too much one-phase current on this phase compared with the others.
    Imbalance,
    /// The grid meter tells the total only, and something produces behind it that no meter shows.
    Masked,
    /// The charger was never heard.
    NotHeard,
    /// A relay that comes before it is to be closed.
    ForRelay,
    /// What the meter said last is not believed yet.
    Doubted,
    /// Shared with others on this phase.
    Phase(Phase),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::control::reason::sentence(self, f)
    }
}

//! Inputs: signals from outside that switch rules of the controller.

use crate::event::words;
use crate::quantity::{Mono, Span};

/// An input as the controller needs to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSetup {
    /// Configuration id.
    pub id: String,
    /// What it means when active.
    pub meaning: InputMeaning,
    /// A reading older than this says nothing any more; `None`: the device task says itself when it is lost.
    pub max_age: Option<Span>,
    /// A change counts once it has lasted this long: contacts of ripple control chatter.
    pub debounce: Span,
}

words! {
    /// What an active input means.
    InputMeaning {
        /// AC IN, ripple control.
        LowTariff = "low-tariff",
        /// Order of the grid operator.
        GridDim = "grid-dim",
        /// No charging.
        Block = "block",
    }
}

/// One input as the controller takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InputStatus {
    /// After its debounce time; `None` while it is unknown or lost, when its meaning's safe side is taken.
    pub active: Option<bool>,
    /// The last reading that said something.
    pub heard_at: Option<Mono>,
}

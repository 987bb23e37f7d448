//! Relays: what switches them, what they are told, why.

use std::fmt;

use crate::event::words;
use crate::quantity::{Mono, Span, Watt};

words! {
    /// What closes a relay; several are joined by or.
    RelayRule {
        /// The low tariff is active.
        LowTariff = "low-tariff",
        /// The surplus pays for its load.
        Export = "export",
        /// Always, as far as the limits allow.
        Always = "always",
    }
}

words! {
    /// What a person wants of a relay.
    RelayCommand {
        /// Its rules decide.
        Auto = "auto",
        /// Closed, for `force_max_s` at most.
        On = "on",
        /// Open, for `force_max_s` at most.
        Off = "off",
    }
}

words! {
    /// Why a relay is as it is.
    RelayWord {
        /// None of its rules is met.
        Rules = "rules",
        /// Low tariff.
        LowTariff = "low_tariff",
        /// Surplus.
        Export = "export",
        /// It is to be closed always.
        Always = "always",
        /// Not enough surplus.
        Surplus = "surplus",
        /// A person's order.
        Forced = "forced",
        /// Its shortest time closed is not over.
        MinOn = "min_on",
        /// Its shortest time open is not over.
        MinOff = "min_off",
        /// Opened because a fuse is overloaded.
        Shed = "shed",
        /// The relay that it must not be closed together with has not opened yet.
        Interlock = "interlock",
        /// The grid meter is lost or not heard yet: its surplus is not known.
        Meter = "meter",
        /// It does not answer.
        Offline = "offline",
        /// Nothing was decided yet.
        StartUp = "start_up",
    }
}

/// A relay as an installer knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RelaySetup {
    /// Configuration id.
    pub id: String,
    /// Joined by or; empty: only commands switch it.
    pub on_when: Vec<RelayRule>,
    /// What it switches.
    pub load: Watt,
    /// `export` closes it at this mean surplus, its own load added back.
    pub export_on: Watt,
    /// `export` opens it when the mean export without it, its own load taken off, falls below this.
    pub export_off: Watt,
    /// 1 first to 9 last, the same scale as chargers.
    pub priority: u8,
    /// Opens on an overload before a car is stopped.
    pub shed: bool,
    /// Shortest time closed of the controller's own choice.
    pub min_on: Span,
    /// Shortest time open of the controller's own choice.
    pub min_off: Span,
    /// A command holds so long at most.
    pub force_max: Span,
    /// Closed or open when nobody decides.
    pub safe_state: bool,
    /// The relay that is never closed together with this one (SG-Ready): one opens, read back, before the other closes.
    pub interlock: Option<usize>,
}

/// A sentence with its numbers; written out only when somebody reads it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelayReason {
    /// The word.
    pub word: RelayWord,
    /// Mean surplus that belongs to the sentence, its own load added back.
    pub surplus: Option<Watt>,
    /// Time left that belongs to the sentence.
    pub wait: Option<Span>,
}

/// One relay as the controller sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelayStatus {
    /// Closed as far as is known: read back, else as ordered; one that does not answer counts as closed.
    pub on: bool,
    /// The command in force.
    pub command: RelayCommand,
    /// When a command of on or off ends.
    pub forced_until: Option<Mono>,
    /// Why it is ordered so.
    pub reason: RelayReason,
    /// It answers.
    pub available: bool,
    /// The last valid answer.
    pub heard_at: Option<Mono>,
}

impl fmt::Display for RelayReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::control::reason::relay_sentence(self, f)
    }
}

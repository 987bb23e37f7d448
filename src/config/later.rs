//! What a configuration is read for, and which keys this version has.

/// What a configuration is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The appliance, and `check`.
    Run,
    /// The controller alone: simulated devices, and some keys whose feature is not complete yet.
    Simulate,
    /// A configuration that was good once: secrets that have gone since are warnings.
    LastGood,
}

/// Whether this version has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It has.
    Now,
    /// Only a simulation.
    Simulate,
    /// Not yet.
    Later,
}

impl Status {
    /// Whether it is accepted.
    pub(super) fn accepts(self, purpose: Purpose) -> bool {
        match self {
            Self::Now => true,
            Self::Simulate => purpose == Purpose::Simulate,
            Self::Later => false,
        }
    }
}

/// The sentence about something that does not exist yet.
pub(super) fn not_yet(what: &str) -> String {
    format!("{what} is known, but not available in this version")
}

/// What to do about it.
pub(super) const REMOVE: &str = "take it out; it comes in a later version";

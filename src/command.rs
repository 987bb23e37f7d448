//! What the controller orders, and how long the order holds.

use crate::event::words;
use crate::quantity::{Milliamp, Mono};

/// The least current that a car can be offered; below it there is only 0 (IEC 61851-1).
pub const LEAST_OFFER: Milliamp = Milliamp::from_amps(6);

/// What a device task may send to a charger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// Nothing was heard of it yet: read its present offer first, then whatever is commanded, then its identity.
    #[default]
    Open,
    /// Poll and write.
    Normal,
    /// It is silent: begin with one write of the offer, never with a read. Each new number is one attempt.
    WriteFirst(u32),
    /// Send nothing at all: any telegram could feed its watchdog.
    Quiet,
}

/// The order for one charger. The device task writes it, reads it back and keeps it until the lease ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChargerCommand {
    /// Offered current: 0, or 6 A and up, a multiple of the charger's step. `None` before the first contact.
    pub offer: Option<Milliamp>,
    /// Number of phases to use; only where the charger can switch. `None`: it is left as it is, as while current flows.
    pub phases: Option<u8>,
    /// Which of the charger's own phases to use when it is one, 0 for its first; only where the charger can choose.
    pub line: Option<u8>,
    /// What its own fail-safe timer is to be programmed to fall to: 0, or 6 A and up.
    pub fail_safe: Milliamp,
    /// What may be sent.
    pub contact: Contact,
    /// Counts up each time the same offer must be written again although it has not changed.
    pub rewrite: u32,
    /// Counts up each time the watchdog registers must be read and verified anew.
    pub verify_watchdog: u32,
    /// Take the car off the supply where the charger can (stop request), not only 0 A.
    pub open: bool,
}

/// The order for one relay. The device task writes it, reads it back where it can, and keeps it until the lease ends;
/// past it the relay goes to its `safe_state`. A device's own timer runs no longer than the lease is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayOrder {
    /// Closed.
    pub on: bool,
}

/// An order with the moment at which it ends unless the control loop renews it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leased<T> {
    /// The order.
    pub order: T,
    /// End of the lease. Past it the device task writes min(present offer, programmed fail-safe current) until that is
    /// read back, and stops feeding the charger's watchdog. `None`: there never was one, and the device task acts in
    /// the same way with the configured fail-safe current.
    pub valid_until: Option<Mono>,
}

impl<T> Leased<T> {
    /// An order in force until then.
    #[must_use]
    pub const fn until(order: T, valid_until: Mono) -> Self {
        Self { order, valid_until: Some(valid_until) }
    }

    /// An order that nobody has put in force.
    #[must_use]
    pub const fn never(order: T) -> Self {
        Self { order, valid_until: None }
    }
}

/// What an orderly stop leaves behind at a charger. Never a raise: the task lowers it to what the charger holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastOffer {
    /// This offer, or the present one where that is lower.
    AtMost(Milliamp),
    /// Nobody could say: as at the end of the lease, min(present offer, programmed fail-safe current).
    Lapse,
}

/// Something done once at a person's wish. Not repeated, not queued while the charger is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargerAction {
    /// Authorise the waiting session.
    Authorize,
    /// Lock the socket automatically, always, or unlock it.
    Lock(Lock),
    /// Restart the charger.
    Reboot,
}

/// Which actions a kind of charger has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// [`ChargerAction::Authorize`]
    pub authorize: bool,
    /// [`ChargerAction::Lock`]
    pub lock: bool,
    /// [`ChargerAction::Reboot`]
    pub reboot: bool,
}

impl Actions {
    /// Every one.
    pub const ALL: Self = Self { authorize: true, lock: true, reboot: true };
    /// Not one.
    pub const NONE: Self = Self { authorize: false, lock: false, reboot: false };

    /// Their names as commands.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [("authorize", self.authorize), ("lock", self.lock), ("reboot", self.reboot)];
        all.into_iter().filter(|it| it.1).map(|it| it.0)
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn include(self, action: ChargerAction) -> bool {
        match action {
            ChargerAction::Authorize => self.authorize,
            ChargerAction::Lock(_) => self.lock,
            ChargerAction::Reboot => self.reboot,
        }
    }
}

words! {
    /// Modes of a socket's lock.
    Lock {
        /// Locks while a car is plugged.
        Auto = "auto",
        /// Stays locked.
        Locked = "locked",
        /// Opens now.
        Unlock = "unlock",
    }
}

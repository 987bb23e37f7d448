//! What devices say: one type per role, filled by `device`, judged by `control`.
//!
//! A value that a device did not give is `None`, never zero. Whoever turns wire bytes into these types must reject
//! what is not a finite number in a plausible range of the *format*; whether a value is believable for this house is
//! the controller's question.

use std::fmt;

use crate::command::Lock;
use crate::quantity::{Milliamp, Millivolt, Mono, Phases, Span, Watt, WattHour};

/// One frame of an electricity meter, in the meter's own phase order already mapped to the grid's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeterReading {
    /// When its last byte arrived.
    pub received_at: Mono,
    /// When the sample was taken, where the source says so on our own clock (the simulation seam). Else the
    /// controller estimates it from `stamp`.
    pub sampled_at: Option<Mono>,
    /// The meter's own time in seconds of an epoch of its own. Only ever compared: the same stamp again is a repeated
    /// frame, and its distance to `received_at` bounds the delay.
    pub stamp: Option<i64>,
    /// RMS current, import positive where `current_signed`, else its size only.
    pub current: Phases<Option<Milliamp>>,
    /// Whether `current` carries the direction.
    pub current_signed: bool,
    /// Resolution of `current`: 1 A on Dutch meters, where `I - 0.5 A` and `|P| / U` bound the true value from below.
    pub current_step: Milliamp,
    /// Active power, import positive.
    pub power: Phases<Option<Watt>>,
    /// Active power of all phases, import positive.
    pub power_total: Option<Watt>,
    /// Phase to neutral.
    pub voltage: Phases<Option<Millivolt>>,
    /// Import counter, all tariffs together.
    pub energy_import: Option<WattHour>,
    /// Export counter, all tariffs together.
    pub energy_export: Option<WattHour>,
    /// Mean import of the running quarter of an hour where the meter computes it (1-0:1.4.0).
    pub demand: Option<Watt>,
    /// It shows something that the controller has no use for: heat, volume, a counter of both directions.
    pub shows_more: bool,
}

/// IEC 61851-1 state of a charger's control pilot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PilotState {
    /// No car.
    #[default]
    A,
    /// Car present, not charging.
    B,
    /// Charging.
    C,
    /// Finished: the car is present and ended charging by itself.
    D,
    /// Error: short circuit or no supply.
    E,
    /// The charger reports a fault.
    F,
}

impl PilotState {
    /// A car is plugged in as far as the charger can tell.
    #[must_use]
    pub fn plugged(self) -> bool {
        matches!(self, Self::B | Self::C | Self::D)
    }
}

/// Bits of a device's fault or warning register together with their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The register as read; `None` while it was not.
    pub bits: Option<u16>,
    /// Name of bit n at place n; empty where the manual names none.
    pub names: &'static [&'static str],
}

impl Flags {
    /// Of a device that has no such register.
    pub const NONE: Self = Self { bits: Some(0), names: &[] };

    /// Nothing is known to be set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bits.unwrap_or(0) == 0
    }

    /// Whether anything is set cannot be told.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self.bits.is_none()
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bits) = self.bits else { return f.write_str("unknown") };
        let mut first = true;
        for bit in 0..16 {
            if bits & (1 << bit) == 0 {
                continue;
            }
            if !first {
                f.write_str(", ")?;
            }
            first = false;
            match self.names.get(bit) {
                Some(name) if !name.is_empty() => f.write_str(name)?,
                _ => write!(f, "bit {bit}")?,
            }
        }
        Ok(())
    }
}

/// Why a charger itself holds its current down, as far as it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnLimit {
    /// A limit set in the box (installer or user setting).
    Setting,
    /// The cable's proximity resistor.
    Cable,
    /// Temperature.
    Temperature,
    /// The car asks for less.
    Car,
}

/// The charger's own fail-safe timer as read back from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdog {
    /// Silence after which it acts; zero means switched off.
    pub timeout: Span,
    /// What it falls to.
    pub fail_safe: Milliamp,
}

/// A charger's valid answer to a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChargerReport {
    /// When the first request of this poll went out: a write confirmed later is not in it.
    pub read_begun: Mono,
    /// When its last byte arrived.
    pub received_at: Mono,
    /// Control pilot.
    pub state: PilotState,
    /// It waits for somebody's authorisation.
    pub needs_authorization: bool,
    /// The set-point register, read back.
    pub set_point: Option<Milliamp>,
    /// What the pilot offers the car now, where the charger tells it apart from the set-point.
    pub offered: Option<Milliamp>,
    /// The lowest of the charger's own limits (setting, cable, temperature); bounds the offer.
    pub own_limit: Option<Milliamp>,
    /// Which of them it is, where known.
    pub own_limit_cause: Option<OwnLimit>,
    /// Measured, in the charger's own phase order; all `None` where it does not measure.
    pub current: Phases<Option<Milliamp>>,
    /// Measured, in the charger's own phase order.
    pub voltage: Phases<Option<Millivolt>>,
    /// Measured.
    pub power: Option<Watt>,
    /// Lifetime counter.
    pub energy: Option<WattHour>,
    /// Counter of the running session as the charger keeps it.
    pub session_energy: Option<WattHour>,
    /// Phases the charger has switched through now.
    pub phases_connected: Option<u8>,
    /// What its socket's lock is set to, where it has one and it was read.
    pub lock: Option<Lock>,
    /// It can be switched between three phases and one, where it says so.
    pub can_switch_phases: Option<bool>,
    /// Its fail-safe timer, where it has one and it was read.
    pub watchdog: Option<Watchdog>,
    /// Errors that stop charging.
    pub fault: Flags,
    /// Warnings that do not.
    pub warning: Flags,
}

/// Everything that the controller hears of one charger, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChargerObservation {
    /// A valid answer to a whole poll.
    Report(ChargerReport),
    /// A write of the set-point was acknowledged.
    Written {
        /// What was written.
        offer: Milliamp,
        /// When the request went out.
        sent_at: Mono,
        /// When the acknowledgement arrived.
        at: Mono,
    },
    /// An attempt (read or write) got no valid answer: time-out, wrong length, exception, broken link.
    Failed {
        /// When it was given up.
        at: Mono,
        /// Set when the attempt was a write of a set-point that may or may not have arrived.
        unconfirmed: Option<Milliamp>,
        /// How long one round of its bus takes at present.
        round: Span,
        /// Its own poll period.
        period: Span,
    },
}

/// What a device task says of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputReading {
    /// When it was read.
    pub received_at: Mono,
    /// Active in the sense of its polarity; `None` when it could not be read.
    pub active: Option<bool>,
}

/// Everything that the controller hears of one relay, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayObservation {
    /// A valid answer: it is closed or open.
    State {
        /// Closed.
        on: bool,
        /// When the answer arrived.
        at: Mono,
    },
    /// A write was acknowledged, and read back where the relay can be read.
    Written {
        /// What was written.
        on: bool,
        /// When the acknowledgement arrived.
        at: Mono,
    },
    /// An attempt got no valid answer.
    Failed {
        /// When it was given up.
        at: Mono,
        /// It was a write.
        write: bool,
    },
}

/// Which device an observation came from: its place in the configuration's list of that kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// A meter's frame.
    Meter(usize, MeterReading),
    /// A charger's answer or silence.
    Charger(usize, ChargerObservation),
    /// An input's level.
    Input(usize, InputReading),
    /// A relay's answer or silence.
    Relay(usize, RelayObservation),
}

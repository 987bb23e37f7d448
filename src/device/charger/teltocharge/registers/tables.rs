//! The tables a to f of the page, and those in its column of values.

use crate::reading::{OwnLimit, PilotState};

/// Bits of register 34 (table d).
pub const WARNINGS: &[&str] = &[
    "midplate is open",
    "temperature warning",
    "current draw is higher than allowed",
    "charging requires ventilation",
    "real time clock lost",
    "simplified control pilot sequence denied",
    "simplified control pilot sequence detected",
    "charging without ventilation denied",
    "PEN current clamp not calibrated",
    "NFC module fault",
    "PEN fault was detected",
];

/// Bits of register 35 (table e).
pub const ERRORS: &[&str] = &[
    "input voltage not in range",
    "output voltage not in range",
    "current leakage sensor test failed",
    "EV diode failed or fault in the control pilot line",
    "overcurrent",
    "temperature error",
    "PEN fault active",
    "proximity pilot (cable, socket) error",
    "current leakage detected",
    "socket lock error",
    "internal error",
];

/// A set of the charger's own phases as registers 13 and 14 count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseSet {
    /// 0
    L1,
    /// 1
    L2,
    /// 2
    L3,
    /// 3
    L1L2,
    /// 4
    L1L3,
    /// 5
    L2L3,
    /// 6
    All,
    /// 7
    None,
}

impl PhaseSet {
    pub(super) const TABLE: [Self; 8] =
        [Self::L1, Self::L2, Self::L3, Self::L1L2, Self::L1L3, Self::L2L3, Self::All, Self::None];

    /// So many phases: the one with place `line` (0 for L1) when it is one, else the first; `None` for anything but 1 to 3.
    #[must_use]
    pub fn of(phases: u8, line: Option<u8>) -> Option<Self> {
        match (phases, line) {
            (1, None | Some(0)) => Some(Self::L1),
            (1, Some(1)) => Some(Self::L2),
            (1, Some(2)) => Some(Self::L3),
            (2, _) => Some(Self::L1L2),
            (3, _) => Some(Self::All),
            _ => None,
        }
    }

    /// How many phases it has.
    #[must_use]
    pub fn count(self) -> u8 {
        match self {
            Self::None => 0,
            Self::L1 | Self::L2 | Self::L3 => 1,
            Self::L1L2 | Self::L1L3 | Self::L2L3 => 2,
            Self::All => 3,
        }
    }

    /// As on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }
}

/// Register 6, table a.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvseStatus {
    /// 0, C: charging.
    Charging,
    /// 1, B1: authorised, waiting for the car.
    WaitingForCar,
    /// 2, B2: was charging, not enough power.
    Interrupted,
    /// 3, B3: was not charging, not enough power.
    NoPower,
    /// 4, D1: stopped by the car.
    StoppedByCar,
    /// 5, D2: no authorisation.
    NotAuthorized,
    /// 6, D3: simplified control pilot, or state D where charging is not allowed.
    NotAllowed,
    /// 7, A: no car.
    NoCar,
    /// 8, F: error.
    Error,
    /// 9, E: unknown.
    Unknown,
}

impl EvseStatus {
    pub(super) const TABLE: [Self; 10] = [
        Self::Charging,
        Self::WaitingForCar,
        Self::Interrupted,
        Self::NoPower,
        Self::StoppedByCar,
        Self::NotAuthorized,
        Self::NotAllowed,
        Self::NoCar,
        Self::Error,
        Self::Unknown,
    ];

    /// The pilot state behind it. Note that code 0 means charging, not "no car".
    #[must_use]
    pub fn pilot(self) -> PilotState {
        match self {
            Self::Charging => PilotState::C,
            Self::WaitingForCar | Self::Interrupted | Self::NoPower | Self::NotAuthorized | Self::NotAllowed => {
                PilotState::B
            }
            Self::StoppedByCar => PilotState::D,
            Self::NoCar => PilotState::A,
            Self::Error => PilotState::F,
            Self::Unknown => PilotState::E,
        }
    }
}

/// Register 27, table b.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargePointState {
    /// 0
    NoCar,
    /// 1: awaiting permission to charge.
    AwaitingPermission,
    /// 2
    Authorized,
    /// 3
    Charging,
    /// 4
    Paused,
    /// 5: the car is full and still connected.
    Finished,
    /// 6: stopped by the user.
    Stopped,
    /// 7
    Error,
    /// 8: reserved, no car.
    Reserved,
    /// 9
    Other,
}

impl ChargePointState {
    pub(super) const TABLE: [Self; 10] = [
        Self::NoCar,
        Self::AwaitingPermission,
        Self::Authorized,
        Self::Charging,
        Self::Paused,
        Self::Finished,
        Self::Stopped,
        Self::Error,
        Self::Reserved,
        Self::Other,
    ];
}

/// Register 33, table c.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IecState {
    /// 0: no car.
    A,
    /// 1: pending authorisation, no PWM.
    B1,
    /// 2: ready, PWM active.
    B2,
    /// 3: ready or stopped by the charger, no PWM.
    C1,
    /// 4: charging.
    C2,
    /// 5: as C1, ventilation required.
    D1,
    /// 6: charging, ventilation required.
    D2,
    /// 7: control pilot fault.
    E,
    /// 8: charger fault.
    F,
}

impl IecState {
    pub(super) const TABLE: [Self; 9] =
        [Self::A, Self::B1, Self::B2, Self::C1, Self::C2, Self::D1, Self::D2, Self::E, Self::F];
}

/// Register 36, table f.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitCause {
    /// 0
    Hardware,
    /// 1: max power from grid (register 28).
    MaxPowerFromGrid,
    /// 2: user setting, static load balance (register 29).
    UserSetting,
    /// 3
    Cable,
    /// 4: simple control pilot sequence.
    SimpleControlPilot,
    /// 5: default settings.
    Default,
    /// 6: load balance, that is ourselves.
    LoadBalance,
    /// 7
    Temperature,
    /// 8: inside the documented range, but the table names no meaning.
    Unnamed,
}

impl LimitCause {
    pub(super) const TABLE: [Self; 9] = [
        Self::Hardware,
        Self::MaxPowerFromGrid,
        Self::UserSetting,
        Self::Cable,
        Self::SimpleControlPilot,
        Self::Default,
        Self::LoadBalance,
        Self::Temperature,
        Self::Unnamed,
    ];

    /// In the words of the controller; `None` where it is our own set-point or has no name.
    #[must_use]
    pub fn own_limit(self) -> Option<OwnLimit> {
        match self {
            Self::Hardware | Self::MaxPowerFromGrid | Self::UserSetting | Self::Default => Some(OwnLimit::Setting),
            Self::Cable => Some(OwnLimit::Cable),
            Self::SimpleControlPilot => Some(OwnLimit::Car),
            Self::Temperature => Some(OwnLimit::Temperature),
            Self::LoadBalance | Self::Unnamed => None,
        }
    }
}

/// Register 37.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxSupportedPower {
    /// 0: 7.4 kW, one phase 32 A.
    Kw7,
    /// 1: 11 kW, three phases 16 A.
    Kw11,
    /// 2: 22 kW, three phases 32 A.
    Kw22,
}

impl MaxSupportedPower {
    pub(super) const TABLE: [Self; 3] = [Self::Kw7, Self::Kw11, Self::Kw22];
}

//! The controller's vocabulary: what it is told about the installation, what it says about itself.

mod input;
mod reason;
mod relay;
mod surplus;

use serde::{Deserialize, Serialize};

use crate::command::{Actions, Lock};
use crate::event::words;
use crate::feature::Purpose;
use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt, WattHour};

pub use input::{InputMeaning, InputSetup, InputStatus};
pub use reason::{Detail, Reason};
pub use relay::{RelayCommand, RelayReason, RelayRule, RelaySetup, RelayStatus, RelayWord};
pub use surplus::{BatteryRank, SolarPatience, SurplusKind, SurplusSetup};

words! {
    /// Charge mode of one charger.
    Mode {
        /// No charging.
        Off = "off",
        /// All that the limits leave.
        Fast = "fast",
        /// `fixed_current_a`, limits still apply.
        Fixed = "fixed",
        /// At least `eco_min_a`, surplus on top.
        Eco = "eco",
        /// Starts on a little surplus, the grid adds the rest.
        EcoPlus = "eco_plus",
        /// Only surplus.
        Solar = "solar",
    }
}

impl Mode {
    /// Words of the modes that every version has.
    pub const ALWAYS: [&'static str; 3] = [Self::Off.word(), Self::Fast.word(), Self::Fixed.word()];
}

words! {
    /// How chargers share what there is.
    Sharing {
        /// The same for everybody.
        Equal = "equal",
        /// By `priority`.
        Priority = "priority",
        /// Charging before waiting.
        State = "state",
    }
}

words! {
    /// Why a charger gets what it gets.
    LimitReason {
        /// Nothing holds it down.
        None = "none",
        /// The fuse on L1.
        LimitL1 = "limit_l1",
        /// The fuse on L2.
        LimitL2 = "limit_l2",
        /// The fuse on L3.
        LimitL3 = "limit_l3",
        /// The fuse of a circuit below the main one.
        Circuit = "circuit",
        /// `max_import_kw`.
        MaxImportKw = "max_import_kw",
        /// `peak_15min_kw`.
        Peak15min = "peak_15min",
        /// `max_charging_kw`.
        MaxChargingKw = "max_charging_kw",
        /// The grid operator's order.
        Dim = "dim",
        /// No news of the meter: no raise.
        MeterLate = "meter_late",
        /// The meter is lost.
        MeterLost = "meter_lost",
        /// Static balancing.
        Static = "static",
        /// The box's own setting.
        ChargerLimit = "charger_limit",
        /// The cable.
        Cable = "cable",
        /// Temperature.
        Temperature = "temperature",
        /// The car takes less, is full or does not want.
        Car = "car",
        /// Not enough sun.
        Surplus = "surplus",
        /// Shared with the others.
        Sharing = "sharing",
        /// Another car's turn.
        Turn = "turn",
        /// Waits for the low tariff.
        Tariff = "tariff",
        /// Mode off or charging disabled.
        Off = "off",
        /// Blocked by an input.
        Block = "block",
        /// The first seconds after start.
        StartUp = "start_up",
        /// Phases are being switched.
        PhaseSwitch = "phase_switch",
        /// It drew more than offered.
        NotObeying = "not_obeying",
        /// It does not answer.
        Offline = "offline",
        /// The session has had its energy.
        SessionLimit = "session_limit",
        /// Mode fixed.
        Fixed = "fixed",
        /// `max_current_a`.
        MaxCurrent = "max_current",
        /// The box reports a fault.
        Fault = "fault",
        /// It waits for authorisation.
        Authorization = "authorization",
        /// Somebody else writes its set-point.
        SecondMaster = "second_master",
        /// The configuration file is wrong.
        ConfigInvalid = "config_invalid",
    }
}

impl LimitReason {
    /// The fuse on one phase.
    #[must_use]
    pub const fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::L1 => Self::LimitL1,
            Phase::L2 => Self::LimitL2,
            Phase::L3 => Self::LimitL3,
        }
    }
}

words! {
    /// What a charger is doing.
    ChargerStatusWord {
        /// No car.
        Disconnected = "disconnected",
        /// A person must authorise.
        WaitingForAuthorization = "waiting_for_authorization",
        /// Car present, offered, not drawing yet.
        Connected = "connected",
        /// Car present, nothing offered now.
        Waiting = "waiting",
        /// Charging.
        Charging = "charging",
        /// The car has ended.
        Finished = "finished",
        /// The box reports a fault.
        Fault = "fault",
        /// It does not answer.
        Offline = "offline",
    }
}

words! {
    /// How far a meter is to be believed now.
    Quality {
        /// Fresh and plausible.
        Good = "good",
        /// No frame for the late time.
        Late = "late",
        /// Fresh but not plausible.
        Doubtful = "doubtful",
        /// No good frame for the lost time.
        Lost = "lost",
    }
}

words! {
    /// What is wrong, in one word.
    Problem {
        /// Nothing.
        None = "none",
        /// Not configured yet.
        Setup = "setup",
        /// A charger.
        ChargerError = "charger_error",
        /// A meter.
        MeterError = "meter_error",
        /// The page.
        WebError = "web_error",
        /// Broker or network.
        NetworkError = "network_error",
        /// The wall clock.
        ClockError = "clock_error",
    }
}

/// One fuse and what hangs below it. Index 0 is always the grid connection.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitSetup {
    /// Configuration id; `grid` for the root.
    pub id: String,
    /// The circuit above; `None` for the root.
    pub parent: Option<usize>,
    /// Fuse or breaker per phase. `None` only where there is no charger.
    pub fuse: Option<Milliamp>,
    /// A lower ceiling of the owner's, per phase.
    pub max_import: Option<Milliamp>,
    /// All phases together.
    pub max_power: Option<Watt>,
    /// Kept free below the limit.
    pub margin: Milliamp,
    /// Index of its meter.
    pub meter: Option<usize>,
    /// Root without a meter: what all chargers together may take per phase.
    pub static_current: Option<Milliamp>,
    /// Other loads of a circuit without a meter, per phase.
    pub reserve: Milliamp,
    /// All chargers behind the meter together, per phase, while it is lost.
    pub meter_lost_current: Milliamp,
}

/// A meter as the controller needs to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct MeterSetup {
    /// Configuration id.
    pub id: String,
    /// Which grid phase stands behind the meter's own L1, L2, L3. Readings arrive already mapped; kept for texts.
    pub phases: [Phase; 3],
    /// Late time; `None`: max(5 s, 1.5 periods).
    pub late: Option<Span>,
    /// Lost time; `None`: the driver's (`lost_default`), or max(10 s, 2 periods + 2 s).
    pub lost: Option<Span>,
    /// The driver's own lost time, where it has one (10 s for p1).
    pub lost_default: Option<Span>,
    /// Its period where the installer knows it.
    pub period: Option<Span>,
    /// What its times follow until three samples have shown the period: the slowest of its kind.
    pub presumed_period: Option<Span>,
}

/// A charger as an installer knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChargerSetup {
    /// Configuration id.
    pub id: String,
    /// Index into the circuits.
    pub circuit: usize,
    /// Grid phase behind the charger's own L1, L2, L3; one to three of them.
    pub phases: Vec<Phase>,
    /// What it is wired and built for, per phase.
    pub max_current: Milliamp,
    /// Resolution of its set-point.
    pub step: Milliamp,
    /// It can go from three phases to one.
    pub can_switch_phases: bool,
    /// On one phase, any of its own can be chosen; else it is its first.
    pub chooses_phase: bool,
    /// It reports the car's current.
    pub measures: bool,
    /// Index of a meter of its own.
    pub meter: Option<usize>,
    /// Time-out to be programmed into its fail-safe timer; `None` where it has no such timer.
    pub watchdog: Option<Span>,
    /// What it is to fall to when we are gone: 0, or 6 A and up. For one without a timer: what a restart of it gives.
    pub fail_safe: Milliamp,
    /// Delay from the write of a set-point to the pilot, where it does not show the pilot.
    pub write_latency: Span,
    /// The owner authorises each session, or the appliance does.
    pub auto_authorize: bool,
    /// What a person may ask of it.
    pub actions: Actions,
    /// Settings of the file; run-time settings lie on top.
    pub settings: ChargerSettings,
}

/// What may be changed of a charger at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChargerSettings {
    /// Charge mode.
    pub mode: Mode,
    /// Ceiling that the owner chooses, up to the wired maximum.
    pub max_current: Milliamp,
    /// For mode `fixed`.
    pub fixed_current: Milliamp,
    /// For mode `eco`.
    pub eco_min: Milliamp,
    /// For mode `eco_plus`, per phase.
    pub eco_plus_min_surplus: Milliamp,
    /// Charge only at low tariff.
    pub low_tariff_only: bool,
    /// At low tariff act as `fast`.
    pub low_tariff_fast: bool,
    /// Ceiling of the two above.
    pub low_tariff_max: Milliamp,
    /// 1 first to 9 last.
    pub priority: u8,
    /// Forced number of phases; `None` is automatic.
    pub phases: Option<u8>,
    /// Ends the session.
    pub session_limit: Option<WattHour>,
    /// In force from the session limit to unplugging; `None`: the session ends with its limit.
    pub mode_after_session: Option<Mode>,
}

/// What may be changed of the site at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteSettings {
    /// The big switch.
    pub charging_enabled: bool,
    /// Sharing rule.
    pub sharing: Sharing,
    /// Per phase; `None`: only the fuse.
    pub max_import: Option<Milliamp>,
    /// All phases together.
    pub max_import_power: Option<Watt>,
    /// Mean of a quarter of an hour.
    pub peak_15min: Option<Watt>,
    /// All chargers together.
    pub max_charging: Option<Watt>,
    /// A person's own dim order on top of the inputs.
    pub dim: bool,
}

/// The constants of the fail-safe table. The defaults are the contract's; tests shorten them in the file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// A charger is silent after this time without a valid answer, and at least three attempts (5 s).
    pub charger_silent: Span,
    /// Added to the watchdog's time-out for the quiet time after the last write to a silent charger (10 s).
    pub quiet_extra: Span,
    /// A cut must show in the measured draw this long after the charger showed the new pilot (6 s).
    pub cut_response: Span,
    /// The same, from the write, above 1.45 times the limit (5 s).
    pub cut_response_hard: Span,
    /// A raise that another charger's reduction made possible waits this long at most (6 s).
    pub raise_after_cut: Span,
    /// Above its offer for this long after the change took effect: not obeying (10 s).
    pub not_obeying: Span,
    /// Obedience needed before it is trusted again (60 s).
    pub obedience: Span,
    /// A set-point read back above ours twice within this time: a second master (60 s).
    pub second_master: Span,
    /// Quiet time after which a second master is forgotten (10 min).
    pub second_master_quiet: Span,
    /// Shortest time between two rewrites against a second master (60 s).
    pub second_master_rewrite: Span,
    /// Lease of an order (5 s).
    pub lease: Span,
    /// The charger is polled this often (1 s).
    pub poll: Span,
    /// Silence that an EVSE-DIN is left after a telegram (150 ms: openWB leaves 100 ms, evcc 200 ms).
    pub bus_pause: Span,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            charger_silent: Span::from_secs(5),
            quiet_extra: Span::from_secs(10),
            cut_response: Span::from_secs(6),
            cut_response_hard: Span::from_secs(5),
            raise_after_cut: Span::from_secs(6),
            not_obeying: Span::from_secs(10),
            obedience: Span::from_secs(60),
            second_master: Span::from_secs(60),
            second_master_quiet: Span::from_secs(600),
            second_master_rewrite: Span::from_secs(60),
            lease: Span::from_secs(5),
            poll: Span::from_secs(1),
            bus_pause: Span(150),
        }
    }
}

/// All that the controller is told at start. Built from a checked configuration; inconsistencies are errors there.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Number of phases of the grid connection, 1 or 3.
    pub grid_phases: u8,
    /// Root first.
    pub circuits: Vec<CircuitSetup>,
    /// In the order of the configuration.
    pub meters: Vec<MeterSetup>,
    /// In the order of the configuration.
    pub chargers: Vec<ChargerSetup>,
    /// In the order of the configuration.
    pub inputs: Vec<InputSetup>,
    /// In the order of the configuration.
    pub relays: Vec<RelaySetup>,
    /// The rules of surplus.
    pub surplus: SurplusSetup,
    /// Meters of home batteries, discharge positive.
    pub batteries: Vec<usize>,
    /// Meters of solar inverters, production positive.
    pub solar: Vec<usize>,
    /// Binds the controller's own starts.
    pub min_on: Span,
    /// Binds the controller's own stops.
    pub min_off: Span,
    /// Shortest time between two switchings of phases; going to one phase does not wait for it.
    pub phase_switch_min: Span,
    /// Largest difference of the chargers' one-phase current between phases.
    pub max_imbalance: Option<Milliamp>,
    /// Constants of the fail-safe table.
    pub timing: Timing,
    /// Site settings of the file.
    pub site: SiteSettings,
    /// All charging together while dimmed.
    pub dim: Option<Watt>,
    /// What it runs for: a simulation is told more than the appliance.
    pub purpose: Purpose,
}

/// One charger as the controller sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChargerStatus {
    /// What it does.
    pub word: ChargerStatusWord,
    /// What it is ordered to offer.
    pub offered: Milliamp,
    /// What stands in the sum of offers for it: more than `offered` while an older order may still hold.
    pub counted: Milliamp,
    /// Measured (or assumed) draw on the grid's phases.
    pub current: Phases<Option<Milliamp>>,
    /// Measured on the grid's phases.
    pub voltage: Phases<Option<Millivolt>>,
    /// Measured.
    pub power: Option<Watt>,
    /// Lifetime counter.
    pub energy: Option<WattHour>,
    /// This session; `None` without a session or a measurement.
    pub session_energy: Option<WattHour>,
    /// Begin of the session.
    pub session_start: Option<Mono>,
    /// Phases that carry current, or that are switched through.
    pub phases_active: Option<u8>,
    /// What its socket's lock is set to, where it has one and it was read.
    pub lock: Option<Lock>,
    /// Why.
    pub reason: Reason,
    /// The box's own words.
    pub fault: crate::reading::Flags,
    /// The box's own words.
    pub warning: crate::reading::Flags,
    /// Programmed fail-safe current.
    pub fail_safe: Milliamp,
    /// Its timer was read back and fits; `None` where it has none.
    pub watchdog_verified: Option<bool>,
    /// A car is there.
    pub plugged: bool,
    /// Current flows.
    pub charging: bool,
    /// Times that this session was interrupted by us.
    pub interruptions: u16,
    /// The last valid answer.
    pub heard_at: Option<Mono>,
    /// Settings in force.
    pub settings: ChargerSettings,
}

/// One meter as the controller judges it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeterStatus {
    /// Its standing.
    pub quality: Quality,
    /// Estimated period between samples.
    pub period: Option<Span>,
    /// When the last good frame arrived.
    pub good_at: Option<Mono>,
    /// The last frame, normalised: currents signed, best estimate from below of the true value.
    pub current: Phases<Option<Milliamp>>,
    /// Signed power per phase.
    pub power: Phases<Option<Watt>>,
    /// Signed total.
    pub power_total: Option<Watt>,
}

/// The site as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteStatus {
    /// Room left per phase for more charging; `None` while nothing is known.
    pub available: Phases<Option<Milliamp>>,
    /// Limit in force per phase.
    pub limit: Phases<Option<Milliamp>>,
    /// What would be exported were no car charging; `None` where either was not measured.
    pub surplus: Option<Watt>,
    /// All chargers together; `None` where one draws and its power is not measured.
    pub charging: Option<Watt>,
    /// A rule of the fail-safe table is in force.
    pub fail_safe: bool,
    /// What is wrong as far as the controller can tell.
    pub problem: Problem,
    /// Dim order in force.
    pub dim: bool,
    /// Low tariff; `None` without such an input.
    pub low_tariff: Option<bool>,
    /// Blocked by an input.
    pub block: bool,
    /// Settings in force.
    pub settings: SiteSettings,
}

/// A wish that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// A setting now has this value (as text in the form that is accepted); to be stored under `key`.
    Setting {
        /// `site/<setting>` or `charger/<id>/<setting>`.
        key: String,
        /// `None`: the run-time setting is taken back.
        value: Option<String>,
    },
    /// In force until it ends by itself (a session's limit at unplugging, a relay's order after `force_max_s`); never
    /// stored.
    Passing,
    /// Every run-time setting was dropped.
    Reset,
    /// The controller does it by itself, once; there is nothing to store.
    Done,
    /// To be done once by the device task of this charger.
    Action(usize, crate::command::ChargerAction),
}

impl Accepted {
    /// It is kept for the next start.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        match self {
            Self::Setting { .. } | Self::Reset => true,
            Self::Passing | Self::Done | Self::Action(..) => false,
        }
    }
}

/// A wish that was not: a sentence that says what was wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

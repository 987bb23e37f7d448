//! What an operator must hear of: a closed list of words, each with its subject.

use serde::Serialize;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every word, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As written on MQTT.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The variant with this word.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.word() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// The closed list of `event_type`.
    EventType {
        /// The appliance runs.
        Started = "started",
        /// The configuration file is wrong; see the page.
        ConfigInvalid = "config_invalid",
        /// Another configuration is in force.
        ConfigChanged = "config_changed",
        /// A changed file won over a stored run-time setting.
        SettingsOverridden = "settings_overridden",
        /// No frame for the late time.
        MeterLate = "meter_late",
        /// No frame for the lost time.
        MeterLost = "meter_lost",
        /// Good frames again.
        MeterBack = "meter_back",
        /// Another serial number or a counter that fell for good.
        MeterReplaced = "meter_replaced",
        /// A charger does not answer.
        ChargerLost = "charger_lost",
        /// It answers again.
        ChargerBack = "charger_back",
        /// A phase is above its limit.
        FuseOverload = "fuse_overload",
        /// A rule of the fail-safe table is in force.
        FailSafeEntered = "fail_safe_entered",
        /// None is any more.
        FailSafeLeft = "fail_safe_left",
        /// A car draws more than offered.
        NotObeying = "not_obeying",
        /// Somebody else writes the set-point.
        SecondMaster = "second_master",
        /// No current although offered.
        CarNotStarting = "car_not_starting",
        /// One phase to three, or back.
        PhaseSwitched = "phase_switched",
        /// A car was plugged in.
        SessionStarted = "session_started",
        /// It was unplugged.
        SessionEnded = "session_ended",
        /// A command was not accepted.
        CommandRefused = "command_refused",
        /// The broker is away.
        BrokerLost = "broker_lost",
        /// It is back.
        BrokerBack = "broker_back",
        /// The wall clock is not set or jumped.
        ClockError = "clock_error",
        /// The grid operator dims.
        DimStarted = "dim_started",
        /// No longer.
        DimEnded = "dim_ended",
        /// The disk is full or read-only.
        DiskError = "disk_error",
        /// A charger's fail-safe timer could not be programmed or verified.
        WatchdogFailed = "watchdog_failed",
        /// Something that would not end in a safe current.
        Risk = "risk",
        /// An input cannot be read.
        InputLost = "input_lost",
        /// It can again.
        InputBack = "input_back",
        /// A relay does not answer.
        RelayLost = "relay_lost",
        /// It does again.
        RelayBack = "relay_back",
        /// A charger forgot its set-point.
        ChargerRebooted = "charger_rebooted",
        /// Phases could not be switched.
        PhaseSwitchFailed = "phase_switch_failed",
    }
}

/// One event, ready to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The word.
    pub event_type: EventType,
    /// Configuration id of the device, `site` or `bridge`.
    pub subject: String,
    /// One sentence in English: what was seen, what follows.
    pub detail: String,
}

//! What an operator must hear of: a closed list of words, each with its subject.

use serde::Serialize;

use crate::quantity::{Milliamp, Watt};

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

/// How much an event weighs: the level of its line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// The usual course: somebody's wish, a car that comes and goes, something that is well again.
    Notice,
    /// Something is not as it should be; charging goes on, perhaps with less.
    Warning,
    /// Something that people rely on is gone, or charging is held at a fail-safe current: somebody must look.
    Error,
}

impl EventType {
    /// Its weight.
    #[must_use]
    pub const fn gravity(self) -> Gravity {
        match self {
            Self::ConfigInvalid
            | Self::MeterLost
            | Self::ChargerLost
            | Self::FailSafeEntered
            | Self::NotObeying
            | Self::SecondMaster
            | Self::DiskError
            | Self::WatchdogFailed
            | Self::InputLost
            | Self::RelayLost => Gravity::Error,
            Self::SettingsOverridden
            | Self::MeterLate
            | Self::MeterReplaced
            | Self::FuseOverload
            | Self::CarNotStarting
            | Self::CommandRefused
            | Self::BrokerLost
            | Self::ClockError
            | Self::Risk
            | Self::ChargerRebooted
            | Self::PhaseSwitchFailed => Gravity::Warning,
            Self::Started
            | Self::ConfigChanged
            | Self::MeterBack
            | Self::ChargerBack
            | Self::FailSafeLeft
            | Self::PhaseSwitched
            | Self::SessionStarted
            | Self::SessionEnded
            | Self::BrokerBack
            | Self::DimStarted
            | Self::DimEnded
            | Self::InputBack
            | Self::RelayBack => Gravity::Notice,
        }
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
    /// What of it can be computed with.
    pub figures: Figures,
}

impl Event {
    /// One without figures.
    #[must_use]
    pub fn new(event_type: EventType, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { event_type, subject: subject.into(), detail: detail.into(), figures: Figures::default() }
    }
}

/// Figures of an event: what was measured, and the limit that it is about. What an event does not speak of is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// On the phase that the sentence names.
    pub current: Option<Milliamp>,
    /// For each phase.
    pub current_limit: Option<Milliamp>,
    /// Of all charging together.
    pub power: Option<Watt>,
    /// For all charging together.
    pub power_limit: Option<Watt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_wrong_weighs_more_than_its_end() {
        let ends = ["_back", "_left", "_ended", "_switched"];
        let harms =
            ["_lost", "_invalid", "_error", "_failed", "_entered", "_late", "_overload", "_refused", "_rebooted"];
        for event in EventType::ALL {
            let (word, gravity) = (event.word(), event.gravity());
            if ends.iter().any(|it| word.ends_with(it)) {
                assert_eq!(gravity, Gravity::Notice, "{word}");
            }
            if harms.iter().any(|it| word.ends_with(it)) {
                assert!(gravity > Gravity::Notice, "{word}");
            }
        }
        for event in EventType::ALL.iter().filter(|it| it.word().ends_with("_back") && **it != EventType::BrokerBack) {
            let lost = EventType::from_word(&event.word().replace("_back", "_lost")).expect("its begin has a word");
            assert_eq!(lost.gravity(), Gravity::Error, "{lost}: nothing depends on the broker, but on these");
        }
    }
}

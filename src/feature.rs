//! What this version can do: one line per feature that is not complete everywhere, and everybody reads it here. The file
//! check and its schema, the commands of MQTT and of the simulation seam, the restored settings and what Home Assistant
//! is offered change together with that line. What is not in the table is complete.

/// What a configuration is read for, and a controller is run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The appliance, and `check`.
    Run,
    /// The controller alone: simulated devices, and some features that are not complete yet.
    Simulate,
    /// A configuration that was good once: secrets that have gone since are warnings.
    LastGood,
}

/// Whether this version has something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has.
    Now,
    /// Only a simulation: the controller answers it with a safe current and the reason.
    Simulate,
    /// Not yet.
    Later,
}

impl Status {
    /// Whether it is accepted.
    #[must_use]
    pub const fn accepts(self, purpose: Purpose) -> bool {
        match self {
            Self::Now => true,
            Self::Simulate => matches!(purpose, Purpose::Simulate),
            Self::Later => false,
        }
    }
}

macro_rules! features {
    ($($(#[doc = $doc:literal])+ $name:ident: $status:ident,)*) => {
        /// Something that a person can set or choose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Feature { $($(#[doc = $doc])+ $name,)* }

        impl Feature {
            /// How far this version has it.
            #[must_use]
            pub const fn status(self) -> Status {
                match self { $(Self::$name => Status::$status,)* }
            }
        }
    };
}

features! {
    /// Mode `eco` and `eco_min_a`.
    Eco: Now,
    /// Mode `eco_plus` and `eco_plus_min_surplus_a`.
    EcoPlus: Now,
    /// Mode `solar`.
    Solar: Now,
    /// `low_tariff_only`
    LowTariffOnly: Now,
    /// `low_tariff_fast`
    LowTariffFast: Now,
    /// `low_tariff_max_a`
    LowTariffMax: Now,
    /// `session_limit_kwh` and `mode_after_session`.
    SessionLimit: Now,
    /// `max_import_kw`
    MaxImportKw: Now,
    /// `peak_15min_kw`
    Peak15min: Now,
    /// `max_charging_kw`
    MaxChargingKw: Now,
    /// `dim_kw`; without it a dim order stops charging.
    DimKw: Now,
    /// `sharing` = `priority`
    SharingPriority: Now,
    /// `sharing` = `state`
    SharingState: Now,
    /// `phase_switching` of a charger.
    PhaseSwitching: Now,
    /// A forced number of phases, the setting `phases`.
    ForcedPhases: Now,
    /// `wake`
    Wake: Now,
}

/// A word of a closed list, and what it belongs to.
pub type Worded = (&'static str, Feature);

/// Words of `mode` beside `off`, `fast` and `fixed`.
pub const MODES: &[Worded] = &[("eco", Feature::Eco), ("eco_plus", Feature::EcoPlus), ("solar", Feature::Solar)];
/// Words of `sharing` beside `equal`.
pub const SHARING: &[Worded] = &[("priority", Feature::SharingPriority), ("state", Feature::SharingState)];
/// Words of the setting `phases` beside `auto`.
pub const PHASES: &[Worded] = &[("1", Feature::ForcedPhases), ("3", Feature::ForcedPhases)];

impl Feature {
    /// Whether it is accepted.
    #[must_use]
    pub const fn is_for(self, purpose: Purpose) -> bool {
        self.status().accepts(purpose)
    }

    /// What a setting of the site or of a charger, or the key of the same name in the file, belongs to. `None`: to
    /// nothing that is incomplete.
    #[must_use]
    pub fn of_setting(name: &str) -> Option<Self> {
        Some(match name {
            "eco_min_a" => Self::Eco,
            "eco_plus_min_surplus_a" => Self::EcoPlus,
            "low_tariff_only" => Self::LowTariffOnly,
            "low_tariff_fast" => Self::LowTariffFast,
            "low_tariff_max_a" => Self::LowTariffMax,
            "session_limit_kwh" | "mode_after_session" => Self::SessionLimit,
            "max_import_kw" => Self::MaxImportKw,
            "peak_15min_kw" => Self::Peak15min,
            "max_charging_kw" => Self::MaxChargingKw,
            "wake" => Self::Wake,
            _ => return None,
        })
    }
}

/// Whether a setting is accepted.
#[must_use]
pub fn setting_is_for(name: &str, purpose: Purpose) -> bool {
    Feature::of_setting(name).is_none_or(|it| it.is_for(purpose))
}

/// The words of a closed list that are accepted, those that are always first.
pub fn words<'a>(
    always: &'a [&'static str],
    listed: &'a [Worded],
    purpose: Purpose,
) -> impl Iterator<Item = &'static str> + 'a {
    let more = listed.iter().filter(move |it| it.1.is_for(purpose)).map(|it| it.0);
    always.iter().copied().chain(more)
}

/// The sentence about something that does not exist yet.
#[must_use]
pub fn not_yet(what: &str) -> String {
    format!("{what} is known, but not available in this version")
}

/// What the sentence adds.
pub const COMES: &str = "it comes in a later version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_offered_for_what_it_works_in() {
        let some = [("now", Feature::Eco), ("never", Feature::Wake)];
        let of = |purpose| words(&["always"], &some, purpose).collect::<Vec<_>>();
        let accepted = |purpose| {
            let mut all = vec!["always"];
            all.extend(some.iter().filter(|it| it.1.status().accepts(purpose)).map(|it| it.0));
            all
        };
        for purpose in [Purpose::Run, Purpose::Simulate, Purpose::LastGood] {
            assert_eq!(of(purpose), accepted(purpose));
        }
        assert!(Status::Simulate.accepts(Purpose::Simulate) && !Status::Simulate.accepts(Purpose::LastGood));
        assert!(Status::Now.accepts(Purpose::Run) && !Status::Later.accepts(Purpose::Simulate));
    }
}

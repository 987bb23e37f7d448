//! The sentence behind each number.

use std::fmt;

use crate::quantity::Span;

use super::interface::{Detail, LimitReason, Reason, RelayReason, RelayWord};

/// Writes the sentence for `reason`.
pub(super) fn sentence(reason: &Reason, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}: ", reason.offer)?;
    match reason.detail {
        Detail::ChargingDisabled => return f.write_str("charging is switched off for the whole site"),
        Detail::SunUnknown => return f.write_str("the grid meter does not tell the surplus"),
        Detail::SunFloor => return f.write_str("the least of its mode; the sun leaves no more"),
        Detail::LowTariffMax | Detail::SunCloud | Detail::SunGrace | Detail::SunProof | Detail::SunRest => {
            f.write_str(match reason.detail {
                Detail::LowTariffMax => "the highest current that was chosen for the low tariff",
                Detail::SunCloud => "too little sun for the minimum: goes on for now, a stop would cost more",
                Detail::SunGrace => "not enough sun: held at the minimum",
                Detail::SunProof => "there is enough sun: waits whether it lasts",
                _ => "there is sun again, but it was stopped a short while ago",
            })?;
            return still(reason.wait, f);
        }
        Detail::NoCar => return f.write_str("no car is plugged in"),
        Detail::NotDrawing => return f.write_str("the car has not begun to draw; it gets more when it does"),
        Detail::PhasesUnknown => return f.write_str("the car has not shown yet which phases it uses"),
        Detail::NotDown => {
            return f.write_str("the car still draws more than it is offered; it gets more when it has come down");
        }
        Detail::TakesLess => return f.write_str("the car takes less than it could have"),
        Detail::WakingUp => return f.write_str("the car sleeps; its pilot is taken away for 20 s to wake it"),
        Detail::Spared => {
            f.write_str("there is room, but the car was interrupted a short while ago: its next start waits")?;
            return still(reason.wait, f);
        }
        Detail::Rising => {
            let target = reason.figure.unwrap_or(reason.offer);
            return write!(f, "on its way up to {target}");
        }
        Detail::MustLast => {
            f.write_str(match reason.word {
                LimitReason::LimitL1 => "L1 has room",
                LimitReason::LimitL2 => "L2 has room",
                LimitReason::LimitL3 => "L3 has room",
                LimitReason::MeterLost => "the meter is lost, and the figure for that leaves room",
                _ => "there is room",
            })?;
            return f.write_str(" now: waits whether it lasts");
        }
        Detail::ForRelay => return f.write_str("a relay that comes before it is to be closed"),
        Detail::Doubted => {
            return f.write_str("what the meter said last is doubtful, so nothing is raised");
        }
        Detail::Queued => return f.write_str("cars are started one after another"),
        Detail::Ended => return f.write_str("the car is full or has ended by itself"),
        Detail::Imbalance => {
            return f.write_str("one phase would carry too much more of the chargers' current than the others");
        }
        Detail::Masked => {
            f.write_str(
                "the grid meter tells all phases together only, with production behind it that no meter shows: ",
            )?;
            return f.write_str(if reason.figure.is_some() { "static_a holds" } else { "static_a is not given" });
        }
        Detail::NotHeard => {
            f.write_str("the charger has not answered since the start")?;
            return match reason.figure {
                Some(counted) => write!(f, "; it counts as {counted}, all that it may offer, until it does"),
                None => Ok(()),
            };
        }
        Detail::Phase(phase) if reason.word == LimitReason::Turn => {
            return write!(f, "other cars have their turn, {phase} has no room for one more");
        }
        Detail::Phase(phase) => return write!(f, "{phase} is shared with other cars"),
        Detail::None => {}
    }
    let text = match reason.word {
        LimitReason::None => "nothing holds it down",
        LimitReason::LimitL1 => "L1 has no more room",
        LimitReason::LimitL2 => "L2 has no more room",
        LimitReason::LimitL3 => "L3 has no more room",
        LimitReason::Circuit => "the fuse of its circuit has no more room",
        LimitReason::MaxImportKw => "the import limit in kW is reached",
        LimitReason::Peak15min => "the mean of this quarter of an hour would pass its limit",
        LimitReason::MaxChargingKw => "the limit for all charging together is reached",
        LimitReason::Dim => "the grid operator dims all charging",
        LimitReason::MeterLate => "no good news from the meter, so nothing is raised",
        LimitReason::MeterLost => "the meter is lost",
        LimitReason::Static => "the fixed share of all chargers is used up",
        LimitReason::ChargerLimit => "the charger's own setting",
        LimitReason::Cable => "the cable does not carry more",
        LimitReason::Temperature => "the charger is too warm for more",
        LimitReason::Car => "the car does not take more",
        LimitReason::Surplus => "the sun leaves no more",
        LimitReason::Sharing => "shared with other cars",
        LimitReason::Turn => "other cars have their turn",
        LimitReason::Tariff => "waits for the low tariff",
        LimitReason::Off => "switched off",
        LimitReason::Block => "an input blocks charging",
        LimitReason::StartUp => "starting: waits for three good frames of the meter",
        LimitReason::PhaseSwitch => "phases are being switched",
        LimitReason::NotObeying => "more was drawn than was offered",
        LimitReason::Offline => "the charger does not answer",
        LimitReason::SessionLimit => "the session has had its energy",
        LimitReason::Fixed => "the fixed current that was chosen",
        LimitReason::MaxCurrent => "the highest current that was chosen",
        LimitReason::Fault => "the charger reports a fault",
        LimitReason::Authorization => "waits for authorisation",
        LimitReason::SecondMaster => "somebody else writes its set-point, so it is not raised",
        LimitReason::ConfigInvalid => "the configuration is wrong",
    };
    f.write_str(text)?;
    match (reason.word, reason.figure) {
        (LimitReason::Offline, Some(counted)) => write!(f, "; it counts as {counted}"),
        (LimitReason::ChargerLimit, Some(limit)) => write!(f, ": {limit}"),
        _ => Ok(()),
    }
}

/// Writes the sentence for a relay's `reason`.
pub(super) fn relay_sentence(reason: &RelayReason, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(match reason.word {
        RelayWord::Rules => "none of its rules closes it",
        RelayWord::LowTariff => "closed: low tariff",
        RelayWord::Export => "closed: the surplus pays for it",
        RelayWord::Always => "closed: it is to be closed always",
        RelayWord::Surplus => "open: not enough surplus",
        RelayWord::Forced => "as it was ordered",
        RelayWord::MinOn => "closed: its shortest time closed is not over",
        RelayWord::MinOff => "open: its shortest time open is not over",
        RelayWord::Shed => "open: a fuse has no room for it",
        RelayWord::Interlock => "open: the other relay of its pair has not opened yet",
        RelayWord::Meter => "open: the surplus is not known",
        RelayWord::Offline => "does not answer; it counts as closed",
        RelayWord::StartUp => "nothing was decided yet",
    })?;
    if let Some(surplus) = reason.surplus {
        write!(f, " (mean {surplus})")?;
    }
    still(reason.wait, f)
}

/// Time left, in whole seconds.
fn still(wait: Option<Span>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match wait {
        Some(wait) => write!(f, "; for another {} s", wait.0.saturating_add(999) / 1000),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Milliamp;

    fn say(word: LimitReason, amps: i32, detail: Detail) -> String {
        Reason { word, offer: Milliamp::from_amps(amps), figure: None, wait: None, detail }.to_string()
    }

    #[test]
    fn every_word_has_a_sentence_that_begins_with_the_current() {
        assert_eq!(say(LimitReason::LimitL2, 10, Detail::None), "10 A: L2 has no more room");
        assert_eq!(
            say(LimitReason::Surplus, 6, Detail::SunFloor),
            "6 A: the least of its mode; the sun leaves no more"
        );
        for (word, sentence) in [
            (LimitReason::LimitL1, "6 A: L1 has room now: waits whether it lasts"),
            (LimitReason::Peak15min, "6 A: there is room now: waits whether it lasts"),
            (LimitReason::MaxImportKw, "6 A: there is room now: waits whether it lasts"),
        ] {
            assert_eq!(say(word, 6, Detail::MustLast), sentence);
        }
        for word in LimitReason::ALL {
            assert!(say(*word, 6, Detail::None).starts_with("6 A: "));
        }
    }
}

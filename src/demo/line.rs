//! One moment of the demo in one line that fits a terminal.

use std::fmt::Write as _;

use crate::control::{Detail, LimitReason, Reason};
use crate::quantity::{Milliamp, Phase, Phases};
use crate::status::{ChargerView, Snapshot};

use super::FUSE_A;

/// Columns that the why of a charger may take: two chargers then fit in 120.
const WHY: usize = 18;

/// Seconds, each phase against its fuse, then each charger: drawn against offered current, and why.
pub(super) fn line(second: u32, snapshot: &Snapshot, names: &[String]) -> String {
    let mut line = format!("{second:4} s");
    let grid = snapshot.meters.first().and_then(|it| it.status);
    let current = grid.map_or(Phases([None; 3]), |it| it.current);
    for phase in Phase::ALL {
        // Writing into a string cannot fail, here and below.
        let _ = write!(line, " {phase} {:>4}", amps(current[phase]));
    }
    let _ = write!(line, "/{FUSE_A} A");
    for (at, charger) in snapshot.chargers.iter().enumerate() {
        let name = names.get(at).map_or(charger.id.as_ref(), String::as_str);
        let _ = write!(line, " | {name} {:<width$}", describe(charger), width = "16.0/16.0 A ".len() + WHY);
    }
    line.truncate(line.trim_end().len());
    line
}

/// What one charger does, and why.
fn describe(charger: &ChargerView) -> String {
    let status = &charger.status;
    let drawn = status.current.0.into_iter().flatten().max();
    format!("{:>4}/{:<4} A {}", amps(drawn), amps(Some(status.offered)), why(&status.reason))
}

/// With one decimal, or without where that takes more than four columns; `?` where nobody measures it.
fn amps(current: Option<Milliamp>) -> String {
    current.map_or_else(
        || "?".to_owned(),
        |it| {
            let text = format!("{:.1}", it.as_f64());
            if text.len() > 4 { format!("{:.0}", it.as_f64()) } else { text }
        },
    )
}

/// The sentence of a reason in few words; the page and MQTT have it whole.
fn why(reason: &Reason) -> String {
    let detail = match reason.detail {
        Detail::None => word(reason.word),
        Detail::ChargingDisabled => "site switched off",
        Detail::LowTariffMax => "low-tariff maximum",
        Detail::SunCloud => "through a cloud",
        Detail::SunGrace => "held: little sun",
        Detail::SunProof => "does the sun last?",
        Detail::SunRest | Detail::Spared => "rests after a stop",
        Detail::SunFloor => "least of its mode",
        Detail::SunUnknown => "surplus unknown",
        Detail::NoCar => "no car",
        Detail::NotDrawing => "car not drawing",
        Detail::TakesLess => "car takes less",
        Detail::NotDown => "car not down yet",
        Detail::WakingUp => "car is woken",
        Detail::Ended => "car is full",
        Detail::Rising => return format!("rising to {} A", amps(Some(reason.figure.unwrap_or(reason.offer)))),
        Detail::PhasesUnknown => "phases unknown yet",
        Detail::Masked => "sun hides the load",
        Detail::MustLast => "does room last?",
        Detail::Queued => "one after another",
        Detail::Imbalance => "phases uneven",
        Detail::NotHeard => "not answered yet",
        Detail::ForRelay => "for a relay",
        Detail::Doubted => "frame is doubted",
        Detail::Phase(phase) if reason.word == LimitReason::Turn => return format!("others' turn on {phase}"),
        Detail::Phase(phase) => return format!("shares {phase}"),
    };
    detail.to_owned()
}

/// The same of a word alone.
const fn word(word: LimitReason) -> &'static str {
    match word {
        LimitReason::None => "nothing limits it",
        LimitReason::LimitL1 => "L1 is full",
        LimitReason::LimitL2 => "L2 is full",
        LimitReason::LimitL3 => "L3 is full",
        LimitReason::Circuit => "its fuse is full",
        LimitReason::MaxImportKw => "import limit",
        LimitReason::Peak15min => "quarter-hour peak",
        LimitReason::MaxChargingKw => "charging limit",
        LimitReason::Dim => "dimmed",
        LimitReason::MeterLate => "meter is late",
        LimitReason::MeterLost => "meter is lost",
        LimitReason::Static => "fixed share",
        LimitReason::ChargerLimit => "its own setting",
        LimitReason::Cable => "cable",
        LimitReason::Temperature => "too warm",
        LimitReason::Car => "car takes no more",
        LimitReason::Surplus => "no more sun",
        LimitReason::Sharing => "shared",
        LimitReason::Turn => "others' turn",
        LimitReason::Tariff => "waits for tariff",
        LimitReason::Off => "off",
        LimitReason::Block => "blocked",
        LimitReason::StartUp => "starting",
        LimitReason::PhaseSwitch => "switching phases",
        LimitReason::NotObeying => "car drew too much",
        LimitReason::Offline => "does not answer",
        LimitReason::SessionLimit => "session limit",
        LimitReason::Fixed => "fixed current",
        LimitReason::MaxCurrent => "chosen maximum",
        LimitReason::Fault => "fault",
        LimitReason::Authorization => "not authorised",
        LimitReason::SecondMaster => "second master",
        LimitReason::ConfigInvalid => "wrong settings",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_current_takes_four_columns() {
        for (current, text) in [(9_960, "10.0"), (-9_940, "-9.9"), (-9_960, "-10"), (-14_700, "-15"), (112_400, "112")]
        {
            assert_eq!(amps(Some(Milliamp(current))), text);
        }
        assert_eq!(amps(None), "?");
    }

    #[test]
    fn every_why_is_short() {
        let details = [
            Detail::None,
            Detail::ChargingDisabled,
            Detail::LowTariffMax,
            Detail::SunCloud,
            Detail::SunGrace,
            Detail::SunProof,
            Detail::SunRest,
            Detail::SunFloor,
            Detail::SunUnknown,
            Detail::NoCar,
            Detail::NotDrawing,
            Detail::TakesLess,
            Detail::NotDown,
            Detail::ForRelay,
            Detail::Doubted,
            Detail::WakingUp,
            Detail::Spared,
            Detail::Ended,
            Detail::Rising,
            Detail::MustLast,
            Detail::PhasesUnknown,
            Detail::Masked,
            Detail::Queued,
            Detail::Imbalance,
            Detail::NotHeard,
            Detail::Phase(Phase::L2),
        ];
        for word in LimitReason::ALL {
            for detail in details {
                let reason = Reason { word: *word, offer: Milliamp(15_960), figure: None, wait: None, detail };
                let why = why(&reason);
                assert!(!why.is_empty() && why.len() <= WHY, "{why}: {} columns", why.len());
            }
        }
    }
}

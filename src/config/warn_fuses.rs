//! What should be looked at for every fuse: the grid connection's and each circuit's.

use super::check_devices::Raw;
use super::diagnostic::Severity;
use super::model::Config;
use super::raw;
use super::slot::Slot;
use super::source::Report;
use super::warn::at_charger;
use crate::quantity::{Milliamp, Phase};

/// What holds behind a fuse while its meter is lost.
pub(super) fn meter_lost(config: &Config, grid: &raw::Grid, devices: &Raw, report: &mut Report) {
    if let Some(fuse) = config.grid.fuse {
        warn_of_lost(("grid", "grid"), fuse, (&grid.meter_lost_s, &grid.meter_lost_current_a), report);
    }
    for (circuit, device) in config.circuits.iter().zip(&devices.circuits) {
        let keys = (&device.raw.meter_lost_s, &device.raw.meter_lost_current_a);
        warn_of_lost((&device.head.path, "circuit's"), circuit.fuse, keys, report);
    }
}

fn warn_of_lost(
    (path, whose): (&str, &str),
    fuse: Milliamp,
    (time, current): (&Slot<f64>, &Slot<f64>),
    report: &mut Report,
) {
    if let Some((lost, at)) = time.set().filter(|it| *it.0 > 30.0) {
        let message = format!("for {lost} s a dead {whose} meter would go unnoticed");
        report.warn(
            at,
            &format!("{path}.meter_lost_s"),
            message,
            "10 s is usual, more than 30 s is a risk for the fuse",
        );
    }
    let Some((lost, at)) = current.set() else { return };
    let key = format!("{path}.meter_lost_current_a");
    if *lost > 0.0 && *lost < 6.0 {
        let message = format!("`meter_lost_current_a` = {lost} lets no charger charge: the least is 6 A");
        report.warn(at, &key, message, "write 0, or 6 A and up");
    }
    if Milliamp::from_f64(*lost) > fuse {
        let message = format!("`meter_lost_current_a` = {lost} is above the fuse and is capped by it ({fuse})");
        report.warn(
            at,
            &key,
            message,
            "leave room for what else is behind it: it draws as well while the meter is lost",
        );
    }
}

/// The chargers behind a fuse may fall to more than it carries when nobody watches it.
pub(super) fn fail_safe_sum(config: &Config, devices: &Raw, report: &mut Report) {
    let fuses = config.grid.fuse.map(|fuse| (None, fuse));
    let circuits = config.circuits.iter().enumerate().map(|(index, circuit)| (Some(index), circuit.fuse));
    for (circuit, fuse) in fuses.into_iter().chain(circuits) {
        warn_of_sum(config, devices, circuit, fuse, report);
    }
}

fn warn_of_sum(config: &Config, devices: &Raw, circuit: Option<usize>, fuse: Milliamp, report: &mut Report) {
    let behind = |index: usize, phase: Phase| {
        let charger = &config.chargers[index];
        charger.phases.contains(&phase) && is_behind(config, charger.circuit, circuit)
    };
    for phase in Phase::ALL {
        let of = |index: &usize| behind(*index, phase);
        let sum: Milliamp = (0..config.chargers.len()).filter(of).map(|it| config.chargers[it].fail_safe).sum();
        if sum <= fuse {
            continue;
        }
        let first = (0..config.chargers.len()).find(|it| of(it) && config.chargers[*it].fail_safe > Milliamp::ZERO);
        let Some((at, part, path)) = first.and_then(|it| at_charger(devices, it, |raw| &raw.fail_safe_current_a))
        else {
            continue;
        };
        let whose = circuit.map_or(String::new(), |index| format!(" behind circuit `{}`", config.circuits[index].id));
        let message = format!(
            "the fail-safe currents of all chargers on {phase}{whose} make {sum}, more than the fuse of {fuse}"
        );
        let help = "when the appliance is gone, all of them charge at once and nobody watches the fuse";
        report.say(Severity::Warning, (at, part), &format!("{path}.fail_safe_current_a"), message, help);
        return;
    }
}

/// Whether `circuit` is `above` or below it; `None` is the grid connection.
fn is_behind(config: &Config, mut circuit: Option<usize>, above: Option<usize>) -> bool {
    while circuit != above {
        let Some(index) = circuit else { return false };
        circuit = config.circuits[index].parent;
    }
    true
}

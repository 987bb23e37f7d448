//! Meters that see less than what they are meant to guard.

use super::check_devices::{Raw, RawDevice};
use super::layer::Merged;
use super::model::{Config, Meter, MeterDriver, MeterRole};
use super::raw;
use super::source::{At, Report};
use crate::codec::model::{Model, Quantity, Sure};
use crate::codec::sample::Quantity as Told;
use crate::control::SurplusKind;
use crate::quantity::Phase;

/// Converters in front of a meter that pass its values on without its time: asked again, they repeat themselves.
const CONVERTERS_WITHOUT_TIME: [&str; 1] = ["esp-p1-modbus"];

/// What a meter is known to tell, before it has told anything.
struct Tells {
    /// Power or current of each phase.
    phases: [bool; 3],
    /// Power of all phases together.
    total: bool,
}

/// `None` where only the frames of the meter say it.
fn told(meter: &Meter) -> Option<Tells> {
    match &meter.driver {
        MeterDriver::Modbus { model, .. } => {
            let tells = |phase| {
                [Quantity::Power, Quantity::Current].into_iter().any(|it| model.measures(it, phase))
                    || [Quantity::PowerImport, Quantity::PowerExport].into_iter().all(|it| model.measures(it, phase))
            };
            Some(Tells { phases: Phase::ALL.map(|phase| tells(Some(phase))), total: tells(None) })
        }
        MeterDriver::Mqtt(driver) => {
            let has = |quantity| driver.sources.iter().any(|it| it.quantity == quantity);
            let both = Told::PHASE_POWER.into_iter().zip(Told::CURRENT);
            let mut phases = [false; 3];
            for (told, (power, current)) in phases.iter_mut().zip(both) {
                *told = has(power) || has(current);
            }
            Some(Tells { phases, total: has(Told::Power) || has(Told::PowerImport) })
        }
        MeterDriver::P1 { .. }
        | MeterDriver::Shelly { .. }
        | MeterDriver::HomeWizard { .. }
        | MeterDriver::Iec62056 { .. }
        | MeterDriver::Sml { .. }
        | MeterDriver::Simulated { .. } => None,
    }
}

/// It is known to tell the power of all phases together and nothing of each.
pub(super) fn tells_total_only(meter: &Meter) -> bool {
    told(meter).is_some_and(|it| it.total && !it.phases.contains(&true))
}

/// Surplus of each phase, behind a meter of which is known that it tells all of them together only.
pub(super) fn surplus(config: &Config, merged: &Merged, report: &mut Report) {
    let written = merged.tables.get("control").and_then(|it| it.get("surplus"));
    let Some(at) = written.and_then(|it| At::from_origin(it.origin())) else { return };
    if config.control.surplus.kind != SurplusKind::PerPhase || config.grid.phases == 1 {
        return;
    }
    let Some(meter) = config.grid.meter.and_then(|it| config.meters.get(it)) else { return };
    if told(meter).is_some_and(|it| it.phases.contains(&false)) {
        let message = format!(
            "`surplus` = \"per_phase\", but the grid meter `{}` tells all phases together only: each is taken to have an \
             equal share of the surplus",
            meter.common.id
        );
        let help = "write surplus = \"net\", or use a meter that tells the power or the current of each phase";
        report.warn(at, "control.surplus", message, help);
    }
}

/// Meters of solar plants and batteries of which is known that they only count.
pub(super) fn sources_without_power(config: &Config, devices: &Raw, report: &mut Report) {
    for (meter, device) in config.meters.iter().zip(&devices.meters) {
        let lacks = match meter.role {
            MeterRole::Solar => "nobody sees what it produces now",
            MeterRole::Battery => "its discharge is taken for the sun's",
            MeterRole::Grid | MeterRole::Circuit | MeterRole::Charger | MeterRole::Other => continue,
        };
        let Some((_, at)) = device.raw.role.set().filter(|_| !knows_power(&meter.driver)) else { continue };
        let message = format!("the {} meter `{}` gives no power: {lacks}", meter.role.word(), meter.common.id);
        let help = "say where its power stands (power_w, or power_import_w and power_export_w), or take another meter";
        report.warn(at, &format!("{}.role", device.head.path), message, help);
    }
}

/// As far as can be told before it was heard.
fn knows_power(driver: &MeterDriver) -> bool {
    match driver {
        MeterDriver::Mqtt(driver) => {
            let power = [Told::Power, Told::PowerImport, Told::PowerExport];
            let is_power = |it: Told| power.contains(&it) || Told::PHASE_POWER.contains(&it);
            driver.sources.iter().any(|source| is_power(source.quantity))
        }
        MeterDriver::Modbus { model, .. } => {
            let phases = std::iter::once(None).chain(Phase::ALL.map(Some));
            [Quantity::Power, Quantity::PowerImport]
                .into_iter()
                .any(|quantity| phases.clone().any(|phase| model.measures(quantity, phase)))
        }
        MeterDriver::P1 { .. }
        | MeterDriver::Shelly { .. }
        | MeterDriver::HomeWizard { .. }
        | MeterDriver::Iec62056 { .. }
        | MeterDriver::Sml { .. }
        | MeterDriver::Simulated { .. } => true,
    }
}

/// Meters that guard a fuse and are not fit for it.
pub(super) fn guards(config: &Config, devices: &Raw, report: &mut Report) {
    for (meter, device) in config.meters.iter().zip(&devices.meters) {
        if !matches!(meter.role, MeterRole::Grid | MeterRole::Circuit) {
            continue;
        }
        sees_too_little(config, meter, device, report);
        if let MeterDriver::Modbus { model, .. } = &meter.driver {
            doubtful(model, meter, device, report);
            cannot_be_found_frozen(model, meter, device, report);
        }
    }
}

/// Meters by which nothing is decided and that are read out so often that a battery in them does not last.
pub(super) fn read_often(config: &Config, devices: &Raw, report: &mut Report) {
    /// Readouts oftener than this tell nobody more of a meter that only informs, in s.
    const OFTEN_S: f64 = 60.0;
    for (meter, device) in config.meters.iter().zip(&devices.meters) {
        let MeterDriver::Iec62056 { .. } = meter.driver else { continue };
        let period = device.raw.period_s.set().filter(|it| *it.0 < OFTEN_S && meter.role == MeterRole::Other);
        let Some((period, at)) = period else { continue };
        let id = &meter.common.id;
        let message = format!("the meter `{id}` is read every {period} s: if it runs on a battery, that empties it");
        let help =
            "nothing is decided by it: 900 is usual, 86400 for a heat meter; its maker says how often it may be read";
        report.warn(at, &format!("{}.period_s", device.head.path), message, help);
    }
}

/// One that does not see every phase of a fuse that has three.
fn sees_too_little(config: &Config, meter: &Meter, device: &RawDevice<raw::Meter>, report: &mut Report) {
    let Some((at, key)) = kind(device) else { return };
    let path = format!("{}.{key}", device.head.path);
    let id = &meter.common.id;
    let Some(told) = told(meter).filter(|_| config.grid.phases == 3) else { return };
    match told.phases.iter().filter(|it| **it).count() {
        3 => {}
        0 if told.total => {
            let message = format!(
                "the meter `{id}` tells all phases together only: for the fuse the import of the house is counted on each \
                 of them, which leaves the cars less than there is"
            );
            let help = "what is produced behind it hides load from it: give solar panels and batteries meters with a role, \
                        or write static_a in [grid]";
            report.warn(at, &path, message, help);
        }
        0 => {
            let message =
                format!("the meter `{id}` tells neither power nor current, so no reading of it guards a fuse");
            let help = "the chargers behind it get meter_lost_current_a and no more: use another meter";
            report.warn(at, &path, message, help);
        }
        seen => {
            let phases = if seen == 1 { "one phase".to_owned() } else { format!("{seen} phases") };
            let message = format!(
                "the meter `{id}` measures {phases} of the three that the fuse has: every reading of it lacks the others \
                 and is doubted, so that it counts as lost"
            );
            let help = "the chargers behind it get meter_lost_current_a and no more: use a meter of three phases, or write \
                        phases = 1 in [grid] where the house has one";
            report.warn(at, &path, message, help);
        }
    }
}

/// One whose registers are from memory or inferred.
fn doubtful(model: &Model, meter: &Meter, device: &RawDevice<raw::Meter>, report: &mut Report) {
    if model.sure != Sure::Doubtful {
        return;
    }
    let Some((at, key)) = kind(device) else { return };
    let message = format!(
        "the registers of model {:?} are doubtful: parts of them are inferred, and the meter `{}` guards a fuse",
        model.id, meter.common.id
    );
    let help = "compare what is read with the meter's own display, under load and on each phase, before you rely on it";
    report.warn(at, &format!("{}.{key}", device.head.path), message, help);
}

/// Where it is written what a meter is.
fn kind(device: &RawDevice<raw::Meter>) -> Option<(At, &'static str)> {
    let model = device.raw.model.set().map(|it| (it.1, "model"));
    model.or_else(|| device.raw.driver.set().map(|it| (it.1, "driver")))
}

/// One whose standing still nobody can see.
fn cannot_be_found_frozen(model: &Model, meter: &Meter, device: &RawDevice<raw::Meter>, report: &mut Report) {
    if !CONVERTERS_WITHOUT_TIME.contains(&model.id.as_str()) {
        return;
    }
    let Some((_, at)) = device.raw.driver.set() else { return };
    let message = format!(
        "the meter `{}` is read without the time of its values: a device that keeps repeating old ones is not found out",
        meter.common.id
    );
    let help = "use the P1 port itself, or a converter that passes the time of the telegram on";
    report.warn(at, &format!("{}.driver", device.head.path), message, help);
}

//! Chargers: what each kind needs and can do.

use super::check::{Checker, amps, mode};
use super::check_buses::Wired;
use super::check_devices::{RawDevice, common, link, missing};
use super::model::{Charger, ChargerDriver};
use super::raw;
use super::slot::Slot;
use crate::control::{ChargerSettings, Mode};
use crate::quantity::{Milliamp, Phase, Span};

/// A TeltoCharge takes set-points up to this.
const TELTOCHARGE_MAX_A: f64 = 32.0;

pub(super) fn charger(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Charger>,
    meter: Option<usize>,
    grid_phases: &[Phase],
    wired: &mut Vec<Wired>,
) -> Charger {
    let RawDevice { head, raw } = device;
    let path = |key: &str| format!("{}.{key}", head.path);
    let word = raw.driver.get().map(String::as_str);
    if raw.driver.is_absent() {
        missing(checker, head, "driver", "allowed: \"teltocharge\", \"evse-din\", \"simulated\"");
    }
    let mut driver = ChargerDriver::Simulated;
    if let Some(kind @ ("teltocharge" | "evse-din")) = word {
        let help = "write where the charger is, for example connection = \"serial:///dev/ttyUSB1\"";
        let connection = link(checker, head, &raw.connection, help);
        if raw.unit.is_absent() {
            missing(checker, head, "unit", "write its Modbus unit, 1 to 247");
        }
        if let (Some((connection, at)), Some((unit, unit_at))) = (connection, raw.unit.set()) {
            let unit = u8::try_from(*unit).unwrap_or(1);
            wired.push(Wired {
                path: head.path.clone(),
                at,
                connection: connection.clone(),
                unit: Some((unit, unit_at)),
                shares: false,
                factory: None,
            });
            driver = if kind == "teltocharge" {
                ChargerDriver::TeltoCharge { connection, unit }
            } else {
                ChargerDriver::EvseDin { connection, unit }
            };
        }
    }
    let phases = match raw.phases.set() {
        Some((phases, at)) => {
            if let Some(foreign) = phases.iter().find(|it| !grid_phases.contains(it)) {
                let message = format!("`phases` names {foreign}, but the grid connection has one phase");
                checker.report.error(at, &path("phases"), message, "allowed: [\"L1\"]");
            }
            phases.clone()
        }
        None => grid_phases.to_vec(),
    };
    let max = raw.max_current_a.get().copied().unwrap_or(16.0);
    for (slot, key) in [
        (&raw.fail_safe_current_a, "fail_safe_current_a"),
        (&raw.fixed_current_a, "fixed_current_a"),
        (&raw.eco_min_a, "eco_min_a"),
        (&raw.eco_plus_min_surplus_a, "eco_plus_min_surplus_a"),
        (&raw.low_tariff_max_a, "low_tariff_max_a"),
    ] {
        checker.not_above(slot, &path(key), max, "max_current_a");
    }
    if word == Some("teltocharge") {
        if let Some((value, at)) = raw.max_current_a.set().filter(|it| *it.0 > TELTOCHARGE_MAX_A) {
            let message = format!("`max_current_a` = {value} is more than a TeltoCharge takes");
            checker.report.error(at, &path("max_current_a"), message, format!("allowed: 6 to {TELTOCHARGE_MAX_A} A"));
        }
        if let Some((value, at)) = raw.fail_safe_current_a.set().filter(|it| it.0.fract() != 0.0) {
            let message =
                format!("`fail_safe_current_a` = {value} does not fit its register, which holds whole amperes");
            checker.report.error(
                at,
                &path("fail_safe_current_a"),
                message,
                "allowed: 0, or 6 to 32 A, without decimals",
            );
        }
    }
    let watchdog = watchdog(checker, raw, word, &path("watchdog_s"));
    let step = match (word, amps(&raw.current_step_a)) {
        (_, Some(step)) => step,
        (Some("evse-din"), None) => Milliamp(10),
        (_, None) => Milliamp(1000),
    };
    Charger {
        common: common(head, &raw.name, &raw.area),
        driver,
        phases,
        circuit: None,
        meter,
        max_current: Milliamp::from_f64(max),
        step,
        phase_switching: raw.phase_switching.get().copied().unwrap_or(word == Some("teltocharge")),
        fail_safe: amps(&raw.fail_safe_current_a).unwrap_or(Milliamp::ZERO),
        watchdog,
        auto_authorize: raw.authorize.get().is_none_or(|it| it == "auto"),
        settings: settings(raw, max),
    }
}

fn settings(raw: &raw::Charger, max: f64) -> ChargerSettings {
    let least = |slot: &Slot<f64>, default: f64| Milliamp::from_f64(slot.get().copied().unwrap_or(default).min(max));
    ChargerSettings {
        mode: mode(&raw.mode).unwrap_or(Mode::Fast),
        max_current: Milliamp::from_f64(max),
        fixed_current: least(&raw.fixed_current_a, 16.0),
        eco_min: least(&raw.eco_min_a, 6.0),
        eco_plus_min_surplus: least(&raw.eco_plus_min_surplus_a, 1.0),
        low_tariff_only: raw.low_tariff_only.get().copied().unwrap_or(false),
        low_tariff_fast: raw.low_tariff_fast.get().copied().unwrap_or(false),
        low_tariff_max: least(&raw.low_tariff_max_a, max),
        priority: raw.priority.get().and_then(|it| u8::try_from(*it).ok()).unwrap_or(5),
        phases: None,
        session_limit: None,
        mode_after_session: mode(&raw.mode_after_session),
    }
}

/// The time-out of the charger's own timer, where it has one.
fn watchdog(checker: &mut Checker<'_>, raw: &raw::Charger, driver: Option<&str>, path: &str) -> Option<Span> {
    let value = raw.watchdog_s.get().copied().unwrap_or(30.0);
    match driver {
        Some("evse-din") => None,
        Some("teltocharge") => {
            if let Some((value, at)) = raw.watchdog_s.set()
                && (*value < 1.0 || value.fract() != 0.0)
            {
                let message = format!("`watchdog_s` = {value} does not fit its register, which holds whole seconds");
                checker.report.error(at, path, message, "allowed: 1 to 600 s, without decimals");
            }
            Some(Span::from_secs_f64(value))
        }
        _ => (value > 0.0).then(|| Span::from_secs_f64(value)),
    }
}

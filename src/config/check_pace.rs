//! How old a reading may become that something is decided by: an overload lasts at least that long.

use super::check::Checker;
use super::check_devices::Head;
use super::model::MeterRole;
use super::raw;

/// Longest pause between two readouts, in s: with the readout itself the meter stays within the period of the slowest
/// meter that sends by itself.
const PAUSE_MAX_S: f64 = 5.0;
/// Longest time for which a value of a broker stands, in s: more is a risk for the fuse, as with `meter_lost_s`.
const AGE_MAX_S: f64 = 30.0;

/// Errors for a meter that guards a fuse or decides about surplus and whose readings are allowed to become too old.
pub(super) fn pace(checker: &mut Checker<'_>, head: &Head, raw: &raw::Meter, role: MeterRole) {
    let what = match role {
        MeterRole::Other => return,
        MeterRole::Grid | MeterRole::Circuit | MeterRole::Charger => "guards a fuse",
        MeterRole::Solar | MeterRole::Battery => "decides about the surplus",
    };
    let driver = raw.driver.get().map(String::as_str);
    let is_asked = driver == Some("iec62056-21");
    if let Some((pause, at)) = raw.period_s.set().filter(|it| is_asked && *it.0 > PAUSE_MAX_S) {
        let message =
            format!("`period_s` = {pause} is too long for a meter that {what}: it is a {} meter", role.word());
        let help = format!("allowed: at most {PAUSE_MAX_S} s; without period_s it is read again after a second");
        checker.report.error(at, &format!("{}.period_s", head.path), message, help);
    }
    // An inverter may publish once a minute, and no fuse depends on it.
    let guards = matches!(role, MeterRole::Grid | MeterRole::Circuit | MeterRole::Charger) && driver == Some("mqtt");
    if let Some((age, at)) = raw.max_age_s.set().filter(|it| guards && *it.0 > AGE_MAX_S) {
        let message = format!("`max_age_s` = {age} is too long for a meter that {what}: it is a {} meter", role.word());
        let help = format!("allowed: at most {AGE_MAX_S} s; for so long a sender that is gone would go unnoticed");
        checker.report.error(at, &format!("{}.max_age_s", head.path), message, help);
    }
}

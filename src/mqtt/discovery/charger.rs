//! A charger: what it does, why, and what may be set.

use super::{Component, Key};
use crate::command::Lock;
use crate::control::{ChargerStatusWord, LimitReason, Mode, Reason, SESSION_KWH};
use crate::feature::{self, Feature, Purpose};
use crate::mqtt::json::Out;
use crate::mqtt::options::ChargerInfo;
use crate::quantity::{Milliamp, Phase};
use crate::reading::Flags;
use crate::status::ChargerView;

/// Home Assistant takes no longer state.
const LONGEST_STATE: usize = 255;
/// Lowest current that a car can be offered.
const MIN_A: f64 = 6.0;

/// Every key of `<base>/charger/<id>/state`, without `time` and `age_s`.
pub(crate) static KEYS: [Key<ChargerView, ChargerInfo>; 39] = [
    Key::told(
        "status",
        |it, _| Out::Word(it.status.word.word()),
        |_| {
            let words = ChargerStatusWord::ALL.iter().map(|it| it.word());
            Some(Component::words(words).name("Status").icon("ev-station").bridge_only())
        },
    ),
    Key::told(
        "mode",
        |it, _| Out::Word(it.status.settings.mode.word()),
        |_| {
            Some(
                Component::select(feature::words(&Mode::ALWAYS, feature::MODES, Purpose::Run))
                    .name("Charge mode")
                    .icon("car-electric"),
            )
        },
    ),
    Key::told(
        "offered_current_a",
        |it, _| Out::amps(it.heard().then_some(it.status.offered)),
        |_| Some(current("Offered current")),
    ),
    Key::measured("current_l1_a", |it, _| drawn(it, Phase::L1), |it| on_phase(it, Phase::L1, "current")),
    Key::measured("current_l2_a", |it, _| drawn(it, Phase::L2), |it| on_phase(it, Phase::L2, "current")),
    Key::measured("current_l3_a", |it, _| drawn(it, Phase::L3), |it| on_phase(it, Phase::L3, "current")),
    Key::measured(
        "voltage_l1_v",
        |it, _| Out::volts(it.status.voltage[Phase::L1]),
        |it| on_phase(it, Phase::L1, "voltage"),
    ),
    Key::measured(
        "voltage_l2_v",
        |it, _| Out::volts(it.status.voltage[Phase::L2]),
        |it| on_phase(it, Phase::L2, "voltage"),
    ),
    Key::measured(
        "voltage_l3_v",
        |it, _| Out::volts(it.status.voltage[Phase::L3]),
        |it| on_phase(it, Phase::L3, "voltage"),
    ),
    Key::measured(
        "power_w",
        |it, _| Out::watts(it.status.power),
        |it| {
            it.measures.then(|| {
                let sensor = Component::sensor().class("power").unit("W").measured().digits(0);
                sensor.with_meter(it.meter.as_deref()).once_seen("power_w")
            })
        },
    ),
    Key::measured(
        "energy_kwh",
        |it, _| Out::kilowatt_hours(it.status.energy),
        |it| it.measures.then(|| energy(it).counter()),
    ),
    Key::measured(
        "session_energy_kwh",
        |it, _| Out::kilowatt_hours(it.status.session_energy),
        |it| it.measures.then(|| energy(it).counter().name("Session energy")),
    ),
    Key::measured(
        "session_duration_s",
        |it, at| Out::or_null(it.status.session_start, |begin| Out::Int(at.now.since(begin).0 / 1000)),
        |_| Some(Component::sensor().class("duration").unit("s").digits(0).name("Session duration")),
    ),
    // Told together with `plugged`.
    Key::measured(
        "session_start",
        |it, at| Out::or_null(it.status.session_start, |begin| at.stamp(at.steady.wall(begin))),
        |_| Some(Component::sensor().class("timestamp").name("Session start")),
    ),
    Key::told(
        "phases_active",
        |it, _| Out::or_null(it.status.phases_active, |it| Out::Int(i64::from(it))),
        |_| Some(Component::sensor().name("Active phases").icon("sine-wave").measured().diagnostic()),
    ),
    Key::told(
        "limit_reason",
        |it, _| Out::Word(it.status.reason.word.word()),
        |_| Some(Component::words(LimitReason::ALL.iter().map(|it| it.word())).name("Limit reason").bridge_only()),
    ),
    Key::sentence(
        "reason",
        |it, _| Out::text(it.status.reason.to_string()),
        |it, _| Out::Text(Reason { wait: None, ..it.status.reason }.to_string()),
        |_| Some(Component::sensor().name("Reason").icon("comment-text-outline").bridge_only()),
    ),
    Key::told(
        "fault",
        |it, _| flags(it.status.fault),
        |_| Some(Component::sensor().name("Fault").icon("alert-circle-outline").or_none().diagnostic()),
    ),
    Key::told(
        "warning",
        |it, _| flags(it.status.warning),
        |_| Some(Component::sensor().name("Warning").icon("alert-outline").or_none().diagnostic()),
    ),
    Key::told(
        "fail_safe_current_a",
        |it, _| Out::amps(Some(it.status.fail_safe)),
        |it| it.watchdog.then(|| current("Fail-safe current").diagnostic()),
    ),
    Key::told(
        "watchdog_verified",
        |it, _| Out::or_null(it.status.watchdog_verified, Out::Flag),
        |it| it.watchdog.then(|| Component::binary().name("Fail-safe timer verified").icon("timer-check").diagnostic()),
    ),
    Key::told(
        "plugged",
        |it, _| Out::or_null(it.heard().then_some(it.status.plugged), Out::Flag),
        |_| Some(Component::binary().class("plug")),
    ),
    Key::told(
        "charging",
        |it, _| Out::or_null(it.heard().then_some(it.status.charging), Out::Flag),
        |_| Some(Component::binary().class("battery_charging")),
    ),
    Key::told(
        "interruptions",
        |it, _| Out::Int(i64::from(it.status.interruptions)),
        |_| Some(Component::sensor().name("Interruptions").icon("pause-octagon-outline").counter().diagnostic()),
    ),
    Key::told(
        "max_current_a",
        |it, _| Out::amps(Some(it.status.settings.max_current)),
        |it| Some(setting(it, "Maximum current")),
    ),
    Key::told(
        "fixed_current_a",
        |it, _| Out::amps(Some(it.status.settings.fixed_current)),
        |it| Some(setting(it, "Fixed current")),
    ),
    Key::told(
        "priority",
        |it, _| Out::Int(i64::from(it.status.settings.priority)),
        |_| Some(Component::number("", 1.0, 9.0, 1.0).name("Priority").icon("order-numeric-ascending")),
    ),
    Key::told(
        "eco_min_a",
        |it, _| known(Feature::Eco, || Out::amps(Some(it.status.settings.eco_min))),
        |it| Some(setting(it, "Eco minimum current")),
    ),
    Key::told(
        "eco_plus_min_surplus_a",
        |it, _| known(Feature::EcoPlus, || Out::amps(Some(it.status.settings.eco_plus_min_surplus))),
        |it| Some(from(it, 0.0, "Eco+ start surplus")),
    ),
    Key::told(
        "low_tariff_only",
        |it, _| known(Feature::LowTariffOnly, || Out::Flag(it.status.settings.low_tariff_only)),
        |_| Some(Component::switch().name("Only at low tariff").icon("cash-clock").config()),
    ),
    Key::told(
        "low_tariff_fast",
        |it, _| known(Feature::LowTariffFast, || Out::Flag(it.status.settings.low_tariff_fast)),
        |_| Some(Component::switch().name("Fast at low tariff").icon("cash-fast").config()),
    ),
    Key::told(
        "low_tariff_max_a",
        |it, _| known(Feature::LowTariffMax, || Out::amps(Some(it.status.settings.low_tariff_max))),
        |it| Some(setting(it, "Low tariff maximum current")),
    ),
    Key::told(
        "phases",
        |it, _| phases(it.status.settings.phases),
        |it| {
            let there = it.phase_switching && Feature::ForcedPhases.is_for(Purpose::Run);
            let words = feature::words(&["auto"], feature::PHASES, Purpose::Run);
            there.then(|| Component::select(words).name("Phases").icon("sine-wave").config())
        },
    ),
    Key::told(
        "session_limit_kwh",
        |it, _| Out::kilowatt_hours(it.status.settings.session_limit),
        |it| {
            let (least, most) = SESSION_KWH;
            it.measures.then(|| {
                let number = Component::number("kWh", least, most, 0.1).class("energy").name("Session limit");
                number.with_meter(it.meter.as_deref()).once_seen("energy_kwh").without_meter()
            })
        },
    ),
    Key::told(
        "mode_after_session",
        |it, _| {
            known(Feature::SessionLimit, || Out::Word(it.status.settings.mode_after_session.map_or("keep", Mode::word)))
        },
        |_| {
            let modes = feature::words(&Mode::ALWAYS, feature::MODES, Purpose::Run);
            let words = std::iter::once("keep").chain(modes);
            Some(Component::select(words).name("Mode after session").icon("car-clock").config())
        },
    ),
    Key::told(
        "lock",
        |it, _| Out::or_null(it.status.lock, |it| Out::Word(it.word())),
        |it| {
            let words = Lock::ALL.iter().map(|it| it.word());
            it.actions.lock.then(|| Component::select(words).name("Socket lock").icon("lock").config())
        },
    ),
    // Commands, which leave no state.
    Key::null("authorize", |it| {
        it.actions.authorize.then(|| Component::button("ON").name("Authorize").icon("account-check"))
    }),
    Key::null("wake", |_| Some(Component::button("ON").name("Wake the car").icon("alarm"))),
    Key::null("reboot", |it| it.actions.reboot.then(|| Component::button("ON").class("restart").config())),
];

impl ChargerView {
    /// It has answered at least once: before, what it does is not known.
    fn heard(&self) -> bool {
        self.status.heard_at.is_some()
    }
}

fn drawn(view: &ChargerView, phase: Phase) -> Out {
    Out::amps(view.status.current[phase])
}

fn phases(forced: Option<u8>) -> Out {
    match forced {
        None => Out::Word("auto"),
        Some(1) => Out::Word("1"),
        Some(_) => Out::Word("3"),
    }
}

/// Null where nothing is set, `unknown` where that was not read. Whole names as far as there is room, and how many more.
fn flags(flags: Flags) -> Out {
    let all = flags.to_string();
    if all.len() <= LONGEST_STATE {
        return Out::text(all);
    }
    let names: Vec<&str> = all.split(", ").collect();
    let room = LONGEST_STATE - ", and 16 more".len();
    let ends = names.iter().scan(0, |end, name| {
        *end += name.len() + ", ".len();
        Some(*end - ", ".len())
    });
    let shown = ends.take_while(|end| *end <= room).count();
    Out::text(format!("{}, and {} more", names[..shown].join(", "), names.len() - shown))
}

fn current(name: &str) -> Component {
    Component::sensor().class("current").unit("A").measured().digits(1).name(name)
}

fn energy(info: &ChargerInfo) -> Component {
    let sensor = Component::sensor().class("energy").unit("kWh").digits(3);
    sensor.with_meter(info.meter.as_deref()).once_seen("energy_kwh")
}

/// Entities that have no key of their own.
pub(crate) fn more(info: &ChargerInfo) -> Vec<(String, Component)> {
    let no_limit = || {
        let button = Component::take_back("session_limit_kwh", "No session limit");
        button.with_meter(info.meter.as_deref()).once_seen("energy_kwh").without_meter()
    };
    info.measures.then(|| ("session_limit_kwh_none".to_owned(), no_limit())).into_iter().collect()
}

/// Only on the grid phases that the charger is wired to, and that a meter at it measures.
fn on_phase(info: &ChargerInfo, phase: Phase, class: &'static str) -> Option<Component> {
    let (unit, name) = if class == "current" { ("A", "Current") } else { ("V", "Voltage") };
    let there = info.measures && info.phases.contains(&phase);
    there.then(|| {
        let sensor = Component::sensor().class(class).unit(unit).measured().digits(1);
        let key = match (class, phase) {
            ("current", Phase::L1) => "current_l1_a",
            ("current", Phase::L2) => "current_l2_a",
            ("current", Phase::L3) => "current_l3_a",
            (_, Phase::L1) => "voltage_l1_v",
            (_, Phase::L2) => "voltage_l2_v",
            (_, Phase::L3) => "voltage_l3_v",
        };
        sensor.name(format!("{name} {phase}")).with_meter(info.meter.as_deref()).once_seen(key)
    })
}

fn setting(info: &ChargerInfo, name: &str) -> Component {
    from(info, MIN_A, name)
}

/// A current from `least` to what the charger is wired for.
fn from(info: &ChargerInfo, least: f64, name: &str) -> Component {
    let step = info.step.max(Milliamp(100)).as_f64();
    Component::number("A", least, info.max_current.as_f64(), step).class("current").name(name)
}

/// Null where this version does not have the setting.
fn known(feature: Feature, value: impl FnOnce() -> Out) -> Out {
    if feature.is_for(Purpose::Run) { value() } else { Out::Null }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_no_state_can_hold_say_how_many_names_are_left_out() {
        static NAMES: [&str; 16] = ["a fault with a name of thirty-two"; 16];
        let shown = |bits: u16| match flags(Flags { bits: Some(bits), names: &NAMES }) {
            Out::Text(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(0b111).matches("thirty-two").count(), 3);
        assert!(!shown(0b111).contains("more"));
        let long = shown(0xffff);
        assert!(long.len() <= LONGEST_STATE && long.len() > 200, "{}", long.len());
        assert!(long.ends_with("thirty-two, and 10 more"), "{long}");
    }
}

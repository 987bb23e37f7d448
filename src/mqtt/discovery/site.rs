//! The site: limits, what all chargers do together, and the bridge itself.

use super::{Component, Key};
use crate::control::{MOST_KW, Problem, Sharing};
use crate::feature::{self, Purpose, setting_is_for};
use crate::mqtt::json::Out;
use crate::mqtt::options::{MqttOptions, SiteInfo};
use crate::mqtt::topics::Topics;
use crate::quantity::{Milliamp, Phase, Watt};
use crate::status::Snapshot;

/// Every key of `<base>/site/state`, without `time`.
pub(crate) static KEYS: [Key<Snapshot, SiteInfo>; 21] = [
    Key::measured("available_l1_a", |it, _| Out::amps(it.site.available[Phase::L1]), |it| available(it, Phase::L1)),
    Key::measured("available_l2_a", |it, _| Out::amps(it.site.available[Phase::L2]), |it| available(it, Phase::L2)),
    Key::measured("available_l3_a", |it, _| Out::amps(it.site.available[Phase::L3]), |it| available(it, Phase::L3)),
    Key::told("limit_l1_a", |it, _| Out::amps(it.site.limit[Phase::L1]), |it| limit(it, Phase::L1)),
    Key::told("limit_l2_a", |it, _| Out::amps(it.site.limit[Phase::L2]), |it| limit(it, Phase::L2)),
    Key::told("limit_l3_a", |it, _| Out::amps(it.site.limit[Phase::L3]), |it| limit(it, Phase::L3)),
    Key::measured(
        "surplus_w",
        |it, _| Out::watts(it.site.surplus),
        |it| it.grid_meter.as_deref().map(|meter| power("Surplus").with_meter(Some(meter))),
    ),
    Key::measured("charging_w", |it, _| Out::watts(it.site.charging), |_| Some(power("Charging power"))),
    Key::told(
        "charging_enabled",
        |it, _| Out::Flag(it.site.settings.charging_enabled),
        |_| Some(Component::switch().name("Charging").icon("ev-station")),
    ),
    Key::told(
        "fail_safe",
        |it, _| Out::Flag(it.site.fail_safe),
        |_| Some(Component::binary().class("problem").name("Fail-safe").diagnostic()),
    ),
    Key::told(
        "problem",
        |it, _| Out::Word(it.site.problem.word()),
        |_| Some(Component::words(Problem::ALL.iter().map(|it| it.word())).name("Problem").diagnostic()),
    ),
    Key::told(
        "risks",
        |it, _| Out::Int(i64::try_from(it.risks.len()).unwrap_or(i64::MAX)),
        |_| Some(Component::sensor().name("Risks").icon("alert-outline").measured().diagnostic()),
    ),
    Key::told(
        "dim",
        |it, _| Out::Flag(it.site.dim),
        // On as long as anybody dims; off only takes back what was ordered here.
        |_| Some(Component::switch().name("Dim charging").icon("transmission-tower")),
    ),
    Key::told(
        "low_tariff",
        |it, _| Out::or_null(it.site.low_tariff, Out::Flag),
        |it| it.low_tariff.then(|| Component::binary().name("Low tariff").icon("cash-clock")),
    ),
    Key::told(
        "block",
        |it, _| Out::Flag(it.site.block),
        |it| it.block.then(|| Component::binary().name("Charging blocked").icon("cancel")),
    ),
    Key::told(
        "max_import_a",
        |it, _| Out::amps(it.site.settings.max_import),
        |it| {
            let max = it.max_import.map(Milliamp::as_f64)?;
            Some(Component::number("A", 0.0, max, 0.1).class("current").name("Import current limit"))
        },
    ),
    Key::told(
        "max_import_kw",
        |it, _| Out::kilowatts(it.site.settings.max_import_power),
        |it| Some(kilowatts(it.max_import_power, "Import power limit")),
    ),
    Key::told(
        "peak_15min_kw",
        |it, _| Out::kilowatts(it.site.settings.peak_15min),
        |it| Some(kilowatts(it.peak_15min, "Quarter-hour peak limit")),
    ),
    Key::told(
        "max_charging_kw",
        |it, _| Out::kilowatts(it.site.settings.max_charging),
        |it| Some(kilowatts(it.max_charging, "Charging power limit")),
    ),
    Key::told(
        "sharing",
        |it, _| Out::Word(it.site.settings.sharing.word()),
        |_| {
            let words: Vec<_> = feature::words(&[Sharing::Equal.word()], feature::SHARING, Purpose::Run).collect();
            let choice = words.len() > 1;
            choice.then(|| Component::select(words).name("Sharing").icon("scale-balance").config())
        },
    ),
    // A command, which leaves no state.
    Key::null("reset_settings", |_| {
        Some(Component::button("ON").name("Drop run-time settings").icon("restore").config().disabled())
    }),
];

/// Judged by the grid meter, where there is one.
fn available(info: &SiteInfo, phase: Phase) -> Option<Component> {
    let sensor = || amps(format!("Available current {phase}")).with_meter(info.grid_meter.as_deref());
    has(info, phase).then(sensor)
}

fn limit(info: &SiteInfo, phase: Phase) -> Option<Component> {
    has(info, phase).then(|| amps(format!("Current limit {phase}")).diagnostic())
}

/// The connection has this phase.
fn has(info: &SiteInfo, phase: Phase) -> bool {
    Phase::ALL.iter().take(usize::from(info.phases)).any(|it| *it == phase)
}

/// Entities that have no key of their own: a limit that the file does not set can be taken back to none.
pub(crate) fn more(info: &SiteInfo) -> Vec<(String, Component)> {
    let limits = [
        ("max_import_kw", info.max_import_power, "No import power limit"),
        ("peak_15min_kw", info.peak_15min, "No quarter-hour peak limit"),
        ("max_charging_kw", info.max_charging, "No charging power limit"),
    ];
    let unset = limits.into_iter().filter(|it| it.1.is_none());
    let there = unset.filter(|it| setting_is_for(it.0, Purpose::Run));
    there.map(|(key, _, name)| (format!("{key}_none"), Component::take_back(key, name))).collect()
}

/// A limit up to what the file says.
fn kilowatts(file: Option<Watt>, name: &str) -> Component {
    let most = file.map_or(MOST_KW, |it| it.as_f64() / 1000.0);
    Component::number("kW", 0.0, most, 0.1).class("power").name(name)
}

fn amps(name: String) -> Component {
    Component::sensor().class("current").unit("A").measured().digits(1).name(name)
}

fn power(name: &str) -> Component {
    Component::sensor().class("power").unit("W").measured().digits(0).name(name)
}

/// Entities of the bridge itself; they stand on the site's device and read `bridge/info`.
pub(crate) fn bridge(options: &MqttOptions, topics: &Topics) -> Vec<(String, Component)> {
    let mut entities = vec![
        ("version".to_owned(), Component::sensor().name("Version").icon("tag-outline").diagnostic()),
        ("started".to_owned(), Component::sensor().class("timestamp").name("Started").diagnostic()),
        ("uptime_s".to_owned(), duration().name("Uptime").diagnostic().disabled()),
        (
            "config_errors".to_owned(),
            Component::binary()
                .class("problem")
                .name("Configuration")
                .diagnostic()
                .with("value_template", "{{ value_json.config_errors is not none }}")
                .with("json_attributes_topic", topics.info())
                .with("json_attributes_template", attributes(&["config_errors", "config_warnings"])),
        ),
    ];
    if options.requests.restart.is_some() {
        let button = Component::button("ON").class("restart").config().with("command_topic", topics.request("restart"));
        entities.push(("restart".to_owned(), button));
    }
    if options.requests.log_level.is_some() {
        let select = Component::select(LOG_LEVELS)
            .name("Log level")
            .icon("text-box-outline")
            .config()
            .disabled()
            .with("command_topic", topics.request("log_level"));
        entities.push(("log_level".to_owned(), select));
    }
    entities.into_iter().map(|(key, entity)| (key, entity.with("state_topic", topics.info()))).collect()
}

/// With the texts of the risks as an attribute.
pub(crate) fn with_texts(risks: Component, topics: &Topics) -> Component {
    risks.with("json_attributes_topic", topics.info()).with("json_attributes_template", attributes(&["risks"]))
}

/// These keys of `bridge/info` as attributes.
fn attributes(keys: &[&str]) -> String {
    let pairs: Vec<_> = keys.iter().map(|key| format!("'{key}': value_json.{key}")).collect();
    format!("{{{{ {{{}}} | tojson }}}}", pairs.join(", "))
}

fn duration() -> Component {
    Component::sensor().class("duration").unit("s").digits(0)
}

/// Words of `bridge/request/log_level`.
pub(crate) use crate::logging::LEVELS as LOG_LEVELS;

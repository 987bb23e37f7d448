//! Topics, keys and words on which flows and dashboards depend, typed in by hand: whoever renames one finds out here.

use std::collections::BTreeSet;

use gridkeeper::control::{ChargerStatusWord, LimitReason, Problem, Quality};
use gridkeeper::event::EventType;
use serde_json::Value;

use super::house::options;
use super::peer::{Broker, Peer};
use super::rig::Rig;

const METER: &str = "power_w power_l1_w power_l2_w power_l3_w current_l1_a current_l2_a current_l3_a voltage_l1_v \
    voltage_l2_v voltage_l3_v reactive_power_var apparent_power_va power_factor frequency_hz energy_import_kwh \
    energy_export_kwh energy_import_t1_kwh energy_import_t2_kwh energy_export_t1_kwh energy_export_t2_kwh \
    reactive_energy_import_kvarh reactive_energy_export_kvarh peak_month_kw tariff quality time age_s";
const GAS: &str = "volume_m3 energy_gj quality time age_s";
const CHARGER: &str = "status mode offered_current_a current_l1_a current_l2_a current_l3_a voltage_l1_v voltage_l2_v \
    voltage_l3_v power_w energy_kwh session_energy_kwh session_duration_s session_start phases_active limit_reason \
    reason fault warning fail_safe_current_a watchdog_verified plugged charging interruptions \
    max_current_a fixed_current_a eco_min_a eco_plus_min_surplus_a low_tariff_only low_tariff_fast low_tariff_max_a \
    priority phases session_limit_kwh mode_after_session authorize lock wake reboot time age_s";
const SITE: &str = "available_l1_a available_l2_a available_l3_a limit_l1_a limit_l2_a limit_l3_a surplus_w charging_w \
    charging_enabled fail_safe problem risks dim low_tariff block max_import_a max_import_kw peak_15min_kw \
    max_charging_kw sharing reset_settings time";
const RELAY: &str = "state command reason time age_s";
const INFO: &str =
    "version instance run started uptime_s interval_s predecessor log_level config_errors config_warnings risks time";
const STATUS: &str = "disconnected waiting_for_authorization connected waiting charging finished fault offline";
const QUALITY: &str = "good late doubtful lost";
const PROBLEM: &str = "none setup charger_error meter_error web_error network_error clock_error";
const LIMIT_REASON: &str = "none limit_l1 limit_l2 limit_l3 circuit max_import_kw peak_15min max_charging_kw dim \
    meter_late meter_lost static charger_limit cable temperature car surplus sharing turn tariff off block start_up \
    phase_switch not_obeying offline session_limit fixed max_current fault authorization second_master config_invalid";
const EVENT_TYPE: &str = "started config_invalid config_changed settings_overridden meter_late meter_lost meter_back \
    meter_replaced charger_lost charger_back fuse_overload fail_safe_entered fail_safe_left not_obeying second_master \
    car_not_starting phase_switched session_started session_ended command_refused broker_lost broker_back clock_error \
    dim_started dim_ended disk_error watchdog_failed risk input_lost input_back relay_lost relay_back charger_rebooted \
    phase_switch_failed";

fn words(list: &str) -> BTreeSet<String> {
    list.split_whitespace().map(str::to_owned).collect()
}

fn keys(json: &Value) -> BTreeSet<String> {
    json.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn words_are_those_of_the_contract() {
    let list = |all: Vec<&'static str>| all.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(list(ChargerStatusWord::ALL.iter().map(|it| it.word()).collect()), words(STATUS));
    assert_eq!(list(Quality::ALL.iter().map(|it| it.word()).collect()), words(QUALITY));
    assert_eq!(list(Problem::ALL.iter().map(|it| it.word()).collect()), words(PROBLEM));
    assert_eq!(list(LimitReason::ALL.iter().map(|it| it.word()).collect()), words(LIMIT_REASON));
    assert_eq!(list(EventType::ALL.iter().map(|it| it.word()).collect()), words(EVENT_TYPE));
}

#[tokio::test]
async fn topics_and_keys_are_those_of_the_contract() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "#").await;
    let mut rig = Rig::start(options(broker.address));
    rig.online().await;
    for (topic, list) in [
        ("gridkeeper/meter/main-gas/state", GAS),
        ("gridkeeper/charger/left/state", CHARGER),
        ("gridkeeper/charger/right/state", CHARGER),
        ("gridkeeper/relay/boiler/state", RELAY),
        ("gridkeeper/site/state", SITE),
        ("gridkeeper/bridge/info", INFO),
    ] {
        let state = peer.json(topic, |_| true).await;
        assert_eq!(keys(&state), words(list), "{topic}");
        flat(topic, &state);
    }
    let meter = peer.json("gridkeeper/meter/main/state", |_| true).await;
    flat("meter", &meter);
    let own: BTreeSet<_> = keys(&meter).into_iter().filter(|it| !it.starts_with("obis_")).collect();
    assert_eq!(own, words(METER));
    peer.publish("gridkeeper/charger/left/set/max_current_a", "99");
    let result = peer.json("gridkeeper/result", |_| true).await;
    assert_eq!(keys(&result), words("topic value ok error id stored time"));
    let event = peer.json("gridkeeper/event", |_| true).await;
    assert_eq!(keys(&event), words("event_type subject detail current_a limit_a power_w limit_w time"));
    peer.json("gridkeeper/charger/left/event", |_| true).await;
    peer.publish("gridkeeper/bridge/request/restart", "1");
    peer.json("gridkeeper/bridge/response/restart", |_| true).await;

    let topics: BTreeSet<_> = peer.seen().into_iter().map(|it| it.topic).collect();
    let ours = "status site/state meter/main/state meter/main/availability meter/main-gas/state \
        meter/main-gas/availability charger/left/state charger/left/availability charger/right/state \
        charger/right/availability result event charger/left/event bridge/info bridge/response/restart \
        relay/boiler/state relay/boiler/availability input/tariff/state input/tariff/availability input/dim/state input/dim/availability \
        charger/left/set/max_current_a bridge/request/restart";
    let mut expected: BTreeSet<_> = ours.split_whitespace().map(|it| format!("gridkeeper/{it}")).collect();
    for device in ["site", "meter_main", "meter_main-gas", "charger_left", "charger_right", "relay_boiler"] {
        expected.insert(format!("homeassistant/device/gridkeeper_{device}/config"));
    }
    assert_eq!(topics, expected);
    rig.stop().await;
    broker.kill().await;
}

/// Numbers are numbers, nothing is nested, every moment has its offset.
fn flat(topic: &str, state: &Value) {
    for (key, value) in state.as_object().unwrap() {
        assert!(!value.is_array() && !value.is_object(), "{topic}: {key}");
        let unit = ["_a", "_w", "_v", "_kwh", "_kw", "_s", "_m3", "_hz"].iter().any(|it| key.ends_with(it));
        assert!(!unit || value.is_number() || value.is_null(), "{topic}: {key} = {value}");
    }
    let time = state["time"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with("+01:00"), "{topic}: {time}");
}

#[tokio::test]
async fn a_base_of_several_levels_becomes_one_id() {
    let broker = Broker::start().await;
    let mut options = options(broker.address);
    options.config.base_topic = "home/ground floor/grid".into();
    options.config.discovery_prefix = "ha".into();
    let mut rig = Rig::start(options);
    rig.online().await;
    let peer = Peer::connect(broker.address, "#").await;
    let message = peer.json("ha/device/home_ground_floor_grid_charger_left/config", |_| true).await;
    assert_eq!(message["components"]["mode"]["unique_id"], "home_ground_floor_grid_charger_left_mode");
    assert_eq!(message["components"]["mode"]["command_topic"], "home/ground floor/grid/charger/left/set/mode");
    let site = peer.json("ha/device/home_ground_floor_grid_site/config", |_| true).await;
    assert_eq!(site["components"]["charging_enabled"]["unique_id"], "home_ground_floor_grid_site_charging_enabled");
    peer.json("home/ground floor/grid/site/state", |_| true).await;
    rig.stop().await;
    broker.kill().await;
}

#[test]
fn the_documentation_names_every_key_and_word() {
    let text = include_str!("../../docs/mqtt.md");
    let lists = [
        METER,
        GAS,
        CHARGER,
        SITE,
        RELAY,
        INFO,
        STATUS,
        QUALITY,
        PROBLEM,
        LIMIT_REASON,
        EVENT_TYPE,
        "active pv minpv now",
    ];
    for word in lists.iter().flat_map(|it| it.split_whitespace()) {
        assert!(text.contains(&format!("`{word}`")), "docs/mqtt.md does not name `{word}`");
    }
}

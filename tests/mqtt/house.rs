//! A house to show: one P1 meter with a gas meter behind it, two chargers, a relay.

use std::collections::BTreeMap;
use std::sync::Arc;

use gridkeeper::command::{Actions, Lock};
use gridkeeper::config::model::{Common, MeterRole, Mqtt, MqttEndpoint};
use gridkeeper::control::*;
use gridkeeper::mqtt::{ChargerInfo, InputInfo, MeterInfo, MqttOptions, RelayInfo, Requests, SiteInfo, Tuning};
use gridkeeper::quantity::*;
use gridkeeper::reading::Flags;
use gridkeeper::status::*;
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::time::Duration;

/// 2026-11-20 12:00 in Budapest.
pub(crate) const WALL_MS: i64 = 1_795_172_400_000;

pub(crate) fn common(id: &str, name: &str) -> Common {
    Common { id: id.into(), name: name.into(), area: None }
}

pub(crate) fn options(broker: SocketAddr) -> MqttOptions {
    let charger = |id: &str, name: &str, step, clever, phases: &[Phase]| ChargerInfo {
        common: common(id, name),
        max_current: Milliamp::from_amps(16),
        step: Milliamp(step),
        phase_switching: clever,
        phases: phases.to_vec(),
        measures: clever,
        meter: None,
        watchdog: clever,
        actions: if clever { Actions::ALL } else { Actions::NONE },
    };
    MqttOptions {
        config: Mqtt {
            endpoint: MqttEndpoint::Plain { host: broker.ip().to_string(), port: broker.port() },
            username: None,
            password: None,
            ca_pem: None,
            client_cert_pem: None,
            client_key_pem: None,
            client_id: None,
            base_topic: "gridkeeper".into(),
            discovery_prefix: "homeassistant".into(),
            birth_topic: "homeassistant/status".into(),
            interval: Span(200),
            influx: false,
        },
        client_id: "gridkeeper-test".into(),
        feeds: gridkeeper::mqtt::Feeds::default(),
        // Pictures here stand still while a test takes its time.
        hung_after: Span::from_secs(3600),
        instance: "test".into(),
        version: "0.0.0-test",
        site: SiteInfo {
            name: "Home".into(),
            time_zone: TimeZone::get("Europe/Budapest").unwrap(),
            phases: 3,
            max_import: Some(Milliamp::from_amps(25)),
            max_import_power: None,
            peak_15min: None,
            max_charging: None,
            grid_meter: Some("main".into()),
            low_tariff: false,
            block: false,
        },
        meters: vec![MeterInfo { common: common("main", "House meter"), role: MeterRole::Grid }],
        chargers: vec![
            charger("left", "Left box", 1000, true, &Phase::ALL),
            charger("right", "Right box", 10, false, &[Phase::L2]),
        ],
        inputs: vec![
            InputInfo { common: common("tariff", "Ripple control"), meaning: InputMeaning::LowTariff },
            InputInfo { common: common("dim", "Grid operator"), meaning: InputMeaning::GridDim },
        ],
        relays: vec![RelayInfo { common: common("boiler", "Boiler") }],
        config_errors: Vec::new(),
        config_warnings: vec!["one".into(), "two".into()],
        requests: Requests::default(),
        tuning: Tuning {
            keep_alive_s: 5,
            connect_timeout: Duration::from_secs(5),
            retry_first: Duration::from_millis(50),
            retry_max: Duration::from_millis(200),
            take_over: Span(500),
            settle: Duration::from_millis(50),
            ..Tuning::default()
        },
    }
}

pub(crate) fn number(value: f64, unit: &'static str, decimals: u8) -> Value {
    Value::Number { value, unit, decimals }
}

pub(crate) fn meter_values(at: Mono, power: f64) -> MeterValues {
    let values: BTreeMap<Arc<str>, Value> = [
        ("power_w", number(power, "W", 0)),
        ("power_l1_w", number(power, "W", 0)),
        ("current_l1_a", number(power / 230.0, "A", 2)),
        ("voltage_l1_v", number(230.1, "V", 1)),
        ("energy_import_kwh", number(12_345.678, "kWh", 3)),
        ("energy_export_kwh", number(0.0, "kWh", 3)),
        ("energy_import_t1_kwh", number(10_000.0, "kWh", 3)),
        ("tariff", Value::Text("0002".into())),
        ("obis_0_0_96_7_21", number(4.0, "", 0)),
        ("obis_0_0_96_13_0", Value::Text("hello \"there\"".into())),
    ]
    .into_iter()
    .map(|(key, value)| (Arc::from(key), value))
    .collect();
    MeterValues {
        received_at: Some(at),
        wall_ms: Some(WALL_MS + at.0),
        values,
        identity: Identity {
            manufacturer: Some("Sagemcom".into()),
            model: Some("S211".into()),
            serial: Some("E0047".into()),
            firmware: None,
        },
    }
}

fn meter(at: Mono, power: f64) -> MeterView {
    MeterView {
        id: "main".into(),
        status: Some(MeterStatus {
            quality: Quality::Good,
            period: Some(Span::from_secs(1)),
            good_at: Some(at),
            current: Phases::default(),
            power: Phases::default(),
            power_total: Some(Watt(power as i32)),
        }),
        values: Arc::new(meter_values(at, power)),
        health: Health { online: true, good: 1, ..Health::default() },
    }
}

fn gas(at: Mono) -> MeterView {
    let values = [("volume_m3".into(), number(812.345, "m³", 3))].into_iter().collect();
    MeterView {
        id: "main-gas".into(),
        status: None,
        values: Arc::new(MeterValues {
            received_at: Some(at),
            wall_ms: Some(WALL_MS - 600_000),
            values,
            identity: Identity { serial: Some("G0012".into()), ..Identity::default() },
        }),
        health: Health { online: true, ..Health::default() },
    }
}

pub(crate) fn charger_settings() -> ChargerSettings {
    ChargerSettings {
        mode: Mode::Fast,
        max_current: Milliamp::from_amps(16),
        fixed_current: Milliamp::from_amps(10),
        eco_min: Milliamp::from_amps(6),
        eco_plus_min_surplus: Milliamp::from_amps(1),
        low_tariff_only: false,
        low_tariff_fast: false,
        low_tariff_max: Milliamp::from_amps(16),
        priority: 5,
        phases: None,
        session_limit: None,
        mode_after_session: None,
    }
}

fn charger(id: &str, at: Mono) -> ChargerView {
    ChargerView {
        id: id.into(),
        status: ChargerStatus {
            word: ChargerStatusWord::Charging,
            offered: Milliamp::from_amps(10),
            counted: Milliamp::from_amps(10),
            current: Phases([Some(Milliamp(9_500)), Some(Milliamp(9_400)), None]),
            voltage: Phases([Some(Millivolt(230_000)), None, None]),
            power: Some(Watt(4_370)),
            energy: Some(WattHour(1_234_560)),
            session_energy: Some(WattHour(1_500)),
            session_start: Some(Mono(0)),
            phases_active: Some(2),
            lock: Some(Lock::Auto),
            reason: Reason {
                word: LimitReason::LimitL2,
                offer: Milliamp::from_amps(10),
                figure: Some(Milliamp::from_amps(25)),
                wait: None,
                detail: Detail::None,
            },
            fault: Flags::NONE,
            warning: Flags { bits: Some(1), names: &["hot"] },
            fail_safe: Milliamp::ZERO,
            watchdog_verified: Some(true),
            plugged: true,
            charging: true,
            interruptions: 1,
            heard_at: Some(at),
            settings: charger_settings(),
        },
        identity: Arc::new(Identity { model: Some("TeltoCharge".into()), ..Identity::default() }),
        health: Health { online: true, ..Health::default() },
    }
}

fn input(id: &str, active: Option<bool>, at: Mono) -> InputView {
    let heard_at = active.map(|_| at);
    InputView { id: id.into(), status: InputStatus { active, heard_at }, health: Health::default() }
}

fn relay(id: &str, at: Mono) -> RelayView {
    let status = RelayStatus {
        on: true,
        command: RelayCommand::Auto,
        forced_until: None,
        reason: RelayReason { word: RelayWord::Export, surplus: Some(Watt(2_400)), wait: None },
        available: true,
        heard_at: Some(at),
    };
    RelayView { id: id.into(), status, health: Health::default() }
}

pub(crate) fn snapshot(at: Mono, power: f64) -> Snapshot {
    let amps = |amps| Phases::all(Some(Milliamp::from_amps(amps)));
    Snapshot {
        at,
        wall_ms: WALL_MS + at.0,
        site: SiteStatus {
            available: amps(5),
            limit: amps(24),
            surplus: Some(Watt(-700)),
            charging: Some(Watt(4_370)),
            fail_safe: false,
            problem: Problem::None,
            dim: false,
            low_tariff: None,
            block: false,
            settings: SiteSettings {
                charging_enabled: true,
                sharing: Sharing::Equal,
                max_import: None,
                max_import_power: Some(Watt(17_000)),
                peak_15min: None,
                max_charging: None,
                dim: false,
            },
        },
        risks: Arc::new(vec!["right has no fail-safe timer".into()]),
        meters: vec![meter(at, power)],
        sub_meters: vec![gas(at)],
        chargers: vec![charger("left", at), charger("right", at)],
        inputs: vec![input("tariff", Some(true), at), input("dim", None, at)],
        relays: vec![relay("boiler", at)],
    }
}

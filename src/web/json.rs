//! `/api/status`: the snapshot under the keys of the MQTT contract, ages instead of times.

use serde_json::{Map, Value, json};

use super::WebState;
use crate::control::LimitReason;
use crate::mqtt::MqttStatus;
use crate::quantity::{Milliamp, Millivolt, Mono, Phases, Watt};
use crate::reading::Flags;
use crate::status::Value as Measured;
use crate::status::{ChargerView, Health, InputView, MeterView, RelayView, Snapshot};

/// Everything that the page shows, as data.
pub(super) fn status(state: &WebState, snapshot: Option<&Snapshot>, mqtt: &MqttStatus, now: Mono) -> Value {
    let info = &state.info;
    json!({
        "name": info.site_name,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": now.as_secs_f64(),
        "age_s": snapshot.map(|it| now.since(it.at).as_secs_f64()),
        "diagnostics": state.diagnostics.as_slice(),
        "mqtt": mqtt,
        "influx": *state.influx.borrow(),
        "serve": state.serves.iter().map(|it| it.borrow().clone()).collect::<Vec<_>>(),
        "risks": snapshot.map(|it| it.risks.as_slice()).unwrap_or_default(),
        "site": snapshot.map(|it| site(state, it)),
        "meters": snapshot.map(|it| {
            let role = |at: usize| info.roles.get(at).map(|it| it.word());
            let own = it.meters.iter().enumerate().map(|(at, meter)| (info.meter_name(at, meter), role(at), meter));
            let behind = it.sub_meters.iter().map(|meter| (meter.id.as_ref(), None, meter));
            own.chain(behind).map(|(name, role, view)| meter(name, role, view, now)).collect::<Vec<_>>()
        }),
        "chargers": snapshot.map(|it| {
            it.chargers.iter().enumerate().map(|(at, view)| charger(info.charger_name(at, view), view, now)).collect::<Vec<_>>()
        }),
        "inputs": snapshot.map(|it| {
            it.inputs.iter().enumerate().map(|(at, view)| input(info.input_name(at, view), view, now)).collect::<Vec<_>>()
        }),
        "relays": snapshot.map(|it| {
            it.relays.iter().enumerate().map(|(at, view)| relay(info.relay_name(at, view), view, now)).collect::<Vec<_>>()
        }),
    })
}

fn site(state: &WebState, snapshot: &Snapshot) -> Value {
    let site = &snapshot.site;
    let mut json = Map::new();
    json.insert("fuse_a".into(), amps(state.info.fuse));
    phases(&mut json, "limit", "a", site.limit.map(amps));
    phases(&mut json, "available", "a", site.available.map(amps));
    let grid = state.info.grid_meter.and_then(|at| snapshot.meters.get(at)).and_then(|it| it.status);
    let current = grid.map_or(Phases([None; 3]), |it| it.current);
    phases(&mut json, "current", "a", current.map(amps));
    json.extend([
        ("power_w".to_owned(), watts(grid.and_then(|it| it.power_total))),
        ("surplus_w".to_owned(), watts(site.surplus)),
        ("charging_w".to_owned(), watts(site.charging)),
        ("charging_enabled".to_owned(), json!(site.settings.charging_enabled)),
        ("fail_safe".to_owned(), json!(site.fail_safe)),
        ("problem".to_owned(), json!(site.problem)),
        ("dim".to_owned(), json!(site.dim)),
        ("low_tariff".to_owned(), json!(site.low_tariff)),
        ("block".to_owned(), json!(site.block)),
    ]);
    json.into()
}

fn meter(name: &str, role: Option<&str>, meter: &MeterView, now: Mono) -> Value {
    let values: Map<String, Value> = meter
        .values
        .values
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Measured::Number { value, .. } => json!(value),
                Measured::Text(text) => json!(text),
            };
            (key.to_string(), value)
        })
        .collect();
    json!({
        "id": meter.id.as_ref(),
        "name": name,
        "role": role,
        "quality": meter.status.map(|it| it.quality),
        "period_s": meter.status.and_then(|it| it.period).map(|it| it.as_secs_f64()),
        "age_s": meter.values.received_at.map(|at| now.since(at).as_secs_f64()),
        "values": values,
        "health": health(&meter.health),
    })
}

fn charger(name: &str, view: &ChargerView, now: Mono) -> Value {
    let status = &view.status;
    let reason = (status.reason.word != LimitReason::None).then(|| status.reason.to_string());
    // What it does is not known before.
    let heard = status.heard_at.is_some();
    let mut json = Map::new();
    phases(&mut json, "current", "a", status.current.map(amps));
    phases(&mut json, "voltage", "v", status.voltage.map(volts));
    json.extend([
        ("id".to_owned(), json!(view.id.as_ref())),
        ("name".to_owned(), json!(name)),
        ("status".to_owned(), json!(status.word)),
        ("mode".to_owned(), json!(status.settings.mode)),
        ("offered_current_a".to_owned(), amps(heard.then_some(status.offered))),
        ("counted_current_a".to_owned(), amps(Some(status.counted))),
        ("power_w".to_owned(), watts(status.power)),
        ("energy_kwh".to_owned(), json!(status.energy.map(|it| it.as_f64() / 1000.0))),
        ("session_energy_kwh".to_owned(), json!(status.session_energy.map(|it| it.as_f64() / 1000.0))),
        ("session_duration_s".to_owned(), json!(status.session_start.map(|at| now.since(at).as_secs_f64()))),
        ("phases_active".to_owned(), json!(status.phases_active)),
        ("limit_reason".to_owned(), json!(status.reason.word)),
        ("reason".to_owned(), json!(reason)),
        ("fault".to_owned(), flags(status.fault)),
        ("warning".to_owned(), flags(status.warning)),
        ("fail_safe_current_a".to_owned(), amps(Some(status.fail_safe))),
        ("watchdog_verified".to_owned(), json!(status.watchdog_verified)),
        ("plugged".to_owned(), json!(heard.then_some(status.plugged))),
        ("charging".to_owned(), json!(heard.then_some(status.charging))),
        ("interruptions".to_owned(), json!(status.interruptions)),
        ("age_s".to_owned(), json!(status.heard_at.map(|at| now.since(at).as_secs_f64()))),
        ("health".to_owned(), health(&view.health)),
    ]);
    json.into()
}

/// Null where nothing is set.
fn flags(flags: Flags) -> Value {
    json!((flags.is_unknown() || !flags.is_empty()).then(|| flags.to_string()))
}

fn input(name: &str, view: &InputView, now: Mono) -> Value {
    json!({
        "id": view.id.as_ref(),
        "name": name,
        "active": view.status.active,
        "age_s": view.status.heard_at.map(|at| now.since(at).as_secs_f64()),
        "health": health(&view.health),
    })
}

fn relay(name: &str, view: &RelayView, now: Mono) -> Value {
    json!({
        "id": view.id.as_ref(),
        "name": name,
        "state": if view.status.on { "on" } else { "off" },
        "command": view.status.command,
        "reason": view.status.reason.to_string(),
        "forced_s": view.status.forced_until.map(|end| end.since(now).as_secs_f64()),
        "available": view.status.available,
        "age_s": view.status.heard_at.map(|at| now.since(at).as_secs_f64()),
        "health": health(&view.health),
    })
}

fn health(health: &Health) -> Value {
    json!({
        "online": health.online,
        "good": health.good,
        "bad": health.bad,
        "refused": health.refused,
        "timeouts": health.timeouts,
        "reconnects": health.reconnects,
        "discarded_bytes": health.discarded_bytes,
        "last_error": health.last_error.as_deref(),
    })
}

fn phases(json: &mut Map<String, Value>, what: &str, unit: &str, values: Phases<Value>) {
    json.extend(values.0.into_iter().zip(1..).map(|(value, number)| (format!("{what}_l{number}_{unit}"), value)));
}

fn amps(current: Option<Milliamp>) -> Value {
    json!(current.map(Milliamp::as_f64))
}

fn volts(voltage: Option<Millivolt>) -> Value {
    json!(voltage.map(Millivolt::as_f64))
}

fn watts(power: Option<Watt>) -> Value {
    json!(power.map(|it| it.0))
}

//! What is allowed but should be looked at, and how long a round on each bus takes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::check_devices::Raw;
use super::diagnostic::Severity;
use super::layer::Merged;
use super::model::{Charger, ChargerDriver, Config, Connection, InputDriver, MeterDriver, RelayDriver};
use super::raw;
use super::slot::Slot;
use super::source::{At, Inputs, Part, Place, Report};
use super::{warn_fuses, warn_meters};
use crate::codec::model::{Model, Poll};
use crate::command::LEAST_OFFER;
use crate::control::{InputMeaning, Timing};
use crate::device::relay::timer;
use crate::feature::Purpose;
use crate::quantity::Span;

/// What one round of polls and set-points on a shared bus takes, estimated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BusBudget {
    /// The port, or host and port.
    pub bus: String,
    /// Devices on it.
    pub devices: usize,
    /// Seconds to ask all of them and to write to all of them.
    pub round_s: f64,
}

/// A round should not take longer.
const ROUND_MAX_S: f64 = 3.0;
/// A watchdog should survive so many lost rounds.
const ROUNDS_PER_WATCHDOG: f64 = 5.0;

/// Every warning about a configuration without errors.
pub(super) fn all(
    config: &Config,
    raw_grid: &raw::Grid,
    merged: &Merged,
    devices: &Raw,
    inputs: &Inputs,
    report: &mut Report,
    purpose: Purpose,
) -> Vec<BusBudget> {
    grid(config, raw_grid, report);
    warn_fuses::meter_lost(config, raw_grid, devices, report);
    warn_meters::surplus(config, merged, report);
    warn_meters::sources_without_power(config, devices, report);
    warn_meters::read_often(config, devices, report);
    timing(&config.timing, merged, report);
    warn_fuses::fail_safe_sum(config, devices, report);
    broker(merged, inputs, report);
    if purpose != Purpose::Simulate {
        simulated(config, devices, report);
        by_broker(config, devices, report);
        warn_meters::guards(config, devices, report);
        no_watchdog(config, devices, report);
        no_timer(config, devices, report);
    }
    buses(config, devices, report)
}

/// A warning at the header of a charger or at one of its keys.
pub(super) fn at_charger<T>(
    devices: &Raw,
    index: usize,
    slot: impl Fn(&raw::Charger) -> &Slot<T>,
) -> Option<(At, Part, String)> {
    let device = devices.chargers.get(index)?;
    let at = slot(&device.raw).set().map_or(device.head.header, |it| it.1);
    Some((at, Part::Value, device.head.path.clone()))
}

/// A warning at a meter's connection.
fn at_meter(devices: &Raw, index: usize) -> Option<(At, Part, String)> {
    let device = devices.meters.get(index)?;
    let at = device.raw.connection.set().map_or(device.head.header, |it| it.1);
    Some((at, Part::Value, device.head.path.clone()))
}

fn grid(config: &Config, raw: &raw::Grid, report: &mut Report) {
    if let (Some((fuse, at)), false) = (raw.fuse_a.set(), config.chargers.is_empty())
        && config.grid.fuse.is_some_and(|it| it - config.grid.margin < LEAST_OFFER)
    {
        let message = format!("no car ever charges behind a fuse of {fuse} A: the least is 6 A, above the margin");
        report.warn(at, "grid.fuse_a", message, "write what stands on the main fuse or breaker, per phase");
    }
    let meter = config.grid.meter.and_then(|it| config.meters.get(it));
    if let (Some((_, at)), Some(_)) = (raw.static_a.set(), meter.filter(|it| !warn_meters::tells_total_only(it))) {
        let message = "`static_a` does nothing beside a grid meter that tells each phase";
        let help = "take it out, unless that meter tells all phases together only and something is produced behind it; \
                    what holds while the meter is lost is meter_lost_current_a";
        report.warn(at, "grid.static_a", message, help);
    }
}

fn timing(timing: &Timing, merged: &Merged, report: &mut Report) {
    if *timing == Timing::default() {
        return;
    }
    let Some(table) = merged.tables.get("timing") else { return };
    let defaults = [
        ("charger_silent_s", timing.charger_silent, Timing::default().charger_silent),
        ("quiet_extra_s", timing.quiet_extra, Timing::default().quiet_extra),
        ("cut_response_s", timing.cut_response, Timing::default().cut_response),
        ("cut_response_hard_s", timing.cut_response_hard, Timing::default().cut_response_hard),
        ("raise_after_cut_s", timing.raise_after_cut, Timing::default().raise_after_cut),
        ("not_obeying_s", timing.not_obeying, Timing::default().not_obeying),
        ("obedience_s", timing.obedience, Timing::default().obedience),
        ("second_master_s", timing.second_master, Timing::default().second_master),
        ("second_master_quiet_s", timing.second_master_quiet, Timing::default().second_master_quiet),
        ("second_master_rewrite_s", timing.second_master_rewrite, Timing::default().second_master_rewrite),
        ("lease_s", timing.lease, Timing::default().lease),
        ("poll_s", timing.poll, Timing::default().poll),
        ("bus_pause_s", timing.bus_pause, Timing::default().bus_pause),
    ];
    for (key, value, default) in defaults.into_iter().filter(|it| it.1 != it.2) {
        let Some(at) = table.get(key).and_then(|it| At::from_origin(it.origin())) else { continue };
        let message = format!(
            "`{key}` = {} differs from {}, on which the fail-safe times rest",
            value.as_secs_f64(),
            default.as_secs_f64()
        );
        report.warn(at, &format!("timing.{key}"), message, "for tests and commissioning: take it out before you leave");
    }
}

fn no_watchdog(config: &Config, devices: &Raw, report: &mut Report) {
    for (index, charger) in config.chargers.iter().enumerate().filter(|it| it.1.watchdog.is_none()) {
        let Some((at, part, path)) = at_charger(devices, index, |raw| &raw.driver) else { continue };
        let message = format!(
            "charger `{}` has no fail-safe timer: it keeps its last current when the appliance is gone",
            charger.common.id
        );
        let help = match charger.driver {
            ChargerDriver::EvseDin { .. } => {
                "set its current after boot (register 2000) to the fail-safe current, and keep the sum of all such chargers below the fuse"
            }
            _ => "set watchdog_s if it has one",
        };
        report.say(Severity::Warning, (at, part), &path, message, help);
    }
}

/// Relays that stay as they are when the appliance is gone.
fn no_timer(config: &Config, devices: &Raw, report: &mut Report) {
    for (relay, device) in config.relays.iter().zip(&devices.relays) {
        let help = match relay.driver {
            RelayDriver::Gpio { .. } => "wire it so that the line without us, not driven, is its safe state",
            RelayDriver::Modbus { .. } => "write pulse_s where its board can switch for a time",
            // That it depends on the broker says as much.
            RelayDriver::Mqtt { .. } | RelayDriver::Shelly { .. } | RelayDriver::Simulated => continue,
        };
        if timer(&relay.driver).is_some() {
            continue;
        }
        let at = device.raw.driver.set().map_or(device.head.header, |it| it.1);
        let message = format!(
            "relay `{}` has no timer of its own: it stays as it is when the appliance is gone",
            relay.common.id
        );
        report.warn(at, &device.head.path, message, help);
    }
}

/// The one way in which a broker may stand in the way of a reading, chosen by the owner.
fn by_broker(config: &Config, devices: &Raw, report: &mut Report) {
    for (meter, device) in config.meters.iter().zip(&devices.meters) {
        let (MeterDriver::Mqtt(driver), Some((_, at))) = (&meter.driver, device.raw.driver.set()) else { continue };
        let message = format!("the meter `{}` depends on the broker", meter.common.id);
        let help = format!(
            "when the broker or the sender is gone it is lost after {} s, as a meter whose wire is cut",
            driver.max_age.as_secs_f64()
        );
        report.warn(at, &format!("{}.driver", device.head.path), message, help);
    }
    for (input, device) in config.inputs.iter().zip(&devices.inputs) {
        let (InputDriver::Mqtt { kept, .. }, Some((_, at))) = (&input.driver, device.raw.driver.set()) else {
            continue;
        };
        let message = format!("the input `{}` depends on the broker", input.common.id);
        let lost = match input.max_age {
            Some(age) if !kept => format!("when its value is older than {} s", age.as_secs_f64()),
            _ => "when the broker has been gone for 60 s".to_owned(),
        };
        let side = if input.meaning == InputMeaning::LowTariff { "not active" } else { "active" };
        let help = format!("{lost} it is lost and counts as {side}");
        report.warn(at, &format!("{}.driver", device.head.path), message, help);
    }
    for (relay, device) in config.relays.iter().zip(&devices.relays) {
        let (RelayDriver::Mqtt { .. }, Some((_, at))) = (&relay.driver, device.raw.driver.set()) else { continue };
        let message = format!("the relay `{}` depends on the broker", relay.common.id);
        let help = "without it the relay stays as it is, and nobody confirms that it switched: give whoever listens a time-out of his own";
        report.warn(at, &format!("{}.driver", device.head.path), message, help);
    }
}

fn simulated(config: &Config, devices: &Raw, report: &mut Report) {
    let chargers =
        config.chargers.iter().zip(&devices.chargers).filter(|it| matches!(it.0.driver, ChargerDriver::Simulated));
    let meters =
        config.meters.iter().zip(&devices.meters).filter(|it| matches!(it.0.driver, MeterDriver::Simulated { .. }));
    let inputs = config.inputs.iter().zip(&devices.inputs).filter(|it| matches!(it.0.driver, InputDriver::Simulated));
    let relays = config.relays.iter().zip(&devices.relays).filter(|it| matches!(it.0.driver, RelayDriver::Simulated));
    let places: Vec<_> = chargers
        .filter_map(|it| Some((it.1.raw.driver.set()?.1, it.1.head.path.clone())))
        .chain(meters.filter_map(|it| Some((it.1.raw.driver.set()?.1, it.1.head.path.clone()))))
        .chain(inputs.filter_map(|it| Some((it.1.raw.driver.set()?.1, it.1.head.path.clone()))))
        .chain(relays.filter_map(|it| Some((it.1.raw.driver.set()?.1, it.1.head.path.clone()))))
        .collect();
    for (at, path) in places {
        let message = "a simulated device answers only in `gridkeeper simulate`";
        report.warn(at, &format!("{path}.driver"), message, "`run` never hears of it and treats it as lost");
    }
}

fn broker(merged: &Merged, inputs: &Inputs, report: &mut Report) {
    let Some(mqtt) = merged.tables.get("mqtt") else { return };
    let place = |key: &str| mqtt.get(key).and_then(|it| At::from_origin(it.origin()));
    if let Some(at) = place("password")
        && let Some(Place::File { file, .. }) = report.get(at)
        && let Some(source) = inputs.files.get(*file).filter(|it| it.open_to_all)
    {
        let message = format!("{} holds a password and may be read by every user of this machine", source.name);
        report.warn(at, "mqtt.password", message, "use password_file, or chmod o-r the file");
    }
    if let (None, Some(at)) = (place("url"), merged.headers.get("mqtt").filter(|_| !mqtt.is_empty())) {
        let message = "[mqtt] has no `url`, so no broker is used";
        report.say(Severity::Warning, (*at, Part::Key), "mqtt.url", message, "write url = \"mqtt://host:1883\"");
    }
}

/// Seconds to poll one charger and to write its set-point. The TeltoCharge figures are wire time at 9600 baud and
/// shrink with the line, those on a network without a line behind it are two answers of a slow box; those of the
/// EVSE-DIN are the pause that it needs between telegrams, wherever they come from.
fn costs(charger: &Charger, baud: Option<u32>) -> f64 {
    match (&charger.driver, baud) {
        (ChargerDriver::TeltoCharge { .. }, Some(baud)) => (0.08 + 0.05) * 9600.0 / f64::from(baud),
        (ChargerDriver::TeltoCharge { .. }, None) => 0.05 + 0.05,
        (ChargerDriver::EvseDin { .. }, _) => 0.25 + 0.25,
        (ChargerDriver::Simulated, _) => 0.0,
    }
}

/// Seconds for one round of a meter: its requests of every round and one slow one. Ten bits for each byte, 35 ms for
/// turnaround and silence, as the bus keeps them; a device of its own on the network has no line.
fn meter_cost(model: &Model, baud: Option<u32>) -> f64 {
    let Some(baud) = baud else { return 0.0 };
    let request = |poll: &Poll| f64::from(8 + 5 + 2 * poll.count) * 10.0 / f64::from(baud) + 0.035;
    let slow = model.polls.iter().filter(|poll| !poll.fast).map(request).fold(0.0, f64::max);
    model.fast().map(request).sum::<f64>() + slow
}

/// Who is on a wire, and what a round of each takes.
#[derive(Default)]
struct Members {
    chargers: Vec<(usize, f64)>,
    meters: Vec<(usize, f64)>,
}

fn charger_connection(charger: &Charger) -> Option<&Connection> {
    match &charger.driver {
        ChargerDriver::TeltoCharge { connection, .. } | ChargerDriver::EvseDin { connection, .. } => Some(connection),
        ChargerDriver::Simulated => None,
    }
}

fn buses(config: &Config, devices: &Raw, report: &mut Report) -> Vec<BusBudget> {
    let meter_connection = |driver: &'_ MeterDriver| match driver {
        MeterDriver::Modbus { connection, .. } => Some(connection.clone()),
        _ => None,
    };
    let all: Vec<Connection> = config
        .chargers
        .iter()
        .filter_map(|it| charger_connection(it).cloned())
        .chain(config.meters.iter().filter_map(|it| meter_connection(&it.driver)))
        .collect();
    let line = |connection: &Connection| match connection {
        Connection::Serial(line) => (format!("serial://{}", line.path.display()), Some(line.baud.unwrap_or(9600))),
        Connection::RtuOverTcp { host, port } => (format!("rtu+tcp://{host}:{port}"), Some(9600)),
        Connection::Tcp { host, port } => {
            // Several units behind one address stand on a line behind a gateway, whose speed nobody told us.
            let same = all.iter().filter(|it| *it == connection).count();
            (format!("tcp://{host}:{port}"), (same > 1).then_some(9600))
        }
    };
    let mut buses: BTreeMap<String, Members> = BTreeMap::new();
    for (index, charger) in config.chargers.iter().enumerate() {
        let Some(connection) = charger_connection(charger) else { continue };
        let (bus, baud) = line(connection);
        buses.entry(bus).or_default().chargers.push((index, costs(charger, baud)));
    }
    for (index, meter) in config.meters.iter().enumerate() {
        let MeterDriver::Modbus { connection, model, .. } = &meter.driver else { continue };
        let (bus, baud) = line(connection);
        buses.entry(bus).or_default().meters.push((index, meter_cost(model, baud)));
    }
    let mut budgets = Vec::new();
    for (bus, members) in buses {
        let count = members.chargers.len() + members.meters.len();
        let wire: f64 = members.chargers.iter().chain(&members.meters).map(|it| it.1).sum();
        let round_s = (wire * 100.0).round() / 100.0;
        let charger = members.chargers.first().and_then(|it| at_charger(devices, it.0, |raw| &raw.connection));
        let meter = || members.meters.first().and_then(|it| at_meter(devices, it.0));
        if round_s > ROUND_MAX_S
            && let Some((at, part, path)) = charger.or_else(meter)
        {
            let message = format!("one round of {count} devices on {bus} takes about {round_s} s");
            let help = format!(
                "more than {ROUND_MAX_S} s is slow for a fuse: use a second bus, or more baud where the devices know it"
            );
            report.say(Severity::Warning, (at, part), &format!("{path}.connection"), message, help);
        }
        // A charger is not asked more often than the poll time, however fast its bus is.
        let round = Span::from_secs_f64(wire).max(config.timing.poll);
        for (index, _) in &members.chargers {
            watchdog_rounds(config, devices, *index, round, report);
        }
        budgets.push(BusBudget { bus, devices: count, round_s });
    }
    budgets
}

fn watchdog_rounds(config: &Config, devices: &Raw, index: usize, round: Span, report: &mut Report) {
    let Some(charger) = config.chargers.get(index) else { return };
    let Some(watchdog) = charger.watchdog else { return };
    let needed = round.as_secs_f64() * ROUNDS_PER_WATCHDOG;
    if watchdog.as_secs_f64() >= needed {
        return;
    }
    let Some((at, part, path)) = at_charger(devices, index, |raw| &raw.watchdog_s) else { return };
    let message = format!(
        "the watchdog of charger `{}`, {} s, is under five rounds of its bus ({} s each)",
        charger.common.id,
        watchdog.as_secs_f64(),
        round.as_secs_f64()
    );
    let help = format!("a few lost telegrams would stop the charger: write at least {}", needed.ceil());
    report.say(Severity::Warning, (at, part), &format!("{path}.watchdog_s"), message, help);
}

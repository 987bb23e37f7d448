//! Meters, chargers, inputs: what each needs, what they refer to, and who shares a bus with whom.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::check::{Checker, seconds};
use super::check_buses::{Factory, Wired, agree, buses};
use super::check_chargers::charger;
use super::check_circuits;
use super::check_http;
use super::check_mqtt_meter;
use super::check_pace;
use super::check_relays;
use super::check_signals::{self, Around};
use super::connection;
use super::diagnostic::Severity;
use super::layer::Merged;
use super::meter_models::{self, Unusable};
use super::model::{
    Charger, ChargerDriver, Circuit, Common, Connection, Input, InputDriver, Meter, MeterDriver, MeterRole, Parity,
    Relay, RelayDriver,
};
use super::raw;
use super::secret;
use super::slot::Slot;
use super::source::{At, Part, Place};
use crate::codec::model::Model;
use crate::quantity::Phase;

/// What any device has in the file.
#[derive(Debug)]
pub(super) struct Head {
    /// `None` where it is missing or wrong, which was said.
    pub(super) id: Option<String>,
    /// Its header.
    pub(super) header: At,
    /// `charger.left` or `charger[0]`, for key paths.
    pub(super) path: String,
}

impl Head {
    /// Its id for a sentence, or its place where it has none of its own.
    pub(super) fn shown(&self) -> String {
        format!("`{}`", self.id.as_deref().unwrap_or(&self.path))
    }
}

/// A device of the file.
#[derive(Debug)]
pub(super) struct RawDevice<T> {
    pub(super) head: Head,
    pub(super) raw: T,
}

/// All devices of the file.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) meters: Vec<RawDevice<raw::Meter>>,
    pub(super) circuits: Vec<RawDevice<raw::Circuit>>,
    pub(super) chargers: Vec<RawDevice<raw::Charger>>,
    pub(super) inputs: Vec<RawDevice<raw::Input>>,
    pub(super) relays: Vec<RawDevice<raw::Relay>>,
}

impl Raw {
    pub(super) fn read(merged: &Merged) -> Self {
        fn all<T>(merged: &Merged, section: &str, read: fn(&HashMap<String, config::Value>) -> T) -> Vec<RawDevice<T>> {
            let of = merged.devices.iter().filter(|it| it.section == section);
            of.map(|it| RawDevice {
                head: Head { id: it.id.clone(), header: it.header, path: it.path.clone() },
                raw: read(&it.table),
            })
            .collect()
        }
        Self {
            meters: all(merged, "meter", raw::Meter::read),
            circuits: all(merged, "circuit", raw::Circuit::read),
            chargers: all(merged, "charger", raw::Charger::read),
            inputs: all(merged, "input", raw::Input::read),
            relays: all(merged, "relay", raw::Relay::read),
        }
    }
}

/// What stands behind the id of a P1 meter in the id of a meter connected to it.
const SUB_METERS: [&str; 6] = ["electricity", "gas", "water", "heat", "cooling", "meter"];
/// The models of all devices.
pub(super) struct Built {
    pub(super) meters: Vec<Meter>,
    pub(super) chargers: Vec<Charger>,
    pub(super) inputs: Vec<Input>,
    pub(super) relays: Vec<Relay>,
}

/// Makes them.
pub(super) fn build(
    checker: &mut Checker<'_>,
    raw_grid: &raw::Grid,
    circuits: &[Circuit],
    around: Around<'_>,
) -> Built {
    let Around { grid, devices, data_dir, .. } = around;
    let mut wired = Vec::new();
    let mut users: HashMap<usize, String> = HashMap::new();
    if let Some(meter) = grid.meter {
        users.insert(meter, "[grid]".to_owned());
    }
    for it in circuits {
        if let Some(meter) = it.meter {
            users.insert(meter, format!("circuit `{}`", it.id));
        }
    }
    let own_meters: Vec<Option<usize>> =
        devices.chargers.iter().map(|it| own_meter(checker, it, devices, &mut users)).collect();
    let meters: Vec<Meter> = devices
        .meters
        .iter()
        .enumerate()
        .map(|(index, it)| {
            let role = if grid.meter == Some(index) {
                MeterRole::Grid
            } else if circuits.iter().any(|it| it.meter == Some(index)) {
                MeterRole::Circuit
            } else if own_meters.contains(&Some(index)) {
                MeterRole::Charger
            } else {
                match it.raw.role.get().map(String::as_str) {
                    Some("solar") => MeterRole::Solar,
                    Some("battery") => MeterRole::Battery,
                    _ => MeterRole::Other,
                }
            };
            meter(checker, it, role, data_dir, &mut wired)
        })
        .collect();
    sub_meter_ids(checker, devices);
    let grid_phases: &[Phase] = if raw_grid.phases.get() == Some(&1) { &Phase::ALL[..1] } else { &Phase::ALL };
    let chargers: Vec<Charger> = devices
        .chargers
        .iter()
        .zip(own_meters)
        .map(|(it, own)| {
            let path = format!("{}.circuit", it.head.path);
            let circuit =
                it.raw.circuit.set().and_then(|(id, at)| check_circuits::index_of(checker, id, at, &path, devices));
            Charger { circuit, ..charger(checker, it, own, grid_phases, &mut wired) }
        })
        .collect();
    let inputs = check_signals::inputs(checker, around, &mut wired);
    let relays = check_relays::relays(checker, around, &mut wired);
    check_signals::same_lines(checker, devices);
    let lines = buses(checker, &wired);
    let mut meters = meters;
    let mut chargers = chargers;
    let (mut inputs, mut relays) = (inputs, relays);
    for it in &mut meters {
        if let MeterDriver::P1 { connection, .. }
        | MeterDriver::Iec62056 { connection, .. }
        | MeterDriver::Sml { connection }
        | MeterDriver::Modbus { connection, .. } = &mut it.driver
        {
            agree(connection, &lines);
        }
    }
    for it in &mut chargers {
        if let ChargerDriver::TeltoCharge { connection, .. } | ChargerDriver::EvseDin { connection, .. } =
            &mut it.driver
        {
            agree(connection, &lines);
        }
    }
    for it in &mut inputs {
        if let InputDriver::Modbus { connection, .. } = &mut it.driver {
            agree(connection, &lines);
        }
    }
    for it in &mut relays {
        if let RelayDriver::Modbus { connection, .. } = &mut it.driver {
            agree(connection, &lines);
        }
    }
    Built { meters, chargers, inputs, relays }
}

pub(super) fn common(head: &Head, name: &Slot<String>, area: &Slot<String>) -> Common {
    let id = head.id.clone().unwrap_or_default();
    let text = |slot: &Slot<String>| slot.get().filter(|it| !it.is_empty()).cloned();
    Common { name: text(name).unwrap_or_else(|| id.clone()), area: text(area), id }
}

/// The sentence about a key that a device must have.
pub(super) fn missing(checker: &mut Checker<'_>, head: &Head, key: &str, help: &str) {
    let table = head.path.split(['.', '[']).next().unwrap_or_default().to_owned();
    let message = format!("`{key}` is required for [[{table}]] {}", head.shown());
    let path = format!("{}.{key}", head.path);
    checker.report.say(Severity::Error, (head.header, Part::Value), &path, message, help);
}

/// The gas, water and heat meters behind a P1 port get ids of their own, which no other meter may have.
fn sub_meter_ids(checker: &mut Checker<'_>, devices: &Raw) {
    let has_port = |it: &&RawDevice<raw::Meter>| it.raw.driver.get().is_some_and(|it| it == "p1" || it == "homewizard");
    for parent in devices.meters.iter().filter(has_port).filter_map(|it| it.head.id.as_deref()) {
        for it in &devices.meters {
            let Some(suffix) = it.head.id.as_deref().and_then(|id| id.strip_prefix(parent)?.strip_prefix('-')) else {
                continue;
            };
            let (kind, number) = suffix.split_once('-').unwrap_or((suffix, "2"));
            if SUB_METERS.contains(&kind) && number.bytes().all(|it| it.is_ascii_digit()) {
                let message = format!("the id {} is kept for a meter behind `{parent}`", it.head.shown());
                let help =
                    format!("choose another id; {parent}-gas, {parent}-water and the like come from the P1 port");
                checker.report.error(it.head.header, &format!("{}.id", it.head.path), message, help);
            }
        }
    }
}

/// A meter of the charger's own.
fn own_meter(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Charger>,
    devices: &Raw,
    users: &mut HashMap<usize, String>,
) -> Option<usize> {
    let (id, at) = device.raw.meter.set()?;
    let path = format!("{}.meter", device.head.path);
    let index = checker.meter_index(id, at, &path, devices)?;
    if let Some(user) = users.get(&index) {
        let message = format!("the meter `{id}` is already the meter of {user}");
        checker.report.error(at, &path, message, "a charger's own meter measures this charger and nothing else");
    } else {
        users.insert(index, format!("charger {}", device.head.shown()));
    }
    Some(index)
}

fn meter(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Meter>,
    role: MeterRole,
    data_dir: &Path,
    wired: &mut Vec<Wired>,
) -> Meter {
    let RawDevice { head, raw } = device;
    if let Some((word, at)) = raw.role.set() {
        let found = role.word();
        if word != found {
            let (message, help) = match (word.as_str(), role) {
                ("grid", _) => (
                    "`role` = \"grid\", but [grid] does not name this meter".to_owned(),
                    format!("write meter = \"{}\" in [grid]", head.id.as_deref().unwrap_or("…")),
                ),
                ("circuit", MeterRole::Other) => (
                    "`role` = \"circuit\", but no circuit names this meter".to_owned(),
                    format!("write meter = \"{}\" in its [[circuit]]", head.id.as_deref().unwrap_or("…")),
                ),
                ("charger", MeterRole::Other) => (
                    "`role` = \"charger\", but no charger names this meter".to_owned(),
                    format!("write meter = \"{}\" in its [[charger]]", head.id.as_deref().unwrap_or("…")),
                ),
                _ => (
                    format!("`role` = {word:?}, but the meter is named as a {found} meter"),
                    "take `role` out: it follows from where the meter is named".to_owned(),
                ),
            };
            checker.report.error(at, &format!("{}.role", head.path), message, help);
        }
    }
    check_pace::pace(checker, head, raw, role);
    let driver = match raw.driver.get().map(String::as_str) {
        Some("p1") => {
            let help = "write where the meter is, for example connection = \"serial:///dev/ttyUSB0\"";
            let connection = link(checker, head, &raw.connection, help);
            let mut key_file =
                |slot, name: &str| checker.secret_file(slot, &format!("{}.{name}", head.path), secret::read_key);
            let key = key_file(&raw.key_file, "key_file");
            let auth_key = key_file(&raw.auth_key_file, "auth_key_file");
            if let (Some((_, at)), true) = (raw.auth_key_file.set(), raw.key_file.is_absent()) {
                let message = "`auth_key_file` does nothing without key_file";
                checker.report.error(at, &format!("{}.auth_key_file", head.path), message, "write key_file as well");
            }
            byte_stream(checker, head, connection, wired).map(|connection| MeterDriver::P1 {
                connection,
                key,
                auth_key,
            })
        }
        Some(word @ ("iec62056-21" | "sml")) => {
            let help = "write where the optical head is, for example connection = \"serial:///dev/ttyUSB0\"";
            let connection = link(checker, head, &raw.connection, help);
            byte_stream(checker, head, connection, wired).map(|connection| {
                if word == "sml" {
                    MeterDriver::Sml { connection }
                } else {
                    MeterDriver::Iec62056 { connection, period: seconds(&raw.period_s) }
                }
            })
        }
        Some("shelly") => check_http::shelly(checker, head, raw),
        Some("homewizard") => check_http::homewizard(checker, head, raw),
        Some("modbus") => modbus(checker, device, data_dir, wired),
        Some("mqtt") => check_mqtt_meter::mqtt(checker, head, raw),
        Some(_) => None,
        None => {
            if raw.driver.is_absent() {
                let help = "allowed: \"p1\", \"iec62056-21\", \"sml\", \"modbus\", \"shelly\", \"homewizard\", \"mqtt\", \"simulated\"";
                missing(checker, head, "driver", help);
            }
            None
        }
    };
    let mut phases = raw.phases.get().cloned().unwrap_or_default();
    // A meter of one phase has nothing to say on its other two; they take what is left.
    for phase in Phase::ALL {
        if !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    let phases = <[Phase; 3]>::try_from(phases).unwrap_or(Phase::ALL);
    Meter {
        common: common(head, &raw.name, &raw.area),
        driver: driver.unwrap_or(MeterDriver::Simulated { period: seconds(&raw.period_s) }),
        phases,
        invert: raw.invert.get().copied().unwrap_or(false),
        role,
    }
}

/// A meter on a Modbus bus: its model, where it is, and what its line has when nobody says otherwise.
fn modbus(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Meter>,
    data_dir: &Path,
    wired: &mut Vec<Wired>,
) -> Option<MeterDriver> {
    let RawDevice { head, raw } = device;
    let help =
        "write where the meter is, for example connection = \"serial:///dev/ttyUSB1\" or \"tcp://192.168.1.20:502\"";
    let connection = link(checker, head, &raw.connection, help);
    if raw.model.is_absent() {
        let help = "write its model, for example model = \"eastron-sdm630\"; docs/meters.md lists them";
        missing(checker, head, "model", help);
    }
    let (name, name_at) = raw.model.set()?;
    let path = format!("{}.model", head.path);
    let model = match meter_models::find(name, data_dir) {
        Ok(model) => model,
        Err(Unusable::Wrong { file, text, errors }) => {
            let many =
                if errors.list.len() == 1 { "one place".to_owned() } else { format!("{} places", errors.list.len()) };
            let help = format!("correct it, or take it away: {file}");
            checker.report.error(name_at, &path, format!("`model`: the file of {name:?} is wrong in {many}"), help);
            // Another meter may have the same model.
            if let Some(number) = checker.report.add_model_file(&file, &text) {
                for it in errors.list {
                    let span = it.span;
                    let at = checker.report.place(Place::File { file: number, key: span.clone(), value: span });
                    checker.report.error(at, &path, it.what, format!("allowed: {}", it.allowed));
                }
            }
            return None;
        }
        Err(error) => {
            let folder = data_dir.join("models");
            let near = meter_models::near(name, &meter_models::own_names(data_dir));
            let help = match (&error, &near[..]) {
                (Unusable::Wrong { file, .. } | Unusable::Unreadable { file, .. }, _) => {
                    format!("correct {file}, or take it away")
                }
                (Unusable::Unknown(_), []) => {
                    format!("docs/meters.md lists all models; files of your own go to {}", folder.display())
                }
                (Unusable::Unknown(_), close) => {
                    let close: Vec<String> = close.iter().map(|it| format!("{it:?}")).collect();
                    format!("did you mean {}? docs/meters.md lists all models", close.join(" or "))
                }
            };
            checker.report.error(name_at, &path, format!("`model`: {error}"), help);
            return None;
        }
    };
    let (connection, at) = connection?;
    let unit = match (raw.unit.set(), model.transport.unit) {
        (Some((unit, at)), _) => (u8::try_from(*unit).unwrap_or(1), at),
        (None, Some(unit)) => (unit, at),
        (None, None) => {
            missing(checker, head, "unit", "write its Modbus unit, 1 to 247");
            return None;
        }
    };
    let serves = if matches!(connection, Connection::Tcp { .. }) { "Modbus TCP" } else { "RTU" };
    if !model.transport.rtu && serves == "RTU" {
        let message = format!("a {} {} has no serial line", model.vendor, model.name);
        checker.report.error(at, &format!("{}.connection", head.path), message, "allowed: tcp://host:port");
        return None;
    }
    wired.push(Wired {
        path: head.path.clone(),
        at,
        connection: connection.clone(),
        unit: Some(unit),
        shares: false,
        factory: Some(factory(&model)),
    });
    Some(MeterDriver::Modbus { connection, unit: unit.0, model: Arc::new(model) })
}

/// How a meter's line is set when it leaves the factory, as far as that is known.
fn factory(model: &Model) -> Factory {
    let parity = model.transport.parity.map(|it| match it {
        'E' => Parity::Even,
        'O' => Parity::Odd,
        _ => Parity::None,
    });
    Factory { baud: model.transport.baud, parity, stop: model.transport.stop }
}

/// The line of a meter that takes it for itself and speaks in plain bytes.
fn byte_stream(
    checker: &mut Checker<'_>,
    head: &Head,
    connection: Option<(Connection, At)>,
    wired: &mut Vec<Wired>,
) -> Option<Connection> {
    let (connection, at) = connection?;
    if let Connection::RtuOverTcp { .. } = connection {
        let message = "this meter sends a plain stream of bytes, no Modbus RTU";
        let help = "allowed: serial:///dev/…, tcp://host:port";
        checker.report.error(at, &format!("{}.connection", head.path), message, help);
        return None;
    }
    wired.push(Wired {
        path: head.path.clone(),
        at,
        connection: connection.clone(),
        unit: None,
        shares: false,
        factory: None,
    });
    Some(connection)
}

/// The address of a device that must have one.
pub(super) fn link(
    checker: &mut Checker<'_>,
    head: &Head,
    slot: &Slot<String>,
    help: &str,
) -> Option<(Connection, At)> {
    match slot {
        Slot::Absent => {
            missing(checker, head, "connection", help);
            None
        }
        Slot::Wrong => None,
        Slot::Set(text, at) => match connection::parse(text) {
            Ok(connection) => Some((connection, *at)),
            Err((message, help)) => {
                let message = format!("`connection`: {message}");
                checker.report.error(*at, &format!("{}.connection", head.path), message, help);
                None
            }
        },
    }
}

//! Who shares a line with whom: one set of parameters, one kind of framing, every unit once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::model::{Connection, Parity, SerialLine};
use super::source::At;
use crate::link::modbus::SerialDefaults;

/// A device with a wire.
pub(super) struct Wired {
    pub(super) path: String,
    pub(super) at: At,
    pub(super) connection: Connection,
    /// `None`: it takes the line for itself.
    pub(super) unit: Option<(u8, At)>,
    /// Its unit may have other inputs and relays as well.
    pub(super) shares: bool,
    /// What its line has where the file does not say; `None` for the bus's own defaults.
    pub(super) factory: Option<Factory>,
}

/// Parameters of a line as a device ships.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factory {
    pub(super) baud: Option<u32>,
    pub(super) parity: Option<Parity>,
    pub(super) stop: Option<u8>,
}

impl Factory {
    /// Nobody knows.
    pub(super) const UNKNOWN: Self = Self { baud: None, parity: None, stop: None };
}

impl Default for Factory {
    /// What the bus takes by itself.
    fn default() -> Self {
        let SerialDefaults { baud, parity, stop } = SerialDefaults::default();
        Self { baud: Some(baud), parity: Some(parity), stop: Some(stop) }
    }
}

/// Where a device's bus is, without the parameters of a serial line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bus {
    Serial(PathBuf),
    Network(String, u16),
}

impl Bus {
    fn of(connection: &Connection) -> Self {
        match connection {
            Connection::Serial(line) => Self::Serial(line.path.clone()),
            Connection::Tcp { host, port } | Connection::RtuOverTcp { host, port } => {
                Self::Network(host.to_ascii_lowercase(), *port)
            }
        }
    }
}

/// Who shares a line with whom: one set of parameters, one kind of framing, every unit once. The parameters of every
/// serial line.
pub(super) fn buses(checker: &mut Checker<'_>, wired: &[Wired]) -> HashMap<PathBuf, SerialLine> {
    let mut lines: HashMap<PathBuf, SerialLine> = HashMap::new();
    for (index, it) in wired.iter().enumerate() {
        let bus = Bus::of(&it.connection);
        let path = format!("{}.connection", it.path);
        let earlier: Vec<&Wired> = wired[..index].iter().filter(|other| Bus::of(&other.connection) == bus).collect();
        let Some(first) = earlier.first() else {
            if let Connection::Serial(line) = &it.connection {
                if let Some((other, _)) = lines.iter().find(|other| same_port(other.0, &line.path)) {
                    let message = format!("{} and {} are the same port", line.path.display(), other.display());
                    checker.report.error(it.at, &path, message, "name a port by one path everywhere");
                }
                lines.insert(line.path.clone(), line.clone());
            }
            continue;
        };
        let first_place = checker.report.describe(first.at);
        if it.unit.is_none() || first.unit.is_none() {
            let message = format!("this line is also used by {} ({first_place})", first.path);
            checker.report.error(
                it.at,
                &path,
                message,
                "this kind of meter takes its line for itself: one meter, nothing else",
            );
            continue;
        }
        if std::mem::discriminant(&it.connection) != std::mem::discriminant(&first.connection) {
            let message = format!("{} speaks another framing to the same host and port ({first_place})", first.path);
            checker.report.error(it.at, &path, message, "write tcp:// (Modbus TCP) or rtu+tcp:// (RTU frames) in both");
            continue;
        }
        if let Connection::Serial(line) = &it.connection
            && let Some(agreed) = lines.get_mut(&line.path)
        {
            for (what, other) in merge_line(agreed, line) {
                let message = format!("{what} for this port, but {other} for {} ({first_place})", first.path);
                checker.report.error(it.at, &path, message, "a port has one set of parameters: write them once");
            }
        }
        let Some((unit, unit_at)) = it.unit else { continue };
        let same = |other: &&&Wired| other.unit.is_some_and(|other| other.0 == unit) && !(other.shares && it.shares);
        if let Some(twin) = earlier.iter().find(same) {
            let place = twin.unit.map(|it| checker.report.describe(it.1)).unwrap_or_default();
            let message = format!("unit {unit} is used twice on this bus: also by {} ({place})", twin.path);
            let help = "give every device on a bus a unit of its own";
            checker.report.error(unit_at, &format!("{}.unit", it.path), message, help);
        }
    }
    for it in wired.iter().filter(|it| it.unit.is_some()) {
        if let Connection::Serial(line) = &it.connection
            && let Some(agreed) = lines.get_mut(&line.path)
        {
            as_shipped(checker, wired, it, agreed);
        }
    }
    lines
}

/// Fills in what nobody wrote for a line with what this device ships with; an error when another one ships otherwise.
fn as_shipped(checker: &mut Checker<'_>, wired: &[Wired], it: &Wired, agreed: &mut SerialLine) {
    let factory = it.factory.unwrap_or_default();
    let shipped = SerialLine {
        path: agreed.path.clone(),
        baud: factory.baud.filter(|_| unwritten(wired, agreed, |line| line.baud.is_none())),
        parity: factory.parity.filter(|_| unwritten(wired, agreed, |line| line.parity.is_none())),
        stop: factory.stop.filter(|_| unwritten(wired, agreed, |line| line.stop.is_none())),
    };
    for (own, other) in merge_line(agreed, &shipped) {
        let name = own.split('=').next().unwrap_or_default();
        let message = format!("it ships with {own}, another device of this port with {other}");
        let help = format!("set all of them to the same and write {name}= in the connection");
        checker.report.error(it.at, &format!("{}.connection", it.path), message, help);
    }
    let (Some(factory), Connection::Serial(own)) = (it.factory, &it.connection) else { return };
    // What another device's connection says, and its own does not.
    let mut others = SerialLine {
        path: agreed.path.clone(),
        baud: agreed.baud.filter(|_| own.baud.is_none() && shipped.baud.is_none()),
        parity: agreed.parity.filter(|_| own.parity.is_none() && shipped.parity.is_none()),
        stop: agreed.stop.filter(|_| own.stop.is_none() && shipped.stop.is_none()),
    };
    let factory = SerialLine {
        path: agreed.path.clone(),
        baud: factory.baud.filter(|_| others.baud.is_some()),
        parity: factory.parity.filter(|_| others.parity.is_some()),
        stop: factory.stop.filter(|_| others.stop.is_some()),
    };
    for (own, other) in merge_line(&mut others, &factory) {
        let message = format!("it ships with {own}, and this port is set to {other} by another device's connection");
        let help = format!("set it so at the device, and write {other} in this connection too");
        checker.report.warn(it.at, &format!("{}.connection", it.path), message, help);
    }
}

/// Whether no device of the line has this parameter in the file.
fn unwritten(wired: &[Wired], agreed: &SerialLine, absent: impl Fn(&SerialLine) -> bool) -> bool {
    let lines =
        wired.iter().filter_map(|it| if let Connection::Serial(line) = &it.connection { Some(line) } else { None });
    lines.filter(|line| line.path == agreed.path).all(absent)
}

/// Two names of one port, as far as they exist now.
fn same_port(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Takes over what is not set yet; what contradicts, as pairs of texts.
fn merge_line(agreed: &mut SerialLine, line: &SerialLine) -> Vec<(String, String)> {
    let mut out = Vec::new();
    fn one<T: Copy + PartialEq>(
        agreed: &mut Option<T>,
        new: Option<T>,
        name: &str,
        show: impl Fn(T) -> String,
        out: &mut Vec<(String, String)>,
    ) {
        match (*agreed, new) {
            (None, new) => *agreed = new,
            (Some(a), Some(b)) if a != b => out.push((format!("{name}={}", show(b)), format!("{name}={}", show(a)))),
            _ => {}
        }
    }
    one(&mut agreed.baud, line.baud, "baud", |it| it.to_string(), &mut out);
    one(&mut agreed.parity, line.parity, "parity", |it| format!("{it:?}").to_lowercase(), &mut out);
    one(&mut agreed.stop, line.stop, "stop", |it| it.to_string(), &mut out);
    out
}

/// Gives every device the parameters that were written for its port.
pub(super) fn agree(connection: &mut Connection, lines: &HashMap<PathBuf, SerialLine>) {
    if let Connection::Serial(line) = connection
        && let Some(agreed) = lines.get(&line.path)
    {
        *line = agreed.clone();
    }
}

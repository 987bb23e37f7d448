//! Relays: what each kind needs, and what rules need.

use super::check::{Checker, seconds};
use super::check_buses::Wired;
use super::check_devices::{Head, RawDevice, common, missing};
use super::check_signals::{Around, board, foreign_topic, gpio_line, shelly};
use super::key::closest;
use super::model::{Mqtt, Relay, RelayDriver};
use super::raw;
use super::slot::Slot;
use crate::control::{RelayRule, RelaySetup};
use crate::device::relay::{HIGHEST_PULSED, LONGEST_PULSE, Place};
use crate::quantity::{Span, Watt};

/// A Shelly falls by itself after this time, where nothing else is written.
const SHELLY_TIMER: Span = Span::from_secs(60);

/// Every relay.
pub(super) fn relays(checker: &mut Checker<'_>, around: Around<'_>, wired: &mut Vec<Wired>) -> Vec<Relay> {
    let relays: Vec<Relay> = around.devices.relays.iter().map(|it| relay(checker, it, around, wired)).collect();
    same_places(checker, around, &relays);
    relays
}

fn relay(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Relay>,
    around: Around<'_>,
    wired: &mut Vec<Wired>,
) -> Relay {
    let RawDevice { head, raw } = device;
    if raw.driver.is_absent() {
        missing(checker, head, "driver", "allowed: \"gpio\", \"shelly\", \"modbus\", \"mqtt\"");
    }
    let driver = match raw.driver.get().map(String::as_str) {
        Some("gpio") => gpio_line(checker, head, &raw.line).map(|line| RelayDriver::Gpio { line }),
        Some("shelly") => {
            let timer = seconds(&raw.pulse_s).unwrap_or(SHELLY_TIMER);
            shelly(checker, head, (&raw.connection, &raw.channel), (&raw.username, &raw.password_file))
                .map(|point| RelayDriver::Shelly { point, timer })
        }
        Some("modbus") => modbus(checker, head, raw, wired),
        Some("mqtt") => mqtt(checker, head, raw, around.mqtt),
        _ => Some(RelayDriver::Simulated),
    };
    let rules = raw.on_when.get().into_iter().flatten();
    let on_when: Vec<RelayRule> = rules.filter_map(|it| RelayRule::from_word(it)).collect();
    if on_when.contains(&RelayRule::Export) && raw.load_w.is_absent() {
        missing(checker, head, "load_w", "`export` needs to know what the relay switches, for example load_w = 2000");
    }
    let watts = |slot: &Slot<i64>| slot.get().map(|it| Watt(i32::try_from(*it).unwrap_or(i32::MAX)));
    let load = watts(&raw.load_w).unwrap_or(Watt::ZERO);
    let export_on = watts(&raw.export_on_w).unwrap_or(load);
    let export_off = watts(&raw.export_off_w).unwrap_or(Watt(-load.0 / 10));
    thresholds(checker, device, &on_when, (load, export_on, export_off));
    let time = |slot: &Slot<f64>, default: i64| seconds(slot).unwrap_or(Span::from_secs(default));
    let common = common(head, &raw.name, &raw.area);
    let setup = RelaySetup {
        id: common.id.clone(),
        on_when,
        load,
        export_on,
        export_off,
        priority: raw.priority.get().and_then(|it| u8::try_from(*it).ok()).unwrap_or(5),
        shed: raw.shed.get().copied().unwrap_or(false),
        min_on: time(&raw.min_on_s, 300),
        min_off: time(&raw.min_off_s, 300),
        force_max: time(&raw.force_max_s, 3600),
        safe_state: raw.safe_state.get().is_some_and(|it| it == "on"),
        interlock: interlock(checker, head, raw, around),
    };
    Relay { common, driver: driver.unwrap_or(RelayDriver::Simulated), setup }
}

fn modbus(checker: &mut Checker<'_>, head: &Head, raw: &raw::Relay, wired: &mut Vec<Wired>) -> Option<RelayDriver> {
    let (connection, unit) = board(checker, head, &raw.connection, &raw.unit, wired)?;
    let address = |value: &i64| u16::try_from(*value).unwrap_or_default();
    let place = match (&raw.channel, &raw.register) {
        (Slot::Absent, Slot::Absent) => {
            missing(checker, head, "channel", "write the coil, or `register`, by its address on the wire");
            None
        }
        (Slot::Set(_, at), Slot::Set(..)) => {
            let message = "`channel` and `register` are both written";
            checker.report.error(*at, &format!("{}.channel", head.path), message, "a relay is one or the other");
            None
        }
        (Slot::Set(coil, _), _) => Some(Place::Coil(address(coil))),
        (_, Slot::Set(register, _)) => Some(Place::Register(address(register))),
        _ => None,
    }?;
    let mut pulse = None;
    if let Some((seconds, at)) = raw.pulse_s.set() {
        let path = format!("{}.pulse_s", head.path);
        match place {
            Place::Coil(coil) if coil <= HIGHEST_PULSED => {
                pulse = Some(Span::from_secs_f64(*seconds).min(LONGEST_PULSE));
            }
            Place::Coil(_) => {
                let message = format!("`pulse_s` works on channel 0 to {HIGHEST_PULSED}");
                checker.report.error(at, &path, message, "take it out, or correct the channel");
            }
            Place::Register(_) => {
                let message = "`pulse_s` does nothing for a register";
                checker.report.error(at, &path, message, "it belongs to a coil: write `channel`");
            }
        }
    }
    Some(RelayDriver::Modbus { connection, unit, place, pulse })
}

fn mqtt(checker: &mut Checker<'_>, head: &Head, raw: &raw::Relay, broker: Option<&Mqtt>) -> Option<RelayDriver> {
    let Some(broker) = broker else {
        let at = raw.driver.set().map_or(head.header, |it| it.1);
        let message = "a relay by MQTT needs a broker";
        checker.report.error(at, &format!("{}.driver", head.path), message, "write url in [mqtt]");
        return None;
    };
    match &raw.topic {
        Slot::Absent => {
            missing(checker, head, "topic", "write where ON or OFF is to be published");
            None
        }
        Slot::Wrong => None,
        Slot::Set(topic, at) => {
            let topic = foreign_topic(checker, &format!("{}.topic", head.path), topic, *at, broker)?;
            Some(RelayDriver::Mqtt { topic })
        }
    }
}

fn interlock(checker: &mut Checker<'_>, head: &Head, raw: &raw::Relay, around: Around<'_>) -> Option<usize> {
    let (id, at) = raw.interlock.set()?;
    let path = format!("{}.interlock", head.path);
    let ids = || around.devices.relays.iter().filter_map(|it| it.head.id.as_deref());
    if head.id.as_deref() == Some(id) {
        checker.report.error(at, &path, "a relay cannot be interlocked with itself", "name the other relay");
        return None;
    }
    let found = around.devices.relays.iter().position(|it| it.head.id.as_deref() == Some(id));
    if found.is_none() {
        let help = match closest(id, ids()) {
            Some(close) => format!("did you mean \"{close}\"?"),
            None => "name another [[relay]]".to_owned(),
        };
        checker.report.error(at, &path, format!("there is no relay `{id}`"), help);
    }
    let other = &around.devices.relays[found?].raw;
    if other.interlock.get().map(String::as_str) != head.id.as_deref() {
        let message = format!("`{id}` does not name this relay in its own `interlock`");
        let help = format!("write interlock = \"{}\" there too", head.id.as_deref().unwrap_or("…"));
        checker.report.error(at, &path, message, help);
    }
    if let Some((_, at)) = raw.safe_state.set().filter(|it| it.0 == "on") {
        let message = "a relay of a pair has `safe_state` = \"on\"";
        let help = "allowed: \"off\", because nobody opens the other one first when both fall to it";
        checker.report.error(at, &format!("{}.safe_state", head.path), message, help);
    }
    found
}

/// What closes and opens a relay must not follow from its own load.
fn thresholds(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Relay>,
    on_when: &[RelayRule],
    (load, on, off): (Watt, Watt, Watt),
) {
    let RawDevice { head, raw } = device;
    let place = raw.export_off_w.set().map(|it| it.1).or(raw.export_on_w.set().map(|it| it.1));
    let Some(at) = place.filter(|_| on_when.contains(&RelayRule::Export)) else { return };
    if off >= on {
        let message = format!("`export_off_w` = {} is not below export_on_w = {}", off.0, on.0);
        let help = "the relay would open and close without end: leave a distance between the two";
        checker.report.error(at, &format!("{}.export_off_w", head.path), message, help);
    } else if on - load < off {
        let message = format!("closed at {on} of export, a load of {load} leaves less than export_off_w = {}", off.0);
        let help = "it opens again after min_on_s: raise export_on_w to load_w, or lower export_off_w";
        checker.report.warn(at, &format!("{}.export_on_w", head.path), message, help);
    }
}

/// A coil, register or topic belongs to one relay.
fn same_places(checker: &mut Checker<'_>, around: Around<'_>, relays: &[Relay]) {
    let same = |a: &RelayDriver, b: &RelayDriver| match (a, b) {
        (RelayDriver::Mqtt { topic: a }, RelayDriver::Mqtt { topic: b }) => a == b,
        (RelayDriver::Shelly { point: a, .. }, RelayDriver::Shelly { point: b, .. }) => {
            (&a.address, a.channel) == (&b.address, b.channel)
        }
        (
            RelayDriver::Modbus { connection: a, unit: unit_a, place: place_a, .. },
            RelayDriver::Modbus { connection: b, unit: unit_b, place: place_b, .. },
        ) => (a, unit_a, place_a) == (b, unit_b, place_b),
        _ => false,
    };
    for (index, relay) in relays.iter().enumerate() {
        let (Some(twin), Some(device)) =
            (relays[..index].iter().find(|it| same(&it.driver, &relay.driver)), around.devices.relays.get(index))
        else {
            continue;
        };
        let message = format!("relay `{}` switches the same", twin.common.id);
        let help = "give every relay a coil, register or topic of its own";
        checker.report.error(device.head.header, &format!("{}.driver", device.head.path), message, help);
    }
}

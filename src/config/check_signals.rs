//! Inputs: what each source needs. Relays share some of it.

use jiff::tz::TimeZone;

use super::check::{Checker, seconds};
use super::check_buses::{Factory, Wired};
use super::check_devices::{Head, Raw, RawDevice, common, link, missing};
use super::key::short;
use super::model::{Connection, Grid, HttpAddress, Input, InputDriver, Mqtt, ShellyPoint, Site};
use super::raw;
use super::slot::Slot;
use super::source::At;
use crate::control::InputMeaning;
use crate::device::input::schedule::{self, Schedule, Window};
use crate::device::input::{ActiveWords, PointKind};
use crate::link::gpio::LineName;
use crate::quantity::Span;

/// A level must stand for so long where nothing else is written: contacts chatter.
const DEBOUNCE: Span = Span(1000);
/// A value is worth nothing when it is older, where nothing else is written.
const MAX_AGE: Span = Span::from_secs(30);
/// Relays and inputs of a Shelly are numbered from 0; add-ons begin at 100.
const MOST_CHANNEL: i64 = 199;
/// Sources are asked every half second at most: a shorter age would be passed between two readings.
const LEAST_AGE_S: f64 = 1.0;

/// What inputs refer to.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) site: &'a Site,
    pub(super) grid: &'a Grid,
    pub(super) mqtt: Option<&'a Mqtt>,
    pub(super) devices: &'a Raw,
    pub(super) data_dir: &'a std::path::Path,
}

/// Every input.
pub(super) fn inputs(checker: &mut Checker<'_>, around: Around<'_>, wired: &mut Vec<Wired>) -> Vec<Input> {
    around.devices.inputs.iter().map(|it| input(checker, it, around, wired)).collect()
}

fn input(
    checker: &mut Checker<'_>,
    device: &RawDevice<raw::Input>,
    around: Around<'_>,
    wired: &mut Vec<Wired>,
) -> Input {
    let RawDevice { head, raw } = device;
    if raw.driver.is_absent() {
        missing(
            checker,
            head,
            "driver",
            "allowed: \"gpio\", \"shelly\", \"modbus\", \"p1-tariff\", \"mqtt\", \"schedule\"",
        );
    }
    if raw.meaning.is_absent() {
        missing(checker, head, "meaning", "allowed: \"low-tariff\", \"grid-dim\", \"block\"");
    }
    let word = raw.driver.get().map(String::as_str);
    let driver = match word {
        Some("gpio") => gpio_line(checker, head, &raw.line)
            .zip(level(checker, head, &raw.active))
            .map(|(line, active_high)| InputDriver::Gpio { line, active_high }),
        Some("shelly") => shelly(checker, head, (&raw.connection, &raw.channel), (&raw.username, &raw.password_file))
            .zip(level(checker, head, &raw.active))
            .map(|(point, active_high)| InputDriver::Shelly { point, active_high }),
        Some("modbus") => modbus(checker, head, raw, wired),
        Some("p1-tariff") => tariff(checker, head, raw, around),
        Some("mqtt") => mqtt(checker, head, raw, around.mqtt),
        Some("schedule") => times(checker, head, raw, around.site),
        _ => Some(InputDriver::Simulated),
    };
    let contact = matches!(word, Some("gpio" | "shelly" | "modbus"));
    let debounce = raw.debounce_ms.get().map(|it| Span(*it));
    Input {
        common: common(head, &raw.name, &raw.area),
        meaning: raw.meaning.get().and_then(|it| InputMeaning::from_word(it)).unwrap_or(InputMeaning::Block),
        driver: driver.unwrap_or(InputDriver::Simulated),
        debounce: debounce.unwrap_or(if contact { DEBOUNCE } else { Span::ZERO }),
        max_age: max_age(checker, head, raw, word),
    }
}

fn max_age(checker: &mut Checker<'_>, head: &Head, raw: &raw::Input, driver: Option<&str>) -> Option<Span> {
    if let Some((age, at)) = raw.max_age_s.set().filter(|it| *it.0 < LEAST_AGE_S)
        && !(driver == Some("mqtt") && *age == 0.0)
    {
        let message = format!("`max_age_s` = {age} is out of range");
        let more = if driver == Some("mqtt") { "0, or " } else { "" };
        let help = format!("allowed: {more}{LEAST_AGE_S} to 86400 s");
        checker.report.error(at, &format!("{}.max_age_s", head.path), message, help);
    }
    match driver {
        // Fed with the frames of its meter, and lost with it; fed line by line.
        Some("p1-tariff" | "simulated") => None,
        // The task tells it every few seconds for as long as it holds.
        _ => Some(seconds(&raw.max_age_s).filter(|it| *it > Span::ZERO).unwrap_or(MAX_AGE)),
    }
}

pub(super) fn gpio_line(checker: &mut Checker<'_>, head: &Head, slot: &Slot<String>) -> Option<LineName> {
    const HELP: &str = "write chip and line, for example line = \"gpiochip0/17\"; `gpioinfo` lists them";
    match slot {
        Slot::Absent => {
            missing(checker, head, "line", HELP);
            None
        }
        Slot::Wrong => None,
        Slot::Set(text, at) => {
            let line = LineName::parse(text);
            if line.is_none() {
                let message = format!("`line` = \"{}\" is not a chip and a line", short(text));
                checker.report.error(*at, &format!("{}.line", head.path), message, HELP);
            }
            line
        }
    }
}

/// `high` or `low`.
fn level(checker: &mut Checker<'_>, head: &Head, slot: &Slot<Vec<String>>) -> Option<bool> {
    match slot {
        Slot::Absent => Some(true),
        Slot::Wrong => None,
        Slot::Set(words, at) => match words.as_slice() {
            [word] if word == "high" => Some(true),
            [word] if word == "low" => Some(false),
            _ => {
                let message = "`active` is a list of words, but this input has two levels";
                let help = "allowed: \"high\", \"low\"";
                checker.report.error(*at, &format!("{}.active", head.path), message, help);
                None
            }
        },
    }
}

fn modbus(checker: &mut Checker<'_>, head: &Head, raw: &raw::Input, wired: &mut Vec<Wired>) -> Option<InputDriver> {
    let (connection, unit) = board(checker, head, &raw.connection, &raw.unit, wired)?;
    let point = match (&raw.channel, &raw.register) {
        (Slot::Absent, Slot::Absent) => {
            missing(checker, head, "channel", "write the discrete input, or `register`, by its address on the wire");
            None
        }
        (Slot::Set(_, at), Slot::Set(..)) => {
            let message = "`channel` and `register` are both written";
            checker.report.error(*at, &format!("{}.channel", head.path), message, "an input is one or the other");
            None
        }
        (Slot::Set(channel, _), _) => {
            let address = u16::try_from(*channel).unwrap_or_default();
            level(checker, head, &raw.active).map(|active_high| PointKind::Discrete { address, active_high })
        }
        (_, Slot::Set(register, _)) => {
            let address = u16::try_from(*register).unwrap_or_default();
            values(checker, head, &raw.active).map(|active| PointKind::Register { address, active })
        }
        _ => None,
    }?;
    Some(InputDriver::Modbus { connection, unit, point })
}

/// Where a relay board or the like is; several inputs and relays may share its unit.
pub(super) fn board(
    checker: &mut Checker<'_>,
    head: &Head,
    connection: &Slot<String>,
    unit: &Slot<i64>,
    wired: &mut Vec<Wired>,
) -> Option<(Connection, u8)> {
    let help = "write where it is, for example connection = \"serial:///dev/ttyUSB1\"";
    let connection = link(checker, head, connection, help);
    if unit.is_absent() {
        missing(checker, head, "unit", "write its Modbus unit, 1 to 247");
    }
    let ((connection, at), (unit, unit_at)) = (connection?, unit.set()?);
    let unit = u8::try_from(*unit).unwrap_or(1);
    let path = head.path.clone();
    wired.push(Wired {
        path,
        at,
        connection: connection.clone(),
        unit: Some((unit, unit_at)),
        shares: true,
        factory: Some(Factory::UNKNOWN),
    });
    Some((connection, unit))
}

/// An input or a relay of a Shelly: where and which, and the login.
pub(super) fn shelly(
    checker: &mut Checker<'_>,
    head: &Head,
    (connection, channel): (&Slot<String>, &Slot<i64>),
    (username, password_file): (&Slot<String>, &Slot<String>),
) -> Option<ShellyPoint> {
    const HELP: &str = "write where it is, for example connection = \"http://192.0.2.20\"";
    let password = checker.password_file(password_file, &format!("{}.password_file", head.path));
    let channel = match channel.set() {
        Some((value, at)) if !(0..=MOST_CHANNEL).contains(value) => {
            let message = format!("`channel` = {value} is no input or relay of a Shelly");
            checker.report.error(
                at,
                &format!("{}.channel", head.path),
                message,
                format!("allowed: 0 to {MOST_CHANNEL}"),
            );
            return None;
        }
        value => value.map_or(0, |it| u8::try_from(*it.0).unwrap_or_default()),
    };
    let (text, at) = match connection {
        Slot::Absent => {
            missing(checker, head, "connection", HELP);
            return None;
        }
        Slot::Wrong => return None,
        Slot::Set(text, at) => (text, *at),
    };
    let path = format!("{}.connection", head.path);
    match HttpAddress::parse(text) {
        Ok(address) if address.tls => {
            let message = "a Shelly speaks plain HTTP on the local network";
            checker.report.error(at, &path, message, "write http://");
            None
        }
        Ok(address) => {
            let user = username.get().filter(|it| !it.is_empty()).cloned().unwrap_or_else(|| "admin".to_owned());
            Some(ShellyPoint { address, channel, login: password.map(|password| (user, password)) })
        }
        Err((message, help)) => {
            checker.report.error(at, &path, format!("`connection`: {message}"), help);
            None
        }
    }
}

/// Values of a register that mean active.
fn values(checker: &mut Checker<'_>, head: &Head, slot: &Slot<Vec<String>>) -> Option<ActiveWords> {
    let (words, at) = match slot {
        Slot::Absent => return Some(ActiveWords::NotZero),
        Slot::Wrong => return None,
        Slot::Set(words, at) => (words, *at),
    };
    match words.as_slice() {
        [word] if word == "high" => Some(ActiveWords::NotZero),
        [word] if word == "low" => Some(ActiveWords::Zero),
        words => {
            let numbers: Option<Vec<u16>> = words.iter().map(|it| it.parse().ok()).collect();
            if numbers.is_none() {
                let message = "`active` holds something else than values of a register";
                let help = "allowed: \"high\" (not 0), \"low\" (0), or a list like [\"1\", \"2\"]";
                checker.report.error(at, &format!("{}.active", head.path), message, help);
            }
            numbers.map(ActiveWords::These)
        }
    }
}

fn tariff(checker: &mut Checker<'_>, head: &Head, raw: &raw::Input, around: Around<'_>) -> Option<InputDriver> {
    const WORDS: &str = "write the words of the low tariff: [\"0001\"] in the Netherlands, [\"0002\"] in Belgium";
    let words = match &raw.active {
        Slot::Absent => {
            missing(checker, head, "active", WORDS);
            None
        }
        Slot::Wrong => None,
        Slot::Set(words, at) if matches!(words.as_slice(), [word] if word == "high" || word == "low") => {
            let message = "`active` is a level, but a meter sends words";
            checker.report.error(*at, &format!("{}.active", head.path), message, WORDS);
            None
        }
        Slot::Set(words, _) => Some(words.clone()),
    };
    let path = format!("{}.meter", head.path);
    let meter = match raw.meter.set() {
        Some((id, at)) => checker.meter_index(id, at, &path, around.devices).map(|index| (index, at)),
        None => around.grid.meter.map(|index| (index, head.header)),
    };
    if meter.is_none() && raw.meter.is_absent() {
        missing(checker, head, "meter", "write the id of a P1 meter: there is no grid meter to take");
    }
    let (meter, at) = meter?;
    let driver = around.devices.meters.get(meter).and_then(|it| it.raw.driver.get());
    if driver.is_some_and(|it| it != "p1") {
        let message = "its meter sends no tariff word: that is no P1 meter";
        checker.report.error(at, &path, message, "name a meter with driver = \"p1\"");
        return None;
    }
    Some(InputDriver::P1Tariff { meter, words: words? })
}

fn mqtt(checker: &mut Checker<'_>, head: &Head, raw: &raw::Input, broker: Option<&Mqtt>) -> Option<InputDriver> {
    let Some(broker) = broker else {
        let at = raw.driver.set().map_or(head.header, |it| it.1);
        let message = "an input by MQTT needs a broker";
        checker.report.error(at, &format!("{}.driver", head.path), message, "write url in [mqtt]");
        return None;
    };
    let active_high = level(checker, head, &raw.active)?;
    let topic = match &raw.topic {
        Slot::Wrong => return None,
        Slot::Absent => None,
        Slot::Set(topic, at) => Some(foreign_topic(checker, &format!("{}.topic", head.path), topic, *at, broker)?),
    };
    let kept = raw.max_age_s.get() == Some(&0.0);
    Some(InputDriver::Mqtt { topic, active_high, kept })
}

/// A topic that is somebody else's.
pub(super) fn foreign_topic(
    checker: &mut Checker<'_>,
    path: &str,
    topic: &str,
    at: At,
    broker: &Mqtt,
) -> Option<String> {
    let base = broker.base_topic.as_str();
    let own = topic == base || topic.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
    let (message, help) = if topic.is_empty() || topic.contains(['+', '#', '\0']) || topic.starts_with('$') {
        (format!("`topic` = \"{}\" is not one topic", short(topic)), "a name without + and #, not beginning with $")
    } else if own {
        (format!("`topic` = \"{}\" is below our own base topic", short(topic)), "leave `topic` out for our own")
    } else {
        return Some(topic.to_owned());
    };
    checker.report.error(at, path, message, help);
    None
}

fn times(checker: &mut Checker<'_>, head: &Head, raw: &raw::Input, site: &Site) -> Option<InputDriver> {
    let (times, at) = match &raw.times {
        Slot::Absent => {
            missing(checker, head, "times", &format!("a list of windows: {}", schedule::ALLOWED));
            return None;
        }
        Slot::Wrong => return None,
        Slot::Set(times, at) => (times, *at),
    };
    let mut windows = Vec::new();
    for text in times {
        match Window::parse(text) {
            Ok(window) => windows.push(window),
            Err(why) => {
                let message = format!("`times` holds \"{}\": {why}", short(text));
                let help = format!("allowed: {}", schedule::ALLOWED);
                checker.report.error(at, &format!("{}.times", head.path), message, help);
                return None;
            }
        }
    }
    // A zone that is not known was refused already.
    let zone = TimeZone::get(&site.time_zone).ok()?;
    Some(InputDriver::Schedule(Schedule::new(windows, zone)))
}

/// A line of a chip belongs to one device.
pub(super) fn same_lines(checker: &mut Checker<'_>, devices: &Raw) {
    let inputs = devices.inputs.iter().map(|it| (&it.head, &it.raw.line));
    let relays = devices.relays.iter().map(|it| (&it.head, &it.raw.line));
    let named = inputs.chain(relays).filter_map(|(head, slot)| slot.set().map(|(line, at)| (head, line, at)));
    let lines: Vec<(&Head, &String, At)> = named.collect();
    for (index, (head, line, at)) in lines.iter().enumerate() {
        if let Some((first, ..)) = lines[..index].iter().find(|it| LineName::parse(it.1) == LineName::parse(line)) {
            let message = format!("line {line} is used twice: also by {}", first.path);
            checker.report.error(*at, &format!("{}.line", head.path), message, "give every device a line of its own");
        }
    }
}

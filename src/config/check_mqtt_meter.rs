//! Meters that come by MQTT: which value stands where.

use super::check::Checker;
use super::check_devices::{Head, missing};
use super::key::short;
use super::model::{MeterDriver, MqttMeter, MqttPlace, MqttSource};
use super::raw;
use super::slot::Slot;
use super::source::At;
use crate::codec::sample::Quantity;
use crate::quantity::Span;

/// What a value may look like.
const PLACES: &str = "\"/json/pointer\" in `topic`, \"other/topic#/json/pointer\", \"other/topic\" for a plain number; \" * 0.001\" behind \
                      it multiplies";

/// The time zone is filled in later.
pub(super) fn mqtt(checker: &mut Checker<'_>, head: &Head, raw: &raw::Meter) -> Option<MeterDriver> {
    let path = |key: &str| format!("{}.{key}", head.path);
    let topic = match raw.topic.set() {
        None => None,
        Some((text, at)) => match topic_fault(text) {
            None => Some(text.as_str()),
            Some(fault) => {
                let message = format!("`topic` {fault}");
                checker.report.error(at, &path("topic"), message, "for example \"tele/meter/SENSOR\"");
                None
            }
        },
    };
    // Said once, at the topic.
    let topic_wrong = topic.is_none() && !raw.topic.is_absent();
    let mut sources = Vec::new();
    let mut written = false;
    for (quantity, slot) in values(raw) {
        written |= !slot.is_absent();
        let (Some(quantity), Some((text, at))) = (quantity, slot.set()) else { continue };
        if let Some((place, factor)) = read(checker, text, at, &path(quantity.key()), topic, topic_wrong) {
            sources.push(MqttSource { quantity, place, factor });
        }
    }
    if !written {
        missing(
            checker,
            head,
            "power_w",
            "write where at least one value stands, for example power_w = \"/ENERGY/Power\"",
        );
    }
    let time = match raw.time.set() {
        None => None,
        Some((text, at)) => {
            if text.contains(" * ") {
                let message = "`time` is multiplied, which a time cannot be";
                let help = "write the place alone: a number may be in seconds or milliseconds since 1970";
                checker.report.error(at, &path("time"), message, help);
            }
            read(checker, text, at, &path("time"), topic, topic_wrong).map(|(place, _)| place)
        }
    };
    let heard = |it: &MqttPlace| sources.iter().any(|source: &MqttSource| source.place.topic == it.topic);
    if let (Some(time), Some((_, at))) = (&time, raw.time.set())
        && !heard(time)
    {
        let message = format!("`time` is on the topic `{}`, on which no value is", short(&time.topic));
        checker.report.error(at, &path("time"), message, "a time belongs to the values of its own message");
    }
    if sources.is_empty() {
        return None;
    }
    if let (Some(topic), Some((_, at))) = (topic, raw.topic.set())
        && !sources.iter().any(|it| it.place.topic == topic)
    {
        let message = format!("`topic` = {:?} is used by no value", short(topic));
        // Without a slash before it a place is a topic of its own.
        let plain = sources.iter().find(|it| it.place.pointer.is_empty());
        let help = match plain {
            Some(it) => {
                let (key, place) = (it.quantity.key(), short(&it.place.topic));
                format!(
                    "did you mean {key} = \"/{place}\"? A place in `topic` begins with a slash; else take `topic` out"
                )
            }
            None => "take `topic` out, or write a place in it, which begins with a slash".to_owned(),
        };
        checker.report.error(at, &path("topic"), message, help);
    }
    let max_age = Span::from_secs_f64(raw.max_age_s.get().copied().unwrap_or(30.0));
    Some(MeterDriver::Mqtt(MqttMeter { sources, time, max_age, time_zone: String::new() }))
}

fn values(raw: &raw::Meter) -> [(Option<Quantity>, &Slot<String>); 24] {
    [
        (Quantity::from_key("power_w"), &raw.power_w),
        (Quantity::from_key("power_import_w"), &raw.power_import_w),
        (Quantity::from_key("power_export_w"), &raw.power_export_w),
        (Quantity::from_key("power_l1_w"), &raw.power_l1_w),
        (Quantity::from_key("power_l2_w"), &raw.power_l2_w),
        (Quantity::from_key("power_l3_w"), &raw.power_l3_w),
        (Quantity::from_key("current_l1_a"), &raw.current_l1_a),
        (Quantity::from_key("current_l2_a"), &raw.current_l2_a),
        (Quantity::from_key("current_l3_a"), &raw.current_l3_a),
        (Quantity::from_key("voltage_l1_v"), &raw.voltage_l1_v),
        (Quantity::from_key("voltage_l2_v"), &raw.voltage_l2_v),
        (Quantity::from_key("voltage_l3_v"), &raw.voltage_l3_v),
        (Quantity::from_key("power_factor"), &raw.power_factor),
        (Quantity::from_key("frequency_hz"), &raw.frequency_hz),
        (Quantity::from_key("energy_import_kwh"), &raw.energy_import_kwh),
        (Quantity::from_key("energy_export_kwh"), &raw.energy_export_kwh),
        (Quantity::from_key("energy_import_t1_kwh"), &raw.energy_import_t1_kwh),
        (Quantity::from_key("energy_import_t2_kwh"), &raw.energy_import_t2_kwh),
        (Quantity::from_key("energy_export_t1_kwh"), &raw.energy_export_t1_kwh),
        (Quantity::from_key("energy_export_t2_kwh"), &raw.energy_export_t2_kwh),
        (Quantity::from_key("reactive_energy_import_kvarh"), &raw.reactive_energy_import_kvarh),
        (Quantity::from_key("reactive_energy_export_kvarh"), &raw.reactive_energy_export_kvarh),
        (Quantity::from_key("soc_percent"), &raw.soc_percent),
        (Quantity::from_key("tariff"), &raw.tariff),
    ]
}

fn read(
    checker: &mut Checker<'_>,
    text: &str,
    at: At,
    path: &str,
    topic: Option<&str>,
    topic_wrong: bool,
) -> Option<(MqttPlace, f64)> {
    let key = path.rsplit('.').next().unwrap_or(path);
    let mut wrong = |what: String| {
        checker.report.error(at, path, format!("`{key}` {what}"), format!("allowed: {PLACES}"));
        None
    };
    let (place, factor) = match text.split_once(" * ") {
        None => (text, 1.0),
        Some((place, factor)) => match factor.trim().parse::<f64>().ok().filter(|it| it.is_normal() && it.abs() <= 1e6)
        {
            Some(factor) => (place, factor),
            None => return wrong(format!("is multiplied by {:?}, which is no number", short(factor))),
        },
    };
    let place = place.trim();
    let (topic, pointer) = if place.starts_with('/') {
        match topic {
            Some(topic) => (topic, place),
            None if topic_wrong => return None,
            None => return wrong("is a place in `topic`, which is not written".to_owned()),
        }
    } else {
        let (topic, pointer) = place.split_once('#').unwrap_or((place, ""));
        if let Some(fault) = topic_fault(topic) {
            return wrong(format!("names a topic that {fault}"));
        }
        (topic, pointer)
    };
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return wrong(format!("has the JSON pointer {:?}, which does not begin with a slash", short(pointer)));
    }
    Some((MqttPlace { topic: topic.to_owned(), pointer: pointer.to_owned() }, factor))
}

/// What is wrong with a topic to listen to.
fn topic_fault(topic: &str) -> Option<String> {
    if topic.is_empty() {
        Some("is empty".to_owned())
    } else if let Some(bad) = topic.chars().find(|it| matches!(it, '+' | '#')) {
        Some(format!("holds the wildcard `{bad}`"))
    } else if topic.starts_with('$') {
        Some("begins with `$`, which belongs to the broker".to_owned())
    } else if topic.starts_with('/') || topic.ends_with('/') {
        Some("has a slash at its begin or end".to_owned())
    } else {
        None
    }
}

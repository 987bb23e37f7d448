//! Home Assistant's rules for a device message, as far as they concern what we send: which keys there are, what an
//! entity needs, which units fit which class. Home Assistant drops the whole device for some, one entity for others,
//! and is silent about unknown keys of an entity; here all of them are errors.

use serde_json::{Map, Value};

const TOP: [&str; 10] = [
    "device",
    "origin",
    "components",
    "availability",
    "availability_mode",
    "availability_template",
    "state_topic",
    "command_topic",
    "qos",
    "encoding",
];
const DEVICE: [&str; 12] = [
    "identifiers",
    "connections",
    "name",
    "manufacturer",
    "model",
    "model_id",
    "hw_version",
    "sw_version",
    "serial_number",
    "suggested_area",
    "configuration_url",
    "via_device",
];
const ORIGIN: [&str; 3] = ["name", "sw_version", "support_url"];
const ANY: [&str; 13] = [
    "platform",
    "unique_id",
    "name",
    "default_entity_id",
    "icon",
    "entity_category",
    "enabled_by_default",
    "availability",
    "availability_mode",
    "json_attributes_topic",
    "json_attributes_template",
    "state_topic",
    "qos",
];
/// What only some platforms know.
const OWN: [(&str, &[&str]); 7] = [
    (
        "sensor",
        &[
            "device_class",
            "unit_of_measurement",
            "state_class",
            "suggested_display_precision",
            "options",
            "value_template",
            "expire_after",
        ],
    ),
    ("binary_sensor", &["device_class", "payload_on", "payload_off", "value_template", "expire_after"]),
    (
        "number",
        &["device_class", "unit_of_measurement", "min", "max", "step", "mode", "command_topic", "value_template"],
    ),
    ("select", &["options", "command_topic", "value_template"]),
    (
        "switch",
        &["device_class", "payload_on", "payload_off", "state_on", "state_off", "command_topic", "value_template"],
    ),
    ("button", &["device_class", "payload_press", "command_topic"]),
    ("event", &["device_class", "event_types", "value_template"]),
];
/// Units that a class accepts (only those we use), and whether it is a counter.
const CLASSES: [(&str, &[&str], &[&str]); 14] = [
    ("battery", &["%"], &["measurement"]),
    ("energy", &["Wh", "kWh", "MWh", "MJ", "GJ"], &["total", "total_increasing"]),
    ("reactive_energy", &["varh", "kvarh"], &["total", "total_increasing"]),
    ("power", &["W", "kW"], &["measurement"]),
    ("reactive_power", &["var", "kvar"], &["measurement"]),
    ("apparent_power", &["VA", "kVA"], &["measurement"]),
    ("current", &["A"], &["measurement"]),
    ("voltage", &["V"], &["measurement"]),
    ("frequency", &["Hz"], &["measurement"]),
    ("power_factor", &["%", ""], &["measurement"]),
    ("gas", &["m³"], &["total", "total_increasing"]),
    ("water", &["m³"], &["total", "total_increasing"]),
    ("volume", &["m³"], &["total", "total_increasing", "measurement"]),
    ("duration", &["s"], &["", "measurement"]),
];
const BINARY_CLASSES: [&str; 6] = ["plug", "battery_charging", "connectivity", "power", "problem", "running"];

/// Everything that is wrong with a device message.
pub(crate) fn faults(topic: &str, message: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(top) = message.as_object() else { return vec!["no object".into()] };
    let object_id = topic.split('/').rev().nth(1).unwrap_or_default();
    if object_id.is_empty() || !object_id.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it)) {
        faults.push(format!("illegal topic {topic}"));
    }
    unknown("the top", top, &TOP, &mut faults);
    let object = |key: &str| top.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let device = object("device");
    unknown("device", &device, &DEVICE, &mut faults);
    if device.get("identifiers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        faults.push("device without identifiers".into());
    }
    if device.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        faults.push("device without name".into());
    }
    for (key, value) in device.iter().filter(|(key, _)| *key != "identifiers") {
        if value.as_str().is_none_or(str::is_empty) {
            faults.push(format!("device.{key} = {value}"));
        }
    }
    let origin = object("origin");
    unknown("origin", &origin, &ORIGIN, &mut faults);
    if !origin.get("name").is_some_and(Value::is_string) {
        faults.push("origin without name".into());
    }
    availability("the top", top.get("availability"), &mut faults);
    if top.get("availability_mode").is_some_and(|it| !["all", "any", "latest"].iter().any(|word| it == word)) {
        faults.push("availability_mode".into());
    }
    let components = object("components");
    if components.is_empty() {
        faults.push("no components".into());
    }
    let mut names = Vec::new();
    for (key, component) in &components {
        let Some(component) = component.as_object() else {
            faults.push(format!("{key} is no object"));
            continue;
        };
        entity(key, component, top, &mut faults);
        let shown = |field: &str| component.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        names.push((shown("platform"), shown("name"), shown("device_class")));
        let device_name = device.get("name").and_then(Value::as_str).unwrap_or("-");
        if shown("name").contains(device_name) {
            faults.push(format!("{key}: the name repeats the device's"));
        }
    }
    names.sort();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        faults.push(format!("two entities are called {:?}", pair[0]));
    }
    faults
}

fn unknown(place: &str, map: &Map<String, Value>, known: &[&str], faults: &mut Vec<String>) {
    faults
        .extend(map.keys().filter(|key| !known.contains(&key.as_str())).map(|key| format!("{place}: unknown `{key}`")));
}

fn availability(place: &str, list: Option<&Value>, faults: &mut Vec<String>) {
    let Some(list) = list else { return };
    let good = list.as_array().is_some_and(|list| {
        !list.is_empty() && list.iter().all(|it| it["topic"].is_string() && it.as_object().unwrap().len() == 1)
    });
    if !good {
        faults.push(format!("{place}: availability {list}"));
    }
}

#[expect(clippy::collapsible_match, reason = "a guard would let the entity fall through to the next arm")]
fn entity(key: &str, entity: &Map<String, Value>, top: &Map<String, Value>, faults: &mut Vec<String>) {
    let text = |field: &str| entity.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut fault = |what: String| faults.push(format!("{key}: {what}"));
    let platform = text("platform");
    let Some((_, own)) = OWN.iter().find(|(name, _)| *name == platform) else {
        return fault(format!("unknown platform `{platform}`"));
    };
    if key.contains(' ') || text("unique_id").is_empty() {
        fault("key or unique_id".into());
    }
    for field in entity.keys().filter(|it| !ANY.contains(&it.as_str()) && !own.contains(&it.as_str())) {
        fault(format!("a {platform} knows no `{field}`"));
    }
    let (class, name) = (text("device_class"), text("name"));
    if name.is_empty() && (class.is_empty() || class == "enum") {
        fault("neither a name nor a class that gives one".into());
    }
    if !text("icon").is_empty() && !text("icon").starts_with("mdi:") {
        fault("icon".into());
    }
    let category = text("entity_category");
    let readable = matches!(platform, "sensor" | "binary_sensor");
    if !["", "config", "diagnostic"].contains(&category) || (readable && category == "config") {
        fault(format!("category `{category}`"));
    }
    let stateful = !matches!(platform, "button");
    if stateful && !top.contains_key("state_topic") && !entity.contains_key("state_topic") {
        fault("no state_topic: it would be taken for obedient".into());
    }
    if stateful && platform != "event" && !text("value_template").contains("value_json.") {
        fault("would show the whole JSON".into());
    }
    if matches!(platform, "number" | "select" | "switch" | "button") && text("command_topic").is_empty() {
        fault("no command_topic".into());
    }
    let options = entity.get("options").and_then(Value::as_array);
    let (unit, state_class) = (text("unit_of_measurement"), text("state_class"));
    match platform {
        "sensor" if class == "enum" => {
            if options.is_none_or(Vec::is_empty) || !unit.is_empty() || !state_class.is_empty() {
                fault("enum wants options, no unit, no state_class".into());
            }
        }
        "sensor" if class == "timestamp" => {
            if !unit.is_empty() || !state_class.is_empty() {
                fault("a timestamp has no unit".into());
            }
        }
        "sensor" => {
            if options.is_some() {
                fault("options without enum".into());
            }
            match CLASSES.iter().find(|(name, ..)| *name == class) {
                Some((_, units, states)) => {
                    if !units.contains(&unit) || !states.contains(&state_class) {
                        fault(format!("{class} in `{unit}` as `{state_class}`"));
                    }
                }
                None if class.is_empty() => {}
                None => fault(format!("unknown class `{class}`")),
            }
        }
        "binary_sensor" => {
            if !class.is_empty() && !BINARY_CLASSES.contains(&class) {
                fault(format!("unknown class `{class}`"));
            }
        }
        "number" => {
            let number = |field: &str| entity.get(field).and_then(Value::as_f64);
            let range = number("min").zip(number("max")).zip(number("step"));
            if !range.is_some_and(|((min, max), step)| min < max && step >= 0.001) {
                fault("range".into());
            }
        }
        "select" => {
            if options.is_none_or(Vec::is_empty) {
                fault("select without options".into());
            }
        }
        "event" => {
            if entity.get("event_types").and_then(Value::as_array).is_none_or(Vec::is_empty) {
                fault("event without types".into());
            }
        }
        _ => {}
    }
    availability(key, entity.get("availability"), faults);
}

#[test]
fn the_checker_sees_what_home_assistant_would_refuse() {
    let good = serde_json::json!({
        "device": {"identifiers": ["a"], "name": "A"},
        "origin": {"name": "x"},
        "state_topic": "s",
        "components": {"power": {
            "platform": "sensor", "unique_id": "a_power", "device_class": "power", "state_class": "measurement",
            "unit_of_measurement": "W", "value_template": "{{ value_json.power }}",
        }},
    });
    assert_eq!(faults("h/device/a/config", &good), [""; 0]);
    for (pointer, key, value) in [
        ("", "foo", Value::from(1)),
        ("/device", "foo", Value::from("x")),
        ("/origin", "instance", Value::from("x")),
        ("/components/power", "foo", Value::from(1)),
        ("/components/power", "unit_of_measurement", Value::from("kWh")),
        ("/components/power", "state_class", Value::from("total_increasing")),
        ("/components/power", "entity_category", Value::from("config")),
        ("/components/power", "unique_id", Value::from("")),
        ("/components/power", "platform", Value::from("thing")),
        ("/components/power", "options", serde_json::json!(["a"])),
        ("/components/power", "name", Value::from("A power")),
    ] {
        let mut bad = good.clone();
        bad.pointer_mut(pointer).unwrap()[key] = value;
        assert_ne!(faults("h/device/a/config", &bad), [""; 0], "{pointer}/{key}");
    }
    assert_ne!(faults("h/device/a.b/config", &good), [""; 0]);
}

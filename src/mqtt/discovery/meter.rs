//! A meter: a fixed list of keys that every electricity meter has, and one for each further object that it sends.

use super::Component;
use crate::config::model::MeterRole;
use crate::control::Quality;
use crate::mqtt::json::Out;
use crate::status::{MeterValues, MeterView, Value};

/// What a meter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A configured meter.
    Electricity,
    /// Electricity of a solar plant.
    Solar,
    /// Electricity of a home battery.
    Battery,
    /// Behind another meter.
    Gas,
    /// Behind another meter.
    Water,
    /// Heat, cold, and whatever else is behind another meter.
    Other,
}

impl Medium {
    /// Of a configured meter.
    pub(crate) fn of_role(role: MeterRole) -> Self {
        match role {
            MeterRole::Solar => Self::Solar,
            MeterRole::Battery => Self::Battery,
            MeterRole::Grid | MeterRole::Circuit | MeterRole::Charger | MeterRole::Other => Self::Electricity,
        }
    }

    /// From the suffix of a sub-meter's id: `gas`, `gas-2`, `water`, …
    pub(crate) fn of_suffix(suffix: &str) -> Self {
        match suffix.split('-').next() {
            Some("gas") => Self::Gas,
            Some("water") => Self::Water,
            _ => Self::Other,
        }
    }

    /// Of a meter that is in no configuration any more, from the keys that it was announced with.
    pub(crate) fn of_keys(keys: &[&str]) -> Self {
        let has = |key| keys.contains(&key);
        if has("energy_produced_kwh") {
            Self::Solar
        } else if has("energy_charged_kwh") || has("energy_discharged_kwh") {
            Self::Battery
        } else if has("power_w") || has("energy_import_kwh") {
            Self::Electricity
        } else {
            Self::Other
        }
    }

    /// Every key that its state always has, without `quality`, `time` and `age_s`.
    pub(crate) fn keys(self) -> impl Iterator<Item = &'static str> {
        let parts: [&[&str]; 3] = match self {
            Self::Electricity => [&ELECTRICITY, &IMPORT_AND_EXPORT, &FURTHER],
            Self::Solar => [&ELECTRICITY, &["energy_produced_kwh"], &FURTHER],
            Self::Battery => [&ELECTRICITY, &["energy_charged_kwh", "energy_discharged_kwh", "soc_percent"], &FURTHER],
            Self::Gas | Self::Water | Self::Other => [&SUB_METER, &[], &[]],
        };
        parts.into_iter().flatten().copied()
    }

    /// The directions of its counters, as they stand in keys, and their names.
    fn directions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Electricity | Self::Gas | Self::Water | Self::Other => {
                &[("import", "Energy import"), ("export", "Energy export")]
            }
            Self::Solar => &[("produced", "Energy produced")],
            Self::Battery => &[("charged", "Energy charged"), ("discharged", "Energy discharged")],
        }
    }
}

static ELECTRICITY: [&str; 14] = [
    "power_w",
    "power_l1_w",
    "power_l2_w",
    "power_l3_w",
    "current_l1_a",
    "current_l2_a",
    "current_l3_a",
    "voltage_l1_v",
    "voltage_l2_v",
    "voltage_l3_v",
    "reactive_power_var",
    "apparent_power_va",
    "power_factor",
    "frequency_hz",
];

static IMPORT_AND_EXPORT: [&str; 6] = [
    "energy_import_kwh",
    "energy_export_kwh",
    "energy_import_t1_kwh",
    "energy_import_t2_kwh",
    "energy_export_t1_kwh",
    "energy_export_t2_kwh",
];

static FURTHER: [&str; 5] =
    ["reactive_energy_import_kvarh", "reactive_energy_export_kvarh", "peak_month_kw", "tariff", QUALITY];

static SUB_METER: [&str; 3] = ["volume_m3", "energy_gj", QUALITY];

/// The controller's judgement, which every meter has.
pub(crate) const QUALITY: &str = "quality";

/// The controller's judgement; a meter that it does not use is good while it sends.
pub(crate) fn quality(view: &MeterView) -> Quality {
    match &view.status {
        Some(status) => status.quality,
        None if view.health.online => Quality::Good,
        None => Quality::Lost,
    }
}

/// The value of a key, null where the last frame did not have it.
pub(crate) fn value(values: &MeterValues, key: &str) -> Out {
    match values.values.get(key) {
        None => Out::Null,
        Some(Value::Number { value, decimals, .. }) => Out::Decimal(*value, *decimals),
        Some(Value::Text(text)) => Out::text(text.as_str()),
    }
}

/// A word that is published as soon as it changes. Other texts may change with every telegram.
pub(crate) fn is_told_at_once(key: &str) -> bool {
    matches!(key, "tariff" | "valve")
}

/// The entity of a key, as far as it is one of the contract's.
fn known(key: &str, medium: Medium) -> Option<Component> {
    let sensor = |class: &str, unit: &str| Component::sensor().class(class).unit(unit);
    let measured = |class: &str, unit: &str, digits| sensor(class, unit).measured().digits(digits);
    if let Some((stem, phase, unit)) = split_phase(key) {
        let (class, name, digits) = match (stem, unit) {
            ("power", "w") => ("power", "Power", 0),
            ("current", "a") => ("current", "Current", 1),
            ("voltage", "v") => ("voltage", "Voltage", 1),
            _ => return None,
        };
        return Some(measured(class, &unit.to_uppercase(), digits).name(format!("{name} {phase}")));
    }
    if let Some(rest) = key.strip_prefix("energy_") {
        if let "gj" | "kwh" = rest {
            return Some(sensor("energy", if rest == "gj" { "GJ" } else { "kWh" }).counter().digits(3));
        }
        let (direction, tariff) = rest.strip_suffix("_kwh")?.split_once('_').map_or_else(
            || (rest.strip_suffix("_kwh").unwrap_or(rest), None),
            |(direction, tariff)| (direction, Some(tariff)),
        );
        let direction = medium.directions().iter().find(|it| it.0 == direction)?.1;
        let name = match tariff {
            None => direction.to_owned(),
            Some(tariff) if is_tariff(tariff) => format!("{direction} tariff {}", &tariff[1..]),
            Some(_) => return None,
        };
        return Some(sensor("energy", "kWh").counter().digits(3).name(name));
    }
    Some(match key {
        // Home Assistant names these after their class.
        "power_w" => measured("power", "W", 0),
        "reactive_power_var" => measured("reactive_power", "var", 0),
        "apparent_power_va" => measured("apparent_power", "VA", 0),
        "power_factor" => Component::sensor().class("power_factor").measured().digits(2),
        "frequency_hz" => measured("frequency", "Hz", 2),
        "reactive_energy_import_kvarh" => {
            sensor("reactive_energy", "kvarh").counter().digits(3).name("Reactive energy import")
        }
        "reactive_energy_export_kvarh" => {
            sensor("reactive_energy", "kvarh").counter().digits(3).name("Reactive energy export")
        }
        "soc_percent" => measured("battery", "%", 0),
        "peak_month_kw" => measured("power", "kW", 2).name("Peak of the month"),
        "tariff" => Component::sensor().name("Tariff").icon("cash-clock"),
        QUALITY => Component::words(Quality::ALL.iter().map(|it| it.word())).name("Quality").diagnostic().bridge_only(),
        "volume_m3" => match medium {
            Medium::Gas => sensor("gas", "m³").counter().digits(3),
            Medium::Water => sensor("water", "m³").counter().digits(3),
            _ => sensor("volume", "m³").counter().digits(3),
        },
        _ => return None,
    })
}

/// A key of the contract that such a meter can have.
pub(crate) fn is_known(key: &str, medium: Medium) -> bool {
    known(key, medium).is_some()
}

/// `power_l1_w` is power, L1, w.
fn split_phase(key: &str) -> Option<(&str, String, &str)> {
    let (rest, unit) = key.rsplit_once('_')?;
    let (stem, phase) = rest.rsplit_once('_')?;
    matches!(phase, "l1" | "l2" | "l3").then(|| (stem, phase.to_uppercase(), unit))
}

fn is_tariff(text: &str) -> bool {
    text.strip_prefix('t').is_some_and(|number| !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()))
}

/// The entity of a key. One that the contract does not name is described by its unit and disabled at first.
pub(crate) fn entity(key: &str, value: Option<&Value>, medium: Medium) -> Component {
    known(key, medium).unwrap_or_else(|| other(key, value))
}

fn other(key: &str, value: Option<&Value>) -> Component {
    let unit = match value {
        Some(Value::Number { unit, .. }) => unit,
        _ => "",
    };
    let component = match value {
        Some(Value::Number { unit, decimals, .. }) => {
            let sensor = Component::sensor().digits(*decimals);
            match *unit {
                "" => sensor,
                "Wh" | "kWh" | "MWh" | "MJ" | "GJ" => sensor.class("energy").unit(unit).counter(),
                "varh" | "kvarh" => sensor.class("reactive_energy").unit(unit).counter(),
                "W" | "kW" => sensor.class("power").unit(unit).measured(),
                "var" | "kvar" => sensor.class("reactive_power").unit(unit).measured(),
                "VA" | "kVA" => sensor.class("apparent_power").unit(unit).measured(),
                "V" => sensor.class("voltage").unit(unit).measured(),
                "A" => sensor.class("current").unit(unit).measured(),
                "Hz" => sensor.class("frequency").unit(unit).measured(),
                "°C" => sensor.class("temperature").unit(unit).measured(),
                "s" => sensor.class("duration").unit(unit).digits(0),
                unit => sensor.unit(unit),
            }
        }
        Some(Value::Text(_)) | None => Component::sensor(),
    };
    component.name(title(key, unit)).diagnostic().disabled()
}

/// `power_export_l1_w` in W is "Power export L1", `obis_1_0_96_13_0` is "OBIS 1-0:96.13.0".
fn title(key: &str, unit: &str) -> String {
    if let Some(code) = key.strip_prefix("obis_") {
        let code: Vec<_> = code.split('_').collect();
        if let [a, b, c, d, e, rest @ ..] = code.as_slice() {
            let rest: String = rest.iter().map(|it| format!("*{it}")).collect();
            return format!("OBIS {a}-{b}:{c}.{d}.{e}{rest}");
        }
    }
    let mut words: Vec<String> = key
        .split('_')
        .map(|word| if matches!(word, "l1" | "l2" | "l3") { word.to_uppercase() } else { word.to_owned() })
        .collect();
    if words.len() > 1 && words.last().is_some_and(|it| *it == unit.to_lowercase()) {
        words.pop();
    }
    let mut title = words.join(" ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_contract_has_an_entity_of_its_own_kind() {
        for medium in [Medium::Electricity, Medium::Solar, Medium::Battery, Medium::Gas, Medium::Water, Medium::Other] {
            for key in medium.keys() {
                assert!(is_known(key, medium), "{key}");
            }
        }
        for (key, medium) in [
            ("energy_import_t4_kwh", Medium::Electricity),
            ("energy_produced_t1_kwh", Medium::Solar),
            ("energy_charged_t2_kwh", Medium::Battery),
            // An electricity meter on the bus of a P1 port.
            ("energy_import_kwh", Medium::Other),
        ] {
            assert!(is_known(key, medium), "{key}");
        }
        for key in ["energy_import_tx_kwh", "energy_mwh", "power_l4_w", "obis_0_0_96_13_0", "energy_"] {
            assert!(!is_known(key, Medium::Electricity), "{key}");
        }
    }

    #[test]
    fn a_counter_of_another_role_is_none_of_this_meters() {
        for (key, medium) in [
            ("energy_produced_kwh", Medium::Electricity),
            ("energy_import_kwh", Medium::Solar),
            ("energy_export_t1_kwh", Medium::Solar),
            ("energy_charged_kwh", Medium::Solar),
            ("energy_import_kwh", Medium::Battery),
        ] {
            assert!(!is_known(key, medium), "{key}");
        }
    }

    #[test]
    fn other_objects_have_readable_names() {
        assert_eq!(title("power_export_l1_w", "W"), "Power export L1");
        assert_eq!(title("p1_version", ""), "P1 version");
        assert_eq!(title("obis_1_0_96_13_0", ""), "OBIS 1-0:96.13.0");
        assert_eq!(title("obis_1_0_1_8_0_1", "kWh"), "OBIS 1-0:1.8.0*1");
        assert_eq!(title("obis_x", ""), "Obis x");
        assert_eq!(title("w", "W"), "W");
    }
}

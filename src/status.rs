//! The one picture of everything that MQTT, the page and the demo show. Built by the control loop after the orders
//! are out, handed on through a `watch` channel: a slow reader sees the newest, never a queue.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::model::MeterRole;
use crate::control::{ChargerStatus, ChargerStatusWord, InputStatus, MeterStatus, Quality, RelayStatus, SiteStatus};
use crate::quantity::Mono;

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When, on the monotonic clock.
    pub at: Mono,
    /// The same moment as unix time in ms, for stamps; wrong while the clock is not set.
    pub wall_ms: i64,
    /// The site.
    pub site: SiteStatus,
    /// Sentences of what would not end in a safe current.
    pub risks: Arc<Vec<String>>,
    /// One per configured meter, in order.
    pub meters: Vec<MeterView>,
    /// Gas, water and heat meters and the like found behind a configured meter.
    pub sub_meters: Vec<MeterView>,
    /// One per configured charger, in order.
    pub chargers: Vec<ChargerView>,
    /// One per configured input, in order.
    pub inputs: Vec<InputView>,
    /// One per configured relay, in order.
    pub relays: Vec<RelayView>,
}

impl Snapshot {
    /// The same, as it is to be shown once the control loop hangs: nobody knows how anything does, and every charger was
    /// lowered when its lease ended.
    #[must_use]
    pub fn hung(&self) -> Self {
        let mut it = self.clone();
        it.site.fail_safe = true;
        for meter in it.meters.iter_mut().chain(&mut it.sub_meters) {
            meter.health.online = false;
            if let Some(status) = &mut meter.status {
                status.quality = Quality::Lost;
            }
        }
        it.chargers.iter_mut().for_each(|charger| charger.status.word = ChargerStatusWord::Offline);
        it.inputs.iter_mut().for_each(|input| input.status.active = None);
        it.relays.iter_mut().for_each(|relay| relay.status.available = false);
        it
    }
}

/// One meter.
#[derive(Clone, Debug)]
pub struct MeterView {
    /// Configuration id, or `<parent>-gas`, `<parent>-water`, … behind another one.
    pub id: Arc<str>,
    /// What the controller thinks of it; `None` for a meter that the controller does not use.
    pub status: Option<MeterStatus>,
    /// Last values by their contract key; shared, because they change only with a frame.
    pub values: Arc<MeterValues>,
    /// Link health.
    pub health: Health,
}

/// Values of one frame by key (`power_w`, `energy_import_kwh`, …; other objects by a key of their OBIS code).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeterValues {
    /// When the frame arrived; `None` before the first.
    pub received_at: Option<Mono>,
    /// Unix ms of the reading itself where the meter's clock says so (gas: the hour of the reading).
    pub wall_ms: Option<i64>,
    /// Key to value.
    pub values: BTreeMap<Arc<str>, Value>,
    /// What the device says about itself.
    pub identity: Identity,
}

impl MeterValues {
    /// Puts the counters under the names that they have at a meter of this role.
    pub fn name_counters(&mut self, role: MeterRole) {
        let renamed = |key: &&Arc<str>| published_key(role, key).as_deref() != Some(&***key);
        let before: Vec<Arc<str>> = self.values.keys().filter(renamed).cloned().collect();
        for key in before {
            let Some(value) = self.values.remove(&key) else { continue };
            if let Some(name) = published_key(role, &key) {
                self.values.insert(name.into(), value);
            }
        }
    }
}

/// The name of a value at a meter of this role. The counter in the direction of its positive power, `energy_import_…`
/// on the wire, is what a solar plant has produced and what a battery has given; the other one is what the battery has
/// taken. `None`: what an inverter takes for itself is not published, because nothing counts it as production undone.
#[must_use]
pub fn published_key(role: MeterRole, key: &str) -> Option<Cow<'_, str>> {
    let (import, export) = match role {
        MeterRole::Solar => ("produced", None),
        MeterRole::Battery => ("discharged", Some("charged")),
        MeterRole::Grid | MeterRole::Circuit | MeterRole::Charger | MeterRole::Other => return Some(key.into()),
    };
    if let Some(rest) = key.strip_prefix("energy_import_") {
        return Some(format!("energy_{import}_{rest}").into());
    }
    match key.strip_prefix("energy_export_") {
        Some(rest) => export.map(|name| format!("energy_{name}_{rest}").into()),
        None => Some(key.into()),
    }
}

/// One published value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A finite number, with its unit and the decimals it came with.
    Number {
        /// In `unit`.
        value: f64,
        /// Unit as Home Assistant writes it; empty for none.
        unit: &'static str,
        /// Decimals on the wire.
        decimals: u8,
    },
    /// A word.
    Text(String),
}

/// A number with so many decimals. What rounds to nothing has no sign: nobody can tell `-0.0` from `0.0` by looking.
#[must_use]
pub fn with_decimals(number: f64, decimals: u8) -> String {
    let text = format!("{number:.*}", usize::from(decimals));
    match text.strip_prefix('-') {
        Some(size) if size.bytes().all(|it| matches!(it, b'0' | b'.')) => size.to_owned(),
        _ => text,
    }
}

/// Who a device says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Maker.
    pub manufacturer: Option<String>,
    /// Type.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Firmware.
    pub firmware: Option<String>,
}

/// One charger.
#[derive(Clone, Debug)]
pub struct ChargerView {
    /// Configuration id.
    pub id: Arc<str>,
    /// What the controller thinks of it.
    pub status: ChargerStatus,
    /// Who it says it is.
    pub identity: Arc<Identity>,
    /// Link health.
    pub health: Health,
}

/// One input.
#[derive(Clone, Debug)]
pub struct InputView {
    /// Configuration id.
    pub id: Arc<str>,
    /// What the controller takes it for.
    pub status: InputStatus,
    /// Link health; of an input that has no link of its own, that it says something.
    pub health: Health,
}

/// One relay.
#[derive(Clone, Debug)]
pub struct RelayView {
    /// Configuration id.
    pub id: Arc<str>,
    /// What the controller thinks of it.
    pub status: RelayStatus,
    /// Link health.
    pub health: Health,
}

/// How a device's link does; counted since start, never reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// It answers (or sends) at present.
    pub online: bool,
    /// Good frames or answers.
    pub good: u64,
    /// Frames or answers that were not: CRC, length, unit, exception, format.
    pub bad: u64,
    /// Set-points that it refused.
    pub refused: u64,
    /// It answers, and takes no set-point at present.
    pub unled: bool,
    /// Requests without an answer.
    pub timeouts: u64,
    /// Times that the link was opened again.
    pub reconnects: u64,
    /// Bytes thrown away to find a frame.
    pub discarded_bytes: u64,
    /// The last error in words, with the device's name; kept after it is over.
    pub last_error: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_sign() {
        for (number, decimals, text) in [
            (-0.0, 0, "0"),
            (-0.04, 1, "0.0"),
            (-0.06, 1, "-0.1"),
            (-0.5, 0, "0"),
            (0.0, 3, "0.000"),
            (-12.5, 1, "-12.5"),
        ] {
            assert_eq!(with_decimals(number, decimals), text, "{number}");
        }
    }

    #[test]
    fn counters_are_named_by_what_the_meter_measures() {
        let named = |role| {
            let keys = ["power_w", "energy_import_kwh", "energy_export_kwh", "energy_import_t1_kwh", "soc_percent"];
            let number = |at: usize| Value::Number { value: at as f64, unit: "", decimals: 0 };
            let values = keys.iter().enumerate().map(|(at, key)| (Arc::from(*key), number(at))).collect();
            let mut values = MeterValues { values, ..MeterValues::default() };
            values.name_counters(role);
            let told = |(key, value): (&Arc<str>, &Value)| match value {
                Value::Number { value, .. } => format!("{key} {value}"),
                Value::Text(text) => text.clone(),
            };
            values.values.iter().map(told).collect::<Vec<_>>()
        };
        let as_sent =
            ["energy_export_kwh 2", "energy_import_kwh 1", "energy_import_t1_kwh 3", "power_w 0", "soc_percent 4"];
        for role in [MeterRole::Grid, MeterRole::Circuit, MeterRole::Charger, MeterRole::Other] {
            assert_eq!(named(role), as_sent);
        }
        let solar = ["energy_produced_kwh 1", "energy_produced_t1_kwh 3", "power_w 0", "soc_percent 4"];
        assert_eq!(named(MeterRole::Solar), solar);
        let battery = [
            "energy_charged_kwh 2",
            "energy_discharged_kwh 1",
            "energy_discharged_t1_kwh 3",
            "power_w 0",
            "soc_percent 4",
        ];
        assert_eq!(named(MeterRole::Battery), battery);
    }
}

//! What HomeWizard devices answer: the local API, versions 1 and 2 (api-documentation.homewizard.com).
//!
//! Power is signed, import positive. A P1 meter's currents are whole amperes on many meters; those of API version 1 of
//! kWh meters and sockets are sizes. Every value may be missing.

use serde_json::Value;

use super::json::{self, Fields, Malformed};
use super::obis::Obis;
use super::p1;
use super::sample::{Quantity as Q, Sample};
use super::value::MeterTime;

/// Who a device says it is (`GET /api`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `HWE-P1`, `HWE-KWH1`, `HWE-KWH3`, `SDM230-wifi`, `SDM630-wifi`, `HWE-SKT`, …
    pub product_type: String,
    /// Shown name.
    pub product_name: Option<String>,
    /// 12 hexadecimal digits.
    pub serial: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
}

/// Reads `GET /api`, which both versions have.
///
/// # Errors
/// When it is not that of a HomeWizard device.
pub fn device(body: &[u8]) -> Result<Device, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let text = |key| Ok::<_, Malformed>(fields.text(key)?.map(|it: &str| it.chars().take(64).collect::<String>()));
    let Some(product_type) = text("product_type")? else {
        return Err(Malformed::new("", "has no `product_type`: this is no HomeWizard device"));
    };
    Ok(Device {
        product_type,
        product_name: text("product_name")?,
        serial: text("serial")?,
        firmware: text("firmware_version")?,
    })
}

/// What one answer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// The electricity meter.
    pub sample: Sample,
    /// Meters behind it.
    pub external: Vec<External>,
}

/// A meter behind a P1 meter.
#[derive(Clone, Debug, PartialEq)]
pub struct External {
    /// `gas`, `water`, `heat`, or `meter`.
    pub kind: &'static str,
    /// Its own number, as the device gives it.
    pub id: String,
    /// Counter.
    pub value: f64,
    /// `m³` or `GJ`.
    pub unit: &'static str,
    /// Its own time of the counter, in seconds since 2000 of a clock without a zone.
    pub time: Option<i64>,
}

/// Names of the same quantity in both versions; `{}` stands for the phase.
struct Names {
    power: &'static str,
    phase_power: &'static str,
    current: &'static str,
    only_current: &'static str,
    voltage: &'static str,
    only_voltage: &'static str,
    plain: &'static [(&'static str, Q, f64)],
}

const V1: Names = Names {
    power: "active_power_w",
    phase_power: "active_power_l{}_w",
    current: "active_current_l{}_a",
    only_current: "active_current_a",
    voltage: "active_voltage_l{}_v",
    only_voltage: "active_voltage_v",
    plain: &[
        ("active_reactive_power_var", Q::ReactivePower, 1.0),
        ("active_apparent_power_va", Q::ApparentPower, 1.0),
        ("active_power_factor", Q::PowerFactor, 1.0),
        ("active_frequency_hz", Q::Frequency, 1.0),
        ("active_power_average_w", Q::Demand, 1000.0),
        // So it is spelled.
        ("montly_power_peak_w", Q::PeakMonth, 1000.0),
        ("active_tariff", Q::Tariff, 1.0),
        ("total_power_import_kwh", Q::EnergyImport, 1.0),
        ("total_power_import_t1_kwh", Q::EnergyImportT1, 1.0),
        ("total_power_import_t2_kwh", Q::EnergyImportT2, 1.0),
        ("total_power_import_t3_kwh", Q::EnergyImportT3, 1.0),
        ("total_power_import_t4_kwh", Q::EnergyImportT4, 1.0),
        ("total_power_export_kwh", Q::EnergyExport, 1.0),
        ("total_power_export_t1_kwh", Q::EnergyExportT1, 1.0),
        ("total_power_export_t2_kwh", Q::EnergyExportT2, 1.0),
        ("total_power_export_t3_kwh", Q::EnergyExportT3, 1.0),
        ("total_power_export_t4_kwh", Q::EnergyExportT4, 1.0),
    ],
};

const V2: Names = Names {
    power: "power_w",
    phase_power: "power_l{}_w",
    current: "current_l{}_a",
    only_current: "current_a",
    voltage: "voltage_l{}_v",
    only_voltage: "voltage_v",
    plain: &[
        ("reactive_power_var", Q::ReactivePower, 1.0),
        ("apparent_power_va", Q::ApparentPower, 1.0),
        ("power_factor", Q::PowerFactor, 1.0),
        ("frequency_hz", Q::Frequency, 1.0),
        ("average_power_15m_w", Q::Demand, 1000.0),
        ("monthly_power_peak_w", Q::PeakMonth, 1000.0),
        ("tariff", Q::Tariff, 1.0),
        // Plug-in battery.
        ("state_of_charge_pct", Q::StateOfCharge, 1.0),
        ("energy_import_kwh", Q::EnergyImport, 1.0),
        ("energy_import_t1_kwh", Q::EnergyImportT1, 1.0),
        ("energy_import_t2_kwh", Q::EnergyImportT2, 1.0),
        ("energy_import_t3_kwh", Q::EnergyImportT3, 1.0),
        ("energy_import_t4_kwh", Q::EnergyImportT4, 1.0),
        ("energy_export_kwh", Q::EnergyExport, 1.0),
        ("energy_export_t1_kwh", Q::EnergyExportT1, 1.0),
        ("energy_export_t2_kwh", Q::EnergyExportT2, 1.0),
        ("energy_export_t3_kwh", Q::EnergyExportT3, 1.0),
        ("energy_export_t4_kwh", Q::EnergyExportT4, 1.0),
    ],
};

/// `GET /api/v1/data`. It has no time of its own.
///
/// # Errors
/// When it is not as the documentation has it, or nothing is measured.
pub fn v1_data(body: &[u8]) -> Result<Measurement, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let sample = electricity(&fields, &V1)?;
    let mut external = externals(&fields)?;
    if external.is_empty()
        && let Some(value) = fields.number("total_gas_m3")?.filter(is_counter)
    {
        // The table of the documentation has the second name, its examples the first.
        let id = match fields.text("gas_unique_id")? {
            Some(id) => Some(id),
            None => fields.text("unique_gas_id")?,
        };
        let time = fields.number("gas_timestamp")?.and_then(compact_time);
        external.push(External { kind: "gas", id: short(id.unwrap_or("gas")), value, unit: "m³", time });
    }
    Ok(Measurement { sample, external })
}

/// The meter's own time in `GET /api/v1/telegram`, the P1 telegram as it came. Only ever compared.
///
/// # Errors
/// When it is no good telegram, or has no time.
pub fn v1_telegram_time(body: &[u8]) -> Result<i64, Malformed> {
    const TIME: Obis = Obis::new(0, 0, 1, 0, 0);
    let wrong = |problem: String| Malformed::new("", format!("is no P1 telegram: {problem}"));
    let mut decoder = p1::Decoder::new(None);
    let mut rest = body;
    // The body ends behind the telegram, with a line end or without one.
    let item = match decoder.decode(&mut rest) {
        None => decoder.finish(),
        item => item,
    };
    let Some(item) = item else { return Err(wrong("nothing in it begins like one".to_owned())) };
    let telegram = item.map_err(|error| wrong(error.to_string()))?;
    telegram.check().map_err(|rejection| wrong(rejection.to_string()))?;
    let time = telegram.objects().find(|it| it.obis == TIME).and_then(|it| MeterTime::parse(it.single()?));
    time.map(seconds).ok_or_else(|| Malformed::new("0-0:1.0.0", "is missing or no time"))
}

/// `GET /api/measurement`, and what the WebSocket pushes as `data`. [`Sample::stamp`] is the meter's own time.
///
/// # Errors
/// When it is not as the documentation has it, or nothing is measured.
pub fn v2_measurement(body: &[u8]) -> Result<Measurement, Malformed> {
    measurement(&json::object(body)?)
}

fn measurement(map: &serde_json::Map<String, Value>) -> Result<Measurement, Malformed> {
    let fields = Fields::new("", map);
    let mut sample = electricity(&fields, &V2)?;
    sample.stamp = match fields.text("timestamp")? {
        None => None,
        Some(text) => Some(iso_time(text).ok_or_else(|| {
            Malformed::new("timestamp", format!("= {:?} is no time like 2024-06-28T14:12:34", short(text)))
        })?),
    };
    Ok(Measurement { sample, external: externals(&fields)? })
}

fn electricity(fields: &Fields<'_>, names: &Names) -> Result<Sample, Malformed> {
    let mut sample = Sample::default();
    sample.put(Q::Power, fields.number(names.power)?);
    let mut whole_amperes = true;
    for at in 0..3 {
        let name = |pattern: &str| pattern.replace("{}", ["1", "2", "3"][at]);
        sample.put(Q::PHASE_POWER[at], fields.number(&name(names.phase_power))?);
        let current = fields.number(&name(names.current))?;
        whole_amperes &= current.is_none_or(|it| it.fract() == 0.0);
        sample.put(Q::CURRENT[at], current);
        let voltage = fields.number(&name(names.voltage))?;
        sample.put(Q::VOLTAGE[at], voltage);
        if current.is_some() || voltage.is_some() {
            sample.expect(Q::PHASE_POWER[at]);
        }
    }
    let currents = Q::CURRENT.into_iter().any(|it| sample.get(it).is_some());
    sample.current_coarse = currents && whole_amperes;
    let other_phase = [Q::PHASE_POWER, Q::CURRENT, Q::VOLTAGE]
        .into_iter()
        .any(|group| sample.get(group[1]).is_some() || sample.get(group[2]).is_some());
    if !other_phase {
        // One phase: what is said of all is said of it.
        let one = [
            (Q::PowerL1, sample.get(Q::Power)),
            (Q::CurrentL1, fields.number(names.only_current)?),
            (Q::VoltageL1, fields.number(names.only_voltage)?),
        ];
        for (quantity, value) in one {
            if sample.get(quantity).is_none() {
                sample.put(quantity, value);
            }
        }
    }
    for (name, quantity, divisor) in names.plain {
        let value = fields.number(name)?.map(|it| it / divisor);
        // A mean export is no demand.
        sample.put(*quantity, value.filter(|it| *quantity != Q::Demand || *it >= 0.0));
    }
    sample.complete();
    if sample.is_empty() {
        let why = if sample.notes.is_empty() { "it holds no measurement".to_owned() } else { sample.notes.join("; ") };
        return Err(Malformed::new("", format!("gives no reading: {why}")));
    }
    Ok(sample)
}

/// What a counter of gas, water or heat can show.
fn is_counter(value: &f64) -> bool {
    (0.0..=1e9).contains(value)
}

/// No P1 meter has more behind it.
const MOST_EXTERNAL: usize = 8;

fn externals(fields: &Fields<'_>) -> Result<Vec<External>, Malformed> {
    let mut found = Vec::new();
    for at in 0..fields.list("external")?.len().min(MOST_EXTERNAL) {
        let Some(item) = fields.element("external", at)? else { continue };
        let Some(value) = item.number("value")?.filter(is_counter) else { continue };
        let kind = match item.text("type")? {
            Some("gas_meter") => "gas",
            Some("water_meter" | "warm_water_meter") => "water",
            Some("heat_meter" | "inlet_heat_meter") => "heat",
            _ => "meter",
        };
        let unit = match item.text("unit")? {
            Some("m3") => "m³",
            Some("GJ") => "GJ",
            _ => continue,
        };
        // A number in version 1, a text in version 2.
        let time = match item.number("timestamp") {
            Ok(number) => number.and_then(compact_time),
            Err(_) => item.text("timestamp")?.and_then(iso_time),
        };
        found.push(External { kind, id: short(item.text("unique_id")?.unwrap_or_default()), value, unit, time });
    }
    Ok(found)
}

/// Why a device refuses: `{"error":{"id":202,"description":…}}` in version 1, `{"error":"scope:reason"}` in version 2.
#[must_use]
pub fn error(body: &[u8]) -> Option<String> {
    let map = json::object(body).ok()?;
    match map.get("error")? {
        Value::String(text) => Some(short(text)),
        Value::Object(error) => {
            match (error.get("id").and_then(Value::as_i64), error.get("description").and_then(Value::as_str)) {
                (Some(id), Some(text)) => Some(format!("{} (error {id})", short(text))),
                (None, Some(text)) => Some(short(text)),
                (Some(id), None) => Some(format!("error {id}")),
                (None, None) => None,
            }
        }
        _ => None,
    }
}

/// The API is switched off in the app.
pub const DISABLED: &str = "(error 202)";

/// The token that `POST /api/user` gives.
///
/// # Errors
/// When there is none, or it does not look like one (32 letters and digits).
pub fn token(body: &[u8]) -> Result<String, Malformed> {
    let map = json::object(body)?;
    match Fields::new("", &map).text("token")? {
        Some(token) if is_token(token) => Ok(token.to_owned()),
        Some(_) => Err(Malformed::new("token", "is not 32 letters and digits")),
        None => Err(Malformed::new("token", "is missing")),
    }
}

/// 32 letters and digits.
#[must_use]
pub fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|it| it.is_ascii_alphanumeric())
}

/// A message of the WebSocket of version 2.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// The token is asked for.
    AuthorizationRequested,
    /// The token is good.
    Authorized,
    /// New values.
    Measurement(Box<Measurement>),
    /// The device refuses something.
    Refused(String),
    /// Anything else.
    Other,
}

/// Reads a message of the WebSocket.
///
/// # Errors
/// When it is not as the documentation has it.
pub fn push(text: &[u8]) -> Result<Push, Malformed> {
    let map = json::object(text)?;
    let fields = Fields::new("", &map);
    Ok(match fields.text("type")? {
        Some("authorization_requested") => Push::AuthorizationRequested,
        Some("authorized") => Push::Authorized,
        Some("measurement") => match map.get("data") {
            Some(Value::Object(data)) => Push::Measurement(Box::new(measurement(data)?)),
            _ => return Err(Malformed::new("data", "is no object")),
        },
        Some("error") => {
            let message = match fields.object("data")? {
                Some(data) => data.text("message")?,
                None => None,
            };
            Push::Refused(short(message.unwrap_or("without a reason")))
        }
        _ => Push::Other,
    })
}

fn short(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(80).collect()
}

/// `YYMMDDhhmmss` as a number.
fn compact_time(number: f64) -> Option<i64> {
    (0.0..1e12).contains(&number).then(|| MeterTime::parse(format!("{number:012.0}").as_bytes()))?.map(seconds)
}

/// `2024-06-28T14:12:34`, with or without anything behind it.
fn iso_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes().get(..19)?;
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, shape): (&u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == shape };
    if !bytes.iter().zip(shape).all(fits) || &bytes[..2] != b"20" {
        return None;
    }
    let digits: Vec<u8> = bytes[2..].iter().copied().filter(u8::is_ascii_digit).collect();
    MeterTime::parse(&digits).map(seconds)
}

fn seconds(time: MeterTime) -> i64 {
    time.standard_seconds
}

#[cfg(test)]
mod tests;

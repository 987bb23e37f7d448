//! What MQTT, the page and the demo show of a frame: every register under a key, whatever protocol it came by.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::registers::{BELOW_ZERO, Mapping, Refusal, Registers, in_range, phase_word};
use crate::codec::obis::Obis;
use crate::codec::p1::object;
use crate::codec::register::{self, Form, Register};
use crate::codec::value::{Decimal, Unit};
use crate::status::Value;

/// Home Assistant takes no longer state.
const LONGEST_TEXT: usize = 255;

/// Values by their key.
pub(super) type Values = BTreeMap<Arc<str>, Value>;

/// The key of a known register at this meter.
pub(super) fn key(register: &Register, mapping: &Mapping) -> Arc<str> {
    let mut key = match register.phase {
        Some(phase) => register.key.replace('#', phase_word(mapping.phases[phase])),
        None => register.key.to_owned(),
    };
    if mapping.invert {
        for (own, turned) in [("q1", "q3"), ("q2", "q4"), ("q3", "q1"), ("q4", "q2")] {
            if register.key.contains(own) {
                key = key.replace(own, turned);
            }
        }
        key = if key.contains("import") { key.replace("import", "export") } else { key.replace("export", "import") };
    }
    key.into()
}

/// A number as it counts at this meter: one that holds both directions is turned where the clamps are mounted backwards.
///
/// # Errors
/// The month's peak of import is one of export then, which nobody asked for. A counter never was below zero.
pub(super) fn directed(register: &Register, number: Decimal, mapping: &Mapping) -> Result<Decimal, Refusal> {
    match register.key {
        "peak_month_kw" if mapping.invert => Err(Refusal::Absent),
        key if key.starts_with("energy_") && number.mantissa < 0 => Err(BELOW_ZERO),
        key if mapping.invert && key.starts_with("net_") => {
            Ok(Decimal { mantissa: number.mantissa.saturating_neg(), ..number })
        }
        _ => Ok(number),
    }
}

/// The key of a register without a name: its code.
pub(super) fn unnamed_key(code: Obis) -> Arc<str> {
    let Obis { a, b, c, d, e, f } = code;
    let mut key = format!("obis_{a}_{b}_{c}_{d}_{e}");
    if f != 255 {
        key.push_str(&format!("_{f}"));
    }
    key.into()
}

/// What a register of a frame other than P1 holds.
pub(super) enum Content {
    /// A number, with its unit where it has one that we know.
    Number(Decimal, Option<Unit>),
    /// Anything else.
    Text(String),
}

/// A register with what it holds, as it is published.
///
/// # Errors
/// Where the content does not fit the register.
pub(super) fn published(code: Obis, content: Content, mapping: &Mapping) -> Result<(Arc<str>, Value), Refusal> {
    let Some(register) = register::lookup(code).filter(|_| code.f == 255) else {
        let value = match content {
            Content::Number(number, Some(unit)) => quantity(in_range(number)?, 0, unit),
            Content::Number(number, None) => plain(in_range(number)?),
            Content::Text(text) => Value::Text(short(text)),
        };
        return Ok((unnamed_key(code), value));
    };
    let value = match (register.form, content) {
        (Form::In(wanted), Content::Number(number, Some(unit))) => {
            let power = unit.to(wanted).ok_or(Refusal::Because("a unit that does not fit the register"))?;
            quantity(directed(&register, in_range(number)?, mapping)?, power, wanted)
        }
        (Form::In(_), _) => return Err(Refusal::Because("not a number with a unit")),
        (Form::Number, Content::Number(number, _)) => plain(in_range(number)?),
        (Form::Number, Content::Text(_)) => return Err(Refusal::Because("not a number")),
        (Form::Word | Form::Text, Content::Number(number, _)) => plain(in_range(number)?),
        (Form::Word | Form::Text, Content::Text(text)) => Value::Text(short(text)),
    };
    Ok((key(&register, mapping), value))
}

/// A number multiplied by 10^`power`, with the decimals that it then has.
pub(super) fn quantity(number: Decimal, power: i8, unit: Unit) -> Value {
    let decimals = (i16::from(number.decimals) - i16::from(power)).clamp(0, 12) as u8;
    // One rounding only: digits and decimals as they would be written.
    let value = Decimal { mantissa: number.scaled(power.saturating_add(decimals as i8)), decimals }.as_f64();
    Value::Number { value, unit: unit.symbol(), decimals }
}

pub(super) fn plain(number: Decimal) -> Value {
    Value::Number { value: number.as_f64(), unit: "", decimals: number.decimals }
}

/// What follows from several registers. Totals that the meter does not send are sums; powers and currents get a sign.
pub(super) fn derive(values: &mut Values, registers: &Registers, mapping: &Mapping) {
    let watt = |power: i64| quantity(Decimal { mantissa: power, decimals: 0 }, 0, Unit::Watt(0));
    let mut put = |key: String, value: Option<Value>| {
        if let Some(value) = value {
            values.insert(key.into(), value);
        }
    };
    put("power_w".into(), registers.power_total().map(watt));
    let (power, current) = (registers.phase_power(), registers.signed_current());
    for (n, &phase) in mapping.phases.iter().enumerate() {
        let word = phase_word(phase);
        put(format!("power_{word}_w"), power[n].map(watt));
        let amps = |milliamps| Value::Number {
            value: Decimal { mantissa: milliamps, decimals: 3 }.as_f64(),
            unit: Unit::Ampere.symbol(),
            decimals: registers.current_decimals(),
        };
        put(format!("current_{word}_a"), current[n].map(amps));
    }
    let kilowatt_hours =
        |energy: crate::quantity::WattHour| quantity(Decimal { mantissa: energy.0, decimals: 3 }, 0, Unit::WattHour(3));
    put("energy_import_kwh".into(), registers.energy_import().map(kilowatt_hours));
    put("energy_export_kwh".into(), registers.energy_export().map(kilowatt_hours));
    let net = |values: &Values, plus: &[&str], minus: &[&str]| {
        let sum = |keys: &[&str]| -> Option<f64> {
            keys.iter().map(|key| number(values.get(*key)?)).try_fold(0.0, |sum, value| Some(sum + value?))
        };
        Some(sum(plus)? - sum(minus)?)
    };
    let reactive = net(values, &["reactive_power_import_var"], &["reactive_power_export_var"]).or_else(|| {
        net(
            values,
            &["reactive_power_q1_var", "reactive_power_q2_var"],
            &["reactive_power_q3_var", "reactive_power_q4_var"],
        )
    });
    if let Some(value) = reactive {
        values.insert("reactive_power_var".into(), Value::Number { value, unit: "var", decimals: 0 });
    }
    let apparent = ["apparent_power_import_va", "apparent_power_export_va"].map(|key| values.get(key).and_then(number));
    if let Some(value) = apparent.into_iter().flatten().reduce(f64::max) {
        values.insert("apparent_power_va".into(), Value::Number { value, unit: "VA", decimals: 0 });
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number { value, .. } => Some(*value),
        Value::Text(_) => None,
    }
}

/// A text that came as pairs of hexadecimal digits, or as it is. Bytes 0xFF mean "nothing".
pub(super) fn readable(arg: &[u8]) -> String {
    let arg = object::unfolded(arg);
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let decoded: Option<Vec<u8>> = if arg.len().is_multiple_of(2) {
        arg.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
    } else {
        None
    };
    let printable = |bytes: &[u8]| bytes.iter().all(|byte| (b' '..0x7F).contains(byte));
    match decoded {
        Some(bytes) if bytes.iter().all(|&byte| byte == 0xFF) => String::new(),
        Some(bytes) if printable(&bytes) => object::text(&bytes),
        _ if arg.iter().all(|&byte| byte == 0xFF) => String::new(),
        _ => object::text(&arg),
    }
}

pub(super) fn short(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
    }
    text
}

/// Maker by its three letters (DLMS user association); the letters where it is not known.
pub(super) fn manufacturer(letters: &str) -> &str {
    match letters.to_ascii_uppercase().as_str() {
        "DZG" => "DZG Metering",
        "EBZ" => "eBZ",
        "EFR" => "EFR",
        "ELS" => "Elster",
        "EMH" => "EMH metering",
        "ESY" => "EasyMeter",
        "HAG" => "Hager",
        "ISK" => "Iskraemeco",
        "ITR" => "Itron",
        "LOG" => "Logarex",
        "SIE" => "Siemens",
        "KFM" => "Kaifa",
        "LGF" | "LGZ" | "XMX" => "Landis+Gyr",
        "KAM" | "KMP" => "Kamstrup",
        "SAG" => "Sagemcom",
        "ADN" | "AUX" => "Aidon",
        "HLY" => "Holley",
        _ => letters,
    }
}

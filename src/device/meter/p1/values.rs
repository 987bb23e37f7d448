//! A telegram as MQTT, the page and the demo show it: every register under a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reading::{Mapping, Refusal, Registers, Unusable, in_range, measured, phase_word};
use crate::codec::obis::Obis;
use crate::codec::p1::{Object, Telegram, object};
use crate::codec::register::{self, Form};
use crate::codec::value::{self, Decimal, Unit};
use crate::status::{Identity, Value};

/// Home Assistant takes no longer state.
const LONGEST_TEXT: usize = 255;

/// Values of the electricity meter itself.
pub(super) type Values = BTreeMap<Arc<str>, Value>;

/// Everything of a telegram but what belongs to the meters on its M-Bus.
pub(super) fn values(
    telegram: &Telegram<'_>,
    registers: &Registers,
    mapping: &Mapping,
    mut unusable: impl FnMut(Unusable),
) -> Values {
    let mut values = Values::new();
    // Channel 1 stands back behind channel 0.
    let second = |object: &Object<'_>| (object.obis.a, object.obis.b) == (1, 1);
    let own = || telegram.objects().filter(|object| object.obis.a != 0 || object.obis.b == 0);
    for object in own().filter(|object| !second(object)).chain(own().filter(second)) {
        match published(&object, mapping) {
            // A repeated line stands back behind the first.
            Ok((key, value)) => {
                values.entry(key).or_insert(value);
            }
            Err(Refusal::Because(cause)) => unusable(Unusable::new(&object, cause)),
            Err(Refusal::Absent) => {}
        }
    }
    derive(&mut values, registers, mapping);
    values
}

fn published(object: &Object<'_>, mapping: &Mapping) -> Result<(Arc<str>, Value), Refusal> {
    let Some(register) = register::lookup(object.obis).filter(|_| object.obis.f == 255) else {
        return unnamed(object);
    };
    let mut key = match register.phase {
        Some(phase) => register.key.replace('#', phase_word(mapping.phases[phase])),
        None => register.key.to_owned(),
    };
    if mapping.invert {
        key = if key.contains("import") { key.replace("import", "export") } else { key.replace("export", "import") };
    }
    let value = match register.form {
        Form::In(unit) => in_unit(object, unit)?,
        Form::Number => match object.single().and_then(Decimal::parse) {
            Some(number) => plain(in_range(number)?),
            None if object.single() == Some(b"") => return Err(Refusal::Absent),
            None => return Err(Refusal::Because("not a number")),
        },
        Form::Word => Value::Text(short(object.args().map(object::text).collect::<Vec<_>>().join(" "))),
        Form::Text => Value::Text(short(readable(object.single().unwrap_or_default()))),
    };
    Ok((key.into(), value))
}

fn in_unit(object: &Object<'_>, unit: Unit) -> Result<Value, Refusal> {
    // The month's peak stands behind its time.
    let (number, sent) = match object.single() {
        Some(_) => measured(object)?,
        None => with_time(object)?,
    };
    let power = sent.to(unit).ok_or(Refusal::Because("a unit that does not fit the register"))?;
    Ok(quantity(number, power, unit))
}

fn with_time(object: &Object<'_>) -> Result<(Decimal, Unit), Refusal> {
    let content = object.content();
    let wrong = Refusal::Because("not `number*unit`, with a time before it or without");
    let number = content.decimal().ok_or(wrong)?;
    let unit = content.unit.and_then(Unit::parse).ok_or(wrong)?;
    Ok((in_range(number)?, unit))
}

/// A number multiplied by 10^`power`, with the decimals that it then has.
pub(super) fn quantity(number: Decimal, power: i8, unit: Unit) -> Value {
    let decimals = (i16::from(number.decimals) - i16::from(power)).clamp(0, 12) as u8;
    // One rounding only: digits and decimals as they would be written.
    let value = Decimal { mantissa: number.scaled(power.saturating_add(decimals as i8)), decimals }.as_f64();
    Value::Number { value, unit: unit.symbol(), decimals }
}

fn plain(number: Decimal) -> Value {
    Value::Number { value: number.as_f64(), unit: "", decimals: number.decimals }
}

/// A register without a name: its key is its code, its content is published as it is.
fn unnamed(object: &Object<'_>) -> Result<(Arc<str>, Value), Refusal> {
    let Obis { a, b, c, d, e, f } = object.obis;
    let mut key = format!("obis_{a}_{b}_{c}_{d}_{e}");
    if f != 255 {
        key.push_str(&format!("_{f}"));
    }
    let value = match object.single().and_then(value::number) {
        Some((number, Some(unit))) => match Unit::parse(unit) {
            Some(_) => {
                let (number, unit) = measured(object)?;
                quantity(number, 0, unit)
            }
            None => Value::Text(short(format!("{} {}", number.as_f64(), object::text(unit)))),
        },
        // Digits without a unit may as well be a serial number: as sent.
        _ => Value::Text(short(object.args().map(object::text).collect::<Vec<_>>().join(" "))),
    };
    Ok((key.into(), value))
}

/// What follows from several registers. Totals that the meter does not send are sums; powers and currents get a sign.
fn derive(values: &mut Values, registers: &Registers, mapping: &Mapping) {
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

fn short(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
    }
    text
}

/// Who the meter says it is: header and serial number.
pub(super) fn identity(telegram: &Telegram<'_>) -> Identity {
    const SERIAL: [Obis; 2] = [Obis::new(0, 0, 96, 1, 1), Obis::new(0, 0, 96, 1, 0)];
    let header = object::text(telegram.header());
    let text = |code: Obis| {
        let object = telegram.objects().find(|object| object.obis == code)?;
        Some(short(readable(object.single()?))).filter(|text| !text.is_empty())
    };
    // `/XXXZtype`: Z is the baud letter.
    Identity {
        manufacturer: header.get(1..4).map(|letters| manufacturer(letters).to_owned()),
        model: header.get(5..).map(|model| short(model.trim().to_owned())).filter(|model| !model.is_empty()),
        serial: SERIAL.into_iter().find_map(text),
        firmware: text(Obis::new(1, 0, 0, 2, 0)),
    }
}

/// Maker by its three letters (DLMS user association); the letters where it is not known.
fn manufacturer(letters: &str) -> &str {
    match letters.to_ascii_uppercase().as_str() {
        "ISK" => "Iskraemeco",
        "KFM" => "Kaifa",
        "LGF" | "LGZ" | "XMX" => "Landis+Gyr",
        "KAM" | "KMP" => "Kamstrup",
        "SAG" => "Sagemcom",
        "ADN" | "AUX" => "Aidon",
        "HLY" => "Holley",
        _ => letters,
    }
}

//! A telegram as MQTT, the page and the demo show it: every register under a key.

use std::sync::Arc;

use super::reading::{self, measured};
use crate::codec::obis::Obis;
use crate::codec::p1::{Object, Telegram, object};
use crate::codec::register::{self, Form, Register};
use crate::codec::value::{self, Decimal, Unit};
use crate::device::meter::registers::{Mapping, Refusal, Registers, Unusable, in_range};
use crate::device::meter::values::{
    Values, derive, directed, key, manufacturer, plain, quantity, readable, short, unnamed_key,
};
use crate::status::{Identity, Value};

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
            Err(Refusal::Because(cause)) => unusable(reading::unusable(&object, cause)),
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
    let value = match register.form {
        Form::In(unit) => in_unit(object, unit, &register, mapping)?,
        Form::Number => match object.single().and_then(Decimal::parse) {
            Some(number) => plain(in_range(number)?),
            None if object.single() == Some(b"") => return Err(Refusal::Absent),
            None => return Err(Refusal::Because("not a number")),
        },
        Form::Word => Value::Text(short(object.args().map(object::text).collect::<Vec<_>>().join(" "))),
        Form::Text => Value::Text(short(readable(object.single().unwrap_or_default()))),
    };
    Ok((key(&register, mapping), value))
}

fn in_unit(object: &Object<'_>, unit: Unit, register: &Register, mapping: &Mapping) -> Result<Value, Refusal> {
    // The month's peak stands behind its time.
    let (number, sent) = match object.single() {
        Some(_) => measured(object)?,
        None => with_time(object)?,
    };
    let power = sent.to(unit).ok_or(Refusal::Because("a unit that does not fit the register"))?;
    Ok(quantity(directed(register, number, mapping)?, power, unit))
}

fn with_time(object: &Object<'_>) -> Result<(Decimal, Unit), Refusal> {
    let content = object.content();
    let wrong = Refusal::Because("not `number*unit`, with a time before it or without");
    let number = content.decimal().ok_or(wrong)?;
    let unit = content.unit.and_then(Unit::parse).ok_or(wrong)?;
    Ok((in_range(number)?, unit))
}

/// A register without a name: its key is its code, its content is published as it is.
fn unnamed(object: &Object<'_>) -> Result<(Arc<str>, Value), Refusal> {
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
    Ok((unnamed_key(object.obis), value))
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

//! A telegram as the controller needs it.

use crate::codec::obis::Obis;
use crate::codec::p1::{Object, Telegram, object};
use crate::codec::value::{self, Decimal, MeterTime, Unit};
use crate::device::meter::registers::{Mapping, NO_NUMBER, Refusal, Registers, Unusable, in_range};
use crate::quantity::Mono;
use crate::reading::MeterReading;

/// When the telegram was made.
const TIME: Obis = Obis::new(0, 0, 1, 0, 0);

/// Names a register that is left out.
pub(super) fn unusable(object: &Object<'_>, cause: &'static str) -> Unusable {
    let content = object.args().map(object::text).collect::<Vec<_>>().join(")(");
    Unusable::new(object.obis, &content, cause)
}

/// The number of a one-bracket object and its unit.
pub(super) fn measured(object: &Object<'_>) -> Result<(Decimal, Unit), Refusal> {
    let arg = object.single().ok_or(NO_NUMBER)?;
    if arg.is_empty() {
        return Err(Refusal::Absent);
    }
    let (number, unit) = match value::number(arg) {
        Some((number, Some(unit))) => (number, Unit::parse(unit).ok_or(NO_NUMBER)?),
        _ => return Err(NO_NUMBER),
    };
    in_range(number).map(|number| (number, unit))
}

/// Reads all registers; those that cannot be used are handed to `leave_out`.
pub(super) fn registers(telegram: &Telegram<'_>, invert: bool, mut leave_out: impl FnMut(Unusable)) -> Registers {
    let mut registers = Registers::default();
    for object in telegram.objects() {
        if object.obis == TIME {
            registers.time = registers.time.or_else(|| object.single().and_then(MeterTime::parse));
        } else if let Err(Refusal::Because(cause)) = registers.take(object.obis, || measured(&object)) {
            leave_out(unusable(&object, cause));
        }
    }
    if invert {
        registers.invert();
    }
    registers
}

/// What the controller needs of a telegram that passed its check; `unusable` hears of registers that are left out.
///
/// Power is import minus export (P1 sends both without a sign). Currents carry no direction unless the meter sends a
/// negative one. Energy is the total or, where there is none, the sum of the tariffs.
pub fn reading(
    telegram: &Telegram<'_>,
    mapping: &Mapping,
    received_at: Mono,
    unusable: impl FnMut(Unusable),
) -> MeterReading {
    registers(telegram, mapping.invert, unusable).reading(mapping, received_at)
}

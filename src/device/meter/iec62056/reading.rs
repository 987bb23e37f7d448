//! A readout as the controller and the views need it.

use crate::codec::iec62056::{DataSet, Item, Readout, obis};
use crate::codec::obis::Obis;
use crate::codec::p1::object;
use crate::codec::value::{Decimal, Unit};
use crate::device::ToControl;
use crate::device::meter::collect::Collect;
use crate::device::meter::registers::{Mapping, Unusable};
use crate::device::meter::values::{manufacturer, quantity, short};
use crate::quantity::Mono;
use crate::status::Identity;

/// Serial number, best first.
const SERIAL: [Obis; 3] = [Obis::new(0, 0, 96, 1, 0), Obis::new(1, 0, 96, 1, 0), Obis::new(1, 0, 0, 0, 0)];
const FIRMWARE: Obis = Obis::new(1, 0, 0, 2, 0);
/// Heat and volume of a heat meter, which leaves its medium out.
const HEAT: (u8, u8, u8) = (6, 8, 0);
const VOLUME: (u8, u8, u8) = (6, 26, 0);

/// Data sets with a code. Those of billing periods are history: they never stand for the present.
fn present<'a>(readout: &Readout<'a>) -> impl Iterator<Item = (Obis, DataSet<'a>)> {
    readout.items().filter_map(|item| match item {
        Item::DataSet(set) => obis(set.address).filter(|code| code.f == 255).map(|code| (code, set)),
        Item::Unparsed(_) => None,
    })
}

fn measured(set: &DataSet<'_>) -> Option<(Decimal, Unit)> {
    let (_, unit) = set.number()?;
    Some((set.decimal()?, Unit::parse(unit?)?))
}

/// The message for the control thread, and the registers that were left out.
pub(super) fn understand(
    readout: &Readout<'_>,
    mapping: &Mapping,
    meter: usize,
    received_at: Mono,
) -> (ToControl, Vec<Unusable>) {
    let heat = present(readout).any(|(code, set)| is_heat(code, &set));
    let mut collect = Collect::new(mapping);
    for (mut code, set) in present(readout) {
        if SERIAL.contains(&code) || code == FIRMWARE {
            continue;
        }
        // Only an address that leaves its medium out can mean another one.
        if heat && code.a == 1 && !set.address.contains(&b':') {
            code.a = 6;
        }
        match (code.a, measured(&set)) {
            (6, Some((number, unit))) if heat_value(&mut collect, code, number, unit) => {}
            (_, Some((number, unit))) => collect.number(code, number, Some(unit)),
            (_, None) => other(&mut collect, code, &set),
        }
    }
    collect.finish(meter, received_at, identity(readout))
}

/// `6.8` is heat where its unit is one of heat; on an electricity meter it is reactive energy.
fn is_heat(code: Obis, set: &DataSet<'_>) -> bool {
    let unit = || measured(set).map(|(_, unit)| unit.split().0);
    (code.c, code.d, code.e) == HEAT && matches!(unit(), Some(Unit::WattHour(_) | Unit::Joule(_)))
}

/// Heat and volume under the keys that meters behind a P1 port have them too; `false` for any other register.
fn heat_value(collect: &mut Collect<'_>, code: Obis, number: Decimal, unit: Unit) -> bool {
    let (key, target) = match ((code.c, code.d, code.e), unit.split().0) {
        (HEAT, Unit::Joule(_)) => ("energy_gj", Unit::Joule(9)),
        (HEAT, Unit::WattHour(_)) => ("energy_kwh", Unit::WattHour(3)),
        (VOLUME, Unit::CubicMetre) => ("volume_m3", Unit::CubicMetre),
        _ => return false,
    };
    match unit.to(target) {
        Some(power) => collect.value(key, quantity(number, power, target)),
        None => return false,
    }
    true
}

/// A data set that is no number with a unit that we know.
fn other(collect: &mut Collect<'_>, code: Obis, set: &DataSet<'_>) {
    let shown = set.args().map(|arg| object::text(arg.trim_ascii())).collect::<Vec<_>>().join(" ");
    match (set.number(), set.decimal()) {
        // Hager and EMH push meters leave the kWh of their counters away.
        (Some((_, None)), Some(number)) if code.d == 8 && matches!(code.c, 1 | 2) => {
            collect.number(code, number, Some(Unit::WattHour(3)));
        }
        // Two values in one bracket are no number with a unit.
        (Some((_, Some(unit))), Some(number)) if !unit.contains(&b'&') => {
            collect.text(code, format!("{} {}", number.as_f64(), object::text(unit)).trim().to_owned());
        }
        _ => collect.text(code, shown.trim().to_owned()),
    }
}

fn identity(readout: &Readout<'_>) -> Identity {
    let text = |code: Obis| {
        let (_, set) = present(readout).find(|(found, _)| *found == code)?;
        let text = short(object::text(set.args().next()?.trim_ascii()));
        (!text.is_empty()).then_some(text)
    };
    let found = readout.identification();
    Identity {
        manufacturer: found.map(|it| manufacturer(&object::text(it.maker)).to_owned()),
        model: found.map(|it| object::text(it.kind).trim().to_owned()).filter(|model| !model.is_empty()),
        serial: SERIAL.into_iter().find_map(text),
        firmware: text(FIRMWARE),
    }
}

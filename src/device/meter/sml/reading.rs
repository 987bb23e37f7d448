//! A frame as the controller and the views need it.

use crate::codec::obis::Obis;
use crate::codec::sml::{Entry, Frame, Value};
use crate::codec::value::Unit;
use crate::device::ToControl;
use crate::device::meter::collect::Collect;
use crate::device::meter::registers::{Mapping, Unusable};
use crate::device::meter::values::manufacturer;
use crate::quantity::Mono;
use crate::status::Identity;

use super::direction;

const NET_POWER: Obis = Obis::new(1, 0, 16, 7, 0);
/// Power as a size (older EMH meters).
const ABSOLUTE_POWER: Obis = Obis::new(1, 0, 15, 7, 0);
/// Signed power under the code of a tariff (EMH eHZ361).
const TARIFF_POWER: Obis = Obis::new(1, 0, 1, 7, 1);
const MAKER: [Obis; 2] = [Obis { f: 1, ..Obis::new(1, 0, 96, 50, 1) }, Obis::new(129, 129, 199, 130, 3)];
const SERVER: [Obis; 2] = [Obis::new(1, 0, 96, 1, 0), Obis::new(1, 0, 0, 0, 9)];
const SERIAL: [Obis; 2] = [Obis::new(1, 0, 0, 0, 0), Obis::new(0, 0, 96, 1, 255)];
const FIRMWARE: [Obis; 2] = [Obis { f: 0, ..Obis::new(1, 0, 0, 2, 0) }, Obis::new(1, 0, 0, 2, 0)];
/// Powers of L1, L2, L3.
const PHASE_POWER: [Obis; 3] = [Obis::new(1, 0, 36, 7, 0), Obis::new(1, 0, 56, 7, 0), Obis::new(1, 0, 76, 7, 0)];

/// Entries of a frame that passed its check.
fn entries<'a>(frame: &Frame<'a>) -> impl Iterator<Item = Entry<'a>> {
    frame.entries().filter_map(Result::ok)
}

fn octets<'a>(frame: &Frame<'a>, codes: &[Obis]) -> Option<&'a [u8]> {
    let mut found = codes.iter().filter_map(|code| {
        entries(frame).find_map(|entry| match entry.value {
            Value::Octets(bytes) if entry.obis == *code && !bytes.is_empty() => Some(bytes),
            _ => None,
        })
    });
    found.next()
}

/// The message for the control thread, and the registers that were left out.
pub(super) fn understand(
    frame: &Frame<'_>,
    mapping: &Mapping,
    meter: usize,
    received_at: Mono,
) -> (ToControl, Vec<Unusable>) {
    let server = octets(frame, &SERVER).or_else(|| frame.server());
    let maker = letters(frame);
    let has_energy = |c: u8| entries(frame).any(|entry| entry.obis.c == c && entry.obis.d == 8);
    let (imports, exports) = (has_energy(1), has_energy(2));
    // The status word stands with the energy.
    let status = entries(frame).find_map(|entry| entry.status.filter(|_| entry.obis.d == 8));
    let phases_fit = !direction::is_suspect(maker) || phases_add_up(frame, maker, status);
    let mut collect = Collect::new(mapping);
    for entry in entries(frame) {
        let Some(number) = entry.decimal() else { continue };
        let (mut code, mut number, unit) = (entry.obis, number, entry.unit());
        if entry.unit_code.is_none() {
            // Counters and words of the maker's own.
            continue;
        }
        match (code, entry.value) {
            (NET_POWER, Value::Int(raw, width)) => {
                let scaled =
                    Entry { value: Value::Int(direction::net_power(maker, status, raw, width), width), ..entry };
                number = scaled.decimal().unwrap_or(number);
            }
            (TARIFF_POWER, _) => code = NET_POWER,
            (ABSOLUTE_POWER, _) => {
                code = NET_POWER;
                let Some(signed) = direction::absolute_power(status, imports, exports, number.mantissa) else {
                    collect.leave_out(
                        ABSOLUTE_POWER,
                        &number.as_f64().to_string(),
                        "a power without sign, and no status word that tells its direction",
                    );
                    continue;
                };
                number.mantissa = signed;
            }
            (code, _) if !phases_fit && PHASE_POWER.contains(&code) => {
                collect.leave_out(
                    code,
                    &number.as_f64().to_string(),
                    "the phases of this make do not add up to its total: a wrong sign",
                );
                continue;
            }
            _ => {}
        }
        collect.number(code, number, unit);
    }
    let identity = Identity {
        manufacturer: maker.and_then(text).map(|letters| manufacturer(letters).to_owned()),
        model: None,
        serial: server.map(server_id).or_else(|| octets(frame, &SERIAL).and_then(text).map(str::to_owned)),
        firmware: octets(frame, &FIRMWARE).and_then(text).map(str::to_owned),
    };
    collect.finish(meter, received_at, identity)
}

/// Three letters of the maker: named, or in the server's identification.
fn letters<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    let server = || match octets(frame, &SERVER).or_else(|| frame.server())? {
        [_, _, letters @ .., _, _, _, _, _] if letters.len() == 3 => Some(letters),
        _ => None,
    };
    octets(frame, &MAKER).filter(|it| it.len() == 3).or_else(server)
}

/// Single phases come with the same wrong signs as the total, and no word that tells their direction. They are believed
/// when they add up to the total, within what it moves between two samples.
fn phases_add_up(frame: &Frame<'_>, maker: Option<&[u8]>, status: Option<u64>) -> bool {
    const APART_W: i64 = 50;
    let watts = |code: Obis| {
        let entry = entries(frame).find(|entry| entry.obis == code)?;
        let entry = match entry.value {
            Value::Int(raw, width) if code == NET_POWER => {
                Entry { value: Value::Int(direction::net_power(maker, status, raw, width), width), ..entry }
            }
            _ => entry,
        };
        Some(entry.decimal()?.scaled(0))
    };
    let Some(total) = watts(NET_POWER) else { return false };
    let sum: i64 = PHASE_POWER.into_iter().filter_map(watts).fold(0, i64::saturating_add);
    sum.saturating_sub(total).saturating_abs() <= APART_W
}

/// The number on the meter's plate (DIN 43863-5): medium, maker, block, number; hexadecimal where it is none.
fn server_id(id: &[u8]) -> String {
    match *id {
        [_, medium @ 1..=9, a, b, c, block, n1, n2, n3, n4] if [a, b, c].iter().all(u8::is_ascii_uppercase) => {
            let number = u32::from_be_bytes([n1, n2, n3, n4]);
            format!("{medium}{}{}{}{block:02X}{number:08}", char::from(a), char::from(b), char::from(c))
        }
        _ => id.iter().map(|byte| format!("{byte:02X}")).collect(),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(|it| !it.is_control())).map(str::trim)
}

/// What an operator should know of a frame that is nevertheless good.
pub(super) fn note(frame: &Frame<'_>) -> Option<&'static str> {
    let power = entries(frame).any(|entry| entry.unit() == Some(Unit::Watt(0)));
    let coarse = entries(frame).any(|entry| entry.unit() == Some(Unit::WattHour(0)) && entry.scaler == Some(3));
    (coarse && !power).then_some(
        "the meter sends whole kWh and no power: unlock it with its PIN and switch the long data set (InF) on",
    )
}

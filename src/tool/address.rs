//! Whether a write changes the address at which a device answers.
//!
//! Every device that is powered and answers at the old address takes the new one, and two devices at one address cannot be
//! told apart again without opening a panel. So a person is asked whether only one is powered.

use crate::codec::model::{Kind, WordOrder};

/// Address register of EVSE-DIN and EVSE-WB (IoTMeter's manual, README of SimpleEVSE-WiFi). 0 there switches Modbus off.
const EVSE: u16 = 2001;

/// An address as a device may hold it: a whole register, or a number of 32 bits as Eastron meters have it.
pub(super) fn of(words: &[u16]) -> Option<u8> {
    let number = match words {
        [word] => f64::from(*word),
        [_, _] => Kind::F32.read(words, WordOrder::HighFirst)?,
        _ => return None,
    };
    (1..=247_u8).find(|it| f64::from(*it) == number)
}

/// Why a write may change the address of the device at `unit`, for people. `now`: what the registers hold, where they can
/// be read.
pub(super) fn suspicion(unit: u8, register: u16, now: Option<&[u16]>, values: &[u16]) -> Option<String> {
    let last = usize::from(register) + values.len().saturating_sub(1);
    if (usize::from(register)..=last).contains(&usize::from(EVSE)) && now != Some(values) {
        return Some(format!("register {EVSE} holds the bus address of an EVSE-DIN or EVSE-WB"));
    }
    let holds = now.and_then(of).is_some_and(|it| it == unit);
    let moves = of(values).is_some_and(|it| it != unit);
    (holds && moves).then(|| format!("register {register} holds {unit}, as the device's own bus address would"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_suspected_where_it_is_known_or_looks_like_one() {
        let asks =
            |unit, register, now: Option<&[u16]>, values: &[u16]| suspicion(unit, register, now, values).is_some();
        assert!(asks(1, 2001, Some(&[1]), &[2]));
        assert!(asks(1, 2001, None, &[0]), "0 switches Modbus off");
        assert!(asks(1, 2000, Some(&[32, 1]), &[6, 2]), "among others");
        assert!(!asks(1, 2001, Some(&[1]), &[1]), "nothing changes");
        assert!(!asks(1, 2000, Some(&[32]), &[6]));
        assert!(asks(3, 20, Some(&[3]), &[4]));
        assert!(asks(3, 20, Some(&[0x4040, 0]), &[0x4080, 0]), "3.0 to 4.0");
        assert!(!asks(3, 20, Some(&[4]), &[5]), "not its own");
        assert!(!asks(3, 20, Some(&[3]), &[0]) && !asks(3, 20, Some(&[3]), &[300]), "no address");
        assert!(!asks(3, 20, None, &[4]), "nobody knows");
    }
}

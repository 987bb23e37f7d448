//! Register map of the evracing EVSE-DIN and EVSE-WB (RS-485, 9600 8N1, unit 1 from the factory).
//!
//! Sources: the register lists of the public SimpleEVSE-WiFi and openWB projects and the maker's short manual; there is
//! no complete manual. Unverified and therefore handled tolerantly: whether register 1001 and 2000 follow the 0.01 A
//! mode of register 1000 (a current says its own unit, see [`Current`]), from which firmware on bit 7 of register 2005
//! exists (17 or 18: it is read back after writing), and whether single or multiple writes are taken (both are tried).

use crate::device::charger::register::{MAX_AMPS, MIN_AMPS, MISSING, RegisterError};
use crate::quantity::Milliamp;
use crate::reading::{Flags, PilotState};

/// First register of the poll: configured amps.
pub const SET_POINT: u16 = 1000;
/// Registers of the poll: configured amps, amps output, vehicle state.
pub const POLL_COUNT: u16 = 3;
/// Current that the cable's proximity resistor allows.
pub const CABLE: u16 = 1003;
/// Firmware revision.
pub const FIRMWARE: u16 = 1005;
/// Current after boot, kept in EEPROM.
pub const BOOT_CURRENT: u16 = 2000;
/// Configuration bits.
pub const CONFIG: u16 = 2005;
/// Bit of [`CONFIG`] that makes [`SET_POINT`] count in 0.01 A.
pub const FINE_BIT: u16 = 1 << 7;
/// First firmware that is said to have [`FINE_BIT`].
pub const FINE_FROM_FIRMWARE: u16 = 17;

/// What state 5 says, in the shape of a fault register.
pub const FAULTS: &[&str] = &["vehicle state 5: failure (diode check or control pilot)", "vehicle state unknown"];

/// A current as the charger gives it. Whole amperes end at 80 and hundredths begin at 600 (6 A), so the value itself
/// says in which unit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// The current.
    pub amps: Milliamp,
    /// Whether it came in 0.01 A; `None` for zero, which is the same in both.
    pub fine: Option<bool>,
    /// It is none of 0 and 6 to 80 A.
    pub odd: bool,
}

impl Current {
    /// From the wire.
    ///
    /// # Errors
    /// Above 80.00 A, which no pilot can offer.
    pub fn decode(register: u16, name: &'static str, word: u16) -> Result<Self, RegisterError> {
        let fine = match word {
            0 => None,
            1..=MAX_AMPS => Some(false),
            81..=8000 => Some(true),
            _ => {
                return Err(RegisterError {
                    register,
                    name,
                    value: i64::from(word),
                    allowed: "0, 6 to 80 A, or 600 to 8000 (0.01 A)",
                });
            }
        };
        let unit = if fine == Some(true) { 10 } else { 1000 };
        let amps = Milliamp(i32::from(word) * unit);
        Ok(Self { amps, fine, odd: word != 0 && amps < Milliamp::from_amps(i32::from(MIN_AMPS)) })
    }
}

/// The wire's form of a set-point in whole or hundredths of amperes.
///
/// # Errors
/// The set-point itself when it is none of 0 and 6 to 80 A.
pub fn encode(set_point: Milliamp, fine: bool) -> Result<u16, Milliamp> {
    let range = Milliamp::from_amps(i32::from(MIN_AMPS))..=Milliamp::from_amps(i32::from(MAX_AMPS));
    if set_point != Milliamp::ZERO && !range.contains(&set_point) {
        return Err(set_point);
    }
    u16::try_from(set_point.0 / if fine { 10 } else { 1000 }).map_err(|_| set_point)
}

/// Registers 1000 to 1002.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// Register 1000.
    pub set_point: Current,
    /// Register 1001: what the pilot offers.
    pub offered: Option<Milliamp>,
    /// Register 1002.
    pub state: PilotState,
    /// State 5 or one outside the table.
    pub fault: Flags,
    /// What was not as documented.
    pub complaints: Vec<RegisterError>,
}

impl Poll {
    /// From the answer to a read of [`POLL_COUNT`] registers from [`SET_POINT`] on.
    ///
    /// # Errors
    /// When set-point or state have no value, or the set-point is above what any pilot can offer.
    pub fn decode(words: [u16; POLL_COUNT as usize]) -> Result<Self, RegisterError> {
        let [set_point, output, state] = words;
        let mut complaints = Vec::new();
        let set_point = Current::decode(SET_POINT, "configured amps", set_point)?;
        if set_point.odd {
            complaints.push(RegisterError {
                register: SET_POINT,
                name: "configured amps",
                value: i64::from(words[0]),
                allowed: "0, 6 to 80 A, or 600 to 8000 (0.01 A)",
            });
        }
        let offered = if output == MISSING {
            None
        } else {
            match Current::decode(1001, "amps output", output) {
                Ok(current) => Some(current.amps),
                Err(complaint) => {
                    complaints.push(complaint);
                    None
                }
            }
        };
        let unknown = RegisterError {
            register: 1002,
            name: "vehicle state",
            value: i64::from(state),
            allowed: "1 ready, 2 car present, 3 charging, 4 charging with ventilation, 5 failure",
        };
        let (state, fault) = match state {
            1 => (PilotState::A, 0),
            2 => (PilotState::B, 0),
            3 | 4 => (PilotState::C, 0),
            5 => (PilotState::F, 1),
            MISSING => return Err(unknown),
            _ => {
                complaints.push(unknown);
                (PilotState::F, 2)
            }
        };
        Ok(Self { set_point, offered, state, fault: Flags { bits: Some(fault), names: FAULTS }, complaints })
    }
}

/// Register 1003: what the cable may carry; `None` while no cable is recognised (0) or the register has no value.
///
/// On a charger with more than one phase a 20 A cable is used with 16 A only, as openWB does (`several_phases`).
///
/// # Errors
/// For anything but 0 and 6 to 80 A.
pub fn cable_limit(word: u16, several_phases: bool) -> Result<Option<Milliamp>, RegisterError> {
    match word {
        0 | MISSING => Ok(None),
        20 if several_phases => Ok(Some(Milliamp::from_amps(16))),
        MIN_AMPS..=MAX_AMPS => Ok(Some(Milliamp::from_amps(i32::from(word)))),
        _ => {
            Err(RegisterError { register: CABLE, name: "cable limit", value: i64::from(word), allowed: "0, 6 to 80 A" })
        }
    }
}

/// The standing risk of a charger that would offer more after a restart than it may when we are gone; `None` when the
/// current after boot is not above `fail_safe`.
#[must_use]
pub fn boot_risk(unit: u8, boot: Current, fail_safe: Milliamp) -> Option<String> {
    if boot.amps <= fail_safe {
        return None;
    }
    let unit_of_value = if boot.fine == Some(true) { 10 } else { 1000 };
    Some(format!(
        "after a power cut it offers {} by itself (register {BOOT_CURRENT}), more than its fail-safe \
         current of {fail_safe}, and it has no watchdog. Write {} to register {BOOT_CURRENT} of unit {unit} once, with \
         an installer's Modbus tool.",
        boot.amps,
        fail_safe.0 / unit_of_value,
    ))
}

/// The standing risk of a charger whose current after boot cannot be told.
#[must_use]
pub fn boot_unknown(unit: u8, why: &str) -> String {
    format!(
        "boot current unknown: {why}. What it offers after a power cut stands in register {BOOT_CURRENT} of unit {unit}, \
         and it has no watchdog: find out once, by switching it off and on with no car plugged."
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amps(amps: i32) -> Milliamp {
        Milliamp::from_amps(amps)
    }

    #[test]
    fn each_vehicle_state_has_its_pilot_state() {
        for (code, state, fault) in [
            (1, PilotState::A, 0),
            (2, PilotState::B, 0),
            (3, PilotState::C, 0),
            (4, PilotState::C, 0),
            (5, PilotState::F, 1),
            (0, PilotState::F, 2),
            (6, PilotState::F, 2),
        ] {
            let poll = Poll::decode([6, 6, code]).unwrap();
            assert_eq!((poll.state, poll.fault.bits), (state, Some(fault)), "state {code}");
            assert_eq!(poll.complaints.is_empty(), (1..=5).contains(&code), "state {code}");
        }
        assert_eq!(Poll::decode([6, 6, 5]).unwrap().fault.to_string(), FAULTS[0]);
    }

    #[test]
    fn a_register_without_a_value_is_no_poll() {
        assert_eq!(Poll::decode([MISSING, 6, 2]).unwrap_err().register, SET_POINT);
        assert_eq!(Poll::decode([6, 6, MISSING]).unwrap_err().register, 1002);
        assert_eq!(Poll::decode([6, MISSING, 2]).unwrap().offered, None);
    }

    #[test]
    fn a_current_says_its_own_unit() {
        let decode = |word| Current::decode(SET_POINT, "configured amps", word).unwrap();
        assert_eq!(decode(0), Current { amps: Milliamp::ZERO, fine: None, odd: false });
        assert_eq!(decode(6), Current { amps: amps(6), fine: Some(false), odd: false });
        assert_eq!(decode(80), Current { amps: amps(80), fine: Some(false), odd: false });
        assert_eq!(decode(600), Current { amps: amps(6), fine: Some(true), odd: false });
        assert_eq!(decode(975), Current { amps: Milliamp(9750), fine: Some(true), odd: false });
        assert_eq!(decode(8000), Current { amps: amps(80), fine: Some(true), odd: false });
        assert!(decode(5).odd && decode(599).odd);
        assert!(Current::decode(SET_POINT, "configured amps", 8001).is_err());
    }

    #[test]
    fn an_odd_set_point_is_shown_and_named() {
        let poll = Poll::decode([3, 0, 2]).unwrap();
        assert_eq!(poll.set_point.amps, amps(3));
        assert_eq!(poll.complaints[0].register, SET_POINT);
    }

    #[test]
    fn only_what_the_pilot_can_say_is_encoded() {
        assert_eq!(encode(Milliamp(9750), true), Ok(975));
        assert_eq!(encode(Milliamp(9750), false), Ok(9));
        assert_eq!(encode(Milliamp::ZERO, true), Ok(0));
        for wrong in [Milliamp(5999), Milliamp(1000), Milliamp(80_001), Milliamp(-6000)] {
            assert_eq!(encode(wrong, false), Err(wrong));
        }
    }

    #[test]
    fn a_20_a_cable_carries_16_a_on_several_phases() {
        assert_eq!(cable_limit(20, true), Ok(Some(amps(16))));
        assert_eq!(cable_limit(20, false), Ok(Some(amps(20))));
        assert_eq!(cable_limit(32, true), Ok(Some(amps(32))));
        assert_eq!(cable_limit(0, true), Ok(None));
        assert!(cable_limit(3, true).is_err() && cable_limit(81, true).is_err());
    }

    #[test]
    fn a_boot_current_above_the_fail_safe_current_is_a_risk_that_says_what_to_write() {
        let boot = |word| Current::decode(BOOT_CURRENT, "current after boot", word).unwrap();
        let risk = boot_risk(3, boot(32), amps(6)).unwrap();
        assert!(risk.contains("offers 32 A") && risk.contains("Write 6 to register 2000 of unit 3"), "{risk}");
        let risk = boot_risk(3, boot(3200), amps(6)).unwrap();
        assert!(risk.contains("offers 32 A") && risk.contains("Write 600 to register 2000"), "{risk}");
        assert_eq!(boot_risk(3, boot(6), amps(6)), None);
        assert_eq!(boot_risk(3, boot(0), Milliamp::ZERO), None);
    }

    proptest! {
        #[test]
        fn no_content_panics(words in any::<[u16; 3]>(), cable in any::<u16>(), several in any::<bool>()) {
            if let Ok(poll) = Poll::decode(words) {
                prop_assert!(poll.set_point.amps <= amps(80));
                prop_assert_eq!(poll.state == PilotState::A, words[2] == 1);
            }
            let _ = cable_limit(cable, several);
        }

        #[test]
        fn what_is_encoded_decodes_to_the_same(hundredths in 600_i32..=8000) {
            let set_point = Milliamp(hundredths * 10);
            let word = encode(set_point, true).unwrap();
            prop_assert_eq!(Current::decode(SET_POINT, "", word).unwrap().amps, set_point);
        }
    }
}

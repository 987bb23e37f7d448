//! What the chargers' register codecs share.

use std::fmt;

use crate::command::LEAST_OFFER;
use crate::quantity::Milliamp;

/// What many devices answer for a register that has no value.
pub(super) const MISSING: u16 = 0xFFFF;

/// Lowest current that IEC 61851-1 lets a charger offer, in A; below it there is only 0.
pub(super) const MIN_AMPS: u16 = (LEAST_OFFER.0 / 1000) as u16;

/// Highest current that the pilot of IEC 61851-1 can offer, in A.
pub(super) const MAX_AMPS: u16 = 80;

/// A register that holds what its manual does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct RegisterError {
    /// Its address as in the manual, which is also the address on the wire.
    pub register: u16,
    /// Its name in the manual.
    pub name: &'static str,
    /// What came; signed where the manual says so, several words joined where they belong together.
    pub value: i64,
    /// What is allowed, in raw units.
    pub allowed: &'static str,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { register, name, value, allowed } = self;
        write!(f, "register {register} ({name}) holds {value}, allowed is {allowed}")
    }
}

/// `offer` as a charger with steps of `step` may be told it: never above what was ordered, never 1 to 5 A.
pub(super) fn settable(offer: Milliamp, step: Milliamp, max: Milliamp) -> Milliamp {
    let floored = offer.min(max).floor_to(step);
    if floored < Milliamp::from_amps(i32::from(MIN_AMPS)) { Milliamp::ZERO } else { floored }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_error_names_register_value_and_what_is_allowed() {
        let error = RegisterError { register: 6, name: "EVSE status", value: 12, allowed: "0 to 9" };
        assert_eq!(error.to_string(), "register 6 (EVSE status) holds 12, allowed is 0 to 9");
    }

    proptest! {
        #[test]
        fn a_settable_current_is_zero_or_at_least_six_and_never_above_order_or_maximum(
            offer in any::<i32>(), step in prop_oneof![Just(10), Just(1000)], max in 6000..80_000_i32,
        ) {
            let settable = settable(Milliamp(offer), Milliamp(step), Milliamp(max));
            prop_assert!(settable == Milliamp::ZERO || settable >= Milliamp(6000));
            prop_assert!(settable <= Milliamp(max) && settable <= Milliamp(offer.max(0)));
            prop_assert_eq!(settable.0 % step, 0);
        }
    }
}

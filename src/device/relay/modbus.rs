//! A coil or a register of a relay board.
//!
//! Boards of the Waveshare kind switch a coil for a given time and then back: function 5 at 0x0200 + coil ("flash on")
//! or 0x0400 + coil ("flash off") with the time in tenths of a second. With `pulse_s` that is the timer which acts when
//! we are gone.

use std::time::Duration;

use super::Switch;
use crate::device::voice::Trouble;
use crate::link::modbus::{Bus, BusError, Operation, Priority, Reply};
use crate::quantity::Span;

/// Time for an answer; a serial bus shortens that of a read.
const LIMIT: Duration = Duration::from_millis(500);
/// It is looked at so often.
const PERIOD: Span = Span::from_secs(2);
const FLASH_ON: u16 = 0x0200;
const FLASH_OFF: u16 = 0x0400;
/// Highest coil that can be pulsed: the two ranges must not run into each other.
pub(crate) const HIGHEST_PULSED: u16 = 0x00FE;
/// Longest time of a pulse.
pub(crate) const LONGEST_PULSE: Span = Span(6_553_500);

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Functions 1 and 5, by its address on the wire.
    Coil(u16),
    /// Functions 3 and 6: 1 is on, 0 is off.
    Register(u16),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Coil {
    bus: Bus,
    unit: u8,
    place: Place,
    /// Length of a pulse, and the state that needs none.
    pulse: Option<(Span, bool)>,
}

impl Coil {
    pub(super) fn new(bus: Bus, unit: u8, place: Place, pulse: Option<(Span, bool)>) -> Self {
        Self { bus, unit, place, pulse }
    }

    fn order(&self, on: bool) -> Operation {
        match (self.place, self.pulse) {
            (Place::Coil(coil), Some((length, safe_state))) if on != safe_state => {
                let base = if on { FLASH_ON } else { FLASH_OFF };
                let tenths = u16::try_from(length.0 / 100).unwrap_or(u16::MAX).max(1);
                Operation::PulseCoil { address: base + coil, tenths }
            }
            (Place::Coil(address), _) => Operation::WriteCoil { address, on },
            (Place::Register(address), _) => Operation::WriteSingle { address, value: u16::from(on) },
        }
    }
}

impl Switch for Coil {
    async fn set(&mut self, on: bool, priority: Priority) -> Result<(), Trouble> {
        self.bus.call(self.unit, self.order(on), LIMIT, priority).await?;
        Ok(())
    }

    async fn read(&mut self, priority: Priority) -> Result<Option<bool>, Trouble> {
        let operation = match self.place {
            Place::Coil(address) => Operation::ReadCoils { address, count: 1 },
            Place::Register(address) => Operation::ReadHolding { address, count: 1 },
        };
        let answer = match self.bus.call(self.unit, operation, LIMIT, priority).await {
            // A board that knows only how to write: its acknowledgement is all that there is.
            Err(BusError::Exception { code: 1, .. }) => return Ok(None),
            answer => answer?,
        };
        match answer {
            Reply::Bits(bits) if bits.len() == 1 => Ok(Some(bits[0])),
            Reply::Registers(words) if words.len() == 1 && words[0] <= 1 => Ok(Some(words[0] == 1)),
            Reply::Registers(words) => Err(Trouble::bad(format!("its register holds {words:?}, allowed are 0 and 1"))),
            Reply::Bits(_) | Reply::Written => Err(Trouble::bad("the answer does not hold one bit")),
        }
    }

    fn period(&self) -> Span {
        PERIOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Connection;
    use crate::link::modbus::BusConfig;
    use tokio_util::sync::CancellationToken;

    fn order(place: Place, pulse: Option<(Span, bool)>, on: bool) -> Operation {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let bus = Bus::spawn(BusConfig::new(Connection::Tcp { host: "127.0.0.1".into(), port: 1 }), cancel);
        Coil::new(bus, 1, place, pulse).order(on)
    }

    #[tokio::test]
    async fn only_leaving_the_safe_state_is_a_pulse() {
        let pulse = |safe| Some((Span::from_secs(60), safe));
        assert_eq!(order(Place::Coil(3), pulse(false), true), Operation::PulseCoil { address: 0x0203, tenths: 600 });
        assert_eq!(order(Place::Coil(3), pulse(false), false), Operation::WriteCoil { address: 3, on: false });
        assert_eq!(order(Place::Coil(3), pulse(true), false), Operation::PulseCoil { address: 0x0403, tenths: 600 });
        assert_eq!(order(Place::Coil(3), pulse(true), true), Operation::WriteCoil { address: 3, on: true });
        assert_eq!(order(Place::Coil(3), None, true), Operation::WriteCoil { address: 3, on: true });
        assert_eq!(order(Place::Register(3), None, true), Operation::WriteSingle { address: 3, value: 1 });
    }
}

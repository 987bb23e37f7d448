//! A discrete input or a register behind Modbus.

use std::time::Duration;

use super::Source;
use crate::device::voice::Trouble;
use crate::link::modbus::{Bus, BusError, Operation, Priority, Reply};

/// It is asked so often; with a debounce time of a second a signal counts within two.
const PERIOD: Duration = Duration::from_millis(500);
/// Time for an answer; a serial bus shortens it.
const LIMIT: Duration = Duration::from_millis(500);

/// What is read, and what of it means active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointKind {
    /// Function 2, by its address on the wire.
    Discrete {
        /// First is 0.
        address: u16,
        /// 1 means active, else 0.
        active_high: bool,
    },
    /// Function 3, or 4 where the unit refuses that.
    Register {
        /// By its address on the wire.
        address: u16,
        /// Which values mean active.
        active: ActiveWords,
    },
}

/// Which values of a register mean active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActiveWords {
    /// Anything but 0.
    NotZero,
    /// 0.
    Zero,
    /// These.
    These(Vec<u16>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Point {
    bus: Bus,
    unit: u8,
    kind: PointKind,
    /// The unit has refused function 3 and answered function 4.
    input_register: bool,
}

impl Point {
    pub(super) fn new(bus: Bus, unit: u8, kind: PointKind) -> Self {
        Self { bus, unit, kind, input_register: false }
    }

    async fn word(&mut self, address: u16) -> Result<u16, BusError> {
        let answer = self.ask(self.input_register, address).await;
        if !matches!(answer, Err(BusError::Exception { code: 1 | 2, .. })) {
            return answer;
        }
        let other = self.ask(!self.input_register, address).await;
        if other.is_ok() {
            self.input_register = !self.input_register;
            return other;
        }
        answer
    }

    async fn ask(&self, input: bool, address: u16) -> Result<u16, BusError> {
        let operation = if input {
            Operation::ReadInput { address, count: 1 }
        } else {
            Operation::ReadHolding { address, count: 1 }
        };
        let asked = format!("unit {}, {operation}", self.unit);
        match self.bus.call(self.unit, operation, LIMIT, Priority::Poll).await? {
            Reply::Registers(words) if words.len() == 1 => Ok(words[0]),
            Reply::Registers(words) => Err(BusError::WrongCount { asked, expected: 1, got: words.len() }),
            Reply::Bits(_) | Reply::Written => Err(BusError::WrongCount { asked, expected: 1, got: 0 }),
        }
    }
}

impl Source for Point {
    async fn read(&mut self) -> Result<bool, Trouble> {
        match self.kind.clone() {
            PointKind::Discrete { address, active_high } => {
                let operation = Operation::ReadDiscrete { address, count: 1 };
                match self.bus.call(self.unit, operation, LIMIT, Priority::Poll).await? {
                    Reply::Bits(bits) if bits.len() == 1 => Ok(bits[0] == active_high),
                    _ => Err(Trouble::bad("the answer does not hold one bit")),
                }
            }
            PointKind::Register { address, active } => {
                let word = self.word(address).await?;
                Ok(match active {
                    ActiveWords::NotZero => word != 0,
                    ActiveWords::Zero => word == 0,
                    ActiveWords::These(words) => words.contains(&word),
                })
            }
        }
    }

    fn period(&self) -> Duration {
        PERIOD
    }
}

//! What can be asked of a unit, how it is put to tokio-modbus, and what must come back.

use std::borrow::Cow;
use std::fmt;

use tokio_modbus::{Request, Response};

use super::error::{BusError, Mismatch};

/// Most registers that one read may ask for (Modbus application protocol 1.1b3, 6.3).
pub const MAX_READ_REGISTERS: u16 = 125;
/// Most registers that one write may carry (6.12).
pub const MAX_WRITE_REGISTERS: usize = 123;
/// Most coils or discrete inputs that one read may ask for (6.1).
pub const MAX_READ_BITS: u16 = 2000;

/// One Modbus request without the unit. Addresses are those on the wire, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Function 1.
    ReadCoils {
        /// First coil.
        address: u16,
        /// 1 to 2000.
        count: u16,
    },
    /// Function 2.
    ReadDiscrete {
        /// First input.
        address: u16,
        /// 1 to 2000.
        count: u16,
    },
    /// Function 3.
    ReadHolding {
        /// First register.
        address: u16,
        /// 1 to 125.
        count: u16,
    },
    /// Function 4.
    ReadInput {
        /// First register.
        address: u16,
        /// 1 to 125.
        count: u16,
    },
    /// Function 5.
    WriteCoil {
        /// The coil.
        address: u16,
        /// On or off.
        on: bool,
    },
    /// Function 5 with a time where the standard has only FF00 and 0000: relay boards that switch for so long and then
    /// back (Waveshare Modbus RTU Relay: "flash on" from 0x0200, "flash off" from 0x0400).
    PulseCoil {
        /// As on the wire, the board's base for pulses included.
        address: u16,
        /// In tenths of a second.
        tenths: u16,
    },
    /// Function 6.
    WriteSingle {
        /// The register.
        address: u16,
        /// Its new value.
        value: u16,
    },
    /// Function 16.
    WriteMultiple {
        /// First register.
        address: u16,
        /// 1 to 123 values.
        values: Vec<u16>,
    },
}

/// What came back, already checked against what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As many registers as were asked for.
    Registers(Vec<u16>),
    /// As many coils or inputs as were asked for.
    Bits(Vec<bool>),
    /// The write was confirmed with the same address and value or count.
    Written,
}

/// Which request goes first. Within one priority the older one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A write that lowers a charger or opens a relay.
    Reduction,
    /// Any other set-point.
    SetPoint,
    /// The read of every round.
    Poll,
    /// Identity, counters, settings: one group per round.
    Slow,
}

impl Priority {
    /// Reductions and set-points: what may hurry a reconnect.
    #[must_use]
    pub fn is_safety(self) -> bool {
        self <= Self::SetPoint
    }
}

/// What an answer shows of its request beyond the unit: two requests with the same mark cannot be told apart by their
/// answers. In a read it is function and byte count, in a single write the whole echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    function: u8,
    first: u16,
    second: u16,
}

impl Operation {
    /// The function code on the wire.
    #[must_use]
    pub fn function(&self) -> u8 {
        match self {
            Self::ReadCoils { .. } => 1,
            Self::ReadDiscrete { .. } => 2,
            Self::ReadHolding { .. } => 3,
            Self::ReadInput { .. } => 4,
            Self::WriteCoil { .. } | Self::PulseCoil { .. } => 5,
            Self::WriteSingle { .. } => 6,
            Self::WriteMultiple { .. } => 16,
        }
    }

    /// First register or coil.
    #[must_use]
    pub fn address(&self) -> u16 {
        match *self {
            Self::ReadCoils { address, .. }
            | Self::ReadDiscrete { address, .. }
            | Self::ReadHolding { address, .. }
            | Self::ReadInput { address, .. }
            | Self::WriteCoil { address, .. }
            | Self::PulseCoil { address, .. }
            | Self::WriteSingle { address, .. }
            | Self::WriteMultiple { address, .. } => address,
        }
    }

    /// How many registers or coils it touches.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::ReadCoils { count, .. }
            | Self::ReadDiscrete { count, .. }
            | Self::ReadHolding { count, .. }
            | Self::ReadInput { count, .. } => usize::from(*count),
            Self::WriteCoil { .. } | Self::PulseCoil { .. } | Self::WriteSingle { .. } => 1,
            Self::WriteMultiple { values, .. } => values.len(),
        }
    }

    /// Whether it changes something in the device.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.function() >= 5
    }

    /// A write of one register, whichever function it uses: a set-point.
    pub(crate) fn writes_one_register(&self) -> bool {
        match self {
            Self::WriteSingle { .. } => true,
            Self::WriteMultiple { values, .. } => values.len() == 1,
            _ => false,
        }
    }

    /// Coils and inputs rather than registers.
    pub(crate) fn is_bits(&self) -> bool {
        matches!(
            self,
            Self::ReadCoils { .. } | Self::ReadDiscrete { .. } | Self::WriteCoil { .. } | Self::PulseCoil { .. }
        )
    }

    /// A write to exactly the same registers or coils.
    pub(crate) fn writes_same(&self, other: &Self) -> bool {
        self.writes_overlap(other) && self.address() == other.address() && self.count() == other.count()
    }

    /// A write to at least one register or coil in common.
    pub(crate) fn writes_overlap(&self, other: &Self) -> bool {
        let range = |operation: &Self| {
            let start = usize::from(operation.address());
            (start, start + operation.count())
        };
        let ((a, a_end), (b, b_end)) = (range(self), range(other));
        self.is_write() && other.is_write() && self.is_bits() == other.is_bits() && a < b_end && b < a_end
    }

    pub(crate) fn mark(&self) -> Mark {
        let function = self.function();
        let (first, second) = match self {
            Self::ReadCoils { count, .. } | Self::ReadDiscrete { count, .. } => (count.div_ceil(8), 0),
            Self::ReadHolding { count, .. } | Self::ReadInput { count, .. } => (*count, 0),
            Self::WriteCoil { address, on } => (*address, coil(*on)),
            Self::PulseCoil { address, tenths } => (*address, *tenths),
            Self::WriteSingle { address, value } => (*address, *value),
            Self::WriteMultiple { address, values } => (*address, u16::try_from(values.len()).unwrap_or(u16::MAX)),
        };
        Mark { function, first, second }
    }

    /// Refuses what the standard does not allow, before anything is sent.
    pub(crate) fn validate(&self, unit: u8) -> Result<(), BusError> {
        let refuse = |why: String| Err(BusError::BadRequest { asked: self.of(unit), why });
        let count = self.count();
        let most = match self {
            Self::ReadCoils { .. } | Self::ReadDiscrete { .. } => usize::from(MAX_READ_BITS),
            Self::ReadHolding { .. } | Self::ReadInput { .. } => usize::from(MAX_READ_REGISTERS),
            Self::WriteCoil { .. } | Self::PulseCoil { .. } | Self::WriteSingle { .. } => 1,
            Self::WriteMultiple { .. } => MAX_WRITE_REGISTERS,
        };
        if unit == 0 {
            return refuse("unit 0 is the broadcast address, which nobody answers; 1 to 255 are allowed".to_owned());
        }
        if count == 0 || count > most {
            return refuse(format!("a count of {count} is outside 1 to {most}"));
        }
        if usize::from(self.address()) + count > 0x1_0000 {
            return refuse("the last address would be above 65535".to_owned());
        }
        Ok(())
    }

    /// "unit 3, read of 2 holding registers from 16".
    pub(crate) fn of(&self, unit: u8) -> String {
        format!("unit {unit}, {self}")
    }

    /// Bytes of request and answer behind the unit and before the check sum: what the wire must carry.
    pub(crate) fn pdu_sizes(&self) -> (usize, usize) {
        match self {
            Self::ReadCoils { count, .. } | Self::ReadDiscrete { count, .. } => (5, 2 + usize::from(count.div_ceil(8))),
            Self::ReadHolding { count, .. } | Self::ReadInput { count, .. } => (5, 2 + 2 * usize::from(*count)),
            Self::WriteCoil { .. } | Self::PulseCoil { .. } | Self::WriteSingle { .. } => (5, 5),
            Self::WriteMultiple { values, .. } => (6 + 2 * values.len(), 5),
        }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        match self {
            Self::ReadCoils { address, count } => Request::ReadCoils(*address, *count),
            Self::ReadDiscrete { address, count } => Request::ReadDiscreteInputs(*address, *count),
            Self::ReadHolding { address, count } => Request::ReadHoldingRegisters(*address, *count),
            Self::ReadInput { address, count } => Request::ReadInputRegisters(*address, *count),
            Self::WriteCoil { address, on } => Request::WriteSingleCoil(*address, *on),
            Self::PulseCoil { address, tenths } => {
                let [high, low] = address.to_be_bytes();
                let [tens, ones] = tenths.to_be_bytes();
                Request::Custom(5, Cow::Owned(vec![high, low, tens, ones]))
            }
            Self::WriteSingle { address, value } => Request::WriteSingleRegister(*address, *value),
            Self::WriteMultiple { address, values } => Request::WriteMultipleRegisters(*address, Cow::Borrowed(values)),
        }
    }

    /// Whether an answer is the one to this request, as far as its content can tell. tokio-modbus compares lengths and
    /// echoes with `debug_assert` only, and only in the accessors that are not used here.
    pub(crate) fn check(&self, response: Response) -> Result<Reply, Mismatch> {
        let registers = |values: Vec<u16>, count: u16| {
            if values.len() == usize::from(count) {
                Ok(Reply::Registers(values))
            } else {
                Err(Mismatch::Count { expected: usize::from(count), got: values.len() })
            }
        };
        let bits = |mut values: Vec<bool>, count: u16| {
            // Whole bytes travel; the surplus bits of the last one mean nothing.
            let expected = usize::from(count.div_ceil(8)) * 8;
            if values.len() == expected {
                values.truncate(usize::from(count));
                Ok(Reply::Bits(values))
            } else {
                Err(Mismatch::Count { expected, got: values.len() })
            }
        };
        let echo = |expected: (u16, u16), got: (u16, u16)| {
            if expected == got { Ok(Reply::Written) } else { Err(Mismatch::Echo { expected, got }) }
        };
        match (self, response) {
            (Self::ReadCoils { count, .. }, Response::ReadCoils(values))
            | (Self::ReadDiscrete { count, .. }, Response::ReadDiscreteInputs(values)) => bits(values, *count),
            (Self::ReadHolding { count, .. }, Response::ReadHoldingRegisters(values))
            | (Self::ReadInput { count, .. }, Response::ReadInputRegisters(values)) => registers(values, *count),
            (Self::WriteCoil { address, on }, Response::WriteSingleCoil(at, is)) => {
                echo((*address, coil(*on)), (at, coil(is)))
            }
            (Self::WriteSingle { address, value }, Response::WriteSingleRegister(at, is)) => {
                echo((*address, *value), (at, is))
            }
            (Self::WriteMultiple { address, values }, Response::WriteMultipleRegisters(at, count)) => {
                let sent = u16::try_from(values.len()).unwrap_or(u16::MAX);
                echo((*address, sent), (at, count))
            }
            (_, other) => Err(Mismatch::Function { expected: self.function(), got: other.function_code().value() }),
        }
    }
}

/// "1 coil", "2 coils".
pub(crate) fn many<N: fmt::Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A coil's level as function 5 writes it.
const fn coil(on: bool) -> u16 {
    if on { 0xFF00 } else { 0 }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadCoils { address, count } => write!(f, "read of {} from {address}", many(*count, "coil")),
            Self::ReadDiscrete { address, count } => {
                write!(f, "read of {} from {address}", many(*count, "discrete input"))
            }
            Self::ReadHolding { address, count } => {
                write!(f, "read of {} from {address}", many(*count, "holding register"))
            }
            Self::ReadInput { address, count } => {
                write!(f, "read of {} from {address}", many(*count, "input register"))
            }
            Self::WriteCoil { address, on } => {
                write!(f, "write of coil {address} to {}", if *on { "on" } else { "off" })
            }
            Self::PulseCoil { address, tenths } => {
                write!(f, "pulse of {} s by coil {address}", f64::from(*tenths) / 10.0)
            }
            Self::WriteSingle { address, value } => write!(f, "write of register {address} to {value}"),
            Self::WriteMultiple { address, values } => {
                write!(f, "write of {} from {address} to {values:?}", many(values.len(), "register"))
            }
        }
    }
}

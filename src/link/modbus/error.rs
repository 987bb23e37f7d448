//! What can go wrong on a bus.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::operation::many;

/// Why a request has no good answer. `asked` names unit and request: "unit 3, read of 2 holding registers from 16".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BusError {
    /// Nothing, or nothing complete, came in time. The link was dropped and flushed.
    #[error("{asked}: no complete answer within {} ms{}", after.as_millis(), came(received))]
    Timeout {
        /// Unit and request.
        asked: String,
        /// The time that was given, from the first byte sent.
        after: Duration,
        /// What did come, in hexadecimal.
        received: String,
    },
    /// The unit refused, properly. The link is as good as before.
    #[error("{asked}: refused with exception {code} ({name})")]
    Exception {
        /// Unit and request.
        asked: String,
        /// As on the wire.
        code: u8,
        /// As in the standard.
        name: &'static str,
    },
    /// An answer of the wrong length.
    #[error("{asked}: expected {}, the answer has {got}", many(*expected, "value"))]
    WrongCount {
        /// Unit and request.
        asked: String,
        /// Registers, or bits in whole bytes.
        expected: usize,
        /// The same of the answer.
        got: usize,
    },
    /// A confirmation of another write.
    #[error("{asked}: expected {expected:?} to be confirmed (address, value or count), came {got:?}")]
    WrongEcho {
        /// Unit and request.
        asked: String,
        /// Address, and value or count.
        expected: (u16, u16),
        /// The same of the answer.
        got: (u16, u16),
    },
    /// An answer of another unit.
    #[error("{asked}: expected an answer of unit {expected}, came that of another: {received}")]
    WrongUnit {
        /// Unit and request.
        asked: String,
        /// The unit that was asked.
        expected: u8,
        /// What came, in hexadecimal.
        received: String,
    },
    /// A Modbus TCP answer to another request.
    #[error("{asked}: expected the answer to transaction {expected}, came that to {got}")]
    WrongTransaction {
        /// Unit and request.
        asked: String,
        /// As sent.
        expected: u16,
        /// As received.
        got: u16,
    },
    /// An answer to another function.
    #[error("{asked}: expected an answer to function {expected}, came one to function {got}")]
    WrongFunction {
        /// Unit and request.
        asked: String,
        /// As sent.
        expected: u8,
        /// As received.
        got: u8,
    },
    /// Bytes that are no Modbus frame.
    #[error("{asked}: expected a Modbus frame: {why}{}", came(received))]
    Garbled {
        /// Unit and request.
        asked: String,
        /// What is wrong with them.
        why: String,
        /// What came, in hexadecimal.
        received: String,
    },
    /// An answer that may belong to an earlier request whose time was over. It is not used.
    #[error("{asked}: the answer may be the late one to an earlier request and was thrown away")]
    Ambiguous {
        /// Unit and request.
        asked: String,
    },
    /// The link broke between request and answer.
    #[error("{asked}: the link broke before the answer was complete: {why}{}", came(received))]
    Broken {
        /// Unit and request.
        asked: String,
        /// As the system says it.
        why: String,
        /// What did come, in hexadecimal.
        received: String,
    },
    /// There is no link. Nothing was sent.
    #[error("not connected to {link}: {why}")]
    NotConnected {
        /// Where to.
        link: Arc<str>,
        /// The last reason.
        why: Arc<str>,
    },
    /// The queue is full. Nothing was sent.
    #[error("{asked}: not sent, {limit} requests are waiting already")]
    QueueFull {
        /// Unit and request.
        asked: String,
        /// Size of the queue.
        limit: usize,
    },
    /// It waited too long for its turn. Nothing was sent.
    #[error("{asked}: not sent, its turn did not come within {} ms", waited.as_millis())]
    Expired {
        /// Unit and request.
        asked: String,
        /// Time in the queue.
        waited: Duration,
    },
    /// A newer write to the same registers came before it was sent. It never will be.
    #[error("{asked}: not sent, a newer write took its place")]
    Superseded {
        /// Unit and request.
        asked: String,
    },
    /// The standard does not allow it. Nothing was sent.
    #[error("{asked}: {why}")]
    BadRequest {
        /// Unit and request.
        asked: String,
        /// What is allowed.
        why: String,
    },
    /// The bus was closed.
    #[error("the Modbus bus was closed")]
    Closed,
}

impl BusError {
    /// Whether the device may have done what was asked although no confirmation came: an unconfirmed write.
    #[must_use]
    pub fn may_have_been_obeyed(&self) -> bool {
        match self {
            // Device failure (4), acknowledge (5) and what a gateway says of its own accord leave it open.
            Self::Exception { code, .. } => matches!(code, 4 | 5) || self.is_of_gateway(),
            Self::Timeout { .. }
            | Self::WrongCount { .. }
            | Self::WrongEcho { .. }
            | Self::WrongUnit { .. }
            | Self::WrongTransaction { .. }
            | Self::WrongFunction { .. }
            | Self::Garbled { .. }
            | Self::Ambiguous { .. }
            | Self::Broken { .. }
            | Self::Closed => true,
            Self::NotConnected { .. }
            | Self::QueueFull { .. }
            | Self::Expired { .. }
            | Self::Superseded { .. }
            | Self::BadRequest { .. } => false,
        }
    }

    /// The bus had no time for it or something newer: it says nothing about the unit.
    #[must_use]
    pub fn is_crowding(&self) -> bool {
        matches!(self, Self::QueueFull { .. } | Self::Expired { .. } | Self::Superseded { .. })
    }

    /// A gateway speaks for itself: it has no path (10) or no answer (11). It says nothing about what the unit has sent
    /// or will send.
    #[must_use]
    pub fn is_of_gateway(&self) -> bool {
        matches!(self, Self::Exception { code: 10 | 11, .. })
    }

    /// Nothing came from the unit, as its wire or the gateway in front of it says.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout { .. }) || self.is_of_gateway()
    }

    /// A proper refusal: the link is good, and the unit is there unless a gateway speaks.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        matches!(self, Self::Exception { .. })
    }
}

/// How the content of an answer differs from what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Count { expected: usize, got: usize },
    Echo { expected: (u16, u16), got: (u16, u16) },
    Function { expected: u8, got: u8 },
}

impl Mismatch {
    pub(crate) fn into_error(self, asked: String) -> BusError {
        match self {
            Self::Count { expected, got } => BusError::WrongCount { asked, expected, got },
            Self::Echo { expected, got } => BusError::WrongEcho { asked, expected, got },
            Self::Function { expected, got } => BusError::WrongFunction { asked, expected, got },
        }
    }
}

/// Name of an exception code (Modbus application protocol 1.1b3, 7).
#[must_use]
pub fn exception_name(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "server device failure",
        5 => "acknowledge",
        6 => "server device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway target device failed to respond",
        _ => "not in the standard",
    }
}

fn came(received: &str) -> String {
    if received.is_empty() { ", nothing came".to_owned() } else { format!(", came {received}") }
}

/// The first bytes in hexadecimal, and how many there were when not all are shown.
pub(crate) fn hex(bytes: &[u8], total: usize) -> String {
    const SHOWN: usize = 24;
    let shown: Vec<String> = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02X}")).collect();
    let text = shown.join(" ");
    if total > bytes.len().min(SHOWN) { format!("{text} … ({total} bytes)") } else { text }
}

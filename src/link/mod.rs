//! The wires.

pub mod backoff;
pub mod gpio;
pub mod http;
pub mod modbus;
pub mod reminder;
pub(crate) mod serial;
pub mod stream;

pub use backoff::Backoff;

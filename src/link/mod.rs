//! The wires.

pub mod backoff;
pub mod modbus;

pub use backoff::Backoff;

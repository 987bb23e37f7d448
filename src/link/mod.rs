//! The wires.

pub mod backoff;
pub mod modbus;
pub mod stream;

pub use backoff::Backoff;

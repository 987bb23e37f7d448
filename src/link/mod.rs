//! The wires.

pub mod backoff;

pub use backoff::Backoff;

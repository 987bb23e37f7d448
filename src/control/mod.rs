//! The decision: a pure function of time, readings, settings and its own state. No clock, no I/O, no async.

mod controller;
pub mod interface;
mod reason;

pub use controller::{Controller, Decision};
pub use interface::*;

//! Chargers: one task each.

pub mod evse_din;
mod register;
pub mod teltocharge;

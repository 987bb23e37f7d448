//! Whole tasks with real drivers against chargers in memory, in stopped time.

mod ends;
mod evse_din;
mod orders;
mod property;
mod rig;
mod teltocharge;
mod wire;

//! The limits of an installation in simulated time: circuits, power, the quarter of an hour, dimming, balance of the
//! phases, how what is left is shared, and one phase or three.

mod circuits;
mod phases;
mod power;
mod sharing;
#[path = "../fail_safe_defaults/site.rs"]
#[allow(dead_code, reason = "each of the tests that share it uses a part")]
mod site;
#[allow(dead_code, reason = "each of the tests that share it uses a part")]
mod world;

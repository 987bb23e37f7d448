//! The fail-safe table of the contract with its default times, row by row, in simulated time.

mod charger;
mod clock;
mod doubt;
mod fail_safe_current;
mod input;
mod meter;
mod obedience;
mod own_word;
mod power;
mod site;
mod stamps;
mod start_up;

//! Each row of the fail-safe table, with the real binary in a simulated house over real sockets.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod all_defaults;
mod bad_input;
mod broker;
mod chargers;
mod circuits;
mod config;
mod disk;
mod meters;
#[allow(dead_code, reason = "the MQTT tests use the rest")]
#[path = "../mqtt/peer.rs"]
mod peer;
mod phases;
mod process;
mod readers;
mod relays;
mod scene;
mod signals;
mod startup;
mod wall;

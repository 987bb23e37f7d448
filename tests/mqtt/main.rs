//! The MQTT module against a real broker on loopback: the built-in one, run in this process on a free port.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod authority;
mod commands;
mod contract;
mod discovery;
mod feed;
mod house;
mod influx;
mod instances;
mod link;
#[allow(dead_code, reason = "the fail-safe tests use the rest")]
mod peer;
mod remains;
mod rig;
mod roles;
mod schema;
mod signals;
mod tls;

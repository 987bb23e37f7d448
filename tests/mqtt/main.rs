//! The MQTT module against a real broker on loopback: the built-in one, run in this process on a free port.

mod authority;
mod commands;
mod contract;
mod discovery;
mod house;
mod instances;
mod link;
mod peer;
mod rig;
mod schema;
mod tls;

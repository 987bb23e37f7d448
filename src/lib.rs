//! Gridkeeper keeps a home or a garage inside its fuses while cars charge, and speaks MQTT so that other software
//! sees and steers it. Everything flows in one direction:
//!
//! ```text
//!     wires                 values                     decision                  effects
//! link ──▶ codec ──▶ device ──Observation──▶ appliance ──▶ control::step ──Command──▶ device ──▶ codec ──▶ link
//! serial   p1        meter                   (one thread,   (pure: no I/O,            charger
//! tcp                charger                  owns the       no clock)                (each order
//! modbus                                      state)                                   with a lease)
//!                                           Snapshot │  ▲ wishes
//!                                                    ▼  │
//!                                                mqtt, web, influx, serve
//! ```
//!
//! `control` and `codec` know no clock, no file and no socket. `mqtt`, `web`, `influx` and `serve` are views: they can be absent,
//! slow or broken without the controller noticing.

pub mod appliance;
pub mod backup;
pub mod clock;
pub mod codec;
pub mod command;
pub mod commands;
pub mod config;
pub mod control;
pub mod decode;
pub mod demo;
pub mod device;
pub mod event;
pub mod feature;
pub mod influx;
pub mod link;
pub mod logging;
pub mod mqtt;
pub mod pair;
pub mod quantity;
pub mod reading;
pub mod serve;
pub mod service_manager;
pub mod simulate;
pub mod simulator;
pub mod status;
pub mod supervisor;
pub mod tool;
pub mod web;

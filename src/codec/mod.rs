//! Bytes to values and back. Pure: no clock, no file, no socket.

pub mod crc;
pub mod dns;
pub mod homewizard;
pub mod http_auth;
pub mod iec62056;
pub mod json;
pub mod model;
pub mod mqtt_value;
pub mod obis;
pub mod p1;
pub mod register;
pub mod sample;
pub mod shelly;
pub mod sml;
pub mod value;

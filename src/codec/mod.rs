//! Bytes to values and back. Pure: no clock, no file, no socket.

pub mod crc;
pub mod homewizard;
pub mod http_auth;
pub mod json;
pub mod obis;
pub mod p1;
pub mod sample;
pub mod shelly;

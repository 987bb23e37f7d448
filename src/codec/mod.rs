//! Bytes to values and back. Pure: no clock, no file, no socket.

pub mod crc;
pub mod obis;
pub mod p1;

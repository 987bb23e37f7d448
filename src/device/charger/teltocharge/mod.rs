//! Teltonika TeltoCharge.

pub mod registers;

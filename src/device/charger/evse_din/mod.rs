//! evracing EVSE-DIN and EVSE-WB.

pub mod registers;

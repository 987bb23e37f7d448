//! The installer's tools: they speak to devices directly, while nothing else uses the same wire.

mod address;
pub mod registers;
pub mod scan;

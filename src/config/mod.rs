//! The configuration: read with positions, checked, layered, and the settings changed at run time.

pub mod model;

pub use model::Config;

//! What other software and devices fetch from us. Views: whoever fetches, however slowly, nobody waits for him.

pub mod p1;

use std::net::SocketAddr;

use serde::Serialize;

use crate::config::model::ServeKind;

/// What the page shows of one; counted since start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServeStatus {
    /// As in the file.
    pub kind: &'static str,
    /// Id of the meter.
    pub source: String,
    /// Where; `None` until the address is ours.
    pub listen: Option<SocketAddr>,
    /// Connected now.
    pub readers: usize,
    /// Telegrams to one reader each.
    pub passed_on: u64,
    /// Readers that were shut out because they did not keep up, or talked instead of reading.
    pub dropped: u64,
    /// Connections that were not let in: not allowed, or too many.
    pub refused: u64,
    /// What is wrong. `None` while all is well.
    pub problem: Option<String>,
}

impl ServeStatus {
    /// Before anybody came.
    #[must_use]
    pub fn new(kind: ServeKind, source: &str) -> Self {
        Self {
            kind: kind.word(),
            source: source.to_owned(),
            listen: None,
            readers: 0,
            passed_on: 0,
            dropped: 0,
            refused: 0,
            problem: None,
        }
    }
}

//! What devices behind HTTP have in common.

use crate::codec::json::Malformed;
use crate::link::http;

/// Why a device gave no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The link: nobody there, too slow, login refused.
    #[error("{0}")]
    Link(#[from] http::Error),
    /// The answer.
    #[error("{0}")]
    Answer(#[from] Malformed),
    /// The device has not got what was asked for, or a request that would do harm.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Nobody answered, as against a wrong answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Link(error) if error.is_silence())
    }
}

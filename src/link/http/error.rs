//! What can go wrong between a request and its answer.

use std::time::Duration;

/// Why there is no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing answered in time; a connection that was open may be dead.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection could not be made or broke.
    #[error("{0}")]
    Link(String),
    /// TLS could not be agreed on.
    #[error("TLS: {0}")]
    Tls(String),
    /// The body is longer than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// 401.
    #[error("{0}")]
    Login(String),
    /// Not a success.
    #[error("the device answers {status}{}", detail(.body))]
    Status {
        /// 404 and the like.
        status: u16,
        /// At most the allowed length.
        body: Vec<u8>,
    },
}

impl Error {
    /// Nobody answered, as against a wrong answer.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Link(_))
    }

    pub(super) fn of(error: &reqwest::Error) -> Self {
        if let Some(tls) = tls_cause(error) {
            return Self::Tls(tls.to_string());
        }
        // The innermost cause is what the system said; the outer ones name the crate's own layers.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        if error.is_connect() && error.is_timeout() {
            return Self::Link("no connection in time".to_owned());
        }
        Self::Link(cause.to_string())
    }
}

/// What the TLS library said. An I/O error hides its content from `source`, and may hold another one.
fn tls_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => tls_cause(inner),
        None => tls_cause(error.source()?),
    }
}

/// The beginning of what the device says about it, where it is text.
fn detail(body: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text: String = String::from_utf8_lossy(body).chars().filter(|it| !it.is_control()).take(SHOWN).collect();
    if text.is_empty() { text } else { format!(": {text}") }
}

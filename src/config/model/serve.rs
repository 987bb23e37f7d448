//! What is served to others.

use std::net::{IpAddr, SocketAddr};

/// `[[serve]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serve {
    /// What.
    pub kind: ServeKind,
    /// Index into the meters: whose.
    pub source: usize,
    /// Where.
    pub listen: SocketAddr,
    /// Who is let in besides this machine.
    pub allow: Vec<IpAddr>,
}

/// Kinds of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeKind {
    /// The telegrams of a P1 meter, as they came.
    P1,
}

impl ServeKind {
    /// As in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::P1 => "p1",
        }
    }
}

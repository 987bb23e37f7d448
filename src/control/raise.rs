//! How long headroom must have lasted before it is used.
//!
//! A raise that is taken back by the next pulse of a hob costs the fuse ampere-seconds and gains nothing. So every
//! phase learns: a load that comes back soon after its room was given away makes the next raise wait twice as long, a
//! calm phase makes it quick again.

use crate::quantity::{Mono, Span};

/// Shortest and longest wait for a running car.
const RAISE: (Span, Span) = (Span::from_secs(4), Span::from_secs(120));
/// Shortest and longest wait for a car that is to be started.
const START: (Span, Span) = (Span::from_secs(20), Span::from_secs(240));
/// Cuts nearer to each other than this are one and the same event.
const SAME: Span = Span::from_secs(8);
/// A cut this soon after the last one is a load that comes and goes.
const SOON: Span = Span::from_secs(180);

/// What one phase of a circuit has learnt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// Doublings of the waits.
    level: u8,
    cut_at: Option<Mono>,
}

impl Patience {
    /// A cut was forced on this phase.
    pub(super) fn cut(&mut self, now: Mono) {
        match self.cut_at {
            Some(last) if now.since(last) < SAME => {}
            Some(last) if now.since(last) < SOON => self.level = (self.level + 1).min(6),
            _ => self.level = self.level_at(now),
        }
        self.cut_at = Some(now);
    }

    /// One doubling less for each calm span.
    fn level_at(&self, now: Mono) -> u8 {
        let calm = self.cut_at.map_or(i64::MAX, |at| now.since(at).0 / SOON.0);
        self.level.saturating_sub(u8::try_from(calm).unwrap_or(u8::MAX))
    }

    /// How long a running car waits for more.
    pub(super) fn raise(&self, now: Mono) -> Span {
        Span(RAISE.0.0 << self.level_at(now)).min(RAISE.1)
    }

    /// How long a waiting car waits for its start.
    pub(super) fn start(&self, now: Mono) -> Span {
        Span(START.0.0 << self.level_at(now)).min(START.1)
    }
}

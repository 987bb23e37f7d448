//! A box's own ceiling: what it reports, or what it took in place of a higher set-point.

use super::Charger;
use crate::quantity::{Milliamp, Mono, Span};

/// A lower figure of the box is asked about again after this time, after twice as long each time that it is found again …
const BOX_LIMIT: Span = Span::from_secs(600);
/// … at most so many times.
const BOX_DOUBLINGS: u8 = 4;

/// A set-point that the box did not take.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoxLimit {
    /// What it took instead.
    pub(super) figure: Milliamp,
    /// It holds until then.
    pub(super) until: Mono,
    /// How often the same figure was found again.
    again: u8,
}

impl BoxLimit {
    /// Found now, after `before`.
    pub(super) fn found(figure: Milliamp, now: Mono, before: Option<Self>) -> Self {
        let again = before.filter(|it| it.figure == figure).map_or(0, |it| (it.again + 1).min(BOX_DOUBLINGS));
        Self { figure, until: now + BOX_LIMIT.times(1 << again), again }
    }
}

impl Charger {
    /// The box's own ceiling: what it reports, or a set-point that it did not take.
    pub(in crate::control) fn box_limit(&self) -> Option<Milliamp> {
        let own = self.report.and_then(|report| report.own_limit);
        let found = self.box_limit.filter(|_| self.box_limits).map(|it| it.figure);
        match (own, found) {
            (Some(own), Some(found)) => Some(own.min(found)),
            (own, found) => own.or(found),
        }
    }
}

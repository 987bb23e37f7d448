//! How long headroom must have lasted before it is used.
//!
//! A raise that the next pulse of a hob takes back costs the fuse ampere-seconds and gains little. An overload lasts
//! as long as the meter and the slowest car take to respond; a raise was worth it when it lasted several times that.
//! So every phase learns: a raise that did not last makes the next one wait twice as long, one that did, or a calm
//! phase, makes it quicker again.

use crate::quantity::{Mono, Span};

/// Shortest and longest wait for a running car.
const RAISE: (Span, Span) = (Span::from_secs(3), Span::from_secs(60));
/// Shortest and longest wait for a car that is to be started: longer, because an interruption is worse than less.
const START: (Span, Span) = (Span::from_secs(8), Span::from_secs(60));
/// A raise is worth it when it lasted this many response times.
const WORTH: i64 = 8;
/// Without a cut for so long a phase forgets one doubling.
const CALM: Span = Span::from_secs(300);
/// Most doublings.
const DOUBLINGS: u8 = 6;

/// What one phase of a circuit has learnt.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    doublings: u8,
    changed_at: Mono,
    raised_at: Option<Mono>,
}

impl Patience {
    /// A charger on this phase was raised.
    pub(super) fn raised(&mut self, now: Mono) {
        self.raised_at.get_or_insert(now);
    }

    /// A cut was forced on this phase, where an overload lasts for `response`.
    pub(super) fn cut(&mut self, now: Mono, response: Span) {
        let Some(raised_at) = self.raised_at.take() else { return };
        let doublings = self.doublings(now);
        let lasted = now.since(raised_at) >= response.times(WORTH);
        self.doublings = if lasted { doublings.saturating_sub(1) } else { (doublings + 1).min(DOUBLINGS) };
        self.changed_at = now;
    }

    fn doublings(&self, now: Mono) -> u8 {
        let calm = now.since(self.changed_at).0 / CALM.0;
        self.doublings.saturating_sub(u8::try_from(calm).unwrap_or(u8::MAX))
    }

    /// How long a running car waits for more.
    pub(super) fn raise(&self, now: Mono) -> Span {
        Span(RAISE.0.0 << self.doublings(now)).min(RAISE.1)
    }

    /// How long a waiting car waits for its start.
    pub(super) fn start(&self, now: Mono) -> Span {
        Span(START.0.0 << self.doublings(now)).min(START.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: Span = Span::from_secs(6);

    fn at(second: i64) -> Mono {
        Mono(second * 1000)
    }

    fn raise_and_cut(patience: &mut Patience, raised: i64, cut: i64) {
        patience.raised(at(raised));
        patience.cut(at(cut), RESPONSE);
    }

    #[test]
    fn raises_that_do_not_last_double_the_wait() {
        let mut patience = Patience::default();
        assert_eq!(patience.raise(at(0)), Span::from_secs(3));
        raise_and_cut(&mut patience, 0, 20);
        assert_eq!(patience.raise(at(20)), Span::from_secs(6));
        patience.cut(at(21), RESPONSE);
        assert_eq!(patience.raise(at(21)), Span::from_secs(6), "one raise is judged once");
        raise_and_cut(&mut patience, 30, 77);
        assert_eq!((patience.raise(at(77)), patience.start(at(77))), (Span::from_secs(12), Span::from_secs(32)));
        for round in 0..20 {
            raise_and_cut(&mut patience, 80 + round, 81 + round);
        }
        assert_eq!((patience.raise(at(101)), patience.start(at(101))), (Span::from_secs(60), Span::from_secs(60)));
    }

    #[test]
    fn raises_that_last_and_calm_shorten_it_again() {
        let mut patience = Patience::default();
        raise_and_cut(&mut patience, 0, 20);
        raise_and_cut(&mut patience, 30, 50);
        raise_and_cut(&mut patience, 60, 60 + 48);
        assert_eq!(patience.raise(at(108)), Span::from_secs(6), "eight response times");
        assert_eq!(patience.raise(at(108 + 299)), Span::from_secs(6));
        assert_eq!(patience.raise(at(108 + 300)), Span::from_secs(3));
    }
}

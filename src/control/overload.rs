//! An overload of one circuit from its begin to its end, for the events: the first figure is told at once, the highest
//! when it is over.

use crate::quantity::{Milliamp, Mono, Phase, Span};

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A phase is above its limit.
    Begun { phase: Phase, current: Milliamp },
    /// No phase has been above its limit for a while: what was said at the begin, the highest since, and how long it
    /// took from the first to the last frame above.
    Over { said: Milliamp, highest: (Phase, Milliamp), lasted: Span },
}

#[derive(Clone, Copy, Debug)]
struct Running {
    since: Mono,
    last: Mono,
    said: Milliamp,
    highest: (Phase, Milliamp),
}

/// Of one circuit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overload(Option<Running>);

impl Overload {
    /// `worst`: the phase that is furthest above its limit, and its current. Over once there was none for `calm`.
    pub(super) fn watch(&mut self, now: Mono, worst: Option<(Phase, Milliamp)>, calm: Span) -> Option<Turn> {
        match (&mut self.0, worst) {
            (None, None) => None,
            (None, Some((phase, current))) => {
                self.0 = Some(Running { since: now, last: now, said: current, highest: (phase, current) });
                Some(Turn::Begun { phase, current })
            }
            (Some(running), Some((phase, current))) => {
                running.last = now;
                if current > running.highest.1 {
                    running.highest = (phase, current);
                }
                None
            }
            (Some(Running { since, last, said, highest }), None) => {
                let over = Turn::Over { said: *said, highest: *highest, lasted: last.since(*since) };
                let calm = now.since(*last) >= calm;
                if calm {
                    self.0 = None;
                }
                calm.then_some(over)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begun_once_and_over_with_the_highest_figure_after_a_calm() {
        let mut overload = Overload::default();
        let mut watch = |second: i64, amps: Option<i32>| {
            let worst = amps.map(|it| (Phase::L2, Milliamp::from_amps(it)));
            overload.watch(Mono(second * 1000), worst, Span::from_secs(10))
        };
        assert_eq!(watch(0, None), None);
        assert_eq!(watch(1, Some(27)), Some(Turn::Begun { phase: Phase::L2, current: Milliamp::from_amps(27) }));
        assert_eq!(watch(2, Some(41)), None);
        assert_eq!(watch(3, None), None);
        assert_eq!(watch(8, Some(30)), None, "the same one still");
        assert_eq!(watch(17, None), None);
        let highest = (Phase::L2, Milliamp::from_amps(41));
        let over = Turn::Over { said: Milliamp::from_amps(27), highest, lasted: Span::from_secs(7) };
        assert_eq!(watch(18, None), Some(over));
        assert_eq!(watch(19, None), None);
        assert!(matches!(watch(20, Some(26)), Some(Turn::Begun { .. })), "another one");
    }
}

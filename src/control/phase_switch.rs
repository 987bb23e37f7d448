//! From three phases to one and back, in a sequence that no contactor and no car is harmed by: 0 A, wait until under 1 A
//! flows, switch, wait, read back, start.

use crate::quantity::{Mono, Span};

use super::phases::PhaseSet;

/// The current must be gone so long after the offer went to 0, else the switching is given up.
const EMPTY: Span = Span::from_secs(10);
/// From the order to switch to the start.
const SETTLE: Span = Span::from_secs(10);
/// The box must show the new phases within this time.
const READ_BACK: Span = Span::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// The offer is 0; the current is waited for.
    Emptying {
        to: PhaseSet,
        since: Mono,
    },
    /// The box was told.
    Switching {
        to: PhaseSet,
        since: Mono,
    },
}

/// How a switching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switched {
    Done,
    /// Current went on flowing, or the box does not show what it was told.
    Failed(&'static str),
}

/// What is seen of the box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Less than 1 A flows, and nothing is offered.
    pub(super) empty: bool,
    /// Number of phases that the box shows, where it does.
    pub(super) shown: Option<u8>,
}

/// The phases that one charger is to use.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhaseSwitch {
    wired: PhaseSet,
    uses: PhaseSet,
    stage: Stage,
    /// When it last switched, or failed to.
    turned_at: Option<Mono>,
    /// What it would be better off with, and since when.
    better: Option<(PhaseSet, Mono)>,
    adopted: bool,
    /// It was found on one phase, and nobody knows on which.
    unsure: bool,
}

impl PhaseSwitch {
    pub(super) fn new(wired: PhaseSet) -> Self {
        Self { wired, uses: wired, stage: Stage::Idle, turned_at: None, better: None, adopted: false, unsure: false }
    }

    /// Phases that the box may have switched through.
    pub(super) fn active(&self) -> PhaseSet {
        match self.stage {
            Stage::Idle => self.uses,
            Stage::Emptying { to, .. } | Stage::Switching { to, .. } => self.uses.union(to),
        }
    }

    /// Phases that the box is to be told; `None` while it is left as it was found.
    pub(super) fn ordered(&self) -> Option<PhaseSet> {
        match self.stage {
            Stage::Switching { to, .. } => Some(to),
            Stage::Idle | Stage::Emptying { .. } => (!self.unsure).then_some(self.uses),
        }
    }

    /// It was found on one phase, and nobody knows on which.
    pub(super) fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Nothing may be offered now.
    pub(super) fn is_busy(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// The box is told other phases and has not been seen to use them for long enough.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.stage, Stage::Switching { .. })
    }

    /// What is found at first contact. A box that was left on one phase is on its first, or where it can choose on any
    /// (`None`): then it counts on all.
    pub(super) fn adopt(&mut self, shown: Option<u8>, first: Option<PhaseSet>) {
        if std::mem::replace(&mut self.adopted, true) || shown != Some(1) || self.wired.len() < 2 {
            return;
        }
        self.unsure = first.is_none();
        self.uses = first.unwrap_or(self.wired);
    }

    /// The box shows more phases than it was told to use: it restarted, or somebody else switched it. It counts on all
    /// of them from now on; `true` when that is new.
    pub(super) fn widen(&mut self, shown: Option<u8>) -> bool {
        let wider =
            !self.is_told() && shown.is_some_and(|shown| u32::from(shown) > self.uses.len()) && self.uses != self.wired;
        if wider {
            self.uses = self.wired;
            self.better = None;
        }
        wider
    }

    /// It would be better off with these phases; how long that has been so.
    pub(super) fn prefer(&mut self, now: Mono, phases: PhaseSet) -> Span {
        match self.better {
            Some((same, since)) if same == phases => now.since(since),
            _ => {
                self.better = Some((phases, now));
                Span::ZERO
            }
        }
    }

    /// It is well off with what it has.
    pub(super) fn content(&mut self) {
        self.better = None;
    }

    /// How long ago it last switched, or failed to.
    pub(super) fn rested(&self, now: Mono) -> Option<Span> {
        self.turned_at.map(|at| now.since(at))
    }

    pub(super) fn begin(&mut self, now: Mono, to: PhaseSet) {
        if self.stage == Stage::Idle && (to != self.uses || self.unsure) {
            self.stage = Stage::Emptying { to, since: now };
        }
    }

    /// Moves on; how it ended, if it did.
    pub(super) fn tick(&mut self, now: Mono, sight: Sight) -> Option<Switched> {
        match self.stage {
            Stage::Idle => None,
            Stage::Emptying { to, .. } if sight.empty => {
                self.stage = Stage::Switching { to, since: now };
                None
            }
            Stage::Emptying { since, .. } if now.since(since) >= EMPTY => {
                self.end(now);
                Some(Switched::Failed("the car still draws current 10 s after its offer went to 0"))
            }
            Stage::Emptying { .. } => None,
            Stage::Switching { to, since } => {
                let shown = sight.shown.is_none_or(|shown| u32::from(shown) == to.len());
                if shown && now.since(since) >= SETTLE {
                    self.uses = to;
                    self.end(now);
                    return Some(Switched::Done);
                }
                if now.since(since) < READ_BACK {
                    return None;
                }
                // It may be on any of them.
                self.uses = self.uses.union(to);
                self.end(now);
                Some(Switched::Failed("the charger does not show the phases that it was told"))
            }
        }
    }

    fn end(&mut self, now: Mono) {
        self.unsure &= matches!(self.stage, Stage::Emptying { .. });
        self.stage = Stage::Idle;
        self.better = None;
        self.turned_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Phase;

    fn at(second: i64) -> Mono {
        Mono(second * 1_000)
    }

    const EMPTY_OF_THREE: Sight = Sight { empty: true, shown: Some(3) };
    const EMPTY_OF_ONE: Sight = Sight { empty: true, shown: Some(1) };
    const DRAWING: Sight = Sight { empty: false, shown: Some(3) };

    fn one() -> PhaseSet {
        PhaseSet::of([Phase::L2])
    }

    fn all() -> PhaseSet {
        PhaseSet::of(Phase::ALL)
    }

    fn begun() -> PhaseSwitch {
        let mut switch = PhaseSwitch::new(all());
        switch.begin(at(0), one());
        switch
    }

    #[test]
    fn the_box_is_told_when_the_current_is_gone_and_started_when_it_shows_it() {
        let mut switch = begun();
        assert_eq!(switch.tick(at(5), DRAWING), None);
        assert_eq!((switch.ordered(), switch.active().len(), switch.is_busy()), (Some(all()), 3, true));
        assert_eq!(switch.tick(at(6), EMPTY_OF_THREE), None);
        assert_eq!((switch.ordered(), switch.active().len()), (Some(one()), 3), "it counts on all until it is sure");
        assert_eq!(switch.tick(at(15), EMPTY_OF_ONE), None, "10 s are kept");
        assert_eq!(switch.tick(at(16), EMPTY_OF_THREE), None, "not shown yet");
        assert_eq!(switch.tick(at(20), EMPTY_OF_ONE), Some(Switched::Done));
        assert_eq!((switch.active(), switch.is_busy()), (one(), false));
        assert_eq!(switch.rested(at(50)), Some(Span::from_secs(30)));
    }

    #[test]
    fn given_up_while_current_flows() {
        let mut switch = begun();
        assert_eq!(switch.tick(at(9), DRAWING), None);
        assert!(matches!(switch.tick(at(10), DRAWING), Some(Switched::Failed(_))));
        assert_eq!((switch.ordered(), switch.is_busy()), (Some(all()), false), "the box was told nothing");
    }

    #[test]
    fn a_box_that_does_not_switch_counts_on_all_phases() {
        let mut switch = begun();
        switch.tick(at(1), EMPTY_OF_THREE);
        assert_eq!(switch.tick(at(60), EMPTY_OF_THREE), None);
        assert!(matches!(switch.tick(at(61), EMPTY_OF_THREE), Some(Switched::Failed(_))));
        assert_eq!(switch.active().len(), 3);
    }

    #[test]
    fn a_preference_must_last() {
        let mut switch = PhaseSwitch::new(all());
        assert_eq!(switch.prefer(at(0), one()), Span::ZERO);
        assert_eq!(switch.prefer(at(9), one()), Span::from_secs(9));
        assert_eq!(switch.prefer(at(9), PhaseSet::of([Phase::L3])), Span::ZERO, "another phase");
        switch.content();
        assert_eq!(switch.prefer(at(12), PhaseSet::of([Phase::L3])), Span::ZERO);
    }

    #[test]
    fn a_box_that_is_found_on_one_phase_is_taken_as_it_is() {
        let mut switch = PhaseSwitch::new(all());
        switch.adopt(Some(1), Some(one()));
        switch.adopt(Some(3), Some(one()));
        assert_eq!(switch.active(), one());
        let mut switch = PhaseSwitch::new(all());
        switch.adopt(Some(1), None);
        assert_eq!((switch.active(), switch.ordered()), (all(), None), "on which one is not known: on none but all");
        switch.begin(at(0), all());
        assert_eq!(switch.ordered(), None);
        switch.tick(at(1), EMPTY_OF_ONE);
        assert_eq!(switch.ordered(), Some(all()));
    }

    #[test]
    fn a_box_that_shows_more_phases_than_it_was_told_counts_on_all_of_them() {
        let mut switch = begun();
        switch.tick(at(1), EMPTY_OF_THREE);
        assert!(!switch.widen(Some(3)), "it was told just now");
        assert_eq!(switch.tick(at(20), EMPTY_OF_ONE), Some(Switched::Done));
        assert!(!switch.widen(Some(1)) && !switch.widen(None));
        assert_eq!(switch.active(), one());
        assert!(switch.widen(Some(3)), "it restarted");
        assert_eq!(switch.active(), all());
        assert!(!switch.widen(Some(3)), "known");
    }
}

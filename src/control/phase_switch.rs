//! From three phases to one and back, in a sequence that no contactor and no car is harmed by: 0 A, wait until under 1 A
//! flows, switch, wait, read back, start.

use crate::quantity::{Mono, Span};

use super::phases::PhaseSet;

/// The current must be gone so long after the box showed an offer of 0, else the switching is given up.
const EMPTY: Span = Span::from_secs(10);
/// The box must show an offer of 0 within this time.
const SHOWS: Span = Span::from_secs(60);
/// From the order to switch to the start.
const SETTLE: Span = Span::from_secs(10);
/// The box must show the new phases within this time.
const READ_BACK: Span = Span::from_secs(60);
/// After a switching that failed none is begun for so long, twice as long after each further one, and at most so long:
/// each costs the car an interruption.
const PAUSE: (Span, Span) = (Span::from_secs(60), Span::from_secs(3_600));

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
    /// Since when the box has shown that it offers nothing.
    pub(super) zero_since: Option<Mono>,
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
    /// With how many phases it would be better off, and since when. Which one it is to be is chosen in the end: two with
    /// nearly the same room change places with every frame.
    better: Option<(u32, Mono)>,
    /// Switchings in a row that failed.
    failures: u8,
    adopted: bool,
    /// It was found on one phase, and nobody knows on which.
    unsure: bool,
}

impl PhaseSwitch {
    pub(super) fn new(wired: PhaseSet) -> Self {
        Self {
            wired,
            uses: wired,
            stage: Stage::Idle,
            turned_at: None,
            better: None,
            failures: 0,
            adopted: false,
            unsure: false,
        }
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

    /// It would be better off with so many phases (as many as it has: with another one); how long that has been so.
    pub(super) fn prefer(&mut self, now: Mono, count: u32) -> Span {
        match self.better {
            Some((same, since)) if same == count => now.since(since),
            _ => {
                self.better = Some((count, now));
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

    /// The last switching failed so recently that the next would fail again.
    pub(super) fn recovers(&self, now: Mono) -> bool {
        let Some(doublings) = self.failures.checked_sub(1) else { return false };
        let pause = Span(PAUSE.0.0 << doublings.min(8)).min(PAUSE.1);
        self.rested(now).is_some_and(|rested| rested < pause)
    }

    /// Another car, or a person who asks for it, is no reason to think so.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
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
            Stage::Emptying { since, .. } => {
                let why = match sight.zero_since {
                    Some(zero) if now.since(zero.max(since)) >= EMPTY => {
                        "the car still draws current 10 s after its offer went to 0"
                    }
                    None if now.since(since) >= SHOWS => "the charger does not show that it offers nothing",
                    _ => return None,
                };
                self.fail(now);
                Some(Switched::Failed(why))
            }
            Stage::Switching { to, since } => {
                let shown = sight.shown.is_none_or(|shown| u32::from(shown) == to.len());
                if shown && now.since(since) >= SETTLE {
                    self.uses = to;
                    self.failures = 0;
                    self.end(now);
                    return Some(Switched::Done);
                }
                if now.since(since) < READ_BACK {
                    return None;
                }
                // It may be on any of them.
                self.uses = self.uses.union(to);
                self.fail(now);
                Some(Switched::Failed("the charger does not show the phases that it was told"))
            }
        }
    }

    fn fail(&mut self, now: Mono) {
        self.failures = self.failures.saturating_add(1);
        self.end(now);
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

    const EMPTY_OF_THREE: Sight = Sight { empty: true, zero_since: Some(Mono(0)), shown: Some(3) };
    const EMPTY_OF_ONE: Sight = Sight { shown: Some(1), ..EMPTY_OF_THREE };
    const DRAWING: Sight = Sight { empty: false, ..EMPTY_OF_THREE };
    const OFFERING: Sight = Sight { empty: false, zero_since: None, shown: Some(3) };

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
    fn the_current_has_its_time_from_when_the_box_shows_the_offer_gone() {
        let mut switch = begun();
        assert_eq!(switch.tick(at(20), OFFERING), None);
        let since = |second| Sight { zero_since: Some(at(second)), ..DRAWING };
        assert_eq!(switch.tick(at(30), since(21)), None);
        assert!(matches!(switch.tick(at(31), since(21)), Some(Switched::Failed(_))));
        switch.begin(at(100), one());
        assert_eq!(switch.tick(at(109), since(21)), None, "it stood at 0 long before: not from then");
        assert!(matches!(switch.tick(at(110), since(21)), Some(Switched::Failed(_))));
        switch.begin(at(200), one());
        assert_eq!(switch.tick(at(259), OFFERING), None);
        assert!(matches!(switch.tick(at(260), OFFERING), Some(Switched::Failed(_))), "but not for ever");
    }

    #[test]
    fn each_failure_doubles_the_pause_before_the_next_try() {
        let mut switch = PhaseSwitch::new(all());
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            switch.begin(at(now), one());
            assert!(matches!(switch.tick(at(now + 10), DRAWING), Some(Switched::Failed(_))));
            let free = (0..10_000).find(|waited| !switch.recovers(at(now + 10 + waited)));
            pauses.push(free.expect("it ends"));
            now += 10 + pauses[pauses.len() - 1];
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        switch.forgive();
        assert!(!switch.recovers(at(now - 1_000)), "another car");
        switch.begin(at(now), one());
        switch.tick(at(now + 10), DRAWING);
        switch.begin(at(now + 70), one());
        switch.tick(at(now + 71), EMPTY_OF_ONE);
        assert_eq!(switch.tick(at(now + 81), EMPTY_OF_ONE), Some(Switched::Done));
        assert!(!switch.recovers(at(now + 81)), "one that worked ends it");
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
        assert_eq!(switch.prefer(at(0), 1), Span::ZERO);
        assert_eq!(switch.prefer(at(9), 1), Span::from_secs(9));
        assert_eq!(switch.prefer(at(9), 3), Span::ZERO, "another number");
        switch.content();
        assert_eq!(switch.prefer(at(12), 3), Span::ZERO);
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

//! One car at one socket: from plugging in to unplugging.

use crate::quantity::{Milliamp, Mono, Phase, Phases, Span, WattHour};
use crate::reading::PilotState;

use super::phases::PhaseSet;

/// A car draws on a phase from here.
pub(super) const DRAWS: Milliamp = Milliamp(1_000);
/// A phase carries nothing below this.
const IDLE: Milliamp = Milliamp(700);
/// A car is only believed to leave phases unused while it draws at least this on another, for this long.
const CLEAR: Milliamp = Milliamp(3_000);
const CLEAR_FOR: Span = Span::from_secs(5);

/// The running session; all empty while no car is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    pub(super) start: Option<Mono>,
    energy_at_start: Option<WattHour>,
    energy: Option<WattHour>,
    /// The highest that the counter has shown twice in a row, or more.
    highest: Option<WattHour>,
    /// Stops by us while the car drew.
    pub(super) interruptions: u16,
    /// Runs that were over too soon for want of room, less those that lasted.
    pub(super) short_runs: u8,
    /// Phases that the car uses, once known.
    uses: Option<PhaseSet>,
    clear_since: Option<(Mono, PhaseSet)>,
    /// It has drawn current in this session.
    pub(super) has_drawn: bool,
    /// Offers one after another of which it drew nothing, taken away again.
    pub(super) passed: u8,
    single: bool,
}

/// What changed with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Started,
    Ended,
}

impl Session {
    pub(super) fn report(&mut self, at: Mono, state: PilotState, energy: Option<WattHour>) -> Option<Turn> {
        let plugged = state.plugged();
        let turn = match (self.start, plugged) {
            (None, true) => {
                *self = Self { start: Some(at), energy_at_start: energy, ..Self::default() };
                Some(Turn::Started)
            }
            // A fault is not an unplugged car: states E and F say nothing about it.
            (Some(_), false) if state == PilotState::A => {
                *self = Self::default();
                return Some(Turn::Ended);
            }
            _ => None,
        };
        if self.start.is_some() {
            // One wrong answer is not what was had.
            self.highest = self.highest.max(self.energy.min(energy));
            self.energy = energy.or(self.energy);
            self.energy_at_start = self.energy_at_start.or(energy);
        }
        turn
    }

    /// Energy of this session by the lifetime counter; `None` while it shows less than it did.
    pub(super) fn counted_energy(&self) -> Option<WattHour> {
        let (now, start) = (self.energy?, self.energy_at_start?);
        (now >= start.max(self.highest.unwrap_or(start))).then(|| now - start)
    }

    /// So much was counted before the counter fell, if it did.
    pub(super) fn counted_at_least(&self) -> Option<WattHour> {
        Some(self.highest? - self.energy_at_start?)
    }

    /// Learns from measured currents on which phases the car charges.
    pub(super) fn observe(&mut self, at: Mono, current: &Phases<Milliamp>, wired: PhaseSet) {
        let carries = |least: Milliamp| PhaseSet::of(wired.iter().filter(|phase| current[*phase] >= least));
        if carries(DRAWS) != PhaseSet::NONE {
            self.has_drawn = true;
            self.passed = 0;
        }
        if let Some(uses) = self.uses {
            self.uses = Some(uses.union(carries(IDLE)));
            self.single &= carries(IDLE).len() <= 1;
            return;
        }
        let busy = carries(IDLE);
        if carries(CLEAR) == PhaseSet::NONE || busy != carries(CLEAR) {
            self.clear_since = None;
            return;
        }
        match self.clear_since {
            Some((since, phases)) if phases == busy => {
                if at.since(since) >= CLEAR_FOR {
                    self.uses = Some(busy);
                    if wired.len() > 1 {
                        self.single = busy.len() == 1;
                    }
                }
            }
            _ => self.clear_since = Some((at, busy)),
        }
    }

    /// Phases on which the car counts.
    pub(super) fn phases(&self, wired: PhaseSet) -> PhaseSet {
        self.uses.unwrap_or(wired)
    }

    /// It has shown which phases it uses.
    pub(super) fn knows_phases(&self) -> bool {
        self.uses.is_some()
    }

    /// The phases that it is given have changed. That it used one of three is remembered: it would use no more again.
    pub(super) fn relearn_phases(&mut self) {
        self.uses = None;
        self.clear_since = None;
    }

    /// It was seen to charge on one phase where it could have used three.
    pub(super) fn is_one_phase_car(&self) -> bool {
        self.single
    }

    /// Phases that are known to be used.
    pub(super) fn known_phases(&self) -> Option<PhaseSet> {
        self.uses
    }
}

/// The largest current of the phases.
pub(super) fn largest(current: &Phases<Milliamp>) -> Milliamp {
    Phase::ALL.into_iter().map(|phase| current[phase]).max().unwrap_or(Milliamp::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRED: fn() -> PhaseSet = || PhaseSet::of(Phase::ALL);

    #[test]
    fn a_one_phase_car_is_recognised_and_a_waking_phase_counts_at_once() {
        let mut session = Session::default();
        assert_eq!(session.report(Mono(0), PilotState::B, None), Some(Turn::Started));
        let one = Phases([Milliamp(9_000), Milliamp(100), Milliamp(0)]);
        for second in 0..5 {
            session.observe(Mono(second * 1000), &one, WIRED());
            assert_eq!(session.phases(WIRED()).len(), 3);
        }
        session.observe(Mono(5000), &one, WIRED());
        assert_eq!(session.phases(WIRED()), PhaseSet::of([Phase::L1]));
        session.observe(Mono(6000), &Phases([Milliamp(9_000), Milliamp(900), Milliamp(0)]), WIRED());
        assert_eq!(session.phases(WIRED()), PhaseSet::of([Phase::L1, Phase::L2]));
    }

    #[test]
    fn energy_is_counted_from_plugging_in_and_never_negative() {
        let mut session = Session::default();
        session.report(Mono(0), PilotState::C, Some(WattHour(1000)));
        session.report(Mono(1), PilotState::C, Some(WattHour(9000)));
        for _ in 0..2 {
            session.report(Mono(1), PilotState::C, Some(WattHour(1500)));
            assert_eq!(session.counted_energy(), Some(WattHour(500)), "a figure that was shown once is none that fell");
        }
        session.report(Mono(2), PilotState::C, Some(WattHour(0)));
        assert_eq!(session.counted_energy(), None, "a counter that fell is no figure");
        session.report(Mono(2), PilotState::C, Some(WattHour(1200)));
        assert_eq!(session.counted_energy(), None, "nor is it one where it began anew and passed the start");
        assert_eq!(session.counted_at_least(), Some(WattHour(500)));
        session.report(Mono(2), PilotState::C, Some(WattHour(1600)));
        assert_eq!(session.counted_energy(), Some(WattHour(600)), "one wrong answer is forgotten");
        session.report(Mono(2), PilotState::C, Some(WattHour(0)));
        assert_eq!(session.report(Mono(3), PilotState::F, None), None, "a fault does not end it");
        assert_eq!(session.report(Mono(4), PilotState::A, None), Some(Turn::Ended));
        assert_eq!(session.counted_energy(), None);
    }
}

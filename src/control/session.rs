//! One car at one socket: from plugging in to unplugging.

use crate::quantity::{Milliamp, Mono, Phase, Phases, Span, WattHour};
use crate::reading::PilotState;

use super::interface::Mode;
use super::phases::PhaseSet;

/// A car draws on a phase from here.
pub(super) const DRAWS: Milliamp = Milliamp(1_000);
/// A phase carries nothing below this.
const IDLE: Milliamp = Milliamp(700);
/// A car is only believed to leave phases unused while it draws at least this on another, for this long.
const CLEAR: Milliamp = Milliamp(3_000);
const CLEAR_FOR: Span = Span::from_secs(5);

/// Nobody unplugs one car and plugs in another in the time that a restart or an update takes.
const BRIEF: Span = Span::from_secs(15 * 60);
/// The counters of a box agree to this.
const ALIKE: i64 = 100;

/// What a restart of ours must not make us forget of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionMemory {
    /// Its begin, where that was seen; may be before the start of this process.
    pub start: Option<Mono>,
    /// When the charger was last heard; `None` where nobody knows how long ago that was.
    pub heard_at: Option<Mono>,
    /// Lifetime counter at the begin, last, and the highest that was shown twice.
    pub energy_at_start: Option<WattHour>,
    /// See `energy_at_start`.
    pub energy: Option<WattHour>,
    /// See `energy_at_start`.
    pub highest: Option<WattHour>,
    /// The box's own counter of the session.
    pub box_energy: Option<WattHour>,
    /// Stops by us while the car drew.
    pub interruptions: u16,
    /// It has drawn current.
    pub has_drawn: bool,
    /// `session_limit_kwh` as given for this car.
    pub limit: Option<WattHour>,
    /// `mode_after_session` as given for this car.
    pub mode_after: Option<ModeAfter>,
}

/// What was given for the time after a session: that of the file is not in force then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeAfter {
    /// The session ends, whatever the mode.
    Keep,
    /// It goes on in this mode.
    Goes(Mode),
}

impl ModeAfter {
    /// The setting: `None` for `keep`.
    #[must_use]
    pub const fn setting(self) -> Option<Mode> {
        match self {
            Self::Keep => None,
            Self::Goes(mode) => Some(mode),
        }
    }
}

impl From<Option<Mode>> for ModeAfter {
    fn from(setting: Option<Mode>) -> Self {
        setting.map_or(Self::Keep, Self::Goes)
    }
}

impl SessionMemory {
    /// Whether the car that is plugged at first contact is the same one: nobody was away for long, or the box has gone on
    /// counting the same session. `energy` and `box_energy`: what its counters show now.
    pub(super) fn goes_on(&self, at: Mono, energy: Option<WattHour>, box_energy: Option<WattHour>) -> bool {
        let of_session = self.box_energy.zip(box_energy).map(|(before, now)| now.0 - before.0);
        if of_session.is_some_and(|it| it < 0) {
            return false;
        }
        if self.heard_at.is_some_and(|it| at.since(it) <= BRIEF) {
            return true;
        }
        // Another car would have begun at nothing, and so have less on the session's counter than on the other one. A
        // figure that stands still may be the one before of a box that clears it only with the next current.
        let of_all = self.energy.zip(energy).map(|(before, now)| now.0 - before.0);
        let began = self.box_energy.is_some_and(|it| it.0 > 2 * ALIKE);
        began && of_session.zip(of_all).is_some_and(|(one, all)| one > 0 && (one - all).abs() <= ALIKE)
    }
}

/// The running session; all empty while no car is there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    /// Since when it is known to run.
    pub(super) start: Option<Mono>,
    /// When the car was plugged in, where that was seen.
    pub(super) begun: Option<Mono>,
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
    /// The car of the last run was gone at first contact.
    Left,
    /// A car was there at first contact, and nobody knows whether it is that of the last run, for which something was
    /// set.
    Doubted,
}

impl Session {
    /// A car was there already when the charger was first heard.
    pub(super) fn found(at: Mono, energy: Option<WattHour>) -> Self {
        Self { start: Some(at), energy_at_start: energy, ..Self::default() }
    }

    /// The car of before is still there.
    pub(super) fn resumed(memory: &SessionMemory, at: Mono) -> Self {
        Self {
            start: Some(memory.start.unwrap_or(at)),
            begun: memory.start,
            energy_at_start: memory.energy_at_start,
            energy: memory.energy,
            highest: memory.highest,
            interruptions: memory.interruptions,
            has_drawn: memory.has_drawn,
            ..Self::default()
        }
    }

    /// What is to be kept of it besides what the charger knows; `None` without a session.
    pub(super) fn memory(&self) -> Option<SessionMemory> {
        self.start.map(|_| SessionMemory {
            start: self.begun,
            energy_at_start: self.energy_at_start,
            energy: self.energy,
            highest: self.highest,
            interruptions: self.interruptions,
            has_drawn: self.has_drawn,
            ..SessionMemory::default()
        })
    }

    pub(super) fn report(&mut self, at: Mono, state: PilotState, energy: Option<WattHour>) -> Option<Turn> {
        let plugged = state.plugged();
        let turn = match (self.start, plugged) {
            (None, true) => {
                *self = Self { begun: Some(at), ..Self::found(at, energy) };
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

    #[test]
    fn it_is_the_same_car_when_nobody_was_away_for_long_or_the_box_counted_on() {
        let wh = |it: i64| Some(WattHour(it));
        let memory = SessionMemory {
            heard_at: Some(Mono(-60_000)),
            energy: wh(100_000),
            box_energy: wh(5_000),
            ..SessionMemory::default()
        };
        let goes_on = |memory: &SessionMemory, s: i64, all, one| memory.goes_on(Mono(s * 1000), all, one);
        assert!(goes_on(&memory, 840, wh(100_000), wh(5_000)), "15 minutes");
        assert!(goes_on(&memory, 840, None, None));
        assert!(!goes_on(&memory, 841, wh(100_000), wh(5_000)), "standing still for longer proves nothing");
        assert!(!goes_on(&memory, 1, wh(100_500), wh(300)), "the box began a session anew");
        for memory in [memory, SessionMemory { heard_at: None, ..memory }] {
            assert!(goes_on(&memory, 40_000, wh(103_000), wh(8_000)), "three more on both counters");
            assert!(
                !goes_on(&memory, 40_000, wh(113_000), wh(8_000)),
                "ten for the rest of one car, eight for another"
            );
            assert!(!goes_on(&memory, 40_000, None, wh(8_000)));
        }
        let young = SessionMemory { heard_at: None, box_energy: wh(100), ..memory };
        assert!(!goes_on(&young, 40_000, wh(103_000), wh(3_100)), "too little to tell one from the other");
    }
}

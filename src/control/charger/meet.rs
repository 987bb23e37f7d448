//! A charger is heard for the first time, or again after a silence: whether the car that is there is the one of before.

use super::{Charger, News};
use crate::control::session::{Session, SessionMemory, Turn};
use crate::quantity::{Mono, Span, WattHour};
use crate::reading::{ChargerReport, PilotState};

/// The first answers of a box may lack its counters; from then on it is taken to tell none.
const COUNTERS: Span = Span::from_secs(10);

/// What has to be found out about the car.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::control) struct Meeting {
    /// Of the last run, or of before the silence, until it is known whether it still holds.
    pub(in crate::control) before: Option<SessionMemory>,
    /// Whether a car is there was told.
    done: bool,
    /// It was told in this run, before a silence.
    again: bool,
    /// When a car was first seen there.
    since: Option<Mono>,
}

impl Meeting {
    /// Nobody saw what became of the car since `memory`.
    pub(super) fn begin_again(&mut self, memory: Option<SessionMemory>) {
        if self.done && memory.is_some() {
            *self = Self { before: memory, again: true, ..Self::default() };
        }
    }
}

impl Charger {
    /// Takes in a report until it has told whether a car is there, and whether it is that of before.
    pub(super) fn meet(&mut self, report: &ChargerReport, energy: Option<WattHour>, tell: &mut impl FnMut(News)) {
        let (at, plugged) = (report.received_at, report.state.plugged());
        // States E and F say nothing about a car.
        if self.meeting.done || !(plugged || report.state == PilotState::A) {
            return;
        }
        let Meeting { before, again, .. } = self.meeting;
        match before {
            None if plugged => self.session = Session::found(at, energy),
            // The end of a session of this run is told as any other.
            Some(_) if !plugged && !again => {
                self.session = Session::default();
                tell(News::Session(Turn::Left));
            }
            Some(memory) if plugged => {
                let since = *self.meeting.since.get_or_insert(at);
                let counted = memory.box_energy.is_none() || report.session_energy.is_some();
                if !counted && at.since(since) < COUNTERS {
                    if self.session.start.is_none() {
                        self.session = Session::found(at, energy);
                    }
                    return;
                }
                let goes_on = memory.goes_on(since, energy, report.session_energy);
                self.settle_session(goes_on, &memory, since, energy, tell);
            }
            _ => {}
        }
        self.meeting = Meeting { done: true, ..Meeting::default() };
    }

    fn settle_session(
        &mut self,
        goes_on: bool,
        memory: &SessionMemory,
        since: Mono,
        energy: Option<WattHour>,
        tell: &mut impl FnMut(News),
    ) {
        match (goes_on, self.meeting.again) {
            (true, true) => return,
            (true, false) => {
                self.session = Session::resumed(memory, since);
                // What was given since the start is not in the memory any more.
                self.settings.session_limit = memory.limit.or(self.settings.session_limit);
                if let Some(given) = memory.mode_after {
                    self.settings.mode_after_session = given.setting();
                }
                return;
            }
            (false, true) => {
                // What was given since is meant for the car that is there.
                let given = self.settings;
                self.next_car();
                if memory.limit.is_none() {
                    self.settings.session_limit = given.session_limit;
                }
                if memory.mode_after.is_none() {
                    self.settings.mode_after_session = given.mode_after_session;
                }
            }
            (false, false) => {}
        }
        self.session = Session::found(since, energy);
        if memory.limit.is_some() || memory.mode_after.is_some() {
            tell(News::Session(Turn::Doubted));
        }
    }
}

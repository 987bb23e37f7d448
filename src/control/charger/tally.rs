//! What the car of now has had, and what the next run must know of it.

use super::Charger;
use crate::control::session::SessionMemory;
use crate::quantity::WattHour;

impl Charger {
    /// Somebody counts what its cars take.
    pub(in crate::control) fn counts(&self) -> bool {
        self.setup.measures || self.meter_energy.is_some()
    }

    /// What the next run must know of the session; `None` without one.
    pub(in crate::control) fn memory(&self) -> Option<SessionMemory> {
        let file = &self.setup.settings;
        let limit = self.settings.session_limit.filter(|limit| Some(*limit) != file.session_limit);
        let after = self.settings.mode_after_session;
        let mode_after = (after != file.mode_after_session).then(|| after.into());
        if let Some(before) = self.meeting.before {
            // Given before the charger was heard: it is not known yet whether the car is still the same.
            return Some(SessionMemory {
                limit: before.limit.or(limit),
                mode_after: before.mode_after.or(mode_after),
                ..before
            });
        }
        let memory = self.session.memory()?;
        Some(SessionMemory {
            heard_at: self.link.heard_at(),
            box_energy: self.report.and_then(|report| report.session_energy),
            limit,
            mode_after,
            ..memory
        })
    }

    /// Energy of this session as far as it is known to be all: without the box's own counter its begin must have been seen.
    pub(in crate::control) fn whole_session_energy(&self) -> Option<WattHour> {
        self.report
            .and_then(|it| it.session_energy)
            .or_else(|| self.session_energy().filter(|_| self.session.begun.is_some()))
    }

    /// Energy of this session by the box's own counter, else by its lifetime counter.
    pub(in crate::control) fn session_energy(&self) -> Option<WattHour> {
        self.report.and_then(|report| report.session_energy).or_else(|| self.session.counted_energy())
    }
}

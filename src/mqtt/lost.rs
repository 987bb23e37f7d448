//! What is said where the broker is not reached, or where the topics of devices are not heard: once as news, then more and
//! more rarely, and no trouble under two names.

use super::listener::Listening;
use super::service::{Phase, Service};
use super::status::LinkState;
use crate::event::EventType;
use crate::link::reminder::more;

impl Service {
    /// The attempt to connect failed, or the connection ended.
    pub(super) fn lost(&mut self, problem: String, was_connected: bool) {
        self.phase = Phase::Down;
        let due = self.reminder.wrong();
        if !self.lost_told {
            self.lost_told = true;
            let what = if was_connected { "lost" } else { "not reached" };
            // The log has it as an event.
            let detail = format!("{what}: {problem}; charging goes on as before");
            self.raise(EventType::BrokerLost, "bridge", detail);
        } else if let Some(unsaid) = due {
            tracing::warn!("MQTT: {problem}{}", more(unsaid));
        } else {
            tracing::debug!("MQTT: {problem}");
        }
        self.report(LinkState::Retrying, Some(problem));
    }

    /// Devices hear nothing, or hear again. Where the broker is not reached at all, that is said already.
    pub(super) fn say_of_listening(&mut self) {
        let Listening { online, problem } = self.ear.listening.borrow().clone();
        if online {
            return self.ear_reminder.well();
        }
        let Some(problem) = problem else { return };
        let due = if matches!(self.phase, Phase::Down) { None } else { self.ear_reminder.wrong() };
        match due {
            Some(unsaid) => tracing::warn!("MQTT: {problem}{}", more(unsaid)),
            None => tracing::debug!("MQTT: {problem}"),
        }
    }
}

//! What the task of an input or a relay tells of its link: to the control thread when something changed, at most once a
//! second, and to the log when it is lost and found.

use crate::device::{ControlLink, DeviceRef, ToControl, shelly};
use crate::link::modbus::BusError;
use crate::link::reminder::{Reminder, more};
use crate::quantity::{Mono, Span};
use crate::status::Health;

/// Health is told at most this often.
const PERIOD: Span = Span::from_secs(1);

/// Why a device gave no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What was wrong, for people.
    pub(super) text: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Something else than a good answer.
    Bad,
    /// Nothing, or nothing complete.
    TimedOut,
    /// It was not even asked: its wire had no time.
    NotAsked,
}

impl Trouble {
    /// An answer that cannot be used, or none that the system could bring.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: Kind::Bad }
    }

    /// It says nothing about the device: its wire had no time for it.
    pub(super) fn was_not_asked(&self) -> bool {
        self.kind == Kind::NotAsked
    }
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Self {
        let kind = match &error {
            BusError::Timeout { .. } => Kind::TimedOut,
            _ if error.is_crowding() => Kind::NotAsked,
            _ => Kind::Bad,
        };
        Self { text: error.to_string(), kind }
    }
}

impl From<shelly::Error> for Trouble {
    fn from(error: shelly::Error) -> Self {
        let kind = if error.is_silence() { Kind::TimedOut } else { Kind::Bad };
        Self { text: error.to_string(), kind }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        let kind = if error.kind() == std::io::ErrorKind::TimedOut { Kind::TimedOut } else { Kind::Bad };
        Self { text: error.to_string(), kind }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Voice {
    /// `input tariff`, `relay boiler`.
    name: String,
    device: DeviceRef,
    control: ControlLink,
    health: Health,
    told: Health,
    told_at: Option<Mono>,
    reminder: Reminder,
}

impl Voice {
    /// `name` is `input tariff` or `relay boiler`.
    pub(super) fn new(name: String, device: DeviceRef, control: ControlLink) -> Self {
        Self {
            name,
            device,
            control,
            health: Health::default(),
            told: Health::default(),
            told_at: None,
            reminder: Reminder::default(),
        }
    }

    /// `input tariff`, `relay boiler`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// To the control thread; dropped where that does not listen.
    pub(super) fn say(&self, message: ToControl) {
        self.control.tell(message);
    }

    /// A good answer.
    pub(super) fn good(&mut self) {
        if !std::mem::replace(&mut self.health.online, true) {
            tracing::info!(device = %self.name, "answers");
        }
        self.health.good += 1;
        self.reminder.well();
    }

    /// None.
    pub(super) fn bad(&mut self, trouble: &Trouble) {
        let text = format!("{}: {}", self.name, trouble.text);
        let first = self.health.good == 0 && self.health.last_error.is_none();
        match trouble.kind {
            Kind::Bad => self.health.bad += 1,
            Kind::TimedOut => self.health.timeouts += 1,
            Kind::NotAsked => {
                tracing::debug!("{text}");
                self.health.last_error = Some(text.into());
                return;
            }
        }
        match (self.reminder.wrong(), std::mem::take(&mut self.health.online) || first) {
            (Some(unsaid), _) => tracing::warn!("{text}{}", more(unsaid)),
            (None, true) => tracing::warn!("{text}"),
            (None, false) => tracing::debug!("{text}"),
        }
        self.health.last_error = Some(text.into());
    }

    /// Says how the link does where that changed and was not said just now; when to come back for it.
    pub(super) fn tell(&mut self, now: Mono) -> Option<Mono> {
        if self.health == self.told {
            return None;
        }
        let due = self.told_at.map_or(now, |at| at + PERIOD);
        if now < due {
            return Some(due);
        }
        self.told_at = Some(now);
        if self.control.tell(ToControl::Health(self.device, self.health.clone())) {
            self.told = self.health.clone();
            return None;
        }
        Some(now + PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn health_is_told_when_it_changed_and_not_more_than_once_a_second() {
        let (sender, inbox) = sync_channel(8);
        let mut voice = Voice::new("input x".into(), DeviceRef::Input(0), ControlLink::new(sender));
        assert_eq!(voice.tell(Mono(0)), None);
        voice.good();
        assert_eq!(voice.tell(Mono(0)), None);
        voice.bad(&Trouble::bad("no such line"));
        assert_eq!(voice.tell(Mono(400)), Some(Mono(1000)));
        assert_eq!(voice.tell(Mono(1000)), None);
        let told: Vec<_> = inbox.try_iter().collect();
        let [ToControl::Health(DeviceRef::Input(0), first), ToControl::Health(DeviceRef::Input(0), second)] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert!(first.online && !second.online);
        assert_eq!(second.last_error.as_deref(), Some("input x: no such line"));
    }

    #[test]
    fn a_bus_without_time_says_nothing_about_the_device() {
        let (sender, _inbox) = sync_channel(8);
        let mut voice = Voice::new("input x".into(), DeviceRef::Input(0), ControlLink::new(sender));
        voice.good();
        let crowded = Trouble::from(BusError::QueueFull { asked: "unit 1".into(), limit: 64 });
        assert!(crowded.was_not_asked());
        voice.bad(&crowded);
        assert!(voice.health.online);
        assert_eq!((voice.health.bad, voice.health.timeouts), (0, 0));
    }
}

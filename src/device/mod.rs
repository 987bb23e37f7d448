//! One task per device: it keeps the link, turns wire values into readings and orders into writes.
//!
//! Device tasks run on a runtime thread of their own. They tell the control thread what they hear through a bounded
//! channel that never makes them wait, and they obey the newest order only.

pub mod charger;
pub mod http;
pub mod input;
pub mod meter;
pub mod relay;
pub mod shelly;
mod voice;

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::sync::{mpsc, oneshot, watch};

use crate::command::{ChargerAction, ChargerCommand, LastOffer, Leased};
use crate::control::Accepted;
use crate::event::Event;
use crate::reading::{ChargerObservation, InputReading, MeterReading, RelayObservation};
use crate::status::{Health, Identity, MeterValues};

/// Everything that can wake the control thread.
#[derive(Debug)]
pub enum ToControl {
    /// A meter's frame.
    Meter {
        /// Place in the configuration.
        meter: usize,
        /// For the controller.
        reading: MeterReading,
        /// For the views.
        values: Arc<MeterValues>,
        /// Gas, water and heat meters behind it: suffix of the id (`gas`, `water`, `gas-2`, …) and values.
        sub_meters: Arc<Vec<(Arc<str>, Arc<MeterValues>)>>,
    },
    /// A charger's answer or silence.
    Charger(usize, ChargerObservation),
    /// An input's level, or that it cannot be read.
    Input(usize, InputReading),
    /// A relay's answer or silence.
    Relay(usize, RelayObservation),
    /// Who a charger says it is.
    ChargerIdentity(usize, Arc<Identity>),
    /// How a link does; sent when something changed, at most once a second.
    Health(DeviceRef, Health),
    /// Something an operator must hear of.
    Event(Event),
    /// A standing risk of a device (`None` takes it back): one sentence with what to do about it.
    Risk(DeviceRef, Option<String>),
    /// A person's wish.
    Wish(Wish),
    /// Bring everything into the state of an orderly stop and end.
    Shutdown,
}

/// A device by kind and place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeviceRef {
    /// A meter.
    Meter(usize),
    /// A charger.
    Charger(usize),
    /// An input.
    Input(usize),
    /// A relay.
    Relay(usize),
}

/// A wish on its way to the controller, checked there.
#[derive(Debug)]
pub struct Wish {
    /// `site/set/<setting>` or `charger/<id>/set/<setting>`.
    pub path: String,
    /// Text as received.
    pub value: String,
    /// Where it came from, for the log: `mqtt`, `page`.
    pub origin: &'static str,
    /// The answer; dropped when nobody waits any more.
    pub reply: oneshot::Sender<Answer>,
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was accepted, or the sentence of the refusal.
    pub outcome: Result<Accepted, String>,
    /// Whether an accepted setting is on disk; `None` where nothing had to be stored.
    pub stored: Option<bool>,
}

/// The devices' and views' end of the channel to the control thread. Never blocks: when the control thread hangs, the
/// newest message is dropped and counted, and the leases do the rest.
#[derive(Clone, Debug)]
pub struct ControlLink {
    sender: SyncSender<ToControl>,
}

impl ControlLink {
    /// Wraps the channel's sender.
    #[must_use]
    pub fn new(sender: SyncSender<ToControl>) -> Self {
        Self { sender }
    }

    /// Hands a message over; `false` when it could not be taken.
    pub fn tell(&self, message: ToControl) -> bool {
        self.sender.try_send(message).is_ok()
    }

    /// The same for a reading; `false` when it was lost because the control thread hangs. Where that has ended nobody needs
    /// it any more: an orderly stop ends the control thread first.
    pub fn tell_reading(&self, message: ToControl) -> bool {
        !matches!(self.sender.try_send(message), Err(TrySendError::Full(_)))
    }
}

/// What a charger's task is given.
#[derive(Debug)]
pub struct ChargerChannels {
    /// Place in the configuration.
    pub index: usize,
    /// To the control thread.
    pub control: ControlLink,
    /// Newest order. While its lease is over: min(present offer, programmed fail-safe current).
    pub orders: watch::Receiver<Leased<ChargerCommand>>,
    /// Things to do once.
    pub actions: mpsc::Receiver<ChargerAction>,
    /// Set at an orderly stop to what is to be left behind; the task writes it, confirms it and ends.
    pub last_offer: watch::Receiver<Option<LastOffer>>,
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_reading_is_lost_where_nobody_takes_it_and_not_where_nobody_is_left() {
        let (sender, inbox) = sync_channel(1);
        let control = ControlLink::new(sender);
        assert!(control.tell_reading(ToControl::Shutdown));
        assert!(!control.tell_reading(ToControl::Shutdown), "the control thread hangs");
        drop(inbox);
        assert!(control.tell_reading(ToControl::Shutdown), "an orderly stop");
        assert!(!control.tell(ToControl::Shutdown));
    }
}

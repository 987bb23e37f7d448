//! A relay of a Shelly. It leaves its safe state on the device's own timer (`toggle_after`, on generation 1 `timer`), so
//! that it falls by itself when nobody renews the order.

use std::time::Duration;

use super::Switch;
use crate::config::model::ShellyPoint;
use crate::device::shelly::{Error, Shelly};
use crate::device::voice::Trouble;
use crate::link::http::Limits;
use crate::link::modbus::Priority;
use crate::quantity::Span;

/// It is looked at so often.
const PERIOD: Span = Span::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Output {
    shelly: Shelly,
    channel: u8,
    timer: Duration,
    safe_state: bool,
}

impl Output {
    pub(super) fn new(point: &ShellyPoint, timer: Span, safe_state: bool) -> Result<Self, Error> {
        let shelly = Shelly::new(&point.address, point.login.clone(), Limits::default())?;
        Ok(Self { shelly, channel: point.channel, timer: timer.to_std(), safe_state })
    }
}

impl Switch for Output {
    async fn set(&mut self, on: bool, _: Priority) -> Result<(), Trouble> {
        // The timer ends in the opposite of what is set: with the safe state it would end outside of it.
        let back_after = (on != self.safe_state).then_some(self.timer);
        Ok(self.shelly.switch(self.channel, on, back_after).await?)
    }

    async fn read(&mut self, _: Priority) -> Result<Option<bool>, Trouble> {
        Ok(self.shelly.output(self.channel).await?)
    }

    fn period(&self) -> Span {
        PERIOD
    }
}

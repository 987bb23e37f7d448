//! An input of a Shelly: a switch on its terminals, or mains voltage there.

use std::time::Duration;

use super::Source;
use crate::config::model::ShellyPoint;
use crate::device::shelly::{Error, Shelly};
use crate::device::voice::Trouble;
use crate::link::http::Limits;

/// It is asked so often: small devices do little else well.
const PERIOD: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Terminal {
    shelly: Shelly,
    channel: u8,
    active_high: bool,
}

impl Terminal {
    pub(super) fn new(point: &ShellyPoint, active_high: bool) -> Result<Self, Error> {
        let shelly = Shelly::new(&point.address, point.login.clone(), Limits::default())?;
        Ok(Self { shelly, channel: point.channel, active_high })
    }
}

impl Source for Terminal {
    async fn read(&mut self) -> Result<bool, Trouble> {
        match self.shelly.input(self.channel).await? {
            Some(level) => Ok(level == self.active_high),
            None => Err(Trouble::bad("its input has no level: set it to type switch, not button")),
        }
    }

    fn period(&self) -> Duration {
        PERIOD
    }
}

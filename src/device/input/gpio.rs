//! A line of a GPIO chip.

use std::sync::Arc;
use std::time::Duration;

use super::Source;
use crate::device::voice::Trouble;
use crate::link::gpio::{Gpio, Line, LineName, Pull, off_thread};

/// The level is looked at so often. Edges are not relied on: some chips report none.
const PERIOD: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Pin {
    gpio: Arc<dyn Gpio>,
    name: LineName,
    active_high: bool,
    held: Option<Arc<dyn Line>>,
}

impl Pin {
    pub(super) fn new(gpio: Arc<dyn Gpio>, name: LineName, active_high: bool) -> Self {
        Self { gpio, name, active_high, held: None }
    }

    async fn hold(&mut self) -> std::io::Result<Arc<dyn Line>> {
        if let Some(line) = &self.held {
            return Ok(Arc::clone(line));
        }
        // A wire that is not connected reads as inactive.
        let pull = if self.active_high { Pull::Down } else { Pull::Up };
        let (gpio, name) = (Arc::clone(&self.gpio), self.name.clone());
        let line: Arc<dyn Line> = off_thread(move || gpio.input(&name, pull)).await?.into();
        self.held = Some(Arc::clone(&line));
        Ok(line)
    }
}

impl Source for Pin {
    async fn read(&mut self) -> Result<bool, Trouble> {
        let line = self.hold().await?;
        let level = off_thread(move || line.is_high()).await;
        if level.is_err() {
            // The chip may have been unplugged and come back under the same name.
            self.held = None;
        }
        Ok(level? == self.active_high)
    }

    fn period(&self) -> Duration {
        if self.held.is_some() { PERIOD } else { Duration::from_secs(1) }
    }

    fn fails_at_once(&self) -> bool {
        true
    }
}

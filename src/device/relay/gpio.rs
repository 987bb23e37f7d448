//! A line of a GPIO chip. The kernel holds its level only while we hold the line, so there is no timer that would act
//! for us: the wiring must make the level without us the safe one.

use std::sync::Arc;

use super::Switch;
use crate::device::voice::Trouble;
use crate::link::gpio::{Gpio, Line, LineName, off_thread};
use crate::link::modbus::Priority;
use crate::quantity::Span;

/// See the module.
#[derive(Debug)]
pub(super) struct Pin {
    gpio: Arc<dyn Gpio>,
    name: LineName,
    held: Option<Arc<dyn Line>>,
}

impl Pin {
    pub(super) fn new(gpio: Arc<dyn Gpio>, name: LineName) -> Self {
        Self { gpio, name, held: None }
    }
}

impl Switch for Pin {
    async fn set(&mut self, on: bool, _: Priority) -> Result<(), Trouble> {
        if let Some(line) = self.held.take() {
            let held = Arc::clone(&line);
            off_thread(move || line.set(on)).await?;
            self.held = Some(held);
            return Ok(());
        }
        // Taken at the level that is wanted: taking it first would drive it to another for a moment.
        let (gpio, name) = (Arc::clone(&self.gpio), self.name.clone());
        self.held = Some(off_thread(move || gpio.output(&name, on)).await?.into());
        Ok(())
    }

    async fn read(&mut self, _: Priority) -> Result<Option<bool>, Trouble> {
        let Some(line) = self.held.clone() else { return Ok(None) };
        let level = off_thread(move || line.is_high()).await;
        if level.is_err() {
            self.held = None;
        }
        Ok(Some(level?))
    }

    fn period(&self) -> Span {
        Span::from_secs(1)
    }
}

//! The controller's face: one `step` per frame, command or timer, and nothing that waits.

use super::interface::{Accepted, ChargerStatus, MeterStatus, Refused, Setup, SiteStatus};
use crate::command::ChargerCommand;
use crate::event::Event;
use crate::quantity::Mono;
use crate::reading::Observation;

/// The whole output of a step; its buffers are used again by the next.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// One order per charger, in the order of the configuration.
    pub commands: Vec<ChargerCommand>,
    /// One per charger.
    pub chargers: Vec<ChargerStatus>,
    /// One per meter.
    pub meters: Vec<MeterStatus>,
    /// The site.
    pub site: Option<SiteStatus>,
    /// What happened in this step.
    pub events: Vec<Event>,
    /// When to come back although nothing was heard; at most one second from now.
    pub wake_at: Mono,
}

/// The controller with its state.
#[derive(Debug)]
pub struct Controller {
    setup: Setup,
    decision: Decision,
}

impl Controller {
    /// A controller that knows nothing yet: it raises nothing before it has heard of every meter and charger.
    #[must_use]
    pub fn new(setup: Setup, now: Mono) -> Self {
        let _ = now;
        Self { setup, decision: Decision::default() }
    }

    /// Takes in what was heard since the last step, in order, and decides anew for every charger.
    ///
    /// `now` must not run backwards. `wall` is the wall clock in unix seconds where it is known to be set.
    pub fn step(&mut self, now: Mono, wall: Option<i64>, observations: &[Observation]) -> &Decision {
        let _ = (wall, observations, &self.setup);
        self.decision.wake_at = now;
        &self.decision
    }

    /// A wish: `path` is `site/set/<setting>` or `charger/<id>/set/<setting>`, `value` the text as received.
    /// Takes effect with the next `step`.
    ///
    /// # Errors
    /// With what is allowed, when path or value are not.
    pub fn set(&mut self, now: Mono, path: &str, value: &str) -> Result<Accepted, Refused> {
        let _ = (now, value);
        Err(Refused(format!("`{path}` is not a setting")))
    }

    /// The offer to leave behind at each charger when the appliance stops in good order.
    pub fn orderly_stop(&mut self, now: Mono) -> Vec<crate::quantity::Milliamp> {
        let _ = now;
        vec![crate::quantity::Milliamp::ZERO; self.setup.chargers.len()]
    }

    /// What was decided last.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }
}

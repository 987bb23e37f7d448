//! What became of an order to dim, for the history: when it came, how soon it was kept, and the power that was held.

use crate::event::{EventType, Figures};
use crate::quantity::{Mono, Watt};

use super::controller::{Controller, Subject};

/// An order in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dimming {
    since: Mono,
    /// Since when the power has been under the limit.
    kept_since: Option<Mono>,
    /// Highest measured power since then; `None` once it was not measured for a moment.
    measured: Option<Watt>,
    /// Highest power that was offered since then.
    offered: Watt,
}

impl Dimming {
    fn new(now: Mono) -> Self {
        Self { since: now, kept_since: None, measured: Some(Watt::ZERO), offered: Watt::ZERO }
    }

    /// `measured`: of all charging; what is offered counts where nobody measures it.
    fn watch(&mut self, now: Mono, limit: Watt, measured: Option<Watt>, offered: Watt) {
        if self.kept_since.is_none() && measured.unwrap_or(offered) <= limit {
            self.kept_since = Some(now);
        }
        if self.kept_since.is_some() {
            self.measured = self.measured.zip(measured).map(|(highest, power)| highest.max(power));
            self.offered = self.offered.max(offered);
        }
    }
}

impl Controller {
    /// Begins, follows and ends the record of an order to dim; `active` is what the signals say now.
    pub(super) fn follow_dimming(&mut self, now: Mono, active: bool) {
        if !active && self.dimming.is_none() {
            return;
        }
        let limit = self.dim.unwrap_or(Watt::ZERO);
        let measured = self.charging();
        if active && self.dimming.is_none() {
            self.dimming = Some(Dimming::new(now));
            let drawn =
                measured.map_or_else(|| "what is drawn is not measured".to_owned(), |it| format!("{it} is drawn"));
            let detail = format!("an order to dim is in force: {limit} for all charging together; {drawn}");
            self.tell_dimming(EventType::DimStarted, detail, limit, measured);
            return;
        }
        let offered = self.offered_power();
        let Some(dimming) = &mut self.dimming else { return };
        if active {
            dimming.watch(now, limit, measured, offered);
            return;
        }
        let Dimming { since, kept_since, measured, offered } = *dimming;
        self.dimming = None;
        let (held, highest) = match (kept_since, measured) {
            (Some(at), Some(highest)) => {
                let held = format!(
                    "{limit} was kept from {} s after the order on, at most {highest} was drawn",
                    at.since(since).0 / 1000
                );
                (held, Some(highest))
            }
            (Some(at), None) => {
                let held = format!(
                    "{limit} was kept from {} s after the order on, by offers of at most {offered}; what was drawn is not measured",
                    at.since(since).0 / 1000
                );
                (held, None)
            }
            (None, _) => (format!("{limit} was not reached while it was"), None),
        };
        let detail = format!("no order to dim is in force any more: {held}");
        self.tell_dimming(EventType::DimEnded, detail, limit, highest);
    }

    fn tell_dimming(&mut self, event: EventType, detail: String, limit: Watt, power: Option<Watt>) {
        let figures = Figures { power, power_limit: Some(limit), ..Figures::default() };
        self.tell_with(event, Subject::Site, detail, figures);
    }
}

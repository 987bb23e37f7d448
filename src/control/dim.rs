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
    /// The most that can have been drawn since then, by currents and offers.
    at_most: Watt,
}

impl Dimming {
    fn new(now: Mono) -> Self {
        Self { since: now, kept_since: None, measured: Some(Watt::ZERO), at_most: Watt::ZERO }
    }

    /// `measured`: power of all charging; where nobody measures it, what currents and offers allow counts.
    fn watch(&mut self, now: Mono, limit: Watt, measured: Option<Watt>, at_most: Watt) {
        if self.kept_since.is_none() && measured.unwrap_or(at_most) <= limit {
            self.kept_since = Some(now);
        }
        if self.kept_since.is_some() {
            self.measured = self.measured.zip(measured).map(|(highest, power)| highest.max(power));
            self.at_most = self.at_most.max(at_most);
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
            let drawn = measured.map_or_else(|| "the power is not measured".to_owned(), |it| format!("{it} is drawn"));
            let detail = format!("an order to dim is in force: {limit} for all charging together; {drawn}");
            self.tell_dimming(EventType::DimStarted, detail, limit, measured);
            return;
        }
        let at_most = self.drawn_at_most();
        let Some(dimming) = &mut self.dimming else { return };
        if active {
            dimming.watch(now, limit, measured, at_most);
            return;
        }
        let Dimming { since, kept_since, measured, at_most } = *dimming;
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
                let after = at.since(since).0 / 1000;
                let held = format!(
                    "{limit} was kept from {after} s after the order on, at most {at_most} by currents and offers; the power \
                     was not measured"
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

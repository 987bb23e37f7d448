//! What one charger may get from everything that is not shared with others: switches, modes, signals, its own limits.
//! What the sun leaves is shared, and lowers the want afterwards (`demand`).

use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::{OwnLimit, PilotState};

use super::charger::Charger;
use super::controller::Controller;
use super::interface::{Detail, LimitReason};
use super::session::{DRAWS, largest};
use super::turn::Rank;

/// The most that one charger may get, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Want {
    pub(super) cap: Milliamp,
    pub(super) word: LimitReason,
    pub(super) detail: Detail,
    pub(super) figure: Option<Milliamp>,
    /// How long the reason lasts, where that is known.
    pub(super) wait: Option<Span>,
    /// What is to be said where the minimum is all that the sun leaves.
    pub(super) sun: Option<(Detail, Option<Span>)>,
    /// On so many phases the sun would pay for it: one where it does not on three, three where it does on all.
    pub(super) sun_phases: Option<u8>,
    /// It may not charge now: what its timer falls to is 0.
    pub(super) forbidden: bool,
    /// It gets nothing, for whatever reason but that its phases are being switched or its car is being woken.
    pub(super) barred: bool,
    /// It is about to start on the surplus, and keeps it.
    pub(super) claims: bool,
    /// Place in the order of admission, lower first.
    pub(super) rank: Rank,
}

impl Want {
    pub(super) fn lower(&mut self, cap: Milliamp, word: LimitReason) {
        self.lower_with(cap, word, Detail::None, None);
    }

    pub(super) fn lower_with(&mut self, cap: Milliamp, word: LimitReason, detail: Detail, figure: Option<Milliamp>) {
        if cap < self.cap {
            (self.cap, self.word, self.detail, self.figure) = (cap, word, detail, figure);
            self.wait = None;
        }
    }

    pub(super) fn lower_until(&mut self, cap: Milliamp, word: LimitReason, detail: Detail, wait: Option<Span>) {
        if cap < self.cap {
            self.lower_with(cap, word, detail, None);
            self.wait = wait;
        }
    }

    pub(super) fn forbid(&mut self, word: LimitReason) {
        self.forbidden = true;
        self.lower(Milliamp::ZERO, word);
    }
}

impl Controller {
    /// The ceiling of one charger from everything that is not shared with others.
    pub(super) fn want(&self, now: Mono, index: usize) -> Want {
        let charger = &self.chargers[index];
        let mut want = Want {
            cap: charger.setup.max_current,
            word: LimitReason::None,
            detail: Detail::None,
            figure: None,
            wait: None,
            sun: None,
            sun_phases: None,
            forbidden: false,
            barred: false,
            claims: false,
            rank: self.rank(now, charger),
        };
        want.lower(charger.settings.max_current, LimitReason::MaxCurrent);
        if !self.site.charging_enabled {
            want.forbidden = true;
            want.lower_with(Milliamp::ZERO, LimitReason::Off, Detail::ChargingDisabled, None);
        }
        if self.signals.block {
            want.forbid(LimitReason::Block);
        }
        if self.signals.dim && self.dim.is_none() {
            want.forbid(LimitReason::Dim);
        }
        self.want_by_mode(charger, &mut want);
        if let Some(cap) = charger.obedience.cap() {
            want.lower(cap, LimitReason::NotObeying);
        }
        let Some(report) = charger.report else { return want };
        if matches!(report.state, PilotState::E | PilotState::F) || !report.fault.is_empty() {
            want.lower(Milliamp::ZERO, LimitReason::Fault);
        }
        if report.needs_authorization {
            want.lower(Milliamp::ZERO, LimitReason::Authorization);
        }
        if report.state == PilotState::A {
            want.lower_with(Milliamp::ZERO, LimitReason::None, Detail::NoCar, None);
        }
        if let Some(limit) = charger.box_limit() {
            let word = match report.own_limit_cause {
                Some(OwnLimit::Cable) => LimitReason::Cable,
                Some(OwnLimit::Temperature) => LimitReason::Temperature,
                Some(OwnLimit::Car) => LimitReason::Car,
                Some(OwnLimit::Setting) | None => LimitReason::ChargerLimit,
            };
            want.lower_with(limit, word, Detail::None, Some(limit));
        }
        if !starts_drawing(charger) {
            let detail = if report.state == PilotState::D { Detail::Ended } else { Detail::NotDrawing };
            want.lower_with(charger.start_cap(now), LimitReason::Car, detail, None);
        } else if let Some(cap) = charger.taper.cap(charger.step()) {
            want.lower_with(cap.max(charger.least()), LimitReason::Car, Detail::TakesLess, None);
        } else if self.limits_imbalance() && charger.phases_are_unknown() {
            want.lower_with(charger.least(), LimitReason::Car, Detail::PhasesUnknown, None);
        }
        want.barred = want.forbidden || want.cap < charger.least();
        want
    }
}

/// A car that has its offer but draws nothing yet is held at the least, or it would jump to what it was raised to.
pub(super) fn starts_drawing(charger: &Charger) -> bool {
    if charger.is_measured() { largest(&charger.current()) >= DRAWS } else { charger.state() == Some(PilotState::C) }
}

//! When surplus charging begins and ends: `mean` keeps an account, `strict` two times.
//!
//! The account of `mean` is in milliseconds at the car's minimum. A second at the minimum that the sun pays in full
//! pays one second in, a second that the grid pays in full takes one out; half and half is worth nothing either way.
//! So a running car lives through clouds on what the sun paid before, as far as the account holds, and stops when the
//! minimum has cost more than a stop and a new start would: that costs the car's start-up time and one of the few
//! interruptions that it puts up with. A waiting car starts once the sun alone has paid for it for a while.

use crate::control::interface::SolarPatience;
use crate::quantity::{Mono, Span};

/// The most that sun of the past pays for.
const CREDIT: i64 = 75_000;
/// Debt at which a running car is stopped; each interruption that it has had makes it a quarter more.
const DEBT: i64 = 75_000;
/// Sun that must have been missed before a start.
const START: i64 = 30_000;
/// A gap between two frames counts for no more than this.
const LONGEST: Span = Span::from_secs(30);

/// What one frame says of one charger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Value of running at this surplus, in thousandths of the minimum: 1000 where the sun pays for all of it, -1000
    /// where the grid does.
    pub(super) worth: i64,
    /// The surplus pays for what the mode asks for.
    pub(super) enough: bool,
}

/// The rules that bind a change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) patience: SolarPatience,
    pub(super) grace: Span,
    pub(super) proof: Span,
    pub(super) min_on: Span,
    pub(super) min_off: Span,
    /// Since when it has been offered current without a break.
    pub(super) on_since: Option<Mono>,
    pub(super) interruptions: u16,
}

impl Wait {
    /// How long, where that is known.
    pub(super) fn span(self) -> Option<Span> {
        match self {
            Self::None | Self::Cloud => None,
            Self::Grace(span) | Self::Proof(span) | Self::Rest(span) => Some(span),
        }
    }
}

/// Whether one charger runs on surplus.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    on: bool,
    found: bool,
    balance: i64,
    /// When the surplus last stopped it.
    stopped_at: Option<Mono>,
    /// Too little since, or enough since, whichever counts for `strict`.
    other_since: Option<Mono>,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing.
    None,
    /// The minimum runs although the surplus does not pay for it now.
    Cloud,
    /// It stops after so long without sun.
    Grace(Span),
    /// It starts after so long with sun.
    Proof(Span),
    /// It was stopped so recently.
    Rest(Span),
}

impl Account {
    /// It runs already when the mode begins: what is running is not interrupted without need.
    pub(super) fn begin(running: bool) -> Self {
        Self { on: running, ..Self::default() }
    }

    /// It was found charging: nothing of what is running was this controller's choice, and no shortest time binds it.
    pub(super) fn found() -> Self {
        Self { on: true, found: true, ..Self::default() }
    }

    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// A frame, `elapsed` after the one before.
    pub(super) fn judge(&mut self, now: Mono, elapsed: Span, judged: Judged, rules: &Rules) {
        let change = match rules.patience {
            SolarPatience::Mean => self.judge_mean(now, elapsed.min(LONGEST), judged, rules),
            SolarPatience::Strict => self.judge_strict(now, judged, rules),
        };
        if change {
            self.on = !self.on;
            self.found = false;
            self.balance = 0;
            self.other_since = None;
            self.stopped_at = (!self.on).then_some(now);
        }
    }

    fn judge_mean(&mut self, now: Mono, elapsed: Span, judged: Judged, rules: &Rules) -> bool {
        let paid = elapsed.0.saturating_mul(judged.worth) / 1000;
        if self.on {
            let debt = DEBT + DEBT / 4 * i64::from(rules.interruptions);
            self.balance = (self.balance + paid).clamp(-debt, CREDIT);
            let may_stop = self.found || rules.on_since.is_none_or(|since| now.since(since) >= rules.min_on);
            return self.balance <= -debt && may_stop;
        }
        self.balance = (self.balance + paid).clamp(0, START);
        self.balance >= START && self.rest(now, rules) == Span::ZERO
    }

    fn judge_strict(&mut self, now: Mono, judged: Judged, rules: &Rules) -> bool {
        if judged.enough == self.on {
            self.other_since = None;
            return false;
        }
        let since = *self.other_since.get_or_insert(now);
        now.since(since) >= if self.on { rules.grace } else { rules.proof }
    }

    /// Time left of `min_off`.
    fn rest(&self, now: Mono, rules: &Rules) -> Span {
        self.stopped_at.map_or(Span::ZERO, |at| Span((rules.min_off.0 - now.since(at).0).max(0)))
    }

    /// What it waits for now.
    pub(super) fn waits(&self, now: Mono, judged: Judged, rules: &Rules) -> Wait {
        let left = |whole: Span| self.other_since.map(|since| Span((whole.0 - now.since(since).0).max(0)));
        match (rules.patience, self.on) {
            (SolarPatience::Strict, true) => left(rules.grace).map_or(Wait::None, Wait::Grace),
            (SolarPatience::Strict, false) => left(rules.proof).map_or(Wait::None, Wait::Proof),
            (SolarPatience::Mean, true) if !judged.enough => Wait::Cloud,
            (SolarPatience::Mean, false) if judged.enough && self.rest(now, rules) > Span::ZERO => {
                Wait::Rest(self.rest(now, rules))
            }
            (SolarPatience::Mean, _) => Wait::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Span = Span::from_secs(1);
    const SUN: Judged = Judged { worth: 1000, enough: true };
    const NIGHT: Judged = Judged { worth: -1000, enough: false };
    const HALF: Judged = Judged { worth: 0, enough: false };

    fn rules(patience: SolarPatience) -> Rules {
        Rules {
            patience,
            grace: Span::from_secs(30),
            proof: Span::from_secs(120),
            min_on: Span::from_secs(300),
            min_off: Span::from_secs(300),
            on_since: None,
            interruptions: 0,
        }
    }

    /// Feeds a frame a second; the second in which it changed.
    fn run(account: &mut Account, from: i64, judged: Judged, rules: &Rules) -> Option<i64> {
        let was = account.is_on();
        (from..from + 3_600).find(|second| {
            account.judge(Mono(second * 1000), SECOND, judged, rules);
            account.is_on() != was
        })
    }

    #[test]
    fn mean_starts_when_a_start_is_worth_it_and_stops_when_the_credit_is_used_up() {
        let rules = rules(SolarPatience::Mean);
        let mut account = Account::default();
        assert_eq!(run(&mut account, 0, SUN, &rules), Some(29), "half a minute of sun");
        assert_eq!(run(&mut account, 30, SUN, &rules), None);
        assert_eq!(run(&mut account, 4_000, NIGHT, &rules), Some(4_149), "the credit and the price of a new start");
        assert_eq!(run(&mut account, 4_150, SUN, &rules), Some(4_449), "not before min_off_s is over");
    }

    #[test]
    fn half_from_the_sun_goes_on_and_does_not_start() {
        let rules = rules(SolarPatience::Mean);
        assert_eq!(run(&mut Account::default(), 0, HALF, &rules), None);
        assert_eq!(run(&mut Account::begin(true), 0, HALF, &rules), None);
    }

    #[test]
    fn min_on_holds_a_car_that_was_just_started_and_interruptions_make_it_dearer() {
        let mut rules = rules(SolarPatience::Mean);
        rules.on_since = Some(Mono(0));
        assert_eq!(run(&mut Account::begin(true), 0, NIGHT, &rules), Some(300));
        rules.on_since = None;
        rules.interruptions = 4;
        assert_eq!(run(&mut Account::begin(true), 0, NIGHT, &rules), Some(149));
    }

    #[test]
    fn strict_knows_its_two_times_only() {
        let mut rules = rules(SolarPatience::Strict);
        rules.on_since = Some(Mono(0));
        let mut account = Account::default();
        assert_eq!(run(&mut account, 0, SUN, &rules), Some(120));
        account.judge(Mono(130_000), SECOND, NIGHT, &rules);
        assert_eq!(account.waits(Mono(140_000), NIGHT, &rules), Wait::Grace(Span::from_secs(20)));
        account.judge(Mono(150_000), SECOND, SUN, &rules);
        assert_eq!(account.waits(Mono(150_000), SUN, &rules), Wait::None, "the sun came back in time");
        assert_eq!(run(&mut account, 200, NIGHT, &rules), Some(230));
        account.judge(Mono(240_000), SECOND, SUN, &rules);
        assert_eq!(account.waits(Mono(240_000), SUN, &rules), Wait::Proof(Span::from_secs(120)));
        account.judge(Mono(300_000), SECOND, NIGHT, &rules);
        assert_eq!(run(&mut account, 301, SUN, &rules), Some(421), "a cloud begins the proof anew");
    }

    #[test]
    fn a_gap_between_frames_is_not_taken_for_sun_or_night() {
        let rules = rules(SolarPatience::Mean);
        let mut account = Account::begin(true);
        account.judge(Mono(0), Span::from_secs(3_600), NIGHT, &rules);
        assert!(account.is_on());
    }
}

//! One charger that follows the sun: how much it runs at, and what its car was found to make of an offer.

use crate::quantity::{Milliamp, Mono, Span, Watt};

use super::account::Account;

/// An offer is changed when the wish is off by so much, and not more often than this.
const CHANGE: (Milliamp, Span) = (Milliamp(800), Span::from_secs(3));
/// Or when it has been off by so much for this time: less than a step is no reason to hurry, and none to stay.
const DRIFT: (Milliamp, Span) = (Milliamp(600), Span::from_secs(20));
/// Or when it is off by so much, after this time.
const JUMP: (Milliamp, Span) = (Milliamp(2_500), Span::from_secs(2));
/// Cars draw less than offered, by this before it was seen and by this at most.
const UNDER: (Milliamp, Milliamp) = (Milliamp(500), Milliamp(1_200));
/// A draw that moved by less is steady; figures of the car are taken from draws that were steady for so long.
const STEADY: (Milliamp, Span) = (Milliamp(150), Span::from_secs(4));
/// After a new offer took effect the car is given so long to follow it.
const FOLLOWED: Span = Span::from_secs(6);
/// Below this power factor an offer is not worth having: most of what the car draws is reactive.
const POOR: i32 = 800;
/// And up to here a higher one is looked for.
const LOOKED: Milliamp = Milliamp::from_amps(10);

/// What one charger makes of the sun.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Solar {
    /// `None` while its mode does not follow the sun.
    pub(super) account: Option<Account>,
    /// The offer that follows the surplus; zero before it was found.
    level: Milliamp,
    level_at: Mono,
    /// Since when the wish has been off by a little, on the same side.
    drifts_since: Option<(bool, Mono)>,
    /// What the car draws less than it is offered.
    under: Milliamp,
    /// The least offer at which the car turns current into power, as far as is known.
    least: Milliamp,
    /// Power factor of its present draw in thousandths.
    factor: i32,
    drawn: Milliamp,
    steady_since: Mono,
}

impl Default for Solar {
    fn default() -> Self {
        Self {
            account: None,
            level: Milliamp::ZERO,
            level_at: Mono(i64::MIN / 2),
            drifts_since: None,
            under: UNDER.0,
            least: Milliamp::ZERO,
            factor: 1000,
            drawn: Milliamp::ZERO,
            steady_since: Mono(i64::MIN / 2),
        }
    }
}

impl Solar {
    /// Active power of what flows at so many volt-ampere.
    pub(super) fn active(&self, apparent: Watt) -> Watt {
        Watt(i32::try_from(i64::from(apparent.0) * i64::from(self.factor) / 1000).unwrap_or(i32::MAX))
    }

    /// The least offer in this session that is worth it; zero where none was found to be poor.
    pub(super) fn least(&self) -> Milliamp {
        self.least
    }

    /// What the car takes of an offer.
    pub(super) fn drawn_of(&self, offer: Milliamp) -> Milliamp {
        (offer - self.under).max(Milliamp::ZERO)
    }

    /// The offer at which the car takes so much.
    pub(super) fn offer_for(&self, drawn: Milliamp) -> Milliamp {
        drawn + self.under
    }

    /// Learns from a draw. `factor`: its power factor in thousandths where something shows it.
    pub(super) fn observe(
        &mut self,
        now: Mono,
        drawn: Milliamp,
        offer: Milliamp,
        effective_at: Option<Mono>,
        factor: Option<i32>,
    ) {
        self.factor = factor.unwrap_or(1000);
        if (drawn - self.drawn).abs() > STEADY.0 {
            self.steady_since = now;
        }
        self.drawn = drawn;
        let settled = effective_at.is_some_and(|at| now.since(at) >= FOLLOWED);
        if !settled || now.since(self.steady_since) < STEADY.1 || drawn < Milliamp::from_amps(3) {
            return;
        }
        let idle = offer - drawn;
        if idle >= Milliamp::ZERO && idle <= UNDER.1 {
            self.under = Milliamp(self.under.0 + (idle.0 - self.under.0) / 5);
        }
        if self.factor < POOR && offer < LOOKED && self.least <= offer {
            self.least = Milliamp(offer.0.saturating_add(1_000)).floor_to(Milliamp(1_000)).min(LOOKED);
        }
    }

    /// Follows the wish in whole steps, neither for every flicker nor too often.
    pub(super) fn follow(
        &mut self,
        now: Mono,
        wish: Milliamp,
        floor: Milliamp,
        cap: Milliamp,
        step: Milliamp,
    ) -> Milliamp {
        let wish = wish.max(floor).min(cap.max(floor));
        let off = (wish - self.level).abs();
        let age = now.since(self.level_at);
        let side = wish > self.level;
        let drifts = match self.drifts_since.filter(|(before, _)| *before == side && off >= DRIFT.0) {
            Some((_, since)) => now.since(since) >= DRIFT.1,
            None => {
                self.drifts_since = (off >= DRIFT.0).then_some((side, now));
                false
            }
        };
        let due = drifts || (off >= CHANGE.0 && age >= CHANGE.1) || (off >= JUMP.0 && age >= JUMP.1);
        // At its floor or ceiling a wish says all that it can.
        let ends = off > Milliamp::ZERO && age >= CHANGE.1 && (wish == floor || wish == cap);
        if due || ends || self.level < floor {
            self.level = Milliamp(wish.0.saturating_add(step.0 / 2)).floor_to(step).max(floor);
            self.level_at = now;
            self.drifts_since = None;
        }
        self.level
    }

    /// It does not run.
    pub(super) fn rest(&mut self) {
        self.level = Milliamp::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Milliamp = Milliamp(1_000);

    fn follow(solar: &mut Solar, at: i64, wish: i32) -> i32 {
        solar.follow(Mono(at), Milliamp(wish), Milliamp(6_000), Milliamp(16_000), STEP).0
    }

    #[test]
    fn a_flicker_changes_nothing_and_a_jump_is_followed_sooner() {
        let mut solar = Solar::default();
        assert_eq!(follow(&mut solar, 0, 9_400), 9_000);
        assert_eq!(follow(&mut solar, 40_000, 9_700), 9_000);
        assert_eq!(follow(&mut solar, 59_000, 9_700), 9_000);
        assert_eq!(follow(&mut solar, 60_000, 9_500), 9_000, "back within half a step and a little");
        assert_eq!(follow(&mut solar, 61_000, 9_900), 10_000);
        assert_eq!(follow(&mut solar, 62_000, 8_900), 10_000, "too soon");
        assert_eq!(follow(&mut solar, 63_000, 7_300), 7_000, "a cloud");
        assert_eq!(follow(&mut solar, 70_000, 30_000), 16_000);
        assert_eq!(follow(&mut solar, 80_000, -500), 6_000, "held at the minimum");
    }

    #[test]
    fn what_a_car_draws_less_is_learnt() {
        let mut solar = Solar::default();
        for second in 0..60 {
            solar.observe(Mono(second * 1000), Milliamp(9_000), Milliamp(10_000), Some(Mono(0)), None);
        }
        assert!((solar.offer_for(Milliamp(9_000)).0 - 10_000).abs() < 20);
    }

    #[test]
    fn an_offer_that_yields_reactive_current_is_too_low_and_the_next_is_tried() {
        let mut solar = Solar::default();
        let mut offer = 6_000;
        for second in 0..60 {
            let poor = offer < 8_000;
            let since = second / 20 * 20;
            solar.observe(
                Mono(second * 1000),
                Milliamp(offer - 300),
                Milliamp(offer),
                Some(Mono(since * 1000)),
                poor.then_some(100),
            );
            if second % 20 == 19 {
                offer = offer.max(solar.least().0);
            }
        }
        assert_eq!(solar.least(), Milliamp(8_000));
        assert_eq!(solar.active(Watt(4_000)), Watt(4_000), "at 8 A it is worth what it draws");
    }
}

//! The surplus of each frame: what would be exported were nothing running that follows the sun.
//!
//! Judged by what the grid meter says at its own sample time: import, less what the cars in sun-following modes and the
//! relays drew then. What a car drew at that moment is known within bounds only, so the surplus is a range, and the
//! estimate moves only as far as the evidence forces it: neither an order nor a car on its way to it makes any.

use crate::control::interface::{BatteryRank, SurplusKind, SurplusSetup};
use crate::control::phases::PhaseSet;
use crate::quantity::{Millivolt, Mono, Phase, Phases, Span, Watt};

use super::battery::Appetite;

/// Frames remembered.
const DEPTH: usize = 8;
/// The steady figure is the median of the frames of this time: a hob that pulses faster than a car can follow is noise.
const STEADY: Span = Span::from_secs(5);

/// Power that is there to be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Pot {
    /// All phases together.
    pub(super) net: Watt,
    /// Each phase by itself.
    pub(super) phases: Phases<Watt>,
}

impl Pot {
    /// What somebody on these phases may use of it.
    pub(super) fn left_for(&self, phases: PhaseSet, kind: SurplusKind) -> Watt {
        match kind {
            SurplusKind::Net => self.net,
            SurplusKind::PerPhase => {
                let least = phases.iter().map(|phase| self.phases[phase].0).min().unwrap_or(0);
                Watt(least.saturating_mul(i32::try_from(phases.len()).unwrap_or(1)))
            }
        }
    }

    /// Somebody on these phases uses so much of it, evenly.
    pub(super) fn take(&mut self, power: Watt, phases: PhaseSet) {
        self.net -= power;
        let each = Watt(power.0 / i32::try_from(phases.len().max(1)).unwrap_or(1));
        for phase in phases.iter() {
            self.phases[phase] -= each;
        }
    }

    /// Somebody on these phases goes on at so much, evenly, whatever is there: what the grid pays of it is nobody
    /// else's lack.
    pub(super) fn pay(&mut self, power: Watt, phases: PhaseSet) {
        let each = Watt(power.0 / i32::try_from(phases.len().max(1)).unwrap_or(1));
        self.net -= power.min(self.net.max(Watt::ZERO));
        for phase in phases.iter() {
            let there = self.phases[phase].max(Watt::ZERO);
            self.phases[phase] -= each.min(there);
        }
    }

    /// A load, of which nobody knows on which phases it is, takes so much of it.
    pub(super) fn load(&mut self, power: Watt, phases: PhaseSet, kind: SurplusKind) {
        match kind {
            SurplusKind::Net => self.take(power, phases),
            SurplusKind::PerPhase => self.net -= power,
        }
    }

    /// Somebody on this phase draws so much of it.
    pub(super) fn draw(&mut self, power: Watt, phase: Phase) {
        self.net += power;
        self.phases[phase] += power;
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        self.by(other, |one, more| one + more)
    }

    /// Each figure by itself.
    fn by(&self, other: &Self, of: impl Fn(Watt, Watt) -> Watt) -> Self {
        let mut phases = self.phases;
        for phase in Phase::ALL {
            phases[phase] = of(self.phases[phase], other.phases[phase]);
        }
        Self { net: of(self.net, other.net), phases }
    }
}

impl SurplusSetup {
    /// What the grid reading lacks because of a home battery at this power, discharge positive.
    pub(super) fn of_battery(&self, power: Watt) -> Watt {
        if power > Watt::ZERO {
            return -power;
        }
        match self.battery {
            BatteryRank::First => Watt::ZERO,
            BatteryRank::Share => Watt(power.0.saturating_neg() / 2),
            BatteryRank::Last => -power,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at: Mono,
    pot: Pot,
}

/// The surplus of the last frames.
#[derive(Clone, Debug)]
pub(in crate::control) struct Sun {
    pub(super) setup: SurplusSetup,
    pub(super) appetite: Appetite,
    ring: [Sample; DEPTH],
    next: usize,
    len: usize,
    /// The newest frame without the cars, and its voltages.
    bare: Pot,
    voltage: Phases<Option<Millivolt>>,
    /// The estimate before it; before the first: nothing.
    before: Pot,
    /// Whose draw is in the frames, a bit each.
    followers: u64,
    /// A frame that nobody has judged yet, and how long after the one before it was sampled.
    fresh: Option<Span>,
}

impl Sun {
    pub(in crate::control) fn new(setup: SurplusSetup) -> Self {
        Self {
            setup,
            appetite: Appetite::default(),
            ring: [Sample::default(); DEPTH],
            next: 0,
            len: 0,
            bare: Pot::default(),
            voltage: Phases::default(),
            before: Pot::default(),
            followers: 0,
            fresh: None,
        }
    }

    /// A believed frame, sampled at `at`, with everything added back but the cars; follow with `estimate`.
    pub(super) fn frame(&mut self, at: Mono, bare: Pot, voltage: Phases<Option<Millivolt>>) {
        let elapsed = self.newest().map_or(Span::ZERO, |before| at.since(before.at));
        self.fresh = Some(Span(self.fresh.unwrap_or(Span::ZERO).0.saturating_add(elapsed.0)));
        self.before = self.now().unwrap_or_default();
        (self.bare, self.voltage) = (bare, voltage);
        self.ring[self.next] = Sample { at, pot: bare };
        self.next = (self.next + 1) % DEPTH;
        self.len = (self.len + 1).min(DEPTH);
    }

    /// Sample time and voltages of the newest frame.
    pub(super) fn sampled(&self) -> Option<(Mono, Phases<Option<Millivolt>>)> {
        self.newest().map(|it| (it.at, self.voltage))
    }

    /// Takes the estimate of the newest frame anew: what the cars drew at its time, at least and at most. `followers`
    /// tells which cars.
    pub(super) fn estimate(&mut self, least: &Pot, most: &Pot, followers: u64) {
        if self.len == 0 {
            return;
        }
        if std::mem::replace(&mut self.followers, followers) != followers {
            // What was there for others is no part of the median.
            self.len = 1;
        }
        let newest = (self.next + DEPTH - 1) % DEPTH;
        let (fewest, highest) = (self.bare.plus(least), self.bare.plus(most));
        self.ring[newest].pot = self.before.by(&fewest, Watt::max).by(&highest, Watt::min);
    }

    /// Nothing is known any more.
    pub(in crate::control) fn forget(&mut self) {
        self.len = 0;
        self.fresh = None;
    }

    /// Time between frames that nobody has judged yet; asked once.
    pub(super) fn take_fresh(&mut self) -> Option<Span> {
        self.fresh.take()
    }

    fn newest(&self) -> Option<&Sample> {
        (self.len > 0).then(|| &self.ring[(self.next + DEPTH - 1) % DEPTH])
    }

    /// Of the newest frame.
    pub(super) fn now(&self) -> Option<Pot> {
        self.newest().map(|it| it.pot)
    }

    /// Median of the last seconds, each figure by itself.
    pub(super) fn steady(&self) -> Option<Pot> {
        let newest = self.newest()?.at;
        let recent = || {
            let all = (1..=self.len).map(|back| &self.ring[(self.next + DEPTH - back) % DEPTH]);
            all.take_while(move |it| newest.since(it.at) < STEADY)
        };
        let median = |of: fn(&Sample) -> Watt| {
            let mut values = [Watt::ZERO; DEPTH];
            let mut count = 0;
            for (place, sample) in values.iter_mut().zip(recent()) {
                *place = of(sample);
                count += 1;
            }
            values[..count].sort_unstable();
            values[count / 2]
        };
        let phases =
            Phases([median(|it| it.pot.phases.0[0]), median(|it| it.pot.phases.0[1]), median(|it| it.pot.phases.0[2])]);
        Some(Pot { net: median(|it| it.pot.net), phases })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLTS: Phases<Option<Millivolt>> = Phases([None; 3]);

    fn pot(net: i32) -> Pot {
        Pot { net: Watt(net), phases: Phases([Watt(net / 2), Watt(net / 4), Watt(net / 4)]) }
    }

    #[test]
    fn one_odd_frame_is_noise_and_a_lasting_change_is_not() {
        let mut sun = Sun::new(SurplusSetup::default());
        assert_eq!((sun.now(), sun.steady()), (None, None));
        for second in 0..10 {
            sun.frame(Mono(second * 1000), pot(if second == 7 { -3_000 } else { 4_000 }), VOLTS);
            assert_eq!(sun.steady().map(|it| it.net), Some(Watt(4_000)));
        }
        for second in 10..13 {
            sun.frame(Mono(second * 1000), pot(2_000), VOLTS);
        }
        assert_eq!(sun.steady().map(|it| it.net), Some(Watt(2_000)), "three of five");
        assert_eq!(sun.take_fresh(), Some(Span::from_secs(12)));
        assert_eq!(sun.take_fresh(), None);
    }

    #[test]
    fn a_car_on_its_way_to_its_offer_makes_no_surplus() {
        let mut sun = Sun::new(SurplusSetup::default());
        let mut see = |second: i64, export: i32, least: i32, most: i32| {
            sun.frame(Mono(second * 1000), pot(export), VOLTS);
            sun.estimate(&pot(least), &pot(most), 1);
            sun.now().map(|it| it.net.0)
        };
        assert_eq!(see(0, 3_000, 4_000, 4_000), Some(7_000));
        assert_eq!(see(1, 3_000, 4_000, 7_000), Some(7_000), "an offer was raised, the car may follow");
        assert_eq!(see(2, 1_000, 4_000, 7_000), Some(7_000), "it does");
        assert_eq!(see(3, 1_000, 4_000, 4_000), Some(5_000), "it did not: the sun went");
        assert_eq!(see(4, -4_000, 4_000, 7_000), Some(3_000), "whatever the car may have done");
    }

    #[test]
    fn a_slow_meter_is_taken_at_its_word() {
        let mut sun = Sun::new(SurplusSetup::default());
        sun.frame(Mono(0), pot(4_000), VOLTS);
        sun.frame(Mono(10_000), pot(1_000), VOLTS);
        assert_eq!(sun.steady().map(|it| it.net), Some(Watt(1_000)));
    }

    #[test]
    fn what_charges_a_battery_counts_by_its_rank_and_what_it_gives_never() {
        for (battery, charging) in [(BatteryRank::First, 0), (BatteryRank::Share, 1_000), (BatteryRank::Last, 2_000)] {
            let setup = SurplusSetup { battery, ..SurplusSetup::default() };
            assert_eq!(setup.of_battery(Watt(-2_000)), Watt(charging), "{battery}");
            assert_eq!(setup.of_battery(Watt(1_500)), Watt(-1_500), "{battery}");
        }
    }

    #[test]
    fn phases_pay_for_each_other_or_not() {
        let three = PhaseSet::of(Phase::ALL);
        let mut it = pot(4_000);
        assert_eq!(it.left_for(three, SurplusKind::Net), Watt(4_000));
        assert_eq!(it.left_for(three, SurplusKind::PerPhase), Watt(3_000));
        assert_eq!(it.left_for(PhaseSet::of([Phase::L1]), SurplusKind::PerPhase), Watt(2_000));
        it.take(Watt(1_500), three);
        assert_eq!((it.net, it.phases[Phase::L2]), (Watt(2_500), Watt(500)));
    }
}

//! The load behind a meter that is not cars: what the meter says less what the cars drew at the meter's own time.
//!
//! The cars' current at the sample time is known only as a range: a poll lags the pilot, a car ramps between two
//! polls. So the house load is a range too, and the estimate changes only as far as the evidence forces it. A car that
//! ramps is then no reason to cut, and a load that appears is one in the first frame that shows more than the ramp.

use crate::quantity::{Milliamp, Mono, Phase, Phases, Span};

use super::draw::Drawn;
use super::flow::Flow;

/// Frames remembered for the raise rule.
const DEPTH: usize = 256;
/// The frames believed last: so many, and those of this time.
const FEW: usize = 3;
const RECENT: Span = Span::from_secs(10);
/// A doubt that no believed frame has settled is forgotten after this time.
const DOUBT: Span = Span::from_secs(60);

#[derive(Clone, Copy, Debug, Default)]
struct Past {
    sampled_at: Mono,
    load: Flow,
}

/// The estimate of one circuit.
#[derive(Clone, Debug)]
pub(super) struct House {
    /// The frame that the estimate rests on: sample time and current.
    frame: Option<(Mono, Flow)>,
    /// The first frame of those that count.
    begun: Option<Mono>,
    /// The estimate before that frame; before the first: no load, so that a car that is found charging is not taken for
    /// one as far as it may be the car.
    before: Flow,
    load: Flow,
    /// It holds the import of all phases together on each of them.
    total: bool,
    /// What the cars are known to have drawn at that frame's time.
    cars: Phases<Milliamp>,
    /// A doubtful frame since then says at least this, and when it last did.
    doubt: Phases<Option<(Mono, Milliamp)>>,
    /// The same of all phases together.
    doubt_sum: Option<(Mono, Milliamp)>,
    past: [Past; DEPTH],
    next: usize,
    len: usize,
}

impl Default for House {
    fn default() -> Self {
        Self {
            frame: None,
            begun: None,
            before: Flow::default(),
            load: Flow::default(),
            total: false,
            cars: Phases::default(),
            doubt: Phases([None; 3]),
            doubt_sum: None,
            past: [Past::default(); DEPTH],
            next: 0,
            len: 0,
        }
    }
}

impl House {
    /// A believed frame; follow with `estimate`. `total`: each phase holds the import of all together.
    pub(super) fn frame(&mut self, sampled_at: Mono, current: Flow, total: bool) {
        self.before = if self.frame.is_some() { self.load } else { Flow::default() };
        self.frame = Some((sampled_at, current));
        self.begun.get_or_insert(sampled_at);
        self.total = total;
        self.doubt = Phases([None; 3]);
        self.doubt_sum = None;
        self.past[self.next] = Past { sampled_at, load: self.load };
        self.next = (self.next + 1) % DEPTH;
        self.len = (self.len + 1).min(DEPTH);
    }

    /// The meter told the phases apart, the last time that it was believed.
    pub(super) fn is_per_phase(&self) -> bool {
        self.frame.is_some() && !self.total
    }

    pub(super) fn sampled_at(&self) -> Option<Mono> {
        self.frame.map(|(at, _)| at)
    }

    /// The last believed current, cars included; with a total only, the house's import on each phase and the cars' own.
    pub(super) fn measured(&self) -> Option<Phases<Milliamp>> {
        let mut current = self.frame?.1.phases;
        if self.total {
            for phase in Phase::ALL {
                current[phase] = self.load.phases[phase] + self.cars[phase];
            }
        }
        Some(current)
    }

    /// The same of all phases together, whatever the meter tells them apart by.
    pub(super) fn measured_together(&self) -> Option<Milliamp> {
        self.frame.map(|(_, current)| current.sum)
    }

    /// Takes the estimate anew from the last frame: the cars' draw at its time may have become known better since.
    pub(super) fn estimate(&mut self, cars: &Drawn) {
        let Some((_, current)) = self.frame else { return };
        let (phases, together) = (&cars.phases, cars.together);
        self.cars = phases.least;
        for phase in Phase::ALL {
            let (fewest, highest) = if self.total { cars.alone } else { (phases.least[phase], phases.most[phase]) };
            let shown = current.phases[phase];
            self.load.phases[phase] = self.before.phases[phase].clamp(shown - highest, shown - fewest);
            if self.total {
                self.load.phases[phase] = self.load.phases[phase].max(Milliamp::ZERO);
            }
        }
        self.load.sum = self.before.sum.clamp(current.sum - together.1, current.sum - together.0);
        if self.len > 0 {
            self.past[(self.next + DEPTH - 1) % DEPTH].load = self.load;
        }
    }

    /// A doubtful frame: it may only raise the estimate, until the next believed one.
    pub(super) fn doubt(&mut self, at: Mono, load: Phases<Option<Milliamp>>, sum: Option<Milliamp>) {
        let stands = self.doubt_sum.filter(|(since, _)| at.since(*since) < DOUBT);
        if let Some(sum) = sum.filter(|sum| stands.is_none_or(|(_, doubted)| *sum >= doubted)) {
            self.doubt_sum = Some((at, sum));
        }
        for (phase, value) in load.iter() {
            let Some(value) = value else { continue };
            let stands = self.doubt[phase].filter(|(since, _)| at.since(*since) < DOUBT);
            if stands.is_none_or(|(_, doubted)| *value >= doubted) {
                self.doubt[phase] = Some((at, *value));
            }
        }
    }

    /// Forgets the past: after a lost meter nothing of it counts.
    pub(super) fn forget(&mut self) {
        (self.frame, self.begun) = (None, None);
        self.before = Flow::default();
        self.len = 0;
        self.doubt = Phases([None; 3]);
        self.doubt_sum = None;
    }

    /// The load on which cuts rest; `None` while no frame has said anything. Doubtful frames alone only add.
    pub(super) fn load(&self, now: Mono) -> Option<Flow> {
        let doubt = self.doubt.map(|it| it.filter(|(at, _)| now.since(*at) < DOUBT));
        if self.frame.is_none() && doubt.0.iter().all(Option::is_none) {
            return None;
        }
        let mut load = if self.frame.is_some() { self.load } else { Flow::default() };
        for phase in Phase::ALL {
            if let Some((_, doubted)) = doubt[phase] {
                load.phases[phase] = load.phases[phase].max(doubted);
            }
        }
        if let Some((_, doubted)) = self.doubt_sum.filter(|(at, _)| now.since(*at) < DOUBT) {
            load.sum = load.sum.max(doubted);
        }
        Some(load)
    }

    /// Nothing but cars flowed, to within `noise` on each phase, in one of the frames believed last; `None` while there is
    /// none. Not in the very last alone: a meter whose delay nobody knows shows a car that its box says has gone. Nor in
    /// the first ones: as long as little is known of the cars, all of it may be taken for theirs.
    pub(super) fn was_empty(&self, noise: Milliamp) -> Option<bool> {
        let (newest, _) = self.frame?;
        let known_from = self.begun? + RECENT;
        let recent = (1..=self.len).map(|back| (back, self.past[(self.next + DEPTH - back) % DEPTH]));
        let mut recent = recent.take_while(|(back, past)| *back <= FEW || newest.since(past.sampled_at) <= RECENT);
        let is_empty = |past: &Past| past.load.phases.iter().all(|(_, load)| load.abs() < noise);
        Some(recent.any(|(_, past)| past.sampled_at >= known_from && is_empty(&past)))
    }

    /// The same, of the last minute only: for a meter that is lost.
    pub(super) fn recent_load(&self, now: Mono) -> Option<Flow> {
        let fresh = self.frame.is_none_or(|(at, _)| now.since(at) < DOUBT);
        self.load(now).filter(|_| fresh)
    }

    /// The highest load of `phase` in the frames sampled within `span` before the newest, and in at least two; `None`
    /// while there are fewer.
    pub(super) fn peak(&self, phase: Phase, span: Span) -> Option<Milliamp> {
        self.highest(span, |load| load.phases[phase])
    }

    /// The same of all phases together.
    pub(super) fn peak_sum(&self, span: Span) -> Option<Milliamp> {
        self.highest(span, |load| load.sum)
    }

    fn highest(&self, span: Span, of: impl Fn(&Flow) -> Milliamp) -> Option<Milliamp> {
        if self.len < 2 {
            return None;
        }
        let newest = self.past[(self.next + DEPTH - 1) % DEPTH];
        let mut peak = of(&newest.load);
        for back in 2..=self.len {
            let past = &self.past[(self.next + DEPTH - back) % DEPTH];
            if back > 2 && newest.sampled_at.since(past.sampled_at) > span {
                break;
            }
            peak = peak.max(of(&past.load));
        }
        Some(peak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::draw::Range;

    fn amps(value: i32) -> Phases<Milliamp> {
        Phases::all(Milliamp::from_amps(value))
    }

    fn flow(value: i32) -> Flow {
        Flow { phases: amps(value), sum: Milliamp::from_amps(3 * value) }
    }

    fn load(house: &House, at: i64) -> Option<Phases<Milliamp>> {
        house.load(Mono(at)).map(|it| it.phases)
    }

    fn range(least: i32, most: i32) -> Range {
        Range { least: amps(least), most: amps(most) }
    }

    fn estimate(house: &mut House, cars: Range) {
        let together = cars.together();
        house.estimate(&Drawn { phases: cars, alone: together, together });
    }

    #[test]
    fn a_ramping_car_does_not_look_like_load() {
        let mut house = House::default();
        house.frame(Mono(0), flow(3), false);
        estimate(&mut house, range(0, 0));
        for second in 1..8 {
            let drawn = second as i32 * 2;
            house.frame(Mono(second * 1000), flow(3 + drawn), false);
            estimate(&mut house, range(drawn - 2, drawn));
            assert_eq!(load(&house, 0), Some(amps(3)));
        }
    }

    #[test]
    fn a_load_that_appears_while_a_car_ramps_is_seen_at_once() {
        let mut house = House::default();
        house.frame(Mono(0), flow(3), false);
        estimate(&mut house, range(0, 0));
        house.frame(Mono(1000), flow(3 + 2 + 10), false);
        estimate(&mut house, range(0, 2));
        assert_eq!(load(&house, 0), Some(amps(13)));
        estimate(&mut house, range(2, 2));
        assert_eq!(load(&house, 0), Some(amps(13)), "refined by the poll that followed");
    }

    #[test]
    fn a_doubtful_frame_raises_the_estimate_and_is_forgotten_with_the_next_good_one() {
        let mut house = House::default();
        house.frame(Mono(0), flow(3), false);
        estimate(&mut house, range(0, 0));
        house.doubt(Mono(0), amps(20).map(Some), None);
        assert_eq!(load(&house, 0), Some(amps(20)));
        house.doubt(Mono(0), amps(-20).map(Some), None);
        assert_eq!(load(&house, 0), Some(amps(20)));
        house.frame(Mono(1000), flow(4), false);
        estimate(&mut house, range(0, 0));
        assert_eq!(load(&house, 0), Some(amps(4)));
    }

    #[test]
    fn the_peak_covers_two_frames_at_least() {
        let mut house = House::default();
        for (second, load) in [(0, 9), (10, 7), (20, 3), (30, 5)] {
            house.frame(Mono(second * 1000), flow(load), false);
            estimate(&mut house, range(0, 0));
        }
        let peak = |span| house.peak(Phase::L1, Span::from_secs(span)).map(|it| it.0 / 1000);
        assert_eq!(peak(0), Some(5));
        assert_eq!(peak(25), Some(7));
        assert_eq!(peak(100), Some(9));
        assert_eq!(House::default().peak(Phase::L1, Span::ZERO), None);
    }

    #[test]
    fn doubtful_frames_alone_are_a_load_for_a_minute() {
        let mut house = House::default();
        assert_eq!(load(&house, 0), None);
        house.doubt(Mono(0), Phases([Some(Milliamp(40_000)), Some(Milliamp(-9_000)), None]), None);
        house.doubt(Mono(1_000), Phases([Some(Milliamp(30_000)), None, None]), None);
        assert_eq!(load(&house, 1_000), Some(Phases([Milliamp(40_000), Milliamp(0), Milliamp(0)])));
        assert_eq!(load(&house, 60_000), None, "what nobody repeats is forgotten");
        house.doubt(Mono(61_000), Phases([Some(Milliamp(30_000)), None, None]), None);
        assert_eq!(load(&house, 61_000).map(|it| it[Phase::L1]), Some(Milliamp(30_000)));
    }

    #[test]
    fn of_a_total_the_houses_import_is_assumed_on_each_phase() {
        let mut house = House::default();
        let car = Range::exactly(amps(16));
        house.frame(Mono(0), Flow { phases: amps(6 + 48), sum: Milliamp::from_amps(6 + 48) }, true);
        estimate(&mut house, car);
        assert_eq!((load(&house, 0), house.measured()), (Some(amps(6)), Some(amps(22))));
        // The car is not known for a moment: what it drew is not the house's.
        house.frame(Mono(1_000), Flow { phases: amps(6 + 48), sum: Milliamp::from_amps(6 + 48) }, true);
        estimate(&mut house, range(0, 16));
        assert_eq!(load(&house, 1_000), Some(amps(6)));
        // Export of the house is netted against nothing.
        house.frame(Mono(2_000), Flow { phases: amps(48 - 9), sum: Milliamp::from_amps(48 - 9) }, true);
        estimate(&mut house, car);
        assert_eq!(load(&house, 2_000), Some(amps(0)));
    }

    #[test]
    fn a_car_that_is_found_charging_is_not_taken_for_load() {
        let mut house = House::default();
        house.frame(Mono(0), flow(17), false);
        estimate(&mut house, range(6, 16));
        assert_eq!(
            load(&house, 0),
            Some(amps(1)),
            "told to come down from 16 A to 6 A, and nobody knows how far it is"
        );
        house.frame(Mono(1_000), flow(17), false);
        estimate(&mut house, range(6, 8));
        assert_eq!(load(&house, 1_000), Some(amps(9)), "what the car cannot be is load");
    }

    #[test]
    fn all_phases_together_may_export_while_one_imports() {
        let mut house = House::default();
        house.frame(Mono(0), Flow { phases: amps(9), sum: Milliamp::from_amps(-4) }, false);
        let car = Range::exactly(amps(6));
        estimate(&mut house, car);
        assert_eq!(house.load(Mono(0)).map(|it| it.sum), Some(Milliamp::from_amps(-22)));
    }
}

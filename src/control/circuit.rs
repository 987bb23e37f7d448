//! One fuse: what it allows, what is behind it besides cars, and what it leaves for them.

use crate::quantity::{Milliamp, Mono, Phase, Phases, Span, Watt};

use super::charger::Charger;
use super::draw::{Drawn, Range};
use super::flow::{Flow, UNLIMITED};
use super::house::House;
use super::interface::{CircuitSetup, LimitReason, Timing};
use super::masked::Masked;
use super::meter::{Frame, Meter, NOMINAL};
use super::overload::Overload;
use super::phases::PhaseSet;
use super::raise::Patience;
use super::session::largest;

/// What a circuit leaves for all chargers behind it together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    /// Sum of offers allowed now: more is cut at once.
    pub(super) cut: Flow,
    /// Sum of offers up to which a running car may be raised.
    pub(super) raise: Flow,
    /// Sum of offers up to which a waiting car may be started.
    pub(super) start: Flow,
    /// Why nothing may be raised, if nothing may.
    pub(super) blocked: Option<LimitReason>,
    /// The word for a charger that this circuit holds down, where it is not the phase's.
    pub(super) word: Option<LimitReason>,
    /// The word for one that is held down by all phases together.
    pub(super) sum_word: LimitReason,
    /// The owner's figure for a lost meter is in force, given out in steps of 6 A.
    pub(super) lost: bool,
    /// A car behind it is to be started.
    pub(super) starts: bool,
}

impl Budget {
    /// The same figure on each phase, at once and for raises.
    pub(super) fn flat(figure: Milliamp, blocked: Option<LimitReason>, word: Option<LimitReason>, lost: bool) -> Self {
        let all = Flow::flat(figure);
        Self { cut: all, raise: all, start: all, blocked, word, sum_word: LimitReason::Circuit, lost, starts: false }
    }

    /// What is shared: what is allowed now, and where a car is to be started what a start may count on. Else the others
    /// come down to what is there at this moment, and the start waits for more.
    pub(super) fn shared(&self) -> Flow {
        if self.starts { self.cut.lower(self.start) } else { self.cut }
    }

    /// All phases together at most this.
    pub(super) fn together(&mut self, cut: Milliamp, raise: Milliamp, start: Milliamp, word: LimitReason) {
        if cut < self.cut.sum {
            self.sum_word = word;
        }
        self.cut.sum = self.cut.sum.min(cut);
        self.raise.sum = self.raise.sum.min(raise);
        self.start.sum = self.start.sum.min(start);
    }
}

/// What is produced behind a meter, by solar inverters and home batteries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Produced {
    /// As far as it is measured, at least zero; the last that was heard where a meter is silent.
    pub(super) power: Watt,
    /// There are meters for it …
    pub(super) has_meters: bool,
    /// … and all of them are heard.
    pub(super) measured: bool,
}

/// One circuit.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    pub(super) setup: CircuitSetup,
    /// Chargers behind it, those of deeper circuits included.
    pub(super) chargers: Vec<usize>,
    pub(super) house: House,
    masked: Masked,
    pub(super) patience: Phases<Patience>,
    pub(super) patience_sum: Patience,
    /// The last believed frame is above the limit, per phase.
    pub(super) overload: Phases<bool>,
    /// What was told of it.
    pub(super) overloaded: Overload,
}

impl Circuit {
    pub(super) fn new(setup: CircuitSetup, chargers: Vec<usize>) -> Self {
        Self {
            setup,
            chargers,
            house: House::default(),
            masked: Masked::default(),
            patience: Phases::default(),
            patience_sum: Patience::default(),
            overload: Phases::default(),
            overloaded: Overload::default(),
        }
    }

    /// min(fuse, ceilings of the owner), without the margin.
    pub(super) fn ceiling(&self, max_import: Option<Milliamp>) -> Milliamp {
        let root = self.setup.parent.is_none();
        let mut ceiling = self.setup.fuse.unwrap_or(UNLIMITED);
        for owner in [self.setup.max_import, max_import.filter(|_| root)].into_iter().flatten() {
            ceiling = ceiling.min(owner);
        }
        ceiling
    }

    /// min(fuse, ceilings of the owner) - margin.
    pub(super) fn limit(&self, max_import: Option<Milliamp>) -> Milliamp {
        self.ceiling(max_import) - self.setup.margin
    }

    /// What the chargers behind it drew at `sampled_at`. A car that nobody measures may use one of its phases or all:
    /// where the meter tells them apart it is taken to draw on each as far as that carries something, of a total it is
    /// taken out with one phase where each may carry all of it, and as far as the total goes where phases add up.
    fn drawn_at(&self, sampled_at: Mono, chargers: &[Charger], timing: &Timing) -> Drawn {
        let mut sum = Range::default();
        let (mut least, mut most) = (Milliamp::ZERO, Milliamp::ZERO);
        let mut assumed = Phases::<Milliamp>::default();
        for index in &self.chargers {
            let charger = &chargers[*index];
            let range = charger.drawn_at(sampled_at, timing);
            let (fewest, highest) =
                if charger.is_measured() { range.together() } else { (largest(&range.least), largest(&range.most)) };
            least += fewest;
            most += highest;
            for phase in Phase::ALL {
                sum.least[phase] += range.least[phase];
                sum.most[phase] += range.most[phase];
                if !charger.is_measured() {
                    assumed[phase] += range.most[phase];
                }
            }
        }
        // A car that only may be drawing must not make the house look like a generator.
        if self.house.is_per_phase()
            && let Some(measured) = self.house.measured()
        {
            for phase in Phase::ALL {
                let known = sum.most[phase] - assumed[phase];
                let most = (measured[phase] - known).max(Milliamp::ZERO);
                sum.most[phase] = known + assumed[phase].min(most);
                sum.least[phase] = sum.least[phase].min(sum.most[phase]);
            }
        }
        let mut together = sum.together();
        if !self.house.is_per_phase()
            && let Some(measured) = self.house.measured_together()
        {
            let assumed = assumed.iter().map(|(_, current)| *current).sum::<Milliamp>();
            let known = together.1 - assumed;
            together.1 = known + assumed.min((measured - known).max(Milliamp::ZERO));
            together.0 = together.0.min(together.1);
        }
        Drawn { phases: sum, alone: (least, most), together }
    }

    /// Takes in a frame of its meter. One with a total only says of each phase that it may carry all of it, and what is
    /// produced behind the meter besides.
    pub(super) fn frame(
        &mut self,
        frame: &Frame,
        chargers: &[Charger],
        timing: &Timing,
        phases: PhaseSet,
        produced: Produced,
    ) {
        let complete = per_phase(frame, phases);
        let shows = phases.iter().any(|phase| frame.current[phase].is_some());
        let total = frame.total.filter(|_| !shows);
        let total = total.map(|total| Phases::all((total + produced.power).current_at(NOMINAL)));
        let cars = self.drawn_at(frame.sampled_at, chargers, timing);
        if !frame.doubtful {
            match (complete, total) {
                // What is behind a deeper circuit's meter besides loads is not known of any.
                (None, Some(all)) if phases.len() > 1 && self.setup.parent.is_none() => {
                    self.masked.frame(frame.sampled_at, all[Phase::L1] - cars.alone.0, produced);
                }
                (Some(_), _) => self.masked.clear(),
                // A frame of counters alone says nothing about it.
                _ => {}
            }
            if let Some(phases) = complete.or(total) {
                let sum = frame.together().unwrap_or_else(|| phases.iter().map(|(_, current)| *current).sum());
                self.house.frame(frame.sampled_at, Flow { phases, sum }, complete.is_none());
                self.estimate(chargers, timing);
            }
            return;
        }
        let sum = frame.together().map(|together| together - cars.together.1);
        let load = match total.filter(|_| !self.house.is_per_phase()) {
            Some(total) => total.map(|total| Some((total - cars.alone.1).max(Milliamp::ZERO))),
            None => {
                let mut load = frame.current;
                for phase in Phase::ALL {
                    load[phase] = load[phase].map(|current| current - cars.phases.most[phase]);
                }
                load
            }
        };
        self.house.doubt(frame.received_at, load, sum);
    }

    /// Takes the estimate anew: polls since the last frame may say better what the cars drew.
    pub(super) fn estimate(&mut self, chargers: &[Charger], timing: &Timing) {
        if let Some(sampled_at) = self.house.sampled_at() {
            let cars = self.drawn_at(sampled_at, chargers, timing);
            self.house.estimate(&cars);
        }
    }

    /// Nothing that was known before counts any more.
    pub(super) fn forget(&mut self) {
        self.house.forget();
        self.overload = Phases::default();
    }

    pub(super) fn budget(&self, meter: Option<&Meter>, max_import: Option<Milliamp>, now: Mono) -> Budget {
        let limit = self.limit(max_import);
        let Some(meter) = meter else {
            let root = self.setup.parent.is_none();
            let figure = match self.setup.static_current {
                Some(figure) if root => figure.min(limit),
                _ => limit - self.setup.reserve,
            };
            return Budget::flat(figure, None, root.then_some(LimitReason::Static), false);
        };
        if meter.is_lost() {
            let figure = self.setup.meter_lost_current.min(limit);
            let mut budget = Budget::flat(figure, None, Some(LimitReason::MeterLost), true);
            // What still comes may lower the owner's figure, never raise it.
            if let Some(load) = self.house.recent_load(now) {
                budget.cut.phases = load.phases.map(|load| figure.min(limit - load));
                (budget.raise, budget.start) = (budget.cut, budget.cut);
            }
            return budget;
        }
        let Some(load) = self.house.load(now) else {
            return Budget::flat(limit, Some(LimitReason::StartUp), Some(LimitReason::StartUp), false);
        };
        let blocked = if !meter.is_proven() {
            Some(LimitReason::StartUp)
        } else if meter.is_stale() {
            Some(LimitReason::MeterLate)
        } else {
            None
        };
        let mut budget = Budget::flat(limit, blocked, None, false);
        budget.cut.phases = load.phases.map(|load| limit - load);
        for phase in Phase::ALL {
            let cut = budget.cut.phases[phase];
            let peak = |span: Span| self.house.peak(phase, span).map(|peak| limit - peak);
            let patience = &self.patience[phase];
            budget.raise.phases[phase] = peak(patience.raise(now)).map_or(NOTHING, |room| room.min(cut));
            budget.start.phases[phase] = peak(patience.start(now)).map_or(NOTHING, |room| room.min(cut));
        }
        budget
    }

    /// What chargers may have in front of production that nobody measures.
    pub(super) fn bound_masked(&self, budget: &mut Budget) {
        let Some(figure) = self.masked.figure(self.setup.static_current).filter(|_| !budget.lost) else { return };
        if Phase::ALL.into_iter().any(|phase| figure < budget.cut.phases[phase]) {
            budget.word = Some(LimitReason::Static);
        }
        for room in [&mut budget.cut, &mut budget.raise, &mut budget.start] {
            room.phases = room.phases.map(|room| room.min(figure));
        }
    }

    /// Bounds all phases together so that the circuit takes at most `power`. Behind its meter the house counts; while
    /// that is lost the owner's figure for it holds already. Without one, what is reserved for other loads does.
    pub(super) fn bound_power(
        &self,
        budget: &mut Budget,
        meter: Option<&Meter>,
        power: Watt,
        word: LimitReason,
        now: Mono,
    ) {
        let voltage = meter.map_or(NOMINAL, Meter::voltage);
        let limit = power.current_at(voltage);
        let Some(meter) = meter else {
            let room = limit - Milliamp(self.setup.reserve.0.saturating_mul(3));
            budget.together(room, room, room, word);
            return;
        };
        if meter.is_lost() {
            budget.together(limit, limit, limit, word);
            return;
        }
        let Some(load) = self.house.load(now) else {
            budget.together(limit, limit, limit, word);
            return;
        };
        let cut = limit - load.sum;
        let peak = |span: Span| self.house.peak_sum(span).map_or(NOTHING, |peak| (limit - peak).min(cut));
        budget.together(cut, peak(self.patience_sum.raise(now)), peak(self.patience_sum.start(now)), word);
    }
}

/// No room whatever.
const NOTHING: Milliamp = Milliamp(-UNLIMITED.0);

/// The currents where the connection's phases are all there; phases that it does not have carry nothing.
fn per_phase(frame: &Frame, phases: PhaseSet) -> Option<Phases<Milliamp>> {
    let mut current = Phases::default();
    for phase in phases.iter() {
        current[phase] = frame.current[phase]?;
    }
    Some(current)
}

//! How far a meter is to be believed: its period, the time of its samples, what is implausible, when it is late or lost.

use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt, WattHour};
use crate::reading::MeterReading;

use super::interface::{MeterSetup, MeterStatus, Quality};
use super::phases::PhaseSet;
use super::sampling::Sampling;

/// Late time while the period is not known, and at least.
const LATE: Span = Span::from_secs(5);
/// Lost time while the period is not known, and at least.
const LOST: Span = Span::from_secs(10);
/// Good frames in a row before a meter that started or came back may raise anything.
const PROOF: u32 = 3;
/// Sample times from which the period is taken.
const PERIODS: usize = 20;
/// Without a voltage of its own a frame is taken at this one.
pub(super) const NOMINAL: Millivolt = Millivolt(230_000);
/// Below this a voltage is none.
const PLAUSIBLE: Millivolt = Millivolt(100_000);
/// Below this a current is noise: no load, no direction.
pub(super) const NOISE: Milliamp = Milliamp(1_000);

/// Zeros under which the counters move faster than this, in at least so many steps and for so long (s), are none.
const LEAK: Watt = Watt(300);
const LEAK_SEEN: (u8, i64) = (3, 10);

/// A car that draws while so many frames of zeros come shows that they are none: one may be older than the draw.
const DRAWN: u8 = 2;

/// Frames of zeros one after another.
#[derive(Clone, Copy, Debug)]
struct Zeros {
    /// The meter's own time where it tells it, in s.
    since: i64,
    first: (Option<WattHour>, Option<WattHour>),
    last: (Option<WattHour>, Option<WattHour>),
    /// How often a counter has moved.
    steps: u8,
    /// Before them nothing but cars flowed, as far as that is known.
    cars_alone: bool,
    /// Frames of them in a row under which a car drew.
    drawn: u8,
}

impl Zeros {
    /// What the counters say of the power since the first of them, where they say it.
    fn moved(&mut self, at: i64, counters: (Option<WattHour>, Option<WattHour>)) -> Option<Watt> {
        self.steps = self.steps.saturating_add(u8::from(counters != self.last));
        self.last = counters;
        let span = at - self.since;
        if self.steps < LEAK_SEEN.0 || span < LEAK_SEEN.1 {
            return None;
        }
        let since = |first: Option<WattHour>, now: Option<WattHour>| Some((now? - first?).0.max(0));
        let import = since(self.first.0, counters.0).unwrap_or(0);
        let export = since(self.first.1, counters.1).unwrap_or(0);
        i32::try_from((import + export).saturating_mul(3_600) / span).ok().map(Watt)
    }
}

/// A frame as the controller uses it: signed currents, sampled at a known time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) received_at: Mono,
    pub(super) sampled_at: Mono,
    /// Import positive; the best estimate from below of the true value.
    pub(super) current: Phases<Option<Milliamp>>,
    pub(super) power: Phases<Option<Watt>>,
    pub(super) total: Option<Watt>,
    pub(super) voltage: Phases<Option<Millivolt>>,
    /// It may lower only.
    pub(super) doubtful: bool,
}

impl Frame {
    /// The mean of the voltages that it shows, else the nominal one.
    pub(super) fn voltage(&self) -> Millivolt {
        self.known_voltage().unwrap_or(NOMINAL)
    }

    /// The mean of the voltages that it shows.
    pub(super) fn known_voltage(&self) -> Option<Millivolt> {
        mean_voltage(&self.voltage)
    }

    /// Power of all phases together: as it is shown, else from the currents.
    pub(super) fn power(&self) -> Option<Watt> {
        self.total.or_else(|| self.together().map(|current| current.at(self.voltage())))
    }

    /// All phases together as a current at its voltage: by power where it is known, else from the currents.
    pub(super) fn together(&self) -> Option<Milliamp> {
        let currents = || self.current.0.iter().flatten().copied();
        let by_current = || (currents().count() > 0).then(|| currents().sum());
        self.total.map(|total| total.current_at(self.voltage())).or_else(by_current)
    }
}

/// What changed with the passing of time or a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Late,
    Lost,
    Back,
}

/// What a meter's reading is judged against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// Phases that it must show; none where any will do.
    pub(super) phases: PhaseSet,
    /// What it guards; `None` where no fuse depends on it.
    pub(super) guard: Option<Guard>,
    /// Nothing is decided by it: whatever it shows is good, from its first frame on.
    pub(super) informs_only: bool,
}

/// The circuit that a meter guards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub(super) fuse: Option<Milliamp>,
    /// The chargers behind it measure next to nothing.
    pub(super) cars_idle: bool,
    /// All of them answer, so that they are known to.
    pub(super) cars_heard: bool,
    /// Nothing but they flowed in one of its last frames; `None` where no frame has said it since it was last lost.
    pub(super) cars_alone: Option<bool>,
}

/// One meter's standing.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    setup: MeterSetup,
    born: Mono,
    sampling: Sampling,
    samples: [Mono; PERIODS],
    sample_count: usize,
    period: Option<Span>,
    frame: Option<Frame>,
    good_at: Option<Mono>,
    good_count: u32,
    streak: u32,
    proven: bool,
    lost: bool,
    late: bool,
    /// It was told that it is late or lost.
    told: bool,
    /// When the newest frame came, if nothing but the sign of a phase is doubted in it.
    turned_at: Option<Mono>,
    /// Real load was seen since the last believed zero.
    loaded: bool,
    zeros: Option<Zeros>,
    /// The zeros that come are none: a car drew current under those that were believed, or the counters go on.
    refuted: bool,
    energy: Option<(Option<WattHour>, Option<WattHour>)>,
    believed: Phases<Option<Milliamp>>,
    flipped: Option<Phase>,
    absurd_at: Option<Mono>,
    /// Phases that believed frames have shown since the start or since it was lost.
    seen: PhaseSet,
    /// The newest frame is doubtful, even if it had no effect.
    doubted: bool,
    now: Mono,
}

impl Meter {
    pub(super) fn new(setup: MeterSetup, born: Mono) -> Self {
        let period = setup.period;
        Self {
            setup,
            born,
            sampling: Sampling::default(),
            samples: [Mono(0); PERIODS],
            sample_count: 0,
            period,
            frame: None,
            good_at: None,
            good_count: 0,
            streak: 0,
            proven: false,
            lost: false,
            late: false,
            told: false,
            turned_at: None,
            loaded: false,
            zeros: None,
            refuted: false,
            energy: None,
            believed: Phases([None; 3]),
            flipped: None,
            absurd_at: None,
            seen: PhaseSet::NONE,
            doubted: false,
            now: born,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.setup.id
    }

    /// The file's, or max(5 s, 1.5 periods).
    pub(super) fn late_time(&self) -> Span {
        let by_period = Span(self.presumed_period().map_or(0, |period| period.0 * 3 / 2));
        self.setup.late.unwrap_or_else(|| LATE.max(by_period)).min(self.lost_time())
    }

    /// The file's, or max(the driver's or 10 s, 2 periods + 2 s).
    pub(super) fn lost_time(&self) -> Span {
        let by_period = Span(self.presumed_period().map_or(0, |period| period.0 * 2 + 2_000));
        self.setup.lost.unwrap_or_else(|| self.setup.lost_default.unwrap_or(LOST).max(by_period))
    }

    /// Good frames since the start: a charger that appears waits for three more.
    pub(super) fn good_count(&self) -> u32 {
        self.good_count
    }

    pub(super) fn period(&self) -> Option<Span> {
        self.period
    }

    fn presumed_period(&self) -> Option<Span> {
        self.period.or(self.setup.presumed_period)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// No good frame for the late time.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// It has had its three good frames since it started or came back.
    pub(super) fn is_proven(&self) -> bool {
        self.proven && !self.lost
    }

    /// Nothing may be raised on what it says now.
    pub(super) fn is_stale(&self) -> bool {
        self.lost || self.late || self.doubted || self.frame.is_none()
    }

    /// The voltage at which power counts as current.
    pub(super) fn voltage(&self) -> Millivolt {
        self.frame.as_ref().map_or(NOMINAL, Frame::voltage)
    }

    pub(super) fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// Sets late and lost by the time; what changed, if anything did.
    pub(super) fn tick(&mut self, now: Mono) -> Option<Turn> {
        self.now = now;
        let silence = now.since(self.good_at.unwrap_or(self.born));
        if silence >= self.lost_time() {
            self.late = true;
            self.streak = 0;
            self.proven = false;
            self.told = true;
            return (!std::mem::replace(&mut self.lost, true)).then_some(Turn::Lost);
        }
        if silence >= self.late_time() && !self.lost {
            self.late = true;
            // A load or the sun has turned a phase's sign; whether there is anything to tell the next frame says.
            if self.turned_at.is_none_or(|at| now.since(at) >= self.late_time()) {
                return (!std::mem::replace(&mut self.told, true)).then_some(Turn::Late);
            }
        }
        None
    }

    /// When `tick` will next change something.
    pub(super) fn next_turn(&self) -> Option<Mono> {
        let since = self.good_at.unwrap_or(self.born);
        if self.lost {
            None
        } else if self.late {
            Some(since + self.lost_time())
        } else {
            Some(since + self.late_time())
        }
    }

    /// Judges a reading. The frame to be used, if it may have any effect, and what changed.
    pub(super) fn take(&mut self, reading: &MeterReading, around: Surroundings) -> (Option<Frame>, Option<Turn>) {
        let repeated = self.sampling.repeats(reading);
        let sampled_at = self.sampling.sample_time(reading, self.presumed_period());
        if !repeated {
            self.learn_period(sampled_at);
        }
        let mut frame = self.normalise(reading, sampled_at);
        let absurd = around.guard.and_then(|guard| guard.fuse).is_some_and(|fuse| {
            frame.current.iter().any(|(_, current)| current.is_some_and(|it| it.abs().0 / 4 > fuse.0))
        });
        if absurd && repeated {
            self.doubted = true;
            return (None, None);
        }
        if absurd {
            let confirmed = self.absurd_at.is_some_and(|first| {
                let window = Span::from_secs(2).max(self.presumed_period().unwrap_or(Span::ZERO));
                reading.received_at.since(first) <= window
            });
            self.absurd_at = Some(reading.received_at);
            if !confirmed {
                self.streak = 0;
                self.doubted = true;
                return (None, None);
            }
        } else {
            self.absurd_at = None;
        }
        let too_old = reading.received_at.since(sampled_at) >= self.late_time();
        let doubted = [
            repeated,
            too_old,
            self.lacks_a_phase(&frame, reading, around),
            self.flips(&frame),
            around.guard.is_some_and(|guard| self.zeroed(&frame, reading, guard)),
        ];
        frame.doubtful = doubted.contains(&true);
        let [.., flips, _] = doubted;
        let alone = flips && doubted.iter().filter(|it| **it).count() == 1;
        self.turned_at = alone.then_some(frame.received_at);
        self.doubted = frame.doubtful;
        let turn = if frame.doubtful {
            self.streak = 0;
            None
        } else {
            self.believe(&frame, reading, around.informs_only)
        };
        self.frame = Some(frame);
        (Some(frame), turn)
    }

    fn believe(&mut self, frame: &Frame, reading: &MeterReading, informs_only: bool) -> Option<Turn> {
        self.good_at = Some(frame.received_at);
        self.good_count = self.good_count.saturating_add(1);
        self.streak = self.streak.saturating_add(1);
        if reading.energy_import.is_some() || reading.energy_export.is_some() {
            self.energy = Some((reading.energy_import, reading.energy_export));
        }
        self.loaded = !all_zero(frame);
        self.refuted &= !self.loaded;
        self.believed = frame.current;
        let shown = PhaseSet::shown(&frame.current);
        self.seen = if self.lost { shown } else { self.seen.union(shown) };
        if self.streak >= PROOF {
            self.proven = true;
            self.lost = false;
        }
        self.lost &= !informs_only;
        if self.lost {
            return None;
        }
        self.late = false;
        std::mem::take(&mut self.told).then_some(Turn::Back)
    }

    fn learn_period(&mut self, sampled_at: Mono) {
        self.samples.rotate_left(1);
        self.samples[PERIODS - 1] = sampled_at;
        self.sample_count = (self.sample_count + 1).min(PERIODS);
        if self.sample_count < 3 {
            return;
        }
        let known = &self.samples[PERIODS - self.sample_count..];
        let mut gaps = [i64::MAX; PERIODS];
        let count = known.len() - 1;
        for (gap, pair) in gaps.iter_mut().zip(known.windows(2)) {
            *gap = pair[1].since(pair[0]).0;
        }
        gaps[..count].sort_unstable();
        self.period = Some(Span(gaps[count / 2]));
    }

    fn normalise(&self, reading: &MeterReading, sampled_at: Mono) -> Frame {
        let mut current = Phases([None; 3]);
        for phase in Phase::ALL {
            current[phase] = signed_current(reading, phase);
        }
        // Of a part of the phases there is no total; a driver that knows that there are no others says it itself.
        let total = reading.power_total.or_else(|| {
            let [Some(l1), Some(l2), Some(l3)] = reading.power.0 else { return None };
            Some(l1 + l2 + l3)
        });
        Frame {
            received_at: reading.received_at,
            sampled_at,
            current,
            power: reading.power,
            total,
            voltage: reading.voltage,
            doubtful: false,
        }
    }

    /// A phase that must be there or was there before is missing, or there is nothing at all.
    fn lacks_a_phase(&self, frame: &Frame, reading: &MeterReading, around: Surroundings) -> bool {
        let expected = around.phases;
        let shown = PhaseSet::shown(&frame.current);
        if expected == PhaseSet::NONE {
            let counts = reading.energy_import.is_some()
                || reading.energy_export.is_some()
                || (around.informs_only && reading.shows_more);
            let nothing = shown == PhaseSet::NONE && frame.total.is_none() && !counts;
            // What is missing for the lost time is not there: the next frames are judged by themselves.
            return nothing || (!self.lost && shown.lacks(self.seen));
        }
        // A meter with total power only shows no phase, and never did.
        if expected.iter().any(|phase| shown.has(phase)) {
            shown.lacks(expected)
        } else {
            expected.iter().any(|phase| self.seen.has(phase)) || frame.total.is_none()
        }
    }

    /// The sign of exactly one phase differs from the last believed frame: doubted until a second frame bears it out.
    fn flips(&mut self, frame: &Frame) -> bool {
        let mut turned = None;
        let mut count = 0;
        for phase in Phase::ALL {
            let (Some(before), Some(now)) = (self.believed[phase], frame.current[phase]) else { continue };
            if before.abs() >= NOISE && now.abs() >= NOISE && (before.0 < 0) != (now.0 < 0) {
                turned = Some(phase);
                count += 1;
            }
        }
        let turned = if count == 1 { turned } else { None };
        let borne_out = turned == self.flipped;
        self.flipped = turned;
        turned.is_some() && !borne_out
    }

    /// All zero although there was load. Believed when voltages are there, the cars are idle, and a counter moved or
    /// nothing but those cars was the load. Not believed until something else is shown where the counter moves as under
    /// load, or a car then draws.
    fn zeroed(&mut self, frame: &Frame, reading: &MeterReading, guard: Guard) -> bool {
        if !all_zero(frame) {
            self.zeros = None;
            return false;
        }
        let counters = (reading.energy_import, reading.energy_export);
        let at = reading.stamp.unwrap_or(frame.sampled_at.0.div_euclid(1_000));
        let first = Zeros { since: at, first: counters, last: counters, steps: 0, cars_alone: false, drawn: 0 };
        let zeros = self.zeros.get_or_insert(first);
        self.refuted |= zeros.moved(at, counters).is_some_and(|power| power > LEAK);
        zeros.drawn = if guard.cars_idle { 0 } else { zeros.drawn.saturating_add(1) };
        self.refuted |= !self.loaded && zeros.drawn >= DRAWN;
        // What the cars drew at the last frames may have become known better since. Once the meter is lost nothing is
        // added to it.
        zeros.cars_alone = guard.cars_alone.unwrap_or(zeros.cars_alone);
        let explained = zeros.cars_alone && guard.cars_heard;
        if !self.loaded && !self.refuted && guard.cars_idle {
            return false;
        }
        let moved = self.energy.is_some_and(|(import, export)| {
            let differs = |before: Option<WattHour>, now: Option<WattHour>| {
                before.is_some_and(|before| now.is_some_and(|now| now != before))
            };
            differs(import, reading.energy_import) || differs(export, reading.energy_export)
        });
        let alive = frame.voltage.iter().any(|(_, voltage)| voltage.is_some_and(|it| it.0 > 50_000));
        self.refuted || !((moved || explained) && alive && guard.cars_idle)
    }

    pub(super) fn status(&self) -> MeterStatus {
        let fresh = self.frame.filter(|frame| self.now.since(frame.received_at) < self.late_time());
        let quality = if self.lost {
            Quality::Lost
        } else if fresh.is_some() && self.doubted {
            Quality::Doubtful
        } else if self.late || fresh.is_none() {
            Quality::Late
        } else {
            Quality::Good
        };
        MeterStatus {
            quality,
            period: self.period,
            good_at: self.good_at,
            current: self.frame.map_or(Phases([None; 3]), |frame| frame.current),
            power: self.frame.map_or(Phases([None; 3]), |frame| frame.power),
            power_total: self.frame.and_then(|frame| frame.total),
        }
    }
}

/// The mean of the voltages that are there; what is far below every mains is none.
pub(super) fn mean_voltage(voltage: &Phases<Option<Millivolt>>) -> Option<Millivolt> {
    let known = || voltage.0.iter().flatten().filter(|it| it.0 > PLAUSIBLE.0);
    let count = i32::try_from(known().count()).ok().filter(|count| *count > 0)?;
    Some(Millivolt(known().map(|it| it.0 / count).sum()))
}

fn all_zero(frame: &Frame) -> bool {
    let values = frame.current.0.iter().flatten().map(|it| it.0).chain(frame.total.iter().map(|it| it.0));
    let mut any = false;
    for value in values {
        any = true;
        if value != 0 {
            return false;
        }
    }
    any
}

/// Unsigned currents take the sign of the power; coarse ones are `max(|P| / U, I - half a step)`.
fn signed_current(reading: &MeterReading, phase: Phase) -> Option<Milliamp> {
    let voltage = reading.voltage[phase].filter(|it| it.0 > PLAUSIBLE.0).unwrap_or(NOMINAL);
    let by_power = reading.power[phase].map(|power| power.current_at(voltage));
    let Some(current) = reading.current[phase] else { return by_power };
    let half_step = Milliamp(if reading.current_step.0 >= 500 { reading.current_step.0 / 2 } else { 0 });
    let mut size = (current.abs() - half_step).max(Milliamp::ZERO);
    if half_step.0 > 0 {
        size = size.max(by_power.unwrap_or(Milliamp::ZERO).abs());
    }
    let export =
        if reading.current_signed { current.0 < 0 } else { reading.power[phase].is_some_and(|power| power.0 < 0) };
    Some(if export { -size } else { size })
}

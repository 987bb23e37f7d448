//! How far a meter is to be believed: its period, the time of its samples, what is implausible, when it is late or lost.

use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span, Watt, WattHour};
use crate::reading::MeterReading;

use super::interface::{MeterSetup, MeterStatus, Quality};
use super::phases::PhaseSet;

/// Late time while the period is not known, and at least.
const LATE: Span = Span::from_secs(5);
/// Lost time while the period is not known, and at least.
const LOST: Span = Span::from_secs(10);
/// Good frames in a row before a meter that started or came back may raise anything.
const PROOF: u32 = 3;
/// Sample times from which the period is taken.
const PERIODS: usize = 20;
/// A stamp further off than this for so many frames is a clock that was set, not a delay.
const CLOCK_JUMP: Span = Span::from_secs(60);
const CLOCK_JUMP_FRAMES: u32 = 5;
/// Without a voltage of its own a frame is taken at this one.
pub(super) const NOMINAL: Millivolt = Millivolt(230_000);
/// Below this a current is noise: no load, no direction.
const NOISE: Milliamp = Milliamp(1_000);

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
    /// Phases that the connection has.
    pub(super) phases: PhaseSet,
    /// The fuse that it guards.
    pub(super) fuse: Option<Milliamp>,
    /// The chargers behind it measure next to nothing.
    pub(super) cars_idle: bool,
    /// Zero is an ordinary value: it measures one charger, not a house.
    pub(super) may_be_zero: bool,
}

/// The source of sample times.
#[derive(Clone, Debug, Default)]
struct Timing {
    stamp: Option<i64>,
    /// Receive time less stamp, the smallest seen: the clock's offset plus the shortest delay.
    offset: Option<i64>,
    far_off: u32,
    sampled_at: Option<Mono>,
}

/// One meter's standing.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    setup: MeterSetup,
    born: Mono,
    timing: Timing,
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
    /// Real load was seen since the last believed zero.
    loaded: bool,
    energy: Option<(Option<WattHour>, Option<WattHour>)>,
    believed: Phases<Option<Milliamp>>,
    flipped: Option<Phase>,
    absurd_at: Option<Mono>,
    per_phase: bool,
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
            timing: Timing::default(),
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
            loaded: false,
            energy: None,
            believed: Phases([None; 3]),
            flipped: None,
            absurd_at: None,
            per_phase: false,
            doubted: false,
            now: born,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.setup.id
    }

    /// The file's, or max(5 s, 1.5 periods).
    pub(super) fn late_time(&self) -> Span {
        let by_period = Span(self.period.map_or(0, |period| period.0 * 3 / 2));
        self.setup.late.unwrap_or_else(|| LATE.max(by_period)).min(self.lost_time())
    }

    /// The file's, or max(the driver's or 10 s, 2 periods + 2 s).
    pub(super) fn lost_time(&self) -> Span {
        let by_period = Span(self.period.map_or(0, |period| period.0 * 2 + 2_000));
        self.setup.lost.unwrap_or_else(|| self.setup.lost_default.unwrap_or(LOST).max(by_period))
    }

    /// Good frames since the start: a charger that appears waits for three more.
    pub(super) fn good_count(&self) -> u32 {
        self.good_count
    }

    pub(super) fn period(&self) -> Option<Span> {
        self.period
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// It has had its three good frames since it started or came back.
    pub(super) fn is_proven(&self) -> bool {
        self.proven && !self.lost
    }

    /// Nothing may be raised on what it says now.
    pub(super) fn is_stale(&self) -> bool {
        self.lost || self.late || self.doubted || self.frame.is_none()
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
            return (!std::mem::replace(&mut self.lost, true)).then_some(Turn::Lost);
        }
        if silence >= self.late_time() && !self.lost {
            return (!std::mem::replace(&mut self.late, true)).then_some(Turn::Late);
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
        let repeated = self.repeats(reading);
        let sampled_at = self.sample_time(reading);
        if !repeated {
            self.timing.sampled_at = Some(sampled_at);
            self.learn_period(sampled_at);
        }
        let mut frame = self.normalise(reading, sampled_at);
        let absurd = around.fuse.is_some_and(|fuse| {
            frame.current.iter().any(|(_, current)| current.is_some_and(|it| it.abs().0 / 4 > fuse.0))
        });
        if absurd && repeated {
            self.doubted = true;
            return (None, None);
        }
        if absurd {
            let confirmed = self.absurd_at.is_some_and(|first| {
                let window = Span::from_secs(2).max(self.period.unwrap_or(Span::ZERO));
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
            self.lacks_a_phase(&frame, around.phases),
            self.flips(&frame),
            self.zeroed(&frame, reading, around),
        ];
        frame.doubtful = doubted.contains(&true);
        self.doubted = frame.doubtful;
        let turn = if frame.doubtful {
            self.streak = 0;
            None
        } else {
            self.believe(&frame, reading)
        };
        self.frame = Some(frame);
        (Some(frame), turn)
    }

    fn believe(&mut self, frame: &Frame, reading: &MeterReading) -> Option<Turn> {
        self.good_at = Some(frame.received_at);
        self.good_count = self.good_count.saturating_add(1);
        self.streak = self.streak.saturating_add(1);
        if reading.energy_import.is_some() || reading.energy_export.is_some() {
            self.energy = Some((reading.energy_import, reading.energy_export));
        }
        self.loaded = !all_zero(frame);
        self.believed = frame.current;
        self.per_phase |= frame.current.0.iter().flatten().next().is_some();
        if self.streak >= PROOF {
            self.proven = true;
            self.lost = false;
        }
        if self.lost {
            return None;
        }
        std::mem::replace(&mut self.late, false).then_some(Turn::Back)
    }

    fn repeats(&self, reading: &MeterReading) -> bool {
        let same_stamp = reading.stamp.is_some() && reading.stamp == self.timing.stamp;
        let same_time = reading.sampled_at.is_some_and(|at| self.timing.sampled_at.is_some_and(|last| at <= last));
        same_stamp || same_time
    }

    /// The source's own statement, or the receive time less what this frame came later than the quickest one.
    fn sample_time(&mut self, reading: &MeterReading) -> Mono {
        if let Some(sampled_at) = reading.sampled_at {
            return sampled_at.min(reading.received_at);
        }
        let Some(stamp) = reading.stamp else { return reading.received_at };
        self.timing.stamp = Some(stamp);
        let offset = reading.received_at.0.saturating_sub(stamp.saturating_mul(1000));
        let smallest = self.timing.offset.map_or(offset, |smallest| smallest.min(offset));
        let delay = offset.saturating_sub(smallest);
        self.timing.far_off = if delay > CLOCK_JUMP.0 { self.timing.far_off + 1 } else { 0 };
        if self.timing.far_off >= CLOCK_JUMP_FRAMES {
            self.timing.far_off = 0;
            self.timing.offset = Some(offset);
            return reading.received_at;
        }
        // One part in a thousand upwards: a meter's clock that runs slow must not look like a growing delay.
        self.timing.offset = Some(smallest.saturating_add(1));
        reading.received_at - Span(delay)
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
        let total = reading.power_total.or_else(|| {
            let known = || reading.power.0.iter().flatten().copied();
            (known().count() > 0).then(|| known().sum())
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

    /// Per-phase values where there were some before, or on part of the phases only; or nothing at all.
    fn lacks_a_phase(&self, frame: &Frame, phases: PhaseSet) -> bool {
        if phases == PhaseSet::NONE {
            return frame.total.is_none() && frame.current.0.iter().flatten().next().is_none();
        }
        let present = phases.iter().filter(|phase| frame.current[*phase].is_some()).count();
        if present == 0 { self.per_phase || frame.total.is_none() } else { present < phases.len() as usize }
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

    /// All zero although there was load. Believed when a counter moved, voltages are there and the cars are idle.
    fn zeroed(&self, frame: &Frame, reading: &MeterReading, around: Surroundings) -> bool {
        if around.may_be_zero || !all_zero(frame) || (!self.loaded && around.cars_idle) {
            return false;
        }
        let moved = self.energy.is_some_and(|(import, export)| {
            let differs = |before: Option<WattHour>, now: Option<WattHour>| {
                before.is_some_and(|before| now.is_some_and(|now| now != before))
            };
            differs(import, reading.energy_import) || differs(export, reading.energy_export)
        });
        let alive = frame.voltage.iter().any(|(_, voltage)| voltage.is_some_and(|it| it.0 > 50_000));
        !(moved && alive && around.cars_idle)
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
    let voltage = reading.voltage[phase].filter(|it| it.0 > 100_000).unwrap_or(NOMINAL);
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

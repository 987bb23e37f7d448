//! What a test may look at.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::quantity::{Milliamp, Mono, Phases, Span, Watt, WattHour};
use crate::reading::PilotState;

/// The whole installation at a moment, as a person with a clamp meter on every wire would see it.
#[derive(Clone, Debug)]
pub struct View {
    /// House time.
    pub at: Mono,
    /// Real time.
    pub instant: Instant,
    /// At the main fuse, import positive.
    pub grid: Phases<Milliamp>,
    /// Without the chargers, import positive.
    pub house: Phases<Milliamp>,
    /// What the roof gives.
    pub sun: Watt,
    /// What it has given since it was built.
    pub sun_energy: WattHour,
    /// Telegrams sent so far.
    pub telegrams: u64,
    /// Readers connected to the P1 port over TCP; a pseudo-terminal is not counted.
    pub readers: usize,
    /// In the order of the plan.
    pub chargers: Vec<ChargerView>,
}

/// One charger.
#[derive(Clone, Debug)]
pub struct ChargerView {
    /// Content of the set-point register.
    pub set_point: Milliamp,
    /// What the pilot tells the car (PWM).
    pub offered: Milliamp,
    /// What flows, on the grid's phases.
    pub draw: Phases<Milliamp>,
    /// The pilot.
    pub state: PilotState,
    /// The last set-point that arrived over the bus.
    pub written: Option<SetPoint>,
    /// How many arrived.
    pub writes: u64,
    /// Valid requests that arrived, answered or not.
    pub requests: u64,
    /// When the last one arrived.
    pub heard: Option<Instant>,
    /// Programmed time-out and fail-safe current; `None` where there is no such timer.
    pub watchdog: Option<(Span, Milliamp)>,
    /// Its timer has run out.
    pub fallen: bool,
    /// Restarts.
    pub boots: u32,
}

impl ChargerView {
    /// The largest of its phases.
    #[must_use]
    pub fn highest_draw(&self) -> Milliamp {
        self.draw.0.into_iter().max().unwrap_or(Milliamp::ZERO)
    }

    /// The last set-point written over the bus.
    #[must_use]
    pub fn written_offer(&self) -> Option<Milliamp> {
        self.written.map(|it| it.offer)
    }
}

/// A set-point as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetPoint {
    /// The current.
    pub offer: Milliamp,
    /// When the last byte of the request was here.
    pub instant: Instant,
    /// The same in house time.
    pub at: Mono,
}

/// A valid Modbus request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When its last byte was here.
    pub instant: Instant,
    /// Modbus unit.
    pub unit: u8,
    /// Function code.
    pub function: u8,
    /// First register.
    pub register: u16,
    /// Registers asked for, or 0 for a write.
    pub count: u16,
    /// What was written; empty for a read.
    pub words: Vec<u16>,
    /// An answer went out (a right or a wrong one).
    pub answered: bool,
}

impl Request {
    /// It reads.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.words.is_empty()
    }
}

/// One point of the history.
#[derive(Clone, Debug)]
pub struct Moment {
    /// House time.
    pub at: Mono,
    /// Real time.
    pub instant: Instant,
    /// At the main fuse, import positive.
    pub grid: Phases<Milliamp>,
    /// Pilot of each charger.
    pub offered: Vec<Milliamp>,
}

/// How far and how long a limit was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overload {
    /// The highest current of any phase.
    pub highest: Milliamp,
    /// The longest unbroken time above the limit on one phase, in house time.
    pub longest: Span,
    /// Above the limit on the worst phase, summed, in ampere-seconds of house time.
    pub ampere_seconds: f64,
}

impl Overload {
    /// Of a stretch of history against a limit per phase.
    #[must_use]
    pub fn of(history: &[Moment], limit: Milliamp) -> Self {
        let mut overload = Self::default();
        for wire in 0..3 {
            let (mut running, mut sum) = (Span::ZERO, 0.0);
            for pair in history.windows(2) {
                let current = pair[1].grid.0[wire];
                overload.highest = overload.highest.max(current).max(pair[0].grid.0[wire]);
                if current > limit {
                    let step = pair[1].at.since(pair[0].at);
                    running = running + step;
                    sum += (current - limit).as_f64() * step.as_secs_f64();
                } else {
                    running = Span::ZERO;
                }
                overload.longest = overload.longest.max(running);
            }
            overload.ampere_seconds = overload.ampere_seconds.max(sum);
        }
        overload
    }
}

/// Something awaited did not come.
#[derive(Clone, Debug)]
pub struct NotReached {
    /// What was awaited.
    pub what: String,
    /// How long.
    pub waited: Duration,
    /// How things stood at the end.
    pub view: Arc<View>,
}

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "not reached within {:?}: {}", self.waited, self.what)?;
        let view = &self.view;
        writeln!(f, "  at {} s: fuse {:?}, house {:?}", view.at.as_secs_f64(), view.grid.0, view.house.0)?;
        writeln!(f, "  meter: {} telegrams, {} readers", view.telegrams, view.readers)?;
        for (index, charger) in view.chargers.iter().enumerate() {
            writeln!(f, "  charger {index}: {charger:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NotReached {}

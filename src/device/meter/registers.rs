//! The registers of an electricity meter as the controller needs them, whatever protocol they came by.

use std::fmt;

use crate::codec::obis::Obis;
use crate::codec::value::{Decimal, MeterTime, Unit};
use crate::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Watt, WattHour};
use crate::reading::MeterReading;

/// How the meter is connected to the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Which grid phase is behind the meter's own L1, L2, L3.
    pub phases: [Phase; 3],
    /// Import and export are exchanged.
    pub invert: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { phases: Phase::ALL, invert: false }
    }
}

/// A register of a valid frame whose content cannot be a measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Which.
    pub obis: Obis,
    /// Beginning of its content.
    pub content: String,
    /// What is wrong with it.
    pub cause: &'static str,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "register {} = `{}` is not used: {}", self.obis, self.content, self.cause)
    }
}

impl Unusable {
    /// Names a register with the beginning of its content.
    pub(super) fn new(obis: Obis, content: &str, cause: &'static str) -> Self {
        const SHOWN: usize = 40;
        Self { obis, content: content.chars().take(SHOWN).collect(), cause }
    }
}

/// Why a register gives no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Empty brackets: the meter has none.
    Absent,
    /// Something else stands there.
    Because(&'static str),
}

/// No household's or plant's meter counts further than this in any unit that meters use.
const LARGEST: i64 = 1_000_000_000;

pub(super) const BELOW_ZERO: Refusal = Refusal::Because("a counter below zero");
const TOO_LARGE: Refusal = Refusal::Because("above 1000000000");
pub(super) const NO_NUMBER: Refusal = Refusal::Because("not `number*unit` with a unit that fits the register");

pub(super) fn in_range(number: Decimal) -> Result<Decimal, Refusal> {
    if number.within(LARGEST) { Ok(number) } else { Err(TOO_LARGE) }
}

/// An energy register of one direction: the total and the tariffs.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    registers: [Option<i64>; 5],
    /// A register was there and could not be read: a sum would be too small.
    broken: bool,
}

impl Counter {
    fn total(&self) -> Option<WattHour> {
        let [total, tariffs @ ..] = self.registers;
        match total {
            Some(total) => Some(WattHour(total)),
            None if self.broken => None,
            None => tariffs.into_iter().flatten().reduce(i64::saturating_add).map(WattHour),
        }
    }
}

/// A register that the meter may have.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    value: Option<i64>,
    /// It was there and could not be read.
    broken: bool,
}

impl Slot {
    fn is_there(&self) -> bool {
        self.value.is_some() || self.broken
    }
}

/// One direction of a meter.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    power: Slot,
    phase_power: [Slot; 3],
    demand: Slot,
    /// Under channel 0 and channel 1.
    energy: [Counter; 2],
}

/// What the controller needs of one frame, in the meter's own phase order. Powers in W, energies in Wh, currents in mA,
/// voltages in mV.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registers {
    import: Direction,
    export: Direction,
    net_power: Slot,
    net_phase_power: [Slot; 3],
    /// Import and export are exchanged.
    inverted: bool,
    current: [Option<i64>; 3],
    current_step: i64,
    voltage: [Option<i64>; 3],
    /// The frame's own time.
    pub(super) time: Option<MeterTime>,
}

impl Registers {
    /// Takes one register; `measured` is its number with its unit, asked for only where the register matters. A repeated
    /// one stands back behind the first.
    ///
    /// # Errors
    /// Why the register gives no value.
    pub(super) fn take(
        &mut self,
        code: Obis,
        measured: impl FnOnce() -> Result<(Decimal, Unit), Refusal>,
    ) -> Result<(), Refusal> {
        let Obis { a, b, c, d, e, f } = code;
        if f != 255 || a != 1 || b > 1 {
            return Ok(());
        }
        let scaled = |base: Unit, thousandths: i8| {
            let (number, unit) = measured()?;
            Ok((number.scaled(unit.to(base).ok_or(NO_NUMBER)? + thousandths), number.decimals))
        };
        if d == 8 && (c == 1 || c == 2) && e <= 4 {
            let direction = if c == 1 { &mut self.import } else { &mut self.export };
            let counter = &mut direction.energy[usize::from(b)];
            let read = scaled(Unit::WattHour(0), 0).and_then(|it| if it.0 < 0 { Err(BELOW_ZERO) } else { Ok(it) });
            counter.broken |= read.is_err();
            counter.registers[usize::from(e)].get_or_insert(read?.0);
            return Ok(());
        }
        if b != 0 || e != 0 {
            return Ok(());
        }
        let slot = match (c, d) {
            (1, 7) => &mut self.import.power,
            (2, 7) => &mut self.export.power,
            (16, 7) => &mut self.net_power,
            (1, 4) => &mut self.import.demand,
            (2, 4) => &mut self.export.demand,
            (21 | 41 | 61, 7) => &mut self.import.phase_power[phase(c)],
            (22 | 42 | 62, 7) => &mut self.export.phase_power[phase(c)],
            (36 | 56 | 76, 7) => &mut self.net_phase_power[phase(c)],
            (31 | 51 | 71, 7) => {
                let (current, decimals) = scaled(Unit::Ampere, 3)?;
                self.current[phase(c)].get_or_insert(current);
                let step = 10_i64.pow(3_u32.saturating_sub(u32::from(decimals)));
                self.current_step = self.current_step.max(step);
                return Ok(());
            }
            (32 | 52 | 72, 7) => {
                self.voltage[phase(c)].get_or_insert(scaled(Unit::Volt, 3)?.0);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let read = scaled(Unit::Watt(0), 0);
        slot.broken |= matches!(read, Err(Refusal::Because(_)));
        slot.value.get_or_insert(read?.0);
        Ok(())
    }

    /// For a meter whose clamps are mounted backwards, after its last register. Counters change places; powers are
    /// turned when they are asked for, because a meter may send one register for both directions.
    pub(super) fn invert(&mut self) {
        self.inverted = true;
        std::mem::swap(&mut self.import.energy, &mut self.export.energy);
        std::mem::swap(&mut self.import.demand, &mut self.export.demand);
    }

    fn directed(&self, value: i64) -> i64 {
        if self.inverted { value.saturating_neg() } else { value }
    }

    /// Import minus export of all phases; the phases' sum where the meter sends no total.
    pub(super) fn power_total(&self) -> Option<i64> {
        self.net_total().or_else(|| self.phase_sum()).map(|power| self.directed(power))
    }

    fn net_total(&self) -> Option<i64> {
        net(self.import.power, self.export.power).or(self.net_power.value)
    }

    fn net_phases(&self) -> [Option<i64>; 3] {
        [0, 1, 2].map(|n| net(self.import.phase_power[n], self.export.phase_power[n]).or(self.net_phase_power[n].value))
    }

    /// Of all phases that the meter has: of a part of them it would be too small.
    fn phase_sum(&self) -> Option<i64> {
        let sends_power = |n: usize| {
            [self.import.phase_power[n], self.export.phase_power[n], self.net_phase_power[n]].iter().any(Slot::is_there)
        };
        let power = self.net_phases();
        let own = (0..3).filter(|&n| self.shows(n) || sends_power(n)).map(|n| power[n]);
        own.reduce(|a, b| Some(a?.saturating_add(b?))).flatten()
    }

    /// Import minus export of the meter's own phases. Where the meter knows one phase only and sends no power for it,
    /// that is the total.
    pub(super) fn phase_power(&self) -> [Option<i64>; 3] {
        let mut power = self.net_phases();
        if power == [None; 3] && self.is_single_phase() {
            power[0] = self.net_total();
        }
        power.map(|power| power.map(|power| self.directed(power)))
    }

    /// Something but its power is measured on this phase.
    fn shows(&self, n: usize) -> bool {
        self.current[n].is_some() || self.voltage[n].is_some()
    }

    fn is_single_phase(&self) -> bool {
        self.shows(0) && !self.shows(1) && !self.shows(2)
    }

    /// Sum of the tariffs where there is no total.
    pub(super) fn energy_import(&self) -> Option<WattHour> {
        self.import.energy[0].total().or_else(|| self.import.energy[1].total())
    }

    /// Sum of the tariffs where there is no total.
    pub(super) fn energy_export(&self) -> Option<WattHour> {
        self.export.energy[0].total().or_else(|| self.export.energy[1].total())
    }

    /// A meter that sends a negative current knows the direction.
    pub(super) fn current_signed(&self) -> bool {
        self.current.iter().flatten().any(|&current| current < 0)
    }

    /// Decimals of the coarsest current.
    pub(super) fn current_decimals(&self) -> u8 {
        match self.current_step {
            1000.. => 0,
            100.. => 1,
            10.. => 2,
            _ => 3,
        }
    }

    /// Currents with the sign of the phase's power where they have none of their own.
    pub(super) fn signed_current(&self) -> [Option<i64>; 3] {
        let (power, signed) = (self.phase_power(), self.current_signed());
        [0, 1, 2].map(|n| {
            let backwards = if signed { self.inverted } else { power[n].is_some_and(|power| power < 0) };
            self.current[n].map(|current| if backwards { current.saturating_neg() } else { current })
        })
    }

    pub(super) fn reading(&self, mapping: &Mapping, received_at: Mono) -> MeterReading {
        let mut reading = MeterReading {
            received_at,
            stamp: self.time.map(|time| time.standard_seconds),
            current_signed: self.current_signed(),
            current_step: Milliamp(narrow(self.current_step)),
            power_total: self.power_total().map(|power| Watt(narrow(power))),
            energy_import: self.energy_import(),
            energy_export: self.energy_export(),
            demand: self.import.demand.value.map(|demand| Watt(narrow(demand))),
            ..MeterReading::default()
        };
        // Only a signed current has a direction; the controller finds that of the others itself.
        let current = if reading.current_signed { self.signed_current() } else { self.current };
        let power = self.phase_power();
        for (n, &phase) in mapping.phases.iter().enumerate() {
            reading.current[phase] = current[n].map(|current| Milliamp(narrow(current)));
            reading.power[phase] = power[n].map(|power| Watt(narrow(power)));
            reading.voltage[phase] = self.voltage[n].map(|voltage| Millivolt(narrow(voltage)));
        }
        reading
    }
}

/// Without the import nothing is known. A meter that never exports may leave the export out; one that was sent and
/// cannot be read is not zero.
fn net(import: Slot, export: Slot) -> Option<i64> {
    let export = if export.broken { export.value? } else { export.value.unwrap_or(0) };
    Some(import.value?.saturating_sub(export))
}

/// Registers of L2 and L3 lie 20 and 40 above those of L1.
fn phase(c: u8) -> usize {
    usize::from((c - 21) / 20)
}

fn narrow(value: i64) -> i32 {
    value.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

/// Phases for tables keyed by `l1`, `l2`, `l3`.
pub(super) fn phase_word(phase: Phase) -> &'static str {
    Phases(["l1", "l2", "l3"])[phase]
}

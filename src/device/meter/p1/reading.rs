//! A telegram as the controller needs it.

use std::fmt;

use crate::codec::obis::Obis;
use crate::codec::p1::{Object, Telegram, object};
use crate::codec::value::{self, Decimal, MeterTime, Unit};
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

/// A register of a valid telegram whose content cannot be a measurement.
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
    pub(super) fn new(object: &Object<'_>, cause: &'static str) -> Self {
        const SHOWN: usize = 40;
        let content = object.args().map(object::text).collect::<Vec<_>>().join(")(");
        Self { obis: object.obis, content: content.chars().take(SHOWN).collect(), cause }
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

/// No household's or plant's meter counts further than this in any unit that P1 uses.
const LARGEST: i64 = 1_000_000_000;

const TOO_LARGE: Refusal = Refusal::Because("above 1000000000");
const NO_NUMBER: Refusal = Refusal::Because("not `number*unit` with a unit that fits the register");

/// The number of a one-bracket object and its unit.
pub(super) fn measured(object: &Object<'_>) -> Result<(Decimal, Unit), Refusal> {
    let arg = object.single().ok_or(NO_NUMBER)?;
    if arg.is_empty() {
        return Err(Refusal::Absent);
    }
    let (number, unit) = match value::number(arg) {
        Some((number, Some(unit))) => (number, Unit::parse(unit).ok_or(NO_NUMBER)?),
        _ => return Err(NO_NUMBER),
    };
    in_range(number).map(|number| (number, unit))
}

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

/// One direction of a meter.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    power: Option<i64>,
    phase_power: [Option<i64>; 3],
    demand: Option<i64>,
    /// Under channel 0 and channel 1.
    energy: [Counter; 2],
}

/// What the controller needs of a telegram, in the meter's own phase order. Powers in W, energies in Wh, currents in mA,
/// voltages in mV.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Registers {
    import: Direction,
    export: Direction,
    net_power: Option<i64>,
    net_phase_power: [Option<i64>; 3],
    current: [Option<i64>; 3],
    current_step: i64,
    voltage: [Option<i64>; 3],
    /// The telegram's own time.
    pub(super) time: Option<MeterTime>,
}

impl Registers {
    /// Reads all registers; those that cannot be used are handed to `unusable`.
    pub(super) fn read(telegram: &Telegram<'_>, invert: bool, mut unusable: impl FnMut(Unusable)) -> Self {
        let mut registers = Self::default();
        for object in telegram.objects() {
            if let Err(Refusal::Because(cause)) = registers.take(&object) {
                unusable(Unusable::new(&object, cause));
            }
        }
        if invert {
            std::mem::swap(&mut registers.import, &mut registers.export);
            let negate = |value: &mut Option<i64>| *value = value.map(i64::saturating_neg);
            negate(&mut registers.net_power);
            registers.net_phase_power.iter_mut().for_each(negate);
        }
        registers
    }

    fn take(&mut self, object: &Object<'_>) -> Result<(), Refusal> {
        let Obis { a, b, c, d, e, f } = object.obis;
        if f != 255 {
            return Ok(());
        }
        if (a, b, c, d, e) == (0, 0, 1, 0, 0) {
            self.time = object.single().and_then(MeterTime::parse);
            return Ok(());
        }
        if a != 1 || b > 1 {
            return Ok(());
        }
        if d == 8 && (c == 1 || c == 2) && e <= 4 {
            let direction = if c == 1 { &mut self.import } else { &mut self.export };
            let counter = &mut direction.energy[usize::from(b)];
            let read = scaled(object, Unit::WattHour(0));
            counter.broken |= read.is_err();
            counter.registers[usize::from(e)] = Some(read?);
            return Ok(());
        }
        if b != 0 || e != 0 {
            return Ok(());
        }
        let watt = |slot: &mut Option<i64>| {
            *slot = Some(scaled(object, Unit::Watt(0))?);
            Ok(())
        };
        match (c, d) {
            (1, 7) => watt(&mut self.import.power),
            (2, 7) => watt(&mut self.export.power),
            (16, 7) => watt(&mut self.net_power),
            (1, 4) => watt(&mut self.import.demand),
            (2, 4) => watt(&mut self.export.demand),
            (21 | 41 | 61, 7) => watt(&mut self.import.phase_power[phase(c)]),
            (22 | 42 | 62, 7) => watt(&mut self.export.phase_power[phase(c)]),
            (36 | 56 | 76, 7) => watt(&mut self.net_phase_power[phase(c)]),
            (31 | 51 | 71, 7) => {
                let (number, unit) = measured(object)?;
                let power = unit.to(Unit::Ampere).ok_or(NO_NUMBER)?;
                self.current[phase(c)] = Some(number.scaled(power + 3));
                let step = 10_i64.pow(3_u32.saturating_sub(u32::from(number.decimals)));
                self.current_step = self.current_step.max(step);
                Ok(())
            }
            (32 | 52 | 72, 7) => {
                let (number, unit) = measured(object)?;
                let power = unit.to(Unit::Volt).ok_or(NO_NUMBER)?;
                self.voltage[phase(c)] = Some(number.scaled(power + 3));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Import minus export of all phases.
    pub(super) fn power_total(&self) -> Option<i64> {
        net(self.import.power, self.export.power).or(self.net_power)
    }

    /// Import minus export of the meter's own phases. Where the meter knows one phase only and sends no power for it,
    /// that is the total.
    pub(super) fn phase_power(&self) -> [Option<i64>; 3] {
        let mut power =
            [0, 1, 2].map(|n| net(self.import.phase_power[n], self.export.phase_power[n]).or(self.net_phase_power[n]));
        if power == [None; 3] && self.is_single_phase() {
            power[0] = self.power_total();
        }
        power
    }

    fn is_single_phase(&self) -> bool {
        let known = |n: usize| self.current[n].is_some() || self.voltage[n].is_some();
        known(0) && !known(1) && !known(2)
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
            let backwards = !signed && power[n].is_some_and(|power| power < 0);
            self.current[n].map(|current| if backwards { -current } else { current })
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
            demand: self.import.demand.map(|demand| Watt(narrow(demand))),
            ..MeterReading::default()
        };
        // Only a signed current has a direction to turn round.
        let direction = if mapping.invert && reading.current_signed { -1 } else { 1 };
        let power = self.phase_power();
        for (n, &phase) in mapping.phases.iter().enumerate() {
            reading.current[phase] = self.current[n].map(|current| Milliamp(narrow(current * direction)));
            reading.power[phase] = power[n].map(|power| Watt(narrow(power)));
            reading.voltage[phase] = self.voltage[n].map(|voltage| Millivolt(narrow(voltage)));
        }
        reading
    }
}

/// What the controller needs of a telegram that passed its check; `unusable` hears of registers that are left out.
///
/// Power is import minus export (P1 sends both without a sign). Currents carry no direction unless the meter sends a
/// negative one. Energy is the total or, where there is none, the sum of the tariffs.
pub fn reading(
    telegram: &Telegram<'_>,
    mapping: &Mapping,
    received_at: Mono,
    unusable: impl FnMut(Unusable),
) -> MeterReading {
    Registers::read(telegram, mapping.invert, unusable).reading(mapping, received_at)
}

/// The value in whole or thousandth base units.
fn scaled(object: &Object<'_>, base: Unit) -> Result<i64, Refusal> {
    let (number, unit) = measured(object)?;
    Ok(number.scaled(unit.to(base).ok_or(NO_NUMBER)?))
}

/// Without the import nothing is known; a meter that never exports may leave the export out.
fn net(import: Option<i64>, export: Option<i64>) -> Option<i64> {
    Some(import?.saturating_sub(export.unwrap_or(0)))
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

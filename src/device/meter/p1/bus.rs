//! Gas, water and heat meters that a P1 meter reads over its M-Bus.

use std::sync::Arc;

use super::reading;
use crate::codec::p1::{Object, Telegram};
use crate::codec::value::{Decimal, MeterTime, Unit};
use crate::device::meter::names::{Book, Named, Names};
use crate::device::meter::registers::{Refusal, Unusable, in_range};
use crate::device::meter::values::{self, Values};
use crate::quantity::Mono;
use crate::status::{Identity, MeterValues};

/// M-Bus slots of a meter; the norm has four.
const SLOTS: u8 = 8;

/// A slot whose reading is older than the newest by more than this is a device that was taken away.
const ABANDONED_S: i64 = 48 * 3600;

/// Unix time of 2000-01-01 00:00 UTC.
const YEAR_2000_S: i64 = 946_684_800;

/// Names the meters on the bus and remembers the names: a counter must not jump because two devices changed places. A
/// device is known by its own number, wherever it stands. Who is new in a slot whose device is gone is a meter that was
/// exchanged, and takes its name over.
#[derive(Debug, Default)]
pub(super) struct Bus {
    book: Book,
}

/// What one slot says in one telegram.
#[derive(Clone, Copy, Debug, Default)]
struct Device<'a> {
    slot: u8,
    medium: Option<i64>,
    serial: Option<&'a [u8]>,
    reading: Option<(Decimal, Unit)>,
    time: Option<MeterTime>,
    valve: Option<&'a [u8]>,
}

impl Device<'_> {
    /// EN 13757-3 device types, as P1 sends them in decimal; the unit where the type says nothing.
    fn kind(&self) -> &'static str {
        match (self.medium, self.reading.map(|(_, unit)| unit.split().0)) {
            (Some(2), _) => "electricity",
            (Some(3), _) => "gas",
            (Some(4 | 12 | 13), _) => "heat",
            (Some(6 | 7), _) => "water",
            (Some(10 | 11), _) => "cooling",
            (_, Some(Unit::Joule(_) | Unit::WattHour(_))) => "heat",
            _ => "meter",
        }
    }

    fn time_or_zero(&self) -> i64 {
        self.time.map_or(0, |time| time.standard_seconds)
    }
}

impl Bus {
    /// With the names of the last run.
    pub(super) fn new(names: Names) -> Self {
        Self { book: Book::new(names) }
    }

    /// All bound devices of a telegram: suffix of the id and values. `telegram_time` is its own time, `wall_ms` ours.
    pub(super) fn sub_meters(
        &mut self,
        telegram: &Telegram<'_>,
        telegram_time: Option<MeterTime>,
        received_at: Mono,
        wall_ms: i64,
        unusable: impl FnMut(Unusable),
    ) -> Vec<(Arc<str>, Arc<MeterValues>)> {
        let mut devices = read(telegram, unusable);
        let names = self.name(&mut devices);
        let zone = telegram_time.and_then(|time| zone(time, wall_ms));
        devices
            .iter()
            .zip(names)
            .filter_map(|(device, name)| {
                let suffix = name?;
                let wall_ms = device.time.zip(zone).map(|(time, zone)| unix_ms(time, zone));
                let values = MeterValues {
                    received_at: Some(received_at),
                    wall_ms,
                    values: device_values(device),
                    identity: Identity {
                        serial: device.serial.map(values::readable).filter(|serial| !serial.is_empty()),
                        ..Identity::default()
                    },
                };
                Some((suffix, Arc::new(values)))
            })
            .collect()
    }

    /// The names of all devices, which are put in the order of their slots. Newcomers are `gas`, `gas-2`, …; of several
    /// that are new together those that still read come first, then the lower slot.
    fn name(&mut self, devices: &mut [Device<'_>]) -> Vec<Option<Arc<str>>> {
        let newest = devices.iter().map(Device::time_or_zero).max().unwrap_or(0);
        devices.sort_by_key(|device| (newest - device.time_or_zero() > ABANDONED_S, device.slot));
        // Per name: the slot of the device that has it now.
        let mut taken: Vec<Option<u8>> = vec![None; self.book.named().len()];
        for device in devices.iter().filter(|it| it.serial.is_some()) {
            let same = |named: &Named| named.kind == device.kind() && named.serial.as_deref() == device.serial;
            let place = self.book.named().iter().position(same).filter(|place| taken[*place].is_none());
            if let Some(place) = place {
                taken[place] = Some(device.slot);
            }
        }
        for device in devices.iter() {
            if !taken.contains(&Some(device.slot)) {
                self.name_by_slot(device, &mut taken);
            }
        }
        devices.sort_by_key(|device| device.slot);
        let name = |device: &Device<'_>| {
            let place = taken.iter().position(|slot| *slot == Some(device.slot))?;
            Some(self.book.seen(place, device.slot, device.serial))
        };
        devices.iter().map(name).collect()
    }

    /// The name of the slot where its device is not there, else a new one.
    fn name_by_slot(&mut self, device: &Device<'_>, taken: &mut Vec<Option<u8>>) {
        let kind = device.kind();
        let free =
            |(named, taken): (&Named, &Option<u8>)| named.slot == device.slot && named.kind == kind && taken.is_none();
        let place = self.book.named().iter().zip(&*taken).position(free);
        let Some(place) = place.or_else(|| self.book.add(kind, |place| taken[place].is_none())) else { return };
        taken.resize(self.book.named().len(), None);
        taken[place] = Some(device.slot);
    }
}

fn read<'a>(telegram: &Telegram<'a>, mut unusable: impl FnMut(Unusable)) -> Vec<Device<'a>> {
    let mut slots = [Device::default(); SLOTS as usize];
    for object in telegram.objects() {
        let code = object.obis;
        if code.a != 0 || !(1..=SLOTS).contains(&code.b) {
            continue;
        }
        let device = &mut slots[usize::from(code.b - 1)];
        device.slot = code.b;
        match (code.c, code.d, code.e) {
            (24, 1, 0) => device.medium = object.single().and_then(Decimal::parse).map(|number| number.scaled(0)),
            (96, 1, 0 | 1) => device.serial = object.single().filter(|serial| !serial.is_empty()),
            (24, 4, 0) => device.valve = object.single().filter(|valve| !valve.is_empty()),
            (24, 2, _) | (24, 3, 0) => match counter(&object) {
                Ok((reading, time)) => {
                    // Two counters in one slot: the newer counts.
                    if device.reading.is_none() || time > device.time {
                        (device.reading, device.time) = (Some(reading), time);
                    }
                }
                Err(Refusal::Absent) => {}
                Err(Refusal::Because(cause)) => unusable(reading::unusable(&object, cause)),
            },
            _ => {}
        }
    }
    slots.into_iter().filter(|device| device.reading.is_some()).collect()
}

/// What a device counted, and when it was read.
type Counted = ((Decimal, Unit), Option<MeterTime>);

/// Absent for a slot without a device or with one that was not read yet.
fn counter(object: &Object<'_>) -> Result<Counted, Refusal> {
    let content = object.content();
    let Some(number) = content.decimal() else {
        // One empty bracket, or a time with an empty one behind it.
        let empty = object.args().last().is_none_or(|last| last.is_empty());
        return Err(if empty { Refusal::Absent } else { Refusal::Because("not (time)(number*unit)") });
    };
    let Some(unit) = content.unit else {
        return Err(if number.mantissa == 0 { Refusal::Absent } else { Refusal::Because("a reading without a unit") });
    };
    // The clock of a device that was never read.
    if content.timestamp.is_some_and(|time| time.starts_with(b"700101010000")) {
        return Err(Refusal::Absent);
    }
    const NO_SUCH_UNIT: Refusal = Refusal::Because("a unit that no such meter has");
    let number = in_range(number)?;
    let unit = Unit::parse(unit).ok_or(NO_SUCH_UNIT)?;
    match unit.split().0 {
        Unit::CubicMetre | Unit::Joule(_) | Unit::WattHour(_) => Ok(((number, unit), content.time())),
        _ => Err(NO_SUCH_UNIT),
    }
}

fn device_values(device: &Device<'_>) -> Values {
    let mut values = Values::new();
    if let Some((number, unit)) = device.reading {
        let (key, target) = match unit.split().0 {
            Unit::CubicMetre => ("volume_m3", Unit::CubicMetre),
            Unit::Joule(_) => ("energy_gj", Unit::Joule(9)),
            _ if device.kind() == "electricity" => ("energy_import_kwh", Unit::WattHour(3)),
            _ => ("energy_kwh", Unit::WattHour(3)),
        };
        if let Some(power) = unit.to(target) {
            values.insert(key.into(), values::quantity(number, power, target));
        }
    }
    if let Some(valve) = device.valve {
        values.insert("valve".into(), crate::status::Value::Text(values::readable(valve)));
    }
    values
}

/// Seconds by which the meter's standard time is ahead of UTC, from its own time and ours. Rounded to a quarter of an
/// hour, the grid of the world's time zones, so that small errors of either clock do not show; `None` where the two
/// differ by more than any zone.
fn zone(time: MeterTime, wall_ms: i64) -> Option<i64> {
    const QUARTER: i64 = 900;
    let ahead = time.standard_seconds + YEAR_2000_S - wall_ms.div_euclid(1000);
    let zone = (ahead + QUARTER / 2).div_euclid(QUARTER) * QUARTER;
    (zone.abs() <= 14 * 3600).then_some(zone)
}

fn unix_ms(time: MeterTime, zone: i64) -> i64 {
    (time.standard_seconds + YEAR_2000_S - zone) * 1000
}

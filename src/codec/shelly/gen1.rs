//! Generation 1: `GET /status` and `GET /relay/<n>`.

use crate::codec::json::{self, Fields, Malformed};
use crate::codec::sample::{Quantity as Q, Sample};

/// Which of a device's measurements is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `emeters` 0 to 2 as the three phases (3EM).
    Phases,
    /// One of `emeters` (EM, 3EM).
    Clamp(u8),
    /// One of `meters` (relays and plugs with power).
    Relay(u8),
}

/// What is to be read of a device with this `/status`. Without a channel: all three phases where there are three
/// clamps, else the first measurement.
///
/// # Errors
/// When there is nothing to measure with, or no such channel.
pub fn source(body: &[u8], channel: Option<u8>) -> Result<Source, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let (clamps, relays) = (fields.list("emeters")?.len(), fields.list("meters")?.len());
    let at = channel.unwrap_or(0);
    match (clamps, relays) {
        (3, _) if channel.is_none() => Ok(Source::Phases),
        (1.., _) if usize::from(at) < clamps => Ok(Source::Clamp(at)),
        (0, 1..) if usize::from(at) < relays => Ok(Source::Relay(at)),
        (0, 0) => Err(Malformed::new("", "has no `emeters` and no `meters`: this device measures no power")),
        _ => Err(Malformed::new("", format!("has no channel {at}: it has {}", clamps.max(relays)))),
    }
}

/// Reads `/status`. A measurement that the device marks as not valid is missing, never zero.
///
/// # Errors
/// When it is not as the documentation has it, or holds no valid measurement.
pub fn status(body: &[u8], source: Source) -> Result<Sample, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let mut sample = Sample::default();
    match source {
        Source::Phases => {
            let mut totals = Totals::default();
            for at in 0..3 {
                clamp(fields.element("emeters", at)?, at, at, &mut sample, &mut totals)?;
            }
            totals.put(&mut sample);
        }
        Source::Clamp(at) => {
            let mut totals = Totals::default();
            clamp(fields.element("emeters", usize::from(at))?, usize::from(at), 0, &mut sample, &mut totals)?;
            totals.put(&mut sample);
        }
        Source::Relay(at) => relay_meter(&fields, at, &mut sample)?,
    }
    sample.complete();
    if sample.is_empty() {
        let why = if sample.notes.is_empty() { "holds no measurement".to_owned() } else { sample.notes.join("; ") };
        return Err(Malformed::new("", format!("gives no reading: {why}")));
    }
    Ok(sample)
}

/// The counters of the phases; a sum without one of them would be too small.
#[derive(Default)]
struct Totals {
    import: Vec<Option<f64>>,
    export: Vec<Option<f64>>,
}

impl Totals {
    fn put(&self, sample: &mut Sample) {
        let sum = |parts: &[Option<f64>]| parts.iter().copied().sum::<Option<f64>>().map(|wh| wh / 1000.0);
        sample.put(Q::EnergyImport, sum(&self.import));
        sample.put(Q::EnergyExport, sum(&self.export));
    }
}

fn clamp(
    fields: Option<Fields<'_>>,
    at: usize,
    phase: usize,
    sample: &mut Sample,
    totals: &mut Totals,
) -> Result<(), Malformed> {
    sample.expect(Q::PHASE_POWER[phase]);
    let Some(fields) = fields else { return Err(Malformed::new("emeters", format!("has no element {at}"))) };
    totals.import.push(fields.number("total")?);
    totals.export.push(fields.number("total_returned")?);
    if fields.flag("is_valid")? == Some(false) {
        sample.notes.push(format!("clamp {at} is not valid"));
        // Its counters stand, what it measures now is not known.
        return Ok(());
    }
    sample.put(Q::PHASE_POWER[phase], fields.number("power")?);
    sample.put(Q::CURRENT[phase], fields.number("current")?);
    sample.put(Q::VOLTAGE[phase], fields.number("voltage")?);
    Ok(())
}

fn relay_meter(fields: &Fields<'_>, at: u8, sample: &mut Sample) -> Result<(), Malformed> {
    let Some(meter) = fields.element("meters", usize::from(at))? else {
        return Err(Malformed::new("meters", format!("has no element {at}")));
    };
    if meter.flag("is_valid")? == Some(false) {
        sample.notes.push(format!("meter {at} is not valid"));
        return Ok(());
    }
    sample.put(Q::PowerL1, meter.number("power")?);
    sample.put(Q::VoltageL1, fields.number("voltage")?);
    // Watt-minutes.
    sample.put(Q::EnergyImport, meter.number("total")?.map(|it| it / 60.0 / 1000.0));
    Ok(())
}

/// Whether a relay is on, from `GET /relay/<n>`.
///
/// # Errors
/// When the answer does not say.
pub fn relay(body: &[u8]) -> Result<bool, Malformed> {
    let map = json::object(body)?;
    Fields::new("", &map).flag("ison")?.ok_or_else(|| Malformed::new("ison", "is missing"))
}

/// The level of an input, from `GET /status`; `None` where the device does not say.
///
/// # Errors
/// When there is no such input.
pub fn input(body: &[u8], channel: u8) -> Result<Option<bool>, Malformed> {
    let map = json::object(body)?;
    let Some(input) = Fields::new("", &map).element("inputs", usize::from(channel))? else {
        return Err(Malformed::new("inputs", format!("has no element {channel}")));
    };
    match input.number("input")? {
        None => Ok(None),
        Some(0.0) => Ok(Some(false)),
        Some(1.0) => Ok(Some(true)),
        Some(other) => Err(Malformed::new("inputs.input", format!("= {other} is neither 0 nor 1"))),
    }
}

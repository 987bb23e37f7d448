//! Generation 2 and later: bare results of `GET /rpc/<Method>`.

use crate::codec::json::{self, Fields, Malformed};
use crate::codec::sample::{Quantity as Q, Sample};

/// Which of a device's measurements is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `em:0`: three phases in one (Pro 3EM, 3EM-63, 3EM Gen3).
    Em,
    /// `em1:0` to `em1:2` as the three phases: the same devices in profile `monophase`.
    Phases,
    /// One of `em1:<n>` (Pro EM, EM Gen3).
    Em1(u8),
    /// One of `pm1:<n>` (PM devices without a relay).
    Pm1(u8),
    /// One of `switch:<n>` (relays and plugs with power).
    Switch(u8),
}

/// What is to be read of a device with this `Shelly.GetStatus`. Without a channel: all phases where the device has
/// three, else the first measurement.
///
/// # Errors
/// When there is nothing to measure with, or no such channel.
pub fn source(body: &[u8], channel: Option<u8>) -> Result<Source, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let at = channel.unwrap_or(0);
    if channel.is_none() {
        if fields.has("em:0") {
            return Ok(Source::Em);
        }
        if (0..3).all(|it| fields.has(&format!("em1:{it}"))) {
            return Ok(Source::Phases);
        }
    }
    if fields.has(&format!("em1:{at}")) {
        return Ok(Source::Em1(at));
    }
    if fields.has(&format!("pm1:{at}")) {
        return Ok(Source::Pm1(at));
    }
    let switch = format!("switch:{at}");
    if let Some(fields) = fields.object(&switch)? {
        return if fields.has("apower") {
            Ok(Source::Switch(at))
        } else {
            Err(Malformed::new(switch.clone(), "measures no power"))
        };
    }
    let wanted = match channel {
        Some(_) if fields.has("em:0") => {
            "the phases of `em:0` are one meter: take `channel` out, or set the device to profile monophase".to_owned()
        }
        Some(at) => format!("there is no em1:{at}, pm1:{at} or switch:{at}"),
        None => "there is no em:0, em1:0, pm1:0 or switch:0".to_owned(),
    };
    Err(Malformed::new("", format!("names no meter that fits: {wanted}")))
}

/// `EM.GetStatus`. A phase whose meter failed is missing, never zero.
///
/// # Errors
/// When it is not as the documentation has it, or nothing is measured.
pub fn em(body: &[u8]) -> Result<Sample, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let mut sample = Sample::default();
    for (at, letter) in ["a", "b", "c"].into_iter().enumerate() {
        sample.expect(Q::PHASE_POWER[at]);
        let key = |name: &str| format!("{letter}_{name}");
        let errors = errors(&fields, &key("errors"), &mut sample.notes)?;
        sample.put(Q::PHASE_POWER[at], errors.unless("act_power", fields.number(&key("act_power"))?));
        sample.put(Q::CURRENT[at], errors.unless("current", fields.number(&key("current"))?));
        sample.put(Q::VOLTAGE[at], errors.unless("voltage", fields.number(&key("voltage"))?));
        if sample.get(Q::Frequency).is_none() {
            sample.put(Q::Frequency, fields.number(&key("freq"))?);
        }
    }
    let whole = errors(&fields, "errors", &mut sample.notes)?;
    // A sum over a phase that is not measured would be too small.
    if Q::PHASE_POWER.into_iter().all(|it| sample.get(it).is_some()) {
        sample.put(Q::Power, whole.unless("act_power", fields.number("total_act_power")?));
        sample.put(Q::ApparentPower, whole.unless("aprt_power", fields.number("total_aprt_power")?));
    }
    given(sample, &whole)
}

/// `EMData.GetStatus`: counters in Wh.
///
/// # Errors
/// When it is not as the documentation has it.
pub fn em_data(body: &[u8]) -> Result<Sample, Malformed> {
    counters(body, "total_act", "total_act_ret")
}

/// `EM1.GetStatus`, as the meter's only phase.
///
/// # Errors
/// When it is not as the documentation has it, or nothing is measured.
pub fn em1(body: &[u8]) -> Result<Sample, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let mut sample = Sample::default();
    let errors = errors(&fields, "errors", &mut sample.notes)?;
    sample.put(Q::PowerL1, errors.unless("act_power", fields.number("act_power")?));
    sample.put(Q::CurrentL1, errors.unless("current", fields.number("current")?));
    sample.put(Q::VoltageL1, errors.unless("voltage", fields.number("voltage")?));
    sample.put(Q::ApparentPower, errors.unless("aprt_power", fields.number("aprt_power")?));
    sample.put(Q::PowerFactor, fields.number("pf")?);
    sample.put(Q::Frequency, fields.number("freq")?);
    given(sample, &errors)
}

/// `EM1Data.GetStatus`: counters in Wh.
///
/// # Errors
/// When it is not as the documentation has it.
pub fn em1_data(body: &[u8]) -> Result<Sample, Malformed> {
    counters(body, "total_act_energy", "total_act_ret_energy")
}

/// `Switch.GetStatus` or `PM1.GetStatus`, as the meter's only phase. [`Sample::stamp`] is the minute of its counter in
/// unix time where the device's clock is set: it moves while the device measures.
///
/// # Errors
/// When it is not as the documentation has it, or nothing is measured.
pub fn switch(body: &[u8]) -> Result<Sample, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let mut sample = Sample::default();
    let errors = errors(&fields, "errors", &mut sample.notes)?;
    let power = errors.unless("act_power", fields.number("apower")?);
    sample.put(Q::PowerL1, power);
    // Some plugs say 0 A while they carry power; the size that follows from the power is better than that.
    let current = errors.unless("current", fields.number("current")?);
    sample.put(Q::CurrentL1, current.filter(|it| *it != 0.0 || power.is_none_or(|it| it == 0.0)));
    sample.put(Q::VoltageL1, errors.unless("voltage", fields.number("voltage")?));
    sample.put(Q::PowerFactor, fields.number("pf")?);
    sample.put(Q::Frequency, fields.number("freq")?);
    let total = |key| match fields.object(key)? {
        Some(counter) => counter.number("total"),
        None => Ok(None),
    };
    let (counted, returned) = (total("aenergy")?, total("ret_aenergy")?);
    // What flowed back is counted in `aenergy` as well.
    let import = counted.map(|it| (it - returned.unwrap_or(0.0)).max(0.0));
    sample.put(Q::EnergyImport, import.map(|it| it / 1000.0));
    sample.put(Q::EnergyExport, returned.map(|it| it / 1000.0));
    if let Some(counter) = fields.object("aenergy")? {
        // Before 2020 the clock is not set.
        const YEAR_2020: f64 = 1_577_836_800.0;
        sample.stamp = counter.number("minute_ts")?.filter(|it| *it >= YEAR_2020).map(|it| it as i64);
    }
    given(sample, &errors)
}

/// Whether a relay is on, from `Switch.GetStatus`; `None` while the device does not know.
///
/// # Errors
/// When it is not as the documentation has it.
pub fn output(body: &[u8]) -> Result<Option<bool>, Malformed> {
    let map = json::object(body)?;
    Fields::new("", &map).flag("output")
}

/// The level of an input, from `Input.GetStatus`; `None` for an input in mode `button`, which has no level.
///
/// # Errors
/// When it is not as the documentation has it.
pub fn input(body: &[u8]) -> Result<Option<bool>, Malformed> {
    let map = json::object(body)?;
    Fields::new("", &map).flag("state")
}

fn counters(body: &[u8], import: &str, export: &str) -> Result<Sample, Malformed> {
    let map = json::object(body)?;
    let fields = Fields::new("", &map);
    let mut sample = Sample::default();
    sample.put(Q::EnergyImport, fields.number(import)?.map(|it| it / 1000.0));
    sample.put(Q::EnergyExport, fields.number(export)?.map(|it| it / 1000.0));
    Ok(sample)
}

/// What a component says is wrong with its measurement.
struct Errors {
    failed: bool,
    out_of_range: Vec<String>,
}

impl Errors {
    /// The value, unless it is known to be wrong.
    fn unless(&self, name: &str, value: Option<f64>) -> Option<f64> {
        value.filter(|_| !self.failed && !self.out_of_range.iter().any(|it| it == name))
    }
}

fn errors(fields: &Fields<'_>, key: &str, notes: &mut Vec<String>) -> Result<Errors, Malformed> {
    let mut errors = Errors { failed: false, out_of_range: Vec::new() };
    for word in fields.texts(key)?.into_iter().take(16) {
        errors.failed |= matches!(word, "power_meter_failure" | "ct_type_not_set");
        errors.out_of_range.extend(word.strip_prefix("out_of_range:").map(str::to_owned));
        notes.push(format!("the device reports {} in `{key}`", word.chars().take(40).collect::<String>()));
    }
    Ok(errors)
}

fn given(mut sample: Sample, errors: &Errors) -> Result<Sample, Malformed> {
    sample.complete();
    let phases = Q::PHASE_POWER.into_iter().chain(Q::CURRENT).any(|it| sample.get(it).is_some());
    if errors.failed || !(phases || sample.get(Q::Power).is_some()) {
        let why = if sample.notes.is_empty() { "it holds no measurement".to_owned() } else { sample.notes.join("; ") };
        return Err(Malformed::new("", format!("gives no reading: {why}")));
    }
    Ok(sample)
}

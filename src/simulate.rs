//! The simulation seam: the controller of `run` alone, its devices replaced by lines of JSON, in simulated time.
//!
//! One object in, one object out. What a line does not name keeps its last value; a line that is not understood is
//! answered with `{"error":"…"}` and changes nothing. A simulated charger is written to once for every line; the write
//! counts as confirmed when the next line brings an answer of that charger. Simulated inputs are off until named, and
//! simulated relays do as they are told.

mod appliance;
mod charger_box;
mod load;
mod meter_post;
mod play;
pub mod scenario;
mod timeline;
mod world;

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

pub use play::{Outcome, play};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::ChargerCommand;
use crate::config::Config;
use crate::control::{Controller, Decision, Setup};
use crate::event::{Event, EventType};
use crate::quantity::{Milliamp, Millivolt, Mono, Phases, Span, Watt, WattHour};
use crate::reading::{
    ChargerObservation, ChargerReport, InputReading, MeterReading, Observation, PilotState, RelayObservation, Watchdog,
};

/// Longest line that is read; a line for twenty chargers has about 4000 bytes.
const LONGEST_LINE: usize = 1 << 20;
/// Latest time that is understood: a hundred years.
const LATEST: f64 = 100.0 * 366.0 * 86_400.0;
/// Largest figure of any quantity that is understood.
const LARGEST: f64 = 1e9;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    t: f64,
    #[serde(default)]
    meter: Option<Frames>,
    #[serde(default)]
    meters: BTreeMap<String, Option<Frames>>,
    #[serde(default)]
    chargers: BTreeMap<String, ChargerLine>,
    #[serde(default)]
    set: Vec<(String, Value)>,
    #[serde(default)]
    inputs: BTreeMap<String, Option<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Frames {
    One(FrameLine),
    Many(Vec<FrameLine>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameLine {
    #[serde(default)]
    at: Option<f64>,
    #[serde(default)]
    current_a: Option<Vec<Option<f64>>>,
    #[serde(default)]
    power_w: Option<Power>,
    #[serde(default)]
    voltage_v: Option<Vec<Option<f64>>>,
    #[serde(default)]
    energy_import_kwh: Option<f64>,
    #[serde(default)]
    energy_export_kwh: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Power {
    Total(f64),
    Phases(Vec<Option<f64>>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargerLine {
    ok: bool,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    current_a: Option<Vec<Option<f64>>>,
    #[serde(default)]
    offered_a: Option<f64>,
    #[serde(default)]
    phases: Option<u8>,
    #[serde(default)]
    energy_kwh: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    t: f64,
    chargers: BTreeMap<&'a str, ChargerAnswer>,
    relays: BTreeMap<&'a str, &'a str>,
    events: Vec<EventAnswer<'a>>,
    wake_at: f64,
}

#[derive(Debug, Serialize)]
struct ChargerAnswer {
    offer_a: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    phases: Option<u8>,
    limit_reason: &'static str,
    reason: String,
    fail_safe_a: f64,
}

#[derive(Debug, Serialize)]
struct EventAnswer<'a> {
    event_type: &'static str,
    subject: &'a str,
    detail: &'a str,
}

/// What a simulated charger said last.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    report: ChargerReport,
    ok: Option<bool>,
    /// What was written after the last line.
    written: Option<(Milliamp, Mono)>,
    command: ChargerCommand,
}

/// The controller behind the seam.
#[derive(Debug)]
pub struct Seam {
    setup: Setup,
    controller: Controller,
    now: Option<Mono>,
    chargers: Vec<Said>,
    inputs: Vec<Option<bool>>,
    /// As ordered last: a simulated relay obeys by the next line.
    relays: Vec<Option<bool>>,
    /// Relays whose writes fail, for scenarios.
    relay_fails: Vec<bool>,
    observations: Vec<Observation>,
}

/// Speaks the seam until `input` ends.
///
/// # Errors
/// When reading or writing fails; a reader that has gone is the end.
pub fn stdio(config: &Config, mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut seam = Seam::new(config.setup());
    let mut line = Vec::new();
    loop {
        let answer = match read_line(&mut input, &mut line)? {
            Incoming::End => return Ok(()),
            Incoming::TooLong => error(&format!("a line is longer than {LONGEST_LINE} bytes")),
            Incoming::Line if line.iter().all(u8::is_ascii_whitespace) => continue,
            Incoming::Line => seam.answer(&line),
        };
        let written = output.write_all(answer.as_bytes()).and_then(|()| output.write_all(b"\n"));
        match written.and_then(|()| output.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
}

enum Incoming {
    Line,
    TooLong,
    End,
}

/// One line without its end, never more than `LONGEST_LINE` bytes of it.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Incoming> {
    line.clear();
    let mut any = false;
    let mut too_long = false;
    loop {
        let chunk = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if chunk.is_empty() {
            return Ok(match (any, too_long) {
                (false, _) => Incoming::End,
                (true, true) => Incoming::TooLong,
                (true, false) => Incoming::Line,
            });
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > LONGEST_LINE;
        if !too_long {
            line.extend_from_slice(part);
        }
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(if too_long { Incoming::TooLong } else { Incoming::Line });
        }
    }
}

fn error(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}

impl Seam {
    /// A seam for this installation; time begins with the first line.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            controller: Controller::new(setup.clone(), Mono(0)),
            now: None,
            chargers: vec![Said::default(); setup.chargers.len()],
            inputs: vec![Some(false); setup.inputs.len()],
            relays: vec![None; setup.relays.len()],
            relay_fails: vec![false; setup.relays.len()],
            observations: Vec::new(),
            setup,
        }
    }

    /// Answers one line.
    #[must_use]
    pub fn answer(&mut self, line: &[u8]) -> String {
        let understood = serde_json::from_slice::<Line>(line)
            .map_err(|error| error.to_string())
            .and_then(|line| self.understand(&line).map(|heard| (line, heard)));
        match understood {
            Ok((line, heard)) => self.act(&line, heard),
            Err(text) => error(&text),
        }
    }

    /// Everything that the line says, checked before any of it has an effect.
    fn understand(&self, line: &Line) -> Result<Heard, String> {
        let now = time(line.t, "t")?;
        if let Some(last) = self.now.filter(|last| now < *last) {
            return Err(format!("`t` runs backwards: {} after {}", line.t, last.as_secs_f64()));
        }
        let mut heard =
            Heard { now, wall: None, frames: Vec::new(), chargers: Vec::new(), inputs: Vec::new(), set: Vec::new() };
        if let Some(frames) = &line.meter {
            let Some(grid) = self.setup.circuits.first().and_then(|circuit| circuit.meter) else {
                return Err("`meter`: the configuration names no grid meter".to_owned());
            };
            frames.read(now, grid, "meter", &mut heard.frames)?;
        }
        for (id, frames) in &line.meters {
            let index = self.setup.meters.iter().position(|meter| meter.id == *id);
            let index = index.ok_or_else(|| format!("`meters`: there is no meter `{id}`"))?;
            if let Some(frames) = frames {
                frames.read(now, index, id, &mut heard.frames)?;
            }
        }
        for (id, said) in &line.chargers {
            let index = self.setup.chargers.iter().position(|charger| charger.id == *id);
            let index = index.ok_or_else(|| format!("`chargers`: there is no charger `{id}`"))?;
            let before = self.chargers[index].report;
            heard.chargers.push((index, said.ok, said.read(id, before)?));
        }
        for (id, level) in &line.inputs {
            let index = self.setup.inputs.iter().position(|input| input.id == *id);
            heard.inputs.push((index.ok_or_else(|| format!("`inputs`: there is no input `{id}`"))?, *level));
        }
        for (path, value) in &line.set {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => return Err(format!("`set`: the value of `{path}` is neither text nor number nor boolean")),
            };
            heard.set.push((path.clone(), value));
        }
        Ok(heard)
    }

    fn act(&mut self, line: &Line, heard: Heard) -> String {
        let refusals = self.step(heard);
        answer(line.t, &self.setup, self.controller.decision(), &refusals)
    }

    /// Lets the controller decide on what was heard; the wishes that it refused.
    fn step(&mut self, heard: Heard) -> Vec<Event> {
        let now = heard.now;
        let first = self.now.is_none();
        self.now = Some(now);
        if first {
            self.controller = Controller::new(self.setup.clone(), now);
        }
        let mut refusals = Vec::new();
        for (path, value) in &heard.set {
            if let Err(refused) = self.controller.set(now, path, value) {
                let device = path.strip_prefix("charger/").or_else(|| path.strip_prefix("relay/"));
                let subject = device.and_then(|rest| rest.split('/').next()).unwrap_or("site");
                refusals.push(Event::new(EventType::CommandRefused, subject, format!("{path}: {refused}")));
            }
        }
        for (index, level) in heard.inputs {
            self.inputs[index] = level;
        }
        self.observations.clear();
        for (index, level) in self.inputs.iter().enumerate() {
            let reading = InputReading { received_at: now, active: *level };
            self.observations.push(Observation::Input(index, reading));
        }
        for (index, ok, report) in heard.chargers {
            self.chargers[index].ok = Some(ok);
            self.chargers[index].report = report;
        }
        for (index, said) in self.chargers.iter_mut().enumerate() {
            let Some(ok) = said.ok else { continue };
            said.observe(now, ok, self.setup.chargers[index].watchdog, |observation| {
                self.observations.push(Observation::Charger(index, observation));
            });
        }
        for (index, on) in self.relays.iter().enumerate().filter_map(|(index, on)| Some((index, (*on)?))) {
            if self.relay_fails[index] {
                self.observations.push(Observation::Relay(index, RelayObservation::Failed { at: now, write: true }));
                continue;
            }
            self.observations.push(Observation::Relay(index, RelayObservation::Written { on, at: now }));
            self.observations.push(Observation::Relay(index, RelayObservation::State { on, at: now }));
        }
        for (index, reading) in heard.frames {
            self.observations.push(Observation::Meter(index, reading));
        }
        let decision = self.controller.step(now, heard.wall, &self.observations);
        for (said, command) in self.chargers.iter_mut().zip(&decision.commands) {
            said.command = *command;
            said.written = command.offer.map(|offer| (offer, now));
        }
        for (on, order) in self.relays.iter_mut().zip(&decision.relay_orders) {
            *on = Some(order.on);
        }
        refusals
    }
}

/// What a line says, checked.
struct Heard {
    now: Mono,
    /// Unix time in seconds, where the wall clock is set.
    wall: Option<i64>,
    frames: Vec<(usize, MeterReading)>,
    chargers: Vec<(usize, bool, ChargerReport)>,
    inputs: Vec<(usize, Option<bool>)>,
    set: Vec<(String, String)>,
}

impl Said {
    /// The write after the last line and the poll of this one, as a device task would tell them.
    fn observe(&mut self, now: Mono, ok: bool, watchdog: Option<Span>, mut tell: impl FnMut(ChargerObservation)) {
        let written = self.written.take();
        if !ok {
            tell(ChargerObservation::Failed {
                at: now,
                unconfirmed: written.map(|(offer, _)| offer),
                round: Span::from_secs(1),
                period: Span::from_secs(1),
            });
            return;
        }
        if let Some((offer, sent_at)) = written {
            tell(ChargerObservation::Written { offer, sent_at, at: sent_at });
        }
        self.report.read_begun = now;
        self.report.received_at = now;
        self.report.watchdog = watchdog.map(|timeout| Watchdog { timeout, fail_safe: self.command.fail_safe });
        tell(ChargerObservation::Report(self.report));
    }
}

impl Frames {
    fn read(&self, now: Mono, index: usize, name: &str, into: &mut Vec<(usize, MeterReading)>) -> Result<(), String> {
        let frames = match self {
            Self::One(frame) => std::slice::from_ref(frame),
            Self::Many(frames) => frames.as_slice(),
        };
        for frame in frames {
            into.push((index, frame.read(now, name)?));
        }
        Ok(())
    }
}

impl FrameLine {
    fn read(&self, now: Mono, name: &str) -> Result<MeterReading, String> {
        let current = phases(self.current_a.as_deref(), name, "current_a")?.map(|it| it.map(Milliamp::from_f64));
        let (power, total) = match &self.power_w {
            None => (Phases([None; 3]), None),
            Some(Power::Total(total)) => (Phases([None; 3]), Some(Watt::from_f64(figure(*total, name, "power_w")?))),
            Some(Power::Phases(list)) => {
                let power = phases(Some(list), name, "power_w")?.map(|it| it.map(Watt::from_f64));
                // A short list is a meter of fewer phases; `null` is a phase that it does not show at present.
                let whole = !list.is_empty() && list.iter().all(Option::is_some);
                (power, whole.then(|| power.iter().filter_map(|(_, it)| *it).sum()))
            }
        };
        let voltage = phases(self.voltage_v.as_deref(), name, "voltage_v")?.map(|it| it.map(Millivolt::from_f64));
        let energy = |value: Option<f64>, key: &str| {
            value.map(|it| figure(it, name, key).map(|it| WattHour::from_f64(it * 1000.0))).transpose()
        };
        let sampled_at = self.at.map(|at| time(at, "at")).transpose()?;
        Ok(MeterReading {
            received_at: now,
            sampled_at,
            // The seam's time begins at a quarter of an hour, as a meter's own does.
            stamp: sampled_at.map(|at| at.0.div_euclid(1_000)),
            current,
            current_signed: current.iter().any(|(_, it)| it.is_some_and(|it| it < Milliamp::ZERO)),
            current_step: Milliamp(1),
            power,
            power_total: total,
            voltage,
            energy_import: energy(self.energy_import_kwh, "energy_import_kwh")?,
            energy_export: energy(self.energy_export_kwh, "energy_export_kwh")?,
            demand: None,
            shows_more: false,
        })
    }
}

impl ChargerLine {
    /// What it says on top of what it said before.
    fn read(&self, id: &str, mut report: ChargerReport) -> Result<ChargerReport, String> {
        if let Some(state) = &self.state {
            report.state = match state.as_str() {
                "A" => PilotState::A,
                "B" => PilotState::B,
                "C" => PilotState::C,
                "D" => PilotState::D,
                "E" => PilotState::E,
                "F" => PilotState::F,
                _ => return Err(format!("charger `{id}`: state `{state}` is none of A, B, C, D, E, F")),
            };
        }
        if let Some(list) = &self.current_a {
            report.current = phases(Some(list), id, "current_a")?.map(|it| it.map(Milliamp::from_f64));
        }
        if let Some(offered) = self.offered_a {
            report.offered = Some(Milliamp::from_f64(figure(offered, id, "offered_a")?));
        }
        if let Some(phases) = self.phases {
            if !(1..=3).contains(&phases) {
                return Err(format!("charger `{id}`: `phases` is {phases}, allowed: 1, 2, 3"));
            }
            report.phases_connected = Some(phases);
        }
        if let Some(energy) = self.energy_kwh {
            report.energy = Some(WattHour::from_f64(figure(energy, id, "energy_kwh")? * 1000.0));
        }
        Ok(report)
    }
}

fn time(seconds: f64, key: &str) -> Result<Mono, String> {
    if seconds.is_finite() && seconds.abs() <= LATEST {
        Ok(Mono::from_secs_f64(seconds))
    } else {
        Err(format!("`{key}` is {seconds}, allowed: seconds up to {LATEST}"))
    }
}

fn figure(value: f64, name: &str, key: &str) -> Result<f64, String> {
    if value.is_finite() && value.abs() <= LARGEST {
        Ok(value)
    } else {
        Err(format!("`{name}`: `{key}` is {value}, allowed: up to {LARGEST}"))
    }
}

/// One to three values, L1 first; a phase that is not there is null.
fn phases(list: Option<&[Option<f64>]>, name: &str, key: &str) -> Result<Phases<Option<f64>>, String> {
    let list = list.unwrap_or_default();
    if list.len() > 3 {
        return Err(format!("`{name}`: `{key}` has {} values, allowed: up to 3", list.len()));
    }
    let mut phases = Phases([None; 3]);
    for (place, value) in phases.0.iter_mut().zip(list) {
        *place = value.map(|it| figure(it, name, key)).transpose()?;
    }
    Ok(phases)
}

fn answer(t: f64, setup: &Setup, decision: &Decision, refusals: &[Event]) -> String {
    let mut chargers = BTreeMap::new();
    for ((charger, status), command) in setup.chargers.iter().zip(&decision.chargers).zip(&decision.commands) {
        // Left out where the charger is to be left as it is.
        let phases = command.phases.filter(|_| charger.can_switch_phases);
        chargers.insert(
            charger.id.as_str(),
            ChargerAnswer {
                offer_a: status.offered.as_f64(),
                phases,
                limit_reason: status.reason.word.word(),
                reason: status.reason.to_string(),
                fail_safe_a: command.fail_safe.as_f64(),
            },
        );
    }
    let events = refusals.iter().chain(&decision.events).map(|event| EventAnswer {
        event_type: event.event_type.word(),
        subject: &event.subject,
        detail: &event.detail,
    });
    let relays = setup.relays.iter().zip(&decision.relay_orders);
    let relays = relays.map(|(relay, order)| (relay.id.as_str(), if order.on { "on" } else { "off" }));
    let answer = Answer {
        t,
        chargers,
        relays: relays.collect(),
        events: events.collect(),
        wake_at: decision.wake_at.as_secs_f64(),
    };
    serde_json::to_string(&answer).unwrap_or_else(|failed| error(&failed.to_string()))
}

#[cfg(test)]
mod tests;

//! Collects what the views show beside the controller's own status, and draws the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::counter_store::{AllKept, Kept};
use super::counters::{ChargerCounter, Counters};
use super::peak::{self, Peak};
use super::services::Faces;
use crate::config::Config;
use crate::config::model::{Common, MeterRole, RelayDriver};
use crate::control::{Decision, Problem, Quality};
use crate::device::meter::Names;
use crate::device::{DeviceRef, relay};
use crate::event::{Event, EventType};
use crate::quantity::{Milliamp, Mono};
use crate::reading::{ChargerObservation, MeterReading};
use crate::status::{ChargerView, Health, Identity, InputView, MeterValues, MeterView, RelayView, Snapshot, Value};

/// Of the telegram, else of the counter.
const PEAK: &str = "peak_month_kw";

/// Everything that a snapshot needs and the controller does not know.
pub(super) struct Picture {
    faces: Faces,
    /// Of the site: months begin at its midnight.
    zone: TimeZone,
    /// No quarter of an hour has a higher mean import, in kW.
    most_kw: f64,
    meters: Vec<MeterPart>,
    chargers: Vec<ChargerPart>,
    inputs: Vec<SignalPart>,
    relays: Vec<SignalPart>,
    standing_risks: Vec<String>,
    device_risks: BTreeMap<DeviceRef, String>,
    risks: Arc<Vec<String>>,
}

struct MeterPart {
    id: Arc<str>,
    role: MeterRole,
    values: Arc<MeterValues>,
    sub_meters: Arc<Vec<(Arc<str>, Arc<MeterValues>)>>,
    sub_ids: Vec<Arc<str>>,
    health: Health,
    counters: Counters,
    /// Of the meters behind it.
    names: Names,
    /// Of the meter at the grid.
    peak: Option<Peak>,
}

struct ChargerPart {
    id: Arc<str>,
    identity: Arc<Identity>,
    health: Health,
    counter: ChargerCounter,
}

/// An input or a relay.
struct SignalPart {
    id: Arc<str>,
    health: Health,
}

impl SignalPart {
    fn new(common: &Common) -> Self {
        Self { id: common.id.as_str().into(), health: Health::default() }
    }
}

impl Picture {
    /// The picture before anything was heard; `kept` are the counters of the last run, `names` those behind each meter.
    pub(super) fn new(config: &Config, faces: Faces, kept: &AllKept, names: &[Names], now: Mono) -> Self {
        let standing_risks = standing_risks(config);
        Self {
            faces,
            // It was checked with the configuration.
            zone: TimeZone::get(&config.site.time_zone).unwrap_or(TimeZone::UTC),
            most_kw: peak::most_kw(config.grid.fuse, config.grid.phases),
            meters: config
                .meters
                .iter()
                .zip(names)
                .map(|(meter, names)| MeterPart {
                    id: meter.common.id.as_str().into(),
                    role: meter.role,
                    values: Arc::default(),
                    sub_meters: Arc::default(),
                    sub_ids: Vec::new(),
                    health: Health::default(),
                    counters: kept
                        .get(&meter.common.id)
                        .map_or_else(Counters::default, |it| Counters::restored(it, now)),
                    names: names.clone(),
                    peak: (meter.role == MeterRole::Grid)
                        .then(|| kept.get(&meter.common.id).map_or_else(Peak::default, |it| it.peak)),
                })
                .collect(),
            chargers: config
                .chargers
                .iter()
                .map(|charger| ChargerPart {
                    id: charger.common.id.as_str().into(),
                    identity: Arc::default(),
                    health: Health::default(),
                    counter: ChargerCounter::default(),
                })
                .collect(),
            inputs: config.inputs.iter().map(|it| SignalPart::new(&it.common)).collect(),
            relays: config.relays.iter().map(|it| SignalPart::new(&it.common)).collect(),
            risks: Arc::new(standing_risks.clone()),
            standing_risks,
            device_risks: BTreeMap::new(),
        }
    }

    /// `wall_ms`: now. What a frame carries beside what the controller is told, whose counters are put right first. Another serial
    /// number than before and a counter that fell for good are events. Everybody after this sees the counters of solar
    /// plants and batteries under their own names.
    pub(super) fn meter(
        &mut self,
        meter: usize,
        reading: &mut MeterReading,
        mut values: Arc<MeterValues>,
        mut sub_meters: Arc<Vec<(Arc<str>, Arc<MeterValues>)>>,
        wall_ms: i64,
    ) -> Vec<Event> {
        let Some(part) = self.meters.get_mut(meter) else { return Vec::new() };
        let another = part.counters.are_of_another(&values).map(str::to_owned);
        let mut events = part.counters.pass((&part.id, part.role), reading, &mut values, &mut sub_meters);
        // Counters are kept over restarts under the names of the wire, so that they stay known when a role is said later.
        if matches!(part.role, MeterRole::Solar | MeterRole::Battery) {
            Arc::make_mut(&mut values).name_counters(part.role);
        }
        if let (Some(peak), true) =
            (&mut part.peak, another.is_some() || events.iter().any(|it| *it.subject == *part.id))
        {
            peak.exchanged();
        }
        if let (Some(peak), false) = (&mut part.peak, values.values.contains_key(PEAK))
            && let Some(Value::Number { value, .. }) = values.values.get("energy_import_kwh")
            && let Some(value) = peak.take(wall_ms, *value, self.most_kw, &self.zone)
        {
            let value = Value::Number { value, unit: "kW", decimals: 3 };
            Arc::make_mut(&mut values).values.insert(PEAK.into(), value);
        }
        let same = part.sub_ids.len() == sub_meters.len()
            && part.sub_meters.iter().zip(sub_meters.iter()).all(|(old, new)| old.0 == new.0);
        if !same {
            part.sub_ids = sub_meters.iter().map(|(suffix, _)| format!("{}-{suffix}", part.id).into()).collect();
        }
        if let (Some(old), Some(new)) = (another, &values.identity.serial) {
            let detail = format!("the meter says that it is {new}; it was {old} before");
            events.push(Event::new(EventType::MeterReplaced, part.id.to_string(), detail));
        }
        // Who sends a frame is there; what else its task has to say comes behind it.
        part.health.online = true;
        part.values = values;
        part.sub_meters = sub_meters;
        events
    }

    /// The counters of all meters and the names behind them, for the next start.
    pub(super) fn counters(&self) -> AllKept {
        let kept =
            |it: &MeterPart| Kept { names: it.names.get(), peak: it.peak.unwrap_or_default(), ..it.counters.kept() };
        self.meters.iter().map(|it| (it.id.to_string(), kept(it))).collect()
    }

    /// A charger's counter is put right before anybody sees it.
    pub(super) fn charger(&mut self, charger: usize, what: &mut ChargerObservation) {
        if let (Some(part), ChargerObservation::Report(report)) = (self.chargers.get_mut(charger), what) {
            part.counter.pass(&part.id, report);
        }
    }

    pub(super) fn charger_identity(&mut self, charger: usize, identity: Arc<Identity>) {
        if let Some(part) = self.chargers.get_mut(charger) {
            part.identity = identity;
        }
    }

    pub(super) fn health(&mut self, device: DeviceRef, health: Health) {
        let place = match device {
            DeviceRef::Meter(index) => self.meters.get_mut(index).map(|part| &mut part.health),
            DeviceRef::Charger(index) => self.chargers.get_mut(index).map(|part| &mut part.health),
            DeviceRef::Input(index) => self.inputs.get_mut(index).map(|part| &mut part.health),
            DeviceRef::Relay(index) => self.relays.get_mut(index).map(|part| &mut part.health),
        };
        if let Some(place) = place {
            *place = health;
        }
    }

    /// Puts a device's standing risk up or takes it down; a new sentence is an event.
    pub(super) fn risk(&mut self, device: DeviceRef, risk: Option<String>) -> Option<Event> {
        let subject = match device {
            DeviceRef::Meter(index) => self.meters.get(index).map(|part| &part.id),
            DeviceRef::Charger(index) => self.chargers.get(index).map(|part| &part.id),
            DeviceRef::Input(index) => self.inputs.get(index).map(|part| &part.id),
            DeviceRef::Relay(index) => self.relays.get(index).map(|part| &part.id),
        }?
        .to_string();
        let old = match &risk {
            Some(text) => self.device_risks.insert(device, text.clone()),
            None => self.device_risks.remove(&device),
        };
        if old == risk {
            return None;
        }
        self.risks = Arc::new(self.standing_risks.iter().chain(self.device_risks.values()).cloned().collect());
        risk.map(|detail| Event::new(EventType::Risk, subject, detail))
    }

    /// `None` before the controller's first decision.
    pub(super) fn draw(&self, now: Mono, wall_ms: i64, clock_set: bool, decision: &Decision) -> Option<Snapshot> {
        let mut site = decision.site?;
        if site.problem == Problem::None {
            site.problem = self.problem(clock_set, decision);
        }
        Some(Snapshot {
            at: now,
            wall_ms,
            site,
            risks: Arc::clone(&self.risks),
            meters: self
                .meters
                .iter()
                .enumerate()
                .map(|(index, part)| MeterView {
                    id: Arc::clone(&part.id),
                    status: decision.meters.get(index).copied(),
                    values: Arc::clone(&part.values),
                    health: part.health.clone(),
                })
                .collect(),
            sub_meters: self
                .meters
                .iter()
                .flat_map(|part| {
                    part.sub_ids.iter().zip(part.sub_meters.iter()).map(|(id, (_, values))| MeterView {
                        id: Arc::clone(id),
                        status: None,
                        values: Arc::clone(values),
                        health: part.health.clone(),
                    })
                })
                .collect(),
            chargers: self
                .chargers
                .iter()
                .zip(&decision.chargers)
                .map(|(part, status)| ChargerView {
                    id: Arc::clone(&part.id),
                    status: *status,
                    identity: Arc::clone(&part.identity),
                    health: part.health.clone(),
                })
                .collect(),
            inputs: self
                .inputs
                .iter()
                .zip(&decision.inputs)
                .map(|(part, status)| InputView {
                    id: Arc::clone(&part.id),
                    status: *status,
                    health: part.health.clone(),
                })
                .collect(),
            relays: self
                .relays
                .iter()
                .zip(&decision.relays)
                .map(|(part, status)| RelayView {
                    id: Arc::clone(&part.id),
                    status: *status,
                    health: part.health.clone(),
                })
                .collect(),
        })
    }

    fn problem(&self, clock_set: bool, decision: &Decision) -> Problem {
        if decision.meters.iter().any(|meter| meter.quality == Quality::Lost)
            || self.meters.iter().any(|part| !part.health.online)
        {
            Problem::MeterError
        } else if self.chargers.iter().any(|part| !part.health.online || part.health.unled) {
            Problem::ChargerError
        } else if self.faces.mqtt.borrow().problem.is_some() {
            Problem::NetworkError
        } else if !clock_set {
            Problem::ClockError
        } else if *self.faces.web_failed.borrow() > 0 {
            Problem::WebError
        } else {
            Problem::None
        }
    }
}

/// What would not end in a safe current from the first day, whatever the devices answer.
fn standing_risks(config: &Config) -> Vec<String> {
    let mut risks: Vec<String> = config
        .chargers
        .iter()
        .filter(|charger| charger.watchdog.is_none())
        .map(|charger| {
            format!(
                "charger `{}` has no fail-safe timer of its own: if Gridkeeper or its wire dies, it keeps the last current",
                charger.common.id
            )
        })
        .collect();
    let untimed = config.relays.iter().filter(|relay| relay::timer(&relay.driver).is_none());
    risks.extend(untimed.filter(|relay| !matches!(relay.driver, RelayDriver::Simulated)).map(|relay| {
        let state = if relay.setup.safe_state { "on" } else { "off" };
        format!(
            "relay `{}` has no timer of its own: if Gridkeeper or its wire dies, nobody switches it {state}",
            relay.common.id
        )
    }));
    let kept = |what: &str, current: Milliamp| {
        format!(
            "while {what} is lost, the chargers behind it together keep {current} per phase (meter_lost_current_a): this is the owner's word, no measurement stands behind it"
        )
    };
    if config.grid.meter.is_some() && config.grid.meter_lost_current > Milliamp::ZERO {
        risks.push(kept("the grid meter", config.grid.meter_lost_current));
    }
    let metered = config.circuits.iter().filter(|circuit| circuit.meter.is_some());
    risks.extend(
        metered
            .filter(|it| it.meter_lost_current > Milliamp::ZERO)
            .map(|circuit| kept(&format!("the meter of circuit `{}`", circuit.id), circuit.meter_lost_current)),
    );
    risks
}

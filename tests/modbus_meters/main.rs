//! Every embedded model of a Modbus meter, from the wire to what is published: a device that serves its registers over
//! a pseudo-terminal, Modbus TCP and RTU over TCP, and the meter's own task in front of it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod appliance;
mod cases;
mod faults;
mod house;
#[allow(dead_code, reason = "the broker's own tests use the rest")]
#[path = "../mqtt/peer.rs"]
mod mqtt_peer;
#[allow(dead_code, reason = "the bus's own tests use the rest")]
#[path = "../modbus_bus/peer.rs"]
mod peer;
mod pymodbus;
mod scan;
mod sunspec;
mod tool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use gridkeeper::clock::Clock;
use gridkeeper::codec::model::Model;
use gridkeeper::config::meter_models;
use gridkeeper::config::model::{Connection, MeterRole};
use gridkeeper::device::meter::modbus::{Port, Who, run};
use gridkeeper::device::meter::p1::Mapping;
use gridkeeper::device::{ControlLink, ToControl};
use gridkeeper::link::modbus::{Bus, BusConfig};
use gridkeeper::reading::MeterReading;
use gridkeeper::status::{MeterValues, Value};
use tokio_util::sync::{CancellationToken, DropGuard};

use cases::{CASES, Case};
use peer::{ALL, Ask, Medium, Peer, Reaction, registers};

const UNIT: u8 = 7;
/// How long anything may take before it counts as missing; far longer than it does take.
const PATIENCE: Duration = Duration::from_secs(60);
const ILLEGAL_ADDRESS: u8 = 2;

/// Registers by function and address.
type Map = BTreeMap<(u8, u16), u16>;

fn map(case: &Case) -> Map {
    let words = case.registers.iter().flat_map(|(function, first, words)| {
        words.iter().zip(*first..).map(|(word, address)| ((*function, address), *word))
    });
    words.collect()
}

/// As a meter does: a read that touches no register of its own is refused, gaps between them hold 0.
fn serve(map: &Map, ask: &Ask) -> Reaction {
    if ask.unit != UNIT {
        return Reaction::Silence;
    }
    let (function, first, count) = (ask.function(), ask.address(), ask.second());
    let addresses = || (first..).take(usize::from(count));
    let known = addresses().any(|address| map.contains_key(&(function, address)));
    if !known || count > 125 {
        return Reaction::Answer(vec![function | 0x80, ILLEGAL_ADDRESS]);
    }
    Reaction::Answer(registers(function, addresses().map(|it| map.get(&(function, it)).copied().unwrap_or(0))))
}

/// A meter's task and what it tells; it ends with this value.
struct Running {
    inbox: Receiver<ToControl>,
    _end: DropGuard,
}

fn start(model: Model, connection: &Connection) -> Running {
    start_with(model, connection, Mapping::default(), MeterRole::Other)
}

fn start_with(model: Model, connection: &Connection, mapping: Mapping, role: MeterRole) -> Running {
    let cancel = CancellationToken::new();
    let bus = Bus::spawn(BusConfig::new(connection.clone()), cancel.clone());
    let (sender, inbox) = sync_channel(10_000);
    let port = Port { bus, unit: UNIT, model: Arc::new(model) };
    let (control, clock, token) = (ControlLink::new(sender), Clock::start(), cancel.clone());
    tokio::spawn(async move { run(Who { index: 0, id: "meter", role }, port, mapping, control, clock, token).await });
    Running { inbox, _end: cancel.drop_guard() }
}

impl Running {
    /// Waits for a message that answers the question.
    async fn wait<T>(&self, what: &str, mut find: impl FnMut(&ToControl) -> Option<T>) -> T {
        let begun = tokio::time::Instant::now();
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                if let Some(found) = find(&message) {
                    return found;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{what} did not come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for a reading of which this holds.
    async fn reading(
        &self,
        what: &str,
        holds: impl Fn(&MeterReading, &MeterValues) -> bool,
    ) -> (MeterReading, Arc<MeterValues>) {
        let reading = |message: &ToControl| match message {
            ToControl::Meter { reading, values, .. } if holds(reading, values) => Some((*reading, Arc::clone(values))),
            _ => None,
        };
        self.wait(what, reading).await
    }
}

fn number(values: &MeterValues, key: &str) -> Option<f64> {
    match values.values.get(key) {
        Some(Value::Number { value, .. }) => Some(*value),
        _ => None,
    }
}

fn model(id: &str) -> Model {
    meter_models::embedded().into_iter().find(|it| it.id == id).unwrap_or_else(|| panic!("no model {id}"))
}

#[test]
fn every_embedded_model_has_expectations_of_its_own() {
    let written: BTreeSet<&str> = CASES.iter().map(|case| case.model).collect();
    let embedded: BTreeSet<&str> = meter_models::names().collect();
    assert_eq!(written, embedded);
    for case in CASES {
        let has = |start: &str| case.expected.iter().any(|(key, _)| key.starts_with(start));
        let model = model(case.model);
        let measures =
            |quantity| [None, Some(gridkeeper::quantity::Phase::L1)].iter().any(|it| model.measures(quantity, *it));
        use gridkeeper::codec::model::Quantity;
        assert!(has("power"), "{}", case.model);
        assert!(has("voltage") || !measures(Quantity::Voltage), "{}", case.model);
        assert!(has("current") || !measures(Quantity::Current), "{}", case.model);
        assert!(has("energy") || !measures(Quantity::EnergyImport), "{}", case.model);
    }
}

/// Each phase has a value of its own: an address of one phase that reads another's shows.
#[test]
fn every_phase_of_every_three_phase_model_has_expectations_of_its_own() {
    use gridkeeper::codec::model::Quantity;
    use gridkeeper::quantity::Phase;
    for (case, model) in CASES.iter().map(|case| (case, model(case.model))).filter(|it| it.1.phases == 3) {
        for (what, unit, quantities) in [
            ("voltage", "v", &[Quantity::Voltage][..]),
            ("current", "a", &[Quantity::Current]),
            ("power", "w", &[Quantity::Power, Quantity::PowerImport]),
        ] {
            let mut values = Vec::new();
            for (number, phase) in (1..).zip([Phase::L1, Phase::L2, Phase::L3]) {
                if !quantities.iter().any(|it| model.measures(*it, Some(phase))) {
                    continue;
                }
                let key = format!("{what}_l{number}_{unit}");
                let expected = case.expected.iter().find(|it| it.0 == key);
                let (_, value) = expected.unwrap_or_else(|| panic!("{}: nothing is expected of {key}", case.model));
                assert!(
                    !values.contains(value) && *value != 0.0,
                    "{}: {key} is that of another phase, or 0",
                    case.model
                );
                values.push(*value);
            }
            assert!(matches!(values.len(), 0 | 3), "{}: {what}", case.model);
        }
    }
}

#[tokio::test]
async fn every_embedded_model_is_read_over_every_wire() {
    let all_at_once = async {
        let mut tasks = tokio::task::JoinSet::new();
        for case in CASES {
            for medium in ALL {
                tasks.spawn_local(read_one(case, medium));
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    };
    tokio::task::LocalSet::new().run_until(all_at_once).await;
}

async fn read_one(case: &'static Case, medium: Medium) {
    let mut map = map(case);
    // A sample is told once, and the first figure of a counter with the next one: a converter's own time goes on.
    let tells_time = case.model.starts_with("smartstuff");
    let peer = Peer::start(medium, move |ask| {
        if tells_time {
            *map.entry((3, 1)).or_default() += 1;
        }
        serve(&map, ask)
    })
    .await;
    let running = start(model(case.model), &peer.connection);
    let what = format!("{} over {medium:?}", case.model);
    expect(&running, case, &what).await;
    let most = model(case.model).transport.max_registers;
    let asked = peer.log();
    assert!(asked.iter().all(|ask| matches!(ask.function(), 3 | 4)), "{what}: a meter is only read");
    assert!(asked.iter().all(|ask| ask.second() <= most), "{what}: more registers than it takes");
}

/// Waits for a whole reading and compares it with what was written down.
async fn expect(running: &Running, case: &Case, what: &str) {
    let whole =
        |_: &MeterReading, values: &MeterValues| case.expected.iter().all(|(key, _)| values.values.contains_key(*key));
    let (reading, values) = running.reading(what, whole).await;
    for (key, expected) in case.expected {
        let found = number(&values, key).unwrap();
        let tolerance = 0.0051_f64.max(expected.abs() * 1e-6);
        assert!((found - expected).abs() < tolerance, "{what}: {key} is {found}, expected {expected}");
    }
    // What control gets is the same, in its own units.
    let expected = |key: &str| case.expected.iter().find(|it| it.0 == key).map(|it| it.1);
    let near = |found: f64, key: &str, factor: f64| {
        if let Some(expected) = expected(key) {
            assert!(
                (found - expected * factor).abs() <= 1.0 + (expected * factor).abs() * 1e-6,
                "{what}: {key}: {found}"
            );
        }
    };
    near(f64::from(reading.power_total.unwrap().0), "power_w", 1.0);
    use gridkeeper::quantity::Phase;
    for (phase, [volts, watts, amps]) in [
        (Phase::L1, ["voltage_l1_v", "power_l1_w", "current_l1_a"]),
        (Phase::L2, ["voltage_l2_v", "power_l2_w", "current_l2_a"]),
        (Phase::L3, ["voltage_l3_v", "power_l3_w", "current_l3_a"]),
    ] {
        near(reading.voltage[phase].map_or(f64::NAN, |it| f64::from(it.0)), volts, 1000.0);
        near(reading.power[phase].map_or(f64::NAN, |it| f64::from(it.0)), watts, 1.0);
        let size = reading.current[phase].map_or(f64::NAN, |it| f64::from(it.abs().0));
        near(size.copysign(expected(amps).unwrap_or(1.0)), amps, 1000.0);
        if let (true, Some(current)) = (reading.current_signed, reading.current[phase]) {
            near(f64::from(current.0), amps, 1000.0);
        }
    }
    if let Some(import) = reading.energy_import {
        near(import.0 as f64, "energy_import_kwh", 1000.0);
    }
}

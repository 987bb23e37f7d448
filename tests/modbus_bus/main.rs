//! The Modbus bus against real sockets and pseudo-terminals: what a device must not do, it does here.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod faults;
mod late;
mod peer;
mod queue;
mod servers;

use std::time::Duration;

use gridkeeper::config::model::Connection;
use gridkeeper::link::modbus::{Bus, BusConfig, BusError, Operation, Priority, Reply};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Long enough that a loaded machine answers, where an answer comes.
const AMPLE: Duration = Duration::from_secs(20);
/// Where no answer comes.
const SHORT: Duration = Duration::from_millis(60);

/// Whether a bus is of use once its device answers as it should; what came before may cost the first requests.
async fn comes_round(bus: &Bus) -> bool {
    for _ in 0..5 {
        if let Ok(values) = read(bus, 1, 70, 3, AMPLE).await {
            return values == [70, 71, 72];
        }
    }
    false
}

/// A bus that ends with the test.
struct Running {
    bus: Bus,
    _end: DropGuard,
}

impl std::ops::Deref for Running {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

fn config(connection: &Connection) -> BusConfig {
    BusConfig {
        gap: Duration::from_millis(1),
        patience: AMPLE,
        shortest_turn: AMPLE,
        longest_turn: AMPLE,
        backoff_max: Duration::from_millis(200),
        hurry: Duration::from_millis(50),
        ..BusConfig::new(connection.clone())
    }
}

fn bus(connection: &Connection) -> Running {
    run(config(connection))
}

fn run(config: BusConfig) -> Running {
    let cancel = CancellationToken::new();
    Running { bus: Bus::spawn(config, cancel.clone()), _end: cancel.drop_guard() }
}

fn holding(address: u16, count: u16) -> Operation {
    Operation::ReadHolding { address, count }
}

fn write(address: u16, value: u16) -> Operation {
    Operation::WriteSingle { address, value }
}

async fn read(bus: &Bus, unit: u8, address: u16, count: u16, limit: Duration) -> Result<Vec<u16>, BusError> {
    match bus.call(unit, holding(address, count), limit, Priority::Poll).await? {
        Reply::Registers(values) => Ok(values),
        other => panic!("a read was answered with {other:?}"),
    }
}

async fn set(bus: &Bus, unit: u8, address: u16, value: u16, limit: Duration) -> Result<(), BusError> {
    match bus.call(unit, write(address, value), limit, Priority::SetPoint).await? {
        Reply::Written => Ok(()),
        other => panic!("a write was answered with {other:?}"),
    }
}

//! Tasks that read meters.

pub mod p1;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::model::{Meter, MeterDriver};
use crate::device::ControlLink;

/// Reads one meter until `cancel`. A simulated one is fed over the simulation seam and has no task: it returns at once.
pub async fn run(index: usize, meter: Meter, control: ControlLink, clock: Clock, cancel: CancellationToken) {
    match meter.driver {
        MeterDriver::P1 { ref connection, key, auth_key } => {
            let port = p1::Port {
                connection: connection.clone(),
                keys: key.map(|key| crate::codec::p1::Keys { key, auth_key }),
            };
            let mapping = p1::Mapping { phases: meter.phases, invert: meter.invert };
            p1::run(index, meter.common, port, mapping, control, clock, cancel).await;
        }
        MeterDriver::Simulated { .. } => {}
    }
}

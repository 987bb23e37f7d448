//! Tasks that read meters.

mod collect;
mod homewizard;
pub mod iec62056;
pub mod modbus;
mod mqtt;
mod names;
pub mod p1;
mod polled;
mod push;
#[cfg(test)]
mod push_rig;
mod registers;
#[cfg(test)]
mod rig;
mod sample;
mod shelly;
pub mod sml;
mod trouble;
mod values;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::model::{Meter, MeterDriver, MeterRole};
use crate::device::shelly::Shelly;
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::http::Limits;
use crate::link::modbus::{BusConfig, Buses};
use crate::mqtt::Feeds;
use crate::quantity::Span;
use crate::status::Health;

pub(crate) use homewizard::version_2;
pub use names::{Name, Names};
use polled::{Destination, Patience};

/// Pause between two readouts of a meter that is asked and that the controller waits for.
const PROMPT: Span = Span::from_secs(1);
/// The same for any other: it may run on a battery.
const RARE: Span = Span::from_secs(900);

/// Pause between two readouts of a meter with this role; `configured` goes before what is usual.
#[must_use]
pub fn readout_pause(role: MeterRole, configured: Option<Span>) -> Span {
    configured.unwrap_or(if role == MeterRole::Other { RARE } else { PROMPT })
}

/// What all meters share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Modbus wires.
    pub buses: Arc<Buses>,
    /// Topics of other software.
    pub feeds: Feeds,
    /// For each meter in the order of the configuration, where others read along.
    pub taps: Arc<[Option<p1::Tap>]>,
    /// For each meter, what those behind it are called.
    pub names: Arc<[Names]>,
}

/// Reads one meter until `cancel`. A simulated one is fed over the simulation seam and has no task: it returns at once.
pub async fn run(
    index: usize,
    meter: Meter,
    shared: Shared,
    control: ControlLink,
    clock: Clock,
    cancel: CancellationToken,
) {
    let mapping = p1::Mapping { phases: meter.phases, invert: meter.invert };
    let names = shared.names.get(index).cloned().unwrap_or_default();
    match meter.driver {
        MeterDriver::P1 { ref connection, key, auth_key } => {
            let port = p1::Port {
                connection: connection.clone(),
                keys: key.map(|key| crate::codec::p1::Keys { key, auth_key }),
                tap: shared.taps.get(index).cloned().flatten(),
                names,
            };
            p1::run(index, meter.common, port, mapping, control, clock, cancel).await;
        }
        MeterDriver::Shelly { ref address, ref login, channel } => {
            match Shelly::new(address, login.clone(), Limits::default()) {
                Ok(link) => {
                    let to = destination(index, &meter, control, clock);
                    polled::run(shelly::ShellyMeter::new(link, channel), to, Patience::default(), cancel).await;
                }
                Err(error) => impossible(index, &meter, &control, &error.to_string()),
            }
        }
        MeterDriver::HomeWizard { ref address, ref pairing } => {
            match homewizard::HomeWizardMeter::new(address, pairing.clone(), names, clock, Limits::default()) {
                Ok(source) => {
                    let to = destination(index, &meter, control, clock);
                    polled::run(source, to, Patience::default(), cancel).await;
                }
                Err(error) => impossible(index, &meter, &control, &error.to_string()),
            }
        }
        MeterDriver::Modbus { ref connection, unit, ref model } => {
            let bus = shared.buses.get(BusConfig::new(connection.clone()));
            let port = modbus::Port { bus, unit, model: Arc::clone(model) };
            let who = modbus::Who { index, id: &meter.common.id, role: meter.role };
            modbus::run(who, port, mapping, control, clock, cancel).await;
        }
        MeterDriver::Iec62056 { ref connection, period } => {
            let period = readout_pause(meter.role, period).to_std();
            iec62056::run(index, meter.common, connection.clone(), period, mapping, control, clock, cancel).await;
        }
        MeterDriver::Sml { ref connection } => {
            sml::run(index, meter.common, connection.clone(), mapping, control, clock, cancel).await;
        }
        MeterDriver::Mqtt(ref driver) => {
            let driver = driver.clone();
            mqtt::run(driver, destination(index, &meter, control, clock), &shared.feeds, cancel).await;
        }
        MeterDriver::Simulated { .. } => {}
    }
}

fn destination(index: usize, meter: &Meter, control: ControlLink, clock: Clock) -> Destination {
    let mapping = p1::Mapping { phases: meter.phases, invert: meter.invert };
    Destination { index, common: meter.common.clone(), mapping, control, clock }
}

/// The TLS library refuses its own settings: nothing that waiting would change.
fn impossible(index: usize, meter: &Meter, control: &ControlLink, problem: &str) {
    let sentence = format!("meter `{}` cannot be read: {problem}", meter.common.id);
    tracing::error!("{sentence}");
    let health = Health { last_error: Some(sentence.into()), ..Health::default() };
    control.tell(ToControl::Health(DeviceRef::Meter(index), health));
}

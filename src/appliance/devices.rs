//! The devices' thread: a runtime of its own with one supervised task per meter and charger.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::supervise::supervise;
use crate::clock::Clock;
use crate::command::{ChargerAction, ChargerCommand, LastOffer, Leased};
use crate::config::Config;
use crate::config::model::{ChargerDriver, MeterDriver};
use crate::control::Timing;
use crate::device::{ChargerChannels, ControlLink};
use crate::link::modbus::{BusConfig, Buses};

/// One charger's ends of the channels; they outlive a task that has to be started again.
pub(super) struct ChargerEnds {
    pub(super) orders: watch::Receiver<Leased<ChargerCommand>>,
    pub(super) last_offer: watch::Receiver<Option<LastOffer>>,
    pub(super) actions: broadcast::Sender<ChargerAction>,
}

/// All that the thread needs.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) timing: Timing,
    pub(super) clock: Clock,
    pub(super) control: ControlLink,
    pub(super) chargers: Vec<ChargerEnds>,
    pub(super) cancel: CancellationToken,
}

/// Starts the thread. It ends by itself when every charger has its last offer, and at once when cancelled.
pub(super) fn start(parts: Parts) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("devices").build()?;
    std::thread::Builder::new().name("devices".into()).spawn(move || {
        runtime.block_on(run(parts));
        // A serial port that hangs in the kernel must not hold the process.
        runtime.shutdown_timeout(Duration::from_millis(200));
    })
}

async fn run(parts: Parts) {
    let Parts { config, timing, clock, control, chargers, cancel } = parts;
    let meters = TaskTracker::new();
    for (index, meter) in config.meters.iter().enumerate() {
        if let MeterDriver::Simulated { .. } = meter.driver {
            continue;
        }
        let (meter, control_end, cancel_end) = (meter.clone(), control.clone(), cancel.clone());
        let id = meter.common.id.clone();
        let task = move || {
            let (meter, control, cancel) = (meter.clone(), control_end.clone(), cancel_end.clone());
            crate::device::meter::run(index, meter, control, clock, cancel)
        };
        meters.spawn(supervise(id, control.clone(), cancel.clone(), task));
    }
    let buses = Buses::new(cancel.clone());
    let tasks = TaskTracker::new();
    for (index, (charger, ends)) in config.chargers.iter().zip(chargers).enumerate() {
        let connection = match &charger.driver {
            ChargerDriver::TeltoCharge { connection, .. } | ChargerDriver::EvseDin { connection, .. } => connection,
            ChargerDriver::Simulated => continue,
        };
        let bus = buses.get(BusConfig::new(connection.clone()));
        let (charger, control_end, cancel_end) = (charger.clone(), control.clone(), cancel.clone());
        let id = charger.common.id.clone();
        let task = move || {
            let (action, actions) = mpsc::channel(8);
            let mut wishes = ends.actions.subscribe();
            let channels = ChargerChannels {
                index,
                control: control_end.clone(),
                orders: ends.orders.clone(),
                actions,
                last_offer: ends.last_offer.clone(),
            };
            let (charger, cancel, bus) = (charger.clone(), cancel_end.clone(), bus.clone());
            async move {
                let work = crate::device::charger::run(&charger, channels, bus, timing, clock, cancel);
                let forward = async {
                    loop {
                        match wishes.recv().await {
                            // A full queue means that the charger does not answer; a late action helps nobody.
                            Ok(wish) => drop(action.try_send(wish)),
                            Err(broadcast::error::RecvError::Lagged(_)) => {}
                            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                        }
                    }
                };
                tokio::select! {
                    () = work => {}
                    () = forward => {}
                }
            }
        };
        tasks.spawn(supervise(id, control.clone(), cancel.clone(), task));
    }
    tasks.close();
    let has_chargers = !tasks.is_empty();
    tokio::select! {
        () = tasks.wait(), if has_chargers => {}
        () = cancel.cancelled() => {}
    }
    cancel.cancel();
    meters.close();
    meters.wait().await;
}

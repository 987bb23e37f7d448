//! The devices' thread: a runtime of its own with one supervised task per meter, charger, input and relay.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::signals::{InputEnd, RelayEnd};
use super::supervise::supervise;
use crate::clock::{Clock, Heartbeat};
use crate::command::{ChargerAction, ChargerCommand, LastOffer, Leased};
use crate::config::Config;
use crate::config::model::{ChargerDriver, InputDriver, MeterDriver, RelayDriver};
use crate::control::Timing;
use crate::device::input::InputEnds;
use crate::device::meter::p1::Tap;
use crate::device::meter::{Names, Shared};
use crate::device::relay::RelayEnds;
use crate::device::{ChargerChannels, ControlLink};
use crate::link::gpio;
use crate::link::modbus::{BusConfig, Buses};
use crate::mqtt::{Feeds, MqttStatus};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

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
    pub(super) inputs: Vec<InputEnd>,
    pub(super) relays: Vec<RelayEnd>,
    /// Ends every relay's task in its safe state.
    pub(super) leave: CancellationToken,
    /// How the link to the broker does.
    pub(super) mqtt: watch::Receiver<MqttStatus>,
    pub(super) cancel: CancellationToken,
    pub(super) feeds: Feeds,
    /// By meter, where others read along.
    pub(super) taps: Arc<[Option<Tap>]>,
    /// By meter, what those behind it are called.
    pub(super) names: Arc<[Names]>,
    /// Beats while the thread works.
    pub(super) heartbeat: Heartbeat,
}

/// For tests of the heartbeat.
#[cfg(debug_assertions)]
static HANG: super::hang::Hang = super::hang::Hang::new("GRIDKEEPER_TEST_HANG_DEVICES");

/// Starts the thread. It ends by itself when every charger has its last offer, and at once when cancelled.
pub(super) fn start(parts: Parts) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_name("devices").build()?;
    let (heartbeat, clock) = (parts.heartbeat.clone(), parts.clock);
    std::thread::Builder::new().name("devices".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = run(parts) => {}
                () = beat(&heartbeat, clock) => {}
            }
        });
        // A serial port that hangs in the kernel must not hold the process.
        runtime.shutdown_timeout(Duration::from_millis(200));
    })
}

/// Without end, while the runtime comes round: every lease and every bus depends on that.
async fn beat(heartbeat: &Heartbeat, clock: Clock) {
    loop {
        heartbeat.beat(clock.now());
        tokio::time::sleep(BEAT).await;
        #[cfg(debug_assertions)]
        HANG.if_asked();
    }
}

async fn run(parts: Parts) {
    let Parts {
        config, timing, clock, control, chargers, inputs, relays, leave, mqtt, cancel, feeds, taps, names, ..
    } = parts;
    let buses = Arc::new(Buses::new(cancel.clone()));
    let shared = Shared { buses: Arc::clone(&buses), feeds, taps, names };
    let meters = TaskTracker::new();
    for (index, meter) in config.meters.iter().enumerate() {
        if let MeterDriver::Simulated { .. } = meter.driver {
            continue;
        }
        let (meter, control_end, cancel_end) = (meter.clone(), control.clone(), cancel.clone());
        let (id, shared) = (meter.common.id.clone(), shared.clone());
        let task = move || {
            let (meter, control, cancel) = (meter.clone(), control_end.clone(), cancel_end.clone());
            crate::device::meter::run(index, meter, shared.clone(), control, clock, cancel)
        };
        meters.spawn(supervise(id, control.clone(), cancel.clone(), task));
    }
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
    let gpio = gpio::kernel();
    for (index, (input, end)) in config.inputs.iter().zip(inputs).enumerate() {
        let bus = match &input.driver {
            InputDriver::Modbus { connection, .. } => Some(buses.get(BusConfig::new(connection.clone()))),
            InputDriver::P1Tariff { .. } | InputDriver::Simulated => continue,
            InputDriver::Gpio { .. }
            | InputDriver::Shelly { .. }
            | InputDriver::Mqtt { .. }
            | InputDriver::Schedule(_) => None,
        };
        let (input, control_end, cancel_end) = (input.clone(), control.clone(), cancel.clone());
        let (gpio, mqtt) = (Arc::clone(&gpio), mqtt.clone());
        let id = input.common.id.clone();
        let task = move || {
            let ends = InputEnds {
                index,
                control: control_end.clone(),
                bus: bus.clone(),
                mqtt: end.feed(&mqtt),
                gpio: Arc::clone(&gpio),
            };
            let (input, cancel) = (input.clone(), cancel_end.clone());
            async move { crate::device::input::run(&input, ends, clock, cancel).await }
        };
        meters.spawn(supervise(id, control.clone(), cancel.clone(), task));
    }
    for (index, (relay, end)) in config.relays.iter().zip(relays).enumerate() {
        let bus = match &relay.driver {
            RelayDriver::Modbus { connection, .. } => Some(buses.get(BusConfig::new(connection.clone()))),
            RelayDriver::Simulated => continue,
            RelayDriver::Gpio { .. } | RelayDriver::Shelly { .. } | RelayDriver::Mqtt { .. } => None,
        };
        let (relay, control_end, cancel_end) = (relay.clone(), control.clone(), cancel.clone());
        let (gpio, mqtt, leave) = (Arc::clone(&gpio), mqtt.clone(), leave.clone());
        let id = relay.common.id.clone();
        let task = move || {
            let ends = RelayEnds {
                index,
                control: control_end.clone(),
                orders: end.orders.clone(),
                leave: leave.clone(),
                bus: bus.clone(),
                mqtt: end.outlet(&mqtt),
                gpio: Arc::clone(&gpio),
            };
            let (relay, cancel) = (relay.clone(), cancel_end.clone());
            async move { crate::device::relay::run(&relay, ends, clock, cancel).await }
        };
        tasks.spawn(supervise(id, control.clone(), cancel.clone(), task));
    }
    tasks.close();
    // Chargers and relays are left behind in a known state before the thread ends.
    let leaves_something = !tasks.is_empty();
    tokio::select! {
        () = tasks.wait(), if leaves_something => {}
        () = cancel.cancelled() => {}
    }
    cancel.cancel();
    meters.close();
    meters.wait().await;
}

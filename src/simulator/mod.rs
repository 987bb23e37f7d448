//! A house with its meter, chargers and cars over the real protocols, with faults on command: for `demo`, for the
//! whole-binary tests and for benches. Loopback and pseudo-terminals only.
//!
//! The physics (`model`) is pure and stepped by time; the servers move it on to the present whenever a telegram is
//! due, a request arrives or somebody looks.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use gridkeeper::quantity::Milliamp;
//! use gridkeeper::simulator::{CarPlan, ChargerPlan, MeterFault, Plan, Simulator};
//!
//! let plan = Plan::quiet(vec![ChargerPlan::teltocharge(CarPlan::swift())]).with_load([2.0, 2.0, 2.0]);
//! let house = Simulator::start(plan).await?;
//! println!("connection = \"{}\"", house.meter_connection().unwrap_or_default());
//! println!("connection = \"{}\"", house.charger_connection(0));
//! // … start the appliance …
//! house.until("16 A flow", Duration::from_secs(10), |it| it.chargers[0].highest_draw() > Milliamp::from_amps(15)).await?;
//! house.faults().meter(MeterFault::Silent);
//! house.until("it stops", Duration::from_secs(10), |it| it.chargers[0].offered == Milliamp::ZERO).await?;
//! house.stop().await;
//! # Ok(())
//! # }
//! ```

mod board;
mod fault;
pub mod http;
mod live;
mod meter;
mod modbus;
pub mod model;
mod plan;
mod telegram;
mod view;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_serial::{SerialPort, SerialStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use board::{RelayBoard, UNIT as RELAY_BOARD_UNIT};
pub use fault::{ChargerFault, FaultHandle, MeterFault, TelegramFault};
pub use model::Obedience;
pub use plan::{
    Appliance, BoxKind, BusLink, BusPlan, CarAtStart, CarPlan, ChargerPlan, HousePlan, MeterPlan, P1Link, Plan, Stamps,
    Sun,
};
pub use view::{ChargerView, Moment, NotReached, Overload, Request, SetPoint, View};

use live::Live;
use modbus::Framing;

/// How often the picture is renewed although nothing happened.
const TICK: Duration = Duration::from_millis(20);

/// Where a charger is found.
#[derive(Debug)]
struct Place {
    connection: String,
    unit: u8,
}

/// A running house. Dropping it ends all its tasks and closes its sockets.
#[derive(Debug)]
pub struct Simulator {
    live: Arc<Live>,
    meter: Option<String>,
    chargers: Vec<Place>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    _guard: DropGuard,
}

impl Simulator {
    /// Opens every port (TCP ports are chosen by the system) and lets time run.
    ///
    /// # Errors
    /// When a socket or a pseudo-terminal cannot be opened.
    pub async fn start(plan: Plan) -> io::Result<Self> {
        let live = Arc::new(Live::new(&plan));
        let cancel = CancellationToken::new();
        let tasks = TaskTracker::new();
        let mut simulator = Self {
            live: Arc::clone(&live),
            meter: None,
            chargers: Vec::new(),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
            _guard: cancel.clone().drop_guard(),
        };
        if let Some(meter) = &plan.meter {
            simulator.meter = Some(simulator.open_meter(meter.link).await?);
        }
        for (bus, plan) in plan.buses.iter().enumerate() {
            let connection = simulator.open_bus(bus, plan.link).await?;
            simulator
                .chargers
                .extend(plan.chargers.iter().map(|it| Place { connection: connection.clone(), unit: it.unit }));
        }
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    _ = ticks.tick() => live.with(|_| ()),
                    () = cancel.cancelled() => return,
                }
            }
        });
        tasks.close();
        Ok(simulator)
    }

    async fn open_meter(&self, link: P1Link) -> io::Result<String> {
        let out = meter::channel();
        let connection = match link {
            P1Link::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                let connection = format!("tcp://{}", listener.local_addr()?);
                let (live, out, cancel) = (Arc::clone(&self.live), out.clone(), self.cancel.clone());
                self.tasks.spawn(meter::serve_tcp(live, listener, out, cancel));
                connection
            }
            P1Link::Pty => {
                let (master, path) = open_pty()?;
                self.tasks.spawn(meter::serve_pty(master, out.clone(), self.cancel.clone()));
                format!("serial://{path}?baud=115200")
            }
        };
        self.tasks.spawn(meter::run(Arc::clone(&self.live), out, self.cancel.clone()));
        Ok(connection)
    }

    async fn open_bus(&self, bus: usize, link: BusLink) -> io::Result<String> {
        let (live, cancel) = (Arc::clone(&self.live), self.cancel.clone());
        let (scheme, framing) = match link {
            BusLink::Tcp => ("tcp", Framing::Tcp),
            BusLink::RtuOverTcp => ("rtu+tcp", Framing::Rtu),
            BusLink::Rtu => {
                let (master, path) = open_pty()?;
                self.tasks.spawn(modbus::serve_pty(live, bus, master, cancel));
                return Ok(format!("serial://{path}?baud=9600"));
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let connection = format!("{scheme}://{}", listener.local_addr()?);
        self.tasks.spawn(modbus::serve_tcp(live, bus, listener, framing, cancel));
        Ok(connection)
    }

    /// The meter's `connection` as the configuration writes it; `None` for a house without one.
    #[must_use]
    pub fn meter_connection(&self) -> Option<&str> {
        self.meter.as_deref()
    }

    /// The `connection` of a charger as the configuration writes it.
    ///
    /// # Panics
    /// When the plan has no such charger.
    #[must_use]
    pub fn charger_connection(&self, charger: usize) -> &str {
        &self.chargers[charger].connection
    }

    /// The `unit` of a charger.
    ///
    /// # Panics
    /// When the plan has no such charger.
    #[must_use]
    pub fn charger_unit(&self, charger: usize) -> u8 {
        self.chargers[charger].unit
    }

    /// To take hold of it.
    #[must_use]
    pub fn faults(&self) -> FaultHandle {
        FaultHandle { live: Arc::clone(&self.live) }
    }

    /// How things stand now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.live.with(|_| ());
        let views = self.live.watch();
        let view = views.borrow();
        Arc::clone(&view)
    }

    /// Every change, the newest first to be seen.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.live.watch()
    }

    /// Waits until `reached` holds, in real time. `what` stands in the error.
    ///
    /// # Errors
    /// With how things stood when `patience` was at its end.
    pub async fn until(
        &self,
        what: &str,
        patience: Duration,
        mut reached: impl FnMut(&View) -> bool,
    ) -> Result<Arc<View>, NotReached> {
        let mut views = self.live.watch();
        self.live.with(|_| ());
        let watching = async {
            loop {
                // Out of the channel's lock, so that `reached` may look at the simulator itself.
                let view = Arc::clone(&views.borrow_and_update());
                if reached(&view) {
                    return Some(view);
                }
                views.changed().await.ok()?;
            }
        };
        if let Ok(Some(view)) = tokio::time::timeout(patience, watching).await {
            return Ok(view);
        }
        Err(NotReached { what: what.to_owned(), waited: patience, view: self.view() })
    }

    /// Valid Modbus requests that arrived for a charger after this moment, answered or not.
    #[must_use]
    pub fn requests_since(&self, charger: usize, since: Instant) -> Vec<Request> {
        self.live.with(|state| state.requests_since(charger, since))
    }

    /// Currents and offers every 20 ms of house time, from this moment on; the last twenty minutes at most.
    #[must_use]
    pub fn history_since(&self, since: Instant) -> Vec<Moment> {
        self.live.with(|state| state.history_since(since))
    }

    /// Ends everything and waits until it has ended.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.tasks.wait().await;
    }
}

/// The near end of a pseudo-terminal and the path of its far end. Nobody holds the far end open: whoever opens it has
/// it for himself, and its lock goes with him even when he is killed.
fn open_pty() -> io::Result<(SerialStream, String)> {
    let (master, far) = SerialStream::pair()?;
    let path = far.name().ok_or_else(|| io::Error::other("the pseudo-terminal has no name"))?;
    Ok((master, path))
}

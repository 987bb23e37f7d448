//! Relays: one task each, which keeps the relay at its newest order, and opens or closes it as `safe_state` says when the
//! order's lease ends and when the appliance stops.
//!
//! Where the device has a timer of its own, each order to leave the safe state runs on that timer and is given again long
//! before it ends: when we die, the relay falls by itself.
//!
//! To add a kind of relay, implement [`Switch`].

mod gpio;
mod modbus;
pub mod mqtt;
mod shelly;

pub use modbus::Place;
pub(crate) use modbus::{HIGHEST_PULSED, LONGEST_PULSE};

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::{Leased, RelayOrder};
use crate::config::model::{Relay, RelayDriver};
use crate::device::voice::{Trouble, Voice};
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::gpio::Gpio;
use crate::link::modbus::{Bus, Priority};
use crate::quantity::{Mono, Span};
use crate::reading::RelayObservation;

/// A failed write is tried again after this, and then after twice, four times, … as long.
const RETRY: Span = Span(500);
/// But after this at most.
const LONGEST_RETRY: Span = Span::from_secs(5);
/// A device's own timer is renewed this many times while it runs.
const RENEWALS: i64 = 3;

/// What a relay's task is given.
#[derive(Debug)]
pub struct RelayEnds {
    /// Place in the configuration.
    pub index: usize,
    /// To the control thread.
    pub control: ControlLink,
    /// Newest order. While its lease is over: `safe_state`.
    pub orders: watch::Receiver<Leased<RelayOrder>>,
    /// The orderly stop: the task leaves `safe_state` behind and ends.
    pub leave: CancellationToken,
    /// Its Modbus bus, where it is on one.
    pub bus: Option<Bus>,
    /// Its way to the broker, where it is behind one.
    pub mqtt: Option<mqtt::Outlet>,
    /// Lines of this machine.
    pub gpio: Arc<dyn Gpio>,
}

/// One kind of relay.
trait Switch: Send {
    /// Switches. Where the device has a timer and `on` is not the safe state, the timer begins anew.
    fn set(&mut self, on: bool, priority: Priority) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// What it is; `None` where it cannot be read.
    fn read(&mut self, priority: Priority) -> impl Future<Output = Result<Option<bool>, Trouble>> + Send;

    /// Between two looks at it.
    fn period(&self) -> Span;
}

/// What the task does whatever kind of relay it is.
#[derive(Clone, Copy, Debug)]
struct Rules {
    safe_state: bool,
    /// Time of the device's own timer, where it has one.
    timer: Option<Span>,
}

/// Whether the device itself falls to its safe state when nobody renews its order.
#[must_use]
pub fn timer(driver: &RelayDriver) -> Option<Span> {
    match driver {
        RelayDriver::Shelly { timer, .. } => Some(*timer),
        RelayDriver::Modbus { pulse, .. } => *pulse,
        RelayDriver::Gpio { .. } | RelayDriver::Mqtt { .. } | RelayDriver::Simulated => None,
    }
}

/// Keeps the relay until `cancel`, or until it was left in its safe state. A simulated one has no wire and returns at
/// once.
pub async fn run(relay: &Relay, ends: RelayEnds, clock: Clock, cancel: CancellationToken) {
    let RelayEnds { index, control, orders, leave, bus, mqtt, gpio } = ends;
    let rules = Rules { safe_state: relay.setup.safe_state, timer: timer(&relay.driver) };
    let voice = Voice::new(format!("relay {}", relay.common.id), DeviceRef::Relay(index), control);
    let task = Task::new(index, rules, voice, clock);
    let work = async {
        match (&relay.driver, bus, mqtt) {
            (RelayDriver::Gpio { line }, ..) => task.serve(gpio::Pin::new(gpio, line.clone()), orders, leave).await,
            (RelayDriver::Modbus { unit, place, pulse, .. }, Some(bus), _) => {
                let switch = modbus::Coil::new(bus, *unit, *place, pulse.map(|it| (it, rules.safe_state)));
                task.serve(switch, orders, leave).await;
            }
            (RelayDriver::Shelly { point, timer }, ..) => match shelly::Output::new(point, *timer, rules.safe_state) {
                Ok(output) => task.serve(output, orders, leave).await,
                Err(error) => task.give_up(&error.into(), leave).await,
            },
            (RelayDriver::Mqtt { .. }, _, Some(outlet)) => task.serve(outlet, orders, leave).await,
            (RelayDriver::Modbus { .. } | RelayDriver::Mqtt { .. }, ..) => {
                debug_assert!(false, "a relay without the wire that its driver needs");
            }
            (RelayDriver::Simulated, ..) => {}
        }
    };
    let _ = cancel.run_until_cancelled(work).await;
}

/// An acknowledgement says that a telegram arrived: what the relay is says whether it has switched.
async fn read_back<S: Switch>(switch: &mut S, on: bool, priority: Priority) -> Result<(), Trouble> {
    match switch.read(priority).await? {
        Some(is) if is != on => {
            let (told, is) = if on { ("on", "off") } else { ("off", "on") };
            Err(Trouble::bad(format!("it confirmed {told} and reads {is}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Never, as a time.
const NEVER: Mono = Mono(i64::MAX / 2);
/// Between two attempts of an orderly stop.
const STOP_RETRY: Duration = Duration::from_millis(250);
/// Attempts of an orderly stop at a relay that did not answer before. Others are tried until the task is cancelled.
const STOP_ATTEMPTS: u32 = 3;
/// After so many failed attempts it does not answer.
const SILENT: u32 = 3;

#[derive(Debug)]
struct Task {
    index: usize,
    rules: Rules,
    voice: Voice,
    clock: Clock,
    /// What was wanted last.
    wanted: Option<bool>,
    /// What it is as far as it said or confirmed.
    known: Option<bool>,
    /// When its timer was last started.
    set_at: Option<Mono>,
    looked_at: Mono,
    /// Attempts in a row that failed.
    failures: u32,
    /// No attempt before this.
    rests_until: Mono,
}

impl Task {
    fn new(index: usize, rules: Rules, voice: Voice, clock: Clock) -> Self {
        let now = clock.now();
        Self {
            index,
            rules,
            voice,
            clock,
            wanted: None,
            known: None,
            set_at: None,
            looked_at: now,
            failures: 0,
            rests_until: now,
        }
    }

    async fn serve<S: Switch>(
        mut self,
        mut switch: S,
        mut orders: watch::Receiver<Leased<RelayOrder>>,
        leave: CancellationToken,
    ) {
        let mut open = true;
        while !leave.is_cancelled() {
            let now = self.clock.now();
            let order = *orders.borrow_and_update();
            let lease = order.valid_until.filter(|end| *end > now);
            let wanted = lease.map_or(self.rules.safe_state, |_| order.order.on);
            if self.wanted.replace(wanted) != Some(wanted) {
                // A new order waits for nothing.
                self.rests_until = now;
            }
            let write_at = self.write_at(wanted);
            let look_at = (self.looked_at + switch.period()).max(self.rests_until);
            if now >= write_at {
                self.write(&mut switch, wanted).await;
                continue;
            }
            if now >= look_at {
                self.look(&mut switch).await;
                continue;
            }
            let wake = write_at.min(look_at).min(lease.unwrap_or(NEVER)).min(self.voice.tell(now).unwrap_or(NEVER));
            tokio::select! {
                () = leave.cancelled() => {}
                changed = orders.changed(), if open => open = changed.is_ok(),
                () = sleep_until(Instant::from_std(self.clock.instant(wake))) => {}
            }
        }
        self.leave(&mut switch).await;
        self.voice.tell(NEVER);
    }

    /// It cannot be switched as long as this process runs.
    async fn give_up(mut self, trouble: &Trouble, leave: CancellationToken) {
        for _ in 0..SILENT {
            self.bad(trouble, true, self.clock.now());
        }
        self.voice.tell(NEVER);
        leave.cancelled().await;
    }

    /// When the next write is due.
    fn write_at(&self, wanted: bool) -> Mono {
        if self.known != Some(wanted) {
            return self.rests_until;
        }
        match (self.rules.timer.filter(|_| wanted != self.rules.safe_state), self.set_at) {
            (Some(timer), Some(set_at)) => (set_at + Span(timer.0 / RENEWALS)).max(self.rests_until),
            (Some(_), None) => self.rests_until,
            (None, _) => NEVER,
        }
    }

    /// Whether it was confirmed: acknowledged, and read back where it can be read.
    async fn write<S: Switch>(&mut self, switch: &mut S, on: bool) -> bool {
        let begun = self.clock.now();
        let priority = if on { Priority::SetPoint } else { Priority::Reduction };
        let result = match switch.set(on, priority).await {
            Ok(()) => read_back(switch, on, priority).await,
            Err(trouble) => Err(trouble),
        };
        let at = self.clock.now();
        match result {
            Ok(()) => {
                self.known = Some(on);
                self.set_at = Some(begun);
                self.good();
                self.observe(RelayObservation::Written { on, at });
                true
            }
            Err(trouble) => {
                self.bad(&trouble, true, at);
                false
            }
        }
    }

    async fn look<S: Switch>(&mut self, switch: &mut S) {
        let result = switch.read(Priority::Slow).await;
        let at = self.clock.now();
        self.looked_at = at;
        match result {
            Ok(None) => {}
            Ok(Some(on)) => {
                if self.known.is_some_and(|known| known != on) {
                    let what = if on { "on" } else { "off" };
                    tracing::warn!(relay = self.index, "somebody else has switched it {what}; it is switched back");
                }
                self.known = Some(on);
                self.good();
                self.observe(RelayObservation::State { on, at });
            }
            Err(trouble) => self.bad(&trouble, false, at),
        }
    }

    fn good(&mut self) {
        self.failures = 0;
        self.voice.good();
    }

    fn bad(&mut self, trouble: &Trouble, write: bool, at: Mono) {
        self.voice.bad(trouble);
        let doublings = self.failures.min(8);
        self.rests_until = at + Span((RETRY.0 << doublings).min(LONGEST_RETRY.0));
        if trouble.was_not_asked() {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        // It may or may not have done what it was told.
        self.known = None;
        self.observe(RelayObservation::Failed { at, write });
    }

    fn observe(&self, observation: RelayObservation) {
        self.voice.say(ToControl::Relay(self.index, observation));
    }

    /// Leaves the safe state behind.
    async fn leave<S: Switch>(&mut self, switch: &mut S) {
        let silent = self.failures >= SILENT;
        let mut attempts = 0;
        while !self.write(switch, self.rules.safe_state).await {
            attempts += 1;
            if silent && attempts == STOP_ATTEMPTS {
                return;
            }
            sleep(STOP_RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests;

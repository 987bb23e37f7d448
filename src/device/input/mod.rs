//! Inputs: one task each, which reads a level and tells it with the time of reading. Debouncing and the age at which a
//! level is worth nothing are the controller's.
//!
//! To add a source that is asked for its level, implement [`Source`].

mod gpio;
mod modbus;
pub mod mqtt;
pub mod schedule;
mod shelly;
pub mod tariff;

pub use modbus::{ActiveWords, PointKind};

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::config::model::{Input, InputDriver};
use crate::device::voice::{Trouble, Voice};
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::gpio::Gpio;
use crate::link::modbus::Bus;
use crate::quantity::{Mono, Span};
use crate::reading::InputReading;

/// A level that does not change is told this often at least, so that its age is known.
const RENEWAL: Span = Span::from_secs(5);

/// What an input's task is given.
#[derive(Debug)]
pub struct InputEnds {
    /// Place in the configuration.
    pub index: usize,
    /// To the control thread.
    pub control: ControlLink,
    /// Its Modbus bus, where it is on one.
    pub bus: Option<Bus>,
    /// What comes by MQTT, where it does.
    pub mqtt: Option<mqtt::Feed>,
    /// Lines of this machine.
    pub gpio: Arc<dyn Gpio>,
}

/// Something that is asked for a level.
trait Source: Send {
    /// Whether it is active now.
    fn read(&mut self) -> impl Future<Output = Result<bool, Trouble>> + Send;

    /// Between two readings.
    fn period(&self) -> Duration;

    /// A failed reading is a lost input, not only an older one.
    fn fails_at_once(&self) -> bool {
        false
    }
}

/// Reads one input until `cancel`. A simulated one is fed over the simulation seam, and one that follows a tariff by the
/// frames of its meter: both have no task and return at once.
pub async fn run(input: &Input, ends: InputEnds, clock: Clock, cancel: CancellationToken) {
    let InputEnds { index, control, bus, mqtt, gpio } = ends;
    let voice = Voice::new(format!("input {}", input.common.id), DeviceRef::Input(index), control);
    let renewal = input.max_age.map_or(RENEWAL, |age| RENEWAL.min(Span(age.0 / 3)));
    let teller = Teller { index, voice, renewal, told: None };
    let work = async {
        match (&input.driver, bus, mqtt) {
            (InputDriver::Gpio { line, active_high }, ..) => {
                poll(gpio::Pin::new(gpio, line.clone(), *active_high), teller, clock).await;
            }
            (InputDriver::Modbus { unit, point, .. }, Some(bus), _) => {
                poll(modbus::Point::new(bus, *unit, point.clone()), teller, clock).await;
            }
            (InputDriver::Shelly { point, active_high }, ..) => match shelly::Terminal::new(point, *active_high) {
                Ok(terminal) => poll(terminal, teller, clock).await,
                Err(error) => teller.give_up(&error.into(), clock).await,
            },
            (InputDriver::Mqtt { active_high, kept, .. }, _, Some(feed)) => {
                mqtt::run(feed, *active_high, *kept, teller, clock).await;
            }
            (InputDriver::Schedule(schedule), ..) => follow(schedule, teller, clock).await,
            (InputDriver::Modbus { .. } | InputDriver::Mqtt { .. }, ..) => {
                debug_assert!(false, "an input without the wire that its driver needs");
            }
            (InputDriver::P1Tariff { .. } | InputDriver::Simulated, ..) => {}
        }
    };
    let _ = cancel.run_until_cancelled(work).await;
}

/// Asks again and again.
async fn poll<S: Source>(mut source: S, mut teller: Teller, clock: Clock) {
    loop {
        let begun = Instant::now();
        match source.read().await {
            Ok(active) => {
                teller.voice.good();
                teller.tell(Some(active), clock.now());
            }
            Err(trouble) => {
                teller.voice.bad(&trouble);
                if source.fails_at_once() {
                    teller.tell(None, clock.now());
                }
            }
        }
        teller.voice.tell(clock.now());
        sleep_until(begun + source.period()).await;
    }
}

/// Follows the wall clock.
async fn follow(schedule: &schedule::Schedule, mut teller: Teller, clock: Clock) {
    // `Schedule::look_again` keeps it within the renewal.
    loop {
        let (now, wall_ms) = (clock.now(), clock::wall_ms());
        let active = schedule.active(wall_ms);
        match active {
            Some(_) => teller.voice.good(),
            None => teller.voice.bad(&Trouble::bad("the wall clock is not set")),
        }
        teller.tell(active, now);
        teller.voice.tell(now);
        let again = schedule::Schedule::look_again(wall_ms, now);
        sleep_until(Instant::from_std(clock.instant(again))).await;
    }
}

/// Tells the control thread of changes at once and of everything else now and then.
#[derive(Debug)]
struct Teller {
    index: usize,
    voice: Voice,
    renewal: Span,
    told: Option<(Option<bool>, Mono)>,
}

impl Teller {
    fn tell(&mut self, active: Option<bool>, now: Mono) {
        if self.told.is_none_or(|(told, at)| told != active || now.since(at) >= self.renewal) {
            self.say(active, now);
        }
    }

    /// Tells a value that came at `at`, once.
    fn tell_once(&mut self, active: Option<bool>, at: Mono) {
        if self.told != Some((active, at)) {
            self.say(active, at);
        }
    }

    /// It stands on the page for as long as the input is configured, as with a meter by MQTT.
    fn depends_on_broker(&self) {
        let risk = format!("the {} depends on the broker: without it, it is lost", self.voice.name());
        self.voice.say(ToControl::Risk(DeviceRef::Input(self.index), Some(risk)));
    }

    /// Nothing can be read as long as this process runs.
    async fn give_up(mut self, trouble: &Trouble, clock: Clock) {
        self.voice.bad(trouble);
        self.tell(None, clock.now());
        self.voice.tell(clock.now());
        std::future::pending().await
    }

    fn say(&mut self, active: Option<bool>, at: Mono) {
        self.voice.say(ToControl::Input(self.index, InputReading { received_at: at, active }));
        self.told = Some((active, at));
    }
}

#[cfg(test)]
mod tests;

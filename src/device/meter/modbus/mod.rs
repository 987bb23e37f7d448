//! A meter on a Modbus bus: asks what its model file says, in turns with whatever else is on the wire.
//!
//! Values that control needs come in every round. After them goes one slow request at most, so that counters and the
//! like never hold a round up. Nothing is told of a meter before the registers were seen that decide about its signs.

mod image;
mod reading;
mod refused;
mod slow;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::p1::Mapping;
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::codec::model::{Chain, ChainStep, Model, Poll, Refusal, Table};
use crate::config::model::MeterRole;
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::modbus::{Bus, BusError, Operation, Priority, Reply};
use crate::quantity::Mono;
use image::Image;
use refused::Refused;
use slow::{Job, Slow};

/// For one answer, from the first byte sent; on a serial line the bus shortens it.
const LIMIT: Duration = Duration::from_secs(1);
/// From the begin of one round to the next of a meter that guards a fuse …
const GRID_PERIOD: Duration = Duration::from_millis(500);
/// … and of any other: under a second with a slow request of somebody else in between.
const PERIOD: Duration = Duration::from_millis(800);
/// Least pause between two rounds, so that a slow meter does not keep a bus for itself.
const PAUSE: Duration = Duration::from_millis(20);
/// Failed rounds after which it may be another meter that comes back, and after which it is not there at present.
const GONE: u32 = 3;
/// A meter that does not answer is asked every so many periods at least.
const RAREST: u32 = 5;
/// A meter whose own time stands still for so long measures nothing: the slowest sample every ten seconds.
const STANDS: Duration = Duration::from_secs(25);
/// A register that was found wrong is looked at again so often: somebody may be setting it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Which meter of the configuration it is.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// Place in the configuration.
    pub index: usize,
    /// Its id.
    pub id: &'a str,
    /// What it measures.
    pub role: MeterRole,
}

/// Where a meter is and what it is.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its wire.
    pub bus: Bus,
    /// 1 to 247.
    pub unit: u8,
    /// Its registers.
    pub model: Arc<Model>,
}

impl Port {
    /// Asks for registers.
    async fn read(&self, table: Table, address: u16, count: u16, priority: Priority) -> Result<Vec<u16>, BusError> {
        let operation = match table {
            Table::Holding => Operation::ReadHolding { address, count },
            Table::Input => Operation::ReadInput { address, count },
        };
        let asked = operation.clone();
        match self.bus.call(self.unit, operation, LIMIT, priority).await? {
            Reply::Registers(words) => Ok(words),
            Reply::Bits(_) | Reply::Written => Err(BusError::BadRequest {
                asked: format!("unit {}, {asked}", self.unit),
                why: "the answer has no registers".to_owned(),
            }),
        }
    }
}

/// What the registers that decide about signs have said; later ones are stricter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Trust {
    /// Not asked yet.
    #[default]
    Unknown,
    /// As they should be.
    All,
    /// Whatever has a direction would be wrong.
    NoSigns,
    /// Every reading would be wrong.
    Nothing,
}

/// Reads the meter until `cancel`.
pub async fn run(
    who: Who<'_>,
    port: Port,
    mapping: Mapping,
    control: ControlLink,
    clock: Clock,
    cancel: CancellationToken,
) {
    let slow = Slow::new(&port.model, Instant::now());
    let task = Task {
        index: who.index,
        period: if matches!(who.role, MeterRole::Grid | MeterRole::Circuit) { GRID_PERIOD } else { PERIOD },
        image: Image::new(&port.model),
        refused: Refused::new(&port.model),
        port,
        mapping,
        control,
        clock,
        trouble: Trouble::new(who.id),
        slow,
        base: None,
        trust: Trust::Unknown,
        risk: None,
        sampled: None,
        look_again: Instant::now(),
        failures: 0,
        complaint: None,
    };
    let _ = cancel.run_until_cancelled(task.run()).await;
}

struct Task {
    index: usize,
    period: Duration,
    port: Port,
    mapping: Mapping,
    control: ControlLink,
    clock: Clock,
    trouble: Trouble,
    image: Image,
    refused: Refused,
    slow: Slow,
    /// First register of the block; 0 for fixed addresses, `None` while it is not found.
    base: Option<u16>,
    trust: Trust,
    /// What is wrong with its mode, as it was told.
    risk: Option<String>,
    /// The meter's own time of the newest reading, and since when it is known.
    sampled: Option<(i64, Instant)>,
    look_again: Instant,
    /// Rounds without a reading, one after the other.
    failures: u32,
    /// Said once, not with every answer.
    complaint: Option<String>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            match self.round().await {
                Ok(()) => self.failures = 0,
                Err(why) => self.failed(&why),
            }
            self.tell_health();
            let wait = self.period * self.failures.clamp(1, RAREST);
            sleep_until((begun + wait).max(Instant::now() + PAUSE)).await;
        }
    }

    /// Everything that a reading needs, the reading, and one slow request.
    async fn round(&mut self) -> Result<(), BusError> {
        let base = match self.base {
            Some(base) => base,
            None => self.locate().await?,
        };
        if self.trust == Trust::Unknown || (self.trust != Trust::All && Instant::now() >= self.look_again) {
            self.verify().await?;
        }
        let model = Arc::clone(&self.port.model);
        let begun = self.clock.now();
        for (index, poll) in model.polls.iter().enumerate() {
            if poll.fast && self.refused.may_ask(index, Instant::now()) {
                self.poll(base, index, poll, Priority::Poll).await?;
            }
        }
        self.tell_reading(begun);
        let due = self.slow.next(Instant::now());
        let Some(_turn) = due.and_then(|_| self.port.bus.slow_turn(self.port.unit)) else { return Ok(()) };
        match due {
            Some(Job::Poll(index)) if self.refused.may_ask(index, Instant::now()) => {
                let result = self.poll(base, index, &model.polls[index], Priority::Slow).await;
                self.slow_done(Job::Poll(index), result);
            }
            Some(Job::Detail(index)) => {
                let detail = &model.details[index];
                let answer = self.port.read(detail.table, detail.address, detail.count, Priority::Slow).await;
                let result = answer.map(|words| self.image.detail(detail, &words));
                self.slow_done(Job::Detail(index), result);
            }
            Some(job @ Job::Poll(_)) => self.slow.done(job, false, Instant::now()),
            None => {}
        }
        Ok(())
    }

    /// One request; its values go to the image.
    async fn poll(&mut self, base: u16, index: usize, poll: &Poll, priority: Priority) -> Result<(), BusError> {
        let address = base.saturating_add(poll.first);
        match self.port.read(poll.table, address, poll.count, priority).await {
            Ok(words) => {
                self.refused.answered(index);
                let mut complaint = None;
                for decoded in poll.decode(&words) {
                    if let Err(Refusal::Implausible { value }) = decoded.value {
                        complaint = Some(format!("{} = {value} cannot be a measurement and is left out", decoded.key));
                    }
                    self.image.take(&decoded, self.clock.now());
                }
                if complaint.is_some() && complaint != self.complaint {
                    self.trouble.say(complaint.as_deref().unwrap_or_default());
                    self.complaint = complaint;
                }
                Ok(())
            }
            Err(BusError::Exception { code: 1..=3, .. }) if poll.optional => {
                self.refused.refused(index, Instant::now());
                self.image.refused(index);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Finds the block of a SunSpec meter.
    async fn locate(&mut self) -> Result<u16, BusError> {
        let model = Arc::clone(&self.port.model);
        let mut base = 0;
        if !model.sunspec.is_empty() {
            let mut chain = Chain::new();
            base = loop {
                let answer = match self.port.read(Table::Holding, chain.next(), 2, Priority::Poll).await {
                    Ok(words) => words.first_chunk::<2>().copied(),
                    Err(BusError::Exception { code: 1..=3, .. }) => None,
                    Err(error) => return Err(error),
                };
                match chain.take(answer, &model.sunspec) {
                    Ok(ChainStep::Read(_)) => {}
                    Ok(ChainStep::Found { first, .. }) => break first,
                    Err(error) => {
                        let asked = format!("unit {}", self.port.unit);
                        return Err(BusError::BadRequest { asked, why: error.to_string() });
                    }
                }
            };
        }
        self.base = Some(base);
        Ok(base)
    }

    /// Looks at the registers that decide whether signs can be believed.
    async fn verify(&mut self) -> Result<(), BusError> {
        let model = Arc::clone(&self.port.model);
        let mut trust = Trust::All;
        let mut wrong = Vec::new();
        for mode in &model.modes {
            match self.port.read(mode.table, mode.address, 1, Priority::Poll).await {
                Ok(words) if words.first().is_some_and(|word| mode.wanted.contains(word)) => {}
                Ok(words) => {
                    trust = trust.max(if mode.everything { Trust::Nothing } else { Trust::NoSigns });
                    let found = words.first().copied().unwrap_or_default();
                    wrong.push(format!("{} (register {} is {found})", mode.otherwise, mode.address));
                }
                // Clones and old firmware have no such register; their signs are those of the file. A meter that is busy or a
                // gateway that did not reach it says nothing of the kind.
                Err(BusError::Exception { code: code @ 1..=3, .. }) => {
                    self.trouble.say(&format!(
                        "register {} was refused (exception {code}): its mode was not checked",
                        mode.address
                    ));
                }
                Err(error) => return Err(error),
            }
        }
        let what = if trust == Trust::Nothing {
            "nothing of it is used"
        } else {
            "its powers and counters are not used, its currents count as import"
        };
        let risk = (!wrong.is_empty()).then(|| format!("{}; {what}", wrong.join("; ")));
        if (trust, &risk) != (self.trust, &self.risk) {
            if let Some(risk) = &risk {
                self.trouble.say(risk);
            }
            let told = risk.as_ref().map(|risk| format!("{}: {risk}", self.trouble.name()));
            self.control.tell(ToControl::Risk(DeviceRef::Meter(self.index), told));
        }
        (self.trust, self.risk) = (trust, risk);
        self.look_again = Instant::now() + LOOK_AGAIN;
        Ok(())
    }

    /// `begun`: when this round began.
    fn tell_reading(&mut self, begun: Mono) {
        if self.trust == Trust::Nothing {
            return;
        }
        let now = self.clock.now();
        let view = self.image.view(&self.mapping, self.trust != Trust::NoSigns, begun, now);
        let reading = view.reading(now);
        if self.is_told_already(reading.stamp) {
            return;
        }
        let heard = self.control.tell_reading(ToControl::Meter {
            meter: self.index,
            reading,
            values: Arc::new(view.values(now, self.image.identity())),
            sub_meters: Arc::default(),
        });
        self.trouble.good();
        if !heard {
            self.trouble.say("a reading was dropped because the control loop does not take it");
        }
    }

    /// A converter is asked oftener than its meter measures. To the controller a sample that comes twice is one of a
    /// meter that stands still, so it is told once; a meter that does stand still is late and lost by its silence.
    fn is_told_already(&mut self, stamp: Option<i64>) -> bool {
        match (self.sampled, stamp) {
            (Some((known, since)), Some(stamp)) if known == stamp => {
                if since.elapsed() >= STANDS && self.trouble.health.online {
                    self.trouble.health.online = false;
                    self.trouble.say("its own time stands still: it measures nothing");
                }
                true
            }
            (_, stamp) => {
                self.sampled = stamp.map(|it| (it, Instant::now()));
                false
            }
        }
    }

    fn slow_done(&mut self, job: Job, result: Result<(), BusError>) {
        self.slow.done(job, result.is_ok(), Instant::now());
        if let Err(error) = result {
            self.count(&error);
        }
    }

    /// A round without a reading.
    fn failed(&mut self, error: &BusError) {
        self.failures = self.failures.saturating_add(1);
        self.count(error);
        if self.failures >= GONE {
            self.trouble.health.online = false;
            // What comes back may be another meter, or the same one with another setting.
            self.base = None;
            self.sampled = None;
            self.trust = Trust::Unknown;
            self.refused = Refused::new(&self.port.model);
            self.image = Image::new(&self.port.model);
            self.slow = Slow::new(&self.port.model, Instant::now());
        }
    }

    fn count(&mut self, error: &BusError) {
        match error {
            BusError::Timeout { .. } => self.trouble.timeout(&error.to_string()),
            // Nothing was asked: that is no fault of the meter.
            BusError::NotConnected { .. } => self.trouble.link_lost(&error.to_string()),
            _ if error.is_crowding() => self.trouble.say(&error.to_string()),
            _ => self.trouble.bad(&error.to_string()),
        }
    }

    fn tell_health(&mut self) {
        let counters = self.port.bus.counters();
        self.trouble.health.reconnects = counters.reconnects;
        self.trouble.health.discarded_bytes = counters.discarded_bytes;
        if let Some(health) = self.trouble.due() {
            self.control.tell(ToControl::Health(DeviceRef::Meter(self.index), health));
        }
    }
}

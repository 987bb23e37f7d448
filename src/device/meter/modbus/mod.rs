//! A meter on a Modbus bus: asks what its model file says, in turns with whatever else is on the wire.
//!
//! Values that control needs come in every round. After them goes one slow request at most, so that counters and the
//! like never hold a round up. Nothing is told of a meter before the registers were seen that decide about its signs, and
//! they are looked at again for as long as it is there.

mod image;
mod modes;
mod reading;
mod refused;
mod slow;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;

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
use modes::{Modes, Trust};
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
        modes: Modes::new(&port.model),
        port,
        mapping,
        control,
        clock,
        trouble: Trouble::new(who.id),
        slow,
        base: None,
        trust: None,
        risk: None,
        sampled: None,
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
    modes: Modes,
    /// What `modes` lets be used; `None` until it has been told once.
    trust: Option<Trust>,
    /// What is wrong or not known about its mode, as it was told.
    risk: Option<String>,
    /// The meter's own time of the newest reading, and since when it is known.
    sampled: Option<(i64, Instant)>,
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
        let model = Arc::clone(&self.port.model);
        let mut unanswered = Ok(());
        for index in self.modes.unknown(&model.modes) {
            let answer = self.look_at_mode(index, Priority::Poll).await;
            unanswered = unanswered.and(answer);
        }
        if let Err(error) = unanswered {
            match self.modes.unknown(&model.modes).is_empty() {
                // It counts as silent from now on, and what does not hang on it is asked for.
                true => self.count(&error),
                false => return Err(error),
            }
        }
        self.judge_modes();
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
                if self.image.awaits(index) {
                    self.slow.again(Job::Poll(index), Instant::now());
                }
            }
            Some(Job::Detail(index)) => {
                let detail = &model.details[index];
                match self.port.read(detail.table, detail.address, detail.count, Priority::Slow).await {
                    // Clones and old firmware do not say who they are, which is no fault of what they measure.
                    Err(error @ BusError::Exception { code: 1..=3, .. }) => {
                        tracing::debug!("{}: does not say who it is: {error}", self.trouble.name());
                        self.slow.done(Job::Detail(index), false, Instant::now());
                    }
                    answer => {
                        let result = answer.map(|words| self.image.detail(detail, &words));
                        self.slow_done(Job::Detail(index), result);
                    }
                }
            }
            Some(Job::Mode(index)) => match self.look_at_mode(index, Priority::Slow).await {
                Ok(()) => {
                    let now = Instant::now();
                    self.slow.done(Job::Mode(index), self.modes.is_settled(index, now), now);
                }
                Err(error) => self.slow_done(Job::Mode(index), Err(error)),
            },
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
            // Counted, and no reason to give up what the meter does tell.
            Err(error) if poll.optional && error.is_silence() && self.refused.silent(index, Instant::now()) => {
                self.count(&error);
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

    /// Asks a register that decides whether signs and sizes can be believed. A refusal is an answer only where it says
    /// that there is no such register: a device that is busy or a gateway in front of it says nothing about the register.
    async fn look_at_mode(&mut self, index: usize, priority: Priority) -> Result<(), BusError> {
        let model = Arc::clone(&self.port.model);
        let mode = &model.modes[index];
        match self.port.read(mode.table, mode.address, 1, priority).await {
            Ok(words) => match words.first() {
                Some(word) => self.modes.answered(index, *word, Instant::now()),
                None => {
                    let asked = format!("unit {}, register {}", self.port.unit, mode.address);
                    return Err(BusError::BadRequest { asked, why: "the answer is empty".to_owned() });
                }
            },
            Err(BusError::Exception { code: code @ 1..=3, .. }) => {
                self.modes.refused(index, mode, code, Instant::now());
            }
            Err(error) => {
                // Where nothing was asked, nothing was left unsaid.
                if !matches!(error, BusError::NotConnected { .. }) && !error.is_crowding() {
                    self.modes.silent(index);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// What can be believed by the mode registers, and tells what stands against it.
    fn judge_modes(&mut self) {
        let (trust, risk) = self.modes.judge(&self.port.model.modes, Instant::now());
        self.trust = Some(trust);
        if risk == self.risk {
            return;
        }
        if let Some(risk) = &risk {
            self.trouble.say(risk);
        }
        let told = risk.as_ref().map(|risk| format!("{}: {risk}", self.trouble.name()));
        if self.control.tell(ToControl::Risk(DeviceRef::Meter(self.index), told)) {
            self.risk = risk;
        }
    }

    /// `begun`: when this round began.
    fn tell_reading(&mut self, begun: Mono) {
        let trust = self.trust.unwrap_or(Trust::Nothing);
        if trust == Trust::Nothing {
            self.trouble.health.online = false;
            return;
        }
        let now = self.clock.now();
        let view = self.image.view(&self.mapping, trust != Trust::NoSigns, begun, now);
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
            self.modes = Modes::new(&self.port.model);
            if self.trust.is_none() {
                self.judge_modes();
            }
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

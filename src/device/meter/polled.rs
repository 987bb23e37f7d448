//! Meters that are asked: one question after another, back-off when there is no answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::p1::Mapping;
use super::sample;
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::codec::sample::Sample;
use crate::config::model::Common;
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::Backoff;
use crate::status::{Identity, MeterValues};

/// A good answer.
#[derive(Debug)]
pub(super) struct Report {
    /// In the meter's own phase order.
    pub(super) sample: Sample,
    /// Who it says it is.
    pub(super) identity: Identity,
    /// Gas, water and heat meters behind it.
    pub(super) sub_meters: Vec<(Arc<str>, Arc<MeterValues>)>,
}

/// No good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nobody answered.
    Silent(String),
    /// Something answered that cannot be used.
    Bad(String),
}

/// Something that can be asked for a reading.
pub(super) trait Source: Send {
    /// One reading. Bounded in time by itself.
    fn read(&mut self) -> impl Future<Output = Result<Report, Failure>> + Send;

    /// Whether `read` waits until there is something new.
    fn paces_itself(&self) -> bool {
        false
    }

    /// What stands against it for as long as it is so, whether it gives readings or not.
    fn risk(&self) -> Option<&'static str> {
        None
    }
}

/// A meter whose own time stands still for so long measures nothing: the slowest sample every ten seconds.
const STANDS: Duration = Duration::from_secs(25);

/// How patient the task is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Between the beginnings of two questions.
    pub(super) period: Duration,
    /// Not there after so long without a good answer.
    pub(super) offline: Duration,
    /// Waiting time after the first failure.
    pub(super) first_retry: Duration,
    /// Longest waiting time.
    pub(super) last_retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(1),
            offline: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_secs(15),
        }
    }
}

/// Where readings go and how they are turned.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// Place in the configuration.
    pub(super) index: usize,
    /// Id and names.
    pub(super) common: Common,
    /// Phases and direction.
    pub(super) mapping: Mapping,
    /// The control thread.
    pub(super) control: ControlLink,
    /// Ours.
    pub(super) clock: Clock,
}

/// Asks until `cancel`.
pub(super) async fn run(source: impl Source, to: Destination, patience: Patience, cancel: CancellationToken) {
    let task = Task {
        trouble: Trouble::new(&to.common.id),
        backoff: Backoff::new(patience.first_retry, patience.last_retry),
        good_at: Instant::now(),
        sampled: None,
        away: false,
        noted: Vec::new(),
        risk: None,
        source,
        to,
        patience,
    };
    // Between an answer's end and its way to the control thread there is no await that this could cut.
    let _ = cancel.run_until_cancelled(task.run()).await;
}

struct Task<S> {
    source: S,
    to: Destination,
    patience: Patience,
    trouble: Trouble,
    backoff: Backoff,
    good_at: Instant,
    /// The meter's own time of the newest reading, and since when it is known.
    sampled: Option<(i64, Instant)>,
    away: bool,
    /// Said once, not with every answer.
    noted: Vec<String>,
    /// As it was told.
    risk: Option<&'static str>,
}

impl<S: Source> Task<S> {
    async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let answer = self.source.read().await;
            let wait = match answer {
                Ok(report) => {
                    if self.source.paces_itself() || !self.is_told_already(report.sample.stamp) {
                        self.take(report);
                    }
                    if self.source.paces_itself() {
                        Duration::ZERO
                    } else {
                        self.patience.period.saturating_sub(begun.elapsed())
                    }
                }
                Err(failure) => {
                    self.fail(failure);
                    self.backoff.next()
                }
            };
            self.tell_risk();
            self.rest(wait).await;
        }
    }

    fn tell_risk(&mut self) {
        let risk = self.source.risk();
        let told = || risk.map(|it| format!("{}: {it}", self.trouble.name()));
        let device = DeviceRef::Meter(self.to.index);
        if risk != self.risk && self.to.control.tell(ToControl::Risk(device, told())) {
            self.risk = risk;
        }
    }

    /// Waits; the control thread hears of every change within a second.
    async fn rest(&mut self, wait: Duration) {
        const LOOK_UP: Duration = Duration::from_secs(1);
        let until = Instant::now() + wait;
        loop {
            if self.good_at.elapsed() >= self.patience.offline {
                self.trouble.health.online = false;
            }
            if let Some(health) = self.trouble.due() {
                self.to.control.tell(ToControl::Health(DeviceRef::Meter(self.to.index), health));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK_UP)).await;
        }
    }

    /// A device is asked oftener than its meter measures. To the controller a sample that comes twice is one of a meter
    /// that stands still, so it is told once; a meter that does stand still is late and lost by its silence.
    fn is_told_already(&mut self, stamp: Option<i64>) -> bool {
        let Some((known, since)) = self.sampled else { return false };
        if stamp != Some(known) {
            return false;
        }
        if since.elapsed() < STANDS {
            self.good_at = Instant::now();
            self.backoff.reset();
        }
        true
    }

    fn take(&mut self, report: Report) {
        let received_at = self.to.clock.now();
        let Report { sample: mut sent, identity, sub_meters } = report;
        let notes = std::mem::take(&mut sent.notes);
        let sample = sample::mapped(sent, &self.to.mapping);
        let heard = self.to.control.tell_reading(ToControl::Meter {
            meter: self.to.index,
            reading: sample::reading(&sample, received_at),
            values: Arc::new(sample::values(&sample, received_at, identity)),
            sub_meters: Arc::new(sub_meters),
        });
        self.good_at = Instant::now();
        self.sampled = sample.stamp.map(|it| (it, self.good_at));
        self.backoff.reset();
        self.trouble.good();
        self.trouble.health.reconnects += u64::from(std::mem::take(&mut self.away));
        if !heard {
            self.trouble.say("a reading was dropped because the control loop does not take it");
        }
        if notes != self.noted {
            for note in &notes {
                self.trouble.say(note);
            }
            self.noted = notes;
        }
    }

    fn fail(&mut self, failure: Failure) {
        match failure {
            Failure::Silent(sentence) => {
                self.away = true;
                self.trouble.timeout(&sentence);
            }
            Failure::Bad(sentence) => self.trouble.bad(&sentence),
        }
    }
}

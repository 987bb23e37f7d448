//! Shelly meters: fast values every second, counters every ten.
//!
//! Polled, not listened to: notifications come when a value has changed by a threshold (5 % and 10 W on a Pro EM), a
//! fuse wants a reading each second. A Pro 3EM renews its values once per second.

use std::time::Duration;

use tokio::time::Instant;

use super::polled::{Failure, Report, Source};
use crate::codec::json::Malformed;
use crate::codec::sample::{Quantity as Q, Sample};
use crate::codec::shelly::{Device, gen1, rpc, uptime};
use crate::device::shelly::{Error, Shelly};
use crate::status::Identity;

/// Counters are asked for this often, also when they could not be read: each attempt may take as long as a request may.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);
/// Counters that could not be read again for so long are not told any more.
const COUNTERS_STAND: Duration = Duration::from_secs(120);
/// The minute of a counter moves each minute; when it has stood still for so long, nothing is measured any more.
const MINUTE_STANDS: Duration = Duration::from_secs(150);
/// A device's uptime moves each second; where it has stood still for so long, somebody gives old answers again.
const UPTIME_STANDS: Duration = Duration::from_secs(5);

/// A Shelly as a meter.
#[derive(Debug)]
pub(super) struct ShellyMeter {
    link: Shelly,
    channel: Option<u8>,
    plan: Option<(Device, Kind)>,
    counters: Counters,
    minute: Sign,
    uptime: Sign,
    /// The serial number that `minute` and `uptime` belong to.
    mac: Option<String>,
    /// When the uptime was asked for, where no answer has it beside the values.
    looked: Option<Instant>,
}

/// Something that moves while the device works.
#[derive(Debug)]
struct Sign {
    /// Its value, when that was first heard, and when last: between two questions nothing is known of it.
    known: Option<(i64, Instant, Instant)>,
    stands: Duration,
}

impl Sign {
    fn new(stands: Duration) -> Self {
        Self { known: None, stands }
    }

    /// Where the device does not say, what is known stays: one that stood still does not move by that.
    fn heard(&mut self, value: i64, now: Instant) {
        self.known = Some(match self.known {
            Some((known, since, _)) if known == value => (known, since, now),
            _ => (value, now, now),
        });
    }

    /// Fails where it has stood still for too long; `what` says what that means.
    fn moves(&self, what: &str) -> Result<(), Malformed> {
        match self.known.map(|(_, first, last)| last.duration_since(first)) {
            Some(stood) if stood >= self.stands => {
                Err(Malformed::new("", format!("is old: {what} for {} s", stood.as_secs())))
            }
            _ => Ok(()),
        }
    }
}

/// Counters have requests of their own.
#[derive(Debug)]
struct Counters {
    known: Option<(Sample, Instant)>,
    tried: Option<Instant>,
    /// Why the last attempt failed.
    problem: Option<String>,
    every: Duration,
    stand: Duration,
}

impl Default for Counters {
    fn default() -> Self {
        Self { known: None, tried: None, problem: None, every: COUNTERS_EVERY, stand: COUNTERS_STAND }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Gen1(gen1::Source),
    Rpc(rpc::Source),
}

impl ShellyMeter {
    pub(super) fn new(link: Shelly, channel: Option<u8>) -> Self {
        Self {
            link,
            channel,
            plan: None,
            counters: Counters::default(),
            minute: Sign::new(MINUTE_STANDS),
            uptime: Sign::new(UPTIME_STANDS),
            mac: None,
            looked: None,
        }
    }

    /// What the device is and what of it is meant; asked once, and again after it was away.
    async fn plan(&mut self) -> Result<(Device, Kind), Error> {
        if let Some(plan) = &self.plan {
            return Ok(plan.clone());
        }
        let device = self.link.identify().await?;
        let kind = if device.generation == 1 {
            Kind::Gen1(gen1::source(&self.link.get("/status").await?, self.channel)?)
        } else {
            Kind::Rpc(rpc::source(&self.link.get("/rpc/Shelly.GetStatus").await?, self.channel)?)
        };
        if self.mac != device.mac {
            (self.minute.known, self.uptime.known) = (None, None);
            self.mac.clone_from(&device.mac);
        }
        self.plan = Some((device.clone(), kind));
        Ok((device, kind))
    }

    async fn sample(&mut self, kind: Kind) -> Result<Sample, Error> {
        let sample = match kind {
            Kind::Gen1(source) => {
                let status = self.link.get("/status").await?;
                if let Some(uptime) = uptime(&status)? {
                    self.uptime.heard(uptime, Instant::now());
                }
                gen1::status(&status, source)?
            }
            Kind::Rpc(rpc::Source::Em) => {
                let sample = rpc::em(&self.get("EM", 0).await?)?;
                self.with_counters(sample, kind).await
            }
            Kind::Rpc(rpc::Source::Phases) => {
                let mut sample = Sample::default();
                for at in 0..3 {
                    let one = rpc::em1(&self.get("EM1", at).await?)?;
                    let place = usize::from(at);
                    sample.expect(Q::PHASE_POWER[place]);
                    sample.put(Q::PHASE_POWER[place], one.get(Q::PowerL1));
                    sample.put(Q::CURRENT[place], one.get(Q::CurrentL1));
                    sample.put(Q::VOLTAGE[place], one.get(Q::VoltageL1));
                    sample.put(Q::Frequency, one.get(Q::Frequency));
                    sample.notes.extend(one.notes);
                }
                sample.complete();
                self.with_counters(sample, kind).await
            }
            Kind::Rpc(rpc::Source::Em1(at)) => {
                let sample = rpc::em1(&self.get("EM1", at).await?)?;
                self.with_counters(sample, kind).await
            }
            Kind::Rpc(rpc::Source::Pm1(at)) => rpc::switch(&self.get("PM1", at).await?)?,
            Kind::Rpc(rpc::Source::Switch(at)) => rpc::switch(&self.get("Switch", at).await?)?,
        };
        self.still_works(kind, sample).await
    }

    async fn get(&mut self, component: &str, id: u8) -> Result<Vec<u8>, Error> {
        self.link.get(&format!("/rpc/{component}.GetStatus?id={id}")).await
    }

    /// A counter that cannot be read must not cost the power, which is what guards a fuse: it is not asked for with every
    /// reading, and the last one stands for a while.
    async fn with_counters(&mut self, mut sample: Sample, kind: Kind) -> Sample {
        if self.counters.tried.is_none_or(|it| it.elapsed() >= self.counters.every) {
            match self.read_counters(kind).await {
                Ok(counters) => {
                    self.counters.known = Some((counters, Instant::now()));
                    self.counters.problem = None;
                }
                Err(error) => self.counters.problem = Some(format!("the counters cannot be read: {error}")),
            }
            self.counters.tried = Some(Instant::now());
        }
        sample.notes.extend(self.counters.problem.clone());
        if let Some((counters, read_at)) = &self.counters.known
            && read_at.elapsed() < self.counters.stand
        {
            sample.join(counters);
        }
        sample
    }

    async fn read_counters(&mut self, kind: Kind) -> Result<Sample, Error> {
        Ok(match kind {
            Kind::Rpc(rpc::Source::Em) => rpc::em_data(&self.get("EMData", 0).await?)?,
            Kind::Rpc(rpc::Source::Em1(at)) => rpc::em1_data(&self.get("EM1Data", at).await?)?,
            Kind::Rpc(rpc::Source::Phases) => {
                let mut parts = Vec::new();
                for at in 0..3 {
                    parts.push(rpc::em1_data(&self.get("EM1Data", at).await?)?);
                }
                let mut sum = Sample::default();
                for quantity in [Q::EnergyImport, Q::EnergyExport] {
                    // Without one of the phases it would be too small.
                    sum.put(quantity, parts.iter().map(|it| it.get(quantity)).sum::<Option<f64>>());
                }
                sum
            }
            Kind::Gen1(_) | Kind::Rpc(rpc::Source::Pm1(_) | rpc::Source::Switch(_)) => Sample::default(),
        })
    }

    /// Neither minute nor uptime is a time of the sample, but they show whether the device still works. Three phases and
    /// clamps of generation 2 have no minute, and their uptime is in an answer of its own.
    async fn still_works(&mut self, kind: Kind, mut sample: Sample) -> Result<Sample, Error> {
        match sample.stamp.take() {
            Some(minute) => self.minute.heard(minute, Instant::now()),
            // In a whole answer it is missing where the clock is not set, which is so after a restart.
            None => self.minute.known = None,
        }
        self.minute.moves("the device has measured nothing")?;
        let asked = matches!(kind, Kind::Rpc(rpc::Source::Em | rpc::Source::Phases | rpc::Source::Em1(_)));
        if asked && self.looked.is_none_or(|it| it.elapsed() >= self.counters.every) {
            let answer = self.link.get("/rpc/Sys.GetStatus").await;
            self.looked = Some(Instant::now());
            // An answer that fails says nothing, and the values came all the same.
            if let Some(uptime) = answer.ok().and_then(|body| uptime(&body).ok().flatten()) {
                self.uptime.heard(uptime, Instant::now());
            }
        }
        self.uptime.moves("the device's own uptime has stood still")?;
        Ok(sample)
    }
}

impl Source for ShellyMeter {
    async fn read(&mut self) -> Result<Report, Failure> {
        let work = async {
            let (device, kind) = self.plan().await?;
            Ok::<_, Error>((device, self.sample(kind).await?))
        };
        match work.await {
            Ok((device, sample)) => Ok(Report {
                sample,
                identity: Identity {
                    manufacturer: Some("Shelly".to_owned()),
                    model: device.model,
                    serial: device.mac,
                    firmware: device.firmware,
                },
                sub_meters: Vec::new(),
            }),
            Err(error) => {
                let sentence = format!("{}: {error}", self.link.describe());
                if error.is_silence() {
                    // Another device, or the same one with another profile, may stand there next time. Signs of the same
                    // one stay: values that stood still are no newer because the network was away.
                    (self.plan, self.looked) = (None, None);
                    (self.counters.known, self.counters.tried) = (None, None);
                    return Err(Failure::Silent(sentence));
                }
                Err(Failure::Bad(sentence))
            }
        }
    }
}

#[cfg(test)]
mod tests;

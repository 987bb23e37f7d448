//! Shelly meters: fast values every second, counters every ten.
//!
//! Polled, not listened to: notifications come when a value has changed by a threshold (5 % and 10 W on a Pro EM), a
//! fuse wants a reading each second. A Pro 3EM renews its values once per second.

use std::time::Duration;

use tokio::time::Instant;

use super::polled::{Failure, Report, Source};
use crate::codec::json::Malformed;
use crate::codec::sample::{Quantity as Q, Sample};
use crate::codec::shelly::{Device, gen1, rpc};
use crate::device::shelly::{Error, Shelly};
use crate::status::Identity;

/// Counters are read this often.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);
/// The minute of a counter moves each minute; when it has stood still for so long, nothing is measured any more.
const MINUTE_STANDS: Duration = Duration::from_secs(150);

/// A Shelly as a meter.
#[derive(Debug)]
pub(super) struct ShellyMeter {
    link: Shelly,
    channel: Option<u8>,
    plan: Option<(Device, Kind)>,
    counters: Option<(Sample, Instant)>,
    minute: Option<(i64, Instant)>,
    stands: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Gen1(gen1::Source),
    Rpc(rpc::Source),
}

impl ShellyMeter {
    pub(super) fn new(link: Shelly, channel: Option<u8>) -> Self {
        Self { link, channel, plan: None, counters: None, minute: None, stands: MINUTE_STANDS }
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
        self.plan = Some((device.clone(), kind));
        Ok((device, kind))
    }

    async fn sample(&mut self, kind: Kind) -> Result<Sample, Error> {
        let sample = match kind {
            Kind::Gen1(source) => gen1::status(&self.link.get("/status").await?, source)?,
            Kind::Rpc(rpc::Source::Em) => {
                let sample = rpc::em(&self.get("EM", 0).await?)?;
                self.with_counters(sample, kind).await
            }
            Kind::Rpc(rpc::Source::Phases) => {
                let mut sample = Sample::default();
                for at in 0..3 {
                    let one = rpc::em1(&self.get("EM1", at).await?)?;
                    let place = usize::from(at);
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
        self.still_measuring(sample)
    }

    async fn get(&mut self, component: &str, id: u8) -> Result<Vec<u8>, Error> {
        self.link.get(&format!("/rpc/{component}.GetStatus?id={id}")).await
    }

    /// A counter that cannot be read must not cost the power, which is what guards a fuse: the last one stands.
    async fn with_counters(&mut self, mut sample: Sample, kind: Kind) -> Sample {
        if self.counters.as_ref().is_none_or(|it| it.1.elapsed() >= COUNTERS_EVERY) {
            match self.read_counters(kind).await {
                Ok(counters) => self.counters = Some((counters, Instant::now())),
                Err(error) => sample.notes.push(format!("the counters cannot be read: {error}")),
            }
        }
        if let Some((counters, _)) = &self.counters {
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

    /// The device's own minute is no time of the sample, but it shows whether the device still measures.
    fn still_measuring(&mut self, mut sample: Sample) -> Result<Sample, Error> {
        let Some(minute) = sample.stamp.take() else { return Ok(sample) };
        let since = match self.minute {
            Some((known, since)) if known == minute => since,
            _ => Instant::now(),
        };
        self.minute = Some((minute, since));
        if since.elapsed() < self.stands {
            return Ok(sample);
        }
        let seconds = since.elapsed().as_secs();
        Err(Malformed::new("", format!("is old: the device has measured nothing for {seconds} s")).into())
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
                    // Another device, or the same one with another profile, may stand there next time.
                    (self.plan, self.counters, self.minute) = (None, None, None);
                    return Err(Failure::Silent(sentence));
                }
                Err(Failure::Bad(sentence))
            }
        }
    }
}

#[cfg(test)]
mod tests;

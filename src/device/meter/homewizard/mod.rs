//! HomeWizard meters: API version 1 polled over HTTP, version 2 over TLS pinned to the device, pushed on a WebSocket.

mod socket;
mod telegram;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::names::{Book, Named, Names};
use super::polled::{Failure, Report, Source};
use crate::clock::Clock;
use crate::codec::homewizard::{self as codec, Device, External, Measurement};
use crate::codec::json::Malformed;
use crate::codec::sample::Sample;
use crate::config::model::{HttpAddress, Pairing};
use crate::device::http::Error;
use crate::link::http::header::{HeaderMap, HeaderName, HeaderValue};
use crate::link::http::{self, Client, Limits, Login, Method, Pin, Trust};
use crate::status::{Identity, MeterValues, Value};

use socket::Socket;
use telegram::TelegramTime;

/// Least silence after which a WebSocket is left for questions: the controller has lost a meter of one second after ten.
const PUSH_PATIENCE: Duration = Duration::from_secs(3);
/// A meter before DSMR 5 speaks every ten seconds; no meter is slower.
const SLOWEST: Duration = Duration::from_secs(10);
/// A device that offers no WebSocket is asked for one again after this time.
const SOCKET_AGAIN: Duration = Duration::from_secs(60);

/// A HomeWizard device as a meter.
#[derive(Debug)]
pub(super) struct HomeWizardMeter {
    http: Client,
    paired: Option<Pairing>,
    device: Option<Device>,
    /// The serial number that `telegram` belongs to.
    serial: Option<String>,
    socket: Option<Socket>,
    socket_tried: Option<Instant>,
    behind: Book,
    clock: Clock,
    pace: Pace,
    push_patience: Duration,
    telegram: TelegramTime,
}

/// How often there is something new, learnt from pushes and from answers.
#[derive(Debug, Default)]
struct Pace {
    last: Option<(Option<i64>, Instant)>,
    interval: Option<Duration>,
}

impl Pace {
    /// A measurement with its own time; without one only pushes tell something.
    fn heard(&mut self, stamp: Option<i64>, pushed: bool, now: Instant) {
        let gap = match self.last {
            Some((Some(before), _)) if stamp == Some(before) => return,
            Some((Some(before), _)) if stamp.is_some() => {
                stamp.and_then(|it| u64::try_from(it - before).ok()).map(Duration::from_secs)
            }
            Some((_, at)) if pushed => Some(now.duration_since(at)),
            _ => None,
        };
        self.last = Some((stamp, now));
        self.interval = gap.map(|it| it.min(SLOWEST)).or(self.interval);
    }

    /// How long a WebSocket may be silent: half an interval more than one, so that a slow meter is not lost either.
    fn patience(&self, least: Duration) -> Duration {
        self.interval.map_or(least, |it| least.max(it * 3 / 2))
    }
}

/// The headers of version 2.
pub(crate) fn version_2() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-api-version"), HeaderValue::from_static("2"))])
}

impl HomeWizardMeter {
    /// With a pairing version 2 is spoken.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(
        address: &HttpAddress,
        paired: Option<Pairing>,
        names: Names,
        clock: Clock,
        limits: Limits,
    ) -> Result<Self, http::Error> {
        let (login, trust) = match &paired {
            Some(it) => (Login::Token(it.token.clone()), Trust::Pinned(Pin::new(it.key))),
            None => (Login::None, Trust::Nobody),
        };
        Ok(Self {
            http: Client::new(address, login, trust, limits)?,
            paired,
            device: None,
            serial: None,
            socket: None,
            socket_tried: None,
            behind: Book::new(names),
            clock,
            pace: Pace::default(),
            push_patience: PUSH_PATIENCE,
            telegram: TelegramTime::default(),
        })
    }

    async fn get(&mut self, uri: &str) -> Result<Vec<u8>, Error> {
        let headers = if self.paired.is_some() { version_2() } else { HeaderMap::new() };
        let answer = self.http.send(Method::GET, uri, headers, None).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        match codec::error(&answer.body) {
            Some(text) if text.ends_with(codec::DISABLED) => {
                Err(Error::Refused("its local API is off: switch it on in the HomeWizard app".to_owned()))
            }
            Some(text) => Err(Error::Refused(format!("it answers {}: {text}", answer.status))),
            None => Err(http::Error::Status { status: answer.status, body: answer.body }.into()),
        }
    }

    /// The data of version 1 have no time, and a P1 meter that says nothing more leaves them as they are. Its telegram is
    /// looked at now and then; where a device has none, only values that move tell that it spoke since.
    async fn still_speaks(&mut self, sample: &Sample) -> Result<(), Error> {
        if self.device.as_ref().is_none_or(|it| it.product_type != "HWE-P1") {
            return Ok(());
        }
        self.telegram.values(sample);
        if self.telegram.is_due(Instant::now()) {
            let answer = self.get("/api/v1/telegram").await;
            let time = answer.and_then(|body| Ok(codec::v1_telegram_time(&body)?));
            if let Err(error) = &time {
                tracing::debug!("{}: no time of the telegram: {error}", self.http.describe());
            }
            self.telegram.heard(time.ok(), Instant::now());
        }
        match self.telegram.stands(Instant::now()) {
            None if self.telegram.is_unproven() => Err(Malformed::new("", telegram::UNPROVEN).into()),
            None => Ok(()),
            Some(since) => Err(Malformed::new("", telegram::old(since)).into()),
        }
    }

    async fn identify(&mut self) -> Result<Device, Error> {
        if let Some(device) = &self.device {
            return Ok(device.clone());
        }
        let device = codec::device(&self.get("/api").await?)?;
        if self.serial != device.serial {
            self.telegram = self.telegram.of_another();
            self.serial.clone_from(&device.serial);
        }
        self.device = Some(device.clone());
        Ok(device)
    }

    async fn measurement(&mut self) -> Result<Measurement, Error> {
        let Some(paired) = self.paired.clone() else {
            let measurement = codec::v1_data(&self.get("/api/v1/data").await?)?;
            self.still_speaks(&measurement.sample).await?;
            return Ok(measurement);
        };
        if self.socket.is_none() && self.socket_tried.is_none_or(|it| it.elapsed() >= SOCKET_AGAIN) {
            self.socket_tried = Some(Instant::now());
            match Socket::open(&mut self.http, &paired.token).await {
                Ok(socket) => self.socket = Some(socket),
                // Polling does the same, a little later.
                Err(error) => tracing::debug!("{}: no WebSocket: {error}", self.http.describe()),
            }
        }
        if let Some(socket) = &mut self.socket {
            match socket.next(self.pace.patience(self.push_patience)).await {
                Ok(measurement) => {
                    self.pace.heard(measurement.sample.stamp, true, Instant::now());
                    return Ok(measurement);
                }
                Err(error) => {
                    tracing::debug!("{}: the WebSocket ended: {error}", self.http.describe());
                    self.socket = None;
                    // A wrong message is counted; a link that ended may still answer a question.
                    if let Error::Answer(_) = error {
                        return Err(error);
                    }
                }
            }
        }
        let measurement = codec::v2_measurement(&self.get("/api/measurement").await?)?;
        self.pace.heard(measurement.sample.stamp, false, Instant::now());
        Ok(measurement)
    }
}

impl Source for HomeWizardMeter {
    async fn read(&mut self) -> Result<Report, Failure> {
        let work = async {
            let device = self.identify().await?;
            Ok::<_, Error>((device, self.measurement().await?))
        };
        match work.await {
            Ok((device, measurement)) => Ok(Report {
                sub_meters: behind(&mut self.behind, &measurement.external, self.clock),
                sample: measurement.sample,
                identity: Identity {
                    manufacturer: Some("HomeWizard".to_owned()),
                    model: Some(device.product_type),
                    serial: device.serial,
                    firmware: device.firmware,
                },
            }),
            Err(error) => {
                let sentence = format!("{}: {error}", self.http.describe());
                match error {
                    Error::Link(link) if link.is_silence() => {
                        // Who comes back is asked for its name. What is known of the telegram stays: an old one is no
                        // newer because the network was away.
                        (self.device, self.socket) = (None, None);
                        Err(Failure::Silent(sentence))
                    }
                    Error::Link(http::Error::Tls(_)) => Err(Failure::Bad(format!(
                        "{sentence}; if the device was exchanged, pair it again with `gridkeeper pair homewizard`"
                    ))),
                    _ => Err(Failure::Bad(sentence)),
                }
            }
        }
    }

    fn paces_itself(&self) -> bool {
        self.socket.is_some()
    }

    fn risk(&self) -> Option<&'static str> {
        self.telegram.is_missing().then_some(telegram::MISSING)
    }
}

/// The meters behind it. Each keeps its name, so that a counter never jumps because two of them changed places.
fn behind(book: &mut Book, external: &[External], clock: Clock) -> Vec<(Arc<str>, Arc<MeterValues>)> {
    let same =
        |named: &Named, it: &External| named.kind == it.kind && named.serial.as_deref() == Some(it.id.as_bytes());
    let is_here = |named: &Named| external.iter().any(|it| same(named, it));
    let mut found = Vec::new();
    for it in external {
        let known = book.named().iter().position(|named| same(named, it));
        let here: Vec<bool> = book.named().iter().map(is_here).collect();
        let Some(place) = known.or_else(|| book.add(it.kind, |place| !here[place])) else { continue };
        let suffix = book.seen(place, 0, Some(it.id.as_bytes()));
        let key = if it.unit == "GJ" { "energy_gj" } else { "volume_m3" };
        let value = Value::Number { value: it.value, unit: it.unit, decimals: 3 };
        let values = MeterValues {
            received_at: Some(clock.now()),
            wall_ms: None,
            values: [(Arc::from(key), value)].into_iter().collect(),
            identity: Identity { serial: Some(it.id.clone()).filter(|id| !id.is_empty()), ..Identity::default() },
        };
        found.push((suffix, Arc::new(values)));
    }
    found
}

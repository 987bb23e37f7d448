//! A meter whose values other software publishes. It is as good as the broker and the sender are, and says so.
//!
//! A reading is told when every topic that carries power or current has brought a message since the last one: with the
//! values of the newest message of each topic, at the time of the oldest of them. A topic that falls silent therefore
//! stops the readings, and the controller finds the meter late and lost as it does with a cut wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::polled::Destination;
use super::sample;
use super::trouble::Trouble;
use crate::clock;
use crate::codec::json::Malformed;
use crate::codec::mqtt_value::{self, Stamp};
use crate::codec::sample::{Quantity, Sample};
use crate::config::model::MqttMeter;
use crate::device::{DeviceRef, ToControl};
use crate::mqtt::Feeds;
use crate::mqtt::feed::FeedMessage;
use crate::quantity::Mono;
use crate::status::Identity;

#[cfg(test)]
mod tests;

/// Listens until `cancel`.
pub(super) async fn run(meter: MqttMeter, to: Destination, feeds: &Feeds, cancel: CancellationToken) {
    let mut inbox = feeds.listen(topics(&meter));
    let mut task = Task::new(meter, to);
    task.mark();
    let work = async {
        loop {
            // The control thread hears of every change within a second.
            if let Ok(message) = timeout(Duration::from_secs(1), inbox.recv()).await {
                task.take(&message, clock::wall_ms());
            }
            task.tell_health();
        }
    };
    // Between a message and its way to the control thread there is no await that this could cut.
    let _ = cancel.run_until_cancelled(work).await;
}

/// Each topic once.
fn topics(meter: &MqttMeter) -> Vec<&str> {
    let mut topics: Vec<&str> = meter.sources.iter().map(|it| it.place.topic.as_str()).collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// What the newest message of a topic said.
#[derive(Clone, Debug)]
struct Heard {
    values: Vec<(Quantity, f64)>,
    stamp: Option<i64>,
    at: Mono,
    /// Not told yet.
    fresh: bool,
}

struct Task {
    meter: MqttMeter,
    to: Destination,
    zone: TimeZone,
    trouble: Trouble,
    heard: BTreeMap<Arc<str>, Heard>,
    /// Topics without whose message there is no reading.
    needed: Vec<String>,
    good_at: Instant,
    noted: Vec<String>,
}

impl Task {
    fn new(meter: MqttMeter, to: Destination) -> Self {
        let fast = |quantity: Quantity| matches!(quantity.unit(), "W" | "A");
        let of = |needed: &dyn Fn(Quantity) -> bool| -> Vec<String> {
            let sources = meter.sources.iter().filter(|it| needed(it.quantity));
            let mut topics: Vec<String> = sources.map(|it| it.place.topic.clone()).collect();
            topics.sort_unstable();
            topics.dedup();
            topics
        };
        let needed = match of(&fast) {
            topics if topics.is_empty() => of(&|_| true),
            topics => topics,
        };
        Self {
            // Checked with the configuration.
            zone: TimeZone::get(&meter.time_zone).unwrap_or(TimeZone::UTC),
            trouble: Trouble::new(&to.common.id),
            heard: BTreeMap::new(),
            needed,
            good_at: Instant::now(),
            noted: Vec::new(),
            meter,
            to,
        }
    }

    /// It stands on the page for as long as the meter is configured.
    fn mark(&self) {
        let risk = format!("the meter `{}` depends on the broker: without it, it is lost", self.to.common.id);
        self.to.control.tell(ToControl::Risk(DeviceRef::Meter(self.to.index), Some(risk)));
    }

    fn take(&mut self, message: &FeedMessage, wall_ms: i64) {
        let heard = match self.read(message, wall_ms) {
            Ok(Some(heard)) => heard,
            Ok(None) => return,
            Err(problem) => return self.trouble.bad(&format!("topic `{}`: {problem}", message.topic)),
        };
        self.heard.insert(Arc::clone(&message.topic), heard);
        let complete = self.needed.iter().all(|it| self.heard.get(it.as_str()).is_some_and(|it| it.fresh));
        if complete {
            self.tell(message.at);
        }
    }

    /// What a message says; `None` for one that is not used.
    fn read(&mut self, message: &FeedMessage, wall_ms: i64) -> Result<Option<Heard>, Malformed> {
        let json = mqtt_value::message(&message.payload)?;
        let stamp = match &self.meter.time {
            Some(place) if *place.topic == *message.topic => match mqtt_value::stamp(&json, &place.pointer)? {
                None => None,
                Some(stamp) => Some(self.unix(stamp, &place.pointer, wall_ms)?),
            },
            _ => None,
        };
        let age_s = stamp.map(|it| (wall_ms / 1000).saturating_sub(it));
        let longest_s = self.meter.max_age.0 / 1000;
        if message.retained {
            // A clock of the sender that goes ahead says nothing about the age.
            let young = age_s.is_some_and(|it| (0..=longest_s).contains(&it));
            if !young {
                let topic = &message.topic;
                self.note(format!("a replayed message on `{topic}` is not used: nobody knows how old its values are"));
                return Ok(None);
            }
        } else if let Some(age_s) = age_s.filter(|it| *it > longest_s)
            && let Some(place) = &self.meter.time
        {
            // A bridge, and a broker that replays to a subscription it knows already, do not mark what they hand on.
            let why = format!(
                "says that its values are {age_s} s old, allowed: {longest_s}; \
                 they are not used. Is the clock of the sender, or ours, wrong?"
            );
            return Err(Malformed::new(&place.pointer, why));
        }
        let mut values = Vec::new();
        for source in self.meter.sources.iter().filter(|it| *it.place.topic == *message.topic) {
            if let Some(number) = mqtt_value::number(&json, &source.place.pointer)? {
                values.push((source.quantity, number * source.factor));
            }
        }
        if values.is_empty() {
            return Err(Malformed::new("", "holds none of the configured values"));
        }
        Ok(Some(Heard { values, stamp, at: message.at, fresh: true }))
    }

    /// A local time that comes twice, in the night in autumn, is the one that is nearer to now.
    fn unix(&self, stamp: Stamp, pointer: &str, wall_ms: i64) -> Result<i64, Malformed> {
        let text = match stamp {
            Stamp::Unix(seconds) => return Ok(seconds),
            Stamp::Text(text) => text,
        };
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(at.as_second());
        }
        let local = text.parse::<DateTime>().ok().and_then(|it| {
            let times = self.zone.to_ambiguous_timestamp(it);
            [times.earlier(), times.later()]
                .into_iter()
                .flatten()
                .map(jiff::Timestamp::as_second)
                .min_by_key(|it| it.abs_diff(wall_ms / 1000))
        });
        local.ok_or_else(|| Malformed::new(pointer, format!("= {text:?} is no time like 2024-06-28T14:12:34")))
    }

    /// `received_at`: when the last message of it came.
    fn tell(&mut self, received_at: Mono) {
        let mut sent = Sample::default();
        self.meter.sources.iter().for_each(|it| sent.expect(it.quantity));
        let mut sampled_at = received_at;
        for (topic, heard) in &mut self.heard {
            heard.fresh = false;
            // Counters and the like stand until a new one comes, however rarely. From a voltage control makes power of currents
            // and currents of power: an old one is none.
            let old = received_at.since(heard.at) > self.meter.max_age;
            for (quantity, value) in heard.values.iter().filter(|it| !old || it.0.unit() != "V") {
                sent.put(*quantity, *value);
            }
            if self.needed.iter().any(|it| **it == **topic) {
                sampled_at = sampled_at.min(heard.at);
                // Of several times the oldest: what is not renewed must not look new.
                sent.stamp = match (sent.stamp, heard.stamp) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        sent.complete();
        let notes = std::mem::take(&mut sent.notes);
        let sample = sample::mapped(sent, &self.to.mapping);
        let mut reading = sample::reading(&sample, received_at);
        if reading.stamp.is_none() {
            reading.sampled_at = Some(sampled_at);
        }
        let values = sample::values(&sample, received_at, Identity::default());
        let heard = self.to.control.tell_reading(ToControl::Meter {
            meter: self.to.index,
            reading,
            values: Arc::new(values),
            sub_meters: Arc::default(),
        });
        self.good_at = Instant::now();
        self.trouble.good();
        if !heard {
            self.trouble.say("a reading was dropped because the control loop does not take it");
        }
        for note in notes {
            self.note(note);
        }
    }

    /// Said once, not with every message.
    fn note(&mut self, note: String) {
        const MOST: usize = 16;
        if !self.noted.contains(&note) && self.noted.len() < MOST {
            self.trouble.say(&note);
            self.noted.push(note);
        }
    }

    fn tell_health(&mut self) {
        if self.good_at.elapsed() >= self.meter.max_age.to_std() {
            self.trouble.health.online = false;
        }
        if let Some(health) = self.trouble.due() {
            self.to.control.tell(ToControl::Health(DeviceRef::Meter(self.to.index), health));
        }
    }
}

//! What was last written of each device, and whether it is time to write again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::discovery::meter::{self, Medium, QUALITY};
use super::discovery::{Component, Moment};
use super::json::{Object, Out};
use super::outbox::{Outbox, Rank};
use super::topics::{Place, Topics};
use crate::clock;
use crate::control::Quality;
use crate::quantity::{Mono, Span};
use crate::status::{Identity, MeterValues, Value};

/// A device that says nothing new is written this often all the same, so that its age is seen to grow.
const RENEWAL: Span = Span::from_secs(60);
/// A telegram may lack a gas or water meter now and then.
const MISSING: Span = Span::from_secs(60);
/// A gas or water meter says something new every hour, some once a day; the P1 port repeats the last for ever.
const OLDEST_READING_MS: i64 = 26 * 3600 * 1000;
/// Keys of one meter beyond those of the contract; more than any telegram has objects.
const MAX_EXTRA: usize = 128;

/// What was last written of a place.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) place: Option<Place>,
    pub(super) state_topic: String,
    pub(super) availability_topic: String,
    /// Of everything that is told at once.
    pub(super) fingerprint: u64,
    /// Which reading.
    pub(super) reading: Option<i64>,
    pub(super) written_at: Option<Mono>,
    pub(super) online: Option<bool>,
    /// From then on it is written again although nothing changed.
    pub(super) forced: Option<Mono>,
    /// Keys that had a value once, where that tells which there are.
    pub(super) seen: BTreeSet<&'static str>,
    pub(super) identity: Identity,
    pub(super) announced: bool,
}

impl Track {
    pub(super) fn new(place: Place, topics: &Topics) -> Self {
        Self {
            state_topic: topics.state(&place),
            availability_topic: topics.availability(&place),
            place: Some(place),
            ..Self::default()
        }
    }

    /// Whether it is time to write, given what is told at once and which reading it is.
    pub(super) fn due(&self, fingerprint: u64, reading: Option<i64>, now: Mono, tick: bool) -> bool {
        let Some(written_at) = self.written_at else { return true };
        self.forced.is_some_and(|from| now >= from)
            || self.fingerprint != fingerprint
            // The age of one that is gone grows as fast as its readings came.
            || (tick && (self.reading != reading || self.online == Some(false) || now.since(written_at) >= RENEWAL))
    }

    pub(super) fn written(
        &mut self,
        payload: String,
        fingerprint: u64,
        reading: Option<i64>,
        now: Mono,
        outbox: &mut Outbox,
    ) {
        outbox.set(Rank::State, &self.state_topic, payload);
        if self.forced.is_some() {
            outbox.again(&self.state_topic);
        }
        (self.fingerprint, self.reading, self.written_at, self.forced) = (fingerprint, reading, Some(now), None);
    }

    pub(super) fn availability(&mut self, online: bool, outbox: &mut Outbox) {
        if self.online != Some(online) {
            self.online = Some(online);
            let word = if online { "online" } else { "offline" };
            outbox.set(Rank::State, &self.availability_topic, word.to_owned());
        }
    }
}

/// What is known of a meter.
#[derive(Debug)]
pub(super) struct MeterTrack {
    pub(super) track: Track,
    pub(super) medium: Medium,
    pub(super) name: String,
    pub(super) area: Option<String>,
    /// Keys beyond the contract's, in the order of the state: once seen they stay.
    pub(super) extra: Vec<Arc<str>>,
    /// Keys that had a value once, with their entities.
    pub(super) entities: BTreeMap<Arc<str>, Component>,
    /// The frame that was looked at last.
    pub(super) values: Option<Arc<MeterValues>>,
    /// Frames looked at.
    pub(super) frames: i64,
    /// Of its words: they are told at once.
    pub(super) words: u64,
    /// When the first frame arrived.
    pub(super) first_frame: Option<Mono>,
    /// When a picture last had it.
    pub(super) seen_at: Mono,
}

impl MeterTrack {
    pub(super) fn new(track: Track, name: String, area: Option<String>, medium: Medium) -> Self {
        Self {
            track,
            medium,
            name,
            area,
            extra: Vec::new(),
            entities: BTreeMap::new(),
            values: None,
            frames: 0,
            words: 0,
            first_frame: None,
            seen_at: Mono(0),
        }
    }

    /// The picture does not have it any more: a gas or water meter that its P1 port has ceased to name.
    pub(super) fn miss(&mut self, at: &Moment<'_>, tick: bool, outbox: &mut Outbox) {
        if at.now.since(self.seen_at) >= MISSING {
            self.write(Quality::Lost, false, at, tick, outbox);
        }
    }

    /// Writes what the newest frame says when it is due.
    pub(super) fn write(&mut self, quality: Quality, online: bool, at: &Moment<'_>, tick: bool, outbox: &mut Outbox) {
        let Some(values) = self.values.clone() else { return };
        let read_at = values.wall_ms.filter(|_| self.has_reading_times());
        // Without a clock nobody knows, and what is old says so itself once the clock is set.
        let age_ms =
            read_at.filter(|_| clock::is_set(at.clocks.wall_ms)).map(|it| (at.clocks.wall(at.now) - it).max(0));
        let quality = if age_ms.is_some_and(|it| it >= OLDEST_READING_MS) { Quality::Lost } else { quality };
        let online = online && quality != Quality::Lost;
        if self.track.identity != values.identity {
            self.track.identity = values.identity.clone();
            self.track.announced = false;
        }
        let mut fingerprint = DefaultHasher::new();
        (quality, self.words).hash(&mut fingerprint);
        let fingerprint = fingerprint.finish();
        // Each telegram repeats what a gas meter said an hour ago: only its time tells a new reading.
        let reading = read_at.or(Some(self.frames));
        if self.track.due(fingerprint, reading, at.now, tick) {
            let mut object = Object::new();
            for key in self.keys() {
                let value = if key == QUALITY { Out::Word(quality.word()) } else { meter::value(&values, key) };
                object.put(key, &value);
            }
            let wall = values.wall_ms.or(values.received_at.map(|it| at.clocks.wall(it)));
            let age = match read_at {
                Some(_) => Out::or_null(age_ms, Out::Milli),
                None => at.age(values.received_at),
            };
            object.put("time", &Out::or_null(wall, |it| at.stamp(it))).put("age_s", &age);
            self.track.written(object.finish(), fingerprint, reading, at.now, outbox);
        }
        // Behind the state, so that nobody sees an old value as soon as it is available.
        self.track.availability(online, outbox);
    }

    /// Its time is that of a reading an hour ago, not that of the telegram.
    fn has_reading_times(&self) -> bool {
        match self.medium {
            Medium::Electricity | Medium::Solar | Medium::Battery => false,
            Medium::Gas | Medium::Water | Medium::Other => true,
        }
    }

    /// Looks at a frame; `false` when it was looked at before.
    pub(super) fn learn(&mut self, values: &Arc<MeterValues>) -> bool {
        if self.values.as_ref().is_some_and(|it| Arc::ptr_eq(it, values)) {
            return false;
        }
        self.values = Some(Arc::clone(values));
        self.frames += 1;
        self.first_frame = self.first_frame.or(values.received_at);
        let mut words = DefaultHasher::new();
        for (key, value) in &values.values {
            if let (true, Value::Text(text)) = (meter::is_told_at_once(key), value) {
                (key, text).hash(&mut words);
            }
            if !self.entities.contains_key(key) && self.admits(key) {
                self.entities.insert(Arc::clone(key), meter::entity(key, Some(value), self.medium));
                self.track.announced = false;
            }
        }
        self.words = words.finish();
        true
    }

    /// A key of the contract, or one more that there is room for. Keys become parts of templates and ids.
    pub(super) fn admits(&mut self, key: &Arc<str>) -> bool {
        if self.medium.keys().any(|it| *it == **key) || self.extra.contains(key) {
            return true;
        }
        let plain = !key.is_empty()
            && key.len() <= 64
            && key.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
        let room = self.extra.len() < MAX_EXTRA && !RESERVED.contains(&&**key);
        if plain && room {
            self.extra.push(Arc::clone(key));
        }
        plain && room
    }

    /// The keys of its state, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.medium.keys().map(|key| -> &str { key }).chain(self.extra.iter().map(|it| &**it))
    }
}

/// Keys that every state has and no telegram can give.
const RESERVED: [&str; 3] = [QUALITY, "time", "age_s"];

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::mqtt::stamp::Clocks;

    const WALL: i64 = clock::EARLIEST_WALL_MS + 1_000_000_000;
    const NOTHING: [Json; 3] = [Json::Null, Json::Null, Json::Null];

    /// What was retained last on each topic after `look`.
    fn said(outbox: &mut Outbox) -> BTreeMap<String, String> {
        let mut said = BTreeMap::new();
        outbox.drain(|it| {
            said.insert(it.topic.clone(), it.payload.clone());
            true
        });
        said
    }

    struct Gas {
        track: MeterTrack,
        outbox: Outbox,
        zone: TimeZone,
    }

    impl Gas {
        /// Read ten minutes before the first moment.
        fn new() -> Self {
            let topics = Topics::new("g", "", "");
            let mut track =
                MeterTrack::new(Track::new(Place::meter("main-gas"), &topics), String::new(), None, Medium::Gas);
            let values = [("volume_m3".into(), Value::Number { value: 5.5, unit: "m³", decimals: 3 })].into();
            let read_at = Some(WALL - 600_000);
            track.learn(&Arc::new(MeterValues {
                received_at: Some(Mono(0)),
                wall_ms: read_at,
                values,
                ..Default::default()
            }));
            Self { track, outbox: Outbox::new(1), zone: TimeZone::UTC }
        }

        fn after(
            &mut self,
            s: i64,
            wall: bool,
            act: impl FnOnce(&mut MeterTrack, &Moment<'_>, &mut Outbox),
        ) -> [Json; 3] {
            let now = Mono(s * 1000);
            let clocks = Clocks { at: now, wall_ms: if wall { WALL + now.0 } else { now.0 } };
            act(&mut self.track, &Moment { now, clocks, steady: clocks, zone: &self.zone }, &mut self.outbox);
            let said = said(&mut self.outbox);
            let state: Json =
                said.get("g/meter/main-gas/state").map_or(Json::Null, |it| serde_json::from_str(it).unwrap());
            let availability = said.get("g/meter/main-gas/availability").map(String::as_str);
            [json!(availability), state["quality"].clone(), state["age_s"].clone()]
        }
    }

    #[test]
    fn a_gas_meter_that_the_telegrams_cease_to_name_is_lost_after_a_minute() {
        let mut gas = Gas::new();
        let seen = gas.after(0, true, |it, at, out| it.write(Quality::Good, true, at, true, out));
        assert_eq!(seen, [json!("online"), json!("good"), json!(600)], "its age is that of its reading");
        assert_eq!(gas.after(59, true, |it, at, out| it.miss(at, true, out)), NOTHING, "a telegram may lack it");
        let lost = gas.after(60, true, |it, at, out| it.miss(at, false, out));
        assert_eq!(lost, [json!("offline"), json!("lost"), json!(660)]);
        let older = gas.after(70, true, |it, at, out| it.miss(at, true, out));
        assert_eq!(older, [Json::Null, json!("lost"), json!(670)], "and its age is seen to grow");
        let back = gas.after(80, true, |it, at, out| it.write(Quality::Good, true, at, false, out));
        assert_eq!(back, [json!("online"), json!("good"), json!(680)]);
    }

    #[test]
    fn a_reading_of_yesterday_is_lost_and_without_a_clock_its_age_is_not_known() {
        let mut gas = Gas::new();
        let old = gas.after(26 * 3600, true, |it, at, out| it.write(Quality::Good, true, at, true, out));
        assert_eq!(old[..2], [json!("offline"), json!("lost")]);
        let unset = Gas::new().after(1, false, |it, at, out| it.write(Quality::Good, true, at, true, out));
        assert_eq!(unset, [json!("online"), json!("good"), Json::Null]);
    }
}

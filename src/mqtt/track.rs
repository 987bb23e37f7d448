//! What was last written of each device, and whether it is time to write again.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::discovery::Component;
use super::discovery::meter::{self, Medium, QUALITY};
use super::outbox::{Outbox, Rank};
use super::topics::{Place, Topics};
use crate::quantity::{Mono, Span};
use crate::status::{Identity, MeterValues, Value};

/// A device that says nothing new is written this often all the same, so that its age is seen to grow.
const RENEWAL: Span = Span::from_secs(60);
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
    /// Write again although nothing changed.
    pub(super) forced: bool,
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
        self.forced
            || self.fingerprint != fingerprint
            || (tick && (self.reading != reading || now.since(written_at) >= RENEWAL))
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
        if self.forced {
            outbox.again(&self.state_topic);
        }
        (self.fingerprint, self.reading, self.written_at, self.forced) = (fingerprint, reading, Some(now), false);
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
    fn admits(&mut self, key: &Arc<str>) -> bool {
        if self.medium.keys().any(|it| *it == **key) {
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

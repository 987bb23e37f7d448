//! When which state is written.
//!
//! Readings go out each interval, everything that a person or a rule changes at once. Each snapshot is only looked at
//! until something in it asks to be written: the whole process may use 0.3 % of a core.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::discovery::meter::{self, Medium, QUALITY};
use super::discovery::{self, Component, Device, Key, Moment, ORIGIN, charger, input, relay, site};
use super::json::{Object, Out};
use super::options::{ChargerInfo, MeterInfo, MqttOptions};
use super::outbox::{Outbox, Rank};
use super::stamp::{Clocks, Steady, rfc3339};
use super::topics::{Kind, Place, Topics};
use super::track::{MeterTrack, Track};
use crate::clock;
use crate::control::{ChargerStatusWord, Quality};
use crate::quantity::{Mono, Span};
use crate::status::{ChargerView, Identity, MeterView, Snapshot};

/// A gas or water meter may come back this long after the meter before it: its radio is slow after a power cut.
const SUB_METER_GRACE: Span = Span::from_secs(3600);
/// Meters behind meters; a P1 port knows four of them.
const MAX_SUB_METERS: usize = 32;

/// What `bridge/info` tells besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) log_level: &'a str,
    /// The instance whose devices are left alone for now.
    pub(crate) predecessor: Option<&'a str>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Publisher {
    options: Arc<MqttOptions>,
    run: String,
    topics: Topics,
    site: Track,
    meters: HashMap<Arc<str>, MeterTrack>,
    /// Keys of the states of meters in an earlier run, until the meter has a track.
    recalled: HashMap<String, Vec<Arc<str>>>,
    chargers: Vec<Track>,
    inputs: Vec<Track>,
    relays: Vec<Track>,
    steady: Steady,
    /// When the process began, by the wall clock as it goes now.
    begun: Steady,
    /// The device messages in force, by topic.
    announced: HashMap<String, serde_json::Value>,
}

impl Publisher {
    /// Announces what is known beforehand: the site and the chargers. Meters follow with their first frame, which
    /// tells what they measure. `run`: random at each start.
    pub(crate) fn new(options: Arc<MqttOptions>, run: String, topics: Topics, outbox: &mut Outbox) -> Self {
        let mut it = Self {
            site: Track::new(Place::Site, &topics),
            chargers: options.chargers.iter().map(|it| Track::new(Place::charger(&it.common.id), &topics)).collect(),
            inputs: options.inputs.iter().map(|it| Track::new(Place::input(&it.common.id), &topics)).collect(),
            relays: options.relays.iter().map(|it| Track::new(Place::relay(&it.common.id), &topics)).collect(),
            meters: HashMap::new(),
            recalled: HashMap::new(),
            steady: Steady::default(),
            begun: Steady::default(),
            announced: HashMap::new(),
            topics,
            run,
            options,
        };
        it.announce_site(outbox);
        for place in 0..it.chargers.len() {
            it.announce_charger(place, outbox);
        }
        for place in 0..it.relays.len() {
            it.announce_relay(place, outbox);
        }
        it
    }

    /// Looks at a snapshot. `tick`: the interval is over, readings are due.
    pub(crate) fn look(&mut self, snapshot: &Snapshot, now: Mono, tick: bool, outbox: &mut Outbox) {
        let hung = (now.since(snapshot.at) > self.options.hung_after).then(|| snapshot.hung());
        let snapshot = hung.as_ref().unwrap_or(snapshot);
        let clocks = Clocks { at: snapshot.at, wall_ms: snapshot.wall_ms };
        let options = Arc::clone(&self.options);
        let moment = Moment { now, clocks, steady: self.steady.of(clocks), zone: &options.site.time_zone };
        self.look_at_site(snapshot, &moment, tick, outbox);
        for view in &snapshot.meters {
            self.look_at_meter(view, &moment, tick, outbox);
        }
        let behind = &snapshot.sub_meters[..snapshot.sub_meters.len().min(MAX_SUB_METERS)];
        for view in behind {
            self.look_at_meter(view, &moment, tick, outbox);
        }
        for (id, it) in &mut self.meters {
            let seen = |views: &[MeterView]| views.iter().any(|view| view.id == *id);
            if !seen(behind) && !seen(&snapshot.meters) {
                it.miss(&moment, tick, outbox);
            }
        }
        for (place, (view, info)) in snapshot.chargers.iter().zip(&options.chargers).enumerate() {
            self.look_at_charger(place, view, info, &moment, tick, outbox);
        }
        for (track, view) in self.inputs.iter_mut().zip(&snapshot.inputs) {
            let known = view.status.active.is_some();
            look_at_signal(track, &input::KEYS, view, (known, view.status.heard_at), &moment, tick, outbox);
        }
        for (track, view) in self.relays.iter_mut().zip(&snapshot.relays) {
            let answers = view.status.available;
            look_at_signal(track, &relay::KEYS, view, (answers, view.status.heard_at), &moment, tick, outbox);
        }
    }

    /// The state of `place` goes out with the first look from `at` on, whatever it is.
    pub(crate) fn force(&mut self, place: &Place, at: Mono) {
        let at = Some(at);
        match place {
            Place::Site => self.site.forced = at,
            Place::Device(..) => {
                let signals = self.inputs.iter_mut().chain(&mut self.relays);
                let tracks = self.chargers.iter_mut().chain(self.meters.values_mut().map(|it| &mut it.track));
                let tracks = tracks.chain(signals);
                for track in tracks.filter(|it| it.place.as_ref() == Some(place)) {
                    track.forced = at;
                }
            }
        }
    }

    /// The device stands in the configuration, was seen behind a meter that does, or may still appear there.
    pub(crate) fn may_exist(&self, place: &Place, now: Mono) -> bool {
        let Place::Device(kind, id) = place else { return true };
        match kind {
            Kind::Charger => self.options.chargers.iter().any(|it| it.common.id == *id),
            Kind::Meter if self.options.meters.iter().any(|it| it.common.id == *id) => true,
            Kind::Meter if self.meters.contains_key(id.as_str()) => true,
            Kind::Meter => self.parent_of(id).is_some_and(|(parent, _)| {
                let first_frame = self.meters.get(parent.common.id.as_str()).and_then(|it| it.first_frame);
                first_frame.is_none_or(|it| now.since(it) < SUB_METER_GRACE)
            }),
            Kind::Relay => self.options.relays.iter().any(|it| it.common.id == *id),
            Kind::Input => self.options.inputs.iter().any(|it| it.common.id == *id),
        }
    }

    /// A key of a meter, or of a charger that one measures, that was not seen yet in this run and may still come.
    pub(crate) fn may_come(&self, place: &Place, key: &str) -> bool {
        match place {
            Place::Device(Kind::Meter, id) => meter::is_known(key, self.medium_of(id)),
            Place::Device(Kind::Charger, id) => {
                let Some(info) = self.options.chargers.iter().find(|it| it.common.id == *id) else { return false };
                let entities = discovery::entities(&charger::KEYS, info).into_iter().chain(charger::more(info));
                entities.into_iter().any(|(name, it)| name == key && it.needs().is_some())
            }
            _ => false,
        }
    }

    /// It stands in the configuration or was seen in this run.
    pub(crate) fn is_present(&self, place: &Place) -> bool {
        let Place::Device(kind, id) = place else { return true };
        match kind {
            Kind::Meter => {
                self.meters.contains_key(id.as_str()) || self.options.meters.iter().any(|it| it.common.id == *id)
            }
            Kind::Charger => self.options.chargers.iter().any(|it| it.common.id == *id),
            Kind::Relay => self.options.relays.iter().any(|it| it.common.id == *id),
            Kind::Input => self.options.inputs.iter().any(|it| it.common.id == *id),
        }
    }

    /// The state of a device of which nothing is known in this run, with whatever keys it had besides the usual ones.
    pub(crate) fn unknown_state<'a>(&self, place: &Place, more: impl Iterator<Item = &'a str>) -> String {
        let more: Vec<&str> = more.collect();
        let usual: Vec<&str> = match place {
            Place::Device(Kind::Meter, id) => {
                let known = Some(self.medium_of(id)).filter(|it| *it != Medium::Other);
                known.unwrap_or_else(|| Medium::of_keys(&more)).keys().collect()
            }
            Place::Device(Kind::Charger, _) => charger::KEYS.iter().map(|it| it.name).collect(),
            Place::Device(Kind::Relay, _) => relay::KEYS.iter().map(|it| it.name).collect(),
            Place::Device(Kind::Input, _) => input::KEYS.iter().map(|it| it.name).collect(),
            Place::Site => site::KEYS.iter().map(|it| it.name).collect(),
        };
        let keys: BTreeSet<&str> = usual.into_iter().chain(more).chain(["time", "age_s"]).collect();
        let mut object = Object::new();
        for key in keys {
            let value = match (place, key) {
                (Place::Device(Kind::Meter, _), QUALITY) => Out::Word(Quality::Lost.word()),
                (Place::Device(Kind::Charger, _), "status") => Out::Word(ChargerStatusWord::Offline.word()),
                _ => Out::Null,
            };
            object.put(key, &value);
        }
        object.finish()
    }

    /// What an earlier run announced of a meter: entities that a person has enabled read these keys from the first state on.
    pub(crate) fn recall<'a>(&mut self, place: &Place, keys: impl Iterator<Item = &'a str>) {
        if let Place::Device(Kind::Meter, id) = place
            && !self.meters.contains_key(id.as_str())
        {
            self.recalled.insert(id.clone(), keys.map(Arc::from).collect());
        }
    }

    /// Where the subject of an event stands.
    pub(crate) fn place_of(&self, subject: &str) -> Option<Place> {
        let charger = self.options.chargers.iter().find(|it| it.common.id == subject);
        let meter =
            || self.options.meters.iter().any(|it| it.common.id == subject) || self.meters.contains_key(subject);
        match charger {
            Some(_) => Some(Place::charger(subject)),
            None if meter() => Some(Place::meter(subject)),
            None if self.options.relays.iter().any(|it| it.common.id == subject) => Some(Place::relay(subject)),
            None if self.options.inputs.iter().any(|it| it.common.id == subject) => Some(Place::input(subject)),
            None if subject == "site" => Some(Place::Site),
            None => None,
        }
    }

    /// The device message in force on `topic`.
    pub(crate) fn announced(&self, topic: &str) -> Option<&serde_json::Value> {
        self.announced.get(topic)
    }

    /// `bridge/info`: who we are. Renewed every interval, which is how other instances see that we live.
    pub(crate) fn info(
        &mut self,
        snapshot: Option<&Snapshot>,
        wall_ms: i64,
        now: Mono,
        told: Told<'_>,
        outbox: &mut Outbox,
    ) {
        let zone = &self.options.site.time_zone;
        // The monotonic clock counts from the start of the process; the wall clock may have been set since.
        let begun = self.begun.of(Clocks { at: now, wall_ms }).wall(Mono(0));
        let stamp = |at| Out::or_null(rfc3339(at, zone).filter(|_| clock::is_set(wall_ms)), Out::Text);
        let lines = |lines: &[String]| Out::text(lines.join("\n"));
        let mut object = Object::new();
        object
            .put("version", &Out::Text(self.options.version.to_owned()))
            .put("instance", &Out::Text(self.options.instance.clone()))
            .put("run", &Out::text(self.run.as_str()))
            .put("started", &stamp(begun))
            .put("uptime_s", &Out::Int(now.0 / 1000))
            .put("interval_s", &Out::Milli(self.options.config.interval.0))
            .put("predecessor", &Out::or_null(told.predecessor, Out::text))
            .put("log_level", &Out::text(told.log_level))
            .put("config_errors", &lines(&self.options.config_errors))
            .put("config_warnings", &lines(&self.options.config_warnings))
            .put("risks", &Out::or_null(snapshot, |it| lines(&it.risks)))
            .put("time", &stamp(wall_ms));
        outbox.set(Rank::State, &self.topics.info(), object.finish());
    }

    fn look_at_site(&mut self, snapshot: &Snapshot, at: &Moment<'_>, tick: bool, outbox: &mut Outbox) {
        let fingerprint = fingerprint(&site::KEYS, snapshot, at);
        // Each snapshot is a reading of the site.
        let reading = Some(snapshot.at.0);
        if !self.site.due(fingerprint, reading, at.now, tick) {
            return;
        }
        let mut object = Object::new();
        for key in &site::KEYS {
            object.put(key.name, &(key.value)(snapshot, at));
        }
        object.put("time", &at.stamp(snapshot.wall_ms));
        self.site.written(object.finish(), fingerprint, reading, at.now, outbox);
    }

    fn look_at_charger(
        &mut self,
        place: usize,
        view: &ChargerView,
        info: &ChargerInfo,
        at: &Moment<'_>,
        tick: bool,
        outbox: &mut Outbox,
    ) {
        let track = &mut self.chargers[place];
        track.availability(view.status.word != ChargerStatusWord::Offline && view.status.heard_at.is_some(), outbox);
        if track.identity != *view.identity {
            track.identity = Identity::clone(&view.identity);
            track.announced = false;
        }
        let fingerprint = fingerprint(&charger::KEYS, view, at);
        let heard = view.status.heard_at;
        let reading = heard.map(|it| it.0);
        if track.due(fingerprint, reading, at.now, tick) {
            let mut object = Object::new();
            for key in &charger::KEYS {
                let value = (key.value)(view, at);
                if value != Out::Null && info.meter.is_some() && track.seen.insert(key.name) {
                    track.announced = false;
                }
                object.put(key.name, &value);
            }
            object.put("time", &Out::or_null(heard, |it| at.stamp(at.clocks.wall(it)))).put("age_s", &at.age(heard));
            track.written(object.finish(), fingerprint, reading, at.now, outbox);
        }
        if !track.announced {
            debug_assert_eq!(info.common.id.as_str(), &*view.id);
            self.announce_charger(place, outbox);
        }
    }

    fn look_at_meter(&mut self, view: &MeterView, at: &Moment<'_>, tick: bool, outbox: &mut Outbox) {
        if !self.meters.contains_key(&view.id) {
            let Some(mut track) = self.meter_track(&view.id) else { return };
            for key in self.recalled.remove(&*view.id).into_iter().flatten() {
                track.admits(&key);
            }
            self.meters.insert(Arc::clone(&view.id), track);
        }
        let Some(it) = self.meters.get_mut(&view.id) else { return };
        it.seen_at = at.now;
        let fresh = it.learn(&view.values);
        // With an interval of a second each telegram goes out as it comes.
        let tick = tick || (fresh && self.options.config.interval <= Span::from_secs(1));
        it.write(meter::quality(view), view.health.online, at, tick, outbox);
        if !it.track.announced && it.first_frame.is_some() {
            self.announce_meter(&view.id, outbox);
        }
    }

    /// A meter that appears for the first time; `None` for one that belongs to nobody.
    fn meter_track(&self, id: &str) -> Option<MeterTrack> {
        let track = Track::new(Place::meter(id), &self.topics);
        if let Some(info) = self.options.meters.iter().find(|it| it.common.id == id) {
            let medium = Medium::of_role(info.role);
            return Some(MeterTrack::new(track, info.common.name.clone(), info.common.area.clone(), medium));
        }
        let (parent, suffix) = self.parent_of(id)?;
        let name = format!("{} {}", parent.common.name, suffix.replace('-', " "));
        Some(MeterTrack::new(track, name, parent.common.area.clone(), Medium::of_suffix(suffix)))
    }

    fn medium_of(&self, id: &str) -> Medium {
        match self.options.meters.iter().find(|it| it.common.id == id) {
            Some(info) => Medium::of_role(info.role),
            None => self.parent_of(id).map_or(Medium::Other, |(_, suffix)| Medium::of_suffix(suffix)),
        }
    }

    /// The configured meter that `id` is behind, and what follows its id.
    fn parent_of<'a>(&self, id: &'a str) -> Option<(&MeterInfo, &'a str)> {
        self.options
            .meters
            .iter()
            .filter_map(|it| Some((it, id.strip_prefix(it.common.id.as_str())?.strip_prefix('-')?)))
            .max_by_key(|(it, _)| it.common.id.len())
    }
}

/// Writes the state of an input or a relay when it is due. `standing`: whether it is available, and when it was heard.
fn look_at_signal<C, I>(
    track: &mut Track,
    keys: &[Key<C, I>],
    view: &C,
    standing: (bool, Option<Mono>),
    at: &Moment<'_>,
    tick: bool,
    outbox: &mut Outbox,
) {
    let (available, heard) = standing;
    track.availability(available, outbox);
    let fingerprint = fingerprint(keys, view, at);
    let reading = heard.map(|it| it.0);
    if !track.due(fingerprint, reading, at.now, tick) {
        return;
    }
    let mut object = Object::new();
    for key in keys {
        object.put(key.name, &(key.value)(view, at));
    }
    object.put("time", &Out::or_null(heard, |it| at.stamp(at.clocks.wall(it)))).put("age_s", &at.age(heard));
    track.written(object.finish(), fingerprint, reading, at.now, outbox);
}

fn fingerprint<C, I>(keys: &[Key<C, I>], from: &C, at: &Moment<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for news in keys.iter().filter_map(|key| key.at_once) {
        news(from, at).hash(&mut hasher);
    }
    hasher.finish()
}

/// Announcements to Home Assistant.
impl Publisher {
    fn announce_site(&mut self, outbox: &mut Outbox) {
        let options = Arc::clone(&self.options);
        let device = Device {
            place: Place::Site,
            name: options.site.name.clone(),
            area: None,
            identity: Identity {
                manufacturer: Some(ORIGIN.to_owned()),
                firmware: Some(options.version.to_owned()),
                ..Identity::default()
            },
        };
        let mut entities = discovery::entities(&site::KEYS, &options.site);
        // The state has their number; their texts are told beside it.
        for (_, risks) in entities.iter_mut().filter(|it| it.0 == "risks") {
            *risks = site::with_texts(risks.clone(), &self.topics);
        }
        entities.extend(site::more(&options.site));
        entities.extend(site::bridge(&options, &self.topics));
        entities.extend(input::on_site(&options.inputs, &self.topics));
        self.announce(&device, entities, outbox);
    }

    fn announce_charger(&mut self, place: usize, outbox: &mut Outbox) {
        let options = Arc::clone(&self.options);
        let info = &options.chargers[place];
        let device = Device {
            place: Place::charger(&info.common.id),
            name: info.common.name.clone(),
            area: info.common.area.as_deref(),
            identity: self.chargers[place].identity.clone(),
        };
        let mut entities = discovery::entities(&charger::KEYS, info);
        entities.extend(charger::more(info));
        let seen = &self.chargers[place].seen;
        entities.retain(|(_, it)| it.needs().is_none_or(|key| seen.contains(key)));
        self.announce(&device, entities, outbox);
        self.chargers[place].announced = true;
    }

    fn announce_relay(&mut self, place: usize, outbox: &mut Outbox) {
        let options = Arc::clone(&self.options);
        let info = &options.relays[place];
        let device = Device {
            place: Place::relay(&info.common.id),
            name: info.common.name.clone(),
            area: info.common.area.as_deref(),
            identity: Identity::default(),
        };
        self.announce(&device, discovery::entities(&relay::KEYS, info), outbox);
    }

    fn announce_meter(&mut self, id: &str, outbox: &mut Outbox) {
        let Some(it) = self.meters.get_mut(id) else { return };
        it.track.announced = true;
        let mut entities: Vec<_> = it.entities.iter().map(|(key, entity)| (key.to_string(), entity.clone())).collect();
        entities.push((QUALITY.to_owned(), meter::entity(QUALITY, None, it.medium)));
        let (name, area, identity) = (it.name.clone(), it.area.clone(), it.track.identity.clone());
        let device = Device { place: Place::meter(id), name, area: area.as_deref(), identity };
        self.announce(&device, entities, outbox);
    }

    fn announce(&mut self, device: &Device<'_>, entities: Vec<(String, Component)>, outbox: &mut Outbox) {
        if !self.topics.discovery_on() {
            return;
        }
        let topic = self.topics.discovery(&device.place);
        let message = discovery::message(device, entities, &self.options, &self.topics);
        outbox.set(Rank::Discovery, &topic, message.to_string());
        self.announced.insert(topic, message);
    }
}

//! What each kind of device can tell and do, declared once: the keys of its state topic and the entities of Home
//! Assistant both come from the tables in `site`, `meter`, `charger`, `relay` and `input`.

pub(crate) mod charger;
pub(crate) mod component;
pub(crate) mod input;
pub(crate) mod meter;
pub(crate) mod relay;
pub(crate) mod site;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

pub(crate) use component::Component;

use super::json::Out;
use super::options::MqttOptions;
use super::stamp::{Clocks, rfc3339};
use super::topics::{Place, Topics};
use crate::clock;
use crate::event::EventType;
use crate::feature::{Purpose, setting_is_for};
use crate::quantity::Mono;
use crate::status::Identity;

/// One key of a state topic. `C`: what its value is read from; `I`: what is known of the device beforehand.
pub(crate) struct Key<C: 'static, I: 'static> {
    /// As in the contract.
    pub(crate) name: &'static str,
    /// Of a mode, setting, state, reason or fault: a change of this is published at once, not with the next reading.
    pub(crate) at_once: Option<fn(&C, &Moment<'_>) -> Out>,
    /// The value now.
    pub(crate) value: fn(&C, &Moment<'_>) -> Out,
    /// The entity; `None` where this device has none.
    pub(crate) entity: fn(&I) -> Option<Component>,
}

impl<C, I> Key<C, I> {
    /// A measurement, published with each reading.
    const fn measured(
        name: &'static str,
        value: fn(&C, &Moment<'_>) -> Out,
        entity: fn(&I) -> Option<Component>,
    ) -> Self {
        Self { name, at_once: None, value, entity }
    }

    /// Anything that a person or a rule changes, published at once.
    const fn told(name: &'static str, value: fn(&C, &Moment<'_>) -> Out, entity: fn(&I) -> Option<Component>) -> Self {
        Self { name, at_once: Some(value), value, entity }
    }

    /// A sentence of which only `news` is told at once: a count-down in it goes on with the readings.
    const fn sentence(
        name: &'static str,
        value: fn(&C, &Moment<'_>) -> Out,
        news: fn(&C, &Moment<'_>) -> Out,
        entity: fn(&I) -> Option<Component>,
    ) -> Self {
        Self { name, at_once: Some(news), value, entity }
    }

    /// A setting of a later version, or a command that leaves no state: the key is there, always null.
    const fn null(name: &'static str, entity: fn(&I) -> Option<Component>) -> Self {
        Self { name, at_once: None, value: |_, _| Out::Null, entity }
    }
}

/// The entities of a table for one device. What this version refuses is not offered.
pub(crate) fn entities<C, I>(keys: &[Key<C, I>], info: &I) -> Vec<(String, Component)> {
    let there = keys.iter().filter(|it| setting_is_for(it.name, Purpose::Run));
    there.filter_map(|key| Some((key.name.to_owned(), (key.entity)(info)?))).collect()
}

/// The moment at which a state is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    /// Monotonic.
    pub(crate) now: Mono,
    /// Both clocks at the snapshot.
    pub(crate) clocks: Clocks,
    /// The same, but held while the two clocks agree: the begin of a session must not jump by a millisecond.
    pub(crate) steady: Clocks,
    /// Of the site.
    pub(crate) zone: &'a TimeZone,
}

impl Moment<'_> {
    /// RFC 3339; null while the clock of this machine is not set.
    pub(crate) fn stamp(&self, wall_ms: i64) -> Out {
        let text = rfc3339(wall_ms, self.zone).filter(|_| clock::is_set(self.clocks.wall_ms));
        Out::or_null(text, Out::Text)
    }

    /// Age in s.
    pub(crate) fn age(&self, heard: Option<Mono>) -> Out {
        Out::or_null(heard, |it| Out::Milli(self.now.since(it).0))
    }
}

/// What a device message says of the device itself.
pub(crate) struct Device<'a> {
    /// Which.
    pub(crate) place: Place,
    /// Shown name.
    pub(crate) name: String,
    /// Suggested area.
    pub(crate) area: Option<&'a str>,
    /// What it says of itself.
    pub(crate) identity: Identity,
}

/// Name under which we are known to Home Assistant, and by which our own messages are recognised.
pub(crate) const ORIGIN: &str = "Gridkeeper";

/// The component that has no key in the state.
pub(crate) const EVENT: &str = "event";

/// The device message. Keys at its top level and in `device` and `origin` are those of Home Assistant's schema and
/// no others: one unknown key there loses the whole device.
pub(crate) fn message(
    device: &Device<'_>,
    entities: impl IntoIterator<Item = (String, Component)>,
    options: &MqttOptions,
    topics: &Topics,
) -> Value {
    let place = &device.place;
    let mut about = Map::new();
    about.insert("identifiers".into(), json!([topics.object_id(place)]));
    about.insert("name".into(), device.name.as_str().into());
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            about.insert(key.into(), value.into());
        }
    };
    put("manufacturer", device.identity.manufacturer.as_deref());
    put("model", device.identity.model.as_deref());
    put("serial_number", device.identity.serial.as_deref());
    put("sw_version", device.identity.firmware.as_deref());
    put("suggested_area", device.area);
    let mut availability = vec![json!({ "topic": topics.status() })];
    if *place != Place::Site {
        about.insert("via_device".into(), topics.object_id(&Place::Site).into());
        availability.push(json!({ "topic": topics.availability(place) }));
    }
    let mut components: Map<String, Value> =
        entities.into_iter().map(|(key, entity)| (key.clone(), entity.to_json(&key, place, topics))).collect();
    let events = Component::event(EventType::ALL.iter().map(|it| it.word()))
        .name("Event")
        .icon("bell-outline")
        .diagnostic()
        .bridge_only()
        .with("state_topic", if *place == Place::Site { topics.event() } else { topics.event_of(place) });
    components.insert(EVENT.into(), events.to_json(EVENT, place, topics));
    json!({
        "device": about,
        "origin": { "name": ORIGIN, "sw_version": options.version },
        "availability": availability,
        "availability_mode": "all",
        "state_topic": topics.state(place),
        "qos": 1,
        "components": components,
    })
}

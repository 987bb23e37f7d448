//! What an earlier configuration or version left behind on the broker.
//!
//! Devices that are gone get an empty retained payload. Components that are gone from a device that stays are removed
//! in Home Assistant's two steps: the device message with the old key reduced to its platform, then without it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::discovery::{EVENT, ORIGIN};
use super::outbox::Outbox;
use super::publisher::Publisher;
use super::topics::{Place, Topics};
use crate::quantity::{Mono, Span};

/// Things to look at that are kept; a broker may hold any amount of rubbish.
const MAX_FOUND: usize = 256;
/// Between the removal of a device and the clearing of its states. Home Assistant 2026.11 takes a moment to let go of
/// the entities, and logs an error for each template that meets an empty state meanwhile.
const LETTING_GO: Span = Span::from_secs(2);

/// What was found and not yet settled.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Platforms by key of a device message.
    devices: BTreeMap<Place, BTreeMap<String, String>>,
    /// Seen by their availability, with whether they were told to be offline.
    places: BTreeMap<Place, bool>,
    /// To be cleared then.
    clearing: BTreeMap<Place, Mono>,
}

impl Leftovers {
    /// There is nothing to look at.
    pub(crate) fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.places.is_empty() && self.clearing.is_empty()
    }

    /// A retained device message; gives its place. Others' are ignored: ours carry our name and the status topic of our
    /// base.
    pub(crate) fn device(&mut self, topic: &str, payload: &[u8], topics: &Topics) -> Option<Place> {
        let place = topics.place_of_discovery(topic)?;
        let message = serde_json::from_slice::<Value>(payload).ok()?;
        let ours = message["origin"]["name"] == ORIGIN
            && message["availability"].as_array().is_some_and(|it| it.iter().any(|it| it["topic"] == topics.status()));
        if !ours || self.devices.len() >= MAX_FOUND {
            return None;
        }
        self.devices.insert(place.clone(), platforms(&message));
        Some(place)
    }

    /// The keys of its state that its device message names: those of sensors. What is pressed or set is none, or one that
    /// the state has anyway.
    pub(crate) fn keys(&self, place: &Place) -> impl Iterator<Item = &str> {
        let components = self.devices.get(place).into_iter().flatten();
        components.filter(|(key, platform)| *platform == "sensor" && *key != EVENT).map(|(key, _)| key.as_str())
    }

    /// A retained availability below our base.
    pub(crate) fn availability(&mut self, place: Place) {
        if self.places.len() < MAX_FOUND {
            self.places.entry(place).or_insert(false);
        }
    }

    /// What an earlier run said of devices that nothing was heard of in this one is no present: they are offline until
    /// they are seen, or for as long as the file is wrong.
    pub(crate) fn silence(&mut self, publisher: &Publisher, topics: &Topics, outbox: &mut Outbox) {
        for (place, _) in self.places.iter().filter(|(place, told)| !**told && !publisher.is_present(place)) {
            outbox.once(topics.state(place), publisher.unknown_state(place, self.keys(place)));
            outbox.once(topics.availability(place), "offline".to_owned());
        }
        for (place, told) in &mut self.places {
            *told |= !publisher.is_present(place);
        }
    }

    /// Clears what is known to be left over; keeps what cannot be told yet.
    pub(crate) fn settle(&mut self, publisher: &Publisher, topics: &Topics, now: Mono, outbox: &mut Outbox) {
        self.places.retain(|place, _| {
            let gone = !publisher.may_exist(place, now);
            if gone {
                tracing::info!("clearing the retained states of {}, which is not configured", place.subject());
                self.clearing.insert(place.clone(), now + LETTING_GO);
            }
            !gone && !publisher.is_present(place)
        });
        self.devices.retain(|place, old| {
            let topic = topics.discovery(place);
            if !publisher.may_exist(place, now) {
                tracing::info!("removing {} from Home Assistant: it is not configured", place.subject());
                outbox.once(topic, String::new());
                self.clearing.insert(place.clone(), now + LETTING_GO);
                return false;
            }
            let Some(message) = publisher.announced(&topic) else { return true };
            if let Some(step) = first_step(old, message, |key| publisher.may_come(place, key)) {
                outbox.once(topic.clone(), step.to_string());
                outbox.again(&topic);
            }
            false
        });
        self.clearing.retain(|place, due| {
            let wait = now < *due;
            if !wait {
                clear_states(place, topics, outbox);
            }
            wait
        });
    }
}

fn clear_states(place: &Place, topics: &Topics, outbox: &mut Outbox) {
    outbox.once(topics.state(place), String::new());
    outbox.once(topics.availability(place), String::new());
}

fn platforms(message: &Value) -> BTreeMap<String, String> {
    let components = message["components"].as_object().map(|it| it.iter());
    components
        .into_iter()
        .flatten()
        .filter_map(|(key, it)| Some((key.clone(), it["platform"].as_str()?.to_owned())))
        .collect()
}

/// The device message with every component that is gone reduced to its platform; `None` when none is. One that may still
/// come in this run is not gone.
fn first_step(old: &BTreeMap<String, String>, message: &Value, may_come: impl Fn(&str) -> bool) -> Option<Value> {
    let present = platforms(message);
    let gone: Map<String, Value> = old
        .iter()
        .filter(|(key, platform)| present.get(*key) != Some(platform))
        .filter(|(key, _)| present.contains_key(*key) || !may_come(key))
        .map(|(key, platform)| (key.clone(), json!({ "platform": platform })))
        .collect();
    if gone.is_empty() {
        return None;
    }
    let mut step = message.clone();
    if let Some(components) = step["components"].as_object_mut() {
        components.extend(gone);
    }
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(keys: &[(&str, &str)]) -> Value {
        let components: Map<String, Value> =
            keys.iter().map(|(key, platform)| ((*key).to_owned(), json!({"platform": platform, "x": 1}))).collect();
        json!({"device": {"name": "n"}, "components": components})
    }

    fn step(old: &[(&str, &str)], new: &[(&str, &str)], may_come: impl Fn(&str) -> bool) -> Option<Value> {
        let old = old.iter().map(|(key, platform)| ((*key).to_owned(), (*platform).to_owned())).collect();
        first_step(&old, &message(new), may_come)
    }

    #[test]
    fn a_renamed_component_is_reduced_to_its_platform_first() {
        assert_eq!(step(&[("mode", "select")], &[("mode", "select")], |_| false), None);
        let step = step(&[("mode", "select"), ("old", "number")], &[("mode", "select")], |_| false).unwrap();
        assert_eq!(step["components"]["old"], json!({"platform": "number"}));
        assert_eq!(step["components"]["mode"]["x"], 1);
        assert_eq!(step["device"]["name"], "n");
    }

    #[test]
    fn a_changed_platform_is_a_removal_too() {
        let step = step(&[("dim", "switch")], &[("dim", "binary_sensor")], |_| true).unwrap();
        assert_eq!(step["components"]["dim"], json!({"platform": "switch"}));
    }

    #[test]
    fn a_meters_key_that_may_still_come_is_left_alone() {
        let may_come = |key: &str| key == "energy_import_t3_kwh";
        assert_eq!(step(&[("energy_import_t3_kwh", "sensor")], &[], may_come), None);
        assert!(step(&[("gone_for_good", "sensor")], &[], may_come).is_some());
    }
}

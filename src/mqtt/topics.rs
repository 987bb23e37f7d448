//! Every topic that the product has, in one place.

use std::fmt;

use super::astray;

/// Kinds of device below the base topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `<base>/meter/<id>`
    Meter,
    /// `<base>/charger/<id>`
    Charger,
    /// `<base>/relay/<id>`
    Relay,
    /// `<base>/input/<id>`
    Input,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Meter, Self::Charger, Self::Relay, Self::Input];

    /// As in topics and ids.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Charger => "charger",
            Self::Relay => "relay",
            Self::Input => "input",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The site itself, or one of its devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// `<base>/site`
    Site,
    /// `<base>/<kind>/<id>`
    Device(Kind, String),
}

impl Place {
    /// A meter.
    pub(crate) fn meter(id: &str) -> Self {
        Self::Device(Kind::Meter, id.to_owned())
    }

    /// An input.
    pub(crate) fn input(id: &str) -> Self {
        Self::Device(Kind::Input, id.to_owned())
    }

    /// A relay.
    pub(crate) fn relay(id: &str) -> Self {
        Self::Device(Kind::Relay, id.to_owned())
    }

    /// A charger.
    pub(crate) fn charger(id: &str) -> Self {
        Self::Device(Kind::Charger, id.to_owned())
    }

    /// As an event names it.
    pub(crate) fn subject(&self) -> &str {
        match self {
            Self::Site => "site",
            Self::Device(_, id) => id,
        }
    }
}

/// What an incoming message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// `…/set/<setting>`; the path is what follows the base.
    Command {
        /// What it is meant for; `None` for a kind that does not exist.
        place: Option<Place>,
        /// Without the base.
        path: String,
    },
    /// `bridge/request/<name>`
    Request(String),
    /// Nearly a command; the topic that was meant, without the base.
    Astray(String),
    /// `<base>/status`
    Status,
    /// `<base>/bridge/info`
    Info,
    /// Home Assistant's birth topic.
    Birth,
    /// A discovery message with a name like ours.
    Discovery,
    /// `<base>/<kind>/<id>/availability`
    Availability(Place),
}

impl Inbound {
    /// Largest payload that is looked at, in bytes.
    pub(crate) const fn limit(&self) -> usize {
        match self {
            Self::Command { .. } | Self::Request(_) | Self::Astray(_) => 1024,
            Self::Status | Self::Birth | Self::Availability(_) => 64,
            Self::Info => 64 * 1024,
            Self::Discovery => 256 * 1024,
        }
    }
}

/// The topics of one base.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    base: String,
    prefix: String,
    birth: String,
    slug: String,
}

impl Topics {
    /// No topic of ours is longer; a longer one is not looked at.
    pub(crate) const MAX_LEN: usize = 512;

    /// `prefix` empty: no discovery. `birth` empty: no birth topic.
    pub(crate) fn new(base: &str, prefix: &str, birth: &str) -> Self {
        Self { base: base.to_owned(), prefix: prefix.to_owned(), birth: birth.to_owned(), slug: slug(base) }
    }

    /// The base topic.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Home Assistant is told of our devices.
    pub(crate) fn discovery_on(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Last will.
    pub(crate) fn status(&self) -> String {
        format!("{}/status", self.base)
    }

    /// Answers to commands.
    pub(crate) fn result(&self) -> String {
        format!("{}/result", self.base)
    }

    /// Every event.
    pub(crate) fn event(&self) -> String {
        format!("{}/event", self.base)
    }

    /// Events of one place.
    pub(crate) fn event_of(&self, place: &Place) -> String {
        format!("{}/event", self.of(place))
    }

    /// Retained state.
    pub(crate) fn state(&self, place: &Place) -> String {
        format!("{}/state", self.of(place))
    }

    /// Retained `online` or `offline`.
    pub(crate) fn availability(&self, place: &Place) -> String {
        format!("{}/availability", self.of(place))
    }

    /// Where a setting is written.
    pub(crate) fn set(&self, place: &Place, setting: &str) -> String {
        format!("{}/set/{setting}", self.of(place))
    }

    /// Line protocol.
    pub(crate) fn influx(&self) -> String {
        format!("{}/influx", self.base)
    }

    /// Who we are.
    pub(crate) fn info(&self) -> String {
        format!("{}/bridge/info", self.base)
    }

    /// Asks something of the bridge.
    pub(crate) fn request(&self, name: &str) -> String {
        format!("{}/bridge/request/{name}", self.base)
    }

    /// Its answer.
    pub(crate) fn response(&self, name: &str) -> String {
        format!("{}/bridge/response/{name}", self.base)
    }

    /// Home Assistant's device message.
    pub(crate) fn discovery(&self, place: &Place) -> String {
        format!("{}/device/{}/config", self.prefix, self.object_id(place))
    }

    /// The place of a device message with a name like ours.
    pub(crate) fn place_of_discovery(&self, topic: &str) -> Option<Place> {
        let object = topic.strip_prefix(self.prefix.as_str())?.strip_prefix("/device/")?.strip_suffix("/config")?;
        let rest = object.strip_prefix(self.slug.as_str())?.strip_prefix('_')?;
        if rest == "site" {
            return Some(Place::Site);
        }
        let (kind, id) = rest.split_once('_')?;
        Some(Place::Device(Kind::from_word(kind)?, id.to_owned()))
    }

    /// Identifies a device in Home Assistant: `<base>_<kind>_<id>`, or `<base>_site`.
    pub(crate) fn object_id(&self, place: &Place) -> String {
        match place {
            Place::Site => format!("{}_site", self.slug),
            Place::Device(kind, id) => format!("{}_{kind}_{id}", self.slug),
        }
    }

    /// Subscribed before anything is published: who else is here, and what was left behind.
    pub(crate) fn watched(&self) -> Vec<String> {
        let mut filters = vec![self.status(), self.info(), format!("{}/+/+/availability", self.base)];
        if self.discovery_on() {
            filters.push(format!("{}/device/+/config", self.prefix));
        }
        filters
    }

    /// Subscribed once we serve this base.
    pub(crate) fn obeyed(&self) -> Vec<String> {
        let mut filters =
            vec![format!("{}/site/set/+", self.base), format!("{}/+/+/set/+", self.base), self.request("+")];
        if self.discovery_on() && !self.birth.is_empty() {
            filters.push(self.birth.clone());
        }
        filters
    }

    /// Subscribed besides, so that a command on a topic that is nearly right gets an answer.
    pub(crate) fn nearly(&self) -> Vec<String> {
        astray::filters().iter().map(|it| format!("{}/{it}", self.base)).collect()
    }

    /// Sorts an incoming topic; `None` for one that is not for us.
    pub(crate) fn sort(&self, topic: &str) -> Option<Inbound> {
        if topic.len() > Self::MAX_LEN {
            return None;
        }
        if topic == self.birth {
            return Some(Inbound::Birth);
        }
        if let Some(rest) = topic.strip_prefix(self.base.as_str()).and_then(|rest| rest.strip_prefix('/')) {
            return Self::sort_own(rest);
        }
        let rest = topic.strip_prefix(self.prefix.as_str())?.strip_prefix("/device/")?;
        let object = rest.strip_suffix("/config")?;
        let ours = object.strip_prefix(self.slug.as_str()).is_some_and(|rest| rest.starts_with('_'));
        (self.discovery_on() && ours).then_some(Inbound::Discovery)
    }

    fn sort_own(rest: &str) -> Option<Inbound> {
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            ["status"] => Some(Inbound::Status),
            ["bridge", "info"] => Some(Inbound::Info),
            ["bridge", "request", name] => Some(Inbound::Request((*name).to_owned())),
            ["site", "set", _] => Some(Inbound::Command { place: Some(Place::Site), path: rest.to_owned() }),
            [kind, id, "set", _] => {
                let place = Kind::from_word(kind).map(|kind| Place::Device(kind, (*id).to_owned()));
                Some(Inbound::Command { place, path: rest.to_owned() })
            }
            [kind, id, "availability"] => {
                Some(Inbound::Availability(Place::Device(Kind::from_word(kind)?, (*id).to_owned())))
            }
            parts => astray::meant(parts).map(Inbound::Astray),
        }
    }

    fn of(&self, place: &Place) -> String {
        match place {
            Place::Site => format!("{}/site", self.base),
            Place::Device(kind, id) => format!("{}/{kind}/{id}", self.base),
        }
    }
}

/// What is wrong where the broker refuses subscriptions to these.
pub(super) fn unreadable<'a>(refused: impl Iterator<Item = &'a str>) -> Option<String> {
    let filters = refused.collect::<Vec<_>>().join("`, `");
    (!filters.is_empty())
        .then(|| format!("the broker does not let us read `{filters}`: give the user of [mqtt] username read access"))
}

/// Home Assistant's ids know letters, digits, `_` and `-`.
fn slug(base: &str) -> String {
    base.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new("home/grid", "homeassistant", "homeassistant/status")
    }

    #[test]
    fn an_incoming_topic_is_sorted_by_what_it_asks() {
        let sort = |topic: &str| topics().sort(topic);
        assert_eq!(sort("home/grid/status"), Some(Inbound::Status));
        assert_eq!(sort("homeassistant/status"), Some(Inbound::Birth));
        assert_eq!(sort("home/grid/bridge/request/restart"), Some(Inbound::Request("restart".into())));
        assert_eq!(
            sort("home/grid/site/set/dim"),
            Some(Inbound::Command { place: Some(Place::Site), path: "site/set/dim".into() })
        );
        assert_eq!(
            sort("home/grid/charger/left/set/mode"),
            Some(Inbound::Command { place: Some(Place::charger("left")), path: "charger/left/set/mode".into() })
        );
        assert_eq!(
            sort("home/grid/toaster/x/set/mode"),
            Some(Inbound::Command { place: None, path: "toaster/x/set/mode".into() })
        );
        assert_eq!(sort("home/grid/charger/left/mode"), Some(Inbound::Astray("charger/left/set/mode".into())));
        assert_eq!(sort("home/grid/meter/old/availability"), Some(Inbound::Availability(Place::meter("old"))));
        assert_eq!(sort("homeassistant/device/home_grid_meter_main/config"), Some(Inbound::Discovery));
    }

    #[test]
    fn what_is_not_ours_is_not_looked_at() {
        for topic in [
            "home/grid",
            "home/gridx/status",
            "home/grid/site/state",
            "home/grid/charger/left/set/mode/now",
            "homeassistant/device/home_gridlock_meter_main/config",
            "homeassistant/device/0x00158d/config",
            "homeassistant/device/home_grid_meter_main/x/config",
            "",
        ] {
            let sorted = topics().sort(topic);
            assert!(sorted.is_none() || topic.contains("/x/"), "{topic}: {sorted:?}");
        }
        assert_eq!(topics().sort(&format!("home/grid/charger/{}/set/mode", "x".repeat(600))), None);
    }

    #[test]
    fn without_a_prefix_nothing_of_home_assistant_is_touched() {
        let topics = Topics::new("grid", "", "homeassistant/status");
        assert!(topics.watched().iter().chain(&topics.obeyed()).all(|filter| filter.starts_with("grid/")));
        assert_eq!(topics.sort("/device/grid_site/config"), None);
    }
}

//! Commands on topics that are nearly right: whoever sent one is told which topic it is, and nothing else happens.
//!
//! A broker sends whatever matches a filter, our own publications too: only topics can be listened to that no state,
//! availability, event or response of ours has. Those are the names of settings, and `set` in a wrong place. A setting
//! that is spelled wrong below the device itself, another kind of device or another base topic cannot be heard.

use crate::control::{ACTION_SETTINGS, CHARGER_SETTINGS, SITE_SETTINGS};

/// Requests of the bridge, as in the contract.
const REQUESTS: [&str; 3] = ["restart", "log_level", "backup"];

/// Filters in one subscription: hosted brokers have bounds, AWS IoT Core's are eight of them and 50 on a connection.
pub(super) const AT_ONCE: usize = 8;

fn charger_settings() -> impl Iterator<Item = &'static str> {
    CHARGER_SETTINGS.into_iter().chain(ACTION_SETTINGS)
}

/// What is listened to, below the base topic. None of them overlaps with those of right commands but where `set` stands
/// for the setting as well: many brokers send a message once for each filter, and a command must come once.
pub(super) fn filters() -> Vec<String> {
    let of_chargers = charger_settings().map(|it| format!("charger/+/{it}"));
    let of_the_site = SITE_SETTINGS.into_iter().map(|it| format!("site/{it}"));
    let of_the_bridge = REQUESTS.into_iter().map(|it| format!("bridge/{it}"));
    let others = [
        "relay/+/command",
        "input/+/value",
        "site/set",
        "meter/+/set",
        "charger/+/set",
        "relay/+/set",
        "input/+/set",
        "site/+/set",
        "+/+/+/set",
    ];
    of_chargers.chain(of_the_site).chain(of_the_bridge).chain(others.map(str::to_owned)).collect()
}

/// The topic that was meant, below the base topic; `None` for one that no filter above has.
pub(super) fn meant(parts: &[&str]) -> Option<String> {
    let device = |kind: &str, id: &str, setting: &str| {
        let id = if id == "set" { "<id>" } else { id };
        format!("{kind}/{id}/set/{setting}")
    };
    Some(match parts {
        ["site", setting] if SITE_SETTINGS.contains(setting) => format!("site/set/{setting}"),
        ["site", "set"] | ["site", _, "set"] => {
            let setting = parts.get(1).copied().filter(|it| SITE_SETTINGS.contains(it)).unwrap_or("<setting>");
            format!("site/set/{setting}")
        }
        ["bridge", name] if REQUESTS.contains(name) => format!("bridge/request/{name}"),
        ["charger", id, setting] if charger_settings().any(|it| it == *setting) => device("charger", id, setting),
        ["relay", id, "command" | "set"] => device("relay", id, "command"),
        ["input", id, "value" | "set"] => device("input", id, "value"),
        [kind @ ("meter" | "charger"), id, "set"] => device(kind, id, "<setting>"),
        [kind, id, setting, "set"] => device(kind, id, setting),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::topics::{Place, Topics};

    /// As MQTT 3.1.1 defines it, for filters without `#`.
    fn matches(filter: &str, topic: &str) -> bool {
        let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
        filter.len() == topic.len() && filter.iter().zip(topic).all(|(want, is)| *want == "+" || *want == is)
    }

    #[test]
    fn nothing_of_our_own_is_listened_to() {
        let topics = Topics::new("grid", "homeassistant", "homeassistant/status");
        let filters: Vec<_> = filters().iter().map(|it| format!("grid/{it}")).collect();
        let mut own = vec![topics.status(), topics.result(), topics.event(), topics.influx(), topics.info()];
        own.extend(REQUESTS.map(|it| topics.response(it)));
        for id in ["left", "set", "mode", "state", "event", "availability", "request", "response"] {
            for place in [Place::Site, Place::meter(id), Place::charger(id), Place::relay(id), Place::input(id)] {
                own.extend([topics.state(&place), topics.availability(&place), topics.event_of(&place)]);
            }
        }
        let all = filters.len() + topics.watched().len() + topics.obeyed().len();
        assert!(all <= 50, "{all} filters on one connection");
        for topic in own {
            assert!(filters.iter().all(|filter| !matches(filter, &topic)), "{topic}");
            let rest: Vec<_> = topic.split('/').skip(1).collect();
            assert_eq!(meant(&rest), None, "{topic}");
        }
    }

    #[test]
    fn a_right_command_comes_once_and_is_never_astray() {
        let topics = Topics::new("grid", "", "");
        for id in ["left", "mode", "state", "value"] {
            let mut right: Vec<_> = charger_settings().map(|it| topics.set(&Place::charger(id), it)).collect();
            right.extend(SITE_SETTINGS.map(|it| topics.set(&Place::Site, it)));
            right.extend([topics.set(&Place::relay(id), "command"), topics.set(&Place::input(id), "value")]);
            right.extend(REQUESTS.map(|it| topics.request(it)));
            for topic in right {
                let heard = topics.obeyed().iter().filter(|filter| matches(filter, &topic)).count();
                assert_eq!(heard, 1, "{topic}");
                let astray = topics.nearly().iter().filter(|filter| matches(filter, &topic)).count();
                assert_eq!(astray, 0, "{topic}");
            }
        }
    }

    #[test]
    fn the_topic_that_was_meant_is_named() {
        let meant = |topic: &str| meant(&topic.split('/').collect::<Vec<_>>());
        for (topic, right) in [
            ("charger/left/mode", "charger/left/set/mode"),
            ("charger/set/mode", "charger/<id>/set/mode"),
            ("charger/left/mode/set", "charger/left/set/mode"),
            ("charger/left/set", "charger/left/set/<setting>"),
            ("site/dim", "site/set/dim"),
            ("site/dim/set", "site/set/dim"),
            ("site/set", "site/set/<setting>"),
            ("relay/pump/command", "relay/pump/set/command"),
            ("input/tariff/value", "input/tariff/set/value"),
            ("bridge/restart", "bridge/request/restart"),
        ] {
            assert_eq!(meant(topic).as_deref(), Some(right), "{topic}");
            assert!(filters().iter().any(|filter| matches(filter, topic)), "{topic}");
        }
        for topic in ["charger/left/Mode", "charger/left", "site/state", "toaster/x/mode", "bridge/info", ""] {
            assert_eq!(meant(topic), None, "{topic}");
        }
    }
}

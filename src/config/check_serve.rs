//! What is served to others: whose, where, and who may have it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::check::Checker;
use super::check_devices::{self, Head, RawDevice, missing};
use super::diagnostic::Severity;
use super::layer::Merged;
use super::model::{Config, Mqtt, MqttEndpoint, Serve, ServeKind, Web};
use super::raw;
use super::slot::Slot;
use super::source::{At, Part, Report};

/// Where it listens when nobody says otherwise.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5020);

/// What else of this program listens, and what there is to serve.
pub(super) struct Around<'a> {
    pub(super) grid_meter: Option<usize>,
    pub(super) devices: &'a check_devices::Raw,
    pub(super) mqtt: Option<&'a Mqtt>,
    pub(super) web: &'a Web,
}

/// Every `[[serve]]` of the file.
pub(super) fn read(merged: &Merged) -> Vec<RawDevice<raw::Serve>> {
    let of = merged.devices.iter().filter(|it| it.section == "serve");
    of.map(|it| RawDevice {
        head: Head { id: None, header: it.header, path: it.path.clone() },
        raw: raw::Serve::read(&it.table),
    })
    .collect()
}

/// Their models; what is wrong with them is said.
pub(super) fn build(checker: &mut Checker<'_>, all: &[RawDevice<raw::Serve>], around: &Around<'_>) -> Vec<Serve> {
    let mut taken: HashMap<SocketAddr, String> = HashMap::new();
    taken.extend(around.web.listen.map(|it| (it, "the page ([web] listen)".to_owned())));
    if let Some(MqttEndpoint::Embedded(address)) = around.mqtt.map(|it| &it.endpoint) {
        taken.insert(*address, "the built-in broker ([mqtt] url)".to_owned());
    }
    let mut built = Vec::new();
    for it in all {
        let RawDevice { head, raw } = it;
        if raw.kind.is_absent() {
            missing(checker, head, "kind", "write kind = \"p1\" for the telegrams of a P1 meter");
        }
        let source = source(checker, it, around);
        let Some((listen, at)) = listen(checker, it) else { continue };
        if let Some(other) = taken.iter().find(|other| clash(*other.0, listen)) {
            let message = format!("{listen} is already taken by {}", other.1);
            checker.report.error(at, &format!("{}.listen", head.path), message, "choose another port");
        }
        taken.insert(listen, head.shown());
        let allow = raw.allow.get().into_iter().flatten().filter_map(|it| it.parse().ok()).collect();
        if let (Some(_), Some(source)) = (raw.kind.get(), source) {
            built.push(Serve { kind: ServeKind::P1, source, listen, allow });
        }
    }
    built
}

/// Whether the system would refuse the second of the two.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |it: SocketAddr| it.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || all(one) || all(other))
}

/// Default: the grid meter.
fn source(checker: &mut Checker<'_>, it: &RawDevice<raw::Serve>, around: &Around<'_>) -> Option<usize> {
    let RawDevice { head, raw } = it;
    let path = format!("{}.source", head.path);
    let (index, at, part) = match &raw.source {
        Slot::Wrong => return None,
        Slot::Set(id, at) => (checker.meter_index(id, *at, &path, around.devices)?, *at, Part::Value),
        Slot::Absent => match around.grid_meter {
            Some(index) => (index, head.header, Part::Value),
            None => {
                missing(checker, head, "source", "write the id of the P1 meter whose telegrams are served");
                return None;
            }
        },
    };
    let meter = around.devices.meters.get(index)?;
    let driver = meter.raw.driver.get()?;
    if driver != "p1" {
        let message = format!("the meter {} is read by driver {driver:?}, which has no telegrams", meter.head.shown());
        let help = "kind \"p1\" passes on what a meter with driver = \"p1\" sends";
        checker.report.say(Severity::Error, (at, part), &path, message, help);
        return None;
    }
    Some(index)
}

fn listen(checker: &mut Checker<'_>, it: &RawDevice<raw::Serve>) -> Option<(SocketAddr, At)> {
    match &it.raw.listen {
        Slot::Absent => Some((DEFAULT, it.head.header)),
        Slot::Wrong => None,
        Slot::Set(text, at) => {
            if let Ok(address) = text.parse() {
                return Some((address, *at));
            }
            let message = format!("{text:?} is not an address with a port");
            let help = "for example \"127.0.0.1:5020\", \"[::1]:5020\", \"0.0.0.0:5020\"";
            checker.report.error(*at, &format!("{}.listen", it.head.path), message, help);
            None
        }
    }
}

/// Who can read along, and who cannot although it looks so.
pub(super) fn warn(config: &Config, all: &[RawDevice<raw::Serve>], report: &mut Report) {
    for (serve, it) in config.serves.iter().zip(all) {
        let path = |key: &str| format!("{}.{key}", it.head.path);
        let place = |slot: Option<At>| slot.unwrap_or(it.head.header);
        let at = place(it.raw.listen.set().map(|it| it.1));
        let source = config.meters.get(serve.source).map_or("", |it| it.common.id.as_str());
        let from_lan = !serve.listen.ip().is_loopback();
        if from_lan && serve.allow.is_empty() {
            let message = format!("{} can be reached from the network, but only this machine is let in", serve.listen);
            report.warn(at, &path("listen"), message, "write who may read into allow, or listen on 127.0.0.1");
        } else if from_lan {
            let readers: Vec<String> = serve.allow.iter().map(ToString::to_string).collect();
            let message = format!(
                "the telegrams of `{source}` go over the network at {}, without a password, to {}",
                serve.listen,
                readers.join(", ")
            );
            let help = "they show when somebody is at home: allow nobody else, and keep it inside your own network";
            report.warn(at, &path("listen"), message, help);
        } else if !serve.allow.is_empty() {
            let message = format!("`allow` does nothing while only this machine can reach {}", serve.listen);
            let help = "listen on the address of the network, for example listen = \"0.0.0.0:5020\", or take allow out";
            report.warn(place(it.raw.allow.set().map(|it| it.1)), &path("allow"), message, help);
        }
    }
}

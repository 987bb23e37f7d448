//! The broker's table.

use super::check::{Checker, seconds};
use super::connection::parse_broker;
use super::diagnostic::Severity;
use super::model::{Mqtt, MqttEndpoint, Secret};
use super::raw;
use super::slot::Slot;
use super::source::{At, Part};
use crate::feature::Purpose;
use crate::quantity::Span;

/// `None` without a broker, and where the address is wrong.
pub(super) fn mqtt(checker: &mut Checker<'_>, raw: &raw::Mqtt) -> Option<Mqtt> {
    let password = password(checker, raw);
    let ca = checker.pem_file(&raw.ca_file, "mqtt.ca_file", "CERTIFICATE");
    let cert = checker.pem_file(&raw.client_cert_file, "mqtt.client_cert_file", "CERTIFICATE");
    let key = checker.pem_file(&raw.client_key_file, "mqtt.client_key_file", "PRIVATE KEY");
    for (one, name, other, needed) in [
        (&raw.client_cert_file, "client_cert_file", &raw.client_key_file, "client_key_file"),
        (&raw.client_key_file, "client_key_file", &raw.client_cert_file, "client_cert_file"),
    ] {
        if let (Some((_, at)), true) = (one.set(), other.is_absent()) {
            let message = format!("`{name}` does nothing without {needed}");
            checker.report.error(at, &format!("mqtt.{name}"), message, format!("write {needed} as well"));
        }
    }
    let base_topic = topic(checker, &raw.base_topic, "base_topic", "gridkeeper", false);
    let discovery_prefix = topic(checker, &raw.discovery_prefix, "discovery_prefix", "homeassistant", true);
    let birth_topic = topic(checker, &raw.birth_topic, "birth_topic", "homeassistant/status", true);
    if let Some((id, at)) = raw.client_id.set().filter(|it| it.0.is_empty()) {
        let message = format!("`client_id` = {id:?} is empty");
        checker.report.error(
            at,
            "mqtt.client_id",
            message,
            "take it out for a random one, or write 1 to 128 characters",
        );
    }
    let (url, at) = raw.url.set()?;
    let endpoint = match parse_broker(url) {
        Ok(endpoint) => endpoint?,
        Err((message, help)) => {
            checker.report.error(at, "mqtt.url", format!("`url`: {message}"), help);
            return None;
        }
    };
    if let MqttEndpoint::Embedded(address) = &endpoint
        && !address.ip().is_loopback()
        && !may_be_reached(checker, raw, *address, password.is_some(), at)
    {
        return None;
    }
    if !matches!(endpoint, MqttEndpoint::Tls { .. }) {
        for (slot, name) in [
            (&raw.ca_file, "ca_file"),
            (&raw.client_cert_file, "client_cert_file"),
            (&raw.client_key_file, "client_key_file"),
        ] {
            if let Some((_, at)) = slot.set() {
                let message = format!("`{name}` does nothing without TLS");
                checker.report.error(at, &format!("mqtt.{name}"), message, "write url = \"mqtts://…\", or take it out");
            }
        }
    }
    Some(Mqtt {
        endpoint,
        username: raw.username.get().filter(|it| !it.is_empty()).cloned(),
        password,
        ca_pem: ca.map(String::into_bytes),
        client_cert_pem: cert.map(String::into_bytes),
        client_key_pem: key.map(Secret::new),
        client_id: raw.client_id.get().cloned(),
        base_topic,
        discovery_prefix,
        birth_topic,
        interval: seconds(&raw.interval_s).unwrap_or(Span::from_secs(5)),
        influx: raw.influx.get().copied().unwrap_or_default(),
    })
}

/// Whether the built-in broker may listen where others reach it: whoever may publish there commands the chargers, so it
/// needs a login, as the page does.
fn may_be_reached(
    checker: &mut Checker<'_>,
    raw: &raw::Mqtt,
    address: std::net::SocketAddr,
    has_password: bool,
    at: At,
) -> bool {
    if has_password && raw.username.get().is_some_and(|it| !it.is_empty()) {
        return true;
    }
    // Its file cannot be read, or the name is wrong, which was said; the broker stays off rather than open.
    let said = matches!(raw.username, Slot::Wrong)
        || matches!(raw.password, Slot::Wrong)
        || !has_password && !raw.password_file.is_absent();
    if !said {
        let severity = if checker.purpose == Purpose::LastGood { Severity::Warning } else { Severity::Error };
        let message = format!("the built-in broker at {address} can be reached from the network, so it needs a login");
        let help = format!(
            "set username and password_file in [mqtt], or write \"embedded://127.0.0.1:{}\" for this machine alone",
            address.port()
        );
        checker.report.say(severity, (at, Part::Value), "mqtt.url", message, help);
    }
    false
}

fn password(checker: &mut Checker<'_>, raw: &raw::Mqtt) -> Option<Secret> {
    let from_file = checker.password_file(&raw.password_file, "mqtt.password_file");
    if let (Some((_, at)), false) = (raw.password.set(), raw.password_file.is_absent()) {
        let message = "`password` and `password_file` are both written";
        checker.report.error(at, "mqtt.password", message, "keep password_file and take password out");
    }
    let given: Option<At> = raw.password.set().map(|it| it.1).or_else(|| raw.password_file.set().map(|it| it.1));
    if let (Some(at), true) = (given, raw.username.is_absent()) {
        let message = "a password does nothing without `username`";
        checker.report.error(
            at,
            "mqtt.username",
            message,
            "write username as well: MQTT 3.1.1 sends no password without one",
        );
    }
    from_file.or_else(|| raw.password.get().filter(|it| !it.is_empty()).cloned().map(Secret::new))
}

/// A topic that may be published to.
fn topic(checker: &mut Checker<'_>, slot: &Slot<String>, name: &str, default: &str, may_be_empty: bool) -> String {
    let Some((text, at)) = slot.set() else { return default.to_owned() };
    let wrong = if text.is_empty() {
        (!may_be_empty).then(|| "is empty".to_owned())
    } else if let Some(bad) = text.chars().find(|it| matches!(it, '+' | '#')) {
        Some(format!("holds the wildcard `{bad}`"))
    } else if text.starts_with('$') {
        Some("begins with `$`, which belongs to the broker".to_owned())
    } else if text.split('/').any(str::is_empty) {
        Some("has an empty level: a slash at its begin or end, or two in a row".to_owned())
    } else {
        None
    };
    if let Some(wrong) = wrong {
        let message = format!("`{name}` {wrong}");
        checker.report.error(at, &format!("mqtt.{name}"), message, format!("for example \"{default}\""));
    }
    text.clone()
}

//! The direct writer's table.

use super::check::Checker;
use super::layer::Merged;
use super::model::{HttpAddress, Influx, InfluxApi};
use super::raw;
use super::slot::Slot;
use super::source::At;
use crate::quantity::Span;

/// `None` without the table, and where something in it is wrong, which is said.
pub(super) fn influx(
    checker: &mut Checker<'_>,
    raw: &raw::Influx,
    merged: &Merged,
    interval: Option<Span>,
) -> Option<Influx> {
    let written =
        [&raw.url, &raw.ca_file, &raw.api, &raw.org, &raw.bucket, &raw.token_file, &raw.username, &raw.password_file];
    let place = merged.headers.get("influx").copied().or_else(|| written.iter().find_map(|it| Some(it.set()?.1)))?;
    let v1 = raw.api.get().is_some_and(|it| it == "v1");
    let foreign: &[(&Slot<String>, &str)] = if v1 {
        &[(&raw.org, "org"), (&raw.token_file, "token_file")]
    } else {
        &[(&raw.username, "username"), (&raw.password_file, "password_file")]
    };
    for (slot, name) in foreign {
        if let Some((_, at)) = slot.set() {
            let (this, other) = if v1 { ("v1", "v2") } else { ("v2", "v1") };
            let message = format!("`{name}` does nothing with api = \"{this}\"");
            let help = format!("take it out, or write api = \"{other}\"");
            checker.report.error(at, &format!("influx.{name}"), message, help);
        }
    }
    let token = checker.password_file(&raw.token_file, "influx.token_file");
    let password = checker.password_file(&raw.password_file, "influx.password_file");
    let login = match (raw.username.set(), raw.password_file.set()) {
        (Some((user, _)), Some(_)) => password.map(|password| (user.clone(), password)),
        (None, None) => None,
        (Some((_, at)), None) | (None, Some((_, at))) => {
            let message = "`username` and `password_file` go together";
            checker.report.error(at, "influx.username", message, "write both, or neither");
            None
        }
    };
    let address = address(checker, &raw.url, place);
    let ca_pem = checker.pem_file(&raw.ca_file, "influx.ca_file", "CERTIFICATE");
    if let (Some((_, at)), Some(false)) = (raw.ca_file.set(), address.as_ref().map(|it| it.tls)) {
        let message = "`ca_file` does nothing with http://";
        checker.report.error(at, "influx.ca_file", message, "write https:// in `url`, or take it out");
    }
    let bucket = raw.bucket.get().filter(|it| !it.is_empty()).cloned();
    if bucket.is_none() && !matches!(raw.bucket, Slot::Wrong) {
        let what = if v1 { "the database to write to" } else { "the bucket to write to" };
        checker.report.error(place, "influx.bucket", format!("`bucket` is missing: {what}"), "bucket = \"gridkeeper\"");
    }
    let api = if v1 {
        InfluxApi::V1 { login }
    } else {
        InfluxApi::V2 { org: raw.org.get().cloned().unwrap_or_default(), token }
    };
    Some(Influx { address: address?, ca_pem, api, bucket: bucket?, interval: interval.unwrap_or(Span::from_secs(5)) })
}

fn address(checker: &mut Checker<'_>, url: &Slot<String>, place: At) -> Option<HttpAddress> {
    let (text, at) = match url {
        Slot::Set(text, at) => (text, *at),
        Slot::Wrong => return None,
        Slot::Absent => {
            let help = "url = \"http://127.0.0.1:8086\"";
            checker.report.error(place, "influx.url", "`url` is missing: where InfluxDB is", help);
            return None;
        }
    };
    match HttpAddress::parse(text) {
        Ok(address) => Some(address),
        Err((message, help)) => {
            checker.report.error(at, "influx.url", format!("`url`: {message}"), help);
            None
        }
    }
}

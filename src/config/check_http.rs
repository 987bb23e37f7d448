//! Meters with an HTTP interface.

use super::check::Checker;
use super::check_devices::{Head, missing};
use super::connection;
use super::model::{HttpAddress, MeterDriver};
use super::raw;
use super::secret;
use super::slot::Slot;
use super::source::At;

/// Where a device with an HTTP interface is.
fn web_address(
    checker: &mut Checker<'_>,
    head: &Head,
    slot: &Slot<String>,
    example: &str,
) -> Option<(HttpAddress, At)> {
    match slot {
        Slot::Absent => {
            missing(
                checker,
                head,
                "connection",
                &format!("write where the meter is, for example connection = {example:?}"),
            );
            None
        }
        Slot::Wrong => None,
        Slot::Set(text, at) => match connection::parse_http(text) {
            Ok(address) => Some((address, *at)),
            Err((message, help)) => {
                let message = format!("`connection`: {message}");
                checker.report.error(*at, &format!("{}.connection", head.path), message, help);
                None
            }
        },
    }
}

pub(super) fn shelly(checker: &mut Checker<'_>, head: &Head, raw: &raw::Meter) -> Option<MeterDriver> {
    let address = web_address(checker, head, &raw.connection, "http://192.0.2.20");
    let password = checker.password_file(&raw.password_file, &format!("{}.password_file", head.path));
    if let (Some((_, at)), true) = (raw.username.set(), raw.password_file.is_absent()) {
        let message = "`username` does nothing without password_file";
        checker.report.error(at, &format!("{}.username", head.path), message, "write password_file as well");
    }
    let (address, at) = address?;
    if address.tls {
        let path = format!("{}.connection", head.path);
        checker.report.error(at, &path, "a Shelly has no certificate that could be believed", "write http://");
        return None;
    }
    let username = raw.username.get().filter(|it| !it.is_empty()).cloned().unwrap_or_else(|| "admin".to_owned());
    let channel = raw.channel.get().and_then(|it| u8::try_from(*it).ok());
    Some(MeterDriver::Shelly { address, login: password.map(|it| (username, it)), channel })
}

pub(super) fn homewizard(checker: &mut Checker<'_>, head: &Head, raw: &raw::Meter) -> Option<MeterDriver> {
    let address = web_address(checker, head, &raw.connection, "http://192.0.2.30");
    let path = format!("{}.token_file", head.path);
    let pairing = checker.secret_file(&raw.token_file, &path, secret::read_pairing);
    let (address, at) = address?;
    match (address.tls, raw.token_file.set()) {
        (true, None) if raw.token_file.is_absent() => {
            let help = format!("run `gridkeeper pair homewizard {}`, or write http:// for API version 1", address.host);
            let message = "API version 2 (https) wants `token_file`";
            checker.report.error(at, &path, message, help);
            None
        }
        (false, Some((_, at))) => {
            let message = "`token_file` does nothing with http://, which is API version 1";
            checker.report.error(at, &path, message, "write https:// for version 2, or take token_file out");
            None
        }
        _ => Some(MeterDriver::HomeWizard { address, pairing }),
    }
}

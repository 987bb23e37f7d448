//! Addresses of devices and of the broker.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::key::{closest, short};
use super::model::{Connection, HttpAddress, MqttEndpoint, Parity, SerialLine};

/// What a connection may look like.
pub(super) const CONNECTIONS: &str =
    "serial:///dev/ttyUSB0?baud=9600&parity=none&stop=1, tcp://host:port, rtu+tcp://host:port";
/// What the address of a device with an HTTP interface may look like.
const HTTP: &str = "http://host, http://host:port, https://host";
/// What the broker's address may look like.
const BROKERS: &str = "mqtt://host:port, mqtts://host:port, embedded://127.0.0.1:1883, or \"\" for none";
/// Line speeds that adapters and devices know.
const BAUDS: [u32; 13] = [300, 600, 1200, 2400, 4800, 9600, 14_400, 19_200, 28_800, 38_400, 57_600, 115_200, 230_400];

/// What was wrong, and what is allowed.
pub(super) type Wrong = (String, String);

/// The address of a device.
pub(super) fn parse(text: &str) -> Result<Connection, Wrong> {
    let (scheme, rest) = split_scheme(text, CONNECTIONS, device_without_scheme)?;
    match scheme {
        "serial" => serial(rest).map(Connection::Serial),
        "tcp" => host_port(rest, None, "tcp://host:port; Modbus TCP is mostly at port 502")
            .map(|(host, port)| Connection::Tcp { host, port }),
        "rtu+tcp" => {
            host_port(rest, None, "rtu+tcp://host:port").map(|(host, port)| Connection::RtuOverTcp { host, port })
        }
        "http" | "https" => Err((
            format!("`{scheme}://` is for devices with an HTTP interface, such as Shelly"),
            format!("allowed: {CONNECTIONS}"),
        )),
        other => Err(unknown_scheme(other, ["serial", "tcp", "rtu+tcp"], CONNECTIONS)),
    }
}

/// The address of a device with an HTTP interface.
pub(super) fn parse_http(text: &str) -> Result<HttpAddress, Wrong> {
    let (scheme, rest) = split_scheme(text, HTTP, |host| is_host(host).then(|| format!("http://{host}")))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let address = |tls, port| host_port(rest, Some(port), HTTP).map(|(host, port)| HttpAddress { tls, host, port });
    match scheme {
        "http" => address(false, 80),
        "https" => address(true, 443),
        other => Err(unknown_scheme(other, ["http", "https", "http"], HTTP)),
    }
}

/// The address of the broker; `None` for the empty text.
pub(super) fn parse_broker(text: &str) -> Result<Option<MqttEndpoint>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    if text == "supervisor" {
        return Ok(Some(MqttEndpoint::Supervisor));
    }
    let (scheme, rest) = split_scheme(text, BROKERS, |host| is_host(host).then(|| format!("mqtt://{host}")))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    match scheme {
        "mqtt" => host_port(rest, Some(1883), BROKERS).map(|(host, port)| Some(MqttEndpoint::Plain { host, port })),
        "mqtts" => host_port(rest, Some(8883), BROKERS).map(|(host, port)| Some(MqttEndpoint::Tls { host, port })),
        "embedded" => match rest.parse::<SocketAddr>() {
            Ok(address) => Ok(Some(MqttEndpoint::Embedded(address))),
            Err(_) => Err((
                "the built-in broker needs an address and a port to listen on".to_owned(),
                "for example embedded://127.0.0.1:1883".to_owned(),
            )),
        },
        // What other programs call it.
        "tcp" => Err(("`tcp://` is not known".to_owned(), format!("did you mean mqtt://? allowed: {BROKERS}"))),
        other => Err(unknown_scheme(other, ["mqtt", "mqtts", "embedded"], BROKERS)),
    }
}

/// Scheme and rest; `meant` makes an address of a text without a scheme where it can.
fn split_scheme<'a>(
    text: &'a str,
    allowed: &str,
    meant: impl FnOnce(&str) -> Option<String>,
) -> Result<(&'a str, &'a str), Wrong> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let help = match meant(text) {
            Some(meant) => format!("did you mean {meant}? allowed: {allowed}"),
            None => format!("allowed: {allowed}"),
        };
        return Err(("the address has no `scheme://`".to_owned(), help));
    };
    if text.chars().any(|it| it.is_whitespace()) {
        return Err(("the address holds a blank".to_owned(), format!("allowed: {allowed}")));
    }
    if scheme != "serial" && rest.contains('@') {
        return Err((
            "a user or password has no place in the address".to_owned(),
            "use the keys username and password_file".to_owned(),
        ));
    }
    Ok((scheme, rest))
}

/// The address of a device that was written as a path, or as a host with or without a port.
fn device_without_scheme(text: &str) -> Option<String> {
    let is_path = |path: &str| !path.contains(char::is_whitespace);
    if text.starts_with("/dev/") && is_path(text) {
        return Some(format!("serial://{text}"));
    }
    // The names of ports as the kernel tells them: ttyUSB0, ttyACM0, ttyAMA0, ttyS0.
    if text.starts_with("tty") && is_path(text) && !text.contains(['.', ':']) {
        return Some(format!("serial:///dev/{text}"));
    }
    // `tcp:192.0.2.1:502`, `tcp:/192.0.2.1:502`
    if let Some((scheme, rest)) = text.split_once(':')
        && matches!(scheme, "tcp" | "rtu+tcp")
        && is_host(rest.trim_start_matches('/'))
    {
        return Some(format!("{scheme}://{}", rest.trim_start_matches('/')));
    }
    let has_port = host_port(text, None, "").is_ok();
    match is_host(text) {
        true if has_port => Some(format!("tcp://{text}")),
        true => Some(format!("tcp://{text}:502 (the port of Modbus TCP; others have another)")),
        false => None,
    }
}

/// A host with or without a port.
fn is_host(text: &str) -> bool {
    host_port(text, Some(1), "").is_ok()
}

fn unknown_scheme(scheme: &str, known: [&'static str; 3], allowed: &str) -> Wrong {
    let help = match closest(scheme, known) {
        Some(close) => format!("did you mean {close}://? allowed: {allowed}"),
        None => format!("allowed: {allowed}"),
    };
    (format!("`{scheme}://` is not known"), help)
}

/// `host:port`, with the address of IPv6 in brackets.
fn host_port(text: &str, default: Option<u16>, allowed: &str) -> Result<(String, u16), Wrong> {
    let wrong = |what: &str| Err((what.to_owned(), format!("allowed: {allowed}")));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return wrong("what follows `]` is not a port"),
            },
            None => return wrong("`[` is not closed"),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let bracketed = text.starts_with('[');
    if bracketed && host.parse::<std::net::Ipv6Addr>().is_err() {
        return wrong("what stands in brackets is not an IPv6 address");
    }
    let letter = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-' | '_');
    if !bracketed && (host.is_empty() || host.len() > 253 || !host.chars().all(letter)) {
        return wrong("the host is not a name or address");
    }
    let port = match (port, default) {
        (None, Some(port)) => port,
        (None, None) => return wrong("the port is missing"),
        (Some(port), _) if port.bytes().all(|it| it.is_ascii_digit()) => match port.parse() {
            Ok(0) | Err(_) => return wrong("the port is not a number from 1 to 65535"),
            Ok(port) => port,
        },
        (Some(_), _) => return wrong("the port is not a number from 1 to 65535"),
    };
    Ok((host.to_owned(), port))
}

fn serial(rest: &str) -> Result<SerialLine, Wrong> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 || path.ends_with('/') {
        return Err((
            "a serial port needs the full path of its device".to_owned(),
            "for example serial:///dev/serial/by-id/usb-adapter, with three slashes".to_owned(),
        ));
    }
    let mut line = SerialLine { path: PathBuf::from(path), baud: None, parity: None, stop: None };
    let mut wrong: Vec<Wrong> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.contains(&name) {
            wrong.push((format!("`{name}` is given twice"), "write it once".to_owned()));
            continue;
        }
        seen.push(name);
        if let Err(complaint) = parameter(name, value, &mut line) {
            wrong.push(complaint);
        }
    }
    if wrong.is_empty() {
        return Ok(line);
    }
    // All of them, so that nobody has to come back for each.
    let (what, help): (Vec<String>, Vec<String>) = wrong.into_iter().unzip();
    Err((what.join("; "), help.join("; ")))
}

/// One parameter of a serial line.
fn parameter(name: &str, value: &str, line: &mut SerialLine) -> Result<(), Wrong> {
    match name {
        "baud" => {
            line.baud = BAUDS.into_iter().find(|it| it.to_string() == value);
            if line.baud.is_none() {
                let known = BAUDS.map(|it| it.to_string()).join(", ");
                return Err((
                    format!("baud={} is not a line speed", short(value)),
                    format!("allowed for baud: {known}"),
                ));
            }
        }
        "parity" => {
            line.parity = match value {
                "none" => Some(Parity::None),
                "even" => Some(Parity::Even),
                "odd" => Some(Parity::Odd),
                _ => {
                    let allowed = "allowed for parity: none, even, odd".to_owned();
                    return Err((format!("parity={} is not known", short(value)), allowed));
                }
            };
        }
        "stop" => {
            line.stop = match value {
                "1" => Some(1),
                "2" => Some(2),
                _ => return Err((format!("stop={} is not known", short(value)), "allowed for stop: 1, 2".to_owned())),
            };
        }
        other => {
            let help = match closest(other, ["baud", "parity", "stop"]) {
                Some(close) => format!("did you mean `{close}`? allowed: baud, parity, stop"),
                None => "allowed: baud, parity, stop".to_owned(),
            };
            return Err((format!("unknown parameter `{}`", short(other)), help));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_contract_is_read() {
        let line =
            SerialLine { path: "/dev/ttyUSB0".into(), baud: Some(115_200), parity: Some(Parity::Even), stop: Some(2) };
        assert_eq!(parse("serial:///dev/ttyUSB0?baud=115200&parity=even&stop=2"), Ok(Connection::Serial(line)));
        assert_eq!(parse("tcp://p1.local:23"), Ok(Connection::Tcp { host: "p1.local".into(), port: 23 }));
        assert_eq!(parse("rtu+tcp://[::1]:502"), Ok(Connection::RtuOverTcp { host: "::1".into(), port: 502 }));
        assert_eq!(parse_broker(""), Ok(None));
        assert_eq!(parse_broker("mqtt://ha/"), Ok(Some(MqttEndpoint::Plain { host: "ha".into(), port: 1883 })));
        assert_eq!(parse_broker("mqtts://ha"), Ok(Some(MqttEndpoint::Tls { host: "ha".into(), port: 8883 })));
        let address = "127.0.0.1:0".parse().unwrap();
        assert_eq!(parse_broker("embedded://127.0.0.1:0"), Ok(Some(MqttEndpoint::Embedded(address))));
    }

    #[test]
    fn the_address_of_an_http_device_is_read_and_begins_its_urls() {
        let url = |text| parse_http(text).map(|it| it.to_string());
        assert_eq!(url("http://192.0.2.20"), Ok("http://192.0.2.20:80".to_owned()));
        assert_eq!(url("https://p1meter.local/"), Ok("https://p1meter.local:443".to_owned()));
        assert_eq!(url("http://[::1]:8080"), Ok("http://[::1]:8080".to_owned()));
        for bad in
            ["http://", "http://a/b", "http://u:p@host", "tcp://host:80", "192.0.2.20", "htp://host", "http://a:0"]
        {
            assert!(parse_http(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_without_a_scheme_leads_to_the_right_one() {
        let help = |wrong: Wrong| wrong.1;
        for (text, meant) in [
            ("192.168.1.5", "did you mean tcp://192.168.1.5:502 (the port of Modbus TCP"),
            ("192.168.1.5:502", "did you mean tcp://192.168.1.5:502?"),
            ("[::1]:502", "did you mean tcp://[::1]:502?"),
            ("meter.local:23", "did you mean tcp://meter.local:23?"),
            ("/dev/ttyUSB0", "did you mean serial:///dev/ttyUSB0?"),
            ("/dev/ttyUSB0?baud=9600", "did you mean serial:///dev/ttyUSB0?baud=9600?"),
            ("ttyUSB0", "did you mean serial:///dev/ttyUSB0?"),
            ("ttyS1?baud=9600", "did you mean serial:///dev/ttyS1?baud=9600?"),
            ("tty.local", "did you mean tcp://tty.local:502 (the port of Modbus TCP"),
            ("tcp:192.168.1.5:502", "did you mean tcp://192.168.1.5:502?"),
            ("rtu+tcp:/192.168.1.5:502", "did you mean rtu+tcp://192.168.1.5:502?"),
            ("me:pw@192.168.1.5", "allowed: serial:"),
            ("COM3 9600", "allowed: serial:"),
        ] {
            let found = parse(text).map_err(help).expect_err(text);
            assert!(found.starts_with(meant), "{text}: {found}");
        }
        let http = parse_http("192.168.1.20").map_err(help).expect_err("no scheme");
        assert!(http.starts_with("did you mean http://192.168.1.20?"), "{http}");
        for (text, meant) in [
            ("homeassistant.local", "did you mean mqtt://homeassistant.local?"),
            ("192.168.1.2:1883", "did you mean mqtt://192.168.1.2:1883?"),
            ("tcp://192.168.1.2:1883", "did you mean mqtt://?"),
        ] {
            let found = parse_broker(text).map_err(help).expect_err(text);
            assert!(found.starts_with(meant), "{text}: {found}");
        }
    }

    #[test]
    fn every_mistake_of_a_serial_line_is_told_at_once() {
        let (what, help) = parse("serial:///dev/x?baud=9601&parity=xx&stop=3&speed=1&baud=9600").expect_err("wrong");
        assert_eq!(
            what,
            "baud=9601 is not a line speed; parity=xx is not known; stop=3 is not known; unknown parameter `speed`; \
             `baud` is given twice"
        );
        for allowed in ["9600, 14400", "allowed for parity: none, even, odd", "allowed for stop: 1, 2", "write it once"]
        {
            assert!(help.contains(allowed), "{help}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_what_is_allowed() {
        for bad in [
            "",
            "/dev/ttyUSB0",
            "serial://dev/ttyUSB0",
            "serial:///dev/x?baud=9601",
            "serial:///dev/x?baud=",
            "serial:///dev/x?speed=9600",
            "serial:///dev/x?baud=9600&baud=9600",
            "serial:///dev/x?parity=N",
            "serial:///dev/x?stop=3",
            "serial:///",
            "tcp://host",
            "tcp://:502",
            "tcp://host:0",
            "tcp://host:65536",
            "tcp://host:+5",
            "tcp://ho st:5",
            "tcp://u:p@host:5",
            "tcp://[::1:502",
            "tcp://[zz]:5",
            "tcp://a:1:2",
            "http://host",
            "modbus://host:502",
            "tcp://[::1]x",
        ] {
            let wrong = parse(bad).expect_err(bad);
            assert!(!wrong.0.is_empty() && !wrong.1.is_empty(), "{bad}");
        }
        for bad in ["ha", "mqtt://", "mqtt://u:p@ha", "ws://ha", "embedded://localhost:1883", "mqtt://ha:x"] {
            assert!(parse_broker(bad).is_err(), "{bad}");
        }
    }
}

//! Home Assistant's Supervisor, when we run as its add-on ("app"): it knows who the broker is.
//!
//! `GET /services/mqtt` with the token of the environment (developers.home-assistant.io, "Supervisor endpoints").

use std::time::Duration;

use serde_json::Value;

use crate::config::model::{HttpAddress, Secret};
use crate::link::http::{Client, Error, Limits, Login, Trust};

/// Where it is unless `SUPERVISOR_API` says otherwise.
const ADDRESS: &str = "http://supervisor";
/// It answers out of its memory; a busy small machine may still need a while.
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(10), body: 64 * 1024 };

/// How to ask it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    address: HttpAddress,
    token: Secret,
}

/// The broker of Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS is wanted.
    pub tls: bool,
    /// Login.
    pub username: Option<String>,
    /// Login; never printed.
    pub password: Option<Secret>,
}

impl Supervisor {
    /// At this address, with this token.
    #[must_use]
    pub fn new(address: HttpAddress, token: Secret) -> Self {
        Self { address, token }
    }

    /// From the variables that it gives its add-ons; `None` outside of one.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let token = std::env::var("SUPERVISOR_TOKEN").ok().filter(|it| !it.is_empty())?;
        let address = std::env::var("SUPERVISOR_API").unwrap_or_else(|_| ADDRESS.to_owned());
        match HttpAddress::parse(&address) {
            Ok(address) => Some(Self::new(address, Secret::new(token))),
            Err((message, help)) => {
                tracing::error!("SUPERVISOR_API: {message}; {help}");
                None
            }
        }
    }

    /// The broker, as it stands now.
    ///
    /// # Errors
    /// What is wrong and what to do, in a sentence.
    pub async fn broker(&self) -> Result<Broker, String> {
        let client = Client::new(&self.address, Login::Token(self.token.clone()), Trust::Nobody, LIMITS);
        let mut client = client.map_err(|error| error.to_string())?;
        match client.get("/services/mqtt").await {
            Ok(body) => parse(&body),
            Err(Error::Login(_)) => Err("the Supervisor refuses our token".to_owned()),
            // It answers 400 while no app offers a broker, and says so in its envelope.
            Err(Error::Status { status: 400..=499, body }) => {
                let why = serde_json::from_slice::<Value>(&body).ok();
                let why = why.as_ref().and_then(|it| it["message"].as_str()).unwrap_or("no reason given");
                Err(format!(
                    "the Supervisor knows no broker ({}): install and start the Mosquitto broker app, or write your \
                     own broker's address in the option mqtt.url",
                    why.chars().take(100).collect::<String>()
                ))
            }
            Err(error) => Err(format!("the Supervisor does not say who the broker is: {error}")),
        }
    }
}

fn parse(body: &[u8]) -> Result<Broker, String> {
    let wrong = |what: &str| format!("the Supervisor's answer about the broker has no {what}");
    let answer: Value = serde_json::from_slice(body).map_err(|_| wrong("JSON"))?;
    let data = &answer["data"];
    let text = |key: &str| data[key].as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    // Its documentation has a text, its code a number.
    let port = data["port"].as_u64().or_else(|| data["port"].as_str()?.parse().ok());
    Ok(Broker {
        host: text("host").ok_or_else(|| wrong("host"))?,
        port: port.and_then(|it| u16::try_from(it).ok()).filter(|it| *it != 0).ok_or_else(|| wrong("port"))?,
        tls: data["ssl"].as_bool().unwrap_or(false),
        username: text("username"),
        password: text("password").map(Secret::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_a_number_or_a_text() {
        for port in ["1883", "\"1883\""] {
            let body = format!(
                r#"{{"result":"ok","data":{{"addon":"core_mosquitto","host":"core-mosquitto","port":{port},"ssl":false,
                    "username":"addons","password":"secret","protocol":"3.1.1"}}}}"#
            );
            let broker = parse(body.as_bytes()).unwrap();
            assert_eq!((broker.host.as_str(), broker.port, broker.tls), ("core-mosquitto", 1883, false));
            assert_eq!(broker.username.as_deref(), Some("addons"));
            assert!(!format!("{broker:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (body, what) in [
            ("", "JSON"),
            ("[]", "host"),
            (r#"{"data":{"host":"h"}}"#, "port"),
            (r#"{"data":{"host":"h","port":70000}}"#, "port"),
            (r#"{"data":{"host":"","port":1}}"#, "host"),
        ] {
            assert!(parse(body.as_bytes()).unwrap_err().ends_with(&format!("no {what}")), "{body}");
        }
    }
}

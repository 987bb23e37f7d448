//! What a device says when it is asked who it is, and the lines to paste.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Device;
use super::directory::Family;
use crate::codec::homewizard;
use crate::codec::shelly::{self, gen1, rpc};
use crate::config::model::HttpAddress;
use crate::link::http::{Client, Error, Limits, Login, Trust};

const LIMITS: Limits = Limits { connect: Duration::from_secs(2), total: Duration::from_secs(3), body: 64 * 1024 };

/// A device and what it answered.
#[derive(Debug)]
pub(super) struct Found {
    device: Device,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// It is a meter, or may be one: type, and whether that is known or only announced.
    Meter { name: String, certain: bool, remark: Option<String>, login: bool },
    /// API version 2 of a HomeWizard: nothing is told without a token.
    Paired { name: String },
    /// It is there and cannot be read.
    Unusable { name: String, why: String },
}

/// Asks it.
pub(super) async fn at(device: Device) -> Found {
    let answer = match device.family {
        Family::Shelly => ask_shelly(&device).await,
        Family::HomeWizard => ask_homewizard(&device).await,
        Family::HomeWizard2 => Answer::Paired { name: announced(&device) },
    };
    Found { device, answer }
}

fn announced(device: &Device) -> String {
    let words = [device.says("product_name"), device.says("product_type"), device.says("app")];
    words.into_iter().flatten().next().unwrap_or(&device.name).to_owned()
}

/// Host and port as they are written in the configuration.
fn place(device: &Device, usual: u16) -> String {
    let host = match device.address {
        IpAddr::V4(it) => it.to_string(),
        IpAddr::V6(it) => format!("[{it}]"),
    };
    if device.port == usual { host } else { SocketAddr::new(device.address, device.port).to_string() }
}

fn client(device: &Device) -> Result<Client, Error> {
    let address = HttpAddress::parse(&format!("http://{}", place(device, 80)));
    let address = address.map_err(|(message, _)| Error::Tls(message))?;
    Client::new(&address, Login::None, Trust::Nobody, LIMITS)
}

async fn ask_shelly(device: &Device) -> Answer {
    let silent = |error: &dyn std::fmt::Display| Answer::Meter {
        name: announced(device),
        certain: false,
        remark: Some(format!("it announces itself, but did not say who it is: {error}")),
        login: false,
    };
    let mut client = match client(device) {
        Ok(client) => client,
        Err(error) => return silent(&error),
    };
    let who = match client.get("/shelly").await {
        Err(error) => return silent(&error),
        Ok(body) => match shelly::device(&body) {
            Ok(who) => who,
            Err(error) => return silent(&error),
        },
    };
    let kind = if who.generation == 1 { "generation 1".to_owned() } else { format!("generation {}", who.generation) };
    let name = format!("Shelly {} ({kind})", who.model.as_deref().unwrap_or(&device.name));
    if who.auth {
        let remark = "it asks for a login, so whether it measures power was not looked at".to_owned();
        return Answer::Meter { name, certain: true, remark: Some(remark), login: true };
    }
    let uri = if who.generation == 1 { "/status" } else { "/rpc/Shelly.GetStatus" };
    let measures = match client.get(uri).await {
        Err(error) => return silent(&error),
        Ok(body) if who.generation == 1 => gen1::source(&body, None).map(|_| ()),
        Ok(body) => rpc::source(&body, None).map(|_| ()),
    };
    match measures {
        Ok(()) => Answer::Meter { name, certain: true, remark: None, login: false },
        Err(error) => Answer::Unusable { name, why: error.to_string() },
    }
}

async fn ask_homewizard(device: &Device) -> Answer {
    let name = announced(device);
    if device.says("api_enabled") == Some("0") {
        let why = "its local API is off: switch it on in the HomeWizard app".to_owned();
        return Answer::Unusable { name, why };
    }
    let mut client = match client(device) {
        Ok(client) => client,
        Err(error) => return Answer::Unusable { name, why: error.to_string() },
    };
    match client.get("/api").await {
        Ok(body) => match homewizard::device(&body) {
            Ok(who) => Answer::Meter {
                name: format!("HomeWizard {}", who.product_type),
                certain: true,
                remark: None,
                login: false,
            },
            Err(error) => Answer::Unusable { name, why: error.to_string() },
        },
        Err(Error::Status { body, .. })
            if homewizard::error(&body).is_some_and(|it| it.ends_with(homewizard::DISABLED)) =>
        {
            let why = "its local API is off: switch it on in the HomeWizard app".to_owned();
            Answer::Unusable { name, why }
        }
        Err(error) => Answer::Meter {
            name,
            certain: false,
            remark: Some(format!("it announces itself, but did not say who it is: {error}")),
            login: false,
        },
    }
}

impl Found {
    /// Says what it is and how sure that is; `ids` are those that were given already.
    pub(super) fn report(&self, ids: &mut Vec<String>, out: &mut dyn Write) -> io::Result<()> {
        let (device, address) = (&self.device, self.device.address);
        match &self.answer {
            Answer::Meter { name, certain, remark, login } => {
                let sure = if *certain { "recognised: it says so itself" } else { "a guess" };
                writeln!(out, "# {address}: {}, {sure}", plain(name))?;
                if let Some(remark) = remark {
                    writeln!(out, "# {}", plain(remark))?;
                }
                let (driver, place) = match device.family {
                    Family::Shelly => ("shelly", place(device, 80)),
                    Family::HomeWizard | Family::HomeWizard2 => ("homewizard", place(device, 80)),
                };
                let id = id(&device.name, ids);
                write!(out, "[[meter]]\nid = \"{id}\"\ndriver = \"{driver}\"\nconnection = \"http://{place}\"\n")?;
                if *login {
                    writeln!(out, "password_file = \"{id}.password\"   # of its web page")?;
                }
                writeln!(out)
            }
            Answer::Paired { name } => {
                writeln!(out, "# {address}: {}, with API version 2: it announces itself so", plain(name))?;
                writeln!(out, "# go to it, then: gridkeeper pair homewizard {}\n", place(device, 443))
            }
            Answer::Unusable { name, why } => {
                writeln!(out, "# {address}: {}, which cannot be read: {}\n", plain(name), plain(why))
            }
        }
    }
}

/// What a device sends may hold anything; a terminal obeys control characters.
fn plain(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(200).collect()
}

/// An id made of its name that no other one has.
fn id(name: &str, ids: &mut Vec<String>) -> String {
    let fits = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_' || it == '-';
    let letter = |it: char| if fits(it.to_ascii_lowercase()) { it.to_ascii_lowercase() } else { '-' };
    let base: String = name.chars().take(28).map(letter).collect();
    let base =
        if base.is_empty() || ["grid", "site", "set"].contains(&base.as_str()) { "meter".to_owned() } else { base };
    let mut id = base.clone();
    let mut number = 2;
    while ids.contains(&id) {
        id = format!("{base}-{number}");
        number += 1;
    }
    ids.push(id.clone());
    id
}

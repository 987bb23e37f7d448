//! What was heard on the network, put together.

use std::net::IpAddr;

use crate::codec::dns::{Data, Kind, Name, Record};

/// Instances that are remembered; the network may hold anything.
const MOST_INSTANCES: usize = 256;
/// Hosts whose address is remembered.
const MOST_HOSTS: usize = 256;

/// Services that are asked for, and what kind of device has them.
const SERVICES: [(&str, Family); 4] = [
    ("_shelly._tcp.local", Family::Shelly),
    ("_http._tcp.local", Family::Shelly),
    ("_hwenergy._tcp.local", Family::HomeWizard),
    ("_homewizard._tcp.local", Family::HomeWizard2),
];

/// Kinds of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Shelly, any generation.
    Shelly,
    /// HomeWizard, API version 1.
    HomeWizard,
    /// HomeWizard, API version 2.
    HomeWizard2,
}

/// Something that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) family: Family,
    /// As it calls itself.
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// What it says about itself.
    pub(super) text: Vec<(String, String)>,
}

impl Device {
    /// The value of a key of its text.
    pub(super) fn says(&self, key: &str) -> Option<&str> {
        self.text.iter().find(|it| it.0 == key).map(|it| it.1.as_str())
    }
}

#[derive(Debug)]
struct Instance {
    name: Name,
    family: Family,
    host: Option<(Name, u16)>,
    text: Option<Vec<(String, String)>>,
    /// Who told us first: the device itself, as a rule.
    from: IpAddr,
}

/// Everything heard so far; bounded, whatever is said.
#[derive(Debug, Default)]
pub(super) struct Directory {
    instances: Vec<Instance>,
    hosts: Vec<(Name, [u8; 4])>,
}

impl Directory {
    /// Instances known.
    pub(super) fn len(&self) -> usize {
        self.instances.len()
    }

    /// What to ask next: all services once more, and what is missing of the instances known.
    pub(super) fn questions(&self) -> Vec<(Name, Kind)> {
        /// A question must fit into one packet.
        const MOST: usize = 16;
        let services = SERVICES.iter().map(|it| (Name::parse(it.0), Kind::Pointer));
        let missing = self.instances.iter().flat_map(|it| {
            let host = it.host.is_none().then(|| (it.name.clone(), Kind::Service));
            let text = it.text.is_none().then(|| (it.name.clone(), Kind::Text));
            host.into_iter().chain(text)
        });
        services.chain(missing).take(MOST).collect()
    }

    /// Takes an answer.
    pub(super) fn hear(&mut self, records: Vec<Record>, from: IpAddr) {
        // Pointers first: the others are of the instances that they name.
        for record in &records {
            if let Data::Pointer(name) = &record.data {
                self.instance(name, &record.name, from);
            }
        }
        for Record { name, data } in records {
            match data {
                Data::Pointer(_) => {}
                Data::Service { host, port } => {
                    for it in self.instances.iter_mut().filter(|it| it.name == name) {
                        it.host = Some((host.clone(), port));
                    }
                }
                Data::Text(text) => {
                    for it in self.instances.iter_mut().filter(|it| it.name == name) {
                        it.text = Some(text.clone());
                    }
                }
                Data::Address(address) => {
                    if let Some(known) = self.hosts.iter_mut().find(|it| it.0 == name) {
                        known.1 = address;
                    } else if self.hosts.len() < MOST_HOSTS {
                        self.hosts.push((name, address));
                    }
                }
            }
        }
    }

    fn instance(&mut self, name: &Name, service: &Name, from: IpAddr) {
        let Some((word, family)) = SERVICES.iter().find(|it| Name::parse(it.0) == *service) else { return };
        // Printers and the like have web pages too; a Shelly of generation 1 has nothing else.
        let is_web = *word == "_http._tcp.local";
        let named = |it: &Name| it.first().to_ascii_lowercase().starts_with("shelly");
        if name.rest() != *service || (is_web && !named(name)) {
            return;
        }
        if self.instances.len() < MOST_INSTANCES && !self.instances.iter().any(|it| it.name == *name) {
            self.instances.push(Instance { name: name.clone(), family: *family, host: None, text: None, from });
        }
    }

    /// Each device once for each way to read it, in the order in which they were heard of.
    pub(super) fn devices(&self) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::new();
        for it in &self.instances {
            let host = it.host.as_ref().map(|it| &it.0);
            let told = host.and_then(|host| self.hosts.iter().find(|it| it.0 == *host)).map(|it| IpAddr::from(it.1));
            let usual = if it.family == Family::HomeWizard2 { 443 } else { 80 };
            let device = Device {
                family: it.family,
                name: it.name.first().to_owned(),
                address: told.unwrap_or(it.from),
                port: it.host.as_ref().map_or(usual, |it| it.1),
                text: it.text.clone().unwrap_or_default(),
            };
            // A Shelly of generation 2 has both of its services.
            let same = |other: &&mut Device| {
                (other.family, other.address, other.port) == (device.family, device.address, device.port)
            };
            match devices.iter_mut().find(same) {
                Some(other) => other.text.extend(device.text),
                None => devices.push(device),
            }
        }
        devices
    }
}

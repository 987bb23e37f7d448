//! The checked configuration: what the rest of the program may rely on. Every value is in range, every reference
//! resolves, every file named has been read. Built only by `config::load`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::codec::sample::Quantity;
use crate::control::{ChargerSettings, SiteSettings, SurplusSetup, Timing};
use crate::feature::Purpose;
use crate::quantity::{Milliamp, Phase, Span, Watt};

mod serve;
mod signals;
mod wire;

pub use serve::{Serve, ServeKind};
pub use signals::{Input, InputDriver, Relay, RelayDriver, ShellyPoint};
pub use wire::{Connection, HttpAddress, Pairing, Parity, Secret, SerialLine};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[site]`
    pub site: Site,
    /// `[grid]`
    pub grid: Grid,
    /// `[control]`, as far as it is no run-time setting.
    pub control: Control,
    /// `[timing]`: the constants of the fail-safe table.
    pub timing: Timing,
    /// `[mqtt]`; `None` when the URL is empty or the table is missing.
    pub mqtt: Option<Mqtt>,
    /// Direct writer; `None` without one.
    pub influx: Option<Influx>,
    /// `[web]`
    pub web: Web,
    /// `[storage]`
    pub storage: Storage,
    /// `[[meter]]`
    pub meters: Vec<Meter>,
    /// `[[circuit]]`, each after the one above it.
    pub circuits: Vec<Circuit>,
    /// `[[charger]]`
    pub chargers: Vec<Charger>,
    /// `[[input]]`
    pub inputs: Vec<Input>,
    /// What it was checked for.
    pub purpose: Purpose,
    /// `[[relay]]`
    pub relays: Vec<Relay>,
    /// `[[serve]]`
    pub serves: Vec<Serve>,
}

/// Where it stands.
#[derive(Clone, Debug)]
pub struct Site {
    /// Shown name.
    pub name: String,
    /// IANA name, known to the time zone data base.
    pub time_zone: String,
    /// Language of sentences; `en` for now.
    pub language: String,
}

/// The grid connection.
#[derive(Clone, Debug)]
pub struct Grid {
    /// 1 or 3.
    pub phases: u8,
    /// Present as soon as there is a charger.
    pub fuse: Option<Milliamp>,
    /// Kept free below the limit.
    pub margin: Milliamp,
    /// Index into the meters.
    pub meter: Option<usize>,
    /// Static balancing.
    pub static_current: Option<Milliamp>,
    /// As in the file.
    pub meter_late: Option<Span>,
    /// As in the file.
    pub meter_lost: Option<Span>,
    /// Default 0.
    pub meter_lost_current: Milliamp,
    /// All charging together while dimmed.
    pub dim: Option<Watt>,
    /// One-phase current of the chargers between phases.
    pub max_imbalance: Option<Milliamp>,
}

/// `[[circuit]]`
#[derive(Clone, Debug)]
pub struct Circuit {
    /// Unique over all kinds.
    pub id: String,
    /// Index into the circuits; `None` is the grid connection.
    pub parent: Option<usize>,
    /// Fuse or breaker per phase.
    pub fuse: Milliamp,
    /// All phases together.
    pub max_power: Option<Watt>,
    /// Index into the meters.
    pub meter: Option<usize>,
    /// Other loads where it has no meter, per phase.
    pub reserve: Milliamp,
    /// As in the file.
    pub meter_late: Option<Span>,
    /// As in the file.
    pub meter_lost: Option<Span>,
    /// Default 0.
    pub meter_lost_current: Milliamp,
}

/// The controller's own rules.
#[derive(Clone, Debug)]
pub struct Control {
    /// Binds the controller's own starts.
    pub min_on: Span,
    /// Binds the controller's own stops.
    pub min_off: Span,
    /// Between two switchings of phases.
    pub phase_switch_min: Span,
    /// The rules of surplus.
    pub surplus: SurplusSetup,
    /// Site settings as the file has them.
    pub site: SiteSettings,
}

/// The broker.
#[derive(Clone, Debug)]
pub struct Mqtt {
    /// Where.
    pub endpoint: MqttEndpoint,
    /// Login.
    pub username: Option<String>,
    /// Login; never printed.
    pub password: Option<Secret>,
    /// PEM of the CA that signed the broker's certificate.
    pub ca_pem: Option<Vec<u8>>,
    /// PEM of the client's certificate chain.
    pub client_cert_pem: Option<Vec<u8>>,
    /// PEM of the client's key; never printed.
    pub client_key_pem: Option<Secret>,
    /// `None`: random per installation.
    pub client_id: Option<String>,
    /// Without leading or trailing slash.
    pub base_topic: String,
    /// Empty: no discovery.
    pub discovery_prefix: String,
    /// Home Assistant's birth topic.
    pub birth_topic: String,
    /// Between two publications of readings.
    pub interval: Span,
    /// Line protocol on `<base>/influx`.
    pub influx: bool,
}

/// `[influx]`: the direct writer.
#[derive(Clone, Debug)]
pub struct Influx {
    /// Where.
    pub address: HttpAddress,
    /// Who signed the server's certificate, as PEM; `None`: whom the system believes. Only with TLS.
    pub ca_pem: Option<String>,
    /// Which interface it speaks.
    pub api: InfluxApi,
    /// The bucket; with `v1` the database.
    pub bucket: String,
    /// Between two collections, as on MQTT.
    pub interval: Span,
}

/// Interfaces for writing, and how each knows who writes.
#[derive(Clone, Debug)]
pub enum InfluxApi {
    /// `/write`: InfluxDB 1, VictoriaMetrics.
    V1 {
        /// User and password.
        login: Option<(String, Secret)>,
    },
    /// `/api/v2/write`: InfluxDB 1.8, 2 and 3, VictoriaMetrics.
    V2 {
        /// Organisation; some servers need none.
        org: String,
        /// Never printed.
        token: Option<Secret>,
    },
}

/// Kinds of broker address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MqttEndpoint {
    /// `mqtt://host:port`
    Plain {
        /// Host name or address.
        host: String,
        /// Default 1883.
        port: u16,
    },
    /// `mqtts://host:port`
    Tls {
        /// Host name as in the certificate.
        host: String,
        /// Default 8883.
        port: u16,
    },
    /// `embedded://address:port`
    Embedded(SocketAddr),
    /// `supervisor`: whatever Home Assistant's Supervisor says, in the add-on.
    Supervisor,
}

/// The page.
#[derive(Clone, Debug)]
pub struct Web {
    /// `None` when `listen = ""`.
    pub listen: Option<SocketAddr>,
    /// Needed off loopback.
    pub password: Option<Secret>,
}

/// Files that the program writes.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Exists or can be created.
    pub data_dir: PathBuf,
}

/// What any device has.
#[derive(Clone, Debug)]
pub struct Common {
    /// Unique over all kinds.
    pub id: String,
    /// Shown name; the id when the file has none.
    pub name: String,
    /// Suggested area in Home Assistant.
    pub area: Option<String>,
}

/// `[[meter]]`
#[derive(Clone, Debug)]
pub struct Meter {
    /// Id and names.
    pub common: Common,
    /// How it is read.
    pub driver: MeterDriver,
    /// Which grid phase is behind the meter's own L1, L2, L3.
    pub phases: [Phase; 3],
    /// Clamps mounted backwards.
    pub invert: bool,
    /// What it measures.
    pub role: MeterRole,
}

/// What a meter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterRole {
    /// The grid connection.
    Grid,
    /// A circuit below it.
    Circuit,
    /// One charger.
    Charger,
    /// A solar plant, production positive. There may be several: they add up.
    Solar,
    /// A home battery, discharge positive.
    Battery,
    /// Anything else.
    Other,
}

impl MeterRole {
    /// As in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Circuit => "circuit",
            Self::Charger => "charger",
            Self::Solar => "solar",
            Self::Battery => "battery",
            Self::Other => "other",
        }
    }
}

/// Ways to read a meter.
#[derive(Clone)]
pub enum MeterDriver {
    /// A P1 port.
    P1 {
        /// Serial or raw TCP.
        connection: Connection,
        /// 16 bytes, for encrypted telegrams.
        key: Option<[u8; 16]>,
        /// 16 bytes, to verify the tag (AAD); `None` takes the published default.
        auth_key: Option<[u8; 16]>,
    },
    /// A Shelly with clamps or a relay that measures.
    Shelly {
        /// Where; plain HTTP.
        address: HttpAddress,
        /// User and password.
        login: Option<(String, Secret)>,
        /// Which of several measurements; `None`: all phases of a three-phase device, else the first.
        channel: Option<u8>,
    },
    /// A HomeWizard device.
    HomeWizard {
        /// `http` is API version 1, `https` version 2.
        address: HttpAddress,
        /// For version 2.
        pairing: Option<Pairing>,
    },
    /// A unit on a Modbus bus.
    Modbus {
        /// Serial, Modbus TCP or RTU over TCP.
        connection: Connection,
        /// 1 to 247.
        unit: u8,
        /// Its registers.
        model: Arc<crate::codec::model::Model>,
    },
    /// An optical port after IEC 62056-21.
    Iec62056 {
        /// Serial or raw TCP.
        connection: Connection,
        /// Pause between two readouts of a meter that is asked; `None`: by its role.
        period: Option<Span>,
    },
    /// A meter that pushes SML.
    Sml {
        /// Serial or raw TCP.
        connection: Connection,
    },
    /// Messages of other software on the broker.
    Mqtt(MqttMeter),
    /// Spoken to over the simulation seam.
    Simulated {
        /// As an installer would know it.
        period: Option<Span>,
    },
}

impl MeterDriver {
    /// Topics that it listens to.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let meter = if let Self::Mqtt(meter) = self { Some(meter) } else { None };
        meter.into_iter().flat_map(|it| it.sources.iter().map(|it| it.place.topic.as_str()))
    }
}

/// A meter whose values come by MQTT.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttMeter {
    /// Where each quantity stands; not empty.
    pub sources: Vec<MqttSource>,
    /// Where the time of the values stands.
    pub time: Option<MqttPlace>,
    /// It is lost after so long without a message.
    pub max_age: Span,
    /// Of the site, for times without a zone.
    pub time_zone: String,
}

/// Where one quantity stands.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttSource {
    /// Which.
    pub quantity: Quantity,
    /// Where.
    pub place: MqttPlace,
    /// What its number is multiplied by to come to our unit.
    pub factor: f64,
}

/// A place in the messages of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttPlace {
    /// Without wildcards.
    pub topic: String,
    /// JSON pointer (RFC 6901); empty: the whole message.
    pub pointer: String,
}

/// Without the keys.
impl std::fmt::Debug for MeterDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::P1 { connection, key, auth_key } => f
                .debug_struct("P1")
                .field("connection", connection)
                .field("key", &key.map(|_| "…"))
                .field("auth_key", &auth_key.map(|_| "…"))
                .finish(),
            Self::Shelly { address, login, channel } => f
                .debug_struct("Shelly")
                .field("address", address)
                .field("login", login)
                .field("channel", channel)
                .finish(),
            Self::HomeWizard { address, pairing } => {
                f.debug_struct("HomeWizard").field("address", address).field("pairing", pairing).finish()
            }
            Self::Modbus { connection, unit, model } => f
                .debug_struct("Modbus")
                .field("connection", connection)
                .field("unit", unit)
                .field("model", &model.id)
                .finish(),
            Self::Iec62056 { connection, period } => {
                f.debug_struct("Iec62056").field("connection", connection).field("period", period).finish()
            }
            Self::Sml { connection } => f.debug_struct("Sml").field("connection", connection).finish(),
            Self::Mqtt(meter) => f.debug_tuple("Mqtt").field(meter).finish(),
            Self::Simulated { period } => f.debug_struct("Simulated").field("period", period).finish(),
        }
    }
}

/// `[[charger]]`
#[derive(Clone, Debug)]
pub struct Charger {
    /// Id and names.
    pub common: Common,
    /// How it is spoken to.
    pub driver: ChargerDriver,
    /// Grid phase behind the charger's own L1, L2, L3; one to three.
    pub phases: Vec<Phase>,
    /// Index into the circuits; `None` is the grid connection.
    pub circuit: Option<usize>,
    /// Index of a meter of its own.
    pub meter: Option<usize>,
    /// Wired maximum.
    pub max_current: Milliamp,
    /// Resolution of the set-point.
    pub step: Milliamp,
    /// It may be switched between three phases and one.
    pub phase_switching: bool,
    /// What it is to fall to when we are gone.
    pub fail_safe: Milliamp,
    /// `None` where the kind has no such timer.
    pub watchdog: Option<Span>,
    /// Authorise by ourselves.
    pub auto_authorize: bool,
    /// As the file has them.
    pub settings: ChargerSettings,
}

/// Ways to speak to a charger.
#[derive(Clone, Debug)]
pub enum ChargerDriver {
    /// Teltonika TeltoCharge as secondary.
    TeltoCharge {
        /// Serial, TCP or RTU over TCP.
        connection: Connection,
        /// Modbus unit, 1 to 247.
        unit: u8,
    },
    /// EVSE-DIN, EVSE-WB.
    EvseDin {
        /// Serial, TCP or RTU over TCP.
        connection: Connection,
        /// Modbus unit, 1 to 247.
        unit: u8,
    },
    /// Spoken to over the simulation seam.
    Simulated,
}

//! Every table and key of the file, as it may be written: the one place that says names, ranges and documentation.
//! Checking, messages, the environment and the JSON Schema are made from it.

use std::collections::HashMap;

use config::Value;

use super::key::{
    Field, active, addresses, any, choice, current, flag, lines, number, phase_switching, several, text, texts, whole,
    word, words,
};
use super::slot::{Slot, slot};
use crate::control::Mode;
use crate::feature::{Feature, MODES, SHARING, Status};
use crate::quantity::Phase;

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// As written.
    pub(super) name: &'static str,
    /// From the documentation below.
    pub(super) doc: &'static str,
    /// `[[name]]`: a list, of devices with ids as a rule.
    pub(super) list: bool,
    /// Whether this version has it.
    pub(super) status: Status,
    /// Its keys.
    pub(super) fields: &'static [Field],
}

impl Section {
    /// Whether each table of the list has an id.
    pub(super) fn has_ids(&self) -> bool {
        self.fields.iter().any(|it| it.name == "id")
    }
}

/// Read before everything else, to find the table again in other layers.
const ID_DOC: &str = " Required. Unique over all kinds: 1 to 32 of a-z, 0-9, _ and -.";

macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $raw:ident = $name:literal, list: $list:literal, $( key: $id:literal, )? status: $status:ident {
            $( $(#[doc = $kdoc:literal])+ $key:ident: $type:ty = $field:expr; )*
        } $( later {
            $( $(#[doc = $ldoc:literal])+ $later:ident; )*
        } )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $raw {
            $( $(#[doc = $kdoc])+ pub(super) $key: Slot<$type>, )*
        }

        impl $raw {
            /// How the table is written.
            pub(super) const SECTION: Section = Section {
                name: $name,
                doc: concat!($($doc),+),
                list: $list,
                status: Status::$status,
                fields: &[
                    $( Field { name: $id, doc: ID_DOC, ..text(1 << 20) }, )?
                    $( Field { name: stringify!($key), doc: concat!($($kdoc),+), ..$field }, )*
                    $( $( Field { name: stringify!($later), doc: concat!($($ldoc),+), ..any() }, )* )?
                ],
            };

            /// From a merged table.
            pub(super) fn read(table: &HashMap<String, Value>) -> Self {
                Self { $( $key: slot(table, stringify!($key)), )* }
            }
        }

        impl schemars::JsonSchema for $raw {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                super::schema::table(&Self::SECTION)
            }
        }
    };
}

/// Longest time that a key takes: a day.
const DAY: f64 = 86_400.0;

section! {
    /// Where the appliance stands.
    Site = "site", list: false, status: Now {
        /// Name that is shown. Default: "Home".
        name: String = text(64);
        /// Time zone by its IANA name, as in "Europe/Budapest". Default: the zone of the machine.
        time_zone: String = text(64);
        /// Language of the sentences. Default: "en".
        language: String = words(&["en"], &["cs", "de", "fr", "hu", "nl", "sv"], &[]);
    }
}

section! {
    /// The grid connection: the root of all circuits.
    Grid = "grid", list: false, status: Now {
        /// Phases of the grid connection, 1 or 3. Default: 3.
        phases: i64 = choice(&[1, 3]);
        /// Main fuse or breaker per phase. Required as soon as a charger is configured.
        fuse_a: f64 = number(1.0, 2000.0, "A");
        /// A lower ceiling per phase that the owner chooses, at most fuse_a. Default: only the fuse.
        max_import_a: f64 = number(0.0, 2000.0, "A");
        /// Ceiling of all phases together, at any moment.
        max_import_kw: f64 = number(0.0, 1000.0, "kW").of(Feature::MaxImportKw);
        /// Ceiling of the mean import of a quarter of an hour (capacity tariff).
        peak_15min_kw: f64 = number(0.0, 1000.0, "kW").of(Feature::Peak15min);
        /// Kept free below the limit, per phase. Default: 0.5.
        margin_a: f64 = number(0.0, 100.0, "A");
        /// Id of the meter at the grid connection. Without it: static balancing, and static_a is required.
        meter: String = text(32);
        /// What all chargers together may take per phase when there is no grid meter, or one that tells all phases together only with production behind it.
        static_a: f64 = number(0.0, 2000.0, "A");
        /// No raise after so long without a frame of the grid meter. Default: 5 s, or 1.5 periods of the meter.
        meter_late_s: f64 = number(0.1, 3600.0, "s");
        /// The grid meter is lost after so long without a good frame. Default: 10 s for p1, iec62056-21 and sml, else 10 s or 2 periods + 2 s.
        meter_lost_s: f64 = number(1.2, 3600.0, "s");
        /// What all chargers behind the meter together may take per phase while it is lost. Default: 0, which stops them.
        meter_lost_current_a: f64 = number(0.0, 2000.0, "A");
        /// All charging together while the grid operator dims. Default: none of it.
        dim_kw: f64 = number(0.0, 1000.0, "kW").of(Feature::DimKw);
        /// By how much the one-phase current of the chargers may differ between phases. Default: not limited.
        max_imbalance_a: f64 = number(0.0, 2000.0, "A");
    }
}

section! {
    /// The controller's own rules.
    Control = "control", list: false, status: Now {
        /// The big switch. Default: true.
        charging_enabled: bool = flag();
        /// How chargers share what there is. Default: "equal".
        sharing: String = words(&["equal"], &[], SHARING);
        /// All chargers together.
        max_charging_kw: f64 = number(0.0, 1000.0, "kW").of(Feature::MaxChargingKw);
        /// Shortest time between a start and a stop of the controller's own choice. Default: 300.
        min_on_s: f64 = number(0.0, DAY, "s");
        /// Shortest time between a stop and a start of the controller's own choice. Default: 300.
        min_off_s: f64 = number(0.0, DAY, "s");
        /// Shortest time between two switchings of phases; going to one phase does not wait for it. Default: 300.
        phase_switch_min_s: f64 = number(0.0, DAY, "s");
        /// Whether phases may pay for each other: "net" or "per_phase". Default: "net".
        surplus: String = word(&["net", "per_phase"]);
        /// What happens when a cloud comes: "mean" goes on while the mean surplus pays for the minimum, "strict" holds the
        /// minimum for solar_grace_s, stops, and starts after solar_proof_s. Default: "mean".
        solar_patience: String = word(&["mean", "strict"]);
        /// How long "strict" holds the minimum without sun. Default: 30.
        solar_grace_s: f64 = number(0.0, 3600.0, "s");
        /// How long there must be sun before "strict" starts. Default: 120.
        solar_proof_s: f64 = number(0.0, 3600.0, "s");
        /// Where the grid reading is held in the modes that follow the sun, import positive. Default: 0.
        solar_target_w: f64 = number(-100_000.0, 100_000.0, "W");
        /// Rank of the home battery: what charges it is no surplus ("first"), half of it is ("share"), all of it is
        /// ("last"). Its discharge never is. Default: "first".
        battery: String = word(&["first", "share", "last"]);
    }
}

section! {
    /// Constants of the fail-safe table, in seconds. For tests and commissioning: `check` warns when one differs from
    /// its default.
    Timing = "timing", list: false, status: Now {
        /// A charger is silent after this time without a valid answer, and at least three attempts. Default: 5.
        charger_silent_s: f64 = number(0.05, 600.0, "s");
        /// Added to the watchdog's time-out for the quiet time after the last write to a silent charger. Default: 10.
        quiet_extra_s: f64 = number(0.0, 600.0, "s");
        /// A cut must show in the draw this long after the charger showed the new set-point. Default: 6.
        cut_response_s: f64 = number(0.005, 600.0, "s");
        /// The same from the write, above 1.45 times the limit. Default: 5.
        cut_response_hard_s: f64 = number(0.05, 600.0, "s");
        /// A raise that another charger's reduction made possible waits this long at most. Default: 6.
        raise_after_cut_s: f64 = number(0.0, 600.0, "s");
        /// Above its offer for this long: it does not obey. Default: 10.
        not_obeying_s: f64 = number(0.05, 600.0, "s");
        /// Obedience needed before a charger is trusted again. Default: 60.
        obedience_s: f64 = number(0.05, 3600.0, "s");
        /// A set-point read back above ours twice within this time: a second master. Default: 60.
        second_master_s: f64 = number(0.05, 3600.0, "s");
        /// Quiet time after which a second master is forgotten. Default: 600.
        second_master_quiet_s: f64 = number(0.05, DAY, "s");
        /// Shortest time between two rewrites against a second master. Default: 60.
        second_master_rewrite_s: f64 = number(0.05, 3600.0, "s");
        /// An order to a charger holds for so long unless it is renewed. Default: 5.
        lease_s: f64 = number(0.1, 60.0, "s");
        /// A charger is asked this often. Default: 1.
        poll_s: f64 = number(0.02, 60.0, "s");
        /// Silence that an EVSE-DIN is left after a telegram. Default: 0.15.
        bus_pause_s: f64 = number(0.0, 2.0, "s");
    }
}

section! {
    /// The broker.
    Mqtt = "mqtt", list: false, status: Now {
        /// mqtt://host:port, mqtts://host:port for TLS, embedded://address:port for the built-in broker (off loopback with username and password only), "supervisor" in the Home Assistant add-on, "" for none. Default: "".
        url: String = text(300);
        /// Login.
        username: String = text(256);
        /// Login; better in password_file.
        password: String = text(1024).secret();
        /// File that holds the password.
        password_file: String = text(4096);
        /// PEM file of the CA that signed the broker's certificate. Default: the public CAs.
        ca_file: String = text(4096);
        /// PEM file of the client's certificate.
        client_cert_file: String = text(4096);
        /// PEM file of the client's key.
        client_key_file: String = text(4096);
        /// Client identifier. Default: random per installation, kept in the data directory.
        client_id: String = text(128);
        /// First part of every topic. Default: "gridkeeper".
        base_topic: String = text(128);
        /// Home Assistant's discovery prefix; "" switches discovery off. Default: "homeassistant".
        discovery_prefix: String = text(128);
        /// Home Assistant's birth topic. Default: "homeassistant/status".
        birth_topic: String = text(256);
        /// Between two publications of readings; 1 = every telegram. Default: 5.
        interval_s: f64 = number(0.1, 3600.0, "s");
        /// InfluxDB line protocol on <base>/influx, for Telegraf. Default: false.
        influx: bool = flag();
    }
}

section! {
    /// Direct writer to InfluxDB, versions 1 to 3, or VictoriaMetrics.
    Influx = "influx", list: false, status: Now {
        /// http://host:port or https://host:port. Required in this table.
        url: String = text(300);
        /// PEM file of who signed the server's certificate, https only. Default: who the system believes.
        ca_file: String = text(4096);
        /// "v2" for /api/v2/write, "v1" for /write. Default: "v2".
        api: String = word(&["v1", "v2"]);
        /// Organisation, v2 only.
        org: String = text(256);
        /// Bucket; with v1 the database. Required in this table.
        bucket: String = text(256);
        /// File that holds the token, v2 only.
        token_file: String = text(4096);
        /// Login, v1 only.
        username: String = text(256);
        /// File that holds the password, v1 only.
        password_file: String = text(4096);
    }
}

section! {
    /// The page.
    Web = "web", list: false, status: Now {
        /// Address and port; "" switches the page off. Default: "127.0.0.1:8127".
        listen: String = text(64);
        /// File that holds the password; needed off loopback.
        password_file: String = text(4096);
    } later {
        /// File that holds the installer's password.
        installer_password_file;
    }
}

section! {
    /// Files that the program writes.
    Storage = "storage", list: false, status: Now {
        /// Folder for settings and history. Default: the platform's state directory; /data in the add-on.
        data_dir: String = text(4096);
    }
}

section! {
    /// A meter.
    Meter = "meter", list: true, key: "id", status: Now {
        /// Name that is shown. Default: the id.
        name: String = text(64);
        /// Suggested area in Home Assistant.
        area: String = text(64);
        /// How it is read. Required.
        driver: String = words(
            &["p1", "iec62056-21", "sml", "modbus", "shelly", "homewizard", "mqtt", "simulated"],
            &[],
            &[],
        );
        /// Where it is: serial:///dev/x?baud=&parity=&stop= or tcp://host:port for p1, iec62056-21, sml and modbus (there
        /// Modbus TCP), also rtu+tcp://host:port for modbus, http://host for shelly, http://host (API version 1) or
        /// https://host (version 2) for homewizard.
        connection: String = text(300).only(&["p1", "iec62056-21", "sml", "modbus", "shelly", "homewizard"]);
        /// Model of a Modbus meter: a file of config/models, or of models in the data directory. Required for "modbus".
        model: String = text(64).only(&["modbus"]);
        /// Modbus unit. Default: the model's factory setting.
        unit: i64 = whole(1, 247, "").only(&["modbus"]);
        /// File with the key of encrypted telegrams: 32 hexadecimal digits.
        key_file: String = text(4096).only(&["p1"]);
        /// File with the authentication key of encrypted telegrams: 32 hexadecimal digits.
        auth_key_file: String = text(4096).only(&["p1"]);
        /// Login of a Shelly. Default: "admin".
        username: String = text(64).only(&["shelly"]);
        /// File with the password of a Shelly.
        password_file: String = text(4096).only(&["shelly"]);
        /// File that `gridkeeper pair homewizard` has written.
        token_file: String = text(4096).only(&["homewizard"]);
        /// Which of several measurements of a Shelly. Default: all phases of a three-phase device, else the first.
        channel: i64 = whole(0, 9, "").only(&["shelly"]);
        /// Which grid phase is behind the meter's own L1, L2, L3. Default: L1, L2, L3.
        phases: Vec<Phase> = lines();
        /// Clamps mounted backwards. Default: false.
        invert: bool = flag();
        /// What it measures. grid, circuit and charger follow from where the meter is named; solar (production
        /// positive) and battery (discharge positive) have to be said. Default: by where it is named, else "other".
        role: String = words(&["grid", "circuit", "charger", "solar", "battery", "other"], &[], &[]);
        /// Topic of a meter that comes by MQTT, for every value that names none of its own.
        topic: String = text(256).only(&["mqtt"]);
        /// A meter that comes by MQTT is lost after so long without a message. At most 30 where it guards a fuse.
        /// Default: 30.
        max_age_s: f64 = number(1.2, 3600.0, "s").only(&["mqtt"]);
        /// Where the time of the values stands, as for the values; older than max_age_s they are not used. Without it
        /// replayed (retained) messages are not used.
        time: String = text(400).only(&["mqtt"]);
        /// Active power of all phases, import positive: where it stands, as "/json/pointer" in topic, "other/topic#/json/pointer", or "other/topic" for a plain number; " * 1000" behind it multiplies. MQTT.
        power_w: String = text(400).only(&["mqtt"]);
        /// Active power of all phases, import only, by MQTT: as power_w.
        power_import_w: String = text(400).only(&["mqtt"]);
        /// Active power of all phases, export only, by MQTT: as power_w.
        power_export_w: String = text(400).only(&["mqtt"]);
        /// Active power of L1, import positive, by MQTT: as power_w.
        power_l1_w: String = text(400).only(&["mqtt"]);
        /// The same of L2, by MQTT: as power_w.
        power_l2_w: String = text(400).only(&["mqtt"]);
        /// The same of L3, by MQTT: as power_w.
        power_l3_w: String = text(400).only(&["mqtt"]);
        /// Current of L1, by MQTT: as power_w.
        current_l1_a: String = text(400).only(&["mqtt"]);
        /// Current of L2, by MQTT: as power_w.
        current_l2_a: String = text(400).only(&["mqtt"]);
        /// Current of L3, by MQTT: as power_w.
        current_l3_a: String = text(400).only(&["mqtt"]);
        /// Voltage of L1, by MQTT: as power_w.
        voltage_l1_v: String = text(400).only(&["mqtt"]);
        /// Voltage of L2, by MQTT: as power_w.
        voltage_l2_v: String = text(400).only(&["mqtt"]);
        /// Voltage of L3, by MQTT: as power_w.
        voltage_l3_v: String = text(400).only(&["mqtt"]);
        /// Power factor, by MQTT: as power_w.
        power_factor: String = text(400).only(&["mqtt"]);
        /// Grid frequency, by MQTT: as power_w.
        frequency_hz: String = text(400).only(&["mqtt"]);
        /// Import counter, by MQTT: as power_w.
        energy_import_kwh: String = text(400).only(&["mqtt"]);
        /// Export counter, by MQTT: as power_w.
        energy_export_kwh: String = text(400).only(&["mqtt"]);
        /// Import counter of tariff 1, by MQTT: as power_w.
        energy_import_t1_kwh: String = text(400).only(&["mqtt"]);
        /// Import counter of tariff 2, by MQTT: as power_w.
        energy_import_t2_kwh: String = text(400).only(&["mqtt"]);
        /// Export counter of tariff 1, by MQTT: as power_w.
        energy_export_t1_kwh: String = text(400).only(&["mqtt"]);
        /// Export counter of tariff 2, by MQTT: as power_w.
        energy_export_t2_kwh: String = text(400).only(&["mqtt"]);
        /// Reactive import counter, by MQTT: as power_w.
        reactive_energy_import_kvarh: String = text(400).only(&["mqtt"]);
        /// Reactive export counter, by MQTT: as power_w.
        reactive_energy_export_kvarh: String = text(400).only(&["mqtt"]);
        /// How full the battery is in %, by MQTT: as power_w.
        soc_percent: String = text(400).only(&["mqtt"]);
        /// Number of the active tariff, by MQTT: as power_w.
        tariff: String = text(400).only(&["mqtt"]);
        /// Pause between two readouts of an iec62056-21 meter that is asked; time between two frames of a simulated one.
        /// Default: 1 for a meter that the controller uses, which is read every 5 s at least, else 900, because it may
        /// run on a battery.
        period_s: f64 = number(0.05, DAY, "s").only(&["iec62056-21", "simulated"]);
    }
}

section! {
    /// A circuit below the grid connection or below another one, with a fuse of its own.
    Circuit = "circuit", list: true, key: "id", status: Now {
        /// Id of the circuit above. Default: "grid".
        parent: String = text(32);
        /// Fuse or breaker per phase. Required.
        fuse_a: f64 = number(1.0, 2000.0, "A");
        /// Ceiling of all phases together.
        max_kw: f64 = number(0.0, 1000.0, "kW");
        /// Id of the meter that measures all that is behind this fuse.
        meter: String = text(32);
        /// Other loads of the circuit per phase, where it has no meter. Default: 0.
        reserve_a: f64 = number(0.0, 2000.0, "A");
        /// No raise after so long without a frame of its meter. Default: 5 s, or 1.5 periods of the meter.
        meter_late_s: f64 = number(0.1, 3600.0, "s");
        /// Its meter is lost after so long without a good frame. Default: 10 s for p1, else 10 s or 2 periods + 2 s.
        meter_lost_s: f64 = number(1.2, 3600.0, "s");
        /// What all chargers behind its meter together may take per phase while it is lost. Default: 0, which stops them.
        meter_lost_current_a: f64 = number(0.0, 2000.0, "A");
    }
}

section! {
    /// A charger.
    Charger = "charger", list: true, key: "id", status: Now {
        /// Name that is shown. Default: the id.
        name: String = text(64);
        /// Suggested area in Home Assistant.
        area: String = text(64);
        /// How it is spoken to. Required.
        driver: String = words(
            &["teltocharge", "evse-din", "simulated"],
            &["keba", "abb", "alfen", "go-e", "heidelberg", "openwb", "peblar", "shelly", "smartevse", "vestel", "webasto", "modbus", "mqtt"],
            &[],
        );
        /// Where it is: serial:///dev/x?baud=&parity=&stop=, tcp://host:port (Modbus TCP) or rtu+tcp://host:port.
        /// A serial bus is shared by everything that names the same port; its parameters are written once.
        connection: String = text(300).only(&["teltocharge", "evse-din"]);
        /// Modbus unit. Required.
        unit: i64 = whole(1, 247, "").only(&["teltocharge", "evse-din"]);
        /// Grid phase behind the charger's own L1, L2, L3. Default: all phases of the grid.
        phases: Vec<Phase> = lines();
        /// Id of a meter of its own, for chargers that do not measure.
        meter: String = text(32);
        /// What it is wired and built for, per phase. Default: 16.
        max_current_a: f64 = number(6.0, 80.0, "A");
        /// What it falls to when the appliance is gone: 0, or 6 A and up. Default: 0.
        fail_safe_current_a: f64 = current(80.0);
        /// Time-out of its own fail-safe timer. Default: 30.
        watchdog_s: f64 = number(0.0, 600.0, "s").only(&["teltocharge", "simulated"]);
        /// 1 first to 9 last. Default: 5.
        priority: i64 = whole(1, 9, "");
        /// Who authorises a session: "auto" is the appliance. Default: "auto".
        authorize: String = word(&["auto", "manual"]);
        /// The mode before anybody chose one. Default: "fast".
        mode: String = words(&Mode::ALWAYS, &[], MODES);
        /// Current of mode "fixed", at most max_current_a. Default: 16, or max_current_a if that is less.
        fixed_current_a: f64 = number(6.0, 80.0, "A");
        /// Resolution of a simulated charger's set-point. Default: 1.
        current_step_a: f64 = number(0.01, 2.0, "A").only(&["simulated"]);
        /// Whether it may be switched between three phases and one: "auto" or "never". Default: "auto" for a charger that says
        /// that it can.
        phase_switching: bool = phase_switching().of(Feature::PhaseSwitching).only(&["teltocharge", "simulated"]);
        /// Id of the circuit it is on. Default: the grid connection itself.
        circuit: String = text(32);
        /// Least current of mode "eco".
        eco_min_a: f64 = number(6.0, 80.0, "A").of(Feature::Eco);
        /// Surplus per phase at which mode "eco_plus" starts.
        eco_plus_min_surplus_a: f64 = number(0.0, 80.0, "A").of(Feature::EcoPlus);
        /// Charge only at low tariff.
        low_tariff_only: bool = flag().of(Feature::LowTariffOnly);
        /// At low tariff act as mode "fast".
        low_tariff_fast: bool = flag().of(Feature::LowTariffFast);
        /// Ceiling at low tariff.
        low_tariff_max_a: f64 = number(6.0, 80.0, "A").of(Feature::LowTariffMax);
        /// Mode after a session limit: "keep", or a mode.
        mode_after_session: String = words(&["keep", "off", "fast", "fixed"], &[], MODES).of(Feature::SessionLimit);
    } later {
        /// Model file of a Modbus charger.
        model;
        /// Topic of a charger that is reached by MQTT.
        topic;
    }
}

section! {
    /// An input: low tariff, dimming, blocking.
    Input = "input", list: true, key: "id", status: Now {
        /// Name that is shown. Default: the id.
        name: String = text(64);
        /// Suggested area in Home Assistant.
        area: String = text(64);
        /// What it means when active. Required.
        meaning: String = word(&["low-tariff", "grid-dim", "block"]);
        /// How it is read. Required.
        driver: String =
            word(&["gpio", "shelly", "modbus", "p1-tariff", "mqtt", "schedule", "simulated"]);
        /// What makes it active: "high" (voltage, a closed contact, 1, ON) or "low"; for p1-tariff the words of the
        /// meter, for modbus with register also values of the register. Default: "high"; required for p1-tariff.
        active: Vec<String> = active().only(&["gpio", "shelly", "modbus", "p1-tariff", "mqtt"]);
        /// A value counts when it has stood for so long. Default: 1000, for mqtt, p1-tariff and schedule 0.
        debounce_ms: i64 = whole(0, 60_000, "ms");
        /// It is lost when its value is older. For mqtt 0 keeps the value until the broker has been lost for 60 s.
        /// Default: 30.
        max_age_s: f64 = number(0.0, DAY, "s").only(&["gpio", "shelly", "modbus", "mqtt"]);
        /// Chip and line, as in "gpiochip0/17"; the chip may also be named by its label.
        line: String = text(64).only(&["gpio"]);
        /// Where it is: serial:///dev/x?baud=&parity=&stop=, tcp://host:port (Modbus TCP), rtu+tcp://host:port, or
        /// http://host of a Shelly.
        connection: String = text(300).only(&["shelly", "modbus"]);
        /// User of a Shelly with a password. Default: "admin".
        username: String = text(64).only(&["shelly"]);
        /// File that holds the password of a Shelly.
        password_file: String = text(4096).only(&["shelly"]);
        /// Modbus unit. Required.
        unit: i64 = whole(1, 247, "").only(&["modbus"]);
        /// Which input of a Shelly, from 0; default: 0. For modbus the discrete input by its address on the wire, from
        /// 0: required, or register.
        channel: i64 = whole(0, 65_535, "").only(&["shelly", "modbus"]);
        /// Holding or input register by its address on the wire: active when it is not 0, or holds a value of active.
        register: i64 = whole(0, 65_535, "").only(&["modbus"]);
        /// Any topic with ON or OFF, true or false, 1 or 0. Default: <base>/input/<id>/set/value.
        topic: String = text(256).only(&["mqtt"]);
        /// Id of the P1 meter whose tariff word is meant. Default: the grid meter.
        meter: String = text(32).only(&["p1-tariff"]);
        /// Times on the wall clock of [site] time_zone, as in ["22:00-06:00", "sat,sun 00:00-24:00"]. Required.
        times: Vec<String> = texts(32).only(&["schedule"]);
    }
}

section! {
    /// A relay: follows the tariff or the surplus, and can be switched by hand.
    Relay = "relay", list: true, key: "id", status: Now {
        /// Name that is shown. Default: the id.
        name: String = text(64);
        /// Suggested area in Home Assistant.
        area: String = text(64);
        /// How it is switched. Required.
        driver: String = word(&["gpio", "shelly", "modbus", "mqtt", "simulated"]);
        /// Chip and line, as in "gpiochip0/17"; a high level closes the relay.
        line: String = text(64).only(&["gpio"]);
        /// Where it is: serial:///dev/x?baud=&parity=&stop=, tcp://host:port (Modbus TCP), rtu+tcp://host:port, or
        /// http://host of a Shelly.
        connection: String = text(300).only(&["shelly", "modbus"]);
        /// User of a Shelly with a password. Default: "admin".
        username: String = text(64).only(&["shelly"]);
        /// File that holds the password of a Shelly.
        password_file: String = text(4096).only(&["shelly"]);
        /// Modbus unit. Required.
        unit: i64 = whole(1, 247, "").only(&["modbus"]);
        /// Which relay of a Shelly, from 0; default: 0. For modbus the coil by its address on the wire, from 0: required,
        /// or register.
        channel: i64 = whole(0, 65_535, "").only(&["shelly", "modbus"]);
        /// Holding register by its address on the wire: 1 closes the relay, 0 opens it.
        register: i64 = whole(0, 65_535, "").only(&["modbus"]);
        /// Topic on which ON or OFF is published, retained. Required.
        topic: String = text(256).only(&["mqtt"]);
        /// The relay leaves its safe state for this time only, renewed three times in it: it falls by itself when the
        /// appliance is gone. For modbus, boards that switch a coil for a time (Waveshare: coil 0x0200 + channel), default:
        /// none. A Shelly always has it; default: 60.
        pulse_s: f64 = number(3.0, 6553.0, "s").only(&["shelly", "modbus"]);
        /// What closes it, joined by or; without it only commands do.
        on_when: Vec<String> = several(&["low-tariff", "export", "always"]);
        /// What it switches. Required for export.
        load_w: i64 = whole(0, 1_000_000, "W");
        /// Mean surplus of a minute at which export closes it. Default: load_w.
        export_on_w: i64 = whole(-1_000_000, 1_000_000, "W");
        /// Mean surplus of a minute, without its own load, below which export opens it. Default: -10 % of load_w.
        export_off_w: i64 = whole(-1_000_000, 1_000_000, "W");
        /// 1 first to 9 last, on one scale with the chargers. Default: 5.
        priority: i64 = whole(1, 9, "");
        /// It opens on an overload before a car is stopped. Default: false.
        shed: bool = flag();
        /// Shortest time closed of the controller's own choice. Default: 300.
        min_on_s: f64 = number(0.0, DAY, "s");
        /// Shortest time open of the controller's own choice. Default: 300.
        min_off_s: f64 = number(0.0, DAY, "s");
        /// A command of on or off holds for so long at most. Default: 3600.
        force_max_s: f64 = number(1.0, DAY, "s");
        /// What it is while nobody decides: "off" or "on". Default: "off".
        safe_state: String = word(&["off", "on"]);
        /// Id of the relay that is never closed together with this one, as the two of SG-Ready. Both need safe_state "off".
        interlock: String = text(32);
    }
}

section! {
    /// Something that other software or devices fetch here.
    Serve = "serve", list: true, status: Now {
        /// What: "p1" passes the telegrams of a P1 meter on, as they came, to several readers. Required.
        kind: String = words(&["p1"], &["virtual-meter", "modbus-server"], &[]);
        /// Id of the meter that it is about. Default: the grid meter.
        source: String = text(32);
        /// Address and port. Default: "127.0.0.1:5020".
        listen: String = text(64);
        /// Addresses that are let in besides this machine. Default: none.
        allow: Vec<String> = addresses(32);
    } later {
        /// Which meter a virtual one looks like.
        model;
    }
}

/// Every table, in the order of the documentation.
pub(super) static SECTIONS: [&Section; 14] = [
    &Site::SECTION,
    &Grid::SECTION,
    &Control::SECTION,
    &Timing::SECTION,
    &Mqtt::SECTION,
    &Web::SECTION,
    &Storage::SECTION,
    &Influx::SECTION,
    &Meter::SECTION,
    &Circuit::SECTION,
    &Charger::SECTION,
    &Input::SECTION,
    &Relay::SECTION,
    &Serve::SECTION,
];

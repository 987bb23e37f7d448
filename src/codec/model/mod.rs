//! Modbus meters as data: a model file says where a meter keeps what, one engine reads them all.
//!
//! A file has the transport's defaults, how a scan knows the meter, registers that must be right before signs are
//! believed, and polls. One poll is one request; its values lie inside it. Everything is checked when the file is read,
//! so that decoding cannot fail but for what the meter sends.

mod decode;
mod file;
mod number;
mod part;
mod poll;
mod sunspec;
#[cfg(test)]
mod tests;

use crate::quantity::Phase;

pub use decode::{Decoded, Key, Refusal};
pub use file::{ModelError, ModelErrors};
pub use number::{Kind, WordOrder};
pub use sunspec::{COMMON, Chain, ChainError, ChainStep, MAKER};

/// Most registers that the standard lets one read ask for.
pub const MAX_REGISTERS: u16 = 125;

/// How sure the facts of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sure {
    /// Parts are inferred or from memory.
    Doubtful,
    /// One public source.
    OneSource,
    /// Two public sources that do not copy each other list every address that control needs.
    TwoSources,
}

impl Sure {
    /// As written in a file and shown to people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Doubtful => "doubtful",
            Self::OneSource => "one source",
            Self::TwoSources => "two sources",
        }
    }
}

/// What a register measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// Phase to neutral, V.
    Voltage,
    /// RMS, A.
    Current,
    /// Active, import positive, W.
    Power,
    /// Active, its import alone, W.
    PowerImport,
    /// Active, its export alone, W.
    PowerExport,
    /// var.
    ReactivePower,
    /// VA.
    ApparentPower,
    /// Without a unit.
    PowerFactor,
    /// Hz.
    Frequency,
    /// Counter, Wh.
    EnergyImport,
    /// Counter, Wh.
    EnergyExport,
    /// Counter, varh.
    ReactiveEnergyImport,
    /// Counter, varh.
    ReactiveEnergyExport,
    /// The meter's own time in seconds; only ever compared.
    Time,
}

/// What a quantity is measured in, and what may be a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// As written in files.
    pub word: &'static str,
    /// Units that a file may use, each with its factor to the first, which is the one of the controller.
    pub units: &'static [(&'static str, f64)],
    /// In the first unit; a value outside is not one.
    pub plausible: (f64, f64),
    /// Decimals that are worth showing, in the first unit.
    pub decimals: i8,
}

const KILO_WATT: &[(&str, f64)] = &[("W", 1.0), ("kW", 1e3), ("MW", 1e6)];
const KILO_VAR: &[(&str, f64)] = &[("var", 1.0), ("kvar", 1e3)];
const KILO_VA: &[(&str, f64)] = &[("VA", 1.0), ("kVA", 1e3)];
const KILO_WATT_HOUR: &[(&str, f64)] = &[("Wh", 1.0), ("kWh", 1e3), ("MWh", 1e6)];
const KILO_VAR_HOUR: &[(&str, f64)] = &[("varh", 1.0), ("kvarh", 1e3)];
const LARGEST_POWER: (f64, f64) = (-1e7, 1e7);
const LARGEST_ENERGY: (f64, f64) = (0.0, 1e12);

impl Quantity {
    /// Every one.
    pub const ALL: [Self; 14] = [
        Self::Voltage,
        Self::Current,
        Self::Power,
        Self::PowerImport,
        Self::PowerExport,
        Self::ReactivePower,
        Self::ApparentPower,
        Self::PowerFactor,
        Self::Frequency,
        Self::EnergyImport,
        Self::EnergyExport,
        Self::ReactiveEnergyImport,
        Self::ReactiveEnergyExport,
        Self::Time,
    ];

    /// Its word, units and range.
    #[must_use]
    pub fn nature(self) -> Nature {
        let nature = |word, units, plausible, decimals| Nature { word, units, plausible, decimals };
        match self {
            Self::Voltage => nature("voltage", &[("V", 1.0), ("mV", 1e-3)], (0.0, 1000.0), 2),
            Self::Current => nature("current", &[("A", 1.0), ("mA", 1e-3)], (-10_000.0, 10_000.0), 3),
            Self::Power => nature("power", KILO_WATT, LARGEST_POWER, 1),
            Self::PowerImport => nature("power-import", KILO_WATT, (0.0, 1e7), 1),
            Self::PowerExport => nature("power-export", KILO_WATT, (0.0, 1e7), 1),
            Self::ReactivePower => nature("reactive-power", KILO_VAR, LARGEST_POWER, 1),
            Self::ApparentPower => nature("apparent-power", KILO_VA, LARGEST_POWER, 1),
            Self::PowerFactor => nature("power-factor", &[("", 1.0)], (-1.1, 1.1), 3),
            Self::Frequency => nature("frequency", &[("Hz", 1.0)], (0.0, 100.0), 2),
            Self::EnergyImport => nature("energy-import", KILO_WATT_HOUR, LARGEST_ENERGY, 0),
            Self::EnergyExport => nature("energy-export", KILO_WATT_HOUR, LARGEST_ENERGY, 0),
            Self::ReactiveEnergyImport => nature("reactive-energy-import", KILO_VAR_HOUR, LARGEST_ENERGY, 0),
            Self::ReactiveEnergyExport => nature("reactive-energy-export", KILO_VAR_HOUR, LARGEST_ENERGY, 0),
            Self::Time => nature("time", &[("s", 1.0)], (0.0, 4_294_967_295.0), 0),
        }
    }
}

/// Which of the meter's two register tables is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Function 3.
    Holding,
    /// Function 4.
    Input,
}

/// Defaults of the transport; what is `None` is not known and must be configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transport {
    /// A serial line, or a gateway in front of one.
    pub rtu: bool,
    /// Modbus TCP.
    pub tcp: bool,
    /// Factory setting.
    pub unit: Option<u8>,
    /// Factory setting, bits per second.
    pub baud: Option<u32>,
    /// Factory setting: `N`, `E` or `O`.
    pub parity: Option<char>,
    /// Factory setting, 1 or 2.
    pub stop: Option<u8>,
    /// Port of Modbus TCP.
    pub port: Option<u16>,
    /// Most registers of one request.
    pub max_registers: u16,
}

/// One value of a poll.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it is and of which phase or tariff.
    pub key: Key,
    /// First register behind the poll's own first.
    pub offset: u16,
    /// How the words make a number.
    pub kind: Kind,
    /// Order of the words.
    pub order: WordOrder,
    /// From the number to the controller's unit.
    pub scale: f64,
    /// Register behind the poll's first that holds a power of ten as i16, or as i8 in its low byte.
    pub exponent: Option<u16>,
    /// First of two registers behind the poll's first that hold a whole factor as u32, 1 or more.
    pub factor: Option<u16>,
    /// The meter may send it with a sign that means nothing.
    pub magnitude: bool,
    /// The number may come from a meter that resolves whole units only, whatever the register could hold.
    pub may_be_whole: bool,
    /// Bit patterns that mean "no value".
    pub invalid: Vec<u64>,
    /// What may be a measurement, in the controller's unit.
    pub plausible: (f64, f64),
    /// Decimals worth showing, in the controller's unit; below zero for whole tens, hundreds, …
    pub decimals: i8,
}

/// One request and what is in its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// In every round, or one of the slow ones per round.
    pub fast: bool,
    /// Some of these meters refuse it; then its values do not exist.
    pub optional: bool,
    /// Function 3 or 4.
    pub table: Table,
    /// First register; behind the block's begin in a SunSpec model.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// Inside it.
    pub values: Vec<Value>,
}

/// A register that decides whether signs can be believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// Function 3 or 4.
    pub table: Table,
    /// The register.
    pub address: u16,
    /// What it may hold.
    pub wanted: Vec<u16>,
    /// Withholds all readings instead of the powers alone.
    pub everything: bool,
    /// What is wrong otherwise and what to do about it.
    pub otherwise: String,
}

/// What a detail of the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetailKind {
    /// Type designation.
    Type,
    /// Serial number.
    Serial,
    /// Version of the firmware.
    Firmware,
}

/// How a detail is written in its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    /// Two characters per word.
    Ascii,
    /// One character per word, in its low byte.
    AsciiLow,
    /// An unsigned number.
    Number,
}

/// Something the device says about itself, read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// Which.
    pub kind: DetailKind,
    /// Function 3 or 4.
    pub table: Table,
    /// First register.
    pub address: u16,
    /// How many.
    pub count: u16,
    /// How it is written.
    pub form: TextForm,
}

/// What a register must hold for a scan to know this meter.
#[derive(Clone, Debug, PartialEq)]
pub enum Sign {
    /// One of these numbers in the first word.
    Word(Vec<u16>),
    /// The first word within these bounds.
    Between(u16, u16),
    /// Text that begins so.
    Text(String),
}

/// How a scan knows this meter.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Function 3 or 4.
    pub table: Table,
    /// First register.
    pub address: u16,
    /// How many must be read at once.
    pub count: u16,
    /// What they must hold.
    pub sign: Sign,
    /// The type that this tells; empty for that of the file.
    pub model: String,
}

/// A meter's file, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Name of the file.
    pub id: String,
    /// Maker.
    pub vendor: String,
    /// Family.
    pub name: String,
    /// Types that it fits.
    pub fits: Vec<String>,
    /// 1 or 3.
    pub phases: u8,
    /// How sure the facts are.
    pub sure: Sure,
    /// For the documentation.
    pub notes: Vec<String>,
    /// For the documentation.
    pub sources: Vec<String>,
    /// Defaults.
    pub transport: Transport,
    /// Numbers of SunSpec models, one of which holds the values; empty for a meter with fixed addresses.
    pub sunspec: Vec<u16>,
    /// Of several files for the same SunSpec model: the one for this maker, by the begin of the name in the chain.
    pub maker: Option<String>,
    /// How a scan knows it.
    pub identity: Vec<Identity>,
    /// Before signs are believed.
    pub modes: Vec<Mode>,
    /// Read once.
    pub details: Vec<Detail>,
    /// Requests.
    pub polls: Vec<Poll>,
}

impl Model {
    /// A file's content as a model. `id` is the file's name without its ending.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(id: &str, text: &str) -> Result<Self, ModelErrors> {
        file::parse(id, text)
    }

    /// A meter of three phases with these polls of input registers, signed words unless they say otherwise.
    #[cfg(test)]
    pub(crate) fn with_polls(polls: &str) -> Self {
        let head = r#"
format = 1
vendor = "Maker"
name = "M3"
fits = ["M3"]
phases = 3
sure = "one source"
sources = ["one"]
[transport]
kinds = ["rtu"]
[defaults]
table = "input"
type = "i16"
words = "high-first"
"#;
        Self::parse("m3", &format!("{head}{polls}")).expect("a test's polls are right")
    }

    /// Requests of every round.
    pub fn fast(&self) -> impl Iterator<Item = &Poll> {
        self.polls.iter().filter(|poll| poll.fast)
    }

    /// Whether any poll has this quantity on this phase; `None` is the total.
    #[must_use]
    pub fn measures(&self, quantity: Quantity, phase: Option<Phase>) -> bool {
        let of = |value: &Value| value.key.quantity == quantity && value.key.phase == phase;
        self.polls.iter().flat_map(|poll| &poll.values).any(of)
    }
}

//! The command line and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gridkeeper::commands;
use gridkeeper::tool::registers::Consent;

/// Keeps a home inside its fuses while cars charge, and speaks MQTT so that Home Assistant, Node-RED and Grafana see
/// and steer it.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the appliance.
    Run {
        /// Configuration file; may be given more than once, later ones on top.
        #[arg(short, long = "config", value_name = "FILE")]
        config: Vec<PathBuf>,
        /// End with code 2 when the configuration is wrong, instead of serving a page that says so.
        #[arg(long)]
        strict: bool,
    },
    /// A simulated house over the real protocols, an embedded broker and the status page.
    Demo {
        /// Port of the embedded broker; 0 picks a free one. Default: 1883, or a free one where that is taken.
        #[arg(long, value_name = "PORT")]
        mqtt: Option<u16>,
        /// Port of the status page; 0 picks a free one. Default: 8127, or a free one where that is taken.
        #[arg(long, value_name = "PORT")]
        web: Option<u16>,
        /// End by itself after so many seconds.
        #[arg(long = "for", value_name = "SECONDS")]
        seconds: Option<f64>,
    },
    /// Validate the configuration: where, what is wrong, what is allowed.
    Check {
        /// Configuration file; may be given more than once, later ones on top.
        #[arg(short, long = "config", value_name = "FILE")]
        config: Vec<PathBuf>,
        /// The same without `-c`.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        files: Vec<PathBuf>,
        /// Print the diagnostics as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what a meter's telegrams say.
    Decode {
        /// Protocol of the input.
        #[arg(value_enum)]
        kind: DecodeKind,
        /// File to read; `-` or nothing reads standard input.
        file: Option<PathBuf>,
        /// One JSON object per frame and line.
        #[arg(long)]
        json: bool,
        /// Key for encrypted telegrams: 32 hexadecimal digits.
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
        /// Authentication key, to verify the tag as well: 32 hexadecimal digits.
        #[arg(long, value_name = "HEX")]
        auth_key: Option<String>,
    },
    /// Get a device's token by pressing its button, keep it, and print the lines to paste.
    Pair {
        /// Kind of device.
        #[arg(value_enum)]
        kind: PairKind,
        /// Name or address, with a port where it is not 443.
        host: String,
        /// Id of the meter in the configuration.
        #[arg(long, default_value = "homewizard")]
        id: String,
        /// Configuration file that says where the data directory is.
        #[arg(short, long = "config", value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Find meters and chargers and print configuration ready to paste. Only reads; nothing else may use the wire.
    Scan {
        #[command(subcommand)]
        place: ScanPlace,
    },
    /// Read or write registers of a device on a Modbus bus that nothing else uses at the same time.
    Modbus {
        #[command(subcommand)]
        action: ModbusAction,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Write configuration, the files that it names, settings, history and sessions into one file (tar). It holds secrets.
    Backup {
        /// File to write; one that is there is replaced.
        file: PathBuf,
        /// Configuration file, as for `run`.
        #[arg(short, long = "config", value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Put a backup back where it came from; what it replaces is kept beside. Stop the appliance before.
    Restore {
        /// File that `backup` has written.
        file: PathBuf,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Run the controller alone in simulated time: a scenario, or driven from outside.
    Simulate {
        /// Scenario to play; prints every decision with its reason.
        #[arg(required_unless_present = "stdio", conflicts_with_all = ["stdio", "config"])]
        scenario: Option<PathBuf>,
        /// Speak JSON lines on standard input and output.
        #[arg(long, requires = "config")]
        stdio: bool,
        /// Configuration file with simulated devices.
        #[arg(short, long = "config", value_name = "FILE", requires = "stdio")]
        config: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum ScanPlace {
    /// A serial port, through the settings and addresses that devices ship with, then all others.
    Serial {
        /// /dev/ttyUSB0, or serial:///dev/ttyUSB0?baud=9600&parity=none&stop=1 to hold what is known.
        port: String,
        /// Go on with this step, as an interrupted scan has named it.
        #[arg(long, value_name = "STEP", default_value_t = 1)]
        from: usize,
        /// Every address at every setting, even after somebody has answered at one.
        #[arg(long)]
        all: bool,
        /// Seconds to wait for each answer, for devices that are slow to answer. Default: 0.15, on the network 1.
        #[arg(long, value_name = "SECONDS", value_parser = commands::patience)]
        patience: Option<std::time::Duration>,
        /// Configuration file that says where the data directory, with model files of your own, is.
        #[arg(short, long = "config", value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// A device or gateway on the network that speaks Modbus TCP, or a converter that passes RTU on.
    Tcp {
        /// HOST or HOST:PORT; the port is 502 unless given. rtu+tcp://HOST:PORT for a converter.
        host: String,
        /// Go on with this step, as an interrupted scan has named it.
        #[arg(long, value_name = "STEP", default_value_t = 1)]
        from: usize,
        /// Every unit from 1 to 247.
        #[arg(long)]
        all: bool,
        /// Seconds to wait for each answer, for devices that are slow to answer. Default: 0.15, on the network 1.
        #[arg(long, value_name = "SECONDS", value_parser = commands::patience)]
        patience: Option<std::time::Duration>,
        /// Configuration file that says where the data directory, with model files of your own, is.
        #[arg(short, long = "config", value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Shelly and HomeWizard devices on the local network (mDNS).
    Lan {
        /// Address of this machine on the network that is meant, where it is on several.
        #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
        from: std::net::Ipv4Addr,
    },
}

#[derive(Subcommand)]
enum ModbusAction {
    /// Show registers.
    Read {
        /// serial:///dev/ttyUSB0?baud=9600, tcp://host:port or rtu+tcp://host:port
        connection: String,
        /// Address of the device, 1 to 247.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=247))]
        unit: u8,
        /// First register, counted from 0 as on the wire; decimal, or hexadecimal with 0x.
        #[arg(value_parser = commands::register)]
        register: u16,
        /// How many values.
        #[arg(long, default_value_t = 1)]
        count: u16,
        /// Input registers (function 4) instead of holding registers.
        #[arg(long)]
        input: bool,
        /// u16, i16, u32, i32, u64, i64, f32 or f64.
        #[arg(long = "type", default_value = "u16", value_name = "TYPE")]
        kind: String,
        /// Of long values the low word comes first.
        #[arg(long)]
        low_first: bool,
    },
    /// Write holding registers: shows what is there, asks, writes, reads back.
    Write {
        /// serial:///dev/ttyUSB0?baud=9600, tcp://host:port or rtu+tcp://host:port
        connection: String,
        /// Address of the device, 1 to 247.
        #[arg(value_parser = clap::value_parser!(u8).range(1..=247))]
        unit: u8,
        /// First register, counted from 0 as on the wire; decimal, or hexadecimal with 0x.
        #[arg(value_parser = commands::register)]
        register: u16,
        /// New values, one per register.
        #[arg(required = true, num_args = 1..=123, value_parser = commands::register)]
        values: Vec<u16>,
        /// Do not ask whether to write. Whether only one device is powered is asked all the same.
        #[arg(long)]
        yes: bool,
        /// Only one device is powered: do not ask that either where an address is changed.
        #[arg(long)]
        only_one_powered: bool,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DecodeKind {
    /// DSMR and its relatives, plain or encrypted.
    P1,
    /// Readouts of the optical port: handshake or push, with the parity bit or without it.
    Iec62056,
    /// SML frames of German meters.
    Sml,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PairKind {
    /// P1 meter, kWh meter: local API version 2.
    Homewizard,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let code = match arguments.command {
        Command::Run { config, strict } => commands::run(&config, strict),
        Command::Demo { mqtt, web, seconds } => commands::demo(mqtt, web, seconds),
        Command::Check { config, files, json } => {
            commands::check(if files.is_empty() { &config } else { &files }, json)
        }
        Command::Decode { kind, file, json, key, auth_key } => {
            let kind = match kind {
                DecodeKind::P1 => commands::DecodeKind::P1,
                DecodeKind::Iec62056 => commands::DecodeKind::Iec62056,
                DecodeKind::Sml => commands::DecodeKind::Sml,
            };
            commands::decode(kind, file.as_deref(), json, key.as_deref(), auth_key.as_deref())
        }
        Command::Pair { kind: PairKind::Homewizard, host, id, config } => {
            commands::pair_homewizard(&host, &id, &config)
        }
        Command::Scan { place: ScanPlace::Serial { port, from, all, patience, config } } => {
            commands::scan_serial(&port, from, all, patience, &config)
        }
        Command::Scan { place: ScanPlace::Tcp { host, from, all, patience, config } } => {
            commands::scan_tcp(&host, from, all, patience, &config)
        }
        Command::Scan { place: ScanPlace::Lan { from } } => commands::scan_lan(from),
        Command::Modbus {
            action: ModbusAction::Read { connection, unit, register, count, input, kind, low_first },
        } => commands::modbus_read(&connection, unit, register, count, input, &kind, low_first),
        Command::Modbus {
            action: ModbusAction::Write { connection, unit, register, values, yes, only_one_powered },
        } => {
            let consent = Consent { write: yes, only_one_powered };
            commands::modbus_write(&connection, unit, register, &values, consent)
        }
        Command::Schema => commands::schema(),
        Command::Backup { file, config } => commands::backup(&file, &config),
        Command::Restore { file, yes } => commands::restore(&file, yes),
        Command::Simulate { scenario: Some(scenario), .. } => commands::play(&scenario),
        Command::Simulate { scenario: None, config, .. } => commands::simulate(&config),
    };
    ExitCode::from(code)
}

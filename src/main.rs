//! The command line and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gridkeeper::commands;

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
    /// Print the JSON Schema of the configuration.
    Schema,
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
        Command::Check { config, json } => commands::check(&config, json),
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
        Command::Schema => commands::schema(),
        Command::Simulate { scenario: Some(scenario), .. } => commands::play(&scenario),
        Command::Simulate { scenario: None, config, .. } => commands::simulate(&config),
    };
    ExitCode::from(code)
}

//! All that the module must know of the installation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::feed::Feeds;
use crate::backup::Shown;
use crate::command::Actions;
use crate::config::model::{self, Common, Config, MeterRole};
use crate::control::{InputMeaning, Timing};
use crate::device::charger::{actions, measures};
use crate::quantity::{Milliamp, Mono, Phase, Span, Watt};

/// Built from the checked configuration by [`MqttOptions::from_config`].
#[derive(Clone, Debug)]
pub struct MqttOptions {
    /// `[mqtt]`
    pub config: model::Mqtt,
    /// The MQTT client id: the configured one, else made from `instance`.
    pub client_id: String,
    /// Random per installation, kept in the data directory: tells two appliances on one base topic apart.
    pub instance: String,
    /// Version of the program.
    pub version: &'static str,
    /// The site.
    pub site: SiteInfo,
    /// In the order of the configuration.
    pub meters: Vec<MeterInfo>,
    /// In the order of the configuration.
    pub chargers: Vec<ChargerInfo>,
    /// In the order of the configuration.
    pub inputs: Vec<InputInfo>,
    /// In the order of the configuration.
    pub relays: Vec<RelayInfo>,
    /// What `check` had to say about the file; shown in `bridge/info`.
    pub config_errors: Vec<String>,
    /// The same, for what is only doubtful.
    pub config_warnings: Vec<String>,
    /// What `bridge/request/…` may do.
    pub requests: Requests,
    /// Topics of other software that devices listen to.
    pub feeds: Feeds,
    /// A picture that is older was drawn by a control loop that hangs since.
    pub hung_after: Span,
    /// Times and bounds; the defaults are right outside of tests.
    pub tuning: Tuning,
}

/// The site as Home Assistant shows it.
#[derive(Clone, Debug)]
pub struct SiteInfo {
    /// Shown name.
    pub name: String,
    /// For stamps.
    pub time_zone: TimeZone,
    /// Phases of the grid connection: 1 or 3.
    pub phases: u8,
    /// Ceiling of `max_import_a`: the file's figure, else the fuse. `None` where there is neither.
    pub max_import: Option<Milliamp>,
    /// `max_import_kw` of the file.
    pub max_import_power: Option<Watt>,
    /// `peak_15min_kw` of the file.
    pub peak_15min: Option<Watt>,
    /// `max_charging_kw` of the file.
    pub max_charging: Option<Watt>,
    /// Id of the grid meter.
    pub grid_meter: Option<String>,
    /// There is an input for the low tariff.
    pub low_tariff: bool,
    /// There is an input that blocks charging.
    pub block: bool,
}

/// A configured meter.
#[derive(Clone, Debug)]
pub struct MeterInfo {
    /// Id, name, area.
    pub common: Common,
    /// What it measures.
    pub role: MeterRole,
}

/// A configured charger.
#[derive(Clone, Debug)]
pub struct ChargerInfo {
    /// Id, name, area.
    pub common: Common,
    /// Wired maximum, the ceiling of every current setting.
    pub max_current: Milliamp,
    /// Resolution of its set-point.
    pub step: Milliamp,
    /// It is wired to three phases and may be switched between them and one.
    pub phase_switching: bool,
    /// Grid phases it is wired to.
    pub phases: Vec<Phase>,
    /// It measures current and power, or a meter does at it.
    pub measures: bool,
    /// Id of the meter that measures for it; which of the values it has is known once they were seen.
    pub meter: Option<String>,
    /// It has a fail-safe timer.
    pub watchdog: bool,
    /// What a person may ask of it.
    pub actions: Actions,
}

/// A configured input.
#[derive(Clone, Debug)]
pub struct InputInfo {
    /// Id, name, area.
    pub common: Common,
    /// What it means when active.
    pub meaning: InputMeaning,
}

/// A configured relay.
#[derive(Clone, Debug)]
pub struct RelayInfo {
    /// Id, name, area.
    pub common: Common,
}

/// Sets the log level; given one of error, warn, info, debug, trace.
pub type SetLogLevel = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Stops in good order and starts anew.
#[derive(Clone)]
pub struct Restart {
    /// Not before this: a flow that asks for restarts must not keep the cars from charging.
    pub not_before: Mono,
    /// Does it; returns at once.
    pub begin: Arc<dyn Fn() + Send + Sync>,
}

/// Gives the backup that may be published; blocks as long as the disk does.
pub type BackUp = Arc<dyn Fn() -> Result<Shown, String> + Send + Sync>;

/// What `bridge/request/…` may do. What is absent is answered with an error that says so.
#[derive(Clone, Default)]
pub struct Requests {
    /// `bridge/request/log_level`
    pub log_level: Option<SetLogLevel>,
    /// `bridge/request/restart`
    pub restart: Option<Restart>,
    /// `bridge/request/backup`
    pub backup: Option<BackUp>,
    /// The level at start, shown in `bridge/info`.
    pub level: String,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("log_level", &self.log_level.is_some())
            .field("restart", &self.restart.is_some())
            .field("backup", &self.backup.is_some())
            .finish()
    }
}

/// Times and bounds of the link.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// MQTT keep-alive in seconds; a hung broker is found within two of them.
    pub keep_alive_s: u16,
    /// For connecting, the TLS handshake and the broker's first answer.
    pub connect_timeout: Duration,
    /// First wait after a failed attempt.
    pub retry_first: Duration,
    /// Longest wait.
    pub retry_max: Duration,
    /// Standing by, this long without a sign of life means that the other instance does not come back.
    pub take_over: Span,
    /// After subscribing, this long without a retained message means that all of them have come.
    pub settle: Duration,
    /// Events and results kept while the broker is away; the oldest are dropped.
    pub queue: usize,
    /// Commands taken per second; as many again may come at once.
    pub commands_per_second: u32,
    /// How long the controller may take to answer a command.
    pub answer_timeout: Duration,
    /// How long the good-bye may take.
    pub goodbye: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            keep_alive_s: 10,
            connect_timeout: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            take_over: Span::from_secs(60),
            settle: Duration::from_millis(300),
            queue: 100,
            commands_per_second: 50,
            answer_timeout: Duration::from_secs(3),
            goodbye: Duration::from_secs(2),
        }
    }
}

impl MqttOptions {
    /// From the checked configuration; `None` where no broker is configured.
    ///
    /// # Errors
    /// When the time zone is not known to the time zone data base.
    pub fn from_config(config: &Config, instance: &str, version: &'static str) -> Result<Option<Self>, jiff::Error> {
        let Some(mqtt) = config.mqtt.clone() else { return Ok(None) };
        let site = &config.control.site;
        let has_input = |meaning| config.inputs.iter().any(|it| it.meaning == meaning);
        let options = Self {
            client_id: mqtt.client_id.clone().unwrap_or_else(|| format!("gridkeeper-{instance}")),
            config: mqtt,
            instance: instance.to_owned(),
            version,
            site: SiteInfo {
                name: config.site.name.clone(),
                time_zone: TimeZone::get(&config.site.time_zone)?,
                phases: config.grid.phases,
                max_import: site.max_import.or(config.grid.fuse),
                max_import_power: site.max_import_power,
                peak_15min: site.peak_15min,
                max_charging: site.max_charging,
                grid_meter: config.grid.meter.map(|it| config.meters[it].common.id.clone()),
                low_tariff: has_input(InputMeaning::LowTariff),
                block: has_input(InputMeaning::Block),
            },
            meters: config
                .meters
                .iter()
                .map(|meter| MeterInfo { common: meter.common.clone(), role: meter.role })
                .collect(),
            chargers: config.chargers.iter().map(|it| ChargerInfo::from_config(it, config)).collect(),
            inputs: config
                .inputs
                .iter()
                .map(|input| InputInfo { common: input.common.clone(), meaning: input.meaning })
                .collect(),
            relays: config.relays.iter().map(|relay| RelayInfo { common: relay.common.clone() }).collect(),
            config_errors: Vec::new(),
            config_warnings: Vec::new(),
            requests: Requests::default(),
            feeds: Feeds::default(),
            hung_after: Timing::default().lease,
            tuning: Tuning::default(),
        };
        Ok(Some(options))
    }
}

impl ChargerInfo {
    fn from_config(charger: &model::Charger, config: &Config) -> Self {
        let meter = charger.meter.filter(|_| !measures(&charger.driver));
        Self {
            common: charger.common.clone(),
            max_current: charger.max_current,
            step: charger.step,
            phase_switching: charger.phase_switching && charger.phases.len() == Phase::ALL.len(),
            phases: charger.phases.clone(),
            measures: measures(&charger.driver) || charger.meter.is_some(),
            meter: meter.map(|it| config.meters[it].common.id.clone()),
            watchdog: charger.watchdog.is_some(),
            actions: actions(&charger.driver),
        }
    }
}

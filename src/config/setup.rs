//! What the controller is told of a configuration.

use super::model::{Charger, Config, Input, MeterDriver, MeterRole};
use crate::control::{ChargerSetup, CircuitSetup, InputSetup, MeterSetup, Mode, Setup};
use crate::device::{charger, meter};
use crate::quantity::{Milliamp, Span, Watt};

/// A meter that sends by itself is lost after this time unless the file says otherwise.
const PUSH_LOST: Span = Span::from_secs(10);
/// P1 meters send every second or, before DSMR 5, every ten; SML and optical push meters every four or oftener.
const PUSH_SLOWEST: Span = Span::from_secs(10);

/// What a meter takes beside its pause to be read out at 300 baud.
const READOUT: Span = Span::from_secs(60);

/// The slowest period of a meter that this driver reads; `None` for one whose questions set the pace. A pause makes it
/// longer only where nothing is decided by the meter.
fn slowest(driver: &MeterDriver, role: MeterRole) -> Option<Span> {
    let pause = match driver {
        MeterDriver::Iec62056 { period, .. } if role == MeterRole::Other => meter::readout_pause(role, *period),
        _ => Span::ZERO,
    };
    pushes(driver).then_some(if pause > PUSH_SLOWEST { Span(pause.0 + READOUT.0) } else { PUSH_SLOWEST })
}

/// Whether the driver stands for meters that send by themselves, or are read as if they did.
fn pushes(driver: &MeterDriver) -> bool {
    matches!(driver, MeterDriver::P1 { .. } | MeterDriver::Iec62056 { .. } | MeterDriver::Sml { .. })
}

impl Config {
    /// The controller's view of this configuration.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let grid = CircuitSetup {
            id: "grid".to_owned(),
            parent: None,
            fuse: self.grid.fuse,
            max_import: self.control.site.max_import,
            // A run-time setting, which lies on top of the file: the controller takes it from there.
            max_power: None,
            margin: self.grid.margin,
            meter: self.grid.meter,
            static_current: self.grid.static_current,
            reserve: Milliamp::ZERO,
            meter_lost_current: self.grid.meter_lost_current,
        };
        let below = self.circuits.iter().map(|it| CircuitSetup {
            id: it.id.clone(),
            parent: Some(row(it.parent)),
            fuse: Some(it.fuse),
            max_import: None,
            max_power: it.max_power,
            margin: self.grid.margin,
            meter: it.meter,
            static_current: None,
            reserve: it.reserve,
            meter_lost_current: it.meter_lost_current,
        });
        let meters = self.meters.iter().enumerate().map(|(index, it)| {
            let circuit = self.circuits.iter().find(|circuit| circuit.meter == Some(index));
            let is_grid = self.grid.meter == Some(index);
            let (late, lost) = if is_grid {
                (self.grid.meter_late, self.grid.meter_lost)
            } else {
                (circuit.and_then(|it| it.meter_late), circuit.and_then(|it| it.meter_lost))
            };
            MeterSetup {
                id: it.common.id.clone(),
                phases: it.phases,
                late,
                lost,
                lost_default: match &it.driver {
                    MeterDriver::Mqtt(driver) => Some(driver.max_age),
                    driver => pushes(driver).then_some(PUSH_LOST),
                },
                period: match it.driver {
                    MeterDriver::Simulated { period } => period,
                    _ => None,
                },
                presumed_period: slowest(&it.driver, it.role),
            }
        });
        let of_role = |role| {
            let meters = self.meters.iter().enumerate();
            meters.filter(move |(_, it)| it.role == role).map(|(index, _)| index).collect()
        };
        Setup {
            grid_phases: self.grid.phases,
            circuits: std::iter::once(grid).chain(below).collect(),
            meters: meters.collect(),
            chargers: self.chargers.iter().map(charger_setup).collect(),
            inputs: self.inputs.iter().map(input_setup).collect(),
            relays: self.relays.iter().map(|it| it.setup.clone()).collect(),
            surplus: self.control.surplus,
            batteries: of_role(MeterRole::Battery),
            solar: of_role(MeterRole::Solar),
            min_on: self.control.min_on,
            min_off: self.control.min_off,
            phase_switch_min: self.control.phase_switch_min,
            max_imbalance: self.grid.max_imbalance,
            timing: self.timing,
            site: self.control.site,
            dim: self.grid.dim,
            purpose: self.purpose,
        }
    }

    /// What the configuration holds of a run-time setting, in the words in which the setting is given: `none` where it
    /// holds nothing. `None` for a key that does not exist. Keys are `site/<setting>` and `charger/<id>/<setting>`.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<String> {
        let site = &self.control.site;
        if let Some(setting) = key.strip_prefix("site/") {
            return Some(match setting {
                "charging_enabled" => flag(site.charging_enabled),
                "max_import_a" => amps(site.max_import),
                "max_import_kw" => kilowatts(site.max_import_power),
                "peak_15min_kw" => kilowatts(site.peak_15min),
                "max_charging_kw" => kilowatts(site.max_charging),
                "sharing" => site.sharing.word().to_owned(),
                "dim" => flag(site.dim),
                _ => return None,
            });
        }
        let (id, setting) = key.strip_prefix("charger/")?.split_once('/')?;
        let it = &self.chargers.iter().find(|it| it.common.id == id)?.settings;
        Some(match setting {
            "mode" => it.mode.word().to_owned(),
            "max_current_a" => amps(Some(it.max_current)),
            "fixed_current_a" => amps(Some(it.fixed_current)),
            "eco_min_a" => amps(Some(it.eco_min)),
            "eco_plus_min_surplus_a" => amps(Some(it.eco_plus_min_surplus)),
            "low_tariff_only" => flag(it.low_tariff_only),
            "low_tariff_fast" => flag(it.low_tariff_fast),
            "low_tariff_max_a" => amps(Some(it.low_tariff_max)),
            "priority" => it.priority.to_string(),
            "phases" => it.phases.map_or_else(|| "auto".to_owned(), |it| it.to_string()),
            "session_limit_kwh" => it.session_limit.map_or_else(none, |it| (it.as_f64() / 1000.0).to_string()),
            "mode_after_session" => it.mode_after_session.map_or("keep", Mode::word).to_owned(),
            _ => return None,
        })
    }
}

fn charger_setup(it: &Charger) -> ChargerSetup {
    ChargerSetup {
        id: it.common.id.clone(),
        circuit: row(it.circuit),
        phases: it.phases.clone(),
        max_current: it.max_current,
        step: it.step,
        can_switch_phases: it.phase_switching,
        chooses_phase: charger::chooses_phase(&it.driver),
        measures: charger::measures(&it.driver),
        meter: it.meter,
        watchdog: it.watchdog,
        fail_safe: it.fail_safe,
        write_latency: charger::write_latency(&it.driver),
        auto_authorize: it.auto_authorize,
        actions: charger::actions(&it.driver),
        settings: it.settings,
    }
}

fn input_setup(it: &Input) -> InputSetup {
    InputSetup { id: it.common.id.clone(), meaning: it.meaning, max_age: it.max_age, debounce: it.debounce }
}

/// The controller's circuits begin with the grid connection.
fn row(circuit: Option<usize>) -> usize {
    circuit.map_or(0, |it| it + 1)
}

fn flag(value: bool) -> String {
    if value { "ON" } else { "OFF" }.to_owned()
}

fn none() -> String {
    "none".to_owned()
}

fn amps(value: Option<Milliamp>) -> String {
    value.map_or_else(none, |it| it.as_f64().to_string())
}

fn kilowatts(value: Option<Watt>) -> String {
    value.map_or_else(none, |it| (it.as_f64() / 1000.0).to_string())
}

//! Chargers: one task each, which keeps the charger at its newest order and lowers it by itself when the order's lease
//! ends.
//!
//! `machine` decides what is sent next (pure), `task` sends it and tells what came of it, a driver knows the registers
//! of one kind of charger. To add a Modbus charger, add a driver.

mod driver;
pub mod evse_din;
mod machine;
mod register;
mod task;
pub mod teltocharge;
#[cfg(test)]
mod tests;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::Actions;
use crate::config::model::{Charger, ChargerDriver as Kind};
use crate::control::Timing;
use crate::device::ChargerChannels;
use crate::link::modbus::Bus;
use crate::quantity::{Milliamp, Span};
use driver::BusLine;
use machine::Settings;

pub use register::RegisterError;

/// Whether this kind of charger measures current, power and energy by itself.
#[must_use]
pub fn measures(kind: &Kind) -> bool {
    match kind {
        Kind::TeltoCharge { .. } | Kind::Simulated => true,
        Kind::EvseDin { .. } => false,
    }
}

/// How long a confirmed set-point may take to reach the pilot where this kind does not show the pilot that it gives.
#[must_use]
pub fn write_latency(kind: &Kind) -> Span {
    match kind {
        // Each shows its pilot.
        Kind::TeltoCharge { .. } | Kind::EvseDin { .. } | Kind::Simulated => Span::ZERO,
    }
}

/// Whether this kind of charger can be told which of its phases to use when it is one.
#[must_use]
pub fn chooses_phase(kind: &Kind) -> bool {
    matches!(kind, Kind::TeltoCharge { .. })
}

/// What a person may ask of this kind of charger.
#[must_use]
pub fn actions(kind: &Kind) -> Actions {
    match kind {
        Kind::TeltoCharge { .. } => Actions::ALL,
        Kind::EvseDin { .. } | Kind::Simulated => Actions::NONE,
    }
}

/// Runs the charger's task until it is cancelled, or until `last_offer` was left behind. A simulated charger has no
/// wire and ends at once.
pub async fn run(
    charger: &Charger,
    channels: ChargerChannels,
    bus: Bus,
    timing: Timing,
    clock: Clock,
    cancel: CancellationToken,
) {
    let id = charger.common.id.as_str();
    let settings = |highest: Milliamp, fed_by_any_telegram: bool| Settings {
        max: charger.max_current.min(highest),
        fail_safe: charger.fail_safe,
        watchdog: charger.watchdog,
        auto_authorize: charger.auto_authorize,
        phase_switching: charger.phase_switching && charger.phases.len() > 1,
        fed_by_any_telegram,
    };
    match charger.driver {
        Kind::TeltoCharge { unit, .. } => {
            let driver = teltocharge::TeltoCharge::new(BusLine { bus, unit }, timing.poll);
            let settings = settings(teltocharge::HIGHEST, true);
            task::run(driver, id, settings, channels, timing, clock, cancel).await;
        }
        Kind::EvseDin { unit, .. } => {
            let installation = evse_din::Installation {
                unit,
                several_phases: charger.phases.len() > 1,
                fine: charger.step < evse_din::COARSE_STEP,
                fail_safe: charger.fail_safe,
                pause: timing.bus_pause.to_std(),
            };
            let driver = evse_din::EvseDin::new(BusLine { bus, unit }, installation);
            let settings = Settings { watchdog: None, ..settings(evse_din::HIGHEST, false) };
            task::run(driver, id, settings, channels, timing, clock, cancel).await;
        }
        Kind::Simulated => {}
    }
}

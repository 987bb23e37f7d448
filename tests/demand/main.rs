//! What chargers and relays get by mode, surplus, tariff and session, in a simulated house.

mod modes;
mod relays;
mod session;
#[path = "../fail_safe_defaults/site.rs"]
#[allow(dead_code, reason = "each of the tests that share it uses a part")]
mod site;
mod surplus;

use gridkeeper::control::{Mode, Setup};
use gridkeeper::quantity::Phases;

use site::{Site, amps, setup};

/// A house that exports so many amperes on each phase, with its cars in these modes.
fn house(modes: &[Mode], export: f64, change: impl FnOnce(&mut Setup)) -> Site {
    let mut setup = setup(modes.len());
    for (charger, mode) in setup.chargers.iter_mut().zip(modes) {
        charger.settings.mode = *mode;
    }
    change(&mut setup);
    let mut site = Site::new(setup);
    sun(&mut site, export);
    site
}

/// What the house would export on each phase were no car there, and a little more: a meter that reads exactly zero on all
/// phases under load is doubted.
fn sun(site: &mut Site, export: f64) {
    site.house = Phases::all(amps(-export - 0.23));
}

/// Why a charger gets what it gets.
fn sentence(site: &Site, index: usize) -> String {
    site.status(index).reason.to_string()
}

//! Wishes: path and text in, a checked setting or a refusal that says what is allowed out.

use crate::command::{ChargerAction, Lock};
use crate::quantity::{Milliamp, Mono, Watt};

use super::controller::Controller;
use super::interface::{Accepted, ChargerSettings, Mode, Refused, Sharing, SiteSettings};

/// Longest value that is looked at; the longest word is far shorter.
const LONGEST: usize = 64;
/// Upper end of kW settings that the file does not limit.
const MOST_KW: f64 = 1000.0;
/// Least current of a car.
const LEAST_A: f64 = 6.0;

/// Takes back a run-time setting.
const NONE: &str = "none";

fn refuse<T>(text: String) -> Result<T, Refused> {
    Err(Refused(text))
}

fn shown(value: &str) -> String {
    let short: String = value.chars().take(LONGEST).collect();
    if short.len() < value.len() { format!("`{short}…`") } else { format!("`{value}`") }
}

fn boolean(value: &str) -> Result<bool, Refused> {
    let is = |words: [&str; 3]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is(["on", "true", "1"]) {
        Ok(true)
    } else if is(["off", "false", "0"]) {
        Ok(false)
    } else {
        refuse(format!("{} is neither on nor off; allowed: ON, OFF, true, false, 1, 0", shown(value)))
    }
}

/// A number with a decimal point, nothing around it.
fn number(value: &str, least: f64, most: f64, unit: &str) -> Result<f64, Refused> {
    let allowed = format!("allowed: {least} to {most} {unit}, with a decimal point");
    let plain = !value.is_empty() && value.chars().all(|it| it.is_ascii_digit() || matches!(it, '.' | '-' | '+'));
    let Some(parsed) = value.parse::<f64>().ok().filter(|it| plain && it.is_finite()) else {
        return refuse(format!("{} is not a plain number; {allowed}", shown(value)));
    };
    if parsed < least || parsed > most {
        return refuse(format!("{} is out of range; {allowed}", shown(value)));
    }
    Ok(parsed)
}

fn amps(value: &str, least: f64, most: Milliamp) -> Result<Milliamp, Refused> {
    number(value, least, most.as_f64(), "A").map(Milliamp::from_f64)
}

fn mode(value: &str) -> Result<Mode, Refused> {
    match value {
        "pv" => Ok(Mode::Solar),
        "minpv" => Ok(Mode::Eco),
        "now" => Ok(Mode::Fast),
        _ => Mode::from_word(value).ok_or_else(|| {
            Refused(format!(
                "{} is not a mode; allowed: off, fast, fixed, eco, eco_plus, solar (also now, minpv, pv)",
                shown(value)
            ))
        }),
    }
}

/// A button: any word for yes.
fn pressed(value: &str) -> Result<(), Refused> {
    if value.eq_ignore_ascii_case("press") || boolean(value) == Ok(true) {
        Ok(())
    } else {
        refuse(format!("{} does nothing; allowed: PRESS, ON, true, 1", shown(value)))
    }
}

fn on_off(value: bool) -> String {
    if value { "ON" } else { "OFF" }.to_owned()
}

fn not_yet<T>(setting: &str) -> Result<T, Refused> {
    refuse(format!("`{setting}` is not available in this version"))
}

impl Controller {
    /// A wish: `path` is `site/set/<setting>` or `charger/<id>/set/<setting>`, `value` the text as received.
    /// Takes effect with the next `step`. A stored setting is restored by the same call.
    ///
    /// # Errors
    /// With what is allowed, when path or value are not.
    pub fn set(&mut self, now: Mono, path: &str, value: &str) -> Result<Accepted, Refused> {
        let _ = now;
        if value.len() > LONGEST {
            return refuse(format!("{} is longer than {LONGEST} characters", shown(value)));
        }
        if let Some(setting) = path.strip_prefix("site/set/") {
            return self.set_site(setting, value);
        }
        let charger = path.strip_prefix("charger/").and_then(|rest| rest.split_once("/set/"));
        if let Some((id, setting)) = charger {
            let Some(index) = self.chargers.iter().position(|charger| charger.id() == id) else {
                return refuse(format!("there is no charger {}", shown(id)));
            };
            return self.set_charger(index, setting, value);
        }
        refuse(format!("{} is not a setting; allowed: site/set/<setting>, charger/<id>/set/<setting>", shown(path)))
    }

    fn set_site(&mut self, setting: &str, value: &str) -> Result<Accepted, Refused> {
        let file = self.site_file;
        let mut site = self.site;
        let back = value == NONE;
        let stored = match setting {
            "charging_enabled" => {
                site.charging_enabled = if back { file.charging_enabled } else { boolean(value)? };
                on_off(site.charging_enabled)
            }
            "max_import_a" => {
                let root = &self.circuits[0];
                let Some(most) = file.max_import.or(root.setup.max_import).or(root.setup.fuse) else {
                    return refuse("`max_import_a` needs `fuse_a` in the configuration".to_owned());
                };
                site.max_import = if back { file.max_import } else { Some(amps(value, 0.0, most)?) };
                site.max_import.map_or(String::new(), |it| it.as_f64().to_string())
            }
            "peak_15min_kw" => {
                let most = file.peak_15min.map_or(MOST_KW, |it| f64::from(it.0) / 1000.0);
                site.peak_15min =
                    if back { file.peak_15min } else { Some(Watt::from_kw(number(value, 0.0, most, "kW")?)) };
                site.peak_15min.map_or(String::new(), |it| (f64::from(it.0) / 1000.0).to_string())
            }
            "sharing" => {
                site.sharing = if back { file.sharing } else { sharing(value)? };
                site.sharing.word().to_owned()
            }
            "dim" => {
                site.dim = if back { file.dim } else { boolean(value)? };
                on_off(site.dim)
            }
            "reset_settings" => {
                pressed(value)?;
                self.reset();
                return Ok(Accepted::Reset);
            }
            "max_import_kw" | "max_charging_kw" => return not_yet(setting),
            _ => {
                return refuse(format!(
                    "the site has no setting {}; allowed: charging_enabled, max_import_a, peak_15min_kw, sharing, dim, \
                     reset_settings",
                    shown(setting)
                ));
            }
        };
        self.site = site;
        Ok(Accepted::Setting { key: format!("site/{setting}"), value: (!back).then_some(stored) })
    }

    fn set_charger(&mut self, index: usize, setting: &str, value: &str) -> Result<Accepted, Refused> {
        if let Some(action) = action(setting, value)? {
            let charger = &self.chargers[index];
            if !charger.link.is_up() {
                return refuse(format!("charger `{}` does not answer now; nothing is kept for later", charger.id()));
            }
            return Ok(Accepted::Action(index, action));
        }
        let charger = &mut self.chargers[index];
        let file = charger.setup.settings;
        let mode_before = charger.settings.mode;
        let stored = change(&mut charger.settings, &file, charger.setup.max_current, setting, value)?;
        if charger.settings.mode != mode_before {
            // A flow that repeats the mode says nothing about the car; somebody who changes it does.
            charger.obedience.pardon();
        }
        let value = (value != NONE).then_some(stored);
        Ok(Accepted::Setting { key: format!("charger/{}/{setting}", charger.id()), value })
    }

    fn reset(&mut self) {
        self.site = self.site_file;
        for charger in &mut self.chargers {
            charger.settings = charger.setup.settings;
        }
    }

    /// Site settings of the file, without what was changed at run time.
    #[must_use]
    pub fn site_file(&self) -> &SiteSettings {
        &self.site_file
    }
}

fn sharing(value: &str) -> Result<Sharing, Refused> {
    Sharing::from_word(value)
        .ok_or_else(|| Refused(format!("{} is no sharing rule; allowed: equal, priority, state", shown(value))))
}

fn action(setting: &str, value: &str) -> Result<Option<ChargerAction>, Refused> {
    Ok(Some(match setting {
        "authorize" => {
            pressed(value)?;
            ChargerAction::Authorize
        }
        "reboot" => {
            pressed(value)?;
            ChargerAction::Reboot
        }
        "lock" => ChargerAction::Lock(match value {
            "auto" => Lock::Auto,
            "locked" => Lock::Locked,
            "unlock" => Lock::Unlock,
            _ => return refuse(format!("{} is no lock mode; allowed: auto, locked, unlock", shown(value))),
        }),
        _ => return Ok(None),
    }))
}

fn change(
    settings: &mut ChargerSettings,
    file: &ChargerSettings,
    wired: Milliamp,
    setting: &str,
    value: &str,
) -> Result<String, Refused> {
    let back = value == NONE;
    Ok(match setting {
        "mode" => {
            settings.mode = if back { file.mode } else { mode(value)? };
            settings.mode.word().to_owned()
        }
        "max_current_a" => {
            settings.max_current = if back { file.max_current } else { amps(value, LEAST_A, wired)? };
            settings.max_current.as_f64().to_string()
        }
        "fixed_current_a" => {
            settings.fixed_current = if back { file.fixed_current } else { amps(value, LEAST_A, wired)? };
            settings.fixed_current.as_f64().to_string()
        }
        "low_tariff_only" => {
            settings.low_tariff_only = if back { file.low_tariff_only } else { boolean(value)? };
            on_off(settings.low_tariff_only)
        }
        "priority" => {
            settings.priority = if back { file.priority } else { priority(value)? };
            settings.priority.to_string()
        }
        "phases" if back || value == "auto" => {
            settings.phases = None;
            "auto".to_owned()
        }
        "eco_min_a"
        | "eco_plus_min_surplus_a"
        | "low_tariff_fast"
        | "low_tariff_max_a"
        | "phases"
        | "session_limit_kwh"
        | "mode_after_session"
        | "wake" => return not_yet(setting),
        _ => {
            return refuse(format!(
                "a charger has no setting {}; allowed: mode, max_current_a, fixed_current_a, low_tariff_only, priority, \
                 authorize, lock, reboot",
                shown(setting)
            ));
        }
    })
}

fn priority(value: &str) -> Result<u8, Refused> {
    value
        .parse::<u8>()
        .ok()
        .filter(|it| (1..=9).contains(it))
        .ok_or_else(|| Refused(format!("{} is no priority; allowed: 1 (first) to 9 (last)", shown(value))))
}

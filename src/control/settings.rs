//! Wishes: path and text in, a checked setting or a refusal that says what is allowed out.

use crate::command::{ChargerAction, LEAST_OFFER, Lock};
use crate::feature::{self, COMES, Purpose, Worded};
use crate::quantity::{Milliamp, Mono, Watt, WattHour};
use crate::reading::PilotState;

use super::charger::Charger;
use super::controller::Controller;
use super::interface::{Accepted, ChargerSettings, ChargerSetup, Mode, Refused, RelayCommand, Sharing, SiteSettings};
use super::session::SessionMemory;

/// Settings of the site, as in the contract.
pub(crate) const SITE: [&str; 8] = [
    "charging_enabled",
    "max_import_a",
    "max_import_kw",
    "peak_15min_kw",
    "max_charging_kw",
    "sharing",
    "dim",
    "reset_settings",
];
/// Settings of a charger, as in the contract. What a box can be asked to do comes behind them.
pub(crate) const CHARGER: [&str; 12] = [
    "mode",
    "max_current_a",
    "fixed_current_a",
    "eco_min_a",
    "eco_plus_min_surplus_a",
    "low_tariff_only",
    "low_tariff_fast",
    "low_tariff_max_a",
    "priority",
    "phases",
    "session_limit_kwh",
    "mode_after_session",
];
/// What a box can be asked to do, as in the contract.
pub(crate) const ACTIONS: [&str; 4] = ["authorize", "lock", "wake", "reboot"];

/// Longest value that is looked at; the longest word is far shorter.
const LONGEST: usize = 64;
/// Upper end of kW settings that the file does not limit.
pub const MOST_KW: f64 = 1000.0;
/// Least current of a car, in A.
const LEAST_A: f64 = LEAST_OFFER.0 as f64 / 1000.0;
/// Range of `session_limit_kwh`'s limit: the largest batteries of cars hold some 200 kWh.
pub const SESSION_KWH: (f64, f64) = (0.1, 1000.0);

/// Takes back a run-time setting.
const NONE: &str = "none";

/// The ids of which one is allowed, for a sentence.
pub(crate) fn among<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let ids: Vec<_> = ids.collect();
    if ids.is_empty() { "none is configured".to_owned() } else { format!("allowed: {}", ids.join(", ")) }
}

fn refuse<T>(text: String) -> Result<T, Refused> {
    Err(Refused(text))
}

fn shown(value: &str) -> String {
    // On one line: it goes into the log.
    let short: String = value.chars().take(LONGEST).map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect();
    if value.chars().nth(LONGEST).is_some() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// Any word for yes or no.
pub(crate) fn boolean(value: &str) -> Result<bool, Refused> {
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

/// A word of a list of which this version may not have all.
fn chosen<T>(
    setting: &str,
    value: &str,
    (always, listed): (&[&'static str], &[Worded]),
    purpose: Purpose,
    meaning: impl Fn(&str) -> Option<T>,
) -> Result<T, Refused> {
    let words = || feature::words(always, listed, purpose);
    if let Some(it) = words().find(|word| *word == value).and_then(&meaning) {
        return Ok(it);
    }
    let allowed = words().collect::<Vec<_>>().join(", ");
    if listed.iter().any(|it| it.0 == value) {
        let sentence = feature::not_yet(&format!("`{setting}` = {value:?}"));
        return refuse(format!("{sentence}; {COMES}; allowed: {allowed}"));
    }
    refuse(format!("{} is none of the words of `{setting}`; allowed: {allowed}", shown(value)))
}

fn mode(value: &str, purpose: Purpose) -> Result<Mode, Refused> {
    let word = match value {
        "pv" => Mode::Solar.word(),
        "minpv" => Mode::Eco.word(),
        "now" => Mode::Fast.word(),
        word => word,
    };
    chosen("mode", word, (&Mode::ALWAYS, feature::MODES), purpose, Mode::from_word)
}

/// `keep`, or a mode.
fn mode_after(value: &str, purpose: Purpose) -> Result<Option<Mode>, Refused> {
    let [off, fast, fixed] = Mode::ALWAYS;
    let always = ["keep", off, fast, fixed];
    chosen("mode_after_session", value, (&always, feature::MODES), purpose, |word| Some(Mode::from_word(word)))
}

/// A limit in kW, at most what the file says; `none` goes back to that.
fn kilowatts(value: &str, file: Option<Watt>) -> Result<Option<Watt>, Refused> {
    if value == NONE {
        return Ok(file);
    }
    let most = file.map_or(MOST_KW, |it| it.as_f64() / 1000.0);
    number(value, 0.0, most, "kW").map(|it| Some(Watt::from_kw(it)))
}

/// As it is accepted again; empty where there is none.
fn as_kilowatts(value: Option<Watt>) -> String {
    value.map_or_else(String::new, |it| (it.as_f64() / 1000.0).to_string())
}

/// A button: any word for yes.
pub(crate) fn pressed(value: &str) -> Result<(), Refused> {
    if value.eq_ignore_ascii_case("press") || boolean(value) == Ok(true) {
        Ok(())
    } else {
        refuse(format!("{} does nothing; allowed: PRESS, ON, true, 1", shown(value)))
    }
}

fn on_off(value: bool) -> String {
    if value { "ON" } else { "OFF" }.to_owned()
}

/// Refuses a setting that this version does not have.
fn is_there(setting: &str, purpose: Purpose) -> Result<(), Refused> {
    if feature::setting_is_for(setting, purpose) {
        return Ok(());
    }
    refuse(format!("{}; {COMES}", feature::not_yet(&format!("`{setting}`"))))
}

/// Those that this version has, for a sentence.
fn listed(settings: &[&str], purpose: Purpose) -> String {
    let there = settings.iter().copied().filter(|it| feature::setting_is_for(it, purpose));
    there.collect::<Vec<_>>().join(", ")
}

impl Controller {
    /// A wish: `path` is `site/set/<setting>`, `charger/<id>/set/<setting>` or `relay/<id>/set/command`, `value` the text
    /// as received.
    /// Takes effect with the next `step`, whose time must not be before `now`: only a wake-up and a relay's command run
    /// from it. A stored setting is restored by the same call.
    ///
    /// # Errors
    /// With what is allowed, when path or value are not.
    pub fn set(&mut self, now: Mono, path: &str, value: &str) -> Result<Accepted, Refused> {
        if value.len() > LONGEST {
            return refuse(format!("{} is longer than {LONGEST} characters", shown(value)));
        }
        if let Some(setting) = path.strip_prefix("site/set/") {
            return self.set_site(setting, value);
        }
        let charger = path.strip_prefix("charger/").and_then(|rest| rest.split_once("/set/"));
        if let Some((id, setting)) = charger {
            let Some(index) = self.chargers.iter().position(|charger| charger.id() == id) else {
                let there = among(self.chargers.iter().map(|charger| charger.id()));
                return refuse(format!("there is no charger {}; {there}", shown(id)));
            };
            return self.set_charger(now, index, setting, value);
        }
        if let Some((id, "command")) = path.strip_prefix("relay/").and_then(|rest| rest.split_once("/set/")) {
            return self.set_relay(now, id, value);
        }
        refuse(format!(
            "{} is not a setting; allowed: site/set/<setting>, charger/<id>/set/<setting>, relay/<id>/set/command",
            shown(path)
        ))
    }

    fn set_relay(&mut self, now: Mono, id: &str, value: &str) -> Result<Accepted, Refused> {
        let Some(relay) = self.relays.iter_mut().find(|relay| relay.setup.id == id) else {
            let there = among(self.relays.iter().map(|relay| relay.setup.id.as_str()));
            return refuse(format!("there is no relay {}; {there}", shown(id)));
        };
        let command = if value == NONE { Some(RelayCommand::Auto) } else { RelayCommand::from_word(value) };
        let Some(command) = command else {
            return refuse(format!("{} is no command for a relay; allowed: auto, on, off", shown(value)));
        };
        relay.force(now, command);
        Ok(Accepted::Passing)
    }

    fn set_site(&mut self, setting: &str, value: &str) -> Result<Accepted, Refused> {
        is_there(setting, self.purpose)?;
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
            "max_import_kw" => {
                site.max_import_power = kilowatts(value, file.max_import_power)?;
                as_kilowatts(site.max_import_power)
            }
            "peak_15min_kw" => {
                site.peak_15min = kilowatts(value, file.peak_15min)?;
                as_kilowatts(site.peak_15min)
            }
            "max_charging_kw" => {
                site.max_charging = kilowatts(value, file.max_charging)?;
                as_kilowatts(site.max_charging)
            }
            "sharing" => {
                site.sharing = if back { file.sharing } else { sharing(value, self.purpose)? };
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
            _ => {
                let allowed = listed(&SITE, self.purpose);
                return refuse(format!("the site has no setting {}; allowed: {allowed}", shown(setting)));
            }
        };
        self.site = site;
        Ok(Accepted::Setting { key: format!("site/{setting}"), value: (!back).then_some(stored) })
    }

    fn set_charger(&mut self, now: Mono, index: usize, setting: &str, value: &str) -> Result<Accepted, Refused> {
        is_there(setting, self.purpose)?;
        if setting == "wake" {
            pressed(value)?;
            let charger = &mut self.chargers[index];
            if !charger.link.is_up() || !charger.state().is_some_and(PilotState::plugged) {
                return refuse(format!("charger `{}` has no car that could be woken", charger.id()));
            }
            charger.wake.press(now);
            return Ok(Accepted::Done);
        }
        if ACTIONS.contains(&setting) {
            let charger = &self.chargers[index];
            let action = action(&charger.setup, setting, value)?;
            if !charger.link.is_up() {
                return refuse(format!("charger `{}` does not answer now; nothing is kept for later", charger.id()));
            }
            return Ok(Accepted::Action(index, action));
        }
        let charger = &mut self.chargers[index];
        if setting == "session_limit_kwh" && value != NONE && !charger.counts() {
            return refuse(format!("charger `{}` counts no energy, so a session cannot end by it", charger.id()));
        }
        let mode_before = charger.settings.mode;
        let stored = change(&mut charger.settings, &charger.setup, setting, value, self.purpose)?;
        if charger.settings.mode != mode_before {
            // A flow that repeats the mode says nothing about the car; somebody who changes it does.
            charger.obedience.pardon();
            charger.rest_is_over();
        }
        if setting == "phases" && charger.settings.phases.is_some() {
            // Said again after tries that failed, it is a wish to try again.
            charger.switch.forgive();
        }
        if matches!(setting, "session_limit_kwh" | "mode_after_session") {
            // Newer than what the last run was told.
            if let Some(before) = &mut charger.meeting.before {
                match setting {
                    "session_limit_kwh" => before.limit = None,
                    _ => before.mode_after = None,
                }
            }
            return Ok(Accepted::Passing);
        }
        let value = (value != NONE).then_some(stored);
        Ok(Accepted::Setting { key: format!("charger/{}/{setting}", charger.id()), value })
    }

    fn reset(&mut self) {
        self.site = self.site_file;
        for charger in &mut self.chargers {
            charger.settings = charger.setup.settings;
            if let Some(before) = &mut charger.meeting.before {
                (before.limit, before.mode_after) = (None, None);
            }
        }
    }

    /// What the last run knew of the session at a charger; before its first report.
    pub fn remember(&mut self, charger: usize, memory: SessionMemory) {
        if let Some(charger) = self.chargers.get_mut(charger) {
            charger.meeting.before = Some(memory);
        }
    }

    /// What the next run must know of the session at each charger.
    pub fn sessions(&self) -> impl Iterator<Item = Option<SessionMemory>> {
        self.chargers.iter().map(Charger::memory)
    }

    /// Site settings of the file, without what was changed at run time.
    #[must_use]
    pub fn site_file(&self) -> &SiteSettings {
        &self.site_file
    }
}

fn sharing(value: &str, purpose: Purpose) -> Result<Sharing, Refused> {
    chosen("sharing", value, (&[Sharing::Equal.word()], feature::SHARING), purpose, Sharing::from_word)
}

/// What the box is to do, if it can.
fn action(setup: &ChargerSetup, setting: &str, value: &str) -> Result<ChargerAction, Refused> {
    if !setup.actions.names().any(|it| it == setting) {
        let can = setup.actions.names().collect::<Vec<_>>().join(", ");
        let can = if can.is_empty() { "takes no such commands".to_owned() } else { format!("has: {can}") };
        return refuse(format!("charger `{}` has no `{setting}`; this kind of charger {can}", setup.id));
    }
    Ok(match setting {
        "lock" => match Lock::from_word(value) {
            Some(lock) => ChargerAction::Lock(lock),
            None => return refuse(format!("{} is no lock mode; allowed: auto, locked, unlock", shown(value))),
        },
        "reboot" => pressed(value).map(|()| ChargerAction::Reboot)?,
        _ => pressed(value).map(|()| ChargerAction::Authorize)?,
    })
}

fn change(
    settings: &mut ChargerSettings,
    setup: &ChargerSetup,
    setting: &str,
    value: &str,
    purpose: Purpose,
) -> Result<String, Refused> {
    let (file, wired) = (&setup.settings, setup.max_current);
    let back = value == NONE;
    Ok(match setting {
        "mode" => {
            settings.mode = if back { file.mode } else { mode(value, purpose)? };
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
        "eco_min_a" => {
            settings.eco_min = if back { file.eco_min } else { amps(value, LEAST_A, wired)? };
            settings.eco_min.as_f64().to_string()
        }
        "eco_plus_min_surplus_a" => {
            settings.eco_plus_min_surplus = if back { file.eco_plus_min_surplus } else { amps(value, 0.0, wired)? };
            settings.eco_plus_min_surplus.as_f64().to_string()
        }
        "low_tariff_only" => {
            settings.low_tariff_only = if back { file.low_tariff_only } else { boolean(value)? };
            on_off(settings.low_tariff_only)
        }
        "low_tariff_fast" => {
            settings.low_tariff_fast = if back { file.low_tariff_fast } else { boolean(value)? };
            on_off(settings.low_tariff_fast)
        }
        "low_tariff_max_a" => {
            settings.low_tariff_max = if back { file.low_tariff_max } else { amps(value, LEAST_A, wired)? };
            settings.low_tariff_max.as_f64().to_string()
        }
        "priority" => {
            settings.priority = if back { file.priority } else { priority(value)? };
            settings.priority.to_string()
        }
        "phases" => {
            settings.phases = if back { file.phases } else { phases(value, setup, purpose)? };
            settings.phases.map_or_else(|| "auto".to_owned(), |it| it.to_string())
        }
        "session_limit_kwh" => {
            let (least, most) = SESSION_KWH;
            let limit = || number(value, least, most, "kWh").map(|it| Some(WattHour::from_f64(it * 1000.0)));
            settings.session_limit = if back { file.session_limit } else { limit()? };
            settings.session_limit.map_or_else(String::new, |it| (it.as_f64() / 1000.0).to_string())
        }
        "mode_after_session" => {
            settings.mode_after_session = if back { file.mode_after_session } else { mode_after(value, purpose)? };
            settings.mode_after_session.map_or("keep", Mode::word).to_owned()
        }
        _ => {
            let allowed = format!("{}, {}", listed(&CHARGER, purpose), listed(&ACTIONS, purpose));
            return refuse(format!("a charger has no setting {}; allowed: {allowed}", shown(setting)));
        }
    })
}

/// A forced number of phases; `None` is automatic.
fn phases(value: &str, setup: &ChargerSetup, purpose: Purpose) -> Result<Option<u8>, Refused> {
    let forced = chosen("phases", value, (&["auto"], feature::PHASES), purpose, |word| Some(word.parse().ok()))?;
    if forced.is_some() && !setup.can_switch_phases {
        return refuse(format!("charger `{}` cannot switch its phases; allowed: auto", setup.id));
    }
    if forced.is_some_and(|it| usize::from(it) > setup.phases.len()) {
        let wired = setup.phases.len();
        return refuse(format!("charger `{}` is wired to {wired} phase(s), not to {value}; allowed: auto", setup.id));
    }
    Ok(forced)
}

fn priority(value: &str) -> Result<u8, Refused> {
    value
        .parse::<u8>()
        .ok()
        .filter(|it| (1..=9).contains(it))
        .ok_or_else(|| Refused(format!("{} is no priority; allowed: 1 (first) to 9 (last)", shown(value))))
}

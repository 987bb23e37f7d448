//! From the merged layers to the model: what is required, what refers to what, what contradicts what.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::check_circuits;
use super::check_devices;
use super::check_influx;
use super::check_mqtt;
use super::check_serve;
use super::check_signals::Around;
use super::diagnostic::{Severity, Usable};
use super::key::{Field, closest};
use super::layer::{Device, Merged};
use super::model::{Config, Control, Grid, MeterDriver, Secret, Site, Storage, Web};
use super::raw::{self, SECTIONS};
use super::secret::{self, Unfit};
use super::slot::Slot;
use super::source::{At, Inputs, Part, Report};
use super::warn::BusBudget;
use crate::control::{BatteryRank, Mode, Sharing, SiteSettings, SolarPatience, SurplusKind, SurplusSetup, Timing};
use crate::feature::Purpose;
use crate::quantity::{Milliamp, Span, Watt};

/// Reads the merged tables, says what does not fit together, and builds the model. `None` as soon as there is one
/// error in the report.
pub(super) fn build(
    merged: &Merged,
    inputs: &Inputs,
    purpose: Purpose,
    report: &mut Report,
) -> (Option<Config>, Usable, Vec<BusBudget>) {
    let mut checker = Checker { report, purpose };
    let empty = HashMap::new();
    let table = |name: &str| merged.tables.get(name).unwrap_or(&empty);
    let site = checker.site(&raw::Site::read(table("site")));
    let timing = timing(&raw::Timing::read(table("timing")));
    let mqtt = check_mqtt::mqtt(&mut checker, &raw::Mqtt::read(table("mqtt")));
    let interval = mqtt.as_ref().map(|it| it.interval);
    let influx = check_influx::influx(&mut checker, &raw::Influx::read(table("influx")), merged, interval);
    let web = checker.web(&raw::Web::read(table("web")));
    let storage = checker.storage(&raw::Storage::read(table("storage")), inputs);

    let raw_grid = raw::Grid::read(table("grid"));
    let raw_control = raw::Control::read(table("control"));
    for device in &merged.devices {
        checker.foreign_keys(device);
    }
    let devices = check_devices::Raw::read(merged);
    let (grid, limits) = checker.grid(&raw_grid, merged, &devices);
    let control = checker.control(&raw_control, limits);
    let circuits = check_circuits::build(&mut checker, &grid, &devices);
    let around =
        Around { site: &site, grid: &grid, mqtt: mqtt.as_ref(), devices: &devices, data_dir: &storage.data_dir };
    let mut built = check_devices::build(&mut checker, &raw_grid, &circuits, around);
    for (meter, device) in built.meters.iter_mut().zip(&devices.meters) {
        let MeterDriver::Mqtt(driver) = &mut meter.driver else { continue };
        driver.time_zone.clone_from(&site.time_zone);
        if let (None, Some((_, at))) = (&mqtt, device.raw.driver.set())
            && !checker.report.has_error_in("mqtt")
        {
            let path = format!("{}.driver", device.head.path);
            let message = "`driver` = \"mqtt\" needs a broker, and [mqtt] names none";
            checker.report.error(at, &path, message, "write url = \"mqtt://host:1883\" in [mqtt]");
        }
    }

    let raw_serves = check_serve::read(merged);
    let around = check_serve::Around { grid_meter: grid.meter, devices: &devices, mqtt: mqtt.as_ref(), web: &web };
    let serves = check_serve::build(&mut checker, &raw_serves, &around);

    let usable = Usable {
        site: (!checker.report.has_error_in("site")).then(|| site.clone()),
        mqtt: (!checker.report.has_error_in("mqtt")).then(|| mqtt.clone()),
        web: (!checker.report.has_error_in("web")).then(|| web.clone()),
        storage: storage.clone(),
    };
    let check_devices::Built { meters, chargers, inputs: inputs_, relays } = built;
    let config = Config {
        site,
        grid,
        control,
        timing,
        mqtt,
        influx,
        web,
        storage,
        meters,
        circuits,
        chargers,
        inputs: inputs_,
        relays,
        serves,
        purpose,
    };
    if checker.report.errors() > 0 {
        return (None, usable, Vec::new());
    }
    check_serve::warn(&config, &raw_serves, checker.report);
    let budgets = super::warn::all(&config, &raw_grid, merged, &devices, inputs, checker.report, purpose);
    (Some(config), usable, budgets)
}

/// What to do where a key names no file.
const NO_FILE: &str = "write the name of a file that holds it and nothing else, from the folder of the configuration file \
                       or in full; what is written now is not shown, because it may be the secret itself";

/// The nearest folder above a path that is there.
fn folder(path: &Path) -> String {
    match path.ancestors().skip(1).find(|it| it.is_dir()) {
        Some(folder) => folder.display().to_string(),
        None => "the current folder".to_owned(),
    }
}

/// The report with what it is for.
pub(super) struct Checker<'a> {
    pub(super) report: &'a mut Report,
    pub(super) purpose: Purpose,
}

impl Checker<'_> {
    fn site(&mut self, raw: &raw::Site) -> Site {
        let time_zone = match raw.time_zone.set() {
            Some((name, at)) => {
                if jiff::tz::TimeZone::get(name).is_err() {
                    let zones: Vec<String> = jiff::tz::db().available().map(|it| it.to_string()).collect();
                    let lower: Vec<(String, &String)> = zones.iter().map(|it| (it.to_lowercase(), it)).collect();
                    let close = closest(name, lower.iter().map(|it| it.0.as_str()));
                    let close = close.and_then(|it| lower.iter().find(|other| other.0 == it));
                    let help = match close {
                        Some((_, zone)) => format!("did you mean \"{zone}\"?"),
                        None => "an IANA name such as \"Europe/Budapest\" or \"UTC\"".to_owned(),
                    };
                    self.report.error(at, "site.time_zone", format!("unknown time zone {name:?}"), help);
                }
                name.clone()
            }
            None => jiff::tz::TimeZone::try_system()
                .ok()
                .and_then(|it| it.iana_name().map(str::to_owned))
                .unwrap_or_else(|| "UTC".to_owned()),
        };
        Site {
            name: raw.name.get().filter(|it| !it.is_empty()).cloned().unwrap_or_else(|| "Home".to_owned()),
            time_zone,
            language: raw.language.get().cloned().unwrap_or_else(|| "en".to_owned()),
        }
    }

    fn web(&mut self, raw: &raw::Web) -> Web {
        let default = std::net::SocketAddr::from(([127, 0, 0, 1], 8127));
        let password = self.password_file(&raw.password_file, "web.password_file");
        let mut listen = Some(default);
        if let Some((text, at)) = raw.listen.set() {
            listen = None;
            if !text.is_empty() {
                match text.parse::<std::net::SocketAddr>() {
                    Ok(address) => {
                        listen = Some(address);
                        if !address.ip().is_loopback()
                            && password.is_none()
                            && !matches!(raw.password_file, Slot::Wrong)
                        {
                            if raw.password_file.is_absent() {
                                let message =
                                    format!("{address} can be reached from the network, so the page needs a password");
                                let help = "set password_file in [web], or listen on 127.0.0.1";
                                self.report.error(at, "web.listen", message, help);
                            } else {
                                // Its file cannot be read, which was said; the page stays off rather than open.
                                listen = None;
                            }
                        }
                    }
                    Err(_) => {
                        let message = format!("{text:?} is not an address with a port");
                        let help =
                            "for example \"127.0.0.1:8127\", \"[::1]:8127\", \"0.0.0.0:8127\", or \"\" for no page";
                        self.report.error(at, "web.listen", message, help);
                    }
                }
            }
        }
        Web { listen, password }
    }

    fn storage(&mut self, raw: &raw::Storage, inputs: &Inputs) -> Storage {
        let default = || Storage { data_dir: inputs.default_data_dir.clone() };
        let Some((text, at)) = raw.data_dir.set() else { return default() };
        let path = self.path(text, at);
        if text.is_empty() {
            self.report.error(at, "storage.data_dir", "`data_dir` is empty", "name a folder that may be written to");
            return default();
        }
        if path.exists() && !path.is_dir() {
            let message = format!("{} is not a folder", path.display());
            self.report.error(at, "storage.data_dir", message, "name a folder that may be written to");
            return default();
        }
        Storage { data_dir: path }
    }

    fn control(&mut self, raw: &raw::Control, mut site: SiteSettings) -> Control {
        site.charging_enabled = raw.charging_enabled.get().copied().unwrap_or(true);
        site.sharing = raw.sharing.get().and_then(|it| Sharing::from_word(it)).unwrap_or(Sharing::Equal);
        site.max_charging = raw.max_charging_kw.get().map(|it| Watt::from_kw(*it));
        Control {
            min_on: seconds(&raw.min_on_s).unwrap_or(Span::from_secs(300)),
            min_off: seconds(&raw.min_off_s).unwrap_or(Span::from_secs(300)),
            phase_switch_min: seconds(&raw.phase_switch_min_s).unwrap_or(Span::from_secs(300)),
            surplus: surplus(raw),
            site,
        }
    }

    fn grid(&mut self, raw: &raw::Grid, merged: &Merged, devices: &check_devices::Raw) -> (Grid, SiteSettings) {
        let phases = raw.phases.get().copied().unwrap_or(3);
        let fuse = raw.fuse_a.get().copied();
        let meter = raw.meter.set().and_then(|(id, at)| self.meter_index(id, at, "grid.meter", devices));
        // What is missing is shown at the table that lacks it, or at the device that makes it necessary.
        if let Some(charger) = devices.chargers.first() {
            let place = merged.headers.get("grid").copied().unwrap_or(charger.head.header);
            let mut missing = |key: &str, what: &str, help: &str| {
                let message =
                    format!("{what} required in [grid] as soon as there is a charger ({})", charger.head.shown());
                self.report.say(Severity::Error, (place, Part::Key), &format!("grid.{key}"), message, help);
            };
            if raw.fuse_a.is_absent() {
                let help = "write the rating of the main fuse or breaker, for example fuse_a = 25";
                missing("fuse_a", "`fuse_a` is", help);
            }
            if raw.meter.is_absent() && raw.static_a.is_absent() {
                let help = "name the grid meter, or write what all chargers together may take per phase, for example static_a = 10";
                missing("static_a", "`meter` or `static_a` is", help);
            }
        }
        if let Some(fuse) = fuse {
            self.not_above(&raw.max_import_a, "grid.max_import_a", fuse, "fuse_a");
            self.not_above(&raw.static_a, "grid.static_a", fuse, "fuse_a");
            if let Some((margin, at)) = raw.margin_a.set().filter(|it| *it.0 >= fuse) {
                let message = format!("`margin_a` = {margin} leaves nothing of fuse_a = {fuse}");
                self.report.error(at, "grid.margin_a", message, format!("allowed: less than {fuse} A"));
            }
        }
        if raw.meter.is_absent() {
            self.without_meter(&raw.meter_late_s, &raw.meter_lost_s, &raw.meter_lost_current_a, "grid", "the grid");
        }
        self.late_before_lost(&raw.meter_late_s, &raw.meter_lost_s, meter, devices, "grid");
        let grid = Grid {
            phases: if phases == 1 { 1 } else { 3 },
            fuse: amps(&raw.fuse_a),
            margin: amps(&raw.margin_a).unwrap_or(Milliamp(500)),
            meter,
            static_current: amps(&raw.static_a),
            meter_late: seconds(&raw.meter_late_s),
            meter_lost: seconds(&raw.meter_lost_s),
            meter_lost_current: amps(&raw.meter_lost_current_a).unwrap_or(Milliamp::ZERO),
            dim: raw.dim_kw.get().map(|it| Watt::from_kw(*it)),
            max_imbalance: amps(&raw.max_imbalance_a),
        };
        let limits = SiteSettings {
            charging_enabled: true,
            sharing: Sharing::Equal,
            max_import: amps(&raw.max_import_a),
            max_import_power: raw.max_import_kw.get().map(|it| Watt::from_kw(*it)),
            peak_15min: raw.peak_15min_kw.get().map(|it| Watt::from_kw(*it)),
            max_charging: None,
            dim: false,
        };
        (grid, limits)
    }

    /// Errors for what is written about the meter of a circuit that has none.
    pub(super) fn without_meter(
        &mut self,
        late: &Slot<f64>,
        lost: &Slot<f64>,
        lost_current: &Slot<f64>,
        path: &str,
        what: &str,
    ) {
        for (slot, key) in [(late, "meter_late_s"), (lost, "meter_lost_s"), (lost_current, "meter_lost_current_a")] {
            if let Some((_, at)) = slot.set() {
                let message = format!("`{key}` does nothing where {what} has no meter");
                self.report.error(at, &format!("{path}.{key}"), message, "name its meter, or take it out");
            }
        }
    }

    /// An error where a meter would be lost before it is late.
    pub(super) fn late_before_lost(
        &mut self,
        late: &Slot<f64>,
        lost: &Slot<f64>,
        meter: Option<usize>,
        devices: &check_devices::Raw,
        path: &str,
    ) {
        let driver = meter.and_then(|it| devices.meters.get(it)).and_then(|it| it.raw.driver.get());
        let lost = lost
            .get()
            .copied()
            .or_else(|| driver.filter(|it| matches!(it.as_str(), "p1" | "iec62056-21" | "sml")).map(|_| 10.0));
        if let (Some((late, at)), Some(lost)) = (late.set(), lost)
            && *late >= lost
        {
            let message = format!("`meter_late_s` = {late} is not before the meter is lost, after {lost} s");
            let help = format!("allowed: less than {lost} s");
            self.report.error(at, &format!("{path}.meter_late_s"), message, help);
        }
    }

    /// An error where a current is above what bounds it.
    pub(super) fn not_above(&mut self, slot: &Slot<f64>, path: &str, bound: f64, bound_name: &str) {
        if let Some((value, at)) = slot.set().filter(|it| *it.0 > bound) {
            let key = path.rsplit('.').next().unwrap_or(path);
            let message = format!("`{key}` = {value} is above {bound_name} = {bound}");
            self.report.error(at, path, message, format!("allowed: at most {bound} A"));
        }
    }

    /// The meter that is named there.
    pub(super) fn meter_index(&mut self, id: &str, at: At, path: &str, devices: &check_devices::Raw) -> Option<usize> {
        let ids = || devices.meters.iter().filter_map(|it| it.head.id.as_deref());
        if let Some(found) = devices.meters.iter().position(|it| it.head.id.as_deref() == Some(id)) {
            return Some(found);
        }
        // One whose id is missing or wrong, which was said, may be the one that is meant.
        if devices.meters.iter().any(|it| it.head.id.is_none()) {
            return None;
        }
        let other = devices.chargers.iter().any(|it| it.head.id.as_deref() == Some(id));
        let message =
            if other { format!("`{id}` is a charger, not a meter") } else { format!("there is no meter `{id}`") };
        let help = match (closest(id, ids()), ids().next()) {
            (Some(close), _) => format!("did you mean \"{close}\"?"),
            (None, Some(_)) => format!("allowed: {}", ids().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(", ")),
            (None, None) => "configure it as a [[meter]] with this id".to_owned(),
        };
        self.report.error(at, path, message, help);
        None
    }

    /// Keys that do nothing with the driver that is used.
    fn foreign_keys(&mut self, device: &Device) {
        let Some(section) = SECTIONS.iter().find(|it| it.name == device.section) else { return };
        let Some(config::ValueKind::String(driver)) = device.table.get("driver").map(|it| &it.kind) else { return };
        let foreign = |it: &&Field| !it.drivers.is_empty() && !it.drivers.contains(&driver.as_str());
        for field in section.fields.iter().filter(foreign) {
            let Some(at) = device.table.get(field.name).and_then(|it| At::from_origin(it.origin())) else { continue };
            let path = format!("{}.{}", device.path, field.name);
            let message = if (field.name, driver.as_str()) == ("watchdog_s", "evse-din") {
                "an EVSE-DIN has no fail-safe timer".to_owned()
            } else {
                format!("`{}` does nothing with driver {driver:?}", field.name)
            };
            let help = format!("take it out; it belongs to {}", field.drivers.join(", "));
            self.report.say(Severity::Error, (at, Part::Key), &path, message, help);
        }
    }

    /// A path as it is meant: relative ones start at the file's own folder.
    pub(super) fn path(&self, text: &str, at: At) -> PathBuf {
        self.report.base(at).join(text)
    }

    /// The password in a file.
    pub(super) fn password_file(&mut self, slot: &Slot<String>, path: &str) -> Option<Secret> {
        self.secret_file(slot, path, secret::read_password).map(Secret::new)
    }

    /// What `read` makes of a file that holds a secret; a warning where others may read it too.
    pub(super) fn secret_file<T>(
        &mut self,
        slot: &Slot<String>,
        path: &str,
        read: impl FnOnce(&Path) -> Result<T, Unfit>,
    ) -> Option<T> {
        let (at, file, content) = self.read_file(slot, path, read)?;
        if secret::is_open(&file) {
            let message = format!("{} holds a secret and may be read by every user of this machine", file.display());
            self.report.warn(at, path, message, format!("chmod o-r {}", file.display()));
        }
        Some(content)
    }

    /// What `read` makes of a file, which must be there at the start already.
    pub(super) fn read_file<T>(
        &mut self,
        slot: &Slot<String>,
        path: &str,
        read: impl FnOnce(&Path) -> Result<T, Unfit>,
    ) -> Option<(At, PathBuf, T)> {
        let (text, at) = slot.set()?;
        let file = self.path(text, at);
        match read(&file) {
            Ok(content) => Some((at, file, content)),
            Err(why) => {
                let severity = if self.purpose == Purpose::LastGood { Severity::Warning } else { Severity::Error };
                let key = path.rsplit('.').next().unwrap_or(path);
                // What names nothing that is there may be the secret itself, written where its file belongs.
                let (message, help) = match file.try_exists() {
                    Ok(true) => (format!("{} cannot be used: {}", file.display(), why.what), why.help),
                    Ok(false) => (format!("`{key}` names no file: {} has none of this name", folder(&file)), NO_FILE),
                    Err(_) => (format!("`{key}` names no file that could be looked for: {}", why.what), NO_FILE),
                };
                self.report.say(severity, (at, Part::Value), path, message, help);
                None
            }
        }
    }

    /// A PEM file with at least one block whose name ends so; a private key is a secret.
    pub(super) fn pem_file(&mut self, slot: &Slot<String>, path: &str, block: &str) -> Option<String> {
        let read = |file: &Path| secret::read_pem(file, block);
        if block == "PRIVATE KEY" {
            self.secret_file(slot, path, read)
        } else {
            self.read_file(slot, path, read).map(|it| it.2)
        }
    }
}

/// A current.
pub(super) fn amps(slot: &Slot<f64>) -> Option<Milliamp> {
    slot.get().map(|it| Milliamp::from_f64(*it))
}

/// A time.
pub(super) fn seconds(slot: &Slot<f64>) -> Option<Span> {
    slot.get().map(|it| Span::from_secs_f64(*it))
}

/// A mode by its word.
pub(super) fn mode(slot: &Slot<String>) -> Option<Mode> {
    slot.get().and_then(|it| Mode::from_word(it))
}

fn surplus(raw: &raw::Control) -> SurplusSetup {
    let it = SurplusSetup::default();
    SurplusSetup {
        kind: raw.surplus.get().and_then(|word| SurplusKind::from_word(word)).unwrap_or(it.kind),
        patience: raw.solar_patience.get().and_then(|word| SolarPatience::from_word(word)).unwrap_or(it.patience),
        grace: seconds(&raw.solar_grace_s).unwrap_or(it.grace),
        proof: seconds(&raw.solar_proof_s).unwrap_or(it.proof),
        target: raw.solar_target_w.get().map_or(it.target, |watts| Watt::from_f64(*watts)),
        battery: raw.battery.get().and_then(|word| BatteryRank::from_word(word)).unwrap_or(it.battery),
    }
}

fn timing(raw: &raw::Timing) -> Timing {
    let it = Timing::default();
    Timing {
        charger_silent: seconds(&raw.charger_silent_s).unwrap_or(it.charger_silent),
        quiet_extra: seconds(&raw.quiet_extra_s).unwrap_or(it.quiet_extra),
        cut_response: seconds(&raw.cut_response_s).unwrap_or(it.cut_response),
        cut_response_hard: seconds(&raw.cut_response_hard_s).unwrap_or(it.cut_response_hard),
        raise_after_cut: seconds(&raw.raise_after_cut_s).unwrap_or(it.raise_after_cut),
        not_obeying: seconds(&raw.not_obeying_s).unwrap_or(it.not_obeying),
        obedience: seconds(&raw.obedience_s).unwrap_or(it.obedience),
        second_master: seconds(&raw.second_master_s).unwrap_or(it.second_master),
        second_master_quiet: seconds(&raw.second_master_quiet_s).unwrap_or(it.second_master_quiet),
        second_master_rewrite: seconds(&raw.second_master_rewrite_s).unwrap_or(it.second_master_rewrite),
        lease: seconds(&raw.lease_s).unwrap_or(it.lease),
        poll: seconds(&raw.poll_s).unwrap_or(it.poll),
        bus_pause: seconds(&raw.bus_pause_s).unwrap_or(it.bus_pause),
    }
}

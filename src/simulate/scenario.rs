//! A scenario as it stands in a file: the configuration of a house, and from the line `[scenario]` on what is in it and
//! what happens there.
//!
//! ```toml
//! [grid]
//! fuse_a = 25
//! meter = "main"
//!
//! [[meter]]
//! id = "main"
//! driver = "simulated"
//!
//! [[charger]]
//! id = "left"
//! driver = "simulated"
//!
//! [scenario]
//! title = "The kettle goes on"
//! shows = "A limit reduces at once and in full"
//! lasts_s = 120
//!
//! [scenario.house]
//! load_a = [2.0, 2.0, 2.0]
//!
//! [scenario.cars.left]
//! max_a = 16
//!
//! [[scenario.event]]
//! at_s = 60
//! load_a = [14.0, 2.0, 2.0]
//!
//! [scenario.expect]
//! overload_as = [0, 60]
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::config::{self, Config, Inputs, Purpose, SourceFile};
use crate::quantity::Phase;

/// Where the configuration ends.
const MARK: &str = "[scenario]";
/// Longest scenario: ten days.
const LONGEST_S: f64 = 864_000.0;

/// A house and what happens in it.
#[derive(Debug)]
pub struct Scenario {
    /// The configuration of the appliance.
    pub config: Config,
    /// Everything else.
    pub script: Script,
}

/// `[scenario]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What happens, in one line.
    pub title: String,
    /// The rule that it shows, or the complaint that it answers.
    pub shows: String,
    /// How long it lasts.
    pub lasts_s: f64,
    /// Between two lines with every current.
    #[serde(default = "minute")]
    pub sample_s: f64,
    /// The wall clock at the beginning, RFC 3339; without it the clock is not set.
    pub wall: Option<String>,
    /// Loads and sun.
    #[serde(default)]
    pub house: House,
    /// A home battery that holds the grid at 15 W as far as it can.
    pub battery: Option<Battery>,
    /// The car at each charger; a charger without one has none.
    #[serde(default)]
    pub cars: BTreeMap<String, Car>,
    /// What meters see and know; the grid meter needs no entry.
    #[serde(default)]
    pub meters: BTreeMap<String, Meter>,
    /// Chargers that measure nothing, as an EVSE-DIN.
    #[serde(default)]
    pub unmeasured: Vec<String>,
    /// Where relays' loads are connected; without an entry L1.
    #[serde(default)]
    pub relays: BTreeMap<String, Vec<Phase>>,
    /// In any order.
    #[serde(default, rename = "event")]
    pub events: Vec<Happening>,
    /// What must come of it.
    #[serde(default)]
    pub expect: Expect,
}

/// Loads and sun.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct House {
    /// Per phase, import positive.
    pub load_a: [f64; 3],
    /// Loads below a circuit, by its id; part of the whole, not of `load_a`.
    pub circuit_load_a: BTreeMap<String, [f64; 3]>,
    /// Phase to neutral.
    pub voltage_v: f64,
    /// Production as points of time (s) and power (W), joined by straight lines.
    pub sun_w: Vec<[f64; 2]>,
    /// Phases of the inverter.
    pub sun_phases: Vec<Phase>,
}

impl Default for House {
    fn default() -> Self {
        Self {
            load_a: [0.0; 3],
            circuit_load_a: BTreeMap::new(),
            voltage_v: 230.0,
            sun_w: Vec::new(),
            sun_phases: Phase::ALL.to_vec(),
        }
    }
}

/// A home battery behind three phases.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Battery {
    /// Charging and discharging.
    pub max_w: f64,
    /// Capacity.
    pub kwh: f64,
    /// Charge at the beginning, 0 to 1.
    pub charge: f64,
}

/// A car.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Car {
    /// Phases that it uses.
    pub phases: usize,
    /// It never takes more.
    pub max_a: f64,
    /// It takes this much less than it is offered.
    pub shortfall_a: f64,
    /// Until it follows another offer.
    pub reaction_s: f64,
    /// Until it draws after an offer came.
    pub start_s: f64,
    /// Rise of its current.
    pub ramp_a_per_s: f64,
    /// It ends by itself with so much.
    pub wants_kwh: Option<f64>,
    /// It is there from the beginning.
    pub plugged: bool,
    /// It charges at the beginning with what its box offers then.
    pub charging_at_a: f64,
    /// It begins to draw only from this offer on; once begun it goes on with less.
    pub begins_at_a: f64,
    /// It begins to draw only after its pilot was gone for 10 s.
    pub asleep: bool,
    /// Power factor from an offer on, rising: `[[6, 0.07], [7, 0.45], [8, 1.0]]`. Empty: 1.
    pub power_factor: Vec<[f64; 2]>,
}

impl Default for Car {
    fn default() -> Self {
        Self {
            phases: 3,
            max_a: 16.0,
            shortfall_a: 0.0,
            reaction_s: 2.0,
            start_s: 5.0,
            ramp_a_per_s: 4.0,
            wants_kwh: None,
            plugged: true,
            charging_at_a: 0.0,
            begins_at_a: 6.0,
            asleep: false,
            power_factor: Vec::new(),
        }
    }
}

/// A meter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Meter {
    /// `grid`, `sun`, `battery`, `circuit:<id>` or `charger:<id>`.
    pub sees: String,
    /// What its frames hold.
    pub knows: Knows,
    /// Age of a sample when it arrives.
    pub delay_s: f64,
    /// Its frames carry no time, but the running mean of its own quarter of an hour, which began so many seconds before
    /// the scenario.
    pub quarter_began_s: Option<u32>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { sees: "grid".to_owned(), knows: Knows::Everything, delay_s: 0.0, quarter_began_s: None }
    }
}

/// What the frames of a meter hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Knows {
    /// Signed currents, powers, voltages, counters.
    Everything,
    /// Whole amperes without a sign beside the powers, as Dutch meters.
    WholeAmps,
    /// Total power alone.
    Total,
}

/// Something that happens.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Happening {
    /// When.
    pub at_s: f64,
    /// Another load of the house.
    pub load_a: Option<[f64; 3]>,
    /// Another load below a circuit.
    pub circuit_load_a: BTreeMap<String, [f64; 3]>,
    /// Share of the production that a cloud leaves.
    pub sun: Option<f64>,
    /// Wishes: path and value.
    pub set: Vec<(String, String)>,
    /// Cars that come.
    pub plug: Vec<String>,
    /// Cars that leave.
    pub unplug: Vec<String>,
    /// What becomes of cars.
    pub car: BTreeMap<String, CarTurn>,
    /// What becomes of meters.
    pub meter: BTreeMap<String, MeterTurn>,
    /// What becomes of chargers.
    pub charger: BTreeMap<String, ChargerTurn>,
    /// `true`, `false`, or `"lost"`.
    pub input: BTreeMap<String, Level>,
    /// What becomes of relays.
    pub relay: BTreeMap<String, RelayTurn>,
    /// The wall clock is set to this, RFC 3339.
    pub wall: Option<String>,
    /// What becomes of the appliance itself.
    pub appliance: Option<ApplianceTurn>,
}

/// What a car does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarTurn {
    /// It follows its offer.
    Obeys,
    /// It draws 4 A more than it is offered.
    DrawsMore,
    /// It goes on drawing what it draws although it is offered less.
    Clings,
    /// Its owner has stopped it in the car.
    Stops,
    /// And lets it go on.
    GoesOn,
}

/// What a meter does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterTurn {
    /// It sends what is true.
    Good,
    /// Nothing comes.
    Silent,
    /// It repeats its last frame, time included.
    Frozen,
    /// Zeros in every current and power; its counters stand still.
    Zeros,
    /// The same, and its counters go on.
    ZeroPower,
    /// L1 is missing in every frame.
    LacksL1,
    /// 400 A on L1.
    Spike,
    /// L1 with the sign turned.
    FlipsL1,
}

/// What a charger does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargerTurn {
    /// It hears and answers.
    Good,
    /// It hears nothing and answers nothing.
    Silent,
    /// It hears, but its answers are lost.
    Mute,
    /// It restarts with a set-point of 32 A.
    Reboot,
    /// Somebody else writes 16 A now.
    ForeignWrite,
    /// It takes no set-point above 10 A.
    LimitsItself,
}

/// What a relay does from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayTurn {
    /// It takes orders.
    Good,
    /// It takes none and stays as it is.
    Silent,
}

/// What the appliance does from now on. Its device tasks are played as the fail-safe table has them; that they really do
/// so is for the tests of the whole binary to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplianceTurn {
    /// Its control loop hangs: after the lease of 5 s the device tasks write min(offer, programmed fail-safe current)
    /// and feed no timer any more.
    Hung,
    /// Its process is gone.
    Killed,
    /// It stops in good order.
    Stopped,
    /// It starts and knows nothing of before.
    Started,
}

/// Level of an input.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// It is active or not.
    Known(bool),
    /// Any word: it cannot be read.
    Lost(String),
}

/// What must come of it; figures as the least and the most.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Ampere-seconds above the main fuse, all phases.
    pub overload_as: Option<[f64; 2]>,
    /// Highest mean import of a whole quarter of an hour, as the grid meter counts them: from the beginning, unless its
    /// `quarter_began_s` says otherwise.
    pub quarter_kw: Option<[f64; 2]>,
    /// Energy of each car.
    pub energy_kwh: BTreeMap<String, [f64; 2]>,
    /// Starts of each car.
    pub starts: BTreeMap<String, [u32; 2]>,
    /// Set-points that were changed, all chargers.
    pub changes: Option<[u32; 2]>,
    /// Seconds that each relay was closed.
    pub closed_s: BTreeMap<String, [f64; 2]>,
    /// Words of `limit_reason` that must be given for each charger.
    pub reasons: BTreeMap<String, Vec<String>>,
    /// Events (`meter_lost main`) that must come.
    pub events: Vec<String>,
    /// Events that must not.
    pub never: Vec<String>,
}

fn minute() -> f64 {
    60.0
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// With what is wrong and where.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// With what is wrong and where.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Rest {
            scenario: Script,
        }
        let mark = text.match_indices(MARK).find(|(at, _)| *at == 0 || text[..*at].ends_with('\n'));
        let Some((at, _)) = mark else { return Err(format!("{name}: there is no line `{MARK}`")) };
        let (house, rest) = text.split_at(at);
        let file = SourceFile { name: name.to_owned(), base: "".into(), text: house.to_owned(), open_to_all: false };
        let inputs =
            Inputs { files: vec![file], variables: Vec::new(), options: None, default_data_dir: "/nonexistent".into() };
        let loaded = config::load_inputs(inputs, Purpose::Simulate, Vec::new()).map_err(|it| it.to_string())?;
        // Errors name the line of the file.
        let padded = "\n".repeat(house.matches('\n').count()) + rest;
        let Rest { scenario } = toml::from_str(&padded).map_err(|error| format!("{name}: {error}"))?;
        let it = Self { config: loaded.config, script: scenario };
        it.check().map_err(|error| format!("{name}: {error}"))?;
        Ok(it)
    }

    /// Everything that is named exists.
    fn check(&self) -> Result<(), String> {
        let script = &self.script;
        // NaN is in no range.
        if ![script.lasts_s, script.sample_s].iter().all(|it| (1.0..=LONGEST_S).contains(it)) {
            return Err(format!("`lasts_s` and `sample_s` must be 1 to {LONGEST_S}"));
        }
        let chargers = || self.config.chargers.iter().map(|it| it.common.id.as_str());
        let meters = || self.config.meters.iter().map(|it| it.common.id.as_str());
        let inputs = || self.config.inputs.iter().map(|it| it.common.id.as_str());
        let circuits = || self.config.circuits.iter().map(|it| it.id.as_str());
        let relays = || self.config.relays.iter().map(|it| it.common.id.as_str());
        let cars = script.cars.keys().chain(script.expect.energy_kwh.keys()).chain(script.expect.starts.keys());
        let cars = cars.chain(script.expect.reasons.keys());
        known("charger", cars.chain(&script.unmeasured), chargers)?;
        known("meter", script.meters.keys(), meters)?;
        known("circuit", script.house.circuit_load_a.keys(), circuits)?;
        known("relay", script.relays.keys().chain(script.expect.closed_s.keys()), relays)?;
        for event in &script.events {
            if !(0.0..=script.lasts_s).contains(&event.at_s) {
                return Err(format!("an event at {} s is not within the scenario", event.at_s));
            }
            let of_cars = event.plug.iter().chain(&event.unplug).chain(event.car.keys());
            if let Some(id) = of_cars.clone().find(|id| !script.cars.contains_key(*id)) {
                return Err(format!("there is no car at `{id}`: add [scenario.cars.{id}]"));
            }
            known("charger", event.charger.keys(), chargers)?;
            known("meter", event.meter.keys(), meters)?;
            known("input", event.input.keys(), inputs)?;
            known("relay", event.relay.keys(), relays)?;
            known("circuit", event.circuit_load_a.keys(), circuits)?;
        }
        for meter in script.meters.values() {
            match meter.sees.split_once(':') {
                Some(("charger", id)) if chargers().any(|it| it == id) => {}
                Some(("circuit", id)) if circuits().any(|it| it == id) => {}
                None if ["grid", "sun", "battery"].contains(&meter.sees.as_str()) => {}
                _ => {
                    return Err(format!(
                        "a meter cannot see `{}`; allowed: grid, sun, battery, circuit:<id>, charger:<id> of the file",
                        meter.sees
                    ));
                }
            }
        }
        Ok(())
    }
}

fn known<'a, I: Iterator<Item = &'a str>>(
    kind: &str,
    names: impl Iterator<Item = &'a String>,
    all: impl Fn() -> I,
) -> Result<(), String> {
    for name in names {
        if !all().any(|it| it == name) {
            return Err(format!("there is no {kind} `{name}` in the configuration"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: &str = "[grid]\nfuse_a = 25\nmeter = \"main\"\n[[meter]]\nid = \"main\"\ndriver = \"simulated\"\n\
        [[charger]]\nid = \"left\"\ndriver = \"simulated\"\n";
    const SCRIPT: &str = "[scenario]\ntitle = \"t\"\nshows = \"s\"\nlasts_s = 60\n";

    fn wrong(house: &str, script: &str) -> String {
        Scenario::parse("x.toml", &format!("{house}{script}")).unwrap_err()
    }

    #[test]
    fn a_scenario_is_a_configuration_and_what_happens() {
        let text = format!(
            "{HOUSE}{SCRIPT}[scenario.cars.left]\nmax_a = 10\n[[scenario.event]]\nat_s = 5\nunplug = [\"left\"]\n"
        );
        let scenario = Scenario::parse("x.toml", &text).unwrap();
        assert_eq!(scenario.config.chargers.len(), 1);
        assert_eq!(scenario.script.cars["left"].max_a, 10.0);
        assert_eq!(scenario.script.events[0].unplug, ["left"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert!(wrong(HOUSE, "").contains("no line `[scenario]`"));
        let config = wrong("[grid]\nfuse = 25\n", SCRIPT);
        assert!(config.contains("fuse_a") && config.contains('2'), "{config}");
        let unknown = wrong(HOUSE, &format!("{SCRIPT}colour = 1\n"));
        assert!(unknown.contains("line 14") && unknown.contains("colour"), "{unknown}");
        for (more, part) in [
            ("[scenario.cars.right]\n", "no charger `right`"),
            ("[[scenario.event]]\nat_s = 61\n", "not within the scenario"),
            ("[[scenario.event]]\nat_s = 1\nplug = [\"left\"]\n", "no car at `left`"),
            ("[scenario.meters.main]\nsees = \"moon\"\n", "cannot see `moon`"),
            ("[scenario.meters.main]\nsees = \"circuit:moon\"\n", "cannot see `circuit:moon`"),
            ("[scenario.house]\ncircuit_load_a = { moon = [1, 1, 1] }\n", "no circuit `moon`"),
            ("[[scenario.event]]\nat_s = 1\ncircuit_load_a = { moon = [1, 1, 1] }\n", "no circuit `moon`"),
            ("[scenaro.cars.left]\n", "scenaro"),
            ("[[charger]]\nid = \"late\"\n", "charger"),
            ("sample_s = nan\n", "`sample_s` must be"),
            ("[[scenario.event]]\nat_s = 1\ninput = { dim = true }\n", "no input `dim`"),
        ] {
            let error = wrong(HOUSE, &format!("{SCRIPT}{more}"));
            assert!(error.contains(part), "{error}");
        }
    }
}

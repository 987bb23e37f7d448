//! Files in order, environment, add-on options; secrets in files; the last good configuration.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod secrets;

use std::path::{Path, PathBuf};

use gridkeeper::config::model::{ChargerDriver, Connection, MeterDriver, MeterRole, MqttEndpoint, Parity};
use gridkeeper::config::{self, Diagnostics, Loaded, Purpose, Severity};
use gridkeeper::control::{BatteryRank, Mode, RelayRule, SolarPatience, SurplusKind};
use gridkeeper::quantity::{Milliamp, Phase, Span, Watt};

const HOUSE: &str = r#"
[grid]
fuse_a = 25
meter = "main"

[mqtt]
url = "mqtt://broker"

[[meter]]
id = "main"
driver = "p1"
connection = "tcp://192.0.2.1:23"

[[charger]]
id = "left"
driver = "teltocharge"
connection = "serial:///dev/ttyUSB0?baud=19200&parity=even"
unit = 1

[[charger]]
id = "bay-2"
driver = "evse-din"
connection = "serial:///dev/ttyUSB0"
unit = 2
"#;

struct Case {
    dir: tempfile::TempDir,
    files: Vec<PathBuf>,
    env: Vec<(String, String)>,
    options: Option<PathBuf>,
    purpose: Purpose,
}

impl Case {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (index, text) in files.iter().enumerate() {
            let path = dir.path().join(format!("{index}.toml"));
            std::fs::write(&path, text).unwrap();
            paths.push(path);
        }
        Self { dir, files: paths, env: Vec::new(), options: None, purpose: Purpose::Run }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn options(mut self, json: &str) -> Self {
        let path = self.dir.path().join("options.json");
        std::fs::write(&path, json).unwrap();
        self.options = Some(path);
        self
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn load(&self) -> Result<Loaded, Diagnostics> {
        config::load(&self.files, self.env.iter().cloned(), self.options.clone(), self.purpose)
    }

    fn good(&self) -> Loaded {
        self.load().unwrap_or_else(|it| panic!("{it}"))
    }

    /// Message and help of the only thing that is wrong.
    fn wrong(&self) -> String {
        let refused = self.load().expect_err("must be refused");
        let errors: Vec<_> = refused.list.iter().filter(|it| it.severity == Severity::Error).collect();
        let [one] = errors[..] else { panic!("{refused}") };
        format!("{}: {} | {}", one.file, one.message, one.help.as_deref().unwrap_or_default())
    }
}

#[test]
fn a_file_becomes_the_model_with_its_defaults() {
    let config = Case::new(&[HOUSE]).good().config;
    assert_eq!(config.grid.fuse, Some(Milliamp(25_000)));
    assert_eq!(config.grid.margin, Milliamp(500));
    assert_eq!(config.grid.meter, Some(0));
    assert_eq!(config.meters[0].role, MeterRole::Grid);
    assert_eq!(config.meters[0].phases, Phase::ALL);
    assert_eq!(config.control.min_on, Span::from_secs(300));
    assert_eq!(config.timing, Default::default());
    let mqtt = config.mqtt.as_ref().unwrap();
    assert_eq!((mqtt.base_topic.as_str(), mqtt.discovery_prefix.as_str()), ("gridkeeper", "homeassistant"));
    assert_eq!(mqtt.interval, Span::from_secs(5));
    assert_eq!(config.web.listen, Some("127.0.0.1:8127".parse().unwrap()));
    let ids: Vec<_> = config.chargers.iter().map(|it| it.common.id.as_str()).collect();
    assert_eq!(ids, ["left", "bay-2"], "in the order of the file");
    let left = &config.chargers[0];
    assert_eq!((left.max_current, left.fail_safe), (Milliamp(16_000), Milliamp::ZERO));
    assert_eq!(left.watchdog, Some(Span::from_secs(30)));
    assert_eq!((left.settings.mode, left.settings.priority), (Mode::Fast, 5));
    assert_eq!(config.chargers[1].watchdog, None);
    for charger in &config.chargers {
        let (ChargerDriver::TeltoCharge { connection, .. } | ChargerDriver::EvseDin { connection, .. }) =
            &charger.driver
        else {
            panic!("{charger:?}")
        };
        let Connection::Serial(line) = connection else { panic!("{connection:?}") };
        assert_eq!((line.baud, line.parity), (Some(19_200), Some(Parity::Even)), "written once, for the port");
    }
}

#[test]
fn later_layers_lie_on_top_key_by_key() {
    let site = "[grid]\nfuse_a = 20\n[[charger]]\nid = \"bay-2\"\nmax_current_a = 10\nfixed_current_a = 10\n[[charger]]\nid = \"new\"\ndriver = \"simulated\"\n";
    let case = Case::new(&[HOUSE, site])
        .env("GRIDKEEPER__GRID__MARGIN_A", "1.5")
        .env("GRIDKEEPER__CHARGER__BAY_2__MAX_CURRENT_A", "12")
        .env("GRIDKEEPER__CHARGER__BAY_2__PHASES", "L3,L1,L2")
        .env("GRIDKEEPER__CHARGER__LEFT__MODE", "off")
        .env("GRIDKEEPER__CONTROL__CHARGING_ENABLED", "false")
        .env("GRIDKEEPER_LOG", "debug")
        .env("PATH", "/bin")
        .options(r#"{"charger":[{"id":"bay-2","max_current_a":13}],"mqtt":{"base_topic":"garage","username":null}}"#);
    let config = case.good().config;
    assert_eq!(config.grid.fuse, Some(Milliamp(20_000)));
    assert_eq!(config.grid.margin, Milliamp(1500));
    assert_eq!(config.grid.meter, Some(0), "kept from the first file");
    assert_eq!(config.chargers[0].settings.mode, Mode::Off);
    assert!(!config.control.site.charging_enabled);
    let bay = &config.chargers[1];
    assert_eq!((bay.max_current, bay.settings.fixed_current), (Milliamp(13_000), Milliamp(10_000)));
    assert_eq!(bay.phases, [Phase::L3, Phase::L1, Phase::L2]);
    assert_eq!(config.chargers[2].common.id, "new");
    assert_eq!(config.mqtt.unwrap().base_topic, "garage");
    assert_eq!(config.storage.data_dir, case.dir.path(), "the add-on's own folder");
}

#[test]
fn a_wrong_value_below_another_layer_is_still_told() {
    let case = Case::new(&["[grid]\nfuse_a = \"x\"\n"]).env("GRIDKEEPER__GRID__FUSE_A", "25");
    assert!(case.wrong().contains("`fuse_a` is text"));
}

#[test]
fn a_value_from_a_variable_is_read_strictly_and_named() {
    let env = |name: &str, value: &str| Case::new(&[HOUSE]).env(name, value).wrong();
    for bad in ["", "25 A", " 25", "1e1", "0x19", "25,0", "true", "[25]"] {
        let said = env("GRIDKEEPER__GRID__FUSE_A", bad);
        let begin = "environment: variable GRIDKEEPER__GRID__FUSE_A: `fuse_a` is text, but a number is needed | ";
        assert!(said.starts_with(begin) && said.ends_with("allowed: 1 to 2000 A"), "{said}");
    }
    for meant in ["25 A", " 25", "25,0"] {
        assert!(env("GRIDKEEPER__GRID__FUSE_A", meant).contains("did you mean 25"), "{meant}");
    }
    for bad in ["yes", "ON", "1", "True", ""] {
        assert!(env("GRIDKEEPER__CONTROL__CHARGING_ENABLED", bad).contains("but true or false is needed"), "{bad}");
    }
    for bad in ["1.0", "1.5", "one"] {
        assert!(env("GRIDKEEPER__CHARGER__LEFT__UNIT", bad).contains("but a whole number is needed"), "{bad}");
    }
    for (name, value, text) in [
        ("GRIDKEEPER__GRID__FUSE_A", "0", "`fuse_a` = 0 is out of range | allowed: 1 to 2000 A"),
        ("GRIDKEEPER__GRID__METER", "mian", "there is no meter `mian` | did you mean \"main\"?"),
        ("GRIDKEEPER__CHARGER__LEFT__MODE", "sun", "= \"sun\""),
        ("GRIDKEEPER__SERVE__X__LISTEN", "4", "a [[serve]] has no id that a variable could name | write it in a file"),
        ("GRIDKEEPER__GRID__FUSE", "25", "[grid] has no key `fuse` | did you mean …FUSE_A?"),
        ("GRIDKEEPER__GIRD__FUSE_A", "25", "there is no table `gird` | did you mean GRIDKEEPER__GRID…?"),
        ("GRIDKEEPER__GRID", "25", "[grid] has no key ``"),
        (
            "GRIDKEEPER__CHARGER__RIGHT__UNIT",
            "5",
            "there is no charger `right` | allowed: GRIDKEEPER__CHARGER__<ID>__<KEY> with ID one of LEFT, BAY_2",
        ),
        ("GRIDKEEPER__CHARGER__LEFT", "5", "there is no charger `left`"),
        ("GRIDKEEPER__CHARGER__LEFT__ID", "x", "[[charger]] has no key `id`"),
        ("GRIDKEEPER__grid__fuse_a", "25", "there is no table `grid`"),
    ] {
        let found = env(name, value);
        assert!(found.starts_with(&format!("environment: variable {name}: ")) && found.contains(text), "{found}");
    }
}

#[test]
fn a_secret_in_a_variable_is_not_shown() {
    let long = format!("hunter2{}", "x".repeat(2000));
    let case = Case::new(&[HOUSE]).env("GRIDKEEPER__MQTT__PASSWORD", &long).env("GRIDKEEPER__MQTT__PASWORD", "hunter2");
    let shown = format!("{0} {0:?}", case.load().unwrap_err());
    assert!(shown.contains("GRIDKEEPER__MQTT__PASSWORD") && !shown.contains("hunter2"), "{shown}");
    let case = Case::new(&[HOUSE]).env("GRIDKEEPER__MQTT__PASSWORD", "hunter2").env("GRIDKEEPER__MQTT__USERNAME", "me");
    let loaded = case.good();
    assert_eq!(loaded.config.mqtt.as_ref().unwrap().password.as_ref().unwrap().reveal(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn options_are_checked_as_strictly_as_the_file() {
    let options = |json: &str| Case::new(&[HOUSE]).options(json).wrong();
    for (json, text) in [
        (r#"{"grid":{"fuse_a":"25"}}"#, "option grid.fuse_a: `fuse_a` is text, but a number is needed"),
        (r#"{"grid":{"fuse":25}}"#, "option grid.fuse: unknown key `fuse` in [grid] | did you mean `fuse_a`?"),
        (r#"{"gird":{}}"#, "option gird: unknown table `gird` | did you mean `grid`?"),
        (r#"{"grid":5}"#, "option grid: `grid` is a whole number, but a table is needed"),
        (r#"{"charger":[{"id":"left","unit":2.5}]}"#, "option charger.left.unit: `unit` is a number with decimals"),
        (r#"{"charger":[{"driver":"simulated"}]}"#, "option charger[0].id: `[[charger]]` has no `id`"),
        (
            r#"{"meter":[{"id":"left","driver":"simulated"}]}"#,
            "option meter.left.id: the id `left` is used twice: first by a charger in line 15 of",
        ),
        ("[]", "the add-on options are not a JSON object"),
        ("{", "the add-on options are not JSON: EOF"),
    ] {
        let found = options(json);
        assert!(found.contains(text), "{json}: {found}");
    }
}

#[test]
fn a_variable_that_only_looks_like_ours_is_a_warning() {
    for name in
        ["GRIDKEEPER_GRID__FUSE_A", "GRIDKEEPER_GRID_FUSE_A", "gridkeeper__grid__fuse_a", "GRIDKEEPER___GRID__FUSE_A"]
    {
        let case = Case::new(&[HOUSE]).env(name, "16");
        match case.load() {
            Ok(it) => {
                let [_, one] = &it.warnings[..] else { panic!("{name}: {:?}", it.warnings) };
                assert!(
                    one.message.contains(name) && one.help.as_ref().unwrap().contains("GRIDKEEPER__GRID__"),
                    "{one:?}"
                );
                assert_eq!(it.config.grid.fuse, Some(Milliamp(25_000)));
            }
            Err(refused) => assert!(refused.to_string().contains(name), "{refused}"),
        }
    }
    assert_eq!(Case::new(&[HOUSE]).env("GRIDKEEPER_LOG", "x").good().warnings.len(), 1, "only that of the EVSE-DIN");
}

#[test]
fn the_form_does_not_overrule_the_fuse_nor_the_broker_of_a_file() {
    let with =
        |form: &str| Case::new(&[HOUSE, "[grid]\nfuse_a = 16\n[mqtt]\nurl = \"mqtt://broker:1884\"\n"]).options(form);
    for (form, wrong) in [("25", true), ("16", false), ("16.0", false)] {
        let case = with(&format!(r#"{{"grid":{{"fuse_a":{form}}}}}"#));
        match case.load() {
            Ok(loaded) => assert!(!wrong && loaded.config.grid.fuse == Some(Milliamp(16_000)), "{form}"),
            Err(refused) => {
                let text = refused.to_string();
                assert!(
                    wrong && text.contains("grid.fuse_a is 25 in the form of the add-on and 16 in the file"),
                    "{text}"
                );
            }
        }
    }
    let broker = |form: &str| match with(form).good().config.mqtt.unwrap().endpoint {
        MqttEndpoint::Plain { host, port } => format!("{host}:{port}"),
        other => format!("{other:?}"),
    };
    assert_eq!(broker(r#"{"mqtt":{"url":"supervisor"}}"#), "broker:1884", "the form is filled in with it");
    assert_eq!(broker(r#"{"mqtt":{"url":"mqtt://other"}}"#), "other:1883", "somebody wrote this one");
}

#[test]
fn options_may_stand_alone() {
    let mut case = Case::new(&[]).options(r#"{"site":{"name":"Add-on"}}"#);
    // No file at the default places of the machine that runs the test may disturb.
    let empty = case.dir.path().join("empty.toml");
    std::fs::write(&empty, "").unwrap();
    case.files.push(empty);
    assert_eq!(case.good().config.site.name, "Add-on");
}

#[test]
fn a_missing_file_is_told_alone() {
    let mut case = Case::new(&["[[charger]]\nid = \"left\"\n"]);
    case.files.push(case.dir.path().join("missing.toml"));
    assert!(case.wrong().contains("missing.toml: cannot be read: "), "{}", case.wrong());
    case.files = vec![case.dir.path().to_owned()];
    assert!(case.wrong().contains("cannot be read: it is a folder"), "{}", case.wrong());
    std::fs::write(case.dir.path().join("big.toml"), " ".repeat(1024 * 1024 + 1)).unwrap();
    case.files = vec![case.dir.path().join("big.toml")];
    assert!(case.wrong().contains("it is longer than 1048576 bytes"), "{}", case.wrong());
    std::fs::write(case.dir.path().join("latin.toml"), b"[site]\nname = \"Haust\xfcr\"\n").unwrap();
    case.files = vec![case.dir.path().join("latin.toml")];
    let refused = case.load().unwrap_err();
    assert_eq!((refused.list[0].line, refused.list[0].column), (Some(2), Some(14)), "{refused}");
}

#[test]
fn an_own_model_that_is_wrong_is_named_with_its_line_and_not_taken_for_a_slip() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("models")).unwrap();
    let own = data.path().join("models/eastron-sdm630.toml");
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/models/eastron-sdm630.toml");
    let right = std::fs::read_to_string(built_in).unwrap();
    let line = right.lines().position(|it| it == "every = \"cycle\"").unwrap() + 1;
    let text = format!(
        "[storage]\ndata_dir = {:?}\n[[meter]]\nid = \"m\"\ndriver = \"modbus\"\nmodel = \"eastron-sdm630\"\n\
         connection = \"tcp://192.0.2.1:502\"\nunit = 1\n",
        data.path().display().to_string()
    );
    std::fs::write(&own, right.replacen("every = \"cycle\"", "every = \"often\"", 1)).unwrap();
    let refused = Case::new(&[&text]).load().unwrap_err();
    let it = &refused.list[0];
    assert!(it.message.contains("the file of \"eastron-sdm630\" is wrong in one place"), "{it}");
    let wrong = &refused.list[1];
    assert!(wrong.message.contains("[[poll]] number 1: `every` = \"often\""), "{wrong}");
    assert_eq!((wrong.line, wrong.column), (Some(line), Some(9)), "{wrong}");
    let help = it.help.as_deref().unwrap();
    assert!(help.contains(&own.display().to_string()) && !help.contains("did you mean"), "{help}");
    let misspelt = Case::new(&[&text.replace("eastron-sdm630\"", "eastron-sdm631\"")]).load().unwrap_err();
    assert!(misspelt.list[0].help.as_deref().unwrap().contains("did you mean"), "{misspelt}");
}

#[cfg(unix)]
#[test]
fn a_simulation_takes_what_its_driver_writes() {
    let mut case = Case::new(&[r#"
[site]
name = "Plant"
time_zone = "UTC"

[grid]
phases = 3
fuse_a = 25
meter = "main"
dim_kw = 4.2

[[meter]]
id = "main"
driver = "simulated"
period_s = 10

[[charger]]
id = "c0"
driver = "simulated"
phases = ["L2", "L3", "L1"]
max_current_a = 16
current_step_a = 0.1
phase_switching = true
watchdog_s = 30
fail_safe_current_a = 6

[[charger]]
id = "c1"
driver = "simulated"
phase_switching = false
watchdog_s = 0
mode = "solar"
low_tariff_only = true

[[input]]
id = "tariff"
meaning = "low-tariff"
driver = "simulated"

[[input]]
id = "dim"
meaning = "grid-dim"
driver = "simulated"
"#]);
    assert!(case.load().is_err(), "these keys are not for `run` yet");
    case.purpose = Purpose::Simulate;
    let loaded = case.good();
    assert_eq!(loaded.warnings.len(), 0, "{:?}", loaded.warnings);
    let setup = loaded.config.setup();
    assert_eq!(setup.dim, Some(Watt(4200)));
    assert_eq!(setup.meters[0].period, Some(Span::from_secs(10)));
    assert_eq!(setup.chargers[0].step, Milliamp(100));
    assert!(setup.chargers[0].can_switch_phases && !setup.chargers[1].can_switch_phases);
    assert_eq!(setup.chargers[0].phases, [Phase::L2, Phase::L3, Phase::L1]);
    assert_eq!((setup.chargers[0].watchdog, setup.chargers[1].watchdog), (Some(Span::from_secs(30)), None));
    assert_eq!(setup.chargers[1].settings.mode, Mode::Solar);
    assert_eq!(setup.inputs.len(), 2);
    assert_eq!(setup.circuits.len(), 1);
    let setting = |key: &str| loaded.config.setting(key);
    assert_eq!(setting("charger/c1/mode").as_deref(), Some("solar"));
    assert_eq!(setting("charger/c0/max_current_a").as_deref(), Some("16"));
    assert_eq!(setting("site/max_import_a").as_deref(), Some("none"));
    assert_eq!(setting("charger/c9/mode"), None);
    assert_eq!(setting("site/colour"), None);
}

#[test]
fn a_meter_that_is_asked_rarely_is_not_lost_between_two_readouts() {
    let heat = |more: &str| {
        let connection = "connection = \"tcp://192.0.2.1:5000\"";
        format!("[[meter]]\nid = \"heat\"\ndriver = \"iec62056-21\"\n{connection}\n{more}\n")
    };
    for (more, seconds) in [
        ("role = \"other\"", 960),
        ("role = \"other\"\nperiod_s = 40", 100),
        ("role = \"other\"\nperiod_s = 5", 10),
        ("role = \"solar\"", 10),
        ("role = \"solar\"\nperiod_s = 5", 10),
    ] {
        let setup = Case::new(&[&heat(more)]).good().config.setup();
        assert_eq!(setup.meters[0].presumed_period, Some(Span::from_secs(seconds)), "{more}");
    }
}

const RELAYS: &str = r#"
[control]
surplus = "per_phase"
solar_patience = "strict"
solar_target_w = -50
battery = "share"

[[meter]]
id = "battery"
driver = "simulated"
role = "battery"

[[meter]]
id = "roof"
driver = "simulated"
role = "solar"

[[relay]]
id = "boost"
driver = "simulated"
on_when = ["low-tariff", "export"]
load_w = 2000
priority = 7
interlock = "block"

[[relay]]
id = "block"
driver = "simulated"
shed = true
force_max_s = 60
interlock = "boost"
"#;

#[test]
fn surplus_and_relays_become_the_model_with_their_defaults() {
    let mut case = Case::new(&[RELAYS]);
    case.purpose = Purpose::Simulate;
    let setup = case.good().config.setup();
    assert_eq!((setup.surplus.kind, setup.surplus.patience), (SurplusKind::PerPhase, SolarPatience::Strict));
    assert_eq!((setup.surplus.target, setup.surplus.battery), (Watt(-50), BatteryRank::Share));
    assert_eq!((setup.surplus.grace, setup.surplus.proof), (Span::from_secs(30), Span::from_secs(120)));
    assert_eq!((setup.batteries, setup.solar), (vec![0], vec![1]));
    let [boost, block] = &setup.relays[..] else { panic!("{:?}", setup.relays) };
    assert_eq!(boost.on_when, [RelayRule::LowTariff, RelayRule::Export]);
    assert_eq!((boost.export_on, boost.export_off), (Watt(2_000), Watt(-200)), "the load, and -10 % of it");
    assert_eq!((boost.priority, boost.shed, boost.safe_state, boost.interlock), (7, false, false, Some(1)));
    assert_eq!((block.priority, block.shed, block.safe_state, block.interlock), (5, true, false, Some(0)));
    assert_eq!((boost.force_max, block.force_max), (Span::from_secs(3_600), Span::from_secs(60)));
}

#[test]
fn a_relay_that_its_own_load_opens_again_is_warned_of() {
    let mut case = Case::new(&[&RELAYS.replace("load_w = 2000", "load_w = 2000\nexport_on_w = 1")]);
    case.purpose = Purpose::Simulate;
    let warnings = case.good().warnings;
    assert!(warnings.iter().any(|it| it.message.contains("leaves less than export_off_w")), "{warnings:?}");
}

#[test]
fn relays_that_would_flutter_or_short_each_other_are_refused() {
    for (from, to, text) in [
        ("load_w = 2000", "load_w = 2000\nexport_on_w = -300", "is not below export_on_w"),
        ("interlock = \"block\"", "interlock = \"pump\"", "there is no relay `pump`"),
        (
            "interlock = \"block\"",
            "safe_state = \"on\"\ninterlock = \"block\"",
            "a relay of a pair has `safe_state` = \"on\"",
        ),
        ("interlock = \"boost\"", "", "does not name this relay"),
        ("\"export\"]", "\"sun\"]", "holds \"sun\", which is not one of its words"),
        ("\"export\"]", "\"low-tariff\"]", "twice"),
    ] {
        let mut case = Case::new(&[&RELAYS.replacen(from, to, 1)]);
        case.purpose = Purpose::Simulate;
        let refused = case.load().expect_err(text).to_string();
        assert!(refused.contains(text), "{text}: {refused}");
    }
}

#[test]
fn the_last_good_configuration_can_be_loaded_again() {
    let data = tempfile::tempdir().unwrap();
    assert!(config::load_last_good(data.path()).is_none());
    let text =
        HOUSE.replace("url = \"mqtt://broker\"", "url = \"mqtt://broker\"\nusername = \"me\"\npassword_file = \"pw\"");
    let case = Case::new(&[&text])
        .with_file("pw", "hunter2")
        .env("GRIDKEEPER__CHARGER__LEFT__UNIT", "7")
        .options(r#"{"grid":{"margin_a":2}}"#);
    let good = case.good();
    config::save_last_good(data.path(), &good.inputs).unwrap();
    let kept = data.path().join("last-good.json");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // The file is spoilt and a secret has gone: the chargers are still known.
    std::fs::write(&case.files[0], "[[[").unwrap();
    std::fs::remove_file(case.dir.path().join("pw")).unwrap();
    assert!(case.load().is_err());
    let again = config::load_last_good(data.path()).unwrap().unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(format!("{:?}", again.config.chargers), format!("{:?}", good.config.chargers));
    assert_eq!(again.config.grid.margin, Milliamp(2000));
    assert!(again.config.mqtt.unwrap().password.is_none());
    assert!(
        again.warnings.iter().any(|it| it.message.contains("`password_file` names no file")),
        "{:?}",
        again.warnings
    );

    std::fs::write(&kept, "{}garbage").unwrap();
    assert!(config::load_last_good(data.path()).unwrap().is_err());
}

#[test]
fn a_file_that_is_no_toml_any_more_still_leads_to_the_last_good_one() {
    let case = Case::new(&[&(HOUSE.to_owned() + "[storage]\ndata_dir = \"data\"\n")]);
    let good = case.good();
    config::save_last_good(&good.config.storage.data_dir, &good.inputs).unwrap();
    for spoilt in [
        HOUSE.replace("fuse_a = 25", "fuse_a = = 25") + "[storage]\ndata_dir = \"data\"\n",
        HOUSE.to_owned() + "[storage]\ndata_dir = \"data\"\n[[charger\n",
        "[storage]\ndata_dir = \"data\"\n\"".to_owned() + HOUSE,
    ] {
        std::fs::write(&case.files[0], spoilt).unwrap();
        let refused = case.load().unwrap_err();
        assert!(refused.list.iter().all(|it| it.message.starts_with("this is not TOML")), "{refused}");
        assert_eq!(refused.usable.storage.data_dir, good.config.storage.data_dir);
        let fallback = config::fallback(&refused).unwrap();
        assert_eq!(format!("{:?}", fallback.chargers), format!("{:?}", good.config.chargers));
        assert!(fallback.mqtt.is_some(), "that of the last good one");
    }
    let case = Case::new(&[HOUSE, "[[["]).env("GRIDKEEPER__CHARGER__SECOND__UNIT", "1");
    let refused = case.load().unwrap_err();
    assert!(refused.list.iter().all(|it| it.file.ends_with("1.toml")), "the device may stand in that file: {refused}");
}

#[test]
fn what_is_right_in_a_refused_file_can_be_used_to_say_so() {
    let text = HOUSE.replace("fuse_a = 25", "fuse_a = 0") + "[storage]\ndata_dir = \"data\"\n";
    let case = Case::new(&[&text]);
    let usable = case.load().unwrap_err().usable;
    assert!(usable.mqtt.unwrap().is_some());
    assert!(usable.web.is_some() && usable.site.is_some());
    assert_eq!(usable.storage.data_dir, case.dir.path().join("data"));
    let case = Case::new(&["[mqtt]\nurl = \"x\"\n"]).env("XDG_STATE_HOME", "/state");
    let usable = case.load().unwrap_err().usable;
    assert!(usable.mqtt.is_none() && usable.web.is_some());
    assert_eq!(usable.storage.data_dir, Path::new("/state/gridkeeper"));
}

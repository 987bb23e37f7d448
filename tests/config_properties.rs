//! No text makes the reader panic, and whatever it accepts is in range.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use gridkeeper::config::model::{ChargerDriver, Config, Connection};
use gridkeeper::config::{self, Purpose};
use gridkeeper::quantity::{Milliamp, Span};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

/// Keys and values of which files are put together; right ones and wrong ones.
const KEYS: [&str; 40] = [
    "id",
    "name",
    "driver",
    "connection",
    "unit",
    "phases",
    "meter",
    "max_current_a",
    "fail_safe_current_a",
    "watchdog_s",
    "priority",
    "authorize",
    "mode",
    "fixed_current_a",
    "fuse_a",
    "max_import_a",
    "margin_a",
    "static_a",
    "meter_late_s",
    "meter_lost_s",
    "meter_lost_current_a",
    "time_zone",
    "language",
    "charging_enabled",
    "sharing",
    "min_on_s",
    "url",
    "username",
    "password",
    "password_file",
    "base_topic",
    "interval_s",
    "listen",
    "data_dir",
    "lease_s",
    "poll_s",
    "role",
    "dim_kw",
    "current_step_a",
    "nonsense",
];
const TABLES: [&str; 12] = [
    "[site]",
    "[grid]",
    "[control]",
    "[timing]",
    "[mqtt]",
    "[web]",
    "[storage]",
    "[[meter]]",
    "[[charger]]",
    "[[charger]]",
    "[[circuit]]",
    "[[input]]",
];
const VALUES: [&str; 44] = [
    "0",
    "1",
    "2",
    "3",
    "5.99",
    "6",
    "7",
    "10",
    "16",
    "25",
    "30",
    "32",
    "80",
    "81",
    "247",
    "248",
    "-1",
    "1e9",
    "nan",
    "inf",
    "0.5",
    "1.2",
    "true",
    "false",
    "\"\"",
    "\"main\"",
    "\"left\"",
    "\"right\"",
    "\"p1\"",
    "\"simulated\"",
    "\"teltocharge\"",
    "\"evse-din\"",
    "\"fast\"",
    "\"solar\"",
    "\"auto\"",
    "\"equal\"",
    "\"UTC\"",
    "\"en\"",
    "\"tcp://192.0.2.1:502\"",
    "\"serial:///dev/ttyUSB0?baud=9600\"",
    "\"mqtt://broker\"",
    "\"127.0.0.1:0\"",
    "[\"L1\"]",
    "[\"L2\", \"L3\", \"L1\"]",
];

fn load(text: &str, purpose: Purpose) -> Option<Config> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gridkeeper.toml");
    std::fs::write(&path, text).unwrap();
    match config::load(&[path], std::iter::empty(), None, purpose) {
        Ok(it) => Some(it.config),
        Err(refused) => {
            assert!(!refused.list.is_empty(), "refused without a word");
            for it in &refused.list {
                assert!(!it.message.is_empty());
                assert!(it.to_string().len() < 20_000, "a report must fit on a screen");
            }
            None
        }
    }
}

fn in_range(config: &Config) {
    let amps = |it: Milliamp, min: i32, max: i32| assert!((min * 1000..=max * 1000).contains(&it.0), "{it}");
    let time = |it: Span| assert!((0..=86_400_000).contains(&it.0), "{it:?}");
    let grid = &config.grid;
    assert!(grid.phases == 1 || grid.phases == 3);
    if let Some(fuse) = grid.fuse {
        amps(fuse, 1, 2000);
        assert!(grid.margin < fuse);
        assert!(grid.static_current.is_none_or(|it| it <= fuse && it >= Milliamp::ZERO));
        assert!(config.control.site.max_import.is_none_or(|it| it <= fuse && it >= Milliamp::ZERO));
    }
    if !config.chargers.is_empty() {
        assert!(grid.fuse.is_some());
        assert!(grid.meter.is_some() || grid.static_current.is_some());
    }
    assert!(grid.meter.is_none_or(|it| it < config.meters.len()));
    if let (Some(late), Some(lost)) = (grid.meter_late, grid.meter_lost) {
        assert!(late < lost && lost.0 >= 1200);
    }
    for it in [config.timing.lease, config.timing.poll, config.control.min_on, config.control.min_off] {
        time(it);
    }
    let mut ids = std::collections::HashSet::new();
    let devices = config.meters.iter().map(|it| &it.common).chain(config.chargers.iter().map(|it| &it.common));
    for it in devices.chain(config.inputs.iter().map(|it| &it.common)) {
        assert!(!it.id.is_empty() && it.id.len() <= 32 && !it.name.is_empty());
        assert!(ids.insert(it.id.clone()), "{} twice", it.id);
    }
    let mut units = std::collections::HashSet::new();
    for it in &config.chargers {
        amps(it.max_current, 6, 80);
        assert!(it.fail_safe == Milliamp::ZERO || (it.fail_safe.0 >= 6000 && it.fail_safe <= it.max_current));
        assert!(it.settings.fixed_current.0 >= 6000 && it.settings.fixed_current <= it.max_current);
        assert!((1..=9).contains(&it.settings.priority));
        assert!((1..=3).contains(&it.phases.len()) && it.step.0 > 0);
        assert!(it.watchdog.is_none_or(|it| it > Span::ZERO));
        assert!(it.meter.is_none_or(|own| own < config.meters.len() && Some(own) != grid.meter));
        if let ChargerDriver::TeltoCharge { connection, unit } | ChargerDriver::EvseDin { connection, unit } =
            &it.driver
        {
            assert!((1..=247).contains(unit));
            let bus = match connection {
                Connection::Serial(line) => line.path.display().to_string(),
                Connection::Tcp { host, port } | Connection::RtuOverTcp { host, port } => format!("{host}:{port}"),
            };
            assert!(units.insert((bus, *unit)), "one unit twice on a bus");
        }
    }
    // The controller can be told of it, and knows every setting's value.
    assert_eq!(config.setup().chargers.len(), config.chargers.len());
    if let Some(first) = config.chargers.first() {
        assert!(config.setting(&format!("charger/{}/mode", first.common.id)).is_some());
    }
}

/// One line: a table, or a key with a value.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => prop::sample::select(&TABLES[..]).prop_map(str::to_owned),
        4 => (prop::sample::select(&KEYS[..]), prop::sample::select(&VALUES[..])).prop_map(|(k, v)| format!("{k} = {v}")),
    ]
}

/// A file that is nearly right: every value is drawn from around its range.
fn nearly_right() -> impl Strategy<Value = String> {
    let charger = (
        prop::sample::select(&["teltocharge", "evse-din", "simulated"][..]),
        1_u16..6,
        prop::sample::select(&["5", "6", "16", "32", "80", "80.5"][..]),
        prop::sample::select(&["0", "3", "6", "16", "32"][..]),
        prop::sample::select(&["0", "1", "30", "2.5", "600"][..]),
        prop::sample::select(&["[\"L1\"]", "[\"L2\", \"L3\", \"L1\"]", "[\"L1\", \"L2\"]"][..]),
        0_u8..11,
    );
    let grid = (
        prop::sample::select(&["1", "3"][..]),
        prop::sample::select(&["0.5", "1", "16", "25", "63"][..]),
        prop::option::of(prop::sample::select(&["0", "10", "25", "30"][..])),
        prop::option::of(prop::sample::select(&["0", "0.5", "1", "24.9"][..])),
        any::<bool>(),
        prop::option::of(prop::sample::select(&["1.1", "1.2", "10", "31"][..])),
        prop::option::of(prop::sample::select(&["0.5", "5", "10"][..])),
    );
    (grid, prop::collection::vec(charger, 0..5)).prop_map(
        |((phases, fuse, fixed, margin, meter, lost, late), chargers)| {
            let mut out = format!("[grid]\nphases = {phases}\nfuse_a = {fuse}\n");
            let mut key = |name: &str, value: Option<&str>| {
                if let Some(value) = value {
                    out.push_str(&format!("{name} = {value}\n"));
                }
            };
            key("static_a", fixed);
            key("margin_a", margin);
            key("meter", meter.then_some("\"main\""));
            key("meter_lost_s", lost.filter(|_| meter));
            key("meter_late_s", late.filter(|_| meter));
            out.push_str("[[meter]]\nid = \"main\"\ndriver = \"p1\"\nconnection = \"tcp://192.0.2.1:23\"\n");
            for (index, (driver, unit, max, fail_safe, watchdog, phases, priority)) in chargers.into_iter().enumerate()
            {
                out.push_str(&format!(
                    "[[charger]]\nid = \"c{index}\"\ndriver = \"{driver}\"\nmax_current_a = {max}\n"
                ));
                out.push_str(&format!("fail_safe_current_a = {fail_safe}\nphases = {phases}\npriority = {priority}\n"));
                if driver != "simulated" {
                    out.push_str(&format!("connection = \"serial:///dev/ttyUSB0\"\nunit = {unit}\n"));
                }
                if driver != "evse-din" {
                    out.push_str(&format!("watchdog_s = {watchdog}\n"));
                }
            }
            out
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}|[\\[\\]=\"'#.\n{} a-z0-9é\u{1b}\u{0}]{0,200}") {
        if let Some(config) = load(&text, Purpose::Run) {
            in_range(&config);
        }
    }

    #[test]
    fn any_mixture_of_keys_and_values_is_answered(lines in prop::collection::vec(line(), 0..30), simulate in any::<bool>()) {
        let purpose = if simulate { Purpose::Simulate } else { Purpose::Run };
        if let Some(config) = load(&lines.join("\n"), purpose) {
            in_range(&config);
        }
    }

    #[test]
    fn what_is_accepted_is_in_range(text in nearly_right()) {
        if let Some(config) = load(&text, Purpose::Run) {
            in_range(&config);
        }
    }

    #[test]
    fn a_spoilt_example_is_answered(at in 0_usize..8000, with in "\\PC{0,3}", cut in 0_usize..4) {
        let text = include_str!("../config/gridkeeper.toml").replace("\n# ", "\n");
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.min(chars.len());
        let end = (at + cut).min(chars.len());
        chars.splice(at..end, with.chars());
        if let Some(config) = load(&chars.into_iter().collect::<String>(), Purpose::Run) {
            in_range(&config);
        }
    }

    #[test]
    fn any_variable_and_any_options_are_answered(name in "[A-Z_]{0,30}", value in "\\PC{0,20}", json in "\\PC{0,60}") {
        let dir = tempfile::tempdir().unwrap();
        let (file, options) = (dir.path().join("a.toml"), dir.path().join("options.json"));
        std::fs::write(&file, "[[charger]]\nid = \"a\"\ndriver = \"simulated\"\n[grid]\nfuse_a = 25\nstatic_a = 6\n").unwrap();
        std::fs::write(&options, &json).unwrap();
        let env = [(format!("GRIDKEEPER__{name}"), value.clone()), ("GRIDKEEPER__CHARGER__A__MAX_CURRENT_A".to_owned(), value)];
        if let Ok(it) = config::load(&[file], env.into_iter(), Some(options), Purpose::Run) {
            in_range(&it.config);
        }
    }
}

/// The generator above must reach both sides, or it proves nothing.
#[test]
fn the_generator_makes_accepted_and_refused_files() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..300 {
        let text = nearly_right().new_tree(&mut runner).unwrap().current();
        match load(&text, Purpose::Run) {
            Some(_) => accepted += 1,
            None => refused += 1,
        }
    }
    assert!(accepted > 10 && refused > 10, "{accepted} accepted, {refused} refused");
}

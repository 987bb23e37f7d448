//! Rows: input lost; broker (nothing changes); settings and modes.

use gridkeeper::command::{Actions, ChargerAction};
use gridkeeper::config::{self, Severity};
use gridkeeper::control::{Accepted, InputMeaning, Setup};
use gridkeeper::event::EventType;
use gridkeeper::feature::Purpose;
use gridkeeper::quantity::Phases;
use gridkeeper::reading::{InputReading, Observation};

use crate::site::{Site, amps, input, setup};

fn with(meaning: InputMeaning) -> Site {
    let mut setup = setup(1);
    setup.inputs.push(input(meaning));
    Site::new(setup)
}

fn after(site: &mut Site, level: Option<bool>) -> (f64, &'static str) {
    for _ in 0..30 {
        let reading = InputReading { received_at: site.now, active: level };
        site.tick_with(&[Observation::Input(0, reading)]);
    }
    (site.offer(0), site.reason(0))
}

#[test]
fn dim_and_block_count_as_active_while_unknown_or_lost() {
    for (meaning, word) in [(InputMeaning::GridDim, "dim"), (InputMeaning::Block, "block")] {
        let mut site = with(meaning);
        site.run(30);
        assert_eq!((site.offer(0), site.reason(0)), (0.0, word), "unknown");
        assert_eq!(after(&mut site, Some(false)), (16.0, "none"));
        assert_eq!(after(&mut site, None), (0.0, word));
        assert_eq!(site.count(EventType::InputLost), 1);
        assert_eq!(after(&mut site, Some(false)), (16.0, "none"), "first good reading");
        assert_eq!(site.count(EventType::InputBack), 1);
        assert_eq!(after(&mut site, Some(true)), (0.0, word));
    }
}

#[test]
fn low_tariff_counts_as_inactive_while_unknown_or_lost() {
    let mut site = with(InputMeaning::LowTariff);
    assert_eq!(after(&mut site, None).0, 16.0, "nobody asked for the low tariff");
    site.set("charger/c0/set/low_tariff_only", "ON");
    assert_eq!(after(&mut site, None), (0.0, "tariff"));
    assert_eq!(site.command(0).fail_safe, amps(0.0), "may not charge now: nothing to fall to");
    assert_eq!(after(&mut site, Some(true)), (16.0, "none"));
    assert_eq!(site.command(0).fail_safe, amps(6.0));
    assert_eq!(after(&mut site, Some(false)), (0.0, "tariff"));
}

#[test]
fn a_limit_that_cannot_be_kept_yet_stops() {
    let mut site = Site::charging(setup(1));
    site.set("site/set/peak_15min_kw", "2");
    site.tick();
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "peak_15min"));
    site.set("site/set/peak_15min_kw", "none");
    site.run(30);
    assert_eq!(site.offer(0), 16.0);
}

#[test]
fn switches_act_at_once_and_in_full() {
    let mut site = Site::charging(setup(1));
    site.set("site/set/charging_enabled", "OFF");
    site.tick();
    assert_eq!((site.offer(0), site.reason(0)), (0.0, "off"));
    site.set("site/set/charging_enabled", "1");
    site.run(30);
    site.set("charger/c0/set/mode", "fixed");
    site.set("charger/c0/set/fixed_current_a", "8.0");
    site.tick();
    assert_eq!((site.offer(0), site.reason(0)), (8.0, "fixed"));
    site.set("site/set/max_import_a", "9");
    site.tick();
    assert_eq!((site.offer(0), site.reason(0)), (6.0, "limit_l1"));
    site.house = Phases::all(amps(4.0));
    site.tick();
    assert_eq!(site.offer(0), 0.0);
}

#[test]
fn refusals_say_what_is_allowed() {
    let mut site = Site::new(setup(1));
    let refused = [
        ("charger/c0/set/mode", "Fast", "off, fast, fixed, eco, eco_plus, solar"),
        ("charger/c0/set/max_current_a", "5", "6 to 16 A"),
        ("charger/c0/set/max_current_a", "17", "6 to 16 A"),
        ("charger/c0/set/max_current_a", "10,5", "decimal point"),
        ("charger/c0/set/max_current_a", "10 A", "plain number"),
        ("charger/c0/set/max_current_a", "NaN", "plain number"),
        ("charger/c0/set/max_current_a", "1e1", "plain number"),
        ("charger/c0/set/fixed_current_a", "3", "6 to 16 A"),
        ("charger/c0/set/priority", "0", "1 (first) to 9 (last)"),
        ("charger/c0/set/low_tariff_only", "yes", "ON, OFF, true, false, 1, 0"),
        ("charger/c0/set/phases", "1", "cannot switch its phases"),
        ("charger/c0/set/colour", "red", "mode, max_current_a"),
        ("charger/c0/set/authorize", "PRESS", "does not answer now"),
        ("charger/c9/set/mode", "fast", "no charger"),
        ("site/set/max_import_a", "25.5", "0 to 25 A"),
        ("site/set/max_import_a", "-1", "0 to 25 A"),
        ("site/set/max_import_kw", "1001", "0 to 1000 kW"),
        ("site/set/fuse_a", "80", "charging_enabled, max_import_a"),
        ("meter/main/set/x", "1", "charger/<id>/set/<setting>"),
    ];
    for (path, value, allowed) in refused {
        let error = site.controller.set(site.now, path, value).expect_err(path).to_string();
        assert!(error.contains(allowed), "{path} {value}: {error}");
    }
    let long = "x".repeat(100_000);
    let error = site.controller.set(site.now, "charger/c0/set/mode", &long).expect_err("too long").to_string();
    assert!(error.len() < 200, "a refusal is short: {}", error.len());
}

/// What the file check says to one key.
fn file_check(table: &str, line: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("house.toml");
    let with = |name: &str| if name == table { line } else { "" };
    let text = format!(
        "[grid]\nfuse_a = 25\nstatic_a = 10\n{}\n[control]\n{}\n[[charger]]\nid = \"c0\"\ndriver = \"simulated\"\n{}\n",
        with("grid"),
        with("control"),
        with("charger")
    );
    std::fs::write(&path, text).expect("a file");
    match config::load(&[path], std::iter::empty(), None, Purpose::Run) {
        Ok(_) => Ok(()),
        Err(error) => {
            let first = error.list.iter().find(|it| it.severity == Severity::Error);
            Err(first.expect("a refused file has an error").message.clone())
        }
    }
}

#[test]
fn the_appliance_takes_what_its_file_takes_and_refuses_the_rest_with_the_same_sentence() {
    let cases = [
        ("charger", "mode = \"eco\"", "charger/c0/set/mode", "eco"),
        ("charger", "mode = \"eco_plus\"", "charger/c0/set/mode", "eco_plus"),
        ("charger", "mode = \"solar\"", "charger/c0/set/mode", "pv"),
        ("charger", "eco_min_a = 8", "charger/c0/set/eco_min_a", "8"),
        ("charger", "eco_plus_min_surplus_a = 2", "charger/c0/set/eco_plus_min_surplus_a", "2"),
        ("charger", "low_tariff_only = true", "charger/c0/set/low_tariff_only", "ON"),
        ("charger", "low_tariff_fast = true", "charger/c0/set/low_tariff_fast", "ON"),
        ("charger", "low_tariff_max_a = 10", "charger/c0/set/low_tariff_max_a", "10"),
        ("charger", "mode_after_session = \"off\"", "charger/c0/set/mode_after_session", "off"),
        ("grid", "max_import_kw = 5", "site/set/max_import_kw", "5"),
        ("grid", "peak_15min_kw = 5", "site/set/peak_15min_kw", "5"),
        ("control", "max_charging_kw = 5", "site/set/max_charging_kw", "5"),
        ("control", "sharing = \"priority\"", "site/set/sharing", "priority"),
        ("control", "sharing = \"state\"", "site/set/sharing", "state"),
    ];
    let mut site = Site::new(Setup { purpose: Purpose::Run, ..setup(1) });
    for (table, line, path, value) in cases {
        let set = site.controller.set(site.now, path, value).map(drop).map_err(|it| it.to_string());
        match (file_check(table, line), set) {
            (Ok(()), Ok(())) => {}
            (Err(file), Err(set)) => {
                assert!(set.starts_with(&file), "{path}: the file check says {file}, set says {set}")
            }
            (file, set) => panic!("{path}: the file check says {file:?}, set says {set:?}"),
        }
    }
}

#[test]
fn a_box_is_only_asked_for_what_it_can_do() {
    let mut setup = setup(2);
    setup.chargers[0].actions = Actions::NONE;
    setup.chargers[1].actions = Actions { lock: false, ..Actions::ALL };
    let mut site = Site::charging(setup);
    let mut set = |path: &str, value: &str| site.controller.set(site.now, path, value).map_err(|it| it.to_string());
    for (setting, value) in [("authorize", "PRESS"), ("lock", "locked"), ("reboot", "ON")] {
        let error = set(&format!("charger/c0/set/{setting}"), value).unwrap_err();
        assert_eq!(error, format!("charger `c0` has no `{setting}`; this kind of charger takes no such commands"));
    }
    let error = set("charger/c1/set/lock", "auto").unwrap_err();
    assert_eq!(error, "charger `c1` has no `lock`; this kind of charger has: authorize, reboot");
    assert_eq!(set("charger/c1/set/reboot", "ON"), Ok(Accepted::Action(1, ChargerAction::Reboot)));
}

#[test]
fn settings_are_told_in_the_form_in_which_they_are_accepted_again() {
    let mut site = Site::new(setup(1));
    let pairs = [
        ("charger/c0/set/mode", "pv", Some("solar")),
        ("charger/c0/set/max_current_a", "10.0", Some("10")),
        ("charger/c0/set/low_tariff_only", "True", Some("ON")),
        ("site/set/max_import_a", "0", Some("0")),
        ("site/set/max_import_a", "none", None),
        ("site/set/sharing", "priority", Some("priority")),
        ("charger/c0/set/mode", "none", None),
    ];
    for (path, value, stored) in pairs {
        let accepted = site.controller.set(site.now, path, value).unwrap();
        let key = path.replace("/set/", "/");
        assert_eq!(accepted, Accepted::Setting { key, value: stored.map(str::to_owned) });
        if let Some(stored) = stored {
            let again = site.controller.set(site.now, path, stored).unwrap();
            assert_eq!(again, accepted);
        }
    }
    site.set("charger/c0/set/mode", "off");
    assert_eq!(site.controller.set(site.now, "site/set/reset_settings", "PRESS"), Ok(Accepted::Reset));
    site.run(30);
    assert_eq!(site.offer(0), 16.0);
}

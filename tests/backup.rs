//! `gridkeeper backup` and `gridkeeper restore`, as a person runs them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A house with a configuration, a secret beside it, and data.
struct House {
    folder: TempDir,
}

impl House {
    fn new() -> Self {
        let it = Self { folder: tempfile::tempdir().unwrap() };
        for (name, text) in [
            ("etc/mqtt.password", "hunter2"),
            ("data/settings.json", r#"{"version":1,"settings":{}}"#),
            ("data/counters.json", r#"{"main":{"serial":null,"own":{"energy_import_kwh":1.5}}}"#),
            ("data/history/2026.bin", "\u{0}\u{1}binary"),
            ("data/models/my-meter.toml", "format = 1\n"),
            ("data/instance", "0123456789abcdef"),
            ("data/last-good.json", "{}"),
            ("data/.settings.json.new", "half"),
        ] {
            it.write(name, text);
        }
        let data = it.path("data");
        let config = "[mqtt]\nurl = \"mqtt://127.0.0.1\"\nusername = \"me\"\npassword_file = \"mqtt.password\"\n";
        it.write("etc/gridkeeper.toml", &format!("{config}[storage]\ndata_dir = \"{}\"\n", data.display()));
        for (name, mode) in [("etc/gridkeeper.toml", 0o640), ("etc/mqtt.password", 0o600)] {
            fs::set_permissions(it.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        // As the program will name it, whatever links lead to the temporary folder.
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn backup(&self) -> PathBuf {
        let file = self.path("house.tar");
        let (config, target) = (self.path("etc/gridkeeper.toml"), file.clone());
        let done = gridkeeper(&[Path::new("backup"), &target, Path::new("-c"), &config]);
        assert!(done.status.success(), "{done:?}");
        file
    }
}

fn gridkeeper(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
    command.args(arguments).stdin(Stdio::null()).env_clear().output().unwrap()
}

fn restore(file: &Path) -> Output {
    gridkeeper(&[Path::new("restore"), Path::new("--yes"), file])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_house_that_lost_its_disk_is_as_it_was() {
    let house = House::new();
    let file = house.backup();
    assert_eq!(mode(&file), 0o600, "there are secrets in it");
    for folder in ["etc", "data"] {
        fs::remove_dir_all(house.path(folder)).unwrap();
    }
    let done = restore(&file);
    assert!(done.status.success(), "{done:?}");
    assert!(house.read("etc/gridkeeper.toml").contains("data_dir"));
    assert_eq!(house.read("etc/mqtt.password"), "hunter2");
    assert_eq!(house.read("data/settings.json"), r#"{"version":1,"settings":{}}"#);
    assert_eq!(house.read("data/history/2026.bin"), "\u{0}\u{1}binary");
    assert!(house.read("data/counters.json").contains("energy_import_kwh"), "or a counter that fell is not noticed");
    assert_eq!(house.read("data/models/my-meter.toml"), "format = 1\n");
    for gone in ["data/instance", "data/last-good.json", "data/.settings.json.new"] {
        assert!(!house.path(gone).exists(), "{gone} belongs to one installation, or to none");
    }
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("accepted"), "the configuration is checked where it is now: {said}");
}

#[test]
fn what_it_replaces_is_kept_beside_with_its_rights() {
    let house = House::new();
    let file = house.backup();
    house.write("etc/mqtt.password", "newer");
    assert!(restore(&file).status.success());
    assert_eq!(house.read("etc/mqtt.password"), "hunter2");
    assert_eq!(house.read("etc/mqtt.password.before-restore"), "newer");
    for name in ["etc/mqtt.password", "etc/mqtt.password.before-restore"] {
        assert_eq!(mode(&house.path(name)), 0o600, "{name}");
    }
    assert_eq!(mode(&house.path("etc/gridkeeper.toml")), 0o640);
    assert!(!house.path("etc/gridkeeper.toml.before-restore").exists(), "it was the same");
}

#[test]
fn without_a_yes_nothing_is_written() {
    let house = House::new();
    let file = house.backup();
    house.write("etc/mqtt.password", "newer");
    let done = gridkeeper(&[Path::new("restore"), &file]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    assert_eq!(house.read("etc/mqtt.password"), "newer");
}

#[test]
fn a_damaged_backup_writes_nothing_at_all() {
    let house = House::new();
    let file = house.backup();
    let good = fs::read(&file).unwrap();
    let secret = good.windows(7).position(|it| it == b"hunter2").expect("it is in there");
    let mut damaged = good.clone();
    damaged[secret] = b'H';
    for bytes in [&damaged[..], &good[..good.len() / 2], b"no tar"] {
        fs::write(&file, bytes).unwrap();
        house.write("etc/mqtt.password", "newer");
        let done = restore(&file);
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        assert_eq!(house.read("etc/mqtt.password"), "newer");
    }
}

#[test]
fn a_folder_that_is_not_there_is_named_and_not_made() {
    let house = House::new();
    let (target, config) = (house.path("usb/house.tar"), house.path("etc/gridkeeper.toml"));
    let done = gridkeeper(&[Path::new("backup"), &target, Path::new("-c"), &config]);
    assert_eq!(done.status.code(), Some(1), "{done:?}");
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("usb: there is no such folder"), "{said}");
    assert!(!house.path("usb").exists());
}

#[test]
fn a_configuration_that_is_wrong_is_not_backed_up_as_if_it_were_right() {
    let house = House::new();
    house.write("etc/gridkeeper.toml", "fuse = ");
    let (target, config) = (house.path("house.tar"), house.path("etc/gridkeeper.toml"));
    let done = gridkeeper(&[Path::new("backup"), &target, Path::new("-c"), &config]);
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(!target.exists());
}

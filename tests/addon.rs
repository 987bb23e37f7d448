//! The add-on as Home Assistant's Supervisor reads it. `tests/realworld/addon.sh` runs the program in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The keys of a block mapping at this depth of two spaces each, below the line `under` if there is one. Enough of YAML
/// for our own files.
fn keys(yaml: &str, under: Option<&str>, depth: usize) -> BTreeSet<String> {
    let start = under.map_or(0, |it| yaml.find(&format!("\n{it}:\n")).unwrap_or_else(|| panic!("no `{it}:`")) + 1);
    let lines = yaml[start..].lines().skip(usize::from(under.is_some()));
    let inside = lines.take_while(|line| under.is_none() || line.is_empty() || line.starts_with(' '));
    inside
        .filter(|line| line.len() - line.trim_start().len() == 2 * depth && !line.trim_start().starts_with(['#', '-']))
        .filter_map(|line| Some(line.trim().split_once(':')?.0.to_owned()))
        .collect()
}

fn value<'a>(yaml: &'a str, key: &str) -> Option<&'a str> {
    yaml.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// Files of the repository, without what git ignores at its top and what was built.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder entry").path();
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        if matches!(&*name, "target" | ".git" | "rootfs") {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn the_supervisor_finds_one_add_on() {
    let mut found = Vec::new();
    files(root(), &mut found);
    found.retain(|it| {
        let name = it.file_name().expect("it has a name");
        ["config.yaml", "config.yml", "config.json"].iter().any(|it| name == *it)
    });
    assert_eq!(found, [root().join("addon/config.yaml")], "it searches the whole tree");
    assert!(value(&text("repository.yaml"), "name").is_some());
}

#[test]
fn its_rules_are_the_present_ones() {
    let config = text("addon/config.yaml");
    for (key, wanted) in [
        ("slug", "gridkeeper"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("ingress", "true"),
        ("ingress_port", "8099"),
        ("uart", "true"),
        ("timeout", "30"),
        ("backup", "hot"),
        ("init", "false"),
        // `src/web/tests.rs` holds it to pure liveness.
        ("watchdog", "http://[HOST]:[PORT:8099]/livez"),
    ] {
        assert_eq!(value(&config, key), Some(wanted), "{key}");
    }
    let list = |key: &str| -> Vec<String> {
        let lines = config.lines().skip_while(|it| *it != format!("{key}:")).skip(1);
        let items = lines.map_while(|it| it.strip_prefix("  ")).filter_map(|it| it.strip_prefix("- "));
        items.map(str::to_owned).collect()
    };
    assert_eq!(list("arch"), ["aarch64", "amd64"]);
    assert_eq!(list("services"), ["mqtt:want"]);
    assert_eq!(list("map"), ["type: app_config"]);
    // What costs points of the security rating, or opens more than the program needs.
    for key in ["host_network", "full_access", "privileged", "docker_api", "hassio_role", "apparmor", "usb", "ports"] {
        assert_eq!(value(&config, key), None, "{key}");
    }
    let profile = text("addon/apparmor.txt");
    assert_eq!(profile.matches("profile gridkeeper flags=(attach_disconnected,mediate_deleted) {").count(), 1);
    assert!(!profile.contains("complain") && !profile.contains("capability"), "{profile}");
}

#[test]
fn every_part_of_the_form_is_explained_in_both_languages() {
    let form = keys(&text("addon/config.yaml"), Some("schema"), 1);
    assert!(form.len() >= 5, "{form:?}");
    for language in ["en", "de"] {
        let words = text(&format!("addon/translations/{language}.yaml"));
        assert_eq!(keys(&format!("\n{words}"), Some("configuration"), 1), form, "{language}");
        for key in &form {
            let entry = words.split(&format!("\n  {key}:\n")).nth(1).expect("it was found above");
            let parts = entry.lines().take_while(|line| line.starts_with("    "));
            let parts: Vec<_> = parts.filter_map(|line| line.strip_prefix("    ")?.split_once(':')).collect();
            let names: Vec<_> = parts.iter().map(|it| it.0).filter(|it| !it.starts_with(' ')).collect();
            assert_eq!(names, ["name", "description"], "{language}: {key}");
        }
    }
}

/// Width and height from the header of a PNG file (its specification, section 11.2.1).
fn size(file: &str) -> (u32, u32) {
    let bytes = fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n", "{file}");
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

#[test]
fn icon_and_logo_have_the_sizes_that_the_store_shows() {
    assert_eq!(size("addon/icon.png"), (128, 128));
    assert_eq!(size("addon/logo.png"), (250, 100));
}

#[test]
fn its_documents_are_there_and_name_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("addon/CHANGELOG.md").contains(&format!("## {version}")));
    assert!(text("addon/Dockerfile").contains(&format!("io.hass.version=\"{version}\"")));
    let docs = text("addon/DOCS.md");
    for blueprint in fs::read_dir(root().join("config/blueprints/automation/gridkeeper")).expect("there are blueprints")
    {
        let path = blueprint.expect("a folder entry").path();
        let blueprint = fs::read_to_string(&path).expect("it is text");
        let name = value(&blueprint.replace("\n  name:", "\nname:"), "name").expect("it has a name").to_owned();
        let title = name.trim_matches('"').trim_start_matches("Gridkeeper: ");
        assert!(docs.contains(title), "DOCS.md does not tell of the blueprint `{title}`");
    }
}

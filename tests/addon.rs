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

/// Every key with those that it stands under, as `a.b.c`; of the items of a list as if each were its list. Enough of
/// YAML for our own files.
fn paths(yaml: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut stack: Vec<(usize, &str)> = Vec::new();
    // Indentation of a key whose text follows on lines of its own.
    let mut text_of = None;
    for line in yaml.lines().filter(|it| !it.trim().is_empty() && !it.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start_matches([' ', '-']).len();
        if text_of.is_some_and(|it| indent > it) {
            continue;
        }
        text_of = None;
        let Some((key, value)) = line[indent..].split_once(':') else { continue };
        stack.retain(|it| it.0 < indent);
        stack.push((indent, key));
        if value.trim() == ">-" {
            text_of = Some(indent);
        }
        found.insert(stack.iter().map(|it| it.1).collect::<Vec<_>>().join("."));
    }
    found
}

/// What stands right under `parent`.
fn keys(paths: &BTreeSet<String>, parent: &str) -> BTreeSet<String> {
    let inside = paths.iter().filter_map(|it| it.strip_prefix(parent)?.strip_prefix('.'));
    inside.filter(|it| !it.contains('.')).map(str::to_owned).collect()
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
    assert_eq!(list("devices"), ["/dev/gpiochip0", "/dev/gpiochip4"], "the pins of a Raspberry Pi");
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
    let config = paths(&text("addon/config.yaml"));
    let form = keys(&config, "schema");
    assert!(form.len() >= 5, "{form:?}");
    let set = |names: &[&str]| names.iter().map(|&it| it.to_owned()).collect::<BTreeSet<_>>();
    for language in ["en", "de"] {
        let words = paths(&text(&format!("addon/translations/{language}.yaml")));
        assert_eq!(keys(&words, "configuration"), form, "{language}");
        for key in &form {
            let entry = format!("configuration.{key}");
            assert_eq!(keys(&words, &entry), set(&["name", "description", "fields"]), "{language}: {entry}");
            let fields = keys(&config, &format!("schema.{key}"));
            assert_eq!(keys(&words, &format!("{entry}.fields")), fields, "{language}: {entry}");
            for field in &fields {
                let entry = format!("{entry}.fields.{field}");
                assert_eq!(keys(&words, &entry), set(&["name", "description"]), "{language}: {entry}");
            }
        }
    }
}

#[test]
fn it_starts_with_the_options_as_they_are_installed() {
    // A table or a list of the form that is not among the options is "missing" to the Supervisor, even where every key of
    // it may be left out (home-assistant/supervisor, apps/options.py).
    let config = paths(&text("addon/config.yaml"));
    assert_eq!(keys(&config, "options"), keys(&config, "schema"));
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
    let dockerfile = text("addon/Dockerfile");
    for label in [&*format!("version=\"{version}\""), "type=\"app\"", "arch=\"aarch64|amd64\""] {
        assert!(dockerfile.contains(&format!("io.hass.{label}")), "{label}");
    }
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

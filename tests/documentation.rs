//! What README, CONTRIBUTING and the documents say must exist.

use std::fs;
use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Targets of Markdown links that are files of this repository.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|it| !it.contains("://") && !it.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn every_link_leads_to_a_file() {
    let mut found = 0;
    for file in [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/connecting.md",
        "docs/control.md",
        "docs/decisions.md",
        "docs/meter-models.md",
        "docs/outside-home-assistant.md",
    ] {
        for link in links(&text(file)) {
            let folder = root().join(file).parent().expect("a file is in a folder").to_owned();
            assert!(folder.join(&link).exists(), "{file} links to {link}, which does not exist");
            found += 1;
        }
    }
    assert!(found >= 6, "only {found} links were found: is the search still right?");
}

#[test]
fn every_path_of_the_which_file_table_exists() {
    let text = text("CONTRIBUTING.md");
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let paths = table.iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    let mut found = 0;
    for path in
        paths.filter(|it| ["src/", "tests/", "docs/", "config/", "benches/"].iter().any(|dir| it.starts_with(dir)))
    {
        assert!(root().join(path).exists(), "CONTRIBUTING.md names {path}, which does not exist");
        found += 1;
    }
    assert!(found >= 12, "only {found} paths were found: is the search still right?");
}

#[test]
fn every_example_passes_the_check() {
    let examples = fs::read_dir(root().join("config/examples")).expect("there are examples");
    let mut found = 0;
    for example in examples {
        let path = example.expect("a folder entry").path();
        let check = Command::new(env!("CARGO_BIN_EXE_gridkeeper")).arg("check").arg("-c").arg(&path).output();
        let check = check.expect("the binary was built");
        assert!(check.status.success(), "{}:\n{}", path.display(), String::from_utf8_lossy(&check.stdout));
        found += 1;
    }
    assert!(found >= 2, "only {found} examples were found");
}

/// The lines of the section on systemd by hand, run one after another by an ordinary user: in a folder instead of `/`, and
/// without the group, which `systemd-sysusers` would make.
#[test]
fn an_installation_by_hand_leaves_a_configuration_that_passes_its_check() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let document = text("docs/outside-home-assistant.md");
    let section = document.split("## systemd, by hand").nth(1).and_then(|it| it.split("```").nth(1)).expect("a block");
    let user = section.find("systemd-sysusers").expect("the group is made");
    assert!(section.find("-g gridkeeper").is_some_and(|group| user < group), "the group is used before it is there");
    let inside = |path: &str| format!(" {}{path}", root.path().display());
    for folder in ["/usr/bin", "/etc/systemd/system"] {
        fs::create_dir_all(root.path().join(&folder[1..])).expect("what every system has");
    }
    let mut installed = 0;
    for line in section.lines().filter(|line| line.contains("install -")) {
        let line = line.replace("sudo ", "").replace("-g gridkeeper ", "");
        let line = line.replace("target/release/gridkeeper", env!("CARGO_BIN_EXE_gridkeeper"));
        let line = line.replace(" /usr/", &inside("/usr/")).replace(" /etc/", &inside("/etc/"));
        let done = Command::new("sh").args(["-ec", &line]).current_dir(self::root()).output().expect("a shell");
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        installed += 1;
    }
    assert_eq!(installed, 6, "{section}");
    let unit = fs::read_to_string(root.path().join("etc/systemd/system/gridkeeper.service")).expect("the unit");
    assert!(unit.contains("ExecStart=/usr/bin/gridkeeper run\n"), "{unit}");
    let program = root.path().join("usr/bin/gridkeeper");
    let file = root.path().join("etc/gridkeeper/gridkeeper.toml");
    let check = Command::new(program).arg("check").arg("-c").arg(file).output().expect("what was installed runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}

#[test]
fn every_subcommand_that_readme_names_is_there() {
    let help = Command::new(env!("CARGO_BIN_EXE_gridkeeper")).arg("--help").output().expect("the binary was built");
    let help = String::from_utf8(help.stdout).expect("help is text");
    let readme = text("README.md");
    let row = readme.lines().find(|line| line.starts_with("| tools |")).expect("README.md lists the tools");
    let tools: Vec<&str> = row.split('`').skip(1).step_by(2).filter_map(|it| it.split(' ').next()).collect();
    assert_eq!(tools.len(), 11, "{tools:?}");
    for tool in tools {
        assert!(help.lines().any(|line| line.trim_start().starts_with(tool)), "`{tool}` is not in --help:\n{help}");
    }
}

/// Blocks of Markdown in this language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_configuration_for_connecting_a_meter_passes_the_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (document, mut found) = (text("docs/connecting.md"), 0);
    for block in blocks(&document, "toml") {
        let file = folder.path().join("gridkeeper.toml");
        fs::write(&file, block).expect("a file");
        let check = Command::new(env!("CARGO_BIN_EXE_gridkeeper")).arg("check").arg("-c").arg(&file).output();
        let check = check.expect("the binary was built");
        assert!(check.status.success(), "{block}\n{}", String::from_utf8_lossy(&check.stdout));
        found += 1;
    }
    assert_eq!(found, 10, "is the search still right?");
}

/// Ports that are not there and hosts that refuse: a command may fail at that, never at what it was given.
#[test]
fn every_command_for_connecting_a_meter_is_understood() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("gridkeeper.toml");
    fs::write(&file, "[storage]\ndata_dir = \"data\"\n").expect("a file");
    for name in ["p1.txt", "head.bin"] {
        fs::write(folder.path().join(name), "").expect("a file");
    }
    let document = text("docs/connecting.md");
    let lines = blocks(&document, "sh").into_iter().flat_map(str::lines).filter(|it| it.starts_with("gridkeeper "));
    let mut found = 0;
    for line in lines {
        // Hosts that refuse at once, ports that nobody has; what asks the network or goes on for ever is asked for its help.
        let goes_on = line.contains(" run ") || line.contains(" scan lan") || line.contains(" pair ");
        let line = line.replace("192.0.2.", "127.0.0.").replace("/dev/ttyUSB0", "/dev/gridkeeper-none");
        let line = line.replace("/etc/gridkeeper/gridkeeper.toml", "gridkeeper.toml");
        let command = line.split(" #").next().expect("a command").replacen("gridkeeper ", "\"$GRIDKEEPER\" ", 1);
        let command = if goes_on { format!("{command} --help") } else { command };
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("GRIDKEEPER", env!("CARGO_BIN_EXE_gridkeeper")).current_dir(folder.path());
        let done = shell.output().expect("a shell");
        let said = String::from_utf8_lossy(&done.stderr);
        let code = done.status.code();
        assert!(
            code.is_some_and(|it| it == 0 || it == 1 || (it == 3 && line.contains(" decode "))),
            "{command}: {said}"
        );
        found += 1;
    }
    assert_eq!(found, 13, "is the search still right?");
}

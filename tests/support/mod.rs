//! Helpers of the whole-binary tests: a configuration for a simulated house, the real process, what it logs.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use gridkeeper::simulator::Simulator;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::watch;

/// For everything that must come; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A configuration file in the making. Ids: meter `main`, chargers `c0`, `c1`, …
#[derive(Clone, Debug)]
pub(crate) struct Configuration(toml::Table);

impl Configuration {
    /// For this house: fuse 25 A, no broker, no page, and every time of the fail-safe table a tenth of its default.
    pub(crate) fn quick(house: &Simulator) -> Self {
        let mut it = Self(
            toml::from_str(
                r#"
                [site]
                time_zone = "Europe/Vienna"
                [grid]
                fuse_a = 25
                [control]
                min_on_s = 0
                min_off_s = 0
                [timing]
                charger_silent_s = 0.5
                quiet_extra_s = 1
                cut_response_s = 0.6
                cut_response_hard_s = 0.5
                raise_after_cut_s = 0.6
                not_obeying_s = 1
                obedience_s = 6
                second_master_s = 6
                second_master_quiet_s = 12
                second_master_rewrite_s = 6
                lease_s = 0.5
                poll_s = 0.1
                [mqtt]
                url = ""
                [web]
                listen = ""
                "#,
            )
            .unwrap(),
        );
        if let Some(meter) = house.meter_connection() {
            it = it
                .with("grid.meter", "main")
                .with("grid.meter_late_s", 0.6)
                .with("grid.meter_lost_s", 1.2)
                .with("meter.main.driver", "p1")
                .with("meter.main.connection", meter);
        } else {
            it = it.with("grid.static_a", 16);
        }
        for charger in 0..house.charger_count() {
            let phases = house.charger_phases(charger).iter().map(ToString::to_string).collect::<Vec<_>>();
            it = it
                .with(&format!("charger.c{charger}.driver"), house.charger_driver(charger))
                .with(&format!("charger.c{charger}.connection"), house.charger_connection(charger))
                .with(&format!("charger.c{charger}.unit"), i64::from(house.charger_unit(charger)))
                .with(&format!("charger.c{charger}.phases"), phases)
                .with(&format!("charger.c{charger}.max_current_a"), 32);
            if house.charger_driver(charger) == "teltocharge" {
                it = it.with(&format!("charger.c{charger}.watchdog_s"), 2);
            }
        }
        it
    }

    /// With this value at `table.key`, or at `list.id.key` for a device; a device that is not there yet is added.
    pub(crate) fn with(mut self, path: &str, value: impl Into<toml::Value>) -> Self {
        let parts: Vec<&str> = path.split('.').collect();
        let (table, key) = match *parts.as_slice() {
            [table, key] => {
                let table = self.0.entry(table).or_insert_with(|| toml::Table::new().into());
                (table.as_table_mut().unwrap(), key)
            }
            [list, id, key] => {
                let list = self.0.entry(list).or_insert_with(|| toml::Value::Array(Vec::new()));
                let list = list.as_array_mut().unwrap();
                let at = list.iter().position(|it| it["id"].as_str() == Some(id)).unwrap_or_else(|| {
                    list.push(toml::Table::from_iter([("id".to_owned(), id.into())]).into());
                    list.len() - 1
                });
                (list[at].as_table_mut().unwrap(), key)
            }
            _ => panic!("`{path}` is neither table.key nor list.id.key"),
        };
        table.insert(key.to_owned(), value.into());
        self
    }

    /// Without this key of a table.
    pub(crate) fn without(mut self, table: &str, key: &str) -> Self {
        self.0[table].as_table_mut().unwrap().remove(key);
        self
    }

    /// As TOML.
    pub(crate) fn text(&self) -> String {
        toml::to_string(&self.0).unwrap()
    }
}

/// The real program. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Gridkeeper {
    pid: Pid,
    ended: watch::Receiver<Option<ExitStatus>>,
    log: watch::Receiver<String>,
    output: watch::Receiver<String>,
    folder: TempDir,
}

impl Gridkeeper {
    /// `gridkeeper run` with this configuration and a data directory of its own.
    pub(crate) fn run(configuration: &Configuration) -> Self {
        Self::run_in(tempfile::tempdir().unwrap(), configuration)
    }

    /// The same in a folder that was used before.
    pub(crate) fn run_in(folder: TempDir, configuration: &Configuration) -> Self {
        let data_dir = folder.path().join("data").display().to_string();
        let file = folder.path().join("gridkeeper.toml");
        std::fs::write(&file, configuration.clone().with("storage.data_dir", data_dir).text()).unwrap();
        Self::start(folder, |it, folder| it.arg("run").arg("-c").arg(folder.join("gridkeeper.toml")), true)
    }

    /// Any subcommand. Without `read_output` nobody ever reads its standard output.
    pub(crate) fn start(
        folder: TempDir,
        arguments: impl for<'a> FnOnce(&'a mut Command, &Path) -> &'a mut Command,
        read_output: bool,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
        arguments(&mut command, folder.path());
        command.env_clear().env("GRIDKEEPER_LOG", "debug").env("TMPDIR", folder.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = follow(child.stderr.take().unwrap());
        // Unread, the pipe stays open and fills up.
        let stdout = child.stdout.take().unwrap();
        let mut unread = None;
        let output = if read_output {
            follow(stdout)
        } else {
            unread = Some(stdout);
            watch::channel(String::new()).1
        };
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (tell, ended) = watch::channel(None);
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            drop(unread);
            tell.send_replace(Some(status));
        });
        Self { pid, ended, log, output, folder }
    }

    /// SIGTERM, SIGKILL, SIGSTOP, SIGCONT, …
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.ended.wait_for(Option::is_some)).await;
        let status = *ended.unwrap_or_else(|_| panic!("it does not end\n{}", self.log.borrow().as_str())).unwrap();
        status.unwrap()
    }

    /// Ends it at once, and gives the folder for the next start.
    pub(crate) async fn killed(mut self) -> TempDir {
        self.signal(Signal::SIGKILL);
        self.ended().await;
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// All that it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// All that it printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.borrow().clone()
    }

    /// Waits until its log satisfies `enough`.
    pub(crate) async fn until_log(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        until(&mut self.log, what, enough).await
    }

    /// Waits until its output satisfies `enough`.
    pub(crate) async fn until_output(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        until(&mut self.output, what, enough).await
    }

    /// Its folder: `gridkeeper.toml` and `data` are in it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Gridkeeper {
    fn drop(&mut self) {
        if self.ended.borrow().is_none() {
            // It may have ended between the two lines; then there is nothing to kill.
            let _ = kill(self.pid, Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- log of the program ---\n{}", self.log.borrow().as_str());
        }
    }
}

async fn until(text: &mut watch::Receiver<String>, what: &str, enough: impl Fn(&str) -> bool) -> String {
    let watched = text.clone();
    let waiting = tokio::time::timeout(PATIENCE, text.wait_for(|it| enough(it))).await;
    match waiting {
        Ok(Ok(found)) => found.clone(),
        Ok(Err(_)) | Err(_) => panic!("not seen: {what}\n{}", watched.borrow().as_str()),
    }
}

/// Collects what a pipe brings, line by line.
fn follow(pipe: impl std::io::Read + Send + 'static) -> watch::Receiver<String> {
    let (grow, text) = watch::channel(String::new());
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            grow.send_modify(|text| text.push_str(&String::from_utf8_lossy(&line)));
            line.clear();
        }
    });
    text
}

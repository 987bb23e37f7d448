//! The real program as a child process: what it logs, what it prints, how it ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::watch;

/// For everything that must come; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Who reads what the program prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// The test.
    Read,
    /// Nobody: the pipe is full before the first byte.
    Blocked,
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
    /// Any subcommand.
    pub(crate) fn start(
        folder: TempDir,
        arguments: impl for<'a> FnOnce(&'a mut Command, &Path) -> &'a mut Command,
        output: Output,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gridkeeper"));
        arguments(&mut command, folder.path());
        command.env_clear().env("GRIDKEEPER_LOG", "debug").env("TMPDIR", folder.path());
        // The read end of a pipe that nobody reads, open for as long as the program runs.
        let (stdout, unread) = match output {
            Output::Read => (Stdio::piped(), None),
            Output::Blocked => {
                let (unread, writer) = full_pipe();
                (writer.into(), Some(unread))
            }
        };
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        // It holds the write end of a pipe, too.
        drop(command);
        let log = follow(child.stderr.take().unwrap());
        let output = child.stdout.take().map_or_else(|| watch::channel(String::new()).1, follow);
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

    /// Waits until its log satisfies `enough`.
    pub(crate) async fn until_log(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        until(&mut self.log, what, enough).await
    }

    /// Waits until its output satisfies `enough`.
    pub(crate) async fn until_output(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        until(&mut self.output, what, enough).await
    }

    /// Its temporary folder.
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

/// A pipe that takes no further byte.
fn full_pipe() -> (PipeReader, PipeWriter) {
    const SIZE: usize = 4096;
    let (reader, mut writer) = std::io::pipe().unwrap();
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    assert_eq!(usize::try_from(size).unwrap(), SIZE, "the smallest pipe of this system");
    writer.write_all(&[b'x'; SIZE]).unwrap();
    (reader, writer)
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

//! The program as a child process, and what it uses.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a stretch of time cost.
pub(crate) struct Used {
    begun: Instant,
    before: (Duration, Duration),
}

impl Used {
    /// From now on.
    pub(crate) fn of(program: &Program) -> Self {
        Self { begun: Instant::now(), before: (program.processor_time(), program.ticks()) }
    }

    /// Memory, and percent of a core by two counts, as lines to print.
    pub(crate) fn lines(&self, program: &Program) -> String {
        let (counted, ticks) = (program.processor_time(), program.ticks());
        let elapsed = self.begun.elapsed();
        let share = |used: Duration| used.as_secs_f64() / elapsed.as_secs_f64() * 100.0;
        format!(
            "  resident memory {:.1} MB, at most {:.1} MB\n  processor time {:.3} % of one core by the scheduler's count, {:.2} % by utime and stime",
            program.status("VmRSS:"),
            program.status("VmHWM:"),
            share(counted.saturating_sub(self.before.0)),
            share(ticks.saturating_sub(self.before.1)),
        )
    }
}

/// `GRIDKEEPER_BENCH_PROGRAM`, else the program built with the bench.
pub(crate) fn path() -> String {
    std::env::var("GRIDKEEPER_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_gridkeeper").to_owned())
}

/// The program as a child process; killed when dropped.
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn start(file: &Path) -> Self {
        let mut command = Command::new(path());
        command.args(["run", "--strict", "-c"]).arg(file);
        command.env("GRIDKEEPER_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap()
    }

    /// MB of a line of `/proc/PID/status`.
    fn status(&self, line: &str) -> f64 {
        let status = self.proc("status");
        let figure = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
        figure.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
    }

    /// `utime` and `stime` of all its threads, in hundredths of a second.
    fn ticks(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The scheduler's own count, in ns: a third of a percent of a minute is but eighteen ticks.
    fn processor_time(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanoseconds = threads.filter_map(|it| {
            // A thread may end while its folder is read.
            let text = std::fs::read_to_string(it.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

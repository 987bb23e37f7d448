//! Log lines to standard error, written by a thread of their own: when nobody reads them, lines are dropped and the
//! appliance goes on.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

pub use tracing_subscriber::filter::LevelFilter;

/// Variable that sets the level, for example `debug` or `gridkeeper::link=trace`.
pub const LEVEL_VARIABLE: &str = "GRIDKEEPER_LOG";

/// Levels that may be set at run time.
pub(crate) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Keeps the writer alive and changes the level while running.
pub struct Logging {
    handle: reload::Handle<Targets, Registry>,
    guard: WorkerGuard,
}

/// Changes the level from another thread.
#[derive(Clone)]
pub struct LevelSwitch {
    handle: reload::Handle<Targets, Registry>,
}

impl std::fmt::Debug for LevelSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LevelSwitch")
    }
}

impl LevelSwitch {
    /// The level in force, as the variable or the last change wrote it.
    #[must_use]
    pub fn level(&self) -> String {
        self.handle.with_current(ToString::to_string).unwrap_or_default()
    }

    /// Sets the level to one of `error`, `warn`, `info`, `debug`, `trace`.
    ///
    /// # Errors
    /// With what is allowed, when `level` is none of them.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let known = LEVELS.contains(&level).then(|| level.parse::<LevelFilter>().ok()).flatten();
        let filter = known.ok_or_else(|| format!("`{level}` is not a log level; allowed: {}", LEVELS.join(", ")))?;
        self.handle.reload(Targets::new().with_default(filter)).map_err(|error| error.to_string())
    }
}

impl Logging {
    /// Starts logging; `default` is the level without the variable. A second start in one process changes nothing.
    #[must_use]
    pub fn start(default: LevelFilter) -> Self {
        let asked = std::env::var(LEVEL_VARIABLE).ok().filter(|text| !text.is_empty());
        let parsed = asked.as_deref().map(filter_of).transpose();
        let refused = parsed.as_ref().err().cloned();
        let filter = parsed.ok().flatten().unwrap_or_else(|| Targets::new().with_default(default));
        let (filter, handle) = reload::Layer::new(filter);
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4096).finish(std::io::stderr());
        let layer = fmt::layer().with_writer(writer).with_ansi(std::io::stderr().is_terminal()).with_target(false);
        // Failing only means that a subscriber is there already, in a test that starts several appliances.
        let _ = tracing_subscriber::registry().with(filter).with(layer).try_init();
        if let (Some(refused), Some(asked)) = (refused, asked) {
            tracing::warn!("{LEVEL_VARIABLE}={asked} is no log filter ({refused}); logging at `{default}`");
        }
        // The usual hook writes to standard error and would wait there for a reader who does not read.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        Self { handle, guard }
    }

    /// Writes out what is left, but waits no longer than a moment for somebody to read it.
    pub fn finish(self) {
        let (tell, told) = std::sync::mpsc::channel();
        let guard = self.guard;
        let flush = std::thread::Builder::new().name("flush".into()).spawn(move || {
            drop(guard);
            // Nobody waiting any more is no fault.
            let _ = tell.send(());
        });
        if flush.is_ok() {
            let _ = told.recv_timeout(std::time::Duration::from_millis(300));
        }
    }

    /// A switch for other threads.
    #[must_use]
    pub fn switch(&self) -> LevelSwitch {
        LevelSwitch { handle: self.handle.clone() }
    }
}

/// Levels, and levels of targets: `warn,gridkeeper::link=trace`.
///
/// A word that is no level would be a target of which everything is logged, and of everything else nothing.
fn filter_of(text: &str) -> Result<Targets, String> {
    let strange = |part: &&str| part.is_empty() || !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if let Some(part) = text.split(',').find(strange) {
        return Err(format!("`{part}` is not a log level; allowed: error, warn, info, debug, trace, or target=level"));
    }
    text.parse().map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_silences_nobody() {
        for right in ["warn", "debug,gridkeeper::link=trace", "gridkeeper=info"] {
            assert!(filter_of(right).is_ok(), "{right}");
        }
        for wrong in ["warning", "verbose", "", "info,quiet", "gridkeeper=loud"] {
            assert!(filter_of(wrong).is_err(), "{wrong}");
        }
    }
}

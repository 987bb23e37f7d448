//! The only place where real time becomes `Mono`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::quantity::Mono;

/// The process's monotonic clock. Copies agree with each other, and with the runtime's timers also where a test stops
/// and moves the runtime's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the start.
    #[must_use]
    pub fn now(self) -> Mono {
        Mono(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// The instant at which this clock reads `at`.
    #[must_use]
    pub fn instant(self, at: Mono) -> std::time::Instant {
        (self.start + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))).into_std()
    }
}

/// When a thread last showed that it works. Copies lead to the same.
#[derive(Clone, Debug)]
pub struct Heartbeat(Arc<AtomicI64>);

impl Heartbeat {
    /// Of a thread that is being started.
    #[must_use]
    pub fn new(now: Mono) -> Self {
        Self(Arc::new(AtomicI64::new(now.0)))
    }

    /// It works.
    pub fn beat(&self, now: Mono) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// The last time.
    #[must_use]
    pub fn last(&self) -> Mono {
        Mono(self.0.load(Ordering::Relaxed))
    }
}

/// Before this moment the wall clock cannot be set: the first release is later.
pub(crate) const EARLIEST_WALL_MS: i64 = 1_790_000_000_000;

/// Whether a wall clock that shows this unix time in ms can have been set.
#[must_use]
pub fn is_set(wall_ms: i64) -> bool {
    wall_ms >= EARLIEST_WALL_MS
}

/// Unix time in ms; before 1970 it is 0.
#[must_use]
pub fn wall_ms() -> i64 {
    let shown =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
    #[cfg(debug_assertions)]
    let shown = set_by_test(shown);
    shown
}

/// Tests set the wall clock by a file that the variable names: milliseconds to add. Release builds have no such hook.
#[cfg(debug_assertions)]
fn set_by_test(wall_ms: i64) -> i64 {
    use std::sync::OnceLock;
    static FILE: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("GRIDKEEPER_TEST_WALL_CLOCK").map(Into::into));
    let text = file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    let by: i64 = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    wall_ms.saturating_add(by).max(0)
}

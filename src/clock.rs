//! The only place where real time becomes `Mono`.

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
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

//! Whether the meter behind a device of API version 1 still speaks, by the time of its newest telegram.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks at a device that gave no telegram.
const AGAIN: Duration = Duration::from_secs(60);
/// A time that stands still for so long: meters speak every ten seconds at least.
const STANDS: Duration = Duration::from_secs(25);

/// The newest telegram's time and since when it is known.
#[derive(Debug)]
pub(super) struct TelegramTime {
    known: Option<(i64, Instant)>,
    due: Option<Instant>,
    pub(super) every: Duration,
    pub(super) stands: Duration,
}

impl Default for TelegramTime {
    fn default() -> Self {
        Self { known: None, due: None, every: EVERY, stands: STANDS }
    }
}

impl TelegramTime {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|it| it <= now)
    }

    /// `None` for no telegram, or one without a time: then nothing is known.
    pub(super) fn heard(&mut self, time: Option<i64>, now: Instant) {
        self.due = Some(now + if time.is_some() { self.every } else { AGAIN });
        self.known = time.map(|time| match self.known {
            Some((known, since)) if known == time => (known, since),
            _ => (time, now),
        });
    }

    /// For how long the meter has said nothing new, where that is too long.
    pub(super) fn stands(&self, now: Instant) -> Option<Duration> {
        self.known.map(|(_, since)| now.duration_since(since)).filter(|it| *it >= self.stands)
    }

    /// The device was away.
    pub(super) fn forget(&mut self) {
        (self.known, self.due) = (None, None);
    }
}

/// What is wrong with values that stand for so long.
pub(super) fn old(since: Duration) -> String {
    format!("is old: the meter has sent no new telegram for {} s", since.as_secs())
}

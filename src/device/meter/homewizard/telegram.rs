//! Whether the meter behind a device of API version 1 still speaks, by the time of its newest telegram.

use std::time::Duration;

use tokio::time::Instant;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks at a device that never gave a telegram with a time.
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

    /// `None` for no telegram, or one without a time. A device that never gave one may have none, and nothing is known;
    /// one that did has lost its meter or its telegram, and what it said last grows older all the same.
    pub(super) fn heard(&mut self, time: Option<i64>, now: Instant) {
        if let Some(time) = time
            && self.known.is_none_or(|(known, _)| known != time)
        {
            self.known = Some((time, now));
        }
        self.due = Some(now + if self.known.is_some() { self.every } else { AGAIN });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telegram_that_cannot_be_read_any_more_does_not_make_its_time_any_newer() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut telegram = TelegramTime::default();
        telegram.heard(Some(100), start);
        telegram.heard(Some(105), after(5));
        for second in [10, 15, 20, 25] {
            assert!(telegram.is_due(after(second)), "{second}: it is asked as often as before");
            telegram.heard(None, after(second));
            assert_eq!(telegram.stands(after(second)), None);
        }
        assert_eq!(telegram.stands(after(30)), Some(Duration::from_secs(25)));
        // One that comes through now and then and says the same is no newer.
        telegram.heard(Some(105), after(31));
        telegram.heard(None, after(36));
        assert_eq!(telegram.stands(after(36)), Some(Duration::from_secs(31)));
        telegram.heard(Some(137), after(37));
        assert_eq!(telegram.stands(after(37)), None);
    }

    #[test]
    fn a_device_that_never_gave_one_is_asked_rarely_and_never_old() {
        let start = Instant::now();
        let mut telegram = TelegramTime::default();
        telegram.heard(None, start);
        assert!(!telegram.is_due(start + Duration::from_secs(59)) && telegram.is_due(start + Duration::from_secs(60)));
        assert_eq!(telegram.stands(start + Duration::from_secs(3600)), None);
    }
}

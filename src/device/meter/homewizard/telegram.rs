//! Whether the meter behind a device of API version 1 still speaks, by the time of its newest telegram.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::sample::Sample;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Between two looks at a device that never gave a telegram with a time and whose values have moved.
const AGAIN: Duration = Duration::from_secs(60);
/// A time that stands still for so long: meters speak every ten seconds at least.
const STANDS: Duration = Duration::from_secs(25);

/// The newest telegram's time and since when it is known.
#[derive(Debug)]
pub(super) struct TelegramTime {
    known: Option<(i64, Instant)>,
    due: Option<Instant>,
    /// The first values, and whether others have come since.
    first: Option<Sample>,
    moved: bool,
    pub(super) every: Duration,
    pub(super) stands: Duration,
}

impl Default for TelegramTime {
    fn default() -> Self {
        Self { known: None, due: None, first: None, moved: false, every: EVERY, stands: STANDS }
    }
}

impl TelegramTime {
    /// What is known of another device: nothing.
    pub(super) fn of_another(&self) -> Self {
        Self { every: self.every, stands: self.stands, ..Self::default() }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|it| it <= now)
    }

    /// `None` for no telegram, or one without a time. A device that never gave one may have none, and its values say
    /// whether the meter speaks; one that did has lost its meter or its telegram, and what it said last grows older all the
    /// same.
    pub(super) fn heard(&mut self, time: Option<i64>, now: Instant) {
        if let Some(time) = time
            && self.known.is_none_or(|(known, _)| known != time)
        {
            self.known = Some((time, now));
        }
        self.due = Some(now + if self.known.is_some() || !self.moved { self.every } else { AGAIN });
    }

    /// The values that came, without what the device says of itself.
    pub(super) fn values(&mut self, sample: &Sample) {
        match &self.first {
            Some(first) => self.moved |= first != sample,
            None => self.first = Some(sample.clone()),
        }
    }

    /// Nothing has shown yet that the meter speaks: no telegram, and values that stand as they were found.
    pub(super) fn is_unproven(&self) -> bool {
        self.known.is_none() && !self.moved
    }

    /// A telegram was asked for, and none with a time ever came.
    pub(super) fn is_missing(&self) -> bool {
        self.known.is_none() && self.due.is_some()
    }

    /// For how long the meter has said nothing new, where that is too long.
    pub(super) fn stands(&self, now: Instant) -> Option<Duration> {
        self.known.map(|(_, since)| now.duration_since(since)).filter(|it| *it >= self.stands)
    }
}

/// What is wrong with values that stand for so long.
pub(super) fn old(since: Duration) -> String {
    format!("is old: the meter has sent no new telegram for {} s", since.as_secs())
}

/// What is wrong with values of which nothing shows whether they are new.
pub(super) const UNPROVEN: &str =
    "may be old: the device passes no telegram with a time on, and its values stand as they were found";

/// What is told of a device that never gave a telegram with a time.
pub(super) const MISSING: &str = "it passes no telegram with a time on: if the meter's cable is pulled, its last values go on \
    as if they were new; `gridkeeper pair homewizard` makes it tell the time of each value";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sample::Quantity;

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
    fn a_device_that_never_gave_one_is_believed_when_its_values_move_and_then_asked_rarely() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut telegram = TelegramTime::default();
        assert!(!telegram.is_missing(), "not asked yet");
        let mut sample = Sample::default();
        sample.put(Quantity::Power, Some(500.0));
        for second in [0, 5, 10] {
            telegram.values(&sample);
            telegram.heard(None, after(second));
            assert!(telegram.is_unproven() && telegram.is_missing(), "{second}");
            assert!(!telegram.is_due(after(second + 4)) && telegram.is_due(after(second + 5)), "{second}");
        }
        sample.put(Quantity::Power, Some(501.0));
        telegram.values(&sample);
        telegram.heard(None, after(15));
        assert!(!telegram.is_unproven() && telegram.is_missing(), "it speaks; the risk stands");
        assert!(!telegram.is_due(after(74)) && telegram.is_due(after(75)));
        assert_eq!(telegram.stands(after(3600)), None);
        telegram.heard(Some(100), after(3600));
        assert!(!telegram.is_missing());
    }
}

//! Moments as text.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::quantity::Mono;

/// RFC 3339 with the zone's offset and milliseconds; `None` outside of the calendar's range.
pub(crate) fn rfc3339(wall_ms: i64, zone: &TimeZone) -> Option<String> {
    let moment = Timestamp::from_millisecond(wall_ms).ok()?.to_zoned(zone.clone());
    Some(moment.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string())
}

/// A pair of readings of both clocks, to turn monotonic moments into wall time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// Monotonic.
    pub(crate) at: Mono,
    /// Unix ms at the same moment.
    pub(crate) wall_ms: i64,
}

impl Clocks {
    /// Unix ms at `moment`.
    pub(crate) fn wall(self, moment: Mono) -> i64 {
        self.wall_ms.saturating_sub(self.at.0.saturating_sub(moment.0))
    }
}

/// The two clocks may drift by this much before the begin of a session is computed anew.
const STEADY_MS: i64 = 2000;

/// Holds a pair of readings while the two clocks agree: the begin of a session must not jump by a millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steady(Option<Clocks>);

impl Steady {
    /// The pair that is held, given the newest one.
    pub(crate) fn of(&mut self, clocks: Clocks) -> Clocks {
        let drifted = |held: Clocks| (clocks.wall(Mono(0)) - held.wall(Mono(0))).abs() > STEADY_MS;
        match self.0 {
            Some(held) if !drifted(held) => held,
            _ => *self.0.insert(clocks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summer_and_winter_have_their_offsets() {
        let zone = TimeZone::get("Europe/Budapest").unwrap();
        assert_eq!(rfc3339(1_768_478_400_123, &zone).unwrap(), "2026-01-15T13:00:00.123+01:00");
        assert_eq!(rfc3339(1_784_116_800_000, &zone).unwrap(), "2026-07-15T14:00:00.000+02:00");
        assert_eq!(rfc3339(i64::MAX, &zone), None);
    }

    #[test]
    fn a_monotonic_moment_becomes_wall_time() {
        let clocks = Clocks { at: Mono(10_000), wall_ms: 1_000_000 };
        assert_eq!(clocks.wall(Mono(4_000)), 994_000);
        assert_eq!(clocks.wall(Mono(11_000)), 1_001_000);
    }
}

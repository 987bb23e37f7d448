//! An input that follows the wall clock: times of the week in the site's time zone.
//!
//! What counts is what a clock on the wall shows. A window of the hour that is skipped in spring does not come that day,
//! one of the hour that is repeated in autumn comes twice, and one that spans it is an hour shorter or longer.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::clock;
use crate::quantity::{Mono, Span};

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// Days by the names that they are written with.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];
/// What may be written.
pub const ALLOWED: &str =
    "\"22:00-06:00\", \"mon-fri 13:00-15:00\", \"sat,sun 00:00-24:00\": days, if any, and a time from and to";

/// From one time of day to another, on some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 is Monday: the days on which it begins.
    days: u8,
    /// Minute of the day.
    from: u16,
    /// Minute of the day, not in it any more; at or before `from`: of the next day.
    to: u16,
}

impl Window {
    /// Reads `mon-fri 22:00-06:00`; without days it is every day.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (days, times) = match text.rsplit_once(' ') {
            Some((days, times)) => (read_days(days)?, times),
            None => (0b111_1111, text),
        };
        let (from, to) = times.split_once('-').ok_or_else(|| format!("{times:?} has no `-` between from and to"))?;
        let (from, to) = (minute(from)?, minute(to)?);
        if from == DAY {
            return Err("a day ends at 24:00, nothing begins there".to_owned());
        }
        if from == to {
            return Err("it begins and ends at the same time; the whole day is 00:00-24:00".to_owned());
        }
        Ok(Self { days, from, to })
    }

    fn begins_on(self, day: Weekday) -> bool {
        self.days & (1 << day.to_monday_zero_offset()) != 0
    }

    fn holds(self, day: Weekday, minute: u16) -> bool {
        if self.from < self.to {
            return self.begins_on(day) && (self.from..self.to).contains(&minute);
        }
        (self.begins_on(day) && minute >= self.from) || (self.begins_on(day.previous()) && minute < self.to)
    }
}

fn minute(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no time of day from 00:00 to 24:00");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    let number = |part: &str| -> Option<u16> {
        (part.len() == 2 && part.bytes().all(|it| it.is_ascii_digit())).then(|| part.parse().ok()).flatten()
    };
    let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(wrong)?;
    let of_day = hours * 60 + minutes;
    if minutes < 60 && of_day <= DAY { Ok(of_day) } else { Err(wrong()) }
}

fn read_days(text: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|(known, _)| name.trim().eq_ignore_ascii_case(known));
        found.ok_or_else(|| format!("{:?} is no day; allowed: mon, tue, wed, thu, fri, sat, sun", name.trim()))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let mut at = first;
        loop {
            days |= 1 << at;
            if at == last {
                break;
            }
            at = (at + 1) % DAYS.len();
        }
    }
    Ok(days)
}

/// Windows in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    windows: Vec<Window>,
    zone: TimeZone,
}

impl Schedule {
    /// Active while one of the windows is.
    #[must_use]
    pub fn new(windows: Vec<Window>, zone: TimeZone) -> Self {
        Self { windows, zone }
    }

    /// Whether one of the windows holds at this unix time in ms; `None` while the clock is not set.
    #[must_use]
    pub fn active(&self, wall_ms: i64) -> Option<bool> {
        if !clock::is_set(wall_ms) {
            return None;
        }
        let now = Timestamp::from_millisecond(wall_ms).ok()?.to_zoned(self.zone.clone());
        let minute = u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).ok()?;
        Some(self.windows.iter().any(|window| window.holds(now.weekday(), minute)))
    }

    /// When to look again: at the next full minute, and soon enough to see that the clock was set.
    #[must_use]
    pub fn look_again(wall_ms: i64, now: Mono) -> Mono {
        const OFTEN: Span = Span::from_secs(5);
        let rest = SignedDuration::from_mins(1).as_millis() as i64 - wall_ms.rem_euclid(60_000);
        now + Span(rest.clamp(1, OFTEN.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(windows: &[&str]) -> Schedule {
        let windows = windows.iter().map(|it| Window::parse(it).unwrap()).collect();
        Schedule::new(windows, TimeZone::get("Europe/Budapest").unwrap())
    }

    /// Local time with the offset in force, as RFC 3339 has it.
    fn at(schedule: &Schedule, time: &str) -> Option<bool> {
        schedule.active(time.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let nights = schedule(&["mon-fri 22:00-06:00", "sat,sun 00:00-24:00"]);
        for (time, active) in [
            ("2026-11-20T21:59:59+01:00", false), // a Friday
            ("2026-11-20T22:00:00+01:00", true),
            ("2026-11-21T05:59:00+01:00", true),
            ("2026-11-21T12:00:00+01:00", true),
            ("2026-11-22T23:59:59+01:00", true),
            ("2026-11-23T00:00:00+01:00", false), // no night began on Sunday
            ("2026-11-23T22:00:00+01:00", true),
            ("2026-11-24T06:00:00+01:00", false),
        ] {
            assert_eq!(at(&nights, time), Some(active), "{time}");
        }
    }

    #[test]
    fn in_spring_the_skipped_hour_does_not_come() {
        let hour = schedule(&["02:00-03:00"]);
        assert_eq!(at(&hour, "2027-03-28T01:59:59+01:00"), Some(false));
        assert_eq!(at(&hour, "2027-03-28T03:00:00+02:00"), Some(false));
        let night = schedule(&["22:00-06:00"]);
        assert_eq!(at(&night, "2027-03-28T03:00:00+02:00"), Some(true));
        assert_eq!(at(&night, "2027-03-28T05:59:59+02:00"), Some(true));
        assert_eq!(at(&night, "2027-03-28T06:00:00+02:00"), Some(false));
    }

    #[test]
    fn in_autumn_the_repeated_hour_counts_both_times() {
        let hour = schedule(&["02:15-02:45"]);
        for offset in ["+02:00", "+01:00"] {
            assert_eq!(at(&hour, &format!("2027-10-31T02:14:59{offset}")), Some(false));
            assert_eq!(at(&hour, &format!("2027-10-31T02:15:00{offset}")), Some(true));
            assert_eq!(at(&hour, &format!("2027-10-31T02:45:00{offset}")), Some(false));
        }
        let active = (0..24 * 60).filter(|minute| {
            let begin = "2027-10-30T12:00:00+02:00".parse::<Timestamp>().unwrap().as_millisecond();
            schedule(&["22:00-06:00"]).active(begin + minute * 60_000) == Some(true)
        });
        assert_eq!(active.count(), 9 * 60);
    }

    #[test]
    fn nothing_is_known_while_the_clock_is_not_set() {
        assert_eq!(schedule(&["00:00-24:00"]).active(1_000_000), None);
    }

    #[test]
    fn it_looks_again_at_the_full_minute() {
        assert_eq!(Schedule::look_again(59_400, Mono(7)), Mono(607));
        assert_eq!(Schedule::look_again(10_000, Mono(7)), Mono(5007));
    }

    #[test]
    fn anything_else_is_refused_with_what_is_wrong() {
        for (bad, part) in [
            ("", "no `-`"),
            ("22:00", "no `-`"),
            ("22:00-22:00", "same time"),
            ("24:00-06:00", "nothing begins there"),
            ("22:00-24:01", "no time of day"),
            ("22:60-23:00", "no time of day"),
            ("9:00-10:00", "no time of day"),
            ("mo 09:00-10:00", "is no day"),
            ("mon-xyz 09:00-10:00", "is no day"),
        ] {
            let error = Window::parse(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
        assert_eq!(Window::parse("sat-mon 01:00-02:00").unwrap().days, 0b110_0001);
    }
}

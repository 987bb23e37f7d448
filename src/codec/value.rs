//! Numbers, units and times as they stand in brackets.

/// A decimal number as sent: `mantissa` / 10^`decimals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// All digits without the point.
    pub mantissa: i64,
    /// How many of them stand after the point.
    pub decimals: u8,
}

/// Digits that a mantissa can hold without overflow.
const MAX_DIGITS: usize = 18;

impl Decimal {
    /// `-?digits[.digits]`, at most 18 digits; anything else is no number.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let mut mantissa = 0_i64;
        let mut point = None;
        for (at, &byte) in digits.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit < 10 {
                mantissa = mantissa.checked_mul(10)?.checked_add(i64::from(digit))?;
            } else if byte == b'.' && point.is_none() && at > 0 {
                point = Some(at);
            } else {
                return None;
            }
        }
        let decimals = match point {
            Some(at) => digits.len() - at - 1,
            None => 0,
        };
        let count = digits.len() - usize::from(point.is_some());
        if count == 0 || count > MAX_DIGITS || (point.is_some() && decimals == 0) {
            return None;
        }
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, decimals: decimals as u8 })
    }

    /// The value times 10^`exponent` as an integer, rounded half away from zero; saturates.
    #[must_use]
    pub fn scaled(self, exponent: i8) -> i64 {
        let shift = i32::from(exponent) - i32::from(self.decimals);
        if shift >= 0 {
            let factor = 10_i64.saturating_pow(shift.unsigned_abs());
            self.mantissa.saturating_mul(factor)
        } else {
            let Some(divisor) = 10_i64.checked_pow(shift.unsigned_abs()) else { return 0 };
            let half = divisor / 2;
            if self.mantissa >= 0 {
                self.mantissa.saturating_add(half) / divisor
            } else {
                self.mantissa.saturating_sub(half) / divisor
            }
        }
    }

    /// For display and views; never for control.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.mantissa as f64 / 10_f64.powi(i32::from(self.decimals))
    }

    /// Whether its size is at most `limit`, a whole number.
    #[must_use]
    pub fn within(self, limit: i64) -> bool {
        let Some(scale) = 10_i64.checked_pow(u32::from(self.decimals)) else { return true };
        self.mantissa.unsigned_abs() <= limit.unsigned_abs().saturating_mul(scale.unsigned_abs())
    }
}

/// What a number measures, with its power of ten against the base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Active energy in 10^n Wh.
    WattHour(i8),
    /// Active power in 10^n W.
    Watt(i8),
    /// Reactive energy in 10^n varh.
    VarHour(i8),
    /// Reactive power in 10^n var.
    Var(i8),
    /// Apparent power in 10^n VA.
    VoltAmpere(i8),
    /// Voltage in V.
    Volt,
    /// Current in A.
    Ampere,
    /// Frequency in Hz.
    Hertz,
    /// Volume in m³.
    CubicMetre,
    /// Heat in 10^n J (6 and 9 are used).
    Joule(i8),
    /// Time in s.
    Second,
}

impl Unit {
    /// Reads a unit in any case; a cubic metre also with a superscript three in Latin-1 or UTF-8.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut lower = [0_u8; 5];
        let lower = lower.get_mut(..text.len())?;
        lower.copy_from_slice(text);
        // Megawatt-hours and milliwatt-hours differ in case only; no meter sends the second.
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"kwh" => Self::WattHour(3),
            b"wh" => Self::WattHour(0),
            b"mwh" => Self::WattHour(6),
            b"kw" => Self::Watt(3),
            b"w" => Self::Watt(0),
            b"kvarh" => Self::VarHour(3),
            b"varh" => Self::VarHour(0),
            b"kvar" => Self::Var(3),
            b"var" => Self::Var(0),
            b"kva" => Self::VoltAmpere(3),
            b"va" => Self::VoltAmpere(0),
            b"v" => Self::Volt,
            b"a" => Self::Ampere,
            b"hz" => Self::Hertz,
            b"m3" | b"m\xB3" | b"m\xC2\xB3" => Self::CubicMetre,
            b"gj" => Self::Joule(9),
            b"mj" => Self::Joule(6),
            b"s" => Self::Second,
            _ => return None,
        })
    }

    /// The unit without its power of ten, and the power.
    #[must_use]
    pub fn split(self) -> (Self, i8) {
        match self {
            Self::WattHour(power) => (Self::WattHour(0), power),
            Self::Watt(power) => (Self::Watt(0), power),
            Self::VarHour(power) => (Self::VarHour(0), power),
            Self::Var(power) => (Self::Var(0), power),
            Self::VoltAmpere(power) => (Self::VoltAmpere(0), power),
            Self::Joule(power) => (Self::Joule(0), power),
            Self::Volt | Self::Ampere | Self::Hertz | Self::CubicMetre | Self::Second => (self, 0),
        }
    }

    /// Power of ten by which a value in this unit is multiplied to be in `other`; `None` where they measure different
    /// things.
    #[must_use]
    pub fn to(self, other: Self) -> Option<i8> {
        let ((base, power), (other_base, other_power)) = (self.split(), other.split());
        (base == other_base).then_some(power - other_power)
    }

    /// As Home Assistant writes it.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::WattHour(6) => "MWh",
            Self::WattHour(3) => "kWh",
            Self::WattHour(_) => "Wh",
            Self::Watt(3) => "kW",
            Self::Watt(_) => "W",
            Self::VarHour(3) => "kvarh",
            Self::VarHour(_) => "varh",
            Self::Var(3) => "kvar",
            Self::Var(_) => "var",
            Self::VoltAmpere(3) => "kVA",
            Self::VoltAmpere(_) => "VA",
            Self::Volt => "V",
            Self::Ampere => "A",
            Self::Hertz => "Hz",
            Self::CubicMetre => "m³",
            Self::Joule(9) => "GJ",
            Self::Joule(_) => "MJ",
            Self::Second => "s",
        }
    }
}

/// Content of a bracket that is a number: the number and the text after the `*`, if any.
#[must_use]
pub fn number(arg: &[u8]) -> Option<(Decimal, Option<&[u8]>)> {
    match arg.iter().position(|&byte| byte == b'*') {
        Some(star) if star + 1 < arg.len() => Some((Decimal::parse(&arg[..star])?, Some(&arg[star + 1..]))),
        Some(_) => None,
        None => Some((Decimal::parse(arg)?, None)),
    }
}

/// Whether the content of a bracket has the form of a time: twelve digits and, from DSMR 4 on, `S` or `W`.
#[must_use]
pub fn is_timestamp(arg: &[u8], letter_needed: bool) -> bool {
    let digits = match arg {
        [digits @ .., b'S' | b'W'] => digits,
        _ if letter_needed => return false,
        _ => arg,
    };
    digits.len() == 12 && digits.iter().all(u8::is_ascii_digit)
}

/// A meter's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MeterTime {
    /// Seconds since 2000-01-01 00:00 in the meter's standard (winter) time: runs on evenly over changes to and from
    /// summer time. Without a letter the meter does not say, and this is its local time.
    pub standard_seconds: i64,
    /// Whether it named the season, so that `standard_seconds` can be trusted over a change of it.
    pub season_known: bool,
}

impl MeterTime {
    /// `YYMMDDhhmmss` with `S` (summer), `W` (winter) or nothing; `None` where that is no date of the calendar.
    #[must_use]
    pub fn parse(arg: &[u8]) -> Option<Self> {
        if !is_timestamp(arg, false) {
            return None;
        }
        let pair = |at: usize| i64::from(arg[at] - b'0') * 10 + i64::from(arg[at + 1] - b'0');
        let (year, month, day) = (2000 + pair(0), pair(2), pair(4));
        let (hour, minute, second) = (pair(6), pair(8), pair(10));
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let local = ((days_since_2000(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        let summer = arg.last() == Some(&b'S');
        Some(Self { standard_seconds: local - if summer { 3600 } else { 0 }, season_known: arg.len() == 13 })
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Proleptic Gregorian calendar.
fn days_since_2000(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let years = year - 2000;
    let leap_days = (years + 3) / 4 - (years + 99) / 100 + (years + 399) / 400;
    let this_leap = i64::from(month > 2 && is_leap(year));
    years * 365 + leap_days + BEFORE_MONTH[(month - 1) as usize] + this_leap + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let number = |text: &str| Decimal::parse(text.as_bytes());
        assert_eq!(number("000034.120"), Some(Decimal { mantissa: 34_120, decimals: 3 }));
        assert_eq!(number("-1234567890.12345678"), Some(Decimal { mantissa: -123_456_789_012_345_678, decimals: 8 }));
        assert_eq!(number("-063"), Some(Decimal { mantissa: -63, decimals: 0 }));
        for wrong in [
            "",
            "-",
            ".5",
            "5.",
            "1.2.3",
            "1,5",
            "+1",
            "1e3",
            "nan",
            " 1",
            "1234567890123456789.0",
            "1234567890123456789",
        ] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn scaling_rounds_half_away_and_saturates() {
        let scaled = |text: &str, exponent| Decimal::parse(text.as_bytes()).unwrap().scaled(exponent);
        assert_eq!(scaled("01.193", 3), 1193);
        assert_eq!(scaled("0.0005", 3), 1);
        assert_eq!(scaled("-0.0005", 3), -1);
        assert_eq!(scaled("0.0004", 3), 0);
        assert_eq!(scaled("123456789012345678", 3), i64::MAX);
        assert_eq!(scaled("0.00000000000000001", 0), 0);
        assert!(!Decimal::parse(b"1000000000.1").unwrap().within(1_000_000_000));
        assert!(Decimal::parse(b"-1000000000.0").unwrap().within(1_000_000_000));
    }

    #[test]
    fn units_in_any_case() {
        assert_eq!(Unit::parse(b"kWh"), Some(Unit::WattHour(3)));
        assert_eq!(Unit::parse(b"kVArh"), Some(Unit::VarHour(3)));
        assert_eq!(Unit::parse(b"kw"), Some(Unit::Watt(3)));
        assert_eq!(Unit::parse(b"m\xB3"), Some(Unit::CubicMetre));
        assert_eq!(Unit::parse("m³".as_bytes()), Some(Unit::CubicMetre));
        assert_eq!(Unit::parse(b"furlong"), None);
        assert_eq!(Unit::parse(b""), None);
    }

    #[test]
    fn summer_time_does_not_jump() {
        let time = |text: &str| MeterTime::parse(text.as_bytes()).unwrap().standard_seconds;
        assert_eq!(time("000101000000W"), 0);
        assert_eq!(time("240331015959W") + 1, time("240331030000S"));
        assert_eq!(time("241027025959S") + 1, time("241027020000W"));
        // 2024-02-29 12:00 UTC+1, against the unix time of 2000-01-01 00:00 in the same zone.
        assert_eq!(time("240229120000W"), 1_709_204_400 - 946_681_200);
        assert_eq!(time("991231235959W") - time("000101000000W"), 36_525 * 86_400 - 1);
    }

    #[test]
    fn times_that_no_calendar_has_are_none() {
        for text in [
            "632525252525S",
            "250000000000W",
            "000000000000W",
            "123412341234W",
            "230229000000W",
            "230101240000W",
            "23010124000W",
        ] {
            assert_eq!(MeterTime::parse(text.as_bytes()), None, "{text}");
        }
        assert!(!MeterTime::parse(b"161107190000").unwrap().season_known);
    }
}

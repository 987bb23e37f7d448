//! The lines of a telegram: `OBIS(arg)(arg)…`, possibly going on in the next line.

use std::borrow::Cow;

use crate::codec::obis::Obis;
use crate::codec::value::{self, Decimal, MeterTime};

/// What a line of a telegram turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A register.
    Object(Object<'a>),
    /// Anything else, without its line end.
    Unparsed(&'a [u8]),
}

/// A register with its brackets, as views of the telegram's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    /// Its code.
    pub obis: Obis,
    /// The code as sent.
    pub code: &'a [u8],
    /// From the first opening to the last closing bracket, line ends included.
    brackets: &'a [u8],
}

/// The meaning of an object's brackets, where they have one of the usual shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Content<'a> {
    /// The time that belongs to the value, or that is the value.
    pub timestamp: Option<&'a [u8]>,
    /// The number as sent, zeros in front included.
    pub number: Option<&'a [u8]>,
    /// Its unit as sent.
    pub unit: Option<&'a [u8]>,
    /// The register that DSMR 2.2 and 3 name beside a gas value (`0-1:24.2.1`).
    pub register: Option<&'a [u8]>,
}

impl Content<'_> {
    /// The number.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        self.number.and_then(Decimal::parse)
    }

    /// The time, where it is one.
    #[must_use]
    pub fn time(&self) -> Option<MeterTime> {
        self.timestamp.and_then(MeterTime::parse)
    }
}

impl<'a> Object<'a> {
    /// The contents of the brackets. A line end inside one is part of the slice: see [`text`].
    pub fn args(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.brackets;
        std::iter::from_fn(move || {
            let open = rest.iter().position(|&byte| byte == b'(')?;
            let inner = &rest[open + 1..];
            let close = inner.iter().position(|&byte| byte == b')')?;
            rest = &inner[close + 1..];
            Some(&inner[..close])
        })
    }

    /// The content of the only bracket; `None` when there are several.
    #[must_use]
    pub fn single(&self) -> Option<&'a [u8]> {
        let inner = &self.brackets[1..self.brackets.len() - 1];
        if inner.contains(&b')') { None } else { Some(inner) }
    }

    /// Reads the usual shapes: `(number*unit)`, `(time)`, `(time)(number*unit)`, `(time)(number)`, and the gas line
    /// `(time)(status)(period)(1)(register)(unit)(number)` of DSMR 2.2 and 3. A lone number without a unit may as well
    /// be a text or a count and is left to the caller.
    #[must_use]
    pub fn content(&self) -> Content<'a> {
        if let Some(only) = self.single() {
            if value::is_timestamp(only, true) {
                return Content { timestamp: Some(only), ..Content::default() };
            }
            return match split_number(only) {
                (Some(number), Some(unit)) => Content { number: Some(number), unit: Some(unit), ..Content::default() },
                _ => Content::default(),
            };
        }
        let mut args = self.args();
        let mut next = || args.next();
        match (next(), next(), next()) {
            (Some(time), Some(value), None) if value::is_timestamp(time, true) => match split_number(value) {
                (Some(number), unit) => Content { timestamp: Some(time), number: Some(number), unit, register: None },
                _ => Content::default(),
            },
            (Some(time), Some(_), Some(_)) if self.obis.c == 24 && self.obis.d == 3 => {
                match (next(), next(), next(), next(), next()) {
                    (Some(_), Some(register), Some(unit), Some(number), None)
                        if value::is_timestamp(time, false) && Decimal::parse(number).is_some() =>
                    {
                        Content {
                            timestamp: Some(time),
                            number: Some(number),
                            unit: Some(unit),
                            register: Some(register),
                        }
                    }
                    _ => Content::default(),
                }
            }
            _ => Content::default(),
        }
    }
}

/// The number of a bracket and the unit behind its `*`, both as sent.
pub(super) fn split_number(arg: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    match value::number(arg) {
        Some((_, None)) => (Some(arg), None),
        Some((_, Some(unit))) => (Some(&arg[..arg.len() - unit.len() - 1]), Some(unit)),
        None => (None, None),
    }
}

/// The content of a bracket without line ends inside, borrowed where there are none.
#[must_use]
pub fn unfolded(arg: &[u8]) -> Cow<'_, [u8]> {
    if arg.iter().any(|byte| is_line_end(*byte)) {
        Cow::Owned(arg.iter().copied().filter(|byte| !is_line_end(*byte)).collect())
    } else {
        Cow::Borrowed(arg)
    }
}

/// Bytes of a telegram as text. Every byte is taken as ISO 8859-1, which loses none: meters send 0xB3 for a
/// superscript three and 0xFF for "nothing".
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().filter(|byte| !is_line_end(**byte)).map(|&byte| char::from(byte)).collect()
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// The lines of a telegram's body, see [`super::Telegram::lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let skip = self.rest.iter().take_while(|byte| is_line_end(**byte)).count();
        self.rest = &self.rest[skip..];
        if self.rest.is_empty() {
            return None;
        }
        if let Some((object, length)) = object(self.rest) {
            self.rest = &self.rest[length..];
            return Some(Line::Object(object));
        }
        let end = self.rest.iter().position(|byte| is_line_end(*byte)).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Line::Unparsed(line))
    }
}

/// An object at the start of `bytes` with its length, line end excluded.
fn object(bytes: &[u8]) -> Option<(Object<'_>, usize)> {
    let (obis, code) = Obis::parse_prefix(bytes)?;
    if bytes.get(code) != Some(&b'(') {
        return None;
    }
    let mut at = code;
    // At an opening bracket.
    loop {
        at += 1;
        loop {
            match *bytes.get(at)? {
                b')' => break,
                b'(' => return None,
                b'\n' | b'\r' if starts_object(&bytes[at + 1..]) => return None,
                _ => at += 1,
            }
        }
        at += 1;
        // Behind a closing bracket: another one, maybe on the next line, or the end.
        let ends = bytes[at..].iter().take_while(|byte| is_line_end(**byte)).count();
        match bytes.get(at + ends) {
            Some(b'(') => at += ends,
            None => break,
            Some(_) if ends > 0 => break,
            Some(_) => return None,
        }
    }
    Some((Object { obis, code: &bytes[..code], brackets: &bytes[code..at] }, at))
}

/// A line that begins with a code and a bracket is a new object, also while a bracket stands open: a lost `)` costs
/// one object and not the rest of the telegram.
fn starts_object(line: &[u8]) -> bool {
    Obis::parse_prefix(line).is_some_and(|(_, length)| line.get(length) == Some(&b'('))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(body: &str) -> Vec<Line<'_>> {
        Lines::new(body.as_bytes()).collect()
    }

    fn args(line: Line<'_>) -> Vec<String> {
        match line {
            Line::Object(object) => object.args().map(text).collect(),
            Line::Unparsed(line) => panic!("{}", text(line)),
        }
    }

    #[test]
    fn the_gas_value_of_dsmr_2_stands_on_the_next_line() {
        let found =
            lines("\r\n0-1:24.3.0(161107190000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00001.001)\r\n0-1:24.4.0(1)\r\n");
        assert_eq!(found.len(), 2);
        let Line::Object(gas) = found[0] else { panic!() };
        let content = gas.content();
        assert_eq!(content.decimal(), Some(Decimal { mantissa: 1001, decimals: 3 }));
        assert_eq!(content.unit, Some(&b"m3"[..]));
        assert_eq!(content.register, Some(&b"0-1:24.2.1"[..]));
        assert!(content.time().is_some());
    }

    #[test]
    fn a_split_text_is_one_and_may_hold_slash_and_exclamation_mark() {
        let found = lines("0-0:96.13.0(3031/!\r\n3233\r\n)\r\n1-0:1.7.0(1.0*kW)\r\n");
        assert_eq!(args(found[0]), ["3031/!3233"]);
        assert_eq!(args(found[1]), ["1.0*kW"]);
    }

    #[test]
    fn a_lost_bracket_costs_one_object() {
        let found = lines("1-0:1.7.0(1.0*kW\r\n1-0:2.7.0(2.0*kW)\r\n");
        assert_eq!(found[0], Line::Unparsed(b"1-0:1.7.0(1.0*kW"));
        assert_eq!(args(found[1]), ["2.0*kW"]);
    }

    #[test]
    fn nonsense_is_named_and_not_guessed() {
        let body = "1-0:0.2.0((ER11))\r\n1-0:0.2.8(a)b\r\n0%0:96.1.4(1)\r\n(7)\r\n***\r\n1-0:1.8.0(open";
        assert!(lines(body).iter().all(|line| matches!(line, Line::Unparsed(_))));
        assert_eq!(lines(body).len(), 6);
    }

    #[test]
    fn the_usual_shapes_are_read() {
        let content = |line: &'static str| match lines(line)[0] {
            Line::Object(object) => object.content(),
            Line::Unparsed(line) => panic!("{}", text(line)),
        };
        assert_eq!(content("0-0:1.0.0(230101000000W)").timestamp, Some(&b"230101000000W"[..]));
        let peak = content("1-0:1.6.0(200509134558S)(02.589*kW)");
        assert_eq!(
            (peak.timestamp.unwrap(), peak.number.unwrap(), peak.unit.unwrap()),
            (&b"200509134558S"[..], &b"02.589"[..], &b"kW"[..])
        );
        let unbound = content("0-2:24.2.1(632525252525S)(00000.000)");
        assert_eq!((unbound.number, unbound.unit), (Some(&b"00000.000"[..]), None));
        assert_eq!(content("0-0:96.1.1(12345678)"), Content::default());
        assert_eq!(content("1-1:31.4.0(100*A)(-063*A)"), Content::default());
        assert_eq!(content("0-0:96.13.0()"), Content::default());
    }
}

//! Data sets: `address(value*unit)(value)…`, several on a line, nothing between them.

use crate::codec::value::Decimal;

/// Longest address; the norm allows 16 characters.
const MAX_ADDRESS: usize = 32;

/// What a piece of a readout turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A data set.
    DataSet(DataSet<'a>),
    /// Anything else, up to the end of its line.
    Unparsed(&'a [u8]),
}

/// An address with its brackets, as views of the readout's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataSet<'a> {
    /// As sent.
    pub address: &'a [u8],
    /// From the first opening to the last closing bracket.
    brackets: &'a [u8],
}

impl<'a> DataSet<'a> {
    /// The contents of the brackets.
    pub fn args(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.brackets.split(|&byte| byte == b'(').skip(1).map(|it| it.split(|&byte| byte == b')').next().unwrap_or(it))
    }

    /// The number of the first bracket, as sent, and what stands behind its `*`. A lone number counts when it has a
    /// decimal point: digits alone may as well be a serial number, a time or a code.
    #[must_use]
    pub fn number(&self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let arg = trim(self.args().next()?);
        if let Some(star) = arg.iter().position(|&byte| byte == b'*') {
            let number = trim(&arg[..star]);
            return Decimal::parse(unsigned(number)).map(|_| (number, Some(trim(&arg[star + 1..]))));
        }
        // Iskra MT171: a blank in place of the asterisk.
        if let Some(blank) = arg.iter().position(|&byte| byte == b' ') {
            let (number, unit) = (&arg[..blank], trim(&arg[blank..]));
            let letters = unit.first().is_some_and(u8::is_ascii_alphabetic);
            return (letters && Decimal::parse(unsigned(number)).is_some()).then_some((number, Some(unit)));
        }
        (arg.contains(&b'.') && Decimal::parse(unsigned(arg)).is_some()).then_some((arg, None))
    }

    /// The number of [`DataSet::number`].
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        Decimal::parse(unsigned(self.number()?.0))
    }
}

/// Without the plus that some meters send.
fn unsigned(number: &[u8]) -> &[u8] {
    number.strip_prefix(b"+").unwrap_or(number)
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The data sets of a readout, see [`super::Readout::items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let skip = self.rest.iter().take_while(|byte| separates(**byte)).count();
        self.rest = &self.rest[skip..];
        if self.rest.is_empty() {
            return None;
        }
        if let Some((set, length)) = data_set(self.rest) {
            self.rest = &self.rest[length..];
            return Some(Item::DataSet(set));
        }
        let end = self.rest.iter().position(|byte| is_line_end(*byte)).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Item::Unparsed(line))
    }
}

/// A data set at the start of `bytes` with its length.
fn data_set(bytes: &[u8]) -> Option<(DataSet<'_>, usize)> {
    let address = bytes.iter().take(MAX_ADDRESS + 1).position(|&byte| byte == b'(')?;
    if address == 0 || !bytes[..address].iter().all(|byte| byte.is_ascii_graphic() && *byte != b')') {
        return None;
    }
    let mut at = address;
    while bytes.get(at) == Some(&b'(') {
        let inner = &bytes[at + 1..];
        // A bracket ends on its line; an opening one inside means that a closing one was lost.
        let close = inner.iter().position(|&byte| matches!(byte, b')' | b'(') || is_line_end(byte))?;
        if inner[close] != b')' {
            return None;
        }
        at += close + 2;
        // Rows of a load profile go on in the next line.
        let ends = bytes[at..].iter().take_while(|byte| is_line_end(**byte)).count();
        if bytes.get(at + ends) == Some(&b'(') {
            at += ends;
        }
    }
    let brackets = &bytes[address..at];
    Some((DataSet { address: &bytes[..address], brackets }, at))
}

pub(super) fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// What stands between data sets and belongs to none.
fn separates(byte: u8) -> bool {
    is_line_end(byte) || byte == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &'static str) -> DataSet<'static> {
        match Items::new(line.as_bytes()).next() {
            Some(Item::DataSet(set)) => set,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn number(line: &'static str) -> Option<(&'static str, Option<&'static str>)> {
        let text = |bytes: &'static [u8]| std::str::from_utf8(bytes).unwrap();
        one(line).number().map(|(number, unit)| (text(number), unit.map(text)))
    }

    #[test]
    fn values_in_every_form_that_meters_write() {
        assert_eq!(number("1.8.0(0012.5*kWh)"), Some(("0012.5", Some("kWh"))));
        assert_eq!(number("1.8.0( 12.5 * kWh )"), Some(("12.5", Some("kWh"))));
        assert_eq!(number("41.7.0(+00026*W)"), Some(("+00026", Some("W"))));
        assert_eq!(one("41.7.0(+00026*W)").decimal(), Some(Decimal { mantissa: 26, decimals: 0 }));
        assert_eq!(one("41.7.0(-000.5*W)").decimal(), Some(Decimal { mantissa: -5, decimals: 1 }));
        assert_eq!(number("1.8.0(0000000 kWh)"), Some(("0000000", Some("kWh"))));
        assert_eq!(number("1.8.1(032942.0231)"), Some(("032942.0231", None)));
        assert_eq!(number("1.6.0(02.468*kW)(1703100930)"), Some(("02.468", Some("kW"))));
        for line in
            ["0.0(          120858)", "C.1.1(        )", "0.9.1(105644)", "F.F()", "9.2(&&)", "0.2.0(1 234)", "x(+*W)"]
        {
            assert_eq!(number(line), None, "{line}");
        }
    }

    #[test]
    fn several_on_a_line_and_what_is_none() {
        let body = b"6.8(1*MWh)6.26(2*m3)\r\n9.4(3*C&4*C)(x)\r\nP.01(1)(2)\r\n(3)(4)\r\nlost(5\r\n1.8.0(6*kWh)Y\x02\r\n(7)\r\n";
        let items: Vec<_> = Items::new(body).collect();
        let set = |at: usize| match items[at] {
            Item::DataSet(set) => (set.address, set.args().count()),
            Item::Unparsed(line) => panic!("{line:?}"),
        };
        assert_eq!([set(0), set(1), set(2), set(3)], [(&b"6.8"[..], 1), (b"6.26", 1), (b"9.4", 2), (b"P.01", 4)]);
        assert_eq!(items[4], Item::Unparsed(b"lost(5"));
        assert_eq!(set(5), (&b"1.8.0"[..], 1));
        assert_eq!(items[6..], [Item::Unparsed(b"Y\x02"), Item::Unparsed(b"(7)")]);
    }
}

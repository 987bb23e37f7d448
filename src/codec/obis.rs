//! OBIS codes (IEC 62056-61): `A-B:C.D.E*F` names a register of a meter.

use std::fmt;

/// One code. `f` is 255 ("the current value") where the wire leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Obis {
    /// Medium: 0 abstract, 1 electricity, 6 heat, 7 gas, 8 water.
    pub a: u8,
    /// Channel; on P1 the M-Bus slot of another meter.
    pub b: u8,
    /// Quantity.
    pub c: u8,
    /// Kind of processing: 7 instantaneous, 8 counter, 6 maximum, 4 running mean.
    pub d: u8,
    /// Tariff or index.
    pub e: u8,
    /// Billing period, 255 for now.
    pub f: u8,
}

impl Obis {
    /// The current value of a register.
    #[must_use]
    pub const fn new(a: u8, b: u8, c: u8, d: u8, e: u8) -> Self {
        Self { a, b, c, d, e, f: 255 }
    }

    /// Reads a code of five or six groups at the start of `bytes`; gives it with its length in bytes.
    ///
    /// A colon where a point belongs and `.F` for `*F` are accepted: both stand in published telegrams.
    #[must_use]
    pub fn parse_prefix(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut at = 0;
        let a = group(bytes, &mut at)?;
        separator(bytes, &mut at, b"-")?;
        let b = group(bytes, &mut at)?;
        separator(bytes, &mut at, b":")?;
        let c = group(bytes, &mut at)?;
        separator(bytes, &mut at, b".:")?;
        let d = group(bytes, &mut at)?;
        separator(bytes, &mut at, b".:")?;
        let e = group(bytes, &mut at)?;
        let mut f = 255;
        let end = at;
        if separator(bytes, &mut at, b"*.").is_some() {
            match group(bytes, &mut at) {
                Some(group) => f = group,
                None => at = end,
            }
        }
        Some((Self { a, b, c, d, e, f }, at))
    }
}

/// One to three digits up to 255.
fn group(bytes: &[u8], at: &mut usize) -> Option<u8> {
    let digit = |at: usize| bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10);
    let mut value = u16::from(digit(*at)?);
    *at += 1;
    for _ in 0..2 {
        let Some(digit) = digit(*at) else { break };
        value = value * 10 + u16::from(digit);
        *at += 1;
    }
    u8::try_from(value).ok()
}

fn separator(bytes: &[u8], at: &mut usize, allowed: &[u8]) -> Option<()> {
    if allowed.contains(bytes.get(*at)?) {
        *at += 1;
        Some(())
    } else {
        None
    }
}

impl fmt::Display for Obis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a, b, c, d, e, f } = self;
        write!(out, "{a}-{b}:{c}.{d}.{e}")?;
        if *f == 255 { Ok(()) } else { write!(out, "*{f}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_that_telegrams_carry() {
        let code = Obis::new(1, 0, 31, 7, 0);
        for text in ["1-0:31.7.0(001*A)", "1-0:31.7.0", "1-0:31:7.0(", "1-0:31.7.0.255(001*A)", "1-0:31.7.0*255"] {
            let (parsed, length) = Obis::parse_prefix(text.as_bytes()).unwrap();
            assert_eq!(parsed, code, "{text}");
            assert_eq!(length, text.find('(').unwrap_or(text.len()), "{text}");
        }
        assert_eq!(Obis::parse_prefix(b"1-0:1.8.0*01(1*kWh)").unwrap().0.f, 1);
        assert_eq!(Obis::parse_prefix(b"1-0:1.8.0*(").unwrap().1, 9);
        assert_eq!(code.to_string(), "1-0:31.7.0");
    }

    #[test]
    fn refuses_what_is_none() {
        for text in
            ["", "0%0:96.1.4", "1-0:!.8.1", "1-0:256.7.0", "1-0:1.7", "1-0", "(00001.001)", "0:96.7.19", "1-0:1.7.x"]
        {
            assert_eq!(Obis::parse_prefix(text.as_bytes()), None, "{text}");
        }
    }
}

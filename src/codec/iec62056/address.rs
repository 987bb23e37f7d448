//! Addresses of data sets: OBIS codes (IEC 62056-61), often shortened.

use crate::codec::obis::Obis;

/// Letters that stand for numbers in group C.
const LETTERS: [(u8, u8); 4] = [(b'C', 96), (b'F', 97), (b'L', 98), (b'P', 99)];

/// Reads an address as meters write it: `1-0:1.8.0*255`, `1.8.0`, `32.7`, `F.F`, `C.1.0`, `1.8.0*01`, `0.1.2&07`.
///
/// Groups A and B that are left out are electricity, 1-0, and those of general and error registers 0-0. A group E of
/// 255, which some makers write for "none", is 0. `None` for what is no code, such as `.8.1`.
#[must_use]
pub fn obis(address: &[u8]) -> Option<Obis> {
    let (medium, rest) = match address.iter().position(|&byte| byte == b':') {
        Some(colon) => {
            let (medium, rest) = (&address[..colon], &address[colon + 1..]);
            let dash = medium.iter().position(|&byte| byte == b'-')?;
            (Some((number(&medium[..dash])?, number(&medium[dash + 1..])?)), rest)
        }
        None => (None, address),
    };
    let (code, f) = match rest.iter().position(|&byte| byte == b'*' || byte == b'&') {
        Some(star) => (&rest[..star], number(&rest[star + 1..])?),
        None => (rest, 255),
    };
    let mut groups = code.split(|&byte| byte == b'.');
    let first = groups.next()?;
    let letter = letter(first);
    let c = letter.or_else(|| number(first))?;
    let mut group = || groups.next().map_or(Some(0), |text| self::letter(text).or_else(|| number(text)));
    let (d, e) = (group()?, group()?);
    if groups.next().is_some() {
        return None;
    }
    let (a, b) = medium.unwrap_or(if letter.is_some() { (0, 0) } else { (1, 0) });
    Some(Obis { a, b, c, d, e: if e == 255 { 0 } else { e }, f })
}

fn letter(text: &[u8]) -> Option<u8> {
    let &[letter] = text else { return None };
    LETTERS.iter().find(|(known, _)| *known == letter).map(|&(_, number)| number)
}

/// One to three digits up to 255.
fn number(text: &[u8]) -> Option<u8> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let value = text.iter().try_fold(0_u16, |sum, byte| Some(sum * 10 + digit(byte)?))?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_meters_write() {
        for (text, code) in [
            ("1-0:1.8.0*255", Obis::new(1, 0, 1, 8, 0)),
            ("1-0:21.7.255*255", Obis::new(1, 0, 21, 7, 0)),
            ("1.8.0", Obis::new(1, 0, 1, 8, 0)),
            ("32.7", Obis::new(1, 0, 32, 7, 0)),
            ("0.0", Obis::new(1, 0, 0, 0, 0)),
            ("F.F", Obis::new(0, 0, 97, 97, 0)),
            ("F", Obis::new(0, 0, 97, 0, 0)),
            ("C.1.0", Obis::new(0, 0, 96, 1, 0)),
            ("C.1", Obis::new(0, 0, 96, 1, 0)),
            ("0-0:C.1.0*255", Obis::new(0, 0, 96, 1, 0)),
            ("0-0:96.1.255*255", Obis::new(0, 0, 96, 1, 0)),
            ("1.8.0*01", Obis { f: 1, ..Obis::new(1, 0, 1, 8, 0) }),
            ("0.1.2&07", Obis { f: 7, ..Obis::new(1, 0, 0, 1, 2) }),
        ] {
            assert_eq!(obis(text.as_bytes()), Some(code), "{text}");
        }
        for text in ["", ".8.1", "1.8.0.0", "1:1.8.0", "1-0:", "256.8.0", "1.8.x", "1.8.0*", "0001.8", "1-0:1.8.0*1*2"]
        {
            assert_eq!(obis(text.as_bytes()), None, "{text}");
        }
    }
}

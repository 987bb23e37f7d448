//! Builds telegrams, for the simulator and for tests.

use std::fmt::Write as _;

use crate::codec::crc;

/// A telegram as DSMR 5 sends it: `header` (with or without its `/`), an empty line, one line for each of `lines`
/// (without line ends), `!`, the CRC-16/ARC in four upper-case digits, CR LF.
///
/// ```
/// let telegram = gridkeeper::codec::p1::encode("/XYZ5METER", ["1-0:1.7.0(01.193*kW)"]);
/// assert!(telegram.starts_with(b"/XYZ5METER\r\n\r\n1-0:1.7.0(01.193*kW)\r\n!"));
/// ```
#[must_use]
pub fn encode(header: &str, lines: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut text = String::with_capacity(1024);
    text.push('/');
    text.push_str(header.strip_prefix('/').unwrap_or(header));
    text.push_str("\r\n\r\n");
    for line in lines {
        text.push_str(line.as_ref());
        text.push_str("\r\n");
    }
    text.push('!');
    let crc = crc::ARC.of(text.as_bytes());
    // Writing into a string cannot fail.
    let _ = write!(text, "{crc:04X}\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_covers_everything_from_slash_to_exclamation_mark() {
        let telegram = encode("XYZ5METER", ["1-0:1.7.0(01.193*kW)", "1-0:2.7.0(00.000*kW)"]);
        let mark = telegram.iter().position(|&byte| byte == b'!').unwrap();
        let given = std::str::from_utf8(&telegram[mark + 1..]).unwrap();
        assert_eq!(given, format!("{:04X}\r\n", crc::ARC.of(&telegram[..=mark])));
        assert_eq!(telegram, encode("/XYZ5METER", ["1-0:1.7.0(01.193*kW)", "1-0:2.7.0(00.000*kW)"]));
    }
}

//! Sign-on, identification and option select (IEC 62056-21, 6.3).

/// Sign-on to whatever meter is there.
pub const REQUEST: &[u8] = b"/?!\r\n";

/// How a meter goes on behind its identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It sends its data at 300 baud.
    A,
    /// It changes to this speed by itself and sends its data.
    B(u32),
    /// It waits for an option select, which may name this speed; without one it sends at 300 baud. Meters of mode D
    /// send the same letters unasked.
    C(u32),
}

impl Mode {
    /// The highest speed that the meter offers, in baud.
    #[must_use]
    pub fn baud(self) -> u32 {
        match self {
            Self::A => 300,
            Self::B(baud) | Self::C(baud) => baud,
        }
    }
}

/// The first line of a readout: `/XXXZ`, perhaps `\W`, type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identification<'a> {
    /// As sent, with its `/`.
    pub raw: &'a [u8],
    /// Three letters of the maker.
    pub maker: &'a [u8],
    /// Baud letter.
    pub letter: u8,
    /// Escape sequences as sent (`\2`: speaks HDLC as well, mode E); empty where there are none.
    pub escape: &'a [u8],
    /// Type.
    pub kind: &'a [u8],
}

impl<'a> Identification<'a> {
    /// Reads a line without its line end; `None` where it is no identification.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let [b'/', maker @ ..] = line else { return None };
        let (maker, rest) = maker.split_at_checked(3)?;
        let (&letter, mut kind) = rest.split_first()?;
        if !maker.iter().all(u8::is_ascii_alphabetic) {
            return None;
        }
        let escaped = kind;
        while let [b'\\', _, rest @ ..] = kind {
            kind = rest;
        }
        Some(Self { raw: line, maker, letter, escape: &escaped[..escaped.len() - kind.len()], kind })
    }

    /// How it goes on.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.letter {
            b'0'..=b'6' => Mode::C(300 << (self.letter - b'0')),
            b'A'..=b'F' => Mode::B(600 << (self.letter - b'A')),
            _ => Mode::A,
        }
    }

    /// Least time that the meter needs between the end of its message and the beginning of ours: 20 ms where the third
    /// letter of the maker is small, else 200 ms.
    #[must_use]
    pub fn reaction_ms(&self) -> u64 {
        if self.maker[2].is_ascii_lowercase() { 20 } else { 200 }
    }
}

/// Acknowledgement with option select: normal protocol, data readout at `baud`; `None` for a speed without a letter.
#[must_use]
pub fn option_select(baud: u32) -> Option<[u8; 6]> {
    let letter = (0..=6).find(|&step| 300 << step == baud)?;
    Some([0x06, b'0', b'0' + letter, b'0', b'\r', b'\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifications_of_the_four_modes() {
        let of = |line: &'static str| Identification::parse(line.as_bytes()).unwrap();
        let iskra = of("/ISk5MT174-0001");
        assert_eq!((iskra.mode(), iskra.reaction_ms(), iskra.kind), (Mode::C(9600), 20, &b"MT174-0001"[..]));
        let siemens = of("/SIEC2WR5");
        assert_eq!((siemens.mode(), siemens.reaction_ms()), (Mode::B(2400), 200));
        assert_eq!(of("/KAM MC").mode(), Mode::A);
        let landis = of("/LGZ4\\2ZMD310");
        assert_eq!((landis.mode().baud(), landis.escape, landis.kind), (4800, &b"\\2"[..], &b"ZMD310"[..]));
        assert_eq!(of("/XYZF1").mode(), Mode::B(19_200));
        assert_eq!(of("/XYZ61").mode(), Mode::C(19_200));
        for line in ["", "/", "/?!", "/AB1x", "XYZ5M", "/XY"] {
            assert_eq!(Identification::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_acknowledgement_names_the_speed() {
        assert_eq!(option_select(9600), Some(*b"\x06050\r\n"));
        assert_eq!(option_select(300), Some(*b"\x06000\r\n"));
        assert_eq!(option_select(115_200), None);
    }
}

//! What the bytes that belong to no telegram say about the line.

/// What the rubbish on a line says about its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Every byte has even parity: seven data bits with even parity read as eight.
    EvenParity,
    /// Every byte has odd parity.
    OddParity,
    /// Neither text nor a parity: wrong speed, inverted signal, or another protocol.
    NoText,
    /// DLMS in HDLC or M-Bus frames, as Austrian, Norwegian, Swiss and Slovenian customer ports send: not P1.
    Dlms,
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EvenParity => "every byte has even parity: the meter sends 7E1, set `parity=even` (DSMR 2.2 and 3: `baud=9600&parity=even`)",
            Self::OddParity => "every byte has odd parity: the meter sends 7O1, set `parity=odd`",
            Self::NoText => "the bytes are no text: check the speed (115200, or 9600 with `parity=even` for DSMR 2.2 and 3) and that the signal is not inverted",
            Self::Dlms => "the bytes are DLMS frames and not P1 telegrams",
        })
    }
}

/// Counts over discarded bytes since the last good telegram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noise {
    bytes: u32,
    even_parity: u32,
    high_bit: u32,
    text: u32,
    /// Encrypted bytes say nothing about the line.
    not_counted: usize,
    dlms_heads: u32,
    last_four: u32,
}

impl Noise {
    /// Enough to judge by; the tail of one telegram is never mistaken for rubbish because it is text.
    const ENOUGH: u32 = 256;

    /// From nothing, behind an envelope of so many bytes that could not be opened.
    pub(super) fn after_envelope(length: usize) -> Self {
        Self { not_counted: length, ..Self::default() }
    }

    pub(super) fn count(&mut self, byte: u8) {
        if self.not_counted > 0 {
            self.not_counted -= 1;
            return;
        }
        if self.bytes == u32::MAX {
            *self = Self::default();
        }
        self.bytes += 1;
        self.even_parity += u32::from(byte.count_ones().is_multiple_of(2));
        self.high_bit += u32::from(byte >= 0x80);
        self.text += u32::from((b' '..0x7F).contains(&byte));
        self.last_four = self.last_four << 8 | u32::from(byte);
        self.dlms_heads += u32::from(match self.last_four.to_be_bytes() {
            // HDLC: flag, then frame format type 3.
            [_, _, 0x7E, format] => format & 0xF0 == 0xA0,
            // M-Bus long frame: start, length twice, start.
            [0x68, length, again, 0x68] => length == again,
            _ => false,
        });
    }

    pub(super) fn hint(&self) -> Option<Hint> {
        let share = |part: u32| u64::from(part) * 100 / u64::from(self.bytes.max(1));
        if self.bytes < Self::ENOUGH {
            None
        } else if share(self.even_parity) >= 98 && share(self.high_bit) >= 10 {
            Some(Hint::EvenParity)
        } else if share(self.even_parity) <= 2 && share(self.high_bit) >= 10 {
            Some(Hint::OddParity)
        } else if share(self.text) < 70 {
            Some(if self.dlms_heads >= 2 { Hint::Dlms } else { Hint::NoText })
        } else {
            None
        }
    }
}

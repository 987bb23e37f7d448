//! Type-length fields: the high nibble is the type, the low one the length, bit 7 continues the length in the next byte.

/// Lists inside lists; real ones go six deep.
pub(super) const MAX_DEPTH: u8 = 12;

/// One field. Numbers may have any width from one to eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// 01: left out.
    Absent,
    /// 00: end of a message.
    End,
    /// Bytes.
    Octets(&'a [u8]),
    /// 0 is false.
    Bool(bool),
    /// Signed, extended from its width in bytes.
    Int(i64, u8),
    /// Unsigned, with its width in bytes.
    Uint(u64, u8),
    /// So many fields follow.
    List(usize),
}

/// A field that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("ends inside a field")]
    Short,
    #[error("has a field of type or length that SML does not know")]
    Unknown,
    #[error("nests lists deeper than {}", MAX_DEPTH)]
    Deep,
}

/// Reads fields from the front of a slice.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Goes on from another place.
    pub(super) fn skip_bytes(&mut self, count: usize) {
        self.at = self.bytes.len().min(self.at + count);
    }

    /// The next field; of a list only its head.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Broken> {
        let begin = self.at;
        let head = self.byte()?;
        let kind = head >> 4 & 0x07;
        let mut length = usize::from(head & 0x0F);
        let mut more = head & 0x80 != 0;
        while more {
            let next = self.byte()?;
            // Longer than any frame.
            if next & 0x70 != 0 || length > 0x0FFF {
                return Err(Broken::Unknown);
            }
            length = length << 4 | usize::from(next & 0x0F);
            more = next & 0x80 != 0;
        }
        if kind == 7 {
            return Ok(Token::List(length));
        }
        if head == 0 {
            return Ok(Token::End);
        }
        let size = length.checked_sub(self.at - begin).ok_or(Broken::Unknown)?;
        let bytes = self.bytes.get(self.at..self.at + size).ok_or(Broken::Short)?;
        self.at += size;
        match (kind, size) {
            (0, 0) if self.at - begin == 1 => Ok(Token::Absent),
            (0, _) => Ok(Token::Octets(bytes)),
            (4, 1) => Ok(Token::Bool(bytes[0] != 0)),
            (5, 1..=8) => {
                let negative = bytes[0] & 0x80 != 0;
                let value = bytes.iter().fold(if negative { -1 } else { 0 }, |sum, &byte| sum << 8 | i64::from(byte));
                Ok(Token::Int(value, size as u8))
            }
            (6, 1..=8) => Ok(Token::Uint(bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)), size as u8)),
            _ => Err(Broken::Unknown),
        }
    }

    /// Reads over one field with everything in it.
    pub(super) fn skip(&mut self) -> Result<(), Broken> {
        let token = self.next()?;
        self.skip_rest(token)
    }

    /// Reads over what belongs to a field whose head was read.
    pub(super) fn skip_rest(&mut self, token: Token<'a>) -> Result<(), Broken> {
        // How many fields are open on each level; the levels are bounded, so hostile nesting cannot use the stack.
        let mut open = [0_usize; MAX_DEPTH as usize];
        let mut level = 0;
        let Token::List(first) = token else { return Ok(()) };
        open[0] = first;
        loop {
            while open[level] == 0 {
                match level.checked_sub(1) {
                    Some(outer) => level = outer,
                    None => return Ok(()),
                }
            }
            open[level] -= 1;
            if let Token::List(inner) = self.next()? {
                level += 1;
                *open.get_mut(level).ok_or(Broken::Deep)? = inner;
            }
        }
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = *self.bytes.get(self.at).ok_or(Broken::Short)?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Result<Token<'_>, Broken> {
        Reader::new(bytes).next()
    }

    #[test]
    fn numbers_of_every_width_keep_their_sign() {
        assert_eq!(one(&[0x52, 0xFF]), Ok(Token::Int(-1, 1)));
        assert_eq!(one(&[0x53, 0xD6, 0xCA]), Ok(Token::Int(-10_550, 2)));
        assert_eq!(one(&[0x54, 0xFE, 0xCB, 0xFD]), Ok(Token::Int(-78_851, 3)));
        assert_eq!(one(&[0x55, 0xFC, 0xA4, 0x98, 0x84]), Ok(Token::Int(-56_321_916, 4)));
        assert_eq!(one(&[0x56, 0, 0x0C, 0xDE, 0xEB, 0x23]), Ok(Token::Int(215_935_779, 5)));
        assert_eq!(one(&[0x59, 0x80, 0, 0, 0, 0, 0, 0, 0]), Ok(Token::Int(i64::MIN, 8)));
        assert_eq!(one(&[0x62, 0xFF]), Ok(Token::Uint(255, 1)));
        assert_eq!(one(&[0x64, 0x01, 0x00, 0x00]), Ok(Token::Uint(65_536, 3)));
        assert_eq!(one(&[0x69, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), Ok(Token::Uint(u64::MAX, 8)));
    }

    #[test]
    fn long_octets_count_every_byte_of_their_head() {
        let mut bytes = vec![0x83, 0x02];
        bytes.extend([7; 48]);
        assert_eq!(one(&bytes), Ok(Token::Octets(&[7; 48])));
        assert_eq!(one(&[0x01]), Ok(Token::Absent));
        assert_eq!(one(&[0x00]), Ok(Token::End));
        assert_eq!(one(&[0x42, 0x01]), Ok(Token::Bool(true)));
        assert_eq!(one(&[0x77]), Ok(Token::List(7)));
        assert_eq!(one(&[0xF1, 0x02]), Ok(Token::List(18)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&[][..], &[0x05, 1], &[0x83], &[0x80, 0x00]] {
            assert!(one(bytes).is_err(), "{bytes:02X?}");
        }
        for bytes in [&[0x51][..], &[0x6A, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0x22, 0], &[0x43, 1, 1], &[0x8F, 0x7F]] {
            assert_eq!(one(bytes), Err(Broken::Unknown), "{bytes:02X?}");
        }
        assert_eq!(Reader::new(&[0x71; 100]).skip(), Err(Broken::Deep));
        assert_eq!(Reader::new(&[0x72, 0x71, 0x01]).skip(), Err(Broken::Short));
        let mut reader = Reader::new(&[0x72, 0x71, 0x01, 0x70, 0x62, 5]);
        reader.skip().unwrap();
        assert_eq!(reader.next(), Ok(Token::Uint(5, 1)));
    }
}

//! CRC-16 of the meters' protocols, sixteen bytes at a time.

/// A reflected CRC-16: least significant bit first, tables built at compile time.
#[derive(Debug)]
pub struct Crc16 {
    tables: [[u16; 256]; STRIDE],
    init: u16,
    xor_out: u16,
}

const STRIDE: usize = 16;

/// CRC-16/ARC: polynomial x16 + x15 + x2 + 1, start 0, no final exclusive or (DSMR 5.0.2 P1 companion standard, 6.2).
pub static ARC: Crc16 = Crc16::new(0xA001, 0, 0);

/// CRC-16/MODBUS: the polynomial of ARC, start FFFF (Modbus over serial line 1.02, 6.2.2).
pub static MODBUS: Crc16 = Crc16::new(0xA001, 0xFFFF, 0);

/// CRC-16/X-25 (ISO/IEC 3309, also IBM-SDLC): used by HDLC and SML, and by Holley meters on P1.
pub static X25: Crc16 = Crc16::new(0x8408, 0xFFFF, 0xFFFF);

/// CRC-16/KERMIT: the same polynomial from 0 and without the final exclusive or; messages of older Holley meters.
pub static KERMIT: Crc16 = Crc16::new(0x8408, 0, 0);

impl Crc16 {
    const fn new(reflected_polynomial: u16, init: u16, xor_out: u16) -> Self {
        let mut tables = [[0_u16; 256]; STRIDE];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u16;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ reflected_polynomial } else { crc >> 1 };
                bit += 1;
            }
            tables[0][byte] = crc;
            byte += 1;
        }
        // Table n: the effect of a byte that n further zero bytes follow.
        let mut n = 1;
        while n < STRIDE {
            let mut byte = 0;
            while byte < 256 {
                let before = tables[n - 1][byte];
                tables[n][byte] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
                byte += 1;
            }
            n += 1;
        }
        Self { tables, init, xor_out }
    }

    /// The checksum of these bytes.
    #[must_use]
    pub fn of(&self, bytes: &[u8]) -> u16 {
        self.finish(self.update(self.init, bytes))
    }

    /// Register before the first byte, for checksums over several pieces.
    #[must_use]
    pub fn start(&self) -> u16 {
        self.init
    }

    /// Register after these bytes.
    #[must_use]
    pub fn update(&self, register: u16, bytes: &[u8]) -> u16 {
        let mut crc = register;
        let (chunks, rest) = bytes.as_chunks::<STRIDE>();
        for chunk in chunks {
            let mut next = self.tables[STRIDE - 1][usize::from(chunk[0] ^ crc as u8)]
                ^ self.tables[STRIDE - 2][usize::from(chunk[1] ^ (crc >> 8) as u8)];
            for (at, &byte) in chunk.iter().enumerate().skip(2) {
                next ^= self.tables[STRIDE - 1 - at][usize::from(byte)];
            }
            crc = next;
        }
        for &byte in rest {
            crc = (crc >> 8) ^ self.tables[0][usize::from(byte ^ crc as u8)];
        }
        crc
    }

    /// Checksum of a register.
    #[must_use]
    pub fn finish(&self, register: u16) -> u16 {
        register ^ self.xor_out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(ARC.of(b"123456789"), 0xBB3D);
        assert_eq!(X25.of(b"123456789"), 0x906E);
        assert_eq!(KERMIT.of(b"123456789"), 0x2189);
        assert_eq!(MODBUS.of(b"123456789"), 0x4B37);
        assert_eq!(ARC.of(b""), 0);
    }

    fn bit_by_bit(bytes: &[u8], polynomial: u16, init: u16) -> u16 {
        bytes.iter().fold(init, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ polynomial } else { crc >> 1 })
        })
    }

    proptest! {
        #[test]
        fn the_tables_agree_with_the_definition_for_any_split(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let (head, tail) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(ARC.finish(ARC.update(ARC.update(ARC.start(), head), tail)), bit_by_bit(&bytes, 0xA001, 0));
            prop_assert_eq!(X25.of(&bytes), !bit_by_bit(&bytes, 0x8408, 0xFFFF));
        }
    }
}

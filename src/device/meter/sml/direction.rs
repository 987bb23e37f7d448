//! Which way the power flows: what meters get wrong about the sign, and the status word that tells.
//!
//! | meter | what it does | what is done |
//! |---|---|---|
//! | EMH ED300L and relatives | 15.7.0 is a size; the direction is bit 5 of the status word of the energy, bit 11 of a newer one | sign from the bit |
//! | DZG DVS74 below serial 60000000 | 328 to 655 W come as a negative number of two bytes | read without sign where the status word says import |
//! | DZG DVBS12, EFR SGM-DD | small negative powers come with a zero byte in front | sign-extended from the byte behind it where the status word says export |
//! | Holley DTZ541, Elster AS2020 | 16.7.0 is a size | sign from the status word |
//!
//! What these makers send of single phases has no bit that tells its direction: it is believed where it adds up to the
//! total.
//!
//! Sources: volkszaehler/libsml issues 59, 101, 105, 125, 162; atc1441/OBI_Energy_Tracker_Local_Cloud issue 59; the
//! Tasmota documentation of its Smart Meter Interface (option so1, bit 11 for the DTZ541) and its driver, which turns the
//! AS2020 round by the same bit; dumps of devZer0/libsml-testing
//! with known direction (ED300L: 0x0182 import, 0x01B0 export; DZG: 0x1C0104 import, 0x1C6904 export). Where a meter of
//! these makers sends no status word its number is taken as sent.

/// Bit of the older status words (EDL, 16 bits and their relatives): energy flows to the grid.
const EXPORT_EDL: u64 = 1 << 5;
/// Bit of the newer status words (FNN basic meters): active energy flows to the grid.
const EXPORT_FNN: u64 = 1 << 11;
/// Every FNN status word of the dumps has this bit and something above bit 19.
const FNN: u64 = 1 << 20;

/// The raw number of a meter's net power after what is known of its maker; `width` is the number of bytes it came in.
pub(super) fn net_power(maker: Option<&[u8]>, status: Option<u64>, raw: i64, width: u8) -> i64 {
    let Some(status) = status.filter(|status| status & FNN != 0) else { return raw };
    let export = status & EXPORT_FNN != 0;
    match maker {
        Some(b"DZG" | b"EFR") if !export => without_sign(raw, width),
        Some(b"DZG" | b"EFR") => sign_extended(raw, width),
        Some(b"HLY" | b"ELS") if export => -raw.saturating_abs(),
        _ => raw,
    }
}

/// A maker whose powers may come with wrong signs.
pub(super) fn is_suspect(maker: Option<&[u8]>) -> bool {
    matches!(maker, Some(b"DZG" | b"EFR" | b"HLY" | b"ELS"))
}

/// The raw number of a power that is sent as a size; `exports` and `imports` say which counters the meter has. `None`
/// where nothing tells the direction.
pub(super) fn absolute_power(status: Option<u64>, imports: bool, exports: bool, raw: i64) -> Option<i64> {
    match (imports, exports, status) {
        (true, false, None) => Some(raw),
        (false, true, _) => Some(-raw.saturating_abs()),
        (_, _, Some(status)) => {
            let export = if status & FNN != 0 { EXPORT_FNN } else { EXPORT_EDL };
            Some(if status & export != 0 { -raw.saturating_abs() } else { raw })
        }
        _ => None,
    }
}

/// A positive number that was cut to fewer bytes than its sign needs.
fn without_sign(raw: i64, width: u8) -> i64 {
    if raw < 0 && (1..=3).contains(&width) { raw + (1 << (8 * width)) } else { raw }
}

/// A negative number with a zero byte in front of it.
fn sign_extended(raw: i64, width: u8) -> i64 {
    if !(2..=4).contains(&width) {
        return raw;
    }
    let bits = 8 * (width - 1);
    if (1 << (bits - 1)..1 << bits).contains(&raw) { raw - (1 << bits) } else { raw }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMPORT: Option<u64> = Some(0x001C_0104);
    const EXPORT: Option<u64> = Some(0x001C_6904);

    #[test]
    fn the_numbers_that_were_reported() {
        let dzg = Some(&b"DZG"[..]);
        assert_eq!(net_power(dzg, IMPORT, -29_912, 2), 35_624);
        assert_eq!(net_power(dzg, IMPORT, 21_599, 2), 21_599);
        assert_eq!(net_power(dzg, EXPORT, -10_550, 2), -10_550);
        assert_eq!(net_power(dzg, Some(0x001C_7904), -78_851, 3), -78_851);
        assert_eq!(net_power(dzg, EXPORT, 60_852, 3), -4684);
        assert_eq!(net_power(Some(b"EFR"), EXPORT, 0xC7, 2), -57);
        for maker in [b"HLY", b"ELS"] {
            assert_eq!(net_power(Some(maker), Some(0x001C_0904), 376, 2), -376);
            assert_eq!(net_power(Some(maker), EXPORT, -376, 2), -376);
            assert_eq!(net_power(Some(maker), IMPORT, 376, 2), 376);
        }
    }

    #[test]
    fn without_a_reason_a_number_stays() {
        for maker in [None, Some(&b"ISK"[..])] {
            assert_eq!(net_power(maker, IMPORT, -29_912, 2), -29_912);
        }
        assert_eq!(net_power(Some(b"DZG"), None, -29_912, 2), -29_912);
        assert_eq!(net_power(Some(b"DZG"), Some(0x0182), -29_912, 2), -29_912);
        assert_eq!(net_power(Some(b"DZG"), IMPORT, -29_912, 4), -29_912);
        assert_eq!(net_power(Some(b"DZG"), EXPORT, 500, 2), 500);
        assert_eq!(net_power(Some(b"DZG"), IMPORT, i64::MIN, 8), i64::MIN);
        assert_eq!(net_power(Some(b"HLY"), EXPORT, i64::MIN + 1, 8), i64::MIN + 1);
    }

    #[test]
    fn a_size_gets_its_sign_from_the_status_word() {
        assert_eq!(absolute_power(Some(0x0182), true, false, 1371), Some(1371));
        assert_eq!(absolute_power(Some(0x01B0), true, false, 1266), Some(-1266));
        assert_eq!(absolute_power(Some(0x0001_0100), false, true, 43), Some(-43));
        // The newer words have the direction in another bit; their bit 5 says something else.
        assert_eq!(absolute_power(EXPORT, true, true, 100), Some(-100));
        assert_eq!(absolute_power(IMPORT, true, true, 100), Some(100));
        assert_eq!(absolute_power(Some(0x001C_0124), true, true, 100), Some(100));
        assert_eq!(absolute_power(None, true, false, 43), Some(43));
        assert_eq!(absolute_power(None, true, true, 43), None);
    }
}

//! The tar format (POSIX.1-2017, pax, "ustar Interchange Format"), regular files with short names only.

/// Everything is written in blocks of this size.
const BLOCK: usize = 512;
/// Bytes of a name without a prefix.
const MAX_NAME: usize = 100;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The whole file. Names must have at most 100 bytes, contents less than 8 GiB. `time`: unix s.
pub(super) fn write(entries: &[Entry], time: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for it in entries {
        debug_assert!(it.name.len() <= MAX_NAME);
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &it.name);
        // Only for the owner: there are secrets among them.
        put(100, "0000600\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", it.bytes.len()));
        put(136, &format!("{time:011o}\0"));
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\u{0}00");
        let sum = checksum(&header);
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&it.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

/// The files of a tar file.
///
/// # Errors
/// A sentence: where it is damaged, or what in it is none of ours.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut at = 0;
    loop {
        let header = bytes.get(at..at + BLOCK).ok_or_else(|| format!("it ends in the middle, at byte {at}"))?;
        if header.iter().all(|it| *it == 0) {
            return Ok(entries);
        }
        let sum = number(&header[148..156]).filter(|it| *it == u64::from(checksum(header)));
        if sum.is_none() || &header[257..262] != b"ustar" {
            return Err(format!("no tar file, or a damaged one: byte {at}"));
        }
        if header[156] != b'0' || header[345] != 0 {
            return Err(format!("byte {at}: something else than a plain file, which no backup of ours has"));
        }
        let name = header[..MAX_NAME].split(|it| *it == 0).next().unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| format!("byte {at}: a name that is no text"))?;
        let size = number(&header[124..136]).and_then(|it| usize::try_from(it).ok());
        let size = size.ok_or_else(|| format!("{name}: no size"))?;
        let begin = at + BLOCK;
        let end = begin.checked_add(size).ok_or_else(|| format!("{name}: no size"))?;
        let content = bytes.get(begin..end).ok_or_else(|| format!("{name}: it ends in the middle"))?;
        entries.push(Entry { name: name.to_owned(), bytes: content.to_vec() });
        at = end.next_multiple_of(BLOCK);
    }
}

/// Octal digits up to a blank or a zero byte.
fn number(field: &[u8]) -> Option<u64> {
    let digits = field.split(|it| matches!(it, 0 | b' ')).find(|it| !it.is_empty())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// The sum of the header's bytes, its own field counted as blanks.
fn checksum(header: &[u8]) -> u32 {
    let own = 148..156;
    header.iter().enumerate().map(|(at, byte)| u32::from(if own.contains(&at) { b' ' } else { *byte })).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, bytes: &[u8]) -> Entry {
        Entry { name: name.into(), bytes: bytes.into() }
    }

    #[test]
    fn what_is_damaged_is_refused_with_the_place() {
        let good = write(&[entry("a", b"x"), entry("b", &[7; 600])], 1_780_000_000);
        assert_eq!(good.len() % BLOCK, 0);
        let mut other = good.clone();
        other[5] = 1;
        for (bytes, part) in [
            (&good[..700], "ends in the middle"),
            (&good[..1700], "b: it ends in the middle"),
            (&other[..], "byte 0"),
            (b"PK\x03\x04", "ends in the middle"),
            (&[1; 600], "no tar file"),
        ] {
            let error = read(bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(files in prop::collection::vec(("[a-z0-9./-]{1,100}", prop::collection::vec(any::<u8>(), 0..1200)), 0..6)) {
            let entries: Vec<_> = files.iter().map(|(name, bytes)| entry(name, bytes)).collect();
            prop_assert_eq!(read(&write(&entries, 1_780_000_000)).unwrap(), entries);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..1600), at in 0..1536_usize, with: u8) {
            let _ = read(&bytes);
            let mut damaged = write(&[entry("a", b"x")], 0);
            if let Some(byte) = damaged.get_mut(at) {
                *byte = with;
            }
            let _ = read(&damaged);
        }
    }
}

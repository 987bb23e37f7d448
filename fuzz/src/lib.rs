//! The codecs, and nothing else of the program: they need no more, so a target is built in seconds and the fuzzer is
//! guided by their code alone.

use std::ops::Range;

#[path = "../../src/codec/mod.rs"]
pub mod codec;
#[path = "../../src/quantity.rs"]
pub mod quantity;

/// Where the bytes are cut, by their own content: the same bytes are always cut in the same places.
pub fn pieces(bytes: &[u8]) -> Vec<Range<usize>> {
    // FNV-1a to begin with, then xorshift64.
    let mut random = bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
        | 1;
    let longest = [1, 7, 64, 1024][(random >> 60) as usize % 4];
    let mut pieces = Vec::new();
    let mut begin = 0;
    while begin < bytes.len() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let end = bytes.len().min(begin + 1 + (random >> 32) as usize % longest);
        pieces.push(begin..end);
        begin = end;
    }
    pieces
}

/// Gives the pieces to a decoder, one behind the other; `one` takes one item from the bytes, as long as there is any. All
/// bytes must be taken.
pub fn in_pieces(
    data: &[u8],
    pieces: impl IntoIterator<Item = Range<usize>>,
    mut one: impl for<'a> FnMut(&mut &'a [u8]) -> bool,
) {
    for piece in pieces {
        let mut bytes = &data[piece];
        while one(&mut bytes) {}
        assert!(bytes.is_empty());
    }
}

/// Asserts what holds for every sample that a codec gives.
pub fn assert_sane(sample: &codec::sample::Sample) {
    for (quantity, value) in sample.iter() {
        let (low, high) = quantity.range();
        assert!(value.is_finite() && (low..=high).contains(&value), "{quantity:?} = {value}");
    }
    assert!(sample.notes.len() <= 100, "{} notes", sample.notes.len());
    assert!(sample.notes.iter().all(|it| it.len() <= 500), "{:?}", sample.notes);
}

/// The same JSON written in another way, where it is JSON: keys in order, no blanks. Numbers may differ in their last bit.
pub fn written_anew(body: &[u8]) -> Option<Vec<u8>> {
    let map = codec::json::object(body).ok()?;
    serde_json::to_vec(&map).ok()
}

/// Whether two samples say the same, but for the last bits of their numbers.
pub fn same(one: &codec::sample::Sample, other: &codec::sample::Sample) -> bool {
    let near = |(a, b): (f64, f64)| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9);
    one.iter().map(|it| it.0).eq(other.iter().map(|it| it.0))
        && one.iter().map(|it| it.1).zip(other.iter().map(|it| it.1)).all(near)
}

//! Bytes of an SML line, and the same bytes as an entry and as the content of frames of our own.
//!
//! In any pieces they give the same; every byte is in a frame, in an error or counted as discarded; memory is bounded;
//! a frame behind a silence is found at once; good frames written anew say the same.
#![no_main]

use gridkeeper_fuzz::codec::sml::{Decoder, Entry, Field, Frame, FrameError, MAX_FRAME, Value, encode, entry};
use gridkeeper_fuzz::{in_pieces, pieces};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, PartialEq)]
enum Seen {
    Frame { payload: Vec<u8>, length: usize, whole: bool, good: bool, discarded: u64 },
    Error(FrameError),
}

fn look(item: Result<Frame<'_>, FrameError>) -> Seen {
    let frame = match item {
        Ok(frame) => frame,
        Err(error) => return Seen::Error(error),
    };
    let mut entries = 0;
    for entry in frame.entries().flatten() {
        let _ = (entry.decimal(), entry.unit());
        entries += 1;
    }
    assert!(entries <= frame.payload().len(), "an entry has at least a byte");
    let good = frame.check().is_ok();
    if good {
        is_the_same_written_anew(&frame);
    }
    Seen::Frame {
        payload: frame.payload().to_vec(),
        length: frame.length(),
        whole: frame.crc().is_valid(),
        good,
        discarded: frame.discarded_bytes(),
    }
}

/// `None` for what our own writer does not write.
fn written(it: &Entry<'_>) -> Option<Vec<u8>> {
    let status = it.status.map(u32::try_from).transpose().ok()?;
    let value = match it.value {
        Value::Absent => Field::Absent,
        // It knows the shorter form of a length.
        Value::Octets(bytes) if bytes.len() > 200 => return None,
        Value::Octets(bytes) => Field::Octets(bytes),
        Value::Int(number, width) => Field::Int(number, width),
        Value::Uint(number, width) => Field::Uint(number, width),
        Value::Bool(_) | Value::List => return None,
    };
    // It writes a scaler beside a unit only, and both always.
    (it.unit_code.is_some() == it.scaler.is_some()).then_some(())?;
    Some(entry(it.obis, status, it.unit_code, it.scaler.unwrap_or(0), value))
}

fn is_the_same_written_anew(frame: &Frame<'_>) {
    let entries: Vec<Entry<'_>> = frame.entries().map(|it| it.expect("a checked frame")).collect();
    let Some(parts) = entries.iter().map(written).collect::<Option<Vec<_>>>() else { return };
    let bytes = encode(b"GKT", &parts);
    if bytes.len() > MAX_FRAME {
        return;
    }
    let mut decoder = Decoder::new();
    let again = decoder.decode(&mut &bytes[..]).expect("a frame").expect("a whole frame");
    assert_eq!(again.check(), Ok(()));
    assert_eq!(again.entries().map(Result::unwrap).collect::<Vec<_>>(), entries);
}

fn all(data: &[u8], pieces: impl IntoIterator<Item = std::ops::Range<usize>>) -> Vec<Seen> {
    let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
    in_pieces(data, pieces, |bytes| {
        let before = seen.len();
        seen.extend(decoder.decode(bytes).map(look));
        assert!(decoder.memory() <= 4 * MAX_FRAME, "{} bytes", decoder.memory());
        seen.len() > before
    });
    seen.extend(decoder.finish().map(Seen::Error));
    // One with a wrong check is looked through for the beginning of another, and its bytes count as discarded then.
    let framed: usize =
        seen.iter().map(|it| if let Seen::Frame { length, whole: true, .. } = it { *length } else { 0 }).sum();
    assert_eq!(framed as u64 + decoder.discarded_total(), data.len() as u64, "{seen:?}");
    let good = house(&[]);
    let found = decoder.decode(&mut &good[..]).expect("a frame").expect("a whole frame");
    assert_eq!((found.length(), found.check()), (good.len(), Ok(())));
    seen
}

/// A frame of our own with these bytes as one more entry, which its checks cover.
fn house(more: &[u8]) -> Vec<u8> {
    let energy = gridkeeper_fuzz::codec::obis::Obis::new(1, 0, 1, 8, 0);
    let mut entries = vec![entry(energy, Some(0x001C_0104), Some(30), -1, Field::Uint(123_456_789, 5))];
    entries.extend((!more.is_empty()).then(|| more.to_vec()));
    encode(b"GKT", &entries)
}

fuzz_target!(|data: &[u8]| {
    let whole = all(data, std::iter::once(0..data.len()));
    assert_eq!(whole, all(data, pieces(data)));
    let inside = house(data);
    if inside.len() <= MAX_FRAME {
        let seen = all(&inside, pieces(&inside));
        assert!(matches!(&seen[..], [Seen::Frame { discarded: 0, .. }]), "{seen:?}");
    }
});

//! Bytes of an optical port.
//!
//! In any pieces they give the same; no more is given than came; memory is bounded; a readout behind a silence is found
//! at once; a good readout says the same when it is framed with a BCC of our own, and with a parity bit on each byte.
#![no_main]

use gridkeeper_fuzz::codec::iec62056::{Decoder, FrameError, Item, MAX_READOUT, Readout, obis};
use gridkeeper_fuzz::{in_pieces, pieces};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, PartialEq)]
enum Seen {
    Readout { header: Vec<u8>, items: Vec<String>, good: bool, length: usize, discarded: u64 },
    Error(FrameError),
}

fn items(readout: &Readout<'_>) -> Vec<String> {
    let shown = |item: Item<'_>| match item {
        Item::DataSet(set) => format!("{:?} {:?} {:?} {set:?}", obis(set.address), set.number(), set.decimal()),
        Item::Unparsed(line) => format!("{line:?}"),
    };
    readout.items().map(shown).collect()
}

fn look(item: Result<Readout<'_>, FrameError>) -> Seen {
    let readout = match item {
        Ok(readout) => readout,
        Err(error) => return Seen::Error(error),
    };
    let identification = readout.identification().expect("a readout has a header");
    let _ = (identification.mode(), identification.reaction_ms());
    Seen::Readout {
        header: readout.header().to_vec(),
        items: items(&readout),
        good: readout.check().is_ok(),
        length: readout.length(),
        discarded: readout.discarded_bytes(),
    }
}

/// Identification, and data sets as they are said to be, between STX and ETX.
fn framed(header: &[u8], lines: &[u8]) -> Vec<u8> {
    let body = [lines, b"!\r\n\x03"].concat();
    let bcc = body.iter().fold(0, |sum, byte| sum ^ byte);
    [header, b"\r\n\x02", &body, &[bcc]].concat()
}

fn with_parity(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte | u8::from(byte.count_ones() % 2 == 1) << 7).collect()
}

fn one(bytes: &[u8]) -> Seen {
    let (mut decoder, mut rest) = (Decoder::new(), bytes);
    look(decoder.decode(&mut rest).expect("a readout"))
}

/// What stands in the brackets of a meter: no line ends, nothing that ends a readout, seven bits.
fn comes_back(data: &[u8]) {
    let usual = |byte: &u8| (b' '..0x7F).contains(byte) && !b"()/!".contains(byte);
    let text: Vec<u8> = data.iter().copied().filter(usual).take(200).collect();
    let lines = [b"1.8.0(", &text[..], b")\r\n0.0(", &text, b")\r\n"].concat();
    let plain = framed(b"/GKT5TEST", &lines);
    let seen = one(&plain);
    assert!(matches!(&seen, Seen::Readout { good: true, items, discarded: 0, .. } if items.len() == 2), "{seen:?}");
    let masked = one(&with_parity(&plain));
    assert_eq!(seen, masked);
    let pushed = one(&[b"/GKT5TEST\r\n\r\n", &lines[..], b"!\r\n"].concat());
    assert!(
        matches!((&seen, &pushed), (Seen::Readout { items: a, .. }, Seen::Readout { items: b, good: true, .. }) if a == b)
    );
}

fn all(data: &[u8], pieces: impl IntoIterator<Item = std::ops::Range<usize>>) -> Vec<Seen> {
    let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
    in_pieces(data, pieces, |bytes| {
        let before = seen.len();
        seen.extend(decoder.decode(bytes).map(look));
        assert!(decoder.memory() <= 3 * MAX_READOUT, "{} bytes", decoder.memory());
        seen.len() > before
    });
    seen.extend(decoder.finish().map(look));
    assert!(!decoder.is_waiting());
    let given = seen.iter().map(|it| match it {
        Seen::Readout { length, discarded, .. } => *length as u64 + discarded,
        Seen::Error(_) => 0,
    });
    assert!(given.sum::<u64>() <= data.len() as u64);
    assert!(decoder.discarded_total() <= data.len() as u64);
    let good = framed(b"/GKT5TEST", b"1.8.0(061561.289*kWh)\r\n");
    let found = look(decoder.decode(&mut &good[..]).expect("a readout"));
    assert!(matches!(found, Seen::Readout { good: true, .. }), "{found:?}");
    seen
}

fuzz_target!(|data: &[u8]| {
    let whole = all(data, std::iter::once(0..data.len()));
    assert_eq!(whole, all(data, pieces(data)));
    comes_back(data);
});

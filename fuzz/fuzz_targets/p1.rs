//! Bytes of a P1 line, with and without keys.
//!
//! In any pieces they give the same; no more is given than came; memory is bounded; what is passed on is taken for the
//! same by the next reader; after a silence the next telegram is found at once, without one at the latest when twice the
//! longest telegram has passed; and any lines in a telegram of our own come back as they were.
#![no_main]

use gridkeeper_fuzz::codec::p1::{Decoder, FrameError, Keys, MAX_TELEGRAM, Telegram, encode};
use gridkeeper_fuzz::codec::value::{MeterTime, number};
use gridkeeper_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

const KEYS: Keys = Keys { key: [7; 16], auth_key: None };

#[derive(Debug, PartialEq)]
enum Seen {
    Telegram { bytes: Vec<u8>, given: String, good: bool, discarded: u64 },
    Error(FrameError),
}

fn look(item: Result<Telegram<'_>, FrameError>) -> Seen {
    let telegram = match item {
        Ok(telegram) => telegram,
        Err(error) => return Seen::Error(error),
    };
    for object in telegram.objects() {
        for arg in object.args() {
            let _ = (number(arg), MeterTime::parse(arg));
        }
    }
    Seen::Telegram {
        bytes: telegram.bytes().to_vec(),
        given: telegram.crc().given(),
        good: telegram.check().is_ok(),
        discarded: telegram.discarded_bytes(),
    }
}

fn feed(decoder: &mut Decoder, keys: Option<&Keys>, mut bytes: &[u8], mut each: impl FnMut(Seen)) {
    while let Some(item) = decoder.decode(&mut bytes) {
        if let Ok(telegram) = &item
            && telegram.check().is_ok()
        {
            is_the_same_to_another_reader(telegram, keys);
        }
        each(look(item));
    }
    assert!(bytes.is_empty());
    assert!(decoder.memory() <= 3 * MAX_TELEGRAM, "{} bytes", decoder.memory());
}

fn is_the_same_to_another_reader(telegram: &Telegram<'_>, keys: Option<&Keys>) {
    let passed = telegram.to_pass_on();
    let (mut other, mut rest) = (Decoder::new(keys.cloned()), &passed[..]);
    let again = other.decode(&mut rest).expect("a telegram").expect("a good telegram");
    assert_eq!((again.check(), again.bytes()), (Ok(()), telegram.bytes()));
}

fn all(keys: Option<Keys>, data: &[u8], pieces: impl IntoIterator<Item = std::ops::Range<usize>>) -> Vec<Seen> {
    let (mut decoder, mut seen) = (Decoder::new(keys.clone()), Vec::new());
    for piece in pieces {
        feed(&mut decoder, keys.as_ref(), &data[piece], |it| seen.push(it));
    }
    // The line goes on without a pause: only what a broken telegram may swallow is lost.
    let good = encode("/GKT5TEST", ["1-3:0.2.8(50)", "1-0:1.7.0(01.193*kW)"]);
    if data.first().is_some_and(|it| it % 64 == 0) {
        let mut found = 0;
        for _ in 0..2 * MAX_TELEGRAM / good.len() + 2 {
            feed(&mut decoder, keys.as_ref(), &good, |it| {
                found += u32::from(matches!(it, Seen::Telegram { good: true, .. }))
            });
        }
        assert!(found > 0, "never found again");
    }
    seen.extend(decoder.finish().map(look));
    assert!(!decoder.is_waiting());
    let given = seen.iter().map(|it| match it {
        Seen::Telegram { bytes, discarded, .. } => bytes.len() as u64 + discarded,
        Seen::Error(_) => 0,
    });
    assert!(data.first().is_some_and(|it| it % 64 == 0) || given.sum::<u64>() <= data.len() as u64);
    // After a pause nothing at all is lost.
    let mut found = Vec::new();
    feed(&mut decoder, keys.as_ref(), &good, |it| found.push(it));
    assert!(matches!(&found[..], [Seen::Telegram { good: true, bytes, .. }] if good.starts_with(bytes)), "{found:?}");
    seen
}

fn comes_back(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What begins a telegram, ends one, or is a line end would be taken for it.
    let plain = |line: &&str| !line.is_empty() && !line.starts_with(['!', '/']) && !line.contains('\r');
    let lines: Vec<&str> = text.lines().filter(plain).collect();
    let telegram = encode("/GKT5FUZZ", &lines);
    if telegram.len() + 8 > MAX_TELEGRAM {
        return;
    }
    let (mut decoder, mut rest) = (Decoder::new(None), &telegram[..]);
    let found = decoder.decode(&mut rest).expect("a telegram").expect("a whole telegram");
    // All but four digits and a line end.
    assert_eq!((found.check(), found.bytes(), found.discarded_bytes()), (Ok(()), &telegram[..telegram.len() - 6], 0));
}

fuzz_target!(|data: &[u8]| {
    for keys in [None, Some(KEYS)] {
        let whole = all(keys.clone(), data, std::iter::once(0..data.len()));
        assert_eq!(whole, all(keys, data, pieces(data)));
    }
    comes_back(data);
});

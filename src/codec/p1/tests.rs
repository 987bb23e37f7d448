//! The decoder against streams: any pieces, any damage, bounded.

use proptest::prelude::*;

use super::*;

/// A buffer for what is received and one for what was decrypted or cleaned.
const MEMORY: usize = 3 * MAX_TELEGRAM;

/// An owned picture of what a decoder gave, for comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Telegram { bytes: Vec<u8>, complete: bool, verdict: Verdict, discarded: u64 },
    Error(FrameError),
}

impl Seen {
    fn of(item: Result<Telegram<'_>, FrameError>) -> Self {
        match item {
            Ok(telegram) => Self::Telegram {
                bytes: telegram.bytes().to_vec(),
                complete: telegram.is_complete(),
                verdict: telegram.crc().verdict,
                discarded: telegram.discarded_bytes(),
            },
            Err(error) => Self::Error(error),
        }
    }
}

fn all_in_pieces<'a>(keys: Option<Keys>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(keys);
    let mut seen = Vec::new();
    for mut piece in pieces {
        while let Some(item) = decoder.decode(&mut piece) {
            seen.push(Seen::of(item));
        }
        assert!(piece.is_empty());
    }
    seen.extend(decoder.finish().map(Seen::of));
    assert!(!decoder.is_waiting());
    seen
}

fn all(bytes: &[u8]) -> Vec<Seen> {
    all_in_pieces(None, [bytes])
}

/// Readings: telegrams that pass their check, as text.
fn accepted(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new(None);
    let mut rest = bytes;
    let mut accepted = Vec::new();
    while let Some(item) = decoder.decode(&mut rest) {
        accepted
            .extend(item.ok().filter(|telegram| telegram.check().is_ok()).map(|telegram| telegram.bytes().to_vec()));
    }
    if let Some(Ok(telegram)) = decoder.finish()
        && telegram.check().is_ok()
    {
        accepted.push(telegram.bytes().to_vec());
    }
    accepted
}

fn telegram(second: u32) -> Vec<u8> {
    encode(
        "/GKT5TEST",
        [
            "1-3:0.2.8(50)".to_owned(),
            format!("0-0:1.0.0(2407021430{second:02}S)"),
            "1-0:1.8.1(001234.567*kWh)".to_owned(),
            "1-0:1.7.0(01.193*kW)".to_owned(),
            "1-0:2.7.0(00.000*kW)".to_owned(),
            "1-0:31.7.0(005*A)".to_owned(),
        ],
    )
}

fn whole(bytes: &[u8], discarded: u64) -> Seen {
    let mark = bytes.iter().rposition(|&byte| byte == b'!').unwrap();
    Seen::Telegram { bytes: bytes[..=mark].to_vec(), complete: true, verdict: Verdict::Valid, discarded }
}

#[test]
fn a_cut_telegram_gives_way_to_the_next_header() {
    let (one, two) = (telegram(1), telegram(2));
    let at_line_start = one.iter().rposition(|&byte| byte == b'!').unwrap();
    let stream = [&one[..at_line_start], &two[..]].concat();
    assert_eq!(
        all(&stream),
        [
            Seen::Error(FrameError::CutShort { bytes: at_line_start }),
            whole(&two, one[..at_line_start].iter().filter(|b| !b"\r\n".contains(b)).count() as u64)
        ]
    );
    // In the middle of a line only the CRC tells where the second one begins.
    let stream = [&one[..at_line_start - 5], &two[..]].concat();
    let seen = all(&stream);
    assert_eq!(seen.len(), 1);
    assert!(matches!(&seen[0], Seen::Telegram { bytes, verdict: Verdict::Valid, .. } if two.starts_with(bytes)));
}

#[test]
fn silence_closes_what_is_open() {
    let one = telegram(1);
    let mark = one.iter().rposition(|&byte| byte == b'!').unwrap();
    let seen = all(&one[..mark]);
    assert!(matches!(&seen[..], [Seen::Telegram { complete: false, verdict: Verdict::Absent, .. }]));
    assert_eq!(accepted(&one[..mark]), Vec::<Vec<u8>>::new());
    // Without the line end, and with one digit lost at the end.
    assert_eq!(all(&one[..mark + 5]), [whole(&one, 0)]);
    assert!(matches!(&all(&one[..mark + 4])[..], [Seen::Telegram { complete: true, verdict: Verdict::Invalid, .. }]));
    assert_eq!(all(b"/GKT"), []);
}

#[test]
fn a_four_digit_crc_needs_no_byte_behind_it() {
    let one = telegram(1);
    let mut decoder = Decoder::new(None);
    let mut bytes = &one[..one.len() - 2];
    assert!(decoder.decode(&mut bytes).unwrap().unwrap().check().is_ok());
}

#[test]
fn ten_megabytes_are_dropped_and_counted_and_the_next_telegram_is_found() {
    for filler in [&b"1-0:1.7.0(01.193*kW)\r\n"[..], b"x", b"\xFF", b"/", b"\n/", b"\n!!!"] {
        let mut decoder = Decoder::new(None);
        let mut errors = 0;
        let mut feed = |decoder: &mut Decoder, bytes: &[u8]| {
            let mut bytes = bytes;
            let mut good = 0_u32;
            while let Some(item) = decoder.decode(&mut bytes) {
                match item {
                    Ok(telegram) if telegram.check().is_ok() => good += 1,
                    Ok(_) | Err(_) => errors += 1,
                }
            }
            good
        };
        assert_eq!(feed(&mut decoder, b"/GKT5TEST\r\n\r\n"), 0);
        let block = filler.repeat(65_536 / filler.len());
        // In full for one of them; a tenth shows the same for the others.
        for _ in 0..if filler == b"x" { 160 } else { 16 } {
            assert_eq!(feed(&mut decoder, &block), 0);
        }
        assert!(decoder.memory() <= MEMORY, "{}", decoder.memory());
        assert_eq!(feed(&mut decoder, &[b"\r\n", &telegram(3)[..]].concat()), 1);
        assert!(decoder.discarded_total() > 500_000, "{}", decoder.discarded_total());
        assert!((1..10).contains(&errors), "{errors}");
    }
}

#[test]
fn the_longest_legal_text_passes() {
    let text = format!("0-0:96.13.0({})", "30".repeat(1024));
    let long = encode("/GKT5TEST", ["0-0:1.0.0(240702143001S)", &text]);
    assert_eq!(accepted(&long).len(), 1);
}

#[test]
fn a_version_with_crc_is_not_believed_without() {
    let mut bytes = telegram(1);
    let mark = bytes.iter().rposition(|&byte| byte == b'!').unwrap();
    bytes.truncate(mark + 1);
    bytes.extend_from_slice(b"\r\n");
    assert_eq!(accepted(&bytes), Vec::<Vec<u8>>::new());
    let old = b"/GKT5OLD\r\n\r\n1-0:1.8.1(00001.000*kWh)\r\n1-0:1.7.0(0001.42*kW)\r\n!\r\n";
    assert_eq!(accepted(old).len(), 1);
    let broken = b"/GKT5OLD\r\n\r\n1-0:1.8.1(00001.000*kWh)\r\n1-0:1.7.0(0001.42*k\r\n!\r\n";
    assert_eq!(accepted(broken).len(), 0);
}

#[test]
fn the_rejection_names_both_checksums() {
    let mut bytes = telegram(1);
    let computed = String::from_utf8(bytes[bytes.len() - 6..bytes.len() - 2].to_vec()).unwrap();
    let at = bytes.len() - 6;
    bytes[at..at + 4].copy_from_slice(b"1234");
    let mut decoder = Decoder::new(None);
    let mut rest = &bytes[..];
    let rejection = decoder.decode(&mut rest).unwrap().unwrap().check().unwrap_err();
    assert_eq!(rejection.to_string(), format!("telegram with wrong CRC (given 1234, computed {computed})"));
}

const KEYS: Keys = Keys { key: [7; 16], auth_key: None };

#[test]
fn sealed_telegrams_are_opened_found_by_length_and_resynchronised() {
    let envelope = |second, counter| seal(&telegram(second), &KEYS, *b"GKTESTER", counter).unwrap();
    let stream = [&envelope(1, 1)[100..], &envelope(2, 2), b"noise", &envelope(3, 3)].concat();
    let seen = all_in_pieces(Some(KEYS), [&stream[..]]);
    let valid = |seen: &[Seen]| {
        seen.iter().filter(|seen| matches!(seen, Seen::Telegram { verdict: Verdict::Valid, .. })).count()
    };
    assert_eq!(valid(&seen), 2, "{seen:?}");
    // A byte lost inside one costs that one only.
    let mut damaged = [envelope(1, 1), envelope(2, 2), envelope(3, 3)].concat();
    damaged.remove(60);
    let seen = all_in_pieces(Some(KEYS), [&damaged[..]]);
    assert_eq!(valid(&seen), 2, "{seen:?}");
    assert!(matches!(seen[0], Seen::Error(FrameError::WrongKey { .. })));
    // The same with a byte lost behind the end mark, where only the telegram's CRC digits are hit.
    let (one, two) = (envelope(1, 1), envelope(2, 2));
    let mut damaged = [&one[..], &two].concat();
    damaged.remove(one.len() - 17);
    let seen = all_in_pieces(Some(KEYS), [&damaged[..]]);
    assert!(
        matches!(seen[0], Seen::Telegram { complete: true, verdict: Verdict::Invalid, discarded: 0, .. }),
        "{seen:?}"
    );
    assert_eq!(seen[1], whole(&telegram(2), 0));
    // Without a key every one is named, with a wrong one too.
    let two = [envelope(1, 1), envelope(2, 2)].concat();
    let nameless = all(&two);
    assert!(nameless.iter().all(|seen| matches!(seen, Seen::Error(FrameError::NoKey { .. }))) && nameless.len() == 2);
    let wrong = all_in_pieces(Some(Keys { key: [8; 16], auth_key: None }), [&two[..]]);
    assert!(wrong.iter().all(|seen| matches!(seen, Seen::Error(FrameError::WrongKey { .. }))) && wrong.len() == 2);
}

#[test]
fn the_tag_is_held_against_a_given_authentication_key_only() {
    let other = Keys { auth_key: Some([9; 16]), ..KEYS };
    let envelope = seal(&telegram(1), &other, *b"GKTESTER", 1).unwrap();
    let check = |keys: Keys| {
        let mut decoder = Decoder::new(Some(keys));
        let mut rest = &envelope[..];
        let telegram = decoder.decode(&mut rest).unwrap().unwrap();
        (telegram.seal().unwrap().tag, telegram.check())
    };
    assert_eq!(check(other.clone()), (TagCheck::Verified, Ok(())));
    assert_eq!(check(KEYS), (TagCheck::NotVerified, Ok(())));
    assert_eq!(check(Keys { auth_key: Some([1; 16]), ..KEYS }), (TagCheck::Wrong, Err(Rejection::WrongTag)));
    assert!(!format!("{other:?}").contains('9'));
}

#[test]
fn rubbish_is_told_apart() {
    let hint = |bytes: Vec<u8>| {
        let mut decoder = Decoder::new(None);
        let mut rest = &bytes[..];
        while let Some(item) = decoder.decode(&mut rest) {
            let _ = item;
        }
        decoder.hint()
    };
    let text = telegram(1).repeat(3);
    let with_parity = |odd: u32| text.iter().map(|&byte| byte | (((byte.count_ones() + odd) % 2) << 7) as u8).collect();
    assert_eq!(hint(with_parity(0)), Some(Hint::EvenParity));
    assert_eq!(hint(with_parity(1)), Some(Hint::OddParity));
    assert_eq!(hint((0..2000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()), Some(Hint::NoText));
    let hdlc = [
        &[0x7E, 0xA0, 0x84, 0x02, 0x01, 0x13, 0x00, 0x0F][..],
        &[0x11, 0x07, 0xE8, 0x0C].repeat(15),
        &[0x09, 0x0C, 0x7E],
    ]
    .concat();
    assert_eq!(hint(hdlc.repeat(10)), Some(Hint::Dlms));
    assert_eq!(hint(text[20..].to_vec()), None);
    // The tail of a long telegram is no reason to suspect the line.
    assert_eq!(hint(b"1-0:1.7.0(01.193*kW)\r\n".repeat(100)), None);
}

/// Pieces of streams that are likely to matter.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0_u32..60).prop_map(telegram),
        2 => (0_u32..60, 0_usize..150).prop_map(|(second, length)| telegram(second)[..length].to_vec()),
        2 => (0_u32..60, 0_usize..150).prop_map(|(second, start)| telegram(second)[start..].to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"/GKT5OLD\r\n\r\n1-0:1.7.0(0001.42*kW)\r\n!\r\n".to_vec()),
        1 => Just(b"\r\n!\r\n".to_vec()),
        1 => Just(b"\r\n/ABC5\r\n".to_vec()),
        1 => Just(vec![0xFF, 0xFB, 0x2C, 0xFF, 0xFD, 0x00]),
        1 => Just(seal(&telegram(9), &KEYS, *b"GKTESTER", 9).unwrap()),
        1 => (0_usize..60).prop_map(|length| seal(&telegram(9), &KEYS, *b"GKTESTER", 9).unwrap()[..length].to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_pieces_give_the_same_and_never_more_than_was_sent(
        stream in prop::collection::vec(fragments(), 0..12),
        cuts in prop::collection::vec(0_usize..4000, 0..40),
        keyed in any::<bool>(),
    ) {
        let stream = stream.concat();
        let keys = keyed.then_some(KEYS);
        let mut places: Vec<usize> = cuts.iter().map(|&cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| &stream[pair[0]..pair[1]]);
        let seen = all_in_pieces(keys.clone(), pieces);
        prop_assert_eq!(&seen, &all_in_pieces(keys.clone(), [&stream[..]]));
        prop_assert_eq!(&seen, &all_in_pieces(keys, stream.chunks(1)));
        let given: usize = seen.iter().map(|seen| match seen {
            Seen::Telegram { bytes, discarded, .. } => bytes.len() + *discarded as usize,
            Seen::Error(_) => 0,
        }).sum();
        prop_assert!(given <= stream.len());
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
        let mut decoder = Decoder::new(Some(KEYS));
        let mut rest = &bytes[..];
        while let Some(item) = decoder.decode(&mut rest) {
            if let Ok(telegram) = item {
                for object in telegram.objects() {
                    let _ = object.content().decimal();
                }
            }
        }
        prop_assert!(decoder.memory() <= MEMORY);
    }

    #[test]
    fn a_changed_byte_never_gives_another_reading(second in 0_u32..60, at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let sent = telegram(second);
        let mark = sent.iter().rposition(|&byte| byte == b'!').unwrap();
        let mut received = sent.clone();
        let at = at.index(sent.len());
        prop_assume!(received[at] != to);
        received[at] = to;
        for accepted in accepted(&received) {
            prop_assert_eq!(&accepted[..], &sent[..=mark]);
        }
    }

    #[test]
    fn whatever_precedes_a_telegram_the_second_of_two_is_found(noise in prop::collection::vec(fragments(), 0..6)) {
        // The first of them may be taken for the rest of something cut, the second cannot.
        let stream = [&noise.concat()[..], b"\r\n", &telegram(1), &telegram(2)].concat();
        let last = telegram(2);
        let mark = last.iter().rposition(|&byte| byte == b'!').unwrap();
        prop_assert!(accepted(&stream).contains(&last[..=mark].to_vec()));
    }
}

#[test]
fn every_single_changed_byte_is_noticed() {
    let sent = telegram(7);
    let mark = sent.iter().rposition(|&byte| byte == b'!').unwrap();
    for at in 0..sent.len() {
        for to in [b'0', b'9', b'/', b'!', b'\r', b'\n', b'(', b')', b'.', 0, 0xFF, sent[at] ^ 1, sent[at] ^ 0x80] {
            let mut received = sent.clone();
            if received[at] == to {
                continue;
            }
            received[at] = to;
            for accepted in accepted(&received) {
                assert_eq!(accepted, sent[..=mark], "byte {at} to {to:#x}");
            }
        }
    }
}

#[test]
fn what_is_passed_on_is_what_came() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/p1");
    let (mut found, mut sealed) = (0, 0);
    let sealed_stream = seal(&telegram(1), &KEYS, *b"GKTESTER", 5).unwrap();
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let files = files.filter(|it| it.extension().is_some_and(|it| it == "p1"));
    let streams = files.map(|it| std::fs::read(it).unwrap()).chain([sealed_stream]);
    for mut stream in streams {
        // A file may end with the last digit.
        stream.extend_from_slice(b"\r\n");
        let mut decoder = Decoder::new(Some(KEYS));
        let mut rest = &stream[..];
        while let Some(item) = decoder.decode(&mut rest) {
            let Some(telegram) = item.ok().filter(|it| it.check().is_ok()) else { continue };
            let passed = telegram.to_pass_on();
            let telnet = telegram.crc().verdict == Verdict::ValidAfter(Repair::Telnet);
            let end = passed.iter().rposition(|it| !b"\r\n".contains(it)).unwrap();
            assert!(telnet || stream.windows(end + 1).any(|it| *it == passed[..=end]));
            // Another reader takes it for the same.
            let mut other = Decoder::new(Some(KEYS));
            let mut again = &passed[..];
            let second = other.decode(&mut again).unwrap().unwrap();
            assert_eq!((second.bytes(), second.check()), (telegram.bytes(), Ok(())));
            assert!(telnet || second.crc() == telegram.crc());
            found += 1;
            sealed += usize::from(telegram.seal().is_some());
        }
    }
    assert!(found > 20 && sealed == 1, "{found} telegrams, {sealed} sealed");
}

/// Heads of envelopes in each other, every one as long as what follows: nobody but who wants to cost time sends that.
#[test]
fn nested_envelopes_cost_no_more_than_what_was_sent() {
    let mut nested = Vec::new();
    while nested.len() < 6 * MAX_TELEGRAM {
        let length = u16::try_from(MAX_TELEGRAM - 20).unwrap().to_be_bytes();
        nested.extend([0xDB, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x82, length[0], length[1], 0x30]);
    }
    let sealed = seal(&telegram(3), &KEYS, *b"GKTESTER", 3).unwrap();
    let stream = [&nested[..], &[0; MAX_TELEGRAM], &sealed[..]].concat();
    let seen = all_in_pieces(Some(KEYS), [&stream[..]]);
    let tried: usize =
        seen.iter().map(|it| if let Seen::Error(FrameError::WrongKey { bytes }) = it { *bytes } else { 0 }).sum();
    assert!(tried > nested.len() && tried < 6 * stream.len(), "{tried} of {}", stream.len());
    let last = seen.last().unwrap();
    assert!(matches!(last, Seen::Telegram { verdict: Verdict::Valid, .. }), "{last:?}");
    assert_eq!(seen, all_in_pieces(Some(KEYS), stream.chunks(1)), "however it comes");
}

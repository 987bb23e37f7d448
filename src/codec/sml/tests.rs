//! Frames through the decoder, whole, split, damaged and hostile.

use proptest::prelude::*;

use super::encode::frame;
use super::*;
use crate::codec::obis::Obis;
use crate::codec::value::{Decimal, Unit};

const POWER: Obis = Obis::new(1, 0, 16, 7, 0);
const ENERGY: Obis = Obis::new(1, 0, 1, 8, 0);

fn house() -> Vec<u8> {
    encode(
        b"\x0A\x01GKT\x00\x00\x00\x00\x01",
        &[
            entry(Obis { f: 1, ..Obis::new(1, 0, 96, 50, 1) }, None, None, 0, Field::Octets(b"GKT")),
            entry(ENERGY, Some(0x001C_0104), Some(30), -1, Field::Uint(123_456_789, 5)),
            entry(POWER, None, Some(27), -2, Field::Int(-10_550, 2)),
        ],
    )
}

/// A frame as codes with their numbers.
type Numbers = Vec<(Obis, Option<Decimal>)>;

/// Every frame of a stream that passes its check, and the errors.
fn heard(decoder: &mut Decoder, mut bytes: &[u8]) -> (Vec<Numbers>, Vec<String>) {
    let (mut frames, mut errors) = (Vec::new(), Vec::new());
    while let Some(item) = decoder.decode(&mut bytes) {
        match item {
            Ok(frame) => match frame.check() {
                Ok(()) => {
                    frames.push(frame.entries().map(|entry| entry.unwrap()).map(|it| (it.obis, it.decimal())).collect())
                }
                Err(rejection) => errors.push(rejection.to_string()),
            },
            Err(error) => errors.push(error.to_string()),
        }
    }
    (frames, errors)
}

fn good(bytes: &[u8]) -> usize {
    heard(&mut Decoder::new(), bytes).0.len()
}

#[test]
fn a_frame_holds_numbers_with_their_unit_and_power_of_ten() {
    let bytes = house();
    let mut decoder = Decoder::new();
    let frame = decoder.decode(&mut &bytes[..]).unwrap().unwrap();
    frame.check().unwrap();
    assert_eq!((frame.length(), frame.discarded_bytes()), (bytes.len(), 0));
    let entries: Vec<_> = frame.entries().map(|entry| entry.unwrap()).collect();
    assert_eq!(entries[0].value, Value::Octets(b"GKT"));
    assert_eq!(entries[1].status, Some(0x001C_0104));
    assert_eq!(entries[1].decimal(), Some(Decimal { mantissa: 123_456_789, decimals: 1 }));
    assert_eq!(entries[1].unit(), Some(Unit::WattHour(0)));
    assert_eq!(entries[2].decimal(), Some(Decimal { mantissa: -10_550, decimals: 2 }));
    let mut all = frame.entries();
    assert_eq!(all.by_ref().count(), 3);
    assert_eq!(all.messages(), 3);
}

#[test]
fn a_positive_power_of_ten_and_a_number_beyond_any_meter() {
    let kilo = Entry { obis: ENERGY, status: None, unit_code: Some(30), scaler: Some(3), value: Value::Uint(2043, 2) };
    assert_eq!(kilo.decimal(), Some(Decimal { mantissa: 2_043_000, decimals: 0 }));
    assert_eq!(Entry { value: Value::Uint(u64::MAX, 8), ..kilo }.decimal(), None);
    assert_eq!(Entry { value: Value::Int(i64::MAX, 8), ..kilo }.decimal(), None);
    assert_eq!(Entry { scaler: Some(-128), ..kilo }.decimal(), None);
    assert_eq!(Entry { scaler: Some(127), ..kilo }.decimal(), None);
    assert_eq!(Entry { value: Value::Octets(b""), ..kilo }.decimal(), None);
}

#[test]
fn escape_sequences_inside_are_undone_wherever_they_stand() {
    for payload in [
        &[0x1B; 4][..],
        &[0x1B; 5],
        &[0x1B; 8],
        &[0x1B; 9],
        &[7, 0x1B, 0x1B, 0x1B, 0x1B, 7],
        &[7, 7, 7, 0x1B],
        &[7, 7, 0x1B, 0x1B, 0x1B],
        &[0x1B, 0x1B, 0x1B, 0x1B, 1, 1, 1, 1],
        &[0x1B, 0x1B, 0x1B, 0x1B, 0x1A, 0, 0, 0],
        &[],
    ] {
        let bytes = frame(payload);
        for piece in [1, 2, 3, 5, bytes.len()] {
            let mut decoder = Decoder::new();
            let mut found = Vec::new();
            for mut piece in bytes.chunks(piece) {
                while let Some(item) = decoder.decode(&mut piece) {
                    found.push(item.unwrap().payload().to_vec());
                }
            }
            assert_eq!(found, [payload.to_vec()], "{payload:02X?}");
            assert_eq!(decoder.discarded_total(), 0);
        }
    }
}

#[test]
fn damage_costs_one_frame_and_never_gives_a_reading() {
    let one = house();
    for at in 0..one.len() {
        let mut lost = one.clone();
        lost.remove(at);
        assert_eq!(good(&lost), 0, "byte {at} lost");
        let mut changed = one.clone();
        changed[at] ^= 0x20;
        assert_eq!(good(&changed), 0, "byte {at} changed");
        // Whatever is lost, the frame behind it is found; only its own first bytes can take it along.
        for broken in [&lost, &changed] {
            let stream = [&broken[..], &one, &one].concat();
            assert_eq!(good(&stream), 2, "byte {at}");
        }
    }
}

#[test]
fn noise_between_frames_is_counted() {
    let one = house();
    let stream = [&one[5..], &[0xFF; 3], &one, &[0; 2], &one, &one[..20]].concat();
    let mut decoder = Decoder::new();
    assert_eq!(heard(&mut decoder, &stream).0.len(), 2);
    assert_eq!(decoder.finish(), Some(FrameError::CutShort { bytes: 20 }));
    assert_eq!(decoder.discarded_total(), (one.len() - 5 + 3 + 2 + 20) as u64);
    assert_eq!(decoder.finish(), None);
}

#[test]
fn an_endless_frame_is_given_up_in_bounded_memory() {
    let mut decoder = Decoder::new();
    let (frames, errors) = heard(&mut decoder, &[&house()[..40], &[7; 3 * MAX_FRAME], &house()[..]].concat());
    assert_eq!((frames.len(), errors.len()), (1, 1), "{errors:?}");
    assert!(decoder.memory() <= 3 * MAX_FRAME);
    // Escaped sequences all along.
    let doubled = frame(&[0x1B; MAX_FRAME]);
    heard(&mut decoder, &doubled.repeat(4));
    assert!(decoder.memory() <= 4 * MAX_FRAME, "{}", decoder.memory());
}

#[test]
fn a_message_may_carry_the_check_of_kermit_or_a_shrunk_one() {
    let bytes = house();
    let mut decoder = Decoder::new();
    let payload = decoder.decode(&mut &bytes[..]).unwrap().unwrap().payload().to_vec();
    // The last message: 76 02 03 62 00 62 00 72 63 02 01 71 01 63 xx xx 00.
    let crc_at = payload.len() - 4;
    assert_eq!(payload[crc_at], 0x63);
    let begin = crc_at - 13;
    let kermit = crate::codec::crc::KERMIT.of(&payload[begin..crc_at]).to_le_bytes();
    let mut holley = payload.clone();
    holley[crc_at + 1..crc_at + 3].copy_from_slice(&kermit);
    assert_eq!(good(&frame(&holley)), 1);
    holley[crc_at + 1] ^= 1;
    assert_eq!(good(&frame(&holley)), 0);

    // A transaction id for which the first stored byte is zero, which the meter then leaves out.
    let shrunk = (0..=u16::MAX)
        .find_map(|id| {
            let mut message = payload[begin..crc_at].to_vec();
            message.splice(1..3, [0x03, (id >> 8) as u8, id as u8]);
            let [low, high] = crate::codec::crc::X25.of(&message).to_le_bytes();
            message.extend([0x62, high, 0]);
            (low == 0).then_some(message)
        })
        .unwrap();
    assert_eq!(good(&frame(&[&payload[..begin], &shrunk].concat())), 1);
}

#[test]
fn a_time_without_its_wrapper_is_read_over() {
    let entry = entry(ENERGY, None, Some(30), -1, Field::Uint(1, 1));
    // Older Holley firmware: the time is a bare number.
    let mut bare = entry.clone();
    let time_at = 1 + 7 + 1;
    assert_eq!(bare[time_at], 0x01);
    bare.splice(time_at..=time_at, [0x65, 0, 1, 2, 3]);
    let mut wrapped = entry;
    wrapped.splice(time_at..=time_at, [0x72, 0x62, 0x01, 0x65, 0, 1, 2, 3]);
    let (frames, errors) = heard(&mut Decoder::new(), &encode(b"x", &[bare, wrapped]));
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(frames[0].len(), 2);
}

#[test]
fn messages_without_values_are_no_reading() {
    let (frames, errors) = heard(&mut Decoder::new(), &[encode(b"x", &[]), frame(&[]), frame(&[0x76, 0x05])].concat());
    assert!(frames.is_empty());
    assert_eq!(errors[..2], ["frame without values", "frame without values"]);
    assert!(errors[2].contains("message 1 ends inside a field"), "{errors:?}");
}

proptest! {
    #[test]
    fn rubbish_gives_no_reading_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), piece in 1_usize..300) {
        let mut decoder = Decoder::new();
        for piece in bytes.chunks(piece) {
            prop_assert!(heard(&mut decoder, piece).0.is_empty());
        }
        decoder.finish();
        prop_assert_eq!(decoder.discarded_total(), bytes.len() as u64);
    }

    #[test]
    fn rubbish_with_a_right_check_gives_no_panic(payload in prop::collection::vec(prop::sample::select(
        &[0x00_u8, 0x01, 0x07, 0x1B, 0x52, 0x62, 0x63, 0x70, 0x71, 0x72, 0x76, 0x77, 0x83, 0xF1, 0xFF][..]), 0..300)) {
        let (_, _) = heard(&mut Decoder::new(), &frame(&payload));
    }

    #[test]
    fn any_split_gives_the_same(noise in prop::collection::vec(any::<u8>(), 0..50), piece in 1_usize..400) {
        let one = house();
        let stream = [&noise[..], &one, &noise, &one].concat();
        let whole = heard(&mut Decoder::new(), &stream).0;
        let mut decoder = Decoder::new();
        let mut split = Vec::new();
        for piece in stream.chunks(piece) {
            split.extend(heard(&mut decoder, piece).0);
        }
        prop_assert_eq!(whole, split);
    }
}

/// Starts that never end: what was looked at once is not looked at again.
#[test]
fn starts_without_an_end_cost_no_more_than_what_was_sent() {
    let starts = [&[0x1B; 8][..], &[1; 4]].concat().repeat(4 * MAX_FRAME / 12);
    let stream = [&starts[..], &[0; MAX_FRAME], &house()].concat();
    for piece in [stream.len(), 1] {
        let mut decoder = Decoder::new();
        let (mut looked_at, mut frames) = (0, 0);
        for mut piece in stream.chunks(piece) {
            while let Some(item) = decoder.decode(&mut piece) {
                match item {
                    Ok(frame) => frames += usize::from(frame.check().is_ok()),
                    Err(
                        FrameError::TooLong { bytes } | FrameError::CutShort { bytes } | FrameError::Escape { bytes },
                    ) => {
                        looked_at += bytes;
                    }
                }
            }
        }
        assert_eq!(frames, 1);
        assert!(looked_at > 0 && looked_at <= stream.len(), "{looked_at} of {}", stream.len());
    }
}

//! Readouts through the decoder, whole, split, damaged and hostile.

use proptest::prelude::*;

use super::*;
use crate::codec::obis::Obis;

const LINES: &str =
    "F.F(00)\r\n0.0(  120858)\r\n1.8.0(061561.289*kWh)\r\n2.8.0(000010.490*kWh)\r\n32.7(241*V)\r\n!\r\n";

/// A readout as a meter of mode C sends it.
fn framed(header: &str, lines: &str) -> Vec<u8> {
    let mut out = format!("{header}\r\n\x02").into_bytes();
    let begin = out.len();
    out.extend(lines.as_bytes());
    out.push(0x03);
    let bcc = out[begin..].iter().fold(0, |sum, &byte| sum ^ byte);
    out.push(bcc);
    out
}

/// A readout as a push meter sends it.
fn pushed() -> Vec<u8> {
    b"/ESY5Q3DTEST V3.04\r\n\r\n1-0:1.8.0*255(00052185.7825309*kWh)\r\n1-0:1.7.255*255(-002124.86*W)\r\n!\r\n".to_vec()
}

/// The bytes as a 7E1 line carries them.
fn with_parity(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&byte| byte | u8::from(byte.count_ones() % 2 == 1) << 7).collect()
}

/// Number of data sets of every good readout, and what is wrong with the others.
fn heard(decoder: &mut Decoder, mut bytes: &[u8]) -> (Vec<usize>, Vec<String>) {
    let (mut good, mut errors) = (Vec::new(), Vec::new());
    while let Some(item) = decoder.decode(&mut bytes) {
        match item.map(|readout| readout.check().map(|()| readout.items().count())) {
            Ok(Ok(sets)) => good.push(sets),
            Ok(Err(rejection)) => errors.push(rejection.to_string()),
            Err(error) => errors.push(error.to_string()),
        }
    }
    (good, errors)
}

#[test]
fn a_readout_of_mode_c_with_the_echo_of_the_head() {
    let mut stream = b"/?!\r\n".to_vec();
    stream.extend(framed("/LGZ4TESTAC.M26\r\n\x06050", LINES));
    let mut decoder = Decoder::new();
    let mut bytes = &stream[..];
    let readout = decoder.decode(&mut bytes).unwrap().unwrap();
    readout.check().unwrap();
    assert!(readout.is_framed() && readout.is_complete() && readout.bcc().unwrap().is_valid());
    assert_eq!(readout.header(), b"/LGZ4TESTAC.M26");
    assert_eq!((readout.items().count(), readout.discarded_bytes(), readout.parity_errors()), (5, 0, None));
    let Some(Item::DataSet(energy)) = readout.items().nth(2) else { panic!() };
    assert_eq!(obis(energy.address), Some(Obis::new(1, 0, 1, 8, 0)));
    assert!(bytes.is_empty());
}

#[test]
fn the_identification_is_there_before_the_data() {
    let mut decoder = Decoder::new();
    assert!(decoder.decode(&mut &b"\0\0/?!\r\n/ISk5MT174-0001\r"[..]).is_none());
    assert_eq!(decoder.identification().unwrap().mode(), Mode::C(9600));
    assert!(decoder.decode(&mut &b"\n\x06050\r\n\x02"[..]).is_none());
    assert_eq!(decoder.identification(), None);
    assert!(heard(&mut decoder, b"1.8.0(1*kWh)\r\n!\r\n\x03").0.is_empty());
    assert!(decoder.is_waiting());
    assert_eq!(decoder.discarded_total(), 0);
}

#[test]
fn a_line_that_carries_parity_is_checked_and_masked() {
    for plain in [framed("/LGZ4TESTAC.M26", LINES), pushed()] {
        let line = with_parity(&plain);
        let mut decoder = Decoder::new();
        {
            let readout = decoder.decode(&mut &line[..]).unwrap().unwrap();
            readout.check().unwrap();
            assert_eq!(readout.parity_errors(), Some(0));
        }
        for at in 1..line.len() - 3 {
            let mut damaged = line.clone();
            damaged[at] ^= 0x04;
            let (good, _) = heard(&mut Decoder::new(), &damaged);
            assert!(good.is_empty(), "byte {at}");
        }
        assert_eq!(heard(&mut decoder, &line.repeat(3)).0.len(), 3);
    }
}

#[test]
fn damage_on_a_line_without_parity_is_found_by_the_bcc() {
    let one = framed("/ISk5TEST", LINES);
    let body = one.iter().position(|&byte| byte == 2).unwrap();
    for at in body..one.len() {
        let mut damaged = one.clone();
        damaged[at] ^= 0x01;
        assert!(heard(&mut Decoder::new(), &damaged).0.is_empty(), "byte {at}");
    }
    let cut = &one[..one.len() - 20];
    let (good, errors) = heard(&mut Decoder::new(), &[cut, &one, &one].concat());
    assert_eq!((good, errors.len()), (vec![5, 5], 1), "{errors:?}");
}

#[test]
fn a_push_readout_needs_every_line_whole() {
    assert_eq!(heard(&mut Decoder::new(), &pushed().repeat(2)).0, [2, 2]);
    let torn = String::from_utf8(pushed()).unwrap().replace("(-002124.86*W)", "(-00212");
    let (good, errors) = heard(&mut Decoder::new(), torn.as_bytes());
    assert!(good.is_empty() && errors[0].contains("unreadable line"), "{errors:?}");
    let (_, errors) = heard(&mut Decoder::new(), b"/ABC5D\r\n\r\n!\r\n");
    assert_eq!(errors, ["readout without data sets"]);
}

#[test]
fn what_is_unfinished_is_closed_by_silence() {
    let finish = |bytes: &[u8]| {
        let mut decoder = Decoder::new();
        assert!(decoder.decode(&mut &bytes[..]).is_none());
        decoder.finish().map(|item| item.map(|readout| (readout.is_complete(), readout.check().unwrap_err())))
    };
    assert_eq!(finish(b"/ABC5D\r\n\r\n1.8.0(1*kWh)\r\n"), Some(Ok((false, Rejection::NoEndMark))));
    assert_eq!(finish(b"/ABC5D\r\n\x021.8.0(1*kWh)\r\n!\r\n"), Some(Ok((true, Rejection::BccMissing))));
    assert_eq!(finish(b"/ABC5D\r\n\x021.8.0(1*kWh)\r\n!\r\n\x03"), Some(Ok((true, Rejection::BccMissing))));
    assert_eq!(finish(b"/ABC5D\r\n"), None);
    assert_eq!(finish(b"rubbish"), None);
}

#[test]
fn noise_is_counted_and_the_readout_behind_it_found() {
    let stream = [&b"5(12*kWh)\r\n!\r\n//AB/"[..], &pushed(), &[0xFF; 7], b"  25803103\r\n", &pushed()].concat();
    let mut decoder = Decoder::new();
    assert_eq!(heard(&mut decoder, &stream).0, [2, 2]);
    assert_eq!(decoder.discarded_total(), (9 + 1 + 5 + 7 + 10) as u64);
}

#[test]
fn an_endless_readout_is_given_up_in_bounded_memory() {
    let mut decoder = Decoder::new();
    let endless = [&b"/ABC5D\r\n\x02"[..], &[b'('; 3 * MAX_READOUT], &pushed()].concat();
    let (good, errors) = heard(&mut decoder, &endless);
    assert_eq!((good, errors.len()), (vec![2], 1), "{errors:?}");
    heard(&mut decoder, &[&b"/ABC5D\r\n"[..], &[b'\n'; 3 * MAX_READOUT], b"\x06", &[b'x'; 3 * MAX_READOUT]].concat());
    assert!(decoder.memory() <= 2 * MAX_READOUT);
}

proptest! {
    #[test]
    fn rubbish_gives_no_panic_and_any_split_gives_the_same(
        noise in prop::collection::vec(prop::sample::select(&b"/!()\r\n\x02\x03\x06AB5*.\\\xAF\xFF1"[..]), 0..300),
        piece in 1_usize..200,
    ) {
        let stream = [&noise[..], b"\r\n", &framed("/ISk5TEST", LINES), &noise].concat();
        let whole = heard(&mut Decoder::new(), &stream);
        let mut decoder = Decoder::new();
        let mut split = (Vec::new(), Vec::new());
        for piece in stream.chunks(piece) {
            let (good, errors) = heard(&mut decoder, piece);
            split.0.extend(good);
            split.1.extend(errors);
        }
        decoder.finish();
        prop_assert_eq!(whole, split);
    }
}

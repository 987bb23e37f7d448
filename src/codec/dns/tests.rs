//! Messages as devices send them, and hostile ones.

use proptest::prelude::*;

use super::*;

fn word(out: &mut Vec<u8>, value: u16) {
    out.extend(value.to_be_bytes());
}

fn name(out: &mut Vec<u8>, text: &str) {
    for label in text.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
}

fn record(out: &mut Vec<u8>, owner: &[u8], kind: u16, content: &[u8]) {
    out.extend(owner);
    word(out, kind);
    word(out, 0x8001);
    out.extend([0, 0, 0, 120]);
    word(out, content.len() as u16);
    out.extend(content);
}

/// What a HomeWizard P1 meter answers: the pointer, and the rest as additional records with compressed names.
fn answer() -> Vec<u8> {
    let mut out = Vec::new();
    for it in [7, 0x8400, 1, 1, 0, 4] {
        word(&mut out, it);
    }
    // At 12.
    name(&mut out, "_hwenergy._tcp.local");
    word(&mut out, TYPE_PTR);
    word(&mut out, 1);
    // Behind the owner and ten bytes more stands the instance, which goes on with the service.
    let instance = [0xC0, out.len() as u8 + 12];
    record(&mut out, &[0xC0, 12], TYPE_PTR, b"\x0Ep1meter-AABBCC\xC0\x0C");
    record(&mut out, &instance, TYPE_TXT, b"\x0Dapi_enabled=1\x16PRODUCT_TYPE=HWE-P1 no\x00\x04flag");
    let mut service_data = vec![0, 0, 0, 0, 0, 80];
    name(&mut service_data, "p1meter-AABBCC.local");
    record(&mut out, &instance, TYPE_SRV, &service_data);
    let mut host = Vec::new();
    name(&mut host, "p1meter-AABBCC.local");
    record(&mut out, &host, TYPE_A, &[192, 0, 2, 30]);
    record(&mut out, &host, 28, &[0; 16]);
    out
}

#[test]
fn an_answer_says_who_where_and_what() {
    let records = records(&answer()).unwrap();
    let instance = Name::parse("p1meter-AABBCC._hwenergy._tcp.local");
    assert_eq!(records.len(), 4, "{records:?}");
    let service = Name::parse("_HWEnergy._tcp.local");
    assert_eq!(records[0], Record { name: service.clone(), data: Data::Pointer(instance.clone()) });
    assert_eq!((instance.first(), instance.rest()), ("p1meter-AABBCC", service));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let text = vec![pair("api_enabled", "1"), pair("product_type", "HWE-P1 no"), pair("flag", "")];
    assert_eq!(records[1], Record { name: instance.clone(), data: Data::Text(text) });
    let host = Name::parse("p1meter-aabbcc.local");
    assert_eq!(records[2], Record { name: instance, data: Data::Service { host: host.clone(), port: 80 } });
    assert_eq!(records[3], Record { name: host, data: Data::Address([192, 0, 2, 30]) });
}

#[test]
fn a_question_is_asked_for_an_answer_to_us_alone() {
    let asked = question(0x1234, &[(Name::parse("_http._tcp.local"), Kind::Pointer)]);
    let mut expected = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    name(&mut expected, "_http._tcp.local");
    expected.extend([0, 12, 0x80, 1]);
    assert_eq!(asked, expected);
    assert_eq!(records(&asked), Err(Malformed::Question));
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let with_name = |bytes: &[u8]| {
        let mut out = Vec::new();
        for it in [0, 0x8400, 0, 1, 0, 0] {
            word(&mut out, it);
        }
        record(&mut out, bytes, TYPE_A, &[192, 0, 2, 1]);
        records(&out)
    };
    assert!(with_name(b"\x03abc\x00").is_ok());
    // To itself, forward, beyond the end, of an unknown kind, and two that point at each other.
    for bad in [&[0xC0, 12][..], &[0xC0, 14], &[0xFF, 0xFF], &[0x40, 1, 0], &[0x03, b'a', b'b', b'c', 0xC0, 12]] {
        assert_eq!(with_name(bad), Err(Malformed::Name(12)), "{bad:02X?}");
    }
    let long = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
    assert_eq!(with_name(&long), Err(Malformed::Name(12)));
}

#[test]
fn every_cut_message_is_refused_or_says_less() {
    let whole = answer();
    for length in 0..whole.len() {
        assert!(records(&whole[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn what_is_written_is_read() {
    let instance = Name::parse("p1meter-AABBCC._hwenergy._tcp.local");
    let all = [
        Record { name: instance.rest(), data: Data::Pointer(instance.clone()) },
        Record { name: instance.clone(), data: Data::Service { host: Name::parse("p1meter.local"), port: 8080 } },
        Record {
            name: instance,
            data: Data::Text(vec![("serial".into(), "AABBCC".into()), ("path".into(), "/a=b".into())]),
        },
        Record { name: Name::parse("p1meter.local"), data: Data::Address([192, 0, 2, 7]) },
    ];
    assert_eq!(records(&super::answer(7, &all)).unwrap(), all);
}

proptest! {
    #[test]
    fn rubbish_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = records(&bytes);
    }

    #[test]
    fn a_changed_answer_does_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut message = answer();
        for (at, to) in changes {
            let at = at.index(message.len());
            message[at] = to;
        }
        if let Ok(found) = records(&message) {
            prop_assert!(found.len() <= MOST_RECORDS);
            prop_assert!(found.iter().all(|it| it.name.to_string().len() <= 4 * LONGEST_NAME));
        }
    }
}

//! `gridkeeper modbus read|write` against a device that holds its own address in a register.

use std::sync::Mutex;

use gridkeeper::codec::model::{Kind, WordOrder};
use gridkeeper::tool::registers::{Consent, Reading, Target, ToolError, read, write};

use super::*;

/// Nothing was agreed to beforehand.
const ASK: Consent = Consent { write: false, only_one_powered: false };

/// An EVSE-like box: register 2001 is its address, 1000 its set-point, 9 cannot be written.
async fn evse(medium: Medium) -> (Peer, Arc<Mutex<BTreeMap<u16, u16>>>) {
    let registers = Arc::new(Mutex::new(BTreeMap::from([(1000, 16), (2001, 1), (9, 5), (70, 0x4366), (71, 0)])));
    let held = Arc::clone(&registers);
    let peer = Peer::start(medium, move |ask| {
        let mut held = held.lock().unwrap();
        let refused = |code| Reaction::Answer(vec![ask.function() | 0x80, code]);
        if u16::from(ask.unit) != held[&2001] {
            return Reaction::Silence;
        }
        match ask.function() {
            3 => {
                let words: Option<Vec<u16>> =
                    (ask.address()..).take(usize::from(ask.second())).map(|it| held.get(&it).copied()).collect();
                words.map_or_else(|| refused(2), |words| Reaction::Answer(peer::registers(3, words)))
            }
            6 if ask.address() == 9 => refused(3),
            6 => {
                held.insert(ask.address(), ask.second());
                Reaction::Answer(ask.pdu.clone())
            }
            _ => refused(1),
        }
    })
    .await;
    (peer, registers)
}

fn target(peer: &Peer, unit: u8, register: u16) -> Target {
    Target { connection: peer.connection.clone(), unit, register }
}

#[tokio::test]
async fn a_register_is_shown_with_address_number_and_words() {
    let (peer, _) = evse(Medium::Tcp).await;
    let mut out = Vec::new();
    let whole = Reading { count: 1, input: false, kind: Kind::U16, order: WordOrder::HighFirst };
    read(&target(&peer, 1, 1000), whole, &mut out).await.unwrap();
    let float = Reading { kind: Kind::F32, ..whole };
    read(&target(&peer, 1, 70), float, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, " 1000  0x03E8              16  0010\n   70  0x0046             230  4366 0000\n");
    let refused = read(&target(&peer, 1, 8), whole, &mut Vec::new()).await.unwrap_err().to_string();
    assert!(refused.contains("exception 2 (illegal data address)"), "{refused}");
    let many = Reading { count: 63, kind: Kind::F32, ..whole };
    let refused = read(&target(&peer, 1, 0), many, &mut Vec::new()).await.unwrap_err().to_string();
    assert_eq!(refused, "63 values in one request; allowed: 1 to 62");
}

#[tokio::test]
async fn the_address_of_a_box_is_changed_and_found_again() {
    for medium in ALL {
        let (peer, registers) = evse(medium).await;
        let mut out = Vec::new();
        write(&target(&peer, 1, 2001), &[5], ASK, &mut &b"y\ny\n"[..], &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let question = text.find("Is only this one device powered? [y/N]").expect("it is asked");
        assert!(text.contains("register 2001 holds the bus address of an EVSE-DIN or EVSE-WB"), "{text}");
        assert!(question < text.find("Write? [y/N]").unwrap(), "{text}");
        assert!(text.starts_with("unit 1, register 2001: 1 (0x0001) now, 5 (0x0005) will be written.\n"), "{text}");
        assert!(text.contains("Write? [y/N]") && text.ends_with("the device answers as unit 5 now.\n"), "{text}");
        assert_eq!(registers.lock().unwrap()[&2001], 5);
    }
}

#[tokio::test]
async fn an_address_is_not_changed_before_somebody_says_that_one_device_is_powered() {
    let (peer, registers) = evse(Medium::Tcp).await;
    let address = || target(&peer, 1, 2001);
    let yes = Consent { write: true, ..ASK };
    for (consent, answer) in [(ASK, ""), (ASK, "n\ny\n"), (yes, ""), (yes, "n\n"), (yes, "maybe\n")] {
        let refused = write(&address(), &[5], consent, &mut answer.as_bytes(), &mut Vec::new()).await.unwrap_err();
        assert!(matches!(&refused, ToolError::Declined(why) if why.contains("--only-one-powered")), "{refused}");
    }
    // The one question does not answer the other.
    let alone = Consent { only_one_powered: true, ..ASK };
    let refused = write(&address(), &[5], alone, &mut &b"n\n"[..], &mut Vec::new()).await.unwrap_err();
    assert_eq!(refused.to_string(), "nothing was written; answer y, or say --yes");
    assert!(peer.log().iter().all(|ask| ask.function() < 5), "nothing was written");
    write(&address(), &[5], Consent { write: true, only_one_powered: true }, &mut &b""[..], &mut Vec::new())
        .await
        .unwrap();
    assert_eq!(registers.lock().unwrap()[&2001], 5);
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_refused() {
    let peer = Peer::start(Medium::Tcp, |ask| match (ask.unit, ask.function()) {
        (1 | 2, 3 | 4) => Reaction::Answer(peer::registers(ask.function(), [u16::from(ask.unit)])),
        // This one refuses whatever it is asked; it is there all the same.
        (3, _) => Reaction::Answer(vec![ask.function() | 0x80, 2]),
        (_, 6) => Reaction::Answer(ask.pdu.clone()),
        _ => Reaction::Silence,
    })
    .await;
    let agreed = Consent { write: true, only_one_powered: true };
    for taken in [2, 3] {
        let refused = write(&target(&peer, 1, 77), &[taken], agreed, &mut &b""[..], &mut Vec::new()).await;
        let refused = refused.unwrap_err().to_string();
        assert_eq!(refused, format!("nothing was written: unit {taken} answers already"));
    }
    assert!(peer.log().iter().all(|ask| ask.function() < 5));
}

#[tokio::test]
async fn neither_a_gateway_nor_a_device_for_every_address_is_somebody_else() {
    for gateway in [true, false] {
        let held = Arc::new(Mutex::new(1));
        let peer = Peer::start(Medium::Tcp, move |ask| {
            let mut held = held.lock().unwrap();
            let mine = !gateway || u16::from(ask.unit) == *held;
            match ask.function() {
                _ if !mine => Reaction::Answer(vec![ask.function() | 0x80, 11]),
                6 => {
                    *held = ask.second();
                    Reaction::Answer(ask.pdu.clone())
                }
                function => Reaction::Answer(peer::registers(function, [*held])),
            }
        })
        .await;
        let agreed = Consent { write: true, only_one_powered: true };
        let mut out = Vec::new();
        write(&target(&peer, 1, 77), &[9], agreed, &mut &b""[..], &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("register 77 holds 1, as the device's own bus address would"), "{text}");
        assert_eq!(text.contains("the device answers as unit 9 now"), gateway, "{text}");
    }
}

#[tokio::test]
async fn nothing_is_written_without_a_yes_and_a_refusal_is_told() {
    let (peer, registers) = evse(Medium::Tcp).await;
    for answer in ["", "n\n", "yes please\n"] {
        let refused = write(&target(&peer, 1, 1000), &[6], ASK, &mut answer.as_bytes(), &mut Vec::new()).await;
        assert!(matches!(refused, Err(ToolError::Declined(_))), "{answer:?}");
    }
    assert_eq!(registers.lock().unwrap()[&1000], 16);
    let refused = write(&target(&peer, 1, 9), &[6], Consent { write: true, ..ASK }, &mut &b""[..], &mut Vec::new())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("exception 3"), "{refused}");
    assert!(peer.log().iter().filter(|ask| ask.function() >= 5).count() == 1);
    let mut out = Vec::new();
    write(&target(&peer, 1, 1000), &[6], Consent { write: true, ..ASK }, &mut &b""[..], &mut out).await.unwrap();
    assert!(String::from_utf8(out).unwrap().ends_with("written; it reads 6 (0x0006) now.\n"));
}

#[tokio::test]
async fn the_last_register_of_all_is_shown() {
    let peer = Peer::start(Medium::Tcp, |_| Reaction::Answer(peer::registers(3, [7]))).await;
    let mut out = Vec::new();
    let whole = Reading { count: 1, input: false, kind: Kind::U16, order: WordOrder::HighFirst };
    read(&target(&peer, 1, 65_535), whole, &mut out).await.unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "65535  0xFFFF               7  0007\n");
}

/// A confirmation that cannot be read says nothing about the register: what it holds now does.
#[tokio::test]
async fn a_write_without_a_usable_confirmation_is_read_back() {
    for obeyed in [true, false] {
        let held = Mutex::new(16);
        let peer = Peer::start(Medium::Tcp, move |ask| {
            let mut held = held.lock().unwrap();
            if ask.function() == 3 {
                return Reaction::Answer(peer::registers(3, [*held]));
            }
            if obeyed {
                *held = ask.second();
            }
            Reaction::Answer(vec![6, 0, 0, 0, 0])
        })
        .await;
        let mut out = Vec::new();
        let written =
            write(&target(&peer, 1, 1000), &[6], Consent { write: true, ..ASK }, &mut &b""[..], &mut out).await;
        let text = String::from_utf8(out).unwrap();
        if obeyed {
            written.unwrap();
            assert!(text.ends_with("written; it reads 6 (0x0006) now.\n"), "{text}");
        } else {
            let refused = written.unwrap_err().to_string();
            assert_eq!(refused, "it reads 16 (0x0010) now; 6 (0x0006) was written");
        }
    }
}

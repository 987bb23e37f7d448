//! Answers that are none, and peers that give none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gridkeeper::link::modbus::{BusError, Operation, Priority, Reply};
use tokio::net::TcpListener;

use super::peer::{ALL, Ask, Medium, Peer, Reaction, frame, moods, registers};
use super::{AMPLE, SHORT, bus, comes_round, config, read, run, set};

/// Misbehaves once, then is honest.
fn once(fault: impl FnOnce(&Ask) -> Reaction + Send + 'static) -> impl FnMut(&Ask) -> Reaction + Send + 'static {
    let mut fault = Some(fault);
    move |ask| match fault.take() {
        Some(fault) => fault(ask),
        None => Reaction::Answer(ask.honest()),
    }
}

/// One misbehaviour on each kind of wire: the error it must give, and then the right answer over a fresh link.
async fn poisons(
    medium: Medium,
    limit: Duration,
    fault: impl FnOnce(&Ask) -> Reaction + Send + 'static,
    expected: impl FnOnce(&BusError) -> bool,
) -> BusError {
    let peer = Peer::start(medium, once(fault)).await;
    let bus = bus(&peer.connection);
    let error = read(&bus, 1, 40, 3, limit).await.unwrap_err();
    assert!(expected(&error), "{medium:?}: {error:?}");
    assert!(error.to_string().starts_with("unit 1, read of 3 holding registers from 40: "), "{error}");
    assert!(error.may_have_been_obeyed());
    assert_eq!(read(&bus, 1, 50, 3, AMPLE).await, Ok(vec![50, 51, 52]), "{medium:?}");
    assert_eq!(bus.counters().reconnects, 1, "{medium:?}: a link is not used after an error");
    let counters = bus.counters();
    assert_eq!(counters.timeouts + counters.bad_answers, 1, "{medium:?}");
    if medium != Medium::Serial {
        assert!(peer.log().iter().skip(1).all(|ask| ask.connection == 1), "{medium:?}");
    }
    error
}

#[tokio::test]
async fn an_answer_of_another_unit() {
    for medium in ALL {
        let fault = |ask: &Ask| Reaction::Raw(frame(ask.medium, ask.transaction, 9, &ask.honest()));
        poisons(medium, AMPLE, fault, |error| matches!(error, BusError::WrongUnit { expected: 1, .. })).await;
    }
}

#[tokio::test]
async fn an_answer_to_another_function() {
    for medium in ALL {
        let fault = |_: &Ask| Reaction::Answer(registers(4, [1, 2, 3]));
        let expected = |error: &BusError| matches!(error, BusError::WrongFunction { expected: 3, got: 4, .. });
        poisons(medium, AMPLE, fault, expected).await;
        let fault = |_: &Ask| Reaction::Answer(vec![0x84, 2]);
        poisons(medium, AMPLE, fault, |error| matches!(error, BusError::WrongFunction { expected: 3, .. })).await;
    }
}

#[tokio::test]
async fn an_answer_of_the_wrong_length() {
    for medium in ALL {
        for count in [0, 1, 2, 4, 125] {
            let fault = move |_: &Ask| Reaction::Answer(registers(3, (0..count).map(|at| 40 + at)));
            let expected = |error: &BusError| matches!(error, BusError::WrongCount { expected: 3, got, .. } if *got == usize::from(count));
            poisons(medium, AMPLE, fault, expected).await;
        }
    }
}

#[tokio::test]
async fn a_byte_count_that_does_not_fit_the_bytes() {
    for medium in ALL {
        for byte_count in [0, 4, 5, 7, 8, 255] {
            let fault = move |ask: &Ask| {
                let mut pdu = ask.honest();
                pdu[1] = byte_count;
                Reaction::Answer(pdu)
            };
            poisons(medium, SHORT, fault, |_| true).await;
        }
    }
}

/// Frames with bytes turned, cut, added and doubled: the bus lives, and every answer has the length that was asked for.
#[tokio::test]
async fn no_bytes_stop_the_bus() {
    let mut all = tokio::task::JoinSet::new();
    for medium in ALL {
        all.spawn(async move {
            let mut random = moods(0xA5A5_5A5A_1234_5678);
            let healed = Arc::new(AtomicBool::new(false));
            let well = Arc::clone(&healed);
            let peer = Peer::start(medium, move |ask| {
                if well.load(Ordering::Relaxed) {
                    return Reaction::Answer(ask.honest());
                }
                let mut bytes = ask.frame(&ask.honest());
                for _ in 0..random(4) {
                    let at = random(bytes.len() as u64) as usize;
                    match random(4) {
                        0 => bytes[at] = random(256) as u8,
                        1 => bytes.truncate(at.max(1)),
                        2 => bytes.insert(at, random(256) as u8),
                        _ => bytes.extend_from_within(at..),
                    }
                }
                // A pseudo-terminal that was cut is gone for good.
                let cut = random(16) == 0 && ask.medium != Medium::Serial;
                if cut { Reaction::Cut(bytes) } else { Reaction::Raw(bytes) }
            })
            .await;
            let bus = bus(&peer.connection);
            for round in 0..60 {
                match read(&bus, 1, 40, 1 + round % 5, Duration::from_millis(20)).await {
                    Ok(values) => assert_eq!(values.len(), usize::from(1 + round % 5), "{medium:?}"),
                    Err(BusError::Closed) => panic!("{medium:?}: the bus task is gone"),
                    Err(_) => {}
                }
            }
            healed.store(true, Ordering::Relaxed);
            assert!(comes_round(&bus).await, "{medium:?}: the bus does not come round");
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_broken_check_sum() {
    for medium in [Medium::RtuOverTcp, Medium::Serial] {
        let fault = |ask: &Ask| {
            let mut bytes = ask.frame(&ask.honest());
            bytes[4] ^= 0x10;
            Reaction::Raw(bytes)
        };
        poisons(medium, SHORT, fault, |error| matches!(error, BusError::Timeout { .. } | BusError::Garbled { .. }))
            .await;
    }
}

#[tokio::test]
async fn nothing_but_noise() {
    for medium in ALL {
        let fault = |_: &Ask| Reaction::Raw(vec![0xFF; 700]);
        let error =
            poisons(medium, SHORT, fault, |error| matches!(error, BusError::Timeout { .. } | BusError::Garbled { .. }))
                .await;
        assert!(error.to_string().contains("FF FF FF"), "{error}");
    }
}

#[tokio::test]
async fn noise_before_the_frame_is_counted_and_skipped() {
    for medium in [Medium::RtuOverTcp, Medium::Serial] {
        let fault = |ask: &Ask| {
            let mut bytes = vec![0x00, 0xFF, 0xFE];
            bytes.extend(ask.frame(&ask.honest()));
            Reaction::Raw(bytes)
        };
        let peer = Peer::start(medium, once(fault)).await;
        let bus = bus(&peer.connection);
        assert_eq!(read(&bus, 1, 40, 3, AMPLE).await, Ok(vec![40, 41, 42]), "{medium:?}");
        assert_eq!(bus.counters().discarded_bytes, 3, "{medium:?}");
        assert_eq!(bus.counters().reconnects, 0, "{medium:?}");
    }
}

#[tokio::test]
async fn an_answer_sent_twice_is_used_once() {
    for medium in ALL {
        let fault = |ask: &Ask| Reaction::Raw(ask.frame(&ask.honest()).repeat(2));
        let peer = Peer::start(medium, once(fault)).await;
        let bus = bus(&peer.connection);
        assert_eq!(read(&bus, 1, 40, 2, AMPLE).await, Ok(vec![40, 41]), "{medium:?}");
        assert_eq!(read(&bus, 1, 60, 2, AMPLE).await, Ok(vec![60, 61]), "{medium:?}");
        assert!(bus.counters().discarded_bytes >= 9, "{medium:?}: {:?}", bus.counters());
    }
}

#[tokio::test]
async fn a_confirmation_of_another_write() {
    for medium in ALL {
        for echo in [[6, 0, 15, 0, 32], [6, 0, 16, 0, 6]] {
            let peer = Peer::start(medium, once(move |_| Reaction::Answer(echo.to_vec()))).await;
            let bus = bus(&peer.connection);
            let error = set(&bus, 1, 15, 6, AMPLE).await.unwrap_err();
            assert!(matches!(error, BusError::WrongEcho { expected: (15, 6), .. }), "{medium:?}: {error:?}");
            assert!(error.may_have_been_obeyed());
            assert_eq!(set(&bus, 1, 15, 6, AMPLE).await, Ok(()), "{medium:?}");
        }
        let peer = Peer::start(medium, once(|_| Reaction::Answer(vec![16, 0, 15, 0, 3]))).await;
        let bus = bus(&peer.connection);
        let operation = Operation::WriteMultiple { address: 15, values: vec![1, 2] };
        let error = bus.call(1, operation, AMPLE, Priority::SetPoint).await.unwrap_err();
        assert!(matches!(error, BusError::WrongEcho { expected: (15, 2), got: (15, 3), .. }), "{medium:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_the_link() {
    for medium in ALL {
        let peer = Peer::start(medium, once(|_| Reaction::Answer(vec![0x83, 6]))).await;
        let bus = bus(&peer.connection);
        let error = read(&bus, 1, 40, 3, AMPLE).await.unwrap_err();
        assert!(matches!(error, BusError::Exception { code: 6, name: "server device busy", .. }), "{error:?}");
        assert!(!error.may_have_been_obeyed());
        assert_eq!(read(&bus, 1, 40, 3, AMPLE).await, Ok(vec![40, 41, 42]));
        assert_eq!(peer.log().len(), 2, "no guard is needed after a refusal");
        assert!(peer.log().iter().all(|ask| ask.connection == 0), "{medium:?}");
        assert_eq!(bus.counters().exceptions, 1);
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_an_answer() {
    for medium in [Medium::Tcp, Medium::RtuOverTcp] {
        for kept in [0, 1, 5] {
            let fault = move |ask: &Ask| Reaction::Cut(ask.frame(&ask.honest())[..kept].to_vec());
            poisons(medium, AMPLE, fault, |error| matches!(error, BusError::Broken { .. })).await;
        }
    }
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_opened_again_unnoticed() {
    for medium in [Medium::Tcp, Medium::RtuOverTcp] {
        let fault = |ask: &Ask| Reaction::Cut(ask.frame(&ask.honest()));
        let peer = Peer::start(medium, once(fault)).await;
        let bus = bus(&peer.connection);
        assert_eq!(read(&bus, 1, 40, 1, AMPLE).await, Ok(vec![40]));
        assert_eq!(read(&bus, 1, 41, 1, AMPLE).await, Ok(vec![41]), "{medium:?}");
        assert_eq!(bus.counters().bad_answers, 0, "{medium:?}");
    }
}

#[tokio::test]
async fn a_peer_that_hangs() {
    for medium in ALL {
        let healed = Arc::new(AtomicBool::new(false));
        let well = Arc::clone(&healed);
        let peer = Peer::start(medium, move |ask| {
            if well.load(Ordering::Relaxed) { Reaction::Answer(ask.honest()) } else { Reaction::Silence }
        })
        .await;
        let bus = bus(&peer.connection);
        for _ in 0..3 {
            let error = set(&bus, 1, 15, 6, SHORT).await.unwrap_err();
            assert!(matches!(error, BusError::Timeout { .. }), "{medium:?}: {error:?}");
            assert!(
                error.to_string().contains("no complete answer within") && error.to_string().contains("nothing came")
            );
        }
        healed.store(true, Ordering::Relaxed);
        assert_eq!(set(&bus, 1, 15, 6, AMPLE).await, Ok(()), "{medium:?}");
        assert!(peer.log().iter().all(|ask| ask.function() == 6), "a repeated set-point never begins with a read");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let connection = gridkeeper::config::model::Connection::Tcp { host: "127.0.0.1".to_owned(), port };
    let bus = bus(&connection);
    let error = read(&bus, 1, 0, 1, AMPLE).await.unwrap_err();
    assert!(matches!(error, BusError::NotConnected { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(!error.may_have_been_obeyed());
    // It comes back by itself, without anybody asking.
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    listener.accept().await.unwrap();
}

#[tokio::test]
async fn a_set_point_hurries_the_next_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let connection = gridkeeper::config::model::Connection::Tcp { host: "127.0.0.1".to_owned(), port };
    let slow = Duration::from_secs(3600);
    let bus =
        run(super::BusConfig { backoff_first: slow, backoff_max: slow, hurry: Duration::ZERO, ..config(&connection) });
    assert!(read(&bus, 1, 0, 1, AMPLE).await.is_err());
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert!(matches!(read(&bus, 1, 0, 1, AMPLE).await, Err(BusError::NotConnected { .. })), "a poll does not hurry it");
    let answer = tokio::spawn(async move {
        let reply = bus.call(1, super::write(15, 6), AMPLE, Priority::Reduction).await;
        (reply, bus)
    });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut request).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.unwrap();
    let (reply, bus) = answer.await.unwrap();
    assert_eq!(reply, Ok(Reply::Written));
    assert_eq!(bus.counters().failed_opens, 1);
}

#[tokio::test]
async fn a_peer_that_closes_at_once_is_not_opened_in_a_tight_loop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection = gridkeeper::config::model::Connection::Tcp { host: "127.0.0.1".to_owned(), port };
    let slow = Duration::from_secs(3600);
    let bus = run(super::BusConfig { backoff_first: slow, backoff_max: slow, ..config(&connection) });
    let closing = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(stream);
        listener
    });
    let error = read(&bus, 1, 0, 1, AMPLE).await.unwrap_err();
    assert!(matches!(error, BusError::NotConnected { .. } | BusError::Broken { .. }), "{error:?}");
    let error = read(&bus, 1, 0, 1, AMPLE).await.unwrap_err();
    assert!(matches!(error, BusError::NotConnected { .. }), "{error:?}");
    assert_eq!(bus.counters().reconnects, 0);
    drop(closing.await.unwrap());
}

#[tokio::test]
async fn a_missing_serial_port_is_named() {
    let line = gridkeeper::config::model::SerialLine {
        path: "/nonexistent/ttyUSB7".into(),
        baud: None,
        parity: None,
        stop: None,
    };
    let bus = bus(&gridkeeper::config::model::Connection::Serial(line));
    let error = read(&bus, 1, 0, 1, AMPLE).await.unwrap_err();
    assert!(error.to_string().starts_with("not connected to /nonexistent/ttyUSB7: "), "{error}");
}

#[tokio::test]
async fn a_read_on_a_serial_line_is_given_no_longer_than_it_needs() {
    let silent = Arc::new(AtomicBool::new(true));
    let quiet = Arc::clone(&silent);
    let peer = Peer::start(Medium::Serial, move |ask| {
        if quiet.load(Ordering::Relaxed) { Reaction::Silence } else { Reaction::Answer(ask.honest()) }
    })
    .await;
    let (shortest_turn, longest_turn) = (Duration::from_millis(1), Duration::from_millis(700));
    let bus = run(super::BusConfig { shortest_turn, longest_turn, ..config(&peer.connection) });
    let given = async |address| match read(&bus, 1, address, 1, AMPLE).await {
        Err(BusError::Timeout { after, .. }) => after,
        other => panic!("{other:?}"),
    };
    // 8 bytes there and 7 back at 115200 baud, 10 bits each.
    let transfer = Duration::from_micros(1302);
    let unknown = given(0).await;
    assert!(unknown.abs_diff(transfer + longest_turn) < Duration::from_micros(20), "{unknown:?}");
    silent.store(false, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    assert_eq!(read(&bus, 1, 0, 1, AMPLE).await, Ok(vec![0]));
    let most = transfer + (begun.elapsed() * 2).clamp(shortest_turn, longest_turn);
    silent.store(true, Ordering::Relaxed);
    let known = given(0).await;
    assert!(known > transfer && known <= most, "{known:?}, at most {most:?}");
    assert!(given(0).await > longest_turn, "a unit that fell silent gets the longest time again");
    let written = set(&bus, 1, 15, 6, SHORT).await.unwrap_err();
    assert!(matches!(written, BusError::Timeout { after: SHORT, .. }), "{written:?}");
}

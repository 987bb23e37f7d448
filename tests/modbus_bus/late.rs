//! The answer that comes when nobody waits for it any more. Every register of these devices holds its own address, so
//! that a value tells where it came from.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gridkeeper::link::modbus::{BusError, Operation, Priority};
use tokio_modbus::Slave;
use tokio_modbus::client::{Reader as _, rtu};
use tokio_serial::SerialStream;

use super::peer::{ALL, Ask, Medium, Peer, Reaction, frame, moods};
use super::{AMPLE, SHORT, bus, comes_round, read, set};

/// Answers nothing at first; with the next request that comes its answer goes out, and then that request's own.
fn one_late(mixed_up: bool) -> impl FnMut(&Ask) -> Reaction + Send + 'static {
    let mut late: Option<Ask> = None;
    let mut first = true;
    move |ask| {
        if std::mem::take(&mut first) {
            late = Some(ask.clone());
            return Reaction::Silence;
        }
        let mut bytes = Vec::new();
        if let Some(late) = late.take() {
            // A gateway that mixes up its answers gives the late one the number of the request it has in hand.
            let number = if mixed_up { ask.transaction } else { late.transaction };
            bytes = frame(late.medium, number, late.unit, &late.honest());
        }
        bytes.extend(ask.frame(&ask.honest()));
        Reaction::Raw(bytes)
    }
}

/// Asks for 16, which is late, and then for 32 and 48 until they are answered.
async fn never_the_other(medium: Medium, mixed_up: bool) {
    let peer = Peer::start(medium, one_late(mixed_up)).await;
    let bus = bus(&peer.connection);
    let missed = read(&bus, 1, 16, 2, SHORT).await;
    assert!(matches!(missed, Err(BusError::Timeout { .. })), "{medium:?}: {missed:?}");
    let mut answered = 0;
    for address in [32, 48].into_iter().cycle().take(12) {
        match read(&bus, 1, address, 2, AMPLE).await {
            Ok(values) => {
                assert_eq!(values, vec![address, address + 1], "{medium:?}");
                answered += 1;
            }
            Err(error) => assert!(answered == 0, "{medium:?}: {error}"),
        }
    }
    assert!(answered >= 10, "{medium:?}: one late answer costs at most two requests");
    assert!(bus.counters().guard_reads >= 1, "{medium:?}");
}

#[tokio::test]
async fn a_late_answer_is_not_taken_for_another_registers() {
    for medium in ALL {
        never_the_other(medium, true).await;
        never_the_other(medium, false).await;
    }
}

/// The same device and the library without the guard: this is why there is one. Should this fail one day, the library
/// has learnt it.
#[tokio::test]
async fn the_library_alone_takes_it() {
    let (mut master, slave) = SerialStream::pair().unwrap();
    let device = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut late = Vec::new();
        loop {
            let mut request = [0; 8];
            if master.read_exact(&mut request).await.is_err() {
                return;
            }
            let pdu = [3, 2, request[2], request[3]];
            let answer = frame(Medium::Serial, 0, request[0], &pdu);
            if !late.is_empty() {
                master.write_all(&late).await.unwrap();
            }
            late = answer;
        }
    });
    let mut bare = rtu::attach_slave(slave, Slave(1));
    let missed = tokio::time::timeout(SHORT, bare.read_holding_registers(16, 1)).await;
    assert!(missed.is_err());
    assert_eq!(bare.read_holding_registers(32, 1).await.unwrap().unwrap(), vec![16]);
    assert_eq!(bare.read_holding_registers(48, 1).await.unwrap().unwrap(), vec![32]);
    device.abort();
}

#[tokio::test]
async fn a_late_answer_that_comes_in_between_is_drained() {
    for medium in [Medium::RtuOverTcp, Medium::Serial] {
        let told = Arc::new(tokio::sync::Notify::new());
        let release = Arc::clone(&told);
        let mut first = true;
        let peer = Peer::start(medium, move |ask| {
            if std::mem::take(&mut first) {
                Reaction::Hold(Arc::clone(&release))
            } else {
                Reaction::Answer(ask.honest())
            }
        })
        .await;
        let bus = bus(&peer.connection);
        let waiting = read(&bus, 1, 16, 1, SHORT);
        assert!(matches!(waiting.await, Err(BusError::Timeout { .. })), "{medium:?}");
        told.notify_one();
        assert_eq!(read(&bus, 1, 32, 1, AMPLE).await, Ok(vec![32]), "{medium:?}");
    }
}

#[tokio::test]
async fn a_late_refusal_is_not_taken_for_another_requests() {
    for medium in ALL {
        let mut late: Option<Ask> = None;
        let mut first = true;
        let peer = Peer::start(medium, move |ask| {
            if std::mem::take(&mut first) {
                late = Some(ask.clone());
                return Reaction::Silence;
            }
            let mut bytes = Vec::new();
            if let Some(late) = late.take() {
                bytes = frame(late.medium, ask.transaction, late.unit, &[0x83, 2]);
            }
            bytes.extend(ask.frame(&ask.honest()));
            Reaction::Raw(bytes)
        })
        .await;
        let bus = bus(&peer.connection);
        assert!(read(&bus, 1, 16, 2, SHORT).await.is_err());
        for attempt in 0.. {
            match read(&bus, 1, 32, 5, AMPLE).await {
                Ok(values) => {
                    assert_eq!(values, vec![32, 33, 34, 35, 36], "{medium:?}");
                    break;
                }
                Err(error) => {
                    assert!(attempt == 0 && matches!(error, BusError::Ambiguous { .. }), "{medium:?}: {error:?}")
                }
            }
        }
    }
}

#[tokio::test]
async fn a_late_confirmation_is_not_taken_for_a_newer_set_point() {
    for medium in ALL {
        let peer = Peer::start(medium, one_late(true)).await;
        let bus = bus(&peer.connection);
        assert!(set(&bus, 1, 15, 32, SHORT).await.is_err());
        let lowered = set(&bus, 1, 15, 6, AMPLE).await.unwrap_err();
        assert!(
            matches!(lowered, BusError::WrongEcho { expected: (15, 6), got: (15, 32), .. }),
            "{medium:?}: {lowered:?}"
        );
        assert_eq!(set(&bus, 1, 15, 6, AMPLE).await, Ok(()), "{medium:?}");
    }
}

/// 6 and then 32 went unanswered, so a confirmation of 6 says nothing: the unit may have taken 6, 32 and lost this one.
#[tokio::test]
async fn a_set_point_goes_out_before_its_guard_and_is_not_believed() {
    for medium in ALL {
        let mut silent = 2;
        let peer = Peer::start(medium, move |ask| {
            if silent > 0 {
                silent -= 1;
                return Reaction::Silence;
            }
            Reaction::Answer(ask.honest())
        })
        .await;
        let bus = bus(&peer.connection);
        assert!(set(&bus, 1, 15, 6, SHORT).await.is_err() && set(&bus, 1, 15, 32, SHORT).await.is_err());
        let lowered = set(&bus, 1, 15, 6, AMPLE).await.unwrap_err();
        assert!(matches!(lowered, BusError::Ambiguous { .. }) && lowered.may_have_been_obeyed(), "{lowered:?}");
        assert_eq!(set(&bus, 1, 15, 6, AMPLE).await, Ok(()), "{medium:?}: the guard behind it has cleared the doubt");
        let functions: Vec<u8> = peer.log().iter().map(Ask::function).collect();
        assert_eq!(functions, [6, 6, 6, 3, 6], "{medium:?}");
    }
}

#[tokio::test]
async fn a_set_point_to_a_silent_unit_is_sent_each_time_and_nothing_else() {
    for medium in ALL {
        let peer = Peer::start(medium, |_: &Ask| Reaction::Silence).await;
        let bus = bus(&peer.connection);
        for value in [6, 32, 6, 6, 6] {
            let error = set(&bus, 1, 15, value, SHORT).await.unwrap_err();
            assert!(matches!(error, BusError::Timeout { .. }), "{medium:?}: {error:?}");
        }
        let written: Vec<(u8, u16)> = peer.log().iter().map(|ask| (ask.function(), ask.second())).collect();
        assert_eq!(written, [(6, 6), (6, 32), (6, 6), (6, 6), (6, 6)], "{medium:?}");
    }
}

#[tokio::test]
async fn a_write_of_several_registers_waits_for_a_read_that_can_be_told() {
    for medium in ALL {
        let peer = Peer::start(medium, one_late(true)).await;
        let bus = bus(&peer.connection);
        let several = |value| Operation::WriteMultiple { address: 15, values: vec![value, value] };
        assert!(bus.call(1, several(32), SHORT, Priority::SetPoint).await.is_err());
        // The confirmation of a write of several registers does not carry the values.
        let mut result = bus.call(1, several(6), AMPLE, Priority::SetPoint).await;
        if result.is_err() {
            result = bus.call(1, several(6), AMPLE, Priority::SetPoint).await;
        }
        assert!(result.is_ok(), "{medium:?}: {result:?}");
        let written: Vec<u16> = peer
            .log()
            .iter()
            .filter(|ask| ask.function() == 16)
            .map(|ask| u16::from_be_bytes([ask.pdu[6], ask.pdu[7]]))
            .collect();
        assert_eq!(written, vec![32, 6], "{medium:?}: the second one went out once only, behind the guard");
        assert!(peer.log().iter().any(|ask| ask.function() != 16));
    }
}

/// A gateway that gave up on a unit may hand its late answer to the next request.
#[tokio::test]
async fn a_gateways_time_out_keeps_the_link_and_is_not_trusted() {
    let mut number = 0;
    let peer = Peer::start(Medium::Tcp, move |ask| {
        number += 1;
        match number {
            1 => Reaction::Answer(vec![0x83, 11]),
            _ => Reaction::Answer(ask.honest()),
        }
    })
    .await;
    let bus = bus(&peer.connection);
    let error = read(&bus, 1, 16, 2, AMPLE).await.unwrap_err();
    assert!(matches!(error, BusError::Exception { code: 11, .. }) && error.may_have_been_obeyed(), "{error:?}");
    assert_eq!(read(&bus, 1, 32, 2, AMPLE).await, Ok(vec![32, 33]));
    let asked: Vec<(u16, u16)> = peer.log().iter().map(|ask| (ask.address(), ask.second())).collect();
    assert_eq!(asked, vec![(16, 2), (32, 1), (32, 2)]);
    assert_eq!(bus.counters().reconnects, 0);
}

/// A gateway that has no path says nothing about what the unit has sent: an answer that is late stays late.
#[tokio::test]
async fn a_gateways_own_word_does_not_end_the_doubt() {
    for code in [10, 11] {
        let mut late: Option<Ask> = None;
        let mut number = 0;
        let peer = Peer::start(Medium::Tcp, move |ask| {
            number += 1;
            match number {
                1 => {
                    late = Some(ask.clone());
                    Reaction::Silence
                }
                2 => Reaction::Answer(vec![ask.function() | 0x80, code]),
                _ => match late.take() {
                    // The late answer under the number of the request in hand.
                    Some(late) => Reaction::Raw(frame(late.medium, ask.transaction, late.unit, &late.honest())),
                    None => Reaction::Answer(ask.honest()),
                },
            }
        })
        .await;
        let bus = bus(&peer.connection);
        assert!(matches!(read(&bus, 1, 16, 2, SHORT).await, Err(BusError::Timeout { .. })));
        let mut answered = 0;
        for address in [32, 48, 64, 80, 96] {
            if let Ok(values) = read(&bus, 1, address, 2, AMPLE).await {
                assert_eq!(values, vec![address, address + 1], "code {code}: a value of another register");
                answered += 1;
            }
        }
        assert!(answered >= 2, "code {code}: the doubt ends");
    }
}

/// Devices that answer in order, but when it suits them, lose requests, and speak up late: whatever they do, no value
/// comes from another register than the one that was asked, and what was confirmed stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_late_no_value_is_another_registers() {
    let mut all = tokio::task::JoinSet::new();
    for seed in [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03, 0x2545_F491_4F6C_DD1D] {
        for medium in ALL {
            all.spawn(moody(medium, seed));
        }
    }
    let mut right = 0;
    while let Some(done) = all.join_next().await {
        right += done.unwrap();
    }
    println!("{right} answers came through");
}

/// Unit and register to value.
type Written = Arc<Mutex<HashMap<(u8, u16), u16>>>;

async fn moody(medium: Medium, seed: u64) -> usize {
    let mut mood = moods(seed);
    let mut owed: VecDeque<Ask> = VecDeque::new();
    let written = Written::default();
    let device = Arc::clone(&written);
    let calm = Arc::new(AtomicBool::new(false));
    let calmed = Arc::clone(&calm);
    let peer = Peer::start(medium, move |ask| {
        if calmed.load(Ordering::Relaxed) {
            return Reaction::Answer(ask.honest());
        }
        if mood(8) == 0 {
            return Reaction::Silence;
        }
        owed.push_back(ask.clone());
        let now = match mood(8) {
            0 => 0,
            1 => owed.len() - 1,
            _ => owed.len(),
        };
        let mut bytes = Vec::new();
        for late in owed.drain(..now) {
            if late.function() == 6 {
                device.lock().unwrap().insert((late.unit, late.address()), late.second());
            }
            let number = if mood(2) == 0 { ask.transaction } else { late.transaction };
            bytes.extend(frame(medium, number, late.unit, &late.honest()));
        }
        Reaction::Raw(bytes)
    })
    .await;
    let bus = bus(&peer.connection);
    let mut random = moods(seed.rotate_left(17));
    let limit = Duration::from_millis(40);
    let mut right = 0;
    for _ in 0..50 {
        let unit = 1 + random(2) as u8;
        if random(3) == 0 {
            let value = [0, 6, 16][random(3) as usize];
            if set(&bus, unit, 15, value, limit).await.is_ok() {
                assert_eq!(written.lock().unwrap().get(&(unit, 15)), Some(&value), "{medium:?}, seed {seed}");
                right += 1;
            }
            continue;
        }
        let (address, count) = (random(50) as u16 * 10, 1 + random(3) as u16);
        if let Ok(values) = read(&bus, unit, address, count, limit).await {
            let expected: Vec<u16> = (address..address + count).collect();
            assert_eq!(values, expected, "{medium:?}, seed {seed}");
            right += 1;
        }
    }
    // How many came through depends on how busy the machine is; that they do again does not.
    calm.store(true, Ordering::Relaxed);
    assert!(comes_round(&bus).await, "{medium:?}, seed {seed}");
    right
}

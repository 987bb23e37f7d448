//! Who is asked when.

use std::sync::Arc;
use std::time::Duration;

use gridkeeper::link::modbus::{Bus, BusConfig, BusError, Buses, Operation, Priority, QUEUE};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::peer::{ALL, Ask, Medium, Peer, Reaction};
use super::{AMPLE, Running, SHORT, bus, config, holding, read, run, write};

/// Holds the answer to the first request until told, so that a queue builds up behind it.
async fn holding_first(medium: Medium) -> (Peer, Running, Arc<Notify>, JoinHandle<()>) {
    let release = Arc::new(Notify::new());
    let told = Arc::clone(&release);
    let mut first = true;
    let peer = Peer::start(medium, move |ask| {
        if std::mem::take(&mut first) { Reaction::Hold(Arc::clone(&told)) } else { Reaction::Answer(ask.honest()) }
    })
    .await;
    let bus = run(BusConfig { serial: Default::default(), ..config(&peer.connection) });
    let handle = bus.bus.clone();
    let held = tokio::spawn(async move {
        assert_eq!(read(&handle, 1, 0, 1, AMPLE).await, Ok(vec![0]));
    });
    peer.requests(1).await;
    (peer, bus, release, held)
}

/// Puts a request into the queue and comes back once it is in there.
async fn queued(
    bus: &Bus,
    unit: u8,
    operation: Operation,
    priority: Priority,
) -> JoinHandle<Result<gridkeeper::link::modbus::Reply, BusError>> {
    let bus = bus.clone();
    let (polled, seen) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let call = bus.call(unit, operation, AMPLE, priority);
        tokio::pin!(call);
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
        let _ = polled.send(());
        match first {
            std::task::Poll::Ready(done) => done,
            std::task::Poll::Pending => call.await,
        }
    });
    seen.await.unwrap();
    task
}

fn asked(peer: &Peer) -> Vec<(u8, u16, u16)> {
    peer.log().iter().skip(1).map(|ask| (ask.function(), ask.address(), ask.second())).collect()
}

#[tokio::test]
async fn reductions_overtake_set_points_and_those_polls() {
    for medium in [Medium::Tcp, Medium::RtuOverTcp] {
        let (peer, bus, release, held) = holding_first(medium).await;
        let mut waiting = Vec::new();
        waiting.push(queued(&bus, 1, holding(1, 1), Priority::Slow).await);
        waiting.push(queued(&bus, 2, holding(2, 1), Priority::Poll).await);
        waiting.push(queued(&bus, 3, holding(3, 1), Priority::Poll).await);
        waiting.push(queued(&bus, 1, write(15, 16), Priority::SetPoint).await);
        waiting.push(queued(&bus, 2, write(15, 10), Priority::SetPoint).await);
        waiting.push(queued(&bus, 3, write(15, 6), Priority::Reduction).await);
        release.notify_one();
        held.await.unwrap();
        for task in waiting {
            assert!(task.await.unwrap().is_ok());
        }
        let expected = vec![(6, 15, 6), (6, 15, 16), (6, 15, 10), (3, 2, 1), (3, 3, 1), (3, 1, 1)];
        assert_eq!(asked(&peer), expected, "{medium:?}");
    }
}

#[tokio::test]
async fn a_newer_set_point_takes_the_place_of_an_older_one() {
    let (peer, bus, release, held) = holding_first(Medium::Tcp).await;
    let raise = queued(&bus, 1, write(15, 32), Priority::SetPoint).await;
    let other = queued(&bus, 2, write(15, 32), Priority::SetPoint).await;
    let lower = queued(&bus, 1, write(15, 6), Priority::Reduction).await;
    release.notify_one();
    held.await.unwrap();
    let raised = raise.await.unwrap().unwrap_err();
    assert!(matches!(raised, BusError::Superseded { .. }) && !raised.may_have_been_obeyed(), "{raised:?}");
    assert!(lower.await.unwrap().is_ok() && other.await.unwrap().is_ok());
    assert_eq!(asked(&peer), vec![(6, 15, 6), (6, 15, 32)]);
    assert_eq!(peer.log()[2].unit, 2);
    assert_eq!(bus.counters().superseded, 1);
}

#[tokio::test]
async fn writes_that_share_a_register_keep_their_order() {
    let (peer, bus, release, held) = holding_first(Medium::Tcp).await;
    let several = Operation::WriteMultiple { address: 14, values: vec![6, 32] };
    let mut waiting = vec![queued(&bus, 1, several, Priority::Slow).await];
    waiting.push(queued(&bus, 1, holding(3, 1), Priority::Poll).await);
    waiting.push(queued(&bus, 1, write(15, 6), Priority::Reduction).await);
    release.notify_one();
    held.await.unwrap();
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    let functions: Vec<u8> = asked(&peer).iter().map(|(function, ..)| *function).collect();
    assert_eq!(functions, vec![16, 6, 3]);
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let (peer, bus, release, held) = holding_first(Medium::Tcp).await;
    let mut waiting = Vec::new();
    // The one on the wire has its place, too.
    for _ in 1..QUEUE {
        waiting.push(queued(&bus, 1, holding(1, 1), Priority::Poll).await);
    }
    let refused = bus.call(1, holding(1, 1), AMPLE, Priority::Poll).await.unwrap_err();
    assert!(matches!(refused, BusError::QueueFull { limit: QUEUE, .. }), "{refused:?}");
    assert_eq!(bus.counters().refused, 1);
    release.notify_one();
    held.await.unwrap();
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    assert_eq!(peer.log().len(), QUEUE);
    assert!(read(&bus, 1, 5, 1, AMPLE).await.is_ok(), "there is room again");
}

#[tokio::test]
async fn what_is_too_old_is_not_sent() {
    let release = Arc::new(Notify::new());
    let told = Arc::clone(&release);
    let mut first = true;
    let peer = Peer::start(Medium::Tcp, move |ask| {
        if std::mem::take(&mut first) { Reaction::Hold(Arc::clone(&told)) } else { Reaction::Answer(ask.honest()) }
    })
    .await;
    let patience = Duration::from_millis(20);
    let bus = run(BusConfig { patience, ..config(&peer.connection) });
    // Not a poll: those make the round, and with it the patience.
    let held = queued(&bus, 1, holding(0, 1), Priority::Slow).await;
    peer.requests(1).await;
    let expired = queued(&bus, 1, write(15, 32), Priority::SetPoint).await;
    tokio::time::sleep_until(Instant::now() + SHORT).await;
    release.notify_one();
    assert!(held.await.unwrap().is_ok());
    let error = expired.await.unwrap().unwrap_err();
    assert!(matches!(error, BusError::Expired { .. }) && error.is_crowding(), "{error:?}");
    assert!(!error.may_have_been_obeyed());
    assert!(read(&bus, 1, 5, 1, AMPLE).await.is_ok());
    assert_eq!(asked(&peer), vec![(3, 5, 1)]);
    assert_eq!(bus.counters().expired, 1);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_not_sent() {
    let (peer, bus, release, held) = holding_first(Medium::RtuOverTcp).await;
    let dropped = queued(&bus, 1, write(15, 32), Priority::SetPoint).await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    release.notify_one();
    held.await.unwrap();
    assert_eq!(read(&bus, 1, 5, 1, AMPLE).await, Ok(vec![5]));
    assert_eq!(asked(&peer), vec![(3, 5, 1)]);
}

#[tokio::test]
async fn a_caller_that_leaves_in_mid_exchange_leaves_no_half_state() {
    for medium in [Medium::Tcp, Medium::RtuOverTcp] {
        let (peer, bus, release, held) = holding_first(medium).await;
        held.abort();
        assert!(held.await.unwrap_err().is_cancelled());
        let next = queued(&bus, 1, holding(32, 1), Priority::Poll).await;
        release.notify_one();
        let values = next.await.unwrap().unwrap();
        assert_eq!(values, gridkeeper::link::modbus::Reply::Registers(vec![32]), "{medium:?}");
        assert_eq!(peer.log().len(), 2, "{medium:?}");
        assert_eq!(bus.counters().reconnects, 0, "{medium:?}");
    }
}

/// Three units answer, one does not. Between two attempts at the dead one each of the others has been asked.
#[tokio::test]
async fn a_dead_unit_does_not_slow_the_others() {
    for medium in ALL {
        let peer = Peer::start(
            medium,
            |ask: &Ask| {
                if ask.unit == 9 { Reaction::Silence } else { Reaction::Answer(ask.honest()) }
            },
        )
        .await;
        let bus = bus(&peer.connection);
        // All are known to the bus before the dead one is asked.
        for unit in 1..=3 {
            assert!(read(&bus, unit, 0, 2, AMPLE).await.is_ok());
        }
        let mut polls = tokio::task::JoinSet::new();
        for unit in 1..=3 {
            let bus = bus.bus.clone();
            polls.spawn(async move {
                for _ in 0..100 {
                    assert!(read(&bus, unit, 0, 2, AMPLE).await.is_ok());
                }
            });
        }
        let dead = {
            let bus = bus.bus.clone();
            tokio::spawn(async move {
                loop {
                    assert!(read(&bus, 9, 0, 2, SHORT).await.is_err());
                }
            })
        };
        while let Some(done) = polls.join_next().await {
            done.unwrap();
        }
        dead.abort();
        let log = peer.log();
        let attempts: Vec<usize> = log.iter().enumerate().filter(|(_, ask)| ask.unit == 9).map(|(at, _)| at).collect();
        for pair in attempts.windows(2) {
            for unit in 1..=3 {
                assert!(
                    log[pair[0]..pair[1]].iter().any(|ask| ask.unit == unit),
                    "{medium:?}: unit {unit} had to wait"
                );
            }
        }
        assert!(
            attempts.len() * 4 <= log.len(),
            "{medium:?}: {} of {} requests went to the dead unit",
            attempts.len(),
            log.len()
        );
    }
}

#[tokio::test]
async fn impossible_requests_are_refused_before_they_are_sent() {
    let peer = Peer::start(Medium::Tcp, |ask: &Ask| Reaction::Answer(ask.honest())).await;
    let bus = bus(&peer.connection);
    let impossible = [
        (1, holding(0, 0)),
        (1, holding(0, 126)),
        (1, holding(65_535, 2)),
        (0, holding(0, 1)),
        (1, Operation::ReadCoils { address: 0, count: 2001 }),
        (1, Operation::WriteMultiple { address: 0, values: Vec::new() }),
        (1, Operation::WriteMultiple { address: 0, values: vec![0; 124] }),
    ];
    for (unit, operation) in impossible {
        let error = bus.call(unit, operation, AMPLE, Priority::Poll).await.unwrap_err();
        assert!(matches!(error, BusError::BadRequest { .. }), "{error:?}");
    }
    assert_eq!(read(&bus, 1, 65_535, 1, AMPLE).await, Ok(vec![65_535]));
    assert_eq!(peer.log().len(), 1);
}

#[tokio::test]
async fn a_port_has_one_owner() {
    let peer = Peer::start(Medium::Serial, |ask: &Ask| Reaction::Answer(ask.honest())).await;
    let cancel = CancellationToken::new();
    let buses = Buses::new(cancel.clone());
    let left = buses.get(config(&peer.connection));
    let right = buses.get(config(&peer.connection));
    let (a, b) = tokio::join!(read(&left, 1, 5, 1, AMPLE), read(&right, 2, 6, 1, AMPLE));
    assert_eq!((a, b), (Ok(vec![5]), Ok(vec![6])));
    assert_eq!(left.counters().answers, 2);
    assert_eq!(left.counters(), right.counters());
    cancel.cancel();
    assert_eq!(read(&left, 1, 5, 1, AMPLE).await, Err(BusError::Closed));
}

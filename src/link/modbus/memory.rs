//! A wire in memory, and what needs stopped time beside a wire.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Bus, BusConfig, BusError, Operation, Priority};
use crate::config::model::Connection;

/// Makes the near end of a wire each time the bus opens one.
#[derive(Clone)]
pub(crate) struct Wire(Arc<dyn Fn() -> DuplexStream + Send + Sync>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    pub(crate) fn new(open: impl Fn() -> DuplexStream + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(crate) fn open(&self) -> DuplexStream {
        (self.0)()
    }
}

/// A Modbus TCP server, one request after the other: registers hold 0, writes succeed, and each answer takes `turn`
/// and `word` for each register read. Unit 99 closes the connection.
fn serve(mut far: DuplexStream, turn: Duration, word: Duration) {
    tokio::spawn(async move {
        let mut head = [0; 7];
        while far.read_exact(&mut head).await.is_ok() {
            let mut pdu = vec![0; usize::from(head[5]) - 1];
            if far.read_exact(&mut pdu).await.is_err() || head[6] == 99 {
                return;
            }
            sleep(turn + if pdu[0] <= 4 { word * u32::from(pdu[4]) } else { Duration::ZERO }).await;
            if pdu[0] <= 4 {
                let bytes = pdu[4] * 2;
                pdu = vec![pdu[0], bytes];
                pdu.resize(2 + usize::from(bytes), 0);
            }
            head[5] = u8::try_from(pdu.len()).unwrap() + 1;
            let answer = [&head[..], &pdu].concat();
            if far.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
}

fn spawn(wire: Wire, cancel: &CancellationToken) -> Bus {
    let connection = Connection::Tcp { host: "memory".to_owned(), port: 502 };
    Bus::spawn(BusConfig { wire: Some(wire), ..BusConfig::new(connection) }, cancel.clone())
}

async fn read(bus: &Bus, unit: u8, address: u16, priority: Priority) -> Result<(), BusError> {
    read_words(bus, unit, address, 1, priority).await
}

async fn read_words(bus: &Bus, unit: u8, address: u16, count: u16, priority: Priority) -> Result<(), BusError> {
    let operation = Operation::ReadHolding { address, count };
    bus.call(unit, operation, Duration::from_millis(500), priority).await.map(|_| ())
}

/// 20 units that take 250 ms each: a round of 5 s, longer than any request waits on a quick bus.
#[tokio::test(start_paused = true)]
async fn on_a_bus_slower_than_its_patience_every_unit_is_asked_as_often() {
    #[derive(Clone, Copy, Debug, Default)]
    struct Asked {
        polls: u32,
        slow: u32,
        errors: u32,
    }
    let cancel = CancellationToken::new();
    let wire = Wire::new(|| {
        let (near, far) = duplex(1024);
        serve(far, Duration::from_millis(250), Duration::ZERO);
        near
    });
    let bus = spawn(wire, &cancel);
    let asked: Arc<Mutex<BTreeMap<u8, Asked>>> = Arc::default();
    let start = Instant::now();
    for unit in 1..=20 {
        let (bus, asked) = (bus.clone(), Arc::clone(&asked));
        tokio::spawn(async move {
            // As a charger's task: a poll each second, or when the last one is over, now and then something slow.
            let mut count = 0;
            loop {
                let begun = Instant::now();
                let poll = read(&bus, unit, 0, Priority::Poll).await;
                // Until each has been asked once, nobody can know how long a round takes.
                if start.elapsed() > Duration::from_secs(10) {
                    let mut asked = asked.lock().unwrap();
                    let asked = asked.entry(unit).or_default();
                    asked.polls += u32::from(poll.is_ok());
                    asked.errors += u32::from(poll.is_err());
                }
                count += 1;
                if count % 4 == 0 {
                    let slow = read(&bus, unit, 2000, Priority::Slow).await;
                    asked.lock().unwrap().entry(unit).or_default().slow += u32::from(slow.is_ok());
                }
                tokio::time::sleep_until(begun + Duration::from_secs(1)).await;
            }
        });
    }
    sleep(Duration::from_secs(300)).await;
    cancel.cancel();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 20);
    let polls = asked.values().map(|it| it.polls);
    let (least, most) = (polls.clone().min().unwrap(), polls.max().unwrap());
    assert!(least >= 35 && least * 10 >= most * 9, "{asked:?}");
    assert!(asked.values().all(|it| it.slow >= 8), "slow ones have their turn as well: {asked:?}");
    assert!(asked.values().all(|it| it.errors == 0), "{asked:?}");
}

/// Six SDM630 at 9600 baud: 44 ms for request, turnaround and the answer's frame, 2.1 ms for each register; 18 of them
/// in each round, and 28 once in ten seconds, all of them due at once.
#[tokio::test(start_paused = true)]
async fn counters_that_are_due_together_hold_no_reading_up_beyond_a_second() {
    let cancel = CancellationToken::new();
    let wire = Wire::new(|| {
        let (near, far) = duplex(1024);
        serve(far, Duration::from_millis(44), Duration::from_micros(2080));
        near
    });
    let bus = spawn(wire, &cancel);
    let (longest, counters) = (Arc::<Mutex<Duration>>::default(), Arc::<Mutex<BTreeMap<u8, u32>>>::default());
    for unit in 1..=6 {
        let (bus, longest, counters) = (bus.clone(), Arc::clone(&longest), Arc::clone(&counters));
        tokio::spawn(async move {
            let (mut last, mut due) = (None::<Instant>, Instant::now());
            loop {
                let begun = Instant::now();
                read_words(&bus, unit, 0, 18, Priority::Poll).await.unwrap();
                // The first round of all begins with the link.
                if let Some(last) = last.replace(Instant::now()) {
                    let mut longest = longest.lock().unwrap();
                    *longest = longest.max(last.elapsed());
                }
                if Instant::now() >= due
                    && let Some(_turn) = bus.slow_turn(unit)
                {
                    read_words(&bus, unit, 52, 28, Priority::Slow).await.unwrap();
                    *counters.lock().unwrap().entry(unit).or_default() += 1;
                    due = Instant::now() + Duration::from_secs(10);
                }
                tokio::time::sleep_until(begun + Duration::from_millis(800)).await;
            }
        });
    }
    sleep(Duration::from_secs(120)).await;
    cancel.cancel();
    let (longest, counters) = (*longest.lock().unwrap(), counters.lock().unwrap().clone());
    assert!(longest <= Duration::from_secs(1), "{longest:?}");
    assert!(counters.len() == 6 && counters.values().all(|it| *it >= 8), "{counters:?}");
}

/// Time until the unit answers.
async fn until_answered(bus: &Bus) -> Duration {
    let begun = Instant::now();
    while let Err(error) = read(bus, 1, 0, Priority::Reduction).await {
        assert!(matches!(error, BusError::NotConnected { .. } | BusError::Closed), "{error:?}");
        sleep(Duration::from_millis(10)).await;
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_bus_whose_task_panics_is_started_again_and_its_pace_is_forgiven_after_a_minute() {
    let cancel = CancellationToken::new();
    let panics = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&panics);
    let wire = Wire::new(move || {
        assert!(!asked.load(Ordering::Relaxed), "the wire panics, as it is to");
        let (near, far) = duplex(1024);
        serve(far, Duration::from_millis(1), Duration::ZERO);
        near
    });
    let bus = spawn(wire, &cancel);
    // It goes down again and again, at a longer and longer pace.
    sleep(Duration::from_secs(120)).await;
    let refused = read(&bus, 1, 0, Priority::Poll).await.unwrap_err();
    assert!(refused.to_string().contains("started again") && !refused.may_have_been_obeyed(), "{refused:?}");
    panics.store(false, Ordering::Relaxed);
    let slow = until_answered(&bus).await;
    assert!(slow <= Duration::from_secs(31), "{slow:?}");
    sleep(Duration::from_secs(61)).await;
    panics.store(true, Ordering::Relaxed);
    assert!(read(&bus, 99, 0, Priority::Poll).await.is_err());
    // It opens the wire with the next request and dies of it.
    assert!(read(&bus, 1, 0, Priority::Poll).await.is_err());
    panics.store(false, Ordering::Relaxed);
    let quick = until_answered(&bus).await;
    assert!(quick <= Duration::from_millis(1100), "{quick:?}");
    cancel.cancel();
    assert_eq!(read(&bus, 1, 0, Priority::Poll).await, Err(BusError::Closed));
}

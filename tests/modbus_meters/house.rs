//! Six meters on one line of 9600 baud: each has its turn. `benches/house.rs` measures how long a round takes.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;

/// A meter thinks for so long before it answers; Eastron's answer within 20 to 40 ms.
const TURNAROUND: Duration = Duration::from_millis(30);

/// The time that a request and its answer are on the wire, ten bits for each byte.
fn on_the_wire(ask: &Ask) -> Duration {
    let bytes = 8 + 5 + 2 * u64::from(ask.second());
    Duration::from_micros(bytes * 10_000_000 / 9600)
}

/// A pseudo-terminal has no baud rate, so the device waits in its place. Prints what it measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn six_meters_share_a_line_of_9600_baud() {
    let case = CASES.iter().find(|it| it.model == "eastron-sdm630").unwrap();
    let registers = map(case);
    let peer = Peer::start(Medium::Serial, move |ask| {
        std::thread::sleep(on_the_wire(ask) + TURNAROUND);
        serve(&registers, &Ask { unit: UNIT, ..ask.clone() })
    })
    .await;
    let cancel = CancellationToken::new();
    let _end = cancel.clone().drop_guard();
    let bus = Bus::spawn(BusConfig::new(peer.connection.clone()), cancel.clone());
    let (sender, inbox) = sync_channel(10_000);
    for index in 0..6_u8 {
        let port = Port { bus: bus.clone(), unit: index + 1, model: Arc::new(model("eastron-sdm630")) };
        let (control, clock, token) = (ControlLink::new(sender.clone()), Clock::start(), cancel.clone());
        tokio::spawn(async move {
            let who = Who { index: usize::from(index), id: "meter", role: MeterRole::Other };
            run(who, port, Mapping::default(), control, clock, token).await;
        });
    }
    let begun = Instant::now();
    let mut last: BTreeMap<usize, Instant> = BTreeMap::new();
    let mut between: Vec<Duration> = Vec::new();
    while between.len() < 60 {
        assert!(begun.elapsed() < PATIENCE, "{} readings", between.len());
        while let Ok(message) = inbox.try_recv() {
            if let ToControl::Meter { meter, .. } = message
                && let Some(before) = last.insert(meter, Instant::now())
            {
                between.push(before.elapsed());
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    between.sort();
    let (median, longest) = (between[between.len() / 2], between[between.len() - 1]);
    println!("six SDM630 at 9600 baud: {median:?} between two readings of one, {longest:?} at most");
    assert_eq!(last.len(), 6, "every meter has its turn");
}

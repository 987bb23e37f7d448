//! Readers over loopback, fed from a tap.

use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::codec::p1::{Decoder, encode};
use crate::config::model::ServeKind;

/// For everything that must come.
const LONG: Duration = Duration::from_secs(30);

struct Served {
    address: SocketAddr,
    tap: Tap,
    status: watch::Receiver<ServeStatus>,
    events: Receiver<ToControl>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn start(listen: SocketAddr, patience: Duration) -> Served {
    let (tap, cancel) = (Tap::default(), CancellationToken::new());
    let (sender, status) = watch::channel(ServeStatus::new(ServeKind::P1, "main"));
    let (control, events) = sync_channel(100);
    let options = Serve { kind: ServeKind::P1, source: 0, listen, allow: Vec::new() };
    let (tap_end, cancel_end) = (tap.clone(), cancel.clone());
    let task = tokio::spawn(async move {
        let control = ControlLink::new(control);
        cancel_end.run_until_cancelled(serve(&options, &tap_end, &sender, &control, patience)).await;
    });
    Served { address: listen, tap, status, events, cancel, task }
}

impl Served {
    async fn on_loopback(patience: Duration) -> Self {
        let mut served = start(([127, 0, 0, 1], 0).into(), patience);
        served.address = served.until(|it| it.listen.is_some()).await.listen.unwrap();
        served
    }

    async fn until(&mut self, reached: impl FnMut(&ServeStatus) -> bool) -> ServeStatus {
        let shown = self.status.clone();
        match timeout(LONG, self.status.wait_for(reached)).await {
            Ok(status) => status.unwrap().clone(),
            Err(_) => panic!("not reached: {:?}", shown.borrow()),
        }
    }

    /// One more reader, let in.
    async fn reader(&mut self) -> TcpStream {
        let before = self.status.borrow().readers;
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.until(|it| it.readers == before + 1).await;
        stream
    }

    fn send(&self, telegram: &[u8]) {
        let (mut decoder, mut rest) = (Decoder::new(None), telegram);
        self.tap.pass_on(&decoder.decode(&mut rest).unwrap().unwrap());
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

/// About `length` bytes.
fn telegram(number: u32, length: usize) -> Vec<u8> {
    let text = format!("0-0:96.13.0({})", "30".repeat(length / 2));
    encode("/GKT5TEST", ["1-3:0.2.8(50)", &format!("1-0:1.7.0({:02}.{:03}*kW)", number / 1000, number % 1000), &text])
}

async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    timeout(LONG, stream.read_exact(&mut bytes)).await.expect("a telegram comes").unwrap();
    bytes
}

/// Whether the other side hung up.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(LONG, stream.read_to_end(&mut rest)).await.expect("an end comes").is_err() || rest.is_empty()
}

#[tokio::test]
async fn every_reader_gets_whole_telegrams_from_the_next_one_on() {
    let mut served = Served::on_loopback(PATIENCE).await;
    let all: Vec<Vec<u8>> = (1..=3).map(|it| telegram(it, 600)).collect();
    let (one, two, three) = (&all[0], &all[1], &all[2]);
    served.send(one);
    let (mut first, mut second) = (served.reader().await, served.reader().await);
    served.send(two);
    assert_eq!(&read(&mut first, two.len()).await, two);
    assert_eq!(&read(&mut second, two.len()).await, two);
    let mut late = served.reader().await;
    served.send(three);
    for reader in [&mut first, &mut second, &mut late] {
        assert_eq!(&read(reader, three.len()).await, three);
    }
    drop(first);
    let status = served.until(|it| it.readers == 2).await;
    assert_eq!((status.passed_on, status.dropped, status.refused), (5, 0, 0));
    served.cancel.cancel();
    assert!(is_closed(&mut late).await);
    served.stop().await;
}

#[tokio::test]
async fn who_does_not_read_is_shut_out_and_nobody_waits_for_him() {
    let mut served = Served::on_loopback(Duration::from_millis(200)).await;
    let (mut good, idle) = (served.reader().await, served.reader().await);
    // Until the system keeps no more for the idle one: a few hundred kilobytes here, never more than this.
    for number in 0..3000 {
        let telegram = telegram(number, 12_000);
        served.send(&telegram);
        assert_eq!(read(&mut good, telegram.len()).await, telegram);
        if served.status.borrow().dropped > 0 {
            break;
        }
    }
    served.until(|it| it.dropped == 1 && it.readers == 1).await;
    served.send(&telegram(9, 100));
    assert_eq!(read(&mut good, telegram(9, 100).len()).await, telegram(9, 100));
    drop(idle);
    served.stop().await;
}

#[tokio::test]
async fn who_talks_is_shut_out_and_a_greeting_is_not_talk() {
    let mut served = Served::on_loopback(PATIENCE).await;
    let (mut polite, mut loud) = (served.reader().await, served.reader().await);
    polite.write_all(b"\xFF\xFD\x03").await.unwrap();
    // It may be shut out before all of it is sent.
    let _ = loud.write_all(&[b'x'; 4096]).await;
    served.until(|it| it.dropped == 1 && it.readers == 1).await;
    assert!(is_closed(&mut loud).await);
    let one = telegram(1, 600);
    served.send(&one);
    assert_eq!(read(&mut polite, one.len()).await, one);
    served.stop().await;
}

#[tokio::test]
async fn there_is_a_limit_and_a_place_becomes_free_again() {
    let mut served = Served::on_loopback(PATIENCE).await;
    let mut readers = Vec::new();
    for _ in 0..MOST_READERS {
        readers.push(served.reader().await);
    }
    let mut too_many = TcpStream::connect(served.address).await.unwrap();
    assert!(is_closed(&mut too_many).await);
    let status = served.until(|it| it.refused == 1).await;
    assert_eq!(status.readers, MOST_READERS);
    readers.pop();
    served.until(|it| it.readers == MOST_READERS - 1).await;
    let mut late = served.reader().await;
    let one = telegram(1, 600);
    served.send(&one);
    for reader in readers.iter_mut().chain([&mut late]) {
        assert_eq!(read(reader, one.len()).await, one);
    }
    served.stop().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_once_and_had_later() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut served = start(other.local_addr().unwrap(), PATIENCE);
    let problem = served.until(|it| it.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains(&other.local_addr().unwrap().to_string()), "{problem}");
    let told = |it: &ToControl| matches!(it, ToControl::Event(event) if event.event_type == EventType::Risk);
    assert!(told(&served.events.recv_timeout(LONG).unwrap()));
    drop(other);
    served.until(|it| it.listen.is_some() && it.problem.is_none()).await;
    assert!(!served.events.try_iter().any(|it| told(&it)));
    let mut reader = served.reader().await;
    let one = telegram(1, 600);
    served.send(&one);
    assert_eq!(read(&mut reader, one.len()).await, one);
    served.stop().await;
}

#[test]
fn this_machine_is_let_in_and_who_is_named() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let allow = [address("192.0.2.10"), address("2001:db8::1")];
    for (peer, expected) in [
        ("127.0.0.1", true),
        ("::1", true),
        ("::ffff:127.0.0.1", true),
        ("192.0.2.10", true),
        ("::ffff:192.0.2.10", true),
        ("2001:db8::1", true),
        ("192.0.2.11", false),
        ("2001:db8::2", false),
    ] {
        assert_eq!(is_allowed(&allow, address(peer)), expected, "{peer}");
    }
    assert!(!is_allowed(&[], address("192.0.2.10")));
}

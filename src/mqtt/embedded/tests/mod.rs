mod peers;
mod router;
mod wire;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn port_0_is_a_free_one_and_a_taken_one_says_so() {
    let first = Embedded::start(loopback(0), None).await.unwrap();
    assert_ne!(first.address.port(), 0);
    let error = Embedded::start(first.address, None).await.err().unwrap();
    assert!(error.contains("taken") && error.contains("[mqtt] url"), "{error}");
    let address = first.address;
    first.stop().await;
    Embedded::start(address, None).await.unwrap().stop().await;
}

/// A connection that has said who it is.
async fn client(broker: SocketAddr, id: u8) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(broker).await.unwrap();
    let hello = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, id];
    let mut answer = [0; 4];
    let sent = stream.write_all(&hello).await.is_ok();
    let taken = sent && stream.read_exact(&mut answer).await.is_ok() && answer == [0x20, 2, 0, 0];
    (stream, taken)
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_connection_before_it_was_read() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (mut stream, taken) = client(broker.address, b'a').await;
    assert!(taken);
    // The fixed header of a publication of four times the size; its body never comes.
    stream.write_all(&[0x30, 0x80, 0x80, 0x40]).await.unwrap();
    let end = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("the broker waits for the rest of it");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    broker.stop().await;
}

#[tokio::test]
async fn there_is_room_for_so_many_clients_and_no_more() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let mut held = Vec::new();
    for id in 0..u8::try_from(MAX_CLIENTS).unwrap() {
        let (stream, taken) = client(broker.address, b'0' + id).await;
        assert!(taken, "client {id}");
        held.push(stream);
    }
    assert!(!client(broker.address, b'z').await.1);
    broker.stop().await;
}

#[tokio::test]
async fn who_does_not_say_who_it_is_makes_room_for_who_does() {
    let broker = Embedded::start(loopback(0), None).await.unwrap();
    let (mut known, taken) = client(broker.address, b'k').await;
    assert!(taken);
    let mut silent = Vec::new();
    for _ in 0..MAX_STRANGERS {
        silent.push(TcpStream::connect(broker.address).await.unwrap());
    }
    assert!(client(broker.address, b'a').await.1);
    // The oldest has gone for it, and nobody who said its name.
    let mut ended = [0; 1];
    assert!(matches!(timeout(PATIENCE, silent[0].read(&mut ended)).await, Ok(Ok(0) | Err(_))));
    known.write_all(&[0xC0, 0]).await.unwrap();
    let mut pong = [0; 2];
    known.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0xD0, 0]);
    let last = silent.last_mut().unwrap();
    last.write_all(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'z']).await.unwrap();
    let mut answer = [0; 4];
    last.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    let told = broker.shared.router().report().unwrap();
    assert!(told.starts_with("1 connections refused") && told.contains("do not say who they are"), "{told}");
    broker.stop().await;
}

#[tokio::test]
async fn off_the_machine_it_wants_a_login() {
    for login in [None, Some(("somebody".to_owned(), None))] {
        let error = Embedded::start(SocketAddr::from(([0, 0, 0, 0], 0)), login).await.err().unwrap();
        assert!(error.contains("username"), "{error}");
    }
}

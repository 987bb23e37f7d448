//! `gridkeeper demo` as people meet it: the real program from the first line to its end.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod support;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use support::{Gridkeeper, Output};

fn demo(arguments: &[&str], output: Output) -> Gridkeeper {
    Gridkeeper::start(tempfile::tempdir().unwrap(), |it, _| it.arg("demo").args(arguments), output)
}

/// Text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

#[tokio::test]
async fn it_announces_broker_and_page_balances_the_cars_and_ends_on_ctrl_c() {
    let mut demo = demo(&["--mqtt", "0", "--web", "0"], Output::Read);
    let draws = |line: &str| {
        let garage = line.split_once("| Garage ").and_then(|(_, rest)| rest.trim_start().split_once('/'));
        garage.is_some_and(|(drawn, _)| drawn.parse().is_ok_and(|drawn: f64| drawn > 5.0))
    };
    let output = demo.until_output("a car that charges", |it| it.lines().any(draws)).await;
    let broker = between(&output, "mqtt://", " ");
    TcpStream::connect(broker).await.unwrap();

    let page = between(&output, "page     http://", "/");
    let mut stream = TcpStream::connect(page).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("Garage") && answer.contains("Carport"), "{answer}");
    assert!(answer.contains("Roof") && answer.contains(" from the sun."), "{answer}");

    demo.signal(Signal::SIGINT);
    assert_eq!(demo.ended().await.code(), Some(0));
    let output = demo.until_output("the last line", |it| it.contains("Stopped")).await;
    let line = output.lines().find(|it| draws(it)).unwrap();
    assert!(line.contains("L1") && line.contains("/25 A") && line.contains("| Garage") && line.contains("| Carport"));
    for line in output.lines() {
        assert!(line.len() <= 120, "{} columns: {line}", line.len());
    }
    let left = std::fs::read_dir(demo.folder()).unwrap().count();
    assert_eq!(left, 0, "the data directory of the demo is gone");
}

#[tokio::test]
async fn it_ends_by_itself_after_its_time_although_its_output_is_blocked_from_the_first_byte() {
    let mut demo = demo(&["--mqtt", "0", "--web", "0", "--for", "2.5"], Output::Blocked);
    assert_eq!(demo.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut demo = demo(&["--mqtt", "0", "--web", &port], Output::Read);
    assert_eq!(demo.ended().await.code(), Some(1));
    demo.until_log("the port", |it| it.contains(&port) && it.contains("0 picks a free one")).await;
}

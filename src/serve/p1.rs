//! The telegrams of a P1 port for several readers, since most gateways serve one and a port has one plug.
//!
//! A reader is given every good telegram whole from the next one on, byte for byte as the meter sent it. Nothing is kept
//! for later: while the meter is silent the readers hear nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::ServeStatus;
use crate::codec::p1::MAX_TELEGRAM;
use crate::config::model::Serve;
use crate::device::meter::p1::Tap;
use crate::device::{ControlLink, ToControl};
use crate::event::{Event, EventType};
use crate::link::Backoff;

/// Readers at a time.
pub const MOST_READERS: usize = 16;
/// A reader whose system takes nothing for so long does not read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Telnet clients greet; nobody has more to say here.
const MOST_SAID: usize = 1024;
/// What the system keeps for a reader, about. Left alone it would grow to megabytes, hours of old telegrams.
const SEND_BUFFER: u32 = MAX_TELEGRAM as u32;

/// Why a reader was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// He hung up, or his line is cut.
    Left,
    /// He does not read as fast as the meter sends.
    Slow,
    /// He talks.
    Talks,
}

/// Serves until `cancel`, as soon as the address can be had.
pub(crate) async fn run(
    options: Serve,
    tap: Tap,
    status: watch::Sender<ServeStatus>,
    control: ControlLink,
    cancel: CancellationToken,
) {
    // Readers hear the end of their connection and nothing else: there is nothing to say at a stop.
    let _: Option<()> = cancel.run_until_cancelled(serve(&options, &tap, &status, &control, PATIENCE)).await;
}

async fn serve(
    options: &Serve,
    tap: &Tap,
    status: &watch::Sender<ServeStatus>,
    control: &ControlLink,
    patience: Duration,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let listener = loop {
        match bind(options.listen) {
            Ok(listener) => break listener,
            Err(error) => {
                let problem = format!("P1 telegrams cannot be passed on at {}: {error}", options.listen);
                if status.borrow().problem.is_none() {
                    tracing::error!("{problem}; trying again");
                    let detail = format!("{problem}; set listen of [[serve]] to a free address");
                    control.tell(ToControl::Event(Event::new(EventType::Risk, "bridge", detail)));
                }
                status.send_modify(|it| it.problem = Some(problem));
            }
        }
        sleep(backoff.next()).await;
    };
    let address = listener.local_addr().unwrap_or(options.listen);
    tracing::info!("P1 telegrams are passed on at {address}");
    status.send_modify(|it| (it.listen, it.problem) = (Some(address), None));
    let_in(&listener, &options.allow, tap, status, patience).await;
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Whoever is accepted inherits it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(64)
}

/// Lets readers in, for good.
async fn let_in(
    listener: &TcpListener,
    allow: &[IpAddr],
    tap: &Tap,
    status: &watch::Sender<ServeStatus>,
    patience: Duration,
) {
    // Dropped with us, and every reader with it.
    let mut readers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = readers.join_next() => {
                status.send_modify(|it| it.readers = readers.len());
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, as a rule: give others time to close theirs.
                tracing::warn!(%error, "a reader of P1 telegrams cannot be let in");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        // Those that left must not stand in the way of newcomers.
        while readers.try_join_next().is_some() {}
        let refusal = if !is_allowed(allow, peer.ip()) {
            Some("is not in allow")
        } else if readers.len() >= MOST_READERS {
            Some("is one too many")
        } else {
            None
        };
        if let Some(refusal) = refusal {
            tracing::debug!(%peer, "a reader of P1 telegrams {refusal}");
            status.send_modify(|it| (it.refused, it.readers) = (it.refused + 1, readers.len()));
            continue;
        }
        let (telegrams, status_end) = (tap.listen(), status.clone());
        readers.spawn(async move {
            let end = feed(stream, telegrams, &status_end, patience).await;
            if end == End::Left {
                tracing::debug!(%peer, "a reader of P1 telegrams left");
            } else {
                tracing::warn!(%peer, "a reader of P1 telegrams is shut out: {}", end.sentence());
                status_end.send_modify(|it| it.dropped += 1);
            }
        });
        status.send_modify(|it| it.readers = readers.len());
    }
}

impl End {
    fn sentence(self) -> &'static str {
        match self {
            Self::Left => "it left",
            Self::Slow => "it does not read what the meter sends",
            Self::Talks => "it sends, where there is only something to read",
        }
    }
}

/// A listener for both kinds of address shows the older kind inside of the newer one.
fn is_allowed(allow: &[IpAddr], peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || allow.iter().any(|it| it.to_canonical() == peer)
}

/// Gives a reader every telegram from the next one on.
async fn feed(
    mut stream: TcpStream,
    mut telegrams: broadcast::Receiver<Arc<[u8]>>,
    status: &watch::Sender<ServeStatus>,
    patience: Duration,
) -> End {
    // A telegram is not to wait for the acknowledgement of the one before. Without it all works, only later.
    let _ = stream.set_nodelay(true);
    let (mut from, mut to) = stream.split();
    let (mut scratch, mut said) = ([0; 256], 0);
    loop {
        tokio::select! {
            telegram = telegrams.recv() => {
                let telegram = match telegram {
                    Ok(telegram) => telegram,
                    Err(RecvError::Lagged(_)) => return End::Slow,
                    Err(RecvError::Closed) => return End::Left,
                };
                match timeout(patience, to.write_all(&telegram)).await {
                    Ok(Ok(())) => status.send_modify(|it| it.passed_on += 1),
                    Ok(Err(_)) => return End::Left,
                    Err(_) => return End::Slow,
                }
            }
            heard = from.read(&mut scratch) => match heard {
                Ok(0) | Err(_) => return End::Left,
                Ok(length) => {
                    said += length;
                    if said > MOST_SAID {
                        return End::Talks;
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;

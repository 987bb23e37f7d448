//! Who announces himself on the local network as something that can be read: asked by multicast, then each asked over
//! HTTP who he is, without a login.

mod directory;
mod look;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Outcome, ScanError};
use crate::codec::dns::{self, MAX_MESSAGE};
use directory::{Device, Directory};

/// Where multicast DNS is spoken (RFC 6762 section 3).
const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353);
/// Devices that are asked over HTTP; a house has fewer.
const MOST_DEVICES: usize = 64;

/// Where to ask, and how patiently.
#[derive(Clone, Debug)]
pub struct Network {
    /// Address of this machine on the network that is meant; unspecified: the system's choice.
    pub from: IpAddr,
    /// Whom to ask.
    pub group: SocketAddr,
    /// Between two questions; the first one may be lost, and small devices sleep.
    pub pause: Duration,
    /// So often.
    pub questions: u32,
}

impl Default for Network {
    fn default() -> Self {
        let from = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { from, group: GROUP, pause: Duration::from_millis(1500), questions: 3 }
    }
}

/// Asks the network and prints what is there. Answers of everybody who is not a known kind of device are read over.
///
/// # Errors
/// When nothing can be sent there, and as the terminal says it.
pub async fn lan(
    network: &Network,
    stop: &CancellationToken,
    out: &mut dyn Write,
    progress: &mut dyn Write,
) -> Result<Outcome, ScanError> {
    let mut directory = Directory::default();
    stop.run_until_cancelled(ask(network, &mut directory, progress)).await.transpose()?;
    let devices = directory.devices();
    let left_out = devices.len().saturating_sub(MOST_DEVICES);
    let mut asked = JoinSet::new();
    for (place, device) in devices.into_iter().take(MOST_DEVICES).enumerate() {
        asked.spawn(async move { (place, look::at(device).await) });
    }
    let mut found = Vec::new();
    while let Some(Some(done)) = stop.run_until_cancelled(asked.join_next()).await {
        if let Ok(done) = done {
            found.push(done);
        }
        write!(progress, "\rasking who they are, {} left   ", asked.len())?;
        progress.flush()?;
    }
    writeln!(progress)?;
    // In the order in which they were heard of, whoever answered first.
    found.sort_by_key(|it| it.0);
    let mut ids = Vec::new();
    for (_, it) in &found {
        it.report(&mut ids, out)?;
    }
    if left_out > 0 {
        writeln!(out, "# {left_out} more announce themselves and were not asked: {MOST_DEVICES} at a time")?;
    }
    Ok(Outcome { found: found.len(), instead: None, stopped_at: stop.is_cancelled().then_some(0), settled: None })
}

async fn ask(network: &Network, directory: &mut Directory, progress: &mut dyn Write) -> Result<(), ScanError> {
    let cannot = |error: std::io::Error| ScanError::NoLink(format!("the network cannot be asked: {error}"));
    let socket = UdpSocket::bind(SocketAddr::new(network.from, 0)).await.map_err(cannot)?;
    let mut message = vec![0; MAX_MESSAGE];
    for number in 1..=network.questions {
        write!(progress, "\rasking the network, {number} of {}, {} heard   ", network.questions, directory.len())?;
        progress.flush()?;
        let question = dns::question(number as u16, &directory.questions());
        socket.send_to(&question, network.group).await.map_err(cannot)?;
        let until = Instant::now() + network.pause;
        loop {
            match timeout_at(until, socket.recv_from(&mut message)).await {
                Err(_) => break,
                Ok(Ok((length, from))) => match dns::records(&message[..length]) {
                    Ok(records) => directory.hear(records, from.ip()),
                    Err(error) => tracing::debug!(%from, "{error}"),
                },
                // An answer of the system that nobody listens at an address; others may.
                Ok(Err(error)) => tracing::debug!("{error}"),
            }
        }
    }
    Ok(())
}

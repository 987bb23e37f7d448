//! Keeps a bus's task alive: whoever asks must never find that nobody reads the queue any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::actor::Actor;
use super::error::BusError;
use super::queue::Waiting;
use super::{BusConfig, SharedStats};
use crate::config::model::Connection;
use crate::link::Backoff;

/// First wait after a panic. What was on the wire then is forgotten, so it must be over: no answer is waited for longer.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait.
const MAX: Duration = Duration::from_secs(30);
/// A task that has run for so long was well.
const WELL: Duration = Duration::from_secs(60);

/// Runs until the token is cancelled or the last handle is gone.
pub(super) async fn run(
    config: BusConfig,
    requests: mpsc::Receiver<Waiting>,
    stats: SharedStats,
    cancel: CancellationToken,
) {
    let name = name(&config.connection);
    let requests = Arc::new(Mutex::new(requests));
    let mut backoff = Backoff::new(FIRST, MAX);
    loop {
        let begun = Instant::now();
        let queue = Arc::clone(&requests).lock_owned().await;
        let actor = Actor::new(config.clone(), Arc::clone(&name), queue, stats.clone());
        // An exchange may be cut anywhere: the link dies with it.
        let task = tokio::spawn(cancel.clone().run_until_cancelled_owned(actor.serve()));
        match task.await {
            Err(error) if error.is_panic() => {
                tracing::error!(bus = %name, "the bus's task failed and is started again: {error}");
            }
            Ok(_) | Err(_) => return,
        }
        if begun.elapsed() >= WELL {
            backoff.reset();
        }
        let again = Instant::now() + backoff.next();
        let why: Arc<str> = "its task failed and is started again".into();
        let mut queue = requests.lock().await;
        let refuse = async {
            while let Some(request) = queue.recv().await {
                stats.lock().counters.unconnected += 1;
                request.answer(Err(BusError::NotConnected { link: Arc::clone(&name), why: Arc::clone(&why) }));
            }
        };
        match cancel.run_until_cancelled(timeout_at(again, refuse)).await {
            Some(Err(_)) => {}
            Some(Ok(())) | None => return,
        }
    }
}

fn name(connection: &Connection) -> Arc<str> {
    match connection {
        Connection::Serial(line) => line.path.display().to_string().into(),
        Connection::Tcp { host, port } | Connection::RtuOverTcp { host, port } => format!("{host}:{port}").into(),
    }
}

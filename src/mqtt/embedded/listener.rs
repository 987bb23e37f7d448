//! Takes connections, and looks once a second what time has brought.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{GOODBYE, MAX_CONNECTIONS, MAX_STRANGERS, Shared, connection};

const SWEEP: Duration = Duration::from_secs(1);
/// What went wrong is told no more often.
const REPORT: Duration = Duration::from_secs(60);

/// Serves until it is cancelled, then lets the connections say so for a while.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = None;
    // Of each connection that has not said who it is, the oldest first; closed when it has, or has ended.
    let mut strangers = VecDeque::<oneshot::Sender<()>>::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!("a connection of the built-in broker failed: {error}");
                }
                continue;
            }
            _ = sweep.tick() => {
                let now = Instant::now();
                let mut router = shared.router();
                router.sweep(now);
                if reported.is_none_or(|it| now.duration_since(it) >= REPORT)
                    && let Some(report) = router.report()
                {
                    reported = Some(now);
                    tracing::warn!("the built-in broker: {report}");
                }
                continue;
            }
            () = shared.cancel.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < MAX_CONNECTIONS => {
                // Small packets that somebody waits for.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, "the built-in broker: {error}");
                }
                strangers.retain(|it| !it.is_closed());
                if strangers.len() >= MAX_STRANGERS {
                    // One that means it has said so long ago.
                    strangers.pop_front();
                }
                let (stranger, stay) = oneshot::channel();
                strangers.push_back(stranger);
                connections.spawn(connection::serve(stream, Arc::clone(&shared), stay));
                // It may have said so already.
                yield_now().await;
            }
            Ok((_, peer)) => {
                let mut router = shared.router();
                router.counters.refused += 1;
                router.counters.newest = format!("{peer} found too many connections");
            }
            Err(error) => {
                // Out of file descriptors, as a rule: give others time to close theirs.
                tracing::warn!(%error, "the built-in broker cannot accept a connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(GOODBYE, async { while connections.join_next().await.is_some() {} }).await;
}

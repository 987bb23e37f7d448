//! Runs a task, and runs it again when it ends by a panic.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::device::{ControlLink, ToControl};
use crate::event::{Event, EventType};

/// A task that fails again so soon is given a pause; one that ran longer is started again at once.
const HEALTHY: Duration = Duration::from_secs(60);
/// Short, because a device without a task has nobody who serves its lease.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs what `task` makes until it returns by itself, or until `cancel`. `name` stands in the event and in the log.
pub(super) async fn supervise<F>(
    name: String,
    control: ControlLink,
    cancel: CancellationToken,
    mut task: impl FnMut() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let begun = Instant::now();
        match tokio::spawn(task()).await {
            Ok(()) => return,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                let detail = format!("the task of `{name}` failed and is started again: {error}");
                control.tell(ToControl::Event(Event::new(EventType::Risk, name.clone(), detail)));
            }
        }
        if begun.elapsed() < HEALTHY {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = cancel.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_and_told() {
        let (sender, inbox) = sync_channel(4);
        let runs = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&runs);
        let task = move || {
            let run = counter.fetch_add(1, Ordering::Relaxed);
            async move { assert!(run > 1, "fails twice") }
        };
        supervise("left".to_owned(), ControlLink::new(sender), CancellationToken::new(), task).await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
        let told: Vec<_> = inbox.try_iter().collect();
        assert!(
            matches!(&told[..], [ToControl::Event(first), ToControl::Event(_)] if first.subject == "left"),
            "{told:?}"
        );
    }
}

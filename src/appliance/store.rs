//! Run-time settings on their way to disk. Two threads: the desk answers wishes and never waits long, the disk may hang
//! as long as it likes. Neither holds a decision back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::control_loop::answer;
use crate::config::{Config, SettingsStore};
use crate::control::Accepted;
use crate::device::{Answer, ControlLink, ToControl};
use crate::event::{Event, EventType};

/// Settings on their way to the disk.
const QUEUE: usize = 64;
/// A disk that takes longer than this has not stored the setting as far as the answer goes; it may still do so.
const PATIENCE: Duration = Duration::from_secs(1);

/// A wish that was accepted, with the one who waits to hear whether it was stored.
pub(super) struct StoreRequest {
    pub(super) accepted: Accepted,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// Starts both threads; they end once every sender is gone and what was queued is written. The handle is the disk's.
pub(super) fn start(
    store: SettingsStore,
    config: Arc<Config>,
    control: ControlLink,
) -> std::io::Result<(SyncSender<StoreRequest>, JoinHandle<()>)> {
    let (requests, inbox) = sync_channel(QUEUE);
    let (jobs, work) = sync_channel(QUEUE);
    let (done, finished) = channel();
    let disk =
        std::thread::Builder::new().name("disk".into()).spawn(move || write(store, &config, &work, &done, &control))?;
    std::thread::Builder::new().name("store".into()).spawn(move || desk(&inbox, &jobs, &finished))?;
    Ok((requests, disk))
}

/// Hands each setting to the disk and answers its wish within `PATIENCE`, or at once while the disk already hangs.
fn desk(inbox: &Receiver<StoreRequest>, jobs: &SyncSender<Accepted>, finished: &Receiver<bool>) {
    let mut unfinished = 0_usize;
    while let Ok(StoreRequest { accepted, reply }) = inbox.recv() {
        unfinished = unfinished.saturating_sub(finished.try_iter().count());
        let stored = match jobs.try_send(accepted.clone()) {
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            Ok(()) if unfinished > 0 => {
                unfinished += 1;
                false
            }
            Ok(()) => finished.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                unfinished += 1;
                false
            }),
        };
        answer(reply, Ok(accepted), Some(stored));
    }
}

fn write(
    mut store: SettingsStore,
    config: &Config,
    work: &Receiver<Accepted>,
    done: &Sender<bool>,
    control: &ControlLink,
) {
    let mut failing = false;
    while let Ok(accepted) = work.recv() {
        let result = match &accepted {
            Accepted::Reset => store.clear(),
            Accepted::Setting { key, value } => {
                // A key that the file cannot hold compares as absent on both sides.
                let file = config.setting(key).unwrap_or_else(|| "none".to_owned());
                store.set(key, value.as_deref(), &file)
            }
            Accepted::Done | Accepted::Passing | Accepted::Action(..) => Ok(()),
        };
        if let Err(error) = &result
            && !failing
        {
            let detail = format!("settings are in force but not stored: {error}");
            control.tell(ToControl::Event(Event::new(EventType::DiskError, "bridge", detail)));
        }
        failing = result.is_err();
        // The desk may have ended already; the setting is on disk all the same.
        let _ = done.send(result.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Accepted {
        Accepted::Setting { key: "site/charging_enabled".to_owned(), value: Some("false".to_owned()) }
    }

    fn ask(requests: &SyncSender<StoreRequest>) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        assert!(requests.send(StoreRequest { accepted: setting(), reply }).is_ok(), "the desk works");
        answer
    }

    #[test]
    fn a_disk_that_hangs_makes_the_answer_say_so_and_the_next_one_comes_at_once() {
        let (requests, inbox) = sync_channel(QUEUE);
        let (jobs, work) = sync_channel(QUEUE);
        let (done, finished) = channel();
        let desk = std::thread::spawn(move || desk(&inbox, &jobs, &finished));
        let (first, second) = (ask(&requests), ask(&requests));
        assert_eq!(first.blocking_recv().expect("an answer").stored, Some(false));
        assert_eq!(second.blocking_recv().expect("an answer").stored, Some(false));
        // The disk comes round: both are written, and the next wish is answered by it again.
        for _ in 0..2 {
            assert_eq!(work.recv().expect("a job"), setting());
            done.send(true).expect("the desk listens");
        }
        let disk = std::thread::spawn(move || {
            assert_eq!(work.recv().expect("a job"), setting());
            done.send(true).expect("the desk listens");
        });
        assert_eq!(ask(&requests).blocking_recv().expect("an answer").stored, Some(true));
        drop(requests);
        desk.join().expect("it ends with its senders");
        disk.join().expect("it got its job");
    }
}

//! A small file that is written anew now and then, by a thread of its own, because memory cards wear and disks hang.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde::Serialize;

use crate::config::durable;
use crate::device::{ControlLink, ToControl};
use crate::event::{Event, EventType};

/// Starts the thread that writes `what` to `path`; it ends when its sender is gone and the last of it is on the disk.
pub(super) fn start<T: Serialize + Send + 'static>(
    what: &'static str,
    path: PathBuf,
    control: ControlLink,
) -> std::io::Result<(Keeper<T>, JoinHandle<()>)> {
    // The newest alone matters: while the disk is busy the next ones are left out.
    let (sender, inbox) = sync_channel(1);
    let thread = std::thread::Builder::new().name(what.into()).spawn(move || write(what, &path, &inbox, &control))?;
    Ok((Keeper { sender }, thread))
}

/// The control thread's end.
#[derive(Debug)]
pub(super) struct Keeper<T> {
    sender: SyncSender<T>,
}

impl<T> Keeper<T> {
    /// Hands it to the disk without waiting; `false` when that is still busy with the last one.
    pub(super) fn keep(&self, all: T) -> bool {
        !matches!(self.sender.try_send(all), Err(TrySendError::Full(_) | TrySendError::Disconnected(_)))
    }
}

fn write<T: Serialize>(what: &str, path: &Path, inbox: &Receiver<T>, control: &ControlLink) {
    let mut failing = false;
    while let Ok(all) = inbox.recv() {
        let written = serde_json::to_vec(&all).map_err(std::io::Error::other);
        let result = written.and_then(|bytes| durable::replace(path, &bytes));
        if let Err(error) = &result
            && !failing
        {
            let detail = format!("{what} are shown but not kept for the next start: {error}");
            control.tell(ToControl::Event(Event::new(EventType::DiskError, "bridge", detail)));
        }
        failing = result.is_err();
    }
}

//! The thread that writes run-time settings to disk, so that a slow or full disk never holds a decision back.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::control_loop::answer;
use crate::config::{Config, SettingsStore};
use crate::control::Accepted;
use crate::device::{Answer, ControlLink, ToControl};
use crate::event::{Event, EventType};

/// What the control thread asks of the disk. The answer to the wish goes out from here, because it says whether the
/// setting was stored.
pub(super) enum StoreRequest {
    /// Keep one setting, or forget it.
    Set { accepted: Accepted, reply: oneshot::Sender<Answer> },
    /// Forget all.
    Clear { accepted: Accepted, reply: oneshot::Sender<Answer> },
}

/// Runs until the control thread has gone.
pub(super) fn run(
    mut store: SettingsStore,
    config: &Arc<Config>,
    inbox: &Receiver<StoreRequest>,
    control: &ControlLink,
) {
    let mut failing = false;
    while let Ok(request) = inbox.recv() {
        let (result, accepted, reply) = match request {
            StoreRequest::Clear { accepted, reply } => (store.clear(), accepted, reply),
            StoreRequest::Set { accepted, reply } => {
                let result = match &accepted {
                    Accepted::Setting { key, value } => {
                        // A key that the file cannot hold (a session's limit, say) compares as absent on both sides.
                        let file = config.setting(key).unwrap_or_else(|| "none".to_owned());
                        store.set(key, value.as_deref(), &file)
                    }
                    Accepted::Reset | Accepted::Action(..) => Ok(()),
                };
                (result, accepted, reply)
            }
        };
        if let Err(error) = &result
            && !failing
        {
            control.tell(ToControl::Event(Event {
                event_type: EventType::DiskError,
                subject: "bridge".to_owned(),
                detail: format!("settings are in force but not stored: {error}"),
            }));
        }
        failing = result.is_err();
        answer(reply, Ok(accepted), Some(result.is_ok()));
    }
}

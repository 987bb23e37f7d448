//! Where others read along what a P1 port sends.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::codec::p1::Telegram;

/// Telegrams that wait for a reader; one that falls further behind misses some, and is told so.
const WAITING: usize = 16;

/// The good telegrams of one port, for any number of readers. Passing one on never waits for any of them. Copies are
/// the same tap.
#[derive(Clone, Debug)]
pub struct Tap {
    readers: broadcast::Sender<Arc<[u8]>>,
}

impl Default for Tap {
    fn default() -> Self {
        Self { readers: broadcast::channel(WAITING).0 }
    }
}

impl Tap {
    /// The telegrams from now on, each whole.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.readers.subscribe()
    }

    /// To everybody who listens.
    pub(crate) fn pass_on(&self, telegram: &Telegram<'_>) {
        if self.readers.receiver_count() > 0 {
            // The last reader may have left in this moment.
            let _ = self.readers.send(telegram.to_pass_on().into());
        }
    }
}

//! A meter's task under test: what it tells the control thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::p1::Mapping;
use super::polled::{self, Destination, Patience, Source};
use crate::clock::Clock;
use crate::config::model::{Common, HttpAddress};
use crate::device::{ControlLink, ToControl};
use crate::link::http::Limits;
use crate::reading::MeterReading;
use crate::status::{Health, MeterValues};

/// For everything that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Shortened times, long enough for a busy machine.
pub(super) const QUICK: Patience = Patience {
    period: Duration::from_millis(20),
    offline: Duration::from_millis(100),
    first_retry: Duration::from_millis(10),
    last_retry: Duration::from_millis(50),
};

pub(super) fn limits() -> Limits {
    Limits { connect: Duration::from_secs(2), total: Duration::from_millis(500), ..Limits::default() }
}

pub(super) fn address(at: SocketAddr, tls: bool) -> HttpAddress {
    HttpAddress { tls, host: at.ip().to_string(), port: at.port() }
}

/// A running task.
pub(super) struct Rig {
    told: mpsc::UnboundedReceiver<ToControl>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

/// A reading as it was told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) reading: MeterReading,
    pub(super) values: Arc<MeterValues>,
    pub(super) behind: Vec<(String, Arc<MeterValues>)>,
}

impl Rig {
    pub(super) fn start(source: impl Source + 'static, mapping: Mapping, clock: Clock) -> Self {
        let (sender, inbox) = sync_channel(64);
        let (forward, told) = mpsc::unbounded_channel();
        std::thread::spawn(move || inbox.iter().try_for_each(|it| forward.send(it).ok()));
        let common = Common { id: "main".into(), name: "main".into(), area: None };
        let to = Destination { index: 0, common, mapping, control: ControlLink::new(sender), clock };
        let cancel = CancellationToken::new();
        let task = tokio::spawn(polled::run(source, to, QUICK, cancel.clone()));
        Self { told, cancel, task }
    }

    /// The first message for which `find` gives something.
    async fn until<T>(&mut self, what: &str, mut find: impl FnMut(ToControl) -> Option<T>) -> T {
        let work = async {
            loop {
                if let Some(found) = find(self.told.recv().await.expect("the task runs")) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not seen: {what}"))
    }

    /// The next reading that fits.
    pub(super) async fn reading(&mut self, what: &str, fits: impl Fn(&Told) -> bool) -> Told {
        self.until(what, |message| match message {
            ToControl::Meter { reading, values, sub_meters, .. } => {
                let behind = sub_meters.iter().map(|(id, values)| (id.to_string(), Arc::clone(values))).collect();
                Some(Told { reading, values, behind }).filter(&fits)
            }
            _ => None,
        })
        .await
    }

    /// The next risk that is told or taken back.
    pub(super) async fn risk(&mut self, what: &str) -> Option<String> {
        self.until(what, |message| match message {
            ToControl::Risk(_, risk) => Some(risk),
            _ => None,
        })
        .await
    }

    /// The next health that fits. A reading on the way is an error where none is expected.
    pub(super) async fn health(&mut self, what: &str, readings: bool, fits: impl Fn(&Health) -> bool) -> Health {
        self.until(what, |message| match message {
            ToControl::Health(_, health) => Some(health).filter(&fits),
            ToControl::Meter { reading, .. } => {
                assert!(readings, "a reading where none can be: {reading:?}");
                None
            }
            _ => None,
        })
        .await
    }

    /// Readings that are on the way already.
    pub(super) fn skip(&mut self) {
        while self.told.try_recv().is_ok() {}
    }

    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.expect("the task ends in order");
    }
}

//! A meter's task under test, and what it talks to.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::push::Report;
use crate::config::model::Connection;
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::reading::MeterReading;
use crate::status::{Health, MeterValues, Value};

/// A task with place 3 and id `main`.
pub(super) struct Running {
    messages: Receiver<ToControl>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) fn start<T: Future<Output = ()> + Send + 'static>(
        task: impl FnOnce(Report, CancellationToken) -> T,
    ) -> Self {
        let (sender, messages) = sync_channel(1000);
        let cancel = CancellationToken::new();
        let task = task(Report::new(3, "main", ControlLink::new(sender)), cancel.clone());
        Self { messages, cancel, task: tokio::spawn(task) }
    }

    /// The first message for which `pick` gives something.
    pub(super) async fn wait<T: Send + 'static>(&mut self, mut pick: impl FnMut(ToControl) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut last = None;
        loop {
            match self.messages.recv_timeout(Duration::ZERO) {
                Ok(message) => {
                    last = Some(format!("{message:?}"));
                    if let Some(found) = pick(message) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < deadline, "what was awaited did not come; last: {last:?}");
                    sleep(Duration::from_millis(2)).await;
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the task ended"),
            }
        }
    }

    pub(super) async fn reading(&mut self) -> MeterReading {
        self.wait(|message| match message {
            ToControl::Meter { meter, reading, .. } => {
                assert_eq!(meter, 3);
                Some(reading)
            }
            _ => None,
        })
        .await
    }

    pub(super) async fn health(&mut self, mut wanted: impl FnMut(&Health) -> bool) -> Health {
        self.wait(|message| match message {
            ToControl::Health(DeviceRef::Meter(3), health) if wanted(&health) => Some(health),
            _ => None,
        })
        .await
    }

    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }
}

pub(super) async fn server() -> (TcpListener, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Connection::Tcp { host: "127.0.0.1".into(), port })
}

pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.unwrap().0
}

/// A published number.
pub(super) fn number(values: &MeterValues, key: &str) -> f64 {
    match values.values.get(key) {
        Some(Value::Number { value, .. }) => *value,
        other => panic!("{key}: {other:?} in {:#?}", values.values),
    }
}

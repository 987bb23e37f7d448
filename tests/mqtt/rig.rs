//! The module under test with a stand-in for the control thread.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use gridkeeper::clock::Clock;
use gridkeeper::control::Accepted;
use gridkeeper::device::{Answer, ControlLink, ToControl};
use gridkeeper::event::Event;
use gridkeeper::mqtt::{LinkState, MqttOptions, MqttStatus, Ports, Views, run};
use gridkeeper::quantity::Milliamp;
use gridkeeper::status::Snapshot;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::house;
use super::peer::LIMIT;

pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) status: watch::Receiver<MqttStatus>,
    /// Wishes that reached the controller.
    pub(crate) wishes: Arc<Mutex<Vec<(String, String)>>>,
    cancel: CancellationToken,
    task: Option<AbortOnDropHandle<()>>,
}

impl Rig {
    pub(crate) fn start(options: MqttOptions) -> Self {
        Self::with_ports(options, Ports::default())
    }

    /// With inputs and relays behind the broker.
    pub(crate) fn with_ports(options: MqttOptions, ports: Ports) -> Self {
        let clock = Clock::start();
        let (snapshots, watched) = watch::channel(Some(Arc::new(house::snapshot(clock.now(), 690.0))));
        let (events, heard) = broadcast::channel(256);
        let (status, shown) = watch::channel(MqttStatus::default());
        let (sender, receiver) = sync_channel(256);
        let wishes = Arc::new(Mutex::new(Vec::new()));
        {
            let (wishes, events, snapshots) = (Arc::clone(&wishes), events.clone(), snapshots.clone());
            thread::spawn(move || control(&receiver, &wishes, &events, &snapshots));
        }
        let cancel = CancellationToken::new();
        let views =
            Views { snapshots: watched, events: heard, control: ControlLink::new(sender), clock, ports, status };
        let task = AbortOnDropHandle::new(tokio::spawn(run(options, views, cancel.clone())));
        Self { clock, snapshots, events, status: shown, wishes, cancel, task: Some(task) }
    }

    /// Waits for a status.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&MqttStatus) -> bool) -> MqttStatus {
        let found = tokio::time::timeout(LIMIT, self.status.wait_for(|it| holds(it))).await;
        let found = found.ok().map(|it| it.unwrap().clone());
        found.unwrap_or_else(|| panic!("never {what}: {:?}", self.status.borrow()))
    }

    pub(crate) async fn online(&mut self) {
        self.until("online", |it| it.state == LinkState::Online).await;
    }

    /// Shows another picture.
    pub(crate) fn show(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = house::snapshot(self.clock.now(), 690.0);
        change(&mut snapshot);
        self.snapshots.send_replace(Some(Arc::new(snapshot)));
    }

    pub(crate) fn wishes(&self) -> Vec<(String, String)> {
        self.wishes.lock().unwrap().clone()
    }

    /// Ends in good order.
    pub(crate) async fn stop(mut self) {
        self.cancel.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(LIMIT, task).await.expect("ended in time").unwrap();
    }

    /// Ends without a word.
    pub(crate) async fn kill(mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
}

/// Accepts modes off and fast and a few figures for `left`, refuses the rest; hands events on as the control thread does.
fn control(
    receiver: &Receiver<ToControl>,
    wishes: &Mutex<Vec<(String, String)>>,
    events: &broadcast::Sender<Event>,
    snapshots: &watch::Sender<Option<Arc<Snapshot>>>,
) {
    while let Ok(message) = receiver.recv() {
        match message {
            ToControl::Event(event) => {
                // Nobody may be listening any more.
                let _ = events.send(event);
            }
            ToControl::Wish(wish) => {
                wishes.lock().unwrap().push((wish.path.clone(), wish.value.clone()));
                let current = wish.value.parse::<f64>().ok().filter(|it| (6.0..=16.0).contains(it));
                let outcome = match (wish.path.as_str(), current) {
                    ("charger/left/set/max_current_a", Some(current)) => {
                        snapshots.send_modify(|it| {
                            let snapshot = Arc::make_mut(it.as_mut().unwrap());
                            snapshot.chargers[0].status.settings.max_current = Milliamp::from_f64(current);
                        });
                        Ok(Accepted::Setting { key: "charger/left/max_current_a".into(), value: Some(wish.value) })
                    }
                    ("site/set/reset_settings", _) => Ok(Accepted::Reset),
                    (path, _) => Err(format!("`{path}` = `{}`: allowed are 6 to 16", wish.value)),
                };
                let stored = outcome.is_ok().then_some(true);
                let _ = wish.reply.send(Answer { outcome, stored });
            }
            _ => {}
        }
    }
}

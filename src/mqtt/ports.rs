//! Inputs and relays that are reached through the broker.

use tokio::sync::watch;

use crate::device::input::mqtt::InputValue;

/// All of them; copies share the channels.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Inputs with `driver = "mqtt"`.
    pub inputs: Vec<InputPort>,
    /// Relays with `driver = "mqtt"`.
    pub relays: Vec<RelayPort>,
}

/// An input that somebody tells us.
#[derive(Clone, Debug)]
pub struct InputPort {
    /// Configuration id.
    pub id: String,
    /// Somebody else's topic; `None`: our own, `<base>/input/<id>/set/value`.
    pub topic: Option<String>,
    /// A retained value of somebody else's topic counts. Its age is not known, so only where values have none.
    pub takes_retained: bool,
    /// To the input's task.
    pub value: watch::Sender<Option<InputValue>>,
}

/// A relay that switches at our word.
#[derive(Clone, Debug)]
pub struct RelayPort {
    /// Where ON or OFF is published, retained.
    pub topic: String,
    /// From the relay's task; `None` before the first order.
    pub order: watch::Receiver<Option<bool>>,
}

impl Ports {
    /// Waits until a relay is ordered anew.
    pub(super) async fn ordered(&mut self) {
        let changes = self.relays.iter_mut().map(|it| {
            Box::pin(async {
                if it.order.changed().await.is_err() {
                    // Its task has ended for good; what was ordered last stays.
                    std::future::pending::<()>().await;
                }
            })
        });
        let mut changes: Vec<_> = changes.collect();
        std::future::poll_fn(|cx| {
            if changes.iter_mut().any(|it| it.as_mut().poll(cx).is_ready()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_relays_order_wakes() {
        let (first, order_a) = watch::channel(None);
        let (second, order_b) = watch::channel(None);
        let port = |topic: &str, order| RelayPort { topic: topic.into(), order };
        let mut ports = Ports { relays: vec![port("a", order_a), port("b", order_b)], ..Ports::default() };
        second.send_replace(Some(true));
        ports.ordered().await;
        drop(second);
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), ports.ordered());
        assert!(waiting.await.is_err(), "nothing new, and the end of a task is no order");
        first.send_replace(Some(false));
        ports.ordered().await;
        assert_eq!(*ports.relays[0].order.borrow(), Some(false));
    }
}

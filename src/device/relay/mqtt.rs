//! A relay of somebody else, ordered over MQTT: ON or OFF on its topic, retained.
//!
//! A broker that is away, or a listener that died, leaves it as it is. Nothing confirms that it has switched.

use tokio::sync::watch;

use super::Switch;
use crate::device::voice::Trouble;
use crate::link::modbus::Priority;
use crate::mqtt::{LinkState, MqttStatus};
use crate::quantity::Span;

/// A relay task's way to the broker.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// What is published; `None` before the first order.
    pub order: watch::Sender<Option<bool>>,
    /// How the link to the broker does.
    pub link: watch::Receiver<MqttStatus>,
}

impl Outlet {
    fn online(&self) -> Result<(), Trouble> {
        if self.link.borrow().state == LinkState::Online {
            Ok(())
        } else {
            Err(Trouble::bad("the broker cannot be reached"))
        }
    }
}

impl Switch for Outlet {
    async fn set(&mut self, on: bool, _: Priority) -> Result<(), Trouble> {
        // Said even while the broker is away: it is published when that is back.
        self.order.send_if_modified(|order| order.replace(on) != Some(on));
        self.online()
    }

    async fn read(&mut self, _: Priority) -> Result<Option<bool>, Trouble> {
        self.online().map(|()| None)
    }

    fn period(&self) -> Span {
        Span::from_secs(5)
    }
}

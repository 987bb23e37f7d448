//! The roof of the demo: what its panels give, told by a HomeWizard kWh meter at the inverter.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::simulator::View;
use crate::simulator::http::HomeWizard;

/// Such a meter measures once a second.
const PERIOD: Duration = Duration::from_secs(1);
/// At the inverter.
const VOLTAGE: f64 = 231.0;

/// A meter that follows the simulated house.
pub(super) struct Roof {
    connection: String,
    task: JoinHandle<()>,
}

impl Roof {
    /// On a loopback port; must be called in the runtime of the house.
    pub(super) async fn start(mut views: watch::Receiver<Arc<View>>) -> io::Result<Self> {
        let meter = HomeWizard::kwh1_v1().await?;
        let connection = format!("http://{}", meter.address());
        let task = tokio::spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            loop {
                let view = Arc::clone(&views.borrow_and_update());
                meter.produces(view.sun.as_f64(), VOLTAGE, view.sun_energy.as_f64());
                period.tick().await;
            }
        });
        Ok(Self { connection, task })
    }

    /// As the configuration writes it.
    pub(super) fn connection(&self) -> &str {
        &self.connection
    }

    /// Takes the meter off the network.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

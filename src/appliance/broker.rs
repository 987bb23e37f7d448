//! Which broker is spoken to: the configuration's, or in the add-on the one that the Supervisor names.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::model::MqttEndpoint;
use crate::link::backoff::Backoff;
use crate::mqtt::{self, LinkState, MqttOptions, Views};
use crate::supervisor::{Broker, Supervisor};

/// How often the Supervisor is asked whether the broker is still the same: its password changes when the broker app is
/// installed anew.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// Speaks MQTT until `cancel`.
pub(super) async fn speak(
    options: MqttOptions,
    supervisor: Option<Supervisor>,
    mut views: Views,
    cancel: CancellationToken,
) {
    if options.config.endpoint != MqttEndpoint::Supervisor {
        return mqtt::run(options, views, cancel).await;
    }
    let Some(supervisor) = supervisor else {
        let problem = "url = \"supervisor\" works in the Home Assistant add-on only: write mqtt://host:port";
        tracing::error!("MQTT: {problem}");
        show(&views, problem.to_owned());
        return cancel.cancelled().await;
    };
    let Some(mut broker) = cancel.run_until_cancelled(first(&supervisor, &views)).await else { return };
    loop {
        let spare = renewed(&views);
        let ours = cancel.child_token();
        let link = mqtt::run(at(&options, &broker), views, ours.clone());
        tokio::pin!(link);
        tokio::select! {
            () = link.as_mut() => return,
            next = changed(&supervisor, &broker) => {
                tracing::info!("MQTT: the Supervisor names another broker or login");
                broker = next;
                ours.cancel();
                link.await;
            }
        }
        views = renewed(&spare);
    }
}

/// The same views, hearing events from now on.
fn renewed(views: &Views) -> Views {
    Views {
        snapshots: views.snapshots.clone(),
        events: views.events.resubscribe(),
        control: views.control.clone(),
        clock: views.clock,
        ports: views.ports.clone(),
        status: views.status.clone(),
    }
}

/// Asks until there is an answer.
async fn first(supervisor: &Supervisor, views: &Views) -> Broker {
    let mut backoff = Backoff::new(Duration::from_secs(1), ASK_EVERY);
    let mut told = String::new();
    loop {
        match supervisor.broker().await {
            Ok(broker) => return broker,
            Err(problem) => {
                if problem != told {
                    tracing::warn!("MQTT: {problem}");
                    show(views, problem.clone());
                    told = problem;
                }
            }
        }
        sleep(backoff.next()).await;
    }
}

/// Returns when it names another one. While it does not answer, the one that is known stays.
async fn changed(supervisor: &Supervisor, known: &Broker) -> Broker {
    loop {
        sleep(ASK_EVERY).await;
        match supervisor.broker().await {
            Ok(broker) if broker != *known => return broker,
            Ok(_) | Err(_) => {}
        }
    }
}

fn show(views: &Views, problem: String) {
    views.status.send_modify(|status| {
        status.broker = "supervisor".to_owned();
        status.state = LinkState::Retrying;
        status.problem = Some(problem);
        status.since = views.clock.now();
    });
}

/// The options with this broker; a login of the configuration goes before the Supervisor's.
fn at(options: &MqttOptions, broker: &Broker) -> MqttOptions {
    let mut options = options.clone();
    let (host, port) = (broker.host.clone(), broker.port);
    options.config.endpoint =
        if broker.tls { MqttEndpoint::Tls { host, port } } else { MqttEndpoint::Plain { host, port } };
    if options.config.username.is_none() {
        options.config.username.clone_from(&broker.username);
        options.config.password.clone_from(&broker.password);
    }
    options
}

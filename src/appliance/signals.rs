//! The ends of the channels to inputs and relays, and the inputs that have no task: those that follow a meter's tariff.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::command::{Leased, RelayOrder};
use crate::config::Config;
use crate::config::model::{InputDriver, RelayDriver};
use crate::control::{Decision, Quality};
use crate::device::input::mqtt::{Feed, InputValue};
use crate::device::input::tariff::TariffInput;
use crate::device::relay::mqtt::Outlet;
use crate::mqtt::{InputPort, MqttStatus, Ports, RelayPort};
use crate::quantity::Mono;
use crate::reading::{InputReading, Observation};
use crate::status::MeterValues;

/// What the devices' thread needs for one input.
pub(super) struct InputEnd {
    value: Option<watch::Sender<Option<InputValue>>>,
}

impl InputEnd {
    /// What comes by MQTT, where it does.
    pub(super) fn feed(&self, link: &watch::Receiver<MqttStatus>) -> Option<Feed> {
        self.value.as_ref().map(|value| Feed { value: value.subscribe(), link: link.clone() })
    }
}

/// What the devices' thread needs for one relay.
pub(super) struct RelayEnd {
    pub(super) orders: watch::Receiver<Leased<RelayOrder>>,
    outlet: Option<watch::Sender<Option<bool>>>,
}

impl RelayEnd {
    /// Its way to the broker, where it is behind one.
    pub(super) fn outlet(&self, link: &watch::Receiver<MqttStatus>) -> Option<Outlet> {
        self.outlet.as_ref().map(|order| Outlet { order: order.clone(), link: link.clone() })
    }
}

/// Every end, in the order of the configuration.
pub(super) struct Signals {
    pub(super) inputs: Vec<InputEnd>,
    pub(super) relays: Vec<RelayEnd>,
    /// The control thread's ends.
    pub(super) orders: Vec<watch::Sender<Leased<RelayOrder>>>,
    /// The MQTT service's ends.
    pub(super) ports: Ports,
    /// Ends every relay's task in its safe state.
    pub(super) leave: CancellationToken,
}

impl Signals {
    pub(super) fn new(config: &Config) -> Self {
        let mut ports = Ports::default();
        let inputs = config.inputs.iter().map(|input| {
            let InputDriver::Mqtt { topic, kept, .. } = &input.driver else { return InputEnd { value: None } };
            let (value, _) = watch::channel(None);
            ports.inputs.push(InputPort {
                id: input.common.id.clone(),
                topic: topic.clone(),
                takes_retained: *kept,
                value: value.clone(),
            });
            InputEnd { value: Some(value) }
        });
        let inputs = inputs.collect();
        let mut orders = Vec::new();
        let relays = config.relays.iter().map(|relay| {
            // Until something was decided it is kept in its safe state.
            let (sender, receiver) = watch::channel(Leased::never(RelayOrder { on: relay.setup.safe_state }));
            orders.push(sender);
            let outlet = match &relay.driver {
                RelayDriver::Mqtt { topic } => {
                    let (outlet, order) = watch::channel(None);
                    ports.relays.push(RelayPort { topic: topic.clone(), order });
                    Some(outlet)
                }
                RelayDriver::Gpio { .. }
                | RelayDriver::Shelly { .. }
                | RelayDriver::Modbus { .. }
                | RelayDriver::Simulated => None,
            };
            RelayEnd { orders: receiver, outlet }
        });
        let relays = relays.collect();
        Self { inputs, relays, orders, ports, leave: CancellationToken::new() }
    }
}

/// Inputs that follow the tariff word of a meter, fed with its frames.
#[derive(Debug)]
pub(super) struct Tariffs(Vec<TariffInput>);

impl Tariffs {
    pub(super) fn new(config: &Config) -> Self {
        let of = |(index, input): (usize, &crate::config::model::Input)| match &input.driver {
            InputDriver::P1Tariff { meter, words } => Some(TariffInput::new(index, *meter, words.clone())),
            _ => None,
        };
        Self(config.inputs.iter().enumerate().filter_map(of).collect())
    }

    /// A frame of this meter.
    pub(super) fn frame(&mut self, meter: usize, values: &Arc<MeterValues>, at: Mono, into: &mut Vec<Observation>) {
        for input in self.0.iter_mut().filter(|it| it.meter == meter) {
            tell(input.input, input.frame(values, at), into);
        }
    }

    /// What the last decision thinks of the meters.
    pub(super) fn judge(&mut self, decision: &Decision, now: Mono, into: &mut Vec<Observation>) {
        for input in &mut self.0 {
            let lost = decision.meters.get(input.meter).is_some_and(|meter| meter.quality == Quality::Lost);
            tell(input.input, input.meter_lost(lost, now), into);
        }
    }
}

fn tell(input: usize, reading: Option<InputReading>, into: &mut Vec<Observation>) {
    into.extend(reading.map(|reading| Observation::Input(input, reading)));
}

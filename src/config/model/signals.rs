//! Inputs and relays.

use super::{Common, Connection, HttpAddress, Secret};
use crate::control::{InputMeaning, RelaySetup};
use crate::device::input::PointKind;
use crate::device::input::schedule::Schedule;
use crate::device::relay::Place as RelayPlace;
use crate::link::gpio::LineName;
use crate::quantity::Span;

/// `[[input]]`
#[derive(Clone, Debug)]
pub struct Input {
    /// Id and names.
    pub common: Common,
    /// What it means when active.
    pub meaning: InputMeaning,
    /// How it is read.
    pub driver: InputDriver,
    /// A level counts when it has stood for so long.
    pub debounce: Span,
    /// It is lost when its value is older; `None` where its source says so itself.
    pub max_age: Option<Span>,
}

/// Ways to read an input.
#[derive(Clone, Debug)]
pub enum InputDriver {
    /// A line of a GPIO chip.
    Gpio {
        /// Which.
        line: LineName,
        /// A high level means active.
        active_high: bool,
    },
    /// An input of a Shelly.
    Shelly {
        /// Which.
        point: ShellyPoint,
        /// A high level means active.
        active_high: bool,
    },
    /// Behind Modbus.
    Modbus {
        /// Serial, TCP or RTU over TCP.
        connection: Connection,
        /// Modbus unit, 1 to 247.
        unit: u8,
        /// What is read there.
        point: PointKind,
    },
    /// The tariff word of a P1 meter.
    P1Tariff {
        /// Index into the meters.
        meter: usize,
        /// The words that mean active.
        words: Vec<String>,
    },
    /// Somebody else tells it over MQTT.
    Mqtt {
        /// Somebody else's topic; `None`: our own, `<base>/input/<id>/set/value`.
        topic: Option<String>,
        /// ON means active.
        active_high: bool,
        /// A value holds until another comes or the broker is lost.
        kept: bool,
    },
    /// Times of the week.
    Schedule(Schedule),
    /// Spoken to over the simulation seam.
    Simulated,
}

/// An input or a relay of a Shelly.
#[derive(Clone, Debug)]
pub struct ShellyPoint {
    /// Where it is.
    pub address: HttpAddress,
    /// Which of its inputs or relays.
    pub channel: u8,
    /// User and password, where it asks for them.
    pub login: Option<(String, Secret)>,
}

/// `[[relay]]`
#[derive(Clone, Debug)]
pub struct Relay {
    /// Id and names.
    pub common: Common,
    /// How it is switched.
    pub driver: RelayDriver,
    /// What the controller knows of it.
    pub setup: RelaySetup,
}

/// Ways to switch a relay.
#[derive(Clone, Debug)]
pub enum RelayDriver {
    /// A line of a GPIO chip; a high level closes the relay.
    Gpio {
        /// Which.
        line: LineName,
    },
    /// A relay of a Shelly.
    Shelly {
        /// Which.
        point: ShellyPoint,
        /// Time of the device's own timer on which it leaves its safe state.
        timer: Span,
    },
    /// A coil or register behind Modbus.
    Modbus {
        /// Serial, TCP or RTU over TCP.
        connection: Connection,
        /// Modbus unit, 1 to 247.
        unit: u8,
        /// What is written there.
        place: RelayPlace,
        /// Length of the pulses by which it leaves its safe state, where the board has them.
        pulse: Option<Span>,
    },
    /// Somebody else switches it at our word.
    Mqtt {
        /// Where ON or OFF is published.
        topic: String,
    },
    /// Spoken to over the simulation seam.
    Simulated,
}

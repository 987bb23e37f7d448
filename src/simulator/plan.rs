//! What is to be simulated: the house, its meter, its buses with chargers, the cars. Plain data.

use crate::quantity::{Milliamp, Phase, Phases, Span, Watt, WattHour};

/// A whole installation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The same seed gives the same house, cars and clouds.
    pub seed: u64,
    /// House seconds per real second. The meter, the cars and the chargers' timers all follow it.
    pub speed: f64,
    /// Everything that is neither meter nor charger.
    pub house: HousePlan,
    /// The grid meter; `None` for a house without one.
    pub meter: Option<MeterPlan>,
    /// Wires with chargers. Chargers are numbered over all buses, in order, from 0.
    pub buses: Vec<BusPlan>,
}

impl Plan {
    /// A house that draws nothing, with a fast P1 meter and the given chargers, each behind a Modbus TCP server of
    /// its own: what most tests begin with.
    #[must_use]
    pub fn quiet(chargers: Vec<ChargerPlan>) -> Self {
        Self {
            seed: 1,
            speed: 1.0,
            house: HousePlan::empty(),
            meter: Some(MeterPlan { period: Span(100), ..MeterPlan::default() }),
            buses: chargers
                .into_iter()
                .map(|charger| BusPlan { link: BusLink::Tcp, chargers: vec![charger] })
                .collect(),
        }
    }

    /// With a house load that never changes by itself, import positive.
    #[must_use]
    pub fn with_load(mut self, amps: [f64; 3]) -> Self {
        self.house.fixed_load = Some(Phases(amps.map(Milliamp::from_f64)));
        self
    }
}

/// Appliances and sun.
#[derive(Clone, Debug)]
pub struct HousePlan {
    /// What switches on and off.
    pub appliances: Vec<Appliance>,
    /// Solar production.
    pub sun: Option<Sun>,
    /// Phase to neutral without load, in V.
    pub voltage: f64,
    /// Stands in for appliances and sun: exact, per phase, import positive.
    pub fixed_load: Option<Phases<Milliamp>>,
}

impl HousePlan {
    /// Nothing draws, nothing shines.
    #[must_use]
    pub fn empty() -> Self {
        Self { appliances: Vec::new(), sun: None, voltage: 230.0, fixed_load: None }
    }

    /// A family home in the evening whose kettle, oven and hob switch often enough to be watched.
    #[must_use]
    pub fn busy_home() -> Self {
        let secs = |from: i64, to: i64| (Span::from_secs(from), Span::from_secs(to));
        let amps = |l1: f64, l2: f64, l3: f64| Phases([l1, l2, l3].map(Milliamp::from_f64));
        let base = Appliance {
            name: "base load",
            current: amps(1.1, 0.7, 0.9),
            first: secs(0, 0),
            on: secs(86_400, 86_400),
            off: secs(1, 1),
            duty: None,
            inrush: None,
        };
        Self {
            appliances: vec![
                Appliance {
                    name: "kettle",
                    current: amps(9.1, 0.0, 0.0),
                    first: secs(14, 20),
                    on: secs(25, 45),
                    off: secs(30, 80),
                    ..base
                },
                Appliance {
                    name: "oven",
                    current: amps(0.0, 11.3, 0.0),
                    first: secs(22, 30),
                    on: secs(240, 400),
                    off: secs(60, 150),
                    duty: Some((Span::from_secs(28), Span::from_secs(17))),
                    ..base
                },
                Appliance {
                    name: "hob",
                    current: amps(0.0, 4.2, 8.0),
                    first: secs(35, 50),
                    on: secs(90, 200),
                    off: secs(60, 140),
                    duty: Some((Span::from_secs(9), Span::from_secs(6))),
                    ..base
                },
                Appliance {
                    name: "washer",
                    current: amps(0.0, 0.0, 8.7),
                    first: secs(70, 90),
                    on: secs(120, 300),
                    off: secs(300, 600),
                    ..base
                },
                Appliance {
                    name: "heat pump",
                    current: amps(3.6, 3.6, 3.6),
                    first: secs(50, 70),
                    on: secs(180, 300),
                    off: secs(120, 240),
                    inrush: Some((2.0, Span(600))),
                    ..base
                },
                base,
            ],
            sun: Some(Sun {
                peak: Watt(1500),
                phases: vec![Phase::L3],
                clouds: 0.6,
                cloud_period: Span::from_secs(25),
            }),
            voltage: 231.0,
            fixed_load: None,
        }
    }
}

/// Something that switches on and off by itself.
#[derive(Clone, Copy, Debug)]
pub struct Appliance {
    /// For the log.
    pub name: &'static str,
    /// What it draws while it is on.
    pub current: Phases<Milliamp>,
    /// When it first switches on, counted from the start.
    pub first: (Span, Span),
    /// How long it stays on.
    pub on: (Span, Span),
    /// How long it stays off.
    pub off: (Span, Span),
    /// A thermostat within the on time: heats, rests.
    pub duty: Option<(Span, Span)>,
    /// At each switching on: so many times its current, so long.
    pub inrush: Option<(f64, Span)>,
}

/// A roof with panels.
#[derive(Clone, Debug)]
pub struct Sun {
    /// Under a clear sky, all phases together.
    pub peak: Watt,
    /// Where the inverter feeds in, evenly.
    pub phases: Vec<Phase>,
    /// 0 clear sky, 1 clouds that take nearly everything.
    pub clouds: f64,
    /// How long a cloud or a gap lasts, about.
    pub cloud_period: Span,
}

/// The P1 meter at the main fuse.
#[derive(Clone, Debug)]
pub struct MeterPlan {
    /// How it is reached.
    pub link: P1Link,
    /// Between two telegrams, in house time: 1 s (DSMR 5), 10 s (DSMR 4), less in tests.
    pub period: Span,
    /// Decimals of the currents: 0 in the Netherlands, 2 in Belgium.
    pub current_decimals: u8,
    /// Each telegram is late by up to this much; their times in it are not.
    pub jitter: Span,
    /// What stands in the telegram as its time.
    pub stamps: Stamps,
}

impl Default for MeterPlan {
    fn default() -> Self {
        Self {
            link: P1Link::Tcp,
            period: Span::from_secs(1),
            current_decimals: 2,
            jitter: Span::ZERO,
            stamps: Stamps::Advancing,
        }
    }
}

/// Time in the telegrams: P1 has whole seconds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// House time; where telegrams come more often than each second, still a second more in each, so that no telegram
    /// repeats the time of the one before.
    Advancing,
    /// House time as it is: repeats itself below a period of 1 s.
    Plain,
    /// The meter sends none.
    Absent,
}

/// How a P1 port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum P1Link {
    /// A gateway: any number of TCP clients.
    Tcp,
    /// A pseudo-terminal, as a USB cable would appear.
    Pty,
}

/// One wire.
#[derive(Clone, Debug)]
pub struct BusPlan {
    /// How it is reached.
    pub link: BusLink,
    /// Chargers on it, each with a unit of its own.
    pub chargers: Vec<ChargerPlan>,
}

/// How a Modbus bus is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusLink {
    /// Modbus TCP.
    Tcp,
    /// RTU frames in a TCP stream.
    RtuOverTcp,
    /// RTU on a pseudo-terminal, as a USB adapter would appear.
    Rtu,
}

/// One charger with its parking space.
#[derive(Clone, Debug)]
pub struct ChargerPlan {
    /// Which box.
    pub kind: BoxKind,
    /// Modbus unit, 1 to 247.
    pub unit: u8,
    /// Grid phase behind the charger's own L1, L2, L3; one to three.
    pub phases: Vec<Phase>,
    /// Content of the set-point register after power-on.
    pub boot_current: Milliamp,
    /// From the set-point register to the pilot.
    pub response: Span,
    /// How long a restart takes; it answers nothing meanwhile.
    pub boot_time: Span,
    /// The car that uses it.
    pub car: CarPlan,
}

impl ChargerPlan {
    /// A three-phase TeltoCharge of 22 kW at unit 1.
    #[must_use]
    pub fn teltocharge(car: CarPlan) -> Self {
        Self {
            kind: BoxKind::TeltoCharge { needs_authorization: false, watchdog_survives_restart: false },
            unit: 1,
            phases: Phase::ALL.to_vec(),
            boot_current: Milliamp::from_amps(32),
            response: Span(50),
            boot_time: Span(300),
            car,
        }
    }

    /// A three-phase EVSE-DIN with firmware 18 at unit 1.
    #[must_use]
    pub fn evse_din(car: CarPlan) -> Self {
        Self { kind: BoxKind::EvseDin { firmware: 18 }, ..Self::teltocharge(car) }
    }

    /// On another unit of its bus.
    #[must_use]
    pub fn at_unit(mut self, unit: u8) -> Self {
        self.unit = unit;
        self
    }

    /// Wired to these grid phases.
    #[must_use]
    pub fn on_phases(mut self, phases: &[Phase]) -> Self {
        self.phases = phases.to_vec();
        self
    }
}

/// Which charger is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxKind {
    /// Teltonika TeltoCharge as secondary, register map of its "External control" page.
    TeltoCharge {
        /// Register 22.
        needs_authorization: bool,
        /// Whether 19 and 20 keep their values over a restart; a box that forgets them has 30 s and 6 A again.
        watchdog_survives_restart: bool,
    },
    /// evracing EVSE-DIN or EVSE-WB.
    EvseDin {
        /// Register 1005; from 17 on there is a resolution of 0.01 A (bit 7 of 2005).
        firmware: u16,
    },
}

/// One car.
#[derive(Clone, Debug)]
pub struct CarPlan {
    /// Phases its own charger uses, 1 to 3, the first ones of the box.
    pub phases: u8,
    /// Its own charger's limit per phase.
    pub max_current: Milliamp,
    /// From a change of the pilot to the first change of the draw.
    pub reaction: (Span, Span),
    /// So much less than offered.
    pub shortfall: (Milliamp, Milliamp),
    /// From the first offer to the first draw.
    pub start: (Span, Span),
    /// Per second.
    pub ramp_up: Milliamp,
    /// Per second.
    pub ramp_down: Milliamp,
    /// What it still takes; near the end it takes less and less. `None`: it never gets full.
    pub wants: Option<WattHour>,
    /// At the start of the simulation.
    pub at_start: CarAtStart,
}

impl CarPlan {
    /// Three phases, 16 A, and the times that measured cars show: 2 to 5 s to react, 12 to 30 s to start.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            phases: 3,
            max_current: Milliamp::from_amps(16),
            reaction: (Span(2000), Span(5000)),
            shortfall: (Milliamp(300), Milliamp(1000)),
            start: (Span(12_000), Span(30_000)),
            ramp_up: Milliamp(2000),
            ramp_down: Milliamp(5000),
            wants: None,
            at_start: CarAtStart::Plugged,
        }
    }

    /// The same car in fractions of a second, for tests: reacts in 0.1 s, starts in 0.2 s, draws 0.4 A less.
    #[must_use]
    pub fn swift() -> Self {
        Self {
            max_current: Milliamp::from_amps(32),
            reaction: (Span(100), Span(100)),
            shortfall: (Milliamp(400), Milliamp(400)),
            start: (Span(200), Span(200)),
            ramp_up: Milliamp::from_amps(80),
            ramp_down: Milliamp::from_amps(160),
            ..Self::usual()
        }
    }

    /// With so many phases.
    #[must_use]
    pub fn on_phases(mut self, phases: u8) -> Self {
        self.phases = phases;
        self
    }

    /// As found at the start.
    #[must_use]
    pub fn at_start(mut self, at_start: CarAtStart) -> Self {
        self.at_start = at_start;
        self
    }
}

/// What a car does when the simulation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CarAtStart {
    /// The parking space is empty.
    Away,
    /// Plugged in; the set-point register holds what a restart leaves there.
    Plugged,
    /// In mid-charge at this set-point, as somebody left it.
    Charging(Milliamp),
}

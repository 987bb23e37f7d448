//! A charger in memory, and a task that is connected to it.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::command::{ChargerAction, ChargerCommand, Contact, LastOffer, Leased};
use crate::control::Timing;
use crate::device::charger::driver::{ChargerDriver, Line};
use crate::device::charger::machine::Settings;
use crate::device::charger::teltocharge::TeltoCharge;
use crate::device::charger::{evse_din, task};
use crate::device::{ChargerChannels, ControlLink, ToControl};
use crate::event::Event;
use crate::link::modbus::{BusError, Operation, Priority, Reply};
use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::{ChargerObservation, ChargerReport};
use crate::status::{Health, Identity};

pub(super) const UNIT: u8 = 3;
pub(super) const WATCHDOG: Span = Span::from_secs(30);

pub(super) fn amps(amps: i32) -> Milliamp {
    Milliamp::from_amps(amps)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    /// Nothing arrives.
    Dead,
    /// It hears and obeys, nobody hears it.
    ReturnDead,
    /// Refuses everything.
    Refuses,
    /// The bus has no time for it.
    Crowded,
}

/// A telegram that the charger heard.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Telegram {
    pub(super) at: Mono,
    pub(super) operation: Operation,
    pub(super) priority: Priority,
    /// An EVSE-DIN counted in 0.01 A when it was heard.
    pub(super) fine: bool,
}

impl Telegram {
    /// Register and value of a write.
    pub(super) fn written(&self) -> Option<(u16, u16)> {
        match &self.operation {
            Operation::WriteSingle { address, value } => Some((*address, *value)),
            Operation::WriteMultiple { address, values } => values.first().map(|value| (*address, *value)),
            _ => None,
        }
    }
}

/// What stands behind the line.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) words: BTreeMap<u16, u16>,
    pub(super) fault: Fault,
    /// Functions that are answered with exception 1.
    pub(super) unknown_functions: Vec<u8>,
    /// Asked for alone, these registers are answered with exception 2.
    pub(super) refused: Vec<u16>,
    /// Writes to these registers are confirmed and forgotten.
    pub(super) deaf: Vec<u16>,
    pub(super) heard: Vec<Telegram>,
    pub(super) answer_time: Duration,
    pub(super) round: Duration,
    pub(super) pause: Duration,
}

/// Copies lead to the same charger.
#[derive(Clone, Debug)]
pub(super) struct MemoryLine {
    memory: Arc<Mutex<Memory>>,
    clock: Clock,
}

impl MemoryLine {
    pub(super) fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    pub(super) fn set(&self, register: u16, word: u16) {
        self.lock().words.insert(register, word);
    }

    pub(super) fn word(&self, register: u16) -> u16 {
        self.lock().words[&register]
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// All that was heard so far; forgets it.
    pub(super) fn heard(&self) -> Vec<Telegram> {
        std::mem::take(&mut self.lock().heard)
    }

    /// Writes heard so far; forgets all telegrams.
    pub(super) fn writes(&self) -> Vec<(u16, u16)> {
        self.heard().iter().filter_map(Telegram::written).collect()
    }

    fn hear(&self, operation: &Operation, priority: Priority) -> Result<Reply, BusError> {
        let at = self.clock.now();
        let mut memory = self.lock();
        let memory = &mut *memory;
        let fine = memory.words.get(&2005).is_some_and(|config| config & (1 << 7) != 0);
        memory.heard.push(Telegram { at, operation: operation.clone(), priority, fine });
        let refused = |code| BusError::Exception { asked: "memory".to_owned(), code, name: "refused" };
        if memory.fault == Fault::Refuses {
            return Err(refused(4));
        }
        if memory.unknown_functions.contains(&operation.function()) {
            return Err(refused(1));
        }
        let registers = operation.address()..operation.address() + u16::try_from(operation.count()).unwrap();
        let alone = operation.count() == 1 && memory.refused.contains(&operation.address());
        if alone || registers.clone().any(|register| !memory.words.contains_key(&register)) {
            return Err(refused(2));
        }
        let mut write = |register, value| {
            if !memory.deaf.contains(&register) {
                memory.words.insert(register, value);
            }
        };
        match operation {
            Operation::WriteSingle { address, value } => write(*address, *value),
            Operation::WriteMultiple { values, .. } => registers.zip(values).for_each(|(at, value)| write(at, *value)),
            _ => return Ok(Reply::Registers(registers.map(|register| memory.words[&register]).collect())),
        }
        Ok(Reply::Written)
    }
}

impl Line for MemoryLine {
    async fn call(&self, operation: Operation, limit: Duration, priority: Priority) -> Result<Reply, BusError> {
        let wait = self.lock().answer_time;
        tokio::time::sleep(wait).await;
        let fault = self.lock().fault;
        if fault == Fault::Crowded {
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Err(BusError::Expired { asked: "memory".to_owned(), waited: Duration::from_secs(3) });
        }
        let answer = if fault == Fault::Dead { None } else { Some(self.hear(&operation, priority)) };
        match answer {
            Some(answer) if fault != Fault::ReturnDead => answer,
            _ => {
                tokio::time::sleep(limit).await;
                Err(BusError::Timeout { asked: "memory".to_owned(), after: limit, received: String::new() })
            }
        }
    }

    fn set_pause(&self, pause: Duration) {
        self.lock().pause = pause;
    }

    fn round(&self) -> Duration {
        self.lock().round
    }

    fn link(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// What the control thread has heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) observations: Vec<ChargerObservation>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) risk: Option<String>,
    pub(super) risks_told: u32,
    pub(super) events: Vec<Event>,
    pub(super) health: Vec<(Mono, Health)>,
}

impl Heard {
    pub(super) fn last_report(&self) -> ChargerReport {
        let reports = self.observations.iter().rev();
        reports
            .filter_map(|it| if let ChargerObservation::Report(report) = it { Some(*report) } else { None })
            .next()
            .unwrap()
    }

    pub(super) fn written(&self) -> Vec<Milliamp> {
        let offer = |it: &ChargerObservation| {
            if let ChargerObservation::Written { offer, .. } = it { Some(*offer) } else { None }
        };
        self.observations.iter().filter_map(offer).collect()
    }

    pub(super) fn unconfirmed(&self) -> Vec<Option<Milliamp>> {
        let failed = |it: &ChargerObservation| {
            if let ChargerObservation::Failed { unconfirmed, .. } = it { Some(*unconfirmed) } else { None }
        };
        self.observations.iter().filter_map(failed).collect()
    }
}

/// A task and both of its ends.
pub(super) struct Rig {
    pub(super) line: MemoryLine,
    pub(super) clock: Clock,
    pub(super) orders: watch::Sender<Leased<ChargerCommand>>,
    pub(super) actions: mpsc::Sender<ChargerAction>,
    pub(super) last_offer: watch::Sender<Option<LastOffer>>,
    pub(super) control: Receiver<ToControl>,
    pub(super) task: JoinHandle<()>,
    pub(super) timing: Timing,
    pub(super) cancel: CancellationToken,
}

/// A TeltoCharge with a car that waits, 10 A in its register.
pub(super) fn telto_words() -> BTreeMap<u16, u16> {
    let mut words: BTreeMap<u16, u16> = (0..45).map(|register| (register, 0)).collect();
    let set = [
        (0, 230),
        (6, 1),
        (9, 21_571),
        (10, 1),
        (11, 1),
        (12, 32),
        (13, 6),
        (14, 6),
        (15, 10),
        (19, 30),
        (20, 6),
        (23, 1210),
        (24, 77),
        (26, 11_506),
        (27, 2),
        (28, 63),
        (29, 32),
        (31, 241),
        (33, 2),
        (36, 6),
        (37, 2),
        (41, 500),
    ];
    words.extend(set);
    words
}

/// An EVSE-DIN with a car that waits, 10 A in its register.
pub(super) fn evse_words(firmware: u16) -> BTreeMap<u16, u16> {
    let mut words: BTreeMap<u16, u16> = (1000..=1007).chain(2000..=2017).map(|register| (register, 0)).collect();
    words.extend([(1000, 10), (1001, 10), (1002, 2), (1003, 32), (1005, firmware), (2000, 6)]);
    words
}

impl Rig {
    fn new<D: ChargerDriver + 'static>(
        words: BTreeMap<u16, u16>,
        settings: Settings,
        driver: impl FnOnce(MemoryLine) -> D,
    ) -> Self {
        let clock = Clock::start();
        let memory = Memory {
            words,
            fault: Fault::None,
            unknown_functions: Vec::new(),
            refused: Vec::new(),
            deaf: Vec::new(),
            heard: Vec::new(),
            answer_time: Duration::from_millis(20),
            round: Duration::from_millis(100),
            pause: Duration::ZERO,
        };
        let line = MemoryLine { memory: Arc::new(Mutex::new(memory)), clock };
        let (control, receiver) = std::sync::mpsc::sync_channel(100_000);
        let (orders, order_end) = watch::channel(Leased::never(ChargerCommand::default()));
        let (actions, action_end) = mpsc::channel(4);
        let (last_offer, last_offer_end) = watch::channel(None);
        let channels = ChargerChannels {
            index: 0,
            control: ControlLink::new(control),
            orders: order_end,
            actions: action_end,
            last_offer: last_offer_end,
        };
        let (timing, cancel) = (Timing::default(), CancellationToken::new());
        let (driver, token) = (driver(line.clone()), cancel.clone());
        let task =
            tokio::spawn(async move { task::run(driver, "left", settings, channels, timing, clock, token).await });
        Self { line, clock, orders, actions, last_offer, control: receiver, task, timing, cancel }
    }

    pub(super) fn telto() -> Self {
        Self::telto_with(telto_words())
    }

    pub(super) fn telto_with(words: BTreeMap<u16, u16>) -> Self {
        Self::telto_that_falls_to(amps(6), words)
    }

    /// With this fail-safe current in the configuration.
    pub(super) fn telto_that_falls_to(fail_safe: Milliamp, words: BTreeMap<u16, u16>) -> Self {
        let settings = Settings {
            max: amps(16),
            fail_safe,
            watchdog: Some(WATCHDOG),
            auto_authorize: true,
            phase_switching: true,
            fed_by_any_telegram: true,
        };
        Self::new(words, settings, |line| TeltoCharge::new(line, Timing::default().poll))
    }

    pub(super) fn evse(firmware: u16) -> Self {
        Self::evse_with(evse_words(firmware), true)
    }

    pub(super) fn evse_with(words: BTreeMap<u16, u16>, fine: bool) -> Self {
        let settings = Settings {
            max: amps(16),
            fail_safe: amps(6),
            watchdog: None,
            auto_authorize: true,
            phase_switching: false,
            fed_by_any_telegram: false,
        };
        let installation = evse_din::Installation {
            unit: UNIT,
            several_phases: true,
            fine,
            fail_safe: amps(6),
            pause: Timing::default().bus_pause.to_std(),
        };
        Self::new(words, settings, |line| evse_din::EvseDin::new(line, installation))
    }

    /// Sends this order with a lease from now.
    pub(super) fn order(&self, order: ChargerCommand) {
        let valid_until = self.clock.now() + self.timing.lease;
        self.orders.send_replace(Leased::until(order, valid_until));
    }

    /// Sends this order again and again, as the control loop does, for so long.
    pub(super) async fn hold(&self, order: ChargerCommand, seconds: f64) {
        let end = self.clock.now() + Span::from_secs_f64(seconds);
        self.order(order);
        while self.clock.now() < end {
            let left = Span(end.0 - self.clock.now().0).min(Span(500));
            tokio::time::sleep(left.to_std()).await;
            self.order(order);
        }
    }

    /// Lets time pass without a sign of the control loop.
    pub(super) async fn pass(&self, seconds: f64) {
        tokio::time::sleep(Span::from_secs_f64(seconds).to_std()).await;
    }

    /// Through the first contact to a quiet charger that holds `offer`; forgets all that was said until then.
    pub(super) async fn settle(&self, offer: Milliamp) -> ChargerCommand {
        self.hold(ChargerCommand { contact: Contact::Open, fail_safe: amps(6), ..ChargerCommand::default() }, 0.5)
            .await;
        let order = normal(offer);
        self.hold(order, 8.0).await;
        self.line.heard();
        self.told();
        order
    }

    /// All that the control thread was told; forgets it.
    pub(super) fn told(&self) -> Heard {
        let mut heard = Heard::default();
        for message in self.control.try_iter() {
            match message {
                ToControl::Charger(0, observation) => heard.observations.push(observation),
                ToControl::ChargerIdentity(0, identity) => heard.identity = Some(identity),
                ToControl::Risk(_, risk) => {
                    heard.risk = risk;
                    heard.risks_told += 1;
                }
                ToControl::Event(event) => heard.events.push(event),
                ToControl::Health(_, health) => heard.health.push((self.clock.now(), health)),
                other => panic!("not from a charger: {other:?}"),
            }
        }
        heard
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// An order in undisturbed contact.
pub(super) fn normal(offer: Milliamp) -> ChargerCommand {
    ChargerCommand { offer: Some(offer), fail_safe: amps(6), contact: Contact::Normal, ..ChargerCommand::default() }
}

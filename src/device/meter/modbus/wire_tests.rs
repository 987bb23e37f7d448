//! The meter's task in front of a wire in memory, in stopped time: what changes after seconds and minutes.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::sleep;
use tokio_util::sync::DropGuard;

use super::*;
use crate::codec::model::Quantity;
use crate::config::meter_models;
use crate::config::model::Connection;
use crate::link::modbus::BusConfig;
use crate::link::modbus::memory::Wire;
use crate::quantity::{Milliamp, Phase, Watt};
use crate::reading::MeterReading;
use crate::status::Health;

/// What the device does with reads of this register.
#[derive(Clone, Copy, Debug)]
enum Does {
    Word(u16),
    Refuse(u8),
    /// Once, and then it answers with this word.
    RefuseOnce(u8, u16),
    Silent,
}

/// What reads that begin at a register get; all others get zeros.
type Device = Arc<Mutex<BTreeMap<u16, Does>>>;

async fn serve(mut far: DuplexStream, device: Device) {
    let mut head = [0; 7];
    while far.read_exact(&mut head).await.is_ok() {
        let mut pdu = vec![0; usize::from(head[5]) - 1];
        if far.read_exact(&mut pdu).await.is_err() {
            return;
        }
        let (first, count) = (u16::from_be_bytes([pdu[1], pdu[2]]), pdu[4]);
        let words = |device: &BTreeMap<u16, Does>| -> Vec<u8> {
            let word = |address| if let Some(Does::Word(word)) = device.get(&address) { *word } else { 0 };
            let bytes = (first..first + u16::from(count)).flat_map(|address| word(address).to_be_bytes());
            [pdu[0], count * 2].into_iter().chain(bytes).collect()
        };
        let answer = {
            let mut device = device.lock().unwrap();
            match device.get(&first).copied() {
                Some(Does::Silent) => None,
                Some(Does::Refuse(code)) => Some(vec![pdu[0] | 0x80, code]),
                Some(Does::RefuseOnce(code, word)) => {
                    device.insert(first, Does::Word(word));
                    Some(vec![pdu[0] | 0x80, code])
                }
                _ => Some(words(&device)),
            }
        };
        if let Some(pdu) = answer {
            head[5] = u8::try_from(pdu.len()).unwrap() + 1;
            if far.write_all(&[&head[..], &pdu].concat()).await.is_err() {
                return;
            }
        }
    }
}

struct House {
    device: Device,
    inbox: Receiver<ToControl>,
    /// The risk that stands.
    risk: Option<String>,
    health: Health,
    _end: DropGuard,
}

impl House {
    fn start(id: &str, registers: &[(u16, Does)]) -> Self {
        let device: Device = Arc::new(Mutex::new(registers.iter().copied().collect()));
        let served = Arc::clone(&device);
        let wire = Wire::new(move || {
            let (near, far) = duplex(1024);
            tokio::spawn(serve(far, Arc::clone(&served)));
            near
        });
        let cancel = CancellationToken::new();
        let connection = Connection::Tcp { host: "memory".to_owned(), port: 502 };
        let bus = Bus::spawn(BusConfig { wire: Some(wire), ..BusConfig::new(connection) }, cancel.clone());
        let model = meter_models::embedded().into_iter().find(|it| it.id == id).unwrap();
        let port = Port { bus, unit: 1, model: Arc::new(model) };
        let (sender, inbox) = sync_channel(100_000);
        let (control, token) = (ControlLink::new(sender), cancel.clone());
        tokio::spawn(async move {
            let who = Who { index: 0, id: "main", role: MeterRole::Grid };
            run(who, port, Mapping::default(), control, Clock::start(), token).await;
        });
        Self { device, inbox, risk: None, health: Health::default(), _end: cancel.drop_guard() }
    }

    fn set(&self, address: u16, does: Does) {
        self.device.lock().unwrap().insert(address, does);
    }

    /// The readings of this time, one after the other.
    async fn pass(&mut self, seconds: u64) -> Vec<MeterReading> {
        sleep(Duration::from_secs(seconds)).await;
        let mut readings = Vec::new();
        for message in self.inbox.try_iter() {
            match message {
                ToControl::Meter { reading, .. } => readings.push(reading),
                ToControl::Risk(_, risk) => self.risk = risk,
                ToControl::Health(_, health) => self.health = health,
                _ => {}
            }
        }
        readings
    }

    fn risk(&self) -> &str {
        self.risk.as_deref().unwrap_or_default()
    }
}

/// 460 W and 2 A on L1 of an EM24, low word first.
const EM24: [(u16, Does); 2] = [(0x0C, Does::Word(2000)), (0x12, Does::Word(4600))];

fn em24(application: Does) -> House {
    let mut registers = vec![(0x1101, application)];
    registers.extend(EM24);
    House::start("carlo-gavazzi-em24", &registers)
}

fn dtsu666(ratio: Does) -> House {
    House::start("chint-dtsu666", &[(6, ratio), (7, Does::Word(10))])
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_busy_once_says_nothing_about_its_mode_register() {
    // Device failure, acknowledge, busy; a gateway without a path and without an answer.
    for code in [4, 5, 6, 10, 11] {
        let mut house = dtsu666(Does::RefuseOnce(code, 40));
        assert_eq!(house.pass(20).await, [], "exception {code}: readings that are 40 times too small");
        assert!(house.risk().contains("register 6 is 40"), "{}", house.risk());
        let mut house = em24(Does::RefuseOnce(code, 0));
        let readings = house.pass(20).await;
        assert!(readings.len() > 10 && readings.iter().all(|it| it.power_total.is_none()), "exception {code}");
        assert!(house.risk().contains("register 4353 is 0"), "{}", house.risk());
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_mode_register_cannot_be_read_nothing_is_told_and_the_risk_stands() {
    for does in [Does::Refuse(6), Does::Refuse(11), Does::Silent] {
        let mut house = dtsu666(does);
        assert_eq!(house.pass(120).await, [], "{does:?}");
        assert!(house.risk().contains("register 6 has not answered yet"), "{does:?}: {}", house.risk());
        house.set(6, Does::Word(1));
        assert!(house.pass(60).await.len() > 10, "{does:?}");
        assert_eq!(house.risk, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mode_register_that_is_not_there_is_a_risk_and_takes_a_ratio_with_it() {
    let mut house = em24(Does::Refuse(2));
    let readings = house.pass(90).await;
    assert_eq!((readings[0].power_total, readings[0].current[Phase::L1]), (None, Some(Milliamp(2000))));
    assert_eq!(readings.last().unwrap().power_total, Some(Watt(460)), "a clone that has no such register");
    assert!(house.risk().contains("refused with exception 2"), "{}", house.risk());
    let mut house = dtsu666(Does::Refuse(2));
    assert_eq!(house.pass(120).await, []);
    assert!(house.risk().ends_with("nothing of it is used"), "{}", house.risk());
}

#[tokio::test(start_paused = true)]
async fn a_mode_register_that_stays_silent_does_not_keep_the_currents_away() {
    for does in [Does::Silent, Does::Refuse(4), Does::Refuse(6), Does::Refuse(11)] {
        let mut house = em24(does);
        let readings = house.pass(90).await;
        assert!(readings.len() > 40, "{does:?}: {} readings", readings.len());
        let told = readings.iter().all(|it| it.power_total.is_none() && it.current[Phase::L1] == Some(Milliamp(2000)));
        assert!(told && house.health.online, "{does:?}: {:?}", house.health);
        let said =
            "register 4353 has not answered yet); its powers and counters are not used, its currents count as import";
        assert!(house.risk().ends_with(said), "{does:?}: {}", house.risk());
        house.set(0x1101, Does::Word(7));
        assert_eq!(house.pass(30).await.last().unwrap().power_total, Some(Watt(460)));
        assert_eq!(house.risk, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_meter_that_refuses_its_mode_while_it_starts_up_is_not_taken_for_one_without() {
    let mut house = em24(Does::Refuse(2));
    assert!(house.pass(50).await.iter().all(|it| it.power_total.is_none()), "it may have the register after all");
    house.set(0x1101, Does::Word(0));
    assert!(house.pass(60).await.iter().all(|it| it.power_total.is_none()));
    assert!(house.risk().contains("register 4353 is 0"), "{}", house.risk());
}

#[tokio::test(start_paused = true)]
async fn the_first_counter_of_a_meter_is_read_twice_before_it_is_told() {
    // Import of an EM24 in 0.1 kWh, low word first.
    let mut house = em24(Does::Word(7));
    let model = meter_models::embedded().into_iter().find(|it| it.id == "carlo-gavazzi-em24").unwrap();
    let energy = model.polls.iter().flat_map(|poll| poll.values.iter().map(move |it| (poll, it)));
    let (poll, value) = energy.into_iter().find(|it| it.1.key.quantity == Quantity::EnergyImport).unwrap();
    let address = poll.first + value.offset;
    house.set(address + 1, Does::Word(1));
    // The first round, and no second one.
    sleep(Duration::from_millis(300)).await;
    house.set(address + 1, Does::Word(0));
    house.set(address, Does::Word(10));
    let told: Vec<i64> = house.pass(20).await.iter().filter_map(|it| it.energy_import).map(|it| it.0).collect();
    assert!(!told.is_empty() && told.iter().all(|it| *it == 1000), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_serial_number_that_is_refused_is_no_fault() {
    let mut house = em24(Does::Word(7));
    house.set(0x1300, Does::Refuse(2));
    assert!(house.pass(30).await.len() > 10);
    assert_eq!((house.health.bad, house.health.last_error.as_deref()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_ratio_or_a_mode_that_is_changed_later_is_seen_within_a_minute() {
    let mut house = dtsu666(Does::Word(1));
    assert!(house.pass(45).await.len() > 60);
    assert!(house.risk.is_none() && house.health.online);
    house.set(6, Does::Word(40));
    house.pass(60).await;
    assert_eq!(house.pass(60).await, []);
    assert!(house.risk().contains("register 6 is 40") && !house.health.online, "{}", house.risk());
    house.set(6, Does::Word(1));
    house.pass(60).await;
    assert!(house.pass(10).await.len() > 10 && house.risk.is_none() && house.health.online);

    let mut house = em24(Does::Word(7));
    assert_eq!(house.pass(45).await.last().unwrap().power_total, Some(Watt(460)));
    house.set(0x1101, Does::Word(0));
    house.pass(60).await;
    assert!(house.pass(10).await.iter().all(|it| it.power_total.is_none()));
    // It does not get away with saying that there is no such register.
    house.set(0x1101, Does::Refuse(2));
    assert!(house.pass(600).await.iter().all(|it| it.power_total.is_none()));
    assert!(house.risk().contains("register 4353 is 0"), "{}", house.risk());
}

#[tokio::test(start_paused = true)]
async fn a_converter_that_is_silent_about_an_optional_register_tells_the_rest() {
    // The converter's time, which must go on: it is as good as its registers.
    for does in [Does::Silent, Does::Refuse(11)] {
        let mut house = House::start("smartstuff-p1", &[(0x26, does), (0x19, Does::Word(6000))]);
        let mut told = Vec::new();
        for second in 1..=60 {
            house.set(1, Does::Word(second));
            told.extend(house.pass(1).await);
        }
        assert!(told.len() > 40, "{does:?}: {} readings", told.len());
        assert_eq!(told.last().unwrap().current[Phase::L1], Some(Milliamp(6000)));
        assert!(house.health.online, "{:?}", house.health);
        // It is asked again, and what it says then is used.
        house.set(0x26, Does::Word(0));
        house.set(0x27, Does::Word(1380));
        for second in 61..=400 {
            house.set(1, Does::Word(second));
            told.extend(house.pass(1).await);
        }
        assert_eq!(told.last().unwrap().power[Phase::L1], Some(Watt(1380)));
    }
}

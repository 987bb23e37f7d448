//! The tasks with sources in memory.

use std::sync::mpsc::{Receiver, sync_channel};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::watch;
use tokio::time::advance;

use super::*;
use crate::config::model::{Common, Connection};
use crate::config::model::{HttpAddress, Secret, ShellyPoint};
use crate::control::InputMeaning;
use crate::link::gpio::fake::FakeChip;
use crate::link::gpio::{LineName, Pull};
use crate::link::modbus::BusConfig;
use crate::link::modbus::memory::Wire;
use crate::mqtt::MqttStatus;
use crate::simulator::http::{HttpFault, Shelly as StandIn};

fn input(driver: InputDriver, max_age: Option<Span>) -> Input {
    let common = Common { id: "tariff".into(), name: "tariff".into(), area: None };
    Input { common, meaning: InputMeaning::LowTariff, driver, debounce: Span::ZERO, max_age }
}

/// Runs an input's task; what it tells the control thread.
fn start(
    input: Input,
    bus: Option<Bus>,
    mqtt: Option<mqtt::Feed>,
    chip: FakeChip,
    clock: Clock,
) -> Receiver<ToControl> {
    let (sender, inbox) = sync_channel(1024);
    let control = ControlLink::new(sender);
    let ends = InputEnds { index: 3, control, bus, mqtt, gpio: Arc::new(chip) };
    tokio::spawn(async move { run(&input, ends, clock, CancellationToken::new()).await });
    inbox
}

fn heard(inbox: &Receiver<ToControl>) -> Vec<Option<bool>> {
    let level = |message| if let ToControl::Input(3, it) = message { Some(it.active) } else { None };
    inbox.try_iter().filter_map(level).collect()
}

/// Waits, in real time, until the input is told to be `level`.
async fn until(inbox: &Receiver<ToControl>, level: Option<bool>) {
    let end = Instant::now() + Duration::from_secs(10);
    while heard(inbox).last() != Some(&level) {
        assert!(Instant::now() < end, "never told: {level:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_lost_at_once_and_comes_back() {
    let chip = FakeChip::default();
    let line = LineName::parse("gpiochip0/17").unwrap();
    let driver = InputDriver::Gpio { line, active_high: false };
    let inbox = start(input(driver, Some(Span::from_secs(30))), None, None, chip.clone(), Clock::start());
    until(&inbox, None).await;
    chip.drive("gpiochip0/17", Some(false));
    until(&inbox, Some(true)).await;
    chip.drive("gpiochip0/17", Some(true));
    until(&inbox, Some(false)).await;
    chip.drive("gpiochip0/17", None);
    until(&inbox, None).await;
    chip.drive("gpiochip0/17", Some(false));
    until(&inbox, Some(true)).await;
    assert!(chip.pulls().iter().all(|it| *it == Pull::Up), "an open wire reads as inactive");
}

/// A Modbus TCP unit whose discrete input 4 is on, that refuses holding registers and has 2 in every input register.
fn board() -> Bus {
    let wire = Wire::new(|| {
        let (near, mut far) = duplex(256);
        tokio::spawn(async move {
            let mut request = [0; 12];
            while far.read_exact(&mut request).await.is_ok() {
                let pdu: &[u8] = match (request[7], request[9]) {
                    (2, 4) => &[2, 1, 1],
                    (2, _) => &[2, 1, 0],
                    (4, _) => &[4, 2, 0, 2],
                    _ => &[0x83, 2],
                };
                let mut answer = request[..7].to_vec();
                answer[5] = u8::try_from(pdu.len()).unwrap() + 1;
                answer.extend(pdu);
                if far.write_all(&answer).await.is_err() {
                    return;
                }
            }
        });
        near
    });
    let connection = Connection::Tcp { host: "memory".into(), port: 502 };
    Bus::spawn(BusConfig { wire: Some(wire), ..BusConfig::new(connection) }, CancellationToken::new())
}

#[tokio::test]
async fn discrete_inputs_and_registers_are_read() {
    let bus = board();
    let register = |active| PointKind::Register { address: 200, active };
    let words = |words: &[u16]| register(ActiveWords::These(words.to_vec()));
    for (kind, active) in [
        (PointKind::Discrete { address: 4, active_high: true }, true),
        (PointKind::Discrete { address: 4, active_high: false }, false),
        (PointKind::Discrete { address: 5, active_high: false }, true),
        (register(ActiveWords::NotZero), true),
        (register(ActiveWords::Zero), false),
        (words(&[1, 2]), true),
        (words(&[1]), false),
    ] {
        let read = modbus::Point::new(bus.clone(), 1, kind.clone()).read().await;
        assert_eq!(read, Ok(active), "{kind:?}");
    }
}

struct Broker {
    value: watch::Sender<Option<mqtt::InputValue>>,
    link: watch::Sender<MqttStatus>,
    clock: Clock,
    inbox: Receiver<ToControl>,
}

impl Broker {
    fn start(kept: bool) -> Self {
        let clock = Clock::start();
        let (value, values) = watch::channel(None);
        let (link, links) = watch::channel(MqttStatus { listening: true, ..MqttStatus::default() });
        let driver = InputDriver::Mqtt { topic: None, active_high: true, kept };
        let feed = mqtt::Feed { value: values, link: links };
        let inbox = start(input(driver, Some(Span::from_secs(30))), None, Some(feed), FakeChip::default(), clock);
        Self { value, link, clock, inbox }
    }

    fn tell(&self, on: bool) {
        self.value.send_replace(Some(mqtt::InputValue { on, at: self.clock.now() }));
    }

    fn link(&self, up: bool) {
        self.link.send_modify(|link| link.listening = up);
    }

    async fn pass(&self, seconds: u64) -> Vec<Option<bool>> {
        for _ in 0..seconds {
            advance(Duration::from_secs(1)).await;
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        }
        heard(&self.inbox)
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_value_is_lost_when_the_broker_has_been_away_for_a_minute() {
    let broker = Broker::start(true);
    tokio::task::yield_now().await;
    let first = broker.inbox.recv();
    assert!(matches!(&first, Ok(ToControl::Risk(_, Some(risk))) if risk.contains("input tariff depends")), "{first:?}");
    assert_eq!(broker.pass(30).await, [], "nothing is known before it is told");
    broker.tell(true);
    let told = broker.pass(30).await;
    assert!(told.len() >= 5 && told.iter().all(|it| *it == Some(true)), "renewed: {told:?}");
    broker.link(false);
    assert!(!broker.pass(59).await.contains(&None));
    assert_eq!(broker.pass(3).await.last(), Some(&None));
    broker.link(true);
    assert_eq!(broker.pass(30).await, [], "what was told meanwhile nobody knows");
    broker.tell(false);
    assert_eq!(broker.pass(1).await, [Some(false)]);
    // Away for less than that, the value stands.
    broker.link(false);
    broker.pass(50).await;
    broker.link(true);
    assert_eq!(broker.pass(10).await.last(), Some(&Some(false)));
}

#[tokio::test(start_paused = true)]
async fn a_value_with_an_age_is_told_once_and_grows_old_whatever_the_broker_does() {
    let broker = Broker::start(false);
    broker.tell(true);
    assert_eq!(broker.pass(100).await, [Some(true)]);
    broker.tell(true);
    assert_eq!(broker.pass(1).await, [Some(true)], "the same again is news");
    broker.link(false);
    assert_eq!(broker.pass(100).await, []);
}

fn point(stand_in: &StandIn, password: Option<&str>) -> ShellyPoint {
    let at = stand_in.address();
    let address = HttpAddress { tls: false, host: at.ip().to_string(), port: at.port() };
    let login = password.map(|it| ("admin".to_owned(), Secret::new(it.to_owned())));
    ShellyPoint { address, channel: 0, login }
}

#[tokio::test]
async fn an_input_of_a_shelly_is_read_with_its_polarity_and_its_login() {
    let stand_in = StandIn::plug().await.unwrap();
    stand_in.require_password("secret");
    let mut terminal = shelly::Terminal::new(&point(&stand_in, Some("secret")), true).unwrap();
    let mut turned = shelly::Terminal::new(&point(&stand_in, Some("secret")), false).unwrap();
    let level = terminal.read().await.unwrap();
    assert_eq!(turned.read().await, Ok(!level));
    let mut stranger = shelly::Terminal::new(&point(&stand_in, None), true).unwrap();
    assert!(stranger.read().await.is_err());
    stand_in.fault(HttpFault::Garbage);
    assert!(terminal.read().await.is_err());
}

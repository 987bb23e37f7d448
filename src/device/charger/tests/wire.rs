//! The whole way from an order to a simulated charger: task, driver, bus and socket or pseudo-terminal, in real time.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::rig::{amps, normal};
use crate::clock::Clock;
use crate::command::{ChargerCommand, Contact, LastOffer, Leased};
use crate::config::model::{Charger, ChargerDriver, Common, Connection, SerialLine};
use crate::control::{ChargerSettings, Mode, Timing};
use crate::device::charger;
use crate::device::{ChargerChannels, ControlLink, ToControl};
use crate::link::modbus::{Bus, BusConfig};
use crate::quantity::{Milliamp, Phase, Span};
use crate::reading::ChargerObservation;
use crate::simulator::{BusLink, BusPlan, CarPlan, ChargerFault, ChargerPlan, Plan, Request, Simulator};

const PATIENCE: Duration = Duration::from_secs(20);

fn connection(text: &str) -> Connection {
    let (scheme, place) = text.split_once("://").unwrap();
    if scheme == "serial" {
        let path = PathBuf::from(place.split('?').next().unwrap());
        return Connection::Serial(SerialLine { path, baud: None, parity: None, stop: None });
    }
    let (host, port) = place.rsplit_once(':').unwrap();
    let (host, port) = (host.to_owned(), port.parse().unwrap());
    if scheme == "tcp" { Connection::Tcp { host, port } } else { Connection::RtuOverTcp { host, port } }
}

fn configured(driver: ChargerDriver, step: Milliamp) -> Charger {
    Charger {
        circuit: None,
        common: Common { id: "left".to_owned(), name: "Left".to_owned(), area: None },
        driver,
        phases: Phase::ALL.to_vec(),
        meter: None,
        max_current: amps(16),
        step,
        phase_switching: false,
        fail_safe: amps(6),
        watchdog: Some(Span::from_secs(30)),
        auto_authorize: true,
        settings: ChargerSettings {
            mode: Mode::Fast,
            max_current: amps(16),
            fixed_current: amps(16),
            eco_min: amps(6),
            eco_plus_min_surplus: amps(1),
            low_tariff_only: false,
            low_tariff_fast: false,
            low_tariff_max: amps(16),
            priority: 5,
            phases: None,
            session_limit: None,
            mode_after_session: None,
        },
    }
}

struct Wired {
    house: Simulator,
    order: watch::Sender<ChargerCommand>,
    last_offer: watch::Sender<Option<LastOffer>>,
    control: Option<Receiver<ToControl>>,
    task: JoinHandle<()>,
    loop_alive: CancellationToken,
    _actions: mpsc::Sender<crate::command::ChargerAction>,
    end: CancellationToken,
}

impl Wired {
    /// Waits until the control thread is told something that `wanted` picks out.
    async fn told<T: Send + 'static>(&mut self, wanted: fn(ToControl) -> Option<T>) -> T {
        let control = self.control.take().unwrap();
        let waiting = tokio::task::spawn_blocking(move || {
            let found = std::iter::from_fn(|| control.recv_timeout(PATIENCE).ok()).find_map(wanted);
            (control, found)
        });
        let (control, found) = waiting.await.unwrap();
        self.control = Some(control);
        found.unwrap()
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A simulated charger in a house whose time runs `speed` times as fast, and a task that is renewed its lease until
/// `loop_alive` is cancelled.
async fn wired(link: BusLink, plan: ChargerPlan, speed: f64, kind: fn(Connection, u8) -> Charger) -> Wired {
    let unit = plan.unit;
    let mut house = Plan::quiet(Vec::new());
    house.speed = speed;
    house.buses = vec![BusPlan { link, chargers: vec![plan] }];
    let house = Simulator::start(house).await.unwrap();
    let connection = connection(house.charger_connection(0));
    let end = CancellationToken::new();
    let bus = Bus::spawn(BusConfig::new(connection.clone()), end.clone());
    let charger = kind(connection, unit);
    let clock = Clock::start();
    let timing = Timing { poll: Span(100), lease: Span(500), ..Timing::default() };
    let (control, receiver) = std::sync::mpsc::sync_channel(100_000);
    let first = ChargerCommand { contact: Contact::Open, fail_safe: amps(6), ..ChargerCommand::default() };
    let (order, mut newest) = watch::channel(first);
    let (orders, order_end) = watch::channel(Leased::never(first));
    let (last_offer, last_offer_end) = watch::channel(None);
    let (actions, action_end) = mpsc::channel(1);
    let channels = ChargerChannels {
        index: 0,
        control: ControlLink::new(control),
        orders: order_end,
        actions: action_end,
        last_offer: last_offer_end,
    };
    let loop_alive = CancellationToken::new();
    let renewed_until = loop_alive.clone();
    tokio::spawn(async move {
        loop {
            let order = *newest.borrow_and_update();
            orders.send_replace(Leased::until(order, clock.now() + timing.lease));
            tokio::select! {
                () = renewed_until.cancelled() => break,
                changed = newest.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
        // The channel stays open: a hung loop closes nothing.
        std::future::pending::<()>().await;
        drop(orders);
    });
    let token = end.clone();
    let task = tokio::spawn(async move { charger::run(&charger, channels, bus, timing, clock, token).await });
    Wired { house, order, last_offer, control: Some(receiver), task, loop_alive, _actions: actions, end }
}

fn telto(connection: Connection, unit: u8) -> Charger {
    configured(ChargerDriver::TeltoCharge { connection, unit }, amps(1))
}

fn evse(connection: Connection, unit: u8) -> Charger {
    configured(ChargerDriver::EvseDin { connection, unit }, Milliamp(10))
}

#[tokio::test]
async fn a_teltocharge_obeys_on_every_kind_of_link_and_is_left_to_its_watchdog() {
    for link in [BusLink::Tcp, BusLink::RtuOverTcp, BusLink::Rtu] {
        let wired = wired(link, ChargerPlan::teltocharge(CarPlan::swift()).at_unit(7), 20.0, telto).await;
        let house = &wired.house;
        house.until("it was asked", PATIENCE, |it| it.chargers[0].requests > 0).await.unwrap();
        assert_eq!(house.view().chargers[0].writes, 0, "nothing is written before it is ordered");
        wired.order.send_replace(normal(amps(14)));
        house.until("14 A are drawn", PATIENCE, |it| it.chargers[0].draw.0[2] == Milliamp(13_600)).await.unwrap();
        let programmed = Some((Span::from_secs(30), amps(6)));
        house.until("the watchdog stands", PATIENCE, |it| it.chargers[0].watchdog == programmed).await.unwrap();
        wired.order.send_replace(normal(amps(9)));
        house.until("9 A are drawn", PATIENCE, |it| it.chargers[0].draw.0[0] == Milliamp(8_600)).await.unwrap();

        wired.loop_alive.cancel();
        house.until("it was lowered", PATIENCE, |it| it.chargers[0].set_point == amps(6)).await.unwrap();
        let lowered = house.view().chargers[0].heard.unwrap();
        house.until("its watchdog ran out", PATIENCE, |it| it.chargers[0].fallen).await.unwrap();
        let since = house.requests_since(0, lowered);
        assert!(
            since.len() <= 1 && since.iter().all(Request::is_read),
            "{link:?}: read back, then left alone: {since:?}"
        );
    }
}

#[tokio::test]
async fn an_evse_din_counts_in_hundredths_and_stops_in_order() {
    let mut wired = wired(BusLink::RtuOverTcp, ChargerPlan::evse_din(CarPlan::swift()).at_unit(2), 1.0, evse).await;
    wired.order.send_replace(normal(Milliamp::ZERO));
    wired.house.until("it holds 0 A", PATIENCE, |it| it.chargers[0].set_point == Milliamp::ZERO).await.unwrap();
    // It is switched to 0.01 A while nothing flows.
    let faults = wired.house.faults();
    let switched = |_: &crate::simulator::View| faults.peek(0, 2005).is_some_and(|config| config & (1 << 7) != 0);
    wired.house.until("it counts in 0.01 A", PATIENCE, switched).await.unwrap();
    wired.order.send_replace(normal(Milliamp(9_750)));
    wired.house.until("9.75 A", PATIENCE, |it| it.chargers[0].set_point == Milliamp(9_750)).await.unwrap();
    let risk = wired.told(|it| if let ToControl::Risk(_, risk) = it { risk } else { None }).await;
    assert!(risk.contains("it offers 32 A"), "{risk}");
    wired.last_offer.send_replace(Some(LastOffer::AtMost(amps(6))));
    tokio::time::timeout(PATIENCE, &mut wired.task).await.unwrap().unwrap();
    assert_eq!(wired.house.view().chargers[0].set_point, amps(6));
}

#[tokio::test]
async fn a_dead_return_line_is_told_with_what_may_stand() {
    let mut wired = wired(BusLink::Tcp, ChargerPlan::teltocharge(CarPlan::swift()), 1.0, telto).await;
    wired.order.send_replace(normal(amps(10)));
    wired.house.until("10 A are offered", PATIENCE, |it| it.chargers[0].offered == amps(10)).await.unwrap();
    wired.house.faults().charger(0, ChargerFault::ReturnDead);
    wired.order.send_replace(normal(amps(16)));
    wired.house.until("16 A arrive all the same", PATIENCE, |it| it.chargers[0].set_point == amps(16)).await.unwrap();
    let unconfirmed = wired.told(|it| match it {
        ToControl::Charger(0, ChargerObservation::Failed { unconfirmed, .. }) => unconfirmed,
        _ => None,
    });
    assert_eq!(unconfirmed.await, amps(16));
}

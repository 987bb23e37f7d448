//! The task with a relay in memory, in stopped time.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;
use tokio::time::advance;

use super::*;
use crate::config::model::{HttpAddress, ShellyPoint};
use crate::link::gpio::fake::FakeChip;
use crate::simulator::http::Shelly as StandIn;

/// What happened to the relay: when, what was asked, with which priority.
type Writes = Arc<Mutex<Vec<(Mono, bool, Priority)>>>;

#[derive(Clone, Debug)]
struct FakeRelay {
    clock: Clock,
    writes: Writes,
    on: Arc<Mutex<bool>>,
    dead: Arc<Mutex<bool>>,
    /// It confirms and does not switch.
    stuck: Arc<Mutex<bool>>,
}

impl Switch for FakeRelay {
    async fn set(&mut self, on: bool, priority: Priority) -> Result<(), Trouble> {
        self.writes.lock().unwrap().push((self.clock.now(), on, priority));
        if *self.dead.lock().unwrap() {
            return Err(Trouble::bad("dead"));
        }
        if !*self.stuck.lock().unwrap() {
            *self.on.lock().unwrap() = on;
        }
        Ok(())
    }

    async fn read(&mut self, _: Priority) -> Result<Option<bool>, Trouble> {
        if *self.dead.lock().unwrap() { Err(Trouble::bad("dead")) } else { Ok(Some(*self.on.lock().unwrap())) }
    }

    fn period(&self) -> Span {
        Span::from_secs(10)
    }
}

struct Rig {
    relay: FakeRelay,
    orders: watch::Sender<Leased<RelayOrder>>,
    leave: CancellationToken,
    inbox: Receiver<ToControl>,
    task: JoinHandle<()>,
    clock: Clock,
}

impl Rig {
    fn start(safe_state: bool, timer: Option<Span>) -> Self {
        let clock = Clock::start();
        let (sender, inbox) = sync_channel(1024);
        let (orders, received) = watch::channel(Leased::never(RelayOrder { on: safe_state }));
        let leave = CancellationToken::new();
        let (on, dead, stuck) = (Arc::default(), Arc::default(), Arc::default());
        let relay = FakeRelay { clock, writes: Writes::default(), on, dead, stuck };
        let voice = Voice::new("relay boiler".into(), DeviceRef::Relay(0), ControlLink::new(sender));
        let task = Task::new(0, Rules { safe_state, timer }, voice, clock);
        let task = tokio::spawn(task.serve(relay.clone(), received, leave.clone()));
        Self { relay, orders, leave, inbox, task, clock }
    }

    /// Orders for as long as tests run.
    fn order(&self, on: bool) {
        self.orders.send_replace(Leased::until(RelayOrder { on }, Mono(i64::MAX / 4)));
    }

    /// Lets time pass, in steps small enough for every timer.
    async fn pass(&self, millis: u64) {
        for _ in 0..millis / 100 {
            advance(Duration::from_millis(100)).await;
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Since the last look: seconds and what was asked.
    fn writes(&self) -> Vec<(f64, bool)> {
        self.relay.writes.lock().unwrap().drain(..).map(|(at, on, _)| (at.as_secs_f64(), on)).collect()
    }

    fn heard(&self) -> Vec<RelayObservation> {
        let relay = |message| if let ToControl::Relay(0, it) = message { Some(it) } else { None };
        self.inbox.try_iter().filter_map(relay).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_in_its_safe_state_until_something_was_decided() {
    let rig = Rig::start(true, None);
    rig.pass(1000).await;
    assert_eq!(rig.writes(), [(0.1, true)]);
    rig.order(false);
    rig.pass(1000).await;
    assert_eq!(rig.writes(), [(1.1, false)]);
    let opened = rig.heard().pop();
    assert!(matches!(opened, Some(RelayObservation::Written { on: false, .. })), "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn its_own_timer_is_renewed_three_times_while_it_runs_and_never_in_the_safe_state() {
    let rig = Rig::start(false, Some(Span::from_secs(60)));
    rig.order(true);
    rig.pass(61_000).await;
    let times: Vec<f64> = rig.writes().iter().filter(|(_, on)| *on).map(|(at, _)| at.round()).collect();
    assert_eq!(times, [0.0, 20.0, 40.0, 60.0]);
    rig.order(false);
    rig.pass(120_000).await;
    assert_eq!(rig.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_lease_is_the_safe_state() {
    let rig = Rig::start(false, None);
    rig.orders.send_replace(Leased::until(RelayOrder { on: true }, rig.clock.now() + Span(5000)));
    rig.pass(4900).await;
    assert_eq!(rig.writes(), [(0.1, true)]);
    rig.pass(1000).await;
    let writes = rig.writes();
    assert!(matches!(&writes[..], [(at, false)] if (5.0..5.2).contains(at)), "{writes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_told_and_tried_again_and_a_new_order_waits_for_nothing() {
    let rig = Rig::start(false, None);
    *rig.relay.dead.lock().unwrap() = true;
    rig.order(true);
    rig.pass(20_000).await;
    let times: Vec<f64> = rig.writes().iter().map(|(at, _)| *at).collect();
    assert!(times.len() >= 5 && times.windows(2).all(|it| it[1] - it[0] <= 5.1), "{times:?}");
    let heard = rig.heard();
    assert_eq!(heard.len(), times.len());
    assert!(heard.iter().all(|it| matches!(it, RelayObservation::Failed { write: true, .. })), "{heard:?}");
    let now = rig.clock.now();
    rig.order(false);
    rig.pass(100).await;
    assert!(rig.writes().iter().any(|(at, on)| !on && *at <= now.as_secs_f64() + 0.1));
    *rig.relay.dead.lock().unwrap() = false;
    rig.pass(6_000).await;
    assert!(rig.heard().iter().any(|it| matches!(it, RelayObservation::Written { on: false, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_confirms_and_does_not_switch_has_failed() {
    let rig = Rig::start(false, None);
    rig.order(true);
    rig.pass(1000).await;
    rig.heard();
    *rig.relay.stuck.lock().unwrap() = true;
    rig.order(false);
    rig.pass(5000).await;
    let heard = rig.heard();
    assert!(heard.len() >= 3, "{heard:?}");
    assert!(heard.iter().all(|it| matches!(it, RelayObservation::Failed { write: true, .. })), "{heard:?}");
    *rig.relay.stuck.lock().unwrap() = false;
    rig.pass(6000).await;
    let heard = rig.heard();
    assert!(heard.iter().any(|it| matches!(it, RelayObservation::Written { on: false, .. })), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_switched_is_switched_back() {
    let rig = Rig::start(false, None);
    rig.order(true);
    rig.pass(1000).await;
    rig.writes();
    *rig.relay.on.lock().unwrap() = false;
    rig.pass(11_000).await;
    assert_eq!(rig.writes().len(), 1);
    assert!(*rig.relay.on.lock().unwrap());
    assert!(rig.heard().iter().any(|it| matches!(it, RelayObservation::State { on: false, .. })));
}

#[tokio::test(start_paused = true)]
async fn opening_goes_before_everything_else_on_a_bus() {
    let rig = Rig::start(false, None);
    rig.order(true);
    rig.pass(500).await;
    rig.order(false);
    rig.pass(500).await;
    let priorities: Vec<Priority> = rig.relay.writes.lock().unwrap().iter().map(|it| it.2).collect();
    assert_eq!(priorities, [Priority::SetPoint, Priority::Reduction]);
}

#[tokio::test(start_paused = true)]
async fn an_orderly_stop_leaves_the_safe_state_behind() {
    let rig = Rig::start(false, None);
    rig.order(true);
    rig.pass(1000).await;
    assert!(*rig.relay.on.lock().unwrap());
    *rig.relay.dead.lock().unwrap() = true;
    rig.leave.cancel();
    rig.pass(1000).await;
    assert!(!rig.task.is_finished(), "it does not give up while there is time");
    *rig.relay.dead.lock().unwrap() = false;
    rig.pass(1000).await;
    assert!(rig.task.is_finished());
    assert!(!*rig.relay.on.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_little_for_a_relay_that_did_not_answer_before() {
    let rig = Rig::start(false, None);
    *rig.relay.dead.lock().unwrap() = true;
    rig.order(true);
    rig.pass(20_000).await;
    rig.writes();
    rig.leave.cancel();
    rig.pass(2000).await;
    assert!(rig.task.is_finished());
    assert_eq!(rig.writes().len() as u32, STOP_ATTEMPTS);
}

#[tokio::test]
async fn a_line_is_taken_at_the_level_that_is_wanted() {
    let chip = FakeChip::default();
    let name = crate::link::gpio::LineName::parse("gpiochip0/5").unwrap();
    let mut pin = gpio::Pin::new(Arc::new(chip.clone()), name);
    assert!(pin.set(true, Priority::SetPoint).await.is_err(), "no such line yet");
    chip.drive("gpiochip0/5", Some(false));
    assert_eq!(pin.read(Priority::Slow).await, Ok(None), "it is not held yet");
    pin.set(true, Priority::SetPoint).await.unwrap();
    pin.set(false, Priority::Reduction).await.unwrap();
    assert_eq!(chip.history(), [true, false]);
    assert_eq!(pin.read(Priority::Slow).await, Ok(Some(false)));
    chip.drive("gpiochip0/5", None);
    assert!(pin.read(Priority::Slow).await.is_err());
    assert_eq!(chip.level("gpiochip0/5"), None);
}

#[tokio::test]
async fn a_shelly_leaves_its_safe_state_on_its_own_timer_only() {
    let stand_in = StandIn::plug().await.unwrap();
    let at = stand_in.address();
    let address = HttpAddress { tls: false, host: at.ip().to_string(), port: at.port() };
    let point = ShellyPoint { address, channel: 0, login: None };
    let mut output = shelly::Output::new(&point, Span::from_secs(60), false).unwrap();
    output.set(true, Priority::SetPoint).await.unwrap();
    assert_eq!(output.read(Priority::Slow).await, Ok(Some(true)));
    output.set(false, Priority::Reduction).await.unwrap();
    assert_eq!(output.read(Priority::Slow).await, Ok(Some(false)));
    let asked: Vec<String> = stand_in.requests().into_iter().filter(|it| it.contains("Switch.Set")).collect();
    assert!(asked[0].contains("on=true") && asked[0].contains("toggle_after=60"), "{asked:?}");
    assert!(asked[1].contains("on=false") && !asked[1].contains("toggle_after"), "{asked:?}");
}

//! The running simulation: the pure house behind a lock, moved on to the present whenever somebody looks or acts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::fault::ChargerFault;
use super::meter::MeterState;
use super::model::House;
use super::plan::Plan;
use super::view::{ChargerView, Moment, Request, SetPoint, View};
use crate::quantity::{Milliamp, Mono, Span, Watt, WattHour};

/// A point of the history each so often, in house time.
const HISTORY_STEP: Span = Span(20);
/// About twenty minutes at that rate.
const HISTORY_LENGTH: usize = 60_000;
/// Requests remembered per charger.
const REQUESTS_LENGTH: usize = 100_000;

/// Everything behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) house: House,
    pub(super) meter: MeterState,
    chargers: Vec<Record>,
    history: VecDeque<Moment>,
}

/// What is remembered of a charger's line.
#[derive(Debug, Default)]
struct Record {
    bus: usize,
    fault: ChargerFault,
    written: Option<SetPoint>,
    writes: u64,
    requests: u64,
    log: VecDeque<Request>,
}

impl State {
    pub(super) fn set_charger_fault(&mut self, charger: usize, fault: ChargerFault) {
        if let Some(record) = self.chargers.get_mut(charger) {
            record.fault = fault;
        }
    }

    pub(super) fn charger_fault(&self, charger: usize) -> ChargerFault {
        self.chargers.get(charger).map_or(ChargerFault::None, |record| record.fault)
    }

    /// Chargers of a bus with that unit.
    pub(super) fn on_bus(&self, bus: usize, unit: u8) -> Option<usize> {
        (0..self.chargers.len()).find(|&it| self.chargers[it].bus == bus && self.house.chargers()[it].unit() == unit)
    }

    /// All chargers of a bus.
    pub(super) fn all_on_bus(&self, bus: usize) -> Vec<usize> {
        (0..self.chargers.len()).filter(|&it| self.chargers[it].bus == bus).collect()
    }

    pub(super) fn note_request(&mut self, charger: usize, request: Request) {
        let Some(record) = self.chargers.get_mut(charger) else { return };
        record.requests += 1;
        if record.log.len() == REQUESTS_LENGTH {
            record.log.pop_front();
        }
        record.log.push_back(request);
    }

    pub(super) fn note_set_point(&mut self, charger: usize, offer: Milliamp, instant: Instant) {
        let at = self.house.now();
        let Some(record) = self.chargers.get_mut(charger) else { return };
        record.writes += 1;
        record.written = Some(SetPoint { offer, instant, at });
    }

    pub(super) fn requests_since(&self, charger: usize, since: Instant) -> Vec<Request> {
        let log = self.chargers.get(charger).map(|record| &record.log);
        log.into_iter().flatten().filter(|it| it.instant > since).cloned().collect()
    }

    pub(super) fn history_since(&self, since: Instant) -> Vec<Moment> {
        let begin = self.history.partition_point(|it| it.instant < since);
        self.history.range(begin..).cloned().collect()
    }

    fn view(&self, instant: Instant) -> View {
        let house = &self.house;
        let now = house.now();
        let chargers = house.chargers().iter().zip(&self.chargers).map(|(charger, record)| ChargerView {
            set_point: charger.set_point(),
            offered: charger.offered(),
            draw: charger.grid_draw().map(Milliamp::from_f64),
            state: charger.state(),
            written: record.written,
            writes: record.writes,
            requests: record.requests,
            heard: record.log.back().map(|it| it.instant),
            watchdog: charger.watchdog(),
            fallen: charger.fallen(now),
            boots: charger.boots(),
        });
        let (sun, sun_energy) = house.sun();
        View {
            at: now,
            instant,
            grid: house.grid().map(Milliamp::from_f64),
            house: house.house().map(Milliamp::from_f64),
            sun: Watt::from_f64(sun),
            sun_energy: WattHour::from_f64(sun_energy),
            telegrams: self.meter.sent,
            readers: self.meter.readers,
            chargers: chargers.collect(),
        }
    }

    /// Up to `to`, noting the history on the way.
    fn advance(&mut self, to: Mono, clock: &LiveClock) {
        loop {
            let next = self.history.back().map_or(Mono(0), |last| last.at + HISTORY_STEP);
            if next > to {
                break;
            }
            self.house.advance(next);
            if self.history.len() == HISTORY_LENGTH {
                self.history.pop_front();
            }
            self.history.push_back(Moment {
                at: next,
                instant: clock.instant(next),
                grid: self.house.grid().map(Milliamp::from_f64),
                offered: self.house.chargers().iter().map(super::model::Charger::offered).collect(),
            });
        }
        self.house.advance(to);
    }
}

/// Real time to house time and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveClock {
    start: Instant,
    speed: f64,
}

impl LiveClock {
    pub(super) fn now(&self) -> Mono {
        Mono::from_secs_f64(self.start.elapsed().as_secs_f64() * self.speed)
    }

    pub(super) fn instant(&self, at: Mono) -> Instant {
        self.start + self.real(Span(at.0))
    }

    /// A span of house time as it really lasts.
    pub(super) fn real(&self, span: Span) -> Duration {
        span.to_std().div_f64(self.speed)
    }
}

/// The simulation as servers and tests share it.
#[derive(Debug)]
pub(super) struct Live {
    state: Mutex<State>,
    views: watch::Sender<Arc<View>>,
    pub(super) clock: LiveClock,
    /// Wakes the meter: its period or fault has changed.
    pub(super) meter_disturbed: Notify,
    /// Counts up: connections of an earlier count end.
    pub(super) readers_epoch: watch::Sender<u64>,
    /// The same for each bus.
    pub(super) masters_epoch: Vec<watch::Sender<u64>>,
}

impl Live {
    pub(super) fn new(plan: &Plan) -> Self {
        let clock = LiveClock { start: Instant::now(), speed: plan.speed.clamp(0.01, 1000.0) };
        let records = plan
            .buses
            .iter()
            .enumerate()
            .flat_map(|(bus, it)| it.chargers.iter().map(move |_| Record { bus, ..Record::default() }));
        let state = State {
            house: House::new(plan),
            meter: MeterState::new(plan.meter.clone().unwrap_or_default(), plan.seed),
            chargers: records.collect(),
            history: VecDeque::new(),
        };
        let view = state.view(clock.start);
        Self {
            state: Mutex::new(state),
            views: watch::Sender::new(Arc::new(view)),
            clock,
            meter_disturbed: Notify::new(),
            readers_epoch: watch::Sender::new(0),
            masters_epoch: plan.buses.iter().map(|_| watch::Sender::new(0)).collect(),
        }
    }

    /// Looks or acts on the present state, then shows everybody what became of it.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let instant = Instant::now();
        let now = self.clock.now();
        state.advance(now, &self.clock);
        let result = act(&mut state);
        self.views.send_replace(Arc::new(state.view(instant)));
        result
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    pub(super) fn disturb_meter(&self) {
        self.meter_disturbed.notify_one();
        if self.with(|state| state.meter.fault) == super::fault::MeterFault::Unreachable {
            self.drop_readers();
        }
    }

    pub(super) fn drop_readers(&self) {
        self.readers_epoch.send_modify(|epoch| *epoch += 1);
    }

    pub(super) fn drop_masters(&self, charger: usize) {
        let bus = self.with(|state| state.chargers.get(charger).map(|record| record.bus));
        if let Some(epoch) = bus.and_then(|bus| self.masters_epoch.get(bus)) {
            epoch.send_modify(|epoch| *epoch += 1);
        }
    }

    /// Some charger of the bus must not be reachable.
    pub(super) fn bus_unreachable(&self, bus: usize) -> bool {
        self.with(|state| {
            state.all_on_bus(bus).into_iter().any(|it| state.charger_fault(it) == ChargerFault::Unreachable)
        })
    }
}

//! The controller's face: one `step` per frame, command or timer, and nothing that waits.

use crate::command::{ChargerCommand, RelayOrder};
use crate::event::{Event, EventType, Figures};
use crate::feature::Purpose;
use crate::quantity::{Milliamp, Mono, Phase, Span, Watt};
use crate::reading::{ChargerObservation, InputReading, MeterReading, Observation, RelayObservation};

use super::allocate::{Allocator, Ask, Chains};
use super::charger::{Charger, News};
use super::circuit::{Budget, Circuit, Produced};
use super::demand::{Member, Order, Relay, RelayTurn, Sun};
use super::dim::Dimming;
use super::flow::Flow;
use super::input::{self, Input};
use super::interface::{
    ChargerStatus, InputMeaning, InputStatus, MeterStatus, Reason, RelayStatus, Setup, SiteSettings, SiteStatus, Timing,
};
use super::link::Change;
use super::meter::{Guard, Meter, NOISE, Surroundings, Turn};
use super::obey::Foreign;
use super::overload;
use super::phases::PhaseSet;
use super::quarter::Quarter;
use super::session::{self, DRAWS, largest};

/// The controller comes back at least so often.
const AT_LEAST: Span = Span::from_secs(1);
/// A phase must stay under its limit for so long before an overload is over.
const CALM: Span = Span::from_secs(10);
/// What an overload reached is told at its end where it was so much more than what was told of it.
const MORE: Milliamp = Milliamp(500);

/// The whole output of a step; its buffers are used again by the next.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// One order per charger, in the order of the configuration.
    pub commands: Vec<ChargerCommand>,
    /// One per charger.
    pub chargers: Vec<ChargerStatus>,
    /// One per meter.
    pub meters: Vec<MeterStatus>,
    /// One per input.
    pub inputs: Vec<InputStatus>,
    /// One order per relay, in the order of the configuration.
    pub relay_orders: Vec<RelayOrder>,
    /// One per relay.
    pub relays: Vec<RelayStatus>,
    /// The site.
    pub site: Option<SiteStatus>,
    /// What happened in this step.
    pub events: Vec<Event>,
    /// When to come back although nothing was heard; at most one second from now.
    pub wake_at: Mono,
}

/// The signals of all inputs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    pub(super) low_tariff: Option<bool>,
    pub(super) dim: bool,
    pub(super) block: bool,
}

/// Buffers of one decision, used again by the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) budgets: Vec<Budget>,
    /// What the root leaves for relays: without the limits on charging alone.
    pub(super) for_relays: Option<Budget>,
    pub(super) asks: Vec<Ask>,
    pub(super) wants: Vec<super::want::Want>,
    pub(super) sequence: Vec<usize>,
    /// An order of chargers for one purpose only.
    pub(super) order: Vec<usize>,
    pub(super) room: Vec<Flow>,
    /// What is left beside the present orders.
    pub(super) spare: Vec<Flow>,
    /// Chargers and relays that share the surplus.
    pub(super) shares: Vec<Order>,
    pub(super) members: Vec<Member>,
    /// What the shares left over.
    pub(super) left: Vec<Flow>,
    pub(super) start_room: Vec<Flow>,
    pub(super) target: Vec<Milliamp>,
    pub(super) allocator: Allocator,
}

/// The controller with its state.
#[derive(Debug)]
pub struct Controller {
    pub(super) timing: Timing,
    pub(super) purpose: Purpose,
    pub(super) min_on: Span,
    pub(super) min_off: Span,
    pub(super) phase_switch_min: Span,
    pub(super) max_imbalance: Option<Milliamp>,
    /// All charging together while dimmed.
    pub(super) dim: Option<Watt>,
    /// The order in force.
    pub(super) dimming: Option<Dimming>,
    pub(super) quarter: Quarter,
    pub(super) grid_phases: PhaseSet,
    /// Site settings of the file.
    pub(super) site_file: SiteSettings,
    /// Site settings in force.
    pub(super) site: SiteSettings,
    pub(super) circuits: Vec<Circuit>,
    pub(super) chains: Chains,
    pub(super) meters: Vec<Meter>,
    pub(super) chargers: Vec<Charger>,
    pub(super) inputs: Vec<Input>,
    pub(super) signals: Signals,
    pub(super) sun: Sun,
    pub(super) batteries: Vec<usize>,
    solar: Vec<usize>,
    pub(super) relays: Vec<Relay>,
    pub(super) reasons: Vec<Reason>,
    pub(super) scratch: Scratch,
    pub(super) decision: Decision,
    /// When a car was last started.
    pub(super) started_at: Option<Mono>,
    fail_safe: bool,
}

impl Controller {
    /// A controller that knows nothing yet: it raises nothing before it has heard of every meter and charger.
    #[must_use]
    pub fn new(setup: Setup, now: Mono) -> Self {
        let chains: Chains = (0..setup.circuits.len()).map(|index| chain(&setup, index)).collect();
        let behind = |circuit: usize| -> Vec<usize> {
            let chargers = setup.chargers.iter().enumerate();
            chargers.filter(|(_, it)| chains[it.circuit].contains(&circuit)).map(|(index, _)| index).collect()
        };
        let circuits =
            setup.circuits.iter().enumerate().map(|(index, it)| Circuit::new(it.clone(), behind(index))).collect();
        let meters: Vec<Meter> = setup.meters.into_iter().map(|it| Meter::new(it, now)).collect();
        let count = meters.len();
        let chargers: Vec<Charger> = setup.chargers.into_iter().map(|it| Charger::new(it, count)).collect();
        let inputs = setup.inputs.into_iter().map(|it| Input::new(it, now)).collect();
        Self {
            timing: setup.timing,
            purpose: setup.purpose,
            min_on: setup.min_on,
            min_off: setup.min_off,
            phase_switch_min: setup.phase_switch_min,
            max_imbalance: setup.max_imbalance.filter(|_| setup.grid_phases == 3),
            dim: setup.dim,
            dimming: None,
            quarter: Quarter::default(),
            grid_phases: PhaseSet::of_grid(setup.grid_phases),
            site_file: setup.site,
            site: setup.site,
            circuits,
            chains,
            meters,
            reasons: vec![Reason::start_up(); chargers.len()],
            chargers,
            inputs,
            signals: Signals::default(),
            sun: Sun::new(setup.surplus),
            batteries: setup.batteries,
            solar: setup.solar,
            relays: setup.relays.into_iter().map(Relay::new).collect(),
            scratch: Scratch::default(),
            decision: Decision { wake_at: now, ..Decision::default() },
            started_at: None,
            fail_safe: false,
        }
    }

    /// Takes in what was heard since the last step, in order, and decides anew for every charger.
    ///
    /// `now` must not run backwards. `wall` is the wall clock in unix seconds where it is known to be set: quarters of an
    /// hour are taken from it where the meter does not tell them.
    pub fn step(&mut self, now: Mono, wall: Option<i64>, observations: &[Observation]) -> &Decision {
        self.quarter.clock(now, wall);
        self.decision.events.clear();
        for observation in observations {
            match observation {
                Observation::Meter(index, reading) => self.hear_meter(*index, reading),
                Observation::Charger(index, observation) => self.hear_charger(*index, observation),
                Observation::Input(index, reading) => self.hear_input(*index, *reading),
                Observation::Relay(index, observation) => self.hear_relay(*index, *observation),
            }
        }
        self.pass_time(now);
        self.decide(now);
        self.publish(now);
        &self.decision
    }

    /// What was decided last.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The offer to leave behind at each charger when the appliance stops in good order: min(offer, 6 A) where a car
    /// charges and the charger's own timer is verified, else min(offer, fail-safe current).
    #[must_use]
    pub fn orderly_stop(&self) -> Vec<Milliamp> {
        self.chargers.iter().map(Charger::last_offer).collect()
    }

    fn hear_meter(&mut self, index: usize, reading: &MeterReading) {
        let around = self.surroundings(index);
        let Some(meter) = self.meters.get_mut(index) else { return };
        // The frame ends a silence that nobody may have looked at.
        if let Some(turn) = meter.tick(reading.received_at) {
            self.meter_turned(index, turn);
        }
        let (frame, turn) = self.meters[index].take(reading, around);
        if let Some(frame) = frame.filter(|frame| !frame.doubtful && self.circuits[0].setup.meter == Some(index))
            && let Some(total) = frame.power()
        {
            self.quarter.frame(frame.sampled_at, total, reading.stamp, reading.demand);
        }
        if let Some(frame) = frame {
            let produced = self.produced();
            for (row, circuit) in self.circuits.iter_mut().enumerate() {
                if circuit.setup.meter == Some(index) {
                    let produced = if row == 0 { produced } else { Produced::default() };
                    circuit.frame(&frame, &self.chargers, &self.timing, self.grid_phases, produced);
                }
            }
            for charger in self.chargers.iter_mut().filter(|it| it.setup.meter == Some(index) && !frame.doubtful) {
                charger.own_meter(frame.sampled_at, &frame.current);
            }
            if reading.energy_import.is_some() {
                for charger in self.chargers.iter_mut().filter(|it| it.setup.meter == Some(index)) {
                    charger.meter_energy = reading.energy_import;
                }
            }
        }
        if let Some(turn) = turn {
            self.meter_turned(index, turn);
        }
        if let Some(frame) = frame.filter(|frame| !frame.doubtful && self.circuits[0].setup.meter == Some(index)) {
            self.sun_frame(&frame);
        }
    }

    /// What solar inverters and home batteries deliver, as far as it is measured.
    fn produced(&self) -> Produced {
        let has_meters = !self.solar.is_empty();
        let mut produced = Produced { power: Watt::ZERO, has_meters, measured: has_meters };
        for index in self.solar.iter().chain(&self.batteries) {
            let meter = &self.meters[*index];
            let power = meter.frame().and_then(|frame| frame.power());
            produced.power += power.unwrap_or_default().max(Watt::ZERO);
            produced.measured &= power.is_some() && !meter.is_stale();
        }
        produced
    }

    /// What the readings of a meter are judged against: the circuit that it guards, else the chargers whose own it is.
    fn surroundings(&self, meter: usize) -> Surroundings {
        if let Some(circuit) = self.circuits.iter().find(|circuit| circuit.setup.meter == Some(meter)) {
            let cars_idle = circuit.chargers.iter().all(|it| !self.chargers[*it].draws_current());
            let cars_heard = circuit.chargers.iter().all(|it| self.chargers[*it].link.is_up());
            let cars_alone = circuit.house.was_empty(NOISE);
            let guard = Guard { fuse: circuit.setup.fuse, cars_idle, cars_heard, cars_alone };
            return Surroundings { phases: self.grid_phases, guard: Some(guard), informs_only: false };
        }
        let own = self.chargers.iter().filter(|charger| charger.setup.meter == Some(meter));
        let phases = own.fold(PhaseSet::NONE, |phases, charger| phases.union(charger.wired));
        let informs_only = phases == PhaseSet::NONE && !self.solar.contains(&meter) && !self.batteries.contains(&meter);
        Surroundings { phases, guard: None, informs_only }
    }

    fn hear_charger(&mut self, index: usize, observation: &ChargerObservation) {
        let Some(charger) = self.chargers.get_mut(index) else { return };
        let mut news = [None; 4];
        let mut count = 0;
        charger.observe(observation, &self.timing, |it| {
            if count < news.len() {
                news[count] = Some(it);
                count += 1;
            }
        });
        let at = match observation {
            ChargerObservation::Report(report) => report.received_at,
            ChargerObservation::Written { at, .. } | ChargerObservation::Failed { at, .. } => *at,
        };
        for it in news.into_iter().flatten() {
            self.charger_news(at, index, it);
        }
    }

    fn charger_news(&mut self, at: Mono, index: usize, news: News) {
        let frames = self.meters.iter().map(Meter::good_count);
        let charger = &mut self.chargers[index];
        match news {
            News::Link(Change::Silent) => {
                charger.fall_back(at);
                let counted = charger.counted(&self.timing);
                let detail = if charger.link.was_never_heard() {
                    format!("never answered; it counts at {counted}, all that it may offer, until it does")
                } else {
                    format!("no valid answer; it counts at {counted} until its own timer has certainly acted")
                };
                self.tell(EventType::ChargerLost, Subject::Charger(index), detail);
            }
            News::Link(change) => {
                if change != Change::Resumed {
                    for (seen, count) in charger.appeared_at_frames.iter_mut().zip(frames) {
                        *seen = count;
                    }
                }
                if change != Change::FirstContact {
                    let detail = match change {
                        Change::Resumed => "answers again with the offer that it had".to_owned(),
                        _ => format!(
                            "answers again, offering {}; taken up by the start-up rule",
                            charger.counted(&self.timing)
                        ),
                    };
                    self.tell(EventType::ChargerBack, Subject::Charger(index), detail);
                }
            }
            News::Session(session::Turn::Started) => {
                self.tell(EventType::SessionStarted, Subject::Charger(index), "a car was plugged in".to_owned());
            }
            News::Session(session::Turn::Ended) => {
                self.tell(EventType::SessionEnded, Subject::Charger(index), "the car was unplugged".to_owned());
            }
            News::Session(session::Turn::Left) => {
                let detail = "the car was unplugged before the charger was heard again".to_owned();
                self.tell(EventType::SessionEnded, Subject::Charger(index), detail);
            }
            News::Session(session::Turn::Doubted) => {
                let detail =
                    "a car is plugged, and nobody saw whether it is still the same one: session_limit_kwh and \
                              mode_after_session, which were given for that one, are not in force any more"
                        .to_owned();
                self.tell(EventType::SettingsOverridden, Subject::Charger(index), detail);
            }
            News::Foreign { foreign, read_back } => match foreign {
                Foreign::Rebooted => {
                    let timer = match charger.setup.watchdog {
                        Some(_) => "its timer is verified anew",
                        None => "it has no timer that would lower it without us",
                    };
                    let detail = format!(
                        "set-point read back as {read_back} although {} was written: it has restarted, or somebody else \
                         wrote it; written again, {timer}",
                        charger.order()
                    );
                    self.tell(EventType::ChargerRebooted, Subject::Charger(index), detail);
                }
                Foreign::SecondMaster => {
                    let detail = format!(
                        "somebody else writes its set-point: {read_back} read back, {} written; counted at the higher \
                         figure, rewritten once a minute",
                        charger.order()
                    );
                    self.tell(EventType::SecondMaster, Subject::Charger(index), detail);
                }
                Foreign::Again | Foreign::Wait => {}
            },
            News::WatchdogFailed => {
                let detail = "its fail-safe timer does not hold what was programmed".to_owned();
                self.tell(EventType::WatchdogFailed, Subject::Charger(index), detail);
            }
        }
    }

    fn hear_input(&mut self, index: usize, reading: InputReading) {
        let Some(input) = self.inputs.get_mut(index) else { return };
        if let Some(turn) = input.hear(reading) {
            self.input_turned(index, turn);
        }
    }

    fn hear_relay(&mut self, index: usize, observation: RelayObservation) {
        let Some(relay) = self.relays.get_mut(index) else { return };
        let (event, detail) = match relay.hear(observation) {
            None => return,
            Some(RelayTurn::Lost) => (EventType::RelayLost, "three writes failed; it counts as closed"),
            Some(RelayTurn::Back) => (EventType::RelayBack, "answers again"),
        };
        self.tell(event, Subject::Relay(index), detail.to_owned());
    }

    fn input_turned(&mut self, index: usize, turn: input::Turn) {
        let (event, detail) = match turn {
            input::Turn::Lost => (EventType::InputLost, "cannot be read; taken as the safe side"),
            input::Turn::Back => (EventType::InputBack, "can be read again"),
        };
        self.tell(event, Subject::Input(index), detail.to_owned());
    }

    /// Dim and block count as active while their input is unknown, low tariff as inactive.
    fn signals(&self) -> Signals {
        let of = |meaning: InputMeaning| {
            self.inputs.iter().filter(move |input| input.setup.meaning == meaning).map(Input::active)
        };
        let mut tariff = of(InputMeaning::LowTariff).peekable();
        Signals {
            low_tariff: tariff.peek().is_some().then(|| tariff.any(|level| level == Some(true))),
            dim: self.site.dim || of(InputMeaning::GridDim).any(|level| level != Some(false)),
            block: of(InputMeaning::Block).any(|level| level != Some(false)),
        }
    }

    fn pass_time(&mut self, now: Mono) {
        for index in 0..self.meters.len() {
            if let Some(turn) = self.meters[index].tick(now) {
                self.meter_turned(index, turn);
            }
        }
        for index in 0..self.inputs.len() {
            if let Some(turn) = self.inputs[index].tick(now) {
                self.input_turned(index, turn);
            }
        }
        let signals = self.signals();
        self.follow_dimming(now, signals.dim);
        self.signals = signals;
        for index in 0..self.chargers.len() {
            let shown = self.shown_by_meters(index);
            if let Some(change) = self.chargers[index].settle(now, shown, &self.timing) {
                self.charger_news(now, index, News::Link(change));
            }
            let charger = &mut self.chargers[index];
            if let Some(meter) = charger.setup.meter
                && self.meters[meter].is_stale()
            {
                charger.own_meter_lost(now);
            }
        }
        self.tick_chargers(now);
        for circuit in &mut self.circuits {
            circuit.estimate(&self.chargers, &self.timing);
        }
        self.watch_overload(now);
        for index in 0..self.chargers.len() {
            let circuits = &self.chains[self.chargers[index].setup.circuit];
            let hard = circuits.iter().any(|circuit| self.is_hard(*circuit));
            let phases = self.chargers[index].phases();
            let overload =
                circuits.iter().any(|circuit| phases.iter().any(|phase| self.circuits[*circuit].overload[phase]));
            self.chargers[index].check_response(now, hard, &self.timing);
            self.chargers[index].contest(now, overload);
            if self.chargers[index].watch(now, overload, &self.timing) {
                let charger = &self.chargers[index];
                let drawn = largest(&charger.current());
                let who =
                    if charger.takes_no_order(now, &self.timing) { "it takes no set-point, and the" } else { "the" };
                let detail = format!("{who} car draws {drawn} at an offer of {}", charger.order());
                self.tell(EventType::NotObeying, Subject::Charger(index), detail);
            }
            let charger = &mut self.chargers[index];
            let drawn = largest(&charger.current());
            if charger.is_measured() && drawn >= DRAWS {
                let (order, step, effective) = (charger.order(), charger.step(), charger.effective_at());
                charger.taper.watch(now, drawn, order, step, effective);
            }
        }
    }

    /// The newest sample that every meter above a charger has given; `None` where there is none to give one.
    fn shown_by_meters(&self, index: usize) -> Option<Mono> {
        let above = self.chains[self.chargers[index].setup.circuit].iter().map(|circuit| &self.circuits[*circuit]);
        let metered = above.filter(|it| it.setup.meter.is_some_and(|meter| !self.meters[meter].is_lost()));
        metered.map(|it| it.house.sampled_at().unwrap_or(Mono(i64::MIN))).min()
    }

    fn watch_overload(&mut self, now: Mono) {
        for index in 0..self.circuits.len() {
            let circuit = &mut self.circuits[index];
            let Some(measured) = circuit.house.measured() else { continue };
            let ceiling = circuit.ceiling(self.site.max_import);
            let mut worst: Option<(Phase, Milliamp)> = None;
            for phase in Phase::ALL {
                circuit.overload[phase] = measured[phase] > ceiling;
                if circuit.overload[phase] && worst.is_none_or(|(_, current)| measured[phase] > current) {
                    worst = Some((phase, measured[phase]));
                }
            }
            let told = circuit.overloaded.watch(now, worst, CALM);
            let (detail, current) = match told {
                None => continue,
                Some(overload::Turn::Begun { phase, current }) => {
                    (format!("{current} on {phase}, the limit is {ceiling}"), current)
                }
                Some(overload::Turn::Over { said, highest: (_, current), .. }) if current < said + MORE => continue,
                Some(overload::Turn::Over { highest: (phase, current), lasted, .. }) => {
                    let seconds = lasted.0 / 1000;
                    let detail =
                        format!("over now: up to {current} on {phase} within {seconds} s, the limit is {ceiling}");
                    (detail, current)
                }
            };
            let figures = Figures { current: Some(current), current_limit: Some(ceiling), ..Figures::default() };
            self.tell_with(EventType::FuseOverload, Subject::Circuit(index), detail, figures);
        }
    }

    fn meter_turned(&mut self, index: usize, turn: Turn) {
        // One that guards no fuse holds nobody down.
        let guards = self.circuits.iter().any(|circuit| circuit.setup.meter == Some(index));
        let (event, detail) = match turn {
            Turn::Late if guards => (EventType::MeterLate, "no good frame for the late time: nothing is raised"),
            Turn::Late => (EventType::MeterLate, "no good frame for the late time"),
            Turn::Lost if guards => {
                (EventType::MeterLost, "no good frame for the lost time: chargers behind it fall to its figure")
            }
            Turn::Lost => (EventType::MeterLost, "no good frame for the lost time: nothing is taken from it"),
            Turn::Back => (EventType::MeterBack, "good frames again"),
        };
        if turn == Turn::Lost {
            for circuit in self.circuits.iter_mut().filter(|circuit| circuit.setup.meter == Some(index)) {
                circuit.forget();
            }
            if self.circuits[0].setup.meter == Some(index) {
                self.sun.forget();
            }
        }
        self.tell(event, Subject::Meter(index), detail.to_owned());
    }

    pub(super) fn tell(&mut self, event_type: EventType, subject: Subject, detail: String) {
        self.tell_with(event_type, subject, detail, Figures::default());
    }

    pub(super) fn tell_with(&mut self, event_type: EventType, subject: Subject, detail: String, figures: Figures) {
        let subject = match subject {
            Subject::Site => "site",
            Subject::Meter(index) => self.meters[index].id(),
            Subject::Charger(index) => self.chargers[index].id(),
            Subject::Circuit(0) => "site",
            Subject::Circuit(index) => &self.circuits[index].setup.id,
            Subject::Input(index) => &self.inputs[index].setup.id,
            Subject::Relay(index) => &self.relays[index].setup.id,
        };
        self.decision.events.push(Event { figures, ..Event::new(event_type, subject, detail) });
    }

    /// Tells when the first rule of the fail-safe table comes into force, and when the last ends.
    pub(super) fn tell_fail_safe(&mut self, active: bool) {
        if std::mem::replace(&mut self.fail_safe, active) != active {
            let (event, detail) = if active {
                (EventType::FailSafeEntered, "a rule of the fail-safe table is in force")
            } else {
                (EventType::FailSafeLeft, "no rule of the fail-safe table is in force any more")
            };
            self.tell(event, Subject::Site, detail.to_owned());
        }
    }

    pub(super) fn next_wake(&self, now: Mono) -> Mono {
        let mut wake = now + AT_LEAST;
        let meters = self.meters.iter().filter_map(Meter::next_turn);
        let chargers = self.chargers.iter().filter_map(|it| it.next_turn(&self.timing));
        let inputs = self.inputs.iter().filter_map(Input::next_turn);
        let relays = self.relays.iter().filter_map(Relay::next_turn);
        for turn in meters.chain(chargers).chain(inputs).chain(relays).filter(|turn| *turn > now) {
            wake = wake.min(turn);
        }
        wake
    }
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    Site,
    Meter(usize),
    Charger(usize),
    Circuit(usize),
    Input(usize),
    Relay(usize),
}

fn chain(setup: &Setup, from: usize) -> Vec<usize> {
    let mut chain = vec![from];
    let mut at = from;
    while let Some(parent) = setup.circuits[at].parent.filter(|parent| !chain.contains(parent)) {
        chain.push(parent);
        at = parent;
    }
    chain
}

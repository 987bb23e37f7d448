//! What may stand after a step, kept by a bookkeeper of its own from the readings and the true state of the boxes.
//!
//! 1. An offer is 0 or 6 A and up, in whole amperes, never above the wired maximum or the chosen ceiling, and 0 where
//!    charging is switched off.
//! 2. What stands in the sum for a charger is never less than what its box truly offers: not when an order was cut and
//!    has not arrived, not when it is silent, not when it was never heard, not when its own watchdog acts. (A box that
//!    restarts by itself is known to us with its next answer only.)
//! 3. Nothing is raised unless the newest frame is good and younger than the late time, three good frames came since
//!    the start or since the meter was lost, and the charger has just answered. (A lost meter's own figure may be used.
//!    One that was never heard is told its fail-safe current, and counts at all that it may offer.)
//! 4. After a raise the sum, with everything that may still be offered, stays under the limit less the house load, as
//!    each of the two newest good frames shows it, on every phase of the raised charger.
//! 5. After every step the offers of the chargers that answer, together with what stands for those that do not, stay
//!    under the limit less the house load of the newest good frame; or all that answer are at 0. Without any frame the
//!    fuse alone counts, behind a lost meter the owner's figure. One that was not heard yet, nor told to be lost, stops
//!    nobody: the meter shows what it draws.
//! 6. The same for power: the offers on all phases together stay under what `max_charging_kw` and, with the house import
//!    that the newest good frame proves, `max_import_kw` allow; or all that answer are at 0.
//!
//! Rules 4 and 5 hold for every circuit: one with a meter by what that shows, one without by its fuse less what is
//! reserved in it. A charger counts on the phases that its contactor has closed.
//!
//! The house load is what the frame shows less the most that the cars can have drawn at its time, as far as reported.

use std::collections::VecDeque;

use gridkeeper::control::{Decision, Mode, Setup};
use gridkeeper::event::EventType;
use gridkeeper::quantity::{Milliamp, Millivolt, Mono, Phase, Phases, Span};
use gridkeeper::reading::{ChargerObservation, PilotState};

use crate::site::{Sim, amps};

const LATE: Span = Span::from_secs(5);
const LOST: Span = Span::from_secs(10);
const MARGIN: Milliamp = Milliamp(500);

/// A good frame with the least house load that it proves.
#[derive(Clone, Debug)]
struct Good {
    at: Mono,
    /// Of each circuit.
    current: Vec<Phases<Milliamp>>,
}

#[derive(Clone, Debug, Default)]
struct Charger {
    heard: bool,
    answers: bool,
    restarted: bool,
    measured: Milliamp,
    charging: bool,
    /// Reports of the last seconds.
    draws: VecDeque<(Mono, Milliamp)>,
    /// What was offered and what stood in the sum in the last seconds.
    orders: VecDeque<(Mono, Milliamp, Milliamp)>,
    offer: Milliamp,
    off: bool,
    ceiling: Option<Milliamp>,
    appeared: bool,
    told_lost: bool,
    /// Phases that are closed.
    lines: usize,
}

/// The bookkeeper.
#[derive(Debug)]
pub(crate) struct Knowledge {
    setup: Setup,
    chargers: Vec<Charger>,
    good: VecDeque<Good>,
    good_at: Mono,
    streak: u32,
    proven: bool,
    lost: bool,
    newest_is_good: bool,
    max_import: Option<Milliamp>,
}

impl Knowledge {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self {
            // Before the first step nothing was ordered: what is ordered then is a change that a car may be following.
            chargers: vec![
                Charger {
                    orders: VecDeque::from([(Mono(0), Milliamp::ZERO, Milliamp::ZERO)]),
                    ..Charger::default()
                };
                setup.chargers.len()
            ],
            setup: setup.clone(),
            good: VecDeque::new(),
            good_at: Mono(0),
            streak: 0,
            proven: false,
            lost: false,
            newest_is_good: false,
            max_import: None,
        }
    }

    pub(crate) fn restarted(&mut self, index: usize) {
        self.chargers[index].restarted = true;
    }

    pub(crate) fn wish(&mut self, path: &str, value: &str) {
        let ampere = value.parse::<f64>().ok().map(amps);
        if path == "site/set/max_import_a" {
            self.max_import = ampere;
        }
        let Some((id, setting)) = path.strip_prefix("charger/c").and_then(|rest| rest.split_once("/set/")) else {
            return;
        };
        let charger = &mut self.chargers[id.parse::<usize>().expect("charger c<n>")];
        match setting {
            "mode" => charger.off = value == Mode::Off.word(),
            "max_current_a" => charger.ceiling = ampere,
            _ => {}
        }
    }

    fn pass(&mut self, now: Mono) {
        if now.since(self.good_at) >= LOST {
            self.lost = true;
            self.proven = false;
            self.streak = 0;
            self.good.clear();
        }
    }

    /// `current`: of each circuit.
    pub(crate) fn frame(&mut self, now: Mono, current: Vec<Phases<Milliamp>>, good: bool) {
        self.pass(now);
        self.newest_is_good = good;
        if !good {
            self.streak = 0;
            return;
        }
        self.good_at = now;
        self.streak += 1;
        if self.streak >= 3 {
            self.proven = true;
            self.lost = false;
        }
        self.good.push_back(Good { at: now, current });
        if self.good.len() > 2 {
            self.good.pop_front();
        }
    }

    pub(crate) fn chargers(&mut self, now: Mono, heard: &[(usize, ChargerObservation)]) {
        for charger in &mut self.chargers {
            charger.appeared = false;
        }
        for (index, observation) in heard {
            let charger = &mut self.chargers[*index];
            match observation {
                ChargerObservation::Report(report) => {
                    if !self.setup.chargers[*index].measures && report.state == PilotState::C {
                        // What the box is found offering its car may draw, whoever wrote it.
                        let found = report.set_point.unwrap_or(Milliamp::ZERO);
                        charger.orders.push_back((now, charger.offer, found.max(charger.offer)));
                    }
                    charger.appeared |= !charger.heard;
                    (charger.heard, charger.answers, charger.restarted) = (true, true, false);
                    charger.charging = report.state == PilotState::C;
                    charger.measured = report.current.0[0].unwrap_or(Milliamp::ZERO);
                    charger.draws.push_back((now, charger.measured));
                }
                ChargerObservation::Failed { .. } => charger.answers = false,
                ChargerObservation::Written { .. } => {}
            }
        }
    }

    /// The most that a charger can have drawn at `at`.
    fn most_drawn(&self, index: usize, at: Mono) -> Milliamp {
        let charger = &self.chargers[index];
        let most_ordered = charger.orders.iter().map(|(_, _, counted)| *counted).max().unwrap_or(Milliamp::ZERO);
        if !self.setup.chargers[index].measures {
            return most_ordered;
        }
        // What held when the span began counts as well.
        let around = |span: Span| {
            let begin = charger.draws.iter().rposition(|(seen, _)| *seen <= at - span).unwrap_or(0);
            charger.draws.iter().skip(begin).map(|(_, drawn)| *drawn)
        };
        let most = around(Span::ZERO).max().unwrap_or(Milliamp::ZERO);
        let lately = || around(Span::from_secs(4));
        let moved = lately().max().unwrap_or(Milliamp::ZERO) - lately().min().unwrap_or(Milliamp::ZERO);
        let steady = moved <= amps(0.3) && charger.orders.iter().all(|(_, offer, _)| *offer == charger.offer);
        if steady { most } else { most.max(most_ordered.min(most + amps(5.0))) }
    }

    /// The least house load that a good frame proves on `phase` of a circuit.
    fn house(&self, good: &Good, circuit: usize, phase: Phase) -> Milliamp {
        let behind = self.setup.chargers.iter().enumerate();
        let behind = behind.filter(|(_, it)| (circuit == 0 || it.circuit == circuit) && it.phases.contains(&phase));
        let cars: Milliamp = behind.map(|(index, _)| self.most_drawn(index, good.at)).sum();
        good.current[circuit][phase] - cars
    }

    fn limit(&self, circuit: usize) -> Milliamp {
        let fuse = self.setup.circuits[circuit].fuse.expect("a fuse");
        let fuse = if circuit == 0 { self.max_import.map_or(fuse, |it| it.min(fuse)) } else { fuse };
        fuse - MARGIN - self.setup.circuits[circuit].reserve
    }

    /// What the offers behind a circuit may be together on a phase, as this frame proves it.
    fn allowed(&self, good: Option<&Good>, circuit: usize, phase: Phase) -> Milliamp {
        if self.setup.circuits[circuit].meter.is_none() {
            return self.limit(circuit);
        }
        match good {
            _ if self.lost => self.setup.circuits[circuit].meter_lost_current.min(self.limit(circuit)),
            Some(good) => self.limit(circuit) - self.house(good, circuit, phase),
            None => self.limit(circuit),
        }
    }

    /// Judges a decision against all rules.
    pub(crate) fn judge(&mut self, now: Mono, decision: &Decision, sims: &[Sim]) -> Result<(), String> {
        self.pass(now);
        for (charger, sim) in self.chargers.iter_mut().zip(sims) {
            // What a restart did to its contactor is known with its next answer only.
            if !charger.restarted {
                charger.lines = sim.lines;
            }
        }
        for event in &decision.events {
            let index = self.setup.chargers.iter().position(|it| it.id == event.subject);
            match (event.event_type, index) {
                (EventType::ChargerBack, Some(index)) => self.chargers[index].appeared = true,
                (EventType::ChargerLost, Some(index)) => self.chargers[index].told_lost = true,
                _ => {}
            }
        }
        let offers: Vec<Milliamp> = decision.chargers.iter().map(|it| it.offered).collect();
        let counted: Vec<Milliamp> = decision.chargers.iter().map(|it| it.counted).collect();
        for (index, offer) in offers.iter().enumerate() {
            self.rule_1(index, *offer).map_err(|it| format!("rule 1, {now:?}, c{index}: {it}"))?;
            let pilot = sims[index].pilot(now);
            let charger = &self.chargers[index];
            if !charger.restarted && counted[index] < pilot {
                return Err(format!("rule 2, {now:?}: c{index} counts at {}, its box offers {pilot}", counted[index]));
            }
        }
        for (index, offer) in offers.iter().enumerate() {
            let charger = &self.chargers[index];
            if !charger.heard && *offer > self.setup.chargers[index].fail_safe {
                return Err(format!("rule 3, {now:?}, c{index}: {offer} and never heard"));
            }
            if *offer > charger.offer && !charger.appeared && charger.heard {
                self.rule_3(now, index).map_err(|it| format!("rule 3, {now:?}, c{index}: {it}"))?;
                self.rule_4(index, &counted).map_err(|it| format!("rule 4, {now:?}, c{index}: {it}"))?;
            }
        }
        self.rule_5(&offers, &counted).map_err(|it| format!("rule 5, {now:?}: {it}"))?;
        self.rule_6(&offers, &counted).map_err(|it| format!("rule 6, {now:?}: {it}"))?;
        for (index, charger) in self.chargers.iter_mut().enumerate() {
            charger.offer = offers[index];
            charger.orders.push_back((now, offers[index], counted[index].max(offers[index])));
            // One older than the window stays: it is what held when the window began.
            while charger.orders.get(1).is_some_and(|(at, _, _)| now.since(*at) > Span::from_secs(12)) {
                charger.orders.pop_front();
            }
            while charger.draws.len() > 40 {
                charger.draws.pop_front();
            }
        }
        Ok(())
    }

    fn rule_1(&self, index: usize, offer: Milliamp) -> Result<(), String> {
        let charger = &self.chargers[index];
        let ceiling = charger.ceiling.unwrap_or(self.setup.chargers[index].max_current);
        let valid = offer == Milliamp::ZERO || (offer >= amps(6.0) && offer.0 % 1000 == 0 && offer <= ceiling);
        if !valid || (charger.off && offer > Milliamp::ZERO) {
            return Err(format!("offer {offer}, ceiling {ceiling}, off {}", charger.off));
        }
        Ok(())
    }

    fn rule_3(&self, now: Mono, index: usize) -> Result<(), String> {
        if !self.chargers[index].answers {
            return Err("raised although its last attempt failed".to_owned());
        }
        if self.lost {
            return Ok(());
        }
        if !self.proven || !self.newest_is_good || now.since(self.good_at) >= LATE {
            return Err(format!(
                "raised; proven {}, newest good {}, last good {:?}",
                self.proven, self.newest_is_good, self.good_at
            ));
        }
        Ok(())
    }

    fn rule_4(&self, index: usize, counted: &[Milliamp]) -> Result<(), String> {
        if self.lost {
            return Ok(());
        }
        for circuit in [0, self.setup.chargers[index].circuit] {
            for phase in self.setup.chargers[index].phases.iter().take(self.chargers[index].lines) {
                let sum: Milliamp = self.on(circuit, *phase).map(|it| counted[it]).sum();
                for good in &self.good {
                    let allowed = self.allowed(Some(good), circuit, *phase);
                    if sum > allowed {
                        return Err(format!(
                            "raised to a sum of {sum} on {phase} of {circuit}, {good:?} allows {allowed}: {counted:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sums of what is ordered of those that answer, and of what stands for those that do not, each weighed by `times`.
    fn sums(
        &self,
        among: impl Iterator<Item = usize>,
        offers: &[Milliamp],
        counted: &[Milliamp],
        times: impl Fn(usize) -> usize,
    ) -> (Milliamp, Milliamp) {
        let (mut orders, mut silent) = (Milliamp::ZERO, Milliamp::ZERO);
        for it in among {
            let weigh = |figure: Milliamp| Milliamp(figure.0 * i32::try_from(times(it)).expect("at most 3"));
            let charger = &self.chargers[it];
            if charger.heard && charger.answers {
                orders += weigh(offers[it]);
            } else if charger.heard || charger.told_lost {
                silent += weigh(counted[it]);
            }
        }
        (orders, silent)
    }

    fn rule_5(&self, offers: &[Milliamp], counted: &[Milliamp]) -> Result<(), String> {
        for circuit in 0..self.setup.circuits.len() {
            for phase in Phase::ALL {
                let (orders, silent) = self.sums(self.on(circuit, phase), offers, counted, |_| 1);
                let allowed = self.allowed(self.good.back(), circuit, phase);
                if orders > Milliamp::ZERO && orders + silent > allowed {
                    return Err(format!(
                        "{orders} ordered and {silent} silent on {phase} of {circuit}, {allowed} allowed: {counted:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn rule_6(&self, offers: &[Milliamp], counted: &[Milliamp]) -> Result<(), String> {
        let all = 0..self.chargers.len();
        let (orders, silent) = self.sums(all, offers, counted, |it| self.chargers[it].lines);
        let voltage = Millivolt(230_000);
        let charging = self.setup.site.max_charging.map(|limit| limit.current_at(voltage));
        let import = self.setup.site.max_import_power.map(|limit| {
            let house = self
                .good
                .back()
                .filter(|_| !self.lost)
                .map(|good| Phase::ALL.into_iter().map(|phase| self.house(good, 0, phase)).sum::<Milliamp>());
            limit.current_at(voltage) - house.unwrap_or_default()
        });
        for (what, allowed) in [("charging", charging), ("import", import)] {
            if let Some(allowed) = allowed.filter(|it| orders > Milliamp::ZERO && orders + silent > *it) {
                return Err(format!("{orders} ordered and {silent} silent together, {allowed} allowed by {what}"));
            }
        }
        Ok(())
    }

    /// Chargers behind a circuit with this phase closed.
    fn on(&self, circuit: usize, phase: Phase) -> impl Iterator<Item = usize> + '_ {
        let chargers = self.setup.chargers.iter().zip(&self.chargers).enumerate();
        let behind = chargers.filter(move |(_, (setup, _))| circuit == 0 || setup.circuit == circuit);
        behind
            .filter(move |(_, (setup, it))| setup.phases.iter().take(it.lines).any(|own| *own == phase))
            .map(|it| it.0)
    }
}

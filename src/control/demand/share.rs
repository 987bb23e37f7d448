//! One surplus, cars and relays in one order of priority.
//!
//! Who comes first takes what it can use, the rest is the next one's surplus. Among equals every one that runs gets its
//! minimum, and what is left beyond the minima is shared evenly.

use crate::control::charger::Charger;
use crate::control::controller::{Controller, Scratch};
use crate::control::interface::{BatteryRank, Detail, LimitReason, Mode, SolarPatience, SurplusKind};
use crate::control::meter::{Frame, NOMINAL};
use crate::control::phases::PhaseSet;
use crate::control::session::largest;
use crate::control::turn::IDLE_AFTER;
use crate::control::want::starts_drawing;
use crate::quantity::{Milliamp, Mono, Phase, Phases, Span, Watt};
use crate::reading::PilotState;

use super::account::{Account, Judged, Rules, Wait};
use super::battery::Appetite;
use super::relay::Relay;
use super::sun::Pot;
use super::tariff::{follows_sun, mode};

/// From this draw on a power factor is worth looking at.
const CLEAR: Milliamp = Milliamp::from_amps(3);
/// The reactive share of a car's apparent power, squared and in thousandths, from which it is taken as the car's: the
/// house behind the same meter has some of its own.
const REACTIVE: i64 = 360;

/// A place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::control) struct Order {
    priority: u8,
    relay: bool,
    /// Whoever runs comes before whoever waits.
    waits: bool,
    index: usize,
}

/// One charger of a group that runs, and how far it may go beyond its minimum.
#[derive(Clone, Copy, Debug)]
pub(in crate::control) struct Member {
    index: usize,
    /// As far as the limits let it.
    room: Watt,
    /// Whatever they do.
    wish: Watt,
    least: Watt,
}

/// What is left at this place of the order.
#[derive(Clone, Copy, Debug)]
struct Left {
    steady: Pot,
    now: Pot,
    /// Loads of relays that come after this place and will open for it when their shortest time is over.
    later: Watt,
    /// What those before this place may start on, less than nothing. Until they have proved it nobody else begins on it,
    /// and no car that runs gives it up; a relay goes by a minute's mean, which is proof enough.
    unproved: Pot,
    /// What each phase had at the first place of the order, and what of it the cars so far need to go on.
    shown: Phases<Watt>,
    held: Phases<Watt>,
    holders: PhaseSet,
}

impl Left {
    fn new(steady: Pot, now: Pot) -> Self {
        Self {
            steady,
            now,
            later: Watt::ZERO,
            unproved: Pot::default(),
            shown: now.phases,
            held: Phases::default(),
            holders: PhaseSet::default(),
        }
    }

    /// A car on these phases goes on as long as the sun pays for so much.
    fn hold(&mut self, power: Watt, phases: PhaseSet) {
        let each = Watt(power.0 / i32::try_from(phases.len().max(1)).unwrap_or(1));
        for phase in phases.iter() {
            self.held[phase] += each;
        }
        self.holders = self.holders.union(phases);
    }

    /// What is left beyond that where it is least; `None` where no car is held.
    fn slack(&self) -> Option<Watt> {
        self.holders.iter().map(|phase| self.shown[phase] - self.held[phase]).min()
    }

    fn load(&mut self, power: Watt, phases: PhaseSet, kind: SurplusKind) {
        self.steady.load(power, phases, kind);
        self.now.load(power, phases, kind);
    }

    fn take(&mut self, power: Watt, phases: PhaseSet) {
        self.steady.take(power, phases);
        self.now.take(power, phases);
    }

    /// What is left for a relay, and for a car that does not run yet.
    fn to_begin(mut self) -> Self {
        let unproved = self.unproved;
        self.add(&unproved);
        self
    }

    fn add(&mut self, other: &Pot) {
        self.steady = self.steady.plus(other);
        self.now = self.now.plus(other);
    }
}

/// What a charger that follows the sun needs.
#[derive(Clone, Copy, Debug)]
struct Need {
    phases: PhaseSet,
    /// Volts of its phases together, in mV: W for each A.
    volts: i64,
    floor: Milliamp,
    /// Power at its floor.
    least: Watt,
    mode: Mode,
}

impl Need {
    fn power(&self, current: Milliamp) -> Watt {
        Watt(i32::try_from(i64::from(current.0) * self.volts / 1_000_000).unwrap_or(i32::MAX))
    }

    fn current(&self, power: Watt) -> Milliamp {
        Milliamp(i32::try_from(i64::from(power.0) * 1_000_000 / self.volts.max(1)).unwrap_or(i32::MAX))
    }
}

impl Controller {
    /// Takes in a believed frame of the grid meter.
    pub(in crate::control) fn sun_frame(&mut self, frame: &Frame) {
        self.observe_factors(frame);
        let mut shown = frame.power;
        for phase in self.grid_phases.iter() {
            let apparent = |current: Milliamp| current.at(frame.voltage[phase].unwrap_or(NOMINAL));
            // A meter of currents only is taken as one of power.
            shown[phase] = shown[phase].or_else(|| frame.current[phase].map(apparent));
        }
        let known = PhaseSet::shown(&shown);
        let sum = || shown.iter().filter_map(|(_, power)| *power).sum();
        let all = (!known.lacks(self.grid_phases)).then(sum);
        let Some(total) = frame.total.or(all) else { return };
        let grid = i32::try_from(self.grid_phases.len().max(1)).unwrap_or(1);
        let even = |power: Watt| {
            let mut each = Phases::default();
            for phase in self.grid_phases.iter() {
                each[phase] = Watt(power.0 / grid);
            }
            each
        };
        let mut pot = Pot { net: -total, phases: even(-total) };
        if !known.lacks(self.grid_phases) {
            pot.phases = shown.map(|power| -power.unwrap_or_default());
        }
        let mut flat = self.sun.setup.target;
        let mut charging = None;
        for battery in &self.batteries {
            let meter = &self.meters[*battery];
            if let Some(power) = meter.frame().filter(|_| !meter.is_stale()).and_then(|it| it.total) {
                flat += self.sun.setup.of_battery(power);
                charging = Some(charging.unwrap_or(Watt::ZERO) - power.min(Watt::ZERO));
            }
        }
        match charging.filter(|_| self.sun.setup.battery == BatteryRank::First) {
            Some(charging) => flat -= self.sun.appetite.lacks(frame.sampled_at, charging, -total),
            None => self.sun.appetite = Appetite::default(),
        }
        let loads: Watt = self.relays.iter().map(Relay::added_back).sum();
        pot.net += flat + loads;
        let each = even(match self.sun.setup.kind {
            SurplusKind::Net => flat + loads,
            // On which phases a load is nobody knows: it is no car's.
            SurplusKind::PerPhase => flat,
        });
        for phase in Phase::ALL {
            pot.phases[phase] += each[phase];
        }
        self.sun.frame(frame.sampled_at, pot, frame.voltage);
        self.estimate_sun();
    }

    /// Adds back what the cars that follow the sun drew at the newest frame's time; polls since then may say it better.
    fn estimate_sun(&mut self) {
        let Some((at, voltage)) = self.sun.sampled() else { return };
        let (mut least, mut most, mut followers) = (Pot::default(), Pot::default(), 0_u64);
        for (index, charger) in self.chargers.iter().enumerate() {
            let following = mode(charger, self.signals).is_some_and(follows_sun);
            if !following || !charger.link.is_up() {
                continue;
            }
            followers ^= 1 << (index % 64);
            let range = charger.drawn_around(at, &self.timing);
            for phase in charger.wired.iter() {
                let volts = voltage[phase].unwrap_or(NOMINAL);
                least.draw(charger.solar.active(range.least[phase].at(volts)), phase);
                most.draw(charger.solar.active(range.most[phase].at(volts)), phase);
            }
        }
        self.sun.estimate(&least, &most, followers);
    }

    /// What each car makes of its offer, by its box's own power or by the reactive current on its phases.
    fn observe_factors(&mut self, frame: &Frame) {
        for index in 0..self.chargers.len() {
            let charger = &self.chargers[index];
            if charger.solar.account.is_none() || !charger.is_measured() {
                continue;
            }
            let factor = self.factor(charger, index, frame);
            let charger = &mut self.chargers[index];
            let drawn = largest(&charger.current());
            let (order, effective) = (charger.order(), charger.effective_at());
            charger.solar.observe(frame.received_at, drawn, order, effective, factor);
        }
    }

    /// Power factor in thousandths; `None` where nothing speaks against a good one.
    fn factor(&self, charger: &Charger, index: usize, frame: &Frame) -> Option<i32> {
        let current = charger.current();
        if largest(&current) < CLEAR {
            return None;
        }
        let volts = |phase: Phase| i64::from(frame.voltage[phase].unwrap_or(NOMINAL).0);
        let apparent = |phase: Phase| i64::from(current[phase].0) * volts(phase) / 1_000_000;
        if let Some(power) = charger.report.and_then(|report| report.power) {
            let all: i64 = charger.wired.iter().map(apparent).sum();
            let factor = i64::from(power.0.max(0)) * 1000 / all.max(1);
            return i32::try_from(factor).ok().filter(|it| *it < 800);
        }
        let others = self.chargers.iter().enumerate().any(|(other, it)| other != index && it.draws_current());
        if others {
            return None;
        }
        // What flows on a phase besides active power, against what the car draws there, squared.
        let mut shares = [i64::MAX; 3];
        let mut count = 0;
        for phase in charger.phases().iter().filter(|phase| current[*phase] >= CLEAR) {
            let (Some(total), Some(power)) = (frame.current[phase], frame.power[phase]) else { return None };
            let all = i64::from(total.0) * volts(phase) / 1_000_000;
            let reactive = (all * all - i64::from(power.0) * i64::from(power.0)).max(0);
            let car = apparent(phase);
            shares[count] = (reactive * 1000 / (car * car).max(1)).min(1000);
            count += 1;
        }
        shares[..count].sort_unstable();
        let share = *shares[..count].get(count.saturating_sub(1) / 2)?;
        (share > REACTIVE).then(|| i32::try_from(((1000 - share) * 1000).isqrt()).unwrap_or(1000))
    }

    /// Gives the surplus to chargers and relays in order of priority, and lowers the wants of those that follow it.
    pub(in crate::control) fn share_surplus(&mut self, now: Mono, scratch: &mut Scratch) {
        self.estimate_sun();
        let fresh = self.sun.take_fresh();
        scratch.shares.clear();
        for (index, charger) in self.chargers.iter_mut().enumerate() {
            if mode(charger, self.signals).is_some_and(follows_sun) {
                let running = charger.order() >= charger.least();
                if charger.is_found_at_start(&self.timing) {
                    charger.solar.account = Some(Account::found());
                }
                charger.solar.account.get_or_insert_with(|| Account::begin(running));
                let priority = charger.settings.priority;
                scratch.shares.push(Order { priority, relay: false, waits: !running, index });
            } else {
                charger.solar.account = None;
                charger.solar.rest();
            }
        }
        let relays = self.relays.iter().enumerate();
        scratch.shares.extend(relays.map(|(index, relay)| Order {
            priority: relay.setup.priority,
            relay: true,
            waits: !relay.order(),
            index,
        }));
        scratch.shares.sort_unstable();
        let mut left = match (self.sun.steady(), self.sun.now()) {
            (Some(steady), Some(now)) => Some(Left::new(steady, now)),
            _ => None,
        };
        for relay in &self.relays {
            if let Some(left) = &mut left {
                left.load(relay.kept(), self.grid_phases, self.sun.setup.kind);
                left.later += relay.kept_for_now();
            }
        }
        let mut from = 0;
        while from < scratch.shares.len() {
            let priority = scratch.shares[from].priority;
            let more = scratch.shares[from..].iter().take_while(|it| it.priority == priority).count();
            self.share_among(now, from..from + more, &mut left, fresh, scratch);
            from += more;
        }
    }

    fn share_among(
        &mut self,
        now: Mono,
        group: std::ops::Range<usize>,
        left: &mut Option<Left>,
        fresh: Option<Span>,
        scratch: &mut Scratch,
    ) {
        scratch.members.clear();
        // What those who are about to draw can use is not given to anybody behind the group.
        let (mut claims, mut unproved) = (Pot::default(), Pot::default());
        let kind = self.sun.setup.kind;
        for place in group {
            let it = scratch.shares[place];
            if it.relay {
                if let Some(left) = left {
                    // To itself its own load is surplus, whoever may have it.
                    let relay = &self.relays[it.index];
                    left.load(-relay.kept(), self.grid_phases, kind);
                    left.later -= relay.kept_for_now();
                }
                // The target is for cars: a relay is closed for what is really exported.
                let surplus = left.map(|left| left.to_begin().now.net - self.sun.setup.target);
                let room = self.room_for_relay(it.index, scratch);
                let paired = self.paired_is_open(it.index);
                let slack = left.filter(|_| kind == SurplusKind::PerPhase).and_then(|left| left.slack());
                let each = self.load_of_phase(self.relays[it.index].setup.load);
                let relay = &mut self.relays[it.index];
                let was = relay.order();
                if fresh.is_some() {
                    relay.watch_cars(now, slack.map(|slack| (slack, each)));
                }
                relay.decide(now, surplus.zip(fresh).map(|(net, _)| net), left.is_some(), self.signals, room, paired);
                if let Some(left) = left {
                    left.load(relay.added_back(), self.grid_phases, kind);
                }
                let (closes, claims, load) = (relay.order() && !was, relay.claims(), relay.setup.load);
                if closes {
                    self.reserve_load(load, scratch);
                } else if claims {
                    self.come_down_for(it.index, scratch);
                }
                continue;
            }
            let need = self.need(it.index);
            if scratch.wants[it.index].barred || !self.chargers[it.index].link.is_up() {
                self.stand_aside(it.index, scratch);
                continue;
            }
            let Some(left) = left else {
                self.without_sun(it.index, &need, scratch);
                continue;
            };
            let on = need.mode == Mode::Eco || self.chargers[it.index].solar.account.is_some_and(|it| it.is_on());
            let seen = if on { *left } else { left.to_begin() };
            let Some((running, enough, wait)) = self.judge(now, it.index, &need, &seen, fresh) else { continue };
            scratch.wants[it.index].sun_phases = self.phases_for_sun(it.index, &need, &seen);
            let can_have = self.can_have(now, it.index, scratch);
            let runs = can_have >= self.chargers[it.index].least();
            if !running {
                if enough && runs && !matches!(wait, Wait::Rest(_)) {
                    scratch.wants[it.index].claims = true;
                    left.unproved.take(need.least, need.phases);
                    left.hold(self.held(it.index, &need), need.phases);
                    unproved.take(self.beyond(it.index, &need, can_have), need.phases);
                }
                self.chargers[it.index].solar.rest();
                let detail = match wait {
                    Wait::Rest(_) => Detail::SunRest,
                    Wait::Proof(_) => Detail::SunProof,
                    Wait::None | Wait::Cloud | Wait::Grace(_) => Detail::None,
                };
                let want = &mut scratch.wants[it.index];
                want.forbidden = true;
                want.lower_until(Milliamp::ZERO, LimitReason::Surplus, detail, wait.span());
                continue;
            }
            if wait != Wait::None {
                let detail = if matches!(wait, Wait::Grace(_)) { Detail::SunGrace } else { Detail::SunCloud };
                // Told below where the minimum is what it gets.
                scratch.wants[it.index].sun = Some((detail, wait.span()));
            }
            let charger = &self.chargers[it.index];
            let idle = charger.on_since.is_some_and(|since| now.since(since) >= IDLE_AFTER) && !starts_drawing(charger);
            let takes = runs && !idle && charger.state() != Some(PilotState::D);
            let beyond = |most: Milliamp| (need.power(charger.solar.drawn_of(most)) - need.least).max(Watt::ZERO);
            let cap = scratch.wants[it.index].cap;
            let least = if takes { need.least.min(need.power(charger.solar.drawn_of(can_have))) } else { Watt::ZERO };
            let room = if takes { beyond(cap.min(can_have)) } else { Watt::ZERO };
            let wish = if idle || charger.state() == Some(PilotState::D) { Watt::ZERO } else { beyond(cap) };
            scratch.wants[it.index].claims = takes;
            if takes && !starts_drawing(charger) {
                claims.take(self.beyond(it.index, &need, can_have), need.phases);
            }
            match kind {
                SurplusKind::Net => left.take(left.steady.net.max(Watt::ZERO).min(least), need.phases),
                SurplusKind::PerPhase => {
                    left.steady.pay(least, need.phases);
                    left.now.pay(least, need.phases);
                }
            }
            if takes && need.mode != Mode::Eco {
                left.hold(self.held(it.index, &need), need.phases);
            }
            scratch.members.push(Member { index: it.index, room, wish, least: need.least });
        }
        let Some(left) = left else { return };
        scratch.members.sort_unstable_by_key(|it| (it.room, it.index));
        let count = scratch.members.len();
        for place in 0..count {
            let Member { index, room, wish, least } = scratch.members[place];
            let need = self.need(index);
            let rest = left.steady.left_for(need.phases, self.sun.setup.kind).max(Watt::ZERO);
            let share = Watt(rest.0 / i32::try_from(count - place).unwrap_or(1)).min(wish);
            // Others of its circuit may have taken some of its room since.
            let others = self.could_rise_to(index, scratch).min(scratch.wants[index].cap);
            let others = need.power(self.chargers[index].solar.drawn_of(others)) - least;
            let kept = share.min(room).min(others.max(Watt::ZERO));
            left.take(kept, need.phases);
            if scratch.wants[index].claims {
                let offer = self.chargers[index].solar.offer_for(need.current(least + kept));
                self.keep(index, offer, scratch);
            }
            let charger = &mut self.chargers[index];
            let wish = charger.solar.offer_for(need.current(least + share));
            let want = &mut scratch.wants[index];
            let level = charger.solar.follow(now, wish, need.floor, want.cap, charger.step());
            let (detail, wait) = match want.sun {
                Some(it) if level <= need.floor => it,
                _ if level <= need.floor && need.mode != Mode::Solar => (Detail::SunFloor, None),
                _ => (Detail::None, None),
            };
            want.lower_until(level, LimitReason::Surplus, detail, wait);
        }
        left.add(&claims);
        left.unproved = left.unproved.plus(&unproved);
    }

    /// One phase where the sun pays for one only, three where it pays for all of them; a tenth more than the minimum, so
    /// that it is worth the switching.
    fn phases_for_sun(&self, index: usize, need: &Need, left: &Left) -> Option<u8> {
        let charger = &self.chargers[index];
        if need.mode != Mode::Solar || !charger.can_switch() {
            return None;
        }
        let count = i32::try_from(need.phases.len()).unwrap_or(3).max(1);
        let one = need.least.0 / count;
        if charger.active().len() > 1 {
            let have = left.now.left_for(need.phases, self.sun.setup.kind);
            (have < need.least && have.0 >= one + one / 10).then_some(1)
        } else {
            let have = left.now.left_for(charger.wired, self.sun.setup.kind);
            (have.0 >= 3 * (one + one / 10)).then_some(3)
        }
    }

    /// What it can use beyond its minimum once it draws.
    fn beyond(&self, index: usize, need: &Need, can_have: Milliamp) -> Watt {
        let charger = &self.chargers[index];
        let most = charger.settings.max_current.min(can_have);
        (need.power(charger.solar.drawn_of(most)) - need.least).max(Watt::ZERO)
    }

    /// The surplus for which it goes on.
    fn held(&self, index: usize, need: &Need) -> Watt {
        match need.mode {
            Mode::EcoPlus => need.power(self.chargers[index].settings.eco_plus_min_surplus).min(need.least),
            _ => need.least,
        }
    }

    /// Nothing is known of the surplus: only what the grid may pay for by itself runs.
    fn without_sun(&mut self, index: usize, need: &Need, scratch: &mut Scratch) {
        let grid = self.circuits[0].setup.meter.map(|meter| &self.meters[meter]);
        let starts = grid.is_some_and(|meter| !meter.is_lost());
        let want = &mut scratch.wants[index];
        let charger = &mut self.chargers[index];
        // One that was found charging goes on until the first frame tells whether the sun pays for it.
        let goes_on = starts && charger.solar.account.as_ref().is_some_and(Account::is_on);
        if need.mode == Mode::Eco || goes_on {
            want.lower_until(need.floor, LimitReason::Surplus, Detail::SunUnknown, None);
        } else {
            charger.solar.account = Some(Account::default());
            charger.solar.rest();
            want.forbidden = true;
            want.lower_until(Milliamp::ZERO, LimitReason::Surplus, Detail::SunUnknown, None);
        }
    }

    /// It may not charge, or nobody can tell it to: what it cannot use is not kept from whoever comes next. Once it may
    /// again it starts like any other; one that was only not heard goes on as it was.
    fn stand_aside(&mut self, index: usize, scratch: &Scratch) {
        let charger = &mut self.chargers[index];
        if scratch.wants[index].barred && charger.state().is_some_and(PilotState::plugged) {
            charger.solar.account = Some(Account::default());
        }
        charger.solar.rest();
    }

    /// What the charger needs in its mode.
    fn need(&self, index: usize) -> Need {
        let charger = &self.chargers[index];
        let mode = mode(charger, self.signals).unwrap_or(Mode::Off);
        let phases = charger.phases();
        let volts = |own: usize| {
            let known = charger.report.and_then(|report| report.voltage.0[own]).filter(|it| it.0 > 100_000);
            i64::from(known.unwrap_or(NOMINAL).0)
        };
        let wired = charger.setup.phases.iter().enumerate();
        let volts = wired.filter(|(_, phase)| phases.has(**phase)).map(|(own, _)| volts(own)).sum();
        let step = charger.step();
        let up = |current: Milliamp| Milliamp(current.0.saturating_add(step.0 - 1)).floor_to(step);
        let floor = match mode {
            Mode::Eco => up(charger.settings.eco_min),
            _ => up(charger.solar.least()),
        }
        .max(charger.least());
        let mut need = Need { phases, volts, floor, least: Watt::ZERO, mode };
        need.least = need.power(charger.solar.drawn_of(floor));
        need
    }

    /// Whether it runs, whether the surplus pays for its minimum, and what it waits for; `None` for a charger without a car.
    fn judge(
        &mut self,
        now: Mono,
        index: usize,
        need: &Need,
        left: &Left,
        fresh: Option<Span>,
    ) -> Option<(bool, bool, Wait)> {
        let kind = self.sun.setup.kind;
        let charger = &mut self.chargers[index];
        let plugged = charger.state().is_some_and(PilotState::plugged);
        let least = i64::from(need.least.0.max(1));
        let mut have = i64::from(left.now.left_for(need.phases, kind).0);
        let account = charger.solar.account.as_ref();
        if self.sun.setup.patience == SolarPatience::Mean && account.is_some_and(Account::is_on) {
            // A shortest time is a cloud that is known to pass: no reason to interrupt a car, and none to start one.
            // On which phases it is nobody knows.
            have += if kind == SurplusKind::Net { i64::from(left.later.0) } else { 0 };
        }
        let judged = if need.mode == Mode::EcoPlus {
            let asked = i64::from(need.power(charger.settings.eco_plus_min_surplus).0);
            let by = (have - asked) * 1000 / least;
            Judged { worth: if by >= 0 { by.clamp(500, 1000) } else { by.clamp(-1000, -250) }, enough: by >= 0 }
        } else if !charger.solar.account.as_ref().is_some_and(Account::is_on) {
            // Begun is only what the sun pays for alone.
            let enough = have >= least;
            Judged { worth: if enough { 1000 } else { -1000 }, enough }
        } else if have >= least {
            Judged { worth: (have * 1000 / least).min(2000), enough: true }
        } else {
            Judged { worth: 2000 * have.max(0) / least - 1000, enough: false }
        };
        let rules = Rules {
            patience: self.sun.setup.patience,
            grace: self.sun.setup.grace,
            proof: self.sun.setup.proof,
            min_on: self.min_on,
            min_off: self.min_off,
            on_since: charger.on_since,
            interruptions: charger.session.interruptions,
        };
        if need.mode == Mode::Eco {
            return plugged.then_some((true, judged.enough, Wait::None));
        }
        let account = charger.solar.account.get_or_insert_default();
        if let Some(elapsed) = fresh.filter(|_| plugged) {
            account.judge(now, elapsed, judged, &rules);
        }
        let wait = account.waits(now, judged, &rules);
        plugged.then_some((account.is_on(), judged.enough, wait))
    }
}

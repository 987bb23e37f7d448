//! A scenario from beginning to end, a second at a time.

use std::collections::BTreeMap;

use super::appliance::Appliance;
use super::scenario::{ApplianceTurn, Expect, Happening, Level, Scenario};
use super::timeline::Timeline;
use super::world::World;
use super::{Heard, Seam};
use crate::clock;
use crate::config::model::InputDriver;
use crate::quantity::{Milliamp, Mono, Span};

/// Seconds in a quarter of an hour.
const QUARTER_S: u32 = 900;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every decision with its reason, every event, and all currents now and then.
    pub timeline: String,
    /// What was expected and did not come, in sentences.
    pub unmet: Vec<String>,
}

/// Plays a scenario.
///
/// # Errors
/// When its wall clock is no time.
pub fn play(scenario: &Scenario) -> Result<Outcome, String> {
    let script = &scenario.script;
    let mut setup = scenario.config.setup();
    for charger in setup.chargers.iter_mut().filter(|it| script.unmeasured.contains(&it.id)) {
        charger.measures = false;
    }
    let mut begin = script.wall.as_deref().map(wall_ms).transpose()?;
    let mut world = World::new(scenario, &setup);
    let mut seam = Seam::new(setup.clone());
    let mut appliance = Appliance::new();
    let mut timeline = Timeline::new(scenario, &setup);
    let mut events: Vec<&Happening> = script.events.iter().collect();
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let mut events = events.into_iter().peekable();
    let mut levels: BTreeMap<&str, Option<bool>> = BTreeMap::new();
    let grid = scenario.config.grid.meter.and_then(|it| script.meters.get(&scenario.config.meters[it].common.id));
    let began = grid.and_then(|it| it.quarter_began_s).unwrap_or(0);
    let mut tally = Tally::new(setup.chargers.len(), setup.relays.len(), began);
    let fuse = scenario.config.grid.fuse.map(Milliamp::as_f64);
    let end = Mono::from_secs_f64(script.lasts_s);
    let mut now = Mono(0);
    while now <= end {
        let mut set = Vec::new();
        while let Some(event) = events.next_if(|it| Mono::from_secs_f64(it.at_s) <= now) {
            world.happen(event, &setup);
            set.extend(event.set.iter().cloned());
            for (id, level) in &event.input {
                levels.insert(id, if let Level::Known(level) = level { Some(*level) } else { None });
            }
            if let Some(wall) = &event.wall {
                begin = Some(wall_ms(wall)? - now.0);
            }
            if let Some(turn) = event.appliance {
                appliance.turn(now, turn);
                timeline.turn(now, turn);
                if turn == ApplianceTurn::Started {
                    seam = Seam::new(setup.clone());
                    world.boxes.iter_mut().for_each(|it| it.forget_task());
                }
            }
        }
        if now > Mono(0) {
            for index in 0..setup.relays.len() {
                if let Some(order) = seam.controller.decision().relay_orders.get(index).filter(|_| appliance.runs()) {
                    world.switch(index, order.on);
                }
                tally.closed[index] += u32::from(world.is_closed(index));
                seam.relay_fails[index] = !world.relay_answers(index);
            }
            world.advance(now, appliance.orders(now, &seam));
            tally.second(&world, fuse);
        }
        if !appliance.runs() {
            world.frames(now, |_, _| {});
            timeline.pass(now, &world);
            now = now + Span::from_secs(1);
            continue;
        }
        let wall = begin.map(|begin| begin + now.0);
        let mut heard = Heard {
            now,
            wall: wall.filter(|it| clock::is_set(*it)).map(|it| it.div_euclid(1000)),
            frames: Vec::new(),
            chargers: Vec::new(),
            inputs: Vec::new(),
            set,
        };
        world.frames(now, |meter, reading| heard.frames.push((meter, reading)));
        for (index, it) in world.boxes.iter().enumerate() {
            heard.chargers.push((index, it.answers(), it.report(now)));
        }
        for (index, input) in scenario.config.inputs.iter().enumerate() {
            let told = levels.get(input.common.id.as_str()).copied();
            let level = match &input.driver {
                // A schedule goes by the wall clock of the scenario.
                InputDriver::Schedule(schedule) => Some(schedule.active(wall.unwrap_or(0))),
                _ => told,
            };
            heard.inputs.extend(level.map(|level| (index, level)));
        }
        let refused = seam.step(heard);
        let decision = seam.controller.decision();
        for event in refused.iter().chain(&decision.events) {
            tally.events.push(format!("{} {}", event.event_type, event.subject));
        }
        for (index, charger) in decision.chargers.iter().enumerate() {
            tally.reasons[index].insert(charger.reason.word.word());
            if tally.offers[index].replace(charger.offered).is_some_and(|before| before != charger.offered) {
                tally.changes += 1;
            }
        }
        timeline.note(now, decision, &refused, &world);
        now = now + Span::from_secs(1);
    }
    let unmet = tally.judge(&script.expect, scenario, &world);
    timeline.close(&tally, scenario, &world);
    Ok(Outcome { timeline: timeline.into_text(), unmet })
}

fn wall_ms(text: &str) -> Result<i64, String> {
    let stamp: jiff::Timestamp = text.parse().map_err(|error| format!("`wall` = \"{text}\": {error}"))?;
    Ok(stamp.as_millisecond())
}

/// What a scenario is judged by.
#[derive(Debug)]
pub(super) struct Tally {
    /// Above the main fuse, in As.
    pub(super) overload: f64,
    /// Imported in the running quarter of an hour of the grid meter, in Ws, and how many of its seconds are over.
    quarter: (f64, u32),
    /// It had begun before the scenario: its mean is not known.
    partial: bool,
    /// Highest mean of a quarter, in W.
    pub(super) highest_quarter: Option<f64>,
    /// Set-points that were changed.
    pub(super) changes: u32,
    /// Seconds that each relay was closed.
    pub(super) closed: Vec<u32>,
    events: Vec<String>,
    reasons: Vec<std::collections::BTreeSet<&'static str>>,
    offers: Vec<Option<Milliamp>>,
}

impl Tally {
    /// `began`: seconds of the meter's quarter of an hour that are over.
    fn new(chargers: usize, relays: usize, began: u32) -> Self {
        let passed = began % QUARTER_S;
        Self {
            overload: 0.0,
            quarter: (0.0, passed),
            partial: passed > 0,
            highest_quarter: None,
            changes: 0,
            closed: vec![0; relays],
            events: Vec::new(),
            reasons: vec![Default::default(); chargers],
            offers: vec![None; chargers],
        }
    }

    fn second(&mut self, world: &World, fuse: Option<f64>) {
        if let Some(fuse) = fuse {
            self.overload += world.grid().iter().map(|it| (it - fuse).max(0.0)).sum::<f64>();
        }
        self.quarter.0 += world.grid_power().max(0.0);
        self.quarter.1 += 1;
        if self.quarter.1 == QUARTER_S {
            let mean = self.quarter.0 / f64::from(QUARTER_S);
            if !std::mem::take(&mut self.partial) {
                self.highest_quarter = Some(self.highest_quarter.map_or(mean, |highest| highest.max(mean)));
            }
            self.quarter = (0.0, 0);
        }
    }

    fn judge(&self, expect: &Expect, scenario: &Scenario, world: &World) -> Vec<String> {
        let mut unmet = Vec::new();
        let mut within = |what: String, found: f64, range: Option<&[f64; 2]>| {
            if let Some([least, most]) = range
                && !(*least..=*most).contains(&found)
            {
                unmet.push(format!("{what}: {found:.3}, expected {least} to {most}"));
            }
        };
        within("overload in As".to_owned(), self.overload, expect.overload_as.as_ref());
        let quarter = self.highest_quarter.unwrap_or(0.0) / 1000.0;
        within("highest quarter of an hour in kW".to_owned(), quarter, expect.quarter_kw.as_ref());
        let whole = |range: &[u32; 2]| range.map(f64::from);
        within("changed set-points".to_owned(), f64::from(self.changes), expect.changes.as_ref().map(whole).as_ref());
        for (index, charger) in scenario.config.chargers.iter().enumerate() {
            let id = charger.common.id.as_str();
            let it = &world.boxes[index];
            within(format!("energy of `{id}` in kWh"), it.total_wh / 1000.0, expect.energy_kwh.get(id));
            within(format!("starts of `{id}`"), f64::from(it.starts), expect.starts.get(id).map(whole).as_ref());
        }
        for (index, relay) in scenario.config.relays.iter().enumerate() {
            let id = relay.common.id.as_str();
            within(format!("seconds that `{id}` was closed"), f64::from(self.closed[index]), expect.closed_s.get(id));
        }
        for (index, charger) in scenario.config.chargers.iter().enumerate() {
            let id = charger.common.id.as_str();
            for word in expect.reasons.get(id).into_iter().flatten() {
                if !self.reasons[index].contains(word.as_str()) {
                    unmet.push(format!("reason `{word}` was never given for `{id}`"));
                }
            }
        }
        for event in &expect.events {
            if !self.events.contains(event) {
                unmet.push(format!("event `{event}` did not come"));
            }
        }
        for event in &expect.never {
            if self.events.contains(event) {
                unmet.push(format!("event `{event}` came"));
            }
        }
        unmet
    }
}

//! A scenario as text: what was decided and why, what happened, and now and then every current.

use std::fmt::Write as _;

use super::play::Tally;
use super::scenario::{ApplianceTurn, Scenario};
use super::world::World;
use crate::control::{Decision, Detail, LimitReason, RelayWord, Setup};
use crate::event::Event;
use crate::quantity::{Milliamp, Mono, Span};

/// See the module.
#[derive(Debug)]
pub(super) struct Timeline {
    text: String,
    chargers: Vec<(String, Option<Shown>)>,
    relays: Vec<(String, Option<(bool, RelayWord)>)>,
    sample: Span,
    next: Mono,
    indent: usize,
}

/// What of a charger is worth a new line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    offer: Milliamp,
    phases: Option<u8>,
    word: LimitReason,
    detail: Detail,
}

impl Timeline {
    pub(super) fn new(scenario: &Scenario, setup: &Setup) -> Self {
        let chargers: Vec<_> = setup.chargers.iter().map(|it| (it.id.clone(), None)).collect();
        let relays: Vec<_> = setup.relays.iter().map(|it| (it.id.clone(), None)).collect();
        let ids = chargers.iter().map(|it| it.0.len()).chain(relays.iter().map(|it| it.0.len()));
        Self {
            text: format!("{}\n{}\n\n", scenario.script.title, scenario.script.shows),
            indent: ids.max().unwrap_or(0).max(4),
            chargers,
            relays,
            sample: Span::from_secs_f64(scenario.script.sample_s),
            next: Mono(0),
        }
    }

    /// What this second brought.
    pub(super) fn note(&mut self, now: Mono, decision: &Decision, refused: &[Event], world: &World) {
        let indent = self.indent;
        for event in refused.iter().chain(&decision.events) {
            self.line(now, format_args!("{:indent$}  ! {}: {}", event.subject, event.event_type, event.detail));
        }
        for index in 0..self.chargers.len() {
            let (Some(status), Some(command)) = (decision.chargers.get(index), decision.commands.get(index)) else {
                continue;
            };
            let reason = status.reason;
            let shown =
                Shown { offer: status.offered, phases: command.phases, word: reason.word, detail: reason.detail };
            if self.chargers[index].1.replace(shown) == Some(shown) {
                continue;
            }
            let phases = command.phases.map_or(String::new(), |it| format!(" x{it}"));
            let id = self.chargers[index].0.clone();
            let offer = format!("{}{phases}", status.offered);
            self.line(now, format_args!("{id:indent$}  {offer:<9} {:<13} {reason}", reason.word.word()));
        }
        for index in 0..self.relays.len() {
            let (Some(order), Some(status)) = (decision.relay_orders.get(index), decision.relays.get(index)) else {
                continue;
            };
            let shown = (order.on, status.reason.word);
            if self.relays[index].1.replace(shown) == Some(shown) {
                continue;
            }
            let id = self.relays[index].0.clone();
            let order = if order.on { "on" } else { "off" };
            self.line(
                now,
                format_args!("{id:indent$}  {order:<9} {:<13} {}", status.reason.word.word(), status.reason),
            );
        }
        self.pass(now, world);
    }

    /// A second in which nothing was decided.
    pub(super) fn pass(&mut self, now: Mono, world: &World) {
        if now >= self.next {
            self.next = now + self.sample;
            self.currents(now, world);
        }
    }

    /// What becomes of the appliance itself.
    pub(super) fn turn(&mut self, now: Mono, turn: ApplianceTurn) {
        let text = match turn {
            ApplianceTurn::Hung => "its control loop hangs",
            ApplianceTurn::Killed => "its process is killed",
            ApplianceTurn::Stopped => "it stops in good order",
            ApplianceTurn::Started => "it starts",
        };
        self.line(now, format_args!("* appliance: {text}"));
        self.chargers.iter_mut().for_each(|it| it.1 = None);
        self.relays.iter_mut().for_each(|it| it.1 = None);
    }

    /// What it came to.
    pub(super) fn close(&mut self, tally: &Tally, scenario: &Scenario, world: &World) {
        let _ =
            writeln!(self.text, "\nabove the fuse: {:.1} As; set-points changed: {}", tally.overload, tally.changes);
        if let Some(highest) = tally.highest_quarter.filter(|_| scenario.script.expect.quarter_kw.is_some()) {
            let _ = writeln!(self.text, "highest quarter of an hour: {:.3} kW", highest / 1000.0);
        }
        for (it, charger) in world.boxes.iter().zip(&scenario.config.chargers) {
            let id = &charger.common.id;
            let _ = writeln!(self.text, "{id}: {:.3} kWh, started {} times", it.total_wh / 1000.0, it.starts);
        }
        for (closed, relay) in tally.closed.iter().zip(&scenario.config.relays) {
            let _ = writeln!(self.text, "{}: closed for {closed} s", relay.common.id);
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Every current as it is, not as it was measured.
    fn currents(&mut self, now: Mono, world: &World) {
        let mut line = String::new();
        let indent = self.indent;
        let _ = write!(line, "{:indent$}  ", "grid");
        for amps in world.grid() {
            // Without the sign of a zero.
            let _ = write!(line, "{:7.2}", (amps * 100.0).round() / 100.0 + 0.0);
        }
        line.push_str(" A |");
        for ((id, _), it) in self.chargers.iter().zip(&world.boxes) {
            let _ = write!(line, " {id} {:.2} A", it.draw);
        }
        if world.sun_w > 0.0 {
            let _ = write!(line, " | sun {:.0} W", world.sun_w);
        }
        if let Some(charge) = world.charge() {
            let _ = write!(line, " | battery {:.1} %", charge * 100.0);
        }
        self.line(now, format_args!("{line}"));
    }

    fn line(&mut self, now: Mono, what: std::fmt::Arguments<'_>) {
        let seconds = now.0 / 1000;
        // A String takes everything.
        let _ = writeln!(self.text, "{}:{:02}:{:02}  {what}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
}

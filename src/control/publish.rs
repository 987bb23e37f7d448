//! The decision as others see it: orders, states, reasons.

use crate::command::RelayOrder;
use crate::quantity::{Milliamp, Mono, Phases, Watt, WattHour};
use crate::reading::PilotState;

use super::charger::Charger;
use super::controller::Controller;
use super::interface::{ChargerStatus, ChargerStatusWord, Problem, Quality, Reason, SiteStatus};

impl Controller {
    pub(super) fn publish(&mut self, now: Mono) {
        let mut decision = std::mem::take(&mut self.decision);
        decision.commands.clear();
        decision.commands.extend(self.chargers.iter().map(Charger::command));
        decision.chargers.clear();
        let reasons = self.chargers.iter().zip(&self.reasons);
        decision.chargers.extend(reasons.map(|(charger, reason)| self.charger_status(charger, *reason)));
        decision.meters.clear();
        decision.meters.extend(self.meters.iter().map(super::meter::Meter::status));
        decision.inputs.clear();
        decision.inputs.extend(self.inputs.iter().map(super::input::Input::status));
        decision.relay_orders.clear();
        decision.relay_orders.extend(self.relays.iter().map(|relay| RelayOrder { on: relay.order() }));
        decision.relays.clear();
        decision.relays.extend(self.relays.iter().map(super::demand::Relay::status));
        let site = self.site_status();
        decision.site = Some(site);
        decision.wake_at = self.next_wake(now);
        self.decision = decision;
        self.tell_fail_safe(site.fail_safe);
    }

    fn charger_status(&self, charger: &Charger, reason: Reason) -> ChargerStatus {
        let report = charger.report.unwrap_or_default();
        let heard = charger.report.is_some();
        let mut voltage = Phases([None; 3]);
        for (own, phase) in charger.setup.phases.iter().enumerate() {
            voltage[*phase] = report.voltage.0[own];
        }
        let offered = charger.order();
        let charging = heard && (charger.draws_current() || report.state == PilotState::C);
        let word = match report.state {
            _ if !charger.link.is_up() && (charger.link.is_silent() || !heard) => ChargerStatusWord::Offline,
            _ if !report.fault.is_empty() => ChargerStatusWord::Fault,
            _ if report.needs_authorization => ChargerStatusWord::WaitingForAuthorization,
            PilotState::A => ChargerStatusWord::Disconnected,
            PilotState::B if offered > Milliamp::ZERO => ChargerStatusWord::Connected,
            PilotState::B => ChargerStatusWord::Waiting,
            PilotState::C => ChargerStatusWord::Charging,
            PilotState::D => ChargerStatusWord::Finished,
            PilotState::E | PilotState::F => ChargerStatusWord::Fault,
        };
        let known = charger.session.known_phases().map(|phases| phases.len() as u8);
        ChargerStatus {
            word,
            offered,
            counted: charger.counted(&self.timing),
            current: charger.shown_current(),
            voltage,
            power: report.power.or_else(|| self.own_meter_power(charger)),
            energy: report.energy.or_else(|| self.own_meter_energy(charger)),
            session_energy: charger.whole_session_energy(),
            session_start: charger.session.begun,
            phases_active: known.or(report.phases_connected),
            lock: report.lock,
            reason,
            fault: report.fault,
            warning: report.warning,
            fail_safe: charger.fail_safe(),
            watchdog_verified: charger.watchdog_verified(),
            plugged: heard && report.state.plugged(),
            charging,
            interruptions: charger.session.interruptions,
            heard_at: charger.link.heard_at(),
            settings: charger.settings,
        }
    }

    /// What the charger's own meter says, as long as it is believed. Currents alone are no power: neither the voltage
    /// nor what of it is reactive is known.
    fn own_meter_power(&self, charger: &Charger) -> Option<Watt> {
        let meter = charger.setup.meter.filter(|_| charger.is_measured())?;
        self.meters[meter].frame()?.total
    }

    /// The counter of the charger's own meter.
    fn own_meter_energy(&self, charger: &Charger) -> Option<WattHour> {
        charger.meter_energy.filter(|_| charger.setup.meter.is_some_and(|it| !self.meters[it].is_lost()))
    }

    fn site_status(&self) -> SiteStatus {
        let root = &self.circuits[0];
        let limit = root.ceiling(self.site.max_import);
        let has_limit = root.setup.fuse.is_some();
        let mut available = Phases([None; 3]);
        let mut limits = Phases([None; 3]);
        if has_limit && let Some(budget) = self.scratch.budgets.first() {
            let mut room = budget.cut.phases;
            for charger in &self.chargers {
                let counted = charger.counted(&self.timing);
                for phase in charger.phases().iter() {
                    room[phase] -= counted;
                }
            }
            for phase in self.grid_phases.iter() {
                available[phase] = Some(room[phase].max(Milliamp::ZERO));
                limits[phase] = Some(limit);
            }
        }
        let charging = self.charging();
        let import = self.import();
        let lost = self.circuits.iter().filter_map(|it| it.setup.meter).any(|meter| self.meters[meter].is_lost());
        let silent = self.chargers.iter().any(|it| it.link.is_silent());
        let trouble = self.chargers.iter().any(|it| {
            it.obedience.cap().is_some()
                || it.read_back.second_master()
                || it.report.is_some_and(|it| !it.fault.is_empty())
        });
        let problem = if lost || self.meters.iter().any(|it| it.status().quality == Quality::Lost) {
            Problem::MeterError
        } else if silent || trouble {
            Problem::ChargerError
        } else {
            Problem::None
        };
        SiteStatus {
            available,
            limit: limits,
            surplus: charging.zip(import).map(|(charging, import)| charging - import),
            charging,
            fail_safe: lost || silent || trouble,
            problem,
            dim: self.signals.dim,
            low_tariff: self.signals.low_tariff,
            block: self.signals.block,
            settings: self.site,
        }
    }

    /// All chargers together; `None` where one draws and its power is not measured. What the controller assumes of such
    /// a one is for its own decisions and no reading.
    pub(super) fn charging(&self) -> Option<Watt> {
        let power = |charger: &Charger| {
            let answers = charger.link.is_up();
            let measured = charger.report.filter(|_| answers).and_then(|report| report.power);
            // A car in state C is there to draw; one in any other state draws nothing.
            let idle = charger.report.is_some() && !charger.draws_current() && charger.state() != Some(PilotState::C);
            measured.or_else(|| self.own_meter_power(charger)).or_else(|| idle.then_some(Watt::ZERO))
        };
        self.chargers.iter().map(power).sum()
    }

    /// What the grid meter says, as long as it is not lost.
    fn import(&self) -> Option<Watt> {
        let meter = &self.meters[self.circuits[0].setup.meter?];
        meter.frame().filter(|_| !meter.is_lost())?.total
    }
}

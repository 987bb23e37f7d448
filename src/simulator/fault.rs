//! Everything that can go wrong, on command.

use std::sync::Arc;

use super::live::Live;
use super::model::Obedience;
use crate::quantity::{Milliamp, Phase, Phases, Span};

/// A standing condition of the meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MeterFault {
    /// It works.
    #[default]
    None,
    /// Sends nothing; connections stay open.
    Silent,
    /// Sends the same telegram again and again, its own time included.
    Frozen,
    /// Currents, powers and voltages are zero, counters stand still.
    Zeros,
    /// All objects of this phase are left out.
    PhaseMissing(Phase),
    /// It tells the power of all phases together only.
    TotalsOnly,
    /// Every telegram carries a wrong CRC.
    WrongCrc,
    /// Nobody can connect and nobody stays connected.
    Unreachable,
}

/// What happens to the next telegram, or the next few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TelegramFault {
    /// One telegram has the direction of this phase the wrong way round.
    SignFlipped(Phase),
    /// One telegram carries a wrong CRC.
    WrongCrc,
    /// So many telegrams are held back and then sent at once.
    HeldBack(u32),
    /// One telegram without end: so many bytes of text, then the rest of it.
    Oversized(usize),
    /// These bytes instead of one telegram.
    Bytes(Vec<u8>),
}

/// A standing condition of a charger's line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChargerFault {
    /// It works.
    #[default]
    None,
    /// Both directions are dead: nothing arrives, nothing is answered.
    BothDead,
    /// The return line is dead: it hears, obeys and is fed, but no answer comes through.
    ReturnDead,
    /// Reads are answered with a register too few (one too many where one was asked for), writes with another count
    /// or value than was written; the telegram itself is well formed.
    WrongLength,
    /// Answers carry the next higher unit.
    WrongUnit,
    /// Answers are rubbish.
    Rubbish,
    /// Every request is answered by this exception.
    Exception(u8),
    /// Answers come this much later, in house time.
    Delayed(Span),
    /// Nobody can connect to its bus and nobody stays connected; TCP only.
    Unreachable,
}

/// Takes hold of the running simulation. Copies act on the same one.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    pub(super) live: Arc<Live>,
}

impl FaultHandle {
    /// Exact house load per phase, import positive, instead of appliances and sun; `None` gives them back.
    pub fn load(&self, amps: Option<[f64; 3]>) {
        self.live.with(|state| state.house.fix_load(amps.map(|amps| Phases(amps.map(Milliamp::from_f64)))));
    }

    /// From now on.
    pub fn meter(&self, fault: MeterFault) {
        self.live.with(|state| state.meter.set_fault(fault));
        self.live.disturb_meter();
    }

    /// Once; several wait for each other, in order.
    pub fn telegram(&self, fault: TelegramFault) {
        self.live.with(|state| state.meter.queue(fault));
    }

    /// Another period and jitter, in house time.
    pub fn meter_period(&self, period: Span, jitter: Span) {
        self.live.with(|state| state.meter.set_period(period, jitter));
        self.live.disturb_meter();
    }

    /// Ends all connections to the meter; new ones are welcome.
    pub fn drop_readers(&self) {
        self.live.drop_readers();
    }

    /// From now on.
    pub fn charger(&self, charger: usize, fault: ChargerFault) {
        self.live.with(|state| state.set_charger_fault(charger, fault));
        if fault == ChargerFault::Unreachable {
            self.live.drop_masters(charger);
        }
    }

    /// Resets all connections to the bus of this charger; new ones are welcome.
    pub fn drop_masters(&self, charger: usize) {
        self.live.drop_masters(charger);
    }

    /// Off and on again: boot current in the set-point register, watchdog as a new box has it (or kept, by the plan).
    pub fn reboot(&self, charger: usize) {
        self.live.with(|state| {
            let now = state.house.now();
            if let Some(charger) = state.house.charger_mut(charger) {
                charger.power_cycle(now);
            }
        });
    }

    /// A second master, or the maker's application, writes the set-point.
    pub fn second_master(&self, charger: usize, offer: Milliamp) {
        self.act(charger, |it| it.set_from_elsewhere(offer));
    }

    /// Sets a register from inside the box: own limits (12, 28, 29), temperature (31), warnings (34), errors (35),
    /// authorisation needed (22), watchdog (19, 20); at an EVSE-DIN also 1002 = 5 for a failure.
    /// `false` when the box does not keep such a register.
    pub fn poke(&self, charger: usize, register: u16, word: u16) -> bool {
        self.live.with(|state| state.house.charger_mut(charger).is_some_and(|it| it.poke(register, word)))
    }

    /// What a read would give, without feeding the watchdog; `None` where the box has no such register.
    #[must_use]
    pub fn peek(&self, charger: usize, register: u16) -> Option<u16> {
        self.live.with(|state| {
            let charger = state.house.chargers().get(charger)?;
            charger.read(state.house.now(), register, 1).ok()?.first().copied()
        })
    }

    /// A car comes.
    pub fn plug(&self, charger: usize) {
        self.act(charger, super::model::Charger::plug);
    }

    /// It leaves.
    pub fn unplug(&self, charger: usize) {
        self.act(charger, super::model::Charger::unplug);
    }

    /// The driver stops charging in the car, or lets it go on.
    pub fn stop_in_car(&self, charger: usize, stopped: bool) {
        self.act(charger, |it| it.stop_in_car(stopped));
    }

    /// How the car treats its offer from now on.
    pub fn obey(&self, charger: usize, obedience: Obedience) {
        self.act(charger, |it| it.obey(obedience));
    }

    fn act(&self, charger: usize, act: impl FnOnce(&mut super::model::Charger)) {
        self.live.with(|state| {
            if let Some(charger) = state.house.charger_mut(charger) {
                act(charger);
            }
        });
    }
}

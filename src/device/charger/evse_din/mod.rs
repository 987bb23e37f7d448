//! evracing EVSE-DIN and EVSE-WB.
//!
//! It measures nothing and has no fail-safe timer: what was written stays until a power cut, and then register 2000
//! decides. Switching register 1000 to 0.01 A takes a second in which its content means something else, so it is only
//! done while no car charges.

pub mod registers;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::command::ChargerAction;
use crate::device::charger::driver::{
    ChargerDriver, Chore, Complaint, DriverError, Line, Notice, Registers, Seen, Wishes,
};
use crate::device::charger::register::MISSING;
use crate::link::modbus::{BusError, Priority};
use crate::quantity::Milliamp;
use crate::reading::{ChargerReport, Flags, OwnLimit, PilotState};
use crate::status::Identity;
use registers::{
    BOOT_CURRENT, CABLE, CONFIG, Current, FINE_BIT, FINE_FROM_FIRMWARE, FIRMWARE, POLL_COUNT, Poll, SET_POINT,
};

/// Time that the box needs after the unit of its set-point was changed.
const SETTLE: Duration = Duration::from_secs(1);
/// The cable is looked at when a car comes and every so many polls.
const CABLE_EVERY: u32 = 30;
/// A box that is only busy is asked so many times for a register beside the poll.
const REFUSALS: u8 = 3;
/// Resolution of register 1000 with and without bit 7 of register 2005.
const FINE_STEP: Milliamp = Milliamp(10);
pub(super) const COARSE_STEP: Milliamp = Milliamp::from_amps(1);
/// Highest set-point that the box's own presets name.
pub(super) const HIGHEST: Milliamp = Milliamp::from_amps(80);

/// What the driver must know of its charger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installation {
    /// Modbus unit, for the sentence of a risk.
    pub(super) unit: u8,
    /// Wired to more than one phase.
    pub(super) several_phases: bool,
    /// Steps of 0.01 A are wanted.
    pub(super) fine: bool,
    /// What it may offer when we are gone.
    pub(super) fail_safe: Milliamp,
    /// Silence that the box needs after a telegram.
    pub(super) pause: Duration,
}

/// The driver.
#[derive(Debug)]
pub(super) struct EvseDin<L> {
    registers: Registers<L>,
    installation: Installation,
    state: Mutex<State>,
    /// Held while the unit of register 1000 is changed or asked for.
    unit_of_set_point: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether register 1000 counts in 0.01 A; `None` while that is not known.
    fine: Option<bool>,
    /// It failed to answer since: it may have been without supply and count in the other unit.
    doubted: bool,
    /// The next set-point goes to a box that is not heard: what is doubted cannot be asked for.
    unheard: bool,
    /// It was tried to switch to 0.01 A since the contact began.
    fine_tried: bool,
    pilot: Option<PilotState>,
    polls: u32,
    cable: Option<Milliamp>,
    cable_due: bool,
    cable_refused: Refused,
    firmware: Option<u16>,
    firmware_refused: Refused,
    identified: bool,
    boot_checked: bool,
    boot_refused: Refused,
}

/// What was refused of a register beside the poll since the contact began.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    times: u8,
    /// It need not be asked for again.
    absent: bool,
}

impl Refused {
    fn count(&mut self, error: &DriverError) -> Self {
        self.times = self.times.saturating_add(1);
        self.absent = error.is_absence() || self.times >= REFUSALS;
        *self
    }
}

impl<L: Line> EvseDin<L> {
    pub(super) fn new(line: L, installation: Installation) -> Self {
        line.set_pause(installation.pause);
        Self {
            registers: Registers::new(line),
            installation,
            state: Mutex::default(),
            unit_of_set_point: tokio::sync::Mutex::const_new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever panicked while it held this left registers as they came.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_one(&self, register: u16, priority: Priority) -> Result<u16, DriverError> {
        Ok(self.registers.read(register, 1, priority).await?.first().copied().unwrap_or(MISSING))
    }

    /// Whether register 1000 counts in 0.01 A, from the bit that says so. A box without it counts in whole amperes.
    async fn ask_fine(&self, priority: Priority) -> Result<bool, DriverError> {
        let fine = match self.read_one(CONFIG, priority).await {
            Ok(config) => config != MISSING && config & FINE_BIT != 0,
            Err(error) if error.is_absence() => false,
            Err(error) => return Err(error),
        };
        let mut state = self.state();
        (state.fine, state.doubted) = (Some(fine), false);
        Ok(fine)
    }

    /// What went wrong with a telegram. A box that was away for less than the time after which it is forgotten may come
    /// back in the unit that it was delivered with: its next set-point is not written before it was asked.
    fn doubt(&self, error: BusError) -> DriverError {
        if !error.is_crowding() {
            self.state().doubted = true;
        }
        error.into()
    }

    /// Switches register 1000 to 0.01 A where the firmware can; `true` when it did so now.
    async fn make_fine(&self) -> Result<bool, DriverError> {
        let _held = self.unit_of_set_point.lock().await;
        let config = self.read_one(CONFIG, Priority::Slow).await?;
        if config == MISSING || config & FINE_BIT != 0 {
            self.state().fine = Some(config != MISSING);
            return Ok(false);
        }
        self.state().fine = None;
        self.registers.write(CONFIG, config | FINE_BIT, Priority::Slow).await?;
        tokio::time::sleep(SETTLE).await;
        self.ask_fine(Priority::Slow).await
    }

    async fn next_chore(&self, notices: &mut Vec<Notice>) -> Result<(), DriverError> {
        let (boot_checked, cable_due, firmware, fine_due) = {
            let state = self.state();
            let resting = state.pilot.is_some_and(|pilot| pilot != PilotState::C);
            let fine_due = self.installation.fine && !state.fine_tried && state.fine != Some(true) && resting;
            (state.boot_checked, state.cable_due, state.firmware, fine_due)
        };
        if !boot_checked {
            self.check_boot(notices).await?;
        } else if cable_due {
            self.check_cable().await?;
        } else if firmware.is_none() {
            match self.read_one(FIRMWARE, Priority::Slow).await {
                Ok(firmware) => self.state().firmware = Some(firmware),
                Err(error) if error.is_refusal() => {
                    let mut state = self.state();
                    if state.firmware_refused.count(&error).absent {
                        state.firmware = Some(MISSING);
                    }
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        } else if fine_due && firmware.is_some_and(|firmware| firmware != MISSING && firmware >= FINE_FROM_FIRMWARE) {
            self.state().fine_tried = true;
            if self.make_fine().await? {
                notices.push(Notice::RewriteSetPoint);
            }
        }
        Ok(())
    }

    async fn check_boot(&self, notices: &mut Vec<Notice>) -> Result<(), DriverError> {
        let unit = self.installation.unit;
        let boot = match self.read_one(BOOT_CURRENT, Priority::Slow).await {
            Ok(word) => Current::decode(BOOT_CURRENT, "current after boot", word).map_err(DriverError::Register),
            Err(error) if error.is_refusal() => {
                if !self.state().boot_refused.count(&error).absent {
                    return Err(error);
                }
                Err(error)
            }
            Err(error) => return Err(error),
        };
        self.state().boot_checked = true;
        notices.push(Notice::Risk(match &boot {
            Ok(boot) => registers::boot_risk(unit, *boot, self.installation.fail_safe),
            Err(error) => Some(registers::boot_unknown(unit, &error.to_string())),
        }));
        boot.map(|_| ())
    }

    async fn check_cable(&self) -> Result<(), DriverError> {
        let cable = match self.read_one(CABLE, Priority::Slow).await {
            Ok(cable) => cable,
            Err(error) => {
                let mut state = self.state();
                if error.is_refusal() && state.cable_refused.count(&error).absent {
                    state.cable_due = false;
                }
                return Err(error);
            }
        };
        let limit = registers::cable_limit(cable, self.installation.several_phases);
        let mut state = self.state();
        state.cable_due = false;
        // What no cable can be says nothing about the one that is there: without its limit the offer would rise.
        state.cable = limit?;
        Ok(())
    }

    fn identity(&self) -> Option<Identity> {
        let mut state = self.state();
        let firmware = state.firmware.filter(|_| !std::mem::replace(&mut state.identified, true))?;
        Some(Identity {
            manufacturer: Some("evracing".to_owned()),
            model: Some("EVSE-DIN".to_owned()),
            serial: None,
            firmware: Some(firmware).filter(|firmware| *firmware != MISSING).map(|firmware| firmware.to_string()),
        })
    }
}

impl<L: Line> ChargerDriver for EvseDin<L> {
    async fn poll(&self, _first: bool) -> Result<Seen, DriverError> {
        let words = self.registers.read(SET_POINT, POLL_COUNT, Priority::Poll).await.map_err(|it| self.doubt(it))?;
        let words = words.try_into().unwrap_or([MISSING; POLL_COUNT as usize]);
        let poll = Poll::decode(words)?;
        let mut state = self.state();
        state.polls = state.polls.wrapping_add(1);
        state.cable_due |= state.pilot != Some(poll.state) || state.polls.is_multiple_of(CABLE_EVERY);
        state.cable_due &= !state.cable_refused.absent;
        state.pilot = Some(poll.state);
        if poll.set_point.fine.is_some() && poll.set_point.fine != state.fine {
            // The value speaks the other unit: the box was restarted or set up by somebody else.
            state.fine = None;
        }
        let report = ChargerReport {
            state: poll.state,
            set_point: Some(poll.set_point.amps),
            offered: poll.offered,
            own_limit: state.cable,
            own_limit_cause: state.cable.map(|_| OwnLimit::Cable),
            fault: poll.fault,
            warning: Flags::NONE,
            ..ChargerReport::default()
        };
        Ok(Seen { report, complaints: poll.complaints.into_iter().map(Complaint::Value).collect() })
    }

    async fn write_set_point(&self, offer: Milliamp, priority: Priority) -> Result<(), DriverError> {
        // Zero is the same in both units and must not wait for anything.
        if offer == Milliamp::ZERO {
            return self.registers.write(SET_POINT, 0, priority).await.map_err(|it| self.doubt(it));
        }
        let fine = {
            let _held = self.unit_of_set_point.lock().await;
            let known = {
                let mut state = self.state();
                // A box that answers after all is asked before the set-point that follows.
                let unheard = std::mem::take(&mut state.unheard);
                state.fine.filter(|_| unheard || !state.doubted)
            };
            match known {
                Some(fine) => fine,
                None => self.ask_fine(priority).await?,
            }
        };
        let word = registers::encode(offer, fine).map_err(DriverError::SetPoint)?;
        self.registers.write(SET_POINT, word, priority).await.map_err(|it| self.doubt(it))
    }

    fn unheard(&self) {
        self.state().unheard = true;
    }

    fn step(&self) -> Milliamp {
        if self.state().fine == Some(true) { FINE_STEP } else { COARSE_STEP }
    }

    async fn chore(&self, _wishes: Wishes) -> Chore {
        let mut notices = Vec::new();
        let result = self.next_chore(&mut notices).await;
        notices.extend(self.identity().map(Notice::Identity));
        Chore { notices, result }
    }

    async fn act(&self, _action: ChargerAction) -> Result<(), DriverError> {
        Err(DriverError::Impossible("an EVSE-DIN has no register for it"))
    }

    fn forget(&self) {
        // The cable's limit is kept until it is read again: a moment without it would be a raise.
        let cable = self.state().cable;
        *self.state() = State { cable, cable_due: true, ..State::default() };
    }

    fn round(&self) -> Duration {
        self.registers.line().round()
    }

    fn link(&self) -> (u64, u64) {
        self.registers.line().link()
    }
}

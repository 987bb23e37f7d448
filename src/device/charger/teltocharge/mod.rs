//! Teltonika TeltoCharge (EVC1, EVC2) as Modbus secondary.
//!
//! The page of its maker does not say whether a read feeds the communication time-out of register 19; any telegram is
//! reckoned to.

pub mod registers;
mod watchdog;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::command::{ChargerAction, Lock};
use crate::device::charger::driver::{
    ChargerDriver, Chore, Complaint, DriverError, Line, Notice, Registers, Seen, Wishes,
};
use crate::device::charger::register::{MISSING, settable};
use crate::link::modbus::{BusError, Priority};
use crate::quantity::{Milliamp, Span};
use crate::reading::PilotState;
use crate::status::Identity;
use registers::{COUNT, Image, NEEDED, PhaseSet, write};
use watchdog::{Step, WatchdogKeeper};

/// Whole amperes.
const STEP: Milliamp = Milliamp::from_amps(1);
/// Highest set-point that register 15 takes.
pub(super) const HIGHEST: Milliamp = Milliamp::from_amps(32);
/// Lengths of the long read, longest first: firmware that ends its map earlier refuses what lies beyond. With each what
/// is not known then.
const LENGTHS: [(u16, &str); 4] = [
    (COUNT as u16, ""),
    (37, "power and energy"),
    (34, "errors, warnings, power and energy"),
    (NEEDED, "errors, warnings, a new limit of its owner, power and energy"),
];
/// Long reads refused one after the other before its map is taken to be shorter: a box that starts up or is updated
/// refuses what it has.
const REFUSALS: u8 = 3;
/// A map that was taken to be shorter is asked for in full again this often.
const FULL_AGAIN: Duration = Duration::from_secs(180);
/// On a slow bus every so many polls is a long one.
const LONG_EVERY: u32 = 3;
/// Between two requests of the same kind (authorise, stop, phases) that were not followed.
const REPEAT: Duration = Duration::from_secs(10);
/// Under this current nothing flows that a contactor is harmed by.
const DRAWS: Milliamp = Milliamp::from_amps(1);

/// The driver.
#[derive(Debug)]
pub(super) struct TeltoCharge<L> {
    registers: Registers<L>,
    period: Span,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    image: Image,
    /// Place in [`LENGTHS`].
    length: usize,
    /// Long reads refused since one was answered.
    refusals: u8,
    /// A longer one is being tried: its place.
    trial: Option<usize>,
    /// When the next of these begins.
    trial_at: Option<Instant>,
    polls: u32,
    /// Its own and its owner's limit (registers 12 and 29) as they were understood last.
    limits: [Option<Milliamp>; 2],
    status: Option<u16>,
    long_read: bool,
    long_due: bool,
    watchdog: WatchdogKeeper,
    identity: Option<Identity>,
    stopped: bool,
    /// A stop that an earlier run of ours asked for was looked for.
    adopted: bool,
    stop_at: Option<Instant>,
    stop_refused_at: Option<Instant>,
    authorize_at: Option<Instant>,
    phases_at: Option<Instant>,
}

impl<L: Line> TeltoCharge<L> {
    /// A charger that is polled every `period`.
    pub(super) fn new(line: L, period: Span) -> Self {
        Self { registers: Registers::new(line), period, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whatever panicked while it held this left registers as they came.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many registers the next poll reads: all where the bus has time for it, where something changed or where it
    /// is their turn, else those that change each round.
    fn next_length(&self, first: bool) -> u16 {
        let idle = self.round().as_millis() * 2 <= u128::from(self.period.0.unsigned_abs());
        let mut state = self.state();
        state.polls = state.polls.wrapping_add(1);
        let long = idle || std::mem::take(&mut state.long_due) || state.polls.is_multiple_of(LONG_EVERY);
        if first || !long {
            return NEEDED;
        }
        if state.length > 0 && state.trial.is_none() && state.trial_at.is_none_or(|at| Instant::now() >= at) {
            state.trial = Some(0);
        }
        LENGTHS[state.trial.unwrap_or(state.length)].0
    }

    /// A long read was refused.
    fn refused(&self) {
        let mut state = self.state();
        state.long_due = true;
        if let Some(tried) = state.trial {
            state.trial = Some(tried + 1).filter(|next| *next < state.length);
            if state.trial.is_none() {
                state.trial_at = Some(Instant::now() + FULL_AGAIN);
            }
            return;
        }
        state.refusals = state.refusals.saturating_add(1);
        if state.refusals >= REFUSALS {
            state.refusals = 0;
            state.length = (state.length + 1).min(LENGTHS.len() - 1);
            state.trial_at = Some(Instant::now() + FULL_AGAIN);
            // What is read no more is not known: it would stand there as fresh for ever.
            let (ends, _) = LENGTHS[state.length];
            state.image.forget_from(ends);
        }
    }

    /// A read of so many registers was answered.
    fn answered(&self, length: u16) {
        let mut state = self.state();
        let place = state.trial.unwrap_or(state.length);
        if LENGTHS[place].0 == length {
            (state.length, state.trial, state.refusals) = (place, None, 0);
        }
    }

    fn take(&self, words: &[u16]) -> Result<Seen, DriverError> {
        let mut state = self.state();
        let state = &mut *state;
        state.image.take(0, words);
        let readout = state.image.decode()?;
        let status = state.image.word(6);
        let long = words.len() > usize::from(NEEDED) || LENGTHS[state.length].0 == NEEDED;
        let unfinished = state.refusals > 0 || state.trial.is_some();
        state.long_due = unfinished || !long && (status != state.status || !state.long_read);
        state.long_read |= long;
        state.status = status;
        let mut report = readout.report();
        // Garbled or not read any more is no word that the limit is gone: without it the offer would rise.
        for ((last, fresh), register) in
            state.limits.iter_mut().zip([readout.amp_limit, readout.user_limit]).zip([12, 29])
        {
            let gone = state.image.word(register) == Some(MISSING);
            *last = fresh.or(last.filter(|_| !gone));
        }
        report.own_limit = state.limits.into_iter().flatten().min();
        if !std::mem::replace(&mut state.adopted, true) {
            // Nobody else writes it: what stands there was asked for before we were started again.
            state.stopped |= readout.stop_request == Some(1);
        }
        if state.long_read {
            state.identity = Some(readout.identity());
        }
        let mut complaints: Vec<_> = readout.complaints.into_iter().map(Complaint::Value).collect();
        if state.length > 0 {
            let (first, what) = LENGTHS[state.length];
            complaints.push(Complaint::Refused { first, last: COUNT as u16 - 1, what });
        }
        Ok(Seen { report, complaints })
    }

    async fn request(&self, register: u16, value: u16) -> Result<(), DriverError> {
        Ok(self.registers.write(register, value, Priority::SetPoint).await?)
    }

    /// Stop or start, phases, authorisation: what was asked for and is not so yet.
    async fn requests(&self, wishes: Wishes) -> Result<(), DriverError> {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_none_or(|at| now.duration_since(at) >= REPEAT);
        let (stop, phases, authorize) = {
            let mut state = self.state();
            let Ok(readout) = state.image.decode() else { return Ok(()) };
            let charging = readout.report().state == PilotState::C;
            let stop = match (wishes.open, state.stopped) {
                (true, false) => due(state.stop_refused_at).then_some(1),
                (true, true) => (charging && due(state.stop_at)).then_some(1),
                (false, stopped) => (stopped && due(state.stop_at)).then_some(2),
            };
            let wanted = wishes.phases.and_then(|count| PhaseSet::of(count, wishes.line));
            // The order may be older than this readout: a box that has just restarted offers and charges on its own.
            let rests = readout.set_point == Milliamp::ZERO
                && readout.current.iter().all(|(_, it)| it.is_none_or(|it| it < DRAWS));
            let possible = rests && readout.phase_change_possible != Some(false);
            let phases =
                wanted.filter(|wanted| possible && readout.phase_to_use != Some(*wanted) && due(state.phases_at));
            let authorize =
                wishes.authorize && !wishes.open && readout.needs_authorization() && due(state.authorize_at);
            if stop.is_some() {
                state.stop_at = Some(now);
            }
            if phases.is_some() {
                state.phases_at = Some(now);
            }
            if authorize {
                state.authorize_at = Some(now);
            }
            (stop, phases, authorize)
        };
        // One that is refused is no reason not to ask for the next.
        let mut refused = Ok(());
        if let Some(stop) = stop {
            let result = self.request(write::REQUEST_STOP, stop).await;
            {
                let mut state = self.state();
                match &result {
                    Ok(()) => (state.stopped, state.stop_refused_at) = (stop == 1, None),
                    Err(error) if error.is_refusal() => state.stop_refused_at = Some(now),
                    Err(_) => {}
                }
            }
            refused = refused.and(unless_refused(result)?);
        }
        if let Some(phases) = phases {
            let result = self.request(write::PHASE_TO_USE, phases.code()).await;
            refused = refused.and(unless_refused(result)?);
        }
        if authorize {
            let result = self.request(write::REQUEST_AUTHORIZE, 1).await;
            refused = refused.and(unless_refused(result)?);
        }
        refused
    }

    /// Programs the fail-safe timer where it is not as wanted, and reads it back.
    async fn keep_watchdog(&self, wishes: Wishes, notices: &mut Vec<Notice>) -> Result<(), DriverError> {
        let Some(wanted) = wishes.watchdog else { return Ok(()) };
        let wanted = watchdog::words(wanted);
        let step = {
            let mut state = self.state();
            let found = (state.image.word(write::COMM_TIMEOUT), state.image.word(write::FAIL_SAFE));
            state.watchdog.next(wanted, found, Instant::now())
        };
        let (timeout, fail_safe) = match step {
            Step::Nothing => return Ok(()),
            Step::Verified => {
                notices.push(Notice::Risk(None));
                return Ok(());
            }
            Step::Program { timeout, fail_safe } => (timeout, fail_safe),
        };
        let programmed = self.program(wanted, timeout, fail_safe).await;
        let mut state = self.state();
        let found = (state.image.word(write::COMM_TIMEOUT), state.image.word(write::FAIL_SAFE));
        let why = match &programmed {
            Ok(()) => format!("reads back {} s and {} A", text(found.0), text(found.1)),
            Err(error) if error.is_refusal() => error.to_string(),
            // No news of the timer: the silence is told and counted as such.
            Err(_) => return programmed,
        };
        if state.watchdog.programmed(programmed.is_ok() && found == (Some(wanted.0), Some(wanted.1)), Instant::now()) {
            let why = format!(
                "its fail-safe timer could not be set to {} s and {} A (registers 19 and 20): {why}",
                wanted.0, wanted.1
            );
            notices.push(Notice::Risk(Some(why)));
        }
        programmed
    }

    /// The current before the time: a timer that is switched on must not fall to an old figure. Both registers are kept
    /// in EEPROM, so only what differs is written.
    async fn program(&self, wanted: (u16, u16), timeout: bool, fail_safe: bool) -> Result<(), DriverError> {
        if fail_safe {
            self.registers.write(write::FAIL_SAFE, wanted.1, Priority::SetPoint).await?;
        }
        if timeout {
            self.registers.write(write::COMM_TIMEOUT, wanted.0, Priority::SetPoint).await?;
        }
        let words = self.registers.read(write::COMM_TIMEOUT, 2, Priority::Slow).await?;
        self.state().image.take(write::COMM_TIMEOUT, &words);
        Ok(())
    }
}

/// What was refused; anything else that went wrong ends the chore.
fn unless_refused(result: Result<(), DriverError>) -> Result<Result<(), DriverError>, DriverError> {
    match result {
        Err(error) if !error.is_refusal() => Err(error),
        result => Ok(result),
    }
}

fn text(word: Option<u16>) -> String {
    word.map_or_else(|| "nothing".to_owned(), |word| word.to_string())
}

impl<L: Line> ChargerDriver for TeltoCharge<L> {
    async fn poll(&self, first: bool) -> Result<Seen, DriverError> {
        let length = self.next_length(first);
        let words = match self.registers.read(0, length, Priority::Poll).await {
            Err(BusError::Exception { code: 2 | 3, .. }) if length > NEEDED => {
                self.refused();
                self.registers.read(0, NEEDED, Priority::Poll).await?
            }
            answer => {
                let words = answer?;
                self.answered(length);
                words
            }
        };
        self.take(&words)
    }

    async fn write_set_point(&self, offer: Milliamp, priority: Priority) -> Result<(), DriverError> {
        if settable(offer, STEP, HIGHEST) != offer.min(HIGHEST) {
            return Err(DriverError::SetPoint(offer));
        }
        let amps = u16::try_from(offer.min(HIGHEST).0 / STEP.0).map_err(|_| DriverError::SetPoint(offer))?;
        Ok(self.registers.write(write::AMPS_TO_USE, amps, priority).await?)
    }

    fn step(&self) -> Milliamp {
        STEP
    }

    async fn chore(&self, wishes: Wishes) -> Chore {
        let mut notices = Vec::new();
        let result = match unless_refused(self.requests(wishes).await) {
            Ok(refused) => self.keep_watchdog(wishes, &mut notices).await.and(refused),
            Err(error) => Err(error),
        };
        if let Some(identity) = self.state().identity.take() {
            notices.push(Notice::Identity(identity));
        }
        Chore { notices, result }
    }

    async fn act(&self, action: ChargerAction) -> Result<(), DriverError> {
        match action {
            ChargerAction::Authorize => self.request(write::REQUEST_AUTHORIZE, 1).await,
            ChargerAction::Lock(lock) => {
                let code = match lock {
                    Lock::Auto => 0,
                    Lock::Locked => 1,
                    Lock::Unlock => 2,
                };
                self.request(write::LOCK, code).await
            }
            ChargerAction::Reboot => self.request(write::REQUEST_REBOOT, 1).await,
        }
    }

    fn forget(&self) {
        let mut state = self.state();
        // The limits are kept until they are read again, as a stop that we asked for is still ours to take back.
        let (stopped, limits) = (state.stopped, state.limits);
        let watchdog = std::mem::take(&mut state.watchdog).after_contact();
        // A restarted box may have to be asked again.
        *state = State { stopped, limits, watchdog, ..State::default() };
    }

    fn round(&self) -> Duration {
        self.registers.line().round()
    }

    fn link(&self) -> (u64, u64) {
        self.registers.line().link()
    }
}

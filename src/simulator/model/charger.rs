//! A charger with its pilot, contactor and car, under one of the register maps.

use super::car::{Car, Obedience};
use super::evse_din::EvseDin;
use super::random::Random;
use super::teltocharge::TeltoCharge;
use crate::quantity::{Milliamp, Mono, Phase, Phases, Span};
use crate::reading::PilotState;
use crate::simulator::plan::{BoxKind, CarAtStart, ChargerPlan};

/// A Modbus exception as a box answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// 1
    IllegalFunction,
    /// 2
    IllegalDataAddress,
    /// 3
    IllegalDataValue,
}

impl Exception {
    /// As on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8 + 1
    }
}

/// What a box measures, for its registers.
#[derive(Clone, Debug)]
pub(super) struct Sensors {
    pub(super) voltage: [f64; 3],
    /// A per phase of the box.
    pub(super) draw: [f64; 3],
    /// A at the pilot.
    pub(super) offer: f64,
    pub(super) plugged: bool,
    pub(super) closed: bool,
    pub(super) finished: bool,
    pub(super) switched: [bool; 3],
    pub(super) wired_phases: usize,
    pub(super) state_for: Span,
    pub(super) session_for: Span,
    pub(super) session_wh: f64,
    pub(super) total_wh: f64,
    pub(super) serial: u32,
}

impl Sensors {
    pub(super) fn drawing(&self) -> bool {
        self.plugged && self.closed
    }

    pub(super) fn power(&self) -> f64 {
        self.draw.iter().zip(self.voltage).map(|(amps, volts)| amps * volts).sum()
    }
}

#[derive(Clone, Debug)]
enum Registers {
    TeltoCharge(TeltoCharge),
    EvseDin(EvseDin),
}

/// One charger.
#[derive(Clone, Debug)]
pub struct Charger {
    plan: ChargerPlan,
    serial: u32,
    registers: Registers,
    car: Car,
    /// At the pilot, in A.
    offer: f64,
    offer_due: Option<Mono>,
    switched: [bool; 3],
    /// Phases are being switched until then.
    switching_until: Option<Mono>,
    voltage: [f64; 3],
    state: PilotState,
    state_since: Mono,
    session_since: Mono,
    total_wh: f64,
    fed_at: Mono,
    booting_until: Option<Mono>,
    boots: u32,
}

/// Contactors stay open this long when phases are switched.
const PHASE_PAUSE: Span = Span(300);

impl Charger {
    pub(super) fn new(plan: ChargerPlan, serial: u32, random: &mut Random) -> Self {
        let boot_amps = (plan.boot_current.0 / 1000).clamp(0, 80) as u16;
        let mut registers = match plan.kind {
            BoxKind::TeltoCharge { needs_authorization, watchdog_survives_restart } => {
                Registers::TeltoCharge(TeltoCharge::new(boot_amps, needs_authorization, watchdog_survives_restart))
            }
            BoxKind::EvseDin { firmware } => Registers::EvseDin(EvseDin::new(boot_amps, firmware, plan.unit)),
        };
        if let CarAtStart::Charging(offer) = plan.car.at_start {
            match &mut registers {
                Registers::TeltoCharge(it) => {
                    it.amps_to_use = (offer.0 / 1000).clamp(0, 32) as u16;
                    it.authorized = true;
                }
                Registers::EvseDin(it) => it.set(offer.as_f64()),
            }
        }
        let car = Car::new(plan.car.clone(), random);
        let mut charger = Self {
            serial,
            registers,
            offer: 0.0,
            offer_due: None,
            switched: [false; 3],
            switching_until: None,
            voltage: [230.0; 3],
            state: PilotState::A,
            state_since: Mono(0),
            session_since: Mono(0),
            total_wh: 123_450.0,
            fed_at: Mono(0),
            booting_until: None,
            boots: 0,
            car,
            plan,
        };
        charger.offer = charger.wanted_offer(Mono(0));
        charger.switched = charger.asked_phases();
        charger.state = charger.pilot(Mono(0));
        charger
    }

    pub(super) fn step(&mut self, now: Mono, step: Span, voltage: [f64; 3], random: &mut Random) {
        self.voltage = voltage;
        if self.booting_until.is_some_and(|until| now >= until) {
            self.booting_until = None;
            // Its silence timer begins when it is up.
            self.fed_at = now;
        }
        self.switch_phases(now);
        self.drive_pilot(now);
        self.car.step(now, step, self.offer, random);
        if self.opened() {
            self.car.draw = 0.0;
        }
        let watts: f64 = self.draw().iter().zip(voltage).map(|(amps, volts)| amps * volts).sum();
        let watt_hours = watts * step.as_secs_f64() / 3600.0;
        self.total_wh += watt_hours;
        self.car.take(watt_hours);
        let state = self.pilot(now);
        if state != self.state {
            if self.state == PilotState::A {
                self.session_since = now;
            }
            self.state = state;
            self.state_since = now;
        }
        if let Registers::TeltoCharge(it) = &self.registers
            && it.reboot_asked
        {
            self.power_cycle(now);
        }
    }

    fn drive_pilot(&mut self, now: Mono) {
        let wanted = self.wanted_offer(now);
        if wanted == self.offer {
            self.offer_due = None;
        } else if self.offer_due.is_none_or(|due| now >= due) {
            if self.offer_due.take().is_some() || self.plan.response <= Span::ZERO {
                self.offer = wanted;
            } else {
                self.offer_due = Some(now + self.plan.response);
            }
        }
    }

    fn switch_phases(&mut self, now: Mono) {
        if self.switching_until.is_some_and(|until| now >= until) {
            self.switching_until = None;
            self.switched = self.asked_phases();
        }
        if self.switching_until.is_none() && self.switched != self.asked_phases() {
            self.switched = [false; 3];
            self.switching_until = Some(now + PHASE_PAUSE);
        }
    }

    fn asked_phases(&self) -> [bool; 3] {
        let mut asked = match &self.registers {
            Registers::TeltoCharge(it) => it.phases(),
            Registers::EvseDin(_) => [true; 3],
        };
        for wire in asked.iter_mut().skip(self.plan.phases.len()) {
            *wire = false;
        }
        asked
    }

    fn wanted_offer(&self, now: Mono) -> f64 {
        if self.booting_until.is_some() || self.switching_until.is_some() {
            return 0.0;
        }
        match &self.registers {
            Registers::TeltoCharge(it) => it.offer(now.since(self.fed_at)),
            Registers::EvseDin(it) => it.offer(),
        }
    }

    /// The contactor is open whatever the car wants.
    fn opened(&self) -> bool {
        let stopped = matches!(&self.registers, Registers::TeltoCharge(it) if it.stopped);
        stopped || self.booting_until.is_some() || self.switched == [false; 3]
    }

    fn pilot(&self, now: Mono) -> PilotState {
        if !self.car.plugged {
            PilotState::A
        } else if self.car.closed(now) && !self.opened() {
            PilotState::C
        } else if self.car.finished() {
            PilotState::D
        } else {
            PilotState::B
        }
    }

    fn sensors(&self, now: Mono) -> Sensors {
        Sensors {
            voltage: self.voltage,
            draw: self.draw(),
            offer: self.offer,
            plugged: self.car.plugged,
            closed: self.state == PilotState::C,
            finished: self.car.finished(),
            switched: self.switched,
            wired_phases: self.plan.phases.len(),
            state_for: now.since(self.state_since),
            session_for: if self.car.plugged { now.since(self.session_since) } else { Span::ZERO },
            session_wh: self.car.session_wh,
            total_wh: self.total_wh,
            serial: self.serial,
        }
    }

    /// Holding registers as a valid request reads them.
    ///
    /// # Errors
    /// The exception that the box answers.
    pub fn read(&self, now: Mono, first: u16, count: u16) -> Result<Vec<u16>, Exception> {
        match &self.registers {
            Registers::TeltoCharge(it) => it.read(first, count, &self.sensors(now)),
            Registers::EvseDin(it) => it.read(first, count, &self.sensors(now)),
        }
    }

    /// Holding registers as a valid request writes them.
    ///
    /// # Errors
    /// The exception that the box answers; nothing is changed then.
    pub fn write(&mut self, first: u16, words: &[u16]) -> Result<(), Exception> {
        match &mut self.registers {
            Registers::TeltoCharge(it) => it.write(first, words),
            Registers::EvseDin(it) => it.write(first, words),
        }
    }

    /// A valid telegram for this unit arrived: its silence timer starts anew.
    pub fn feed(&mut self, now: Mono) {
        self.fed_at = now;
    }

    /// Whether it answers at all: not while it starts.
    #[must_use]
    pub fn awake(&self) -> bool {
        self.booting_until.is_none()
    }

    /// Off and on again: the set-point register holds its boot value, the car starts anew.
    pub fn power_cycle(&mut self, now: Mono) {
        match &mut self.registers {
            Registers::TeltoCharge(it) => it.power_cycle(),
            Registers::EvseDin(it) => it.power_cycle(),
        }
        self.boots += 1;
        self.offer = 0.0;
        self.offer_due = None;
        self.fed_at = now;
        self.booting_until = Some(now + self.plan.boot_time);
    }

    /// Somebody else writes the set-point: another master, the maker's application.
    pub fn set_from_elsewhere(&mut self, offer: Milliamp) {
        match &mut self.registers {
            Registers::TeltoCharge(it) => it.amps_to_use = (offer.0 / 1000).clamp(0, 32) as u16,
            Registers::EvseDin(it) => it.set(offer.as_f64()),
        }
    }

    /// Sets a register from inside the box (own limits, temperature, errors); `false` for one that it does not keep.
    pub fn poke(&mut self, register: u16, word: u16) -> bool {
        match &mut self.registers {
            Registers::TeltoCharge(it) => it.poke(register, word),
            Registers::EvseDin(it) => it.poke(register, word),
        }
    }

    /// A car comes.
    pub fn plug(&mut self) {
        self.car.plug();
    }

    /// It leaves.
    pub fn unplug(&mut self) {
        self.car.unplug();
        if let Registers::TeltoCharge(it) = &mut self.registers {
            it.unplugged();
        }
    }

    /// The driver stops charging in the car, or lets it go on.
    pub fn stop_in_car(&mut self, stopped: bool) {
        self.car.stopped_by_itself = stopped;
    }

    /// How the car treats what it is offered from now on.
    pub fn obey(&mut self, obedience: Obedience) {
        self.car.obedience = obedience;
    }

    /// Content of the set-point register.
    #[must_use]
    pub fn set_point(&self) -> Milliamp {
        match &self.registers {
            Registers::TeltoCharge(it) => Milliamp::from_amps(i32::from(it.amps_to_use)),
            Registers::EvseDin(it) => Milliamp::from_f64(it.set_point()),
        }
    }

    /// Address of the set-point register.
    #[must_use]
    pub fn set_point_register(&self) -> u16 {
        match &self.registers {
            Registers::TeltoCharge(_) => 15,
            Registers::EvseDin(_) => 1000,
        }
    }

    /// What the pilot tells the car.
    #[must_use]
    pub fn offered(&self) -> Milliamp {
        Milliamp::from_f64(self.offer)
    }

    /// Programmed time-out and fail-safe current; `None` where there is no such timer.
    #[must_use]
    pub fn watchdog(&self) -> Option<(Span, Milliamp)> {
        match &self.registers {
            Registers::TeltoCharge(it) => {
                Some((Span::from_secs(i64::from(it.timeout)), Milliamp::from_amps(i32::from(it.fail_safe))))
            }
            Registers::EvseDin(_) => None,
        }
    }

    /// Its timer has run out and not been fed since.
    #[must_use]
    pub fn fallen(&self, now: Mono) -> bool {
        matches!(&self.registers, Registers::TeltoCharge(it) if it.fallen(now.since(self.fed_at)))
    }

    /// The pilot's state.
    #[must_use]
    pub fn state(&self) -> PilotState {
        self.state
    }

    /// How often it was restarted.
    #[must_use]
    pub fn boots(&self) -> u32 {
        self.boots
    }

    /// A per phase of the box.
    fn draw(&self) -> [f64; 3] {
        let mut draw = [0.0; 3];
        // A one-phase car takes the first phase that is switched through.
        let live = self.switched.iter().enumerate().filter(|&(_, &on)| on).map(|(wire, _)| wire);
        for wire in live.take(self.car.phases()) {
            draw[wire] = self.car.draw;
        }
        draw
    }

    /// A per phase of the grid.
    #[must_use]
    pub fn grid_draw(&self) -> Phases<f64> {
        let mut grid = Phases([0.0; 3]);
        for (amps, &phase) in self.draw().into_iter().zip(&self.plan.phases) {
            grid[phase] += amps;
        }
        grid
    }

    /// Voltages in the box's own order.
    pub(super) fn own_order(&self, grid: Phases<f64>) -> [f64; 3] {
        let mut own = [0.0; 3];
        for (volts, &phase) in own.iter_mut().zip(&self.plan.phases) {
            *volts = grid[phase];
        }
        own
    }

    /// Modbus unit.
    #[must_use]
    pub fn unit(&self) -> u8 {
        self.plan.unit
    }

    /// Grid phase behind its own L1, L2, L3.
    #[must_use]
    pub fn phases(&self) -> &[Phase] {
        &self.plan.phases
    }
}

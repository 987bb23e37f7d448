//! Register map of the Teltonika TeltoCharge (EVC1, EVC2) as Modbus secondary.
//!
//! Source: Teltonika Energy wiki, "Dynamic Load Balancing EVC2", section "External control", registers 0 to 44 and its
//! tables a to f. Values of several words come low word first ("word 2 = >> 16").
//!
//! Where the page is unclear this code is tolerant: `*10 A` and `*100 kWh` are read as "raw = A x 10" and
//! "raw = kWh x 100" (inferred, not stated); register 13 may hold 7 ("none") although its range ends at 6; register 28
//! is called a power but its range and use are those of a current. Not stated anywhere: the function codes.

mod tables;

use crate::command::Lock;
use crate::device::charger::register::{MAX_AMPS, MIN_AMPS, MISSING, RegisterError};
use crate::quantity::{Milliamp, Millivolt, Phases, Span, Watt, WattHour};
use crate::reading::{ChargerReport, Flags, PilotState, Watchdog};
use crate::status::Identity;
pub use tables::{ChargePointState, ERRORS, EvseStatus, IecState, LimitCause, MaxSupportedPower, PhaseSet, WARNINGS};

/// Registers of the map, 0 to 44.
pub const COUNT: usize = 45;

/// Number of registers from 0 on that a poll needs at least: voltages, currents, state, identity word, own limit,
/// set-point and watchdog.
pub const NEEDED: u16 = 21;

/// Register 9 of every TeltoCharge: "TC".
pub const EVSE_ID: u16 = 21_571;

/// Registers that are written.
pub mod write {
    /// Phase to use, see [`super::PhaseSet`].
    pub const PHASE_TO_USE: u16 = 14;
    /// Amps to use: 0, 6 to 32, whole amperes.
    pub const AMPS_TO_USE: u16 = 15;
    /// 1 stops the session, 2 starts it again.
    pub const REQUEST_STOP: u16 = 16;
    /// 1 authorises.
    pub const REQUEST_AUTHORIZE: u16 = 17;
    /// 0 automatic, 1 always locked, 2 unlock now.
    pub const LOCK: u16 = 18;
    /// Communication time-out in s, 0 to 600; 0 switches the watchdog off.
    pub const COMM_TIMEOUT: u16 = 19;
    /// Current after a communication time-out: 0, 6 to 32 A.
    pub const FAIL_SAFE: u16 = 20;
    /// 1 restarts the charger.
    pub const REQUEST_REBOOT: u16 = 21;
}

/// Longest communication time-out that register 19 takes, in s.
pub const MAX_TIMEOUT_S: i64 = 600;

/// Highest current of registers 15 and 20, in A.
const MAX_SET_POINT: u16 = 32;

/// The newest known content of each register; windows of it arrive at different rates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image([Option<u16>; COUNT]);

impl Default for Image {
    fn default() -> Self {
        Self([None; COUNT])
    }
}

/// Everything that the map says, in units of the product. `None` where the register was not read, holds no value or
/// is outside its documented range; the latter is listed in `complaints`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readout {
    /// Registers 0 to 2, whole volts.
    pub voltage: Phases<Option<Millivolt>>,
    /// Registers 3 to 5, steps of 0.1 A.
    pub current: Phases<Option<Milliamp>>,
    /// Register 6. `None`: outside the table, which is a fault.
    pub status: Option<EvseStatus>,
    /// Registers 7 and 8.
    pub status_time: Option<Span>,
    /// Register 10.
    pub three_phase_possible: Option<bool>,
    /// Register 11.
    pub phase_change_possible: Option<bool>,
    /// Register 12.
    pub amp_limit: Option<Milliamp>,
    /// Register 13.
    pub phase_connected: Option<PhaseSet>,
    /// Register 14.
    pub phase_to_use: Option<PhaseSet>,
    /// Register 15 as it stands there, also where it is none of 0, 6 to 32 A: another master may have written it.
    pub set_point: Milliamp,
    /// Register 16: 0 none, 1 stop, 2 start.
    pub stop_request: Option<u16>,
    /// Register 17.
    pub authorize_request: Option<bool>,
    /// Register 18: 0 automatic, 1 always, 2 unlock.
    pub lock_request: Option<u16>,
    /// Registers 19 and 20.
    pub watchdog: Option<Watchdog>,
    /// Register 21.
    pub reboot_request: Option<bool>,
    /// Register 22.
    pub requires_authorization: Option<bool>,
    /// Register 23, the digits after `EVC`.
    pub product_code: Option<u16>,
    /// Registers 24 and 25.
    pub serial: Option<u32>,
    /// Register 26.
    pub firmware: Option<u16>,
    /// Register 27.
    pub charge_point_state: Option<ChargePointState>,
    /// Register 28.
    pub max_from_grid: Option<Milliamp>,
    /// Register 29.
    pub user_limit: Option<Milliamp>,
    /// Register 30.
    pub locked: Option<bool>,
    /// Register 31, in tenths of a degree Celsius.
    pub temperature_tenths: Option<i16>,
    /// Register 32.
    pub ocpp_connected: Option<bool>,
    /// Register 33.
    pub iec_state: Option<IecState>,
    /// Register 34.
    pub warning: Flags,
    /// Register 35.
    pub error: Flags,
    /// Register 36.
    pub limit_cause: Option<LimitCause>,
    /// Register 37.
    pub max_supported_power: Option<MaxSupportedPower>,
    /// Register 38.
    pub power: Option<Watt>,
    /// Register 39, steps of 10 Wh.
    pub session_energy: Option<WattHour>,
    /// Register 40.
    pub session_time: Option<Span>,
    /// Registers 41 to 44, steps of 10 Wh.
    pub energy: Option<WattHour>,
    /// What was not as documented and therefore left out.
    pub complaints: Vec<RegisterError>,
}

impl Image {
    /// Takes in the answer to a read of `words.len()` registers from `first` on; what lies outside the map is ignored.
    pub fn take(&mut self, first: u16, words: &[u16]) {
        for (place, word) in self.0.iter_mut().skip(usize::from(first)).zip(words) {
            *place = Some(*word);
        }
    }

    /// From `first` on nothing is known any more.
    pub fn forget_from(&mut self, first: u16) {
        self.0.iter_mut().skip(usize::from(first)).for_each(|place| *place = None);
    }

    /// What is known of one register.
    #[must_use]
    pub fn word(&self, register: u16) -> Option<u16> {
        self.0.get(usize::from(register)).copied().flatten()
    }

    /// Everything known in units of the product.
    ///
    /// # Errors
    /// When this is no TeltoCharge (register 9), when state or set-point have no value, or when the set-point is above
    /// what any pilot can offer: then nothing of the answer is to be believed.
    pub fn decode(&self) -> Result<Readout, RegisterError> {
        let mut reader = Reader { image: self, complaints: Vec::new() };
        let id = self.word(9).unwrap_or(MISSING);
        if id != EVSE_ID {
            return Err(reader.error(9, "EVSE ID", i64::from(id), "21571 (\"TC\")"));
        }
        let status = self.word(6).filter(|it| *it != MISSING);
        let status = status.ok_or(reader.error(6, "EVSE status", i64::from(MISSING), "0 to 9"))?;
        let set_point = self.word(15).unwrap_or(MISSING);
        if set_point > MAX_AMPS {
            return Err(reader.error(15, "amps to use", i64::from(set_point), "0, 6 to 32"));
        }
        if !(set_point == 0 || (MIN_AMPS..=MAX_SET_POINT).contains(&set_point)) {
            reader.complain(15, "amps to use", i64::from(set_point), "0, 6 to 32");
        }
        if usize::from(status) >= EvseStatus::TABLE.len() {
            reader.complain(6, "EVSE status", i64::from(status), "0 to 9");
        }
        let timeout = reader.within(19, "communication timeout", 0..=600, "0 to 600 s");
        let fail_safe = reader.amps(20, "failsafe current", MAX_SET_POINT, "0, 6 to 32 A");
        let mut readout = Readout {
            voltage: Phases([0, 1, 2]).map(|register| reader.volts(register)),
            current: Phases([3, 4, 5]).map(|register| reader.tenths_of_amps(register)),
            status: EvseStatus::TABLE.get(usize::from(status)).copied(),
            status_time: reader.double(7).map(|seconds| Span::from_secs(i64::from(seconds))),
            three_phase_possible: reader.flag(10, "EVSE 3ph config"),
            phase_change_possible: reader.flag(11, "phase change"),
            amp_limit: reader.amps(12, "amp limit", MAX_SET_POINT, "0, 6 to 32 A"),
            phase_connected: reader.entry(13, "phase connected", &PhaseSet::TABLE, "0 to 7"),
            phase_to_use: reader.entry(14, "phase to use", &PhaseSet::TABLE, "0 to 7"),
            set_point: Milliamp::from_amps(i32::from(set_point)),
            stop_request: reader.within(16, "request stop charging", 0..=2, "0 to 2"),
            authorize_request: reader.flag(17, "request authorize"),
            lock_request: reader.within(18, "lock/unlock socket", 0..=2, "0 to 2"),
            watchdog: timeout
                .zip(fail_safe)
                .map(|(timeout, fail_safe)| Watchdog { timeout: Span::from_secs(i64::from(timeout)), fail_safe }),
            reboot_request: reader.flag(21, "request reboot"),
            requires_authorization: reader.flag(22, "require authorization"),
            product_code: reader.within(23, "product code", 0..=9999, "0 to 9999"),
            serial: reader.double(24),
            firmware: reader.within(26, "FW version", 11_200..=29_999, "11200 to 29999"),
            charge_point_state: reader.entry(27, "charge point state", &ChargePointState::TABLE, "0 to 9"),
            max_from_grid: reader.plain_amps(28, "max power from grid", 6..=1000, "6 to 1000 A"),
            user_limit: reader.plain_amps(29, "user settable max current", MIN_AMPS..=MAX_SET_POINT, "6 to 32 A"),
            locked: reader.flag(30, "lock status"),
            temperature_tenths: reader.temperature(),
            ocpp_connected: reader.flag(32, "OCPP connected"),
            iec_state: reader.entry(33, "IEC state", &IecState::TABLE, "0 to 8"),
            warning: Flags { bits: reader.value(34), names: WARNINGS },
            error: Flags { bits: reader.value(35), names: ERRORS },
            limit_cause: reader.entry(36, "current limit cause", &LimitCause::TABLE, "0 to 8"),
            max_supported_power: reader.entry(37, "max supported power", &MaxSupportedPower::TABLE, "0 to 2"),
            power: reader.value(38).map(|watts| Watt(i32::from(watts))),
            session_energy: reader.value(39).map(|tens| WattHour(i64::from(tens) * 10)),
            session_time: reader.value(40).map(|seconds| Span::from_secs(i64::from(seconds))),
            energy: reader.total_energy(),
            complaints: Vec::new(),
        };
        readout.complaints = reader.complaints;
        Ok(readout)
    }
}

impl Readout {
    /// The part of a report that comes from the registers; its times are the caller's.
    #[must_use]
    pub fn report(&self) -> ChargerReport {
        let own_limit = match (self.amp_limit, self.user_limit) {
            (Some(box_limit), Some(user)) => Some(box_limit.min(user)),
            (one, other) => one.or(other),
        };
        ChargerReport {
            state: self.status.map_or(PilotState::F, EvseStatus::pilot),
            needs_authorization: self.needs_authorization(),
            set_point: Some(self.set_point),
            own_limit,
            own_limit_cause: self.limit_cause.and_then(LimitCause::own_limit),
            current: self.current,
            voltage: self.voltage,
            power: self.power,
            energy: self.energy,
            session_energy: self.session_energy,
            phases_connected: self.phases_in_use(),
            lock: self.lock_request.and_then(|code| Lock::ALL.get(usize::from(code)).copied()),
            can_switch_phases: self.phase_change_possible.filter(|_| self.three_phase_possible != Some(false)),
            watchdog: self.watchdog,
            fault: self.error,
            warning: self.warning,
            ..ChargerReport::default()
        }
    }

    /// A car is there and somebody must authorise it. Table a says so at once; tables b and c only count where
    /// register 22 says that authorisation is required, because b 1 and c B1 are passed through without it too.
    #[must_use]
    pub fn needs_authorization(&self) -> bool {
        let plugged = self.status.is_some_and(|status| status.pilot() == PilotState::B);
        self.status == Some(EvseStatus::NotAuthorized)
            || plugged
                && self.requires_authorization == Some(true)
                && (self.charge_point_state == Some(ChargePointState::AwaitingPermission)
                    || self.iec_state == Some(IecState::B1))
    }

    /// What is switched through; before anything is, what is to be used.
    fn phases_in_use(&self) -> Option<u8> {
        let some = |set: Option<PhaseSet>| set.map(PhaseSet::count).filter(|count| *count > 0);
        some(self.phase_connected).or_else(|| some(self.phase_to_use))
    }

    /// Who it says it is, as far as it was read.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            manufacturer: Some("Teltonika".to_owned()),
            model: Some(self.product_code.map_or("TeltoCharge".to_owned(), |code| format!("TeltoCharge EVC{code:04}"))),
            serial: self.serial.map(|serial| serial.to_string()),
            firmware: self.firmware.map(|firmware| firmware.to_string()),
        }
    }
}

struct Reader<'a> {
    image: &'a Image,
    complaints: Vec<RegisterError>,
}

impl Reader<'_> {
    fn error(&self, register: u16, name: &'static str, value: i64, allowed: &'static str) -> RegisterError {
        RegisterError { register, name, value, allowed }
    }

    fn complain(&mut self, register: u16, name: &'static str, value: i64, allowed: &'static str) {
        self.complaints.push(RegisterError { register, name, value, allowed });
    }

    fn value(&self, register: u16) -> Option<u16> {
        self.image.word(register).filter(|value| *value != MISSING)
    }

    fn within(
        &mut self,
        register: u16,
        name: &'static str,
        range: std::ops::RangeInclusive<u16>,
        allowed: &'static str,
    ) -> Option<u16> {
        let value = self.value(register)?;
        if !range.contains(&value) {
            self.complain(register, name, i64::from(value), allowed);
            return None;
        }
        Some(value)
    }

    fn flag(&mut self, register: u16, name: &'static str) -> Option<bool> {
        self.within(register, name, 0..=1, "0 or 1").map(|value| value == 1)
    }

    fn entry<T: Copy>(&mut self, register: u16, name: &'static str, table: &[T], allowed: &'static str) -> Option<T> {
        let value = self.value(register)?;
        let entry = table.get(usize::from(value)).copied();
        if entry.is_none() {
            self.complain(register, name, i64::from(value), allowed);
        }
        entry
    }

    fn plain_amps(
        &mut self,
        register: u16,
        name: &'static str,
        range: std::ops::RangeInclusive<u16>,
        allowed: &'static str,
    ) -> Option<Milliamp> {
        self.within(register, name, range, allowed).map(|amps| Milliamp::from_amps(i32::from(amps)))
    }

    /// 0, or 6 A and up.
    fn amps(&mut self, register: u16, name: &'static str, max: u16, allowed: &'static str) -> Option<Milliamp> {
        if self.value(register) == Some(0) {
            return Some(Milliamp::ZERO);
        }
        self.plain_amps(register, name, MIN_AMPS..=max, allowed)
    }

    fn volts(&mut self, register: u16) -> Option<Millivolt> {
        self.within(register, "voltage", 0..=500, "0 to 500 V").map(|volts| Millivolt(i32::from(volts) * 1000))
    }

    /// A charger draws; what a transformer's noise can show below zero is bounded to 1 A.
    fn tenths_of_amps(&mut self, register: u16) -> Option<Milliamp> {
        let tenths = self.value(register)?.cast_signed();
        if !(-10..=1000).contains(&tenths) {
            self.complain(register, "current", i64::from(tenths), "-10 to 1000 (0.1 A)");
            return None;
        }
        Some(Milliamp(i32::from(tenths) * 100))
    }

    /// The only register where 0xFFFF (-0.1 degrees) is an ordinary value.
    fn temperature(&mut self) -> Option<i16> {
        let tenths = self.image.word(31)?.cast_signed();
        if !(-400..=1250).contains(&tenths) {
            self.complain(31, "internal temperature", i64::from(tenths), "-400 to 1250 (0.1 degrees Celsius)");
            return None;
        }
        Some(tenths)
    }

    fn double(&self, register: u16) -> Option<u32> {
        let low = self.image.word(register)?;
        let high = self.image.word(register + 1)?;
        Some(u32::from(low) | u32::from(high) << 16).filter(|value| *value != u32::MAX)
    }

    fn total_energy(&mut self) -> Option<WattHour> {
        let mut value = 0_u64;
        for (place, register) in (41..=44).enumerate() {
            value |= u64::from(self.image.word(register)?) << (16 * place);
        }
        if value == u64::MAX {
            return None;
        }
        // 10^12 Wh is what the largest charger could deliver in a thousand years: more is a broken word order.
        let tens = i64::try_from(value).ok().filter(|tens| *tens <= 100_000_000_000);
        if tens.is_none() {
            self.complain(
                41,
                "total kWh supplied",
                i64::try_from(value).unwrap_or(i64::MAX),
                "0 to 100000000000 (0.01 kWh)",
            );
        }
        tens.map(|tens| WattHour(tens * 10))
    }
}

#[cfg(test)]
mod tests;

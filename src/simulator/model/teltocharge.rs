//! TeltoCharge as secondary: the register map of its maker's page "External control", with the checks a box makes.

use super::charger::{Exception, Sensors};
use crate::quantity::Span;

/// Highest register.
const LAST: u16 = 44;
/// Highest current of the box, A.
const HARDWARE_A: u16 = 32;

/// Registers that somebody sets, and the box's own condition.
#[derive(Clone, Debug)]
pub(super) struct TeltoCharge {
    /// 12: installer's limit.
    pub(super) amp_limit: u16,
    /// 14.
    phase_to_use: u16,
    /// 15.
    pub(super) amps_to_use: u16,
    /// 16, as last written.
    stop_request: u16,
    /// A stop was asked for and not taken back.
    pub(super) stopped: bool,
    /// 18.
    lock: u16,
    /// 19, in s.
    pub(super) timeout: u16,
    /// 20.
    pub(super) fail_safe: u16,
    /// 22.
    needs_authorization: bool,
    /// 17 was written in this session.
    pub(super) authorized: bool,
    /// 28.
    grid_limit: u16,
    /// 29.
    user_limit: u16,
    /// 31, in 0.1 °C.
    temperature: i16,
    /// 34.
    warnings: u16,
    /// 35.
    errors: u16,
    /// 21 was written.
    pub(super) reboot_asked: bool,
    boot_amps: u16,
    watchdog_survives: bool,
}

impl TeltoCharge {
    pub(super) fn new(boot_amps: u16, needs_authorization: bool, watchdog_survives: bool) -> Self {
        Self {
            amp_limit: HARDWARE_A,
            phase_to_use: 6,
            amps_to_use: boot_amps,
            stop_request: 0,
            stopped: false,
            lock: 0,
            timeout: 30,
            fail_safe: 6,
            needs_authorization,
            authorized: !needs_authorization,
            grid_limit: 1000,
            user_limit: HARDWARE_A,
            temperature: 241,
            warnings: 0,
            errors: 0,
            reboot_asked: false,
            boot_amps,
            watchdog_survives,
        }
    }

    pub(super) fn power_cycle(&mut self) {
        self.amps_to_use = self.boot_amps;
        self.stop_request = 0;
        self.stopped = false;
        self.authorized = !self.needs_authorization;
        self.reboot_asked = false;
        if !self.watchdog_survives {
            self.timeout = 30;
            self.fail_safe = 6;
        }
    }

    pub(super) fn unplugged(&mut self) {
        self.stopped = false;
        self.authorized = !self.needs_authorization;
        if self.lock == 2 {
            self.lock = 0;
        }
    }

    /// Current for the pilot in A; `silence` is the time since the last valid telegram.
    pub(super) fn offer(&self, silence: Span) -> f64 {
        if self.errors != 0 || self.stopped || !self.authorized || self.phase_to_use == 7 {
            return 0.0;
        }
        let asked = if self.fallen(silence) { self.fail_safe } else { self.amps_to_use };
        f64::from(asked.min(self.own_limit()))
    }

    /// The communication time-out has passed.
    pub(super) fn fallen(&self, silence: Span) -> bool {
        self.timeout > 0 && silence > Span::from_secs(i64::from(self.timeout))
    }

    fn own_limit(&self) -> u16 {
        self.amp_limit.min(self.user_limit).min(self.grid_limit)
    }

    /// How many of the box's phases are switched through, and which.
    pub(super) fn phases(&self) -> [bool; 3] {
        match self.phase_to_use {
            0 => [true, false, false],
            1 => [false, true, false],
            2 => [false, false, true],
            3 => [true, true, false],
            4 => [true, false, true],
            5 => [false, true, true],
            7 => [false; 3],
            _ => [true; 3],
        }
    }

    pub(super) fn read(&self, first: u16, count: u16, sensors: &Sensors) -> Result<Vec<u16>, Exception> {
        let end = first.checked_add(count).filter(|&end| end <= LAST + 1).ok_or(Exception::IllegalDataAddress)?;
        Ok((first..end).map(|register| self.register(register, sensors)).collect())
    }

    fn register(&self, register: u16, sensors: &Sensors) -> u16 {
        let word = |value: u64, place: u32| (value >> (16 * place)) as u16;
        let state_seconds = sensors.state_for.0.max(0) as u64 / 1000;
        let charging = sensors.drawing();
        match register {
            0..=2 => sensors.voltage[usize::from(register)].round() as u16,
            3..=5 => (sensors.draw[usize::from(register - 3)] * 10.0).round() as u16,
            6 => self.evse_status(sensors),
            7 => word(state_seconds, 0),
            8 => word(state_seconds, 1),
            9 => 0x5443,
            10 | 11 => u16::from(sensors.wired_phases == 3),
            12 => self.amp_limit,
            13 => self.phases_connected(sensors),
            14 => self.phase_to_use,
            15 => self.amps_to_use,
            16 => self.stop_request,
            18 => self.lock,
            19 => self.timeout,
            20 => self.fail_safe,
            22 => u16::from(self.needs_authorization),
            23 => 1210,
            24 => word(u64::from(sensors.serial), 0),
            25 => word(u64::from(sensors.serial), 1),
            26 => 11_506,
            27 => self.charge_point_state(sensors),
            28 => self.grid_limit,
            29 => self.user_limit,
            30 => u16::from(self.lock == 1 || (self.lock == 0 && sensors.plugged)),
            31 => self.temperature as u16,
            33 => self.iec_state(sensors),
            34 => self.warnings,
            35 => self.errors,
            36 => self.limit_cause(),
            37 => 2 * u16::from(sensors.wired_phases == 3),
            38 if charging => sensors.power().round().min(65_535.0) as u16,
            39 => (sensors.session_wh / 10.0).min(65_535.0) as u16,
            40 => (sensors.session_for.0.max(0) / 1000).min(65_535) as u16,
            41..=44 => word((sensors.total_wh / 10.0) as u64, u32::from(register - 41)),
            // 17 and 21 are requests and read as nothing asked; 32: no back office.
            _ => 0,
        }
    }

    fn evse_status(&self, sensors: &Sensors) -> u16 {
        if self.errors != 0 {
            8
        } else if !sensors.plugged {
            7
        } else if !self.authorized {
            5
        } else if sensors.drawing() {
            0
        } else if sensors.finished {
            4
        } else if sensors.offer > 0.0 {
            1
        } else if sensors.session_wh > 0.0 {
            2
        } else {
            3
        }
    }

    fn charge_point_state(&self, sensors: &Sensors) -> u16 {
        if self.errors != 0 {
            7
        } else if !sensors.plugged {
            0
        } else if !self.authorized {
            1
        } else if self.stopped {
            6
        } else if sensors.drawing() {
            3
        } else if sensors.finished {
            5
        } else if sensors.offer > 0.0 {
            2
        } else {
            4
        }
    }

    fn iec_state(&self, sensors: &Sensors) -> u16 {
        if self.errors != 0 {
            8
        } else if !sensors.plugged {
            0
        } else if sensors.drawing() {
            if sensors.offer > 0.0 { 4 } else { 3 }
        } else if sensors.offer > 0.0 {
            2
        } else {
            1
        }
    }

    fn limit_cause(&self) -> u16 {
        let limit = self.own_limit();
        if self.amps_to_use < limit {
            6
        } else if limit == self.user_limit && self.user_limit < HARDWARE_A {
            2
        } else if limit == self.grid_limit {
            1
        } else {
            0
        }
    }

    fn phases_connected(&self, sensors: &Sensors) -> u16 {
        match sensors.switched {
            [false, false, false] => 7,
            [true, false, false] => 0,
            [false, true, false] => 1,
            [false, false, true] => 2,
            [true, true, false] => 3,
            [true, false, true] => 4,
            [false, true, true] => 5,
            [true, true, true] => 6,
        }
    }

    /// Checks every word first: a telegram with one wrong word changes nothing.
    pub(super) fn write(&mut self, first: u16, words: &[u16]) -> Result<(), Exception> {
        let numbered = || words.iter().enumerate().map(|(at, &word)| (usize::from(first) + at, word));
        for (register, word) in numbered() {
            let allowed = match register {
                14 => word <= 7,
                15 | 20 => word == 0 || (6..=HARDWARE_A).contains(&word),
                16 | 18 => word <= 2,
                17 | 21 => word <= 1,
                19 => word <= 600,
                _ => return Err(Exception::IllegalDataAddress),
            };
            if !allowed {
                return Err(Exception::IllegalDataValue);
            }
        }
        for (register, word) in numbered() {
            self.set(register, word);
        }
        Ok(())
    }

    fn set(&mut self, register: usize, word: u16) {
        match register {
            14 => self.phase_to_use = word,
            15 => self.amps_to_use = word,
            16 => {
                self.stop_request = word;
                match word {
                    1 => self.stopped = true,
                    2 => self.stopped = false,
                    _ => {}
                }
            }
            17 if word == 1 => self.authorized = true,
            18 => self.lock = word,
            19 => self.timeout = word,
            20 => self.fail_safe = word,
            21 if word == 1 => self.reboot_asked = true,
            _ => {}
        }
    }

    /// Sets any register from inside, as the maker's application or the weather would; `false` for one that is not kept.
    pub(super) fn poke(&mut self, register: u16, word: u16) -> bool {
        match register {
            12 => self.amp_limit = word,
            22 => {
                self.needs_authorization = word != 0;
                self.authorized = word == 0;
            }
            28 => self.grid_limit = word,
            29 => self.user_limit = word,
            31 => self.temperature = word as i16,
            34 => self.warnings = word,
            35 => self.errors = word,
            14..=21 => self.set(usize::from(register), word),
            _ => return false,
        }
        true
    }
}

//! EVSE-DIN and EVSE-WB: the register map as public controllers use it. No watchdog: what was written stays.

use super::charger::{Exception, Sensors};

/// First firmware with a resolution of 0.01 A.
const FINE_FIRMWARE: u16 = 17;
/// Bit 7 of 2005.
const FINE: u16 = 1 << 7;
/// Bits 13 and 14 of 2005: charging is disabled.
const DISABLED: u16 = (1 << 13) | (1 << 14);

/// Registers that somebody sets.
#[derive(Clone, Debug)]
pub(super) struct EvseDin {
    firmware: u16,
    /// 1000, in 0.01 A whatever the unit on the wire is.
    set_point: u32,
    /// 1004.
    command: u16,
    /// 1002 reads 5.
    failure: bool,
    /// 2000, whole ampere.
    boot_amps: u16,
    /// 2001.
    address: u16,
    /// 2002.
    minimum: u16,
    /// 2005.
    config: u16,
    /// 2003, 2004, 2006, 2007: kept, without effect here.
    kept: [u16; 4],
    presets: [u16; 8],
}

impl EvseDin {
    pub(super) fn new(boot_amps: u16, firmware: u16, unit: u8) -> Self {
        Self {
            firmware,
            set_point: u32::from(boot_amps) * 100,
            command: 0,
            failure: false,
            boot_amps,
            address: u16::from(unit),
            minimum: 6,
            config: 0,
            kept: [0, 0, 0, 32],
            presets: [6, 10, 16, 25, 32, 48, 63, 80],
        }
    }

    pub(super) fn power_cycle(&mut self) {
        self.set_point = u32::from(self.boot_amps) * 100;
        self.command = 0;
    }

    /// The set-point in A.
    pub(super) fn set_point(&self) -> f64 {
        f64::from(self.set_point) / 100.0
    }

    /// Sets the set-point from inside, as somebody in a car park at the buttons would.
    pub(super) fn set(&mut self, amps: f64) {
        self.set_point = (amps * 100.0).round().max(0.0) as u32;
    }

    /// Current for the pilot in A.
    pub(super) fn offer(&self) -> f64 {
        let off = self.failure || self.command & 1 != 0 || self.config & DISABLED != 0;
        if off || self.set_point < 600 { 0.0 } else { self.set_point() }
    }

    fn fine(&self) -> bool {
        self.firmware >= FINE_FIRMWARE && self.config & FINE != 0
    }

    /// A current in the unit that the wire has now.
    fn wire(&self, hundredths: u32) -> u16 {
        let value = if self.fine() { hundredths } else { hundredths / 100 };
        u16::try_from(value).unwrap_or(u16::MAX)
    }

    pub(super) fn read(&self, first: u16, count: u16, sensors: &Sensors) -> Result<Vec<u16>, Exception> {
        (0..count)
            .map(|at| first.checked_add(at).and_then(|register| self.register(register, sensors)))
            .collect::<Option<Vec<u16>>>()
            .ok_or(Exception::IllegalDataAddress)
    }

    fn register(&self, register: u16, sensors: &Sensors) -> Option<u16> {
        Some(match register {
            1000 => self.wire(self.set_point),
            1001 => self.wire((sensors.offer * 100.0).round() as u32),
            1002 if self.failure => 5,
            1002 if !sensors.plugged => 1,
            1002 if sensors.drawing() => 3,
            1002 => 2,
            1003 => self.kept[3],
            1004 => self.command,
            1005 => self.firmware,
            1006 if self.offer() > 0.0 => 2,
            1006 if self.command & 1 != 0 => 3,
            1006 => 1,
            1007 => 0,
            2000 => self.boot_amps,
            2001 => self.address,
            2002 => self.minimum,
            2003 | 2004 => self.kept[usize::from(register - 2003)],
            2005 => self.config,
            2006 | 2007 => self.kept[usize::from(register - 2004)],
            2009 => 3,
            2010..=2017 => self.presets[usize::from(register - 2010)],
            _ => return None,
        })
    }

    /// Checks every word first: a telegram with one wrong word changes nothing.
    pub(super) fn write(&mut self, first: u16, words: &[u16]) -> Result<(), Exception> {
        let numbered = || words.iter().zip(first..).map(|(&word, register)| (register, word));
        let highest = u32::from(self.presets[7]) * 100;
        for (register, word) in numbered() {
            let allowed = match register {
                1000 => {
                    let hundredths = self.hundredths(word);
                    hundredths == 0 || (u32::from(self.minimum) * 100..=highest).contains(&hundredths)
                }
                1004 => true,
                2000 => word == 0 || u32::from(word) * 100 <= highest,
                2001 => word <= 247,
                2002..=2007 | 2010..=2017 => true,
                _ => return Err(Exception::IllegalDataAddress),
            };
            if !allowed {
                return Err(Exception::IllegalDataValue);
            }
        }
        for (register, word) in numbered() {
            match register {
                1000 => self.set_point = self.hundredths(word),
                _ => {
                    self.poke(register, word);
                }
            }
        }
        Ok(())
    }

    fn hundredths(&self, word: u16) -> u32 {
        if self.fine() { u32::from(word) } else { u32::from(word) * 100 }
    }

    /// Sets any register from inside; 1002 takes 5 for a failure and anything else for none.
    pub(super) fn poke(&mut self, register: u16, word: u16) -> bool {
        match register {
            1000 => self.set_point = self.hundredths(word),
            1002 => self.failure = word == 5,
            1004 => self.command = word,
            2000 => self.boot_amps = word,
            2001 => self.address = word,
            2002 => self.minimum = word,
            2003 | 2004 => self.kept[usize::from(register - 2003)] = word,
            2005 if self.firmware < FINE_FIRMWARE => self.config = word & !FINE,
            2005 => self.config = word,
            2006 | 2007 => self.kept[usize::from(register - 2004)] = word,
            2010..=2017 => self.presets[usize::from(register - 2010)] = word,
            _ => return false,
        }
        true
    }
}

//! What the simulated meter says, as a DSMR 5 telegram.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::codec::p1;
use crate::quantity::Phase;

/// One sample of the main fuse.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Unix seconds for the telegram's own time; `None`: it carries none.
    pub(super) stamp: Option<i64>,
    /// A, import positive; P1 sends the size only. `None`: the phase is missing.
    pub(super) current: [Option<f64>; 3],
    /// W, import positive.
    pub(super) power: [Option<f64>; 3],
    /// V
    pub(super) voltage: [Option<f64>; 3],
    /// Wh
    pub(super) import: f64,
    /// Wh
    pub(super) export: f64,
    pub(super) current_decimals: u8,
    /// It says the power of all phases together, and nothing of each.
    pub(super) totals_only: bool,
}

impl Sample {
    /// The telegram with its CRC.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut lines = vec!["1-3:0.2.8(50)".to_owned()];
        if let Some(stamp) = self.stamp {
            lines.push(format!("0-0:1.0.0({})", winter_time(stamp)));
        }
        lines.push("0-0:96.1.1(4530303031303030303030303030303136)".to_owned());
        // Everything is counted at the normal tariff.
        for (code, watt_hours) in
            [("1.8.1", 1_234_567.0), ("1.8.2", self.import), ("2.8.1", 98_765.0), ("2.8.2", self.export)]
        {
            lines.push(format!("1-0:{code}({:010.3}*kWh)", watt_hours / 1000.0));
        }
        lines.push("0-0:96.14.0(0002)".to_owned());
        let total: f64 = self.power.iter().flatten().sum();
        lines.push(format!("1-0:1.7.0({:06.3}*kW)", total.max(0.0) / 1000.0));
        lines.push(format!("1-0:2.7.0({:06.3}*kW)", (-total).max(0.0) / 1000.0));
        let told = if self.totals_only { 0 } else { 3 };
        for (phase, base) in Phase::ALL.into_iter().zip([20, 40, 60]).take(told) {
            let at = phase.index();
            if let Some(volts) = self.voltage[at] {
                lines.push(format!("1-0:{}.7.0({volts:05.1}*V)", base + 12));
            }
            if let Some(amps) = self.current[at] {
                let amps = amps.abs();
                lines.push(match self.current_decimals {
                    0 => format!("1-0:{}.7.0({amps:03.0}*A)", base + 11),
                    decimals => {
                        let (width, decimals) = (usize::from(decimals) + 4, usize::from(decimals));
                        format!("1-0:{}.7.0({amps:0width$.decimals$}*A)", base + 11)
                    }
                });
            }
            if let Some(watts) = self.power[at] {
                lines.push(format!("1-0:{}.7.0({:06.3}*kW)", base + 1, watts.max(0.0) / 1000.0));
                lines.push(format!("1-0:{}.7.0({:06.3}*kW)", base + 2, (-watts).max(0.0) / 1000.0));
            }
        }
        lines.push("0-1:24.1.0(003)".to_owned());
        lines.push("0-1:96.1.0(4730303339303031393330303030303139)".to_owned());
        if let Some(stamp) = self.stamp {
            // A gas meter reports once in five minutes.
            lines.push(format!("0-1:24.2.1({})(04321.098*m3)", winter_time(stamp - stamp.rem_euclid(300))));
        }
        p1::encode("/GKP5SIMULATED-HOUSE", lines)
    }
}

/// `YYMMDDhhmmssW`: as meters do that keep winter time (UTC + 1 h) all the year.
fn winter_time(unix: i64) -> String {
    let zone = TimeZone::fixed(Offset::constant(1));
    let at = Timestamp::from_second(unix).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone);
    format!("{}W", at.strftime("%y%m%d%H%M%S"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::crc;

    fn sample() -> Sample {
        Sample {
            stamp: Some(1_780_000_000),
            current: [Some(3.456), Some(-2.0), Some(17.5)],
            power: [Some(794.0), Some(-460.0), Some(4000.0)],
            voltage: [Some(229.8), Some(230.3), Some(227.4)],
            import: 4_567_890.0,
            export: 12_345.0,
            current_decimals: 2,
            totals_only: false,
        }
    }

    #[test]
    fn it_carries_size_of_current_direction_in_power_and_a_right_crc() {
        let telegram = sample().encode();
        let text = String::from_utf8(telegram.clone()).unwrap();
        for line in [
            "0-0:1.0.0(260528212640W)",
            "1-0:1.8.2(004567.890*kWh)",
            "1-0:1.7.0(04.334*kW)",
            "1-0:2.7.0(00.000*kW)",
            "1-0:31.7.0(003.46*A)",
            "1-0:51.7.0(002.00*A)",
            "1-0:71.7.0(017.50*A)",
            "1-0:41.7.0(00.000*kW)",
            "1-0:42.7.0(00.460*kW)",
            "1-0:72.7.0(227.4*V)",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line} is not in\n{text}");
        }
        let mark = telegram.iter().rposition(|&byte| byte == b'!').unwrap();
        assert_eq!(text[mark + 1..], format!("{:04X}\r\n", crc::ARC.of(&telegram[..=mark])));
    }

    #[test]
    fn whole_amperes_and_missing_phases_are_written_as_meters_do() {
        let mut sample = Sample { current_decimals: 0, stamp: None, ..sample() };
        sample.current[1] = None;
        sample.power[1] = None;
        sample.voltage[1] = None;
        let text = String::from_utf8(sample.encode()).unwrap();
        assert!(text.contains("1-0:31.7.0(003*A)\r\n") && text.contains("1-0:71.7.0(018*A)\r\n"), "{text}");
        assert!(!text.contains("1-0:51.7.0") && !text.contains("1-0:1.0.0"), "{text}");
    }
}

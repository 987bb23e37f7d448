//! In which order a wire is looked through.

use std::fmt;
use std::path::Path;

use crate::config::model::{Connection, Parity, SerialLine};

/// One way a line may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop: u8,
}

/// What meters and chargers ship with, the most frequent first: most of them; Inepro; SDM120, DDSU666; PAC; others;
/// Smart-stuff; Iskra; ADW300.
const SETTINGS: [Setting; 10] = [
    Setting::new(9600, Parity::None, 1),
    Setting::new(9600, Parity::Even, 1),
    Setting::new(19_200, Parity::None, 1),
    Setting::new(19_200, Parity::Even, 1),
    Setting::new(2400, Parity::None, 1),
    Setting::new(19_200, Parity::None, 2),
    Setting::new(9600, Parity::None, 2),
    Setting::new(38_400, Parity::Even, 1),
    Setting::new(115_200, Parity::None, 1),
    Setting::new(1200, Parity::None, 1),
];

/// Factory addresses, and the first ones that installers give.
const LIKELY: [u8; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 33, 43, 71, 126, 247];
/// Units of things on the network: of their own, behind a GEN24, a Datamanager, KOSTAL, Siemens.
const NETWORK: [u8; 9] = [1, 2, 3, 200, 240, 71, 126, 33, 247];

impl Setting {
    const fn new(baud: u32, parity: Parity, stop: u8) -> Self {
        Self { baud, parity, stop }
    }

    /// The port with this setting.
    pub(super) fn connection(self, path: &Path) -> Connection {
        Connection::Serial(SerialLine {
            path: path.to_owned(),
            baud: Some(self.baud),
            parity: Some(self.parity),
            stop: Some(self.stop),
        })
    }

    /// The same as it is written in the configuration.
    pub(super) fn connection_text(self, path: &Path) -> String {
        let parity = match self.parity {
            Parity::None => "none",
            Parity::Even => "even",
            Parity::Odd => "odd",
        };
        format!("serial://{}?baud={}&parity={parity}&stop={}", path.display(), self.baud, self.stop)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} 8{parity}{}", self.baud, self.stop)
    }
}

/// One address at one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How the line is set.
    pub setting: Setting,
    /// Who is asked.
    pub unit: u8,
}

/// First the likely addresses at every setting, then all others. What the line names is not varied. The order never
/// changes, so that a step's number says where a scan was interrupted.
pub(super) fn serial_steps(line: &SerialLine) -> Vec<Step> {
    let fits = |it: &Setting| {
        line.baud.is_none_or(|baud| baud == it.baud)
            && line.parity.is_none_or(|parity| parity == it.parity)
            && line.stop.is_none_or(|stop| stop == it.stop)
    };
    let mut settings: Vec<Setting> = SETTINGS.into_iter().filter(fits).collect();
    if settings.is_empty() {
        let parity = line.parity.unwrap_or(Parity::None);
        settings.push(Setting { baud: line.baud.unwrap_or(9600), parity, stop: line.stop.unwrap_or(1) });
    }
    let rest = |unit: &u8| !LIKELY.contains(unit);
    let likely = settings.iter().flat_map(|&setting| LIKELY.into_iter().map(move |unit| Step { setting, unit }));
    let others = settings.iter().flat_map(|&setting| (1..=247).filter(rest).map(move |unit| Step { setting, unit }));
    likely.chain(others).collect()
}

/// Units behind a host: the likely ones, then all others where they are asked for; always in the same order. Behind a
/// converter that passes RTU on (`raw`) there is a line.
pub(super) fn network_units(raw: bool, all: bool) -> Vec<u8> {
    let likely: &[u8] = if raw { &LIKELY } else { &NETWORK };
    let others = (1..=247).filter(|unit| all && !likely.contains(unit));
    likely.iter().copied().chain(others).collect()
}

/// Units that are asked as well once a gateway has said that it is one: those of a line.
pub(super) fn behind_gateway(asked: &[u8]) -> Vec<u8> {
    LIKELY.into_iter().filter(|unit| !asked.contains(unit)).collect()
}

/// Whether somebody is often at this address of a line.
pub(super) fn is_likely(unit: u8) -> bool {
    LIKELY.contains(&unit) || NETWORK.contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(baud: Option<u32>, parity: Option<Parity>) -> SerialLine {
        SerialLine { path: "/dev/ttyUSB0".into(), baud, parity, stop: None }
    }

    #[test]
    fn every_address_at_every_setting_comes_once_and_the_likely_ones_first() {
        let steps = serial_steps(&line(None, None));
        assert_eq!(steps.len(), SETTINGS.len() * 247);
        assert_eq!(steps[0], Step { setting: SETTINGS[0], unit: 1 });
        assert_eq!(steps[15], Step { setting: SETTINGS[1], unit: 1 });
        let mut seen: Vec<(String, u8)> = steps.iter().map(|it| (it.setting.to_string(), it.unit)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), steps.len());
        assert!(!SETTINGS.iter().any(|it| !(1200..=115_200).contains(&it.baud)));
    }

    #[test]
    fn what_the_line_names_is_not_varied() {
        assert!(serial_steps(&line(Some(19_200), None)).iter().all(|it| it.setting.baud == 19_200));
        let odd = serial_steps(&line(Some(57_600), Some(Parity::Odd)));
        assert_eq!((odd.len(), odd[0].setting.to_string()), (247, "57600 8O1".to_owned()));
        let text = odd[0].setting.connection_text(Path::new("/dev/ttyUSB0"));
        assert_eq!(text, "serial:///dev/ttyUSB0?baud=57600&parity=odd&stop=1");
    }

    #[test]
    fn every_factory_address_of_a_model_is_among_the_likely_ones() {
        for model in crate::config::meter_models::embedded() {
            let Some(unit) = model.transport.unit else { continue };
            assert!(!model.transport.rtu || model.transport.port.is_some() || LIKELY.contains(&unit), "{}", model.id);
            assert!(!model.transport.tcp || NETWORK.contains(&unit), "{}", model.id);
        }
    }

    #[test]
    fn every_factory_setting_of_a_model_is_tried() {
        for model in crate::config::meter_models::embedded() {
            let it = &model.transport;
            let (Some(baud), Some(parity), Some(stop)) = (it.baud, it.parity, it.stop) else { continue };
            let shown = format!("{baud} 8{parity}{stop}");
            // Iskra's measuring centres alone have two stop bits at this speed; a receiver takes one as well.
            let known = SETTINGS.iter().any(|it| it.to_string() == shown) || shown == "115200 8N2";
            assert!(known, "{}: {shown}", model.id);
        }
    }
}

//! The command with which an interrupted scan goes on, whole: what was asked for, what was learnt, and where it stopped.

use std::path::PathBuf;
use std::time::Duration;

use super::Outcome;
use crate::config::model::SerialLine;

/// What was asked for, as the user wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Port or host.
    pub place: &'a str,
    /// `--all`
    pub all: bool,
    /// `--patience`
    pub patience: Option<Duration>,
    /// `--config`
    pub config: &'a [PathBuf],
}

/// `None`: the scan was not interrupted. `line` is what the port means.
#[must_use]
pub fn serial_again(asked: Asked<'_>, line: &SerialLine, outcome: &Outcome) -> Option<String> {
    let port = outcome.settled.map_or_else(|| asked.place.to_owned(), |it| it.connection_text(&line.path));
    Some(format!("gridkeeper scan serial {}{}", quoted(&port), rest(asked, outcome.stopped_at?)))
}

/// `None`: the scan was not interrupted.
#[must_use]
pub fn tcp_again(asked: Asked<'_>, outcome: &Outcome) -> Option<String> {
    Some(format!("gridkeeper scan tcp {}{}", quoted(asked.place), rest(asked, outcome.stopped_at?)))
}

/// Steps are counted from 1 for people.
fn rest(asked: Asked<'_>, step: usize) -> String {
    let config: String = asked.config.iter().map(|it| format!(" -c {}", quoted(&it.display().to_string()))).collect();
    let all = if asked.all { " --all" } else { "" };
    let patience = asked.patience.map_or_else(String::new, |it| format!(" --patience {}", it.as_secs_f64()));
    format!("{config}{all}{patience} --from {}", step + 1)
}

/// A word of a shell's command line: `&` and `?` mean something there.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-:,+=@".contains(it);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Parity;
    use crate::tool::scan::Setting;

    #[test]
    fn the_command_holds_what_was_asked_for_and_what_was_learnt() {
        let line = SerialLine { path: "/dev/ttyUSB0".into(), baud: None, parity: None, stop: None };
        let mut outcome = Outcome { found: 0, instead: None, stopped_at: None, settled: None };
        fn asked(place: &str, all: bool) -> Asked<'_> {
            Asked { place, all, patience: None, config: &[] }
        }
        assert_eq!(serial_again(asked("/dev/ttyUSB0", false), &line, &outcome), None);
        outcome.stopped_at = Some(16);
        let serial = |port: &str, all, outcome: &Outcome| serial_again(asked(port, all), &line, outcome).unwrap();
        assert_eq!(serial("/dev/ttyUSB0", false, &outcome), "gridkeeper scan serial /dev/ttyUSB0 --from 17");
        let named = "serial:///dev/ttyUSB0?baud=9600&stop=1";
        let again = serial(named, true, &outcome);
        assert_eq!(again, format!("gridkeeper scan serial '{named}' --all --from 17"));
        outcome.settled = Some(Setting { baud: 9600, parity: Parity::Even, stop: 1 });
        let again = serial("/dev/ttyUSB0", false, &outcome);
        assert_eq!(again, "gridkeeper scan serial 'serial:///dev/ttyUSB0?baud=9600&parity=even&stop=1' --from 17");
        let again = tcp_again(asked("[2001:db8::1]:502", true), &outcome).unwrap();
        assert_eq!(again, "gridkeeper scan tcp '[2001:db8::1]:502' --all --from 17");
        let patient = Asked { patience: Some(Duration::from_millis(1500)), ..asked("gateway", false) };
        let again = tcp_again(patient, &outcome).unwrap();
        assert_eq!(again, "gridkeeper scan tcp gateway --patience 1.5 --from 17");
        let config = [PathBuf::from("/etc/my house.toml")];
        let again = tcp_again(Asked { config: &config, ..asked("gateway", false) }, &outcome).unwrap();
        assert_eq!(again, "gridkeeper scan tcp gateway -c '/etc/my house.toml' --from 17");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}

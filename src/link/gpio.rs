//! Lines of a GPIO chip, through the kernel's character device.
//!
//! The kernel gives an output its level only while it is held: when the process ends, for whatever reason, the line may
//! fall back to the level that the board gives it. Whoever wires a relay must make that level the safe one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gpiocdev::line::{Bias, Value};
use gpiocdev::request::Request;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Chips behind a slow bus take milliseconds; one that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// Shown by `gpioinfo` beside each line that we hold.
const CONSUMER: &str = "gridkeeper";

/// One line of one chip, as in `gpiochip0/17`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LineName {
    /// Name of the chip below `/dev` (`gpiochip0`), or its label (`pinctrl-rp1`), which does not change with the order
    /// in which chips are found.
    pub chip: String,
    /// Offset of the line on its chip.
    pub offset: u32,
}

impl LineName {
    /// `gpiochip0/17`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (chip, offset) = text.strip_prefix("/dev/").unwrap_or(text).rsplit_once('/')?;
        let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.' | ':' | '@');
        let digits = !offset.is_empty() && offset.len() <= 4 && offset.bytes().all(|it| it.is_ascii_digit());
        if chip.is_empty() || chip.len() > 32 || !chip.chars().all(plain) || chip.starts_with('.') || !digits {
            return None;
        }
        Some(Self { chip: chip.to_owned(), offset: offset.parse().ok()? })
    }
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.chip, self.offset)
    }
}

/// The level that a line takes when nothing drives it, where the chip can pull it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// To the supply.
    Up,
    /// To ground.
    Down,
}

/// A way to lines. The calls block for as long as the chip takes.
pub trait Gpio: fmt::Debug + Send + Sync {
    /// Takes a line as input.
    ///
    /// # Errors
    /// When the chip or the line is not there, or somebody else holds it.
    fn input(&self, line: &LineName, pull: Pull) -> io::Result<Box<dyn Line>>;

    /// Takes a line as output, at `high` from the first moment.
    ///
    /// # Errors
    /// When the chip or the line is not there, or somebody else holds it.
    fn output(&self, line: &LineName, high: bool) -> io::Result<Box<dyn Line>>;
}

/// A line that is held; given back when dropped. The calls block for as long as the chip takes.
pub trait Line: fmt::Debug + Send + Sync {
    /// Whether the level is high, at an output as well.
    ///
    /// # Errors
    /// When the chip does not answer or has gone.
    fn is_high(&self) -> io::Result<bool>;

    /// Drives an output.
    ///
    /// # Errors
    /// When the chip does not answer or has gone.
    fn set(&self, high: bool) -> io::Result<()>;
}

/// Does something with the chip on a thread of its own: a chip that hangs must not hold the devices' thread.
///
/// # Errors
/// Those of `work`, or a time-out.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match timeout(PATIENCE, spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(failed)) => Err(io::Error::other(failed)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// The kernel's character device, version 2 of its interface (Linux 5.10).
#[derive(Clone, Copy, Debug, Default)]
pub struct CharacterDevice;

/// What devices use.
#[must_use]
pub fn kernel() -> Arc<dyn Gpio> {
    Arc::new(CharacterDevice)
}

impl Gpio for CharacterDevice {
    fn input(&self, line: &LineName, pull: Pull) -> io::Result<Box<dyn Line>> {
        let chip = find(&line.chip)?;
        let bias = match pull {
            Pull::Up => Bias::PullUp,
            Pull::Down => Bias::PullDown,
        };
        let ask = |bias: Option<Bias>| {
            let mut builder = Request::builder();
            builder.on_chip(&chip).with_consumer(CONSUMER).with_line(line.offset).as_input().with_bias(bias);
            builder.request()
        };
        // Not every chip has resistors to pull with.
        let request = ask(Some(bias)).or_else(|_| ask(None)).map_err(|error| refused(line, &error))?;
        Ok(Box::new(Held { request, line: line.clone() }))
    }

    fn output(&self, line: &LineName, high: bool) -> io::Result<Box<dyn Line>> {
        let chip = find(&line.chip)?;
        let mut builder = Request::builder();
        builder.on_chip(&chip).with_consumer(CONSUMER).with_line(line.offset).as_output(level(high));
        let request = builder.request().map_err(|error| refused(line, &error))?;
        Ok(Box::new(Held { request, line: line.clone() }))
    }
}

fn level(high: bool) -> Value {
    if high { Value::Active } else { Value::Inactive }
}

fn refused(line: &LineName, error: &gpiocdev::Error) -> io::Error {
    io::Error::other(format!("line {line}: {}", told(error)))
}

/// The error with what the system said of it.
fn told(error: &gpiocdev::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The path of a chip by its name or its label.
fn find(chip: &str) -> io::Result<PathBuf> {
    let path = Path::new("/dev").join(chip);
    if path.exists() {
        return Ok(path);
    }
    let present = gpiocdev::chip::chips().unwrap_or_default();
    let labelled = |path: &PathBuf| {
        let info = gpiocdev::chip::Chip::from_path(path).and_then(|chip| chip.info());
        info.is_ok_and(|info| info.label == chip)
    };
    if let Some(found) = present.iter().find(|path| labelled(path)) {
        return Ok(found.clone());
    }
    let names: Vec<_> = present.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let there =
        if names.is_empty() { "this machine has none".to_owned() } else { format!("there: {}", names.join(", ")) };
    Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no GPIO chip {chip} below /dev ({there})")))
}

#[derive(Debug)]
struct Held {
    request: Request,
    line: LineName,
}

impl Line for Held {
    fn is_high(&self) -> io::Result<bool> {
        let value = self.request.value(self.line.offset).map_err(|error| refused(&self.line, &error))?;
        Ok(value == Value::Active)
    }

    fn set(&self, high: bool) -> io::Result<()> {
        self.request.set_value(self.line.offset, level(high)).map_err(|error| refused(&self.line, &error))
    }
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_named_by_chip_and_offset() {
        let line = LineName { chip: "gpiochip0".into(), offset: 17 };
        assert_eq!(LineName::parse("gpiochip0/17"), Some(line.clone()));
        assert_eq!(LineName::parse("/dev/gpiochip0/17"), Some(line));
        assert_eq!(LineName::parse("pinctrl-rp1/4").map(|it| it.to_string()), Some("pinctrl-rp1/4".into()));
        for bad in ["", "17", "gpiochip0", "gpiochip0/", "gpiochip0/x", "gpiochip0/-1", "../17", "a/b/17", "c/99999"] {
            assert_eq!(LineName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_chip_that_is_not_there_is_named() {
        let line = LineName { chip: "gpiochip-missing".into(), offset: 1 };
        for error in [
            CharacterDevice.input(&line, Pull::Down).map(|_| ()).unwrap_err(),
            CharacterDevice.output(&line, false).map(|_| ()).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.starts_with("there is no GPIO chip gpiochip-missing below /dev ("), "{text}");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_file_that_is_no_chip_is_refused() {
        let error = CharacterDevice.input(&LineName { chip: "null".into(), offset: 1 }, Pull::Up).unwrap_err();
        assert!(error.to_string().starts_with("line null/1: "), "{error}");
    }

    /// In real time: stopped time stands while a blocking thread works.
    #[tokio::test]
    async fn a_chip_that_hangs_is_given_up() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let error = off_thread(move || Ok(held.recv().is_ok())).await.unwrap_err();
        // The runtime waits for its threads when the test ends.
        drop(release);
        assert_eq!(error.to_string(), "no answer within 1 s");
    }
}

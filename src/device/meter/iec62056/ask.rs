//! Asking a meter: sign-on at 300 baud, identification, option select, change of speed, data (IEC 62056-21, modes A, B, C).

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

use super::manner::{Manner, Way};
use super::{Iec, Protocol as _, Report};
use crate::clock::Clock;
use crate::codec::iec62056::{Mode, REQUEST, option_select};
use crate::link::stream::ByteStream;

/// Every session begins at this speed.
pub(super) const SIGN_ON_BAUD: u32 = 300;

/// Start, seven data bits, parity, stop.
const BITS_PER_CHARACTER: u64 = 10;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For an answer, and between two characters. The norm has 1.5 s; some meters are slower.
    pub(super) character: Duration,
    /// For everything: ten kilobytes at 300 baud take more than five minutes.
    pub(super) session: Duration,
    /// Length of the wake-up of battery meters.
    pub(super) wake: Duration,
    /// Pause behind it.
    pub(super) after_wake: Duration,
    /// Added to the meter's own reaction time, and to the time that our last character needs to leave.
    pub(super) margin: Duration,
}

pub(super) const TIMES: Times = Times {
    character: Duration::from_secs(3),
    session: Duration::from_secs(600),
    wake: Duration::from_millis(2200),
    after_wake: Duration::from_millis(1500),
    margin: Duration::from_millis(40),
};

/// The meter was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked;

/// Why a meter could not be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// The line itself.
    Link(String),
    /// Nothing came back that is an identification.
    NoAnswer,
    /// It identified itself and then sent nothing, or nothing whole.
    NoData {
        /// Speed at which the data were expected.
        baud: u32,
    },
    /// What came did not pass its check, which was said.
    Rejected,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(error) => f.write_str(error),
            Self::NoAnswer => write!(f, "no answer to the sign-on at {SIGN_ON_BAUD} baud: is the head in its place?"),
            Self::NoData { baud } => write!(f, "the meter identified itself and then sent no data at {baud} baud"),
            Self::Rejected => f.write_str("the readout did not pass its check"),
        }
    }
}

/// One readout, from sign-on to block check.
pub(super) async fn read_out(
    line: &mut ByteStream,
    iec: &mut Iec,
    report: &mut Report,
    clock: Clock,
    times: Times,
    manner: &Manner,
) -> Result<Asked, Failure> {
    let mut session = Session { line, iec, report, clock, times, baud: SIGN_ON_BAUD };
    timeout(times.session, session.run(manner.way())).await.unwrap_or(Err(Failure::NoData { baud: SIGN_ON_BAUD }))
}

struct Session<'a> {
    line: &'a mut ByteStream,
    iec: &'a mut Iec,
    report: &'a mut Report,
    clock: Clock,
    times: Times,
    baud: u32,
}

impl Session<'_> {
    async fn run(&mut self, way: Way) -> Result<Asked, Failure> {
        let (good, bad) = (self.report.good(), self.report.trouble.health.bad);
        self.change_speed(SIGN_ON_BAUD)?;
        self.drain().await?;
        if way.wake {
            let characters = self.times.wake.as_millis() as u64 * u64::from(SIGN_ON_BAUD) / BITS_PER_CHARACTER / 1000;
            self.send(&vec![0; characters as usize]).await?;
            sleep(self.times.after_wake).await;
        }
        self.send(REQUEST).await?;
        let (mode, reaction) = self.identification().await?;
        match mode {
            Mode::A => {}
            Mode::B(baud) => {
                // Its line end is still on the way.
                sleep(self.times.margin).await;
                self.change_speed(baud)?;
            }
            Mode::C(baud) => {
                let changed = if way.stay { SIGN_ON_BAUD } else { baud };
                // A gateway does not follow: then the meter stays at the speed of the sign-on.
                let baud = if self.has_speed() { changed } else { SIGN_ON_BAUD };
                let select = option_select(baud).ok_or(Failure::NoData { baud })?;
                sleep(reaction + self.times.margin).await;
                self.send(&select).await?;
                self.change_speed(baud)?;
            }
        }
        loop {
            if !self.hear().await? {
                self.iec.close(self.clock.now(), self.report);
            }
            if self.report.good() > good {
                return Ok(Asked);
            }
            if self.report.trouble.health.bad > bad {
                return Err(Failure::Rejected);
            }
            if !self.iec.decoder.is_waiting() {
                return Err(Failure::NoData { baud: self.baud });
            }
        }
    }

    /// How the meter goes on, and its reaction time.
    async fn identification(&mut self) -> Result<(Mode, Duration), Failure> {
        loop {
            if !self.hear().await? {
                return Err(Failure::NoAnswer);
            }
            if let Some(found) = self.iec.decoder.identification() {
                return Ok((found.mode(), Duration::from_millis(found.reaction_ms())));
            }
        }
    }

    /// The next bytes of the line; `false` when it stays silent.
    async fn hear(&mut self) -> Result<bool, Failure> {
        let mut chunk = [0; 1024];
        match timeout(self.times.character, self.line.read(&mut chunk)).await {
            Ok(Ok(0)) => Err(Failure::Link("the other side closed the link".into())),
            Ok(Ok(length)) => {
                self.iec.take(&chunk[..length], self.clock.now(), self.report);
                self.report.tell_health();
                Ok(true)
            }
            Ok(Err(error)) => Err(Failure::Link(error.to_string())),
            Err(_) => Ok(false),
        }
    }

    /// Sends and waits until the last bit has left. `flush` is not used: on a serial port it holds the whole thread.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let begun = Instant::now();
        let on_the_wire = Duration::from_millis(bytes.len() as u64 * BITS_PER_CHARACTER * 1000 / u64::from(self.baud));
        let limit = self.times.character + on_the_wire;
        match timeout(limit, self.line.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failure::Link(error.to_string())),
            Err(_) => return Err(Failure::Link("the line takes no bytes".into())),
        }
        if self.has_speed() {
            sleep((on_the_wire + self.times.margin).saturating_sub(begun.elapsed())).await;
        }
        Ok(())
    }

    /// What came since the last session is none of the next.
    async fn drain(&mut self) -> Result<(), Failure> {
        const BITS: usize = 64;
        let mut chunk = [0; 1024];
        for _ in 0..BITS {
            match timeout(Duration::from_millis(5), self.line.read(&mut chunk)).await {
                Ok(Ok(0)) => return Err(Failure::Link("the other side closed the link".into())),
                Ok(Ok(length)) => self.iec.take(&chunk[..length], self.clock.now(), self.report),
                Ok(Err(error)) => return Err(Failure::Link(error.to_string())),
                Err(_) => break,
            }
        }
        self.iec.abandon(self.report);
        Ok(())
    }

    fn has_speed(&self) -> bool {
        self.line.has_speed()
    }

    fn change_speed(&mut self, baud: u32) -> Result<(), Failure> {
        self.line
            .set_speed(baud)
            .map_err(|error| Failure::Link(format!("the line does not take {baud} baud: {error}")))?;
        self.baud = baud;
        Ok(())
    }
}

//! Meters with an optical port (IEC 62056-21): those that send unasked, and those that are asked.
//!
//! Without a speed in the connection the task finds out by itself: it listens at 9600 baud for a while, as most push
//! meters send, and then asks at 300 baud; it stays with what worked. `baud=300` asks only, any other speed listens only.

mod ask;
mod manner;
mod reading;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::push::{self, Patience, Protocol, Report};
use super::registers::Mapping;
use crate::clock::Clock;
use crate::codec::iec62056::{Decoder, FrameError, Readout};
use crate::config::model::{Common, Connection, Parity};
use crate::device::ControlLink;
use crate::link::Backoff;
use crate::link::stream::{self, Opener};
use crate::quantity::Mono;

use ask::{Asked, Failure};
use manner::Manner;

/// German push meters send at this speed, 7E1.
const PUSH_BAUD: u32 = 9600;

/// How patient the task is.
#[derive(Clone, Copy, Debug)]
struct Times {
    push: Patience,
    /// A push meter sends every four seconds or oftener: longer silence means that it wants to be asked.
    probation: Duration,
    ask: ask::Times,
    /// Pause between two readouts of a meter that is asked.
    period: Duration,
}

impl Times {
    fn new(period: Duration) -> Self {
        let first_retry = Duration::from_secs(1);
        Self {
            push: Patience {
                open: Duration::from_secs(5),
                pause: Duration::from_secs(2),
                offline: Duration::from_secs(25),
                silence: Duration::from_secs(30),
                first_retry,
                last_retry: Duration::from_secs(30),
            },
            probation: Duration::from_secs(6),
            ask: ask::TIMES,
            period,
        }
    }

    /// A meter that is read rarely may run on a battery: attempts that fail must not come oftener than that for long.
    fn last_retry(&self) -> Duration {
        self.push.last_retry.max(self.period)
    }
}

/// Reads the meter until `cancel`. `period` is the pause between two readouts of a meter that is asked.
#[expect(clippy::too_many_arguments, reason = "what every meter's task has, and the period")]
pub async fn run(
    index: usize,
    common: Common,
    connection: Connection,
    period: Duration,
    mapping: Mapping,
    control: ControlLink,
    clock: Clock,
    cancel: CancellationToken,
) {
    let task = Task::new(Report::new(index, &common.id, control), connection, mapping, clock, Times::new(period));
    // Between a readout's end and its way to the control thread there is no await that this could cut.
    let _: Option<()> = cancel.run_until_cancelled(task.run()).await;
}

/// How the meter is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It sends unasked.
    Listen,
    /// It wants a sign-on.
    Ask,
}

struct Task {
    report: Report,
    connection: Connection,
    /// What the connection allows; `None` for both.
    only: Option<Way>,
    iec: Iec,
    clock: Clock,
    times: Times,
    opener: Opener,
    opened_before: bool,
}

impl Task {
    fn new(report: Report, connection: Connection, mapping: Mapping, clock: Clock, times: Times) -> Self {
        let only = match &connection {
            Connection::Serial(line) => line.baud.map(|baud| if baud == 300 { Way::Ask } else { Way::Listen }),
            _ => None,
        };
        let iec = Iec { decoder: Decoder::new(), mapping };
        Self { report, connection, only, iec, clock, times, opener: Opener::default(), opened_before: false }
    }

    async fn run(mut self) {
        let mut backoff = Backoff::new(self.times.push.first_retry, self.times.last_retry());
        let mut way = self.only.unwrap_or(Way::Listen);
        let mut manner = Manner::default();
        loop {
            let before = self.report.good();
            match way {
                Way::Listen => self.listen().await,
                Way::Ask => self.ask(&mut manner).await,
            }
            let worked = self.report.good() > before;
            if worked {
                backoff.reset();
            } else if self.only.is_none() {
                way = if way == Way::Listen { Way::Ask } else { Way::Listen };
                if way == Way::Ask {
                    // Listening costs the meter nothing.
                    continue;
                }
            }
            self.report.rest(backoff.next()).await;
        }
    }

    /// Opens the line at this speed unless the connection names another; says so where it cannot.
    async fn open(&mut self, baud: u32) -> Option<stream::ByteStream> {
        let connection = stream::with_defaults(self.connection.clone(), baud, Parity::Even);
        match self.opener.open(&connection, self.times.push.open).await {
            Ok(line) => {
                self.report.trouble.health.reconnects += u64::from(std::mem::replace(&mut self.opened_before, true));
                Some(line)
            }
            Err(error) => {
                self.report.trouble.link_lost(&format!("cannot open {}: {error}", stream::describe(&connection)));
                None
            }
        }
    }

    async fn listen(&mut self) {
        let Some(line) = self.open(PUSH_BAUD).await else { return };
        let probation = self.only.is_none().then_some(self.times.probation);
        let before = self.report.good();
        let end = push::listen(line, &mut self.iec, &mut self.report, self.clock, self.times.push, probation).await;
        if probation.is_none() || self.report.good() > before {
            self.report.trouble.link_lost(&format!("{}: {end}", stream::describe(&self.connection)));
        }
        self.iec.abandon(&mut self.report);
    }

    /// Reads out again and again until it fails.
    async fn ask(&mut self, manner: &mut Manner) {
        let Some(mut line) = self.open(ask::SIGN_ON_BAUD).await else { return };
        loop {
            let asked =
                ask::read_out(&mut line, &mut self.iec, &mut self.report, self.clock, self.times.ask, manner).await;
            match asked {
                Ok(Asked) => {
                    manner.succeeded();
                    self.report.rest(self.times.period).await;
                }
                Err(failure) => {
                    self.iec.abandon(&mut self.report);
                    manner.failed(&failure);
                    let sentence = format!("{}: {failure}", stream::describe(&self.connection));
                    match failure {
                        Failure::Link(_) => self.report.trouble.link_lost(&sentence),
                        Failure::NoAnswer | Failure::NoData { .. } => {
                            self.report.trouble.health.online = false;
                            self.report.trouble.timeout(&sentence);
                        }
                        // Its own sentence was said.
                        Failure::Rejected => {}
                    }
                    return self.report.tell_health();
                }
            }
        }
    }
}

/// The readouts of one meter.
struct Iec {
    decoder: Decoder,
    mapping: Mapping,
}

impl Protocol for Iec {
    fn take(&mut self, mut bytes: &[u8], received_at: Mono, report: &mut Report) {
        while let Some(item) = self.decoder.decode(&mut bytes) {
            hear(item, &self.mapping, received_at, report);
        }
        report.trouble.discarded_by_decoder(self.decoder.discarded_total());
    }

    fn close(&mut self, received_at: Mono, report: &mut Report) {
        if let Some(item) = self.decoder.finish() {
            hear(item, &self.mapping, received_at, report);
        }
        report.trouble.discarded_by_decoder(self.decoder.discarded_total());
    }

    fn abandon(&mut self, report: &mut Report) {
        if let Some(Ok(readout)) = self.decoder.finish() {
            report.trouble.discarded_frame(readout.length());
        }
        report.trouble.discarded_by_decoder(self.decoder.discarded_total());
    }
}

fn hear(item: Result<Readout<'_>, FrameError>, mapping: &Mapping, received_at: Mono, report: &mut Report) {
    let readout = match item {
        Ok(readout) => readout,
        Err(error) => return report.trouble.bad(&error.to_string()),
    };
    if let Err(rejection) = readout.check() {
        report.trouble.discarded_frame(readout.length());
        return report.trouble.bad(&format!("{rejection}, {} bytes discarded", readout.length()));
    }
    let (message, unusable) = reading::understand(&readout, mapping, report.index(), received_at);
    report.reading(message, &unusable);
}

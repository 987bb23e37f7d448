//! The task of any meter that sends unasked: keeps the link, hands the bytes to the protocol, tells the control thread.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::registers::Unusable;
use super::trouble::Trouble;
use crate::clock::Clock;
use crate::config::model::Connection;
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::Backoff;
use crate::link::stream::{self, ByteStream, Opener};
use crate::quantity::Mono;

/// What a protocol makes of the bytes of its line.
pub(super) trait Protocol: Send {
    /// Bytes as they came.
    fn take(&mut self, bytes: &[u8], received_at: Mono, report: &mut Report);
    /// The line fell silent: what waits for more will get none.
    fn close(&mut self, received_at: Mono, report: &mut Report);
    /// The link ended: what it left unfinished cannot be continued by the next one.
    fn abandon(&mut self, report: &mut Report);
}

/// How patient the task is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the link to open.
    pub(super) open: Duration,
    /// A frame that pauses longer than this in the middle is over.
    pub(super) pause: Duration,
    /// Without a good frame for so long the meter is not there at present.
    pub(super) offline: Duration,
    /// Silence after which a link that still looks open is opened anew.
    pub(super) silence: Duration,
    /// Waiting times between attempts.
    pub(super) first_retry: Duration,
    /// Waiting times between attempts.
    pub(super) last_retry: Duration,
}

/// What the control thread is told of one meter.
pub(super) struct Report {
    index: usize,
    control: ControlLink,
    pub(super) trouble: Trouble,
    /// When the last good frame came.
    good_at: Instant,
    /// What stands against the meter, as it was told.
    risk: Option<&'static str>,
}

impl Report {
    /// `index` is the meter's place in the configuration.
    pub(super) fn new(index: usize, id: &str, control: ControlLink) -> Self {
        Self { index, control, trouble: Trouble::new(id), good_at: Instant::now(), risk: None }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Good frames so far.
    pub(super) fn good(&self) -> u64 {
        self.trouble.health.good
    }

    /// A good frame; registers that were left out are named.
    pub(super) fn reading(&mut self, message: ToControl, unusable: &[Unusable]) {
        let heard = self.control.tell_reading(message);
        self.good_at = Instant::now();
        self.trouble.good();
        if !heard {
            self.trouble.say("a reading was dropped because the control loop does not take it");
        }
        for register in unusable {
            self.trouble.say(&register.to_string());
        }
    }

    /// What stands against the meter for as long as it is so; `None` takes it back. Told and logged once.
    pub(super) fn risk(&mut self, risk: Option<&'static str>) {
        if risk == self.risk {
            return;
        }
        if let Some(risk) = risk {
            self.trouble.say(risk);
        }
        let told = risk.map(|it| format!("{}: {it}", self.trouble.name()));
        if self.control.tell(ToControl::Risk(DeviceRef::Meter(self.index), told)) {
            self.risk = risk;
        }
    }

    /// Whether the meter is there, by the time since its last good frame.
    pub(super) fn look_at_clock(&mut self, offline: Duration) {
        if self.good_at.elapsed() >= offline {
            self.trouble.health.online = false;
        }
        self.tell_health();
    }

    pub(super) fn tell_health(&mut self) {
        if let Some(health) = self.trouble.due() {
            self.control.tell(ToControl::Health(DeviceRef::Meter(self.index), health));
        }
    }

    /// Waits and tells on the way what changed.
    pub(super) async fn rest(&mut self, wait: Duration) {
        const SECOND: Duration = Duration::from_secs(1);
        let first = wait.min(SECOND);
        self.tell_health();
        sleep(first).await;
        self.tell_health();
        sleep(wait - first).await;
    }
}

/// Reads the line until `cancel`.
pub(super) async fn run(
    mut report: Report,
    connection: Connection,
    mut protocol: impl Protocol,
    clock: Clock,
    cancel: CancellationToken,
    patience: Patience,
) {
    let work = async {
        let mut backoff = Backoff::new(patience.first_retry, patience.last_retry);
        let mut opener = Opener::default();
        let mut opened_before = false;
        let shown = stream::describe(&connection);
        loop {
            let good = report.good();
            match opener.open(&connection, patience.open).await {
                Ok(stream) => {
                    report.trouble.health.reconnects += u64::from(opened_before);
                    opened_before = true;
                    let end = listen(stream, &mut protocol, &mut report, clock, patience, None).await;
                    report.trouble.link_lost(&format!("{shown}: {end}"));
                    protocol.abandon(&mut report);
                }
                Err(error) => report.trouble.link_lost(&format!("cannot open {shown}: {error}")),
            }
            if report.good() > good {
                backoff.reset();
            }
            report.rest(backoff.next()).await;
        }
    };
    // Between a frame's end and its way to the control thread there is no await that this could cut.
    let _: Option<()> = cancel.run_until_cancelled(work).await;
}

/// Reads an open link until it ends, is silent for too long, or gave no good frame for `probation`; gives the reason.
pub(super) async fn listen(
    mut stream: ByteStream,
    protocol: &mut impl Protocol,
    report: &mut Report,
    clock: Clock,
    patience: Patience,
    probation: Option<Duration>,
) -> String {
    // The control thread hears of every change within a second.
    const LOOK_UP: Duration = Duration::from_secs(1);
    let mut chunk = [0; 4096];
    let (opened_at, good_before) = (Instant::now(), report.good());
    let mut heard_at = opened_at;
    loop {
        let wait = LOOK_UP.min(patience.pause).min(patience.silence).min(probation.unwrap_or(LOOK_UP));
        match timeout(wait, stream.read(&mut chunk)).await {
            Ok(Ok(0)) => return "the other side closed the link".into(),
            Ok(Ok(length)) => {
                heard_at = Instant::now();
                protocol.take(&chunk[..length], clock.now(), report);
            }
            Ok(Err(error)) => return error.to_string(),
            Err(_) => {
                let silent = heard_at.elapsed();
                if silent >= patience.silence {
                    return format!("nothing received for {:.0} s", silent.as_secs_f64());
                }
                if silent >= patience.pause {
                    protocol.close(clock.now(), report);
                }
            }
        }
        if let Some(probation) = probation
            && report.good() == good_before
            && opened_at.elapsed() >= probation
        {
            return format!("no readout came unasked within {:.0} s", probation.as_secs_f64());
        }
        report.look_at_clock(patience.offline);
    }
}

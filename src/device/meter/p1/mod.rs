//! A meter's P1 port: keeps the stream, finds the telegrams, says what they mean.

mod bus;
mod reading;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::codec::p1::{Decoder, FrameError, Hint, Keys, Repair, TagCheck, Telegram, Verdict};
use crate::config::model::{Common, Connection};
use crate::device::{ControlLink, DeviceRef, ToControl};
use crate::link::Backoff;
use crate::link::stream::{self, ByteStream, Opener};
use crate::quantity::Mono;
use crate::status::MeterValues;

use super::trouble::Trouble;
use bus::Bus;
use reading::Registers;
pub use reading::{Mapping, Unusable, reading};

/// Where the telegrams come from and what opens them.
#[derive(Clone, Debug)]
pub struct Port {
    /// `serial://` or `tcp://`.
    pub connection: Connection,
    /// For encrypted telegrams.
    pub keys: Option<Keys>,
}

/// How patient the task is.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the link to open.
    open: Duration,
    /// A telegram that pauses longer than this in the middle is over: even at 9600 baud its bytes follow each other
    /// closely, and the next one comes after 10 s at the latest.
    pause: Duration,
    /// The slowest meters send every 10 s: after two and a half of that it is not there at present.
    offline: Duration,
    /// Silence after which a link that still looks open is opened anew.
    silence: Duration,
    /// Waiting times between attempts.
    first_retry: Duration,
    /// Waiting times between attempts.
    last_retry: Duration,
}

const PATIENCE: Patience = Patience {
    open: Duration::from_secs(5),
    pause: Duration::from_secs(2),
    offline: Duration::from_secs(25),
    silence: Duration::from_secs(30),
    first_retry: Duration::from_secs(1),
    last_retry: Duration::from_secs(30),
};

/// Reads the port until `cancel`.
pub async fn run(
    index: usize,
    common: Common,
    port: Port,
    mapping: Mapping,
    control: ControlLink,
    clock: Clock,
    cancel: CancellationToken,
) {
    run_with(index, common, port, mapping, control, clock, cancel, PATIENCE).await;
}

#[expect(clippy::too_many_arguments, reason = "those of `run` and the times that tests shorten")]
async fn run_with(
    index: usize,
    common: Common,
    port: Port,
    mapping: Mapping,
    control: ControlLink,
    clock: Clock,
    cancel: CancellationToken,
    patience: Patience,
) {
    let task = Task {
        decoder: Decoder::new(port.keys.clone()),
        port,
        patience,
        clock,
        backoff: Backoff::new(patience.first_retry, patience.last_retry),
        listener: Listener {
            index,
            mapping,
            control,
            bus: Bus::default(),
            trouble: Trouble::new(&common.id),
            noted: None,
            hint: None,
            good_at: Instant::now(),
        },
    };
    // Between a telegram's end and its way to the control thread there is no await that this could cut.
    let _ = cancel.run_until_cancelled(task.run()).await;
}

struct Task {
    port: Port,
    patience: Patience,
    clock: Clock,
    decoder: Decoder,
    backoff: Backoff,
    listener: Listener,
}

/// What is done with telegrams; apart from the decoder, whose buffer they lie in.
struct Listener {
    index: usize,
    mapping: Mapping,
    control: ControlLink,
    bus: Bus,
    trouble: Trouble,
    /// Said once, not with every telegram.
    noted: Option<String>,
    hint: Option<Hint>,
    good_at: Instant,
}

impl Task {
    async fn run(mut self) {
        const SECOND: Duration = Duration::from_secs(1);
        let mut opener = Opener::default();
        let mut opened_before = false;
        loop {
            let connection = stream::describe(&self.port.connection);
            match opener.open(&self.port.connection, self.patience.open).await {
                Ok(stream) => {
                    self.listener.trouble.health.reconnects += u64::from(opened_before);
                    opened_before = true;
                    let end = self.read(stream).await;
                    self.listener.trouble.link_lost(&format!("{connection}: {end}"));
                    self.abandon();
                }
                Err(error) => {
                    self.listener.trouble.link_lost(&format!("cannot open {connection}: {error}"));
                }
            }
            let wait = self.backoff.next();
            let first = wait.min(SECOND);
            self.listener.tell_health();
            sleep(first).await;
            self.listener.tell_health();
            sleep(wait - first).await;
        }
    }

    /// Until the link ends; gives the reason.
    async fn read(&mut self, mut stream: ByteStream) -> String {
        // The control thread hears of every change within a second.
        const LOOK_UP: Duration = Duration::from_secs(1);
        let mut chunk = [0; 4096];
        let mut heard_at = Instant::now();
        loop {
            let wait = LOOK_UP.min(self.patience.pause).min(self.patience.silence);
            match timeout(wait, stream.read(&mut chunk)).await {
                Ok(Ok(0)) => return "the other side closed the link".into(),
                Ok(Ok(length)) => {
                    heard_at = Instant::now();
                    self.take(&chunk[..length]);
                }
                Ok(Err(error)) => return error.to_string(),
                Err(_) => {
                    let silent = heard_at.elapsed();
                    if silent >= self.patience.silence {
                        return format!("nothing received for {:.0} s", silent.as_secs_f64());
                    }
                    if silent >= self.patience.pause {
                        self.close();
                    }
                }
            }
            if self.listener.good_at.elapsed() >= self.patience.offline {
                self.listener.trouble.health.online = false;
            }
            self.listener.tell_health();
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        let received_at = self.clock.now();
        while let Some(item) = self.decoder.decode(&mut bytes) {
            if self.listener.take(item, received_at) {
                self.backoff.reset();
            }
        }
        self.listener.count(&self.decoder);
    }

    /// The line fell silent: what waits for more will get none.
    fn close(&mut self) {
        let received_at = self.clock.now();
        if let Some(item) = self.decoder.finish() {
            self.listener.take(item, received_at);
        }
        self.listener.count(&self.decoder);
    }

    /// What the link left unfinished cannot be continued by the next one.
    fn abandon(&mut self) {
        if let Some(Ok(telegram)) = self.decoder.finish() {
            self.listener.trouble.discarded_frame(telegram.bytes().len());
        }
        self.listener.count(&self.decoder);
    }
}

impl Listener {
    /// Tells the control thread; `true` for a telegram that gave a reading.
    fn take(&mut self, item: Result<Telegram<'_>, FrameError>, received_at: Mono) -> bool {
        let telegram = match item {
            Ok(telegram) => telegram,
            Err(error) => {
                self.trouble.bad(&error.to_string());
                return false;
            }
        };
        if let Err(rejection) = telegram.check() {
            let bytes = telegram.bytes().len();
            self.trouble.discarded_frame(bytes);
            self.trouble.bad(&format!("{rejection}, {bytes} bytes discarded"));
            return false;
        }
        let mut unusable = Vec::new();
        let message = self.understand(&telegram, received_at, |register| unusable.push(register));
        let heard = self.control.tell(message);
        self.good_at = Instant::now();
        self.trouble.good();
        if !heard {
            self.trouble.say("a reading was dropped because the control loop does not take it");
        }
        for register in unusable {
            self.trouble.say(&register.to_string());
        }
        let note = note(&telegram);
        if note != self.noted {
            if let Some(note) = &note {
                self.trouble.say(note);
            }
            self.noted = note;
        }
        true
    }

    fn understand(
        &mut self,
        telegram: &Telegram<'_>,
        received_at: Mono,
        mut unusable: impl FnMut(Unusable),
    ) -> ToControl {
        // `values` looks at the same registers again and reports them.
        let registers = Registers::read(telegram, self.mapping.invert, |_| {});
        let values = MeterValues {
            received_at: Some(received_at),
            wall_ms: None,
            values: values::values(telegram, &registers, &self.mapping, &mut unusable),
            identity: values::identity(telegram),
        };
        let sub_meters = self.bus.sub_meters(telegram, registers.time, received_at, clock::wall_ms(), &mut unusable);
        ToControl::Meter {
            meter: self.index,
            reading: registers.reading(&self.mapping, received_at),
            values: Arc::new(values),
            sub_meters: Arc::new(sub_meters),
        }
    }

    fn count(&mut self, decoder: &Decoder) {
        self.trouble.discarded_by_decoder(decoder.discarded_total());
        let hint = decoder.hint();
        if hint != self.hint {
            if let Some(hint) = hint {
                self.trouble.say(&format!("no telegram found: {hint}"));
            }
            self.hint = hint;
        }
    }

    fn tell_health(&mut self) {
        if let Some(health) = self.trouble.due() {
            self.control.tell(ToControl::Health(DeviceRef::Meter(self.index), health));
        }
    }
}

/// What an operator should know of a telegram that is nevertheless good.
fn note(telegram: &Telegram<'_>) -> Option<String> {
    if let Verdict::ValidAfter(repair @ (Repair::CarriageReturns | Repair::Telnet)) = telegram.crc().verdict {
        return Some(format!("the CRC does not fit as received, but {repair}"));
    }
    match telegram.seal()?.tag {
        TagCheck::Verified | TagCheck::Wrong => None,
        TagCheck::NotVerified => Some(
            "the authentication tag does not fit the published authentication key; the telegram's own CRC does".into(),
        ),
    }
}

//! A meter's P1 port: finds the telegrams, says what they mean.

mod bus;
mod reading;
mod tap;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::names::Names;
use super::push::{self, Patience, Protocol, Report};
pub use super::registers::{Mapping, Unusable};
use crate::clock::{self, Clock};
use crate::codec::p1::{Decoder, FrameError, Hint, Keys, Repair, TagCheck, Telegram, Verdict};
use crate::config::model::{Common, Connection};
use crate::device::{ControlLink, ToControl};
use crate::quantity::Mono;
use crate::status::MeterValues;

use bus::Bus;
pub use reading::reading;
pub use tap::Tap;

/// Where the telegrams come from and what opens them.
#[derive(Clone, Debug)]
pub struct Port {
    /// `serial://` or `tcp://`.
    pub connection: Connection,
    /// For encrypted telegrams.
    pub keys: Option<Keys>,
    /// Where others read along.
    pub tap: Option<Tap>,
    /// Of the meters behind it.
    pub names: Names,
}

const PATIENCE: Patience = Patience {
    open: Duration::from_secs(5),
    // Even at 9600 baud a telegram's bytes follow each other closely, and the next one comes after 10 s at the latest.
    pause: Duration::from_secs(2),
    // The slowest meters send every 10 s: after two and a half of that it is not there at present.
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
    let report = Report::new(index, &common.id, control);
    push::run(report, port.connection, P1::new(mapping, port.keys, port.tap, port.names), clock, cancel, PATIENCE)
        .await;
}

/// The telegrams of one port.
struct P1 {
    decoder: Decoder,
    listener: Listener,
}

/// What is done with telegrams; apart from the decoder, whose buffer they lie in.
pub struct Listener {
    mapping: Mapping,
    bus: Bus,
    /// Said once, not with every telegram.
    noted: Option<String>,
    hint: Option<Hint>,
    tap: Option<Tap>,
}

impl P1 {
    fn new(mapping: Mapping, keys: Option<Keys>, tap: Option<Tap>, names: Names) -> Self {
        let listener = Listener { tap, bus: Bus::new(names), ..Listener::new(mapping) };
        Self { decoder: Decoder::new(keys), listener }
    }
}

impl Protocol for P1 {
    fn take(&mut self, mut bytes: &[u8], received_at: Mono, report: &mut Report) {
        while let Some(item) = self.decoder.decode(&mut bytes) {
            self.listener.take(item, received_at, report);
        }
        self.listener.count(&self.decoder, report);
    }

    fn close(&mut self, received_at: Mono, report: &mut Report) {
        if let Some(item) = self.decoder.finish() {
            self.listener.take(item, received_at, report);
        }
        self.listener.count(&self.decoder, report);
    }

    fn abandon(&mut self, report: &mut Report) {
        if let Some(Ok(telegram)) = self.decoder.finish() {
            report.trouble.discarded_frame(telegram.bytes().len());
        }
        self.listener.count(&self.decoder, report);
    }
}

impl Listener {
    /// What hears the telegrams of one meter.
    #[must_use]
    pub fn new(mapping: Mapping) -> Self {
        Self { mapping, bus: Bus::default(), noted: None, hint: None, tap: None }
    }

    fn take(&mut self, item: Result<Telegram<'_>, FrameError>, received_at: Mono, report: &mut Report) {
        let telegram = match item {
            Ok(telegram) => telegram,
            Err(error) => return report.trouble.bad(&error.to_string()),
        };
        if let Err(rejection) = telegram.check() {
            let bytes = telegram.bytes().len();
            report.trouble.discarded_frame(bytes);
            return report.trouble.bad(&format!("{rejection}, {bytes} bytes discarded"));
        }
        let mut unusable = Vec::new();
        let message = self.understand(&telegram, report.index(), received_at, |register| unusable.push(register));
        report.reading(message, &unusable);
        if let Some(tap) = &self.tap {
            tap.pass_on(&telegram);
        }
        let note = note(&telegram);
        if note != self.noted {
            if let Some(note) = &note {
                report.trouble.say(note);
            }
            self.noted = note;
        }
    }

    /// All that a telegram says: a reading for the controller, values for the views, meters behind it.
    pub fn understand(
        &mut self,
        telegram: &Telegram<'_>,
        index: usize,
        received_at: Mono,
        mut unusable: impl FnMut(Unusable),
    ) -> ToControl {
        // `values` looks at the same registers again and reports them.
        let registers = reading::registers(telegram, self.mapping.invert, |_| {});
        let values = MeterValues {
            received_at: Some(received_at),
            wall_ms: None,
            values: values::values(telegram, &registers, &self.mapping, &mut unusable),
            identity: values::identity(telegram),
        };
        let sub_meters = self.bus.sub_meters(telegram, registers.time, received_at, clock::wall_ms(), &mut unusable);
        ToControl::Meter {
            meter: index,
            reading: registers.reading(&self.mapping, received_at),
            values: Arc::new(values),
            sub_meters: Arc::new(sub_meters),
        }
    }

    fn count(&mut self, decoder: &Decoder, report: &mut Report) {
        report.trouble.discarded_by_decoder(decoder.discarded_total());
        let hint = decoder.hint();
        if hint != self.hint {
            if let Some(hint) = hint {
                report.trouble.say(&format!("no telegram found: {hint}"));
            }
            self.hint = hint;
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

//! Meters that push SML frames.

mod direction;
mod reading;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::push::{self, Patience, Protocol, Report};
use super::registers::Mapping;
use crate::clock::Clock;
use crate::codec::sml::{Decoder, Frame, FrameError};
use crate::config::model::{Common, Connection, Parity};
use crate::device::ControlLink;
use crate::link::stream;
use crate::quantity::Mono;

/// German meters send SML at this speed without parity.
const BAUD: u32 = 9600;

const PATIENCE: Patience = Patience {
    open: Duration::from_secs(5),
    // A frame takes half a second at 9600 baud and is sent in one piece.
    pause: Duration::from_millis(500),
    offline: Duration::from_secs(25),
    silence: Duration::from_secs(30),
    first_retry: Duration::from_secs(1),
    last_retry: Duration::from_secs(30),
};

/// Reads the meter until `cancel`.
pub async fn run(
    index: usize,
    common: Common,
    connection: Connection,
    mapping: Mapping,
    control: ControlLink,
    clock: Clock,
    cancel: CancellationToken,
) {
    let report = Report::new(index, &common.id, control);
    let connection = stream::with_defaults(connection, BAUD, Parity::None);
    push::run(report, connection, Sml::new(mapping), clock, cancel, PATIENCE).await;
}

/// The frames of one meter.
struct Sml {
    decoder: Decoder,
    mapping: Mapping,
}

impl Sml {
    fn new(mapping: Mapping) -> Self {
        Self { decoder: Decoder::new(), mapping }
    }
}

impl Protocol for Sml {
    fn take(&mut self, mut bytes: &[u8], received_at: Mono, report: &mut Report) {
        while let Some(item) = self.decoder.decode(&mut bytes) {
            hear(item, &self.mapping, received_at, report);
        }
        report.trouble.discarded_by_decoder(self.decoder.discarded_total());
    }

    fn close(&mut self, _: Mono, report: &mut Report) {
        if let Some(FrameError::CutShort { bytes }) = self.decoder.finish() {
            report.trouble.bad(&format!("frame cut short by silence after {bytes} bytes"));
        }
        report.trouble.discarded_by_decoder(self.decoder.discarded_total());
    }

    fn abandon(&mut self, report: &mut Report) {
        self.decoder.finish();
        report.trouble.discarded_by_decoder(self.decoder.discarded_total());
    }
}

fn hear(item: Result<Frame<'_>, FrameError>, mapping: &Mapping, received_at: Mono, report: &mut Report) {
    let frame = match item {
        Ok(frame) => frame,
        Err(error) => return report.trouble.bad(&error.to_string()),
    };
    if let Err(rejection) = frame.check() {
        if frame.crc().is_valid() {
            // The others the decoder looks at again, and counts.
            report.trouble.discarded_frame(frame.length());
        }
        return report.trouble.bad(&format!("{rejection}, {} bytes discarded", frame.length()));
    }
    let (message, unusable) = reading::understand(&frame, mapping, report.index(), received_at);
    report.reading(message, &unusable);
    report.risk(reading::note(&frame));
}

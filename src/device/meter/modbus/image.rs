//! What a meter has said last, register by register.

use std::collections::BTreeMap;

use crate::codec::model::{Decoded, Detail, DetailKind, Key, Model, Quantity, Refusal, TextForm};
use crate::device::meter::p1::Mapping;
use crate::quantity::{Mono, Phase, Span};
use crate::status::Identity;

use super::reading::View;

/// A value of a slow request that was not renewed for so long is not shown any more.
const STALE: Span = Span::from_secs(60);

/// What a counter may rise by between two reads for the second to bear the first one out, in Wh or varh: at once, which is
/// the step of a coarse one, and per hour, three phases of 720 A. Half read, with its words from before and after a carry,
/// it is off by 6.5 kWh at least.
const RISE_AT_ONCE: f64 = 1e3;
const RISE_PER_HOUR: f64 = 500e3;

/// What is known of a register of the model.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Not read, or what was read is no measurement.
    Unknown,
    /// The meter says that it has none.
    Absent,
    /// The first figure of a counter: nothing has shown yet that it was read whole.
    Unproven { value: f64 },
    /// As it was read.
    Value { value: f64, decimals: i8 },
}

impl Content {
    /// Whether a counter's figure fits what it showed before. One that has been shown is guarded for all meters alike
    /// where counters are kept, and stays what it is here.
    fn bears_out(self, figure: f64, elapsed: Span) -> bool {
        match self {
            Self::Unproven { value } => {
                let most = value + RISE_AT_ONCE + RISE_PER_HOUR * elapsed.as_secs_f64() / 3600.0;
                (value..=most).contains(&figure)
            }
            Self::Value { .. } => true,
            Self::Unknown | Self::Absent => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Its poll, by the place in the model.
    poll: usize,
    /// Read in every round.
    fast: bool,
    content: Content,
    at: Mono,
}

/// The newest value of each register, in the meter's own phase order.
#[derive(Debug)]
pub(super) struct Image {
    phases: u8,
    values: BTreeMap<Key, Entry>,
    identity: Identity,
}

impl Image {
    pub(super) fn new(model: &Model) -> Self {
        let identity = Identity {
            manufacturer: Some(model.vendor.clone()),
            model: Some(model.name.clone()),
            ..Identity::default()
        };
        let keys = model.polls.iter().enumerate().flat_map(|(index, poll)| {
            let entry = Entry { poll: index, fast: poll.fast, content: Content::Unknown, at: Mono(0) };
            poll.values.iter().map(move |it| (it.key, entry))
        });
        Self { phases: model.phases, values: keys.collect(), identity }
    }

    /// A register that has no value now loses the one that it had: what is shown was measured.
    pub(super) fn take(&mut self, decoded: &Decoded, at: Mono) {
        let Some(entry) = self.values.get_mut(&decoded.key) else { return };
        let elapsed = at.since(entry.at);
        entry.at = at;
        entry.content = match decoded.value {
            Ok(value) if is_counter(decoded.key.quantity) && !entry.content.bears_out(value, elapsed) => {
                Content::Unproven { value }
            }
            Ok(value) => Content::Value { value, decimals: decoded.decimals },
            Err(Refusal::Absent) => Content::Absent,
            Err(Refusal::Implausible { .. }) => Content::Unknown,
        };
    }

    /// A counter of this poll waits for its next figure.
    pub(super) fn awaits(&self, poll: usize) -> bool {
        self.values.values().any(|it| it.poll == poll && matches!(it.content, Content::Unproven { .. }))
    }

    /// The meter refuses this poll: what it said there before does not hold any more.
    pub(super) fn refused(&mut self, poll: usize) {
        for entry in self.values.values_mut().filter(|it| it.poll == poll) {
            entry.content = Content::Unknown;
        }
    }

    pub(super) fn detail(&mut self, detail: &Detail, words: &[u16]) {
        let text = text(detail.form, words);
        let place = match detail.kind {
            DetailKind::Type => &mut self.identity.model,
            DetailKind::Serial => &mut self.identity.serial,
            DetailKind::Firmware => &mut self.identity.firmware,
        };
        if let Some(text) = text {
            *place = Some(text);
        }
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// The values as control and the views need them: those of every round as they came since it began, at `begun`.
    /// Without `signs` nothing that has a direction is in it, and currents are sizes.
    pub(super) fn view(&self, mapping: &Mapping, signs: bool, begun: Mono, now: Mono) -> View {
        let mut view = View::new(*mapping, self.phases);
        for (key, entry) in &self.values {
            let fresh = if entry.fast { entry.at >= begun } else { now.since(entry.at) <= STALE };
            match entry.content {
                _ if !signs && is_directed(key.quantity) => {}
                Content::Value { value, decimals } if fresh => {
                    let size = !signs && key.quantity == Quantity::Current;
                    view.put(*key, if size { value.abs() } else { value }, decimals);
                }
                Content::Absent if fresh => {}
                _ => view.lacks(*key),
            }
        }
        view
    }
}

fn is_counter(quantity: Quantity) -> bool {
    matches!(
        quantity,
        Quantity::EnergyImport
            | Quantity::EnergyExport
            | Quantity::ReactiveEnergyImport
            | Quantity::ReactiveEnergyExport
    )
}

/// Whether a meter with wrong signs shows this wrong. A counter is: what flows the other way is counted with the rest.
fn is_directed(quantity: Quantity) -> bool {
    match quantity {
        Quantity::Power
        | Quantity::PowerImport
        | Quantity::PowerExport
        | Quantity::ReactivePower
        | Quantity::PowerFactor
        | Quantity::EnergyImport
        | Quantity::EnergyExport
        | Quantity::ReactiveEnergyImport
        | Quantity::ReactiveEnergyExport => true,
        Quantity::Voltage | Quantity::Current | Quantity::ApparentPower | Quantity::Frequency | Quantity::Time => false,
    }
}

/// What the registers spell; `None` for nothing that can be shown.
fn text(form: TextForm, words: &[u16]) -> Option<String> {
    let printable = |bytes: Vec<u8>| {
        let text: String = bytes
            .into_iter()
            .take_while(|byte| *byte != 0)
            .filter(|byte| (b' '..0x7F).contains(byte))
            .map(char::from)
            .collect();
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    match form {
        TextForm::Ascii => printable(words.iter().flat_map(|word| word.to_be_bytes()).collect()),
        TextForm::AsciiLow => printable(words.iter().map(|word| word.to_be_bytes()[1]).collect()),
        TextForm::Number => {
            let number = words.iter().fold(0_u64, |number, word| number << 16 | u64::from(*word));
            (number != 0).then(|| number.to_string())
        }
    }
}

/// Phases for tables keyed by `l1`, `l2`, `l3`.
pub(super) fn word(phase: Phase) -> &'static str {
    ["l1", "l2", "l3"][phase.index()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_shown_as_they_are_printed_on_the_meter() {
        assert_eq!(text(TextForm::Ascii, &[0x4232, 0x3320]).as_deref(), Some("B23"));
        assert_eq!(text(TextForm::Ascii, &[0x4142, 0x0000, 0x4344]).as_deref(), Some("AB"));
        assert_eq!(text(TextForm::AsciiLow, &[0x0042, 0x0039]).as_deref(), Some("B9"));
        assert_eq!(text(TextForm::Number, &[0x0001, 0x0000]).as_deref(), Some("65536"));
        assert_eq!(text(TextForm::Number, &[0, 0]), None);
        assert_eq!(text(TextForm::Ascii, &[0, 0]), None);
    }
}

//! What a meter has said last, register by register.

use std::collections::BTreeMap;

use crate::codec::model::{Decoded, Detail, DetailKind, Key, Model, Quantity, TextForm};
use crate::device::meter::p1::Mapping;
use crate::quantity::{Mono, Phase, Span};
use crate::status::Identity;

use super::reading::View;

/// A value of a slow request that was not renewed for so long is not shown any more.
const STALE: Span = Span::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Entry {
    value: f64,
    decimals: i8,
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
        Self { phases: model.phases, values: BTreeMap::new(), identity }
    }

    /// A register that has no value now loses the one that it had: what is shown was measured.
    pub(super) fn take(&mut self, decoded: &Decoded, at: Mono) {
        match decoded.value {
            Ok(value) => {
                self.values.insert(decoded.key, Entry { value, decimals: decoded.decimals, at });
            }
            Err(_) => {
                self.values.remove(&decoded.key);
            }
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

    /// The values as control and the views need them. Without `signs` nothing that has a direction is in it.
    pub(super) fn view(&self, mapping: &Mapping, signs: bool, now: Mono) -> View {
        let mut view = View::new(*mapping, self.phases);
        for (key, entry) in &self.values {
            let directed = matches!(key.quantity, Quantity::Power | Quantity::PowerImport | Quantity::PowerExport);
            if (signs || !directed) && now.since(entry.at) <= STALE {
                view.put(*key, entry.value, entry.decimals);
            }
        }
        view
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

//! A frame's registers gathered into what the control thread is told, for protocols whose registers come one by one.

use std::sync::Arc;

use super::registers::{Mapping, NO_NUMBER, Refusal, Registers, Unusable, in_range};
use super::values::{self, Content, Values};
use crate::codec::obis::Obis;
use crate::codec::value::{Decimal, Unit};
use crate::device::ToControl;
use crate::quantity::Mono;
use crate::status::{Identity, MeterValues, Value};

/// Registers of one frame on their way.
pub(super) struct Collect<'a> {
    mapping: &'a Mapping,
    registers: Registers,
    values: Values,
    unusable: Vec<Unusable>,
}

impl<'a> Collect<'a> {
    pub(super) fn new(mapping: &'a Mapping) -> Self {
        Self { mapping, registers: Registers::default(), values: Values::new(), unusable: Vec::new() }
    }

    /// A number with its unit, where that is known.
    pub(super) fn number(&mut self, code: Obis, number: Decimal, unit: Option<Unit>) {
        let measured = || match unit {
            Some(unit) => in_range(number).map(|number| (number, unit)),
            None => Err(NO_NUMBER),
        };
        if let Err(Refusal::Because(cause)) = self.registers.take(code, measured) {
            let content = format!("{}{}", number.as_f64(), unit.map_or("", Unit::symbol));
            return self.leave_out(code, &content, cause);
        }
        self.publish(code, Content::Number(number, unit));
    }

    /// Anything that is no number; nothing where it is empty.
    pub(super) fn text(&mut self, code: Obis, text: String) {
        if !text.is_empty() {
            self.publish(code, Content::Text(text));
        }
    }

    /// A value of a meter that is none of electricity.
    pub(super) fn value(&mut self, key: &str, value: Value) {
        self.values.entry(key.into()).or_insert(value);
    }

    /// Names a register that gives no value.
    pub(super) fn leave_out(&mut self, code: Obis, content: &str, cause: &'static str) {
        self.unusable.push(Unusable::new(code, content, cause));
    }

    fn publish(&mut self, code: Obis, content: Content) {
        let shown = match &content {
            Content::Number(number, _) => number.as_f64().to_string(),
            Content::Text(text) => text.clone(),
        };
        match values::published(code, content, self.mapping) {
            // A repeated register stands back behind the first.
            Ok((key, value)) => {
                self.values.entry(key).or_insert(value);
            }
            Err(Refusal::Because(cause)) => self.leave_out(code, &shown, cause),
            Err(Refusal::Absent) => {}
        }
    }

    /// The message, and the registers that were left out.
    pub(super) fn finish(mut self, meter: usize, received_at: Mono, identity: Identity) -> (ToControl, Vec<Unusable>) {
        if self.mapping.invert {
            self.registers.invert();
        }
        values::derive(&mut self.values, &self.registers, self.mapping);
        let values = MeterValues { received_at: Some(received_at), wall_ms: None, values: self.values, identity };
        let message = ToControl::Meter {
            meter,
            reading: self.registers.reading(self.mapping, received_at),
            values: Arc::new(values),
            sub_meters: Arc::default(),
        };
        (message, self.unusable)
    }
}

//! InfluxDB line protocol, as InfluxDB 1 to 3, Telegraf and VictoriaMetrics read it.
//!
//! `measurement,tag=value field=1.5,word="text" 1700000000000000000`
//! (docs.influxdata.com, "Line protocol reference"). A field never changes its type: every number is a float, because
//! a field that was an integer once is refused as a float for good.

use std::fmt::Write as _;

use crate::mqtt::Out;

/// Longest text of a field; a telegram can carry a message of a kilobyte.
const MAX_TEXT: usize = 256;

/// One line under construction.
#[derive(Debug)]
pub(crate) struct Line {
    text: String,
    head: usize,
}

impl Line {
    /// `kind` without our prefix: `meter`, `charger`, `site`, `relay`.
    pub(crate) fn new(kind: &str, id: &str, role: &str) -> Self {
        let mut text = String::with_capacity(512);
        text.push_str("gridkeeper_");
        text.push_str(kind);
        for (tag, value) in [("id", id), ("role", role)] {
            text.push(',');
            text.push_str(tag);
            text.push('=');
            push_name(&mut text, value);
        }
        text.push(' ');
        let head = text.len();
        Self { text, head }
    }

    /// Adds a field; what is absent has none.
    pub(crate) fn put(&mut self, key: &str, value: &Out) {
        let begin = self.text.len();
        if begin > self.head {
            self.text.push(',');
        }
        push_name(&mut self.text, key);
        self.text.push('=');
        // Writing into a String cannot fail.
        let _ = match value {
            Out::Null => {
                self.text.truncate(begin);
                return;
            }
            Out::Decimal(number, _) if !number.is_finite() => {
                self.text.truncate(begin);
                return;
            }
            Out::Flag(flag) => write!(self.text, "{flag}"),
            Out::Int(number) => write!(self.text, "{number}"),
            Out::Milli(number) => write!(self.text, "{}", *number as f64 / 1000.0),
            Out::Decimal(number, decimals) => write!(self.text, "{number:.*}", usize::from((*decimals).min(9))),
            Out::Word(word) => {
                push_text(&mut self.text, word);
                Ok(())
            }
            // Only answers to commands hold it.
            Out::Json(_) => {
                self.text.truncate(begin);
                return;
            }
            Out::Text(text) => {
                push_text(&mut self.text, text);
                Ok(())
            }
        };
    }

    /// The line with its end; `None` without a single field, which no database accepts.
    pub(crate) fn finish(mut self, wall_ms: i64) -> Option<String> {
        if self.text.len() == self.head {
            return None;
        }
        // Nanoseconds: what every reader presumes unless it is told otherwise.
        let _ = writeln!(self.text, " {wall_ms}000000");
        Some(self.text)
    }
}

/// A tag's value or a field's name.
fn push_name(text: &mut String, name: &str) {
    for c in name.chars() {
        match c {
            ',' | '=' | ' ' => {
                text.push('\\');
                text.push(c);
            }
            // A backslash before one of the above would hide it, a line end would begin another line, and a quote is
            // taken literally by some readers and not by others.
            '\\' | '"' => text.push('_'),
            c if c.is_control() => text.push('_'),
            c => text.push(c),
        }
    }
}

fn push_text(text: &mut String, words: &str) {
    text.push('"');
    for c in words.chars().take(MAX_TEXT) {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_value_has_its_form() {
        let mut line = Line::new("meter", "main", "grid");
        line.put("power_w", &Out::Int(-690));
        line.put("current_l1_a", &Out::Milli(-1_050));
        line.put("energy_import_kwh", &Out::Decimal(34.0, 3));
        line.put("absent", &Out::Null);
        line.put("broken", &Out::Decimal(f64::NAN, 3));
        line.put("charging", &Out::Flag(true));
        line.put("quality", &Out::Word("good"));
        line.put("reason", &Out::Text("a \"b\"\\\nc".into()));
        assert_eq!(
            line.finish(1_780_000_000_123).unwrap(),
            "gridkeeper_meter,id=main,role=grid power_w=-690,current_l1_a=-1.05,energy_import_kwh=34.000,charging=true,\
             quality=\"good\",reason=\"a \\\"b\\\"\\\\ c\" 1780000000123000000\n"
        );
    }

    #[test]
    fn a_line_without_fields_is_none() {
        let mut line = Line::new("site", "site", "site");
        line.put("surplus_w", &Out::Null);
        assert_eq!(line.finish(0), None);
    }

    proptest! {
        #[test]
        fn no_text_can_begin_another_line_or_field(name in ".{0,40}", text in ".{0,300}") {
            let mut line = Line::new("meter", &name, "other");
            line.put("text", &Out::Text(text));
            line.put("power_w", &Out::Int(1));
            let line = line.finish(1).unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(line.ends_with("\",power_w=1 1000000\n"), "{}", line);
            // Outside of quotes and behind no backslash there are two blanks: before the fields and before the time.
            let (mut quoted, mut hidden, mut blanks) = (false, false, 0);
            for c in line.chars() {
                if !hidden && c == '"' {
                    quoted = !quoted;
                }
                blanks += i32::from(!quoted && !hidden && c == ' ');
                hidden = !hidden && c == '\\';
            }
            prop_assert_eq!(blanks, 2, "{}", line);
        }
    }
}

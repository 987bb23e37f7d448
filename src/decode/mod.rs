//! `gridkeeper decode`: shows what is in recorded bytes, for people and as JSON.

mod iec62056;
mod p1;
mod sml;

use std::fmt::Display;
use std::io::{self, Read, Write};

use serde_json::Value;

use crate::codec::obis::Obis;
use crate::codec::register;

pub use iec62056::{iec62056, readout_json};
pub use p1::{p1, telegram_json};
pub use sml::{frame_json, sml};

/// What the input turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was found passed its checks: exit code 0.
    Valid,
    /// Something failed its check, or nothing was found: exit code 3.
    Invalid,
}

/// Text or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One object per telegram and line.
    Json,
}

/// Sixteen bytes as 32 hexadecimal digits, as `--key` and `--auth-key` take them.
///
/// # Errors
/// With the number of characters that came.
pub fn parse_key(hex: &str) -> Result<[u8; 16], String> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    if digits.len() != 32 || hex.chars().count() != 32 {
        return Err(format!("a key is 32 hexadecimal digits (16 bytes), not {} characters", hex.chars().count()));
    }
    let mut key = [0; 16];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(key)
}

/// What a codec finds in the bytes, ready to be shown.
trait Message {
    /// What the like of it is called.
    const NOUN: &'static str;

    /// It has its end mark.
    fn is_complete(&self) -> bool {
        true
    }

    /// Something in it is known for what it is.
    fn is_understood(&self) -> bool {
        true
    }

    /// It passes its checks as it came; else why not, where the message itself does not show it.
    fn check(&self) -> Result<(), Option<String>>;

    fn json(&self) -> Value;

    fn text(&self, out: &mut impl Write) -> io::Result<()>;
}

/// Messages go to `out`, what is to be said about them and about the rest to `notes`.
struct Report<'a, O, N> {
    form: Form,
    out: &'a mut O,
    notes: &'a mut N,
    printed: usize,
    failed: usize,
}

impl<'a, O: Write, N: Write> Report<'a, O, N> {
    fn new(form: Form, out: &'a mut O, notes: &'a mut N) -> Self {
        Self { form, out, notes, printed: 0, failed: 0 }
    }

    /// A message that the next one cut short is named, but no fault of the input: recordings begin and end anywhere.
    fn refuse(&mut self, error: &impl Display, cut_short: bool) -> io::Result<()> {
        self.failed += usize::from(!cut_short);
        writeln!(self.notes, "{error}")
    }

    fn show<M: Message>(&mut self, message: &M) -> io::Result<()> {
        if !message.is_complete() && self.printed > 0 {
            return writeln!(self.notes, "the last {} ends before its end mark and is not shown", M::NOUN);
        }
        if !message.is_complete() && !message.is_understood() {
            self.failed += 1;
            let noun = M::NOUN;
            return writeln!(self.notes, "what begins like a {noun} has no end mark and nothing in it is understood");
        }
        self.printed += 1;
        if let Err(why) = message.check() {
            self.failed += 1;
            if let Some(why) = why {
                writeln!(self.notes, "{why}")?;
            }
        }
        match self.form {
            Form::Json => {
                serde_json::to_writer(&mut *self.out, &message.json())?;
                writeln!(self.out)
            }
            Form::Text => message.text(self.out),
        }
    }

    /// `kind` is what the input should have held, `noun` what bytes belong to; `hint` is what may be the matter with it.
    fn end(self, kind: &str, noun: &str, discarded: u64, hint: Option<impl Display>) -> io::Result<Outcome> {
        if self.printed == 0 {
            writeln!(self.notes, "no {kind} found")?;
        }
        if discarded > 0 {
            writeln!(self.notes, "{discarded} bytes belong to no {noun}")?;
        }
        if let Some(hint) = hint {
            writeln!(self.notes, "{hint}")?;
        }
        self.out.flush()?;
        Ok(if self.printed == 0 || self.failed > 0 { Outcome::Invalid } else { Outcome::Valid })
    }
}

/// Gives all bytes of `input` in pieces.
fn pieces(input: &mut impl Read, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    let mut chunk = vec![0; CHUNK];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => each(&chunk[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Without plus and zeros in front; decimals kept.
fn plain_number(number: &str) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number.strip_prefix('+').unwrap_or(number)),
    };
    let whole = digits.find('.').unwrap_or(digits.len());
    let zeros = digits[..whole.saturating_sub(1)].bytes().take_while(|&byte| byte == b'0').count();
    format!("{sign}{}", &digits[zeros..])
}

/// What a register is, for people.
fn name(code: Obis) -> String {
    match register::lookup(code) {
        Some(register) => match register.phase {
            Some(phase) => format!("{}, L{}", register.name, phase + 1),
            None => register.name.to_owned(),
        },
        None => register::bus_name(code).unwrap_or_default().to_owned(),
    }
}

/// One line of a terminal: not too long, and without anything that steers it.
fn shown(mut text: String) -> String {
    const SHOWN: usize = 60;
    if let Some((at, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(at);
        text.push('…');
    }
    printable(&text)
}

/// A telegram must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{FFFD}' } else { character }).collect()
}

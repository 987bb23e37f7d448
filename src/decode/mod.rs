//! `gridkeeper decode`: shows what is in recorded bytes, for people and as JSON.

mod iec62056;
mod p1;
mod sml;

use std::io::{self, Read};

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

//! Files that hold one secret.

use std::path::Path;

use super::model::Pairing;
use super::source::{open_to_all, read_bounded};

/// A password or key file is refused above this size; certificates are longer.
const MAX_SECRET: u64 = 4096;
const MAX_PEM: u64 = 256 * 1024;

/// A password file: its text without the line end.
pub(super) fn read_password(path: &Path) -> Result<String, String> {
    let bytes = read_bounded(path, MAX_SECRET).map_err(|it| it.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.trim_end_matches(['\r', '\n']);
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.chars().any(char::is_control) => Err("it holds more than one line or a control character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// What pairing with a device left.
pub(super) fn read_pairing(path: &Path) -> Result<Pairing, String> {
    let bytes = read_bounded(path, MAX_SECRET).map_err(|it| it.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Pairing::parse(&text).map_err(str::to_owned)
}

/// A file with one AES-128 key as 32 hexadecimal digits.
pub(super) fn read_key(path: &Path) -> Result<[u8; 16], String> {
    let text = read_password(path)?;
    let digits: String = text.chars().filter(|it| !it.is_whitespace()).collect();
    let mut key = [0_u8; 16];
    let wrong = || "it does not hold 32 hexadecimal digits".to_owned();
    if digits.len() != 32 || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(key)
}

/// A PEM file with at least one block whose name ends so.
pub(super) fn read_pem(path: &Path, block: &str) -> Result<String, String> {
    let bytes = read_bounded(path, MAX_PEM).map_err(|it| it.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not text, so not PEM".to_owned())?;
    let begins = |line: &str| {
        line.trim_end()
            .strip_prefix("-----BEGIN ")
            .and_then(|it| it.strip_suffix("-----"))
            .is_some_and(|it| it.ends_with(block))
    };
    if text.lines().any(begins) { Ok(text) } else { Err(format!("it holds no PEM block `{block}`")) }
}

/// Whether a secret file may be read by everybody on the machine.
pub(super) fn is_open(path: &Path) -> bool {
    open_to_all(path)
}

//! Files that hold one secret.

use std::path::Path;

use super::model::Pairing;
use super::source::{open_to_all, read_bounded};

/// A password or key file is refused above this size; certificates are longer.
const MAX_SECRET: u64 = 4096;
const MAX_PEM: u64 = 256 * 1024;

/// Why a file that is named cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) what: String,
    pub(super) help: &'static str,
}

impl Unfit {
    fn new(what: impl Into<String>, help: &'static str) -> Self {
        Self { what: what.into(), help }
    }
}

const PATH: &str = "a path is taken from the folder of the configuration file; the program must be allowed to read it";
const PASSWORD: &str = "the file must hold the password alone, on one line of UTF-8 text";
const KEY: &str = "the file must hold the key alone: 32 hexadecimal digits on one line";
const PAIRING: &str = "write the file anew: gridkeeper pair homewizard <address>";
const PEM: &str = "the file must be PEM text, with a line -----BEGIN …-----";

/// All of a file that is short enough.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Unfit> {
    read_bounded(path, limit).map_err(|it| Unfit::new(it.to_string(), PATH))
}

/// The one line of a file, without its end.
fn line(path: &Path, help: &'static str) -> Result<String, Unfit> {
    let text = String::from_utf8(read(path, MAX_SECRET)?).map_err(|_| Unfit::new("it is not UTF-8 text", help))?;
    let text = text.trim_end_matches(['\r', '\n']);
    match text {
        "" => Err(Unfit::new("it is empty", help)),
        _ if text.contains(['\r', '\n']) => {
            Err(Unfit::new(format!("it holds {} lines", text.lines().count().max(2)), help))
        }
        _ if text.chars().any(char::is_control) => Err(Unfit::new("it holds a control character", help)),
        _ => Ok(text.to_owned()),
    }
}

/// A password file: its text without the line end.
pub(super) fn read_password(path: &Path) -> Result<String, Unfit> {
    line(path, PASSWORD)
}

/// What pairing with a device left.
pub(super) fn read_pairing(path: &Path) -> Result<Pairing, Unfit> {
    let text = String::from_utf8(read(path, MAX_SECRET)?).map_err(|_| Unfit::new("it is not UTF-8 text", PAIRING))?;
    Pairing::parse(&text).map_err(|it| Unfit::new(it, PAIRING))
}

/// A file with one AES-128 key as 32 hexadecimal digits.
pub(super) fn read_key(path: &Path) -> Result<[u8; 16], Unfit> {
    let text = line(path, KEY)?;
    let digits: String = text.chars().filter(|it| !it.is_whitespace()).collect();
    let mut key = [0_u8; 16];
    let wrong = || Unfit::new("it does not hold 32 hexadecimal digits", KEY);
    if digits.len() != 32 || !digits.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for (byte, at) in key.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(key)
}

/// A PEM file with at least one block whose name ends so.
pub(super) fn read_pem(path: &Path, block: &str) -> Result<String, Unfit> {
    let text = String::from_utf8(read(path, MAX_PEM)?).map_err(|_| Unfit::new("it is not text, so not PEM", PEM))?;
    let begins = |line: &str| {
        line.trim_end()
            .strip_prefix("-----BEGIN ")
            .and_then(|it| it.strip_suffix("-----"))
            .is_some_and(|it| it.ends_with(block))
    };
    if text.lines().any(begins) { Ok(text) } else { Err(Unfit::new(format!("it holds no PEM block `{block}`"), PEM)) }
}

/// Whether a secret file may be read by everybody on the machine.
pub(super) fn is_open(path: &Path) -> bool {
    open_to_all(path)
}

//! Files that hold one secret, and what must not be shown.

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

/// Replaces what looks like a secret by stars, byte for byte, so that positions stay: the rest of a line after a key
/// that names a password, token or key (not a file of one), and a password inside an address.
pub(super) fn paint_over(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut block: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let mut hide_from = None;
        let mut end_of_block = None;
        if let Some(quotes) = block {
            hide_from = Some(0);
            if let Some(at) = line.find(quotes) {
                end_of_block = Some(at);
                block = None;
            }
        } else {
            let mut start = 0;
            while let Some(found) = line[start..].find('=') {
                let equals = start + found;
                if names_secret(&line[..equals]) {
                    let value = line[equals + 1..].trim_start();
                    block = ["\"\"\"", "'''"]
                        .into_iter()
                        .find(|it| value.starts_with(it) && !value[it.len()..].contains(it));
                    hide_from = Some(equals + 1);
                    break;
                }
                start = equals + 1;
            }
        }
        match hide_from {
            Some(from) => {
                let to = end_of_block.unwrap_or(line.len());
                out.push_str(&line[..from]);
                stars(&line[from..to], &mut out);
                out.push_str(&line[to..]);
            }
            None => hide_in_address(line, &mut out),
        }
    }
    // A terminal must not obey what stands in a file.
    let tame = |it: char| if it.is_ascii_control() && !matches!(it, '\n' | '\r' | '\t') { '?' } else { it };
    out.chars().map(tame).collect()
}

/// Whether the last word before the equals sign says that the value is a secret.
fn names_secret(before: &str) -> bool {
    let word = before
        .trim_end_matches([' ', '\t', '"', '\''])
        .rsplit(|it: char| !(it.is_alphanumeric() || it == '_' || it == '-'))
        .next()
        .unwrap_or("")
        .to_lowercase();
    if word.ends_with("_file") || word.ends_with("-file") {
        return false;
    }
    ["pass", "pasw", "pwd", "secret", "token"].iter().any(|it| word.contains(it))
        || word.ends_with("key")
        || super::key::closest(&word, ["password"]).is_some()
}

/// `scheme://user:password@host`: stars for the password.
fn hide_in_address(line: &str, out: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|it: char| it.is_whitespace() || it == '"' || it == '\'').unwrap_or(after.len());
        let authority = &after[..end];
        match (authority.find(':'), authority.rfind('@')) {
            (Some(colon), Some(sign)) if colon < sign => {
                out.push_str(&authority[..=colon]);
                stars(&authority[colon + 1..sign], out);
                out.push_str(&authority[sign..]);
            }
            _ => out.push_str(authority),
        }
        rest = &after[end..];
    }
    out.push_str(rest);
}

/// What stands in place of a secret where positions do not matter.
const CLEARED: &str = "***";

/// The value of a key or variable without a secret: all of it where the name says so, else a login in an address and a
/// parameter of a query.
pub(crate) fn cleared(name: &str, value: &str) -> String {
    if names_secret(name) {
        return CLEARED.to_owned();
    }
    let mut out = String::with_capacity(value.len());
    hide_in_address(&paint_over(value), &mut out);
    out
}

/// The same for everything in a table.
pub(crate) fn clear_toml(table: &mut toml::Table) {
    fn clear(name: &str, value: &mut toml::Value) {
        match value {
            _ if names_secret(name) => *value = toml::Value::String(CLEARED.to_owned()),
            toml::Value::String(text) => *text = cleared(name, text),
            toml::Value::Table(table) => clear_toml(table),
            toml::Value::Array(list) => list.iter_mut().for_each(|it| clear(name, it)),
            _ => {}
        }
    }
    table.iter_mut().for_each(|(name, value)| clear(name, value));
}

/// The same for everything in a JSON value.
pub(crate) fn clear_json(value: &mut serde_json::Value) {
    fn clear(name: &str, value: &mut serde_json::Value) {
        match value {
            _ if names_secret(name) => *value = CLEARED.into(),
            serde_json::Value::String(text) => *text = cleared(name, text),
            serde_json::Value::Object(object) => object.iter_mut().for_each(|(name, value)| clear(name, value)),
            serde_json::Value::Array(list) => list.iter_mut().for_each(|it| clear(name, it)),
            _ => {}
        }
    }
    clear("", value);
}

/// One star for each byte; blanks and line ends stay.
fn stars(text: &str, out: &mut String) {
    for it in text.chars() {
        if it.is_ascii_whitespace() {
            out.push(it);
        } else {
            out.extend(std::iter::repeat_n('*', it.len_utf8()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_painted_over_and_positions_stay() {
        for (text, shown) in [
            ("password = \"hunter2\"\n", "password = *********\n"),
            ("pasword = \"hé\"", "pasword = *****"),
            ("mqtt = { username = 5, password = \"x\" }", "mqtt = { username = 5, password = *** *"),
            ("password_file = \"mqtt.password\"", "password_file = \"mqtt.password\""),
            ("url = \"mqtt://me:pw@host:1883\"", "url = \"mqtt://me:**@host:1883\""),
            ("\"password\"='''a\nb\n''' # c\nfuse_a = 1", "\"password\"=****\n*\n''' # c\nfuse_a = 1"),
            ("fuse_a = 25", "fuse_a = 25"),
        ] {
            let painted = paint_over(text);
            assert_eq!(painted, shown);
            assert_eq!(painted.len(), text.len());
        }
    }
}

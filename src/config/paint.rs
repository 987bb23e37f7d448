//! What of a configuration file must not be shown, and stars in its place.
//!
//! A line is shown where something is wrong with it, so this has to hold for lines that are no TOML: a value is shown
//! only where the key before it is known and names no secret. What stands behind a word that nobody knows may be
//! anything.

use super::key::closest;
use super::raw::SECTIONS;

/// Replaces by stars what may be a secret, byte for byte, so that positions stay: the rest of a line behind a key that
/// names a password, token or key or that is not known, values without a key, and a password inside an address. Behind a
/// key that names a file it is shown where `is_file` knows that there is such a file: else it may be the secret itself.
pub(super) fn paint_over(text: &str, is_file: &dyn Fn(&str) -> bool) -> String {
    let strange = Strange::Hidden(is_file);
    let mut out = String::with_capacity(text.len());
    let mut open = None;
    for line in text.split_inclusive('\n') {
        let end = open.and_then(|(mark, _)| line.find(mark));
        let (from, to) = match open {
            Some((_, Shown::No)) => (Some(0), end.unwrap_or(line.len())),
            Some((_, Shown::Yes)) => (behind_sign(line, strange), line.len()),
            None => (behind_word(line).into_iter().chain(behind_sign(line, strange)).min(), line.len()),
        };
        if end.is_some() {
            open = None;
        } else if open.is_none() {
            open = left_open(line, from);
        }
        match from {
            Some(from) => {
                out.push_str(&line[..from]);
                stars(&line[from..to], &mut out);
                out.push_str(&line[to..]);
            }
            None => hide_in_address(line, &mut out),
        }
    }
    tame(&out)
}

/// The same text, byte for byte; a terminal must not obey what stands in a file.
pub(super) fn tame(text: &str) -> String {
    let tame = |it: char| if it.is_ascii_control() && !matches!(it, '\n' | '\r' | '\t') { '?' } else { it };
    text.chars().map(tame).collect()
}

/// Whether what goes on in the next lines is shown.
#[derive(Clone, Copy)]
enum Shown {
    Yes,
    No,
}

/// The mark that ends a value which the line begins and does not end. `hidden`: from where the line is hidden.
fn left_open(line: &str, hidden: Option<usize>) -> Option<(&'static str, Shown)> {
    let value = match hidden {
        Some(from) => &line[from..],
        None => &line[line.find('=')? + 1..],
    };
    let value = value.trim_start();
    let (begin, end) = [("\"\"\"", "\"\"\""), ("'''", "'''"), ("[", "]"), ("{", "}")]
        .into_iter()
        .find(|(begin, end)| value.starts_with(begin) && !value[begin.len()..].contains(end))?;
    match hidden {
        // Lines within brackets are judged one by one: a bracket that is never closed must not hide the whole file.
        Some(_) => (begin == end).then_some((end, Shown::No)),
        None => Some((end, Shown::Yes)),
    }
}

/// What becomes of the value of a key that nobody knows, and of the name of a file that is not there.
#[derive(Clone, Copy)]
enum Strange<'a> {
    Shown,
    Hidden(&'a dyn Fn(&str) -> bool),
}

/// From where a line is hidden behind an equals sign or a colon.
fn behind_sign(line: &str, strange: Strange<'_>) -> Option<usize> {
    let mut quote = None;
    let mut comment = false;
    let (mut behind_known, mut address) = (false, false);
    for (at, letter) in line.char_indices() {
        match (letter, quote) {
            ('=' | ':', _) => {
                let key = key_before(&line[..at]);
                // No key is in an address; a login in it is hidden elsewhere.
                address |= behind_known && line[at..].starts_with("://");
                // Texts and comments hold many words before a colon.
                let judged = matches!(strange, Strange::Hidden(_)) && quote.is_none() && !comment && !address;
                behind_known |= judged;
                if let Strange::Hidden(is_file) = strange
                    && names_file(key)
                    && !is_file(value_behind(&line[at + 1..]))
                {
                    return Some(at + 1);
                }
                if names_secret(key) || judged && !key.is_empty() && !is_known(key) {
                    return Some(at + 1);
                }
            }
            ('"' | '\'', None) if !comment => quote = Some(letter),
            (_, Some(begin)) if begin == letter => quote = None,
            ('#', None) => comment = true,
            (blank, _) if blank.is_whitespace() => address = false,
            _ => {}
        }
    }
    None
}

/// From where a line is hidden because it begins with a word that no sign follows.
fn behind_word(line: &str) -> Option<usize> {
    let header = line.trim_start().starts_with('[');
    let start = if header { line.rfind(']').map_or(line.len(), |it| it + 1) } else { 0 };
    let start = line.len() - line[start..].trim_start().len();
    let rest = &line[start..];
    let quoted = rest.starts_with(['"', '\'']);
    let end = match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].find(quote).map_or(rest.len(), |it| it + 2),
        _ => rest.find(|it| !in_word(it) && it != '.').unwrap_or(rest.len()),
    };
    let (word, after) = rest.split_at(end);
    let key = key_before(word);
    let after = after.trim();
    if word.is_empty() || after.starts_with(['=', ':']) || is_known(key) && !names_secret(key) {
        return None;
    }
    // A text, or a word alone, is a value that lost its key.
    if quoted && !names_secret(key) || after.is_empty() && !names_secret(key) {
        return Some(start);
    }
    Some(start + end)
}

fn in_word(it: char) -> bool {
    it.is_alphanumeric() || it == '_' || it == '-'
}

/// The last key of what stands before a sign, without quotes and without the tables that it is in.
fn key_before(before: &str) -> &str {
    let before = before.trim_end();
    for quote in ['"', '\''] {
        if let Some(inner) = before.strip_suffix(quote) {
            return inner.rsplit(quote).next().unwrap_or(inner);
        }
    }
    before.rsplit(|it| !in_word(it)).next().unwrap_or(before)
}

/// Whether it is a key or a table of the configuration.
fn is_known(key: &str) -> bool {
    SECTIONS.iter().any(|it| it.name == key || it.fields.iter().any(|it| it.name == key))
}

/// Whether a key says that its value is the name of a file.
fn names_file(key: &str) -> bool {
    let word = key.to_lowercase();
    word.ends_with("_file") || word.ends_with("-file")
}

/// The first value of a text: what is within its quotes, else its first word.
fn value_behind(text: &str) -> &str {
    let text = text.trim_start();
    let end = |text: &str, marks: &[char]| text.find(marks).unwrap_or(text.len());
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => &text[1..][..end(&text[1..], &[quote])],
        _ => &text[..end(text, &[' ', '\t', '\r', '\n', ',', '}', '#'])],
    }
}

/// Whether a key says that its value is a secret.
fn names_secret(key: &str) -> bool {
    let word = key.to_lowercase();
    if names_file(key) {
        return false;
    }
    ["pass", "pasw", "pwd", "secret", "token"].iter().any(|it| word.contains(it))
        || word.ends_with("key")
        || closest(&word, ["password"]).is_some()
}

/// `scheme://user:password@host`, and the same where the scheme was forgotten: stars for the password.
fn hide_in_address(line: &str, out: &mut String) {
    for word in line.split_inclusive(|it: char| it.is_whitespace() || it == '"' || it == '\'') {
        let (before, authority) = word.split_at(word.find("://").map_or(0, |at| at + 3));
        out.push_str(before);
        match (authority.find(':'), authority.rfind('@')) {
            (Some(colon), Some(sign)) if colon < sign => {
                out.push_str(&authority[..=colon]);
                stars(&authority[colon + 1..sign], out);
                out.push_str(&authority[sign..]);
            }
            _ => out.push_str(authority),
        }
    }
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
    for line in value.split_inclusive('\n') {
        let shown = behind_sign(line, Strange::Shown).unwrap_or(line.len());
        hide_in_address(&line[..shown], &mut out);
        stars(&line[shown..], &mut out);
    }
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

    fn check(cases: &[(&str, &str)]) {
        for (text, shown) in cases {
            let painted = paint_over(text, &|it| it == "mqtt.password");
            assert_eq!(painted, *shown);
            assert_eq!(painted.len(), text.len());
        }
    }

    #[test]
    fn secrets_are_painted_over_and_positions_stay() {
        check(&[
            ("password = \"hunter2\"\n", "password = *********\n"),
            ("pasword = \"hé\"", "pasword = *****"),
            ("mqtt = { username = 5, password = \"x\" }", "mqtt = { username = 5, password = *** *"),
            ("mqtt.password = \"x\"", "mqtt.password = ***"),
            ("password_file = \"mqtt.password\"", "password_file = \"mqtt.password\""),
            ("password_file = \"hunter2\"", "password_file = *********"),
            ("key_file = 'hunter2' # x", "key_file = ********* * *"),
            ("token_file: hunter2", "token_file: *******"),
            ("mqtt = { password_file = mqtt.password }", "mqtt = { password_file = mqtt.password }"),
            ("mqtt = { password_file = hunter2, url = \"x\" }", "mqtt = { password_file = ******** *** * *** *"),
            ("url = \"mqtt://me:pw@host:1883\"", "url = \"mqtt://me:**@host:1883\""),
            ("url = \"me:pw@host:1883\"", "url = \"me:**@host:1883\""),
            ("\"password\"='''a\nb\n''' # c\nfuse_a = 1", "\"password\"=****\n*\n''' # c\nfuse_a = 1"),
            ("fuse_a = 1 # password: x", "fuse_a = 1 # password: *"),
            ("connection = tcp://me:pw@host:23", "connection = tcp://me:**@host:23"),
            ("pw://hunter2", "pw:*********"),
        ]);
    }

    #[test]
    fn secrets_in_lines_that_are_no_toml_are_painted_over() {
        check(&[
            ("password: \"hunter2\"", "password: *********"),
            ("password \"hunter2\"", "password *********"),
            ("\"password\" \"hunter2\"", "\"password\" *********"),
            ("[mqtt] password \"hunter2\"", "[mqtt] password *********"),
            ("{\"mqtt\": {\"password\": \"hunter2\"}}", "{\"mqtt\": {\"password\": ***********"),
            ("password =\n\"hunter2\"\n", "password =\n*********\n"),
            ("password =\nhunter2\n", "password =\n*******\n"),
            ("pw = \"hunter2\"", "pw = *********"),
            ("pw = [\n \"hunter2\",\n]", "pw = *\n **********\n]"),
            ("mqtt.pw: hunter2", "mqtt.pw: *******"),
            ("pw hunter2", "pw *******"),
            ("username = \"me\" pw = \"hunter2\"", "username = \"me\" pw = *********"),
        ]);
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for text in [
            "fuse_a = 25",
            "fuse_a == 25",
            "fuse_a: 25",
            "fuse_a 25",
            "connection = tcp://192.0.2.1:23",
            "grid.fuse_a = 25 # as printed: 25 A",
            "[grid",
            "[[meter]] # the one at the door",
            "name = \"Home",
            "name = \"at home = here: fine\"",
            "phases = [\n  \"L1\",\n  \"L4\",\n]\nfuse_a = 1",
            "",
            "# a comment",
        ] {
            assert_eq!(paint_over(text, &|_| false), text);
        }
    }
}

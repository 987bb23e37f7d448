//! A line of a file that is no TOML, taken apart as far as it goes.

use std::ops::Range;

/// A line without its end, and where in the file it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

/// Key, sign and value of a line, as places in the file.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// Without quotes.
    pub(super) key: Range<usize>,
    /// `=` or `:` behind the key.
    pub(super) sign: Option<(usize, char)>,
    /// Without blanks around it and without the comment behind it.
    pub(super) value: Range<usize>,
}

/// Something that was begun and not ended.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) at: usize,
    pub(super) mark: &'static str,
}

impl<'a> Line<'a> {
    /// All lines.
    pub(super) fn all(text: &'a str) -> impl Iterator<Item = Line<'a>> {
        let mut start = 0;
        text.split_inclusive('\n').map(move |whole| {
            let line = Line { text: whole.trim_end_matches(['\n', '\r']), start };
            start += whole.len();
            line
        })
    }

    /// The line that a place is in; what is behind the last line end belongs to the last line.
    pub(super) fn around(text: &'a str, at: usize) -> Self {
        Self::all(text).take_while(|it| it.start <= at).last().unwrap_or(Line { text: "", start: 0 })
    }

    /// Without blanks around it and without the comment behind it.
    pub(super) fn content(&self) -> Range<usize> {
        let body = self.text.trim_start();
        let start = self.start + self.text.len() - body.len();
        start..start + without_comment(body).len()
    }

    /// `[table]` or `[[table]]`, complete or not; no list of texts.
    pub(super) fn is_header(&self) -> bool {
        header_name(self.text).is_some()
    }

    /// The nearest header above.
    pub(super) fn header_above(&self, text: &'a str) -> Option<Line<'a>> {
        Self::all(text).take_while(|it| it.start < self.start).filter(Self::is_header).last()
    }

    /// `None`: it does not begin with a key.
    pub(super) fn parts(&self) -> Option<Parts> {
        let body = self.text.trim_start();
        let begin = self.text.len() - body.len();
        let (key, behind) = match body.chars().next()? {
            quote @ ('"' | '\'') => {
                let length = body[1..].find(quote)?;
                (begin + 1..begin + 1 + length, begin + length + 2)
            }
            _ => {
                let word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.');
                let length = body.find(|it| !word(it)).unwrap_or(body.len());
                (begin..begin + length, begin + length)
            }
        };
        if key.is_empty() {
            return None;
        }
        let rest = self.text[behind..].trim_start();
        let sign_at = self.text.len() - rest.len();
        let sign = rest.chars().next().filter(|it| matches!(it, '=' | ':'));
        let value = self.text[sign_at + usize::from(sign.is_some())..].trim_start();
        let value_at = self.text.len() - value.len();
        let place = |it: Range<usize>| self.start + it.start..self.start + it.end;
        Some(Parts {
            key: place(key),
            sign: sign.map(|it| (self.start + sign_at, it)),
            value: place(value_at..value_at + without_comment(value).len()),
        })
    }
}

/// The name in the header of a table, with as many brackets as there are.
pub(super) fn header_name(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?;
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    let end = inner.find([']', '#']).unwrap_or(inner.len());
    let name = inner[..end].trim();
    let behind = inner[end..].trim_start_matches(']').trim_start();
    let word = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | '.');
    (!name.is_empty() && name.chars().all(word) && (behind.is_empty() || behind.starts_with('#'))).then_some(name)
}

/// What stands before a comment. A `#` within closed quotes begins none, nor does one within a word.
fn without_comment(text: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        match (letter, quote) {
            ('"' | '\'', None) if text[at + 1..].contains(letter) => quote = Some(letter),
            (_, Some(begin)) if begin == letter => quote = None,
            ('#', None) if before.is_whitespace() || matches!(before, '"' | '\'' | ']' | '}') => {
                return text[..at].trim_end();
            }
            _ => {}
        }
        before = letter;
    }
    text.trim_end()
}

/// What a value has begun before a line and not ended: a list, an inline table, or a text of several lines.
pub(super) fn open_before(text: &str, to: usize) -> Option<Open> {
    let mut open: Vec<Open> = Vec::new();
    for line in Line::all(text).take_while(|it| it.start < to) {
        if open.is_empty() && line.is_header() {
            continue;
        }
        let mut rest = match line.parts() {
            Some(parts) if open.is_empty() => parts.value.start - line.start,
            _ if open.is_empty() => continue,
            _ => 0,
        };
        // Of a line that begins nothing only its first sign can: brackets within an unquoted text are text.
        let begins = ["\"\"\"", "'''", "[", "{"].iter().any(|it| line.text[rest..].starts_with(it));
        if open.is_empty() && !begins {
            continue;
        }
        while let Some(found) = next_mark(&line.text[rest..], open.last()) {
            let (at, mark) = (rest + found.0, found.1);
            rest = at + mark.len();
            match (mark, open.last().map(|it| it.mark)) {
                ("]", Some("[")) | ("}", Some("{")) => _ = open.pop(),
                (same, Some(last)) if same == last && same.len() == 3 => _ = open.pop(),
                ("#", _) => break,
                ("\"" | "'", _) => match line.text[rest..].find(mark) {
                    Some(end) => rest += end + 1,
                    None => break,
                },
                ("]" | "}", _) => {}
                _ => open.push(Open { at: line.start + at, mark }),
            }
        }
    }
    open.into_iter().next()
}

/// The next sign that begins or ends something, within what is open.
fn next_mark(text: &str, open: Option<&Open>) -> Option<(usize, &'static str)> {
    const MARKS: [&str; 9] = ["\"\"\"", "'''", "\"", "'", "[", "]", "{", "}", "#"];
    let within = open.map(|it| it.mark).filter(|it| it.len() == 3);
    match within {
        Some(end) => text.find(end).map(|at| (at, end)),
        None => {
            let at = text.find(['"', '\'', '[', ']', '{', '}', '#'])?;
            MARKS.into_iter().find(|it| text[at..].starts_with(it)).map(|it| (at, it))
        }
    }
}

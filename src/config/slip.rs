//! What was probably meant where a file is no TOML: the slips of people who come from YAML, JSON, a word processor or a
//! country with a decimal comma. The parser says what it expected; this says what to write. What may be a secret is never
//! in it.

use std::ops::Range;

use super::key::{Kind, short};
use super::raw::{SECTIONS, Section};
use super::slip_line::{Line, Open, Parts, header_name, open_before};
use super::slip_value::{fits, judge, literal};

/// Of a file that is no TOML at all, only so many are of use.
const MOST: usize = 20;
/// A longer value is not repeated in the help.
const LONGEST_REPEATED: usize = 80;

/// One thing to say about a file that is no TOML.
#[derive(Debug)]
pub(super) struct Slip {
    /// Bytes that are marked.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: String,
    /// Nothing behind it can be read.
    last: bool,
}

impl Slip {
    fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: help.into(), last: false }
    }
}

/// What to say of the parser's errors: one for each line, the first of it, because the others follow from it. `shown` is
/// the text with stars for what must not be shown.
pub(super) fn explain(text: &str, shown: &str, errors: &[toml::de::Error]) -> Vec<Slip> {
    let page = Page { text, shown };
    let mut slips: Vec<Slip> = Vec::new();
    let mut lines = Vec::new();
    let place = |it: &toml::de::Error| it.span().unwrap_or(text.len()..text.len());
    let mut errors: Vec<&toml::de::Error> = errors.iter().collect();
    errors.sort_by_key(|it| place(it).start);
    for error in errors {
        let span = place(error);
        let line = Line::around(text, span.start);
        if lines.contains(&line.start) {
            continue;
        }
        let duplicate = error.message().contains("duplicate key");
        if duplicate && !line.is_header() && line.header_above(text).is_some_and(|it| lines.contains(&it.start)) {
            // Keys of a table that was taken for another one.
            continue;
        }
        let found = if duplicate { page.twice(line) } else { page.find(line, span.clone(), error.message()) };
        let slip = found.unwrap_or_else(|| {
            let help = if duplicate {
                "write it once: of two, one would be lost"
            } else {
                "the file must be TOML, see https://toml.io"
            };
            Slip::new(span, error.message(), help)
        });
        lines.push(line.start);
        let last = slip.last;
        slips.push(slip);
        if last || slips.len() == MOST {
            break;
        }
    }
    slips
}

/// The file, and the same with stars for what must not be shown.
#[derive(Clone, Copy)]
struct Page<'a> {
    text: &'a str,
    shown: &'a str,
}

impl Page<'_> {
    /// What is wrong with a line that the parser stumbled over.
    fn find(self, line: Line<'_>, error: Range<usize>, message: &str) -> Option<Slip> {
        let open = open_before(self.text, line.start);
        if message.contains("multi-line") {
            return open_before(self.text, self.text.len()).map(|it| self.never_closed(&it));
        }
        if let Some(open) = &open {
            let ends = error.start >= self.text.trim_end().len();
            let is_list = open.mark == "[";
            let outside = line.is_header() || is_list && line.parts().is_some_and(|it| it.sign.is_some());
            if outside || ends {
                return Some(self.never_closed(open));
            }
            return if is_list { self.item(line, "", line.content()) } else { None };
        }
        if line.is_header() {
            return header(line);
        }
        let content = line.content();
        let body = &self.text[content.clone()];
        if body.starts_with("//") || body.starts_with(';') {
            return Some(Slip::new(content, "a comment begins with another sign here", "begin a comment with #"));
        }
        if body.starts_with("- ") {
            let help = "write [[meter]], [[charger]] … above the keys of each, and `key = value` without a dash";
            return Some(Slip::new(content.start..content.start + 1, "a dash makes no list here", help));
        }
        let parts = line.parts()?;
        match parts.sign {
            Some((at, ':')) => Some(self.colon(&parts, at)),
            Some((_, _)) => self.value(&parts, error),
            None => {
                if parts.value.is_empty() || !self.is_visible(&parts.key) {
                    return None;
                }
                let message = format!("there is no `=` behind `{}`", self.key(&parts));
                Some(Slip::new(parts.value.clone(), message, self.write(&parts)))
            }
        }
    }

    /// The key as it is written, for a message.
    fn key(self, parts: &Parts) -> String {
        short(&self.text[parts.key.clone()])
    }

    /// None of it was painted over.
    fn is_visible(self, span: &Range<usize>) -> bool {
        self.text[span.clone()] == self.shown[span.clone()]
    }

    /// The line as it should be; with dots where the value must not be shown or is too long.
    fn write(self, parts: &Parts) -> String {
        let (key, value) = (self.key(parts), &self.text[parts.value.clone()]);
        if value.is_empty() {
            return format!("write {key} = and its value, or take the line out");
        }
        let right = if fits(value) { value.to_owned() } else { self.corrected(&key, value) };
        if self.is_visible(&parts.value) && right.len() <= LONGEST_REPEATED {
            format!("write {key} = {right}")
        } else {
            format!("write {key} = \"…\"")
        }
    }

    fn corrected(self, key: &str, value: &str) -> String {
        judge(kind_of(key), value).map_or_else(|| literal(value), |it| it.right)
    }

    fn colon(self, parts: &Parts, at: usize) -> Slip {
        let key = self.key(parts);
        let table = SECTIONS.iter().find(|it| it.name == key);
        let help = match table.filter(|_| parts.value.is_empty()) {
            Some(table) => format!("write {}, and `key = value` below it", shown_header(table)),
            None => self.write(parts),
        };
        Slip::new(at..at + 1, format!("a colon behind `{key}`, where TOML has `=`"), help)
    }

    /// What is wrong behind an equals sign.
    fn value(self, parts: &Parts, error: Range<usize>) -> Option<Slip> {
        let key = self.key(parts);
        let value = &self.text[parts.value.clone()];
        let whole = |message: String, help: String| Some(Slip::new(parts.value.clone(), message, help));
        if value.is_empty() {
            let at = parts.sign.map_or(parts.value.start, |it| it.0);
            return Some(Slip::new(at..at + 1, format!("`{key}` has no value"), self.write(parts)));
        }
        if let Some(rest) = value.strip_prefix('=') {
            let start = parts.value.end - rest.trim_start().len();
            let once = Parts { value: start..parts.value.end, ..parts.clone() };
            let second = parts.value.start..parts.value.start + 1;
            return Some(Slip::new(second, format!("a second `=` behind `{key}`"), self.write(&once)));
        }
        if let Some(inner) = value.strip_prefix('[') {
            return match inner.strip_suffix(']') {
                Some(inner) if !inner.contains(['[', ']']) => self.list(parts, inner, &error),
                Some(_) => None,
                None => {
                    let line = Line::around(self.text, parts.value.start);
                    let open = Open { at: parts.value.start, mark: "[" };
                    self.item(line, "", error).or_else(|| Some(self.never_closed(&open)))
                }
            };
        }
        if value.starts_with('{') {
            if self.text[error.start..].starts_with(':') {
                let help = "write `=` between a key and its value";
                return Some(Slip::new(error.start..error.start + 1, "a colon, where TOML has `=`", help));
            }
            if !value.ends_with('}') {
                return Some(self.never_closed(&Open { at: parts.value.start, mark: "{" }));
            }
            return self.item_of_table(&error);
        }
        if let Some(at) = second_key(value) {
            let span = parts.value.start + at..parts.value.end;
            return Some(Slip::new(span, "a second key in one line", "write each key on a line of its own"));
        }
        let wrong = judge(kind_of(&key), value)?;
        whole(format!("`{key}`: {}", wrong.what), self.write(parts))
    }

    /// A list of one line with something wrong in it.
    fn list(self, parts: &Parts, inner: &str, error: &Range<usize>) -> Option<Slip> {
        let items: Vec<&str> = inner.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
        let wrong = items.iter().find_map(|it| if fits(it) { None } else { judge(None, it) })?;
        let right: Vec<String> =
            items.iter().map(|it| if fits(it) { (*it).to_owned() } else { self.corrected("", it) }).collect();
        let key = self.key(parts);
        let right = right.join(", ");
        let help = if self.is_visible(&parts.value) && right.len() <= LONGEST_REPEATED {
            format!("write {key} = [{right}]")
        } else {
            format!("write {key} = [\"…\"]")
        };
        Some(Slip::new(error.clone(), format!("`{key}`: {}", wrong.what), help))
    }

    /// A value in braces; its key decides what it may be.
    fn item_of_table(self, error: &Range<usize>) -> Option<Slip> {
        let line = Line::around(self.text, error.start);
        let before = self.text[line.start..error.start].trim_end().strip_suffix('=')?.trim_end();
        let key = before.rsplit(|it: char| !(it.is_alphanumeric() || it == '_' || it == '-')).next()?;
        self.item(line, key, error.clone())
    }

    /// One value without a key of its own on its line.
    fn item(self, line: Line<'_>, key: &str, span: Range<usize>) -> Option<Slip> {
        let value = self.text[span.clone()].trim_end_matches(',');
        let wrong = if fits(value) { None } else { judge(kind_of(key), value) }?;
        let seen = self.is_visible(&line.content()) && wrong.right.len() <= LONGEST_REPEATED;
        let help = if seen { format!("write {}", wrong.right) } else { "write \"…\"".to_owned() };
        Some(Slip::new(span.start..span.start + value.len(), wrong.what, help))
    }

    fn never_closed(self, open: &Open) -> Slip {
        let line = Line::around(self.text, open.at);
        let close = match open.mark {
            "[" => "]",
            "{" => "}",
            same => same,
        };
        let span = open.at..line.content().end.max(open.at + open.mark.len());
        let parts = line.parts().filter(|_| open.mark == "[" && self.is_visible(&span));
        let whole = parts.map(|it| format!("{} = {}]", self.key(&it), &self.text[it.value.clone()]));
        let help = match whole.filter(|it| it.len() <= LONGEST_REPEATED && it.parse::<toml::Table>().is_ok()) {
            Some(whole) => format!("write {whole}"),
            None => format!("write `{close}` where it ends"),
        };
        let message = format!("`{}` is never closed: what follows cannot be read", open.mark);
        Slip { last: true, ..Slip::new(span, message, help) }
    }

    /// A table or a key for the second time.
    fn twice(self, line: Line<'_>) -> Option<Slip> {
        let number = |at: usize| self.text[..at].matches('\n').count() + 1;
        let lines = Line::all(self.text);
        let before = lines.take_while(|it| it.start < line.start);
        if line.is_header() {
            let name = header_name(line.text)?;
            let first = before.filter(|it| header_name(it.text) == Some(name)).last()?;
            let (first, name) = (number(first.start), short(name));
            let message = format!("[{name}] is here again, after line {first}");
            let section = SECTIONS.iter().find(|it| it.name == name);
            let help = match section {
                Some(it) if it.list => format!("write [[{name}]], here and in line {first}: each {name} is a new one"),
                _ => format!("write these keys below [{name}] in line {first}, and the header once"),
            };
            return Some(Slip::new(line.content(), message, help));
        }
        let parts = line.parts()?;
        let table = line.header_above(self.text).map_or(0, |it| it.start);
        let same = |it: &Line<'_>| {
            it.start >= table && it.parts().is_some_and(|it| self.text[it.key] == self.text[parts.key.clone()])
        };
        let first = before.filter(same).last()?;
        let message = format!("`{}` is here again, after line {}", self.key(&parts), number(first.start));
        Some(Slip::new(parts.key.clone(), message, "keep one of them: of two, one would be lost"))
    }
}

/// What a key of this name holds, wherever it is.
fn kind_of(key: &str) -> Option<Kind> {
    let name = key.rsplit('.').next().unwrap_or(key);
    SECTIONS.iter().flat_map(|it| it.fields).find(|it| it.name == name).map(|it| it.kind)
}

/// How the header of a table is written.
fn shown_header(section: &Section) -> String {
    super::layer::header_of(section)
}

/// A header with too few brackets, or too many.
fn header(line: Line<'_>) -> Option<Slip> {
    let span = line.content();
    let name = header_name(line.text)?;
    let right = match SECTIONS.iter().find(|it| it.name == name) {
        Some(section) => shown_header(section),
        None if line.text.trim_start().starts_with("[[") => format!("[[{}]]", short(name)),
        None => format!("[{}]", short(name)),
    };
    let (opened, closed) = (line.text.matches('[').count(), line.text.matches(']').count());
    let message = match opened.cmp(&closed) {
        std::cmp::Ordering::Greater => "the header of a table is not closed",
        std::cmp::Ordering::Less => "the header of a table is closed twice",
        std::cmp::Ordering::Equal => return None,
    };
    Some(Slip::new(span, message, format!("write {right}")))
}

/// Where a second `key = value` begins in what follows a sign.
fn second_key(value: &str) -> Option<usize> {
    let behind = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].find(quote)? + 2,
        _ => value.find(' ')?,
    };
    let rest = value[behind..].trim_start();
    let word = rest.find(|it: char| !(it.is_alphanumeric() || it == '_' || it == '-'))?;
    let sign = rest[word..].trim_start();
    (word > 0 && sign.starts_with('=')).then_some(value.len() - rest.len())
}

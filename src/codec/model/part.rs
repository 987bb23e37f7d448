//! The tables of a model file, key by key. What is missing, of another kind, not among its words or not known at all is put
//! down with its place, and the reading goes on, so that one reading tells everything.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong, what is allowed, and the bytes of the file that say so.
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) allowed: String,
    pub(super) span: Range<usize>,
}

/// Everything that is wrong with a file.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, span: Range<usize>, what: impl Into<String>, allowed: impl Into<String>) {
        self.0.push(Fault { what: what.into(), allowed: allowed.into(), span });
    }
}

/// "`a`, `b`".
pub(super) fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ")
}

/// A foreign text for a message: escaped and not too long.
pub(super) fn short(text: &str) -> String {
    let mut out: String = text.chars().take(60).collect::<String>().escape_debug().to_string();
    if text.chars().nth(60).is_some() {
        out.push('…');
    }
    out
}

/// What somebody has written, in words.
fn is(value: &DeValue<'_>) -> String {
    let word = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(it) => return format!("the number {}", it.as_str()),
        DeValue::Float(it) => return format!("the number {}", it.as_str()),
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list, or one with other content",
        DeValue::Table(_) => "a table",
    };
    word.to_owned()
}

/// A kind of value.
pub(super) trait Readable: Sized {
    /// For who has written something else.
    const IS: &'static str;

    fn read(value: &DeValue<'_>) -> Option<Self>;
}

impl Readable for String {
    const IS: &'static str = "a text in quotes";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Readable for bool {
    const IS: &'static str = "true or false";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl Readable for u8 {
    const IS: &'static str = "a whole number from 0 to 255";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        whole(value)?.try_into().ok()
    }
}

impl Readable for u16 {
    const IS: &'static str = "a whole number from 0 to 65535";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        whole(value)?.try_into().ok()
    }
}

impl Readable for u32 {
    const IS: &'static str = "a whole number from 0 to 4294967295";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        whole(value)?.try_into().ok()
    }
}

impl Readable for f64 {
    const IS: &'static str = "a number";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Float(it) => it.as_str().parse().ok(),
            other => whole(other).map(|it| it as Self),
        }
    }
}

impl Readable for Vec<String> {
    const IS: &'static str = "a list of texts in quotes";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        list(value)
    }
}

impl Readable for Vec<u16> {
    const IS: &'static str = "a list of whole numbers from 0 to 65535";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        list(value)
    }
}

impl Readable for (u16, u16) {
    const IS: &'static str = "[lowest, highest], two whole numbers from 0 to 65535";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        <[u16; 2]>::try_from(list(value)?).ok().map(Into::into)
    }
}

impl Readable for (f64, f64) {
    const IS: &'static str = "[lowest, highest], two numbers";

    fn read(value: &DeValue<'_>) -> Option<Self> {
        <[f64; 2]>::try_from(list(value)?).ok().map(Into::into)
    }
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let it = value.as_integer()?;
    i64::from_str_radix(it.as_str(), it.radix()).ok()
}

fn list<T: Readable>(value: &DeValue<'_>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(|it| T::read(it.get_ref())).collect()
}

/// One table of a file, and which of its keys were asked for.
pub(super) struct Part<'a> {
    /// `[[poll]] number 2`; empty for the file itself.
    name: String,
    table: &'a DeTable<'a>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'a> Part<'a> {
    /// The file itself.
    pub(super) fn whole(table: &'a DeTable<'a>) -> Self {
        Self { name: String::new(), table, span: 0..0, asked: Vec::new() }
    }

    /// Bytes of its header, or of the whole inline table.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The sentence with the table's name in front.
    pub(super) fn says(&self, sentence: &str) -> String {
        if self.name.is_empty() { sentence.to_owned() } else { format!("{}: {sentence}", self.name) }
    }

    /// Something is wrong with this key, or with the table where nothing is written for it.
    pub(super) fn complain(
        &self,
        faults: &mut Faults,
        span: Option<Range<usize>>,
        what: &str,
        allowed: impl Into<String>,
    ) {
        faults.add(span.unwrap_or_else(|| self.span()), self.says(what), allowed);
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.iter().find(|it| it.0.get_ref() == key).map(|it| it.1)
    }

    fn missing(&self, key: &str, allowed: impl Into<String>, faults: &mut Faults) {
        self.complain(faults, None, &format!("`{key}` is missing"), allowed);
    }

    /// `None` where it is not written, and where something else is, which is put down.
    pub(super) fn optional<T: Readable>(&mut self, key: &'static str, faults: &mut Faults) -> Option<Spanned<T>> {
        let found = self.find(key)?;
        let value = T::read(found.get_ref());
        if value.is_none() {
            self.complain(faults, Some(found.span()), &format!("`{key}` is {}", is(found.get_ref())), T::IS);
        }
        value.map(|it| Spanned::new(found.span(), it))
    }

    /// The same, where it must be there.
    pub(super) fn required<T: Readable>(&mut self, key: &'static str, faults: &mut Faults) -> Option<Spanned<T>> {
        let found = self.optional(key, faults);
        if found.is_none() && !self.has(key) {
            self.missing(key, T::IS, faults);
        }
        found
    }

    /// Whether anything is written for the key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|it| it.0.get_ref() == key)
    }

    /// What one of these words stands for; `otherwise` where none is written. `None`: not known, which is put down.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        otherwise: Option<T>,
        faults: &mut Faults,
    ) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            return otherwise;
        }
        let written = self.optional::<String>(key, faults)?;
        let known = words.iter().find(|it| it.0 == written.get_ref()).map(|it| it.1);
        if known.is_none() {
            let what = format!("`{key}` = \"{}\" is not known", short(written.get_ref()));
            self.complain(faults, Some(written.span()), &what, quoted(words.iter().map(|it| it.0)));
        }
        known
    }

    /// The same, where one must be there.
    pub(super) fn required_word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing(key, quoted(words.iter().map(|it| it.0)), faults);
        }
        self.word(key, words, None, faults)
    }

    /// `false` where nothing is written.
    pub(super) fn flag(&mut self, key: &'static str, faults: &mut Faults) -> bool {
        self.optional(key, faults).is_some_and(Spanned::into_inner)
    }

    /// `[key]`; `needs`: its keys, where it must be there.
    pub(super) fn table(&mut self, key: &'static str, needs: Option<&str>, faults: &mut Faults) -> Option<Part<'a>> {
        let name = format!("[{key}]");
        let Some(found) = self.find(key) else {
            if let Some(needs) = needs {
                self.complain(faults, None, &format!("{name} is missing"), format!("{name} with {needs}"));
            }
            return None;
        };
        let Some(table) = found.get_ref().as_table() else {
            let what = format!("`{key}` is {}", is(found.get_ref()));
            self.complain(faults, Some(found.span()), &what, format!("{name} and its keys below it"));
            return None;
        };
        Some(Part { name, table, span: found.span(), asked: Vec::new() })
    }

    /// `[[key]]`, or a list of inline tables. `None` where none is written.
    pub(super) fn tables(&mut self, key: &'static str, faults: &mut Faults) -> Option<Vec<Part<'a>>> {
        let found = self.find(key)?;
        let (inline, header) = (!self.name.is_empty(), format!("[[{key}]]"));
        let allowed = if inline { format!("{key} = [{{ … }}, {{ … }}]") } else { format!("{header} for each") };
        let Some(items) = found.get_ref().as_array() else {
            let what = format!("`{key}` is {}", is(found.get_ref()));
            self.complain(faults, Some(found.span()), &what, allowed);
            return Some(Vec::new());
        };
        let mut parts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let own =
                if inline { format!("`{key}` number {}", index + 1) } else { format!("{header} number {}", index + 1) };
            let name = if inline { format!("{}, {own}", self.name) } else { own };
            match item.get_ref().as_table() {
                Some(table) => parts.push(Part { name, table, span: item.span(), asked: Vec::new() }),
                None => faults.add(item.span(), format!("{name} is no table"), allowed.clone()),
            }
        }
        Some(parts)
    }

    /// Every key and its value, for tables whose keys are words of their own.
    pub(super) fn entries<T: Readable>(&self, faults: &mut Faults) -> Vec<(Spanned<String>, Spanned<T>)> {
        let mut found = Vec::new();
        for (key, value) in self.table {
            match T::read(value.get_ref()) {
                Some(it) => {
                    let key = Spanned::new(key.span(), key.get_ref().to_string());
                    found.push((key, Spanned::new(value.span(), it)));
                }
                None => {
                    let what = format!("`{}` is {}", short(key.get_ref()), is(value.get_ref()));
                    self.complain(faults, Some(value.span()), &what, T::IS);
                }
            }
        }
        found
    }

    /// Puts down every key that nobody has asked for.
    pub(super) fn end(&self, faults: &mut Faults) {
        for key in self.table.keys().filter(|it| !self.asked.contains(&it.get_ref().as_ref())) {
            let known = self.asked.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
            self.complain(faults, Some(key.span()), &format!("unknown key `{}`", short(key.get_ref())), known);
        }
    }
}

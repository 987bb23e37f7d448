//! A model file as a whole, and everything that is checked when it is read.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::number::{KINDS, Kind, WordOrder};
use super::part::{Fault, Faults, Part, quoted, short};
use super::poll::poll;
use super::{
    Detail, DetailKind, Identity, MAX_REGISTERS, Mode, Model, Poll, Quantity, Sign, Sure, Table, TextForm, Transport,
    Value,
};

/// No model file is longer.
const LONGEST: usize = 64 * 1024;
/// Of a file that is something else altogether, only so many complaints are of use.
const MOST: usize = 50;

pub(super) const TABLES: [(&str, Table); 2] = [("holding", Table::Holding), ("input", Table::Input)];
pub(super) const WORD_ORDERS: [(&str, WordOrder); 2] =
    [("high-first", WordOrder::HighFirst), ("low-first", WordOrder::LowFirst)];

/// One thing that is wrong with a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    /// From 1. What concerns the whole file is said at its begin.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The bytes that are meant.
    pub span: Range<usize>,
    /// One sentence.
    pub what: String,
    /// Instead of it.
    pub allowed: String,
}

/// Everything that is wrong with a model file, in the order of its lines; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelErrors {
    /// Name of the file without its ending.
    pub id: String,
    /// Not empty.
    pub list: Vec<ModelError>,
}

impl fmt::Display for ModelErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model `{}`", self.id)?;
        self.list.iter().try_for_each(|it| {
            write!(f, "; line {}, column {}: {}; allowed: {}", it.line, it.column, it.what, it.allowed)
        })
    }
}

impl std::error::Error for ModelErrors {}

pub(super) fn parse(id: &str, text: &str) -> Result<Model, ModelErrors> {
    let mut faults = Faults::default();
    let model = if text.len() > LONGEST {
        faults.add(0..0, format!("the file has {} bytes", text.len()), format!("{LONGEST} bytes"));
        None
    } else {
        read(id, text, &mut faults)
    };
    match model {
        Some(model) if faults.0.is_empty() => Ok(model),
        _ => Err(errors(id, text, faults)),
    }
}

fn read(id: &str, text: &str, faults: &mut Faults) -> Option<Model> {
    let (table, slips) = DeTable::parse_recoverable(text);
    for slip in slips.iter().take(MOST) {
        let what = format!("this is not TOML: {}", slip.message().replace('\n', ", "));
        faults.add(slip.span().unwrap_or(0..0), what, "TOML; docs/meter-models.md has a whole file");
    }
    // What was made of the rest would be complained of for no other reason.
    if slips.is_empty() { build(id, Part::whole(table.get_ref()), faults) } else { None }
}

fn errors(id: &str, text: &str, mut faults: Faults) -> ModelErrors {
    faults.0.sort_by_key(|it| it.span.start);
    let more = faults.0.len().saturating_sub(MOST);
    faults.0.truncate(MOST);
    if let Some(last) = faults.0.last_mut().filter(|_| more > 0) {
        last.what = format!("{} (and {more} more behind it)", last.what);
    }
    let error = |Fault { what, allowed, span }: Fault| {
        let (line, column) = position(text, span.start);
        ModelError { line, column, span, what, allowed }
    };
    ModelErrors { id: id.to_owned(), list: faults.0.into_iter().map(error).collect() }
}

/// Line and column of a byte, in characters from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before: String = text.char_indices().take_while(|it| it.0 < at).map(|it| it.1).collect();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

/// What a value takes where it does not say otherwise; `None` where that could not be read.
pub(super) struct Surroundings {
    pub(super) table: Option<Table>,
    pub(super) kind: Option<Kind>,
    pub(super) order: Option<WordOrder>,
    pub(super) phases: Option<u8>,
    pub(super) max_registers: u16,
    pub(super) invalid: Vec<(Kind, u64)>,
    pub(super) plausible: Vec<(Quantity, (f64, f64))>,
}

impl Surroundings {
    /// Whether so many registers can be read at once from there.
    pub(super) fn span(&self, part: &Part<'_>, at: u16, count: &Spanned<u16>, faults: &mut Faults) -> bool {
        let many = *count.get_ref();
        if many == 0 || many > self.max_registers {
            let what = format!("{many} registers in one request");
            part.complain(faults, Some(count.span()), &what, format!("1 to {}", self.max_registers));
            return false;
        }
        let ends = u32::from(at) + u32::from(many) <= 0x1_0000;
        if !ends {
            part.complain(faults, Some(count.span()), "the last register is above 65535", "registers 0 to 65535");
        }
        ends
    }
}

/// The value where it holds; else it is put down.
fn hold<T>(
    part: &Part<'_>,
    found: Option<Spanned<T>>,
    holds: impl Fn(&T) -> bool,
    what: &str,
    allowed: &str,
    faults: &mut Faults,
) -> Option<T> {
    let found = found?;
    if !holds(found.get_ref()) {
        part.complain(faults, Some(found.span()), what, allowed);
        return None;
    }
    Some(found.into_inner())
}

fn build(id: &str, mut root: Part<'_>, faults: &mut Faults) -> Option<Model> {
    let format = root.required::<u8>("format", faults);
    let format = hold(&root, format, |it| *it == 1, "`format` is not known", "1", faults);
    let vendor = root.required::<String>("vendor", faults);
    let name = root.required::<String>("name", faults);
    let fits = root.required::<Vec<String>>("fits", faults);
    let fits = hold(&root, fits, |it| !it.is_empty(), "`fits` names no type", "one type or more", faults);
    let phases = root.required::<u8>("phases", faults);
    let phases = hold(&root, phases, |it| matches!(it, 1 | 3), "`phases` is neither", "1 or 3", faults);
    let words = [Sure::TwoSources, Sure::OneSource, Sure::Doubtful].map(|it| (it.word(), it));
    let sure = root.required_word("sure", &words, faults);
    let sources = root.required::<Vec<String>>("sources", faults);
    let needed = if sure == Some(Sure::TwoSources) { 2 } else { 1 };
    let enough = format!("{needed} or more");
    let sources =
        hold(&root, sources, |it| it.len() >= needed, "`sources` does not name what `sure` says", &enough, faults);
    let notes = root.optional::<Vec<String>>("notes", faults).map_or_else(Vec::new, Spanned::into_inner);
    let transport = root.table("transport", Some("`kinds` and what is known of the factory setting"), faults);
    let transport = transport.and_then(|it| transport_of(it, faults));
    let defaults = root.table("defaults", Some("`table`, `type` and `words`"), faults);
    let (table, kind, order) = defaults.map_or((None, None, None), |it| defaults_of(it, faults));
    let sunspec = root.optional::<Vec<u16>>("sunspec", faults).map_or_else(Vec::new, Spanned::into_inner);
    let maker = root.optional::<String>("maker", faults);
    let whole = |it: &String| !sunspec.is_empty() && !it.is_empty();
    let what = "`maker` is a name in the SunSpec chain, and needs `sunspec`";
    let maker = hold(&root, maker, whole, what, "`sunspec` beside it, or no `maker`", faults);
    let around = Surroundings {
        table,
        kind,
        order,
        phases,
        max_registers: transport.as_ref().map_or(MAX_REGISTERS, |it| it.max_registers),
        invalid: root.table("invalid", None, faults).map_or_else(Vec::new, |it| invalid(&it, faults)),
        plausible: root.table("plausible", None, faults).map_or_else(Vec::new, |it| plausible(&it, faults)),
    };
    let identity = each(&mut root, "identity", faults, |it, faults| identity(it, &around, faults));
    let modes = each(&mut root, "mode", faults, |it, faults| mode(it, &around, faults));
    let details = each(&mut root, "detail", faults, |it, faults| detail(it, &around, faults));
    if !root.has("poll") {
        root.complain(faults, None, "there is no [[poll]]", "[[poll]] for each request");
    }
    let mut taken = Vec::new();
    let polls = each(&mut root, "poll", faults, |it, faults| poll(it, &around, &mut taken, faults));
    root.end(faults);
    // What is missing in polls that could not be read may be in them.
    let polls = polls.filter(|it| !it.is_empty())?;
    useful(&root, &polls, faults);
    format?;
    Some(Model {
        id: id.to_owned(),
        vendor: vendor?.into_inner(),
        name: name?.into_inner(),
        fits: fits?,
        phases: phases?,
        sure: sure?,
        notes,
        sources: sources?,
        transport: transport?,
        sunspec,
        maker,
        identity: identity?,
        modes: modes?,
        details: details?,
        polls,
    })
}

/// Every table of a list; `None` where one could not be read.
fn each<'a, T>(
    root: &mut Part<'a>,
    key: &'static str,
    faults: &mut Faults,
    mut make: impl FnMut(Part<'a>, &mut Faults) -> Option<T>,
) -> Option<Vec<T>> {
    let parts = root.tables(key, faults).unwrap_or_default();
    let made: Vec<Option<T>> = parts.into_iter().map(|it| make(it, faults)).collect();
    made.into_iter().collect()
}

/// A meter must say something that a fuse needs, and say it in every round.
fn useful(root: &Part<'_>, polls: &[Poll], faults: &mut Faults) {
    if !polls.iter().any(|poll| poll.fast && !poll.optional) {
        let what = "no poll is `every = \"cycle\"` without being optional";
        root.complain(faults, None, what, "one or more of them");
    }
    let wanted =
        |value: &Value| matches!(value.key.quantity, Quantity::Current | Quantity::Power | Quantity::PowerImport);
    if !polls.iter().filter(|poll| poll.fast).flat_map(|poll| &poll.values).any(wanted) {
        let what = "no poll of every cycle has a current or a power";
        root.complain(
            faults,
            None,
            what,
            "\"current\", \"power\" or \"power-import\" in a poll with `every = \"cycle\"`",
        );
    }
}

fn transport_of(mut part: Part<'_>, faults: &mut Faults) -> Option<Transport> {
    const ALLOWED: &str = "[\"rtu\"], [\"tcp\"] or [\"rtu\", \"tcp\"]";
    let kinds = part.required::<Vec<String>>("kinds", faults);
    let known = |it: &Vec<String>| !it.is_empty() && it.iter().all(|it| matches!(it.as_str(), "rtu" | "tcp"));
    let kinds = hold(&part, kinds, known, "`kinds` is empty or names another", ALLOWED, faults);
    let unit = part.optional::<u8>("unit", faults);
    let unit = hold(&part, unit, |it| (1..=247).contains(it), "`unit` is no Modbus address", "1 to 247", faults);
    let baud = part.optional::<u32>("baud", faults);
    let baud = hold(&part, baud, |it| (300..=230_400).contains(it), "`baud` is no line speed", "300 to 230400", faults);
    let parity = part.word(
        "parity",
        &[("none", 'N'), ("even", 'E'), ("odd", 'O')].map(|it| (it.0, Some(it.1))),
        Some(None),
        faults,
    );
    let stop = part.optional::<u8>("stop", faults);
    let stop = hold(&part, stop, |it| matches!(it, 1 | 2), "`stop` is neither", "1 or 2", faults);
    let port = part.optional::<u16>("port", faults);
    let port = hold(&part, port, |it| *it > 0, "`port` is no port", "1 to 65535", faults);
    let most = part.optional::<u16>("max_registers", faults);
    let what = "`max_registers` is not possible";
    let most = hold(&part, most, |it| (2..=MAX_REGISTERS).contains(it), what, "2 to 125", faults);
    part.end(faults);
    let kinds = kinds?;
    let has = |kind: &str| kinds.iter().any(|it| it == kind);
    Some(Transport {
        rtu: has("rtu"),
        tcp: has("tcp"),
        unit,
        baud,
        parity: parity?,
        stop,
        port,
        max_registers: most.unwrap_or(MAX_REGISTERS),
    })
}

fn defaults_of(mut part: Part<'_>, faults: &mut Faults) -> (Option<Table>, Option<Kind>, Option<WordOrder>) {
    let table = part.required_word("table", &TABLES, faults);
    let kind = part.required_word("type", &KINDS, faults);
    let order = part.required_word("words", &WORD_ORDERS, faults);
    part.end(faults);
    (table, kind, order)
}

fn invalid(part: &Part<'_>, faults: &mut Faults) -> Vec<(Kind, u64)> {
    let mut out = Vec::new();
    for (word, patterns) in part.entries::<Vec<String>>(faults) {
        let Some((_, kind)) = KINDS.into_iter().find(|it| it.0 == word.get_ref()) else {
            let what = format!("`{}` is no type", short(word.get_ref()));
            part.complain(faults, Some(word.span()), &what, quoted(KINDS.iter().map(|it| it.0)));
            continue;
        };
        let digits = usize::from(kind.words()) * 4;
        for pattern in patterns.get_ref() {
            let bits = Some(pattern).filter(|it| it.len() == digits && it.bytes().all(|it| it.is_ascii_hexdigit()));
            match bits.and_then(|it| u64::from_str_radix(it, 16).ok()) {
                Some(bits) => out.push((kind, bits)),
                None => {
                    let what = format!("`{}` has \"{}\"", word.get_ref(), short(pattern));
                    part.complain(faults, Some(patterns.span()), &what, format!("{digits} hexadecimal digits each"));
                }
            }
        }
    }
    out
}

fn plausible(part: &Part<'_>, faults: &mut Faults) -> Vec<(Quantity, (f64, f64))> {
    let words = Quantity::ALL.map(|it| (it.nature().word, it));
    let mut out = Vec::new();
    for (word, range) in part.entries::<(f64, f64)>(faults) {
        let (low, high) = *range.get_ref();
        // What is no number is no bound, either.
        if low.partial_cmp(&high) != Some(Ordering::Less) {
            let what = format!("the range of `{}` is empty", short(word.get_ref()));
            part.complain(faults, Some(range.span()), &what, "[lowest, highest]");
        }
        match words.into_iter().find(|it| it.0 == word.get_ref()) {
            Some((_, quantity)) => out.push((quantity, (low, high))),
            None => {
                let what = format!("`{}` is no quantity", short(word.get_ref()));
                part.complain(faults, Some(word.span()), &what, quoted(words.iter().map(|it| it.0)));
            }
        }
    }
    out
}

fn identity(mut part: Part<'_>, around: &Surroundings, faults: &mut Faults) -> Option<Identity> {
    let table = part.word("table", &TABLES, around.table, faults);
    let address = part.required::<u16>("at", faults);
    let count = part.optional::<u16>("count", faults).unwrap_or_else(|| Spanned::new(part.span(), 1));
    let is = part.optional::<Vec<u16>>("is", faults);
    let between = part.optional::<(u16, u16)>("between", faults);
    let begins = part.optional::<String>("begins", faults);
    let model = part.optional::<String>("model", faults).map_or_else(String::new, Spanned::into_inner);
    part.end(faults);
    let address = address?.into_inner();
    around.span(&part, address, &count, faults);
    let read = [is.is_some(), between.is_some(), begins.is_some()];
    if ["is", "between", "begins"].iter().zip(read).any(|(key, read)| part.has(key) && !read) {
        return None;
    }
    let count = count.into_inner();
    let sign = match (is, between.map(Spanned::into_inner), begins) {
        (Some(words), None, None) if !words.get_ref().is_empty() => Sign::Word(words.into_inner()),
        (None, Some((low, high)), None) if low <= high => Sign::Between(low, high),
        (None, None, Some(text)) if !text.get_ref().is_empty() && text.get_ref().len() <= usize::from(count) * 2 => {
            Sign::Text(text.into_inner())
        }
        _ => {
            let what = "nothing says what the register must hold, or two things do, or they do not fit";
            let allowed = "one of `is = [16]`, `between = [lowest, highest]` and `begins = \"text\"`, two letters for each \
                           register of `count`";
            part.complain(faults, None, what, allowed);
            return None;
        }
    };
    Some(Identity { table: table?, address, count, sign, model })
}

fn mode(mut part: Part<'_>, around: &Surroundings, faults: &mut Faults) -> Option<Mode> {
    let table = part.word("table", &TABLES, around.table, faults);
    let address = part.required::<u16>("at", faults);
    let wanted = part.required::<Vec<u16>>("is", faults);
    let wanted = hold(&part, wanted, |it| !it.is_empty(), "`is` names no value", "one value or more", faults);
    let everything = part.word("withhold", &[("powers", false), ("everything", true)], Some(false), faults);
    let otherwise = part.required::<String>("otherwise", faults);
    let allowed = "a sentence: what is wrong then, and what to do";
    let otherwise = hold(&part, otherwise, |it| !it.is_empty(), "`otherwise` is empty", allowed, faults);
    part.end(faults);
    let address = address?.into_inner();
    Some(Mode { table: table?, address, wanted: wanted?, everything: everything?, otherwise: otherwise? })
}

fn detail(mut part: Part<'_>, around: &Surroundings, faults: &mut Faults) -> Option<Detail> {
    let kinds = [("type", DetailKind::Type), ("serial", DetailKind::Serial), ("firmware", DetailKind::Firmware)];
    let forms = [("ascii", TextForm::Ascii), ("ascii-low", TextForm::AsciiLow), ("number", TextForm::Number)];
    let kind = part.required_word("is", &kinds, faults);
    let table = part.word("table", &TABLES, around.table, faults);
    let address = part.required::<u16>("at", faults);
    let count = part.required::<u16>("count", faults);
    let form = part.required_word("form", &forms, faults);
    part.end(faults);
    let (address, count) = (address?.into_inner(), count?);
    if around.span(&part, address, &count, faults) && form == Some(TextForm::Number) && *count.get_ref() > 4 {
        part.complain(faults, Some(count.span()), "a number is too long", "1 to 4 registers");
    }
    Some(Detail { kind: kind?, table: table?, address, count: count.into_inner(), form: form? })
}

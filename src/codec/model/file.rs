//! The shape of a model file, and everything that is checked when it is read.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::decode::Key;
use super::number::{Kind, WordOrder};
use super::{
    Detail, DetailKind, Identity, MAX_REGISTERS, Mode, Model, Poll, Quantity, Sign, Sure, Table, TextForm, Transport,
    Value,
};
use crate::quantity::Phase;

/// No model file is longer.
const LONGEST: usize = 64 * 1024;

/// What is wrong with a model file, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model `{id}`{}: {what}", place.map(|(line, column)| format!(", line {line}, column {column}")).unwrap_or_default())]
pub struct ModelError {
    /// Name of the file without its ending.
    pub id: String,
    /// Line and column in characters, from 1; `None` where it concerns the whole file.
    pub place: Option<(usize, usize)>,
    /// One sentence.
    pub what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    format: Spanned<u8>,
    vendor: String,
    name: String,
    fits: Spanned<Vec<String>>,
    phases: Spanned<u8>,
    sure: Spanned<String>,
    sources: Spanned<Vec<String>>,
    #[serde(default)]
    notes: Vec<String>,
    transport: Spanned<RawTransport>,
    defaults: Spanned<RawDefaults>,
    #[serde(default)]
    sunspec: Vec<u16>,
    /// What the maker's name in the SunSpec chain begins with; a file with it goes before those without.
    maker: Option<Spanned<String>>,
    /// Bit patterns per type, in hexadecimal digits.
    #[serde(default)]
    invalid: BTreeMap<String, Spanned<Vec<String>>>,
    /// Bounds per quantity, in its first unit.
    #[serde(default)]
    plausible: BTreeMap<String, Spanned<(f64, f64)>>,
    #[serde(default)]
    identity: Vec<Spanned<RawIdentity>>,
    #[serde(default)]
    mode: Vec<Spanned<RawMode>>,
    #[serde(default)]
    detail: Vec<Spanned<RawDetail>>,
    poll: Vec<Spanned<RawPoll>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTransport {
    kinds: Vec<String>,
    unit: Option<u8>,
    baud: Option<u32>,
    parity: Option<String>,
    stop: Option<u8>,
    port: Option<u16>,
    max_registers: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDefaults {
    table: String,
    r#type: String,
    words: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    table: Option<String>,
    at: u16,
    count: Option<u16>,
    is: Option<Vec<u16>>,
    between: Option<(u16, u16)>,
    begins: Option<String>,
    #[serde(default)]
    model: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMode {
    table: Option<String>,
    at: u16,
    is: Vec<u16>,
    withhold: Option<String>,
    otherwise: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDetail {
    is: String,
    table: Option<String>,
    at: u16,
    count: u16,
    form: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoll {
    every: String,
    table: Option<String>,
    from: u16,
    count: u16,
    #[serde(default)]
    optional: bool,
    values: Vec<Spanned<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawValue {
    is: String,
    /// One value per phase, one behind the other.
    #[serde(default)]
    on: Vec<String>,
    #[serde(default)]
    tariff: u8,
    at: u16,
    /// From one phase's first register to the next one's, where they do not touch.
    step: Option<u16>,
    r#type: Option<String>,
    words: Option<String>,
    unit: Option<String>,
    scale: Option<f64>,
    exponent_at: Option<u16>,
    #[serde(default)]
    magnitude: bool,
    #[serde(default)]
    export_positive: bool,
}

/// "`a`, `b`".
pub(super) fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|it| format!("\"{it}\"")).collect::<Vec<_>>().join(", ")
}

pub(super) fn parse(id: &str, text: &str) -> Result<Model, ModelError> {
    let wrong = |fault: Fault| ModelError {
        id: id.to_owned(),
        place: fault.span.map(|it| position(text, it.start)),
        what: fault.what,
    };
    if text.len() > LONGEST {
        return Err(wrong(format!("the file has {} bytes; allowed: {LONGEST}", text.len()).into()));
    }
    let raw: RawModel =
        toml::from_str(text).map_err(|error| wrong(Fault { what: error.message().to_owned(), span: error.span() }))?;
    build(id, raw).map_err(wrong)
}

/// Line and column of a byte, in characters from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before: String = text.char_indices().take_while(|it| it.0 < at).map(|it| it.1).collect();
    let last = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, last.chars().count() + 1)
}

/// What is wrong, and the bytes of the file that say so.
struct Fault {
    what: String,
    span: Option<Range<usize>>,
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self { what, span: None }
    }
}

type Check<T> = Result<T, String>;
type Placed<T> = Result<T, Fault>;

/// Something that was made of this part of the file.
fn at<R, T>(part: &Spanned<R>, made: Check<T>) -> Placed<T> {
    made.map_err(|what| Fault { what, span: Some(part.span()) })
}

fn one_of<T: Copy>(key: &str, word: &str, words: &[(&str, T)]) -> Check<T> {
    words
        .iter()
        .find(|it| it.0 == word)
        .map(|it| it.1)
        .ok_or_else(|| format!("`{key}` = {word:?} is not known; allowed: {}", quoted(words.iter().map(|it| it.0))))
}

fn require(holds: bool, sentence: &str) -> Check<()> {
    if holds { Ok(()) } else { Err(sentence.to_owned()) }
}

fn table(word: &str) -> Check<Table> {
    one_of("table", word, &[("holding", Table::Holding), ("input", Table::Input)])
}

fn word_order(word: &str) -> Check<WordOrder> {
    one_of("words", word, &[("high-first", WordOrder::HighFirst), ("low-first", WordOrder::LowFirst)])
}

/// What a value takes where it does not say otherwise.
struct Surroundings {
    table: Table,
    kind: Kind,
    order: WordOrder,
    phases: u8,
    max_registers: u16,
    invalid: Vec<(Kind, u64)>,
    plausible: Vec<(Quantity, (f64, f64))>,
}

impl Surroundings {
    fn table(&self, word: Option<&String>) -> Check<Table> {
        word.map_or(Ok(self.table), |word| table(word))
    }

    fn span(&self, at: u16, count: u16) -> Check<()> {
        if count == 0 || count > self.max_registers {
            return Err(format!("{count} registers in one request; allowed: 1 to {}", self.max_registers));
        }
        require(u32::from(at) + u32::from(count) <= 0x1_0000, "the last register is above 65535")
    }
}

fn build(id: &str, raw: RawModel) -> Placed<Model> {
    at(&raw.format, require(*raw.format.get_ref() == 1, "`format` must be 1"))?;
    at(&raw.phases, require(matches!(raw.phases.get_ref(), 1 | 3), "`phases` must be 1 or 3"))?;
    at(&raw.fits, require(!raw.fits.get_ref().is_empty(), "`fits` names no type"))?;
    let words = [Sure::TwoSources, Sure::OneSource, Sure::Doubtful].map(|it| (it.word(), it));
    let sure = at(&raw.sure, one_of("sure", raw.sure.get_ref(), &words))?;
    let needed = if sure == Sure::TwoSources { 2 } else { 1 };
    at(&raw.sources, require(raw.sources.get_ref().len() >= needed, "`sources` must name what `sure` says"))?;
    let transport = at(&raw.transport, transport(raw.transport.get_ref()))?;
    let defaults = raw.defaults.get_ref();
    let around = Surroundings {
        table: at(&raw.defaults, table(&defaults.table))?,
        kind: at(&raw.defaults, Kind::from_word(&defaults.r#type))?,
        order: at(&raw.defaults, word_order(&defaults.words))?,
        phases: *raw.phases.get_ref(),
        max_registers: transport.max_registers,
        invalid: invalid(&raw.invalid)?,
        plausible: plausible(&raw.plausible)?,
    };
    let identity = all(&raw.identity, "identity", |it| identity(it, &around))?;
    let modes = all(&raw.mode, "mode", |it| mode(it, &around))?;
    let details = all(&raw.detail, "detail", |it| detail(it, &around))?;
    let polls = all(&raw.poll, "poll", |it| poll(it, &around))?;
    let needed = |poll: &Poll| poll.fast && !poll.optional;
    require(polls.iter().any(needed), "no poll is `every = \"cycle\"` without being optional")?;
    unique(&polls)?;
    if let Some(maker) = &raw.maker {
        let whole = !raw.sunspec.is_empty() && !maker.get_ref().is_empty();
        at(maker, require(whole, "`maker` is a name in the SunSpec chain, and needs `sunspec`"))?;
    }
    let fast = || polls.iter().filter(|poll| poll.fast).flat_map(|poll| &poll.values);
    let useful =
        |value: &Value| matches!(value.key.quantity, Quantity::Current | Quantity::Power | Quantity::PowerImport);
    require(fast().any(useful), "no poll of every cycle has a current or a power")?;
    Ok(Model {
        id: id.to_owned(),
        vendor: raw.vendor,
        name: raw.name,
        fits: raw.fits.into_inner(),
        phases: around.phases,
        sure,
        notes: raw.notes,
        sources: raw.sources.into_inner(),
        transport,
        sunspec: raw.sunspec,
        maker: raw.maker.map(Spanned::into_inner),
        identity,
        modes,
        details,
        polls,
    })
}

/// Every item of a list, or the first complaint with its place.
fn all<R, T, E: Into<Fault>>(items: &[Spanned<R>], what: &str, make: impl Fn(&R) -> Result<T, E>) -> Placed<Vec<T>> {
    let place = |(index, item): (usize, &Spanned<R>)| {
        make(item.get_ref()).map_err(|error| {
            let inner: Fault = error.into();
            let what = format!("[[{what}]] number {}: {}", index + 1, inner.what);
            Fault { what, span: inner.span.or_else(|| Some(item.span())) }
        })
    };
    items.iter().enumerate().map(place).collect()
}

fn transport(raw: &RawTransport) -> Check<Transport> {
    let has = |kind: &str| raw.kinds.iter().any(|it| it == kind);
    for kind in &raw.kinds {
        one_of("kinds", kind, &[("rtu", ()), ("tcp", ())])?;
    }
    require(!raw.kinds.is_empty(), "`kinds` is empty; allowed: \"rtu\", \"tcp\"")?;
    let parity = raw.parity.as_deref().map(|it| one_of("parity", it, &[("none", 'N'), ("even", 'E'), ("odd", 'O')]));
    let parity = parity.transpose()?;
    require(raw.stop.is_none_or(|it| matches!(it, 1 | 2)), "`stop` must be 1 or 2")?;
    require(raw.unit.is_none_or(|it| (1..=247).contains(&it)), "`unit` must be 1 to 247")?;
    let max_registers = raw.max_registers.unwrap_or(MAX_REGISTERS);
    require((2..=MAX_REGISTERS).contains(&max_registers), "`max_registers` must be 2 to 125")?;
    Ok(Transport {
        rtu: has("rtu"),
        tcp: has("tcp"),
        unit: raw.unit,
        baud: raw.baud,
        parity,
        stop: raw.stop,
        port: raw.port,
        max_registers,
    })
}

fn invalid(raw: &BTreeMap<String, Spanned<Vec<String>>>) -> Placed<Vec<(Kind, u64)>> {
    let mut out = Vec::new();
    for (word, patterns) in raw {
        let kind = at(patterns, Kind::from_word(word))?;
        for pattern in patterns.get_ref() {
            let fits = pattern.len() == usize::from(kind.words()) * 4;
            let bits = u64::from_str_radix(pattern, 16).ok().filter(|_| fits);
            let digits = kind.words() * 4;
            let what = || format!("`invalid.{word}` has {pattern:?}, which is not {digits} hexadecimal digits");
            out.push((kind, at(patterns, bits.ok_or_else(what))?));
        }
    }
    Ok(out)
}

fn quantity(word: &str) -> Check<Quantity> {
    one_of("is", word, &Quantity::ALL.map(|it| (it.nature().word, it)))
}

fn plausible(raw: &BTreeMap<String, Spanned<(f64, f64)>>) -> Placed<Vec<(Quantity, (f64, f64))>> {
    let one = |(word, part): (&String, &Spanned<(f64, f64)>)| {
        let range = *part.get_ref();
        at(part, require(range.0 < range.1, "a range of `plausible` is empty"))?;
        Ok((at(part, quantity(word))?, range))
    };
    raw.iter().map(one).collect()
}

fn identity(raw: &RawIdentity, around: &Surroundings) -> Check<Identity> {
    let count = raw.count.unwrap_or(1);
    around.span(raw.at, count)?;
    let sign = match (&raw.is, raw.between, &raw.begins) {
        (Some(words), None, None) if !words.is_empty() => Sign::Word(words.clone()),
        (None, Some((low, high)), None) if low <= high => Sign::Between(low, high),
        (None, None, Some(text)) if !text.is_empty() && text.len() <= usize::from(count) * 2 => {
            Sign::Text(text.clone())
        }
        _ => return Err("one of `is`, `between` and `begins` is needed, and must fit `count`".to_owned()),
    };
    let table = around.table(raw.table.as_ref())?;
    Ok(Identity { table, address: raw.at, count, sign, model: raw.model.clone() })
}

fn mode(raw: &RawMode, around: &Surroundings) -> Check<Mode> {
    require(!raw.is.is_empty(), "`is` names no value")?;
    require(!raw.otherwise.is_empty(), "`otherwise` must say what to do")?;
    let table = around.table(raw.table.as_ref())?;
    let words = [("powers", false), ("everything", true)];
    let everything = raw.withhold.as_ref().map_or(Ok(false), |word| one_of("withhold", word, &words))?;
    Ok(Mode { table, address: raw.at, wanted: raw.is.clone(), everything, otherwise: raw.otherwise.clone() })
}

fn detail(raw: &RawDetail, around: &Surroundings) -> Check<Detail> {
    around.span(raw.at, raw.count)?;
    let kinds = [("type", DetailKind::Type), ("serial", DetailKind::Serial), ("firmware", DetailKind::Firmware)];
    let forms = [("ascii", TextForm::Ascii), ("ascii-low", TextForm::AsciiLow), ("number", TextForm::Number)];
    let form = one_of("form", &raw.form, &forms)?;
    require(form != TextForm::Number || raw.count <= 4, "a number has at most 4 registers")?;
    Ok(Detail {
        kind: one_of("is", &raw.is, &kinds)?,
        table: around.table(raw.table.as_ref())?,
        address: raw.at,
        count: raw.count,
        form,
    })
}

fn poll(raw: &RawPoll, around: &Surroundings) -> Placed<Poll> {
    around.span(raw.from, raw.count)?;
    let values: Vec<Vec<Value>> = all(&raw.values, "values", |it| values(it, raw, around))?;
    let values: Vec<Value> = values.into_iter().flatten().collect();
    require(!values.is_empty(), "it has no values")?;
    let range = |it: &Value| it.offset..it.offset + it.kind.words();
    for (index, value) in values.iter().enumerate() {
        let overlaps = |other: &&Value| range(other).start < range(value).end && range(value).start < range(other).end;
        if let Some(other) = values[..index].iter().find(overlaps) {
            return Err(format!("{} and {} share a register", other.key, value.key).into());
        }
    }
    Ok(Poll {
        fast: one_of("every", &raw.every, &[("cycle", true), ("slow", false)])?,
        optional: raw.optional,
        table: around.table(raw.table.as_ref())?,
        first: raw.from,
        count: raw.count,
        values,
    })
}

/// The values of one line: one, or one for each phase that it names.
fn values(raw: &RawValue, poll: &RawPoll, around: &Surroundings) -> Check<Vec<Value>> {
    let quantity = quantity(&raw.is)?;
    let nature = quantity.nature();
    let kind = raw.r#type.as_ref().map_or(Ok(around.kind), |word| Kind::from_word(word))?;
    let order = raw.words.as_ref().map_or(Ok(around.order), |word| word_order(word))?;
    let unit = raw.unit.as_deref().unwrap_or(nature.units[0].0);
    let factor = one_of("unit", unit, nature.units)?;
    let number = raw.scale.unwrap_or(1.0);
    require(number.is_finite() && number > 0.0, "`scale` must be a number above 0")?;
    let scale = number * factor * if raw.export_positive { -1.0 } else { 1.0 };
    let exponent = raw.exponent_at.map(|at| offset(at, 1, poll)).transpose()?;
    let on = |word: &String| {
        let phase = one_of("on", word, &Phase::ALL.map(|it| (["L1", "L2", "L3"][it.index()], it)))?;
        require(around.phases == 3 || phase == Phase::L1, "a meter of one phase has L1 only")?;
        Ok(Some(phase))
    };
    let phases: Vec<Option<Phase>> =
        if raw.on.is_empty() { vec![None] } else { raw.on.iter().map(on).collect::<Check<_>>()? };
    let step = raw.step.unwrap_or_else(|| kind.words());
    let place = |index: usize| u16::try_from(index).ok().and_then(|it| raw.at.checked_add(it.checked_mul(step)?));
    let plausible = around.plausible.iter().find(|it| it.0 == quantity).map_or(nature.plausible, |it| it.1);
    let invalid: Vec<u64> = around.invalid.iter().filter(|it| it.0 == kind).map(|it| it.1).collect();
    let decimals = if kind.has_point() || exponent.is_some() {
        nature.decimals
    } else {
        nature.decimals.min((-scale.abs().log10()).ceil().clamp(-9.0, 9.0) as i8)
    };
    let one = |(index, phase): (usize, &Option<Phase>)| {
        let at = place(index).ok_or("the last register is above 65535")?;
        Ok(Value {
            key: Key { quantity, phase: *phase, tariff: raw.tariff },
            offset: offset(at, kind.words(), poll)?,
            kind,
            order,
            scale,
            exponent,
            magnitude: raw.magnitude,
            invalid: invalid.clone(),
            plausible,
            decimals,
        })
    };
    phases.iter().enumerate().map(one).collect()
}

/// Where a value lies in its poll.
fn offset(at: u16, words: u16, poll: &RawPoll) -> Check<u16> {
    let inside = at.checked_sub(poll.from).filter(|it| u32::from(*it) + u32::from(words) <= u32::from(poll.count));
    inside.ok_or_else(|| {
        format!("register {at} with {words} words is outside of its poll, {} registers from {}", poll.count, poll.from)
    })
}

fn unique(polls: &[Poll]) -> Check<()> {
    let keys: Vec<Key> = polls.iter().flat_map(|poll| &poll.values).map(|it| it.key).collect();
    let twice = keys.iter().enumerate().find(|(index, key)| keys[..*index].contains(key));
    twice.map_or(Ok(()), |(_, key)| Err(format!("{key} is there twice")))
}

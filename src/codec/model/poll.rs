//! Polls of a model file, and the values in them.

use std::ops::Range;

use toml::Spanned;

use super::decode::Key;
use super::file::{Surroundings, TABLES, WORD_ORDERS};
use super::number::KINDS;
use super::part::{Faults, Part, short};
use super::{Poll, Quantity, Value};
use crate::quantity::Phase;

/// Registers of one request.
#[derive(Clone, Copy)]
struct Block {
    from: u16,
    count: u16,
}

/// A key that a value has, and where it says so.
pub(super) type Taken = (Key, Range<usize>);

/// One poll; `taken` are the keys of all polls so far.
pub(super) fn poll(
    mut part: Part<'_>,
    around: &Surroundings,
    taken: &mut Vec<Taken>,
    faults: &mut Faults,
) -> Option<Poll> {
    let fast = part.required_word("every", &[("cycle", true), ("slow", false)], faults);
    let table = part.word("table", &TABLES, around.table, faults);
    let from = part.required::<u16>("from", faults);
    let count = part.required::<u16>("count", faults);
    let optional = part.flag("optional", faults);
    let items = part.tables("values", faults);
    part.end(faults);
    if items.as_ref().is_none_or(Vec::is_empty) {
        part.complain(faults, None, "it has no values", "values = [{ is = \"power\", at = 12 }, …]");
    }
    let mut block = None;
    if let (Some(from), Some(count)) = (from, count)
        && around.span(&part, *from.get_ref(), &count, faults)
    {
        block = Some(Block { from: from.into_inner(), count: count.into_inner() });
    }
    let (mut found, mut whole): (Vec<(Value, Range<usize>)>, bool) = (Vec::new(), true);
    for mut item in items.unwrap_or_default() {
        let Some(values) = values(&mut item, block, around, faults) else {
            whole = false;
            continue;
        };
        for value in values {
            let range = |it: &Value| it.offset..it.offset + it.kind.words();
            let overlaps =
                |other: &Value| range(other).start < range(&value).end && range(&value).start < range(other).end;
            if let Some((other, _)) = found.iter().find(|it| overlaps(&it.0)) {
                let what = format!("{} and {} share a register", other.key, value.key);
                item.complain(faults, None, &what, "each register once");
            } else if taken.iter().any(|it| it.0 == value.key) {
                let allowed = "each quantity of a phase and tariff once in all polls";
                item.complain(faults, None, &format!("{} is there twice", value.key), allowed);
            }
            taken.push((value.key, item.span()));
            found.push((value, item.span()));
        }
    }
    // What is missing in the polls that could be read may be in this one.
    let Block { from, count } = block.filter(|_| whole)?;
    let values = found.into_iter().map(|it| it.0).collect();
    Some(Poll { fast: fast?, optional, table: table?, first: from, count, values })
}

/// The values of one line: one, or one for each phase that it names.
fn values(part: &mut Part<'_>, block: Option<Block>, around: &Surroundings, faults: &mut Faults) -> Option<Vec<Value>> {
    let quantity = part.required_word("is", &Quantity::ALL.map(|it| (it.nature().word, it)), faults);
    let phases = phases(part, around, faults);
    let tariff = part.optional::<u8>("tariff", faults).map_or(0, Spanned::into_inner);
    let at = part.required::<u16>("at", faults);
    let step = part.optional::<u16>("step", faults);
    let kind = part.word("type", &KINDS, around.kind, faults);
    let order = part.word("words", &WORD_ORDERS, around.order, faults);
    let units = quantity.map_or(&[][..], |it| it.nature().units);
    let factor = match quantity {
        Some(_) => part.word("unit", units, units.first().map(|it| it.1), faults),
        // Which units there are nobody knows.
        None => part.optional::<String>("unit", faults).map(|_| 1.0),
    };
    let scale = part.optional::<f64>("scale", faults);
    if let Some(it) = scale.as_ref().filter(|it| !(it.get_ref().is_finite() && *it.get_ref() > 0.0)) {
        let what = format!("`scale` = {} cannot be", it.get_ref());
        part.complain(faults, Some(it.span()), &what, "a number above 0; `export_positive` turns the sign");
    }
    let exponent_at = part.optional::<u16>("exponent_at", faults);
    let factor_at = part.optional::<u16>("factor_at", faults);
    let magnitude = part.flag("magnitude", faults);
    let may_be_whole = part.flag("may_be_whole", faults);
    if may_be_whole && quantity.is_some_and(|it| it != Quantity::Current) {
        let what = "`may_be_whole` is for a current: nothing goes by the step of anything else";
        part.complain(faults, None, what, "a current, or without `may_be_whole`");
    }
    let export_positive = part.flag("export_positive", faults);
    part.end(faults);
    let (at, block) = (at?, block?);
    let exponent = match &exponent_at {
        Some(it) => Some(offset(part, *it.get_ref(), 1, block, it.span(), faults)?),
        None => None,
    };
    let times = match &factor_at {
        Some(it) => Some(offset(part, *it.get_ref(), 2, block, it.span(), faults)?),
        None => None,
    };
    let (quantity, phases, kind, order, factor) = (quantity?, phases?, kind?, order?, factor?);
    let step = step.map_or_else(|| kind.words(), Spanned::into_inner);
    let nature = quantity.nature();
    let scale = scale.map_or(1.0, Spanned::into_inner) * factor * if export_positive { -1.0 } else { 1.0 };
    let plausible = around.plausible.iter().find(|it| it.0 == quantity).map_or(nature.plausible, |it| it.1);
    let invalid: Vec<u64> = around.invalid.iter().filter(|it| it.0 == kind).map(|it| it.1).collect();
    let decimals = if kind.has_point() || exponent.is_some() {
        nature.decimals
    } else {
        nature.decimals.min((-scale.abs().log10()).ceil().clamp(-9.0, 9.0) as i8)
    };
    let mut found = Vec::new();
    for (index, phase) in (0..).zip(phases) {
        let first = step.checked_mul(index).and_then(|it| at.get_ref().checked_add(it));
        let Some(first) = first else {
            part.complain(faults, Some(at.span()), "the last register is above 65535", "registers 0 to 65535");
            return None;
        };
        found.push(Value {
            key: Key { quantity, phase, tariff },
            offset: offset(part, first, kind.words(), block, at.span(), faults)?,
            kind,
            order,
            scale,
            exponent,
            factor: times,
            magnitude,
            may_be_whole,
            invalid: invalid.clone(),
            plausible,
            decimals,
        });
    }
    Some(found)
}

/// Of which phases there is a value each; `[None]`: of all together.
fn phases(part: &mut Part<'_>, around: &Surroundings, faults: &mut Faults) -> Option<Vec<Option<Phase>>> {
    if !part.has("on") {
        // Known as a key all the same.
        let _ = part.optional::<Vec<String>>("on", faults);
        return Some(vec![None]);
    }
    let written = part.optional::<Vec<String>>("on", faults)?;
    let mut found = Vec::new();
    for word in written.get_ref() {
        let phase = Phase::ALL.into_iter().find(|it| ["L1", "L2", "L3"][it.index()] == word);
        match (phase, around.phases) {
            (None, _) => {
                let what = format!("`on` names \"{}\"", short(word));
                part.complain(faults, Some(written.span()), &what, "\"L1\", \"L2\", \"L3\"");
                return None;
            }
            (Some(phase), Some(1)) if phase != Phase::L1 => {
                part.complain(faults, Some(written.span()), "a meter of one phase has L1 only", "on = [\"L1\"]");
                return None;
            }
            (phase, _) => found.push(phase),
        }
    }
    if found.is_empty() {
        found.push(None);
    }
    Some(found)
}

/// Where a value lies in its poll.
fn offset(part: &Part<'_>, at: u16, words: u16, block: Block, span: Range<usize>, faults: &mut Faults) -> Option<u16> {
    let Block { from, count } = block;
    let inside = at.checked_sub(from).filter(|it| u32::from(*it) + u32::from(words) <= u32::from(count));
    if inside.is_none() {
        let many = if words == 1 { "word" } else { "words" };
        let what = format!("register {at} with {words} {many} is outside of its poll");
        let last = u32::from(from) + u32::from(count) - 1;
        part.complain(faults, Some(span), &what, format!("registers {from} to {last}, as `from` and `count` say"));
    }
    inside
}

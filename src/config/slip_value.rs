//! Values as people write them who do not know TOML, and what they meant.

use super::key::Kind;

/// What is wrong with a value, and the right one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: &'static str,
    pub(super) right: String,
}

/// Words that other formats have for true and false.
const FLAGS: [(&str, bool); 10] = [
    ("yes", true),
    ("no", false),
    ("on", true),
    ("off", false),
    ("true", true),
    ("false", false),
    ("y", true),
    ("n", false),
    ("enabled", true),
    ("disabled", false),
];
/// Quotes of word processors.
const TYPOGRAPHIC: [char; 8] = ['“', '”', '„', '«', '»', '‘', '’', '‚'];

/// Whether it is a value of TOML.
pub(super) fn fits(value: &str) -> bool {
    !value.contains('\n') && format!("it = {value}").parse::<toml::Table>().is_ok_and(|it| it.len() == 1)
}

/// The text in quotes, in single ones where it has backslashes.
pub(super) fn literal(text: &str) -> String {
    if text.contains(['\\', '"']) && !text.contains('\'') {
        format!("'{text}'")
    } else {
        toml::Value::String(text.to_owned()).to_string()
    }
}

/// What is wrong with a value of a key that takes `kind`; `None` where that is not known of either.
pub(super) fn judge(kind: Option<Kind>, value: &str) -> Option<Wrong> {
    let wrong = |what, right| Some(Wrong { what, right });
    if let Some(inner) = value.strip_suffix([',', ';']) {
        let inner = inner.trim_end();
        return if fits(inner) { wrong("nothing stands behind a value", inner.to_owned()) } else { judge(kind, inner) };
    }
    if value.is_empty() || fits(value) {
        return None;
    }
    if value.starts_with(TYPOGRAPHIC) {
        return wrong("these quotes are those of a word processor", literal(value.trim_matches(&TYPOGRAPHIC[..])));
    }
    if let Some(quote) = value.chars().next().filter(|it| matches!(it, '"' | '\'')) {
        let inner = &value[1..];
        return match inner.find(quote) {
            None => wrong("the closing quote is missing", literal(inner)),
            Some(end) if end + 1 == inner.len() && inner.contains('\\') => {
                wrong("a backslash means something else within \"…\"", literal(&inner[..end]))
            }
            Some(_) => None,
        };
    }
    if let Some(inner) = value.strip_suffix(['"', '\'']) {
        return wrong("the opening quote is missing", literal(inner));
    }
    let takes_text = matches!(kind, Some(Kind::Text { .. } | Kind::Word { .. } | Kind::Active | Kind::PhaseSwitching));
    if !takes_text {
        if let Some(right) = flag(value).filter(|_| !is_number(kind)) {
            return wrong("yes and no are written true and false", right.to_string());
        }
        if let Some((right, unit)) = number(value).filter(|it| is_number(kind) || it.1.is_empty()) {
            let what = if unit.is_empty() {
                "a number has a decimal point, no comma"
            } else {
                "a number stands without its unit, which the key names"
            };
            return wrong(what, right);
        }
    }
    wrong("a text needs quotes", literal(value))
}

/// A key that is known to take a number.
fn is_number(kind: Option<Kind>) -> bool {
    matches!(kind, Some(Kind::Number { .. } | Kind::Current { .. } | Kind::Whole { .. } | Kind::Choice(_)))
}

/// True or false in another format's word.
pub(super) fn flag(text: &str) -> Option<bool> {
    let word = text.trim().to_lowercase();
    FLAGS.iter().find(|it| it.0 == word).map(|it| it.1)
}

/// The number that was meant, with the unit behind it: a comma for the point, blanks around it, a unit.
pub(super) fn number(text: &str) -> Option<(String, &str)> {
    let text = text.trim();
    let end = text.find(|it: char| !matches!(it, '0'..='9' | '.' | ',' | '-')).unwrap_or(text.len());
    let (digits, unit) = (text[..end].replace(',', "."), text[end..].trim());
    // A number of TOML begins with no needless zero.
    let needless = digits.bytes().take_while(|it| *it == b'0').count();
    let digits = match digits.as_bytes().get(needless) {
        Some(b'1'..=b'9') => digits[needless..].to_owned(),
        _ => digits,
    };
    let plain = digits.bytes().filter(|it| *it == b'.').count() <= 1
        && digits.starts_with(|it: char| it.is_ascii_digit() || it == '-')
        && digits.ends_with(|it: char| it.is_ascii_digit());
    let is_unit = unit.chars().count() <= 4 && unit.chars().all(|it| it.is_alphabetic() || it == '%');
    (plain && is_unit && fits(&digits)).then_some((digits, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_becomes_what_was_meant_by_it() {
        let number = Some(Kind::Number { min: 0.0, max: 1.0, unit: "A" });
        let text = Some(Kind::Text { max: 9 });
        for (kind, value, right) in [
            (number, "16,5", "16.5"),
            (number, "16,5 A", "16.5"),
            (number, "10s", "10"),
            (number, "10,", "10"),
            (number, "08", "8"),
            (None, "0,5", "0.5"),
            (Some(Kind::Flag), "yes", "true"),
            (Some(Kind::Flag), "OFF", "false"),
            (None, "True", "true"),
            (text, "off", "\"off\""),
            (text, "16,5", "\"16,5\""),
            (text, "\"Home", "\"Home\""),
            (text, "'Home", "\"Home\""),
            (text, "Home\"", "\"Home\""),
            (text, "“Home”", "\"Home\""),
            (text, r#""C:\dev""#, r"'C:\dev'"),
            (text, r"C:\dev", r"'C:\dev'"),
            (None, "tcp://192.0.2.1:23", "\"tcp://192.0.2.1:23\""),
            (None, "3em", "\"3em\""),
        ] {
            let found = judge(kind, value).map(|it| it.right);
            assert_eq!(found.as_deref(), Some(right), "{value}");
            assert!(fits(right), "{right}");
        }
        for right in ["25", "\"x\"", "true", "[1]", "\"a\" \"b\"", ""] {
            assert_eq!(judge(None, right), None, "{right}");
        }
    }
}

use super::*;

const FILE: &str = r#"
format = 1
vendor = "Maker"
name = "M3"
fits = ["M3"]
phases = 3
sure = "two sources"
sources = ["one", "two"]
invalid = { i32 = ["7FFFFFFF"] }
plausible = { frequency = [45.0, 65.0] }

[transport]
kinds = ["rtu"]
max_registers = 20

[defaults]
table = "input"
type = "i32"
words = "low-first"

[[poll]]
every = "cycle"
from = 10
count = 15
values = [
  { is = "current", on = ["L1", "L2", "L3"], at = 10, scale = 0.001 },
  { is = "power", at = 16, unit = "kW", scale = 0.0001, export_positive = true },
  { is = "frequency", at = 18, type = "u16", scale = 0.1 },
  { is = "energy-import", at = 20, type = "u32", words = "high-first", exponent_at = 19 },
  { is = "energy-export", at = 22, magnitude = true, scale = 0.1, unit = "kWh" },
]
"#;

fn model() -> Model {
    Model::parse("m3", FILE).unwrap()
}

fn decoded(words: &[u16]) -> Vec<(String, Result<f64, Refusal>)> {
    model().polls[0].decode(words).map(|it| (it.key.to_string(), it.value)).collect()
}

#[test]
fn words_become_values_with_scale_unit_order_exponent_and_sign() {
    // L1 = 0x0001_0000 = 65536 mA; L2 = -2 mA; L3 is the marker. 0x0000_2710 * 0.1 W exported. 500 * 0.1 Hz.
    // Energy 123456 * 10^1 Wh. -250 * 0.1 kWh without its sign.
    let words = [0, 1, 0xFFFE, 0xFFFF, 0xFFFF, 0x7FFF, 0x2710, 0, 500, 1, 0x0001, 0xE240, 0xFF06, 0xFFFF, 0];
    let values = decoded(&words);
    let expected = [
        ("current L1", Ok(65.536)),
        ("current L2", Ok(-0.002)),
        ("current L3", Err(Refusal::Absent)),
        ("power", Ok(-1000.0)),
        ("frequency", Ok(50.0)),
        ("energy-import", Ok(1_234_560.0)),
        ("energy-export", Ok(25_000.0)),
    ];
    for ((name, value), (wanted, expected)) in values.iter().zip(expected) {
        assert_eq!(name, wanted);
        match (value, expected) {
            (Ok(value), Ok(expected)) => assert!((value - expected).abs() < 1e-9, "{name}: {value} {expected}"),
            (value, expected) => assert_eq!(*value, expected, "{name}"),
        }
    }
    assert_eq!(values.len(), 7);
}

#[test]
fn what_cannot_be_a_measurement_is_no_value() {
    let mut words = [0; 15];
    assert!(matches!(decoded(&words)[4].1, Err(Refusal::Implausible { value }) if value == 0.0), "0 Hz");
    words[9] = 0x8000;
    assert_eq!(decoded(&words)[5].1, Err(Refusal::Absent), "an exponent that is none");
    assert_eq!(decoded(&words[..13])[6].1, Err(Refusal::Absent), "an answer cut short");
    assert!(decoded(&[]).iter().all(|it| it.1 == Err(Refusal::Absent)));
}

#[test]
fn every_type_is_read_as_published() {
    let number = |kind: Kind, words: &[u16], order| kind.number(kind.pattern(words, order).unwrap());
    let high = |kind, words: &[u16]| number(kind, words, WordOrder::HighFirst);
    let low = |kind, words: &[u16]| number(kind, words, WordOrder::LowFirst);
    assert_eq!(high(Kind::U16, &[0xFFFF]), 65535.0);
    assert_eq!(high(Kind::I16, &[0xFFFF]), -1.0);
    assert_eq!(high(Kind::U32, &[1, 2]), 65538.0);
    assert_eq!(low(Kind::U32, &[2, 1]), 65538.0);
    assert_eq!(high(Kind::I32, &[0xFFFF, 0xFF38]), -200.0);
    assert_eq!(high(Kind::U64, &[0, 1, 0, 0]), 4_294_967_296.0);
    assert_eq!(low(Kind::I64, &[0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF]), -1.0);
    assert_eq!(high(Kind::F32, &[0x4366, 0x0000]), 230.0);
    assert_eq!(low(Kind::F32, &[0x0000, 0x4366]), 230.0);
    assert_eq!(high(Kind::F64, &[0x40F1, 0xF6E0, 0, 0]), 73_582.0);
    // The three examples of the Iskra manual: 123456*10^-3, -123456*10^-3, 0.9876 capacitive import.
    assert!((high(Kind::IskraT5, &[0xFD01, 0xE240]) - 123.456).abs() < 1e-9);
    assert!((high(Kind::IskraT6, &[0xFDFE, 0x1DC0]) + 123.456).abs() < 1e-9);
    assert!((high(Kind::IskraT7, &[0x00FF, 0x2694]) - 0.9876).abs() < 1e-9);
    assert!((high(Kind::IskraT7, &[0xFF00, 0x2694]) + 0.9876).abs() < 1e-9);
    assert_eq!(Kind::U32.pattern(&[1], WordOrder::HighFirst), None);
}

#[test]
fn a_wrong_file_is_refused_with_place_and_remedy() {
    // The last column is on the line that must be named.
    for (from, to, says, on) in [
        ("format = 1", "format = 2", "`format` must be 1", "format"),
        ("kinds = [\"rtu\"]", "kinds = [\"can\"]", "allowed: \"rtu\", \"tcp\"", "[transport]"),
        ("count = 15", "count = 21", "[[poll]] number 1: 21 registers in one request; allowed: 1 to 20", "[[poll]]"),
        ("count = 15", "count = 9", "outside of its poll", "energy-import"),
        ("at = 22", "at = 21", "energy-import and energy-export share a register", "[[poll]]"),
        ("is = \"energy-export\"", "is = \"energy-import\"", "energy-import is there twice", ""),
        (
            "unit = \"kW\"",
            "unit = \"hp\"",
            "[[values]] number 2: `unit` = \"hp\" is not known; allowed: \"W\", \"kW\"",
            "\"hp\"",
        ),
        ("type = \"u16\"", "type = \"u24\"", "allowed: \"u16\"", "\"u24\""),
        ("scale = 0.001", "scale = -1.0", "`scale` must be a number above 0", "-1.0"),
        ("i32 = [\"7FFFFFFF\"]", "i32 = [\"7FFF\"]", "not 8 hexadecimal digits", "\"7FFF\""),
        ("\"one\", \"two\"", "\"one\"", "`sources` must name what `sure` says", "sources = "),
        ("every = \"cycle\"", "every = \"slow\"", "no poll is", ""),
        ("from = 10", "form = 10", "unknown field `form`", "form = 10"),
        ("phases = 3", "maker = \"M\"\nphases = 3", "needs `sunspec`", "maker"),
        ("phases = 3", "phases = 1", "a meter of one phase has L1 only", "\"L3\""),
        ("[45.0, 65.0]", "[65.0, 45.0]", "a range of `plausible` is empty", "65.0"),
    ] {
        assert!(FILE.contains(from), "{from}");
        let text = FILE.replacen(from, to, 1);
        let error = Model::parse("m3", &text).unwrap_err();
        let line = text.lines().position(|it| !on.is_empty() && it.contains(on)).map(|it| it + 1);
        let sentence = error.to_string();
        match (line, error.place) {
            (None, None) => assert!(sentence.starts_with("model `m3`: "), "{sentence}"),
            (Some(line), Some((at, column))) => {
                assert_eq!(at, line, "{sentence}");
                assert!(sentence.starts_with(&format!("model `m3`, line {line}, column {column}: ")), "{sentence}");
            }
            (wanted, place) => panic!("{wanted:?} {place:?} {sentence}"),
        }
        assert!(sentence.contains(says), "{sentence}");
    }
}

#[test]
fn a_sunspec_chain_is_walked_to_its_meter() {
    let mut chain = Chain::new();
    assert_eq!(chain.next(), 40_000);
    assert_eq!(chain.take(None, &[213]), Ok(ChainStep::Read(50_000)));
    assert_eq!(chain.take(Some([1, 2]), &[213]), Ok(ChainStep::Read(0)));
    assert_eq!(chain.take(Some([0x5375, 0x6E53]), &[213]), Ok(ChainStep::Read(2)));
    assert_eq!(chain.take(Some([1, 65]), &[213]), Ok(ChainStep::Read(69)));
    assert_eq!(chain.take(Some([213, 124]), &[213]), Ok(ChainStep::Found { first: 71, model: 213, length: 124 }));

    let mut chain = Chain::new();
    let _ = chain.take(Some([0x5375, 0x6E53]), &[213]);
    let _ = chain.take(Some([1, 65]), &[213]);
    assert_eq!(chain.clone().take(Some([0xFFFF, 0]), &[213]), Err(ChainError::NotInChain));
    assert_eq!(chain.clone().take(None, &[213]), Err(ChainError::NotInChain));
    assert_eq!(chain.take(Some([7, 60_000]), &[213]), Err(ChainError::Endless));
    let mut chain = Chain::new();
    let _ = chain.take(Some([0x5375, 0x6E53]), &[213]);
    let end = (0..100).find_map(|_| chain.take(Some([7, 0]), &[213]).err());
    assert_eq!(end, Some(ChainError::Endless), "a chain that stands still");
    let mut chain = Chain::new();
    let end = (0..10).find_map(|_| chain.take(None, &[213]).err());
    assert_eq!(end, Some(ChainError::NoMarker));
}

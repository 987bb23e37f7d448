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

/// What is said of a file, one line each: place, sentence, what is allowed.
fn said(text: &str) -> Vec<String> {
    let list = Model::parse("m3", text).err().map_or_else(Vec::new, |it| it.list);
    list.iter().map(|it| format!("{}:{} {}; {}", it.line, it.column, it.what, it.allowed)).collect()
}

#[test]
fn a_wrong_file_is_refused_with_place_and_remedy() {
    // The last column is on the line that must be named; the first where it is empty.
    for (from, to, says, on) in [
        ("format = 1", "format = 2", "`format` is not known; 1", "format"),
        ("vendor = \"Maker\"", "", "`vendor` is missing; a text in quotes", ""),
        ("vendor = \"Maker\"", "vendor = 7", "`vendor` is the number 7; a text in quotes", "vendor"),
        ("phases = 3", "phases = 300", "`phases` is the number 300; a whole number from 0 to 255", "phases"),
        ("kinds = [\"rtu\"]", "kinds = [\"can\"]", "[\"rtu\", \"tcp\"]", "kinds"),
        (
            "kinds = [\"rtu\"]",
            "baud = 0\nkinds = [\"rtu\"]",
            "[transport]: `baud` is no line speed; 300 to 230400",
            "baud",
        ),
        ("count = 15", "count = 21", "[[poll]] number 1: 21 registers in one request; 1 to 20", "count = 21"),
        ("count = 15", "", "[[poll]] number 1: `count` is missing; a whole number from 0 to 65535", "[[poll]]"),
        (
            "count = 15",
            "count = 13",
            "register 22 with 2 words is outside of its poll; registers 10 to 22",
            "energy-export",
        ),
        ("at = 22", "at = 21", "energy-import and energy-export share a register", "energy-export"),
        ("is = \"energy-export\"", "is = \"energy-import\"", "energy-import is there twice", "at = 22"),
        (
            "unit = \"kW\"",
            "unit = \"hp\"",
            "[[poll]] number 1, `values` number 2: `unit` = \"hp\" is not known; \"W\", \"kW\"",
            "\"hp\"",
        ),
        ("type = \"u16\"", "type = \"u24\"", "`type` = \"u24\" is not known; \"u16\"", "\"u24\""),
        ("scale = 0.001", "scale = -1.0", "`scale` = -1 cannot be; a number above 0", "-1.0"),
        ("i32 = [\"7FFFFFFF\"]", "i32 = [\"7FFF\"]", "[invalid]: `i32` has \"7FFF\"; 8 hexadecimal digits", "\"7FFF\""),
        ("i32 = [\"7FFFFFFF\"]", "i33 = []", "[invalid]: `i33` is no type", "i33"),
        ("\"one\", \"two\"", "\"one\"", "`sources` does not name what `sure` says; 2 or more", "sources = "),
        ("every = \"cycle\"", "every = \"slow\"", "no poll is", ""),
        ("from = 10", "from = 10\nform = 10", "unknown key `form`; `every`, `table`, `from`", "form = 10"),
        ("phases = 3", "maker = \"M\"\nphases = 3", "needs `sunspec`", "maker"),
        ("phases = 3", "phases = 1", "a meter of one phase has L1 only", "\"L3\""),
        ("[45.0, 65.0]", "[65.0, 45.0]", "[plausible]: the range of `frequency` is empty", "65.0"),
        ("[45.0, 65.0]", "[45.0]", "`frequency` is a list, or one with other content; [lowest, highest]", "[45.0]"),
        ("frequency = [", "frequenz = [", "`frequenz` is no quantity; \"voltage\"", "frequenz"),
        ("[[poll]]", "[poll]", "`poll` is a table; [[poll]] for each", "[poll]"),
        ("[defaults]", "[default]", "[defaults] is missing; [defaults] with `table`", ""),
        ("name = \"M3\"", "name = M3", "this is not TOML", "name = M3"),
        ("format = 1", "\"\\u001b[31m\" = 1\nformat = 1", "unknown key `\\u{1b}[31m`", "u001b"),
    ] {
        assert!(FILE.contains(from), "{from}");
        let text = FILE.replacen(from, to, 1);
        let line = text.lines().position(|it| on.is_empty() || it.contains(on)).map_or(0, |it| it + 1);
        let all = said(&text);
        let found = all.iter().any(|it| it.starts_with(&format!("{line}:")) && it.contains(says));
        assert!(found, "{says:?} in line {line}: {all:#?}");
        assert!(Model::parse("m3", &text).unwrap_err().to_string().starts_with("model `m3`; line "));
    }
}

#[test]
fn everything_that_is_wrong_is_said_at_once_and_nothing_that_only_follows_from_it() {
    let slips = [
        ("vendor = \"Maker\"\n", ""),
        ("sure = \"two sources\"", "sure = \"very\""),
        ("kinds = [\"rtu\"]", "kinds = [\"rtu\"]\nstop = 3\nparity = \"mark\""),
        ("type = \"i32\"", "type = \"i33\""),
        ("every = \"cycle\"", "evry = \"cycle\""),
        ("on = [\"L1\", \"L2\", \"L3\"]", "on = [\"L4\"]"),
        ("is = \"frequency\"", "is = \"frequenz\""),
        ("magnitude = true", "magnitude = 1"),
    ];
    let text = slips.iter().fold(FILE.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
    let all = said(&text);
    let wanted = [
        "`vendor` is missing",
        "`sure` = \"very\"",
        "`stop` is neither",
        "`parity` = \"mark\"",
        "`type` = \"i33\"",
        "`every` is missing",
        "unknown key `evry`",
        "`on` names \"L4\"",
        "`is` = \"frequenz\"",
        "`magnitude` is the number 1",
    ];
    for it in wanted {
        assert!(all.iter().any(|line| line.contains(it)), "{it}: {all:#?}");
    }
    assert_eq!(all.len(), wanted.len(), "{all:#?}");
    let many: String = (0..1000).map(|it| format!("k{it} = 1\n")).collect();
    let all = said(&format!("{many}{FILE}"));
    assert_eq!(all.len(), 50);
    assert!(all[49].contains("and 950 more"), "{}", all[49]);
}

/// Whatever is missing or written differently: there is a model, or something is said of it.
#[test]
fn no_file_is_refused_without_a_word() {
    let lines: Vec<&str> = FILE.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let other = |with: &str| [&lines[..index], &[with], &lines[index + 1..]].concat().join("\n");
        let behind = |value: &str| other(&format!("{}= {value}", line.split('=').next().unwrap_or_default()));
        for text in [other(""), behind("true"), behind("[]"), behind("{}"), behind("-1"), behind("\"\""), behind("0.5")]
        {
            let said = said(&text);
            assert!(Model::parse("m3", &text).is_ok() || !said.is_empty(), "{text}");
        }
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

#[test]
fn an_exponent_may_fill_one_byte_and_a_factor_is_at_least_one() {
    let polls = r#"
[[poll]]
every = "cycle"
from = 0
count = 6
values = [
  { is = "current", on = ["L1"], at = 0, exponent_at = 1 },
  { is = "energy-import", at = 2, type = "u32", factor_at = 4 },
]
"#;
    let model = Model::with_polls(polls);
    let values = |words: [u16; 6]| model.polls[0].decode(&words).map(|it| it.value).collect::<Vec<_>>();
    for exponent in [0xFFFE, 0x00FE] {
        let found = values([1050, exponent, 0, 1234, 0, 10]);
        assert!(matches!(found[..], [Ok(amps), Ok(12_340.0)] if (amps - 10.5).abs() < 1e-9), "{found:?}");
    }
    for none in [0x0100, 0x007F, 0xFE00, 0x8000] {
        assert_eq!(values([1050, none, 0, 1234, 0, 1])[0], Err(Refusal::Absent), "{none:#X}");
    }
    assert_eq!(values([1050, 0, 0, 1234, 1, 0])[1], Ok(1234.0 * 65_536.0));
    assert_eq!(values([1050, 0, 0, 1234, 0, 0])[1], Err(Refusal::Absent), "no factor");
}

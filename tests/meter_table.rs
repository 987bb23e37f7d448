//! docs/meters.md is made from the model files; this says when it is not current. `UPDATE_SNAPSHOTS=1` writes it.

use std::fmt::Write as _;
use std::path::Path;

use gridkeeper::codec::model::{Model, Quantity, Sure};
use gridkeeper::config::meter_models;
use gridkeeper::quantity::Phase;

/// Families that were asked for and that have no model file, each with what is missing.
const NOT_YET: &[(&str, &str)] = &[
    ("Eastron SEM (Modbus TCP)", "no public register map was found"),
    ("KEBA KC-E10", "no public register map was found; the name is known from KEBA's list of meters only"),
    (
        "Gossen Metrawatt EM2281, EM2381 (one phase), EM2387 (three wires)",
        "which registers of the map hold a value in them is in no source; EM2289 and EM2389 are supported",
    ),
    (
        "ABB M2M",
        "the maker's protocol 2CSG445011D0201 is public (two registers each from 0x1000 on, in V, mA, VA, W and var); what \
         stands at which place and the sign of its powers could not be read there, and a second source is missing",
    ),
    (
        "ABB M4M",
        "one public driver (currents at 23312, total power at 23322, counter at 20480) without phase powers and \
         voltages to neutral; a second source is missing. The map is not that of A and B",
    ),
    (
        "Siemens 7KT1260 (7KT PAC1200)",
        "Siemens' manual (totals from 0 on as integers; the pages of the phases could not be read) and a public driver (the \
         same places, phases from 40, 80 and 120 on, as in `kostal-ksem`, all as floats) contradict each other",
    ),
    (
        "Siemens 7KT1661 (PAC1600 with current transformers)",
        "one public driver has its map (counters of 64 bits at 6944); a second source with the whole of it is missing. \
         7KT1665 and 7KT1666 are supported",
    ),
    (
        "Herholdt / Janitza ECSEM113, ECSEM114",
        "addresses (power at 4151, counters at 4119) from one source, without scales; a second one is missing",
    ),
    ("Entes ES-32L, ES-80", "no public register map was found; MPR and EMM are supported"),
    ("HomeWizard P1 over Modbus", "the device has no Modbus"),
    ("Chint DTSU666-H (Huawei)", "another map than DTSU666; no second source"),
    ("Iskra WM3, WM1", "counters are configured in the device; their place is not certain"),
];

fn wires(model: &Model) -> String {
    let transport = &model.transport;
    let mut wires = Vec::new();
    if transport.rtu {
        let mut line = String::from("RS-485");
        if let Some(baud) = transport.baud {
            let _ = write!(line, " {baud} 8{}{}", transport.parity.unwrap_or('N'), transport.stop.unwrap_or(1));
        }
        wires.push(line);
    }
    if transport.tcp {
        wires.push(format!("TCP {}", transport.port.unwrap_or(502)));
    }
    if let Some(unit) = transport.unit {
        wires.push(format!("unit {unit}"));
    }
    wires.join(", ")
}

/// What control and the counters get: `V I P` per phase, `E` counters of both directions.
fn measures(model: &Model) -> String {
    let phase = |quantity| model.measures(quantity, Some(Phase::L1));
    let total = |quantity| model.measures(quantity, None);
    let mut out: Vec<&str> = Vec::new();
    if phase(Quantity::Voltage) {
        out.push("V");
    }
    if phase(Quantity::Current) {
        out.push("I");
    }
    if phase(Quantity::Power) || phase(Quantity::PowerImport) {
        out.push("P");
    } else if total(Quantity::Power) || total(Quantity::PowerImport) {
        out.push("P (total only)");
    }
    match (total(Quantity::EnergyImport), total(Quantity::EnergyExport)) {
        (true, true) => out.push("E±"),
        (true, false) => out.push("E+"),
        _ => {}
    }
    out.join(" ")
}

fn page() -> String {
    let mut models = meter_models::embedded();
    models.sort_by_key(|model| (model.vendor.to_lowercase(), model.id.clone()));
    let mut page = String::from(
        "# Modbus meters\n\n\
         Made from `config/models/*.toml` by `UPDATE_SNAPSHOTS=1 cargo test --test meter_table`; do not edit.\n\n\
         ```toml\n\
         [[meter]]\n\
         id = \"garage-meter\"\n\
         driver = \"modbus\"\n\
         model = \"eastron-sdm630\"\n\
         connection = \"serial:///dev/ttyUSB1\"     # or tcp://host:port, rtu+tcp://host:port\n\
         unit = 2                                 # left out: the factory setting\n\
         ```\n\n\
         A file `<data_dir>/models/<name>.toml` goes before the built-in one of that name; [meter-models.md](meter-models.md)\n\
         says how one is written. *Facts*: `two sources` means that two public sources which do not copy each other list every address\n\
         that control needs; the others want a comparison with the meter's own display before a fuse is trusted to them.\n\
         `gridkeeper check` warns where a doubtful one guards a fuse, where it measures one phase and the fuse has three\n\
         (all its readings lack a phase then, so it counts as lost), and where it tells all phases together only.\n\
         Nothing here was tried on hardware by the authors. V, I, P: per phase; E: counters. The line's parameters are\n\
         factory settings; `gridkeeper scan` finds what is really set.\n\n\
         | model | maker and types | phases | measures | factory setting | facts |\n\
         |---|---|---|---|---|---|\n",
    );
    for model in &models {
        let _ = writeln!(
            page,
            "| `{}` | {} {} | {} | {} | {} | {} |",
            model.id,
            model.vendor,
            model.name,
            model.phases,
            measures(model),
            wires(model),
            model.sure.word()
        );
    }
    page.push_str("\n## Remarks and sources\n");
    for model in &models {
        let _ = writeln!(page, "\n### {}\n\nFits: {}.", model.id, model.fits.join("; "));
        for note in &model.notes {
            let _ = writeln!(page, "{note}");
        }
        for mode in &model.modes {
            let what = if mode.everything { "all readings" } else { "powers and counters" };
            let wanted: Vec<String> = mode.wanted.iter().map(u16::to_string).collect();
            let _ = writeln!(
                page,
                "Register {:#06X} must be {}, or {what} are withheld and the status page says why.",
                mode.address,
                wanted.join(" or ")
            );
        }
        page.push('\n');
        for source in &model.sources {
            let _ = writeln!(page, "- {source}");
        }
    }
    page.push_str("\n## Not supported yet\n\n| family | what is missing |\n|---|---|\n");
    for (family, missing) in NOT_YET {
        let _ = writeln!(page, "| {family} | {missing} |");
    }
    page
}

#[test]
fn the_table_of_meters_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/meters.md");
    let page = page();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &page).expect("docs/ can be written to");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page, "docs/meters.md is not current: UPDATE_SNAPSHOTS=1 cargo test --test meter_table writes it");
}

/// What docs/meter-models.md shows is a file that works, and it leaves no word out.
#[test]
fn the_page_about_files_of_one_s_own_is_true() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/meter-models.md"))
        .expect("the page is there");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it has an example");
    let model = Model::parse("m3", example).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((model.polls.len(), model.polls[0].values.len()), (2, 9));
    let read = |words: [u16; 24]| model.polls[0].decode(&words).next().map(|it| it.value);
    let mut words = [0; 24];
    words[0] = 2301;
    assert!(matches!(read(words), Some(Ok(volts)) if (volts - 230.1).abs() < 1e-9));
    for quantity in Quantity::ALL {
        let word = quantity.nature().word;
        assert!(page.contains(&format!("`{word}`")), "the page does not name {word}");
    }
    let errors = Model::parse("m3", &example.replace("type = \"i32\"", "type = \"?\"")).expect_err("no such type");
    let types = errors.list[0].allowed.replace('"', "");
    assert!(types.contains("iskra-t7"), "{types}");
    for word in types.split(", ") {
        assert!(page.contains(&format!("`{word}`")), "the page does not name the type {word}");
    }
}

#[test]
fn a_model_with_a_single_source_says_what_to_be_careful_about() {
    for model in meter_models::embedded() {
        assert!(model.sure != Sure::Doubtful || !model.notes.is_empty(), "{}: say what is doubtful", model.id);
    }
}

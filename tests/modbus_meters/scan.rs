//! `gridkeeper scan` on a line with meters of several kinds, and behind a gateway.

use gridkeeper::config::model::SerialLine;
use gridkeeper::tool::scan;
use tokio_util::sync::CancellationToken;

use super::*;

/// Longer than the machine ever stands still: nothing here waits for it but the one unit that is silent.
const TURN: Duration = Duration::from_secs(5);
/// A unit of nobody that is silent, as on a line of its own. For all others a gateway says that nobody is there, so that no
/// answer is too late and nothing is waited for.
const SILENT: u8 = 4;

/// Meters by unit.
fn line_of(meters: &'static [(u8, &'static str)]) -> impl FnMut(&Ask) -> Reaction + Send + 'static {
    move |ask: &Ask| {
        let Some((_, id)) = meters.iter().find(|(unit, _)| *unit == ask.unit) else {
            const NOBODY: u8 = 11;
            let refused = Reaction::Answer(vec![ask.function() | 0x80, NOBODY]);
            return if ask.unit == SILENT { Reaction::Silence } else { refused };
        };
        let case = CASES.iter().find(|it| it.model == *id).unwrap();
        let mut registers = map(case);
        // What the meter says about itself.
        match *id {
            "eastron-sdm630" => registers.insert((3, 0xFC02), 112),
            "carlo-gavazzi-em3xx" => registers.insert((3, 0x000B), 340),
            _ => None,
        };
        serve(&registers, &Ask { unit: UNIT, ..ask.clone() })
    }
}

fn course(from: usize) -> scan::Course {
    scan::Course { from, all: false, turn: TURN }
}

fn known() -> Vec<Model> {
    meter_models::embedded()
}

fn asked(place: &str, all: bool) -> scan::Asked<'_> {
    scan::Asked { place, all, patience: None, config: &[] }
}

async fn scanned(peer: &Peer) -> String {
    let (mut out, mut progress) = (Vec::new(), Vec::new());
    let stop = CancellationToken::new();
    let outcome = match &peer.connection {
        // One setting only: a pseudo-terminal has none, so that every one of them would find the same.
        Connection::Serial(line) => {
            let line = SerialLine { baud: Some(115_200), ..line.clone() };
            let end = stop.clone();
            let likely = 15;
            let mut counted = Counting { steps: 0, stop_after: likely, end };
            scan::serial(&line, &known(), course(0), &stop, &mut out, &mut counted).await.unwrap()
        }
        network => scan::tcp(network, &known(), course(0), &stop, &mut out, &mut progress).await.unwrap(),
    };
    assert!(outcome.found > 0);
    assert!(peer.log().iter().all(|ask| ask.function() <= 4), "a scan only reads");
    String::from_utf8(out).unwrap()
}

/// Progress that interrupts the scan at the step after so many, as a person does.
struct Counting {
    steps: usize,
    stop_after: usize,
    end: CancellationToken,
}

impl std::io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.steps += bytes.iter().filter(|byte| **byte == b'/').count();
        if self.steps > self.stop_after {
            self.end.cancel();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn meters_on_a_line_are_found_and_their_lines_can_be_pasted() {
    let peer = Peer::start(
        Medium::Serial,
        line_of(&[(2, "eastron-sdm630"), (3, "carlo-gavazzi-em3xx"), (9, "inepro-pro"), (33, "iskra-wm3m4")]),
    )
    .await;
    let text = scanned(&peer).await;
    for (unit, model) in [(2, "eastron-sdm630"), (3, "carlo-gavazzi-em3xx"), (33, "iskra-wm3m4")] {
        assert!(text.contains(&format!("model = \"{model}\"")), "{model} at {unit}:\n{text}");
    }
    assert!(text.contains("# unit 2: Eastron SDM630, recognised\n"), "{text}");
    assert!(text.contains("id = \"eastron-sdm630-2\"\n") && text.contains("each once in the whole"), "{text}");
    assert!(text.contains("a guess: its values look like it") && text.contains("inepro-pro"), "{text}");
    // What is printed is a configuration.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gridkeeper.toml");
    std::fs::write(&file, &text).unwrap();
    let loaded = gridkeeper::config::load(&[file], std::iter::empty(), None, gridkeeper::config::Purpose::Run)
        .unwrap_or_else(|refused| panic!("{refused}\n{text}"));
    assert_eq!(loaded.config.meters.len(), 4);
}

#[tokio::test]
async fn a_meter_behind_an_inverter_is_found_by_its_chain() {
    let peer = Peer::start(Medium::Tcp, line_of(&[(200, "sunspec-meter-float")])).await;
    let text = scanned(&peer).await;
    assert!(text.contains("model = \"sunspec-meter-float\"") && text.contains("unit = 200"), "{text}");
    assert!(text.contains("id = \"meter-127-0-0-1-200\"\n"), "not that of a scan of a line: {text}");
    assert!(!text.contains("model = \"sunspec-meter\"\n"), "{text}");
}

/// A code in the middle of a family's, whose counters stand elsewhere.
#[tokio::test]
async fn a_meter_of_another_map_is_not_taken_for_its_family() {
    for (code, named, not) in [
        (338, "carlo-gavazzi-em3xx-s27", "model = \"carlo-gavazzi-em3xx\""),
        (340, "carlo-gavazzi-em3xx", "model = \"carlo-gavazzi-em3xx-s27\""),
    ] {
        let mut registers = map(CASES.iter().find(|it| it.model == named).unwrap());
        registers.insert((3, 0x000B), code);
        let peer = Peer::start(Medium::Tcp, move |ask| match ask.unit {
            1 => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
            _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
        })
        .await;
        let text = scanned(&peer).await;
        assert!(text.contains(&format!("model = \"{named}\"\n")) && text.contains(", recognised"), "{text}");
        assert!(!text.contains(not) && !text.contains("any of these"), "{text}");
    }
}

#[tokio::test]
async fn behind_a_gateway_the_addresses_of_a_line_are_asked_too() {
    let mut registers = map(CASES.iter().find(|it| it.model == "eastron-sdm630").unwrap());
    registers.insert((3, 0xFC02), 112);
    let peer = Peer::start(Medium::Tcp, move |ask| match ask.unit {
        5 => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
        _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
    })
    .await;
    let text = scanned(&peer).await;
    assert!(text.contains("# unit 5: Eastron SDM630, recognised\n"), "{text}");
}

/// An SDM630 of the early kind does not say what it is, and answers as a meter of one phase as well.
#[tokio::test]
async fn of_several_guesses_the_one_with_most_phases_is_pasted() {
    let registers = map(CASES.iter().find(|it| it.model == "eastron-sdm630").unwrap());
    let peer = Peer::start(Medium::Tcp, move |ask| match ask.unit {
        1 => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
        _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
    })
    .await;
    let text = scanned(&peer).await;
    let pasted = text.lines().find_map(|it| it.strip_prefix("model = \"")?.strip_suffix('"')).unwrap();
    let model = known().into_iter().find(|it| it.id == pasted).unwrap();
    assert_eq!(model.phases, 3, "{text}");
    assert!(text.contains("(eastron-sdm630)") && text.contains("(eastron-sdm120)"), "{text}");
}

/// All of the maker's devices say 42; the map is that of the order numbers that begin with 7KM.
#[tokio::test]
async fn a_meter_of_siemens_is_known_by_its_order_number() {
    for (order, recognised) in [("7KM2200-2EA00-1JA1  ", true), ("7KT1665             ", false)] {
        let mut registers = map(CASES.iter().find(|it| it.model == "siemens-pac").unwrap());
        registers.extend((64_001..64_028).map(|address| ((3, address), 0)));
        registers.insert((3, 64_001), 42);
        let words = order.as_bytes().chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        registers.extend((64_002..).zip(words).map(|(address, word)| ((3, address), word)));
        let peer = Peer::start(Medium::Tcp, move |ask| match ask.unit {
            1 => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
            _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
        })
        .await;
        let text = scanned(&peer).await;
        assert_eq!(text.contains("# unit 1: Siemens SENTRON PAC, recognised\n"), recognised, "{order}: {text}");
    }
}

/// Two files read the same block with opposite signs: the chain's own names say which of them is meant.
#[tokio::test]
async fn of_two_files_for_one_block_the_one_for_its_maker_is_named() {
    for (maker, named, silent_about) in
        [("SolarEdge ", "solaredge-meter", "sunspec-meter"), ("Fronius", "sunspec-meter", "solaredge-meter")]
    {
        let mut registers = map(CASES.iter().find(|it| it.model == "solaredge-meter").unwrap());
        let mut name = maker.as_bytes().to_vec();
        name.resize(32, 0);
        let words = name.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        registers.extend((40_004..).zip(words).map(|(address, word)| ((3, address), word)));
        let peer = Peer::start(Medium::Tcp, move |ask| match ask.unit {
            1 => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
            _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
        })
        .await;
        let text = scanned(&peer).await;
        assert!(text.contains(&format!("model = \"{named}\"\n")) && text.contains(", recognised"), "{text}");
        assert!(!text.contains(silent_about) && !text.contains("any of these"), "{text}");
    }
}

#[tokio::test]
async fn a_server_of_something_else_is_told_as_what_it_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 64];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut asked).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let (stop, mut out) = (CancellationToken::new(), Vec::new());
    let outcome = scan::tcp(
        &Connection::Tcp { host: "127.0.0.1".to_owned(), port },
        &known(),
        course(0),
        &stop,
        &mut out,
        &mut Vec::new(),
    )
    .await
    .unwrap();
    server.abort();
    assert_eq!((outcome.found, out.len()), (0, 0));
    let instead = outcome.instead.unwrap();
    assert!(instead.starts_with(&format!("127.0.0.1:{port} answers, but not in Modbus TCP")), "{instead}");
}

#[tokio::test]
async fn an_interrupted_scan_goes_on_where_it_stopped() {
    let peer = Peer::start(Medium::Serial, line_of(&[(5, "eastron-sdm630")])).await;
    let Connection::Serial(line) = peer.connection.clone() else { panic!() };
    let line = SerialLine { baud: Some(115_200), ..line };
    let stop = CancellationToken::new();
    let mut progress = Counting { steps: 0, stop_after: 2, end: stop.clone() };
    let first = scan::serial(&line, &known(), course(0), &stop, &mut Vec::new(), &mut progress).await.unwrap();
    assert_eq!((first.found, first.stopped_at), (0, Some(2)));
    let asked: Vec<u8> = peer.log().iter().map(|ask| ask.unit).collect();
    assert!(!asked.contains(&5) && asked.contains(&1), "{asked:?}");
    let stop = CancellationToken::new();
    let mut progress = Counting { steps: 0, stop_after: 3, end: stop.clone() };
    let mut out = Vec::new();
    let second = scan::serial(&line, &known(), course(2), &stop, &mut out, &mut progress).await.unwrap();
    assert_eq!((second.found, second.stopped_at), (1, Some(5)));
    assert!(String::from_utf8(out).unwrap().contains("unit = 5"));
}

/// Interrupted after somebody has answered, it goes on at that setting: both parts together ask everybody once.
#[tokio::test]
async fn the_command_that_is_printed_goes_on_at_the_setting_that_was_found() {
    const METER: u8 = 3;
    let peer = Peer::start(Medium::Serial, line_of(&[(METER, "eastron-sdm630")])).await;
    let Connection::Serial(line) = peer.connection.clone() else { panic!() };
    let port = line.path.display().to_string();
    let line = SerialLine { baud: None, ..line };
    let stop = CancellationToken::new();
    let mut progress = Counting { steps: 0, stop_after: 20, end: stop.clone() };
    let first = scan::serial(&line, &known(), course(0), &stop, &mut Vec::new(), &mut progress).await.unwrap();
    assert_eq!(first.found, 1);
    let command = scan::serial_again(asked(&port, false), &line, &first).unwrap();
    let rest = command.strip_prefix("gridkeeper scan serial '").unwrap();
    let (named, from) = rest.split_once("' --from ").expect(&command);
    assert_eq!(named, format!("serial://{port}?baud=9600&parity=none&stop=1"));
    let Ok(Connection::Serial(line)) = gridkeeper::config::connection(named) else { panic!("{command}") };
    let asked = peer.log().len();
    let from: usize = from.parse().unwrap();
    let (stop, mut out) = (CancellationToken::new(), Vec::new());
    let second = scan::serial(&line, &known(), course(from - 1), &stop, &mut out, &mut Vec::new()).await.unwrap();
    assert_eq!((second.found, second.stopped_at), (0, None), "{}", String::from_utf8_lossy(&out));
    let order = |log: &[Ask]| {
        let mut units: Vec<u8> = log.iter().map(|ask| ask.unit).collect();
        units.dedup();
        units
    };
    let mut all = order(&peer.log()[..asked]);
    assert_eq!(all.len(), 20);
    all.extend(order(&peer.log()[asked..]));
    assert_eq!(all.len(), 247, "{all:?}");
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=247));
}

/// In the middle of one unit, of which much is asked while nothing comes.
#[tokio::test]
async fn a_scan_is_interrupted_while_it_waits() {
    for medium in ALL {
        let peer = Peer::start(medium, |ask| match ask.address() {
            0x000B => Reaction::Answer(vec![ask.function() | 0x80, ILLEGAL_ADDRESS]),
            _ => Reaction::Silence,
        })
        .await;
        let stop = CancellationToken::new();
        let course = scan::Course { from: 2, all: true, turn: 60 * PATIENCE };
        let (mut out, mut progress) = (Vec::new(), Vec::new());
        let scanned = async {
            match &peer.connection {
                Connection::Serial(line) => {
                    scan::serial(line, &known(), course, &stop, &mut out, &mut progress).await.unwrap()
                }
                network => scan::tcp(network, &known(), course, &stop, &mut out, &mut progress).await.unwrap(),
            }
        };
        let interrupted = async {
            peer.requests(2).await;
            stop.cancel();
        };
        let (outcome, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(scanned, interrupted) }).await.unwrap();
        assert_eq!((outcome.found, outcome.stopped_at), (0, Some(2)), "{medium:?}");
        assert!(peer.log().iter().all(|ask| ask.unit == 3), "the third one is the first that is asked");
        let command = match &peer.connection {
            Connection::Serial(line) => scan::serial_again(asked("/dev/ttyUSB0", course.all), line, &outcome),
            _ => scan::tcp_again(asked("gateway", course.all), &outcome),
        };
        assert!(command.unwrap().ends_with(" --all --from 3"));
    }
}

/// It answers what it has and is silent about the rest: the first question is one about the rest.
#[tokio::test]
async fn a_meter_that_is_silent_about_the_first_register_is_found() {
    let mut registers = map(CASES.iter().find(|it| it.model == "eastron-sdm630").unwrap());
    registers.insert((3, 0xFC02), 112);
    for medium in ALL {
        let registers = registers.clone();
        let peer = Peer::start(medium, move |ask| match (ask.unit, ask.function(), ask.address()) {
            (2, 3, 0x000B) => Reaction::Silence,
            (2, ..) => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
            _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
        })
        .await;
        let text = scanned(&peer).await;
        assert!(text.contains("# unit 2: Eastron SDM630, recognised\n"), "{medium:?}: {text}");
        let scheme = ["tcp://", "rtu+tcp://", "serial://"][ALL.iter().position(|it| *it == medium).unwrap()];
        assert!(text.contains(&format!("connection = \"{scheme}")), "{text}");
    }
}

/// Two meters with one address speak at once.
#[tokio::test]
async fn bytes_that_make_no_answer_are_told() {
    for medium in [Medium::Serial, Medium::RtuOverTcp] {
        let peer = Peer::start(medium, |ask| match ask.unit {
            6 => Reaction::Raw(vec![6, 3, 2, 0x13, 0x37, 0xAA, 0x55]),
            _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
        })
        .await;
        let stop = CancellationToken::new();
        let (mut out, mut progress) = (Vec::new(), Counting { steps: 0, stop_after: 15, end: stop.clone() });
        let outcome = match &peer.connection {
            Connection::Serial(line) => {
                scan::serial(line, &known(), course(0), &stop, &mut out, &mut progress).await.unwrap()
            }
            network => scan::tcp(network, &known(), course(0), &stop, &mut out, &mut progress).await.unwrap(),
        };
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("something answers that cannot be read").count(), 1, "{medium:?}: {text}");
        assert!(text.starts_with("# unit 6") && text.lines().all(|it| it.starts_with('#')), "{text}");
        assert_eq!(outcome.found, 0);
        assert!(outcome.instead.unwrap().starts_with("unit 6: something answers"));
    }
}

/// A file of one's own is looked for as those of the binary are.
#[tokio::test]
async fn a_meter_of_one_s_own_file_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("models")).unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join("models").join(name), text).unwrap();
    let mine = r#"
format = 1
vendor = "Mine"
name = "M"
fits = ["M"]
phases = 1
sure = "one source"
sources = ["me"]
[transport]
kinds = ["tcp"]
[defaults]
table = "holding"
type = "u16"
words = "high-first"
[[identity]]
at = 11
is = [4711]
[[poll]]
every = "cycle"
from = 100
count = 2
values = [{ is = "voltage", on = ["L1"], at = 100, scale = 0.1 }, { is = "current", on = ["L1"], at = 101 }]
"#;
    file("mine.toml", mine);
    file("wrong.toml", "format = 2");
    let (models, unusable) = meter_models::with_own(folder.path());
    assert_eq!(unusable.len(), 1);
    let registers = Map::from([((3, 11), 4711), ((3, 100), 2300), ((3, 101), 5)]);
    let peer = Peer::start(Medium::Tcp, move |ask| match ask.unit {
        1 => serve(&registers, &Ask { unit: UNIT, ..ask.clone() }),
        _ => Reaction::Answer(vec![ask.function() | 0x80, 11]),
    })
    .await;
    let (stop, mut out) = (CancellationToken::new(), Vec::new());
    scan::tcp(&peer.connection, &models, course(0), &stop, &mut out, &mut Vec::new()).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("# unit 1: Mine M, recognised") && text.contains("model = \"mine\"\n"), "{text}");
}

//! `gridkeeper scan` on a line with meters of several kinds, and behind a gateway.

use gridkeeper::config::model::SerialLine;
use gridkeeper::tool::scan;
use tokio_util::sync::CancellationToken;

use super::*;

/// Meters by unit; whoever else is asked does not answer.
fn line_of(meters: &'static [(u8, &'static str)]) -> impl FnMut(&Ask) -> Reaction + Send + 'static {
    move |ask: &Ask| {
        let Some((_, id)) = meters.iter().find(|(unit, _)| *unit == ask.unit) else { return Reaction::Silence };
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
            scan::serial(&line, 0, false, &stop, &mut out, &mut counted).await.unwrap()
        }
        Connection::Tcp { host, port } => scan::tcp(host, *port, false, &stop, &mut out, &mut progress).await.unwrap(),
        Connection::RtuOverTcp { .. } => unreachable!("no such scan"),
    };
    assert!(outcome.found > 0);
    assert!(peer.log().iter().all(|ask| ask.function() <= 4), "a scan only reads");
    String::from_utf8(out).unwrap()
}

/// Progress that interrupts the scan after so many steps, as a person does.
struct Counting {
    steps: usize,
    stop_after: usize,
    end: CancellationToken,
}

impl std::io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.steps += bytes.iter().filter(|byte| **byte == b'/').count();
        if self.steps >= self.stop_after {
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
    assert!(!text.contains("model = \"sunspec-meter\"\n"), "{text}");
}

#[tokio::test]
async fn an_interrupted_scan_goes_on_where_it_stopped() {
    let peer = Peer::start(Medium::Serial, line_of(&[(5, "eastron-sdm630")])).await;
    let Connection::Serial(line) = peer.connection.clone() else { panic!() };
    let line = SerialLine { baud: Some(115_200), ..line };
    let stop = CancellationToken::new();
    let mut progress = Counting { steps: 0, stop_after: 2, end: stop.clone() };
    let first = scan::serial(&line, 0, false, &stop, &mut Vec::new(), &mut progress).await.unwrap();
    assert_eq!((first.found, first.stopped_at), (0, Some(2)));
    let asked: Vec<u8> = peer.log().iter().map(|ask| ask.unit).collect();
    assert!(!asked.contains(&5) && asked.contains(&1), "{asked:?}");
    let stop = CancellationToken::new();
    let mut progress = Counting { steps: 0, stop_after: 3, end: stop.clone() };
    let mut out = Vec::new();
    let second = scan::serial(&line, 2, false, &stop, &mut out, &mut progress).await.unwrap();
    assert_eq!((second.found, second.stopped_at), (1, Some(5)));
    assert!(String::from_utf8(out).unwrap().contains("unit = 5"));
}

//! The simulator's servers over real sockets and pseudo-terminals, asked by the library's own Modbus client.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use gridkeeper::codec::crc;
use gridkeeper::quantity::{Milliamp, Phase, Span};
use gridkeeper::reading::PilotState;
use gridkeeper::simulator::{
    BusLink, BusPlan, CarAtStart, CarPlan, ChargerFault, ChargerPlan, MeterFault, MeterPlan, Obedience, Overload,
    P1Link, Plan, Simulator, TelegramFault,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio_modbus::client::{Context, Reader, Writer, rtu, tcp};
use tokio_modbus::slave::SlaveContext;
use tokio_modbus::{ExceptionCode, Slave};

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for an answer that would come, short enough for one that must not.
const SILENCE: Duration = Duration::from_millis(300);

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// Where a `serial://path?…` connection points.
fn path(connection: &str) -> &str {
    connection.strip_prefix("serial://").unwrap().split('?').next().unwrap()
}

async fn connect(house: &Simulator, charger: usize) -> Context {
    let slave = Slave(house.charger_unit(charger));
    let (scheme, place) = house.charger_connection(charger).split_once("://").unwrap();
    match scheme {
        "tcp" => tcp::attach_slave(TcpStream::connect(place).await.unwrap(), slave),
        "rtu+tcp" => rtu::attach_slave(TcpStream::connect(place).await.unwrap(), slave),
        _ => {
            let port = tokio_serial::new(path(house.charger_connection(charger)), 9600);
            rtu::attach_slave(tokio_serial::SerialStream::open(&port).unwrap(), slave)
        }
    }
}

/// Telegrams of a stream, one after the other, each up to the line end behind its CRC.
struct Telegrams<R> {
    stream: R,
    rest: Vec<u8>,
    /// So much of `rest` holds no end mark.
    searched: usize,
}

impl<R: AsyncRead + Unpin> Telegrams<R> {
    fn new(stream: R) -> Self {
        Self { stream, rest: Vec::new(), searched: 0 }
    }

    async fn next(&mut self) -> String {
        loop {
            self.searched += self.rest[self.searched..].iter().take_while(|&&byte| byte != b'!').count();
            let end = self.searched + 7;
            if self.rest.len() >= end {
                self.searched = 0;
                return String::from_utf8(self.rest.drain(..end).collect()).unwrap();
            }
            let mut chunk = vec![0; 65_536];
            let count = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(count > 0, "the port closed");
            self.rest.extend(&chunk[..count]);
        }
    }
}

fn crc_is_right(telegram: &str) -> bool {
    let mark = telegram.rfind('!').unwrap();
    telegram[mark + 1..].trim_end() == format!("{:04X}", crc::ARC.of(&telegram.as_bytes()[..=mark]))
}

fn value<'a>(telegram: &'a str, code: &str) -> Option<&'a str> {
    let line = telegram.lines().find(|line| line.starts_with(&format!("1-0:{code}(")) || line.starts_with(code))?;
    line.split(['(', '*', ')']).nth(1)
}

async fn meter(house: &Simulator) -> Telegrams<TcpStream> {
    let place = house.meter_connection().unwrap().strip_prefix("tcp://").unwrap();
    Telegrams::new(TcpStream::connect(place).await.unwrap())
}

#[tokio::test]
async fn every_link_reads_writes_and_moves_the_car() -> Fallible {
    for link in [BusLink::Tcp, BusLink::RtuOverTcp, BusLink::Rtu] {
        let mut plan = Plan::quiet(Vec::new());
        plan.buses = vec![BusPlan {
            link,
            chargers: vec![
                ChargerPlan::teltocharge(CarPlan::swift()).at_unit(3),
                ChargerPlan::evse_din(CarPlan::swift().on_phases(1)).at_unit(7).on_phases(&[Phase::L2]),
            ],
        }];
        let house = Simulator::start(plan).await?;
        let mut master = connect(&house, 0).await;
        assert_eq!(master.read_holding_registers(9, 1).await??, [0x5443], "{link:?}");
        assert_eq!(master.read_input_registers(15, 1).await??, [32]);
        master.write_multiple_registers(19, &[0, 0]).await??;
        let before = Instant::now();
        master.write_single_register(15, 16).await??;
        let view = house
            .until("16 A less 0.4 A flow on all phases", PATIENCE, |it| it.chargers[0].draw.0 == [Milliamp(15_600); 3])
            .await?;
        assert_eq!(view.chargers[0].state, PilotState::C);
        let written = view.chargers[0].written.unwrap();
        assert_eq!(written.offer, Milliamp::from_amps(16));
        assert!(written.instant > before && written.instant < Instant::now());

        master.set_slave(Slave(7));
        assert_eq!(master.read_holding_registers(1000, 2).await??, [32, 32]);
        master.write_multiple_registers(1000, &[10]).await??;
        house.until("10 A on L2", PATIENCE, |it| it.chargers[1].draw.0[1] == Milliamp(9600)).await?;
        assert_eq!(master.write_single_register(1000, 5).await?, Err(ExceptionCode::IllegalDataValue));
        assert_eq!(master.read_holding_registers(45, 1).await?, Err(ExceptionCode::IllegalDataAddress));

        master.set_slave(Slave(9));
        let nobody = tokio::time::timeout(SILENCE, master.read_holding_registers(0, 1)).await;
        assert!(nobody.is_err(), "{link:?}: unit 9 is not there, yet: {nobody:?}");
        assert_eq!(house.view().chargers[1].writes, 1);
        house.stop().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_pseudo_terminal_can_be_closed_and_opened_again() -> Fallible {
    let mut plan = Plan::quiet(vec![ChargerPlan::teltocharge(CarPlan::swift())]);
    plan.buses[0].link = BusLink::Rtu;
    let house = Simulator::start(plan).await?;
    for _ in 0..3 {
        let mut master = connect(&house, 0).await;
        assert_eq!(tokio::time::timeout(PATIENCE, master.read_holding_registers(9, 1)).await???, [0x5443]);
    }
    Ok(())
}

#[tokio::test]
async fn the_watchdog_falls_when_the_master_goes_and_history_shows_when() -> Fallible {
    let car = CarPlan::swift().at_start(CarAtStart::Charging(Milliamp::from_amps(20)));
    let house = Simulator::start(Plan::quiet(vec![ChargerPlan::teltocharge(car)])).await?;
    let begin = Instant::now();
    let mut master = connect(&house, 0).await;
    master.write_multiple_registers(19, &[1, 8]).await??;
    drop(master);
    let view = house.until("8 A are offered", PATIENCE, |it| it.chargers[0].offered == Milliamp::from_amps(8)).await?;
    assert!(view.chargers[0].fallen);
    assert!(view.instant - view.chargers[0].heard.unwrap() >= Duration::from_secs(1));
    house.until("and drawn", PATIENCE, |it| it.chargers[0].highest_draw() == Milliamp(7600)).await?;
    let overload = Overload::of(&house.history_since(begin), Milliamp::from_amps(10));
    assert_eq!(overload.highest, Milliamp(19_600));
    assert!(overload.longest >= Span(900), "{overload:?}");
    assert!(overload.ampere_seconds > 9.0, "{overload:?}");
    Ok(())
}

#[tokio::test]
async fn faults_of_a_charger_reach_the_wire() -> Fallible {
    let house = Simulator::start(Plan::quiet(vec![ChargerPlan::teltocharge(CarPlan::swift())])).await?;
    let faults = house.faults();
    let mut master = connect(&house, 0).await;
    master.write_single_register(15, 10).await??;

    let begin = Instant::now();
    faults.charger(0, ChargerFault::ReturnDead);
    assert!(tokio::time::timeout(SILENCE, master.write_single_register(15, 8)).await.is_err());
    assert_eq!(house.view().chargers[0].set_point, Milliamp::from_amps(8), "it hears");
    let requests = house.requests_since(0, begin);
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].register, requests[0].words.as_slice(), requests[0].answered), (15, &[8][..], false));

    faults.charger(0, ChargerFault::BothDead);
    let begin = Instant::now();
    let mut master = connect(&house, 0).await;
    assert!(tokio::time::timeout(SILENCE, master.write_single_register(15, 12)).await.is_err());
    assert_eq!(house.view().chargers[0].set_point, Milliamp::from_amps(8), "it does not hear");
    assert_eq!(house.requests_since(0, begin).len(), 1, "what was sent is known all the same");

    for (fault, what) in [
        (ChargerFault::WrongUnit, "another unit"),
        (ChargerFault::Rubbish, "rubbish"),
        (ChargerFault::Unreachable, "nobody there"),
    ] {
        faults.charger(0, fault);
        let mut master = connect(&house, 0).await;
        let answer = tokio::time::timeout(SILENCE, master.read_holding_registers(15, 1)).await;
        assert!(!matches!(answer, Ok(Ok(Ok(_)))), "{what}: {answer:?}");
    }
    let mut master = {
        faults.charger(0, ChargerFault::Exception(6));
        connect(&house, 0).await
    };
    assert_eq!(master.read_holding_registers(15, 1).await?, Err(ExceptionCode::ServerDeviceBusy));

    faults.charger(0, ChargerFault::Delayed(Span(200)));
    let asked = Instant::now();
    assert_eq!(master.read_holding_registers(15, 1).await??, [8]);
    assert!(asked.elapsed() >= Duration::from_millis(200));

    faults.charger(0, ChargerFault::None);
    faults.drop_masters(0);
    assert!(master.read_holding_registers(15, 1).await.is_err(), "the connection was reset");
    Ok(())
}

#[tokio::test]
async fn an_answer_of_the_wrong_length_is_well_formed_and_short() -> Fallible {
    use tokio::io::AsyncWriteExt;
    let house = Simulator::start(Plan::quiet(vec![ChargerPlan::teltocharge(CarPlan::swift())])).await?;
    house.faults().charger(0, ChargerFault::WrongLength);
    let mut stream = TcpStream::connect(house.charger_connection(0).strip_prefix("tcp://").unwrap()).await?;
    stream.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 14, 0, 2]).await?;
    let mut answer = [0; 11];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, [0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 6]);
    Ok(())
}

#[tokio::test]
async fn a_charger_can_be_rebooted_mastered_by_another_and_disobeyed() -> Fallible {
    let car = CarPlan::swift().at_start(CarAtStart::Charging(Milliamp::from_amps(10)));
    let house = Simulator::start(Plan::quiet(vec![ChargerPlan::teltocharge(car)])).await?;
    let faults = house.faults();
    house.until("10 A", PATIENCE, |it| it.chargers[0].highest_draw() == Milliamp(9600)).await?;
    faults.obey(0, Obedience::DrawsMore(Milliamp(3000)));
    house.until("3 A more than offered", PATIENCE, |it| it.chargers[0].highest_draw() == Milliamp(13_000)).await?;
    faults.obey(0, Obedience::Obeys);
    faults.second_master(0, Milliamp::from_amps(14));
    house.until("14 A", PATIENCE, |it| it.chargers[0].highest_draw() == Milliamp(13_600)).await?;
    assert_eq!(house.view().chargers[0].written, None, "nothing came over the bus");
    assert!(faults.poke(0, 19, 300));
    faults.reboot(0);
    assert_eq!(house.view().chargers[0].offered, Milliamp::ZERO);
    let view = house.until("32 A again", PATIENCE, |it| it.chargers[0].highest_draw() == Milliamp(31_600)).await?;
    assert_eq!((view.chargers[0].boots, view.chargers[0].set_point), (1, Milliamp::from_amps(32)));
    assert_eq!(faults.peek(0, 19), Some(30), "a box that restarts has forgotten its watchdog");
    faults.unplug(0);
    house.until("empty", PATIENCE, |it| it.chargers[0].state == PilotState::A).await?;
    assert_eq!(house.view().grid.0, [Milliamp::ZERO; 3]);
    faults.plug(0);
    faults.stop_in_car(0, true);
    house.until("there, but content", PATIENCE, |it| it.chargers[0].state == PilotState::D).await?;
    Ok(())
}

#[tokio::test]
async fn several_readers_get_the_same_telegrams_with_a_right_crc() -> Fallible {
    let house = Simulator::start(Plan::quiet(Vec::new()).with_load([3.0, -4.5, 0.0])).await?;
    let (mut one, mut two) = (meter(&house).await, meter(&house).await);
    house.until("two readers", PATIENCE, |it| it.readers == 2).await?;
    let (first, same) = (one.next().await, two.next().await);
    assert_eq!(first, same);
    assert!(crc_is_right(&first));
    assert_eq!(value(&first, "31.7.0"), Some("003.00"));
    assert_eq!(value(&first, "51.7.0"), Some("004.50"));
    assert_eq!(value(&first, "42.7.0"), Some("01.038"), "4.5 A of export at 230.7 V");
    let second = one.next().await;
    assert!(value(&second, "0-0:1.0.0") > value(&first, "0-0:1.0.0"), "a later time in each telegram");
    drop(two);
    house.until("one reader", PATIENCE, |it| it.readers == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_load_that_is_set_is_measured_exactly_and_at_once() -> Fallible {
    let house = Simulator::start(Plan::quiet(Vec::new())).await?;
    let mut reader = meter(&house).await;
    reader.next().await;
    house.faults().load(Some([26.5, 1.0, 2.0]));
    loop {
        let telegram = reader.next().await;
        if value(&telegram, "31.7.0") == Some("026.50") {
            break;
        }
        assert_eq!(value(&telegram, "31.7.0"), Some("000.00"), "nothing in between");
    }
    assert_eq!(house.view().grid.0[0], Milliamp(26_500));
    Ok(())
}

#[tokio::test]
async fn faults_of_the_meter_reach_the_wire() -> Fallible {
    let house = Simulator::start(Plan::quiet(Vec::new()).with_load([3.0, 4.0, 5.0])).await?;
    let faults = house.faults();
    let mut reader = meter(&house).await;
    let good = reader.next().await;
    assert!(crc_is_right(&good));

    faults.telegram(TelegramFault::SignFlipped(Phase::L2));
    faults.telegram(TelegramFault::WrongCrc);
    faults.telegram(TelegramFault::Oversized(10_000_000));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let telegram = reader.next().await;
        if value(&telegram, "42.7.0") != Some("00.000") {
            seen.push("flipped");
            assert!(crc_is_right(&telegram));
            assert_eq!(value(&telegram, "62.7.0"), Some("00.000"));
        } else if !crc_is_right(&telegram) {
            // The large one keeps the CRC of its smaller self.
            seen.push(if telegram.len() > 10_000_000 { "large" } else { "crc" });
        }
    }
    assert_eq!(seen, ["flipped", "crc", "large"]);

    faults.meter(MeterFault::PhaseMissing(Phase::L3));
    let telegram = eventually(&mut reader, |it| value(it, "71.7.0").is_none()).await;
    assert_eq!(value(&telegram, "61.7.0"), None);
    assert_eq!(value(&telegram, "51.7.0"), Some("004.00"));

    faults.meter(MeterFault::Zeros);
    let zeros = eventually(&mut reader, |it| value(it, "31.7.0") == Some("000.00")).await;
    assert_eq!(value(&zeros, "32.7.0"), Some("000.0"));
    let later = reader.next().await;
    assert_eq!(value(&zeros, "1.8.2"), value(&later, "1.8.2"));
    assert_ne!(value(&zeros, "0-0:1.0.0"), value(&later, "0-0:1.0.0"));

    faults.meter(MeterFault::None);
    eventually(&mut reader, |it| value(it, "31.7.0") == Some("003.00")).await;
    faults.meter(MeterFault::Frozen);
    faults.load(Some([9.0, 9.0, 9.0]));
    reader.next().await;
    let frozen = reader.next().await;
    assert_eq!(frozen, reader.next().await);
    faults.meter(MeterFault::WrongCrc);
    eventually(&mut reader, |it| !crc_is_right(it)).await;

    faults.meter(MeterFault::Silent);
    let sent = house.view().telegrams;
    let patience = tokio::time::timeout(SILENCE, async {
        loop {
            reader.next().await;
        }
    });
    assert!(patience.await.is_err());
    assert_eq!(house.view().telegrams, sent);

    faults.meter(MeterFault::Unreachable);
    house.until("no reader", PATIENCE, |it| it.readers == 0).await?;
    faults.meter(MeterFault::None);
    let mut reader = meter(&house).await;
    assert!(crc_is_right(&reader.next().await));
    Ok(())
}

async fn eventually<R: AsyncRead + Unpin>(reader: &mut Telegrams<R>, right: impl Fn(&str) -> bool) -> String {
    loop {
        let telegram = reader.next().await;
        if right(&telegram) {
            return telegram;
        }
    }
}

#[tokio::test]
async fn telegrams_that_are_held_back_come_all_at_once() -> Fallible {
    let mut plan = Plan::quiet(Vec::new());
    plan.meter = Some(MeterPlan { period: Span(150), ..MeterPlan::default() });
    let house = Simulator::start(plan).await?;
    let place = house.meter_connection().unwrap().strip_prefix("tcp://").unwrap();
    let mut stream = TcpStream::connect(place).await?;
    let length = {
        let mut reader = Telegrams::new(&mut stream);
        let length = reader.next().await.len();
        assert!(reader.rest.is_empty());
        length
    };
    house.faults().telegram(TelegramFault::HeldBack(3));
    let sent = house.view().telegrams;
    let mut chunk = vec![0; 100_000];
    let mut sizes = Vec::new();
    // Three times nothing but one write of three telegrams; a telegram that was under way before may come first.
    while sizes.last().is_none_or(|&size| size < 3 * length) {
        sizes.push(tokio::time::timeout(PATIENCE, stream.read(&mut chunk)).await??);
        assert!(sizes.len() <= 2, "{sizes:?} bytes in single reads, a telegram has {length}");
    }
    assert!(house.view().telegrams >= sent + 3);
    Ok(())
}

#[tokio::test]
async fn a_reader_of_the_pseudo_terminal_finds_whole_telegrams() -> Fallible {
    let mut plan = Plan::quiet(Vec::new()).with_load([1.0, 2.0, 3.0]);
    plan.meter = Some(MeterPlan { link: P1Link::Pty, period: Span(50), current_decimals: 0, ..MeterPlan::default() });
    let house = Simulator::start(plan).await?;
    // Nobody listens meanwhile: what is not heard is lost, and nothing of it may come later.
    house.until("twenty telegrams", PATIENCE, |it| it.telegrams >= 20).await?;
    house.faults().load(Some([1.0, 2.0, 4.0]));
    let port = tokio_serial::new(path(house.meter_connection().unwrap()), 115_200);
    let mut reader = Telegrams::new(tokio_serial::SerialStream::open(&port)?);
    for _ in 0..10 {
        let telegram = reader.next().await;
        // The first may have lost its beginning, or some line ends before the port was set to raw.
        if crc_is_right(&telegram) {
            assert_eq!(value(&telegram, "71.7.0"), Some("004"));
        }
    }
    assert!(crc_is_right(&reader.next().await));
    Ok(())
}

#[tokio::test]
async fn house_time_may_run_faster_than_real_time() -> Fallible {
    let car = CarPlan { start: (Span(12_000), Span(12_000)), ..CarPlan::usual() };
    let mut plan = Plan::quiet(vec![ChargerPlan::evse_din(car)]);
    plan.speed = 50.0;
    plan.meter = Some(MeterPlan { period: Span::from_secs(10), jitter: Span::from_secs(2), ..MeterPlan::default() });
    let house = Simulator::start(plan).await?;
    let begin = Instant::now();
    let view = house.until("it charges", PATIENCE, |it| it.chargers[0].state == PilotState::C).await?;
    assert!(view.at >= gridkeeper::quantity::Mono(12_000));
    assert!(view.at.as_secs_f64() >= 49.0 * (view.instant - begin).as_secs_f64());
    let mut reader = meter(&house).await;
    let (one, two) = (reader.next().await, reader.next().await);
    let seconds = |it: &str| value(it, "0-0:1.0.0").unwrap()[8..12].parse::<i32>().unwrap();
    let (one, two) = (seconds(&one), seconds(&two));
    let between = ((two / 100 * 60 + two % 100) - (one / 100 * 60 + one % 100)).rem_euclid(3600);
    // A machine too busy for a telegram leaves it out; the others keep their times.
    assert_eq!((between > 0, between % 10), (true, 0));
    Ok(())
}

//! What a meter on a bus must not be able to do to what is published.

use std::sync::Mutex;

use gridkeeper::quantity::{Milliamp, Phase, Watt};

use super::*;

fn case(id: &str) -> &'static Case {
    CASES.iter().find(|it| it.model == id).unwrap()
}

/// A device whose registers the test changes.
async fn changing(id: &str, medium: Medium) -> (Peer, Arc<Mutex<Map>>) {
    let registers = Arc::new(Mutex::new(map(case(id))));
    let served = Arc::clone(&registers);
    (Peer::start(medium, move |ask| serve(&served.lock().unwrap(), ask)).await, registers)
}

#[tokio::test]
async fn powers_are_withheld_while_the_mode_register_is_wrong() {
    let (peer, registers) = changing("carlo-gavazzi-em3xx", Medium::Tcp).await;
    {
        let mut registers = registers.lock().unwrap();
        registers.insert((3, 0x1103), 0);
        // -10.5 A on L1, low word first.
        registers.insert((4, 0x0C), 0xD6FC);
        registers.insert((4, 0x0D), 0xFFFF);
    }
    let running = start(model("carlo-gavazzi-em3xx"), &peer.connection);
    let risk = |message: &ToControl| match message {
        ToControl::Risk(_, risk) => Some(risk.clone()),
        ToControl::Meter { .. } => panic!("a reading came before the mode was looked at"),
        _ => None,
    };
    let risk = running.wait("the risk", risk).await.unwrap();
    assert!(
        risk.contains("`meter`") && risk.contains("measurement mode is not B") && risk.contains("register 4355 is 0"),
        "{risk}"
    );
    let (reading, values) = running.reading("a reading", |_, _| true).await;
    assert_eq!((reading.power_total, reading.power[Phase::L1]), (None, None));
    assert!(!values.values.keys().any(|key| key.starts_with("power_")), "{values:?}");
    assert_eq!(reading.current[Phase::L1], Some(Milliamp(10_500)), "currents stay, as import");
    assert!(!reading.current_signed);
}

#[tokio::test]
async fn a_meter_with_a_transformer_ratio_gives_no_reading_at_all() {
    let (peer, registers) = changing("chint-dtsu666", Medium::Tcp).await;
    registers.lock().unwrap().insert((3, 6), 40);
    let running = start(model("chint-dtsu666"), &peer.connection);
    let risk = |message: &ToControl| match message {
        ToControl::Risk(_, Some(risk)) => Some(risk.clone()),
        ToControl::Meter { .. } => panic!("a reading that is 40 times too small"),
        _ => None,
    };
    assert!(running.wait("the risk", risk).await.contains("nothing of it is used"));
    peer.requests(6).await;
    assert!(running.inbox.try_iter().all(|it| !matches!(it, ToControl::Meter { .. })));
}

/// A meter that is busy, or a gateway that does not reach it, has not said that there is no such register.
#[tokio::test]
async fn a_busy_meter_has_not_shown_its_mode() {
    for code in [4, 6, 10, 11] {
        let mut registers = map(case("chint-dtsu666"));
        registers.insert((3, 6), 40);
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let peer = Peer::start(Medium::Tcp, move |ask| {
            if ask.address() == 6 && *count.lock().unwrap() < 2 {
                *count.lock().unwrap() += 1;
                return Reaction::Answer(vec![ask.function() | 0x80, code]);
            }
            serve(&registers, ask)
        })
        .await;
        let running = start(model("chint-dtsu666"), &peer.connection);
        let risk = |message: &ToControl| match message {
            ToControl::Risk(_, Some(risk)) => Some(risk.clone()),
            ToControl::Meter { .. } => panic!("a reading that is 40 times too small, after exception {code}"),
            _ => None,
        };
        assert!(running.wait("the risk", risk).await.contains("nothing of it is used"));
        assert_eq!(*asked.lock().unwrap(), 2);
    }
}

#[tokio::test]
async fn a_refused_optional_register_is_absent_and_no_fault() {
    let (peer, registers) = changing("abb-ab", Medium::Tcp).await;
    registers.lock().unwrap().retain(|(_, address), _| !(0x5004..0x5008).contains(address));
    let running = start(model("abb-ab"), &peer.connection);
    let (reading, values) = running.reading("the import", |reading, _| reading.energy_import.is_some()).await;
    assert_eq!(reading.energy_export, None);
    assert!(!values.values.contains_key("energy_export_kwh"));
    let asked = || peer.log().iter().filter(|ask| ask.address() == 0x5004).count();
    while asked() == 0 {
        peer.requests(peer.log().len() + 1).await;
    }
    *registers.lock().unwrap() = map(case("abb-ab"));
    let export = |reading: &MeterReading, _: &MeterValues| reading.energy_export.is_some();
    running.reading("the export, which the meter had not read yet", export).await;
    assert_eq!(asked(), 3, "it is asked again, after a pause, and once more for its first figure");
}

#[tokio::test]
async fn of_two_wrong_mode_registers_the_stricter_one_holds() {
    let (peer, registers) = changing("chint-dtsu666", Medium::Tcp).await;
    registers.lock().unwrap().extend([((3, 6), 40), ((3, 7), 4)]);
    let mut model = model("chint-dtsu666");
    model.modes[1].everything = false;
    let running = start(model, &peer.connection);
    let risk = |message: &ToControl| match message {
        ToControl::Risk(_, Some(risk)) => Some(risk.clone()),
        ToControl::Meter { .. } => panic!("a reading that is 40 times too small"),
        _ => None,
    };
    let risk = running.wait("the risk", risk).await;
    let both = risk.contains("register 6 is 40") && risk.contains("register 7 is 4");
    assert!(both && risk.ends_with("nothing of it is used"), "{risk}");
    peer.requests(6).await;
    assert!(running.inbox.try_iter().all(|it| !matches!(it, ToControl::Meter { .. })));
}

#[tokio::test]
async fn a_voltage_transformer_is_a_ratio_as_well() {
    let (peer, registers) = changing("chint-dtsu666", Medium::Tcp).await;
    registers.lock().unwrap().insert((3, 7), 1000);
    let running = start(model("chint-dtsu666"), &peer.connection);
    let risk = |message: &ToControl| match message {
        ToControl::Risk(_, Some(risk)) => Some(risk.clone()),
        ToControl::Meter { .. } => panic!("a reading that is 100 times too small"),
        _ => None,
    };
    assert!(running.wait("the risk", risk).await.contains("voltage transformer ratio"));
}

#[tokio::test]
async fn a_sample_is_told_once_however_often_the_converter_is_asked() {
    let (peer, registers) = changing("smartstuff-p1", Medium::Tcp).await;
    let time = |seconds: u16| [((3, 0), 0x2F00), ((3, 1), seconds)];
    registers.lock().unwrap().extend(time(1));
    let running = start_with(model("smartstuff-p1"), &peer.connection, Mapping::default(), MeterRole::Grid);
    let first = running.reading("the first sample", |_, _| true).await.0.stamp.unwrap();
    peer.requests(peer.log().len() + 8).await;
    let again = running.inbox.try_iter().filter(|it| matches!(it, ToControl::Meter { .. })).count();
    assert_eq!(again, 0, "the same sample");
    for seconds in 2..=4 {
        registers.lock().unwrap().extend(time(seconds));
        let (reading, _) = running.reading("the next sample", |_, _| true).await;
        assert_eq!(reading.stamp, Some(first + i64::from(seconds) - 1));
    }
}

#[tokio::test]
async fn after_a_silence_nothing_of_the_meter_before_is_told() {
    let silent = Arc::new(Mutex::new(false));
    let quiet = Arc::clone(&silent);
    let map = map(case("eastron-sdm630"));
    let reaction = move |ask: &Ask| if *quiet.lock().unwrap() { Reaction::Silence } else { serve(&map, ask) };
    let peer = Peer::start(Medium::Tcp, reaction).await;
    let running = start(model("eastron-sdm630"), &peer.connection);
    running.reading("counters", |reading, _| reading.energy_import.is_some()).await;
    *silent.lock().unwrap() = true;
    let gone = |message: &ToControl| match message {
        ToControl::Health(_, health) if health.timeouts >= 3 && !health.online => Some(()),
        _ => None,
    };
    running.wait("three time-outs", gone).await;
    while running.inbox.try_recv().is_ok() {}
    *silent.lock().unwrap() = false;
    let (reading, values) = running.reading("the first reading of who came back", |_, _| true).await;
    assert_eq!(reading.power_total, Some(Watt(3033)));
    assert_eq!((reading.energy_import, values.values.contains_key("frequency_hz")), (None, false));
}

#[tokio::test]
async fn an_invalid_marker_is_no_number() {
    let (peer, registers) = changing("carlo-gavazzi-em5xx", Medium::Tcp).await;
    {
        // i32, low word first: 0x7FFFFFFF.
        let mut registers = registers.lock().unwrap();
        registers.insert((4, 0x0E), 0xFFFF);
        registers.insert((4, 0x0F), 0x7FFF);
    }
    let running = start(model("carlo-gavazzi-em5xx"), &peer.connection);
    let (reading, values) = running.reading("a reading", |_, _| true).await;
    assert_eq!(reading.current[Phase::L2], None);
    assert_eq!(reading.current[Phase::L1], Some(Milliamp(10_500)));
    assert!(!values.values.contains_key("current_l2_a"));
}

#[tokio::test]
async fn a_silent_meter_is_said_to_be_and_comes_back() {
    let silent = Arc::new(Mutex::new(true));
    let quiet = Arc::clone(&silent);
    let map = map(case("eastron-sdm630"));
    let peer = Peer::start(
        Medium::Serial,
        move |ask| {
            if *quiet.lock().unwrap() { Reaction::Silence } else { serve(&map, ask) }
        },
    )
    .await;
    let running = start(model("eastron-sdm630"), &peer.connection);
    let silent_health = |message: &ToControl| match message {
        ToControl::Health(_, health) if health.timeouts >= 2 => Some(health.clone()),
        ToControl::Meter { .. } => panic!("a reading of a silent meter"),
        _ => None,
    };
    let health = running.wait("time-outs", silent_health).await;
    assert!(!health.online && health.good == 0);
    assert!(health.last_error.as_deref().unwrap().contains("no complete answer"), "{health:?}");
    *silent.lock().unwrap() = false;
    let (reading, _) = running.reading("a reading", |_, _| true).await;
    assert_eq!(reading.power_total, Some(Watt(3033)));
}

#[tokio::test]
async fn phases_and_direction_follow_the_configuration() {
    let (peer, _) = changing("eastron-sdm630", Medium::Tcp).await;
    let mapping = Mapping { phases: [Phase::L3, Phase::L1, Phase::L2], invert: true };
    let running = start_with(model("eastron-sdm630"), &peer.connection, mapping, MeterRole::Grid);
    let (reading, values) = running.reading("counters", |reading, _| reading.energy_import.is_some()).await;
    assert_eq!(reading.power[Phase::L3], Some(Watt(-2401)), "its L1 is -2400.5 W turned round");
    assert_eq!(reading.power[Phase::L1], Some(Watt(58)));
    assert_eq!(reading.power_total, Some(Watt(-3033)));
    assert_eq!(number(&values, "current_l3_a"), Some(-10.5), "the sign of its power");
    assert_eq!(number(&values, "energy_import_kwh"), Some(4321.25), "import and export are exchanged");
    assert_eq!(number(&values, "energy_export_kwh"), Some(98_765.5));
}

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
    registers.lock().unwrap().insert((3, 0x1103), 0);
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
    assert_eq!(reading.current[Phase::L1], Some(Milliamp(10_500)), "currents without a direction stay");
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

#[tokio::test]
async fn a_refused_optional_register_is_absent_and_no_fault() {
    let (peer, registers) = changing("abb-ab", Medium::Tcp).await;
    registers.lock().unwrap().retain(|(_, address), _| !(0x5004..0x5008).contains(address));
    let running = start(model("abb-ab"), &peer.connection);
    let (reading, values) = running.reading("the import", |reading, _| reading.energy_import.is_some()).await;
    assert_eq!(reading.energy_export, None);
    assert!(!values.values.contains_key("energy_export_kwh"));
    let asked = || peer.log().iter().filter(|ask| ask.address() == 0x5004).count();
    peer.requests(peer.log().len() + 12).await;
    assert!(asked() <= 1, "it is not asked for again");
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

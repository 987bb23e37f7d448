//! Solar plants and home batteries: keys of their own, and what Home Assistant's Energy dashboard needs of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use gridkeeper::config::model::MeterRole;
use gridkeeper::mqtt::{MeterInfo, MqttOptions};
use gridkeeper::quantity::Mono;
use gridkeeper::status::{Health, MeterValues, MeterView, Snapshot};
use serde_json::{Value, json};

use super::discovery::compare;
use super::house::{WALL_MS, common, number, options};
use super::peer::{Broker, Peer};
use super::rig::Rig;
use super::schema;

const MEASURED: &str = "power_w power_l1_w power_l2_w power_l3_w current_l1_a current_l2_a current_l3_a voltage_l1_v \
    voltage_l2_v voltage_l3_v reactive_power_var apparent_power_va power_factor frequency_hz \
    reactive_energy_import_kvarh reactive_energy_export_kvarh peak_month_kw tariff quality time age_s";
const ROOF: &str = "energy_produced_kwh";
const CELLAR: &str = "energy_charged_kwh energy_discharged_kwh soc_percent";

fn with_sources(mut options: MqttOptions) -> MqttOptions {
    options.meters.push(MeterInfo { common: common("roof", "Roof"), role: MeterRole::Solar });
    options.meters.push(MeterInfo { common: common("cellar", "Cellar"), role: MeterRole::Battery });
    options.config.influx = true;
    options
}

/// As a meter with both directions says it, named by its role.
fn view(id: &str, role: MeterRole, at: Mono) -> MeterView {
    let mut values = MeterValues { received_at: Some(at), wall_ms: Some(WALL_MS + at.0), ..MeterValues::default() };
    for (key, value) in [
        ("power_w", number(3_210.0, "W", 0)),
        ("energy_import_kwh", number(8_000.5, "kWh", 3)),
        ("energy_export_kwh", number(12.25, "kWh", 3)),
    ] {
        values.values.insert(key.into(), value);
    }
    if role == MeterRole::Battery {
        values.values.insert("soc_percent".into(), number(55.0, "%", 0));
    }
    values.name_counters(role);
    let health = Health { online: true, good: 1, ..Health::default() };
    MeterView { id: id.into(), status: None, values: Arc::new(values), health }
}

fn add_sources(snapshot: &mut Snapshot) {
    let at = snapshot.at;
    snapshot.meters.push(view("roof", MeterRole::Solar, at));
    snapshot.meters.push(view("cellar", MeterRole::Battery, at));
}

#[tokio::test]
async fn solar_plants_and_batteries_have_the_keys_of_the_contract() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "#").await;
    let mut rig = Rig::start(with_sources(options(broker.address)));
    rig.online().await;
    rig.show(add_sources);
    let heard = |it: &Value| it["power_w"] == 3210.0;
    let roof = peer.json("gridkeeper/meter/roof/state", heard).await;
    let cellar = peer.json("gridkeeper/meter/cellar/state", heard).await;
    for (state, own) in [(&roof, ROOF), (&cellar, CELLAR)] {
        let expected: BTreeSet<_> = MEASURED.split_whitespace().chain(own.split_whitespace()).collect();
        let found: BTreeSet<_> = state.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(roof["energy_produced_kwh"], 8000.5);
    assert_eq!((&cellar["energy_discharged_kwh"], &cellar["energy_charged_kwh"]), (&json!(8000.5), &json!(12.25)));
    assert_eq!(cellar["soc_percent"], 55);
    for (device, keys) in [("meter_roof", ROOF), ("meter_cellar", "energy_charged_kwh energy_discharged_kwh")] {
        let topic = format!("homeassistant/device/gridkeeper_{device}/config");
        let message = peer.json(&topic, |_| true).await;
        assert_eq!(schema::faults(&topic, &message), [""; 0]);
        for key in keys.split_whitespace() {
            let component = &message["components"][key];
            assert_eq!(
                (&component["device_class"], &component["state_class"]),
                (&json!("energy"), &json!("total_increasing"))
            );
            assert_eq!(component["unit_of_measurement"], "kWh");
            assert!(component.get("enabled_by_default").is_none() && component.get("entity_category").is_none());
        }
        compare(&format!("gridkeeper_{device}"), &message);
    }
    for line in [
        "gridkeeper_meter,id=roof,role=solar energy_produced_kwh=8000.500,power_w=3210,",
        "gridkeeper_meter,id=cellar,role=battery energy_charged_kwh=12.250,energy_discharged_kwh=8000.500,power_w=3210,",
    ] {
        let found =
            |it: &super::peer::Seen| (it.topic == "gridkeeper/influx" && it.text().contains(line)).then_some(());
        peer.after(0, line, found).await;
    }
    rig.stop().await;
    broker.kill().await;
}

/// A meter that was said to be a battery's only later, or by an earlier version.
#[tokio::test]
async fn counters_that_have_another_name_now_are_taken_from_home_assistant() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "homeassistant/#").await;
    let mut before = with_sources(options(broker.address));
    before.meters[2].role = MeterRole::Other;
    let mut rig = Rig::start(before);
    rig.online().await;
    rig.show(|it| it.meters.push(view("cellar", MeterRole::Other, it.at)));
    let topic = "homeassistant/device/gridkeeper_meter_cellar/config";
    let has = |it: &Value, key: &str| it["components"].get(key).is_some();
    peer.json(topic, |it| has(it, "energy_import_kwh") && has(it, "energy_export_kwh")).await;
    rig.stop().await;
    let mark = peer.mark();
    let mut rig = Rig::start(with_sources(options(broker.address)));
    rig.online().await;
    rig.show(add_sources);
    let mut reduced = false;
    peer.after(mark, "the old keys reduced to their platform, then gone", |it| {
        let message = (it.topic == topic && !it.payload.is_empty()).then(|| it.json())?;
        let old = ["energy_import_kwh", "energy_export_kwh"].map(|key| message["components"].get(key).cloned());
        reduced |= old == [(); 2].map(|()| Some(json!({"platform": "sensor"})));
        (reduced && old == [None, None] && has(&message, "energy_discharged_kwh")).then_some(())
    })
    .await;
    rig.stop().await;
    broker.kill().await;
}

//! The broker is no part of the safety path: gone, killed, hung, flooding or talking rubbish, it changes nothing.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gridkeeper::quantity::Milliamp;
use gridkeeper::simulator::{Plan, View};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::meters::{amps, one_car, settled, steady};
use crate::peer::{Broker, Peer, Wire};
use crate::scene::{Scene, Setting};

const RESULT: &str = "gridkeeper/result";
const STATE: &str = "gridkeeper/charger/c0/state";
const SET_MAX: &str = "gridkeeper/charger/c0/set/max_current_a";
const SET_MODE: &str = "gridkeeper/charger/c0/set/mode";

fn with_broker(address: SocketAddr) -> Setting {
    Setting { mqtt: format!("mqtt://{address}"), ..steady() }
}

fn within_the_fuse(view: &View) -> bool {
    view.grid.0.iter().all(|current| *current <= amps(25))
}

/// A port of nobody: connections are refused, nobody gets it for port 0, and a broker may listen on it all the same.
fn reserve() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket
}

/// A load appears on L1, the car is cut to what is left, and gets no more.
async fn an_overload_is_cut(scene: &Scene) {
    scene.faults().load(Some([16.0, 2.0, 2.0]));
    scene
        .until("L1 is back under its fuse", |view| {
            view.house.0[0] == amps(16) && view.chargers[0].offered == amps(8) && within_the_fuse(view)
        })
        .await;
}

/// Names of the variable and of the test that is no test: a broker in a process of its own.
const PORT_VARIABLE: &str = "GRIDKEEPER_TEST_BROKER_PORT";
const BROKER_PROCESS: &str = "broker::broker_process";
const BROKER_SPEAKS: &str = "the broker listens on port ";

/// A broker in a process of its own, so that it can be killed and stopped. Ends with its owner.
struct BrokerProcess {
    child: Child,
    address: SocketAddr,
}

impl BrokerProcess {
    /// Port 0 is a free one.
    async fn start(port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", BROKER_PROCESS, "--nocapture"])
            .env(PORT_VARIABLE, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let found = tokio::task::spawn_blocking(move || {
            lines.map_while(Result::ok).find_map(|line| Some(line.split_once(BROKER_SPEAKS)?.1.parse::<u16>().unwrap()))
        });
        let port = found.await.unwrap().expect("the broker's process says where it listens");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Run by `BrokerProcess` alone; without its variable it does nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a helper process of other tests"]
async fn broker_process() {
    let Ok(port) = std::env::var(PORT_VARIABLE) else { return };
    let broker = Broker::on(port.parse().unwrap()).await;
    println!("\n{BROKER_SPEAKS}{}", broker.address.port());
    // Until the owner ends, however it ends.
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.unwrap().unwrap();
}

/// The first state of the charger from `mark` on that shows this.
async fn shown(peer: &Peer, mark: usize, key: &str, value: Value) {
    peer.json_after(mark, STATE, |state| state[key] == value).await;
}

/// An accepted command, and the charger that follows.
async fn commands_work(scene: &Scene, peer: &Peer) {
    let mark = peer.mark();
    peer.publish(SET_MAX, r#"{"value":7,"id":"works"}"#);
    let result = peer.json_after(mark, RESULT, |it| it["id"] == "works").await;
    assert_eq!(result["ok"], true, "{result}");
    shown(peer, mark, "max_current_a", json!(7)).await;
    scene.until("the charger follows", |view| view.chargers[0].offered == amps(7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_the_appliance_controls_and_one_that_appears_later_is_told_everything() {
    let reserved = reserve();
    let address = reserved.local_addr().unwrap();
    let scene = Scene::start(one_car(), with_broker(address)).await;
    scene.charging(0, 9).await;
    an_overload_is_cut(&scene).await;
    scene
        .until_status("the page says what is wrong", |status| {
            status["mqtt"]["state"] == "retrying" && status["mqtt"]["problem"].is_string()
        })
        .await;
    let broker = Broker::on(address.port()).await;
    let peer = Peer::connect(address, "#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    shown(&peer, 0, "offered_current_a", json!(8)).await;
    for topic in ["gridkeeper/site/state", "gridkeeper/meter/main/state", "gridkeeper/bridge/info"] {
        peer.json(topic, |_| true).await;
    }
    for device in ["gridkeeper_site", "gridkeeper_meter_main", "gridkeeper_charger_c0"] {
        let topic = format!("homeassistant/device/{device}/config");
        peer.after(0, &topic, |it| (it.topic == topic && !it.payload.is_empty()).then_some(())).await;
    }
    commands_work(&scene, &peer).await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_changes_nothing_and_after_its_return_states_and_commands_do() {
    let reserved = reserve();
    let mut broker = BrokerProcess::start(reserved.local_addr().unwrap().port()).await;
    let address = broker.address;
    let scene = Scene::start(one_car(), with_broker(address)).await;
    let peer = Peer::connect(address, "gridkeeper/#").await;
    settled(&scene).await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    broker.kill();
    scene.event("broker_lost", "bridge").await;
    let since = Instant::now();
    an_overload_is_cut(&scene).await;
    assert!(scene.history_since(since).iter().all(|it| it.offered[0] >= amps(8)), "it was cut too far");
    // The new one knows nothing of what the old one was told.
    let broker = BrokerProcess::start(address.port()).await;
    let peer = Peer::connect(broker.address, "#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    shown(&peer, 0, "offered_current_a", json!(8)).await;
    let discovery = "homeassistant/device/gridkeeper_charger_c0/config";
    peer.after(0, discovery, |it| (it.topic == discovery).then_some(())).await;
    peer.json("gridkeeper/event", |it| it["event_type"] == "broker_back").await;
    commands_work(&scene, &peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_changes_nothing_and_is_used_again_when_it_goes_on() {
    let broker = BrokerProcess::start(0).await;
    let scene = Scene::start(one_car(), with_broker(broker.address)).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    scene.charging(0, 9).await;
    broker.signal(Signal::SIGSTOP);
    scene.holds("charging goes on", Duration::from_secs(1), |view| view.chargers[0].offered >= amps(9)).await;
    an_overload_is_cut(&scene).await;
    scene.faults().load(Some([2.0; 3]));
    scene.until("and raises as well", |view| view.chargers[0].offered > amps(10)).await;
    an_overload_is_cut(&scene).await;
    let mark = peer.mark();
    broker.signal(Signal::SIGCONT);
    shown(&peer, mark, "offered_current_a", json!(8)).await;
    commands_work(&scene, &peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overload_is_cut_while_the_broker_floods_us() {
    let broker = BrokerProcess::start(0).await;
    let scene = Scene::start(one_car(), with_broker(broker.address)).await;
    let watcher = Peer::connect(broker.address, "gridkeeper/event").await;
    let flooder = Peer::connect(broker.address, "nothing").await;
    scene.charging(0, 20).await;
    let flood = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut number = 0_u32;
        loop {
            ticks.tick().await;
            for _ in 0..20 {
                number += 1;
                match number % 4 {
                    0 => flooder.publish(SET_MAX, format!("{}", 20 + number % 12)),
                    1 => flooder.publish("gridkeeper/site/set/sharing", "equal"),
                    2 => flooder.publish(SET_MODE, vec![0xFF; 100]),
                    _ => flooder.publish("gridkeeper/toaster/x/set/mode", "{"),
                }
            }
        }
    };
    let judged = async {
        scene
            .until_status("more commands than are taken", |status| status["mqtt"]["received"].as_u64() > Some(500))
            .await;
        let since = Instant::now();
        an_overload_is_cut(&scene).await;
        // A breaker of 25 A stands 38 A for minutes.
        let overload = scene.overload_since(since, 25.0);
        assert!(overload.longest.to_std() < Duration::from_secs(5), "{overload:?}");
        watcher
            .json("gridkeeper/event", |it| it["detail"].as_str().is_some_and(|it| it.contains("commands a second")))
            .await;
    };
    tokio::select! {
        () = flood => {}
        () = judged => {}
    }
    // It still takes what comes at a bearable rate, once it is through with what waits at the broker.
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(300));
    let obeyed = async {
        loop {
            ticks.tick().await;
            peer.publish(SET_MAX, r#"{"value":6,"id":"after"}"#);
            let answered = peer.seen().iter().any(|it| it.topic == RESULT && it.json()["id"] == "after");
            if answered && scene.house.view().chargers[0].offered == amps(6) {
                return;
            }
        }
    };
    tokio::time::timeout(crate::scene::PATIENCE, obeyed).await.expect("commands work after the flood");
}

/// Resident memory of the appliance, in KiB.
fn resident(scene: &Scene) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.app.pid())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The grid meter is other software's: it says five times a second what the house has at its fuse.
async fn meter_by_mqtt(scene: &Scene, meter: &Peer) {
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let grid = scene.house.view().grid.0.map(|it| it.as_f64());
        let power: f64 = grid.iter().map(|it| it * 230.0).sum();
        meter.publish("tele/house", json!({"i1": grid[0], "i2": grid[1], "i3": grid[2], "p": power}).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_meter_by_mqtt_gets_through_a_flood_of_rubbish_and_nothing_grows() {
    let broker = BrokerProcess::start(0).await;
    let tables = "[[meter]]\nid = \"house\"\ndriver = \"mqtt\"\ntopic = \"tele/house\"\nmax_age_s = 10\n\
                  current_l1_a = \"/i1\"\ncurrent_l2_a = \"/i2\"\ncurrent_l3_a = \"/i3\"\npower_w = \"/p\"\n";
    let grid = "meter = \"house\"\nmeter_late_s = 4\nmeter_lost_s = 8\n";
    let setting = Setting { tables: tables.to_owned(), grid: grid.to_owned(), ..with_broker(broker.address) };
    let scene = Scene::start(Plan { meter: None, ..one_car() }, setting).await;
    let meter = Peer::connect(broker.address, "nothing").await;
    let flooder = Peer::connect(broker.address, "nothing").await;
    let watcher = Peer::connect(broker.address, "gridkeeper/event").await;
    let flood = async {
        scene.charging(0, 20).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let (mut number, mut received) = (0, 0);
        loop {
            ticks.tick().await;
            // More than is read, and no more than the flooder's own queue holds on a machine that is busy.
            if number >= received + 4_000 {
                received = scene.status().await["mqtt"]["received"].as_u64().unwrap();
                continue;
            }
            for _ in 0..20 {
                number += 1;
                match number % 6 {
                    0 => flooder.publish(SET_MAX, vec![b'9'; 16 * 1024]),
                    1 => flooder.publish(SET_MODE, vec![0xFF; 1000]),
                    2 => flooder.publish("gridkeeper/charger/c0/mode", "off"),
                    3 => flooder.publish(&format!("gridkeeper/charger/x{number}/set/mode"), "off"),
                    4 => flooder.publish("gridkeeper/bridge/request/log_level", "{"),
                    _ => flooder.publish(&format!("gridkeeper/toaster/x/set/y{number}"), "{\"value\":"),
                }
            }
        }
    };
    let received = |count: u64| move |status: &Value| status["mqtt"]["received"].as_u64() > Some(count);
    let judged = async {
        scene.until_status("the flood", received(1_000)).await;
        let before = resident(&scene);
        an_overload_is_cut(&scene).await;
        scene.until_status("more of it", received(4_000)).await;
        scene.faults().load(Some([2.0; 3]));
        scene.until("and room is given back", |view| view.chargers[0].offered > amps(10)).await;
        an_overload_is_cut(&scene).await;
        let after = resident(&scene);
        // What came meanwhile has some 10 MB.
        assert!(after < before + 4 * 1024, "{before} KiB before, {after} KiB after");
        watcher
            .json("gridkeeper/event", |it| it["detail"].as_str().is_some_and(|it| it.contains("commands a second")))
            .await;
    };
    tokio::select! {
        () = meter_by_mqtt(&scene, &meter) => {}
        () = flood => {}
        () = judged => {}
    }
    assert_eq!(scene.events("meter_lost", "house"), 0);
    assert_eq!(scene.events("not_obeying", "c0"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_refused_with_what_is_allowed_and_changes_nothing() {
    let broker = Broker::start().await;
    let scene = Scene::start(one_car().with_load([16.0, 2.0, 2.0]), with_broker(broker.address)).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    scene.until("the car draws its 8 A", |view| view.chargers[0].highest_draw() > amps(7)).await;
    let since = Instant::now();
    let range = "allowed: 6 to 32 A, with a decimal point";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (SET_MAX, b"{\"current\":10}".to_vec(), "allowed is the bare value"),
        (SET_MAX, b"[10]".to_vec(), range),
        (SET_MAX, b"{\"value\":{\"a\":10}}".to_vec(), "must be a text, a number or a boolean"),
        (SET_MAX, b"10,5".to_vec(), range),
        (SET_MAX, b"10 A".to_vec(), range),
        (SET_MAX, b"1e1".to_vec(), range),
        (SET_MAX, b"NaN".to_vec(), range),
        (SET_MAX, b"5".to_vec(), range),
        (SET_MAX, b"33".to_vec(), range),
        (SET_MAX, b"\x00\xFF\xFE\x80".to_vec(), "UTF-8"),
        (SET_MAX, vec![b'9'; 1_000_000], "1000000 bytes"),
        (SET_MODE, b"turbo".to_vec(), "allowed: off, fast, fixed"),
        ("gridkeeper/site/set/charging_enabled", b"perhaps".to_vec(), "allowed: ON, OFF, true, false, 1, 0"),
        ("gridkeeper/charger/c9/set/mode", b"off".to_vec(), "there is no charger `c9`; allowed: c0"),
    ];
    for (topic, payload, part) in cases {
        let mark = peer.mark();
        peer.publish(topic, payload);
        let result = peer.json_after(mark, RESULT, |_| true).await;
        assert_eq!((&result["topic"], &result["ok"]), (&json!(topic), &json!(false)));
        let error = result["error"].as_str().unwrap();
        assert!(error.contains(part), "{topic}: {error}");
    }
    let mark = peer.mark();
    peer.json_after(mark, STATE, |it| it["max_current_a"] == 32 && it["mode"] == "fast").await;
    assert!(scene.history_since(since).iter().all(|it| it.offered[0] <= amps(8)), "something was obeyed");
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_commands_are_refused_once_and_not_obeyed() {
    let broker = Broker::start().await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.retain(SET_MODE, "off");
    peer.retain("gridkeeper/site/set/charging_enabled", "off");
    peer.after(0, "the second", |it| it.topic.ends_with("charging_enabled").then_some(())).await;
    let scene = Scene::start(one_car(), with_broker(broker.address)).await;
    for topic in [SET_MODE, "gridkeeper/site/set/charging_enabled"] {
        let result = peer.json(RESULT, |it| it["topic"] == topic).await;
        assert_eq!(result["ok"], false);
        assert!(result["error"].as_str().unwrap().contains("retain"), "{result}");
    }
    scene.charging(0, 9).await;
    // The same words without retain are obeyed.
    peer.publish(SET_MODE, "off");
    scene.until("it stops", |view| view.chargers[0].offered == Milliamp::ZERO).await;
    let told = peer.seen().into_iter().filter(|it| it.topic == "gridkeeper/event");
    assert_eq!(told.filter(|it| it.json()["event_type"] == "command_refused").count(), 1, "once per connection");
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_command_is_answered_obeyed_and_shown() {
    let broker = Broker::start().await;
    let scene = Scene::start(one_car(), with_broker(broker.address)).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    scene.charging(0, 9).await;
    let mark = peer.mark();
    peer.publish(SET_MAX, r#"{"value":10.0,"id":7}"#);
    let result = peer.json_after(mark, RESULT, |_| true).await;
    assert_eq!(
        (&result["topic"], &result["ok"], &result["error"], &result["id"], &result["stored"]),
        (&json!(SET_MAX), &json!(true), &Value::Null, &json!(7), &json!(true))
    );
    shown(&peer, mark, "max_current_a", json!(10)).await;
    scene.until("10 A are offered", |view| view.chargers[0].offered == amps(10)).await;
    shown(&peer, mark, "limit_reason", json!("max_current")).await;
    let mark = peer.mark();
    peer.publish(SET_MODE, "off");
    scene.until("nothing flows", |view| view.chargers[0].highest_draw() == Milliamp::ZERO).await;
    peer.json_after(mark, STATE, |it| it["mode"] == "off" && it["offered_current_a"] == 0 && it["charging"] == false)
        .await;
    peer.publish(SET_MODE, "now");
    scene.charging(0, 9).await;
    shown(&peer, mark, "mode", json!("fast")).await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_given_while_the_broker_is_away_are_not_obeyed_later() {
    let broker = Broker::start().await;
    let wire = Wire::to(broker.address).await;
    let scene = Scene::start(one_car(), with_broker(wire.address)).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    scene.charging(0, 9).await;
    let mark = peer.mark();
    wire.cut();
    peer.text_after(mark, "gridkeeper/status", "offline").await;
    for (topic, value) in [(SET_MODE, "off"), (SET_MAX, "6"), ("gridkeeper/site/set/charging_enabled", "off")] {
        peer.publish(topic, value);
    }
    let mark = peer.mark();
    wire.mend();
    peer.text_after(mark, "gridkeeper/status", "online").await;
    // This one is obeyed, and whatever had been queued would have come before it.
    let mark = peer.mark();
    peer.publish(SET_MAX, r#"{"value":12,"id":"now"}"#);
    let first = peer.json_after(mark, RESULT, |_| true).await;
    assert_eq!(first["id"], "now");
    scene.until("12 A are offered", |view| view.chargers[0].offered == amps(12)).await;
    shown(&peer, mark, "mode", json!("fast")).await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_appliances_on_one_base_the_second_is_silent_deaf_and_controls_all_the_same() {
    let broker = Broker::start().await;
    let plan: fn() -> Plan = one_car;
    let mut first = Scene::start(plan(), with_broker(broker.address)).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    let info = peer.json("gridkeeper/bridge/info", |_| true).await;
    let second = Scene::start(plan(), with_broker(broker.address)).await;
    second.until_status("it stands by", |status| status["mqtt"]["state"] == "standby").await;
    second.charging(0, 20).await;
    first.charging(0, 20).await;
    let mark = peer.mark();
    peer.publish(SET_MAX, "9");
    first.until("the first obeys", |view| view.chargers[0].offered == amps(9)).await;
    shown(&peer, mark, "max_current_a", json!(9)).await;
    peer.json_after(mark, RESULT, |it| it["ok"] == true).await;
    assert!(second.house.view().chargers[0].offered >= amps(20), "the second obeys as well");
    an_overload_is_cut(&second).await;
    let results = peer.seen().into_iter().skip(mark).filter(|it| it.topic == RESULT).count();
    assert_eq!(results, 1, "one answers");
    assert_eq!(second.status().await["mqtt"]["state"], "standby");
    assert_eq!(second.events("broker_lost", "bridge"), 0, "it stays connected to see when the first is gone");
    // When the first says good-bye the second takes over.
    first.app.signal(Signal::SIGTERM);
    first.app.ended(Duration::from_secs(9)).await;
    second.until_status("it takes over", |status| status["mqtt"]["state"] == "online").await;
    peer.json_after(mark, "gridkeeper/bridge/info", |it| it["instance"] != info["instance"]).await;
    commands_work(&second, &peer).await;
    broker.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_broker_serves_others() {
    let setting = Setting { mqtt: "embedded://127.0.0.1:0".to_owned(), ..steady() };
    let scene = Scene::start(one_car(), setting).await;
    let peer = scene.peer().await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    scene.charging(0, 9).await;
    peer.json(STATE, |it| it["status"] == "charging" && it["current_l1_a"].as_f64() > Some(8.0)).await;
    commands_work(&scene, &peer).await;
}

/// MQTT 3.1.1, 3.2.2.3: CONNACK, not authorized.
const NOT_AUTHORIZED: [u8; 4] = [0x20, 2, 0, 5];

/// Two connections that each try again and again have one trouble: it is told once, not with every attempt.
#[tokio::test]
async fn a_login_that_is_refused_is_told_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gridkeeper.toml");
    let text = format!(
        "[mqtt]\nurl = \"mqtt://{}\"\nusername = \"house\"\npassword = \"wrong\"\n[web]\nlisten = \"127.0.0.1:0\"\n\
         [storage]\ndata_dir = \"data\"\n[[meter]]\nid = \"shed\"\ndriver = \"mqtt\"\ntopic = \"tele/shed\"\npower_w = \"/p\"\n",
        listener.local_addr().unwrap()
    );
    std::fs::write(&file, text).unwrap();
    let mut app = crate::scene::Appliance::run(&file, &[]);
    for _ in 0..6 {
        let (mut stream, _) = tokio::time::timeout(crate::scene::PATIENCE, listener.accept()).await.unwrap().unwrap();
        let mut connect = [0; 512];
        stream.readable().await.unwrap();
        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut connect).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, &NOT_AUTHORIZED).await.unwrap();
    }
    let refused = |log: &str| log.matches("refuses the login of `house`").count();
    let log = app.until_log("that it goes on trying", |log| refused(log) >= 4).await;
    app.signal(Signal::SIGTERM);
    assert!(app.ended(crate::scene::PATIENCE).await.success());
    let told: Vec<&str> = log.lines().filter(|it| !it.contains("DEBUG") && refused(it) > 0).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
}

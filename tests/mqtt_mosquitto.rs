//! The MQTT module against Mosquitto. Started by `tests/realworld/mosquitto.sh`, which brings the broker.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "mqtt/house.rs"]
mod house;
#[expect(dead_code, reason = "shared with tests/mqtt, which uses all of it")]
#[path = "mqtt/peer.rs"]
mod peer;
#[expect(dead_code, reason = "shared with tests/mqtt, which uses all of it")]
#[path = "mqtt/rig.rs"]
mod rig;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use gridkeeper::config::model::{MqttEndpoint, Secret};
use gridkeeper::mqtt::{LinkState, MqttOptions};
use gridkeeper::quantity::Milliamp;
use serde_json::Value;

use rig::Rig;

const LOGIN: [&str; 4] = ["-u", "house", "-P", "keeper"];
const SET: &str = "gridkeeper/charger/left/set/max_current_a";

struct Mosquitto {
    folder: PathBuf,
    port: u16,
    tls_port: u16,
    control: String,
}

impl Mosquitto {
    fn here() -> Self {
        let get =
            |key: &str| std::env::var(key).unwrap_or_else(|_| panic!("{key} is set by tests/realworld/mosquitto.sh"));
        Self {
            folder: get("GRIDKEEPER_MOSQUITTO_DIR").into(),
            port: get("GRIDKEEPER_MOSQUITTO_PORT").parse().unwrap(),
            tls_port: get("GRIDKEEPER_MOSQUITTO_TLS_PORT").parse().unwrap(),
            control: get("GRIDKEEPER_MOSQUITTO_CONTROL"),
        }
    }

    fn options(&self) -> MqttOptions {
        let mut options = house::options(([127, 0, 0, 1], self.port).into());
        options.config.username = Some("house".into());
        options.config.password = Some(Secret::new("keeper".into()));
        options
    }

    /// start, stop, freeze or thaw.
    fn control(&self, what: &str) {
        let status = Command::new(&self.control).arg(&self.folder).arg(what).status().unwrap();
        assert!(status.success(), "{what}: {status}");
    }

    /// The first retained message on `topic`, as `mosquitto_sub` prints it.
    fn retained(&self, topic: &str) -> String {
        let output = self.client("mosquitto_sub").args(["-t", topic, "-C", "1", "-W", "20"]).output().unwrap();
        assert!(output.status.success(), "nothing on {topic}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn json(&self, topic: &str) -> Value {
        serde_json::from_str(&self.retained(topic)).unwrap()
    }

    /// Waits until everybody reads `payload` on `topic`.
    async fn becomes(&self, topic: &str, payload: &str) {
        self.peer(topic).await.text_after(0, topic, payload).await;
    }

    async fn peer(&self, filter: &str) -> peer::Peer {
        peer::Peer::login(([127, 0, 0, 1], self.port).into(), filter, Some(("house", "keeper"))).await
    }

    fn publish(&self, arguments: &[&str]) {
        assert!(self.client("mosquitto_pub").args(arguments).status().unwrap().success());
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(LOGIN).stderr(Stdio::inherit());
        command
    }

    /// Hears `count` messages on `topic` while `act` runs.
    async fn hear(&self, topic: &str, count: u8, act: impl FnOnce()) -> Vec<Value> {
        let peer = self.peer(topic).await;
        act();
        let mut found = Vec::new();
        peer.after(0, topic, |it| {
            found.push(it.json());
            (found.len() == usize::from(count)).then_some(())
        })
        .await;
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: tests/realworld/mosquitto.sh"]
async fn states_are_read_and_commands_given_with_its_own_clients() {
    let broker = Mosquitto::here();
    let mut rig = Rig::start(broker.options());
    rig.online().await;
    broker.becomes("gridkeeper/status", "online").await;
    assert_eq!(broker.json("gridkeeper/meter/main/state")["power_w"], 690);
    let device = broker.json("homeassistant/device/gridkeeper_charger_left/config");
    assert!(device.to_string().len() > 8_000 && device["components"]["mode"]["options"][1] == "fast");
    let results = broker.hear("gridkeeper/result", 1, || broker.publish(&["-q", "1", "-t", SET, "-m", "11"])).await;
    assert_eq!((&results[0]["ok"], &results[0]["value"]), (&true.into(), &"11".into()));
    assert_eq!(broker.json("gridkeeper/charger/left/state")["max_current_a"], 11);
    rig.stop().await;
    assert_eq!(broker.retained("gridkeeper/status"), "offline");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: tests/realworld/mosquitto.sh"]
async fn a_replayed_command_is_refused() {
    let broker = Mosquitto::here();
    broker.publish(&["-r", "-t", SET, "-m", "9"]);
    let mut rig = None;
    let results = broker.hear("gridkeeper/result", 1, || rig = Some(Rig::start(broker.options()))).await;
    assert!(results[0]["error"].as_str().unwrap().contains("retain"), "{results:?}");
    let rig = rig.unwrap();
    assert!(rig.wishes().is_empty());
    broker.publish(&["-r", "-n", "-t", SET]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: tests/realworld/mosquitto.sh"]
async fn a_wrong_login_and_a_wrong_authority_are_told() {
    let broker = Mosquitto::here();
    let mut options = broker.options();
    options.config.password = Some(Secret::new("wrong".into()));
    let mut rig = Rig::start(options);
    let problem = rig.until("refused", |it| it.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains("refuses the login of `house`"), "{problem}");
    rig.stop().await;

    let mut options = broker.options();
    options.config.endpoint = MqttEndpoint::Tls { host: "localhost".into(), port: broker.tls_port };
    let mut rig = Rig::start(options.clone());
    let problem = rig.until("refused", |it| it.problem.is_some()).await.problem.unwrap();
    assert!(problem.contains("set [mqtt] ca_file"), "{problem}");
    rig.stop().await;

    options.config.ca_pem = Some(std::fs::read(broker.folder.join("ca.pem")).unwrap());
    let mut rig = Rig::start(options);
    rig.online().await;
    broker.becomes("gridkeeper/status", "online").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: tests/realworld/mosquitto.sh"]
async fn its_last_will_speaks_for_one_that_was_killed() {
    let broker = Mosquitto::here();
    let mut rig = Rig::start(broker.options());
    rig.online().await;
    broker.becomes("gridkeeper/status", "online").await;
    let peer = broker.peer("gridkeeper/status").await;
    rig.kill().await;
    peer.text_after(0, "gridkeeper/status", "offline").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: tests/realworld/mosquitto.sh"]
async fn it_hangs_and_goes_on() {
    let broker = Mosquitto::here();
    let mut options = broker.options();
    options.tuning.keep_alive_s = 2;
    let mut rig = Rig::start(options);
    rig.online().await;
    broker.control("freeze");
    let status = rig.until("noticed", |it| it.state == LinkState::Retrying).await;
    rig.show(|it| it.chargers[0].status.offered = Milliamp::from_amps(13));
    broker.control("thaw");
    assert!(status.problem.is_some_and(|it| it.contains("hangs")));
    rig.online().await;
    let peer = broker.peer("gridkeeper/#").await;
    peer.json("gridkeeper/charger/left/state", |it| it["offered_current_a"] == 13).await;
    peer.text_after(0, "gridkeeper/status", "online").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Mosquitto: tests/realworld/mosquitto.sh"]
async fn it_is_restarted_and_knows_everything_again() {
    let broker = Mosquitto::here();
    let mut rig = Rig::start(broker.options());
    rig.online().await;
    broker.control("stop");
    rig.until("lost", |it| it.state == LinkState::Retrying).await;
    rig.show(|it| it.chargers[0].status.offered = Milliamp::from_amps(7));
    broker.control("start");
    rig.online().await;
    // Without persistence it has nothing but what was sent again.
    broker.becomes("gridkeeper/status", "online").await;
    assert_eq!(broker.json("gridkeeper/charger/left/state")["offered_current_a"], 7);
    broker.json("homeassistant/device/gridkeeper_site/config");
    let results = broker.hear("gridkeeper/result", 1, || broker.publish(&["-t", SET, "-m", "8"])).await;
    assert_eq!(results[0]["ok"], true);
    rig.stop().await;
}

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::model::ServeKind;
use crate::control::{
    ChargerSettings, ChargerStatus, ChargerStatusWord, InputStatus, LimitReason, MeterStatus, Mode, Problem, Quality,
    Reason, RelayCommand, RelayReason, RelayStatus, RelayWord, Sharing, SiteSettings, SiteStatus,
};
use crate::mqtt::LinkState;
use crate::quantity::{Mono, Phases, Watt, WattHour};
use crate::reading::Flags;
use crate::status::{Health, Identity, InputView, MeterValues, RelayView, Value};

const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> ChargerSettings {
    ChargerSettings {
        mode: Mode::Fast,
        max_current: Milliamp::from_amps(16),
        fixed_current: Milliamp::from_amps(16),
        eco_min: Milliamp::from_amps(6),
        eco_plus_min_surplus: Milliamp::from_amps(1),
        low_tariff_only: false,
        low_tariff_fast: false,
        low_tariff_max: Milliamp::from_amps(16),
        priority: 5,
        phases: None,
        session_limit: None,
        mode_after_session: None,
    }
}

fn charger() -> ChargerView {
    ChargerView {
        id: "left".into(),
        status: ChargerStatus {
            word: ChargerStatusWord::Charging,
            offered: Milliamp::from_amps(10),
            counted: Milliamp::from_amps(12),
            current: Phases([Some(Milliamp(9640)), Some(Milliamp(9610)), None]),
            voltage: Phases([None; 3]),
            power: Some(Watt(4420)),
            energy: Some(WattHour(123_450)),
            session_energy: Some(WattHour(1230)),
            session_start: Some(Mono(0)),
            phases_active: Some(3),
            lock: None,
            reason: Reason {
                word: LimitReason::LimitL2,
                offer: Milliamp::from_amps(10),
                figure: None,
                wait: None,
                detail: Default::default(),
            },
            fault: Flags::NONE,
            warning: Flags { bits: Some(2), names: &["", "temperature <high>"] },
            fail_safe: Milliamp::from_amps(6),
            watchdog_verified: Some(false),
            plugged: true,
            charging: true,
            interruptions: 1,
            heard_at: Some(Mono(0)),
            settings: settings(),
        },
        identity: Arc::new(Identity::default()),
        health: Health { online: true, good: 41, bad: 3, ..Health::default() },
    }
}

fn snapshot() -> Snapshot {
    let values = BTreeMap::from([
        (Arc::from("power_w"), Value::Number { value: 5300.0, unit: "W", decimals: 0 }),
        (Arc::from("text_message"), Value::Text("<script>alert(1)</script>".into())),
    ]);
    Snapshot {
        at: Mono(0),
        wall_ms: 0,
        site: SiteStatus {
            available: Phases([Some(Milliamp(3000)), Some(Milliamp::ZERO), None]),
            limit: Phases([Some(Milliamp(24_500)); 3]),
            surplus: Some(Watt(-880)),
            charging: Some(Watt(4420)),
            fail_safe: false,
            problem: Problem::None,
            dim: false,
            low_tariff: None,
            block: false,
            settings: SiteSettings {
                charging_enabled: true,
                sharing: Sharing::Equal,
                max_import: None,
                max_import_power: None,
                peak_15min: None,
                max_charging: None,
                dim: false,
            },
        },
        risks: Arc::new(vec!["register 2000 of `left` is 32 A & unsafe".to_owned()]),
        meters: vec![MeterView {
            id: "main".into(),
            status: Some(MeterStatus {
                quality: Quality::Good,
                period: Some(Span(1000)),
                good_at: Some(Mono(0)),
                current: Phases([Some(Milliamp(21_500)), Some(Milliamp(24_600)), Some(Milliamp(-1200))]),
                power: Phases([None; 3]),
                power_total: Some(Watt(5300)),
            }),
            values: Arc::new(MeterValues { received_at: Some(Mono(0)), values, ..MeterValues::default() }),
            health: Health { online: true, last_error: Some("meter main: wrong CRC".into()), ..Health::default() },
        }],
        sub_meters: Vec::new(),
        inputs: vec![
            InputView {
                id: "tariff".into(),
                status: InputStatus { active: Some(true), heard_at: Some(Mono(0)) },
                health: Health { online: true, ..Health::default() },
            },
            InputView {
                id: "gate".into(),
                status: InputStatus::default(),
                health: Health { last_error: Some("input gate: no <chip>".into()), ..Health::default() },
            },
        ],
        relays: vec![RelayView {
            id: "boiler".into(),
            status: RelayStatus {
                on: true,
                command: RelayCommand::On,
                forced_until: Some(Mono(30_000)),
                reason: RelayReason { word: RelayWord::Offline, surplus: None, wait: None },
                available: false,
                heard_at: Some(Mono(0)),
            },
            health: Health { last_error: Some("relay boiler: no answer".into()), ..Health::default() },
        }],
        chargers: vec![charger()],
    }
}

struct Served {
    address: SocketAddr,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn serve_with(password: Option<&str>, first: Option<Snapshot>, diagnostics: Vec<Diagnostic>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let snapshots = watch::Sender::new(first.map(Arc::new));
    let mqtt = MqttStatus {
        state: LinkState::Retrying,
        broker: "mqtt://broker.local:1883".into(),
        problem: Some("connection refused".into()),
        ..MqttStatus::default()
    };
    let clock = Clock::start();
    let state = WebState {
        snapshots: snapshots.subscribe(),
        mqtt: watch::Sender::new(mqtt).subscribe(),
        info: Arc::new(WebInfo {
            site_name: "O'Brien & <Sons>".into(),
            fuse: Some(Milliamp::from_amps(25)),
            grid_meter: Some(0),
            meters: ["House meter", "Roof", "Barn", "Cellar"].map(str::to_owned).to_vec(),
            roles: vec![MeterRole::Grid, MeterRole::Solar, MeterRole::Solar, MeterRole::Battery],
            chargers: vec!["Left <b>box</b>".into()],
            inputs: vec!["Ripple control".into()],
            relays: vec!["Boiler & <pump>".into()],
        }),
        diagnostics: Arc::new(diagnostics),
        password: password.map(|it| Secret::new(it.into())),
        influx: watch::Sender::new(InfluxStatus::default()).subscribe(),
        serves: Arc::new([watch::Sender::new(ServeStatus {
            readers: 2,
            dropped: 1,
            problem: Some("<busy>".into()),
            ..ServeStatus::new(ServeKind::P1, "main")
        })
        .subscribe()]),
        only_from: None,
        clock,
        devices: Heartbeat::new(clock.now()),
    };
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run(listener, state, cancel.clone()));
    Served { address, snapshots, cancel, task }
}

impl Served {
    async fn get(&self, path: &str, more: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

#[tokio::test]
async fn the_page_shows_phases_chargers_meters_and_what_is_wrong_and_escapes_all_of_it() {
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    let (status, page) = served.get("/", "").await;
    assert_eq!(status, 200);
    for part in [
        "<h1>O&#39;Brien &amp; &lt;Sons&gt;</h1>",
        "Left &lt;b&gt;box&lt;/b&gt;",
        "high=\"24.5\"",
        "value=\"24.6\" aria-label=\"L2 against its fuse\"",
        "21.5 A</td><td class=\"number\">24.5 A</td><td class=\"number\">3.0 A",
        "9.6 A / 9.6 A / –",
        "(counted as 12 A)",
        "which is not verified",
        "temperature &lt;high&gt;",
        "register 2000 of `left` is 32 A &amp; unsafe",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "meter main: wrong CRC",
        "41 good, 3 bad",
        "retrying: mqtt://broker.local:1883",
        "connection refused",
        "An input or a relay needs attention",
        "<h3>Ripple control</h3><p>Active.</p>",
        "<h3>Boiler &amp; &lt;pump&gt;</h3><p class=\"why\">does not answer; it counts as closed</p>",
        "Does not answer; counts as on, command on.",
        "content-security-policy: default-src 'none'",
        "cache-control: no-store",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    assert!(!page.contains("<script>alert"));
    // Every address in it is relative: below an ingress prefix a leading slash would lead elsewhere.
    assert!(!page.contains("=\"/") && !page.contains("http://"), "{page}");

    let (_, fragment) = served.get("/fragment", "").await;
    let sections = &fragment[fragment.find("<section").unwrap()..];
    assert!(!sections.contains("<html") && page.contains(sections.trim_end().split_once("Heard").unwrap().0));
    for path in ["/status.css", "/status.js"] {
        assert_eq!(served.get(path, "").await.0, 200);
    }
    assert_eq!(served.get("/nothing", "").await.0, 404);
    assert_eq!(served.get("/../../etc/passwd", "").await.0, 404);
}

/// A meter of power alone.
fn source(id: &str, quality: Quality, power: i32) -> MeterView {
    let status = MeterStatus {
        quality,
        period: None,
        good_at: Some(Mono(0)),
        current: Phases([None; 3]),
        power: Phases([None; 3]),
        power_total: Some(Watt(power)),
    };
    MeterView { id: id.into(), status: Some(status), values: Arc::default(), health: Health::default() }
}

#[tokio::test]
async fn the_page_shows_what_the_sun_and_the_battery_give() {
    for (barn, battery, expected) in [
        (Quality::Good, -740, ["4210 W from the sun.", "740 W into the battery."]),
        (Quality::Late, 1500, ["4210 W from the sun.", "1500 W from the battery."]),
        (Quality::Lost, 0, ["What the sun gives is not known.", "0 W from the battery."]),
    ] {
        let mut shown = snapshot();
        shown.meters.push(source("roof", Quality::Good, 3210));
        shown.meters.push(source("barn", barn, 1000));
        shown.meters.push(source("cellar", Quality::Good, battery));
        let served = serve_with(None, Some(shown), Vec::new()).await;
        let (_, page) = served.get("/", "").await;
        for part in expected {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
        let (_, answer) = served.get("/api/status", "").await;
        let json: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&json["meters"][1]["role"], &json["meters"][3]["role"]), (&"solar".into(), &"battery".into()));
    }
    let mut turned = snapshot();
    turned.meters.push(source("roof", Quality::Good, -3210));
    let served = serve_with(None, Some(turned), Vec::new()).await;
    let (_, page) = served.get("/", "").await;
    assert!(page.contains("Roof counts against the sun"), "{page}");
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    let (_, page) = served.get("/", "").await;
    assert!(!page.contains("the sun") && !page.contains("the battery"), "{page}");
}

#[tokio::test]
async fn the_same_as_data_under_the_keys_of_the_contract() {
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    let (status, answer) = served.get("/api/status", "").await;
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let charger = &json["chargers"][0];
    for (key, value) in [
        ("status", serde_json::json!("charging")),
        ("offered_current_a", serde_json::json!(10.0)),
        ("current_l1_a", serde_json::json!(9.64)),
        ("current_l3_a", serde_json::Value::Null),
        ("limit_reason", serde_json::json!("limit_l2")),
        ("session_energy_kwh", serde_json::json!(1.23)),
        ("fault", serde_json::Value::Null),
        ("warning", serde_json::json!("temperature <high>")),
        ("watchdog_verified", serde_json::json!(false)),
    ] {
        assert_eq!(charger[key], value, "{key}");
    }
    assert_eq!(json["site"]["limit_l2_a"], 24.5);
    assert_eq!(json["site"]["current_l3_a"], -1.2);
    assert_eq!(json["site"]["problem"], "none");
    assert_eq!(json["meters"][0]["quality"], "good");
    assert_eq!(json["meters"][0]["values"]["power_w"], 5300.0);
    assert_eq!(json["mqtt"]["state"], "retrying");
    let relay = &json["relays"][0];
    assert_eq!((&relay["state"], &relay["command"], &relay["available"]), (&"on".into(), &"on".into(), &false.into()));
    assert!(relay["forced_s"].as_f64().is_some_and(|it| it <= 30.0), "{relay}");
    assert!(json["meters"][0]["age_s"].as_f64().unwrap() >= 0.0);
}

#[tokio::test]
async fn of_a_charger_never_heard_nothing_is_told_that_only_it_can_know() {
    let mut unheard = snapshot();
    unheard.chargers[0].status.heard_at = None;
    let served = serve_with(None, Some(unheard), Vec::new()).await;
    let (_, answer) = served.get("/api/status", "").await;
    let json: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    for key in ["offered_current_a", "plugged", "charging", "age_s"] {
        assert_eq!(json["chargers"][0][key], serde_json::Value::Null, "{key}");
    }
    let (_, page) = served.get("/", "").await;
    assert!(page.contains("Not heard yet, counted as 12 A") && !page.contains("Offered "), "{page}");
}

#[tokio::test]
async fn without_a_password_a_foreign_name_for_this_machine_is_refused() {
    let ask = async |served: &Served, host: &str| {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!("GET /api/status HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    for host in ["Host: localhost:8080\r\n", "Host: 127.0.0.1\r\n", "Host: [::1]:8080\r\n"] {
        assert!(ask(&served, host).await.starts_with("HTTP/1.1 200"), "{host}");
    }
    for host in ["Host: evil.example\r\n", "Host: localhost.evil.example\r\n", "Host: 127.0.0.1.evil.example:80\r\n"] {
        let answer = ask(&served, host).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("localhost"), "{host}: {answer}");
    }
    let guarded = serve_with(Some("secret"), Some(snapshot()), Vec::new()).await;
    let named = "Host: gridkeeper.lan\r\nAuthorization: Basic eDpzZWNyZXQ=\r\n";
    assert!(ask(&guarded, named).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn health_follows_the_control_loop() {
    let served = serve_with(None, None, Vec::new()).await;
    assert_eq!(served.get("/healthz", "").await.0, 503);
    let (_, page) = served.get("/", "").await;
    assert!(page.contains("Starting."), "{page}");
    served.snapshots.send_replace(Some(Arc::new(snapshot())));
    assert_eq!(served.get("/healthz", "").await.0, 200);
    let old = Snapshot { at: Mono(-60_000), ..snapshot() };
    served.snapshots.send_replace(Some(Arc::new(old)));
    assert_eq!(served.get("/healthz", "").await.0, 503);
    assert!(served.get("/", "").await.1.contains("The control loop has not answered for 60 s"));
}

/// The watchdog of the add-on asks it, and would start us anew over and over for anything that a new start does not mend.
#[tokio::test]
async fn liveness_is_lost_with_the_control_loop_alone() {
    let served = serve_with(Some("open sesame"), None, Vec::new()).await;
    assert_eq!(served.get("/livez", "").await.0, 200, "before the first snapshot, as with a file that is wrong");
    // No broker in any of these; now all devices are gone as well.
    let mut away = snapshot();
    for health in
        away.meters.iter_mut().map(|it| &mut it.health).chain(away.chargers.iter_mut().map(|it| &mut it.health))
    {
        health.online = false;
    }
    served.snapshots.send_replace(Some(Arc::new(away)));
    assert_eq!(served.get("/livez", "").await.0, 200);
    served.snapshots.send_replace(Some(Arc::new(Snapshot { at: Mono(-60_000), ..snapshot() })));
    assert_eq!(served.get("/livez", "").await.0, 503);
}

#[tokio::test]
async fn an_error_word_that_was_not_read_is_not_shown_as_no_error() {
    const SENTENCE: &str = "Whether it has an error or a warning is not known.";
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    assert!(!served.get("/", "").await.1.contains(SENTENCE));
    assert!(served.get("/api/status", "").await.1.contains("\"fault\":null"));
    let mut unread = snapshot();
    unread.chargers[0].status.fault = Flags::default();
    served.snapshots.send_replace(Some(Arc::new(unread)));
    assert!(served.get("/", "").await.1.contains(SENTENCE));
    assert!(served.get("/api/status", "").await.1.contains("\"fault\":\"unknown\""));
}

#[tokio::test]
async fn a_password_guards_everything_but_health() {
    let served = serve_with(Some("open sesame"), Some(snapshot()), Vec::new()).await;
    for path in ["/", "/fragment", "/api/status", "/status.js", "/nothing"] {
        let (status, answer) = served.get(path, "").await;
        assert_ne!(status, 200, "{path}");
        assert!(!answer.contains("Brien"), "{path}");
    }
    let (status, answer) = served.get("/", "").await;
    assert_eq!(status, 401);
    assert!(answer.contains("www-authenticate: Basic realm=\"Gridkeeper\""));
    assert_eq!(served.get("/", "Authorization: Basic QWxhZGRpbjp3cm9uZw==\r\n").await.0, 401);
    assert_eq!(served.get("/", "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n").await.0, 200);
    assert_eq!(served.get("/healthz", "").await.0, 200);
}

#[tokio::test]
async fn a_refused_configuration_is_shown_with_its_errors() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gridkeeper.toml");
    std::fs::write(&file, "[grid]\nfuse_a = \"<25>\"\n").unwrap();
    let refused = crate::config::load(&[file], std::iter::empty(), None, crate::config::Purpose::Run).unwrap_err();
    let served = serve_with(None, None, refused.list).await;
    let (_, page) = served.get("/", "").await;
    assert!(page.contains("The configuration is not accepted."), "{page}");
    assert!(page.contains("gridkeeper.toml:2:") && page.contains("&lt;25&gt;"), "{page}");
    let (_, json) = served.get("/api/status", "").await;
    assert!(json.contains("\"severity\":\"error\"") && json.contains("\"line\":2"), "{json}");
}

#[tokio::test]
async fn it_ends_at_once_although_clients_hold_their_connections() {
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let mut halfway = TcpStream::connect(served.address).await.unwrap();
    halfway.write_all(b"GET / HT").await.unwrap();
    served.cancel.cancel();
    tokio::time::timeout(PATIENCE, served.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn a_flood_of_connections_and_an_endless_head_are_cut_off() {
    let served = serve_with(None, Some(snapshot()), Vec::new()).await;
    let mut endless = TcpStream::connect(served.address).await.unwrap();
    let flood = async {
        endless.write_all(b"GET / HTTP/1.1\r\nX: ").await?;
        loop {
            endless.write_all(&[b'x'; 4096]).await?;
        }
    };
    let ended: std::io::Result<()> = tokio::time::timeout(PATIENCE, flood).await.unwrap();
    ended.unwrap_err();

    let mut held = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut first = [0; 15];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
        held.push(stream);
    }
    let mut refused = TcpStream::connect(served.address).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, refused.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    held.clear();
    // Places become free as the closed connections are noticed.
    let again = async {
        loop {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            let asked =
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
            let mut answer = String::new();
            if asked.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && answer.contains("200 OK") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

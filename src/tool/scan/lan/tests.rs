//! A responder and devices on loopback.

use std::sync::{Arc, Mutex};

use super::*;
use crate::codec::dns::{Data, Name, Record, answer};
use crate::simulator::http::{HomeWizard, HttpFault, Shelly};

const SHELLY: &str = "_shelly._tcp.local";
const WEB: &str = "_http._tcp.local";
const V1: &str = "_hwenergy._tcp.local";
const V2: &str = "_homewizard._tcp.local";

/// What a device announces: pointer, place, text, address.
fn announces(service: &str, name: &str, at: SocketAddr, text: &[(&str, &str)]) -> Vec<Record> {
    let service = Name::parse(service);
    let (instance, host) = (Name::parse(&format!("{name}.{service}")), Name::parse(&format!("{name}.local")));
    let IpAddr::V4(address) = at.ip() else { panic!("loopback of the older kind") };
    let text = text.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect();
    vec![
        Record { name: service, data: Data::Pointer(instance.clone()) },
        Record { name: instance.clone(), data: Data::Service { host: host.clone(), port: at.port() } },
        Record { name: instance, data: Data::Text(text) },
        Record { name: host, data: Data::Address(address.octets()) },
    ]
}

/// Answers every question with these messages; keeps what it was asked.
struct Responder {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Responder {
    fn on(socket: UdpSocket, messages: Vec<Vec<u8>>) -> Self {
        let (address, asked) = (socket.local_addr().unwrap(), Arc::<Mutex<Vec<Vec<u8>>>>::default());
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut question = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                log.lock().unwrap().push(question[..length].to_vec());
                for message in &messages {
                    socket.send_to(message, from).await.unwrap();
                }
            }
        });
        Self { address, asked, task }
    }

    async fn start(messages: Vec<Vec<u8>>) -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").await.unwrap(), messages)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn network(group: SocketAddr) -> Network {
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Network { from, group, pause: Duration::from_millis(300), questions: 2 }
}

async fn scanned(group: SocketAddr) -> (String, Outcome) {
    let (mut out, mut progress) = (Vec::new(), Vec::new());
    let outcome = lan(&network(group), &CancellationToken::new(), &mut out, &mut progress).await.unwrap();
    let progress = String::from_utf8(progress).unwrap();
    assert!(progress.contains("asking the network, 1 of 2"), "{progress}");
    (String::from_utf8(out).unwrap(), outcome)
}

#[tokio::test]
async fn devices_are_recognised_and_their_lines_can_be_pasted() {
    let (three, old, locked) =
        (Shelly::pro_3em().await.unwrap(), Shelly::gen1_3em().await.unwrap(), Shelly::plug().await.unwrap());
    locked.require_password("secret");
    let p1 = HomeWizard::p1_v1().await.unwrap();
    let off = HomeWizard::kwh1_v1().await.unwrap();
    off.disable();
    let printer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let responder = Responder::start(vec![
        answer(1, &announces(SHELLY, "ShellyPro3EM-AABBCCDDEEFF", three.address(), &[("gen", "2")])),
        answer(1, &announces(WEB, "ShellyPro3EM-AABBCCDDEEFF", three.address(), &[])),
        answer(1, &announces(WEB, "shellyem3-001122334455", old.address(), &[])),
        answer(1, &announces(WEB, "Office printer", printer, &[])),
        answer(1, &announces(SHELLY, "plug", locked.address(), &[])),
        answer(1, &announces(V1, "p1meter-334455", p1.address(), &[("api_enabled", "1"), ("product_type", "HWE-P1")])),
        answer(1, &announces(V2, "p1meter-334455", p1.address(), &[("product_name", "P1 meter")])),
        answer(1, &announces(V1, "kwhmeter-667788", off.address(), &[("product_name", "kWh meter")])),
        b"rubbish".to_vec(),
    ])
    .await;
    let (text, outcome) = scanned(responder.address).await;
    let lines = |id: &str, driver: &str, at: SocketAddr| {
        format!("[[meter]]\nid = \"{id}\"\ndriver = \"{driver}\"\nconnection = \"http://{at}\"\n")
    };
    for expected in [
        lines("shellypro3em-aabbccddeeff", "shelly", three.address()),
        lines("shellyem3-001122334455", "shelly", old.address()),
        lines("plug", "shelly", locked.address()) + "password_file = \"plug.password\"",
        lines("p1meter-334455", "homewizard", p1.address()),
        "(generation 1), recognised: it says so itself".to_owned(),
        "kWh meter, which cannot be read: its local API is off".to_owned(),
        format!("gridkeeper pair homewizard {}", p1.address()),
    ] {
        assert!(text.contains(&expected), "{expected}\nis not in\n{text}");
    }
    assert_eq!(outcome.found, 6, "{text}");
    assert!(!text.contains("printer"), "{text}");
    assert!(responder.asked.lock().unwrap().iter().all(|it| dns::records(it) == Err(dns::Malformed::Question)));
    let sent = [three.requests(), old.requests(), locked.requests(), p1.requests(), off.requests()].concat();
    let reads = ["/shelly", "/rpc/Shelly.GetStatus", "/status", "GET /api"];
    assert!(!sent.is_empty() && sent.iter().all(|it| reads.contains(&it.as_str())), "a scan only reads: {sent:?}");

    // What was printed is a configuration.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pasted.toml");
    std::fs::write(folder.path().join("plug.password"), "secret\n").unwrap();
    std::fs::write(&file, &text).unwrap();
    let loaded = crate::config::load(&[file], std::iter::empty(), None, crate::config::Purpose::Run);
    assert_eq!(loaded.unwrap_or_else(|it| panic!("{it}\n{text}")).config.meters.len(), 4);
}

#[tokio::test]
async fn who_announces_himself_and_says_nothing_is_a_guess() {
    let device = Shelly::pro_3em().await.unwrap();
    device.fault(HttpFault::Status(500));
    // Neither text nor address is told, so it is looked for where the answer came from.
    let all = announces(SHELLY, "ShellyPro3EM-1", device.address(), &[]);
    let responder = Responder::start(vec![answer(1, &all[..2])]).await;
    let (text, outcome) = scanned(responder.address).await;
    assert_eq!(outcome.found, 1);
    assert!(text.contains("ShellyPro3EM-1, a guess\n# it announces itself, but did not say who it is"), "{text}");
    // The second question asks for what is missing.
    let asked = responder.asked.lock().unwrap();
    assert!(asked[1].len() > asked[0].len(), "{asked:?}");
}

#[tokio::test]
async fn nothing_that_is_sent_reaches_the_terminal_as_it_came() {
    let name = "Shelly\u{1b}[2Jx";
    let device = Shelly::pro_3em().await.unwrap();
    device.fault(HttpFault::Garbage);
    let responder =
        Responder::start(vec![answer(1, &announces(SHELLY, name, device.address(), &[("app", "\u{1b}]0;x\u{7}")]))])
            .await;
    let (text, _) = scanned(responder.address).await;
    assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
    assert!(text.contains("id = \"shelly--2jx\""), "{text}");
}

#[tokio::test]
async fn a_flood_of_announcements_is_bounded() {
    let here: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let mut directory = Directory::default();
    for number in 0..2000 {
        directory.hear(announces(SHELLY, &format!("shelly-{number}"), here, &[]), here.ip());
    }
    assert!(directory.len() <= 256 && directory.questions().len() <= 16);
    // All of them at one place are one device.
    assert_eq!(directory.devices().len(), 1);
}

#[tokio::test]
async fn a_scan_can_be_interrupted() {
    let (stop, mut out) = (CancellationToken::new(), Vec::new());
    stop.cancel();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let network = Network { pause: Duration::from_secs(600), ..network(silent.local_addr().unwrap()) };
    let outcome = lan(&network, &stop, &mut out, &mut std::io::sink()).await.unwrap();
    assert_eq!((outcome.found, outcome.stopped_at), (0, Some(0)));
}

#[tokio::test]
async fn a_group_is_asked_where_the_machine_has_multicast() {
    let device = Shelly::pro_3em().await.unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let joined = socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST);
    let group = SocketAddr::new(GROUP.ip(), socket.local_addr().unwrap().port());
    let probe = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut byte = [0; 8];
    let works = async {
        joined?;
        probe.send_to(b"probe", group).await?;
        tokio::time::timeout(Duration::from_secs(2), socket.recv_from(&mut byte)).await?
    };
    if let Err(error) = works.await {
        eprintln!("SKIPPED: this machine has no multicast on loopback ({error})");
        return;
    }
    let name = "ShellyPro3EM-AABBCCDDEEFF";
    let _responder =
        Responder::on(socket, vec![answer(1, &announces(SHELLY, name, device.address(), &[("gen", "2")]))]);
    let (text, outcome) = scanned(group).await;
    assert_eq!(outcome.found, 1, "{text}");
    assert!(text.contains("driver = \"shelly\""), "{text}");
}

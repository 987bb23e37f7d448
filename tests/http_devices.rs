//! The stand-ins of Shelly and HomeWizard read by the client libraries that Home Assistant uses: aioshelly and
//! python-homewizard-energy. `tests/realworld/http_devices.sh` installs them and runs this.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use gridkeeper::simulator::http::{HomeWizard, Shelly};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A run of `http_devices.py`, killed when dropped.
struct Library {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Library {
    fn read(kind: &str, address: SocketAddr, password: Option<&str>) -> Self {
        let python = std::env::var_os("GRIDKEEPER_PYTHON").expect("run tests/realworld/http_devices.sh");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/realworld/http_devices.py");
        let mut command = Command::new(python);
        command.arg(script).arg(kind).arg(address.to_string()).args(password);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn says(&mut self, word: &str) {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("it speaks in time").unwrap();
        assert_eq!(line.as_deref(), Some(word), "it ended or said something else; see above");
    }

    async fn agrees(mut self) {
        self.says("agreed").await;
        assert!(timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().success());
    }
}

#[tokio::test]
#[ignore = "needs the real libraries: tests/realworld/http_devices.sh"]
async fn aioshelly_takes_the_stand_in_for_a_pro_3em_with_and_without_a_login() {
    for password in [None, Some("secret")] {
        let device = Shelly::pro_3em().await.unwrap();
        if let Some(password) = password {
            device.require_password(password);
        }
        let mut library = Library::read("shelly", device.address(), password);
        library.says("ready").await;
        device.set("/em:0/a_current", 9.5.into());
        library.agrees().await;
    }
}

#[tokio::test]
#[ignore = "needs the real libraries: tests/realworld/http_devices.sh"]
async fn aioshelly_switches_a_relay_that_comes_back_by_itself_and_knows_generation_1() {
    let plug = Shelly::plug().await.unwrap();
    Library::read("relay", plug.address(), None).agrees().await;
    let gen1 = Shelly::gen1_3em().await.unwrap();
    Library::read("gen1", gen1.address(), None).agrees().await;
}

#[tokio::test]
#[ignore = "needs the real libraries: tests/realworld/http_devices.sh"]
async fn python_homewizard_energy_reads_the_stand_in_of_a_p1_meter() {
    let device = HomeWizard::p1_v1().await.unwrap();
    Library::read("homewizard", device.address(), None).agrees().await;
}

#[tokio::test]
#[ignore = "needs the real libraries: tests/realworld/http_devices.sh"]
async fn python_homewizard_energy_pairs_with_and_reads_the_stand_in_of_version_2() {
    let made = rcgen::generate_simple_self_signed(vec!["appliance".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let device = HomeWizard::p1_v2(tls).await.unwrap();
    let mut library = Library::read("homewizard2", device.address(), None);
    library.says("press").await;
    device.press_button();
    library.agrees().await;
}

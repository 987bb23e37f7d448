//! `gridkeeper pair`: a person presses a button at a device, and gets a token and the device's key in a file.

use std::io::{Read as _, Write};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::codec::homewizard as codec;
use crate::config::durable;
use crate::config::model::{HttpAddress, Pairing, Secret};
use crate::device::meter::version_2;
use crate::link::http::{Client, Limits, Login, Method, Seen, Trust};

/// For a person to walk to the device and press its button.
const PRESS_WITHIN: Duration = Duration::from_secs(120);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Under which the device shows us in its list of users, before what tells one installation from another.
const NAME: &str = "local/gridkeeper-";
/// What does, in the data directory: a device ends the token of a name that asks for another one.
const NAME_FILE: &str = "homewizard-name";

/// Pairs with a HomeWizard device and writes `<folder>/homewizard-<id>.token`. Progress goes to `progress`, the lines to
/// paste to `out`.
///
/// # Errors
/// One sentence: what went wrong, and what to do about it.
pub async fn homewizard(
    address: &HttpAddress,
    id: &str,
    folder: &Path,
    out: &mut impl Write,
    progress: &mut impl Write,
) -> Result<(), String> {
    let name = name(folder)?;
    let pairing = token(address, &name, PRESS_WITHIN, ASK_EVERY, progress).await?;
    let file = folder.join(format!("homewizard-{id}.token"));
    durable::replace(&file, pairing.text().as_bytes())
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    writeln!(
        out,
        "[[meter]]\nid = \"{id}\"\ndriver = \"homewizard\"\nconnection = \"https://{}\"\ntoken_file = {:?}",
        host(address),
        file.display().to_string()
    )
    .map_err(|error| error.to_string())
}

/// The name of this installation: the one that it has, else one that no other has.
fn name(folder: &Path) -> Result<String, String> {
    let file = folder.join(NAME_FILE);
    if let Ok(text) = std::fs::read_to_string(&file) {
        let own = text.trim_end();
        if own.len() == 8 && own.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Ok(format!("{NAME}{own}"));
        }
    }
    let mut random = [0; 4];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut it| it.read_exact(&mut random))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    let own = format!("{:08x}", u32::from_be_bytes(random));
    durable::replace(&file, own.as_bytes())
        .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    Ok(format!("{NAME}{own}"))
}

fn host(address: &HttpAddress) -> String {
    let text = address.to_string();
    let text = text.strip_prefix("https://").unwrap_or(&text);
    text.strip_suffix(":443").unwrap_or(text).to_owned()
}

/// Asks until the button is pressed. Who answers now is believed, since the person stands in front of it; from then on
/// only the same key is.
async fn token(
    address: &HttpAddress,
    name: &str,
    within: Duration,
    every: Duration,
    progress: &mut impl Write,
) -> Result<Pairing, String> {
    let seen = Seen::default();
    let mut client = Client::new(address, Login::None, Trust::Anybody(seen.clone()), Limits::default())
        .map_err(|error| error.to_string())?;
    let headers = version_2();
    let until = Instant::now() + within;
    let mut asked = false;
    loop {
        let mut lost = None;
        let body = format!("{{\"name\":\"{name}\"}}");
        let answer = client.send(Method::POST, "/api/user", headers.clone(), Some(body)).await;
        match answer.map(|it| (it.status, codec::error(&it.body), it.body)) {
            Ok((200..=299, _, body)) => {
                let token = codec::token(&body).map_err(|error| format!("{address}: {error}"))?;
                let Some(pin) = seen.pin() else { return Err(format!("{address}: it showed no certificate")) };
                return Ok(Pairing { token: Secret::new(token), key: pin.hash() });
            }
            Ok((403, Some(text), _)) if text.contains("creation-not-enabled") => {
                if !asked {
                    asked = true;
                    let seconds = within.as_secs();
                    let _ = writeln!(
                        progress,
                        "Press the button of the device now (within {seconds} s); a kWh meter for 1 to 3 s."
                    );
                }
            }
            Ok((status, text, _)) => {
                let text = text.map(|it| format!(": {it}")).unwrap_or_default();
                return Err(format!("{address}: it answers {status}{text}"));
            }
            // Somebody is on the way to the button: one request that was lost must not end that.
            Err(error) if asked && error.is_silence() => lost = Some(error),
            Err(error) => return Err(format!("{address}: {error}")),
        }
        if Instant::now() + every >= until {
            return Err(match lost {
                Some(error) => format!("{address}: {error}"),
                None => format!("the button was not pressed within {} s", within.as_secs()),
            });
        }
        sleep(every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::simulator::http::{HomeWizard, HttpFault, certificate};

    /// Calls this when it is told to press the button.
    struct AtButton<F: FnMut()>(F);

    impl<F: FnMut()> Write for AtButton<F> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            (self.0)();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_request_that_is_lost_on_the_way_does_not_end_it() {
        let device = HomeWizard::p1_v2(certificate()).await.unwrap();
        let at = device.address();
        let address = HttpAddress { tls: true, host: at.ip().to_string(), port: at.port() };
        let told = tokio::sync::Notify::new();
        let mut progress = AtButton(|| {
            device.fault(HttpFault::Silent);
            told.notify_one();
        });
        let every = Duration::from_millis(10);
        let healed = async {
            told.notified().await;
            // The request that goes out now is lost.
            sleep(Limits::default().total + every).await;
            device.fault(HttpFault::None);
            device.press_button();
        };
        let (pairing, ()) =
            tokio::join!(token(&address, "local/us", Duration::from_secs(60), every, &mut progress), healed);
        pairing.unwrap();
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let address = HttpAddress { port: free.port(), ..address };
        let error = token(&address, "local/us", Duration::from_secs(60), every, &mut Vec::new()).await.unwrap_err();
        assert!(!error.contains("not pressed"), "who never answered is not waited for: {error}");
    }

    #[tokio::test]
    async fn the_button_gives_a_token_and_the_key_of_the_device() {
        let device = HomeWizard::p1_v2(certificate()).await.unwrap();
        let at = device.address();
        let address = HttpAddress { tls: true, host: at.ip().to_string(), port: at.port() };
        let every = Duration::from_millis(10);
        let mut said = Vec::new();
        let late = token(&address, "local/us", Duration::from_millis(30), every, &mut said).await.unwrap_err();
        assert!(late.contains("not pressed"), "{late}");
        assert!(String::from_utf8(said).unwrap().contains("Press the button"));
        device.press_button();
        let folder = tempfile::tempdir().unwrap();
        let mut lines = Vec::new();
        homewizard(&address, "p1", &folder.path().join("new"), &mut lines, &mut Vec::new()).await.unwrap();
        let lines = String::from_utf8(lines).unwrap();
        assert!(lines.contains("id = \"p1\"") && lines.contains("homewizard-p1.token"), "{lines}");
        let file = folder.path().join("new/homewizard-p1.token");
        let pairing = Pairing::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        assert!(!lines.contains(pairing.token.reveal()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // Once more over the old file.
        homewizard(&address, "p1", &folder.path().join("new"), &mut Vec::new(), &mut Vec::new()).await.unwrap();
        assert_eq!(Pairing::parse(&std::fs::read_to_string(&file).unwrap()), Ok(pairing));
    }

    /// A second appliance, a test beside the running one: neither may take the other's token away.
    #[tokio::test]
    async fn every_installation_has_a_name_of_its_own_and_keeps_it() {
        let device = HomeWizard::p1_v2(certificate()).await.unwrap();
        device.press_button();
        let at = device.address();
        let address = HttpAddress { tls: true, host: at.ip().to_string(), port: at.port() };
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (folder, users) in [(&one, 1), (&other, 2), (&one, 2)] {
            homewizard(&address, "p1", folder.path(), &mut Vec::new(), &mut Vec::new()).await.unwrap();
            assert_eq!(device.users().len(), users, "{:?}", device.users());
        }
        assert!(device.users().iter().all(|it| it.len() == NAME.len() + 8 && it.starts_with(NAME)));
        // A file that holds something else is no name.
        std::fs::write(one.path().join(NAME_FILE), "../x\"").unwrap();
        homewizard(&address, "p1", one.path(), &mut Vec::new(), &mut Vec::new()).await.unwrap();
        assert_eq!(device.users().len(), 3, "{:?}", device.users());
    }
}

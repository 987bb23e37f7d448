//! Secrets in files of their own.

use super::*;

#[test]
fn secrets_are_read_beside_the_file_that_names_them() {
    let text = format!(
        "{HOUSE}\n[web]\nlisten = \"0.0.0.0:0\"\npassword_file = \"web.pw\"\n[site]\nname = \"x\"\n"
    )
    .replace("url = \"mqtt://broker\"", "url = \"mqtts://broker\"\nusername = \"me\"\npassword_file = \"mqtt.pw\"\nca_file = \"ca.pem\"\nclient_cert_file = \"c.pem\"\nclient_key_file = \"c.key\"")
    .replace("connection = \"tcp://192.0.2.1:23\"", "connection = \"tcp://192.0.2.1:23\"\nkey_file = \"p1.key\"\nauth_key_file = \"p1.auth\"");
    let pem = |name: &str| format!("-----BEGIN {name}-----\nAA==\n-----END {name}-----\n");
    let case = Case::new(&[&text])
        .with_file("mqtt.pw", "hunter2\r\n")
        .with_file("web.pw", "page")
        .with_file("ca.pem", &pem("CERTIFICATE"))
        .with_file("c.pem", &pem("CERTIFICATE"))
        .with_file("c.key", &pem("EC PRIVATE KEY"))
        .with_file("p1.key", "000102030405060708090A0B0C0D0E0F\n")
        .with_file("p1.auth", "00112233445566778899aabbccddeeff");
    let config = case.good().config;
    let mqtt = config.mqtt.unwrap();
    assert_eq!(mqtt.password.unwrap().reveal(), "hunter2");
    assert!(mqtt.ca_pem.is_some() && mqtt.client_cert_pem.is_some() && mqtt.client_key_pem.is_some());
    assert_eq!(config.web.password.unwrap().reveal(), "page");
    let MeterDriver::P1 { key, auth_key, .. } = &config.meters[0].driver else { panic!() };
    assert_eq!((key.unwrap()[15], auth_key.unwrap()[15]), (0x0f, 0xff));
    assert!(!format!("{:?}", config.meters).contains("15"), "keys are not shown");

    for (name, bad, text) in [
        ("mqtt.pw", "", "it is empty"),
        ("mqtt.pw", "two\nlines", "it holds 2 lines"),
        ("ca.pem", "AA==", "it holds no PEM block `CERTIFICATE`"),
        ("c.key", &pem("CERTIFICATE"), "it holds no PEM block `PRIVATE KEY`"),
        ("p1.key", "0001", "it does not hold 32 hexadecimal digits"),
        ("p1.key", "+00102030405060708090A0B0C0D0E0F", "it does not hold 32 hexadecimal digits"),
    ] {
        let path = case.dir.path().join(name);
        let before = std::fs::read(&path).unwrap();
        std::fs::write(&path, bad).unwrap();
        assert!(case.wrong().contains(text), "{}", case.wrong());
        std::fs::write(&path, before).unwrap();
    }
    std::fs::remove_file(case.dir.path().join("web.pw")).unwrap();
    assert!(case.wrong().contains("`password_file` names no file: "), "{}", case.wrong());
}

#[test]
fn a_secret_where_the_name_of_its_file_belongs_is_not_shown() {
    let keys = [
        ("[mqtt]\nurl = \"mqtts://b\"\nusername = \"me\"\n", "password_file"),
        ("[mqtt]\nurl = \"mqtts://b\"\n", "ca_file"),
        ("[web]\n", "password_file"),
        ("[[meter]]\nid = \"m\"\ndriver = \"p1\"\nconnection = \"tcp://192.0.2.1:23\"\n", "key_file"),
        ("[[meter]]\nid = \"m\"\ndriver = \"homewizard\"\nconnection = \"https://192.0.2.1\"\n", "token_file"),
        ("[influx]\nurl = \"http://192.0.2.1\"\nbucket = \"b\"\n", "token_file"),
    ];
    let long = format!("hunter2{}", "x".repeat(300));
    for (table, key) in keys {
        for secret in ["hunter2", "hunter2/with/slashes", "/hunter2+=", long.as_str()] {
            let case = Case::new(&[&format!("{table}{key} = \"{secret}\"\n")]);
            let refused = case.load().unwrap_err();
            let shown = format!("{refused} {refused:?}");
            assert!(!shown.contains("hunter2"), "{key}: {shown}");
            assert!(shown.contains(&format!("`{key}` names no file")), "{key}: {shown}");
            assert!(refused.list.iter().any(|it| it.line.is_some()), "{shown}");
        }
    }
    let case =
        Case::new(&[HOUSE]).env("GRIDKEEPER__MQTT__USERNAME", "me").env("GRIDKEEPER__MQTT__PASSWORD_FILE", "hunter2");
    let shown = case.wrong();
    assert!(shown.contains("GRIDKEEPER__MQTT__PASSWORD_FILE") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_broker_that_others_reach_wants_a_login() {
    let text = |login: &str| format!("[mqtt]\nurl = \"embedded://0.0.0.0:1883\"\n{login}");
    let open = Case::new(&[&text("")]).wrong();
    assert!(open.contains("can be reached from the network, so it needs a login"), "{open}");
    assert!(open.contains("set username and password_file") && open.contains("embedded://127.0.0.1:1883"), "{open}");
    assert!(Case::new(&[&text("username = \"me\"\n")]).wrong().contains("needs a login"), "a name alone is none");
    let login = "username = \"me\"\npassword_file = \"pw\"\n";
    let case = Case::new(&[&text(login)]).with_file("pw", "hunter2");
    assert!(case.good().config.mqtt.is_some());
    assert!(Case::new(&["[mqtt]\nurl = \"embedded://127.0.0.1:1883\"\n"]).good().config.mqtt.is_some());
    // The last good one, whose password has gone, keeps its chargers and opens nothing.
    let data = tempfile::tempdir().unwrap();
    config::save_last_good(data.path(), &case.good().inputs).unwrap();
    std::fs::remove_file(case.dir.path().join("pw")).unwrap();
    let again = config::load_last_good(data.path()).unwrap().unwrap_or_else(|it| panic!("{it}"));
    assert!(again.config.mqtt.is_none(), "off rather than open");
}

#[cfg(unix)]
#[test]
fn a_password_that_everybody_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let text =
        "[mqtt]\nurl = \"mqtt://b\"\nusername = \"me\"\npassword = \"hunter2\"\n[web]\npassword_file = \"web.pw\"\n";
    let case = Case::new(&[text]).with_file("web.pw", "page");
    for (mode, warnings) in [(0o644, 2), (0o640, 0)] {
        for path in [&case.files[0], &case.dir.path().join("web.pw")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let found = case.good().warnings;
        assert_eq!(found.len(), warnings, "{found:?}");
        assert!(found.iter().all(|it| it.message.contains("may be read by every user")), "{found:?}");
        assert!(!format!("{found:?}{}", found.iter().map(ToString::to_string).collect::<String>()).contains("hunter2"));
    }
}

#[test]
fn every_file_with_a_secret_that_everybody_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let text = r#"
[mqtt]
url = "mqtts://b"
ca_file = "ca.pem"
client_cert_file = "c.pem"
client_key_file = "c.key"
[[meter]]
id = "sealed"
driver = "p1"
connection = "tcp://192.0.2.1:23"
key_file = "p1.key"
auth_key_file = "p1.auth"
[[meter]]
id = "paired"
driver = "homewizard"
connection = "https://192.0.2.2"
token_file = "hw.token"
[influx]
url = "http://192.0.2.3:8086"
org = "home"
bucket = "home"
token_file = "influx.token"
"#;
    let pem = |name: &str| format!("-----BEGIN {name}-----\nAA==\n-----END {name}-----\n");
    let secret = ["c.key", "p1.key", "p1.auth", "hw.token", "influx.token"];
    let case = Case::new(&[text])
        .with_file("ca.pem", &pem("CERTIFICATE"))
        .with_file("c.pem", &pem("CERTIFICATE"))
        .with_file("c.key", &pem("PRIVATE KEY"))
        .with_file("p1.key", "000102030405060708090A0B0C0D0E0F")
        .with_file("p1.auth", "00112233445566778899aabbccddeeff")
        .with_file("hw.token", &format!("{}\nkey-sha256 {}\n", "A1".repeat(16), "0f".repeat(32)))
        .with_file("influx.token", "hunter2");
    for (mode, open) in [(0o644, true), (0o640, false)] {
        for name in ["ca.pem", "c.pem"].iter().chain(&secret) {
            std::fs::set_permissions(case.dir.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let warnings = case.good().warnings;
        let mut named: Vec<&str> = warnings
            .iter()
            .filter_map(|it| it.message.strip_suffix(" holds a secret and may be read by every user of this machine"))
            .filter_map(|it| Path::new(it).file_name()?.to_str())
            .collect();
        named.sort_unstable();
        let mut expected = if open { secret.to_vec() } else { Vec::new() };
        expected.sort_unstable();
        assert_eq!(named, expected, "{mode:o}: {warnings:?}");
    }
}

#[test]
fn a_page_whose_password_has_gone_stays_off_rather_than_open() {
    let data = tempfile::tempdir().unwrap();
    let case = Case::new(&["[web]\nlisten = \"0.0.0.0:8127\"\npassword_file = \"pw\"\n"]).with_file("pw", "page");
    config::save_last_good(data.path(), &case.good().inputs).unwrap();
    std::fs::remove_file(case.dir.path().join("pw")).unwrap();
    let again = config::load_last_good(data.path()).unwrap().unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(again.config.web.listen, None);
}

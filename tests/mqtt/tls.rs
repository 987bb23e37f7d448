//! MQTT over TLS with an authority of our own.

use gridkeeper::config::model::{MqttEndpoint, Secret};
use gridkeeper::mqtt::MqttOptions;
use rcgen::ExtendedKeyUsagePurpose;

use super::authority::Authority;
use super::house::options;
use super::peer::{Broker, Peer};
use super::rig::Rig;

fn secure(broker: &Broker, host: &str, ca: Option<&Authority>) -> MqttOptions {
    let address = broker.tls_address.unwrap();
    let mut options = options(address);
    options.config.endpoint = MqttEndpoint::Tls { host: host.into(), port: address.port() };
    options.config.ca_pem = ca.map(Authority::pem);
    options
}

async fn refused(options: MqttOptions) -> String {
    let mut rig = Rig::start(options);
    let problem = rig.until("refused", |it| it.problem.is_some()).await.problem.unwrap();
    rig.stop().await;
    problem
}

#[tokio::test]
async fn the_right_authority_is_believed_by_name_and_by_address() {
    let authority = Authority::new();
    let broker = Broker::with(0, Some(authority.broker(&["localhost", "127.0.0.1"], false))).await;
    let peer = Peer::connect(broker.address, "gridkeeper/#").await;
    for host in ["localhost", "127.0.0.1"] {
        let mark = peer.mark();
        let mut rig = Rig::start(secure(&broker, host, Some(&authority)));
        rig.online().await;
        assert!(rig.status.borrow().broker.starts_with("mqtts://"));
        peer.text_after(mark, "gridkeeper/status", "online").await;
        rig.stop().await;
    }
    broker.kill().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_with_the_key_to_change() {
    let authority = Authority::new();
    let broker = Broker::with(0, Some(authority.broker(&["localhost"], false))).await;

    let problem = refused(secure(&broker, "localhost", Some(&Authority::new()))).await;
    assert!(problem.contains("[mqtt] ca_file"), "{problem}");
    // Without a file the operating system's authorities count, and they do not know ours.
    let problem = refused(secure(&broker, "localhost", None)).await;
    assert!(problem.contains("set [mqtt] ca_file"), "{problem}");
    let problem = refused(secure(&broker, "127.0.0.1", Some(&authority))).await;
    assert!(problem.contains("not made out to `127.0.0.1`"), "{problem}");

    let mut rubbish = secure(&broker, "localhost", None);
    rubbish.config.ca_pem = Some(b"no certificate".to_vec());
    let problem = refused(rubbish).await;
    assert!(problem.contains("ca_file holds no certificate"), "{problem}");

    // TLS to a plain port, and plain to a TLS port.
    let mut plain = secure(&broker, "localhost", Some(&authority));
    plain.config.endpoint = MqttEndpoint::Tls { host: "localhost".into(), port: broker.address.port() };
    let problem = refused(plain).await;
    assert!(problem.contains("TLS") || problem.contains("closed the connection"), "{problem}");
    let problem = refused(options(broker.tls_address.unwrap())).await;
    assert!(problem.contains("mqtts://") || problem.contains("no MQTT 3.1.1 packet"), "{problem}");
    broker.kill().await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_wanted() {
    let authority = Authority::new();
    let broker = Broker::with(0, Some(authority.broker(&["localhost"], true))).await;
    let without = secure(&broker, "localhost", Some(&authority));
    let problem = refused(without.clone()).await;
    assert!(problem.contains("client_cert_file") || problem.contains("closed the connection"), "{problem}");

    let (certificate, key) = authority.sign(&["gridkeeper"], ExtendedKeyUsagePurpose::ClientAuth);
    let mut with = without;
    with.config.client_cert_pem = Some(certificate.into_bytes());
    with.config.client_key_pem = Some(Secret::new(key));
    let mut rig = Rig::start(with);
    rig.online().await;
    rig.stop().await;
    broker.kill().await;
}

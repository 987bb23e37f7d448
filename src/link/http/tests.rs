use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const QUICK: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_millis(400), body: 1000 };

/// A server that answers each request with the next of `answers`, on as many connections as it is asked for; gives
/// the requests it saw and how many connections there were.
struct Server {
    address: HttpAddress,
    work: tokio::task::JoinHandle<(Vec<String>, usize)>,
}

async fn serve(answers: Vec<&'static str>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = HttpAddress { tls: false, host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let work = tokio::spawn(async move {
        let (mut seen, mut connections, mut answers) = (Vec::new(), 0, answers.into_iter());
        let mut next = answers.next();
        while next.is_some() {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections += 1;
            while let Some(request) = request(&mut stream).await {
                seen.push(request);
                let Some(answer) = next else { break };
                stream.write_all(answer.as_bytes()).await.unwrap();
                next = answers.next();
                if next.is_none() || answer.contains("Connection: close") {
                    break;
                }
            }
        }
        (seen, connections)
    });
    Server { address, work }
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(text).unwrap())
}

fn client(server: &Server, login: Login) -> Client {
    Client::new(&server.address, login, Trust::Nobody, QUICK).unwrap()
}

fn password() -> Login {
    Login::Password { username: "admin".into(), password: Secret::new("Circle of Life".into()) }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn a_client_is_built_without_an_installed_provider_and_keeps_its_connection() {
    let server = serve(vec![OK, OK, OK]).await;
    let mut client = client(&server, Login::None);
    for _ in 0..3 {
        assert_eq!(client.get("/rpc/EM.GetStatus?id=0").await.unwrap(), b"{}");
    }
    let (seen, connections) = server.work.await.unwrap();
    assert_eq!(connections, 1);
    assert!(seen[0].starts_with("GET /rpc/EM.GetStatus?id=0 HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(!seen[0].to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn a_digest_challenge_is_answered_and_its_requests_are_counted() {
    let asked = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest qop=\"auth\", realm=\"shellypro3em-0\", \
                 nonce=\"65f1\", algorithm=SHA-256\r\nContent-Length: 0\r\n\r\n";
    let server = serve(vec![asked, OK, OK]).await;
    let mut client = client(&server, password());
    client.get("/rpc/A?id=0").await.unwrap();
    client.get("/rpc/B").await.unwrap();
    let (seen, connections) = server.work.await.unwrap();
    assert_eq!((seen.len(), connections), (3, 1));
    assert!(!seen[0].to_lowercase().contains("authorization"));
    for (request, uri, count) in [(&seen[1], "/rpc/A?id=0", 1), (&seen[2], "/rpc/B", 2)] {
        let header = request.lines().find(|it| it.to_lowercase().starts_with("authorization: digest ")).unwrap();
        for part in [format!("uri=\"{uri}\""), format!("nc=0000000{count}"), "username=\"admin\"".into()] {
            assert!(header.contains(&part), "{header}");
        }
        assert!(!request.contains("Circle"), "{request}");
    }
}

#[tokio::test]
async fn basic_is_answered_and_a_second_refusal_is_final() {
    let asked = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"shelly\"\r\nContent-Length: 0\r\n\r\n";
    let server = serve(vec![asked, asked]).await;
    let error = client(&server, password()).get("/status").await.unwrap_err();
    assert_eq!(error, Error::Login("username or password are not accepted".into()));
    let (seen, _) = server.work.await.unwrap();
    // base64 of "admin:Circle of Life"
    assert!(seen[1].contains("Basic YWRtaW46Q2lyY2xlIG9mIExpZmU="), "{}", seen[1]);
    let server = serve(vec![asked]).await;
    let error = client(&server, Login::None).get("/status").await.unwrap_err();
    assert!(matches!(&error, Error::Login(hint) if hint.contains("password_file")), "{error}");
}

/// Another host at the address of a device that is known must not get the password in clear.
#[tokio::test]
async fn basic_is_refused_once_digest_was_asked_for() {
    let digest = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest qop=\"auth\", realm=\"r\", nonce=\"65f1\", \
                  algorithm=SHA-256\r\nContent-Length: 0\r\n\r\n";
    let basic = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\n\r\n";
    let server = serve(vec![digest, OK, basic, basic]).await;
    let mut seen_digest = client(&server, password());
    seen_digest.get("/").await.unwrap();
    let error = seen_digest.get("/").await.unwrap_err();
    assert!(matches!(&error, Error::Login(hint) if hint.contains("in clear")), "{error}");
    drop(seen_digest);
    let mut told = client(&server, password());
    told.refuse_basic();
    let error = told.get("/").await.unwrap_err();
    assert!(matches!(&error, Error::Login(hint) if hint.contains("in clear")), "{error}");
    let (seen, _) = server.work.await.unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|it| !it.contains("Basic ")), "{seen:?}");
}

#[tokio::test]
async fn what_is_too_long_or_too_slow_ends_in_an_error() {
    for head in ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            let answer = format!("HTTP/1.1 200 OK\r\n{head}");
            // The client hangs up in the middle.
            let _ = stream.write_all(answer.as_bytes()).await;
            while stream.write_all(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes()).await.is_ok() {}
        });
        let address = HttpAddress { tls: false, host: "127.0.0.1".into(), port };
        let mut client = Client::new(&address, Login::None, Trust::Nobody, QUICK).unwrap();
        assert_eq!(client.get("/").await, Err(Error::TooLong(1000)), "{head}");
        drop(client);
        server.await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = HttpAddress { tls: false, host: "127.0.0.1".into(), port };
    let mut client = Client::new(&address, Login::None, Trust::Nobody, QUICK).unwrap();
    assert_eq!(client.get("/").await, Err(Error::Timeout(QUICK.total)));
    drop(listener);
    let gone = client.get("/").await.unwrap_err();
    assert!(gone.is_silence(), "{gone}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_other_statuses_are_errors() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\nNo handler for";
    let server = serve(vec![moved, missing]).await;
    let mut client = client(&server, Login::None);
    assert_eq!(client.get("/").await.unwrap_err().to_string(), "the device answers 302");
    assert_eq!(client.get("/").await.unwrap_err().to_string(), "the device answers 404: No handler for");
}

/// Signs certificates; gives its own as PEM, and the settings of a server that calls itself `name`.
fn authority_and_server(name: &str) -> (String, rustls::ServerConfig) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    (issuer.pem(), config)
}

#[tokio::test]
async fn a_server_is_believed_for_its_name_by_the_authority_that_signed_it() {
    let (ours, _) = authority_and_server("localhost");
    for (name, believed) in [("localhost", true), ("elsewhere", false)] {
        let (signer, config) = authority_and_server(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = HttpAddress { tls: true, host: "localhost".into(), port: listener.local_addr().unwrap().port() };
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    text.push(byte);
                }
                // A client that has hung up is the next one's chance.
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        });
        let of = |pem: Option<&str>| {
            let limits = Limits { total: Duration::from_secs(5), ..QUICK };
            Client::new(&address, Login::None, Trust::Authorities(pem.map(str::to_owned)), limits)
        };
        let answer = of(Some(&signer)).unwrap().get("/").await;
        assert_eq!(answer.is_ok(), believed, "{name}: {answer:?}");
        let refused = of(Some(&ours)).unwrap().get("/").await.unwrap_err();
        assert!(matches!(refused, Error::Tls(_)), "{refused}");
        assert!(of(Some("no certificate")).unwrap_err().to_string().contains("ca_file holds no certificate"));
        server.abort();
    }
}

#[test]
fn base64_is_that_of_the_standard() {
    for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}

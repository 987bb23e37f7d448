//! Devices with an HTTP interface, on loopback: stand-ins for Shelly and HomeWizard, with faults on command.
//!
//! The real client libraries aioshelly and python-homewizard-energy read them (`tests/realworld/http_devices.sh`), so
//! that what our own drivers are tested against is not only our own idea of these devices.

mod homewizard;
mod shelly;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use homewizard::HomeWizard;
pub use shelly::Shelly;

/// What goes wrong with every answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpFault {
    /// Nothing.
    #[default]
    None,
    /// Connections are accepted, nothing is answered.
    Silent,
    /// Every answer is so late.
    Slow(Duration),
    /// This status and no body.
    Status(u16),
    /// Half a JSON text.
    Garbage,
    /// A body that never ends.
    Endless,
}

/// A request, read whole.
#[derive(Debug)]
struct Call {
    method: String,
    /// Path and query.
    uri: String,
    headers: HeaderMap,
    body: Bytes,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Call {
    fn path(&self) -> &str {
        self.uri.split('?').next().unwrap_or_default()
    }

    fn query(&self, key: &str) -> Option<&str> {
        let pairs = self.uri.split_once('?')?.1.split('&');
        pairs.filter_map(|it| it.split_once('=')).find(|it| it.0 == key).map(|it| it.1)
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What a stand-in answers.
trait Device: Send + Sync + 'static {
    fn fault(&self) -> HttpFault;
    fn answer(self: &Arc<Self>, call: Call) -> Response;
}

/// A stand-in that listens; it ends when dropped.
#[derive(Debug)]
struct Listening {
    address: SocketAddr,
    _stop: DropGuard,
}

async fn listen<D: Device>(device: Arc<D>, tls: Option<TlsAcceptor>) -> io::Result<Listening> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        let connections = TaskTracker::new();
        while let Some(Ok((stream, _))) = stopped.run_until_cancelled(listener.accept()).await {
            let (device, tls, stopped) = (Arc::clone(&device), tls.clone(), stopped.clone());
            connections.spawn(async move {
                let work = async {
                    match tls {
                        None => serve(device, stream).await,
                        // A client that does not trust us hangs up.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(device, stream).await,
                            Err(error) => tracing::debug!("stand-in: {error}"),
                        },
                    }
                };
                stopped.run_until_cancelled(work).await;
            });
        }
    });
    Ok(Listening { address, _stop: stop.drop_guard() })
}

async fn serve<D: Device>(device: Arc<D>, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let device = Arc::clone(&device);
        async move { Ok::<_, Infallible>(handle(&device, request.map(Body::new)).await) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        tracing::debug!("stand-in: {error}");
    }
}

async fn handle<D: Device>(device: &Arc<D>, mut request: Request) -> Response {
    match device.fault() {
        HttpFault::None => {}
        HttpFault::Silent => std::future::pending().await,
        HttpFault::Slow(delay) => tokio::time::sleep(delay).await,
        HttpFault::Status(status) => return empty(StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT)),
        HttpFault::Garbage => return Response::new(Body::from("{\"id\":0,\"a_current\":6.7")),
        HttpFault::Endless => {
            let piece = || Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1024]));
            return Response::new(Body::from_stream(stream::repeat_with(piece)));
        }
    }
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 64 * 1024).await else { return empty(StatusCode::PAYLOAD_TOO_LARGE) };
    let uri = head.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    device.answer(Call { method: head.method.to_string(), uri, headers: head.headers, body, upgrade })
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json(status: u16, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// The server's end of a WebSocket.
type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Answers the handshake, then lets `talk` speak. `None`: the request asks for no WebSocket.
fn web_socket<F: Future<Output = ()> + Send + 'static>(
    call: Call,
    talk: impl FnOnce(Socket) -> F + Send + 'static,
) -> Option<Response> {
    let accept = derive_accept_key(call.header(header::SEC_WEBSOCKET_KEY)?.as_bytes());
    let upgrade = call.upgrade?;
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            talk(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
        }
    });
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, header::HeaderValue::try_from(accept).ok()?);
    Some(response)
}

/// A certificate as such devices have: of an authority that nobody knows, for a name that no network has.
#[cfg(test)]
pub(crate) fn certificate() -> rustls::ServerConfig {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    let made = rcgen::generate_simple_self_signed(vec!["appliance".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

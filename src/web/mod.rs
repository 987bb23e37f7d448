//! The status page and the same as data. A view: it reads snapshots and nothing waits for it.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page; every URL in it is relative, so that it works below an ingress prefix |
//! | `/fragment` | its sections alone, fetched each second |
//! | `/api/status` | the same as JSON, under the keys of the MQTT contract |
//! | `/livez` | `ok` unless the control loop or the devices' thread hangs, whatever the configuration and the devices do; needs no password |
//! | `/healthz` | `ok` while the control loop renews the snapshot, else 503; needs no password |

mod auth;
mod html;
mod json;
mod page;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Heartbeat};
use crate::config::Diagnostic;
use crate::config::model::{Config, MeterRole, Secret};
use crate::influx::InfluxStatus;
use crate::mqtt::MqttStatus;
use crate::quantity::{Milliamp, Span};
use crate::serve::ServeStatus;
use crate::status::{ChargerView, InputView, MeterView, RelayView, Snapshot};

/// Connections at a time; further ones are closed at once.
const MOST_CONNECTIONS: usize = 64;
/// For a request's head, and for the next request on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest head of a request.
const LARGEST_HEAD: usize = 16 * 1024;
/// A connection lives no longer than this, whoever holds it.
const LONGEST_CONNECTION: Duration = Duration::from_secs(300);
/// At an orderly stop, for requests under way.
const DRAIN: Duration = Duration::from_secs(2);
/// An answer to a wrong password comes this much later.
const REFUSAL_DELAY: Duration = Duration::from_millis(300);
/// Older snapshots mean that the control loop hangs, older signs of life that the devices' thread does.
const STALE: Span = Span::from_secs(5);

/// What the page knows beside the snapshots: names, and how the installation is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebInfo {
    /// Shown name of the site.
    pub site_name: String,
    /// Main fuse per phase.
    pub fuse: Option<Milliamp>,
    /// Which of the snapshot's meters is at the main fuse.
    pub grid_meter: Option<usize>,
    /// Shown names, in the order of the configuration.
    pub meters: Vec<String>,
    /// What each of them measures.
    pub roles: Vec<MeterRole>,
    /// Shown names, in the order of the configuration.
    pub chargers: Vec<String>,
    /// Shown names, in the order of the configuration.
    pub inputs: Vec<String>,
    /// Shown names, in the order of the configuration.
    pub relays: Vec<String>,
}

impl WebInfo {
    /// Of a checked configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            site_name: config.site.name.clone(),
            fuse: config.grid.fuse,
            grid_meter: config.grid.meter,
            meters: config.meters.iter().map(|it| it.common.name.clone()).collect(),
            roles: config.meters.iter().map(|it| it.role).collect(),
            chargers: config.chargers.iter().map(|it| it.common.name.clone()).collect(),
            inputs: config.inputs.iter().map(|it| it.common.name.clone()).collect(),
            relays: config.relays.iter().map(|it| it.common.name.clone()).collect(),
        }
    }

    fn meter_name<'a>(&'a self, at: usize, view: &'a MeterView) -> &'a str {
        self.meters.get(at).map_or(view.id.as_ref(), String::as_str)
    }

    fn charger_name<'a>(&'a self, at: usize, view: &'a ChargerView) -> &'a str {
        self.chargers.get(at).map_or(view.id.as_ref(), String::as_str)
    }

    fn input_name<'a>(&'a self, at: usize, view: &'a InputView) -> &'a str {
        self.inputs.get(at).map_or(view.id.as_ref(), String::as_str)
    }

    fn relay_name<'a>(&'a self, at: usize, view: &'a RelayView) -> &'a str {
        self.relays.get(at).map_or(view.id.as_ref(), String::as_str)
    }
}

/// What the page is made of.
#[derive(Clone, Debug)]
pub struct WebState {
    /// The newest picture; `None` before the first.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The link to the broker.
    pub mqtt: watch::Receiver<MqttStatus>,
    /// The writer to InfluxDB.
    pub influx: watch::Receiver<InfluxStatus>,
    /// What is served to others.
    pub serves: Arc<[watch::Receiver<ServeStatus>]>,
    /// Names and the like.
    pub info: Arc<WebInfo>,
    /// Errors and warnings of the configuration.
    pub diagnostics: Arc<Vec<Diagnostic>>,
    /// Asked for with any user name. `None`: the listener is on loopback.
    pub password: Option<Secret>,
    /// Besides this machine, nobody but this address is let in.
    pub only_from: Option<IpAddr>,
    /// The process's clock.
    pub clock: Clock,
    /// Of the thread that speaks to the devices.
    pub devices: Heartbeat,
}

/// Where Home Assistant's ingress comes from, always (developers.home-assistant.io, "Ingress").
pub const SUPERVISOR: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 32, 2));

/// Serves until `cancel`, then lets requests under way end and returns within two seconds.
pub async fn run(listener: TcpListener, state: WebState, cancel: CancellationToken) {
    let only_from = state.only_from;
    let service = TowerToHyperService::new(router(state));
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = cancel.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, as a rule: give others time to close theirs.
                tracing::warn!(%error, "the page cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        if only_from.is_some_and(|it| !may_enter(it, peer.ip())) {
            tracing::debug!(%peer, "only the Supervisor is served here");
            continue;
        }
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            tracing::debug!(%peer, "too many connections to the page");
            continue;
        };
        let (service, cancel) = (service.clone(), cancel.clone());
        connections.spawn(async move {
            let _place = place;
            serve(stream, peer, service, cancel).await;
        });
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

/// A listener for both kinds of address shows the older kind inside of the newer one.
fn may_enter(only: IpAddr, peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer == only || peer.is_loopback()
}

async fn serve(stream: TcpStream, peer: SocketAddr, service: TowerToHyperService<Router>, cancel: CancellationToken) {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(LARGEST_HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    let limit = tokio::time::sleep(LONGEST_CONNECTION);
    tokio::pin!(limit);
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "a connection to the page ended");
                }
                return;
            }
            () = cancel.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
                limit.as_mut().reset(tokio::time::Instant::now() + DRAIN);
            }
            () = limit.as_mut() => return,
        }
    }
}

fn router(state: WebState) -> Router {
    let guarded = Router::new()
        .route("/", get(page))
        .route("/fragment", get(fragment))
        .route("/api/status", get(status))
        .route("/status.css", get(|| async { asset("text/css; charset=utf-8", include_str!("status.css")) }))
        .route("/status.js", get(|| async { asset("text/javascript; charset=utf-8", include_str!("status.js")) }))
        .layer(middleware::from_fn_with_state(state.clone(), guard));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .merge(guarded)
        .layer(middleware::map_response(secure))
        .with_state(state)
}

async fn guard(State(state): State<WebState>, request: Request, next: Next) -> Response {
    if let Some(password) = &state.password {
        let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if !auth::admits(password, given) {
            if given.is_some() {
                tokio::time::sleep(REFUSAL_DELAY).await;
            }
            let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"Gridkeeper\", charset=\"UTF-8\"")];
            return (StatusCode::UNAUTHORIZED, ask, "a password is needed; the user name does not matter\n")
                .into_response();
        }
    }
    // A name that somebody else's server resolves to this machine would let a page of theirs read ours.
    if state.password.is_none() && state.only_from.is_none() && !is_this_machine(request.headers()) {
        return (StatusCode::FORBIDDEN, "ask for localhost or an address, or set [web] password_file\n")
            .into_response();
    }
    next.run(request).await
}

/// The request names this machine as nobody else's name server can: by `localhost` or by an address.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<Authority>() else { return false };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

async fn secure(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

async fn page(State(state): State<WebState>) -> Html<String> {
    let (snapshot, mqtt) = newest(&state);
    Html(page::page(&state, snapshot.as_deref(), &mqtt, state.clock.now()))
}

async fn fragment(State(state): State<WebState>) -> Html<String> {
    let (snapshot, mqtt) = newest(&state);
    Html(page::fragment(&state, snapshot.as_deref(), &mqtt, state.clock.now()))
}

async fn status(State(state): State<WebState>) -> Json<serde_json::Value> {
    let (snapshot, mqtt) = newest(&state);
    Json(json::status(&state, snapshot.as_deref(), &mqtt, state.clock.now()))
}

async fn healthz(State(state): State<WebState>) -> Response {
    let at = state.snapshots.borrow().as_ref().map(|it| it.at);
    match at {
        Some(at) if state.clock.now().since(at) <= STALE => "ok\n".into_response(),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "the control loop does not answer\n").into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "not in control\n").into_response(),
    }
}

/// For a service manager that starts us anew: a wrong configuration or a lost broker is no reason to.
async fn livez(State(state): State<WebState>) -> Response {
    let now = state.clock.now();
    let drawn = state.snapshots.borrow().as_ref().map(|it| it.at);
    if drawn.is_some_and(|at| now.since(at) > STALE) {
        (StatusCode::SERVICE_UNAVAILABLE, "the control loop does not answer\n").into_response()
    } else if now.since(state.devices.last()) > STALE {
        (StatusCode::SERVICE_UNAVAILABLE, "the thread that speaks to the devices does not answer\n").into_response()
    } else {
        "ok\n".into_response()
    }
}

fn newest(state: &WebState) -> (Option<Arc<Snapshot>>, MqttStatus) {
    (state.snapshots.borrow().clone(), state.mqtt.borrow().clone())
}

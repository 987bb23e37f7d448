//! A Shelly: REST of generation 1, or RPC over HTTP and WebSocket with SHA-256 digest login.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;

use super::{Call, Device, HttpFault, Listening, Socket, empty, json as answer_json, listen, lock, web_socket};
use crate::codec::http_auth::hex;

/// Never changes: a real device changes it from time to time, and [`Shelly::renew_nonce`] does.
const FIRST_NONCE: u64 = 1_700_000_000;

/// A Shelly on a loopback port; gone when dropped.
#[derive(Debug)]
pub struct Shelly {
    state: Arc<State>,
    listening: Listening,
}

#[derive(Debug)]
struct State {
    inner: Mutex<Inner>,
    notices: broadcast::Sender<String>,
}

#[derive(Debug)]
struct Inner {
    info: Map<String, Value>,
    /// `em:0` and the like; of generation 1 the keys of `/status`.
    components: BTreeMap<String, Value>,
    password: Option<String>,
    nonce: u64,
    fault: HttpFault,
    requests: Vec<String>,
    /// Timers of relays: only the newest acts.
    switched: u64,
    /// Its uptime moves from here.
    started: Instant,
    /// The uptime at which it stands still.
    frozen: Option<u64>,
    refused: Option<String>,
}

impl Inner {
    fn uptime(&self) -> u64 {
        self.frozen.unwrap_or_else(|| 86_400 + self.started.elapsed().as_secs())
    }

    /// All of it, as it is at this moment.
    fn status(&self) -> Map<String, Value> {
        let mut status: Map<String, Value> = self.components.clone().into_iter().collect();
        let uptime = json!(self.uptime());
        if let Some(place) = status.get_mut("uptime") {
            *place = uptime;
        } else if let Some(place) = status.get_mut("sys").and_then(|it| it.get_mut("uptime")) {
            *place = uptime;
        }
        status
    }
}

fn info(id: &str, generation: u8, model: &str, app: &str, profile: Option<&str>) -> Map<String, Value> {
    let mac = "AABBCCDDEEFF";
    let info = if generation == 1 {
        json!({"type": model, "mac": mac, "auth": false, "fw": "20230913-114150/v1.14.0", "num_outputs": 1})
    } else {
        json!({"name": null, "id": format!("{id}-{}", mac.to_lowercase()), "mac": mac, "slot": 0, "model": model,
            "gen": generation, "fw_id": "20250924-062720/1.7.1-gd336f31", "ver": "1.7.1", "app": app, "auth_en": false,
            "auth_domain": null, "profile": profile})
    };
    match info {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Shelly {
    async fn start(info: Map<String, Value>, components: Value) -> io::Result<Self> {
        let components = match components {
            Value::Object(map) => map.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        let inner = Inner {
            info,
            components,
            password: None,
            nonce: FIRST_NONCE,
            fault: HttpFault::None,
            requests: Vec::new(),
            switched: 0,
            started: Instant::now(),
            frozen: None,
            refused: None,
        };
        let (notices, _) = broadcast::channel(16);
        let state = Arc::new(State { inner: Mutex::new(inner), notices });
        Ok(Self { listening: listen(Arc::clone(&state), None).await?, state })
    }

    /// Three phases in one: 1510.2 W in, 842 W out, nothing on L3.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn pro_3em() -> io::Result<Self> {
        let phase = |letter: &str, power: f64, current: f64, voltage: f64| {
            let values = [
                ("current", current),
                ("voltage", voltage),
                ("act_power", power),
                ("aprt_power", power.abs() + 20.0),
                ("pf", 0.98),
                ("freq", 50.0),
            ];
            values.map(|(name, value)| (format!("{letter}_{name}"), json!(value)))
        };
        let mut em: Map<String, Value> = [("id".to_owned(), json!(0))].into_iter().collect();
        em.extend(phase("a", 1510.2, 6.71, 231.4));
        em.extend(phase("b", -842.0, 3.66, 232.0));
        em.extend(phase("c", 0.0, 0.01, 230.1));
        em.extend([
            ("n_current".to_owned(), Value::Null),
            ("total_current".to_owned(), json!(10.38)),
            ("total_act_power".to_owned(), json!(668.2)),
            ("total_aprt_power".to_owned(), json!(2405.1)),
            ("user_calibrated_phase".to_owned(), json!([])),
        ]);
        let data = json!({"id": 0,
            "a_total_act_energy": 812_345.6, "a_total_act_ret_energy": 0.0,
            "b_total_act_energy": 90_211.3, "b_total_act_ret_energy": 55_120.7,
            "c_total_act_energy": 12.0, "c_total_act_ret_energy": 3.0,
            "total_act": 902_568.9, "total_act_ret": 55_123.7});
        let components = json!({"em:0": em, "emdata:0": data, "sys": system()});
        Self::start(info("shellypro3em", 2, "SPEM-003CEBEU", "Pro3EM", Some("triphase")), components).await
    }

    /// Two clamps of one phase each and a relay: 230 W in on the first, 460 W out on the second.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn pro_em() -> io::Result<Self> {
        let clamp = |id: u8, power: f64, current: f64| {
            json!({"id": id, "current": current, "voltage": 230.0, "act_power": power, "aprt_power": power.abs(),
                "pf": 1.0, "freq": 50.0, "calibration": "factory"})
        };
        let data = |id: u8, import: f64, export: f64| json!({"id": id, "total_act_energy": import, "total_act_ret_energy": export});
        let components = json!({"em1:0": clamp(0, 230.0, 1.0), "em1:1": clamp(1, -460.0, 2.0),
            "em1data:0": data(0, 1500.0, 0.0), "em1data:1": data(1, 20.0, 7000.0),
            "switch:0": {"id": 0, "source": "init", "output": false}, "sys": system()});
        Self::start(info("shellyproem50", 2, "SPEM-002CEBEU50", "ProEM50", None), components).await
    }

    /// A plug of the third generation with a relay, a meter and an input.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn plug() -> io::Result<Self> {
        let components = json!({
            "switch:0": {"id": 0, "source": "init", "output": false, "apower": 115.5, "voltage": 231.0,
                "current": 0.52, "pf": 0.96, "freq": 50.0,
                "aenergy": {"total": 12_345.0, "by_minute": [0.0, 0.0, 0.0], "minute_ts": 1_760_000_040},
                "ret_aenergy": {"total": 345.0, "by_minute": [0.0, 0.0, 0.0], "minute_ts": 1_760_000_040},
                "temperature": {"tC": 41.5, "tF": 106.7}},
            "input:0": {"id": 0, "state": false}, "sys": system()});
        Self::start(info("shelly1pmg3", 3, "S3SW-001P16EU", "S1PMG3", None), components).await
    }

    /// Generation 1 with three clamps, a relay and an input.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn gen1_3em() -> io::Result<Self> {
        let clamp = |power: f64, pf: f64, current: f64, voltage: f64, total: f64, returned: f64| {
            json!({"power": power, "pf": pf, "current": current, "voltage": voltage, "is_valid": true, "total": total,
                "total_returned": returned})
        };
        let status = json!({
            "relays": [{"ison": false, "has_timer": false, "timer_remaining": 0, "source": "http"}],
            "emeters": [clamp(1510.2, 0.97, 6.71, 231.4, 812_345.6, 0.0),
                clamp(-842.0, -0.99, 3.66, 232.0, 90_211.3, 55_120.7), clamp(0.0, 0.0, 0.01, 230.1, 12.0, 3.0)],
            "inputs": [{"input": 0, "event": "", "event_cnt": 0}],
            "total_power": 668.2, "uptime": 0, "unixtime": 1_760_000_000});
        Self::start(info("shellyem3", 1, "SHEM-3", "", None), status).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// From now on a login is wanted; the user is `admin`.
    pub fn require_password(&self, password: &str) {
        let mut inner = lock(&self.state.inner);
        let domain = inner.info.get("id").cloned().unwrap_or(Value::Null);
        if inner.info.contains_key("gen") {
            inner.info.insert("auth_en".into(), json!(true));
            inner.info.insert("auth_domain".into(), domain);
        } else {
            inner.info.insert("auth".into(), json!(true));
        }
        inner.password = Some(password.to_owned());
    }

    /// The present challenge is no longer accepted.
    pub fn renew_nonce(&self) {
        lock(&self.state.inner).nonce += 1;
    }

    /// What goes wrong from now on.
    pub fn fault(&self, fault: HttpFault) {
        lock(&self.state.inner).fault = fault;
    }

    /// Changes the status under a JSON pointer such as `/em:0/a_current`, and tells those who listen on a WebSocket.
    pub fn set(&self, pointer: &str, value: Value) {
        let mut inner = lock(&self.state.inner);
        let mut path = pointer.trim_start_matches('/').splitn(2, '/');
        let (component, rest) = (path.next().unwrap_or_default().to_owned(), path.next());
        let slot = inner.components.entry(component.clone()).or_insert(Value::Null);
        match rest {
            None => *slot = value,
            Some(rest) => {
                let (parent, leaf) = rest.rsplit_once('/').unwrap_or(("", rest));
                let parent = if parent.is_empty() { String::new() } else { format!("/{parent}") };
                match slot.pointer_mut(&parent) {
                    Some(Value::Object(map)) => _ = map.insert(leaf.to_owned(), value),
                    Some(Value::Array(list)) => {
                        if let Some(place) = leaf.parse().ok().and_then(|at: usize| list.get_mut(at)) {
                            *place = value;
                        }
                    }
                    _ => {}
                }
            }
        }
        let notice = json!({"method": "NotifyStatus", "params": {"ts": 1_760_000_000.0, component.as_str(): &*slot}});
        // Nobody may be listening.
        let _ = self.state.notices.send(notice.to_string());
    }

    /// The status under a JSON pointer.
    #[must_use]
    pub fn status(&self, pointer: &str) -> Value {
        let all: Value = lock(&self.state.inner).components.clone().into_iter().collect::<Map<_, _>>().into();
        all.pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    /// From now on it gives the same answers again and again, as a device or a cache in front of it does that hangs; or no
    /// longer.
    pub fn freeze(&self, frozen: bool) {
        let mut inner = lock(&self.state.inner);
        inner.frozen = frozen.then(|| inner.uptime());
    }

    /// Answers 500 to this path from now on.
    pub fn refuse(&self, path: &str) {
        lock(&self.state.inner).refused = Some(path.to_owned());
    }

    /// Path and query of every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.inner).requests.clone()
    }
}

fn system() -> Value {
    json!({"mac": "AABBCCDDEEFF", "restart_required": false, "time": "12:00", "unixtime": 1_760_000_000,
        "uptime": 0, "ram_size": 240_000, "ram_free": 120_000, "available_updates": {}})
}

impl Device for State {
    fn fault(&self) -> HttpFault {
        lock(&self.inner).fault
    }

    fn answer(self: &Arc<Self>, call: Call) -> Response {
        lock(&self.inner).requests.push(call.uri.clone());
        if lock(&self.inner).refused.as_deref() == Some(call.path()) {
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
        if call.path() == "/shelly" {
            return answer_json(200, &Value::Object(lock(&self.inner).info.clone()));
        }
        if !lock(&self.inner).info.contains_key("gen") {
            return self.rest(&call);
        }
        if call.path() == "/rpc" && call.upgrade.is_some() {
            let state = Arc::clone(self);
            return web_socket(call, |socket| talk(state, socket)).unwrap_or_else(|| empty(StatusCode::BAD_REQUEST));
        }
        let method = call.path().strip_prefix("/rpc/").unwrap_or_default();
        if method != "Shelly.GetDeviceInfo"
            && let Some(challenge) = self.refuse_digest(&call)
        {
            return challenge;
        }
        let mut params = Map::new();
        for key in ["id", "on", "toggle_after"] {
            if let Some(value) = call.query(key) {
                params.insert(key.to_owned(), serde_json::from_str(value).unwrap_or(Value::Null));
            }
        }
        match self.rpc(method, &params) {
            Ok(result) => answer_json(200, &result),
            Err((code, message)) => {
                let status = if code == 404 { 404 } else { 500 };
                answer_json(status, &json!({"code": code, "message": message}))
            }
        }
    }
}

/// The parts of an `Authorization: Digest` header.
fn digest_parts(header: &str) -> BTreeMap<String, String> {
    let parts = header.strip_prefix("Digest ").unwrap_or_default().split(", ");
    parts
        .filter_map(|it| it.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

impl State {
    fn realm(inner: &Inner) -> String {
        inner.info.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The challenge, unless the request answers it.
    fn refuse_digest(&self, call: &Call) -> Option<Response> {
        let inner = lock(&self.inner);
        let password = inner.password.as_deref()?;
        let (realm, nonce) = (Self::realm(&inner), format!("{:x}", inner.nonce));
        let parts = digest_parts(call.header(header::AUTHORIZATION).unwrap_or_default());
        let part = |key: &str| parts.get(key).map_or("", String::as_str);
        let secret = hash(&format!("admin:{realm}:{password}"));
        let request = hash(&format!("{}:{}", call.method, call.uri));
        let (count, cnonce) = (part("nc"), part("cnonce"));
        let expected = hash(&format!("{secret}:{nonce}:{count}:{cnonce}:auth:{request}"));
        if part("response") == expected && part("uri") == call.uri && part("nonce") == nonce {
            return None;
        }
        let challenge = format!("Digest qop=\"auth\", realm=\"{realm}\", nonce=\"{nonce}\", algorithm=SHA-256");
        let mut response = empty(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::try_from(challenge).ok()?);
        Some(response)
    }

    /// Generation 1.
    fn rest(self: &Arc<Self>, call: &Call) -> Response {
        if let Some(password) = lock(&self.inner).password.clone() {
            let expected = format!("Basic {}", base64(&format!("admin:{password}")));
            if call.header(header::AUTHORIZATION) != Some(expected.as_str()) {
                let mut response = empty(StatusCode::UNAUTHORIZED);
                let challenge = HeaderValue::from_static("Basic realm=\"Shelly\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                return response;
            }
        }
        if call.path() == "/status" {
            return answer_json(200, &Value::Object(lock(&self.inner).status()));
        }
        if call.path() != "/relay/0" {
            return empty(StatusCode::NOT_FOUND);
        }
        if let Some(turn) = call.query("turn") {
            let seconds = call.query("timer").and_then(|it| it.parse().ok());
            self.switch("relays", "/0/ison", turn == "on", seconds);
        }
        let relay = lock(&self.inner).components.get("relays").and_then(|it| it.get(0)).cloned();
        answer_json(200, &relay.unwrap_or(Value::Null))
    }

    fn switch(self: &Arc<Self>, component: &str, place: &str, on: bool, back_after: Option<f64>) -> bool {
        let set = |inner: &mut Inner, on: bool| {
            let slot = inner.components.get_mut(component).and_then(|it| it.pointer_mut(place))?;
            Some(std::mem::replace(slot, json!(on)) == json!(true))
        };
        let mut inner = lock(&self.inner);
        inner.switched += 1;
        let turn = inner.switched;
        let was_on = set(&mut inner, on).unwrap_or(false);
        drop(inner);
        if let Some(seconds) = back_after.filter(|it| *it > 0.0) {
            let (state, component, place) = (Arc::clone(self), component.to_owned(), place.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                let mut inner = lock(&state.inner);
                if inner.switched == turn
                    && let Some(slot) = inner.components.get_mut(&component).and_then(|it| it.pointer_mut(&place))
                {
                    *slot = json!(!on);
                }
            });
        }
        was_on
    }

    /// The result of a method, or code and message of the error.
    fn rpc(self: &Arc<Self>, method: &str, params: &Map<String, Value>) -> Result<Value, (i64, String)> {
        let no_handler = || (404, format!("No handler for {method}"));
        let id = params.get("id").cloned().unwrap_or(json!(0));
        match method {
            "Shelly.GetDeviceInfo" => return Ok(Value::Object(lock(&self.inner).info.clone())),
            "Shelly.GetStatus" => {
                return Ok(Value::Object(lock(&self.inner).status()));
            }
            "Sys.GetStatus" => return lock(&self.inner).status().remove("sys").ok_or_else(no_handler),
            "Shelly.GetConfig" => {
                let inner = lock(&self.inner);
                let ids = inner
                    .components
                    .iter()
                    .filter_map(|(key, it)| Some((key.clone(), json!({"id": it.get("id")?, "name": null}))));
                let mut config: Map<String, Value> = ids.collect();
                config.insert("sys".into(), json!({"device": {"name": null, "mac": "AABBCCDDEEFF",
                    "fw_id": inner.info.get("fw_id"), "profile": inner.info.get("profile")}, "location": {}, "cfg_rev": 1}));
                return Ok(Value::Object(config));
            }
            "Shelly.GetComponents" => return Ok(json!({"components": [], "cfg_rev": 1, "offset": 0, "total": 0})),
            "Switch.Set" => {
                let component = format!("switch:{id}");
                if !lock(&self.inner).components.contains_key(&component) {
                    return Err((-105, format!("Argument 'id', value {id} not found!")));
                }
                let Some(on) = params.get("on").and_then(Value::as_bool) else {
                    return Err((-103, "Missing required argument 'on'!".to_owned()));
                };
                let back_after = params.get("toggle_after").and_then(Value::as_f64);
                return Ok(json!({"was_on": self.switch(&component, "/output", on, back_after)}));
            }
            _ => {}
        }
        let kind = method.strip_suffix(".GetStatus").ok_or_else(no_handler)?.to_lowercase();
        let inner = lock(&self.inner);
        if !inner.components.keys().any(|it| it.split(':').next() == Some(kind.as_str())) {
            return Err(no_handler());
        }
        let found = inner.components.get(&format!("{kind}:{id}")).cloned();
        found.ok_or_else(|| (-105, format!("Argument 'id', value {id} not found!")))
    }

    /// A frame of the WebSocket and its answer.
    fn frame(self: &Arc<Self>, text: &str) -> Value {
        let request: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let method = request["method"].as_str().unwrap_or_default();
        let mut answer = json!({"id": request["id"], "src": Self::realm(&lock(&self.inner)), "dst": request["src"]});
        if method != "Shelly.GetDeviceInfo"
            && let Some(challenge) = self.refuse_frame(&request["auth"])
        {
            answer["error"] = json!({"code": 401, "message": challenge});
            return answer;
        }
        let none = Map::new();
        match self.rpc(method, request["params"].as_object().unwrap_or(&none)) {
            Ok(result) => answer["result"] = result,
            Err((code, message)) => answer["error"] = json!({"code": code, "message": message}),
        }
        answer
    }

    /// The challenge as a text of JSON, unless the frame answers it.
    fn refuse_frame(&self, auth: &Value) -> Option<String> {
        let inner = lock(&self.inner);
        let password = inner.password.as_deref()?;
        let (realm, nonce) = (Self::realm(&inner), inner.nonce);
        let secret = hash(&format!("admin:{realm}:{password}"));
        let request = hash("dummy_method:dummy_uri");
        let (count, cnonce) = (&auth["nc"], auth["cnonce"].as_str().unwrap_or_default());
        let expected = hash(&format!("{secret}:{nonce}:{count}:{cnonce}:auth:{request}"));
        if auth["response"] == json!(expected) {
            return None;
        }
        let challenge = json!({"auth_type": "digest", "nonce": nonce, "nc": 1, "realm": realm, "algorithm": "SHA-256"});
        Some(challenge.to_string())
    }
}

async fn talk(state: Arc<State>, mut socket: Socket) {
    let mut notices = state.notices.subscribe();
    // Notices go to nobody before his first request has said who he is.
    let mut listener = None;
    loop {
        let text = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let request: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                    listener = request["src"].as_str().map(str::to_owned).or(listener);
                    state.frame(&text).to_string()
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            notice = notices.recv() => match (notice, &listener) {
                (Ok(notice), Some(listener)) => {
                    let mut notice: Value = serde_json::from_str(&notice).unwrap_or(Value::Null);
                    notice["src"] = json!(State::realm(&lock(&state.inner)));
                    notice["dst"] = json!(listener);
                    notice.to_string()
                }
                (Err(broadcast::error::RecvError::Closed), _) => return,
                _ => continue,
            },
        };
        if socket.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}

fn base64(text: &str) -> String {
    crate::link::http::base64(text.as_bytes())
}

//! A HomeWizard device: API version 1 over HTTP, version 2 over HTTPS with a WebSocket.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ServerConfig;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;

use crate::codec::p1;

use super::{Call, Device, HttpFault, Listening, Socket, empty, json as answer_json, listen, lock, web_socket};

/// Requests that are remembered; older ones are forgotten.
const REQUESTS: usize = 1000;
/// The token that pairing gives.
const TOKEN: &str = "0123456789ABCDEF0123456789ABCDEF";

/// A HomeWizard device on a loopback port; gone when dropped.
#[derive(Debug)]
pub struct HomeWizard {
    state: Arc<State>,
    listening: Listening,
}

#[derive(Debug)]
struct State {
    inner: Mutex<Inner>,
    pushes: broadcast::Sender<String>,
}

/// What version 1 passes on.
#[derive(Debug)]
enum Telegram {
    /// A second later with each question.
    Moving,
    Fixed(Vec<u8>),
    Missing,
}

#[derive(Debug)]
struct Inner {
    version: u8,
    info: Value,
    data: Value,
    telegram: Telegram,
    telegrams: u32,
    fault: HttpFault,
    requests: Vec<String>,
    users: Vec<String>,
    button: bool,
    sockets: bool,
    disabled: bool,
}

impl HomeWizard {
    async fn start(version: u8, info: Value, data: Value, tls: Option<ServerConfig>) -> io::Result<Self> {
        let inner = Inner {
            version,
            info,
            data,
            telegram: Telegram::Moving,
            telegrams: 0,
            fault: HttpFault::None,
            requests: Vec::new(),
            users: Vec::new(),
            button: false,
            sockets: true,
            disabled: false,
        };
        let (pushes, _) = broadcast::channel(16);
        let state = Arc::new(State { inner: Mutex::new(inner), pushes });
        let tls = tls.map(|it| TlsAcceptor::from(Arc::new(it)));
        Ok(Self { listening: listen(Arc::clone(&state), tls).await?, state })
    }

    /// A P1 meter on three phases with a gas meter, API version 1.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn p1_v1() -> io::Result<Self> {
        let data = json!({"wifi_ssid": "home", "wifi_strength": 82, "smr_version": 50, "meter_model": "ISKRA 2M550T-101",
            "unique_id": "00112233445566778899AABBCCDDEEFF", "active_tariff": 2,
            "total_power_import_kwh": 13779.338, "total_power_import_t1_kwh": 10830.511,
            "total_power_import_t2_kwh": 2948.827, "total_power_export_kwh": 1234.111,
            "total_power_export_t1_kwh": 1000.1, "total_power_export_t2_kwh": 234.011,
            "active_power_w": -543.0, "active_power_l1_w": -676.0, "active_power_l2_w": 133.0, "active_power_l3_w": 0.0,
            "active_voltage_l1_v": 231.1, "active_voltage_l2_v": 230.0, "active_voltage_l3_v": 229.8,
            "active_current_l1_a": -4.0, "active_current_l2_a": 2.0, "active_current_l3_a": 0.0,
            "active_power_average_w": 123.0, "montly_power_peak_w": 1111.0,
            "montly_power_peak_timestamp": 230_101_080_010_u64, "total_gas_m3": 2569.646,
            "gas_timestamp": 210_606_140_010_u64, "gas_unique_id": "4730303338353635343438363034363137",
            "external": [{"unique_id": "4730303338353635343438363034363137", "type": "gas_meter",
                "timestamp": 210_606_140_010_u64, "value": 2569.646, "unit": "m3"}]});
        Self::start(1, Self::info("HWE-P1", "P1 Meter", "v1", "5.18"), data, None).await
    }

    /// A kWh meter of one phase that exports, API version 1.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn kwh1_v1() -> io::Result<Self> {
        let data = json!({"wifi_ssid": "home", "wifi_strength": 70, "total_power_import_kwh": 2.705,
            "total_power_import_t1_kwh": 2.705, "total_power_export_kwh": 255.551, "total_power_export_t1_kwh": 255.551,
            "active_power_w": -1058.296, "active_power_l1_w": -1058.296, "active_voltage_v": 228.472,
            "active_current_a": 4.632, "active_apparent_power_va": 1058.4, "active_reactive_power_var": -58.612,
            "active_power_factor": 0.998, "active_frequency_hz": 50.0});
        Self::start(1, Self::info("HWE-KWH1", "kWh meter 1-phase", "v1", "3.06"), data, None).await
    }

    /// A P1 meter on three phases, API version 2; `tls` holds its certificate.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn p1_v2(tls: ServerConfig) -> io::Result<Self> {
        let data = json!({"protocol_version": 50, "meter_model": "ISKRA 2M550T-101",
            "unique_id": "00112233445566778899AABBCCDDEEFF", "timestamp": "2024-06-28T14:12:34", "tariff": 2,
            "energy_import_kwh": 13779.338, "energy_import_t1_kwh": 10830.511, "energy_import_t2_kwh": 2948.827,
            "energy_export_kwh": 1234.111, "energy_export_t1_kwh": 1000.1, "energy_export_t2_kwh": 234.011,
            "power_w": -543, "power_l1_w": -676, "power_l2_w": 133, "power_l3_w": 0, "voltage_l1_v": 231.1,
            "voltage_l2_v": 230.0, "voltage_l3_v": 229.8, "current_a": 6, "current_l1_a": -4, "current_l2_a": 2,
            "current_l3_a": 0, "average_power_15m_w": 123.0, "monthly_power_peak_w": 1111.0,
            "monthly_power_peak_timestamp": "2024-06-04T10:11:22",
            "external": [{"unique_id": "4730303338353635343438363034363137", "type": "gas_meter",
                "timestamp": "2024-06-28T14:00:00", "value": 2569.646, "unit": "m3"}]});
        Self::start(2, Self::info("HWE-P1", "P1 Meter", "2.2.0", "6.00"), data, Some(tls)).await
    }

    fn info(product_type: &str, name: &str, api: &str, firmware: &str) -> Value {
        json!({"product_type": product_type, "product_name": name, "serial": "5c2fafaabbcc",
            "firmware_version": firmware, "api_version": api})
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// What goes wrong from now on.
    pub fn fault(&self, fault: HttpFault) {
        lock(&self.state.inner).fault = fault;
    }

    /// The button: a token may be asked for.
    pub fn press_button(&self) {
        lock(&self.state.inner).button = true;
    }

    /// The local API is switched off in the app.
    pub fn disable(&self) {
        lock(&self.state.inner).disabled = true;
    }

    /// Whether the WebSocket is served; version 2 without it is what a browned-out device looks like.
    pub fn allow_sockets(&self, allowed: bool) {
        lock(&self.state.inner).sockets = allowed;
    }

    /// Changes a value, and pushes the measurement to those who subscribed.
    pub fn set(&self, key: &str, value: Value) {
        let mut inner = lock(&self.state.inner);
        inner.data[key] = value;
        // Nobody may be listening.
        let _ = self.state.pushes.send(json!({"type": "measurement", "data": inner.data}).to_string());
    }

    /// A kWh meter of one phase at an inverter that gives this power (W) and has given this energy (Wh).
    pub fn produces(&self, power: f64, voltage: f64, energy: f64) {
        let mut inner = lock(&self.state.inner);
        for (key, value) in [
            ("active_power_w", -power),
            ("active_power_l1_w", -power),
            ("active_voltage_v", voltage),
            ("active_current_a", power / voltage),
            ("active_apparent_power_va", power),
            ("active_reactive_power_var", 0.0),
            ("active_power_factor", 1.0),
            ("total_power_export_kwh", energy / 1000.0),
            ("total_power_export_t1_kwh", energy / 1000.0),
        ] {
            inner.data[key] = json!((value * 1000.0).round() / 1000.0);
        }
    }

    /// The telegram that version 1 passes on from now on, by its lines.
    pub fn telegram(&self, lines: &[&str]) {
        lock(&self.state.inner).telegram = Telegram::Fixed(p1::encode("/GKT5TEST", lines));
    }

    /// Version 1 passes no telegram on from now on.
    pub fn no_telegrams(&self) {
        lock(&self.state.inner).telegram = Telegram::Missing;
    }

    /// Takes a value out.
    pub fn remove(&self, key: &str) {
        if let Some(data) = lock(&self.state.inner).data.as_object_mut() {
            data.remove(key);
        }
    }

    /// Names of those who were given a token, each once: a second token for one name ends the first.
    #[must_use]
    pub fn users(&self) -> Vec<String> {
        lock(&self.state.inner).users.clone()
    }

    /// Method, path and query of the last thousand requests.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.inner).requests.clone()
    }
}

impl Inner {
    fn pass_on(&mut self) -> Response {
        let telegram = match &self.telegram {
            Telegram::Moving => {
                self.telegrams += 1;
                let (minutes, second) = (self.telegrams / 60, self.telegrams % 60);
                let time = format!("0-0:1.0.0(240702{:02}{:02}{second:02}S)", minutes / 60 % 24, minutes % 60);
                p1::encode("/GKT5TEST", [&time, "1-0:1.7.0(01.000*kW)"])
            }
            Telegram::Fixed(telegram) => telegram.clone(),
            Telegram::Missing => return empty(StatusCode::NOT_FOUND),
        };
        Response::new(Body::from(telegram))
    }
}

impl Device for State {
    fn fault(&self) -> HttpFault {
        lock(&self.inner).fault
    }

    fn answer(self: &Arc<Self>, call: Call) -> Response {
        let mut inner = lock(&self.inner);
        if inner.requests.len() == REQUESTS {
            inner.requests.remove(0);
        }
        inner.requests.push(format!("{} {}", call.method, call.uri));
        if inner.disabled {
            return answer_json(403, &json!({"error": {"id": 202, "description": "API not enabled"}}));
        }
        if inner.version == 1 {
            return match call.path() {
                "/api" => answer_json(200, &inner.info),
                "/api/v1/data" => answer_json(200, &inner.data),
                "/api/v1/telegram" if inner.info["product_type"] == "HWE-P1" => inner.pass_on(),
                _ => empty(StatusCode::NOT_FOUND),
            };
        }
        if (call.method.as_str(), call.path()) == ("POST", "/api/user") {
            if !inner.button {
                return answer_json(403, &json!({"error": "user:creation-not-enabled"}));
            }
            let asked: Map<String, Value> = serde_json::from_slice(&call.body).unwrap_or_default();
            return match asked.get("name").and_then(Value::as_str) {
                Some(name) if name.starts_with("local/") => {
                    inner.users.retain(|it| it != name);
                    inner.users.push(name.to_owned());
                    answer_json(200, &json!({"name": name, "token": TOKEN}))
                }
                _ => answer_json(400, &json!({"error": "json:parameter-missing:name"})),
            };
        }
        if call.path() == "/api/ws" && call.upgrade.is_some() && inner.sockets {
            drop(inner);
            let state = Arc::clone(self);
            return web_socket(call, |socket| talk(state, socket)).unwrap_or_else(|| empty(StatusCode::BAD_REQUEST));
        }
        if call.header(header::AUTHORIZATION) != Some(format!("Bearer {TOKEN}").as_str()) {
            return answer_json(401, &json!({"error": "user:unauthorized"}));
        }
        // The maker's own library sends no such header: a device does without.
        if call.headers.get("x-api-version").is_some_and(|it| it != "2") {
            return answer_json(400, &json!({"error": "request:api-version-not-supported"}));
        }
        match call.path() {
            "/api" => answer_json(200, &inner.info),
            "/api/measurement" => answer_json(200, &inner.data),
            _ => answer_json(404, &json!({"error": "request:not-found"})),
        }
    }
}

async fn talk(state: Arc<State>, mut socket: Socket) {
    let mut pushes = state.pushes.subscribe();
    let (mut trusted, mut subscribed) = (false, false);
    let mut say = Some(json!({"type": "authorization_requested", "data": {"api_version": "2.0.0"}}).to_string());
    loop {
        if let Some(text) = say.take()
            && socket.send(Message::text(text)).await.is_err()
        {
            return;
        }
        tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                let message: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                say = match (message["type"].as_str(), &message["data"]) {
                    (Some("authorization"), token) => {
                        trusted = token == TOKEN;
                        Some(if trusted { json!({"type": "authorized"}) } else {
                            json!({"type": "error", "data": {"message": "user:unauthorized"}})
                        }.to_string())
                    }
                    (Some("subscribe"), topic) if trusted && topic == "measurement" => {
                        subscribed = true;
                        Some(json!({"type": "measurement", "data": lock(&state.inner).data}).to_string())
                    }
                    _ => Some(json!({"type": "error", "data": {"message": "request:unknown"}}).to_string()),
                };
            }
            push = pushes.recv() => match push {
                Ok(push) if subscribed && lock(&state.inner).fault == HttpFault::None => say = Some(push),
                Err(broadcast::error::RecvError::Closed) => return,
                _ => {}
            },
        }
    }
}

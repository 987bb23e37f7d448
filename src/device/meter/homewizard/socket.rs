//! The WebSocket of API version 2: the device pushes each measurement as the meter gives it.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::Error;
use crate::codec::homewizard::{self as codec, Measurement, Push};
use crate::config::model::Secret;
use crate::link::http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use crate::link::http::{self, Client, Upgraded};

/// A measurement with all its meters is under 4 KiB.
const LONGEST: usize = 64 * 1024;
/// The device itself allows 40 s for the login.
const LOGIN_PATIENCE: Duration = Duration::from_secs(5);

/// An open WebSocket that is subscribed to measurements.
#[derive(Debug)]
pub(super) struct Socket(WebSocketStream<Upgraded>);

impl Socket {
    /// Opens, logs in and subscribes.
    pub(super) async fn open(http: &mut Client, token: &Secret) -> Result<Self, Error> {
        let key = generate_key();
        let expected = derive_accept_key(key.as_bytes());
        let key = HeaderValue::try_from(key).map_err(|_| Error::Refused("no key for the WebSocket".to_owned()))?;
        let headers = HeaderMap::from_iter([
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (SEC_WEBSOCKET_KEY, key),
        ]);
        let (answer, upgraded) = http.upgrade("/api/ws", headers).await?;
        if answer.get(SEC_WEBSOCKET_ACCEPT).is_none_or(|it| it.as_bytes() != expected.as_bytes()) {
            return Err(Error::Refused("the answer to the WebSocket handshake is wrong".to_owned()));
        }
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let mut socket = Self(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await);
        let login = async {
            loop {
                match codec::push(socket.text().await?.as_bytes())? {
                    Push::AuthorizationRequested => {
                        socket.say(json!({"type": "authorization", "data": token.reveal()}).to_string()).await?;
                    }
                    Push::Authorized => {
                        return socket.say(json!({"type": "subscribe", "data": "measurement"}).to_string()).await;
                    }
                    Push::Refused(why) => return Err(Error::Refused(format!("the token is not accepted: {why}"))),
                    Push::Measurement(_) | Push::Other => {}
                }
            }
        };
        timeout(LOGIN_PATIENCE, login).await.unwrap_or(Err(http::Error::Timeout(LOGIN_PATIENCE).into()))?;
        Ok(socket)
    }

    /// The next measurement.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Measurement, Error> {
        let work = async {
            loop {
                match codec::push(self.text().await?.as_bytes())? {
                    Push::Measurement(measurement) => return Ok(*measurement),
                    Push::Refused(why) => return Err(Error::Refused(why)),
                    _ => {}
                }
            }
        };
        timeout(patience, work).await.unwrap_or(Err(http::Error::Timeout(patience).into()))
    }

    async fn text(&mut self) -> Result<Utf8Bytes, Error> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(http::Error::Link("the WebSocket was closed".to_owned()).into());
                }
                // Pings are answered by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(http::Error::Link(error.to_string()).into()),
            }
        }
    }

    async fn say(&mut self, text: String) -> Result<(), Error> {
        self.0.send(Message::text(text)).await.map_err(|error| http::Error::Link(error.to_string()).into())
    }
}

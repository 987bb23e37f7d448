//! HTTP to devices on the local network: one connection per device, kept open, everything bounded.
//!
//! The one place that names the HTTP client crate. Redirects and proxies are not followed: a meter has neither, and a
//! login must not travel to somebody else. Requests to one device go out one after another, because small devices
//! serve few connections and a Digest login counts its requests.

mod error;
mod pin;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use crate::codec::http_auth::{self, Challenge, Credentials, Scheme};
use crate::config::model::{HttpAddress, Secret};

pub use error::Error;
pub use pin::{Pin, Seen};
pub use reqwest::{Method, Upgraded, header};

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the connection to stand.
    pub connect: Duration,
    /// For one request from its first byte to the last of the answer.
    pub total: Duration,
    /// Bytes of an answer's body.
    pub body: usize,
}

impl Default for Limits {
    /// A meter in the same house answers within a tenth of a second; the largest answer that is read is the whole
    /// status of a Shelly with four channels, under 8 KiB.
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), total: Duration::from_secs(3), body: 64 * 1024 }
    }
}

/// How we show who we are.
#[derive(Clone, Debug)]
pub enum Login {
    /// Not at all.
    None,
    /// Basic or Digest, as the device asks.
    Password {
        /// User.
        username: String,
        /// Never printed.
        password: Secret,
    },
    /// `Authorization: Bearer …`
    Token(Secret),
}

/// Whom TLS believes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Nobody: plain HTTP only.
    Nobody,
    /// Servers with a certificate for their name, signed by one of these authorities (PEM); `None`: by one that the
    /// system believes.
    Authorities(Option<String>),
    /// The device with this public key.
    Pinned(Pin),
    /// Whoever answers; what is seen of him is kept. For pairing alone, where a person stands in front of the device.
    Anybody(Seen),
}

/// An answer that came whole and in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 and the like.
    pub status: u16,
    /// At most [`Limits::body`] bytes.
    pub body: Vec<u8>,
}

/// A link to one device.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    login: Login,
    limits: Limits,
    proven: Option<Proven>,
    digest_only: bool,
    provider: Arc<CryptoProvider>,
}

/// What the last challenge asked for.
#[derive(Debug)]
enum Proven {
    Basic,
    Digest { challenge: Challenge, count: u32 },
}

impl Client {
    /// A link that is not opened yet; requests open it.
    ///
    /// # Errors
    /// When the TLS library refuses its own settings.
    pub fn new(address: &HttpAddress, login: Login, trust: Trust, limits: Limits) -> Result<Self, Error> {
        // Given explicitly: without an installed provider the crate would panic.
        let provider = Arc::new(ring::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls(error.to_string()))?;
        let tls = match trust {
            Trust::Nobody => tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
            Trust::Authorities(pem) => tls.with_root_certificates(authorities(pem.as_deref())?).with_no_client_auth(),
            Trust::Pinned(pin) => tls
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(pin::Verifier::pinned(pin, &provider)))
                .with_no_client_auth(),
            Trust::Anybody(seen) => tls
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(pin::Verifier::seeing(seen, &provider)))
                .with_no_client_auth(),
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(limits.connect)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true)
            .http1_max_headers(64)
            .user_agent(concat!("gridkeeper/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::of(&error))?;
        Ok(Self { http, base: address.to_string(), login, limits, proven: None, digest_only: false, provider })
    }

    /// Where it leads, for messages.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.base
    }

    /// From now on the password is shown to nobody who asks for it as it is (Basic). This holds by itself once the
    /// device has asked for a Digest login: who asks for less later is not that device.
    pub fn refuse_basic(&mut self) {
        self.digest_only = true;
        if matches!(self.proven, Some(Proven::Basic)) {
            self.proven = None;
        }
    }

    /// The body of a successful answer. `uri` is path and query.
    ///
    /// # Errors
    /// See [`Error`]; any status but 2xx is one.
    pub async fn get(&mut self, uri: &str) -> Result<Vec<u8>, Error> {
        let answer = self.send(Method::GET, uri, HeaderMap::new(), None).await?;
        match answer.status {
            200..=299 => Ok(answer.body),
            status => Err(Error::Status { status, body: answer.body }),
        }
    }

    /// An answer of whatever status but 401, which is the error [`Error::Login`]. A body is sent as JSON unless
    /// `headers` say otherwise.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(
        &mut self,
        method: Method,
        uri: &str,
        headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Answer, Error> {
        let total = self.limits.total;
        timeout(total, self.exchange(method, uri, headers, body)).await.unwrap_or(Err(Error::Timeout(total)))
    }

    /// Changes the protocol of a connection of its own (RFC 9110, section 7.8).
    ///
    /// # Errors
    /// See [`Error`]; any status but 101 is [`Error::Status`].
    pub async fn upgrade(&mut self, uri: &str, headers: HeaderMap) -> Result<(HeaderMap, Upgraded), Error> {
        let total = self.limits.total;
        let work = async {
            let response = self.request(&Method::GET, uri, headers, None).await?;
            let status = response.status();
            if status != StatusCode::SWITCHING_PROTOCOLS {
                return Err(Error::Status { status: status.as_u16(), body: Vec::new() });
            }
            let headers = response.headers().clone();
            Ok((headers, response.upgrade().await.map_err(|error| Error::of(&error))?))
        };
        timeout(total, work).await.unwrap_or(Err(Error::Timeout(total)))
    }

    async fn exchange(
        &mut self,
        method: Method,
        uri: &str,
        headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Answer, Error> {
        let response = self.request(&method, uri, headers.clone(), body.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.answer(response).await;
        }
        let Login::Password { .. } = self.login else {
            let hint = match self.login {
                Login::Token(_) => "the token is not accepted: pair again",
                _ => "a login is wanted: set username and password_file",
            };
            return Err(Error::Login(hint.to_owned()));
        };
        let first = self.proven.is_none();
        match challenge(response.headers())? {
            Proven::Basic if self.digest_only => {
                let hint = "who answers asks for the password in clear, which this device does not: nothing was sent";
                return Err(Error::Login(hint.to_owned()));
            }
            Proven::Basic => self.proven = Some(Proven::Basic),
            digest @ Proven::Digest { .. } => {
                self.digest_only = true;
                self.proven = Some(digest);
            }
        }
        // Read to its end, so that the connection can be used again.
        self.answer(response).await?;
        let response = self.request(&method, uri, headers, body).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.proven = None;
            let when = if first { "" } else { " any more" };
            return Err(Error::Login(format!("username or password are not accepted{when}")));
        }
        self.answer(response).await
    }

    async fn request(
        &mut self,
        method: &Method,
        uri: &str,
        mut headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Response, Error> {
        if let Some(value) = self.authorization(method, uri)? {
            headers.insert(AUTHORIZATION, value);
        }
        let said = headers.contains_key(CONTENT_TYPE);
        let mut request = self.http.request(method.clone(), format!("{}{uri}", self.base)).headers(headers);
        if let Some(body) = body {
            if !said {
                request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            request = request.body(body);
        }
        request.send().await.map_err(|error| Error::of(&error))
    }

    fn authorization(&mut self, method: &Method, uri: &str) -> Result<Option<HeaderValue>, Error> {
        let text = match (&self.login, &mut self.proven) {
            (Login::None, _) | (Login::Password { .. }, None) => return Ok(None),
            (Login::Token(token), _) => format!("Bearer {}", token.reveal()),
            (Login::Password { username, password }, Some(Proven::Basic)) => {
                format!("Basic {}", base64(format!("{username}:{}", password.reveal()).as_bytes()))
            }
            (Login::Password { username, password }, Some(Proven::Digest { challenge, count })) => {
                let mut random = [0; 16];
                self.provider
                    .secure_random
                    .fill(&mut random)
                    .map_err(|_| Error::Tls("the system gives no random numbers".to_owned()))?;
                let count_now = *count;
                *count = count.wrapping_add(1).max(1);
                let who = Credentials { username, password: password.reveal() };
                challenge.answer(who, method.as_str(), uri, count_now, &http_auth::hex(&random))
            }
        };
        let mut value =
            HeaderValue::try_from(text).map_err(|_| Error::Login("the login cannot be written in a header".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn answer(&self, mut response: Response) -> Result<Answer, Error> {
        let status = response.status().as_u16();
        let limit = self.limits.body;
        if response.content_length().is_some_and(|it| it > limit as u64) {
            return Err(Error::TooLong(limit));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Error::of(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(Error::TooLong(limit));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

/// The first challenge that can be answered; a Digest before Basic.
fn challenge(headers: &HeaderMap) -> Result<Proven, Error> {
    let mut basic = false;
    let mut why = None;
    for header in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|it| it.to_str().ok()) {
        match http_auth::scheme(header) {
            Ok(Scheme::Digest(challenge)) => return Ok(Proven::Digest { challenge, count: 1 }),
            Ok(Scheme::Basic) => basic = true,
            Err(error) => why = Some(error),
        }
    }
    match (basic, why) {
        (true, _) => Ok(Proven::Basic),
        (false, Some(why)) => Err(Error::Login(why.to_string())),
        (false, None) => Err(Error::Login("the device refuses (401) without saying what login it wants".to_owned())),
    }
}

/// Those of a PEM file, else those of the system. A certificate that cannot be read is passed over where others can be.
fn authorities(pem: Option<&str>) -> Result<RootCertStore, Error> {
    let certificates: Vec<_> = match pem {
        Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut store = RootCertStore::empty();
    match store.add_parsable_certificates(certificates) {
        (0, _) if pem.is_some() => Err(Error::Tls("ca_file holds no certificate that can be read".to_owned())),
        (0, _) => Err(Error::Tls("the system knows no authorities (is ca-certificates installed?)".to_owned())),
        _ => Ok(store),
    }
}

/// RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

//! The direct writer: `/write` of InfluxDB 1, `/api/v2/write` of InfluxDB 1.8 to 3, both also VictoriaMetrics'
//! (docs.influxdata.com, "Write data with the API").

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::buffer::{Batch, Buffer};
use super::collect::Collector;
use crate::clock::Clock;
use crate::config::model::{Influx, InfluxApi};
use crate::link::backoff::Backoff;
use crate::link::http::{Client, Error, Limits, Login, Method, Trust};
use crate::status::Snapshot;

/// A database on a small machine may be busy with itself for seconds.
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(20), body: 64 * 1024 };
/// For what is left at an orderly stop.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// What the page shows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InfluxStatus {
    /// As configured; empty without a writer.
    pub url: String,
    /// What is wrong. `None` while all is well.
    pub problem: Option<String>,
    /// Lines that the database took.
    pub written: u64,
    /// Lines that wait.
    pub waiting: u64,
    /// Lines lost: the database was away for too long, or refused them.
    pub dropped: u64,
}

/// Why a batch was not written.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// It will be next time, perhaps.
    Later(String),
    /// It never will.
    Never(String),
}

/// Writes until `cancel`.
pub(crate) async fn run(
    options: &Influx,
    mut collector: Collector,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    clock: Clock,
    status: &watch::Sender<InfluxStatus>,
    cancel: CancellationToken,
) {
    status.send_modify(|it| it.url = options.address.to_string());
    let mut writer = match Writer::new(options) {
        Ok(writer) => writer,
        Err(problem) => {
            tracing::error!("InfluxDB is off: {problem}");
            status.send_modify(|it| it.problem = Some(problem));
            return;
        }
    };
    let (buffer, filled) = (Mutex::new(Buffer::default()), Notify::new());
    let gather = async {
        let mut ticks = interval(options.interval.to_std().max(Duration::from_millis(50)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(snapshot) = snapshots.borrow().clone() else { continue };
            let lines = collector.collect(&snapshot, clock.now());
            lock(&buffer).push(lines);
            show(status, &buffer, 0, None);
            filled.notify_one();
        }
    };
    let send = async {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let mut told = false;
        loop {
            let Some(batch) = lock(&buffer).batch() else {
                filled.notified().await;
                continue;
            };
            let pause = match writer.write(&batch).await {
                Ok(()) => {
                    let written = lock(&buffer).forget(batch.end);
                    backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
                    show(status, &buffer, written, Some(None));
                    if std::mem::take(&mut told) {
                        tracing::info!("InfluxDB takes lines again");
                    }
                    continue;
                }
                Err(Refused::Never(problem)) => {
                    lock(&buffer).drop_until(batch.end);
                    tracing::warn!("InfluxDB refuses lines, which are dropped: {problem}");
                    show(status, &buffer, 0, Some(Some(problem)));
                    // One of many lines may be wrong in the same way each time: not a message with each of them.
                    backoff.next()
                }
                Err(Refused::Later(problem)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!("InfluxDB: {problem}; lines wait");
                    }
                    show(status, &buffer, 0, Some(Some(problem)));
                    backoff.next()
                }
            };
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = gather => {}
        () = send => {}
        () = cancel.cancelled() => {}
    }
    let last = lock(&buffer).batch();
    if let Some(batch) = last {
        // Whether it comes through or not: this is the end.
        let _ = timeout(LAST_CHANCE, writer.write(&batch)).await;
    }
}

/// `problem`: as it is from now on, or `None` to leave it.
fn show(status: &watch::Sender<InfluxStatus>, buffer: &Mutex<Buffer>, written: u64, problem: Option<Option<String>>) {
    let (waiting, dropped) = {
        let buffer = lock(buffer);
        (buffer.len(), buffer.dropped())
    };
    status.send_modify(|it| {
        it.written += written;
        (it.waiting, it.dropped) = (waiting, dropped);
        if let Some(problem) = problem {
            it.problem = problem;
        }
    });
}

fn lock(buffer: &Mutex<Buffer>) -> std::sync::MutexGuard<'_, Buffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Writer {
    client: Client,
    uri: String,
    headers: HeaderMap,
}

impl Writer {
    fn new(options: &Influx) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let bucket = escaped(&options.bucket);
        let (uri, login) = match &options.api {
            InfluxApi::V1 { login } => {
                let login = login.clone().map(|(username, password)| Login::Password { username, password });
                (format!("/write?db={bucket}"), login.unwrap_or(Login::None))
            }
            InfluxApi::V2 { org, token } => {
                if let Some(token) = token {
                    // The scheme is `Token`, which versions 1.8 to 3 all know.
                    let mut value = HeaderValue::try_from(format!("Token {}", token.reveal()))
                        .map_err(|_| "the token cannot be written in a header".to_owned())?;
                    value.set_sensitive(true);
                    headers.insert(AUTHORIZATION, value);
                }
                (format!("/api/v2/write?org={}&bucket={bucket}", escaped(org)), Login::None)
            }
        };
        let trust = if options.address.tls { Trust::Authorities(options.ca_pem.clone()) } else { Trust::Nobody };
        let client = Client::new(&options.address, login, trust, LIMITS).map_err(|error| error.to_string())?;
        Ok(Self { client, uri, headers })
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), Refused> {
        let answer = self.client.send(Method::POST, &self.uri, self.headers.clone(), Some(batch.text.clone())).await;
        match answer {
            Ok(answer) => judge(answer.status, &answer.body),
            Err(Error::Login(_)) => Err(Refused::Later("the token or login is not accepted (401)".to_owned())),
            Err(error @ Error::Tls(_)) => {
                let hint = "[influx] ca_file names who signed its certificate, which must be for the host of `url`";
                Err(Refused::Later(format!("{error}; {hint}")))
            }
            Err(error) => Err(Refused::Later(error.to_string())),
        }
    }
}

/// What an answer means for the batch.
fn judge(status: u16, body: &[u8]) -> Result<(), Refused> {
    let why = || {
        let body: String = String::from_utf8_lossy(body).chars().filter(|it| !it.is_control()).take(200).collect();
        format!("it answers {status} {body}")
    };
    match status {
        200..=299 => Ok(()),
        // The lines themselves are wrong, or too many at a time.
        400 | 413 | 422 => Err(Refused::Never(why())),
        // A person can put right what is missing or forbidden; the server gets well by itself.
        _ => Err(Refused::Later(why())),
    }
}

/// For a query (RFC 3986, section 2.1).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_lines_are_given_up() {
        assert_eq!(judge(204, b""), Ok(()));
        assert!(matches!(judge(400, b"field type conflict"), Err(Refused::Never(why)) if why.contains("conflict")));
        for status in [301, 401, 403, 404, 429, 500, 503] {
            assert!(matches!(judge(status, b"\n"), Err(Refused::Later(_))), "{status}");
        }
    }

    #[test]
    fn a_bucket_may_have_any_name() {
        assert_eq!(escaped("grid keeper/autogen&x=é"), "grid%20keeper%2Fautogen%26x%3D%C3%A9");
    }
}

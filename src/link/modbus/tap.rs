//! The stream under tokio-modbus, with an ear on it: it is drained before a request, and what came is kept for the
//! check and for the text of the error.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

/// More than any Modbus frame.
const KEPT: usize = 300;

#[derive(Debug)]
pub(crate) enum Raw {
    Serial(SerialStream),
    Tcp(TcpStream),
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

#[derive(Debug)]
struct Inner {
    raw: Raw,
    sent: Vec<u8>,
    received: Vec<u8>,
    received_total: usize,
    ended: bool,
    failed: bool,
    active: Instant,
}

/// Both ends of it are used by the bus task only, one after the other, so the lock is never waited for.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    inner: Arc<Mutex<Inner>>,
}

/// What was heard while nothing was to be heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Thrown away.
    pub(crate) bytes: usize,
    /// The other side has ended or reset the stream.
    pub(crate) ended: bool,
    /// It did not become quiet.
    pub(crate) babbling: bool,
}

/// What travelled since `begin`.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
    pub(crate) total: usize,
    /// The stream has ended, or failed.
    pub(crate) ended: bool,
    /// … with an error of the system.
    pub(crate) failed: bool,
}

impl Tap {
    pub(crate) fn new(raw: Raw) -> Self {
        let inner = Inner {
            raw,
            sent: Vec::new(),
            received: Vec::new(),
            received_total: 0,
            ended: false,
            failed: false,
            active: Instant::now(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the last byte went either way.
    pub(crate) fn active(&self) -> Instant {
        self.lock().active
    }

    /// A silence is to be counted from here.
    pub(crate) fn touch(&self, now: Instant) {
        self.lock().active = now;
    }

    /// A request follows.
    pub(crate) fn begin(&self) {
        let mut inner = self.lock();
        inner.sent.clear();
        inner.received.clear();
        inner.received_total = 0;
    }

    /// Bytes since then.
    pub(crate) fn received(&self) -> usize {
        self.lock().received_total
    }

    pub(crate) fn heard(&self) -> Heard {
        let inner = self.lock();
        Heard {
            sent: inner.sent.clone(),
            received: inner.received.clone(),
            total: inner.received_total,
            ended: inner.ended,
            failed: inner.failed,
        }
    }

    /// Throws away what comes until the line has been quiet for `quiet` since the last byte either way, `longest` at
    /// most.
    pub(crate) async fn drain(&self, quiet: Duration, longest: Duration) -> Drained {
        let end = Instant::now() + longest;
        let mut drained = Drained::default();
        // Whatever the kernel holds by now is seen even when no silence is asked for.
        tokio::task::yield_now().await;
        loop {
            let mut bytes = [0; KEPT];
            let wait = self.active() + quiet;
            match timeout_at(wait.min(end), self.read(&mut bytes)).await {
                Ok(Ok(0)) | Ok(Err(_)) => {
                    drained.ended = true;
                    return drained;
                }
                Ok(Ok(count)) => {
                    drained.bytes += count;
                    if Instant::now() >= end {
                        drained.babbling = true;
                        return drained;
                    }
                }
                Err(_) => {
                    drained.babbling = wait > end;
                    return drained;
                }
            }
        }
    }

    /// What comes next.
    pub(crate) async fn read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(bytes);
            ready!(self.lock().poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
        .await
    }

    /// Empties the kernel's buffers of a serial port.
    pub(crate) fn clear(&self) {
        if let Raw::Serial(port) = &self.lock().raw
            && let Err(error) = port.clear(ClearBuffer::All)
        {
            tracing::debug!(%error, "a serial port's buffers could not be cleared");
        }
    }
}

impl Inner {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(match &mut self.raw {
            Raw::Serial(port) => Pin::new(port).poll_read(cx, buffer),
            Raw::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(test)]
            Raw::Memory(stream) => Pin::new(stream).poll_read(cx, buffer),
        });
        let fresh = &buffer.filled()[before..];
        let room = KEPT - self.received.len();
        self.received.extend_from_slice(&fresh[..fresh.len().min(room)]);
        self.received_total += fresh.len();
        if result.is_err() || fresh.is_empty() {
            self.ended = true;
            self.failed = result.is_err();
        } else {
            self.active = Instant::now();
        }
        Poll::Ready(result)
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        let written = ready!(match &mut inner.raw {
            Raw::Serial(port) => Pin::new(port).poll_write(cx, bytes),
            Raw::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(test)]
            Raw::Memory(stream) => Pin::new(stream).poll_write(cx, bytes),
        })?;
        let room = KEPT - inner.sent.len();
        inner.sent.extend_from_slice(&bytes[..written.min(room)]);
        inner.active = Instant::now();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().raw {
            // Flushing a serial port means tcdrain here, which blocks the thread until the last bit is out.
            Raw::Serial(_) => Poll::Ready(Ok(())),
            Raw::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(test)]
            Raw::Memory(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.lock().raw {
            Raw::Serial(_) => Poll::Ready(Ok(())),
            Raw::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(test)]
            Raw::Memory(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

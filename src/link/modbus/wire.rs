//! One open link: opening it, one guarded exchange on it, and leaving it so that nothing late is left behind.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_modbus::client::{Client, Context, rtu, tcp};
use tokio_modbus::slave::SlaveContext as _;
use tokio_modbus::{Error, ProtocolError, Slave};
use tokio_serial::DataBits;

use super::echo;
use super::error::{BusError, exception_name, hex};
use super::operation::{Operation, Reply};
use super::tap::{Drained, Raw, Tap};
use super::{BusConfig, SerialDefaults};
use crate::config::model::{Connection, Parity, SerialLine};
use crate::link::serial::{Parameters, SerialOpener};

/// A line that never falls silent is given up after this.
const LONGEST_DRAIN: Duration = Duration::from_millis(250);

/// Kinds of framing: in RTU a frame ends with silence and has a check sum, in TCP it has a header with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Rtu,
    Tcp,
}

impl Framing {
    /// Bytes around a PDU.
    fn envelope(self) -> usize {
        match self {
            Self::Rtu => 3,
            Self::Tcp => 7,
        }
    }
}

/// How long one character takes and how long a line must be silent between frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// One character on a serial line; zero elsewhere.
    pub(crate) character: Duration,
    /// Between two frames, the bus's own gap included.
    pub(crate) gap: Duration,
}

impl Pace {
    pub(crate) fn of(config: &BusConfig) -> Self {
        match &config.connection {
            Connection::Serial(line) => {
                let Parameters { baud, parity, stop, .. } = parameters(line, config.serial);
                let bits = 9 + u32::from(parity != Parity::None) + u32::from(stop);
                let character = Duration::from_secs(1) * bits / baud.max(1);
                // Modbus over serial line 1.02, 2.5.1.1: 3.5 characters, and 1.75 ms above 19200 baud.
                let silence = (character * 7 / 2).max(Duration::from_micros(1750));
                Self { character, gap: silence + config.gap }
            }
            Connection::Tcp { .. } | Connection::RtuOverTcp { .. } => {
                Self { character: Duration::ZERO, gap: config.gap }
            }
        }
    }

    /// Time that request and answer take on the wire.
    pub(crate) fn transfer(&self, operation: &Operation) -> Duration {
        let (request, answer) = operation.pdu_sizes();
        // Unit and check sum on both.
        self.character * u32::try_from(request + answer + 6).unwrap_or(u32::MAX)
    }
}

fn parameters(line: &SerialLine, defaults: SerialDefaults) -> Parameters {
    Parameters {
        baud: line.baud.unwrap_or(defaults.baud),
        data_bits: DataBits::Eight,
        parity: line.parity.unwrap_or(defaults.parity),
        stop: line.stop.unwrap_or(defaults.stop),
    }
}

/// Opens links.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    serial: SerialOpener,
}

impl Opener {
    /// A link that has been heard to be silent.
    pub(crate) async fn open(&mut self, config: &BusConfig, pace: Pace) -> io::Result<Link> {
        let (raw, framing) = match timeout(config.connect_timeout, self.raw(config)).await {
            Ok(opened) => opened?,
            Err(_) => {
                let waited = format!("no connection within {} ms", config.connect_timeout.as_millis());
                return Err(io::Error::new(io::ErrorKind::TimedOut, waited));
            }
        };
        let tap = Tap::new(raw);
        let mut drained = Drained::default();
        if framing == Framing::Rtu {
            tap.clear();
            drained = tap.drain(pace.gap, LONGEST_DRAIN).await;
            if drained.ended {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the other side closed the connection at once",
                ));
            }
        }
        // The unit is set before every request.
        let context = match framing {
            Framing::Rtu => rtu::attach(tap.clone()),
            Framing::Tcp => tcp::attach(tap.clone()),
        };
        Ok(Link { context, tap, framing, number: 0, answers: 0, discarded: drained.bytes })
    }

    async fn raw(&mut self, config: &BusConfig) -> io::Result<(Raw, Framing)> {
        #[cfg(test)]
        if let Some(wire) = &config.wire {
            return Ok((Raw::Memory(wire.open()), Framing::Tcp));
        }
        match &config.connection {
            Connection::Serial(line) => {
                let port = self.serial.open(&line.path, parameters(line, config.serial)).await?;
                Ok((Raw::Serial(port), Framing::Rtu))
            }
            Connection::Tcp { host, port } => Ok((Raw::Tcp(connect(host, *port).await?), Framing::Tcp)),
            Connection::RtuOverTcp { host, port } => Ok((Raw::Tcp(connect(host, *port).await?), Framing::Rtu)),
        }
    }
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A link in use. It is dropped after the first error.
pub(crate) struct Link {
    context: Context,
    tap: Tap,
    framing: Framing,
    /// Transaction of the last request that was not tokio-modbus's.
    number: u16,
    /// Good answers and refusals since it was opened.
    pub(crate) answers: u64,
    /// Bytes thrown away and not yet counted.
    pub(crate) discarded: usize,
}

impl Link {
    /// Waits for the silence before a request and throws away what does not belong there. `false`: the other side has
    /// closed the link.
    pub(crate) async fn settle(&mut self, gap: Duration) -> bool {
        let drained = self.tap.drain(gap, LONGEST_DRAIN).await;
        self.discarded += drained.bytes;
        if drained.babbling {
            tracing::debug!(bytes = drained.bytes, "the line does not fall silent");
        }
        !drained.ended
    }

    /// One request and its answer, checked. Any error but `Exception` means that this link must not be used again.
    pub(crate) async fn exchange(
        &mut self,
        unit: u8,
        operation: &Operation,
        limit: Duration,
    ) -> Result<Reply, BusError> {
        let result = self.raw_exchange(unit, operation, limit).await;
        let used = match &result {
            Ok(_) => operation.pdu_sizes().1 + self.framing.envelope(),
            Err(error) if error.is_exception() => 2 + self.framing.envelope(),
            Err(_) => 0,
        };
        self.discarded += self.tap.received().saturating_sub(used);
        self.answers += u64::from(used > 0);
        result
    }

    async fn raw_exchange(&mut self, unit: u8, operation: &Operation, limit: Duration) -> Result<Reply, BusError> {
        self.tap.begin();
        if let Operation::PulseCoil { address, tenths } = *operation {
            self.number = self.number.wrapping_add(1);
            return echo::exchange(&self.tap, self.framing, self.number, unit, [address, tenths], limit).await;
        }
        self.context.set_slave(Slave(unit));
        let outcome = timeout(limit, self.context.call(operation.request())).await;
        let heard = self.tap.heard();
        let received = || hex(&heard.received, heard.total);
        let asked = || operation.of(unit);
        let answer = match outcome {
            Err(_) => return Err(BusError::Timeout { asked: asked(), after: limit, received: received() }),
            Ok(Ok(answer)) => answer,
            // tokio-modbus reports an orderly end as whatever the last system error was, and bytes that are too few for
            // their function as an unexpected end: only the ear on the wire can tell.
            Ok(Err(Error::Transport(error))) => {
                return Err(if heard.ended || error.raw_os_error().is_some() {
                    let orderly = heard.ended && !heard.failed;
                    let why = if orderly { "closed by the other side".to_owned() } else { error.to_string() };
                    BusError::Broken { asked: asked(), why, received: received() }
                } else {
                    BusError::Garbled { asked: asked(), why: error.to_string(), received: received() }
                });
            }
            Ok(Err(Error::Protocol(ProtocolError::HeaderMismatch { .. }))) => {
                let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
                return Err(match (self.framing, number(&heard.sent), number(&heard.received)) {
                    (Framing::Tcp, Some(expected), Some(got)) if expected != got => {
                        BusError::WrongTransaction { asked: asked(), expected, got }
                    }
                    _ => BusError::WrongUnit { asked: asked(), expected: unit, received: received() },
                });
            }
            Ok(Err(Error::Protocol(ProtocolError::FunctionCodeMismatch { result, .. }))) => {
                let got = match &result {
                    Ok(response) => response.function_code().value(),
                    Err(exception) => exception.function.value() | 0x80,
                };
                return Err(BusError::WrongFunction { asked: asked(), expected: operation.function(), got });
            }
        };
        match answer {
            Ok(response) => operation.check(response).map_err(|mismatch| mismatch.into_error(asked())),
            Err(exception) => {
                let code = u8::from(exception);
                Err(BusError::Exception { asked: asked(), code, name: exception_name(code) })
            }
        }
    }

    /// Leaves the link: waits until nothing comes any more, empties the buffers and closes. Returns the bytes thrown
    /// away.
    pub(crate) async fn leave(self, quiet: Duration) -> usize {
        let Self { context, tap, framing, discarded, .. } = self;
        drop(context);
        let mut bytes = discarded;
        if framing == Framing::Rtu {
            // What has been sent or heard does not count: the silence begins now.
            tap.touch(Instant::now());
            bytes += tap.drain(quiet, LONGEST_DRAIN).await.bytes;
            tap.clear();
        }
        bytes
    }
}

//! A device, or several on one wire, written at the level of bytes, so that it can do all that a real one must not.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex};

use gridkeeper::config::model::{Connection, SerialLine};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_serial::{SerialPort, SerialStream};

/// Kinds of wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Modbus TCP.
    Tcp,
    /// RTU frames over TCP.
    RtuOverTcp,
    /// RTU over a pseudo-terminal.
    Serial,
}

pub(crate) const ALL: [Medium; 3] = [Medium::Tcp, Medium::RtuOverTcp, Medium::Serial];

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) medium: Medium,
    /// Counted from 0; a pseudo-terminal has one only.
    pub(crate) connection: usize,
    pub(crate) transaction: u16,
    pub(crate) unit: u8,
    pub(crate) pdu: Vec<u8>,
}

impl Ask {
    pub(crate) fn function(&self) -> u8 {
        self.pdu[0]
    }

    pub(crate) fn address(&self) -> u16 {
        u16::from_be_bytes([self.pdu[1], self.pdu[2]])
    }

    /// Count of a read, value of a single write.
    pub(crate) fn second(&self) -> u16 {
        u16::from_be_bytes([self.pdu[3], self.pdu[4]])
    }

    /// The frame with which this request is answered.
    pub(crate) fn frame(&self, pdu: &[u8]) -> Vec<u8> {
        frame(self.medium, self.transaction, self.unit, pdu)
    }

    /// What an honest device answers whose register at address a holds a, and whose writes all succeed.
    pub(crate) fn honest(&self) -> Vec<u8> {
        match self.function() {
            1 | 2 => {
                let bytes = self.second().div_ceil(8) as u8;
                let mut pdu = vec![self.function(), bytes];
                pdu.extend((0..bytes).map(|_| 0b0101_0101));
                pdu
            }
            3 | 4 => registers(self.function(), (0..self.second()).map(|offset| self.address().wrapping_add(offset))),
            _ => self.pdu[..5].to_vec(),
        }
    }
}

/// The answer to a read of registers.
pub(crate) fn registers(function: u8, values: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let data: Vec<u8> = values.into_iter().flat_map(u16::to_be_bytes).collect();
    let mut pdu = vec![function, data.len() as u8];
    pdu.extend(data);
    pdu
}

pub(crate) fn frame(medium: Medium, transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if medium == Medium::Tcp {
        bytes.extend(transaction.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend((pdu.len() as u16 + 1).to_be_bytes());
        bytes.push(unit);
        bytes.extend(pdu);
    } else {
        bytes.push(unit);
        bytes.extend(pdu);
        bytes.extend(crc(&bytes).to_le_bytes());
    }
    bytes
}

/// CRC-16/MODBUS.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    })
}

/// The same numbers below a bound for the same seed (xorshift).
pub(crate) fn moods(seed: u64) -> impl FnMut(u64) -> u64 + Send + 'static {
    let mut state = seed | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % below
    }
}

/// What the device does about a request.
pub(crate) enum Reaction {
    /// Sends this PDU in the right frame.
    Answer(Vec<u8>),
    /// Sends these bytes.
    Raw(Vec<u8>),
    /// Sends nothing.
    Silence,
    /// Sends these bytes and closes the connection.
    Cut(Vec<u8>),
    /// Answers honestly once it is told to.
    Hold(Arc<Notify>),
}

type Handler = Box<dyn FnMut(&Ask) -> Reaction + Send>;

/// A running device; it ends with this value.
pub(crate) struct Peer {
    pub(crate) connection: Connection,
    log: Arc<Mutex<Vec<Ask>>>,
    seen: watch::Receiver<usize>,
    task: JoinHandle<()>,
    /// Keeps a pseudo-terminal alive while nobody has it open.
    _keeper: Option<File>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    pub(crate) async fn start(medium: Medium, handler: impl FnMut(&Ask) -> Reaction + Send + 'static) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (count, seen) = watch::channel(0);
        let mut device = Device { medium, handler: Box::new(handler), log: Arc::clone(&log), count };
        if medium == Medium::Serial {
            let (mut master, keeper, path) = pseudo_terminal();
            let line = SerialLine { path: path.into(), baud: Some(115_200), parity: None, stop: None };
            let task = tokio::spawn(async move {
                device.converse(0, &mut master).await;
            });
            return Self { connection: Connection::Serial(line), log, seen, task, _keeper: Some(keeper) };
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = "127.0.0.1".to_owned();
        let task = tokio::spawn(async move {
            for index in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                stream.set_nodelay(true).unwrap();
                device.converse(index, &mut stream).await;
            }
        });
        let connection = match medium {
            Medium::Tcp => Connection::Tcp { host, port },
            _ => Connection::RtuOverTcp { host, port },
        };
        Self { connection, log, seen, task, _keeper: None }
    }

    /// Every request so far.
    pub(crate) fn log(&self) -> Vec<Ask> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn requests(&self, count: usize) {
        self.seen.clone().wait_for(|seen| *seen >= count).await.unwrap();
    }
}

/// Master, something that keeps the slave's end alive while nobody has it open, and its path.
pub(crate) fn pseudo_terminal() -> (SerialStream, File, String) {
    let (master, mut slave) = SerialStream::pair().unwrap();
    slave.set_exclusive(false).unwrap();
    let path = slave.name().unwrap();
    // The slave itself holds a lock on the file; a plain one does not.
    let keeper = File::options().read(true).custom_flags(nix::fcntl::OFlag::O_NOCTTY.bits()).open(&path).unwrap();
    (master, keeper, path)
}

struct Device {
    medium: Medium,
    handler: Handler,
    log: Arc<Mutex<Vec<Ask>>>,
    count: watch::Sender<usize>,
}

impl Device {
    /// Until the other side or the handler closes the connection.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&mut self, connection: usize, stream: &mut S) {
        while let Some(ask) = self.ask(connection, stream).await {
            self.log.lock().unwrap().push(ask.clone());
            self.count.send_modify(|count| *count += 1);
            let (bytes, close) = match (self.handler)(&ask) {
                Reaction::Answer(pdu) => (ask.frame(&pdu), false),
                Reaction::Raw(bytes) => (bytes, false),
                Reaction::Silence => (Vec::new(), false),
                Reaction::Cut(bytes) => (bytes, true),
                Reaction::Hold(release) => {
                    release.notified().await;
                    (ask.frame(&ask.honest()), false)
                }
            };
            if stream.write_all(&bytes).await.is_err() || close {
                return;
            }
        }
    }

    async fn ask<S: AsyncRead + Unpin>(&mut self, connection: usize, stream: &mut S) -> Option<Ask> {
        let mut head = vec![0; 7];
        stream.read_exact(&mut head).await.ok()?;
        let (transaction, unit, pdu) = if self.medium == Medium::Tcp {
            let mut pdu = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 1];
            stream.read_exact(&mut pdu).await.ok()?;
            (u16::from_be_bytes([head[0], head[1]]), head[6], pdu)
        } else {
            let rest = if head[1] >= 15 { usize::from(head[6]) + 2 } else { 1 };
            let start = head.len();
            head.resize(start + rest, 0);
            stream.read_exact(&mut head[start..]).await.ok()?;
            let (body, check) = head.split_at(head.len() - 2);
            assert_eq!(crc(body).to_le_bytes(), check, "the request's check sum");
            (0, body[0], body[1..].to_vec())
        };
        Some(Ask { medium: self.medium, connection, transaction, unit, pdu })
    }
}

//! Byte streams for meters that talk unasked: a serial port or a TCP connection to something that forwards one.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_serial::{DataBits, SerialPort, SerialStream};

use crate::config::model::{Connection, Parity, SerialLine};
use crate::link::serial::{Parameters, SerialOpener};

/// Both directions of a link, whatever it is made of.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether we set its speed. What lies behind a TCP gateway has one of its own.
    fn has_speed(&self) -> bool {
        false
    }

    /// Changes the speed in baud, at once: what was sent must have left. Does nothing where we do not set it.
    ///
    /// # Errors
    /// When the port does not know the speed.
    fn set_speed(&mut self, _baud: u32) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for TcpStream {}

impl Stream for SerialStream {
    fn has_speed(&self) -> bool {
        true
    }

    fn set_speed(&mut self, baud: u32) -> io::Result<()> {
        Ok(SerialPort::set_baud_rate(self, baud)?)
    }
}

/// An open link. Reading nothing (`Ok(0)`) means that it is gone, also for a serial adapter that was unplugged.
pub type ByteStream = Box<dyn Stream>;

/// Opens streams.
#[derive(Debug, Default)]
pub struct Opener {
    serial: SerialOpener,
}

impl Opener {
    /// Opens the link. A serial port is taken exclusively; without parameters it runs at 115200 8N1, and a parity means
    /// seven data bits, as IEC 62056-21 has it.
    ///
    /// # Errors
    /// As the system names them; [`io::ErrorKind::TimedOut`] after `limit`; [`io::ErrorKind::InvalidInput`] for a
    /// connection that carries no plain bytes.
    pub async fn open(&mut self, connection: &Connection, limit: Duration) -> io::Result<ByteStream> {
        timeout(limit, self.open_unlimited(connection)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", limit.as_millis())))
        })
    }

    async fn open_unlimited(&mut self, connection: &Connection) -> io::Result<ByteStream> {
        match connection {
            Connection::Serial(line) => Ok(Box::new(self.serial.open(&line.path, parameters(line)).await?)),
            Connection::Tcp { host, port } => Ok(Box::new(TcpStream::connect((host.as_str(), *port)).await?)),
            Connection::RtuOverTcp { .. } => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "rtu+tcp carries Modbus frames; a byte stream is serial:// or tcp://",
            )),
        }
    }
}

fn parameters(line: &SerialLine) -> Parameters {
    let parity = line.parity.unwrap_or(Parity::None);
    Parameters {
        baud: line.baud.unwrap_or(115_200),
        data_bits: if parity == Parity::None { DataBits::Eight } else { DataBits::Seven },
        parity,
        stop: line.stop.unwrap_or(1),
    }
}

/// The connection with these parameters where a serial line leaves them out.
#[must_use]
pub fn with_defaults(connection: Connection, baud: u32, parity: Parity) -> Connection {
    match connection {
        Connection::Serial(line) => Connection::Serial(SerialLine {
            baud: line.baud.or(Some(baud)),
            parity: line.parity.or(Some(parity)),
            ..line
        }),
        other => other,
    }
}

/// For messages: the connection as the configuration writes it, without its parameters.
#[must_use]
pub fn describe(connection: &Connection) -> String {
    match connection {
        Connection::Serial(line) => format!("serial://{}", line.path.display()),
        Connection::Tcp { host, port } => format!("tcp://{host}:{port}"),
        Connection::RtuOverTcp { host, port } => format!("rtu+tcp://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn tcp_carries_bytes_and_shows_the_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connection = Connection::Tcp { host: "127.0.0.1".into(), port };
        let mut opener = Opener::default();
        let (stream, accepted) = tokio::join!(opener.open(&connection, LIMIT), listener.accept());
        let (mut stream, (mut peer, _)) = (stream.unwrap(), accepted.unwrap());
        peer.write_all(b"/XYZ").await.unwrap();
        drop(peer);
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"/XYZ");
    }

    #[tokio::test]
    async fn errors_are_those_of_the_system() {
        let mut opener = Opener::default();
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let refused = opener.open(&Connection::Tcp { host: "127.0.0.1".into(), port }, LIMIT).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let line = SerialLine { path: "/dev/there-is-no-such-port".into(), baud: None, parity: None, stop: None };
        assert_eq!(opener.open(&Connection::Serial(line), LIMIT).await.err().unwrap().kind(), io::ErrorKind::NotFound);
        let framed = Connection::RtuOverTcp { host: "127.0.0.1".into(), port };
        assert_eq!(opener.open(&framed, LIMIT).await.err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }
}

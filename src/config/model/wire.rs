//! Where devices are, and what they want to see before they answer.

use std::path::PathBuf;

/// Where a device is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Connection {
    /// `serial:///dev/x?baud=&parity=&stop=`
    Serial(SerialLine),
    /// `tcp://host:port`
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `rtu+tcp://host:port`
    RtuOverTcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Where a device with an HTTP interface is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpAddress {
    /// `https://`
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Default 80, or 443 with TLS.
    pub port: u16,
}

impl HttpAddress {
    /// From `http://host[:port]` or `https://host[:port]`.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        crate::config::connection::parse_http(text)
    }
}

/// As it begins every URL of the device: without a slash at its end.
impl std::fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// A serial port with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SerialLine {
    /// Device path.
    pub path: PathBuf,
    /// Bits per second; `None` leaves the driver's default.
    pub baud: Option<u32>,
    /// `None` leaves the driver's default.
    pub parity: Option<Parity>,
    /// Stop bits, 1 or 2; `None` leaves the driver's default.
    pub stop: Option<u8>,
}

/// Parity of a serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parity {
    /// `none`
    None,
    /// `even`
    Even,
    /// `odd`
    Odd,
}

/// What `gridkeeper pair homewizard` leaves in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// The device's token; never printed.
    pub token: Secret,
    /// SHA-256 of the device's public key (SubjectPublicKeyInfo, DER).
    pub key: [u8; 32],
}

impl Pairing {
    /// From the text of the file: the token, and behind `key-sha256` in the second line 64 hexadecimal digits.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WRITE: &str = "it is not as `gridkeeper pair homewizard` writes it: a token of 32 letters and digits, and \
                             below it key-sha256 with 64 hexadecimal digits";
        let mut lines = text.lines();
        let token = lines.next().map(str::trim).filter(|it| crate::codec::homewizard::is_token(it)).ok_or(WRITE)?;
        let digits = lines.next().and_then(|it| it.trim().strip_prefix("key-sha256 ")).ok_or(WRITE)?;
        let mut key = [0; 32];
        if digits.len() != 64
            || !digits.bytes().all(|it| it.is_ascii_hexdigit())
            || lines.any(|it| !it.trim().is_empty())
        {
            return Err(WRITE);
        }
        for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| WRITE)?;
        }
        Ok(Self { token: Secret::new(token.to_owned()), key })
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\nkey-sha256 {}\n", self.token.reveal(), crate::codec::http_auth::hex(&self.key))
    }
}

/// Text that must never be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text out of sight.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether `given` is the same, without telling by the time where the first difference is.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let right = self.0.as_bytes();
        let differences =
            right.iter().enumerate().fold(0, |sum, (at, byte)| sum | (byte ^ given.get(at).unwrap_or(&!byte)));
        differences == 0 && given.len() == right.len()
    }

    /// For the one place that must send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

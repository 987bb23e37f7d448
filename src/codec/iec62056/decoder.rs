//! Finds readouts in a stream of bytes.

use super::block::is_line_end;
use super::handshake::Identification;
use super::readout::{Bcc, Readout};

/// Longest readout in bytes. A full one of an industrial meter with fifteen months of history has 10 kB.
pub const MAX_READOUT: usize = 64 * 1024;

/// Longest identification line; the norm allows 21 characters.
const MAX_HEADER: usize = 64;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ACK: u8 = 0x06;
/// `/` with the parity bit of a 7E1 line.
const SLASH_EVEN: u8 = 0xAF;

/// A stretch of bytes that looked like a readout and gave none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The next one began before the end.
    #[error("readout cut short by the next one after {bytes} bytes")]
    CutShort {
        /// Thrown away.
        bytes: usize,
    },
    /// No end within [`MAX_READOUT`].
    #[error("readout longer than {} bytes", MAX_READOUT)]
    TooLong {
        /// Thrown away.
        bytes: usize,
    },
}

/// Where in the stream we are. Places are indices into the buffer, which begins with the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a readout.
    Idle,
    /// Inside the identification line.
    Header,
    /// Behind it: line ends, an echo of what the reader sent, then STX or data.
    Between,
    /// Inside an echoed acknowledgement.
    Echo,
    /// Inside data.
    Body,
    /// Behind ETX: the next byte is the BCC.
    Check,
    /// The buffer holds a readout that was given out.
    Given,
}

/// Turns bytes in any pieces into readouts. Holds at most [`MAX_READOUT`] bytes, whatever comes.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    state: State,
    /// Length of the identification line.
    header: usize,
    /// Where the data begin.
    body: usize,
    /// Data came behind an STX.
    framed: bool,
    /// The end mark was seen at this place.
    end: Option<usize>,
    /// Where the present line began.
    line: usize,
    /// Bit 7 carries even parity.
    parity: bool,
    parity_errors: u64,
    parity_errors_total: u64,
    discarded: u64,
    discarded_total: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            state: State::Idle,
            header: 0,
            body: 0,
            framed: false,
            end: None,
            line: 0,
            parity: false,
            parity_errors: 0,
            parity_errors_total: 0,
            discarded: 0,
            discarded_total: 0,
        }
    }

    /// Takes bytes from the front of `input` until a readout is whole or `input` is used up; call it until it gives
    /// `None`. A readout between STX and ETX is given with its BCC, one without them with its end mark.
    pub fn decode(&mut self, input: &mut &[u8]) -> Option<Result<Readout<'_>, FrameError>> {
        while let [first, rest @ ..] = *input {
            *input = rest;
            if let Some(found) = self.take(*first) {
                return Some(found.map(|found| self.give(found)));
            }
        }
        None
    }

    /// Closes what is unfinished: to be called when the line has been silent for longer than a readout pauses, or at the
    /// end of a file.
    pub fn finish(&mut self) -> Option<Result<Readout<'_>, FrameError>> {
        match self.state {
            State::Idle | State::Given => None,
            State::Header | State::Between | State::Echo => {
                self.drop_all();
                None
            }
            State::Check => Some(Ok(self.give(Found { end: self.buffer.len(), complete: true, bcc: None }))),
            State::Body => {
                let end = self.end.unwrap_or(self.buffer.len());
                Some(Ok(self.give(Found { end, complete: self.end.is_some(), bcc: None })))
            }
        }
    }

    /// The meter's identification, as soon as its line is whole and until its data begin.
    #[must_use]
    pub fn identification(&self) -> Option<Identification<'_>> {
        match self.state {
            State::Between | State::Echo => Identification::parse(&self.buffer[..self.header]),
            _ => None,
        }
    }

    /// Whether bytes wait for the rest of a readout.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !matches!(self.state, State::Idle | State::Given)
    }

    /// All bytes so far that belong to no readout.
    #[must_use]
    pub fn discarded_total(&self) -> u64 {
        self.discarded_total
    }

    /// All bytes so far with wrong parity, on lines that carry it in bit 7.
    #[must_use]
    pub fn parity_errors_total(&self) -> u64 {
        self.parity_errors_total
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    fn take(&mut self, raw: u8) -> Option<Result<Found, FrameError>> {
        if self.state == State::Given {
            self.begin();
            self.state = State::Idle;
        }
        if self.state == State::Idle {
            match raw {
                b'/' => self.parity = false,
                SLASH_EVEN => self.parity = true,
                _ => {
                    self.discard(raw);
                    return None;
                }
            }
            self.begin();
            self.buffer.push(b'/');
            self.state = State::Header;
            return None;
        }
        let byte = self.unmasked(raw);
        self.buffer.push(byte);
        let at = self.buffer.len() - 1;
        match self.state {
            State::Idle | State::Given => {}
            State::Header => self.header_byte(byte, at),
            State::Between => return self.between(byte, at),
            State::Echo if byte == b'\n' => self.state = State::Between,
            // An acknowledgement has six characters.
            State::Echo if at > self.header + MAX_HEADER => self.drop_all(),
            State::Echo => {}
            State::Check => {
                let computed = self.buffer[self.body..at].iter().fold(0, |sum, &byte| sum ^ byte);
                let bcc = Some(Bcc { given: byte, computed });
                return Some(Ok(Found { end: self.end.unwrap_or(at - 1), complete: true, bcc }));
            }
            State::Body => return self.body_byte(byte, at),
        }
        None
    }

    fn header_byte(&mut self, byte: u8, at: usize) {
        if is_line_end(byte) {
            if is_header(&self.buffer[..at]) {
                self.header = at;
                self.state = State::Between;
            } else if self.buffer.starts_with(b"/?") {
                // The head echoes what the reader sent.
                self.begin();
                self.state = State::Idle;
            } else {
                self.drop_all();
            }
        } else if byte == b'/' || at >= MAX_HEADER || matches!(byte, b'(' | b')') || byte < b' ' {
            // Noise that held a slash; a second one may be the right one.
            self.drop_all();
            if byte == b'/' {
                self.uncount();
                self.buffer.push(byte);
                self.state = State::Header;
            }
        }
    }

    fn between(&mut self, byte: u8, at: usize) -> Option<Result<Found, FrameError>> {
        self.body = at;
        self.line = at;
        match byte {
            STX => {
                self.body = at + 1;
                self.line = at + 1;
                self.framed = true;
                self.state = State::Body;
            }
            ACK => self.state = State::Echo,
            b'\r' | b'\n' | 0 | 0x7F => {
                // They are not kept: an idle line must not fill the buffer.
                self.buffer.truncate(self.header);
            }
            b'/' => {
                self.drop_all();
                self.uncount();
                self.buffer.push(b'/');
                self.state = State::Header;
            }
            _ => {
                self.state = State::Body;
                return self.body_byte(byte, at);
            }
        }
        None
    }

    fn body_byte(&mut self, byte: u8, at: usize) -> Option<Result<Found, FrameError>> {
        match byte {
            ETX if self.framed => self.state = State::Check,
            b'!' if self.end.is_none() && (at == self.line || self.buffer[at - 1] == b')') => {
                if !self.framed {
                    return Some(Ok(Found { end: at, complete: true, bcc: None }));
                }
                self.end = Some(at);
            }
            b'\r' | b'\n' => {
                let line = std::mem::replace(&mut self.line, at + 1);
                // Also behind the rest of a line that was cut.
                let slash = self.buffer[line..at].iter().rposition(|&byte| byte == b'/').map(|place| line + place);
                if let Some(slash) = slash.filter(|&slash| is_header(&self.buffer[slash..at])) {
                    return Some(self.restart(slash, at));
                }
            }
            _ => {}
        }
        if self.buffer.len() >= MAX_READOUT {
            let bytes = self.buffer.len();
            self.drop_all();
            return Some(Err(FrameError::TooLong { bytes }));
        }
        None
    }

    /// The identification of the next readout stands between `line` and the line end at `at`.
    fn restart(&mut self, line: usize, at: usize) -> Result<Found, FrameError> {
        for &byte in &self.buffer[..line] {
            count(byte, &mut self.discarded, &mut self.discarded_total);
        }
        self.buffer.copy_within(line..=at, 0);
        self.buffer.truncate(at + 1 - line);
        (self.header, self.state) = (at - line, State::Between);
        (self.framed, self.end, self.parity_errors) = (false, None, 0);
        Err(FrameError::CutShort { bytes: line })
    }

    fn give(&mut self, found: Found) -> Readout<'_> {
        self.state = State::Given;
        Readout {
            header: &self.buffer[..self.header],
            body: &self.buffer[self.body..found.end],
            framed: self.framed,
            complete: found.complete,
            bcc: found.bcc,
            parity: self.parity,
            parity_errors: self.parity_errors,
            discarded: std::mem::take(&mut self.discarded),
        }
    }

    /// The seven bits of a byte, its parity checked where the line carries one.
    fn unmasked(&mut self, raw: u8) -> u8 {
        if !self.parity {
            return raw;
        }
        if !raw.count_ones().is_multiple_of(2) {
            self.parity_errors += 1;
            self.parity_errors_total += 1;
        }
        raw & 0x7F
    }

    fn begin(&mut self) {
        self.buffer.clear();
        (self.framed, self.end, self.parity_errors) = (false, None, 0);
    }

    /// What is in the buffer belongs to no readout.
    fn drop_all(&mut self) {
        for &byte in &self.buffer {
            count(byte, &mut self.discarded, &mut self.discarded_total);
        }
        self.begin();
        self.state = State::Idle;
    }

    /// The last byte that was dropped is looked at again.
    fn uncount(&mut self) {
        self.discarded -= 1;
        self.discarded_total -= 1;
    }

    fn discard(&mut self, byte: u8) {
        count(byte, &mut self.discarded, &mut self.discarded_total);
    }
}

/// An identification line; a bracket is of a data set.
fn is_header(line: &[u8]) -> bool {
    !line.iter().any(|byte| matches!(byte, b'(' | b')')) && Identification::parse(line).is_some()
}

/// A readout in the buffer.
struct Found {
    /// Where its data end.
    end: usize,
    complete: bool,
    bcc: Option<Bcc>,
}

/// Line ends separate readouts and NUL wakes meters up; neither is counted, with or without a parity bit.
fn count(byte: u8, discarded: &mut u64, total: &mut u64) {
    if !matches!(byte, 0 | b'\r' | b'\n' | 0x8D) {
        *discarded += 1;
        *total += 1;
    }
}

//! Finds telegrams in a stream of bytes.

use std::ops::Range;

use super::noise::{Hint, Noise};
use super::object::Line;
use super::seal::{self, Keys, Seal, TagCheck};
use super::telegram::{Crc, Repair, Telegram, Verdict};

/// Longest telegram in bytes. DSMR allows a text of 2048 digits in one line, so legal ones pass 3 kB.
pub const MAX_TELEGRAM: usize = 16 * 1024;

/// Longest header line; the norm allows 21 characters, meters send up to 30.
const MAX_HEADER: usize = 128;

/// How many headers inside a broken telegram are tried as the beginning of a whole one.
const MAX_INNER_HEADERS: usize = 4;

/// Bytes that may be decrypted for each byte that came. One is enough for a good line and two for a damaged one; without
/// a bound, envelopes nested in envelopes would cost a thousand.
const DECRYPTED_PER_BYTE: u64 = 4;

/// A stretch of bytes that looked like a telegram and gave none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The next telegram began before the end mark.
    #[error("telegram cut short by the next one after {bytes} bytes")]
    CutShort {
        /// Thrown away.
        bytes: usize,
    },
    /// No end within [`MAX_TELEGRAM`].
    #[error("telegram longer than {} bytes", MAX_TELEGRAM)]
    TooLong {
        /// Thrown away so far.
        bytes: usize,
    },
    /// Encrypted, and no key is known.
    #[error("telegram is encrypted ({bytes} bytes) and no key is configured")]
    NoKey {
        /// Thrown away.
        bytes: usize,
    },
    /// What the key makes of it is no telegram; or it was not tried, because too much before it was tried in vain.
    #[error("encrypted telegram ({bytes} bytes) cannot be read with this key: wrong key or damaged on the way")]
    WrongKey {
        /// Length of the envelope.
        bytes: usize,
    },
}

/// Turns bytes in any pieces into telegrams. Holds at most [`MAX_TELEGRAM`] bytes, whatever comes.
#[derive(Debug)]
pub struct Decoder {
    keys: Option<Keys>,
    buffer: Vec<u8>,
    /// Everything before this place in `buffer` is done with.
    done: usize,
    state: State,
    /// The last telegram's bytes where they are not those of the stream: decrypted, or freed of telnet sequences.
    changed: Vec<u8>,
    /// Place in the stream of the buffer's first byte.
    position: u64,
    allowance: Allowance,
    /// Nothing but line ends and NUL since the last telegram's end.
    after_end: bool,
    discarded: u64,
    discarded_total: u64,
    noise: Noise,
}

/// Where in the stream we are. Places are indices into the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a telegram.
    Idle,
    /// Inside one that began at `done`; everything before `seen` was looked at.
    Body { seen: usize },
    /// Behind its end mark.
    End { mark: usize },
    /// Inside an envelope of this length that began at `done`.
    Sealed { length: usize },
}

/// What a look at the buffer came to; owned, so that the caller may borrow the buffer afterwards.
enum Found {
    Nothing,
    Plain { begin: usize, end: usize, complete: bool, crc: Crc, changed: bool },
    Opened { envelope: Range<usize>, complete: bool, crc: Crc, seal: Seal, end: usize },
    Error(FrameError),
}

impl Decoder {
    /// A decoder for plain telegrams and, with `keys`, for encrypted ones too.
    #[must_use]
    pub fn new(keys: Option<Keys>) -> Self {
        Self {
            keys,
            buffer: Vec::with_capacity(MAX_TELEGRAM),
            done: 0,
            state: State::Idle,
            changed: Vec::new(),
            position: 0,
            allowance: Allowance::default(),
            after_end: false,
            discarded: 0,
            discarded_total: 0,
            noise: Noise::default(),
        }
    }

    /// Takes bytes from the front of `input` until a telegram is whole or `input` is used up; call it until it gives
    /// `None`. A telegram with a four-digit CRC is given with its last digit, others with the line end behind.
    pub fn decode(&mut self, input: &mut &[u8]) -> Option<Result<Telegram<'_>, FrameError>> {
        let found = loop {
            match self.look() {
                Found::Nothing if input.is_empty() => return None,
                Found::Nothing => self.take(input),
                found => break found,
            }
        };
        self.give(found)
    }

    /// Closes what is unfinished: to be called when the line has been silent for longer than a telegram pauses, or at
    /// the end of a file. Gives a telegram without an end mark as incomplete.
    pub fn finish(&mut self) -> Option<Result<Telegram<'_>, FrameError>> {
        let found = match self.state {
            State::Idle => {
                self.discard(self.buffer.len());
                Found::Nothing
            }
            State::Body { .. } => {
                let end = self.buffer.len();
                let crc = Crc::absent(&self.buffer[self.done..end]);
                let found = Found::Plain { begin: self.done, end, complete: false, crc, changed: false };
                self.leave(end);
                found
            }
            State::End { mark } => self.close(mark, self.buffer.len()),
            State::Sealed { .. } => {
                let bytes = self.buffer.len() - self.done;
                self.discard(self.buffer.len());
                self.state = State::Idle;
                Found::Error(FrameError::CutShort { bytes })
            }
        };
        self.give(found)
    }

    /// Whether bytes wait for the rest of a telegram.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.done < self.buffer.len()
    }

    /// All bytes so far that belong to no telegram.
    #[must_use]
    pub fn discarded_total(&self) -> u64 {
        self.discarded_total
    }

    /// What is probably set wrong, when nothing but rubbish has come for a while.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        self.noise.hint()
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.changed.capacity()
    }

    fn take(&mut self, input: &mut &[u8]) {
        if self.done > 0 {
            let shift = self.done;
            self.buffer.drain(..shift);
            self.position += shift as u64;
            self.done = 0;
            match &mut self.state {
                State::Body { seen: place } | State::End { mark: place } => *place -= shift,
                State::Idle | State::Sealed { .. } => {}
            }
        }
        let room = MAX_TELEGRAM - self.buffer.len();
        let (now, later) = input.split_at(input.len().min(room));
        self.buffer.extend_from_slice(now);
        *input = later;
    }

    /// Goes on from where the last look ended.
    fn look(&mut self) -> Found {
        loop {
            let step = match self.state {
                State::Idle => self.look_for_start(),
                State::Body { seen } => self.look_for_end(seen),
                State::End { mark } => self.look_for_crc(mark),
                State::Sealed { length } => self.look_for_envelope(length),
            };
            match step {
                Step::Again => {}
                Step::Wait if self.buffer.len() - self.done >= MAX_TELEGRAM => {
                    let bytes = self.buffer.len() - self.done;
                    self.discard(self.buffer.len());
                    self.state = State::Idle;
                    return Found::Error(FrameError::TooLong { bytes });
                }
                Step::Wait => return Found::Nothing,
                Step::Found(found) => return found,
            }
        }
    }

    fn look_for_start(&mut self) -> Step {
        let rest = &self.buffer[self.done..];
        let Some(skip) = rest.iter().position(|&byte| byte == b'/' || byte == seal::START) else {
            self.discard(self.buffer.len());
            return Step::Wait;
        };
        self.discard(self.done + skip);
        let candidate = &self.buffer[self.done..];
        let fits = if candidate[0] == b'/' { header(candidate) } else { envelope(candidate) };
        match fits {
            Fit::Yes if candidate[0] == b'/' => self.state = State::Body { seen: self.done + 1 },
            Fit::Yes => match seal::envelope_length(candidate) {
                Some(length) if length <= MAX_TELEGRAM => self.state = State::Sealed { length },
                _ => self.discard(self.done + 1),
            },
            Fit::Unknown => return Step::Wait,
            Fit::No => self.discard(self.done + 1),
        }
        Step::Again
    }

    fn look_for_end(&mut self, seen: usize) -> Step {
        let sealed = self.keys.is_some();
        let Some(skip) =
            find(&self.buffer[seen..], |byte| (byte == b'!') | (byte == b'/') | (sealed & (byte == seal::START)))
        else {
            self.state = State::Body { seen: self.buffer.len() };
            return Step::Wait;
        };
        let at = seen + skip;
        let candidate = &self.buffer[at..];
        let line_start = is_line_end(self.buffer[at - 1]);
        let new_start = match candidate[0] {
            b'!' if line_start => {
                self.state = State::End { mark: at };
                return Step::Again;
            }
            b'/' if line_start => header(candidate),
            seal::START => envelope(candidate),
            _ => Fit::No,
        };
        match new_start {
            Fit::Yes => {
                let bytes = at - self.done;
                self.discard(at);
                self.state = State::Idle;
                Step::Found(Found::Error(FrameError::CutShort { bytes }))
            }
            Fit::Unknown => {
                self.state = State::Body { seen: at };
                Step::Wait
            }
            Fit::No => {
                self.state = State::Body { seen: at + 1 };
                Step::Again
            }
        }
    }

    fn look_for_crc(&mut self, mark: usize) -> Step {
        let behind = &self.buffer[mark + 1..];
        match behind.iter().take(4).position(|&byte| ends_crc(byte)) {
            Some(digits) => Step::Found(self.close(mark, mark + 1 + digits)),
            None if behind.len() >= 4 => Step::Found(self.close(mark, mark + 5)),
            None => Step::Wait,
        }
    }

    /// A telegram with its end mark, whose CRC digits end before `end`.
    fn close(&mut self, mark: usize, end: usize) -> Found {
        let given = end.min(mark + 5);
        let (begin, crc, changed) = self.judge(mark, given);
        self.discard(begin);
        self.leave(end);
        if crc.verdict != Verdict::Invalid {
            self.noise = Noise::default();
        }
        Found::Plain { begin, end: mark + 1, complete: true, crc, changed }
    }

    /// Checks the telegram up to `mark`. Where it does not fit, a whole telegram may stand inside it behind a cut one, or
    /// a telnet server may have added to it; both are believed only when they then fit.
    fn judge(&mut self, mark: usize, given_end: usize) -> (usize, Crc, bool) {
        let whole = &self.buffer[self.done..=mark];
        let given = &self.buffer[mark + 1..given_end];
        let crc = Crc::check(whole, given);
        if fits(whole, &crc) {
            return (self.done, crc, false);
        }
        let inner = whole.iter().enumerate().skip(1).rev().filter(|(_, byte)| **byte == b'/');
        for (at, _) in inner.filter(|&(at, _)| header(&whole[at..]) == Fit::Yes).take(MAX_INNER_HEADERS) {
            let part = &whole[at..];
            let part_crc = Crc::check(part, given);
            if fits(part, &part_crc) {
                return (self.done + at, part_crc, false);
            }
        }
        if without_telnet(whole, &mut self.changed) {
            let mut changed_crc = Crc::check(&self.changed, given);
            if fits(&self.changed, &changed_crc) {
                if changed_crc.verdict == Verdict::Valid {
                    changed_crc.verdict = Verdict::ValidAfter(Repair::Telnet);
                }
                return (self.done, changed_crc, true);
            }
        }
        (self.done, crc, false)
    }

    fn look_for_envelope(&mut self, length: usize) -> Step {
        if self.buffer.len() - self.done < length {
            return Step::Wait;
        }
        let end = self.done + length;
        if self.keys.is_some() && !self.allowance.spend(length, self.position + end as u64) {
            self.noise = Noise::after_envelope(length);
            self.discard(end);
            self.state = State::Idle;
            return Step::Found(Found::Error(FrameError::WrongKey { bytes: length }));
        }
        let envelope = self.done..end;
        let opened = match &self.keys {
            Some(keys) => seal::open(&self.buffer[self.done..end], keys, &mut self.changed)
                .filter(|_| header(&self.changed) == Fit::Yes)
                .ok_or(FrameError::WrongKey { bytes: length }),
            None => Err(FrameError::NoKey { bytes: length }),
        };
        let seal = match opened {
            Ok(seal) => seal,
            Err(error) => {
                self.rescan(length);
                return Step::Found(Found::Error(error));
            }
        };
        let proven = seal.tag == TagCheck::Verified;
        let Some(mark) = end_mark(&self.changed) else {
            if proven {
                self.leave(end);
                let crc = Crc::absent(&self.changed);
                let end = self.changed.len();
                return Step::Found(Found::Opened { envelope, complete: false, crc, seal, end });
            }
            self.rescan(length);
            return Step::Found(Found::Error(FrameError::WrongKey { bytes: length }));
        };
        let behind = &self.changed[mark + 1..];
        let digits = behind.iter().take(4).position(|&byte| ends_crc(byte)).unwrap_or(behind.len().min(4));
        let crc = Crc::check(&self.changed[..=mark], &behind[..digits]);
        if proven || crc.verdict != Verdict::Invalid {
            self.leave(end);
        } else {
            // Where bytes were lost on the way, the length reaches into the next envelope.
            let next = (self.done + 1..end).find(|&at| seal::may_be_envelope(&self.buffer[at..end]));
            self.leave(next.unwrap_or(end));
        }
        self.noise = Noise::default();
        Step::Found(Found::Opened { envelope, complete: true, crc, seal, end: mark + 1 })
    }

    /// An envelope of this length gave nothing. Where bytes were lost on the way, the length reaches into what follows,
    /// which must not be lost too: everything behind its first byte is looked at again.
    fn rescan(&mut self, length: usize) {
        self.noise = Noise::after_envelope(length);
        self.discard(self.done + 1);
        self.state = State::Idle;
    }

    fn give(&mut self, found: Found) -> Option<Result<Telegram<'_>, FrameError>> {
        let mut discarded = || std::mem::take(&mut self.discarded);
        match found {
            Found::Nothing => None,
            Found::Error(error) => Some(Err(error)),
            Found::Plain { begin, end, complete, crc, changed } => {
                let discarded = discarded();
                let bytes = if changed { &self.changed[..] } else { &self.buffer[begin..end] };
                Some(Ok(Telegram { bytes, complete, crc, seal: None, envelope: &[], discarded }))
            }
            Found::Opened { envelope, complete, crc, seal, end } => {
                let discarded = discarded();
                let (bytes, envelope) = (&self.changed[..end], &self.buffer[envelope]);
                Some(Ok(Telegram { bytes, complete, crc, seal: Some(seal), envelope, discarded }))
            }
        }
    }

    /// A telegram ended at `end`.
    fn leave(&mut self, end: usize) {
        self.done = end;
        self.state = State::Idle;
        self.after_end = true;
    }

    /// Everything before `end` belongs to no telegram.
    fn discard(&mut self, end: usize) {
        for &byte in &self.buffer[self.done..end] {
            let separates = matches!(byte, b'\r' | b'\n') || (self.after_end && byte == 0);
            if !separates {
                self.after_end = false;
                self.discarded += 1;
                self.discarded_total += 1;
                self.noise.count(byte);
            }
        }
        self.done = end;
    }
}

enum Step {
    Again,
    Wait,
    Found(Found),
}

/// Whether bytes begin with what is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// More bytes are needed to tell.
    Unknown,
}

/// A header line: `/`, three letters, no brackets, no control characters but the STX that some make of `\2`.
fn header(bytes: &[u8]) -> Fit {
    for (at, &byte) in bytes.iter().enumerate().take(MAX_HEADER) {
        let fits = match (at, byte) {
            (0, _) => byte == b'/',
            (1..=3, _) => byte.is_ascii_alphabetic(),
            (_, b'\r' | b'\n') => return Fit::Yes,
            (_, b'(' | b')') => false,
            _ => byte >= b' ' || byte == 0x02,
        };
        if !fits {
            return Fit::No;
        }
    }
    if bytes.len() < MAX_HEADER { Fit::Unknown } else { Fit::No }
}

fn envelope(bytes: &[u8]) -> Fit {
    if bytes.len() >= seal::HEAD {
        if seal::envelope_length(bytes).is_some() { Fit::Yes } else { Fit::No }
    } else if seal::may_be_envelope(bytes) {
        Fit::Unknown
    } else {
        Fit::No
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// What can stand behind fewer than four CRC digits.
fn ends_crc(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0 | b'/')
}

/// The CRC fits, or there is none and the lines prove themselves.
fn fits(bytes: &[u8], crc: &Crc) -> bool {
    match crc.verdict {
        Verdict::Valid | Verdict::ValidAfter(_) => true,
        Verdict::Invalid => false,
        Verdict::Absent => {
            let telegram = Telegram { bytes, complete: true, crc: *crc, seal: None, envelope: &[], discarded: 0 };
            !telegram.lines().any(|line| matches!(line, Line::Unparsed(_)))
        }
    }
}

fn end_mark(telegram: &[u8]) -> Option<usize> {
    telegram.windows(2).position(|pair| matches!(pair, [b'\n' | b'\r', b'!'])).map(|at| at + 1)
}

/// Copies without the negotiations of a telnet server (RFC 854: IAC, a verb, an option); `false` when there are none. No
/// other of its sequences is undone: with one of those inside, the CRC does not fit.
fn without_telnet(bytes: &[u8], copy: &mut Vec<u8>) -> bool {
    const IAC: u8 = 0xFF;
    const NEGOTIATION: std::ops::RangeInclusive<u8> = 0xFB..=0xFE;
    copy.clear();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        match rest {
            [IAC, verb, _, tail @ ..] if NEGOTIATION.contains(verb) => rest = tail,
            _ => {
                copy.push(*first);
                rest = tail;
            }
        }
    }
    copy.len() < bytes.len()
}

/// Place of the first byte for which `wanted` holds. Looks at 32 bytes at a time, which compiles to vector code.
fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    for (at, chunk) in chunks.iter().enumerate() {
        if chunk.iter().fold(false, |any, &byte| any | wanted(byte)) {
            return chunk.iter().position(|&byte| wanted(byte)).map(|place| at * 32 + place);
        }
    }
    rest.iter().position(|&byte| wanted(byte)).map(|place| chunks.len() * 32 + place)
}

/// How many bytes may be decrypted. It goes by places in the stream, so that it does not matter in which pieces that comes.
#[derive(Debug)]
struct Allowance {
    bytes: u64,
    /// Up to here the stream has added to it.
    counted: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { bytes: Self::MOST, counted: 0 }
    }
}

impl Allowance {
    const MOST: u64 = DECRYPTED_PER_BYTE * MAX_TELEGRAM as u64;

    /// Takes what an envelope that ends at this place of the stream needs; `false`: nothing was taken, it is too much.
    fn spend(&mut self, length: usize, end: u64) -> bool {
        let new = end.saturating_sub(self.counted);
        self.counted += new;
        self.bytes = self.bytes.saturating_add(new.saturating_mul(DECRYPTED_PER_BYTE)).min(Self::MOST);
        match self.bytes.checked_sub(length as u64) {
            Some(rest) => self.bytes = rest,
            None => return false,
        }
        true
    }
}

//! Finds frames in a stream of bytes.

use super::message::{Defect, Entries};
use crate::codec::crc;

/// Longest frame in bytes, ends included. Meters send 200 to 600; a hundred entries with signatures stay below this.
pub const MAX_FRAME: usize = 8 * 1024;

const ESCAPE: u8 = 0x1B;
const RUN: usize = 4;
const START: [u8; 8] = [0x1B, 0x1B, 0x1B, 0x1B, 1, 1, 1, 1];
const END: u8 = 0x1A;

/// A stretch of bytes that began like a frame and gave none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The next frame began before the end.
    #[error("frame cut short by the next one after {bytes} bytes")]
    CutShort {
        /// Thrown away.
        bytes: usize,
    },
    /// No end within [`MAX_FRAME`].
    #[error("frame longer than {} bytes", MAX_FRAME)]
    TooLong {
        /// Thrown away.
        bytes: usize,
    },
    /// Behind an escape sequence stands nothing that the transport knows: bytes were lost.
    #[error("damaged frame: unknown escape sequence after {bytes} bytes")]
    Escape {
        /// Thrown away.
        bytes: usize,
    },
}

/// The check of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc {
    /// As sent.
    pub given: u16,
    /// CRC-16/X-25 over the bytes received.
    pub computed: u16,
    /// It fits CRC-16/KERMIT instead, which some firmware of Holley meters computes.
    pub kermit: bool,
}

impl Crc {
    fn check(bytes: &[u8], given: u16) -> Self {
        let computed = crc::X25.of(bytes);
        Self { given, computed, kermit: given != computed && given == crc::KERMIT.of(bytes) }
    }

    /// Whether it fits.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.given == self.computed || self.kermit
    }
}

/// Why a frame gives no reading.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The check of the frame does not fit.
    #[error("frame with wrong CRC (given {given:04X}, computed {computed:04X})")]
    WrongCrc {
        /// As sent.
        given: u16,
        /// Over the bytes received.
        computed: u16,
    },
    /// A message in it cannot be read, or its own check does not fit.
    #[error("frame whose {0}")]
    Defect(#[from] Defect),
    /// It holds no values.
    #[error("frame without values")]
    Empty,
}

/// A frame, valid or not, as a view of the decoder's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    payload: &'a [u8],
    length: usize,
    crc: Crc,
    discarded: u64,
}

impl<'a> Frame<'a> {
    /// The messages, without escapes and padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes on the wire, start and end included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The check of the frame; every message has one of its own, which [`Frame::entries`] looks at.
    #[must_use]
    pub fn crc(&self) -> &Crc {
        &self.crc
    }

    /// Bytes between the frame before and this one that belong to none.
    #[must_use]
    pub fn discarded_bytes(&self) -> u64 {
        self.discarded
    }

    /// The values of its `GetList.Res` messages in order; the last item is an error where a message is damaged.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries::new(self.payload)
    }

    /// Identification of the meter, where the frame carries one.
    #[must_use]
    pub fn server(&self) -> Option<&'a [u8]> {
        let mut entries = self.entries();
        entries.next();
        entries.server()
    }

    /// Whether it may be taken for a reading: frame and messages have checks that fit, and there are values.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn check(&self) -> Result<(), Rejection> {
        if !self.crc.is_valid() {
            return Err(Rejection::WrongCrc { given: self.crc.given, computed: self.crc.computed });
        }
        let mut empty = true;
        for entry in self.entries() {
            entry?;
            empty = false;
        }
        if empty { Err(Rejection::Empty) } else { Ok(()) }
    }
}

/// Turns bytes in any pieces into frames. Holds at most [`MAX_FRAME`] bytes, whatever comes.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Everything before this place in `buffer` is done with.
    done: usize,
    /// Inside a frame that began at `done`: everything before this was looked at.
    inside: Option<usize>,
    /// Places of escaped escape sequences in the frame, as offsets from `done`.
    doubled: Vec<usize>,
    /// The last frame's payload where it had any of those.
    unescaped: Vec<u8>,
    discarded: u64,
    discarded_total: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What a look at the buffer came to; owned, so that the caller may borrow the buffer afterwards.
enum Found {
    Frame { begin: usize, end: usize, padding: usize, crc: Crc, unescaped: bool },
    Error(FrameError),
}

enum Step {
    Again,
    Wait,
    Found(Found),
}

impl Decoder {
    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: Vec::with_capacity(MAX_FRAME),
            done: 0,
            inside: None,
            doubled: Vec::new(),
            unescaped: Vec::new(),
            discarded: 0,
            discarded_total: 0,
        }
    }

    /// Takes bytes from the front of `input` until a frame is whole or `input` is used up; call it until it gives `None`.
    pub fn decode(&mut self, input: &mut &[u8]) -> Option<Result<Frame<'_>, FrameError>> {
        let found = loop {
            let step = match self.inside {
                None => self.look_for_start(),
                Some(seen) => self.look_for_end(seen),
            };
            match step {
                Step::Again => {}
                Step::Found(found) => break found,
                Step::Wait if self.buffer.len() - self.done >= MAX_FRAME => {
                    let bytes = self.buffer.len() - self.done;
                    // What was looked at held no start and is not looked at again; a run of escapes may go on.
                    self.drop_frame(self.inside.unwrap_or(self.buffer.len()));
                    break Found::Error(FrameError::TooLong { bytes });
                }
                Step::Wait if input.is_empty() => return None,
                Step::Wait => self.take(input),
            }
        };
        Some(match found {
            Found::Error(error) => Err(error),
            Found::Frame { begin, end, padding, crc, unescaped } => {
                let payload = if unescaped { &self.unescaped[..] } else { &self.buffer[begin + START.len()..end - 8] };
                let payload = &payload[..payload.len().saturating_sub(padding)];
                Ok(Frame { payload, length: end - begin, crc, discarded: std::mem::take(&mut self.discarded) })
            }
        })
    }

    /// Drops what is unfinished: to be called when the line has been silent for longer than a frame pauses, or at the
    /// end of a file. Gives the number of bytes of a begun frame.
    pub fn finish(&mut self) -> Option<FrameError> {
        let bytes = self.buffer.len() - self.done;
        let begun = self.inside.take().is_some();
        self.doubled.clear();
        self.discard(self.buffer.len());
        begun.then_some(FrameError::CutShort { bytes })
    }

    /// All bytes so far that belong to no whole frame.
    #[must_use]
    pub fn discarded_total(&self) -> u64 {
        self.discarded_total
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.unescaped.capacity() + self.doubled.capacity() * size_of::<usize>()
    }

    fn take(&mut self, input: &mut &[u8]) {
        if self.done > 0 {
            self.buffer.drain(..self.done);
            if let Some(seen) = &mut self.inside {
                *seen -= self.done;
            }
            self.done = 0;
        }
        let (now, later) = input.split_at(input.len().min(MAX_FRAME - self.buffer.len()));
        self.buffer.extend_from_slice(now);
        *input = later;
    }

    fn look_for_start(&mut self) -> Step {
        let rest = &self.buffer[self.done..];
        let Some(skip) = rest.iter().position(|&byte| byte == ESCAPE) else {
            self.discard(self.buffer.len());
            return Step::Wait;
        };
        let candidate = &rest[skip..];
        let compared = candidate.len().min(START.len());
        let fits = candidate[..compared] == START[..compared];
        if fits && compared < START.len() {
            self.discard(self.done + skip);
            return Step::Wait;
        }
        if fits {
            self.discard(self.done + skip);
            self.inside = Some(self.done + START.len());
            self.doubled.clear();
        } else {
            // A longer run of escapes may end in a start.
            self.discard(self.done + skip + 1);
        }
        Step::Again
    }

    /// Looks at runs of escape bytes as a whole: eight are an escaped sequence, and of a run that ends in a sequence the
    /// bytes before its last four are data.
    fn look_for_end(&mut self, seen: usize) -> Step {
        let rest = &self.buffer[seen..];
        let Some(skip) = rest.iter().position(|&byte| byte == ESCAPE) else {
            self.inside = Some(self.buffer.len());
            return Step::Wait;
        };
        let run_at = seen + skip;
        self.inside = Some(run_at);
        let mut run = self.buffer[run_at..].iter().take_while(|&&byte| byte == ESCAPE).count();
        let behind = run_at + run;
        if behind == self.buffer.len() {
            return Step::Wait;
        }
        let mut at = run_at;
        let doubles = self.doubled.len();
        while run >= 2 * RUN {
            self.doubled.push(at - self.done);
            at += 2 * RUN;
            run -= 2 * RUN;
        }
        if run < RUN {
            self.inside = Some(behind);
            return Step::Again;
        }
        let Some(tail) = self.buffer.get(behind..behind + 4) else {
            // The whole run is looked at again with what follows it.
            self.doubled.truncate(doubles);
            return Step::Wait;
        };
        match *tail {
            [END, padding @ 0..=3, low, high] => {
                Step::Found(self.close(behind, padding, u16::from_le_bytes([low, high])))
            }
            [1, 1, 1, 1] => {
                let bytes = behind - RUN - self.done;
                self.drop_frame(behind - RUN);
                Step::Found(Found::Error(FrameError::CutShort { bytes }))
            }
            _ => {
                let bytes = behind - self.done;
                // What follows may be the next start with a byte lost from its front: only the run is skipped.
                self.drop_frame(behind);
                Step::Found(Found::Error(FrameError::Escape { bytes }))
            }
        }
    }

    /// A frame whose end sequence is complete; `behind` is the place of its 1A.
    fn close(&mut self, behind: usize, padding: u8, given: u16) -> Found {
        let begin = self.done;
        let end = behind + 4;
        let crc = Crc::check(&self.buffer[begin..behind + 2], given);
        let unescaped = !self.doubled.is_empty();
        if unescaped {
            self.unescaped.clear();
            let mut from = begin + START.len();
            for offset in self.doubled.drain(..) {
                self.unescaped.extend_from_slice(&self.buffer[from..begin + offset + RUN]);
                from = begin + offset + 2 * RUN;
            }
            self.unescaped.extend_from_slice(&self.buffer[from..behind - RUN]);
        }
        self.inside = None;
        if crc.is_valid() {
            self.done = end;
        } else {
            // Where the end lost bytes too, what was taken for the check is the beginning of the next frame.
            self.discard(behind + 1);
        }
        Found::Frame { begin, end, padding: usize::from(padding), crc, unescaped }
    }

    /// The frame ends at `end` without being one.
    fn drop_frame(&mut self, end: usize) {
        self.inside = None;
        self.doubled.clear();
        self.discard(end);
    }

    /// Everything before `end` belongs to no frame.
    fn discard(&mut self, end: usize) {
        let bytes = (end - self.done) as u64;
        self.discarded += bytes;
        self.discarded_total += bytes;
        self.done = end;
    }
}

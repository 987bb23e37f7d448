//! Finding a SunSpec model: the word `SunS`, then a chain of blocks, each with its number and length.
//!
//! SunSpec Device Information Model Specification 1.1: the marker stands at 40000, 50000 or 0, model 1 (common) comes
//! first, the chain ends with number 0xFFFF.

/// Where the marker may stand, the usual place first.
const BASES: [u16; 3] = [40_000, 50_000, 0];
const MARKER: [u16; 2] = [0x5375, 0x6E53];
const END: u16 = 0xFFFF;
/// Number of the block in which a device, or a part of it, says who it is: 16 registers with the maker's name come first.
pub const COMMON: u16 = 1;
/// Registers of the maker's name.
pub const MAKER: u16 = 16;
/// Blocks that a device may have in front of its meter; a chain that goes on for longer is none.
const LONGEST: u8 = 64;

/// Walks the chain: says what to read, takes the answer.
#[derive(Clone, Debug)]
pub struct Chain {
    base: usize,
    /// Next header; `None` while the marker is looked for.
    header: Option<u16>,
    seen: u8,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainStep {
    /// Two holding registers from here.
    Read(u16),
    /// The first register of the block's values, the block's number and its length.
    Found {
        /// First register behind number and length.
        first: u16,
        /// Number of the SunSpec model.
        model: u16,
        /// Registers.
        length: u16,
    },
}

/// Why there is no such block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The marker is nowhere.
    #[error("no SunSpec marker at 40000, 50000 or 0")]
    NoMarker,
    /// The chain ends without it.
    #[error("the SunSpec chain has no meter of this kind")]
    NotInChain,
    /// The chain does not end.
    #[error("the SunSpec chain has no end")]
    Endless,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// From the beginning.
    #[must_use]
    pub const fn new() -> Self {
        Self { base: 0, header: None, seen: 0 }
    }

    /// The next pair of registers.
    #[must_use]
    pub fn next(&self) -> u16 {
        self.header.unwrap_or(BASES[self.base])
    }

    /// The marker was found: what is read next is a block's number and length.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.header.is_some()
    }

    /// Takes the answer; `None` when the device refused. `wanted` are the numbers that are looked for.
    pub fn take(&mut self, answer: Option<[u16; 2]>, wanted: &[u16]) -> Result<ChainStep, ChainError> {
        let Some(header) = self.header else {
            if answer == Some(MARKER) {
                self.header = Some(BASES[self.base] + 2);
            } else if self.base + 1 < BASES.len() {
                self.base += 1;
            } else {
                return Err(ChainError::NoMarker);
            }
            return Ok(ChainStep::Read(self.next()));
        };
        let [model, length] = answer.ok_or(ChainError::NotInChain)?;
        if model == END {
            return Err(ChainError::NotInChain);
        }
        let first = header.checked_add(2).ok_or(ChainError::Endless)?;
        if wanted.contains(&model) {
            return Ok(ChainStep::Found { first, model, length });
        }
        self.seen += 1;
        let next = first.checked_add(length).filter(|_| self.seen < LONGEST).ok_or(ChainError::Endless)?;
        self.header = Some(next);
        Ok(ChainStep::Read(next))
    }
}

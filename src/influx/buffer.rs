//! Lines on their way to the database.

use std::collections::VecDeque;

/// About an hour of a house with one meter and five chargers each five seconds.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Of one request.
const MAX_BATCH: usize = 128 * 1024;

/// See the module. Lines are numbered from the start, so that a batch under way can be forgotten afterwards even when
/// some of it was dropped meanwhile.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    lines: VecDeque<String>,
    bytes: usize,
    /// Number of the first line that is here.
    first: u64,
    dropped: u64,
}

/// Some lines, and the number after the last of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) text: String,
    pub(super) end: u64,
}

impl Buffer {
    /// Takes lines; the oldest make room.
    pub(super) fn push(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.bytes += line.len();
            self.lines.push_back(line);
        }
        while self.bytes > MAX_BYTES && self.pop() {
            self.dropped += 1;
        }
    }

    /// The oldest lines; `None` when there are none.
    pub(super) fn batch(&self) -> Option<Batch> {
        let mut batch = Batch { text: String::new(), end: self.first };
        for line in &self.lines {
            if !batch.text.is_empty() && batch.text.len() + line.len() > MAX_BATCH {
                break;
            }
            batch.text.push_str(line);
            batch.end += 1;
        }
        (!batch.text.is_empty()).then_some(batch)
    }

    /// Forgets every line before this number; gives how many were still here.
    pub(super) fn forget(&mut self, end: u64) -> u64 {
        let mut gone = 0;
        while self.first < end && self.pop() {
            gone += 1;
        }
        gone
    }

    /// Forgets them as lost.
    pub(super) fn drop_until(&mut self, end: u64) {
        self.dropped += self.forget(end);
    }

    /// Lines here.
    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Lines lost since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn pop(&mut self) -> bool {
        let Some(line) = self.lines.pop_front() else { return false };
        self.bytes -= line.len();
        self.first += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_make_room_and_a_batch_under_way_is_forgotten_once() {
        let mut buffer = Buffer::default();
        let line = |number: usize| format!("{number:0>1023}\n");
        buffer.push((0..10).map(line));
        let batch = buffer.batch().unwrap();
        assert_eq!((batch.text.len(), batch.end), (10 * 1024, 10));
        buffer.push((10..2050).map(line));
        assert_eq!((buffer.len(), buffer.dropped()), (2048, 2));
        assert_eq!(buffer.forget(batch.end), 8);
        let next = buffer.batch().unwrap();
        assert!(next.text.starts_with(&line(10)));
        assert_eq!(next.text.len(), MAX_BATCH);
        buffer.drop_until(next.end);
        assert_eq!(buffer.dropped(), 2 + 128);
    }

    #[test]
    fn one_line_is_always_a_batch() {
        let mut buffer = Buffer::default();
        assert_eq!(buffer.batch(), None);
        buffer.push(["x".repeat(MAX_BATCH + 1)]);
        assert_eq!(buffer.batch().unwrap().end, 1);
    }
}

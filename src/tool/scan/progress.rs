//! How far a scan is, for whoever reads it where no line can be overwritten: a file, a log, a container.

use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Makes lines of what is written to be overwritten: one at once, then at most one in each while.
pub struct Lines<W> {
    out: W,
    every: Duration,
    line: Vec<u8>,
    shown: Option<Instant>,
}

impl<W: Write> Lines<W> {
    /// Lines to there, with so much between two of them.
    pub fn new(out: W, every: Duration) -> Self {
        Self { out, every, line: Vec::new(), shown: None }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => self.line.clear(),
                _ => self.line.push(*byte),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = self.line.trim_ascii();
        if text.is_empty() || self.shown.is_some_and(|it| it.elapsed() < self.every) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        self.out.write_all(text)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

/// How long the steps of a scan take.
#[derive(Debug, Default)]
pub(super) struct Pace {
    begun: Option<Instant>,
    done: u32,
}

impl Pace {
    /// Steps after which the mean says something.
    const ENOUGH: u32 = 10;

    /// A step begins; what is left is said in words, where that is known.
    pub(super) fn left(&mut self, steps: usize) -> String {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let text = self.words(begun.elapsed(), steps);
        self.done += 1;
        text
    }

    fn words(&self, passed: Duration, steps: usize) -> String {
        if self.done < Self::ENOUGH {
            return String::new();
        }
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        match (passed / self.done).saturating_mul(steps).as_secs() {
            0..60 => "under 1 min".to_owned(),
            seconds => format!("about {} min", seconds.div_ceil(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(every: Duration) -> String {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out, every);
        for unit in 1..=3 {
            write!(lines, "\r{unit:>5}/3 unit {unit:<3} ").unwrap();
            lines.flush().unwrap();
        }
        writeln!(lines).unwrap();
        lines.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_left_of_a_scan_is_said_once_that_is_known() {
        let pace = |done| Pace { begun: None, done };
        assert_eq!(pace(9).words(Duration::from_secs(9), 2470), "");
        assert_eq!(pace(10).words(Duration::from_secs(5), 2460), "about 21 min");
        assert_eq!(pace(100).words(Duration::from_secs(20), 200), "under 1 min");
    }

    #[test]
    fn what_would_be_overwritten_is_lines_and_not_too_many() {
        assert_eq!(lines(Duration::ZERO), "1/3 unit 1\n2/3 unit 2\n3/3 unit 3\n");
        assert_eq!(lines(Duration::from_secs(3600)), "1/3 unit 1\n");
    }
}

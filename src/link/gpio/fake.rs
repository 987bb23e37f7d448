//! A chip in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::{Gpio, Line, LineName, Pull};

/// Lines by name; `None` for one that fails at every call.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeChip {
    lines: Arc<Mutex<BTreeMap<String, Option<bool>>>>,
    pulls: Arc<Mutex<Vec<Pull>>>,
    history: Arc<Mutex<Vec<bool>>>,
}

impl FakeChip {
    /// Drives a line from outside, or breaks it.
    pub(crate) fn drive(&self, line: &str, level: Option<bool>) {
        self.lines.lock().unwrap().insert(line.to_owned(), level);
    }

    pub(crate) fn level(&self, line: &str) -> Option<bool> {
        self.lines.lock().unwrap().get(line).copied().flatten()
    }

    /// How inputs were asked to be pulled.
    pub(crate) fn pulls(&self) -> Vec<Pull> {
        self.pulls.lock().unwrap().clone()
    }

    /// Every level that was driven.
    pub(crate) fn history(&self) -> Vec<bool> {
        self.history.lock().unwrap().clone()
    }

    fn access(&self, line: &LineName) -> io::Result<bool> {
        match self.lines.lock().unwrap().get(&line.to_string()) {
            Some(Some(level)) => Ok(*level),
            Some(None) => Err(io::Error::other("the chip has gone")),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "there is no such line")),
        }
    }
}

impl Gpio for FakeChip {
    fn input(&self, line: &LineName, pull: Pull) -> io::Result<Box<dyn Line>> {
        self.access(line)?;
        self.pulls.lock().unwrap().push(pull);
        Ok(Box::new(FakeLine { chip: self.clone(), line: line.clone() }))
    }

    fn output(&self, line: &LineName, high: bool) -> io::Result<Box<dyn Line>> {
        self.access(line)?;
        let held = FakeLine { chip: self.clone(), line: line.clone() };
        held.set(high)?;
        Ok(Box::new(held))
    }
}

#[derive(Debug)]
struct FakeLine {
    chip: FakeChip,
    line: LineName,
}

impl Line for FakeLine {
    fn is_high(&self) -> io::Result<bool> {
        self.chip.access(&self.line)
    }

    fn set(&self, high: bool) -> io::Result<()> {
        self.chip.access(&self.line)?;
        self.chip.drive(&self.line.to_string(), Some(high));
        self.chip.history.lock().unwrap().push(high);
        Ok(())
    }
}

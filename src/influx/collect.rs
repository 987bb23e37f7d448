//! What is new in a snapshot, as lines: the keys and values of the state topics.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::line::Line;
use crate::clock;
use crate::config::Config;
use crate::config::model::MeterRole;
use crate::mqtt::{Clocks, Moment, Out, QUALITY, Steady, charger, meter, relay, site};
use crate::quantity::Mono;
use crate::status::{MeterView, Snapshot};

/// Lines of one snapshot; more than any installation has devices.
const MAX_LINES: usize = 512;
/// Fields of one meter, as for its state topic.
const MAX_FIELDS: usize = 160;
/// A clock that is set back by more than this was wrong before; by less, it is the same reading once more.
const SET_BACK_MS: i64 = 60_000;

/// What was last written of a device.
#[derive(Debug)]
struct Last {
    /// Time of its newest line, unix ms.
    at: i64,
    /// How it did then.
    word: Option<&'static str>,
}

/// Makes lines of what has changed since it looked last.
#[derive(Debug)]
pub(crate) struct Collector {
    zone: TimeZone,
    roles: HashMap<String, MeterRole>,
    steady: Steady,
    newest: HashMap<(&'static str, Arc<str>), Last>,
}

impl Collector {
    /// For the devices of a configuration.
    ///
    /// # Errors
    /// When the time zone is not known to the time zone data base.
    pub(crate) fn of(config: &Config) -> Result<Self, jiff::Error> {
        let roles = config.meters.iter().map(|it| (it.common.id.clone(), it.role));
        Ok(Self::new(TimeZone::get(&config.site.time_zone)?, roles))
    }

    /// `roles`: what each configured meter measures, by its id.
    pub(crate) fn new(zone: TimeZone, roles: impl IntoIterator<Item = (String, MeterRole)>) -> Self {
        Self { zone, roles: roles.into_iter().collect(), steady: Steady::default(), newest: HashMap::new() }
    }

    /// Every line that there is to write, each with its line end. Nothing while the clock of the machine is not set.
    pub(crate) fn collect(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<String> {
        let clocks = Clocks { at: snapshot.at, wall_ms: snapshot.wall_ms };
        if !clock::is_set(clocks.wall_ms) {
            return Vec::new();
        }
        let zone = self.zone.clone();
        let at = Moment { now, clocks, steady: self.steady.of(clocks), zone: &zone };
        let mut lines = Vec::with_capacity(1 + snapshot.meters.len() + snapshot.chargers.len());
        let mut site_line = Line::new("site", "site", "site");
        for key in &site::KEYS {
            site_line.put(key.name, &(key.value)(snapshot, &at));
        }
        let read = Some(snapshot.wall_ms);
        lines.extend(self.finish(site_line, ("site", "site".into()), (read, snapshot.wall_ms), None));
        for view in &snapshot.chargers {
            let mut line = Line::new("charger", &view.id, "charger");
            for key in &charger::KEYS {
                line.put(key.name, &(key.value)(view, &at));
            }
            let read = view.status.heard_at.map(|it| clocks.wall(it));
            let word = Word { key: "status", role: "charger", is: view.status.word.word() };
            let times = (read, snapshot.wall_ms);
            lines.extend(self.finish(line, ("charger", Arc::clone(&view.id)), times, Some(word)));
        }
        for view in &snapshot.relays {
            let mut line = Line::new("relay", &view.id, "relay");
            for key in &relay::KEYS {
                line.put(key.name, &(key.value)(view, &at));
            }
            let read = view.status.heard_at.map(|it| clocks.wall(it));
            lines.extend(self.finish(line, ("relay", Arc::clone(&view.id)), (read, snapshot.wall_ms), None));
        }
        for view in snapshot.meters.iter().chain(&snapshot.sub_meters).take(MAX_LINES) {
            lines.extend(self.meter(view, clocks));
        }
        lines
    }

    fn meter(&mut self, view: &MeterView, clocks: Clocks) -> Option<String> {
        let values = &view.values;
        let mut line = Line::new("meter", &view.id, self.role(&view.id));
        for key in values.values.keys().take(MAX_FIELDS) {
            line.put(key, &meter::value(values, key));
        }
        let word = Word { key: QUALITY, role: self.role(&view.id), is: meter::quality(view).word() };
        line.put(QUALITY, &Out::Word(word.is));
        let read = values.wall_ms.or(values.received_at.map(|it| clocks.wall(it)));
        let role = word.role.to_owned();
        let word = Word { key: word.key, role: &role, is: word.is };
        self.finish(line, ("meter", Arc::clone(&view.id)), (read, clocks.wall_ms), Some(word))
    }

    /// As configured; of a meter behind another one, what follows that one's id: `gas`, `water`, …
    fn role<'a>(&self, id: &'a str) -> &'a str {
        if let Some(role) = self.roles.get(id) {
            return role.word();
        }
        let behind = self.roles.keys().filter_map(|it| id.strip_prefix(it.as_str())?.strip_prefix('-'));
        behind.min_by_key(|it| it.len()).and_then(|it| it.split('-').next()).unwrap_or("other")
    }

    /// The line with the time of its reading, unless that is no newer than the last of the same device. Where no reading
    /// comes any more, only how the device does now is written, at the time of the snapshot: its old figures are not of
    /// that moment.
    fn finish(
        &mut self,
        line: Line,
        device: (&'static str, Arc<str>),
        (read, now): (Option<i64>, i64),
        word: Option<Word<'_>>,
    ) -> Option<String> {
        let (kind, id) = (device.0, Arc::clone(&device.1));
        let is = word.as_ref().map(|it| it.is);
        let last = self.newest.get(&device);
        let newer = |read: i64| last.as_ref().is_none_or(|it| read > it.at || it.at - read >= SET_BACK_MS);
        if let Some(read) = read.filter(|it| newer(*it)) {
            self.newest.insert(device, Last { at: read, word: is });
            return line.finish(read);
        }
        let word = word.filter(|it| last.as_ref().is_none_or(|last| last.word != Some(it.is) && last.at < now))?;
        self.newest.insert(device, Last { at: now, word: is });
        let mut short = Line::new(kind, &id, word.role);
        short.put(word.key, &Out::Word(word.is));
        short.finish(now)
    }
}

/// How a device does, in one word.
struct Word<'a> {
    key: &'static str,
    role: &'a str,
    is: &'static str,
}

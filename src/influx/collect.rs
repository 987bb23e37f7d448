//! What is new in a snapshot, as lines: the keys and values of the state topics.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::line::Line;
use crate::config::Config;
use crate::config::model::MeterRole;
use crate::mqtt::{Clocks, Guard, Key, Moment, Out, QUALITY, Steady, charger, meter, relay, site};
use crate::quantity::Mono;
use crate::status::{MeterView, Snapshot};

/// Lines of one snapshot; more than any installation has devices.
const MAX_LINES: usize = 512;
/// Fields of one meter, as for its state topic.
const MAX_FIELDS: usize = 160;
/// A clock that is set back by more than this was wrong before; by less, it is the same reading once more.
const SET_BACK_MS: i64 = 60_000;
/// 2024-01-01: this program is younger, so a clock that is behind it was never set.
const CLOCK_IS_SET: i64 = 1_704_067_200_000;

/// Makes lines of what has changed since it looked last. Counters of meters come guarded; those of chargers are here.
#[derive(Debug)]
pub(crate) struct Collector {
    zone: TimeZone,
    roles: HashMap<String, MeterRole>,
    steady: Steady,
    guard: Guard,
    /// Time of the newest line of a device, unix ms.
    newest: HashMap<(&'static str, Arc<str>), i64>,
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
        Self {
            zone,
            roles: roles.into_iter().collect(),
            steady: Steady::default(),
            guard: Guard::default(),
            newest: HashMap::new(),
        }
    }

    /// Every line that there is to write, each with its line end. Nothing while the clock of the machine is not set.
    pub(crate) fn collect(&mut self, snapshot: &Snapshot, now: Mono) -> Vec<String> {
        let clocks = Clocks { at: snapshot.at, wall_ms: snapshot.wall_ms };
        if clocks.wall_ms < CLOCK_IS_SET {
            return Vec::new();
        }
        let zone = self.zone.clone();
        let at = Moment { now, clocks, steady: self.steady.of(clocks), zone: &zone };
        let mut lines = Vec::with_capacity(1 + snapshot.meters.len() + snapshot.chargers.len());
        let mut site_line = Line::new("site", "site", "site");
        for key in &site::KEYS {
            site_line.put(key.name, &self.value(key, snapshot, &at, "site", Some(snapshot.at)));
        }
        lines.extend(self.finish("site", "site".into(), site_line, Some(snapshot.wall_ms)));
        for view in &snapshot.chargers {
            let mut line = Line::new("charger", &view.id, "charger");
            let heard = view.status.heard_at;
            for key in &charger::KEYS {
                line.put(key.name, &self.value(key, view, &at, &view.id, heard));
            }
            lines.extend(self.finish("charger", Arc::clone(&view.id), line, heard.map(|it| clocks.wall(it))));
        }
        for view in &snapshot.relays {
            let mut line = Line::new("relay", &view.id, "relay");
            let heard = view.status.heard_at;
            for key in &relay::KEYS {
                line.put(key.name, &self.value(key, view, &at, &view.id, heard));
            }
            lines.extend(self.finish("relay", Arc::clone(&view.id), line, heard.map(|it| clocks.wall(it))));
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
        line.put(QUALITY, &Out::Word(meter::quality(view).word()));
        let read = values.wall_ms.or(values.received_at.map(|it| clocks.wall(it)));
        self.finish("meter", Arc::clone(&view.id), line, read)
    }

    fn value<C, I>(&mut self, key: &Key<C, I>, view: &C, at: &Moment<'_>, id: &str, heard: Option<Mono>) -> Out {
        let value = (key.value)(view, at);
        if key.counter { self.guard.pass(id, key.name, value, heard) } else { value }
    }

    /// As configured; of a meter behind another one, what follows that one's id: `gas`, `water`, …
    fn role<'a>(&self, id: &'a str) -> &'a str {
        if let Some(role) = self.roles.get(id) {
            return role.word();
        }
        let behind = self.roles.keys().filter_map(|it| id.strip_prefix(it.as_str())?.strip_prefix('-'));
        behind.min_by_key(|it| it.len()).and_then(|it| it.split('-').next()).unwrap_or("other")
    }

    /// The line, unless it is no newer than the last of the same device.
    fn finish(&mut self, kind: &'static str, id: Arc<str>, line: Line, read: Option<i64>) -> Option<String> {
        let read = read?;
        let newest = self.newest.entry((kind, id)).or_insert(i64::MIN);
        if read <= *newest && *newest - read < SET_BACK_MS {
            return None;
        }
        *newest = read;
        line.finish(read)
    }
}

//! Sessions over a restart: since when a car charges, what it has had, and what was set for it. The controller decides at
//! the first contact with the charger whether it is still the same car.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::boot::Boot;
use super::keeper::{self, Keeper};
use crate::clock;
use crate::control::{Controller, Mode, ModeAfter, SESSION_KWH, SessionMemory};
use crate::device::ControlLink;
use crate::quantity::{Mono, WattHour};

const FILE: &str = "sessions.json";
/// A wall clock that is kept right moves by less between two starts of ours.
const SAME_START_MS: i64 = 10_000;
/// A hundred chargers stay far below this.
const LONGEST: u64 = 64 * 1024;

/// One charger's session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
struct Kept {
    /// Unix ms; none where the begin was not seen or the clock not set.
    began_ms: Option<i64>,
    /// The machine's age when the charger was last heard, and when it was started by the wall clock, unix ms.
    heard_ms: Option<i64>,
    booted_ms: Option<i64>,
    /// In Wh.
    energy_at_start: Option<i64>,
    energy: Option<i64>,
    highest: Option<i64>,
    box_energy: Option<i64>,
    interruptions: u16,
    has_drawn: bool,
    limit: Option<i64>,
    mode_after: Option<String>,
}

/// The word of `mode_after_session` for a session that ends.
const KEEP: &str = "keep";

fn mode_after(word: &str) -> Option<ModeAfter> {
    if word == KEEP { Some(ModeAfter::Keep) } else { Mode::from_word(word).map(ModeAfter::Goes) }
}

/// By the id of the charger.
type AllKept = BTreeMap<String, Kept>;

/// When the machine was started, by the wall clock as it goes now; `None` where that is not set.
fn booted_ms(boot: Boot, now: Now) -> Option<i64> {
    clock::is_set(now.wall_ms).then(|| now.wall_ms - boot.age_ms(now.mono))
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) mono: Mono,
    pub(super) wall_ms: i64,
}

impl Kept {
    fn of(memory: &SessionMemory, boot: Option<Boot>, now: Now) -> Self {
        let heard = boot.zip(memory.heard_at);
        Self {
            began_ms: memory
                .start
                .filter(|_| clock::is_set(now.wall_ms))
                .map(|it| now.wall_ms.saturating_sub(now.mono.0.saturating_sub(it.0))),
            heard_ms: heard.map(|(boot, at)| boot.age_ms(at)),
            booted_ms: boot.and_then(|it| booted_ms(it, now)),
            energy_at_start: memory.energy_at_start.map(|it| it.0),
            energy: memory.energy.map(|it| it.0),
            highest: memory.highest.map(|it| it.0),
            box_energy: memory.box_energy.map(|it| it.0),
            interruptions: memory.interruptions,
            has_drawn: memory.has_drawn,
            limit: memory.limit.map(|it| it.0),
            mode_after: memory.mode_after.map(|it| it.setting().map_or(KEEP, Mode::word).to_owned()),
        }
    }

    fn memory(&self, boot: Option<Boot>, now: Now) -> SessionMemory {
        // Since a restart of the machine it is younger, or was started at another time by a clock that knows the time; one
        // that does not goes on where it was stopped, and then the start seems later.
        let same = boot.filter(|it| {
            let moved = booted_ms(*it, now).zip(self.booted_ms).map(|(now, before)| (now - before).abs());
            let aged = self.heard_ms.is_some_and(|heard| heard <= it.age_ms(now.mono));
            aged && moved.is_some_and(|it| it <= SAME_START_MS)
        });
        let wall = self.began_ms.filter(|it| clock::is_set(now.wall_ms) && *it <= now.wall_ms);
        SessionMemory {
            start: wall.filter(|it| clock::is_set(*it)).map(|it| Mono(now.mono.0.saturating_sub(now.wall_ms - it))),
            heard_at: same.zip(self.heard_ms).map(|(boot, age)| boot.at(age)),
            energy_at_start: counted(self.energy_at_start),
            energy: counted(self.energy),
            highest: counted(self.highest),
            box_energy: counted(self.box_energy),
            interruptions: self.interruptions,
            has_drawn: self.has_drawn,
            limit: self.limit.filter(|it| allowed_limit(*it)).map(WattHour),
            mode_after: self.mode_after.as_deref().and_then(mode_after),
        }
    }
}

/// A limit in Wh that a command can have set.
fn allowed_limit(limit: i64) -> bool {
    let kwh = WattHour(limit).as_f64() / 1000.0;
    (SESSION_KWH.0..=SESSION_KWH.1).contains(&kwh)
}

/// A counter in Wh; none below zero.
fn counted(figure: Option<i64>) -> Option<WattHour> {
    figure.filter(|it| *it >= 0).map(WattHour)
}

/// The sessions that are kept for the next start.
#[derive(Debug)]
pub(super) struct Sessions {
    keeper: Keeper<AllKept>,
    boot: Option<Boot>,
    ids: Vec<String>,
    /// What was handed to the disk, by charger.
    kept: Vec<Option<SessionMemory>>,
}

impl Sessions {
    /// Gives the controller what the last run kept, and starts the thread that writes. The sentence is about a file that
    /// cannot be used.
    pub(super) fn start(
        folder: &Path,
        boot: Option<Boot>,
        ids: Vec<String>,
        controller: &mut Controller,
        now: Now,
        control: ControlLink,
    ) -> std::io::Result<(Self, JoinHandle<()>, Option<String>)> {
        let (all, problem) = read(folder);
        for (charger, id) in ids.iter().enumerate() {
            if let Some(kept) = all.get(id) {
                controller.remember(charger, kept.memory(boot, now));
            }
        }
        let (keeper, thread) = keeper::start("sessions", folder.join(FILE), control)?;
        let kept = controller.sessions().collect();
        Ok((Self { keeper, boot, ids, kept }, thread, problem))
    }

    /// Hands the sessions to the disk where more has changed than what counts on; `all`: whatever has changed.
    pub(super) fn keep(&mut self, controller: &Controller, now: Now, all: bool) {
        let same = |one: &Option<SessionMemory>, other: &Option<SessionMemory>| match (one, other) {
            (Some(one), Some(other)) if !all => lasting(one) == lasting(other),
            (one, other) => one == other,
        };
        if self.kept.iter().zip(controller.sessions()).all(|(kept, now)| same(kept, &now)) {
            return;
        }
        let kept: Vec<_> = controller.sessions().collect();
        let of_charger = |(id, memory): (&String, &Option<SessionMemory>)| {
            Some((id.clone(), Kept::of(memory.as_ref()?, self.boot, now)))
        };
        // A disk that is busy is asked again with the next picture.
        if self.keeper.keep(self.ids.iter().zip(&kept).filter_map(of_charger).collect()) {
            self.kept = kept;
        }
    }
}

/// Without what changes with every report.
fn lasting(memory: &SessionMemory) -> SessionMemory {
    SessionMemory { heard_at: None, energy: None, highest: None, box_energy: None, ..*memory }
}

fn read(folder: &Path) -> (AllKept, Option<String>) {
    let path = folder.join(FILE);
    let mut text = String::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    let outcome = match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return (AllKept::new(), None),
        Err(error) => Err(error.to_string()),
        Ok(_) => serde_json::from_str(&text).map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(kept) => (kept, None),
        Err(error) => {
            let what = format!("{}: {error}; limits that were set for the cars of now are forgotten", path.display());
            (AllKept::new(), Some(what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: i64 = clock::EARLIEST_WALL_MS + 1_000_000_000;

    fn memory() -> SessionMemory {
        SessionMemory {
            start: Some(Mono(10_000)),
            heard_at: Some(Mono(500_000)),
            energy_at_start: Some(WattHour(1)),
            energy: Some(WattHour(2)),
            highest: Some(WattHour(3)),
            box_energy: Some(WattHour(4)),
            interruptions: 5,
            has_drawn: true,
            limit: Some(WattHour(6_000)),
            mode_after: Some(ModeAfter::Goes(Mode::Solar)),
        }
    }

    #[test]
    fn what_is_kept_comes_back_at_the_same_moments() {
        let (one, two) = (Boot::of_test(1_000), Boot::of_test(601_000));
        let kept = Kept::of(&memory(), Some(one), Now { mono: Mono(500_000), wall_ms: WALL });
        let text = serde_json::to_string(&kept).unwrap();
        let kept: Kept = serde_json::from_str(&text).unwrap();
        // A process that was started 600 s later.
        let now = Now { mono: Mono(0), wall_ms: WALL + 100_000 };
        let back = kept.memory(Some(two), now);
        assert_eq!(back, SessionMemory { start: Some(Mono(-590_000)), heard_at: Some(Mono(-100_000)), ..memory() });
        assert_eq!(kept.memory(None, Now { wall_ms: 0, ..now }).start, None);
        // The machine was off as well: what its clock shows is no proof of a short time. Without a battery it goes on
        // where it was stopped, however long the night was.
        for (age, wall) in [(5_000, 100_000), (5_000, 3_600_000), (700_000, 300_000), (601_000, 120_000)] {
            let now = Now { mono: Mono(0), wall_ms: WALL + wall };
            assert_eq!(kept.memory(Some(Boot::of_test(age)), now).heard_at, None, "{age} {wall}");
        }
        let unset = Now { mono: Mono(0), wall_ms: 0 };
        assert_eq!(kept.memory(Some(two), unset).heard_at, None);
    }

    #[test]
    fn what_no_run_can_have_kept_is_dropped() {
        let now = Now { mono: Mono(0), wall_ms: WALL };
        let memory = |text: &str| serde_json::from_str::<Kept>(text).unwrap().memory(None, now);
        for limit in [-5, 0, 99, 1_000_001, i64::MAX] {
            assert_eq!(memory(&format!("{{\"limit\":{limit}}}")).limit, None, "{limit}");
        }
        assert_eq!(memory("{\"limit\":5000}").limit, Some(WattHour(5_000)));
        assert_eq!(memory("{\"began_ms\":1000}").start, None, "1970");
        assert_eq!(memory("{\"energy\":-1,\"box_energy\":-1}"), memory("{}"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), (AllKept::new(), None));
        for bad in ["", "[]", "{\"left\":{\"interruptions\":-1}}"] {
            std::fs::write(folder.path().join(FILE), bad).unwrap();
            let (kept, problem) = read(folder.path());
            assert!(kept.is_empty() && problem.unwrap().contains(FILE), "{bad}");
        }
    }
}

//! The counters of all meters over a restart: what was shown last, so that a figure below it is doubted after the start
//! as it is at any other time; and what the meters behind a P1 port are called. Written seldom and by a thread of its
//! own, because memory cards wear and disks hang.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::keeper::{self, Keeper};
use super::peak::Peak;
use crate::device::ControlLink;
use crate::device::meter::Name;

const FILE: &str = "counters.json";
/// 200 meters with thirty counters each stay below this.
const LONGEST: u64 = 1024 * 1024;

/// Figures by key.
pub(super) type Figures = BTreeMap<String, f64>;

/// One meter's counters.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Kept {
    /// Its serial number, where it says one: with another one nothing of this counts.
    pub(super) serial: Option<String>,
    pub(super) own: Figures,
    /// Of the meters behind it, by the suffix of their ids.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) behind: BTreeMap<String, Figures>,
    /// Which of them has which suffix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<Name>,
    /// Of the meter at the grid, where it keeps no peaks itself.
    #[serde(default)]
    pub(super) peak: Peak,
}

/// By the id of the meter.
pub(super) type AllKept = BTreeMap<String, Kept>;

/// What was kept; nothing of a file that is missing, and a sentence about one that cannot be used.
pub(super) fn read(folder: &Path) -> (AllKept, Option<String>) {
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
            let what = format!(
                "{}: {error}; a counter that fell while we were off is not noticed, and meters behind others are named anew",
                path.display()
            );
            (AllKept::new(), Some(what))
        }
    }
}

/// Starts the thread that writes them.
pub(super) fn start(folder: &Path, control: ControlLink) -> std::io::Result<(Keeper<AllKept>, JoinHandle<()>)> {
    keeper::start("counters", folder.join(FILE), control)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::device::ToControl;
    use crate::event::EventType;

    fn one(figure: f64) -> AllKept {
        let own = [("energy_import_kwh".to_owned(), figure)].into();
        let behind = [("gas".to_owned(), [("volume_m3".to_owned(), 3.5)].into())].into();
        let names = vec![Name { suffix: "gas".to_owned(), serial: Some("G1".to_owned()), slot: 2 }];
        [("main".to_owned(), Kept { serial: Some("A".to_owned()), own, behind, names, peak: Peak::default() })].into()
    }

    #[test]
    fn what_is_kept_is_read_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), (AllKept::new(), None), "the first start");
        let (control, _events) = sync_channel(1);
        let (keeper, thread) = start(folder.path(), ControlLink::new(control)).unwrap();
        assert!(keeper.keep(one(500.25)));
        drop(keeper);
        thread.join().unwrap();
        assert_eq!(read(folder.path()), (one(500.25), None));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_one_that_cannot_be_written_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        for bad in
            ["", "{", "[]", "{\"main\":{\"own\":{},\"names\":[5]}}", "{\"main\":{\"own\":{\"energy_gj\":\"5\"}}}"]
        {
            std::fs::write(folder.path().join(FILE), bad).unwrap();
            let (kept, problem) = read(folder.path());
            assert!(kept.is_empty() && problem.unwrap().contains(FILE), "{bad}");
        }
        // A file where the folder should be.
        let (control, events) = sync_channel(10);
        let (keeper, thread) = start(&folder.path().join(FILE), ControlLink::new(control)).unwrap();
        for figure in [1.0, 2.0, 3.0] {
            while !keeper.keep(one(figure)) {
                std::thread::yield_now();
            }
        }
        drop(keeper);
        thread.join().unwrap();
        let told: Vec<_> = events.try_iter().collect();
        assert!(matches!(&told[..], [ToControl::Event(event)] if event.event_type == EventType::DiskError), "{told:?}");
    }
}

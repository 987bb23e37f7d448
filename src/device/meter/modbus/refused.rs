//! Optional polls that the meter refuses, or keeps silent about: they are left out, and asked again now and then. A meter
//! that starts up, and a converter whose own meter is not read yet, refuse registers that they have.

use std::time::Duration;

use tokio::time::Instant;

use crate::codec::model::Model;

/// After the first refusal it is asked again after this time, then after twice as long, …
const FIRST: Duration = Duration::from_secs(10);
/// … up to this.
const LAST: Duration = Duration::from_secs(300);
/// Without an answer so often one after the other, it counts as refused: old firmware is silent about what it does not
/// know. Fewer than the failed rounds after which a meter counts as gone, or it would be gone first.
const SILENT: u32 = 2;

/// Per poll of the model: until when it is left out, and for how long the next time.
#[derive(Debug)]
pub(super) struct Refused {
    polls: Vec<Option<(Instant, Duration)>>,
    /// Per poll: requests without an answer since the last one that had any.
    silent: Vec<u32>,
}

impl Refused {
    pub(super) fn new(model: &Model) -> Self {
        Self { polls: vec![None; model.polls.len()], silent: vec![0; model.polls.len()] }
    }

    /// It was not refused, or so long ago that it is asked again.
    pub(super) fn may_ask(&self, poll: usize, now: Instant) -> bool {
        self.polls[poll].is_none_or(|(until, _)| until <= now)
    }

    pub(super) fn refused(&mut self, poll: usize, now: Instant) {
        let wait = self.polls[poll].map_or(FIRST, |(_, wait)| (wait * 2).min(LAST));
        self.polls[poll] = Some((now + wait, wait));
    }

    /// No answer came; `true` when it is left out from now on.
    pub(super) fn silent(&mut self, poll: usize, now: Instant) -> bool {
        self.silent[poll] = self.silent[poll].saturating_add(1);
        let left_out = self.silent[poll] >= SILENT;
        if left_out {
            self.refused(poll, now);
        }
        left_out
    }

    pub(super) fn answered(&mut self, poll: usize) {
        (self.polls[poll], self.silent[poll]) = (None, 0);
    }
}

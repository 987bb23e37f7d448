//! Requests that nobody waits for take turns on a line, and no more than a fifth of its time.
//!
//! At 9600 baud six meters fill three quarters of a second with what control waits for. The counters of all of them due
//! at once would hold each of those readings up by another second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After a slow request the line is the others' for this many times what it took …
const SHARE: u32 = 4;
/// … but never longer than this, so that one unit's silence is not paid by the counters of all.
const LONGEST: Duration = Duration::from_secs(2);
/// Who has not asked again within this does not want its turn any more.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// Whose turn it is; copies share it.
#[derive(Clone, Debug, Default)]
pub(super) struct SlowTurns(Arc<Mutex<Turns>>);

#[derive(Debug, Default)]
struct Turns {
    taken: bool,
    free_at: Option<Instant>,
    /// Those who came in vain, first come first, and when they last did.
    waiting: Vec<(u8, Instant)>,
}

/// The right to ask for something that nobody waits for; it ends when it is dropped.
#[derive(Debug)]
pub struct SlowTurn {
    turns: SlowTurns,
    begun: Instant,
}

impl SlowTurns {
    /// `None` while another unit has it, has come before this one, or the line is still the others'.
    pub(super) fn ask(&self, unit: u8) -> Option<SlowTurn> {
        let now = Instant::now();
        let mut turns = self.lock();
        turns.waiting.retain(|(_, asked)| now < *asked + FORGOTTEN);
        let free = !turns.taken && turns.free_at.is_none_or(|at| now >= at);
        if free && turns.waiting.first().is_none_or(|(first, _)| *first == unit) {
            turns.taken = true;
            turns.waiting.retain(|(waiting, _)| *waiting != unit);
            return Some(SlowTurn { turns: self.clone(), begun: now });
        }
        match turns.waiting.iter_mut().find(|(waiting, _)| *waiting == unit) {
            Some((_, asked)) => *asked = now,
            None => turns.waiting.push((unit, now)),
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        // Whose turn it is stays usable whatever happened to the thread that held it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SlowTurn {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut turns = self.turns.lock();
        turns.taken = false;
        turns.free_at = Some(now + ((now - self.begun) * SHARE).min(LONGEST));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_slow_request_the_line_is_the_others_for_four_times_as_long() {
        let turns = SlowTurns::default();
        let turn = turns.ask(1).expect("nobody else is there");
        assert!(turns.ask(2).is_none(), "it is taken");
        sleep(Duration::from_millis(200)).await;
        drop(turn);
        sleep(Duration::from_millis(799)).await;
        assert!(turns.ask(2).is_none());
        sleep(Duration::from_millis(1)).await;
        assert!(turns.ask(2).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_unit_holds_the_counters_of_the_others_up_for_two_seconds_at_most() {
        let turns = SlowTurns::default();
        let turn = turns.ask(1);
        sleep(Duration::from_secs(3)).await;
        drop(turn);
        sleep(LONGEST).await;
        assert!(turns.ask(2).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_is_first_and_who_comes_no_more_is_forgotten() {
        let turns = SlowTurns::default();
        let turn = turns.ask(1);
        assert!(turns.ask(2).is_none() && turns.ask(3).is_none());
        drop(turn);
        assert!(turns.ask(3).is_none(), "2 came first");
        assert!(turns.ask(1).is_none(), "and 1 has had its turn");
        assert!(turns.ask(2).is_some());
        sleep(FORGOTTEN - Duration::from_millis(1)).await;
        assert!(turns.ask(1).is_none(), "3 still waits");
        sleep(Duration::from_millis(1)).await;
        assert!(turns.ask(1).is_some(), "3 has not come again");
    }
}

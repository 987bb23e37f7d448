//! How often something that goes on being wrong is said again.

use std::time::Duration;

use tokio::time::Instant;

/// From one mention to the next; the last one for ever.
const PAUSES: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3600)];

/// Says when the same trouble is worth a line of the log again: at once, then after a minute, after ten, and each hour.
#[derive(Clone, Debug, Default)]
pub struct Reminder {
    said_at: Option<Instant>,
    /// Times that it was said.
    said: usize,
    unsaid: u32,
}

impl Reminder {
    /// It went wrong: `Some` with how often it did since it was said last, where it is to be said now.
    pub fn wrong(&mut self) -> Option<u32> {
        let pause = PAUSES[self.said.saturating_sub(1).min(PAUSES.len() - 1)];
        if self.said_at.is_some_and(|at| at.elapsed() < pause) {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(Instant::now());
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }

    /// It went well in between: from now on pauses do not grow any more. What comes and goes is still said once a minute
    /// at most.
    pub fn well(&mut self) {
        self.said = self.said.min(1);
    }
}

/// "(3 more since the last message)", with a blank in front; nothing for none.
#[must_use]
pub fn more(unsaid: u32) -> String {
    if unsaid == 0 { String::new() } else { format!(" ({unsaid} more since the last message)") }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_stays_wrong_is_said_more_and_more_rarely() {
        let mut reminder = Reminder::default();
        let mut said = Vec::new();
        for second in 0..10_000 {
            if reminder.wrong().is_some() {
                said.push(second);
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, [0, 60, 660, 4260, 7860]);
        assert_eq!(reminder.unsaid, 10_000 - 7861);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_and_goes_is_said_once_a_minute() {
        let mut reminder = Reminder::default();
        let mut said = Vec::new();
        for second in 0..200 {
            if let Some(unsaid) = reminder.wrong() {
                said.push((second, unsaid));
            }
            reminder.well();
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, [(0, 0), (60, 59), (120, 59), (180, 59)]);
    }
}

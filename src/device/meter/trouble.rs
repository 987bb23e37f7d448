//! What goes wrong with a meter: counted always, told at most once a second, logged at most once a minute, and more rarely
//! where nothing else comes from it.

use std::time::Duration;

use tokio::time::Instant;

use crate::link::reminder::{Reminder, more};
use crate::status::Health;

const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Trouble {
    /// How messages name the device.
    name: String,
    pub(super) health: Health,
    told: Option<(Health, Instant)>,
    reminder: Reminder,
    /// When it was first said of a meter that is not there; `None` while it is.
    lost_at: Option<Instant>,
    discarded_frames: u64,
    discarded_by_decoder: u64,
}

impl Trouble {
    pub(super) fn new(id: &str) -> Self {
        Self {
            name: format!("meter `{id}`"),
            health: Health::default(),
            told: None,
            reminder: Reminder::default(),
            lost_at: None,
            discarded_frames: 0,
            discarded_by_decoder: 0,
        }
    }

    /// How messages name the device.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A frame that gave a reading.
    pub(super) fn good(&mut self) {
        self.health.good += 1;
        self.health.online = true;
        self.reminder.well();
        if let Some(at) = self.lost_at.take() {
            let again = if self.health.good > 1 { " again" } else { "" };
            tracing::info!("{}: answers{again}, after {} s", self.name, at.elapsed().as_secs());
        }
    }

    /// A frame that gave none.
    pub(super) fn bad(&mut self, sentence: &str) {
        self.health.bad += 1;
        self.say(sentence);
    }

    /// A request without an answer.
    pub(super) fn timeout(&mut self, sentence: &str) {
        self.health.timeouts += 1;
        self.say(sentence);
    }

    /// The link is gone or could not be opened.
    pub(super) fn link_lost(&mut self, sentence: &str) {
        self.health.online = false;
        self.say(sentence);
    }

    /// A whole frame was thrown away.
    pub(super) fn discarded_frame(&mut self, bytes: usize) {
        self.discarded_frames += bytes as u64;
        self.sum_discarded();
    }

    /// What the decoder has thrown away since it began.
    pub(super) fn discarded_by_decoder(&mut self, total: u64) {
        self.discarded_by_decoder = total;
        self.sum_discarded();
    }

    fn sum_discarded(&mut self) {
        self.health.discarded_bytes = self.discarded_frames + self.discarded_by_decoder;
    }

    /// Keeps a sentence as the last error, and logs it where it is time for one.
    pub(super) fn say(&mut self, sentence: &str) {
        let sentence = format!("{}: {sentence}", self.name);
        match self.reminder.wrong() {
            Some(unsaid) => tracing::warn!("{sentence}{}", more(unsaid)),
            None => tracing::debug!("{sentence}"),
        }
        if !self.health.online {
            self.lost_at.get_or_insert_with(Instant::now);
        }
        self.health.last_error = Some(sentence.into());
    }

    /// The health, when it changed and was not told within the last second.
    pub(super) fn due(&mut self) -> Option<Health> {
        if let Some((told, at)) = &self.told
            && (*told == self.health || at.elapsed() < TELL_EVERY)
        {
            return None;
        }
        self.told = Some((self.health.clone(), Instant::now()));
        Some(self.health.clone())
    }
}

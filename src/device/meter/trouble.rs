//! What goes wrong with a meter: counted always, told at most once a second, logged at most once a minute.

use std::time::Duration;

use tokio::time::Instant;

use crate::status::Health;

const LOG_EVERY: Duration = Duration::from_secs(60);
const TELL_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Trouble {
    /// How messages name the device.
    name: String,
    pub(super) health: Health,
    told: Option<(Health, Instant)>,
    logged_at: Option<Instant>,
    not_logged: u32,
    discarded_frames: u64,
    discarded_by_decoder: u64,
}

impl Trouble {
    pub(super) fn new(id: &str) -> Self {
        Self {
            name: format!("meter `{id}`"),
            health: Health::default(),
            told: None,
            logged_at: None,
            not_logged: 0,
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

    /// Keeps a sentence as the last error, and logs it unless another one was logged within the last minute.
    pub(super) fn say(&mut self, sentence: &str) {
        let sentence = format!("{}: {sentence}", self.name);
        if self.logged_at.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            match self.not_logged {
                0 => tracing::warn!("{sentence}"),
                more => tracing::warn!("{sentence} ({more} more since the last message)"),
            }
            self.logged_at = Some(Instant::now());
            self.not_logged = 0;
        } else {
            self.not_logged += 1;
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

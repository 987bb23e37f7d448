//! How long to wait before the next attempt to connect, and what it means when connections do not last.

use std::time::Duration;

use tokio::time::Instant;

use super::options::Tuning;
use crate::link::backoff::Backoff;

/// A connection that ends earlier was none: the next wait is the longer one. Two clients with one id throw each other
/// off at every login, and would do so each second for ever.
const LASTING: Duration = Duration::from_secs(30);
/// So many short connections in a row are told as what they look like.
const SHORT_MANY: u32 = 3;

/// The attempts of one client id.
#[derive(Debug)]
pub(crate) struct Attempts {
    client_id: String,
    backoff: Backoff,
    connected_at: Option<Instant>,
    short: u32,
}

impl Attempts {
    /// None made yet.
    pub(crate) fn new(tuning: &Tuning, client_id: &str) -> Self {
        let backoff = Backoff::new(tuning.retry_first, tuning.retry_max);
        Self { client_id: client_id.to_owned(), backoff, connected_at: None, short: 0 }
    }

    /// The broker accepted us.
    pub(crate) fn connected(&mut self) {
        self.connected_at = Some(Instant::now());
    }

    /// The attempt failed or the connection ended: the problem, with what the connections before tell about it.
    pub(crate) fn lost(&mut self, problem: String) -> String {
        match self.connected_at.take() {
            Some(at) if at.elapsed() >= LASTING => {
                self.backoff.reset();
                self.short = 0;
            }
            Some(_) => self.short += 1,
            None => self.short = 0,
        }
        if self.short < SHORT_MANY {
            return problem;
        }
        format!(
            "{problem}; {} connections in a row ended within {} s: another client may use the id `{}` (a copied data \
             directory?): delete `instance` in the data directory of one, or give each its own [mqtt] client_id",
            self.short,
            LASTING.as_secs(),
            self.client_id
        )
    }

    /// How long to wait now.
    pub(crate) fn wait(&mut self) -> Duration {
        self.backoff.next()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_thrown_off_waits_longer_each_time_and_says_by_whom() {
        let mut attempts = Attempts::new(&Tuning::default(), "gridkeeper-a");
        for (number, step) in [1, 2, 4, 8].into_iter().enumerate() {
            attempts.connected();
            advance(Duration::from_secs(2)).await;
            let problem = attempts.lost("closed".into());
            assert_eq!(problem.contains("`gridkeeper-a`"), number >= 2, "{problem}");
            assert!(attempts.wait() >= Duration::from_secs(step) * 3 / 4);
        }
        // One that lasted: the broker was started anew.
        attempts.connected();
        advance(LASTING).await;
        assert_eq!(attempts.lost("closed".into()), "closed");
        assert!(attempts.wait() <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_is_not_there_is_no_second_client() {
        let mut attempts = Attempts::new(&Tuning::default(), "gridkeeper-a");
        for _ in 0..5 {
            assert_eq!(attempts.lost("nothing listens".into()), "nothing listens");
        }
    }
}

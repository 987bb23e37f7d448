//! An input that somebody else tells us over MQTT.
//!
//! With a `max_age_s` each value is good for that time. Without one the last value is kept, and lost when the broker has
//! been away for a minute: until then nobody could have told us otherwise. Lost, it comes back with the next value that
//! is told, not with the old one: what was said meanwhile nobody knows.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Teller;
use crate::clock::Clock;
use crate::device::voice::Trouble;
use crate::mqtt::MqttStatus;
use crate::quantity::{Mono, Span};

/// A kept value is lost when the broker has been away for so long.
const BROKER_LOST: Span = Span::from_secs(60);

/// A value as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputValue {
    /// ON, true or 1.
    pub on: bool,
    /// When it came.
    pub at: Mono,
}

/// What the MQTT service gives the task.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The last value; `None` before the first.
    pub value: watch::Receiver<Option<InputValue>>,
    /// How the link to the broker does.
    pub link: watch::Receiver<MqttStatus>,
}

/// Runs for as long as the process. `kept`: a value holds until another comes or the broker is lost.
pub(super) async fn run(feed: Feed, active_high: bool, kept: bool, mut teller: Teller, clock: Clock) {
    let Feed { mut value, mut link } = feed;
    teller.depends_on_broker();
    let mut away_since = Some(clock.now());
    let mut seen = None;
    // A kept value that was lost counts no more.
    let mut lost = None;
    loop {
        let now = clock.now();
        let online = link.borrow_and_update().listening;
        away_since = if online { None } else { away_since.or(Some(now)) };
        let told = *value.borrow_and_update();
        if told != seen {
            seen = told;
            teller.voice.good();
        }
        let mut wake = now + teller.renewal;
        if let Some(since) = away_since.filter(|_| kept) {
            let lost_at = since + BROKER_LOST;
            if now >= lost_at {
                lost = told;
                if told.is_some() {
                    teller.voice.bad(&Trouble::bad(format!("the broker has been away for {} s", BROKER_LOST.0 / 1000)));
                }
                teller.tell(None, now);
            } else {
                wake = wake.min(lost_at);
            }
        }
        match told.filter(|_| told != lost) {
            Some(InputValue { on, .. }) if kept => teller.tell(Some(on == active_high), now),
            // Its age is that of the message: a renewal would make it younger.
            Some(InputValue { on, at }) => teller.tell_once(Some(on == active_high), at),
            None => {}
        }
        teller.voice.tell(now);
        let ended = tokio::select! {
            changed = value.changed() => changed.is_err(),
            changed = link.changed() => changed.is_err(),
            () = sleep_until(Instant::from_std(clock.instant(wake))) => false,
        };
        if ended {
            return teller.tell(None, clock.now());
        }
    }
}

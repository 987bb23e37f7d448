//! Who else serves this base topic.
//!
//! Another instance is alive while `<base>/status` says `online` and its `bridge/info` is renewed within two of its
//! intervals. While one is, this appliance publishes and obeys nothing on the base and goes on controlling.
//!
//! A data directory that was copied makes two of the same name: what speaks under our own name and gives another `run`,
//! random at each start, is another instance as well. What is only found in the broker's memory under our name is ours.

use serde::Deserialize;

use crate::quantity::{Mono, Span};

/// What of another's `bridge/info` matters here.
#[derive(Debug, Deserialize)]
struct Info {
    instance: String,
    /// Absent where it is somebody else's imitation.
    #[serde(default)]
    run: Option<String>,
    #[serde(default)]
    interval_s: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    instance: String,
    run: Option<String>,
    payload: Vec<u8>,
    renewed_at: Mono,
    two_intervals: Span,
    /// It was heard speaking, not only found in the broker's memory.
    live: bool,
    /// Somebody went offline since: until it speaks again it was this one.
    gone: bool,
}

/// What follows from what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody else is here.
    Alone,
    /// Somebody was here; whether he still is will be known then.
    Unsure(Mono),
    /// Somebody is here, until then at least.
    Taken(Mono),
}

/// What was heard so far; kept over connections.
#[derive(Debug)]
pub(crate) struct Peers {
    me: String,
    run: String,
    interval: Span,
    online: bool,
    other: Option<Other>,
}

/// Longest interval of another instance that is believed: a wrong figure must not keep us silent for good.
const MAX_INTERVAL_S: f64 = 3600.0;
/// A message may be late by as much.
const SLACK: Span = Span(1000);

impl Peers {
    /// `run`: random at each start. `interval`: our own, taken for another's that does not say.
    pub(crate) fn new(me: &str, run: &str, interval: Span) -> Self {
        Self { me: me.to_owned(), run: run.to_owned(), interval, online: false, other: None }
    }

    /// `<base>/status` as somebody set it.
    pub(crate) fn status(&mut self, payload: &[u8]) {
        self.online = payload == b"online";
        if let (false, Some(other)) = (self.online, &mut self.other) {
            // Or our own `online` that follows would be taken for its.
            other.gone = true;
        }
    }

    /// `<base>/bridge/info`. What does not look like one of ours is ignored.
    pub(crate) fn info(&mut self, payload: &[u8], retained: bool, now: Mono) {
        let Ok(info) = serde_json::from_slice::<Info>(payload) else { return };
        let ours = info.run.as_ref().is_none_or(|it| *it == self.run);
        if info.instance == self.me && (retained || ours) {
            return;
        }
        let seconds = info.interval_s.filter(|it| it.is_finite() && (0.0..=MAX_INTERVAL_S).contains(it));
        let interval = seconds.map_or(self.interval, Span::from_secs_f64);
        let same = self.other.as_ref().is_some_and(|it| it.instance == info.instance && it.payload == payload);
        if retained && same {
            // Found once more in the broker's memory: no sign of life.
            return;
        }
        self.other = Some(Other {
            instance: info.instance,
            run: info.run,
            payload: payload.to_vec(),
            renewed_at: now,
            two_intervals: interval.times(2) + SLACK,
            live: !retained,
            gone: false,
        });
    }

    /// What follows at `now`.
    pub(crate) fn verdict(&self, now: Mono) -> Verdict {
        let Some(other) = self.other.as_ref().filter(|it| self.online && !it.gone) else { return Verdict::Alone };
        let until = other.renewed_at + other.two_intervals;
        match (now < until, other.live) {
            (false, _) => Verdict::Alone,
            (true, true) => Verdict::Taken(until),
            (true, false) => Verdict::Unsure(until),
        }
    }

    /// While we serve: another instance speaks as well, and it is we who must yield. Both decide the same way.
    pub(crate) fn must_yield(&self, now: Mono) -> bool {
        matches!(self.verdict(now), Verdict::Taken(_))
            && self.other.as_ref().is_some_and(|other| {
                (other.instance.as_str(), other.run.as_deref()) < (self.me.as_str(), Some(self.run.as_str()))
            })
    }

    /// The other has our own name.
    pub(crate) fn is_copy(&self) -> bool {
        self.other() == Some(self.me.as_str())
    }

    /// The other's name.
    pub(crate) fn other(&self) -> Option<&str> {
        self.other.as_ref().map(|it| it.instance.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = br#"{"version":"0.1.0","instance":"b","interval_s":5,"uptime_s":7}"#;

    fn peers() -> Peers {
        Peers::new("m", "5", Span::from_secs(5))
    }

    #[test]
    fn nobody_was_ever_here() {
        assert_eq!(peers().verdict(Mono(0)), Verdict::Alone);
    }

    #[test]
    fn our_own_traces_are_not_another_instance() {
        let mut peers = peers();
        peers.status(b"online");
        peers.info(br#"{"instance":"m","interval_s":5}"#, true, Mono(0));
        assert_eq!(peers.verdict(Mono(0)), Verdict::Alone);
    }

    #[test]
    fn a_copy_of_us_is_another_instance_when_it_speaks() {
        let mut peers = peers();
        peers.status(b"online");
        peers.info(br#"{"instance":"m","run":"5"}"#, false, Mono(0));
        assert_eq!(peers.verdict(Mono(0)), Verdict::Alone, "our own voice");
        peers.info(br#"{"instance":"m","run":"7"}"#, true, Mono(0));
        assert_eq!(peers.verdict(Mono(0)), Verdict::Alone, "what we said before our restart");
        peers.info(br#"{"instance":"m","run":"7"}"#, false, Mono(0));
        assert_eq!(peers.verdict(Mono(0)), Verdict::Taken(Mono(11_000)));
        assert!(peers.is_copy() && !peers.must_yield(Mono(0)), "7 finds 5 and yields");
        peers.info(br#"{"instance":"m","run":"3"}"#, false, Mono(0));
        assert!(peers.must_yield(Mono(0)));
    }

    #[test]
    fn a_trace_in_the_brokers_memory_is_given_two_intervals() {
        let mut peers = peers();
        peers.status(b"online");
        peers.info(INFO, true, Mono(100));
        assert_eq!(peers.verdict(Mono(200)), Verdict::Unsure(Mono(11_100)));
        // The same trace again, after a reconnect, is no sign of life.
        peers.info(INFO, true, Mono(9_000));
        assert_eq!(peers.verdict(Mono(11_100)), Verdict::Alone);
        // A changed one is: it was written while we were not looking.
        peers.info(br#"{"instance":"b","interval_s":5,"uptime_s":30}"#, true, Mono(12_000));
        assert_eq!(peers.verdict(Mono(12_000)), Verdict::Unsure(Mono(23_000)));
    }

    #[test]
    fn one_that_speaks_is_alive_until_it_says_goodbye_or_falls_silent() {
        let mut peers = peers();
        peers.status(b"online");
        peers.info(INFO, false, Mono(0));
        assert_eq!(peers.verdict(Mono(10)), Verdict::Taken(Mono(11_000)));
        peers.info(INFO, false, Mono(5_000));
        assert_eq!(peers.verdict(Mono(11_500)), Verdict::Taken(Mono(16_000)));
        assert_eq!(peers.verdict(Mono(16_000)), Verdict::Alone);
        peers.info(INFO, false, Mono(17_000));
        peers.status(b"offline");
        assert_eq!(peers.verdict(Mono(17_001)), Verdict::Alone);
    }

    #[test]
    fn our_own_online_does_not_bring_back_one_that_said_goodbye() {
        let mut peers = peers();
        peers.status(b"online");
        peers.info(INFO, false, Mono(0));
        peers.status(b"offline");
        // We take over.
        peers.status(b"online");
        assert_eq!(peers.verdict(Mono(10)), Verdict::Alone);
        assert!(!peers.must_yield(Mono(10)));
        peers.info(INFO, true, Mono(20));
        assert_eq!(peers.verdict(Mono(20)), Verdict::Alone, "found in the broker's memory once more");
        peers.info(INFO, false, Mono(30));
        assert!(peers.must_yield(Mono(30)), "it speaks again");
    }

    #[test]
    fn of_two_that_started_together_one_yields() {
        let mut peers = peers();
        peers.status(b"online");
        peers.info(INFO, false, Mono(0));
        assert!(peers.must_yield(Mono(1)), "b comes before m");
        peers.info(br#"{"instance":"z"}"#, false, Mono(0));
        assert!(!peers.must_yield(Mono(1)));
    }

    #[test]
    fn rubbish_is_nobody_and_an_absurd_interval_is_not_believed() {
        let mut peers = peers();
        peers.status(b"online");
        for rubbish in [&b"\xff\xfe"[..], b"", b"[]", b"{\"instance\":5}", b"null"] {
            peers.info(rubbish, false, Mono(0));
            assert_eq!(peers.verdict(Mono(1)), Verdict::Alone);
        }
        peers.info(br#"{"instance":"b","interval_s":1e300}"#, false, Mono(0));
        assert_eq!(peers.verdict(Mono(1)), Verdict::Taken(Mono(11_000)));
    }
}

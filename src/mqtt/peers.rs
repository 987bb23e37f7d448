//! Who else serves this base topic.
//!
//! Another instance is alive while `<base>/status` says `online` and its `bridge/info` is renewed within two of its
//! intervals. While one is, this appliance publishes and obeys nothing on the base and goes on controlling. One that stands
//! by waits much longer before it takes over: the other is restarted at every update, and would find its base taken.
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
    #[serde(default)]
    predecessor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    instance: String,
    run: Option<String>,
    payload: Vec<u8>,
    renewed_at: Mono,
    /// The last sign of life, a good-bye and the begin of a connection among them.
    sign_at: Mono,
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
    predecessor: Option<Predecessor>,
}

/// Whose devices may still be on the broker.
#[derive(Debug)]
struct Predecessor {
    instance: String,
    /// Since when we serve in its place.
    since: Option<Mono>,
}

/// What another instance announced is left alone for so long after we took over: it may come back.
const RESPECT: Span = Span::from_secs(3600);
/// Longest interval of another instance that is believed: a wrong figure must not keep us silent for good.
const MAX_INTERVAL_S: f64 = 3600.0;
/// A message may be late by as much.
const SLACK: Span = Span(1000);

impl Peers {
    /// `run`: random at each start. `interval`: our own, taken for another's that does not say.
    pub(crate) fn new(me: &str, run: &str, interval: Span) -> Self {
        Self { me: me.to_owned(), run: run.to_owned(), interval, online: false, other: None, predecessor: None }
    }

    /// `<base>/status` as somebody set it.
    pub(crate) fn status(&mut self, payload: &[u8], now: Mono) {
        self.online = payload == b"online";
        if let (false, Some(other)) = (self.online, &mut self.other) {
            // Or our own `online` that follows would be taken for its.
            other.gone = true;
            other.sign_at = now;
        }
    }

    /// The broker is reached. What was said while it was not is unknown, and the other may start with the broker.
    pub(crate) fn connected(&mut self, now: Mono) {
        if let Some(other) = &mut self.other {
            other.sign_at = now;
        }
    }

    /// Until when one that stands by waits at least; `patience` beyond the last sign of life.
    pub(crate) fn patience_ends(&self, patience: Span) -> Option<Mono> {
        self.other.as_ref().map(|it| it.sign_at + patience)
    }

    /// We serve from now on.
    pub(crate) fn serves(&mut self, now: Mono) {
        if let Some(it) = &mut self.predecessor {
            it.since.get_or_insert(now);
        }
    }

    /// The instance that served before us not long ago: what it announced is not ours to clear.
    pub(crate) fn predecessor(&self, now: Mono) -> Option<&str> {
        let it = self.predecessor.as_ref()?;
        it.since.is_none_or(|since| now.since(since) < RESPECT).then_some(it.instance.as_str())
    }

    /// `<base>/bridge/info`. What does not look like one of ours is ignored.
    pub(crate) fn info(&mut self, payload: &[u8], retained: bool, now: Mono) {
        let Ok(info) = serde_json::from_slice::<Info>(payload) else { return };
        let ours = info.run.as_ref().is_none_or(|it| *it == self.run);
        if info.instance == self.me && (retained || ours) {
            // We were restarted soon after we had taken over.
            if let (Some(instance), None) = (info.predecessor.filter(|_| retained), &self.predecessor) {
                self.predecessor = Some(Predecessor { instance, since: None });
            }
            return;
        }
        let seconds = info.interval_s.filter(|it| it.is_finite() && (0.0..=MAX_INTERVAL_S).contains(it));
        let interval = seconds.map_or(self.interval, Span::from_secs_f64);
        let same = self.other.as_ref().is_some_and(|it| it.instance == info.instance && it.payload == payload);
        if retained && same {
            // Found once more in the broker's memory: no sign of life.
            return;
        }
        if info.instance != self.me {
            self.predecessor = Some(Predecessor { instance: info.instance.clone(), since: None });
        }
        self.other = Some(Other {
            instance: info.instance,
            run: info.run,
            payload: payload.to_vec(),
            renewed_at: now,
            sign_at: now,
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
        peers.status(b"online", Mono(0));
        peers.info(br#"{"instance":"m","interval_s":5}"#, true, Mono(0));
        assert_eq!(peers.verdict(Mono(0)), Verdict::Alone);
    }

    #[test]
    fn a_copy_of_us_is_another_instance_when_it_speaks() {
        let mut peers = peers();
        peers.status(b"online", Mono(0));
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
        peers.status(b"online", Mono(0));
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
        peers.status(b"online", Mono(0));
        peers.info(INFO, false, Mono(0));
        assert_eq!(peers.verdict(Mono(10)), Verdict::Taken(Mono(11_000)));
        peers.info(INFO, false, Mono(5_000));
        assert_eq!(peers.verdict(Mono(11_500)), Verdict::Taken(Mono(16_000)));
        assert_eq!(peers.verdict(Mono(16_000)), Verdict::Alone);
        peers.info(INFO, false, Mono(17_000));
        peers.status(b"offline", Mono(17_000));
        assert_eq!(peers.verdict(Mono(17_001)), Verdict::Alone);
    }

    #[test]
    fn our_own_online_does_not_bring_back_one_that_said_goodbye() {
        let mut peers = peers();
        peers.status(b"online", Mono(0));
        peers.info(INFO, false, Mono(0));
        peers.status(b"offline", Mono(17_000));
        // We take over.
        peers.status(b"online", Mono(0));
        assert_eq!(peers.verdict(Mono(10)), Verdict::Alone);
        assert!(!peers.must_yield(Mono(10)));
        peers.info(INFO, true, Mono(20));
        assert_eq!(peers.verdict(Mono(20)), Verdict::Alone, "found in the broker's memory once more");
        peers.info(INFO, false, Mono(30));
        assert!(peers.must_yield(Mono(30)), "it speaks again");
    }

    #[test]
    fn one_that_stands_by_waits_beyond_each_sign_of_life() {
        let (mut peers, patience) = (peers(), Span::from_secs(60));
        assert_eq!(peers.patience_ends(patience), None);
        peers.info(INFO, false, Mono(5_000));
        assert_eq!(peers.patience_ends(patience), Some(Mono(65_000)));
        peers.status(b"offline", Mono(17_000));
        assert_eq!(peers.patience_ends(patience), Some(Mono(77_000)), "it said good-bye: it may be restarted");
        peers.info(INFO, true, Mono(18_000));
        assert_eq!(peers.patience_ends(patience), Some(Mono(77_000)), "the broker's memory");
        peers.connected(Mono(200_000));
        assert_eq!(peers.patience_ends(patience), Some(Mono(260_000)), "the broker was away, and so may it have been");
    }

    #[test]
    fn what_another_announced_is_respected_for_an_hour_over_a_restart_as_well() {
        let mut ours = peers();
        assert_eq!(ours.predecessor(Mono(0)), None);
        ours.info(INFO, true, Mono(0));
        ours.serves(Mono(1_000));
        assert_eq!(ours.predecessor(Mono(3_600_999)), Some("b"));
        assert_eq!(ours.predecessor(Mono(3_601_000)), None);
        let mut restarted = peers();
        restarted.info(br#"{"instance":"m","predecessor":"b"}"#, true, Mono(0));
        restarted.serves(Mono(1_000));
        assert_eq!(restarted.predecessor(Mono(2_000)), Some("b"));
        let mut alone = peers();
        alone.info(br#"{"instance":"m","predecessor":null}"#, true, Mono(0));
        assert_eq!(alone.predecessor(Mono(2_000)), None);
    }

    #[test]
    fn of_two_that_started_together_one_yields() {
        let mut peers = peers();
        peers.status(b"online", Mono(0));
        peers.info(INFO, false, Mono(0));
        assert!(peers.must_yield(Mono(1)), "b comes before m");
        peers.info(br#"{"instance":"z"}"#, false, Mono(0));
        assert!(!peers.must_yield(Mono(1)));
    }

    #[test]
    fn rubbish_is_nobody_and_an_absurd_interval_is_not_believed() {
        let mut peers = peers();
        peers.status(b"online", Mono(0));
        for rubbish in [&b"\xff\xfe"[..], b"", b"[]", b"{\"instance\":5}", b"null"] {
            peers.info(rubbish, false, Mono(0));
            assert_eq!(peers.verdict(Mono(1)), Verdict::Alone);
        }
        peers.info(br#"{"instance":"b","interval_s":1e300}"#, false, Mono(0));
        assert_eq!(peers.verdict(Mono(1)), Verdict::Taken(Mono(11_000)));
    }
}

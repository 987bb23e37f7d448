//! Whether a charger answers, what it may still be offering while it does not, and what may be sent to it then.
//!
//! A charger that is silent may have lost its return line only: it still obeys. So it counts at the highest figure that
//! it may hold, until its own watchdog has certainly brought it down - which needs silence from our side as well,
//! because any telegram may feed that watchdog.
//!
//! A charger that was never heard may offer all that it is built for, and its car may wake any time: it counts at that,
//! and nothing of it is subtracted from the meter, because nothing proves that the meter's load is its car. That may
//! count one car twice; the other way round would be an overload. Nothing of its timer was read either, so no waiting
//! makes the figure smaller, and between two attempts it is left alone for as long as a timer there needs to act:
//! behind a dead return line our telegrams would feed it for ever.

use crate::command::Contact;
use crate::quantity::{Milliamp, Mono, Span};

/// Attempts without an answer that make a charger silent, at least.
const ATTEMPTS: u32 = 3;
/// Writes of the fail-safe current to a silent charger before it is left alone.
const WRITES: u32 = 3;
/// Shortest and longest pause between attempts at a silent charger.
const PAUSE: (Span, Span) = (Span::from_secs(5), Span::from_secs(30));
/// Looks, at least, after which a charger that says nothing at all is silent.
const LOOKS: i64 = 4;
/// Taken for the time between two answers until three were heard: no bus that is fit for use is slower.
const RHYTHM: Span = Span::from_secs(10);
const RHYTHM_ANSWERS: u32 = 3;
/// How long a charger without a timer of its own may be away and still be taken up again as if nothing had happened.
const FORGIVEN: Span = Span::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was heard since the start; so many attempts failed.
    Unknown { attempts: u32 },
    /// It answers.
    Up,
    /// Attempts fail, not yet long enough.
    Failing { attempts: u32 },
    /// Silent: the writes before the quiet time.
    Writing { left: u32 },
    /// Nothing is sent until its watchdog has certainly acted.
    Quiet { until: Mono },
    /// One write now and then.
    Away { next: Mono, pause: Span },
    /// A write was acknowledged; its report is awaited.
    Returning,
}

/// What a change of the link means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It does not answer any more.
    Silent,
    /// First contact ever: the start-up rule.
    FirstContact,
    /// Back in a way that calls for the start-up rule.
    Reappeared,
    /// Back with what it had, soon enough.
    Resumed,
}

/// The link of one charger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    state: State,
    heard_at: Option<Mono>,
    /// Since when there is no answer: the last one, or the first look at a charger that was never heard.
    silent_since: Option<Mono>,
    /// Time that has passed without answer or failure, in steps of which none is a large part: what was heard while the
    /// whole machine stood still is not in yet.
    unheard: Span,
    looked_at: Option<Mono>,
    /// Longest time between two answers, forgotten slowly: the rhythm of its bus where no failure tells it.
    rhythm: Span,
    answers: u32,
    /// The most that it may offer while it does not answer.
    figure: Milliamp,
    /// Its watchdog has acted: it counts at what was programmed.
    fallen: bool,
    /// Its watchdog may act any time from now on.
    may_fall: bool,
    number: u32,
    was_silent: bool,
}

/// What the link needs to know of the charger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The most that it may hold now: the order, older orders not confirmed away.
    pub(super) holds: Milliamp,
    /// What it is built for.
    pub(super) most: Milliamp,
    /// Its own timer; `None` without one.
    pub(super) watchdog: Option<Span>,
    /// When it acts at the earliest: that time-out, or a shorter one that was read back.
    pub(super) acts_after: Option<Span>,
    /// That timer was read back and runs with that time-out.
    pub(super) verified: bool,
    /// The most that may be programmed into it: read back last, or ordered since.
    pub(super) programmed: Milliamp,
    /// It is polled so often.
    pub(super) poll: Span,
    /// Silent after this long (the contract's 5 s).
    pub(super) silent_after: Span,
    /// Added to the watchdog for the quiet time.
    pub(super) quiet_extra: Span,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            state: State::Unknown { attempts: 0 },
            heard_at: None,
            silent_since: None,
            unheard: Span::ZERO,
            looked_at: None,
            rhythm: Span::ZERO,
            answers: 0,
            figure: Milliamp::ZERO,
            fallen: false,
            may_fall: false,
            number: 0,
            was_silent: false,
        }
    }
}

impl Link {
    pub(super) fn heard_at(&self) -> Option<Mono> {
        self.heard_at
    }

    /// It answered the last time.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// It never answered, and has not been asked for long.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.state, State::Unknown { .. })
    }

    /// It never answered.
    pub(super) fn was_never_heard(&self) -> bool {
        self.heard_at.is_none()
    }

    /// The silence has lasted: it is not only a lost telegram.
    pub(super) fn is_silent(&self) -> bool {
        self.was_silent
    }

    /// What it counts at while it does not answer; `None` while it does.
    pub(super) fn counted(&self, facts: &Facts) -> Option<Milliamp> {
        match self.state {
            State::Up => None,
            _ if self.was_never_heard() => Some(facts.most.max(facts.programmed)),
            _ if self.fallen => Some(facts.programmed),
            // Its watchdog may raise a charger that was at less.
            _ if self.may_fall => Some(self.figure.max(facts.programmed)),
            _ => Some(self.figure),
        }
    }

    pub(super) fn contact(&self) -> Contact {
        match self.state {
            State::Unknown { .. } => Contact::Open,
            State::Up | State::Failing { .. } | State::Returning => Contact::Normal,
            State::Writing { .. } | State::Away { .. } => Contact::WriteFirst(self.number),
            State::Quiet { .. } => Contact::Quiet,
        }
    }

    /// A valid answer to a poll. `read_back` is the offer in it.
    pub(super) fn report(&mut self, at: Mono, read_back: Option<Milliamp>, facts: &Facts) -> Option<Change> {
        let window = facts.watchdog.unwrap_or(FORGIVEN);
        let soon = self.heard_at.is_some_and(|heard| at.since(heard) <= window);
        let same = read_back == Some(self.figure);
        let change = match self.state {
            State::Up | State::Failing { .. } => None,
            State::Unknown { .. } => Some(Change::FirstContact),
            State::Returning | State::Writing { .. } | State::Quiet { .. } | State::Away { .. } => {
                Some(if soon && same { Change::Resumed } else { Change::Reappeared })
            }
        };
        self.state = State::Up;
        self.answered(at);
        self.fallen = false;
        self.may_fall = false;
        self.was_silent = false;
        change
    }

    /// A write was acknowledged. While silent this is the first sign of life; the report decides what follows.
    pub(super) fn written(&mut self, at: Mono) {
        match self.state {
            State::Up => self.answered(at),
            State::Failing { .. } | State::Unknown { .. } | State::Returning => {}
            State::Writing { .. } | State::Quiet { .. } | State::Away { .. } => {
                self.state = State::Returning;
                self.sign(at);
            }
        }
    }

    fn answered(&mut self, at: Mono) {
        if let (State::Up, Some(heard)) = (self.state, self.heard_at) {
            let gap = at.since(heard);
            self.rhythm = gap.max(Span(self.rhythm.0 - self.rhythm.0 / 16));
            self.answers = self.answers.saturating_add(1);
        }
        self.heard_at = Some(at);
        self.silent_since = Some(at);
        self.sign(at);
    }

    fn sign(&mut self, at: Mono) {
        self.unheard = Span::ZERO;
        self.looked_at = Some(at);
    }

    /// An attempt failed. `unconfirmed` is a set-point that may have arrived.
    pub(super) fn failed(
        &mut self,
        at: Mono,
        unconfirmed: Option<Milliamp>,
        round: Span,
        period: Span,
        facts: &Facts,
    ) -> Option<Change> {
        self.sign(at);
        match &mut self.state {
            State::Quiet { .. } => return None,
            State::Unknown { attempts } => *attempts = attempts.saturating_add(1),
            State::Up => {
                self.figure = facts.holds;
                self.state = State::Failing { attempts: 1 };
            }
            State::Failing { attempts } => *attempts = attempts.saturating_add(1),
            State::Returning => self.start_writing(at, facts),
            State::Writing { left } => {
                *left = left.saturating_sub(1);
                if *left > 0 {
                    self.number = self.number.wrapping_add(1);
                } else {
                    let quiet = facts.watchdog.unwrap_or(Span::ZERO) + facts.quiet_extra;
                    self.state = State::Quiet { until: at + quiet };
                }
            }
            State::Away { .. } => {}
        }
        self.figure = self.figure.max(unconfirmed.unwrap_or(Milliamp::ZERO));
        let silence = at.since(*self.silent_since.get_or_insert(at));
        self.may_fall |= facts.acts_after.is_some_and(|acts| silence + period >= acts);
        let (State::Failing { attempts } | State::Unknown { attempts }) = self.state else { return None };
        let patience = facts.silent_after.max(round.times(3)).max(period.times(3));
        if attempts < ATTEMPTS || silence < patience {
            return None;
        }
        Some(self.fall_silent(at, facts))
    }

    fn fall_silent(&mut self, at: Mono, facts: &Facts) -> Change {
        self.was_silent = true;
        self.may_fall = facts.watchdog.is_some();
        self.start_writing(at, facts);
        Change::Silent
    }

    /// How long nothing at all, neither answer nor failure, is borne.
    fn patience(&self, facts: &Facts) -> Span {
        let rhythm = if self.answers < RHYTHM_ANSWERS { RHYTHM.max(self.rhythm) } else { self.rhythm };
        facts.silent_after.max(rhythm.times(3)).max(facts.poll.times(3))
    }

    fn start_writing(&mut self, at: Mono, facts: &Facts) {
        self.number = self.number.wrapping_add(1);
        self.state = match facts.watchdog {
            Some(_) => State::Writing { left: WRITES },
            None => State::Away { next: at + PAUSE.0, pause: PAUSE.0 },
        };
    }

    /// Moves on with the time.
    pub(super) fn tick(&mut self, now: Mono, facts: &Facts) -> Option<Change> {
        let patience = self.patience(facts);
        let passed = now.since(self.looked_at.replace(now).unwrap_or(now));
        self.unheard = self.unheard + passed.min(Span(patience.0 / LOOKS));
        match self.state {
            State::Quiet { until } if now >= until => {
                self.fallen = facts.watchdog.is_some() && facts.verified;
                self.number = self.number.wrapping_add(1);
                let pause = self.first_pause(facts);
                self.state = State::Away { next: now + pause, pause };
            }
            State::Away { next, pause } if now >= next => {
                self.number = self.number.wrapping_add(1);
                let pause = Span((pause.0 * 2).min(PAUSE.1.0)).max(self.first_pause(facts));
                self.state = State::Away { next: now + pause, pause };
            }
            // Neither answers nor failures: its task has died, or nobody hears it. That is no news either.
            State::Unknown { .. } | State::Up | State::Failing { .. } | State::Returning
                if self.unheard >= patience =>
            {
                if self.state == State::Up {
                    self.figure = facts.holds;
                }
                self.unheard = Span::ZERO;
                let told = self.was_silent;
                let change = self.fall_silent(now, facts);
                return (!told).then_some(change);
            }
            _ => {}
        }
        None
    }

    fn first_pause(&self, facts: &Facts) -> Span {
        match facts.watchdog {
            Some(watchdog) if self.was_never_heard() => watchdog + facts.quiet_extra,
            _ => PAUSE.0,
        }
    }

    /// When `tick` will next change something.
    pub(super) fn next_turn(&self, facts: &Facts) -> Option<Mono> {
        match self.state {
            State::Quiet { until } => Some(until),
            State::Away { next, .. } => Some(next),
            State::Writing { .. } => None,
            _ => self.looked_at.map(|at| at + Span(self.patience(facts).0 - self.unheard.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: Span = Span(500);
    const PERIOD: Span = Span(1000);

    fn facts() -> Facts {
        Facts {
            holds: Milliamp::from_amps(12),
            most: Milliamp::from_amps(32),
            poll: PERIOD,
            watchdog: Some(Span::from_secs(30)),
            acts_after: Some(Span::from_secs(30)),
            verified: true,
            programmed: Milliamp::from_amps(6),
            silent_after: Span::from_secs(5),
            quiet_extra: Span::from_secs(10),
        }
    }

    fn fail(link: &mut Link, second: i64, facts: &Facts) -> Option<Change> {
        link.failed(Mono(second * 1000), None, ROUND, PERIOD, facts)
    }

    fn up() -> Link {
        let mut link = Link::default();
        assert_eq!(link.contact(), Contact::Open);
        assert_eq!(link.report(Mono(0), None, &facts()), Some(Change::FirstContact));
        link
    }

    #[test]
    fn silent_after_five_seconds_and_three_attempts() {
        let mut link = up();
        for second in 1..5 {
            assert_eq!(fail(&mut link, second, &facts()), None);
            assert_eq!(link.contact(), Contact::Normal);
            assert_eq!(link.counted(&facts()), Some(Milliamp::from_amps(12)), "from the first failure");
        }
        assert_eq!(fail(&mut link, 5, &facts()), Some(Change::Silent));
        let mut link = up();
        assert_eq!(fail(&mut link, 6, &facts()), None, "one attempt");
        assert_eq!(fail(&mut link, 7, &facts()), None, "two");
        assert_eq!(fail(&mut link, 8, &facts()), Some(Change::Silent));
    }

    #[test]
    fn slow_buses_are_given_three_rounds() {
        let mut link = up();
        for second in 1..9 {
            assert_eq!(link.failed(Mono(second * 1000), None, Span(3000), PERIOD, &facts()), None);
        }
        assert_eq!(link.failed(Mono(9000), None, Span(3000), PERIOD, &facts()), Some(Change::Silent));
    }

    #[test]
    fn three_writes_then_quiet_for_the_watchdog_and_ten_seconds_then_counted_at_fail_safe() {
        let mut link = up();
        for second in 1..=5 {
            fail(&mut link, second, &facts());
        }
        assert_eq!(link.contact(), Contact::WriteFirst(1));
        fail(&mut link, 6, &facts());
        assert_eq!(link.contact(), Contact::WriteFirst(2));
        fail(&mut link, 7, &facts());
        assert_eq!(link.contact(), Contact::WriteFirst(3));
        fail(&mut link, 8, &facts());
        assert_eq!(link.contact(), Contact::Quiet);
        link.tick(Mono(47_999), &facts());
        assert_eq!(link.contact(), Contact::Quiet);
        assert_eq!(link.counted(&facts()), Some(Milliamp::from_amps(12)));
        link.tick(Mono(48_000), &facts());
        assert_eq!(link.contact(), Contact::WriteFirst(4));
        assert_eq!(link.counted(&facts()), Some(Milliamp::from_amps(6)));
        link.tick(Mono(53_000), &facts());
        assert_eq!(link.contact(), Contact::WriteFirst(5), "every 5 to 30 s");
        link.tick(Mono(62_999), &facts());
        assert_eq!(link.contact(), Contact::WriteFirst(5));
        link.tick(Mono(63_000), &facts());
        assert_eq!(link.contact(), Contact::WriteFirst(6));
    }

    #[test]
    fn a_timer_of_its_own_that_is_shorter_than_ours_has_fallen_when_that_acts() {
        let counted_after = |acts: i64, seconds: i64| {
            let facts = Facts { holds: Milliamp::from_amps(4), acts_after: Some(Span::from_secs(acts)), ..facts() };
            let mut link = up();
            for second in 1..=seconds {
                fail(&mut link, second, &facts);
            }
            link.counted(&facts)
        };
        // Its fail-safe current lies above the figure that it holds: either can be true, long before it counts as silent.
        assert_eq!(counted_after(4, 2), Some(Milliamp::from_amps(4)));
        assert_eq!(counted_after(4, 3), Some(Milliamp::from_amps(6)));
        assert_eq!(counted_after(30, 4), Some(Milliamp::from_amps(4)));
    }

    #[test]
    fn without_a_verified_watchdog_it_keeps_its_figure() {
        for facts in [Facts { verified: false, ..facts() }, Facts { watchdog: None, acts_after: None, ..facts() }] {
            let mut link = up();
            for second in 1..200 {
                fail(&mut link, second, &facts);
                link.tick(Mono(second * 1000), &facts);
            }
            assert_eq!(link.counted(&facts), Some(Milliamp::from_amps(12)));
            assert!(matches!(link.contact(), Contact::WriteFirst(_)));
        }
    }

    #[test]
    fn an_unconfirmed_older_offer_counts() {
        let mut link = up();
        link.failed(Mono(1000), Some(Milliamp::from_amps(16)), ROUND, PERIOD, &facts());
        assert_eq!(link.counted(&facts()), Some(Milliamp::from_amps(16)));
    }

    #[test]
    fn back_with_the_same_figure_within_the_watchdog_goes_on_as_before() {
        let silent = |until: i64| {
            let mut link = up();
            for second in 1..=until {
                fail(&mut link, second, &facts());
            }
            link
        };
        let same = Some(Milliamp::from_amps(12));
        assert_eq!(silent(7).report(Mono(30_000), same, &facts()), Some(Change::Resumed));
        assert_eq!(silent(7).report(Mono(30_001), same, &facts()), Some(Change::Reappeared), "too late");
        let other = Some(Milliamp::from_amps(6));
        assert_eq!(silent(7).report(Mono(9_000), other, &facts()), Some(Change::Reappeared), "another figure");
        assert_eq!(silent(3).report(Mono(4_000), other, &facts()), None, "one lost telegram is nothing");
    }

    #[test]
    fn an_acknowledged_write_alone_does_not_bring_it_back() {
        let mut link = up();
        for second in 1..=7 {
            fail(&mut link, second, &facts());
        }
        link.written(Mono(8000));
        assert_eq!(link.counted(&facts()), Some(Milliamp::from_amps(12)));
        assert_eq!(link.contact(), Contact::Normal);
        fail(&mut link, 9, &facts());
        assert!(matches!(link.contact(), Contact::WriteFirst(_)), "silent again");
    }
}

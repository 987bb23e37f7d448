//! One relay: its rules on the 60 s mean, its shortest times, commands that end by themselves, who may not be closed
//! together with it, and whether it answers.

use crate::control::controller::Signals;
use crate::control::interface::{RelayCommand, RelayReason, RelayRule, RelaySetup, RelayStatus, RelayWord};
use crate::quantity::{Mono, Span, Watt};
use crate::reading::RelayObservation;

/// Failed writes in a row after which it is lost.
const ATTEMPTS: u8 = 3;
/// A load that was switched on is in the next sample of the meter after this time.
const SHOWS: Span = Span::from_secs(3);
/// Cars that are squeezed for so long are taken to be.
const SQUEEZED: Span = Span::from_secs(2);
/// The mean covers so many slices of this length: 60 s.
const SLICES: usize = 12;
const SLICE: Span = Span::from_secs(5);

/// Mean of the last minute, by slices.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    slices: [(i64, i64); SLICES],
    at: usize,
    since: Option<Mono>,
    filled: usize,
}

impl Mean {
    fn add(&mut self, now: Mono, value: Watt) {
        let since = *self.since.get_or_insert(now);
        let gone = now.since(since).0 / SLICE.0;
        for _ in 0..gone.min(SLICES as i64) {
            self.at = (self.at + 1) % SLICES;
            self.slices[self.at] = (0, 0);
            self.filled = (self.filled + 1).min(SLICES);
        }
        self.since = Some(since + SLICE.times(gone));
        let (sum, count) = &mut self.slices[self.at];
        *sum += i64::from(value.0);
        *count += 1;
    }

    /// `None` before a minute has passed.
    fn get(&self) -> Option<Watt> {
        if self.filled < SLICES {
            return None;
        }
        let (sum, count) = self.slices.iter().fold((0, 0), |(sum, count), it| (sum + it.0, count + it.1));
        (count > 0).then(|| Watt(i32::try_from(sum / count).unwrap_or(i32::MAX)))
    }
}

/// What happened, for the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Turn {
    Lost,
    Back,
}

/// What the fuses leave for a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Room {
    /// It may close.
    Free,
    /// It would overload a fuse; where it is closed it may stay.
    Tight,
    /// The same, but cars that come after it can come down for it.
    Claim,
    /// Running cars are down to little more than their minimum. A car that ramps up may look so for a moment.
    Squeezed,
    /// It must open before a car is stopped.
    Shed,
}

/// Whether a closed relay leaves its load to whoever comes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Yields {
    /// Surplus alone keeps it closed: what comes before it takes the surplus, and it opens.
    Now,
    /// It does once its shortest time closed is over.
    Later,
    /// A person, another rule or the missing meter decides.
    #[default]
    Never,
}

/// A relay with its past.
#[derive(Clone, Debug)]
pub(in crate::control) struct Relay {
    pub(in crate::control) setup: RelaySetup,
    command: RelayCommand,
    forced_until: Option<Mono>,
    order: bool,
    /// When the order last changed.
    changed_at: Option<Mono>,
    /// A fuse has opened it, and nobody but the controller wants it closed again.
    shed: bool,
    squeezed_since: Option<Mono>,
    /// It would be closed if the cars that come after it came down to what it leaves them.
    claims: bool,
    heard: Option<bool>,
    /// It was heard since the order last changed.
    confirmed: bool,
    heard_at: Option<Mono>,
    failed: u8,
    lost: bool,
    mean: Mean,
    /// What the phases of the cars before it have beyond the least of those, and what it takes of a phase; `None` where
    /// no car is before it.
    cars: Option<(Mean, Watt)>,
    yields: Yields,
    reason: RelayReason,
}

impl Relay {
    pub(in crate::control) fn new(setup: RelaySetup) -> Self {
        let order = setup.safe_state;
        Self {
            setup,
            command: RelayCommand::Auto,
            forced_until: None,
            order,
            changed_at: None,
            shed: false,
            squeezed_since: None,
            claims: false,
            heard: None,
            confirmed: false,
            heard_at: None,
            failed: 0,
            lost: false,
            mean: Mean::default(),
            cars: None,
            yields: Yields::default(),
            reason: RelayReason { word: RelayWord::StartUp, surplus: None, wait: None },
        }
    }

    /// Closed, as ordered.
    pub(in crate::control) fn order(&self) -> bool {
        self.order
    }

    /// What it was told to switch on, as long as no sample of the meter can hold it.
    pub(super) fn unseen(&self, sampled_at: Mono) -> Watt {
        let seen = self.changed_at.is_none_or(|at| sampled_at >= at + SHOWS);
        if self.order && !seen { self.setup.load } else { Watt::ZERO }
    }

    /// It waits for cars that come after it to come down.
    pub(super) fn claims(&self) -> bool {
        self.claims
    }

    /// It is known to be open: told so, and heard to be since.
    pub(in crate::control) fn is_open(&self) -> bool {
        !self.order && !self.lost && self.confirmed && self.heard == Some(false)
    }

    /// A person's command. One of on or off ends by itself.
    pub(in crate::control) fn force(&mut self, now: Mono, command: RelayCommand) {
        self.command = command;
        self.shed = false;
        self.forced_until = (command != RelayCommand::Auto).then(|| now + self.setup.force_max);
    }

    /// Its load while it is closed by our order and answers: what the meter shows of it would be surplus without it. It is
    /// in the surplus of every frame, so that a change of who may have it is none of the figure itself.
    pub(super) fn added_back(&self) -> Watt {
        let follows = self.setup.on_when.contains(&RelayRule::Export);
        if follows && self.order && self.heard == Some(true) && !self.lost { self.setup.load } else { Watt::ZERO }
    }

    /// Of that, what nobody else can have although it is added back: it does not open for them.
    pub(super) fn kept(&self) -> Watt {
        if self.yields == Yields::Now { Watt::ZERO } else { self.added_back() }
    }

    /// Of what it keeps, what it gives up by itself within its shortest time.
    pub(super) fn kept_for_now(&self) -> Watt {
        if self.yields == Yields::Later { self.added_back() } else { Watt::ZERO }
    }

    pub(in crate::control) fn hear(&mut self, observation: RelayObservation) -> Option<Turn> {
        match observation {
            RelayObservation::State { on, at } | RelayObservation::Written { on, at } => {
                self.heard = Some(on);
                self.heard_at = Some(at);
                // A look that was begun under the order before says nothing of this one.
                self.confirmed |= self.changed_at.is_none_or(|changed| at >= changed);
                self.failed = 0;
                std::mem::take(&mut self.lost).then_some(Turn::Back)
            }
            RelayObservation::Failed { write, .. } => {
                self.failed = self.failed.saturating_add(u8::from(write));
                (self.failed >= ATTEMPTS && !std::mem::replace(&mut self.lost, true)).then_some(Turn::Lost)
            }
        }
    }

    /// Where each phase counts by itself: what those of the cars before it have beyond what these need to go on, where
    /// it is least, and what it takes of a phase.
    pub(super) fn watch_cars(&mut self, now: Mono, slack: Option<(Watt, Watt)>) {
        self.cars = slack.map(|(slack, each)| {
            let mut mean = self.cars.map_or_else(Mean::default, |it| it.0);
            mean.add(now, slack);
            (mean, each)
        });
    }

    /// No car before it falls below what it needs, on whichever phase its load is.
    fn leaves_cars(&self) -> bool {
        let Some((mean, each)) = &self.cars else { return true };
        match mean.get() {
            Some(slack) if self.order => slack >= Watt::ZERO,
            Some(slack) => slack.0 >= each.0 + each.0 / 10,
            None => self.order,
        }
    }

    /// Decides anew. `surplus`: what is left for it at this place of the order, of a frame that was not seen before, its
    /// own load added back. `known`: the grid meter tells the surplus. `paired_is_open`: the relay that it must not be
    /// closed together with is open.
    pub(super) fn decide(
        &mut self,
        now: Mono,
        surplus: Option<Watt>,
        known: bool,
        signals: Signals,
        room: Room,
        paired_is_open: bool,
    ) {
        if self.forced_until.is_some_and(|end| now >= end) {
            self.command = RelayCommand::Auto;
            self.forced_until = None;
        }
        if !known {
            self.mean = Mean::default();
        } else if let Some(surplus) = surplus {
            self.mean.add(now, surplus);
        }
        let (mut on, mut reason) = self.wanted(now, known, signals);
        self.squeezed_since = (room == Room::Squeezed).then(|| self.squeezed_since.unwrap_or(now));
        let room = match self.squeezed_since {
            Some(since) if now.since(since) >= SQUEEZED => Room::Shed,
            Some(_) => Room::Tight,
            None => room,
        };
        let say = |word, wait| RelayReason { word, surplus: None, wait };
        self.claims = on && room == Room::Claim && !self.order && paired_is_open && self.bound(now).is_none();
        let lacks_room =
            |on: bool, was: bool| on && (room == Room::Shed || (matches!(room, Room::Tight | Room::Claim) && !was));
        if !lacks_room(on, self.order)
            && (self.command == RelayCommand::Auto || (self.shed && on))
            && on != self.order
            && let Some(left) = self.bound(now)
        {
            on = self.order;
            reason = say(if on { RelayWord::MinOn } else { RelayWord::MinOff }, Some(left));
        }
        // Its shortest time is no reason to stop a car for it.
        if lacks_room(on, self.order) {
            (on, reason) = (false, say(RelayWord::Shed, None));
            self.shed |= self.order;
        }
        if on && !self.order && !paired_is_open {
            (on, reason) = (false, say(RelayWord::Interlock, None));
        }
        if on != self.order {
            self.order = on;
            self.changed_at = Some(now);
            self.confirmed = false;
            self.shed &= !on;
        }
        self.yields = self.yields(now, known, signals);
        self.reason = if self.lost { say(RelayWord::Offline, None) } else { reason };
    }

    /// What its command and rules want.
    fn wanted(&self, now: Mono, known: bool, signals: Signals) -> (bool, RelayReason) {
        let mean = self.mean.get();
        let say = |word| RelayReason { word, surplus: None, wait: None };
        if self.command != RelayCommand::Auto {
            let left = self.forced_until.map(|end| end.since(now));
            return (self.command == RelayCommand::On, RelayReason { wait: left, ..say(RelayWord::Forced) });
        }
        let rules = &self.setup.on_when;
        if rules.contains(&RelayRule::Always) {
            return (true, say(RelayWord::Always));
        }
        if rules.contains(&RelayRule::LowTariff) && signals.low_tariff == Some(true) {
            return (true, say(RelayWord::LowTariff));
        }
        if rules.contains(&RelayRule::Export) {
            // Both thresholds stand for the export that the meter shows: with the load on when it is closed.
            let enough = mean.is_some_and(|mean| {
                if self.order { mean - self.setup.load >= self.setup.export_off } else { mean >= self.setup.export_on }
            });
            // The figure is that of what it lacks.
            let (enough, mean) = match self.cars.as_ref().and_then(|it| it.0.get()) {
                Some(slack) if enough && !self.leaves_cars() => (false, Some(slack)),
                _ => (enough && self.leaves_cars(), mean),
            };
            let word = match (enough, known) {
                (true, _) => RelayWord::Export,
                (false, true) => RelayWord::Surplus,
                (false, false) => RelayWord::Meter,
            };
            return (enough, RelayReason { surplus: mean, ..say(word) });
        }
        (false, say(RelayWord::Rules))
    }

    fn yields(&self, now: Mono, known: bool, signals: Signals) -> Yields {
        let rules = &self.setup.on_when;
        let cheap = rules.contains(&RelayRule::LowTariff) && signals.low_tariff == Some(true);
        if self.command != RelayCommand::Auto || !known || cheap || rules.contains(&RelayRule::Always) {
            Yields::Never
        } else if self.order && self.bound(now).is_some() {
            Yields::Later
        } else {
            Yields::Now
        }
    }

    /// Time left before it may be switched again by choice of the controller.
    fn bound(&self, now: Mono) -> Option<Span> {
        let least = if self.order { self.setup.min_on } else { self.setup.min_off };
        let left = self.changed_at.map(|at| Span(least.0 - now.since(at).0))?;
        (left > Span::ZERO).then_some(left)
    }

    /// When time alone will change something here.
    pub(in crate::control) fn next_turn(&self) -> Option<Mono> {
        self.forced_until
    }

    pub(in crate::control) fn status(&self) -> RelayStatus {
        RelayStatus {
            on: self.lost || self.heard.unwrap_or(self.order),
            command: self.command,
            forced_until: self.forced_until,
            reason: self.reason,
            available: !self.lost && self.heard_at.is_some(),
            heard_at: self.heard_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Signals = Signals { low_tariff: Some(true), dim: false, block: false };
    const HIGH: Signals = Signals { low_tariff: Some(false), dim: false, block: false };

    fn relay(on_when: &[RelayRule]) -> Relay {
        Relay::new(RelaySetup {
            id: "boiler".to_owned(),
            on_when: on_when.to_vec(),
            load: Watt(2_000),
            export_on: Watt(2_000),
            export_off: Watt(-200),
            priority: 5,
            shed: false,
            min_on: Span::from_secs(300),
            min_off: Span::from_secs(300),
            force_max: Span::from_secs(3_600),
            safe_state: false,
            interlock: None,
        })
    }

    /// A second with this export at the meter; the relay's load appears as soon as it is closed.
    fn second(relay: &mut Relay, at: i64, export: i32, signals: Signals) {
        let now = Mono(at * 1000);
        let own = if relay.order { 2_000 } else { 0 };
        relay.hear(RelayObservation::Written { on: relay.order, at: now });
        let added = relay.added_back();
        relay.decide(now, Some(Watt(export - own) + added), true, signals, Room::Free, true);
    }

    fn changes(
        relay: &mut Relay,
        seconds: std::ops::Range<i64>,
        export: impl Fn(i64) -> i32,
        signals: Signals,
    ) -> Vec<i64> {
        let mut at = Vec::new();
        for now in seconds {
            let before = relay.order();
            second(relay, now, export(now), signals);
            if relay.order() != before {
                at.push(now);
            }
        }
        at
    }

    #[test]
    fn it_is_open_when_it_was_heard_to_be_after_the_order() {
        let mut it = relay(&[]);
        let decide = |it: &mut Relay, second: i64| it.decide(Mono(second * 1000), None, false, HIGH, Room::Free, true);
        it.hear(RelayObservation::State { on: false, at: Mono(0) });
        assert!(it.is_open());
        it.force(Mono(1_000), RelayCommand::On);
        decide(&mut it, 1);
        it.force(Mono(2_000), RelayCommand::Off);
        decide(&mut it, 2);
        assert!(!it.is_open(), "what was heard is older than the order to close");
        it.hear(RelayObservation::State { on: false, at: Mono(1_500) });
        assert!(!it.is_open());
        it.hear(RelayObservation::State { on: false, at: Mono(2_100) });
        assert!(it.is_open());
    }

    #[test]
    fn export_closes_it_on_the_mean_of_a_minute_and_its_own_load_does_not_open_it() {
        let mut it = relay(&[RelayRule::Export]);
        assert_eq!(changes(&mut it, 0..1_000, |_| 2_600, HIGH), [60]);
        assert_eq!(it.status().reason.word, RelayWord::Export);
        assert_eq!(
            changes(&mut it, 1_000..2_000, |at| if at % 60 < 20 { -200 } else { 3_200 }, HIGH),
            [0; 0],
            "clouds"
        );
        let opened = changes(&mut it, 2_000..3_000, |_| 1_700, HIGH);
        assert_eq!(opened.len(), 1, "300 W from the grid is more than it may: {opened:?}");
        assert_eq!(changes(&mut it, 3_000..4_000, |_| 1_900, HIGH), [0; 0], "less than export_on_w");
        assert_eq!(it.status().reason.to_string(), "open: not enough surplus (mean 1900 W)");
    }

    #[test]
    fn its_load_is_for_others_only_where_surplus_alone_keeps_it_closed() {
        let mut it = relay(&[RelayRule::Export, RelayRule::LowTariff]);
        changes(&mut it, 0..100, |_| 2_600, HIGH);
        assert_eq!((it.kept(), it.kept_for_now()), (Watt(2_000), Watt(2_000)), "min_on_s");
        changes(&mut it, 100..400, |_| 2_600, HIGH);
        assert_eq!((it.kept(), it.added_back()), (Watt::ZERO, Watt(2_000)));
        second(&mut it, 400, 2_600, LOW);
        assert_eq!((it.kept(), it.kept_for_now()), (Watt(2_000), Watt::ZERO), "another rule");
        second(&mut it, 401, 2_600, HIGH);
        assert_eq!(it.kept(), Watt::ZERO);
        it.force(Mono(402_000), RelayCommand::On);
        second(&mut it, 402, 2_600, HIGH);
        assert_eq!((it.kept(), it.kept_for_now()), (Watt(2_000), Watt::ZERO), "a person");
        assert_eq!(it.status().reason.word, RelayWord::Forced);
    }

    #[test]
    fn shortest_times_bind_the_rules_and_not_a_person() {
        let mut it = relay(&[RelayRule::LowTariff]);
        second(&mut it, 0, 0, LOW);
        assert!(it.order());
        second(&mut it, 10, 0, HIGH);
        assert!(it.order());
        assert_eq!(it.status().reason.to_string(), "closed: its shortest time closed is not over; for another 290 s");
        it.force(Mono(20_000), RelayCommand::Off);
        second(&mut it, 20, 0, HIGH);
        assert!(!it.order());
        it.force(Mono(21_000), RelayCommand::On);
        second(&mut it, 21, 0, HIGH);
        assert!(it.order());
        assert_eq!(changes(&mut it, 22..5_000, |_| 0, HIGH), [3_621], "an order ends by itself");
    }

    #[test]
    fn without_a_meter_export_closes_nothing() {
        let mut it = relay(&[RelayRule::Export]);
        changes(&mut it, 0..400, |_| 5_000, HIGH);
        assert!(it.order());
        it.decide(Mono(400_000), None, false, HIGH, Room::Free, true);
        assert!(!it.order());
        assert_eq!(it.status().reason.word, RelayWord::Meter);
        assert_eq!(changes(&mut it, 401..500, |_| 5_000, HIGH), [0; 0], "min_off_s, and a minute of its own");
    }

    #[test]
    fn shedding_waits_for_nothing_and_a_tight_fuse_keeps_it_open() {
        let mut it = relay(&[RelayRule::Always]);
        let at = |it: &mut Relay, second: i64, room| {
            it.decide(Mono(second * 1000), None, true, HIGH, room, true);
            it.order()
        };
        assert!(at(&mut it, 0, Room::Free));
        assert!(at(&mut it, 1, Room::Tight));
        assert!(!at(&mut it, 2, Room::Shed));
        assert!(!at(&mut it, 3, Room::Free), "min_off_s");
        assert!(!at(&mut it, 400, Room::Tight));
        assert!(at(&mut it, 401, Room::Free));
        assert!(at(&mut it, 402, Room::Squeezed) && at(&mut it, 403, Room::Squeezed), "a car ramps up");
        assert!(at(&mut it, 404, Room::Tight) && at(&mut it, 405, Room::Squeezed) && at(&mut it, 406, Room::Squeezed));
        assert!(!at(&mut it, 407, Room::Squeezed));
        assert!(!at(&mut it, 408, Room::Claim) && !it.claims(), "min_off_s");
        assert!(!at(&mut it, 800, Room::Claim) && it.claims(), "when the cars behind it have come down");
        assert!(at(&mut it, 801, Room::Free) && !it.claims());
        assert!(at(&mut it, 802, Room::Claim) && !it.claims());
    }

    #[test]
    fn its_shortest_time_closed_holds_it_against_its_rules_and_not_against_a_fuse() {
        for (room, word) in [(Room::Tight, RelayWord::MinOn), (Room::Shed, RelayWord::Shed)] {
            let mut it = relay(&[RelayRule::LowTariff]);
            it.decide(Mono(0), None, true, LOW, Room::Free, true);
            it.decide(Mono(1_000), None, true, HIGH, Room::Free, true);
            assert_eq!((it.order(), it.status().reason.word), (true, RelayWord::MinOn));
            it.decide(Mono(2_000), None, true, HIGH, room, true);
            assert_eq!((it.order(), it.status().reason.word), (room == Room::Tight, word));
        }
    }

    #[test]
    fn one_of_a_pair_opens_before_the_other_closes() {
        let mut it = relay(&[RelayRule::Always]);
        it.decide(Mono(0), None, true, HIGH, Room::Free, false);
        assert_eq!((it.order(), it.status().reason.word), (false, RelayWord::Interlock));
        it.decide(Mono(1000), None, true, HIGH, Room::Free, true);
        assert!(it.order());
    }

    #[test]
    fn three_failed_writes_are_a_lost_relay_that_counts_as_closed() {
        let mut it = relay(&[]);
        let fail = |write| RelayObservation::Failed { at: Mono(0), write };
        assert_eq!([it.hear(fail(true)), it.hear(fail(false)), it.hear(fail(true))], [None; 3]);
        assert_eq!(it.hear(fail(true)), Some(Turn::Lost));
        it.decide(Mono(0), None, true, HIGH, Room::Free, true);
        let status = it.status();
        assert_eq!((status.on, status.available, status.reason.word), (true, false, RelayWord::Offline));
        assert_eq!(it.hear(RelayObservation::State { on: false, at: Mono(1) }), Some(Turn::Back));
        assert!(!it.status().on);
    }
}

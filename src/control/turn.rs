//! Whose turn it is: the order in which chargers are served, and who of those that wait may be started.

use crate::quantity::{Milliamp, Mono, Span};
use crate::reading::PilotState;

use super::allocate::{self, Ask};
use super::charger::Charger;
use super::controller::{Controller, Scratch};
use super::flow::UNLIMITED;
use super::interface::Sharing;
use super::want::starts_drawing;

/// A car that draws nothing for so long after its offer lets it pass.
pub(in crate::control) const IDLE_AFTER: Span = Span::from_secs(90);
/// Turns last this many times `min_on`, once more for each interruption that the car has had …
const TURN: i64 = 3;
/// … and at most so many times more: the others wait as long.
const TURN_LONGER: i64 = 2;
/// A car that let its offer pass is asked again after two turns, then always after four.
const ASKED_AFTER: [i64; 2] = [2, 4];
/// No run is longer, in ms: three years.
const LONGEST_RUN: i64 = 100_000_000_000;

/// Place in the order of admission, lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Its car does not use what it is offered: behind everybody who does, whatever the sharing rule.
    passes: bool,
    /// By the sharing rule; lower tiers are served to their ceilings before higher ones get anything.
    pub(super) tier: u8,
    class: Class,
    /// Among those alike.
    key: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Runs, and its turn is not over.
    InTurn,
    Waits,
    /// Runs longer than a turn.
    PastTurn,
    /// Was stopped so recently that it goes behind whoever runs.
    Rests,
}

impl Rank {
    /// It gives its place to whoever waits and comes before it.
    fn yields(self) -> bool {
        self.passes || self.class == Class::PastTurn
    }

    /// Its car does not use what it is offered.
    pub(super) fn lets_pass(self) -> bool {
        self.passes
    }
}

impl Controller {
    /// The shortest turn.
    pub(super) fn turn(&self) -> Span {
        self.min_on.times(TURN)
    }

    /// Who is served first: who uses its offer, by sharing rule, who is in its turn, who waits longest.
    pub(super) fn rank(&self, now: Mono, charger: &Charger) -> Rank {
        let tier = match self.site.sharing {
            Sharing::Equal => 0,
            Sharing::Priority => charger.settings.priority,
            Sharing::State => u8::from(charger.state() != Some(PilotState::C)),
        };
        let passes = self.lets_pass(now, charger);
        let (class, key) = match charger.on_since.map(|since| now.since(since)) {
            Some(on) => {
                let interruptions = i64::from(charger.session.interruptions);
                if on < self.min_on.times(TURN + interruptions.min(TURN_LONGER)) {
                    // Who was interrupted often is the last to be interrupted again; of two alike, who began last goes
                    // first.
                    (Class::InTurn, -interruptions * LONGEST_RUN - on.0.min(LONGEST_RUN - 1))
                } else {
                    (Class::PastTurn, on.0)
                }
            }
            None => {
                let waits = waits(now, charger);
                let rests = charger.session.has_drawn && waits < self.min_off;
                (if rests { Class::Rests } else { Class::Waits }, -waits.0)
            }
        };
        Rank { passes, tier, class, key }
    }

    /// Its car has ended, or draws nothing of its offer. One that was stopped so is asked again later: no box tells at
    /// 0 A that its car wants more.
    fn lets_pass(&self, now: Mono, charger: &Charger) -> bool {
        let ended = charger.state() == Some(PilotState::D);
        let passed = charger.session.passed;
        match charger.on_since {
            Some(_) if starts_drawing(charger) => false,
            Some(since) => (ended && passed == 0) || now.since(since) >= IDLE_AFTER,
            None if passed == 0 && !ended => false,
            None => {
                let times = ASKED_AFTER[usize::from(passed.saturating_sub(1)).min(ASKED_AFTER.len() - 1)];
                waits(now, charger) < self.turn().times(times)
            }
        }
    }

    /// Whoever waits is asked for only where it can be started, else what the others have would be cut for nothing:
    /// there is its least, for as long as a start wants it, beside the least of all that run and do not yield to it.
    pub(super) fn admit(&self, now: Mono, scratch: &mut Scratch) {
        scratch.start_room.clear();
        scratch.start_room.extend(scratch.budgets.iter().map(|budget| budget.start));
        self.reserve(&mut scratch.start_room, &scratch.asks);
        // What a quarter of an hour has saved is for whoever runs: a car that is started on it beside another one is
        // stopped when it is used up.
        let mut mean = self.steady(now).0.saturating_mul(3);
        let together = |ask: &Ask| ask.least.0.saturating_mul(i32::try_from(ask.phases.len()).unwrap_or(3));
        let (mut alone, mut starts) = (true, false);
        for keeps in [true, false] {
            for place in 0..scratch.sequence.len() {
                let index = scratch.sequence[place];
                let charger = &self.chargers[index];
                let ask = scratch.asks[index];
                if !charger.link.is_up() || charger.fixed(&self.timing).is_some() {
                    continue;
                }
                let runs = charger.order() >= ask.least;
                let yields = scratch.wants[index].rank.yields();
                if keeps != (runs && !yields) {
                    continue;
                }
                // The connection keeps something for a relay that it would else cost.
                let relays = self.kept_for_relays(charger);
                let costs = relays.is_some_and(|kept| self.left_for_relays(place, scratch) < kept);
                if !runs {
                    if ask.cap < ask.least {
                        continue;
                    }
                    let room = allocate::room_for(&ask, &self.chains, &scratch.start_room);
                    let saved = (!alone || relays.is_some()) && mean < together(&ask);
                    if room < ask.least || costs || saved {
                        scratch.asks[index].cap = Milliamp::ZERO;
                        continue;
                    }
                    for row in ask.rows(&self.chains, scratch.budgets.len()) {
                        scratch.budgets[row].starts = true;
                    }
                    starts = true;
                } else if yields && starts && (costs || mean < together(&ask)) {
                    scratch.asks[index].cap = Milliamp::ZERO;
                    continue;
                }
                allocate::take(&ask, ask.least, &self.chains, &mut scratch.start_room);
                mean = mean.saturating_sub(together(&ask)).max(-UNLIMITED.0);
                alone = false;
            }
        }
    }

    /// What the connection would leave a relay beside the least of whoever is at this place, and of those after it that
    /// would give it their place and do not have to: they come before every relay.
    fn left_for_relays(&self, place: usize, scratch: &mut Scratch) -> Milliamp {
        let Scratch { sequence, asks, wants, spare, start_room, .. } = scratch;
        spare.clone_from(start_room);
        let own = &asks[sequence[place]];
        allocate::take(own, own.least, &self.chains, spare);
        for &other in &sequence[place + 1..] {
            let (charger, ask) = (&self.chargers[other], &asks[other]);
            let stays = charger.link.is_up()
                && charger.fixed(&self.timing).is_none()
                && charger.order() >= ask.least
                && wants[other].rank.yields()
                && self.kept_for_relays(charger).is_none();
            if stays && allocate::room_for(ask, &self.chains, spare) >= ask.least {
                allocate::take(ask, ask.least, &self.chains, spare);
            }
        }
        spare[0].least(self.grid_phases)
    }
}

/// How long it has been without an offer.
fn waits(now: Mono, charger: &Charger) -> Span {
    now.since(charger.off_since.or(charger.session.start).unwrap_or(Mono(0)))
}

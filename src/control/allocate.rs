//! Divides what the circuits leave among the chargers: nobody gets 1 to 5 A, as many as fit get their least, then all
//! rise together until a circuit or their own ceiling stops them (max-min fairness).

use crate::quantity::{Milliamp, Phases};

use super::flow::Flow;
use super::phases::PhaseSet;

/// What one charger may get.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ask {
    /// At most this; under `least` it gets nothing.
    pub(super) cap: Milliamp,
    /// Less than this is nothing: 6 A, or the next multiple of the step above it.
    pub(super) least: Milliamp,
    /// Resolution of its set-point.
    pub(super) step: Milliamp,
    /// Phases on which it counts.
    pub(super) phases: PhaseSet,
    /// Its circuit.
    pub(super) circuit: usize,
    /// It loads phases unequally where that is limited: the last row of the room counts for it too.
    pub(super) uneven: bool,
    /// Lower tiers are served to their ceilings before higher ones get anything.
    pub(super) tier: u8,
    /// Gets an odd step first: it has it already.
    pub(super) keeps: bool,
}

/// For each circuit itself and all above it, root last.
pub(super) type Chains = Vec<Vec<usize>>;

/// What each circuit leaves, negative where it is overloaded; where unequal phases are limited, a last row for those that
/// load them unequally.
pub(super) type Room = [Flow];

impl Ask {
    /// The rows of the room that it counts in.
    pub(super) fn rows<'a>(&self, chains: &'a Chains, rows: usize) -> impl Iterator<Item = usize> + 'a {
        chains[self.circuit].iter().copied().chain(self.uneven.then(|| rows.saturating_sub(1)))
    }
}

/// The least room that `ask` finds on its way to the root.
pub(super) fn room_for(ask: &Ask, chains: &Chains, room: &Room) -> Milliamp {
    ask.rows(chains, room.len()).map(|row| room[row].least_for(ask.phases)).min().unwrap_or(Milliamp::ZERO)
}

/// Takes `amount` out of everything that `ask` counts on; a negative amount gives back.
pub(super) fn take(ask: &Ask, amount: Milliamp, chains: &Chains, room: &mut Room) {
    for row in ask.rows(chains, room.len()) {
        room[row].take(ask.phases, amount);
    }
}

/// How many of those that still rise count on a row.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    phases: Phases<i32>,
    sum: i32,
}

/// Buffers that are used again.
#[derive(Clone, Debug, Default)]
pub(super) struct Allocator {
    live: Vec<bool>,
    count: Vec<Count>,
}

impl Allocator {
    /// Fills `out` (one per ask) for the asks named in `sequence`, which is sorted by tier, first admitted first.
    /// `room` is left with what nobody took.
    pub(super) fn fill(
        &mut self,
        asks: &[Ask],
        sequence: &[usize],
        chains: &Chains,
        room: &mut Room,
        out: &mut [Milliamp],
    ) {
        self.live.clear();
        self.live.resize(asks.len(), false);
        self.count.clear();
        self.count.resize(room.len(), Count::default());
        let mut rest = sequence;
        while let Some(first) = rest.first() {
            let tier = asks[*first].tier;
            let end = rest.iter().position(|index| asks[*index].tier != tier).unwrap_or(rest.len());
            let (group, later) = rest.split_at(end);
            self.fill_tier(asks, group, chains, room, out);
            rest = later;
        }
    }

    fn fill_tier(&mut self, asks: &[Ask], group: &[usize], chains: &Chains, room: &mut Room, out: &mut [Milliamp]) {
        for &index in group {
            let ask = &asks[index];
            out[index] = Milliamp::ZERO;
            self.live[index] = ask.cap >= ask.least && room_for(ask, chains, room) >= ask.least;
            if self.live[index] {
                take(ask, ask.least, chains, room);
                out[index] = ask.least;
            }
        }
        while let Some(rise) = self.common_rise(asks, group, chains, room, out) {
            for &index in group.iter().filter(|index| self.live[**index]) {
                take(&asks[index], rise, chains, room);
                out[index] += rise;
            }
        }
        self.round(asks, group, chains, room, out);
    }

    /// Freezes whoever cannot rise any more; then how far the others can rise together, `None` when nobody is left.
    fn common_rise(
        &mut self,
        asks: &[Ask],
        group: &[usize],
        chains: &Chains,
        room: &Room,
        out: &[Milliamp],
    ) -> Option<Milliamp> {
        loop {
            self.count.fill(Count::default());
            for &index in group.iter().filter(|index| self.live[**index]) {
                for row in asks[index].rows(chains, room.len()) {
                    for phase in asks[index].phases.iter() {
                        self.count[row].phases[phase] += 1;
                        self.count[row].sum += 1;
                    }
                }
            }
            let mut rise = None;
            let mut froze = false;
            for &index in group {
                if !self.live[index] {
                    continue;
                }
                let ask = &asks[index];
                let mut own = ask.cap - out[index];
                for row in ask.rows(chains, room.len()) {
                    let count = &self.count[row];
                    for phase in ask.phases.iter() {
                        own = own.min(Milliamp(room[row].phases[phase].0 / count.phases[phase]));
                        own = own.min(Milliamp(room[row].sum.0 / count.sum));
                    }
                }
                if own.0 <= 0 {
                    self.live[index] = false;
                    froze = true;
                } else {
                    rise = Some(rise.map_or(own, |least: Milliamp| least.min(own)));
                }
            }
            if !froze || rise.is_none() {
                return rise;
            }
        }
    }

    /// Down to whole steps, and the odd steps to whoever has them already, then in sequence.
    fn round(&mut self, asks: &[Ask], group: &[usize], chains: &Chains, room: &mut Room, out: &mut [Milliamp]) {
        for &index in group {
            let rounded = out[index].floor_to(asks[index].step);
            take(&asks[index], rounded - out[index], chains, room);
            out[index] = rounded;
        }
        for keeping in [true, false] {
            for &index in group {
                let ask = &asks[index];
                let fits = out[index] >= ask.least
                    && ask.keeps == keeping
                    && out[index] + ask.step <= ask.cap
                    && room_for(ask, chains, room) >= ask.step;
                if fits {
                    take(ask, ask.step, chains, room);
                    out[index] += ask.step;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Phase;

    fn amps(value: i32) -> Milliamp {
        Milliamp::from_amps(value)
    }

    fn ask(cap: i32, phases: &[Phase]) -> Ask {
        Ask {
            cap: amps(cap),
            least: amps(6),
            step: amps(1),
            phases: PhaseSet::of(phases.iter().copied()),
            circuit: 0,
            uneven: false,
            tier: 0,
            keeps: false,
        }
    }

    fn fill(asks: &[Ask], chains: &Chains, room: &mut [Phases<Milliamp>]) -> Vec<i32> {
        let mut rows: Vec<Flow> = room.iter().map(|it| Flow { phases: *it, ..Flow::flat(Milliamp::ZERO) }).collect();
        let out = divide(asks, chains, &mut rows);
        for (phases, row) in room.iter_mut().zip(&rows) {
            *phases = row.phases;
        }
        out
    }

    fn divide(asks: &[Ask], chains: &Chains, room: &mut Room) -> Vec<i32> {
        let sequence: Vec<usize> = (0..asks.len()).collect();
        let mut out = vec![Milliamp::ZERO; asks.len()];
        Allocator::default().fill(asks, &sequence, chains, room, &mut out);
        out.iter().map(|it| it.0 / 1000).collect()
    }

    fn one() -> Chains {
        vec![vec![0]]
    }

    const ALL: &[Phase] = &Phase::ALL;

    #[test]
    fn all_get_the_same_until_their_own_ceiling() {
        let asks = [ask(16, ALL), ask(8, ALL), ask(32, ALL)];
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(40))]), [16, 8, 16]);
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(24))]), [8, 8, 8]);
    }

    #[test]
    fn never_one_to_five_ampere() {
        let asks = [ask(16, ALL), ask(16, ALL)];
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(11))]), [11, 0]);
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(Milliamp(5_999))]), [0, 0]);
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(-20))]), [0, 0]);
        assert_eq!(fill(&[ask(5, ALL)], &one(), &mut [Phases::all(amps(20))]), [0]);
    }

    #[test]
    fn one_phase_cars_count_on_their_phase_only() {
        let asks = [ask(32, &[Phase::L1]), ask(32, &[Phase::L2]), ask(32, ALL)];
        let mut room = [Phases([amps(20), amps(30), amps(40)])];
        assert_eq!(fill(&asks, &one(), &mut room), [10, 20, 10]);
        assert_eq!(room[0], Phases([amps(0), amps(0), amps(30)]));
    }

    #[test]
    fn odd_steps_go_to_whoever_has_them() {
        let mut asks = [ask(16, ALL), ask(16, ALL), ask(16, ALL)];
        asks[2].keeps = true;
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(25))]), [8, 8, 9]);
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(26))]), [9, 8, 9]);
    }

    #[test]
    fn every_circuit_on_the_way_to_the_root_limits() {
        let mut asks = [ask(32, ALL), ask(32, ALL), ask(32, ALL)];
        asks[1].circuit = 1;
        asks[2].circuit = 1;
        let chains = vec![vec![0], vec![1, 0]];
        let mut room = [Phases::all(amps(40)), Phases::all(amps(16))];
        assert_eq!(fill(&asks, &chains, &mut room), [24, 8, 8]);
    }

    #[test]
    fn lower_tiers_first() {
        let mut asks = [ask(16, ALL), ask(16, ALL)];
        asks[1].tier = 1;
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(20))]), [16, 0]);
        assert_eq!(fill(&asks, &one(), &mut [Phases::all(amps(23))]), [16, 7]);
    }

    #[test]
    fn power_is_shared_by_current_per_phase() {
        let asks = [ask(16, ALL), ask(16, &[Phase::L1])];
        let mut room = [Flow { phases: Phases::all(amps(40)), sum: amps(36) }];
        assert_eq!(divide(&asks, &one(), &mut room), [9, 9]);
        assert_eq!(room[0].sum, Milliamp::ZERO);
        let mut room = [Flow { phases: Phases::all(amps(40)), sum: amps(23) }];
        assert_eq!(divide(&asks, &one(), &mut room), [7, 0], "beside 6 A on three phases 5 A are left, no least");
    }

    #[test]
    fn what_loads_phases_unequally_finds_a_row_of_its_own() {
        let mut asks = [ask(32, &[Phase::L1]), ask(32, &[Phase::L2]), ask(32, ALL)];
        (asks[0].uneven, asks[1].uneven) = (true, true);
        let mut room = [Flow::flat(amps(60)), Flow::flat(amps(20))];
        assert_eq!(divide(&asks, &one(), &mut room), [20, 20, 32]);
    }
}

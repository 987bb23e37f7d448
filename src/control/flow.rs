//! A current on each phase together with the current of all phases, which stands for power: limits in kW bind the sum,
//! fuses bind the phases.

use crate::quantity::{Milliamp, Phases};

use super::phases::PhaseSet;

/// Stands for "not limited": far above every installation, far below where integers end.
pub(super) const UNLIMITED: Milliamp = Milliamp(1_000_000_000);

/// Currents of the phases, and of all of them together. The sum is kept for itself: what counts on it is not always
/// what counts on the phases (a car whose phases are not known, solar power on another phase).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flow {
    pub(super) phases: Phases<Milliamp>,
    pub(super) sum: Milliamp,
}

impl Flow {
    /// The same on each phase, nothing said of the sum.
    pub(super) fn flat(figure: Milliamp) -> Self {
        Self { phases: Phases::all(figure), sum: UNLIMITED }
    }

    /// What `ask` per phase of `phases` may be at most.
    pub(super) fn least_for(&self, phases: PhaseSet) -> Milliamp {
        let together = i32::try_from(phases.len()).unwrap_or(3).max(1);
        let by_sum = Milliamp(self.sum.0.div_euclid(together));
        phases.iter().fold(by_sum, |least, phase| least.min(self.phases[phase]))
    }

    /// What a load on one of `phases` may be at most, whichever it is on.
    pub(super) fn least(&self, phases: PhaseSet) -> Milliamp {
        phases.iter().fold(self.sum, |least, phase| least.min(self.phases[phase]))
    }

    /// The lower of both, figure by figure.
    pub(super) fn lower(mut self, other: Self) -> Self {
        for (phase, left) in other.phases.iter() {
            self.phases[phase] = self.phases[phase].min(*left);
        }
        self.sum = self.sum.min(other.sum);
        self
    }

    /// Takes `amount` per phase out; a negative one gives back.
    pub(super) fn take(&mut self, phases: PhaseSet, amount: Milliamp) {
        for phase in phases.iter() {
            self.phases[phase] -= amount;
            self.sum -= amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Phase;

    #[test]
    fn the_sum_binds_by_the_number_of_phases() {
        let mut room = Flow { phases: Phases::all(Milliamp(16_000)), sum: Milliamp(20_000) };
        let three = PhaseSet::of(Phase::ALL);
        assert_eq!(room.least_for(three), Milliamp(6_666));
        assert_eq!(room.least_for(PhaseSet::of([Phase::L2])), Milliamp(16_000));
        room.take(three, Milliamp(6_000));
        assert_eq!(room.sum, Milliamp(2_000));
        assert_eq!(room.least_for(PhaseSet::of([Phase::L2])), Milliamp(2_000));
        room.take(three, Milliamp(2_000));
        assert_eq!(room.least(three), Milliamp(-4_000));
        assert_eq!(room.least_for(three), Milliamp(-1_334), "what is too much is too much for each");
    }
}

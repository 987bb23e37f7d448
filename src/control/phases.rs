//! A set of the grid's phases.

use crate::quantity::{Phase, Phases};

/// Which of L1, L2, L3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PhaseSet(u8);

impl PhaseSet {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(phases: impl IntoIterator<Item = Phase>) -> Self {
        phases.into_iter().fold(Self::NONE, Self::with)
    }

    /// The phases of a connection with one or three of them.
    pub(super) fn of_grid(phases: u8) -> Self {
        Self::of(Phase::ALL.into_iter().take(usize::from(phases)))
    }

    /// Those with a value.
    pub(super) fn shown<T>(values: &Phases<Option<T>>) -> Self {
        Self::of(values.iter().filter(|(_, value)| value.is_some()).map(|(phase, _)| phase))
    }

    pub(super) const fn with(self, phase: Phase) -> Self {
        Self(self.0 | 1 << phase.index())
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn has(self, phase: Phase) -> bool {
        self.0 & (1 << phase.index()) != 0
    }

    /// One of `expected` is not in it.
    pub(super) fn lacks(self, expected: Self) -> bool {
        expected.0 & !self.0 != 0
    }

    /// Some but not all phases.
    pub(super) const fn is_uneven(self) -> bool {
        self.len() > 0 && self.len() < 3
    }

    pub(super) const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Phase> {
        Phase::ALL.into_iter().filter(move |phase| self.has(*phase))
    }
}
